//! Making a call: the client's side of INVITE (RFC 3261 §13.2, §9.1).

use std::time::Instant;

use sip_message::headers::{CSeq, CallId, From, HistoryInfo, Reason, To};
use sip_message::{HeaderName, Method, Request, Response, StatusCode};
use sip_transaction::{ClientTx, Failure};

use crate::call::{Call, CallState, Early, Reinvite, Session, Setup};
use crate::deadlines::Due;
use crate::dialog::{Dialog, DialogId};
use crate::event::{Body, CallKey, Cause, Error, Event, Invite};
use crate::layer::{Dialogs, Purpose};
use crate::lingering::{Fork, copy_credentials};
use crate::offer_answer::{Carrier, Described};
use crate::options::response_describes;
use crate::session_timer::MAX_TOO_BRIEF;

impl Dialogs {
    /// Calls somebody. What comes of it is told by [`Event::Progress`], [`Event::Answered`] and
    /// [`Event::Ended`].
    ///
    /// # Errors
    /// If the INVITE cannot be built, there is no listener, or a limit is reached.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<CallKey, Error> {
        if !self.has_room() {
            return Err(Error::TooManyCalls(self.config.max_calls));
        }
        let hop = invite.route.first().map_or(&invite.to, |route| route.uri()).clone();
        // RFC 3261 §8.1.1.8: `sips` in the Request-URI or in the first Route.
        let reached_from = if invite.to.is_sips() { &invite.to } else { &hop };
        let contact = self.contact_for(invite.from.uri().user(), reached_from)?;
        let (tag, call_id) = (self.token(), self.token());
        let offered = invite.offer.is_some();
        let mut builder = Request::builder(Method::Invite, &invite.to)
            .headers(&invite.route)
            .header(&From(invite.from).with_tag(&tag))
            .header(&To::new(&invite.to))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, Method::Invite))
            .header(&contact);
        for (name, value) in &invite.fields {
            builder = builder.raw(name.as_str(), value);
        }
        let told = |(name, _): &(String, String)| name.eq_ignore_ascii_case("History-Info");
        if self.config.history && !invite.fields.iter().any(told) {
            builder = builder.header(&HistoryInfo::first(&invite.to)); // RFC 7044 §6.1
        }
        if let Some(Body { content_type, octets }) = invite.offer {
            builder = builder.body(&content_type, octets);
        }
        let mut request = self.finish(builder)?;
        self.begin_session_id(&mut request);
        let key = CallKey(self.fresh_key());
        self.ask_timer(key, &mut request);
        let mut call = Call::new(CallState::Calling, request.clone(), contact);
        if let Some(setup) = &mut call.setup {
            setup.hop = Some(hop.clone());
        }
        call.reinvite = Some(Box::new(Reinvite::new()));
        call.session.exchange.invite(true, offered);
        self.calls.insert(key, call);
        if let Some(limit) = self.config.ring_limit {
            self.deadlines.arm(now + limit, key, Due::NoAnswer);
        }
        match self.send(now, request, hop, Purpose::Invite(key)) {
            Ok(tx) => {
                // The transaction may have failed while it was sent; the call is over then.
                if let Some(call) = self.calls.get_mut(&key) {
                    call.client = Some(tx);
                    if let (Some(sent), Some(setup)) = (self.sent.get(&tx), &mut call.setup) {
                        setup.invite = sent.request.clone();
                    }
                }
                Ok(key)
            }
            Err(error) => {
                self.forget(now, key);
                Err(error)
            }
        }
    }

    pub(crate) fn invite_resent(&mut self, now: Instant, key: CallKey, purpose: Purpose, tx: ClientTx) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.state == CallState::Ending {
            return; // its BYE is out: what still comes of the re-INVITE is of no interest
        }
        call.client = Some(tx);
        if matches!(purpose, Purpose::Invite(_)) && call.state == CallState::Cancelling {
            self.cancel_transaction(now, key, None); // the challenge crossed our CANCEL
        }
    }

    pub(crate) fn invite_answered(&mut self, now: Instant, key: CallKey, response: Response) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.client = None;
        let cancelling = call.state == CallState::Cancelling;
        if !response.status().is_success() {
            if self.asked_for_longer(now, key, &response)
                || self.offered_again(now, key, response.status())
                || self.redirected(now, key, &response)
            {
                return;
            }
            let given_up = self.calls.get_mut(&key).and_then(|call| call.take_cause());
            let cause = match cancelling {
                true => given_up.unwrap_or(Cause::Cancelled),
                false => Cause::Rejected(Box::new(response)),
            };
            return self.end(now, key, cause);
        }
        // What follows is the call's that stands: what it was set up with has served.
        let Some(setup) = call.setup.take() else { return };
        let Setup { invite, contact, mut early, .. } = *setup;
        for early in &early {
            self.by_dialog.remove(early.dialog.id(), key);
        }
        let mut dialog = match Dialog::of_client(&invite, &response, &contact) {
            Ok(fresh) => {
                // The early dialog of this phone counts on; the 2xx decides its route set (§13.2.2.4).
                match early.iter().position(|early| early.dialog.id() == fresh.id()) {
                    Some(at) => {
                        let mut early = early.swap_remove(at);
                        call.session = early.session;
                        if early.dialog.rebuild(&invite, &response).is_ok() { early.dialog } else { fresh }
                    }
                    None => fresh,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a 2xx makes no dialog; the call cannot be acknowledged");
                if let Some(call_id) = invite.headers.text(HeaderName::CALL_ID) {
                    self.credentials.forget(call_id);
                }
                return self.end(now, key, Cause::Lost(StatusCode::BAD_REQUEST));
            }
        };
        let id = dialog.id().clone();
        let cseq = response.headers.get::<CSeq>().ok().flatten().map_or(1, |cseq| cseq.number);
        self.by_dialog.insert(&id, key);
        dialog.share(&mut self.locals, &mut self.contacts);
        self.deadlines.cancel(key, Due::NoAnswer);
        call.dialog = Some(dialog);
        call.reinvite = None;
        call.session.learn(&response.headers);
        let described = match response_describes(&response) {
            true => call.session.exchange.receive(Carrier::Success),
            false => Described::Nothing,
        };
        call.session.exchange.close_invite();
        if described == Described::Offer && !cancelling {
            call.state = CallState::AnswerDue;
            call.reinvite = Some(Box::new(Reinvite::unanswered(cseq, invite.clone())));
        } else {
            call.state = CallState::Confirmed;
            self.acknowledge_success(now, key, cseq, &invite, None);
        }
        self.learn_identity_support(key, &response.headers);
        self.agree_timer(now, key, &invite, &response);
        for early in &mut early {
            self.refuse_waiting(now, &mut early.session);
        }
        self.watch_forks(now, &id, Fork::new(cseq, invite, contact, early).given_up(cancelling));
        if cancelling {
            // The 2xx crossed our CANCEL (§9.1): the call stands and is hung up.
            let given_up = self.calls.get_mut(&key).and_then(|call| call.take_cause());
            return self.end_with_bye(now, key, given_up.unwrap_or(Cause::Cancelled));
        }
        self.events.push_back(Event::Answered { call: key, dialog: id, response, described });
    }

    /// RFC 4028 §7.3: after a 422 the INVITE goes again with a longer interval.
    fn asked_for_longer(&mut self, now: Instant, key: CallKey, response: &Response) -> bool {
        if response.status() != StatusCode::SESSION_INTERVAL_TOO_SMALL || self.config.session_timer.is_none()
        {
            return false;
        }
        let Some(call) = self.calls.get_mut(&key) else { return false };
        let heard = call.session.min_se;
        call.session.learn(&response.headers);
        let longer = call.session.min_se > heard;
        let Some(setup) = &mut call.setup else { return false };
        setup.too_brief = setup.too_brief.saturating_add(1);
        if !longer || setup.too_brief > MAX_TOO_BRIEF || call.state != CallState::Calling {
            return false;
        }
        let (mut request, hop) = (setup.invite.clone(), setup.hop.clone());
        let (Some(hop), Ok(cseq)) = (hop, request.headers.require::<CSeq>()) else { return false };
        request.headers.set(&CSeq::new(cseq.number.saturating_add(1), Method::Invite));
        self.ask_timer(key, &mut request);
        self.send_invite_again(now, key, request, hop)
    }

    /// Has another offer at hand for a call that [`Dialogs::invite`] made: should the first be refused for what it offers (415,
    /// 488, 606), the INVITE goes once more with this one, under the same Call-ID and the next CSeq (RFC 3261 §8.1.3.5), and
    /// [`Event::OfferedAgain`] tells it.
    ///
    /// # Errors
    /// If there is no such call, or it has been answered.
    pub fn offer_if_refused(&mut self, key: CallKey, offer: Body) -> Result<(), Error> {
        let setup = self.calls.get_mut(&key).and_then(|call| call.setup.as_mut());
        setup.ok_or(Error::NoSuchCall)?.second_offer = Some(Box::new(offer));
        Ok(())
    }

    fn offered_again(&mut self, now: Instant, key: CallKey, status: StatusCode) -> bool {
        let of_offer = [
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::NOT_ACCEPTABLE_HERE,
            StatusCode::NOT_ACCEPTABLE_ANYWHERE,
        ];
        let Some(call) = self.calls.get_mut(&key) else { return false };
        if !of_offer.contains(&status) || call.state != CallState::Calling {
            return false;
        }
        let Some(setup) = &mut call.setup else { return false };
        let (Some(offer), Some(hop)) = (setup.second_offer.take(), setup.hop.clone()) else { return false };
        let mut request = setup.invite.clone();
        let Ok(cseq) = request.headers.require::<CSeq>() else { return false };
        request.headers.set(&CSeq::new(cseq.number.saturating_add(1), Method::Invite));
        request.set_body(&offer.content_type, offer.octets);
        let sent = self.send_invite_again(now, key, request, hop);
        if sent {
            self.events.push_back(Event::OfferedAgain { call: key });
        }
        sent
    }

    /// The same call, another INVITE: after a 422, a 3xx, or an offer that was refused.
    pub(crate) fn send_invite_again(
        &mut self,
        now: Instant,
        key: CallKey,
        request: Request,
        hop: sip_message::Uri,
    ) -> bool {
        let Some(call) = self.calls.get_mut(&key) else { return false };
        let early = call.take_early();
        if let Some(setup) = &mut call.setup {
            setup.invite = request.clone();
            setup.hop = Some(hop.clone());
        }
        self.drop_early(now, key, early);
        match self.send(now, request, hop, Purpose::Invite(key)) {
            Ok(tx) => {
                if let Some(call) = self.calls.get_mut(&key) {
                    call.client = Some(tx);
                    if let (Some(sent), Some(setup)) = (self.sent.get(&tx), &mut call.setup) {
                        setup.invite = sent.request.clone();
                    }
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "an INVITE could not be sent again");
                false
            }
        }
    }

    /// It has been ringing for long enough: our INVITE is given up, or the peer's answered (RFC 3261 §13.3.1.1, §9).
    pub(crate) fn no_answer(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        match call.state {
            CallState::Calling => {
                call.state = CallState::Cancelling;
                call.cause = Some(Box::new(Cause::NoAnswer));
                self.cancel_transaction(now, key, None);
            }
            CallState::Ringing => {
                let Ok((tx, builder)) = self.response_to_invite(key, StatusCode::REQUEST_TERMINATED) else {
                    return;
                };
                if let Ok(response) = builder.build() {
                    self.answer(now, tx, response);
                }
                self.end(now, key, Cause::NoAnswer);
            }
            _ => {}
        }
    }

    /// Sends the ACK for a 2xx.
    pub(crate) fn acknowledge_success(
        &mut self,
        now: Instant,
        key: CallKey,
        cseq: u32,
        invite: &Request,
        answer: Option<Body>,
    ) {
        let Some(call) = self.calls.get(&key) else { return };
        let Some(dialog) = &call.dialog else { return };
        let mut builder = dialog.ack(cseq);
        if let Some(Body { content_type, octets }) = answer {
            builder = builder.body(&content_type, octets);
        }
        let (id, hop) = (dialog.id().clone(), dialog.next_hop().clone());
        let Ok(mut ack) = self.finish(builder) else { return };
        copy_credentials(invite, &mut ack);
        self.send_ack(now, id, cseq, ack, hop);
    }

    /// Acknowledges a 2xx that brought an offer, with the answer to it (§13.2.2.4).
    ///
    /// # Errors
    /// If no 2xx waits for an answer.
    pub fn acknowledge(&mut self, now: Instant, key: CallKey, answer: Body) -> Result<(), Error> {
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let wrong =
            Error::WrongState { state: call.state.describe(), wanted: "a 2xx with an offer must have come" };
        let (cseq, invite) =
            call.reinvite.take_if(|invite| invite.is_unanswered()).and_then(|i| i.answer_due).ok_or(wrong)?;
        call.session.exchange.send(Carrier::Ack);
        if call.state == CallState::AnswerDue {
            call.state = CallState::Confirmed;
        }
        self.acknowledge_success(now, key, cseq, &invite, Some(answer));
        Ok(())
    }

    pub(crate) fn invite_failed(&mut self, now: Instant, key: CallKey, failure: Failure) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let cause = match call.state {
            CallState::Cancelling => call.take_cause().unwrap_or(Cause::Cancelled),
            _ => Cause::Failed(failure),
        };
        self.end(now, key, cause);
    }

    /// Ends a call, whatever its state: CANCEL, refusal with 480, BYE, or BYE after the ACK still to come
    /// (§9.1, §15). [`Event::Ended`] follows.
    ///
    /// # Errors
    /// If there is no such call any more.
    pub fn hang_up(&mut self, now: Instant, key: CallKey) -> Result<(), Error> {
        self.hang_up_because(now, key, None)
    }

    /// As [`Dialogs::hang_up`], saying why in a Reason field (RFC 3326).
    ///
    /// # Errors
    /// If there is no such call any more.
    pub fn hang_up_because(
        &mut self,
        now: Instant,
        key: CallKey,
        reason: Option<&Reason>,
    ) -> Result<(), Error> {
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        match call.state {
            CallState::Calling => {
                call.state = CallState::Cancelling;
                self.cancel_transaction(now, key, reason);
            }
            CallState::Ringing => self.reject(now, key, StatusCode::TEMPORARILY_UNAVAILABLE)?,
            CallState::Answered => call.bye_after_ack = Some(Box::new(reason.cloned())),
            CallState::AnswerDue | CallState::Confirmed => self.bye(now, key, Cause::HungUp, reason),
            CallState::Cancelling | CallState::Ending => {}
        }
        Ok(())
    }

    fn cancel_transaction(&mut self, now: Instant, key: CallKey, reason: Option<&Reason>) {
        let Some(tx) = self.calls.get(&key).and_then(|call| call.client) else { return };
        // A final response that crossed makes this fail, and ends the call by itself.
        self.cancel(now, tx, reason);
    }

    /// The call ends while a 2xx of the peer waits for our answer to its offer: the ACK is due all the same, and to say nothing is
    /// all that can be said (§13.2.2.4).
    pub(crate) fn close_unanswered(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let open =
            call.reinvite.take_if(|invite| invite.is_unanswered()).and_then(|invite| invite.answer_due);
        if let Some((cseq, invite)) = open {
            self.acknowledge_success(now, key, cseq, &invite, None);
        }
    }

    /// Sends BYE and keeps the call until it is answered.
    pub(crate) fn bye(&mut self, now: Instant, key: CallKey, cause: Cause, reason: Option<&Reason>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(dialog) = call.dialog.as_mut() else { return self.end(now, key, cause) };
        let hop = dialog.next_hop().clone();
        let mut builder = dialog.request(Method::Bye);
        if let Some(reason) = reason {
            builder = builder.header(reason);
        }
        call.state = CallState::Ending;
        call.cause = Some(Box::new(cause));
        let pending = call.peer_reinvite.take();
        let offered = call.session.peer_offer.take();
        self.close_unanswered(now, key);
        if let Some((tx, request)) = pending.map(|pending| *pending) {
            self.by_server.remove(&tx);
            self.answer_status(now, tx, &request, StatusCode::REQUEST_TERMINATED);
        }
        if let Some((tx, request)) = offered.map(|offered| *offered) {
            self.answer_status(now, tx, &request, StatusCode::REQUEST_TERMINATED);
        }
        self.deadlines.cancel_all(key);
        if let Some(call) = self.calls.get_mut(&key) {
            call.success = None;
        }
        self.leave_reinvite(now, key);
        let sent = self.finish(builder).and_then(|bye| self.send(now, bye, hop, Purpose::Bye(key)));
        if let Err(error) = sent {
            tracing::warn!(%error, "a BYE could not be sent");
            self.bye_answered(now, key);
        }
    }

    /// Ends a call in whatever way its state asks for.
    pub(crate) fn end_with_bye(&mut self, now: Instant, key: CallKey, cause: Cause) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        match call.state {
            CallState::Ending | CallState::Cancelling => {}
            CallState::Calling => {
                // The INVITE is not over yet: forgotten, its 2xx would have neither ACK nor BYE.
                call.state = CallState::Cancelling;
                call.cause = Some(Box::new(cause));
                self.cancel_transaction(now, key, None);
            }
            CallState::Ringing => {
                let status = StatusCode::TEMPORARILY_UNAVAILABLE;
                let response =
                    self.response_to_invite(key, status).map(|(tx, builder)| (tx, builder.build()));
                if let Ok((tx, Ok(response))) = response {
                    self.answer(now, tx, response);
                }
                self.end(now, key, cause);
            }
            _ => self.bye(now, key, cause, None),
        }
    }

    /// A dialog is over (§12.2.1.2): with it the call, unless it was that of one phone among others that ring for our INVITE, or
    /// the call stands with another phone by now.
    pub(crate) fn dialog_is_over(&mut self, now: Instant, key: CallKey, id: &DialogId, cause: Cause) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if let Some(dialog) = &call.dialog {
            if dialog.id() != id {
                return;
            }
        } else if let Some(setup) = &mut call.setup {
            let ended = setup.early.extract_if(.., |early| early.dialog.id() == id).collect();
            let others = !setup.early.is_empty();
            self.drop_early(now, key, ended);
            if others {
                return;
            }
        }
        self.end_with_bye(now, key, cause);
    }

    /// A request of a subscription in the same dialog, with a higher number, has overtaken our BYE: the peer had to refuse it as
    /// out of order (§12.2.2) and believes that the call goes on. It is hung up again with a number of now.
    pub(crate) fn bye_overtaken(
        &mut self,
        now: Instant,
        key: CallKey,
        bye: &Request,
        status: StatusCode,
    ) -> bool {
        let number = bye.headers.get::<CSeq>().ok().flatten().map(|cseq| cseq.number);
        let Some(call) = self.calls.get_mut(&key) else { return false };
        let last = call.dialog.as_ref().map(Dialog::local_cseq);
        if status != StatusCode::SERVER_INTERNAL_ERROR || last <= number {
            return false;
        }
        let cause = call.take_cause().unwrap_or(Cause::HungUp);
        self.bye(now, key, cause, None);
        true
    }

    /// Whatever the answer to a BYE is, the call is over (§15.1.1).
    pub(crate) fn bye_answered(&mut self, now: Instant, key: CallKey) {
        let cause = self.calls.get_mut(&key).and_then(|call| call.take_cause()).unwrap_or(Cause::HungUp);
        self.end(now, key, cause);
    }

    /// Tells that a call is over and forgets it.
    pub(crate) fn end(&mut self, now: Instant, key: CallKey, cause: Cause) {
        if self.forget(now, key) {
            self.events.push_back(Event::Ended { call: key, cause });
        }
    }

    pub(crate) fn forget(&mut self, now: Instant, key: CallKey) -> bool {
        let Some(mut call) = self.calls.remove(&key) else { return false };
        self.deadlines.cancel_all(key);
        let of_setup = call.setup.as_ref().and_then(|setup| setup.invite.headers.text(HeaderName::CALL_ID));
        let of_dialog = call.dialog.as_ref().map(|dialog| dialog.id().call_id.as_str());
        if let Some(call_id) = of_dialog.or(of_setup) {
            self.credentials.forget(call_id);
            if let Some(ids) = &mut self.session_ids {
                ids.forget(call_id);
            }
        }
        self.refuse_waiting(now, &mut call.session);
        self.drop_early(now, key, call.take_early());
        if let Some(dialog) = call.dialog.take() {
            self.by_dialog.remove(dialog.id(), key);
            self.keep_for_subscriptions(dialog);
        }
        if let Some(tx) = call.server {
            self.by_server.remove(&tx);
        }
        if let Some(reinvite) = &call.peer_reinvite {
            self.by_server.remove(&reinvite.0);
        }
        true
    }

    /// Early dialogs end when the INVITE is sent anew, fails, or is answered by another phone (§13.2.2.3).
    pub(crate) fn drop_early(&mut self, now: Instant, key: CallKey, early: Vec<Early>) {
        for mut early in early {
            self.by_dialog.remove(early.dialog.id(), key);
            self.refuse_waiting(now, &mut early.session);
        }
    }

    /// A request of the peer that waits for the application is answered when its dialog ends (RFC 3261 §15.1.2).
    pub(crate) fn refuse_waiting(&mut self, now: Instant, session: &mut Session) {
        if let Some((tx, request)) = session.peer_offer.take().map(|offered| *offered) {
            self.answer_status(now, tx, &request, StatusCode::REQUEST_TERMINATED);
        }
    }
}
