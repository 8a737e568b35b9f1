//! The client: answers challenges and signs later requests (RFC 3261 §22.2, §22.3, RFC 8760 §2.4).

mod session;

use sip_message::headers::{AuthenticationInfo, Credentials};
use sip_message::{Request, Response};

use crate::algorithm::Hash;
use crate::digest::HexDigest;
use crate::fields::{Role, is_digest};
use crate::secret::Secret;
use session::{Account, Offer, Session};

/// Challenges read from one response. A forking proxy adds up those of several servers, but not of hundreds.
const MAX_CHALLENGES: usize = 32;
/// Realms whose nonces are kept; the one unused for longest goes first. Servers choose the names, so there has to be an end.
const MAX_SESSIONS: usize = 16;
/// Answers to one realm for one request: the first, and one more when the nonce was stale. More is a server (or a loop)
/// that will never be content.
const MAX_TRIES: u8 = 2;

/// Which of several challenges for one realm is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preference {
    /// The strongest algorithm that both sides have: the local policy that RFC 8760 §2.4 leaves room for, since servers
    /// that list MD5 first do so for clients that know nothing else.
    #[default]
    Strongest,
    /// The topmost one understood.
    Topmost,
}

/// What a client does and refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Which challenge is answered.
    pub preference: Preference,
    /// Weaker hashes are not answered. [`Hash::Md5`] answers all.
    pub weakest: Hash,
    /// Protect the body as well (`auth-int`) where the server offers both. A proxy that edits session descriptions on the
    /// way would break it, so it is off by default.
    pub prefer_integrity: bool,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        ClientPolicy { preference: Preference::default(), weakest: Hash::Md5, prefer_integrity: false }
    }
}

/// The tries of one request, across its retries: make one with the request, and pass it to every
/// [`Authenticator::answer`] for it.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Vec<(Role, String, u8)>);

/// Why a challenge is not answered. The request has failed with the response at hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Neither 401 nor 407.
    #[error("a response with status {0} holds no challenge to answer")]
    NotAChallenge(u16),
    /// There is no challenge in it, or none of a scheme, algorithm and quality of protection that can be answered.
    #[error("the response has no challenge that is understood and allowed")]
    NoUsableChallenge,
    /// No account for any realm that asks.
    #[error("there is no account for {}", realms.join(", "))]
    NoAccount {
        /// The realms, in the order of the response.
        realms: Vec<String>,
    },
    /// The credentials were refused (RFC 3261 §22.1: they must not be tried again). User name or password are wrong.
    #[error("the credentials for {realm} were rejected")]
    Rejected {
        /// The realm.
        realm: String,
    },
    /// The realm asks again and again for the same request.
    #[error("{realm} keeps asking for credentials")]
    TooManyTries {
        /// The realm.
        realm: String,
    },
    /// The server's proof in Authentication-Info does not fit: it does not know the password (RFC 7616 §3.5).
    #[error("the server failed to prove that it knows the password for {realm}")]
    ServerNotAuthentic {
        /// The realm.
        realm: String,
    },
}

/// Accounts, and the nonces of the realms met so far.
///
/// Credentials for proxies must not travel to other dialogs (RFC 3261 §22.3): use one authenticator per dialog or
/// registration, from [`Authenticator::without_nonces`].
#[derive(Clone, Debug, Default)]
pub struct Authenticator {
    policy: ClientPolicy,
    accounts: Vec<Account>,
    /// The one used last at the end.
    sessions: Vec<Session>,
}

impl Authenticator {
    /// Without accounts yet.
    pub fn new(policy: ClientPolicy) -> Self {
        Authenticator { policy, ..Self::default() }
    }

    /// Adds an account for one realm, or with `None` for all realms that have none of their own. Later ones replace
    /// earlier ones of the same realm, and the nonces in use with them.
    pub fn add_account(&mut self, realm: Option<&str>, username: impl Into<String>, secret: Secret) {
        self.accounts.retain(|account| account.realm.as_deref() != realm);
        self.accounts.push(Account { realm: realm.map(str::to_owned), username: username.into(), secret });
        self.sessions.retain(|session| realm.is_some_and(|realm| session.realm != realm));
    }

