//! What a call leaves behind for 64·T1: the ACK of each 2xx, forks that answer late, a re-INVITE without an answer
//! (RFC 3261 §13.2.2.4).

use std::time::Instant;

use sip_message::headers::{CSeq, Contact};
use sip_message::{HeaderName, Identity, Method, Request, Response, Uri};
use sip_transaction::{ClientTx, Target};

use crate::call::{Call, CallState, Early, Reinvite, Session};
use crate::dialog::{Dialog, DialogId};
use crate::event::{CallKey, Event};
use crate::layer::{Dialogs, Purpose};
use crate::offer_answer::{Carrier, Described};
use crate::options::{describes_session, response_describes};

/// An ACK for a 2xx, to be sent again whenever the 2xx comes again (RFC 3261 §13.2.2.4).
#[derive(Debug)]
pub(crate) struct CachedAck {
    cseq: u32,
    ack: Request,
    hop: Uri,
}

/// Phones of one INVITE that are acknowledged and hung up: each 2xx with a To tag of its own costs us an ACK that is kept
/// and a BYE transaction, so that one forger could make thousands of them.
const MAX_REFUSED_FORKS: usize = crate::call::MAX_EARLY_DIALOGS;

/// A forked INVITE that was answered: further 2xx to it make dialogs to be ended at once.
#[derive(Debug)]
pub(crate) struct Fork {
    invite: Request,
    cseq: u32,
    contact: Contact,
    /// Phones that rang: their dialogs count on if they answer too late.
    early: Vec<Early>,
    /// Phones that were acknowledged and hung up.
    refused: usize,
    /// The call had been given up before the first phone answered: nobody waits for another.
    given_up: bool,
}

impl Fork {
    pub(crate) fn new(cseq: u32, invite: Request, contact: Contact, early: Vec<Early>) -> Self {
        Self { invite, cseq, contact, early, refused: 0, given_up: false }
    }

    /// The call was cancelled, and its first 2xx crossed the CANCEL (RFC 3261 §9.1): whoever else answers is hung up too.
    pub(crate) fn given_up(mut self, given_up: bool) -> Self {
        self.given_up = given_up;
        self
    }

    /// The dialog that a 2xx makes, and its session if the phone rang before.
    fn dialog(&mut self, response: &Response, id: &DialogId) -> Option<(Dialog, Session)> {
        let fresh = Dialog::of_client(&self.invite, response, &self.contact).ok()?;
        let Some(at) = self.early.iter().position(|early| early.dialog.id() == id) else {
            let mut session = Session::default();
            session.exchange.invite(true, describes_session(&self.invite.headers, self.invite.body()));
            return Some((fresh, session));
        };
        let mut early = self.early.swap_remove(at);
        early.dialog.rebuild(&self.invite, response).ok()?;
        Some((early.dialog, early.session))
    }
}

#[derive(Debug)]
pub(crate) enum Lingering {
    Ack(DialogId, u32),
    Fork(String, String),
    /// A re-INVITE whose call is over: its peer may have forgotten it, and an INVITE that was answered 100 ends by CANCEL alone.
    Invite(ClientTx),
}

impl Dialogs {
    /// Sends an ACK for a 2xx and keeps it for the 2xx's repetitions.
    pub(crate) fn send_ack(&mut self, now: Instant, id: DialogId, cseq: u32, mut ack: Request, hop: Uri) {
        self.stamp_request(&mut ack);
        self.transmit_ack(ack.clone(), hop.clone());
        self.lingering.push_back((now + self.patience(), Lingering::Ack(id.clone(), cseq)));
        self.acks.insert(id, Box::new(CachedAck { cseq, ack, hop }));
    }

    fn transmit_ack(&mut self, ack: Request, hop: Uri) {
        if let Err(error) = self.transactions.send_stateless(ack, Target::Uri(hop), &mut self.out) {
            tracing::warn!(%error, "an ACK could not be sent; the repeated 2xx gives another chance");
        }
    }

    /// Gives a re-INVITE that a call leaves behind its time to be answered.
    pub(crate) fn leave_reinvite(&mut self, now: Instant, call: CallKey) {
        let until = now + self.patience();
        let Some(call) = self.calls.get_mut(&call) else { return };
        let Some(tx) = call.client.take() else { return };
        self.lingering.push_back((until, Lingering::Invite(tx)));
        let number = self.sent.get(&tx).and_then(|sent| sent.request.headers.get::<CSeq>().ok().flatten());
        let Some((dialog, cseq)) = call.dialog.as_ref().zip(number.map(|cseq| cseq.number)) else { return };
        let (builder, hop) = (dialog.ack(cseq), dialog.next_hop().clone());
        if let Ok(ack) = self.finish(builder) {
            self.left.insert(tx, Box::new(CachedAck { cseq, ack, hop }));
        }
    }

    /// A re-INVITE is answered whose call is over: a 2xx must have its ACK all the same (§13.2.2.4).
    pub(crate) fn left_reinvite_answered(
        &mut self,
        now: Instant,
        left: Option<Box<CachedAck>>,
        invite: &Request,
        response: &Response,
    ) {
        let (Some(left), Ok(identity)) = (left, Identity::of(&response.headers)) else { return };
        if !response.status().is_success() {
            return;
        }
        let CachedAck { cseq, mut ack, mut hop } = *left;
        // The Contact of the 2xx is the new target, which a strict router keeps at the end of the route.
        let routed = ack.headers.contains(HeaderName::ROUTE);
        if let Ok(Some(target)) = response.headers.get::<Contact>()
            && let Some(target) = target.uri()
            && (!routed || hop.has_lr())
        {
            ack.set_uri(target);
            if !routed {
                hop = target.clone();
            }
        }
        copy_credentials(invite, &mut ack);
        self.send_ack(now, DialogId::of_response(&identity), cseq, ack, hop);
    }

