//! Telephone numbers: `tel` URIs and the `telephone-subscriber` in the user part of others (RFC 3966).

use crate::syntax::is_token;
use crate::{Uri, ValueError};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// A `telephone-subscriber`: a number with its parameters (RFC 3966 §3).
///
/// ```
/// use sip_message::Tel;
/// let tel: Tel = "tel:+1-201-555-0123;ext=07".parse()?;
/// assert!(tel.is_global());
/// assert_eq!(tel.digits(), "+12015550123");
/// assert!(tel.equivalent(&"TEL:+1(201)555.0123;EXT=0-7".parse()?));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
///
/// `==` compares texts; [`Tel::equivalent`] compares as RFC 3966 §4 asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tel {
    /// `+1-201-555-0123;ext=07`
    text: String,
}

/// Parameters of one number: RFC 3966 and those registered beside it (RFC 4694, RFC 4759, RFC 4904) are a dozen.
const MAX_TEL_PARAMS: usize = 32;

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')')
}

fn is_digits(text: &str, digit: impl Fn(u8) -> bool) -> bool {
    text.bytes().any(&digit) && text.bytes().all(|byte| is_separator(byte) || digit(byte))
}

fn is_global_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|rest| is_digits(rest, |byte| byte.is_ascii_digit()))
}

