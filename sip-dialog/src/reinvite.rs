//! Changing a session that stands: our re-INVITEs (RFC 3261 §14.1), and other requests inside a call.

use std::time::{Duration, Instant};

use sip_message::headers::CSeq;
use sip_message::{Method, Request, Response, StatusCode};
use sip_transaction::ServerTx;

use crate::call::{CallState, Reinvite};
use crate::deadlines::Due;
use crate::event::{Body, CallKey, Cause, Error, Event, RequestKey};
use crate::layer::{Dialogs, Purpose};
use crate::offer_answer::{Carrier, Described, Open};
use crate::options::response_describes;

impl Dialogs {
    /// Sends a re-INVITE: with an offer to change the session, without one to ask the peer for its offer.
    ///
    /// # Errors
    /// [`Error::Pending`] while an INVITE is under way in either direction, [`Error::WrongState`] unless the
    /// call is established.
    pub fn reinvite(&mut self, now: Instant, key: CallKey, offer: Option<Body>) -> Result<(), Error> {
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        if call.state != CallState::Confirmed {
            let wanted = "a re-INVITE needs an established call";
            return Err(Error::WrongState { state: call.state.describe(), wanted });
        }
        if call.reinvite.is_some()
            || call.peer_reinvite.is_some()
            || call.success.is_some()
            || call.retry_waits
            || call.session.exchange.open != Open::None
            || call.session.update.is_some()
        {
            return Err(Error::Pending);
        }
        let dialog = call.dialog.as_mut().ok_or(Error::NoSuchCall)?;
        let hop = dialog.next_hop().clone();
        let mut builder = dialog.request(Method::Invite);
        call.reinvite = Some(Box::new(Reinvite::new()));
        call.session.exchange.invite(true, offer.is_some());
        call.session.rseq = None;
        if let Some(Body { content_type, octets }) = offer {
            builder = builder.body(&content_type, octets);
        }
        let sent = self.finish(builder).and_then(|mut request| {
            self.ask_timer(key, &mut request);
            self.send(now, request, hop, Purpose::Reinvite(key))
        });
        let live = sent.as_ref().is_ok_and(|tx| self.sent.contains_key(tx));
        if let Some(call) = self.calls.get_mut(&key) {
            match sent {
                Ok(tx) => call.client = live.then_some(tx),
                Err(_) => {
                    call.reinvite = None;
                    call.session.exchange.fail_invite();
                }
            }
        }
        sent.map(|_| ())
    }

    /// Whether an offer could be sent now.
    pub fn can_reinvite(&self, key: CallKey) -> bool {
        self.calls.get(&key).is_some_and(|call| {
            call.state == CallState::Confirmed
                && call.reinvite.is_none()
                && call.peer_reinvite.is_none()
                && call.success.is_none()
                && !call.retry_waits
                && call.session.exchange.open == Open::None
                && call.session.update.is_none()
        })
    }

