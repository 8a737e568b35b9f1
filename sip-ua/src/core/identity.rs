//! Who the phone is in a call, when that changes (RFC 4916), and what the session is called (RFC 7989).

use std::time::Instant;

use sip_dialog::CallKey;
use sip_message::headers::NameAddr;

use super::call::Wish;
use super::{PhoneCore, PhoneError};

impl PhoneCore {
    /// We are somebody else in this call from now on; the peer is told by UPDATE, or by a re-INVITE if it takes none
    /// (RFC 4916 §4.3).
    ///
    /// # Errors
    /// If the call is not established, or its peer does not take a change.
    pub fn change_identity(
        &mut self,
        now: Instant,
        call: CallKey,
        identity: &NameAddr,
    ) -> Result<(), PhoneError> {
        match self.dialogs.change_identity(now, call, identity) {
            Ok(true) => {}
            // Something else is under way: the re-INVITE waits its turn.
            Ok(false) | Err(sip_dialog::Error::Pending) => self.wish(now, call, Wish::Refresh)?,
            Err(error) => return Err(error.into()),
        }
        self.dispatch(now);
        Ok(())
    }

    /// A caller that wants to know hears who has answered (RFC 4916 §4.2).
    pub(super) fn tell_identity(&mut self, now: Instant, call: CallKey) {
        if !self.dialogs.owes_identity(call) {
            return;
        }
        // To one that takes no UPDATE the next request tells it; a re-INVITE for that alone would disturb its media.
        if let Err(error) = self.dialogs.change_identity(now, call, &self.config.identity) {
            tracing::debug!(%error, "the caller is not told who answered");
        }
    }
}
