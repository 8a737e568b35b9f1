//! The server: makes challenges and judges credentials (RFC 3261 §22, RFC 7616, RFC 8760 §2.3).

mod config;
mod credentials;
mod verdict;

use std::time::{Duration, Instant};

use sip_message::headers::{Challenge, Credentials, ProxyAuthenticate, WwwAuthenticate};
use sip_message::{Method, Request, ResponseBuilder, StatusCode};

use crate::algorithm::Algorithm;
use crate::digest::{HexDigest, Qop, ha1};
use crate::fields::{Role, is_digest};
use crate::nonce::{NonceId, NonceKey};
use crate::replay::NonceCounts;
use crate::secret::Secret;

pub use config::{MAX_TRACKED_NONCES, NONCE_LIFETIME, UriCheck, VerifierConfig, VerifierConfigError};
use credentials::{Fields, same_user};
pub use verdict::{Accepted, BadCredentials, ChallengeReason, Verdict};

/// Credentials looked at in one request: proxies of one realm each have their own, but not dozens (RFC 3261 §22.3).
pub const MAX_CREDENTIALS: usize = 8;

/// Credentials waiting for their user's secret: stores may take their time, this crate does not wait.
#[derive(Clone, Debug)]
pub struct Pending {
    fields: Fields,
    nonce: NonceState,
    method: Method,
    /// Kept under `auth-int` only.
    body: Vec<u8>,
}

