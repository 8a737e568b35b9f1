//! Chats in a session (RFC 4975): the texts go by a connection of their own.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use msrp::auth::Grant;
use msrp::file::{FileError, FileRange, FileSelector};
use msrp::sdp::{Chatroom, Setup};
use msrp::tokio::{ConnectError, Endpoint, Receipt, Session};
use msrp::{Delivery, Event, MediaTypes, Message, Received, SessionConfig};
use sdp::Direction;
use sip_message::headers::NameAddr;
use sip_message::{StatusCode, Uri};
use tokio::time::timeout;

use super::SessionError;
use super::file::{IncomingFile, begun, upload};
use super::file_to_send::FileToSend;
use super::media::{Opened, Plan, SessionMedia, connect, expect, open};
use super::renewal::{Keeper, Kept};
use super::said::{Said, Way};
use crate::call::{Call, IncomingCall, Summary};
use crate::phone::{CallError, Phone};

/// How long who is to connect may take (RFC 4975 §5.4 has the requests themselves wait 30 s).
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// A chat in a session. Dropping it ends it (BYE).
#[derive(Debug)]
pub struct ChatSession {
    pub(super) call: Call,
    pub(crate) session: Session,
    pub(super) takes: MediaTypes,
    /// What the other side says of chat rooms.
    pub(crate) chatroom: Option<Chatroom>,
    /// The file that the other side says, and the part of it.
    pub(super) file: Option<FileSelector>,
    pub(super) range: Option<FileRange>,
    /// It listens for the session's connection.
    pub(super) _endpoint: Endpoint,
    /// The paths of both sides stay true meanwhile.
    pub(super) _kept: Kept,
}

impl ChatSession {
    fn new(
        call: Call,
        session: Session,
        said: Said,
        endpoint: Endpoint,
        media: Arc<SessionMedia>,
        grant: Option<Grant>,
    ) -> Self {
        let (phone, route) = (call.phone().clone(), session.route());
        let theirs = said.path;
        let kept = Keeper { phone, call: call.key(), media, route, theirs, grant }.start();
        Self {
            call,
            session,
            takes: said.takes,
            chatroom: said.chatroom,
            file: said.file,
            range: said.range,
            _endpoint: endpoint,
            _kept: kept,
        }
    }

    /// Who is at the other end.
    pub fn remote(&self) -> &NameAddr {
        self.call.remote()
    }

    /// Sends a text, and waits until the other side has it.
    ///
    /// # Errors
    /// If the other side takes no texts, or it did not get there.
    pub async fn send(&self, text: &str) -> Result<(), SessionError> {
        self.post(text).await?.accepted().await
    }

    /// Sends a text, which is under way when this returns: for who reads on meanwhile.
    ///
    /// # Errors
    /// If the other side takes no texts, or too much is under way.
    pub async fn post(&self, text: &str) -> Result<PostedText, SessionError> {
        let message = Message::text(text);
        if !self.takes.takes(&message.content_type) {
            return Err(SessionError::Type(message.content_type));
        }
        Ok(PostedText(self.session.send(message).await?))
    }

    /// The next text; `None` once the session has ended. What is no text is passed over.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.next_message().await?.text() {
                return Some(text.to_owned());
            }
        }
    }

    /// The next message of any type.
    pub(crate) async fn next_message(&mut self) -> Option<Received> {
        loop {
            match self.next_event().await? {
                Event::Message(message) => return Some(message),
                Event::Closed(_) => return None,
                _ => {}
            }
        }
    }

    /// What happens next in the session, until the call that set it up ends.
    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        tokio::select! {
            biased; // what came before the BYE is read
            event = self.session.next() => event,
            _ = self.call.ended() => None,
        }
    }

    /// Ends it.
    pub async fn close(self) -> Summary {
        self.call.hang_up().await
    }
}

/// A text on its way. It goes on if this is dropped.
#[derive(Debug)]
#[must_use = "it tells whether the text gets there"]
pub struct PostedText(Receipt);

impl PostedText {
    /// Waits until the other side has it.
    ///
    /// # Errors
    /// If it did not get there.
    pub async fn accepted(self) -> Result<(), SessionError> {
        Ok(self.0.accepted().await?)
    }
}

impl Phone {
    /// Begins a chat in a session with somebody (RFC 4975): many texts, of any length, by a connection of their own and
    /// through no proxy. Waits until it is answered.
    ///
    /// # Errors
    /// If the call is not answered with a session, or the connection does not come about.
    pub async fn chat_session(&self, to: &str) -> Result<ChatSession, SessionError> {
        self.session(to, Direction::SendRecv, &[], |_| {}).await
    }

