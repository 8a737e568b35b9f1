//! Requests and responses over the octets as they arrived.

use crate::header_table::Head;
use crate::headers::{ContentLength, ContentType, Headers};
use crate::scan::next_control;
use crate::syntax::{TOKEN, push_number, span};
use crate::{
    BufferTooSmall, Header, HeaderName, Limits, Method, ParseError, ParseErrorKind, StatusCode, Uri,
    ValueError,
};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// What follows the header fields, and what Content-Length says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Cut to Content-Length where that is smaller than what arrived (RFC 3261 §18.3).
    pub(crate) octets: Bytes,
    /// Octets that Content-Length promised and that did not arrive.
    pub(crate) missing: usize,
    /// Whether the empty line after the fields was there.
    pub(crate) reached: bool,
}

/// A request (RFC 3261 §7.1).
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line with its line end.
    start: Bytes,
    method: Method,
    /// Where the Request-URI stands in `start`.
    uri: (usize, usize),
    /// Whether the line is exactly `Method SP Request-URI SP SIP-Version CRLF`.
    pub(crate) regular: bool,
    /// Whether the version is 2.0.
    pub(crate) version: bool,
    /// The header fields.
    pub headers: Headers,
    pub(crate) body: Body,
}

/// A response (RFC 3261 §7.2).
#[derive(Clone, Debug)]
pub struct Response {
    /// The status line with its line end.
    start: Bytes,
    status: StatusCode,
    /// Where the reason phrase stands in `start`.
    reason: (usize, usize),
    /// Whether the reason phrase has no control characters.
    pub(crate) regular: bool,
    pub(crate) version: bool,
    /// The header fields.
    pub headers: Headers,
    pub(crate) body: Body,
}

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // both are moved once, from the socket to the layer that keeps them
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Reads a message that fills `octets` (a datagram, a WebSocket message). Line ends before the start line
    /// are passed over (§7.5); octets beyond Content-Length are dropped (§18.3).
    ///
    /// Whatever can be framed is accepted, so that a request with a bad field can be answered:
    /// [`Request::check`] says what is wrong with it.
    ///
    /// # Errors
    /// If the octets cannot be framed as a message, or pass a limit.
    pub fn parse(octets: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        let limit = limits.message.min(u32::MAX as usize); // what a line of the table can tell
        if octets.len() > limit {
            return Err(ParseError { kind: ParseErrorKind::MessageTooLong(limit), at: limit });
        }
        let begin = octets.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        let begin = begin.ok_or(ParseError { kind: ParseErrorKind::Empty, at: octets.len() })?;
        let rest = octets.get(begin..).unwrap_or_default();
        let text = next_control(rest);
        let len = match rest.get(text..) {
            Some([b'\r', b'\n', ..]) => text.saturating_add(2),
            _ => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end.saturating_add(1)),
        };
        if len > limits.start_line {
            let kind = ParseErrorKind::StartLineTooLong(limits.start_line);
            return Err(ParseError { kind, at: begin });
        }
        let end = begin.saturating_add(len);
        // A continuation of the start line (§7.3.1 allows them to header fields alone) would become one of
        // whatever line is later written above it.
        if matches!(octets.get(end), Some(b' ' | b'\t')) {
            return Err(ParseError { kind: ParseErrorKind::StartLine, at: end });
        }
        let whole = octets.get(begin..end).unwrap_or_default();
        let line = whole.trim_ascii_end();
        let start_line =
            if is_version(line.get(..4)) { StartLine::status(line) } else { StartLine::request(line) }
                .map_err(|kind| ParseError { kind, at: begin })?;
        let tidy = matches!(whole.get(line.len()..), Some(b"\r\n" | b"\n" | b""));
        let start = octets.slice(begin..end);
        let head = Headers::parse(octets, end, limits)?;
        let body = Body::cut(&head);
        let headers = head.headers;
        Ok(match start_line {
            StartLine::Request { method, uri, regular, version } => Self::Request(Request {
                start,
                method,
                uri,
                regular: regular && tidy,
                version,
                headers,
                body,
            }),
            StartLine::Status { status, reason, regular, version } => {
                Self::Response(Response { start, status, reason, regular, version, headers, body })
            }
        })
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// The header fields, to change them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Self::Request(request) => &mut request.headers,
            Self::Response(response) => &mut response.headers,
        }
    }

    /// The body, cut to Content-Length.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => request.body(),
            Self::Response(response) => response.body(),
        }
    }

    /// The body that arrived after its head.
    pub(crate) fn attach(&mut self, octets: Bytes) {
        match self {
            Self::Request(request) => request.body = Body::of(octets),
            Self::Response(response) => response.body = Body::of(octets),
        }
    }

    /// The request, if it is one.
    pub fn as_request(&self) -> Option<&Request> {
        match self {
            Self::Request(request) => Some(request),
            Self::Response(_) => None,
        }
    }

    /// The response, if it is one.
    pub fn as_response(&self) -> Option<&Response> {
        match self {
            Self::Response(response) => Some(response),
            Self::Request(_) => None,
        }
    }

    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }

    /// Writes the message as it goes on the wire into memory that is there already, and tells how many octets it took.
    ///
    /// # Errors
    /// If it does not fit; the error tells how many octets would do.
    pub fn write_into(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        match self {
            Self::Request(request) => request.write_into(out),
            Self::Response(response) => response.write_into(out),
        }
    }

    /// Appends the message as it goes on the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(request) => request.write_to(out),
            Self::Response(response) => response.write_to(out),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

