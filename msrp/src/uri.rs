//! `msrp` and `msrps` URIs, their comparison, and paths of them (RFC 4975 §6, §9).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// Octets of a URI: longer ones are made to fill tables.
pub const MAX_URI: usize = 1_024;
/// URIs of a path: a message goes through few relays, and every answer repeats them all.
pub const MAX_PATH: usize = 16;

/// Why a text is no MSRP URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It is longer than [`MAX_URI`].
    #[error("longer than {MAX_URI} octets")]
    TooLong,
    /// It starts with neither `msrp://` nor `msrps://`.
    #[error("neither msrp:// nor msrps://")]
    Scheme,
    /// The user part has a character that needs escaping.
    #[error("a character in the user part that does not belong there")]
    User,
    /// There is no host, or no proper one.
    #[error("no proper host")]
    Host,
    /// What follows the host is no port from 1 to 65535.
    #[error("no proper port")]
    Port,
    /// The session-id is empty or has a foreign character.
    #[error("no proper session-id")]
    SessionId,
    /// The transport is missing, as in `;tcp`.
    #[error("no transport, such as ;tcp")]
    Transport,
    /// A parameter is no token, or has a value that is none.
    #[error("a parameter that is no token")]
    Parameter,
    /// There is no URI at all, or there are more than [`MAX_PATH`].
    #[error("a path has between one and {MAX_PATH} URIs")]
    Path,
}

/// An MSRP URI. Two are equal if they lead to the same session by RFC 4975 §6.1, however they are written.
///
/// ```
/// use msrp::Uri;
/// let uri: Uri = "msrp://host.example.com:8493/asfd34;tcp".parse()?;
/// assert_eq!((uri.host(), uri.port(), uri.session_id()), ("host.example.com", Some(8493), Some("asfd34")));
/// assert_eq!(uri, "MSRP://me@HOST.example.com:8493/asfd34;TCP".parse()?);
/// # Ok::<(), msrp::UriError>(())
/// ```
#[derive(Clone)]
pub struct Uri {
    text: Arc<str>,
    secure: bool,
    user: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    session: Option<Range<usize>>,
    transport: Range<usize>,
}

fn unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

fn sub_delim(octet: u8) -> bool {
    b"!$&'()*+,;=".contains(&octet)
}

/// RFC 4975 §9.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|octet| {
            matches!(octet, 0x21 | 0x23..=0x27 | 0x2a..=0x2b | 0x2d..=0x2e | 0x30..=0x39 | 0x41..=0x5a | 0x5e..=0x7e)
        })
}

/// Whether all octets are allowed or well-formed escapes.
fn escaped(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet == b'%' {
            let mut digit = || octets.next().is_some_and(|digit| digit.is_ascii_hexdigit());
            if !(digit() && digit()) {
                return false;
            }
        } else if !allowed(octet) {
            return false;
        }
    }
    true
}

impl Uri {
    /// A URI of a session at a host: an address, or a name. The session-id has to have 80 random bits (RFC 4975 §14.1).
    ///
    /// # Errors
    /// If host or session-id have characters that do not belong there.
    pub fn new(secure: bool, host: &str, port: u16, session_id: &str) -> Result<Self, UriError> {
        let scheme = if secure { "msrps" } else { "msrp" };
        let (open, close) = if host.contains(':') && !host.starts_with('[') { ("[", "]") } else { ("", "") };
        format!("{scheme}://{open}{host}{close}:{port}/{session_id};tcp").parse()
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the next hop is reached over TLS (`msrps`).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The account for which the session is valid; no part of the session's identity.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|range| self.part(range))
    }

    /// The host, an address of IPv6 without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.part(&self.host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// The port. URIs of sessions always have one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The session at this host; a URI without one is a relay's.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.session.as_ref().map(|range| self.part(range))
    }

    /// The transport: `tcp`, `ws` (RFC 7977 §5.2.1), or one to come.
    #[must_use]
    pub fn transport(&self) -> &str {
        self.part(&self.transport)
    }

    /// Whether it is reached over TCP, or TLS on it. Who is not can be in a path all the same (RFC 7977 §5.2.2).
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.transport().eq_ignore_ascii_case("tcp")
    }

    /// Whether it is a client behind a WebSocket, or where a relay takes them (RFC 7977 §5.2.1).
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.transport().eq_ignore_ascii_case("ws")
    }

    /// Parameters after the transport, as they are written.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.text.get(self.transport.end..).unwrap_or_default().split(';').skip(1).map(|parameter| {
            parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)))
        })
    }

    /// The spelling that equivalent URIs share (RFC 4975 §6.1).
    fn canonical(&self) -> String {
        let host = match self.address() {
            Some(IpAddr::V6(address)) => address.to_string(),
            Some(IpAddr::V4(address)) => address.to_string(),
            None => normalized(self.host()),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let session = self.session_id().map(|session| format!("/{session}")).unwrap_or_default();
        let transport = self.transport().to_ascii_lowercase();
        format!("{}://{host}{port}{session};{transport}", if self.secure { "msrps" } else { "msrp" })
    }
}

