//! Peers that do things differently, and peers that do nothing right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtp::audio::correlate::correlate;
use rtp::audio::speech::speech_like;
use rtp::audio_stream::{AudioStream, Config, DigitError, Direction, FRAME, FRAME_DURATION, Format, Levels};
use rtp::extension::AudioLevel;
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::packet::{Header, Packet};
use rtp::session::{self, Channel, Remote};

fn peer() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn stream(now: Instant, telephone_event: Option<u8>) -> AudioStream {
    let session = session::Config::new([1; 32], "test@example.com", NtpTimestamp(0));
    let format = Format::new(Law::A, telephone_event);
    // A delay that stays: what is heard is compared with what was said.
    let jitter = rtp::jitter::Config::fixed(Duration::from_millis(60));
    let mut stream = AudioStream::new(now, Config { session, jitter, format });
    stream.set_remote(now, Remote::port_pair(peer()));
    stream
}

/// What is heard of speech that arrives in packets of `samples`.
fn hear(samples: usize, law: Law, ssrc_change_at: Option<usize>) -> (Vec<i16>, Vec<i16>) {
    let start = Instant::now();
    let mut stream = stream(start, Some(101));
    let speech = speech_like(8000 * 4, 8);
    let mut packets = speech.chunks(samples).enumerate().peekable();
    let mut heard = Vec::new();
    for tick in 0..210u32 {
        let now = start + FRAME_DURATION * tick;
        while let Some((index, chunk)) =
            packets.next_if(|(index, _)| (index + 1) * samples <= tick as usize * FRAME)
        {
            let changed = ssrc_change_at.is_some_and(|at| index >= at);
            let header = Header {
                payload_type: law.payload_type(),
                marker: index == 0,
                sequence_number: (index as u16).wrapping_add(if changed { 40_000 } else { 65_500 }),
                timestamp: (index * samples) as u32,
                ssrc: if changed { 8 } else { 7 },
            };
            let _ = stream.receive(now, Channel::Rtp, peer(), &header.build(&law.encode(chunk)).unwrap());
        }
        heard.extend(stream.next_frame(now));
    }
    (speech, heard)
}

#[test]
fn rfc6464_3_each_packet_tells_its_own_level() {
    let start = Instant::now();
    let seed = |seed| session::Config::new([seed; 32], "test@example.com", NtpTimestamp(0));
    let side = |number| {
        let config =
            Config { session: seed(number), jitter: Default::default(), format: Format::new(Law::A, None) };
        let mut side = AudioStream::new(start, config);
        side.set_remote(start, Remote::port_pair(peer()));
        side
    };
    let (mut talker, mut listener) = (side(1), side(2));
    talker.set_levels(Levels { send: Some(3), receive: None, voice: true });
    let told = |voice: bool, listener: &mut AudioStream| {
        listener.set_levels(Levels { send: None, receive: Some(3), voice });
    };
    let mut exchange = |samples: [i16; FRAME], at: u32, listener: &mut AudioStream| {
        let now = start + FRAME_DURATION * at;
        talker.tick(now, &samples);
        while let Some(sent) = talker.poll_transmit() {
            let _ = listener.receive(now, sent.channel, peer(), &sent.payload);
        }
        listener.heard_level()
    };
    let loud = AudioLevel { voice: true, below_overload: 30 };
    assert_eq!(exchange([1036; FRAME], 0, &mut listener), None, "nothing was agreed on");
    told(true, &mut listener);
    exchange([1036; FRAME], 1, &mut listener);
    assert_eq!(exchange([1036; FRAME], 2, &mut listener), Some(loud));
    // No smoothing: the next one is silent, though the voice may go on.
    let silent = exchange([0; FRAME], 3, &mut listener).unwrap();
    assert_eq!(silent.below_overload, 127);
    // §4: without the V bit it says nothing.
    told(false, &mut listener);
    let without = exchange([1036; FRAME], 4, &mut listener);
    assert_eq!(without, Some(AudioLevel { voice: false, ..loud }));
    listener.set_levels(Levels::default());
    assert_eq!(exchange([1036; FRAME], 5, &mut listener), None);
}

#[test]
fn rfc3551_4_2_packets_of_other_lengths_and_the_other_law_are_played() {
    for (samples, law) in [(80, Law::A), (160, Law::Mu), (240, Law::A), (320, Law::Mu), (480, Law::A)] {
        let (speech, heard) = hear(samples, law, None);
        let found = correlate(&speech[2 * samples..], &heard);
        assert!(found.matched > 0.97, "{samples} samples, {law:?}: {found:?}");
    }
}

#[test]
fn a_peer_that_changes_its_source_is_heard_on() {
    let (speech, heard) = hear(160, Law::A, Some(100));
    let found = correlate(&speech, &heard);
    assert!(found.matched > 0.85, "{found:?}");
}

#[test]
fn digits_that_cannot_be_sent_say_why_and_send_nothing() {
    let now = Instant::now();
    assert_eq!(stream(now, None).send_digits("1"), Err(DigitError::NotNegotiated));
    let mut stream = stream(now, Some(101));
    assert_eq!(stream.send_digits("12x"), Err(DigitError::NotAKey('x')));
    assert_eq!(stream.send_digits(&"1".repeat(257)), Err(DigitError::QueueFull));
    assert!(!stream.is_sending_digits());
}

#[test]
fn rfc3551_4_1_the_marker_starts_a_talk_spurt_and_hold_keeps_time() {
    let mut now = Instant::now();
    let mut stream = stream(now, Some(101));
    let mut sent = Vec::new();
    for tick in 0..30 {
        match tick {
            10 => stream.set_direction(Direction::ReceiveOnly),
            20 => stream.set_direction(Direction::SendReceive),
            _ => {}
        }
        stream.tick(now, &[0; FRAME]);
        sent.extend(std::iter::from_fn(|| stream.poll_transmit()));
        now += FRAME_DURATION;
    }
    let headers: Vec<Header> =
        sent.iter().map(|transmit| Packet::parse(&transmit.payload).unwrap().header).collect();
    assert_eq!(headers.len(), 20);
    let marked: Vec<usize> = (0..20).filter(|index| headers[*index].marker).collect();
    assert_eq!(marked, [0, 10]);
    assert_eq!(headers[10].sequence_number, headers[9].sequence_number.wrapping_add(1));
    assert_eq!(headers[10].timestamp, headers[9].timestamp.wrapping_add(11 * 160));
}

proptest! {
    #[test]
    fn any_packets_at_any_time_never_panic(
        inputs in proptest::collection::vec(
            (prop_oneof![Just(0u8), Just(8), Just(13), Just(101)], any::<(u16, u32, bool)>(), 1u32..4, 0u64..3000,
             proptest::collection::vec(any::<u8>(), 0..400)), 1..120)
    ) {
        let mut now = Instant::now();
        let mut stream = stream(now, Some(101));
        for (index, (payload_type, (sequence, timestamp, wild), ssrc, milliseconds, payload)) in inputs.into_iter().enumerate() {
            now += Duration::from_millis(milliseconds);
            let (sequence_number, timestamp) =
                if wild { (sequence, timestamp) } else { (index as u16, index as u32 * 160) };
            let header = Header { payload_type, marker: wild, sequence_number, timestamp, ssrc };
            let _ = stream.receive(now, Channel::Rtp, peer(), &header.build(&payload).unwrap());
            let _ = stream.receive(now, Channel::Rtcp, peer(), &payload);
            stream.tick(now, &[0; FRAME]);
            stream.handle_timeout(now);
            let _ = stream.next_frame(now);
            prop_assert!(stream.statistics().quality.mos >= 1.0);
        }
    }
}
