//! Three times what `sip server` can do: what it takes is done as before, the rest is refused, and afterwards all is as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use interop::{Dir, Quota, Server, turn};

/// How long too many calls come, in seconds, if `INTEROP_OVERLOAD` does not say another number.
const SECONDS: u64 = 6;
/// Calls at once where the rate is to be found that is just enough: so few that the server, which reads 32 datagrams at once, is
/// never behind.
const WINDOW: u64 = 12;

/// Of one processor, in percent, what a server gets that shall have less time than its callers.
const SCARCE: u32 = 40;

/// The first value of a field.
fn field<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Rings and answers at once, and says yes to BYE.
fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    let (at, mut buffer) = (socket.local_addr().unwrap(), [0; 4_096]);
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let request = std::str::from_utf8(&buffer[..length]).unwrap();
        let copied: String = request
            .lines()
            .filter(|line| {
                ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .map(|line| match line.strip_prefix("To: ") {
                Some(to) if !to.contains("tag=") => format!("To: {to};tag=b\r\n"),
                _ => format!("{line}\r\n"),
            })
            .collect();
        let statuses: &[&str] = match request.split(' ').next() {
            Some("INVITE") => &["180 Ringing", "200 OK"],
            Some("BYE") => &["200 OK"],
            _ => &[],
        };
        for status in statuses {
            let response =
                format!("SIP/2.0 {status}\r\n{copied}Contact: <sip:bob@{at}>\r\nContent-Length: 0\r\n\r\n");
            let _ = socket.send_to(response.as_bytes(), from);
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
}

/// The caller's half of each call behind its INVITE.
fn go_on(socket: &UdpSocket, counts: &Counts, stop: &AtomicBool) {
    let (at, mut buffer) = (socket.local_addr().unwrap(), [0; 4_096]);
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let response = std::str::from_utf8(&buffer[..length]).unwrap();
        let status: u16 = response[8..11].parse().unwrap();
        let [via, from, to, call] =
            ["Via", "From", "To", "Call-ID"].map(|name| field(response, name).unwrap());
        let request = |method: &str, uri: &str, via: &str, route: &str, number: u8| {
            let text = format!(
                "{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n{route}From: {from}\r\nTo: {to}\r\n\
                 Call-ID: {call}\r\nCSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = socket.send(text.as_bytes());
        };
        let is_invite = field(response, "CSeq").unwrap().ends_with("INVITE");
        match (is_invite, status) {
            (_, ..200) => {}
            (true, 200) => {
                let contact = field(response, "Contact").unwrap().trim_matches(['<', '>']);
                // §12.1.2: the other way round.
                let mut routes: Vec<&str> =
                    response.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).collect();
                routes.reverse();
                let route: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
                let via = |branch| format!("SIP/2.0/UDP {at};branch=z9hG4bK{branch}{call};rport");
                request("ACK", contact, &via("a"), &route, 1);
                request("BYE", contact, &via("b"), &route, 2);
            }
            (true, _) => {
                // §17.1.1.3: the same branch, without what the server has added to it.
                let branch = via.split(';').find(|part| part.starts_with("branch=")).unwrap();
                let via = format!("SIP/2.0/UDP {at};{branch};rport");
                request("ACK", "sip:bob@example.test", &via, "", 1);
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            (false, _) => drop(counts.done.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// How calls begin.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// So many at once.
    AtOnce(u64),
    /// So many a second, whatever becomes of them.
    Rate(u64),
}

/// What became of the calls of some time.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    begun: u64,
    done: u64,
    refused: u64,
}

/// Calls for some time. Nothing is sent twice: what is lost is a call that fails.
fn call(to: SocketAddr, name: &str, pace: Pace, time: Duration) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (socket, counts, stop) =
        (Arc::new(socket), Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let going_on = thread::spawn({
        let (socket, counts, stop) = (Arc::clone(&socket), Arc::clone(&counts), Arc::clone(&stop));
        move || go_on(&socket, &counts, &stop)
    });
    let (at, begin) = (socket.local_addr().unwrap(), Instant::now());
    while begin.elapsed() < time {
        let begun = counts.begun.load(Ordering::Relaxed);
        let due = match pace {
            Pace::Rate(rate) => begin.elapsed().as_micros() as u64 * rate / 1_000_000,
            Pace::AtOnce(window) => {
                window + counts.done.load(Ordering::Relaxed) + counts.refused.load(Ordering::Relaxed)
            }
        };
        for number in begun..due {
            let invite = format!(
                "INVITE sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{name}{number};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:alice@example.test>;tag={number}\r\nTo: <sip:bob@example.test>\r\n\
                 Call-ID: {name}{number}\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@{at}>\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = socket.send(invite.as_bytes());
            counts.begun.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_micros(500));
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let outcome =
        Outcome { begun: count(&counts.begun), done: count(&counts.done), refused: count(&counts.refused) };
    stop.store(true, Ordering::Relaxed);
    going_on.join().unwrap();
    outcome
}

/// Somebody who is registered and answers at once, until he is dropped.
struct Bob {
    stop: Arc<AtomicBool>,
    answering: Option<thread::JoinHandle<()>>,
}

impl Bob {
    fn registered(server: &Server) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let at = socket.local_addr().unwrap();
        let register = format!(
            "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKr;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@example.test>;tag=r\r\nTo: <sip:bob@example.test>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:bob@{at}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(register.as_bytes(), server.udp).unwrap();
        let mut buffer = [0; 4_096];
        let length = socket.recv(&mut buffer).unwrap();
        assert!(
            buffer[..length].starts_with(b"SIP/2.0 200 "),
            "{}",
            String::from_utf8_lossy(&buffer[..length])
        );
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let answering = thread::spawn({
            let stop = Arc::clone(&stop);
            move || answer(&socket, &stop)
        });
        Self { stop, answering: Some(answering) }
    }
}

impl Drop for Bob {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.answering.take().map(thread::JoinHandle::join);
    }
}

/// Calls a second: what can be done, what became of three times as many, and some at once before and afterwards.
#[derive(Debug)]
#[allow(dead_code)] // to be read by people
struct Goodput {
    most: u64,
    offered: u64,
    done: u64,
    refused: u64,
    some: u64,
    again: u64,
    mebibytes: u64,
}

/// The most calls a second that are done all of them, from a rate on that can be done.
fn most(to: SocketAddr, from: u64) -> u64 {
    let mut rate = from;
    for step in 0..20 {
        let more = rate + rate / 12;
        let outcome = call(to, &format!("more{step}"), Pace::Rate(more), Duration::from_secs(1));
        // The last ones are under way yet.
        if outcome.refused > 0 || outcome.done < outcome.begun * 97 / 100 {
            break;
        }
        rate = more;
    }
    rate
}

/// Some calls at once, then ever more a second while all are done; three times as many for some time, and some at once again.
fn three_times_too_many(to: SocketAddr, server: &Server) -> Goodput {
    let time = std::env::var("INTEROP_OVERLOAD").ok().and_then(|seconds| seconds.parse().ok());
    let time = Duration::from_secs(time.unwrap_or(SECONDS));
    let calm_time = Duration::from_secs(3);
    let calm = call(to, "calm", Pace::AtOnce(WINDOW), calm_time);
    let some = calm.done / calm_time.as_secs();
    assert!(some > 100, "the machine makes no calls: {calm:?}");
    assert_eq!(calm.refused, 0, "{calm:?}");
    let most = most(to, some);
    let much = call(to, "much", Pace::Rate(most * 3), time);
    let done = much.done / time.as_secs();
    let after = call(to, "after", Pace::AtOnce(WINDOW), calm_time);
    let again = after.done / calm_time.as_secs();
    Goodput {
        most,
        offered: much.begun / time.as_secs(),
        done,
        refused: much.refused / time.as_secs(),
        some,
        again,
        mebibytes: server.process.memory() >> 20,
    }
}

#[test]
fn three_times_what_can_be_done_leaves_what_can_be_done() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("goodput");
    let server = Server::start(&dir, None, &[]);
    let _bob = Bob::registered(&server);
    let goodput = three_times_too_many(server.udp, &server);
    println!("{goodput:?}");
    // The callers take processor time from the server too, the more the more they call.
    assert!(goodput.done * 3 > goodput.most, "{goodput:?}");
    assert!(goodput.again * 3 > goodput.some * 2, "{goodput:?}");
}

/// The same where the callers have processors enough: what the server can do is all that is scarce. Each refusal takes three
/// datagrams of its time.
#[test]
fn a_server_that_has_little_time_does_most_of_what_it_can() {
    let Some(_turn) = turn(&[]) else { return };
    let Some(quota) = Quota::new(SCARCE) else { return };
    let dir = Dir::new("goodput-scarce");
    let server = Server::start(&dir, None, &[]);
    quota.add(&server.process);
    let _bob = Bob::registered(&server);
    let goodput = three_times_too_many(server.udp, &server);
    println!("{goodput:?}");
    assert!(goodput.done * 3 > goodput.most, "{goodput:?}");
    // The transactions of all those calls last 32 s, and no longer lie in the processor's caches.
    assert!(goodput.again * 2 > goodput.some, "{goodput:?}");
}

/// RFC 7339: a neighbour that heeds reports refuses in the server's place, which then does all that it can.
#[test]
fn rfc_7339_nearly_all_that_can_be_done_is_where_a_neighbour_heeds_reports() {
    let Some(_turn) = turn(&[]) else { return };
    let Some(quota) = Quota::new(SCARCE) else { return };
    let (dir, edge_dir) = (Dir::new("goodput-behind"), Dir::new("goodput-edge"));
    let server = Server::start(&dir, None, &[]);
    quota.add(&server.process);
    let _bob = Bob::registered(&server);
    let edge = Server::start(&edge_dir, None, &["--heed-overload", "--next-hop", &server.uri()]);
    let goodput = three_times_too_many(edge.udp, &server);
    println!("{goodput:?}");
    assert!(goodput.done * 5 > goodput.most * 4, "{goodput:?}");
    assert!(goodput.again * 2 > goodput.some, "{goodput:?}");
}
