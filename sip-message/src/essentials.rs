//! What every message is asked by a proxy or a transaction layer, read in one pass and without a copy.

use crate::fields::without_comment;
use crate::headers::Headers;
use crate::syntax::{TOKEN, VALUE, VISIBLE, closing_quote, decimal, is_lws, long_span, span, trim};
use crate::uri::{Uri, host_length};
use crate::{HeaderName, Method};

/// The parts of a message that say where it belongs and where it goes. What is absent or cannot be read is `None`;
/// [`Request::check`](crate::Request::check) and the typed fields tell why.
///
/// ```
/// use sip_message::{Limits, Request};
/// let text = "BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP c:5062;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=7\r\n\
///     To: Bob <sip:b@h>;tag=8\r\nCall-ID: x@c\r\nCSeq: 2 BYE\r\nRoute: <sip:edge.h:5070;lr>\r\n\r\n";
/// let request = Request::parse(text.into(), &Limits::default())?;
/// let essentials = request.headers.essentials();
/// let via = essentials.via.unwrap();
/// assert_eq!((via.transport, via.host, via.port, via.branch), ("UDP", "c", Some(5062), Some("z9hG4bK1")));
/// assert_eq!((essentials.call_id, essentials.cseq), (Some("x@c"), Some((2, "BYE"))));
/// assert_eq!((essentials.from_tag, essentials.to_tag), (Some("7"), Some("8")));
/// assert_eq!(essentials.route.map(|route| (route.host, route.port)), Some(("edge.h", Some(5070))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Essentials<'m> {
    /// The top `Via` (RFC 3261 §20.42).
    pub via: Option<TopVia<'m>>,
    /// `Call-ID` (RFC 3261 §20.8).
    pub call_id: Option<&'m str>,
    /// The number and the method of `CSeq` (RFC 3261 §20.16).
    pub cseq: Option<(u32, &'m str)>,
    /// The tag of `From` (RFC 3261 §19.3).
    pub from_tag: Option<&'m str>,
    /// The tag of `To`.
    pub to_tag: Option<&'m str>,
    /// `Max-Forwards` (RFC 3261 §20.22).
    pub max_forwards: Option<u8>,
    /// The URI of the first `Route` (RFC 3261 §20.34).
    pub route: Option<UriParts<'m>>,
    /// The URI of the first `Contact` (RFC 3261 §20.10); none for `*`.
    pub contact: Option<UriParts<'m>>,
}

impl Essentials<'_> {
    /// The method that `CSeq` names.
    pub fn method(&self) -> Option<Method> {
        self.cseq.map(|(_, method)| Method::from(method))
    }
}

/// What identifies a transaction in a `Via` (RFC 3261 §17.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopVia<'m> {
    /// The transport: `UDP`, `TCP`, ...
    pub transport: &'m str,
    /// The host of sent-by, brackets of an IPv6 address included.
    pub host: &'m str,
    /// The port of sent-by, if it is written.
    pub port: Option<u16>,
    /// The `branch` parameter.
    pub branch: Option<&'m str>,
}

/// A URI that stays where it stands. [`Uri`] reads its text for all the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UriParts<'m> {
    /// The whole text.
    pub text: &'m str,
    /// The host; empty for a URI that has none.
    pub host: &'m str,
    /// The port, if it is written.
    pub port: Option<u16>,
}

const VIA: u8 = HeaderName::VIA.id();
const FROM: u8 = HeaderName::FROM.id();
const TO: u8 = HeaderName::TO.id();
const CALL_ID: u8 = HeaderName::CALL_ID.id();
const CSEQ: u8 = HeaderName::CSEQ.id();
const CONTACT: u8 = HeaderName::CONTACT.id();
const MAX_FORWARDS: u8 = HeaderName::MAX_FORWARDS.id();
const ROUTE: u8 = HeaderName::ROUTE.id();

