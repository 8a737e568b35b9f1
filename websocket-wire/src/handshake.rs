//! The upgrade from HTTP (RFC 6455 §4) with one subprotocol, such as `sip` (RFC 7118 §4.1) or `msrp` (RFC 7977 §4.1).

use bytes::Bytes;
use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// Octets of a request or response head, at most: browsers send a few hundred, and cookies.
pub const MAX_HEAD: usize = 8_192;

/// Header fields of a head, at most.
const MAX_FIELDS: usize = 64;

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Which web pages may connect (RFC 6455 §10.2). Programs that are no browsers send no origin, or any: this protects the
/// users of browsers from pages of strangers, and nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// All.
    #[default]
    Any,
    /// Pages from one of these (`https://phone.example.com`), and whoever names no origin.
    Only(Vec<String>),
}

impl Origins {
    fn allow(&self, origin: Option<&str>) -> bool {
        match (self, origin) {
            (Origins::Any, _) | (Origins::Only(_), None) => true,
            (Origins::Only(list), Some(origin)) => list.iter().any(|one| one.eq_ignore_ascii_case(origin)),
        }
    }
}

/// Why an upgrade is refused, by HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: no HTTP, or no valid upgrade to WebSocket.
    #[error("no valid WebSocket upgrade")]
    BadRequest,
    /// 400: the client does not offer our subprotocol.
    #[error("the subprotocol is not offered")]
    Subprotocol,
    /// 403: the page's origin is not allowed.
    #[error("the origin is not allowed")]
    Origin,
    /// 405: not GET.
    #[error("the method is not GET")]
    Method,
    /// 426: another version than 13.
    #[error("the WebSocket version is not 13")]
    Version,
    /// 431: the head passes [`MAX_HEAD`].
    #[error("the request's head is too large")]
    TooLarge,
}

impl Refusal {
    /// The whole HTTP response.
    #[must_use]
    pub fn response(self) -> Bytes {
        let (status, more) = match self {
            Refusal::BadRequest => ("400 Bad Request", ""),
            Refusal::Subprotocol => ("400 Subprotocol Required", ""),
            Refusal::Origin => ("403 Forbidden", ""),
            Refusal::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Refusal::Version => {
                ("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Refusal::TooLarge => ("431 Request Header Fields Too Large", ""),
        };
        format!("HTTP/1.1 {status}\r\n{more}Connection: close\r\nContent-Length: 0\r\n\r\n").into()
    }
}

/// Why the server's answer is no upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// Another HTTP status than 101.
    #[error("the server answered {0} to the upgrade")]
    Status(u16),
    /// It did not choose our subprotocol.
    #[error("the server does not speak the subprotocol")]
    Subprotocol,
    /// No valid upgrade (RFC 6455 §4.1).
    #[error("the server's answer to the upgrade is malformed")]
    Malformed,
}

/// Reads a client's request for a subprotocol. `None`: it is not whole yet. The response to send, and the octets of the request. A page
/// is told that its origin may read the answer, as RFC 7977 §7 asks.
///
/// # Errors
/// When the request is to be refused.
pub fn accept(
    octets: &[u8],
    subprotocol: &str,
    origins: &Origins,
) -> Result<Option<(Bytes, usize)>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let size = match request.parse(octets) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
        Ok(httparse::Status::Partial) if octets.len() <= MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::BadRequest),
    };
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let fields = Fields(request.headers);
    if request.version != Some(1)
        || fields.one("Host").is_none()
        || !fields.lists("Upgrade", "websocket", false)
        || !fields.lists("Connection", "upgrade", false)
    {
        return Err(Refusal::BadRequest);
    }
    if fields.one("Sec-WebSocket-Version") != Some("13") {
        return Err(Refusal::Version);
    }
    let key = fields.one("Sec-WebSocket-Key").filter(|key| is_key(key)).ok_or(Refusal::BadRequest)?;
    let origin = fields.one("Origin");
    if !origins.allow(origin) {
        return Err(Refusal::Origin);
    }
    if !fields.lists("Sec-WebSocket-Protocol", subprotocol, true) {
        return Err(Refusal::Subprotocol);
    }
    let origin =
        origin.map(|origin| format!("Access-Control-Allow-Origin: {origin}\r\n")).unwrap_or_default();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n{origin}\r\n",
        accept_value(key)
    );
    Ok(Some((response.into(), size)))
}

/// A client's request for the resource `/` of a host (with its port, if it is not the default one). The key is random.
#[must_use]
pub fn request(host: &str, subprotocol: &str, key: [u8; 16]) -> Bytes {
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
        BASE64.encode(&key)
    )
    .into()
}

/// Reads the server's response to [`request`]. `None`: it is not whole yet. Else its octets.
///
/// # Errors
/// When it is no upgrade to WebSocket with this subprotocol.
pub fn accepted(octets: &[u8], subprotocol: &str, key: [u8; 16]) -> Result<Option<usize>, UpgradeError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(octets) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
        Ok(httparse::Status::Partial) if octets.len() <= MAX_HEAD => return Ok(None),
        _ => return Err(UpgradeError::Malformed),
    };
    match response.code {
        Some(101) => {}
        Some(status) => return Err(UpgradeError::Status(status)),
        None => return Err(UpgradeError::Malformed),
    }
    let fields = Fields(response.headers);
    if !fields.lists("Upgrade", "websocket", false)
        || !fields.lists("Connection", "upgrade", false)
        || fields.one("Sec-WebSocket-Accept") != Some(accept_value(&BASE64.encode(&key)).as_str())
        || fields.all("Sec-WebSocket-Extensions").next().is_some()
    {
        return Err(UpgradeError::Malformed);
    }
    if fields.one("Sec-WebSocket-Protocol") != Some(subprotocol) {
        return Err(UpgradeError::Subprotocol);
    }
    Ok(Some(size))
}

