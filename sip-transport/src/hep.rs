//! HEP version 3, the encapsulation in which captures are sent to Homer, sngrep and others ("HEP3 Network Protocol
//! Specification", rev. 36): messages with their addresses and time. Pure; the sender is `tokio::HepTap`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::path::{Path, Transport};

/// The whole packet: what a UDP datagram can carry over IPv4.
pub const MAX_PACKET: usize = 65_507;

/// Octets of the authentication key that are sent, at most.
pub const MAX_KEY: usize = 255;

/// Who sends the capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// The capture agent's number.
    pub id: u32,
    /// The key that the collector asks for.
    pub key: Option<String>,
}

/// One message as a HEP packet. `None`: it does not fit into one.
///
/// ```
/// use sip_transport::{Path, Transport, hep};
/// let path = Path::to(Transport::Udp, "192.0.2.1:5060".parse()?);
/// let agent = hep::Agent { id: 7, key: None };
/// let packet = hep::encode(&agent, std::time::Duration::from_secs(1), true, &path, b"OPTIONS ...").unwrap_or_default();
/// assert!(packet.starts_with(b"HEP3"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn encode(agent: &Agent, at: Duration, inbound: bool, path: &Path, message: &[u8]) -> Option<Bytes> {
    let (from, to) = if inbound { (path.remote, path.local) } else { (path.local, path.remote) };
    let mut packet = BytesMut::with_capacity(message.len().saturating_add(160));
    packet.put_slice(b"HEP3\0\0");
    let (from, to) = same_family(from, to);
    chunk(&mut packet, 1, &[if from.is_ipv4() { 2 } else { 10 }])?;
    chunk(&mut packet, 2, &[if path.transport == Transport::Udp { 17 } else { 6 }])?;
    for (ip, v4, v6) in [(from.ip(), 3, 5), (to.ip(), 4, 6)] {
        match ip {
            IpAddr::V4(ip) => chunk(&mut packet, v4, &ip.octets())?,
            IpAddr::V6(ip) => chunk(&mut packet, v6, &ip.octets())?,
        }
    }
    chunk(&mut packet, 7, &from.port().to_be_bytes())?;
    chunk(&mut packet, 8, &to.port().to_be_bytes())?;
    // Seconds in 32 bits, as the format has them: they last until 2106.
    chunk(&mut packet, 9, &u32::try_from(at.as_secs()).unwrap_or(u32::MAX).to_be_bytes())?;
    chunk(&mut packet, 10, &at.subsec_micros().to_be_bytes())?;
    chunk(&mut packet, 11, &[1])?; // SIP
    chunk(&mut packet, 12, &agent.id.to_be_bytes())?;
    if let Some(key) = &agent.key {
        chunk(&mut packet, 14, key.as_bytes().get(..MAX_KEY.min(key.len()))?)?;
    }
    chunk(&mut packet, 15, message)?;
    let length = u16::try_from(packet.len()).ok().filter(|_| packet.len() <= MAX_PACKET)?;
    packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
    Some(packet.freeze())
}

/// Both in one family: IPv4 addresses as they are, or both in IPv6.
fn same_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (from, to) = (canonical(from), canonical(to));
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (mapped(from), mapped(to)) }
}

/// Vendor 0, type, length with this head, content.
fn chunk(packet: &mut BytesMut, kind: u16, content: &[u8]) -> Option<()> {
    let length = u16::try_from(content.len().checked_add(6)?).ok()?;
    packet.put_u16(0);
    packet.put_u16(kind);
    packet.put_u16(length);
    packet.put_slice(content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The chunks of a packet by their type: read as the specification has it, not as it was written.
    fn chunks(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        assert_eq!(&packet[..4], b"HEP3");
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len());
        let (mut rest, mut all) = (&packet[6..], BTreeMap::new());
        while !rest.is_empty() {
            assert_eq!(&rest[..2], [0, 0], "the generic vendor");
            let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
            let kind = u16::from_be_bytes([rest[2], rest[3]]);
            assert!(all.insert(kind, rest[6..length].to_vec()).is_none(), "chunk {kind} twice");
            rest = &rest[length..];
        }
        all
    }

    fn path(transport: Transport, local: &str, remote: &str) -> Path {
        Path { local: local.parse().unwrap(), ..Path::to(transport, remote.parse().unwrap()) }
    }

    #[test]
    fn a_packet_has_the_chunks_of_the_specification() {
        let agent = Agent { id: 2001, key: Some("myHep".into()) };
        let path = path(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:40000");
        let at = Duration::new(1_700_000_000, 123_456_789);
        let packet = encode(&agent, at, true, &path, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n").unwrap();
        let chunks = chunks(&packet);
        let expected: [(u16, &[u8]); 12] = [
            (1, &[2]),
            (2, &[17]),
            (3, &[198, 51, 100, 7]),
            (4, &[192, 0, 2, 1]),
            (7, &40_000_u16.to_be_bytes()),
            (8, &5060_u16.to_be_bytes()),
            (9, &1_700_000_000_u32.to_be_bytes()),
            (10, &123_456_u32.to_be_bytes()),
            (11, &[1]),
            (12, &2001_u32.to_be_bytes()),
            (14, b"myHep"),
            (15, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"),
        ];
        assert_eq!(chunks, expected.iter().map(|(kind, content)| (*kind, content.to_vec())).collect());
    }

    #[test]
    fn what_leaves_goes_the_other_way_and_ipv6_has_chunks_of_its_own() {
        let path = path(Transport::Wss, "[2001:db8::1]:443", "[2001:db8::7]:50000");
        let chunks = chunks(&encode(&Agent::default(), Duration::ZERO, false, &path, b"x").unwrap());
        assert_eq!((&chunks[&1][..], &chunks[&2][..]), (&[10][..], &[6][..]));
        assert_eq!((chunks[&5][15], chunks[&6][15]), (1, 7));
        assert_eq!(chunks[&7], 443_u16.to_be_bytes());
        assert!(!chunks.contains_key(&3) && !chunks.contains_key(&14));
    }

    #[test]
    fn addresses_of_two_families_and_messages_too_large_do_no_harm() {
        let mixed = path(Transport::Udp, "[::]:5060", "192.0.2.7:5060");
        let mixed = chunks(&encode(&Agent::default(), Duration::ZERO, true, &mixed, b"x").unwrap());
        assert_eq!(mixed[&5][12..], [192, 0, 2, 7]);
        let path = path(Transport::Udp, "192.0.2.1:1", "192.0.2.2:2");
        for size in [65_400, 65_507, 65_529, 65_530, 70_000] {
            let packet = encode(&Agent::default(), Duration::ZERO, true, &path, &vec![b'x'; size]);
            assert_eq!(packet.is_some(), size == 65_400, "{size}");
        }
    }
}
