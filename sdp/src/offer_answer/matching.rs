//! The choice of codecs, and what a pair of descriptions means for one stream.

use super::payload_types::PayloadTypes;
use super::{AUDIO_PROTOCOL, CodecOrder, LocalMedia, MediaStream, RejectReason};
use crate::{
    AddressError, Codec, Direction, EventPayload, EventSet, Host, MediaAddress, MediaSection, Payload,
};

/// One codec known to both sides.
pub(super) struct Common {
    /// As the peer describes it: its number, its parameters.
    pub(super) remote: Payload,
    /// As we describe it.
    pub(super) local: Payload,
}

/// The codecs of an offered section that we have too, for the answer: in the offer's order or ours, each once.
pub(super) fn common_with_offer(
    section: &MediaSection<'_>,
    local: &LocalMedia,
    order: CodecOrder,
    numbers: &mut PayloadTypes,
) -> Vec<Common> {
    let mut pairs: Vec<(usize, Payload)> = Vec::new();
    for remote in section.payloads() {
        if let Some(index) = local.codecs.iter().position(|codec| codec.matches(&remote.codec))
            && !pairs.iter().any(|(known, _)| *known == index)
        {
            pairs.push((index, remote));
        }
    }
    if order == CodecOrder::Local {
        pairs.sort_by_key(|(index, _)| *index);
    }
    // telephone-event shares the timestamps of the audio (RFC 4733 §2.1): without audio of its rate it is useless.
    let rates: Vec<u32> =
        pairs.iter().filter(|(_, p)| p.codec.is_primary()).map(|(_, p)| p.codec.clock_rate()).collect();
    pairs.retain(|(_, p)| p.codec.is_primary() || rates.contains(&p.codec.clock_rate()));
    let common = pairs.into_iter().filter_map(|(index, mut remote)| {
        let codec = local.codecs.get(index)?.clone();
        let payload_type = numbers.adopt(&codec, remote.payload_type)?;
        share(&mut remote.codec, &codec);
        Some(Common { local: Payload { payload_type, codec }, remote })
    });
    common.collect()
}

/// What is kept for the whole session is kept once.
fn share(theirs: &mut Codec, ours: &Codec) {
    if *theirs == *ours {
        theirs.clone_from(ours);
    }
}

/// The codecs of an answered section that we had offered, in the order of the answer, each once.
pub(super) fn common_with_answer(section: &MediaSection<'_>, offered: &[Payload]) -> Vec<Common> {
    let mut common: Vec<Common> = Vec::new();
    for number in section.formats().filter_map(crate::codec::payload_type) {
        let known = match section.codec(number) {
            Some(codec) => offered.iter().find(|payload| payload.codec.matches(&codec)).zip(Some(codec)),
            // RFC 3264 §6.1 demands the mapping, but a number taken over without one can only mean ours.
            None => {
                let ours = offered.iter().find(|payload| payload.payload_type == number);
                ours.map(|payload| (payload, payload.codec.clone()))
            }
        };
        if let Some((local, mut codec)) = known
            && !common.iter().any(|earlier| earlier.local.codec.matches(&codec))
        {
            share(&mut codec, &local.codec);
            common.push(Common { remote: Payload { payload_type: number, codec }, local: local.clone() });
        }
    }
    common
}

/// Whether a stream can live on these codecs.
pub(super) fn has_audio(common: &[Common]) -> bool {
    common.iter().any(|pair| pair.local.codec.is_primary())
}

/// Whether the peer's section can be used at all, codecs aside. Gives the address to send to.
pub(super) fn usable(section: &MediaSection<'_>) -> Result<MediaAddress, RejectReason> {
    if section.port() == 0 {
        return Err(RejectReason::Disabled);
    }
    if !section.kind().eq_ignore_ascii_case("audio") {
        return Err(RejectReason::UnsupportedMedia);
    }
    if !section.protocol().eq_ignore_ascii_case(AUDIO_PROTOCOL) {
        return Err(RejectReason::UnsupportedTransport);
    }
    let address = section.rtp_address().map_err(|error| match error {
        AddressError::UnsupportedNetwork => RejectReason::UnsupportedNetwork,
        _ => RejectReason::NoAddress,
    })?;
    if address.host.is_multicast() {
        return Err(RejectReason::Multicast);
    }
    Ok(address)
}

/// A stream from both sides' descriptions. `direction` is what the two direction attributes allow, seen from here.
pub(super) fn stream(
    line: usize,
    section: &MediaSection<'_>,
    (local, remote): (std::net::SocketAddr, MediaAddress),
    direction: Direction,
    held_by_remote: bool,
    common: &[Common],
) -> MediaStream {
    let audio = |pick: fn(&Common) -> &Payload| {
        common.iter().map(pick).filter(|payload| payload.codec.is_primary()).cloned().collect()
    };
    let events = |pick: fn(&Common) -> &Payload| {
        common
            .iter()
            .map(pick)
            .filter(|payload| payload.codec.is_telephone_event())
            .map(event_payload)
            .collect()
    };
    MediaStream {
        line,
        local,
        direction: without_black_holes(direction, local.ip().is_unspecified(), &remote.host),
        held_by_remote,
        remote_rtcp: section.rtcp_address(),
        remote,
        send: audio(|pair| &pair.remote),
        receive: audio(|pair| &pair.local),
        send_events: events(|pair| &pair.remote),
        receive_events: events(|pair| &pair.local),
        ptime: section.ptime(),
        max_ptime: section.max_ptime(),
    }
}

fn event_payload(payload: &Payload) -> EventPayload {
    let codec: &Codec = &payload.codec;
    EventPayload {
        payload_type: payload.payload_type,
        clock_rate: codec.clock_rate(),
        events: EventSet::from_fmtp(codec.fmtp()),
    }
}

/// The attributes are negotiated as if the address were real (RFC 6337 §5.4), but nothing can flow to an unspecified one.
fn without_black_holes(direction: Direction, local_unspecified: bool, remote: &Host) -> Direction {
    let send = direction.has_send() && !remote.is_unspecified();
    let receive = direction.has_recv() && !local_unspecified;
    match (send, receive) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}
