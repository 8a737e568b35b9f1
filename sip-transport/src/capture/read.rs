//! Reads captures: pcap and pcapng files to the payloads of UDP datagrams and the octets of TCP streams.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::container;
use super::streams::{Segment, Streams};
use bytes::Bytes;
use etherparse::defrag::IpDefragPool;
use etherparse::{
    EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket, TcpSlice, TransportSlice,
    UdpSlice,
};

/// Packets in between after which the fragments of an IP packet that never got whole are forgotten.
const FRAGMENTS_KEPT: u64 = 1_024;
/// Forgetting walks over all that are kept, so it happens each so many packets.
const FRAGMENTS_SWEEP: u64 = 256;

/// Something that a capture holds for an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub payload: Payload,
}

/// What an application got from the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// A UDP datagram.
    Datagram(Bytes),
    /// Octets of a TCP connection in the order in which they were sent, none twice.
    Stream {
        /// The octets.
        octets: Bytes,
        /// Octets before these are not in the capture: what began earlier cannot be finished.
        gap: bool,
    },
    /// This direction of a TCP connection has ended, or the capture has.
    End,
}

/// Why a file could not be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Neither pcap nor pcapng.
    #[error("no capture: it begins neither like a pcap nor like a pcapng file")]
    NoCapture,
    /// The file is damaged at some place.
    #[error("the capture is damaged {0} octets after its begin")]
    Damaged(u64),
    /// The input gave an error.
    #[error("the capture cannot be read on: {0}")]
    Input(#[from] io::Error),
}

/// Whether a file that begins so is a capture: pcap of either byte order and precision, or pcapng.
///
/// ```
/// use sip_transport::capture::read::is_capture;
/// assert!(is_capture(&[0xd4, 0xc3, 0xb2, 0xa1]) && !is_capture(b"INVITE"));
/// ```
#[must_use]
pub fn is_capture(begin: &[u8]) -> bool {
    begin.first_chunk().is_some_and(|&magic| container::Kind::of(magic).is_some())
}

/// Reads the packets of a capture and puts fragments and streams together: IPv4 and IPv6, over Ethernet (VLAN tags
/// included), Linux "cooked" and loopback links or none.
///
/// ```
/// use std::time::Duration;
/// use sip_transport::capture::{Capture, read::{Payload, read}};
///
/// let (alice, bob) = ("192.0.2.1:5060".parse()?, "192.0.2.2:5060".parse()?);
/// let mut capture = Capture::new(Vec::new())?;
/// capture.datagram(Duration::from_secs(1), alice, bob, b"OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n\r\n")?;
/// let mut seen = Vec::new();
/// read(&capture.finish()?[..], |captured| seen.push(captured))?;
/// assert_eq!((seen[0].from, seen[0].to), (alice, bob));
/// assert!(matches!(&seen[0].payload, Payload::Datagram(octets) if octets.starts_with(b"OPTIONS")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the file is none, or damaged; what stands before the damage has been told then.
pub fn read(file: impl Read + Send, mut tell: impl FnMut(Captured)) -> Result<(), ReadError> {
    let mut packets = Packets::default();
    let result = container::packets(file, |at, link, data| packets.packet(at, link, data, &mut tell));
    packets.streams.finish(&mut tell);
    result
}

