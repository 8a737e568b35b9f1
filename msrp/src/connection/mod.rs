//! The sessions of one connection (RFC 4975 §5.4, §7): pure, without socket, clock or randomness.
//!
//! ```text
//!  octets --> receive ---> Inbox of a session --> poll_event
//!                  |
//!                  v answers, reports
//!  octets <-- poll_transmit <-- turns of messages <-- send, feed
//! ```
//!
//! Answers and reports go before content; messages of all sessions take turns (RFC 4975 §5.1). A chunk that others wait for is
//! cut short once it has 2,048 octets.

#[cfg(feature = "auth")]
mod auth;
mod incoming;
mod outgoing;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::event::{Event, Failure};
use crate::framing::{Decoder, FramingError, Limits};
use crate::message::{FailureReport, HeadWriter, Ident, InjectionError, Method};
use crate::outgoing::{Message, Outgoing};
use crate::session::{Inbox, SessionConfig};
use crate::status::StatusCode;
use crate::uri::{Path, Uri};

#[cfg(feature = "auth")]
pub use auth::AuthKey;
pub(crate) use incoming::Inbound;
pub(crate) use outgoing::Open;

/// How long an answer may take (RFC 4975 §7.1.1).
pub const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Sessions of one connection.
pub const MAX_SESSIONS: usize = 1_024;
/// Messages on their way out of one connection.
pub const MAX_OUTGOING: usize = 4_096;
/// Chunks without an answer: more are sent when answers come.
pub const MAX_UNANSWERED: usize = 4_096;
/// Answers and reports that wait to be sent. No more is read when there are so many: a peer that sends and does not read would
/// fill memory with them.
pub const MAX_CONTROL: usize = 1_024;
/// Messages kept after they have left, for reports that come late.
pub const MAX_SENT: usize = 1_024;

/// Octets of content in a chunk that is one message of a WebSocket: the receiver, often a page in a browser, has it in memory whole.
pub const MAX_WHOLE_CHUNK: usize = 65_536;

/// Long messages of one session that are under way at once. The receiver holds each in part: more would meet its limits. What
/// fits into one chunk passes them.
pub const MAX_INTERLEAVED: usize = 4;

/// Names a session of a connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub(crate) u64);

/// Names a message of ours; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey(pub(crate) u64);

/// Where random numbers come from. Identifiers are made of them, so who can guess them can disturb (RFC 4975 §7.1).
pub trait Tokens: Send {
    /// 64 random bits.
    fn next(&mut self) -> u64;
}

impl<F: FnMut() -> u64 + Send> Tokens for F {
    fn next(&mut self) -> u64 {
        self()
    }
}

/// What somebody who accepted a connection says of a session that a first request names (RFC 4975 §5.4).
#[derive(Clone, Debug)]
pub enum Claim {
    /// It is one of ours, and belongs to this connection from now on.
    Bind(Box<SessionConfig>),
    /// There is none: 481.
    Unknown,
    /// It is bound to another connection: 506.
    Elsewhere,
}

/// The sessions that wait for a connection.
pub trait Directory {
    /// Whose URI this is. `connection` is what [`Connection::new`] was told.
    fn claim(&mut self, connection: u64, local: &Uri) -> Claim;
}

/// No sessions but those that were added.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDirectory;

