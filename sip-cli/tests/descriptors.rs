//! A server that has run out of file descriptors (Linux alone tells what a process costs).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn options(transport: &str, number: u32) -> String {
    format!(
        "OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bK{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@example.test>;tag=1\r\nTo: <sip:example.test>\r\nCall-ID: 1\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Clock ticks of 10 ms that the process has used.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// R35: accepting pauses without a busy loop, datagrams are answered all along, and connections again when others end.
#[test]
fn without_file_descriptors_it_waits_and_recovers() {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sip"), "server", "--no-auth"])
        .args(["--domain", "example.test", "--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let server = Ended(child);
    let mut at = |transport: &str| {
        let line = lines.next().unwrap();
        line.strip_prefix(&format!("listening {transport}:")).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let (udp, tcp) = (at("udp"), at("tcp"));
    let many: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&tcp).unwrap()).collect();

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (before, start) = (ticks(server.0.id()), Instant::now());
    let mut number = 0;
    while start.elapsed() < Duration::from_secs(2) {
        number += 1;
        socket.send_to(options("UDP", number).as_bytes(), &udp).unwrap();
        let mut answer = [0; 1500];
        let length = socket.recv(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"SIP/2.0 200 OK"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = ticks(server.0.id()) - before;
    assert!(used < 40, "{} % of a processor while nothing could be accepted", used / 2);

    drop(many);
    let mut stream = TcpStream::connect(&tcp).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(options("TCP", 0).as_bytes()).unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK");
}
