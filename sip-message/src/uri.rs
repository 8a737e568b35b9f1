//! URIs: `sip`, `sips`, `tel` and whatever else a peer names (RFC 3261 §19.1, RFC 3966).

mod alert;
mod equality;
mod im_pres;
mod service;

pub use alert::AlertUrn;
pub use im_pres::ImPres;
pub use service::ServiceUrn;

use crate::ValueError;
use crate::scan::contains;
use crate::syntax::{HOST, SCHEME, URI, decimal, is, long_span, push_number, span};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// A URI as its own text plus offsets: unknown schemes and parameters survive, `Display` is a copy.
///
/// ```
/// use sip_message::Uri;
/// let uri: Uri = "sip:alice@atlanta.example.com:5070;transport=tcp?subject=hi".parse()?;
/// assert_eq!((uri.user(), uri.host(), uri.port()), (Some("alice"), "atlanta.example.com", Some(5070)));
/// assert_eq!(uri.param("transport"), Some(Some("tcp")));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
///
/// `==` compares texts; [`Uri::equivalent`] compares as RFC 3261 §19.1.4 asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    text: String,
    /// Octets of the scheme.
    scheme: u32,
    /// Where the user part ends (its '@'), 0 without one. It starts after "scheme:".
    user: u32,
    /// Start and end of the host, brackets of an IPv6 reference included.
    host: (u32, u32),
    port: Option<u16>,
    /// Where parameters start (their ';'), then headers (their '?'); the text's length without.
    params: u32,
    headers: u32,
}

