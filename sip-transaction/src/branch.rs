//! Branches that say by themselves which transaction they belong to.
//!
//! `z9hG4bK` (RFC 3261 §8.1.1.7), 16 hexadecimal digits of the table key, 16 of chance. A response is matched by
//! decoding: no hash table, and the random part keeps anybody from guessing a branch or reviving an old one.

use crate::slab::Key;
use std::fmt::Write;

/// What every branch of RFC 3261 begins with.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// Whether a branch identifies its transaction: RFC 3261 §17.2.3. Without, it is a client of RFC 2543.
#[must_use]
pub fn is_rfc_3261(branch: &str) -> bool {
    branch.get(..MAGIC_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
        && branch.len() > MAGIC_COOKIE.len()
}

pub(crate) fn mint(key: Key, nonce: u64) -> String {
    let mut text = String::with_capacity(MAGIC_COOKIE.len().saturating_add(32));
    let _ = write!(text, "{MAGIC_COOKIE}{:016x}{nonce:016x}", key.pack());
    text
}

/// The key and the random part of a branch of ours. Anybody can write one: compare the random part.
pub(crate) fn decode(branch: &str) -> Option<(Key, u64)> {
    let digits = branch.get(MAGIC_COOKIE.len()..).filter(|_| is_rfc_3261(branch))?;
    if digits.len() != 32 || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    let key = u64::from_str_radix(digits.get(..16)?, 16).ok()?;
    let nonce = u64::from_str_radix(digits.get(16..)?, 16).ok()?;
    Some((Key::unpack(key), nonce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_decodes_to_its_key_in_any_case() {
        let key = Key { index: 77, generation: 12345 };
        let branch = mint(key, u64::MAX - 1);
        assert!(is_rfc_3261(&branch));
        assert_eq!(decode(&branch), Some((key, u64::MAX - 1)));
        assert_eq!(decode(&branch.to_uppercase()), Some((key, u64::MAX - 1))); // tokens, RFC 3261 §7.3.1
    }

    #[test]
    fn other_branches_decode_to_nothing() {
        for branch in
            ["", "z9hG4bK", "z9hG4bK776asdhds", "1", "z9hG4bK+0000000000000010000000000000001", "é9hG4bKé"]
        {
            assert_eq!(decode(branch), None, "{branch}");
        }
        assert!(!is_rfc_3261("z9hG4bK") && !is_rfc_3261("1"));
    }
}
