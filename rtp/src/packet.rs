//! The RTP packet (RFC 3550 §5): what was received as a view, what is sent as [`Bytes`].

use bytes::Bytes;

/// Octets of the fixed RTP header (RFC 3550 §5.1).
pub const FIXED_HEADER_LENGTH: usize = 12;

/// The largest RTP packet that fits in one UDP datagram over IPv4.
pub const MAX_PACKET_LENGTH: usize = 65_507;

/// The fields of the fixed header that differ from packet to packet (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Format of the payload, 0 to 127 (RFC 3551 §6).
    pub payload_type: u8,
    /// Marker bit; in audio it starts a talk spurt (RFC 3551 §4.1).
    pub marker: bool,
    /// Counts packets, wraps at 65536.
    pub sequence_number: u16,
    /// Sampling instant of the first octet, in units of the clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

impl Header {
    /// The fixed header as it stands in front of a packet without contributing sources, header extension or padding (RFC 3550
    /// §5.1). A payload type of more than seven bits loses the eighth.
    #[must_use]
    pub fn octets(&self) -> [u8; FIXED_HEADER_LENGTH] {
        let [s0, s1] = self.sequence_number.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        [0x80, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
    }

    /// Builds a packet without contributing sources, header extension or padding.
    ///
    /// # Errors
    /// [`BuildError`] if the payload type needs more than seven bits or the packet exceeds a datagram.
    pub fn build(&self, payload: &[u8]) -> Result<Bytes, BuildError> {
        Packet::new(*self, payload).build()
    }
}

/// Why octets are not an RTP packet (RFC 3550 §5.1, appendix A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The header, the list of contributing sources, the extension or the padding runs past the end.
    #[error("RTP packet too short: {expected} octets announced, {actual} received")]
    Truncated {
        /// Octets that the header announces.
        expected: usize,
        /// Octets received.
        actual: usize,
    },
    /// The version field is not 2.
    #[error("RTP version {0}, only version 2 exists")]
    Version(u8),
    /// The padding bit is set but the padding length is impossible.
    #[error("RTP padding of {0} octets is impossible")]
    Padding(u8),
}

/// Why a packet cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Payload types have seven bits.
    #[error("payload type {0} does not fit in seven bits; use 0 to 127")]
    PayloadType(u8),
    /// More octets than one UDP datagram carries.
    #[error("RTP packet of {length} octets exceeds {MAX_PACKET_LENGTH}; split the payload")]
    TooLong {
        /// Octets that the packet would have had.
        length: usize,
    },
    /// Extension data whose length is no multiple of four (RFC 3550 §5.3.1).
    #[error("RTP header extension of {length} octets; pad it to a multiple of four")]
    ExtensionLength {
        /// Octets of extension data given.
        length: usize,
    },
}