fn is_local_number(text: &str) -> bool {
    is_digits(text, |byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#'))
}

fn is_domain(text: &str) -> bool {
    let mut labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    labels.clone().all(label)
        && labels.next_back().is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// `uric`, as the value of `isub` may hold it; ';' separates parameters before that.
fn is_uric(byte: u8) -> bool {
    is_token(byte)
        || matches!(byte, b'(' | b')' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'$' | b',' | b'[' | b']')
}

/// `%HH` undone, for texts escaped into a URI; octets that are no UTF-8 become U+FFFD.
pub(crate) fn decode_escapes(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                octets.push(high.wrapping_shl(4) | low);
                bytes = ahead;
            }
            _ => octets.push(byte),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

impl Tel {
    /// The number of a `tel` URI.
    ///
    /// # Errors
    /// If the URI has another scheme, or no telephone number.
    pub fn of(uri: &Uri) -> Result<Self, ValueError> {
        if !uri.is_tel() {
            return Err(ValueError::new("a tel URI", 0));
        }
        let start = uri.scheme().len().saturating_add(1);
        Self::subscriber(uri.as_str().get(start..).unwrap_or_default(), start)
    }

    /// The number in the user part of a `sip` or `sips` URI, with `user=phone` or without (RFC 3261 §19.1.1, §19.1.6).
    ///
    /// # Errors
    /// If there is no user part, or it is no telephone number. A local number without `phone-context` passes:
    /// its context is the URI's host.
    pub fn of_user(uri: &Uri) -> Result<Self, ValueError> {
        let user = uri.user().filter(|_| !uri.is_tel()).ok_or(ValueError::new("a user part", 0))?;
        let start = uri.scheme().len().saturating_add(1);
        let tel = Self::lenient(user, start)?;
        Ok(tel)
    }

    /// Reads `number;params` of a `tel` URI; `at` is where it starts.
    fn subscriber(text: &str, at: usize) -> Result<Self, ValueError> {
        let tel = Self::lenient(text, at)?;
        // RFC 3966 §5.1.5: "Local numbers MUST have a 'phone-context' parameter"
        if !tel.is_global() && tel.phone_context().is_none() {
            return Err(ValueError::new(
                "a phone-context for a number without '+'",
                at.saturating_add(text.len()),
            ));
        }
        Ok(tel)
    }

    fn lenient(text: &str, at: usize) -> Result<Self, ValueError> {
        let number = text.split(';').next().unwrap_or_default();
        if !is_global_number(number) && !is_local_number(number) {
            return Err(ValueError::new("a telephone number", at));
        }
        let tel = Self { text: text.into() };
        let mut place = at.saturating_add(number.len());
        let mut contexts = 0usize;
        for (count, one) in text.split(';').skip(1).enumerate() {
            let (name, value) = one.split_once('=').map_or((one, None), |(name, value)| (name, Some(value)));
            let named = |known: &str| name.eq_ignore_ascii_case(known);
            let fine = if count >= MAX_TEL_PARAMS || tel.params().take(count).any(|(other, _)| named(other)) {
                false
            } else if named("ext") {
                value.is_some_and(|value| is_digits(value, |byte| byte.is_ascii_digit()))
            } else if named("phone-context") {
                contexts = contexts.saturating_add(1);
                value.is_some_and(|value| is_domain(value) || is_global_number(value))
            } else {
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                    && value.is_none_or(|value| !value.is_empty() && value.bytes().all(is_uric))
            };
            if !fine {
                return Err(ValueError::new("a parameter of a telephone number, each at most once", place));
            }
            place = place.saturating_add(one.len()).saturating_add(1);
        }
        // §3: "par" alone follows a global number
        if contexts > 0 && tel.is_global() {
            return Err(ValueError::new("no phone-context after a global number", at));
        }
        Ok(tel)
    }

    /// The number as written, visual separators included.
    pub fn number(&self) -> &str {
        self.text.split(';').next().unwrap_or_default()
    }

    /// The number without visual separators; letters of a local number in upper case.
    pub fn digits(&self) -> String {
        plain(self.number()).map(|byte| char::from(byte.to_ascii_uppercase())).collect()
    }

    /// Whether the number is a global one, which starts with `+` (RFC 3966 §5.1.4).
    pub fn is_global(&self) -> bool {
        self.text.starts_with('+')
    }

    /// The extension behind the number (RFC 3966 §5.3).
    pub fn ext(&self) -> Option<&str> {
        self.param("ext").flatten()
    }

    /// The ISDN subaddress, escapes as they stand (RFC 3966 §5.2).
    pub fn isub(&self) -> Option<&str> {
        self.param("isub").flatten()
    }

    /// Where a local number is valid: a domain, or the first digits of a global number (RFC 3966 §5.1.5).
    pub fn phone_context(&self) -> Option<&str> {
        self.param("phone-context").flatten()
    }

    /// A parameter: `Some(None)` if it has no value.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        self.params().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Parameters in order.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.text
            .split(';')
            .skip(1)
            .map(|one| one.split_once('=').map_or((one, None), |(name, value)| (name, Some(value))))
    }

    /// The number and its parameters, without `tel:`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both are the same number (RFC 3966 §4): both global or both local, the same digits, the same
    /// parameters in any order; separators and case do not count.
    pub fn equivalent(&self, other: &Self) -> bool {
        let covered = |one: &Self, other: &Self| {
            one.params().all(|(name, value)| match (value, other.param(name)) {
                (None, Some(None)) => true,
                (Some(value), Some(Some(theirs))) => same_value(name, value, theirs),
                _ => false,
            })
        };
        self.is_global() == other.is_global()
            && plain(self.number()).map(lower).eq(plain(other.number()).map(lower))
            && covered(self, other)
            && covered(other, self)
    }
}

fn lower(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// The octets of a number without visual separators.
fn plain(number: &str) -> impl Iterator<Item = u8> {
    number.bytes().filter(|&byte| !is_separator(byte))
}

fn same_value(name: &str, one: &str, other: &str) -> bool {
    let number = name.eq_ignore_ascii_case("ext")
        || (name.eq_ignore_ascii_case("phone-context") && one.starts_with('+') && other.starts_with('+'));
    if number {
        return plain(one).eq(plain(other));
    }
    if name.eq_ignore_ascii_case("phone-context") {
        let host = |text: &'_ str| text.strip_suffix('.').map_or(text.len(), str::len);
        return one
            .get(..host(one))
            .unwrap_or_default()
            .eq_ignore_ascii_case(other.get(..host(other)).unwrap_or_default());
    }
    one.eq_ignore_ascii_case(other)
}

impl FromStr for Tel {
    type Err = ValueError;

    /// Reads `tel:number;params`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::of(&text.parse()?)
    }
}

impl fmt::Display for Tel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tel:{}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn tel(text: &str) -> Tel {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// RFC 3966 §6.
    #[test]
    fn examples_of_rfc_3966() {
        assert_eq!(tel("tel:+1-201-555-0123").digits(), "+12015550123");
        let local = tel("tel:7042;phone-context=example.com");
        assert_eq!((local.is_global(), local.phone_context()), (false, Some("example.com")));
        assert_eq!(tel("tel:863-1234;phone-context=+1-914-555").phone_context(), Some("+1-914-555"));
        assert_eq!(tel("tel:*#06#;phone-context=example.com").digits(), "*#06#");
        let whole = tel("tel:+358-9-123-45678;isub=1411;ext=07;isp=x");
        assert_eq!(
            (whole.isub(), whole.ext(), whole.param("ISP")),
            (Some("1411"), Some("07"), Some(Some("x")))
        );
        assert_eq!(whole.to_string(), "tel:+358-9-123-45678;isub=1411;ext=07;isp=x");
    }

    /// RFC 3966 §3, §5.1.5.
    #[test]
    fn refused() {
        for bad in [
            "tel:7042",
            "tel:+",
            "tel:+1;phone-context=example.com",
            "tel:+12a",
            "tel:1 2;phone-context=x",
            "tel:1;phone-context=-x",
            "tel:1;phone-context=1.2",
            "tel:1;phone-context",
            "tel:+1;ext=x",
            "tel:+1;ext=1;ext=1",
            "tel:+1;",
            "tel:+1;a=",
            "tel:+1;a_b=1",
            "tel:----;phone-context=x",
            "sip:+1@h",
        ] {
            assert!(bad.parse::<Tel>().is_err(), "{bad} passed");
        }
    }

    /// RFC 3966 §4, rule by rule.
    #[test]
    fn comparison() {
        for (one, other) in [
            ("tel:+1-201-555-0123", "tel:+1(201)555.0123"),
            ("tel:+1;ext=0-1;isub=a", "TEL:+1;ISUB=A;ext=01"),
            ("tel:12;phone-context=+1-2", "tel:1-2;phone-context=+12"),
            ("tel:1b;phone-context=Example.COM", "tel:1B;phone-context=example.com"),
        ] {
            assert!(tel(one).equivalent(&tel(other)) && tel(other).equivalent(&tel(one)), "{one} = {other}");
        }
        for (one, other) in [
            ("tel:+12", "tel:12;phone-context=+1"),
            ("tel:+12", "tel:+12;ext=1"),
            ("tel:+12;x", "tel:+12;x=1"),
            ("tel:12;phone-context=+12", "tel:12;phone-context=+13"),
            ("tel:12;phone-context=+12", "tel:12;phone-context=a.b"),
            ("tel:+12", "tel:+123"),
        ] {
            assert!(
                !tel(one).equivalent(&tel(other)) && !tel(other).equivalent(&tel(one)),
                "{one} ≠ {other}"
            );
        }
    }

    /// RFC 3261 §19.1.6: the subscriber moves into the user part, parameters included.
    #[test]
    fn numbers_in_sip_uris() {
        let uri: Uri = "sip:+358-555-1234567;postd=pp22@foo.com;user=phone".parse().unwrap();
        let number = Tel::of_user(&uri).unwrap();
        assert_eq!((number.digits().as_str(), number.param("postd")), ("+3585551234567", Some(Some("pp22"))));
        assert!(Tel::of_user(&"sip:alice@foo.com".parse().unwrap()).is_err());
        assert_eq!(Tel::of_user(&"sip:1001@foo.com".parse().unwrap()).unwrap().digits(), "1001");
        assert!(Tel::of_user(&"sip:foo.com".parse().unwrap()).is_err());
    }
}
