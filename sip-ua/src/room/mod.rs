//! Chat rooms: many write, all read (RFC 7701). [`ChatRoom`] is the side that hosts one, focus and switch in one; [`RoomChat`] is a
//! participant.

mod guest;
mod nickname;
mod rules;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use msrp::tokio::Receipt;
use msrp::{Event, Message, Received, Screen, SendError, SessionConfig, StatusCode as MsrpStatus};
use sdp::Direction;
use sip_dialog::messaging::cpim::{Cpim, CpimAddress};
use sip_dialog::packages::conference::{ConferenceInfo, ConferenceMedia, Endpoint, EndpointStatus, User};
use sip_dialog::{Acceptance, Notification, SubscriberChange};
use sip_message::{StatusCode, Uri, ValueError};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub use guest::{RoomChat, RoomMessage};
pub use rules::RoomPolicy;
use rules::{Device, Rules, Seat};

use crate::notifier::Subscriber;
use crate::phone::Phone;
use crate::session::{ChatSession, IncomingChat, SessionError};

/// Messages that wait for one participant: those beyond are left out, and the participant is told how many (RFC 7701 §6.4).
const MAX_WAITING: usize = 256;
/// Octets of them: many large messages to who reads slowly would fill the memory.
const MAX_WAITING_OCTETS: usize = 8 << 20;
/// How long a participant may take to read one message; then the session ends (RFC 7701 §6.4).
const CONGESTED: Duration = Duration::from_secs(120);
/// Messages on their way to one participant, to whom the answer has not come.
const UNDER_WAY: usize = 32;

/// A chat room, which a phone hosts: it answers whoever calls to chat, passes messages on, reserves nicknames and tells who is there
/// (RFC 7701, RFC 4575). Clones are the same room.
///
/// Who calls is taken for who their From says: let only a server that authenticates its users call the phone (RFC 7701 §5.2).
///
/// ```no_run
/// use sip_ua::{ChatRoom, Phone, RoomPolicy};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let phone = Phone::builder("sip:friends@example.com").password("secret").focus().bind().await?;
/// phone.register().await?;
/// let room = ChatRoom::new("sip:friends@example.com", RoomPolicy::default())?;
/// room.serve(&phone).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChatRoom(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rings when somebody comes, goes or is called something else.
    changed: watch::Sender<u32>,
}

#[derive(Debug)]
struct State {
    rules: Rules,
    queues: HashMap<Seat, Queue>,
    over: bool,
}

/// What waits for a participant.
#[derive(Debug)]
struct Queue {
    messages: mpsc::Sender<Bytes>,
    octets: usize,
    left_out: u64,
}

impl Queue {
    fn new(messages: mpsc::Sender<Bytes>) -> Self {
        Self { messages, octets: 0, left_out: 0 }
    }

    /// Adds a message, or counts it as left out where there is no room for it. One alone always has room.
    fn add(&mut self, message: Bytes) {
        let octets = self.octets.saturating_add(message.len());
        let fits = self.octets == 0 || octets <= MAX_WAITING_OCTETS;
        if fits && self.messages.try_send(message).is_ok() {
            self.octets = octets;
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }
}

/// The switch, as a participant's session asks it.
#[derive(Debug)]
struct Seated {
    room: Arc<Shared>,
    seat: Seat,
}

impl Screen for Seated {
    fn message(&self, message: &Received) -> MsrpStatus {
        let state = &mut *self.room.lock();
        let recipients = match state.rules.recipients(self.seat, message) {
            Ok(recipients) => recipients,
            Err(status) => return status,
        };
        for seat in recipients {
            if let Some(queue) = state.queues.get_mut(&seat) {
                queue.add(message.body.clone());
            }
        }
        MsrpStatus::OK
    }