    /// Calls with a session in the place of sound.
    pub(crate) async fn session(
        &self,
        to: &str,
        direction: Direction,
        more: &[(&str, String)],
        configure: impl Fn(&mut SessionConfig),
    ) -> Result<ChatSession, SessionError> {
        let to = to.parse().map_err(|error| CallError::Address { text: to.into(), error })?;
        if let Some(chat) = self.offer_session(&to, direction, more, &configure, true).await? {
            return Ok(chat);
        }
        // RFC 6714 §4.2: offered anew without it, those on the way do as they always did.
        self.offer_session(&to, direction, more, &configure, false).await?.ok_or(SessionError::Rerouted)
    }

    /// `None` if who sits on the way can do nothing with our `a=msrp-cema`.
    async fn offer_session(
        &self,
        to: &Uri,
        direction: Direction,
        more: &[(&str, String)],
        configure: &impl Fn(&mut SessionConfig),
        cema: bool,
    ) -> Result<Option<ChatSession>, SessionError> {
        let options = &self.inner.sessions;
        // RFC 6135 §4.2.2: who can be reached leaves the choice to the other side.
        let setup = match options.relay {
            None if self.is_behind_nat() => Setup::Active,
            _ => Setup::ActPass,
        };
        let place = self.media_place_for(to);
        let plan = Plan { place, setup, direction, secure: options.offers_tls(), cema, more };
        let opened = open(options, plan, configure).await?;
        let relayed = opened.is_relayed();
        let Opened { media, mut pending, endpoint, grant } = opened;
        if setup == Setup::ActPass {
            // The peer may connect before its answer is here.
            pending.listen();
        }
        let call = self.call_through(to.clone(), media.clone(), Default::default())?.answered().await?;
        let said = media.agreed()?;
        let way = if cema { said.way_of_answer(relayed).await } else { Way::Path };
        if way == Way::FallBack {
            call.hang_up().await;
            return Ok(None);
        }
        let pending = expect(pending, &said);
        // Who says nothing knows only RFC 4975, and waits for the offerer (§5.4).
        let session = if setup == Setup::ActPass && said.setup == Some(Setup::Active) {
            connected(pending.accept()).await?
        } else {
            connect(pending, &said, way, relayed).await?
        };
        Ok(Some(ChatSession::new(call, session, said, endpoint, media, grant)))
    }

    /// Whether our REGISTER came to the registrar from another address than ours (RFC 6135 §4.2.2).
    fn is_behind_nat(&self) -> bool {
        self.inner.with(|shell, _| shell.core.is_behind_nat())
    }
}

