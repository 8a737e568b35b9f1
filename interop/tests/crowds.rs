//! Crowds: what ten thousand idle connections, thousands of handshakes that come to nothing and thousands of calls that
//! nobody answers cost `sip server`, and that it is given back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use interop::{Call, Certificates, Dir, PATIENCE, Phone, Server, Sipp, turn};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

/// A number of the environment's, or the one for every day.
fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Gives a process so many file descriptors, if that is allowed.
fn allow_descriptors(process: u32, limit: usize) -> bool {
    let (process, limit) = (process.to_string(), format!("--nofile={limit}:"));
    Command::new("prlimit").args(["--pid", &process, &limit]).status().is_ok_and(|status| status.success())
}

/// Waits for something that is looked for, or tells what it waited for.
fn eventually(what: &str, patience: Duration, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < patience, "{what}");
        sleep(Duration::from_millis(50));
    }
}

fn options(number: usize) -> String {
    format!(
        "OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKi{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:m@example.test>;tag=m\r\nTo: <sip:example.test>\r\nCall-ID: idle-{number}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A connection that has carried a request and its answer, from one of many addresses of loopback: the server takes no more
/// than a thousand from one.
fn idle(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = Ipv4Addr::new(127, 0, 1, (number / 900) as u8);
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(options(number).as_bytes()).unwrap();
    let mut answer = [0; 2048];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"SIP/2.0 200 OK"), "connection {number}");
    stream
}

/// What the server takes at most, but for the few of the call.
const IDLE: usize = 9_900;

#[test]
fn ten_thousand_idle_connections_cost_a_few_kib_each_and_no_processor_time() {
    let Some(_turn) = turn(&["prlimit"]) else { return };
    let dir = Dir::new("idle");
    let mut server = Server::start(&dir, None, &[]);
    let enough = IDLE + 200;
    if !(allow_descriptors(std::process::id(), enough) && allow_descriptors(server.process.id(), enough)) {
        println!("skipped: {enough} file descriptors are not allowed here");
        return;
    }
    let bob = ["--register", "sip:bob@example.test", "--proxy", &server.uri(), "--answer", "--echo"];
    let _bob = Phone::start(&dir, "bob", bob).registered();
    // What the first of many allocate once is no cost of a connection.
    let descriptors = server.process.descriptors();
    drop((0..100).map(|number| idle(number, server.tcp)).collect::<Vec<_>>());
    eventually("the first connections go", PATIENCE, || server.process.descriptors() <= descriptors);
    let before = server.process.memory();

    let many: Vec<TcpStream> = (0..IDLE).map(|number| idle(number, server.tcp)).collect();
    let each = server.process.memory().saturating_sub(before) / IDLE as u64;
    let used = server.process.processor_time();
    sleep(Duration::from_secs(3)); // doing nothing takes a while to be seen
    let idle_time = server.process.processor_time() - used;
    let arguments = ["--from", "sip:alice@example.test", "--proxy", &server.uri(), "--for", "0.5"];
    let call = Call::run(&dir, "sip:bob@example.test", arguments);
    assert_eq!(call.code, 0, "{}", call.json);
    assert!(server.process.descriptors() >= descriptors + IDLE, "all of them are there after the call");

    // What they took is given back, to whoever comes next if not to the system.
    let most = server.process.memory();
    let mut many = many;
    for _ in 0..2 {
        drop(many);
        eventually("all connections go", PATIENCE, || server.process.descriptors() <= descriptors + 2);
        many = (0..IDLE).map(|number| idle(number, server.tcp)).collect();
    }
    drop(many);
    let again = server.process.memory();
    println!(
        "{IDLE} idle connections: {each} bytes each, {idle_time:?} of processor time in 3 s; {} KiB, the third time {} KiB",
        most / 1024,
        again / 1024
    );
    assert!(each <= 4_096, "{each} bytes each");
    assert!(idle_time <= Duration::from_millis(30), "{idle_time:?}");
    assert!(again <= most + most / 10, "{most} bytes, and {again} the third time");
    assert_eq!(server.end().refused, 0);
}

/// A TLS client by hand that can stop anywhere.
struct TlsClient {
    tls: ClientConnection,
    stream: TcpStream,
}

impl TlsClient {
    fn connect(to: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("example.test").unwrap();
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { tls: ClientConnection::new(Arc::clone(config), name).unwrap(), stream }
    }

    /// The octets that it would send now.
    fn flight(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut octets).unwrap();
        }
        octets
    }

    /// Reads what the server says until there is something to be said to it.
    fn listen(&mut self) {
        while !self.tls.wants_write() {
            if self.tls.read_tls(&mut self.stream).unwrap() == 0 || self.tls.process_new_packets().is_err() {
                return;
            }
        }
    }

    /// Breaks off at a stage, by FIN or by reset.
    fn break_off(mut self, number: usize) {
        if number % 2 == 1 {
            SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let cut = |octets: &[u8]| octets[..number / 5 % octets.len()].to_vec();
        let hello = self.flight();
        match number % 5 {
            0 => drop(self.stream.write_all(&cut(&hello))),
            1 => {
                let _ = self.stream.write_all(&hello);
                let _ = self.stream.read(&mut vec![0; 1 + number % 1_500]);
            }
            2 => {
                let _ = self.stream.write_all(&hello);
                self.listen();
                let finished = self.flight();
                let _ = self.stream.write_all(&cut(&finished));
            }
            stage => {
                let _ = self.stream.write_all(&hello);
                self.listen();
                self.tls.writer().write_all(&options(number).as_bytes()[..number % 200]).unwrap();
                let all = self.flight();
                let end = if stage == 3 { all.len() } else { all.len() - 1 - number % 20 };
                let _ = self.stream.write_all(&all[..end]);
            }
        }
    }
}

