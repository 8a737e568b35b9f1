//! Feedback on media as it flows: lost packets, lost pictures, bit rates (RFC 4585, RFC 5104).

use bytes::{BufMut, Bytes, BytesMut};

/// Packet type of transport layer feedback (RFC 4585 §6.2).
pub(super) const TRANSPORT: u8 = 205;
/// Packet type of payload-specific feedback (RFC 4585 §6.3).
pub(super) const PAYLOAD: u8 = 206;

const NACK: u8 = 1;
const TMMBR: u8 = 3;
const TMMBN: u8 = 4;
const PLI: u8 = 1;
const FIR: u8 = 4;
const APPLICATION_LAYER: u8 = 15;
/// The mark of the receiver's estimate among the messages of applications.
const REMB: &[u8; 4] = b"REMB";

/// One feedback packet (RFC 4585 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Who speaks.
    pub sender: u32,
    /// Whose stream it is about; 0 where the entries of the message name their own.
    pub media: u32,
    /// What about it.
    pub message: Message,
}

/// What a feedback packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Packets that did not come: send them again (RFC 4585 §6.2.1).
    Nack(Vec<Nack>),
    /// TMMBR: send no more than this to us (RFC 5104 §4.2.1).
    MaximumBitRateRequest(Vec<MaximumBitRate>),
    /// TMMBN: the limits that are kept (RFC 5104 §4.2.2).
    MaximumBitRateNotification(Vec<MaximumBitRate>),
    /// PLI: a picture is lost, send one that stands for itself (RFC 4585 §6.3.1).
    PictureLossIndication,
    /// FIR: a new watcher needs a picture that stands for itself (RFC 5104 §4.3.1).
    FullIntraRequest(Vec<FullIntraRequest>),
    /// REMB, the receiver's estimate of what the path carries (draft-alvestrand-rmcat-remb-03 §2.2).
    EstimatedMaximumBitRate {
        /// Bits a second of all the streams together.
        bit_rate: u64,
        /// The streams, at most 255.
        sources: Vec<u32>,
    },
    /// Any other, kept as it is.
    Other {
        /// 205 (transport layer) or 206 (payload-specific).
        packet_type: u8,
        /// FMT, five bits.
        format: u8,
        /// The feedback control information, a multiple of four octets.
        information: Bytes,
    },
}

/// One packet and those of the sixteen behind it that did not come either (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nack {
    /// PID: the sequence number of the first.
    pub packet_id: u16,
    /// BLP: bit i stands for `packet_id + i + 1`.
    pub following: u16,
}

impl Nack {
    /// The sequence numbers in it, ascending.
    pub fn lost(self) -> impl Iterator<Item = u16> {
        let behind = (0..16u16).filter(move |bit| self.following & (1 << bit) != 0);
        std::iter::once(self.packet_id)
            .chain(behind.map(move |bit| self.packet_id.wrapping_add(bit).wrapping_add(1)))
    }

    /// The fewest entries for these sequence numbers, which must ascend (a wrap included).
    #[must_use]
    pub fn pack(lost: impl IntoIterator<Item = u16>) -> Vec<Self> {
        let mut packed: Vec<Self> = Vec::new();
        for number in lost {
            if let Some(last) = packed.last_mut() {
                match number.wrapping_sub(last.packet_id) {
                    0 => continue,
                    ahead @ 1..=16 => {
                        last.following |= 1 << (ahead - 1);
                        continue;
                    }
                    _ => {}
                }
            }
            packed.push(Self { packet_id: number, following: 0 });
        }
        packed
    }
}

/// A limit on one stream (RFC 5104 §4.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaximumBitRate {
    /// Whose stream (in requests), who asked (in notifications).
    pub ssrc: u32,
    /// Bits a second with [`overhead`](Self::overhead); written with 17 significant bits, rounded down.
    pub bit_rate: u64,
    /// Octets a packet that come on top of the payload, 0 to 511.
    pub overhead: u16,
}

/// Who is to send a full picture (RFC 5104 §4.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FullIntraRequest {
    /// The sender asked.
    pub ssrc: u32,
    /// Counts the requests to this sender: a repetition carries the same number and is to be answered once.
    pub sequence_number: u8,
}

impl Feedback {
    /// Reads what follows the common header. `None` if entries are cut off.
    pub(super) fn parse(packet_type: u8, format: u8, body: &[u8]) -> Option<Self> {
        let (sender, rest) = body.split_first_chunk::<4>()?;
        let (media, information) = rest.split_first_chunk::<4>()?;
        let message = match (packet_type, format) {
            (TRANSPORT, NACK) => {
                let entries = words(information)?;
                Message::Nack(
                    entries
                        .map(|[a, b, c, d]| Nack {
                            packet_id: u16::from_be_bytes([a, b]),
                            following: u16::from_be_bytes([c, d]),
                        })
                        .collect(),
                )
            }
            (TRANSPORT, TMMBR) => Message::MaximumBitRateRequest(bit_rates(information)?),
            (TRANSPORT, TMMBN) => Message::MaximumBitRateNotification(bit_rates(information)?),
            (PAYLOAD, PLI) if information.is_empty() => Message::PictureLossIndication,
            (PAYLOAD, FIR) => {
                let entries = pairs(information)?;
                Message::FullIntraRequest(
                    entries
                        .map(|(ssrc, second)| FullIntraRequest {
                            ssrc,
                            sequence_number: (second >> 24) as u8,
                        })
                        .collect(),
                )
            }
            (PAYLOAD, APPLICATION_LAYER) if information.starts_with(REMB) => estimate(information)?,
            _ => Message::Other { packet_type, format, information: Bytes::copy_from_slice(information) },
        };
        Some(Self { sender: u32::from_be_bytes(*sender), media: u32::from_be_bytes(*media), message })
    }