/// An offset within a text that is shorter than 4 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Uri {
    /// `sip:user@host:port`; characters of `user` that need it are escaped.
    ///
    /// # Errors
    /// If `host` is not a host name, an IPv4 address or a bracketed IPv6 address, or `user` is empty.
    pub fn sip(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Self, ValueError> {
        Self::of("sip", user, host, port)
    }

    /// The same with the scheme `sips`, which asks for TLS on each hop (§26.2.2).
    ///
    /// # Errors
    /// If the host is none.
    pub fn sips(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Self, ValueError> {
        Self::of("sips", user, host, port)
    }

    fn of(scheme: &str, user: Option<&str>, host: &str, port: Option<u16>) -> Result<Self, ValueError> {
        let mut text = String::from(scheme);
        text.push(':');
        if let Some(user) = user {
            for byte in user.bytes() {
                push_escaped(&mut text, byte, is_user_character);
            }
            text.push('@');
        }
        let start = text.len();
        text.push_str(host);
        if host_span(host.as_bytes(), start)? != host.len() {
            return Err(ValueError::new("a host", start));
        }
        if let Some(port) = port {
            text.push(':');
            push_number(&mut text, u64::from(port));
        }
        text.parse()
    }

    /// The scheme as written: `sip`, `sips`, `tel`, ...
    pub fn scheme(&self) -> &str {
        self.part(0, self.scheme)
    }

    /// Whether the scheme is `sip`.
    pub fn is_sip(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("sip")
    }

    /// Whether the scheme is `sips`.
    pub fn is_sips(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("sips")
    }

    /// Whether the scheme is `tel` (RFC 3966).
    pub fn is_tel(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("tel")
    }

    /// The user part of a `sip` or `sips` URI, escapes as they stand, a password included; the number of a
    /// `tel` URI.
    pub fn user(&self) -> Option<&str> {
        if self.is_tel() {
            return Some(self.part(self.scheme.saturating_add(1), self.params));
        }
        (self.user > 0).then(|| self.part(self.scheme.saturating_add(1), self.user))
    }

    /// The user part with escapes undone.
    pub fn user_decoded(&self) -> Option<Cow<'_, str>> {
        self.user().map(decode)
    }

    /// The host as written; empty for a URI that has none (`tel`, `urn`).
    pub fn host(&self) -> &str {
        self.part(self.host.0, self.host.1)
    }

    /// The port, if it is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `host:port`, or `host` alone.
    pub fn host_port(&self) -> &str {
        self.part(self.host.0, self.params)
    }

    /// A URI parameter: `None` if absent, `Some(None)` for a flag such as `lr`. Names compare without regard to
    /// case and with escapes undone; values come as they stand.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        self.params().find(|(known, _)| same_name(known, name)).map(|(_, value)| value)
    }

    /// The URI parameters in order.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        // They are short: octet by octet is faster than a search for each separator.
        let mut rest = self.part(self.params, self.headers);
        core::iter::from_fn(move || {
            rest = rest.trim_start_matches(';');
            let end = rest.bytes().position(|octet| octet == b';').unwrap_or(rest.len());
            let (one, behind) = rest.split_at_checked(end)?;
            rest = behind;
            match one.bytes().position(|octet| octet == b'=') {
                Some(at) => Some((one.get(..at)?, one.get(at.saturating_add(1)..))),
                None => (!one.is_empty()).then_some((one, None)),
            }
        })
    }

    /// The headers after `?`, escapes as they stand.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = self.text.get(self.headers as usize..).unwrap_or_default();
        text.trim_start_matches('?')
            .split('&')
            .filter(|one| !one.is_empty())
            .map(|one| one.split_once('=').unwrap_or((one, "")))
    }

    /// Whether the URI names a loose router (RFC 3261 §16.4).
    pub fn has_lr(&self) -> bool {
        self.param("lr").is_some()
    }

    /// The `transport` parameter.
    pub fn transport_param(&self) -> Option<&str> {
        self.param("transport").flatten()
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&str> {
        self.param("maddr").flatten()
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Sets or replaces a parameter; characters that need it are escaped.
    pub fn set_param(&mut self, name: &str, value: Option<&str>) {
        self.rewrite_params(name, Some(value));
    }

    /// Removes a parameter.
    pub fn remove_param(&mut self, name: &str) {
        self.rewrite_params(name, None);
    }

    /// Removes the headers after `?`.
    pub fn remove_headers(&mut self) {
        self.text.truncate(self.headers as usize);
    }

    fn rewrite_params(&mut self, name: &str, new: Option<Option<&str>>) {
        let mut text = String::from(self.part(0, self.params));
        for (known, value) in self.params().filter(|(known, _)| !same_name(known, name)) {
            text.push(';');
            text.push_str(known);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        if let Some(value) = new {
            text.push(';');
            name.bytes().for_each(|byte| push_escaped(&mut text, byte, is_param_character));
            if let Some(value) = value {
                text.push('=');
                value.bytes().for_each(|byte| push_escaped(&mut text, byte, is_param_character));
            }
        }
        text.push_str(self.text.get(self.headers as usize..).unwrap_or_default());
        if let Ok(uri) = text.parse() {
            *self = uri;
        }
    }

    /// What identifies an address-of-record: the URI without port-independent details, that is scheme, user
    /// (needless escapes undone) and host in lower case, and the port (RFC 3261 §10.3 step 5). Parameters are
    /// dropped. Of a scheme other than `sip`, `sips` and `tel` the whole text, in lower case.
    pub fn canonical_aor(&self) -> String {
        if !self.is_sip() && !self.is_sips() && !self.is_tel() {
            return self.text.to_ascii_lowercase();
        }
        let mut text = self.scheme().to_ascii_lowercase();
        text.push(':');
        if let Some(user) = self.user() {
            // Octets, not characters: two users that are no UTF-8 must not become one.
            octets(user).for_each(|byte| push_escaped(&mut text, byte, is_user_character));
            if !self.is_tel() {
                text.push('@');
            }
        }
        text.push_str(&self.host().to_ascii_lowercase());
        if let Some(port) = self.port {
            text.push(':');
            push_number(&mut text, u64::from(port)); // "05060" is the same port
        }
        text
    }

    fn part(&self, from: u32, to: u32) -> &str {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl FromStr for Uri {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let octets = text.as_bytes();
        let (mut uri, end) = Self::locate(octets).map_err(|error| {
            // A character that no URI can hold explains what else is wrong, but for the scheme.
            let stranger = octets.iter().position(|&byte| !is_uri_character(byte));
            match stranger {
                Some(at) if error.at > 0 => stranger_at(at),
                _ => error,
            }
        })?;
        if end < octets.len() {
            return Err(stranger_at(end));
        }
        uri.text = String::from(text);
        Ok(uri)
    }
}

fn stranger_at(at: usize) -> ValueError {
    ValueError::new("a character allowed in a URI (escape others with %)", at)
}

/// How many characters of a URI `octets` starts with, '@' not among them.
fn uri_span(octets: &[u8]) -> Result<usize, ValueError> {
    let mut at = 0usize;
    loop {
        let rest = octets.get(at..).unwrap_or_default();
        let plain = long_span(rest, URI);
        at = at.saturating_add(plain);
        match rest.get(plain..) {
            Some([b'%', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                at = at.saturating_add(3);
            }
            Some([b'%', ..]) => return Err(ValueError::new("two hexadecimal digits after '%'", at)),
            _ => return Ok(at),
        }
    }
}

impl Uri {
    /// Reads the URI that `text` starts with and a '>' ends, and where that is. `None` if there is anything wrong
    /// or unusual about it.
    pub(crate) fn until_bracket(text: &str) -> Option<(Self, usize)> {
        let (mut uri, end) = Self::locate(text.as_bytes()).ok()?;
        let (whole, behind) = text.split_at_checked(end)?;
        if !behind.starts_with('>') {
            return None;
        }
        uri.text = String::from(whole);
        Some((uri, end))
    }

    /// Where the URI that `text` starts with ends, if a '>' follows it.
    pub(crate) fn bracketed(text: &str) -> Option<usize> {
        let (_, end) = Self::locate(text.as_bytes()).ok()?;
        text.get(end..)?.starts_with('>').then_some(end)
    }

    /// Whether `text` is a URI that carries no header fields and no more parameters than these.
    pub(crate) fn is_modest(text: &str, parameters: usize) -> bool {
        let Ok((uri, end)) = Self::locate(text.as_bytes()) else { return false };
        let behind = text.as_bytes().get(uri.params as usize..).unwrap_or_default();
        end == text.len()
            && uri.headers as usize == end
            && behind.iter().filter(|&&octet| octet == b';').count() <= parameters
    }

    /// The host and the port of the URI that `text` starts with, and where it ends, for a URI that is not kept.
    pub(crate) fn locate_host(text: &str) -> Option<(&str, Option<u16>, usize)> {
        let (uri, end) = Self::locate(text.as_bytes()).ok()?;
        Some((text.get(uri.host.0 as usize..uri.host.1 as usize)?, uri.port, end))
    }

    /// Finds the parts of the URI that `octets` start with: a URI without its text yet, and where it ends.
    #[inline]
    fn locate(octets: &[u8]) -> Result<(Self, usize), ValueError> {
        let common = octets.starts_with(b"sip:");
        let colon = if common { 3 } else { span(octets, SCHEME) };
        if octets.get(colon) != Some(&b':') {
            let colon = memchr::memchr(b':', octets).is_some();
            return Err(ValueError::new(if colon { "a URI scheme" } else { "a scheme and ':'" }, 0));
        }
        if !octets.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(ValueError::new("a URI scheme", 0));
        }
        if u32::try_from(octets.len()).is_err() {
            return Err(ValueError::new("a URI shorter than 4 GiB", octets.len()));
        }
        let mut uri = Self {
            text: String::new(),
            scheme: offset(colon),
            user: 0,
            host: (0, 0),
            port: None,
            params: 0,
            headers: 0,
        };
        let scheme = octets.get(..colon).unwrap_or_default();
        let start = colon.saturating_add(1);
        let end = if common || scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips") {
            uri.locate_sip(octets, start)?
        } else {
            let rest = octets.get(start..).unwrap_or_default();
            let end = rest.iter().position(|&byte| !is_uri_character(byte)).unwrap_or(rest.len());
            if end == 0 {
                return Err(ValueError::new("something after the scheme", colon));
            }
            let end = start.saturating_add(end);
            uri.host = (offset(end), offset(end));
            uri.headers = offset(end);
            let params = memchr::memchr(b';', octets.get(..end).unwrap_or_default());
            uri.params = offset(params.filter(|_| scheme.eq_ignore_ascii_case(b"tel")).unwrap_or(end));
            end
        };
        Ok((uri, end))
    }

    /// Finds the parts behind `sip:`, and where they end.
    fn locate_sip(&mut self, octets: &[u8], start: usize) -> Result<usize, ValueError> {
        let from = |at: usize| octets.get(at..).unwrap_or_default();
        let moved =
            |at: usize| move |error: ValueError| ValueError::new(error.expected, error.at.saturating_add(at));
        // What starts like a host is a user if an '@' follows, directly or somewhere. Without one it was the host.
        let mut host = start;
        let mut host_end = start.saturating_add(long_span(from(start), HOST));
        let mut checked = None;
        let user_end = match octets.get(host_end) {
            None | Some(b'@' | b'>') => host_end,
            Some(_) => host_end.saturating_add(uri_span(from(host_end)).map_err(moved(host_end))?),
        };
        if octets.get(user_end) == Some(&b'@') {
            if user_end == start || octets.get(start) == Some(&b':') {
                return Err(ValueError::new("a user before '@'", start));
            }
            self.user = offset(user_end);
            host = user_end.saturating_add(1);
            host_end = host.saturating_add(host_span(from(host), host)?);
        } else {
            checked = Some(user_end);
            if host_end == host {
                host_end = host.saturating_add(host_span(from(host), host)?);
            }
        }
        self.host = (offset(host), offset(host_end));
        let mut at = host_end;
        if octets.get(at) == Some(&b':') {
            let digits = from(at.saturating_add(1));
            let len = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
            let port = decimal(digits.get(..len).unwrap_or_default());
            let port = port.and_then(|port| u16::try_from(port).ok());
            self.port = Some(port.ok_or(ValueError::new("a port from 0 to 65535", at))?);
            at = at.saturating_add(len).saturating_add(1);
        }
        self.params = offset(at);
        self.headers = self.params;
        match octets.get(at) {
            Some(b';' | b'?') => {}
            Some(&next) if is_uri_character(next) => {
                return Err(ValueError::new("':', ';', '?' or the end after the host", at));
            }
            _ => return Ok(at),
        }
        let mut end = checked.unwrap_or(at);
        while checked.is_none() {
            end = end.saturating_add(uri_span(from(end)).map_err(moved(end))?);
            match octets.get(end) {
                Some(b'@') => end = end.saturating_add(1), // it ended the user before
                _ => break,
            }
        }
        let params = octets.get(at..end).unwrap_or_default();
        self.headers = offset(end);
        if contains(params, b'?')
            && let Some(headers) = memchr::memchr(b'?', params)
        {
            self.headers = offset(at.saturating_add(headers));
        }
        Ok(end)
    }
}

/// The length of the host that `octets` start with; `at` is its offset, for errors.
fn host_span(octets: &[u8], at: usize) -> Result<usize, ValueError> {
    if octets.first() != Some(&b'[') {
        let end = long_span(octets, HOST);
        return if end == 0 { Err(ValueError::new("a host name or address", at)) } else { Ok(end) };
    }
    let end = memchr::memchr(b']', octets).ok_or(ValueError::new("']' after an IPv6 address", at))?;
    let address = octets.get(1..end).and_then(|address| core::str::from_utf8(address).ok());
    // The grammar of RFC 3261 let a third colon in before an IPv4 tail: tolerated (RFC 5118 §4.10).
    let valid = address.is_some_and(|address| {
        address.parse::<core::net::Ipv6Addr>().is_ok()
            || address.replacen(":::", "::", 1).parse::<core::net::Ipv6Addr>().is_ok()
    });
    if valid { Ok(end.saturating_add(1)) } else { Err(ValueError::new("an IPv6 address in brackets", at)) }
}

/// The length of the host at the start of `text`, for other values that contain one (`Via`).
pub(crate) fn host_length(text: &str, at: usize) -> Result<usize, ValueError> {
    host_span(text.as_bytes(), at)
}

fn is_uri_character(byte: u8) -> bool {
    is(byte, URI) || matches!(byte, b'@' | b'%')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

fn is_user_character(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

fn is_param_character(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

fn push_escaped(text: &mut String, byte: u8, plain: fn(u8) -> bool) {
    if plain(byte) {
        text.push(char::from(byte));
    } else {
        const HEX: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
        text.push('%');
        text.extend([byte >> 4, byte & 15].iter().filter_map(|&digit| HEX.get(usize::from(digit))));
    }
}

/// `text` with `%HH` undone; octets that are not UTF-8 become U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes: Vec<u8> = octets(text).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The octets of `text` with `%HH` undone.
fn octets(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    core::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if byte == b'%'
            && let Some((digits, beyond)) = after.split_at_checked(2)
            && digits.iter().all(u8::is_ascii_hexdigit)
            && let Some(value) =
                core::str::from_utf8(digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            rest = beyond;
            return Some(value);
        }
        Some(byte)
    })
}

fn lower_octets(text: &str) -> impl Iterator<Item = u8> {
    octets(text).map(|byte| byte.to_ascii_lowercase())
}

fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || (one.contains('%') && lower_octets(one).eq(lower_octets(other)))
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn parts_of_a_full_sip_uri_rfc_3261_19_1_1() {
        let uri = uri("sips:alice:pw@[2001:db8::9]:5061;transport=tcp;lr?a=b&c=d%20e");
        assert_eq!(uri.user(), Some("alice:pw"));
        assert_eq!(uri.host(), "[2001:db8::9]");
        assert_eq!(uri.host_port(), "[2001:db8::9]:5061");
        assert_eq!(uri.port(), Some(5061));
        assert!(uri.has_lr() && uri.is_sips());
        assert_eq!(uri.headers().collect::<Vec<_>>(), [("a", "b"), ("c", "d%20e")]);
    }

    #[test]
    fn users_may_hold_semicolons_and_question_marks() {
        let uri = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(uri.user_decoded().unwrap(), "user;par=u@example.net");
        assert_eq!(uri.host(), "example.com");
        assert_eq!(uri.param("par"), None);
    }

    #[test]
    fn refused_with_the_place() {
        for text in [
            "sip:",
            "sip:@host",
            "sip::secret@host",
            "alice",
            "sip:a@",
            "sip:a@host:x",
            "sip:a@host:99999",
            "sip:a b@host",
            "sip:a%2@h",
            "sip:[::1",
            "sip:[zz]",
            "sip:h/x",
            "1sip:h",
            "tel:",
            "<sip:a@b>",
        ] {
            assert!(text.parse::<Uri>().is_err(), "{text} passed");
        }
    }

    /// RFC 3261 §19.1.4: the examples of equal and of different URIs.
    #[test]
    fn equality_examples_of_rfc_3261_19_1_4() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert!(uri(a).equivalent(&uri(b)), "{a} = {b}");
            assert!(uri(b).equivalent(&uri(a)), "{b} = {a}");
        }
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ] {
            assert!(!uri(a).equivalent(&uri(b)), "{a} ≠ {b}");
            assert!(!uri(b).equivalent(&uri(a)), "{b} ≠ {a}");
        }
    }

    #[test]
    fn tel_and_other_schemes() {
        let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
        assert_eq!(tel.user(), Some("+1-201-555-0123"));
        assert_eq!(tel.param("phone-context"), Some(Some("example.com")));
        assert_eq!(uri("urn:service:sos").scheme(), "urn");
    }

    #[test]
    fn building_escapes_what_needs_it() {
        let mut made = Uri::sip(Some("a b@c"), "example.com", Some(5070)).unwrap();
        assert_eq!(made.to_string(), "sip:a%20b%40c@example.com:5070");
        made.set_param("transport", Some("tcp"));
        made.set_param("x", Some("a;b\r\n"));
        assert_eq!(made.to_string(), "sip:a%20b%40c@example.com:5070;transport=tcp;x=a%3Bb%0D%0A");
        made.remove_param("transport");
        assert_eq!(made.param("transport"), None);
        assert!(Uri::sip(None, "exa mple", None).is_err());
        assert!(Uri::sip(None, "h;lr", None).is_err());
        assert_eq!(uri("SIP:Al%69ce@EXAMPLE.com;x=1").canonical_aor(), "sip:Alice@example.com");
        assert_eq!(uri("urn:service:SOS").canonical_aor(), "urn:service:sos");
    }

    /// Octets that are no UTF-8 all decode to the same replacement character, and still differ.
    #[test]
    fn users_of_other_octets_are_other_users() {
        let (one, other) = (uri("sip:%FE@example.com"), uri("sip:%FF@example.com"));
        assert_eq!(one.user_decoded(), other.user_decoded());
        assert!(!one.equivalent(&other));
        assert_ne!(one.canonical_aor(), other.canonical_aor());
    }
}
