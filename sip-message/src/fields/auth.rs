//! Challenges and credentials of any scheme; what Digest makes of them is `sip-auth`'s business.

use crate::headers::Header;
use crate::parts::Parts;
use crate::syntax::{elements, push_quoted, token, trim, unquote};
use crate::{HeaderName, ValueError};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// `name=value, name="value"`: the parameters of authentication fields, in order (RFC 3261 §25.1, RFC 7616).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthParams {
    /// `name=value, name="value"`, as it is written.
    text: String,
    /// Where each name starts and ends, and where its value ends, which starts behind the '='.
    places: Vec<[u32; 3]>,
}

/// Parameters of one challenge or of one set of credentials: Digest has eleven; more would only cost memory.
const MAX_PARAMS: usize = 64;
/// What Digest credentials have (RFC 7616 §3.4).
const USUAL_PARAMS: usize = 12;

impl AuthParams {
    fn parse(text: &str) -> Result<Self, ValueError> {
        let mut params =
            Self { text: String::with_capacity(text.len()), places: Vec::with_capacity(USUAL_PARAMS) };
        for one in elements(text) {
            // No token holds a quote: an '=' within one is behind another.
            let equals = memchr::memchr(b'=', one.as_bytes()).ok_or(ValueError::new("name=value", 0))?;
            let (name, value) = one.split_at_checked(equals).unwrap_or((one, ""));
            let (name, value) = (trim(name), trim(value.get(1..).unwrap_or_default()));
            let quoted = value.starts_with('"');
            // A '<' that nothing closes would take in what is later written behind it.
            let loose = |value: &str| value.contains(['"', ' ', '<']);
            if !token(name) || (quoted && unquote(value).is_none()) || (!quoted && loose(value)) {
                return Err(ValueError::new("name=value or name=\"value\"", 0));
            }
            if params.places.len() >= MAX_PARAMS {
                return Err(ValueError::new("at most 64 parameters", 0));
            }
            params.push(name, value);
        }
        Ok(params)
    }

    /// A parameter's value, quotes and escapes undone.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw(name).map(|value| unquote(value).unwrap_or(Cow::Borrowed(value)))
    }

    /// A parameter's value as written.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.named(name).next().map(|&[_, equals, to]| self.part(equals.saturating_add(1), to))
    }

    /// How many parameters have that name: more than one makes credentials ambiguous.
    pub fn count(&self, name: &str) -> usize {
        self.named(name).count()
    }

    /// The places of the parameters of a name. Most names differ in their length already.
    fn named(&self, name: &str) -> impl Iterator<Item = &[u32; 3]> {
        self.places.iter().filter(move |[from, equals, _]| {
            equals.saturating_sub(*from) as usize == name.len()
                && self.part(*from, *equals).eq_ignore_ascii_case(name)
        })
    }

    fn part(&self, from: u32, to: u32) -> &str {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    /// Names and values as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let both = |&[from, equals, to]: &[u32; 3]| {
            (self.part(from, equals), self.part(equals.saturating_add(1), to))
        };
        self.places.iter().map(both)
    }

    fn push_quoted(&mut self, name: &str, value: &str) {
        self.push_with(name, value.len().saturating_add(2), |text| push_quoted(text, value));
    }

    fn push_token(&mut self, name: &str, value: &str) {
        if token(value) { self.push(name, value) } else { self.push_quoted(name, value) }
    }

    fn push(&mut self, name: &str, value: &str) {
        self.push_with(name, value.len(), |text| text.push_str(value));
    }

    fn push_with(&mut self, name: &str, length: usize, value: impl FnOnce(&mut String)) {
        if !token(name) {
            return;
        }
        self.text.reserve(length.saturating_add(name.len()).saturating_add(3)); // `, ` and `=`
        if !self.text.is_empty() {
            self.text.push_str(", ");
        }
        let place = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let from = place(&self.text);
        self.text.push_str(name);
        let equals = place(&self.text);
        self.text.push('=');
        value(&mut self.text);
        self.places.push([from, equals, place(&self.text)]);
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.text);
    }
}

