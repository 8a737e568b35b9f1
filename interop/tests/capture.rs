//! What is captured, read by others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use interop::{Call, Dir, PATIENCE, Phone, Process, Server, free_port, turn, wait_until_bound};

/// HEP version 3, received by sngrep as Homer would: it writes what it understood into a capture file.
#[test]
fn sngrep_receives_a_call_by_hep() {
    let Some(_turn) = turn(&["sngrep"]) else { return };
    let dir = Dir::new("hep");
    let port = free_port(0);
    let file = dir.file("hep.pcap");
    let listen = format!("udp:127.0.0.1:{port}");
    let mut sngrep = Process::start(
        &dir,
        "sngrep",
        "sngrep",
        ["-F", "-N", "-q", "-L", &listen, "-O", file.to_str().unwrap()],
    );
    wait_until_bound(port);
    let hep = format!("127.0.0.1:{port}");
    let server = Server::start(&dir, None, &["--hep", &hep, "--hep-id", "7"]);
    let _phone = Phone::start(
        &dir,
        "bob",
        ["--register", "sip:bob@example.test", "--proxy", &server.uri(), "--answer", "--echo"],
    )
    .registered();
    let call = Call::run(
        &dir,
        "sip:bob@example.test",
        ["--from", "sip:alice@example.test", "--proxy", &server.uri(), "--for", "1"],
    );
    assert_eq!(call.code, 0, "{}", call.json);
    let wanted = ["REGISTER sip:", "INVITE sip:bob@", "SIP/2.0 200 OK", "ACK sip:", "BYE sip:"];
    let start = Instant::now();
    loop {
        let capture = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&capture);
        let missing: Vec<_> = wanted.iter().filter(|one| !text.contains(*one)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "sngrep has not written {missing:?}");
        sleep(Duration::from_millis(100));
    }
    sngrep.interrupt();
}
