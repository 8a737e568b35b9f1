//! What proves an identity: a password, or what servers keep in its place.

use std::fmt;

use crate::algorithm::Hash;
use crate::digest::{HexDigest, ha1};

/// The secret of one user: a password, or `H(username:realm:password)` for one or several hashes.
///
/// Stored hashes spare the password, but each is a key to its realm: keep them as secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Password(String),
    Hashed(Vec<(Hash, HexDigest)>),
}

impl Secret {
    /// A password in plain text.
    pub fn password(password: impl Into<String>) -> Self {
        Secret(Kind::Password(password.into()))
    }

    /// A stored HA1 for one hash; [`Secret::and_ha1`] adds more. It only serves algorithms of that hash, and only the
    /// user name and realm that it was made of.
    pub fn ha1(hash: Hash, ha1: HexDigest) -> Self {
        Secret(Kind::Hashed(vec![(hash, ha1)]))
    }

    /// Adds a stored HA1 for another hash. A password already serves all of them and stays as it is.
    #[must_use]
    pub fn and_ha1(mut self, hash: Hash, ha1: HexDigest) -> Self {
        if let Kind::Hashed(stored) = &mut self.0 {
            stored.retain(|(known, _)| *known != hash);
            stored.push((hash, ha1));
        }
        self
    }

    /// The HA1 for `hash`, if this secret has one.
    #[must_use]
    pub fn for_hash(&self, hash: Hash, username: &str, realm: &str) -> Option<HexDigest> {
        match &self.0 {
            Kind::Password(password) => Some(ha1(hash, username, realm, password)),
            Kind::Hashed(stored) => stored.iter().find(|(known, _)| *known == hash).map(|(_, ha1)| *ha1),
        }
    }

    pub(crate) fn is_password(&self) -> bool {
        matches!(self.0, Kind::Password(_))
    }

    /// Whether algorithms of `hash` can be served.
    pub(crate) fn serves(&self, hash: Hash) -> bool {
        match &self.0 {
            Kind::Password(_) => true,
            Kind::Hashed(stored) => stored.iter().any(|(known, _)| *known == hash),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
