//! What offer and answer agreed on for a stream.

use std::time::Duration;

use crate::codec::Codec;
use crate::g711::Law;

/// Codecs received besides the one sent; an answer names a few.
const MAX_RECEIVED: usize = 16;
/// Duration of a packet's audio if nothing else was agreed (RFC 3551 §4.2).
const PACKET_TIME: u8 = 20;

/// Direction as negotiated, from our side (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendReceive,
    /// We only send.
    SendOnly,
    /// We only receive.
    ReceiveOnly,
    /// Held both ways; RTCP goes on.
    Inactive,
}

impl Direction {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }
}

/// The levels of the sound, told beside it (RFC 6464), under the identifiers that `a=extmap` gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Levels {
    /// In what is sent; `None` sends none.
    pub send: Option<u8>,
    /// In what comes; `None` reads none.
    pub receive: Option<u8>,
    /// They tell voice from other sound (`vad=on`, which is meant where nothing is said, RFC 6464 §4).
    pub voice: bool,
}

/// Redundancy as negotiated (RFC 2198).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redundancy {
    /// Its payload type towards the peer.
    pub payload_type: u8,
    /// How many packets repeat each one, 1 to 4.
    pub generations: u8,
}

/// What was negotiated for the stream.
///
/// ```
/// use rtp::audio_stream::Format;
/// use rtp::codec::Codec;
/// // The answer was "9 0 101 13"; we offered PCMU too, and hear it under its number.
/// let mut format = Format::of(Codec::G722, 9).with_events(Some(101)).receiving(0, Codec::PCMU);
/// format.comfort_noise = Some(13);
/// assert_eq!(format.codec_of(0), Some(Codec::PCMU));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The codec we send.
    pub codec: Codec,
    /// Its payload type towards the peer.
    pub payload_type: u8,
    /// Milliseconds of audio in a packet of ours (`a=ptime`): 10, 20, 30, 40, 50 or 60; others become the next longer.
    /// Default 20. Opus has no 30 and 50.
    pub packet_time: u8,
    /// Payload type of telephone-event towards the peer, if it takes any.
    pub telephone_event: Option<u8>,
    /// Payload type of telephone-event that we offered for receiving.
    pub receive_telephone_event: Option<u8>,
    /// Payload type of comfort noise towards the peer (RFC 3389). With one, pauses are described and not sent.
    pub comfort_noise: Option<u8>,
    /// Payload type of comfort noise that we offered for receiving; 13 is understood anyway.
    pub receive_comfort_noise: Option<u8>,
    /// Redundancy towards the peer.
    pub redundancy: Option<Redundancy>,
    /// Payload type of redundancy that we offered for receiving.
    pub receive_redundancy: Option<u8>,
    /// Nothing is sent in pauses, described or not (RFC 7587 §3.1.3 for Opus).
    pub discontinuous: bool,
    /// What else we offered for receiving, by payload type.
    received: Vec<(u8, Codec)>,
}

impl Format {
    /// G.711 with its static payload type and one type for telephone-event both ways.
    #[must_use]
    pub fn new(law: Law, telephone_event: Option<u8>) -> Self {
        Self::of(Codec::G711(law), law.payload_type()).with_events(telephone_event)
    }

    /// A codec under one payload type both ways, and nothing beside it.
    #[must_use]
    pub fn of(codec: Codec, payload_type: u8) -> Self {
        Self {
            codec,
            payload_type,
            packet_time: PACKET_TIME,
            telephone_event: None,
            receive_telephone_event: None,
            comfort_noise: None,
            receive_comfort_noise: None,
            redundancy: None,
            receive_redundancy: None,
            discontinuous: false,
            received: Vec::new(),
        }
    }

    /// With one payload type for telephone-event both ways.
    #[must_use]
    pub fn with_events(mut self, payload_type: Option<u8>) -> Self {
        self.telephone_event = payload_type;
        self.receive_telephone_event = payload_type;
        self
    }

    /// With another codec that may come from the peer at any time; what is beyond 16 is left out.
    #[must_use]
    pub fn receiving(mut self, payload_type: u8, codec: Codec) -> Self {
        self.received.retain(|(known, _)| *known != payload_type);
        if self.received.len() < MAX_RECEIVED {
            self.received.push((payload_type, codec));
        }
        self
    }

    /// The codec of a packet received: what we offered under this number, or the one that we send, or what RFC 3551 §6 gave
    /// the number to.
    #[must_use]
    pub fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        let named = self.received.iter().find(|(known, _)| *known == payload_type).map(|(_, codec)| *codec);
        let same = || (payload_type == self.payload_type).then_some(self.codec);
        named.or_else(same).or_else(|| Codec::from_static(payload_type))
    }

    /// Whether packets of this type describe silence.
    pub(super) fn is_comfort_noise(&self, payload_type: u8) -> bool {
        self.receive_comfort_noise == Some(payload_type)
            || (payload_type == 13 && !self.received.iter().any(|(known, _)| *known == 13))
    }

    /// Duration of a packet of ours: one that the codec has.
    #[must_use]
    pub fn packet_duration(&self) -> Duration {
        let tens = self.packet_time.div_ceil(10).clamp(1, 6);
        let tens = if self.codec.has_in_band_fec() && matches!(tens, 3 | 5) { tens + 1 } else { tens };
        Duration::from_millis(u64::from(tens) * 10)
    }
}
