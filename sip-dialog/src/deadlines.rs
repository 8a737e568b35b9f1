//! The few timers of a dialog layer, in order of time.

use std::collections::BTreeMap;
use std::time::Instant;

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

/// Deadlines by time; at most one of a kind for a call.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    by_time: BTreeMap<(Instant, CallKey, Due), ()>,
    by_call: BTreeMap<(CallKey, Due), Instant>,
}

impl Deadlines {
    pub(crate) fn arm(&mut self, at: Instant, call: CallKey, due: Due) {
        self.cancel(call, due);
        self.by_time.insert((at, call, due), ());
        self.by_call.insert((call, due), at);
    }

    pub(crate) fn cancel(&mut self, call: CallKey, due: Due) {
        if let Some(at) = self.by_call.remove(&(call, due)) {
            self.by_time.remove(&(at, call, due));
        }
    }

    pub(crate) fn cancel_all(&mut self, call: CallKey) {
        for due in Due::ALL {
            self.cancel(call, due);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(at, ..)| *at)
    }

    /// Takes out one that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(CallKey, Due)> {
        let (at, call, due) = *self.by_time.keys().next()?;
        if at > now {
            return None;
        }
        self.cancel(call, due);
        Some((call, due))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}
