//! Comfort noise (RFC 3389): what silence sounds like, as a level and the reflection coefficients of a filter.

use crate::random::Random;

/// Order of the filter that we send; 10 octets every now and then.
const ORDER: usize = 9;
/// Coefficients heard at most; RFC 3389 sets no limit, and each is computed for every sample.
const MAX_ORDER: usize = 16;
/// A square wave of this is 0 dBov (RFC 3389 §3.1).
const OVERLOAD: f64 = 32_767.0;
/// Quietest level that there is a number for.
const QUIETEST: u8 = 127;
/// The unit of a quantized coefficient (RFC 3389 §3.2).
const UNIT: f64 = 258.0 / 32_768.0;
/// Index 255 is reserved (RFC 3389 §3.2).
const LARGEST_INDEX: u8 = 254;

/// What one payload says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noise {
    /// Level in -dBov, 0 (loud) to 127.
    pub level: u8,
    /// Reflection coefficients, each between -1 and 1; none is white noise.
    pub reflection: Vec<f64>,
}

impl Noise {
    /// Reads a payload; `None` if it is empty. The bit above the level is reserved and ignored.
    ///
    /// ```
    /// use rtp::codec::comfort_noise::Noise;
    /// let noise = Noise::parse(&[60, 127, 254]).ok_or("it is not empty")?;
    /// assert_eq!((noise.level, noise.reflection[0]), (60, 0.0));
    /// assert_eq!(noise.to_octets(), [60, 127, 254]);
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (level, indices) = payload.split_first()?;
        let coefficient = |index: &u8| (f64::from(*index.min(&LARGEST_INDEX)) - 127.0) * UNIT;
        Some(Self {
            level: level & 0x7f,
            reflection: indices.iter().take(MAX_ORDER).map(coefficient).collect(),
        })
    }

    /// Writes a payload.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let index = |k: &f64| (k / UNIT + 127.0).round().clamp(0.0, f64::from(LARGEST_INDEX)) as u8;
        std::iter::once(self.level & 0x7f).chain(self.reflection.iter().map(index)).collect()
    }

    /// Describes a stretch of audio, 10 ms or more.
    #[must_use]
    pub fn of(samples: &[i16]) -> Self {
        let level = level(samples);
        // A window without corners, so that the ends of the stretch are not heard as part of the noise.
        let scale = std::f64::consts::PI / samples.len().max(1) as f64;
        let windowed: Vec<f64> = samples
            .iter()
            .enumerate()
            .map(|(index, sample)| f64::from(*sample) * ((index as f64 + 0.5) * scale).sin())
            .collect();
        let lag = |lag: usize| -> f64 {
            windowed.iter().zip(windowed.iter().skip(lag)).map(|(one, other)| one * other).sum()
        };
        let mut correlation = [0.0; ORDER + 1];
        for (index, value) in correlation.iter_mut().enumerate() {
            *value = lag(index);
        }
        Self { level, reflection: reflection(&correlation) }
    }

    /// Whether the difference is worth a packet: 2 dB.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        self.level.abs_diff(other.level) >= 2
    }
}

/// Level in -dBov.
#[must_use]
pub fn level(samples: &[i16]) -> u8 {
    let power = crate::audio::tone::power(samples) / (OVERLOAD * OVERLOAD);
    if power <= 0.0 { QUIETEST } else { (-10.0 * power.log10()).round().clamp(0.0, QUIETEST.into()) as u8 }
}

/// The recursion of Levinson and Durbin. Stops where the signal is predicted to the last bit.
fn reflection(correlation: &[f64; ORDER + 1]) -> Vec<f64> {
    let [energy, ..] = *correlation;
    // A little white noise keeps it stable.
    let mut error = energy * 1.001 + 1.0;
    let mut predictor: Vec<f64> = Vec::with_capacity(ORDER);
    let mut coefficients = Vec::with_capacity(ORDER);
    for value in correlation.iter().skip(1) {
        let lags = correlation.iter().skip(1).take(predictor.len()).rev();
        let sum: f64 = value + predictor.iter().zip(lags).map(|(a, r)| a * r).sum::<f64>();
        let k = (-sum / error).clamp(-0.99, 0.99);
        let mirrored: Vec<f64> = predictor.iter().rev().copied().collect();
        for (a, b) in predictor.iter_mut().zip(mirrored) {
            *a += k * b;
        }
        predictor.push(k);
        coefficients.push(k);
        error *= 1.0 - k * k;
    }
    coefficients
}

/// Makes noise of what the last payload said.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    noise: Noise,
    gain: f64,
    /// Memory of the lattice filter, a number per coefficient.
    memory: Vec<f64>,
}

