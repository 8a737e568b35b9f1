//! Transfers in both roles: asking a peer to call somebody (REFER, RFC 3515, RFC 5589), and doing what a peer asks.

use std::time::Instant;

use sdp::LocalMedia;
use sip_dialog::{CallKey, Cause, Refer, Report, SubscriptionChange, SubscriptionEnd, SubscriptionKey};
use sip_message::headers::{ReferredBy, Replaces};
use sip_message::{Header, Response, StatusCode, Uri};

use super::{PhoneCore, PhoneError, PhoneEvent};

/// What a peer asks for with a REFER, until it is done.
#[derive(Debug)]
pub(super) struct Asked {
    /// The call whose peer asks.
    call: Option<CallKey>,
    to: Uri,
    replaces: Option<Replaces>,
    by: Option<ReferredBy>,
}

impl PhoneCore {
    /// Asks the peer of a call to call somebody else instead (blind transfer, RFC 5589 §6). How it goes is told by
    /// [`PhoneEvent::Transfer`]; the call itself stays until it is hung up.
    ///
    /// # Errors
    /// If the call is not established.
    pub fn transfer(&mut self, now: Instant, call: CallKey, to: &Uri) -> Result<SubscriptionKey, PhoneError> {
        let mut refer = Refer::new(to.clone());
        refer.referred_by = Some(ReferredBy::new(self.config.identity.uri()));
        let key = self.dialogs.refer(now, call, refer)?;
        self.transfers.insert(key, call);
        self.dispatch(now);
        Ok(key)
    }

    /// Asks the peer of `call` to take our place in `other` (attended transfer, RFC 5589 §7): the two of them are connected
    /// then, and both our calls end.
    ///
    /// # Errors
    /// If one of the calls is not established.
    pub fn transfer_to(
        &mut self,
        now: Instant,
        call: CallKey,
        other: CallKey,
    ) -> Result<SubscriptionKey, PhoneError> {
        let replaces = self.dialogs.replacing(other).ok_or(PhoneError::NoSuchCall)?;
        let target = self.dialogs.dialog(other).ok_or(PhoneError::NoSuchCall)?.remote_target().clone();
        let to = sip_dialog::refer_to_replacing(&target, &replaces)
            .map_err(|_| PhoneError::Dialog(sip_dialog::Error::NoSuchCall))?;
        self.transfer(now, call, &to)
    }

    /// Asks a phone that we have no call with to call somebody (click-to-dial, RFC 5359 §2.19). How it goes is told by
    /// [`PhoneEvent::Subscription`] with [`SubscriptionChange::Progress`].
    ///
    /// # Errors
    /// If the REFER cannot be sent.
    pub fn refer(&mut self, now: Instant, to: &Uri, refer_to: &Uri) -> Result<SubscriptionKey, PhoneError> {
        let mut refer = Refer::new(refer_to.clone());
        refer.referred_by = Some(ReferredBy::new(self.config.identity.uri()));
        let (from, route) = (self.config.identity.clone(), self.route().to_vec());
        let key = self.dialogs.refer_outside(now, to.clone(), from, route, refer)?;
        self.dispatch(now);
        Ok(key)
    }

    /// A peer asks us to call somebody: the owner follows it, or declines.
    pub(super) fn referred(
        &mut self,
        referral: SubscriptionKey,
        call: Option<CallKey>,
        to: Uri,
        replaces: Option<Replaces>,
        by: Option<ReferredBy>,
    ) {
        let asked = Asked { call, to: to.clone(), replaces, by: by.clone() };
        let attended = asked.replaces.is_some();
        self.asked.insert(referral, asked);
        self.events.push_back(PhoneEvent::Referred { referral, call, to, by, attended });
    }

