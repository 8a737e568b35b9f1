//! Who sends a request, by its credentials (RFC 3261 §22), and what is held against those who guess.

use std::net::IpAddr;
use std::time::Instant;

use sip_auth::{Begun, ChallengeReason, Secret, Verdict, Verifier};
use sip_message::headers::ProxyAuthorization;
use sip_message::{HeaderName, Request, ResponseBuilder, StatusCode};

use crate::config::count;
use crate::protection::Guard;
use crate::users::UserCache;
use crate::{Counters, Users};

/// What the credentials of a request are judged with.
pub(super) struct Judge<'a> {
    pub(super) verifier: &'a mut Verifier,
    pub(super) users: Known<'a>,
    pub(super) guard: Option<&'a mut Guard>,
    pub(super) counters: &'a mut Counters,
}

/// The users that are known at the moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub(super) list: Option<&'a Users>,
    pub(super) book: Option<&'a UserCache>,
}

impl<'a> Known<'a> {
    fn secret(self, name: &str) -> Option<&'a Secret> {
        let listed = self.list.and_then(|users| users.secret(name));
        listed.or_else(|| self.book.and_then(|book| book.secret(name)))
    }
}

/// The sender is this user, or gets this answer.
pub(super) enum Judged {
    Accepted { user: String, realm: String },
    Refused(Box<ResponseBuilder>),
}

impl Judge<'_> {
    /// Judges a request that came from there.
    pub(super) fn judge(mut self, now: Instant, request: &Request, ip: IpAddr) -> Judged {
        let pending = match self.verifier.begin(request, now) {
            Begun::Decided(verdict) => return self.refused(now, request, &verdict),
            Begun::Lookup(pending) => pending,
        };
        let user = pending.username().to_owned();
        if self.guard.as_mut().is_some_and(|guard| guard.refuses(now, ip, &user)) {
            let reply = request.reply(StatusCode::FORBIDDEN).reason("Too Many Wrong Passwords");
            return Judged::Refused(Box::new(reply));
        }
        let secret = self.users.secret(&user);
        let verdict = self.verifier.finish(pending, secret);
        let guard = self.guard.as_mut();
        match &verdict {
            Verdict::Accepted(accepted) => {
                if let Some(guard) = guard {
                    guard.good(now, ip);
                }
                Judged::Accepted { user, realm: accepted.realm().to_owned() }
            }
            Verdict::Challenge { reason: ChallengeReason::WrongCredentials, .. } => {
                if let Some(guard) = guard {
                    guard.wrong_password(now, ip, &user);
                }
                self.refused(now, request, &verdict)
            }
            _ => self.refused(now, request, &verdict),
        }
    }

    /// The challenge for a request without credentials.
    pub(super) fn challenge(self, now: Instant, request: &Request) -> ResponseBuilder {
        let verdict = Verdict::Challenge { stale: false, reason: ChallengeReason::NoCredentials };
        self.answer(now, request, &verdict)
    }

    fn refused(self, now: Instant, request: &Request, verdict: &Verdict) -> Judged {
        Judged::Refused(Box::new(self.answer(now, request, verdict)))
    }

    fn answer(self, now: Instant, request: &Request, verdict: &Verdict) -> ResponseBuilder {
        if let Verdict::Challenge { reason, .. } = verdict {
            count(&mut self.counters.challenges);
            if matches!(reason, ChallengeReason::WrongCredentials | ChallengeReason::WrongUnchallenged) {
                count(&mut self.counters.wrong_credentials);
                let from = request.headers.text(HeaderName::FROM).unwrap_or_default();
                tracing::info!(from, "wrong user name or password");
            }
        }
        let refusal = self.verifier.refusal(request, verdict, now);
        refusal.unwrap_or_else(|| request.reply(StatusCode::FORBIDDEN))
    }
}

/// Whether a request has credentials for this realm.
pub(super) fn offers(request: &Request, realm: &str) -> bool {
    let mut all = request.headers.all::<ProxyAuthorization>().flatten();
    all.any(|one| one.0.param("realm").as_deref() == Some(realm))
}

/// Takes our credentials off before the request leaves (§22.3: a proxy may); those for other realms stay.
pub(super) fn strip_credentials(request: &mut Request, realm: &str) {
    if !request.headers.contains(HeaderName::PROXY_AUTHORIZATION) {
        return;
    }
    let others: Vec<ProxyAuthorization> = request
        .headers
        .all::<ProxyAuthorization>()
        .flatten()
        .filter(|one| one.0.param("realm").as_deref() != Some(realm))
        .collect();
    request.headers.remove(HeaderName::PROXY_AUTHORIZATION);
    others.iter().for_each(|one| request.headers.push_back(one));
}
