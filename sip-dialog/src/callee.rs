//! Being called: the server's side of INVITE (RFC 3261 §13.3, §9.2, §15.1.2).

use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, Contact, Expires, RecordRoute};
use sip_message::{Identity, Method, Request, ResponseBuilder, StatusCode};
use sip_transaction::ServerTx;
use sip_transport::Path;

use crate::call::{Call, CallState, Success};
use crate::deadlines::Due;
use crate::dialog::{Dialog, DialogError, DialogId};
use crate::event::{Body, CallKey, Cause, Error, Event};
use crate::layer::Dialogs;
use crate::offer_answer::{Carrier, Described, Open};
use crate::options::{describes_session, with_body};
use crate::replaces::References;

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
    pub(crate) fn invite_came(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: Request,
        path: Path,
        identity: Identity,
    ) {
        if !self.has_room() {
            return self.answer_status(now, tx, &request, StatusCode::BUSY_HERE);
        }
        if let Err(minimum) = self.judge_timer(&request) {
            return self.answer_too_brief(now, tx, &request, minimum);
        }
        let references = match self.references_of(&request) {
            Ok(references) => references,
            Err(status) => return self.answer_status(now, tx, &request, status),
        };
        let user = request.uri().ok().and_then(|uri| uri.user().map(String::from));
        let Ok(contact) = self.contact_at(user.as_deref(), &path, wants_sips(&request)) else {
            return self.answer_status(now, tx, &request, StatusCode::SERVER_INTERNAL_ERROR);
        };
        let tag = self.token();
        let mut dialog = match Dialog::answering(&request, identity, &tag, &contact) {
            Ok(dialog) => dialog,
            Err(_) => return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST),
        };
        let key = CallKey(self.fresh_key());
        let mut call = Call::new(CallState::Ringing, request.clone(), contact);
        call.server = Some(tx);
        self.by_dialog.insert(dialog.id(), key);
        dialog.share(&mut self.locals, &mut self.contacts);
        call.dialog = Some(dialog);
        call.session.exchange.invite(false, describes_session(&request.headers, request.body()));
        call.session.learn(&request.headers);
        call.replaces = references.replaces;
        self.calls.insert(key, call);
        self.by_server.insert(tx, key);
        self.join_session_id(&request, references.replaces);
        self.learn_identity_support(key, &request.headers);
        // §13.3.1: the caller's Expires bounds the wait for an answer, as our own limit does.
        let expires = request.headers.get::<Expires>().ok().flatten();
        let asked =
            expires.map(|expires| Duration::from_secs(expires.0.into())).filter(|wait| !wait.is_zero());
        if let Some(limit) = [asked, self.config.ring_limit].into_iter().flatten().min() {
            self.deadlines.arm(now + limit, key, Due::NoAnswer);
        }
        let References { replaces, joins } = references;
        self.events.push_back(Event::Incoming { call: key, request, path, replaces, joins });
    }

    /// What a description in our final response to the peer's INVITE would be: `Answer` to its offer, our `Offer` if it had
    /// none, `Nothing` when a reliable provisional response has said it already.
    pub fn description_due(&self, key: CallKey) -> Described {
        self.calls
            .get(&key)
            .map_or(Described::Nothing, |call| call.session.exchange.would_send(Carrier::Success))
    }

    /// Answers a call with 200, or a re-INVITE of the peer. The body is the answer to its offer, or our offer if it had
    /// none; there is none if a reliable provisional response has said it ([`Dialogs::description_due`]). The 2xx is
    /// repeated until the ACK comes (§13.3.1.4); without one, BYE follows. While a description of ours waits for its
    /// PRACK, so does the 2xx (RFC 3262 §3). A call that is to be replaced by this one ends (RFC 3891 §3).
    ///
    /// # Errors
    /// If nothing waits for an answer, a body may not stand in it, or the response cannot be built.
    pub fn accept(&mut self, now: Instant, key: CallKey, body: Option<Body>) -> Result<(), Error> {
        let (tx, builder) = self.response_to_invite(key, StatusCode::OK)?;
        if self.calls.get(&key).is_some_and(|call| call.reliable.is_accepted()) {
            let wanted = "it was accepted already, and its 2xx waits for a PRACK";
            return Err(Error::WrongState { state: CallState::Ringing.describe(), wanted });
        }
        let Some(body) = self.accept_after_prack(key, body) else { return Ok(()) };
        if body.is_some() && self.description_due(key) == Described::Nothing {
            return Err(Error::Described("a reliable provisional response has said it already"));
        }
        let (_, invite) = self.unanswered(key)?;
        let invite = invite.clone();
        let cseq = invite.headers.require::<CSeq>()?.number;
        let builder = self.capabilities(builder);
        let builder = self.answer_info_packages(&invite.headers, builder);
        let builder = self.grant_timer(now, key, &invite, builder);
        let interval = self.t1();
        let patience = self.patience();
        let describes = body.is_some();
        let response = with_body(builder, body).build()?;
        self.stop_reliable(key);
        if self.calls.get(&key).is_some_and(|call| call.peer_reinvite.is_some()) {
            self.accept_identity(key, None, &invite.headers);
        }
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        if describes {
            call.session.exchange.send(Carrier::Success);
        }
        call.session.exchange.close_invite();
        call.session.learn_info_packages(&invite.headers);
        if call.peer_reinvite.take().is_some()
            && let Some(dialog) = &mut call.dialog
        {
            dialog.accept_refresh(&invite);
        }
        let answers = call.session.exchange.open != Open::Ours(Carrier::Success);
        if call.state == CallState::Ringing {
            call.state = CallState::Answered;
        }
        let replaced = call.replaces.take();
        call.server = None;
        call.setup = None;
        call.success = Some(Box::new(Success { tx, response: response.clone(), interval, cseq, answers }));
        self.by_server.remove(&tx);
        self.deadlines.cancel(key, Due::NoAnswer);
        self.deadlines.arm(now + interval, key, Due::RepeatSuccess);
        self.deadlines.arm(now + patience, key, Due::NoAck);
        self.answer(now, tx, response);
        if let Some(replaced) = replaced {
            self.end_replaced(now, replaced, key);
        }
        Ok(())
    }

    /// RFC 3891 §3: BYE to the call that was replaced, CANCEL if it was not answered yet.
    fn end_replaced(&mut self, now: Instant, replaced: CallKey, by: CallKey) {
        let Some(call) = self.calls.get_mut(&replaced) else { return };
        if matches!(call.state, CallState::Calling) {
            call.cause = Some(Box::new(Cause::ReplacedBy(by)));
            if let Err(error) = self.hang_up(now, replaced) {
                tracing::debug!(%error, "the call to replace is gone");
            }
            return;
        }
        self.end_with_bye(now, replaced, Cause::ReplacedBy(by));
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
        let (tx, mut builder) = self.response_to_invite(key, status)?;
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
        call.session.exchange.fail_invite();
        self.forget_reliable(key);
        self.answer(now, tx, response);
        if !reinvite {
            self.end(now, key, Cause::Refused(status));
        }
        Ok(())
    }

    /// The INVITE of the peer that waits for an answer.
    pub(crate) fn unanswered(&self, key: CallKey) -> Result<(ServerTx, &Request), Error> {
        let call = self.calls.get(&key).ok_or(Error::NoSuchCall)?;
        match (&call.peer_reinvite, call.server, &call.setup, call.state) {
            (Some(reinvite), ..) => Ok((reinvite.0, &reinvite.1)),
            (None, Some(tx), Some(setup), CallState::Ringing) => Ok((tx, &setup.invite)),
            _ => {
                let wanted = "an INVITE of the peer must wait for its answer";
                Err(Error::WrongState { state: call.state.describe(), wanted })
            }
        }
    }

    /// The same with a response to it begun.
    pub(crate) fn response_to_invite(
        &self,
        key: CallKey,
        status: StatusCode,
    ) -> Result<(ServerTx, ResponseBuilder), Error> {
        let (tx, request) = self.unanswered(key)?;
        let call = self.calls.get(&key).ok_or(Error::NoSuchCall)?;
        let mut builder = request.reply(status).to_tag(call.local_tag());
        if self.config.history && status > StatusCode::TRYING {
            builder = crate::history::answer(request, builder);
        }
        let contact = status > StatusCode::TRYING && status.code() < 300;
        match &call.dialog {
            Some(dialog) if contact => Ok((tx, builder.header::<Contact>(dialog.contact()))),
            _ => Ok((tx, builder)),
        }
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
        let Some(key) = self.call_with(&id) else { return };
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
        if let Some(success) = call.success.take() {
            self.transactions.acknowledged(success.tx);
        }
        if call.session.exchange.open == Open::Ours(Carrier::Success) {
            let answered = ack.as_ref().is_some_and(|ack| describes_session(&ack.headers, ack.body()));
            match answered {
                true => drop(call.session.exchange.receive(Carrier::Ack)),
                false => call.session.exchange.withdraw(),
            }
        }
        self.deadlines.cancel(key, Due::RepeatSuccess);
        self.deadlines.cancel(key, Due::NoAck);
        if call.state == CallState::Answered {
            call.state = CallState::Confirmed;
        }
        let hang_up = call.bye_after_ack.take();
        self.events.push_back(Event::Confirmed { call: key, ack });
        if let Some(reason) = hang_up {
            self.bye(now, key, Cause::HungUp, reason.as_ref().as_ref());
        }
    }

    pub(crate) fn cancel_came(&mut self, now: Instant, tx: ServerTx, cancel: Request) {
        let Some(key) = self.by_server.remove(&tx) else { return };
        let Some(call) = self.calls.get_mut(&key) else { return };
        let reinvite = call.peer_reinvite.take_if(|reinvite| reinvite.0 == tx).is_some();
        if reinvite {
            call.session.exchange.fail_invite();
            self.forget_reliable(key);
            if let Some(request) = self.transactions.request(tx).cloned() {
                self.answer_status(now, tx, &request, StatusCode::REQUEST_TERMINATED);
            }
            return self.events.push_back(Event::ReinviteCancelled { call: key });
        }
        let terminated = self.response_to_invite(key, StatusCode::REQUEST_TERMINATED);
        match terminated.map(|(_, builder)| builder.build()) {
            Ok(Ok(response)) => self.answer(now, tx, response),
            error => tracing::error!(?error, "a 487 cannot be built"),
        }
        self.end(now, key, Cause::CancelledByCaller(Box::new(cancel)));
    }

    pub(crate) fn request_in_dialog_came(
        &mut self,
        now: Instant,
        key: CallKey,
        id: &DialogId,
        tx: ServerTx,
        request: Request,
        path: Path,
    ) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let dialog = call.dialog_mut(id).map(|(dialog, _)| dialog);
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
        let early = self.calls.get(&key).is_some_and(|call| call.dialog.is_none());
        match request.method() {
            Method::Invite => self.reinvite_came(now, key, tx, request),
            Method::Bye if early => self.bye_came_early(now, key, id, tx, request),
            Method::Bye => self.bye_came(now, key, tx, request),
            Method::Prack => self.prack_came(now, key, id, tx, request),
            Method::Update => self.update_came(now, key, id, tx, request),
            _ => self.events.push_back(Event::Request { tx, call: Some(key), request, path }),
        }
    }

    /// §15.1.2: BYE ends the call at once; an INVITE still open in it is answered 487.
    fn bye_came(&mut self, now: Instant, key: CallKey, tx: ServerTx, bye: Request) {
        self.answer_status(now, tx, &bye, StatusCode::OK);
        self.leave_reinvite(now, key);
        self.close_unanswered(now, key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        let open = match call.peer_reinvite.take() {
            Some(reinvite) => Some(*reinvite),
            None => call.server.take().zip(call.setup.take().map(|setup| setup.invite)),
        };
        let tag = call.local_tag().to_owned();
        let offered = call.session.peer_offer.take();
        // Our own BYE crossed the peer's: its transaction goes on by itself, the call is over.
        let cause = call.take_cause().unwrap_or(Cause::HungUpByPeer(Box::new(bye)));
        if let Some((server, invite)) = open {
            self.by_server.remove(&server);
            if let Ok(response) = invite.reply(StatusCode::REQUEST_TERMINATED).to_tag(&tag).build() {
                self.answer(now, server, response);
            }
        }
        if let Some((tx, request)) = offered.map(|offered| *offered) {
            self.answer_status(now, tx, &request, StatusCode::REQUEST_TERMINATED);
        }
        self.end(now, key, cause);
    }

    /// A BYE from a phone whose 2xx has not reached us, only a 1xx before: it had no ACK and gives up (§13.3.1.4). Its dialog is over;
    /// with it the INVITE, unless other phones ring. That has to be cancelled, since the proxies before us may have forgotten it.
    fn bye_came_early(&mut self, now: Instant, key: CallKey, id: &DialogId, tx: ServerTx, bye: Request) {
        self.answer_status(now, tx, &bye, StatusCode::OK);
        self.dialog_is_over(now, key, id, Cause::HungUpByPeer(Box::new(bye)));
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
        let offers = describes_session(&request.headers, request.body());
        match call.session.exchange.open {
            Open::Ours(_) => {
                return self.answer_status(now, tx, &request, StatusCode::REQUEST_PENDING);
            }
            Open::None if call.peer_reinvite.is_none() && call.state != CallState::Ringing => {}
            // §14.2: an earlier INVITE, or an offer in UPDATE, is not finished.
            _ => return self.answer_later(now, tx, &request),
        }
        if let Err(minimum) = self.judge_timer(&request) {
            return self.answer_too_brief(now, tx, &request, minimum);
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.session.exchange.invite(false, offers);
        call.session.learn_methods(&request.headers);
        call.reliable = crate::reliable::Reliable::default();
        call.peer_reinvite = Some(Box::new((tx, request.clone())));
        self.by_server.insert(tx, key);
        self.events.push_back(Event::Reinvited { call: key, request });
    }
}
