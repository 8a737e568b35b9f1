//! BUNDLE groups (RFC 9143): which lines share the addresses and keys of one of them.

use sdp_types::Attribute;

use super::negotiated::{Details, MediaStream};
use crate::Direction;

/// The names in the first BUNDLE group of a session level. More than one group is not supported: the others stay unbundled.
pub(super) fn group(attributes: &[Attribute]) -> impl Iterator<Item = &str> {
    let group = attributes.iter().find_map(|attribute| {
        let value =
            attribute.value.as_deref().filter(|_| attribute.attribute.eq_ignore_ascii_case("group"))?;
        let mut words = value.split_ascii_whitespace();
        words.next().filter(|semantics| semantics.eq_ignore_ascii_case("BUNDLE")).map(|_| words)
    });
    group.into_iter().flatten()
}

impl MediaStream {
    pub(super) fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// The attributes are negotiated as if the addresses were real (RFC 6337 §5.4), but nothing can flow to an unspecified one.
    pub(super) fn close_black_holes(&mut self) {
        let send = self.direction.has_send() && !self.remote.host.is_unspecified();
        let receive = self.direction.has_recv() && !self.local.ip().is_unspecified();
        self.direction = match (send, receive) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        };
    }

    /// Takes the transport of the tagged line (RFC 9143 §7.3.1, §7.4): its addresses, its keys, its handshake.
    pub(super) fn share_transport_of(&mut self, tagged: &MediaStream) {
        if tagged.line != self.line {
            self.local = tagged.local;
            self.remote = tagged.remote.clone();
            self.keys = tagged.keys.clone();
            let peer = tagged.details.as_ref().and_then(|details| details.peer.clone());
            if peer.is_some() {
                self.details_mut().peer = peer;
            }
        }
        self.remote_rtcp = Some(self.remote.clone());
        self.details_mut().bundle = Some(tagged.line);
    }
}
