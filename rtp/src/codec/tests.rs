use super::*;
use crate::audio::correlate::correlate;
#[cfg(feature = "opus")]
use crate::audio::speech::speech_like;
use proptest::prelude::*;

const G722_BY_FFMPEG: &[u8] = include_bytes!("../../tests/vectors/g722-by-ffmpeg.bin");

/// Triangles of 300, 1700 and 5200 Hz that swell, and a little noise: whole numbers only, so that other programs can be given
/// exactly the same.
fn signal(rate: i64, count: i64) -> Vec<i16> {
    let mut state = 1i64;
    let triangle = |position: i64| {
        let phase = position % 65_536;
        if phase < 32_768 { phase } else { 65_535 - phase }
    };
    (0..count)
        .map(|i| {
            let tone = |hertz: i64| triangle(i * hertz * 65_536 / rate) - 16_384;
            let swell = triangle(i * 8 * 65_536 / rate);
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            let tones = (tone(300) * 2 + tone(1700) + tone(5200).div_euclid(2)).div_euclid(4);
            ((tones * swell).div_euclid(32_768) + (state >> 16) % 256 - 128) as i16
        })
        .collect()
}

fn encode(codec: Codec, samples: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec);
    let frame = encoder.sample_rate() as usize / 50 * usize::from(codec.channels());
    let chunks = samples.chunks_exact(frame);
    chunks
        .map(|frame| {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload).unwrap();
            payload
        })
        .collect()
}

fn decode(codec: Codec, payloads: &[Vec<u8>]) -> Vec<i16> {
    let (mut decoder, mut samples) = (Decoder::new(codec), Vec::new());
    payloads.iter().for_each(|payload| decoder.decode(payload, &mut samples).unwrap());
    samples
}

#[test]
fn g722_encodes_as_ffmpeg_does_to_the_bit() {
    let encoded = encode(Codec::G722, &signal(16_000, 6400)).concat();
    assert_eq!(encoded.len(), G722_BY_FFMPEG.len());
    assert_eq!(encoded, G722_BY_FFMPEG);
}

#[test]
fn g722_decodes_as_ffmpeg_does_to_the_bit() {
    let mut samples = Vec::new();
    g722::Decoder::new().decode(G722_BY_FFMPEG, &mut samples);
    // FNV-1a of the samples of 16 bits, little end first.
    let hash = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
        });
    assert_eq!((samples.len(), hash), (6400, 0x2815_d049_2a59_e4ca));
}

#[test]
fn every_codec_of_the_build_carries_speech() {
    let l16 = |sample_rate, channels| Codec::L16 { sample_rate, channels };
    for (codec, least) in [
        (Codec::PCMU, 0.99),
        (Codec::PCMA, 0.99),
        (Codec::G722, 0.97),
        (l16(8000, 1), 0.999),
        (l16(44_100, 1), 0.999),
        #[cfg(feature = "opus")]
        (Codec::Opus, 0.9),
    ] {
        let sent = signal(codec.sample_rate().into(), i64::from(codec.sample_rate()));
        let payloads = encode(codec, &sent);
        let found = correlate(&sent, &decode(codec, &payloads));
        assert!(found.coefficient > least, "{codec:?}: {found:?}");
        let units: u32 = payloads.iter().map(|payload| codec.duration(payload).unwrap()).sum();
        assert_eq!(units, codec.clock_rate(), "{codec:?}");
    }
}

#[test]
fn rfc3551_4_1_two_channels_are_interleaved_the_left_first_and_heard_mixed() {
    let codec = Codec::L16 { sample_rate: 8000, channels: 2 };
    let mut heard = Vec::new();
    Decoder::new(codec).decode(&[0x10, 0, 0x20, 0, 0, 2, 0, 4], &mut heard).unwrap();
    assert_eq!(heard, [0x1800, 3]);
}

