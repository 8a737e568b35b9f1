//! Notifications as many as a subscriber wants on the average, whatever changes in between (RFC 6446 §7).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The period of the average, in times between two notifications at the agreed rate: several of them, as §7.4 recommends.
const PERIOD: f64 = 10.0;
/// Notifications that are counted at most: so many in a period make the next repetition wait ten times as long already, and what is
/// remembered of them must not grow with what changes.
const MOST: usize = 100;

/// The record of what was sent in the last period.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adaptive {
    /// Notifications for each second.
    rate: f64,
    sent: VecDeque<Instant>,
}

impl Adaptive {
    /// So much time between two notifications on the average.
    pub(super) fn new(interval: Duration) -> Self {
        Self { rate: 1.0 / interval.as_secs_f64().max(f64::MIN_POSITIVE), sent: VecDeque::new() }
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate).unwrap_or(Duration::MAX)
    }

    /// A notification goes out. Before the first one there were as many as there should be (§7.2, step 1).
    pub(super) fn note(&mut self, now: Instant) {
        if self.sent.is_empty() {
            let before = |number: u32| now.checked_sub(self.interval().checked_mul(number)?);
            self.sent = (1..PERIOD as u32).rev().filter_map(before).collect();
        }
        self.sent.push_back(now);
        let since = Duration::try_from_secs_f64(PERIOD / self.rate).ok().and_then(|all| now.checked_sub(all));
        while self.sent.len() > MOST
            || self.sent.front().is_some_and(|at| since.is_some_and(|since| *at <= since))
        {
            self.sent.pop_front();
        }
    }

    /// How long from the last notification to the next, if nothing changes: `count / (rate² · period)` (§7.4).
    pub(super) fn timeout(&self) -> Duration {
        let count = self.sent.len().max(1) as f64;
        Duration::try_from_secs_f64(count / (self.rate * PERIOD)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// Nothing changes: one after each interval. Much changes: then nothing for a while, and again as before.
    #[test]
    fn the_average_is_kept() {
        let mut now = Instant::now() + seconds(100_000);
        let mut adaptive = Adaptive::new(seconds(20));
        adaptive.note(now);
        for _ in 0..20 {
            let wait = adaptive.timeout();
            assert!(wait.abs_diff(seconds(20)) <= seconds(2), "{wait:?}");
            now += wait;
            adaptive.note(now);
        }
        for _ in 0..20 {
            now += seconds(1);
            adaptive.note(now);
        }
        assert!(adaptive.timeout() >= seconds(50), "{:?}", adaptive.timeout());
        let began = now;
        let mut sent = 0;
        while now - began < seconds(20_000) {
            now += adaptive.timeout();
            adaptive.note(now);
            sent += 1;
        }
        assert!((900..=1100).contains(&sent), "{sent} in a thousand intervals");
        assert!(adaptive.timeout().abs_diff(seconds(20)) <= seconds(3), "{:?}", adaptive.timeout());
    }

    /// Whatever changes, little is remembered.
    #[test]
    fn a_flood_of_changes_is_not_remembered() {
        let now = Instant::now() + seconds(100_000);
        let mut adaptive = Adaptive::new(seconds(1000));
        for number in 0..10_000 {
            adaptive.note(now + Duration::from_millis(number));
        }
        assert_eq!((adaptive.sent.len(), adaptive.timeout()), (MOST, seconds(10_000)));
    }
}
