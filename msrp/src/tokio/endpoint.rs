//! Listening, connecting, and the table of sessions (RFC 4975 §5.4, RFC 6135).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::tokio::net::{TcpListener, TcpStream, lookup_host};
use ::tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use ::tokio::task::JoinHandle;
use ::tokio::time::timeout;

use super::session::Session;
use super::socket::Socket;
use super::task::{COMMANDS, Claimed, Command, EVENTS, Task, Waiter};
use crate::connection::{Claim, SendError};
use crate::event::{Event, Failure};
use crate::session::SessionConfig;
use crate::uri::{Path, Uri, UriError};

/// How long a connection may take to come about, TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Connections that others opened: more are not accepted until one ends.
const MAX_ACCEPTED: usize = 1_024;
/// After an error of the listener, such as too many open files.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// The port in URIs of who does not listen (RFC 6135 §4.2.1): nobody is to connect there.
const DISCARD: u16 = 9;

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

/// How an endpoint is set up.
#[derive(Debug)]
pub struct Options {
    listen: Option<SocketAddr>,
    host: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
    /// Only where we connect.
    #[cfg(feature = "tls")]
    plain_listener: bool,
}

impl Options {
    /// Listens at this address; port 0 takes a free one.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen: Some(listen), ..Self::active_only() }
    }

    /// Does not listen: this side always connects.
    #[must_use]
    pub fn active_only() -> Self {
        Self {
            listen: None,
            host: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            plain_listener: false,
        }
    }

    /// The host in our URIs, where it is not the address that we listen at.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Speaks TLS: the listener takes nothing else, and our URIs are `msrps`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: super::tls::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Speaks TLS where it connects to `msrps` URIs, such as those of relays: the listener and our URIs are plain.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_to_others(self, tls: super::tls::Tls) -> Self {
        Self { plain_listener: true, ..self.tls(tls) }
    }

    fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some() && !self.plain_listener;
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// A session in the table.
enum Entry {
    Waiting(Waiter),
    /// On this connection.
    Bound(u64),
}

/// Whom a connection of ours leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Target {
    host: String,
    port: u16,
    is_secure: bool,
    is_websocket: bool,
}

impl Target {
    fn new(host: &str, port: u16, uri: &Uri) -> Self {
        let host = host.to_ascii_lowercase();
        Self { host, port, is_secure: uri.is_secure(), is_websocket: uri.is_websocket() }
    }

    #[cfg(feature = "ws")]
    async fn upgrade(&self, socket: Socket) -> io::Result<Socket> {
        let is_default = self.port == if self.is_secure { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let host = if is_default { host } else { format!("{host}:{}", self.port) };
        super::websocket::connect(socket, &host).await
    }
}

/// What connections and handles share.
pub(super) struct Shared {
    options: Options,
    address: Option<SocketAddr>,
    sessions: Mutex<HashMap<Uri, Entry>>,
    connections: Mutex<HashMap<Target, (u64, mpsc::Sender<Command>)>>,
    next: AtomicU64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 64 random bits of the system.
pub(super) fn random() -> u64 {
    // Without them no identifier could be trusted; the systems that we run on always have some.
    getrandom::u64().unwrap_or_default()
}

impl Shared {
    /// A first request for a session of ours came.
    pub(super) fn claim(
        &self,
        connection: u64,
        local: &Uri,
        shown: Option<[u8; 32]>,
    ) -> Result<Waiter, Claim> {
        let mut sessions = lock(&self.sessions);
        // Somebody else than the peer takes the session from nobody: it goes on waiting.
        if let Some(Entry::Waiting(Waiter { announced, .. })) = sessions.get(local)
            && !(announced.is_empty() || shown.is_some_and(|shown| announced.contains(&shown)))
        {
            return Err(Claim::Unknown);
        }
        match sessions.get_mut(local) {
            None => Err(Claim::Unknown),
            Some(entry) => match std::mem::replace(entry, Entry::Bound(connection)) {
                Entry::Waiting(waiter) if !waiter.ready.is_closed() => Ok(waiter),
                Entry::Waiting(_) => {
                    sessions.remove(local);
                    Err(Claim::Unknown)
                }
                Entry::Bound(other) => {
                    *entry = Entry::Bound(other);
                    Err(Claim::Elsewhere)
                }
            },
        }
    }

    pub(super) fn forget(&self, local: &Uri) {
        lock(&self.sessions).remove(local);
    }

    pub(super) fn closed(&self, connection: u64) {
        lock(&self.connections).retain(|_, (id, _)| *id != connection);
        lock(&self.sessions).retain(|_, entry| !matches!(entry, Entry::Bound(id) if *id == connection));
    }

