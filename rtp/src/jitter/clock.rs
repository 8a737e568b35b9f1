//! Instants as counts of nanoseconds, and those in timestamp units.

use std::time::{Duration, Instant};

/// Counts from the first instant it is asked about; what was before that is 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock(Option<Running>);

#[derive(Clone, Debug)]
struct Running {
    origin: Instant,
    /// The instant asked about last, and its count: packets and frames of one wake-up share theirs.
    asked: Instant,
    count: u64,
}

impl Clock {
    #[inline(always)]
    pub(super) fn at(&mut self, now: Instant) -> u64 {
        let Some(running) = &mut self.0 else { return self.start(now) };
        if running.asked != now {
            running.asked = now;
            running.count = nanoseconds(running.asked.saturating_duration_since(running.origin));
        }
        running.count
    }

    #[cold]
    fn start(&mut self, now: Instant) -> u64 {
        self.0 = Some(Running { origin: now, asked: now, count: 0 });
        0
    }
}

/// Wraps after five centuries.
#[inline(always)]
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// Timestamp units in a nanosecond, in 2^-64: a multiplication in place of a division for each packet and frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(u64);

impl Rate {
    pub(super) fn new(clock_rate: u32) -> Self {
        let inverse = (u128::from(clock_rate) << 64) / 1_000_000_000 + 1;
        Self(u64::try_from(inverse).unwrap_or(u64::MAX))
    }

    /// So many nanoseconds, rounded down. After half a year the thousandth part of a unit may be missing to a whole one.
    #[inline(always)]
    pub(super) fn units(self, nanoseconds: u64) -> i64 {
        ((u128::from(nanoseconds) * u128::from(self.0)) >> 64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_count_from_the_first_and_never_below_it() {
        let (first, mut clock) = (Instant::now(), Clock::default());
        let later = first + Duration::from_micros(1_234_567);
        assert_eq!(
            [first, later, later, first].map(|now| clock.at(now)),
            [0, 1_234_567_000, 1_234_567_000, 0]
        );
        let mut clock = Clock::default();
        assert_eq!([later, first].map(|now| clock.at(now)), [0, 0]);
    }

    proptest::proptest! {
        #[test]
        fn units_are_those_of_a_division(clock_rate in 0u32..=192_000, microseconds in 0u64..5 * 3_600_000_000) {
            let exact = u128::from(microseconds) * u128::from(clock_rate) / 1_000_000;
            proptest::prop_assert_eq!(Rate::new(clock_rate).units(microseconds * 1000) as u128, exact);
        }

        #[test]
        fn units_of_centuries_are_those_of_a_division_or_one_more(clock_rate in 0u32..=1_000_000_000, nanoseconds: u64) {
            let exact = (u128::from(nanoseconds) * u128::from(clock_rate) / 1_000_000_000) as i64;
            let units = Rate::new(clock_rate).units(nanoseconds);
            proptest::prop_assert!(units == exact || units == exact.wrapping_add(1));
        }
    }
}
