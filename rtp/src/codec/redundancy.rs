//! RED: redundant audio data (RFC 2198). Each packet carries the payloads of the packets before it once more.

use std::collections::VecDeque;

/// Generations sent at most; RFC 2198 §3 finds more than one rarely necessary, and each costs its bandwidth.
pub const MAX_GENERATIONS: usize = 4;
/// Blocks read from one packet: what we would send and some; a packet could claim hundreds of empty ones.
const MAX_BLOCKS: usize = 16;
/// Timestamp offsets have 14 bits and lengths 10 (RFC 2198 §3).
const MAX_OFFSET: u32 = 0x3fff;
const MAX_LENGTH: usize = 0x3ff;

/// One encoding inside a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its payload type.
    pub payload_type: u8,
    /// By how many timestamp units it is older than the packet; 0 for the primary.
    pub offset: u32,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Why a payload is not RED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedundancyError {
    /// A header or a block runs past the end.
    #[error("RED: {expected} octets announced, {actual} received")]
    Truncated {
        /// Octets that the headers announce.
        expected: usize,
        /// Octets there.
        actual: usize,
    },
    /// More blocks than anybody sends.
    #[error("RED: more than {MAX_BLOCKS} blocks in one packet")]
    TooManyBlocks,
}

/// Reads the blocks of a packet, in its order: the primary is the last.
///
/// ```
/// use rtp::codec::redundancy::{Block, parse};
/// // 7, 160 units ago, 2 octets; then the primary of type 5.
/// let payload = [0x87, 0x02, 0x80, 0x02, 5, b'o', b'l', b'n', b'e', b'w'];
/// let blocks = parse(&payload)?;
/// assert_eq!(blocks[0], Block { payload_type: 7, offset: 160, payload: b"ol" });
/// assert_eq!(blocks[1], Block { payload_type: 5, offset: 0, payload: b"new" });
/// # Ok::<(), rtp::codec::redundancy::RedundancyError>(())
/// ```
///
/// # Errors
/// [`RedundancyError`].
pub fn parse(payload: &[u8]) -> Result<Vec<Block<'_>>, RedundancyError> {
    let truncated = |expected| RedundancyError::Truncated { expected, actual: payload.len() };
    let mut headers = Vec::new();
    let mut rest = payload;
    let primary = loop {
        match *rest {
            [first, high, middle, low, ref after @ ..] if first & 0x80 != 0 => {
                if headers.len() + 1 >= MAX_BLOCKS {
                    return Err(RedundancyError::TooManyBlocks);
                }
                let bits = u32::from_be_bytes([0, high, middle, low]);
                headers.push((first & 0x7f, bits >> 10, (bits & 0x3ff) as usize));
                rest = after;
            }
            [first, ref after @ ..] if first & 0x80 == 0 => {
                rest = after;
                break first;
            }
            _ => return Err(truncated(payload.len() + 1)),
        }
    };
    let mut blocks = Vec::with_capacity(headers.len() + 1);
    for (payload_type, offset, length) in headers {
        let Some((block, after)) = rest.split_at_checked(length) else {
            return Err(truncated(payload.len() - rest.len() + length));
        };
        blocks.push(Block { payload_type, offset, payload: block });
        rest = after;
    }
    blocks.push(Block { payload_type: primary, offset: 0, payload: rest });
    Ok(blocks)
}

/// Writes blocks, the primary last. What a header cannot express (an offset above 14 bits, more than 1023 octets) is left
/// out: it would only have been a copy.
pub fn write(redundant: &[Block<'_>], primary: (u8, &[u8]), out: &mut Vec<u8>) {
    let fits = |block: &&Block<'_>| block.offset <= MAX_OFFSET && block.payload.len() <= MAX_LENGTH;
    for block in redundant.iter().filter(fits) {
        out.push(0x80 | block.payload_type);
        let bits = (block.offset << 10) | block.payload.len() as u32;
        out.extend(bits.to_be_bytes().into_iter().skip(1));
    }
    out.push(primary.0 & 0x7f);
    for block in redundant.iter().filter(fits) {
        out.extend_from_slice(block.payload);
    }
    out.extend_from_slice(primary.1);
}

/// Remembers what was sent and repeats it.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    generations: usize,
    /// Payload type, timestamp and payload of the last packets, the newest last.
    sent: VecDeque<(u8, u32, Vec<u8>)>,
}

impl Sender {
    /// Repeats each payload in the next `generations` packets, at most [`MAX_GENERATIONS`].
    #[must_use]
    pub fn new(generations: usize) -> Self {
        Self { generations: generations.min(MAX_GENERATIONS), sent: VecDeque::new() }
    }

