//! Frames (RFC 6455 §5): what comes is put together to messages, what leaves is one frame for each.

use std::hash::{BuildHasher, RandomState};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Payload of a control frame, at most (RFC 6455 §5.5).
const CONTROL: usize = 125;

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Accepted it: what comes is masked, what leaves is not.
    Server,
    /// Opened it: the other way round.
    Client,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message that was begun.
    Continuation,
    /// A message that is UTF-8.
    Text,
    /// A message of octets.
    Binary,
    /// The end.
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

impl Opcode {
    const fn number(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    const fn from_number(number: u8) -> Option<Opcode> {
        Some(match number {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message, text or binary; empty ones keep the connection alive.
    Message(Bytes),
    /// To be answered by a pong with the same payload.
    Ping(Bytes),
    /// The answer to a ping, or an unsolicited one.
    Pong,
    /// The peer ends the connection, with this code. Nothing comes after.
    Close(Option<u16>),
}

/// What a peer did that RFC 6455 forbids. The connection fails with [`close_code`](Violation::close_code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// §5.1: a client masks every frame, a server none.
    #[error("a frame is masked where it must not be, or not where it must be")]
    Masking,
    /// §5.2: reserved bits belong to extensions, of which none was agreed on.
    #[error("a reserved bit is set")]
    Reserved,
    /// §5.2: an opcode that there is not.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// §5.5: control frames are whole and short.
    #[error("a control frame is fragmented or longer than 125 octets")]
    Control,
    /// §5.2: the length has its highest bit set or takes more octets than it needs.
    #[error("a length is not in its shortest form")]
    Length,
    /// §5.4: a continuation of nothing, or a new message within another.
    #[error("fragments are out of order")]
    Fragments,
    /// The message is larger than our limit.
    #[error("a message is larger than the limit")]
    TooLarge,
    /// §5.6: text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// §5.5.1, §7.4: a code that must not be sent, or half of one.
    #[error("a close code that must not be sent")]
    CloseCode,
}

impl Violation {
    /// The code to close with (RFC 6455 §7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Violation::Utf8 => 1007,
            Violation::TooLarge => 1009,
            _ => 1002,
        }
    }
}

/// Finds messages in the octets of one connection, however they are cut.
///
/// ```
/// use websocket_wire::{Decoder, Event, Opcode, Side, frame};
///
/// let mut decoder = Decoder::new(Side::Server, 65_536);
/// let sent = frame::encode(Opcode::Text, b"hello", Some([1, 2, 3, 4]));
/// let (head, tail) = sent.split_at(3);
/// decoder.push(head);
/// assert_eq!(decoder.next_event(), Ok(None));
/// decoder.push(tail);
/// assert_eq!(decoder.next_event(), Ok(Some(Event::Message("hello".into()))));
/// ```
#[derive(Debug)]
pub struct Decoder {
    side: Side,
    limit: usize,
    buffer: BytesMut,
    /// A message whose last fragment has not come, and whether it is text.
    begun: Option<(bool, BytesMut)>,
    ended: bool,
}

/// The head of a frame.
struct Head {
    last: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// Octets of the head itself.
    size: usize,
    payload: usize,
}

impl Decoder {
    /// A decoder for our side of a connection, with the size of a message at most.
    #[must_use]
    pub fn new(side: Side, limit: usize) -> Decoder {
        Decoder { side, limit, buffer: BytesMut::new(), begun: None, ended: false }
    }

    /// Another size of a message at most, from the next frame on: more for those who have shown who they are.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds octets that arrived. Take all events before the next call: they are the only bound on the buffer.
    pub fn push(&mut self, octets: &[u8]) {
        if !self.ended {
            self.buffer.extend_from_slice(octets);
        }
    }

    /// Octets that wait for the rest of their message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len().saturating_add(self.begun.as_ref().map_or(0, |(_, begun)| begun.len().max(1)))
    }

