//! What the tests of several files need.

use zeroize::Zeroizing;

/// Octets of hexadecimal digits.
pub(super) fn hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A session key on the left of 32 octets.
pub(super) fn key(digits: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    key[..digits.len() / 2].copy_from_slice(&hex(digits));
    key
}
