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

use super::imdn;
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

/// Somebody who writes or is written to (§4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpimAddress {
    /// The name to show.
    pub name: Option<String>,
    /// The URI.
    pub uri: String,
}

impl CpimAddress {
    /// Somebody of this name.
    pub fn new(name: Option<&str>, uri: &str) -> Self {
        Self { name: name.map(Into::into), uri: uri.into() }
    }

    /// Reads `[Formal-name] "<" URI ">"`; the name may be in quotes, with escapes.
    pub fn parse(raw: &str) -> Option<Self> {
        let raw = raw.trim();
        let (name, rest) = match raw.strip_prefix('"') {
            Some(quoted) => {
                let (inside, rest) = quoted.split_at_checked(closing_quote(quoted)?)?;
                (inside, rest.strip_prefix('"')?.trim_start())
            }
            None => raw.split_at_checked(raw.find('<')?)?,
        };
        let uri = rest.strip_prefix('<')?.strip_suffix('>')?;
        let name = unescape(name.trim()).into_owned();
        let fine = !uri.is_empty() && !uri.contains(['<', '>', ' ']);
        fine.then(|| Self {
            name: Some(name).filter(|name| !name.is_empty()),
            uri: unescape(uri).into_owned(),
        })
    }

    /// As it is written. Characters that no URI has are left out.
    fn raw(&self) -> String {
        let uri: String = self.uri.chars().filter(|c| !c.is_control() && !"<> \\\"".contains(*c)).collect();
        match &self.name {
            Some(name) => format!("\"{}\" <{uri}>", escape(name, true)),
            None => format!("<{uri}>"),
        }
    }
}

fn closing_quote(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
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

    /// Reads a message, and refuses one that requires more than RFC 3862 and RFC 5438 have.
    ///
    /// # Errors
    /// If it is none, passes a limit, or requires what is not understood.
    pub fn parse(octets: &Bytes) -> Result<Self, CpimError> {
        Self::parse_understanding(octets, |_, _| false)
    }

    /// Reads a message; `understood` says which headers and features, by namespace and name, may be required beside ours.
    ///
    /// # Errors
    /// As [`Cpim::parse`].
    pub fn parse_understanding(
        octets: &Bytes,
        understood: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, CpimError> {
        let mut message = Self { headers: Vec::new(), fields: Vec::new(), body: Bytes::new() };
        let mut lines = Lines { octets, at: 0, line: 0 };
        while let Some(line) = lines.next()? {
            if message.headers.len() >= MAX_HEADERS {
                return Err(CpimError::TooMany("headers"));
            }
            message.headers.push(header(line).ok_or(CpimError::Line(lines.line))?);
        }
        while let Some(line) = lines.next()? {
            if message.fields.len() >= MAX_HEADERS {
                return Err(CpimError::TooMany("fields"));
            }
            if line.starts_with([' ', '\t']) {
                // A field goes on (RFC 5322 §2.2.3).
                let (_, value) = message.fields.last_mut().ok_or(CpimError::Line(lines.line))?;
                *value = clean(&format!("{value} {}", line.trim()));
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(CpimError::Line(lines.line))?;
            let name = name.trim_end();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic()) {
                return Err(CpimError::Line(lines.line));
            }
            message.fields.push((name.into(), clean(value)));
        }
        message.body = octets.slice(lines.at.min(octets.len())..);
        message.check_required(understood)?;
        Ok(message)
    }

    fn check_required(&self, understood: impl Fn(&str, &str) -> bool) -> Result<(), CpimError> {
        let mut names = Namespaces::default();
        for header in &self.headers {
            let (namespace, name) = names.resolve(&header.name);
            if (namespace, name) == (NAMESPACE, "Require") {
                for required in header.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    let (namespace, name) = names.resolve(required);
                    let ours = (namespace == NAMESPACE && OURS.contains(&name))
                        || (namespace == imdn::NAMESPACE && imdn::HEADERS.contains(&name));
                    if !ours && !understood(namespace, name) {
                        return Err(CpimError::Required(required.into()));
                    }
                }
            }
            names.declare(header);
        }
        Ok(())
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
    pub(super) fn push_address_of(&mut self, namespace: &str, prefix: &str, name: &str, who: &CpimAddress) {
        let name = self.name_of(namespace, prefix, name);
        self.push_raw(&name, String::new(), who.raw());
    }

    /// Adds an address in a header of another namespace, before those of the same name.
    pub(super) fn insert_address_of(&mut self, namespace: &str, prefix: &str, name: &str, who: &CpimAddress) {
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
    pub(super) fn remove_first(&mut self, namespace: &str, name: &str) {
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

/// The prefixes that are declared up to some header (§3.4); the last one counts.
#[derive(Default)]
struct Namespaces<'a>(Vec<(Option<&'a str>, &'a str)>);

impl<'a> Namespaces<'a> {
    fn resolve<'n>(&self, name: &'n str) -> (&'a str, &'n str) {
        let (prefix, local) = match name.split_once('.') {
            Some((prefix, local)) => (Some(prefix), local),
            None => (None, name),
        };
        let declared =
            self.0.iter().rev().find(|(known, _)| *known == prefix).map(|(_, namespace)| *namespace);
        // A prefix that nobody has declared names nothing.
        (declared.unwrap_or(if prefix.is_some() { "" } else { NAMESPACE }), local)
    }

    fn declare(&mut self, header: &'a CpimHeader) {
        if self.resolve(&header.name) != (NAMESPACE, "NS") {
            return;
        }
        if let Some((prefix, uri)) = header.value.trim().strip_suffix('>').and_then(|it| it.split_once('<')) {
            let prefix = Some(prefix.trim()).filter(|prefix| !prefix.is_empty());
            self.0.push((prefix, uri));
        }
    }
}

/// Lines up to an empty one, whose end is `at`.
struct Lines<'a> {
    octets: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<&'a str>, CpimError> {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        let end = memchr(rest).ok_or(CpimError::Cut)?;
        self.at = self.at.saturating_add(end).saturating_add(1);
        self.line = self.line.saturating_add(1);
        if self.at > MAX_HEADER_OCTETS {
            return Err(CpimError::TooMany("octets before the content"));
        }
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| CpimError::NotUtf8)?;
        Ok(Some(line).filter(|line| !line.is_empty()))
    }
}

