use super::*;
use crate::ntp::NtpTimestamp;
use crate::rtcp::extended::{VoipMetrics, Wanted};
use crate::rtcp::feedback::{FullIntraRequest, MaximumBitRate, Message, Nack};
use crate::rtcp::{Packet as RtcpPacket, ReceiverReport, ReportBlock, SourceDescription};
use proptest::prelude::*;

fn config(seed: u8) -> Config {
    Config::new(
        [seed; 32],
        &format!("user{seed}@example.com"),
        NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000)),
    )
}

fn peer() -> SocketAddr {
    "192.0.2.2:4000".parse().unwrap()
}

fn session(now: Instant) -> Session {
    let mut session = Session::new(now, config(1));
    session.set_remote(now, Remote::port_pair(peer()));
    session
}

fn packet(ssrc: u32, sequence_number: u16) -> Bytes {
    Header {
        payload_type: 0,
        marker: false,
        sequence_number,
        timestamp: u32::from(sequence_number) * 160,
        ssrc,
    }
    .build(&[0xff; 160])
    .unwrap()
}

fn rtcp_peer() -> SocketAddr {
    "192.0.2.2:4001".parse().unwrap()
}

fn drain(session: &mut Session) -> Vec<Compound> {
    std::iter::from_fn(|| session.poll_transmit())
        .map(|transmit| Compound::parse(&transmit.payload).unwrap())
        .collect()
}

