//! Values of header fields (RFC 4975 §9).

use std::fmt;
use std::str::FromStr;

use crate::status::StatusCode;

/// Octets of an identifier that is read: the grammar has 32, others write UUIDs of 36.
pub const MAX_IDENT: usize = 64;

/// A field whose value is not what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has no proper value")]
pub struct FieldError(pub &'static str);

/// A transaction identifier or a Message-ID: `ident` of RFC 4975 §9.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident {
    length: u8,
    octets: [u8; MAX_IDENT],
}

impl Ident {
    /// One of 64 random bits, which is what a transaction identifier has to have (RFC 4975 §7.1).
    #[must_use]
    pub fn from_token(token: u64) -> Self {
        let mut octets = [0; MAX_IDENT];
        for (octet, shift) in octets.iter_mut().zip((0..16u32).rev()) {
            let digit = u32::try_from(token >> shift.saturating_mul(4) & 0xf).unwrap_or_default();
            *octet = char::from_digit(digit, 16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(b'0');
        }
        Self { length: 16, octets }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.octets.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl FromStr for Ident {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let good = |octet: u8| octet.is_ascii_alphanumeric() || b".-+%=".contains(&octet);
        let starts_well = text.bytes().next().is_some_and(|octet| octet.is_ascii_alphanumeric());
        let mut octets = [0; MAX_IDENT];
        match (u8::try_from(text.len()), octets.get_mut(..text.len())) {
            (Ok(length), Some(place)) if starts_well && text.bytes().all(good) => {
                place.copy_from_slice(text.as_bytes());
                Ok(Self { length, octets })
            }
            _ => Err(FieldError("identifier")),
        }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Which octets of a message these are (RFC 4975 §7.1.1). The first octet is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first octet, from 1.
    pub start: u64,
    /// Position of the last octet; none is `*`: it is not known, or the chunk may be interrupted.
    pub end: Option<u64>,
    /// Octets of the whole message; none is `*`.
    pub total: Option<u64>,
}

impl ByteRange {
    /// A whole message of this many octets.
    #[must_use]
    pub fn whole(total: u64) -> Self {
        Self { start: 1, end: Some(total), total: Some(total) }
    }

    /// Whether it contradicts itself: a start of 0, an end before the start (a message without octets is `1-0/0`), an end
    /// behind the total.
    #[must_use]
    pub fn is_contradictory(&self) -> bool {
        let ends_before = self.end.is_some_and(|end| end < self.start.saturating_sub(1));
        let beyond = self.total.is_some_and(|total| {
            self.end.is_some_and(|end| end > total) || self.start.saturating_sub(1) > total
        });
        self.start == 0 || ends_before || beyond
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.start)?;
        match self.end {
            Some(end) => write!(f, "{end}/")?,
            None => f.write_str("*/")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

pub(crate) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl FromStr for ByteRange {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let parse = || {
            let (start, rest) = text.split_once('-')?;
            let (end, total) = rest.split_once('/')?;
            let open = |text: &str| if text == "*" { Some(None) } else { number(text).map(Some) };
            Some(Self { start: number(start)?, end: open(end)?, total: open(total)? })
        };
        parse().ok_or(FieldError("Byte-Range"))
    }
}

/// What the sender wants to hear of failures (RFC 4975 §5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureReport {
    /// Every chunk is answered, and silence is a failure too. The default.
    #[default]
    Yes,
    /// Failures are answered, success is not, and nobody waits for it.
    Partial,
    /// Nothing is answered.
    No,
}

impl FailureReport {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partial => "partial",
            Self::No => "no",
        }
    }
}

impl FromStr for FailureReport {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        [Self::Yes, Self::Partial, Self::No]
            .into_iter()
            .find(|value| text.eq_ignore_ascii_case(value.as_str()))
            .ok_or(FieldError("Failure-Report"))
    }
}

/// The Status of a report (RFC 4975 §7.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What the code means: 0 is that of responses.
    pub namespace: u16,
    /// The code.
    pub code: StatusCode,
    /// For people; may be empty.
    pub comment: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {}", self.namespace, self.code)?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

impl FromStr for Status {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let parse = || {
            let (namespace, rest) = text.split_once(' ')?;
            let (code, comment) = rest.split_once(' ').unwrap_or((rest, ""));
            let namespace = StatusCode::parse(namespace)?.code();
            Some(Self { namespace, code: StatusCode::parse(code)?, comment: comment.into() })
        };
        parse().ok_or(FieldError("Status"))
    }
}

/// What the end of a chunk says of its message (RFC 4975 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `$`: here ends the message.
    Complete,
    /// `+`: more chunks follow.
    Continued,
    /// `#`: the message is given up.
    Aborted,
}

impl Flag {
    /// As it is written.
    #[must_use]
    pub fn octet(self) -> u8 {
        match self {
            Self::Complete => b'$',
            Self::Continued => b'+',
            Self::Aborted => b'#',
        }
    }

    /// As it is read.
    #[must_use]
    pub fn from_octet(octet: u8) -> Option<Self> {
        [Self::Complete, Self::Continued, Self::Aborted].into_iter().find(|flag| flag.octet() == octet)
    }
}
