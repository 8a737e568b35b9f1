//! VP8 (RFC 7741): the payload descriptor, frames cut up and put together.

use super::frames::Assembly;
use super::{Frame, Payload};

/// The payload descriptor (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// N: no other frame is decoded from this one, it may be left out.
    pub non_reference: bool,
    /// S: a partition of the frame starts here.
    pub start: bool,
    /// PID: which partition, 0 to 7.
    pub partition: u8,
    /// Number of the frame, 15 bits.
    pub picture_id: Option<u16>,
    /// TL0PICIDX: number of the base layer's frame.
    pub base_layer_index: Option<u8>,
    /// TID, 0 to 3, and Y: it is decoded from the base layer alone.
    pub temporal_layer: Option<(u8, bool)>,
    /// KEYIDX: number of the key frame, 0 to 31.
    pub key_index: Option<u8>,
}

const EXTENDED: u8 = 0x80;

impl Descriptor {
    /// Reads a descriptor and gives what follows it. `None` if it is cut off.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, mut rest) = payload.split_first()?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            start: first & 0x10 != 0,
            partition: first & 0x07,
            ..Self::default()
        };
        let next = |rest: &mut &[u8]| -> Option<u8> {
            let (&octet, behind) = rest.split_first()?;
            *rest = behind;
            Some(octet)
        };
        if first & EXTENDED != 0 {
            let present = next(&mut rest)?;
            if present & 0x80 != 0 {
                let high = next(&mut rest)?;
                descriptor.picture_id = Some(match high & 0x80 {
                    0 => high.into(),
                    _ => u16::from_be_bytes([high & 0x7f, next(&mut rest)?]),
                });
            }
            if present & 0x40 != 0 {
                descriptor.base_layer_index = Some(next(&mut rest)?);
            }
            if present & 0x30 != 0 {
                let octet = next(&mut rest)?;
                descriptor.temporal_layer = (present & 0x20 != 0).then_some((octet >> 6, octet & 0x20 != 0));
                descriptor.key_index = (present & 0x10 != 0).then_some(octet & 0x1f);
            }
        }
        Some((descriptor, rest))
    }

    /// Writes the descriptor.
    pub fn write(&self, into: &mut Vec<u8>) {
        let present = u8::from(self.picture_id.is_some()) << 7
            | u8::from(self.base_layer_index.is_some()) << 6
            | u8::from(self.temporal_layer.is_some()) << 5
            | u8::from(self.key_index.is_some()) << 4;
        let first = u8::from(self.non_reference) << 5 | u8::from(self.start) << 4 | self.partition & 0x07;
        if present == 0 {
            into.push(first);
            return;
        }
        into.extend([first | EXTENDED, present]);
        match self.picture_id {
            Some(id @ ..=127) => into.push(id as u8),
            Some(id) => into.extend((id & 0x7fff | 0x8000).to_be_bytes()),
            None => {}
        }
        into.extend(self.base_layer_index);
        if self.temporal_layer.is_some() || self.key_index.is_some() {
            let (layer, sync) = self.temporal_layer.unwrap_or_default();
            into.push(layer << 6 | u8::from(sync) << 5 | self.key_index.unwrap_or(0) & 0x1f);
        }
    }

    /// Whether the frame itself starts here.
    #[must_use]
    pub fn starts_frame(&self) -> bool {
        self.start && self.partition == 0
    }
}

/// Whether a payload begins a frame that can be decoded without any before it: P of the VP8 header is 0 (RFC 7741 §4.3).
#[must_use]
pub fn is_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload)
        .is_some_and(|(descriptor, data)| descriptor.starts_frame() && starts_key_frame(data))
}

pub(super) fn starts_key_frame(data: &[u8]) -> bool {
    data.first().is_some_and(|header| header & 1 == 0)
}

/// Cuts frames into payloads.
#[derive(Clone, Copy, Debug)]
pub struct Packetizer {
    largest: usize,
    picture_id: u16,
}

impl Packetizer {
    /// Payloads of at most `largest` octets; `picture_id` numbers the first frame and should be random (RFC 7741 §4.2).
    #[must_use]
    pub fn new(largest: usize, picture_id: u16) -> Self {
        Self { largest: largest.max(16), picture_id }
    }

    /// The payloads of one frame.
    pub fn packetize(&mut self, frame: &[u8]) -> impl Iterator<Item = Payload> + use<> {
        let picture_id = Some(self.picture_id & 0x7fff);
        self.picture_id = self.picture_id.wrapping_add(1);
        // The descriptor takes four octets at most.
        let pieces = frame.chunks(self.largest - 4);
        let last = pieces.len().saturating_sub(1);
        let payloads: Vec<Payload> = pieces
            .enumerate()
            .map(|(at, piece)| {
                let mut payload = Vec::with_capacity(piece.len() + 4);
                Descriptor { start: at == 0, picture_id, ..Descriptor::default() }.write(&mut payload);
                payload.extend_from_slice(piece);
                Payload { marker: at == last, payload }
            })
            .collect();
        payloads.into_iter()
    }
}

/// Puts frames together from packets in order.
#[derive(Clone, Debug, Default)]
pub struct Depacketizer {
    assembly: Assembly,
}

