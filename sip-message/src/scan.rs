//! Looking at eight octets at a time: where the next control character of a head is, or the colon of a line.
//!
//! The first control character of a header field line is its CR or LF, unless something is odd about the line: one
//! pass finds its end and proves that nothing hides in it.

/// Bit seven of each octet of `word` that is a control character (0 to 31, or 127); no carry passes between octets.
#[inline]
fn controls(word: u64) -> u64 {
    const SEVEN: u64 = u64::from_le_bytes([0x7f; 8]);
    let next = (word & SEVEN).wrapping_add(u64::from_le_bytes([0x01; 8])); // 1 to 0x20, or 0x80
    let visible = (next & SEVEN).wrapping_add(u64::from_le_bytes([0x5f; 8])) | word;
    !visible & !SEVEN
}

/// Where the first control character is; the octets' length without one.
#[inline(always)] // the call would cost a quarter of it
pub(crate) fn next_control(octets: &[u8]) -> usize {
    let mut rest = octets;
    // Sixteen without one at once, where the machine has vectors; then eight, to find the place.
    while let Some((sixteen, behind)) = rest.split_first_chunk::<16>() {
        if has_control(sixteen) {
            break;
        }
        rest = behind;
    }
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let found = controls(u64::from_le_bytes(*eight));
        if found != 0 {
            let ahead = octets.len().wrapping_sub(rest.len()); // `rest` is the end of `octets`
            return ahead.wrapping_add(found.trailing_zeros() as usize / 8);
        }
        rest = behind;
    }
    let last = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
    octets.len().wrapping_sub(rest.len()).wrapping_add(last)
}

/// Whether there is a control character, tabs included.
#[inline]
pub(crate) fn has_control(octets: &[u8]) -> bool {
    octets.iter().fold(false, |any, &octet| any | (octet < b' ') | (octet == 0x7f)) // becomes vector instructions
}

/// Whether `wanted` is there. Faster than a search for its place as long as the text is short.
#[inline]
pub(crate) fn contains(octets: &[u8], wanted: u8) -> bool {
    let (blocks, rest) = octets.as_chunks::<16>();
    blocks.iter().any(|block| block.iter().fold(false, |any, &octet| any | (octet == wanted)))
        || rest.contains(&wanted)
}

/// Eight octets from `at` on, zeros behind the end; the first is the lowest.
#[inline]
pub(crate) fn word(octets: &[u8], at: usize) -> u64 {
    let rest = octets.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().rev().fold(0, |word, &octet| word << 8 | u64::from(octet)),
    }
}

/// The offset of the first octet of `word` that is `wanted`, if there is one.
#[inline]
pub(crate) fn position(word: u64, wanted: u8) -> Option<usize> {
    let other = word ^ u64::from_le_bytes([wanted; 8]);
    // A borrow may mark octets above the first that is zero, never below it.
    let found = other.wrapping_sub(u64::from_le_bytes([1; 8])) & !other & u64::from_le_bytes([0x80; 8]);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_in_every_place() {
        for neighbour in [b'x', b' ', b'~', 0x80, 0x9f, 0xff] {
            for place in 0..24 {
                for octet in 0..=u8::MAX {
                    let mut octets = [neighbour; 27];
                    octets[place] = octet;
                    let expected = if octet.is_ascii_control() { place } else { 27 };
                    assert_eq!(next_control(&octets), expected);
                    assert_eq!(next_control(&octets[place..]), expected - place);
                    assert_eq!(next_control(&octets[place + 1..]), 26 - place);
                    assert_eq!(has_control(&octets), octet.is_ascii_control());
                    let start = word(&octets, 0);
                    let wanted = start.to_le_bytes().iter().position(|&one| one == octet);
                    assert_eq!(position(start, octet), wanted);
                }
            }
        }
        assert_eq!(next_control(b""), 0);
    }

    #[test]
    fn words_end_in_zeros() {
        assert_eq!(word(b"ab", 0), 0x6261);
        assert_eq!(word(b"ab", 1), 0x62);
        assert_eq!(word(b"ab", 2), 0);
        assert_eq!(word(b"ab", 9), 0);
    }
}
