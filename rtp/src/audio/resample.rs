//! From one sample rate to another: a filter with a set of taps for each place that an output can have between two inputs.
//!
//! The rates of telephony (8, 16, 24, 32, 44.1 and 48 kHz) have whole numbers of samples in 10 ms, so that a frame of one
//! gives exactly a frame of the other.

use std::f64::consts::PI;
use std::time::Duration;

/// Zero crossings of the filter on either side, counted at the lower rate: 2 ms at 8 kHz, which is the delay.
const LOBES: usize = 16;
/// Half of the lower rate is the middle of the filter's slope; what lies above it would come back as a false tone.
const CUTOFF: f64 = 0.92;
/// Shape of the window (Kaiser): above the slope everything is damped by some 65 dB.
const SHAPE: f64 = 6.5;
/// Taps of all sets together: 32 MB, which rates of no common divisor could need. Those of telephony need a hundredth.
const MAX_TAPS: usize = 1 << 23;
/// Rates that audio has.
pub const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 1000..=384_000;

/// Converts a stream, in pieces of any length.
///
/// ```
/// use rtp::audio::resample::Resampler;
/// let mut resampler = Resampler::new(16_000, 44_100).ok_or("both are rates of audio")?;
/// let mut out = Vec::new();
/// resampler.process(&[0; 160], &mut out); // 10 ms
/// assert_eq!(out.len(), 441);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Samples out (`up`) per samples in (`down`), without common divisor.
    up: usize,
    down: usize,
    /// Rate of the input.
    from: u32,
    /// Taps of one set.
    length: usize,
    /// A set of taps per place between two inputs; empty if both rates are the same.
    taps: Vec<f32>,
    /// The last inputs, and those of this piece.
    inputs: Vec<f32>,
    /// Where the next output lies behind the first new input, in units of 1 / `up` inputs.
    place: usize,
}

impl Resampler {
    /// `None` if one of the rates is none of [`SAMPLE_RATES`], or both together would take too much memory.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Option<Self> {
        if !SAMPLE_RATES.contains(&from) || !SAMPLE_RATES.contains(&to) {
            return None;
        }
        let divisor = greatest_common_divisor(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        if up == down {
            return Some(Self { up, down, from, length: 0, taps: vec![], inputs: vec![], place: 0 });
        }
        // Inputs between two zero crossings.
        let spacing = (down as f64 / up as f64).max(1.0);
        let length = 2 * (LOBES as f64 * spacing).ceil() as usize;
        if length.checked_mul(up).is_none_or(|taps| taps > MAX_TAPS) {
            return None;
        }
        let taps = (0..up).flat_map(|place| set(place as f64 / up as f64, length, spacing)).collect();
        Some(Self { up, down, from, length, taps, inputs: vec![0.0; length - 1], place: 0 })
    }

    /// By how much the output is behind the input.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_secs_f64((self.length / 2) as f64 / f64::from(self.from))
    }

    /// Converts the next piece, and adds what comes of it to `out`.
    pub fn process(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        if self.taps.is_empty() {
            out.extend_from_slice(samples);
            return;
        }
        self.inputs.extend(samples.iter().map(|sample| f32::from(*sample)));
        let end = samples.len() * self.up;
        while self.place < end {
            let (first, between) = (self.place / self.up, self.place % self.up);
            let taps = self.taps.get(between * self.length..(between + 1) * self.length).unwrap_or_default();
            let inputs = self.inputs.get(first..first + self.length).unwrap_or_default();
            out.push(product(inputs, taps).round() as i16);
            self.place += self.down;
        }
        self.place -= end;
        self.inputs.drain(..samples.len());
    }
}

/// In eight sums at once, which the compiler can keep in one vector.
fn product(inputs: &[f32], taps: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (inputs, last_inputs) = inputs.as_chunks::<8>();
    let (taps, last_taps) = taps.as_chunks::<8>();
    for (inputs, taps) in inputs.iter().zip(taps) {
        for ((sum, input), tap) in sums.iter_mut().zip(inputs).zip(taps) {
            *sum += input * tap;
        }
    }
    let last: f32 = last_inputs.iter().zip(last_taps).map(|(input, tap)| input * tap).sum();
    sums.iter().sum::<f32>() + last
}

