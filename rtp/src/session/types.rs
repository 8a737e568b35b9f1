//! What goes in and out of a session: datagrams, media, events, and why not.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::demux::Protocol;
use crate::extension::Elements;
use crate::packet::{BuildError, Header, PacketError};
use crate::rtcp::extended::VoipMetrics;
use crate::rtcp::{Application, RtcpError};
use crate::srtp;

/// Which of the two ports of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The RTP port, which also carries RTCP when multiplexed.
    Rtp,
    /// The RTCP port.
    Rtcp,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The port to send from.
    pub channel: Channel,
    /// Where to.
    pub destination: SocketAddr,
    /// What.
    pub payload: Bytes,
}

/// An accepted RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// Its fixed header.
    pub header: Header,
    /// Sequence number with its cycles; 64 bits never wrap.
    pub extended_sequence: u64,
    /// Its payload without padding.
    pub payload: &'a [u8],
    /// The elements of its header extension (RFC 8285).
    pub elements: Elements<'a>,
}

/// What the application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A source passed probation.
    SourceJoined {
        /// The source.
        ssrc: u32,
    },
    /// A source said BYE or fell silent.
    SourceLeft {
        /// The source.
        ssrc: u32,
        /// BYE (with its reason) or time-out.
        cause: LeaveCause,
    },
    /// Media now goes to this address, and only media from there is heard.
    Latched {
        /// Signalled or learned.
        rtp: SocketAddr,
    },
    /// Somebody else used our SSRC; we continue with another (RFC 3550 §8.2).
    SsrcChanged {
        /// Given up.
        from: u32,
        /// In use.
        to: u32,
    },
    /// The peer reported on our stream; see [`Session::statistics`](super::Session::statistics).
    Reported,
    /// The peer misses packets of ours; who keeps them sends them again (RFC 4585 §6.2.1).
    PacketsMissing {
        /// Who misses them.
        by: u32,
        /// Their sequence numbers.
        missing: Vec<u16>,
    },
    /// The peer needs a picture that stands for itself (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    KeyFrameWanted {
        /// Who needs it.
        by: u32,
    },
    /// The peer wants us to send no more than this (RFC 5104 §4.2.1, and the estimate of receivers known as REMB).
    MaximumBitRate {
        /// Who wants it.
        by: u32,
        /// Bits a second.
        bit_rate: u64,
    },
    /// What the call sounds like over there (RFC 3611 §4.7).
    VoipMetrics(Box<VoipMetrics>),
    /// What another application says to ours (RFC 3550 §6.7).
    Application(Application),
}

/// Why a source is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaveCause {
    /// It said BYE (RFC 3550 §6.6).
    Bye {
        /// The reason it gave.
        reason: Option<String>,
    },
    /// Nothing heard for five intervals (RFC 3550 §6.3.5).
    TimedOut,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Signalling has not said where to.
    #[error("no remote address yet; call set_remote first")]
    NoRemote,
    /// After [`Session::close`](super::Session::close).
    #[error("the session is closed")]
    Closed,
    /// The packet cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Why a datagram was dropped. Counted in [`Discarded`](crate::statistics::Discarded).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// STUN, DTLS or noise.
    #[error("datagram is {0:?}, not RTP or RTCP")]
    Protocol(Protocol),
    /// RTCP on the RTP port without multiplexing (RFC 5761).
    #[error("RTCP on the RTP port, but rtcp-mux was not agreed")]
    NotMultiplexed,
    /// Broken RTP.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Broken RTCP.
    #[error(transparent)]
    Rtcp(#[from] RtcpError),
    /// From an address that is not the peer's; see [`Session::set_remote`](super::Session::set_remote).
    #[error("{from} is not the address of the peer")]
    Foreign {
        /// The sender.
        from: SocketAddr,
    },
    /// The first packets of a new source or after a jump (RFC 3550 appendix A.1).
    #[error("source {ssrc:08x} is on probation")]
    Probation {
        /// The source.
        ssrc: u32,
    },
    /// Too many sources.
    #[error("source {ssrc:08x} exceeds the limit of sources")]
    TooManySources {
        /// The source.
        ssrc: u32,
    },
    /// Our own SSRC.
    #[error("packet carries our own SSRC {ssrc:08x}")]
    Looped {
        /// The source.
        ssrc: u32,
    },
    /// Not protected as was agreed: forged, in the clear, or there before (RFC 3711 §3.3).
    #[error(transparent)]
    Srtp(#[from] srtp::Error),
    /// After [`Session::close`](super::Session::close).
    #[error("the session is closed")]
    Closed,
}
