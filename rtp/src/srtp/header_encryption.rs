//! Encrypted elements of header extensions (RFC 6904): the data of those that were agreed on, and nothing else of the header.

use super::counter_mode::CounterMode;
use super::key_derivation::{HeaderKeys, MasterKey};
use super::profile::Profile;
use super::protection::Position;
use crate::extension::places;

/// Octets of a header extension whose keystream needs no memory of its own.
const USUAL: usize = 256;

/// The identifiers of elements that go encrypted, as `a=extmap:ID urn:ietf:params:rtp-hdrext:encrypt ...` gave them (RFC 6904 §4).
/// An identifier is either always encrypted or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EncryptedElements([u128; 2]);

impl EncryptedElements {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(self, id: u8) -> bool {
        let [low, high] = self.0;
        (if id < 128 { low } else { high }) & (1 << (id & 127)) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl FromIterator<u8> for EncryptedElements {
    fn from_iter<I: IntoIterator<Item = u8>>(ids: I) -> Self {
        let mut elements = Self::default();
        for id in ids {
            let [low, high] = &mut elements.0;
            *(if id < 128 { low } else { high }) |= 1 << (id & 127);
        }
        elements
    }
}

/// The header keys at work.
pub(super) struct HeaderEncryption {
    pub(super) elements: EncryptedElements,
    cipher: CounterMode,
    salt: u128,
}

impl HeaderEncryption {
    /// AES in counter mode for every profile; those of GCM have no other keystream either (RFC 7714 §8.3).
    pub(super) fn new(profile: Profile, master: &MasterKey, elements: EncryptedElements) -> Self {
        let keys = HeaderKeys::derive(profile, master);
        let cipher = CounterMode::new(&keys.encryption, profile.key_length());
        Self { elements, cipher, salt: u128::from_be_bytes(*keys.salt) }
    }

    /// Encrypts or decrypts the elements of a packet whose header has so many octets, which is the same (RFC 6904 §3).
    pub(super) fn apply(&self, packet: &mut [u8], header: usize, at: Position) {
        let first = packet.first().copied().unwrap_or(0);
        if first & 0x10 == 0 {
            return; // no extension
        }
        let start = 12 + usize::from(first & 0x0f) * 4;
        let extension = packet.get_mut(start..header).and_then(|octets| octets.split_first_chunk_mut::<4>());
        let Some(([high, low, ..], data)) = extension else { return };
        let profile = u16::from_be_bytes([*high, *low]);
        if !places(profile, data).any(|(id, _)| self.elements.contains(id)) {
            return;
        }
        let (mut usual, mut long) = ([0; USUAL], Vec::new());
        let keystream = match usual.get_mut(..data.len()) {
            Some(octets) => octets,
            None => {
                long.resize(data.len(), 0);
                long.as_mut_slice()
            }
        };
        self.cipher.apply(at.counter(self.salt), keystream);
        // The mask of §3.1: ones where the data of an encrypted element stands.
        let mut from = 0;
        for (id, place) in places(profile, data) {
            let end = if self.elements.contains(id) { place.start } else { place.end };
            if let Some(clear) = keystream.get_mut(from..end) {
                clear.fill(0);
            }
            from = place.end;
        }
        if let Some(clear) = keystream.get_mut(from..) {
            clear.fill(0);
        }
        for (octet, key) in data.iter_mut().zip(keystream) {
            *octet ^= *key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::test_support::hex;
    use crate::srtp::{Error, Receiver, Sender};
    use proptest::prelude::*;

    fn master(profile: Profile) -> MasterKey {
        let octets: Vec<u8> = (7..).take(profile.key_length() + profile.salt_length()).collect();
        MasterKey::from_key_and_salt(profile, &octets).unwrap()
    }

    #[test]
    fn rfc6904_a_2_the_elements_that_were_agreed_on_are_encrypted() {
        let profile = Profile::AesCm128HmacSha1Tag80;
        let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), hex("0EC675AD498AFEEBB6960B3AABE6"));
        let master = MasterKey::new(profile, &key, &salt).unwrap();
        let header = HeaderEncryption::new(profile, &master, [1, 3, 4].into_iter().collect());
        let fixed = "9000123400000000CAFEBABEBEDE0006";
        let plain = hex(&format!("{fixed}17414273A475262748220000C8308E4655996386B395FB00FFFF"));
        let sealed = hex(&format!("{fixed}17588A9270F4E15E1C220000C8309546A994F0BC54789700FFFF"));
        let at = Position { ssrc: 0xcafe_babe, index: 0x1234 };
        let mut packet = plain.clone();
        header.apply(&mut packet, 40, at);
        assert_eq!(packet, sealed);
        header.apply(&mut packet, 40, at);
        assert_eq!(packet, plain);
    }