/// An RTP packet whose variable parts borrow from the datagram it was parsed from.
///
/// ```
/// use rtp::packet::{Header, Packet};
/// let header = Header { payload_type: 0, marker: true, sequence_number: 7, timestamp: 160, ssrc: 1 };
/// let datagram = header.build(&[0xff; 160])?;
/// let packet = Packet::parse(&datagram)?;
/// assert_eq!(packet.header, header);
/// assert_eq!(packet.payload.len(), 160);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// Contributing sources as they stand in the packet, four octets each (at most 15).
    csrc: &'a [u8],
    /// Profile-defined identifier and data of the header extension (RFC 3550 §5.3.1).
    extension: Option<(u16, &'a [u8])>,
    /// The payload without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses one datagram.
    ///
    /// # Errors
    /// [`PacketError`] if it is not RTP version 2 or announces more than it holds.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let too_short = PacketError::Truncated { expected: FIXED_HEADER_LENGTH, actual: datagram.len() };
        let (fixed, rest) = datagram.split_first_chunk().ok_or(too_short)?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if first >> 6 != 2 {
            return Err(PacketError::Version(first >> 6));
        }
        let header = Header {
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence_number: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        if first & 0x3f == 0 {
            return Ok(Self { header, csrc: &[], extension: None, payload: rest }); // as nearly all are
        }
        Self::parse_variable(datagram, header)
    }

    /// The rest of [`Packet::parse`] for packets with sources, an extension or padding.
    fn parse_variable(datagram: &'a [u8], header: Header) -> Result<Self, PacketError> {
        let actual = datagram.len();
        let truncated = |expected| PacketError::Truncated { expected, actual };
        let (&[first, ..], rest) =
            datagram.split_first_chunk::<FIXED_HEADER_LENGTH>().ok_or(truncated(FIXED_HEADER_LENGTH))?;
        let sources = usize::from(first & 0x0f) * 4;
        let (csrc, mut rest) =
            rest.split_at_checked(sources).ok_or(truncated(FIXED_HEADER_LENGTH + sources))?;
        let mut extension = None;
        if first & 0x10 != 0 {
            let before = FIXED_HEADER_LENGTH + sources + 4;
            let (&[i0, i1, l0, l1], after) = rest.split_first_chunk().ok_or(truncated(before))?;
            let length = usize::from(u16::from_be_bytes([l0, l1])) * 4;
            let (data, after) = after.split_at_checked(length).ok_or(truncated(before + length))?;
            extension = Some((u16::from_be_bytes([i0, i1]), data));
            rest = after;
        }
        if first & 0x20 != 0 {
            // Its last octet counts the padding, itself included.
            let padding = *rest.last().ok_or(truncated(actual + 1))?;
            let end = rest.len().checked_sub(padding.into());
            let end = end.ok_or(truncated(actual - rest.len() + usize::from(padding)))?;
            rest = rest.get(..end).filter(|_| padding > 0).ok_or(PacketError::Padding(padding))?;
        }
        Ok(Self { header, csrc, extension, payload: rest })
    }

    /// A packet to be written, without contributing sources, header extension or padding.
    #[must_use]
    pub fn new(header: Header, payload: &'a [u8]) -> Self {
        Self { header, csrc: &[], extension: None, payload }
    }

    /// Contributing sources, as a mixer lists them.
    pub fn contributing_sources(&self) -> impl Iterator<Item = u32> + 'a {
        self.csrc.as_chunks::<4>().0.iter().map(|octets| u32::from_be_bytes(*octets))
    }

    /// Profile-defined identifier and data of the header extension.
    #[must_use]
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        self.extension
    }

    /// The same packet with a header extension (RFC 3550 §5.3.1).
    #[must_use]
    pub fn with_extension(mut self, id: u16, data: &'a [u8]) -> Self {
        self.extension = Some((id, data));
        self
    }

    /// Writes the packet, without padding.
    ///
    /// # Errors
    /// [`BuildError`] names the field that cannot be written.
    pub fn build(&self) -> Result<Bytes, BuildError> {
        if self.header.payload_type > 0x7f {
            return Err(BuildError::PayloadType(self.header.payload_type));
        }
        let extension_length = self.extension.map_or(0, |(_, data)| data.len() + 4);
        let length = FIXED_HEADER_LENGTH + self.csrc.len() + extension_length + self.payload.len();
        if length > MAX_PACKET_LENGTH {
            return Err(BuildError::TooLong { length });
        }
        if let Some((_, data)) = self.extension
            && (data.len() % 4 != 0 || data.len() / 4 > usize::from(u16::MAX))
        {
            return Err(BuildError::ExtensionLength { length: data.len() });
        }
        let [first, rest @ ..] = self.header.octets();
        let sources = (self.csrc.len() / 4) as u8 & 0x0f; // 15 at most, as they were parsed
        let mut buffer = Vec::with_capacity(length);
        buffer.push(first | u8::from(self.extension.is_some()) << 4 | sources);
        buffer.extend_from_slice(&rest);
        buffer.extend_from_slice(self.csrc);
        if let Some((id, data)) = self.extension {
            buffer.extend_from_slice(&id.to_be_bytes());
            buffer.extend_from_slice(&((data.len() / 4) as u16).to_be_bytes());
            buffer.extend_from_slice(data);
        }
        buffer.extend_from_slice(self.payload);
        Ok(Bytes::from(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header = Header {
        payload_type: 8,
        marker: false,
        sequence_number: 0xfffe,
        timestamp: 0xffff_ff00,
        ssrc: 0xdead_beef,
    };

    #[test]
    fn rfc3550_5_1_every_truncation_of_the_header_is_an_error() {
        let packet = HEADER.build(b"payload").unwrap();
        for length in 0..FIXED_HEADER_LENGTH {
            assert_eq!(
                Packet::parse(&packet[..length]),
                Err(PacketError::Truncated { expected: 12, actual: length })
            );
        }
    }

    #[test]
    fn rfc3550_5_1_padding_that_lies_is_an_error() {
        let mut octets = HEADER.build(&[1, 2, 3, 200]).unwrap().to_vec();
        octets[0] |= 0x20;
        assert!(matches!(Packet::parse(&octets), Err(PacketError::Truncated { .. })));
        *octets.last_mut().unwrap() = 0;
        assert_eq!(Packet::parse(&octets), Err(PacketError::Padding(0)));
        *octets.last_mut().unwrap() = 2;
        assert_eq!(Packet::parse(&octets).unwrap().payload, &[1, 2]);
    }

    #[test]
    fn rfc3550_5_1_contributing_sources_and_extension_are_read_and_bounded() {
        let mut octets = vec![0x92, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        octets.extend([0, 0, 0, 10, 0, 0, 0, 11]);
        octets.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        octets.extend(b"xy");
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!(packet.contributing_sources().collect::<Vec<_>>(), [10, 11]);
        assert_eq!(packet.extension(), Some((0xbede, &[1, 2, 3, 4][..])));
        assert_eq!(packet.payload, b"xy");
        assert_eq!(packet.build().unwrap(), octets);
        octets[23] = 200;
        assert!(matches!(Packet::parse(&octets), Err(PacketError::Truncated { .. })));
    }

    #[test]
    fn version_other_than_two_is_refused() {
        let mut octets = HEADER.build(b"").unwrap().to_vec();
        octets[0] = 0x40;
        assert_eq!(Packet::parse(&octets), Err(PacketError::Version(1)));
    }

    #[test]
    fn build_refuses_what_cannot_be_written() {
        assert_eq!(Header { payload_type: 128, ..HEADER }.build(b""), Err(BuildError::PayloadType(128)));
        assert!(matches!(HEADER.build(&[0; MAX_PACKET_LENGTH]), Err(BuildError::TooLong { .. })));
    }

    /// The parser of the crate `rtp-types` says the same of everything.
    fn is_read_by_rtp_types(octets: &[u8]) {
        let theirs = rtp_types::RtpPacket::parse(octets);
        let ours = Packet::parse(octets);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{octets:02x?}: {ours:?}");
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return };
        let header = Header {
            payload_type: theirs.payload_type(),
            marker: theirs.marker_bit(),
            sequence_number: theirs.sequence_number(),
            timestamp: theirs.timestamp(),
            ssrc: theirs.ssrc(),
        };
        assert_eq!(ours.header, header);
        assert!(ours.contributing_sources().eq(theirs.csrc()));
        assert_eq!(ours.extension(), theirs.extension());
        assert_eq!(ours.payload, theirs.payload());
    }

    proptest! {
        #[test]
        fn another_parser_reads_the_same(first in 0x80u8..0xc0, rest in proptest::collection::vec(any::<u8>(), 0..100), words: u8, last in 0u8..20) {
            let mut octets: Vec<u8> = std::iter::once(first).chain(rest).collect();
            // Lengths that often fit.
            let at = 12 + usize::from(first & 0x0f) * 4 + 2;
            if let Some(length) = octets.get_mut(at..at + 2) {
                length.copy_from_slice(&[0, words % 8]);
            }
            if let Some(padding) = octets.get_mut(1..).and_then(<[u8]>::last_mut) {
                *padding = last;
            }
            is_read_by_rtp_types(&octets);
        }

        #[test]
        fn round_trip(payload_type in 0u8..128, marker: bool, sequence_number: u16, timestamp: u32, ssrc: u32,
                      extension in proptest::option::of((any::<u16>(), 0usize..6)),
                      payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let header = Header { payload_type, marker, sequence_number, timestamp, ssrc };
            let data = vec![0x5a; extension.map_or(0, |(_, words)| words * 4)];
            let mut packet = Packet { header, csrc: &[], extension: None, payload: &payload };
            if let Some((id, _)) = extension { packet = packet.with_extension(id, &data); }
            let built = packet.build().unwrap();
            prop_assert_eq!(Packet::parse(&built).unwrap(), packet);
        }

        #[test]
        fn arbitrary_octets_never_panic_and_what_parses_is_stable(octets in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(packet) = Packet::parse(&octets) {
                let again = packet.build().unwrap();
                prop_assert_eq!(Packet::parse(&again).unwrap(), packet);
            }
        }
    }
}
