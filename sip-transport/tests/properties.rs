//! What holds for any bytes, addresses and zones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use proptest::prelude::*;
use sip_message::headers::Via;
use sip_message::{Limits, Message};
use sip_transport::resolve::{MAX_CANDIDATES, MAX_TARGETS, Need, Resolution, Step};
use sip_transport::{Path, Question, Records, ResolveError, Srv, Supported, Transport, ingress, response};

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), 1_u16..).prop_map(SocketAddr::from)
}

fn via_parameters() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        Just(";rport".to_owned()),
        (1_u16..).prop_map(|port| format!(";rport={port}")),
        any::<std::net::Ipv4Addr>().prop_map(|ip| format!(";received={ip}")),
        Just(";ttl=3".to_owned()),
        Just(";extension=\"a;b\"".to_owned()),
    ];
    proptest::collection::vec(one, 0..3).prop_map(|list| list.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_received_or_rejected(bytes: Vec<u8>, remote in address()) {
        let _ = ingress::datagram(bytes.into(), Path::to(Transport::Udp, remote), &Limits::default());
    }

    /// RFC 3581 §4 and RFC 3261 §18.2.2 together: who asks for rport gets the answer where he sent from.
    #[test]
    fn with_rport_the_response_goes_to_the_source(remote in address(), sent_by in address(), rest in via_parameters()) {
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {sent_by};branch=z9hG4bK1;rport{}\r\nCall-ID: 1\r\n\r\n",
            rest.replace(";rport", ";x-rport")
        );
        let path = Path::to(Transport::Udp, remote);
        let received = ingress::datagram(text.into(), path, &Limits::default()).unwrap();
        let via: Via = received.message.headers().require().unwrap();
        let way = response::way(&via, &path);
        prop_assert_eq!(way.path.remote.ip().to_canonical(), remote.ip().to_canonical());
        prop_assert_eq!(way.path.remote.port(), remote.port());
    }

    /// Whatever a client writes into its Via, the stamped request parses again and names the true source, if any.
    #[test]
    fn a_stamped_request_parses_and_tells_the_truth(remote in address(), rest in via_parameters()) {
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP host.example{rest};branch=z9hG4bK1\r\nCall-ID: 1\r\n\r\n"
        );
        let Ok(received) = ingress::datagram(text.into(), Path::to(Transport::Udp, remote), &Limits::default()) else {
            return Ok(());
        };
        let again = Message::parse(received.message.to_bytes(), &Limits::default()).unwrap();
        let via: Via = again.headers().require().unwrap();
        let told: IpAddr = via.received().unwrap().parse().unwrap();
        prop_assert_eq!(told, remote.ip().to_canonical());
        if let Some(rport) = via.rport() {
            prop_assert_eq!(rport, Some(remote.port()));
        }
    }

    /// However a zone looks, a resolution ends after a bounded number of questions, with candidates or a reason.
    #[test]
    fn a_resolution_always_ends(
        uri in prop_oneof![Just("sip:example.com"), Just("sips:example.com"), Just("sip:example.com;transport=tcp")],
        size in 0_usize..4000,
        random: u64,
        zone in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec((any::<u16>(), any::<u16>(), "[a-z.]{0,9}"), 0..40).prop_map(|list| {
                    Ok(Records::Srv(
                        list.into_iter()
                            .map(|(priority, weight, target)| Srv { priority, weight, port: 5060, target })
                            .collect(),
                    ))
                }),
                proptest::collection::vec(any::<IpAddr>(), 0..10).prop_map(|list| Ok(Records::Addresses(list))),
                Just(Err(ResolveError::NotFound)),
                Just(Err(ResolveError::TimedOut)),
            ],
            1..30
        ),
    ) {
        let supported = Transport::ALL.iter().fold(Supported::NONE, |set, t| set.with(*t, true).with(*t, false));
        let mut resolution = Resolution::new(&uri.parse().unwrap(), Need { size, supported, random });
        let mut answers = zone.iter().cycle();
        let mut asked = 0;
        while let Step::Ask(question) = resolution.step() {
            asked += 1;
            prop_assert!(asked <= MAX_TARGETS + 2, "asks {question:?} after {asked} questions");
            prop_assert!(matches!(question, Question::Srv(_) | Question::Addresses(_)));
            resolution.answer(answers.next().unwrap().clone());
        }
        if let Step::Done(candidates) = resolution.step() {
            prop_assert!(!candidates.is_empty() && candidates.len() <= MAX_CANDIDATES);
        }
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn listen_prints_what_it_reads(address in address(), tcp: bool) {
        use sip_transport::tokio::Listen;
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let listen = Listen::new(transport, address);
        prop_assert_eq!(listen.to_string().parse::<Listen>().unwrap(), listen);
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn any_text_is_a_listen_or_an_error(text: String) {
        let _ = text.parse::<sip_transport::tokio::Listen>();
    }
}

#[test]
fn an_empty_datagram_is_a_keep_alive() {
    let path = Path::to(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
    assert_eq!(
        ingress::datagram(Bytes::new(), path, &Limits::default()).unwrap_err(),
        ingress::Rejected::KeepAlive
    );
}