/// The taps for an output that lies `between` two inputs (0 to 1). Together they are 1, so that levels stay.
fn set(between: f64, length: usize, spacing: f64) -> Vec<f32> {
    let half = (length / 2) as f64;
    let taps: Vec<f64> = (0..length)
        .map(|index| {
            let distance = index as f64 + 1.0 - half - between;
            let x = PI * distance * CUTOFF / spacing;
            let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
            let inside = (1.0 - (distance / half).powi(2)).max(0.0);
            sinc * bessel(SHAPE * inside.sqrt()) / bessel(SHAPE)
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|tap| (tap / sum) as f32).collect()
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// Converts a whole recording, without delay. `None` as with [`Resampler::new`].
#[must_use]
pub fn resample(samples: &[i16], from: u32, to: u32) -> Option<Vec<i16>> {
    let mut resampler = Resampler::new(from, to)?;
    let wanted = (samples.len() as u64 * u64::from(to)).div_ceil(from.into()) as usize;
    let behind = resampler.length / 2;
    let mut out = Vec::with_capacity(wanted + 1);
    // The place of the first output is the first input, not the delay before it.
    let (head, rest) = samples.split_at(behind.min(samples.len()));
    let head_length = head.len();
    if behind > 0 {
        resampler.inputs.extend(head.iter().map(|sample| f32::from(*sample)));
        resampler.inputs.resize(resampler.inputs.len() + behind - head_length, 0.0);
        resampler.inputs.drain(..behind);
        resampler.process(rest, &mut out);
        resampler.process(&vec![0; behind + 1], &mut out);
    } else {
        resampler.process(samples, &mut out);
    }
    out.truncate(wanted);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 6] = [8000, 16_000, 24_000, 32_000, 44_100, 48_000];

    /// A quarter of a second.
    fn tone(rate: u32, hertz: f64) -> Vec<i16> {
        let sample = |n| (f64::from(n) / f64::from(rate) * hertz * 2.0 * PI).sin() * 16_000.0;
        (0..rate / 4).map(|n| sample(n).round() as i16).collect()
    }

    /// In decibel, a sine of 16,000 being 0; without the ends.
    fn strength(samples: &[i16]) -> f64 {
        let middle = &samples[samples.len() / 8..samples.len() * 7 / 8];
        10.0 * (crate::audio::tone::power(middle) * 2.0 / (16_000.0 * 16_000.0)).log10()
    }

    #[test]
    fn frames_of_10_and_20_ms_give_exactly_frames() {
        for (from, to) in RATES.iter().flat_map(|from| RATES.map(|to| (*from, to))) {
            let mut resampler = Resampler::new(from, to).unwrap();
            for divisor in [100, 50, 100, 50, 50] {
                let mut out = Vec::new();
                resampler.process(&vec![100; (from / divisor) as usize], &mut out);
                assert_eq!(out.len(), (to / divisor) as usize, "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_its_level() {
        for (from, to) in RATES.iter().flat_map(|from| RATES.map(|to| (*from, to))) {
            for hertz in [300.0, 1000.0, 3000.0] {
                let out = resample(&tone(from, hertz), from, to).unwrap();
                assert_eq!(out.len(), to as usize / 4);
                let crossings = out.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
                assert!(crossings.abs_diff(hertz as usize / 4) <= 1, "{crossings} of {from} to {to}");
                assert!(strength(&out).abs() < 0.1, "{hertz} Hz, {from} to {to}: {} dB", strength(&out));
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_damped_by_50_db() {
        for (from, to, hertz) in
            [(48_000, 8000, 4400.0), (16_000, 8000, 5000.0), (44_100, 8000, 7000.0), (48_000, 16_000, 8900.0)]
        {
            let out = resample(&tone(from, hertz), from, to).unwrap();
            assert!(strength(&out) < -50.0, "{hertz} Hz, {from} to {to}: {} dB", strength(&out));
        }
    }

    #[test]
    fn there_are_no_mirror_images_above_the_lower_rate() {
        // What is left of 3 kHz at 8 kHz once its tone is taken out of the result at 48 kHz.
        let out = resample(&tone(8000, 3000.0), 8000, 48_000).unwrap();
        let difference: Vec<i16> =
            out.iter().zip(tone(48_000, 3000.0)).map(|(one, other)| one - other).collect();
        assert!(strength(&difference) < -50.0, "{} dB", strength(&difference));
    }

    #[test]
    fn pieces_of_any_length_make_the_same_stream() {
        let samples = tone(44_100, 440.0);
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        Resampler::new(44_100, 16_000).unwrap().process(&samples, &mut whole);
        let mut resampler = Resampler::new(44_100, 16_000).unwrap();
        for (index, piece) in samples.chunks(7).enumerate() {
            resampler.process(&piece[..piece.len() * (index % 2)], &mut pieces);
            resampler.process(&piece[piece.len() * (index % 2)..], &mut pieces);
        }
        assert_eq!(whole, pieces);
        assert_eq!(Resampler::new(8000, 48_000).unwrap().delay(), Duration::from_millis(2));
    }

    #[test]
    fn rates_that_no_audio_has_are_refused_and_loud_signals_do_not_wrap() {
        assert!(Resampler::new(0, 8000).is_none() && Resampler::new(8000, 400_000).is_none());
        assert!(Resampler::new(383_999, 383_998).is_none());
        let square: Vec<i16> = (0..4000).map(|n| if n / 9 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = resample(&square, 8000, 16_000).unwrap();
        // The filter overshoots behind each edge; in the middle between two of them it must be what it was.
        assert!((9..3900).all(|n| n % 9 != 4 || (out[n * 2] > 20_000) == (square[n] > 0)));
        assert_eq!(resample(&[5; 3], 8000, 8000).unwrap(), [5; 3]);
    }
}
