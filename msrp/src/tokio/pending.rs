//! A session from its URI to its first request: which side connects, and to whom (RFC 4975 §5.4, §8.1, RFC 6135, RFC 6714).

#[cfg(feature = "auth")]
mod relayed;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ::tokio::net::{TcpStream, lookup_host};
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::timeout;

use super::endpoint::CONNECT;
use super::session::Session;
use super::shared::{Entry, Shared, Target, lock};
use super::task::{Claimed, Command, EVENTS, Waiter};
use crate::connection::SendError;
use crate::event::{Event, Failure};
use crate::session::SessionConfig;
use crate::uri::{Path, Uri, UriError};

/// Why a session did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The path leads nowhere: it has no port, or a transport that we do not speak, or is `msrps` and there is no TLS.
    #[error("the path cannot be reached: no port, an unknown transport, or msrps without TLS")]
    Path,
    /// Nobody answers there, or the handshake failed.
    #[error("connecting: {0}")]
    Connect(#[from] io::Error),
    /// The connection could not be made in time.
    #[error("connecting took too long")]
    Timeout,
    /// The certificate is not the one that was announced.
    #[error("the peer's certificate is another than was announced")]
    Fingerprint,
    /// The connection takes no more sessions.
    #[error(transparent)]
    Session(#[from] SendError),
    /// The peer does not know the session, or is gone.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The endpoint is gone.
    #[error("the endpoint is gone")]
    Gone,
    /// A relay gives no URI.
    #[cfg(feature = "auth")]
    #[error(transparent)]
    Auth(#[from] crate::auth::AuthError),
}

/// A session that is being agreed upon: [`uri`](Pending::uri) goes into our `a=path`.
#[derive(Debug)]
pub struct Pending {
    shared: Arc<Shared>,
    config: SessionConfig,
    /// Of the peer's certificate: one of these.
    fingerprints: Vec<[u8; 32]>,
    listening: Option<Listening>,
    /// What our relays gave, and the connection to the first of them.
    #[cfg(feature = "auth")]
    relayed: Option<(crate::auth::Grant, mpsc::Sender<Command>)>,
}

/// A session that waits for its first request.
struct Listening {
    answer: oneshot::Receiver<Claimed>,
    events: mpsc::Receiver<Event>,
    waits: Waits,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("local", &self.waits.1).finish_non_exhaustive()
    }
}

/// Takes a waiting session out of the table if nobody waits any more.
struct Waits(Arc<Shared>, Uri);

impl Drop for Waits {
    fn drop(&mut self) {
        let mut sessions = lock(&self.0.sessions);
        if matches!(sessions.get(&self.1), Some(Entry::Waiting(_))) {
            sessions.remove(&self.1);
        }
    }
}

impl Pending {
    /// One that nothing is known of but our URI.
    pub(super) fn new(shared: Arc<Shared>, uri: Uri) -> Self {
        Self {
            shared,
            config: SessionConfig::new(uri),
            fingerprints: Vec::new(),
            listening: None,
            #[cfg(feature = "auth")]
            relayed: None,
        }
    }

    /// Our URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.config.local
    }

    /// What else was agreed upon: types, sizes, delivery in parts. `local` and `active` are set by this library.
    pub fn config_mut(&mut self) -> &mut SessionConfig {
        &mut self.config
    }

    /// The SHA-256 fingerprint of the peer's certificate, from its session description (RFC 4975 §14.4); once for each if there are
    /// several. Checked on whichever side connects; behind relays, whose connections are not the peer's, it says nothing (RFC 6135
    /// §4.3).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn fingerprint(mut self, sha256: [u8; 32]) -> Self {
        self.fingerprints.push(sha256);
        self
    }

    /// Makes the session known before it is agreed upon which side connects (`a=setup:actpass`): the peer may come as soon as it has
    /// read our URI. Then [`accept`](Self::accept) or [`connect`](Self::connect). Say before what [`config_mut`](Self::config_mut) is to
    /// have; [`fingerprint`](Self::fingerprint) can follow when it is known.
    pub fn listen(&mut self) {
        if self.listening.is_some() {
            return;
        }
        let mut config = self.config.clone();
        config.active = false;
        let local = config.local.clone();
        let (events, receiver) = mpsc::channel(EVENTS);
        let (ready, answer) = oneshot::channel();
        #[cfg(feature = "auth")]
        let is_relayed = self.relayed.is_some();
        #[cfg(not(feature = "auth"))]
        let is_relayed = false;
        let announced = if is_relayed { Vec::new() } else { self.fingerprints.clone() };
        let waiter = Waiter { config: Box::new(config), events, announced, ready };
        lock(&self.shared.sessions).insert(local.clone(), Entry::Waiting(waiter));
        let waits = Waits(self.shared.clone(), local);
        self.listening = Some(Listening { answer, events: receiver, waits });
    }

    /// Waits for the peer to connect (`a=setup:passive`) and send its first request. The session is known from the call on, so make
    /// it, or [`listen`](Self::listen), before the peer can learn our URI; the future can wait any time, and dropping it withdraws the
    /// session.
    ///
    /// # Errors
    /// The future's: if the endpoint is gone, or the certificate of who connected is not one that was announced.
    pub fn accept(mut self) -> impl Future<Output = Result<Session, ConnectError>> + Send {
        self.listen();
        async move {
            let Listening { answer, events, waits } = self.listening.take().ok_or(ConnectError::Gone)?;
            let Claimed { commands, key, shown } = answer.await.map_err(|_| ConnectError::Gone)?;
            drop(waits);
            let session = Session { local: self.config.local.clone(), key, commands, events };
            #[cfg(feature = "auth")]
            if self.relayed.is_some() {
                return Ok(session);
            }
            // It may have come before we knew whom to expect.
            let announced = match self.fingerprints.as_slice() {
                [] => !(self.config.local.is_secure() && self.shared.needs_fingerprint()),
                announced => shown.is_some_and(|shown| announced.contains(&shown)),
            };
            if announced { Ok(session) } else { Err(ConnectError::Fingerprint) }
        }
    }

    /// Connects to the peer (`a=setup:active`), or takes a connection that stands, and sends the first request. The path is the
    /// peer's, behind our relays.
    ///
    /// # Errors
    /// If nobody is there, or the session is not known there.
    pub async fn connect(self, remote: Path) -> Result<Session, ConnectError> {
        #[cfg(feature = "auth")]
        if self.relayed.is_some() {
            return self.connect_by_relay(&remote).await;
        }
        let first = remote.first().ok_or(ConnectError::Path)?.clone();
        let port = first.port().ok_or(ConnectError::Path)?;
        let host = first.host().to_owned();
        self.connect_through(&host, port, &first, remote).await
    }

    /// The same, to the address of the peer's c and m lines (RFC 6714).
    ///
    /// # Errors
    /// If nobody is there, or the session is not known there.
    pub async fn connect_to(self, address: SocketAddr, remote: Path) -> Result<Session, ConnectError> {
        let first = remote.first().ok_or(ConnectError::Path)?.clone();
        self.connect_through(&address.ip().to_string(), address.port(), &first, remote).await
    }

    /// What goes into our `a=path`: our URI, behind our relays if we have any.
    ///
    /// # Errors
    /// If the path becomes too long.
    pub fn path(&self) -> Result<Path, UriError> {
        #[cfg(feature = "auth")]
        if let Some((grant, _)) = &self.relayed {
            return grant.offered(&self.config.local);
        }
        Ok(self.config.local.clone().into())
    }

    async fn connect_through(
        mut self,
        host: &str,
        port: u16,
        first: &Uri,
        remote: Path,
    ) -> Result<Session, ConnectError> {
        self.listening = None;
        self.config.active = true;
        self.config.remote = Some(remote);
        let local = self.config.local.clone();
        // Nobody else may come for it.
        lock(&self.shared.sessions).insert(local.clone(), Entry::Bound(0));
        // Who is behind a WebSocket is reached by the relay alone (RFC 7977 §5.1).
        if !first.is_tcp() {
            return Err(ConnectError::Path);
        }
        let target = Target::new(host, port, first);
        let result = self.begin(&target, first).await;
        if result.is_err() {
            self.shared.forget(&local);
        }
        result
    }

    async fn begin(&self, target: &Target, first: &Uri) -> Result<Session, ConnectError> {
        // A certificate is checked for the connection that is made for it.
        let standing = match self.fingerprints.as_slice() {
            [] => lock(&self.shared.connections).get(target).map(|(_, handle)| handle.clone()),
            _ => None,
        };
        if let Some(commands) = standing {
            match self.add(commands).await {
                // The peer closed it before it saw our request: that says nothing of the session.
                Err(
                    ConnectError::Gone | ConnectError::Refused(Failure::Closed) | ConnectError::Session(_),
                ) => {}
                result => return result,
            }
        }
        let dialled = timeout(CONNECT, self.dial(target, first, &self.fingerprints)).await;
        self.add(dialled.map_err(|_| ConnectError::Timeout)??).await
    }

    /// Adds the session to a connection, and waits for the answer to its first request.
    async fn add(&self, commands: mpsc::Sender<Command>) -> Result<Session, ConnectError> {
        let (events, mut receiver) = mpsc::channel(EVENTS);
        let (reply, answer) = oneshot::channel();
        let config = Box::new(self.config.clone());
        commands.send(Command::Add { config, events, reply }).await.map_err(|_| ConnectError::Gone)?;
        let key = answer.await.map_err(|_| ConnectError::Gone)??;
        match receiver.recv().await {
            Some(Event::Bound) => {
                Ok(Session { local: self.config.local.clone(), key, commands, events: receiver })
            }
            Some(Event::Closed(failure)) => Err(failure.into()),
            _ => Err(Failure::Closed.into()),
        }
    }

    /// Opens a connection, to the addresses of the host in their order (RFC 4975 §6.2).
    async fn dial(
        &self,
        target: &Target,
        uri: &Uri,
        announced: &[[u8; 32]],
    ) -> Result<mpsc::Sender<Command>, ConnectError> {
        if uri.is_secure() && announced.is_empty() && self.shared.needs_fingerprint() {
            return Err(ConnectError::Fingerprint);
        }
        let Target { host, port, .. } = target;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in lookup_host((host.as_str(), *port)).await? {
            let stream = match TcpStream::connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let socket = self.shared.connected(stream, uri, announced).await?;
            #[cfg(feature = "ws")]
            let socket = if target.is_websocket { target.upgrade(socket).await? } else { socket };
            if !announced.is_empty()
                && !socket.peer_fingerprint().is_some_and(|shown| announced.contains(&shown))
            {
                return Err(ConnectError::Fingerprint);
            }
            let (id, handle) = self.shared.spawn(socket, None);
            lock(&self.shared.connections).insert(target.clone(), (id, handle.clone()));
            return Ok(handle);
        }
        Err(last.into())
    }
}
