//! Provisional responses that arrive for certain (RFC 3262), in both roles.
//!
//! ```text
//!   caller                                        callee
//!     | INVITE (Supported: 100rel)                  |
//!     |-------------------------------------------->|
//!     |           183 (Require: 100rel, RSeq: 1)    | sent again after T1, 2·T1, 4·T1 ...
//!     |<--------------------------------------------|
//!     | PRACK (RAck: 1 1 INVITE)                    |
//!     |-------------------------------------------->| the next one may go out
//!     |                          200 (PRACK)        |
//!     |<--------------------------------------------| none for 64·T1: 504 to the INVITE
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, OptionTag, RAck, RSeq, Require};
use sip_message::{Identity, Method, Request, Response, StatusCode};
use sip_transaction::ServerTx;

use crate::call::{Call, CallState, Early, MAX_EARLY_DIALOGS, Session};
use crate::deadlines::Due;
use crate::dialog::{Dialog, DialogId};
use crate::event::{Body, CallKey, Cause, Error, Event, OfferKey};
use crate::layer::{Dialogs, Purpose};
use crate::offer_answer::{Carrier, Described, Open};
use crate::options::{describes_session, requires, response_describes, supports, with_body};

/// Provisional responses that wait for the PRACK of the one before: an application that rings without end must not fill the
/// memory while its peer is silent. The newest gives way.
const MAX_QUEUED: usize = 8;

/// How often a provisional response is repeated so that proxies do not give up (RFC 3261 §13.3.1.1).
const REPEAT: Duration = Duration::from_secs(60);
/// The same with reliable ones (RFC 3262 §3).
const REPEAT_RELIABLE: Duration = Duration::from_secs(150);

/// Which provisional responses are sent reliably to a caller that supports it. To one that demands it all are (RFC 3262 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReliableProvisionals {
    /// None: a PRACK costs a transaction.
    Demanded,
    /// Those that describe a session: early media would start on one side alone if they were lost.
    #[default]
    Describing,
    /// All.
    All,
}

/// One that waits for its PRACK.
#[derive(Debug)]
struct Outstanding {
    tx: ServerTx,
    ack: RAck,
    response: Response,
    interval: Duration,
    /// It carried a session description: the 2xx must wait for the PRACK (RFC 3262 §3).
    describes: bool,
}

/// The reliable provisional responses of one INVITE of the peer.
#[derive(Debug, Default)]
pub(crate) struct Reliable {
    last: Option<u32>,
    outstanding: Option<Box<Outstanding>>,
    queue: VecDeque<(StatusCode, Option<Body>)>,
    /// The application has accepted, and the 2xx waits for the PRACK.
    accepted: Option<Box<Option<Body>>>,
}

impl Reliable {
    /// Whether a description of ours is on its way and not acknowledged: nothing else may be offered (RFC 3311 §5.1).
    pub(crate) fn is_describing(&self) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.describes)
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }
}

