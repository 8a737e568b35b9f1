//! `sip resolve` against a name server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Output};

use serde_json::Value;

/// A name server that knows one domain (RFC 1035 §4): reads one question, answers it. It lives as long as the test.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&answer(&buffer[..length]), from);
        }
    });
    address
}

fn name(dotted: &str) -> Vec<u8> {
    let labels = dotted.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    octets.push(0);
    octets
}

fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&octet| octet == 0).unwrap() + 1;
    let question = query[12..end].to_ascii_lowercase();
    let kind = u16::from_be_bytes([query[end], query[end + 1]]);
    let known = ["example.test", "_sip._tcp.example.test", "sip1.example.test"];
    let naptr = [&[0, 90, 0, 50, 1, b's', 7][..], b"SIP+D2T", &[0], &name("_sip._tcp.example.test")].concat();
    let srv = [&[0, 10, 0, 60, 0x13, 0xce][..], &name("sip1.example.test")].concat();
    let records = [(known[0], 35, naptr), (known[1], 33, srv), (known[2], 1, vec![192, 0, 2, 7])];
    let data = records.into_iter().find(|(owner, of, _)| *of == kind && name(owner) == question);
    let exists = known.iter().any(|owner| name(owner) == question);
    let mut out = query[..2].to_vec();
    out.extend([0x85, if exists { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    out.extend_from_slice(&query[12..end + 4]);
    if let Some((_, _, data)) = data {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}

fn resolve(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sip")).arg("resolve").args(arguments).output().unwrap()
}

#[test]
fn each_step_is_explained() {
    let server = name_server().to_string();
    let output = resolve(&["sip:bob@example.test", "--dns", &server, "--ipv4"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "example.test NAPTR\n    90 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.test.\n\
                    _sip._tcp.example.test SRV\n    10 60 5070 sip1.example.test.\n\
                    sip1.example.test A\n    192.0.2.7\n\
                    1. tcp 192.0.2.7:5070\n";
    assert_eq!((text.as_str(), output.status.code()), (expected, Some(0)));
}

#[test]
fn machines_get_an_object_a_line() {
    let server = name_server().to_string();
    let output = resolve(&["sip:bob@example.test", "--dns", &server, "--ipv4", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines.iter().map(|line| line["type"].as_str()).collect::<Vec<_>>(),
        [Some("NAPTR"), Some("SRV"), Some("A"), None]
    );
    assert_eq!(lines[3]["remote"], "192.0.2.7:5070");
    assert_eq!(lines[3]["transport"], "tcp");
}

#[test]
fn what_leads_nowhere_is_4_and_what_is_no_uri_is_1() {
    let server = name_server().to_string();
    let output = resolve(&["sip:nowhere.test", "--dns", &server]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (error.as_str(), output.status.code()),
        ("sip: nowhere.test: no such name or no such record\n", Some(4))
    );
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("_sip._udp.nowhere.test SRV\n    no such name")
    );
    assert_eq!(resolve(&["tel:123"]).status.code(), Some(4));
    assert_eq!(resolve(&["not a uri"]).status.code(), Some(1));
}

#[test]
fn a_numeric_host_needs_no_question() {
    let output = resolve(&["sip:192.0.2.1", "--size", "2000"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1. tcp 192.0.2.1:5060\n2. udp 192.0.2.1:5060\n");
}
