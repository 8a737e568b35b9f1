//! The subscriber: what it keeps, and what it sends (RFC 6665 §4.1, §4.4).

mod answered;
mod notified;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::headers::{
    self, CSeq, CallId, Contact, Expires, From, NameAddr, Route, SuppressIfMatch, To,
};
use sip_message::{HeaderName, Method, Request, RequestBuilder, Uri};
use sip_transaction::ClientTx;

use super::timing::backoff;
use super::{Alarm, EventId, EventPurpose, SubscriptionEnd, SubscriptionKey, SubscriptionStage, later};
use crate::dialog::DialogId;
use crate::event::{Body, Error};
use crate::layer::{Dialogs, Purpose};

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
    /// The notifiers whose NOTIFYs have made dialogs of it: the first that of the subscription that was asked for, others further
    /// ones. None makes a second one: what still comes of a dialog that is over makes no new one.
    notifiers: Vec<String>,
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
    /// None is made: the REFER required that (RFC 7614).
    pub(crate) silent: bool,
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
            silent: false,
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
    /// Subscribes. What comes of it is told by [`Event::Subscription`](crate::Event::Subscription). It is refreshed until it is ended, and made anew
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
            notifiers: Vec::new(),
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
    /// [`SubscriptionChange::Terminated`](crate::SubscriptionChange::Terminated) follows.
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