    /// The same accounts and policy, without any nonce.
    #[must_use]
    pub fn without_nonces(&self) -> Self {
        Authenticator { policy: self.policy, accounts: self.accounts.clone(), sessions: Vec::new() }
    }

    /// Answers the challenges of a 401 or 407: puts credentials into `request`, which must be the one that the response
    /// is for, in place of those it had. The caller gives it the next CSeq number and a new branch and sends it again
    /// (RFC 3261 §22.2). `cnonce` is random text of the caller's.
    ///
    /// Every realm with an account is answered at once (§22.3).
    ///
    /// # Errors
    /// [`ClientError`] when nothing can be answered, or the same credentials would only be refused again; the request is
    /// unchanged then.
    pub fn answer(
        &mut self,
        request: &mut Request,
        response: &Response,
        attempts: &mut Attempts,
        cnonce: &str,
    ) -> Result<(), ClientError> {
        // A forked request can bring both kinds of challenges in either response (RFC 3261 §16.7).
        let status = response.status();
        if !Role::BOTH.iter().any(|role| role.status() == status) {
            return Err(ClientError::NotAChallenge(status.code()));
        }
        let (mut new, mut strangers) = (Vec::new(), Vec::new());
        for role in Role::BOTH {
            let challenges = role.challenges(&response.headers);
            let challenges: Vec<Offer> =
                challenges.iter().take(MAX_CHALLENGES).filter_map(|c| Offer::read(c, &self.policy)).collect();
            let mut realms: Vec<&str> = Vec::new();
            for offer in &challenges {
                if !realms.contains(&offer.realm.as_str()) {
                    realms.push(&offer.realm);
                }
            }
            for realm in realms {
                let Some(account) = self.account(realm) else {
                    strangers.push(realm.to_owned());
                    continue;
                };
                let same =
                    challenges.iter().filter(|o| o.realm == realm && account.secret.serves(o.algorithm.hash));
                let chosen = match self.policy.preference {
                    Preference::Topmost => same.into_iter().next(),
                    // `max_by_key` gives the last of equals; the first is meant.
                    Preference::Strongest => same.rev().max_by_key(|offer| offer.algorithm),
                };
                let Some(offer) = chosen else { continue };
                attempts.check(role, offer, request)?;
                if let Some(session) = offer.session(role, account) {
                    new.push(session);
                }
            }
        }
        if new.is_empty() {
            let unknown = strangers.is_empty();
            return Err(if unknown {
                ClientError::NoUsableChallenge
            } else {
                ClientError::NoAccount { realms: strangers }
            });
        }
        for session in new {
            attempts.count(session.role, &session.realm);
            self.keep(session);
        }
        self.authorize(request, cnonce);
        Ok(())
    }

    /// Puts credentials for all realms met so far into a new request, with the next nonce counts, so that it need not be
    /// challenged (RFC 3261 §22.2). Returns how many. Not for ACK and CANCEL: the first repeats the credentials of its
    /// INVITE, the second is never challenged (§22.1).
    pub fn authorize(&mut self, request: &mut Request, cnonce: &str) -> usize {
        // A counter at its end would repeat: such a nonce is used up.
        self.sessions.retain(|session| session.count < u32::MAX);
        for role in Role::BOTH {
            let others: Vec<Credentials> = role
                .credentials(&request.headers)
                .into_iter()
                .flatten()
                .filter(|present| !self.sessions.iter().any(|session| session.wrote(role, present)))
                .collect();
            let ours: Vec<Credentials> = self
                .sessions
                .iter_mut()
                .filter(|session| session.role == role)
                .map(|session| session.sign(request, cnonce))
                .collect();
            role.remove_credentials(&mut request.headers);
            for credentials in others.into_iter().chain(ours) {
                role.push_credentials(&mut request.headers, credentials);
            }
        }
        self.sessions.len()
    }

