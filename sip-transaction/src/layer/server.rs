//! Server transactions: RFC 3261 §17.2, and the CANCELs and ACKs that belong to them.

use super::completed::Held;
use super::fallback::Fallback;
use super::{Due, Named, Running, Transactions};
use crate::error::{RespondError, Unrespondable};
use crate::event::{Event, ServerTx};
use crate::fsm::{Action, Actions, InviteServer, Server, Slot, Timer, invite_server, server};
use crate::key;
use crate::overload::Report;
use crate::slab::Key;
use bytes::Bytes;
use sip_message::headers::Via;
use sip_message::{HeaderName, Method, Request, Response, ResponseBuilder, StatusCode};
use sip_transport::response::{Way, way};
use sip_transport::{Outbox, Path, Transmit};
use std::sync::Arc;
use std::time::Instant;

/// The machine of one server transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Machine {
    Invite(InviteServer),
    Other(Server),
}

impl Machine {
    const fn is_early(self) -> bool {
        matches!(
            self,
            Self::Invite(InviteServer::Proceeding) | Self::Other(Server::Trying | Server::Proceeding)
        )
    }
}

/// What can happen to a server transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Received,
    Repeated,
    Status(StatusCode),
    Ack,
    Fired(Timer),
    TransportError,
}

/// What a step is about: the request that came, or the response to send.
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
pub(super) enum About {
    Nothing,
    Request(Request, Path),
    Response(Bytes),
}

/// One server transaction.
#[derive(Debug)]
pub(super) struct ServerEntry {
    pub(super) machine: Machine,
    /// Until the final response.
    pub(super) request: Option<Box<Request>>,
    pub(super) path: Path,
    pub(super) way: Way,
    /// The response sent last, for retransmission.
    pub(super) last: Option<Bytes>,
    /// Where it goes when its way is gone.
    pub(super) fallback: Option<Box<Fallback>>,
    pub(super) running: Running,
    /// Under which it is found in `matching` and `merged`.
    pub(super) matching: Arc<str>,
    pub(super) merged: Option<Arc<str>>,
    /// What it counts for among the completed ones.
    pub(super) held: Held,
    /// The To tag of our responses to INVITE.
    pub(super) to_tag: Option<Box<str>>,
    pub(super) cancelled: bool,
    /// The user gave 408 to a request other than INVITE: nothing is sent (RFC 4320 §4.2).
    silent: bool,
    /// Its client heeds reports of overload (RFC 7339).
    wants_reports: bool,
}

impl Transactions {
    pub(super) fn receive_request(
        &mut self,
        now: Instant,
        request: Request,
        path: Path,
        out: &mut impl Outbox<Event>,
    ) {
        // The ingress has stamped the top Via, so it can be read; who comes another way gets no answer.
        let Ok(Some(via)) = request.headers.get::<Via>() else {
            self.counters.unanswerable = self.counters.unanswerable.saturating_add(1);
            return;
        };
        match request.method() {
            Method::Ack => self.receive_ack(now, request, &via, path, out),
            Method::Cancel => self.receive_cancel(request, &via, &path, out),
            _ => self.receive_other(now, request, &via, path, out),
        }
    }

    fn receive_other(
        &mut self,
        now: Instant,
        request: Request,
        via: &Via,
        path: Path,
        out: &mut impl Outbox<Event>,
    ) {
        if let Some((key, _)) = self.find(&request, via, request.method()) {
            self.counters.absorbed = self.counters.absorbed.saturating_add(1);
            self.server_step(now, key, Input::Repeated, About::Nothing, out);
            return;
        }
        // Before all that costs: there is too much to do already.
        if self.shedding.refuses(now, &request, via) {
            self.counters.shed = self.counters.shed.saturating_add(1);
            self.refuse_overloaded(&request, via, &path, out);
            return;
        }
        if let Err(error) = request.check() {
            self.counters.bad_requests = self.counters.bad_requests.saturating_add(1);
            self.refuse(&request, via, &path, error.status, &error.reason, out);
            return;
        }
        if self.under_way() >= self.limits.servers_for(request.method()) {
            self.counters.refused = self.counters.refused.saturating_add(1);
            let status = StatusCode::SERVICE_UNAVAILABLE;
            self.refuse(&request, via, &path, status, status.reason(), out);
            return;
        }
        if self.tier().refuses(&request) {
            self.refuse_overloaded(&request, via, &path, out);
            return;
        }
        let merged = if self.refuse_merged { self.merge_key(&request) } else { None };
        if merged.as_ref().is_some_and(|merged| self.merged.contains_key(merged)) {
            self.counters.merged = self.counters.merged.saturating_add(1);
            let status = StatusCode::LOOP_DETECTED;
            self.refuse(&request, via, &path, status, "Merged Request", out);
            return;
        }
        self.open(now, request, via, path, merged, out);
    }

