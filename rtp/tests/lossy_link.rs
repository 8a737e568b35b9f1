//! Calls over a lossy link made of memory, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::audio::correlate::correlate;
use rtp::audio::speech::speech_like;
use rtp::audio_stream::{AudioStream, Config, Direction, FRAME, FRAME_DURATION, Format};
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::session::{self, Channel, Event, LeaveCause, Remote};

/// One direction of the link.
struct Link {
    state: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    delay: Duration,
    jitter_milliseconds: u64,
    /// By instant and order; what is underway.
    underway: BTreeMap<(Instant, u64), (Channel, Vec<u8>)>,
    sent: u64,
    lost_media: u64,
}

impl Link {
    fn new(seed: u64, loss_percent: u64, delay: Duration, jitter_milliseconds: u64) -> Self {
        Self {
            state: seed,
            loss_percent,
            duplicate_percent: 0,
            delay,
            jitter_milliseconds,
            underway: BTreeMap::new(),
            sent: 0,
            lost_media: 0,
        }
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound
    }

    fn send(&mut self, now: Instant, channel: Channel, datagram: &[u8]) {
        self.sent += 1;
        if self.draw(100) < self.loss_percent {
            self.lost_media += u64::from(channel == Channel::Rtp);
            return;
        }
        let copies = if self.draw(100) < self.duplicate_percent { 2 } else { 1 };
        for copy in 0..copies {
            let jitter = Duration::from_millis(self.draw(self.jitter_milliseconds + 1));
            self.underway
                .insert((now + self.delay + jitter, self.sent * 2 + copy), (channel, datagram.to_vec()));
        }
    }

    fn arrive(&mut self, now: Instant) -> Option<(Instant, Channel, Vec<u8>)> {
        let entry = self.underway.first_entry().filter(|entry| entry.key().0 <= now)?;
        let at = entry.key().0;
        let (channel, datagram) = entry.remove();
        Some((at, channel, datagram))
    }
}

struct Party {
    stream: AudioStream,
    address: SocketAddr,
    speech: Vec<i16>,
    heard: Vec<i16>,
    digits: String,
    events: Vec<Event>,
}

impl Party {
    fn new(now: Instant, seed: u8, address: &str, seconds: usize, multiplexed: bool) -> Self {
        let ntp = NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000 + u64::from(seed) * 7));
        let mut session = session::Config::new([seed; 32], &format!("party{seed}@example.com"), ntp);
        session.multiplexed = multiplexed;
        Self {
            stream: AudioStream::new(
                now,
                Config { session, jitter: Default::default(), format: Format::new(Law::Mu, Some(101)) },
            ),
            address: address.parse().unwrap(),
            speech: speech_like(seconds * 8000, u64::from(seed)),
            heard: Vec::new(),
            digits: String::new(),
            events: Vec::new(),
        }
    }

    fn step(&mut self, now: Instant, tick: usize, out: &mut Link) {
        let mut frame = [0; FRAME];
        if let Some(samples) = self.speech.get(tick * FRAME..(tick + 1) * FRAME) {
            frame.copy_from_slice(samples);
        }
        self.stream.tick(now, &frame);
        self.stream.handle_timeout(now);
        self.flush(now, out);
        self.heard.extend(self.stream.next_frame(now));
        self.digits.extend(std::iter::from_fn(|| self.stream.poll_digit()));
        self.events.extend(std::iter::from_fn(|| self.stream.poll_event()));
    }

    fn flush(&mut self, now: Instant, out: &mut Link) {
        while let Some(transmit) = self.stream.poll_transmit() {
            out.send(now, transmit.channel, &transmit.payload);
        }
    }

    fn take(&mut self, now: Instant, from: SocketAddr, link: &mut Link) {
        while let Some((at, channel, datagram)) = link.arrive(now) {
            let mut from = from;
            from.set_port(from.port() + u16::from(channel == Channel::Rtcp));
            let _ = self.stream.receive(at, channel, from, &datagram);
        }
    }
}

struct Call {
    alice: Party,
    bob: Party,
    to_bob: Link,
    to_alice: Link,
    now: Instant,
    tick: usize,
}

impl Call {
    fn new(seconds: usize, multiplexed: bool, to_bob: Link, to_alice: Link) -> Self {
        let now = Instant::now();
        let mut alice = Party::new(now, 1, "192.0.2.1:4000", seconds, multiplexed);
        let mut bob = Party::new(now, 2, "192.0.2.2:5000", seconds, multiplexed);
        let remote = if multiplexed { Remote::multiplexed } else { Remote::port_pair };
        alice.stream.set_remote(now, remote(bob.address));
        bob.stream.set_remote(now, remote(alice.address));
        Self { alice, bob, to_bob, to_alice, now, tick: 0 }
    }

    fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.alice.step(self.now, self.tick, &mut self.to_bob);
            self.bob.step(self.now, self.tick, &mut self.to_alice);
            self.now += FRAME_DURATION;
            self.tick += 1;
            self.bob.take(self.now, self.alice.address, &mut self.to_bob);
            self.alice.take(self.now, self.bob.address, &mut self.to_alice);
        }
    }
}