/// The session that comes, in good time.
async fn connected(
    accepted: impl Future<Output = Result<Session, ConnectError>>,
) -> Result<Session, SessionError> {
    Ok(timeout(CONNECT_PATIENCE, accepted).await.map_err(|_| SessionError::NotConnected)??)
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

    /// The file that it is about, if it is to transfer one to us (RFC 5547 §8.1); [`IncomingChat::receive`] takes it.
    pub fn file(&self) -> Option<&FileSelector> {
        self.said.file.as_ref().filter(|_| !self.said.only_receives)
    }

    /// The file that the other side asks us for, if it does (RFC 5547 §8.2.2): what is known of it. [`IncomingChat::send`] sends it,
    /// [`reject`](Self::reject) with 404 says that there is none.
    pub fn wanted(&self) -> Option<&FileSelector> {
        self.said.file.as_ref().filter(|_| self.said.only_receives)
    }

    /// Whether the other side takes this type.
    pub(crate) fn takes(&self, content_type: &str) -> bool {
        self.said.takes.takes(content_type)
    }

    /// What it takes inside of other types.
    pub(crate) fn takes_wrapped(&self) -> &MediaTypes {
        &self.said.wrapped
    }

    /// What it says of chat rooms.
    pub(crate) fn chatroom(&self) -> Option<&Chatroom> {
        self.said.chatroom.as_ref()
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

    /// The part of the file that is to come, if it is not the whole (`a=file-range`); [`IncomingChat::receive_rest`] takes it.
    pub fn range(&self) -> Option<FileRange> {
        self.said.range.filter(|range| range.start > 1)
    }

    /// Takes the file, of `limit` octets at most: a larger one is refused (603), and one that turns out to be larger than
    /// described is not read on (413).
    ///
    /// # Errors
    /// As [`IncomingChat::accept`]; and if it is about none, too large, or the rest of one alone.
    pub async fn receive(self, limit: u64) -> Result<IncomingFile, SessionError> {
        self.receive_rest(limit, std::io::empty()).await
    }

    /// The same where `have` is what is there of the file from a transfer that broke off: of it as much is read as comes before the
    /// [`range`](Self::range), at once, to compute the hash of the whole. What comes is to be written behind that.
    ///
    /// # Errors
    /// As [`IncomingChat::receive`]; if there is less; and if it cannot be read.
    pub async fn receive_rest(self, limit: u64, mut have: impl Read) -> Result<IncomingFile, SessionError> {
        let Some(selector) = self.file().cloned() else { return Err(SessionError::NotDescribed) };
        if selector.size.is_some_and(|size| size > limit) {
            self.call.reject(StatusCode::DECLINE)?;
            return Err(FileError::TooLarge(limit).into());
        }
        let range = self.said.range;
        let before = range.map_or(0, |range| range.start.saturating_sub(1));
        let to_the_end = range.and_then(|range| range.stop).is_none_or(|stop| Some(stop) == selector.size);
        let incoming = begun(&selector, limit, &mut have, before).map_err(SessionError::Read)?;
        drop(have);
        let Some(incoming) = incoming.filter(|_| to_the_end) else {
            self.call.reject(StatusCode::DECLINE)?;
            return Err(SessionError::Range);
        };
        let kind = selector.media_type.clone().unwrap_or_else(|| "*".into());
        let mut more = vec![("file-selector", selector.to_string()), ("accept-types", kind)];
        more.extend(self.said.transfer.as_ref().map(|id| ("file-transfer-id", id.to_string())));
        more.extend(range.map(|range| ("file-range", range.to_string())));
        let parts = |config: &mut SessionConfig| {
            config.delivery = Delivery::Parts;
            config.max_size = limit;
        };
        let chat = self.answer(Direction::RecvOnly, &more, parts).await?;
        Ok(IncomingFile::new(chat, selector, incoming))
    }

    /// Sends the file that the other side asks for, as [`Phone::send_file`] does; of it the part that it wants. What it says of the
    /// [file](Self::wanted) has to be true of this one ([`FileSelector::selects`]), or it is refused (488).
    ///
    /// # Errors
    /// As [`IncomingChat::accept`] and [`Phone::send_file`]; and if it asks for none, for another, or for a part that does not reach to
    /// the end.
    pub async fn send(self, file: FileToSend, progress: impl FnMut(u64)) -> Result<(), SessionError> {
        let Some(wanted) = self.wanted().cloned() else { return Err(SessionError::NotDescribed) };
        let range = self.said.range;
        let file = file.after(range.map_or(0, |range| range.start.saturating_sub(1)));
        let file = match file.described().await {
            Ok(file) => file,
            Err(error) => {
                self.call.reject(StatusCode::NOT_FOUND)?;
                return Err(SessionError::Read(error));
            }
        };
        let to_the_end =
            range.and_then(|range| range.stop).is_none_or(|stop| Some(stop) == file.selector.size);
        let refusal = if !wanted.selects(&file.selector) {
            Some(SessionError::OtherFile)
        } else if !self.takes(&file.media_type) {
            Some(SessionError::Type(file.media_type.clone()))
        } else {
            (!to_the_end).then_some(SessionError::Range)
        };
        if let Some(refusal) = refusal {
            self.call.reject(StatusCode::NOT_ACCEPTABLE_HERE)?;
            return Err(refusal);
        }
        let mut more =
            vec![("file-selector", file.selector.to_string()), ("accept-types", file.media_type.clone())];
        more.extend(self.said.transfer.as_ref().map(|id| ("file-transfer-id", id.to_string())));
        more.extend(range.map(|range| ("file-range", range.to_string())));
        let chat = self.answer(Direction::SendOnly, &more, |_| {}).await?;
        upload(chat, file, progress).await
    }

    pub(crate) async fn answer(
        self,
        direction: Direction,
        more: &[(&str, String)],
        configure: impl FnOnce(&mut SessionConfig),
    ) -> Result<ChatSession, SessionError> {
        let Self { call, said } = self;
        let phone = call.phone().clone();
        let options = &phone.inner.sessions;
        let we_relay = options.relay.is_some();
        let way = said.way_of_offer(we_relay).await;
        if said.unverifiable || way == Way::FallBack {
            call.reject(StatusCode::NOT_ACCEPTABLE_HERE)?;
            return Err(if said.unverifiable { SessionError::Fingerprint } else { SessionError::Rerouted });
        }
        let ours = match said.setup {
            // RFC 4145 §4.1: without a word the offerer connects.
            None => Setup::Passive,
            // Nobody gets through our NAT; and a relay can be reached for certain, while it would not believe our certificate.
            Some(Setup::ActPass) if !we_relay && (said.uses_relay() || phone.is_behind_nat()) => {
                Setup::Active
            }
            Some(offered) => offered.answer(),
        };
        let cema = matches!(way, Way::MediaLine(_));
        let plan =
            Plan { place: call.media_place(), setup: ours, direction, secure: said.secure, cema, more };
        let opened = open(options, plan, configure).await?;
        let relayed = opened.is_relayed();
        let Opened { media, pending, endpoint, grant } = opened;
        let pending = expect(pending, &said);
        let (call, session) = if ours == Setup::Active {
            let call = call.answer_with(media.clone()).await?;
            (call, connect(pending, &said, way, relayed).await?)
        } else {
            // The session is known before the caller knows of it.
            let accepted = pending.accept();
            let call = call.answer_with(media.clone()).await?;
            (call, connected(accepted).await?)
        };
        Ok(ChatSession::new(call, session, said, endpoint, media, grant))
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
