//! Status codes (RFC 4975 §10, RFC 4976, RFC 7701 §8).

use std::fmt;

/// The status of a response or a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// 200: done.
    pub const OK: Self = Self(200);
    /// 400: unintelligible.
    pub const BAD_REQUEST: Self = Self(400);
    /// 401: credentials wanted (RFC 4976).
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403: not allowed; not to be tried again.
    pub const FORBIDDEN: Self = Self(403);
    /// 404: nobody of this name in the chat room (RFC 7701).
    pub const NOT_FOUND: Self = Self(404);
    /// 408: a transaction further on did not complete in time; the same as a timeout.
    pub const TIMEOUT: Self = Self(408);
    /// 413: no more of this message.
    pub const STOP_SENDING: Self = Self(413);
    /// 415: media type not understood.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// 423: a parameter out of bounds.
    pub const OUT_OF_BOUNDS: Self = Self(423);
    /// 424: no proper nickname (RFC 7701).
    pub const MALFORMED_NICKNAME: Self = Self(424);
    /// 425: the nickname cannot be had (RFC 7701).
    pub const NICKNAME_FAILED: Self = Self(425);
    /// 428: no private messages here (RFC 7701).
    pub const NO_PRIVATE_MESSAGES: Self = Self(428);
    /// 481: no such session.
    pub const NO_SESSION: Self = Self(481);
    /// 501: method not understood.
    pub const UNKNOWN_METHOD: Self = Self(501);
    /// 506: the session is bound to another connection.
    pub const BOUND_ELSEWHERE: Self = Self(506);

    /// A code of three digits.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        (code <= 999).then_some(Self(code))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 3 && text.bytes().all(|digit| digit.is_ascii_digit()))
            .then(|| text.parse().ok().map(Self))
            .flatten()
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether it is 200 or another of its class.
    #[must_use]
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// What is usually written behind it.
    #[must_use]
    pub fn comment(self) -> &'static str {
        match self.0 {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            408 => "Timeout",
            413 => "Stop Sending Message",
            415 => "Unsupported Media Type",
            423 => "Interval Out-of-Bounds",
            424 => "Malformed nickname",
            425 => "Nickname reserved or already in use",
            428 => "Private messages not supported",
            481 => "No Such Session",
            501 => "Unknown Method",
            506 => "Session Bound Elsewhere",
            _ => "",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}