    /// §8.2.2.2 is about requests outside of dialogs only.
    fn merge_key(&mut self, request: &Request) -> Option<Arc<str>> {
        if request.headers.tag(HeaderName::TO).is_some() {
            return None;
        }
        key::write_merged(request, &mut self.scratch)?;
        Some(self.scratch.as_str().into())
    }

    fn open(
        &mut self,
        now: Instant,
        request: Request,
        via: &Via,
        path: Path,
        merged: Option<Arc<str>>,
        out: &mut impl Outbox<Event>,
    ) {
        if key::write(&request, via, request.method(), &mut self.scratch).is_none() {
            self.counters.unanswerable = self.counters.unanswerable.saturating_add(1);
            return;
        }
        let matching: Arc<str> = self.scratch.as_str().into();
        let machine = match request.method() {
            Method::Invite => Machine::Invite(InviteServer::new()),
            _ => Machine::Other(Server::new()),
        };
        let key = self.servers.insert(ServerEntry {
            machine,
            request: Some(Box::new(request.clone())),
            path,
            way: way(via, &path),
            last: None,
            fallback: None,
            running: Running::default(),
            matching: matching.clone(),
            merged: merged.clone(),
            held: Held::No,
            to_tag: None,
            cancelled: false,
            silent: false,
            wants_reports: Report::is_wanted(via),
        });
        self.matching.insert(matching, key);
        if let Some(merged) = merged {
            self.merged.insert(merged, key);
        }
        self.counters.requests = self.counters.requests.saturating_add(1);
        self.server_step(now, key, Input::Received, About::Request(request, path), out);
    }

    /// Sends a response in a server transaction (RFC 3261 §17.2).
    ///
    /// To an INVITE any number of 1xx, then a final one; after a 2xx more of them may be given, which is how a
    /// user agent repeats it until the ACK comes (§13.3.1.4). To other requests 100 only as a provisional response:
    /// it is sent when RFC 4320 §4.1 allows; the layer does so by itself if nothing is given. A 408 to such a
    /// request is not sent at all (§4.2): its client has given up by itself.
    ///
    /// # Errors
    /// The response comes back if the transaction is over, has its final response, or must not be answered so.
    pub fn respond(
        &mut self,
        now: Instant,
        tx: ServerTx,
        response: Response,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), RespondError> {
        let given = self.respond_ref(now, tx, &response, out);
        given.map_err(|reason| RespondError { response: Box::new(response), reason })
    }

    /// The same for a response that its giver keeps.
    ///
    /// # Errors
    /// As [`respond`](Self::respond).
    pub fn respond_ref(
        &mut self,
        now: Instant,
        tx: ServerTx,
        response: &Response,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), Unrespondable> {
        let status = response.status();
        self.respondable(tx.0, status)?;
        let Some(entry) = self.servers.get_mut(tx.0) else { return Ok(()) };
        if matches!(entry.machine, Machine::Other(_)) && status == StatusCode::REQUEST_TIMEOUT {
            entry.silent = true;
            self.counters.unanswered = self.counters.unanswered.saturating_add(1);
            return Ok(());
        }
        if matches!(entry.machine, Machine::Invite(_))
            && let tag = response.headers.tag(HeaderName::TO)
            && tag != entry.to_tag.as_deref()
        {
            entry.to_tag = tag.map(Into::into);
        }
        if status.is_final() {
            entry.request = None;
        }
        let payload = if entry.wants_reports { self.reported(response) } else { response.to_bytes() };
        self.server_step(now, tx.0, Input::Status(status), About::Response(payload), out);
        if status.is_final() {
            self.completed(tx.0, out);
        }
        Ok(())
    }

    /// The ACK for a 2xx to an INVITE has come, which only the user can know, since it is a request of its own (RFC 3261 §13.3.1.4):
    /// the transaction goes on for the repetitions of the INVITE that it absorbs (RFC 6026 §7.1), and keeps no response for them.
    pub fn acknowledged(&mut self, tx: ServerTx) {
        let Some(entry) = self.servers.get_mut(tx.0) else { return };
        if matches!(entry.machine, Machine::Invite(InviteServer::Accepted)) {
            (entry.last, entry.fallback) = (None, None);
        }
    }

