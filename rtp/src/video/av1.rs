//! AV1 (AOM "RTP Payload Format For AV1", version 1.0): the aggregation header and the OBUs of a packet, as far as forwarding needs.

/// Aggregation header (§4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AggregationHeader {
    /// Z: the first element continues one of the packet before.
    pub continues: bool,
    /// Y: the last element goes on in the next packet.
    pub goes_on: bool,
    /// W: number of elements, 1 to 3; 0 if every element has a length.
    pub count: u8,
    /// N: a coded video sequence starts here, which can be decoded without any packet before.
    pub new_sequence: bool,
}

const SEQUENCE_HEADER: u8 = 1;

impl AggregationHeader {
    /// Reads the header and gives what follows it. `None` if there is nothing.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&octet, rest) = payload.split_first()?;
        let header = Self {
            continues: octet & 0x80 != 0,
            goes_on: octet & 0x40 != 0,
            count: octet >> 4 & 0x03,
            new_sequence: octet & 0x08 != 0,
        };
        Some((header, rest))
    }
}

/// The OBU elements of a payload; the list ends where one lies about its length (§4.3).
pub fn elements(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (count, mut rest) = AggregationHeader::parse(payload)
        .map_or((0, &[][..]), |(header, rest)| (usize::from(header.count), rest));
    let mut at = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        at += 1;
        // With a count, the last one has no length: it ends with the packet.
        let (length, behind) = if at == count { (rest.len(), rest) } else { leb128(rest)? };
        let (element, behind) = behind.split_at_checked(length)?;
        rest = if at == count { &[] } else { behind };
        Some(element)
    })
}

/// Seven bits an octet, the lowest first, at most eight octets (AV1 specification §4.10.5).
fn leb128(octets: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (at, octet) in octets.iter().take(8).enumerate() {
        value |= u64::from(octet & 0x7f) << (7 * at);
        if octet & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, octets.get(at + 1..)?));
        }
    }
    None
}

/// Whether a payload begins a picture that can be decoded without any before it: a new coded video sequence with its header.
#[must_use]
pub fn is_key_frame(payload: &[u8]) -> bool {
    let new =
        AggregationHeader::parse(payload).is_some_and(|(header, _)| header.new_sequence && !header.continues);
    new && elements(payload)
        .any(|obu| obu.first().is_some_and(|header| header >> 3 & 0x0f == SEQUENCE_HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_with_and_without_a_count() {
        let counted = [0x28, 2, 0x08, 1, 0x32, 9, 9];
        assert_eq!(elements(&counted).collect::<Vec<_>>(), [&[0x08, 1][..], &[0x32, 9, 9]]);
        assert!(is_key_frame(&counted));
        let uncounted = [0x00, 2, 0x08, 1, 1, 0x32];
        assert_eq!(elements(&uncounted).collect::<Vec<_>>(), [&[0x08, 1][..], &[0x32]]);
        assert!(!is_key_frame(&uncounted), "no new sequence");
        assert_eq!(elements(&[0x00, 0x81, 0x00, 5]).collect::<Vec<_>>(), [[5]], "a length of two octets");
    }

    #[test]
    fn lengths_that_lie_end_the_list() {
        assert_eq!(elements(&[0x00, 1, 5, 9, 1]).collect::<Vec<_>>(), [[5]]);
        assert_eq!(elements(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).count(), 0);
        assert_eq!(elements(&[]).count(), 0);
    }

    proptest! {
        #[test]
        fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = is_key_frame(&payload);
        }
    }
}
