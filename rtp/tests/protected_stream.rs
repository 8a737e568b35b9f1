//! A call with SRTP (R24): replays, reordering, a wrap of the numbers, forgeries, a new key. No forgery is taken, no call is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::audio::correlate::correlate;
use rtp::audio::speech::speech_like;
use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format};
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::session::{self, Channel, Discard, Remote, Transmit};
use rtp::srtp::{Error, MasterKey, Profile, Receiver, Sender};

const PROFILE: Profile = Profile::AesCm128HmacSha1Tag80;

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4000))
}

fn key(octet: u8) -> MasterKey {
    MasterKey::from_key_and_salt(PROFILE, &[octet; 30]).unwrap()
}

struct Pair {
    now: Instant,
    alice: AudioStream,
    bob: AudioStream,
    speech: Vec<i16>,
    said: usize,
    heard: Vec<i16>,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let stream = |seed: u8, own: u8, remote: u8| {
            let mut session = session::Config::new([seed; 32], "me@example.com", NtpTimestamp(1 << 40));
            session.rtcp_minimum_interval = Duration::from_secs(1);
            let jitter = rtp::jitter::Config::fixed(Duration::from_millis(60));
            let mut stream =
                AudioStream::new(now, Config { session, jitter, format: Format::new(Law::A, None) });
            stream.set_multiplexed(true);
            stream.set_remote(now, Remote::multiplexed(at(remote)));
            stream.protect_sent(Some(Sender::new(PROFILE, &key(own)).unwrap()));
            stream.protect_received(Some(Receiver::new(PROFILE, &key(remote)).unwrap()));
            stream
        };
        // The first sequence number is 0xfe_fe: the numbers wrap after five seconds.
        Self {
            now,
            alice: stream(0xfe, 1, 2),
            bob: stream(7, 2, 1),
            speech: speech_like(8000 * 12, 5),
            said: 0,
            heard: Vec::new(),
        }
    }

    /// Twenty milliseconds of the call; `path` is what lies between Alice and Bob.
    fn tick(&mut self, mut path: impl FnMut(Transmit) -> Vec<Transmit>) {
        let frame = &self.speech[self.said..self.said + FRAME];
        self.said += FRAME;
        self.alice.tick(self.now, frame);
        self.bob.tick(self.now, &[0; FRAME]);
        self.alice.handle_timeout(self.now);
        self.bob.handle_timeout(self.now);
        while let Some(transmit) = self.alice.poll_transmit() {
            for datagram in path(transmit) {
                let _ = self.bob.receive(self.now, datagram.channel, at(1), &datagram.payload);
            }
        }
        while let Some(transmit) = self.bob.poll_transmit() {
            let _ = self.alice.receive(self.now, transmit.channel, at(2), &transmit.payload);
        }
        self.heard.extend(self.bob.next_frame(self.now));
        self.now += FRAME_DURATION;
    }

    fn assert_heard(&self) {
        let found = correlate(&self.speech[..self.said], &self.heard);
        assert!(found.matched > 0.97, "{found:?}");
    }
}

#[test]
fn replays_reordering_and_a_wrap_of_the_numbers() {
    let mut pair = Pair::new();
    let (mut passed, mut held) = (Vec::<Transmit>::new(), None);
    for number in 0..500 {
        pair.tick(|transmit| {
            passed.push(transmit.clone());
            let old = passed[passed.len().saturating_sub(1 + number % 90)].clone();
            // Every eighth packet comes behind its successor.
            match held.take() {
                Some(before) => vec![transmit, before, old],
                None if number % 8 == 3 => {
                    held = Some(transmit);
                    vec![]
                }
                None => vec![transmit, old],
            }
        });
    }
    pair.assert_heard();
    let counted = pair.bob.statistics().session;
    assert!(counted.discarded.unauthentic >= 400, "{counted:?}");
    assert_eq!((counted.received.duplicates, counted.received.lost()), (0, 0));
    assert!(counted.rtcp_received >= 3 && pair.alice.statistics().session.round_trip.is_some());
}

#[test]
fn forgeries_and_packets_in_the_clear_are_not_taken() {
    let mut pair = Pair::new();
    let mut forged = 0;
    for number in 0..400u32 {
        let mut made = Vec::new();
        pair.tick(|transmit| {
            made.push(transmit.clone());
            vec![transmit]
        });
        for at_octet in 0..50 {
            let mut datagram = made[0].payload.to_vec();
            let at_octet = (at_octet * 7 + number as usize) % datagram.len();
            datagram[at_octet] ^= 1 << (number % 8);
            if datagram[0] >> 6 != 2 {
                continue;
            }
            let taken = pair.bob.receive(pair.now, Channel::Rtp, at(1), &datagram);
            assert!(matches!(taken, Err(Discard::Srtp(_))), "{taken:?}");
            forged += 1;
        }
    }
    let header =
        rtp::packet::Header { payload_type: 8, marker: false, sequence_number: 1, timestamp: 1, ssrc: 1 };
    let plain = header.build(&[0xd5; 160]).unwrap();
    let taken = pair.bob.receive(pair.now, Channel::Rtp, at(1), &plain);
    assert_eq!(taken, Err(Discard::Srtp(Error::AuthenticationFailed)));
    assert!(forged > 15_000);
    pair.assert_heard();
}

/// RFC 4568 §7.1.4: a new key in a new offer; each side takes it up when it knows it.
#[test]
fn a_new_key_in_the_middle_of_the_call() {
    let mut pair = Pair::new();
    for number in 0..300 {
        if number == 150 {
            pair.alice.protect_sent(Some(Sender::new(PROFILE, &key(9)).unwrap()));
            pair.bob.protect_received(Some(Receiver::new(PROFILE, &key(9)).unwrap()));
        }
        pair.tick(|transmit| vec![transmit]);
    }
    pair.assert_heard();
    assert_eq!(pair.bob.statistics().session.discarded.unauthentic, 0);
}