    /// Does what a peer asked for: calls whom it named, in the place of the call that it named if it did. The peer hears how it
    /// goes.
    ///
    /// # Errors
    /// If it was decided about before or too late, or the call cannot be made.
    pub fn follow(
        &mut self,
        now: Instant,
        referral: SubscriptionKey,
        media: LocalMedia,
    ) -> Result<CallKey, PhoneError> {
        let asked = self.asked.remove(&referral).ok_or(PhoneError::NoSuchCall)?;
        self.dialogs.accept_refer(now, referral)?;
        let mut fields = Vec::new();
        let written = |header: &dyn Fn(&mut String)| {
            let mut text = String::new();
            header(&mut text);
            text
        };
        if let Some(replaces) = &asked.replaces {
            fields.push(("Replaces".into(), written(&|text| replaces.write(text))));
            fields.push(("Require".into(), "replaces".into()));
        }
        if let Some(by) = &asked.by {
            fields.push(("Referred-By".into(), written(&|text| by.write(text))));
        }
        // RFC 7989 §6: our half of the session goes on.
        if let Some(id) = asked.call.and_then(|call| self.dialogs.session_id_for_another(call)) {
            fields.push(("Session-ID".into(), written(&|text| id.write(text))));
        }
        match self.call_with(now, &asked.to, media, fields) {
            Ok(call) => {
                self.followed.insert(call, referral);
                self.dispatch(now);
                Ok(call)
            }
            Err(error) => {
                self.tell_referrer(now, referral, &Report::new(StatusCode::SERVICE_UNAVAILABLE));
                Err(error)
            }
        }
    }

    /// Declines what a peer asked for.
    ///
    /// # Errors
    /// If it was decided about before.
    pub fn decline_referral(&mut self, now: Instant, referral: SubscriptionKey) -> Result<(), PhoneError> {
        self.asked.remove(&referral).ok_or(PhoneError::NoSuchCall)?;
        Ok(self.dialogs.decline_refer(now, referral, StatusCode::DECLINE)?)
    }

    /// A call that a peer asked for goes on, or has ended before its answer: the peer hears of it.
    pub(super) fn report_progress(&mut self, now: Instant, call: CallKey, response: &Response) {
        let Some(&referral) = self.followed.get(&call) else { return };
        if response.status().is_success() {
            self.followed.remove(&call);
        }
        self.tell_referrer(now, referral, &Report::of(response));
    }

    pub(super) fn report_end(&mut self, now: Instant, call: CallKey, cause: &Cause) {
        let Some(referral) = self.followed.remove(&call) else { return };
        let report = match cause {
            Cause::Rejected(response) => Report::of(response),
            Cause::Failed(failure) => Report::new(failure.status()),
            _ => Report::new(StatusCode::REQUEST_TERMINATED),
        };
        self.tell_referrer(now, referral, &report);
    }

    fn tell_referrer(&mut self, now: Instant, referral: SubscriptionKey, report: &Report) {
        if let Err(error) = self.dialogs.report(now, referral, report) {
            tracing::debug!(%error, "who asked for the call no longer listens");
        }
    }

    /// News of a transfer that we asked for. `false`: it is none.
    pub(super) fn transfer_changed(&mut self, key: SubscriptionKey, what: &SubscriptionChange) -> bool {
        let Some(&call) = self.transfers.get(&key) else { return false };
        let status = match what {
            SubscriptionChange::Progress { status } => *status,
            SubscriptionChange::Terminated { end, again: None } => {
                self.transfers.remove(&key);
                match end {
                    SubscriptionEnd::Refused(response) => response.status(),
                    SubscriptionEnd::Failed(failure) => failure.status(),
                    SubscriptionEnd::NoNotify | SubscriptionEnd::Expired => StatusCode::REQUEST_TIMEOUT,
                    // It was told before, or nothing is told: the peer does it, and that is all that is known.
                    SubscriptionEnd::NotMade => StatusCode::ACCEPTED,
                    _ => return self.transfer_over(key, call),
                }
            }
            _ => return true,
        };
        self.events.push_back(PhoneEvent::Transfer { call, transfer: key, status });
        true
    }

    fn transfer_over(&mut self, transfer: SubscriptionKey, call: CallKey) -> bool {
        self.events.push_back(PhoneEvent::TransferOver { call, transfer });
        true
    }
}