fn memchr(octets: &[u8]) -> Option<usize> {
    octets.iter().take(MAX_HEADER_OCTETS).position(|octet| *octet == b'\n')
}

/// `Name:;parameters value`. More or less than one space is taken.
fn header(line: &str) -> Option<CpimHeader> {
    let (name, rest) = line.split_once(':')?;
    let (parameters, value) = if rest.starts_with(';') { rest.split_once(' ')? } else { ("", rest) };
    let name_is_one = !name.is_empty() && name.chars().all(|c| is_name_character(c) || c == '.');
    let plain = |text: &str| !text.chars().any(|c| c.is_ascii_control());
    let fine = name_is_one && plain(parameters) && plain(value);
    fine.then(|| CpimHeader {
        name: name.into(),
        parameters: parameters.into(),
        value: value.trim_matches(' ').into(),
    })
}

/// NAMECHAR of §3.6.
fn is_name_character(c: char) -> bool {
    c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}.".contains(c)
}

/// A value of a field in one line.
fn clean(value: &str) -> String {
    let plain: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().into()
}

/// §2.3.1: what must be escaped, and nothing else.
fn escape(text: &str, quoted: bool) -> String {
    let mut out = String::new();
    for c in text.trim_matches(' ').chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' if quoted => out.push_str("\\\""),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => {
                let code = u32::from(c);
                out.push_str(&format!("\\u{code:04x}"));
            }
            c => out.push(c),
        }
    }
    out
}

/// §2.3: all that is an escape; of one that is none, the character behind the backslash stays.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('u') => {
                let code = rest.as_str().get(..4).filter(|code| code.bytes().all(|c| c.is_ascii_hexdigit()));
                // Halves of a pair of UTF-16 are no characters, and stand for nothing.
                match code.and_then(|code| u32::from_str_radix(code, 16).ok()) {
                    Some(code) => {
                        rest.nth(3);
                        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    None => out.push('u'),
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out.into()
}