    /// The packet of the appendix with another payload, or two-byte elements with identifiers above 14.
    fn packets() -> [Vec<u8>; 2] {
        let fixed = "900012340000000ACAFEBABE";
        [
            hex(&format!("{fixed}BEDE000617414273A475262748220000C8308E4655996386B395FB00FFFF")),
            hex(&format!("{fixed}10000003010200FF00C803AABBCC0400FFFF")),
        ]
    }

    #[test]
    fn rfc6904_3_every_profile_restores_what_the_sender_encrypted() {
        let elements: EncryptedElements = [1, 200].into_iter().collect();
        for profile in Profile::ALL {
            let key = master(profile);
            for plain in packets() {
                let mut sender = Sender::new(profile, &key).unwrap().encrypting(&key, elements).unwrap();
                let mut receiver = Receiver::new(profile, &key).unwrap().encrypting(&key, elements).unwrap();
                let mut packet = plain.clone();
                sender.protect_rtp(&mut packet).unwrap();
                let mut without = plain.clone();
                Sender::new(profile, &key).unwrap().protect_rtp(&mut without).unwrap();
                // What is encrypted, and what is not: the fixed header, the headers of the elements, other elements.
                let header = plain.len() - 2;
                let changed: Vec<usize> = (0..header).filter(|at| packet[*at] != plain[*at]).collect();
                let may: Vec<usize> =
                    if plain[12] == 0xbe { (17..25).collect() } else { vec![18, 19, 23, 24, 25] };
                assert!(
                    changed.len() > 1 && changed.iter().all(|at| may.contains(at)),
                    "{profile} {changed:?}"
                );
                assert_eq!(without[..header], plain[..header]);
                // A changed extension is refused and left as it was (RFC 6904 §3).
                let mut forged = packet.clone();
                forged[may[0]] ^= 1;
                let as_it_came = forged.clone();
                assert_eq!(receiver.unprotect_rtp(&mut forged), Err(Error::AuthenticationFailed));
                assert_eq!(forged, as_it_came);
                receiver.unprotect_rtp(&mut packet).unwrap();
                assert_eq!(packet, plain, "{profile}");
            }
        }
    }

    /// What libsrtp 2.5.0 made of these packets (Debian's package 2.5.0-3, which takes AES from NSS), with `enc_xtn_hdr` naming the
    /// elements: over the end of the sequence numbers, with a contributing source, in both forms. The salt of GCM is what is
    /// compared: RFC 7714 §8.3 says AES in counter mode, and RFC 6904 §3 a salt of the packet's length. What we make is the same, so
    /// that libsrtp opens it too. Padding between elements it does not count, against RFC 6904 §3: see the next test.
    #[test]
    fn rfc6904_rfc7714_8_3_packets_of_libsrtp() {
        let plain = [
            hex("9000fffe0000000acafebabebede000617414273a475262748220000c8308e4655996386b395fb00ffff"),
            hex("9100ffff0000000acafebabe12345678bede0002308e22aabbcc0000fffe"),
            hex("900000000000000acafebabe10000003010200ff0500c803aabbcc00fffd"),
        ];
        let elements: EncryptedElements = [1, 3, 4, 200].into_iter().collect();
        let sealed = [
            (
                Profile::AesCm128HmacSha1Tag80,
                "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
                [
                    "9000fffe0000000acafebabebede0006173d5b10a67b6dafd0220000c8305246da70cab78cf590008ebcdf09b9192e5374d72f25",
                    "9100ffff0000000acafebabe12345678bede0002306222aabbcc0000a73b6a774d4b09791e1e05a3",
                    "900000000000000acafebabe10000003010287450500c8036a7f150070ba550e82c647398da544a4",
                ],
            ),
            (
                Profile::AeadAes128Gcm,
                "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab",
                [
                    "9000fffe0000000acafebabebede000617d52df634d4717950220000c8309346306ef448cd122500479c0eabb44775f329ccd6f40531f9db483e",
                    "9100ffff0000000acafebabe12345678bede000230a122aabbcc000080c17ed071233cdf4dbcfca1094c885a6966",
                    "900000000000000acafebabe1000000301029e4a0500c8030b81a100eb3af805f273fe919ebd5e8eadb504d2b02f",
                ],
            ),
            (
                Profile::AeadAes256Gcm,
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa0a1a2a3a4a5a6a7a8a9aaab",
                [
                    "9000fffe0000000acafebabebede0006175db38b6c05861e56220000c8306746634f9e1bac484500a99606a1d8eaa5b149a9beab4a7b2ae9a076",
                    "9100ffff0000000acafebabe12345678bede000230c022aabbcc0000a63a91060ae198bea666cc3b3543a2724c8d",
                    "900000000000000acafebabe100000030102538a0500c80352680f0044af9409cc77d7b51fb031adb087c55f0277",
                ],
            ),
        ];
        for (profile, key, sealed) in sealed {
            let key = MasterKey::from_key_and_salt(profile, &hex(key)).unwrap();
            let mut sender = Sender::new(profile, &key).unwrap().encrypting(&key, elements).unwrap();
            let mut receiver = Receiver::new(profile, &key).unwrap().encrypting(&key, elements).unwrap();
            for (plain, sealed) in plain.iter().zip(sealed.map(hex)) {
                let mut packet = plain.clone();
                sender.protect_rtp(&mut packet).unwrap();
                assert_eq!(packet, sealed, "{profile}");
                receiver.unprotect_rtp(&mut packet).unwrap();
                assert_eq!(&packet, plain, "{profile}");
            }
        }
    }