impl Depacketizer {
    /// Nothing received.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet of this number carried no part of a frame: padding, or another format.
    pub fn skip(&mut self, sequence_number: u16) {
        self.assembly.skip(sequence_number);
    }

    /// Takes the payload of a packet; packets come in the order of their sequence numbers. Gives the frame that it ends, and
    /// the one before if that had lost its end.
    pub fn push(
        &mut self,
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> impl Iterator<Item = Frame> + use<> {
        self.assembly.push(sequence_number, timestamp, marker, |frame, _| {
            let Some((descriptor, data)) = Descriptor::parse(payload) else {
                frame.damaged = true;
                return;
            };
            if frame.data.is_empty() {
                frame.key_frame = descriptor.starts_frame() && starts_key_frame(data);
                frame.damaged |= !descriptor.starts_frame();
            }
            frame.add(data);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// §4.6.1 and §4.6.5, and one with all the parts of §4.2.
    #[test]
    fn rfc7741_4_2_and_4_6_the_parts_of_the_descriptor() {
        let (descriptor, rest) = Descriptor::parse(&[0x90, 0x80, 17, 0x9d]).unwrap();
        assert_eq!((descriptor.picture_id, descriptor.starts_frame(), rest), (Some(17), true, &[0x9d][..]));
        let (descriptor, _) = Descriptor::parse(&[0x80, 0x80, 0x92, 0x67]).unwrap();
        assert_eq!((descriptor.picture_id, descriptor.start), (Some(4711), false));
        let (descriptor, _) = Descriptor::parse(&[0xb0, 0xe0, 17, 42, 0x60, 0]).unwrap();
        assert!(descriptor.non_reference);
        assert_eq!((descriptor.base_layer_index, descriptor.temporal_layer), (Some(42), Some((1, true))));
        for cut in [&[][..], &[0x90], &[0x90, 0x80], &[0x90, 0x80, 0x80], &[0x90, 0x40], &[0x90, 0x20]] {
            assert_eq!(Descriptor::parse(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn key_frames_are_known_by_the_first_octet_behind_the_descriptor() {
        let mut packetizer = Packetizer::new(16, 1);
        let packets: Vec<_> = packetizer.packetize(&[0x10; 20]).collect();
        assert!(is_key_frame(&packets[0].payload) && !is_key_frame(&packets[1].payload));
        let inter: Vec<_> = packetizer.packetize(&[0x11; 20]).collect();
        assert!(!is_key_frame(&inter[0].payload));
    }

    #[test]
    fn a_frame_whose_start_is_lost_is_damaged() {
        let packets: Vec<_> = Packetizer::new(16, 1).packetize(&[0x10; 40]).collect();
        let mut depacketizer = Depacketizer::new();
        depacketizer.push(9, 0, true, &[0x10, 1]).for_each(drop);
        let frames: Vec<_> = (11u16..)
            .zip(&packets[1..])
            .flat_map(|(number, packet)| depacketizer.push(number, 1, packet.marker, &packet.payload))
            .collect();
        assert_eq!(
            frames.iter().map(|frame| (frame.damaged, frame.key_frame)).collect::<Vec<_>>(),
            [(true, false)]
        );
    }

    proptest! {
        #[test]
        fn descriptors_read_the_same(
            flags: (bool, bool),
            partition in 0u8..8,
            picture_id in proptest::option::of(0u16..0x8000),
            base_layer_index: Option<u8>,
            temporal_layer in proptest::option::of((0u8..4, any::<bool>())),
            key_index in proptest::option::of(0u8..32),
        ) {
            let (non_reference, start) = flags;
            let descriptor = Descriptor { non_reference, start, partition, picture_id, base_layer_index, temporal_layer, key_index };
            let mut octets = Vec::new();
            descriptor.write(&mut octets);
            prop_assert_eq!(Descriptor::parse(&octets), Some((descriptor, &[][..])));
        }

        #[test]
        fn what_is_cut_up_is_put_together(frame in proptest::collection::vec(any::<u8>(), 1..600), largest in 16usize..100, id: u16) {
            let mut depacketizer = Depacketizer::new();
            let packets: Vec<_> = Packetizer::new(largest, id).packetize(&frame).collect();
            prop_assert!(packets.iter().all(|packet| packet.payload.len() <= largest));
            let frames: Vec<_> = (65_000u16..=u16::MAX).chain(0..).zip(&packets)
                .flat_map(|(number, packet)| depacketizer.push(number, 7, packet.marker, &packet.payload)).collect();
            let key_frame = frame[0] & 1 == 0;
            prop_assert_eq!(frames, [Frame { timestamp: 7, key_frame, damaged: false, data: frame }]);
        }

        #[test]
        fn arbitrary_payloads_never_panic(packets in proptest::collection::vec((any::<(u16, u32, bool)>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..10)) {
            let mut depacketizer = Depacketizer::new();
            for ((number, timestamp, marker), payload) in packets {
                let _ = is_key_frame(&payload);
                depacketizer.push(number, timestamp, marker, &payload).for_each(drop);
            }
        }
    }
}
