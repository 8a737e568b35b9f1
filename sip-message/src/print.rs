//! Other ways to print a message than as it came: canonical, and compact.

use crate::headers::Headers;
use crate::syntax::trim;
use crate::{HeaderName, Message, Request, Response};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// How a message is laid out on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// Long names in their usual spelling, `name: value`, no folds, values as their types print them; a value that
    /// its type cannot read stays as it is. Two messages that mean the same print the same more often.
    Canonical,
    /// As short as it gets without a change of meaning: compact names, no folds, no white space after the colon,
    /// neighbouring lines of a list on one line. For a request that would pass the path's MTU (RFC 3261 §18.1.1).
    Compact,
}

/// Whether the value of a field may share a line with the one above it.
fn joins(name: Option<HeaderName>, value: &str) -> bool {
    name.is_some_and(HeaderName::is_list) && !value.is_empty()
}

/// The value with folds undone; `None` if it is no UTF-8.
fn flat(value: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(value).ok()?;
    let mut flat = String::with_capacity(text.len());
    for part in text.split(['\r', '\n']).map(trim).filter(|part| !part.is_empty()) {
        if !flat.is_empty() {
            flat.push(' ');
        }
        flat.push_str(part);
    }
    Some(flat)
}

fn canonical(name: HeaderName, value: &str) -> Option<String> {
    if !name.is_list() {
        return name.reprint(trim(value)).ok();
    }
    let mut out = String::with_capacity(value.len());
    for element in crate::syntax::elements(value) {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(&name.reprint(element).ok()?);
    }
    Some(out)
}

fn print_headers(headers: &Headers, layout: Layout, out: &mut Vec<u8>) {
    let mut above: Option<HeaderName> = None;
    for (spelled, value) in headers.iter() {
        let name = HeaderName::find(spelled.as_bytes());
        let text = flat(value);
        if layout == Layout::Compact
            && above.is_some()
            && above == name
            && let Some(text) = text.as_deref().filter(|text| joins(name, text))
            && out.ends_with(b"\r\n")
        {
            out.truncate(out.len().saturating_sub(2));
            out.push(b',');
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
            continue;
        }
        above = name.filter(|_| text.as_deref().is_some_and(|text| !text.is_empty()));
        let mut letter = [0u8; 4];
        let printed = match (layout, name) {
            (Layout::Compact, Some(name)) => match name.compact() {
                Some(compact) => compact.encode_utf8(&mut letter),
                None => name.as_str(),
            },
            (Layout::Canonical, Some(name)) => name.as_str(),
            _ => spelled,
        };
        out.extend_from_slice(printed.as_bytes());
        out.extend_from_slice(if layout == Layout::Compact { b":" } else { b": " });
        let typed = match (layout, name, text.as_deref()) {
            (Layout::Canonical, Some(name), Some(text)) => canonical(name, text),
            _ => None,
        };
        match typed.or(text) {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => out.extend(value.iter().filter(|octet| !matches!(octet, b'\r' | b'\n'))),
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

impl Request {
    /// The request in another layout. It reads back as the same request.
    ///
    /// A request with a line that is no header field, or a Request-URI that is no UTF-8, cannot be laid out anew
    /// and comes as it is.
    pub fn print(&self, layout: Layout) -> Bytes {
        if self.headers.malformed_line().is_some() || self.uri_text().is_empty() || !self.version {
            return self.to_bytes();
        }
        let mut out = Vec::with_capacity(self.body().len().saturating_add(1024));
        for part in [self.method().as_str(), " ", self.uri_text(), " SIP/2.0\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        print_headers(&self.headers, layout, &mut out);
        out.extend_from_slice(self.body());
        Bytes::from(out)
    }
}

impl Response {
    /// The response in another layout. It reads back as the same response.
    ///
    /// A response with a line that is no header field, or a reason phrase with control characters, cannot be laid
    /// out anew and comes as it is.
    pub fn print(&self, layout: Layout) -> Bytes {
        if self.headers.malformed_line().is_some() || !self.regular || !self.version {
            return self.to_bytes();
        }
        let mut out = Vec::with_capacity(self.body().len().saturating_add(1024));
        let code = alloc::format!("SIP/2.0 {} ", self.status());
        out.extend_from_slice(code.as_bytes());
        out.extend_from_slice(self.reason().as_bytes());
        out.extend_from_slice(b"\r\n");
        print_headers(&self.headers, layout, &mut out);
        out.extend_from_slice(self.body());
        Bytes::from(out)
    }
}

impl Message {
    /// The message in another layout: see [`Request::print`] and [`Response::print`].
    pub fn print(&self, layout: Layout) -> Bytes {
        match self {
            Self::Request(request) => request.print(layout),
            Self::Response(response) => response.print(layout),
        }
    }
}