    /// Packet type, FMT and body.
    pub(super) fn write(&self) -> (u8, u8, BytesMut) {
        let mut body = BytesMut::new();
        body.put_u32(self.sender);
        body.put_u32(self.media);
        let (packet_type, format) = match &self.message {
            Message::Nack(entries) => {
                for entry in entries {
                    body.put_u16(entry.packet_id);
                    body.put_u16(entry.following);
                }
                (TRANSPORT, NACK)
            }
            Message::MaximumBitRateRequest(entries) => {
                write_bit_rates(&mut body, entries);
                (TRANSPORT, TMMBR)
            }
            Message::MaximumBitRateNotification(entries) => {
                write_bit_rates(&mut body, entries);
                (TRANSPORT, TMMBN)
            }
            Message::PictureLossIndication => (PAYLOAD, PLI),
            Message::FullIntraRequest(entries) => {
                for entry in entries {
                    body.put_u32(entry.ssrc);
                    body.put_u32(u32::from(entry.sequence_number) << 24);
                }
                (PAYLOAD, FIR)
            }
            Message::EstimatedMaximumBitRate { bit_rate, sources } => {
                let sources = sources.get(..sources.len().min(255)).unwrap_or_default();
                let (exponent, mantissa) = scaled(*bit_rate, 18);
                body.put_slice(REMB);
                body.put_u32((sources.len() as u32) << 24 | exponent << 18 | mantissa);
                sources.iter().for_each(|source| body.put_u32(*source));
                (PAYLOAD, APPLICATION_LAYER)
            }
            Message::Other { packet_type, format, information } => {
                body.put_slice(information);
                (*packet_type, *format)
            }
        };
        (packet_type, format, body)
    }
}

/// The entries of four octets; `None` if the last one is cut off.
fn words(information: &[u8]) -> Option<impl Iterator<Item = [u8; 4]>> {
    let (entries, rest) = information.as_chunks::<4>();
    rest.is_empty().then(|| entries.iter().copied())
}

/// The entries of two words; `None` if the last one is cut off.
fn pairs(information: &[u8]) -> Option<impl Iterator<Item = (u32, u32)>> {
    let (entries, rest) = information.as_chunks::<8>();
    rest.is_empty().then(|| {
        entries.iter().map(|&[a, b, c, d, e, f, g, h]| {
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        })
    })
}

/// Exponent (6 bits), mantissa (17 bits) and overhead (9 bits) of RFC 5104 §4.2.1.1.
fn bit_rates(information: &[u8]) -> Option<Vec<MaximumBitRate>> {
    let entry = |(ssrc, limit): (u32, u32)| MaximumBitRate {
        ssrc,
        bit_rate: unscaled(limit >> 26, limit >> 9 & 0x1_ffff),
        overhead: (limit & 0x1ff) as u16,
    };
    Some(pairs(information)?.map(entry).collect())
}

fn write_bit_rates(body: &mut BytesMut, entries: &[MaximumBitRate]) {
    for entry in entries {
        let (exponent, mantissa) = scaled(entry.bit_rate, 17);
        body.put_u32(entry.ssrc);
        body.put_u32(exponent << 26 | mantissa << 9 | u32::from(entry.overhead.min(0x1ff)));
    }
}

fn estimate(information: &[u8]) -> Option<Message> {
    let mut words = words(information.get(REMB.len()..)?)?.map(u32::from_be_bytes);
    let first = words.next()?;
    let sources: Vec<u32> = words.collect();
    let bit_rate = unscaled(first >> 18 & 0x3f, first & 0x3_ffff);
    (sources.len() == (first >> 24) as usize)
        .then_some(Message::EstimatedMaximumBitRate { bit_rate, sources })
}

/// The largest number of `bits` significant bits and a power of two that is not above `value`.
fn scaled(value: u64, bits: u32) -> (u32, u32) {
    let exponent = (u64::BITS - value.leading_zeros()).saturating_sub(bits);
    (exponent, (value >> exponent) as u32)
}