/// The header fields of a head.
struct Fields<'h>(&'h [httparse::Header<'h>]);

impl<'h> Fields<'h> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'h str> + use<'h> {
        let named = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.filter_map(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    }

    /// The value of a field that stands there exactly once.
    fn one(&self, name: &'static str) -> Option<&'h str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// Whether a token is in the comma lists of a field.
    fn lists(&self, name: &'static str, token: &str, exact: bool) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|one| if exact { one == token } else { one.eq_ignore_ascii_case(token) })
    }
}

/// Sixteen octets in base64 (RFC 6455 §4.1).
fn is_key(text: &str) -> bool {
    let Some(digits) = text.strip_suffix("==") else { return false };
    digits.len() == 22 && digits.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn accept_value(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    BASE64.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn refused(from: &str, to: &str) -> Refusal {
        assert!(REQUEST.contains(from), "{from}");
        accept(REQUEST.replace(from, to).as_bytes(), "sip", &Origins::Any).unwrap_err()
    }

    /// RFC 6455 §1.3 has this key and this answer.
    #[test]
    fn an_upgrade_is_accepted() {
        let (response, size) =
            accept(format!("{REQUEST}more").as_bytes(), "sip", &Origins::Any).unwrap().unwrap();
        assert_eq!(size, REQUEST.len());
        let text = std::str::from_utf8(&response).unwrap();
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
        assert!(text.contains("Sec-WebSocket-Protocol: sip\r\n"), "{text}");
        // RFC 7977 §7.
        assert!(text.contains("Access-Control-Allow-Origin: http://example.com\r\n"), "{text}");
        for cut in 0..REQUEST.len() {
            assert_eq!(accept(&REQUEST.as_bytes()[..cut], "sip", &Origins::Any), Ok(None), "{cut}");
        }
    }

    #[test]
    fn what_is_no_upgrade_is_refused_with_its_status() {
        assert_eq!(refused("GET", "POST"), Refusal::Method);
        assert_eq!(refused("HTTP/1.1", "HTTP/1.0"), Refusal::BadRequest);
        assert_eq!(refused("Host: server.example.com\r\n", ""), Refusal::BadRequest);
        assert_eq!(refused("Upgrade: websocket", "Upgrade: h2c"), Refusal::BadRequest);
        assert_eq!(refused("keep-alive, Upgrade", "keep-alive"), Refusal::BadRequest);
        assert_eq!(refused("Version: 13", "Version: 8"), Refusal::Version);
        assert_eq!(refused("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"), Refusal::BadRequest);
        assert_eq!(refused("dGhlIHNhbXBsZSBub25jZQ==", "short"), Refusal::BadRequest);
        assert_eq!(refused("chat, sip", "chat, sips"), Refusal::Subprotocol);
        assert_eq!(refused("Sec-WebSocket-Protocol: chat, sip\r\n", ""), Refusal::Subprotocol);
        assert_eq!(refused("GET", "\u{1}"), Refusal::BadRequest);
        assert_eq!(refused("/chat", &format!("/{}", "a".repeat(MAX_HEAD))), Refusal::TooLarge);
        let many = "X: y\r\nUpgrade".to_owned().replace("X: y", &["X: y"; 70].join("\r\n"));
        assert_eq!(refused("Upgrade", &many), Refusal::TooLarge);
        let endless = vec![b'a'; MAX_HEAD + 1];
        assert_eq!(accept(&endless, "sip", &Origins::Any), Err(Refusal::TooLarge));
        for refusal in [Refusal::Version, Refusal::Origin, Refusal::Subprotocol] {
            assert!(refusal.response().ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn only_pages_of_allowed_origins_may_connect() {
        let only = |origin: &str| Origins::Only(vec![origin.into()]);
        assert!(accept(REQUEST.as_bytes(), "sip", &only("http://example.com")).is_ok());
        assert_eq!(accept(REQUEST.as_bytes(), "sip", &only("https://example.com")), Err(Refusal::Origin));
        let none = REQUEST.replace("Origin: http://example.com\r\n", "");
        assert!(accept(none.as_bytes(), "sip", &only("https://example.com")).is_ok());
    }

    #[test]
    fn a_client_and_a_server_agree() {
        let key = *b"the sample nonce";
        let request = request("server.example.com", "sip", key);
        let (response, _) = accept(&request, "sip", &Origins::Any).unwrap().unwrap();
        assert_eq!(accepted(&response, "sip", key), Ok(Some(response.len())));
        for cut in 0..response.len() {
            assert_eq!(accepted(&response[..cut], "sip", key), Ok(None), "{cut}");
        }
        let other = |from: &str, to: &str| {
            let text = std::str::from_utf8(&response).unwrap();
            assert!(text.contains(from));
            accepted(text.replace(from, to).as_bytes(), "sip", key).unwrap_err()
        };
        assert_eq!(other("101 Switching", "404 Not Found"), UpgradeError::Status(404));
        assert_eq!(other("Protocol: sip", "Protocol: chat"), UpgradeError::Subprotocol);
        assert_eq!(other("Sec-WebSocket-Protocol: sip\r\n", ""), UpgradeError::Subprotocol);
        assert_eq!(other("Accept: ", "Accept: x"), UpgradeError::Malformed);
        assert_eq!(other("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"), UpgradeError::Malformed);
        assert_eq!(accepted(b"SIP/2.0 400 Bad Request\r\n\r\n", "sip", key), Err(UpgradeError::Malformed));
        assert_eq!(accepted(&Refusal::Origin.response(), "sip", key), Err(UpgradeError::Status(403)));
    }
}
