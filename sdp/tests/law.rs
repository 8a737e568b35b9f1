//! The law of offer/answer: two machines fed with each other's texts end in one new agreement, or both stay in the old one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sdp::{Codec, CodecOrder, Direction, LocalMedia, OfferAnswer, Options, SessionDescription};

const ANNE: usize = 0;

/// One thing that happens. Sides are 0 and 1.
#[derive(Clone, Debug)]
enum Step {
    /// An offer that arrives, and an answer that arrives.
    Exchange(usize),
    /// An offer that is refused or lost: rolled back.
    LostOffer(usize),
    /// An answer that is sent but never becomes valid: both sides take it back.
    LostAnswer(usize),
    /// Both offer at once: both refuse with 491 and roll back.
    Glare,
    Direction(usize, Direction),
    Media(usize, LocalMedia),
}

fn codecs() -> impl Strategy<Value = Vec<Codec>> {
    let all = vec![
        Codec::pcmu(),
        Codec::pcma(),
        Codec::new("G722", 8000),
        Codec::new("opus", 48000).with_channels(2).with_fmtp("useinbandfec=1"),
        Codec::new("L16", 16000),
        Codec::telephone_event(8000),
        Codec::telephone_event(48000),
    ];
    proptest::sample::subsequence(all, 1..=7)
        .prop_shuffle()
        .prop_filter("one to talk with", |codecs| codecs.iter().any(Codec::is_primary))
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        4 => Just(Direction::SendRecv),
        2 => Just(Direction::SendOnly),
        1 => Just(Direction::RecvOnly),
        1 => Just(Direction::Inactive),
    ]
}

