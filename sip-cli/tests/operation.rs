//! `sip server` in operation: what it tells its service manager and those who watch it, and how it ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;

use running::{PATIENCE, Running, sip};

fn get(at: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_server_reports_ready_answers_watchers_records_calls_and_drains() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("operation");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let (socket, records) = (folder.join("notify"), folder.join("calls.jsonl"));
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let arguments = [
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "example.com",
        "--no-auth",
        "--http",
        "127.0.0.1:0",
        "--call-records",
        records.to_str().unwrap(),
        "--drain",
        "60",
    ];
    let server = Running::start_with(&arguments, &[("NOTIFY_SOCKET", socket.to_str().unwrap())]);
    let at = server.address();
    let http = server.line("/metrics");
    let http = http.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert!(told().contains("READY=1"));

    let call = sip(&["call", &format!("sip:nobody@{at}")]);
    assert_eq!(call.status.code(), Some(5), "{call:?}");
    assert!(get(&http, "/metrics").contains("sip_calls_total{code=\"404\"} 1"));
    assert!(get(&http, "/readyz").starts_with("HTTP/1.1 200"));

    server.interrupt();
    server.line("draining");
    assert!(told().contains("STOPPING=1"));
    assert!(get(&http, "/readyz").starts_with("HTTP/1.1 503"));
    let begun = std::time::Instant::now();
    let line = loop {
        assert!(begun.elapsed() < PATIENCE, "no record");
        match std::fs::read_to_string(&records) {
            Ok(text) if text.ends_with('\n') => break text,
            _ => std::thread::yield_now(),
        }
    };
    let record: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!((record["status"].as_u64(), record["ending"].as_str()), (Some(404), Some("refused")));
    // Told once more, it does not wait.
    server.interrupt();
    server.end();
}
