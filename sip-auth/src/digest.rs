//! The computation: A1, A2 and the response of RFC 7616 §3.4, and the form of RFC 2069 without `qop`.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::algorithm::{Algorithm, Hash};

/// A digest as lower-case hexadecimal text (RFC 8760 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HexDigest {
    digits: [u8; 64],
    length: u8,
}

impl HexDigest {
    /// Encodes up to 32 octets.
    pub(crate) fn of(octets: &[u8]) -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or(b'0');
        let mut digits = [0; 64];
        let mut length = 0_u8;
        for (pair, octet) in digits.chunks_exact_mut(2).zip(octets) {
            pair.copy_from_slice(&[digit(octet >> 4), digit(*octet)]);
            length = length.saturating_add(2);
        }
        HexDigest { digits, length }
    }

    /// Reads a digest of `hash`, in either letter case.
    pub fn parse(hash: Hash, text: &str) -> Option<Self> {
        if text.len() != hash.digits() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut digits = [0; 64];
        digits.iter_mut().zip(text.bytes()).for_each(|(digit, byte)| *digit = byte.to_ascii_lowercase());
        Some(HexDigest { digits, length: u8::try_from(text.len()).ok()? })
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        self.digits
            .get(..usize::from(self.length))
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn same_as(&self, other: &HexDigest) -> bool {
        (self.digits.ct_eq(&other.digits) & self.length.ct_eq(&other.length)).into()
    }
}

impl fmt::Display for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HexDigest {
    /// A digest can be a key (HA1): it does not go into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HexDigest(..{} digits)", self.length)
    }
}

/// Quality of protection (RFC 7616 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// Method and URI are protected.
    Auth,
    /// The body as well.
    AuthInt,
}

impl Qop {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// What distinguishes `qop` from its absence in the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection<'a> {
    /// The quality.
    pub qop: Qop,
    /// The nonce count as it is sent: eight hexadecimal digits.
    pub nonce_count: &'a str,
    /// The client nonce.
    pub cnonce: &'a str,
}

/// Everything that a response is computed from, quotes and escapes undone.
#[derive(Clone, Copy, Debug)]
pub struct DigestRequest<'a> {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// `H(username:realm:password)`, see [`ha1`].
    pub ha1: &'a HexDigest,
    /// The server's nonce.
    pub nonce: &'a str,
    /// `None` is the form of RFC 2069.
    pub protection: Option<Protection<'a>>,
    /// The method; empty for what the server proves in Authentication-Info (RFC 7616 §3.5).
    pub method: &'a str,
    /// The `uri` parameter.
    pub uri: &'a str,
    /// The body, which counts under `auth-int`.
    pub body: &'a [u8],
}

/// `H(username:realm:password)`: the A1 of the algorithms without `-sess`, hashed, and what servers store (RFC 7616 §3.4.2).
pub fn ha1(hash: Hash, username: &str, realm: &str, password: &str) -> HexDigest {
    hash.digest(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
}

impl DigestRequest<'_> {
    /// The `response` (RFC 7616 §3.4.1; RFC 2617 §3.2.2.1 without `qop`).
    pub fn response(&self) -> HexDigest {
        let hash = self.algorithm.hash;
        let nonce = self.nonce.as_bytes();
        let ha1 = match (self.algorithm.session, &self.protection) {
            (true, Some(protection)) => {
                hash.digest(&[self.ha1.as_str().as_bytes(), nonce, protection.cnonce.as_bytes()])
            }
            // A session key needs a client nonce (RFC 3261 §22.4, item 8); without one there is only the plain key.
            _ => *self.ha1,
        };
        let (method, uri) = (self.method.as_bytes(), self.uri.as_bytes());
        let ha2 = match self.protection {
            Some(Protection { qop: Qop::AuthInt, .. }) => {
                hash.digest(&[method, uri, hash.digest(&[self.body]).as_str().as_bytes()])
            }
            _ => hash.digest(&[method, uri]),
        };
        let (ha1, ha2) = (ha1.as_str().as_bytes(), ha2.as_str().as_bytes());
        match self.protection {
            Some(Protection { qop, nonce_count, cnonce }) => hash.digest(&[
                ha1,
                nonce,
                nonce_count.as_bytes(),
                cnonce.as_bytes(),
                qop.as_str().as_bytes(),
                ha2,
            ]),
            None => hash.digest(&[ha1, nonce, ha2]),
        }
    }
}
