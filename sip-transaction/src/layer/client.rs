//! Client transactions: RFC 3261 §17.1.

use super::attempt::Place;
use super::broken::silent;
use super::cancel::Cancel;
use super::dead::is_its_fault;
use super::race::Race;
use super::{Due, Named, Running, Transactions};
use crate::error::{Failure, SendError, Unsendable};
use crate::event::{ClientTx, Event, Target};
use crate::fsm::{Action, Actions, Client, Failing, InviteClient, Slot, Timer, client, invite_client};
use crate::slab::Key;
use bytes::Bytes;
use sip_message::headers::{CSeq, MaxForwards, Via};
use sip_message::{HeaderName, Limits, Method, Request, Response, StatusCode};
use sip_transport::resolve::Resolution;
use sip_transport::{Outbox, Path, Transmit, Transport};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// The machine of one client transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Machine {
    Invite(InviteClient),
    Other(Client),
}

impl Machine {
    pub(super) fn new(method: &Method) -> Self {
        if *method == Method::Invite { Self::Invite(InviteClient::new()) } else { Self::Other(Client::new()) }
    }

    /// A provisional response, and no final one yet.
    pub(super) const fn is_proceeding(self) -> bool {
        matches!(self, Self::Invite(InviteClient::Proceeding) | Self::Other(Client::Proceeding))
    }

    /// No final response yet.
    pub(super) const fn is_early(self) -> bool {
        matches!(
            self,
            Self::Invite(InviteClient::Calling { .. } | InviteClient::Proceeding)
                | Self::Other(Client::Trying { .. } | Client::Proceeding)
        )
    }
}

/// What can happen to a client transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Sent,
    Status(StatusCode),
    Cancelled,
    Fired(Timer),
    TransportError,
}

/// One client transaction: everything between a request and its final response, over as many attempts as it takes.
#[derive(Debug)]
pub(super) struct ClientEntry {
    pub(super) machine: Machine,
    pub(super) method: Method,
    /// The request as it was given, until it is sent.
    given: Option<Box<Request>>,
    /// The request as it was sent last, with our Via on top. Until the final response.
    pub(super) payload: Bytes,
    /// Where to.
    pub(super) path: Path,
    /// What the next hop has to prove over TLS: the host that it was found by (RFC 5922 §7.3).
    pub(super) domain: Option<Arc<str>>,
    /// A place was passed over because it asked to be spared (RFC 7339).
    pub(super) spared: bool,
    /// The random part of the branch of this attempt.
    pub(super) nonce: u64,
    pub(super) running: Running,
    /// While the answer of the DNS is awaited.
    pub(super) waiting: Option<Box<Resolution>>,
    /// Places not tried yet.
    pub(super) places: VecDeque<Place>,
    /// While connections are being opened for it.
    pub(super) race: Option<Box<Race>>,
    /// INVITEs of earlier attempts that were answered 503: the response may come again and wants its ACK.
    pub(super) previous: Vec<Previous>,
    pub(super) cancel: Cancel,
    /// The ACK for the failure response to INVITE.
    pub(super) ack: Option<Bytes>,
    /// This is the CANCEL for that INVITE: nobody outside knows of it.
    pub(super) cancels: Option<Key>,
    /// Why the last attempt could not be sent.
    pub(super) error: Option<sip_transport::SendError>,
    /// The path is a flow that nothing can replace.
    pub(super) fixed: bool,
    /// Where it is found should its connection break, while nothing was answered.
    pub(super) watched: Option<(Transport, SocketAddr)>,
    /// When the request was sent last over a connection.
    pub(super) sent: Option<Instant>,
    /// It left from an address that is none of ours any more.
    pub(super) moved: bool,
    /// An INVITE that has its 2xx.
    pub(super) answered: bool,
}

#[derive(Debug)]
pub(super) struct Previous {
    pub(super) nonce: u64,
    pub(super) path: Path,
    pub(super) ack: Bytes,
}

/// What was read or built once can be read again, whatever it is.
fn no_limits() -> Limits {
    let mut limits = Limits::default();
    limits.message = usize::MAX;
    limits.start_line = usize::MAX;
    limits.field = u16::MAX.into();
    limits.fields = usize::MAX;
    limits.elements = usize::MAX;
    limits.parameters = usize::MAX;
    limits.uri = usize::MAX;
    limits.depth = Limits::DEEPEST;
    limits.parts = usize::MAX;
    limits
}