enum StartLine {
    Request { method: Method, uri: (usize, usize), regular: bool, version: bool },
    Status { status: StatusCode, reason: (usize, usize), regular: bool, version: bool },
}

/// Whether these octets, the first four of a word, begin a SIP-Version.
fn is_version(start: Option<&[u8]>) -> bool {
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

impl StartLine {
    fn request(line: &[u8]) -> Result<Self, ParseErrorKind> {
        let wrong = ParseErrorKind::StartLine;
        let method_end = span(line, TOKEN);
        let (method, rest) = line.split_at_checked(method_end).ok_or(wrong)?;
        let method = match Method::known(method) {
            Some(method) => method,
            None => core::str::from_utf8(method).ok().filter(|name| !name.is_empty()).ok_or(wrong)?.into(),
        };
        if !rest.first().is_some_and(|&octet| is_space(octet)) {
            return Err(wrong);
        }
        let (between, version) = match rest.split_last_chunk::<7>() {
            Some((between, b"SIP/2.0")) if between.ends_with(b" ") => (between, true),
            _ => {
                let space = rest.iter().rposition(|&octet| is_space(octet)).ok_or(wrong)?;
                let (between, version) = rest.split_at_checked(space.saturating_add(1)).ok_or(wrong)?;
                if !is_version(version.get(..4)) {
                    return Err(wrong);
                }
                (between, version.eq_ignore_ascii_case(b"SIP/2.0"))
            }
        };
        let (uri, lead) = match between {
            [b' ', uri @ .., b' '] if !uri.starts_with(b" ") && !uri.ends_with(b" ") => (uri, 1),
            _ => {
                let lead = between.len().saturating_sub(between.trim_ascii_start().len());
                (between.trim_ascii(), lead)
            }
        };
        if uri.is_empty() {
            return Err(wrong);
        }
        let from = method_end.saturating_add(lead);
        let visible = uri.iter().fold(true, |all, octet| all & octet.is_ascii_graphic());
        let spaces = matches!(between, [b' ', .., b' ']) && between.len() == uri.len().saturating_add(2);
        let regular = visible && spaces; // RFC 3261 §25.1: SP, and no tab
        Ok(Self::Request { method, uri: (from, from.saturating_add(uri.len())), regular, version })
    }

    fn status(line: &[u8]) -> Result<Self, ParseErrorKind> {
        let wrong = ParseErrorKind::StartLine;
        let version_end = line.iter().position(|&octet| octet == b' ').ok_or(wrong)?;
        let (version, after) = line.split_at_checked(version_end).ok_or(wrong)?;
        let digits = after.trim_ascii_start();
        let code_end = digits.iter().position(|&octet| is_space(octet)).unwrap_or(digits.len());
        let (code, phrase) = digits.split_at_checked(code_end).ok_or(wrong)?;
        let status = core::str::from_utf8(code)
            .ok()
            .filter(|code| code.len() == 3)
            .and_then(crate::syntax::number::<u16>)
            .and_then(StatusCode::new)
            .ok_or(ParseErrorKind::StatusCode)?;
        let reason = line.len().saturating_sub(phrase.len()).saturating_add(usize::from(!phrase.is_empty()));
        Ok(Self::Status {
            status,
            reason: (reason, line.len()),
            regular: !phrase.iter().any(|&octet| octet.is_ascii_control() && octet != b'\t'),
            version: version.eq_ignore_ascii_case(b"SIP/2.0"),
        })
    }
}

impl Body {
    fn cut(head: &Head) -> Self {
        let received = head.headers.received();
        let arrived = received.len().saturating_sub(head.body);
        let length = head.content_length.unwrap_or(arrived);
        let octets = match length.min(arrived) {
            0 => Bytes::new(),
            taken => received.slice(head.body..head.body.saturating_add(taken)),
        };
        // Some end a message without a body at its last field (RFC 5118 §4.10 does). With its length said to be 0
        // and that line whole, nothing can be missing that matters.
        let reached = head.reached || (head.content_length == Some(0) && head.headers.is_ended());
        Self { octets, missing: length.saturating_sub(arrived), reached }
    }

    pub(crate) fn of(octets: Bytes) -> Self {
        Self { octets, missing: 0, reached: true }
    }
}

macro_rules! common {
    ($kind:ident) => {
        impl $kind {
            /// The body, cut to Content-Length.
            pub fn body(&self) -> &Bytes {
                &self.body.octets
            }

            /// Replaces the body; Content-Type and Content-Length follow.
            ///
            /// A `content_type` that is no media type is written as `application/octet-stream`.
            pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
                let octets = body.into();
                let content_type = ContentType::parse(content_type)
                    .unwrap_or_else(|_| ContentType::new("application", "octet-stream"));
                self.headers.set(&content_type);
                self.headers.set(&ContentLength(octets.len()));
                self.body = Body::of(octets);
            }

            /// Removes the body and the fields that describe it; Content-Length becomes 0.
            pub fn remove_body(&mut self) {
                for name in [
                    HeaderName::CONTENT_TYPE,
                    HeaderName::CONTENT_DISPOSITION,
                    HeaderName::CONTENT_ENCODING,
                    HeaderName::CONTENT_LANGUAGE,
                    HeaderName::CONTENT_ID,
                ] {
                    self.headers.remove(name);
                }
                self.headers.set(&ContentLength(0));
                self.body = Body::of(Bytes::new());
            }

            /// The message as it goes on the wire. Lines that were not edited leave as they came; a message of
            /// which nothing was edited shares the octets it arrived in, and nothing is copied.
            pub fn to_bytes(&self) -> Bytes {
                if let Some(whole) = self.as_received() {
                    return whole;
                }
                let mut out = Vec::with_capacity(self.wire_len());
                self.append_to(&mut out);
                Bytes::from(out)
            }

            /// Appends the message as it goes on the wire.
            pub fn write_to(&self, out: &mut Vec<u8>) {
                out.reserve(self.wire_len());
                self.append_to(out);
            }

            /// Writes the message as it goes on the wire into memory that is there already, and tells how many octets
            /// it took.
            ///
            /// # Errors
            /// If it does not fit; `out` holds nothing of use then.
            pub fn write_into(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
                let needed = self.wire_len();
                let mut rest = out.get_mut(..needed).ok_or(BufferTooSmall { needed })?;
                let mut put = |octets: &[u8]| {
                    if let Some((place, behind)) =
                        core::mem::take(&mut rest).split_at_mut_checked(octets.len())
                    {
                        place.copy_from_slice(octets);
                        rest = behind;
                    }
                };
                put(&self.start);
                if !self.start.ends_with(b"\n") {
                    put(b"\r\n");
                }
                self.headers.write_to(&mut put);
                put(b"\r\n");
                put(&self.body.octets);
                let left = rest.len();
                Ok(needed.saturating_sub(left))
            }

            fn append_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.start);
                if !self.start.ends_with(b"\n") {
                    out.extend_from_slice(b"\r\n"); // a message that was cut off lacks it
                }
                self.headers.write_to(|octets| out.extend_from_slice(octets));
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&self.body.octets);
            }

            /// Octets of the message on the wire.
            fn wire_len(&self) -> usize {
                self.start
                    .len()
                    .saturating_add(if self.start.ends_with(b"\n") { 0 } else { 2 })
                    .saturating_add(self.headers.wire_len())
                    .saturating_add(self.body.octets.len())
            }

            /// The octets that the message arrived in, if they are what it leaves as.
            fn as_received(&self) -> Option<Bytes> {
                let (first, last) = self.headers.untouched()?;
                let received = self.headers.received();
                // Octets at the same address as long as both live are the same octets.
                let base = received.as_ptr().addr();
                let from = first.checked_sub(self.start.len())?;
                let body = last.checked_add(2)?;
                let until = body.checked_add(self.body.octets.len())?;
                let in_place = self.start.ends_with(b"\n")
                    && self.start.as_ptr().addr() == base.wrapping_add(from)
                    && received.get(last..body) == Some(b"\r\n")
                    && (self.body.octets.is_empty()
                        || self.body.octets.as_ptr().addr() == base.wrapping_add(body))
                    && until <= received.len();
                in_place.then(|| received.slice(from..until))
            }
        }

        impl core::fmt::Display for $kind {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
            }
        }
    };
}

