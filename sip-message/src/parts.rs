//! The parts of any field's value, for programs that show or search fields that they do not know beforehand.

use crate::fields::AuthParams;
use crate::headers::Header;
use crate::params::Params;
use crate::syntax::{split_element, trim, unquote};
use crate::{HeaderName, Uri, ValueError};
use alloc::string::String;
use alloc::vec::Vec;

/// One part of a value: what stands behind a name such as `host` or `params`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A text, its quotes and the escapes within them undone.
    Text(String),
    /// A number.
    Number(u64),
    /// A parameter without a value.
    Flag,
    /// Several values.
    List(Vec<Part>),
    /// Parts with names of their own, such as parameters. A name may come twice if it stands there twice.
    Group(Vec<(String, Part)>),
}

/// The parts of one element of a field, by name.
pub type Parts = Vec<(&'static str, Part)>;

/// One element of a field's value (RFC 3261 §7.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Where in the field's value it starts.
    pub at: usize,
    /// Its parts; or what is wrong with it, and where in the field's value.
    pub parts: Result<Parts, ValueError>,
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Part {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Part {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Part {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u8> for Part {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Part {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<&Params> for Part {
    fn from(params: &Params) -> Self {
        let value = |text: &str| unquote(text).map_or_else(|| Self::from(text), |text| Self::from(&*text));
        Self::Group(params.iter().map(|(name, text)| (name.into(), text.map_or(Self::Flag, value))).collect())
    }
}

impl From<&AuthParams> for Part {
    fn from(params: &AuthParams) -> Self {
        let value = |text: &str| unquote(text).map_or_else(|| Self::from(text), |text| Self::from(&*text));
        Self::Group(params.iter().map(|(name, text)| (name.into(), value(text))).collect())
    }
}

/// `uri`: the text, and `uri_parts`: scheme, user, host, port, parameters and headers as far as they are there.
pub(crate) fn uri_parts(uri: &Uri, parts: &mut Parts) {
    let mut inner: Vec<(String, Part)> = Vec::new();
    inner.push(("scheme".into(), uri.scheme().into()));
    if let Some(user) = uri.user_decoded() {
        inner.push(("user".into(), Part::from(&*user)));
    }
    if !uri.host().is_empty() {
        inner.push(("host".into(), uri.host().into()));
    }
    if let Some(port) = uri.port() {
        inner.push(("port".into(), port.into()));
    }
    let group = |all: Vec<(&str, Option<&str>)>| {
        all.into_iter().map(|(name, value)| (name.into(), value.map_or(Part::Flag, Part::from))).collect()
    };
    let params: Vec<_> = uri.params().collect();
    if !params.is_empty() {
        inner.push(("params".into(), Part::Group(group(params))));
    }
    let headers: Vec<_> = uri.headers().map(|(name, value)| (name, Some(value))).collect();
    if !headers.is_empty() {
        inner.push(("headers".into(), Part::Group(group(headers))));
    }
    parts.push(("uri", uri.as_str().into()));
    parts.push(("uri_parts", Part::Group(inner)));
}

/// `params`, if there are any.
pub(crate) fn params_part(params: &Params, parts: &mut Parts) {
    if !params.is_empty() {
        parts.push(("params", params.into()));
    }
}

/// A value that is one text.
pub(crate) fn printed<H: Header>(header: &H) -> Parts {
    let mut text = String::new();
    header.write(&mut text);
    Vec::from([("value", Part::Text(text))])
}

/// Where a part of a text starts in it.
fn within(text: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

/// The value with its folds undone, and where each piece of it came from: (place in the text, place in the value).
fn unfold(value: &str) -> (String, Vec<(usize, usize)>) {
    let mut flat = String::with_capacity(value.len());
    let mut pieces = Vec::new();
    let mut from = 0usize;
    for line in value.split_inclusive('\n') {
        let piece = trim(line);
        let blank = within(line, piece);
        if !piece.is_empty() {
            if !flat.is_empty() {
                flat.push(' ');
            }
            pieces.push((flat.len(), from.saturating_add(blank)));
            flat.push_str(piece);
        }
        from = from.saturating_add(line.len());
    }
    (flat, pieces)
}

/// Reads the elements of a field's value, folds included.
pub(crate) fn read<H: Header>(value: &[u8]) -> Vec<Element> {
    let text = match core::str::from_utf8(value) {
        Ok(text) => text,
        Err(error) => {
            let wrong = ValueError::new("UTF-8 text", error.valid_up_to());
            return Vec::from([Element { at: 0, parts: Err(wrong) }]);
        }
    };
    let (flat, pieces) = unfold(text);
    let place = |at: usize| {
        let (from, piece) = pieces.iter().rfind(|(from, _)| *from <= at).copied().unwrap_or_default();
        at.saturating_sub(from).saturating_add(piece)
    };
    let element = |text: &str, at: usize| {
        let parts = H::parse(text).map(|header| header.parts());
        let wrong = |error: ValueError| ValueError::new(error.expected, place(at.saturating_add(error.at)));
        Element { at: place(at), parts: parts.map_err(wrong) }
    };
    if !H::NAME.is_list() {
        return Vec::from([element(trim(&flat), 0)]);
    }
    let mut elements = Vec::new();
    let mut rest = Some(&*flat);
    while let Some(text) = rest {
        let at = flat.len().saturating_sub(text.len());
        let (one, behind) = split_element(text);
        let trimmed = trim(one);
        if !trimmed.is_empty() {
            elements.push(element(trimmed, at.saturating_add(within(one, trimmed))));
        }
        rest = behind;
    }
    elements
}

impl HeaderName {
    /// Reads a field's value as it stands in the message (folds included, lists not split) with the field's type,
    /// and gives the parts of each element.
    ///
    /// ```
    /// use sip_message::{HeaderName, Part};
    /// let elements = HeaderName::VIA.elements(b"SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b:x");
    /// let parts = elements[0].parts.as_ref().unwrap();
    /// assert!(parts.contains(&("host", Part::Text("a".into()))));
    /// assert_eq!(elements[1].at, 31);
    /// assert_eq!(elements[1].parts.as_ref().unwrap_err().at, 45);
    /// ```
    #[must_use]
    pub fn elements(self, value: &[u8]) -> Vec<Element> {
        self.read_elements(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn text(part: &Part) -> &str {
        match part {
            Part::Text(text) => text,
            _ => "",
        }
    }

    #[test]
    fn places_are_those_of_the_folded_value() {
        let value = b"<sip:a@b>;q=0.5,\r\n  \t<sip:c@d> ;x=\"y\r\n z\", <sip:e@f";
        let elements = HeaderName::CONTACT.elements(value);
        assert_eq!(elements.len(), 3);
        assert_eq!(&value[elements[1].at..elements[1].at + 9], b"<sip:c@d>");
        let parts = elements[1].parts.as_ref().unwrap();
        let Some((_, Part::Group(params))) = parts.iter().find(|(name, _)| *name == "params") else {
            panic!()
        };
        assert_eq!(params[..], [("x".to_string(), Part::Text("y z".into()))]);
        let wrong = elements[2].parts.as_ref().unwrap_err();
        assert_eq!(&value[wrong.at..], b"sip:e@f", "the URI that no '>' ends");
        // A control character is no white space of SIP.
        assert_eq!(HeaderName::REJECT_CONTACT.elements(b" \x0b")[0].at, 1);
        assert_eq!(HeaderName::VIA.elements(b"\xff")[0].parts.as_ref().unwrap_err().at, 0);
    }

    #[test]
    fn a_uri_in_its_parts() {
        let elements = HeaderName::REFER_TO.elements(b"\"B\" <sips:b%20c@[::1]:5061;lr?Replaces=x>;z");
        let parts = elements[0].parts.as_ref().unwrap();
        let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["display_name", "uri", "uri_parts", "params"]);
        let Part::Group(uri) = &parts[2].1 else { panic!() };
        let names: Vec<&str> = uri.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["scheme", "user", "host", "port", "params", "headers"]);
        assert_eq!((text(&uri[1].1), text(&uri[2].1)), ("b c", "[::1]"));
        assert_eq!(uri[4].1, Part::Group(Vec::from([("lr".to_string(), Part::Flag)])));
    }
}
