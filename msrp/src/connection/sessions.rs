//! The sessions that share a connection: how each begins, its requests without content, and how it ends (RFC 4975 §5.4).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Connection, MAX_CONTROL, MAX_SESSIONS, MessageKey, SendError, SessionKey, Waiting};
use crate::event::{Event, Failure};
use crate::message::{Flag, HeadWriter, InjectionError, Method};
use crate::session::{Inbox, SessionConfig};
use crate::uri::{Path, Uri};

/// One session.
pub(super) struct Session {
    pub(super) inbox: Inbox,
    /// To-Path and From-Path of our requests, printed once.
    pub(super) paths: Option<Bytes>,
    pub(super) is_bound: bool,
    /// Long messages that have begun.
    pub(super) started: usize,
    /// Long messages that wait for one of those to end.
    pub(super) backlog: VecDeque<MessageKey>,
}

impl Session {
    pub(super) fn set_remote(&mut self, remote: &Path) {
        let paths = format!("To-Path: {remote}\r\nFrom-Path: {}\r\n", self.inbox.config().local);
        self.paths = Some(paths.into());
    }
}

impl Connection {
    /// Adds a session. The active side sends a request without content at once, which binds the connection (RFC 4975 §5.4).
    ///
    /// # Errors
    /// If there are too many, or the active side does not know its peer.
    pub fn add(&mut self, config: SessionConfig) -> Result<SessionKey, SendError> {
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(SendError::Full);
        }
        if self.is_closed {
            return Err(SendError::Over);
        }
        let key = SessionKey(self.key());
        let (active, remote) = (config.active, config.remote.clone());
        let mut session = Session {
            is_bound: false,
            paths: None,
            inbox: Inbox::new(config),
            started: 0,
            backlog: VecDeque::new(),
        };
        if let Some(remote) = remote {
            session.set_remote(&remote);
        } else if active {
            return Err(SendError::NotBound);
        }
        if self.by_uri.contains_key(&session.inbox.config().local) {
            return Err(SendError::Taken);
        }
        self.by_uri.insert(session.inbox.config().local.clone(), key);
        self.sessions.insert(key, session);
        if active {
            let id = self.fresh_ident(&[]);
            self.request(key, &Method::Send, Waiting::First(key), |writer| writer.typed("Message-ID", id))?;
        }
        Ok(key)
    }

    /// Sends a request without a body.
    fn request(
        &mut self,
        key: SessionKey,
        method: &Method,
        what: Waiting,
        fields: impl FnOnce(HeadWriter) -> HeadWriter,
    ) -> Result<(), SendError> {
        let id = self.fresh_ident(&[]);
        let session = self.sessions.get(&key).ok_or(SendError::Over)?;
        let paths = session.paths.as_ref().ok_or(SendError::NotBound)?;
        if self.control.len() >= MAX_CONTROL {
            return Err(SendError::Full);
        }
        let writer = fields(HeadWriter::request(id, method).printed(paths));
        self.control.push_back(writer.without_body(Flag::Complete));
        self.waiting.insert(id, what);
        self.unstarted.push(id);
        Ok(())
    }

    /// Sends a request without content, which keeps the bindings of NATs alive (RFC 4975 §7.1).
    ///
    /// # Errors
    /// If the session is over, the peer unknown, or too much waits.
    pub fn keep_alive(&mut self, key: SessionKey) -> Result<(), SendError> {
        let id = self.fresh_ident(&[]);
        self.request(key, &Method::Send, Waiting::First(key), |writer| writer.typed("Message-ID", id))
    }

    /// Asks for a nickname in a chat room (RFC 7701 §7); an empty one gives it back.
    ///
    /// # Errors
    /// If the session is over, the peer unknown, too much waits, or the name has line ends.
    pub fn nickname(&mut self, key: SessionKey, name: &str) -> Result<(), SendError> {
        if !crate::message::is_line(name) {
            return Err(InjectionError.into());
        }
        let quoted = crate::screen::quoted(name);
        self.request(key, &Method::Nickname, Waiting::Nickname(key), |w| w.typed("Use-Nickname", quoted))
    }

    /// The peer has another path, by a new offer or answer (RFC 4975 §8.4): requests from now on take it, over the same connection.
    ///
    /// # Errors
    /// If the session is over.
    pub fn set_remote(&mut self, key: SessionKey, remote: &Path) -> Result<(), SendError> {
        self.sessions.get_mut(&key).ok_or(SendError::Over)?.set_remote(remote);
        Ok(())
    }

    /// Ends a session; the connection stays. Messages that are not sent fail.
    pub fn remove(&mut self, key: SessionKey) {
        self.end_session(key, Failure::Aborted, false);
    }

    /// The session of a URI of ours.
    #[must_use]
    pub fn session(&self, local: &Uri) -> Option<SessionKey> {
        self.by_uri.get(local).copied()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn end_session(&mut self, key: SessionKey, why: Failure, tell: bool) {
        let Some(mut session) = self.sessions.remove(&key) else { return };
        self.by_uri.remove(&session.inbox.config().local);
        self.last_to = None;
        self.inbound.session_ended(key, &mut self.control);
        let mut events = VecDeque::new();
        session.inbox.closed(&mut events);
        self.events.extend(events.into_iter().map(|event| (key, event)));
        let mut messages: Vec<MessageKey> = self
            .outgoing
            .iter()
            .filter(|(_, message)| message.session == key.0)
            .map(|(&name, _)| name)
            .collect();
        messages.sort_unstable();
        for name in messages {
            match self.outgoing.get(&name) {
                Some(message) if !message.told => self.fail(name, why),
                _ => self.forget(name),
            }
        }
        self.waiting
            .retain(|_, what| !matches!(what, Waiting::First(of) | Waiting::Nickname(of) if *of == key));
        if tell {
            self.events.push_back((key, Event::Closed(why)));
        }
    }
}