impl Directory for NoDirectory {
    fn claim(&mut self, _connection: u64, _local: &Uri) -> Claim {
        Claim::Unknown
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no such session or message, or it is over.
    #[error("the session or message is over")]
    Over,
    /// The peer's path is not known before its first request.
    #[error("the peer has not sent its first request yet")]
    NotBound,
    /// [`MAX_OUTGOING`] messages are under way, or [`MAX_SESSIONS`] sessions.
    #[error("too much is under way")]
    Full,
    /// The URI is that of another session.
    #[error("the URI is that of another session")]
    Taken,
    /// A field of it would become more than one line, or is one that MSRP itself writes.
    #[error(transparent)]
    Field(#[from] InjectionError),
    /// More or less is fed than was declared.
    #[error("the content is not as long as was declared")]
    Length,
}

/// One session.
pub(crate) struct Session {
    pub(crate) inbox: Inbox,
    /// To-Path and From-Path of our requests, printed once.
    pub(crate) paths: Option<Bytes>,
    pub(crate) is_bound: bool,
    /// Long messages that have begun.
    started: usize,
    /// Long messages that wait for one of those to end.
    backlog: VecDeque<MessageKey>,
}

impl Session {
    fn set_remote(&mut self, remote: &Path) {
        let paths = format!("To-Path: {remote}\r\nFrom-Path: {}\r\n", self.inbox.config().local);
        self.paths = Some(paths.into());
    }
}

/// What an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    Chunk(MessageKey),
    /// Only of failure, and for no certain time.
    Partial(MessageKey),
    /// The first SEND of the active side, without content.
    First(SessionKey),
    Nickname(SessionKey),
    #[cfg(feature = "auth")]
    Auth(AuthKey),
}

/// The state machine of a connection.
pub struct Connection {
    id: u64,
    tokens: Box<dyn Tokens>,
    decoder: Decoder,
    sessions: HashMap<SessionKey, Session>,
    by_uri: HashMap<Uri, SessionKey>,
    /// The To-Path that came last: nearly always the next one too.
    last_to: Option<(Bytes, SessionKey)>,
    inbound: Inbound,
    control: VecDeque<Bytes>,
    outgoing: HashMap<MessageKey, Outgoing>,
    by_id: HashMap<(SessionKey, Ident), MessageKey>,
    /// Messages that have something to send, in the order of their turns.
    ready: VecDeque<MessageKey>,
    open: Option<Open>,
    staged: VecDeque<Bytes>,
    waiting: HashMap<Ident, Waiting>,
    /// Sent since the last word from the driver: their time begins when they are with the kernel.
    unstarted: Vec<Ident>,
    timers: VecDeque<(Instant, Ident)>,
    /// Chunks without an answer that has to come.
    unanswered: usize,
    /// Chunks of which only failure is told, the oldest first.
    partials: VecDeque<Ident>,
    /// Messages that have left, the oldest first.
    sent: VecDeque<MessageKey>,
    events: VecDeque<(SessionKey, Event)>,
    next_key: u64,
    /// When octets came last.
    now: Option<Instant>,
    /// When messages that are there in part are looked through.
    partial_check: Option<Instant>,
    #[cfg(feature = "auth")]
    auths: auth::Auths,
    is_closed: bool,
    /// Each chunk is one message of a WebSocket.
    in_messages: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("sessions", &self.sessions.len())
            .field("outgoing", &self.outgoing.len())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// One without sessions. `id` tells it from others in a [`Directory`].
    #[must_use]
    pub fn new(id: u64, limits: Limits, tokens: Box<dyn Tokens>) -> Self {
        Self {
            id,
            tokens,
            decoder: Decoder::new(limits),
            sessions: HashMap::new(),
            by_uri: HashMap::new(),
            last_to: None,
            inbound: Inbound::default(),
            control: VecDeque::new(),
            outgoing: HashMap::new(),
            by_id: HashMap::new(),
            ready: VecDeque::new(),
            open: None,
            staged: VecDeque::new(),
            waiting: HashMap::new(),
            unstarted: Vec::new(),
            timers: VecDeque::new(),
            unanswered: 0,
            partials: VecDeque::new(),
            sent: VecDeque::new(),
            events: VecDeque::new(),
            next_key: 0,
            now: None,
            partial_check: None,
            #[cfg(feature = "auth")]
            auths: auth::Auths::default(),
            is_closed: false,
            in_messages: false,
        }
    }

