//! From one sample rate to another, as the samples come.

/// Converts a stream: averages where samples become fewer, so that what the lower rate cannot hold is damped, and draws straight
/// lines where they become more. Enough for speech of 4 kHz.
#[derive(Debug)]
pub(crate) struct RateConverter {
    from: u32,
    to: u32,
    /// How far the output is behind the input, in units of 1 / (from · to) seconds.
    lag: u64,
    last: f32,
    sum: f32,
    count: f32,
}

impl RateConverter {
    /// `None` if a rate is 0.
    pub(crate) fn new(from: u32, to: u32) -> Option<Self> {
        (from > 0 && to > 0).then_some(Self { from, to, lag: 0, last: 0.0, sum: 0.0, count: 0.0 })
    }

    /// Takes the next sample and gives those that are due.
    pub(crate) fn push(&mut self, sample: f32, mut out: impl FnMut(f32)) {
        let (step, wanted) = (u64::from(self.to), u64::from(self.from));
        self.lag = self.lag.saturating_add(step);
        if self.from > self.to {
            self.sum += sample;
            self.count += 1.0;
            if self.lag >= wanted {
                self.lag = self.lag.saturating_sub(wanted);
                out(self.sum / self.count);
                (self.sum, self.count) = (0.0, 0.0);
            }
            return;
        }
        while self.lag >= wanted {
            self.lag = self.lag.saturating_sub(wanted);
            // What is left is how far before this sample the output lies.
            let back = self.lag as f32 / step as f32;
            out(sample + (self.last - sample) * back);
        }
        self.last = sample;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(from: u32, to: u32, samples: impl Iterator<Item = f32>) -> Vec<f32> {
        let mut converter = RateConverter::new(from, to).unwrap();
        let mut out = Vec::new();
        samples.for_each(|sample| converter.push(sample, |sample| out.push(sample)));
        out
    }

    fn tone(rate: u32, hertz: f32, seconds: u32) -> impl Iterator<Item = f32> {
        (0..rate * seconds).map(move |n| (n as f32 / rate as f32 * hertz * std::f32::consts::TAU).sin())
    }

    fn strength(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    /// As many samples come out as the time has, and a tone keeps its pitch and most of its strength.
    #[test]
    fn a_tone_keeps_its_pitch_at_every_rate() {
        for (from, to) in [(48_000, 8_000), (44_100, 8_000), (8_000, 48_000), (8_000, 44_100), (8_000, 8_000)]
        {
            let out = convert(from, to, tone(from, 400.0, 2));
            assert!(out.len().abs_diff(2 * to as usize) <= 1, "{} of {from} to {to}", out.len());
            let crossings = out.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            assert!(crossings.abs_diff(800) <= 2, "{crossings} of {from} to {to}");
            assert!((strength(&out) - 0.707).abs() < 0.05, "{} of {from} to {to}", strength(&out));
        }
        assert!(RateConverter::new(0, 8_000).is_none() && RateConverter::new(8_000, 0).is_none());
    }

    /// What 8 kHz cannot hold does not come out as a tone of its own at full strength.
    #[test]
    fn what_the_lower_rate_cannot_hold_is_damped() {
        let out = convert(48_000, 8_000, tone(48_000, 7_000.0, 1));
        assert!(strength(&out) < 0.2, "{}", strength(&out));
    }
}
