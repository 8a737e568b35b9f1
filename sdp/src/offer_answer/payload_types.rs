//! Which payload type stands for which codec in what *we* receive. A number given once keeps its meaning for the whole
//! session in its line (RFC 3264 §8.3.2), so this only grows, up to the 128 numbers there are for each.

use crate::Codec;
use crate::codec::{FIRST_DYNAMIC, static_payload_type};

/// By convention of nearly all phones; some older ones look for DTMF nowhere else.
const USUAL_TELEPHONE_EVENT: u8 = 101;
/// RFC 3551 §3: when 96–127 do not suffice, unassigned numbers below may be used. 64–95 collide with RTCP (RFC 5761 §4).
const SPARE: std::ops::RangeInclusive<u8> = 35..=63;

#[derive(Clone, Debug, Default)]
pub(super) struct PayloadTypes(Vec<Given>);

#[derive(Clone, Debug)]
struct Given {
    line: u8,
    number: u8,
    codec: Codec,
}

impl PayloadTypes {
    /// The number for a codec in an offer of ours: the last one used for it, else its static one, else one that is free in all
    /// lines, as bundled ones need it (RFC 9143 §10.1.2), else one that is free in this.
    pub(super) fn number_for(&mut self, line: u8, codec: &Codec) -> Option<u8> {
        let own = |given: &&Given| given.line == line && given.codec.is_compatible(codec);
        if let Some(given) = self.0.iter().rev().find(own) {
            return Some(given.number);
        }
        let usual = codec.is_telephone_event().then_some(USUAL_TELEPHONE_EVENT);
        // The usual number of telephone-event is given to another codec only when all others are taken.
        let dynamic = (FIRST_DYNAMIC..=127).filter(|number| *number != USUAL_TELEPHONE_EVENT);
        let candidates = static_payload_type(codec)
            .into_iter()
            .chain(usual)
            .chain(dynamic)
            .chain(SPARE)
            .chain([USUAL_TELEPHONE_EVENT]);
        let free = |number: &u8, only_in: Option<u8>| {
            let taken = |given: &Given| {
                given.number == *number
                    && (given.line == only_in.unwrap_or(given.line))
                    && (only_in.is_some() || !given.codec.is_compatible(codec))
            };
            !self.0.iter().any(taken)
        };
        let everywhere = |number: &u8| free(number, Some(line)) && free(number, None);
        let number = candidates.clone().find(everywhere).or_else(|| {
            let mut candidates = candidates;
            candidates.find(|number| free(number, Some(line)))
        })?;
        self.0.push(Given { line, number, codec: codec.clone() });
        Some(number)
    }

    /// The number for a codec in an answer of ours: the offer's (RFC 3264 §6.1), unless it means something else here.
    pub(super) fn adopt(&mut self, line: u8, codec: &Codec, offered: u8) -> Option<u8> {
        match self.0.iter().position(|given| given.line == line && given.number == offered) {
            None => self.0.push(Given { line, number: offered, codec: codec.clone() }),
            Some(known) if self.0.get(known).is_some_and(|given| given.codec.is_compatible(codec)) => {
                // To the end, so that the next offer uses the number of the last agreement.
                let entry = self.0.remove(known);
                self.0.push(entry);
            }
            Some(_) => return self.number_for(line, codec),
        }
        Some(offered)
    }

    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_never_changes_its_meaning_rfc_3264_section_8_3_2() {
        let mut numbers = PayloadTypes::default();
        let (opus, events) = (Codec::opus(), Codec::telephone_event(8000));
        assert_eq!(numbers.number_for(0, &Codec::pcma()), Some(8));
        assert_eq!(numbers.number_for(0, &events), Some(101));
        assert_eq!(numbers.number_for(0, &opus), Some(96));
        assert_eq!(numbers.adopt(0, &opus, 101), Some(96), "101 is telephone-event here");
        assert_eq!(numbers.adopt(0, &opus, 111), Some(111));
        assert_eq!(numbers.number_for(0, &opus), Some(111), "the last one agreed");
        assert_eq!(numbers.adopt(0, &opus, 96), Some(96), "both numbers stay valid");
        assert_eq!(numbers.number_for(0, &opus), Some(96));
    }

    #[test]
    fn streams_share_no_number_unless_the_peer_wants_it_rfc_9143_section_10_1_2() {
        let mut numbers = PayloadTypes::default();
        let (plain, split) = (Codec::h264("42e01f", 0), Codec::h264("42e01f", 1));
        assert_eq!(numbers.number_for(0, &Codec::opus()), Some(96));
        assert_eq!(numbers.number_for(1, &split), Some(97));
        assert_eq!(numbers.number_for(1, &plain), Some(98), "another packetization mode is another format");
        assert_eq!(numbers.number_for(2, &Codec::opus()), Some(96), "the same in both streams");
        assert_eq!(numbers.adopt(2, &Codec::vp8(), 97), Some(97), "as many offers without BUNDLE have it");
    }

    #[test]
    fn numbers_run_out_only_after_all_dynamic_and_spare_ones() {
        let mut numbers = PayloadTypes::default();
        let given = (1..200).map_while(|rate| numbers.number_for(0, &Codec::new("x", rate))).count();
        assert_eq!(given, 32 + 29);
        assert_eq!(numbers.number_for(1, &Codec::new("y", 1)), Some(96), "then streams may share");
    }
}
