//! How a verifier works.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::fields::Role;

/// How long a nonce is taken: long enough for a call to be set up, short enough for a stolen one to be of little use.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Nonces whose counts are remembered, about 50 octets each. When full, the oldest are refused as stale: never replayed.
pub const MAX_TRACKED_NONCES: usize = 100_000;
/// Whether the `uri` of the credentials has to fit the request (RFC 8760 §2.6, item 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UriCheck {
    /// User and host must be those of the Request-URI; parameters, port and scheme may differ, as phones write them.
    #[default]
    SameUser,
    /// Not checked: for servers behind proxies that rewrite the Request-URI.
    Any,
}

/// How a [`Verifier`](super::Verifier) works.
#[derive(Clone)]
#[non_exhaustive]
pub struct VerifierConfig {
    /// The protection domain: a globally unique name shown to users (RFC 3261 §22.1).
    pub realm: String,
    /// Who asks: this decides on 401 or 407.
    pub role: Role,
    /// The key of all nonces. Servers that share it take each other's nonces.
    pub secret: [u8; 32],
    /// What is offered and taken, most wanted first (RFC 8760 §2.3).
    pub algorithms: Vec<Algorithm>,
    /// Whether `auth-int` is offered beside `auth`.
    pub offer_integrity: bool,
    /// Whether the form of RFC 2069 without `qop` is taken (RFC 3261 §22.4 asks for it). Each of its nonces serves once,
    /// since there is no count to tell a replay by.
    pub accept_without_qop: bool,
    /// Whether the `uri` has to fit.
    pub uri_check: UriCheck,
    /// How long a nonce is taken, see [`NONCE_LIFETIME`].
    pub nonce_lifetime: Duration,
    /// How many nonces are tracked, see [`MAX_TRACKED_NONCES`].
    pub max_tracked_nonces: usize,
}

impl VerifierConfig {
    /// A registrar's or user agent's configuration with SHA-256 and MD5. `secret` must be random.
    pub fn new(realm: impl Into<String>, secret: [u8; 32]) -> Self {
        VerifierConfig {
            realm: realm.into(),
            role: Role::UserAgent,
            secret,
            algorithms: vec![Algorithm::SHA_256, Algorithm::MD5],
            offer_integrity: false,
            accept_without_qop: true,
            uri_check: UriCheck::default(),
            nonce_lifetime: NONCE_LIFETIME,
            max_tracked_nonces: MAX_TRACKED_NONCES,
        }
    }
}

impl std::fmt::Debug for VerifierConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifierConfig")
            .field("realm", &self.realm)
            .field("role", &self.role)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Why a [`VerifierConfig`] makes no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierConfigError {
    /// Nothing to offer.
    #[error("no digest algorithm is configured")]
    NoAlgorithm,
    /// RFC 8760 §2.3: the challenges of one realm each have another algorithm.
    #[error("digest algorithm {0} is configured twice")]
    AlgorithmTwice(Algorithm),
    /// The realm is empty or has control characters.
    #[error("the realm is empty or holds control characters")]
    InvalidRealm,
}
