//! What a body is.

use crate::headers::Header;
use crate::params::Params;
use crate::parts::{Parts, params_part};
use crate::syntax::{token, trim};
use crate::{HeaderName, ValueError};
use alloc::string::String;

/// `Content-Type`: type, subtype and parameters (RFC 3261 §20.15).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentType {
    kind: String,
    subtype: String,
    params: Params,
}

impl ContentType {
    /// `kind/subtype`; a part that is no token becomes `x-invalid`.
    pub fn new(kind: &str, subtype: &str) -> Self {
        let part = |text| String::from(if token(text) { text } else { "x-invalid" });
        Self { kind: part(kind), subtype: part(subtype), params: Params::default() }
    }

    /// Whether this is `kind/subtype`, without regard to case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// The type before the slash.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The subtype after the slash.
    pub fn subtype(&self) -> &str {
        &self.subtype
    }

    /// The parameters, such as `boundary`.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl Header for ContentType {
    const NAME: HeaderName = HeaderName::CONTENT_TYPE;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let end = text.find(';').unwrap_or(text.len());
        let (media, params) = text.split_at_checked(end).unwrap_or((text, ""));
        let (kind, subtype) = media.split_once('/').ok_or(ValueError::new("type/subtype", 0))?;
        let (kind, subtype) = (trim(kind), trim(subtype));
        if !token(kind) || !token(subtype) {
            return Err(ValueError::new("type/subtype", 0));
        }
        Ok(Self { kind: kind.into(), subtype: subtype.into(), params: Params::parse(params, end)? })
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.kind);
        out.push('/');
        out.push_str(&self.subtype);
        out.push_str(self.params.as_str());
    }

    fn parts(&self) -> Parts {
        let mut parts =
            Parts::from([("type", self.kind.as_str().into()), ("subtype", self.subtype.as_str().into())]);
        params_part(&self.params, &mut parts);
        parts
    }
}

/// `Content-Disposition`: what to do with a body (RFC 3261 §20.11).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentDisposition {
    /// `session`, `render`, `early-session`, ...
    pub kind: String,
    /// Such as `handling`.
    pub params: Params,
}

impl Header for ContentDisposition {
    const NAME: HeaderName = HeaderName::CONTENT_DISPOSITION;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let end = text.find(';').unwrap_or(text.len());
        let (kind, params) = text.split_at_checked(end).unwrap_or((text, ""));
        let kind = trim(kind);
        if !token(kind) {
            return Err(ValueError::new("a disposition type", 0));
        }
        Ok(Self { kind: kind.into(), params: Params::parse(params, end)? })
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.kind);
        out.push_str(self.params.as_str());
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::from([("type", self.kind.as_str().into())]);
        params_part(&self.params, &mut parts);
        parts
    }
}

impl ContentType {
    /// With a parameter, such as `boundary`.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self
    }
}

impl ContentDisposition {
    /// A kind without parameters.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.into(), params: Params::default() }
    }

    /// With a parameter, such as `handling`.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self
    }

    /// Whether the request fails if the body is not understood: unless `handling=optional` (RFC 3261 §20.11).
    pub fn is_required(&self) -> bool {
        !self.params.value("handling").is_some_and(|handling| handling.eq_ignore_ascii_case("optional"))
    }
}

/// `Content-ID`: the name of a body or a part of one, which a `cid:` URL refers to (RFC 8262 §4, RFC 2392).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentId(String);

impl ContentId {
    /// The name without its brackets; characters that none can hold are dropped.
    pub fn new(name: &str) -> Self {
        Self(name.chars().filter(|&c| is_id_character(c)).collect())
    }

    /// The name without its brackets: `left@right`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a URL such as `cid:left@right` refers to this body; escapes in the URL count as what they stand for.
    pub fn is_named_by(&self, url: &str) -> bool {
        let Some((scheme, rest)) = url.split_once(':') else { return false };
        scheme.eq_ignore_ascii_case("cid") && crate::tel::decode_escapes(rest) == self.0
    }
}

fn is_id_character(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '(' | ')' | ',' | ';' | ':' | '\\' | '[' | ']')
}

impl Header for ContentId {
    const NAME: HeaderName = HeaderName::CONTENT_ID;

    fn parse(text: &str) -> Result<Self, ValueError> {
        // RFC 4483 §4.3 and RFC 5621 print brackets; some leave them out.
        let bare = text.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(text);
        if bare.is_empty() || !bare.chars().all(is_id_character) {
            return Err(ValueError::new("<left@right>", 0));
        }
        Ok(Self(bare.into()))
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.0);
        out.push('>');
    }

    fn parts(&self) -> Parts {
        Parts::from([("id", self.0.as_str().into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispositions_and_names() {
        let disposition = ContentDisposition::parse("session ;handling=Optional").unwrap();
        assert!(!disposition.is_required() && ContentDisposition::new("session").is_required());
        let id = ContentId::parse("<foo%bar@example.com>").unwrap();
        assert!(id.is_named_by("CID:foo%25bar@example.com") && !id.is_named_by("foo%25bar@example.com"));
        assert!(ContentId::parse("<>").is_err() && ContentId::parse("<a b@c>").is_err());
        assert_eq!(ContentId::new("a@b\r\n<").as_str(), "a@b");
    }
}
