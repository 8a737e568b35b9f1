//! Messages of ours, from the application's hands to the last that is told of them: when each begins, and when it has left, was
//! delivered or has failed (RFC 4975 §5.1, §7.1.2).

use bytes::Bytes;

use super::{Connection, MAX_INTERLEAVED, MAX_OUTGOING, MAX_SENT, MessageKey, SendError, SessionKey};
use crate::event::{Event, Failure};
use crate::message::{FailureReport, Ident};
use crate::outgoing::{Message, Outgoing};

impl Connection {
    /// Sends a message, or begins to if its content is fed.
    ///
    /// # Errors
    /// If the session is over, the peer unknown, too much under way, or a field is none.
    pub fn send(&mut self, key: SessionKey, message: Message) -> Result<MessageKey, SendError> {
        let session = self.sessions.get(&key).ok_or(SendError::Over)?;
        if session.paths.is_none() {
            return Err(SendError::NotBound);
        }
        if self.outgoing.len().saturating_sub(self.sent.len()) >= MAX_OUTGOING {
            return Err(SendError::Full);
        }
        let id = message.id.unwrap_or_else(|| Ident::from_token(self.tokens.next()));
        let outgoing = Outgoing::new(key.0, id, message)?;
        let name = MessageKey(self.key());
        let is_ready = outgoing.is_ready();
        self.by_id.insert((key, id), name);
        self.outgoing.insert(name, outgoing);
        if is_ready {
            self.enqueue(name);
        }
        Ok(name)
    }

    /// More of a message that is fed. It takes what it is given: [`Event::Drained`] tells when there is room.
    ///
    /// # Errors
    /// If the message is over, or longer than was declared.
    pub fn feed(&mut self, key: MessageKey, octets: Bytes) -> Result<(), SendError> {
        let message =
            self.outgoing.get_mut(&key).filter(|message| !message.finished).ok_or(SendError::Over)?;
        let length =
            message.position.saturating_add(message.queued as u64).saturating_add(octets.len() as u64);
        if message.total.is_some_and(|total| length > total) {
            return Err(SendError::Length);
        }
        let was_ready = message.is_ready();
        message.feed(octets);
        let is_open = self.open.as_ref().is_some_and(|open| open.message == key);
        if !was_ready && message.is_ready() && !is_open {
            self.enqueue(key);
        }
        Ok(())
    }

    /// All of a message has been fed.
    ///
    /// # Errors
    /// If the message is over, or shorter than was declared; it then can only be [aborted](Connection::abort).
    pub fn finish(&mut self, key: MessageKey) -> Result<(), SendError> {
        let message =
            self.outgoing.get_mut(&key).filter(|message| !message.finished).ok_or(SendError::Over)?;
        let length = message.position.saturating_add(message.queued as u64);
        if message.total.is_some_and(|total| length != total) {
            return Err(SendError::Length);
        }
        let was_ready = message.is_ready();
        message.finished = true;
        message.total = Some(length);
        let is_open = self.open.as_ref().is_some_and(|open| open.message == key);
        if !was_ready && !is_open {
            self.enqueue(key);
        }
        Ok(())
    }

    /// Gives a message up: its chunk ends with `#`. It is told as failed.
    pub fn abort(&mut self, key: MessageKey) {
        self.fail(key, Failure::Aborted);
    }

    /// Whether anything is still to be told of a message.
    #[must_use]
    pub fn is_under_way(&self, key: MessageKey) -> bool {
        self.outgoing.contains_key(&key)
    }

    /// Whether a message that has left still waits for the receiver's report.
    #[must_use]
    pub fn expects_report(&self, key: MessageKey) -> bool {
        self.outgoing.get(&key).is_some_and(|message| message.success)
    }

    /// A message has something to send: its turn comes, unless too many long ones have begun.
    fn enqueue(&mut self, key: MessageKey) {
        let Some(message) = self.outgoing.get_mut(&key) else { return };
        if !message.is_started && !message.is_short() {
            let Some(session) = self.sessions.get_mut(&SessionKey(message.session)) else { return };
            if session.started >= MAX_INTERLEAVED {
                session.backlog.push_back(key);
                return;
            }
            session.started = session.started.saturating_add(1);
            message.is_started = true;
        }
        self.ready.push_back(key);
    }

    /// A message has left, or is given up: one that waits may begin.
    pub(super) fn release(&mut self, session: SessionKey, was_started: bool) {
        let Some(session) = self.sessions.get_mut(&session).filter(|_| was_started) else { return };
        session.started = session.started.saturating_sub(1);
        while let Some(next) = session.backlog.pop_front() {
            let Some(message) = self.outgoing.get_mut(&next) else { continue };
            message.is_started = true;
            session.started = session.started.saturating_add(1);
            self.ready.push_back(next);
            return;
        }
    }

    /// A message is over; told once, since it is not there any more.
    pub(super) fn fail(&mut self, key: MessageKey, why: Failure) {
        if let Some(message) = self.outgoing.remove(&key) {
            let session = SessionKey(message.session);
            self.by_id.remove(&(session, message.id));
            self.sent.retain(|sent| *sent != key);
            self.events.push_back((session, Event::Failed(key, why)));
            self.release(session, message.is_started && !message.is_sent);
        }
    }

    /// Nothing more is kept of a message that was told as sent.
    pub(super) fn forget(&mut self, key: MessageKey) {
        if let Some(message) = self.outgoing.remove(&key) {
            let session = SessionKey(message.session);
            self.by_id.remove(&(session, message.id));
            self.sent.retain(|sent| *sent != key);
            if message.success {
                self.events.push_back((session, Event::Unconfirmed(key)));
            }
        }
    }

    /// Tells of a message that has left and is acknowledged.
    pub(super) fn check_sent(&mut self, key: MessageKey) {
        let Some(message) = self.outgoing.get_mut(&key) else { return };
        let acknowledged = message.failure != FailureReport::Yes || message.unanswered == 0;
        if !message.is_sent || !acknowledged || message.told {
            return;
        }
        message.told = true;
        self.events.push_back((SessionKey(message.session), Event::Sent(key)));
        // A report may have been faster than the answer.
        if message.success && message.is_confirmed() {
            self.delivered(key);
            return;
        }
        self.sent.push_back(key);
        if self.sent.len() > MAX_SENT
            && let Some(oldest) = self.sent.pop_front()
        {
            self.forget(oldest);
        }
    }

    pub(super) fn delivered(&mut self, key: MessageKey) {
        if let Some(message) = self.outgoing.remove(&key) {
            let session = SessionKey(message.session);
            self.by_id.remove(&(session, message.id));
            self.sent.retain(|sent| *sent != key);
            self.events.push_back((session, Event::Delivered(key)));
        }
    }
}