#[test]
fn rfc3551_6_static_types_and_names_lead_to_the_codec_and_back() {
    for payload_type in 0..=127 {
        let Some(codec) = Codec::from_static(payload_type) else { continue };
        assert_eq!(codec.static_payload_type(), Some(payload_type));
        let named = Codec::from_rtpmap(codec.name(), codec.clock_rate(), codec.rtpmap_channels());
        assert_eq!(named, Some(codec));
    }
    assert_eq!(Codec::from_rtpmap("pcmu", 8000, 1), Some(Codec::PCMU));
    for (name, rate, channels) in
        [("PCMU", 16_000, 1), ("G722", 16_000, 1), ("L16", 0, 1), ("L16", 8000, 3), ("GSM", 8000, 1)]
    {
        assert_eq!(Codec::from_rtpmap(name, rate, channels), None, "{name}/{rate}/{channels}");
    }
}

#[test]
fn a_lost_frame_is_made_up_by_every_decoder_and_silence_follows() {
    for codec in [Codec::PCMU, Codec::G722, Codec::L16 { sample_rate: 16_000, channels: 1 }] {
        let mut decoder = Decoder::new(codec);
        let (frame, mut heard) = (codec.sample_rate() as usize / 50, Vec::new());
        for payload in encode(codec, &signal(codec.sample_rate().into(), 9600)) {
            decoder.decode(&payload, &mut heard).unwrap();
        }
        let mut made_up = Vec::new();
        decoder.conceal(frame, None, &mut made_up);
        assert_eq!(made_up.len(), frame);
        let loud = made_up.iter().filter(|sample| sample.unsigned_abs() > 500).count();
        assert!(loud > frame / 10, "{codec:?}: {loud}");
        decoder.conceal(frame * 5, None, &mut made_up);
        assert!(made_up[frame * 4..].iter().all(|sample| *sample == 0), "{codec:?}");
    }
}

#[test]
fn rfc3551_4_2_a_packet_longer_than_200_ms_is_refused() {
    let mut samples = Vec::new();
    assert!(Decoder::new(Codec::PCMU).decode(&[0; 1600], &mut samples).is_ok());
    let refused = Decoder::new(Codec::PCMU).decode(&[0; 1601], &mut samples);
    assert_eq!((refused, samples.len()), (Err(DecodeError::TooLong), 1600));
    assert_eq!(Codec::G722.duration(&[]), None);
}

proptest! {
    #[test]
    fn any_payload_is_decoded_or_refused_and_never_too_much(
        payloads in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..700), any::<bool>()), 1..10)
    ) {
        for codec in [
            Codec::PCMA,
            Codec::G722,
            Codec::L16 { sample_rate: 44_100, channels: 2 },
            #[cfg(feature = "opus")]
            Codec::Opus,
        ] {
            let mut decoder = Decoder::new(codec);
            for (payload, lost) in &payloads {
                let mut samples = Vec::new();
                if *lost {
                    decoder.conceal(960, Some(payload), &mut samples);
                } else {
                    let _ = decoder.decode(payload, &mut samples);
                }
                prop_assert!(samples.len() <= decoder.sample_rate() as usize / 5);
            }
        }
    }
}

#[cfg(feature = "opus")]
mod opus_tests {
    use super::*;

    const MONO_FEC: &[u8] = include_bytes!("../../tests/vectors/opus-mono-fec-by-libopus.bin");
    const STEREO: &[u8] = include_bytes!("../../tests/vectors/opus-music-stereo-by-libopus.bin");

