//! Requests and responses out of a stream of octets (RFC 4975 §5.1, §7.1): a head ends with an empty line or an end-line, a body with
//! the end-line of its transaction.
//!
//! Bodies come in pieces as they arrive, without a copy, so that a chunk may be larger than memory. What may be the start of an
//! end-line waits, at most [`MAX_IDENT`](crate::message::MAX_IDENT) + 12 octets of it.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::message::{Flag, Head, HeadError, Ident, Method, Start, start_line};

/// What a peer may send at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of a start line: a peer of another protocol, or one that fills memory, is found out early.
    pub start_line: usize,
    /// Octets of a whole head: it is kept in memory until it is complete.
    pub head: usize,
    /// Octets of the body of what is not SEND (RFC 4975 §7.1 has 10,240): it cannot be interrupted.
    pub other_body: u64,
    /// Octets of one chunk. Its pieces are not kept here, so this stops an endless one only.
    pub chunk: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start_line: 1_024, head: 16_384, other_body: 10_240, chunk: 1 << 40 }
    }
}

/// What came out of the stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request or response begins.
    Start(Head),
    /// Some of its body.
    Body(Bytes),
    /// It ends.
    End(Flag),
}

/// What cannot be read any further: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The head is none.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A line ends without carriage return.
    #[error("a line feed without carriage return")]
    LineFeed,
    /// The start line is longer than allowed.
    #[error("the start line is too long")]
    StartLineTooLong,
    /// The head is longer than allowed.
    #[error("the header fields are too long")]
    HeadTooLong,
    /// The body is longer than allowed.
    #[error("the body is too long")]
    BodyTooLong,
    /// A response has a body.
    #[error("a response with a body")]
    ResponseWithBody,
    /// A WebSocket message has not exactly one chunk in it (RFC 7977 §5.1).
    #[error("a WebSocket message that is not exactly one chunk")]
    NotOneChunk,
    /// A response, or a request that is not SEND, does not end with `$`.
    #[error("only SEND can be continued or aborted")]
    NotInterruptible,
}

/// How far the current message has been read.
#[derive(Debug)]
enum State {
    /// In a head. `line` is where the current line starts, `seen` how far it has been searched, `transaction` that of the start line.
    Head { line: usize, seen: usize, transaction: Option<Ident> },
    /// In a body. `first`: none of it has come.
    Body { end: Box<EndLine>, first: bool, left: u64, send: bool },
    /// The head is told, its end-line, which came with it, is not.
    Bare { flag: Flag },
    /// The rest cannot be read.
    Broken(FramingError),
}

/// The search for the end of a body.
#[derive(Debug)]
struct EndLine {
    /// CRLF, hyphens and identifier.
    needle: Vec<u8>,
    finder: memmem::Finder<'static>,
}

impl EndLine {
    fn new(transaction: &Ident) -> Self {
        let needle = [b"\r\n-------", transaction.as_str().as_bytes()].concat();
        Self { finder: memmem::Finder::new(&needle).into_owned(), needle }
    }

    /// Where the body ends, how long the end-line is, and its flag; or how much is body for certain.
    fn find(&self, octets: &[u8], first: bool) -> Result<(usize, usize, Flag), usize> {
        let mut from = 0;
        // An empty body may come without the CRLF behind it.
        if first {
            let bare = self.needle.get(2..).unwrap_or_default();
            match complete(octets, bare) {
                Some(Some(flag)) => return Ok((0, bare.len().saturating_add(3), flag)),
                None => return Err(0),
                Some(None) => {}
            }
        }
        while let Some(found) = self.finder.find(octets.get(from..).unwrap_or_default()) {
            let at = from.saturating_add(found);
            match complete(octets.get(at..).unwrap_or_default(), &self.needle) {
                Some(Some(flag)) => return Ok((at, self.needle.len().saturating_add(3), flag)),
                None => return Err(at),
                Some(None) => from = at.saturating_add(1),
            }
        }
        // The last octets may be the start of it.
        let tail = octets.len().saturating_sub(self.needle.len()).max(from);
        for at in memchr::memchr_iter(b'\r', octets.get(tail..).unwrap_or_default()) {
            let at = tail.saturating_add(at);
            if self.needle.starts_with(octets.get(at..).unwrap_or_default()) {
                return Err(at);
            }
        }
        Err(octets.len())
    }
}

/// Whether this starts with the end-line: its flag, nothing if it does not, or none if that cannot be said yet.
fn complete(octets: &[u8], needle: &[u8]) -> Option<Option<Flag>> {
    let Some(rest) = octets.strip_prefix(needle) else {
        return if needle.starts_with(octets) { None } else { Some(None) };
    };
    let flag = rest.first().map(|&octet| Flag::from_octet(octet));
    match (flag, rest.get(1), rest.get(2)) {
        (Some(Some(flag)), Some(b'\r'), Some(b'\n')) => Some(Some(flag)),
        (None, ..) | (Some(Some(_)), None, _) | (Some(Some(_)), Some(b'\r'), None) => None,
        _ => Some(None),
    }
}

/// Takes a stream apart.
///
/// ```
/// use msrp::framing::{Decoder, Event};
/// let mut decoder = Decoder::default();
/// decoder.push(b"MSRP dkei38sd SEND\r\nMessage-ID: 4564dpWd\r\nContent-Type: text/plain\r\n\r\nab");
/// decoder.push(b"cd\r\n-------dkei38sd+\r\n");
/// assert!(matches!(decoder.next_event()?, Some(Event::Start(head)) if head.has_body()));
/// assert!(matches!(decoder.next_event()?, Some(Event::Body(body)) if body == "abcd"));
/// assert!(matches!(decoder.next_event()?, Some(Event::End(msrp::Flag::Continued))));
/// assert!(decoder.next_event()?.is_none());
/// # Ok::<(), msrp::framing::FramingError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    state: State,
    limits: Limits,
    /// Each push is one chunk.
    in_messages: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