    fn nickname(&self, name: &str) -> MsrpStatus {
        let status = self.room.lock().rules.nickname(self.seat, name, Instant::now());
        if status.is_success() {
            self.room.change();
        }
        status
    }
}

impl ChatRoom {
    /// An empty room of this address, which messages to all have in their To.
    ///
    /// # Errors
    /// If the address is none.
    pub fn new(uri: &str, policy: RoomPolicy) -> Result<Self, ValueError> {
        let state = State { rules: Rules::new(uri.parse()?, policy), queues: HashMap::new(), over: false };
        Ok(Self(Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(0) })))
    }

    /// Lets in whoever calls this phone to chat and tells subscribers who is there, until the phone is closed. Other calls are refused
    /// (488), subscribers from outside too (403). The phone is to be a [`focus`](crate::PhoneBuilder::focus).
    pub async fn serve(&self, phone: &Phone) {
        loop {
            tokio::select! {
                incoming = phone.incoming() => {
                    let Some(incoming) = incoming else { return };
                    match incoming.into_chat() {
                        Ok(chat) => {
                            let room = self.clone();
                            tokio::spawn(async move {
                                if let Err(error) = room.admit(chat).await {
                                    tracing::debug!(%error, "nobody was let in");
                                }
                            });
                        }
                        // The caller may have given up.
                        Err(other) => drop(other.reject(StatusCode::NOT_ACCEPTABLE_HERE)),
                    }
                }
                subscriber = phone.next_subscriber() => {
                    let room = self.clone();
                    tokio::spawn(async move { room.tell(subscriber).await });
                }
            }
        }
    }

    /// Lets somebody in, and stays with them until they leave.
    ///
    /// # Errors
    /// If they take no `message/cpim` (488, RFC 7701 §5.2), the room is full (486), or the session does not come about.
    pub async fn admit(&self, chat: IncomingChat) -> Result<(), SessionError> {
        if !chat.takes(Cpim::CONTENT_TYPE) {
            chat.reject(StatusCode::NOT_ACCEPTABLE_HERE)?;
            return Err(SessionError::Type(Cpim::CONTENT_TYPE.into()));
        }
        let device = Device {
            takes_private: chat.chatroom().is_some_and(msrp::sdp::Chatroom::private_messages),
            wrapped: chat.takes_wrapped().clone(),
        };
        let (messages, waiting) = mpsc::channel(MAX_WAITING);
        let entered = {
            let state = &mut *self.0.lock();
            let seat = if state.over { None } else { state.rules.enter(chat.from().uri().clone(), device) };
            seat.inspect(|seat| drop(state.queues.insert(*seat, Queue::new(messages))))
        };
        let Some(seat) = entered else {
            chat.reject(StatusCode::BUSY_HERE)?;
            return Err(SessionError::RoomFull);
        };
        // Whatever becomes of the session, the seat is free afterwards.
        let _leaving = Leaving { room: self.0.clone(), seat };
        let policy = self.0.lock().rules.policy().clone();
        let mut features = Vec::new();
        features.extend(policy.nicknames.then_some("nickname"));
        features.extend(policy.private_messages.then_some("private-messages"));
        let more = [
            ("accept-types", Cpim::CONTENT_TYPE.to_owned()),
            ("accept-wrapped-types", policy.wrapped_types.to_string()),
            ("chatroom", features.join(" ")),
        ];
        let screen = Arc::new(Seated { room: self.0.clone(), seat });
        let configure = |config: &mut SessionConfig| {
            config.max_size = policy.max_size;
            config.screen = Some(screen);
        };
        let session = chat.answer(Direction::SendRecv, &more, configure).await?;
        self.0.change();
        self.stay(session, seat, waiting).await;
        Ok(())
    }

    /// Passes on what is for a participant.
    async fn stay(&self, mut chat: ChatSession, seat: Seat, mut waiting: mpsc::Receiver<Bytes>) {
        let mut under_way = VecDeque::new();
        'session: loop {
            tokio::select! {
                // What comes was seen to by the screen.
                event = chat.next_event() => match event {
                    None | Some(Event::Closed(_)) => break,
                    Some(_) => {}
                },
                in_time = settled(under_way.front()) => {
                    if !in_time {
                        break;
                    }
                    under_way.pop_front();
                }
                body = waiting.recv(), if under_way.len() < UNDER_WAY => {
                    let Some(body) = body else { break };
                    if let Some(queue) = self.0.lock().queues.get_mut(&seat) {
                        queue.octets = queue.octets.saturating_sub(body.len());
                    }
                    for body in self.notice(seat, &chat).into_iter().chain([body]) {
                        match chat.session.send(Message::new(Cpim::CONTENT_TYPE, body)).await {
                            Ok(receipt) => under_way.push_back((receipt, Instant::now())),
                            Err(SendError::Full) => self.leave_out(seat),
                            Err(_) => break 'session,
                        }
                    }
                }
            }
        }
        chat.close().await;
    }

    fn leave_out(&self, seat: Seat) {
        if let Some(queue) = self.0.lock().queues.get_mut(&seat) {
            queue.left_out = queue.left_out.saturating_add(1);
        }
    }

    /// What tells a participant of messages that were left out (RFC 7701 §6.4).
    fn notice(&self, seat: Seat, chat: &ChatSession) -> Option<Bytes> {
        let state = &mut *self.0.lock();
        let left_out = std::mem::take(&mut state.queues.get_mut(&seat)?.left_out);
        if left_out == 0 {
            return None;
        }
        let room = state.rules.uri().as_str();
        let text = format!("{left_out} messages were left out, since your connection is slow");
        let mut cpim = Cpim::new("text/plain", text);
        cpim.push_from(&CpimAddress::new(None, room));
        cpim.push_to(&CpimAddress::new(None, chat.remote().uri().as_str()));
        Some(cpim.to_octets())
    }

    /// Tells a subscriber of the package `conference` who is there, until one of both ends it. Who is not in the room is refused (403).
    pub async fn tell(&self, mut subscriber: Subscriber) {
        let mut changed = self.0.changed.subscribe();
        if subscriber.package() != "conference" {
            return drop(subscriber.reject(StatusCode::BAD_EVENT));
        }
        if !self.0.lock().rules.has(subscriber.from().uri()) {
            return drop(subscriber.reject(StatusCode::FORBIDDEN));
        }
        let mut version = 0;
        let state = Some(Notification::full(self.document(version).to_body()));
        if subscriber.accept(Acceptance { state, numbered: true, ..Acceptance::default() }).is_err() {
            return;
        }
        loop {
            tokio::select! {
                news = subscriber.next() => match news {
                    None | Some(SubscriberChange::Ended(_)) => return,
                    Some(SubscriberChange::Refreshed { .. }) => continue,
                    Some(_) => {}
                },
                gone = changed.changed() => if gone.is_err() || self.0.lock().over { return },
            }
            version = version.saturating_add(1);
            if subscriber.notify(Notification::full(self.document(version).to_body())).is_err() {
                return;
            }
        }
    }

    /// Who is there, as a document of this number (RFC 4575).
    fn document(&self, version: u32) -> ConferenceInfo {
        let state = self.0.lock();
        let rules = &state.rules;
        let mut document = ConferenceInfo::new(rules.uri().as_str(), version);
        document.maximum_user_count = u32::try_from(rules.policy().sessions).ok();
        document.active = Some(!state.over);
        for (at, (who, nickname)) in rules.roster().enumerate() {
            let endpoint = Endpoint {
                status: Some(EndpointStatus::Connected),
                media: vec![ConferenceMedia::new("1", "message")],
                ..Endpoint::new(&format!("{who};seat={at}"))
            };
            let known = document.users.iter_mut().find(|user| user.entity == who);
            match known {
                Some(user) => {
                    user.endpoints.push(endpoint);
                    user.nickname = user.nickname.take().or(nickname);
                }
                None => {
                    document.users.push(User { nickname, endpoints: vec![endpoint], ..User::new(&who) });
                }
            }
        }
        document.user_count = u32::try_from(document.users.len()).ok();
        document
    }

    /// Who is there: their addresses, and what they are called.
    pub fn participants(&self) -> Vec<(String, Option<String>)> {
        self.document(0).users.into_iter().map(|user| (user.entity, user.nickname)).collect()
    }

    /// Waits until somebody comes, goes or is called something else, from the call on: made before
    /// [`participants`](Self::participants) is read it misses nothing.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changed = self.0.changed.subscribe();
        async move {
            // An error says that the room is gone, which is a change too.
            let _ = changed.changed().await;
        }
    }

    /// Ends it for all (RFC 7701 §5.3).
    pub fn close(&self) {
        let state = &mut *self.0.lock();
        state.over = true;
        state.queues.clear();
        self.0.change();
    }
}

