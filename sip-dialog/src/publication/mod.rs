//! PUBLISH: telling a server our state (RFC 3903). The client is here, the table of the server in [`compositor`].

pub mod compositor;

use std::time::{Duration, Instant};

use sip_message::headers::{
    self, CSeq, CallId, Expires, From, MinExpires, NameAddr, RetryAfter, Route, SipETag, SipIfMatch, To,
};
use sip_message::{Method, Request, Response, StatusCode, Uri};
use sip_transaction::{ClientTx, Failure};

use crate::event::{Body, Error, Event};
use crate::keys::KeyMap;
use crate::layer::{Dialogs, Purpose};
use crate::subscription::{Alarm, EventPurpose, backoff, later, refresh_after};

/// A publication of ours: a key, as that of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationKey(pub(crate) u64);

/// A state to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Whose state it is: the address-of-record.
    pub to: Uri,
    /// Who publishes.
    pub from: NameAddr,
    /// The package.
    pub event: headers::Event,
    /// Seconds to ask for.
    pub expires: u32,
    /// The state.
    pub body: Body,
    /// Proxies to pass first.
    pub route: Vec<Route>,
    /// Further fields, by name and value.
    pub fields: Vec<(String, String)>,
}

/// What is new about a publication.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublicationChange {
    /// The server has the state that was given last.
    Published {
        /// How long it keeps it without a refresh.
        expires: Duration,
    },
    /// The server could not take it now; it is tried again.
    Failed {
        /// The status, 408 without an answer and 503 without a way.
        status: StatusCode,
        /// After how long.
        again: Duration,
    },
    /// It has ended; the key is no longer valid.
    Ended(PublicationEnd),
}

/// Why a publication has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublicationEnd {
    /// We removed it.
    Removed,
    /// The server refuses it.
    Refused(Box<Response>),
    /// The first PUBLISH had no answer, or could not be sent.
    Failed(Failure),
}

/// What the next PUBLISH is to do (RFC 3903 §4, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// Initial without an entity-tag, modify with one: with the body.
    Publish,
    /// Without the body.
    Refresh,
    /// With Expires: 0.
    Remove,
}

#[derive(Debug)]
pub(crate) struct Published {
    plan: Publication,
    call_id: String,
    tag: String,
    cseq: u32,
    asked: u32,
    etag: Option<String>,
    client: Option<ClientTx>,
    /// What is under way.
    operation: Operation,
    /// What comes after it: one PUBLISH at a time (RFC 3903 §4).
    next: Option<Operation>,
    /// The server has taken it once.
    established: bool,
    failures: u32,
    too_brief: u8,
    lost: u8,
}

/// Publications at one time.
const MAX_PUBLICATIONS: usize = 10_000;

/// Times that a 423 is followed by asking for more, and a 412 by publishing anew, without a success between.
const MAX_CORRECTIONS: u8 = 2;

/// All publications of the layer.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    all: KeyMap<PublicationKey, Published>,
}

impl Publications {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Dialogs {
    /// Publishes a state, and keeps it published until `unpublish` (RFC 3903 §4.1). What comes of it is told by
    /// [`Event::Publication`].
    ///
    /// # Errors
    /// If the PUBLISH cannot be built, or a limit is reached.
    pub fn publish(&mut self, now: Instant, plan: Publication) -> Result<PublicationKey, Error> {
        if self.publications.all.len() >= MAX_PUBLICATIONS {
            return Err(Error::TooManyPublications(MAX_PUBLICATIONS));
        }
        let key = PublicationKey(self.fresh_key());
        let published = Published {
            call_id: self.token(),
            tag: self.token(),
            cseq: 0,
            asked: plan.expires,
            plan,
            etag: None,
            client: None,
            operation: Operation::Publish,
            next: None,
            established: false,
            failures: 0,
            too_brief: 0,
            lost: 0,
        };
        self.publications.all.insert(key, published);
        match self.send_publish(now, key, Operation::Publish) {
            Ok(()) => Ok(key),
            Err(error) => {
                self.drop_publication(key);
                Err(error)
            }
        }
    }

    /// Publishes a new state in place of the last one (RFC 3903 §4.4), as soon as the PUBLISH before is answered.
    ///
    /// # Errors
    /// If there is no such publication any more, or it is being removed.
    pub fn republish(&mut self, now: Instant, key: PublicationKey, body: Body) -> Result<(), Error> {
        let published = self.publications.all.get_mut(&key).ok_or(Error::NoSuchPublication)?;
        if published.is_leaving() {
            return Err(Error::NoSuchPublication);
        }
        published.plan.body = body;
        published.next = Some(Operation::Publish);
        self.publish_next(now, key);
        Ok(())
    }

