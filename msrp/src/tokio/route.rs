//! The ways of a session that stands: the peer's path, and the URIs of our relays (RFC 4975 §8.4, RFC 4976 §9.4).

use ::tokio::sync::{mpsc, oneshot};

#[cfg(feature = "auth")]
use super::pending::ConnectError;
use super::task::Command;
#[cfg(feature = "auth")]
use crate::auth::{Account, Auth, AuthError, Grant};
use crate::connection::{SendError, SessionKey};
use crate::uri::Path;
#[cfg(feature = "auth")]
use crate::uri::Uri;

/// Changes the ways of a session: for whoever negotiates anew while others send and read. It does not keep the session.
#[derive(Clone, Debug)]
pub struct Route {
    #[cfg(feature = "auth")]
    pub(super) local: Uri,
    pub(super) key: SessionKey,
    pub(super) commands: mpsc::Sender<Command>,
}

impl Route {
    /// Our URI of the session.
    #[cfg(feature = "auth")]
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.local
    }

    /// The peer has another path, by a new offer or answer (RFC 4975 §8.4): requests from now on take it, over the connection that
    /// stands. Behind our relays as [`Grant::towards`](crate::auth::Grant::towards) has it.
    ///
    /// # Errors
    /// If the session is over.
    pub async fn set_remote(&self, path: Path) -> Result<(), SendError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Remote { session: self.key, path: Box::new(path), reply };
        self.commands.send(command).await.map_err(|_| SendError::Over)?;
        answer.await.map_err(|_| SendError::Over)?
    }

    /// Asks our relays for further URIs, before the time of those that we have is over ([`Grant::renew_after`](crate::auth::Grant::renew_after)).
    /// The relays are those of [`Pending::authenticate`](super::Pending::authenticate), over the connection that stands. What they give has
    /// to be agreed upon with the peer, and then goes into [`set_remote`](Self::set_remote).
    ///
    /// # Errors
    /// If a relay gives no URI, or the connection is gone.
    #[cfg(feature = "auth")]
    pub async fn authenticate(&self, relays: &[(Uri, Account)]) -> Result<Grant, ConnectError> {
        ask(&self.commands, relays, &self.local).await
    }
}

/// Asks relays for URIs over the connection to the first of them (RFC 4976 §5.1).
#[cfg(feature = "auth")]
pub(super) async fn ask(
    commands: &mpsc::Sender<Command>,
    relays: &[(Uri, Account)],
    from: &Uri,
) -> Result<Grant, ConnectError> {
    let mut known: Vec<Uri> = Vec::new();
    let mut last = None;
    for (relay, account) in relays {
        let uris = known.iter().chain([relay]).cloned().collect();
        let to = Path::new(uris).map_err(AuthError::from)?;
        let auth = Box::new(Auth::new(account.clone(), to, from.clone())?);
        let (reply, answer) = oneshot::channel();
        commands.send(Command::Auth { auth, reply }).await.map_err(|_| ConnectError::Gone)?;
        let grant = answer.await.map_err(|_| ConnectError::Gone)??;
        known = grant.use_path().uris().to_vec();
        last = Some(grant);
    }
    last.ok_or(ConnectError::Path)
}
