//! Requests and responses (RFC 4975 §7, §9): the start line and header fields of one, and how they are printed.
//!
//! A [`Head`] keeps the octets that arrived and knows where its fields are; values are read when they are asked for. The body
//! comes apart from it, see [`framing`](crate::framing), since it may be larger than memory.

mod fields;
mod write;

use std::ops::Range;

use bytes::Bytes;

pub(crate) use fields::number;
pub use fields::{ByteRange, FailureReport, FieldError, Flag, Ident, MAX_IDENT, Status};
pub(crate) use write::is_line;
pub use write::{HeadWriter, InjectionError, end_line};

use crate::status::StatusCode;
use crate::uri::{Path, UriError};

/// Fields of one head: more are made to cost time.
pub const MAX_FIELDS: usize = 64;

/// The method of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Carries a message or a chunk of one.
    Send,
    /// Reports what became of a message.
    Report,
    /// Asks a relay for a URI (RFC 4976).
    Auth,
    /// Asks for a name in a chat room (RFC 7701).
    Nickname,
    /// Another, which endpoints answer with 501.
    Other(Box<str>),
}

impl Method {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Send => "SEND",
            Self::Report => "REPORT",
            Self::Auth => "AUTH",
            Self::Nickname => "NICKNAME",
            Self::Other(name) => name,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "SEND" => Self::Send,
            "REPORT" => Self::Report,
            "AUTH" => Self::Auth,
            "NICKNAME" => Self::Nickname,
            other if !other.is_empty() && other.bytes().all(|octet| octet.is_ascii_uppercase()) => {
                Self::Other(other.into())
            }
            _ => return None,
        })
    }
}

/// What a start line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request(Method),
    /// A response.
    Response(StatusCode),
}

/// Why something cannot be read as a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The first line is none of MSRP.
    #[error("no start line of MSRP")]
    StartLine,
    /// A line is no header field.
    #[error("a line that is no header field")]
    Field,
    /// It is not UTF-8, or has control characters.
    #[error("a character that does not belong there")]
    Character,
    /// There are more than [`MAX_FIELDS`].
    #[error("more than {MAX_FIELDS} header fields")]
    TooManyFields,
}

/// Where a field's name and value are.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// The start line and header fields of a request or response.
#[derive(Clone, Debug)]
pub struct Head {
    text: Bytes,
    start: Start,
    transaction: Ident,
    comment: Range<usize>,
    fields: Vec<Field>,
    has_body: bool,
}

/// The parts of a start line without its CRLF.
pub(crate) fn start_line(line: &str) -> Result<(Ident, Start, &str), HeadError> {
    let parse = || {
        let rest = line.strip_prefix("MSRP ")?;
        let (transaction, rest) = rest.split_once(' ')?;
        let transaction = transaction.parse().ok()?;
        let (word, comment) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Some(code) = StatusCode::parse(word) {
            return Some((transaction, Start::Response(code), comment));
        }
        Some((transaction, Start::Request(Method::parse(rest)?), ""))
    };
    parse().ok_or(HeadError::StartLine)
}

impl Head {
    /// Reads a start line and fields, each with its CRLF, without the empty line or the end-line that follows.
    ///
    /// # Errors
    /// If it has no start line, a line that is no field, or foreign characters.
    pub fn parse(text: Bytes, has_body: bool) -> Result<Self, HeadError> {
        let whole = std::str::from_utf8(&text).map_err(|_| HeadError::Character)?;
        let mut lines = whole.split_terminator("\r\n");
        let first = lines.next().unwrap_or_default();
        let (transaction, start, comment) = start_line(first)?;
        let comment = first.len().saturating_sub(comment.len())..first.len();
        let mut at = first.len().saturating_add(2);
        let control = |octet: &u8| (*octet < 0x20 && *octet != b'\t') || *octet == 0x7f;
        if first.as_bytes().iter().any(control) {
            return Err(HeadError::Character);
        }
        let mut fields = Vec::with_capacity(8);
        for line in lines {
            if fields.len() >= MAX_FIELDS {
                return Err(HeadError::TooManyFields);
            }
            if line.as_bytes().iter().any(control) {
                return Err(HeadError::Character);
            }
            let (name, value) = line.split_once(':').ok_or(HeadError::Field)?;
            if !name.bytes().next().is_some_and(|octet| octet.is_ascii_alphabetic())
                || !crate::uri::is_token(name)
            {
                return Err(HeadError::Field);
            }
            let value = value.trim_matches([' ', '\t']);
            let value_start = value.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
            fields.push(Field {
                name: at..at.saturating_add(name.len()),
                value: value_start..value_start.saturating_add(value.len()),
            });
            at = at.saturating_add(line.len()).saturating_add(2);
        }
        Ok(Self { start, transaction, comment, fields, has_body, text })
    }

