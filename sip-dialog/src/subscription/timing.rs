//! When what is due, and how long durations are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::SubscriptionKey;
use crate::publication::PublicationKey;

/// What is due for a subscription or a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// Timer N: no NOTIFY came in 64·T1 (RFC 6665 §4.1.2.4).
    NotifyWait(SubscriptionKey),
    /// A subscription of ours is to be refreshed.
    Refresh(SubscriptionKey),
    /// A subscription of ours ends.
    Expiry(SubscriptionKey),
    /// A subscription that ended is to be made anew.
    Subscribe(SubscriptionKey),
    /// The application has not decided about a SUBSCRIBE or a REFER.
    Undecided(SubscriptionKey),
    /// A subscription with us ends (RFC 6665 §4.2.1.4).
    Granted(SubscriptionKey),
    /// What waits may be notified now.
    MayNotify(SubscriptionKey),
    /// Something must be notified, changed or not (RFC 6446 §6.2).
    MustNotify(SubscriptionKey),
    /// The application was asked for the state and gave none.
    Unrenewed(SubscriptionKey),
    /// Nobody may ask any more how a request goes that a REFER asked for (RFC 7614 §4.7).
    ForgetRefer(SubscriptionKey),
    /// A publication is to be refreshed, or tried again.
    Publish(PublicationKey),
    /// A publication ends.
    Published(PublicationKey),
}

impl Alarm {
    const OF_SUBSCRIPTION: [fn(SubscriptionKey) -> Self; 9] = [
        Self::NotifyWait,
        Self::Refresh,
        Self::Expiry,
        Self::Subscribe,
        Self::Undecided,
        Self::Granted,
        Self::MayNotify,
        Self::MustNotify,
        Self::Unrenewed,
    ];
}

/// Alarms by time, at most one of a kind for each key.
#[derive(Debug, Default)]
pub(crate) struct Timetable {
    by_time: BTreeSet<(Instant, Alarm)>,
    by_alarm: BTreeMap<Alarm, Instant>,
}

impl Timetable {
    pub(crate) fn arm(&mut self, at: Instant, alarm: Alarm) {
        self.cancel(alarm);
        self.by_time.insert((at, alarm));
        self.by_alarm.insert(alarm, at);
    }

    pub(crate) fn cancel(&mut self, alarm: Alarm) {
        if let Some(at) = self.by_alarm.remove(&alarm) {
            self.by_time.remove(&(at, alarm));
        }
    }

    pub(crate) fn cancel_all(&mut self, key: SubscriptionKey) {
        for alarm in Alarm::OF_SUBSCRIPTION {
            self.cancel(alarm(key));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Alarm> {
        let (at, alarm) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(alarm);
        Some(alarm)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }
}

/// However short the time that is granted, no more than a refresh a second: what is granted for no time at all would keep
/// two machines busy.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// When to refresh what lasts `left`: early enough for a transaction (64·T1) to end before it is over, and at a moment of
/// its own, so that thousands that began together do not come again together.
pub(crate) fn refresh_after(left: Duration, patience: Duration, chance: u64) -> Duration {
    let margin = (left / 4).min(patience);
    let milliseconds = u64::try_from(margin.as_millis()).unwrap_or(u64::MAX).max(1);
    let jitter = Duration::from_millis(chance.checked_rem(milliseconds).unwrap_or(0));
    left.saturating_sub(margin).saturating_sub(jitter).max(LEAST_REFRESH)
}

/// How long to wait before subscribing anew when the last subscriptions were short: at once the first time, then longer and
/// longer. A notifier that ends each subscription with `deactivated` must not keep two machines busy.
pub(crate) fn backoff(short_lives: u32) -> Duration {
    const MOST: Duration = Duration::from_secs(300);
    match short_lives.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(10)).min(MOST),
    }
}

/// A point in time that far away, or as far as the clock goes.
pub(crate) fn later(now: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(u32::MAX as u64);
    now.checked_add(time.min(FAR)).unwrap_or(now)
}

/// Whole seconds for a field: what is left of a second counts as none, since nobody may be told more than there is.
pub(crate) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_leaves_time_for_its_transaction() {
        let (hour, patience) = (Duration::from_secs(3600), Duration::from_secs(32));
        for chance in [0, 1, 31_999, 32_000, u64::MAX] {
            let at = refresh_after(hour, patience, chance);
            assert!(hour - at >= patience && hour - at <= 2 * patience, "{at:?}");
            let at = refresh_after(Duration::from_secs(8), patience, chance);
            assert!((4..=6).contains(&at.as_secs()), "{at:?}");
            assert_eq!(refresh_after(Duration::ZERO, patience, chance), LEAST_REFRESH);
        }
    }

    #[test]
    fn short_lives_make_longer_and_longer_pauses() {
        let pauses: Vec<u64> = (0..12).map(|lives| backoff(lives).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }
}
