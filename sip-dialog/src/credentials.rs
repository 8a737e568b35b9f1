//! Whose credentials go where: nonces of one dialog never travel to another (RFC 3261 §22.3).

use std::collections::{HashMap, VecDeque};

use sip_auth::{Attempts, Authenticator};
use sip_message::headers::CallId;
use sip_message::{Request, Response};

/// Call-IDs outside of calls whose nonces are kept: registrations and what else a phone repeats. The oldest goes.
const MAX_FREE: usize = 64;

/// One authenticator for each Call-ID, all with the same accounts.
#[derive(Debug, Default)]
pub(crate) struct CredentialStore {
    pub(crate) accounts: Authenticator,
    by_call_id: HashMap<String, Authenticator>,
    free: VecDeque<String>,
}

impl CredentialStore {
    fn of(&mut self, request: &Request, in_call: bool) -> Option<&mut Authenticator> {
        let call_id: CallId = request.headers.get().ok().flatten()?;
        let call_id = call_id.as_str();
        if !self.by_call_id.contains_key(call_id) {
            if !in_call {
                self.free.push_back(call_id.into());
                if self.free.len() > MAX_FREE
                    && let Some(oldest) = self.free.pop_front()
                {
                    self.by_call_id.remove(&oldest);
                }
            }
            self.by_call_id.insert(call_id.into(), self.accounts.without_nonces());
        }
        self.by_call_id.get_mut(call_id)
    }

    /// Signs a new request with the nonces of its Call-ID, if it was challenged before.
    pub(crate) fn authorize(&mut self, request: &mut Request, cnonce: impl FnOnce() -> String) {
        let call_id = request.headers.get::<CallId>().ok().flatten();
        let known = call_id.and_then(|call_id| self.by_call_id.get_mut(call_id.as_str()));
        if let Some(authenticator) = known {
            authenticator.authorize(request, &cnonce());
        }
    }

    /// Answers the challenges of a response, if that can be done.
    pub(crate) fn answer(
        &mut self,
        request: &mut Request,
        response: &Response,
        attempts: &mut Attempts,
        in_call: bool,
        cnonce: &str,
    ) -> bool {
        let Some(authenticator) = self.of(request, in_call) else { return false };
        match authenticator.answer(request, response, attempts, cnonce) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "a challenge is not answered");
                false
            }
        }
    }

    /// Takes over the next nonce of a 2xx; whether its proof, if there is one, is right.
    pub(crate) fn receive_info(&mut self, request: &Request, response: &Response) -> bool {
        let Some(call_id) = request.headers.get::<CallId>().ok().flatten() else { return true };
        match self.by_call_id.get_mut(call_id.as_str()) {
            Some(authenticator) => authenticator
                .receive_info(request, response)
                .inspect_err(|error| tracing::warn!(%error, "the server's proof is wrong"))
                .is_ok(),
            None => true,
        }
    }

    /// The call of this Call-ID is over.
    pub(crate) fn forget(&mut self, call_id: &str) {
        if !self.free.iter().any(|free| free == call_id) {
            self.by_call_id.remove(call_id);
        }
    }
}
