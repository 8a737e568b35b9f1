//! What the endpoint, its connections and handles share: the tables of sessions and of connections (RFC 4975 §5.4).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::net::TcpStream;
use ::tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::options::Options;
use super::pending::ConnectError;
use super::socket::Socket;
use super::task::{COMMANDS, Command, Task, Waiter};
use crate::connection::Claim;
use crate::uri::Uri;

/// A session in the table.
pub(super) enum Entry {
    Waiting(Waiter),
    /// On this connection.
    Bound(u64),
}

/// Whom a connection of ours leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    is_secure: bool,
    pub(super) is_websocket: bool,
}

impl Target {
    pub(super) fn new(host: &str, port: u16, uri: &Uri) -> Self {
        let host = host.to_ascii_lowercase();
        Self { host, port, is_secure: uri.is_secure(), is_websocket: uri.is_websocket() }
    }

    #[cfg(feature = "ws")]
    pub(super) async fn upgrade(&self, socket: Socket) -> io::Result<Socket> {
        let is_default = self.port == if self.is_secure { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let host = if is_default { host } else { format!("{host}:{}", self.port) };
        super::websocket::connect(socket, &host).await
    }
}

/// What connections and handles share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) address: Option<SocketAddr>,
    pub(super) sessions: Mutex<HashMap<Uri, Entry>>,
    pub(super) connections: Mutex<HashMap<Target, (u64, mpsc::Sender<Command>)>>,
    next: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("address", &self.address).finish_non_exhaustive()
    }
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
    /// Without sessions and connections.
    pub(super) fn new(options: Options, address: Option<SocketAddr>) -> Self {
        Self {
            options,
            address,
            sessions: Mutex::default(),
            connections: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

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
    pub(super) fn spawn(
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
    pub(super) fn needs_fingerprint(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.options.tls.as_ref().is_some_and(super::tls::Tls::needs_fingerprint);
        #[cfg(not(feature = "tls"))]
        false
    }

    pub(super) async fn accepted(&self, stream: TcpStream) -> io::Result<Socket> {
        #[cfg(feature = "tls")]
        if let (true, Some(tls)) = (self.options.is_secure(), &self.options.tls) {
            return tls.accept(stream).await;
        }
        Ok(Socket::plain(stream))
    }

    pub(super) async fn connected(
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
