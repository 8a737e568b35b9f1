//! Which payload type stands for which codec in what *we* receive. A number given once keeps its meaning for the whole
//! session (RFC 3264 §8.3.2), so this only grows, up to the 128 numbers there are.

use crate::Codec;
use crate::codec::{FIRST_DYNAMIC, static_payload_type};

/// By convention of nearly all phones; some older ones look for DTMF nowhere else.
const USUAL_TELEPHONE_EVENT: u8 = 101;
/// RFC 3551 §3: when 96–127 do not suffice, unassigned numbers below may be used. 64–95 collide with RTCP (RFC 5761 §4).
const SPARE: std::ops::RangeInclusive<u8> = 35..=63;

#[derive(Clone, Debug, Default)]
pub(super) struct PayloadTypes(Vec<(u8, Codec)>);

impl PayloadTypes {
    /// The number for a codec in an offer of ours: the last one used for it, else its static one, else a free one.
    pub(super) fn number_for(&mut self, codec: &Codec) -> Option<u8> {
        if let Some((number, _)) = self.0.iter().rev().find(|(_, known)| known.matches(codec)) {
            return Some(*number);
        }
        let usual = codec.is_telephone_event().then_some(USUAL_TELEPHONE_EVENT);
        // The usual number of telephone-event is given to another codec only when all others are taken.
        let dynamic = (FIRST_DYNAMIC..=127).filter(|number| *number != USUAL_TELEPHONE_EVENT);
        let number = static_payload_type(codec)
            .into_iter()
            .chain(usual)
            .chain(dynamic)
            .chain(SPARE)
            .chain([USUAL_TELEPHONE_EVENT])
            .find(|number| self.is_free(*number))?;
        self.0.push((number, codec.clone()));
        Some(number)
    }

    /// The number for a codec in an answer of ours: the offer's (RFC 3264 §6.1), unless it means something else here.
    pub(super) fn adopt(&mut self, codec: &Codec, offered: u8) -> Option<u8> {
        match self.0.iter().position(|(number, _)| *number == offered) {
            None => self.0.push((offered, codec.clone())),
            Some(known) if self.0.get(known).is_some_and(|(_, meaning)| meaning.matches(codec)) => {
                // To the end, so that the next offer uses the number of the last agreement.
                let entry = self.0.remove(known);
                self.0.push(entry);
            }
            Some(_) => return self.number_for(codec),
        }
        Some(offered)
    }

    fn is_free(&self, number: u8) -> bool {
        !self.0.iter().any(|(taken, _)| *taken == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_never_changes_its_meaning_rfc_3264_section_8_3_2() {
        let mut numbers = PayloadTypes::default();
        let (opus, events) = (Codec::new("opus", 48000).with_channels(2), Codec::telephone_event(8000));
        assert_eq!(numbers.number_for(&Codec::pcma()), Some(8));
        assert_eq!(numbers.number_for(&events), Some(101));
        assert_eq!(numbers.number_for(&opus), Some(96));
        assert_eq!(numbers.adopt(&opus, 101), Some(96), "101 is telephone-event here");
        assert_eq!(numbers.adopt(&opus, 111), Some(111));
        assert_eq!(numbers.number_for(&opus), Some(111), "the last one agreed");
        assert_eq!(numbers.adopt(&opus, 96), Some(96), "both numbers stay valid");
        assert_eq!(numbers.number_for(&opus), Some(96));
    }

    #[test]
    fn numbers_run_out_only_after_all_dynamic_and_spare_ones() {
        let mut numbers = PayloadTypes::default();
        let given = (1..200).map_while(|rate| numbers.number_for(&Codec::new("x", rate))).count();
        assert_eq!(given, 32 + 29);
    }
}