    /// Packets, each behind its length in two octets.
    fn packets(mut file: &[u8]) -> Vec<&[u8]> {
        let mut packets = Vec::new();
        while let Some((length, rest)) = file.split_first_chunk::<2>() {
            let (packet, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            packets.push(packet);
            file = rest;
        }
        packets
    }

    /// What is heard if some packets are lost, with the packet behind a gap at hand or not.
    fn hear(packets: &[&[u8]], sample_rate: u32, lost: impl Fn(usize) -> bool, with_fec: bool) -> Vec<i16> {
        let (mut decoder, mut heard) = (opus::Decoder::new(sample_rate, 1).unwrap(), Vec::new());
        for (index, packet) in packets.iter().enumerate() {
            if lost(index) {
                let next = packets.get(index + 1).filter(|_| with_fec && !lost(index + 1)).copied();
                decoder.conceal(sample_rate as usize / 50, next, &mut heard);
            } else {
                decoder.decode(packet, &mut heard).unwrap();
            }
        }
        heard
    }

    #[test]
    fn rfc6716_packets_of_libopus_are_heard_as_they_were_spoken() {
        let sent = signal(16_000, 6400);
        let heard = hear(&packets(MONO_FEC), 16_000, |_| false, false);
        assert!(correlate(&sent, &heard).coefficient > 0.93, "{:?}", correlate(&sent, &heard));
        let sent = signal(48_000, 9600);
        let heard = hear(&packets(STEREO), 48_000, |_| false, false);
        assert!(correlate(&sent, &heard).coefficient > 0.9, "{:?}", correlate(&sent, &heard));
    }

    #[test]
    fn rfc6716_2_1_7_a_lost_packet_is_had_from_the_next_one() {
        let sent = speech_like(16_000, 3);
        let payloads = encode_at(16_000, &sent);
        for (packets, gain) in
            [(packets(MONO_FEC), 0.85), (payloads.iter().map(Vec::as_slice).collect(), 0.5)]
        {
            let whole = hear(&packets, 16_000, |_| false, false);
            let error = |with_fec| -> f64 {
                let heard = hear(&packets, 16_000, |index| index % 4 == 3, with_fec);
                whole
                    .iter()
                    .zip(&heard)
                    .map(|(one, other)| (f64::from(*one) - f64::from(*other)).powi(2))
                    .sum()
            };
            assert!(error(true) < error(false) * gain, "{} and {}", error(true), error(false));
        }
    }

    fn encode_at(sample_rate: u32, samples: &[i16]) -> Vec<Vec<u8>> {
        let mut encoder = opus::Encoder::new(sample_rate, 1).unwrap();
        encoder.set_fec(true, 20);
        let frames = samples.chunks_exact(sample_rate as usize / 50);
        frames
            .map(|frame| {
                let mut payload = Vec::new();
                encoder.encode(frame, &mut payload).unwrap();
                payload
            })
            .collect()
    }

    #[test]
    fn rfc6716_2_every_sample_rate_goes_with_every_other() {
        for from in opus::SAMPLE_RATES {
            let sent = signal(from.into(), i64::from(from) / 2);
            let payloads = encode_at(from, &sent);
            for to in opus::SAMPLE_RATES {
                let packets: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                assert_eq!(hear(&packets, to, |_| false, false).len(), to as usize / 2, "{from} to {to}");
            }
        }
    }

    #[test]
    fn rfc6716_2_two_channels_stay_apart() {
        let (mut encoder, mut decoder) =
            (opus::Encoder::new(48_000, 2).unwrap(), opus::Decoder::new(48_000, 2).unwrap());
        let (left, mut heard) = (signal(48_000, 48_000), Vec::new());
        let interleaved: Vec<i16> = left.iter().flat_map(|sample| [*sample, 0]).collect();
        for frame in interleaved.chunks_exact(1920) {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload).unwrap();
            decoder.decode(&payload, &mut heard).unwrap();
        }
        let power = |channel: usize| -> f64 {
            heard.chunks_exact(2).map(|pair| f64::from(pair[channel]).powi(2)).sum()
        };
        assert!(power(0) > 100.0 * power(1), "{} and {}", power(0), power(1));
    }

    #[test]
    fn rfc6716_3_1_the_first_octets_tell_the_duration() {
        // One SILK frame of 10 and 60 ms, two hybrid ones of 20 ms, CELT of 2.5 ms and of 20 ms, three times.
        for (packet, units) in [
            (&[0x00, 1][..], Some(480)),
            (&[0x18, 1], Some(2880)),
            (&[0x69, 1], Some(1920)),
            (&[0x80, 1], Some(120)),
            (&[0xfb, 3], Some(2880)),
            (&[0xfb, 7], None),
            (&[0xfb], None),
            (&[0xfb, 0], None),
            (&[], None),
        ] {
            assert_eq!(opus::duration(packet), units, "{packet:?}");
        }
    }

