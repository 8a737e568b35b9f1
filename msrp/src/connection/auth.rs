//! AUTH beside the sessions of a connection to a relay (RFC 4976 §5.1).

use std::collections::{HashMap, VecDeque};

use super::{Connection, MAX_CONTROL, SendError, Waiting};
use crate::auth::{Auth, AuthError, Grant, Next};
use crate::event::Failure;
use crate::message::Head;

/// Names an AUTH of a connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthKey(u64);

/// AUTHs under way at once.
const MAX_AUTHS: usize = 64;

/// Those under way, and what came of others.
#[derive(Debug, Default)]
pub(super) struct Auths {
    open: HashMap<AuthKey, Auth>,
    done: VecDeque<(AuthKey, Result<Grant, AuthError>)>,
}

impl Connection {
    /// Asks a relay for a URI: [`poll_auth`](Self::poll_auth) tells what it says.
    ///
    /// # Errors
    /// If too much is under way, or the connection is over.
    pub fn auth(&mut self, auth: Auth) -> Result<AuthKey, SendError> {
        if self.is_closed {
            return Err(SendError::Over);
        }
        if self.auths.open.len() >= MAX_AUTHS || self.control.len() >= MAX_CONTROL {
            return Err(SendError::Full);
        }
        let key = AuthKey(self.key());
        self.ask(key, auth);
        Ok(key)
    }

    /// What came of an AUTH.
    pub fn poll_auth(&mut self) -> Option<(AuthKey, Result<Grant, AuthError>)> {
        self.auths.done.pop_front()
    }

    fn ask(&mut self, key: AuthKey, mut auth: Auth) {
        let (id, token) = (self.fresh_ident(&[]), self.tokens.next());
        match auth.request(id, token) {
            Ok(request) => {
                self.control.push_back(request);
                self.waiting.insert(id, Waiting::Auth(key));
                self.unstarted.push(id);
                self.auths.open.insert(key, auth);
            }
            Err(error) => self.auths.done.push_back((key, Err(error))),
        }
    }

    pub(super) fn is_of_auth(&self, head: &Head) -> bool {
        matches!(self.waiting.get(&head.transaction()), Some(Waiting::Auth(_)))
    }

    pub(super) fn auth_answered(&mut self, head: &Head) {
        let Some(Waiting::Auth(key)) = self.waiting.remove(&head.transaction()) else { return };
        let Some(mut auth) = self.auths.open.remove(&key) else { return };
        match auth.answered(head) {
            Ok(Next::Again) => self.ask(key, auth),
            Ok(Next::Granted(grant)) => self.auths.done.push_back((key, Ok(grant))),
            Err(error) => self.auths.done.push_back((key, Err(error))),
        }
    }

    pub(super) fn auth_failed(&mut self, key: AuthKey, why: Failure) {
        if self.auths.open.remove(&key).is_some() {
            self.auths.done.push_back((key, Err(why.into())));
        }
    }

    pub(super) fn auths_closed(&mut self) {
        let mut open: Vec<AuthKey> = self.auths.open.keys().copied().collect();
        open.sort_unstable();
        for key in open {
            self.auth_failed(key, Failure::Closed);
        }
    }
}
