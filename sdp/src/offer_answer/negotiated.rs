//! What offer and answer agreed on, as the local side needs to know it.

use std::net::SocketAddr;
use std::time::Duration;

use sdp_types::{Attribute, Candidate, Fingerprint, IceOptions, Setup};

use super::companions::Companion;
use super::layers::AgreedLayers;
use super::profile::Profile;
use crate::attributes::TlsId;
use crate::sdes::SrtpKey;
use crate::{Direction, EventPayload, MediaAddress, MediaKind, Payload};

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
    /// Index of the stream in [`LocalMedia::streams`](super::LocalMedia::streams).
    pub stream: usize,
    /// The media type.
    pub kind: MediaKind,
    /// The profile of RTP; `None` for streams that are not RTP.
    pub profile: Option<Profile>,
    /// What may flow, seen from here. Sending to an unspecified address is already taken out.
    pub direction: Direction,
    /// The peer asked us to stop sending: by `sendonly` or `inactive`, or by the address `0.0.0.0` of old (RFC 3264 §8.4).
    pub held_by_remote: bool,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// Packet duration in milliseconds that the peer would like to receive.
    pub ptime: Option<u16>,
    /// Longest packet in milliseconds that the peer takes.
    pub max_ptime: Option<u16>,
    /// Where the local side told the peer to send RTP.
    pub local: SocketAddr,
    /// Where RTP goes.
    pub remote: MediaAddress,
    /// Where RTCP goes, if the peer takes it anywhere.
    pub remote_rtcp: Option<MediaAddress>,
    /// Codecs to send with, under the *peer's* payload types; the first one should be used (RFC 3264 §6.1, §7). Their
    /// parameters are what the peer takes.
    pub send: Vec<Payload>,
    /// Codecs that may arrive, under *our* payload types, with the parameters that we told.
    pub receive: Vec<Payload>,
    /// `telephone-event` for sending, under the peer's payload types.
    pub send_events: Vec<EventPayload>,
    /// `telephone-event` that may arrive, under our payload types.
    pub receive_events: Vec<EventPayload>,
    /// The keys agreed on by SDES; `None` if media is plain, or its keys come from elsewhere.
    pub keys: Option<Box<StreamKeys>>,
    pub(super) details: Option<Box<Details>>,
}

/// What SDES agreed on for a stream (RFC 4568 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKeys {
    /// The tag of the `a=crypto` line accepted.
    pub tag: u32,
    /// What we send with.
    pub send: SrtpKey,
    /// What the peer sends with, of the same suite.
    pub receive: SrtpKey,
    /// Further keys that the peer may go over to, each named by its [`mki`](SrtpKey::mki), as `receive` is then.
    pub receive_also: Vec<SrtpKey>,
}

/// What few streams have.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Details {
    pub(super) mid: Option<Box<str>>,
    pub(super) bundle: Option<usize>,
    pub(super) synchronized: Vec<usize>,
    pub(super) feedback: Vec<Feedback>,
    pub(super) extensions: Vec<Extension>,
    pub(super) mixed: bool,
    pub(super) formats: Vec<String>,
    pub(super) companions: Vec<Companion>,
    pub(super) layers: Option<Box<AgreedLayers>>,
    pub(super) peer: Option<Box<PeerTransport>>,
}

/// An RTCP feedback message that both sides want (RFC 4585 §4.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Feedback {
    /// The payload type under which the peer wants it, `None` for all.
    pub payload_type: Option<u8>,
    /// The message, such as `nack pli`.
    pub message: String,
}

/// An RTP header extension that both sides know (RFC 8285).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its identifier in packets, the same both ways.
    pub id: u8,
    /// Its data goes encrypted (RFC 6904). Never so in plain RTP, and never beside the same in the clear.
    pub encrypted: bool,
    /// What it is.
    pub uri: String,
    /// Its configuration, if there is one (`extensionattributes`, RFC 8285 §8).
    pub attributes: Option<String>,
    /// Who may use it, seen from here.
    pub direction: Direction,
}

/// What the peer says of transports that this crate does not run: for DTLS-SRTP (RFC 5763) and ICE (RFC 8839), as read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PeerTransport {
    /// `a=fingerprint`.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`.
    pub setup: Option<Setup>,
    /// What we said in `a=setup` ourselves.
    pub local_setup: Option<Setup>,
    /// `a=tls-id`.
    pub tls_id: Option<TlsId>,
    /// `a=ice-ufrag`.
    pub ice_ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub ice_pwd: Option<String>,
    /// `a=ice-options`.
    pub ice_options: Option<IceOptions>,
    /// `a=candidate`.
    pub candidates: Vec<Candidate>,
    /// `a=ice-lite` of the session level.
    pub ice_lite: bool,
    /// `a=end-of-candidates`.
    pub end_of_candidates: bool,
    /// All attributes of its line as they came, if the stream is not RTP: the `a=path` of MSRP and whatever else such
    /// transports say (RFC 4975 §8).
    pub attributes: Vec<Attribute>,
}

