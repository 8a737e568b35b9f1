//! The network has become another one: what has to be told to whom (RFC 3261 §12.2.1.2, RFC 6141, RFC 5626 §4.4).

use std::time::Instant;

use sdp::LocalMedia;
use sip_dialog::CallKey;
use sip_transport::{Local, Locals};

use super::PhoneCore;
use super::call::Wish;

impl PhoneCore {
    /// The phone is at other addresses: it registers from there, takes back what it had registered, and tells the peer of every
    /// call by a re-INVITE with its new Contact and the address and keys of the media that `media` gives for the call. `None` leaves them as
    /// it is. A call that is being set up tells it as soon as it stands.
    pub fn network_changed(
        &mut self,
        now: Instant,
        locals: &Locals,
        mut media: impl FnMut(CallKey, Option<&Local>) -> Option<LocalMedia>,
    ) {
        self.dialogs.relocate(now, locals);
        let calls: Vec<CallKey> = self.sessions.keys().copied().collect();
        for call in calls {
            let hop = self.dialogs.dialog(call).map(|dialog| dialog.next_hop());
            let listener = hop.and_then(|hop| self.dialogs.local_for(hop).ok());
            let moved = media(call, listener);
            let Some(session) = self.sessions.get_mut(&call) else { continue };
            if let Some(moved) = moved {
                session.relocate(&moved);
            }
            session.wish.get_or_insert(Wish::Refresh);
            self.grant_wish(now, call);
        }
        let subscriptions: Vec<_> = self.dialogs.subscriptions().collect();
        for subscription in subscriptions {
            // Those of others hear of it when they refresh; those that are being made have told it.
            if let Err(error) = self.dialogs.refresh(now, subscription) {
                tracing::debug!(%error, "a subscription is not refreshed from the new address");
            }
        }
        self.relocate_flows(now);
        self.dispatch(now);
    }
}
