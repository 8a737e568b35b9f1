use std::f64::consts::TAU;

use super::*;
use crate::audio::SAMPLE_RATE;
use crate::audio::speech::speech_like;
use crate::audio::tone::Tone;
use crate::g711::Law;
use crate::random::Random;

/// Peak of a sine of 0 dBm0.
const REFERENCE: f64 = 22_303.0;
const KEYS: &str = "0123456789*#ABCD5533##";

/// A key with a level in dBm0 of each frequency, which may be detuned.
fn tone(key: char, low: f64, high: f64, detuned: (f64, f64), count: usize) -> Vec<i16> {
    let frequencies = Tone::dtmf(Event::from_key(key).unwrap()).unwrap().frequencies;
    let sine =
        |hertz: f64, level: f64, time: f64| REFERENCE * 10f64.powf(level / 20.0) * (TAU * hertz * time).sin();
    let sample = |index: usize| {
        let time = index as f64 / f64::from(SAMPLE_RATE);
        let both = sine(frequencies[0] * detuned.0, low, time) + sine(frequencies[1] * detuned.1, high, time);
        both.clamp(-32_000.0, 32_000.0) as i16
    };
    (0..count).map(sample).collect()
}

/// All keys, with such a pause between them, and before the first one a part of it.
fn dialled(low: f64, high: f64, detuned: (f64, f64), length: usize, pause: usize) -> Vec<i16> {
    let mut samples = Vec::new();
    for (index, key) in KEYS.chars().enumerate() {
        samples.extend(std::iter::repeat_n(0, pause + index * 7)); // begins anywhere in a window
        samples.extend(tone(key, low, high, detuned, length));
    }
    samples.extend([0; 800]);
    samples
}

fn heard(samples: &[i16]) -> String {
    let coded: Vec<i16> = Law::Mu.decode(&Law::Mu.encode(samples)).collect();
    let mut detector = Detector::new();
    coded.chunks(97).flat_map(|part| detector.detect(part)).filter_map(Event::key).collect()
}

fn noise(count: usize, peak: f64, seed: u64) -> impl Iterator<Item = i16> {
    let mut random = Random::new(seed);
    (0..count).map(move |_| ((random.next_f64() * 2.0 - 1.0) * peak) as i16)
}

#[test]
fn q24_every_key_is_found_once_from_minus_3_to_minus_25_dbm0() {
    for level in [-3.0, -7.0, -12.0, -18.0, -22.0, -25.0] {
        // 40 ms with pauses of 40 ms: the shortest that Q.24 wants to be found.
        assert_eq!(heard(&dialled(level, level, (1.0, 1.0), 320, 320)), KEYS, "{level} dBm0");
        assert_eq!(heard(&dialled(level, level, (1.0, 1.0), 1600, 800)), KEYS, "{level} dBm0");
    }
}

#[test]
fn what_is_too_low_or_too_short_is_no_key() {
    assert_eq!(heard(&dialled(-40.0, -40.0, (1.0, 1.0), 800, 400)), "");
    // Q.24: 20 ms and less are to be passed over.
    assert_eq!(heard(&dialled(-10.0, -10.0, (1.0, 1.0), 160, 400)), "");
}

#[test]
fn q24_twist_of_8_db_either_way_and_not_more_than_12() {
    assert_eq!(heard(&dialled(-6.0, -14.0, (1.0, 1.0), 400, 400)), KEYS);
    assert_eq!(heard(&dialled(-14.0, -6.0, (1.0, 1.0), 400, 400)), KEYS);
    assert_eq!(heard(&dialled(-4.0, -16.0, (1.0, 1.0), 400, 400)), "");
    assert_eq!(heard(&dialled(-16.0, -4.0, (1.0, 1.0), 400, 400)), "");
}

#[test]
fn q24_frequencies_off_by_one_and_a_half_percent() {
    for detuned in [(1.015, 1.015), (0.985, 0.985), (1.015, 0.985), (0.985, 1.015)] {
        assert_eq!(heard(&dialled(-10.0, -10.0, detuned, 400, 400)), KEYS, "{detuned:?}");
    }
    // Far off, towards the middle between two: no key, or at least not this one.
    assert_eq!(heard(&dialled(-10.0, -10.0, (1.05, 1.05), 400, 400)), "");
}

#[test]
fn keys_are_found_in_noise_and_an_interruption_of_ten_milliseconds_makes_no_second_one() {
    let mut samples = dialled(-10.0, -10.0, (1.0, 1.0), 640, 480);
    // 15 dB below the two tones.
    for (sample, noise) in samples.iter_mut().zip(noise(1 << 20, 3100.0, 5)) {
        *sample = sample.saturating_add(noise);
    }
    assert_eq!(heard(&samples), KEYS);
    let mut interrupted = tone('5', -10.0, -10.0, (1.0, 1.0), 1600);
    interrupted[800..880].fill(0);
    interrupted.extend([0; 800]);
    assert_eq!(heard(&interrupted), "5");
}