    /// The payload of the next packet.
    pub fn wrap(&mut self, payload_type: u8, timestamp: u32, payload: &[u8], out: &mut Vec<u8>) {
        let blocks: Vec<Block<'_>> = self
            .sent
            .iter()
            .map(|(payload_type, sent, payload)| Block {
                payload_type: *payload_type,
                offset: timestamp.wrapping_sub(*sent),
                payload,
            })
            .collect();
        write(&blocks, (payload_type, payload), out);
        // The oldest gives its memory to the newest.
        let mut memory = if self.sent.len() >= self.generations {
            self.sent.pop_front().map(|(_, _, payload)| payload).unwrap_or_default()
        } else {
            Vec::new()
        };
        if self.generations > 0 {
            memory.clear();
            memory.extend_from_slice(payload);
            self.sent.push_back((payload_type, timestamp, memory));
        }
    }

    /// Something else was sent: what came before it cannot be told by its place any more.
    pub fn clear(&mut self) {
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc2198_7_the_example_packet() {
        // One block of 14 octets of type 7, 20 ms (160 units) old; 84 octets of type 5.
        let (old, new) = ([7; 14], [5; 84]);
        let mut packet = Vec::new();
        write(&[Block { payload_type: 7, offset: 160, payload: &old }], (5, &new), &mut packet);
        assert_eq!(packet[..5], [0x87, 0x02, 0x80, 0x0e, 0x05]);
        assert_eq!(packet.len(), 5 + 14 + 84);
        let blocks = parse(&packet).unwrap();
        assert_eq!(blocks[0], Block { payload_type: 7, offset: 160, payload: &old });
        assert_eq!(blocks[1], Block { payload_type: 5, offset: 0, payload: &new });
    }

    #[test]
    fn rfc2198_3_what_runs_past_the_end_is_an_error() {
        assert_eq!(parse(&[]), Err(RedundancyError::Truncated { expected: 1, actual: 0 }));
        assert_eq!(parse(&[0x87, 0, 0]), Err(RedundancyError::Truncated { expected: 4, actual: 3 }));
        let short = [0x87, 0, 0, 9, 0, 1, 2];
        assert_eq!(parse(&short), Err(RedundancyError::Truncated { expected: 14, actual: 7 }));
        assert_eq!(parse(&[0x80; 4 * 16]), Err(RedundancyError::TooManyBlocks));
    }

    #[test]
    fn a_sender_repeats_as_many_generations_as_told_the_oldest_first() {
        let mut sender = Sender::new(2);
        let mut packets = Vec::new();
        for number in 0..4u8 {
            let mut packet = Vec::new();
            sender.wrap(0, u32::from(number) * 160, &[number; 3], &mut packet);
            packets.push(packet);
        }
        let last: Vec<(u32, u8)> =
            parse(&packets[3]).unwrap().iter().map(|block| (block.offset, block.payload[0])).collect();
        assert_eq!(last, [(320, 1), (160, 2), (0, 3)]);
        assert_eq!(parse(&packets[0]).unwrap().len(), 1);
        let mut none = Vec::new();
        Sender::new(0).wrap(8, 0, b"x", &mut none);
        assert_eq!(none, [8, b'x']);
    }

    proptest! {
        #[test]
        fn round_trip(
            redundant in proptest::collection::vec((0u8..128, 0u32..=MAX_OFFSET, proptest::collection::vec(any::<u8>(), 0..200)), 0..5),
            primary in (0u8..128, proptest::collection::vec(any::<u8>(), 0..200))
        ) {
            let blocks: Vec<Block<'_>> = redundant
                .iter()
                .map(|(payload_type, offset, payload)| Block { payload_type: *payload_type, offset: *offset, payload })
                .collect();
            let mut packet = Vec::new();
            write(&blocks, (primary.0, &primary.1), &mut packet);
            let parsed = parse(&packet).unwrap();
            prop_assert_eq!(&parsed[..blocks.len()], &blocks[..]);
            prop_assert_eq!(parsed[blocks.len()], Block { payload_type: primary.0, offset: 0, payload: &primary.1 });
        }

        #[test]
        fn arbitrary_octets_never_panic(octets: Vec<u8>) {
            if let Ok(blocks) = parse(&octets) {
                prop_assert!(blocks.len() <= MAX_BLOCKS);
                prop_assert!(blocks.iter().map(|block| block.payload.len()).sum::<usize>() < octets.len());
            }
        }
    }
}
