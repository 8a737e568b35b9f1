//! UPDATE (RFC 3311): changing a session, or the address of one side, without an INVITE; before and after the answer. And the
//! answers to what the peer offers in UPDATE or PRACK.

use std::time::Instant;

use sip_message::headers::RetryAfter;
use sip_message::{Identity, Method, Request, Response, StatusCode};
use sip_transaction::ServerTx;

use crate::call::CallState;
use crate::deadlines::Due;
use crate::dialog::DialogId;
use crate::event::{Body, CallKey, Cause, Error, Event, OfferKey};
use crate::layer::{Dialogs, Purpose};
use crate::offer_answer::{Carrier, Described, Open};
use crate::options::{describes_session, response_describes, with_body};
use crate::session_timer::BUSY_WAIT;

/// Why an UPDATE of ours is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnUpdate {
    /// The application offers something.
    Offer,
    /// The application refreshes the target.
    Target,
    /// The layer refreshes the session (RFC 4028 §10): nobody needs to know.
    Session,
}

impl Dialogs {
    /// Sends UPDATE: with an offer to change the session, without one to tell our Contact anew. `dialog` names an early
    /// dialog of a forked call; `None` means the call's own. [`Event::UpdateAnswered`] or [`Event::UpdateFailed`] follows.
    ///
    /// # Errors
    /// [`Error::Pending`] while an offer or an UPDATE is open in either direction, [`Error::WrongState`] without a dialog
    /// that the peer knows, or without a session that an offer could change (RFC 3311 §5.1).
    pub fn update(
        &mut self,
        now: Instant,
        key: CallKey,
        dialog: Option<&DialogId>,
        offer: Option<Body>,
    ) -> Result<(), Error> {
        let kind = if offer.is_some() { OwnUpdate::Offer } else { OwnUpdate::Target };
        self.send_update(now, key, dialog, offer, kind)
    }

    pub(crate) fn send_update(
        &mut self,
        now: Instant,
        key: CallKey,
        dialog: Option<&DialogId>,
        offer: Option<Body>,
        kind: OwnUpdate,
    ) -> Result<(), Error> {
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let state = call.state.describe();
        if matches!(call.state, CallState::Ending | CallState::Cancelling) {
            return Err(Error::WrongState { state, wanted: "the call must not be ending" });
        }
        let wanted = "the peer must know the dialog";
        if call.state == CallState::Ringing && !call.was_rung() {
            return Err(Error::WrongState { state, wanted });
        }
        let established = call.state == CallState::Confirmed;
        let describing = call.reliable.is_describing();
        let waits = call.retry_waits;
        let id = match dialog {
            Some(id) => id.clone(),
            None => call.dialog.as_ref().ok_or(Error::WrongState { state, wanted })?.id().clone(),
        };
        let (dialog, session) = call.dialog_mut(&id).ok_or(Error::WrongState { state, wanted })?;
        if session.update.is_some() || session.exchange.open != Open::None && offer.is_some() {
            return Err(Error::Pending);
        }
        if offer.is_some() {
            if describing || waits || (established && session.exchange.awaits_offer()) {
                return Err(Error::Pending);
            }
            if session.exchange.send(Carrier::Update) != Described::Offer {
                let wanted = "an offer and its answer must have been exchanged";
                return Err(Error::WrongState { state, wanted });
            }
        }
        session.update = Some(kind);
        let hop = dialog.next_hop().clone();
        let mut builder = dialog.request(Method::Update);
        if let Some(Body { content_type, octets }) = offer {
            builder = builder.body(&content_type, octets);
        }
        let sent = self.finish(builder).and_then(|mut update| {
            if established {
                self.ask_timer(key, &mut update);
            }
            self.send(now, update, hop, Purpose::Update(key))
        });
        if sent.is_err()
            && let Some((_, session)) = self.calls.get_mut(&key).and_then(|call| call.dialog_mut(&id))
        {
            session.update = None;
            if kind == OwnUpdate::Offer {
                session.exchange.withdraw();
            }
        }
        sent.map(|_| ())
    }