    /// What the start line says.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The transaction identifier.
    #[must_use]
    pub fn transaction(&self) -> Ident {
        self.transaction
    }

    /// Whether a body follows, be it an empty one.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// The octets of start line and fields, as they arrived.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.text
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).and_then(|octets| std::str::from_utf8(octets).ok()).unwrap_or_default()
    }

    /// What a response says for people.
    #[must_use]
    pub fn comment(&self) -> &str {
        self.part(&self.comment)
    }

    /// All fields, name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (self.part(&field.name), self.part(&field.value)))
    }

    /// The value of a field; names are compared without case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The octets of a value, without a copy.
    #[must_use]
    pub fn get_bytes(&self, name: &str) -> Option<Bytes> {
        let field = self.fields.iter().find(|field| self.part(&field.name).eq_ignore_ascii_case(name))?;
        Some(self.text.slice(field.value.clone()))
    }

    fn path(&self, name: &'static str) -> Result<Path, PathError> {
        self.get(name).ok_or(PathError::Missing(name))?.parse().map_err(|error| PathError::Bad(name, error))
    }

    /// Where it is to go.
    ///
    /// # Errors
    /// If the field is missing or has something that is no URI.
    pub fn to_path(&self) -> Result<Path, PathError> {
        self.path("To-Path")
    }

    /// The way back.
    ///
    /// # Errors
    /// If the field is missing or has something that is no URI.
    pub fn from_path(&self) -> Result<Path, PathError> {
        self.path("From-Path")
    }

    /// What a relay offers as the way to its client (RFC 4976 §4.2).
    ///
    /// # Errors
    /// If the field is missing or has something that is no URI.
    pub fn use_path(&self) -> Result<Path, PathError> {
        self.path("Use-Path")
    }

    fn typed<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, FieldError> {
        self.get(name).map(|value| value.parse().map_err(|_| FieldError(name))).transpose()
    }

    /// Which message this is about.
    ///
    /// # Errors
    /// If it is no identifier.
    pub fn message_id(&self) -> Result<Option<Ident>, FieldError> {
        self.typed("Message-ID")
    }

    /// Which part of the message.
    ///
    /// # Errors
    /// If it is no range.
    pub fn byte_range(&self) -> Result<Option<ByteRange>, FieldError> {
        self.typed("Byte-Range")
    }

    /// The status that a report tells.
    ///
    /// # Errors
    /// If it is none.
    pub fn status(&self) -> Result<Option<Status>, FieldError> {
        self.typed("Status")
    }

    /// Whether the sender wants to hear of success; the default is no.
    ///
    /// # Errors
    /// If it is neither yes nor no.
    pub fn success_report(&self) -> Result<bool, FieldError> {
        match self.get("Success-Report") {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("no") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("yes") => Ok(true),
            Some(_) => Err(FieldError("Success-Report")),
        }
    }

    /// What the sender wants to hear of failures; the default is yes.
    ///
    /// # Errors
    /// If it is none of yes, no and partial.
    pub fn failure_report(&self) -> Result<FailureReport, FieldError> {
        Ok(self.typed("Failure-Report")?.unwrap_or_default())
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.get("Content-Type")
    }

    /// Seconds that a relay's URI is, or shall be, valid (RFC 4976 §4.6).
    ///
    /// # Errors
    /// If it is no number.
    pub fn expires(&self) -> Result<Option<u64>, FieldError> {
        self.get("Expires").map(|value| number(value).ok_or(FieldError("Expires"))).transpose()
    }
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is none.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// One of its URIs is none.
    #[error("{0}: {1}")]
    Bad(&'static str, UriError),
}
