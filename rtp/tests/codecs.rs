//! Streams of every codec, between two ends and over a lossy link, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::audio::correlate::correlate;
use rtp::audio::resample::resample;
use rtp::audio::speech::speech_like;
use rtp::audio::tone::power;
use rtp::audio_stream::{AudioStream, Config, FRAME_DURATION, Format, Redundancy, Statistics};
use rtp::codec::Codec;
use rtp::jitter;
use rtp::ntp::NtpTimestamp;
use rtp::packet::Packet;
use rtp::session::{self, Remote};

struct Link {
    now: Instant,
    alice: AudioStream,
    bob: AudioStream,
    sent: Vec<rtp::packet::Header>,
}

fn addresses() -> (SocketAddr, SocketAddr) {
    ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:4000".parse().unwrap())
}

impl Link {
    fn new(format: &Format, at_alice: u32, at_bob: u32) -> Self {
        let now = Instant::now();
        let stream = |seed, rate| {
            let session = session::Config::new([seed; 32], "test@example.com", NtpTimestamp(0));
            let jitter = jitter::Config::fixed(Duration::from_millis(60));
            AudioStream::with_sample_rate(now, Config { session, jitter, format: format.clone() }, rate)
        };
        let (mut alice, mut bob) = (stream(1, at_alice), stream(2, at_bob));
        alice.set_remote(now, Remote::port_pair(addresses().1));
        bob.set_remote(now, Remote::port_pair(addresses().0));
        Self { now, alice, bob, sent: Vec::new() }
    }

    /// Alice says it in ticks of 20 ms, some packets get lost, and Bob hears the rest.
    fn say(&mut self, samples: &[i16], mut lost: impl FnMut(usize) -> bool) -> Vec<i16> {
        let (mut heard, mut frame) = (Vec::new(), vec![0; self.bob.sample_rate() as usize / 50]);
        for tick in samples.chunks(self.alice.sample_rate() as usize / 50) {
            self.alice.tick(self.now, tick);
            while let Some(transmit) = self.alice.poll_transmit() {
                self.sent.push(Packet::parse(&transmit.payload).unwrap().header);
                if !lost(self.sent.len()) {
                    let _ = self.bob.receive(self.now, transmit.channel, addresses().0, &transmit.payload);
                }
            }
            self.bob.fill(self.now, &mut frame);
            heard.extend_from_slice(&frame);
            self.now += FRAME_DURATION;
        }
        heard
    }

    fn statistics(&self) -> Statistics {
        self.bob.statistics()
    }
}

fn formats() -> Vec<Format> {
    vec![
        Format::of(Codec::PCMU, 0),
        Format::of(Codec::PCMA, 8),
        Format::of(Codec::G722, 9),
        Format::of(Codec::L16 { sample_rate: 44_100, channels: 2 }, 10),
        Format::of(Codec::L16 { sample_rate: 16_000, channels: 1 }, 97),
        #[cfg(feature = "opus")]
        Format::of(Codec::Opus, 111),
    ]
}

#[test]
fn every_codec_is_heard_at_every_sample_rate_of_the_applications() {
    let speech = speech_like(16_000, 3);
    for format in formats() {
        for (from, to) in [(8000, 8000), (8000, 48_000), (16_000, 16_000), (48_000, 8000), (48_000, 48_000)] {
            let mut link = Link::new(&format, from, to);
            let heard = link.say(&resample(&speech, 8000, from).unwrap(), |_| false);
            let found = correlate(&speech, &resample(&heard, to, 8000).unwrap());
            assert!(found.matched > 0.9, "{:?}, {from} to {to}: {found:?}", format.codec);
        }
    }
}

#[test]
fn rfc3551_4_2_packets_of_10_to_60_ms_have_timestamps_of_their_clock() {
    let speech = speech_like(16_000, 3);
    for format in formats() {
        for (packet_time, milliseconds) in [(10, 10), (20, 20), (40, 40), (60, 60), (1, 10), (55, 60)] {
            let mut format = format.clone();
            format.packet_time = packet_time;
            let mut link = Link::new(&format, 8000, 8000);
            let heard = link.say(&speech, |_| false);
            let step = format.codec.clock_rate() / 1000 * milliseconds;
            let step = if format.codec.clock_rate() == 44_100 { 44_100 * milliseconds / 1000 } else { step };
            assert!(
                link.sent.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == step)
            );
            assert_eq!(link.sent.len(), 2000 / milliseconds as usize);
            let found = correlate(&speech, &heard);
            assert!(found.matched > 0.75, "{:?}, {packet_time} ms: {found:?}", format.codec);
            assert_eq!(link.statistics().jitter.late, 0);
        }
    }
}

