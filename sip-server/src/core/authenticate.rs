//! Who sends a request, by credentials or by certificate (RFC 3261 §22.3).

use std::time::Instant;

use sip_message::headers::From;
use sip_message::{Request, ResponseBuilder, StatusCode};
use sip_transaction::ServerTx;
use sip_transport::Path;

use super::ServerCore;
use super::common::Common;
use super::credentials::{Judge, Judged, Known, offers, strip_credentials};
use super::peers::Certified;
use crate::AddressOfRecord;
use crate::config::count;
use crate::users::owns;

impl ServerCore {
    /// §22.3: which user of ours the sender has proved to be. Only those who claim to be one are asked.
    pub(super) fn authenticate(
        &mut self,
        now: Instant,
        tx: ServerTx,
        (request, path): (&mut Request, &Path),
        proven: bool,
    ) -> Result<Option<String>, Box<ResponseBuilder>> {
        if self.calls.is_none() {
            return Ok(None);
        }
        let from = request.headers.get::<From>().ok().flatten();
        let claimed = from.as_ref().and_then(|from| self.domains.aor(from.uri()));
        if proven {
            // Many phones send their credentials along unasked.
            strip_credentials(request, &self.realm);
            return Ok(None);
        }
        match self.by_certificate(request, path, claimed.as_ref()) {
            Some(Ok(user)) => {
                strip_credentials(request, &self.realm);
                self.proved(now, tx, path, &user);
                return Ok(Some(user));
            }
            Some(Err(reply)) => {
                count(&mut self.layer.counters.refused);
                return Err(reply);
            }
            None => {}
        }
        if !offers(request, &self.realm) {
            // A carrier sends calls with the called or the forwarding number as From: who that is it cannot prove. It reaches what
            // strangers reach; for more it is asked, where it is refused.
            let peer = self.peers.at(path).map(|peer| &**peer);
            match self.rules.trunk_may_say(path.remote.ip(), peer, from.as_ref().map(|from| from.uri())) {
                Some(true) => return Ok(None),
                Some(false) => {
                    count(&mut self.layer.counters.refused);
                    return Err(Box::new(
                        request.reply(StatusCode::FORBIDDEN).reason("Not a From of This Trunk"),
                    ));
                }
                // Nobody who claims to be ours; credentials, if any, are for somebody else's realm.
                None if claimed.is_none() => return Ok(None),
                None => {}
            }
        }
        let Some(verifier) = &self.calls else { return Ok(None) };
        let (mut verifier, mut guard) = (verifier.lock(), self.guard.as_ref().map(Common::lock));
        let judge = Judge {
            verifier: &mut verifier,
            users: Known { list: self.users.as_ref(), book: self.book.as_ref().map(|book| &book.cache) },
            guard: guard.as_deref_mut(),
            counters: &mut self.layer.counters,
        };
        match judge.judge(now, request, path.remote.ip()) {
            Judged::Accepted { user, realm } => {
                if claimed.as_ref().is_some_and(|claimed| !owns(&user, claimed)) {
                    count(&mut self.layer.counters.refused);
                    return Err(Box::new(request.reply(StatusCode::FORBIDDEN).reason("From Is Not Yours")));
                }
                if let Some(calls) = &mut self.layer.calls {
                    calls.authenticated(tx, &user);
                }
                strip_credentials(request, &realm);
                Ok(Some(user))
            }
            Judged::Refused(_) if claimed.is_none() => Ok(None),
            Judged::Refused(reply) => Err(reply),
        }
    }

    /// Who sends by the certificate of the connection; or the refusal for who is somebody else.
    fn by_certificate(
        &self,
        request: &Request,
        path: &Path,
        claimed: Option<&AddressOfRecord>,
    ) -> Option<Result<String, Box<ResponseBuilder>>> {
        let Some(claimed) = claimed else {
            let from = request.headers.get::<From>().ok().flatten()?;
            let nameless = from.uri().host().eq_ignore_ascii_case("anonymous.invalid");
            return if nameless { self.certified_anonymous(path).map(Ok) } else { None };
        };
        match self.certified(request, path, claimed) {
            Certified::User(user) => Some(Ok(user)),
            Certified::Another(named) => {
                tracing::info!(%named, %claimed, "a certificate is another user's");
                Some(Err(Box::new(request.reply(StatusCode::FORBIDDEN).reason("From Is Not Yours"))))
            }
            Certified::Nothing => None,
        }
    }

    /// A certificate has proved who sends.
    pub(super) fn proved(&mut self, now: Instant, tx: ServerTx, path: &Path, user: &str) {
        if let Some(guard) = &self.guard {
            guard.lock().good(now, path.remote.ip());
        }
        if let Some(calls) = &mut self.layer.calls {
            calls.authenticated(tx, user);
        }
    }

    /// The challenge for a request without credentials, if there are users who have some.
    pub(super) fn challenge(&mut self, now: Instant, request: &Request) -> Option<ResponseBuilder> {
        let mut verifier = self.calls.as_ref()?.lock();
        let judge = Judge {
            verifier: &mut verifier,
            users: Known::default(),
            guard: None,
            counters: &mut self.layer.counters,
        };
        Some(judge.challenge(now, request))
    }
}
