//! A signal like speech: syllables of gliding pitch and changing vowels, the same for the same seed.

use std::f64::consts::TAU;

use super::SAMPLE_RATE;
use crate::random::Random;

/// First two formants of some vowels in hertz.
const VOWELS: [(f64, f64); 5] =
    [(730.0, 1090.0), (270.0, 2290.0), (300.0, 870.0), (530.0, 1840.0), (570.0, 840.0)];
/// Width of a formant.
const BANDWIDTH: f64 = 120.0;
/// Peak aimed at.
const PEAK: f64 = 14_000.0;

struct Syllable {
    start: usize,
    length: usize,
    pause: usize,
    pitch: (f64, f64),
    vowel: (f64, f64),
}

impl Syllable {
    fn new(random: &mut Random, start: usize) -> Self {
        let mut between = |from: f64, to: f64| from + random.next_f64() * (to - from);
        let rate = f64::from(SAMPLE_RATE);
        let length = (between(0.12, 0.28) * rate) as usize;
        let pause = (between(0.02, 0.10) * rate) as usize;
        let pitch = (between(100.0, 160.0), between(90.0, 180.0));
        let choice = (between(0.0, 5.0)) as usize;
        Self { start, length, pause, pitch, vowel: VOWELS.get(choice).copied().unwrap_or((500.0, 1500.0)) }
    }
}

/// `count` samples at 8 kHz. Syllables never repeat, so that a recording matches at one lag only.
#[must_use]
pub fn speech_like(count: usize, seed: u64) -> Vec<i16> {
    let mut random = Random::new(seed);
    let mut syllable = Syllable::new(&mut random, 0);
    let mut phase = 0.0;
    let mut samples = Vec::with_capacity(count);
    for index in 0..count {
        if index >= syllable.start + syllable.length + syllable.pause {
            syllable = Syllable::new(&mut random, index);
        }
        let progress = (index - syllable.start) as f64 / syllable.length as f64;
        if progress >= 1.0 {
            samples.push(0);
            continue;
        }
        let pitch = syllable.pitch.0 + (syllable.pitch.1 - syllable.pitch.0) * progress;
        phase = (phase + pitch / f64::from(SAMPLE_RATE)) % 1.0;
        let envelope = (progress * std::f64::consts::PI).sin().sqrt();
        let harmonics = (3400.0 / pitch) as u32;
        let sum: f64 = (1..=harmonics)
            .map(|harmonic| {
                let number = f64::from(harmonic);
                let gain = formant(number * pitch, syllable.vowel.0)
                    + 0.6 * formant(number * pitch, syllable.vowel.1);
                (gain + 0.02) * (TAU * phase * number).sin()
            })
            .sum();
        samples.push((sum * envelope * PEAK / 3.0).clamp(-30_000.0, 30_000.0) as i16);
    }
    samples
}

/// Resonance of a formant.
fn formant(hertz: f64, centre: f64) -> f64 {
    1.0 / (1.0 + ((hertz - centre) / BANDWIDTH).powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::power;

    #[test]
    fn the_same_seed_gives_the_same_signal_and_another_gives_another() {
        assert_eq!(speech_like(4000, 9), speech_like(4000, 9));
        assert_ne!(speech_like(4000, 9), speech_like(4000, 10));
    }

    #[test]
    fn it_is_loud_and_does_not_clip() {
        let samples = speech_like(80_000, 1);
        assert!(power(&samples).sqrt() > 1500.0, "{}", power(&samples).sqrt());
        assert!(samples.iter().filter(|sample| sample.unsigned_abs() >= 30_000).count() < 80);
    }
}
