//! Tones made and found: sines, DTMF; the Goertzel algorithm.

use std::f64::consts::TAU;
use std::time::Duration;

use super::SAMPLE_RATE;
use super::fourier::Spectrum;
use crate::dtmf::Event;

/// Rows and columns of the keypad in hertz (ITU-T Q.23).
pub(crate) const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// Columns.
pub(crate) const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// Keys by row and column.
pub(crate) const KEYPAD: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Quarter of full scale per frequency: two together stay clear of clipping.
pub(super) const AMPLITUDE: f64 = 8000.0;

/// Frequencies sounding together, on and off in a cadence.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// Hertz; none is silence.
    pub frequencies: Vec<f64>,
    /// On, off, on, off, ...; empty for a continuous tone. Repeats.
    pub cadence: Vec<Duration>,
    /// Peak of each frequency.
    pub amplitude: f64,
}

impl Tone {
    /// One frequency, continuous.
    #[must_use]
    pub fn sine(frequency: f64) -> Self {
        Self { frequencies: vec![frequency], cadence: vec![], amplitude: AMPLITUDE }
    }

    /// The two frequencies of a key (ITU-T Q.23); `None` for events that are no keys.
    #[must_use]
    pub fn dtmf(event: Event) -> Option<Self> {
        let key = event.key()?;
        KEYPAD.iter().zip(ROWS).find_map(|(keys, row)| {
            let (_, column) = keys.iter().zip(COLUMNS).find(|(candidate, _)| **candidate == key)?;
            Some(Self { frequencies: vec![row, column], cadence: vec![], amplitude: AMPLITUDE })
        })
    }

    /// The tone from its start, for ever; take as many samples as needed.
    ///
    /// ```
    /// use rtp::audio::tone::{Tone, dominant_frequency};
    /// let samples: Vec<i16> = Tone::sine(440.0).samples().take(4000).collect();
    /// assert!((dominant_frequency(&samples).ok_or("silence")?.hertz - 440.0).abs() < 2.0);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn samples(&self) -> impl Iterator<Item = i16> + '_ {
        (0u64..).map(|index| self.at(index))
    }

    /// The sample of an index.
    #[must_use]
    pub fn at(&self, index: u64) -> i16 {
        if !self.sounds(index) {
            return 0;
        }
        let time = index as f64 / f64::from(SAMPLE_RATE);
        let sum: f64 = self.frequencies.iter().map(|frequency| (TAU * frequency * time).sin()).sum();
        (sum * self.amplitude) as i16
    }

    fn sounds(&self, index: u64) -> bool {
        let period: Duration = self.cadence.iter().sum();
        if period.is_zero() {
            return true;
        }
        let nanoseconds = u128::from(index) * 1_000_000_000 / u128::from(SAMPLE_RATE);
        let mut left = nanoseconds % period.as_nanos();
        for (position, part) in self.cadence.iter().enumerate() {
            match left.checked_sub(part.as_nanos()) {
                Some(rest) => left = rest,
                None => return position % 2 == 0,
            }
        }
        false
    }
}

/// Mean power of one frequency (Goertzel); a sine of peak A has A²/2.
#[must_use]
pub fn power_at(samples: &[i16], hertz: f64) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let omega = TAU * hertz / f64::from(SAMPLE_RATE);
    let coefficient = 2.0 * omega.cos();
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples {
        (one, two) = (f64::from(*sample) + coefficient * one - two, one);
    }
    let count = samples.len() as f64;
    (one * one + two * two - coefficient * one * two) * 2.0 / (count * count)
}

/// Mean power of everything.
#[must_use]
pub fn power(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    sum / samples.len().max(1) as f64
}

/// Whether `hertz` makes up most of every stretch of the recording that is not silent: the question "is it this
/// tone that I hear". Blocks of 50 ms; returns their share with the tone among those above the noise floor.
#[must_use]
pub fn detect_tone(samples: &[i16], hertz: f64) -> f64 {
    let blocks = samples.chunks_exact(BLOCK).filter(|block| power(block) > NOISE_FLOOR);
    let (mut heard, mut all) = (0u32, 0u32);
    for block in blocks {
        all += 1;
        heard += u32::from(power_at(block, hertz) > 0.5 * power(block));
    }
    if all == 0 { 0.0 } else { f64::from(heard) / f64::from(all) }
}

/// 50 ms.
const BLOCK: usize = 400;
/// -60 dB of full scale: below is silence.
const NOISE_FLOOR: f64 = 32.0 * 32.0;

/// The strongest frequency of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dominant {
    /// Its frequency.
    pub hertz: f64,
    /// Its share of all power, 0 to 1.
    pub share: f64,
}

/// Finds the strongest frequency between 50 and 3950 Hz in the first eight seconds; `None` for silence.
#[must_use]
pub fn dominant_frequency(samples: &[i16]) -> Option<Dominant> {
    let samples = samples.get(..65_536).unwrap_or(samples);
    let total = power(samples);
    if total <= NOISE_FLOOR {
        return None;
    }
    let spectrum = Spectrum::of(samples);
    let resolution = f64::from(SAMPLE_RATE) / spectrum.len() as f64;
    let bins = spectrum.powers().enumerate().map(|(bin, power)| (bin as f64 * resolution, power));
    let candidates = bins.filter(|(hertz, _)| (50.0..3950.0).contains(hertz));
    let (coarse, _) = candidates.max_by(|one, other| one.1.total_cmp(&other.1))?;
    // Refine between the bins.
    let fine = (-10..=10).map(|step| coarse + f64::from(step) * resolution / 10.0);
    let best =
        fine.map(|hertz| (hertz, power_at(samples, hertz))).max_by(|one, other| one.1.total_cmp(&other.1))?;
    Some(Dominant { hertz: best.0, share: (best.1 / total).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goertzel_measures_the_power_of_a_sine() {
        let samples: Vec<i16> = Tone::sine(1000.0).samples().take(800).collect();
        assert!((power_at(&samples, 1000.0) / (AMPLITUDE * AMPLITUDE / 2.0) - 1.0).abs() < 0.01);
        assert!(power_at(&samples, 1500.0) < 0.001 * power_at(&samples, 1000.0));
    }

    #[test]
    fn a_tone_is_found_and_another_is_not() {
        let samples: Vec<i16> = Tone::sine(440.0).samples().take(8000).chain([0; 4000]).collect();
        assert_eq!(detect_tone(&samples, 440.0), 1.0);
        assert_eq!(detect_tone(&samples, 880.0), 0.0);
        assert_eq!(detect_tone(&[0; 8000], 440.0), 0.0);
        let dominant = dominant_frequency(&samples).unwrap();
        assert!((dominant.hertz - 440.0).abs() < 1.0 && dominant.share > 0.6, "{dominant:?}");
        assert_eq!(dominant_frequency(&[0; 8000]), None);
    }
}
