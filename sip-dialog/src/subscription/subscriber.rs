//! The subscriber: SUBSCRIBE out, NOTIFY in (RFC 6665 §4.1, §4.4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::headers::{
    self, CSeq, CallId, Contact, Expires, From, MinExpires, NameAddr, RetryAfter, Route, SipETag,
    SubscriptionState, SuppressIfMatch, To,
};
use sip_message::{HeaderName, Identity, Method, Request, RequestBuilder, Response, StatusCode, Uri};
use sip_transaction::{ClientTx, Failure, ServerTx};

use super::state::{again_after, ends_subscription};
use super::timing::backoff;
use super::{
    Alarm, EventId, EventPurpose, SubscriptionChange, SubscriptionEnd, SubscriptionKey, SubscriptionStage,
    TerminationReason, event_of, later, refresh_after,
};
use crate::dialog::{Dialog, DialogId};
use crate::event::{Body, Error, Event};
use crate::layer::{Dialogs, Purpose};
use crate::packages::refer::Report;

/// A subscription to make.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The resource.
    pub to: Uri,
    /// Who subscribes.
    pub from: NameAddr,
    /// The package, with an `id` and the rates of RFC 6446 if they are wanted.
    pub event: headers::Event,
    /// Seconds to ask for; 0 to fetch the state once (RFC 6665 §4.4.3).
    pub expires: u32,
    /// Types of bodies that can be read; without any those that the package requires.
    pub accept: Vec<String>,
    /// Names the state that we have when the subscription is refreshed or made anew, so that it is not sent again
    /// (RFC 5839).
    pub conditional: bool,
    /// Proxies to pass first.
    pub route: Vec<Route>,
    /// Further fields, by name and value.
    pub fields: Vec<(String, String)>,
    /// Such as a filter (RFC 4660).
    pub body: Option<Body>,
}

impl Subscribe {
    /// An hour of a package, with nothing special.
    pub fn new(to: Uri, from: NameAddr, package: &str) -> Self {
        Self {
            to,
            from,
            event: headers::Event::new(package),
            expires: 3600,
            accept: Vec::new(),
            conditional: false,
            route: Vec::new(),
            fields: Vec::new(),
            body: None,
        }
    }
}

/// Notifiers that one SUBSCRIBE may reach: each NOTIFY with a From tag of its own costs us a dialog, so that one forger who
/// has seen the SUBSCRIBE could make thousands of them.
const MAX_FORKS: usize = 16;

/// Times that a 423 is followed by asking for more.
const MAX_TOO_BRIEF: u8 = 2;

/// A subscription that lasted less is a short one: the next of them has to wait.
const SHORT_LIFE: Duration = Duration::from_secs(60);

/// A new duration that is shorter by less is the same one, told a little later.
const SAME: Duration = Duration::from_secs(2);

/// How long after its time a subscription is waited for: the notifier's clock began later than ours, and its last NOTIFY has
/// a way to go.
const GRACE: Duration = Duration::from_secs(4);

/// How long the subscription of a REFER lasts if the notifier does not say (it must, by RFC 6665 §4.2.2).
const REFER_LIFETIME: u32 = 300;

/// A SUBSCRIBE or REFER outside of dialogs, until no NOTIFY can make a dialog of it any more.
#[derive(Debug)]
pub(crate) struct Attempt {
    key: SubscriptionKey,
    event: EventId,
    contact: Contact,
    pub(crate) cseq: u32,
    pub(crate) until: Instant,
    plan: Option<Arc<Subscribe>>,
    asked: u32,
    /// A NOTIFY has made the dialog of the subscription that was asked for; others make further ones.
    bound: bool,
    forks: usize,
    /// What a 2xx granted whose notifier has not yet sent its NOTIFY: its tag, and when it ends.
    granted: Option<(String, Instant)>,
}

/// A subscription of ours.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// `None` for the subscription of a REFER.
    plan: Option<Arc<Subscribe>>,
    pub(crate) event: EventId,
    pub(crate) stage: SubscriptionStage,
    /// Made anew when it ends and the notifier does not mind; not for forks and REFERs.
    renews: bool,
    pub(crate) attempt: Option<(String, String)>,
    pub(crate) dialog: Option<DialogId>,
    /// The SUBSCRIBE or REFER that has no final response.
    pub(crate) client: Option<ClientTx>,
    /// The application wants no more of it.
    ending: bool,
    /// A SUBSCRIBE with Expires: 0 is out.
    unsubscribing: bool,
    asked: u32,
    asked_until: Instant,
    expires_at: Option<Instant>,
    /// Nobody has said yet how long what we last asked for will last.
    fresh: bool,
    etag: Option<String>,
    born: Instant,
    short_lives: u32,
    /// A NOTIFY has come for it, now or before it was made anew.
    pub(crate) established: bool,
    too_brief: u8,
}

