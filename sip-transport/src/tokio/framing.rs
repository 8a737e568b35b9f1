//! Messages in the bytes of a connection: by Content-Length (RFC 3261 §18.3), or one to each WebSocket message (RFC 7118 §4).

use bytes::Bytes;
use sip_message::framing::{Frame, FramingError, StreamDecoder};
use sip_message::{Limits, Message, ParseError};

use crate::path::Transport;
#[cfg(feature = "ws")]
use crate::websocket::{Decoder, Event, Masks, Opcode, Side, Violation, frame};

/// What came.
pub(super) enum Item {
    Message(Message),
    /// A WebSocket message that is no SIP message: the next one may be.
    #[cfg_attr(not(feature = "ws"), allow(dead_code))]
    Unreadable(ParseError),
    /// CRLF CRLF, to be answered by CRLF (RFC 5626 §3.5.1).
    Ping,
    /// CRLF, an empty message, a pong.
    KeepAlive,
    /// A WebSocket ping, to be answered by a pong.
    #[cfg(feature = "ws")]
    WsPing(Bytes),
    /// A WebSocket close frame, to be answered by another.
    #[cfg(feature = "ws")]
    WsClose(Option<u16>),
}

/// Why nothing more can be read from a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Stream(#[from] FramingError),
    #[cfg(feature = "ws")]
    #[error("WebSocket: {0}")]
    WebSocket(#[from] Violation),
}

/// The way in.
pub(super) enum Inbound {
    Stream(StreamDecoder),
    #[cfg(feature = "ws")]
    WebSocket(Decoder, Limits),
}

#[cfg(feature = "ws")]
pub(super) fn side(accepted: bool) -> Side {
    if accepted { Side::Server } else { Side::Client }
}

impl Inbound {
    /// What suits a transport, for a connection that we accepted or opened.
    pub(super) fn of(transport: Transport, accepted: bool, limits: Limits) -> Inbound {
        match transport {
            #[cfg(feature = "ws")]
            Transport::Ws | Transport::Wss => {
                Inbound::WebSocket(Decoder::new(side(accepted), limits.message), limits)
            }
            _ if accepted => Inbound::Stream(StreamDecoder::new(limits)),
            _ => Inbound::Stream(StreamDecoder::of_opener(limits)),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Inbound::Stream(decoder) => decoder.push(bytes),
            #[cfg(feature = "ws")]
            Inbound::WebSocket(decoder, _) => decoder.push(bytes),
        }
    }

    /// Octets of a message that has begun and is not whole.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Inbound::Stream(decoder) => decoder.buffered(),
            #[cfg(feature = "ws")]
            Inbound::WebSocket(decoder, _) => decoder.buffered(),
        }
    }

    /// Whether a new one would do as well: nothing has come in part.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Inbound::Stream(decoder) => decoder.is_idle(),
            #[cfg(feature = "ws")]
            Inbound::WebSocket(decoder, _) => decoder.buffered() == 0,
        }
    }

    pub(super) fn next_item(&mut self) -> Result<Option<Item>, Broken> {
        match self {
            Inbound::Stream(decoder) => Ok(decoder.next_frame()?.map(|frame| match frame {
                Frame::Message(message) => Item::Message(message),
                Frame::Ping => Item::Ping,
                Frame::Pong => Item::KeepAlive,
            })),
            #[cfg(feature = "ws")]
            Inbound::WebSocket(decoder, limits) => Ok(decoder.next_event()?.map(|event| match event {
                Event::Message(bytes) => message(bytes, limits),
                Event::Ping(payload) => Item::WsPing(payload),
                Event::Pong => Item::KeepAlive,
                Event::Close(code) => Item::WsClose(code),
            })),
        }
    }
}

#[cfg(feature = "ws")]
fn message(bytes: Bytes, limits: &Limits) -> Item {
    if &bytes[..] == b"\r\n\r\n" {
        return Item::Ping;
    }
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Item::KeepAlive;
    }
    match Message::parse(bytes, limits) {
        Ok(message) => Item::Message(message),
        Err(error) => Item::Unreadable(error),
    }
}

/// The way out.
pub(super) enum Outbound {
    Stream,
    #[cfg(feature = "ws")]
    WebSocket(Masks),
}

impl Outbound {
    /// What suits a transport, for a connection that we accepted or opened.
    pub(super) fn of(transport: Transport, accepted: bool) -> Outbound {
        match transport {
            #[cfg(feature = "ws")]
            Transport::Ws | Transport::Wss => Outbound::WebSocket(Masks::new(side(accepted))),
            _ => {
                let _ = accepted;
                Outbound::Stream
            }
        }
    }

    /// A message as it goes onto the wire.
    pub(super) fn message(&mut self, payload: Bytes) -> Bytes {
        match self {
            Outbound::Stream => payload,
            #[cfg(feature = "ws")]
            Outbound::WebSocket(masks) => frame::message(&payload, masks.next_mask()),
        }
    }

    #[cfg(feature = "ws")]
    pub(super) fn pong(&mut self, payload: &[u8]) -> Option<Bytes> {
        match self {
            Outbound::Stream => None,
            Outbound::WebSocket(masks) => Some(frame::encode(Opcode::Pong, payload, masks.next_mask())),
        }
    }

    /// A goodbye, where the protocol has one (RFC 6455 §7.4.1).
    pub(super) fn close(&mut self, code: u16) -> Option<Bytes> {
        match self {
            Outbound::Stream => {
                let _ = code;
                None
            }
            #[cfg(feature = "ws")]
            Outbound::WebSocket(masks) => Some(frame::close(code, masks.next_mask())),
        }
    }
}
