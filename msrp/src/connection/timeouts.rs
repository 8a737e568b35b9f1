//! What does not come in time: answers to our chunks, and the rest of messages that are there in part (RFC 4975 §7.1.1).

use std::collections::VecDeque;
use std::time::Instant;

use super::{ANSWER_TIME, Connection, Waiting};
use crate::event::{Event, Failure};
use crate::status::StatusCode;

impl Connection {
    /// What was handed out is with the kernel: the time for answers begins.
    pub fn transmitted(&mut self, now: Instant) {
        if let Some(due) = now.checked_add(ANSWER_TIME) {
            self.timers.extend(self.unstarted.drain(..).map(|id| (due, id)));
        }
    }

    /// When [`handle_timeout`](Connection::handle_timeout) is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        while let Some((due, id)) = self.timers.front() {
            if self.waiting.contains_key(id) {
                return Some(self.partial_check.map_or(*due, |check| check.min(*due)));
            }
            self.timers.pop_front();
        }
        self.partial_check
    }

    /// Messages that are there in part, and of which nothing came for [`PARTIAL_TIME`](crate::session::PARTIAL_TIME).
    fn drop_stale(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        for (&key, session) in &mut self.sessions {
            let mut events = VecDeque::new();
            for id in session.inbox.stale(now, &mut next) {
                session.inbox.expire(id, &mut events);
                self.inbound.refuse(key, id, StatusCode::STOP_SENDING, &mut self.control);
            }
            self.events.extend(events.into_iter().map(|event| (key, event)));
        }
        self.partial_check = next;
    }

    /// Answers that did not come, and the rest of messages that did not.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.partial_check.is_some_and(|check| check <= now) {
            self.drop_stale(now);
        }
        while self.timers.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, id)) = self.timers.pop_front() else { return };
            match self.waiting.remove(&id) {
                Some(Waiting::Chunk(message)) => {
                    self.unanswered = self.unanswered.saturating_sub(1);
                    self.fail(message, Failure::Timeout);
                }
                Some(Waiting::Partial(_)) | None => {}
                #[cfg(feature = "auth")]
                Some(Waiting::Auth(key)) => self.auth_failed(key, Failure::Timeout),
                Some(Waiting::First(session)) => self.end_session(session, Failure::Timeout, true),
                Some(Waiting::Nickname(session)) => {
                    self.events.push_back((session, Event::Nickname(StatusCode::TIMEOUT)));
                }
            }
        }
    }
}