    #[test]
    fn rfc6716_4_2_3_a_flag_tells_whether_a_packet_repeats_the_one_before() {
        for (packet, repeats) in [
            // SILK, mono, 20 ms: voice, redundancy.
            (&[0x48, 0b1100_0000][..], true),
            (&[0x48, 0b1000_0000], false),
            (&[0x48, 0b0100_0000], true),
            // 40 and 60 ms have a flag for the voice of each frame.
            (&[0x50, 0b1101_1111], false),
            (&[0x50, 0b0010_0000], true),
            (&[0x58, 0b1110_1111], false),
            (&[0x58, 0b0001_0000], true),
            // Stereo: voice and redundancy of the middle, then of the side.
            (&[0x4c, 0b1010_1111], false),
            (&[0x4c, 0b0001_0000], true),
            (&[0x5c, 0b0000_0001], true),
            // Hybrid is half SILK, CELT has none.
            (&[0x78, 0b0100_0000], true),
            (&[0xf8, 0b0100_0000], false),
            // Two frames of one size; two with a length, of one octet and of two; the first one empty.
            (&[0x49, 0b0100_0000, 0], true),
            (&[0x4a, 1, 0b0100_0000, 0], true),
            (&[0x4a, 252, 0, 0b0100_0000, 0], true),
            (&[0x4a, 0, 0b0100_0000], false),
            // Three frames: of one size; with lengths; with 1 and with 254 + 2 octets of padding announced.
            (&[0x4b, 3, 0b0100_0000, 0, 0], true),
            (&[0x4b, 0x83, 1, 1, 0b0100_0000, 0, 0], true),
            (&[0x4b, 0x83, 0, 1, 0b0100_0000, 0], false),
            (&[0x4b, 0x43, 1, 0b0100_0000, 0, 0, 0], true),
            (&[0x4b, 0x43, 255, 2, 0b0100_0000, 0, 0, 0], true),
            (&[0x4b, 0x43, 255], false),
            (&[0x48], false),
            (&[], false),
        ] {
            assert_eq!(opus::repeats_previous(packet), repeats, "{packet:?}");
        }
        let with = |fec| {
            let mut encoder = opus::Encoder::new(16_000, 1).unwrap();
            encoder.set_fec(fec, 20);
            let spoken = speech_like(16_000, 3);
            spoken
                .chunks_exact(320)
                .filter(|frame| {
                    let mut payload = Vec::new();
                    encoder.encode(frame, &mut payload).unwrap();
                    opus::repeats_previous(&payload)
                })
                .count()
        };
        assert!(with(true) > 30 && with(false) == 0, "{} and {} of 50", with(true), with(false));
        let by_libopus = packets(MONO_FEC);
        let repeating = by_libopus.iter().filter(|packet| opus::repeats_previous(packet)).count();
        assert!(repeating > by_libopus.len() / 2, "{repeating} of {}", by_libopus.len());
        assert!(!packets(STEREO).into_iter().any(opus::repeats_previous), "music of CELT");
    }

    #[test]
    fn frames_of_rfc7587_are_encoded_and_others_refused() {
        let mut encoder = opus::Encoder::new(48_000, 1).unwrap();
        for samples in [480, 960, 1920, 2880] {
            let mut payload = Vec::new();
            encoder.encode(&vec![0; samples], &mut payload).unwrap();
            assert_eq!(opus::duration(&payload), Some(samples as u32));
        }
        let mut payload = vec![7];
        assert!(
            encoder.encode(&[0; 240], &mut payload).is_err()
                && encoder.encode(&[0; 500], &mut payload).is_err()
        );
        assert_eq!(payload, [7]);
        assert!(opus::Encoder::new(44_100, 1).is_none() && opus::Decoder::new(48_000, 3).is_none());
    }
}
