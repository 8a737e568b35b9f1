//! The parameters of Digest credentials (RFC 7616 §3.4).

use sip_message::Uri;
use sip_message::headers::Credentials;

use super::verdict::BadCredentials;
use crate::algorithm::Algorithm;
use crate::digest::{DigestRequest, HexDigest, Protection, Qop};

/// The parameters of Digest credentials, quotes and escapes undone.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) username: String,
    pub(super) nonce: String,
    pub(super) uri: String,
    pub(super) response: HexDigest,
    pub(super) algorithm: Algorithm,
    /// qop, nc as sent, nc as number, cnonce.
    pub(super) protection: Option<(Qop, String, u32, String)>,
    /// The user name is a hash (RFC 7616 §3.4.4), which no look-up here understands.
    pub(super) hashed: bool,
}

impl Fields {
    pub(super) fn read(credentials: &Credentials, algorithm: Algorithm) -> Result<Self, BadCredentials> {
        const ONCE: [&str; 11] = [
            "username",
            "username*",
            "realm",
            "nonce",
            "uri",
            "response",
            "algorithm",
            "qop",
            "nc",
            "cnonce",
            "userhash",
        ];
        if let Some(name) = ONCE.into_iter().find(|name| credentials.params().count(name) > 1) {
            return Err(BadCredentials::Twice(name));
        }
        let param = |name| credentials.param(name).map(|value| value.into_owned());
        let required = |name| param(name).ok_or(BadCredentials::Missing(name));
        let username = match (param("username"), param("username*")) {
            (Some(username), None) => username,
            (None, Some(extended)) => {
                extended_value(&extended).ok_or(BadCredentials::Improper("username*"))?
            }
            (Some(_), Some(_)) => return Err(BadCredentials::Twice("username")),
            (None, None) => return Err(BadCredentials::Missing("username")),
        };
        let response = required("response")?;
        let protection = match param("qop") {
            None if algorithm.session => return Err(BadCredentials::Missing("qop")),
            None => None,
            Some(qop) => {
                let qop = Qop::parse(&qop).ok_or(BadCredentials::Improper("qop"))?;
                let count = required("nc")?;
                let digits = count.len() == 8 && count.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = u32::from_str_radix(&count, 16).ok().filter(|number| digits && *number > 0);
                let number = number.ok_or(BadCredentials::Improper("nc"))?;
                Some((qop, count, number, required("cnonce")?))
            }
        };
        Ok(Fields {
            username,
            nonce: required("nonce")?,
            uri: required("uri")?,
            response: HexDigest::parse(algorithm.hash, &response)
                .ok_or(BadCredentials::Improper("response"))?,
            algorithm,
            protection,
            hashed: param("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    pub(super) fn digest_request<'a>(
        &'a self,
        ha1: &'a HexDigest,
        method: &'a str,
        body: &'a [u8],
    ) -> DigestRequest<'a> {
        DigestRequest {
            algorithm: self.algorithm,
            ha1,
            nonce: &self.nonce,
            protection: self.protection.as_ref().map(|(qop, nonce_count, _, cnonce)| Protection {
                qop: *qop,
                nonce_count,
                cnonce,
            }),
            method,
            uri: &self.uri,
            body,
        }
    }
}

/// `UTF-8''J%C3%A4s%C3%B8n`: the extended notation of RFC 5987 §3.2 for `username*` (RFC 7616 §3.4).
fn extended_value(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut octets = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        octets.push(match byte {
            b'%' => {
                let digit =
                    |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(bytes.next())? << 4 | digit(bytes.next())?
            }
            other => other,
        });
    }
    String::from_utf8(octets).ok()
}

/// Whether two Request-URIs name the same user of the same domain.
pub(super) fn same_user(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (one.parse::<Uri>(), other.parse::<Uri>()) {
        (Ok(one), Ok(other)) => {
            let is_sip = |uri: &Uri| uri.is_sip() || uri.is_sips();
            let user = |uri: &Uri| uri.user_decoded().map(|user| user.into_owned());
            is_sip(&one)
                && is_sip(&other)
                && user(&one) == user(&other)
                && one.host().eq_ignore_ascii_case(other.host())
        }
        _ => false,
    }
}
