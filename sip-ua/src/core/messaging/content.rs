//! What a MESSAGE carries: a text, bare or in `message/cpim`, or something about texts (RFC 3428 §7, RFC 3862, RFC 3994,
//! RFC 5438).

use sip_dialog::messaging::composing::IsComposing;
use sip_dialog::messaging::cpim::Cpim;
use sip_dialog::messaging::imdn::Imdn;
use sip_message::body::Entity;
use sip_message::headers::ContentType;
use sip_message::{Header, Limits, Request, StatusCode};

/// What an Accept names (RFC 3428 §10 wants the first, RFC 5438 §7.2 the second).
pub(super) const ACCEPTED: [&str; 5] = [
    "text/plain",
    Cpim::CONTENT_TYPE,
    IsComposing::CONTENT_TYPE,
    Imdn::CONTENT_TYPE,
    "multipart/alternative",
];

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Text(String),
    Composing(IsComposing),
    Notification(Imdn),
    /// A type that only the owner understands.
    Other,
}

/// What it says, and the envelope that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) said: Said,
    pub(super) envelope: Option<Cpim>,
}

/// Reads a MESSAGE; `more` are types that the owner understands.
///
/// # Errors
/// 415 for types and charsets that nobody here understands, 400 for what is not what it says.
pub(super) fn read(request: &Request, more: &[String]) -> Result<Content, StatusCode> {
    let whole = Entity::of(&request.headers, request.body(), &Limits::default());
    let whole = whole.map_err(|_| StatusCode::BAD_REQUEST)?;
    let understood = |part: &Entity| part.plain().is_ok() && is_understood(part.content_type(), more);
    // RFC 2046 §5.1.4: the last that is understood; of parts beside each other the first.
    let chosen = match whole.choose(understood) {
        Some(chosen) => Some(chosen),
        None => whole.leaves().into_iter().find(|part| understood(part)),
    };
    let chosen = chosen.ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)?;
    if !chosen.is("message", "cpim") {
        return Ok(Content { said: said(chosen.content_type(), chosen.octets(), more)?, envelope: None });
    }
    let envelope = Cpim::parse(chosen.octets()).map_err(|error| {
        tracing::debug!(%error, "a message/cpim that cannot be read");
        StatusCode::BAD_REQUEST
    })?;
    let kind = ContentType::parse(envelope.content_type()).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(Content { said: said(&kind, &envelope.body, more)?, envelope: Some(envelope) })
}

fn is_understood(kind: &ContentType, more: &[String]) -> bool {
    let is = |name: &str| name.split_once('/').is_some_and(|(kind_, subtype)| kind.is(kind_, subtype));
    ACCEPTED.iter().any(|known| is(known) && !kind.kind().eq_ignore_ascii_case("multipart"))
        || more.iter().any(|known| is(known))
}

fn said(kind: &ContentType, octets: &[u8], more: &[String]) -> Result<Said, StatusCode> {
    let unreadable = |error| {
        tracing::debug!(%error, "a document of a message that cannot be read");
        StatusCode::BAD_REQUEST
    };
    if kind.is("text", "plain") {
        return text(kind, octets).map(Said::Text);
    }
    if kind.is("application", "im-iscomposing+xml") {
        return IsComposing::parse(octets).map(Said::Composing).map_err(unreadable);
    }
    if kind.is("message", "imdn+xml") {
        return Imdn::parse(octets).map(Said::Notification).map_err(unreadable);
    }
    // An envelope in an envelope is nothing that anybody writes.
    let known = is_understood(kind, more) && !kind.is("message", "cpim");
    if known { Ok(Said::Other) } else { Err(StatusCode::UNSUPPORTED_MEDIA_TYPE) }
}

/// RFC 3428 §10: UTF-8 and what is part of it; what says that it is must be.
fn text(kind: &ContentType, octets: &[u8]) -> Result<String, StatusCode> {
    let charset = kind.params().unquoted("charset");
    let known =
        |charset: &str| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
    if charset.is_some_and(|charset| !known(&charset)) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    String::from_utf8(octets.to_vec()).map_err(|_| StatusCode::BAD_REQUEST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use sip_message::Message;

    use super::*;

    fn message(content_type: &str, body: &[u8]) -> Result<Content, StatusCode> {
        let head = format!("MESSAGE sip:a@b SIP/2.0\r\n{content_type}Content-Length: {}\r\n\r\n", body.len());
        let octets = [head.as_bytes(), body].concat();
        let Message::Request(request) = Message::parse(octets.into(), &Limits::default()).unwrap() else {
            panic!("a request")
        };
        read(&request, &["application/vnd.example".into()])
    }

    fn of(content_type: &str, body: &[u8]) -> Result<Said, StatusCode> {
        message(&format!("Content-Type: {content_type}\r\n"), body).map(|content| content.said)
    }

    #[test]
    fn texts_are_utf_8() {
        let text = |text: &str| Ok(Said::Text(text.into()));
        assert_eq!(of("text/plain", "Grüße".as_bytes()), text("Grüße"));
        assert_eq!(of("TEXT/Plain;charset=\"UTF-8\"", b"x"), text("x"));
        assert_eq!(message("", b"").map(|content| content.said), text(""));
        assert_eq!(of("text/plain;charset=utf-8", b"Gr\xfc\xdfe"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(of("text/plain;charset=koi8-r", b"x"), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(of("text/html", b"<b>x</b>"), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(of("application/vnd.example", b"\xff"), Ok(Said::Other));
    }

    /// RFC 2046 §5.1.4: of alternatives the one that is understood.
    #[test]
    fn alternatives() {
        let body = "--x\r\nContent-Type: text/plain\r\n\r\nplain\r\n--x\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n--x--\r\n";
        assert_eq!(of("multipart/alternative;boundary=x", body.as_bytes()), Ok(Said::Text("plain".into())));
        let none = "--x\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n--x--\r\n";
        assert_eq!(
            of("multipart/alternative;boundary=x", none.as_bytes()),
            Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
        assert_eq!(of("multipart/alternative", body.as_bytes()), Err(StatusCode::BAD_REQUEST));
    }

    /// RFC 3862 §3.5: an envelope, what is in it, and what it must not require.
    #[test]
    fn envelopes() {
        let mut cpim = Cpim::new("text/plain; charset=utf-8", "hello");
        assert_eq!(of("message/cpim", &cpim.to_octets()), Ok(Said::Text("hello".into())));
        cpim.push("Require", None, "Magic");
        assert_eq!(of("message/cpim", &cpim.to_octets()), Err(StatusCode::BAD_REQUEST));
        let html = Cpim::new("text/html", "<b>").to_octets();
        assert_eq!(of("message/cpim", &html), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(of("message/cpim", b"nothing"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(of("message/imdn+xml", b"<imdn/>"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(of("application/im-iscomposing+xml", b"no"), Err(StatusCode::BAD_REQUEST));
    }
}
