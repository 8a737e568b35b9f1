//! Instant messages: what comes is read, told apart and given once; what goes waits its turn (RFC 3428, RFC 3994, RFC 5438).

mod content;
mod outgoing;
mod seen;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use sip_dialog::messaging::composing::{
    Composer, ComposingPeer, ComposingState, IDLE_AFTER, IsComposing, LEAST_REFRESH,
};
use sip_dialog::messaging::cpim::Cpim;
use sip_dialog::messaging::imdn::{DeliveryStatus, DisplayStatus, Imdn, Notification, Teller};
use sip_dialog::{Body, CallKey, RequestKey};
use sip_message::headers::{Accept, CSeq, CallId, From};
use sip_message::{Request, Response, ResponseBuilder, StatusCode, Uri};

use super::{PhoneCore, PhoneError, PhoneEvent};
use content::{ACCEPTED, Content, Said};
use outgoing::{Kind, Outgoing, Waiting};
use seen::Seen;

/// Messages of one chat whose receipts are waited for; the oldest goes.
const MAX_AWAITED: usize = 256;

/// Somebody to write to: user and place, whatever the scheme and parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Peer {
    /// The one with this address.
    pub fn of(uri: &Uri) -> Self {
        Self { user: uri.user().map(Into::into), host: uri.host().to_ascii_lowercase(), port: uri.port() }
    }
}

/// A message of ours on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey(u64);

/// A receipt that is waited for.
#[derive(Debug)]
struct Awaited {
    id: String,
    delivery: bool,
    display: bool,
}

/// A chat as both sides see it.
#[derive(Debug)]
struct Chat {
    to: Uri,
    handles: usize,
    composer: Composer,
    peer: ComposingPeer,
    awaited: VecDeque<Awaited>,
}

#[derive(Debug, Default)]
pub(super) struct Messaging {
    full: bool,
    seen: Seen,
    outgoing: Outgoing,
    chats: BTreeMap<Peer, Chat>,
    last: u64,
}

impl Messaging {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let chats = self.chats.values();
        chats.flat_map(|chat| [chat.composer.poll_timeout(), chat.peer.poll_timeout()]).flatten().min()
    }
}

impl PhoneCore {
    /// Whether messages can be taken now; they are answered 486 otherwise.
    pub fn take_messages(&mut self, yes: bool) {
        self.messaging.full = !yes;
    }

