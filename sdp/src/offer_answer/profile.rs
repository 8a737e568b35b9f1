//! The transport of an RTP stream, as the `m=` line names it.

use std::fmt;

/// A profile of RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551).
    Avp,
    /// `RTP/AVPF`: with early feedback (RFC 4585).
    Avpf,
    /// `RTP/SAVP`: secure (RFC 3711), keys by SDES.
    Savp,
    /// `RTP/SAVPF`: both (RFC 5124), keys by SDES.
    Savpf,
    /// `UDP/TLS/RTP/SAVP`: secure, keys by DTLS (RFC 5764).
    DtlsSavp,
    /// `UDP/TLS/RTP/SAVPF`.
    DtlsSavpf,
}

impl Profile {
    const ALL: [Profile; 6] =
        [Profile::Avp, Profile::Savp, Profile::Avpf, Profile::Savpf, Profile::DtlsSavpf, Profile::DtlsSavp];

    /// The protocol of the `m=` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Avp => "RTP/AVP",
            Profile::Avpf => "RTP/AVPF",
            Profile::Savp => "RTP/SAVP",
            Profile::Savpf => "RTP/SAVPF",
            Profile::DtlsSavp => "UDP/TLS/RTP/SAVP",
            Profile::DtlsSavpf => "UDP/TLS/RTP/SAVPF",
        }
    }

    /// The profile of that name, letter case aside.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether packets are SRTP for sure. Those of the others may still be, by `a=crypto`.
    pub fn is_secure(self) -> bool {
        !matches!(self, Profile::Avp | Profile::Avpf)
    }

    /// Whether keys come from a DTLS handshake.
    pub fn is_dtls(self) -> bool {
        matches!(self, Profile::DtlsSavp | Profile::DtlsSavpf)
    }

    /// Whether RTCP feedback may be early.
    pub fn has_feedback(self) -> bool {
        matches!(self, Profile::Avpf | Profile::Savpf | Profile::DtlsSavpf)
    }

    /// Whether an answer with `other` is one to this profile. RFC 3264 §6.1 wants the same; that the F is left out is seen and
    /// costs nothing but early feedback.
    pub(super) fn is_answered_by(self, other: Profile) -> bool {
        self.is_secure() == other.is_secure() && self.is_dtls() == other.is_dtls()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
