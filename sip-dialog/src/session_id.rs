//! One identifier of a session for all who carry it (RFC 7989 §6): both ends' halves, in every message of a call.

use std::collections::HashMap;

use sip_message::headers::{From, SessionId, To};
use sip_message::{HeaderName, Headers, Request, Response};

use crate::call::MAX_EARLY_DIALOGS;
use crate::event::CallKey;
use crate::layer::Dialogs;

/// The halves of each call, by its Call-ID. There is none of this unless [`Config::session_ids`](crate::Config) wants it.
#[derive(Debug, Default)]
pub(crate) struct SessionIds {
    of_call: HashMap<Box<str>, Halves>,
}

#[derive(Debug)]
struct Halves {
    /// Calls that have the Call-ID: several behind a fork whose every phone is kept.
    calls: usize,
    local: u128,
    /// What the phones of a fork have told, by their tags: no more of them than there are dialogs, forgers are many.
    remote: Vec<(Box<str>, u128)>,
}

impl Halves {
    fn remote(&self, tag: &str) -> u128 {
        self.remote.iter().find(|(of, _)| **of == *tag).map_or(0, |(_, id)| *id)
    }

    /// The field as we send it; nil for a peer of which nothing was heard.
    fn field(&self, tag: &str) -> SessionId {
        SessionId::new(self.local, Some(self.remote(tag)))
    }

    fn hear(&mut self, tag: &str, headers: &Headers) {
        // What cannot be read is passed over; nil tells nothing (§6).
        let heard = headers.get::<SessionId>().ok().flatten();
        let heard = heard.and_then(|id| u128::from_str_radix(id.local(), 16).ok()).filter(|id| *id != 0);
        let Some(heard) = heard else { return };
        if let Some((_, id)) = self.remote.iter_mut().find(|(of, _)| **of == *tag) {
            *id = heard; // it may change at any time (§8)
        } else if self.remote.len() < MAX_EARLY_DIALOGS {
            self.remote.push((tag.into(), heard));
        }
    }
}

impl SessionIds {
    fn get_mut(&mut self, headers: &Headers) -> Option<&mut Halves> {
        self.of_call.get_mut(headers.text(HeaderName::CALL_ID)?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.of_call.is_empty()
    }

    /// Another phone of a fork has become a call of its own.
    pub(crate) fn share(&mut self, call_id: &str) {
        if let Some(halves) = self.of_call.get_mut(call_id) {
            halves.calls = halves.calls.saturating_add(1);
        }
    }

    /// A call is over. The halves are kept for as long as another one has them.
    pub(crate) fn forget(&mut self, call_id: &str) {
        let Some(halves) = self.of_call.get_mut(call_id) else { return };
        halves.calls = halves.calls.saturating_sub(1);
        if halves.calls == 0 {
            self.of_call.remove(call_id);
        }
    }
}

fn to_tag(headers: &Headers) -> String {
    headers.get::<To>().ok().flatten().and_then(|to| to.tag().map(String::from)).unwrap_or_default()
}

fn from_tag(headers: &Headers) -> String {
    headers.get::<From>().ok().flatten().and_then(|from| from.tag().map(String::from)).unwrap_or_default()
}

impl Dialogs {
    /// The identifier of the session that a call is: our half, and the peer's as `remote`, nil as long as it has told none.
    /// `None` where [`Config::session_ids`](crate::Config::session_ids) is off.
    pub fn session_id(&self, call: CallKey) -> Option<SessionId> {
        let call = self.calls.get(&call)?;
        let ids = self.session_ids.as_ref()?;
        match (&call.dialog, &call.setup) {
            (Some(dialog), _) => Some(ids.of_call.get(&*dialog.id().call_id)?.field(&dialog.id().remote_tag)),
            (None, Some(setup)) => {
                Some(ids.of_call.get(setup.invite.headers.text(HeaderName::CALL_ID)?)?.field(""))
            }
            _ => None,
        }
    }

    /// The same for an INVITE to somebody else because of this call, a REFER or a 3xx: our half stays, the peer's does not go
    /// to another (§6).
    pub fn session_id_for_another(&self, call: CallKey) -> Option<SessionId> {
        let own = self.session_id(call)?;
        u128::from_str_radix(own.local(), 16).ok().map(|local| SessionId::new(local, Some(0)))
    }

    fn new_half(&mut self) -> u128 {
        let random = u128::from(self.chance()) << 64 | u128::from(self.chance());
        // A UUID of version 4 (RFC 4122 §4.4).
        random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
    }

    /// A call of ours begins: with the half that the INVITE says already, or one of its own.
    pub(crate) fn begin_session_id(&mut self, invite: &mut Request) {
        if self.session_ids.is_none() {
            return;
        }
        let said = invite.headers.get::<SessionId>().ok().flatten();
        let said = said.and_then(|id| u128::from_str_radix(id.local(), 16).ok());
        let local = match said {
            Some(local) => local,
            None => self.new_half(),
        };
        let halves = Halves { calls: 1, local, remote: Vec::new() };
        invite.headers.set(&halves.field(""));
        if let (Some(ids), Some(call_id)) = (&mut self.session_ids, invite.headers.text(HeaderName::CALL_ID))
        {
            ids.of_call.insert(call_id.into(), halves);
        }
    }

    /// A call comes in. If it takes the place of another one, our half of that goes on (§6).
    pub(crate) fn join_session_id(&mut self, invite: &Request, replaces: Option<CallKey>) {
        if self.session_ids.is_none() {
            return;
        }
        let replaced = replaces.and_then(|call| self.session_id(call));
        let replaced = replaced.and_then(|id| u128::from_str_radix(id.local(), 16).ok());
        let local = match replaced {
            Some(local) => local,
            None => self.new_half(),
        };
        let mut halves = Halves { calls: 1, local, remote: Vec::new() };
        halves.hear(&from_tag(&invite.headers), &invite.headers);
        if let (Some(ids), Some(call_id)) = (&mut self.session_ids, invite.headers.text(HeaderName::CALL_ID))
        {
            ids.of_call.insert(call_id.into(), halves);
        }
    }

    /// Takes note of the peer's half in a request of its.
    pub(crate) fn hear_session_id_of_request(&mut self, request: &Request) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&request.headers) {
            halves.hear(&from_tag(&request.headers), &request.headers);
        }
    }

    /// Takes note of the peer's half in a response.
    pub(crate) fn hear_session_id_of_response(&mut self, response: &Response) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&response.headers) {
            halves.hear(&to_tag(&response.headers), &response.headers);
        }
    }

    pub(crate) fn stamp_request(&mut self, request: &mut Request) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&request.headers) {
            let field = halves.field(&to_tag(&request.headers));
            request.headers.set(&field);
        }
    }

    pub(crate) fn stamp_response(&mut self, response: &mut Response) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&response.headers) {
            let field = halves.field(&from_tag(&response.headers));
            response.headers.set(&field);
        }
    }
}
