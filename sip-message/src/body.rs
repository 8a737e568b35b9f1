//! Bodies: what they are, multiparts, and messages within messages (RFC 3261 §7.4, RFC 5621, RFC 3420).

use crate::header_table::Head;
use crate::headers::{ContentDisposition, ContentEncoding, ContentId, ContentType, Headers};
use crate::{
    BuildError, CheckError, Header, HeaderError, HeaderName, Limits, Message, ParseError, ParseErrorKind,
    Request, Response, StatusCode,
};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::Write as _;

mod fragment;

pub use fragment::Fragment;

/// A body that cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body is coded, and its parts cannot be seen; decode it, or answer 415 with Accept-Encoding
    /// (RFC 3261 §8.2.3).
    #[error("the body has the Content-Encoding {0}; decode it first")]
    Encoded(String),
    /// A field that describes the body is missing or malformed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The multipart's Content-Type has no usable `boundary` (RFC 2046 §5.1.1).
    #[error("the multipart has no boundary of 1 to 70 characters in its Content-Type")]
    Boundary,
    /// The multipart does not begin, or does not end, with its boundary.
    #[error("the multipart's boundary {0} is missing: the body is cut off or the boundary is another")]
    Delimiter(String),
    /// [`Limits::depth`] passed.
    #[error("multiparts lie in each other more than {0} deep")]
    TooDeep(usize),
    /// [`Limits::parts`] passed.
    #[error("the body has more than {0} parts")]
    TooManyParts(usize),
    /// The fields of a part, or a message in a body, cannot be framed.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A message in a body breaks a rule.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl BodyError {
    /// The status to answer with: 415 for a coding, 413 for what passes a limit, 400 for the rest.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Encoded(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooDeep(_) | Self::TooManyParts(_) => StatusCode::REQUEST_ENTITY_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A body, or a part of one: what it is, what to do with it, and its octets. A multipart has its parts.
///
/// ```
/// use sip_message::body::Entity;
/// use sip_message::{Limits, Message};
/// let text = "MESSAGE sip:a@b SIP/2.0\r\nContent-Type: multipart/alternative;boundary=x\r\n\r\n\
///     --x\r\n\r\nplain\r\n--x\r\nContent-Type: text/html\r\nContent-ID: <1@h>\r\n\r\n<b>rich</b>\r\n--x--\r\n";
/// let message = Message::parse(text.into(), &Limits::default())?;
/// let body = Entity::of(message.headers(), message.body(), &Limits::default())?;
/// assert_eq!(&body.find("text", "plain").unwrap().octets()[..], b"plain");
/// assert_eq!(&body.named("cid:1@h").unwrap().octets()[..], b"<b>rich</b>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    content_type: ContentType,
    disposition: Option<ContentDisposition>,
    id: Option<ContentId>,
    encoding: Option<String>,
    headers: Headers,
    octets: Bytes,
    parts: Vec<Self>,
}

impl Entity {
    /// The body that these fields describe. Without a Content-Type it is text/plain, as a part is
    /// (RFC 2046 §5.1).
    ///
    /// # Errors
    /// If its fields or its parts cannot be read.
    pub fn of(headers: &Headers, body: &Bytes, limits: &Limits) -> Result<Self, BodyError> {
        let mut left = limits.parts;
        Self::read(headers.clone(), body.clone(), limits, limits.depth.min(Limits::DEEPEST), &mut left)
    }

