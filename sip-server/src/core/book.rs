//! Requests whose sender names a user who has to be asked for first.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_auth::Secret;
use sip_message::headers::{Authorization, Credentials, ProxyAuthorization};
use sip_message::{Method, Request, StatusCode};
use sip_transaction::ServerTx;
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transport::Path;

use super::ServerCore;
use crate::config::count;
use crate::location::QuestionKey;
use crate::users::UserCache;

/// What is known of users that are in a store outside, and who waits for more.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) cache: UserCache,
    questions: VecDeque<(QuestionKey, String)>,
    waiting: Sharded<QuestionKey, (Held, TimerId)>,
    waiting_for: Sharded<ServerTx, QuestionKey>,
    pub(super) timers: Timers<QuestionKey>,
    timeout: Duration,
    waker: Option<Waker>,
    asked: u64,
}

#[derive(Debug)]
struct Held {
    tx: ServerTx,
    request: Box<Request>,
    path: Path,
    name: String,
}

impl Book {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            cache: UserCache::new(),
            questions: VecDeque::new(),
            waiting: Sharded::new(),
            waiting_for: Sharded::new(),
            timers: Timers::new([timeout]),
            timeout,
            waker: None,
            asked: 0,
        }
    }

    /// The user who is named in credentials for this realm, and was not asked for lately.
    fn wanted(&self, now: Instant, request: &Request, realm: &str) -> Option<String> {
        let ours = |one: &Credentials| one.param("realm").as_deref() == Some(realm);
        let credentials = if *request.method() == Method::Register {
            request.headers.all::<Authorization>().flatten().map(|one| one.0).find(ours)?
        } else {
            request.headers.all::<ProxyAuthorization>().flatten().map(|one| one.0).find(ours)?
        };
        let name = credentials.param("username")?;
        (!self.cache.has(now, &name)).then(|| name.into_owned())
    }

    /// Nobody waits for the user any more. Whether somebody did.
    pub(super) fn forget(&mut self, tx: ServerTx) -> bool {
        let Some(key) = self.waiting_for.remove(&tx) else { return false };
        self.questions.retain(|(asked, _)| *asked != key);
        self.take(key).is_some()
    }

    fn take(&mut self, key: QuestionKey) -> Option<Held> {
        let (held, timer) = self.waiting.remove(&key)?;
        self.timers.cancel(timer);
        self.waiting_for.remove(&held.tx);
        Some(held)
    }
}

impl ServerCore {
    /// The next user name to be looked up in the store of users outside. Give the answer to
    /// [`user_found`](ServerCore::user_found); without one within
    /// [`Limits::question_timeout`](crate::Limits::question_timeout) the request is answered 503.
    pub fn poll_user(&mut self) -> Option<(QuestionKey, String)> {
        self.book.as_mut()?.questions.pop_front()
    }

    /// Wakes `waker` when there is a user name to be looked up again, once.
    pub fn wake_on_user(&mut self, waker: Waker) {
        let Some(book) = &mut self.book else { return };
        if book.questions.is_empty() { book.waker = Some(waker) } else { waker.wake() }
    }

    /// A user was found, or there is none; `Err`: nobody can say. An answer that came too late does nothing.
    pub fn user_found(&mut self, now: Instant, key: QuestionKey, secret: Result<Option<Secret>, ()>) {
        if let Some(held) = self.book.as_mut().and_then(|book| book.take(key)) {
            self.go_on_with(now, held, secret);
            self.settle(now);
        }
    }

    /// Holds a request until its user is known. Gives it back if there is nothing to wait for, or an answer was given.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: Request,
        path: Path,
    ) -> Option<(Request, Path)> {
        if self.book.is_none() {
            return Some((request, path));
        }
        let certified = self.names_by_certificate(&request, &path);
        let Some(book) = &mut self.book else { return Some((request, path)) };
        let certified = certified.into_iter().find(|name| !book.cache.has(now, name));
        let wanted = certified.or_else(|| book.wanted(now, &request, &self.realm));
        let Some(name) = wanted else { return Some((request, path)) };
        let held = Held { tx, request: Box::new(request), path, name };
        if book.waiting.len().max(book.questions.len()) >= self.limits.questions {
            self.go_on_with(now, held, Err(()));
            return None;
        }
        book.asked = book.asked.wrapping_add(1);
        let key = QuestionKey(book.asked);
        let timer = book.timers.arm(now, book.timeout, key);
        book.waiting_for.insert(tx, key);
        book.questions.push_back((key, held.name.clone()));
        book.waiting.insert(key, (held, timer));
        if let Some(waker) = book.waker.take() {
            waker.wake();
        }
        None
    }

    pub(super) fn expire_users(&mut self, now: Instant) {
        while let Some(key) = self.book.as_mut().and_then(|book| book.timers.pop(now)) {
            count(&mut self.layer.counters.questions_unanswered);
            let Some(book) = &mut self.book else { return };
            book.questions.retain(|(asked, _)| *asked != key);
            if let Some(held) = book.take(key) {
                self.go_on_with(now, held, Err(()));
            }
        }
    }

    fn go_on_with(&mut self, now: Instant, held: Held, secret: Result<Option<Secret>, ()>) {
        let Held { tx, request, path, name } = held;
        match (secret, &mut self.book) {
            (Ok(secret), Some(book)) => {
                book.cache.learn(now, &name, secret);
                // A certificate names its user by user part or by address: both may have to be asked for.
                self.request(now, tx, *request, path);
            }
            _ => {
                count(&mut self.layer.counters.overloaded);
                let reply = request.reply(StatusCode::SERVICE_UNAVAILABLE).header(&self.retry_after());
                self.layer.reply(now, tx, reply);
            }
        }
    }
}
