//! The RTP packet (RFC 3550 §5): what was received as a view, what is sent as [`Bytes`].

use bytes::Bytes;
use rtp_types::{RtpPacket, RtpPacketBuilder, RtpParseError};

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
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let view = RtpPacket::parse(datagram).map_err(|error| match error {
            RtpParseError::UnsupportedVersion(version) => PacketError::Version(version),
            RtpParseError::Truncated { expected, actual } => PacketError::Truncated { expected, actual },
            RtpParseError::PaddingInvalid(padding) => PacketError::Padding(padding),
        })?;
        let csrc_end = FIXED_HEADER_LENGTH + usize::from(view.n_csrcs()) * 4;
        let payload_end = datagram.len() - usize::from(view.padding().unwrap_or(0));
        let cut = |from: usize, to: usize| {
            datagram.get(from..to).ok_or(PacketError::Truncated { expected: to, actual: datagram.len() })
        };
        let extension = match view.extension() {
            Some((id, data)) => Some((id, cut(csrc_end + 4, csrc_end + 4 + data.len())?)),
            None => None,
        };
        Ok(Self {
            header: Header {
                payload_type: view.payload_type(),
                marker: view.marker_bit(),
                sequence_number: view.sequence_number(),
                timestamp: view.timestamp(),
                ssrc: view.ssrc(),
            },
            csrc: cut(FIXED_HEADER_LENGTH, csrc_end)?,
            extension,
            payload: cut(view.payload_offset(), payload_end)?,
        })
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
        let mut builder = RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(self.header.payload_type)
            .marker_bit(self.header.marker)
            .sequence_number(self.header.sequence_number)
            .timestamp(self.header.timestamp)
            .ssrc(self.header.ssrc)
            .payload(self.payload);
        for source in self.contributing_sources() {
            builder = builder.add_csrc(source);
        }
        if let Some((id, data)) = self.extension {
            if data.len() % 4 != 0 {
                return Err(BuildError::ExtensionLength { length: data.len() });
            }
            builder = builder.extension(id, data);
        }
        let mut buffer = Vec::with_capacity(length);
        builder.write_into_vec_unchecked(&mut buffer);
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

    proptest! {
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