    fn read(
        headers: Headers,
        octets: Bytes,
        limits: &Limits,
        depth: usize,
        left: &mut usize,
    ) -> Result<Self, BodyError> {
        let content_type = headers.get()?.unwrap_or_else(|| ContentType::new("text", "plain"));
        let mut encoding = None;
        for coding in headers.all::<ContentEncoding>() {
            let coding = coding?;
            if !coding.is_identity() {
                encoding.get_or_insert(coding.0);
            }
        }
        let mut entity = Self {
            content_type,
            disposition: headers.get()?,
            id: headers.get()?,
            encoding,
            headers,
            octets,
            parts: Vec::new(),
        };
        if entity.is_multipart() && entity.encoding.is_none() {
            let depth = depth.checked_sub(1).ok_or(BodyError::TooDeep(limits.depth.min(Limits::DEEPEST)))?;
            let boundary = entity.boundary()?;
            for part in
                split(&entity.octets, &boundary, *left).map_err(|stop| stop.error(&boundary, limits))?
            {
                *left = left.checked_sub(1).ok_or(BodyError::TooManyParts(limits.parts))?;
                let Head { headers, body, .. } = Headers::parse(part.clone(), 0, limits)?;
                if headers.malformed_line().is_some() {
                    return Err(ParseError { kind: ParseErrorKind::PartField, at: 0 }.into());
                }
                let body = part.slice(body.min(part.len())..);
                entity.parts.push(Self::read(headers, body, limits, depth, left)?);
            }
        }
        Ok(entity)
    }

    fn boundary(&self) -> Result<String, BodyError> {
        let boundary = self.content_type.params().unquoted("boundary").ok_or(BodyError::Boundary)?;
        let fine = (1..=70).contains(&boundary.len())
            && !boundary.ends_with(' ')
            && boundary.bytes().all(is_boundary);
        if fine { Ok(boundary.into_owned()) } else { Err(BodyError::Boundary) }
    }

    /// The type.
    pub fn content_type(&self) -> &ContentType {
        &self.content_type
    }

    /// Whether the type is this one, without regard to case and parameters.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.content_type.is(kind, subtype)
    }

    /// Whether it has parts of its own.
    pub fn is_multipart(&self) -> bool {
        self.content_type.kind().eq_ignore_ascii_case("multipart")
    }

    /// What to do with it: as its field says; without one `session` for SDP and `render` for all else
    /// (RFC 3261 §20.11).
    pub fn disposition(&self) -> ContentDisposition {
        let default = if self.is("application", "sdp") { "session" } else { "render" };
        self.disposition.clone().unwrap_or_else(|| ContentDisposition::new(default))
    }

    /// Its Content-ID.
    pub fn id(&self) -> Option<&ContentId> {
        self.id.as_ref()
    }

    /// All fields: the message's, or the part's.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The octets as they arrived, coded as [`Entity::plain`] says.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The octets, if no coding hides them.
    ///
    /// # Errors
    /// [`BodyError::Encoded`] names the coding.
    pub fn plain(&self) -> Result<&Bytes, BodyError> {
        match &self.encoding {
            Some(coding) => Err(BodyError::Encoded(coding.clone())),
            None => Ok(&self.octets),
        }
    }

    /// The parts of a multipart; none of anything else.
    pub fn parts(&self) -> &[Self] {
        &self.parts
    }

    /// What lies at the ends of the tree, in order: every part that is no multipart, or the whole body.
    pub fn leaves(&self) -> Vec<&Self> {
        if !self.is_multipart() || self.encoding.is_some() {
            return [self].into();
        }
        self.parts.iter().flat_map(Self::leaves).collect()
    }

    /// The body of this type: the first that a mixed multipart has, the last that an alternative one has, since
    /// those are ordered by how much they say (RFC 2046 §5.1.4).
    pub fn find(&self, kind: &str, subtype: &str) -> Option<&Self> {
        if self.is(kind, subtype) {
            return Some(self);
        }
        let mut found = self.parts.iter().filter_map(|part| part.find(kind, subtype));
        if self.is("multipart", "alternative") { found.last() } else { found.next() }
    }

    /// Of alternatives, the last that `understood` holds for; anything else is its own only choice
    /// (RFC 2046 §5.1.4, RFC 5621 §4).
    pub fn choose(&self, understood: impl Fn(&Self) -> bool) -> Option<&Self> {
        if self.is("multipart", "alternative") {
            self.parts.iter().rev().find(|part| understood(part))
        } else {
            Some(self).filter(|whole| understood(whole))
        }
    }

    /// The body that a `cid:` URL names (RFC 2392, RFC 8262).
    pub fn named(&self, url: &str) -> Option<&Self> {
        if self.id.as_ref().is_some_and(|id| id.is_named_by(url)) {
            return Some(self);
        }
        self.parts.iter().find_map(|part| part.named(url))
    }

    /// The part that a related multipart begins with: the one its `start` names, or the first (RFC 2387 §3.2).
    pub fn root(&self) -> Option<&Self> {
        match self.content_type.params().unquoted("start") {
            Some(start) if self.is("multipart", "related") => {
                let name = ContentId::parse(&start).ok()?;
                self.parts.iter().find(|part| part.id.as_ref() == Some(&name))
            }
            _ => self.parts.first(),
        }
    }

    /// The message in a `message/sip` body (RFC 3261 §23.4).
    ///
    /// # Errors
    /// If the body is of another type, coded, or no message.
    pub fn message(&self, limits: &Limits) -> Result<Message, BodyError> {
        self.expect_type("sip")?;
        Ok(Message::parse(self.plain()?.clone(), limits)?)
    }

    /// The piece of a message in a `message/sipfrag` body (RFC 3420).
    ///
    /// # Errors
    /// If the body is of another type, coded, or no piece of a message.
    pub fn fragment(&self, limits: &Limits) -> Result<Fragment, BodyError> {
        self.expect_type("sipfrag")?;
        Fragment::parse(self.plain()?, limits)
    }

    fn expect_type(&self, subtype: &str) -> Result<(), BodyError> {
        if self.is("message", subtype) {
            return Ok(());
        }
        let error = crate::ValueError::new("message/sip or message/sipfrag", 0);
        Err(HeaderError::Malformed { name: HeaderName::CONTENT_TYPE, error }.into())
    }
}

