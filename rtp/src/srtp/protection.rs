//! Session keys at work on one packet: encryption, tag, verification. Which packet it is, others decide.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit as _, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::Error;
use super::counter_mode::CounterMode;
use super::key_derivation::{MasterKey, SessionKeys, Stream};
use super::profile::{AEAD_TAG, Profile};

/// Octets of the first RTCP header with its SSRC, which are never encrypted (RFC 3711 §3.4).
pub(super) const RTCP_CLEAR: usize = 8;

/// Octets of the E bit and the SRTCP index (RFC 3711 §3.4).
pub(super) const RTCP_INDEX: usize = 4;

/// The E bit beside the 31 bits of the SRTCP index.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// The keys of SRTP or of SRTCP, expanded once.
pub(super) enum Protection {
    CounterMode {
        cipher: CounterMode,
        /// Has taken the key in; a packet continues a copy of it.
        mac: Hmac<Sha1>,
        salt: u128,
        tag_length: usize,
    },
    Gcm {
        cipher: Gcm,
        salt: u128,
    },
}

/// AES-GCM of both key lengths.
pub(super) enum Gcm {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

impl Gcm {
    fn seal(
        &self,
        nonce: &Nonce<aes_gcm::aead::consts::U12>,
        clear: &[u8],
        secret: &mut [u8],
    ) -> Result<Tag, Error> {
        match self {
            Self::Aes128(cipher) => cipher.encrypt_inout_detached(nonce, clear, secret.into()),
            Self::Aes256(cipher) => cipher.encrypt_inout_detached(nonce, clear, secret.into()),
        }
        // Longer than 64 GiB: no packet is.
        .map_err(|_| Error::TooLong { length: clear.len() })
    }

    /// Leaves `secret` as it is unless the tag is right.
    fn open(
        &self,
        nonce: &Nonce<aes_gcm::aead::consts::U12>,
        clear: &[u8],
        secret: &mut [u8],
        tag: &[u8; AEAD_TAG],
    ) -> Result<(), Error> {
        match self {
            Self::Aes128(cipher) => cipher.decrypt_inout_detached(nonce, clear, secret.into(), tag.into()),
            Self::Aes256(cipher) => cipher.decrypt_inout_detached(nonce, clear, secret.into(), tag.into()),
        }
        .map_err(|_| Error::AuthenticationFailed)
    }
}

/// Where a packet stands: what its initialization vector is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) ssrc: u32,
    /// 48 bits in RTP, 31 in RTCP.
    pub(super) index: u64,
}

impl Position {
    /// RFC 3711 §4.1.1.
    pub(super) fn counter(self, salt: u128) -> u128 {
        salt ^ (u128::from(self.ssrc) << 64) ^ (u128::from(self.index) << 16)
    }

    /// RFC 7714 §8.1 and §9.1: the same sum two octets further left, in twelve octets.
    fn nonce(self, salt: u128) -> Nonce<aes_gcm::aead::consts::U12> {
        let sum = salt ^ (u128::from(self.ssrc) << 80) ^ (u128::from(self.index) << 32);
        let [octets @ .., _, _, _, _] = sum.to_be_bytes();
        octets.into()
    }

    /// What is authenticated behind an RTP packet (RFC 3711 §4.2).
    fn roll_over_counter(self) -> [u8; 4] {
        ((self.index >> 16) as u32).to_be_bytes()
    }
}

impl Protection {
    pub(super) fn new(profile: Profile, master: &MasterKey, stream: Stream) -> Self {
        let tag_length = match stream {
            Stream::Rtp => profile.rtp_tag_length(),
            Stream::Rtcp => profile.rtcp_tag_length(),
        };
        Self::with_session_keys(profile, &SessionKeys::derive(profile, master, stream), tag_length)
    }

