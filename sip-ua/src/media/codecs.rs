//! Codecs as the phone offers them, and what is to be sent by what was agreed.

use rtp::audio_stream::{Format, Redundancy};
use rtp::codec::Codec;
use sdp::{MediaStream, Payload};

/// The rate of comfort noise with a payload type of its own (RFC 3389 §5.1).
const NOISE_RATE: u32 = 8000;
/// Most packets that repeat one: more cost more than loss that long is worth.
const MAX_REPETITIONS: u8 = 4;

/// How sound is sent where the peer takes it so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sending {
    /// Pauses are described instead of sent.
    pub(crate) pauses: bool,
    /// Packets that repeat each one; 0 for none.
    pub(crate) repetitions: u8,
}

/// The codecs for a description, most wanted first, with the digits that go with them.
pub(super) fn offered(codecs: &[Codec], sending: Sending) -> Vec<sdp::Codec> {
    let mut offered: Vec<sdp::Codec> = Vec::new();
    for codec in codecs {
        let described = described(*codec);
        if !offered.contains(&described) {
            offered.push(described);
        }
    }
    // Digits have the clock of the audio that they interrupt (RFC 4733 §2.1).
    let mut rates: Vec<u32> = codecs.iter().map(|codec| codec.clock_rate()).collect();
    rates.sort_unstable();
    rates.dedup();
    let mut companions: Vec<sdp::Codec> =
        rates.iter().map(|rate| sdp::Codec::telephone_event(*rate)).collect();
    // Pauses of the peer are always understood, whether we make any or not.
    if rates.contains(&NOISE_RATE) {
        companions.push(sdp::Codec::comfort_noise(NOISE_RATE));
    }
    if sending.repetitions > 0 {
        for codec in &offered {
            let redundancy = sdp::Codec::redundancy(codec);
            if !companions.contains(&redundancy) {
                companions.push(redundancy);
            }
        }
    }
    offered.extend(companions);
    offered
}

fn described(codec: Codec) -> sdp::Codec {
    match codec {
        Codec::PCMU => sdp::Codec::pcmu(),
        Codec::PCMA => sdp::Codec::pcma(),
        codec => {
            let named =
                sdp::Codec::new(codec.name(), codec.clock_rate()).with_channels(codec.rtpmap_channels());
            // We take what helps against loss (RFC 7587 §6.1).
            if codec.has_in_band_fec() { named.with_fmtp("useinbandfec=1") } else { named }
        }
    }
}

/// What is sent and understood after offer and answer.
pub(super) fn agreed(audio: &MediaStream, sending: Sending) -> Option<Format> {
    let (payload, codec) = audio.send.iter().find_map(|payload| Some((payload, codec_of(payload)?)))?;
    let mut format = Format::of(codec, payload.payload_type);
    for receive in &audio.receive {
        if let Some(codec) = codec_of(receive) {
            format = format.receiving(receive.payload_type, codec);
        }
    }
    if let Some(milliseconds) = audio.ptime {
        format.packet_time = u8::try_from(milliseconds).unwrap_or(u8::MAX);
    }
    format.telephone_event = audio.events_for(payload.codec.clock_rate()).map(|events| events.payload_type);
    let rate = payload.codec.clock_rate();
    let receive = audio.receive_events.iter().find(|events| events.clock_rate == rate);
    format.receive_telephone_event =
        receive.or(audio.receive_events.first()).map(|events| events.payload_type);
    if let Some(noise) = audio.comfort_noise(rate) {
        format.receive_comfort_noise = Some(noise.receive.payload_type);
        format.comfort_noise = sending.pauses.then_some(noise.send.payload_type);
    }
    if let Some(redundancy) = audio.redundancy(payload) {
        format.receive_redundancy = Some(redundancy.receive.payload_type);
        let generations = sending.repetitions.min(MAX_REPETITIONS);
        format.redundancy = (generations > 0)
            .then_some(Redundancy { payload_type: redundancy.send.payload_type, generations });
    }
    Some(format)
}

fn codec_of(payload: &Payload) -> Option<Codec> {
    Codec::from_rtpmap(payload.codec.name(), payload.codec.clock_rate(), payload.codec.channels())
}