#[test]
fn nothing_is_sent_before_signalling_says_where_to() {
    let now = Instant::now();
    let mut session = Session::new(now, config(1));
    let before = session.timestamp();
    assert_eq!(session.send(now, 0, false, &[0; 160], 160), Err(SendError::NoRemote));
    assert_eq!(session.timestamp(), before.wrapping_add(160));
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn rfc3550_6_4_first_report_of_a_sender_is_sr_with_sdes_of_a_listener_rr() {
    let now = Instant::now();
    for sends in [true, false] {
        let mut session = session(now);
        if sends {
            session.send(now, 0, true, &[0; 160], 160).unwrap();
        }
        let due = session.poll_timeout().unwrap();
        assert!(due - now <= Duration::from_secs(4), "half the minimum, dithered");
        session.handle_timeout(due);
        let reports = drain(&mut session);
        let [first, RtcpPacket::SourceDescription(chunks)] = &reports[0].0[..] else {
            panic!("report and SDES")
        };
        assert_eq!(chunks[0].cname(), Some("user1@example.com"));
        match first {
            RtcpPacket::SenderReport(report) => {
                assert!(sends);
                assert_eq!((report.packet_count, report.octet_count), (1, 160));
                let elapsed = ((due - now).as_secs_f64() * 8000.0) as u32;
                assert!(report.rtp_timestamp.wrapping_sub(session.timestamp() - 160).abs_diff(elapsed) <= 1);
            }
            RtcpPacket::ReceiverReport(_) => assert!(!sends),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rfc3550_6_6_close_says_bye_only_after_something_was_sent() {
    let now = Instant::now();
    let mut silent = session(now);
    silent.close(now, None);
    assert!(drain(&mut silent).is_empty());
    let mut spoken = session(now);
    spoken.send(now, 0, true, &[0; 160], 160).unwrap();
    spoken.close(now, Some("call ended"));
    let compounds = drain(&mut spoken);
    let Some(RtcpPacket::Bye(bye)) = compounds[0].0.last() else { panic!("BYE last") };
    assert_eq!((bye.ssrcs[0], bye.reason.as_deref()), (spoken.ssrc(), Some("call ended")));
    assert_eq!(spoken.send(now, 0, true, &[0; 160], 160), Err(SendError::Closed));
    assert_eq!(spoken.poll_timeout(), None);
}

#[test]
fn rfc3550_6_3_5_a_silent_source_is_timed_out_and_its_counters_stay() {
    let now = Instant::now();
    let mut session = session(now);
    for sequence in 0..10 {
        let _ = session.receive_rtp(now, peer(), &packet(7, sequence));
    }
    let mut events = Vec::new();
    for _ in 0..20 {
        let due = session.poll_timeout().unwrap();
        session.handle_timeout(due);
        drain(&mut session);
        events.extend(std::iter::from_fn(|| session.poll_event()));
    }
    assert!(events.contains(&Event::SourceJoined { ssrc: 7 }));
    assert!(events.contains(&Event::SourceLeft { ssrc: 7, cause: LeaveCause::TimedOut }));
    assert_eq!(session.statistics().received.packets, 9);
}

#[test]
fn rfc3550_8_2_our_ssrc_from_elsewhere_makes_us_say_bye_and_change_once() {
    let now = Instant::now();
    let mut config = config(1);
    config.hear_reflections = false;
    let mut session = Session::new(now, config);
    session.set_remote(now, Remote::port_pair(peer()));
    session.send(now, 0, true, &[0; 160], 160).unwrap();
    let old = session.ssrc();
    assert_eq!(session.receive_rtp(now, peer(), &packet(old, 1)), Err(Discard::Looped { ssrc: old }));
    assert_ne!(session.ssrc(), old);
    assert!(matches!(drain(&mut session)[0].0.last(), Some(RtcpPacket::Bye(bye)) if bye.ssrcs == [old]));
    let new = session.ssrc();
    assert_eq!(session.receive_rtp(now, peer(), &packet(new, 2)), Err(Discard::Looped { ssrc: new }));
    assert_eq!(session.ssrc(), new, "a known address in conflict is a loop");
}

/// An echo service sends our packets back as they are: after one change of SSRC it is heard like anybody else.
#[test]
fn an_echo_is_heard() {
    let mut now = Instant::now();
    let mut session = session(now);
    let mut heard = 0;
    for _ in 0..10 {
        now += Duration::from_millis(20);
        let sent = session.send(now, 0, false, &[0; 160], 160).unwrap();
        heard += usize::from(session.receive_rtp(now, peer(), &sent.payload).is_ok());
    }
    assert_eq!(heard, 8, "one for the change, one for probation");
}

#[test]
fn a_storm_of_sources_is_bounded_and_spares_the_real_one() {
    let now = Instant::now();
    let mut session = session(now);
    for sequence in 0..5 {
        let _ = session.receive_rtp(now, peer(), &packet(7, sequence));
    }
    for ssrc in 1000..6000 {
        assert!(session.receive_rtp(now, peer(), &packet(ssrc, 1)).is_err());
    }
    assert_eq!(session.sources.len(), 16);
    assert!(session.receive_rtp(now, peer(), &packet(7, 5)).unwrap().is_some());
}

#[test]
fn rfc3550_6_4_1_round_trip_needs_our_own_lsr() {
    let now = Instant::now();
    let mut session = session(now);
    session.send(now, 0, true, &[0; 160], 160).unwrap();
    let due = session.poll_timeout().unwrap();
    session.handle_timeout(due);
    let sent = drain(&mut session);
    let RtcpPacket::SenderReport(report) = &sent[0].0[0] else { panic!("SR") };
    let answer = |lsr: u32| {
        let block = ReportBlock {
            ssrc: session.ssrc,
            last_sender_report: lsr,
            delay_since_last_sender_report: 65536,
            fraction_lost: 64,
            cumulative_lost: 3,
            jitter: 80,
            ..ReportBlock::default()
        };
        Compound(vec![
            RtcpPacket::ReceiverReport(ReceiverReport { ssrc: 9, reports: vec![block] }),
            RtcpPacket::SourceDescription(vec![SourceDescription::with_cname(9, "bob")]),
        ])
        .build()
        .unwrap()
    };
    let (forged, honest) = (answer(report.ntp.middle() ^ 1), answer(report.ntp.middle()));
    let later = due + Duration::from_millis(1120);
    session.receive_rtcp(later, rtcp_peer(), &forged).unwrap();
    assert_eq!(session.statistics().round_trip, None);
    session.receive_rtcp(later, rtcp_peer(), &honest).unwrap();
    let statistics = session.statistics();
    let measured = statistics.round_trip.unwrap().last;
    assert!(measured.abs_diff(Duration::from_millis(120)) < Duration::from_millis(1), "{measured:?}");
    let reported = statistics.sent.reported.unwrap();
    assert_eq!(
        (reported.lost, reported.fraction_lost, reported.jitter),
        (3, 0.25, Duration::from_millis(10))
    );
    assert_eq!(session.cname(9), Some("bob"));
}

#[test]
fn rfc5761_rtcp_on_the_rtp_port_only_when_agreed() {
    let now = Instant::now();
    let mut session = session(now);
    let report = Compound(vec![RtcpPacket::ReceiverReport(ReceiverReport { ssrc: 9, reports: vec![] })])
        .build()
        .unwrap();
    assert_eq!(session.receive_rtp(now, peer(), &report), Err(Discard::NotMultiplexed));
    session.set_multiplexed(true);
    assert_eq!(session.receive_rtp(now, peer(), &report), Ok(None));
    let due = session.poll_timeout().unwrap();
    session.handle_timeout(due);
    let transmit = session.poll_transmit().unwrap();
    assert_eq!((transmit.channel, transmit.destination), (Channel::Rtp, peer()));
}

#[test]
fn a_million_packets_from_a_stranger_change_nothing() {
    let now = Instant::now();
    let mut session = session(now);
    for sequence in 0..3 {
        let _ = session.receive_rtp(now, peer(), &packet(7, sequence));
    }
    let stranger = "203.0.113.9:4000".parse().unwrap();
    for sequence in 0..50_000u32 {
        assert!(session.receive_rtp(now, stranger, &packet(7, sequence as u16)).is_err());
    }
    assert_eq!(session.statistics().discarded.foreign, 50_000);
    assert_eq!(session.send(now, 0, false, b"x", 160).unwrap().destination, peer());
    assert!(session.receive_rtp(now, peer(), &packet(7, 3)).unwrap().is_some());
}

proptest! {
    #[test]
    fn random_octets_and_instants_never_panic_and_stay_bounded(
        inputs in proptest::collection::vec(
            (any::<bool>(), 0u64..20_000, 0u8..4, proptest::collection::vec(any::<u8>(), 0..80)), 1..60)
    ) {
        let mut now = Instant::now();
        let mut session = session(now);
        for (rtcp, milliseconds, shape, mut octets) in inputs {
            now += Duration::from_millis(milliseconds);
            if let (true, [first, second, ..]) = (shape > 0, &mut octets[..]) {
                *first = 0x80 | (*first & 0x3f);
                if rtcp { *second = 200 + (*second % 8); }
            }
            if rtcp {
                let _ = session.receive_rtcp(now, rtcp_peer(), &octets);
            } else {
                let _ = session.receive_rtp(now, peer(), &octets);
            }
            let _ = session.send(now, 0, false, &octets, 160);
            session.handle_timeout(now);
            prop_assert!(session.sources.len() <= 16 && session.events.len() <= MAX_EVENTS);
            prop_assert!(session.transmits.len() <= MAX_TRANSMITS);
        }
        session.close(now, None);
        prop_assert!(session.poll_timeout().is_none());
    }
}

/// Two sessions that talk to each other, each with what `set` makes of its configuration.
fn pair(now: Instant, set: impl Fn(&mut Config)) -> (Session, Session) {
    let session = |seed, remote: SocketAddr| {
        let mut config = config(seed);
        set(&mut config);
        let mut session = Session::new(now, config);
        session.set_remote(now, Remote::multiplexed(remote));
        session.set_multiplexed(true);
        session
    };
    (session(1, at(2)), session(2, at(1)))
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4000))
}

/// Everything that waits in `from` is heard by `to`, and what `to` has to say about it.
fn deliver(now: Instant, from: &mut Session, to: &mut Session, address: SocketAddr) -> Vec<Event> {
    while let Some(transmit) = from.poll_transmit() {
        let _ = to.receive_rtp(now, address, &transmit.payload);
    }
    std::iter::from_fn(|| to.poll_event()).collect()
}

#[test]
fn rfc4585_what_is_missing_and_pictures_are_asked_for_at_once() {
    let now = Instant::now();
    for reduced_size in [false, true] {
        let (mut alice, mut bob) = pair(now, |config| {
            (config.feedback, config.reduced_size) = (true, reduced_size);
        });
        let media = alice.ssrc();
        bob.send_feedback(now, media, Message::Nack(Nack::pack([7, 9]))).unwrap();
        bob.send_feedback(now, media, Message::PictureLossIndication).unwrap();
        bob.send_feedback(now, media ^ 1, Message::PictureLossIndication).unwrap();
        let by = bob.ssrc();
        let events = deliver(now, &mut bob, &mut alice, at(2));
        assert_eq!(events, [Event::PacketsMissing { by, missing: vec![7, 9] }, Event::KeyFrameWanted { by }]);
    }
}

#[test]
fn rfc5104_4_3_1_2_a_full_intra_request_that_is_repeated_counts_once() {
    let now = Instant::now();
    let (mut alice, mut bob) = pair(now, |config| config.feedback = true);
    let (ssrc, by) = (alice.ssrc(), bob.ssrc());
    let ask = |sequence_number| Message::FullIntraRequest(vec![FullIntraRequest { ssrc, sequence_number }]);
    for (number, wanted) in [(1, true), (1, false), (2, true)] {
        bob.send_feedback(now, 0, ask(number)).unwrap();
        let events = deliver(now, &mut bob, &mut alice, at(2));
        assert_eq!(events.contains(&Event::KeyFrameWanted { by }), wanted, "{number}");
    }
}

#[test]
fn rfc5104_4_2_1_limits_of_the_bit_rate_reach_the_application() {
    let now = Instant::now();
    let (mut alice, mut bob) = pair(now, |config| config.feedback = true);
    let (ssrc, by) = (alice.ssrc(), bob.ssrc());
    let limit = MaximumBitRate { ssrc, bit_rate: 256_000, overhead: 40 };
    bob.send_feedback(now, 0, Message::MaximumBitRateRequest(vec![limit])).unwrap();
    bob.send_feedback(now, 0, Message::EstimatedMaximumBitRate { bit_rate: 128_000, sources: vec![ssrc] })
        .unwrap();
    let events = deliver(now, &mut bob, &mut alice, at(2));
    let expected = [256_000, 128_000].map(|bit_rate| Event::MaximumBitRate { by, bit_rate });
    assert_eq!(events, expected);
}

#[test]
fn rfc4585_feedback_keeps_to_the_bandwidth_of_rtcp_and_to_what_was_agreed() {
    let mut now = Instant::now();
    let (mut alice, _) = pair(now, |_| ());
    assert_eq!(alice.send_feedback(now, 1, Message::PictureLossIndication), Err(FeedbackError::NotAgreed));
    let (mut alice, _) = pair(now, |config| config.feedback = true);
    let mut sent = 0;
    for _ in 0..1000 {
        sent += usize::from(alice.send_feedback(now, 1, Message::PictureLossIndication).is_ok());
        while alice.poll_transmit().is_some() {}
        now += Duration::from_millis(10);
    }
    // 500 octets a second for 10 s and the first burst, at 48 octets each.
    assert!((130..=140).contains(&sent), "{sent}");
}

#[test]
fn rfc3611_4_5_two_listeners_measure_the_round_trip() {
    let mut now = Instant::now();
    let (mut alice, mut bob) = pair(now, |config| config.extended_reports = Wanted::ALL);
    let metrics = VoipMetrics { ssrc: 7, r_factor: 93, ..VoipMetrics::default() };
    bob.set_voip_metrics(metrics);
    let mut heard = Vec::new();
    for _ in 0..400 {
        now += Duration::from_millis(50);
        alice.handle_timeout(now);
        bob.handle_timeout(now);
        let (to_bob, to_alice) = (now + Duration::from_millis(30), now + Duration::from_millis(20));
        deliver(to_bob, &mut alice, &mut bob, at(1));
        heard.extend(deliver(to_alice, &mut bob, &mut alice, at(2)));
    }
    assert!(heard.contains(&Event::VoipMetrics(Box::new(metrics))));
    for session in [alice, bob] {
        let round_trip = session.statistics().round_trip.unwrap();
        assert_eq!(round_trip.last.as_millis(), 50, "{round_trip:?}");
    }
}
