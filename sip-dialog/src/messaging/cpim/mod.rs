//! `message/cpim`: an instant message with who writes to whom and when (RFC 3862), which stays whole through servers and
//! gateways.
//!
//! ```
//! use sip_dialog::messaging::cpim::{Cpim, CpimAddress, SUBJECT};
//!
//! let mut message = Cpim::new("text/plain; charset=utf-8", "Hello");
//! message.push_from(&CpimAddress::new(Some("Winnie the Pooh"), "im:pooh@100akerwood.com"));
//! message.push_to(&CpimAddress::new(None, "im:tigger@100akerwood.com"));
//! message.push(SUBJECT, Some("en"), "honey");
//! let read = Cpim::parse(&message.to_body().octets)?;
//! assert_eq!(read.from().unwrap().name.as_deref(), Some("Winnie the Pooh"));
//! assert_eq!(read.body, "Hello");
//! # Ok::<(), sip_dialog::messaging::cpim::CpimError>(())
//! ```

use std::borrow::Cow;

use bytes::Bytes;

mod read;
mod text;

pub use text::CpimAddress;

use read::Namespaces;
use text::{clean, escape, is_name_character, unescape};

use crate::event::Body;

/// The namespace of the headers of RFC 3862, which those without a prefix are of (§4).
pub const NAMESPACE: &str = "urn:ietf:params:cpim-headers:";
/// What the message is about.
pub const SUBJECT: &str = "Subject";
/// Octets of headers before the content, and of fields in it: more is refused. Of a large file only the rest is large.
pub const MAX_HEADER_OCTETS: usize = 64 * 1024;
/// Headers, and fields of the content.
pub const MAX_HEADERS: usize = 256;

/// The headers of RFC 3862, which all who read a message understand.
const OURS: [&str; 7] = ["From", "To", "cc", "DateTime", SUBJECT, "NS", "Require"];
const CONTENT_TYPE: &str = "Content-Type";

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpimError {
    /// A line is no header.
    #[error("line {0} is no header")]
    Line(usize),
    /// Headers are not in UTF-8.
    #[error("the headers are not in UTF-8")]
    NotUtf8,
    /// An empty line must end the headers, and another the fields of the content.
    #[error("the empty line after the headers or after the fields of the content is missing")]
    Cut,
    /// It has too many of something.
    #[error("the message has too many {0}")]
    TooMany(&'static str),
    /// It requires what nobody here understands (§3.5): refuse the message.
    #[error("the message requires {0}, which is not understood")]
    Required(String),
}

/// A header (§2.2), as it came: intermediaries must not change one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpimHeader {
    /// The name with its prefix, in the case as written.
    name: String,
    /// What stands between the colon and the space, such as `;lang=fr`.
    parameters: String,
    /// The value with its escapes.
    value: String,
}

impl CpimHeader {
    /// The name, with a prefix that this message alone gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value as it is written.
    pub fn raw(&self) -> &str {
        &self.value
    }

    /// The value (§2.3).
    pub fn value(&self) -> Cow<'_, str> {
        unescape(&self.value)
    }

    /// The language of the value (§3.3).
    pub fn language(&self) -> Option<&str> {
        self.parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("lang="))
    }
}

/// A message: headers, and a content with fields of its own (§2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpim {
    headers: Vec<CpimHeader>,
    /// Fields of the content, by name and value.
    fields: Vec<(String, String)>,
    /// The content: a piece of what was read, not a copy.
    pub body: Bytes,
}

impl Cpim {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "message/cpim";

    /// A message with this content.
    pub fn new(content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut message = Self { headers: Vec::new(), fields: Vec::new(), body: body.into() };
        message.push_field(CONTENT_TYPE, content_type);
        message
    }

    /// All headers as they came, declarations of namespaces among them.
    pub fn headers(&self) -> &[CpimHeader] {
        &self.headers
    }