    /// Sends a message, or has it wait until the one before to the same destination is answered (RFC 3428 §8).
    /// [`PhoneEvent::MessageAnswered`] follows.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn send_message(&mut self, now: Instant, to: &Uri, body: Body) -> Result<MessageKey, PhoneError> {
        let peer = Peer::of(to);
        if !self.messaging.outgoing.has_room(&peer) {
            return Err(PhoneError::TooManyMessages);
        }
        self.messaging.last = self.messaging.last.saturating_add(1);
        let key = MessageKey(self.messaging.last);
        if let Some(chat) = self.messaging.chats.get_mut(&peer) {
            chat.composer.sent();
        }
        self.enqueue(now, peer, Waiting { kind: Kind::Text(key), to: to.clone(), body });
        Ok(key)
    }

    fn enqueue(&mut self, now: Instant, peer: Peer, message: Waiting) {
        self.messaging.outgoing.add(peer.clone(), message);
        self.send_next(now, &peer);
    }

    fn send_next(&mut self, now: Instant, peer: &Peer) {
        while let Some(Waiting { kind, to, body }) = self.messaging.outgoing.next(peer) {
            match self.request_message(now, &to, body) {
                Ok(request) => self.messaging.outgoing.sent(peer, request, kind),
                Err(error) => {
                    tracing::warn!(%error, "a message cannot be sent");
                    self.message_over(peer, kind, Err(StatusCode::SERVICE_UNAVAILABLE));
                }
            }
        }
    }

    /// The answer to a request, which is given back if it was no message of the queue.
    pub(super) fn message_answered(
        &mut self,
        now: Instant,
        request: RequestKey,
        result: Result<Response, StatusCode>,
    ) -> Option<Result<Response, StatusCode>> {
        let Some((peer, kind)) = self.messaging.outgoing.answered(request) else { return Some(result) };
        self.message_over(&peer, kind, result);
        self.send_next(now, &peer);
        None
    }

    fn message_over(&mut self, peer: &Peer, kind: Kind, result: Result<Response, StatusCode>) {
        let unsupported =
            result.as_ref().is_ok_and(|response| response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE);
        match kind {
            Kind::Text(message) => self.events.push_back(PhoneEvent::MessageAnswered { message, result }),
            // RFC 3994 §4: who does not understand it is told no more.
            Kind::Composing if unsupported => {
                if let Some(chat) = self.messaging.chats.get_mut(peer) {
                    chat.composer.refused();
                }
            }
            Kind::Composing | Kind::Receipt => {}
        }
    }

    // ---- chats ---------------------------------------------------------------------------------------------------

    /// Somebody chats with this peer: its receipts and its writing are told from now on.
    pub fn open_chat(&mut self, to: &Uri) {
        let chat = self.messaging.chats.entry(Peer::of(to)).or_insert_with(|| Chat {
            to: to.clone(),
            handles: 0,
            composer: Composer::new(Some(LEAST_REFRESH), IDLE_AFTER),
            peer: ComposingPeer::new(),
            awaited: VecDeque::new(),
        });
        chat.handles = chat.handles.saturating_add(1);
    }

    /// One fewer chats with this peer.
    pub fn close_chat(&mut self, peer: &Peer) {
        let Some(chat) = self.messaging.chats.get_mut(peer) else { return };
        chat.handles = chat.handles.saturating_sub(1);
        if chat.handles == 0 {
            self.messaging.chats.remove(peer);
        }
    }

    /// Whether somebody chats with this peer.
    pub fn has_chat(&self, peer: &Peer) -> bool {
        self.messaging.chats.contains_key(peer)
    }

    /// A random name for a message (RFC 5438 §6.3).
    pub fn message_id(&mut self) -> String {
        self.dialogs.token()
    }

    /// 64 random bits.
    pub(crate) fn chance(&mut self) -> u64 {
        self.dialogs.chance()
    }

    /// Receipts for the message of this name are told ([`PhoneEvent::Receipt`]).
    pub fn await_receipts(&mut self, peer: &Peer, id: &str) {
        let Some(chat) = self.messaging.chats.get_mut(peer) else { return };
        if chat.awaited.len() >= MAX_AWAITED {
            chat.awaited.pop_front();
        }
        chat.awaited.push_back(Awaited { id: id.into(), delivery: false, display: false });
    }

    /// A key was pressed: the peer is told that we write, if it is to be told now (RFC 3994 §3.2).
    pub fn composing(&mut self, now: Instant, peer: &Peer) {
        let told = self.messaging.chats.get_mut(peer).and_then(|chat| {
            let told = chat.composer.composing(now)?;
            Some((chat.to.clone(), told))
        });
        self.tell_composing(now, peer, told);
    }

    fn tell_composing(&mut self, now: Instant, peer: &Peer, told: Option<(Uri, IsComposing)>) {
        let Some((to, told)) = told.filter(|_| self.messaging.outgoing.has_room(peer)) else { return };
        self.enqueue(now, peer.clone(), Waiting { kind: Kind::Composing, to, body: told.to_body() });
    }

    pub(super) fn chats_due(&mut self, now: Instant) {
        let mut told = Vec::new();
        for (peer, chat) in &mut self.messaging.chats {
            if let Some(document) = chat.composer.handle_timeout(now) {
                told.push((peer.clone(), (chat.to.clone(), document)));
            }
            if chat.peer.handle_timeout(now) {
                self.events.push_back(PhoneEvent::Composing { peer: peer.clone(), active: false });
            }
        }
        for (peer, document) in told {
            self.tell_composing(now, &peer, Some(document));
        }
    }

    /// The message was shown to somebody: its sender is told if it asked for that (RFC 5438 §7.2.1.2).
    pub fn displayed(&mut self, now: Instant, from: &Uri, message: &Cpim) {
        self.tell(now, from, message, Notification::Display(DisplayStatus::Displayed));
    }

    fn tell(&mut self, now: Instant, from: &Uri, message: &Cpim, notification: Notification) {
        let id = self.dialogs.token();
        let answer = match Imdn::answer(message, notification, Teller::Recipient, &id) {
            Ok(answer) => answer,
            Err(reason) => return tracing::trace!(%reason, "nothing is told of a message"),
        };
        // An envelope that names somebody else would have us write to whomever its writer likes.
        let peer = Peer::of(from);
        let hop = answer.next_hop().and_then(|hop| hop.parse::<Uri>().ok());
        if hop.is_none_or(|hop| Peer::of(&hop) != peer) || !self.messaging.outgoing.has_room(&peer) {
            return tracing::debug!(%from, "no receipt for a message that another one is to have it of");
        }
        self.enqueue(now, peer, Waiting { kind: Kind::Receipt, to: from.clone(), body: answer.to_body() });
    }

    // ---- what comes -----------------------------------------------------------------------------------------------

    /// A MESSAGE came: what it is answered with. What it says is told once (RFC 3428 §7).
    pub(super) fn message_came(
        &mut self,
        now: Instant,
        call: Option<CallKey>,
        request: &Request,
        reply: &dyn Fn(StatusCode) -> ResponseBuilder,
    ) -> ResponseBuilder {
        let Ok(Some(From(from))) = request.headers.get::<From>() else {
            return reply(StatusCode::BAD_REQUEST);
        };
        let content = match content::read(request, &self.config.message_types) {
            Ok(content) => content,
            Err(StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
                let more = self.config.message_types.iter().map(String::as_str);
                let accepted = ACCEPTED.into_iter().chain(more);
                return accepted.fold(reply(StatusCode::UNSUPPORTED_MEDIA_TYPE), |reply, kind| {
                    reply.header(&Accept::new(kind))
                });
            }
            Err(status) => return reply(status),
        };
        let peer = Peer::of(from.uri());
        let names = names(request, &peer, content.envelope.as_ref());
        if self.messaging.seen.knows(&names) {
            return reply(StatusCode::OK);
        }
        let for_the_owner = matches!(content.said, Said::Text(_) | Said::Other);
        if for_the_owner && self.messaging.full {
            return reply(StatusCode::BUSY_HERE);
        }
        self.messaging.seen.remember(names);
        self.take_message(now, call, request, from.uri(), peer, content);
        reply(StatusCode::OK)
    }

    fn take_message(
        &mut self,
        now: Instant,
        call: Option<CallKey>,
        request: &Request,
        from: &Uri,
        peer: Peer,
        content: Content,
    ) {
        let chat = self.messaging.chats.get_mut(&peer);
        let text = match content.said {
            Said::Text(text) => text,
            Said::Other => String::new(),
            Said::Composing(document) => {
                let Some(chat) = chat else { return };
                let before = chat.peer.state();
                chat.peer.receive(now, &document);
                if chat.peer.state() != before {
                    let active = chat.peer.state() == ComposingState::Active;
                    self.events.push_back(PhoneEvent::Composing { peer, active });
                }
                return;
            }
            Said::Notification(document) => {
                let Some((chat, notification)) = chat.zip(document.notification) else { return };
                let awaited = chat.awaited.iter_mut().find(|awaited| awaited.id == document.message_id);
                let Some(awaited) = awaited else { return };
                let told = match notification {
                    Notification::Display(_) => &mut awaited.display,
                    Notification::Delivery(_) => &mut awaited.delivery,
                    Notification::Processing(_) => &mut false,
                };
                if !std::mem::replace(told, true) {
                    let id = document.message_id;
                    self.events.push_back(PhoneEvent::Receipt { peer, id, notification });
                }
                return;
            }
        };
        if let Some(chat) = chat {
            chat.peer.received_content();
        }
        if let Some(envelope) = content.envelope.as_ref().filter(|_| self.config.delivery_receipts) {
            self.tell(now, from, envelope, Notification::Delivery(DeliveryStatus::Delivered));
        }
        let envelope = content.envelope.map(Box::new);
        self.events.push_back(PhoneEvent::Message { call, request: request.clone(), text, envelope });
    }
}

/// What a message is known by: its transaction, and its Message-ID.
fn names(request: &Request, peer: &Peer, envelope: Option<&Cpim>) -> Vec<String> {
    let headers = &request.headers;
    let mut names = Vec::new();
    if let (Ok(Some(call_id)), Ok(Some(from)), Ok(Some(cseq))) =
        (headers.get::<CallId>(), headers.get::<From>(), headers.get::<CSeq>())
    {
        let tag = from.tag().unwrap_or_default();
        names.push(format!("t\n{}\n{tag}\n{}", call_id.as_str(), cseq.number));
    }
    if let Some(id) = envelope.and_then(Cpim::message_id) {
        names.push(format!("i\n{}@{}\n{id}", peer.user.as_deref().unwrap_or_default(), peer.host));
    }
    names
}
