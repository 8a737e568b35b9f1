//! A name server on loopback with zone files, over UDP and TCP, that misbehaves where it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The longest answer over UDP without EDNS (RFC 1035 §4.2.1); whoever wants more asks over TCP.
const LARGEST: usize = 512;

/// Aliases followed within one answer.
const ALIASES: usize = 8;

pub struct NameServer {
    pub address: SocketAddr,
    /// The questions that came: `name TYPE`, and by what way.
    pub asked: Arc<Mutex<Vec<(String, &'static str)>>>,
}

type Zone = BTreeMap<(Name, RecordType), Vec<Record>>;

impl NameServer {
    /// Serves a zone file. Names that start with `silent` are never answered, those that start with `once` from the
    /// second time on, and those with `forged` after a flood of answers that are not to be believed.
    pub async fn start(zone: &str) -> NameServer {
        let origin = Name::from_ascii("example.test.").unwrap();
        let (_, sets) = Parser::new(zone.to_owned(), None, Some(origin)).parse().unwrap();
        let mut zone = Zone::new();
        for (key, set) in sets {
            let records = set.records_without_rrsigs().cloned().collect();
            zone.insert((Name::from(key.name().clone()), set.record_type()), records);
        }
        let zone = Arc::new(zone);
        let (udp, tcp) = sockets().await;
        let server = NameServer { address: udp.local_addr().unwrap(), asked: Arc::default() };
        tokio::spawn(serve_udp(udp, zone.clone(), server.asked.clone()));
        tokio::spawn(serve_tcp(tcp, zone, server.asked.clone()));
        server
    }

    /// How often this was asked.
    pub fn count(&self, question: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| asked == question).count()
    }

    pub fn over_tcp(&self, question: &str) -> bool {
        self.asked.lock().unwrap().contains(&(question.to_owned(), "tcp"))
    }
}

/// One port for both.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

fn text(question: &Query) -> String {
    format!("{} {}", question.name().to_lowercase(), question.query_type())
}

type Asked = Arc<Mutex<Vec<(String, &'static str)>>>;

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, asked: Asked) {
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(question) = request.queries.first().cloned() else { continue };
        let name = question.name().to_lowercase().to_string();
        let before = {
            let mut asked = asked.lock().unwrap();
            asked.push((text(&question), "udp"));
            asked.iter().filter(|(other, _)| *other == text(&question)).count()
        };
        if name.starts_with("silent") || (name.starts_with("once") && before == 1) {
            continue;
        }
        if name.starts_with("forged") {
            forge(&socket, &stranger, from, &request, &question).await;
        }
        let mut answer = answer(&zone, &request, &question);
        if answer.to_vec().unwrap().len() > LARGEST {
            answer.answers.clear();
            answer.metadata.truncation = true;
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, asked: Asked) {
    while let Ok((stream, _)) = listener.accept().await {
        let (zone, asked) = (zone.clone(), asked.clone());
        tokio::spawn(async move { serve_connection(stream, &zone, &asked).await });
    }
}

/// RFC 1035 §4.2.2: each message behind its length.
async fn serve_connection(mut stream: TcpStream, zone: &Zone, asked: &Asked) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut request = vec![0; usize::from(length)];
        stream.read_exact(&mut request).await.ok()?;
        let request = Message::from_vec(&request).ok()?;
        let question = request.queries.first()?.clone();
        asked.lock().unwrap().push((text(&question), "tcp"));
        let answer = answer(zone, &request, &question).to_vec().unwrap();
        stream.write_u16(answer.len().try_into().unwrap()).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

fn answer(zone: &Zone, request: &Message, question: &Query) -> Message {
    let mut answer = Message::response(request.metadata.id, OpCode::Query);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.authoritative = true;
    answer.metadata.recursion_desired = request.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(question.clone());
    let mut name = question.name().to_lowercase();
    let mut known = false;
    for _ in 0..ALIASES {
        known |= zone.keys().any(|(other, _)| *other == name);
        if let Some(records) = zone.get(&(name.clone(), question.query_type())) {
            answer.add_answers(records.iter().cloned());
            break;
        }
        let Some([alias]) = zone.get(&(name.clone(), RecordType::CNAME)).map(Vec::as_slice) else { break };
        answer.add_answer(alias.clone());
        let RData::CNAME(target) = &alias.data else { break };
        name = target.0.to_lowercase();
    }
    if !known {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    answer
}

/// A third of 1,000 with the right id and question from another port, a third with every wrong id from the right one,
/// a third with the right id and another question. All of them lead to 192.0.2.66.
async fn forge(
    socket: &UdpSocket,
    stranger: &UdpSocket,
    to: SocketAddr,
    request: &Message,
    question: &Query,
) {
    let lie = |query: Query| {
        let mut lie = Message::response(request.metadata.id, OpCode::Query);
        lie.metadata.recursion_available = true;
        lie.add_answer(Record::from_rdata(
            query.name().clone(),
            3600,
            RData::A(std::net::Ipv4Addr::new(192, 0, 2, 66).into()),
        ));
        lie.add_query(query);
        lie
    };
    let other = Query::query(Name::from_ascii("other.example.test.").unwrap(), question.query_type());
    for number in 1..=334_u16 {
        let _ = stranger.send_to(&lie(question.clone()).to_vec().unwrap(), to).await;
        let mut wrong = lie(question.clone());
        wrong.metadata.id = request.metadata.id.wrapping_add(number);
        let _ = socket.send_to(&wrong.to_vec().unwrap(), to).await;
        let _ = socket.send_to(&lie(other.clone()).to_vec().unwrap(), to).await;
        if number % 16 == 0 {
            tokio::task::yield_now().await; // let them be read: a full buffer would lose the true answer
        }
    }
}