    /// The next event, or `None` until more octets arrive.
    ///
    /// # Errors
    /// When the peer broke the rules; nothing comes after.
    pub fn next_event(&mut self) -> Result<Option<Event>, Violation> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let head = match self.head() {
                Ok(Some(head)) => head,
                Ok(None) => {
                    if self.buffer.is_empty() {
                        // An idle connection keeps no buffer.
                        self.buffer = BytesMut::new();
                    }
                    return Ok(None);
                }
                Err(violation) => return Err(self.end(violation)),
            };
            if self.buffer.len() < head.size.saturating_add(head.payload) {
                return Ok(None);
            }
            self.buffer.advance(head.size);
            let mut payload = self.buffer.split_to(head.payload);
            if let Some(mask) = head.mask {
                apply(mask, &mut payload);
            }
            match self.take(&head, payload) {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(violation) => return Err(self.end(violation)),
            }
        }
    }

    fn end(&mut self, violation: Violation) -> Violation {
        self.ended = true;
        (self.buffer, self.begun) = (BytesMut::new(), None);
        violation
    }

    /// Reads the head of the next frame and checks all that can be told from it.
    fn head(&self) -> Result<Option<Head>, Violation> {
        let Some((&first, rest)) = self.buffer.split_first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Reserved);
        }
        let (last, number) = (first & 0x80 != 0, first & 0x0f);
        let opcode = Opcode::from_number(number).ok_or(Violation::Opcode(number))?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let (masked, short) = (second & 0x80 != 0, second & 0x7f);
        if masked != (self.side == Side::Server) {
            return Err(Violation::Masking);
        }
        if opcode.is_control() && (!last || usize::from(short) > CONTROL) {
            return Err(Violation::Control);
        }
        match (opcode, &self.begun) {
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::Fragments);
            }
            _ => {}
        }
        let (payload, rest, long) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 2),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest, 8),
                None => return Ok(None),
            },
            short => (u64::from(short), rest, 0),
        };
        let shortest = match long {
            2 => payload > 125,
            8 => payload > u64::from(u16::MAX) && payload >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(Violation::Length);
        }
        let begun = self.begun.as_ref().map_or(0, |(_, begun)| begun.len());
        let payload = usize::try_from(payload).map_err(|_| Violation::TooLarge)?;
        if !opcode.is_control() && begun.saturating_add(payload) > self.limit {
            return Err(Violation::TooLarge);
        }
        let mask = match (masked, rest.first_chunk::<4>()) {
            (true, Some(mask)) => Some(*mask),
            (true, None) => return Ok(None),
            (false, _) => None,
        };
        let size = 2_usize.saturating_add(long).saturating_add(if masked { 4 } else { 0 });
        Ok(Some(Head { last, opcode, mask, size, payload }))
    }

    fn take(&mut self, head: &Head, payload: BytesMut) -> Result<Option<Event>, Violation> {
        let (text, message) = match head.opcode {
            Opcode::Ping => return Ok(Some(Event::Ping(payload.freeze()))),
            Opcode::Pong => return Ok(Some(Event::Pong)),
            Opcode::Close => {
                let code = close_code(&payload)?;
                self.ended = true;
                (self.buffer, self.begun) = (BytesMut::new(), None);
                return Ok(Some(Event::Close(code)));
            }
            Opcode::Text | Opcode::Binary => (head.opcode == Opcode::Text, payload),
            Opcode::Continuation => {
                let (text, mut begun) = self.begun.take().ok_or(Violation::Fragments)?;
                begun.extend_from_slice(&payload);
                (text, begun)
            }
        };
        if !head.last {
            self.begun = Some((text, message));
            return Ok(None);
        }
        if text && std::str::from_utf8(&message).is_err() {
            return Err(Violation::Utf8);
        }
        Ok(Some(Event::Message(message.freeze())))
    }
}

/// The code of a close frame (RFC 6455 §5.5.1): none, or two octets and a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseCode) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::CloseCode);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation::Utf8);
    }
    Ok(Some(code))
}

/// Masking is its own inverse (RFC 6455 §5.3).
fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for chunk in payload.chunks_mut(4) {
        for (octet, key) in chunk.iter_mut().zip(mask) {
            *octet ^= key;
        }
    }
}

/// Masks that nobody outside can guess (RFC 6455 §10.3), for clients: a keyed hash of a counter.
#[derive(Debug)]
pub struct Masks(Option<(Box<RandomState>, u64)>);

impl Masks {
    /// Those of one side of a connection: a server has none.
    #[must_use]
    pub fn new(side: Side) -> Masks {
        Masks((side == Side::Client).then(|| (Box::new(RandomState::new()), 0)))
    }

    /// The mask of the next frame.
    pub fn next_mask(&mut self) -> Option<[u8; 4]> {
        let (keys, count) = self.0.as_mut()?;
        *count = count.wrapping_add(1);
        keys.hash_one(*count).to_be_bytes().first_chunk().copied()
    }
}

/// One whole frame. A client gives a mask that nobody can guess (RFC 6455 §10.3), a server none. The payload of a control
/// frame is cut at 125 octets.
#[must_use]
pub fn encode(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    let payload = match payload.get(..CONTROL) {
        Some(cut) if opcode.is_control() => cut,
        _ => payload,
    };
    let mut frame = BytesMut::with_capacity(payload.len().saturating_add(14));
    frame.put_u8(0x80 | opcode.number());
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => frame.put_u8(masked | short),
        (_, Ok(length)) => {
            frame.put_u8(masked | 126);
            frame.put_u16(length);
        }
        _ => {
            frame.put_u8(masked | 127);
            frame.put_u64(u64::try_from(payload.len()).unwrap_or(u64::MAX));
        }
    }
    if let Some(mask) = mask {
        frame.put_slice(&mask);
    }
    let head = frame.len();
    frame.put_slice(payload);
    if let (Some(mask), Some(payload)) = (mask, frame.get_mut(head..)) {
        apply(mask, payload);
    }
    frame.freeze()
}

/// A message: as text if it is UTF-8, as most SIP is and as scripts in browsers like it, else binary (RFC 7118 §4.2, RFC 7977 §4.2).
#[must_use]
pub fn message(payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    let opcode = if std::str::from_utf8(payload).is_ok() { Opcode::Text } else { Opcode::Binary };
    encode(opcode, payload, mask)
}

/// A close frame with its code.
#[must_use]
pub fn close(code: u16, mask: Option<[u8; 4]>) -> Bytes {
    encode(Opcode::Close, &code.to_be_bytes(), mask)
}
