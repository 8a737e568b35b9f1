//! A relay over sockets (RFC 4976): [`RelayServer`] drives [`Relay`].
//!
//! Every connection has one task; the relay is behind one lock that is never held while waiting.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ::tokio::net::{TcpListener, TcpStream, lookup_host};
use ::tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use ::tokio::task::JoinHandle;
use ::tokio::time::{sleep, sleep_until, timeout};
use bytes::{Bytes, BytesMut};

use super::endpoint::{CONNECT, PAUSE};
use super::shared::{lock, random};
use super::socket::{Read, Socket};
#[cfg(feature = "ws")]
use super::websocket::Origins;
use crate::relay::{Accounts, Action, Relay, RelayConfig, RelayCounts};
use crate::uri::Uri;

/// Octets taken from the relay before the kernel has taken them.
const BATCH: usize = 262_144;
/// Handshakes of TLS at once that others began: more wait. Each costs computation before anybody has shown who he is.
const MAX_HANDSHAKES: usize = 256;

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    ::tokio::time::Instant::now().into_std()
}

/// Clients say where we connect to: what only this machine or its link reaches is none of theirs, unless they are on it themselves.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_of_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_of_link || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()
}

/// How those who come to a listener speak.
enum Way {
    Stream,
    #[cfg(feature = "ws")]
    WebSocket(Origins),
}

struct Shared {
    core: Mutex<Relay>,
    wakes: Mutex<HashMap<u64, Arc<Notify>>>,
    timer: Notify,
    /// It listens for this machine alone.
    on_loopback: bool,
    #[cfg(feature = "tls")]
    tls: Mutex<Option<super::tls::Tls>>,
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
            if !self.on_loopback && is_of_this_machine(address.ip()) {
                last = io::ErrorKind::PermissionDenied.into();
                continue;
            }
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
        let tls = lock(&self.tls).clone();
        #[cfg(feature = "tls")]
        if let Some(tls) = tls {
            return tls.connect(stream, uri.host(), false).await;
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    fn register(&self, connection: u64) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        lock(&self.wakes).insert(connection, wake.clone());
        wake
    }

    /// Somebody connected.
    async fn accepted(
        self: Arc<Self>,
        stream: TcpStream,
        from: IpAddr,
        place: OwnedSemaphorePermit,
        way: Arc<Way>,
    ) {
        #[cfg(feature = "tls")]
        let tls = lock(&self.tls).clone();
        #[cfg(feature = "tls")]
        let (socket, secure) = match tls {
            Some(tls) => match timeout(CONNECT, tls.accept(stream)).await {
                Ok(Ok(socket)) => (socket, true),
                _ => return,
            },
            None => (Socket::plain(stream), false),
        };
        #[cfg(not(feature = "tls"))]
        let (socket, secure) = (Socket::plain(stream), false);
        #[cfg(feature = "ws")]
        let socket = match &*way {
            Way::Stream => socket,
            Way::WebSocket(origins) => {
                match timeout(CONNECT, super::websocket::accept(socket, origins)).await {
                    Ok(Ok(socket)) => socket,
                    _ => return,
                }
            }
        };
        #[cfg(not(feature = "ws"))]
        let _ = way;
        drop(place);
        let is_websocket = socket.is_websocket();
        let connection = self.with(|relay| {
            let connection = relay.accepted(now(), secure, from)?;
            if is_websocket {
                relay.set_in_messages(connection);
            }
            Some(connection)
        });
        if let Some(connection) = connection {
            let wake = self.register(connection);
            self.run(connection, socket, wake).await;
        }
    }

    async fn run(self: Arc<Self>, connection: u64, mut socket: Socket, wake: Arc<Notify>) {
        let mut out: VecDeque<Bytes> = VecDeque::new();
        let _ = self.go(connection, &mut socket, &wake, &mut out).await;
        socket.shut_down(&mut out);
        lock(&self.wakes).remove(&connection);
        self.with(|relay| relay.closed(connection));
    }