    /// The headers of this name in this namespace, whatever their prefix (§3.4).
    pub fn all<'a>(&'a self, namespace: &'a str, name: &'a str) -> impl Iterator<Item = &'a CpimHeader> {
        let mut names = Namespaces::default();
        self.headers.iter().filter(move |header| {
            let found = names.resolve(&header.name) == (namespace, name);
            names.declare(header);
            found
        })
    }

    fn addresses<'a>(&'a self, name: &'a str) -> impl Iterator<Item = CpimAddress> + 'a {
        self.all(NAMESPACE, name).filter_map(|header| CpimAddress::parse(&header.value))
    }

    /// Who writes (§4.1).
    pub fn from(&self) -> Option<CpimAddress> {
        self.addresses("From").next()
    }

    /// To whom (§4.2).
    pub fn to(&self) -> Vec<CpimAddress> {
        self.addresses("To").collect()
    }

    /// Who gets a copy (§4.3).
    pub fn cc(&self) -> Vec<CpimAddress> {
        self.addresses("cc").collect()
    }

    /// When it was sent (§4.4): a date and time of RFC 3339, as written.
    pub fn date_time(&self) -> Option<Cow<'_, str>> {
        self.all(NAMESPACE, "DateTime").next().map(CpimHeader::value)
    }

    /// What it is about (§4.5), in this language if there is one, or else in the first.
    pub fn subject(&self, language: Option<&str>) -> Option<Cow<'_, str>> {
        let mut all = self.all(NAMESPACE, SUBJECT).peekable();
        let first = all.peek().copied();
        let wanted = all.find(|header| language.is_some() && header.language() == language);
        wanted.or(first).map(CpimHeader::value)
    }

    /// Adds a header of RFC 3862.
    pub fn push(&mut self, name: &str, language: Option<&str>, value: &str) {
        let language = language.map(|language| language.chars().filter(|c| is_name_character(*c)).collect());
        let parameters = language.map(|language: String| format!(";lang={language}")).unwrap_or_default();
        self.push_raw(name, parameters, escape(value, false));
    }

    /// Says who writes.
    pub fn push_from(&mut self, who: &CpimAddress) {
        self.push_raw("From", String::new(), who.raw());
    }

    /// Says to whom.
    pub fn push_to(&mut self, who: &CpimAddress) {
        self.push_raw("To", String::new(), who.raw());
    }

    /// Says who gets a copy.
    pub fn push_cc(&mut self, who: &CpimAddress) {
        self.push_raw("cc", String::new(), who.raw());
    }

    /// Adds a header of another namespace, which is declared with this prefix if it has none yet (§3.4).
    pub fn push_of(&mut self, namespace: &str, prefix: &str, name: &str, value: &str) {
        let name = self.name_of(namespace, prefix, name);
        self.push_raw(&name, String::new(), escape(value, false));
    }

    /// Adds an address in a header of another namespace.
    pub(in crate::messaging) fn push_address_of(
        &mut self,
        namespace: &str,
        prefix: &str,
        name: &str,
        who: &CpimAddress,
    ) {
        let name = self.name_of(namespace, prefix, name);
        self.push_raw(&name, String::new(), who.raw());
    }

    /// Adds an address in a header of another namespace, before those of the same name.
    pub(in crate::messaging) fn insert_address_of(
        &mut self,
        namespace: &str,
        prefix: &str,
        name: &str,
        who: &CpimAddress,
    ) {
        self.push_address_of(namespace, prefix, name, who);
        if let (Some(first), Some(last)) = (self.position(namespace, name), self.headers.pop()) {
            self.headers.insert(first.min(self.headers.len()), last);
        }
    }

    fn position(&self, namespace: &str, name: &str) -> Option<usize> {
        let mut names = Namespaces::default();
        self.headers.iter().position(|header| {
            let found = names.resolve(&header.name) == (namespace, name);
            names.declare(header);
            found
        })
    }

    fn name_of(&mut self, namespace: &str, prefix: &str, name: &str) -> String {
        let mut names = Namespaces::default();
        self.headers.iter().for_each(|header| names.declare(header));
        if let Some((Some(known), _)) = names.0.iter().rev().find(|(_, known)| *known == namespace) {
            return format!("{known}.{name}");
        }
        let prefix: String = prefix.chars().filter(|c| is_name_character(*c)).collect();
        let namespace = CpimAddress::new(None, namespace).raw();
        self.push_raw("NS", String::new(), format!("{prefix} {namespace}"));
        format!("{prefix}.{name}")
    }

    fn push_raw(&mut self, name: &str, parameters: String, value: String) {
        let name = name.chars().filter(|c| is_name_character(*c) || *c == '.').collect();
        self.headers.push(CpimHeader { name, parameters, value });
    }

    /// Takes the first header of a name in a namespace out.
    pub(in crate::messaging) fn remove_first(&mut self, namespace: &str, name: &str) {
        if let Some(at) = self.position(namespace, name) {
            self.headers.remove(at);
        }
    }

    /// The fields of the content, by name and value.
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// The value of a field of the content; case is the same.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Adds a field to the content.
    pub fn push_field(&mut self, name: &str, value: &str) {
        let name = name.chars().filter(|c| c.is_ascii_graphic() && *c != ':').collect();
        self.fields.push((name, clean(value)));
    }

    /// The type of the content; one that says none is `text/plain` (RFC 2045 §5.2).
    pub fn content_type(&self) -> &str {
        self.field(CONTENT_TYPE).unwrap_or("text/plain")
    }

    /// The message as octets.
    pub fn to_octets(&self) -> Bytes {
        let mut out = String::new();
        for CpimHeader { name, parameters, value } in &self.headers {
            for part in [name, ":", parameters, " ", value, "\r\n"] {
                out.push_str(part);
            }
        }
        out.push_str("\r\n");
        for (name, value) in &self.fields {
            for part in [name, ": ", value, "\r\n"] {
                out.push_str(part);
            }
        }
        out.push_str("\r\n");
        let mut octets = out.into_bytes();
        octets.extend_from_slice(&self.body);
        octets.into()
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_octets() }
    }
}