impl Generator {
    /// Silence until told otherwise. Equal seeds make equal noise.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            noise: Noise { level: QUIETEST, reflection: vec![] },
            gain: 0.0,
            memory: vec![],
        }
    }

    /// Follows another description from now on.
    pub fn update(&mut self, noise: Noise) {
        let amplitude = OVERLOAD * 10f64.powf(-f64::from(noise.level) / 20.0);
        // The filter makes noise louder by the product of 1 / (1 - k²); uniform numbers have a variance of a third.
        let shaped: f64 = noise.reflection.iter().map(|k| 1.0 - k * k).product();
        self.gain = amplitude * (3.0 * shaped).sqrt();
        self.memory.resize(noise.reflection.len(), 0.0);
        self.noise = noise;
    }

    /// Whether there is anything to be heard.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.noise.level == QUIETEST
    }

    /// Fills a stretch with noise.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            *sample = self.next() as i16;
        }
    }

    /// One step of the lattice: from the last stage to the first.
    fn next(&mut self) -> f64 {
        let mut forward = (self.random.next_f64() * 2.0 - 1.0) * self.gain;
        let stages = self.noise.reflection.iter().zip(self.memory.iter_mut()).rev();
        // What a stage hands on is the memory of the one after it.
        let mut after: Option<&mut f64> = None;
        for (k, backward) in stages {
            forward -= k * *backward;
            let handed = *backward + k * forward;
            if let Some(slot) = after {
                *slot = handed;
            }
            after = Some(backward);
        }
        if let Some(first) = after {
            *first = forward;
        }
        forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::{Tone, power, power_at};
    use proptest::prelude::*;

    fn generated(noise: &Noise, count: usize) -> Vec<i16> {
        let mut generator = Generator::new(7);
        generator.update(noise.clone());
        let mut samples = vec![0; count];
        generator.fill(&mut samples);
        samples
    }

    #[test]
    fn rfc3389_3_1_the_level_is_the_power_below_the_overload_point() {
        assert_eq!(level(&[32_767, -32_767]), 0);
        assert_eq!(level(&[0; 160]), 127);
        // A tenth of the amplitude is 20 dB.
        assert_eq!(level(&[3277, -3277]), 20);
        for wanted in [20, 40, 60] {
            let samples = generated(&Noise { level: wanted, reflection: vec![] }, 16_000);
            assert!(level(&samples).abs_diff(wanted) <= 1, "{wanted} gives {}", level(&samples));
        }
    }

    #[test]
    fn rfc3389_3_2_noise_that_was_described_sounds_like_it() {
        // Low-pass noise: most of the power below 1 kHz.
        let dark = Noise { level: 40, reflection: vec![-0.9, 0.3] };
        let original = generated(&dark, 16_000);
        let described = Noise::parse(&Noise::of(&original).to_octets()).unwrap();
        let again = generated(&described, 16_000);
        let share = |samples: &[i16]| {
            let low: f64 = (1..20).map(|n| power_at(samples, f64::from(n) * 40.0)).sum();
            let high: f64 = (1..20).map(|n| power_at(samples, 3000.0 + f64::from(n) * 40.0)).sum();
            10.0 * (low / high).log10()
        };
        assert!(share(&original) > 15.0, "{}", share(&original));
        assert!((share(&original) - share(&again)).abs() < 4.0, "{} and {}", share(&original), share(&again));
        let ratio = 10.0 * (power(&original) / power(&again)).log10();
        assert!(ratio.abs() < 1.0, "{ratio} dB");
    }

    #[test]
    fn rfc3389_3_3_one_octet_is_a_level_alone_and_none_is_nothing() {
        assert_eq!(Noise::parse(&[0xff]), Some(Noise { level: 127, reflection: vec![] }));
        assert_eq!(Noise::parse(&[]), None);
        assert_eq!(Noise::parse(&[1; 400]).unwrap().reflection.len(), MAX_ORDER);
    }

    #[test]
    fn a_tone_and_silence_have_stable_filters() {
        let tone: Vec<i16> = Tone::sine(1000.0).samples().take(320).collect();
        for samples in [&tone[..], &[0; 320], &[32_767; 320], &[]] {
            let noise = Noise::of(samples);
            assert!(noise.reflection.iter().all(|k| k.abs() < 1.0), "{noise:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_quantized_stays_and_any_payload_makes_bounded_noise(payload in proptest::collection::vec(any::<u8>(), 1..40)) {
            let noise = Noise::parse(&payload).unwrap();
            prop_assert_eq!(&Noise::parse(&noise.to_octets()).unwrap(), &noise);
            prop_assert_eq!(generated(&noise, 400).len(), 400);
        }
    }
}
