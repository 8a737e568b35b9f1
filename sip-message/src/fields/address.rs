//! Addresses: `name-addr` and `addr-spec` with parameters, and the fields made of one.

use crate::headers::Header;
use crate::params::{Params, is_canonical};
use crate::parts::{Part, Parts, params_part, uri_parts};
use crate::syntax::{find_outside, is_lws, is_token, number, push_quoted, trim, unquote};
use crate::{HeaderName, Uri, ValueError};
use alloc::borrow::Cow;
use alloc::string::String;
use core::ops::{Deref, DerefMut};

/// `"Display Name" <uri>;params` or `uri;params` (RFC 3261 §20.10, RFC 8217).
///
/// Without angle brackets parameters belong to the field, not to the URI. It is written with brackets always.
///
/// ```
/// use sip_message::headers::NameAddr;
/// let alice: NameAddr = "\"Alice \\\"A\\\"\" <sip:alice@example.com;lr>;tag=1".parse()?;
/// assert_eq!(alice.display_name(), Some("Alice \"A\""));
/// assert!(alice.uri().has_lr());
/// assert_eq!(alice.param("tag"), Some(Some("1")));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone)]
pub struct NameAddr {
    uri: Uri,
    /// The display name without quotes and escapes, if there is one, and behind it the parameters.
    params: Params,
}

impl NameAddr {
    /// The URI alone.
    pub fn new(uri: &Uri) -> Self {
        Self { uri: uri.clone(), params: Params::default() }
    }

    /// The same of another URI.
    #[must_use]
    pub fn with_uri(mut self, uri: &Uri) -> Self {
        self.uri = uri.clone();
        self
    }

    /// With a display name.
    #[must_use]
    pub fn with_display_name(mut self, name: &str) -> Self {
        self.params.set_owned_with([name, ""], 0);
        self
    }

    /// With a parameter of the field.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self
    }

    /// The display name with quotes and escapes undone.
    pub fn display_name(&self) -> Option<&str> {
        Some(self.params.owned()).filter(|name| !name.is_empty())
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The URI, to change it.
    pub fn uri_mut(&mut self) -> &mut Uri {
        &mut self.uri
    }

    /// The parameters of the field.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// A parameter of the field: `Some(None)` for a flag.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        self.params.get(name)
    }

    /// Sets or replaces a parameter of the field.
    pub fn set_param(&mut self, name: &str, value: Option<&str>) {
        self.params.set(name, value);
    }

    /// Removes a parameter of the field.
    pub fn remove_param(&mut self, name: &str) -> bool {
        self.params.remove(name)
    }

    /// Display name, URI and parameters, as far as they are there.
    pub(super) fn parts(&self) -> Parts {
        let mut parts = Parts::new();
        if let Some(display) = self.display_name() {
            parts.push(("display_name", display.into()));
        }
        uri_parts(&self.uri, &mut parts);
        params_part(&self.params, &mut parts);
        parts
    }

    fn write(&self, out: &mut String) {
        if let Some(display) = self.display_name() {
            push_quoted(out, display);
            out.push(' ');
        }
        out.push('<');
        out.push_str(self.uri.as_str());
        out.push('>');
        out.push_str(self.params.as_str());
    }
}