    /// Answers a request and forgets it at once, as a server without transactions does (RFC 3261 §8.2.7): for
    /// challenges, which anybody can call forth as fast as he can send. A repetition is a new request then; the To tag is the
    /// same for all, as it has to be for one and the same request, and the ACK to an INVITE's is known by it. An INVITE is
    /// answered as ever if its client may have ceased to repeat it, because there was a provisional response, or if its dialog has
    /// a tag already, by which its ACK could not be told from others. Gives what was answered.
    ///
    /// # Errors
    /// As [`respond_ref`](Self::respond_ref); if the answer cannot be written nothing is done.
    pub fn respond_and_forget(
        &mut self,
        now: Instant,
        tx: ServerTx,
        reply: ResponseBuilder,
        out: &mut impl Outbox<Event>,
    ) -> Result<Response, Unrespondable> {
        let Ok(response) = reply.to_tag(&self.stateless_tag).build() else {
            return Err(Unrespondable::Unwritable);
        };
        let silent = self.servers.get(tx.0).is_some_and(|entry| entry.last.is_none());
        let tagged = response.headers.tag(HeaderName::TO) == Some(self.stateless_tag.as_str());
        self.respond_ref(now, tx, &response, out)?;
        // A 2xx to an INVITE is not forgotten: more of them may have to be sent.
        let forget = self.servers.get(tx.0).is_some_and(|entry| match entry.machine {
            Machine::Invite(machine) => silent && tagged && matches!(machine, InviteServer::Completed { .. }),
            Machine::Other(_) => response.status().is_final(),
        });
        if forget {
            self.end_server(tx.0, out);
        }
        Ok(response)
    }

    /// What the response is with our report in its top Via (RFC 7339 §5.2).
    fn reported(&mut self, response: &Response) -> Bytes {
        let mut response = response.clone();
        let report = self.report();
        // The Via is the client's; if it cannot be read the response goes without.
        let _ = response.headers.update_first::<Via>(|via| report.write(via));
        response.to_bytes()
    }