    async fn go(
        self: &Arc<Self>,
        connection: u64,
        socket: &mut Socket,
        wake: &Notify,
        out: &mut VecDeque<Bytes>,
    ) -> io::Result<()> {
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
                    socket.put(piece, relay.is_at_chunk_end(connection), out);
                }
                if octets < BATCH {
                    socket.put_control(out);
                }
                result
            });
            // Who is refused for good is told why, as far as the kernel takes it.
            if result.is_err() {
                is_last = true;
                socket.set_violated();
            }
            let mut progress = false;
            if !out.is_empty() || socket.is_pending() {
                match socket.write(out) {
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
            let (wants_input, is_proven) =
                self.with(|relay| (relay.wants_input(connection), relay.is_proven(connection)));
            socket.set_stranger(!is_proven);
            if wants_input {
                match socket.read(&mut buffer) {
                    Ok(Read::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(Read::Control) => progress = true,
                    Ok(Read::Some) => {
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
            let due = socket.due();
            ::tokio::select! {
                () = socket.readable(), if wants_input => {}
                () = socket.writable(), if wants_output => {}
                () = wake.notified() => {}
                () = async { if let Some(due) = due { sleep_until(due.into()).await; } }, if due.is_some() => {
                    socket.tick()?;
                }
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

/// Takes those who come.
async fn listen(listener: TcpListener, shared: Arc<Shared>, way: Way) {
    let (way, places) = (Arc::new(way), Arc::new(Semaphore::new(MAX_HANDSHAKES)));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                ::tokio::spawn(shared.clone().accepted(stream, from.ip(), place, way.clone()));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// A relay that listens. Dropping it stops the listening and its clock; connections that stand end with their peers.
pub struct RelayServer {
    address: SocketAddr,
    #[cfg(feature = "ws")]
    websockets: Option<SocketAddr>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayServer").field("address", &self.address).finish_non_exhaustive()
    }
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
        address: SocketAddr,
        mut config: RelayConfig,
        accounts: Box<dyn Accounts>,
        #[cfg(feature = "tls")] tls: Option<super::tls::Tls>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        if config.port == 0 {
            config.port = address.port();
        }
        let shared = Arc::new(Shared {
            core: Mutex::new(Relay::new(config, accounts, Box::new(random))),
            wakes: Mutex::default(),
            timer: Notify::new(),
            on_loopback: address.ip().is_loopback(),
            #[cfg(feature = "tls")]
            tls: Mutex::new(tls),
        });
        let clock = ::tokio::spawn(shared.clone().keep_time());
        let listening = ::tokio::spawn(listen(listener, shared.clone(), Way::Stream));
        Ok(Self {
            address,
            #[cfg(feature = "ws")]
            websockets: None,
            shared,
            tasks: vec![clock, listening],
        })
    }

    /// Listens for WebSockets too (RFC 7977), as pages in browsers speak: over TLS if there is any. Clients ask there for URIs, with
    /// `To-Path: msrps://name@host:port;ws`, and what they are given is for whom they talk to. Returns where it listens.
    ///
    /// # Errors
    /// If the address cannot be had.
    #[cfg(feature = "ws")]
    pub async fn listen_websocket(
        &mut self,
        address: SocketAddr,
        origins: Origins,
    ) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        self.tasks.push(::tokio::spawn(listen(listener, self.shared.clone(), Way::WebSocket(origins))));
        self.websockets = Some(address);
        Ok(address)
    }

    /// Where it listens for WebSockets, the last of several.
    #[cfg(feature = "ws")]
    #[must_use]
    pub fn websocket_address(&self) -> Option<SocketAddr> {
        self.websockets
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done and holds.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        lock(&self.shared.core).counts()
    }

    /// Other certificates for connections that are made from now on, such as one that is about to expire is replaced by.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: super::tls::Tls) {
        *lock(&self.shared.tls) = Some(tls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_not_for_clients() {
        for own in
            ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1"]
        {
            assert!(is_of_this_machine(own.parse().unwrap()), "{own}");
        }
        for other in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert!(!is_of_this_machine(other.parse().unwrap()), "{other}");
        }
    }
}