impl Dialogs {
    /// Sends a provisional response (RFC 3261 §13.3.1.1), and again from time to time until the final one: reliably if
    /// the caller demands it, or can do it and [`Config::reliable`](crate::Config::reliable) says so (RFC 3262). One waits
    /// for the PRACK of the one before.
    ///
    /// A body is a forecast of the answer, or the answer itself if the response is reliable; to an INVITE without an offer
    /// it is the offer, which only a reliable response can carry.
    ///
    /// # Errors
    /// If the call is not ringing here, the status is not provisional, a body may not stand in it, or the response cannot be
    /// built.
    pub fn ring(
        &mut self,
        now: Instant,
        key: CallKey,
        status: StatusCode,
        body: Option<Body>,
    ) -> Result<(), Error> {
        let call = self.calls.get(&key).ok_or(Error::NoSuchCall)?;
        let (_, request) = self.unanswered(key)?;
        if !status.is_provisional() {
            let wanted = "only a status from 100 to 199 rings";
            return Err(Error::WrongState { state: call.state.describe(), wanted });
        }
        let demanded = requires(&request.headers, OptionTag::Reliable);
        let wanted = match self.config.reliable {
            ReliableProvisionals::Demanded => false,
            ReliableProvisionals::Describing => body.is_some(),
            ReliableProvisionals::All => true,
        };
        let possible = wanted && supports(&request.headers, OptionTag::Reliable);
        // Without an offer so far the first reliable response must bring one (RFC 3261 §13.2.1).
        let silent = call.session.exchange.offer_due() && body.is_none();
        if demanded && silent && status != StatusCode::TRYING {
            let wanted = "the caller demands reliable responses, and the first has to bring our offer";
            return Err(Error::Described(wanted));
        }
        let reliably = status != StatusCode::TRYING && (demanded || possible) && !silent;
        let carrier = if reliably { Carrier::ReliableProvisional } else { Carrier::Provisional };
        if body.is_some() && call.session.exchange.would_send(carrier) == Described::Nothing {
            return Err(Error::Described("a provisional response can carry no offer, and no second answer"));
        }
        if !reliably {
            return self.ring_unreliably(now, key, status, body);
        }
        let Some(call) = self.calls.get_mut(&key) else { return Err(Error::NoSuchCall) };
        if call.reliable.outstanding.is_some() {
            if call.reliable.queue.len() >= MAX_QUEUED {
                call.reliable.queue.pop_back();
            }
            call.reliable.queue.push_back((status, body));
            return Ok(());
        }
        self.ring_reliably(now, key, status, body)
    }

    fn ring_unreliably(
        &mut self,
        now: Instant,
        key: CallKey,
        status: StatusCode,
        body: Option<Body>,
    ) -> Result<(), Error> {
        let (tx, builder) = self.response_to_invite(key, status)?;
        let response = with_body(builder, body).build()?;
        self.remember_provisional(key, &response);
        self.answer(now, tx, response);
        self.deadlines.arm(now + REPEAT, key, Due::RepeatProvisional);
        Ok(())
    }

    fn ring_reliably(
        &mut self,
        now: Instant,
        key: CallKey,
        status: StatusCode,
        body: Option<Body>,
    ) -> Result<(), Error> {
        // RFC 3262 §3: the first number is random below 2³¹, each further one greater by one.
        let first = u32::try_from(self.chance() & 0x7fff_ffff).unwrap_or(1).max(1);
        let (tx, builder) = self.response_to_invite(key, status)?;
        let (interval, patience) = (self.t1(), self.patience());
        let (_, request) = self.unanswered(key)?;
        let cseq = request.headers.require::<CSeq>()?.number;
        let builder = self.answer_info_packages(&request.headers, builder);
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let rseq = call.reliable.last.map_or(first, |last| last.saturating_add(1));
        let describes = body.is_some();
        let builder = builder.header(&Require::from(OptionTag::Reliable)).header(&RSeq(rseq));
        let response = with_body(builder, body).build()?;
        if describes {
            call.session.exchange.send(Carrier::ReliableProvisional);
        }
        if let Some(invite) = call.peer_reinvite.as_ref().map(|reinvite| reinvite.1.clone())
            && let Some(dialog) = &mut call.dialog
        {
            dialog.accept_refresh(&invite); // RFC 6141 §4.6: from the first reliable response on
        }
        call.reliable.last = Some(rseq);
        let ack = RAck::new(rseq, cseq, Method::Invite);
        call.reliable.outstanding =
            Some(Box::new(Outstanding { tx, ack, response: response.clone(), interval, describes }));
        self.remember_provisional(key, &response);
        self.deadlines.arm(now + interval, key, Due::RepeatReliable);
        self.deadlines.arm(now + patience, key, Due::NoPrack);
        self.deadlines.arm(now + REPEAT_RELIABLE, key, Due::RepeatProvisional);
        self.answer(now, tx, response);
        Ok(())
    }