    /// 503 with the time after which to come again, and no transaction.
    fn refuse_overloaded(&mut self, request: &Request, via: &Via, path: &Path, out: &mut impl Outbox<Event>) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        if matches!(request.method(), Method::Invite | Method::Subscribe | Method::Refer) {
            self.counters.refused_dialogs = self.counters.refused_dialogs.saturating_add(1);
        }
        let status = StatusCode::SERVICE_UNAVAILABLE;
        self.refuse(request, via, path, status, status.reason(), out);
    }

    /// Our load as told to those who send to us.
    pub(super) fn report(&mut self) -> Report {
        self.report_sequence = self.report_sequence.saturating_add(1);
        let under_way = self.under_way();
        Report {
            reduction: self
                .load
                .reduction(under_way, self.limits.server_transactions)
                .max(self.shedding.percent()),
            validity: Report::VALIDITY,
            sequence: self.report_sequence,
        }
    }

    fn respondable(&self, key: Key, status: StatusCode) -> Result<(), Unrespondable> {
        let entry = self.servers.get(key).ok_or(Unrespondable::Stale)?;
        match entry.machine {
            Machine::Invite(InviteServer::Accepted) if status.is_success() => Ok(()),
            _ if !entry.machine.is_early() || entry.silent => Err(Unrespondable::AlreadyFinal),
            Machine::Other(_) if status.is_provisional() && status != StatusCode::TRYING => {
                Err(Unrespondable::Provisional)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn server_fired(
        &mut self,
        now: Instant,
        key: Key,
        timer: Timer,
        out: &mut impl Outbox<Event>,
    ) {
        let Some(entry) = self.servers.get_mut(key) else { return };
        *entry.running.slot(timer.slot()) = None;
        if timer == Timer::Expire && !entry.silent {
            self.counters.unanswered = self.counters.unanswered.saturating_add(1);
        }
        self.server_step(now, key, Input::Fired(timer), About::Nothing, out);
    }

    pub(super) fn server_step(
        &mut self,
        now: Instant,
        key: Key,
        input: Input,
        mut about: About,
        out: &mut impl Outbox<Event>,
    ) {
        let Some(entry) = self.servers.get_mut(key) else { return };
        let reliable = entry.path.transport.is_reliable();
        let actions = step(&mut entry.machine, input, &self.timing, reliable);
        for action in actions.iter() {
            match action {
                Action::Resend => {
                    self.counters.retransmitted = self.counters.retransmitted.saturating_add(1);
                    self.transmit_last(key, out);
                }
                Action::Reply => {
                    if let About::Response(payload) = std::mem::replace(&mut about, About::Nothing) {
                        self.reply(key, payload, out);
                    }
                }
                Action::Trying => self.trying(key, &mut about, out),
                Action::Deliver => {
                    if let About::Request(request, path) = std::mem::replace(&mut about, About::Nothing) {
                        self.pass_up(key, request, path, out);
                    }
                }
                Action::Arm(timer, after) => self.arm(now, Due::Server(key, timer), after),
                Action::Disarm(slot) => self.disarm_server(key, slot),
                Action::Unacknowledged => {
                    self.counters.unacknowledged = self.counters.unacknowledged.saturating_add(1);
                    out.event(Event::Unacknowledged { tx: ServerTx(key) });
                }
                Action::Done => self.end_server(key, out),
                // A transport error is told as Undelivered, with its reason.
                Action::Fail(_) | Action::Ack => {}
            }
        }
        if matches!((input, about), (Input::Ack, About::Request(..))) {
            self.counters.absorbed = self.counters.absorbed.saturating_add(1);
        }
    }

    fn pass_up(&mut self, key: Key, request: Request, path: Path, out: &mut impl Outbox<Event>) {
        if *request.method() == Method::Ack {
            self.counters.acks = self.counters.acks.saturating_add(1);
            out.event(Event::Ack { request, path });
        } else {
            out.event(Event::Request { tx: ServerTx(key), request, path });
        }
    }

    fn reply(&mut self, key: Key, payload: Bytes, out: &mut impl Outbox<Event>) {
        if let Some(entry) = self.servers.get_mut(key) {
            entry.last = Some(payload);
        }
        self.transmit_last(key, out);
    }

    /// Sends 100: the user's own, or one made here.
    fn trying(&mut self, key: Key, about: &mut About, out: &mut impl Outbox<Event>) {
        let payload = match std::mem::replace(about, About::Nothing) {
            About::Response(payload) => Some(payload),
            _ => {
                let entry = self.servers.get(key);
                let wanted = entry.is_some_and(|entry| entry.wants_reports);
                entry
                    .and_then(|entry| entry.request.as_ref()?.reply(StatusCode::TRYING).build().ok())
                    .map(|response| if wanted { self.reported(&response) } else { response.to_bytes() })
            }
        };
        if let Some(payload) = payload {
            self.reply(key, payload, out);
        }
    }

    pub(super) fn transmit_last(&self, key: Key, out: &mut impl Outbox<Event>) {
        if let Some(entry) = self.servers.get(key)
            && let Some(payload) = entry.last.clone()
        {
            let Way { path, reopen } = entry.way;
            out.transmit(Transmit { path, payload, reopen, domain: None, token: Named::Server(key).token() });
        }
    }

    fn disarm_server(&mut self, key: Key, slot: Slot) {
        if let Some(entry) = self.servers.get_mut(key)
            && let Some(id) = entry.running.slot(slot).take()
        {
            self.timers.cancel(id);
        }
    }

    pub(super) fn end_server(&mut self, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.servers.remove(key) else { return };
        self.stop(entry.running);
        self.matching.remove(&entry.matching);
        if let Some(merged) = entry.merged {
            self.merged.remove(&merged);
        }
        self.no_longer_held(entry.held);
        out.event(Event::ServerTerminated { tx: ServerTx(key) });
    }
}

fn step(machine: &mut Machine, input: Input, timing: &crate::Timing, reliable: bool) -> Actions {
    let mut actions = Actions::default();
    match machine {
        Machine::Invite(machine) => {
            use invite_server::Input as To;
            let input = match input {
                Input::Received => To::Received,
                Input::Repeated => To::Repeated,
                Input::Status(status) if status.is_provisional() => To::Provisional,
                Input::Status(status) if status.is_success() => To::Success,
                Input::Status(_) => To::Failure,
                Input::Ack => To::Ack,
                Input::Fired(timer) => To::Fired(timer),
                Input::TransportError => To::TransportError,
            };
            machine.step(input, timing, reliable, |action| actions.push(action));
        }
        Machine::Other(machine) => {
            use server::Input as To;
            let input = match input {
                Input::Received => To::Received,
                Input::Repeated => To::Repeated,
                Input::Status(status) if status.is_provisional() => To::Provisional,
                Input::Status(_) => To::Final,
                Input::Fired(timer) => To::Fired(timer),
                Input::TransportError => To::TransportError,
                Input::Ack => return actions,
            };
            machine.step(input, timing, reliable, |action| actions.push(action));
        }
    }
    actions
}