    /// Removes what was published (RFC 3903 §4.5).
    ///
    /// # Errors
    /// If there is no such publication any more.
    pub fn unpublish(&mut self, now: Instant, key: PublicationKey) -> Result<(), Error> {
        let published = self.publications.all.get_mut(&key).ok_or(Error::NoSuchPublication)?;
        if !published.is_leaving() {
            published.next = Some(Operation::Remove);
            self.publish_next(now, key);
        }
        Ok(())
    }

    /// Publications that are not over.
    pub fn publications(&self) -> impl Iterator<Item = PublicationKey> {
        self.publications.all.keys().copied()
    }

    fn publish_next(&mut self, now: Instant, key: PublicationKey) {
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        if published.client.is_some() {
            return;
        }
        let Some(operation) = published.next.take() else { return };
        if operation == Operation::Remove && published.etag.is_none() {
            return self.end_publication(key, PublicationEnd::Removed); // the server has nothing of it
        }
        if let Err(error) = self.send_publish(now, key, operation) {
            tracing::warn!(%error, "a PUBLISH could not be sent");
            self.publish_failed(now, key, Failure::Closed);
        }
    }

    fn send_publish(&mut self, now: Instant, key: PublicationKey, operation: Operation) -> Result<(), Error> {
        let published = self.publications.all.get_mut(&key).ok_or(Error::NoSuchPublication)?;
        published.operation = operation;
        published.cseq = published.cseq.saturating_add(1);
        let expires = if operation == Operation::Remove { 0 } else { published.asked };
        let plan = &published.plan;
        let hop = plan.route.first().map_or(&plan.to, |route| route.uri()).clone();
        let mut builder = Request::builder(Method::Publish, &plan.to)
            .headers(&plan.route)
            .header(&From(plan.from.clone()).with_tag(&published.tag))
            .header(&To::new(&plan.to))
            .header(&CallId::new(&published.call_id))
            .header(&CSeq::new(published.cseq, Method::Publish))
            .header(&plan.event)
            .header(&Expires(expires));
        if let Some(etag) = &published.etag {
            builder = builder.header(&SipIfMatch::new(etag));
        }
        for (name, value) in &plan.fields {
            builder = builder.raw(name.as_str(), value);
        }
        if operation == Operation::Publish {
            builder = builder.body(&plan.body.content_type, plan.body.octets.clone());
        }
        let request = self.finish(builder)?;
        self.subscriptions.alarms.cancel(Alarm::Publish(key));
        let tx = self.send(now, request, hop, Purpose::Events(EventPurpose::Publish(key)))?;
        let live = self.sent.contains_key(&tx);
        if let Some(published) = self.publications.all.get_mut(&key)
            && live
        {
            published.client = Some(tx);
        }
        Ok(())
    }

    pub(crate) fn publish_resent(&mut self, key: PublicationKey, tx: Option<ClientTx>) {
        if let Some(published) = self.publications.all.get_mut(&key) {
            published.client = tx;
            published.cseq = published.cseq.saturating_add(1); // the one with credentials has taken a number
        }
    }

    pub(crate) fn publish_answered(&mut self, now: Instant, key: PublicationKey, response: &Response) {
        let (patience, chance) = (self.patience(), self.chance());
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        published.client = None;
        let status = response.status();
        if published.operation == Operation::Remove {
            return self.end_publication(key, PublicationEnd::Removed); // 412: it was gone already
        }
        if !status.is_success() {
            return self.publish_refused(now, key, response);
        }
        published.established = true;
        (published.failures, published.too_brief, published.lost) = (0, 0, 0);
        // RFC 3903 §4.1: each 2xx has a tag of its own; what has none cannot be refreshed, and is published anew.
        published.etag = response.headers.get::<SipETag>().ok().flatten().map(|etag| etag.0);
        let granted = response.headers.get::<Expires>().ok().flatten();
        let granted = granted.map_or(published.asked, |expires| expires.0.min(published.asked));
        if granted == 0 {
            return self.end_publication(key, PublicationEnd::Refused(Box::new(response.clone()))); // it keeps nothing
        }
        let expires = Duration::from_secs(granted.into());
        let at = later(now, expires);
        self.subscriptions.alarms.arm(at, Alarm::Published(key));
        let refresh = now + refresh_after(expires, patience, chance);
        self.subscriptions.alarms.arm(refresh, Alarm::Publish(key));
        self.events.push_back(Event::Publication { key, what: PublicationChange::Published { expires } });
        self.publish_next(now, key);
    }

