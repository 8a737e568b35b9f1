//! Protection profiles: which cipher, which keys, which tags.

/// Octets of an SRTCP authentication tag of the HMAC-SHA1 profiles, also of those with short SRTP tags: a forged report
/// does more than 20 ms of noise (RFC 3711 §5.2, RFC 4568 §6.2.2).
const HMAC_RTCP_TAG: usize = 10;

/// Octets of an AEAD tag (RFC 7714 §10).
pub(super) const AEAD_TAG: usize = 16;

/// Cipher, authentication and key lengths of a context (RFC 3711, RFC 6188, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// AES counter mode with a 128-bit key, SRTP tags of 80 bits: what every implementation has (RFC 3711 §5).
    AesCm128HmacSha1Tag80,
    /// The same with SRTP tags of 32 bits; SRTCP tags keep 80.
    AesCm128HmacSha1Tag32,
    /// AES counter mode with a 192-bit key, SRTP tags of 80 bits (RFC 6188).
    AesCm192HmacSha1Tag80,
    /// The same with SRTP tags of 32 bits; SRTCP tags keep 80.
    AesCm192HmacSha1Tag32,
    /// AES counter mode with a 256-bit key, SRTP tags of 80 bits (RFC 6188).
    AesCm256HmacSha1Tag80,
    /// The same with SRTP tags of 32 bits; SRTCP tags keep 80.
    AesCm256HmacSha1Tag32,
    /// AES in Galois/counter mode with a 128-bit key (RFC 7714).
    AeadAes128Gcm,
    /// AES in Galois/counter mode with a 256-bit key (RFC 7714).
    AeadAes256Gcm,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AesCm128HmacSha1Tag80,
        Self::AesCm128HmacSha1Tag32,
        Self::AesCm256HmacSha1Tag80,
        Self::AesCm256HmacSha1Tag32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::AesCm192HmacSha1Tag80,
        Self::AesCm192HmacSha1Tag32,
    ];

    /// The registered name of the crypto suite (RFC 4568 §6.2, RFC 6188 §5, RFC 7714 §14.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm192HmacSha1Tag80 => "AES_192_CM_HMAC_SHA1_80",
            Self::AesCm192HmacSha1Tag32 => "AES_192_CM_HMAC_SHA1_32",
            Self::AesCm256HmacSha1Tag80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1Tag32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Octets of the master key, and of the session key for encryption.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 | Self::AeadAes128Gcm => 16,
            Self::AesCm192HmacSha1Tag80 | Self::AesCm192HmacSha1Tag32 => 24,
            Self::AesCm256HmacSha1Tag80 | Self::AesCm256HmacSha1Tag32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt, and of the session salt.
    #[must_use]
    pub const fn salt_length(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Octets that protection adds to an RTP packet.
    #[must_use]
    pub const fn rtp_tag_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm192HmacSha1Tag80 | Self::AesCm256HmacSha1Tag80 => 10,
            Self::AesCm128HmacSha1Tag32 | Self::AesCm192HmacSha1Tag32 | Self::AesCm256HmacSha1Tag32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => AEAD_TAG,
        }
    }

    /// Octets of the tag of an RTCP packet; four more, of its index, are added to it.
    #[must_use]
    pub const fn rtcp_tag_length(self) -> usize {
        if self.is_aead() { AEAD_TAG } else { HMAC_RTCP_TAG }
    }

    /// SRTP packets that one master key may protect: 2^48, or 2^31 where the suite says so (RFC 3711 §9.2, RFC 6188 §4,
    /// RFC 7714 §12).
    #[must_use]
    pub const fn max_rtp_packets(self) -> u64 {
        match self {
            Self::AesCm192HmacSha1Tag80
            | Self::AesCm192HmacSha1Tag32
            | Self::AesCm256HmacSha1Tag80
            | Self::AesCm256HmacSha1Tag32 => 1 << 31,
            _ => 1 << 48,
        }
    }

    /// SRTCP packets that one master key may protect: 2^31 (RFC 3711 §9.2).
    #[must_use]
    pub const fn max_rtcp_packets(self) -> u64 {
        1 << 31
    }

    /// Octets behind the master key identifier of an RTP packet (RFC 3711 §3.1): the tag, which an AEAD has within what it
    /// encrypts (RFC 7714 §8.2).
    pub(super) const fn behind_rtp_identifier(self) -> usize {
        if self.is_aead() { 0 } else { self.rtp_tag_length() }
    }

    /// The same of an RTCP packet (RFC 3711 §3.4, RFC 7714 §9).
    pub(super) const fn behind_rtcp_identifier(self) -> usize {
        if self.is_aead() { 0 } else { self.rtcp_tag_length() }
    }

    pub(super) const fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
