//! The choice of codecs and of what goes with them.

use super::CodecOrder;
use super::companions;
use super::local::LocalStream;
use super::negotiated::Feedback;
use super::payload_types::PayloadTypes;
use crate::section::Format;
use crate::{Codec, EventPayload, EventSet, Payload, parameters};

/// One codec known to both sides.
pub(super) struct Common {
    /// As the peer describes it: its number, its parameters.
    pub(super) remote: Payload,
    /// As we describe it.
    pub(super) local: Payload,
}

/// The codecs of an offered section that we have too, for the answer: in the offer's order or ours, each once.
pub(super) fn common_with_offer(
    formats: &[Format<'_>],
    (line, local): (u8, &LocalStream),
    order: CodecOrder,
    numbers: &mut PayloadTypes,
) -> Vec<Common> {
    let mut pairs: Vec<(usize, &Format<'_>)> = Vec::with_capacity(local.codecs.len());
    for format in formats {
        if let Some(index) = companions::position(format, formats, &local.codecs)
            && !pairs.iter().any(|(known, _)| *known == index)
        {
            pairs.push((index, format));
        }
    }
    // A retransmission follows its codec: that of another number for the same codec repairs nothing here.
    let numbers_in_use: Vec<u8> = pairs.iter().map(|(_, format)| format.payload_type).collect();
    pairs.retain(|(_, format)| {
        !companions::is_retransmission(format)
            || companions::repaired(format.fmtp).is_some_and(|number| numbers_in_use.contains(&number))
    });
    if order == CodecOrder::Local {
        pairs.sort_by_key(|(index, _)| *index);
    }
    let ours = |index: usize| local.codecs.get(index);
    let primary = |index: usize| ours(index).is_some_and(Codec::is_primary);
    let rate = |index: usize| ours(index).map(Codec::clock_rate);
    // telephone-event shares the timestamps of the audio (RFC 4733 §2.1): without audio of its rate it is useless.
    let lives = |index: usize| {
        primary(index) || pairs.iter().any(|(other, _)| primary(*other) && rate(*other) == rate(index))
    };
    let mut numbered: Vec<(usize, Payload)> = Vec::with_capacity(pairs.len());
    for names_others in [false, true] {
        for (place, format) in pairs.iter().filter(|(index, _)| lives(*index)) {
            let Some(codec) = ours(*place).filter(|codec| companions::names_numbers(codec) == names_others)
            else {
                continue;
            };
            let Some(codec) = companions::resolved(codec, &local.codecs, &numbered) else { continue };
            let Some(payload_type) = numbers.adopt(line, &codec, format.payload_type) else { continue };
            let codec = match parameters::answer(codec.name(), format.fmtp, codec.fmtp()) {
                Some(changed) => codec.with_fmtp(changed),
                None => codec,
            };
            numbered.push((*place, Payload { payload_type, codec }));
        }
    }
    let paired = pairs.iter().filter_map(|(place, format)| {
        let at = numbered.iter().position(|(numbered, _)| numbered == place)?;
        let remote = Payload { payload_type: format.payload_type, codec: theirs(format, ours(*place)?)? };
        Some(Common { remote, local: numbered.swap_remove(at).1 })
    });
    paired.collect()
}

/// The peer's description of a codec: kept once if it is ours.
fn theirs(format: &Format<'_>, ours: &Codec) -> Option<Codec> {
    let encoding = format.encoding?;
    let same = encoding == ours.encoding() && format.fmtp == ours.fmtp();
    Some(if same { ours.clone() } else { encoding.codec(format.fmtp) })
}

/// The codecs of an answered section that we had offered, in the order of the answer, each once.
pub(super) fn common_with_answer(formats: &[Format<'_>], offered: &[Payload]) -> Vec<Common> {
    let mut common: Vec<Common> = Vec::with_capacity(formats.len());
    let (repairs, others): (Vec<&Format<'_>>, Vec<&Format<'_>>) =
        formats.iter().partition(|format| companions::is_retransmission(format));
    for format in others {
        let known = match format.encoding {
            Some(_) => {
                // The number decides between formats of one name, else the first that fits.
                let fits = |payload: &&Payload| format.is(&payload.codec);
                let same_number = |payload: &&Payload| payload.payload_type == format.payload_type;
                let local =
                    offered.iter().filter(same_number).find(fits).or_else(|| offered.iter().find(fits));
                local.and_then(|local| Some((local, theirs(format, &local.codec)?)))
            }
            // RFC 3264 §6.1 demands the mapping, but a number taken over without one can only mean ours.
            None => {
                let ours = offered.iter().find(|payload| payload.payload_type == format.payload_type);
                ours.map(|payload| (payload, payload.codec.clone()))
            }
        };
        if let Some((local, codec)) = known
            && !common.iter().any(|earlier| earlier.local.payload_type == local.payload_type)
        {
            let remote = Payload { payload_type: format.payload_type, codec };
            common.push(Common { remote, local: local.clone() });
        }
    }
    // Each side names the codec that is repaired by its own number (RFC 4588 §8.6).
    for format in repairs {
        let primary = companions::repaired(format.fmtp)
            .and_then(|number| common.iter().find(|pair| pair.remote.payload_type == number))
            .map(|pair| pair.local.payload_type);
        let ours = |payload: &&Payload| {
            payload.codec.is_retransmission()
                && primary.is_some()
                && companions::repaired(payload.codec.fmtp()) == primary
        };
        if let Some(local) = offered.iter().find(ours)
            && let Some(codec) = theirs(format, &local.codec)
            && !common.iter().any(|earlier| earlier.local.payload_type == local.payload_type)
        {
            let remote = Payload { payload_type: format.payload_type, codec };
            common.push(Common { remote, local: local.clone() });
        }
    }
    common
}

/// Whether a stream can live on these codecs.
pub(super) fn can_live(common: &[Common]) -> bool {
    common.iter().any(|pair| pair.local.codec.is_primary())
}

/// The codecs of one side, without what only accompanies them.
pub(super) fn codecs(common: &[Common], pick: fn(&Common) -> &Payload) -> Vec<Payload> {
    let primary = |payload: &&Payload| payload.codec.is_primary();
    let mut codecs = Vec::with_capacity(common.iter().map(pick).filter(primary).count());
    codecs.extend(common.iter().map(pick).filter(primary).cloned());
    codecs
}

/// The telephone events of one side.
pub(super) fn events(common: &[Common], pick: fn(&Common) -> &Payload) -> Vec<EventPayload> {
    let mut events = Vec::new();
    for Payload { payload_type, codec } in common.iter().map(pick) {
        if codec.is_telephone_event() {
            events.reserve_exact(1);
            events.push(EventPayload {
                payload_type: *payload_type,
                clock_rate: codec.clock_rate(),
                events: EventSet::from_fmtp(codec.fmtp()),
            });
        }
    }
    events
}

/// The formats of a stream that is not RTP that both sides have, in the order of the section.
pub(super) fn common_formats<'a>(section: impl Iterator<Item = &'a str>, ours: &[String]) -> Vec<String> {
    let any = ours.iter().any(|ours| ours == "*");
    let common = section.filter(|format| any || ours.iter().any(|ours| ours.eq_ignore_ascii_case(format)));
    common.map(str::to_owned).collect()
}

/// The feedback messages of a section that we want too, as the peer says them.
pub(super) fn common_feedback(section: &[&str], ours: &[String], common: &[Common]) -> Vec<Feedback> {
    if ours.is_empty() {
        return Vec::new();
    }
    let read = |line: &&str| {
        let (number, message) = line.trim().split_once(' ')?;
        let message = message.trim();
        let payload_type = match number {
            "*" => None,
            number => Some(crate::codec::payload_type(number)?),
        };
        let known =
            payload_type.is_none_or(|number| common.iter().any(|pair| pair.remote.payload_type == number));
        let wanted = known && ours.iter().any(|ours| ours == message);
        wanted.then(|| Feedback { payload_type, message: message.to_owned() })
    };
    section.iter().filter_map(read).collect()
}

/// The same under our payload types, for the answer.
pub(super) fn answered_feedback(agreed: &[Feedback], common: &[Common]) -> Vec<Feedback> {
    let ours = |number: u8| {
        common.iter().find(|pair| pair.remote.payload_type == number).map(|pair| pair.local.payload_type)
    };
    let renumbered = |feedback: &Feedback| Feedback {
        payload_type: feedback.payload_type.and_then(ours),
        message: feedback.message.clone(),
    };
    agreed.iter().map(renumbered).collect()
}
