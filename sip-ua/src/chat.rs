//! Chats: texts both ways, who is writing, and what became of what was sent (RFC 3428, RFC 3994, RFC 5438).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use sip_dialog::Body;
use sip_dialog::messaging::cpim::{Cpim, CpimAddress};
use sip_dialog::messaging::imdn::{DeliveryStatus, DisplayStatus, Disposition, Notification};
use sip_message::{StatusCode, Uri};
use tokio::sync::Notify;

use crate::core::Peer;
use crate::phone::Phone;
use crate::presence::date;
use crate::requests::{RequestError, TextMessage};

/// What a text says it is.
const PLAIN: &str = "text/plain;charset=UTF-8";

/// What happens in a chat.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChatEvent {
    /// A text came.
    Message(Box<TextMessage>),
    /// The other side is writing, or no longer. A text that comes says by itself that it is written.
    Composing(bool),
    /// What became of a text that was sent with [`Chat::send_with_receipts`].
    Receipt {
        /// The [`SentMessage::id`] of the text.
        id: String,
        /// What became of it.
        receipt: Receipt,
    },
}

/// What became of a text (RFC 5438 §3). Nobody has to tell the truth, or anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// A device has it.
    Delivered,
    /// It could not be brought.
    NotDelivered,
    /// Somebody has seen it.
    Displayed,
    /// Who has it tells nothing of that.
    Untold,
}

impl Receipt {
    pub(crate) fn of(notification: Notification) -> Option<Self> {
        match notification {
            Notification::Delivery(DeliveryStatus::Delivered) => Some(Self::Delivered),
            Notification::Delivery(DeliveryStatus::Failed | DeliveryStatus::Error) => {
                Some(Self::NotDelivered)
            }
            Notification::Display(DisplayStatus::Displayed) => Some(Self::Displayed),
            Notification::Delivery(DeliveryStatus::Forbidden) | Notification::Display(_) => {
                Some(Self::Untold)
            }
            Notification::Processing(_) => None,
        }
    }
}

/// A text that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// By which receipts name it; `None` if it was sent without asking for some, or the other side cannot give any.
    pub id: Option<String>,
    /// A server keeps it until somebody is there (202); else the other side has it (200).
    pub kept: bool,
}

/// The news of one chat, until its handle asks.
#[derive(Debug, Default)]
pub(crate) struct ChatBox {
    /// Texts are as many as the phone takes, receipts as many as texts of ours wait for them.
    events: VecDeque<ChatEvent>,
    changed: Arc<Notify>,
}

impl ChatBox {
    pub(crate) fn add(&mut self, event: ChatEvent) {
        if let (ChatEvent::Composing(now), Some(ChatEvent::Composing(before))) =
            (&event, self.events.back_mut())
        {
            *before = *now;
        } else {
            self.events.push_back(event);
        }
        self.changed.notify_waiters();
    }

    /// Texts that nobody has read.
    pub(crate) fn unread(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, ChatEvent::Message(_))).count()
    }

    /// What is left of the texts when the chat is closed.
    pub(crate) fn into_messages(self) -> impl Iterator<Item = TextMessage> {
        self.events.into_iter().filter_map(|event| match event {
            ChatEvent::Message(message) => Some(*message),
            _ => None,
        })
    }
}

/// A chat with somebody in single messages (RFC 3428). While it is open, texts of this peer come here and not to
/// [`Phone::next_message`]; dropping it says nothing to the peer.
#[derive(Debug)]
pub struct Chat {
    phone: Phone,
    to: Uri,
    peer: Peer,
}

impl Chat {
    pub(crate) fn open(phone: &Phone, to: &Uri) -> Self {
        let peer = Peer::of(to);
        phone.inner.with(|shell, _| shell.open_chat(&peer, to));
        Self { phone: phone.clone(), to: to.clone(), peer }
    }

    /// With whom.
    pub fn peer(&self) -> &Uri {
        &self.to
    }

