//! The words of a subscription: where it stands, why it ends, and what follows from that.

use std::time::Duration;

use sip_message::headers::{self, SubscriptionState};
use sip_message::{Request, Response, StatusCode};
use sip_transaction::Failure;

use super::SubscriptionKey;

/// What tells subscriptions of a dialog apart: the package and the `id` of Event, compared byte by byte; other parameters do
/// not count (RFC 6665 §8.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) package: String,
    pub(crate) id: Option<String>,
}

impl EventId {
    pub(crate) fn of(event: &headers::Event) -> Self {
        Self { package: event.token.clone(), id: event.params.value("id").map(String::from) }
    }

    pub(crate) fn refer(id: Option<u32>) -> Self {
        Self { package: "refer".into(), id: id.map(|id| id.to_string()) }
    }

    pub(crate) fn field(&self) -> headers::Event {
        let event = headers::Event::new(&self.package);
        match &self.id {
            Some(id) => event.with_param("id", Some(id)),
            None => event,
        }
    }
}

/// Where a subscription of ours stands (RFC 6665 §4.1.2, the figure).
///
/// ```text
///   subscribe --> NotifyWait --NOTIFY active--> Active ---\
///                   |    \---NOTIFY pending--> Pending ----+--terminated, Timer N, 481, expiry--> (ended)
///                   | Timer N, failure, terminated             |                  ^
///                   v                                          v                  |
///                (ended)                                  Between --time--> NotifyWait (with a new dialog)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionStage {
    /// Our SUBSCRIBE or REFER is out; no NOTIFY has come.
    NotifyWait,
    /// The notifier has not decided yet.
    Pending,
    /// The notifier tells us what changes.
    Active,
    /// It has ended and will be made anew in a while.
    Between,
}

/// Why a notifier ends a subscription (RFC 6665 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TerminationReason {
    /// To be made anew at once, mostly with another notifier (§4.4.2).
    Deactivated,
    /// To be made anew later.
    Probation,
    /// Not allowed any more.
    Rejected,
    /// It was not refreshed, or it was a fetch.
    Timeout,
    /// Nobody decided in time whether it is allowed.
    GiveUp,
    /// What it was about is no more.
    NoResource,
    /// What it was about will not change.
    Invariant,
    /// A reason of another specification.
    Other(String),
}

impl TerminationReason {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Deactivated => "deactivated",
            Self::Probation => "probation",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::GiveUp => "giveup",
            Self::NoResource => "noresource",
            Self::Invariant => "invariant",
            Self::Other(reason) => reason,
        }
    }

    pub(crate) fn of(state: &SubscriptionState) -> Option<Self> {
        let reason = state.reason()?;
        let known = [
            Self::Deactivated,
            Self::Probation,
            Self::Rejected,
            Self::Timeout,
            Self::GiveUp,
            Self::NoResource,
            Self::Invariant,
        ];
        let found = known.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(reason));
        Some(found.unwrap_or_else(|| Self::Other(reason.into())))
    }

    /// Whether a reason means what `retry-after` says about it.
    fn heeds_retry_after(&self) -> bool {
        matches!(self, Self::Probation | Self::GiveUp | Self::Other(_))
    }
}

/// How long to wait before probation is over if the notifier does not say: §4.1.3 has "at some later time".
const PROBATION: Duration = Duration::from_secs(60);

/// When to subscribe anew after a NOTIFY that ended a subscription (§4.1.3): `None` for never.
pub(crate) fn again_after(
    reason: Option<&TerminationReason>,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    use TerminationReason as R;
    let wait = reason.is_none_or(R::heeds_retry_after).then_some(retry_after).flatten();
    match reason {
        Some(R::Rejected | R::NoResource | R::Invariant) => None,
        Some(R::Deactivated | R::Timeout) => Some(Duration::ZERO),
        Some(R::Probation) => Some(wait.unwrap_or(PROBATION)),
        Some(R::GiveUp | R::Other(_)) | None => Some(wait.unwrap_or(Duration::ZERO)),
    }
}