impl Headers {
    /// What a proxy or a transaction layer asks of every message, in one pass over the fields.
    pub fn essentials(&self) -> Essentials<'_> {
        let mut found = Essentials::default();
        let mut seen = 0u128; // one bit per known name: the first line of a name counts
        for (name, value) in self.known_texts(is_essential) {
            let bit = 1u128.wrapping_shl(u32::from(name));
            let Some(value) = value else {
                seen |= bit; // the field is there, and cannot be read
                continue;
            };
            let value = if is_list(name) { first_element(value) } else { value };
            // A list of commas alone has no element; the next line of the name might.
            if seen & bit != 0 || (value.is_empty() && is_list(name)) {
                continue;
            }
            seen |= bit;
            match name {
                VIA => found.via = via(value),
                FROM => found.from_tag = address(value).and_then(|(_, params)| param(params, "tag")),
                TO => found.to_tag = address(value).and_then(|(_, params)| param(params, "tag")),
                CALL_ID => found.call_id = call_id(value),
                CSEQ => found.cseq = cseq(value),
                MAX_FORWARDS => {
                    found.max_forwards = decimal(value.as_bytes()).and_then(|hops| u8::try_from(hops).ok());
                }
                ROUTE => found.route = uri(value),
                CONTACT => found.contact = uri(value),
                _ => {}
            }
        }
        found
    }
}

impl Headers {
    /// The tag of the first `From` or `To` (RFC 3261 §19.3), where it stands. `None` if there is none or it cannot be read.
    ///
    /// ```
    /// use sip_message::{HeaderName, Headers};
    /// let mut headers = Headers::new();
    /// headers.push_raw("To", "Bob <sip:bob@example.com>;tag=a6c85cf")?;
    /// assert_eq!(headers.tag(HeaderName::TO), Some("a6c85cf"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tag(&self, name: HeaderName) -> Option<&str> {
        address(self.text(name)?).and_then(|(_, params)| param(params, "tag"))
    }
}

/// Whether [`Headers::essentials`] wants the text of this known name.
fn is_essential(name: u8) -> bool {
    matches!(name, VIA | FROM | TO | CALL_ID | CSEQ | CONTACT | MAX_FORWARDS | ROUTE)
}

fn is_list(name: u8) -> bool {
    matches!(name, VIA | CONTACT | ROUTE)
}

/// `text` from `at` on, without white space before it; that of folds too.
fn skip(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    match rest.as_bytes().first() {
        Some(&first) if is_lws(first) => rest.trim_start_matches([' ', '\t', '\r', '\n']),
        _ => rest,
    }
}

/// A list from its first element on: empty ones are passed over.
fn first_element(value: &str) -> &str {
    if value.starts_with(',') { value.trim_start_matches([',', ' ', '\t', '\r', '\n']) } else { value }
}

fn via(text: &str) -> Option<TopVia<'_>> {
    let rest = match text.strip_prefix("SIP/2.0/") {
        Some(rest) => rest,
        None => {
            let (name, rest) = text.split_at_checked(span(text.as_bytes(), TOKEN))?;
            let rest = skip(skip(rest, 0).strip_prefix('/')?, 0).strip_prefix("2.0")?;
            if !name.eq_ignore_ascii_case("SIP") {
                return None;
            }
            skip(rest, 0).strip_prefix('/')?
        }
    };
    let rest = skip(rest, 0);
    let (transport, rest) = rest.split_at_checked(span(rest.as_bytes(), TOKEN))?;
    let sent_by = skip(rest, 0);
    if transport.is_empty() || sent_by.len() == rest.len() {
        return None;
    }
    let (host, rest) = sent_by.split_at_checked(host_length(sent_by, 0).ok()?)?;
    let mut rest = skip(rest, 0);
    let mut port = None;
    if let Some(after) = rest.strip_prefix(':') {
        let after = skip(after, 0);
        let digits = after.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
        let (digits, behind) = after.split_at_checked(digits)?;
        port = Some(u16::try_from(decimal(digits.as_bytes())?).ok()?);
        rest = behind;
    }
    Some(TopVia { transport, host, port, branch: param(without_comment(rest), "branch") })
}

