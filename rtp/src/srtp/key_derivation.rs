//! Session keys out of the master key (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11), with a key derivation rate of zero:
//! they are derived once.

use zeroize::Zeroizing;

use super::counter_mode::CounterMode;
use super::profile::Profile;

/// Octets of the HMAC-SHA1 session key (RFC 3711 §5.2).
pub(super) const AUTHENTICATION_KEY: usize = 20;

/// A master key with its salt, as key management agrees on it (RFC 3711 §3.2.1).
///
/// One per direction: two ends that send with the same key and, by chance, the same SSRC reveal what they say. Its octets
/// are erased when it is dropped, and `Debug` does not show them.
#[derive(Clone)]
pub struct MasterKey {
    key: Zeroizing<[u8; 32]>,
    /// On the left of 16 octets. A salt of 96 bits is padded with zeros on its right, which RFC 7714 leaves open and all
    /// implementations do.
    salt: Zeroizing<[u8; 16]>,
    key_length: usize,
    salt_length: usize,
}

/// A master key or salt of the wrong length for the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{profile} takes a master key of {} octets and a salt of {}; {key} and {salt} given",
    profile.key_length(), profile.salt_length()
)]
pub struct KeyError {
    /// The profile that was asked for.
    pub profile: Profile,
    /// Octets of the key given.
    pub key: usize,
    /// Octets of the salt given.
    pub salt: usize,
}

impl MasterKey {
    /// Takes a copy of key and salt.
    ///
    /// # Errors
    /// [`KeyError`] unless both have the lengths of the profile.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        let error = KeyError { profile, key: key.len(), salt: salt.len() };
        let (key_length, salt_length) = (profile.key_length(), profile.salt_length());
        if key.len() != key_length || salt.len() != salt_length {
            return Err(error);
        }
        let mut master =
            Self { key: Zeroizing::new([0; 32]), salt: Zeroizing::new([0; 16]), key_length, salt_length };
        master.key.get_mut(..key_length).ok_or(error)?.copy_from_slice(key);
        master.salt.get_mut(..salt_length).ok_or(error)?.copy_from_slice(salt);
        Ok(master)
    }

    /// From key and salt in one piece, as `inline:` carries them (RFC 4568 §6.1).
    ///
    /// # Errors
    /// [`KeyError`] unless there are exactly as many octets as the profile has.
    pub fn from_key_and_salt(profile: Profile, octets: &[u8]) -> Result<Self, KeyError> {
        let (key, salt) = octets.split_at_checked(profile.key_length()).unwrap_or((octets, &[]));
        Self::new(profile, key, salt)
    }

    pub(super) fn check(&self, profile: Profile) -> Result<(), KeyError> {
        if self.key_length == profile.key_length() && self.salt_length == profile.salt_length() {
            return Ok(());
        }
        Err(KeyError { profile, key: self.key_length, salt: self.salt_length })
    }

    /// The pseudo-random function of the profile's cipher (RFC 3711 §4.3.3).
    fn derive(&self, label: u8, output: &mut [u8]) {
        // The label stands left of a 48-bit index, which is zero, and the whole is shifted by 16 bits.
        let start = u128::from_be_bytes(*self.salt) ^ (u128::from(label) << 64);
        CounterMode::new(&self.key, self.key_length).apply(start, output);
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MasterKey").field("key_length", &self.key_length).finish_non_exhaustive()
    }
}

/// Whose keys are derived; the value is the label of its encryption key (RFC 3711 §4.3.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Rtp = 0,
    Rtcp = 3,
}

/// The labels of the keys for elements of header extensions (RFC 6904 §3).
const HEADER_ENCRYPTION: u8 = 6;
const HEADER_SALT: u8 = 7;

/// The keys for elements of header extensions: of the same lengths as those of the packet itself (RFC 6904 §3).
pub(super) struct HeaderKeys {
    pub(super) encryption: Zeroizing<[u8; 32]>,
    /// On the left of 16 octets. That of an AEAD is two octets shorter than AES in counter mode has it, which encrypts the elements
    /// there too (RFC 7714 §8.3); no RFC says where zeros fill it up, and libsrtp does so on the right.
    pub(super) salt: Zeroizing<[u8; 16]>,
}

