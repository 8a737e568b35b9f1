//! A participant of a chat room (RFC 7701 §5.2, §6, §7).

use std::collections::VecDeque;

use msrp::sdp::Chatroom;
use msrp::{Event, Message, Received, SendError, StatusCode};
use sdp::Direction;
use sip_dialog::messaging::cpim::Cpim;
use sip_message::Uri;

use super::address;
use crate::call::Summary;
use crate::phone::{CallError, Phone};
use crate::session::{ChatSession, SessionError};

/// Messages that come while an answer of the room is waited for. Beyond, they wait in the connection, and the answer behind them.
const MAX_KEPT: usize = 1_024;

/// A message in a chat room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomMessage {
    /// Who wrote it: a URI.
    pub from: String,
    /// What the sender is called, if the message says so.
    pub name: Option<String>,
    /// It went to us alone.
    pub private: bool,
    /// The text.
    pub text: String,
}

/// A chat room that we are in. Dropping it leaves (BYE).
#[derive(Debug)]
pub struct RoomChat {
    chat: ChatSession,
    room: Uri,
    us: Uri,
    /// Came while something else was waited for.
    kept: VecDeque<Received>,
}

impl Phone {
    /// Enters a chat room (RFC 7701 §5.2).
    ///
    /// # Errors
    /// If the call is not answered with a session, or the connection does not come about.
    ///
    /// ```no_run
    /// # async fn example(phone: sip_ua::Phone) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut room = phone.join_room("sip:friends@example.com").await?;
    /// room.nickname("Alice the great").await?;
    /// room.send("Hello everybody").await?;
    /// while let Some(message) = room.next().await {
    ///     println!("{}: {}", message.from, message.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join_room(&self, room: &str) -> Result<RoomChat, SessionError> {
        let address = room.parse().map_err(|error| CallError::Address { text: room.into(), error })?;
        let more = [
            ("accept-types", format!("{} text/plain", Cpim::CONTENT_TYPE)),
            ("accept-wrapped-types", "text/plain *".to_owned()),
            ("chatroom", "nickname private-messages".to_owned()),
        ];
        let chat = self.session(room, Direction::SendRecv, &more, |_| {}).await?;
        let us = self.address();
        let us = us.parse().map_err(|error| CallError::Address { text: us, error })?;
        Ok(RoomChat { chat, room: address, us, kept: VecDeque::new() })
    }
}

impl RoomChat {
    /// Whether we may have a nickname there.
    pub fn takes_nicknames(&self) -> bool {
        self.chat.chatroom.as_ref().is_some_and(Chatroom::nicknames)
    }

    /// Whether one can write to one alone there.
    pub fn takes_private_messages(&self) -> bool {
        self.chat.chatroom.as_ref().is_some_and(Chatroom::private_messages)
    }

    /// Writes to all, and waits until the room has it.
    ///
    /// # Errors
    /// If the room refuses it, or it did not get there.
    pub async fn send(&mut self, text: &str) -> Result<(), SessionError> {
        self.send_to_uri(&self.room.clone(), text).await
    }

    /// Writes to one participant alone (RFC 7701 §6.2), whose address is that of their messages, or of the roster.
    ///
    /// # Errors
    /// As for [`send`](Self::send): nobody of this address is there (404), or takes private messages (428). If the room does not say
    /// that it takes them, nothing is sent: all would read it.
    pub async fn send_to(&mut self, participant: &str, text: &str) -> Result<(), SessionError> {
        if !self.takes_private_messages() {
            return Err(SessionError::NotDelivered(msrp::Failure::Status(StatusCode::NO_PRIVATE_MESSAGES)));
        }
        let to = participant.parse();
        let to = to.map_err(|error| CallError::Address { text: participant.into(), error })?;
        self.send_to_uri(&to, text).await
    }

    async fn send_to_uri(&mut self, to: &Uri, text: &str) -> Result<(), SessionError> {
        let mut cpim = Cpim::new("text/plain; charset=utf-8", text.to_owned());
        cpim.push_from(&address(&self.us));
        cpim.push_to(&address(to));
        let message = Message::new(Cpim::CONTENT_TYPE, cpim.to_octets());
        let receipt = self.chat.session.send(message).await?;
        loop {
            // What comes meanwhile is read: unread messages would stand before the answer.
            tokio::select! {
                accepted = receipt.accepted() => return Ok(accepted?),
                event = self.other_event(), if self.kept.len() < MAX_KEPT => drop(event?),
            }
        }
    }

    /// What happens while an answer is waited for. Messages are kept.
    async fn other_event(&mut self) -> Result<Event, SessionError> {
        while self.kept.len() < MAX_KEPT {
            match self.chat.next_event().await {
                Some(Event::Message(message)) => self.kept.push_back(message),
                Some(Event::Closed(failure)) => return Err(failure.into()),
                Some(event) => return Ok(event),
                None => return Err(msrp::Failure::Closed.into()),
            }
        }
        Err(SendError::Full.into())
    }

    /// Takes a nickname, in the place of another if there was one; an empty one gives it back (RFC 7701 §7).
    ///
    /// # Errors
    /// If the room has none to give (403), or not this one: it is malformed (424), or somebody else's (425).
    pub async fn nickname(&mut self, name: &str) -> Result<(), SessionError> {
        self.chat.session.nickname(name).await?;
        loop {
            match self.other_event().await? {
                Event::Nickname(status) if status.is_success() => return Ok(()),
                Event::Nickname(status) => return Err(SessionError::Nickname(status)),
                _ => {}
            }
        }
    }

    /// The next text; `None` once the room is closed or we are put out. What is no text is passed over.
    pub async fn next(&mut self) -> Option<RoomMessage> {
        loop {
            let message = match self.kept.pop_front() {
                Some(message) => message,
                None => self.chat.next_message().await?,
            };
            let Ok(cpim) = Cpim::parse(&message.body) else { continue };
            let kind = cpim.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let (Some(from), true) = (cpim.from(), kind.starts_with("text/")) else { continue };
            let Ok(text) = std::str::from_utf8(&cpim.body) else { continue };
            let to_room = cpim.to().iter().any(|to| super::rules::names(&to.uri, &self.room));
            return Some(RoomMessage {
                from: from.uri,
                name: from.name,
                private: !to_room,
                text: text.to_owned(),
            });
        }
    }

    /// Leaves.
    pub async fn leave(self) -> Summary {
        self.chat.close().await
    }
}
