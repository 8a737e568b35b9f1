//! One identifier of a session for all who carry it (RFC 7989 §6): both ends' halves, in every message of a call, and of what
//! goes on outside of calls: a registration, a subscription, a publication, a message.
//!
//! A call keeps its halves. Outside our half is made of the Call-ID and a secret, so that it stays what it is for as long as the
//! Call-ID is used, without anything to keep or to forget.

use std::collections::hash_map::{DefaultHasher, HashMap};
use std::collections::{VecDeque, hash_map};
use std::hash::{Hash, Hasher};

use sip_message::headers::{CSeq, From, SessionId, To};
use sip_message::{HeaderName, Headers, Method, Request, Response};

use crate::call::MAX_EARLY_DIALOGS;
use crate::event::CallKey;
use crate::layer::Dialogs;

/// The halves of each call, by its Call-ID. There is none of this unless [`Config::session_ids`](crate::Config) wants it.
#[derive(Debug, Default)]
pub(crate) struct SessionIds {
    of_call: HashMap<Box<str>, Halves>,
    outside: Outside,
}

/// Halves outside of calls that are known, by Call-ID; the oldest goes. A stranger can fill it with messages, and thereby have us
/// say nil for the half of a peer until that has told it again.
const MAX_OUTSIDE: usize = 1024;

#[derive(Debug, Default)]
struct Outside {
    /// What makes our halves unlike those of others, and unforeseeable.
    secret: Option<[u64; 2]>,
    known: HashMap<Box<str>, Known>,
    order: VecDeque<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Ours, if a call began with it whose dialog a subscription goes on in.
    local: Option<u128>,
    remote: u128,
}

impl Outside {
    fn note(&mut self, call_id: &str, change: impl FnOnce(&mut Known)) {
        match self.known.entry(call_id.into()) {
            hash_map::Entry::Occupied(mut known) => change(known.get_mut()),
            hash_map::Entry::Vacant(place) => {
                change(place.insert(Known::default()));
                self.order.push_back(call_id.into());
            }
        }
        if self.order.len() > MAX_OUTSIDE
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn field(&self, call_id: &str, secret: [u64; 2]) -> SessionId {
        let known = self.known.get(call_id).copied().unwrap_or_default();
        let half = |secret: u64| {
            let mut hasher = DefaultHasher::new();
            (secret, call_id).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        let [high, low] = secret;
        SessionId::new(known.local.unwrap_or_else(|| uuid(half(high) << 64 | half(low))), Some(known.remote))
    }
}

/// A UUID of version 4 (RFC 4122 §4.4).
fn uuid(random: u128) -> u128 {
    random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
}

/// Requests that begin something outside of calls, or go on in it. All others belong to a call, or to one that is over.
fn is_of_no_call(method: &Method) -> bool {
    use Method::{Message, Notify, Options, Publish, Refer, Register, Subscribe};
    matches!(method, Message | Notify | Options | Publish | Refer | Register | Subscribe)
}

/// What a message says of its sender; what cannot be read is passed over, and nil tells nothing (§6).
fn said(headers: &Headers) -> Option<u128> {
    let id = headers.get::<SessionId>().ok().flatten()?;
    u128::from_str_radix(id.local(), 16).ok().filter(|id| *id != 0)
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
        let Some(heard) = said(headers) else { return };
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
        if halves.calls == 0
            && let Some(halves) = self.of_call.remove(call_id)
        {
            // A subscription that a REFER made may go on in the dialog.
            let remote = halves.remote.first().map_or(0, |(_, id)| *id);
            self.outside.note(call_id, |known| *known = Known { local: Some(halves.local), remote });
        }
    }

    /// Takes note of what the sender of a message outside of calls says of itself.
    fn hear_outside(&mut self, method: &Method, headers: &Headers) {
        if let (true, Some(heard), Some(call_id)) =
            (is_of_no_call(method), said(headers), headers.text(HeaderName::CALL_ID))
        {
            self.outside.note(call_id, |known| known.remote = heard);
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
        uuid(u128::from(self.chance()) << 64 | u128::from(self.chance()))
    }

    /// The field of a message outside of calls, unless its owner has written one.
    fn stamp_outside(&mut self, method: &Method, headers: &mut Headers) {
        if !is_of_no_call(method) || headers.contains(HeaderName::SESSION_ID) {
            return;
        }
        let fresh = [self.chance(), self.chance()];
        let Some(ids) = &mut self.session_ids else { return };
        let secret = *ids.outside.secret.get_or_insert(fresh);
        let Some(call_id) = headers.text(HeaderName::CALL_ID) else { return };
        let field = ids.outside.field(call_id, secret);
        headers.set(&field);
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
        } else {
            ids.hear_outside(request.method(), &request.headers);
        }
    }

    /// Takes note of the peer's half in a response.
    pub(crate) fn hear_session_id_of_response(&mut self, response: &Response) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&response.headers) {
            halves.hear(&to_tag(&response.headers), &response.headers);
        } else if let Ok(Some(cseq)) = response.headers.get::<CSeq>() {
            ids.hear_outside(&cseq.method, &response.headers);
        }
    }

    pub(crate) fn stamp_request(&mut self, request: &mut Request) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&request.headers) {
            let field = halves.field(&to_tag(&request.headers));
            request.headers.set(&field);
        } else {
            let method = request.method().clone();
            self.stamp_outside(&method, &mut request.headers);
        }
    }

    pub(crate) fn stamp_response(&mut self, response: &mut Response) {
        let Some(ids) = &mut self.session_ids else { return };
        if let Some(halves) = ids.get_mut(&response.headers) {
            let field = halves.field(&from_tag(&response.headers));
            response.headers.set(&field);
        } else if let Ok(Some(cseq)) = response.headers.get::<CSeq>() {
            self.stamp_outside(&cseq.method, &mut response.headers);
        }
    }
}