macro_rules! schemes {
    ($($kind:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind {
            scheme: String,
            params: AuthParams,
        }

        impl $kind {
            /// A scheme without parameters yet.
            pub fn new(scheme: &str) -> Self {
                Self { scheme: if token(scheme) { scheme.into() } else { "Invalid".into() }, params: AuthParams::default() }
            }

            /// With a quoted parameter.
            #[must_use]
            pub fn quoted(mut self, name: &str, value: &str) -> Self {
                self.params.push_quoted(name, value);
                self
            }

            /// With a parameter without quotes, if the value allows that.
            #[must_use]
            pub fn token(mut self, name: &str, value: &str) -> Self {
                self.params.push_token(name, value);
                self
            }

            /// The scheme as written: `Digest`.
            pub fn scheme(&self) -> &str {
                &self.scheme
            }

            /// A parameter's value, quotes and escapes undone.
            pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
                self.params.get(name)
            }

            /// All parameters.
            pub fn params(&self) -> &AuthParams {
                &self.params
            }
        }

        impl core::str::FromStr for $kind {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                let end = text.find([' ', '\t']).unwrap_or(text.len());
                let (scheme, params) = text.split_at_checked(end).unwrap_or((text, ""));
                if !token(scheme) {
                    return Err(ValueError::new("an authentication scheme", 0));
                }
                Ok(Self { scheme: scheme.into(), params: AuthParams::parse(params)? })
            }
        }

        impl core::fmt::Display for $kind {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let mut out = String::from(self.scheme.as_str());
                out.push(' ');
                self.params.write(&mut out);
                f.write_str(&out)
            }
        }
    )*};
}

schemes! {
    Challenge "A scheme and its parameters, as a server asks for credentials (RFC 3261 §20.27).";
    Credentials "A scheme and its parameters, as a client answers a challenge (RFC 3261 §20.7).";
}

macro_rules! auth_fields {
    ($($kind:ident($inner:ident) $name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind(pub $inner);

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                text.parse().map(Self)
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.0.scheme);
                out.push(' ');
                self.0.params.write(out);
            }

            fn parts(&self) -> Parts {
                Parts::from([("scheme", self.0.scheme().into()), ("params", self.0.params().into())])
            }
        }
    )*};
}

auth_fields! {
    WwwAuthenticate(Challenge) WWW_AUTHENTICATE "`WWW-Authenticate`: a registrar's or user agent's challenge (RFC 3261 §20.44).";
    ProxyAuthenticate(Challenge) PROXY_AUTHENTICATE "`Proxy-Authenticate`: a proxy's challenge (RFC 3261 §20.27).";
    Authorization(Credentials) AUTHORIZATION "`Authorization`: credentials for a registrar or user agent (RFC 3261 §20.7).";
    ProxyAuthorization(Credentials) PROXY_AUTHORIZATION "`Proxy-Authorization`: credentials for a proxy (RFC 3261 §20.28).";
}

/// `Authentication-Info`: the server's proof and its next nonce (RFC 3261 §20.6, RFC 7616 §3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthenticationInfo(pub AuthParams);

impl AuthenticationInfo {
    /// With a quoted parameter.
    #[must_use]
    pub fn quoted(mut self, name: &str, value: &str) -> Self {
        self.0.push_quoted(name, value);
        self
    }

    /// With a parameter without quotes, if the value allows that.
    #[must_use]
    pub fn token(mut self, name: &str, value: &str) -> Self {
        self.0.push_token(name, value);
        self
    }

    /// A parameter's value, quotes and escapes undone.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(name)
    }
}

impl Header for AuthenticationInfo {
    const NAME: HeaderName = HeaderName::AUTHENTICATION_INFO;

    fn parse(text: &str) -> Result<Self, ValueError> {
        AuthParams::parse(text).map(Self)
    }

    fn write(&self, out: &mut String) {
        self.0.write(out);
    }

    fn parts(&self) -> Parts {
        Parts::from([("params", (&self.0).into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_challenge_survives_the_round_trip() {
        let text = "Digest realm=\"a, \\\"b\\\"\", qop=\"auth,auth-int\", nonce=\"x\", algorithm=SHA-256";
        let challenge: Challenge = text.parse().unwrap();
        assert_eq!(challenge.param("REALM").unwrap(), "a, \"b\"");
        assert_eq!(challenge.param("qop").unwrap(), "auth,auth-int");
        assert_eq!(challenge.to_string(), text);
        let made = Challenge::new("Digest").quoted("realm", "a, \"b\"").token("stale", "true");
        assert_eq!(made.to_string().parse::<Challenge>().unwrap(), made);
        for bad in ["", "Digest realm", "Digest realm=\"open", "Digest =x", "Di(gest x=y", "Digest x=<,"] {
            assert!(bad.parse::<Challenge>().is_err(), "{bad} passed");
        }
    }
}