impl ClientEntry {
    /// The request, with our Via on top once it was sent; none after the final response. What was sent is read from its octets: few
    /// are needed again, for ACK, CANCEL or another place, and a message with its edits takes as much as two without.
    pub(super) fn request(&self) -> Option<Cow<'_, Request>> {
        match &self.given {
            Some(given) => Some(Cow::Borrowed(given)),
            None => self.sent_request().map(Cow::Owned),
        }
    }

    /// The same to be changed, and then [`given`](Self::give) once more.
    pub(super) fn take_request(&mut self) -> Option<Box<Request>> {
        self.given.take().or_else(|| self.sent_request().map(Box::new))
    }

    pub(super) fn give(&mut self, request: Box<Request>) {
        self.given = Some(request);
    }

    fn sent_request(&self) -> Option<Request> {
        if self.payload.is_empty() {
            return None;
        }
        Request::parse(self.payload.clone(), &no_limits()).ok()
    }

    pub(super) fn new(request: Request, path: Path) -> Self {
        Self {
            machine: Machine::new(request.method()),
            method: request.method().clone(),
            given: Some(Box::new(request)),
            payload: Bytes::new(),
            path,
            domain: None,
            spared: false,
            nonce: 0,
            running: Running::default(),
            waiting: None,
            places: VecDeque::new(),
            race: None,
            previous: Vec::new(),
            cancel: Cancel::No,
            ack: None,
            cancels: None,
            error: None,
            fixed: false,
            watched: None,
            sent: None,
            moved: false,
            answered: false,
        }
    }
}

impl Transactions {
    /// Sends a request in a client transaction of its own (RFC 3261 §17.1).
    ///
    /// The layer adds the top Via (branch, sent-by of the listener used, `rport`), Max-Forwards if it is missing,
    /// finds the next hop (RFC 3263), moves requests over 1300 octets from UDP to TCP where it can (§18.1.1) and
    /// tries the next place when one cannot be reached, does not answer or answers 503 (RFC 3263 §4.3). To the
    /// user all that is one transaction. What becomes of it comes as [`Event::Response`] or [`Event::Failed`],
    /// the latter possibly before this function returns.
    ///
    /// # Errors
    /// The request comes back if it is an ACK or a CANCEL, if a field needed for matching is missing, or if too many
    /// transactions are live (for a BYE: twice as many).
    pub fn send(
        &mut self,
        now: Instant,
        request: Request,
        target: Target,
        out: &mut impl Outbox<Event>,
    ) -> Result<ClientTx, SendError> {
        let mut request = match self.sendable(&request) {
            Ok(()) => request,
            Err(reason) => return Err(SendError { request: Box::new(request), reason }),
        };
        add_max_forwards(&mut request);
        let domain = self.domain_of(&target);
        let fixed = matches!(&target, Target::Path(path) if path.flow.is_some());
        let choice = self.choice(&target);
        let (places, waiting) = self.places(&request, target, choice);
        let path = places.front().map_or_else(nowhere, |place| place.path);
        let key = self.clients.insert(ClientEntry::new(request, path));
        if let Some(entry) = self.clients.get_mut(key) {
            entry.places = places;
            entry.waiting = waiting;
            entry.domain = domain;
            entry.fixed = fixed;
        }
        self.resolve_or_start(now, key, out);
        Ok(ClientTx(key))
    }

    fn sendable(&self, request: &Request) -> Result<(), Unsendable> {
        let method = request.method();
        if matches!(method, Method::Ack | Method::Cancel) {
            return Err(Unsendable::Method(method.clone()));
        }
        let limit = self.limits.clients_for(method);
        if self.clients.len() >= limit {
            return Err(Unsendable::TooMany(limit));
        }
        for name in [HeaderName::FROM, HeaderName::TO, HeaderName::CALL_ID] {
            if !request.headers.contains(name) {
                return Err(Unsendable::Header(sip_message::HeaderError::Missing(name)));
            }
        }
        let cseq = request.headers.require::<CSeq>()?;
        if cseq.method != *method {
            return Err(Unsendable::CSeq { cseq: cseq.method, method: method.clone() });
        }
        // ACK and CANCEL are made with it later.
        request.uri().map_err(Unsendable::Uri)?;
        Ok(())
    }

    /// Forgets a client transaction without any word to the peer: for owners whose own timer ran out, such as a
    /// proxy's Timer C (RFC 3261 §16.8) after its CANCEL had no effect. [`Event::ClientTerminated`] follows.
    ///
    /// `false`: it was over already.
    pub fn abandon(&mut self, tx: ClientTx, out: &mut impl Outbox<Event>) -> bool {
        let live = self.clients.get(tx.0).is_some();
        self.end_client(tx.0, out);
        live
    }

