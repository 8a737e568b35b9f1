//! What a body is.

use crate::headers::Header;
use crate::params::Params;
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
}
