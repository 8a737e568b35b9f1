//! The connections of a driver: found by flow and by remote, counted by source.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ::tokio::sync::Notify;
use bytes::Bytes;

#[cfg(feature = "tls")]
use crate::identity::Identities;
use crate::limits::Limits;
use crate::locals::{host_text, parse_ip};
use crate::path::{CloseReason, FlowEvent, FlowId, Path, Token, Transport};
use crate::tokio::framing::Outbound;
use crate::tokio::socket::Socket;

/// Other addresses by which one connection can be found (RFC 5923): a peer has one, or one for each of its listeners.
const ALIASES: usize = 4;

/// Messages handed to the kernel in one call.
const PIECES: usize = 16;

/// A message, or the rest of one, that waits to be written.
pub(super) struct Waiting {
    pub(super) bytes: Bytes,
    pub(super) token: Token,
}

/// What the peer of a connection has proven (RFC 5922 §7.3, §7.4).
pub(super) enum Proof {
    /// The transport is not secure: nothing is asked for.
    NotAsked,
    /// No certificate, or not yet.
    Nothing,
    /// Whatever it is asked for: certificates are not verified here.
    #[cfg(feature = "tls")]
    Unseen,
    #[cfg(feature = "tls")]
    Domains(Arc<Identities>),
}

impl Proof {
    /// Whether it is a certificate that was verified.
    pub(super) fn is_certificate(&self) -> bool {
        match self {
            Proof::NotAsked | Proof::Nothing => false,
            #[cfg(feature = "tls")]
            Proof::Unseen => false,
            #[cfg(feature = "tls")]
            Proof::Domains(_) => true,
        }
    }

    /// What the core is told of it.
    pub(super) fn event(&self, path: Path) -> Option<FlowEvent> {
        match self {
            #[cfg(feature = "tls")]
            Proof::Domains(peer) => Some(FlowEvent::Proven { path, peer: peer.clone() }),
            _ => {
                let _ = path;
                None
            }
        }
    }

    /// Whether it is one for this host of a URI.
    fn proves(&self, host: &str) -> bool {
        match self {
            Proof::NotAsked => true,
            #[cfg(feature = "tls")]
            Proof::Unseen => true,
            #[cfg(feature = "tls")]
            Proof::Domains(identities) => identities.proves(host),
            Proof::Nothing => {
                let _ = host;
                false
            }
        }
    }
}

/// One connection, being opened or open.
pub(super) struct Connection {
    /// Its path with the flow set; the local address is exact once it is open.
    pub(super) path: Path,
    /// `None` until its handshakes are done.
    pub(super) socket: Option<Arc<Socket>>,
    pub(super) outbound: Outbound,
    pub(super) proof: Proof,
    /// The domain that it is being opened for.
    asked: Option<Arc<str>>,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) queued_bytes: usize,
    /// Wakes the task of the connection: something waits to be written, or the connection left the table.
    pub(super) wake: Arc<Notify>,
    pub(super) last_activity: Instant,
    /// When something came last; before that, when it was asked for or accepted.
    pub(super) last_heard: Instant,
    /// Who wants to know when it stands.
    pub(super) awaited_by: Vec<Token>,
    pub(super) accepted: bool,
    aliases: Vec<SocketAddr>,
}

/// How a new connection came to be.
pub(super) enum Origin {
    /// A peer opened it, and it can be used at once or after its handshakes.
    Accepted(Option<Arc<Socket>>),
    /// We are opening it for this domain.
    Opened(Option<Arc<str>>),
}

impl Connection {
    /// Puts a message behind those that wait, if the limits allow.
    fn enqueue(&mut self, bytes: &Bytes, token: Token, limits: &Limits) -> bool {
        let total = self.queued_bytes.saturating_add(bytes.len());
        if self.queue.len() >= limits.send_queue || total > limits.send_queue_bytes {
            return false;
        }
        self.queued_bytes = total;
        self.queue.push_back(Waiting { bytes: bytes.clone(), token });
        true
    }

