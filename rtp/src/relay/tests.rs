use super::*;
use crate::packet::Header;
use crate::rtcp::feedback::{Feedback, Message, Nack};
use crate::rtcp::{self, ReceiverReport, ReportBlock, SenderReport};
use crate::srtp::{MasterKey, Profile};
use proptest::prelude::*;

const ALICE: &str = "192.0.2.1:4000";
const BOB: &str = "198.51.100.7:5000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn leg(now: Instant, address: &str) -> Leg {
    Leg::new(now, Some(Remote::port_pair(at(address))))
}

fn media(ssrc: u32, sequence_number: u16) -> Vec<u8> {
    let timestamp = u32::from(sequence_number).wrapping_mul(160);
    let header = Header { payload_type: 0, marker: false, sequence_number, timestamp, ssrc };
    header.build(&[0xd5; 160]).unwrap().to_vec()
}

fn header(datagram: &[u8]) -> Header {
    Packet::parse(datagram).unwrap().header
}

#[test]
fn media_and_reports_go_on_unchanged_and_strangers_get_nothing_through() {
    let now = Instant::now();
    let mut bridge = Bridge::new(leg(now, ALICE), leg(now, BOB));
    let mut datagram = media(7, 1);
    let forward = bridge.forward(now, Side::A, Channel::Rtp, at(ALICE), &mut datagram).unwrap();
    assert_eq!(forward, Forward { channel: Channel::Rtp, destination: at(BOB) });
    assert_eq!(datagram, media(7, 1));
    for number in 0..200 {
        let stranger = at("203.0.113.9:4000");
        let stolen = bridge.forward(now, Side::A, Channel::Rtp, stranger, &mut media(7, number));
        assert_eq!(stolen, Err(Dropped::Foreign { from: stranger }));
    }
    let report = rtcp::Packet::ReceiverReport(ReceiverReport { ssrc: 7, reports: vec![] });
    let mut datagram = Compound(vec![report]).build().unwrap().to_vec();
    let forward = bridge.forward(now, Side::A, Channel::Rtcp, at("192.0.2.1:4001"), &mut datagram).unwrap();
    assert_eq!(forward, Forward { channel: Channel::Rtcp, destination: at("198.51.100.7:5001") });
    let counted = bridge.statistics(Side::A);
    assert_eq!((counted.packets, counted.octets, counted.reports, counted.dropped), (1, 172, 1, 200));
}

#[test]
fn who_is_not_signalled_is_learned_by_packets_in_sequence() {
    let now = Instant::now();
    let mut bridge = Bridge::new(Leg::new(now, None), leg(now, BOB));
    let back = bridge.forward(now, Side::B, Channel::Rtp, at(BOB), &mut media(9, 1));
    assert_eq!(back, Err(Dropped::NoDestination));
    for (number, known) in [(1, false), (2, false), (3, false), (4, true), (5, true)] {
        let forth = bridge.forward(now, Side::A, Channel::Rtp, at(ALICE), &mut media(7, number));
        assert_eq!(forth.is_ok(), known, "{number}");
    }
    let back = bridge.forward(now, Side::B, Channel::Rtp, at(BOB), &mut media(9, 2)).unwrap();
    assert_eq!(back.destination, at(ALICE));
}

#[test]
fn a_leg_with_keys_meets_one_without_and_forgeries_are_not_even_learned() {
    let now = Instant::now();
    let profile = Profile::AesCm128HmacSha1Tag80;
    let key = |octet| MasterKey::new(profile, &[octet; 16], &[octet; 14]).unwrap();
    let mut alice = srtp::Session::new(profile, &key(1), &key(2)).unwrap();
    let ours = srtp::Session::new(profile, &key(2), &key(1)).unwrap();
    let mut bridge = Bridge::new(Leg::new(now, None).protected(ours), leg(now, BOB));
    for number in 0..10 {
        let forged = bridge.forward(now, Side::A, Channel::Rtp, at("203.0.113.9:1"), &mut media(7, number));
        assert_eq!(forged, Err(Dropped::Srtp(srtp::Error::AuthenticationFailed)));
    }
    for number in 1..=5 {
        let mut datagram = media(7, number);
        alice.protect_rtp(&mut datagram).unwrap();
        let forth = bridge.forward(now, Side::A, Channel::Rtp, at(ALICE), &mut datagram);
        if number >= 4 {
            assert_eq!(forth.unwrap().destination, at(BOB));
            assert_eq!(datagram, media(7, number));
        }
    }
    let mut datagram = media(9, 1);
    bridge.forward(now, Side::B, Channel::Rtp, at(BOB), &mut datagram).unwrap();
    assert_ne!(datagram, media(9, 1));
    alice.unprotect_rtp(&mut datagram).unwrap();
    assert_eq!(datagram, media(9, 1));
}

fn rewrite() -> Rewrite {
    let payload_types = vec![(0, 100)];
    Rewrite { ssrc: 0xbbbb, sequence_number: 65_534, timestamp: 1000, clock_rate: 8000, payload_types }
}