/// Case and needless escapes taken away (RFC 3986 §6.2.2).
fn normalized(host: &str) -> String {
    let mut plain = String::with_capacity(host.len());
    let mut rest = host;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|&code| unreserved(code)) {
            Some(code) => plain.push(char::from(code)),
            None => {
                plain.push('%');
                plain.push_str(after.get(..2).unwrap_or_default());
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain.to_ascii_lowercase()
}

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text || (self.port == other.port && self.canonical() == other.canonical())
    }
}

impl Eq for Uri {}

impl Hash for Uri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.text)
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_URI {
            return Err(UriError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let secure = scheme.eq_ignore_ascii_case("msrps");
        if !secure && !scheme.eq_ignore_ascii_case("msrp") {
            return Err(UriError::Scheme);
        }
        // No part behind the user has an @.
        let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        if user.is_some_and(|user| {
            !escaped(user, |octet| unreserved(octet) || sub_delim(octet) || octet == b':')
        }) {
            return Err(UriError::User);
        }
        let at = |part: &str| text.len().saturating_sub(part.len());
        let host_start = at(rest);
        let (host, rest) = if rest.starts_with('[') {
            let end = rest.find(']').ok_or(UriError::Host)?;
            let (host, rest) = rest.split_at_checked(end.saturating_add(1)).ok_or(UriError::Host)?;
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            address.and_then(|address| address.parse::<Ipv6Addr>().ok()).ok_or(UriError::Host)?;
            (host, rest)
        } else {
            let end = rest.find([':', '/', ';']).unwrap_or(rest.len());
            let (host, rest) = rest.split_at_checked(end).ok_or(UriError::Host)?;
            let numbers = host.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
            let proper = if numbers {
                host.parse::<Ipv4Addr>().is_ok()
            } else {
                escaped(host, |octet| unreserved(octet) || sub_delim(octet))
            };
            if host.is_empty() || !proper {
                return Err(UriError::Host);
            }
            (host, rest)
        };
        let host_end = host_start.saturating_add(host.len());
        let (port, rest) = match rest.strip_prefix(':') {
            None => (None, rest),
            Some(rest) => {
                let end = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
                let (digits, rest) = rest.split_at_checked(end).ok_or(UriError::Port)?;
                let port = digits.parse().ok().filter(|&port: &u16| port > 0).ok_or(UriError::Port)?;
                (Some(port), rest)
            }
        };
        let (session, rest) = match rest.strip_prefix('/') {
            None => (None, rest),
            Some(rest) => {
                let end = rest.find(';').ok_or(UriError::Transport)?;
                let (session, after) = rest.split_at_checked(end).ok_or(UriError::SessionId)?;
                let proper = |octet: u8| unreserved(octet) || b"+=/".contains(&octet);
                if session.is_empty() || !session.bytes().all(proper) {
                    return Err(UriError::SessionId);
                }
                let start = at(rest);
                (Some(start..start.saturating_add(session.len())), after)
            }
        };
        let rest = rest.strip_prefix(';').ok_or(UriError::Transport)?;
        let mut parts = rest.split(';');
        let transport = parts.next().unwrap_or_default();
        if transport.is_empty() || !transport.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return Err(UriError::Transport);
        }
        let start = at(rest);
        let good = |parameter: &str| match parameter.split_once('=') {
            // A token may itself contain no "=".
            Some((name, value)) => is_token(name) && is_token(value),
            None => is_token(parameter),
        };
        if !parts.all(good) {
            return Err(UriError::Parameter);
        }
        let user_range = user.map(|user| {
            let end = host_start.saturating_sub(1);
            end.saturating_sub(user.len())..end
        });
        Ok(Self {
            text: text.into(),
            secure,
            user: user_range,
            host: host_start..host_end,
            port,
            session,
            transport: start..start.saturating_add(transport.len()),
        })
    }
}

/// URIs in the order in which they are visited; the last is the endpoint's (RFC 4975 §5.2, §8.2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Vec<Uri>);

impl Path {
    /// A path of several hops.
    ///
    /// # Errors
    /// If there is none, or more than [`MAX_PATH`].
    pub fn new(uris: Vec<Uri>) -> Result<Self, UriError> {
        if uris.is_empty() || uris.len() > MAX_PATH { Err(UriError::Path) } else { Ok(Self(uris)) }
    }

    /// The first hop.
    #[must_use]
    pub fn first(&self) -> Option<&Uri> {
        self.0.first()
    }

    /// The endpoint.
    #[must_use]
    pub fn last(&self) -> Option<&Uri> {
        self.0.last()
    }

    /// All of them.
    #[must_use]
    pub fn uris(&self) -> &[Uri] {
        &self.0
    }
}

impl From<Uri> for Path {
    fn from(uri: Uri) -> Self {
        Self(vec![uri])
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, uri) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { " " })?;
            f.write_str(uri.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

impl FromStr for Path {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        // One more than allowed is enough to know.
        let uris: Result<Vec<Uri>, UriError> =
            text.split(' ').take(MAX_PATH.saturating_add(1)).map(str::parse).collect();
        Self::new(uris?)
    }
}
