//! Being a relay (RFC 4976 §6), without socket, clock or randomness: who may ask for a URI, what is forwarded where, and what is told
//! of failures.
//!
//! ```text
//!  octets of a connection --> receive --> AUTH: a URI is handed out, good on this connection
//!                                |
//!                                +--> others: checked against the URIs handed out, then into the queue of the next hop
//!  octets of a connection <-- poll_transmit
//!  connections to open or close, others to look at <-- poll_action
//! ```
//!
//! Chunks are not passed through as they are but in pieces as they arrive, each a chunk of its own with its Byte-Range: a sender that
//! stops in the middle of one keeps nobody else from the next hop. A URI that was handed out belongs to the connection that asked
//! for it, also where that is another relay's, so relays need no certificates of each other to be told apart; if that connection
//! ends, its URIs do.

mod auth;
mod forward;
mod peer;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::auth::digest::Algorithm;
use crate::connection::{ANSWER_TIME, Tokens};
use crate::framing::{Event, FramingError};
use crate::message::{FailureReport, Flag, Head, HeadWriter, Ident, Method, Start, Status};
use crate::session::may_answer;
use crate::status::StatusCode;
use crate::uri::Uri;
use peer::{Inbound, Peer, Pending, Piece, Target};

/// Octets that wait for one connection. Whoever sends to it is not read while there are more: a receiver that is slow, or does not
/// read at all, would fill memory with what others send to it.
pub const MAX_QUEUED: usize = 1 << 20;
/// Chunks of one connection without an answer; then whoever sends to it is not read. A next hop that never answers would fill memory.
pub const MAX_PENDING: usize = 4_096;
/// URIs that one connection may hold: a client that asks without end would fill memory.
pub const MAX_GRANTS: usize = 1_024;
/// Connections, whoever opened them: each costs memory before anybody has shown who he is.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Connections from one address (of IPv6, from one network of 64 bits): nobody shall hold the places of all. Offices behind one
/// address have many clients, each of which has one.
pub const MAX_CONNECTIONS_PER_SOURCE: usize = 256;
/// Previous hops remembered for one connection, so that answers of sessions find their way back over it.
pub const MAX_HOPS: usize = 1_024;
/// How long a connection may stay without one successful request (RFC 4976 §6.1): strangers shall not hold places.
pub const PROBATION: Duration = Duration::from_secs(30);
/// Wrong credentials on one connection before it is closed (RFC 4976 §6.3): passwords shall not be guessed.
pub const MAX_FAILURES: usize = 5;

/// How a relay is set up.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The host in the URIs that it hands out, and which it is addressed by.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether its URIs are `msrps`.
    pub secure: bool,
    /// The realm of its accounts.
    pub realm: String,
    /// The fewest seconds for which a URI is handed out.
    pub min_expires: u64,
    /// The most, and those of who asks for no certain time.
    pub max_expires: u64,
    /// Connections that it has at one time; more are closed.
    pub max_connections: usize,
    /// The same from one address.
    pub max_connections_per_source: usize,
    /// Whether AUTH is taken without TLS, which RFC 4976 §9.2 forbids: for a relay behind something that ends TLS, and for tests.
    pub over_plain_tcp: bool,
}

impl RelayConfig {
    /// A relay with TLS, whose realm is its host (RFC 4976 §5.1), and whose URIs are good for a minute up to an hour.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        Self {
            realm: host.clone(),
            host,
            port,
            secure: true,
            min_expires: 60,
            max_expires: 3_600,
            max_connections: MAX_CONNECTIONS,
            max_connections_per_source: MAX_CONNECTIONS_PER_SOURCE,
            over_plain_tcp: false,
        }
    }

    /// Whether this is our address. That for WebSockets has another port, maybe of something before us (RFC 7977 §8.1.1).
    fn is_ours(&self, uri: &Uri) -> bool {
        let is_of_relay = uri.session_id().is_none() && (uri.port().is_none() || uri.is_websocket());
        let port = uri.port() == Some(self.port) || is_of_relay;
        port && uri.host().eq_ignore_ascii_case(&self.host)
    }
}

