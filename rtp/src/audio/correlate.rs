//! Is this recording that signal? Normalized cross-correlation with a search for the lag.

use super::fourier::{multiply, padded, transform};

/// Length of a segment compared: 200 ms.
const SEGMENT: usize = 1600;
/// Shift of a segment against the whole: lost or inserted frames and clock drift, 200 ms either way.
const DRIFT: usize = 1600;
/// A segment this alike is the same audio.
const ALIKE: f64 = 0.8;
/// Segments below this mean power are silence and prove nothing: -60 dB of full scale.
const SILENCE: f64 = 32.0 * 32.0;

/// What the comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Correlation {
    /// Samples by which the recording is behind the reference; negative if its start is missing.
    pub lag: isize,
    /// Normalized correlation of the whole at that lag, -1 to 1.
    pub coefficient: f64,
    /// Segments of the reference that were compared (those with sound and inside the recording).
    pub segments: usize,
    /// Share of them found in the recording near that lag, 0 to 1.
    pub matched: f64,
}

/// Finds `reference` in `recording`: first the lag of the whole, then each 200 ms of the reference near it, so
/// that lost or inserted frames cost only the segments they hit.
///
/// ```
/// use rtp::audio::{correlate::correlate, speech::speech_like};
/// let sent = speech_like(16_000, 1);
/// let heard: Vec<i16> = std::iter::repeat_n(0, 480).chain(sent.iter().map(|sample| sample / 2)).collect();
/// let found = correlate(&sent, &heard);
/// assert_eq!((found.lag, found.matched), (480, 1.0));
/// assert!(correlate(&speech_like(16_000, 2), &heard).matched < 0.2);
/// ```
#[must_use]
pub fn correlate(reference: &[i16], recording: &[i16]) -> Correlation {
    let reference: Vec<f64> = reference.iter().copied().map(f64::from).collect();
    let recording: Vec<f64> = recording.iter().copied().map(f64::from).collect();
    let Some(lag) = best_lag(&reference, &recording) else { return Correlation::default() };

    // The overlap of both at that lag.
    let (skip_reference, skip_recording) = (lag.min(0).unsigned_abs(), lag.max(0).unsigned_abs());
    let overlap_reference = reference.get(skip_reference..).unwrap_or_default();
    let overlap_recording = recording.get(skip_recording..).unwrap_or_default();
    let coefficient = likeness(overlap_reference, overlap_recording);

    let (mut segments, mut matched) = (0usize, 0usize);
    for (index, segment) in reference.chunks_exact(SEGMENT).enumerate() {
        if energy(segment) / SEGMENT as f64 <= SILENCE {
            continue;
        }
        let Some(expected) = (index * SEGMENT).checked_add_signed(lag) else { continue };
        let end = (expected + SEGMENT + DRIFT).min(recording.len());
        let Some(window) = recording.get(expected.saturating_sub(DRIFT)..end) else { continue };
        if window.len() < SEGMENT || expected + SEGMENT > recording.len() {
            continue;
        }
        segments += 1;
        matched += usize::from(best_likeness(segment, window) >= ALIKE);
    }
    let share = if segments == 0 { 0.0 } else { matched as f64 / segments as f64 };
    Correlation { lag, coefficient, segments, matched: share }
}

/// The lag with the largest correlation.
fn best_lag(reference: &[f64], recording: &[f64]) -> Option<isize> {
    if energy(reference) == 0.0 || energy(recording) == 0.0 {
        return None;
    }
    let products = cross_products(reference, recording);
    let length = products.len();
    let (index, _) = products.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1))?;
    // The upper half of the circle are the negative lags.
    if index < recording.len() {
        isize::try_from(index).ok()
    } else {
        Some(-isize::try_from(length - index).ok()?)
    }
}

/// The sum of products at every lag, by Fourier transform; negative lags at the end.
fn cross_products(reference: &[f64], recording: &[f64]) -> Vec<f64> {
    let length = (reference.len() + recording.len()).next_power_of_two();
    let mut one = padded(reference, length);
    let mut other = padded(recording, length);
    transform(&mut one, -1.0);
    transform(&mut other, -1.0);
    for (a, b) in other.iter_mut().zip(&one) {
        *a = multiply(*a, (b.0, -b.1));
    }
    transform(&mut other, 1.0);
    other.into_iter().map(|(real, _)| real / length as f64).collect()
}

/// The best normalized correlation of a segment with any stretch of the window.
fn best_likeness(segment: &[f64], window: &[f64]) -> f64 {
    let own = energy(segment);
    let mut stretch: f64 = energy(window.get(..segment.len()).unwrap_or_default());
    let leaving = window.iter();
    let entering = window.iter().skip(segment.len()).chain(std::iter::once(&0.0));
    let mut best = 0.0f64;
    for ((product, left), entered) in cross_products(segment, window).iter().zip(leaving).zip(entering) {
        best = best.max(product / (own * stretch.max(1.0)).sqrt());
        stretch += entered * entered - left * left;
    }
    best
}

fn energy(samples: &[f64]) -> f64 {
    samples.iter().map(|sample| sample * sample).sum()
}

/// Normalized correlation without lag, over the shorter length.
fn likeness(one: &[f64], other: &[f64]) -> f64 {
    let (mut product, mut energy_one, mut energy_other) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        product += a * b;
        energy_one += a * a;
        energy_other += b * b;
    }
    let norm = f64::sqrt(energy_one * energy_other);
    if norm == 0.0 { 0.0 } else { product / norm }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::speech::speech_like;
    use crate::g711::Law;

    #[test]
    fn through_both_laws_it_is_the_same_signal() {
        let sent = speech_like(24_000, 3);
        for law in [Law::Mu, Law::A] {
            let heard: Vec<i16> = law.decode(&law.encode(&sent)).collect();
            let found = correlate(&sent, &heard);
            assert_eq!(found.lag, 0);
            assert!(found.coefficient > 0.99 && found.matched == 1.0, "{found:?}");
        }
    }

    #[test]
    fn lost_and_inserted_frames_cost_only_their_segments() {
        let sent = speech_like(48_000, 4);
        let mut heard = vec![0; 1000];
        heard.extend_from_slice(&sent);
        heard.drain(9000..9160);
        heard.splice(25_000..25_000, [0; 320]);
        let found = correlate(&sent, &heard);
        assert!(found.matched > 0.85, "{found:?}");
    }

    #[test]
    fn a_recording_without_its_start_has_a_negative_lag() {
        let sent = speech_like(16_000, 5);
        let found = correlate(&sent, &sent[2000..]);
        assert_eq!((found.lag, found.matched), (-2000, 1.0));
    }

    #[test]
    fn silence_noise_and_nothing_do_not_match() {
        let sent = speech_like(16_000, 6);
        assert_eq!(correlate(&sent, &[]).matched, 0.0);
        assert_eq!(correlate(&sent, &[0; 16_000]), Correlation::default());
        let mut state = 1u32;
        let noise: Vec<i16> = (0..16_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 18) as i16 - 8192
            })
            .collect();
        assert!(correlate(&sent, &noise).matched < 0.1);
    }
}
