//! SRV, A and AAAA records from a name server on loopback.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;

use sip_transport::tokio::{DnsResolver, Resolve};
use sip_transport::{Question, Records, ResolveError, Srv};
use tokio::net::UdpSocket;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A name server that knows one domain: reads one question, answers it (RFC 1035 §4).
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&answer(&buffer[..length]), from).await;
        }
    });
    address
}

fn answer(query: &[u8]) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += 1 + length;
    }
    let question = &query[12..at + 5];
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let known = labels.join(".");
    let data: Option<Vec<u8>> = match (known.as_str(), kind) {
        ("_sip._udp.example.test", SRV) => {
            let mut data = vec![0, 10, 0, 60, 0x13, 0xce];
            for label in ["sip1", "example", "test"] {
                data.push(label.len() as u8);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            Some(data)
        }
        ("sip1.example.test", A) => Some(vec![192, 0, 2, 7]),
        ("sip1.example.test", AAAA) => {
            Some("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().into())
        }
        _ => None,
    };
    let exists = matches!(known.as_str(), "_sip._udp.example.test" | "sip1.example.test");
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[
        0x85,
        if exists { 0x80 } else { 0x83 },
        0,
        1,
        0,
        u8::from(data.is_some()),
        0,
        0,
        0,
        0,
    ]);
    out.extend_from_slice(question);
    if let Some(data) = data {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
    }
    out
}

#[tokio::test]
async fn services_and_addresses_are_found_and_others_are_not() {
    let resolver = DnsResolver::with_servers(&[name_server().await]).unwrap();
    let srv = resolver.resolve(Question::Srv("_sip._udp.example.test".into())).await.unwrap();
    let expected = Srv { priority: 10, weight: 60, port: 5070, target: "sip1.example.test.".into() };
    assert_eq!(srv, Records::Srv(vec![expected]));

    let addresses = resolver.resolve(Question::Addresses("sip1.example.test".into())).await.unwrap();
    let expected = Records::Addresses(vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
    assert_eq!(addresses, expected);

    for question in
        [Question::Srv("_sip._tcp.example.test".into()), Question::Addresses("nowhere.example.test".into())]
    {
        assert_eq!(resolver.resolve(question).await, Err(ResolveError::NotFound));
    }
}
