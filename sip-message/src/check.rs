//! Is a message fit to be worked on, and if not: which status does the RFC name?

use crate::build::Phrase;
use crate::headers::{CSeq, CallId, ContentLength, ContentType, From, Header, Headers, MaxForwards, To, Via};
use crate::{CheckError, HeaderError, HeaderName, Request, Response, StatusCode};
use alloc::format;

fn refuse(status: StatusCode, reason: impl Into<Phrase>) -> CheckError {
    CheckError { status, reason: reason.into() }
}

fn bad(reason: impl Into<Phrase>) -> CheckError {
    refuse(StatusCode::BAD_REQUEST, reason)
}

fn require<H: Header>(headers: &Headers) -> Result<H, CheckError> {
    headers.require().map_err(|error| match error {
        HeaderError::Missing(name) => bad(format!("Missing {name} header field")),
        HeaderError::Malformed { name, error } => bad(format!("Malformed {name}: {error}")),
    })
}

/// Fields of which a second one contradicts the first (RFC 3261 §7.3.1, RFC 4475 §3.3.8).
const SINGLE: [HeaderName; 8] = [
    HeaderName::FROM,
    HeaderName::TO,
    HeaderName::CALL_ID,
    HeaderName::CSEQ,
    HeaderName::MAX_FORWARDS,
    HeaderName::CONTENT_LENGTH,
    HeaderName::CONTENT_TYPE,
    HeaderName::EXPIRES,
];

fn check_common(headers: &Headers) -> Result<CSeq, CheckError> {
    if headers.malformed_line().is_some() {
        return Err(bad("Malformed header field line"));
    }
    for name in headers.repeated().filter(|name| SINGLE.contains(name)) {
        let mut values = headers.raw(name);
        let first = values.next();
        // Two equal lengths are harmless and sent by some; two different ones smuggle a message.
        if name != HeaderName::CONTENT_LENGTH || values.any(|value| Some(value) != first) {
            return Err(bad(format!("More than one {name} header field")));
        }
    }
    for via in headers.all::<Via>() {
        via.map_err(|error| bad(format!("Malformed Via: {error}")))?;
    }
    require::<Via>(headers)?;
    require::<From>(headers)?;
    require::<To>(headers)?;
    require::<CallId>(headers)?;
    let cseq = require::<CSeq>(headers)?;
    optional::<ContentLength>(headers)?;
    Ok(cseq)
}

fn optional<H: Header>(headers: &Headers) -> Result<Option<H>, CheckError> {
    headers.get().map_err(|error| bad(format!("{error}")))
}

impl Request {
    /// Whether an element may work on this request, as far as the message alone tells: mandatory fields, their
    /// grammar, the CSeq's method, the version, numbers, duplicates, the body's length (RFC 3261 §8.1.1,
    /// §8.2, §16.3, §18.3).
    ///
    /// # Errors
    /// The status to answer with, and a reason phrase for a person.
    pub fn check(&self) -> Result<(), CheckError> {
        if !self.version {
            return Err(refuse(StatusCode::VERSION_NOT_SUPPORTED, "Version Not Supported: use SIP/2.0"));
        }
        if !self.body.reached {
            return Err(bad("Truncated message: no empty line after the header fields"));
        }
        let cseq = check_common(&self.headers)?;
        if cseq.method != *self.method() {
            return Err(bad(format!("CSeq method {} is not the request's {}", cseq.method, self.method())));
        }
        if !self.regular {
            return Err(bad("Malformed request line: single spaces only"));
        }
        let uri = self.uri().map_err(|error| bad(format!("Malformed Request-URI: {error}")))?;
        if uri.headers().next().is_some() && (uri.is_sip() || uri.is_sips()) {
            return Err(bad("The Request-URI must not carry header fields")); // RFC 3261 §19.1.1, table 1
        }
        optional::<MaxForwards>(&self.headers)?; // RFC 2543 clients send none
        if self.body.missing > 0 {
            return Err(bad(format!("Content-Length is {} octets larger than the body", self.body.missing)));
        }
        if !self.body().is_empty() {
            require::<ContentType>(&self.headers)?;
        }
        Ok(())
    }
}

impl Response {
    /// Whether a response can be matched and used; one that cannot is dropped (RFC 3261 §8.1.3, §18.3).
    ///
    /// # Errors
    /// What is wrong; the status in it is of no use to anybody.
    pub fn check(&self) -> Result<(), CheckError> {
        if !self.version {
            return Err(refuse(StatusCode::VERSION_NOT_SUPPORTED, "Version Not Supported: use SIP/2.0"));
        }
        if !self.body.reached {
            return Err(bad("Truncated message: no empty line after the header fields"));
        }
        if !self.regular {
            return Err(bad("The reason phrase contains a control character"));
        }
        check_common(&self.headers)?;
        if self.body.missing > 0 {
            return Err(bad(format!("Content-Length is {} octets larger than the body", self.body.missing)));
        }
        Ok(())
    }
}
