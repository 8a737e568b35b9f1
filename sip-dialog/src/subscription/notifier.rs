//! The notifier: SUBSCRIBE in (RFC 6665 §4.2.1); its NOTIFYs are in `notification`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sip_message::headers::{self, Expires, MinExpires, SipETag, SubscriptionState, SuppressIfMatch};
use sip_message::{Request, StatusCode};
use sip_transaction::{ClientTx, ServerTx};
use sip_transport::Path;

use super::notification::{Notification, Wanted};
use super::rates::Rates;
use super::{
    Alarm, EventId, SubscriberChange, SubscriberEnd, SubscriptionKey, TerminationReason, event_of, later,
    seconds,
};
use crate::callee::wants_sips;
use crate::dialog::{Dialog, DialogId};
use crate::event::{Body, Error, Event};
use crate::layer::Dialogs;

/// How a subscription is accepted.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// Nobody has decided yet whether the subscriber may know: the first NOTIFY says `pending` (RFC 6665 §4.2.1.3).
    pub pending: bool,
    /// The most seconds, if less than the configuration would grant.
    pub expires: Option<u32>,
    /// The state of the resource as it is now. While the subscription is pending it is kept back.
    pub state: Option<Notification>,
    /// What a pending subscriber is shown: a neutral state, or nothing.
    pub neutral: Option<Body>,
    /// Each document has a number of its own, as with `dialog` and `reg`: after a refresh the application is asked for a
    /// new one ([`SubscriberChange::StateWanted`]) before the last one is sent again.
    pub numbered: bool,
}

/// How far a subscription with us is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The application has not answered.
    Undecided(Box<Undecided>),
    /// Accepted, not allowed yet.
    Pending,
    /// Accepted and allowed.
    Active,
}

/// A SUBSCRIBE or REFER without an answer.
#[derive(Debug)]
pub(crate) struct Undecided {
    pub(crate) tx: ServerTx,
    pub(crate) request: Request,
    /// The dialog that an answer makes; `None` in the dialog of a call.
    pub(crate) dialog: Option<Dialog>,
}

/// A subscription that somebody has with us.
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) event: EventId,
    pub(crate) stage: Stage,
    pub(crate) dialog: Option<DialogId>,
    pub(crate) expires_at: Instant,
    /// The NOTIFY that has no final response; there is one at a time.
    pub(crate) client: Option<ClientTx>,
    pub(crate) state: Option<Body>,
    pub(crate) etag: Option<String>,
    pub(crate) neutral: Option<Body>,
    /// What the next NOTIFY brings, if there is to be one.
    pub(super) wanted: Option<Wanted>,
    /// The next NOTIFY answers a SUBSCRIBE or tells of another stage: no rate and no condition holds it up.
    pub(super) urgent: bool,
    /// The last NOTIFY's state and body, to be sent or on its way.
    pub(super) last: Option<(SubscriptionState, Option<Body>)>,
    pub(super) last_is_out: bool,
    pub(super) why: SubscriberEnd,
    pub(super) rates: Rates,
    pub(super) notified_at: Option<Instant>,
    /// The condition of the last SUBSCRIBE (RFC 5839).
    pub(super) condition: Option<String>,
    numbered: bool,
    /// Where it came from; `None` if it does not count.
    source: Option<IpAddr>,
}

impl Notifier {
    pub(crate) fn new(now: Instant, event: EventId, undecided: Undecided, source: Option<IpAddr>) -> Self {
        Self {
            event,
            stage: Stage::Undecided(Box::new(undecided)),
            dialog: None,
            expires_at: now,
            client: None,
            state: None,
            etag: None,
            neutral: None,
            wanted: None,
            urgent: false,
            last: None,
            last_is_out: false,
            why: SubscriberEnd::ByUs,
            rates: Rates::default(),
            notified_at: None,
            condition: None,
            numbered: false,
            source,
        }
    }

    /// RFC 5839 §6.2, §6.3: the subscriber has the state that there is.
    pub(super) fn is_suppressed(&self) -> bool {
        self.condition.as_ref().is_some_and(|known| known == "*" || self.etag.as_ref() == Some(known))
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Active)
    }

    /// From now on only the last NOTIFY is to come.
    pub(super) fn finish(&mut self, reason: &TerminationReason, why: SubscriberEnd) {
        if self.last.is_none() {
            let state = SubscriptionState::new("terminated").with_param("reason", Some(reason.as_str()));
            self.last = Some((state, None));
            self.why = why;
        }
    }
}

/// How long the application may take to decide, as a part of the time that the subscriber waits (64·T1): its answer must
/// still arrive in time (RFC 6665 §4.2.1.1).
const DECIDE_WITHIN: u32 = 2;

/// RFC 6665 §4.2.1.1: from one hour on no duration is too short.
const NEVER_TOO_BRIEF: u32 = 3600;

