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
mod directory;
mod incoming;
mod messages;
mod outgoing;
mod sessions;
mod timeouts;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::event::{Event, Failure};
use crate::framing::{Decoder, FramingError, Limits};
use crate::message::{Ident, InjectionError};
use crate::outgoing::Outgoing;
use crate::uri::Uri;

#[cfg(feature = "auth")]
pub use auth::AuthKey;
pub use directory::{Claim, Directory, NoDirectory};
pub(crate) use incoming::Inbound;
pub(crate) use outgoing::Open;
use sessions::Session;

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
