//! A new call that takes the place of one that stands, or joins it (RFC 3891 §3, RFC 3911 §4).

use sip_message::headers::{Join, OptionTag, Replaces, TargetDialog};
use sip_message::{HeaderName, Request, StatusCode};

use crate::call::CallState;
use crate::dialog::DialogId;
use crate::event::CallKey;
use crate::layer::Dialogs;

/// The calls that an INVITE refers to.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) replaces: Option<CallKey>,
    pub(crate) joins: Option<CallKey>,
}

impl Dialogs {
    /// What the Replaces and Join of a new INVITE refer to, or how the INVITE is refused.
    pub(crate) fn references_of(&self, request: &Request) -> Result<References, StatusCode> {
        let headers = &request.headers;
        let replaces: Vec<_> = headers.all::<Replaces>().collect();
        let joins: Vec<_> = headers.all::<Join>().collect();
        if replaces.len().saturating_add(joins.len()) > 1 {
            return Err(StatusCode::BAD_REQUEST); // RFC 3891 §3, RFC 3911 §4: one of them, once
        }
        let mut references = References::default();
        if let Some(replaces) = replaces.into_iter().next() {
            let replaces = replaces.map_err(|_| StatusCode::BAD_REQUEST)?;
            if !self.supports(OptionTag::Replaces) {
                return Ok(references); // what we do not know is ignored (RFC 3261 §8.2.2)
            }
            let (key, state, _) =
                self.referred(replaces.call_id(), replaces.to_tag(), replaces.from_tag())?;
            match state {
                // An early dialog of ours alone can be replaced: one that rings here belongs to the caller.
                CallState::Ringing => return Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST),
                CallState::Calling => {}
                CallState::Cancelling | CallState::Ending => return Err(StatusCode::DECLINE),
                _ if replaces.early_only() => return Err(StatusCode::BUSY_HERE),
                _ => {}
            }
            references.replaces = Some(key);
        }
        if let Some(join) = joins.into_iter().next() {
            let join = join.map_err(|_| StatusCode::BAD_REQUEST)?;
            if !self.supports(OptionTag::Join) {
                return Ok(references);
            }
            let (key, state, ours) = self.referred(join.call_id(), join.to_tag(), join.from_tag())?;
            match state {
                CallState::Cancelling | CallState::Ending => return Err(StatusCode::DECLINE),
                // RFC 3911 §4: as with Replaces.
                CallState::Ringing if !ours => return Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST),
                _ => {}
            }
            references.joins = Some(key);
        }
        Ok(references)
    }

    /// The call that a Target-Dialog names, for deciding whether its sender may do what it asks (RFC 4538 §3).
    pub fn target_dialog(&self, request: &Request) -> Option<CallKey> {
        let target = request.headers.get::<TargetDialog>().ok().flatten()?;
        // RFC 4538 §4: the tags stand there as the one who gets the request sees them.
        let (key, ..) = self.referred(target.call_id(), target.local_tag(), target.remote_tag()).ok()?;
        Some(key)
    }

    fn referred(
        &self,
        call_id: &str,
        local_tag: &str,
        remote_tag: &str,
    ) -> Result<(CallKey, CallState, bool), StatusCode> {
        let missing = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        // RFC 3891 §6.1: a tag of 0 stands for none, as from a peer of RFC 2543.
        let remote_tag = if remote_tag == "0" { "" } else { remote_tag };
        let id =
            DialogId { call_id: call_id.into(), local_tag: local_tag.into(), remote_tag: remote_tag.into() };
        let key = self.call_with(&id).ok_or(missing)?;
        let call = self.calls.get(&key).ok_or(missing)?;
        Ok((key, call.state, call.ours))
    }

    fn supports(&self, tag: OptionTag) -> bool {
        self.config.supported.iter().any(|known| OptionTag::from(known.as_str()) == tag)
    }
}

/// Whether a request other than INVITE carries what only INVITE may (RFC 3891 §3, RFC 3911 §4).
pub(crate) fn refers_wrongly(request: &Request) -> bool {
    request.headers.contains(HeaderName::REPLACES) || request.headers.contains(HeaderName::JOIN)
}
