//! A change of the session that the peer refuses (RFC 3261 §14.1): what was wished for is wished no longer. The cores alone, their
//! messages carried by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Instant;

use sdp::{LocalMedia, OfferAnswer};
use sip_dialog::{Body, Dialogs, Event};
use sip_message::{Limits, Method, Request, StatusCode};
use sip_transport::{Core, Local, Locals, Path, Transport, ingress};
use sip_ua::core::{PhoneConfig, PhoneCore, PhoneEvent};

const ALICE: &str = "192.0.2.1:5060";
const BOB: &str = "192.0.2.2:5060";

fn config(address: &str, seed: u8) -> sip_dialog::Config {
    let locals = Locals::new(vec![Local::new(Transport::Udp, address.parse().unwrap())]);
    sip_dialog::Config::new(sip_transaction::Config::new([seed; 32], locals))
}

/// Carries everything that one sends to the other.
fn carry(now: Instant, from: &mut impl Core, to: &mut impl Core, at: (&str, &str)) -> bool {
    let mut any = false;
    while let Some(transmit) = from.poll_transmit() {
        let mut path = Path::to(Transport::Udp, at.0.parse().unwrap());
        path.local = at.1.parse().unwrap();
        to.receive(now, ingress::datagram(transmit.payload, path, &Limits::default()).unwrap());
        any = true;
    }
    any
}

struct Talk {
    now: Instant,
    alice: PhoneCore,
    bob: Dialogs,
    media: OfferAnswer,
}

impl Talk {
    fn settle(&mut self) {
        while carry(self.now, &mut self.alice, &mut self.bob, (ALICE, BOB))
            | carry(self.now, &mut self.bob, &mut self.alice, (BOB, ALICE))
        {}
    }

    /// The next INVITE that Bob hears of, and its call.
    fn asked(&mut self) -> (sip_dialog::CallKey, Request) {
        self.settle();
        loop {
            match self.bob.poll_event().expect("an INVITE") {
                Event::Incoming { call, request, .. } | Event::Reinvited { call, request } => {
                    assert_eq!(*request.method(), Method::Invite);
                    return (call, request);
                }
                _ => {}
            }
        }
    }

    /// Bob takes what Alice offers next; gives the direction that she offers.
    fn takes(&mut self) -> String {
        let (call, request) = self.asked();
        let offer = std::str::from_utf8(request.body()).unwrap();
        let answer = self.media.receive_offer(&offer.parse().unwrap()).unwrap();
        self.bob.accept(self.now, call, Some(Body::sdp(answer.to_string()))).unwrap();
        self.settle();
        direction(&request)
    }

    /// Bob refuses it.
    fn refuses(&mut self) -> String {
        let (call, request) = self.asked();
        self.bob.reject(self.now, call, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
        self.settle();
        let told = std::iter::from_fn(|| self.alice.poll_event());
        let refused = |event: &PhoneEvent| {
            matches!(event, PhoneEvent::ChangeRefused { status: StatusCode::NOT_ACCEPTABLE_HERE, .. })
        };
        assert_eq!(told.filter(refused).count(), 1, "Alice hears of it once");
        direction(&request)
    }
}

fn direction(request: &Request) -> String {
    let body = std::str::from_utf8(request.body()).unwrap();
    let found =
        ["sendonly", "recvonly", "inactive"].into_iter().find(|one| body.contains(&format!("a={one}")));
    found.unwrap_or("sendrecv").into()
}

/// RFC 3264 §8.4, RFC 3261 §14.1: a hold that was refused is not in the next offer, nor is a resume that was.
#[test]
fn a_hold_that_is_refused_is_wished_no_longer() {
    let identity = "<sip:alice@example.com>".parse().unwrap();
    let media = LocalMedia::audio("192.0.2.2:4000".parse().unwrap());
    let mut talk = Talk {
        now: Instant::now(),
        alice: PhoneCore::new(PhoneConfig::new(identity, config(ALICE, 1))),
        bob: Dialogs::new(config(BOB, 2)),
        media: OfferAnswer::new(media, 7).unwrap(),
    };
    let now = talk.now;
    let to = format!("sip:bob@{BOB}").parse().unwrap();
    let call = talk.alice.call(now, &to, LocalMedia::audio("192.0.2.1:4000".parse().unwrap())).unwrap();
    assert_eq!(talk.takes(), "sendrecv");

    talk.alice.hold(now, call).unwrap();
    assert_eq!(talk.refuses(), "sendonly");
    talk.alice.refresh(now, call).unwrap();
    assert_eq!(talk.takes(), "sendrecv", "the peer is not on hold, and shall not be by the way");

    talk.alice.hold(now, call).unwrap();
    assert_eq!(talk.takes(), "sendonly");
    talk.alice.resume(now, call).unwrap();
    assert_eq!(talk.refuses(), "sendrecv");
    talk.alice.refresh(now, call).unwrap();
    assert_eq!(talk.takes(), "sendonly", "the peer is on hold as before");
}
