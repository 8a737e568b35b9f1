//! Requests that belong to another one: matching (RFC 3261 §17.2.3), ACK (§17.2.1), CANCEL (§9.2).

use super::Transactions;
use super::server::{About, Input, Machine};
use crate::event::{Event, ServerTx};
use crate::fsm::InviteServer;
use crate::key::{self, Era};
use crate::slab::Key;
use sip_message::headers::{To, Via};
use sip_message::{Method, Request, StatusCode};
use sip_transport::response::way;
use sip_transport::{Outbox, Path, Token, Transmit};
use std::time::Instant;

impl Transactions {
    /// The transaction that a request belongs to if its method were `method`.
    pub(super) fn find(&mut self, request: &Request, via: &Via, method: &Method) -> Option<(Key, Era)> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let era = key::write(request, via, method, &mut scratch);
        let found = self.matching.get(scratch.as_str()).copied();
        self.scratch = scratch;
        Some((found?, era?))
    }

    /// §17.2.3: an ACK to a failure response belongs to the INVITE's transaction, any other goes up.
    pub(super) fn receive_ack(
        &mut self,
        now: Instant,
        request: Request,
        via: &Via,
        path: Path,
        out: &mut impl Outbox<Event>,
    ) {
        if request.check().is_err() {
            self.counters.unanswerable = self.counters.unanswerable.saturating_add(1);
            return;
        }
        let to_tag = request.headers.get::<To>().ok().flatten();
        let to_tag = to_tag.as_ref().and_then(|to| to.tag());
        if let Some((key, era)) = self.find(&request, via, &Method::Invite)
            && let Some(entry) = self.servers.get(key)
            && (era == Era::Rfc3261 || entry.to_tag.as_deref() == to_tag)
        {
            self.server_step(now, key, Input::Ack, About::Request(request, path), out);
        } else if to_tag == Some(self.stateless_tag.as_str()) {
            self.counters.absorbed = self.counters.absorbed.saturating_add(1);
        } else {
            self.counters.acks = self.counters.acks.saturating_add(1);
            out.event(Event::Ack { request, path });
        }
    }

    /// §9.2. A CANCEL is answered without being remembered: the same CANCEL gets the same answer as long as what it
    /// cancels is there.
    pub(super) fn receive_cancel(
        &mut self,
        request: Request,
        via: &Via,
        path: &Path,
        out: &mut impl Outbox<Event>,
    ) {
        if let Err(error) = request.check() {
            self.counters.bad_requests = self.counters.bad_requests.saturating_add(1);
            self.refuse(&request, via, path, error.status, &error.reason, out);
            return;
        }
        // It matches a transaction of any method, though only an INVITE can be stopped.
        let invite = self.find(&request, via, &Method::Invite);
        let found = invite.or_else(|| {
            let others =
                Method::KNOWN.iter().filter(|method| !matches!(method, Method::Ack | Method::Cancel));
            others.into_iter().find_map(|method| self.find(&request, via, method))
        });
        let Some((key, _)) = found else {
            self.counters.cancels_unmatched = self.counters.cancels_unmatched.saturating_add(1);
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            self.refuse(&request, via, path, status, status.reason(), out);
            return;
        };
        let Some(entry) = self.servers.get_mut(key) else { return };
        let first = matches!(entry.machine, Machine::Invite(InviteServer::Proceeding)) && !entry.cancelled;
        entry.cancelled |= first;
        // The tag of the answer to the INVITE, if there is one yet.
        let tag = entry.to_tag.as_deref().unwrap_or(&self.stateless_tag);
        if let Ok(response) = request.reply(StatusCode::OK).to_tag(tag).build() {
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
        if first {
            self.counters.cancels = self.counters.cancels.saturating_add(1);
            out.event(Event::Cancelled { tx: ServerTx(key), request });
        } else {
            self.counters.absorbed = self.counters.absorbed.saturating_add(1);
        }
    }
}
