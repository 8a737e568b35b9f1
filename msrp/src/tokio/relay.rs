//! A relay over sockets (RFC 4976): [`RelayServer`] drives [`Relay`].
//!
//! Every connection has one task; the relay is behind one lock that is never held while waiting.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ::tokio::net::{TcpListener, TcpStream, lookup_host};
use ::tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use ::tokio::task::JoinHandle;
use ::tokio::time::{sleep, sleep_until, timeout};
use bytes::{Bytes, BytesMut};

use super::endpoint::{CONNECT, PAUSE, lock, random};
use super::socket::Socket;
use crate::relay::{Accounts, Action, Relay, RelayConfig};
use crate::uri::Uri;

/// Octets taken from the relay before the kernel has taken them.
const BATCH: usize = 262_144;
/// Handshakes of TLS at once that others began: more wait. Each costs computation before anybody has shown who he is.
const MAX_HANDSHAKES: usize = 256;

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    ::tokio::time::Instant::now().into_std()
}

struct Shared {
    core: Mutex<Relay>,
    wakes: Mutex<HashMap<u64, Arc<Notify>>>,
    timer: Notify,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
}

impl Shared {
    /// Does something with the relay, and what it wants done thereafter.
    fn with<T>(self: &Arc<Self>, what: impl FnOnce(&mut Relay) -> T) -> T {
        let mut core = lock(&self.core);
        let before = core.poll_timeout();
        let result = what(&mut core);
        let is_sooner = match (before, core.poll_timeout()) {
            (Some(before), Some(after)) => after < before,
            (None, after) => after.is_some(),
            _ => false,
        };
        let actions: Vec<Action> = std::iter::from_fn(|| core.poll_action()).collect();
        drop(core);
        if is_sooner {
            self.timer.notify_one();
        }
        for action in actions {
            match action {
                Action::Wake { connection } | Action::Close { connection } => {
                    if let Some(wake) = lock(&self.wakes).get(&connection) {
                        wake.notify_one();
                    }
                }
                Action::Connect { connection, uri } => {
                    ::tokio::spawn(self.clone().dial(connection, uri));
                }
            }
        }
        result
    }

    async fn dial(self: Arc<Self>, connection: u64, uri: Uri) {
        match timeout(CONNECT, self.open(&uri)).await {
            Ok(Ok(socket)) => {
                let wake = self.register(connection);
                self.with(|relay| relay.connected(connection));
                self.run(connection, socket, wake).await;
            }
            _ => self.with(|relay| relay.closed(connection)),
        }
    }

    async fn open(&self, uri: &Uri) -> io::Result<Socket> {
        let port = uri.port().ok_or(io::ErrorKind::InvalidInput)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in lookup_host((uri.host(), port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.begin(stream, uri).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn begin(&self, stream: TcpStream, uri: &Uri) -> io::Result<Socket> {
        if !uri.is_secure() {
            return Ok(Socket::plain(stream));
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.connect(stream, uri.host()).await;
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    fn register(&self, connection: u64) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        lock(&self.wakes).insert(connection, wake.clone());
        wake
    }

    /// Somebody connected.
    async fn accepted(self: Arc<Self>, stream: TcpStream, place: OwnedSemaphorePermit) {
        #[cfg(feature = "tls")]
        let (socket, secure) = match &self.tls {
            Some(tls) => match timeout(CONNECT, tls.accept(stream)).await {
                Ok(Ok(socket)) => (socket, true),
                _ => return,
            },
            None => (Socket::plain(stream), false),
        };
        #[cfg(not(feature = "tls"))]
        let (socket, secure) = (Socket::plain(stream), false);
        drop(place);
        if let Some(connection) = self.with(|relay| relay.accepted(now(), secure)) {
            let wake = self.register(connection);
            self.run(connection, socket, wake).await;
        }
    }

    async fn run(self: Arc<Self>, connection: u64, mut socket: Socket, wake: Arc<Notify>) {
        let _ = self.go(connection, &mut socket, &wake).await;
        socket.shut_down();
        lock(&self.wakes).remove(&connection);
        self.with(|relay| relay.closed(connection));
    }

    async fn go(self: &Arc<Self>, connection: u64, socket: &mut Socket, wake: &Notify) -> io::Result<()> {
        let mut out: VecDeque<Bytes> = VecDeque::new();
        let mut buffer = BytesMut::new();
        let mut is_last = false;
        loop {
            // What was left unread, for want of room where it goes, is read on.
            let result = self.with(|relay| {
                let result = relay.receive(now(), connection);
                let mut octets: usize = out.iter().map(Bytes::len).sum();
                while octets < BATCH
                    && let Some(piece) = relay.poll_transmit(connection)
                {
                    octets = octets.saturating_add(piece.len());
                    out.push_back(piece);
                }
                result
            });
            // Who is refused for good is told why, as far as the kernel takes it.
            is_last |= result.is_err();
            let mut progress = false;
            if !out.is_empty() || socket.is_pending() {
                match socket.write(&mut out) {
                    Ok(()) => {
                        self.with(|relay| relay.transmitted(now(), connection));
                        progress = true;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            if is_last {
                return Ok(());
            }
            let wants_input = self.with(|relay| relay.wants_input(connection));
            if wants_input {
                match socket.read(&mut buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {
                        self.with(|relay| relay.push(connection, &buffer));
                        buffer.clear();
                        progress = true;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            if progress {
                ::tokio::task::yield_now().await;
                continue;
            }
            let wants_output = !out.is_empty() || socket.is_pending();
            ::tokio::select! {
                () = socket.readable(), if wants_input => {}
                () = socket.writable(), if wants_output => {}
                () = wake.notified() => {}
            }
        }
    }

    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = lock(&self.core).poll_timeout();
            let due = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            ::tokio::select! {
                () = due => self.with(|relay| relay.handle_timeout(now())),
                () = self.timer.notified() => {}
            }
        }
    }
}

/// A relay that listens. Dropping it stops the listening and its clock; connections that stand end with their peers.
#[derive(Debug)]
pub struct RelayServer {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl RelayServer {
    /// Begins to listen, over TLS if there is any. If the port of the configuration is 0, it becomes the one that is listened at.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(
        listen: SocketAddr,
        mut config: RelayConfig,
        accounts: Box<dyn Accounts>,
        #[cfg(feature = "tls")] tls: Option<super::tls::Tls>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        if config.port == 0 {
            config.port = address.port();
        }
        let shared = Arc::new(Shared {
            core: Mutex::new(Relay::new(config, accounts, Box::new(random))),
            wakes: Mutex::default(),
            timer: Notify::new(),
            #[cfg(feature = "tls")]
            tls,
        });
        let clock = ::tokio::spawn(shared.clone().keep_time());
        let listening = ::tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
            loop {
                // Never closed.
                let Ok(place) = places.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let shared = shared.clone();
                        ::tokio::spawn(async move {
                            shared.accepted(stream, place).await;
                        });
                    }
                    Err(_) => sleep(PAUSE).await,
                }
            }
        });
        Ok(Self { address, tasks: [clock, listening] })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
