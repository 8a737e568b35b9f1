//! Elements of RTP header extensions (RFC 8285), each known by the small number that `a=extmap` gave it.
//!
//! ```
//! use rtp::extension::{Elements, Writer};
//! use rtp::packet::{Header, Packet};
//!
//! let header = Header { payload_type: 0, marker: false, sequence_number: 1, timestamp: 0, ssrc: 1 };
//! let mut writer = Writer::new();
//! writer.push(1, &[0x80 | 30])?; // audio level, RFC 6464: speech at -30 dBov
//! writer.push(4, b"audio")?;     // MID, RFC 9143
//! let (profile, data) = writer.finish();
//! let datagram = Packet::new(header, &[0xff; 160]).with_extension(profile, &data).build()?;
//!
//! let packet = Packet::parse(&datagram)?;
//! let elements = Elements::of(&packet);
//! assert_eq!(elements.get(4), Some(&b"audio"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::Range;

use crate::packet::Packet;

/// "Defined by profile" of the one-byte form (RFC 8285 §4.2).
const ONE_BYTE: u16 = 0xbede;
/// "Defined by profile" of the two-byte form, the lowest four bits left to the application (RFC 8285 §4.3).
const TWO_BYTE: u16 = 0x1000;
/// The local identifier that ends the one-byte form (RFC 8285 §4.2).
const STOP: u8 = 15;
/// Octets of all elements that one header extension can hold: 65,535 words.
const MAX_LENGTH: usize = 4 * 0xffff;

/// The elements of a packet as they stand in it. Nothing is copied; what is malformed ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> Elements<'a> {
    /// Those of a packet; none if its extension is not of RFC 8285, or there is none.
    #[must_use]
    pub fn of(packet: &Packet<'a>) -> Self {
        packet
            .extension()
            .map_or(Self { rest: &[], two_byte: false }, |(profile, rest)| Self::in_form(profile, rest))
    }

    fn in_form(profile: u16, rest: &'a [u8]) -> Self {
        match profile {
            ONE_BYTE => Self { rest, two_byte: false },
            profile if profile & 0xfff0 == TWO_BYTE => Self { rest, two_byte: true },
            _ => Self { rest: &[], two_byte: false },
        }
    }

    /// The data of the first element with that identifier.
    #[must_use]
    pub fn get(mut self, id: u8) -> Option<&'a [u8]> {
        self.find_map(|(found, data)| (found == id).then_some(data))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                self.rest = rest; // padding
                continue;
            }
            let (id, length, rest) = if self.two_byte {
                let (&length, rest) = rest.split_first()?;
                (first, usize::from(length), rest)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            let data = rest.split_at_checked(length).filter(|_| self.two_byte || id != STOP);
            let Some((data, rest)) = data else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            if id != 0 {
                return Some((id, data)); // id 0 with a length is to be skipped in the one-byte form
            }
        }
    }
}

/// Each element of an extension with the place of its data there, in order.
pub(crate) fn places(profile: u16, data: &[u8]) -> impl Iterator<Item = (u8, Range<usize>)> {
    let mut elements = Elements::in_form(profile, data);
    std::iter::from_fn(move || {
        let (id, found) = elements.next()?;
        let end = data.len() - elements.rest.len();
        Some((id, end - found.len()..end))
    })
}

/// Why an element cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// 0 is padding.
    #[error("identifier 0 is padding; use one from a=extmap")]
    Identifier,
    /// The length has eight bits.
    #[error("an element of {0} octets; at most 255 fit")]
    TooLong(usize),
    /// The extension would be longer than its length field can say.
    #[error("the elements of a header extension do not fit")]
    Full,
}

/// Collects elements: in the one-byte form while they fit, else in the two-byte form, which needs `a=extmap-allow-mixed` or
/// identifiers above 14 in the agreement (RFC 8285 §4.1.2).
#[derive(Clone, Debug, Default)]
pub struct Writer {
    elements: Vec<(u8, Vec<u8>)>,
    length: usize,
}

impl Writer {
    /// No elements.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`ExtensionError`] for an identifier or a length that neither form can say.
    pub fn push(&mut self, id: u8, data: &[u8]) -> Result<(), ExtensionError> {
        if id == 0 {
            return Err(ExtensionError::Identifier);
        }
        if data.len() > 255 {
            return Err(ExtensionError::TooLong(data.len()));
        }
        let length = self.length + data.len() + 2;
        if length > MAX_LENGTH {
            return Err(ExtensionError::Full);
        }
        self.length = length;
        self.elements.push((id, data.to_vec()));
        Ok(())
    }

    /// "Defined by profile" and the data, padded to whole words.
    #[must_use]
    pub fn finish(&self) -> (u16, Vec<u8>) {
        let fits = |(id, data): &(u8, Vec<u8>)| *id < STOP && (1..=16).contains(&data.len());
        let one_byte = self.elements.iter().all(fits);
        let mut out = Vec::with_capacity(self.length + 3);
        for (id, data) in &self.elements {
            match one_byte {
                true => out.push(id << 4 | (data.len() as u8).wrapping_sub(1)),
                false => out.extend([*id, data.len() as u8]),
            }
            out.extend_from_slice(data);
        }
        out.resize(out.len().next_multiple_of(4), 0);
        (if one_byte { ONE_BYTE } else { TWO_BYTE }, out)
    }
}

