//! The one seam between protocol code and the world: a [`Core`] takes messages, events, answers and time, and gives
//! messages, questions and the time of its next timeout.
//!
//! The driver over sockets (`tokio` module) and the simulator drive the very same cores.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::path::{Close, FlowEvent, FlowId, Received, Transmit};

/// A protocol machine without I/O and without a clock.
///
/// The driver calls one of the input methods, then drains [`poll_transmit`](Core::poll_transmit) and
/// [`poll_query`](Core::poll_query) until both are empty, then asks [`poll_timeout`](Core::poll_timeout) when to call
/// [`handle_timeout`](Core::handle_timeout) next. `now` never goes backwards between calls.
pub trait Core {
    /// A message came.
    fn receive(&mut self, now: Instant, received: Received);
    /// Something happened to a connection, or to something sent.
    fn flow_event(&mut self, now: Instant, event: FlowEvent);
    /// The answer to a question of [`poll_query`](Core::poll_query).
    fn resolved(&mut self, now: Instant, answer: Answer);
    /// The time named by [`poll_timeout`](Core::poll_timeout) has come. Being called early does no harm.
    fn handle_timeout(&mut self, now: Instant);
    /// When [`handle_timeout`](Core::handle_timeout) wants to be called; `None`: nothing is pending.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next message to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// The next question to ask the outside.
    fn poll_query(&mut self) -> Option<Query>;
    /// The next connection that is to be closed. The driver asks before it asks for messages, so that what is sent then
    /// takes another one. [`FlowEvent::Closed`] follows, with [`CloseReason::Local`](crate::CloseReason::Local).
    fn poll_close(&mut self) -> Option<Close> {
        None
    }
    /// The driver has read datagrams, and this is how far behind it is with them: told with each batch, before its messages. A
    /// core that hears of more than a burst had better refuse some of what is new.
    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        let _ = (now, backlog);
    }
}

/// How far behind the reading of a socket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Which socket it was; `None` for a queue inside.
    pub socket: Option<FlowId>,
    /// How long what was just read had lain in the socket; zero where all was read that was there.
    pub waited: Duration,
    /// Datagrams that found no room in the socket since the last time.
    pub lost: u32,
}

/// Where a layer inside a core puts what it produces: the next layer up sees it at once and nothing has to be drained.
///
/// `E` is the layer's event.
pub trait Outbox<E> {
    /// A message to send.
    fn transmit(&mut self, transmit: Transmit);
    /// A question to the outside.
    fn query(&mut self, query: Query);
    /// A connection to give up.
    fn close(&mut self, close: Close);
    /// Something the layer above must know.
    fn event(&mut self, event: E);
}

/// An [`Outbox`] of queues: what a core at the seam drains into its `poll_*` methods, and what tests look into.
#[derive(Debug)]
pub struct Queues<E> {
    /// Messages to send, first in, first out.
    pub transmits: VecDeque<Transmit>,
    /// Questions to ask.
    pub queries: VecDeque<Query>,
    /// Connections to give up.
    pub closes: VecDeque<Close>,
    /// Events for the layer above.
    pub events: VecDeque<E>,
}

impl<E> Queues<E> {
    /// Empty queues.
    #[must_use]
    pub const fn new() -> Queues<E> {
        Queues {
            transmits: VecDeque::new(),
            queries: VecDeque::new(),
            closes: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether nothing waits in any of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transmits.is_empty()
            && self.queries.is_empty()
            && self.closes.is_empty()
            && self.events.is_empty()
    }
}

impl<E> Default for Queues<E> {
    fn default() -> Queues<E> {
        Queues::new()
    }
}

impl<E> Outbox<E> for Queues<E> {
    fn transmit(&mut self, transmit: Transmit) {
        self.transmits.push_back(transmit);
    }

    fn query(&mut self, query: Query) {
        self.queries.push_back(query);
    }

    fn close(&mut self, close: Close) {
        self.closes.push_back(close);
    }

    fn event(&mut self, event: E) {
        self.events.push_back(event);
    }
}

/// A core's name for one of its questions; the answer carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryKey(pub u64);

/// A question that a core cannot answer by itself. Exactly one [`Answer`] with the same key and question follows.
///
/// Several questions with one key may be in flight at once: A and AAAA of a host are (RFC 7984 §3.1, RFC 8305 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Comes back with the answer.
    pub key: QueryKey,
    /// What to find out.
    pub question: Question,
}

/// What can be asked of the domain name system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The NAPTR records of a domain: which transports it offers (RFC 3403, RFC 3263 §4.1).
    Naptr(String),
    /// The SRV records of a name such as `_sip._udp.example.com` (RFC 2782, RFC 3263 §4.2).
    Srv(String),
    /// The IPv4 addresses of a host name.
    A(String),
    /// The IPv6 addresses of a host name (RFC 3596).
    Aaaa(String),
}

impl Question {
    /// The domain name asked about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Question::Naptr(name) | Question::Srv(name) | Question::A(name) | Question::Aaaa(name) => name,
        }
    }

    /// The type of record asked for, as zone files spell it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Question::Naptr(_) => "NAPTR",
            Question::Srv(_) => "SRV",
            Question::A(_) => "A",
            Question::Aaaa(_) => "AAAA",
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.kind())
    }
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The key of the query.
    pub key: QueryKey,
    /// The question of the query.
    pub question: Question,
    /// What was found, or why nothing was.
    pub records: Result<Records, ResolveError>,
}

/// Records found, of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Answers [`Question::Naptr`]; in any order.
    Naptr(Vec<Naptr>),
    /// Answers [`Question::Srv`]; in any order, the resolution sorts by priority and weight.
    Srv(Vec<Srv>),
    /// Answers [`Question::A`] and [`Question::Aaaa`]; in the resolver's order of preference. Addresses of another
    /// family than asked for are ignored.
    Addresses(Vec<IpAddr>),
}

/// A NAPTR record (RFC 3403 §4.1), as far as RFC 3263 uses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Naptr {
    /// Records of the lowest order that fits are used, and no others.
    pub order: u16,
    /// Among those, lower is tried first.
    pub preference: u16,
    /// `s` for all that RFC 3263 defines: what follows is an SRV lookup.
    pub flags: String,
    /// Protocol and transport, such as `SIP+D2U` or `SIPS+D2T`.
    pub service: String,
    /// Empty for all that RFC 3263 defines.
    pub regexp: String,
    /// The name to ask for SRV records.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share of the load among records of the same priority.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// Host name of the service; `.` says that there decidedly is none.
    pub target: String,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResolveError {
    /// The name, or records of this type at it, do not exist.
    #[error("no such name or no such record")]
    NotFound,
    /// The servers did not answer in time.
    #[error("the name servers did not answer in time")]
    TimedOut,
    /// The servers failed or refused, or the name is none.
    #[error("the name servers could not answer")]
    Failed,
    /// This driver cannot ask this kind of question (NAPTR and SRV without the feature `dns`).
    #[error("this kind of question cannot be asked here")]
    Unsupported,
    /// Too many questions are in flight already.
    #[error("too many questions in flight")]
    TooMany,
}
