//! What has no transaction: ACK for 2xx, answers to what we refuse to remember (RFC 3261 §8.2.7, §16.11, §17.1.1.3).

use super::attempt::{Place, listener, via};
use super::client::add_max_forwards;
use super::{Due, Named, Running, Transactions};
use crate::branch;
use crate::error::{SendError, Unsendable};
use crate::event::{Event, Target};
use crate::overload::Report;
use crate::slab::Key;
use sip_message::headers::Via;
use sip_message::{Method, Request, Response, StatusCode};
use sip_transport::resolve::{Progress, Resolution};
use sip_transport::response::{NoWay, path_of, way};
use sip_transport::{Answer, Outbox, Path, Query, Token, Transmit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// A request that waits for DNS.
#[derive(Debug)]
pub(super) struct Pending {
    request: Request,
    resolution: Box<Resolution>,
    domain: Option<Arc<str>>,
    via: Option<StatelessVia>,
    /// The time for which the last answers are waited for.
    pub(super) running: Running,
}

/// What a proxy that keeps no state writes into its Via (RFC 3261 §16.11): the same for every repetition of a request, for its CANCEL
/// and for the ACK to its failure.
#[derive(Clone, Debug)]
pub struct StatelessVia {
    /// The branch, which begins with the magic cookie.
    pub branch: String,
    /// A parameter by which the proxy knows its responses.
    pub param: (&'static str, String),
    /// Chooses among servers of equal weight (RFC 2782).
    pub choice: u64,
}

impl Transactions {
    /// Forwards a request without a transaction, as a stateless proxy does (RFC 3261 §16.11): a repetition with the same `via` goes
    /// where the request went. Its responses are none of this layer's: take them before it gets them.
    ///
    /// # Errors
    /// The request comes back if too many wait for DNS.
    pub fn forward_stateless(
        &mut self,
        request: Request,
        target: Target,
        via: StatelessVia,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), SendError> {
        self.send_without(request, target, Some(via), out)
    }

    /// Whether a request, or what a CANCEL or an ACK is for, has a transaction here.
    pub fn has_transaction(&mut self, request: &Request) -> bool {
        let Ok(Some(via)) = request.headers.get::<Via>() else { return false };
        let method = match request.method() {
            Method::Ack | Method::Cancel => &Method::Invite,
            method => method,
        };
        self.find(request, &via, method).is_some()
    }

    /// Sends a request without a transaction: an ACK for a 2xx, of a user agent or forwarded by a proxy. A Via with
    /// a branch of its own is added, and Max-Forwards if it is missing. Nobody repeats it: the 2xx is repeated
    /// until an ACK arrives, and its receiver sends the ACK again (RFC 3261 §13.2.2.4).
    ///
    /// # Errors
    /// The request comes back if too many wait for DNS.
    pub fn send_stateless(
        &mut self,
        request: Request,
        target: Target,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), SendError> {
        self.send_without(request, target, None, out)
    }

    fn send_without(
        &mut self,
        mut request: Request,
        target: Target,
        via: Option<StatelessVia>,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), SendError> {
        add_max_forwards(&mut request);
        let domain = self.domain_of(&target);
        let choice = match &via {
            Some(via) => via.choice,
            None => self.choice(&target),
        };
        let (places, waiting) = self.places(&request, target, choice);
        let Some(mut resolution) = waiting else {
            self.send_to_first(request, places, domain, via, out);
            return Ok(());
        };
        if !matches!(resolution.progress(), Progress::Waiting(_)) {
            self.send_to_first(request, places_of(resolution.progress()), domain, via, out);
            return Ok(());
        }
        if self.pending.len() >= self.limits.stateless_pending {
            let reason = Unsendable::TooMany(self.limits.stateless_pending);
            return Err(SendError { request: Box::new(request), reason });
        }
        // There is no answer yet that could be waited for a limited time.
        let questions = resolution.ask();
        let key =
            self.pending.insert(Pending { request, resolution, domain, via, running: Running::default() });
        for question in questions {
            out.query(Query { key: Named::Pending(key).query(), question });
        }
        Ok(())
    }

    pub(super) fn pending_resolved(
        &mut self,
        now: Instant,
        key: Key,
        answer: Answer,
        out: &mut impl Outbox<Event>,
    ) {
        if let Some(pending) = self.pending.get_mut(key) {
            pending.resolution.answer(&answer.question, answer.records);
            self.go_on(now, key, out);
        }
    }

    pub(super) fn settle_pending(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) {
        if let Some(pending) = self.pending.get_mut(key) {
            pending.resolution.settle();
            self.go_on(now, key, out);
        }
    }

    /// Asks what is to be asked next, or sends.
    fn go_on(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        for question in pending.resolution.ask() {
            out.query(Query { key: Named::Pending(key).query(), question });
        }
        let running = std::mem::take(&mut pending.running);
        let progress = pending.resolution.progress();
        self.stop(running);
        match progress {
            Progress::Waiting(None) => {}
            Progress::Waiting(Some(patience)) => self.arm(now, Due::Settle(Named::Pending(key)), patience),
            Progress::Done(_) | Progress::Failed(_) => {
                if let Some(pending) = self.pending.remove(key) {
                    let mut places = places_of(progress);
                    if pending.via.is_none() {
                        self.dead.last(now, &mut places);
                    }
                    self.send_to_first(pending.request, places, pending.domain, pending.via, out);
                }
            }
        }
    }

    fn send_to_first(
        &mut self,
        mut request: Request,
        places: VecDeque<Place>,
        domain: Option<Arc<str>>,
        stateless: Option<StatelessVia>,
        out: &mut impl Outbox<Event>,
    ) {
        let usable = places
            .iter()
            .find_map(|Place { path, .. }| listener(&self.locals, path).map(|local| (*path, local)));
        let Some((path, local)) = usable else {
            self.counters.failed = self.counters.failed.saturating_add(1);
            return;
        };
        let own = match stateless {
            Some(StatelessVia { branch, param: (name, value), .. }) => {
                via(local, path.transport, &branch).with_param(name, Some(&value))
            }
            None => via(local, path.transport, &branch::mint(Key::NONE, self.rng.number())),
        };
        let path = if path.flow.is_some() { path } else { Path { local: local.bound, ..path } };
        request.headers.push_front(&own);
        self.counters.sent = self.counters.sent.saturating_add(1);
        out.transmit(Transmit {
            path,
            payload: request.to_bytes(),
            reopen: None,
            domain,
            token: Token::NONE,
        });
    }

    /// Sends a response without a transaction, on the way that its top Via and the path of its request tell
    /// (RFC 3261 §18.2.2).
    ///
    /// # Errors
    /// If the response has no Via that can be read.
    pub fn respond_stateless(
        &mut self,
        response: &Response,
        request_path: &Path,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), NoWay> {
        let way = path_of(response, request_path)?;
        let payload = response.to_bytes();
        out.transmit(Transmit {
            path: way.path,
            payload,
            reopen: way.reopen,
            domain: None,
            token: Token::NONE,
        });
        Ok(())
    }

    /// Answers a request that gets no transaction. The To tag tells its ACK from others.
    pub(super) fn refuse(
        &mut self,
        request: &Request,
        via: &Via,
        path: &Path,
        status: StatusCode,
        reason: &str,
        out: &mut impl Outbox<Event>,
    ) {
        let mut builder = request.reply(status).to_tag(&self.stateless_tag).reason(reason);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            builder = builder.raw("Retry-After", &self.retry_after().to_string());
        }
        let Ok(mut response) = builder.build() else { return };
        if Report::is_wanted(via) {
            let report = self.report();
            let _ = response.headers.update_first::<Via>(|via| report.write(via));
        }
        let way = way(via, path);
        let payload = response.to_bytes();
        out.transmit(Transmit {
            path: way.path,
            payload,
            reopen: way.reopen,
            domain: None,
            token: Token::NONE,
        });
    }
}

/// What was found; nothing if that failed.
fn places_of(progress: Progress) -> VecDeque<Place> {
    match progress {
        Progress::Done(candidates) => candidates.into_iter().map(Place::from).collect(),
        Progress::Waiting(_) | Progress::Failed(_) => VecDeque::new(),
    }
}
