//! Peers of connections who stop, trickle, break off or never read: what they cost, and that others do not notice.
#![cfg(all(feature = "tls", feature = "ws"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "peer/certificates.rs"]
#[allow(dead_code, unreachable_pub)]
mod certificates;
mod peer;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certificates::Authority;
use peer::{PATIENCE, Peer, options, text};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sip_transport::limits::Limits;
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{Listen, Options, Sockets};
use sip_transport::websocket::{frame, handshake};
use sip_transport::{CloseReason, SendError, Transmit, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

fn peer(listen: &[&str], tls: Tls, limits: Limits) -> Peer {
    let listen: Vec<Listen> = listen.iter().map(|one| one.parse().unwrap()).collect();
    Peer::over(Sockets::bind_with_tls(&listen, tls).unwrap(), Options { limits, ..Options::default() })
}

async fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn client_config(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// A TLS client by hand, on a blocking socket, that can stop anywhere.
struct Slow {
    tls: ClientConnection,
    stream: std::net::TcpStream,
}

impl Slow {
    fn connect(to: SocketAddr, config: &Arc<ClientConfig>) -> Slow {
        let name = ServerName::try_from("b.example").unwrap();
        let tls = ClientConnection::new(config.clone(), name).unwrap();
        Slow { tls, stream: std::net::TcpStream::connect(to).unwrap() }
    }

    /// Everything up to the first message.
    fn shake_hands(&mut self) {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.stream).unwrap();
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).unwrap();
        }
    }

    /// Octets of the first flight.
    fn hello(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        self.tls.write_tls(&mut flight).unwrap();
        flight
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Two thousand handshakes, broken off after each number of octets of the first flight, after it, in the middle of the
/// second, after both, and in the middle of a message; by FIN and by reset. Nothing of them stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_broken_off_at_every_stage_leave_nothing_behind() {
    let authority = Authority::new("Test CA");
    let mut server = peer(&["tls:127.0.0.1:0"], authority.tls(&["b.example"]), Limits::default());
    let to = server.at(Transport::Tls);
    let config = client_config(&authority);
    let mut before = 0;
    for round in 0..2 {
        let config = config.clone();
        let aborted = tokio::task::spawn_blocking(move || {
            for number in 0..1_000_usize {
                let mut client = Slow::connect(to, &config);
                if number % 2 == 1 {
                    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                match number % 5 {
                    0 | 1 => {
                        let hello = client.hello();
                        client.stream.write_all(&hello[..number / 4 % hello.len()]).unwrap();
                    }
                    2 => {
                        let hello = client.hello();
                        client.stream.write_all(&hello).unwrap();
                        let mut some = vec![0; 1 + number % 900];
                        let _ = client.stream.read(&mut some);
                    }
                    3 => {
                        client.shake_hands();
                        let _ = client.stream.write_all(&[23, 3, 3, 0, 200, 1, 2, 3]);
                    }
                    _ => {
                        client.shake_hands();
                        client.say(b"OPTIONS sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2");
                    }
                }
            }
        });
        aborted.await.unwrap();
        eventually("all are gone", || server.handle.connections() == 0).await;
        // The first round has filled what is allocated once.
        if round == 0 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more after another thousand");
    let alice = peer(&["tls:127.0.0.1:0"], authority.tls(&["a.example"]), Limits::default());
    alice.send(Transmit {
        domain: Some("b.example".into()),
        ..options(Transport::Tls, alice.at(Transport::Tls), to, 7)
    });
    assert_eq!(server.request().await.0, 7);
}

/// R30, shortened: connections that trickle, over every transport, up to their limits; one good client all along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_trickle_are_cut_off_and_a_good_client_goes_on() {
    let authority = Authority::new("Test CA");
    let limits = Limits {
        handshake: Duration::from_secs(1),
        first_message: Duration::from_secs(1),
        handshakes: 150,
        ..Limits::default()
    };
    let listen = ["tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0"];
    let mut server = peer(&listen, authority.tls(&["b.example"]), limits);
    let [tcp, tls, ws] =
        [Transport::Tcp, Transport::Tls, Transport::Ws].map(|transport| server.at(transport));
    let mut alice = peer(&["tls:127.0.0.1:0"], authority.tls(&["a.example"]), Limits::default());
    let ask = |alice: &Peer, number| {
        let transmit = options(Transport::Tls, alice.at(Transport::Tls), tls, number);
        alice.send(Transmit { domain: Some("b.example".into()), ..transmit });
    };
    ask(&alice, 0);
    assert_eq!(server.request().await.0, 0);
    assert_eq!(alice.response().await.0, 0);

    let mut tricklers = Vec::new();
    for (to, number, begin) in [
        (tcp, 300, &b"OPTIONS sip:b@b.example SIP/2.0\r\nX: "[..]),
        (tls, 100, &[22, 3, 1, 1, 0, 1]),
        (ws, 100, b"GET / HTTP/1.1\r\nX: "),
    ] {
        for _ in 0..number {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(begin).await.unwrap();
            tricklers.push(stream);
        }
    }
    for number in 1..=20 {
        ask(&alice, number);
        assert_eq!(alice.response().await.0, number);
        for stream in &mut tricklers {
            let _ = stream.try_write(b"x");
        }
        sleep(Duration::from_millis(100)).await;
    }
    eventually("those who trickle are gone", || server.handle.connections() == 1).await;
    let counters = server.handle.counters();
    assert_eq!(counters.idle_closed, 300, "{counters:?}");
    assert_eq!(counters.handshake_timeouts + counters.handshake_failures + counters.refused_handshakes, 200);
    assert!(counters.refused_handshakes >= 50 && counters.handshake_timeouts >= 50, "{counters:?}");
    assert_eq!(counters.received, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_rotated_under_load_lose_nothing() {
    let authority = Authority::new("Test CA");
    let tls = authority.tls(&["b.example"]);
    let server = peer(&["tls:127.0.0.1:0"], tls.clone(), Limits::default());
    let to = server.at(Transport::Tls);
    let rotating = tokio::spawn(async move {
        for _ in 0..60 {
            tls.reload(authority.options(&["b.example"])).unwrap();
            sleep(Duration::from_millis(5)).await;
        }
        authority
    });
    // One who stays, and ever new ones.
    let strangers = Authority::new("Other CA");
    let insecure = || Tls::new(strangers.options(&["a.example"]).insecure(true)).unwrap();
    let mut steady = peer(&["tls:127.0.0.1:0"], insecure(), Limits::default());
    let mut number = 0;
    while !rotating.is_finished() {
        number += 1;
        steady.send(options(Transport::Tls, steady.at(Transport::Tls), to, number));
        assert_eq!(steady.response().await.0, number);
        let mut new = peer(&["tls:127.0.0.1:0"], insecure(), Limits::default());
        new.send(options(Transport::Tls, new.at(Transport::Tls), to, number));
        assert_eq!(new.response().await.0, number);
        new.handle.close();
    }
    assert!(number > 5, "{number} while the certificates changed");
    let counters = server.handle.counters();
    assert_eq!((counters.handshake_failures, counters.malformed_streams), (0, 0));
    assert_eq!(counters.received, u64::from(number) * 2);
    assert_eq!(steady.handle.counters().opened, 1, "the old connection stayed");
}

/// A reset in the middle of a message ends the connection and nothing else, whatever lies below the message.
#[tokio::test]
async fn a_reset_in_the_middle_of_a_message_ends_the_connection_alone() {
    let authority = Authority::new("Test CA");
    let listen = ["tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0"];
    let mut server = peer(&listen, authority.tls(&["b.example"]), Limits::default());
    let message = text(Transport::Tcp, "192.0.2.1:1".parse().unwrap(), 1);
    let half = &message.as_bytes()[..message.len() / 2];
    let reset = |stream: &std::net::TcpStream| {
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let config = client_config(&authority);
    for (before, transport) in (0..).zip([Transport::Tcp, Transport::Tls, Transport::Ws]) {
        // A connection is told of, and its end, once its handshakes are over.
        let is_open = || server.handle.counters().accepted == before + 1;
        let to = server.at(transport);
        match transport {
            Transport::Tls => {
                let (config, half) = (config.clone(), half.to_vec());
                let connected = tokio::task::spawn_blocking(move || {
                    let mut client = Slow::connect(to, &config);
                    client.shake_hands();
                    client.say(&half);
                    client.stream
                });
                let stream = connected.await.unwrap();
                eventually("it is in", is_open).await;
                reset(&stream);
            }
            _ => {
                let mut stream = TcpStream::connect(to).await.unwrap();
                if transport == Transport::Ws {
                    stream.write_all(&handshake::request("b.example", [0; 16])).await.unwrap();
                    let mut status = [0; 12];
                    timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
                    let whole = frame::message(message.as_bytes(), MASK);
                    stream.write_all(&whole[..whole.len() / 2]).await.unwrap();
                } else {
                    stream.write_all(half).await.unwrap();
                }
                eventually("it is in", is_open).await;
                reset(&stream.into_std().unwrap());
            }
        }
        let reason = server.closed().await;
        assert!(matches!(reason, CloseReason::Error(SendError::Closed)), "{transport}: {reason}");
        assert_eq!(server.handle.connections(), 0);
    }
    assert_eq!(server.handle.counters().received, 0);
}

/// What a peer does not read waits up to the limit and no further, encrypted or framed as well.
#[tokio::test]
async fn a_peer_that_never_reads_is_cut_off_over_tls_and_web_socket() {
    let authority = Authority::new("Test CA");
    let limits = Limits { send_queue: 64, ..Limits::default() };
    let mut server = peer(&["tls:127.0.0.1:0", "ws:127.0.0.1:0"], authority.tls(&["b.example"]), limits);
    server.handle.with(|core, _| core.body = 60_000);
    let config = client_config(&authority);
    for transport in [Transport::Tls, Transport::Ws] {
        let to = server.at(transport);
        let requests =
            move |number: u32| text(transport, "192.0.2.1:9".parse().unwrap(), number).into_bytes();
        let config = config.clone();
        let writing = tokio::task::spawn_blocking(move || {
            if transport == Transport::Tls {
                let mut client = Slow::connect(to, &config);
                client.shake_hands();
                for number in 0..100_000 {
                    client.tls.writer().write_all(&requests(number)).unwrap();
                    while client.tls.wants_write() {
                        if client.tls.write_tls(&mut client.stream).is_err() {
                            return;
                        }
                    }
                }
            } else {
                let mut stream = std::net::TcpStream::connect(to).unwrap();
                stream.write_all(&handshake::request("b.example", [0; 16])).unwrap();
                for number in 0..100_000 {
                    if stream.write_all(&frame::message(&requests(number), MASK)).is_err() {
                        return;
                    }
                }
            }
            panic!("nobody stopped a client that does not read");
        });
        assert_eq!(server.closed().await, CloseReason::SlowReader, "{transport}");
        writing.await.unwrap();
    }
    assert_eq!(server.handle.counters().slow_readers, 2);
}

/// R7 for TLS: a message arrives whole, however it is cut into records and records into segments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_tls_arrives_whole_wherever_it_is_cut() {
    let authority = Authority::new("Test CA");
    let mut server = peer(&["tls:127.0.0.1:0"], authority.tls(&["b.example"]), Limits::default());
    let to = server.at(Transport::Tls);
    let config = client_config(&authority);
    let sent_by: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let length = u32::try_from(text(Transport::Tls, sent_by, 100).len()).unwrap();
    let cutting = tokio::task::spawn_blocking(move || {
        let mut client = Slow::connect(to, &config);
        client.stream.set_nodelay(true).unwrap();
        client.shake_hands();
        for cut in 0..length {
            let message = text(Transport::Tls, sent_by, cut);
            let at = message.len().min(cut as usize);
            client.say(&message.as_bytes()[..at]);
            client.say(&message.as_bytes()[at..]);
            // And the records of one message cut into two segments.
            client.tls.writer().write_all(message.as_bytes()).unwrap();
            let record = client.hello();
            let (head, tail) = record.split_at(record.len().min(cut as usize));
            client.stream.write_all(head).unwrap();
            client.stream.write_all(tail).unwrap();
        }
        client
    });
    for number in 0..length {
        assert_eq!(server.request().await.0, number);
        assert_eq!(server.request().await.0, number);
    }
    drop(cutting.await.unwrap());
    assert_eq!(server.handle.counters().malformed_streams, 0);
}

/// A balancer of connections is believed if its network is named, and must speak then; nobody else is read as one.
#[tokio::test]
async fn the_proxy_protocol_is_read_from_named_networks_only() {
    let mut header = sip_transport::proxy_protocol::SIGNATURE.to_vec();
    header.extend([0x21, 0x11, 0, 12, 192, 0, 2, 77, 198, 51, 100, 1, 0x9c, 0x40, 0x13, 0xc4]);
    let request = text(Transport::Tcp, "10.0.0.1:5060".parse().unwrap(), 5);
    let listen = |network: &str| {
        let listen: Listen = "tcp:127.0.0.1:0".parse().unwrap();
        Peer::over(Sockets::bind(&[listen.proxy(network.parse().unwrap())]).unwrap(), Options::default())
    };
    let mut trusting = listen("127.0.0.0/8");
    let mut balancer = TcpStream::connect(trusting.at(Transport::Tcp)).await.unwrap();
    for octet in &header {
        balancer.write_all(&[*octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    balancer.write_all(request.as_bytes()).await.unwrap();
    let (number, path) = trusting.request().await;
    assert_eq!((number, path.remote), (5, "192.0.2.77:40000".parse().unwrap()));
    let mut answer = vec![0; 4_096];
    let length = timeout(PATIENCE, balancer.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.contains("received=192.0.2.77;") || answer.contains("received=192.0.2.77\r"), "{answer}");
    let mut without = TcpStream::connect(trusting.at(Transport::Tcp)).await.unwrap();
    without.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(
        timeout(PATIENCE, without.read(&mut [0])).await.unwrap().unwrap_or(0),
        0,
        "no header, no service"
    );

    let mut careful = listen("10.0.0.0/8");
    let mut liar = TcpStream::connect(careful.at(Transport::Tcp)).await.unwrap();
    liar.write_all(&header).await.unwrap();
    liar.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(careful.closed().await, CloseReason::Malformed);
    assert_eq!(careful.handle.counters().received, 0);
}
