//! Writes what passed over a network as a classic pcap file that Wireshark and tcpdump open.
//!
//! The packets are synthesized: raw IPv4 or IPv6 without a link layer (`LINKTYPE_RAW`), UDP, or TCP with running
//! sequence numbers and no handshake. Checksums are right, so no dissector complains.

#[cfg(feature = "capture-read")]
mod container;
#[cfg(feature = "capture-read")]
pub mod read;
#[cfg(feature = "capture-read")]
mod streams;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::path::{Path, Transport};

/// `LINKTYPE_RAW`: each packet begins with its IP header.
const LINKTYPE_RAW: u32 = 101;
/// Largest packet recorded in the file header; ours never pass 65,535 bytes.
const SNAP_LENGTH: u32 = 65_535;
/// Payload of one synthesized TCP segment.
const SEGMENT: usize = 32_768;
/// Payload of the largest UDP datagram over IPv4 (65,535 - 20 - 8); what is longer was not one datagram.
const MAX_DATAGRAM: usize = 65_507;
/// TCP directions whose sequence numbers are kept. A server under a flood of connections must not grow by its
/// capture; when the table is full it starts afresh and long-lived connections show a sequence gap.
const MAX_DIRECTIONS: usize = 65_536;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
/// ACK and PSH.
const TCP_FLAGS: u8 = 0x18;

/// A pcap file in the making.
///
/// ```
/// use std::time::Duration;
/// use sip_transport::capture::Capture;
///
/// let mut capture = Capture::new(Vec::new())?;
/// let (alice, bob) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
/// capture.datagram(Duration::from_secs(1), alice, bob, b"OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n\r\n")?;
/// let file: Vec<u8> = capture.finish()?;
/// assert_eq!(&file[..4], 0xa1b2_c3d4_u32.to_le_bytes());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Capture<W: Write> {
    out: W,
    sequences: HashMap<(SocketAddr, SocketAddr), u32>,
    packet: Vec<u8>,
}

impl<W: Write> Capture<W> {
    /// Begins a file by writing its header.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Capture<W>> {
        let mut header = Vec::with_capacity(24);
        header.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
        header.extend_from_slice(&2_u16.to_le_bytes());
        header.extend_from_slice(&4_u16.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(&SNAP_LENGTH.to_le_bytes());
        header.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        out.write_all(&header)?;
        Ok(Capture { out, sequences: HashMap::new(), packet: Vec::new() })
    }

    /// Records a message on a path: a datagram for UDP, else bytes of a stream. TLS and WebSocket are written as
    /// the plain messages within.
    ///
    /// `at` is the time since the Unix epoch. Unspecified local addresses are written as they are.
    ///
    /// # Errors
    /// Those of the output; `InvalidInput` for a datagram that is none by its length.
    pub fn message(&mut self, at: Duration, inbound: bool, path: &Path, payload: &[u8]) -> io::Result<()> {
        let (from, to) = if inbound { (path.remote, path.local) } else { (path.local, path.remote) };
        match path.transport {
            Transport::Udp => self.datagram(at, from, to, payload),
            _ => self.stream(at, from, to, payload),
        }
    }