/// The first step of a verification.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // lives for one look-up
pub enum Begun {
    /// Decided without a secret.
    Decided(Verdict),
    /// Look up [`Pending::username`], then [`Verifier::finish`].
    Lookup(Pending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NonceState {
    Valid(NonceId),
    Expired,
    Foreign,
}

/// Challenges and judges for one realm.
///
/// Nonces need no memory; only the counts of nonces in use are kept. A verifier is cheap to call and never waits.
#[derive(Clone)]
pub struct Verifier {
    config: VerifierConfig,
    key: NonceKey,
    started: Instant,
    started_unix: Duration,
    made: u64,
    counts: NonceCounts,
    /// What unknown users are compared with, so that they cost as much time as known ones.
    nobody: String,
}

impl Verifier {
    /// A verifier that starts at `now`, which is `unix_time` after the Unix epoch: nonces carry that time, so that they
    /// outlive a restart and serve other servers with the same secret.
    ///
    /// # Errors
    /// [`VerifierConfigError`] when the configuration cannot work.
    pub fn new(
        config: VerifierConfig,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Self, VerifierConfigError> {
        for (index, algorithm) in config.algorithms.iter().enumerate() {
            if config.algorithms.iter().take(index).any(|earlier| earlier == algorithm) {
                return Err(VerifierConfigError::AlgorithmTwice(*algorithm));
            }
        }
        if config.algorithms.is_empty() {
            return Err(VerifierConfigError::NoAlgorithm);
        }
        if config.realm.is_empty() || config.realm.contains(char::is_control) {
            return Err(VerifierConfigError::InvalidRealm);
        }
        let key = NonceKey::new(config.secret, &config.realm);
        let nobody = HexDigest::of(&config.secret).as_str().to_owned();
        let counts = NonceCounts::new(config.max_tracked_nonces);
        Ok(Verifier { config, key, started: now, started_unix: unix_time, made: 0, counts, nobody })
    }

    /// How it works.
    pub fn config(&self) -> &VerifierConfig {
        &self.config
    }

    /// How many nonces are tracked now.
    pub fn tracked_nonces(&self) -> usize {
        self.counts.len()
    }

    /// One challenge per algorithm, most wanted first, all with one new nonce.
    pub fn challenges(&mut self, now: Instant, stale: bool) -> Vec<Challenge> {
        let nonce = self.new_nonce(now);
        let qop = if self.config.offer_integrity { "auth,auth-int" } else { "auth" };
        let challenge = |algorithm: &Algorithm| {
            let challenge = Challenge::new("Digest")
                .quoted("realm", &self.config.realm)
                .quoted("nonce", &nonce)
                .token("algorithm", algorithm.as_str())
                .quoted("qop", qop);
            if stale { challenge.token("stale", "true") } else { challenge }
        };
        self.config.algorithms.iter().map(challenge).collect()
    }

    /// The response for a request that was not accepted: 401 or 407 with challenges, or 400. `None` for
    /// [`Verdict::Accepted`] and [`Verdict::Exempt`].
    pub fn refusal(&mut self, request: &Request, verdict: &Verdict, now: Instant) -> Option<ResponseBuilder> {
        match verdict {
            Verdict::Accepted(_) | Verdict::Exempt => None,
            Verdict::Bad(_) => Some(request.reply(StatusCode::BAD_REQUEST)),
            Verdict::Challenge { stale, .. } => {
                let reply = request.reply(self.config.role.status());
                let challenges = self.challenges(now, *stale).into_iter();
                Some(match self.config.role {
                    Role::UserAgent => challenges.fold(reply, |reply, c| reply.header(&WwwAuthenticate(c))),
                    Role::Proxy => challenges.fold(reply, |reply, c| reply.header(&ProxyAuthenticate(c))),
                })
            }
        }
    }

    /// Judges a request with the users at hand: `secret_of` gives a user's secret.
    pub fn verify(
        &mut self,
        request: &Request,
        now: Instant,
        secret_of: impl FnOnce(&str) -> Option<Secret>,
    ) -> Verdict {
        match self.begin(request, now) {
            Begun::Decided(verdict) => verdict,
            Begun::Lookup(pending) => {
                let secret = secret_of(pending.username());
                self.finish(pending, secret.as_ref())
            }
        }
    }

    /// Reads the credentials of a request, as far as that goes without a secret.
    pub fn begin(&self, request: &Request, now: Instant) -> Begun {
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return Begun::Decided(Verdict::Exempt);
        }
        match self.read(request, now) {
            Ok(pending) => Begun::Lookup(pending),
            Err(verdict) => Begun::Decided(verdict),
        }
    }

    /// Judges credentials with the secret of their user; `None` if there is no such user, which takes as long.
    pub fn finish(&mut self, pending: Pending, secret: Option<&Secret>) -> Verdict {
        let Pending { fields, nonce, method, body } = pending;
        let (hash, realm) = (fields.algorithm.hash, &self.config.realm);
        let known = secret.and_then(|secret| secret.for_hash(hash, &fields.username, realm));
        let ha1 = match known {
            Some(ha1) if secret.is_some_and(Secret::is_password) => ha1,
            // A hash is computed for a password only; computing one here as well hides who exists, and how it is stored.
            _ => {
                let cover = std::hint::black_box(ha1(hash, &fields.username, realm, &self.nobody));
                known.unwrap_or(cover)
            }
        };
        let right = fields.digest_request(&ha1, method.as_str(), &body).response().same_as(&fields.response);
        let challenge = |stale, reason| Verdict::Challenge { stale, reason };
        if !right || known.is_none() || fields.hashed {
            return challenge(
                false,
                match nonce {
                    NonceState::Valid(_) => ChallengeReason::WrongCredentials,
                    NonceState::Expired | NonceState::Foreign => ChallengeReason::WrongUnchallenged,
                },
            );
        }
        // The secret is right from here on: what remains is the nonce's fault (RFC 7616 §3.3, `stale`).
        let id = match nonce {
            NonceState::Valid(id) => id,
            NonceState::Expired => return challenge(true, ChallengeReason::ExpiredNonce),
            NonceState::Foreign => return challenge(true, ChallengeReason::ForeignNonce),
        };
        // Without a count every further use is as good as a replay.
        let count = fields.protection.as_ref().map_or(u32::MAX, |(_, _, count, _)| *count);
        if !self.counts.accept(id, count) {
            return challenge(true, ChallengeReason::Replayed);
        }
        Verdict::Accepted(Accepted { fields: Box::new(fields), realm: self.config.realm.clone(), ha1 })
    }

    /// A nonce for [`Accepted::authentication_info`], to spare the client the next challenge.
    pub fn new_nonce(&mut self, now: Instant) -> String {
        let made = self.unix_milliseconds(now);
        self.counts.drop_before(made.saturating_sub(milliseconds(self.config.nonce_lifetime)));
        self.made = self.made.wrapping_add(1);
        self.key.write(NonceId { made, number: self.made })
    }

    fn read(&self, request: &Request, now: Instant) -> Result<Pending, Verdict> {
        let none = || Verdict::Challenge { stale: false, reason: ChallengeReason::NoCredentials };
        let all = self.config.role.credentials(&request.headers);
        if all.len() > MAX_CREDENTIALS {
            return Err(Verdict::Bad(BadCredentials::TooMany));
        }
        let unreadable = all.iter().any(Option::is_none);
        let ours: Vec<&Credentials> = all
            .iter()
            .flatten()
            .filter(|credentials| is_digest(credentials.scheme()))
            .filter(|credentials| credentials.param("realm").as_deref() == Some(&self.config.realm))
            .collect();
        // Servers of one realm each have credentials of their own (RFC 3261 §22.3): ours are those with our nonce.
        let is_ours =
            |c: &&&Credentials| c.param("nonce").is_some_and(|nonce| self.key.read(&nonce).is_some());
        let chosen = if ours.len() > 1 { ours.iter().find(is_ours) } else { None };
        let Some(credentials) = chosen.or(ours.first()) else {
            return Err(if unreadable { Verdict::Bad(BadCredentials::Malformed) } else { none() });
        };
        // Phones that announce their name before they are asked send these empty (RFC 8760 §2.7, RFC 3310).
        let empty = |name| credentials.param(name).is_some_and(|value| value.is_empty());
        if empty("nonce") || empty("response") {
            return Err(none());
        }
        let algorithm = match Algorithm::of_parameter(credentials.param("algorithm").as_deref()) {
            Ok(algorithm) if self.config.algorithms.contains(&algorithm) => algorithm,
            _ => {
                let reason = ChallengeReason::AlgorithmNotOffered;
                return Err(Verdict::Challenge { stale: false, reason });
            }
        };
        let fields = Fields::read(credentials, algorithm).map_err(Verdict::Bad)?;
        if fields.protection.is_none() && !self.config.accept_without_qop {
            return Err(Verdict::Challenge { stale: false, reason: ChallengeReason::WithoutQop });
        }
        if self.config.uri_check == UriCheck::SameUser && !same_user(&fields.uri, request.uri_text()) {
            return Err(Verdict::Bad(BadCredentials::OtherUri));
        }
        let nonce = self.nonce_state(&fields.nonce, now);
        let integrity = matches!(fields.protection, Some((Qop::AuthInt, ..)));
        let body = if integrity { request.body().to_vec() } else { Vec::new() };
        Ok(Pending { fields, nonce, method: request.method().clone(), body })
    }

    fn nonce_state(&self, nonce: &str, now: Instant) -> NonceState {
        let Some(id) = self.key.read(nonce) else { return NonceState::Foreign };
        // From the future: made by another server whose clock is ahead. No more of that than of age.
        let age = self.unix_milliseconds(now).abs_diff(id.made);
        if age <= milliseconds(self.config.nonce_lifetime) {
            NonceState::Valid(id)
        } else {
            NonceState::Expired
        }
    }

    fn unix_milliseconds(&self, now: Instant) -> u64 {
        milliseconds(self.started_unix.saturating_add(now.saturating_duration_since(self.started)))
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Pending {
    /// The user whose secret is wanted, in the verifier's realm.
    pub fn username(&self) -> &str {
        &self.fields.username
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
