//! Sessions behind our relays: URIs that these give, and the way over the first of them (RFC 4976 §5.1, RFC 7977 §5.2.2).

use ::tokio::time::timeout;

use super::{ConnectError, Pending};
use crate::auth::{Account, Auth, AuthError, Grant, RELAY_PORT};
use crate::tokio::endpoint::CONNECT;
use crate::tokio::route;
use crate::tokio::session::Session;
use crate::tokio::shared::{Entry, Target, lock, random};
use crate::uri::{Path, Uri};

impl Pending {
    /// Asks relays for URIs, the one next to us first (RFC 4976 §5.1). Then [`path`](Self::path) goes into our `a=path`, and
    /// [`connect`](Self::connect) and [`accept`](Self::accept) use the relays. A relay without a port is asked at 2855, over WebSocket
    /// (feature `ws`; transport `ws` of its URI, which [`uri`](Self::uri) takes too) at 443.
    ///
    /// A URI is good for one session, for the time that is returned, and while the connection to the relay stands.
    ///
    /// # Errors
    /// If a relay cannot be reached or gives no URI.
    pub async fn authenticate(&mut self, relays: &[(Uri, Account)]) -> Result<Grant, ConnectError> {
        let [(relay, account), ..] = relays else { return Err(ConnectError::Path) };
        self.speak_to(relay)?;
        // Who will not be asked is not connected to.
        Auth::new(account.clone(), relay.clone().into(), self.config.local.clone())?;
        let usual = match (relay.is_websocket(), relay.is_secure()) {
            (false, _) => RELAY_PORT,
            (true, true) => 443,
            (true, false) => 80,
        };
        let target = Target::new(relay.host(), relay.port().unwrap_or(usual), relay);
        let standing = lock(&self.shared.connections).get(&target).map(|(_, to)| to.clone());
        let commands = match standing.filter(|commands| !commands.is_closed()) {
            Some(commands) => commands,
            None => timeout(CONNECT, self.dial(&target, relay, &[]))
                .await
                .map_err(|_| ConnectError::Timeout)??,
        };
        let grant = route::ask(&commands, relays, &self.config.local).await?;
        self.relayed = Some((grant.clone(), commands));
        Ok(grant)
    }

    /// Whether we speak the transport of our relay. Our URI is of the same: who is behind a WebSocket has a name that nobody can
    /// connect to (RFC 7977 §5.2.2, appendix A).
    fn speak_to(&mut self, relay: &Uri) -> Result<(), ConnectError> {
        if relay.is_tcp() {
            return Ok(());
        }
        if !(cfg!(feature = "ws") && relay.is_websocket()) {
            return Err(ConnectError::Path);
        }
        if self.listening.is_none() && self.relayed.is_none() {
            let scheme = if relay.is_secure() { "msrps" } else { "msrp" };
            let (host, session) = (random(), format!("{:016x}{:016x}", random(), random()));
            let uri = format!("{scheme}://{host:016x}.invalid:{}/{session};ws", RELAY_PORT);
            self.config.local = uri.parse().map_err(AuthError::from)?;
        }
        Ok(())
    }

    /// Over the connection to our relay, where alone its URI is good.
    pub(super) async fn connect_by_relay(mut self, remote: &Path) -> Result<Session, ConnectError> {
        let (grant, commands) = self.relayed.take().ok_or(ConnectError::Path)?;
        self.listening = None;
        self.config.active = true;
        self.config.remote = Some(grant.towards(remote).map_err(AuthError::from)?);
        let local = self.config.local.clone();
        lock(&self.shared.sessions).insert(local.clone(), Entry::Bound(0));
        let result = self.add(commands).await;
        if result.is_err() {
            self.shared.forget(&local);
        }
        result
    }
}