#[test]
fn a_rewritten_stream_goes_on_when_its_source_changes() {
    let mut now = Instant::now();
    let mut bridge = Bridge::new(leg(now, ALICE), leg(now, BOB).rewritten(rewrite()));
    let mut heard = Vec::new();
    let mut send = |now, ssrc, number| {
        let mut datagram = media(ssrc, number);
        let forward = bridge.forward(now, Side::A, Channel::Rtp, at(ALICE), &mut datagram);
        forward.map(|_| heard.push(header(&datagram)))
    };
    send(now, 7, 500).unwrap();
    send(now, 7, 501).unwrap();
    send(now, 7, 503).unwrap();
    assert_eq!(send(now, 8, 3), Err(Dropped::OtherSource { ssrc: 8 }));
    now += Duration::from_millis(200);
    send(now, 8, 9000).unwrap();
    send(now, 8, 9001).unwrap();
    let numbers: Vec<_> = heard.iter().map(|header| (header.sequence_number, header.timestamp)).collect();
    assert_eq!(numbers, [(65_534, 1000), (65_535, 1160), (1, 1480), (2, 1480 + 1600), (3, 1480 + 1760)]);
    assert!(heard.iter().all(|header| header.ssrc == 0xbbbb && header.payload_type == 100));
}

#[test]
fn reports_and_feedback_speak_of_the_streams_that_each_side_knows() {
    let now = Instant::now();
    let mut bridge = Bridge::new(leg(now, ALICE), leg(now, BOB).rewritten(rewrite()));
    bridge.forward(now, Side::A, Channel::Rtp, at(ALICE), &mut media(7, 500)).unwrap();

    // Bob reports on the stream that he hears; Alice reads it as one on hers.
    let block = ReportBlock { ssrc: 0xbbbb, extended_highest_sequence: 65_534, ..ReportBlock::default() };
    let report = rtcp::Packet::ReceiverReport(ReceiverReport { ssrc: 9, reports: vec![block] });
    let message = Message::Nack(Nack::pack([65_535]));
    let nack = rtcp::Packet::Feedback(Feedback { sender: 9, media: 0xbbbb, message });
    let mut datagram = Compound(vec![report, nack]).build().unwrap().to_vec();
    bridge.forward(now, Side::B, Channel::Rtcp, at("198.51.100.7:5001"), &mut datagram).unwrap();
    let Compound(packets) = Compound::parse(&datagram).unwrap();
    let block = ReportBlock { ssrc: 7, extended_highest_sequence: 500, ..block };
    assert_eq!(packets[0], rtcp::Packet::ReceiverReport(ReceiverReport { ssrc: 9, reports: vec![block] }));
    let message = Message::Nack(Nack::pack([501]));
    assert_eq!(packets[1], rtcp::Packet::Feedback(Feedback { sender: 9, media: 7, message }));

    // Alice's sender report becomes one of the stream that Bob hears.
    let timestamp = 500 * 160;
    let report = SenderReport { ssrc: 7, rtp_timestamp: timestamp, ..SenderReport::default() };
    let mut datagram = Compound(vec![rtcp::Packet::SenderReport(report.clone())]).build().unwrap().to_vec();
    bridge.forward(now, Side::A, Channel::Rtcp, at("192.0.2.1:4001"), &mut datagram).unwrap();
    let expected = SenderReport { ssrc: 0xbbbb, rtp_timestamp: 1000, ..report };
    assert_eq!(Compound::parse(&datagram).unwrap().0, [rtcp::Packet::SenderReport(expected)]);
}

#[test]
fn reports_share_the_port_of_media_only_where_that_was_agreed() {
    let now = Instant::now();
    let report = rtcp::Packet::ReceiverReport(ReceiverReport { ssrc: 7, reports: vec![] });
    let datagram = Compound(vec![report]).build().unwrap().to_vec();
    for agreed in [false, true] {
        let alice = if agreed { leg(now, ALICE).multiplexed() } else { leg(now, ALICE) };
        let mut bridge = Bridge::new(alice, leg(now, BOB));
        // A socket for both families gives the address in IPv6's form.
        let forward =
            bridge.forward(now, Side::A, Channel::Rtp, at("[::ffff:192.0.2.1]:4000"), &mut datagram.clone());
        let expected = Forward { channel: Channel::Rtcp, destination: at("198.51.100.7:5001") };
        assert_eq!(forward.ok(), agreed.then_some(expected));
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_dropped_or_goes_on(
        octets in proptest::collection::vec(any::<u8>(), 0..100),
        first in 120u8..200,
        rtcp: bool,
        rewritten: bool,
    ) {
        let now = Instant::now();
        let bob = leg(now, BOB);
        let bob = if rewritten { bob.rewritten(rewrite()) } else { bob };
        let mut bridge = Bridge::new(leg(now, ALICE).multiplexed(), bob);
        let mut datagram = octets;
        if let Some(octet) = datagram.first_mut() {
            *octet = first;
        }
        let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
        for side in [Side::A, Side::B] {
            let _ = bridge.forward(now, side, channel, at(ALICE), &mut datagram.clone());
        }
    }
}
