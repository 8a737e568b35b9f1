//! Who is at the other end of a call, and what the session is called.

use sip_message::ValueError;
use sip_message::headers::{NameAddr, SessionId};

use crate::builder::PhoneBuilder;
use crate::call::Call;
use crate::core::PhoneError;

/// Why we could not become somebody else in a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The address is none.
    #[error("'{text}' is no address: {error}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// The call is over, or its peer does not take a change.
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

impl PhoneBuilder {
    /// Tells callers who has answered, and peers of calls when that changes; hears the same of them (connected identity,
    /// RFC 4916). It costs an UPDATE for each call that is answered.
    pub fn connected_identity(mut self) -> Self {
        self.connected_identity = true;
        self
    }

    /// Gives every call an identifier that both ends have in all its messages, for those who have to find them again in logs
    /// (Session-ID, RFC 7989): [`Call::session_id`]. Registrations, subscriptions and messages have one each, too.
    pub fn session_ids(mut self) -> Self {
        self.session_ids = true;
        self
    }
}

impl Call {
    /// The identifier of the session: our half, and the peer's as `remote` (RFC 7989). `None` unless
    /// [`PhoneBuilder::session_ids`] was asked for, and after the end.
    pub fn session_id(&self) -> Option<SessionId> {
        self.phone().inner.with(|shell, _| shell.core.dialogs().session_id(self.key()))
    }

    /// Who the peer says it is by now: another than [`remote`](Self::remote) if it was transferred or somebody else answered
    /// (RFC 4916). Nobody has proved it. `None` after the end.
    pub fn connected_to(&self) -> Option<NameAddr> {
        self.phone().inner.with(|shell, _| Some(shell.core.dialogs().dialog(self.key())?.remote().clone()))
    }

    /// Waits until the peer says that it is somebody else; `None` when the call is over.
    pub async fn identity_changed(&self) -> Option<NameAddr> {
        let look = |mailbox: Option<&mut crate::shell::Mailbox>| match mailbox {
            Some(mailbox) => match mailbox.rare().and_then(|rare| rare.identity.take()) {
                Some(identity) => Some(Some(identity)),
                None => mailbox.ended.is_some().then_some(None),
            },
            None => Some(None),
        };
        self.phone().inner.wait_for_call(self.key(), look).await
    }

    /// Tells the peer that we are somebody else from now on, as a gateway does whose other side was transferred (RFC 4916
    /// §4.3): `Carol <sip:carol@example.com>`.
    ///
    /// # Errors
    /// If the address cannot be read, the call does not stand, or the peer does not take a change.
    pub fn change_identity(&self, identity: &str) -> Result<(), IdentityError> {
        let identity: NameAddr =
            identity.parse().map_err(|error| IdentityError::Address { text: identity.into(), error })?;
        let told =
            self.phone().inner.with(|shell, now| shell.core.change_identity(now, self.key(), &identity));
        Ok(told?)
    }
}