    /// Writes what waits, as far as the kernel takes it, with as few calls as can be. `Err`: the connection is broken.
    pub(super) fn write(&mut self, now: Instant) -> std::io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        socket.flush()?;
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            for (slice, waiting) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(&waiting.bytes);
            }
            let used = slices.get(..self.queue.len()).unwrap_or(&slices);
            let mut written = match socket.write(used) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.last_activity = now;
            self.queued_bytes = self.queued_bytes.saturating_sub(written);
            while let Some(front) = self.queue.front_mut() {
                if written < front.bytes.len() {
                    bytes::Buf::advance(&mut front.bytes, written);
                    break;
                }
                written = written.saturating_sub(front.bytes.len());
                self.queue.pop_front();
            }
        }
        // An idle connection keeps no room for messages.
        self.queue = VecDeque::new();
        Ok(())
    }

    /// Whether something waits for the kernel to have room.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.queue.is_empty() || self.socket.as_ref().is_some_and(|socket| socket.is_pending())
    }

    /// Says goodbye in the words of the protocol, as far as the kernel takes it.
    pub(super) fn say_goodbye(&mut self, reason: CloseReason) {
        let Some(socket) = &self.socket else { return };
        let code = match reason {
            CloseReason::Shutdown => Some(1001),
            CloseReason::Idle | CloseReason::Local => Some(1000),
            CloseReason::Peer | CloseReason::Malformed => None,
            // Nobody would read it.
            CloseReason::SlowReader | CloseReason::Error(_) => return,
        };
        if self.queue.is_empty()
            && let Some(frame) = code.and_then(|code| self.outbound.close(code))
        {
            // Whole or not at all does not matter any more.
            let _ = socket.write(&[IoSlice::new(&frame)]);
        }
        socket.shut_down();
    }

    /// Whether a message for `domain` at `remote` may go over it: over TLS only if the peer has proven that domain, or the
    /// connection is being opened to have it proven (RFC 5922 §7.3, RFC 5923 §9.1).
    ///
    /// A host that is an address names nobody but who is there: the very address and port that a connection came from can
    /// be reached over that connection alone. Phones without certificates write it into Contact.
    fn serves(&self, domain: Option<&str>, remote: SocketAddr) -> bool {
        if matches!(self.proof, Proof::NotAsked) {
            return true;
        }
        if self.socket.is_none() {
            let asked = self.asked.as_deref();
            let same = asked.zip(domain).map(|(asked, domain)| asked.eq_ignore_ascii_case(domain));
            return !self.accepted && same.unwrap_or(asked == domain);
        }
        let address = domain.map_or(Some(remote.ip()), parse_ip).map(|ip| ip.to_canonical());
        if self.accepted && self.path.remote == remote && address == Some(remote.ip().to_canonical()) {
            return true;
        }
        match domain {
            Some(domain) => self.proof.proves(domain),
            None => self.proof.proves(&host_text(self.path.remote.ip())),
        }
    }
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total,
    Source,
}

#[derive(Default)]
pub(super) struct Table {
    /// Boxed: a table grows by doubling, and is half empty then.
    by_flow: HashMap<FlowId, Box<Connection>>,
    by_remote: BTreeSet<(Transport, SocketAddr, FlowId)>,
    accepted_from: HashMap<IpAddr, usize>,
    /// Open connections with messages for which nobody has asked the kernel yet.
    unwritten: Vec<FlowId>,
}

impl Table {
    /// Puts a message behind those that wait for a connection; `false`: it is full. What is sent in one go is
    /// [written](Self::write) in one go.
    pub(super) fn send(
        &mut self,
        flow: FlowId,
        bytes: &Bytes,
        token: Token,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        let Some(connection) = self.by_flow.get_mut(&flow) else { return false };
        let first = connection.queue.is_empty();
        if !connection.enqueue(bytes, token, limits) {
            // Perhaps a burst of our own, before the kernel was asked at all. An error shows again when its task writes.
            let _ = connection.write(now);
            if !connection.enqueue(bytes, token, limits) {
                return false;
            }
        }
        if first && connection.socket.is_some() {
            self.unwritten.push(flow);
        }
        true
    }

    /// Writes what was sent since the last time. What the kernel does not take is left to the tasks of the connections, as is
    /// closing those that are broken.
    pub(super) fn write(&mut self, now: Instant) {
        for flow in self.unwritten.drain(..) {
            if let Some(connection) = self.by_flow.get_mut(&flow)
                && (connection.write(now).is_err() || connection.wants_to_write())
            {
                connection.wake.notify_one();
            }
        }
    }

    /// Leaves what was sent since the last time to the tasks of the connections: more may follow in a moment.
    pub(super) fn leave(&mut self) {
        for flow in self.unwritten.drain(..) {
            if let Some(connection) = self.by_flow.get(&flow) {
                connection.wake.notify_one();
            }
        }
    }

    pub(super) fn has_room(&self, limits: &Limits, source: Option<IpAddr>) -> Result<(), Full> {
        if self.by_flow.len() >= limits.connections {
            return Err(Full::Total);
        }
        let same = source.and_then(|source| self.accepted_from.get(&source)).copied().unwrap_or(0);
        if source.is_some() && same >= limits.connections_per_source {
            return Err(Full::Source);
        }
        Ok(())
    }

