//! A phone that changes its network: from one WLAN to another, from there to a cable.

use std::sync::{Arc, PoisonError};

use sip_transport::tokio::Listen;

use crate::builder::BindError;
use crate::phone::Phone;

impl Phone {
    /// The addresses of this machine are others now. What the phone tells of itself is found anew: listeners at all addresses
    /// stay, those at an address that is gone go on at all addresses. It registers from there, and every call goes on: its
    /// peer is told the new Contact and the new media address by a re-INVITE (RFC 3261 §12.2.1.2, RFC 6141). To be called when
    /// the operating system says that the network has changed; calling it for nothing costs a REGISTER and a re-INVITE each. With
    /// [`PhoneBuilder::follow_network`](crate::PhoneBuilder::follow_network) the phone does so by itself.
    ///
    /// # Errors
    /// If a listener cannot be opened; then nothing has changed.
    pub fn network_changed(&self) -> Result<(), BindError> {
        let listen = self.listening().iter().map(Listen::relocated).collect();
        self.relocate(listen)
    }

    /// The same with listeners as the owner says, one for each that the phone has, in their order: `udp:192.0.2.7:0`.
    ///
    /// # Errors
    /// As [`Phone::network_changed`], or if one cannot be read.
    pub fn move_to(&self, listen: &[&str]) -> Result<(), BindError> {
        let mut wanted = Vec::with_capacity(listen.len());
        for text in listen {
            wanted.push(text.parse::<Listen>()?);
        }
        // Those that are not named stay as they are.
        wanted.extend(self.listening().into_iter().skip(listen.len()));
        self.relocate(wanted)
    }

    pub(crate) fn listening(&self) -> Vec<Listen> {
        self.inner.listen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn relocate(&self, listen: Vec<Listen>) -> Result<(), BindError> {
        self.inner.handle.relocate(&listen, |shell, now, locals| {
            let boxes = &shell.boxes;
            shell.core.network_changed(now, locals, |call, listener| {
                let media = Arc::clone(boxes.get(&call)?.media.as_ref()?);
                if let Err(error) = media.relocate(self.inner.media_place(listener)) {
                    tracing::warn!(%error, "the media of a call stays at its old address");
                    return None;
                }
                Some(media.describe())
            });
            shell.dispatch(now);
        })?;
        *self.inner.listen.lock().unwrap_or_else(PoisonError::into_inner) = listen;
        Ok(())
    }
}
