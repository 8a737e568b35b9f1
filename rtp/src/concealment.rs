//! Concealment of lost audio: the last pitch period repeated and faded, in the manner of G.711 appendix I.

/// Samples of 8 kHz that the lengths below are counted in; other rates have more in the same time.
const BASE_RATE: u32 = 8000;
/// Samples remembered: two of the longest pitch periods.
const HISTORY: usize = 320;
/// Pitch periods searched: 66 to 200 Hz.
const PITCH: std::ops::RangeInclusive<usize> = 40..=120;
/// Samples compared for the pitch: 20 ms.
const COMPARED: usize = 160;
/// Full volume for the first 10 ms, then down to nothing at 60 ms.
const FADE_FROM: f64 = 80.0;
const FADE_TO: f64 = 480.0;
/// Samples over which audio that returns is faded in: 4 ms.
const OVERLAP: usize = 32;

/// Fills gaps in a stream of samples.
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
#[derive(Clone, Debug)]
pub struct Concealer {
    /// How many times 8 kHz the rate is, at least 1: of a pitch period of 8 kHz one of the same time is made.
    scale: f64,
    /// The end of what was heard.
    history: Vec<i16>,
    /// The period being repeated, while concealing.
    period: Vec<i16>,
    /// Samples concealed since audio was heard.
    concealed: usize,
}

impl Concealer {
    /// Nothing heard yet: conceals with silence. For samples of 8 kHz.
    #[must_use]
    pub fn new() -> Self {
        Self::with_rate(BASE_RATE)
    }

    /// The same for another sample rate, 8 to 48 kHz.
    #[must_use]
    pub fn with_rate(sample_rate: u32) -> Self {
        let scale = f64::from(sample_rate.clamp(BASE_RATE, 48_000)) / f64::from(BASE_RATE);
        Self { scale, history: Vec::new(), period: Vec::new(), concealed: 0 }
    }

    /// A number of samples of 8 kHz, in samples of this rate.
    fn scaled(&self, samples: usize) -> usize {
        (samples as f64 * self.scale).round() as usize
    }

    /// Passes received audio, whose start is blended with the concealment before it.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.concealed > 0 {
            let blend = self.conceal(self.scaled(OVERLAP).min(samples.len()));
            let length = blend.len() as f64;
            for (index, (sample, old)) in samples.iter_mut().zip(blend).enumerate() {
                let share = (index as f64 + 0.5) / length;
                *sample = (f64::from(*sample) * share + f64::from(old) * (1.0 - share)) as i16;
            }
            self.concealed = 0;
        }
        let kept = self.scaled(HISTORY);
        let samples = samples.get(samples.len().saturating_sub(kept)..).unwrap_or_default();
        let excess = (self.history.len() + samples.len()).saturating_sub(kept);
        self.history.drain(..excess);
        self.history.extend_from_slice(samples);
    }

    /// Makes up `count` samples.
    pub fn conceal(&mut self, count: usize) -> Vec<i16> {
        let mut samples = Vec::with_capacity(count);
        self.conceal_into(count, &mut samples);
        samples
    }

    /// Makes up `count` samples behind what `samples` holds.
    pub fn conceal_into(&mut self, count: usize, samples: &mut Vec<i16>) {
        if self.concealed == 0 {
            let period = self.pitch();
            let from = self.history.len().saturating_sub(period);
            self.period.clear();
            self.period.extend_from_slice(self.history.get(from..).unwrap_or_default());
        }
        let (start, end) = (self.concealed, samples.len() + count);
        self.concealed = start.saturating_add(count);
        let (from, length) = (FADE_FROM * self.scale, (FADE_TO - FADE_FROM) * self.scale);
        let repeated = self.period.iter().cycle().skip(start % self.period.len().max(1));
        let faded = repeated.take(count).enumerate().map(|(index, sample)| {
            let gain = 1.0 - ((start + index) as f64 - from) / length;
            (f64::from(*sample) * gain.clamp(0.0, 1.0)) as i16
        });
        samples.extend(faded);
        samples.resize(end, 0);
    }

    /// The lag at which the end of the history resembles itself most: coarsely at first, a sample of 8 kHz at a time, then
    /// around the best.
    fn pitch(&self) -> usize {
        let step = self.scaled(1).max(1);
        let (shortest, longest) = (self.scaled(*PITCH.start()), self.scaled(*PITCH.end()));
        let best = |lags: &mut dyn Iterator<Item = usize>| {
            let likeness =
                lags.filter_map(|lag| Some((lag, likeness(&self.history, self.scaled(COMPARED), lag)?)));
            likeness.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(lag, _)| lag)
        };
        let Some(coarse) = best(&mut (shortest..=longest).step_by(step)) else { return longest };
        let near = coarse.saturating_sub(step - 1).max(shortest)..=(coarse + step - 1).min(longest);
        best(&mut near.into_iter()).unwrap_or(coarse)
    }
}

impl Default for Concealer {
    fn default() -> Self {
        Self::new()
    }
}

/// How much the last `compared` samples are like those `lag` before them, at any volume. `None` if there are not as many.
pub(crate) fn likeness(samples: &[i16], compared: usize, lag: usize) -> Option<f64> {
    let recent = samples.get(samples.len().checked_sub(compared)?..)?;
    let from = samples.len().checked_sub(compared + lag)?;
    let earlier = samples.get(from..from + compared)?;
    let (mut product, mut energy) = (0i64, 1i64);
    for (one, other) in recent.iter().zip(earlier) {
        let (one, other) = (i64::from(*one), i64::from(*other));
        product = product.wrapping_add(one.wrapping_mul(other));
        energy = energy.wrapping_add(other.wrapping_mul(other));
    }
    Some(product as f64 / (energy as f64).sqrt())
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