    /// Starts the task of a connection.
    fn spawn(
        self: &Arc<Self>,
        socket: Socket,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (u64, mpsc::Sender<Command>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (handle, commands) = mpsc::channel(COMMANDS);
        let task = Task::new(id, socket, self.clone(), handle.clone(), commands);
        ::tokio::spawn(async move {
            task.run().await;
            drop(permit);
        });
        (id, handle)
    }

    /// Whether a session needs a certificate that was announced.
    fn needs_fingerprint(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.options.tls.as_ref().is_some_and(super::tls::Tls::needs_fingerprint);
        #[cfg(not(feature = "tls"))]
        false
    }

    async fn accepted(&self, stream: TcpStream) -> io::Result<Socket> {
        #[cfg(feature = "tls")]
        if let (true, Some(tls)) = (self.options.is_secure(), &self.options.tls) {
            return tls.accept(stream).await;
        }
        Ok(Socket::plain(stream))
    }

    async fn connected(
        &self,
        stream: TcpStream,
        uri: &Uri,
        announced: &[[u8; 32]],
    ) -> Result<Socket, ConnectError> {
        #[cfg(feature = "tls")]
        if let (true, Some(tls)) = (uri.is_secure(), &self.options.tls) {
            return Ok(tls.connect(stream, uri.host(), !announced.is_empty()).await?);
        }
        #[cfg(not(feature = "tls"))]
        let _ = announced;
        if uri.is_secure() { Err(ConnectError::Path) } else { Ok(Socket::plain(stream)) }
    }
}

/// Listens for peers and connects to them. Dropping it stops the listening; sessions that stand go on.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(MAX_ACCEPTED));
    loop {
        // Never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            ::tokio::time::sleep(PAUSE).await;
            continue;
        };
        let shared = shared.clone();
        ::tokio::spawn(async move {
            if let Ok(Ok(socket)) = timeout(CONNECT, shared.accepted(stream)).await {
                shared.spawn(socket, Some(permit));
            }
        });
    }
}

impl Endpoint {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let listener = match options.listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let shared = Arc::new(Shared {
            options,
            address,
            sessions: Mutex::default(),
            connections: Mutex::default(),
            next: AtomicU64::new(1),
        });
        let listener = listener.map(|listener| ::tokio::spawn(listen(listener, shared.clone())));
        Ok(Self { shared, listener })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.address
    }

    /// A URI for a new session, with 128 random bits (RFC 4975 §14.1), and what belongs to it.
    ///
    /// # Errors
    /// If the host of the options makes no URI.
    pub fn open(&self) -> Result<Pending, UriError> {
        let shared = &self.shared;
        let host = match (&shared.options.host, shared.address) {
            (Some(host), _) => host.clone(),
            (None, Some(address)) => address.ip().to_string(),
            (None, None) => "anonymous.invalid".into(),
        };
        let port = shared.address.map_or(DISCARD, |address| address.port());
        let id = format!("{:016x}{:016x}", random(), random());
        let uri = Uri::new(shared.options.is_secure(), &host, port, &id)?;
        Ok(Pending {
            shared: shared.clone(),
            config: SessionConfig::new(uri),
            fingerprints: Vec::new(),
            listening: None,
            #[cfg(feature = "auth")]
            relayed: None,
        })
    }
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

    /// Asks relays for URIs, the one next to us first (RFC 4976 §5.1). Then [`path`](Self::path) goes into our `a=path`, and
    /// [`connect`](Self::connect) and [`accept`](Self::accept) use the relays. A relay without a port is asked at 2855, over WebSocket
    /// (feature `ws`; transport `ws` of its URI, which [`uri`](Self::uri) takes too) at 443.
    ///
    /// A URI is good for one session, for the time that is returned, and while the connection to the relay stands.
    ///
    /// # Errors
    /// If a relay cannot be reached or gives no URI.
    #[cfg(feature = "auth")]
    pub async fn authenticate(
        &mut self,
        relays: &[(Uri, crate::auth::Account)],
    ) -> Result<crate::auth::Grant, ConnectError> {
        use crate::auth::{Auth, RELAY_PORT};
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
        let grant = super::route::ask(&commands, relays, &self.config.local).await?;
        self.relayed = Some((grant.clone(), commands));
        Ok(grant)
    }

    /// Whether we speak the transport of our relay. Our URI is of the same: who is behind a WebSocket has a name that nobody can
    /// connect to (RFC 7977 §5.2.2, appendix A).
    #[cfg(feature = "auth")]
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
            let uri = format!("{scheme}://{host:016x}.invalid:{}/{session};ws", crate::auth::RELAY_PORT);
            self.config.local = uri.parse().map_err(crate::auth::AuthError::from)?;
        }
        Ok(())
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

    /// Over the connection to our relay, where alone its URI is good.
    #[cfg(feature = "auth")]
    async fn connect_by_relay(mut self, remote: &Path) -> Result<Session, ConnectError> {
        let (grant, commands) = self.relayed.take().ok_or(ConnectError::Path)?;
        self.listening = None;
        self.config.active = true;
        self.config.remote = Some(grant.towards(remote).map_err(crate::auth::AuthError::from)?);
        let local = self.config.local.clone();
        lock(&self.shared.sessions).insert(local.clone(), Entry::Bound(0));
        let result = self.add(commands).await;
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