/// Where the network layer of a packet begins.
enum Network<'a> {
    Ethernet(&'a [u8]),
    Typed(EtherType, &'a [u8]),
    Ip(&'a [u8]),
}

impl<'a> Network<'a> {
    /// The link types of <https://www.tcpdump.org/linktypes.html> over which SIP is captured.
    fn of(link: u32, data: &'a [u8]) -> Option<Network<'a>> {
        let after = |length: usize| data.get(length..);
        let kind = |at: usize| {
            let octets = data.get(at..)?.first_chunk::<2>()?;
            Some(EtherType(u16::from_be_bytes(*octets)))
        };
        Some(match link {
            1 => Network::Ethernet(data),
            0 | 108 => Network::Ip(after(4)?), // the address family, then IP
            12 | 14 | 101 | 228 | 229 => Network::Ip(data),
            113 => Network::Typed(kind(14)?, after(16)?), // Linux cooked
            276 => Network::Typed(kind(0)?, after(20)?),  // Linux cooked, second version
            _ => return None,
        })
    }

    fn strict(&self) -> Option<SlicedPacket<'a>> {
        match *self {
            Network::Ethernet(data) => SlicedPacket::from_ethernet(data).ok(),
            Network::Typed(kind, data) => SlicedPacket::from_ether_type(kind, data).ok(),
            Network::Ip(data) => SlicedPacket::from_ip(data).ok(),
        }
    }

    /// For packets of which the capture kept only the begin.
    fn lax(&self) -> Option<LaxSlicedPacket<'a>> {
        match *self {
            Network::Ethernet(data) => LaxSlicedPacket::from_ethernet(data).ok(),
            Network::Typed(kind, data) => Some(LaxSlicedPacket::from_ether_type(kind, data)),
            Network::Ip(data) => LaxSlicedPacket::from_ip(data).ok(),
        }
    }
}

/// The packets so far, as far as others depend on them.
#[derive(Default)]
struct Packets {
    fragments: IpDefragPool<u64>,
    count: u64,
    streams: Streams,
}

impl Packets {
    fn packet(&mut self, at: Duration, link: u32, data: &[u8], tell: &mut impl FnMut(Captured)) {
        self.count = self.count.saturating_add(1);
        if self.count.is_multiple_of(FRAGMENTS_SWEEP) {
            let oldest = self.count.saturating_sub(FRAGMENTS_KEPT);
            self.fragments.retain(|&seen| seen >= oldest);
        }
        let Some(network) = Network::of(link, data) else { return };
        if let Some(packet) = network.strict() {
            if packet.is_ip_payload_fragmented() {
                return self.fragment(at, &packet, tell);
            }
            if let (Some(ips), Some(transport)) = (packet.net.as_ref().and_then(addresses), &packet.transport)
            {
                self.transport(at, ips, transport, tell);
            }
        } else if let Some(packet) = network.lax()
            && let (Some(ips), Some(transport)) =
                (packet.net.as_ref().and_then(lax_addresses), &packet.transport)
        {
            self.transport(at, ips, transport, tell);
        }
    }

    fn fragment(&mut self, at: Duration, packet: &SlicedPacket<'_>, tell: &mut impl FnMut(Captured)) {
        let Some(ips) = packet.net.as_ref().and_then(addresses) else { return };
        let Ok(Some(whole)) = self.fragments.process_sliced_packet(packet, self.count, ()) else { return };
        let transport = match whole.ip_number {
            IpNumber::UDP => UdpSlice::from_slice_lax(&whole.payload).ok().map(TransportSlice::Udp),
            IpNumber::TCP => TcpSlice::from_slice(&whole.payload).ok().map(TransportSlice::Tcp),
            _ => None,
        };
        if let Some(transport) = transport {
            self.transport(at, ips, &transport, tell);
        }
        self.fragments.return_buf(whole);
    }

    fn transport(
        &mut self,
        at: Duration,
        (source, destination): (IpAddr, IpAddr),
        transport: &TransportSlice<'_>,
        tell: &mut impl FnMut(Captured),
    ) {
        match transport {
            TransportSlice::Udp(udp) => tell(Captured {
                at,
                from: SocketAddr::new(source, udp.source_port()),
                to: SocketAddr::new(destination, udp.destination_port()),
                payload: Payload::Datagram(Bytes::copy_from_slice(udp.payload())),
            }),
            TransportSlice::Tcp(tcp) => {
                let segment = Segment {
                    at,
                    from: SocketAddr::new(source, tcp.source_port()),
                    to: SocketAddr::new(destination, tcp.destination_port()),
                    sequence: tcp.sequence_number(),
                    starts: tcp.syn(),
                    ends: tcp.fin() || tcp.rst(),
                    octets: tcp.payload(),
                };
                self.streams.segment(&segment, tell);
            }
            _ => {}
        }
    }
}

fn addresses(net: &NetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        NetSlice::Ipv4(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        NetSlice::Ipv6(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        _ => None,
    }
}

fn lax_addresses(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        LaxNetSlice::Ipv4(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        LaxNetSlice::Ipv6(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        LaxNetSlice::Arp(_) => None,
    }
}

/// Keyed by both ends: the directions of a connection are two streams.
pub(super) type Direction = (SocketAddr, SocketAddr);

/// A map of directions.
pub(super) type Directions<T> = HashMap<Direction, T>;
