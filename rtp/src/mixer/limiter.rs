//! Sums brought back into sixteen bits: turned down at once, up again slowly.

/// What the loudest sample of a frame may reach, a little below full scale.
const CEILING: f32 = 32_000.0;
/// Seconds in which a gain that was turned down comes back to one.
const RECOVERY: f32 = 0.5;
/// Samples over which a lower gain sets in.
const ATTACK: usize = 32;
/// Numbers that are worked on at once, so that the compiler takes vectors for them.
pub(super) const LANES: usize = 8;

/// The gain of what one party hears.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiter {
    gain: f32,
    /// What the gain may grow by with each sample.
    growth: f32,
}

impl Limiter {
    pub(super) fn new(sample_rate: u32) -> Self {
        Self { gain: 1.0, growth: 1.0 / (RECOVERY * sample_rate.max(1) as f32) }
    }

    /// Writes `sum` without `own`.
    pub(super) fn write(&mut self, sum: &[f32], own: &[f32], into: &mut [i16]) {
        let count = sum.len().min(own.len()).min(into.len());
        let (Some(sum), Some(own), Some(into)) = (sum.get(..count), own.get(..count), into.get_mut(..count))
        else {
            return;
        };
        let wanted = (CEILING / peak(sum, own).max(1.0)).min(1.0);
        if self.gain >= 1.0 && wanted >= 1.0 {
            for ((to, sum), own) in into.iter_mut().zip(sum).zip(own) {
                *to = rounded(sum - own);
            }
            return;
        }
        let (step, target) = if wanted < self.gain {
            ((wanted - self.gain) / ATTACK as f32, wanted)
        } else {
            (self.growth, wanted.min(self.gain + self.growth * count as f32))
        };
        let (before, falls) = (self.gain, step < 0.0);
        for (at, ((to, sum), own)) in into.iter_mut().zip(sum).zip(own).enumerate() {
            let moved = before + step * (at as u32 as f32 + 1.0);
            let gain = if falls == (moved < target) { target } else { moved };
            let value = (sum - own) * gain;
            // Only the first samples can be too loud, while the gain is still on its way.
            let above = if value < 32_767.0 { value } else { 32_767.0 };
            *to = rounded(if above > -32_768.0 { above } else { -32_768.0 });
        }
        self.gain = target;
    }
}

/// The largest distance from silence.
fn peak(sum: &[f32], own: &[f32]) -> f32 {
    let larger = |one: f32, other: f32| if one > other { one } else { other };
    let (sums, rest) = sum.as_chunks::<LANES>();
    let (owns, own_rest) = own.as_chunks::<LANES>();
    let mut peaks = [0.0f32; LANES];
    for (sums, owns) in sums.iter().zip(owns) {
        for ((peak, sum), own) in peaks.iter_mut().zip(sums).zip(owns) {
            *peak = larger((sum - own).abs(), *peak);
        }
    }
    let last = rest.iter().zip(own_rest).map(|(sum, own)| (sum - own).abs());
    peaks.into_iter().chain(last).fold(0.0, larger)
}

/// The nearest whole number of a value inside sixteen bits. Added to 1.5 * 2^23 a float keeps it in its lowest bits, which
/// vectors do four at a time; the conversion by `as` has to look for what does not fit.
fn rounded(value: f32) -> i16 {
    (value + 12_582_912.0).to_bits() as i16
}
