//! What becomes of requests of ours: whom an answer is for, challenges and the request again, and no answer at all (RFC 3261 §8.1.3,
//! §22.2).

use std::time::Instant;

use sip_message::headers::CSeq;
use sip_message::{Identity, Request, Response, StatusCode};
use sip_transaction::{ClientTx, Failure};
use sip_transport::Path;

use super::{Dialogs, Purpose, Sent};
use crate::dialog::DialogId;
use crate::event::{Cause, Event};

impl Dialogs {
    pub(super) fn response_came(&mut self, now: Instant, tx: ClientTx, response: Response, path: Path) {
        self.hear_session_id_of_response(&response);
        let status = response.status();
        let Some(sent) = self.sent.get(&tx) else {
            return self.success_came_again(now, &response); // a further 2xx of a fork, or one repeated
        };
        let purpose = sent.purpose;
        if status.is_provisional() {
            if let Purpose::Invite(call) | Purpose::Reinvite(call) = purpose {
                self.progress_came(now, call, response);
            }
            return;
        }
        let Some(sent) = self.sent.remove(&tx) else { return };
        let left = self.left.remove(&tx);
        self.credentials.receive_info(&sent.request, &response);
        let challenged =
            matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let sent = if challenged && left.is_none() {
            match self.with_credentials(sent, &response) {
                Ok(sent) => return self.retry(now, sent),
                Err(sent) => sent,
            }
        } else {
            sent
        };
        match purpose {
            Purpose::Invite(call) => self.invite_answered(now, call, response),
            Purpose::Reinvite(call) if !self.calls.contains_key(&call) => {
                self.left_reinvite_answered(now, left, &sent.request, &response);
            }
            Purpose::Reinvite(call) => self.reinvite_answered(now, call, &sent.request, response),
            Purpose::Bye(call) => {
                if !self.bye_overtaken(now, call, &sent.request, status) {
                    self.bye_answered(now, call);
                }
            }
            Purpose::Update(call) => self.update_answered(now, call, &sent.request, response),
            Purpose::Prack(call) => self.prack_answered(call, &sent.request, status),
            Purpose::InCall(call, key) => {
                let lost = matches!(
                    status,
                    StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT
                );
                self.events.push_back(Event::Response { key, result: Ok(response), path: Some(path) });
                if lost {
                    self.end_with_bye(now, call, Cause::Lost(status)); // §12.2.1.2
                }
            }
            Purpose::Free(key) => {
                self.events.push_back(Event::Response { key, result: Ok(response), path: Some(path) })
            }
            Purpose::Surplus => {}
            Purpose::Events(purpose) => self.event_answered(now, purpose, response),
        }
    }

    /// The request again with an answer to the challenge: same Call-ID and From tag, next CSeq (§22.2, §8.1.3.5).
    /// As it was if the challenge cannot be answered.
    fn with_credentials(&mut self, mut sent: Box<Sent>, response: &Response) -> Result<Box<Sent>, Box<Sent>> {
        let cnonce = self.token();
        let mut request = sent.request.clone();
        let in_call = sent.purpose.in_call();
        if !self.credentials.answer(&mut request, response, &mut sent.attempts, in_call, &cnonce) {
            return Err(sent);
        }
        let Some(cseq) = self.next_cseq(sent.purpose, &request) else { return Err(sent) };
        request.headers.set(&CSeq::new(cseq, request.method().clone()));
        sent.request = request;
        Ok(sent)
    }

    fn next_cseq(&mut self, purpose: Purpose, request: &Request) -> Option<u32> {
        let current = request.headers.require::<CSeq>().ok()?.number;
        let next = match purpose {
            Purpose::Reinvite(call)
            | Purpose::Bye(call)
            | Purpose::InCall(call, _)
            | Purpose::Prack(call)
            | Purpose::Update(call) => {
                let id = DialogId::of_own_request(&Identity::of(&request.headers).ok()?);
                let (dialog, _) = self.calls.get_mut(&call)?.dialog_mut(&id)?;
                let next = dialog.local_cseq().max(current).saturating_add(1);
                dialog.note_local_cseq(next);
                next
            }
            Purpose::Events(purpose) => self.event_cseq(purpose, current)?,
            Purpose::Invite(_) | Purpose::Free(_) | Purpose::Surplus => current.saturating_add(1),
        };
        Some(next)
    }

    fn retry(&mut self, now: Instant, sent: Box<Sent>) {
        let purpose = sent.purpose;
        if let Purpose::Invite(key) = purpose
            && let Some(call) = self.calls.get_mut(&key)
        {
            let early = call.take_early();
            if let Some(setup) = &mut call.setup {
                setup.invite = sent.request.clone();
            }
            self.drop_early(now, key, early);
        }
        let dialog = own_dialog(&sent);
        match self.resend(now, sent) {
            Ok(tx) => {
                if let Purpose::Events(purpose) = purpose {
                    self.event_resent(now, purpose, tx);
                }
                if let Purpose::Invite(call) | Purpose::Reinvite(call) = purpose {
                    self.invite_resent(now, call, purpose, tx);
                }
            }
            Err(_) => self.purpose_failed(now, purpose, dialog, Failure::Timeout),
        }
    }

    pub(super) fn failed(&mut self, now: Instant, tx: ClientTx, failure: Failure) {
        self.left.remove(&tx);
        if let Some(sent) = self.sent.remove(&tx) {
            self.purpose_failed(now, sent.purpose, own_dialog(&sent), failure);
        }
    }

    /// `dialog`: that of an UPDATE, which may be one of several that ring.
    fn purpose_failed(&mut self, now: Instant, purpose: Purpose, dialog: Option<DialogId>, failure: Failure) {
        match purpose {
            Purpose::Invite(call) => self.invite_failed(now, call, failure),
            Purpose::Reinvite(call) | Purpose::Update(call) => {
                let cause = Cause::Lost(StatusCode::REQUEST_TIMEOUT);
                match dialog {
                    Some(dialog) => self.dialog_is_over(now, call, &dialog, cause),
                    None => self.end_with_bye(now, call, cause),
                }
            }
            Purpose::Prack(call) => self.prack_failed(now, call),
            Purpose::Bye(call) => self.bye_answered(now, call),
            Purpose::InCall(call, key) => {
                self.events.push_back(Event::Response { key, result: Err(failure), path: None });
                self.end_with_bye(now, call, Cause::Lost(StatusCode::REQUEST_TIMEOUT));
            }
            Purpose::Free(key) => {
                self.events.push_back(Event::Response { key, result: Err(failure), path: None })
            }
            Purpose::Surplus => {}
            Purpose::Events(purpose) => self.event_failed(now, purpose, failure),
        }
    }
}

/// The dialog of an UPDATE of ours.
fn own_dialog(sent: &Sent) -> Option<DialogId> {
    let update = matches!(sent.purpose, Purpose::Update(_));
    let identity = update.then(|| Identity::of(&sent.request.headers).ok()).flatten()?;
    Some(DialogId::of_own_request(&identity))
}
