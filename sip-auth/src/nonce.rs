//! Nonces that need no memory: time, a counter, and a keyed hash over both (RFC 7616 §3.3).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::digest::HexDigest;

/// Octets of the keyed hash in a nonce: forging one takes 2^128 tries.
const TAG: usize = 16;

/// What identifies one nonce: when it was made, in milliseconds since the Unix epoch, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NonceId {
    pub(crate) made: u64,
    pub(crate) number: u64,
}

/// Writes and checks nonces for one realm under one secret.
#[derive(Clone)]
pub(crate) struct NonceKey {
    secret: [u8; 32],
    realm: String,
}

impl NonceKey {
    pub(crate) fn new(secret: [u8; 32], realm: &str) -> Self {
        NonceKey { secret, realm: realm.to_owned() }
    }

    /// 64 hexadecimal digits.
    pub(crate) fn write(&self, id: NonceId) -> String {
        let mut octets = [0; 32];
        let parts = id.made.to_be_bytes().into_iter().chain(id.number.to_be_bytes()).chain(self.tag(id));
        octets.iter_mut().zip(parts).for_each(|(octet, part)| *octet = part);
        HexDigest::of(&octets).as_str().to_owned()
    }

    /// The identity of a nonce of ours; `None` for any other text.
    pub(crate) fn read(&self, nonce: &str) -> Option<NonceId> {
        if nonce.len() != 64 || !nonce.is_ascii() {
            return None;
        }
        let number = |range| u64::from_str_radix(nonce.get(range)?, 16).ok();
        let id = NonceId { made: number(0..16)?, number: number(16..32)? };
        let genuine: bool = self.write(id).as_bytes().ct_eq(nonce.as_bytes()).into();
        genuine.then_some(id)
    }

    /// A keyed hash. Of its state only half is shown, so the key may simply stand in front: nothing can be appended to what it
    /// hashed, and no HMAC construction is needed. Processors have instructions for SHA-256.
    fn tag(&self, id: NonceId) -> [u8; TAG] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(id.made.to_be_bytes());
        hash.update(id.number.to_be_bytes());
        hash.update(self.realm.as_bytes());
        let mut tag = [0; TAG];
        tag.iter_mut().zip(hash.finalize()).for_each(|(octet, hashed)| *octet = hashed);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: NonceId = NonceId { made: 1_700_000_000_000, number: 42 };

    #[test]
    fn a_nonce_is_read_back_and_no_changed_one_is() {
        let key = NonceKey::new([1; 32], "example.com");
        let nonce = key.write(ID);
        assert_eq!(key.read(&nonce), Some(ID));
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.read(std::str::from_utf8(&forged).unwrap()), None);
        }
        for other in ["", "x", &nonce[..63], &nonce.to_uppercase(), &"é".repeat(32)] {
            assert_eq!(key.read(other), None, "{other}");
        }
    }

    #[test]
    fn realm_and_secret_are_part_of_it() {
        let nonce = NonceKey::new([1; 32], "example.com").write(ID);
        assert_eq!(NonceKey::new([1; 32], "example.org").read(&nonce), None);
        assert_eq!(NonceKey::new([2; 32], "example.com").read(&nonce), None);
    }
}