impl core::str::FromStr for NameAddr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let octets = text.as_bytes();
        // A name, '<', a URI, '>' and parameters: what nearly everybody writes.
        let (display, behind) = usual_display(text);
        if let Some(rest) = behind.strip_prefix('<')
            && let Some((uri, end)) = Uri::until_bracket(rest)
        {
            let behind = rest.get(end.saturating_add(1)..).unwrap_or_default();
            let at = text.len().saturating_sub(behind.len());
            return Ok(Self { uri, params: Params::behind([display, ""], behind, at)? });
        }
        let Some(open) = find_outside(text, false, |byte| byte == b'<') else {
            let end = memchr::memchr(b';', octets).unwrap_or(octets.len());
            let (uri, params) = text.split_at_checked(end).unwrap_or((text, ""));
            if let Some(at) = memchr::memchr2(b'?', b',', uri.as_bytes()) {
                return Err(ValueError::new("'<' and '>' around a URI with '?' or ',' (RFC 8217)", at));
            }
            return Ok(Self { uri: trim(uri).parse()?, params: Params::parse(params, end)? });
        };
        let display = display_name(trim(text.get(..open).unwrap_or_default()))?;
        let inside = open.saturating_add(1);
        let rest = text.get(inside..).unwrap_or_default();
        let close = memchr::memchr(b'>', rest.as_bytes());
        let close = close.ok_or(ValueError::new("'>' after the URI", inside))?;
        let uri = trim(rest.get(..close).unwrap_or_default())
            .parse()
            .map_err(|error: ValueError| ValueError::new(error.expected, error.at.saturating_add(inside)))?;
        let after = inside.saturating_add(close).saturating_add(1);
        let params = Params::behind([&display, ""], text.get(after..).unwrap_or_default(), after)?;
        Ok(Self { uri, params })
    }
}

/// The parameters of a `name-addr` in its usual shape: a display name if any, of tokens or in quotes without escapes, brackets,
/// canonical parameters. `None`: ask the full type.
pub(super) fn plain_address(text: &str) -> Option<&str> {
    let (_, behind) = usual_display(text);
    let rest = behind.strip_prefix('<')?;
    let end = Uri::bracketed(rest)?;
    let params = rest.get(end.saturating_add(1)..)?;
    is_canonical(params.as_bytes()).then_some(params)
}

/// A display name of tokens, or in quotes without escapes, as it is shown; and what stands behind it, from the '<' on if there
/// is one.
fn usual_display(text: &str) -> (&str, &str) {
    let octets = text.as_bytes();
    if octets.first() != Some(&b'"') {
        let tokens = octets.iter().position(|&byte| !is_display(byte)).unwrap_or(octets.len());
        let (name, behind) = text.split_at_checked(tokens).unwrap_or_default();
        return (trim(name), behind);
    }
    let quoted = text.get(1..).unwrap_or_default();
    let end = memchr::memchr2(b'"', b'\\', quoted.as_bytes()).unwrap_or(quoted.len());
    let (name, behind) = quoted.split_at_checked(end).unwrap_or_default();
    match behind.strip_prefix('"') {
        Some(behind) => (name, behind.trim_start_matches([' ', '\t', '\r', '\n'])),
        None => ("", text), // an escape: the full type knows what to do
    }
}

/// What a display name without quotes is made of. RFC 3261 §25.1 wants tokens; raw UTF-8 and dots come from many
/// phones and mean no harm.
fn is_display(byte: u8) -> bool {
    is_token(byte) || is_lws(byte) || byte >= 0x80
}

/// A display name with quotes and escapes undone.
fn display_name(text: &str) -> Result<Cow<'_, str>, ValueError> {
    if text.starts_with('"') {
        return unquote(text).ok_or(ValueError::new("a quoted display name", 0));
    }
    if text.bytes().all(is_display) {
        return Ok(Cow::Borrowed(text));
    }
    Err(ValueError::new("a display name of tokens, or in quotes", 0))
}

impl PartialEq for NameAddr {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri && self.display_name() == other.display_name() && self.params == other.params
    }
}

impl Eq for NameAddr {}

impl core::hash::Hash for NameAddr {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (&self.uri, self.display_name(), &self.params).hash(state);
    }
}

impl core::fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NameAddr")
            .field("display", &self.display_name())
            .field("uri", &self.uri)
            .field("params", &self.params)
            .finish()
    }
}

impl core::fmt::Display for NameAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

