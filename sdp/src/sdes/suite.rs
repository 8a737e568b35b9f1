//! The crypto suites that we can agree on.

use std::fmt;

/// A crypto suite for SRTP and SRTCP (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.1), most wanted by most peers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CryptoSuite {
    /// AES in counter mode with 128 bits, HMAC-SHA1 with a tag of 80 bits: what every implementation has.
    AesCm128HmacSha1_80,
    /// The same with a tag of 32 bits for SRTP (SRTCP keeps 80).
    AesCm128HmacSha1_32,
    /// AES in counter mode with 192 bits, HMAC-SHA1 with a tag of 80 bits.
    AesCm192HmacSha1_80,
    /// The same with a tag of 32 bits for SRTP.
    AesCm192HmacSha1_32,
    /// AES in counter mode with 256 bits, HMAC-SHA1 with a tag of 80 bits.
    AesCm256HmacSha1_80,
    /// The same with a tag of 32 bits for SRTP.
    AesCm256HmacSha1_32,
    /// AES in Galois/counter mode with 128 bits.
    AeadAes128Gcm,
    /// AES in Galois/counter mode with 256 bits.
    AeadAes256Gcm,
}

impl CryptoSuite {
    /// All suites.
    pub const ALL: [CryptoSuite; 8] = [
        CryptoSuite::AesCm128HmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32,
        CryptoSuite::AesCm192HmacSha1_80,
        CryptoSuite::AesCm192HmacSha1_32,
        CryptoSuite::AesCm256HmacSha1_80,
        CryptoSuite::AesCm256HmacSha1_32,
        CryptoSuite::AeadAes128Gcm,
        CryptoSuite::AeadAes256Gcm,
    ];

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            CryptoSuite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            CryptoSuite::AesCm192HmacSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            CryptoSuite::AesCm192HmacSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            CryptoSuite::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            CryptoSuite::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            CryptoSuite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            CryptoSuite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of that name, letter case aside.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Octets of the master key.
    pub fn key_length(self) -> usize {
        match self {
            CryptoSuite::AesCm128HmacSha1_80
            | CryptoSuite::AesCm128HmacSha1_32
            | CryptoSuite::AeadAes128Gcm => 16,
            CryptoSuite::AesCm192HmacSha1_80 | CryptoSuite::AesCm192HmacSha1_32 => 24,
            CryptoSuite::AesCm256HmacSha1_80
            | CryptoSuite::AesCm256HmacSha1_32
            | CryptoSuite::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt: 14 in counter mode (RFC 3711 §8.2, RFC 6188 §2), 12 in Galois/counter mode
    /// (RFC 7714 §12).
    pub fn salt_length(self) -> usize {
        match self {
            CryptoSuite::AeadAes128Gcm | CryptoSuite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Whether encryption and authentication are one (RFC 7714).
    pub fn is_aead(self) -> bool {
        matches!(self, CryptoSuite::AeadAes128Gcm | CryptoSuite::AeadAes256Gcm)
    }

    /// Octets of master key and salt together: what `inline:` carries.
    pub fn key_and_salt_length(self) -> usize {
        self.key_length().saturating_add(self.salt_length())
    }
}

impl fmt::Display for CryptoSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
