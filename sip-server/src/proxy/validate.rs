//! Request validation: RFC 3261 §16.3.

use sip_message::headers::{MaxForwards, ProxyRequire, Unsupported};
use sip_message::{Request, ResponseBuilder, StatusCode};

use super::Routed;

/// Checks what a proxy has to check before it forwards a request. Its syntax was checked by the transaction layer. `numbers`: there
/// are rules that may know what to do with a `tel` URI.
///
/// # Errors
/// The answer that the RFC names.
pub(crate) fn validate(
    request: &Request,
    routed: &Routed,
    numbers: bool,
) -> Result<(), Box<ResponseBuilder>> {
    // Step 2. With Routes left the next hop may understand a scheme that we do not.
    let known = routed.uri.is_sip() || routed.uri.is_sips() || (numbers && routed.uri.is_tel());
    if !routed.more && !known {
        return Err(Box::new(request.reply(StatusCode::UNSUPPORTED_URI_SCHEME)));
    }
    // Step 3.
    if let Ok(Some(MaxForwards(0))) = request.headers.get::<MaxForwards>() {
        return Err(Box::new(request.reply(StatusCode::TOO_MANY_HOPS)));
    }
    // Step 5. No extension of ours needs a Proxy-Require.
    let mut required = request.headers.all::<ProxyRequire>().peekable();
    if required.peek().is_some() {
        let mut reply = request.reply(StatusCode::BAD_EXTENSION);
        for tag in required {
            match tag {
                Ok(ProxyRequire(tag)) => reply = reply.header(&Unsupported::new(&tag)),
                Err(_) => {
                    let reply = request.reply(StatusCode::BAD_REQUEST).reason("Malformed Proxy-Require");
                    return Err(Box::new(reply));
                }
            }
        }
        return Err(Box::new(reply));
    }
    Ok(())
}
