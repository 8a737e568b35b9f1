//! Concealment of lost audio: the last pitch period repeated and faded, in the manner of G.711 appendix I.

/// Samples remembered: two of the longest pitch periods.
const HISTORY: usize = 320;
/// Pitch periods searched at 8 kHz: 66 to 200 Hz.
const PITCH: std::ops::RangeInclusive<usize> = 40..=120;
/// Samples compared for the pitch: 20 ms.
const COMPARED: usize = 160;
/// Full volume for the first 10 ms, then down to nothing at 60 ms.
const FADE_FROM: f64 = 80.0;
const FADE_TO: f64 = 480.0;
/// Samples over which audio that returns is faded in: 4 ms.
const OVERLAP: usize = 32;

/// Fills gaps in a stream of 8 kHz samples.
///
/// ```
/// use rtp::concealment::Concealer;
/// let mut concealer = Concealer::new();
/// let mut heard: Vec<i16> = (0..160).map(|i| ((i % 80) * 100) as i16).collect();
/// concealer.heard(&mut heard);
/// assert!(concealer.conceal(160).iter().any(|sample| *sample > 1000));
/// for _ in 0..3 { concealer.conceal(160); }
/// assert_eq!(concealer.conceal(160), vec![0; 160]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Concealer {
    /// The end of what was heard.
    history: Vec<i16>,
    /// The period being repeated, while concealing.
    period: Vec<i16>,
    /// Samples concealed since audio was heard.
    concealed: usize,
}

impl Concealer {
    /// Nothing heard yet: conceals with silence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Passes received audio, whose start is blended with the concealment before it.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.concealed > 0 {
            let blend = self.conceal(OVERLAP.min(samples.len()));
            let length = blend.len() as f64;
            for (index, (sample, old)) in samples.iter_mut().zip(blend).enumerate() {
                let share = (index as f64 + 0.5) / length;
                *sample = (f64::from(*sample) * share + f64::from(old) * (1.0 - share)) as i16;
            }
            self.concealed = 0;
        }
        self.history.extend_from_slice(samples);
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }

    /// Makes up `count` samples.
    pub fn conceal(&mut self, count: usize) -> Vec<i16> {
        if self.concealed == 0 {
            let period = self.pitch();
            let from = self.history.len().saturating_sub(period);
            self.period = self.history.get(from..).unwrap_or_default().to_vec();
        }
        let start = self.concealed;
        self.concealed = start.saturating_add(count);
        let repeated = self.period.iter().cycle().skip(start % self.period.len().max(1));
        let faded = repeated.take(count).enumerate().map(|(index, sample)| {
            let gain = 1.0 - ((start + index) as f64 - FADE_FROM) / (FADE_TO - FADE_FROM);
            (f64::from(*sample) * gain.clamp(0.0, 1.0)) as i16
        });
        let mut out: Vec<i16> = faded.collect();
        out.resize(count, 0);
        out
    }

    /// The lag at which the end of the history resembles itself most.
    fn pitch(&self) -> usize {
        let end = self.history.len();
        let recent = self.history.get(end.saturating_sub(COMPARED)..).unwrap_or_default();
        let likeness = |lag: usize| {
            let from = end.checked_sub(COMPARED + lag)?;
            let earlier = self.history.get(from..from + COMPARED)?;
            let (mut product, mut energy) = (0.0, 1.0);
            for (one, other) in recent.iter().zip(earlier) {
                product += f64::from(*one) * f64::from(*other);
                energy += f64::from(*other) * f64::from(*other);
            }
            Some((lag, product / f64::sqrt(energy)))
        };
        let best = PITCH.filter_map(likeness).max_by(|one, other| one.1.total_cmp(&other.1));
        best.map_or(*PITCH.end(), |(lag, _)| lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(from: usize, count: usize) -> Vec<i16> {
        (from..from + count)
            .map(|i| (f64::sin(i as f64 * std::f64::consts::TAU / 80.0) * 8000.0) as i16)
            .collect()
    }

    #[test]
    fn one_lost_frame_of_a_periodic_signal_continues_it() {
        let mut concealer = Concealer::new();
        concealer.heard(&mut sine(0, 320));
        let guess = concealer.conceal(80);
        let truth = sine(320, 80);
        let error =
            guess.iter().zip(&truth).map(|(a, b)| i32::from(*a).abs_diff(i32::from(*b))).max().unwrap();
        assert!(error < 100, "{error}");
    }

    #[test]
    fn a_long_gap_fades_to_silence_and_audio_returns_without_a_step() {
        let mut concealer = Concealer::new();
        concealer.heard(&mut sine(0, 320));
        let gap = concealer.conceal(800);
        assert!(gap[480..].iter().all(|sample| *sample == 0));
        let mut back = vec![10_000; 160];
        concealer.heard(&mut back);
        assert!(back[0] < 500 && back[159] == 10_000);
    }

    #[test]
    fn nothing_heard_is_silence() {
        assert_eq!(Concealer::new().conceal(5), [0; 5]);
    }
}