impl Subscriber {
    fn new(now: Instant, event: EventId, plan: Option<Arc<Subscribe>>, asked: u32) -> Self {
        Self {
            plan,
            event,
            stage: SubscriptionStage::NotifyWait,
            renews: false,
            attempt: None,
            dialog: None,
            client: None,
            ending: false,
            unsubscribing: false,
            asked,
            asked_until: later(now, Duration::from_secs(asked.into())),
            expires_at: None,
            fresh: true,
            etag: None,
            born: now,
            short_lives: 0,
            established: false,
            too_brief: 0,
        }
    }

    /// The subscription that a REFER of ours makes.
    pub(crate) fn of_refer(now: Instant, id: Option<u32>) -> Self {
        Self::new(now, EventId::refer(id), None, REFER_LIFETIME)
    }

    /// After how long it is made anew if the notifier asks for `wait`, or has no say.
    fn again(&mut self, now: Instant, wait: Option<Duration>) -> Option<Duration> {
        if !self.renews || self.ending || self.asked == 0 {
            return None;
        }
        let pause = backoff(self.short_lives);
        let short = now.saturating_duration_since(self.born) < SHORT_LIFE;
        self.short_lives = if short { self.short_lives.saturating_add(1) } else { 0 };
        Some(wait?.max(pause))
    }
}

impl Dialogs {
    /// Subscribes. What comes of it is told by [`Event::Subscription`]. It is refreshed until it is ended, and made anew
    /// when the notifier ends it for a reason that allows it (RFC 6665 §4.1.3).
    ///
    /// # Errors
    /// If the SUBSCRIBE cannot be built, there is no listener, a limit is reached, or NOTIFY is not in `Config::allow`.
    pub fn subscribe(&mut self, now: Instant, plan: Subscribe) -> Result<SubscriptionKey, Error> {
        self.may_be_notified()?;
        let key = SubscriptionKey(self.fresh_key());
        let (event, asked) = (EventId::of(&plan.event), plan.expires);
        let mut subscriber = Subscriber::new(now, event, Some(Arc::new(plan)), asked);
        subscriber.renews = true;
        self.subscriptions.subscribers.insert(key, subscriber);
        match self.send_first_subscribe(now, key) {
            Ok(()) => Ok(key),
            Err(error) => {
                self.drop_subscriber(key);
                Err(error)
            }
        }
    }

    pub(crate) fn may_be_notified(&self) -> Result<(), Error> {
        if !self.config.allow.contains(&Method::Notify) {
            return Err(Error::NotAllowed(Method::Notify));
        }
        if !self.has_room_for_subscription() {
            return Err(Error::TooManySubscriptions(self.config.events.max_subscriptions));
        }
        Ok(())
    }