#[test]
fn another_codec_in_the_middle_of_the_call_is_heard_by_its_payload_type() {
    let speech = speech_like(32_000, 5);
    let others = formats();
    for other in others.into_iter().skip(1) {
        let first = Format::of(Codec::PCMU, 0).receiving(other.payload_type, other.codec);
        let mut link = Link::new(&first, 8000, 8000);
        let mut heard = link.say(&speech[..16_000], |_| false);
        link.alice.set_format(other.clone());
        heard.extend(link.say(&speech[16_000..], |_| false));
        assert_eq!(link.sent.last().unwrap().payload_type, other.payload_type);
        let found = correlate(&speech, &heard);
        assert!(found.matched > 0.8, "{:?}: {found:?}", other.codec);
        assert_eq!(link.statistics().unknown_payloads, 0);
    }
}

#[test]
fn rfc3389_pauses_are_described_and_sound_like_the_room() {
    let mut format = Format::of(Codec::PCMA, 8);
    format.comfort_noise = Some(13);
    let mut link = Link::new(&format, 8000, 8000);
    let mut generator = rtp::codec::comfort_noise::Generator::new(1);
    generator.update(rtp::codec::comfort_noise::Noise { level: 50, reflection: vec![-0.8] });
    let mut spoken = vec![0; 8000 * 6];
    generator.fill(&mut spoken);
    for (sample, speech) in spoken[16_000..32_000].iter_mut().zip(speech_like(16_000, 9)) {
        *sample = sample.saturating_add(speech);
    }
    let room = power(&spoken[40_000..]);
    let heard = link.say(&spoken, |_| false);
    let audio = link.sent.iter().filter(|header| header.payload_type == 8).count();
    let noise: Vec<_> = link.sent.iter().filter(|header| header.payload_type == 13).collect();
    assert!((90..=150).contains(&audio), "{audio} of 300 frames are speech");
    assert!((4..=20).contains(&noise.len()) && noise.iter().all(|header| !header.marker), "{}", noise.len());
    let first = link.sent.iter().position(|header| header.payload_type == 8 && header.marker).unwrap();
    assert!(first > 0, "a talk spurt begins behind a pause with the marker");
    let ratio = 10.0 * (power(&heard[42_000..]) / room).log10();
    assert!(ratio.abs() < 3.0, "{ratio} dB");
    let found = correlate(&spoken[16_000..32_000], &heard[16_000..]);
    assert!(found.matched > 0.9, "{found:?}");
    assert_eq!(link.statistics().jitter.missing, 0);
}

#[test]
fn rfc2198_what_is_lost_comes_with_the_next_packets() {
    let mut format = Format::of(Codec::PCMU, 0);
    format.redundancy = Some(Redundancy { payload_type: 121, generations: 2 });
    format.receive_redundancy = Some(121);
    let speech = speech_like(24_000, 6);
    let mut link = Link::new(&format, 8000, 8000);
    // Two of five, in a row.
    let heard = link.say(&speech, |number| number % 5 >= 3);
    let found = correlate(&speech, &heard);
    assert!(found.matched > 0.95, "{found:?}");
    let statistics = link.statistics();
    assert_eq!((statistics.jitter.missing, statistics.jitter.late, statistics.jitter.duplicates), (0, 0, 0));
    assert!(statistics.recovered >= 55, "{}", statistics.recovered);
}

#[test]
fn g711_concealment_serves_wideband_too() {
    let speech = resample(&speech_like(24_000, 6), 8000, 16_000).unwrap();
    let mut link = Link::new(&Format::of(Codec::G722, 9), 16_000, 16_000);
    let heard = link.say(&speech, |number| number % 20 == 19);
    let found = correlate(&speech, &heard);
    assert!(found.matched > 0.7, "{found:?}");
    assert!(link.statistics().quality.mos > 3.0);
}

#[test]
fn digits_go_between_audio_at_the_clock_of_their_codec() {
    for format in formats() {
        let mut link = Link::new(&format.clone().with_events(Some(101)), 16_000, 16_000);
        link.say(&[0; 16_000], |_| false);
        link.alice.send_digits("17#").unwrap();
        link.say(&[0; 32_000], |_| false);
        let digits: String = std::iter::from_fn(|| link.bob.poll_digit()).collect();
        assert_eq!(digits, "17#", "{:?}", format.codec);
    }
}

#[cfg(feature = "opus")]
#[test]
fn rfc7587_3_1_3_opus_sends_nothing_in_pauses() {
    let mut format = Format::of(Codec::Opus, 111);
    format.discontinuous = true;
    let mut link = Link::new(&format, 48_000, 48_000);
    link.say(&[0; 96_000], |_| false);
    assert_eq!(link.sent.len(), 0);
    link.say(&resample(&speech_like(8000, 1), 8000, 48_000).unwrap(), |_| false);
    assert!(link.sent.len() > 40 && link.sent[0].marker);
}
