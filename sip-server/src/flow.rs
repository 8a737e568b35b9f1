//! Whether requests to a phone have to take the way back that it came: connections that it opened, and datagrams' sources
//! behind a NAT (RFC 5626 §1, RFC 3261 §18.2.2).

use sip_message::headers::Via;
use sip_message::{HeaderName, Request, Uri};
use sip_transport::locals::parse_ip;
use sip_transport::{Path, Transport};

/// Whether the request came from who wrote it, by no proxy: it has one Via (RFC 5626 §5.1, §6).
pub(crate) fn is_direct(request: &Request) -> bool {
    let mut lines = request.headers.raw(HeaderName::VIA);
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.contains(&b',') => true,
        _ => request.headers.all::<Via>().nth(1).is_none(),
    }
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
        // Our loopback address reaches the other addresses of this machine only by the socket that they were heard on.
        let same_machine = path.local.ip().is_loopback() && !path.remote.ip().is_loopback();
        (behind_nat || same_machine) && writes_itself && named.is_none_or(|named| named == Transport::Udp)
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

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    /// A server that listens at 127.0.0.1, and a phone on the same machine that writes the machine's address: to that one the
    /// kernel sends from the loopback address only by the socket on which the phone was heard.
    #[test]
    fn a_phone_on_the_same_machine_is_reached_from_the_loopback_address() {
        let text =
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:40000;branch=z9hG4bK1\r\n\r\n";
        let request = Request::parse(text.into(), &Limits::default()).unwrap();
        let contact = "sip:bob@192.0.2.2:40000".parse().unwrap();
        let mut path = Path::to(Transport::Udp, "192.0.2.2:40000".parse().unwrap());
        path.local = "127.0.0.1:5060".parse().unwrap();
        assert!(leads_back(&request, &contact, &path));
        assert!(!leads_back(&request, &"sip:bob@192.0.2.3".parse().unwrap(), &path), "another phone");
        path.local = "192.0.2.1:5060".parse().unwrap();
        assert!(!leads_back(&request, &contact, &path));
    }
}
