//! Loss of 1 to 20 %, at random and in bursts of four packets on average, with and without jitter of 40 ± 30 ms: what is late
//! stays in a table, and so does the estimated quality (MOS of the E-model, 1 to 4.5, at random / in bursts, with the
//! jitter):
//!
//! | lost | PCMU | PCMU, RED of two generations | Opus, in-band FEC |
//! |---|---|---|---|
//! | 1 % | 4.24 / 4.21 | 4.36 / 4.24 | 4.27 / 4.14 |
//! | 5 % | 3.73 / 3.67 | 4.30 / 3.91 | 4.03 / 3.55 |
//! | 10 % | 3.23 / 3.16 | 4.23 / 3.56 | 3.68 / 3.04 |
//! | 20 % | 2.46 / 2.50 | 3.96 / 3.04 | 3.03 / 2.40 |
//!
//! Late packets: none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::audio::speech::speech_like;
use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format, Redundancy};
use rtp::codec::Codec;
use rtp::ntp::NtpTimestamp;
use rtp::session::{self, Remote};

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64) / (1u64 << 53) as f64
    }
}

/// Share of late packets and MOS of half a minute.
fn call(format: &Format, percent: f64, bursts: bool, jitter: bool) -> (f64, f64) {
    let start = Instant::now();
    let (at_alice, at_bob): (SocketAddr, SocketAddr) =
        ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:4000".parse().unwrap());
    let stream = |seed| {
        let session = session::Config::new([seed; 32], "test@example.com", NtpTimestamp(0));
        AudioStream::new(start, Config { session, jitter: Default::default(), format: format.clone() })
    };
    let (mut alice, mut bob) = (stream(1), stream(2));
    alice.set_remote(start, Remote::port_pair(at_bob));
    bob.set_remote(start, Remote::port_pair(at_alice));
    alice.set_expected_loss(percent as u8);
    let (speech, mut random, mut bad) = (speech_like(FRAME * 200, 4), Random(9), false);
    let mut underway = BTreeMap::new();
    for tick in 0..1500u32 {
        let now = start + FRAME_DURATION * tick;
        let at = tick as usize % 200 * FRAME;
        alice.tick(now, &speech[at..at + FRAME]);
        while let Some(transmit) = alice.poll_transmit() {
            // Bursts of four packets on average, as many lost in all.
            let share = percent / 100.0;
            let lost = if bursts {
                bad = if bad {
                    random.uniform() < 0.75
                } else {
                    random.uniform() < 0.25 * share / (1.0 - share)
                };
                bad
            } else {
                random.uniform() < share
            };
            let delay = if jitter { 10.0 + random.uniform() * 60.0 } else { 0.0 };
            if !lost {
                underway.insert((now + Duration::from_secs_f64(delay / 1000.0), tick), transmit);
            }
        }
        while let Some(entry) = underway.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), transmit) = entry.remove_entry();
            let _ = bob.receive(at, transmit.channel, at_alice, &transmit.payload);
        }
        let _ = bob.next_frame(now);
    }
    let statistics = bob.statistics();
    let expected = statistics.session.received.expected.max(1) as f64;
    (statistics.jitter.late as f64 / expected * 100.0, statistics.quality.mos)
}

fn check(name: &str, format: &Format, least: [[f64; 2]; 4]) {
    for (percent, least) in [1.0, 5.0, 10.0, 20.0].into_iter().zip(least) {
        for (bursts, least) in [false, true].into_iter().zip(least) {
            for jitter in [false, true] {
                let (late, mos) = call(format, percent, bursts, jitter);
                println!(
                    "{name:18} {percent:4} % bursts {bursts:5} jitter {jitter:5}: late {late:4.2} %, MOS {mos:4.2}"
                );
                assert!(late <= 1.0, "{name}, {percent} %, bursts {bursts}, jitter {jitter}: {late} % late");
                assert!(mos >= least, "{name}, {percent} %, bursts {bursts}, jitter {jitter}: MOS {mos}");
            }
        }
    }
}

#[test]
fn r26_g711_under_loss_stays_within_the_table() {
    check("PCMU", &Format::of(Codec::PCMU, 0), [[4.1, 4.1], [3.6, 3.4], [3.1, 2.9], [2.3, 2.3]]);
}

#[test]
fn r26_redundancy_of_two_generations_under_loss() {
    let mut format = Format::of(Codec::PCMU, 0);
    format.redundancy = Some(Redundancy { payload_type: 121, generations: 2 });
    format.receive_redundancy = Some(121);
    check("PCMU with RED", &format, [[4.2, 4.1], [4.2, 3.8], [4.1, 3.4], [3.8, 2.9]]);
}

#[cfg(feature = "opus")]
#[test]
fn r26_opus_with_fec_has_3_0_at_ten_percent() {
    check("Opus with FEC", &Format::of(Codec::Opus, 111), [[4.1, 4.0], [3.9, 3.3], [3.5, 2.7], [2.9, 2.2]]);
}