/// `bchars` (RFC 2046 §5.1.1).
fn is_boundary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?' | b' ')
        // and what a token may hold besides, since unquoted boundaries are tokens
        || crate::syntax::is_token(byte)
}

enum Stop {
    Cut,
    Many,
}

impl Stop {
    fn error(self, boundary: &str, limits: &Limits) -> BodyError {
        match self {
            Self::Cut => BodyError::Delimiter(boundary.to_owned()),
            Self::Many => BodyError::TooManyParts(limits.parts),
        }
    }
}

/// The parts between delimiter lines, in one pass: preamble and epilogue are passed over (RFC 2046 §5.1.1).
fn split(body: &Bytes, boundary: &str, limit: usize) -> Result<Vec<Bytes>, Stop> {
    let mut mark = String::with_capacity(boundary.len().saturating_add(2));
    mark.push_str("--");
    mark.push_str(boundary);
    let mut parts = Vec::new();
    let mut from: Option<usize> = None;
    for at in memchr::memmem::find_iter(body, mark.as_bytes()) {
        let before = body.get(..at).unwrap_or_default();
        if !before.is_empty() && !before.ends_with(b"\n") {
            continue;
        }
        let rest = body.get(at.saturating_add(mark.len())..).unwrap_or_default();
        let last = rest.starts_with(b"--");
        let line = memchr::memchr(b'\n', rest).map(|end| end.saturating_add(1));
        let padding = rest.get(if last { 2 } else { 0 }..line.unwrap_or(rest.len())).unwrap_or_default();
        if !padding.iter().all(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n')) {
            continue; // a longer boundary that begins with this one
        }
        if let Some(from) = from {
            if parts.len() >= limit {
                return Err(Stop::Many);
            }
            // The line end before the delimiter is the delimiter's.
            let end = before.strip_suffix(b"\n").unwrap_or(before);
            let end = end.strip_suffix(b"\r").unwrap_or(end).len();
            parts.push(body.slice(from.min(end)..end));
        }
        if last {
            return if from.is_some() { Ok(parts) } else { Err(Stop::Cut) };
        }
        from = Some(at.saturating_add(mark.len()).saturating_add(line.ok_or(Stop::Cut)?));
    }
    Err(Stop::Cut)
}

