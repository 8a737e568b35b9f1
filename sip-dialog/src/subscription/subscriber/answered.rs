//! What becomes of our SUBSCRIBE (RFC 6665 §4.1.2), what time brings, and the end of a subscription.

use std::time::{Duration, Instant};

use sip_message::headers::{Expires, MinExpires, RetryAfter};
use sip_message::{Identity, Response, StatusCode};
use sip_transaction::{ClientTx, Failure};

use super::super::state::ends_subscription;
use super::super::timing::backoff;
use super::super::{Alarm, SubscriptionChange, SubscriptionEnd, SubscriptionKey, SubscriptionStage, later};
use super::MAX_TOO_BRIEF;
use crate::dialog::DialogId;
use crate::event::{Error, Event};
use crate::layer::Dialogs;

impl Dialogs {
    pub(crate) fn subscribe_answered(&mut self, now: Instant, key: SubscriptionKey, response: Response) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.client = None;
        let attempt = subscriber.attempt.take();
        if !response.status().is_success() {
            return self.subscribe_refused(now, key, attempt, response);
        }
        subscriber.too_brief = 0;
        let event = subscriber.event.clone();
        if response.status() == StatusCode::NO_NOTIFICATION {
            // RFC 6665 §4.1.2.2, RFC 5839 §5.7: no NOTIFY will follow.
            self.subscriptions.alarms.cancel(Alarm::NotifyWait(key));
            if subscriber.unsubscribing {
                return self.end_subscription(now, key, SubscriptionEnd::ByUs, None);
            }
        }
        let granted = response.headers.get::<Expires>().ok().flatten();
        let granted = granted.map(|expires| Duration::from_secs(expires.0.into()));
        if let Ok(identity) = Identity::of(&response.headers)
            && let Some(granted) = granted
        {
            let id = DialogId::of_response(&identity);
            match self.subscriptions.subscriber_in(&id, &event) {
                Some(answered) => self.lasts(now, answered, Some(granted)),
                None => {
                    let attempt = attempt.and_then(|id| self.subscriptions.attempts.get_mut(&id));
                    if let Some(attempt) = attempt {
                        attempt.granted = Some((id.remote_tag, later(now, granted)));
                    }
                }
            }
        }
        self.unsubscribe_if_due(now, key);
    }

    fn subscribe_refused(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        attempt: Option<(String, String)>,
        response: Response,
    ) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        let status = response.status();
        let wait = response.headers.get::<RetryAfter>().ok().flatten();
        let wait = wait.map(|wait| Duration::from_secs(wait.seconds.into()));
        if subscriber.unsubscribing {
            return self.end_subscription(now, key, SubscriptionEnd::ByUs, None);
        }
        let least = response.headers.get::<MinExpires>().ok().flatten().map_or(0, |least| least.0);
        if status == StatusCode::INTERVAL_TOO_BRIEF
            && subscriber.asked > 0
            && least > subscriber.asked
            && subscriber.too_brief < MAX_TOO_BRIEF
            && subscriber.plan.is_some()
            && !subscriber.ending
        {
            // RFC 6665 §4.2.1.1: as long as the notifier wants it.
            subscriber.asked = least;
            subscriber.too_brief = subscriber.too_brief.saturating_add(1);
            let first = subscriber.dialog.is_none();
            if let Some(attempt) = &attempt {
                self.forget_attempt(attempt);
            }
            let sent = if first {
                self.send_first_subscribe(now, key)
            } else {
                self.send_subscribe(now, key, least)
            };
            if sent.is_ok() {
                return;
            }
            return self.end_subscription(now, key, SubscriptionEnd::Refused(Box::new(response)), None);
        }
        if subscriber.dialog.is_none() {
            if let Some(attempt) = attempt {
                self.forget_attempt(&attempt);
            }
            let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
            // RFC 3261 §21.5.4: a server that names a time is to be tried again after it. One that we had a subscription with
            // is tried again too if what it says is about this moment alone.
            let passing = status.class() == 5 || status == StatusCode::REQUEST_TIMEOUT;
            let again = match wait {
                Some(wait) if status.class() == 5 => subscriber.again(now, Some(wait)),
                _ if passing && subscriber.established => subscriber.again(now, Some(Duration::ZERO)),
                _ => None,
            };
            return self.end_subscription(now, key, SubscriptionEnd::Refused(Box::new(response)), again);
        }
        if attempt.is_some() {
            return self.unsubscribe_if_due(now, key); // a NOTIFY has made it all the same: a fork refused, or a 2xx was lost
        }
        if ends_subscription(status) {
            // RFC 6665 §4.1.2.2. The notifier that has forgotten it may know us again; the others will not.
            let lost = status == StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            let again = lost.then(|| subscriber.again(now, Some(Duration::ZERO))).flatten();
            return self.end_subscription(now, key, SubscriptionEnd::Refused(Box::new(response)), again);
        }
        self.refresh_refused(now, key, status, wait);
    }

    /// RFC 6665 §4.1.2.2: the subscription is valid until its time is over; before that we try once more.
    fn refresh_refused(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        status: StatusCode,
        wait: Option<Duration>,
    ) {
        const LEAST: Duration = Duration::from_secs(5);
        self.subscriptions.alarms.cancel(Alarm::NotifyWait(key));
        let Some(subscriber) = self.subscriptions.subscribers.get(&key) else { return };
        let left = subscriber.expires_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let passing = status.class() == 5 || status == StatusCode::REQUEST_TIMEOUT;
        let next = wait.or((passing && left / 2 >= LEAST).then_some(left / 2));
        if let Some(next) = next.filter(|next| *next < left) {
            self.subscriptions.alarms.arm(now + next, Alarm::Refresh(key));
        }
        self.tell(key, SubscriptionChange::RefreshFailed { status });
        self.unsubscribe_if_due(now, key);
    }

    pub(crate) fn subscribe_failed(&mut self, now: Instant, key: SubscriptionKey, failure: Failure) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.client = None;
        let attempt = subscriber.attempt.take();
        if subscriber.unsubscribing {
            return self.end_subscription(now, key, SubscriptionEnd::ByUs, None);
        }
        if subscriber.dialog.is_none() {
            if let Some(attempt) = attempt {
                self.forget_attempt(&attempt);
            }
            // One that stood before is not given up because the network is gone for a while.
            let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
            let again = subscriber.established.then(|| subscriber.again(now, Some(Duration::ZERO))).flatten();
            return self.end_subscription(now, key, SubscriptionEnd::Failed(failure), again);
        }
        match failure {
            // Timer N, as long as the transaction, is over in this moment.
            Failure::Timeout if attempt.is_none() => {}
            _ if attempt.is_some() => self.unsubscribe_if_due(now, key),
            failure => self.refresh_refused(now, key, failure.status(), None),
        }
    }

    pub(crate) fn subscribe_resent(&mut self, now: Instant, key: SubscriptionKey, tx: Option<ClientTx>) {
        let until = now + self.patience();
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.client = tx;
        let attempt = subscriber.attempt.clone();
        if tx.is_none() {
            return; // it failed while it was sent
        }
        self.subscriptions.alarms.arm(until, Alarm::NotifyWait(key));
        if let Some(id) = attempt
            && let Some(attempt) = self.subscriptions.attempts.get_mut(&id)
        {
            attempt.until = until;
            self.subscriptions.close_attempt_at(until, id);
        }
    }

    // ---- what time brings ------------------------------------------------------------------------------------

    /// Timer N (RFC 6665 §4.1.2.2, §4.1.2.4).
    pub(crate) fn no_notify_came(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        let again = subscriber.established.then(|| subscriber.again(now, Some(Duration::ZERO))).flatten();
        let end = if subscriber.ending { SubscriptionEnd::ByUs } else { SubscriptionEnd::NoNotify };
        self.end_subscription(now, key, end, again);
    }

    pub(crate) fn refresh_is_due(&mut self, now: Instant, key: SubscriptionKey) {
        match self.refresh(now, key) {
            Ok(()) | Err(Error::Pending | Error::NoSuchSubscription) => {}
            Err(error) => {
                tracing::warn!(%error, "a SUBSCRIBE could not be sent");
                self.refresh_refused(now, key, StatusCode::SERVICE_UNAVAILABLE, None);
            }
        }
    }

    pub(crate) fn subscription_expired(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        let again = subscriber.again(now, Some(Duration::ZERO));
        let end = if subscriber.ending { SubscriptionEnd::ByUs } else { SubscriptionEnd::Expired };
        self.end_subscription(now, key, end, again);
    }

    /// §4.4.2: with a new Call-ID and tag, and without the route set of the old dialog.
    pub(crate) fn subscribe_again(&mut self, now: Instant, key: SubscriptionKey) {
        if let Err(error) = self.send_first_subscribe(now, key) {
            tracing::warn!(%error, "a subscription could not be made anew; it is tried again");
            let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
            subscriber.stage = SubscriptionStage::Between;
            subscriber.short_lives = subscriber.short_lives.saturating_add(1);
            let pause = backoff(subscriber.short_lives);
            if let Some(attempt) = subscriber.attempt.take() {
                self.forget_attempt(&attempt);
            }
            self.subscriptions.alarms.cancel_all(key);
            self.subscriptions.alarms.arm(now + pause, Alarm::Subscribe(key));
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    pub(crate) fn tell(&mut self, key: SubscriptionKey, what: SubscriptionChange) {
        self.events.push_back(Event::Subscription { key, what });
    }

    pub(crate) fn end_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        end: SubscriptionEnd,
        again: Option<Duration>,
    ) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        let (client, dialog) = (subscriber.client.take(), subscriber.dialog.take());
        let attempt = subscriber.attempt.take();
        subscriber.stage = SubscriptionStage::Between;
        subscriber.unsubscribing = false;
        self.subscriptions.alarms.cancel_all(key);
        // Whatever is still answered to it, nobody waits for it. Other notifiers that it reached are heard until Timer N.
        if let Some(tx) = client {
            self.sent.remove(&tx);
        }
        if let Some(id) = dialog {
            self.leave_dialog(&id, key);
        }
        if let Some(attempt) = attempt
            && matches!(end, SubscriptionEnd::ByUs)
        {
            self.forget_attempt(&attempt);
        }
        match again {
            Some(wait) => self.subscriptions.alarms.arm(later(now, wait), Alarm::Subscribe(key)),
            None => drop(self.subscriptions.subscribers.remove(&key)),
        }
        self.tell(key, SubscriptionChange::Terminated { end, again });
    }

    pub(crate) fn forget_attempt(&mut self, id: &(String, String)) {
        let Some(attempt) = self.subscriptions.attempts.remove(id) else { return };
        // The nonces stay with the dialog that came of it.
        let subscriber = self.subscriptions.subscribers.get(&attempt.key);
        let dialog = subscriber.and_then(|subscriber| subscriber.dialog.as_ref());
        if dialog.is_none_or(|dialog| dialog.call_id != id.0) {
            self.credentials.forget(&id.0);
        }
    }

    /// Forgets a subscription that was never told of.
    pub(crate) fn drop_subscriber(&mut self, key: SubscriptionKey) {
        let Some(subscriber) = self.subscriptions.subscribers.remove(&key) else { return };
        self.subscriptions.alarms.cancel_all(key);
        if let Some(id) = subscriber.dialog {
            self.leave_dialog(&id, key);
        }
        if let Some(attempt) = subscriber.attempt {
            self.forget_attempt(&attempt);
        }
    }
}