    fn remember_provisional(&mut self, key: CallKey, response: &Response) {
        if let Some(setup) = self.calls.get_mut(&key).and_then(|call| call.setup.as_mut()) {
            setup.provisional = Some(response.clone());
        }
    }

    /// The time of [`REPEAT`] or [`REPEAT_RELIABLE`] is over without a final response.
    pub(crate) fn repeat_provisional(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get(&key) else { return };
        let provisional = call.setup.as_ref().and_then(|setup| setup.provisional.clone());
        let (CallState::Ringing, Some(tx), Some(response)) = (call.state, call.server, provisional) else {
            return;
        };
        if call.reliable.last.is_none() {
            self.answer(now, tx, response);
            return self.deadlines.arm(now + REPEAT, key, Due::RepeatProvisional);
        }
        if call.reliable.outstanding.is_none()
            && let Err(error) = self.ring_reliably(now, key, response.status(), None)
        {
            tracing::warn!(%error, "a provisional response could not be repeated");
        }
    }

    /// RFC 3262 §3: again after T1, doubling without a cap, as it is the PRACK that is sent again by itself.
    pub(crate) fn repeat_reliable(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(outstanding) = &mut call.reliable.outstanding else { return };
        outstanding.interval = outstanding.interval.saturating_mul(2);
        let (tx, response, interval) = (outstanding.tx, outstanding.response.clone(), outstanding.interval);
        self.deadlines.arm(now + interval, key, Due::RepeatReliable);
        self.answer(now, tx, response);
    }

