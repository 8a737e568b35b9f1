//! Digits through a gateway, from every way of pressing them to every other, over lossy links in virtual time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format, Redundancy};
use rtp::dtmf::Event;
use rtp::dtmf::inband::Detector;
use rtp::dtmf::info::{Form, Info};
use rtp::dtmf::interworking::{Interworking, Way};
use rtp::g711::Law;
use rtp::jitter;
use rtp::ntp::NtpTimestamp;
use rtp::session::{self, Channel, Remote, Session};

const EVENTS: Way = Way::Events { clock_rate: 8000 };
const EVENT_TYPE: u8 = 101;
/// Packets lost in a row at most: a digit of seven packets, or a tone whose packets repeat the two before, outlives that.
const BURST: u32 = 3;
/// How often a digit is pressed.
const PERIOD: usize = 11;

/// One direction of a link that loses, doubles and reorders.
struct Link {
    state: u64,
    loss: u64,
    lost_in_a_row: u32,
    underway: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
}

impl Link {
    fn new(seed: u64, loss: u64) -> Self {
        Self { state: seed, loss, lost_in_a_row: 0, underway: BTreeMap::new(), sent: 0 }
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound
    }

    fn send(&mut self, now: Instant, datagram: &[u8]) {
        self.sent += 1;
        if self.draw(100) < self.loss && self.lost_in_a_row < BURST {
            self.lost_in_a_row += 1;
            return;
        }
        self.lost_in_a_row = 0;
        let copies = 1 + u64::from(self.draw(100) < 20);
        for copy in 0..copies {
            // Up to two packets later than the next.
            let delay = Duration::from_millis(20 + self.draw(45));
            self.underway.insert((now + delay, self.sent * 2 + copy), datagram.to_vec());
        }
    }

    fn arrive(&mut self, now: Instant) -> Option<(Instant, Vec<u8>)> {
        let entry = self.underway.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some((entry.key().0, entry.remove()))
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4000))
}

fn session_config(host: u8) -> session::Config {
    session::Config::new([host; 32], "party@example.com", NtpTimestamp::from_unix(Duration::ZERO))
}

/// A stream of a host with another. In-band, each packet repeats the three before it (RFC 2198), and the jitter buffer waits for
/// them: at the loss of every fifth packet a tone of 100 ms has holes otherwise that a detector must take for pauses.
fn stream(now: Instant, host: u8, peer: u8, way: Way) -> AudioStream {
    let mut format = Format::new(Law::Mu, Some(EVENT_TYPE));
    if way == Way::Tones {
        format.redundancy = Some(Redundancy { payload_type: 121, generations: 3 });
        format.receive_redundancy = Some(121);
    }
    let in_band = jitter::Config::fixed(Duration::from_millis(140));
    let jitter = if way == Way::Tones { in_band } else { Default::default() };
    let config = Config { session: session_config(host), jitter, format };
    let mut stream = AudioStream::new(now, config);
    stream.set_remote(now, Remote::port_pair(address(peer)));
    stream
}

fn session(now: Instant, host: u8, peer: u8) -> Session {
    let mut session = Session::new(now, session_config(host));
    session.set_remote(now, Remote::port_pair(address(peer)));
    session
}

fn flush(now: Instant, stream: &mut AudioStream, link: &mut Link) {
    while let Some(transmit) = stream.poll_transmit() {
        if transmit.channel == Channel::Rtp {
            link.send(now, &transmit.payload);
        }
    }
}