/// Talk-off: what is said is no key. A real detector may err a few times an hour of the worst speech; this speech has the
/// narrow formants and gliding pitches that come nearest to two pure tones.
#[test]
fn ten_minutes_of_speech_and_of_worse_hold_no_key() {
    let mut found = Vec::new();
    for seed in 0..5 {
        found.extend(Detector::new().detect(&speech_like(480_000, seed)));
    }
    assert_eq!(found, []);
    for seed in 0..5 {
        found.extend(Detector::new().detect(&sung(480_000, seed)));
    }
    assert_eq!(found, []);
}

/// Two strong partials, as of whistling or a high voice, that glide over all the frequencies of the keypad, and a third below.
fn sung(count: usize, seed: u64) -> Vec<i16> {
    let mut random = Random::new(seed);
    let (mut low, mut high) = ((600.0, 0.0), (1100.0, 0.0));
    let (mut phase_low, mut phase_high) = (0.0, 0.0);
    let rate = f64::from(SAMPLE_RATE);
    let mut samples = Vec::with_capacity(count);
    for index in 0..count {
        if index % 1600 == 0 {
            // A syllable: begins anywhere and glides by a tone or so.
            low = (600.0 + random.next_f64() * 400.0, (random.next_f64() - 0.5) * 0.05);
            high = (1100.0 + random.next_f64() * 600.0, (random.next_f64() - 0.5) * 0.08);
        }
        (low.0, high.0) = (low.0 + low.1, high.0 + high.1);
        phase_low += low.0 / rate;
        phase_high += high.0 / rate;
        let third = 0.9 * (TAU * phase_low * 0.5).sin();
        let sum: f64 = (TAU * phase_low).sin() + (TAU * phase_high).sin() + third;
        samples.push((sum * 6000.0) as i16);
    }
    samples
}

#[test]
fn tones_of_the_network_and_single_tones_are_no_keys() {
    for frequencies in
        [vec![350.0, 440.0], vec![440.0, 480.0], vec![480.0, 620.0], vec![697.0], vec![1209.0], vec![1004.0]]
    {
        let tone = Tone { frequencies, ..Tone::sine(0.0) };
        assert_eq!(Detector::new().detect(&tone.samples().take(16_000).collect::<Vec<_>>()), [], "{tone:?}");
    }
    assert_eq!(Detector::new().detect(&noise(80_000, 20_000.0, 3).collect::<Vec<_>>()), []);
}

#[test]
fn durations_and_levels_are_told() {
    for (length, level) in [(400, -10.0), (800, -6.0), (4000, -20.0)] {
        let mut samples = tone('8', level, level, (1.0, 1.0), length);
        samples.extend([0; 800]);
        let notices = Detector::new().notices(&samples);
        let [Notice::Started(Event(8)), Notice::Ended { event: Event(8), duration, volume }] = notices[..]
        else {
            panic!("{notices:?}")
        };
        assert!(duration.abs_diff(length as u32) <= 80, "{duration} for {length}");
        assert!((f64::from(volume) + level).abs() <= 1.0, "{volume} for {level}");
    }
    let mut detector = Detector::new();
    detector.detect(&tone('3', -10.0, -10.0, (1.0, 1.0), 800));
    assert!(matches!(detector.finish(), Some(Notice::Ended { event: Event(3), .. })));
    assert_eq!(detector.finish(), None);
}

#[test]
fn the_filter_leaves_speech_as_it_was_and_nothing_of_tones() {
    let speech = speech_like(80_000, 7);
    let mut filtered = speech.clone();
    assert_eq!(Filter::new().process(&mut filtered), []);
    assert_eq!(filtered[FILTER_DELAY..], speech[..80_000 - FILTER_DELAY]);

    // Speech, a key in a pause of it, speech; whatever the sizes of the pieces and wherever the tone begins.
    for (piece, offset) in [(160, 0), (80, 13), (240, 27), (1, 39)] {
        let before = 8000 + offset;
        let mut samples = speech[..before].to_vec();
        samples.extend(tone('9', -8.0, -8.0, (1.0, 1.0), 960));
        samples.extend(&speech[..8000]);
        samples.extend([0; FILTER_DELAY]);
        let mut filter = Filter::new();
        let notices: Vec<_> = samples.chunks_mut(piece).flat_map(|part| filter.process(part)).collect();
        assert!(matches!(notices[..], [Notice::Started(Event(9)), Notice::Ended { .. }]), "{notices:?}");
        let tone_at = before + FILTER_DELAY;
        assert!(samples[tone_at..tone_at + 960].iter().all(|sample| *sample == 0));
        assert_eq!(samples[FILTER_DELAY..tone_at - 100], speech[..before - 100]);
        assert_eq!(samples[tone_at + 960 + 400..], speech[400..8000]);
    }
}
