//! Asking relays for URIs (RFC 4976 §5.1): the client's half of AUTH, without socket, clock or randomness.

pub mod digest;

use std::time::Duration;

use bytes::Bytes;

use crate::event::Failure;
use crate::message::{Flag, Head, HeadWriter, Ident, Method, Start, number};
use crate::status::StatusCode;
use crate::uri::{Path, Uri, UriError};
use digest::{Algorithm, Parameters, Question, quoted, same};

/// The port of relays (RFC 4976 §8).
pub const RELAY_PORT: u16 = 2855;
/// Requests for one URI: a relay that always finds another reason to ask again is none to wait for.
const MAX_ATTEMPTS: usize = 5;

/// Who asks.
#[derive(Clone)]
pub struct Account {
    username: String,
    password: String,
    expires: Option<u64>,
    over_plain_tcp: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Account {
    /// A name and its password.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into(), expires: None, over_plain_tcp: false }
    }

    /// How many seconds the URIs shall be valid; otherwise the relay says.
    #[must_use]
    pub fn expires(mut self, seconds: u64) -> Self {
        self.expires = Some(seconds);
        self
    }

    /// Also asks relays whose URI is `msrp`. RFC 4976 §9.2 forbids it: whoever listens can use the URIs that are handed out.
    #[must_use]
    pub fn over_plain_tcp(mut self) -> Self {
        self.over_plain_tcp = true;
        self
    }
}

/// Why there is no URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The relay's URI is not `msrps` (RFC 4976 §9.2).
    #[error("AUTH is only sent over TLS")]
    Insecure,
    /// The credentials are not the relay's.
    #[error("the relay does not know the name or the password")]
    Credentials,
    /// The relay allows this account nothing (403).
    #[error("the relay does not allow it")]
    Forbidden,
    /// The relay asks for something other than digest with `qop=auth`, or answers in a way that cannot be understood.
    #[error("the relay's answer has no proper {0}")]
    Answer(&'static str),
    /// The relay did not prove that it knows the password (RFC 4976 §9.4).
    #[error("the relay does not know the password itself")]
    NotProven,
    /// The relay asked again and again.
    #[error("the relay asks without end")]
    TooOften,
    /// Another refusal, silence, or the end of the connection.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The name has a character that no header field can have.
    #[error("the account's name is no text of one line")]
    Name,
    /// The relays make no path.
    #[error(transparent)]
    Path(#[from] UriError),
}

/// What a relay gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    use_path: Path,
    expires: Option<u64>,
}

impl Grant {
    /// The relays in the order in which we use them.
    #[must_use]
    pub fn use_path(&self) -> &Path {
        &self.use_path
    }

    /// For how many seconds.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// After what time to ask again: nine tenths of the validity. The URIs are then others, and have to be agreed upon with the peer
    /// by a new offer (RFC 4976 §9.4).
    #[must_use]
    pub fn renew_after(&self) -> Option<Duration> {
        self.expires.map(|seconds| Duration::from_secs(seconds.saturating_mul(9).div_euclid(10)))
    }

    /// What goes into our `a=path`: the relays from the outermost on, then ourselves.
    ///
    /// # Errors
    /// If the path becomes too long.
    pub fn offered(&self, own: &Uri) -> Result<Path, UriError> {
        Path::new(self.use_path.uris().iter().rev().chain([own]).cloned().collect())
    }

    /// The way to a peer, from its `a=path`.
    ///
    /// # Errors
    /// If the path becomes too long.
    pub fn towards(&self, peer: &Path) -> Result<Path, UriError> {
        Path::new(self.use_path.uris().iter().chain(peer.uris()).cloned().collect())
    }
}

/// What a relay asked for.
#[derive(Clone, Debug)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    named: bool,
    /// How often the nonce was used.
    count: u32,
}

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send [`Auth::request`] again.
    Again,
    /// The relay gave URIs.
    Granted(Grant),
}

/// One client at one relay. It can ask any number of times: nonces are used again.
#[derive(Debug)]
pub struct Auth {
    account: Account,
    to: Path,
    from: Uri,
    challenge: Option<Challenge>,
    /// What the last request was signed with.
    signed: Option<(String, String, String)>,
    expires: Option<u64>,
    attempts: usize,
}

impl Auth {
    /// One that asks the last relay of this path, through those before it, whose URIs were handed out to us.
    ///
    /// # Errors
    /// If one of them is not reached over TLS.
    pub fn new(account: Account, to: Path, from: Uri) -> Result<Self, AuthError> {
        if !account.over_plain_tcp && !to.uris().iter().all(Uri::is_secure) {
            return Err(AuthError::Insecure);
        }
        let expires = account.expires;
        Ok(Self { account, to, from, challenge: None, signed: None, expires, attempts: 0 })
    }

    /// The path to the relay.
    #[must_use]
    pub fn to(&self) -> &Path {
        &self.to
    }

