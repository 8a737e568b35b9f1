//! Which client transaction a response belongs to: RFC 3261 §17.1.3, §18.1.2.

use super::Transactions;
use super::cancel::Cancel;
use super::client::Input;
use crate::branch;
use crate::event::Event;
use crate::overload::Report;
use crate::slab::Key;
use sip_message::headers::{CSeq, Via};
use sip_message::{Method, Response, StatusCode};
use sip_transport::{Locals, Outbox, Path, Token, Transmit};
use std::time::Instant;

impl Transactions {
    pub(super) fn receive_response(
        &mut self,
        now: Instant,
        response: Response,
        path: Path,
        out: &mut impl Outbox<Event>,
    ) {
        if response.check().is_err() {
            self.dropped();
            return;
        }
        let (Ok(Some(via)), Ok(Some(cseq))) = (response.headers.get::<Via>(), response.headers.get::<CSeq>())
        else {
            self.dropped();
            return;
        };
        // §18.1.2: a response whose top Via is not ours came to the wrong place.
        let is_ours = |locals: &Locals| locals.is_ours(via.host(), via.port());
        if !is_ours(&self.locals) && !is_ours(&self.left) {
            self.dropped();
            return;
        }
        let found = via
            .branch()
            .and_then(branch::decode)
            .and_then(|(key, nonce)| self.clients.get(key).map(|entry| (key, nonce, entry)));
        let Some((key, nonce, entry)) = found else {
            self.stray(response, &cseq.method, path, out);
            return;
        };
        if entry.nonce != nonce {
            self.answer_to_an_earlier_attempt(key, nonce, response, &cseq.method, path, out);
            return;
        }
        // RFC 7339 §5.4: only the next hop itself speaks in our Via of its load.
        if self.heed_overload
            && (path.transport, path.remote) == (entry.path.transport, entry.path.remote)
            && let Some(report) = Report::read(&via)
        {
            self.reports.came(now, &path, report);
        }
        let Some(entry) = self.clients.get(key) else { return };
        // A CANCEL has the branch of its INVITE (§9.1), so the method decides (§17.1.3).
        let key = match &entry.cancel {
            _ if entry.method == cseq.method => key,
            Cancel::Sent(cancel) if cseq.method == Method::Cancel => *cancel,
            _ => {
                self.dropped();
                return;
            }
        };
        if response.status() == StatusCode::SERVICE_UNAVAILABLE
            && self.try_elsewhere_after_503(now, key, &response, out)
        {
            return;
        }
        self.client_step(now, key, Input::Status(response.status()), Some((response, path)), out);
        self.send_held_cancel(now, key, out);
    }

    fn dropped(&mut self) {
        self.counters.responses_dropped = self.counters.responses_dropped.saturating_add(1);
    }

    /// RFC 6026 §7.2: only late 2xx to INVITE are of interest to anybody, to the dialog they belong to.
    fn stray(&mut self, response: Response, method: &Method, path: Path, out: &mut impl Outbox<Event>) {
        if response.status().is_success() && *method == Method::Invite {
            self.counters.strays = self.counters.strays.saturating_add(1);
            out.event(Event::Stray { response, path });
        } else {
            self.dropped();
        }
    }

    fn answer_to_an_earlier_attempt(
        &mut self,
        key: Key,
        nonce: u64,
        response: Response,
        method: &Method,
        path: Path,
        out: &mut impl Outbox<Event>,
    ) {
        let entry = self.clients.get(key);
        let previous = entry.and_then(|e| Some((e, e.previous.iter().find(|p| p.nonce == nonce)?)));
        match previous {
            Some((entry, previous)) if response.status().is_failure() && *method == Method::Invite => {
                let transmit = Transmit {
                    path: previous.path,
                    payload: previous.ack.clone(),
                    reopen: None,
                    domain: entry.domain.clone(),
                    token: Token::NONE,
                };
                self.counters.responses_absorbed = self.counters.responses_absorbed.saturating_add(1);
                out.transmit(transmit);
            }
            _ => self.stray(response, method, path, out),
        }
    }
}
