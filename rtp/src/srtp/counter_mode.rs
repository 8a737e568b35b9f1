//! AES in counter mode (RFC 3711 §4.1.1, RFC 6188 §2): the keystream of both encryption and key derivation.

use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ctr::{CtrCore, flavors::Ctr128BE};
use zeroize::Zeroizing;

/// An expanded key, in one place so that moving it leaves no copies; AES instructions are found at run time.
pub(super) enum CounterMode {
    Aes128(Box<Aes128Enc>),
    Aes192(Box<Aes192Enc>),
    Aes256(Box<Aes256Enc>),
}

impl CounterMode {
    /// From the first 16 or 24 octets of `key`, or all 32.
    pub(super) fn new(key: &Zeroizing<[u8; 32]>, length: usize) -> Self {
        match (key.first_chunk::<16>(), key.first_chunk::<24>()) {
            (Some(short), _) if length == 16 => Self::Aes128(Box::new(Aes128Enc::new(short.into()))),
            (_, Some(middle)) if length == 24 => Self::Aes192(Box::new(Aes192Enc::new(middle.into()))),
            _ => Self::Aes256(Box::new(Aes256Enc::new((&**key).into()))),
        }
    }

    /// XORs `data` with the keystream that starts at the counter block `start`.
    ///
    /// The caller keeps `data` below 2^16 blocks: more would run into the next packet's counters.
    pub(super) fn apply(&self, start: u128, data: &mut [u8]) {
        let start = &start.to_be_bytes().into();
        match self {
            Self::Aes128(cipher) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(&**cipher, start).apply_keystream_partial(data.into())
            }
            Self::Aes192(cipher) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(&**cipher, start).apply_keystream_partial(data.into())
            }
            Self::Aes256(cipher) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(&**cipher, start).apply_keystream_partial(data.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::test_support::{hex, key};

    /// RFC 3711 appendix B.2 and RFC 6188 §7.1: the first three blocks, and three around a carry out of the lowest octet.
    fn keystream(session_key: &str, blocks: [(u128, &str); 6]) {
        let cipher = CounterMode::new(&key(session_key), session_key.len() / 2);
        let start = 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_0000;
        let mut stream = vec![0; 65_282 * 16];
        cipher.apply(start, &mut stream);
        for (number, expected) in blocks {
            let at = number as usize * 16;
            assert_eq!(stream[at..at + 16], hex(expected), "block {number}");
            let mut alone = [0; 16];
            cipher.apply(start + number, &mut alone);
            assert_eq!(alone[..], hex(expected), "block {number} alone");
        }
    }

    #[test]
    fn rfc6188_7_3_keystream_of_aes_cm_192() {
        keystream(
            "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7",
            [
                (0, "35096cba4610028dc1b57503804ce37c"),
                (1, "5de986291dcce161d5165ec4568f5c9a"),
                (2, "474a40c77894bc17180202272a4c264d"),
                (0xfeff, "d108d1a31a00bad6367ec23eb044b415"),
                (0xff00, "c8f57129fdeb970b59f917b257662d4c"),
                (0xff01, "a5dab625811034e8cebdfeb6dc158dd3"),
            ],
        );
    }

    #[test]
    fn rfc3711_b2_keystream_of_aes_cm_128() {
        keystream(
            "2b7e151628aed2a6abf7158809cf4f3c",
            [
                (0, "e03ead0935c95e80e166b16dd92b4eb4"),
                (1, "d23513162b02d0f72a43a2fe4a5f97ab"),
                (2, "41e95b3bb0a2e8dd477901e4fca894c0"),
                (65_279, "ec8cdf7398607cb0f2d21675ea9ea1e4"),
                (65_280, "362b7c3c6773516318a077d7fc5073ae"),
                (65_281, "6a2cc3787889374fbeb4c81b17ba6c44"),
            ],
        );
    }

    #[test]
    fn rfc6188_7_1_keystream_of_aes_cm_256() {
        keystream(
            "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
            [
                (0, "92bdd28a93c3f52511c677d08b5515a4"),
                (1, "9da71b2378a854f67050756ded165bac"),
                (2, "63c4868b7096d88421b563b8c94c9a31"),
                (65_279, "cea518c90fd91ced9cbb18c078a54711"),
                (65_280, "3dbc4814f4da5f00a08772b63c6a046d"),
                (65_281, "6eb246913062a16891433e97dd01a57f"),
            ],
        );
    }
}
