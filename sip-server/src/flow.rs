//! Whether requests to a phone have to take the way back that it came: connections that it opened, and datagrams' sources
//! behind a NAT (RFC 5626 §1, RFC 3261 §18.2.2).

use sip_message::headers::Via;
use sip_message::{Request, Uri};
use sip_transport::locals::parse_ip;
use sip_transport::{Path, Transport};

/// Whether the request came from who wrote it, by no proxy: it has one Via (RFC 5626 §5.1, §6).
pub(crate) fn is_direct(request: &Request) -> bool {
    request.headers.all::<Via>().nth(1).is_none()
}

/// Whether a request to `contact`, which the direct sender of this request wrote, has to go back over `path`.
///
/// A connection is the one way to a phone that opened it. Over UDP the contact's URI is to be followed, unless it names the
/// private address that a phone behind a NAT has written into its Via as well. Who asks for it by `ob` always gets it
/// (RFC 5626 §4.3).
pub(crate) fn leads_back(request: &Request, contact: &Uri, path: &Path) -> bool {
    if !is_direct(request) {
        return false; // its flow leads to the proxy that it came through
    }
    if contact.has_ob() {
        return true;
    }
    let top = request.headers.get::<Via>().ok().flatten();
    let host_is = |host: &str| {
        contact.host().eq_ignore_ascii_case(host)
            || (parse_ip(host).is_some() && parse_ip(host) == parse_ip(contact.host()))
    };
    let named = Transport::of_uri(contact);
    let writes_itself = top.as_ref().is_some_and(|via| host_is(via.host()));
    if path.transport == Transport::Udp {
        let behind_nat = top.as_ref().is_some_and(|via| {
            via.received().is_some_and(|received| !host_is(received))
                || via.rport().flatten().is_some_and(|port| port != via.port().unwrap_or(5060))
        });
        behind_nat && writes_itself && named.is_none_or(|named| named == Transport::Udp)
    } else {
        named.is_none_or(|named| path.transport.serves(named))
            && (writes_itself || host_is(&path.remote.ip().to_string()))
    }
}

/// Whether `path` is the flow of a token: a connection is known by its number, a datagram's flow by its addresses.
pub(crate) fn is_same(token: &Path, path: &Path) -> bool {
    token.transport == path.transport
        && token.remote == path.remote
        && if token.transport.is_reliable() { token.flow == path.flow } else { token.local == path.local }
}
