//! Formats that accompany others: comfort noise (RFC 3389), redundancy (RFC 2198), retransmission (RFC 4588). Parameters of the
//! last two name payload types, which are known only when numbers have been given.

use super::matching::Common;
use super::negotiated::MediaStream;
use crate::section::Format;
use crate::{Codec, Payload};

/// A format that accompanies the codecs of a stream, as both sides agreed on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Companion {
    /// For sending, under the peer's payload type and with the peer's parameters.
    pub send: Payload,
    /// What may arrive, under our payload type.
    pub receive: Payload,
}

impl MediaStream {
    /// What accompanies the codecs, events aside: comfort noise, redundancy, retransmission, forward error correction.
    pub fn companions(&self) -> &[Companion] {
        self.details.as_ref().map_or(&[], |details| &details.companions)
    }

    /// Comfort noise for codecs of this clock (RFC 3389 §5.1).
    pub fn comfort_noise(&self, clock_rate: u32) -> Option<&Companion> {
        self.companions().iter().find(|companion| {
            companion.send.codec.name().eq_ignore_ascii_case("CN")
                && companion.send.codec.clock_rate() == clock_rate
        })
    }

    /// Redundancy for the codec sent under this payload type: the peer names it, or names none (RFC 2198 §5).
    pub fn redundancy(&self, sent: &Payload) -> Option<&Companion> {
        self.companions().iter().find(|companion| {
            let red = &companion.send.codec;
            let takes = |list: &str| {
                list.split(';').any(|level| {
                    level.trim().split('/').all(|number| number.trim().parse() == Ok(sent.payload_type))
                })
            };
            red.is_redundancy() && red.clock_rate() == sent.codec.clock_rate() && red.fmtp().is_none_or(takes)
        })
    }

    /// Retransmission of what is sent under this payload type (RFC 4588 §8.1).
    pub fn retransmission(&self, payload_type: u8) -> Option<&Companion> {
        self.companions().iter().find(|companion| {
            companion.send.codec.is_retransmission()
                && repaired(companion.send.codec.fmtp()) == Some(payload_type)
        })
    }
}

/// The companions among what is common.
pub(super) fn of(common: &[Common]) -> Vec<Companion> {
    let mut companions = Vec::new();
    for Common { remote, local } in common {
        if !local.codec.is_primary() && !local.codec.is_telephone_event() {
            companions.reserve_exact(1);
            companions.push(Companion { send: remote.clone(), receive: local.clone() });
        }
    }
    companions
}

/// The payload type that `apt` names.
pub(super) fn repaired(fmtp: Option<&str>) -> Option<u8> {
    crate::codec::payload_type(crate::parameters::parameter(fmtp, "apt")?)
}

/// Where the codec stands in our list that a retransmission in it repairs.
pub(super) fn repaired_codec(retransmission: &Codec, codecs: &[Codec]) -> Option<usize> {
    codecs.iter().position(|codec| codec.is_primary() && retransmission.repairs(codec))
}

/// Where an offered format stands in our list. A retransmission is that of the codec which the format repairs.
pub(super) fn position(format: &Format<'_>, formats: &[Format<'_>], codecs: &[Codec]) -> Option<usize> {
    if !is_retransmission(format) {
        return codecs.iter().position(|codec| format.is(codec));
    }
    let number = repaired(format.fmtp)?;
    let primary = formats.iter().find(|format| format.payload_type == number)?;
    let place = codecs.iter().position(|codec| primary.is(codec))?;
    codecs.iter().position(|codec| codec.is_retransmission() && repaired_codec(codec, codecs) == Some(place))
}

pub(super) fn is_retransmission(format: &Format<'_>) -> bool {
    format.encoding.is_some_and(|encoding| encoding.name.eq_ignore_ascii_case("rtx"))
}

/// Whether the parameters of a codec of ours name payload types.
pub(super) fn names_numbers(codec: &Codec) -> bool {
    codec.is_retransmission() || codec.is_redundancy()
}

/// A codec of ours with the payload types written into the parameters that name them; `numbered` are those of our list that
/// have one, by their places. `None` if what it accompanies is not among them.
pub(super) fn resolved(codec: &Codec, codecs: &[Codec], numbered: &[(usize, Payload)]) -> Option<Codec> {
    if codec.is_retransmission() {
        let primary = repaired_codec(codec, codecs)?;
        let (_, payload) = numbered.iter().find(|(place, _)| *place == primary)?;
        return Some(codec.clone().with_fmtp(format!("apt={}", payload.payload_type)));
    }
    if codec.is_redundancy() {
        // The codec most wanted of its clock, in both places (RFC 2198 §5): what others arrive in is understood too.
        let goes_with = |other: &Codec| other.is_primary() && other.clock_rate() == codec.clock_rate();
        let (_, payload) = numbered.iter().find(|(_, payload)| goes_with(&payload.codec))?;
        let number = payload.payload_type;
        return Some(codec.clone().with_fmtp(format!("{number}/{number}")));
    }
    Some(codec.clone())
}
