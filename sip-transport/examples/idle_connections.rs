//! What an idle connection costs: opens thousands of them over loopback and prints the bytes of resident memory for each.
//!
//!     cargo run --release -p sip-transport --features tls --example idle_connections -- tcp 10000
//!     cargo run --release -p sip-transport --features tls --example idle_connections -- tls 2000
//!
//! The clients are a process of their own, so that only the driver's side is measured. Each connection has carried a request
//! and its response before it is idle. Needs twice as many file descriptors as connections in all: `ulimit -n`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sip_message::{Message, StatusCode};
use sip_transport::limits::Limits;
use sip_transport::tokio::tls::{Identity, Tls, TlsOptions};
use sip_transport::tokio::{Driver, Options, Sockets};
use sip_transport::{Answer, Core, FlowEvent, Query, Received, Token, Transmit, response};

/// Answers every request with 200.
#[derive(Default)]
struct Polite(VecDeque<Transmit>);

impl Core for Polite {
    fn receive(&mut self, _now: Instant, received: Received) {
        let Message::Request(request) = received.message else { return };
        let answer = request.reply(StatusCode::OK).to_tag("polite").build().unwrap();
        let way = response::path_of(&answer, &received.path).unwrap();
        let payload = answer.to_bytes();
        self.0.push_back(Transmit {
            path: way.path,
            payload,
            reopen: None,
            domain: None,
            token: Token::NONE,
        });
    }
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.0.pop_front()
    }
    fn flow_event(&mut self, _now: Instant, _event: FlowEvent) {}
    fn resolved(&mut self, _now: Instant, _answer: Answer) {}
    fn handle_timeout(&mut self, _now: Instant) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_query(&mut self) -> Option<Query> {
        None
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["clients", kind, at, number, certificate] => {
            clients(kind, at.parse().unwrap(), number.parse().unwrap(), certificate)
        }
        [kind @ ("tcp" | "tls"), number] => measure(kind, number.parse().unwrap()).await,
        _ => println!("usage: idle_connections tcp|tls NUMBER"),
    }
}

async fn measure(kind: &str, number: usize) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["example.test".to_owned()]).unwrap();
    let identity = Identity::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
    let tls = Tls::new(TlsOptions::new().identity(identity)).unwrap();
    let sockets = Sockets::bind_with_tls(&[format!("{kind}:127.0.0.1:0").parse().unwrap()], tls).unwrap();
    let limits = Limits {
        connections: number + 100,
        connections_per_source: number + 100,
        handshakes: number + 100,
        ..Limits::default()
    };
    let handle = Driver::spawn(Polite::default(), sockets, Options { limits, ..Options::default() });
    let at = handle.locals().iter().next().unwrap().bound;

    // One round first: what the process allocates once is no cost of a connection.
    let first = start_clients(kind, at, 50, &cert.pem());
    wait_for(|| handle.connections() == 50 && handle.counters().received == 50).await;
    end(first);
    wait_for(|| handle.connections() == 0).await;

    let before = resident();
    let many = start_clients(kind, at, number, &cert.pem());
    wait_for(|| handle.connections() == number && handle.counters().received >= 50 + number as u64).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let with = resident();
    let cpu = cpu_time();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = cpu_time() - cpu;
    end(many);
    wait_for(|| handle.connections() == 0).await;
    println!(
        "{number} idle {kind} connections: {} bytes each ({} KiB in all), {} KiB after their end; {idle} ms of CPU in 5 s idle",
        (with.saturating_sub(before)) / number,
        with.saturating_sub(before) / 1024,
        resident().saturating_sub(before) / 1024,
    );
}

fn start_clients(kind: &str, at: SocketAddr, number: usize, certificate: &str) -> std::process::Child {
    let program = std::env::current_exe().unwrap();
    let number = number.to_string();
    let arguments = ["clients", kind, &at.to_string(), &number, certificate];
    Command::new(program).args(arguments).stdin(Stdio::piped()).spawn().unwrap()
}

fn end(mut clients: std::process::Child) {
    drop(clients.stdin.take());
    clients.wait().unwrap();
}

/// Opens the connections, sends a request over each, and holds them until its standard input ends.
fn clients(kind: &str, at: SocketAddr, number: usize, certificate: &str) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let (mut plain, mut secure) = (Vec::new(), Vec::new());
    for _ in 0..number {
        let stream = TcpStream::connect(at).unwrap();
        if kind == "tcp" {
            plain.push(stream);
            ask(plain.last_mut().unwrap());
        } else {
            let name = "example.test".try_into().unwrap();
            secure.push(StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream));
            ask(secure.last_mut().unwrap());
        }
    }
    let _ = std::io::stdin().read(&mut [0]);
}

fn ask(stream: &mut (impl Read + Write)) {
    let request = "OPTIONS sip:a@example.test SIP/2.0\r\nVia: SIP/2.0/TCP client.invalid;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"SIP/2.0 200 OK"));
}

async fn wait_for(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Milliseconds of CPU that this process has used.
fn cpu_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}
