//! Packets sent again (RFC 4588): what was sent is kept for a while, and goes in a stream of its own when it is missed.
//!
//! ```
//! use rtp::packet::{Header, Packet};
//! use rtp::retransmission::{History, original};
//!
//! let mut history = History::new(128);
//! let header = Header { payload_type: 96, marker: true, sequence_number: 7, timestamp: 90, ssrc: 1 };
//! history.keep(&header.build(b"picture")?);
//!
//! // The peer missed packet 7: it goes again with the payload type, the SSRC and the numbers of the second stream.
//! let again = Header { payload_type: 97, sequence_number: 1000, ssrc: 2, ..header };
//! let datagram = history.again(7, again).ok_or("kept")??;
//!
//! // There it becomes what it was; payload type and SSRC come from the agreement.
//! let packet = Packet::parse(&datagram)?;
//! let (header_again, payload) = original(&packet, 96, 1).ok_or("whole")?;
//! assert_eq!((header_again, payload), (header, &b"picture"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;

use crate::packet::{BuildError, Header, Packet};

/// Packets that one history keeps at most: half the sequence numbers, so that none means two packets.
const MAX_KEPT: usize = 1 << 15;

/// The packets of one stream that were sent last.
#[derive(Clone, Debug)]
pub struct History {
    slots: Vec<Option<(u16, Bytes)>>,
}

impl History {
    /// Keeps that many packets, 1 to 32,768. They are shared with what was sent, not copied.
    #[must_use]
    pub fn new(packets: usize) -> Self {
        // A power of two, so that slots follow each other over the wrap of the numbers.
        Self { slots: vec![None; packets.clamp(1, MAX_KEPT).next_power_of_two()] }
    }

    fn slot(&self, number: u16) -> usize {
        usize::from(number) % self.slots.len().max(1)
    }

    /// Keeps a packet that is being sent; octets that are no RTP are not kept.
    pub fn keep(&mut self, datagram: &Bytes) {
        let Some(number) = datagram.get(2..4).and_then(|octets| octets.first_chunk()) else { return };
        let number = u16::from_be_bytes(*number);
        let at = self.slot(number);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some((number, datagram.clone()));
        }
    }

    /// The packet as it was sent, if it is still here.
    #[must_use]
    pub fn get(&self, number: u16) -> Option<&Bytes> {
        let (kept, datagram) = self.slots.get(self.slot(number))?.as_ref()?;
        (*kept == number).then_some(datagram)
    }

    /// The packet once more under the header of the retransmission stream (RFC 4588 §4): the original sequence number
    /// stands before the payload; marker and timestamp are those of the original. `None` if it is no longer here.
    ///
    /// # Errors
    /// [`BuildError`] if the packet grows beyond a datagram.
    #[must_use]
    pub fn again(&self, number: u16, stream: Header) -> Option<Result<Bytes, BuildError>> {
        let packet = Packet::parse(self.get(number)?).ok()?;
        let payload = [&number.to_be_bytes()[..], packet.payload].concat();
        let header = Header { marker: packet.header.marker, timestamp: packet.header.timestamp, ..stream };
        let mut again = Packet::new(header, &payload);
        if let Some((profile, data)) = packet.extension() {
            again = again.with_extension(profile, data);
        }
        Some(again.build())
    }
}

/// The packet that a retransmission stands for. `None` if it is too short to name one.
#[must_use]
pub fn original<'a>(packet: &Packet<'a>, payload_type: u8, ssrc: u32) -> Option<(Header, &'a [u8])> {
    let (number, payload) = packet.payload.split_first_chunk::<2>()?;
    let header = Header { payload_type, ssrc, sequence_number: u16::from_be_bytes(*number), ..packet.header };
    Some((header, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence_number: u16) -> Bytes {
        let header = Header { payload_type: 96, marker: false, sequence_number, timestamp: 1, ssrc: 1 };
        header.build(&sequence_number.to_be_bytes()).unwrap()
    }

    #[test]
    fn the_last_packets_are_kept_over_the_wrap_of_the_numbers() {
        let mut history = History::new(100); // 128 in fact
        let numbers = (65_000..=u16::MAX).chain(0..50);
        numbers.clone().for_each(|number| history.keep(&packet(number)));
        let kept: Vec<u16> =
            numbers.filter(|number| history.get(*number) == Some(&packet(*number))).collect();
        assert_eq!((kept.len(), kept.first(), kept.last()), (128, Some(&65_458), Some(&49)));
        assert_eq!(history.get(65_000), None);
    }

    #[test]
    fn rfc4588_4_a_retransmission_becomes_the_original_with_its_extension() {
        let header = Header { payload_type: 96, marker: true, sequence_number: 9, timestamp: 90, ssrc: 1 };
        let sent = Packet::new(header, b"picture").with_extension(0xbede, &[0x10, 1, 0, 0]).build().unwrap();
        let mut history = History::new(4);
        history.keep(&sent);
        let stream = Header { payload_type: 97, marker: false, sequence_number: 1, timestamp: 0, ssrc: 2 };
        let again = history.again(9, stream).unwrap().unwrap();
        let packet = Packet::parse(&again).unwrap();
        assert_eq!(packet.extension(), Some((0xbede, &[0x10, 1, 0, 0][..])));
        assert_eq!((packet.header.ssrc, packet.header.sequence_number, packet.header.marker), (2, 1, true));
        assert_eq!(original(&packet, 96, 1), Some((header, &b"picture"[..])));
        assert_eq!(original(&Packet::new(header, &[1]), 96, 1), None);
        history.keep(&Bytes::from_static(&[1, 2, 3]));
    }
}
