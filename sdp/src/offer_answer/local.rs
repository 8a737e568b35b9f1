//! What the local side brings to a negotiation.

use std::net::SocketAddr;

use crate::{Codec, Direction};

/// Most codecs on the local side: the numbers 96–127 must suffice for them (RFC 3551 §6).
pub const MAX_CODECS: usize = 32;

/// The audio that the local side offers and accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where RTP is wanted. An unspecified address (`0.0.0.0`, `::`) tells the peer to send nothing (RFC 3264 §8.4).
    pub address: SocketAddr,
    /// The port for RTCP if it is not the one above RTP (RFC 3605).
    pub rtcp_port: Option<u16>,
    /// An address of the other IP version, for answering peers that have only that one (RFC 6157).
    pub other_family: Option<SocketAddr>,
    /// What can be sent and received, most wanted first; `telephone-event` and the like among them.
    pub codecs: Vec<Codec>,
    /// The wish of the local side. It goes into every offer as it is, and limits every answer (RFC 6337 §5.3).
    pub direction: Direction,
    /// The packet duration that the local side would like to receive, in milliseconds.
    pub ptime: Option<u16>,
}

/// Why a [`LocalMedia`] cannot be negotiated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalMediaError {
    /// Port 0 would mean a rejected stream: bind the socket first.
    #[error("the media port is 0: bind the socket before describing it")]
    PortZero,
    /// [`LocalMedia::other_family`] is of the same IP version as [`LocalMedia::address`].
    #[error("the alternative address {0} is of the same IP version as the first")]
    SameFamily(SocketAddr),
    /// No codec that a stream could live on.
    #[error("there is no audio codec: telephone-event and CN only accompany others")]
    NoAudioCodec,
    /// More than [`MAX_CODECS`].
    #[error("{0} codecs are more than the {MAX_CODECS} that payload types are left for")]
    TooManyCodecs(usize),
    /// The codec's name, clock rate, channels or parameters cannot be written in SDP.
    #[error(
        "codec {0:?} cannot be written: names are tokens, clock rate and channels above 0, parameters one line"
    )]
    InvalidCodec(Codec),
    /// The same codec twice.
    #[error("codec {0} is listed twice")]
    DuplicateCodec(String),
}

impl LocalMedia {
    /// G.711 in both laws and DTMF at 8 kHz, in both directions, at `address`.
    pub fn audio(address: SocketAddr) -> Self {
        LocalMedia {
            address,
            rtcp_port: None,
            other_family: None,
            codecs: vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event(8000)],
            direction: Direction::SendRecv,
            ptime: None,
        }
    }

    /// The same with other codecs, most wanted first.
    #[must_use]
    pub fn with_codecs(self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        LocalMedia { codecs: codecs.into_iter().collect(), ..self }
    }

    /// The same with another direction.
    #[must_use]
    pub fn with_direction(self, direction: Direction) -> Self {
        LocalMedia { direction, ..self }
    }

    pub(super) fn validate(&self) -> Result<(), LocalMediaError> {
        if self.address.port() == 0 || self.other_family.is_some_and(|address| address.port() == 0) {
            return Err(LocalMediaError::PortZero);
        }
        if let Some(other) = self.other_family.filter(|other| other.is_ipv4() == self.address.is_ipv4()) {
            return Err(LocalMediaError::SameFamily(other));
        }
        if self.codecs.len() > MAX_CODECS {
            return Err(LocalMediaError::TooManyCodecs(self.codecs.len()));
        }
        if !self.codecs.iter().any(Codec::is_primary) {
            return Err(LocalMediaError::NoAudioCodec);
        }
        for (index, codec) in self.codecs.iter().enumerate() {
            if !is_writable(codec) {
                return Err(LocalMediaError::InvalidCodec(codec.clone()));
            }
            if self.codecs.iter().take(index).any(|earlier| earlier.matches(codec)) {
                return Err(LocalMediaError::DuplicateCodec(codec.name().to_owned()));
            }
        }
        Ok(())
    }

    /// The address for a peer whose own is `remote`, if there is one of its IP version.
    pub(super) fn address_for(&self, remote: &crate::Host) -> Option<SocketAddr> {
        let wanted_v4 = match remote {
            // A name can have either, and an unspecified address is none: both leave the choice to us.
            crate::Host::Name(_) => return Some(self.address),
            crate::Host::Ip(ip) if ip.is_unspecified() => return Some(self.address),
            crate::Host::Ip(ip) => ip.is_ipv4(),
        };
        [Some(self.address), self.other_family].into_iter().flatten().find(|own| own.is_ipv4() == wanted_v4)
    }
}

fn is_writable(codec: &Codec) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
    let fmtp = codec.fmtp().unwrap_or_default();
    !codec.name().is_empty()
        && codec.name().bytes().all(token)
        && codec.clock_rate() > 0
        && codec.channels() > 0
        && !fmtp.contains(['\r', '\n', '\0'])
}
