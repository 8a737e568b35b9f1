//! Audio played a little longer or shorter without a change of pitch: whole periods of it are repeated or left out.

use crate::concealment::likeness;

/// Shortest and longest period that is left out or repeated, in parts of a second: 2.5 and 10 ms.
const SHORTEST_PER_SECOND: u32 = 400;
const LONGEST_PER_SECOND: u32 = 100;
/// Below this power nobody hears what happens: any length will do.
const QUIET: f64 = 100.0 * 100.0;
/// How much two periods must be alike for one of them to be missed by nobody.
const ALIKE: f64 = 0.6;

/// Audio that is heard becomes shorter only if there is more than this to be saved, in parts of a second: 60 ms. Less can wait
/// for a pause.
const WORTH_HEARING_PER_SECOND: u32 = 17;

/// Makes the samples longer (positive) or shorter by at most `wanted`, if that goes unheard. Gives the change.
pub(super) fn stretch(samples: &mut Vec<i16>, sample_rate: u32, wanted: i32) -> i32 {
    let least = (sample_rate / SHORTEST_PER_SECOND).max(1) as usize;
    let most = (wanted.unsigned_abs() as usize)
        .min((sample_rate / LONGEST_PER_SECOND) as usize)
        .min(samples.len() / 2);
    if most < least {
        return 0;
    }
    let power = crate::audio::tone::power(samples);
    if wanted < 0 && power >= QUIET && wanted.unsigned_abs() < sample_rate / WORTH_HEARING_PER_SECOND {
        return 0;
    }
    let period = if power < QUIET {
        Some(most)
    } else {
        // Coarse steps of an eighth of a millisecond are enough for what is cross-faded anyway.
        let step = (sample_rate / 8000).max(1) as usize;
        let energy = power * least as f64;
        let alike = (least..=most)
            .step_by(step)
            .filter_map(|lag| Some((lag, likeness(samples, least.max(lag), lag)?)));
        let best = alike.map(|(lag, like)| (lag, like / (energy * lag as f64 / least as f64).sqrt()));
        best.filter(|(_, like)| *like > ALIKE)
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(lag, _)| lag)
    };
    let Some(period) = period else { return 0 };
    let end = samples.len();
    let Some(from) = end.checked_sub(2 * period) else { return 0 };
    // The last two periods become one, faded from the first into the second; or three, with that one between.
    let (earlier, later) = samples.get(from..).unwrap_or_default().split_at(period);
    let fade = |from: &[i16], to: &[i16]| -> Vec<i16> {
        let mix = |(index, (one, other)): (usize, (&i16, &i16))| {
            let share = (index as f64 + 0.5) / period as f64;
            (f64::from(*one) * (1.0 - share) + f64::from(*other) * share) as i16
        };
        from.iter().zip(to).enumerate().map(mix).collect()
    };
    if wanted < 0 {
        let mixed = fade(earlier, later);
        samples.truncate(from);
        samples.extend(mixed);
        -(period as i32)
    } else {
        let mixed = fade(later, earlier);
        samples.splice(from + period..from + period, mixed);
        period as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::speech::speech_like;
    use crate::audio::tone::{Tone, dominant_frequency};

    #[test]
    fn a_tone_stretched_and_squeezed_keeps_its_pitch_and_has_no_step() {
        for wanted in [-600, 60] {
            let tone: Vec<i16> = Tone::sine(250.0).samples().take(16_000).collect();
            let mut out = Vec::new();
            for frame in tone.chunks(160) {
                let mut frame = frame.to_vec();
                stretch(&mut frame, 8000, wanted);
                out.extend(frame);
            }
            let changed = out.len() as f64 / tone.len() as f64 - 1.0;
            assert!(changed * f64::from(wanted.signum()) > 0.15, "{changed}");
            let steepest = out.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
            // A sine of 250 Hz moves by 1571 in a sample at most.
            assert!(steepest < 2400, "{steepest}");
            assert!((dominant_frequency(&out).unwrap().hertz - 250.0).abs() < 12.0);
        }
    }

    #[test]
    fn silence_gives_all_that_is_wanted_and_noise_nothing() {
        assert_eq!(stretch(&mut vec![3; 160], 8000, -70), -70);
        assert_eq!(stretch(&mut vec![3; 320], 16_000, 90), 90);
        assert_eq!(stretch(&mut vec![3; 160], 8000, 10), 0);
        let mut state = 1u32;
        let noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 18) as i16 - 8192
        };
        let mut noise: Vec<i16> = std::iter::repeat_with(noise).take(160).collect();
        assert_eq!((stretch(&mut noise, 8000, -600), noise.len()), (0, 160));
    }

    #[test]
    fn speech_becomes_shorter_without_clicks() {
        let speech = speech_like(16_000, 2);
        let steepest =
            |samples: &[i16]| samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
        let mut out = Vec::new();
        for frame in speech.chunks(160) {
            let mut frame = frame.to_vec();
            stretch(&mut frame, 8000, -800);
            out.extend(frame);
        }
        assert!(out.len() < speech.len() * 9 / 10, "{}", out.len());
        assert!(steepest(&out) < steepest(&speech) * 3 / 2, "{} and {}", steepest(&out), steepest(&speech));
    }
}
