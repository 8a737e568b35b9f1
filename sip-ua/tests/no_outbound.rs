//! Proxies that cannot hold a flow (RFC 5626 §4.2.1, §11.6), several of them. The core alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use sip_message::headers::{Contact, InstanceId, Supported};
use sip_message::{Limits, Method, Request, StatusCode};
use sip_transport::{Core, Local, Locals, Path, Transport, ingress};
use sip_ua::core::{PhoneConfig, PhoneCore, PhoneEvent};

const PROXIES: [&str; 2] = ["192.0.2.8:5060", "192.0.2.9:5060"];

fn at(address: &str) -> Locals {
    Locals::new(vec![Local::new(Transport::Udp, address.parse().unwrap())])
}

struct Alice {
    core: PhoneCore,
    now: Instant,
}

impl Alice {
    /// The REGISTERs that she sends, each with the proxy that it goes to.
    fn sent(&mut self) -> Vec<(usize, Request)> {
        let mut all = Vec::new();
        while let Some(transmit) = self.core.poll_transmit() {
            let proxy =
                PROXIES.iter().position(|proxy| transmit.path.remote == proxy.parse().unwrap()).unwrap();
            let request = Request::parse(transmit.payload, &Limits::default()).unwrap();
            assert_eq!(*request.method(), Method::Register);
            all.push((proxy, request));
        }
        all
    }

    fn answer(&mut self, (proxy, request): &(usize, Request), status: StatusCode, contact: bool) {
        let mut reply = request.reply(status).to_tag("registrar");
        if contact {
            reply = reply.header(&request.headers.require::<Contact>().unwrap());
        }
        let response = reply.build().unwrap().to_bytes();
        let mut path = Path::to(Transport::Udp, PROXIES[*proxy].parse().unwrap());
        path.local = self.core.dialogs().local_for(&"sip:192.0.2.8".parse().unwrap()).unwrap().bound;
        self.core.receive(self.now, ingress::datagram(response, path, &Limits::default()).unwrap());
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.core.handle_timeout(due);
        }
        self.now = end;
    }
}

fn reg_id(request: &Request) -> Option<u32> {
    request.headers.require::<Contact>().unwrap().reg_id()
}

/// When all of them have said so, one ordinary registration is made; in another network flows are tried again.
#[test]
fn when_no_proxy_holds_flows_there_is_one_ordinary_registration() {
    let identity = "<sip:alice@example.com>".parse().unwrap();
    let dialogs = sip_dialog::Config::new(sip_transaction::Config::new([4; 32], at("192.0.2.1:5060")));
    let mut config = PhoneConfig::new(identity, dialogs);
    config.instance = Some(InstanceId::uuid([7; 16]));
    config.outbound_proxies = PROXIES.map(|proxy| format!("sip:{proxy}").parse().unwrap()).to_vec();
    let mut alice = Alice { core: PhoneCore::new(config), now: Instant::now() };
    alice.core.register(alice.now).unwrap();
    let asked = alice.sent();
    assert_eq!(
        asked.iter().map(|(proxy, request)| (*proxy, reg_id(request))).collect::<Vec<_>>(),
        [(0, Some(1)), (1, Some(2))]
    );
    alice.answer(&asked[0], StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT, false);
    assert!(alice.sent().is_empty(), "the other one may hold a flow");
    alice.answer(&asked[1], StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT, false);
    let plain = alice.sent();
    assert_eq!(plain.len(), 1);
    let (proxy, request) = &plain[0];
    assert_eq!((*proxy, reg_id(request)), (0, None));
    let outbound = request.headers.all::<Supported>().flatten().any(|tag| tag.0 == "outbound");
    assert!(!outbound, "it does not offer what it does not use");
    alice.answer(&plain[0], StatusCode::OK, true);
    let events: Vec<PhoneEvent> = std::iter::from_fn(|| alice.core.poll_event()).collect();
    assert!(matches!(events[..], [PhoneEvent::Registered(_)]), "nothing has failed: {events:?}");
    // It is refreshed as it is, and the other proxy is left alone.
    alice.pass(Duration::from_secs(3600));
    let refreshed = alice.sent();
    assert!(!refreshed.is_empty());
    assert!(refreshed.iter().all(|(proxy, request)| (*proxy, reg_id(request)) == (0, None)));
    alice.answer(&refreshed[0], StatusCode::OK, true);

    let there = at("198.51.100.7:5060");
    alice.sent();
    alice.core.network_changed(alice.now, &there, |_, _| None);
    let asked = alice.sent();
    assert_eq!(
        asked.iter().map(|(proxy, request)| (*proxy, reg_id(request))).collect::<Vec<_>>(),
        [(0, Some(1)), (1, Some(2))]
    );
    let contacts = asked[0].1.headers.all::<Contact>().flatten().count();
    assert_eq!(contacts, 2, "the ordinary binding at the old address is taken back");
}
