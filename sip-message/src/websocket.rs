//! Messages over WebSocket: one a frame, no stream to cut (RFC 7118 §5).

use crate::framing::Frame;
use crate::{Limits, Message, ParseError};
use bytes::Bytes;

/// Whether a WebSocket message is text or binary (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// UTF-8.
    Text,
    /// Any octets.
    Binary,
}

/// Reads what one WebSocket message carried, text or binary: a SIP message, or a keep-alive of CRLFs
/// (RFC 7118 §5.2, RFC 5626 §3.5.1). No Content-Length is needed; where there is one, octets beyond it are
/// dropped, and octets that lack make [`Request::check`](crate::Request::check) answer 400.
///
/// ```
/// use sip_message::framing::Frame;
/// use sip_message::{Limits, websocket};
/// assert_eq!(websocket::read("\r\n\r\n".into(), &Limits::default())?, Frame::Ping);
/// let frame = websocket::read("OPTIONS sip:a@b SIP/2.0\r\n\r\nhi".into(), &Limits::default())?;
/// assert!(matches!(frame, Frame::Message(message) if &message.body()[..] == b"hi"));
/// # Ok::<(), sip_message::ParseError>(())
/// ```
///
/// # Errors
/// If the octets are neither. The connection may stay: the next frame starts afresh.
pub fn read(octets: Bytes, limits: &Limits) -> Result<Frame, ParseError> {
    match &octets[..] {
        b"\r\n\r\n" => Ok(Frame::Ping),
        b"\r\n" => Ok(Frame::Pong),
        _ => Message::parse(octets, limits).map(Frame::Message),
    }
}

/// The kind of WebSocket message that `wire` must go out as: text must be UTF-8, and a body or a reason phrase
/// need not be.
pub fn kind_of(wire: &[u8]) -> FrameKind {
    if core::str::from_utf8(wire).is_ok() { FrameKind::Text } else { FrameKind::Binary }
}
