//! The PROXY protocol, version 2 (HAProxy's specification "The PROXY protocol", §2.2): what a balancer of connections puts
//! before everything, to say whose connection it passes on. Pure.
//!
//! Whoever may send this header may claim to be anybody. It is therefore read from named networks only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What begins the header.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Octets before the addresses.
pub const FIXED: usize = 16;

/// Octets after them, at most: addresses need 36, and what balancers add (TLS names, checksums) some hundred.
pub const MAX_REST: usize = 2_048;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The connection's real source; `None`: the balancer speaks for itself (a health check), or of what is no TCP.
    pub source: Option<SocketAddr>,
    /// The address that the source connected to.
    pub destination: Option<SocketAddr>,
}

/// Why octets are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// They begin otherwise.
    #[error("no PROXY header of version 2")]
    Signature,
    /// A version or command that there is not.
    #[error("unknown version or command 0x{0:02x}")]
    Command(u8),
    /// The addresses do not fit in the length.
    #[error("the length is too short for the addresses")]
    Short,
    /// More than [`MAX_REST`].
    #[error("the header is too long")]
    Long,
}

/// Reads a header. `None`: more octets are needed. Else what it says, and its octets.
///
/// # Errors
/// When it is none.
pub fn decode(octets: &[u8]) -> Result<Option<(Header, usize)>, ProxyError> {
    let seen = octets.len().min(SIGNATURE.len());
    if octets.get(..seen) != SIGNATURE.get(..seen) {
        return Err(ProxyError::Signature);
    }
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_REST {
        return Err(ProxyError::Long);
    }
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyError::Command(command));
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let size = FIXED.saturating_add(length);
    let addresses = match (command, family) {
        (0x21, 0x11) => Some(pair::<4, 12>(rest, |octets| Ipv4Addr::from(octets).into())?),
        (0x21, 0x21) => Some(pair::<16, 36>(rest, |octets| Ipv6Addr::from(octets).into())?),
        _ => None,
    };
    let header =
        Header { source: addresses.map(|(source, _)| source), destination: addresses.map(|(_, at)| at) };
    Ok(Some((header, size)))
}

/// Two addresses of `A` octets, then their ports.
fn pair<const A: usize, const ALL: usize>(
    octets: &[u8],
    address: impl Fn([u8; A]) -> IpAddr,
) -> Result<(SocketAddr, SocketAddr), ProxyError> {
    let take = || -> Option<(SocketAddr, SocketAddr)> {
        let (source, rest) = octets.split_first_chunk::<A>()?;
        let (destination, rest) = rest.split_first_chunk::<A>()?;
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (to, _) = rest.split_first_chunk::<2>()?;
        Some((
            SocketAddr::new(address(*source), u16::from_be_bytes(*from)),
            SocketAddr::new(address(*destination), u16::from_be_bytes(*to)),
        ))
    };
    octets.get(..ALL).and_then(|_| take()).ok_or(ProxyError::Short)
}

/// A network such as `10.0.0.0/8`, or one address.
///
/// ```
/// use sip_transport::proxy_protocol::Network;
/// let network: Network = "192.0.2.0/24".parse()?;
/// assert!(network.contains("192.0.2.77".parse()?) && !network.contains("192.0.3.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                u32::from(mine) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                u128::from(mine) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no network: write it like 10.0.0.0/8 or 192.0.2.1")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let bad = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let whole = Network::from(address.parse::<IpAddr>().map_err(|_| bad())?);
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| bad())?,
            None => whole.prefix,
        };
        if prefix > whole.prefix { Err(bad()) } else { Ok(Network { prefix, ..whole }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut all = SIGNATURE.to_vec();
        all.extend([command, family]);
        all.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        all.extend(rest);
        all
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 0x13, 0xc5];

    #[test]
    fn source_and_destination_are_read_whole_and_never_before() {
        let octets = header(0x21, 0x11, &V4);
        for cut in 0..octets.len() {
            assert_eq!(decode(&octets[..cut]), Ok(None), "{cut}");
        }
        let expected = Header {
            source: Some("192.0.2.1:40000".parse().unwrap()),
            destination: Some("198.51.100.1:5061".parse().unwrap()),
        };
        assert_eq!(decode(&octets), Ok(Some((expected, octets.len()))));
        let mut v6 = vec![0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
        let (found, _) = decode(&header(0x21, 0x21, &v6)).unwrap().unwrap();
        assert_eq!(found.source, Some("[::1]:3".parse().unwrap()));
        assert_eq!(found.destination, Some("[::2]:4".parse().unwrap()));
    }

    #[test]
    fn more_fields_are_passed_over_and_what_is_not_tcp_has_no_source() {
        let mut with_more = V4.to_vec();
        with_more.extend([4, 0, 1, 0]);
        let mut octets = header(0x21, 0x11, &with_more);
        let size = octets.len();
        octets.extend(b"OPTIONS ");
        assert_eq!(decode(&octets).unwrap().unwrap().1, size);
        for (command, family) in [(0x20, 0x11), (0x20, 0x00), (0x21, 0x00), (0x21, 0x12), (0x21, 0x31)] {
            let (found, _) = decode(&header(command, family, &V4)).unwrap().unwrap();
            assert_eq!(found.source, None, "{command:x} {family:x}");
        }
    }

    #[test]
    fn what_is_no_header_is_told_at_its_first_wrong_octet() {
        assert_eq!(decode(b"OPTIONS sip:a@b SIP/2.0\r\n"), Err(ProxyError::Signature));
        assert_eq!(decode(b"\r\n\r\nPROXY"), Err(ProxyError::Signature));
        assert_eq!(
            decode(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            Err(ProxyError::Signature),
            "version 1"
        );
        assert_eq!(decode(&header(0x11, 0x11, &V4)), Err(ProxyError::Command(0x11)));
        assert_eq!(decode(&header(0x22, 0x11, &V4)), Err(ProxyError::Command(0x22)));
        assert_eq!(decode(&header(0x21, 0x11, &V4[..11])), Err(ProxyError::Short));
        assert_eq!(decode(&header(0x21, 0x21, &V4)), Err(ProxyError::Short));
        assert_eq!(decode(&header(0x21, 0x11, &[0; MAX_REST + 1])), Err(ProxyError::Long));
    }

    #[test]
    fn networks_are_read_and_hold_their_addresses() {
        let holds =
            |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("127.0.0.1", "127.0.0.1") && holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && holds("::/0", "::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "host.example", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }
}
