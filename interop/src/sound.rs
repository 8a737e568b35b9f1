//! What a recording holds.

use std::path::Path;

use rtp::audio::correlate::correlate;
use rtp::audio::tone::{Tone, detect_tone, dominant_frequency};
use rtp::audio::wav;
use rtp::g711::Law;

/// Samples per second of a telephone.
const RATE: f64 = 8000.0;

/// Writes a WAV file of a tone.
///
/// # Panics
/// If it cannot be written.
pub fn write_tone(path: &Path, hertz: f64, seconds: f64) {
    let samples: Vec<i16> = Tone::sine(hertz).samples().take((seconds * RATE) as usize).collect();
    wav::write(path, &samples).expect("a WAV file");
}

fn read(path: &Path) -> Vec<i16> {
    wav::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks that a recording holds at least `seconds` of a tone and hardly anything else: of a piece of half a second, ten blocks, the
/// two at its edges are half silence.
///
/// # Panics
/// If it does not.
pub fn assert_holds_tone(path: &Path, hertz: f64, seconds: f64) {
    let samples = read(path);
    let length = samples.len() as f64 / RATE;
    let found = dominant_frequency(&samples);
    let share = detect_tone(&samples, hertz);
    let blocks =
        samples.chunks_exact(400).filter(|block| block.iter().any(|sample| sample.abs() > 300)).count();
    let sounding = blocks as f64 * 0.05;
    assert!(
        share >= 0.8 && sounding >= seconds,
        "{}: {length:.1} s, {sounding:.1} s of it sound, {:.0} % of that {hertz} Hz; strongest {found:?}",
        path.display(),
        share * 100.0
    );
}

/// Checks that a recording holds this audio.
///
/// # Panics
/// If it does not.
pub fn assert_sounds_like(path: &Path, reference: &[i16], least: f64) {
    let samples = read(path);
    let found = correlate(reference, &samples);
    assert!(
        found.segments > 0 && found.matched >= least,
        "{}: {:.1} s recorded, {found:?}, {least} wanted",
        path.display(),
        samples.len() as f64 / RATE
    );
}

/// The A-law audio of the RTP packets in a capture file (classic format, Ethernet or Linux cooked frames).
///
/// # Panics
/// If it is no such file.
pub fn pcap_alaw(path: &Path) -> Vec<i16> {
    let octets = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(octets.get(..4), Some(&[0xd4, 0xc3, 0xb2, 0xa1][..]), "a little-endian capture");
    let link = match octets[20] {
        1 => 14,
        113 => 16,
        other => panic!("link type {other}"),
    };
    let mut samples = Vec::new();
    let mut rest = &octets[24..];
    while rest.len() >= 16 {
        let length = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let frame = &rest[16..16 + length];
        rest = &rest[16 + length..];
        let ip = &frame[link..];
        let udp = &ip[usize::from(ip[0] & 15) * 4..];
        let payload = &udp[8..];
        assert_eq!((payload[0], payload[1] & 0x7f), (0x80, 8), "plain PCMA packets");
        samples.extend(Law::A.decode(&payload[12..]));
    }
    samples
}
