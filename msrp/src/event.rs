//! What a session tells its application.

use bytes::Bytes;

use crate::connection::MessageKey;
use crate::message::Ident;
use crate::status::StatusCode;

/// A message that has arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its identifier.
    pub id: Ident,
    /// Its media type.
    pub content_type: String,
    /// Other fields, such as Content-Disposition, in their order.
    pub fields: Vec<(String, String)>,
    /// Its content.
    pub body: Bytes,
}

impl Received {
    /// The content as text, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }
}

/// Why a message of ours did not get there, or is not known to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer, or a relay, says so.
    #[error("refused with {0}")]
    Status(StatusCode),
    /// No answer within 30 s (RFC 4975 §7.1.1): it has probably failed.
    #[error("no answer in time")]
    Timeout,
    /// The connection, and with it the session, is gone (RFC 4975 §5.4).
    #[error("the session is over")]
    Closed,
    /// It was given up by us.
    #[error("given up")]
    Aborted,
}

/// What happened in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is known to be the peer's: its first request came, or the answer to ours.
    Bound,
    /// A message is there ([`Delivery::Whole`](crate::Delivery::Whole)).
    Message(Received),
    /// A message begins ([`Delivery::Parts`](crate::Delivery::Parts)).
    Begun {
        /// Its identifier.
        id: Ident,
        /// Its media type.
        content_type: String,
        /// Its length, if the sender declares one.
        total: Option<u64>,
        /// Other fields.
        fields: Vec<(String, String)>,
    },
    /// Octets of it. Where some come twice, those that come last hold.
    Part {
        /// Its identifier.
        id: Ident,
        /// Their place, from 0.
        offset: u64,
        /// The octets.
        octets: Bytes,
    },
    /// All of it is there.
    Ended {
        /// Its identifier.
        id: Ident,
        /// Its length.
        total: u64,
    },
    /// The rest of a message will not come: its sender gave it up, it was refused with this status, or nothing more came for
    /// ten minutes or the connection is gone (408).
    Abandoned {
        /// Its identifier.
        id: Ident,
        /// Why.
        status: StatusCode,
    },
    /// A message that was handed out before came again; its content is not handed out.
    Duplicate {
        /// Its identifier.
        id: Ident,
    },
    /// A message of ours has left whole; every chunk was acknowledged, where acknowledgements were asked for.
    Sent(MessageKey),
    /// Octets of a streamed message have left: as many may be fed again.
    Drained(MessageKey, usize),
    /// The receiver reports the whole message as arrived.
    Delivered(MessageKey),
    /// The receiver did not report, and now the session is over or too many other messages were sent (RFC 4975 §7.1.1).
    Unconfirmed(MessageKey),
    /// A message of ours did not get there.
    Failed(MessageKey, Failure),
    /// The answer to a wish for a nickname (RFC 7701 §7).
    Nickname(StatusCode),
    /// The session is over: the peer does not know it (481, 506), a report says that part of a message is lost, or the
    /// connection is gone.
    Closed(Failure),
}