    /// Records one UDP datagram: SIP, RTP, RTCP.
    ///
    /// # Errors
    /// Those of the output; `InvalidInput` for more than 65,507 bytes.
    pub fn datagram(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        if payload.len() > MAX_DATAGRAM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a datagram of {} bytes; at most {MAX_DATAGRAM} can be", payload.len()),
            ));
        }
        let mut udp = Vec::with_capacity(UDP_HEADER.saturating_add(payload.len()));
        udp.extend_from_slice(&from.port().to_be_bytes());
        udp.extend_from_slice(&to.port().to_be_bytes());
        udp.extend_from_slice(&length16(UDP_HEADER.saturating_add(payload.len())).to_be_bytes());
        udp.extend_from_slice(&[0, 0]);
        udp.extend_from_slice(payload);
        self.write_packet(at, from.ip(), to.ip(), PROTOCOL_UDP, udp, 6)
    }

    /// Records bytes of a TCP connection, in as many segments as needed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn stream(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        if self.sequences.len() >= MAX_DIRECTIONS && !self.sequences.contains_key(&(from, to)) {
            self.sequences.clear();
        }
        for segment in payload.chunks(SEGMENT) {
            let acknowledged = self.sequences.get(&(to, from)).copied().unwrap_or(1);
            let next = self.sequences.entry((from, to)).or_insert(1);
            let sequence = *next;
            *next = next.wrapping_add(u32::try_from(segment.len()).unwrap_or(u32::MAX));

            let mut tcp = Vec::with_capacity(TCP_HEADER.saturating_add(segment.len()));
            tcp.extend_from_slice(&from.port().to_be_bytes());
            tcp.extend_from_slice(&to.port().to_be_bytes());
            tcp.extend_from_slice(&sequence.to_be_bytes());
            tcp.extend_from_slice(&acknowledged.to_be_bytes());
            tcp.extend_from_slice(&[0x50, TCP_FLAGS]);
            tcp.extend_from_slice(&u16::MAX.to_be_bytes());
            tcp.extend_from_slice(&[0; 4]);
            tcp.extend_from_slice(segment);
            self.write_packet(at, from.ip(), to.ip(), PROTOCOL_TCP, tcp, 16)?;
        }
        Ok(())
    }

    /// Hands buffered bytes on.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// Puts the checksum into `segment` at `checksum_at`, the IP header before it, and writes the record.
    fn write_packet(
        &mut self,
        at: Duration,
        from: IpAddr,
        to: IpAddr,
        protocol: u8,
        mut segment: Vec<u8>,
        checksum_at: usize,
    ) -> io::Result<()> {
        // A dual-stack socket may name one side in the other family: map both to IPv6 then.
        let (from, to) = match (from, to) {
            (IpAddr::V4(a), IpAddr::V6(_)) => (IpAddr::V6(a.to_ipv6_mapped()), to),
            (IpAddr::V6(_), IpAddr::V4(b)) => (from, IpAddr::V6(b.to_ipv6_mapped())),
            same => same,
        };
        let mut sum = Checksum::default();
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                sum.add(&from.octets());
                sum.add(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                sum.add(&from.octets());
                sum.add(&to.octets());
            }
            _ => {}
        }
        sum.add(&[0, protocol]);
        sum.add(&length16(segment.len()).to_be_bytes());
        sum.add(&segment);
        // RFC 768: a UDP checksum that comes out as zero is sent as all ones.
        let value = match sum.value() {
            0 if protocol == PROTOCOL_UDP => 0xffff,
            value => value,
        };
        if let Some(field) = segment.get_mut(checksum_at..checksum_at.saturating_add(2)) {
            field.copy_from_slice(&value.to_be_bytes());
        }

        self.packet.clear();
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = Vec::with_capacity(20);
                header.extend_from_slice(&[0x45, 0]);
                header.extend_from_slice(&length16(segment.len().saturating_add(20)).to_be_bytes());
                header.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol]);
                let mut sum = Checksum::default();
                sum.add(&header);
                sum.add(&from.octets());
                sum.add(&to.octets());
                header.extend_from_slice(&sum.value().to_be_bytes());
                header.extend_from_slice(&from.octets());
                header.extend_from_slice(&to.octets());
                self.packet.extend_from_slice(&header);
            }
            (from, to) => {
                self.packet.extend_from_slice(&[0x60, 0, 0, 0]);
                self.packet.extend_from_slice(&length16(segment.len()).to_be_bytes());
                self.packet.extend_from_slice(&[protocol, 64]);
                for ip in [from, to] {
                    if let IpAddr::V6(ip) = ip {
                        self.packet.extend_from_slice(&ip.octets());
                    }
                }
            }
        }
        self.packet.extend_from_slice(&segment);

        let length = u32::try_from(self.packet.len()).unwrap_or(u32::MAX);
        // The format counts seconds in 32 bits, which reach to the year 2106.
        let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        for word in [seconds, at.subsec_micros(), length, length] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(&self.packet)
    }
}