/// The value of the parameter `name` among those that `text` starts with.
fn param<'m>(text: &'m str, name: &str) -> Option<&'m str> {
    let mut rest = skip(text, 0);
    loop {
        let after = skip(rest.strip_prefix(';')?, 0);
        let (known, behind) = after.split_at_checked(span(after.as_bytes(), TOKEN))?;
        rest = skip(behind, 0);
        let Some(value) = rest.strip_prefix('=') else {
            if known.eq_ignore_ascii_case(name) {
                return None; // it stands there without a value, and the first counts
            }
            continue;
        };
        let value = skip(value, 0);
        let length = match value.strip_prefix('"') {
            Some(inner) => closing_quote(inner.as_bytes())?.saturating_add(2),
            None => long_span(value.as_bytes(), VALUE),
        };
        let (value, behind) = value.split_at_checked(length)?;
        if known.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = skip(behind, 0);
    }
}

/// The URI of the `name-addr` or `addr-spec` that `text` starts with, as it stands, and what follows.
fn address(text: &str) -> Option<(&str, &str)> {
    let octets = text.as_bytes();
    let open = match octets.iter().position(|byte| matches!(byte, b'<' | b'"' | b';' | b',')) {
        Some(at) if octets.get(at) == Some(&b'<') => Some(at),
        Some(at) if octets.get(at) == Some(&b'"') => {
            let from = at.saturating_add(1);
            let quoted = closing_quote(octets.get(from..)?)?;
            let behind = from.saturating_add(quoted).saturating_add(1);
            Some(behind.saturating_add(memchr::memchr(b'<', octets.get(behind..)?)?))
        }
        _ => None,
    };
    match open {
        Some(open) => {
            let rest = text.get(open.saturating_add(1)..)?;
            let close = memchr::memchr(b'>', rest.as_bytes())?;
            Some((rest.get(..close)?, rest.get(close.saturating_add(1)..)?))
        }
        None => {
            let end = octets.iter().position(|&byte| is_lws(byte) || matches!(byte, b';' | b','));
            text.split_at_checked(end.unwrap_or(text.len()))
        }
    }
}

fn uri(text: &str) -> Option<UriParts<'_>> {
    if let Some(inside) = text.strip_prefix('<')
        && let Some((host, port, end)) = Uri::locate_host(inside)
        && let Some((text, behind)) = inside.split_at_checked(end)
        && behind.starts_with('>')
    {
        return Some(UriParts { text, host, port });
    }
    let text = trim(address(text)?.0);
    let (host, port, end) = Uri::locate_host(text)?;
    (end == text.len()).then_some(UriParts { text, host, port })
}

fn call_id(text: &str) -> Option<&str> {
    (!text.is_empty() && long_span(text.as_bytes(), VISIBLE) == text.len()).then_some(text)
}