common!(Request);
common!(Response);

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.method == other.method
            && self.uri_text() == other.uri_text()
            && self.headers == other.headers
            && self.body.octets == other.body.octets
    }
}

impl Eq for Request {}

impl PartialEq for Response {
    fn eq(&self, other: &Self) -> bool {
        self.status == other.status
            && self.reason() == other.reason()
            && self.headers == other.headers
            && self.body.octets == other.body.octets
    }
}

impl Eq for Response {}

impl Request {
    /// A request line with nothing under it; see [`Request::builder`] for a whole request.
    pub(crate) fn bare(method: Method, uri: &Uri) -> Self {
        let mut request = Self {
            start: Bytes::new(),
            method,
            uri: (0, 0),
            regular: true,
            version: true,
            headers: Headers::new(),
            body: Body::of(Bytes::new()),
        };
        request.set_uri(uri);
        request
    }

    /// Reads a request that fills `octets`.
    ///
    /// # Errors
    /// As [`Message::parse`]; a response is a [`ParseErrorKind::StartLine`] error.
    pub fn parse(octets: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        match Message::parse(octets, limits)? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => Err(ParseError { kind: ParseErrorKind::StartLine, at: 0 }),
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI.
    ///
    /// # Errors
    /// If it does not follow the grammar of a URI.
    pub fn uri(&self) -> Result<Uri, ValueError> {
        self.uri_text().parse()
    }

    /// The Request-URI as it stands; empty if it is no UTF-8.
    pub fn uri_text(&self) -> &str {
        let text = self.start.get(self.uri.0..self.uri.1).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Replaces the Request-URI.
    pub fn set_uri(&mut self, uri: &Uri) {
        // Exactly as much as is written: octets that fill their memory are handed over as they are.
        let method = self.method.as_str();
        let length = method.len().saturating_add(uri.as_str().len()).saturating_add(" SIP/2.0\r\n ".len());
        let mut line = String::with_capacity(length);
        line.push_str(method);
        line.push(' ');
        let from = line.len();
        line.push_str(uri.as_str());
        self.uri = (from, line.len());
        line.push_str(" SIP/2.0\r\n");
        self.start = Bytes::from(line);
        (self.regular, self.version) = (true, true);
    }
}

impl Response {
    /// A status line with nothing under it; see [`Request::reply`] for a whole response.
    pub(crate) fn bare(status: StatusCode, reason: &str) -> Self {
        let mut response = Self {
            start: Bytes::new(),
            status,
            reason: (0, 0),
            regular: true,
            version: true,
            headers: Headers::new(),
            body: Body::of(Bytes::new()),
        };
        response.set_status(status, reason);
        response
    }

    /// Reads a response that fills `octets`.
    ///
    /// # Errors
    /// As [`Message::parse`]; a request is a [`ParseErrorKind::StartLine`] error.
    pub fn parse(octets: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        match Message::parse(octets, limits)? {
            Message::Response(response) => Ok(response),
            Message::Request(_) => Err(ParseError { kind: ParseErrorKind::StartLine, at: 0 }),
        }
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason phrase as it stands; empty if there is none, or if it is no UTF-8.
    pub fn reason(&self) -> &str {
        let text = self.start.get(self.reason.0..self.reason.1).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Replaces status and reason phrase; control characters in the phrase become spaces.
    pub fn set_status(&mut self, status: StatusCode, reason: &str) {
        let mut line = String::with_capacity(reason.len().saturating_add(16));
        // By hand: formatting takes three times as long.
        line.push_str("SIP/2.0 ");
        push_number(&mut line, u64::from(status.code()));
        line.push(' ');
        let from = line.len();
        line.extend(reason.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.reason = (from, line.len());
        line.push_str("\r\n");
        self.status = status;
        self.start = Bytes::from(line);
        (self.regular, self.version) = (true, true);
    }
}