/// By FIN and reset: in the hello, while the server speaks, in the second flight, in a record and in a message. One client
/// goes on all along, and afterwards one calls.
#[test]
fn two_thousand_handshakes_broken_off_at_every_stage_cost_nothing_and_a_good_client_goes_on() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("handshakes");
    let certificates = Certificates::new(&dir);
    let users = ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned()));
    let mut server = Server::start_secure(&dir, &users, &certificates);
    let to = server.tls.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.ca).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let config = Arc::new(config);
    let TlsClient { tls, stream } = TlsClient::connect(to, &config);
    let mut good = StreamOwned::new(tls, stream);
    let mut ask = |number: usize| {
        good.write_all(options(number).as_bytes()).unwrap();
        let mut answer = [0; 2048];
        let length = good.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"SIP/2.0 200 OK"), "after {number}");
    };
    ask(0);
    let descriptors = server.process.descriptors();
    let mut memory = Vec::new();
    for round in 0..2 {
        for number in 0..1_000 {
            TlsClient::connect(to, &config).break_off(number);
            if number % 50 == 0 {
                ask(1 + round * 1_000 + number);
            }
        }
        eventually("those who broke off go", PATIENCE, || server.process.descriptors() <= descriptors);
        memory.push(server.process.memory());
    }
    println!(
        "{} KiB after a thousand handshakes broken off, {} KiB after another",
        memory[0] / 1024,
        memory[1] / 1024
    );
    assert!(memory[1] < memory[0] + (4 << 20), "{memory:?}");
    let phone = |arguments: &[&str], more: &[String]| {
        arguments.iter().map(|&one| one.to_owned()).chain(more.iter().cloned()).collect::<Vec<_>>()
    };
    let proxy = format!("sips:{to}");
    let by = ["--password", "secret", "--proxy", &proxy, "--listen", "tls:client:127.0.0.1"];
    let trust = certificates.trust();
    let bob =
        phone(&[&["--register", "sip:bob@example.test", "--answer", "--echo"][..], &by].concat(), &trust);
    let _bob = Phone::start(&dir, "bob", bob).registered();
    let alice = phone(&[&["--from", "sip:alice@example.test", "--for", "0.5"][..], &by].concat(), &trust);
    let call = Call::run(&dir, "sip:bob@example.test", alice);
    assert_eq!(call.code, 0, "{}", call.json);
    assert_eq!(server.process.interrupt(), 0);
}

/// R33: calls that nobody answers, all at once. Each ends by Timer B, and those who come next need no more memory.
///
/// The long run, `INTEROP_R33=100000`, has somebody ring for each of them, so that all are there together and end by
/// Timer C, minutes later.
#[test]
fn r33_thousands_of_calls_that_nobody_answers_cost_a_few_kilobytes_each_and_all_end() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("r33");
    let calls = number("INTEROP_R33", 6_000);
    let rings = calls > 20_000; // with 2,000 a second, more than Timer B lets live at a time
    let seconds = calls as u64 / 2_000 + if rings { 240 } else { 45 };
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let all_at_once = |sipp: Sipp| sipp.with(["-l", &(calls * 2).to_string()]);
    let mut next_hop = silent.local_addr().unwrap();
    let ringing = rings.then(|| {
        let callee = Sipp::scenario("uas-never-answers-behind-proxy", None).calls(
            3 * calls as u32,
            2_000,
            3 * seconds,
        );
        next_hop.set_port(callee.port);
        all_at_once(callee).start(&dir, "callee")
    });
    let mut server = Server::start(&dir, None, &["--next-hop", &format!("sip:{next_hop};transport=udp")]);
    let run = |name: &str, calls: usize| {
        let sipp = Sipp::scenario("uac-unanswered", Some(server.udp)).service("bob").patient();
        let sipp = all_at_once(sipp.with(["-key", "domain", "example.test"]));
        sipp.calls(calls as u32, 2_000, seconds).start(&dir, name)
    };
    // What the first hundreds of calls allocate once is no cost of a call.
    let first = run("first", 500);
    sleep(Duration::from_secs(2));
    let before = server.process.memory();
    let offered = Duration::from_secs(calls as u64 / 2_000 + 3);
    let mut most = Vec::new();
    for cycle in 0..2 {
        let name = format!("cycle-{cycle}");
        let mut sipp = run(&name, calls);
        sleep(offered); // all of them are there, and none has ended
        most.push(server.process.memory());
        if cycle == 1 {
            // Waiting for their end would show nothing new.
            assert!(sipp.is_running());
            break;
        }
        Sipp::succeed(sipp, &dir, &name, Duration::from_secs(seconds + 15));
        sleep(Duration::from_secs(6)); // Timer I: they are remembered for 5 s after their ACK
    }
    Sipp::succeed(first, &dir, "first", PATIENCE);
    let each = most[0].saturating_sub(before) / calls as u64;
    let mib: Vec<u64> = most.iter().map(|bytes| bytes >> 20).collect();
    println!("{calls} calls that nobody answers: {each} bytes each; {mib:?} MiB, time after time");
    // Of few calls, the tables' room for the next ones is a larger part.
    assert!(each <= if rings { 6_144 } else { 9_216 }, "{each} bytes each");
    assert!(most[1] <= most[0] + most[0] / 10, "{most:?}");
    assert_eq!(server.process.interrupt(), 0);
    drop(ringing);
}
