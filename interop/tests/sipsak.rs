//! sipsak: OPTIONS, registration, a flood and requests with octets at random, against `sip server`.
//!
//! sipsak 0.9 cuts ports of five digits in a URI, so the domain is `127.0.0.1` and the port an option of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use std::time::{Duration, Instant};

use interop::{Counts, Dir, Process, Server, isolated, turn};

const SELF: &str = "sip:127.0.0.1";

/// Runs it against the server and gives its exit code.
fn sipsak(dir: &Dir, server: &Server, arguments: &[&str]) -> i32 {
    let port = server.udp.port().to_string();
    let all = arguments.iter().copied().chain(["-r", &port]);
    Process::start(dir, "sipsak", "sipsak", all).finish_within(Duration::from_secs(60))
}

/// A server for the domain `127.0.0.1` whose two listeners have one port.
fn server(dir: &Dir, users: Option<&[(String, String)]>) -> Server {
    let listen = format!("tcp:127.0.0.1:{}", interop::free_tcp_and_udp_port());
    let udp = listen.replace("tcp", "udp");
    let mut server =
        Server::start(dir, users, &["--domain", "127.0.0.1", "--listen", &udp, "--listen", &listen]);
    let at = udp.trim_start_matches("udp:").parse().unwrap();
    server.process.wait_for(&listen);
    (server.udp, server.tcp) = (at, at);
    server
}

#[test]
fn options_and_registrations_with_digest_of_sipsak() {
    let Some(_turn) = turn(&["sipsak"]) else { return };
    let dir = Dir::new("sipsak");
    let dave = [("dave".to_owned(), "secret".to_owned())];
    let mut server = server(&dir, Some(&dave));
    for transport in ["udp", "tcp"] {
        assert_eq!(sipsak(&dir, &server, &["-E", transport, "-s", SELF]), 0, "OPTIONS over {transport}");
        let register = |password: &str| {
            let user = ["-u", "dave", "-a", password, "-s", "sip:dave@127.0.0.1"];
            let contact = ["-U", "-C", "sip:dave@127.0.0.1:9", "-x", "60", "-E", transport];
            sipsak(&dir, &server, &[&contact[..], &user].concat())
        };
        assert_eq!(register("secret"), 0, "over {transport}");
        assert_eq!(register("guess"), 2, "over {transport}");
    }
    assert_eq!(server.end(), Counts { granted: 2, proxied: 0, refused: 0, bindings: 1 });
}

/// OPTIONS is answered 200. After a flood a share of what is new is refused for a moment (503), and sipsak does not ask again.
fn comes_through(dir: &Dir, server: &Server, when: &str) {
    let began = Instant::now();
    while sipsak(dir, server, &["-s", SELF]) != 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "OPTIONS {when}");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("OPTIONS {when}: {:?}", began.elapsed());
}

/// Twenty thousand requests in a tenth of a second, then octets at random: who comes next is answered.
#[test]
fn a_flood_and_requests_at_random_of_sipsak_leave_the_server_well() {
    let Some(_turn) = turn(&["sipsak"]) else { return };
    if !isolated("a_flood_and_requests_at_random_of_sipsak_leave_the_server_well") {
        return; // a random octet may name another host
    }
    let dir = Dir::new("sipsak-flood");
    let mut server = server(&dir, None);
    assert_eq!(sipsak(&dir, &server, &["-F", "-e", "20000", "-s", SELF]), 0);
    comes_through(&dir, &server, "after the flood");
    for trash in ["1", "10", "100"] {
        // 3: one of them was beyond an answer, which is sipsak's end.
        let code = sipsak(&dir, &server, &["-R", "-t", trash, "-s", SELF]);
        assert!([0, 3].contains(&code), "sipsak ended with {code}");
        comes_through(&dir, &server, &format!("after {trash} octets at random"));
    }
    let counts = server.end();
    assert_eq!((counts.granted, counts.proxied, counts.bindings), (0, 0, 0), "{counts:?}");
}
