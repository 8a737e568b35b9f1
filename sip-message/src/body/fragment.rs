//! `message/sipfrag`: a piece of a message (RFC 3420).

use super::BodyError;
use crate::header_table::Head;
use crate::headers::Headers;
use crate::{Limits, Message, Method, ParseError, ParseErrorKind, StatusCode};
use bytes::Bytes;

/// A start line, or header fields, or both, and perhaps a body (RFC 3420 §2): what a NOTIFY of a `refer` event
/// tells about the referred request, and what a Referred-By token signs.
///
/// ```
/// use sip_message::body::Fragment;
/// use sip_message::{Limits, StatusCode};
/// let fragment = Fragment::parse(&"SIP/2.0 200 OK".into(), &Limits::default())?;
/// assert_eq!(fragment.status(), Some(StatusCode::OK));
/// # Ok::<(), sip_message::body::BodyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // read once and taken apart
enum Kind {
    /// It has a start line.
    Message(Message),
    /// It has none.
    Fields(Headers, Bytes),
}

impl Fragment {
    /// Reads the octets of a `message/sipfrag` body.
    ///
    /// # Errors
    /// If they are no piece of a message, or pass a limit.
    pub fn parse(octets: &Bytes, limits: &Limits) -> Result<Self, BodyError> {
        if octets.is_empty() {
            return Err(ParseError { kind: ParseErrorKind::Empty, at: 0 }.into());
        }
        let line = memchr::memchr(b'\n', octets).unwrap_or(octets.len());
        let line = octets.get(..line).unwrap_or_default().trim_ascii_end();
        let begins = line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
        let ends = line.len().checked_sub(8).and_then(|at| line.get(at..));
        let ends = ends.is_some_and(|end| end.get(..5).is_some_and(|end| end.eq_ignore_ascii_case(b" SIP/")));
        if begins || ends {
            return Ok(Self { kind: Kind::Message(Message::parse(octets.clone(), limits)?) });
        }
        if octets.len() > limits.message {
            let kind = ParseErrorKind::MessageTooLong(limits.message);
            return Err(ParseError { kind, at: limits.message }.into());
        }
        let Head { headers, body, .. } = Headers::parse(octets.clone(), 0, limits)?;
        if headers.malformed_line().is_some() {
            return Err(ParseError { kind: ParseErrorKind::PartField, at: 0 }.into());
        }
        Ok(Self { kind: Kind::Fields(headers, octets.slice(body.min(octets.len())..)) })
    }

    /// The whole, if it begins with a start line.
    pub fn message(&self) -> Option<&Message> {
        match &self.kind {
            Kind::Message(message) => Some(message),
            Kind::Fields(..) => None,
        }
    }

    /// The status, if it begins with a status line.
    pub fn status(&self) -> Option<StatusCode> {
        Some(self.message()?.as_response()?.status())
    }

    /// The method, if it begins with a request line.
    pub fn method(&self) -> Option<&Method> {
        Some(self.message()?.as_request()?.method())
    }

    /// The header fields; none is mandatory.
    pub fn headers(&self) -> &Headers {
        match &self.kind {
            Kind::Message(message) => message.headers(),
            Kind::Fields(headers, _) => headers,
        }
    }

    /// The body, if there is one.
    pub fn body(&self) -> &Bytes {
        match &self.kind {
            Kind::Message(message) => message.body(),
            Kind::Fields(_, body) => body,
        }
    }
}