    /// The connection is a WebSocket, of whose messages each is one chunk (RFC 7977 §5.1). Chunks are short then, and end where nothing
    /// more is at hand: their receiver sees them when they are whole. [`is_at_chunk_end`](Self::is_at_chunk_end) tells where one ends.
    #[must_use]
    pub fn in_messages(mut self) -> Self {
        self.decoder.set_in_messages();
        self.in_messages = true;
        self
    }

    /// Whether what [`poll_transmit`](Self::poll_transmit) has handed out ends with a whole chunk.
    #[must_use]
    pub fn is_at_chunk_end(&self) -> bool {
        self.open.is_none() && self.staged.is_empty()
    }

    fn key(&mut self) -> u64 {
        self.next_key = self.next_key.saturating_add(1);
        self.next_key
    }

    /// Adds a session. The active side sends a request without content at once, which binds the connection (RFC 4975 §5.4).
    ///
    /// # Errors
    /// If there are too many, or the active side does not know its peer.
    pub fn add(&mut self, config: SessionConfig) -> Result<SessionKey, SendError> {
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(SendError::Full);
        }
        if self.is_closed {
            return Err(SendError::Over);
        }
        let key = SessionKey(self.key());
        let (active, remote) = (config.active, config.remote.clone());
        let mut session = Session {
            is_bound: false,
            paths: None,
            inbox: Inbox::new(config),
            started: 0,
            backlog: VecDeque::new(),
        };
        if let Some(remote) = remote {
            session.set_remote(&remote);
        } else if active {
            return Err(SendError::NotBound);
        }
        if self.by_uri.contains_key(&session.inbox.config().local) {
            return Err(SendError::Taken);
        }
        self.by_uri.insert(session.inbox.config().local.clone(), key);
        self.sessions.insert(key, session);
        if active {
            let id = self.fresh_ident(&[]);
            self.request(key, &Method::Send, Waiting::First(key), |writer| writer.typed("Message-ID", id))?;
        }
        Ok(key)
    }

    /// Sends a request without a body.
    fn request(
        &mut self,
        key: SessionKey,
        method: &Method,
        what: Waiting,
        fields: impl FnOnce(HeadWriter) -> HeadWriter,
    ) -> Result<(), SendError> {
        let id = self.fresh_ident(&[]);
        let session = self.sessions.get(&key).ok_or(SendError::Over)?;
        let paths = session.paths.as_ref().ok_or(SendError::NotBound)?;
        if self.control.len() >= MAX_CONTROL {
            return Err(SendError::Full);
        }
        let writer = fields(HeadWriter::request(id, method).printed(paths));
        self.control.push_back(writer.without_body(crate::message::Flag::Complete));
        self.waiting.insert(id, what);
        self.unstarted.push(id);
        Ok(())
    }

    /// Sends a request without content, which keeps the bindings of NATs alive (RFC 4975 §7.1).
    ///
    /// # Errors
    /// If the session is over, the peer unknown, or too much waits.
    pub fn keep_alive(&mut self, key: SessionKey) -> Result<(), SendError> {
        let id = self.fresh_ident(&[]);
        self.request(key, &Method::Send, Waiting::First(key), |writer| writer.typed("Message-ID", id))
    }

    /// Asks for a nickname in a chat room (RFC 7701 §7); an empty one gives it back.
    ///
    /// # Errors
    /// If the session is over, the peer unknown, too much waits, or the name has line ends.
    pub fn nickname(&mut self, key: SessionKey, name: &str) -> Result<(), SendError> {
        if !crate::message::is_line(name) {
            return Err(InjectionError.into());
        }
        let quoted = crate::screen::quoted(name);
        self.request(key, &Method::Nickname, Waiting::Nickname(key), |w| w.typed("Use-Nickname", quoted))
    }

    /// The peer has another path, by a new offer or answer (RFC 4975 §8.4): requests from now on take it, over the same connection.
    ///
    /// # Errors
    /// If the session is over.
    pub fn set_remote(&mut self, key: SessionKey, remote: &Path) -> Result<(), SendError> {
        self.sessions.get_mut(&key).ok_or(SendError::Over)?.set_remote(remote);
        Ok(())
    }