/// What the callee hears of the digits that the caller presses.
fn through(from: Way, to: Way, digits: &str, loss: u64, seed: u64) -> String {
    const CALLER: u8 = 1;
    const GATEWAY: u8 = 2;
    const CALLEE: u8 = 3;
    let mut now = Instant::now();
    let (mut link_in, mut link_out) = (Link::new(seed, loss), Link::new(seed ^ 0xabcd, loss));
    let mut caller = stream(now, CALLER, GATEWAY, from);
    let mut callers_tones = Interworking::new(Way::Info, Way::Tones);
    let mut gateway = Interworking::new(from, to);
    let mut heard_here = (session(now, GATEWAY, CALLER), stream(now, GATEWAY, CALLER, from));
    let mut sent_here = (session(now, GATEWAY, CALLEE), stream(now, GATEWAY, CALLEE, to));
    let mut callee = stream(now, CALLEE, GATEWAY, to);
    let mut detector = Detector::new();
    let mut heard = String::new();
    let mut info_answered_at = None;
    let mut keys = digits.chars();

    for tick in 0..20 + PERIOD * digits.len() + 80 {
        // The caller presses a key every 220 ms, once packets have been going for a while.
        if tick >= 20
            && (tick - 20) % PERIOD == 0
            && let Some(key) = keys.next()
        {
            let info =
                Info { event: Event::from_key(key).unwrap(), duration: Some(Duration::from_millis(120)) };
            match from {
                Way::Events { .. } => caller.send_digits(&key.to_string()).unwrap(),
                Way::Tones => callers_tones.info(&info),
                // SIP sees to it that it arrives, and once (RFC 3261 §17); its body is read and written.
                Way::Info => {
                    gateway.info(&Info::parse(Form::Relay, info.to_body(Form::Relay).as_bytes()).unwrap())
                }
            }
        }
        let mut microphone = [0; FRAME];
        callers_tones.audio(now, &mut microphone);
        caller.tick(now, &microphone);
        flush(now, &mut caller, &mut link_in);

        // The gateway.
        while let Some((at, datagram)) = link_in.arrive(now) {
            if from == Way::Tones {
                let _ = heard_here.1.receive(at, Channel::Rtp, address(CALLER), &datagram);
            } else if let Ok(Some(media)) = heard_here.0.receive_rtp(at, address(CALLER), &datagram)
                && media.header.payload_type == EVENT_TYPE
            {
                gateway.event(at, media.header.timestamp, media.payload);
            }
        }
        let mut frame = heard_here.1.next_frame(now);
        gateway.audio(now, &mut frame);
        let (events, audio) = &mut sent_here;
        match to {
            Way::Events { .. } => {
                let sent = match gateway.tick(events.timestamp(), FRAME as u32) {
                    Some(packet) => {
                        events.send_at(now, EVENT_TYPE, packet.marker, packet.timestamp, &packet.payload)
                    }
                    None => events.send_at(now, 0, false, events.timestamp(), &Law::Mu.encode(&frame)),
                };
                events.advance(FRAME as u32);
                link_out.send(now, &sent.unwrap().payload);
            }
            Way::Tones => {
                audio.tick(now, &frame);
                flush(now, audio, &mut link_out);
            }
            Way::Info => {
                if info_answered_at.is_some_and(|at| at <= now) {
                    info_answered_at = None;
                    gateway.info_answered();
                }
                if let Some(info) = gateway.poll_info() {
                    heard.extend(info.event.key());
                    // A second for three that were lost.
                    info_answered_at = Some(now + Duration::from_millis(50 + 10 * loss));
                }
            }
        }

        // The callee.
        while let Some((at, datagram)) = link_out.arrive(now) {
            let _ = callee.receive(at, Channel::Rtp, address(GATEWAY), &datagram);
        }
        let frame = callee.next_frame(now);
        match to {
            Way::Events { .. } => heard.extend(std::iter::from_fn(|| callee.poll_digit())),
            Way::Tones => heard.extend(detector.detect(&frame).into_iter().filter_map(Event::key)),
            Way::Info => {}
        }
        now += FRAME_DURATION;
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn no_digit_is_lost_or_doubled_from_any_way_to_any_other(digits in "[0-9*#A-D]{1,10}", seed: u64) {
        for from in [EVENTS, Way::Tones, Way::Info] {
            for to in [EVENTS, Way::Tones, Way::Info] {
                for loss in [5, 20] {
                    let heard = through(from, to, &digits, loss, seed);
                    prop_assert_eq!(&heard, &digits, "{:?} to {:?} at {} % loss", from, to, loss);
                }
            }
        }
    }
}