impl HeaderKeys {
    pub(super) fn derive(profile: Profile, master: &MasterKey) -> Self {
        let mut keys = Self { encryption: Zeroizing::new([0; 32]), salt: Zeroizing::new([0; 16]) };
        let (encryption, _) = keys.encryption.split_at_mut(profile.key_length());
        master.derive(HEADER_ENCRYPTION, encryption);
        let (salt, _) = keys.salt.split_at_mut(profile.salt_length());
        master.derive(HEADER_SALT, salt);
        keys
    }
}

/// The session keys of SRTP or of SRTCP.
pub(super) struct SessionKeys {
    pub(super) encryption: Zeroizing<[u8; 32]>,
    /// On the left of 16 octets.
    pub(super) salt: Zeroizing<[u8; 16]>,
    pub(super) authentication: Zeroizing<[u8; AUTHENTICATION_KEY]>,
}

impl SessionKeys {
    pub(super) fn derive(profile: Profile, master: &MasterKey, stream: Stream) -> Self {
        let mut keys = Self {
            encryption: Zeroizing::new([0; 32]),
            salt: Zeroizing::new([0; 16]),
            authentication: Zeroizing::new([0; AUTHENTICATION_KEY]),
        };
        let label = stream as u8;
        if let Some(key) = keys.encryption.get_mut(..profile.key_length()) {
            master.derive(label, key);
        }
        if !profile.is_aead() {
            master.derive(label + 1, &mut *keys.authentication);
        }
        if let Some(salt) = keys.salt.get_mut(..profile.salt_length()) {
            master.derive(label + 2, salt);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::test_support::hex;

    #[test]
    fn rfc3711_b3_session_keys_of_a_128_bit_master_key() {
        let profile = Profile::AesCm128HmacSha1Tag80;
        let octets = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::from_key_and_salt(profile, &octets).unwrap();
        let keys = SessionKeys::derive(profile, &master, Stream::Rtp);
        assert_eq!(keys.encryption[..16], hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(keys.salt[..14], hex("30cbbc08863d8c85d49db34a9ae1"));
        let mut long = [0; 94];
        master.derive(1, &mut long);
        assert_eq!(
            long[..],
            hex(concat!(
                "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef72270",
                "986371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2"
            ))
        );
        assert_eq!(keys.authentication[..], long[..20]);
    }

    #[test]
    fn rfc6904_a_1_keys_for_elements_of_header_extensions() {
        let profile = Profile::AesCm128HmacSha1Tag80;
        let octets = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::from_key_and_salt(profile, &octets).unwrap();
        let keys = HeaderKeys::derive(profile, &master);
        assert_eq!(keys.encryption[..16], hex("549752054d6fb708622c4a2e596a1b93"));
        assert_eq!(keys.salt[..], hex("ab01818174c40d39a3781f7c2d270000"));
    }

    #[test]
    fn rfc6188_7_2_session_keys_of_a_256_bit_master_key() {
        let profile = Profile::AesCm256HmacSha1Tag80;
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let master = MasterKey::new(profile, &key, &hex("3b04803de51ee7c96423ab5b78d2")).unwrap();
        let keys = SessionKeys::derive(profile, &master, Stream::Rtp);
        let expected = hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4");
        assert_eq!(keys.encryption[..], expected);
        assert_eq!(keys.salt[..14], hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(keys.authentication[..], hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    #[test]
    fn rfc6188_7_4_session_keys_of_a_192_bit_master_key() {
        let profile = Profile::AesCm192HmacSha1Tag80;
        let key = hex("73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1");
        let master = MasterKey::new(profile, &key, &hex("c8522f3acd4ce86d5add78edbb11")).unwrap();
        let keys = SessionKeys::derive(profile, &master, Stream::Rtp);
        assert_eq!(keys.encryption[..24], hex("31874736a8f1143870c26e4857d8a5b2c4a354407faadabb"));
        assert_eq!(keys.salt[..14], hex("2372b82d639b6d8503a47adc0a6c"));
        assert_eq!(keys.authentication[..], hex("355b10973cd95b9eacf4061c7e1a7151e7cfbfcb"));
    }

    #[test]
    fn keys_of_the_wrong_length_are_refused_and_none_is_ever_shown() {
        for profile in Profile::ALL {
            let whole = profile.key_length() + profile.salt_length();
            for length in 0..60 {
                let master = MasterKey::from_key_and_salt(profile, &vec![0xa7; length]);
                assert_eq!(master.is_ok(), length == whole, "{profile} {length}");
                if let Ok(master) = master {
                    assert!(!format!("{master:?}").contains("167"));
                }
            }
        }
    }
}
