//! From bytes to [`Received`]: parsing, and the marks that a server leaves in the top Via of a request.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use sip_message::headers::{Header, Via};
use sip_message::{
    HeaderError, HeaderName, Limits, Message, Method, ParseError, Request, StatusCode, ValueError,
};

use crate::locals::parse_ip;
use crate::path::{Path, Received};
use crate::stun;

/// Why bytes were not handed to the core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// An empty datagram, or one of only CR, LF and NUL: phones keep NAT bindings open with these.
    #[error("a keep-alive")]
    KeepAlive,
    /// A STUN message: a keep-alive that wants an answer, or the answer to one (RFC 5626 §8).
    #[error("a STUN message")]
    Stun,
    /// No SIP message.
    #[error("not a SIP message: {0}")]
    Parse(#[from] ParseError),
    /// A message without Via: neither can a request be answered nor a response be matched.
    #[error("a message without Via")]
    NoVia,
    /// The top Via cannot be read.
    #[error("the top Via cannot be read: {error}")]
    Via {
        /// What is wrong with it.
        error: HeaderError,
        /// For a request other than ACK: 400, or 505 for another version of SIP, to be sent back where the request came from.
        answer: Option<Bytes>,
    },
}

/// The answer to a request whose top Via says nothing that can be used: its sender is there, at the address that it came from.
fn refusal(request: &Request) -> Option<Bytes> {
    if *request.method() == Method::Ack {
        return None;
    }
    let status = request.check().err().map_or(StatusCode::BAD_REQUEST, |refusal| refusal.status);
    // One that is sent again gets the same tag.
    let mut tag = DefaultHasher::new();
    request.headers.text(HeaderName::CALL_ID).hash(&mut tag);
    let tag = format!("{:016x}", tag.finish());
    let answer = request.reply(status).reason("The Top Via Cannot Be Read").to_tag(&tag).build().ok()?;
    Some(answer.to_bytes())
}

/// Parses one datagram and stamps a request with where it came from.
///
/// # Errors
/// When the bytes are no message with a readable top Via. Everything else that may be wrong with a message is left
/// to `Request::check` and those who can answer.
pub fn datagram(bytes: Bytes, path: Path, limits: &Limits) -> Result<Received, Rejected> {
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Rejected::KeepAlive);
    }
    if stun::is_stun(&bytes) {
        return Err(Rejected::Stun);
    }
    message(Message::parse(bytes, limits)?, path)
}

/// Stamps a message that came framed over a stream.
///
/// # Errors
/// When its top Via is missing or cannot be read.
pub fn message(mut message: Message, path: Path) -> Result<Received, Rejected> {
    match &mut message {
        Message::Request(request) => stamp(request, &path)?,
        Message::Response(response) => match response.headers.get::<Via>() {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Rejected::NoVia),
            Err(error) => return Err(Rejected::Via { error, answer: None }),
        },
    }
    Ok(Received { message, path })
}

/// Writes into the top Via where the request really came from.
///
/// `received` when the sent-by is a name or another address than the source (RFC 3261 §18.2.1), and always when the
/// client asked for `rport`, which gets the source port (RFC 3581 §4). Values that the client itself put into
/// `received` or `rport` are overwritten: they would lead the response to wherever the client likes.
///
/// # Errors
/// When there is no top Via or it cannot be read.
pub fn stamp(request: &mut Request, path: &Path) -> Result<(), Rejected> {
    let via = match request.headers.get::<Via>() {
        Ok(Some(via)) => via,
        Ok(None) => return Err(Rejected::NoVia),
        Err(error) => return Err(Rejected::Via { error, answer: refusal(request) }),
    };
    let source = path.remote.ip().to_canonical();
    let (mut asked_for_port, mut claims) = (false, false);
    for (name, _) in via.params().iter() {
        asked_for_port |= is_rport(name);
        claims |= is_received(name);
    }
    let same = parse_ip(via.host()).map(|ip| ip.to_canonical()) == Some(source);
    if !asked_for_port && same && !claims {
        return Ok(());
    }
    // The same text as the sent-by spares printing it.
    let printed = if same && source.is_ipv4() && !claims { None } else { Some(source.to_string()) };
    let received = printed.as_deref().unwrap_or(via.host());
    request.headers.replace_first(&Stamped { via: &via, received, port: path.remote.port() });
    Ok(())
}

