//! What offer and answer agreed on, as the local side needs to know it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Direction, EventPayload, MediaAddress, Payload};

/// Packet duration when nobody states one (RFC 3551 §4.2).
const DEFAULT_PTIME: u16 = 20;
/// Longest packet that RFC 3551 §4.2 asks receivers to take. A peer that wants longer ones gets these.
const LONGEST_PTIME: u16 = 200;

/// The outcome of a completed offer/answer exchange.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Negotiated {
    /// The streams in use, in the order of their `m=` lines.
    pub streams: Vec<MediaStream>,
    /// The `m=` lines not in use, and why.
    pub rejected: Vec<RejectedLine>,
}

/// One stream in use. Directions are those of the local side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaStream {
    /// Index of the `m=` line, from 0. It stays the same for the whole session (RFC 3264 §8).
    pub line: usize,
    /// Where the local side told the peer to send RTP.
    pub local: SocketAddr,
    /// Where RTP goes.
    pub remote: MediaAddress,
    /// Where RTCP goes, if the peer takes it anywhere.
    pub remote_rtcp: Option<MediaAddress>,
    /// What may flow, seen from here. Sending to an unspecified address is already taken out.
    pub direction: Direction,
    /// The peer asked us to stop sending: by `sendonly` or `inactive`, or by the address `0.0.0.0` of old (RFC 3264 §8.4).
    pub held_by_remote: bool,
    /// Audio codecs to send with, under the *peer's* payload types; the first one should be used (RFC 3264 §6.1, §7).
    pub send: Vec<Payload>,
    /// Audio codecs that may arrive, under *our* payload types.
    pub receive: Vec<Payload>,
    /// `telephone-event` for sending, under the peer's payload types.
    pub send_events: Vec<EventPayload>,
    /// `telephone-event` that may arrive, under our payload types.
    pub receive_events: Vec<EventPayload>,
    /// Packet duration in milliseconds that the peer would like to receive.
    pub ptime: Option<u16>,
    /// Longest packet in milliseconds that the peer takes.
    pub max_ptime: Option<u16>,
}

/// An `m=` line that is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// Index of the `m=` line, from 0.
    pub line: usize,
    /// Its media type.
    pub media: String,
    /// Why.
    pub reason: RejectReason,
}

/// Why an `m=` line is not in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The offer itself has port 0.
    #[error("it is disabled in the offer")]
    Disabled,
    /// The peer's answer has port 0.
    #[error("the peer rejected it")]
    RejectedByPeer,
    /// Not audio.
    #[error("this kind of media is not supported")]
    UnsupportedMedia,
    /// Another stream of the same kind is in use already.
    #[error("there is one stream of this kind already")]
    AlreadyInUse,
    /// Not `RTP/AVP`.
    #[error("its transport protocol is not supported")]
    UnsupportedTransport,
    /// No audio codec is known to both; telephone-event and comfort noise alone are none.
    #[error("there is no audio codec in common")]
    NoCommonCodec,
    /// No `c=` line applies, or it names no address.
    #[error("it has no usable connection address")]
    NoAddress,
    /// The network type is not `IN`.
    #[error("its network type is not supported")]
    UnsupportedNetwork,
    /// We have no address of the peer's IP version (RFC 6157).
    #[error("there is no local address of its IP version")]
    IncompatibleAddress,
    /// The address is a multicast group.
    #[error("multicast is not supported")]
    Multicast,
}

impl RejectReason {
    /// The warn-code of RFC 3261 §20.43 that a 488 should carry for it.
    pub fn warning(self) -> u16 {
        match self {
            RejectReason::UnsupportedNetwork => 300,
            RejectReason::IncompatibleAddress | RejectReason::NoAddress => 301,
            RejectReason::UnsupportedTransport => 302,
            RejectReason::UnsupportedMedia => 304,
            RejectReason::NoCommonCodec => 305,
            RejectReason::Multicast => 330,
            RejectReason::Disabled | RejectReason::RejectedByPeer | RejectReason::AlreadyInUse => 399,
        }
    }
}

impl Negotiated {
    /// It is kept as long as the session: without room for what does not come.
    pub(super) fn shrink(&mut self) {
        self.streams.shrink_to_fit();
        self.rejected.shrink_to_fit();
        for stream in &mut self.streams {
            stream.send.shrink_to_fit();
            stream.receive.shrink_to_fit();
            stream.send_events.shrink_to_fit();
            stream.receive_events.shrink_to_fit();
        }
    }

    /// The audio stream, if one is in use.
    pub fn audio(&self) -> Option<&MediaStream> {
        self.streams.first()
    }
}

impl MediaStream {
    /// The codec to send with, under the peer's payload type.
    pub fn codec(&self) -> Option<&Payload> {
        self.send.first()
    }

    /// Whether packets may be sent now.
    pub fn may_send(&self) -> bool {
        self.direction.has_send()
    }

    /// Whether packets are expected now.
    pub fn may_receive(&self) -> bool {
        self.direction.has_recv()
    }

    /// The `telephone-event` payload that goes with audio of `clock_rate` Hz (RFC 4733 §2.1).
    pub fn events_for(&self, clock_rate: u32) -> Option<&EventPayload> {
        self.send_events.iter().find(|events| events.clock_rate == clock_rate)
    }

    /// The audio codec of an arriving packet.
    pub fn received(&self, payload_type: u8) -> Option<&Payload> {
        self.receive.iter().find(|payload| payload.payload_type == payload_type)
    }

    /// How long each sent packet should be: the peer's wish within its maximum, 20 ms without one, 200 ms at most.
    pub fn packet_time(&self) -> Duration {
        let longest = self.max_ptime.unwrap_or(LONGEST_PTIME).min(LONGEST_PTIME);
        Duration::from_millis(u64::from(self.ptime.unwrap_or(DEFAULT_PTIME).min(longest)))
    }
}