    pub(super) fn client_fired(
        &mut self,
        now: Instant,
        key: Key,
        timer: Timer,
        out: &mut impl Outbox<Event>,
    ) {
        if let Some(entry) = self.clients.get_mut(key) {
            *entry.running.slot(timer.slot()) = None;
            self.client_step(now, key, Input::Fired(timer), None, out);
        }
    }

    pub(super) fn client_send_failed(
        &mut self,
        now: Instant,
        key: Key,
        path: &Path,
        error: sip_transport::SendError,
        out: &mut impl Outbox<Event>,
    ) {
        if self.runner_failed(now, key, path, error, out) {
            return;
        }
        // The word about an earlier attempt may come late.
        if let Some(entry) = self.clients.get_mut(key)
            && (entry.path.transport, entry.path.remote) == (path.transport, path.remote)
        {
            entry.error = Some(error);
            if is_its_fault(error) {
                self.place_failed(now, path);
            }
            self.client_step(now, key, Input::TransportError, None, out);
        }
    }

    /// Lets the machine take one step and does what it wants. `received`: the response that is the reason.
    pub(super) fn client_step(
        &mut self,
        now: Instant,
        key: Key,
        input: Input,
        mut received: Option<(Response, Path)>,
        out: &mut impl Outbox<Event>,
    ) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        let (early, heard) = (entry.machine.is_early(), entry.machine.is_proceeding());
        if matches!(input, Input::Status(status) if status != StatusCode::SERVICE_UNAVAILABLE) {
            self.dead.answered(&entry.path);
            self.silence.answered(&entry.path);
        }
        let actions = step(&mut entry.machine, input, &self.timing, entry.path.transport.is_reliable());
        for action in actions.iter() {
            match action {
                Action::Resend => {
                    self.counters.retransmitted = self.counters.retransmitted.saturating_add(1);
                    self.transmit_request(key, out);
                }
                Action::Ack => self.acknowledge(key, received.as_ref().map(|(response, _)| response), out),
                Action::Deliver => {
                    if let Some((response, path)) = received.take() {
                        self.deliver(key, response, path, out);
                    }
                }
                Action::Arm(timer, after) => self.arm(now, Due::Client(key, timer), after),
                Action::Disarm(slot) => self.disarm_client(key, slot),
                Action::Fail(failing) => {
                    if early {
                        let timeout = failing == Failing::Timeout;
                        if timeout
                            && !heard
                            && let Some(entry) = self.clients.get(key)
                        {
                            silent(entry, out);
                            let path = entry.path;
                            self.place_failed(now, &path);
                        }
                        // RFC 3263 §4.3: who sent a provisional response has the request.
                        if !(timeout && heard) && self.try_elsewhere(now, key, timeout, out) {
                            return;
                        }
                        self.fail(key, failing, out);
                    }
                }
                Action::Done => self.end_client(key, out),
                Action::Reply | Action::Trying | Action::Unacknowledged => {} // a server's
            }
        }
        let answered = matches!(input, Input::Status(_));
        if answered {
            self.unwatch(key);
        }
        if early
            && let Some(entry) = self.clients.get_mut(key)
            && !entry.machine.is_early()
        {
            (entry.given, entry.payload) = (None, Bytes::new());
            self.client_answered(key, out);
        }
        if received.is_some() {
            self.counters.responses_absorbed = self.counters.responses_absorbed.saturating_add(1);
        }
    }

    pub(super) fn disarm_client(&mut self, key: Key, slot: Slot) {
        if let Some(entry) = self.clients.get_mut(key)
            && let Some(id) = entry.running.slot(slot).take()
        {
            self.timers.cancel(id);
        }
    }

    pub(super) fn transmit_request(&self, key: Key, out: &mut impl Outbox<Event>) {
        if let Some(entry) = self.clients.get(key) {
            let token = Named::Client(key).token();
            out.transmit(Transmit {
                path: entry.path,
                payload: entry.payload.clone(),
                reopen: None,
                domain: entry.domain.clone(),
                token,
            });
        }
    }

    fn deliver(&mut self, key: Key, response: Response, path: Path, out: &mut impl Outbox<Event>) {
        if self.clients.get(key).is_some_and(|entry| entry.cancels.is_none()) {
            self.counters.responses = self.counters.responses.saturating_add(1);
            out.event(Event::Response { tx: ClientTx(key), response, path });
        }
    }

    fn fail(&mut self, key: Key, failing: Failing, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get(key) else { return };
        let failure = match (failing, entry.error) {
            (Failing::Transport, Some(error)) => Failure::Transport(error),
            _ if entry.moved => Failure::Moved,
            _ => Failure::Timeout,
        };
        self.report_failure(key, failure, out);
    }

    /// Tells the user of a failure, unless the transaction is one that the user does not know.
    pub(super) fn report_failure(&mut self, key: Key, failure: Failure, out: &mut impl Outbox<Event>) {
        if self.clients.get(key).is_some_and(|entry| entry.cancels.is_none()) {
            self.counters.failed = self.counters.failed.saturating_add(1);
            out.event(Event::Failed { tx: ClientTx(key), failure });
        }
    }

    /// Forgets a transaction, and with an INVITE its CANCEL: the answer to that one could no longer be matched.
    pub(super) fn end_client(&mut self, key: Key, out: &mut impl Outbox<Event>) {
        self.unwatch(key);
        let Some(entry) = self.clients.remove(key) else { return };
        self.stop(entry.running);
        if entry.answered {
            self.client_no_longer_answered();
        }
        if let Cancel::Sent(cancel) = entry.cancel
            && let Some(cancel) = self.clients.remove(cancel)
        {
            self.stop(cancel.running);
        }
        match entry.cancels {
            Some(invite) => {
                if let Some(invite) = self.clients.get_mut(invite) {
                    invite.cancel = Cancel::Over;
                }
            }
            None => out.event(Event::ClientTerminated { tx: ClientTx(key) }),
        }
    }

    /// Sends the ACK for a failure response, made from the response the first time (§17.1.1.3).
    fn acknowledge(&mut self, key: Key, response: Option<&Response>, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        if entry.ack.is_none() {
            entry.ack = entry.request().zip(response).and_then(|(request, response)| ack(&request, response));
        }
        if let Some(payload) = entry.ack.clone() {
            let token = Named::Client(key).token();
            let domain = entry.domain.clone();
            out.transmit(Transmit { path: entry.path, payload, reopen: None, domain, token });
        }
    }
}