    fn send_first_subscribe(&mut self, now: Instant, key: SubscriptionKey) -> Result<(), Error> {
        let subscriber = self.subscriptions.subscribers.get(&key).ok_or(Error::NoSuchSubscription)?;
        let plan = subscriber.plan.clone().ok_or(Error::NoSuchSubscription)?;
        let (asked, etag) = (subscriber.asked, subscriber.etag.clone());
        let hop = plan.route.first().map_or(&plan.to, |route| route.uri()).clone();
        // RFC 3261 §8.1.1.8: `sips` in the Request-URI or in the first Route.
        let contact =
            self.contact_for(plan.from.uri().user(), if plan.to.is_sips() { &plan.to } else { &hop })?;
        let (tag, call_id) = (self.token(), self.token());
        let mut builder = Request::builder(Method::Subscribe, &plan.to)
            .headers(&plan.route)
            .header(&From(plan.from.clone()).with_tag(&tag))
            .header(&To::new(&plan.to))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, Method::Subscribe))
            .header(&contact);
        builder = asking(builder, &plan, asked, etag.as_deref());
        for (name, value) in &plan.fields {
            builder = builder.raw(name.as_str(), value);
        }
        if let Some(Body { content_type, octets }) = &plan.body {
            builder = builder.body(content_type, octets.clone());
        }
        let request = self.finish(builder)?;
        if let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) {
            subscriber.stage = SubscriptionStage::NotifyWait;
            subscriber.expires_at = None;
            subscriber.fresh = true;
            subscriber.born = now;
            subscriber.asked_until = later(now, Duration::from_secs(asked.into()));
        }
        self.open_attempt(now, key, (call_id, tag), contact);
        self.dispatch(now, key, request, hop, EventPurpose::Subscribe(key))
    }

    /// From now on NOTIFYs may make dialogs of this request.
    pub(crate) fn open_attempt(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        id: (String, String),
        contact: Contact,
    ) {
        let until = now + self.patience();
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.attempt = Some(id.clone());
        let attempt = Attempt {
            key,
            event: subscriber.event.clone(),
            contact,
            cseq: 1,
            until,
            plan: subscriber.plan.clone(),
            asked: subscriber.asked,
            bound: false,
            forks: 0,
            granted: None,
        };
        self.subscriptions.attempts.insert(id.clone(), attempt);
        self.subscriptions.close_attempt_at(until, id);
        self.subscriptions.alarms.arm(until, Alarm::NotifyWait(key));
    }

    pub(crate) fn dispatch(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        request: Request,
        hop: Uri,
        purpose: EventPurpose,
    ) -> Result<(), Error> {
        let tx = self.send(now, request, hop, Purpose::Events(purpose))?;
        let live = self.sent.contains_key(&tx);
        if let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key)
            && live
        {
            subscriber.client = Some(tx);
        }
        Ok(())
    }

    /// Sends a SUBSCRIBE in the subscription's dialog: to refresh it (RFC 6665 §4.1.2.2), or with 0 seconds to end it.
    fn send_subscribe(&mut self, now: Instant, key: SubscriptionKey, asked: u32) -> Result<(), Error> {
        let until = now + self.patience();
        let subscriber = self.subscriptions.subscribers.get_mut(&key).ok_or(Error::NoSuchSubscription)?;
        let id = subscriber.dialog.clone().ok_or(Error::NoSuchSubscription)?;
        let (plan, event, etag) =
            (subscriber.plan.clone(), subscriber.event.clone(), subscriber.etag.clone());
        subscriber.unsubscribing = asked == 0;
        subscriber.fresh = true;
        subscriber.asked_until = later(now, Duration::from_secs(asked.into()));
        self.subscriptions.alarms.cancel(Alarm::Refresh(key));
        self.subscriptions.alarms.arm(until, Alarm::NotifyWait(key));
        let dialog = self.dialog_of(&id).ok_or(Error::NoSuchSubscription)?;
        let hop = dialog.next_hop().clone();
        let builder = dialog.request(Method::Subscribe);
        let builder = match &plan {
            Some(plan) => asking(builder, plan, asked, etag.as_deref()),
            None => builder.header(&event.field()).header(&Expires(asked)),
        };
        let request = self.finish(builder)?;
        self.dispatch(now, key, request, hop, EventPurpose::Subscribe(key))
    }

    /// Refreshes a subscription before it is due, which brings its state once more (RFC 6665 §4.4.3).
    ///
    /// # Errors
    /// If it has no dialog yet, a SUBSCRIBE is under way, or it is being ended.
    pub fn refresh(&mut self, now: Instant, key: SubscriptionKey) -> Result<(), Error> {
        let subscriber = self.subscriptions.subscribers.get(&key).ok_or(Error::NoSuchSubscription)?;
        let busy = subscriber.client.is_some() || subscriber.ending || subscriber.unsubscribing;
        if subscriber.dialog.is_none() || busy {
            return Err(Error::Pending);
        }
        let asked = subscriber.asked;
        self.send_subscribe(now, key, asked)
    }

    /// Ends a subscription: SUBSCRIBE with Expires: 0, whose last NOTIFY may still bring the state (RFC 6665 §4.1.2.3).
    /// [`SubscriptionChange::Terminated`] follows.
    ///
    /// # Errors
    /// If there is no such subscription any more.
    pub fn unsubscribe(&mut self, now: Instant, key: SubscriptionKey) -> Result<(), Error> {
        let subscriber = self.subscriptions.subscribers.get_mut(&key).ok_or(Error::NoSuchSubscription)?;
        subscriber.ending = true;
        if subscriber.stage == SubscriptionStage::Between {
            self.end_subscription(now, key, SubscriptionEnd::ByUs, None);
        } else {
            self.unsubscribe_if_due(now, key);
        }
        Ok(())
    }

    /// One SUBSCRIBE after the other: two under way could overtake each other.
    pub(crate) fn unsubscribe_if_due(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(subscriber) = self.subscriptions.subscribers.get(&key) else { return };
        let due = subscriber.ending && !subscriber.unsubscribing && subscriber.client.is_none();
        if due && subscriber.dialog.is_some() && self.send_subscribe(now, key, 0).is_err() {
            self.end_subscription(now, key, SubscriptionEnd::ByUs, None);
        }
    }

    // ---- what the notifier says ------------------------------------------------------------------------------

    pub(crate) fn notify_came(&mut self, now: Instant, tx: ServerTx, request: Request, id: &DialogId) {
        let (Ok(event), Ok(state)) = (event_of(&request), request.headers.require::<SubscriptionState>())
        else {
            return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST);
        };
        let event = EventId::of(&event);
        let key = match self.subscriptions.subscriber_in(id, &event) {
            Some(key) => Some(key),
            None if self.subscriptions.live_in(id) => {
                let of_package = |key: &SubscriptionKey| {
                    let subscriber = self.subscriptions.subscribers.get(key);
                    subscriber.is_some_and(|subscriber| subscriber.event.package == event.package)
                };
                let known = self
                    .subscriptions
                    .dialogs
                    .get(id)
                    .is_some_and(|all| all.subscriptions.iter().any(of_package));
                if !known {
                    return self.answer_bad_event(now, tx, &request); // RFC 6665 §4.1.3
                }
                None
            }
            None => match self.bind_notify(now, &request, id, &event) {
                Ok(key) => Some(key),
                Err(StatusCode::BAD_EVENT) => return self.answer_bad_event(now, tx, &request),
                Err(status) => return self.answer_status(now, tx, &request, status),
            },
        };
        let Some(key) = key else {
            let reason = "Subscription Does Not Exist";
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.answer_because(now, tx, &request, status, reason);
        };
        if !self.in_order(now, id, tx, &request) {
            return;
        }
        let contact = self.dialog_of(id).map(|dialog| dialog.contact().clone());
        let builder = request.reply(StatusCode::OK);
        self.answer_built(now, tx, contact.iter().fold(builder, |builder, contact| builder.header(contact)));
        self.notified(now, key, request, &state);
    }

    /// The subscription whose dialog this NOTIFY makes, if one waits for it (RFC 6665 §4.4.1).
    fn bind_notify(
        &mut self,
        now: Instant,
        request: &Request,
        id: &DialogId,
        event: &EventId,
    ) -> Result<SubscriptionKey, StatusCode> {
        let room = self.has_room_for_subscription();
        let attempt_id = (id.call_id.clone(), id.local_tag.clone());
        let unknown = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        let attempt = self.subscriptions.attempts.get_mut(&attempt_id).ok_or(unknown)?;
        let refer = attempt.event.package == "refer" && event.package == "refer";
        if attempt.event != *event && !refer {
            let other = attempt.event.package != event.package;
            return Err(if other { StatusCode::BAD_EVENT } else { unknown });
        }
        let fork = attempt.bound;
        if fork && (attempt.forks >= MAX_FORKS || !room) {
            return Err(unknown);
        }
        let mut dialog = Dialog::of_server(request, &id.local_tag, &attempt.contact)
            .map_err(|_| StatusCode::BAD_REQUEST)?;
        dialog.note_local_cseq(attempt.cseq);
        attempt.bound = true;
        let (of, plan, asked, known) =
            (attempt.key, attempt.plan.clone(), attempt.asked, attempt.event.clone());
        let granted = attempt.granted.take_if(|(tag, _)| *tag == id.remote_tag);
        let until = attempt.until;
        if fork {
            attempt.forks = attempt.forks.saturating_add(1);
        }
        let key = if fork { SubscriptionKey(self.fresh_key()) } else { of };
        if fork {
            self.subscriptions.subscribers.insert(key, Subscriber::new(now, known, plan, asked));
            self.subscriptions.alarms.arm(until, Alarm::NotifyWait(key)); // a fetch ends, whatever its NOTIFYs say
            self.tell(key, SubscriptionChange::Forked { of });
        }
        let subscriber = self.subscriptions.subscribers.get_mut(&key).ok_or(unknown)?;
        subscriber.dialog = Some(id.clone());
        self.own_dialog(dialog, key);
        if let Some((_, at)) = granted {
            self.lasts(now, key, Some(at.saturating_duration_since(now)));
        }
        Ok(key)
    }

    fn notified(&mut self, now: Instant, key: SubscriptionKey, request: Request, state: &SubscriptionState) {
        let etag = request.headers.get::<SipETag>().ok().flatten().map(|etag| etag.0);
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.established = true;
        if etag.is_some() {
            subscriber.etag = etag;
        }
        // Whoever ends a subscription or fetches waits for the NOTIFY that says "terminated".
        if !subscriber.unsubscribing && subscriber.asked > 0 {
            self.subscriptions.alarms.cancel(Alarm::NotifyWait(key));
        }
        let progress = (subscriber.event.package == "refer").then(|| status_of_fragment(&request)).flatten();
        self.tell(key, SubscriptionChange::Notified { request });
        if let Some(status) = progress {
            self.tell(key, SubscriptionChange::Progress { status });
        }
        if state.is_terminated() {
            return self.terminated(now, key, state);
        }
        let expires = state.expires().map(|seconds| Duration::from_secs(seconds.into()));
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        // A state that nobody has defined is no reason to end the subscription: it stands, so it counts as active.
        let pending = state.value.eq_ignore_ascii_case("pending");
        let stage = if pending { SubscriptionStage::Pending } else { SubscriptionStage::Active };
        let changed = std::mem::replace(&mut subscriber.stage, stage) != stage;
        self.lasts(now, key, expires);
        if changed {
            let what = if pending {
                SubscriptionChange::Pending { expires }
            } else {
                SubscriptionChange::Active { expires }
            };
            self.tell(key, what);
        }
        self.unsubscribe_if_due(now, key);
    }

    /// RFC 6665 §4.1.3: why it ended decides whether and when it is made anew.
    fn terminated(&mut self, now: Instant, key: SubscriptionKey, state: &SubscriptionState) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        let reason = TerminationReason::of(state);
        let retry_after = state.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
        let again = subscriber.again(now, again_after(reason.as_ref(), retry_after));
        let end = if subscriber.ending {
            SubscriptionEnd::ByUs
        } else {
            SubscriptionEnd::ByNotifier { reason, retry_after }
        };
        self.end_subscription(now, key, end, again);
    }

    /// Somebody has said how long the subscription lasts: a 2xx or a NOTIFY, whichever is shorter (RFC 6665 §4.1.2.1,
    /// §4.1.3); never longer than we asked for.
    fn lasts(&mut self, now: Instant, key: SubscriptionKey, granted: Option<Duration>) {
        let patience = self.patience();
        let chance = self.chance();
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        if subscriber.asked == 0 || subscriber.unsubscribing {
            return;
        }
        let at = match granted {
            Some(granted) => {
                let at = later(now, granted).min(subscriber.asked_until);
                let fresh = std::mem::take(&mut subscriber.fresh);
                if !fresh && subscriber.expires_at.is_some_and(|known| at + SAME >= known) {
                    return;
                }
                at
            }
            None if subscriber.expires_at.is_none() => subscriber.asked_until,
            None => return,
        };
        subscriber.expires_at = Some(at);
        let refreshes = subscriber.plan.is_some() && !subscriber.ending;
        self.subscriptions.alarms.arm(at + GRACE, Alarm::Expiry(key));
        if refreshes {
            let left = at.saturating_duration_since(now);
            self.subscriptions.alarms.arm(now + refresh_after(left, patience, chance), Alarm::Refresh(key));
        }
    }

    // ---- what becomes of our SUBSCRIBE -----------------------------------------------------------------------

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

/// What a SUBSCRIBE says about the subscription (RFC 6665 §4.1.2.1, RFC 5839 §5.2).
fn asking(builder: RequestBuilder, plan: &Subscribe, asked: u32, etag: Option<&str>) -> RequestBuilder {
    let mut builder = builder.header(&plan.event).header(&Expires(asked));
    if !plan.accept.is_empty() {
        builder = builder.raw(HeaderName::ACCEPT, &plan.accept.join(", "));
    }
    match etag {
        Some(etag) if plan.conditional => builder.header(&SuppressIfMatch::new(etag)),
        _ => builder,
    }
}

/// RFC 3515 §2.4.5: the body of a NOTIFY of a REFER begins with the status line of the referred request.
fn status_of_fragment(request: &Request) -> Option<StatusCode> {
    let kind: headers::ContentType = request.headers.get().ok().flatten()?;
    let fragment =
        kind.kind().eq_ignore_ascii_case("message") && kind.subtype().eq_ignore_ascii_case("sipfrag");
    if !fragment {
        return None;
    }
    Report::parse(request.body()).ok()?.map(|report| report.status)
}
