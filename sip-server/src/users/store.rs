//! Users in a database: asked one by one, and remembered for a while.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use sip_auth::Secret;

/// The answer of a [`UserStore`], to be awaited.
pub type Finding<'a> = Pin<Box<dyn Future<Output = Result<Option<Secret>, UserStoreError>> + Send + 'a>>;

/// Whether a [`UserStore`] can be asked, to be awaited.
pub type Ready<'a> = Pin<Box<dyn Future<Output = Result<(), UserStoreError>> + Send + 'a>>;

/// Where users and their secrets are, if not in a list: a database.
///
/// A server asks when credentials with a user's name come, and not again for a minute. It never waits: other requests
/// go on meanwhile, and a request whose answer does not come gets 503.
pub trait UserStore: Send + Sync + 'static {
    /// The secret of a user name; `None` if there is no such user.
    fn find(&self, name: String) -> Finding<'_>;

    /// Whether it can be asked now: a server that starts says so if not, and starts all the same.
    fn ready(&self) -> Ready<'_> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the users cannot be read: {0}")]
pub struct UserStoreError(pub String);

/// Users that were asked for lately, those that do not exist among them: a guesser must not make each of his guesses a question.
#[derive(Debug)]
pub(crate) struct UserCache {
    users: HashMap<Box<str>, (Option<Secret>, Instant)>,
    limit: usize,
}

impl UserCache {
    /// A password that was changed counts after so long.
    pub(crate) const GOOD_FOR: Duration = Duration::from_secs(60);
    /// Names are chosen by whoever sends credentials; a secret is some 100 bytes.
    pub(crate) const LIMIT: usize = 100_000;

    pub(crate) fn new() -> Self {
        Self { users: HashMap::new(), limit: Self::LIMIT }
    }

    /// Whether a name was asked for lately.
    pub(crate) fn has(&self, now: Instant, name: &str) -> bool {
        self.users.get(name).is_some_and(|(_, asked)| fresh(*asked, now))
    }

    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.users.get(name)?.0.as_ref()
    }

    pub(crate) fn learn(&mut self, now: Instant, name: &str, secret: Option<Secret>) {
        if self.users.len() >= self.limit && !self.users.contains_key(name) {
            self.users.retain(|_, (_, asked)| fresh(*asked, now));
            if self.users.len() >= self.limit {
                self.users.clear(); // all of them are asked for again, which costs less than to choose
            }
        }
        self.users.insert(name.into(), (secret, now));
    }
}

fn fresh(asked: Instant, now: Instant) -> bool {
    now.saturating_duration_since(asked) < UserCache::GOOD_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_good_for_a_minute_and_bounded() {
        let now = Instant::now();
        let mut cache = UserCache { limit: 2, ..UserCache::new() };
        cache.learn(now, "alice", Some(Secret::password("x")));
        cache.learn(now, "nobody", None);
        assert!(cache.has(now, "alice") && cache.has(now, "nobody") && !cache.has(now, "bob"));
        assert!(cache.secret("alice").is_some() && cache.secret("nobody").is_none());
        let later = now + UserCache::GOOD_FOR;
        assert!(!cache.has(later, "alice"));
        cache.learn(later, "bob", None);
        assert_eq!(cache.users.len(), 1, "the old ones gave way");
        for name in ["carol", "dave"] {
            cache.learn(later, name, None);
        }
        assert!(cache.users.len() <= 2 && cache.has(later, "dave"));
    }
}
