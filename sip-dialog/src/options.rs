//! Small questions about header fields that several procedures ask.

use sip_message::headers::{ContentType, OptionTag, Require, Supported};
use sip_message::{HeaderName, Headers, Response, ResponseBuilder};

use crate::event::Body;

/// Whether `Require` names this extension.
pub(crate) fn requires(headers: &Headers, tag: OptionTag) -> bool {
    headers.all::<Require>().flatten().any(|required| required.tag() == tag)
}

/// Whether `Supported` or `Require` names this extension: its sender can do it.
pub(crate) fn supports(headers: &Headers, tag: OptionTag) -> bool {
    headers.all::<Supported>().flatten().any(|supported| supported.tag() == tag) || requires(headers, tag)
}

/// Whether a body describes a session: SDP, alone or among other parts. Other bodies (ISUP, a card, resource lists) are
/// no offers and no answers (RFC 3261 §13.1, RFC 5621).
pub(crate) fn describes_session(headers: &Headers, body: &[u8]) -> bool {
    if body.is_empty() {
        return false;
    }
    // As nearly everybody writes it: that needs no reading.
    if headers.text(HeaderName::CONTENT_TYPE) == Some("application/sdp") {
        return true;
    }
    match headers.get::<ContentType>() {
        Ok(Some(kind)) => kind.is("application", "sdp") || kind.kind().eq_ignore_ascii_case("multipart"),
        _ => false,
    }
}

pub(crate) fn response_describes(response: &Response) -> bool {
    describes_session(&response.headers, response.body())
}

pub(crate) fn with_body(builder: ResponseBuilder, body: Option<Body>) -> ResponseBuilder {
    match body {
        Some(Body { content_type, octets }) => builder.body(&content_type, octets),
        None => builder,
    }
}