fn step(machine: &mut Machine, input: Input, timing: &crate::Timing, reliable: bool) -> Actions {
    let mut actions = Actions::default();
    match machine {
        Machine::Invite(machine) => {
            use invite_client::Input as To;
            let input = match input {
                Input::Sent => To::Sent,
                Input::Status(status) if status.is_provisional() => To::Provisional,
                Input::Status(status) if status.is_success() => To::Success,
                Input::Status(_) => To::Failure,
                Input::Cancelled => To::Cancelled,
                Input::Fired(timer) => To::Fired(timer),
                Input::TransportError => To::TransportError,
            };
            machine.step(input, timing, reliable, |action| actions.push(action));
        }
        Machine::Other(machine) => {
            use client::Input as To;
            let input = match input {
                Input::Sent => To::Sent,
                Input::Status(status) if status.is_provisional() => To::Provisional,
                Input::Status(_) => To::Final,
                Input::Fired(timer) => To::Fired(timer),
                Input::TransportError => To::TransportError,
                Input::Cancelled => return actions,
            };
            machine.step(input, timing, reliable, |action| actions.push(action));
        }
    }
    actions
}

/// The ACK for a failure response (§17.1.1.3): Request-URI, Call-ID, From, CSeq number, Route and top Via of the
/// request, To of the response.
pub(super) fn ack(request: &Request, response: &Response) -> Option<Bytes> {
    let (uri, via) = (request.uri().ok()?, request.headers.get::<Via>().ok()??);
    let cseq = request.headers.get::<CSeq>().ok()??;
    let mut ack = Request::builder(Method::Ack, &uri)
        .header(&via)
        .copy(&request.headers, HeaderName::ROUTE)
        .copy(&request.headers, HeaderName::FROM)
        .copy(&response.headers, HeaderName::TO)
        .copy(&request.headers, HeaderName::CALL_ID)
        .copy(&request.headers, HeaderName::SESSION_ID) // RFC 7989 §6: in every message
        .header(&CSeq::new(cseq.number, Method::Ack))
        .build()
        .ok()?;
    add_max_forwards(&mut ack);
    Some(ack.to_bytes())
}

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u8 = 70;

pub(super) fn add_max_forwards(request: &mut Request) {
    if !request.headers.contains(HeaderName::MAX_FORWARDS) {
        request.headers.push_back(&MaxForwards(MAX_FORWARDS));
    }
}

/// The path of a request that has none yet; nothing is ever sent on it.
pub(super) fn nowhere() -> Path {
    let unspecified = std::net::SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
    Path::to(sip_transport::Transport::Udp, unspecified)
}