fn length16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// The Internet checksum (RFC 1071). Pieces but the last must be of even length.
#[derive(Default)]
struct Checksum(u32);

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let word = match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high] => u16::from_be_bytes([*high, 0]),
                _ => 0,
            };
            // 65,575 bytes of all ones stay below 2^32.
            self.0 = self.0.wrapping_add(u32::from(word));
        }
    }

    fn value(&self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Splits a file into its records, checking lengths on the way.
    fn records(file: &[u8]) -> Vec<&[u8]> {
        assert_eq!(u32::from_le_bytes(file[20..24].try_into().unwrap()), LINKTYPE_RAW);
        let mut rest = &file[24..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], rest[12..16]);
            records.push(&rest[16..16 + length]);
            rest = &rest[16 + length..];
        }
        records
    }

    /// A right checksum makes the sum over header, pseudo header and payload come out as zero.
    fn verify(packet: &[u8]) {
        let (addresses, protocol, segment) = if packet[0] >> 4 == 4 {
            let mut sum = Checksum::default();
            sum.add(&packet[..20]);
            assert_eq!(sum.value(), 0, "IPv4 header checksum");
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            (&packet[12..20], packet[9], &packet[20..])
        } else {
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len() - 40);
            (&packet[8..40], packet[6], &packet[40..])
        };
        let mut sum = Checksum::default();
        sum.add(addresses);
        sum.add(&[0, protocol]);
        sum.add(&length16(segment.len()).to_be_bytes());
        sum.add(segment);
        assert_eq!(sum.value(), 0, "UDP or TCP checksum");
    }

    #[test]
    fn datagrams_of_both_families_have_right_lengths_and_checksums() {
        let mut capture = Capture::new(Vec::new()).unwrap();
        let at = Duration::new(1_700_000_000, 123_456_000);
        for payload in [&b""[..], b"x", b"odd", b"even"] {
            capture.datagram(at, addr("192.0.2.1:5060"), addr("192.0.2.2:5070"), payload).unwrap();
            capture.datagram(at, addr("[2001:db8::1]:5060"), addr("[2001:db8::2]:5070"), payload).unwrap();
        }
        let file = capture.finish().unwrap();
        assert_eq!(u32::from_le_bytes(file[24..28].try_into().unwrap()), 1_700_000_000);
        assert_eq!(u32::from_le_bytes(file[28..32].try_into().unwrap()), 123_456);
        let records = records(&file);
        assert_eq!(records.len(), 8);
        records.iter().for_each(|packet| verify(packet));
        assert_eq!(&records[6][28..], b"even");
    }

    #[test]
    fn a_stream_counts_its_sequence_numbers_in_both_directions() {
        let (a, b) = (addr("192.0.2.1:40000"), addr("192.0.2.2:5060"));
        let mut capture = Capture::new(Vec::new()).unwrap();
        capture.stream(Duration::ZERO, a, b, &[b'a'; 100]).unwrap();
        capture.stream(Duration::ZERO, b, a, &[b'b'; 50]).unwrap();
        capture.stream(Duration::ZERO, a, b, &vec![b'c'; SEGMENT + 1]).unwrap();
        let file = capture.finish().unwrap();
        let records = records(&file);
        records.iter().for_each(|packet| verify(packet));
        let numbers: Vec<(u32, u32)> = records
            .iter()
            .map(|packet| {
                let tcp = &packet[20..];
                let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
                (word(4), word(8))
            })
            .collect();
        assert_eq!(numbers, [(1, 1), (1, 101), (101, 51), (101 + SEGMENT as u32, 51)]);
    }

    #[test]
    fn more_than_a_datagram_holds_is_refused() {
        let mut capture = Capture::new(Vec::new()).unwrap();
        let (a, b) = (addr("192.0.2.1:1"), addr("192.0.2.2:2"));
        capture.datagram(Duration::ZERO, a, b, &vec![0xff; MAX_DATAGRAM]).unwrap();
        let error = capture.datagram(Duration::ZERO, a, b, &vec![0xff; MAX_DATAGRAM + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        records(&capture.finish().unwrap()).iter().for_each(|packet| verify(packet));
    }
}
