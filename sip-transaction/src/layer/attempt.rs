//! One request, several places: RFC 3263 §4, RFC 3261 §18.1.1.

use super::cancel::Cancel;
use super::client::{ClientEntry, Input, Machine, Previous, ack};
use super::{Named, Transactions};
use crate::branch;
use crate::error::Failure;
use crate::event::{Event, Target};
use crate::slab::Key;
use sip_message::headers::Via;
use sip_message::{Method, Request, Response};
use sip_transport::resolve::{MAX_DATAGRAM_REQUEST, Need, Resolution, Step};
use sip_transport::{Local, Outbox, Path, Query, Records, ResolveError, Token, Transmit, Transport};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// What our Via adds to a request, at most: needed before it is known which listener will stand in it.
const VIA_ROOM: usize = 160;

impl Transactions {
    /// The host that has to be proven where the way to a target is secure (RFC 5922 §7.3). Only hosts that can speak over
    /// more than UDP and TCP need to remember it.
    pub(super) fn domain_of(&self, target: &Target) -> Option<Arc<str>> {
        let Target::Uri(uri) = target else { return None };
        let supported = self.locals.supported();
        let needed = [Transport::Tls, Transport::Ws, Transport::Wss].into_iter().any(|t| supported.any(t));
        needed.then(|| uri.host().into())
    }

    /// The places that a target names, or the resolution that will name them.
    pub(super) fn places(
        &mut self,
        request: &Request,
        target: Target,
    ) -> (VecDeque<Path>, Option<Box<Resolution>>) {
        let size = request.to_bytes().len().saturating_add(VIA_ROOM);
        match target {
            Target::Uri(uri) => {
                let need = Need { size, supported: self.locals.supported(), random: self.rng.number() };
                (VecDeque::new(), Some(Box::new(Resolution::new(&uri, need))))
            }
            Target::Path(path) => {
                let mut places = VecDeque::with_capacity(2);
                // §18.1.1: over a connection if it can be had, over UDP if not. A flow that was asked for is kept.
                if path.transport == Transport::Udp && path.flow.is_none() && size > MAX_DATAGRAM_REQUEST {
                    let tcp = Path::to(Transport::Tcp, path.remote);
                    if self.locals.for_path(Transport::Tcp, path.remote).is_some() {
                        places.push_back(tcp);
                    }
                }
                places.push_back(path);
                (places, None)
            }
        }
    }

    /// Goes on with a transaction that was just made or got an answer: asks the next question, or sends.
    pub(super) fn resolve_or_start(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        if let Some(resolution) = &entry.waiting {
            match resolution.step() {
                Step::Ask(question) => {
                    out.query(Query { key: Named::Client(key).query(), question });
                    return;
                }
                Step::Done(candidates) => {
                    entry.places = candidates
                        .into_iter()
                        .map(|candidate| Path::to(candidate.transport, candidate.remote))
                        .collect();
                    entry.waiting = None;
                }
                Step::Failed(reason) => {
                    self.report(key, Failure::Resolve(reason), out);
                    self.end_client(key, out);
                    return;
                }
            }
        }
        if let Some(entry) = self.clients.get_mut(key) {
            entry.places.truncate(self.limits.attempts);
        }
        if !self.start(now, key, out) {
            self.report(key, Failure::Transport(sip_transport::SendError::NoLocal), out);
            self.end_client(key, out);
        }
    }

    pub(super) fn client_resolved(
        &mut self,
        now: Instant,
        key: Key,
        records: Result<Records, ResolveError>,
        out: &mut impl Outbox<Event>,
    ) {
        if let Some(resolution) = self.clients.get_mut(key).and_then(|entry| entry.waiting.as_mut()) {
            resolution.answer(records);
            self.resolve_or_start(now, key, out);
        }
    }

    /// Sends the request to the next place that can be reached from here; `false` if there is none left.
    fn start(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) -> bool {
        let nonce = self.rng.number();
        let Some(entry) = self.clients.get_mut(key) else { return false };
        let (path, local) = loop {
            let Some(path) = entry.places.pop_front() else { return false };
            // A path with a flow names its listener, any other takes the one that reaches the remote.
            let local = match path.flow {
                Some(_) => self.locals.at(&path),
                None => self.locals.for_path(path.transport, path.remote),
            };
            if let Some(local) = local {
                break (path, local);
            }
        };
        let Some(request) = &mut entry.request else { return false };
        if !entry.payload.is_empty() {
            // There was an attempt before: take its Via off. It is our own and can be read.
            let _ = request.headers.pop_front::<Via>();
        } else if path.transport == Transport::Tcp
            && entry.places.front().is_some_and(|next| is_udp_twin(&path, next))
        {
            self.counters.moved_to_tcp = self.counters.moved_to_tcp.saturating_add(1);
        }
        request.headers.push_front(&via(local, path.transport, &branch::mint(key, nonce)));
        entry.path = if path.flow.is_some() { path } else { Path { local: local.bound, ..path } };
        entry.nonce = nonce;
        entry.payload = request.to_bytes();
        entry.machine = Machine::new(&entry.method);
        entry.error = None;
        entry.ack = None;
        let running = std::mem::take(&mut entry.running);
        self.stop(running);
        self.counters.sent = self.counters.sent.saturating_add(1);
        self.transmit_request(key, out);
        self.client_step(now, key, Input::Sent, None, out);
        true
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
            entry.places.retain(|place| place.remote != remote);
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
        let invite = entry.request.as_ref().filter(|_| entry.method == Method::Invite);
        let previous = invite.and_then(|request| ack(request, response)).map(|ack| Previous {
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