    /// RFC 3262 §3: without a PRACK for 64·T1 the INVITE is refused.
    pub(crate) fn no_prack(&mut self, now: Instant, key: CallKey) {
        let Ok((tx, builder)) = self.response_to_invite(key, StatusCode::SERVER_TIME_OUT) else { return };
        let response = match builder.reason("No PRACK").build() {
            Ok(response) => response,
            Err(error) => return tracing::error!(%error, "a 504 cannot be built"),
        };
        self.by_server.remove(&tx);
        self.answer(now, tx, response);
        self.forget_reliable(key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.peer_reinvite.take().is_some() {
            call.session.exchange.fail_invite();
            self.events.push_back(Event::ReinviteCancelled { call: key });
        } else {
            self.end(now, key, Cause::NotAcknowledged);
        }
    }

    /// The INVITE has its final response: nothing is repeated any more (RFC 3262 §3). A PRACK still to come is answered
    /// as long as the call lives.
    pub(crate) fn stop_reliable(&mut self, key: CallKey) {
        for due in [Due::RepeatProvisional, Due::RepeatReliable, Due::NoPrack] {
            self.deadlines.cancel(key, due);
        }
        if let Some(call) = self.calls.get_mut(&key) {
            call.reliable.queue.clear();
            call.reliable.accepted = None;
            call.reliable.last = None;
        }
    }

    pub(crate) fn forget_reliable(&mut self, key: CallKey) {
        self.stop_reliable(key);
        if let Some(call) = self.calls.get_mut(&key) {
            call.reliable = Reliable::default();
        }
    }

    /// The application accepts while a description of ours is not acknowledged: the 2xx waits (RFC 3262 §3).
    pub(crate) fn accept_after_prack(&mut self, key: CallKey, body: Option<Body>) -> Option<Option<Body>> {
        let Some(call) = self.calls.get_mut(&key) else { return Some(body) };
        if !call.reliable.is_describing() {
            return Some(body);
        }
        call.reliable.accepted = Some(Box::new(body));
        None
    }

    pub(crate) fn prack_came(
        &mut self,
        now: Instant,
        key: CallKey,
        id: &DialogId,
        tx: ServerTx,
        prack: Request,
    ) {
        let Ok(ack) = prack.headers.require::<RAck>() else {
            return self.answer_status(now, tx, &prack, StatusCode::BAD_REQUEST);
        };
        let Some(call) = self.calls.get_mut(&key) else { return };
        let matched = call.reliable.outstanding.take_if(|outstanding| outstanding.ack == ack);
        if matched.is_none() {
            return self.answer_status(now, tx, &prack, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        }
        self.deadlines.cancel(key, Due::RepeatReliable);
        self.deadlines.cancel(key, Due::NoPrack);
        let Some(call) = self.calls.get_mut(&key) else { return };
        let described = match describes_session(&prack.headers, prack.body()) {
            true => call.session.exchange.receive(Carrier::Prack),
            false => Described::Nothing,
        };
        if described == Described::Offer {
            call.session.peer_offer = Some(Box::new((tx, prack.clone())));
            let offer = OfferKey { call: key, dialog: id.clone(), tx };
            return self.events.push_back(Event::Offered { offer, request: prack });
        }
        // Our offer had to be answered in this PRACK (RFC 3262 §5); the application decides about a peer that did not.
        if call.session.exchange.open == Open::Ours(Carrier::ReliableProvisional) {
            call.session.exchange.withdraw();
        }
        self.answer_status(now, tx, &prack, StatusCode::OK);
        self.events.push_back(Event::ProvisionalAcknowledged { call: key, prack, described });
        self.after_prack(now, key);
    }

    /// What had to wait for the PRACK: the 2xx, or the next provisional response.
    pub(crate) fn after_prack(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.session.peer_offer.is_some() || call.reliable.outstanding.is_some() {
            return;
        }
        if let Some(body) = call.reliable.accepted.take() {
            if let Err(error) = self.accept(now, key, *body) {
                tracing::warn!(%error, "a call that was accepted before its PRACK could not be answered");
            }
            return;
        }
        if let Some((status, body)) = call.reliable.queue.pop_front() {
            let fits = call.session.exchange.would_send(Carrier::ReliableProvisional) != Described::Nothing;
            if let Err(error) = self.ring_reliably(now, key, status, body.filter(|_| fits)) {
                tracing::debug!(%error, "a provisional response came too late");
            }
        }
    }

    // ---- the caller's side ----------------------------------------------------------------------------------

    /// A provisional response to our INVITE, the first or a further one.
    pub(crate) fn progress_came(&mut self, now: Instant, key: CallKey, response: Response) {
        if response.status() == StatusCode::TRYING {
            return;
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.state == CallState::Ending {
            // A PRACK with a number over that of our BYE would make the BYE be refused as out of order, if it overtook it
            // (RFC 3261 §12.2.2); and the BYE ends the INVITE (§15.1.2).
            return;
        }
        let id = Identity::of(&response.headers)
            .ok()
            .filter(|identity| identity.to.tag().is_some())
            .map(|identity| DialogId::of_response(&identity));
        let again = call.dialog.is_some();
        let fresh = id.as_ref().is_some_and(|id| call.dialog_mut(id).is_none());
        let exchange = call.session.exchange;
        if fresh
            && let (Some(id), Some(setup)) = (&id, &mut call.setup)
            && setup.early.len() < MAX_EARLY_DIALOGS
            && let Ok(dialog) = Dialog::of_client(&setup.invite, &response, &setup.contact)
        {
            let session = Session { exchange, ..Session::default() };
            setup.early.push(Early { dialog, session });
            self.by_dialog.insert(id, key);
        }
        let Some(taken) = id.as_ref().map_or(Some(Taken::default()), |id| take_progress(call, id, &response))
        else {
            return; // repeated, or out of order (RFC 3262 §4)
        };
        let due = taken.described == Described::Offer;
        let live = matches!(call.state, CallState::Calling | CallState::Confirmed);
        if let (Some(ack), Some(id)) = (taken.ack, &id) {
            if !due {
                self.send_prack(now, key, id, &ack, None);
            } else if live && let Some((_, session)) = call.dialog_mut(id) {
                session.prack_due = Some(Box::new(ack));
            }
        }
        if !live {
            return;
        }
        let described = taken.described;
        self.events.push_back(match again {
            false => Event::Progress { call: key, dialog: id, response, described },
            true => Event::ReinviteProgress { call: key, response, described },
        });
    }

    /// Acknowledges a reliable provisional response that brought an offer, with the answer to it (RFC 3262 §5).
    ///
    /// # Errors
    /// If none of this dialog waits for an answer, or the PRACK cannot be built.
    pub fn acknowledge_provisional(
        &mut self,
        now: Instant,
        key: CallKey,
        dialog: &DialogId,
        answer: Body,
    ) -> Result<(), Error> {
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let state = call.state.describe();
        let wanted = "a provisional response with an offer must have come in this dialog";
        let due = call.dialog_mut(dialog).and_then(|(_, session)| {
            let due = session.prack_due.take()?;
            session.exchange.send(Carrier::Prack);
            Some(due)
        });
        let due = due.ok_or(Error::WrongState { state, wanted })?;
        self.send_prack(now, key, dialog, &due, Some(answer));
        Ok(())
    }

    fn send_prack(&mut self, now: Instant, key: CallKey, id: &DialogId, ack: &RAck, answer: Option<Body>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some((dialog, _)) = call.dialog_mut(id) else { return };
        let hop = dialog.next_hop().clone();
        let mut builder = dialog.request(Method::Prack).header(ack);
        if let Some(Body { content_type, octets }) = answer {
            builder = builder.body(&content_type, octets);
        }
        let sent = self.finish(builder).and_then(|prack| self.send(now, prack, hop, Purpose::Prack(key)));
        if let Err(error) = sent {
            tracing::warn!(%error, "a PRACK could not be sent; the callee gives the call up");
        }
    }
}

impl Dialogs {
    /// A PRACK that is refused concerns itself alone, and the INVITE decides; but its answer has not been taken then.
    pub(crate) fn prack_answered(&mut self, key: CallKey, prack: &Request, status: StatusCode) {
        let Ok(identity) = Identity::of(&prack.headers) else { return };
        let answered = describes_session(&prack.headers, prack.body());
        if !status.is_success() && answered && self.calls.contains_key(&key) {
            let dialog = DialogId::of_own_request(&identity);
            self.events.push_back(Event::AnswerRefused { call: key, dialog, status });
        }
    }

    /// RFC 3261 §12.2.1.2: in a call that stands, a request without any answer shows that the peer is gone. One that is being set up
    /// ends with its INVITE.
    pub(crate) fn prack_failed(&mut self, now: Instant, key: CallKey) {
        if self.state(key) == Some(CallState::Confirmed) {
            self.end_with_bye(now, key, Cause::Lost(StatusCode::REQUEST_TIMEOUT));
        }
    }
}

/// What a provisional response is, once it is known to be new.
#[derive(Default)]
struct Taken {
    described: Described,
    ack: Option<RAck>,
}

/// `None` for one that is repeated or out of order.
fn take_progress(call: &mut Call, id: &DialogId, response: &Response) -> Option<Taken> {
    let Some((dialog, session)) = call.dialog_mut(id) else { return Some(Taken::default()) };
    session.learn(&response.headers);
    let number = response.headers.get::<RSeq>().ok().flatten();
    let ack = match number {
        Some(RSeq(number)) if requires(&response.headers, OptionTag::Reliable) => {
            if session.rseq.is_some_and(|last| last.checked_add(1) != Some(number)) {
                return None;
            }
            session.rseq = Some(number);
            dialog.receive_refresh(response); // RFC 6141 §4.7: a reliable one alone moves the target
            let cseq = response.headers.require::<CSeq>().ok()?;
            Some(RAck::new(number, cseq.number, cseq.method))
        }
        _ => None,
    };
    let carrier = if ack.is_some() { Carrier::ReliableProvisional } else { Carrier::Provisional };
    let described = match response_describes(response) {
        true => session.exchange.receive(carrier),
        false => Described::Nothing,
    };
    Some(Taken { described, ack })
}