/// Who may use the relay.
pub trait Accounts: Send {
    /// `H(username:realm:password)` of an account ([`Algorithm::ha1`]), or nothing if there is none.
    fn ha1(&self, username: &str, realm: &str, algorithm: Algorithm) -> Option<String>;

    /// Whether an account that has shown its password may have URIs; otherwise 403.
    fn may_relay(&self, _username: &str) -> bool {
        true
    }

    /// Whether credentials of this name from there are not even looked at (403), since too many were wrong.
    fn is_shut_out(&self, _source: IpAddr, _username: &str) -> bool {
        false
    }

    /// Credentials of this name from there were looked at: whether they hold.
    fn judged(&self, _source: IpAddr, _username: &str, _good: bool) {}
}

/// What a relay has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayCounts {
    /// Connections that stand or are being made.
    pub connections: usize,
    /// URIs that are valid.
    pub grants: usize,
    /// URIs that were handed out.
    pub granted: u64,
    /// Wrong names or passwords.
    pub wrong_credentials: u64,
    /// Connections that were refused for want of a place.
    pub connections_refused: u64,
    /// Requests sent on, a chunk in pieces once for each.
    pub forwarded: u64,
    /// Octets of content in them.
    pub octets: u64,
    /// Failures that senders were told of.
    pub failures: u64,
}

/// What counts as one source: an address, of IPv6 the network that one customer has.
fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

/// Passwords by name.
impl Accounts for HashMap<String, String> {
    fn ha1(&self, username: &str, realm: &str, algorithm: Algorithm) -> Option<String> {
        self.get(username).map(|password| algorithm.ha1(username, realm, password))
    }
}

/// What the driver of a relay has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to this URI; then [`Relay::connected`] or [`Relay::closed`].
    Connect {
        /// Its name.
        connection: u64,
        /// Where to.
        uri: Uri,
    },
    /// Close it; the relay has forgotten it.
    Close {
        /// Its name.
        connection: u64,
    },
    /// There is something to send on it, or what it sent before can be read on.
    Wake {
        /// Its name.
        connection: u64,
    },
}

/// Why a connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// What comes is no MSRP.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// A request without paths, or for somebody else (RFC 4976 §6.2).
    #[error("a request that is not addressed to this relay")]
    NotOurs,
    /// Too many wrong credentials.
    #[error("too many wrong credentials")]
    Credentials,
    /// There is no such connection.
    #[error("no such connection")]
    Gone,
}

/// A URI that was handed out.
#[derive(Debug)]
struct Grant {
    uri: Uri,
    connection: u64,
    /// The hop that asked for it.
    hop: Uri,
    until: Instant,
}

/// The state machine of a relay.
pub struct Relay {
    config: RelayConfig,
    accounts: Box<dyn Accounts>,
    tokens: Box<dyn Tokens>,
    peers: HashMap<u64, Peer>,
    grants: HashMap<String, Grant>,
    /// How many connections each source has.
    sources: HashMap<IpAddr, usize>,
    counts: RelayCounts,
    by_end: BTreeSet<(Instant, String)>,
    /// Hops that came over a connection.
    hops: HashMap<Uri, u64>,
    /// Connections that we opened.
    targets: HashMap<Target, u64>,
    /// Who waits for room on a connection.
    waiters: HashMap<u64, HashSet<u64>>,
    answers: VecDeque<(Instant, u64, Ident)>,
    probations: VecDeque<(Instant, u64)>,
    actions: VecDeque<Action>,
    next: u64,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("config", &self.config)
            .field("connections", &self.peers.len())
            .field("grants", &self.grants.len())
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// One without connections.
    #[must_use]
    pub fn new(config: RelayConfig, accounts: Box<dyn Accounts>, tokens: Box<dyn Tokens>) -> Self {
        Self {
            config,
            accounts,
            tokens,
            peers: HashMap::new(),
            grants: HashMap::new(),
            sources: HashMap::new(),
            counts: RelayCounts::default(),
            by_end: BTreeSet::new(),
            hops: HashMap::new(),
            targets: HashMap::new(),
            waiters: HashMap::new(),
            answers: VecDeque::new(),
            probations: VecDeque::new(),
            actions: VecDeque::new(),
            next: 0,
        }
    }

