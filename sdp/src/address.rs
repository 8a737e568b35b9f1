//! Where media goes: the connection data of `c=` and `a=rtcp` with the port that belongs to it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The host of a media address. `c=` may carry a domain name (RFC 8866 §5.7); resolving it is I/O and the caller's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A numeric address.
    Ip(IpAddr),
    /// A domain name.
    Name(String),
}

/// Where one kind of packet of one stream is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaAddress {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

/// Why a media section names no address that could be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Port 0: the section is rejected, removed or not in use (RFC 3264 §6, §8.2).
    #[error("the media section is disabled (port 0)")]
    Disabled,
    /// Neither the section nor the session level has a `c=` line (RFC 8866 §5.7 requires one).
    #[error("there is no c= line for the media section")]
    NoConnection,
    /// The network type is not `IN`.
    #[error("the network type of the c= line is not IN")]
    UnsupportedNetwork,
    /// Neither an IP address nor a domain name.
    #[error("the address of the c= line is neither numeric nor a domain name")]
    Malformed,
}

impl Host {
    pub(crate) fn from_connection(connection: &sdp_types::Connection) -> Result<Self, AddressError> {
        Self::from_fields(&connection.nettype, &connection.connection_address)
    }

    pub(crate) fn from_fields(network: &sdp_types::NetType, address: &str) -> Result<Self, AddressError> {
        if *network != sdp_types::NetType::In {
            return Err(AddressError::UnsupportedNetwork);
        }
        // `224.2.1.1/127`: time to live and count of multicast addresses.
        let address = address.split('/').next().unwrap_or(address);
        if let Ok(ip) = address.parse::<IpAddr>() {
            return Ok(Host::Ip(ip));
        }
        // The address type is not consulted: what is written decides. Letters first, so that `300.1.1.1` is no name.
        let name = !address.is_empty()
            && address.len() <= 253
            && address.bytes().any(|byte| byte.is_ascii_alphabetic())
            && address.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        if name { Ok(Host::Name(address.to_owned())) } else { Err(AddressError::Malformed) }
    }

    /// True for `0.0.0.0`, `::` and names under `.invalid`: nothing may be sent there. Holding a call was signalled this
    /// way before RFC 3264 (§8.4), and a third-party controller says "address not yet known" with it (RFC 3725 §4.2).
    pub fn is_unspecified(&self) -> bool {
        match self {
            Host::Ip(ip) => ip.is_unspecified(),
            Host::Name(name) => name
                .trim_end_matches('.')
                .rsplit('.')
                .next()
                .is_some_and(|top| top.eq_ignore_ascii_case("invalid")),
        }
    }

    pub(crate) fn is_multicast(&self) -> bool {
        matches!(self, Host::Ip(ip) if ip.is_multicast())
    }
}

impl MediaAddress {
    /// The socket address, if the host is numeric.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for MediaAddress {
    fn from(address: SocketAddr) -> Self {
        MediaAddress { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for MediaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