fn is_rport(name: &str) -> bool {
    name.eq_ignore_ascii_case("rport")
}

fn is_received(name: &str) -> bool {
    name.eq_ignore_ascii_case("received")
}

/// A Via with where its request came from, written in one pass over its parameters.
struct Stamped<'v> {
    via: &'v Via,
    received: &'v str,
    port: u16,
}

impl Header for Stamped<'_> {
    const NAME: HeaderName = HeaderName::VIA;

    fn parse(_: &str) -> Result<Self, ValueError> {
        Err(ValueError::new("a Via that is written alone", 0))
    }

    fn write(&self, out: &mut String) {
        let mut port = [0; 5];
        out.push_str("SIP/2.0/");
        out.push_str(self.via.transport());
        out.push(' ');
        out.push_str(self.via.host());
        if let Some(port_of_sent_by) = self.via.port() {
            out.push(':');
            out.push_str(decimal(port_of_sent_by, &mut port));
        }
        let (mut rport, mut received) = (false, false);
        let mut push = |name: &str, value: Option<&str>| {
            out.push(';');
            out.push_str(name);
            if let Some(value) = value {
                out.push('=');
                out.push_str(value);
            }
        };
        for (name, value) in self.via.params().iter() {
            if is_rport(name) {
                // One that stands there twice is said once.
                if !std::mem::replace(&mut rport, true) {
                    push(name, Some(decimal(self.port, &mut port)));
                }
            } else if is_received(name) {
                if !std::mem::replace(&mut received, true) {
                    push(name, Some(self.received));
                }
            } else {
                push(name, value);
            }
        }
        if !received {
            push("received", Some(self.received));
        }
    }
}

