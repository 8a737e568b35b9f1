//! Where a response goes: RFC 3261 §18.2.2 and RFC 3581 §4.

use std::net::SocketAddr;

use sip_message::headers::Via;
use sip_message::{HeaderError, Response};

use crate::locals::parse_ip;
use crate::path::{Path, Transport};

/// Why no way for a response can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// The response has no Via: it has arrived already.
    #[error("the response has no Via left")]
    NoVia,
    /// Its top Via cannot be read.
    #[error("the top Via cannot be read: {0}")]
    Via(HeaderError),
}

/// The way of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where to send it.
    pub path: Path,
    /// Over a connection: where to connect when that one is gone.
    pub reopen: Option<SocketAddr>,
}

/// The way of a response to a request that came on `request_path`, from the top Via of the response.
///
/// # Errors
/// When the response has no readable top Via.
pub fn path_of(response: &Response, request_path: &Path) -> Result<Way, NoWay> {
    let via = response.headers.get::<Via>().map_err(NoWay::Via)?.ok_or(NoWay::NoVia)?;
    Ok(way(&via, request_path))
}

/// The same for a Via that is at hand.
///
/// * Connections: the one the request came on; when it is gone, the address in `received` (else the sent-by, if it
///   is an address, else the request's source) and the port of the sent-by.
/// * UDP: `maddr` and the port of the sent-by; else `received` and `rport`; else `received` and the port of the
///   sent-by. `maddr` must be an address: a name there could be pointed at anybody.
///
/// ```
/// use sip_message::headers::Via;
/// use sip_transport::{Path, Transport, response};
///
/// let came = Path::to(Transport::Udp, "192.0.2.7:40000".parse()?);
/// let mut via = Via::new("UDP", "10.0.0.7", Some(5060));
/// via.set_param("received", Some("192.0.2.7"));
/// via.set_param("rport", Some("40000"));
/// assert_eq!(response::way(&via, &came).path.remote, "192.0.2.7:40000".parse()?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn way(via: &Via, request_path: &Path) -> Way {
    let transport = request_path.transport;
    let sent_by_port = via.port().unwrap_or(transport.default_port());
    let received = via.received().and_then(parse_ip);
    let address =
        received.or_else(|| parse_ip(via.host())).unwrap_or_else(|| request_path.remote.ip().to_canonical());

    if transport != Transport::Udp {
        return Way { path: *request_path, reopen: Some(SocketAddr::new(address, sent_by_port)) };
    }
    let remote = match (via.maddr().and_then(parse_ip), via.rport().flatten()) {
        (Some(maddr), _) => SocketAddr::new(maddr, sent_by_port),
        (None, Some(rport)) => SocketAddr::new(received.unwrap_or(address), rport),
        (None, None) => SocketAddr::new(address, sent_by_port),
    };
    let mut path = *request_path;
    if remote.is_ipv4() != path.remote.is_ipv4() {
        path = Path::to(transport, remote);
    } else if remote.ip() == path.remote.ip() {
        // Only the port: the scope of a link-local source stays, which the text of a Via cannot carry.
        path.remote.set_port(remote.port());
    } else {
        path.remote = remote;
    }
    Way { path, reopen: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::FlowId;

    fn request_path(transport: Transport, remote: &str) -> Path {
        Path {
            transport,
            local: "198.51.100.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            flow: Some(FlowId(7)),
        }
    }

    fn goes(via: &str, transport: Transport, remote: &str) -> Way {
        let mut headers = sip_message::Headers::new();
        headers.push_raw("Via", via).unwrap();
        way(&headers.require().unwrap(), &request_path(transport, remote))
    }

    /// RFC 3261 §18.2.2 for UDP, item by item, and RFC 3581 §4.
    #[test]
    fn datagram_responses_follow_maddr_then_rport_then_received_then_sent_by() {
        let to = |via: &str| goes(via, Transport::Udp, "192.0.2.7:40000").path.remote.to_string();
        assert_eq!(
            to("SIP/2.0/UDP 10.0.0.1:5070;maddr=224.0.1.75;received=192.0.2.7;rport=40000"),
            "224.0.1.75:5070"
        );
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1:5070;received=192.0.2.7;rport=40000"), "192.0.2.7:40000");
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1:5070;received=192.0.2.7"), "192.0.2.7:5070");
        assert_eq!(to("SIP/2.0/UDP host.example;received=192.0.2.7"), "192.0.2.7:5060");
        assert_eq!(to("SIP/2.0/UDP 192.0.2.9:5080"), "192.0.2.9:5080");
    }

    #[test]
    fn a_datagram_response_leaves_from_the_socket_the_request_came_to() {
        let way =
            goes("SIP/2.0/UDP 192.0.2.7;rport=40000;received=192.0.2.7", Transport::Udp, "192.0.2.7:40000");
        assert_eq!(way.path, request_path(Transport::Udp, "192.0.2.7:40000"));
        assert_eq!(way.reopen, None);
    }

    /// RFC 3261 §18.2.2, first item: the connection, and when it is gone the received address with the sent-by port.
    #[test]
    fn stream_responses_use_their_connection_and_know_where_to_reopen() {
        let way = goes("SIP/2.0/TCP host.example:5070;received=192.0.2.7", Transport::Tcp, "192.0.2.7:40000");
        assert_eq!(way.path, request_path(Transport::Tcp, "192.0.2.7:40000"));
        assert_eq!(way.reopen, Some("192.0.2.7:5070".parse().unwrap()));
        let way = goes("SIP/2.0/TCP 192.0.2.9", Transport::Tcp, "192.0.2.9:40000");
        assert_eq!(way.reopen, Some("192.0.2.9:5060".parse().unwrap()));
    }

    #[test]
    fn a_link_local_source_keeps_its_scope() {
        let remote = "[fe80::1%3]:40000";
        let way = goes("SIP/2.0/UDP [fe80::1]:5060;received=fe80::1", Transport::Udp, remote);
        assert_eq!(way.path.remote.to_string(), "[fe80::1%3]:5060");
    }
}
