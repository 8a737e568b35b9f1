//! Any payloads into every decoder and depacketizer, lost frames among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtp::codec::comfort_noise::{Generator, Noise};
use rtp::codec::redundancy;
use rtp::codec::{Codec, Decoder};

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let codec = match choice % 6 {
        0 => Codec::PCMU,
        1 => Codec::PCMA,
        2 => Codec::G722,
        3 => Codec::L16 { sample_rate: 44_100, channels: 2 },
        _ => Codec::Opus,
    };
    if let Ok(blocks) = redundancy::parse(data)
        && let Some((primary, copies)) = blocks.split_last()
    {
        let mut written = Vec::new();
        redundancy::write(copies, (primary.payload_type, primary.payload), &mut written);
        assert_eq!(redundancy::parse(&written).as_deref(), Ok(&blocks[..]), "what was written is read");
    }
    if let Some(noise) = Noise::parse(data) {
        assert_eq!(Noise::parse(&noise.to_octets()).as_ref(), Some(&noise));
        let mut generator = Generator::new(1);
        generator.update(noise);
        generator.fill(&mut [0; 160]);
    }
    let rate = [8000, 16_000, 48_000][usize::from(choice >> 4) % 3];
    let mut decoder = Decoder::near(codec, rate);
    // A payload per record: its length, whether it is lost, its octets.
    let mut rest = data;
    while let [length, lost, after @ ..] = rest {
        let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let mut samples = Vec::new();
        let _ = codec.repeats_previous(payload);
        if lost % 4 == 0 {
            decoder.conceal(usize::from(*lost) * 6, Some(payload).filter(|_| lost % 8 == 0), &mut samples);
        } else if decoder.decode(payload, &mut samples).is_ok() {
            assert!(!samples.is_empty());
        }
        assert!(samples.len() <= decoder.sample_rate() as usize / 5, "no payload is longer than 200 ms");
    }
});