    pub(crate) fn reinvite_answered(
        &mut self,
        now: Instant,
        key: CallKey,
        invite: &Request,
        response: Response,
    ) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let status = response.status();
        call.client = None;
        if status.is_success() {
            let cseq = response.headers.get::<CSeq>().ok().flatten().map_or(0, |cseq| cseq.number);
            if let Some(dialog) = call.dialog.as_mut() {
                dialog.receive_refresh(&response);
            }
            call.reinvite = None;
            call.session.learn(&response.headers);
            let described = match response_describes(&response) {
                true => call.session.exchange.receive(Carrier::Success),
                false => Described::Nothing,
            };
            call.session.exchange.close_invite();
            if described == Described::Offer && call.state == CallState::Confirmed {
                call.reinvite = Some(Box::new(Reinvite::unanswered(cseq, invite.clone())));
            } else {
                self.acknowledge_success(now, key, cseq, invite, None);
            }
            self.agree_timer(now, key, invite, &response);
            return self.events.push_back(Event::ReinviteAnswered { call: key, response, described });
        }
        call.reinvite = None;
        call.session.exchange.fail_invite();
        call.session.prack_due = None; // what a provisional response offered is off too
        call.session.learn(&response.headers);
        let ours = call.ours;
        if matches!(status, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT) {
            if call.state == CallState::Ending {
                return; // our BYE is out already and ends the call
            }
            return self.end_with_bye(now, key, Cause::Lost(status)); // §12.2.1.2
        }
        if status == StatusCode::REQUEST_PENDING && call.state == CallState::Confirmed {
            self.wait_after_glare(now, key, ours);
        }
        self.events.push_back(Event::ReinviteFailed { call: key, status });
    }

    /// §14.1, RFC 3311 §5.3: who made the Call-ID waits 2.1 to 4 seconds, the other 0 to 2, in steps of 10 ms.
    pub(crate) fn wait_after_glare(&mut self, now: Instant, key: CallKey, ours: bool) {
        let chance = self.chance();
        let steps = if ours { 210 + chance % 191 } else { chance % 201 };
        let wait = Duration::from_millis(steps.saturating_mul(10));
        if let Some(call) = self.calls.get_mut(&key) {
            call.retry_waits = true;
            self.deadlines.arm(now + wait, key, Due::RetryReinvite);
        }
    }

    pub(crate) fn retry_is_due(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.retry_waits = false;
            self.events.push_back(Event::ReinviteRetry { call: key });
        }
    }

    /// Sends a request inside an established call, such as INFO.
    ///
    /// # Errors
    /// If there is no dialog yet or any more, or the request cannot be built. INVITE, ACK, BYE, CANCEL, PRACK and
    /// UPDATE have ways of their own.
    pub fn request_in_call(
        &mut self,
        now: Instant,
        key: CallKey,
        method: Method,
        body: Option<Body>,
    ) -> Result<RequestKey, Error> {
        self.request_in_call_with(now, key, method, &[], body)
    }

    /// As [`Dialogs::request_in_call`], with further fields such as Info-Package.
    ///
    /// # Errors
    /// As [`Dialogs::request_in_call`], or if a field cannot be written.
    pub fn request_in_call_with(
        &mut self,
        now: Instant,
        key: CallKey,
        method: Method,
        fields: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<RequestKey, Error> {
        let request = RequestKey(self.fresh_key());
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let state = call.state.describe();
        if matches!(
            method,
            Method::Invite | Method::Ack | Method::Bye | Method::Cancel | Method::Prack | Method::Update
        ) || matches!(call.state, CallState::Ending | CallState::Cancelling)
        {
            return Err(Error::WrongState { state, wanted: "this method cannot be sent in it by itself" });
        }
        let wanted = "the peer must know the dialog";
        if call.state == CallState::Ringing && !call.was_rung() {
            return Err(Error::WrongState { state, wanted });
        }
        let dialog = call.dialog.as_mut().ok_or(Error::WrongState { state, wanted })?;
        let hop = dialog.next_hop().clone();
        let mut builder = dialog.request(method);
        for (name, value) in fields {
            builder = builder.raw(*name, value);
        }
        if let Some(Body { content_type, octets }) = body {
            builder = builder.body(&content_type, octets);
        }
        let message = self.finish(builder)?;
        self.send(now, message, hop, Purpose::InCall(key, request))?;
        Ok(request)
    }

    /// Sends a request outside of calls to `hop`: REGISTER, OPTIONS, MESSAGE. Challenges are answered.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn request(
        &mut self,
        now: Instant,
        request: Request,
        hop: sip_message::Uri,
    ) -> Result<RequestKey, Error> {
        let key = RequestKey(self.fresh_key());
        self.send(now, request, hop, Purpose::Free(key))?;
        Ok(key)
    }

    /// Answers an [`Event::Request`].
    ///
    /// # Errors
    /// If it has been answered, or its transaction has ended.
    pub fn respond(&mut self, now: Instant, tx: ServerTx, response: Response) -> Result<(), Error> {
        self.respond_inner(now, tx, response)
    }
}