pub(crate) fn cseq(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(is_lws)?;
    let number =
        u32::try_from(decimal(text.get(..end)?.as_bytes())?).ok().filter(|&number| number < 1 << 31)?;
    let method = skip(text, end);
    (!method.is_empty() && span(method.as_bytes(), TOKEN) == method.len()).then_some((number, method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{CSeq, CallId, Contact, From, MaxForwards, Route, To, Via};
    use crate::{Limits, Message};

    /// One pass or nine: the same is read.
    fn agree(octets: &[u8]) {
        let message = Message::parse(bytes::Bytes::copy_from_slice(octets), &Limits::default()).unwrap();
        let headers = message.headers();
        let short = headers.essentials();
        let via = headers.get::<Via>().unwrap();
        let parts = via.as_ref().map(|via| (via.transport(), via.host(), via.port(), via.branch()));
        assert_eq!(short.via.map(|via| (via.transport, via.host, via.port, via.branch)), parts);
        assert_eq!(short.call_id, headers.get::<CallId>().unwrap().as_ref().map(CallId::as_str));
        let cseq = headers.get::<CSeq>().unwrap();
        assert_eq!(short.cseq, cseq.as_ref().map(|cseq| (cseq.number, cseq.method.as_str())));
        assert_eq!(short.method(), cseq.map(|cseq| cseq.method));
        assert_eq!(short.from_tag, headers.get::<From>().unwrap().as_ref().and_then(From::tag));
        assert_eq!(short.to_tag, headers.get::<To>().unwrap().as_ref().and_then(To::tag));
        let tags = [HeaderName::FROM, HeaderName::TO].map(|name| headers.tag(name));
        assert_eq!(tags, [short.from_tag, short.to_tag]);
        assert_eq!(short.max_forwards, headers.get::<MaxForwards>().unwrap().map(|hops| hops.0));
        let route = headers.get::<Route>().unwrap();
        let parts =
            route.as_ref().map(|route| (route.uri().as_str(), route.uri().host(), route.uri().port()));
        assert_eq!(short.route.map(|route| (route.text, route.host, route.port)), parts);
        let contact = headers.get::<Contact>().unwrap();
        let parts = contact.as_ref().and_then(Contact::uri).map(|uri| (uri.as_str(), uri.host(), uri.port()));
        assert_eq!(short.contact.map(|contact| (contact.text, contact.host, contact.port)), parts);
    }

    #[test]
    fn essentials_agree_with_the_typed_fields() {
        agree(include_bytes!("../benches/data/invite.sip"));
        agree(include_bytes!("../benches/data/register.sip"));
        agree(include_bytes!("../benches/data/200ok.sip"));
        agree(include_bytes!("../benches/data/ack.sip"));
        agree(include_bytes!("../benches/data/wsinv.sip"));
        agree(b"OPTIONS sip:h SIP/2.0\r\nv: , SIP/2.0/TCP [::1]:5;x=\"a,;branch=1\";BRANCH=q, SIP/2.0/UDP h\r\n\
            f: \"<sip:x>;tag=1\" <sip:a@b;tag=2>;x;tag=3\r\nt: sip:b@c;tag=4\r\nm: *\r\nRoute: <tel:1>,<sip:a>\r\n\r\n");
        agree(b"OPTIONS sip:h SIP/2.0\r\nSubject: \xff\r\nm: sip:a@h:1;q=1\r\nTo: <sip:x@y>\r\n\r\n");
        agree(
            b"OPTIONS sip:h SIP/2.0\r\nVia: ,\r\nRoute: , ,\r\nVia: SIP/2.0/UDP h\r\nRoute: <sip:h>\r\n\r\n",
        );
        agree(b"OPTIONS sip:h SIP/2.0\r\n\r\n");
        agree(b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch= (a comment of RFC 2543)\r\n\r\n");
        agree(b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z (c (d)), SIP/2.0/UDP i (d)\r\n\r\n");
        agree(
            b"OPTIONS sip:h SIP/2.0\r\nTo: <sip:a@b>;tag;tag=1\r\nVia: SIP/2.0/UDP h;branch;branch=1\r\n\r\n",
        );
        // The first of a field counts, also if it cannot be read.
        let twice = b"OPTIONS sip:h SIP/2.0\r\nCall-ID: \xff\r\nVia: \xff\r\nCall-ID: x\r\nVia: SIP/2.0/UDP h\r\n\r\n";
        let message = Message::parse(bytes::Bytes::from_static(twice), &Limits::default()).unwrap();
        assert_eq!(message.headers().essentials(), Essentials::default());
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        let text = "OPTIONS sip:h SIP/2.0\r\nVia: HTTP/1.1/TCP h\r\nFrom: <sip:a\r\nTo: \"a;tag=1\r\nCSeq: 4294967296 A\r\n\
            Call-ID: a b\r\nMax-Forwards: 256\r\nRoute: <sip:>\r\nContact: <sip:a b>\r\n\r\n";
        let message = Message::parse(text.into(), &Limits::default()).unwrap();
        assert_eq!(message.headers().essentials(), Essentials::default());
    }
}