    /// What it has done and holds.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        RelayCounts { connections: self.peers.len(), grants: self.grants.len(), ..self.counts }
    }

    fn name(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    /// Somebody has connected from there, over TLS or not; nothing if there are too many already.
    pub fn accepted(&mut self, now: Instant, secure: bool, from: IpAddr) -> Option<u64> {
        let source = source_of(from);
        let of_source = self.sources.get(&source).copied().unwrap_or_default();
        if self.peers.len() >= self.config.max_connections
            || of_source >= self.config.max_connections_per_source
        {
            self.counts.connections_refused = self.counts.connections_refused.saturating_add(1);
            return None;
        }
        self.sources.insert(source, of_source.saturating_add(1));
        let connection = self.name();
        self.peers.insert(connection, Peer::new(secure, true, None).from(from));
        if let Some(due) = now.checked_add(PROBATION) {
            self.probations.push_back((due, connection));
        }
        Some(connection)
    }

    /// A connection that was accepted is a WebSocket, of whose messages each is one chunk (RFC 7977 §5.1): each
    /// [`push`](Self::push) is one, when [`wants_input`](Self::wants_input) says so, and
    /// [`is_at_chunk_end`](Self::is_at_chunk_end) tells where those that leave end.
    pub fn set_in_messages(&mut self, connection: u64) {
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.in_messages = true;
            peer.decoder.set_in_messages();
        }
    }

    /// Whether what [`poll_transmit`](Self::poll_transmit) has handed out for a connection ends with a whole chunk.
    #[must_use]
    pub fn is_at_chunk_end(&self, connection: u64) -> bool {
        self.peers.get(&connection).is_none_or(|peer| peer.is_at_chunk_end)
    }

    /// A connection that [`Action::Connect`] asked for stands.
    pub fn connected(&mut self, connection: u64) {
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.is_open = true;
            self.actions.push_back(Action::Wake { connection });
        }
    }

    /// Whether the relay knows the connection; otherwise it has to be closed.
    #[must_use]
    pub fn is_known(&self, connection: u64) -> bool {
        self.peers.contains_key(&connection)
    }

    /// Whether a request of the connection has succeeded.
    #[must_use]
    pub fn is_proven(&self, connection: u64) -> bool {
        self.peers.get(&connection).is_some_and(|peer| peer.is_proven)
    }

    /// Octets that arrived; then [`receive`](Self::receive).
    pub fn push(&mut self, connection: u64, octets: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.decoder.push(octets);
        }
    }

    /// Whether more of this connection should be read.
    #[must_use]
    pub fn wants_input(&self, connection: u64) -> bool {
        self.peers.get(&connection).is_some_and(|peer| {
            let is_free = !peer.in_messages || peer.decoder.is_between();
            peer.queued < MAX_QUEUED && peer.blocked_on.is_none() && is_free
        })
    }

    /// Reads what was pushed, as far as there is room where it goes.
    ///
    /// # Errors
    /// If the connection has to be closed: then [`closed`](Self::closed) is due.
    pub fn receive(&mut self, now: Instant, connection: u64) -> Result<(), RelayError> {
        loop {
            let Some(peer) = self.peers.get_mut(&connection) else { return Err(RelayError::Gone) };
            if peer.queued >= MAX_QUEUED {
                return Ok(());
            }
            if let Some(target) = peer.blocked_on {
                if self.peers.get(&target).is_some_and(Peer::is_full) {
                    self.waiters.entry(target).or_default().insert(connection);
                    return Ok(());
                }
                if let Some(peer) = self.peers.get_mut(&connection) {
                    peer.blocked_on = None;
                }
                continue;
            }
            let Some(event) = peer.decoder.next_event()? else { return Ok(()) };
            match event {
                Event::Start(head) => match head.start() {
                    Start::Response(status) => {
                        let status = *status;
                        peer.inbound = Inbound::Nothing;
                        self.response(connection, &head, status);
                    }
                    Start::Request(method) => {
                        let method = method.clone();
                        self.request(now, connection, &head, &method)?;
                    }
                },
                Event::Body(octets) => self.body(connection, octets),
                Event::End(flag) => self.end(connection, flag),
            }
            if self.peers.get(&connection).is_some_and(|peer| peer.failures >= MAX_FAILURES) {
                return Err(RelayError::Credentials);
            }
        }
    }

    /// Octets to send on a connection. What is taken has to be sent, in this order.
    pub fn poll_transmit(&mut self, connection: u64) -> Option<Bytes> {
        let peer = self.peers.get_mut(&connection).filter(|peer| peer.is_open)?;
        let (was_full, was_stuffed) = (peer.is_full(), peer.queued >= MAX_QUEUED);
        let Piece { octets, is_last, transaction } = peer.queue.pop_front()?;
        peer.is_at_chunk_end = is_last;
        peer.queued = peer.queued.saturating_sub(octets.len());
        peer.unstarted.extend(transaction);
        let (has_room, is_stuffed) = (was_full && !peer.is_full(), peer.queued >= MAX_QUEUED);
        if has_room {
            self.wake_waiters(connection);
        }
        if was_stuffed && !is_stuffed {
            // It was not read either.
            self.actions.push_back(Action::Wake { connection });
        }
        Some(octets)
    }

    /// What was handed out is with the kernel: the time for answers begins.
    pub fn transmitted(&mut self, now: Instant, connection: u64) {
        let Some(due) = now.checked_add(ANSWER_TIME) else { return };
        if let Some(peer) = self.peers.get_mut(&connection) {
            self.answers.extend(peer.unstarted.drain(..).map(|id| (due, connection, id)));
        }
    }

    /// What is to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let answers = self.answers.front().map(|(due, ..)| *due);
        let probations = self.probations.front().map(|(due, _)| *due);
        answers.into_iter().chain(probations).chain(self.by_end.first().map(|(due, _)| *due)).min()
    }

    /// Answers that did not come, strangers that stay strangers, URIs that are no longer valid.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.answers.front().is_some_and(|(due, ..)| *due <= now) {
            let Some((_, connection, id)) = self.answers.pop_front() else { return };
            let pending = self.peers.get_mut(&connection).and_then(|peer| peer.pending.remove(&id));
            self.wake_waiters(connection);
            // Of a chunk whose success is not told, silence is none either (RFC 4976 §6.4.1).
            if let Some(Pending::Chunk { report: FailureReport::Yes, .. }) = &pending {
                self.failed(pending, StatusCode::TIMEOUT);
            }
        }
        while self.probations.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, connection)) = self.probations.pop_front() else { return };
            if self.peers.get(&connection).is_some_and(|peer| !peer.is_proven) {
                self.closed(connection);
                self.actions.push_back(Action::Close { connection });
            }
        }
        while self.by_end.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, token)) = self.by_end.pop_first() else { return };
            self.revoke(&token);
        }
    }

    fn revoke(&mut self, token: &str) {
        if let Some(grant) = self.grants.remove(token) {
            self.by_end.remove(&(grant.until, token.to_owned()));
            if let Some(peer) = self.peers.get_mut(&grant.connection) {
                peer.grants.remove(token);
            }
        }
    }

    /// A connection is gone, or could not be made: its URIs are no longer valid (RFC 4976 §6.3), and what was on its way over it
    /// has failed.
    pub fn closed(&mut self, connection: u64) {
        let Some(mut peer) = self.peers.remove(&connection) else { return };
        if let Some(source) = peer.from.map(source_of)
            && let Some(count) = self.sources.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        for token in std::mem::take(&mut peer.grants) {
            self.revoke(&token);
        }
        for hop in &peer.hops {
            self.hops.remove(hop);
        }
        if let Some(target) = &peer.target {
            self.targets.remove(target);
        }
        let mut pending: Vec<_> = peer.pending.into_iter().collect();
        pending.sort_unstable_by_key(|(id, _)| *id);
        for (_, pending) in pending {
            self.failed(Some(pending), StatusCode::TIMEOUT);
        }
        self.wake_waiters(connection);
    }

    fn wake_waiters(&mut self, target: u64) {
        if self.peers.get(&target).is_some_and(Peer::is_full) {
            return;
        }
        let mut waiters: Vec<u64> = self.waiters.remove(&target).into_iter().flatten().collect();
        waiters.sort_unstable();
        for connection in waiters {
            if let Some(peer) = self.peers.get_mut(&connection) {
                peer.blocked_on = None;
                self.actions.push_back(Action::Wake { connection });
            }
        }
    }

    /// Something to send, which ends a chunk.
    fn enqueue(&mut self, connection: u64, octets: Bytes, transaction: Option<Ident>) {
        self.enqueue_piece(connection, Piece { octets, is_last: true, transaction });
    }

    fn enqueue_piece(&mut self, connection: u64, piece: Piece) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        let was_empty = peer.queue.is_empty();
        peer.queued = peer.queued.saturating_add(piece.octets.len());
        peer.queue.push_back(piece);
        if was_empty && peer.is_open {
            self.actions.push_back(Action::Wake { connection });
        }
    }

    /// An identifier that no transaction of this connection has and that is not in these octets.
    fn fresh(&mut self, connection: u64, body: &[u8]) -> Ident {
        let mut id = Ident::from_token(self.tokens.next());
        for _ in 0..8 {
            let taken = self.peers.get(&connection).is_some_and(|peer| peer.pending.contains_key(&id));
            if !taken && memchr::memmem::find(body, id.as_str().as_bytes()).is_none() {
                break;
            }
            id = Ident::from_token(self.tokens.next());
        }
        id
    }

    /// Tells the sender of a chunk that it did not get further (RFC 4976 §6.4.1, §6.4.3).
    fn failed(&mut self, pending: Option<Pending>, status: StatusCode) {
        let Some(Pending::Chunk { source, back, us, message, range, report }) = pending else { return };
        if report == FailureReport::No || !self.peers.contains_key(&source) {
            return;
        }
        self.counts.failures = self.counts.failures.saturating_add(1);
        let id = self.fresh(source, &[]);
        let mut writer =
            HeadWriter::request(id, &Method::Report).copied("To-Path", &back).typed("From-Path", us);
        if let Some(message) = message {
            writer = writer.typed("Message-ID", message);
        }
        let status = Status { namespace: 0, code: status, comment: status.comment().into() };
        let report = writer.typed("Byte-Range", range).typed("Status", status).without_body(Flag::Complete);
        self.enqueue(source, report, None);
    }

    /// Answers a request over the connection that it came on: SEND to the previous hop, others along the whole way back.
    fn answer(&mut self, connection: u64, head: &Head, status: StatusCode, more: &[(&str, String)]) {
        let is_send = *head.start() == Start::Request(Method::Send);
        if *head.start() == Start::Request(Method::Report)
            || (is_send && !may_answer(head.failure_report().unwrap_or_default(), status))
        {
            return;
        }
        let (Some(to), Some(from)) = (head.get_bytes("To-Path"), head.get_bytes("From-Path")) else { return };
        let back =
            if is_send { from.slice(..memchr::memchr(b' ', &from).unwrap_or(from.len())) } else { from };
        let mut writer = HeadWriter::response(head.transaction(), status, status.comment())
            .copied("To-Path", &back)
            .copied("From-Path", &to);
        for (name, value) in more {
            writer = writer.typed(name, value);
        }
        self.enqueue(connection, writer.without_body(Flag::Complete), None);
    }
}