/// What does not fit in 64 bits is as good as no limit.
fn unscaled(exponent: u32, mantissa: u32) -> u64 {
    let value = u64::from(mantissa);
    if value.leading_zeros() < exponent { u64::MAX } else { value.checked_shl(exponent).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(feedback: &Feedback) -> Feedback {
        let (packet_type, format, body) = feedback.write();
        Feedback::parse(packet_type, format, &body).unwrap()
    }

    #[test]
    fn rfc4585_6_2_1_the_mask_stands_for_the_sixteen_packets_behind_over_a_wrap_too() {
        let packed = Nack::pack([65_534, 65_535, 0, 14, 15, 40, 40]);
        assert_eq!(
            packed,
            [
                Nack { packet_id: 65_534, following: 0b1000_0000_0000_0011 },
                Nack { packet_id: 15, following: 0 },
                Nack { packet_id: 40, following: 0 },
            ]
        );
        let lost: Vec<u16> = packed.into_iter().flat_map(Nack::lost).collect();
        assert_eq!(lost, [65_534, 65_535, 0, 14, 15, 40]);
    }

    /// The octets as the figures of RFC 4585 §6.2.1 and RFC 5104 §4.2.1.1, §4.3.1.1 lay them out.
    #[test]
    fn the_octets_are_those_of_the_figures() {
        let nack = Feedback {
            sender: 1,
            media: 2,
            message: Message::Nack(vec![Nack { packet_id: 3, following: 4 }]),
        };
        assert_eq!(nack.write(), (205, 1, BytesMut::from(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 3, 0, 4][..])));
        // 1,000,000 = 0b1111_0100_0010_0100_0000: 17 bits 125,000 and exponent 3.
        let limit = MaximumBitRate { ssrc: 9, bit_rate: 1_000_000, overhead: 40 };
        let request = Feedback { sender: 1, media: 0, message: Message::MaximumBitRateRequest(vec![limit]) };
        let octets = (3u32 << 26 | 125_000 << 9 | 40).to_be_bytes();
        assert_eq!(request.write().2[12..], octets);
        let intra = FullIntraRequest { ssrc: 7, sequence_number: 200 };
        let full = Feedback { sender: 1, media: 0, message: Message::FullIntraRequest(vec![intra]) };
        assert_eq!(full.write().2[8..], [0, 0, 0, 7, 200, 0, 0, 0]);
    }

    #[test]
    fn entries_that_are_cut_off_are_refused() {
        for (packet_type, format, length) in
            [(205, 1, 10), (205, 3, 12), (206, 4, 12), (206, 15, 7), (206, 1, 7)]
        {
            let mut body = vec![0; length];
            if format == 15 {
                body.extend(b"\0REMB\x02\0\0\0\0\0\0\x01");
            }
            assert_eq!(Feedback::parse(packet_type, format, &body), None, "{packet_type} {format}");
        }
    }

    #[test]
    fn bit_rates_beyond_64_bits_are_no_limit() {
        assert_eq!(unscaled(63, 0x1_ffff), u64::MAX);
        assert_eq!(unscaled(63, 0), 0);
        assert_eq!(unscaled(scaled(u64::MAX, 17).0, scaled(u64::MAX, 17).1), 0x1_ffff << 47);
    }

    fn message() -> impl Strategy<Value = Message> {
        let bits =
            |significant: u32| (0u64..1 << significant, 0u32..40).prop_map(|(value, shift)| value << shift);
        let limit = (any::<u32>(), bits(17), 0u16..512)
            .prop_map(|(ssrc, bit_rate, overhead)| MaximumBitRate { ssrc, bit_rate, overhead });
        let limits = proptest::collection::vec(limit, 0..4);
        let nack = any::<(u16, u16)>().prop_map(|(packet_id, following)| Nack { packet_id, following });
        let intra =
            any::<(u32, u8)>().prop_map(|(ssrc, sequence_number)| FullIntraRequest { ssrc, sequence_number });
        prop_oneof![
            proptest::collection::vec(nack, 0..5).prop_map(Message::Nack),
            limits.clone().prop_map(Message::MaximumBitRateRequest),
            limits.prop_map(Message::MaximumBitRateNotification),
            Just(Message::PictureLossIndication),
            proptest::collection::vec(intra, 0..5).prop_map(Message::FullIntraRequest),
            (bits(18), proptest::collection::vec(any::<u32>(), 0..5))
                .prop_map(|(bit_rate, sources)| Message::EstimatedMaximumBitRate { bit_rate, sources }),
            (5u8..32, proptest::collection::vec(any::<[u8; 4]>(), 0..4)).prop_map(|(format, words)| {
                Message::Other { packet_type: 205, format, information: words.concat().into() }
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(sender: u32, media: u32, message in message()) {
            let feedback = Feedback { sender, media, message };
            prop_assert_eq!(round_trip(&feedback), feedback);
        }

        #[test]
        fn numbers_survive_packing(mut numbers in proptest::collection::btree_set(any::<u16>(), 0..40)) {
            let packed = Nack::pack(numbers.iter().copied());
            for number in packed.into_iter().flat_map(Nack::lost) {
                prop_assert!(numbers.remove(&number));
            }
            prop_assert!(numbers.is_empty());
        }
    }
}
