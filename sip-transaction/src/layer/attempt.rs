//! One request, several places: RFC 3263 §4, RFC 3261 §18.1.1.

use super::cancel::Cancel;
use super::client::{ClientEntry, Input, Machine, Previous, ack};
use super::{Due, Named, Transactions};
use crate::branch;
use crate::error::Failure;
use crate::event::{Event, Target};
use crate::slab::Key;
use sip_message::headers::{RetryAfter, Via};
use sip_message::{Method, Request, Response};
use sip_transport::resolve::{Candidate, MAX_DATAGRAM_REQUEST, Need, Progress, Resolution};
use sip_transport::{Answer, Local, Locals, Outbox, Path, Query, Token, Transmit, Transport};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What our Via adds to a request, at most: needed before it is known which listener will stand in it.
const VIA_ROOM: usize = 160;

/// One place to try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) path: Path,
    /// Which of the hosts of its domain it belongs to.
    pub(super) host: u16,
}

impl Place {
    /// Whether the path leads there.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        (self.path.transport, self.path.remote) == (path.transport, path.remote)
    }
}

impl From<Path> for Place {
    fn from(path: Path) -> Self {
        Self { path, host: 0 }
    }
}

impl From<Candidate> for Place {
    fn from(candidate: Candidate) -> Self {
        Self { path: Path::to(candidate.transport, candidate.remote), host: candidate.host }
    }
}

impl Transactions {
    /// The host that has to be proven where the way to a target is secure (RFC 5922 §7.3). Only hosts that can speak over
    /// more than UDP and TCP need to remember it.
    pub(super) fn domain_of(&self, target: &Target) -> Option<Arc<str>> {
        let uri = match target {
            Target::Proving(_, domain) => return Some(domain.clone()),
            Target::Uri(uri) => uri,
            Target::Path(_) => return None,
        };
        let supported = self.locals.supported();
        let needed = [Transport::Tls, Transport::Ws, Transport::Wss].into_iter().any(|t| supported.any(t));
        needed.then(|| uri.host().into())
    }

    /// What chooses among servers of equal weight.
    pub(super) fn choice(&mut self, target: &Target) -> u64 {
        if matches!(target, Target::Path(_)) { 0 } else { self.rng.number() }
    }

    /// The places that a target names, or the resolution that will name them.
    pub(super) fn places(
        &self,
        request: &Request,
        target: Target,
        random: u64,
    ) -> (VecDeque<Place>, Option<Box<Resolution>>) {
        let size = request.to_bytes().len().saturating_add(VIA_ROOM);
        match target {
            Target::Uri(uri) | Target::Proving(uri, _) => {
                let need = Need { size, supported: self.locals.supported(), random };
                (VecDeque::new(), Some(Box::new(Resolution::new(&uri, need))))
            }
            Target::Path(path) => {
                let mut places = VecDeque::with_capacity(2);
                // §18.1.1: over a connection if it can be had, over UDP if not. A flow that was asked for is kept.
                if path.transport == Transport::Udp && path.flow.is_none() && size > MAX_DATAGRAM_REQUEST {
                    let tcp = Path::to(Transport::Tcp, path.remote);
                    if self.locals.for_path(Transport::Tcp, path.remote).is_some() {
                        places.push_back(tcp.into());
                    }
                }
                places.push_back(path.into());
                (places, None)
            }
        }
    }

    /// Goes on with a transaction that was just made or got an answer: asks the next question, or sends.
    pub(super) fn resolve_or_start(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        if let Some(resolution) = &mut entry.waiting {
            for question in resolution.ask() {
                out.query(Query { key: Named::Client(key).query(), question });
            }
            match resolution.progress() {
                Progress::Waiting(patience) => return self.wait(now, key, patience),
                Progress::Done(candidates) => {
                    entry.places = candidates.into_iter().map(Place::from).collect();
                    entry.waiting = None;
                }
                Progress::Failed(reason) => {
                    self.report_failure(key, Failure::Resolve(reason), out);
                    self.end_client(key, out);
                    return;
                }
            }
        }
        if let Some(entry) = self.clients.get_mut(key) {
            if self.dead.last(now, &mut entry.places) {
                self.counters.passed_over = self.counters.passed_over.saturating_add(1);
            }
            entry.places.truncate(self.limits.attempts);
        }
        if !self.start(now, key, out) {
            let spared = self.clients.get(key).is_some_and(|entry| entry.spared);
            let nowhere = Failure::Transport(sip_transport::SendError::NoLocal);
            self.report_failure(key, if spared { Failure::Overloaded } else { nowhere }, out);
            self.end_client(key, out);
        }
    }

