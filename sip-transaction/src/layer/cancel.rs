//! Cancelling an INVITE of ours: RFC 3261 §9.1.

use super::Transactions;
use super::client::{ClientEntry, Input, Machine};
use crate::error::{CancelError, Failure};
use crate::event::{ClientTx, Event};
use crate::fsm::InviteClient;
use crate::slab::Key;
use sip_message::headers::{CSeq, Via};
use sip_message::{BuildError, HeaderName, Headers, Method, Request};
use sip_transport::Outbox;
use std::time::Instant;

/// Where the cancelling of an INVITE stands.
#[derive(Debug)]
pub(super) enum Cancel {
    /// Nobody wants it.
    No,
    /// Asked for, but no provisional response is here: the CANCEL could overtake its INVITE. These fields go
    /// with it.
    Held(Box<Headers>),
    /// Sent; its transaction.
    Sent(Key),
    /// Its transaction is over.
    Over,
}

impl Transactions {
    /// Cancels an INVITE (RFC 3261 §9.1). The CANCEL is sent once a provisional response has come. The INVITE then
    /// ends as usual, by a 487 or, when the answer crossed the CANCEL, by a 2xx; if neither comes within 64·T1, by
    /// [`Event::Failed`]. `extra` are fields to add to the CANCEL, such as Reason (RFC 3326).
    ///
    /// A request that still waits for DNS or a connection is not sent at all: [`Failure::Cancelled`]. Cancelling twice does nothing.
    ///
    /// # Errors
    /// If the transaction is over, has its final response, or is not that of an INVITE, or if a field of `extra`
    /// cannot be written.
    pub fn cancel(
        &mut self,
        now: Instant,
        tx: ClientTx,
        extra: &Headers,
        out: &mut impl Outbox<Event>,
    ) -> Result<(), CancelError> {
        let entry = self.clients.get_mut(tx.0).ok_or(CancelError::Stale)?;
        let Machine::Invite(machine) = entry.machine else {
            return Err(CancelError::Method(entry.method.clone()));
        };
        if !entry.machine.is_early() {
            return Err(CancelError::AlreadyFinal);
        }
        if !matches!(entry.cancel, Cancel::No) {
            return Ok(());
        }
        if entry.waiting.is_some() || entry.race.is_some() {
            self.report_failure(tx.0, Failure::Cancelled, out);
            self.end_client(tx.0, out);
            return Ok(());
        }
        // Tried on a copy, so that what cannot be written is told now and not when the 1xx comes.
        cancel_request(entry.request().as_deref(), extra)?;
        entry.cancel = Cancel::Held(Box::new(extra.clone()));
        if machine == InviteClient::Proceeding {
            self.send_held_cancel(now, tx.0, out);
        }
        Ok(())
    }

    /// Sends a CANCEL that was waiting, if the INVITE got its provisional response.
    pub(super) fn send_held_cancel(&mut self, now: Instant, invite: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(invite) else { return };
        let (Cancel::Held(extra), Machine::Invite(InviteClient::Proceeding)) = (&entry.cancel, entry.machine)
        else {
            return;
        };
        let Ok(Some(request)) = cancel_request(entry.request().as_deref(), extra) else { return };
        let mut cancel = ClientEntry::cancel_of(entry, invite, request);
        cancel.sent = Some(now);
        let key = self.clients.insert(cancel);
        if let Some(entry) = self.clients.get_mut(invite) {
            entry.cancel = Cancel::Sent(key);
        }
        self.counters.sent = self.counters.sent.saturating_add(1);
        self.transmit_request(key, out);
        self.client_step(now, key, Input::Sent, None, out);
        self.client_step(now, invite, Input::Cancelled, None, out);
    }
}

/// The CANCEL (§9.1): Request-URI, Call-ID, To, From, Route and CSeq number of the INVITE, and of its Vias the top one.
/// `None` never happens with a request that was sent.
fn cancel_request(invite: Option<&Request>, extra: &Headers) -> Result<Option<Request>, BuildError> {
    let Some(invite) = invite else { return Ok(None) };
    let (Ok(uri), Ok(Some(via)), Ok(Some(cseq))) =
        (invite.uri(), invite.headers.get::<Via>(), invite.headers.get::<CSeq>())
    else {
        return Ok(None);
    };
    let mut builder = Request::builder(Method::Cancel, &uri)
        .header(&via)
        .copy(&invite.headers, HeaderName::ROUTE)
        .copy(&invite.headers, HeaderName::FROM)
        .copy(&invite.headers, HeaderName::TO)
        .copy(&invite.headers, HeaderName::CALL_ID)
        .header(&CSeq::new(cseq.number, Method::Cancel));
    for (name, value) in extra.iter() {
        builder = builder.raw(name, &String::from_utf8_lossy(value));
    }
    builder.build().map(Some)
}