const START: State = State::Head { line: 0, seen: 0, transaction: None };

impl Decoder {
    /// One with limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { buffer: BytesMut::new(), state: START, limits, in_messages: false }
    }

    /// What comes is not a stream any more but messages of a WebSocket: each is one chunk, neither more nor less (RFC 7977 §5.1). The
    /// next is added when all of the one before has been taken, that is when [`is_between`](Self::is_between).
    pub fn set_in_messages(&mut self) {
        self.in_messages = true;
    }

    /// Octets that arrived.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Where octets that arrive can be put without a copy: at its end, and nowhere else.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Octets that wait for more.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the stream may end here without cutting something off.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.buffer.is_empty() && matches!(self.state, State::Head { .. })
    }

    /// What comes next, or nothing until more has arrived.
    ///
    /// # Errors
    /// If the stream is no MSRP or goes beyond a limit. It stays broken.
    pub fn next_event(&mut self) -> Result<Option<Event>, FramingError> {
        let mut result = self.step();
        let is_broken = self.in_messages
            && match &result {
                Ok(None) => !self.is_between(),
                Ok(Some(Event::End(_))) => !self.buffer.is_empty(),
                _ => false,
            };
        if is_broken {
            result = Err(FramingError::NotOneChunk);
        }
        if let Err(error) = result {
            self.state = State::Broken(error);
            self.buffer.clear();
        }
        result
    }

    fn step(&mut self) -> Result<Option<Event>, FramingError> {
        match &mut self.state {
            State::Broken(error) => Err(*error),
            State::Bare { flag } => {
                let flag = *flag;
                self.state = START;
                Ok(Some(Event::End(flag)))
            }
            State::Head { .. } => self.head(),
            State::Body { end, first, left, send } => {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let body = match end.find(&self.buffer, *first) {
                    Ok((0, length, flag)) => {
                        if !*send && flag != Flag::Complete {
                            return Err(FramingError::NotInterruptible);
                        }
                        let _ = self.buffer.split_to(length);
                        self.state = START;
                        return Ok(Some(Event::End(flag)));
                    }
                    Ok((body, ..)) => body,
                    Err(0) => return Ok(None),
                    Err(body) => body,
                };
                *first = false;
                *left = u64::try_from(body)
                    .ok()
                    .and_then(|body| left.checked_sub(body))
                    .ok_or(FramingError::BodyTooLong)?;
                Ok(Some(Event::Body(self.buffer.split_to(body).freeze())))
            }
        }
    }

    fn head(&mut self) -> Result<Option<Event>, FramingError> {
        loop {
            let State::Head { line, seen, transaction } = &mut self.state else { return Ok(None) };
            if *line == 0 {
                // Empty lines between messages keep a connection alive with some peers.
                while self.buffer.starts_with(b"\r\n") {
                    let _ = self.buffer.split_to(2);
                    *seen = 0;
                }
                let known = self.buffer.len().min(5);
                if self.buffer.get(..known) != b"MSRP ".get(..known) && self.buffer.get(..) != Some(b"\r") {
                    return Err(HeadError::StartLine.into());
                }
            }
            let Some(found) = memchr::memchr(b'\n', self.buffer.get(*seen..).unwrap_or_default()) else {
                *seen = self.buffer.len();
                return match (*line, self.buffer.len()) {
                    (0, length) if length > self.limits.start_line => Err(FramingError::StartLineTooLong),
                    (_, length) if length > self.limits.head => Err(FramingError::HeadTooLong),
                    _ => Ok(None),
                };
            };
            let end = seen.saturating_add(found);
            let this = self.buffer.get(*line..end).unwrap_or_default();
            let this = this.strip_suffix(b"\r").ok_or(FramingError::LineFeed)?;
            if *line == 0 && this.len() > self.limits.start_line {
                return Err(FramingError::StartLineTooLong);
            }
            if end > self.limits.head {
                return Err(FramingError::HeadTooLong);
            }
            let Some(id) = *transaction else {
                let text = std::str::from_utf8(this).map_err(|_| HeadError::Character)?;
                *transaction = Some(start_line(text)?.0);
                *line = end.saturating_add(1);
                *seen = *line;
                continue;
            };
            let flag = this
                .strip_prefix(b"-------")
                .and_then(|rest| rest.strip_prefix(id.as_str().as_bytes()))
                .and_then(|rest| if let [flag] = rest { Flag::from_octet(*flag) } else { None });
            let has_body = this.is_empty();
            if flag.is_none() && !has_body {
                *line = end.saturating_add(1);
                *seen = *line;
                continue;
            }
            let head = *line;
            let mut text = self.buffer.split_to(end.saturating_add(1));
            text.truncate(head);
            let head = Head::parse(text.freeze(), has_body)?;
            let send = matches!(head.start(), Start::Request(Method::Send));
            self.state = match flag {
                Some(flag) if !send && flag != Flag::Complete => return Err(FramingError::NotInterruptible),
                Some(flag) => State::Bare { flag },
                None if matches!(head.start(), Start::Response(_)) => {
                    return Err(FramingError::ResponseWithBody);
                }
                None => {
                    let left = if send { self.limits.chunk } else { self.limits.other_body };
                    State::Body { end: Box::new(EndLine::new(&id)), first: true, left, send }
                }
            };
            return Ok(Some(Event::Start(head)));
        }
    }
}
