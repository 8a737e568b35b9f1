//! Messages on a stream: where one ends and the next begins (RFC 3261 §7.5, §18.3).

use crate::headers::{ContentLength, Headers};
use crate::{Limits, Message, ParseError, ParseErrorKind};
use bytes::{Buf, Bytes, BytesMut};

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

use alloc::boxed::Box;

/// Splits a stream into messages and keep-alives, however it is chunked.
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
    /// Length of the head and of head and body, once the head is whole.
    head: Option<(usize, usize)>,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: BytesMut::new(), searched: 0, head: None }
    }

    /// Adds octets that arrived.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Octets that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next message or keep-alive, or `None` until more octets arrive.
    ///
    /// # Errors
    /// If no further message can be found on this stream.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.head.is_none() {
            match self.keep_alive() {
                Some(Some(frame)) => return Ok(Some(frame)),
                Some(None) => return Ok(None),
                None => {}
            }
            let Some(head) = self.find_head()? else { return Ok(None) };
            let length = self.body_length(head)?;
            self.head = Some((head, head.saturating_add(length)));
        }
        let Some((_, total)) = self.head else { return Ok(None) };
        if self.buffer.len() < total {
            return Ok(None);
        }
        let message = self.buffer.split_to(total).freeze();
        (self.head, self.searched) = (None, 0);
        Ok(Some(Frame::Message(Message::parse(message, &self.limits)?)))
    }

    /// Line ends before a message: a frame, a wait for more, or neither.
    fn keep_alive(&mut self) -> Option<Option<Frame>> {
        let (length, frame) = match &self.buffer[..] {
            [b'\r', b'\n', b'\r', b'\n', ..] => (4, Frame::Ping),
            // The second half of a ping may be on its way: a lone CRLF waits until it is followed by something
            // else. Its sender loses nothing: nobody answers a pong.
            b"\r\n" | b"\r\n\r" | b"\r" => return Some(None),
            [b'\r', b'\n', ..] => (2, Frame::Pong),
            [b'\n', ..] => (1, Frame::Pong),
            [] => return Some(None),
            _ => return None,
        };
        self.buffer.advance(length);
        Some(Some(frame))
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

    fn body_length(&self, head: usize) -> Result<usize, FramingError> {
        // A copy of the head alone: bodies, which may be large, are not touched twice.
        let head = Bytes::copy_from_slice(self.buffer.get(..head).unwrap_or_default());
        let size = head.len();
        let message = Message::parse(head, &self.limits)?;
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
        Ok(length)
    }
}

/// The one length that all Content-Length fields agree on.
fn agreed_length(headers: &Headers) -> Option<usize> {
    let mut lengths = headers.all::<ContentLength>();
    let ContentLength(first) = lengths.next()?.ok()?;
    lengths.all(|other| other == Ok(ContentLength(first))).then_some(first)
}
