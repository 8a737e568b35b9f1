//! Calls over a bad network that needs no rights: our relays lose, double, delay, reorder, reset and fall silent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use interop::{
    Call, Counts, Dir, Fate, Faults, Phone, Server, Sipp, TcpPeer, TcpRelay, Uas, UdpRelay,
    free_tcp_and_udp_port, status_of, turn,
};

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// 5 % lost, 2 % twice, 60±50 ms: they overtake each other.
fn bad(seed: u64) -> Faults {
    let [delay, jitter] = [60, 50].map(Duration::from_millis);
    Faults { seed, loss: 0.05, twice: 0.02, delay, jitter }
}

/// That the relay was as bad as it should be, or the test shows nothing.
fn assert_bad(relay: &UdpRelay) {
    let relayed = relay.relayed();
    let share = |part: u64| part as f64 / relayed.came as f64;
    assert!(relayed.came > 500 && (0.02..0.09).contains(&share(relayed.lost)), "{relayed:?}");
    assert!((0.005..0.05).contains(&share(relayed.twice)), "{relayed:?}");
}

#[test]
fn two_hundred_calls_complete_once_each_at_5_percent_loss_and_50_ms_of_jitter() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("relay-uas");
    let mut uas = Uas::start(&dir, "127.0.0.1");
    let relay = UdpRelay::start(uas.udp, bad(1));
    let sipp = Sipp::scenario("uac", Some(relay.address)).with(["-key", "domain", &uas.udp.to_string()]);
    sipp.with(["-d", "100"]).patient().calls(200, 50, 90).run(&dir, "caller");
    assert_bad(&relay);
    let counted = uas.end();
    assert_eq!((counted.calls, counted.ended, counted.others), (200, 200, 0));
}

/// Both sides of the proxy are bad.
#[test]
fn two_hundred_calls_through_the_proxy_complete_at_5_percent_loss_and_50_ms_of_jitter() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("relay-proxy");
    let mut uas = Uas::start(&dir, "127.0.0.1");
    let inner = UdpRelay::start(uas.udp, bad(2));
    let mut server =
        Server::start(&dir, None, &["--next-hop", &format!("sip:{};transport=udp", inner.address)]);
    let outer = UdpRelay::start(server.udp, bad(3));
    let caller =
        Sipp::scenario("uac", Some(outer.address)).with(["-key", "domain", "example.test"]).service("bob");
    caller.with(["-d", "100"]).patient().calls(200, 50, 90).run(&dir, "caller");
    assert_bad(&inner);
    assert_bad(&outer);
    let counted = uas.end();
    assert_eq!((counted.calls, counted.ended, counted.others), (200, 200, 0));
    assert_eq!(server.end(), Counts { granted: 0, proxied: 400, refused: 0, bindings: 0 });
}

/// Registration and calls of our own phones, with digest, over UDP and over a late TCP connection. The relays have the
/// server's port at another address, which is the domain.
#[test]
fn phones_register_and_call_over_a_bad_network() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("relay-phones");
    let users = ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned()));
    let port = free_tcp_and_udp_port();
    let [udp, tcp] = ["udp", "tcp"].map(|transport| format!("{transport}:127.0.0.1:{port}"));
    let arguments = ["--domain", "127.0.0.2", "--listen", &udp, "--listen", &tcp];
    let mut server = Server::start(&dir, Some(&users), &arguments);
    server.process.wait_for(&tcp);
    let relays = format!("127.0.0.2:{port}");
    let udp = UdpRelay::at(&relays, at(port), bad(4));
    let tcp = TcpRelay::at(&relays, at(port), &[], bad(5));
    for transport in ["udp", "tcp"] {
        let [alice, bob] = ["alice", "bob"].map(|name| format!("sip:{name}@{relays};transport={transport}"));
        let (listen, proxy) =
            (format!("{transport}:127.0.0.1:0"), format!("sip:{relays};transport={transport}"));
        let by = ["--password", "secret", "--proxy", &proxy, "--listen", &listen];
        let account = ["--register", &bob, "--answer", "--echo"];
        let mut phone = Phone::start(&dir, "bob", account.iter().chain(&by)).registered();
        for _ in 0..5 {
            let call = Call::run(&dir, &bob, ["--from", &alice, "--for", "0.3"].iter().chain(&by));
            assert_eq!(call.code, 0, "{}", call.json);
        }
        assert_eq!(phone.process.interrupt(), 0, "it unregisters");
    }
    assert!(udp.relayed().came > 40 && tcp.accepted() >= 6, "{:?}, {}", udp.relayed(), tcp.accepted());
    assert_eq!(server.end().bindings, 0);
}