    pub(super) fn client_resolved(
        &mut self,
        now: Instant,
        key: Key,
        answer: Answer,
        out: &mut impl Outbox<Event>,
    ) {
        if let Some(resolution) = self.clients.get_mut(key).and_then(|entry| entry.waiting.as_mut()) {
            resolution.answer(&answer.question, answer.records);
            self.resolve_or_start(now, key, out);
        }
    }

    /// Waits for answers; with a time, no longer than that for the next one.
    fn wait(&mut self, now: Instant, key: Key, patience: Option<Duration>) {
        if let Some(id) = self.clients.get_mut(key).and_then(|entry| entry.running.pace.take()) {
            self.timers.cancel(id);
        }
        if let Some(patience) = patience {
            self.arm(now, Due::Settle(Named::Client(key)), patience);
        }
    }

    /// Goes on without the answers that have not come.
    pub(super) fn settle(&mut self, now: Instant, waiting: Named, out: &mut impl Outbox<Event>) {
        match waiting {
            Named::Client(key) => {
                let Some(entry) = self.clients.get_mut(key) else { return };
                entry.running.pace = None;
                if let Some(resolution) = &mut entry.waiting {
                    resolution.settle();
                    self.resolve_or_start(now, key, out);
                }
            }
            Named::Pending(key) => self.settle_pending(now, key, out),
            Named::Server(_) => {}
        }
    }

    /// Sends the request to the next place that can be reached from here; `false` if there is none left.
    pub(super) fn start(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) -> bool {
        let chance = self.rng.number();
        let Some(entry) = self.clients.get_mut(key) else { return false };
        let place = loop {
            let Some(place) = entry.places.pop_front() else { return false };
            if listener(&self.locals, &place.path).is_none() {
                continue;
            }
            // RFC 7339 §5.5: those who asked for it are spared; another server may have room.
            if !self.reports.is_empty()
                && entry
                    .request()
                    .is_some_and(|request| self.reports.spare(now, &place.path, &request, chance))
            {
                self.counters.spared = self.counters.spared.saturating_add(1);
                entry.spared = true;
                continue;
            }
            // §5.9: who has fallen silent is left alone, but for one request now and then.
            if entry.request().is_some_and(|request| self.silence.holds_back(now, &place.path, &request)) {
                self.counters.spared = self.counters.spared.saturating_add(1);
                entry.spared = true;
                continue;
            }
            break place;
        };
        if !self.begin_race(now, key, place, out) {
            self.launch(now, key, place.path, out);
        }
        true
    }

    /// A request to this place was not answered, or could not be sent.
    pub(super) fn place_failed(&mut self, now: Instant, path: &Path) {
        self.dead.failed(now, path);
        if self.heed_overload {
            self.silence.failed(now, path);
        }
    }

    /// Sends the request on this path.
    pub(super) fn launch(&mut self, now: Instant, key: Key, path: Path, out: &mut impl Outbox<Event>) {
        let nonce = self.rng.number();
        let Some(local) = listener(&self.locals, &path) else { return };
        let Some(entry) = self.clients.get_mut(key) else { return };
        let Some(mut request) = entry.take_request() else { return };
        if !entry.payload.is_empty() {
            // There was an attempt before: take its Via off. It is our own and can be read.
            let _ = request.headers.pop_front::<Via>();
        } else if path.transport == Transport::Tcp
            && entry.places.iter().any(|next| is_udp_twin(&path, &next.path))
        {
            self.counters.moved_to_tcp = self.counters.moved_to_tcp.saturating_add(1);
        }
        let mut own = via(local, path.transport, &branch::mint(key, nonce));
        if self.heed_overload {
            own = own.with_param("oc", None).with_param("oc-algo", Some("\"loss\""));
        }
        if self.offer_keep_alive && *request.method() == Method::Register {
            own = own.with_param("keep", None);
        }
        request.headers.push_front(&own);
        entry.path = if path.flow.is_some() { path } else { Path { local: local.bound, ..path } };
        entry.nonce = nonce;
        entry.payload = request.to_bytes();
        entry.machine = Machine::new(&entry.method);
        entry.error = None;
        entry.moved = false;
        entry.ack = None;
        let running = std::mem::take(&mut entry.running);
        self.stop(running);
        self.counters.sent = self.counters.sent.saturating_add(1);
        self.transmit_request(key, out);
        self.watch(now, key);
        self.client_step(now, key, Input::Sent, None, out);
    }