macro_rules! entities {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// The body with its parts.
            ///
            /// # Errors
            /// If its fields or its parts cannot be read.
            pub fn entity(&self, limits: &Limits) -> Result<Entity, BodyError> {
                Entity::of(&self.headers, self.body(), limits)
            }
        }
    )*};
}

entities!(Request Response);

/// A multipart in the making (RFC 5621).
///
/// ```
/// use sip_message::body::MultipartBuilder;
/// use sip_message::headers::{ContentDisposition, ContentType};
/// let (content_type, body) = MultipartBuilder::new("mixed")
///     .part(&ContentType::new("application", "sdp"), "v=0\r\n")
///     .part(&ContentType::new("text", "plain"), "hello")
///     .field(&ContentDisposition::new("render").with_param("handling", Some("optional")))
///     .build()?;
/// assert!(content_type.is("multipart", "mixed"));
/// assert!(body.ends_with(b"--\r\n"));
/// # Ok::<(), sip_message::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct MultipartBuilder {
    subtype: String,
    parts: Vec<(Headers, Bytes)>,
}

impl MultipartBuilder {
    /// A multipart of this subtype: `mixed`, `alternative`, `related`.
    pub fn new(subtype: &str) -> Self {
        Self { subtype: subtype.into(), parts: Vec::new() }
    }

    /// Adds a part.
    pub fn part(mut self, content_type: &ContentType, octets: impl Into<Bytes>) -> Self {
        let mut headers = Headers::new();
        headers.push_back(content_type);
        self.parts.push((headers, octets.into()));
        self
    }

    /// Adds a field to the last part: its Content-Disposition, its Content-ID.
    pub fn field<H: Header>(mut self, field: &H) -> Self {
        if let Some((headers, _)) = self.parts.last_mut() {
            headers.push_back(field);
        }
        self
    }

    /// The Content-Type with its boundary, and the body. The boundary is computed from the parts, so that it
    /// occurs in none of them.
    ///
    /// # Errors
    /// If there is no part: a multipart has one at least.
    pub fn build(self) -> Result<(ContentType, Bytes), BuildError> {
        if self.parts.is_empty() {
            return Err(BuildError::NoPart);
        }
        let boundary = self.boundary();
        let mut body = Vec::new();
        for (headers, octets) in &self.parts {
            body.extend_from_slice(b"--");
            body.extend_from_slice(boundary.as_bytes());
            body.extend_from_slice(b"\r\n");
            for (name, value) in headers.iter() {
                body.extend_from_slice(name.as_bytes());
                body.extend_from_slice(b": ");
                body.extend_from_slice(value);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(octets);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--");
        body.extend_from_slice(boundary.as_bytes());
        body.extend_from_slice(b"--\r\n");
        let content_type =
            ContentType::new("multipart", &self.subtype).with_param("boundary", Some(&boundary));
        Ok((content_type, Bytes::from(body)))
    }

    fn boundary(&self) -> String {
        // FNV-1a over all parts; a part that holds the result makes the next seed be tried.
        let mut seed = 0xcbf2_9ce4_8422_2325u64;
        for octet in self.parts.iter().flat_map(|(_, octets)| octets.iter()) {
            seed = (seed ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        loop {
            let mut boundary = String::new();
            let _ = write!(boundary, "part-{seed:016x}");
            let taken = |octets: &Bytes| memchr::memmem::find(octets, boundary.as_bytes()).is_some();
            if !self.parts.iter().any(|(_, octets)| taken(octets)) {
                return boundary;
            }
            seed = seed.wrapping_add(1);
        }
    }
}
