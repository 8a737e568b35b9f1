//! The few timers of a dialog layer, in order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::event::CallKey;

/// What is due for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// Send the 2xx again (RFC 3261 §13.3.1.4).
    RepeatSuccess,
    /// 64·T1 passed without an ACK for our 2xx.
    NoAck,
    /// Send the last 1xx again, so that proxies do not give the INVITE up (§13.3.1.1).
    RepeatProvisional,
    /// Send the reliable 1xx again (RFC 3262 §3).
    RepeatReliable,
    /// 64·T1 passed without a PRACK for our reliable 1xx.
    NoPrack,
    /// The wait after a 491 is over (§14.1).
    RetryReinvite,
    /// The session is to be refreshed by us (RFC 4028 §10).
    Refresh,
    /// Nobody refreshed the session.
    SessionExpired,
    /// It has been ringing for long enough.
    NoAnswer,
}

impl Due {
    const ALL: [Self; 9] = [
        Self::RepeatSuccess,
        Self::NoAck,
        Self::RepeatProvisional,
        Self::RepeatReliable,
        Self::NoPrack,
        Self::RetryReinvite,
        Self::Refresh,
        Self::SessionExpired,
        Self::NoAnswer,
    ];
}

/// Deadlines by time; at most one of a kind for a call. Every call that stands has one, so they are as small as numbers can be.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// What times are counted from: the first that was seen.
    start: Option<Instant>,
    by_time: BTreeSet<(Nanos, Armed)>,
    by_call: BTreeMap<Armed, Nanos>,
}

/// Nanoseconds since the start: enough for five centuries.
type Nanos = u64;

/// A call and what is due for it, in one number: those of a call stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Armed(u64);

impl Armed {
    /// Room for [`Due::ALL`]; a process does not count sixty bits of calls.
    const KINDS: u64 = 16;

    fn new(call: CallKey, due: Due) -> Self {
        Self(call.0.wrapping_mul(Self::KINDS) | due as u64)
    }

    fn parts(self) -> Option<(CallKey, Due)> {
        let kind = usize::try_from(self.0 % Self::KINDS).ok()?;
        Some((CallKey(self.0 / Self::KINDS), *Due::ALL.get(kind)?))
    }
}

impl Deadlines {
    pub(crate) fn arm(&mut self, at: Instant, call: CallKey, due: Due) {
        let start = *self.start.get_or_insert(at);
        if at < start {
            self.start_from(at);
        }
        let armed = Armed::new(call, due);
        let at = self.nanos(at);
        if let Some(before) = self.by_call.insert(armed, at) {
            self.by_time.remove(&(before, armed));
        }
        self.by_time.insert((at, armed));
    }

    /// A deadline before all that were seen: the first of a layer may well be a distant one.
    fn start_from(&mut self, start: Instant) {
        let Some(later) = self.start.replace(start).map(|old| old.saturating_duration_since(start)) else {
            return;
        };
        let later = u64::try_from(later.as_nanos()).unwrap_or(u64::MAX);
        self.by_call.values_mut().for_each(|at| *at = at.saturating_add(later));
        self.by_time = self.by_call.iter().map(|(armed, at)| (*at, *armed)).collect();
    }

    fn nanos(&self, at: Instant) -> Nanos {
        let since = self.start.map_or(Duration::ZERO, |start| at.saturating_duration_since(start));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_armed(&self, call: CallKey, due: Due) -> bool {
        self.by_call.contains_key(&Armed::new(call, due))
    }

    pub(crate) fn cancel(&mut self, call: CallKey, due: Due) {
        let armed = Armed::new(call, due);
        if let Some(at) = self.by_call.remove(&armed) {
            self.by_time.remove(&(at, armed));
        }
    }

    pub(crate) fn cancel_all(&mut self, call: CallKey) {
        for due in Due::ALL {
            self.cancel(call, due);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        let (at, _) = self.by_time.first()?;
        self.start?.checked_add(Duration::from_nanos(*at))
    }

    /// Takes out one that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(CallKey, Due)> {
        if self.next()? > now {
            return None;
        }
        let (_, armed) = self.by_time.pop_first()?;
        self.by_call.remove(&armed);
        armed.parts()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In order of time, whatever came first; what is armed anew counts once, what is cancelled not at all.
    #[test]
    fn what_is_due_comes_in_order() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now() + Duration::from_secs(3600));
        let after = |seconds| now + Duration::from_secs(seconds);
        deadlines.arm(after(1800), CallKey(7), Due::SessionExpired);
        deadlines.arm(after(1), CallKey(u64::MAX / 16), Due::NoAnswer);
        deadlines.arm(after(9), CallKey(8), Due::RepeatSuccess);
        deadlines.arm(after(3), CallKey(8), Due::RepeatSuccess);
        deadlines.arm(after(2), CallKey(8), Due::NoAck);
        deadlines.cancel(CallKey(8), Due::NoAck);
        assert!(
            deadlines.is_armed(CallKey(8), Due::RepeatSuccess) && !deadlines.is_armed(CallKey(8), Due::NoAck)
        );
        assert_eq!((deadlines.next(), deadlines.pop(now)), (Some(after(1)), None));
        let all: Vec<_> = std::iter::from_fn(|| deadlines.pop(after(1800))).collect();
        let expected = [
            (CallKey(u64::MAX / 16), Due::NoAnswer),
            (CallKey(8), Due::RepeatSuccess),
            (CallKey(7), Due::SessionExpired),
        ];
        assert_eq!((all.as_slice(), deadlines.len(), deadlines.next()), (&expected[..], 0, None));
    }

    #[test]
    fn every_kind_has_its_number() {
        for due in Due::ALL {
            assert_eq!(Armed::new(CallKey(5), due).parts(), Some((CallKey(5), due)));
        }
    }
}
