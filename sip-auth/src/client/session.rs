//! One realm's challenge, and what becomes of it: signatures with a rising nonce count.

use sip_message::Request;
use sip_message::headers::{AuthenticationInfo, Challenge, Credentials};

use super::ClientPolicy;
use crate::algorithm::Algorithm;
use crate::digest::{DigestRequest, HexDigest, Protection, Qop};
use crate::fields::{Role, is_digest};
use crate::secret::Secret;

#[derive(Clone, Debug)]
pub(super) struct Account {
    /// `None` for every realm.
    pub(super) realm: Option<String>,
    pub(super) username: String,
    pub(super) secret: Secret,
}

/// A realm that has challenged us, and where we stand with its nonce.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) role: Role,
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    pub(super) algorithm: Algorithm,
    /// Whether the challenge named its algorithm; the answer repeats what was there.
    pub(super) named: bool,
    pub(super) qop: Option<Qop>,
    pub(super) count: u32,
    /// The client nonce that a session key (`-sess`) was made with; it stays with the nonce (RFC 7616 §3.4.2).
    pub(super) cnonce: Option<String>,
    pub(super) hash_username: bool,
    pub(super) username: String,
    pub(super) ha1: HexDigest,
}

/// A challenge that can be answered.
pub(super) struct Offer {
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) named: bool,
    pub(super) qop: Option<Qop>,
    pub(super) stale: bool,
    pub(super) hash_username: bool,
}

impl Offer {
    /// `None` when the challenge is not understood or not allowed: it is ignored then (RFC 8760 §2.4).
    pub(super) fn read(challenge: &Challenge, policy: &ClientPolicy) -> Option<Self> {
        if !is_digest(challenge.scheme()) {
            return None;
        }
        let param = |name| challenge.param(name).map(|value| value.into_owned());
        let named = param("algorithm");
        let algorithm = Algorithm::of_parameter(named.as_deref()).ok()?;
        if algorithm.hash < policy.weakest {
            return None;
        }
        let qop = match param("qop") {
            None => None,
            Some(offered) => {
                let offered: Vec<Qop> = offered.split(',').filter_map(Qop::parse).collect();
                let wanted = if policy.prefer_integrity { Qop::AuthInt } else { Qop::Auth };
                Some(
                    offered
                        .iter()
                        .copied()
                        .find(|qop| *qop == wanted)
                        .or_else(|| offered.first().copied())?,
                )
            }
        };
        // A session key needs a client nonce, which there is none of without qop (RFC 3261 §22.4, item 8).
        if algorithm.session && qop.is_none() {
            return None;
        }
        let is_true = |name| param(name).is_some_and(|value: String| value.eq_ignore_ascii_case("true"));
        Some(Offer {
            realm: param("realm")?,
            nonce: param("nonce")?,
            opaque: param("opaque"),
            algorithm,
            named: named.is_some(),
            qop,
            stale: is_true("stale"),
            hash_username: is_true("userhash"),
        })
    }

    pub(super) fn session(&self, role: Role, account: &Account) -> Option<Session> {
        Some(Session {
            role,
            realm: self.realm.clone(),
            nonce: self.nonce.clone(),
            opaque: self.opaque.clone(),
            algorithm: self.algorithm,
            named: self.named,
            qop: self.qop,
            count: 0,
            cnonce: None,
            hash_username: self.hash_username,
            username: account.username.clone(),
            ha1: account.secret.for_hash(self.algorithm.hash, &account.username, &self.realm)?,
        })
    }
}

impl Session {
    /// Whether these credentials are for this realm, of this scheme.
    pub(super) fn wrote(&self, role: Role, credentials: &Credentials) -> bool {
        self.role == role
            && is_digest(credentials.scheme())
            && credentials.param("realm").as_deref() == Some(self.realm.as_str())
    }

    /// The credentials for `request`, with the next nonce count.
    pub(super) fn sign(&mut self, request: &Request, cnonce: &str) -> Credentials {
        self.count = self.count.saturating_add(1);
        if self.algorithm.session {
            self.cnonce.get_or_insert_with(|| cnonce.to_owned());
        }
        let cnonce = self.cnonce.as_deref().unwrap_or(cnonce);
        let count = format!("{:08x}", self.count);
        let uri = request.uri_text();
        let response = DigestRequest {
            algorithm: self.algorithm,
            ha1: &self.ha1,
            nonce: &self.nonce,
            protection: self.qop.map(|qop| Protection { qop, nonce_count: &count, cnonce }),
            method: request.method().as_str(),
            uri,
            body: request.body(),
        }
        .response();

        let hashed;
        let username = match self.hash_username {
            true => {
                hashed = self.algorithm.hash.digest(&[self.username.as_bytes(), self.realm.as_bytes()]);
                hashed.as_str()
            }
            false => &self.username,
        };
        // What must be quoted and what must not is RFC 7616 §3.4's "for historical reasons".
        let mut credentials = Credentials::new("Digest")
            .quoted("username", username)
            .quoted("realm", &self.realm)
            .quoted("nonce", &self.nonce)
            .quoted("uri", uri)
            .quoted("response", response.as_str());
        if self.named {
            credentials = credentials.token("algorithm", self.algorithm.as_str());
        }
        if let Some(qop) = self.qop {
            credentials = credentials.quoted("cnonce", cnonce).token("qop", qop.as_str()).token("nc", &count);
        }
        if let Some(opaque) = &self.opaque {
            credentials = credentials.quoted("opaque", opaque);
        }
        if self.hash_username {
            credentials = credentials.token("userhash", "true");
        }
        credentials
    }

    /// The `rspauth` that a server knowing the secret sends for these credentials: A2 without a method (RFC 7616 §3.5).
    pub(super) fn proof(
        &self,
        credentials: &Credentials,
        info: &AuthenticationInfo,
        body: &[u8],
    ) -> Option<HexDigest> {
        let (nonce, uri) = (credentials.param("nonce")?, credentials.param("uri")?);
        let (count, cnonce) = (credentials.param("nc"), credentials.param("cnonce"));
        let qop = info.param("qop").or_else(|| credentials.param("qop"));
        let protection = match (qop.as_deref().and_then(Qop::parse), &count, &cnonce) {
            (Some(qop), Some(nonce_count), Some(cnonce)) => Some(Protection { qop, nonce_count, cnonce }),
            _ => None,
        };
        let (algorithm, ha1) = (self.algorithm, &self.ha1);
        Some(
            DigestRequest { algorithm, ha1, nonce: &nonce, protection, method: "", uri: &uri, body }
                .response(),
        )
    }
}
