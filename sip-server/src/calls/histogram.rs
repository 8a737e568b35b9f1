//! How often something took how long.

use std::time::Duration;

/// The upper bounds of the buckets: what a caller notices, doubled until nobody waits any more.
pub const WAITING_TIMES: [Duration; 12] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
    Duration::from_secs(64),
    Duration::from_secs(180),
];

/// Counts of durations by [`WAITING_TIMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; WAITING_TIMES.len()],
    longer: u64,
    sum: Duration,
}

impl Histogram {
    /// One more took so long.
    pub fn add(&mut self, took: Duration) {
        let bucket = WAITING_TIMES.iter().position(|bound| took <= *bound);
        let count = bucket.and_then(|index| self.buckets.get_mut(index)).unwrap_or(&mut self.longer);
        *count = count.saturating_add(1);
        self.sum = self.sum.saturating_add(took);
    }

    /// Each bound with how many took no longer than it, but longer than the bound before; those above all bounds last, without one.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounded = WAITING_TIMES.iter().map(|bound| Some(*bound)).zip(self.buckets);
        bounded.chain([(None, self.longer)])
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// How long all took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

impl std::ops::AddAssign for Histogram {
    fn add_assign(&mut self, other: Self) {
        let both = self.buckets.iter_mut().zip(other.buckets);
        both.for_each(|(own, more)| *own = own.saturating_add(more));
        self.longer = self.longer.saturating_add(other.longer);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [0, 50, 51, 180_000, 180_001] {
            histogram.add(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum()), (5, Duration::from_millis(360_102)));
    }
}