macro_rules! address_fields {
    ($($kind:ident $name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind(pub NameAddr);

        impl $kind {
            /// The URI alone.
            pub fn new(uri: &Uri) -> Self {
                Self(NameAddr::new(uri))
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                text.parse().map(Self)
            }

            fn write(&self, out: &mut String) {
                self.0.write(out);
            }

            fn parts(&self) -> Parts {
                self.0.parts()
            }
        }

        impl core::convert::From<NameAddr> for $kind {
            fn from(address: NameAddr) -> Self {
                Self(address)
            }
        }

        impl Deref for $kind {
            type Target = NameAddr;
            fn deref(&self) -> &NameAddr {
                &self.0
            }
        }

        impl DerefMut for $kind {
            fn deref_mut(&mut self) -> &mut NameAddr {
                &mut self.0
            }
        }

        impl core::fmt::Display for $kind {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

address_fields! {
    From FROM "`From`: who asks (RFC 3261 §20.20).";
    To TO "`To`: whom the request is meant for (RFC 3261 §20.39).";
    Route ROUTE "One `Route` (RFC 3261 §20.34).";
    RecordRoute RECORD_ROUTE "One `Record-Route` (RFC 3261 §20.30).";
    Path PATH "One `Path` (RFC 3327 §4).";
    ServiceRoute SERVICE_ROUTE "One `Service-Route` (RFC 3608 §5).";
    ReplyTo REPLY_TO "`Reply-To` (RFC 3261 §20.31).";
    ReferTo REFER_TO "`Refer-To` (RFC 3515 §2.1).";
    ReferredBy REFERRED_BY "`Referred-By` (RFC 3892 §3).";
    PAssertedIdentity P_ASSERTED_IDENTITY "One `P-Asserted-Identity` (RFC 3325 §9.1).";
    PPreferredIdentity P_PREFERRED_IDENTITY "One `P-Preferred-Identity` (RFC 3325 §9.2).";
}

macro_rules! tagged {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// The `tag` parameter (RFC 3261 §19.3).
            pub fn tag(&self) -> Option<&str> {
                self.0.params.value("tag")
            }

            /// With this tag.
            #[must_use]
            pub fn with_tag(mut self, tag: &str) -> Self {
                self.set_tag(tag);
                self
            }

            /// Sets the tag.
            pub fn set_tag(&mut self, tag: &str) {
                self.0.params.set("tag", Some(tag));
            }

            /// Removes the tag.
            pub fn remove_tag(&mut self) {
                self.0.params.remove("tag");
            }
        }
    )*};
}

tagged!(From To);

/// One `Contact`: an address, or the `*` of a REGISTER that removes all bindings (RFC 3261 §20.10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Contact {
    /// `*`
    Star,
    /// An address with its parameters.
    Address(NameAddr),
}

impl Contact {
    /// The URI alone.
    pub fn new(uri: &Uri) -> Self {
        Self::Address(NameAddr::new(uri))
    }

    /// With another URI and the same parameters; `*` has none.
    #[must_use]
    pub fn with_uri(self, uri: &Uri) -> Self {
        match self {
            Self::Star => self,
            Self::Address(address) => Self::Address(address.with_uri(uri)),
        }
    }

    /// With a parameter; `*` has none.
    #[must_use]
    pub fn with_param(self, name: &str, value: Option<&str>) -> Self {
        match self {
            Self::Star => self,
            Self::Address(address) => Self::Address(address.with_param(name, value)),
        }
    }

    /// Whether it is `*`.
    pub fn is_star(&self) -> bool {
        matches!(self, Self::Star)
    }

    /// The address, unless it is `*`.
    pub fn address(&self) -> Option<&NameAddr> {
        match self {
            Self::Star => None,
            Self::Address(address) => Some(address),
        }
    }

    /// The URI, unless it is `*`.
    pub fn uri(&self) -> Option<&Uri> {
        self.address().map(NameAddr::uri)
    }