/// A number's digits; formatting takes ten times as long.
fn decimal(number: u16, place: &mut [u8; 5]) -> &str {
    let (mut rest, mut from) = (number, place.len());
    loop {
        from = from.saturating_sub(1);
        if let Some(digit) = place.get_mut(from) {
            *digit = b'0'.wrapping_add((rest % 10) as u8);
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    place.get(from..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Transport;

    fn options(via: &str) -> Bytes {
        Bytes::from(format!(
            "OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n{via}From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\n\
             CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    fn receive(via: &str, source: &str) -> Result<String, Rejected> {
        let path = Path::to(Transport::Udp, source.parse().unwrap());
        datagram(options(via), path, &Limits::default())
            .map(|received| received.message.headers().text("Via").unwrap().to_owned())
    }

    /// RFC 3261 §18.2.1: `received` when the sent-by is another address or a name.
    #[test]
    fn received_is_added_where_the_sent_by_differs() {
        assert_eq!(
            receive("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n", "192.0.2.1:5060").unwrap(),
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1"
        );
        assert_eq!(
            receive("Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1\r\n", "192.0.2.1:5060").unwrap(),
            "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;received=192.0.2.1"
        );
        assert_eq!(
            receive("Via: SIP/2.0/UDP bobspc.example;branch=z9hG4bK1\r\n", "[2001:db8::1]:5060").unwrap(),
            "SIP/2.0/UDP bobspc.example;branch=z9hG4bK1;received=2001:db8::1"
        );
        assert_eq!(
            receive("Via: SIP/2.0/UDP [2001:DB8:0::1]:5060;branch=z9hG4bK1\r\n", "[2001:db8::1]:5060")
                .unwrap(),
            "SIP/2.0/UDP [2001:DB8:0::1]:5060;branch=z9hG4bK1",
            "another spelling of the same address"
        );
    }

    /// RFC 3581 §4: an `rport` without value gets the source port, and `received` is added in any case.
    #[test]
    fn rport_is_filled_in() {
        assert_eq!(
            receive("Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1\r\n", "192.0.2.1:9988").unwrap(),
            "SIP/2.0/UDP 192.0.2.1:5060;rport=9988;branch=z9hG4bK1;received=192.0.2.1"
        );
    }

    #[test]
    fn every_port_is_written_as_it_is() {
        for port in 0..=u16::MAX {
            assert_eq!(decimal(port, &mut [0; 5]), port.to_string());
        }
    }

    #[test]
    fn what_a_client_claims_about_its_source_is_overwritten() {
        let claimed = receive(
            "Via: SIP/2.0/UDP 192.0.2.1;received=203.0.113.9;rport=53;branch=z9hG4bK1\r\n",
            "192.0.2.1:5060",
        );
        assert_eq!(claimed.unwrap(), "SIP/2.0/UDP 192.0.2.1;received=192.0.2.1;rport=5060;branch=z9hG4bK1");
        let twice = receive(
            "Via: SIP/2.0/UDP h:99;RPORT;x=\"a;rport=1\";received=203.0.113.9;rport=53;Received=::1;branch=z9hG4bK1\r\n",
            "192.0.2.1:5060",
        );
        assert_eq!(
            twice.unwrap(),
            "SIP/2.0/UDP h:99;RPORT=5060;x=\"a;rport=1\";received=192.0.2.1;branch=z9hG4bK1"
        );
    }

    #[test]
    fn only_the_top_via_is_touched() {
        let path = Path::to(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        let two =
            options("Via: SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b.example;branch=z9hG4bK2\r\n");
        let received = datagram(two, path, &Limits::default()).unwrap();
        let vias: Vec<Via> = received.message.headers().all::<Via>().map(Result::unwrap).collect();
        assert_eq!(vias[0].received(), Some("192.0.2.1"));
        assert_eq!(vias[1].received(), None);
    }

    /// RFC 4475 §3.1.2.1, §3.1.2.16: the sender of a request with a bad Via is told.
    #[test]
    fn a_request_with_an_unreadable_via_is_answered_where_it_came_from() {
        let path = Path::to(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        let answer = |text: String| match datagram(text.into(), path, &Limits::default()) {
            Err(Rejected::Via { answer, .. }) => {
                answer.map(|answer| String::from_utf8(answer.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        };
        let request = |method: &str, version: &str| {
            format!(
                "{method} sip:a@example.com SIP/{version}\r\nVia: SIP/{version}/UDP 192.0.2.15;;,;,,\r\n\
                 From: <sip:b@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
            )
        };
        let bad = answer(request("INVITE", "2.0")).unwrap();
        assert!(
            bad.starts_with("SIP/2.0 400 ") && bad.contains("Via: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n"),
            "{bad}"
        );
        assert_eq!(answer(request("INVITE", "2.0")), Some(bad), "the same again");
        assert!(answer(request("OPTIONS", "7.0")).unwrap().starts_with("SIP/2.0 505 "));
        assert_eq!(answer(request("ACK", "2.0")), None);
    }

    #[test]
    fn what_cannot_be_answered_is_rejected() {
        assert_eq!(receive("", "192.0.2.1:1").unwrap_err(), Rejected::NoVia);
        assert!(matches!(receive("Via: nonsense\r\n", "192.0.2.1:1").unwrap_err(), Rejected::Via { .. }));
        let path = Path::to(Transport::Udp, "192.0.2.1:1".parse().unwrap());
        for keep_alive in [&b""[..], b"\r\n\r\n", b"\0\0\0\0"] {
            let bytes = Bytes::from_static(keep_alive);
            assert_eq!(datagram(bytes, path, &Limits::default()).unwrap_err(), Rejected::KeepAlive);
        }
        let garbage = datagram(Bytes::from_static(b"\x16\x03\x01 hello"), path, &Limits::default());
        assert!(matches!(garbage.unwrap_err(), Rejected::Parse(_)));
    }
}
