//! The whole server over loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sip_message::framing::{Frame, StreamDecoder};
use sip_message::{Limits, Message, Method, Request, Response};
use sip_server::location::{Answering, LocationStore, MemoryLocation, Question};
use sip_server::{BuildError, ConfigError, Server, Users};
use sip_transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Long enough for the slowest machine; nothing waits so long unless it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn address(server: &Server, transport: Transport) -> SocketAddr {
    server.locals().iter().find(|local| local.transport == transport).unwrap().bound
}

fn request(method: &str, uri: &str, via: &str, extra: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{via};rport;branch=z9hG4bK{method}{}\r\nMax-Forwards: 70\r\n\
         CSeq: 1 {method}\r\n{extra}Content-Length: 0\r\n\r\n",
        extra.len()
    )
}

async fn datagram(socket: &UdpSocket) -> Message {
    let mut buffer = vec![0; 65_536];
    let (len, _) = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    Message::parse(buffer[..len].to_vec().into(), &Limits::default()).unwrap()
}

/// The next final response.
async fn answer(socket: &UdpSocket) -> Response {
    loop {
        if let Message::Response(response) = datagram(socket).await
            && response.status().is_final()
        {
            return response;
        }
    }
}

struct Stream {
    stream: TcpStream,
    decoder: StreamDecoder,
}

impl Stream {
    async fn connect(to: SocketAddr) -> Stream {
        let stream = TcpStream::connect(to).await.unwrap();
        Stream { stream, decoder: StreamDecoder::new(Limits::default()) }
    }

    async fn next(&mut self) -> Message {
        let mut buffer = vec![0; 65_536];
        loop {
            if let Some(Frame::Message(message)) = self.decoder.next_frame().unwrap() {
                return message;
            }
            let len = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(len > 0, "the server closed the connection");
            self.decoder.push(&buffer[..len]);
        }
    }
}

/// A call to a phone that registered over TCP goes down its connection, and its answers come back.
#[tokio::test]
async fn a_call_from_udp_to_a_phone_on_its_tcp_connection() {
    let server = Server::builder()
        .listen("udp:127.0.0.1:0")
        .listen("tcp:127.0.0.1:0")
        .domain("example.com")
        .build()
        .await
        .unwrap();
    let (udp, tcp) = (address(&server, Transport::Udp), address(&server, Transport::Tcp));
    let mut bob = Stream::connect(tcp).await;
    let here = bob.stream.local_addr().unwrap();
    let ids = "From: <sip:bob@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: r\r\n";
    let register = request(
        "REGISTER",
        "sip:example.com",
        &format!("TCP {here}"),
        &format!("{ids}Contact: <sip:bob@{here};transport=tcp>\r\n"),
    );
    bob.stream.write_all(register.as_bytes()).await.unwrap();
    assert_eq!(bob.next().await.as_response().unwrap().status().code(), 200);

    let alice = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = alice.local_addr().unwrap();
    let ids = "From: <sip:alice@chicago.example>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c\r\n";
    let invite = request("INVITE", "sip:bob@example.com", &format!("UDP {from}"), ids);
    alice.send_to(invite.as_bytes(), udp).await.unwrap();
    let Message::Request(called) = bob.next().await else { panic!("a request") };
    assert_eq!((called.method(), called.headers.count("Record-Route")), (&Method::Invite, 2));
    let busy = called.reply(sip_message::StatusCode::BUSY_HERE).to_tag("b").build().unwrap();
    bob.stream.write_all(&busy.to_bytes()).await.unwrap();
    assert_eq!(bob.next().await.as_request().map(Request::method), Some(&Method::Ack));
    assert_eq!(answer(&alice).await.status().code(), 486);
    let counts = server.handle().counts();
    assert_eq!((counts.server.proxied, counts.bindings, counts.connections), (1, 1, 1));
    server.close().await;
}

/// A store that takes its time, on another task.
struct Slow(Mutex<MemoryLocation>);

impl LocationStore for Slow {
    fn answer(&self, question: Question, now: Instant) -> Answering<'_> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.lock().unwrap().answer(now, question)
        })
    }
}

#[tokio::test]
async fn bindings_in_a_store_outside() {
    let server = Server::builder()
        .listen("udp:127.0.0.1:0")
        .domain("example.com")
        .location(Slow(Mutex::new(MemoryLocation::new(10, Instant::now(), Duration::ZERO))))
        .build()
        .await
        .unwrap();
    let to = address(&server, Transport::Udp);
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = phone.local_addr().unwrap();
    let ids = "From: <sip:bob@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n";
    for call in ["a", "bb"] {
        let extra = format!("{ids}Call-ID: {call}\r\nContact: <sip:bob@{here};from={call}>\r\n");
        let text = request("REGISTER", "sip:example.com", &format!("UDP {here}"), &extra);
        phone.send_to(text.as_bytes(), to).await.unwrap();
        assert_eq!(answer(&phone).await.status().code(), 200);
    }
    let text =
        request("MESSAGE", "sip:bob@example.com", &format!("UDP {here}"), &format!("{ids}Call-ID: m\r\n"));
    phone.send_to(text.as_bytes(), to).await.unwrap();
    let Message::Request(message) = datagram(&phone).await else { panic!("a request") };
    assert_eq!(message.method(), &Method::Message);
    server.run_until(async {}).await;
}

#[tokio::test]
async fn users_are_challenged_and_garbage_is_dropped() {
    let server = Server::builder()
        .listen("udp:127.0.0.1:0")
        .domain("example.com")
        .users(Users::parse("bob:builder").unwrap())
        .build()
        .await
        .unwrap();
    let handle = server.handle();
    let to = address(&server, Transport::Udp);
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = phone.local_addr().unwrap();
    for garbage in [&b"\xff\xfe\0"[..], b"INVITE", b"SIP/2.0 200 OK\r\n\r\n"] {
        phone.send_to(garbage, to).await.unwrap();
    }
    let ids = "From: <sip:bob@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: r\r\n";
    let text = request("REGISTER", "sip:example.com", &format!("UDP {here}"), ids);
    server
        .run_until(async {
            phone.send_to(text.as_bytes(), to).await.unwrap();
            let refused = answer(&phone).await;
            assert_eq!(refused.status().code(), 401);
            assert_eq!(refused.headers.count("WWW-Authenticate"), 2);
        })
        .await;
    assert_eq!(handle.counts().server.challenges, 1);
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let error = |builder: sip_server::ServerBuilder| async { builder.build().await.unwrap_err() };
    assert!(matches!(error(Server::builder()).await, BuildError::Config(ConfigError::NoListener)));
    assert!(matches!(error(Server::builder().listen("carrier-pigeon")).await, BuildError::Listen(_)));
    let bad = Server::builder().listen("udp:127.0.0.1:0").domain("no domain");
    assert_eq!(error(bad).await.to_string(), "'no domain' is no host name or address");
    let bad = Server::builder().listen("udp:127.0.0.1:0").configure(|c| c.timer_c = Duration::from_secs(9));
    assert!(matches!(error(bad).await, BuildError::Config(ConfigError::TimerC)));
    let bad = Server::builder().listen("udp:127.0.0.1:0").next_hop("tel:+1".parse().unwrap());
    assert_eq!(error(bad).await.to_string(), "the next hop tel:+1 is no sip or sips URI");
}
