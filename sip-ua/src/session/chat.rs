//! Chats in a session (RFC 4975): the texts go by a connection of their own.

use std::time::Duration;

use msrp::file::FileError;
use msrp::sdp::Setup;
use msrp::tokio::{Endpoint, Session};
use msrp::{Delivery, Event, MediaTypes, Message, SessionConfig};
use sdp::Direction;
use sip_message::StatusCode;
use sip_message::headers::NameAddr;
use tokio::time::timeout;

use super::SessionError;
use super::file::IncomingFile;
use super::media::{Opened, Said, open};
use crate::call::{Call, IncomingCall, Summary};
use crate::phone::{CallError, Phone};

/// How long who is to connect may take (RFC 4975 §5.4 has the requests themselves wait 30 s).
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// A chat in a session. Dropping it ends it (BYE).
#[derive(Debug)]
pub struct ChatSession {
    pub(super) call: Call,
    pub(super) session: Session,
    pub(super) takes: MediaTypes,
    /// It listens for the session's connection.
    pub(super) _endpoint: Endpoint,
}

impl ChatSession {
    /// Who is at the other end.
    pub fn remote(&self) -> &NameAddr {
        self.call.remote()
    }

    /// Sends a text, and waits until the other side has it.
    ///
    /// # Errors
    /// If the other side takes no texts, or it did not get there.
    pub async fn send(&self, text: &str) -> Result<(), SessionError> {
        let message = Message::text(text);
        if !self.takes.takes(&message.content_type) {
            return Err(SessionError::Type(message.content_type));
        }
        Ok(self.session.send(message).await?.accepted().await?)
    }

    /// The next text; `None` once the session has ended. What is no text is passed over.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let event = tokio::select! {
                biased; // what came before the BYE is read
                event = self.session.next() => event,
                _ = self.call.ended() => return None,
            };
            match event? {
                Event::Message(message) => {
                    if let Some(text) = message.text() {
                        return Some(text.to_owned());
                    }
                }
                Event::Closed(_) => return None,
                _ => {}
            }
        }
    }

    /// Ends it.
    pub async fn close(self) -> Summary {
        self.call.hang_up().await
    }
}

impl Phone {
    /// Begins a chat in a session with somebody (RFC 4975): many texts, of any length, by a connection of their own and
    /// through no proxy. Waits until it is answered.
    ///
    /// # Errors
    /// If the call is not answered with a session, or the connection does not come about.
    pub async fn chat_session(&self, to: &str) -> Result<ChatSession, SessionError> {
        self.session(to, Direction::SendRecv, &[]).await
    }

    /// Calls with a session in the place of sound. We connect (`a=setup:active`), as those expect who know only RFC 4975
    /// (§5.4) and not RFC 6135.
    pub(super) async fn session(
        &self,
        to: &str,
        direction: Direction,
        more: &[(&str, String)],
    ) -> Result<ChatSession, SessionError> {
        let to = to.parse().map_err(|error| CallError::Address { text: to.into(), error })?;
        let place = self.media_place_for(&to);
        let Opened { media, pending, endpoint } = open(place, Setup::Active, direction, more).await?;
        let call = self.call_through(to, media.clone(), Default::default())?.answered().await?;
        let said = media.agreed()?;
        let session = pending.connect(said.path).await?;
        Ok(ChatSession { call, session, takes: said.takes, _endpoint: endpoint })
    }
}

/// A session that somebody wants with us. Dropping it answers 480.
#[derive(Debug)]
pub struct IncomingChat {
    call: IncomingCall,
    said: Said,
}

impl IncomingChat {
    /// Who wants it.
    pub fn from(&self) -> &NameAddr {
        self.call.from()
    }

    /// The file that it is about, if it is to transfer one (RFC 5547 §8.1); [`IncomingChat::receive`] takes it.
    pub fn file(&self) -> Option<&msrp::file::FileSelector> {
        self.said.file.as_ref()
    }

    /// Refuses: 603 for no.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn reject(self, status: StatusCode) -> Result<(), CallError> {
        self.call.reject(status)
    }

    /// Answers, and waits until the session stands.
    ///
    /// # Errors
    /// If the caller has given up, or the connection does not come about.
    pub async fn accept(self) -> Result<ChatSession, SessionError> {
        self.answer(Direction::SendRecv, &[], |_| {}).await
    }

    /// Takes the file, of `limit` octets at most: a larger one is refused (603), and one that turns out to be larger than
    /// described is not read on (413).
    ///
    /// # Errors
    /// As [`IncomingChat::accept`]; and if it is about none, or too large.
    pub async fn receive(self, limit: u64) -> Result<IncomingFile, SessionError> {
        let Some(selector) = self.said.file.clone() else { return Err(SessionError::NotDescribed) };
        if selector.size.is_some_and(|size| size > limit) {
            self.call.reject(StatusCode::DECLINE)?;
            return Err(FileError::TooLarge(limit).into());
        }
        let kind = selector.media_type.clone().unwrap_or_else(|| "*".into());
        let mut more = vec![("file-selector", selector.to_string()), ("accept-types", kind)];
        more.extend(self.said.transfer.as_ref().map(|id| ("file-transfer-id", id.to_string())));
        let parts = |config: &mut SessionConfig| {
            config.delivery = Delivery::Parts;
            config.max_size = limit;
        };
        let chat = self.answer(Direction::RecvOnly, &more, parts).await?;
        Ok(IncomingFile::new(chat, selector, limit))
    }

    async fn answer(
        self,
        direction: Direction,
        more: &[(&str, String)],
        configure: impl FnOnce(&mut SessionConfig),
    ) -> Result<ChatSession, SessionError> {
        let Self { call, said } = self;
        // RFC 4145 §4.1: without a word the offerer connects.
        let ours = said.setup.map_or(Setup::Passive, Setup::answer);
        let Opened { media, mut pending, endpoint } = open(call.media_place(), ours, direction, more).await?;
        configure(pending.config_mut());
        let (call, session) = if ours == Setup::Active {
            let call = call.answer_with(media).await?;
            (call, pending.connect(said.path).await?)
        } else {
            // The session is known before the caller knows of it.
            let connected = pending.accept();
            let call = call.answer_with(media).await?;
            let session = timeout(CONNECT_PATIENCE, connected).await;
            (call, session.map_err(|_| SessionError::NotConnected)??)
        };
        Ok(ChatSession { call, session, takes: said.takes, _endpoint: endpoint })
    }
}

impl IncomingCall {
    /// The session of messages that the caller wants in the place of sound.
    ///
    /// # Errors
    /// The call itself, if it is about something else.
    pub fn into_chat(self) -> Result<IncomingChat, Box<Self>> {
        match Said::of_offer(self.request().body()) {
            Some(said) => Ok(IncomingChat { call: self, said }),
            None => Err(Box::new(self)),
        }
    }
}
