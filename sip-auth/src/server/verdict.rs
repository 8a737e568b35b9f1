//! What a verification comes to.

use sip_message::headers::AuthenticationInfo;

use super::credentials::Fields;
use crate::algorithm::Algorithm;
use crate::digest::{HexDigest, Qop};

/// What a request is worth.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The sender is who it says.
    Accepted(Accepted),
    /// ACK and CANCEL cannot be challenged (RFC 3261 §22.1): they go with the INVITE that they belong to.
    Exempt,
    /// Ask for credentials, with 401 or 407.
    Challenge {
        /// Tell the client that its secret is right and only its nonce is too old or used (RFC 7616 §3.3).
        stale: bool,
        /// Why, for the log. The response must not tell.
        reason: ChallengeReason,
    },
    /// Answer 400: these are no credentials (RFC 7616 §3.4).
    Bad(BadCredentials),
}

/// Why a challenge is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeReason {
    /// No credentials for this realm, or empty ones.
    NoCredentials,
    /// An algorithm that was not offered.
    AlgorithmNotOffered,
    /// Without `qop`, which is not taken here.
    WithoutQop,
    /// User name or password are wrong, for a nonce of ours. Worth a log line and a throttle.
    WrongCredentials,
    /// They are wrong, for a nonce that is not ours or too old: perhaps made up by somebody who never saw a challenge, and over
    /// UDP from an address that is not his. No reason to hold it against that address.
    WrongUnchallenged,
    /// The nonce is not ours, or of a secret that was replaced.
    ForeignNonce,
    /// The nonce is too old.
    ExpiredNonce,
    /// The nonce count was used before.
    Replayed,
}

/// What is wrong with credentials that are for this realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BadCredentials {
    /// The header field cannot be read.
    #[error("credentials are malformed")]
    Malformed,
    /// A parameter is missing.
    #[error("credentials lack {0}")]
    Missing(&'static str),
    /// A parameter is there twice: proxies might read the other one.
    #[error("credentials have {0} twice")]
    Twice(&'static str),
    /// A parameter has a value that it cannot have.
    #[error("credentials have an improper {0}")]
    Improper(&'static str),
    /// The `uri` is not that of the request (RFC 7616 §3.4.6).
    #[error("the credentials are for another URI than the request")]
    OtherUri,
    /// More than [`MAX_CREDENTIALS`](super::MAX_CREDENTIALS).
    #[error("there are too many credentials")]
    TooMany,
}

/// A verified identity.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub(super) fields: Box<Fields>,
    pub(super) realm: String,
    pub(super) ha1: HexDigest,
}

impl Accepted {
    /// The user name.
    pub fn username(&self) -> &str {
        &self.fields.username
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The algorithm that was used.
    pub fn algorithm(&self) -> Algorithm {
        self.fields.algorithm
    }

    /// What was protected: `None` is the form of RFC 2069.
    pub fn qop(&self) -> Option<Qop> {
        self.fields.protection.as_ref().map(|(qop, ..)| *qop)
    }

    /// The Authentication-Info for the 2xx with this body: our proof that we know the secret, and perhaps the nonce to use
    /// next, from [`Verifier::new_nonce`](super::Verifier::new_nonce) (RFC 7616 §3.5).
    pub fn authentication_info(&self, body: &[u8], next_nonce: Option<&str>) -> AuthenticationInfo {
        let mut info = AuthenticationInfo::default();
        if let Some(next) = next_nonce {
            info = info.quoted("nextnonce", next);
        }
        if let Some((qop, count, _, cnonce)) = &self.fields.protection {
            let proof = self.fields.digest_request(&self.ha1, "", body).response();
            info = info
                .token("qop", qop.as_str())
                .quoted("rspauth", proof.as_str())
                .quoted("cnonce", cnonce)
                .token("nc", count);
        }
        info
    }
}