    /// The `q` parameter in thousandths, 0 to 1000. A malformed one counts as absent.
    pub fn q(&self) -> Option<u16> {
        let text = self.address()?.params().value("q")?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut thousandths: u16 = 0;
        let mut unit: u16 = 100;
        if fraction.len() > 3 {
            return None;
        }
        for digit in fraction.bytes() {
            let digit = char::from(digit).to_digit(10).and_then(|digit| u16::try_from(digit).ok())?;
            thousandths = thousandths.saturating_add(digit.saturating_mul(unit));
            unit /= 10;
        }
        match whole {
            "0" | "" => Some(thousandths),
            "1" if thousandths == 0 => Some(1000),
            _ => None,
        }
    }

    /// The `expires` parameter in seconds. A malformed one counts as 3600 (RFC 3261 §10.2.1.1, §20.10); one too
    /// large for 32 bits as 2³²−1.
    pub fn expires(&self) -> Option<u32> {
        let text = self.address()?.params().value("expires")?;
        Some(delta_seconds(text).unwrap_or(3600))
    }
}

/// `delta-seconds`: digits, values over 2³²−1 are taken as that (RFC 3261 §20.19).
pub(super) fn delta_seconds(text: &str) -> Option<u32> {
    number::<u32>(text)
        .or_else(|| (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(u32::MAX))
}

impl Header for Contact {
    const NAME: HeaderName = HeaderName::CONTACT;

    fn parse(text: &str) -> Result<Self, ValueError> {
        if text == "*" { Ok(Self::Star) } else { text.parse().map(Self::Address) }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Star => out.push('*'),
            Self::Address(address) => address.write(out),
        }
    }

    fn parts(&self) -> Parts {
        match self {
            Self::Star => Parts::from([("star", Part::Flag)]),
            Self::Address(address) => address.parts(),
        }
    }
}

impl core::convert::From<NameAddr> for Contact {
    fn from(address: NameAddr) -> Self {
        Self::Address(address)
    }
}

impl core::fmt::Display for Contact {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = String::new();
        Header::write(self, &mut out);
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// RFC 3261 §20: the parameters of an address without brackets are the field's.
    #[test]
    fn params_belong_to_the_field_without_brackets() {
        let to = To::parse("sip:bob@example.com;tag=a6c8").unwrap();
        assert_eq!(to.tag(), Some("a6c8"));
        assert_eq!(to.uri().to_string(), "sip:bob@example.com");
        assert_eq!(to.to_string(), "<sip:bob@example.com>;tag=a6c8");
    }

    #[test]
    fn names_with_every_oddity() {
        let from = From::parse("\"a, <b> \\\\ \\\"c\\\"\"<sip:x@y>; tag = 1 ;z").unwrap();
        assert_eq!(from.display_name(), Some("a, <b> \\ \"c\""));
        assert_eq!((from.tag(), from.param("z")), (Some("1"), Some(None)));
        assert_eq!(From::parse(&from.to_string()).unwrap(), from);
        assert_eq!(From::parse("Bob Smith <sip:b@c>").unwrap().display_name(), Some("Bob Smith"));
        assert_eq!(From::parse("\"\" <sip:b@c>").unwrap().display_name(), None);
        for bad in [
            "",
            "<sip:a@b",
            "Bell, Alexander <sip:a@b>",
            "\"open <sip:a@b>",
            "sip:a@b?x=y",
            "<>",
            "<sip:a@b>x",
        ] {
            assert!(From::parse(bad).is_err(), "{bad} passed");
        }
    }

    #[test]
    fn contact_values() {
        assert!(Contact::parse("*").unwrap().is_star());
        let contact = Contact::parse("<sip:a@b>;q=0.75;expires=60").unwrap();
        assert_eq!((contact.q(), contact.expires()), (Some(750), Some(60)));
        assert_eq!(Contact::parse("<sip:a@b>;q=1.000").unwrap().q(), Some(1000));
        assert_eq!(Contact::parse("<sip:a@b>;q=1.5").unwrap().q(), None);
        assert_eq!(Contact::parse("<sip:a@b>;expires=99999999999").unwrap().expires(), Some(u32::MAX));
        assert_eq!(Contact::parse("<sip:a@b>;expires=x").unwrap().expires(), Some(3600));
    }
}
