//! What holds for any bytes, addresses and zones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use proptest::prelude::*;
use sip_message::headers::Via;
use sip_message::{Limits, Message};
use sip_transport::resolve::{MAX_CANDIDATES, MAX_SERVICES, MAX_TARGETS, Need, Progress, Resolution};
use sip_transport::{
    Naptr, Path, Question, Records, ResolveError, Srv, Supported, Transport, ingress, response,
};

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

/// What a name server may say to anything.
fn records() -> impl Strategy<Value = Result<Records, ResolveError>> {
    let service = prop_oneof![
        Just("SIP+D2U"),
        Just("SIP+D2T"),
        Just("SIPS+D2T"),
        Just("SIP+D2W"),
        Just("SIPS+D2W"),
        Just("E2U+sip"),
    ];
    let naptr =
        (0_u16..3, 0_u16..3, prop_oneof![Just("s"), Just("S"), Just("a"), Just("")], service, "[a-z.]{0,9}");
    let naptr = naptr.prop_map(|(order, preference, flags, service, replacement)| Naptr {
        order,
        preference,
        flags: flags.into(),
        service: service.into(),
        regexp: String::new(),
        replacement,
    });
    prop_oneof![
        proptest::collection::vec(naptr, 0..40).prop_map(|list| Ok(Records::Naptr(list))),
        proptest::collection::vec((any::<u16>(), any::<u16>(), "[a-z.]{0,9}"), 0..40).prop_map(|list| {
            let srv = |(priority, weight, target)| Srv { priority, weight, port: 5060, target };
            Ok(Records::Srv(list.into_iter().map(srv).collect()))
        }),
        proptest::collection::vec(any::<IpAddr>(), 0..10).prop_map(|list| Ok(Records::Addresses(list))),
        Just(Err(ResolveError::NotFound)),
        Just(Err(ResolveError::TimedOut)),
    ]
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

    /// However a zone looks, and whatever answers come in whatever order or never, a resolution ends after a bounded
    /// number of questions, with candidates or a reason.
    #[test]
    fn a_resolution_always_ends(
        uri in prop_oneof![
            Just("sip:example.com"), Just("sips:example.com"), Just("sip:example.com;transport=tcp"),
            Just("sip:example.com:5070"), Just("sip:example.com;transport=ws"),
        ],
        size in 0_usize..4000,
        random: u64,
        zone in proptest::collection::vec(records(), 1..30),
        turns in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let supported = Transport::ALL.iter().fold(Supported::NONE, |set, t| set.with(*t, true).with(*t, false));
        let mut resolution = Resolution::new(&uri.parse().unwrap(), Need { size, supported, random });
        let (mut answers, mut turns) = (zone.iter().cycle(), turns.iter().cycle());
        let (mut flying, mut asked) = (Vec::new(), 0);
        loop {
            let fresh = resolution.ask();
            asked += fresh.len();
            // NAPTR, what it names in groups or our own three, and A and AAAA of each target.
            prop_assert!(asked <= 1 + MAX_SERVICES.max(3) + 2 * MAX_TARGETS, "{asked} questions");
            flying.extend(fresh);
            prop_assert!(resolution.ask().is_empty(), "each question is given once");
            if !matches!(resolution.progress(), Progress::Waiting(_)) {
                break;
            }
            let turn = usize::from(*turns.next().unwrap());
            if turn % 16 == 0 {
                resolution.settle();
                flying.clear();
            } else {
                prop_assert!(!flying.is_empty(), "it waits for nothing");
                let question: Question = flying.swap_remove(turn % flying.len());
                resolution.answer(&question, answers.next().unwrap().clone());
                resolution.answer(&question, answers.next().unwrap().clone());
            }
        }
        if let Progress::Done(candidates) = resolution.progress() {
            prop_assert!(!candidates.is_empty() && candidates.len() <= MAX_CANDIDATES);
            prop_assert!(candidates.iter().all(|to| to.transport.is_secure() || !uri.starts_with("sips")));
            prop_assert!(candidates.windows(2).all(|two| two[0].host <= two[1].host), "hosts are not mixed");
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
