//! The few shapes that most header fields have: a word, a number, a word with parameters, an address.

use crate::syntax::{find_outside, is_token, token, trim, unquote};

/// `head;params`: the head, what follows it, and where that starts. A ';' in a quoted head does not count.
pub(super) fn split_head(text: &str) -> (&str, &str, usize) {
    let end = find_outside(text, false, |byte| byte == b';').unwrap_or(text.len());
    let (head, params) = text.split_at_checked(end).unwrap_or((text, ""));
    (trim(head), params, end)
}

/// `token / quoted-string`.
pub(super) fn word(text: &str) -> bool {
    token(text) || (text.starts_with('"') && unquote(text).is_some())
}

/// `word [ "@" word ]`, the `callid` of RFC 3261 §25.1: visible characters without the separators of the fields
/// that it stands in.
pub(super) fn call_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b','))
}

/// `1*HEXDIG`.
pub(super) fn hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The `*` before feature parameters.
pub(super) fn star(text: &str) -> bool {
    text == "*"
}

/// `language-range` or `language-tag`: letters and digits in parts of one to eight, or `*` (RFC 3261 §25.1).
pub(super) fn language(text: &str) -> bool {
    text == "*"
        || text.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// One to three digits.
pub(super) fn short_number(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `namespace "." r-priority`, neither with a dot of its own (RFC 4412 §3.1).
pub(super) fn resource_value(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| is_token(byte) && byte != b'.');
    text.split_once('.').is_some_and(|(namespace, priority)| plain(namespace) && plain(priority))
}

/// A host with or without a port.
pub(super) fn host_port(text: &str) -> bool {
    let Ok(length) = crate::uri::host_length(text, 0) else { return false };
    match text.get(length..).unwrap_or_default().strip_prefix(':') {
        Some(port) => crate::syntax::number::<u16>(port).is_some(),
        None => length == text.len(),
    }
}

/// A `qvalue` in thousandths, 0 to 1000 (RFC 3261 §25.1).
pub(super) fn q_value(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut unit = 100u16;
    let thousandths = fraction.bytes().fold(0u16, |sum, digit| {
        let part = u16::from(digit.saturating_sub(b'0')).saturating_mul(unit);
        unit /= 10;
        sum.saturating_add(part)
    });
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Fields of one word: `Kind NAME check "what" "doc"`.
macro_rules! word_fields {
    ($($kind:ident $name:ident $check:ident $what:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind(pub String);

        impl $kind {
            /// One value.
            pub fn new(value: &str) -> Self {
                Self(value.into())
            }

            /// The value.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                if $check(text) { Ok(Self(text.into())) } else { Err(ValueError::new($what, 0)) }
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.0);
            }
        }
    )*};
}

/// Fields of a word and parameters: `Kind NAME check "what" "doc"`.
macro_rules! word_param_fields {
    ($($kind:ident $name:ident $check:ident $what:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind {
            /// What stands before the parameters, as written.
            pub value: String,
            /// The parameters.
            pub params: Params,
        }

        impl $kind {
            /// A value without parameters.
            pub fn new(value: &str) -> Self {
                Self { value: value.into(), params: Params::default() }
            }

            /// With a parameter.
            #[must_use]
            pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
                self.params.set(name, value);
                self
            }

            /// A parameter: `Some(None)` for a flag.
            pub fn param(&self, name: &str) -> Option<Option<&str>> {
                self.params.get(name)
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let (head, params, at) = split_head(text);
                if !$check(head) {
                    return Err(ValueError::new($what, 0));
                }
                Ok(Self { value: head.into(), params: Params::parse(params, at)? })
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.value);
                out.push_str(self.params.as_str());
            }

            fn parts(&self) -> crate::parts::Parts {
                let mut parts = alloc::vec::Vec::from([("value", self.value.as_str().into())]);
                crate::parts::params_part(&self.params, &mut parts);
                parts
            }
        }
    )*};
}

/// Fields of one number: `Kind(type) NAME "what" "doc"`.
macro_rules! number_fields {
    ($($kind:ident($number:ty) $name:ident $what:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(pub $number);

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                number(text).map(Self).ok_or(ValueError::new($what, 0))
            }

            fn write(&self, out: &mut String) {
                let _ = write!(out, "{}", self.0);
            }

            fn parts(&self) -> crate::parts::Parts {
                alloc::vec::Vec::from([("value", self.0.into())])
            }
        }
    )*};
}