    /// From now on further 2xx to this INVITE are of phones that answered too late.
    pub(crate) fn watch_forks(&mut self, now: Instant, id: &DialogId, fork: Fork) {
        let key = (id.call_id.clone(), id.local_tag.clone());
        self.lingering.push_back((now + self.patience(), Lingering::Fork(key.0.clone(), key.1.clone())));
        self.forks.insert(key, Box::new(fork));
    }

    /// A 2xx to an INVITE that is not the first from its transaction: a repetition wants its ACK again; one of
    /// another phone wants an ACK and a BYE (§13.2.2.4).
    pub(crate) fn success_came_again(&mut self, now: Instant, response: &Response) {
        let Ok(identity) = Identity::of(&response.headers) else { return };
        if !response.status().is_success() || identity.cseq.method != Method::Invite {
            return;
        }
        let id = DialogId::of_response(&identity);
        let number = identity.cseq.number;
        if let Some(cached) = self.acks.get(&id) {
            if cached.cseq == number {
                let (ack, hop) = (cached.ack.clone(), cached.hop.clone());
                self.transmit_ack(ack, hop);
            }
            return;
        }
        if self
            .call_with(&id)
            .and_then(|call| self.calls.get(&call))
            .is_some_and(|call| call.dialog.is_some())
        {
            return; // the answer to a delayed offer is not decided yet: its ACK follows
        }
        let Some(fork) = self.forks.get_mut(&(id.call_id.clone(), id.local_tag.clone())) else { return };
        if fork.cseq != number || fork.refused >= MAX_REFUSED_FORKS {
            return;
        }
        fork.refused = fork.refused.saturating_add(1);
        let (invite, contact, given_up) = (fork.invite.clone(), fork.contact.clone(), fork.given_up);
        let Some((dialog, session)) = fork.dialog(response, &id) else { return };
        if self.config.keep_forks && !given_up && self.has_room() {
            return self.keep_fork(now, invite, contact, dialog, session, response);
        }
        self.refuse_fork(now, &invite, number, dialog);
    }

    /// A phone that answered after the first becomes a call of its own.
    fn keep_fork(
        &mut self,
        now: Instant,
        invite: Request,
        contact: Contact,
        mut dialog: Dialog,
        session: Session,
        response: &Response,
    ) {
        let cseq = response.headers.get::<CSeq>().ok().flatten().map_or(1, |cseq| cseq.number);
        let key = CallKey(self.fresh_key());
        let mut call = Call::new(CallState::Confirmed, invite.clone(), contact);
        call.setup = None;
        call.session = session;
        call.session.learn(&response.headers);
        let described = match response_describes(response) {
            true => call.session.exchange.receive(Carrier::Success),
            false => Described::Nothing,
        };
        call.session.exchange.close_invite();
        if described == Described::Offer {
            call.state = CallState::AnswerDue;
            call.reinvite = Some(Box::new(Reinvite::unanswered(cseq, invite.clone())));
        }
        if let Some(ids) = &mut self.session_ids {
            ids.share(&dialog.id().call_id);
        }
        self.by_dialog.insert(dialog.id(), key);
        dialog.share(&mut self.locals, &mut self.contacts);
        call.dialog = Some(dialog);
        self.calls.insert(key, call);
        if described != Described::Offer {
            self.acknowledge_success(now, key, cseq, &invite, None);
        }
        self.agree_timer(now, key, &invite, response);
        self.events.push_back(Event::Forked { call: key, response: response.clone(), described });
    }

    /// ACK and BYE for a phone that answered too late.
    fn refuse_fork(&mut self, now: Instant, invite: &Request, cseq: u32, mut dialog: Dialog) {
        let hop = dialog.next_hop().clone();
        let Ok(mut ack) = self.finish(dialog.ack(cseq)) else { return };
        copy_credentials(invite, &mut ack);
        self.send_ack(now, dialog.id().clone(), cseq, ack, hop.clone());
        if let Ok(bye) = self.finish(dialog.request(Method::Bye)) {
            let _ = self.send(now, bye, hop, Purpose::Surplus);
        }
    }

    /// What need not be kept any longer.
    pub(crate) fn forget_lingering(&mut self, now: Instant) {
        while self.lingering.front().is_some_and(|(at, _)| *at <= now) {
            match self.lingering.pop_front() {
                Some((_, Lingering::Ack(id, cseq)))
                    if self.acks.get(&id).is_some_and(|ack| ack.cseq == cseq) =>
                {
                    self.acks.remove(&id);
                }
                Some((_, Lingering::Ack(..))) | None => {} // a newer ACK of that dialog stands
                Some((_, Lingering::Fork(call_id, tag))) => {
                    self.forks.remove(&(call_id, tag));
                }
                Some((_, Lingering::Invite(tx))) => {
                    if self.sent.contains_key(&tx) {
                        self.cancel(now, tx, None);
                    }
                }
            }
        }
    }
}

/// The ACK for a 2xx carries the credentials of its INVITE (RFC 3261 §22.1).
pub(crate) fn copy_credentials(invite: &Request, ack: &mut Request) {
    ack.headers.copy_from(&invite.headers, HeaderName::AUTHORIZATION);
    ack.headers.copy_from(&invite.headers, HeaderName::PROXY_AUTHORIZATION);
}