#[test]
fn a_minute_at_five_percent_loss_counts_right_and_is_understood() {
    let delay = Duration::from_millis(40);
    let mut call = Call::new(60, false, Link::new(11, 5, delay, 10), Link::new(12, 0, delay, 0));
    call.alice.stream.send_digits("0123456789*#ABCD").unwrap();
    call.run(3010);

    let heard = call.bob.stream.statistics();
    let sent = call.alice.stream.statistics();
    // Everything sent arrived or was lost, but for what is underway and the packet of the probation.
    let lost = heard.session.received.lost();
    assert!(lost.abs_diff(call.to_bob.lost_media) <= 2, "{lost} counted, {} lost", call.to_bob.lost_media);
    assert_eq!(sent.session.sent.packets, 3010);
    assert!(heard.session.received.jitter < Duration::from_millis(10));
    // Alice knows it from Bob's reports.
    let reported = sent.session.sent.reported.unwrap();
    assert!((u64::try_from(reported.lost).unwrap()).abs_diff(lost) < 30, "{reported:?} against {lost}");
    let round_trip = sent.session.round_trip.unwrap();
    assert!(round_trip.count >= 3, "{round_trip:?}");
    assert!(
        round_trip.minimum >= Duration::from_millis(79) && round_trip.maximum <= Duration::from_millis(131)
    );

    assert_eq!(call.bob.digits, "0123456789*#ABCD");
    // Three seconds of digits replace speech; each lost frame hits a segment, and concealment saves some.
    let there = correlate(&call.alice.speech[32_000..], &call.bob.heard[32_000..]);
    assert!(there.matched > 0.8, "{there:?}");
    let back = correlate(&call.bob.speech, &call.alice.heard);
    assert!(back.matched > 0.99, "{back:?}");
    assert!((2.5..4.2).contains(&heard.quality.mos), "{:?}", heard.quality);
    assert!(sent.quality.mos > 4.2, "{:?}", sent.quality);
}

#[test]
fn no_digit_is_lost_or_doubled_at_twenty_percent_loss_with_duplication_and_reordering() {
    for seed in 0..40 {
        let mut link = Link::new(seed, 20, Duration::from_millis(20), 45);
        link.duplicate_percent = 20;
        let mut call = Call::new(1, false, link, Link::new(1, 0, Duration::ZERO, 0));
        call.run(10);
        call.alice.stream.send_digits("1122#*").unwrap();
        call.run(120);
        assert_eq!(call.bob.digits, "1122#*", "seed {seed}");
    }
}

#[test]
fn rfc5761_one_port_carries_reports_too() {
    let mut call =
        Call::new(10, true, Link::new(1, 0, Duration::ZERO, 0), Link::new(2, 0, Duration::ZERO, 0));
    call.run(600);
    assert!(call.alice.stream.statistics().session.round_trip.is_some());
    assert!(call.bob.stream.statistics().session.rtcp_received >= 1);
}

#[test]
fn hold_and_resume_keeps_the_clock_and_the_stream() {
    let delay = Duration::from_millis(10);
    let mut call = Call::new(20, false, Link::new(3, 0, delay, 0), Link::new(4, 0, delay, 0));
    call.run(200);
    call.alice.stream.set_direction(Direction::Inactive);
    let before = call.bob.stream.statistics().session.received.packets;
    call.run(200);
    assert!(call.bob.stream.statistics().session.received.packets - before <= 1);
    call.alice.stream.set_direction(Direction::SendReceive);
    call.run(200);
    let statistics = call.bob.stream.statistics();
    assert_eq!(statistics.session.received.lost(), 0);
    let resumed = correlate(&call.alice.speech[66_000..90_000], &call.bob.heard[66_000..]);
    assert!(resumed.matched > 0.95, "{resumed:?}");
}

#[test]
fn rfc3550_6_6_bye_ends_the_source_at_the_other_side() {
    let mut call =
        Call::new(1, false, Link::new(1, 0, Duration::ZERO, 0), Link::new(2, 0, Duration::ZERO, 0));
    call.run(20);
    call.alice.stream.close(call.now, Some("bye bye"));
    call.alice.flush(call.now, &mut call.to_bob);
    call.run(2);
    let left = call.bob.events.iter().find_map(|event| match event {
        Event::SourceLeft { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    assert_eq!(left, Some(LeaveCause::Bye { reason: Some("bye bye".into()) }));
}

#[test]
fn a_stranger_at_the_port_is_not_heard() {
    let mut call =
        Call::new(10, false, Link::new(1, 0, Duration::ZERO, 0), Link::new(2, 0, Duration::ZERO, 0));
    let stranger: SocketAddr = "203.0.113.5:6000".parse().unwrap();
    call.run(50);
    for _ in 0..200 {
        call.run(1);
        let header = rtp::packet::Header {
            payload_type: 0,
            marker: false,
            sequence_number: call.tick as u16,
            timestamp: call.tick as u32 * 160,
            ssrc: 99,
        };
        let noise = header.build(&[0x12; FRAME]).unwrap();
        assert!(call.bob.stream.receive(call.now, Channel::Rtp, stranger, &noise).is_err());
    }
    call.run(250);
    let statistics = call.bob.stream.statistics().session;
    assert_eq!((statistics.discarded.foreign, statistics.received.lost()), (200, 0));
    assert!(correlate(&call.alice.speech, &call.bob.heard).matched > 0.95);
}