    /// Ends a session; the connection stays. Messages that are not sent fail.
    pub fn remove(&mut self, key: SessionKey) {
        self.end_session(key, Failure::Aborted, false);
    }

    /// Sends a message, or begins to if its content is fed.
    ///
    /// # Errors
    /// If the session is over, the peer unknown, too much under way, or a field is none.
    pub fn send(&mut self, key: SessionKey, message: Message) -> Result<MessageKey, SendError> {
        let session = self.sessions.get(&key).ok_or(SendError::Over)?;
        if session.paths.is_none() {
            return Err(SendError::NotBound);
        }
        if self.outgoing.len().saturating_sub(self.sent.len()) >= MAX_OUTGOING {
            return Err(SendError::Full);
        }
        let id = message.id.unwrap_or_else(|| Ident::from_token(self.tokens.next()));
        let outgoing = Outgoing::new(key.0, id, message)?;
        let name = MessageKey(self.key());
        let is_ready = outgoing.is_ready();
        self.by_id.insert((key, id), name);
        self.outgoing.insert(name, outgoing);
        if is_ready {
            self.enqueue(name);
        }
        Ok(name)
    }

    /// More of a message that is fed. It takes what it is given: [`Event::Drained`] tells when there is room.
    ///
    /// # Errors
    /// If the message is over, or longer than was declared.
    pub fn feed(&mut self, key: MessageKey, octets: Bytes) -> Result<(), SendError> {
        let message =
            self.outgoing.get_mut(&key).filter(|message| !message.finished).ok_or(SendError::Over)?;
        let length =
            message.position.saturating_add(message.queued as u64).saturating_add(octets.len() as u64);
        if message.total.is_some_and(|total| length > total) {
            return Err(SendError::Length);
        }
        let was_ready = message.is_ready();
        message.feed(octets);
        let is_open = self.open.as_ref().is_some_and(|open| open.message == key);
        if !was_ready && message.is_ready() && !is_open {
            self.enqueue(key);
        }
        Ok(())
    }

    /// All of a message has been fed.
    ///
    /// # Errors
    /// If the message is over, or shorter than was declared; it then can only be [aborted](Connection::abort).
    pub fn finish(&mut self, key: MessageKey) -> Result<(), SendError> {
        let message =
            self.outgoing.get_mut(&key).filter(|message| !message.finished).ok_or(SendError::Over)?;
        let length = message.position.saturating_add(message.queued as u64);
        if message.total.is_some_and(|total| length != total) {
            return Err(SendError::Length);
        }
        let was_ready = message.is_ready();
        message.finished = true;
        message.total = Some(length);
        let is_open = self.open.as_ref().is_some_and(|open| open.message == key);
        if !was_ready && !is_open {
            self.enqueue(key);
        }
        Ok(())
    }

    /// Gives a message up: its chunk ends with `#`. It is told as failed.
    pub fn abort(&mut self, key: MessageKey) {
        self.fail(key, Failure::Aborted);
    }