/// A response that ends a subscription whose request it answers (RFC 6665 §4.1.2.2, §4.2.2).
pub fn ends_subscription(status: StatusCode) -> bool {
    matches!(status.code(), 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

/// Why a subscription of ours has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriptionEnd {
    /// The notifier said so.
    ByNotifier {
        /// Why.
        reason: Option<TerminationReason>,
        /// After how long it may be tried again.
        retry_after: Option<Duration>,
    },
    /// We ended it.
    ByUs,
    /// Our SUBSCRIBE or REFER was refused with this response.
    Refused(Box<Response>),
    /// Our SUBSCRIBE or REFER had no answer, or could not be sent.
    Failed(Failure),
    /// Timer N: no NOTIFY came in time (RFC 6665 §4.1.2.4).
    NoNotify,
    /// Its time was over, and nobody said a word.
    Expired,
    /// The REFER was accepted and makes no subscription (RFC 4488).
    NotMade,
}

/// What is new about a subscription of ours.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // moved once, from the core to its owner
pub enum SubscriptionChange {
    /// The notifier has accepted it.
    Active {
        /// How long it lasts without a refresh, if the notifier said so.
        expires: Option<Duration>,
    },
    /// The notifier has it, and has not decided yet.
    Pending {
        /// How long it lasts without a refresh, if the notifier said so.
        expires: Option<Duration>,
    },
    /// A NOTIFY, the last one too. It has been answered.
    Notified {
        /// The NOTIFY with its body.
        request: Request,
    },
    /// How the request that we asked for with a REFER goes (RFC 3515 §2.4.5).
    Progress {
        /// The status of the referred request.
        status: StatusCode,
    },
    /// The REFER is accepted and makes no subscription by itself: how it goes is told at this address to whoever subscribes there
    /// with the package `refer`, for some minutes (RFC 7614 §4.4). This one ends.
    EventsAt {
        /// Where.
        uri: sip_message::Uri,
    },
    /// This is a further subscription: our SUBSCRIBE reached several notifiers (RFC 6665 §4.1.4). It goes on by itself;
    /// `unsubscribe` ends it.
    Forked {
        /// The subscription that we asked for.
        of: SubscriptionKey,
    },
    /// A refresh was refused; the subscription lives on until its time is over (§4.1.2.2).
    RefreshFailed {
        /// With this status.
        status: StatusCode,
    },
    /// It has ended.
    Terminated {
        /// Why.
        end: SubscriptionEnd,
        /// After how long it is made anew by itself, under the same key; `None`: the key is no longer valid.
        again: Option<Duration>,
    },
}

/// What is new about a subscription that somebody has with us.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriberChange {
    /// The subscriber refreshed it. The state is notified again.
    Refreshed {
        /// How long it lasts now.
        expires: Duration,
    },
    /// The state has to be notified anew: `notify` with the full state, at once. Without it the last one goes again.
    StateWanted,
    /// It has ended; the key is no longer valid.
    Ended(SubscriberEnd),
}

/// Why a subscription with us has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SubscriberEnd {
    /// The subscriber ended it, or wanted the state once.
    Unsubscribed,
    /// It was not refreshed.
    Expired,
    /// We ended it, or reported the end of what a REFER asked for.
    ByUs,
    /// We refused it, or did not decide in time.
    Refused(StatusCode),
    /// Who sent the REFER does not want to hear how it goes (RFC 4488).
    NotWanted,
    /// The subscriber does not take our NOTIFY (RFC 6665 §4.2.2).
    NotifyRefused(StatusCode),
    /// The subscriber does not answer, or cannot be reached (§4.2.2).
    NotifyFailed(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Header;

    /// RFC 6665 §4.1.3, reason by reason.
    #[test]
    fn what_each_reason_asks_for() {
        let after = |text: &str| {
            let state = SubscriptionState::parse(text).unwrap();
            let retry = state.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
            again_after(TerminationReason::of(&state).as_ref(), retry).map(|wait| wait.as_secs())
        };
        assert_eq!(after("terminated;reason=deactivated;retry-after=60"), Some(0));
        assert_eq!(after("terminated;reason=probation;retry-after=17"), Some(17));
        assert_eq!(after("terminated;reason=probation"), Some(60));
        assert_eq!(after("terminated;reason=giveup;retry-after=17"), Some(17));
        assert_eq!(after("terminated;reason=giveup"), Some(0));
        assert_eq!(after("terminated;reason=timeout;retry-after=60"), Some(0));
        for never in ["rejected", "noresource", "invariant", "Rejected"] {
            assert_eq!(after(&format!("terminated;reason={never};retry-after=1")), None, "{never}");
        }
        assert_eq!(after("terminated;retry-after=5"), Some(5));
        assert_eq!(after("terminated;reason=moonphase;retry-after=5"), Some(5));
        assert_eq!(after("terminated"), Some(0));
    }

    /// RFC 6665 §8.2.1, its examples.
    #[test]
    fn events_match_by_package_and_id() {
        let id = |text: &str| EventId::of(&headers::Event::parse(text).unwrap());
        assert_eq!(id("foo; id=1234"), id("foo; param=abcd; id=1234"));
        assert_ne!(id("foo; id=1234"), id("foo"));
        assert_ne!(id("foo; id=1234"), id("Foo; id=1234"));
    }

    #[test]
    fn statuses_that_end_a_subscription() {
        let ends: Vec<u16> =
            (300..700).filter(|&code| ends_subscription(StatusCode::new(code).unwrap())).collect();
        assert_eq!(ends, [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604]);
    }
}
