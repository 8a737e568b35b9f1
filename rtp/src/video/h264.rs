//! H.264 (RFC 6184), packetization modes 0 and 1: single NAL units, aggregates (STAP-A), fragments (FU-A).

use super::frames::Assembly;
use super::{Frame, Payload};

/// Types of NAL units in the first octet's lowest five bits (RFC 6184 §5.2, table 1).
const TYPE: u8 = 0x1f;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// A picture that stands for itself.
const IDR: u8 = 5;
/// A sequence parameter set; senders put it before a picture that stands for itself.
const SPS: u8 = 7;
/// The access unit delimiter, the first unit of its access unit.
const DELIMITER: u8 = 9;
/// F and NRI, which an aggregate and fragments take over (RFC 6184 §5.3).
const IMPORTANCE: u8 = 0xe0;
const FRAGMENT_START: u8 = 0x80;
const FRAGMENT_END: u8 = 0x40;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The NAL units of a byte stream (ITU-T H.264 Annex B): what lies between start codes, trailing zeros left out.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        loop {
            let from = rest?;
            let end = from.windows(3).position(|three| three == [0, 0, 1]);
            let unit = from.get(..end.unwrap_or(from.len()))?;
            rest = end.and_then(|end| from.get(end + 3..));
            let last = unit.iter().rposition(|octet| *octet != 0);
            if let Some(unit) = last.and_then(|last| unit.get(..=last)) {
                return Some(unit);
            }
        }
    })
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    let at = stream.windows(3).position(|three| three == [0, 0, 1])?;
    stream.get(at + 3..)
}

/// Whether a payload begins a picture that can be decoded without any before it: one to switch to.
#[must_use]
pub fn is_key_frame(payload: &[u8]) -> bool {
    let Some((&first, rest)) = payload.split_first() else { return false };
    match first & TYPE {
        IDR | SPS => true,
        STAP_A => {
            aggregated(rest).any(|unit| unit.first().is_some_and(|first| matches!(first & TYPE, IDR | SPS)))
        }
        FU_A => rest.first().is_some_and(|header| header & FRAGMENT_START != 0 && header & TYPE == IDR),
        _ => false,
    }
}

/// Whether an access unit as a byte stream holds a picture that stands for itself.
pub(super) fn is_key_access_unit(stream: &[u8]) -> bool {
    nal_units(stream).any(|unit| unit.first().is_some_and(|first| first & TYPE == IDR))
}

/// Whether the first unit of a byte stream can only be the first of an access unit.
pub(super) fn begins_access_unit(stream: &[u8]) -> bool {
    let first = nal_units(stream).next().and_then(|unit| unit.first().copied());
    first.is_some_and(|first| matches!(first & TYPE, SPS | DELIMITER))
}

/// The units of an aggregate; the list ends where one lies about its length (RFC 6184 §5.7.1).
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (unit, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = behind;
        Some(unit)
    })
}

/// Cuts access units into payloads.
#[derive(Clone, Copy, Debug)]
pub struct Packetizer {
    largest: usize,
    /// Packetization mode 1: aggregates and fragments may be used.
    non_interleaved: bool,
}

impl Packetizer {
    /// Payloads of at most `largest` octets, packetization mode 1 (RFC 6184 §6.3).
    #[must_use]
    pub fn new(largest: usize) -> Self {
        Self { largest: largest.max(16), non_interleaved: true }
    }

    /// Packetization mode 0: each NAL unit in a packet of its own, whatever its length (RFC 6184 §6.2).
    #[must_use]
    pub fn single(largest: usize) -> Self {
        Self { non_interleaved: false, ..Self::new(largest) }
    }

    /// The payloads of one access unit, given as a byte stream with start codes.
    pub fn packetize(&self, access_unit: &[u8]) -> impl Iterator<Item = Payload> + use<> {
        let mut payloads: Vec<Payload> = Vec::new();
        let mut small: Vec<&[u8]> = Vec::new();
        for unit in nal_units(access_unit) {
            let together: usize = small.iter().map(|unit| unit.len() + 2).sum::<usize>() + unit.len() + 3;
            if !self.non_interleaved || together > self.largest {
                flush(&mut small, &mut payloads);
            }
            if self.non_interleaved && unit.len() > self.largest {
                self.fragment(unit, &mut payloads);
            } else {
                small.push(unit);
            }
        }
        flush(&mut small, &mut payloads);
        if let Some(last) = payloads.last_mut() {
            last.marker = true;
        }
        payloads.into_iter()
    }

