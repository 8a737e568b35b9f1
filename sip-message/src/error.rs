//! What can be wrong with a message, named by who is to blame.

use crate::{HeaderName, StatusCode};
use alloc::borrow::Cow;
use alloc::string::String;

/// Octets that cannot be framed as a SIP message at all. Nothing can be answered to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SIP message: {kind} at byte {at}")]
pub struct ParseError {
    /// What was wrong.
    pub kind: ParseErrorKind,
    /// Offset of the octet where it was noticed.
    pub at: usize,
}

/// The ways in which octets fail to be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Nothing but line ends, or nothing.
    #[error("no start line")]
    Empty,
    /// Neither `Method SP Request-URI SP SIP-Version` nor `SIP-Version SP Status-Code SP Reason` (RFC 3261 §7).
    #[error("the first line is neither a request line nor a status line")]
    StartLine,
    /// The status code is not three digits from 100 to 699.
    #[error("the status code is not a number from 100 to 699")]
    StatusCode,
    /// [`Limits::message`](crate::Limits::message) passed.
    #[error("the message is longer than {0} octets")]
    MessageTooLong(usize),
    /// [`Limits::start_line`](crate::Limits::start_line) passed.
    #[error("the start line is longer than {0} octets")]
    StartLineTooLong(usize),
    /// [`Limits::field`](crate::Limits::field) passed.
    #[error("a header field is longer than {0} octets")]
    FieldTooLong(usize),
    /// [`Limits::fields`](crate::Limits::fields) passed.
    #[error("there are more than {0} header fields")]
    TooManyFields(usize),
    /// A part of a body begins with a line that is no header field (RFC 2046 §5.1).
    #[error("a part of the body begins with a line that is no header field")]
    PartField,
}

/// A value that does not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at} of the value")]
pub struct ValueError {
    /// What the grammar asks for there.
    pub expected: &'static str,
    /// Offset within the value's text.
    pub at: usize,
}

impl ValueError {
    /// An error at offset `at` of the value where `expected` should stand.
    pub const fn new(expected: &'static str, at: usize) -> Self {
        Self { expected, at }
    }
}

/// A header field that was asked for and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The message has no such field.
    #[error("the header field {0} is missing")]
    Missing(HeaderName),
    /// The field stands there, but its value does not follow its grammar.
    #[error("the header field {name} is malformed: {error}")]
    Malformed {
        /// The field.
        name: HeaderName,
        /// What was wrong with the value.
        error: ValueError,
    },
}

/// A message that frames but breaks a rule, with the answer that the RFC names for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", status.code())]
#[non_exhaustive]
pub struct CheckError {
    /// The status to answer with (to a request), or why a response is discarded.
    pub status: StatusCode,
    /// A reason phrase that tells a person what to mend.
    pub reason: Cow<'static, str>,
    /// The field that is missing or wrong; `None` if it is the start line, the body or the whole.
    pub name: Option<HeaderName>,
    /// The rule: RFC and section.
    pub section: &'static str,
}

/// Something that a program asked to write and that no SIP message can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The value would end its line and start another (RFC 3261 §25.1): header injection.
    #[error("the value of {0} contains a control character; remove CR, LF and NUL from it")]
    ControlCharacter(String),
    /// A field name must be a token.
    #[error("'{0}' is not a header field name; use letters, digits and any of -.!%*_+`'~")]
    FieldName(String),
    /// A method must be a token (RFC 3261 §25.1).
    #[error("'{0}' is not a method; use letters, digits and any of -.!%*_+`'~")]
    Method(String),
    /// One field must stay under 64 KiB.
    #[error("the value of {0} is longer than 65535 octets")]
    TooLong(String),
    /// A mandatory field was not given.
    #[error("{0} is required in every request; add it before build()")]
    Missing(HeaderName),
    /// A multipart has one part at least (RFC 2046 §5.1.1).
    #[error("a multipart without a part; add one before build()")]
    NoPart,
}

/// Memory into which a message was to be written, and into which it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message does not fit: {needed} octets are needed")]
pub struct BufferTooSmall {
    /// Octets that are enough.
    pub needed: usize,
}
