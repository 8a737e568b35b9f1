//! Digest as MSRP has it (RFC 2617 and RFC 7616 with the restrictions of RFC 4976 §9.1): `qop=auth` always, no session keys, and the
//! URI that counts is the rightmost one of To-Path.
//!
//! `sip-auth` computes the same for SIP, but on SIP's header fields: this crate is of use without SIP, so it has its own.

use std::fmt::Write;

use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::sdp::split_unquoted;

/// Parameters of one field: more are made to cost time.
const MAX_PARAMETERS: usize = 32;

/// The hash function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// What RFC 4976 has.
    #[default]
    Md5,
    /// What RFC 7616 adds.
    Sha256,
}

impl Algorithm {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }

    /// `H(username:realm:password)`, which a relay may store in place of the password.
    #[must_use]
    pub fn ha1(self, username: &str, realm: &str, password: &str) -> String {
        self.hash(&[username, realm, password])
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to memory does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Compares in a time that does not depend on where the two differ.
#[must_use]
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// What a response is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) ha1: &'a str,
    pub(crate) nonce: &'a str,
    /// Eight digits.
    pub(crate) count: &'a str,
    pub(crate) cnonce: &'a str,
    /// AUTH; nothing for what the relay proves.
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
}

impl Question<'_> {
    /// RFC 2617 §3.2.2.1.
    pub(crate) fn response(&self) -> String {
        let a2 = self.algorithm.hash(&[self.method, self.uri]);
        self.algorithm.hash(&[self.ha1, self.nonce, self.count, self.cnonce, "auth", &a2])
    }
}

/// The parameters of a field, quotes and escapes undone.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in split_unquoted(text, ',') {
            if all.len() >= MAX_PARAMETERS {
                return None;
            }
            let (name, value) = part.split_once('=')?;
            let value = value.trim();
            let value = match value.strip_prefix('"') {
                None => value.to_owned(),
                Some(inner) => {
                    let mut plain = String::new();
                    let mut characters = inner.strip_suffix('"')?.chars();
                    while let Some(character) = characters.next() {
                        plain.push(if character == '\\' { characters.next()? } else { character });
                    }
                    plain
                }
            };
            all.push((name.trim().to_owned(), value));
        }
        Some(Self(all))
    }

    /// The parameters behind `Digest`; no other scheme is used (RFC 4976 §9.1).
    pub(crate) fn of_digest(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("Digest").then(|| Self::parse(rest)).flatten()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The algorithm; one that is not known is none.
    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.get("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)
    }
}

/// A quoted string.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_2617_3_5_the_example() {
        let ha1 = Algorithm::Md5.ha1("Mufasa", "testrealm@host.com", "Circle Of Life");
        let question = Question {
            algorithm: Algorithm::Md5,
            ha1: &ha1,
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            count: "00000001",
            cnonce: "0a4f113b",
            method: "GET",
            uri: "/dir/index.html",
        };
        assert_eq!(question.response(), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn rfc_7616_3_9_1_the_example_with_sha_256() {
        let ha1 = Algorithm::Sha256.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
        let question = Question {
            algorithm: Algorithm::Sha256,
            ha1: &ha1,
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            count: "00000001",
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            method: "GET",
            uri: "/dir/index.html",
        };
        assert_eq!(question.response(), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_is_read_again(one in "[^\r\n]{0,40}", other in "[^\r\n]{0,40}") {
            let text = format!("Digest realm={}, nonce={}, qop=auth", quoted(&one), quoted(&other));
            let read = Parameters::of_digest(&text).unwrap();
            proptest::prop_assert_eq!((read.get("realm"), read.get("nonce")), (Some(&*one), Some(&*other)));
            proptest::prop_assert_eq!(read.get("qop"), Some("auth"));
        }

        #[test]
        fn no_text_does_harm(text in ".{0,200}") {
            let _ = Parameters::of_digest(&format!("Digest {text}"));
        }
    }

    #[test]
    fn parameters_are_read_with_quotes_and_escapes() {
        let read = Parameters::of_digest(r#"Digest realm="a, \"b\"", qop="auth", nonce=x"#).unwrap();
        assert_eq!((read.get("Realm"), read.get("nonce")), (Some(r#"a, "b""#), Some("x")));
        assert_eq!(quoted(r#"a, "b""#), r#""a, \"b\"""#);
        assert!(Parameters::of_digest("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").is_none());
        assert!(Parameters::of_digest("Digest realm=\"a").is_none());
    }
}
