//! How often a subscription may and must be notified (RFC 6446).

use std::time::{Duration, Instant};

use sip_message::headers;
use sip_message::headers::SubscriptionState;

use super::adaptive::Adaptive;

/// The least time between two notifications that only say that nothing has changed: what a subscriber may make us do.
const LEAST_QUIET: Duration = Duration::from_secs(1);

/// The rates of a subscription.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// The least time between two notifications (§5).
    least: Option<Duration>,
    /// The most time between two notifications (§6).
    most: Option<Duration>,
    /// The time between two notifications on the average (§7).
    adaptive: Option<Box<Adaptive>>,
}

/// A positive number of notifications per second with up to two digits before and ten behind the point (§9.2), as the time
/// between two.
fn interval(value: &str) -> Option<Duration> {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit())
    };
    if !digits(whole, 2) || !digits(part, 10) {
        return None;
    }
    let rate: f64 = value.parse().ok()?;
    (rate > 0.0).then(|| Duration::try_from_secs_f64(1.0 / rate).ok()).flatten()
}

fn rate(interval: Duration) -> String {
    let rate = (1.0 / interval.as_secs_f64()).clamp(0.000_000_000_1, 99.0);
    let text = format!("{rate:.10}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

impl Rates {
    /// What a SUBSCRIBE, or the 2xx to a NOTIFY, asks for: within our policy, and with at least one notification before the
    /// subscription ends (§5.3).
    pub fn of(event: &headers::Event, policy: Option<Duration>, lasts: Duration) -> Self {
        let asked = |name| event.params.value(name).and_then(interval);
        let least = asked("max-rate").map(|least| least.min(lasts)).max(policy);
        let within = |asked: Duration| asked.max(LEAST_QUIET).max(least.unwrap_or_default());
        let average = asked("adaptive-min-rate").map(within);
        // §8: a min-rate that is not lower than the average is not considered.
        let most = asked("min-rate").map(within).filter(|most| average.is_none_or(|average| *most > average));
        Self { least, most, adaptive: average.map(|average| Box::new(Adaptive::new(average))) }
    }

    /// §5.2, §6.2: the NOTIFY says what holds.
    pub fn reflect(&self, mut state: SubscriptionState) -> SubscriptionState {
        let average = self.adaptive.as_ref().map(|adaptive| adaptive.interval());
        let rates = [("max-rate", self.least), ("min-rate", self.most), ("adaptive-min-rate", average)];
        for (name, interval) in rates {
            if let Some(interval) = interval.filter(|interval| !interval.is_zero()) {
                state = state.with_param(name, Some(&rate(interval)));
            }
        }
        state
    }

    /// When the next notification may go.
    pub fn may_notify_at(&self, last: Option<Instant>) -> Option<Instant> {
        last?.checked_add(self.least?)
    }

    /// When the next notification must go.
    pub fn must_notify_after(&self) -> Option<Duration> {
        let least = self.least.unwrap_or_default().max(LEAST_QUIET);
        let average = self.adaptive.as_ref().map(|adaptive| adaptive.timeout().max(least));
        [self.most, average].into_iter().flatten().min()
    }

    /// A notification goes out.
    pub fn note(&mut self, now: Instant) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.note(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Header;

    fn rates(event: &str, policy: Option<u64>, lasts: u64) -> String {
        let event = headers::Event::parse(event).unwrap();
        let rates = Rates::of(&event, policy.map(Duration::from_secs), Duration::from_secs(lasts));
        let mut text = String::new();
        rates.reflect(SubscriptionState::new("active")).write(&mut text);
        text
    }

    #[test]
    fn what_is_asked_for_is_reflected() {
        assert_eq!(rates("presence", None, 3600), "active");
        assert_eq!(rates("presence;max-rate=0.05", None, 3600), "active;max-rate=0.05");
        assert_eq!(
            rates("presence;min-rate=0.1;max-rate=0.5", None, 3600),
            "active;max-rate=0.5;min-rate=0.1"
        );
        // Our policy is slower; a rate that leaves none before the end is raised (§5.3); no flood of repetitions.
        assert_eq!(rates("presence;max-rate=5", Some(2), 3600), "active;max-rate=0.5");
        assert_eq!(rates("presence;max-rate=0.0001", None, 100), "active;max-rate=0.01");
        assert_eq!(rates("presence;min-rate=99", None, 3600), "active;min-rate=1");
        // §7.2, §8: the average, no faster than the fastest, and what is not lower than it is not considered.
        assert_eq!(rates("presence;adaptive-min-rate=0.05", None, 3600), "active;adaptive-min-rate=0.05");
        assert_eq!(
            rates("presence;adaptive-min-rate=0.5;max-rate=0.1;min-rate=0.1", None, 3600),
            "active;max-rate=0.1;adaptive-min-rate=0.1"
        );
        assert_eq!(
            rates("presence;adaptive-min-rate=0.1;min-rate=0.01", None, 3600),
            "active;min-rate=0.01;adaptive-min-rate=0.1"
        );
    }

    #[test]
    fn what_is_no_rate_is_not_taken() {
        for bad in ["0", "0.0", "100", "1.", ".5", "1e3", "-1", "nan", "1.00000000001", ""] {
            assert_eq!(interval(bad), None, "{bad}");
        }
        assert_eq!(interval("0.0000000001"), Some(Duration::from_secs(10_000_000_000)));
        assert_eq!(interval("4"), Some(Duration::from_millis(250)));
    }
}