    /// RFC 6184 §5.8.
    fn fragment(&self, unit: &[u8], payloads: &mut Vec<Payload>) {
        let Some((&first, content)) = unit.split_first() else { return };
        let pieces = content.chunks(self.largest - 2);
        let last = pieces.len().saturating_sub(1);
        for (at, piece) in pieces.enumerate() {
            let start = if at == 0 { FRAGMENT_START } else { 0 };
            let end = if at == last { FRAGMENT_END } else { 0 };
            let mut payload = vec![first & IMPORTANCE | FU_A, start | end | first & TYPE];
            payload.extend_from_slice(piece);
            payloads.push(Payload { marker: false, payload });
        }
    }
}

/// One unit goes alone, several as an aggregate (RFC 6184 §5.6, §5.7.1).
fn flush(small: &mut Vec<&[u8]>, payloads: &mut Vec<Payload>) {
    let payload = match small.as_slice() {
        [] => return,
        [unit] => unit.to_vec(),
        units => {
            // F if any has it, the highest NRI of all.
            let first = |unit: &&&[u8]| unit.first().copied().unwrap_or(0);
            let forbidden = units.iter().any(|unit| first(&unit) & 0x80 != 0);
            let importance = units.iter().map(|unit| first(&unit) & 0x60).max().unwrap_or(0);
            let mut payload = vec![u8::from(forbidden) << 7 | importance | STAP_A];
            for unit in units {
                payload.extend((unit.len() as u16).to_be_bytes());
                payload.extend_from_slice(unit);
            }
            payload
        }
    };
    payloads.push(Payload { marker: false, payload });
    small.clear();
}