impl PeerTransport {
    /// The value of the first of its [`attributes`](Self::attributes) of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.attribute == name)?.value.as_deref()
    }
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
    /// The local side has no stream of this kind.
    #[error("this kind of media is not supported")]
    UnsupportedMedia,
    /// Another stream of the same kind is in use already.
    #[error("there is one stream of this kind already")]
    AlreadyInUse,
    /// Not a transport protocol that the local side has for this kind, or not as secure as it demands.
    #[error("its transport protocol is not supported")]
    UnsupportedTransport,
    /// No codec or format is known to both; telephone-event and comfort noise alone are none.
    #[error("there is no codec in common")]
    NoCommonCodec,
    /// The local side has disabled the stream.
    #[error("it is not wanted now")]
    Declined,
    /// SDES is demanded, and no `a=crypto` line can be used (RFC 4568 §7.1.2); or DTLS without a fingerprint (RFC 5763 §5).
    #[error(
        "it has no usable keys: a known suite with its keys, and no session parameters that are not known; or a fingerprint"
    )]
    NoUsableKeys,
    /// One side wants RTP and RTCP on one port only, the other does not (RFC 8858 §4).
    #[error("RTP and RTCP on one port is demanded by one side only")]
    RtcpMuxRequired,
    /// It can only be had bundled, and no group is agreed on (RFC 9143 §7.3.3).
    #[error("it exists only in a BUNDLE group that is not accepted")]
    BundleRefused,
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
            RejectReason::UnsupportedTransport | RejectReason::NoUsableKeys => 302,
            RejectReason::UnsupportedMedia => 304,
            RejectReason::NoCommonCodec => 305,
            RejectReason::Multicast => 330,
            RejectReason::Disabled
            | RejectReason::RejectedByPeer
            | RejectReason::AlreadyInUse
            | RejectReason::Declined
            | RejectReason::RtcpMuxRequired
            | RejectReason::BundleRefused => 399,
        }
    }
}

impl Negotiated {
    /// The first audio stream in use.
    pub fn audio(&self) -> Option<&MediaStream> {
        self.first(MediaKind::Audio)
    }

    /// The first video stream in use.
    pub fn video(&self) -> Option<&MediaStream> {
        self.first(MediaKind::Video)
    }

    fn first(&self, kind: MediaKind) -> Option<&MediaStream> {
        self.streams.iter().find(|stream| stream.kind == kind)
    }

    /// What was agreed for a stream of [`LocalMedia::streams`](super::LocalMedia::streams), if it is in use.
    pub fn stream(&self, index: usize) -> Option<&MediaStream> {
        self.streams.iter().find(|stream| stream.stream == index)
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

    /// Whether packets are SRTP: with keys from SDES, or from a DTLS handshake.
    pub fn is_secure(&self) -> bool {
        self.keys.is_some() || self.profile.is_some_and(Profile::is_secure)
    }

    /// Whether packets are SRTP and not only authenticated (RFC 4568 §6.3.2).
    pub(super) fn is_encrypted(&self) -> bool {
        super::security::encrypts(self.profile, self.keys.as_deref())
    }

    /// The name of the line (`a=mid`), if it has one.
    pub fn mid(&self) -> Option<&str> {
        self.details.as_ref()?.mid.as_deref()
    }

    /// The line whose addresses and keys this stream shares, itself maybe, if it is in a BUNDLE group (RFC 9143).
    pub fn bundle(&self) -> Option<usize> {
        self.details.as_ref()?.bundle
    }

    /// The RTCP feedback messages that both sides want.
    pub fn feedback(&self) -> &[Feedback] {
        self.details.as_ref().map_or(&[], |details| &details.feedback)
    }

    /// The RTP header extensions that both sides know.
    pub fn extensions(&self) -> &[Extension] {
        self.details.as_ref().map_or(&[], |details| &details.extensions)
    }

    /// Whether header extensions of one byte and of two may stand in one stream (`a=extmap-allow-mixed`, RFC 8285 §6).
    pub fn mixed_extensions(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.mixed)
    }

    /// The formats in common of a stream that is not RTP.
    pub fn formats(&self) -> &[String] {
        self.details.as_ref().map_or(&[], |details| &details.formats)
    }

    /// What the peer says of DTLS and ICE, if the local side brought attributes or [`Protection::Dtls`](super::Protection::Dtls).
    pub fn peer(&self) -> Option<&PeerTransport> {
        self.details.as_ref()?.peer.as_deref()
    }

    /// How long each sent packet should be: the peer's wish within its maximum, 20 ms without one, 200 ms at most.
    pub fn packet_time(&self) -> Duration {
        let longest = self.max_ptime.unwrap_or(LONGEST_PTIME).min(LONGEST_PTIME);
        Duration::from_millis(u64::from(self.ptime.unwrap_or(DEFAULT_PTIME).min(longest)))
    }
}
