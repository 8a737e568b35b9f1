//! What a URI says about the way before any name is asked for (RFC 3263 §4.1, RFC 3261 §26.2.2, RFC 5630 §3.1).

use sip_message::Uri;
use sip_message::headers::Via;

use super::Unreachable;
use crate::path::Transport;

/// What is to be reached, in the words of RFC 3263 §4: TARGET, the port if one is told, the transport if one is.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) target: String,
    pub(super) port: Option<u16>,
    /// A `sips` URI, or a response over TLS.
    pub(super) secure: bool,
    pub(super) named: Option<Transport>,
}

impl Wish {
    pub(super) fn of_uri(uri: &Uri) -> Result<Wish, Unreachable> {
        let secure = uri.is_sips();
        if !secure && !uri.is_sip() {
            return Err(Unreachable::Scheme(uri.scheme().to_owned()));
        }
        let named = uri.transport_param().map(|name| {
            Transport::from_uri_param(name).ok_or_else(|| Unreachable::UnknownTransport(name.to_owned()))
        });
        let named = match (secure, named.transpose()?) {
            (true, Some(Transport::Tcp)) => Some(Transport::Tls),
            (true, Some(Transport::Ws)) => Some(Transport::Wss),
            (true, Some(Transport::Udp)) => return Err(Unreachable::Insecure(Transport::Udp)),
            (_, named) => named,
        };
        // §4: TARGET is the maddr parameter if there is one.
        let target = uri.maddr().unwrap_or(uri.host()).to_owned();
        Ok(Wish { target, port: uri.port(), secure, named })
    }

    /// RFC 3263 §5: the sent-by of the top Via, over the transport of the Via.
    pub(super) fn of_via(via: &Via) -> Result<Wish, Unreachable> {
        let Some(transport) = Transport::from_via(via.transport()) else {
            return Err(Unreachable::UnknownTransport(via.transport().to_owned()));
        };
        let (secure, named) = (transport.is_secure(), Some(transport));
        Ok(Wish { target: via.host().to_owned(), port: via.port(), secure, named })
    }
}