    /// Sends a text, and waits until it is taken. Texts go one after the other (RFC 3428 §8).
    ///
    /// # Errors
    /// If it is not taken.
    pub async fn send(&self, text: &str) -> Result<SentMessage, RequestError> {
        let status = self.phone.send_body(&self.to, plain(text)).await?;
        Ok(SentMessage { id: None, kept: status == StatusCode::ACCEPTED })
    }

    /// Sends a text and asks to be told when it is delivered and when it is shown: [`ChatEvent::Receipt`]. A peer that cannot
    /// read such a message (415) gets the bare text.
    ///
    /// # Errors
    /// If it is not taken.
    pub async fn send_with_receipts(&self, text: &str) -> Result<SentMessage, RequestError> {
        let own = self.phone.address();
        let id = self.phone.inner.with(|shell, _| {
            let id = shell.core.message_id();
            shell.core.await_receipts(&self.peer, &id);
            id
        });
        let mut message = Cpim::new(PLAIN, text.to_owned());
        message.push_from(&CpimAddress::new(None, &own));
        message.push_to(&CpimAddress::new(None, &self.to.to_string()));
        if let Some(now) = date(SystemTime::now()) {
            message.push("DateTime", None, &now.to_rfc3339());
        }
        let all = [Disposition::PositiveDelivery, Disposition::NegativeDelivery, Disposition::Display];
        message.ask_for(&id, &all);
        match self.phone.send_body(&self.to, message.to_body()).await {
            Ok(status) => Ok(SentMessage { id: Some(id), kept: status == StatusCode::ACCEPTED }),
            Err(error) if error.status() == Some(StatusCode::UNSUPPORTED_MEDIA_TYPE) => self.send(text).await,
            Err(error) => Err(error),
        }
    }

    /// Call it for each key that is pressed: the other side is told that we write, as seldom as RFC 3994 wants, and that we do
    /// not any more after 15 s without a key. Who does not understand it (415) is told once.
    pub fn typing(&self) {
        self.phone.inner.with(|shell, now| shell.core.composing(now, &self.peer));
    }

    /// Somebody has seen this text: its sender is told if it asked for that. Once for each.
    pub fn displayed(&self, message: &TextMessage) {
        self.phone.displayed(message);
    }

    /// What happens next.
    pub async fn next(&mut self) -> ChatEvent {
        self.phone
            .inner
            .wait_for(
                |shell| shell.chats.get(&self.peer).map(|chat| Arc::clone(&chat.changed)),
                |shell| {
                    let event = shell.chats.get_mut(&self.peer)?.events.pop_front()?;
                    shell.make_room();
                    Some(event)
                },
            )
            .await
    }

    /// The next text; who is writing and receipts are passed over.
    pub async fn next_message(&mut self) -> TextMessage {
        loop {
            if let ChatEvent::Message(message) = self.next().await {
                return *message;
            }
        }
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.phone.inner.with(|shell, _| shell.close_chat(&self.peer));
    }
}

pub(crate) fn plain(text: &str) -> Body {
    Body { content_type: PLAIN.into(), octets: text.to_owned().into() }
}

impl Phone {
    /// A chat with somebody. Texts of theirs that wait already come first.
    ///
    /// # Errors
    /// If the address is none.
    pub fn chat(&self, to: &str) -> Result<Chat, RequestError> {
        let to: Uri = to.parse().map_err(|error| RequestError::Address { text: to.into(), error })?;
        Ok(Chat::open(self, &to))
    }

    /// A chat with the next one who writes and with whom none is open. The text is the first thing in it.
    pub async fn next_chat(&self) -> Chat {
        let from =
            self.inner.wait(|shell| shell.messages.front().map(|message| message.from.uri().clone())).await;
        Chat::open(self, &from)
    }

    /// Somebody has seen this text: its sender is told if it asked for that (RFC 5438 §7.2.1.2). Once for each.
    pub fn displayed(&self, message: &TextMessage) {
        let Some(envelope) = &message.envelope else { return };
        self.inner.with(|shell, now| shell.core.displayed(now, message.from.uri(), envelope));
    }
}