    /// Takes no more of a message that is arriving: what still comes of it is answered with this status, 413 for most reasons.
    pub fn refuse(&mut self, key: SessionKey, id: Ident, status: StatusCode) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let mut events = VecDeque::new();
        session.inbox.give_up(id, status, &mut events);
        self.inbound.refuse(key, id, status, &mut self.control);
        self.events.extend(events.into_iter().map(|event| (key, event)));
    }

    /// Where octets that arrive are put, at its end; then [`receive`](Connection::receive).
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        self.decoder.buffer_mut()
    }

    /// Whether more should be read: not while too many answers wait to be sent.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.control.len() < MAX_CONTROL && !self.is_closed
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<(SessionKey, Event)> {
        self.events.pop_front()
    }

    /// Whether anything is still to be told of a message.
    #[must_use]
    pub fn is_under_way(&self, key: MessageKey) -> bool {
        self.outgoing.contains_key(&key)
    }

    /// The session of a URI of ours.
    #[must_use]
    pub fn session(&self, local: &Uri) -> Option<SessionKey> {
        self.by_uri.get(local).copied()
    }

    /// Whether a message that has left still waits for the receiver's report.
    #[must_use]
    pub fn expects_report(&self, key: MessageKey) -> bool {
        self.outgoing.get(&key).is_some_and(|message| message.success)
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What was handed out is with the kernel: the time for answers begins.
    pub fn transmitted(&mut self, now: Instant) {
        if let Some(due) = now.checked_add(ANSWER_TIME) {
            self.timers.extend(self.unstarted.drain(..).map(|id| (due, id)));
        }
    }

    /// When [`handle_timeout`](Connection::handle_timeout) is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        while let Some((due, id)) = self.timers.front() {
            if self.waiting.contains_key(id) {
                return Some(self.partial_check.map_or(*due, |check| check.min(*due)));
            }
            self.timers.pop_front();
        }
        self.partial_check
    }

    /// Messages that are there in part, and of which nothing came for [`PARTIAL_TIME`](crate::session::PARTIAL_TIME).
    fn drop_stale(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        for (&key, session) in &mut self.sessions {
            let mut events = VecDeque::new();
            for id in session.inbox.stale(now, &mut next) {
                session.inbox.expire(id, &mut events);
                self.inbound.refuse(key, id, StatusCode::STOP_SENDING, &mut self.control);
            }
            self.events.extend(events.into_iter().map(|event| (key, event)));
        }
        self.partial_check = next;
    }

    /// Answers that did not come, and the rest of messages that did not.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.partial_check.is_some_and(|check| check <= now) {
            self.drop_stale(now);
        }
        while self.timers.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, id)) = self.timers.pop_front() else { return };
            match self.waiting.remove(&id) {
                Some(Waiting::Chunk(message)) => {
                    self.unanswered = self.unanswered.saturating_sub(1);
                    self.fail(message, Failure::Timeout);
                }
                Some(Waiting::Partial(_)) | None => {}
                #[cfg(feature = "auth")]
                Some(Waiting::Auth(key)) => self.auth_failed(key, Failure::Timeout),
                Some(Waiting::First(session)) => self.end_session(session, Failure::Timeout, true),
                Some(Waiting::Nickname(session)) => {
                    self.events.push_back((session, Event::Nickname(StatusCode::TIMEOUT)));
                }
            }
        }
    }

    /// The connection is gone, and all of its sessions with it (RFC 4975 §5.4).
    pub fn closed(&mut self) {
        self.is_closed = true;
        let mut keys: Vec<SessionKey> = self.sessions.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.end_session(key, Failure::Closed, true);
        }
        #[cfg(feature = "auth")]
        self.auths_closed();
        self.control.clear();
        self.staged.clear();
        self.partial_check = None;
    }

    /// Reads what was put into the buffer.
    ///
    /// # Errors
    /// If it is no MSRP: the connection has to be closed.
    pub fn receive(&mut self, now: Instant, directory: &mut dyn Directory) -> Result<(), FramingError> {
        self.now = Some(now);
        while let Some(event) = self.decoder.next_event()? {
            self.take(event, directory);
        }
        Ok(())
    }

    fn end_session(&mut self, key: SessionKey, why: Failure, tell: bool) {
        let Some(mut session) = self.sessions.remove(&key) else { return };
        self.by_uri.remove(&session.inbox.config().local);
        self.last_to = None;
        self.inbound.session_ended(key, &mut self.control);
        let mut events = VecDeque::new();
        session.inbox.closed(&mut events);
        self.events.extend(events.into_iter().map(|event| (key, event)));
        let mut messages: Vec<MessageKey> = self
            .outgoing
            .iter()
            .filter(|(_, message)| message.session == key.0)
            .map(|(&name, _)| name)
            .collect();
        messages.sort_unstable();
        for name in messages {
            match self.outgoing.get(&name) {
                Some(message) if !message.told => self.fail(name, why),
                _ => self.forget(name),
            }
        }
        self.waiting
            .retain(|_, what| !matches!(what, Waiting::First(of) | Waiting::Nickname(of) if *of == key));
        if tell {
            self.events.push_back((key, Event::Closed(why)));
        }
    }

    /// A message has something to send: its turn comes, unless too many long ones have begun.
    fn enqueue(&mut self, key: MessageKey) {
        let Some(message) = self.outgoing.get_mut(&key) else { return };
        if !message.is_started && !message.is_short() {
            let Some(session) = self.sessions.get_mut(&SessionKey(message.session)) else { return };
            if session.started >= MAX_INTERLEAVED {
                session.backlog.push_back(key);
                return;
            }
            session.started = session.started.saturating_add(1);
            message.is_started = true;
        }
        self.ready.push_back(key);
    }

    /// A message has left, or is given up: one that waits may begin.
    fn release(&mut self, session: SessionKey, was_started: bool) {
        let Some(session) = self.sessions.get_mut(&session).filter(|_| was_started) else { return };
        session.started = session.started.saturating_sub(1);
        while let Some(next) = session.backlog.pop_front() {
            let Some(message) = self.outgoing.get_mut(&next) else { continue };
            message.is_started = true;
            session.started = session.started.saturating_add(1);
            self.ready.push_back(next);
            return;
        }
    }

    /// A message is over; told once, since it is not there any more.
    fn fail(&mut self, key: MessageKey, why: Failure) {
        if let Some(message) = self.outgoing.remove(&key) {
            let session = SessionKey(message.session);
            self.by_id.remove(&(session, message.id));
            self.sent.retain(|sent| *sent != key);
            self.events.push_back((session, Event::Failed(key, why)));
            self.release(session, message.is_started && !message.is_sent);
        }
    }

    /// Nothing more is kept of a message that was told as sent.
    fn forget(&mut self, key: MessageKey) {
        if let Some(message) = self.outgoing.remove(&key) {
            let session = SessionKey(message.session);
            self.by_id.remove(&(session, message.id));
            self.sent.retain(|sent| *sent != key);
            if message.success {
                self.events.push_back((session, Event::Unconfirmed(key)));
            }
        }
    }

    /// Tells of a message that has left and is acknowledged.
    fn check_sent(&mut self, key: MessageKey) {
        let Some(message) = self.outgoing.get_mut(&key) else { return };
        let acknowledged = message.failure != FailureReport::Yes || message.unanswered == 0;
        if !message.is_sent || !acknowledged || message.told {
            return;
        }
        message.told = true;
        self.events.push_back((SessionKey(message.session), Event::Sent(key)));
        // A report may have been faster than the answer.
        if message.success && message.is_confirmed() {
            self.delivered(key);
            return;
        }
        self.sent.push_back(key);
        if self.sent.len() > MAX_SENT
            && let Some(oldest) = self.sent.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn delivered(&mut self, key: MessageKey) {
        if let Some(message) = self.outgoing.remove(&key) {
            let session = SessionKey(message.session);
            self.by_id.remove(&(session, message.id));
            self.sent.retain(|sent| *sent != key);
            self.events.push_back((session, Event::Delivered(key)));
        }
    }

    /// An identifier that no transaction has and that is not in these octets.
    fn fresh_ident(&mut self, body: &[u8]) -> Ident {
        let mut id = Ident::from_token(self.tokens.next());
        // Random ones collide never; this is for a source that is less than random.
        for _ in 0..8 {
            let taken = self.waiting.contains_key(&id);
            if !taken && memchr::memmem::find(body, id.as_str().as_bytes()).is_none() {
                break;
            }
            id = Ident::from_token(self.tokens.next());
        }
        id
    }
}