impl Dialogs {
    pub(crate) fn subscribe_came(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        let Ok(event) = event_of(&request) else {
            return self.answer_bad_event(now, tx, &request);
        };
        if event.token == "refer"
            && let Some(refer) = self.refer_state_of(&request)
        {
            return self.subscribe_to_refer_came(now, tx, request, &path, refer, EventId::of(&event));
        }
        if !self.config.events.packages.contains(&event.token) {
            return self.answer_bad_event(now, tx, &request);
        }
        if self.asked_for(now, tx, &request).is_none() {
            return;
        }
        let Some(source) = self.room_for_source(now, tx, &request, &path) else { return };
        let Some(dialog) = self.dialog_for(now, tx, &request, &path) else { return };
        let key = SubscriptionKey(self.fresh_key());
        let undecided = Undecided { tx, request: request.clone(), dialog: Some(dialog) };
        self.await_decision(now, key, Notifier::new(now, EventId::of(&event), undecided, Some(source)));
        self.events.push_back(Event::SubscriptionRequested { key, request, path });
    }

    pub(crate) fn await_decision(&mut self, now: Instant, key: SubscriptionKey, notifier: Notifier) {
        if let Some(source) = notifier.source {
            let count = self.subscriptions.sources.entry(source).or_default();
            *count = count.saturating_add(1);
        }
        self.subscriptions.notifiers.insert(key, notifier);
        let until = now + self.patience() / DECIDE_WITHIN;
        self.subscriptions.alarms.arm(until, Alarm::Undecided(key));
    }

    /// The address of who subscribes, if there is room for another one of it; else it has been refused.
    pub(crate) fn room_for_source(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        path: &Path,
    ) -> Option<IpAddr> {
        let source = path.remote.ip();
        let taken = self.subscriptions.sources.get(&source).copied().unwrap_or_default();
        let refusal = if !self.has_room_for_subscription() {
            StatusCode::SERVICE_UNAVAILABLE
        } else if taken >= self.config.events.max_per_source {
            StatusCode::TEMPORARILY_UNAVAILABLE
        } else {
            return Some(source);
        };
        self.answer_full(now, tx, request, refusal);
        None
    }

    /// The dialog that a 2xx to this request makes; if there can be none, the request has been refused.
    pub(crate) fn dialog_for(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        path: &Path,
    ) -> Option<Dialog> {
        let user = request.uri().ok().and_then(|uri| uri.user().map(String::from));
        let tag = self.token();
        let dialog = match self.contact_at(user.as_deref(), path, wants_sips(request)) {
            Ok(contact) => Dialog::of_server(request, &tag, &contact).map_err(|_| StatusCode::BAD_REQUEST),
            Err(_) => Err(StatusCode::SERVER_INTERNAL_ERROR),
        };
        dialog.map_err(|status| self.answer_status(now, tx, request, status)).ok()
    }

    /// How many seconds a SUBSCRIBE asks for; one that asks for too few has been answered 423 (RFC 6665 §4.2.1.1).
    pub(crate) fn asked_for(&mut self, now: Instant, tx: ServerTx, request: &Request) -> Option<u32> {
        let config = &self.config.events;
        let asked = request.headers.get::<Expires>().ok().flatten();
        let asked = asked.map_or(config.default_expires, |expires| expires.0);
        let least = config.min_expires;
        if asked > 0 && asked < NEVER_TOO_BRIEF && asked < least {
            let tag = self.token();
            let builder =
                request.reply(StatusCode::INTERVAL_TOO_BRIEF).to_tag(&tag).header(&MinExpires(least));
            self.answer_built(now, tx, builder);
            return None;
        }
        Some(asked.min(config.max_expires))
    }

    pub(crate) fn take_undecided(&mut self, key: SubscriptionKey) -> Result<Undecided, Error> {
        let notifier = self.subscriptions.notifiers.get_mut(&key).ok_or(Error::NoSuchSubscription)?;
        if !matches!(notifier.stage, Stage::Undecided(_)) {
            return Err(Error::Subscription("is decided already"));
        }
        self.subscriptions.alarms.cancel(Alarm::Undecided(key));
        match std::mem::replace(&mut notifier.stage, Stage::Active) {
            Stage::Undecided(undecided) => Ok(*undecided),
            _ => Err(Error::Subscription("is decided already")),
        }
    }