    /// Starts the next attempt, if there is one to make. After a timeout the same server is not asked again over
    /// another transport: that is only for requests which could not be sent (RFC 3261 §18.1.1).
    pub(super) fn try_elsewhere(
        &mut self,
        now: Instant,
        key: Key,
        was_reached: bool,
        out: &mut impl Outbox<Event>,
    ) -> bool {
        let Some(entry) = self.clients.get_mut(key) else { return false };
        if !matches!(entry.cancel, Cancel::No) {
            return false;
        }
        if was_reached {
            let remote = entry.path.remote;
            entry.places.retain(|place| place.path.remote != remote);
        }
        let started = self.start(now, key, out);
        if started {
            self.counters.failovers = self.counters.failovers.saturating_add(1);
        }
        started
    }

    /// RFC 3263 §4.3: a 503 makes a client try the next server. An INVITE's 503 is acknowledged first, and again
    /// whenever it comes again.
    pub(super) fn try_elsewhere_after_503(
        &mut self,
        now: Instant,
        key: Key,
        response: &Response,
        out: &mut impl Outbox<Event>,
    ) -> bool {
        let Some(entry) = self.clients.get_mut(key) else { return false };
        if !entry.machine.is_early() {
            return false;
        }
        // §21.5.4: for the time of Retry-After the client SHOULD NOT forward other requests to it.
        if let Ok(Some(retry_after)) = response.headers.get::<RetryAfter>() {
            let time = Duration::from_secs(retry_after.seconds.into());
            self.dead.asked_for_peace(now, &entry.path, time);
        }
        let invite = if entry.method == Method::Invite { entry.request() } else { None };
        let previous = invite.and_then(|request| ack(&request, response)).map(|ack| Previous {
            nonce: entry.nonce,
            path: entry.path,
            ack,
        });
        if !self.try_elsewhere(now, key, true, out) {
            return false;
        }
        if let Some(previous) = previous
            && let Some(entry) = self.clients.get_mut(key)
        {
            let (path, payload) = (previous.path, previous.ack.clone());
            entry.previous.push(previous);
            let domain = entry.domain.clone();
            out.transmit(Transmit { path, payload, reopen: None, domain, token: Token::NONE });
        }
        true
    }
}

/// The listener whose name stands in the Via: a path with a flow names it, any other takes the one that reaches the
/// remote.
pub(super) fn listener<'a>(locals: &'a Locals, path: &Path) -> Option<&'a Local> {
    match path.flow {
        Some(_) => locals.at(path),
        None => locals.for_path(path.transport, path.remote),
    }
}

fn is_udp_twin(tcp: &Path, other: &Path) -> bool {
    other.transport == Transport::Udp && other.remote == tcp.remote
}

/// Our Via (RFC 3261 §18.1.1, RFC 3581 §3).
pub(super) fn via(local: &Local, transport: Transport, branch: &str) -> Via {
    let via = Via::new(transport.as_str(), &local.host, Some(local.port))
        .with_param("rport", None)
        .with_param("branch", Some(branch));
    // RFC 5923 §5: who has a certificate to show offers his connection for the other direction too.
    if local.alias { via.with_param("alias", None) } else { via }
}

impl ClientEntry {
    /// The CANCEL goes where its INVITE went, in one attempt.
    pub(super) fn cancel_of(invite: &Self, invite_key: Key, request: Request) -> Self {
        let payload = request.to_bytes();
        let mut entry = Self::new(request, invite.path);
        entry.payload = payload;
        entry.nonce = invite.nonce;
        entry.domain.clone_from(&invite.domain);
        entry.cancels = Some(invite_key);
        entry
    }
}