    /// Reads the Authentication-Info of a 2xx to a request with our credentials (RFC 7616 §3.5): takes over the next
    /// nonce, and checks the server's proof if there is one. Without the field there is nothing to do.
    ///
    /// # Errors
    /// [`ClientError::ServerNotAuthentic`] when the proof is wrong.
    pub fn receive_info(&mut self, request: &Request, response: &Response) -> Result<(), ClientError> {
        let Ok(Some(info)) = response.headers.get::<AuthenticationInfo>() else { return Ok(()) };
        let sent: Vec<Credentials> =
            Role::UserAgent.credentials(&request.headers).into_iter().flatten().collect();
        let fits = |credentials: &&Credentials| match (info.param("cnonce"), info.param("nc")) {
            (Some(cnonce), Some(count)) => {
                credentials.param("cnonce") == Some(cnonce) && credentials.param("nc") == Some(count)
            }
            _ => sent.len() == 1,
        };
        let Some(credentials) = sent.iter().find(fits) else { return Ok(()) };
        let Some(session) =
            self.sessions.iter_mut().find(|session| session.wrote(Role::UserAgent, credentials))
        else {
            return Ok(());
        };
        if let Some(proof) = info.param("rspauth") {
            let expected = session.proof(credentials, &info, response.body());
            let given = HexDigest::parse(session.algorithm.hash, &proof);
            if !given.zip(expected).is_some_and(|(given, expected)| given.same_as(&expected)) {
                return Err(ClientError::ServerNotAuthentic { realm: session.realm.clone() });
            }
        }
        if let Some(next) = info.param("nextnonce").filter(|next| !next.is_empty() && **next != session.nonce)
        {
            session.nonce = next.into_owned();
            session.count = 0;
            session.cnonce = None;
        }
        Ok(())
    }

    fn account(&self, realm: &str) -> Option<&Account> {
        let exact = self.accounts.iter().find(|account| account.realm.as_deref() == Some(realm));
        exact.or_else(|| self.accounts.iter().find(|account| account.realm.is_none()))
    }

    /// Keeps a session in place of the earlier one of its realm.
    fn keep(&mut self, mut session: Session) {
        if let Some(at) =
            self.sessions.iter().position(|known| known.role == session.role && known.realm == session.realm)
        {
            let known = self.sessions.remove(at);
            // The same nonce once more (a challenge to another request of ours that crossed): its count goes on.
            if known.nonce == session.nonce {
                session.count = known.count;
                session.cnonce = known.cnonce.filter(|_| known.algorithm == session.algorithm);
            }
        }
        self.sessions.push(session);
        if self.sessions.len() > MAX_SESSIONS {
            self.sessions.remove(0);
        }
    }
}

impl Attempts {
    /// Whether the realm may be answered (once more).
    fn check(&self, role: Role, offer: &Offer, request: &Request) -> Result<(), ClientError> {
        let realm = || offer.realm.clone();
        let tries = self.tries(role, &offer.realm);
        if tries >= MAX_TRIES {
            return Err(ClientError::TooManyTries { realm: realm() });
        }
        let refused = role.credentials(&request.headers).into_iter().flatten().find(|credentials| {
            is_digest(credentials.scheme()) && credentials.param("realm").as_deref() == Some(&offer.realm)
        });
        let Some(refused) = refused else { return Ok(()) };
        let same_nonce = refused.param("nonce").as_deref() == Some(&offer.nonce);
        // An answer to a fresh challenge was refused: only a stale nonce excuses that. Credentials sent unasked, with a
        // nonce from earlier, may simply be outdated at a server that does not say `stale`.
        if !offer.stale && (tries > 0 || same_nonce) {
            return Err(ClientError::Rejected { realm: realm() });
        }
        Ok(())
    }

    fn tries(&self, role: Role, realm: &str) -> u8 {
        self.0.iter().find(|(r, name, _)| *r == role && name == realm).map_or(0, |(.., tries)| *tries)
    }

    fn count(&mut self, role: Role, realm: &str) {
        match self.0.iter_mut().find(|(r, name, _)| *r == role && name == realm) {
            Some((.., tries)) => *tries = tries.saturating_add(1),
            None => self.0.push((role, realm.to_owned(), 1)),
        }
    }
}