/// Fields of one address with parameters: `Kind NAME rule "doc"`, where the rule is `either` (`name-addr /
/// addr-spec`) or `brackets` (the grammar wants `<` and `>`).
macro_rules! address_views {
    (@check either $text:ident) => {};
    (@check brackets $text:ident) => {
        if crate::syntax::find_outside($text, false, |byte| byte == b'<').is_none() {
            return Err(ValueError::new("a URI in '<' and '>'", 0));
        }
    };
    ($($kind:ident $name:ident $rule:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind(pub NameAddr);

        impl $kind {
            /// The URI alone.
            pub fn new(uri: &Uri) -> Self {
                Self(NameAddr::new(uri))
            }

            /// With a parameter of the field.
            #[must_use]
            pub fn with_param(self, name: &str, value: Option<&str>) -> Self {
                Self(self.0.with_param(name, value))
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                address_views!(@check $rule text);
                text.parse().map(Self)
            }

            fn write(&self, out: &mut String) {
                let _ = write!(out, "{}", self.0);
            }

            fn parts(&self) -> crate::parts::Parts {
                self.0.parts()
            }
        }

        impl core::convert::From<NameAddr> for $kind {
            fn from(address: NameAddr) -> Self {
                Self(address)
            }
        }

        impl core::ops::Deref for $kind {
            type Target = NameAddr;
            fn deref(&self) -> &NameAddr {
                &self.0
            }
        }

        impl core::ops::DerefMut for $kind {
            fn deref_mut(&mut self) -> &mut NameAddr {
                &mut self.0
            }
        }
    )*};
}

/// Fields of a bare URI with parameters of the field (no brackets in their grammar): `Kind NAME "doc"`.
macro_rules! bare_uri_fields {
    ($($kind:ident $name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind {
            uri: Uri,
            params: Params,
        }

        impl $kind {
            /// The URI alone.
            ///
            /// # Errors
            /// If it holds ';', ',' or '?': what follows those would not be the URI's.
            pub fn new(uri: &Uri) -> Result<Self, ValueError> {
                Self::parse(uri.as_str()).and_then(|made| {
                    if made.params.is_empty() { Ok(made) } else { Err(ValueError::new("a URI without ';'", 0)) }
                })
            }

            /// With a parameter of the field.
            #[must_use]
            pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
                self.params.set(name, value);
                self
            }

            /// The URI.
            pub fn uri(&self) -> &Uri {
                &self.uri
            }

            /// The parameters of the field.
            pub fn params(&self) -> &Params {
                &self.params
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let (uri, params, at) = split_head(text);
                if let Some(at) = uri.find(['?', ',']) {
                    return Err(ValueError::new("a URI without '?' or ','", at));
                }
                Ok(Self { uri: uri.parse()?, params: Params::parse(params, at)? })
            }

            fn write(&self, out: &mut String) {
                let _ = write!(out, "{}{}", self.uri, self.params);
            }

            fn parts(&self) -> crate::parts::Parts {
                let mut parts = crate::parts::Parts::new();
                crate::parts::uri_parts(&self.uri, &mut parts);
                crate::parts::params_part(&self.params, &mut parts);
                parts
            }
        }
    )*};
}

pub(super) use {address_views, bare_uri_fields, number_fields, word_fields, word_param_fields};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_their_checks() {
        assert_eq!(split_head("\"a;b\" ;c=d"), ("\"a;b\"", ";c=d", 6));
        assert!(word("a") && word("\"a b\"") && !word("a b") && !word("") && !word("\"open"));
        assert!(
            language("en-gb")
                && language("*")
                && !language("")
                && !language("toolongpart")
                && !language("a--b")
        );
        assert!(resource_value("dsn.flash") && !resource_value("dsn") && !resource_value("a.b.c"));
        assert!(host_port("h:5060") && host_port("[::1]") && !host_port("h:") && !host_port("h x"));
    }

    /// RFC 3261 §25.1: `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`.
    #[test]
    fn q_values() {
        for (text, thousandths) in
            [("0", 0), ("0.", 0), ("0.5", 500), ("0.123", 123), ("1", 1000), ("1.", 1000), ("1.000", 1000)]
        {
            assert_eq!(q_value(text), Some(thousandths), "{text}");
        }
        for bad in ["", "2", "1.001", "0.1234", "-0.5", "0.5x", ".5", "00.5", "+1", "0,5"] {
            assert_eq!(q_value(bad), None, "{bad}");
        }
    }
}
