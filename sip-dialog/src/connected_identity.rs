//! Who is at the other end, when that changes: the From of requests in a dialog (RFC 4916).

use std::time::Instant;

use sip_message::Headers;
use sip_message::headers::{From, NameAddr, OptionTag, Supported};

use crate::call::CallState;
use crate::dialog::DialogId;
use crate::event::{CallKey, Error, Event};
use crate::layer::Dialogs;
use crate::update::OwnUpdate;

impl Dialogs {
    /// Whether the peer of a call wants to know who we are when that changes (`from-change`, §4.3). `false` where
    /// [`Config::connected_identity`](crate::Config::connected_identity) is off.
    pub fn takes_new_identity(&self, call: CallKey) -> bool {
        self.calls.get(&call).is_some_and(|call| call.peer_takes_identity)
    }

    /// Whether the caller is still to be told who has answered: it wants to know, and no request of ours has said it (§4.2).
    pub fn owes_identity(&self, call: CallKey) -> bool {
        let owes = |call: &crate::call::Call| {
            !call.ours
                && call.peer_takes_identity
                && !call.identity_told
                && call.state == CallState::Confirmed
        };
        self.calls.get(&call).is_some_and(|call| owes(call))
    }

    /// We are somebody else in this call from now on: an UPDATE says so to the peer, and each request after it (§4.4.1).
    /// `false`: the peer does not take UPDATE, a re-INVITE has to tell it.
    ///
    /// # Errors
    /// [`Error::WrongState`] unless the call is established and its peer [takes it](Self::takes_new_identity), and as
    /// [`Dialogs::update`]; the next request tells it then.
    pub fn change_identity(
        &mut self,
        now: Instant,
        key: CallKey,
        identity: &NameAddr,
    ) -> Result<bool, Error> {
        let call = self.calls.get_mut(&key).ok_or(Error::NoSuchCall)?;
        let state = call.state.describe();
        if call.state != CallState::Confirmed || !call.peer_takes_identity {
            let wanted = "it must be established, and its peer support from-change";
            return Err(Error::WrongState { state, wanted });
        }
        let dialog = call.dialog.as_mut().ok_or(Error::NoSuchCall)?;
        dialog.set_local(identity);
        call.identity_told = true;
        if !call.session.peer_takes_update {
            return Ok(false);
        }
        self.send_update(now, key, None, None, OwnUpdate::Target).map(|()| true)
    }

    /// Takes note of whether the peer of a call can take a change.
    pub(crate) fn learn_identity_support(&mut self, key: CallKey, headers: &Headers) {
        if !self.config.connected_identity {
            return;
        }
        let said = headers.all::<Supported>().flatten().any(|tag| tag.tag() == OptionTag::FromChange);
        if said && let Some(call) = self.calls.get_mut(&key) {
            call.peer_takes_identity = true;
        }
    }

    /// A request of the peer in a dialog is answered with a 2xx: who it says it is is the remote address from now on (§4.4.2).
    pub(crate) fn accept_identity(&mut self, key: CallKey, id: Option<&DialogId>, headers: &Headers) {
        if !self.config.connected_identity {
            return;
        }
        let Ok(Some(From(from))) = headers.get::<From>() else { return };
        let Some(call) = self.calls.get_mut(&key) else { return };
        let dialog = match id {
            Some(id) => call.dialog_mut(id).map(|(dialog, _)| dialog),
            None => call.dialog.as_mut(),
        };
        let Some(dialog) = dialog else { return };
        let same = |one: &NameAddr, other: &NameAddr| {
            (one.uri().as_str(), one.display_name()) == (other.uri().as_str(), other.display_name())
        };
        if !same(dialog.remote(), &from) {
            dialog.set_remote(from.clone());
            self.events.push_back(Event::PeerIdentified { call: key, identity: from });
        }
    }
}
