//! Being called: the server's side of INVITE (RFC 3261 §13.3, §9.2, §15.1.2).

use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, Contact, RecordRoute, RetryAfter};
use sip_message::{Identity, Method, Request, ResponseBuilder, StatusCode};
use sip_transaction::ServerTx;
use sip_transport::Path;

use crate::call::{Call, CallState, Success};
use crate::deadlines::Due;
use crate::dialog::{Dialog, DialogError, DialogId};
use crate::event::{Body, CallKey, Cause, Error, Event};
use crate::layer::Dialogs;

/// How often a provisional response is repeated so that proxies do not give up (§13.3.1.1).
const REPEAT_PROVISIONAL: Duration = Duration::from_secs(60);

/// RFC 3261 §12.1.1: whether our Contact has to be a `sips` URI, by the Request-URI or the first Record-Route, else the
/// peer's Contact.
pub(crate) fn wants_sips(request: &Request) -> bool {
    let addressed = request.uri().is_ok_and(|uri| uri.is_sips());
    let record = request.headers.get::<RecordRoute>().ok().flatten();
    addressed
        || match record {
            Some(record) => record.uri().is_sips(),
            None => {
                let contact = request.headers.get::<Contact>().ok().flatten();
                contact.is_some_and(|contact| contact.uri().is_some_and(|uri| uri.is_sips()))
            }
        }
}

