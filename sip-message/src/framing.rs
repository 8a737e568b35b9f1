//! Messages on a stream: where one ends and the next begins (RFC 3261 §7.5, §18.3).

use crate::headers::{ContentLength, Headers};
use crate::{Limits, Message, ParseError, ParseErrorKind};
use alloc::boxed::Box;
use bytes::{Buf, BytesMut};

/// What a stream carried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a frame is moved once
pub enum Frame {
    /// A whole message.
    Message(Message),
    /// A double CRLF: the peer asks whether the connection is alive; answer with one CRLF (RFC 5626 §3.5.1).
    Ping,
    /// A single CRLF between messages: the answer to a ping, or an old client's keep-alive.
    Pong,
}

/// A stream on which no further message can be found. Close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The octets are no message, or pass a limit.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Content-Length is missing, malformed or contradictory (RFC 3261 §18.3). The message, without its body,
    /// so that a request can be answered with 400 before the connection closes.
    #[error("a message on a stream needs one valid Content-Length")]
    ContentLength(Box<Message>),
    /// The announced body passes [`Limits::message`]; answer 413 to a request.
    #[error("the message announces {announced} octets, more than the {limit} allowed")]
    TooLarge {
        /// The message without its body.
        message: Box<Message>,
        /// Octets of head and body together.
        announced: usize,
        /// [`Limits::message`].
        limit: usize,
    },
}

/// Splits a stream into messages and keep-alives, however it is chunked.
///
/// A CRLF is told at once, since it may be the [`Pong`](Frame::Pong) that a client waits for. When the second
/// half of a ping comes in a chunk of its own, the frames are `Pong` and then [`Ping`](Frame::Ping); a server
/// has no use for a pong and loses nothing.
///
/// ```
/// use sip_message::framing::{Frame, StreamDecoder};
/// use sip_message::Limits;
/// let mut decoder = StreamDecoder::new(Limits::default());
/// decoder.push(b"\r\n\r\nOPTIONS sip:a@b SIP/2.0\r\nl: 2\r\n\r\nhi");
/// assert_eq!(decoder.next_frame()?, Some(Frame::Ping));
/// assert!(matches!(decoder.next_frame()?, Some(Frame::Message(m)) if &m.body()[..] == b"hi"));
/// assert_eq!(decoder.next_frame()?, None);
/// # Ok::<(), sip_message::framing::FramingError>(())
/// ```
#[derive(Debug)]
pub struct StreamDecoder {
    limits: Limits,
    buffer: BytesMut,
    /// Octets that were searched for the end of the head already.
    searched: usize,
    /// The head whose body is awaited, and the octets of that body.
    head: Option<(Message, usize)>,
    /// The last frame was a CRLF that ended its chunk: another one makes a ping of the two.
    half_ping: bool,
    /// Whether it can: over a connection that we opened, each CRLF answers a ping of ours.
    joins_halves: bool,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            searched: 0,
            head: None,
            half_ping: false,
            joins_halves: true,
        }
    }

    /// A decoder for a connection that this side opened and pings: two CRLFs in chunks of their own are two answers, and no
    /// [`Ping`](Frame::Ping) of the server in halves (RFC 5626 §4.4.1: the client pings).
    pub fn of_opener(limits: Limits) -> Self {
        Self { joins_halves: false, ..Self::new(limits) }
    }

    /// Adds octets that arrived. Take all frames before the next call: they are the only bound on the buffer.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Octets that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing has come in part, so that a new decoder would go on as well as this one.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.head.is_none() && !self.half_ping
    }

    /// The next message or keep-alive, or `None` until more octets arrive.
    ///
    /// # Errors
    /// If no further message can be found on this stream.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        let (mut message, length) = match self.head.take() {
            Some(head) => head,
            None => {
                match self.keep_alive() {
                    Start::Ping => return Ok(Some(Frame::Ping)),
                    Start::Pong => return Ok(Some(Frame::Pong)),
                    Start::Wait => return Ok(None),
                    Start::Message => {}
                }
                let Some(head) = self.find_head()? else { return Ok(None) };
                self.read_head(head)?
            }
        };
        if self.buffer.len() < length {
            self.head = Some((message, length));
            return Ok(None);
        }
        message.attach(self.buffer.split_to(length).freeze());
        Ok(Some(Frame::Message(message)))
    }

    /// Line ends before a message.
    fn keep_alive(&mut self) -> Start {
        let half = core::mem::take(&mut self.half_ping);
        let (length, frame) = match &self.buffer[..] {
            [] | [b'\r'] => {
                self.half_ping = half;
                return Start::Wait;
            }
            [b'\r', b'\n', ..] if half => (2, Start::Ping),
            [b'\r', b'\n', b'\r', b'\n', ..] => (4, Start::Ping),
            [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => {
                self.half_ping = self.joins_halves;
                (2, Start::Pong)
            }
            [b'\r', b'\n', ..] => (2, Start::Pong),
            [b'\n', ..] => (1, Start::Pong),
            _ => return Start::Message,
        };
        self.buffer.advance(length);
        frame
    }

    /// The length of the head up to and including the empty line.
    fn find_head(&mut self) -> Result<Option<usize>, FramingError> {
        let from = self.searched.saturating_sub(3);
        let mut at = from;
        while let Some(end) = memchr::memchr(b'\n', self.buffer.get(at..).unwrap_or_default()) {
            let next = at.saturating_add(end).saturating_add(1);
            let length = match self.buffer.get(next..) {
                Some([b'\r', b'\n', ..]) => Some(next.saturating_add(2)),
                Some([b'\n', ..]) => Some(next.saturating_add(1)),
                _ => None,
            };
            if length.is_some() {
                return Ok(length);
            }
            at = next;
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > self.limits.message {
            let kind = ParseErrorKind::MessageTooLong(self.limits.message);
            return Err(ParseError { kind, at: self.limits.message }.into());
        }
        Ok(None)
    }

    /// Takes the head off the buffer and tells how long its body is.
    fn read_head(&mut self, size: usize) -> Result<(Message, usize), FramingError> {
        self.searched = 0;
        let message = Message::parse(self.buffer.split_to(size).freeze(), &self.limits)?;
        let Some(length) = agreed_length(message.headers()) else {
            return Err(FramingError::ContentLength(Box::new(message)));
        };
        let announced = size.saturating_add(length);
        if announced > self.limits.message {
            return Err(FramingError::TooLarge {
                message: Box::new(message),
                announced,
                limit: self.limits.message,
            });
        }
        Ok((message, length))
    }
}

/// What a stream continues with.
enum Start {
    Ping,
    Pong,
    Wait,
    Message,
}

/// The one length that all Content-Length fields agree on.
fn agreed_length(headers: &Headers) -> Option<usize> {
    let mut lengths = headers.all::<ContentLength>();
    let ContentLength(first) = lengths.next()?.ok()?;
    lengths.all(|other| other == Ok(ContentLength(first))).then_some(first)
}