/// Puts access units together from packets in order, as a byte stream with start codes.
#[derive(Clone, Debug, Default)]
pub struct Depacketizer {
    assembly: Assembly,
    /// Fragments of this unit are being put together.
    fragment: Option<u8>,
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
        let Self { assembly, fragment } = self;
        assembly.push(sequence_number, timestamp, marker, |frame, interrupted| {
            if interrupted {
                *fragment = None;
            }
            let unit = |frame: &mut Frame, unit: &[u8]| {
                if let Some(first) = unit.first() {
                    frame.key_frame |= first & TYPE == IDR;
                    frame.add(&START_CODE);
                    frame.add(unit);
                }
            };
            match payload.split_first() {
                Some((first, rest)) if first & TYPE == STAP_A => {
                    aggregated(rest).for_each(|each| unit(frame, each));
                }
                Some((first, [header, content @ ..])) if first & TYPE == FU_A => {
                    if header & FRAGMENT_START != 0 {
                        unit(frame, &[first & IMPORTANCE | header & TYPE]);
                        *fragment = Some(header & TYPE);
                    }
                    if *fragment == Some(header & TYPE) {
                        frame.add(content);
                    } else {
                        frame.damaged = true; // its start is lost
                    }
                    if header & FRAGMENT_END != 0 {
                        *fragment = None;
                    }
                }
                // Interleaved modes and what is reserved is of no use without an agreement on it (RFC 6184 §5.2).
                Some((first, _)) if matches!(first & TYPE, 1..=23) => unit(frame, payload),
                _ => frame.damaged = true,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(units: &[Vec<u8>]) -> Vec<u8> {
        units.iter().flat_map(|unit| START_CODE.iter().chain(unit)).copied().collect()
    }

    fn put_together(packets: &[(u16, u32, Payload)]) -> Vec<Frame> {
        let mut depacketizer = Depacketizer::new();
        packets
            .iter()
            .flat_map(|(number, at, packet)| depacketizer.push(*number, *at, packet.marker, &packet.payload))
            .collect()
    }

    fn numbered(packetizer: Packetizer, units: &[Vec<u8>]) -> Vec<(u16, u32, Payload)> {
        (65_530u16..=u16::MAX)
            .chain(0..)
            .zip(packetizer.packetize(&stream(units)))
            .map(|(number, packet)| (number, 9, packet))
            .collect()
    }

    #[test]
    fn rfc6184_5_7_1_small_units_go_together_with_the_highest_importance() {
        let units = [vec![0x67, 1], vec![0x68, 2], vec![0x06, 3]];
        let packets: Vec<_> = Packetizer::new(100).packetize(&stream(&units)).collect();
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].payload, [0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2, 0, 2, 0x06, 3]);
        assert!(packets[0].marker && is_key_frame(&packets[0].payload));
        let single: Vec<_> =
            Packetizer::single(100).packetize(&stream(&units)).map(|packet| packet.payload).collect();
        assert_eq!(single, units);
    }

    #[test]
    fn rfc6184_5_8_a_long_unit_goes_in_fragments() {
        let unit: Vec<u8> = std::iter::once(0x65).chain(1..=30).collect();
        let packets: Vec<_> = Packetizer::new(18).packetize(&stream(&[unit])).collect();
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0].payload[..3], [0x7c, 0x85, 1]);
        assert_eq!(packets[1].payload[..3], [0x7c, 0x45, 17]);
        assert!(is_key_frame(&packets[0].payload) && !is_key_frame(&packets[1].payload));
        assert!(!packets[0].marker && packets[1].marker);
    }

    #[test]
    fn a_fragment_that_is_lost_damages_its_frame_and_no_other() {
        let picture = |octet: u8| vec![std::iter::once(0x41).chain([octet; 100]).collect::<Vec<u8>>()];
        let mut packets = Vec::new();
        for at in 0..3u8 {
            for packet in Packetizer::new(32).packetize(&stream(&picture(at + 1))) {
                packets.push((packets.len() as u16, u32::from(at), packet));
            }
        }
        assert_eq!(packets.len(), 12);
        for lost in 4..8 {
            let mut heard = packets.clone();
            heard.remove(lost);
            let frames = put_together(&heard);
            let damaged: Vec<bool> = frames.iter().map(|frame| frame.damaged).collect();
            // The first fragment lost leaves a frame of which nothing can be used, which is told all the same; the marker lost
            // spoils the next.
            assert_eq!(damaged.first(), Some(&false), "{lost}");
            assert!(damaged.contains(&true), "{lost} {damaged:?}");
            assert_eq!(frames[0].data, stream(&picture(1)));
        }
    }

    #[test]
    fn what_comes_twice_or_late_is_left_out() {
        let units = [(0..200).map(|octet| octet | 1).collect::<Vec<u8>>()];
        let mut packets = numbered(Packetizer::new(50), &units);
        packets.insert(2, packets[1].clone());
        packets.insert(4, packets[0].clone());
        assert_eq!(put_together(&packets)[0].data, stream(&units));
    }

    #[test]
    fn a_frame_without_end_is_bounded() {
        let mut depacketizer = Depacketizer::new();
        let mut payload = vec![0x7c, 0x85];
        payload.resize(60_000, 7);
        for number in 0..200 {
            assert_eq!(depacketizer.push(number, 1, false, &payload).count(), 0);
            payload[1] = 0x05;
        }
        payload[1] = 0x45;
        let frame = depacketizer.push(200, 1, true, &payload).next().unwrap();
        assert!(frame.damaged && frame.data.len() <= super::super::MAX_FRAME);
    }

    proptest! {
        #[test]
        fn what_is_cut_up_is_put_together(
            units in proptest::collection::vec((1u8..=23, proptest::collection::vec(1u8..=255, 1..300)), 1..6),
            largest in 16usize..200,
        ) {
            let units: Vec<Vec<u8>> = units.into_iter().map(|(kind, rest)| std::iter::once(0x60 | kind).chain(rest).collect()).collect();
            let packets = numbered(Packetizer::new(largest), &units);
            prop_assert!(packets.iter().all(|(_, _, packet)| packet.payload.len() <= largest));
            let frames = put_together(&packets);
            prop_assert_eq!(frames.len(), 1);
            prop_assert!(!frames[0].damaged);
            prop_assert_eq!(&frames[0].data, &stream(&units));
        }

        #[test]
        fn arbitrary_payloads_never_panic(packets in proptest::collection::vec((any::<(u16, u32, bool)>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..10)) {
            let mut depacketizer = Depacketizer::new();
            for ((number, timestamp, marker), payload) in packets {
                let _ = is_key_frame(&payload);
                depacketizer.push(number, timestamp, marker, &payload).for_each(drop);
                nal_units(&payload).for_each(drop);
            }
        }
    }
}