/// Waits until the oldest message is answered, however: a refusal concerns its reader alone. `false` if that takes too long.
async fn settled(oldest: Option<&(Receipt, Instant)>) -> bool {
    match oldest {
        Some((receipt, since)) => {
            timeout(CONGESTED.saturating_sub(since.elapsed()), receipt.accepted()).await.is_ok()
        }
        None => std::future::pending().await,
    }
}

/// A seat that is free again when this goes.
struct Leaving {
    room: Arc<Shared>,
    seat: Seat,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let state = &mut *self.room.lock();
        state.queues.remove(&self.seat);
        state.rules.leave(self.seat, Instant::now());
        self.room.change();
    }
}

/// The URI of somebody in a message of the switch.
fn address(uri: &Uri) -> CpimAddress {
    CpimAddress::new(None, uri.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_slow_reader_is_bounded_in_number_and_octets() {
        let (messages, _waiting) = mpsc::channel(MAX_WAITING);
        let mut queue = Queue::new(messages);
        (0..MAX_WAITING + 3).for_each(|_| queue.add(Bytes::from_static(b"short")));
        assert_eq!((queue.left_out, queue.octets), (3, 5 * MAX_WAITING));
        let (messages, _waiting) = mpsc::channel(MAX_WAITING);
        let mut queue = Queue::new(messages);
        let large = Bytes::from(vec![0; MAX_WAITING_OCTETS + 1]);
        queue.add(large.clone());
        assert_eq!(queue.left_out, 0, "one alone has room");
        queue.add(large);
        queue.add(Bytes::from_static(b"short"));
        assert_eq!(queue.left_out, 2);
    }
}