fn options(server: SocketAddr, number: usize) -> String {
    format!(
        "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKr{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:m@example.test>;tag=m\r\nTo: <sip:{server}>\r\nCall-ID: relay-{number}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Cut at several places of a client's second request: nothing of a half is answered, and the next connection serves.
#[test]
fn a_connection_to_us_that_is_reset_in_mid_message_ends_alone() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("relay-reset-in");
    let mut server = Server::start(&dir, None, &[]);
    let [first, second] = [0, 1].map(|number| options(server.tcp, number));
    let cuts = [1, 40, second.len() / 2, second.len() - 1];
    let fates = cuts.map(|cut| Fate::ResetAfter(first.len() + cut));
    let relay = TcpRelay::start(server.tcp, &fates);
    for cut in cuts {
        let mut peer = TcpPeer::connect(relay.address);
        peer.send(&first);
        assert_eq!(status_of(&peer.response()), 200);
        peer.send(&second);
        assert!(peer.response().is_none() && peer.is_closed(), "answered after {cut} octets");
        let mut next = TcpPeer::connect(server.tcp);
        next.send(&second);
        assert_eq!(status_of(&next.response()), 200, "after a reset after {cut} octets");
    }
    assert_eq!(server.end().refused, 0);
}

/// The connection to the next hop breaks in the middle of a request, falls silent, or breaks in the middle of an answer.
///
/// A request that went down with its connection is sent once more over a new one, and an answer that did is given again: the
/// calls come about. But for the silent connection, which nobody can tell from a slow one before Timer B: it is given up then,
/// and the next call comes about.
#[test]
fn calls_over_a_connection_that_breaks_or_falls_silent_end_in_time() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("relay-reset-out");
    let cases = [
        (Fate::ResetAfter(100), 0),
        (Fate::ResetAfter(700), 0),
        (Fate::SilentAfter(700), 4),
        (Fate::ResetAfterAnswer(100), 0),
    ];
    let mut running = Vec::new();
    for (number, (fate, code)) in cases.into_iter().enumerate() {
        let uas = Uas::start(&dir, "127.0.0.1");
        let relay = TcpRelay::start(uas.tcp, &[fate]);
        let hop = format!("sip:{};transport=tcp", relay.address);
        let server = Server::start(&dir, None, &["--next-hop", &hop]);
        let name = format!("call-{number}");
        let call =
            Call::start(&dir, &name, "sip:bob@example.test", ["--proxy", &server.uri(), "--for", "0.2"]);
        running.push((fate, code, uas, relay, server, call));
    }
    for (fate, code, mut uas, relay, mut server, call) in running {
        let call = Call::end(call, Duration::from_secs(40));
        assert_eq!(call.code, code, "{fate:?}: {}", call.json);
        if code == 4 {
            assert_eq!(call.value("/status").as_u64(), Some(408), "{fate:?}: {}", call.json);
        }
        let call = Call::run(&dir, "sip:bob@example.test", ["--proxy", &server.uri(), "--for", "0.2"]);
        assert_eq!(call.code, 0, "{fate:?}: {}", call.json);
        let told = uas.end();
        let calls = if matches!(fate, Fate::SilentAfter(_)) { 1 } else { 2 };
        assert_eq!((told.calls, told.ended, relay.accepted()), (calls, calls, 2), "{fate:?}");
        // Two INVITEs and a BYE for each call, however often they were sent.
        assert_eq!(server.end().proxied, 2 + calls, "{fate:?}");
    }
}

/// 50,000 requests, of which not one answer is read: the server lets go of the connection, keeps little of what it would
/// have said, and answers others all along.
#[test]
fn a_peer_that_never_reads_loses_its_connection_and_others_do_not_notice() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("never-reads");
    let mut server = Server::start(&dir, None, &[]);
    let mut deaf = TcpStream::connect(server.tcp).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let before = server.process.memory();
    let mut most = 0;
    let mut cut_off = false;
    for number in 0..500 {
        let burst: String = (0..100).map(|one| options(server.tcp, number * 100 + one)).collect();
        match deaf.write_all(burst.as_bytes()) {
            // Backpressure, as long as it may last, is no end.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => cut_off = true,
            Ok(()) => {}
        }
        if number % 20 == 0 || cut_off {
            let mut other = TcpPeer::connect(server.tcp);
            other.send(options(server.tcp, 100_000 + number));
            assert_eq!(status_of(&other.response()), 200, "after {number} bursts");
            most = most.max(server.process.memory().saturating_sub(before));
        }
        if cut_off {
            break;
        }
    }
    assert!(cut_off, "it is still connected");
    println!("a peer that never reads cost {} KiB", most / 1024);
    assert!(most < 40 << 20, "{most} bytes more");
    assert_eq!(server.end().refused, 0);
}