    fn with_session_keys(profile: Profile, keys: &SessionKeys, tag_length: usize) -> Self {
        let salt = u128::from_be_bytes(*keys.salt);
        match (profile, keys.encryption.first_chunk::<16>()) {
            (Profile::AeadAes128Gcm, Some(key)) => {
                Self::Gcm { cipher: Gcm::Aes128(Box::new(Aes128Gcm::new(key.into()))), salt }
            }
            (Profile::AeadAes256Gcm, _) => {
                Self::Gcm { cipher: Gcm::Aes256(Box::new(Aes256Gcm::new((&*keys.encryption).into()))), salt }
            }
            _ => {
                // A key shorter than a block is padded with zeros (RFC 2104 §2).
                let mut block = zeroize::Zeroizing::new([0; 64]);
                for (to, from) in block.iter_mut().zip(keys.authentication.iter()) {
                    *to = *from;
                }
                Self::CounterMode {
                    cipher: CounterMode::new(&keys.encryption, profile.key_length()),
                    mac: Hmac::new((&*block).into()),
                    salt,
                    tag_length,
                }
            }
        }
    }

    /// Encrypts what follows the header and adds the tag (RFC 3711 §3.3, RFC 7714 §8.2).
    pub(super) fn seal_rtp(&self, packet: &mut Vec<u8>, header: usize, at: Position) -> Result<(), Error> {
        let too_short = Error::TooShort { length: packet.len(), needed: header };
        let (clear, secret) = packet.split_at_mut_checked(header).ok_or(too_short)?;
        match self {
            Self::CounterMode { cipher, mac, salt, tag_length } => {
                cipher.apply(at.counter(*salt), secret);
                let tag = tag_of(mac, &[packet, &at.roll_over_counter()]);
                packet.extend(tag.iter().take(*tag_length));
            }
            Self::Gcm { cipher, salt } => {
                let tag = cipher.seal(&at.nonce(*salt), clear, secret)?;
                packet.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Verifies, then decrypts and removes the tag; a packet that is refused stays as it is.
    pub(super) fn open_rtp(&self, packet: &mut Vec<u8>, header: usize, at: Position) -> Result<(), Error> {
        let length = packet.len();
        match self {
            Self::CounterMode { cipher, mac, salt, tag_length } => {
                let too_short = Error::TooShort { length, needed: header + tag_length };
                let end = length.checked_sub(*tag_length).filter(|end| *end >= header).ok_or(too_short)?;
                let (sealed, tag) = packet.split_at_mut_checked(end).ok_or(too_short)?;
                verify(mac, &[sealed, &at.roll_over_counter()], tag)?;
                cipher.apply(at.counter(*salt), sealed.get_mut(header..).ok_or(too_short)?);
                packet.truncate(end);
            }
            Self::Gcm { cipher, salt } => {
                let too_short = Error::TooShort { length, needed: header + AEAD_TAG };
                let (clear, rest) = packet.split_at_mut_checked(header).ok_or(too_short)?;
                let (secret, tag) = rest.split_last_chunk_mut::<AEAD_TAG>().ok_or(too_short)?;
                cipher.open(&at.nonce(*salt), clear, secret, tag)?;
                packet.truncate(length - AEAD_TAG);
            }
        }
        Ok(())
    }

    /// Encrypts what follows the first SSRC, if `encrypt`, and adds index and tag (RFC 3711 §3.4, RFC 7714 §9).
    pub(super) fn seal_rtcp(&self, packet: &mut Vec<u8>, encrypt: bool, at: Position) -> Result<(), Error> {
        let too_short = Error::TooShort { length: packet.len(), needed: RTCP_CLEAR };
        let flag = if encrypt { ENCRYPTED } else { 0 };
        let trailer = (flag | at.index as u32).to_be_bytes();
        let (clear, secret) = packet.split_at_mut_checked(RTCP_CLEAR).ok_or(too_short)?;
        match self {
            Self::CounterMode { cipher, mac, salt, tag_length } => {
                if encrypt {
                    cipher.apply(at.counter(*salt), secret);
                }
                packet.extend_from_slice(&trailer);
                let tag = tag_of(mac, &[packet]);
                packet.extend(tag.iter().take(*tag_length));
            }
            Self::Gcm { cipher, salt } => {
                let nonce = at.nonce(*salt);
                let tag = if encrypt {
                    cipher.seal(&nonce, &[clear, &trailer[..]].concat(), secret)?
                } else {
                    cipher.seal(&nonce, &[packet, &trailer[..]].concat(), &mut [])?
                };
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&trailer);
            }
        }
        Ok(())
    }

    /// Verifies, then decrypts if the E bit is set, and removes index and tag; a packet that is refused stays as it is.
    pub(super) fn open_rtcp(&self, packet: &mut Vec<u8>, trailer: u32, at: Position) -> Result<(), Error> {
        let length = packet.len();
        let encrypted = trailer & ENCRYPTED != 0;
        let too_short = Error::TooShort { length, needed: self.min_rtcp() };
        let end =
            length.checked_sub(self.rtcp_overhead()).filter(|end| *end >= RTCP_CLEAR).ok_or(too_short)?;
        match self {
            Self::CounterMode { cipher, mac, salt, .. } => {
                let (sealed, tag) = packet.split_at_mut_checked(end + RTCP_INDEX).ok_or(too_short)?;
                verify(mac, &[sealed], tag)?;
                if encrypted {
                    cipher.apply(at.counter(*salt), sealed.get_mut(RTCP_CLEAR..end).ok_or(too_short)?);
                }
            }
            Self::Gcm { cipher, salt } => {
                let nonce = at.nonce(*salt);
                let (body, rest) = packet.split_at_mut_checked(end).ok_or(too_short)?;
                let tag = rest.first_chunk::<AEAD_TAG>().ok_or(too_short)?;
                let trailer = trailer.to_be_bytes();
                if encrypted {
                    let (clear, secret) = body.split_at_mut_checked(RTCP_CLEAR).ok_or(too_short)?;
                    cipher.open(&nonce, &[clear, &trailer[..]].concat(), secret, tag)?;
                } else {
                    cipher.open(&nonce, &[body, &trailer[..]].concat(), &mut [], tag)?;
                }
            }
        }
        packet.truncate(end);
        Ok(())
    }

    /// The E bit and index of a protected RTCP packet: before the tag of HMAC, behind that of an AEAD.
    pub(super) fn rtcp_trailer(&self, packet: &[u8]) -> Result<u32, Error> {
        let too_short = Error::TooShort { length: packet.len(), needed: self.min_rtcp() };
        if packet.len() < self.min_rtcp() {
            return Err(too_short);
        }
        let behind = match self {
            Self::CounterMode { tag_length, .. } => *tag_length,
            Self::Gcm { .. } => 0,
        };
        let before = packet.get(..packet.len() - behind).ok_or(too_short)?;
        before.last_chunk().map(|octets| u32::from_be_bytes(*octets)).ok_or(too_short)
    }

    fn rtcp_overhead(&self) -> usize {
        RTCP_INDEX
            + match self {
                Self::CounterMode { tag_length, .. } => *tag_length,
                Self::Gcm { .. } => AEAD_TAG,
            }
    }

    fn min_rtcp(&self) -> usize {
        RTCP_CLEAR + self.rtcp_overhead()
    }
}

fn tag_of(mac: &Hmac<Sha1>, parts: &[&[u8]]) -> [u8; 20] {
    feed(mac, parts).finalize().into_bytes().into()
}

/// Compares in constant time.
fn verify(mac: &Hmac<Sha1>, parts: &[&[u8]], tag: &[u8]) -> Result<(), Error> {
    feed(mac, parts).verify_truncated_left(tag).map_err(|_| Error::AuthenticationFailed)
}

fn feed(mac: &Hmac<Sha1>, parts: &[&[u8]]) -> Hmac<Sha1> {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::test_support::{hex, key};
    use zeroize::Zeroizing;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    /// The session key and the salt "Quid pro quo" of RFC 7714 §16.
    fn gcm(profile: Profile) -> Protection {
        let keys = SessionKeys {
            encryption: key(&KEY[..profile.key_length() * 2]),
            salt: Zeroizing::new(*b"Quid pro quo\0\0\0\0"),
            authentication: Zeroizing::new([0; 20]),
        };
        Protection::with_session_keys(profile, &keys, AEAD_TAG)
    }

    #[test]
    fn rfc7714_16_srtp_with_both_key_lengths() {
        let plain = concat!(
            "8040f17b8041f8d35501a0b2",
            "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
        );
        for (profile, sealed) in [
            (
                Profile::AeadAes128Gcm,
                concat!(
                    "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833",
                    "899d7f27beb16a9152cf765ee4390cce"
                ),
            ),
            (
                Profile::AeadAes256Gcm,
                concat!(
                    "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b",
                    "7aa3db36dfffd6b0f9bb7878d7a76c13"
                ),
            ),
        ] {
            let at = Position { ssrc: 0x5501_a0b2, index: 0xf17b };
            let mut packet = hex(plain);
            gcm(profile).seal_rtp(&mut packet, 12, at).unwrap();
            assert_eq!(packet, hex(sealed), "{profile}");
            gcm(profile).open_rtp(&mut packet, 12, at).unwrap();
            assert_eq!(packet, hex(plain), "{profile}");
        }
    }

    #[test]
    fn rfc7714_16_1_3_and_16_2_3_a_packet_that_is_all_header_is_tagged() {
        let plain = concat!(
            "8040f17b8041f8d35501a0b2",
            "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
        );
        for (profile, tag) in [
            (Profile::AeadAes128Gcm, "22493f82d2bce397e9d79e3b19aa4216"),
            (Profile::AeadAes256Gcm, "a866d5910f887463067ceefec45215d4"),
        ] {
            let at = Position { ssrc: 0x5501_a0b2, index: 0xf17b };
            let mut packet = hex(plain);
            gcm(profile).seal_rtp(&mut packet, 50, at).unwrap();
            assert_eq!(packet, [hex(plain), hex(tag)].concat(), "{profile}");
            gcm(profile).open_rtp(&mut packet, 50, at).unwrap();
            assert_eq!(packet, hex(plain), "{profile}");
        }
    }

    #[test]
    fn rfc7714_17_srtcp_encrypted_and_only_tagged() {
        let plain = concat!(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61",
            "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
        );
        for (profile, encrypt, sealed) in [
            (
                Profile::AeadAes128Gcm,
                true,
                concat!(
                    "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded",
                    "0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
                ),
            ),
            (
                Profile::AeadAes256Gcm,
                true,
                concat!(
                    "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de047",
                    "6f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4"
                ),
            ),
            (
                Profile::AeadAes128Gcm,
                false,
                concat!(
                    "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeef",
                    "deadbeef841dd9683dd78ec92ae58790125f62b3000005d4"
                ),
            ),
            (
                Profile::AeadAes256Gcm,
                false,
                concat!(
                    "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeef",
                    "deadbeef91db4afbfeee5a978fab4393ed2615fe000005d4"
                ),
            ),
        ] {
            let at = Position { ssrc: 0x4d61_7273, index: 0x5d4 };
            let mut packet = hex(plain);
            gcm(profile).seal_rtcp(&mut packet, encrypt, at).unwrap();
            assert_eq!(packet, hex(sealed), "{profile} {encrypt}");
            let trailer = gcm(profile).rtcp_trailer(&packet).unwrap();
            assert_eq!(trailer & !ENCRYPTED, 0x5d4);
            gcm(profile).open_rtcp(&mut packet, trailer, at).unwrap();
            assert_eq!(packet, hex(plain), "{profile} {encrypt}");
        }
    }
}