    /// Adds a connection, and gives what wakes its task.
    pub(super) fn insert(&mut self, flow: FlowId, path: Path, origin: Origin, now: Instant) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        let (accepted, socket, asked) = match origin {
            Origin::Accepted(socket) => (true, socket, None),
            Origin::Opened(asked) => (false, None, asked),
        };
        if accepted {
            self.count(path.remote.ip());
        }
        let connection = Connection {
            path: Path { flow: Some(flow), ..path },
            socket,
            outbound: Outbound::of(path.transport, accepted),
            proof: if path.transport.is_secure() { Proof::Nothing } else { Proof::NotAsked },
            asked,
            queue: VecDeque::new(),
            queued_bytes: 0,
            wake: wake.clone(),
            last_activity: now,
            last_heard: now,
            awaited_by: Vec::new(),
            accepted,
            aliases: Vec::new(),
        };
        self.by_remote.insert((path.transport, path.remote, flow));
        self.by_flow.insert(flow, Box::new(connection));
        wake
    }

    pub(super) fn remove(&mut self, flow: FlowId) -> Option<Box<Connection>> {
        let connection = self.by_flow.remove(&flow)?;
        let transport = connection.path.transport;
        self.by_remote.remove(&(transport, connection.path.remote, flow));
        for alias in &connection.aliases {
            self.by_remote.remove(&(transport, *alias, flow));
        }
        if connection.accepted {
            self.uncount(connection.path.remote.ip());
        }
        connection.wake.notify_one();
        Some(connection)
    }

    pub(super) fn get_mut(&mut self, flow: FlowId) -> Option<&mut Connection> {
        self.by_flow.get_mut(&flow).map(|connection| &mut **connection)
    }

    /// All of them.
    pub(super) fn flows(&self) -> Vec<FlowId> {
        self.by_flow.keys().copied().collect()
    }

    /// All of them, with the addresses of this machine that they leave from; none for those that are being opened.
    pub(super) fn local_addresses(&self) -> Vec<(FlowId, IpAddr)> {
        let addresses = self.by_flow.iter().map(|(flow, connection)| (*flow, connection.path.local.ip()));
        addresses.filter(|(_, ip)| !ip.is_unspecified()).collect()
    }

    /// The newest connection that leads to `remote` and may be used for `domain`.
    pub(super) fn to_remote(
        &self,
        transport: Transport,
        remote: SocketAddr,
        domain: Option<&str>,
    ) -> Option<FlowId> {
        let all = (transport, remote, FlowId(0))..=(transport, remote, FlowId(u64::MAX));
        let mut flows = self.by_remote.range(all).rev().map(|(_, _, flow)| *flow);
        flows.find(|flow| self.by_flow.get(flow).is_some_and(|connection| connection.serves(domain, remote)))
    }

    /// The connections that a message on this path may have taken, and over which nothing came since then.
    pub(super) fn silent(&self, path: &Path, since: Instant) -> Vec<FlowId> {
        let last = path.flow.unwrap_or(FlowId(u64::MAX));
        let all = (path.transport, path.remote, path.flow.unwrap_or(FlowId(0)))
            ..=(path.transport, path.remote, last);
        let is_silent =
            |flow: &FlowId| self.by_flow.get(flow).is_some_and(|connection| connection.last_heard <= since);
        self.by_remote.range(all).map(|(_, _, flow)| *flow).filter(is_silent).collect()
    }

    /// RFC 5923 §5: an accepted connection leads to this address too, since its peer says so and has proven who it is.
    pub(super) fn alias(&mut self, flow: FlowId, address: SocketAddr) {
        let Some(connection) = self.by_flow.get_mut(&flow) else { return };
        let known = connection.path.remote == address || connection.aliases.contains(&address);
        if !known && connection.aliases.len() < ALIASES {
            connection.aliases.push(address);
            self.by_remote.insert((connection.path.transport, address, flow));
        }
    }

    /// The peer of an accepted connection turned out to be another: it came through a proxy of connections.
    pub(super) fn came_from(&mut self, flow: FlowId, remote: SocketAddr) {
        let Some(connection) = self.by_flow.get_mut(&flow) else { return };
        let (transport, before) = (connection.path.transport, connection.path.remote);
        connection.path.remote = remote;
        self.by_remote.remove(&(transport, before, flow));
        self.by_remote.insert((transport, remote, flow));
        self.uncount(before.ip());
        self.count(remote.ip());
    }

    pub(super) fn len(&self) -> usize {
        self.by_flow.len()
    }

    fn count(&mut self, source: IpAddr) {
        let count = self.accepted_from.entry(source).or_insert(0);
        *count = count.saturating_add(1);
    }

    fn uncount(&mut self, source: IpAddr) {
        if let Some(count) = self.accepted_from.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.accepted_from.remove(&source);
            }
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
