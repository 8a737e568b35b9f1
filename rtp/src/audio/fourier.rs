//! A radix-2 Fourier transform, for looking at recordings.

use std::f64::consts::TAU;

/// A complex number.
pub(super) type Complex = (f64, f64);

pub(super) fn multiply(one: Complex, other: Complex) -> Complex {
    (one.0 * other.0 - one.1 * other.1, one.0 * other.1 + one.1 * other.0)
}

/// Transforms in place; the length must be a power of two. `sign` -1 forwards, +1 backwards (unscaled).
pub(super) fn transform(values: &mut [Complex], sign: f64) {
    let count = values.len();
    if count < 2 || !count.is_power_of_two() {
        return;
    }
    for index in 0..count {
        let mirrored = index.reverse_bits() >> (usize::BITS - count.trailing_zeros());
        if mirrored > index {
            values.swap(index, mirrored);
        }
    }
    let mut size = 2;
    while size <= count {
        let step = sign * TAU / size as f64;
        let twiddles: Vec<Complex> =
            (0..size / 2).map(|k| (step * k as f64).sin_cos()).map(|(s, c)| (c, s)).collect();
        for block in values.chunks_exact_mut(size) {
            let (even, odd) = block.split_at_mut(size / 2);
            for ((a, b), twiddle) in even.iter_mut().zip(odd).zip(&twiddles) {
                let turned = multiply(*b, *twiddle);
                (*a, *b) = ((a.0 + turned.0, a.1 + turned.1), (a.0 - turned.0, a.1 - turned.1));
            }
        }
        size *= 2;
    }
}

/// Samples as complex numbers, zeros up to `length`.
pub(super) fn padded(samples: &[f64], length: usize) -> Vec<Complex> {
    let mut values: Vec<Complex> = samples.iter().map(|sample| (*sample, 0.0)).collect();
    values.resize(length, (0.0, 0.0));
    values
}

/// The windowed spectrum of a recording.
pub(super) struct Spectrum(Vec<Complex>);

impl Spectrum {
    pub(super) fn of(samples: &[i16]) -> Self {
        let count = samples.len().max(1) as f64;
        let window = |index: usize| 0.5 - 0.5 * (TAU * (index as f64 + 0.5) / count).cos();
        let windowed: Vec<f64> =
            samples.iter().enumerate().map(|(index, sample)| f64::from(*sample) * window(index)).collect();
        let mut values = padded(&windowed, samples.len().next_power_of_two());
        transform(&mut values, -1.0);
        Self(values)
    }

    /// Length of the transform.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Powers from zero to half the sample rate.
    pub(super) fn powers(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().take(self.0.len() / 2).map(|value| value.0 * value.0 + value.1 * value.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_times_the_length() {
        let original: Vec<Complex> = (0..64).map(|i| (f64::from(i * i % 17), f64::from(i % 5))).collect();
        let mut values = original.clone();
        transform(&mut values, -1.0);
        transform(&mut values, 1.0);
        for (value, expected) in values.iter().zip(&original) {
            assert!((value.0 / 64.0 - expected.0).abs() < 1e-9 && (value.1 / 64.0 - expected.1).abs() < 1e-9);
        }
    }
}