    /// Accepts a subscription: 200, and at once a NOTIFY with the state (RFC 6665 §4.2.1.2).
    ///
    /// # Errors
    /// If it has been answered, or the response cannot be built.
    pub fn accept_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        acceptance: Acceptance,
    ) -> Result<(), Error> {
        let notifier = self.subscriptions.notifiers.get(&key).ok_or(Error::NoSuchSubscription)?;
        if notifier.event.package == "refer" {
            return Err(Error::Subscription("is that of a REFER; accept_refer answers it"));
        }
        let undecided = self.take_undecided(key)?;
        let accepted = self.accept_undecided(now, key, undecided, acceptance, None);
        if accepted.is_err() {
            self.end_notifier(key, SubscriberEnd::ByUs);
        }
        accepted
    }

    /// Accepts a subscription that the layer decides about by itself; with `last` its first NOTIFY, with this body, is the last.
    pub(crate) fn accept_at_once(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        acceptance: Acceptance,
        last: Option<&TerminationReason>,
        body: Body,
    ) -> Result<(), Error> {
        let undecided = self.take_undecided(key)?;
        let accepted =
            self.accept_undecided(now, key, undecided, acceptance, last.map(|reason| (reason, body)));
        if accepted.is_err() {
            self.end_notifier(key, SubscriberEnd::ByUs);
        }
        accepted
    }

    fn accept_undecided(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        undecided: Undecided,
        acceptance: Acceptance,
        over: Option<(&TerminationReason, Body)>,
    ) -> Result<(), Error> {
        let (tx, request) = (undecided.tx, undecided.request);
        let dialog = undecided.dialog.ok_or(Error::NoSuchSubscription)?;
        let Some(asked) = self.asked_for(now, tx, &request) else { return Err(Error::NoSuchSubscription) };
        let granted = acceptance.expires.map_or(asked, |most| most.min(asked));
        let event = event_of(&request)?;
        let policy = self.config.events.notify_interval;
        let lasts = Duration::from_secs(granted.into());
        let tag = dialog.id().local_tag.clone();
        let builder =
            request.reply(StatusCode::OK).to_tag(&tag).header(dialog.contact()).header(&Expires(granted));
        let response = builder.build()?;
        let id = dialog.id().clone();
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else {
            return Err(Error::NoSuchSubscription);
        };
        notifier.stage = if acceptance.pending { Stage::Pending } else { Stage::Active };
        notifier.dialog = Some(id);
        notifier.numbered = acceptance.numbered;
        notifier.neutral = acceptance.neutral;
        notifier.rates = Rates::of(&event, policy, lasts);
        notifier.condition = condition_of(&request);
        notifier.expires_at = later(now, lasts);
        notifier.urgent = true;
        notifier.wanted = Some(Wanted::State);
        if let Some(state) = acceptance.state {
            notifier.remember(state);
        }
        if let Some((reason, body)) = over {
            notifier.finish(reason, SubscriberEnd::ByUs);
            if let Some((_, last)) = &mut notifier.last {
                *last = Some(body);
            }
        } else if granted == 0 {
            notifier.finish(&TerminationReason::Timeout, SubscriberEnd::Unsubscribed); // §4.4.3: a fetch
        } else {
            let at = notifier.expires_at;
            self.subscriptions.alarms.arm(at, Alarm::Granted(key));
        }
        self.own_dialog(dialog, key);
        self.answer(now, tx, response);
        self.push_notify(now, key);
        Ok(())
    }

    fn put_back(&mut self, now: Instant, key: SubscriptionKey, undecided: Undecided) {
        let until = now + self.patience() / DECIDE_WITHIN;
        if let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) {
            notifier.stage = Stage::Undecided(Box::new(undecided));
            self.subscriptions.alarms.arm(until, Alarm::Undecided(key));
        }
    }

    /// Refuses a subscription: 403 or 603 for who may not know, 404 for a resource that is not here, 406 for bodies that
    /// cannot be made (RFC 6665 §4.2.1); with further fields such as Retry-After.
    ///
    /// # Errors
    /// If it has been answered, the status is no failure, or a field cannot be written.
    pub fn reject_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        status: StatusCode,
        fields: &[(&str, &str)],
    ) -> Result<(), Error> {
        if !status.is_failure() {
            return Err(Error::Subscription("is refused by a status from 300 to 699 only"));
        }
        let undecided = self.take_undecided(key)?;
        let tag = self.token();
        let mut builder = undecided.request.reply(status).to_tag(&tag);
        for (name, value) in fields {
            builder = builder.raw(*name, value);
        }
        match builder.build() {
            Ok(response) => {
                self.answer(now, undecided.tx, response);
                self.end_notifier(key, SubscriberEnd::Refused(status));
                Ok(())
            }
            Err(error) => {
                self.put_back(now, key, undecided);
                Err(error.into())
            }
        }
    }

    /// The subscriber must not wait for a person (RFC 6665 §4.2.1.1), and an application that is dead is no reason to keep it.
    pub(crate) fn nobody_decided(&mut self, now: Instant, key: SubscriptionKey) {
        let status = StatusCode::TEMPORARILY_UNAVAILABLE;
        if let Err(error) = self.reject_subscription(now, key, status, &[]) {
            tracing::debug!(%error, "a subscription that nobody decided about");
        }
    }

    /// A SUBSCRIBE in a dialog: a refresh, or the end (RFC 6665 §4.2.1.4).
    pub(crate) fn subscribe_in_dialog_came(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: Request,
        id: &DialogId,
    ) {
        let Ok(event) = event_of(&request) else {
            return self.answer_bad_event(now, tx, &request);
        };
        if self.dialog_of(id).is_none() {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.answer_status(now, tx, &request, status);
        }
        let Some(key) = self.subscriptions.notifier_in(id, &EventId::of(&event)) else {
            if !self.config.events.packages.contains(&event.token) {
                return self.answer_bad_event(now, tx, &request);
            }
            let reason = "Dialog Sharing Is Not Supported"; // RFC 6665 §4.5.2
            return self.answer_because(now, tx, &request, StatusCode::FORBIDDEN, reason);
        };
        let over = self.subscriptions.notifiers.get(&key).is_none_or(|notifier| notifier.last.is_some());
        if over {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.answer_status(now, tx, &request, status);
        }
        if !self.in_order(now, id, tx, &request) {
            return;
        }
        if let Some(asked) = self.asked_for(now, tx, &request) {
            self.refreshed(now, key, tx, &request, asked, &event);
        }
    }

    fn refreshed(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        tx: ServerTx,
        request: &Request,
        granted: u32,
        event: &headers::Event,
    ) {
        let policy = self.config.events.notify_interval;
        let wait = self.t1();
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        let lasts = Duration::from_secs(granted.into());
        notifier.expires_at = later(now, lasts);
        notifier.rates = Rates::of(event, policy, lasts);
        notifier.condition = condition_of(request);
        // RFC 5839 §6.3: the subscriber has the state, so that no NOTIFY follows.
        let suppressed = notifier.is_suppressed() && notifier.wanted.is_none();
        let status = if suppressed { StatusCode::NO_NOTIFICATION } else { StatusCode::OK };
        let asks = notifier.numbered && notifier.is_active() && granted > 0 && !suppressed;
        let (dialog, etag) = (notifier.dialog.clone(), notifier.etag.clone());
        let contact = dialog.and_then(|id| self.dialog_of(&id).map(|dialog| dialog.contact().clone()));
        let mut builder = request.reply(status).header(&Expires(granted));
        if let Some(contact) = &contact {
            builder = builder.header(contact);
        }
        if let Some(etag) = etag.filter(|_| suppressed) {
            builder = builder.header(&SipETag::new(&etag));
        }
        self.answer_built(now, tx, builder);
        if granted > 0 {
            self.subscriptions.alarms.arm(later(now, lasts), Alarm::Granted(key));
            let what = SubscriberChange::Refreshed { expires: lasts };
            self.events.push_back(Event::Subscriber { key, what });
        } else if suppressed {
            return self.end_notifier(key, SubscriberEnd::Unsubscribed); // RFC 5839 §5.7
        }
        if suppressed {
            return;
        }
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        notifier.urgent = true;
        if granted == 0 {
            notifier.finish(&TerminationReason::Timeout, SubscriberEnd::Unsubscribed);
        }
        if asks {
            self.events.push_back(Event::Subscriber { key, what: SubscriberChange::StateWanted });
            return self.subscriptions.alarms.arm(now + wait, Alarm::Unrenewed(key));
        }
        notifier.wanted = Some(Wanted::State);
        self.push_notify(now, key);
    }

    /// Its time is over (RFC 6665 §4.2.1.4).
    pub(crate) fn grant_is_over(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) else { return };
        notifier.finish(&TerminationReason::Timeout, SubscriberEnd::Expired);
        self.push_notify(now, key);
    }

    /// Forgets a subscription and tells why.
    pub(crate) fn end_notifier(&mut self, key: SubscriptionKey, why: SubscriberEnd) {
        let Some(notifier) = self.subscriptions.notifiers.remove(&key) else { return };
        self.subscriptions.alarms.cancel_all(key);
        if let Some(tx) = notifier.client {
            self.sent.remove(&tx);
        }
        if let Some(source) = notifier.source
            && let Some(count) = self.subscriptions.sources.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.subscriptions.sources.remove(&source);
            }
        }
        if let Some(id) = notifier.dialog {
            self.leave_dialog(&id, key);
        }
        self.events.push_back(Event::Subscriber { key, what: SubscriberChange::Ended(why) });
    }
}

fn condition_of(request: &Request) -> Option<String> {
    request.headers.get::<SuppressIfMatch>().ok().flatten().map(|tag| tag.0)
}

/// What is left of a subscription, for its NOTIFY.
pub(super) fn left(now: Instant, notifier: &Notifier) -> u32 {
    seconds(notifier.expires_at.saturating_duration_since(now))
}
