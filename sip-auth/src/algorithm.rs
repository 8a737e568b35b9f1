//! The algorithms of the IANA registry "Hash Algorithms for HTTP Digest Authentication" (RFC 7616 §6.1).

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use crate::digest::HexDigest;

/// A hash function, ordered from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// MD5 (RFC 1321): broken, but all that many phones know.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256: SHA-512 with initial values of its own, cut to 256 bits (FIPS 180-4 §5.3.6).
    Sha512_256,
}

impl Hash {
    /// `H` of RFC 7616 §3.3 over `parts` with colons between them, as hexadecimal text.
    pub fn digest(self, parts: &[&[u8]]) -> HexDigest {
        match self {
            Hash::Md5 => HexDigest::of(&joined::<Md5>(parts)),
            Hash::Sha256 => HexDigest::of(&joined::<Sha256>(parts)),
            Hash::Sha512_256 => HexDigest::of(&joined::<Sha512_256>(parts)),
        }
    }

    /// Hexadecimal digits of a digest: 32 or 64.
    pub fn digits(self) -> usize {
        match self {
            Hash::Md5 => 32,
            Hash::Sha256 | Hash::Sha512_256 => 64,
        }
    }
}

fn joined<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// A digest algorithm: a hash, and whether the key is bound to one session (`-sess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Algorithm {
    /// The hash function.
    pub hash: Hash,
    /// The session variant: A1 holds nonce and client nonce as well (RFC 7616 §3.4.2).
    pub session: bool,
}

impl Algorithm {
    /// `MD5`.
    pub const MD5: Algorithm = Algorithm { hash: Hash::Md5, session: false };
    /// `MD5-sess`.
    pub const MD5_SESS: Algorithm = Algorithm { hash: Hash::Md5, session: true };
    /// `SHA-256`.
    pub const SHA_256: Algorithm = Algorithm { hash: Hash::Sha256, session: false };
    /// `SHA-256-sess`.
    pub const SHA_256_SESS: Algorithm = Algorithm { hash: Hash::Sha256, session: true };
    /// `SHA-512-256`.
    pub const SHA_512_256: Algorithm = Algorithm { hash: Hash::Sha512_256, session: false };
    /// `SHA-512-256-sess`.
    pub const SHA_512_256_SESS: Algorithm = Algorithm { hash: Hash::Sha512_256, session: true };

    /// All of them, the strongest first.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::SHA_512_256_SESS,
        Algorithm::SHA_512_256,
        Algorithm::SHA_256_SESS,
        Algorithm::SHA_256,
        Algorithm::MD5_SESS,
        Algorithm::MD5,
    ];

    /// The name in the `algorithm` parameter.
    pub fn as_str(self) -> &'static str {
        match (self.hash, self.session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
            (Hash::Sha512_256, false) => "SHA-512-256",
            (Hash::Sha512_256, true) => "SHA-512-256-sess",
        }
    }

    /// The algorithm that a parameter names; MD5 if there is none (RFC 7616 §3.3).
    pub(crate) fn of_parameter(parameter: Option<&str>) -> Result<Self, UnknownAlgorithm> {
        parameter.map_or(Ok(Algorithm::MD5), str::parse)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An algorithm that this crate does not have. Its challenge is to be ignored (RFC 7616 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest algorithm {0:?} is not known")]
pub struct UnknownAlgorithm(pub String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let known = Algorithm::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_the_list_is_ordered() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().to_lowercase().parse(), Ok(algorithm));
        }
        assert!(Algorithm::ALL.windows(2).all(|pair| pair[0] > pair[1]));
        assert!("SHA-1".parse::<Algorithm>().is_err());
        assert_eq!(Algorithm::of_parameter(None), Ok(Algorithm::MD5));
    }

    #[test]
    fn empty_bodies_hash_as_rfc_8760_section_2_6_and_rfc_3261_section_22_4_say() {
        assert_eq!(Hash::Md5.digest(&[b""]).as_str(), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            Hash::Sha256.digest(&[b""]).as_str(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for hash in [Hash::Md5, Hash::Sha256, Hash::Sha512_256] {
            assert_eq!(hash.digest(&[b"a", b"b"]), hash.digest(&[b"a:b"]));
            assert_eq!(hash.digest(&[b""]).as_str().len(), hash.digits());
        }
    }
}
