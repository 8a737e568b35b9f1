//! What a notifier sends: one NOTIFY at a time, later states in place of earlier ones (RFC 6665 §4.2.2).

use std::time::{Duration, Instant};

use sip_message::headers::{self, RetryAfter, SipETag, SubscriptionState};
use sip_message::{Method, Response};
use sip_transaction::Failure;

use super::notifier::left;
use super::rates::Rates;
use super::state::ends_subscription;
use super::{Alarm, EventPurpose, Notifier, Stage, SubscriberEnd, SubscriptionKey, TerminationReason, later};
use crate::event::{Body, Error};
use crate::layer::{Dialogs, Purpose};

/// The state of a resource, to be notified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The full state. It is kept, for the next subscriber's SUBSCRIBE.
    pub full: Body,
    /// What has changed, for packages that have such documents. It is sent in place of the full state, unless an earlier
    /// change could not be sent yet.
    pub changes: Option<Body>,
    /// The entity-tag of the full state (RFC 5839 §6.1): the same for the same state of a resource, whoever subscribes to
    /// it. Without one there are no conditional notifications.
    pub etag: Option<String>,
}

impl Notification {
    /// A full state.
    pub fn full(body: Body) -> Self {
        Self { full: body, changes: None, etag: None }
    }
}

/// What a NOTIFY that is to come brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The state as it is when the NOTIFY goes.
    State,
    /// What changed since the NOTIFY before.
    Changes(Body),
}

impl Notifier {
    /// Takes a state; what the next NOTIFY would bring of it.
    pub(super) fn remember(&mut self, state: Notification) -> Wanted {
        self.state = Some(state.full);
        self.etag = state.etag;
        match state.changes {
            Some(changes) => Wanted::Changes(changes),
            None => Wanted::State,
        }
    }
}

impl Dialogs {
    /// Notifies the subscriber of a new state. It goes at once unless a NOTIFY is under way or the subscriber asked for fewer
    /// (RFC 6446): then the state that is last when it may go. While the subscription is pending it is only kept.
    ///
    /// # Errors
    /// If there is no such subscription any more, or it is not accepted.
    pub fn notify(&mut self, now: Instant, key: SubscriptionKey, state: Notification) -> Result<(), Error> {
        let notifier = self.decided(key)?;
        let wanted = notifier.remember(state);
        if !notifier.is_active() {
            return Ok(());
        }
        // Changes that follow changes which were not sent would leave a gap.
        notifier.wanted = Some(if notifier.wanted.is_some() { Wanted::State } else { wanted });
        self.subscriptions.alarms.cancel(Alarm::Unrenewed(key));
        self.push_notify(now, key);
        Ok(())
    }