    fn publish_refused(&mut self, now: Instant, key: PublicationKey, response: &Response) {
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        let status = response.status();
        let least = response.headers.get::<MinExpires>().ok().flatten().map_or(0, |least| least.0);
        let too_brief = status == StatusCode::INTERVAL_TOO_BRIEF
            && least > published.asked
            && published.too_brief < MAX_CORRECTIONS;
        let lost = status == StatusCode::CONDITIONAL_REQUEST_FAILED
            && published.etag.is_some()
            && published.lost < MAX_CORRECTIONS;
        if too_brief {
            published.too_brief = published.too_brief.saturating_add(1);
            published.asked = least;
            let operation = published.operation;
            published.next.get_or_insert(operation);
            return self.publish_next(now, key);
        }
        if lost {
            // RFC 3903 §4.1: the server has forgotten it; once more from the beginning.
            published.lost = published.lost.saturating_add(1);
            published.etag = None;
            published.next.get_or_insert(Operation::Publish);
            self.subscriptions.alarms.cancel(Alarm::Published(key));
            return self.publish_next(now, key);
        }
        let wait = response.headers.get::<RetryAfter>().ok().flatten();
        let wait = wait.map(|wait| Duration::from_secs(wait.seconds.into()));
        let passing = status.class() == 5 || status == StatusCode::REQUEST_TIMEOUT;
        if passing && (published.established || wait.is_some()) {
            return self.publish_later(now, key, status, wait);
        }
        self.end_publication(key, PublicationEnd::Refused(Box::new(response.clone())));
    }

    pub(crate) fn publish_failed(&mut self, now: Instant, key: PublicationKey, failure: Failure) {
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        published.client = None;
        if published.operation == Operation::Remove {
            return self.end_publication(key, PublicationEnd::Removed); // it ends by itself
        }
        if published.established {
            return self.publish_later(now, key, failure.status(), None);
        }
        self.end_publication(key, PublicationEnd::Failed(failure));
    }

    fn publish_later(
        &mut self,
        now: Instant,
        key: PublicationKey,
        status: StatusCode,
        wait: Option<Duration>,
    ) {
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        published.failures = published.failures.saturating_add(1);
        let again = wait.unwrap_or_default().max(backoff(published.failures));
        // What the application wants next takes the place of what failed; a removal does not wait.
        match published.next {
            Some(Operation::Remove) => return self.publish_next(now, key),
            Some(_) => {}
            None => published.next = Some(published.operation),
        }
        self.subscriptions.alarms.arm(later(now, again), Alarm::Publish(key));
        self.events.push_back(Event::Publication { key, what: PublicationChange::Failed { status, again } });
    }

    pub(crate) fn publish_is_due(&mut self, now: Instant, key: PublicationKey) {
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        let operation = if published.etag.is_some() { Operation::Refresh } else { Operation::Publish };
        let next = published.next.get_or_insert(operation);
        if *next == Operation::Refresh && published.etag.is_none() {
            *next = Operation::Publish;
        }
        self.publish_next(now, key);
    }

    /// The server has dropped it: from here on only the whole state brings it back.
    pub(crate) fn publication_expired(&mut self, now: Instant, key: PublicationKey) {
        let Some(published) = self.publications.all.get_mut(&key) else { return };
        published.etag = None;
        if published.client.is_none() && published.next.is_none() {
            published.next = Some(Operation::Publish);
            self.publish_next(now, key);
        }
    }

    fn end_publication(&mut self, key: PublicationKey, end: PublicationEnd) {
        if self.drop_publication(key) {
            self.events.push_back(Event::Publication { key, what: PublicationChange::Ended(end) });
        }
    }

    fn drop_publication(&mut self, key: PublicationKey) -> bool {
        let Some(published) = self.publications.all.remove(&key) else { return false };
        self.subscriptions.alarms.cancel(Alarm::Publish(key));
        self.subscriptions.alarms.cancel(Alarm::Published(key));
        if let Some(tx) = published.client {
            self.sent.remove(&tx);
        }
        self.credentials.forget(&published.call_id);
        true
    }
}

impl Published {
    /// Whether its removal is under way, or the next thing to come.
    fn is_leaving(&self) -> bool {
        self.next == Some(Operation::Remove) || (self.client.is_some() && self.operation == Operation::Remove)
    }
}