    /// The next request. `token` is random.
    ///
    /// # Errors
    /// If the name has line ends.
    pub fn request(&mut self, transaction: Ident, token: u64) -> Result<Bytes, AuthError> {
        let mut writer = HeadWriter::request(transaction, &Method::Auth)
            .typed("To-Path", &self.to)
            .typed("From-Path", &self.from);
        self.signed = None;
        if let Some(challenge) = &mut self.challenge {
            let Challenge { realm, nonce, opaque, algorithm, named, count } = challenge;
            *count = count.saturating_add(1);
            let (count, cnonce) = (format!("{count:08x}"), format!("{token:016x}"));
            let uri = self.to.last().map(Uri::as_str).unwrap_or_default();
            let ha1 = algorithm.ha1(&self.account.username, realm, &self.account.password);
            let question = Question {
                algorithm: *algorithm,
                ha1: &ha1,
                nonce: nonce.as_str(),
                count: &count,
                cnonce: &cnonce,
                method: "AUTH",
                uri,
            };
            let mut value = format!(
                "Digest username={}, realm={}, nonce={}, uri={}, qop=auth, nc={count}, cnonce=\"{cnonce}\", response=\"{}\"",
                quoted(&self.account.username),
                quoted(realm),
                quoted(nonce),
                quoted(uri),
                question.response()
            );
            if *named {
                value += &format!(", algorithm={}", algorithm.as_str());
            }
            if let Some(opaque) = opaque {
                value += &format!(", opaque={}", quoted(opaque));
            }
            writer = writer.field("Authorization", &value).map_err(|_| AuthError::Name)?;
            let proof = Question { method: "", ..question }.response();
            self.signed = Some((nonce.clone(), cnonce, proof));
        }
        if let Some(expires) = self.expires {
            writer = writer.typed("Expires", expires);
        }
        Ok(writer.without_body(Flag::Complete))
    }

    /// The answer to the last request.
    ///
    /// # Errors
    /// If there will be no URI.
    pub fn answered(&mut self, head: &Head) -> Result<Next, AuthError> {
        self.attempts = self.attempts.saturating_add(1);
        let Start::Response(status) = *head.start() else { return Err(AuthError::Answer("status")) };
        match status {
            status if status.is_success() => {
                self.attempts = 0;
                return self.granted(head).map(Next::Granted);
            }
            StatusCode::UNAUTHORIZED => self.challenged(head)?,
            StatusCode::FORBIDDEN => return Err(AuthError::Forbidden),
            StatusCode::OUT_OF_BOUNDS => self.out_of_bounds(head)?,
            status => return Err(Failure::Status(status).into()),
        }
        if self.attempts >= MAX_ATTEMPTS {
            return Err(AuthError::TooOften);
        }
        Ok(Next::Again)
    }

    /// RFC 2617 §3.2.1; the restrictions of RFC 4976 §9.1.
    fn challenged(&mut self, head: &Head) -> Result<(), AuthError> {
        let bad = AuthError::Answer("WWW-Authenticate");
        // Of several, the first that can be answered.
        let understood = head
            .fields()
            .filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"))
            .filter_map(|(_, value)| Parameters::of_digest(value))
            .find_map(|read| {
                let has_auth = read.get("qop")?.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth"));
                let algorithm = read.algorithm().filter(|_| has_auth)?;
                let stale = read.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
                let challenge = Challenge {
                    realm: read.get("realm")?.to_owned(),
                    nonce: read.get("nonce")?.to_owned(),
                    opaque: read.get("opaque").map(str::to_owned),
                    algorithm,
                    named: read.get("algorithm").is_some(),
                    count: 0,
                };
                Some((challenge, stale))
            });
        let (challenge, stale) = understood.ok_or(bad)?;
        if self.signed.is_some() && !stale {
            return Err(AuthError::Credentials);
        }
        self.challenge = Some(challenge);
        Ok(())
    }

    fn out_of_bounds(&mut self, head: &Head) -> Result<(), AuthError> {
        let bound = |name: &str| head.get(name).and_then(number);
        let allowed = match (bound("Min-Expires"), bound("Max-Expires"), self.expires) {
            // A relay that names no bound may still have a time of its own.
            (None, None, Some(_)) => {
                self.expires = None;
                return Ok(());
            }
            (Some(least), _, Some(wanted)) if wanted < least => least,
            (_, Some(most), Some(wanted)) if wanted > most => most,
            (least, most, None) => least.or(most).ok_or(AuthError::Answer("Min-Expires or Max-Expires"))?,
            _ => return Err(AuthError::Answer("Min-Expires or Max-Expires")),
        };
        self.expires = Some(allowed);
        Ok(())
    }

    fn granted(&mut self, head: &Head) -> Result<Grant, AuthError> {
        let information = head.get("Authentication-Info").and_then(Parameters::parse);
        if let (Some(read), Some((_, cnonce, proof))) = (&information, &self.signed) {
            let proven = read.get("rspauth").is_none_or(|other| same(&other.to_ascii_lowercase(), proof))
                && read.get("cnonce").is_none_or(|other| other == cnonce);
            if !proven {
                return Err(AuthError::NotProven);
            }
            if let (Some(next), Some(challenge)) = (read.get("nextnonce"), &mut self.challenge) {
                next.clone_into(&mut challenge.nonce);
                challenge.count = 0;
            }
        }
        let use_path = head.use_path().map_err(|_| AuthError::Answer("Use-Path"))?;
        // Nobody could be given a URI without port or session (RFC 4976 §4.2).
        if !use_path.uris().iter().all(|uri| uri.port().is_some() && uri.session_id().is_some()) {
            return Err(AuthError::Answer("Use-Path"));
        }
        let expires = head.expires().map_err(|_| AuthError::Answer("Expires"))?;
        Ok(Grant { use_path, expires })
    }
}
