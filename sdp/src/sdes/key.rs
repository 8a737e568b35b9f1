//! A master key with its salt.

use std::fmt;

use zeroize::Zeroizing;

use super::{CryptoSuite, Mki};

/// Longest key and salt of any suite: 256 bits of AES in counter mode.
const LONGEST: usize = 46;

/// A master key and master salt for SRTP in one direction, and the suite they are for. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKey {
    suite: CryptoSuite,
    lifetime: Option<u64>,
    mki: Option<Mki>,
    unencrypted: Unencrypted,
    /// Key, then salt, then zeros.
    octets: Zeroizing<[u8; LONGEST]>,
}

/// What is authenticated under a key and not encrypted (RFC 4568 §6.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Unencrypted {
    /// `UNENCRYPTED_SRTP`.
    pub srtp: bool,
    /// `UNENCRYPTED_SRTCP`.
    pub srtcp: bool,
}

impl Unencrypted {
    /// Whether anything is.
    pub fn any(self) -> bool {
        self.srtp || self.srtcp
    }
}

/// Key material of the wrong length for its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{suite} takes {} octets of master key and salt; {given} given", suite.key_and_salt_length())]
pub struct KeyLengthError {
    /// The suite.
    pub suite: CryptoSuite,
    /// Octets given.
    pub given: usize,
}

impl SrtpKey {
    /// Takes a copy of `key_and_salt`, the concatenated master key and salt as `inline:` carries them (RFC 4568 §6.1).
    ///
    /// # Errors
    /// [`KeyLengthError`] if the length is not that of the suite.
    pub fn new(suite: CryptoSuite, key_and_salt: &[u8]) -> Result<Self, KeyLengthError> {
        let mut octets = Zeroizing::new([0; LONGEST]);
        match octets.get_mut(..key_and_salt.len()) {
            Some(place) if key_and_salt.len() == suite.key_and_salt_length() => {
                place.copy_from_slice(key_and_salt);
                Ok(Self::plain(suite, octets))
            }
            _ => Err(KeyLengthError { suite, given: key_and_salt.len() }),
        }
    }

    /// A fresh key: `fill` puts random octets into the place it is given. They must come from a cryptographic source
    /// (RFC 4568 §6.1), and never be given to another stream.
    pub fn generate(suite: CryptoSuite, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut octets = Zeroizing::new([0; LONGEST]);
        if let Some(place) = octets.get_mut(..suite.key_and_salt_length()) {
            fill(place);
        }
        Self::plain(suite, octets)
    }

    fn plain(suite: CryptoSuite, octets: Zeroizing<[u8; LONGEST]>) -> Self {
        SrtpKey { suite, lifetime: None, mki: None, unencrypted: Unencrypted::default(), octets }
    }

    /// The same key, named in each packet (RFC 4568 §6.1).
    #[must_use]
    pub fn with_mki(self, mki: Mki) -> Self {
        SrtpKey { mki: Some(mki), ..self }
    }

    /// The same key for packets of which these are not encrypted. Both sides must say so.
    #[must_use]
    pub fn with_unencrypted(self, unencrypted: Unencrypted) -> Self {
        SrtpKey { unencrypted, ..self }
    }

    /// What names it in packets, if anything does.
    pub fn mki(&self) -> Option<Mki> {
        self.mki
    }

    /// What is not encrypted under it.
    pub fn unencrypted(&self) -> Unencrypted {
        self.unencrypted
    }

    /// The same key, to be used for at most `packets` SRTP or SRTCP packets.
    #[must_use]
    pub fn with_lifetime(self, packets: u64) -> Self {
        SrtpKey { lifetime: Some(packets), ..self }
    }

    /// The suite.
    pub fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// The master key.
    pub fn key(&self) -> &[u8] {
        self.octets.get(..self.suite.key_length()).unwrap_or_default()
    }

    /// The master salt.
    pub fn salt(&self) -> &[u8] {
        self.octets.get(self.suite.key_length()..self.suite.key_and_salt_length()).unwrap_or_default()
    }

    /// Master key and salt, one behind the other.
    pub fn key_and_salt(&self) -> &[u8] {
        self.octets.get(..self.suite.key_and_salt_length()).unwrap_or_default()
    }

    /// Most SRTP or SRTCP packets it may protect, if stated; else what the suite allows (RFC 4568 §6.1).
    pub fn lifetime(&self) -> Option<u64> {
        self.lifetime
    }

    /// Whether the key material is the same, whatever the suite and lifetime.
    pub(crate) fn is_same_secret(&self, other: &SrtpKey) -> bool {
        self.octets == other.octets
    }
}

impl fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKey")
            .field("suite", &self.suite)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_salt_have_the_lengths_of_the_suite() {
        for (suite, key, salt) in [
            (CryptoSuite::AesCm128HmacSha1_80, 16, 14),
            (CryptoSuite::AesCm192HmacSha1_32, 24, 14),
            (CryptoSuite::AesCm256HmacSha1_80, 32, 14),
            (CryptoSuite::AeadAes128Gcm, 16, 12),
            (CryptoSuite::AeadAes256Gcm, 32, 12),
        ] {
            let made = SrtpKey::generate(suite, |octets| {
                octets.iter_mut().enumerate().for_each(|(i, octet)| *octet = u8::try_from(i).unwrap());
            });
            assert_eq!((made.key().len(), made.salt().len()), (key, salt));
            assert_eq!(usize::from(made.salt()[0]), key);
            assert_eq!(SrtpKey::new(suite, made.key_and_salt()).unwrap(), made);
            assert_eq!(SrtpKey::new(suite, &[1; 29]), Err(KeyLengthError { suite, given: 29 }));
            assert_eq!(SrtpKey::new(suite, &[1; 99]).unwrap_err().given, 99);
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let text = format!("{:?}", SrtpKey::new(CryptoSuite::AesCm128HmacSha1_80, &[77; 30]).unwrap());
        assert!(text.contains("AesCm128") && !text.contains("77"), "{text}");
    }
}