impl Dialogs {
    pub(crate) fn invite_came(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        if !self.has_room() {
            return self.answer_status(now, tx, &request, StatusCode::BUSY_HERE);
        }
        let user = request.uri().ok().and_then(|uri| uri.user().map(String::from));
        let Ok(contact) = self.contact_at(user.as_deref(), &path, wants_sips(&request)) else {
            return self.answer_status(now, tx, &request, StatusCode::SERVER_INTERNAL_ERROR);
        };
        let tag = self.token();
        let dialog = match Dialog::of_server(&request, &tag, &contact) {
            Ok(dialog) => dialog,
            Err(_) => return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST),
        };
        let key = CallKey(self.fresh_key());
        let mut call = Call::new(CallState::Ringing, request.clone(), contact, tag);
        call.server = Some(tx);
        self.by_dialog.insert(dialog.id().clone(), key);
        call.dialog = Some(dialog);
        self.calls.insert(key, call);
        self.by_server.insert(tx, key);
        self.events.push_back(Event::Incoming { call: key, request, path });
    }

    /// Sends a provisional response (§13.3.1.1), and again every minute until the final one.
    ///
    /// # Errors
    /// If the call is not ringing here, or the response cannot be built.
    pub fn ring(
        &mut self,
        now: Instant,
        key: CallKey,
        status: StatusCode,
        body: Option<Body>,
    ) -> Result<(), Error> {
        let (tx, builder) = self.unanswered(key, status)?;
        let response = with_body(builder, body).build()?;
        if let Some(call) = self.calls.get_mut(&key) {
            call.provisional = Some(response.clone());
        }
        self.answer(now, tx, response);
        self.deadlines.arm(now + REPEAT_PROVISIONAL, key, Due::RepeatProvisional);
        Ok(())
    }

    pub(crate) fn repeat_provisional(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get(&key) else { return };
        if let (CallState::Ringing, Some(tx), Some(response)) =
            (call.state, call.server, call.provisional.clone())
        {
            self.answer(now, tx, response);
            self.deadlines.arm(now + REPEAT_PROVISIONAL, key, Due::RepeatProvisional);
        }
    }

    /// Answers a call with 200, or a re-INVITE of the peer. The body is the answer to its offer, or our offer
    /// if it had none. The 2xx is repeated until the ACK comes (§13.3.1.4); without one, BYE follows.
    ///
    /// # Errors
    /// If nothing waits for an answer, or the response cannot be built.
    pub fn accept(&mut self, now: Instant, key: CallKey, body: Option<Body>) -> Result<(), Error> {
        let (tx, builder) = self.unanswered(key, StatusCode::OK)?;
        let response = with_body(self.capabilities(builder), body).build()?;
        let interval = self.t1();
        let patience = self.patience();
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let invite = match call.peer_reinvite.take() {
            Some((_, request)) => request,
            None => call.invite.clone(),
        };
        let cseq = invite.headers.require::<CSeq>()?.number;
        let answers = !invite.body().is_empty();
        if call.state == CallState::Ringing {
            call.state = CallState::Answered;
        }
        call.server = None;
        call.success = Some(Success { tx, response: response.clone(), interval, cseq, answers });
        self.by_server.remove(&tx);
        self.deadlines.cancel(key, Due::RepeatProvisional);
        self.deadlines.arm(now + interval, key, Due::RepeatSuccess);
        self.deadlines.arm(now + patience, key, Due::NoAck);
        self.answer(now, tx, response);
        Ok(())
    }

    /// Refuses a call, or a re-INVITE of the peer (the session then stays as it was).
    ///
    /// # Errors
    /// If nothing waits for an answer, or the status is no final failure.
    pub fn reject(&mut self, now: Instant, key: CallKey, status: StatusCode) -> Result<(), Error> {
        self.reject_with(now, key, status, &[])
    }

    /// As [`Dialogs::reject`], with further fields such as Warning or Retry-After.
    ///
    /// # Errors
    /// As [`Dialogs::reject`], or if a field cannot be written.
    pub fn reject_with(
        &mut self,
        now: Instant,
        key: CallKey,
        status: StatusCode,
        fields: &[(&str, &str)],
    ) -> Result<(), Error> {
        let (tx, mut builder) = self.unanswered(key, status)?;
        if !status.is_failure() {
            let state = self.calls.get(&key).map_or("over", |call| call.state.describe());
            return Err(Error::WrongState { state, wanted: "only a status from 300 to 699 refuses" });
        }
        for (name, value) in fields {
            builder = builder.raw(*name, value);
        }
        let response = builder.build()?;
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        self.by_server.remove(&tx);
        let reinvite = call.peer_reinvite.take().is_some();
        self.answer(now, tx, response);
        if !reinvite {
            self.end(key, Cause::Refused(status));
        }
        Ok(())
    }

    /// The INVITE that waits for an answer, and a response to it begun.
    fn unanswered(&self, key: CallKey, status: StatusCode) -> Result<(ServerTx, ResponseBuilder), Error> {
        let call = self.calls.get(&key).ok_or(Error::NoSuchCall)?;
        let (tx, request) = match (&call.peer_reinvite, call.server, call.state) {
            (Some((tx, request)), ..) => (*tx, request),
            (None, Some(tx), CallState::Ringing) => (tx, &call.invite),
            _ => {
                let wanted = "an INVITE of the peer must wait for its answer";
                return Err(Error::WrongState { state: call.state.describe(), wanted });
            }
        };
        let builder = request.reply(status).to_tag(&call.local_tag);
        let contact = status > StatusCode::TRYING && status.code() < 300;
        Ok((tx, if contact { builder.header::<Contact>(&call.contact) } else { builder }))
    }

    pub(crate) fn repeat_success(&mut self, now: Instant, key: CallKey) {
        let t2 = self.transactions.timing().t2;
        let Some(success) = self.calls.get_mut(&key).and_then(|call| call.success.as_mut()) else { return };
        success.interval = success.interval.saturating_mul(2).min(t2);
        let (tx, response, interval) = (success.tx, success.response.clone(), success.interval);
        self.deadlines.arm(now + interval, key, Due::RepeatSuccess);
        self.answer(now, tx, response);
    }

    /// §13.3.1.4: the dialog stands, the session is to be ended with a BYE.
    pub(crate) fn not_acknowledged(&mut self, now: Instant, key: CallKey) {
        self.end_with_bye(now, key, Cause::NotAcknowledged);
    }

    pub(crate) fn ack_came(&mut self, now: Instant, ack: Request) {
        let Ok(identity) = Identity::of(&ack.headers) else { return };
        let Some(id) = DialogId::of_request(&identity) else { return };
        let Some(&key) = self.by_dialog.get(&id) else { return };
        let Some(call) = self.calls.get_mut(&key) else { return };
        // An ACK belongs to the INVITE of its own number alone.
        if call.success.as_ref().is_none_or(|success| success.cseq != identity.cseq.number) {
            return;
        }
        self.acknowledged(now, key, Some(ack));
    }

    /// The peer has our 2xx: its ACK says so, or a request that it could not have sent otherwise.
    fn acknowledged(&mut self, now: Instant, key: CallKey, ack: Option<Request>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.success = None;
        self.deadlines.cancel(key, Due::RepeatSuccess);
        self.deadlines.cancel(key, Due::NoAck);
        if call.state == CallState::Answered {
            call.state = CallState::Confirmed;
        }
        let hang_up = std::mem::take(&mut call.bye_after_ack);
        self.events.push_back(Event::Confirmed { call: key, ack });
        if hang_up {
            self.bye(now, key, Cause::HungUp, None);
        }
    }

    pub(crate) fn cancel_came(&mut self, now: Instant, tx: ServerTx, cancel: Request) {
        let Some(key) = self.by_server.remove(&tx) else { return };
        let Some(call) = self.calls.get_mut(&key) else { return };
        let reinvite = call.peer_reinvite.take_if(|(waiting, _)| *waiting == tx).is_some();
        let (invite, tag) = (call.invite.clone(), call.local_tag.clone());
        if reinvite {
            if let Some(request) = self.transactions.request(tx).cloned() {
                self.answer_status(now, tx, &request, StatusCode::REQUEST_TERMINATED);
            }
            return;
        }
        match invite.reply(StatusCode::REQUEST_TERMINATED).to_tag(&tag).build() {
            Ok(response) => self.answer(now, tx, response),
            Err(error) => tracing::error!(%error, "a 487 cannot be built"),
        }
        self.end(key, Cause::CancelledByCaller(cancel));
    }

    pub(crate) fn request_in_dialog_came(
        &mut self,
        now: Instant,
        key: CallKey,
        tx: ServerTx,
        request: Request,
        path: Path,
    ) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let id = Identity::of(&request.headers).ok().and_then(|identity| DialogId::of_request(&identity));
        let dialog = match &mut call.dialog {
            Some(dialog) => Some(dialog),
            None => call.early.iter_mut().find(|dialog| Some(dialog.id()) == id.as_ref()),
        };
        match dialog.map(|dialog| dialog.receive_request(&request)) {
            Some(Ok(())) => {}
            Some(Err(DialogError::OutOfOrder { .. })) => {
                return self.answer_status(now, tx, &request, StatusCode::SERVER_INTERNAL_ERROR);
            }
            Some(Err(_)) => return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST),
            None => {
                return self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
            }
        }
        match request.method() {
            Method::Invite => self.reinvite_came(now, key, tx, request),
            Method::Bye => self.bye_came(now, key, tx, request),
            _ => self.events.push_back(Event::Request { tx, call: Some(key), request, path }),
        }
    }

    /// §15.1.2: BYE ends the call at once; an INVITE still open in it is answered 487.
    fn bye_came(&mut self, now: Instant, key: CallKey, tx: ServerTx, bye: Request) {
        self.answer_status(now, tx, &bye, StatusCode::OK);
        self.leave_reinvite(now, key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        let open = match call.peer_reinvite.take() {
            Some(reinvite) => Some(reinvite),
            None => call.server.take().map(|server| (server, call.invite.clone())),
        };
        let tag = call.local_tag.clone();
        // Our own BYE crossed the peer's: its transaction goes on by itself, the call is over.
        let cause = call.cause.take().unwrap_or(Cause::HungUpByPeer(bye));
        if let Some((server, invite)) = open {
            self.by_server.remove(&server);
            if let Ok(response) = invite.reply(StatusCode::REQUEST_TERMINATED).to_tag(&tag).build() {
                self.answer(now, server, response);
            }
        }
        self.end(key, cause);
    }

    fn reinvite_came(&mut self, now: Instant, key: CallKey, tx: ServerTx, request: Request) {
        // RFC 5407 §3.1.4: the ACK was lost or overtaken, but who sends a re-INVITE has our 2xx.
        if self.calls.get(&key).and_then(|call| call.success.as_ref()).is_some_and(|success| success.answers)
        {
            self.acknowledged(now, key, None);
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.state == CallState::Ending {
            return self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        }
        if call.reinvite.is_some() || call.success.is_some() {
            // §14.2: ours is under way. RFC 5407 §3.1.5: the ACK must still bring the answer to our offer.
            return self.answer_status(now, tx, &request, StatusCode::REQUEST_PENDING);
        }
        if call.peer_reinvite.is_some() || call.state == CallState::Ringing {
            // §14.2: an earlier INVITE is not finished; wait between 0 and 10 seconds.
            let tag = call.local_tag.clone();
            let seconds = u32::try_from(self.transactions.random() % 11).unwrap_or(10);
            let builder = request
                .reply(StatusCode::SERVER_INTERNAL_ERROR)
                .to_tag(&tag)
                .header(&RetryAfter::new(seconds));
            if let Ok(response) = builder.build() {
                self.answer(now, tx, response);
            }
            return;
        }
        call.peer_reinvite = Some((tx, request.clone()));
        self.by_server.insert(tx, key);
        self.events.push_back(Event::Reinvited { call: key, request });
    }
}

fn with_body(builder: ResponseBuilder, body: Option<Body>) -> ResponseBuilder {
    match body {
        Some(Body { content_type, octets }) => builder.body(&content_type, octets),
        None => builder,
    }
}