fn media() -> impl Strategy<Value = LocalMedia> {
    let host = prop_oneof![4 => Just("192.0.2.1"), 2 => Just("198.51.100.1"), 2 => Just("2001:db8::1"), 1 => Just("0.0.0.0")];
    (host, 1..=u16::MAX, codecs(), direction(), proptest::option::of(10..60_u16), any::<bool>()).prop_map(
        |(host, port, codecs, direction, ptime, dual)| {
            let address = std::net::SocketAddr::new(host.parse().unwrap(), port);
            let other = if address.is_ipv4() { "[2001:db8::2]:4000" } else { "203.0.113.1:4000" };
            let other_family = dual.then(|| other.parse().unwrap());
            LocalMedia { address, rtcp_port: Some(port), other_family, codecs, direction, ptime }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2_usize;
    prop_oneof![
        6 => side.clone().prop_map(Step::Exchange),
        2 => side.clone().prop_map(Step::LostOffer),
        1 => side.clone().prop_map(Step::LostAnswer),
        1 => Just(Step::Glare),
        3 => (side.clone(), direction()).prop_map(|(side, direction)| Step::Direction(side, direction)),
        2 => (side, media()).prop_map(|(side, media)| Step::Media(side, media)),
    ]
}

/// Every description travels as text.
fn over_the_wire(description: &SessionDescription) -> SessionDescription {
    let text = description.to_string();
    let read: SessionDescription = text.parse().unwrap();
    assert_eq!(read.to_string(), text);
    read
}

/// Both agreements are one, seen from two sides.
fn assert_agreed(one: &OfferAnswer, two: &OfferAnswer) {
    let (Some(one), Some(two)) = (one.current(), two.current()) else {
        assert_eq!(one.current(), two.current());
        return;
    };
    assert_eq!(one.streams.len(), two.streams.len());
    for (near, far) in one.streams.iter().zip(&two.streams) {
        assert_eq!(near.line, far.line);
        assert_eq!(near.remote.socket_addr(), Some(far.local));
        assert_eq!(far.remote.socket_addr(), Some(near.local));
        assert_eq!(near.direction, far.direction.reverse());
        for (sender, receiver) in [(near, far), (far, near)] {
            // The same codecs under the same numbers in each direction; the two orders may differ.
            let numbers = |payloads: &[sdp::Payload]| {
                let mut all: Vec<_> = payloads
                    .iter()
                    .map(|p| (p.payload_type, p.codec.name().to_owned(), p.codec.clock_rate()))
                    .collect();
                all.sort();
                all
            };
            assert_eq!(numbers(&sender.send), numbers(&receiver.receive));
            let mut sent = sender.send_events.clone();
            let mut received = receiver.receive_events.clone();
            sent.sort_by_key(|events| events.payload_type);
            received.sort_by_key(|events| events.payload_type);
            assert_eq!(sent, received);
        }
        assert_eq!(
            near.codec().map(|p| p.codec.name()),
            far.codec().map(|p| p.codec.name()),
            "one codec both ways"
        );
    }
}

/// The rules that hold between the descriptions one side sends (RFC 3264 §8).
#[derive(Default)]
struct Sent {
    last: Option<SessionDescription>,
    lines: usize,
    meanings: std::collections::HashMap<u8, (String, u32)>,
}

impl Sent {
    fn check(&mut self, new: &SessionDescription) {
        let lines = new.media().len();
        assert!(lines >= self.lines, "lines are never removed");
        self.lines = lines;
        for section in new.media().filter(|section| section.port() != 0) {
            for payload in section.payloads() {
                let codec = (payload.codec.name().to_owned(), payload.codec.clock_rate());
                let known = self.meanings.entry(payload.payload_type).or_insert_with(|| codec.clone());
                assert_eq!(*known, codec, "a payload type keeps its meaning");
            }
        }
        if let Some(last) = &self.last {
            let (mut before, after) = (last.session().clone(), new.session().clone());
            let grown = after.origin.sess_version - before.origin.sess_version;
            before.origin.sess_version = after.origin.sess_version;
            assert_eq!(grown, u64::from(before != after), "the version counts changes, one by one");
            assert_eq!(before.origin, after.origin, "only the version of o= changes");
        }
        self.last = Some(new.clone());
    }
}

fn run(media: [LocalMedia; 2], orders: [CodecOrder; 2], steps: Vec<Step>) {
    let [anne, ben] = media;
    let options = |codec_order| Options { codec_order, ..Options::default() };
    let mut sides = [
        OfferAnswer::with_options(anne, 1, options(orders[0])).unwrap(),
        OfferAnswer::with_options(ben, 2, options(orders[1])).unwrap(),
    ];
    let mut sent = [Sent::default(), Sent::default()];
    for step in steps {
        let before = [sides[0].current().cloned(), sides[1].current().cloned()];
        let unchanged = |sides: &[OfferAnswer; 2]| {
            assert_eq!(sides[0].current(), before[0].as_ref());
            assert_eq!(sides[1].current(), before[1].as_ref());
        };
        match step {
            Step::Exchange(side) | Step::LostAnswer(side) => {
                let other = 1 - side;
                let offer = sides[side].create_offer().unwrap();
                sent[side].check(&offer);
                let offer = over_the_wire(&offer);
                let preview = sides[other].preview_offer(&offer);
                unchanged(&sides);
                match sides[other].receive_offer(&offer) {
                    Ok(answer) => {
                        sent[other].check(&answer);
                        assert_eq!(preview.ok().as_ref(), sides[other].current());
                        if matches!(step, Step::LostAnswer(_)) {
                            assert!(sides[side].rollback() && sides[other].undo_answer());
                            unchanged(&sides);
                        } else {
                            sides[side].receive_answer(&over_the_wire(&answer)).unwrap();
                        }
                    }
                    Err(error) => {
                        assert_eq!(error.status(), 488);
                        assert_eq!(preview.unwrap_err(), error);
                        assert!(sides[side].rollback());
                        unchanged(&sides);
                    }
                }
            }
            Step::LostOffer(side) => {
                sent[side].check(&sides[side].create_offer().unwrap());
                assert!(sides[side].rollback());
                unchanged(&sides);
            }
            Step::Glare => {
                let offers = [sides[0].create_offer().unwrap(), sides[1].create_offer().unwrap()];
                for side in [ANNE, 1] {
                    sent[side].check(&offers[side]);
                    assert_eq!(sides[side].receive_offer(&offers[1 - side]).unwrap_err().status(), 491);
                }
                assert!(sides.iter_mut().all(OfferAnswer::rollback));
                unchanged(&sides);
            }
            Step::Direction(side, direction) => sides[side].set_direction(direction),
            Step::Media(side, media) => sides[side].set_local(media).unwrap(),
        }
        assert_agreed(&sides[0], &sides[1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn two_machines_always_agree(
        anne in media(),
        ben in media(),
        orders in any::<[bool; 2]>(),
        steps in proptest::collection::vec(step(), 1..12),
    ) {
        let orders = orders.map(|local| if local { CodecOrder::Local } else { CodecOrder::Offerer });
        run([anne, ben], orders, steps);
    }
}