/// What an element of `urn:ietf:params:rtp-hdrext:ssrc-audio-level` says (RFC 6464 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AudioLevel {
    /// The sender takes it for speech.
    pub voice: bool,
    /// Decibels below overload, 0 (loudest) to 127 (silence).
    pub below_overload: u8,
}

impl AudioLevel {
    /// Reads the data of an element, which has one octet.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let octet = *data.first()?;
        Some(Self { voice: octet & 0x80 != 0, below_overload: octet & 0x7f })
    }

    /// A header extension with nothing but this in it: "defined by profile" and the data. `None` for identifier 0, which is none.
    #[must_use]
    pub fn extension(self, id: u8) -> Option<(u16, [u8; 4])> {
        match id {
            0 => None,
            1..STOP => Some((ONE_BYTE, [id << 4, self.octet(), 0, 0])),
            STOP.. => Some((TWO_BYTE, [id, 1, self.octet(), 0])),
        }
    }

    /// The octet to send.
    #[must_use]
    pub fn octet(self) -> u8 {
        u8::from(self.voice) << 7 | self.below_overload.min(127)
    }

    /// The level of samples, measured over all of them. `voice` is left to the caller.
    #[must_use]
    pub fn of(samples: &[i16], voice: bool) -> Self {
        let square: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let mean = square / (samples.len().max(1) as f64);
        // 0 dBov is a square wave at full scale (RFC 6464 §3).
        let level = -10.0 * (mean / 32_768f64.powi(2)).log10();
        Self { voice, below_overload: level.clamp(0.0, 127.0).round() as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Header;
    use proptest::prelude::*;

    fn read(profile: u16, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let header = Header { payload_type: 0, marker: false, sequence_number: 1, timestamp: 0, ssrc: 1 };
        let datagram = Packet::new(header, &[1; 4]).with_extension(profile, data).build().unwrap();
        let packet = Packet::parse(&datagram).unwrap();
        Elements::of(&packet).map(|(id, data)| (id, data.to_vec())).collect()
    }

    /// The two figures of the RFC, with padding between and behind the elements.
    #[test]
    fn rfc8285_4_2_and_4_3_the_figures_of_both_forms() {
        let one_byte = [0x10, 0xa1, 0x21, 0xb1, 0xb2, 0, 0, 0x33, 0xc1, 0xc2, 0xc3, 0xc4];
        let elements = [(1, vec![0xa1]), (2, vec![0xb1, 0xb2]), (3, vec![0xc1, 0xc2, 0xc3, 0xc4])];
        assert_eq!(read(0xbede, &one_byte), elements);
        let two_byte = [1, 0, 2, 1, 0xb1, 0, 3, 4, 0xc1, 0xc2, 0xc3, 0xc4];
        assert_eq!(
            read(0x1003, &two_byte),
            [(1, vec![]), (2, vec![0xb1]), (3, vec![0xc1, 0xc2, 0xc3, 0xc4])]
        );
        assert_eq!(read(0x1234, &two_byte), []);
    }

    #[test]
    fn rfc8285_4_2_identifier_15_and_lengths_that_lie_end_the_list() {
        assert_eq!(read(0xbede, &[0x10, 0xa1, 0xf0, 1, 0x20, 0xb1, 0, 0]), [(1, vec![0xa1])]);
        assert_eq!(read(0xbede, &[0x10, 0xa1, 0x2f, 1]), [(1, vec![0xa1])]);
        assert_eq!(read(0x1000, &[1, 1, 0xa1, 2]), [(1, vec![0xa1])]);
    }

    #[test]
    fn rfc6464_3_levels_are_decibels_below_overload() {
        assert_eq!(AudioLevel::of(&[i16::MIN; 160], true), AudioLevel { voice: true, below_overload: 0 });
        assert_eq!(AudioLevel::of(&[0; 160], false).below_overload, 127);
        assert_eq!(AudioLevel::of(&[1036; 160], false).below_overload, 30);
        let level = AudioLevel { voice: true, below_overload: 42 };
        assert_eq!(AudioLevel::parse(&[level.octet()]), Some(level));
        for id in 0..=255 {
            let elements = level.extension(id).map(|(profile, data)| read(profile, &data));
            assert_eq!(elements, (id != 0).then(|| vec![(id, vec![level.octet()])]));
        }
    }

    #[test]
    fn what_no_form_can_say_is_refused() {
        let mut writer = Writer::new();
        assert_eq!(writer.push(0, &[1]), Err(ExtensionError::Identifier));
        assert_eq!(writer.push(1, &[0; 256]), Err(ExtensionError::TooLong(256)));
        let full = (0..2000).map(|_| writer.push(1, &[0; 200])).find_map(Result::err);
        assert_eq!(full, Some(ExtensionError::Full));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            elements in proptest::collection::vec((1u8..=255, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        ) {
            let mut writer = Writer::new();
            for (id, data) in &elements {
                writer.push(*id, data).unwrap();
            }
            let (profile, data) = writer.finish();
            prop_assert_eq!(read(profile, &data), elements);
        }

        #[test]
        fn arbitrary_octets_never_panic(profile: u16, words in proptest::collection::vec(any::<[u8; 4]>(), 0..8)) {
            let _ = read(profile, &words.concat());
        }
    }
}