    /// Allows a pending subscription: the NOTIFY says so and brings the state (RFC 6665 §4.2.2).
    ///
    /// # Errors
    /// If there is no such subscription any more, or it is not accepted.
    pub fn activate_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        state: Option<Notification>,
    ) -> Result<(), Error> {
        let notifier = self.decided(key)?;
        if let Some(state) = state {
            notifier.remember(state);
        }
        if !notifier.is_active() {
            notifier.stage = Stage::Active;
            notifier.urgent = true;
        }
        notifier.wanted = Some(Wanted::State);
        self.push_notify(now, key);
        Ok(())
    }

    /// Ends a subscription with us: `Deactivated` moves it to another notifier (RFC 6665 §4.4.2), `Rejected` takes a
    /// permission away, `NoResource` says that there is nothing to subscribe to any more. With a body the last NOTIFY
    /// brings it.
    ///
    /// # Errors
    /// If there is no such subscription any more, or it is not accepted: then `reject_subscription` refuses it.
    pub fn terminate_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        reason: &TerminationReason,
        retry_after: Option<Duration>,
        body: Option<Body>,
    ) -> Result<(), Error> {
        let notifier = self.decided(key)?;
        notifier.finish(reason, SubscriberEnd::ByUs);
        if let Some((state, last)) = &mut notifier.last
            && !notifier.last_is_out
        {
            if let Some(wait) = retry_after {
                state.params.set("retry-after", Some(&wait.as_secs().to_string()));
            }
            *last = body;
        }
        self.push_notify(now, key);
        Ok(())
    }

    pub(crate) fn decided(&mut self, key: SubscriptionKey) -> Result<&mut Notifier, Error> {
        let notifier = self.subscriptions.notifiers.get_mut(&key).ok_or(Error::NoSuchSubscription)?;
        match notifier.stage {
            Stage::Undecided(_) => Err(Error::Subscription("has not been accepted")),
            Stage::Pending | Stage::Active => Ok(notifier),
        }
    }

    /// The state once more: because nothing was notified for as long as the subscriber allows (RFC 6446 §6.2), or because
    /// the application was asked for it and gave none.
    pub(crate) fn notify_again(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        notifier.wanted = Some(Wanted::State);
        let next = notifier.rates.must_notify_after();
        if let Some(next) = next {
            self.subscriptions.alarms.arm(later(now, next), Alarm::MustNotify(key));
        }
        self.push_notify(now, key);
    }

    /// Sends what waits to be notified, if it may go.
    pub(crate) fn push_notify(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        let Some(id) = notifier.dialog.clone() else { return };
        if notifier.client.is_some() || notifier.last_is_out {
            return;
        }
        let suppressed = notifier.is_suppressed();
        let (state, body) = match notifier.last.clone() {
            Some((state, body)) => {
                notifier.last_is_out = true;
                let known = if notifier.is_active() && !suppressed { notifier.state.clone() } else { None };
                (state, body.or(known))
            }
            None => {
                let Some(wanted) = notifier.wanted.clone() else { return };
                if !notifier.urgent {
                    if suppressed {
                        notifier.wanted = None; // RFC 5839 §6.3
                        return;
                    }
                    if let Some(at) = notifier.rates.may_notify_at(notifier.notified_at)
                        && at > now
                    {
                        return self.subscriptions.alarms.arm(at, Alarm::MayNotify(key));
                    }
                }
                let word = if notifier.is_active() { "active" } else { "pending" };
                let left = left(now, notifier).to_string();
                let state = SubscriptionState::new(word).with_param("expires", Some(&left));
                let body = match (wanted, notifier.is_active()) {
                    _ if suppressed => None, // RFC 5839 §6.2
                    (_, false) => notifier.neutral.clone(),
                    (Wanted::State, true) => notifier.state.clone(),
                    (Wanted::Changes(changes), true) => Some(changes),
                };
                (notifier.rates.reflect(state), body)
            }
        };
        notifier.wanted = None;
        notifier.urgent = false;
        notifier.notified_at = Some(now);
        notifier.rates.note(now);
        let etag = notifier.etag.clone().filter(|_| notifier.is_active());
        let (event, next) = (notifier.event.field(), notifier.rates.must_notify_after());
        self.subscriptions.alarms.cancel(Alarm::MayNotify(key));
        self.subscriptions.alarms.cancel(Alarm::Unrenewed(key));
        if let Some(next) = next {
            self.subscriptions.alarms.arm(later(now, next), Alarm::MustNotify(key));
        }
        let Some(dialog) = self.dialog_of(&id) else {
            return self.end_notifier(key, SubscriberEnd::ByUs);
        };
        let hop = dialog.next_hop().clone();
        let mut builder = dialog.request(Method::Notify).header(&event).header(&state);
        if let Some(etag) = etag {
            builder = builder.header(&SipETag::new(&etag));
        }
        if let Some(Body { content_type, octets }) = body {
            builder = builder.body(&content_type, octets);
        }
        let purpose = Purpose::Events(EventPurpose::Notify(key));
        match self.finish(builder).and_then(|notify| self.send(now, notify, hop, purpose)) {
            Ok(tx) => {
                let live = self.sent.contains_key(&tx);
                if let Some(notifier) = self.subscriptions.notifiers.get_mut(&key)
                    && live
                {
                    notifier.client = Some(tx);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a NOTIFY could not be sent");
                self.notify_failed(key, Failure::Closed);
            }
        }
    }

    pub(crate) fn notify_answered(&mut self, now: Instant, key: SubscriptionKey, response: &Response) {
        let policy = self.config.events.notify_interval;
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        notifier.client = None;
        let status = response.status();
        if notifier.last_is_out {
            let why = notifier.why.clone();
            return self.end_notifier(key, why);
        }
        if ends_subscription(status) {
            return self.end_notifier(key, SubscriberEnd::NotifyRefused(status)); // RFC 6665 §4.2.2
        }
        if status.is_success() {
            // RFC 6446 §9.3: the subscriber may name other rates here.
            if let Ok(Some(event)) = response.headers.get::<headers::Event>() {
                let lasts = notifier.expires_at.saturating_duration_since(now);
                notifier.rates = Rates::of(&event, policy, lasts);
            }
        } else if let Ok(Some(wait)) = response.headers.get::<RetryAfter>() {
            // The subscriber takes it later; it must not miss the state.
            notifier.wanted = Some(Wanted::State);
            let at = later(now, Duration::from_secs(wait.seconds.into()));
            if notifier.last.is_none() {
                return self.subscriptions.alarms.arm(at, Alarm::MayNotify(key));
            }
        }
        self.push_notify(now, key);
    }

    /// RFC 6665 §4.2.2: who does not answer is not notified again.
    pub(crate) fn notify_failed(&mut self, key: SubscriptionKey, failure: Failure) {
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        notifier.client = None;
        let why =
            if notifier.last_is_out { notifier.why.clone() } else { SubscriberEnd::NotifyFailed(failure) };
        self.end_notifier(key, why);
    }
}