    /// The keystream begins with the first element's header and counts every octet, padding too.
    #[test]
    fn rfc6904_3_padding_between_elements_counts_in_the_keystream() {
        let profile = Profile::AeadAes128Gcm;
        let header = HeaderEncryption::new(profile, &master(profile), [1, 2].into_iter().collect());
        let encrypted = |extension: &str| {
            let mut packet = hex(&format!("900012340000000ACAFEBABE{extension}"));
            let length = packet.len();
            header.apply(&mut packet, length, Position { ssrc: 0xcafe_babe, index: 0x1234 });
            packet.split_off(16)
        };
        // One element of zeros shows the keystream behind its header.
        let keystream = encrypted("10000003010A00000000000000000000");
        let padded = encrypted("10000003010200000000000202000000");
        assert_eq!(padded[2..4], keystream[2..4]);
        assert_eq!(padded[4..9], [0, 0, 0, 2, 2]);
        assert_eq!(padded[9..11], keystream[9..11]);
    }

    /// RFC 6904 §3.2: the NULL transform has a keystream of zeros.
    #[test]
    fn rfc6904_3_2_what_is_only_authenticated_keeps_its_elements() {
        let profile = Profile::AesCm128HmacSha1Tag80;
        let (key, [plain, _]) = (master(profile), packets());
        let elements = [1].into_iter().collect();
        let sender = Sender::new(profile, &key).unwrap().encrypting(&key, elements).unwrap();
        let mut packet = plain.clone();
        sender.unencrypted(true, false).protect_rtp(&mut packet).unwrap();
        assert_eq!(packet[..plain.len()], plain);
        let receiver = Receiver::new(profile, &key).unwrap().encrypting(&key, elements).unwrap();
        receiver.unencrypted_rtp(true).unprotect_rtp(&mut packet).unwrap();
        assert_eq!(packet, plain);
    }

    /// Another offer and answer: the contexts go on, with other elements encrypted.
    #[test]
    fn elements_change_while_the_keys_stay() {
        let profile = Profile::AeadAes128Gcm;
        let (key, [plain, _]) = (master(profile), packets());
        let none = EncryptedElements::default();
        let mut sender = Sender::new(profile, &key).unwrap().encrypting(&key, none).unwrap();
        let mut receiver = Receiver::new(profile, &key).unwrap().encrypting(&key, none).unwrap();
        for (number, elements) in (1u16..).zip([none, [1].into_iter().collect(), none]) {
            assert!(sender.set_encrypted(elements) && receiver.set_encrypted(elements));
            let mut packet = plain.clone();
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            let before = packet.clone();
            sender.protect_rtp(&mut packet).unwrap();
            assert_eq!(packet[17..25] == before[17..25], elements.is_empty());
            receiver.unprotect_rtp(&mut packet).unwrap();
            assert_eq!(packet, before);
        }
        let mut without = Sender::new(profile, &key).unwrap();
        assert!(without.set_encrypted(none) && !without.set_encrypted([1].into_iter().collect()));
    }

    proptest! {
        #[test]
        fn any_extension_comes_back(
            profile: u16, form in 0u8..3, data in proptest::collection::vec(any::<[u8; 4]>(), 0..100), ids: Vec<u8>
        ) {
            let defined = [profile, 0xbede, 0x1000][usize::from(form)];
            let mut plain = hex("900012340000000ACAFEBABE");
            plain.extend(defined.to_be_bytes());
            plain.extend((data.len() as u16).to_be_bytes());
            plain.extend(data.concat());
            let master = master(Profile::AeadAes256Gcm);
            let header = HeaderEncryption::new(Profile::AeadAes256Gcm, &master, ids.into_iter().collect());
            let at = Position { ssrc: 0xcafe_babe, index: 0x1234 };
            let (mut packet, length) = (plain.clone(), plain.len());
            header.apply(&mut packet, length, at);
            prop_assert_eq!(&packet[..16], &plain[..16]);
            header.apply(&mut packet, length, at);
            prop_assert_eq!(packet, plain);
        }
    }
}