    pub(crate) fn update_answered(
        &mut self,
        now: Instant,
        key: CallKey,
        update: &Request,
        response: Response,
    ) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Ok(identity) = Identity::of(&response.headers) else { return };
        let id = DialogId::of_response(&identity);
        let (state, ours) = (call.state, call.ours);
        let Some((dialog, session)) = call.dialog_mut(&id) else { return };
        let Some(kind) = session.update.take() else { return };
        let status = response.status();
        session.learn(&response.headers);
        if status.is_success() {
            dialog.receive_refresh(&response);
            let described = match response_describes(&response) {
                true => session.exchange.receive(Carrier::UpdateSuccess),
                false => Described::Nothing,
            };
            if kind == OwnUpdate::Offer && described != Described::Answer {
                session.exchange.withdraw();
            }
            if state == CallState::Confirmed {
                self.agree_timer(now, key, update, &response);
            }
            if kind != OwnUpdate::Session {
                self.events.push_back(Event::UpdateAnswered { call: key, dialog: id, response, described });
            }
            return;
        }
        if kind == OwnUpdate::Offer {
            session.exchange.withdraw(); // §5.3: as if no UPDATE had been issued
        }
        if matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            session.peer_takes_update = false;
        }
        if state == CallState::Ending {
            return; // our BYE is out already and ends the call
        }
        match status {
            StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT => {
                return self.dialog_is_over(now, key, &id, Cause::Lost(status));
            }
            StatusCode::SESSION_INTERVAL_TOO_SMALL if kind == OwnUpdate::Session => {
                return self.deadlines.arm(now, key, Due::Refresh); // with the Min-SE just learned
            }
            // Another change was under way, or the peer takes no UPDATE: the session must be refreshed all the same.
            _ if kind == OwnUpdate::Session => return self.deadlines.arm(now + BUSY_WAIT, key, Due::Refresh),
            StatusCode::REQUEST_PENDING => self.wait_after_glare(now, key, ours),
            _ => {}
        }
        if kind != OwnUpdate::Session {
            self.events.push_back(Event::UpdateFailed { call: key, dialog: id, status });
        }
    }

    pub(crate) fn update_came(
        &mut self,
        now: Instant,
        key: CallKey,
        id: &DialogId,
        tx: ServerTx,
        request: Request,
    ) {
        if let Err(minimum) = self.judge_timer(&request) {
            return self.answer_too_brief(now, tx, &request, minimum);
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.state == CallState::Ending {
            return self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        }
        if call.state == CallState::Cancelling && describes_session(&request.headers, request.body()) {
            // The application has given the call up and hears nothing of its session any more; BYE follows if need be.
            return self.answer_status(now, tx, &request, StatusCode::REQUEST_PENDING);
        }
        let Some((_, session)) = call.dialog_mut(id) else { return };
        if session.peer_offer.is_some() {
            return self.answer_later(now, tx, &request); // §5.2: the one before is not answered
        }
        if !describes_session(&request.headers, request.body()) {
            let response = self.success_to_offer(now, key, id, &request, None);
            return self.answer_if_built(now, tx, response);
        }
        match (session.exchange.open, session.exchange.receive(Carrier::Update)) {
            (Open::Theirs(_), _) => self.answer_later(now, tx, &request),
            (_, Described::Offer) => {
                session.peer_offer = Some(Box::new((tx, request.clone())));
                let offer = OfferKey { call: key, dialog: id.clone(), tx };
                self.events.push_back(Event::Offered { offer, request });
            }
            // §5.2: ours is open. Or there is no session yet that could be changed: it is being made.
            _ => self.answer_status(now, tx, &request, StatusCode::REQUEST_PENDING),
        }
    }

    /// Answers an offer that came in UPDATE or PRACK ([`Event::Offered`]) with a 2xx.
    ///
    /// # Errors
    /// If it was answered already, its call is over, or the response cannot be built.
    pub fn answer_offer(&mut self, now: Instant, offer: &OfferKey, answer: Body) -> Result<(), Error> {
        let request = self.take_offer(offer)?;
        if let Some((_, session)) =
            self.calls.get_mut(&offer.call).and_then(|call| call.dialog_mut(&offer.dialog))
        {
            session.exchange.send(match request.method() {
                Method::Prack => Carrier::PrackSuccess,
                _ => Carrier::UpdateSuccess,
            });
        }
        let response = self.success_to_offer(now, offer.call, &offer.dialog, &request, Some(answer))?;
        self.respond_inner(now, offer.tx, response)?;
        self.after_prack(now, offer.call);
        Ok(())
    }

    /// Refuses an offer that came in UPDATE or PRACK: the session stays as it was (RFC 3311 §5.2, RFC 6337 §2.3). With 488
    /// goes a Warning that says why.
    ///
    /// # Errors
    /// As [`Dialogs::answer_offer`], or if the status is no failure.
    pub fn refuse_offer(
        &mut self,
        now: Instant,
        offer: &OfferKey,
        status: StatusCode,
        fields: &[(&str, &str)],
    ) -> Result<(), Error> {
        if !status.is_failure() {
            let wanted = "only a status from 300 to 699 refuses";
            return Err(Error::WrongState { state: "offered a change", wanted });
        }
        let request = self.take_offer(offer)?;
        if let Some((_, session)) =
            self.calls.get_mut(&offer.call).and_then(|call| call.dialog_mut(&offer.dialog))
        {
            session.exchange.withdraw();
        }
        let mut builder = request.reply(status);
        for (name, value) in fields {
            builder = builder.raw(*name, value);
        }
        self.respond_inner(now, offer.tx, builder.build()?)?;
        self.after_prack(now, offer.call);
        Ok(())
    }

    fn take_offer(&mut self, offer: &OfferKey) -> Result<Request, Error> {
        let call = self.calls.get_mut(&offer.call).ok_or(Error::NoSuchCall)?;
        let state = call.state.describe();
        let waiting = call
            .dialog_mut(&offer.dialog)
            .and_then(|(_, session)| session.peer_offer.take_if(|waiting| waiting.0 == offer.tx));
        let wanted = "the offer must wait for its answer";
        waiting.map(|waiting| waiting.1).ok_or(Error::WrongState { state, wanted })
    }

    /// The 2xx to an UPDATE or a PRACK. An UPDATE refreshes the target and the session timer.
    fn success_to_offer(
        &mut self,
        now: Instant,
        key: CallKey,
        id: &DialogId,
        request: &Request,
        answer: Option<Body>,
    ) -> Result<Response, Error> {
        let mut builder = request.reply(StatusCode::OK);
        if *request.method() == Method::Update {
            self.accept_identity(key, Some(id), &request.headers);
            let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
            if let Some((dialog, session)) = call.dialog_mut(id) {
                dialog.accept_refresh(request);
                session.learn(&request.headers);
            }
            builder = self.answer_info_packages(&request.headers, self.capabilities(builder));
            if let Some((dialog, _)) = self.calls.get_mut(&key).and_then(|call| call.dialog_mut(id)) {
                builder = builder.header(dialog.contact());
            }
            if let Some(call) = self.calls.get(&key) {
                // RFC 4028 §9: a timer runs from the 2xx to the INVITE on.
                if matches!(call.state, CallState::Answered | CallState::Confirmed) {
                    builder = self.grant_timer(now, key, request, builder);
                }
            }
        }
        Ok(with_body(builder, answer).build()?)
    }

    fn answer_if_built(&mut self, now: Instant, tx: ServerTx, response: Result<Response, Error>) {
        match response {
            Ok(response) => self.answer(now, tx, response),
            Err(error) => tracing::error!(%error, "a response of ours cannot be built"),
        }
    }

    /// 500: something of the peer's is not finished; it may come again in 0 to 10 seconds (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(crate) fn answer_later(&mut self, now: Instant, tx: ServerTx, request: &Request) {
        let seconds = u32::try_from(self.transactions.random() % 11).unwrap_or(10);
        let builder =
            request.reply(StatusCode::SERVER_INTERNAL_ERROR).header(&RetryAfter::new(seconds)).build();
        self.answer_if_built(now, tx, builder.map_err(Error::from));
    }
}
