//! From bytes to [`Received`]: parsing, and the marks that a server leaves in the top Via of a request.

use bytes::Bytes;
use sip_message::headers::Via;
use sip_message::{HeaderError, Limits, Message, ParseError, Request};

use crate::locals::parse_ip;
use crate::path::{Path, Received};

/// Why bytes were not handed to the core. None of these can be answered: no Via says where to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// An empty datagram, or one of only CR, LF and NUL: phones keep NAT bindings open with these.
    #[error("a keep-alive")]
    KeepAlive,
    /// No SIP message.
    #[error("not a SIP message: {0}")]
    Parse(#[from] ParseError),
    /// A message without Via: neither can a request be answered nor a response be matched.
    #[error("a message without Via")]
    NoVia,
    /// The top Via cannot be read.
    #[error("the top Via cannot be read: {0}")]
    Via(HeaderError),
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
            Err(error) => return Err(Rejected::Via(error)),
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
    let Some(mut via) = request.headers.get::<Via>().map_err(Rejected::Via)? else {
        return Err(Rejected::NoVia);
    };
    let source = path.remote.ip().to_canonical();
    let asked_for_port = via.rport().is_some() || via.param("rport").is_some();
    let differs = parse_ip(via.host()).map(|ip| ip.to_canonical()) != Some(source);
    let claims = via.param("received").is_some();
    if !(asked_for_port || differs || claims) {
        return Ok(());
    }
    if asked_for_port {
        via.set_param("rport", Some(&path.remote.port().to_string()));
    }
    via.set_param("received", Some(&source.to_string()));
    request
        .headers
        .update_first::<Via>(|top| *top = via)
        .map_err(Rejected::Via)?;
    Ok(())
}
