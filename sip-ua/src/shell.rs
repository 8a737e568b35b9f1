//! Between the core and the handles: what happened to each call, kept until a handle asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rtp::rtcp::extended::Wanted;
use sdp::Negotiated;
use sip_dialog::{
    Body, CallKey, Cause, KeyMap, PublicationChange, PublicationKey, RequestKey, SubscriberChange,
    SubscriptionChange, SubscriptionKey,
};
use sip_message::headers::{From, NameAddr};
use sip_message::{Method, Request, Response, StatusCode, Uri};
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, Path, Query, Received, Transmit};
use tokio::sync::Notify;

use crate::chat::{ChatBox, ChatEvent, Receipt};
use crate::core::{MessageKey, PackagedInfo, Peer, PhoneCore, PhoneEvent};
use crate::media::MediaSession;
use crate::network_watch;
use crate::quality_reports::{self, QualityReports};
use crate::requests::TextMessage;
use crate::transfer::{Transferring, WaitingReferral};
use crate::watch::News;

/// Provisional responses that wait to be read; the oldest goes.
const MAX_PROGRESS: usize = 16;
/// Calls that wait for the application to look at them; more are answered 486.
const MAX_WAITING: usize = 1024;

/// What goes on before the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    status: StatusCode,
    reason: String,
    /// Media may be heard already (RFC 3960).
    pub early_media: bool,
}

impl Progress {
    /// The provisional status: 180 when the far end rings.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its reason phrase.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// Whether it ended because no media could be agreed on.
    pub bad_media: bool,
}

/// Messages that wait to be read; more are answered 486 (RFC 3428 §7).
const MAX_MESSAGES: usize = 256;

/// One call as its handles see it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) media: Option<Arc<dyn MediaSession>>,
    /// The peer called.
    pub(crate) incoming: bool,
    /// Media was agreed on with the answer.
    pub(crate) agreed: bool,
    pub(crate) held_by_peer: bool,
    pub(crate) established_at: Option<Instant>,
    /// Changes of the session by our own re-INVITEs.
    pub(crate) changes: u64,
    pub(crate) ended: Option<Box<Ended>>,
    /// What a call that merely stands has none of.
    pub(crate) rare: Option<Box<Rare>>,
    /// Nobody holds the call any more: forget it with its end.
    pub(crate) abandoned: bool,
    /// Tells whoever waits for news of this call, and of no other: a thousand calls that wait must not all wake for one.
    pub(crate) changed: Arc<Notify>,
}

/// News that few calls have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) progress: VecDeque<Progress>,
    /// Our own re-INVITEs that were refused.
    pub(crate) refused: VecDeque<StatusCode>,
    /// The transfer that was asked for last.
    pub(crate) transfer: Option<Transferring>,
    /// Who the peer says it is now, until somebody asks.
    pub(crate) identity: Option<NameAddr>,
    /// Where a 3xx sent the call last.
    pub(crate) redirected: Option<Uri>,
    /// INFO with packages that nobody has asked for yet; the core lets no more come than there is room for.
    pub(crate) infos: VecDeque<PackagedInfo>,
}

/// The core and the mailboxes of its calls, behind the driver's one lock.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) core: PhoneCore,
    pub(crate) boxes: KeyMap<CallKey, Box<Mailbox>>,
    /// Calls that have not ended.
    pub(crate) live: usize,
    pub(crate) incoming: VecDeque<(CallKey, Request, Path, bool)>,
    /// The last outcome of a REGISTER, and how many there were.
    pub(crate) registration: Option<Result<Duration, StatusCode>>,
    pub(crate) registrations: u64,
    /// Messages that came and were answered 200, until they are taken.
    pub(crate) messages: VecDeque<TextMessage>,
    /// Chats that are open.
    pub(crate) chats: BTreeMap<Peer, ChatBox>,
    /// Final responses to messages that somebody waits for.
    pub(crate) sent: BTreeMap<MessageKey, Option<Result<Response, StatusCode>>>,
    /// Final responses to requests outside of calls that somebody waits for.
    pub(crate) responses: KeyMap<RequestKey, Option<Result<Response, StatusCode>>>,
    /// What peers ask us to do.
    pub(crate) referrals: VecDeque<WaitingReferral>,
    pub(crate) subscriptions: KeyMap<SubscriptionKey, News<SubscriptionChange>>,
    pub(crate) publications: KeyMap<PublicationKey, News<PublicationChange>>,
    /// Who subscribes to us, and those among them that nobody has looked at.
    pub(crate) subscribers: KeyMap<SubscriptionKey, News<SubscriberChange>>,
    pub(crate) new_subscribers: VecDeque<(SubscriptionKey, Request)>,
    /// Reports of quality, if they are wanted.
    pub(crate) quality: Option<QualityReports>,
    /// Something of the phone as a whole happened: a call comes in, a registration was answered, a call ended.
    pub(crate) changed: Arc<Notify>,
    /// Something could not be sent: the network may be another one.
    pub(crate) alarm: Arc<Notify>,
}

impl Shell {
    pub(crate) fn new(core: PhoneCore) -> Self {
        Self {
            core,
            boxes: KeyMap::default(),
            live: 0,
            incoming: VecDeque::new(),
            registration: None,
            registrations: 0,
            messages: VecDeque::new(),
            chats: BTreeMap::new(),
            sent: BTreeMap::new(),
            referrals: VecDeque::new(),
            subscriptions: KeyMap::default(),
            publications: KeyMap::default(),
            subscribers: KeyMap::default(),
            new_subscribers: VecDeque::new(),
            quality: None,
            responses: KeyMap::default(),
            changed: Arc::new(Notify::new()),
            alarm: Arc::new(Notify::new()),
        }
    }

    /// A call begins: what happens to it is kept from now on.
    pub(crate) fn open(&mut self, call: CallKey, mailbox: Mailbox) {
        self.boxes.insert(call, Box::new(mailbox));
        self.live = self.live.saturating_add(1);
    }

    /// Nobody holds this call any more.
    pub(crate) fn abandon(&mut self, call: CallKey) {
        let Some(mailbox) = self.boxes.get_mut(&call) else { return };
        mailbox.abandoned = true;
        if mailbox.ended.is_some() {
            self.boxes.remove(&call);
        }
    }

    /// Puts the core's events where the handles look.
    pub(crate) fn dispatch(&mut self, now: Instant) {
        while let Some(event) = self.core.poll_event() {
            let call = event.call();
            let of_phone = call.is_none()
                || matches!(
                    event,
                    PhoneEvent::Incoming { .. }
                        | PhoneEvent::Ended { .. }
                        | PhoneEvent::Message { .. }
                        | PhoneEvent::Referred { .. }
                );
            let waiting = call.and_then(|call| Some(Arc::clone(&self.boxes.get(&call)?.changed)));
            self.take(now, event);
            // A subscription tells its own handle.
            if let Some(waiting) = waiting {
                waiting.notify_waiters();
            }
            if of_phone {
                self.changed.notify_waiters();
            }
        }
    }

    fn take(&mut self, now: Instant, event: PhoneEvent) {
        match event {
            PhoneEvent::Registered(lifetime) => self.registered(Ok(lifetime)),
            PhoneEvent::RegistrationFailed(status) => self.registered(Err(status)),
            PhoneEvent::Unregistered => self.registered(Ok(Duration::ZERO)),
            PhoneEvent::Incoming { call, request, path, replaces } => {
                if self.incoming.len() >= MAX_WAITING {
                    if let Err(error) = self.core.reject(now, call, StatusCode::BUSY_HERE) {
                        tracing::debug!(%error, "the call too many is gone already");
                    }
                    return;
                }
                self.open(call, Mailbox { incoming: true, ..Mailbox::default() });
                self.incoming.push_back((call, request, path, replaces.is_some()));
            }
            PhoneEvent::Progress { call, response, early_media } => {
                let Some(mailbox) = self.boxes.get_mut(&call) else { return };
                if let (Some(agreed), Some(media)) = (&early_media, &mailbox.media) {
                    media.apply(agreed);
                }
                let progress = &mut mailbox.rare_mut().progress;
                if progress.len() >= MAX_PROGRESS {
                    progress.pop_front();
                }
                progress.push_back(Progress {
                    status: response.status(),
                    reason: response.reason().into(),
                    early_media: early_media.is_some(),
                });
            }
            PhoneEvent::EarlyMedia { call, media } => {
                if let Some(ours) = self.boxes.get(&call).and_then(|mailbox| mailbox.media.as_ref()) {
                    ours.apply(&media);
                }
            }
            PhoneEvent::Redirected { call, to } => {
                let Some(mailbox) = self.boxes.get_mut(&call) else { return };
                tracing::info!(%to, "the call goes on elsewhere");
                mailbox.rare_mut().redirected = Some(to);
            }
            PhoneEvent::Established { call, media } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.established_at = Some(now);
                    mailbox.agree(&media, self.core.wanted_reports(call));
                    if let (Some(quality), Some(dialog)) =
                        (&mut self.quality, self.core.dialogs().dialog(call))
                    {
                        quality.begins(call, dialog, !mailbox.incoming);
                    }
                }
            }
            PhoneEvent::MediaChanged { call, media, by_us } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.changes = mailbox.changes.saturating_add(u64::from(by_us));
                    mailbox.agree(&media, self.core.wanted_reports(call));
                }
            }
            PhoneEvent::PeerIdentified { call, identity } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.rare_mut().identity = Some(identity);
                }
            }
            PhoneEvent::ChangeRefused { call, status } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    let refused = &mut mailbox.rare_mut().refused;
                    refused.truncate(MAX_PROGRESS);
                    refused.push_back(status);
                }
            }
            PhoneEvent::Digit { call, digit } => {
                if let Some(media) = self.boxes.get(&call).and_then(|mailbox| mailbox.media.as_ref()) {
                    media.digit(digit);
                }
            }
            PhoneEvent::Info { call, info } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.rare_mut().infos.push_back(*info);
                }
            }
            PhoneEvent::Ended { call, cause, bad_media } => {
                self.incoming.retain(|(waiting, ..)| *waiting != call);
                let Some(mailbox) = self.boxes.get_mut(&call) else { return };
                mailbox.ended = Some(Box::new(Ended { cause, bad_media }));
                self.live = self.live.saturating_sub(1);
                let report = self.quality.as_mut().and_then(|quality| {
                    let media = mailbox.media.as_ref().and_then(|media| media.report());
                    quality.ends(call, media, SystemTime::now())
                });
                if let Some(media) = &mailbox.media {
                    media.close();
                }
                if mailbox.abandoned {
                    self.boxes.remove(&call);
                }
                if let Some(report) = report {
                    self.send_report(now, report);
                }
            }
            PhoneEvent::Response { request, result } => {
                if self.quality.as_mut().is_some_and(|quality| quality.answered(request)) {
                    let status = result.map_or_else(|status| status, |response| response.status());
                    if !status.is_success() {
                        tracing::warn!(%status, "the collector did not take a report of quality");
                    }
                    return;
                }
                if let Some(awaited) = self.responses.get_mut(&request) {
                    *awaited = Some(result);
                }
            }
            PhoneEvent::Message { request, text, envelope, .. } => {
                // The core does not take messages without a From.
                let Ok(Some(From(from))) = request.headers.get::<From>() else { return };
                let peer = Peer::of(from.uri());
                let message = TextMessage { from, text, request, envelope };
                match self.chats.get_mut(&peer) {
                    Some(chat) => chat.add(ChatEvent::Message(Box::new(message))),
                    None => self.messages.push_back(message),
                }
                self.make_room();
            }
            PhoneEvent::MessageAnswered { message, result } => {
                if let Some(awaited) = self.sent.get_mut(&message) {
                    *awaited = Some(result);
                }
            }
            PhoneEvent::Composing { peer, active } => {
                if let Some(chat) = self.chats.get_mut(&peer) {
                    chat.add(ChatEvent::Composing(active));
                }
            }
            PhoneEvent::Receipt { peer, id, notification } => {
                if let (Some(chat), Some(receipt)) = (self.chats.get_mut(&peer), Receipt::of(notification)) {
                    chat.add(ChatEvent::Receipt { id, receipt });
                }
            }
            PhoneEvent::Transfer { call, transfer, status } => {
                if let Some(state) = self.transfer_of(call, transfer) {
                    state.status = Some(status);
                }
            }
            PhoneEvent::TransferOver { call, transfer } => {
                if let Some(state) = self.transfer_of(call, transfer) {
                    state.over = true;
                }
            }
            PhoneEvent::Referred { referral, call, to, by, attended } => {
                if self.referrals.len() >= MAX_WAITING {
                    let _ = self.core.decline_referral(now, referral);
                    return;
                }
                self.referrals.push_back(WaitingReferral { key: referral, call, to, by, attended });
            }
            PhoneEvent::Subscription { key, what } => {
                let over = matches!(what, SubscriptionChange::Terminated { again: None, .. });
                if let Some(news) = self.subscriptions.get_mut(&key) {
                    news.add(what, over);
                }
            }
            PhoneEvent::Publication { key, what } => {
                let over = matches!(what, PublicationChange::Ended(_));
                if let Some(news) = self.publications.get_mut(&key) {
                    news.add(what, over);
                }
            }
            PhoneEvent::SubscriptionRequested { key, request } => {
                if self.new_subscribers.len() >= MAX_WAITING {
                    let _ = self.core.reject_subscription(now, key, StatusCode::TEMPORARILY_UNAVAILABLE);
                    return;
                }
                self.subscribers.insert(key, News::default());
                self.new_subscribers.push_back((key, request));
            }
            PhoneEvent::Subscriber { key, what } => {
                let over = matches!(what, SubscriberChange::Ended(_));
                if over && self.new_subscribers.iter().any(|(waiting, _)| *waiting == key) {
                    // It gave up before anybody looked at it: nobody will ask for its news.
                    self.new_subscribers.retain(|(waiting, _)| *waiting != key);
                    self.subscribers.remove(&key);
                    return;
                }
                if let Some(news) = self.subscribers.get_mut(&key) {
                    news.add(what, over);
                }
            }
            PhoneEvent::Confirmed { .. } => {}
        }
    }

    /// Publishes the report of a call (RFC 6035 §4.3). It is said once and never changes, so there is nothing to refresh.
    fn send_report(&mut self, now: Instant, report: Body) {
        let Some(quality) = &mut self.quality else { return };
        let event = [("Event", quality_reports::PACKAGE)];
        match self.core.request(now, &quality.collector, Method::Publish, &event, Some(report)) {
            Ok(request) => quality.sent(request),
            Err(error) => tracing::warn!(%error, "a report of quality cannot be sent"),
        }
    }

    /// What was answered 200 is kept until it is read; when there is no room, the next are answered 486.
    pub(crate) fn make_room(&mut self) {
        let unread =
            self.chats.values().map(ChatBox::unread).fold(self.messages.len(), usize::saturating_add);
        self.core.take_messages(unread < MAX_MESSAGES);
    }

    /// A handle for a chat is made; texts of this peer that wait already go to it.
    pub(crate) fn open_chat(&mut self, peer: &Peer, to: &Uri) {
        self.core.open_chat(to);
        let chat = self.chats.entry(peer.clone()).or_default();
        let (theirs, others) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition::<VecDeque<_>, _>(|message| Peer::of(message.from.uri()) == *peer);
        self.messages = others;
        theirs.into_iter().for_each(|message| chat.add(ChatEvent::Message(Box::new(message))));
    }

    /// A handle for a chat is gone; with the last one, texts that nobody read wait for whoever asks.
    pub(crate) fn close_chat(&mut self, peer: &Peer) {
        self.core.close_chat(peer);
        if self.core.has_chat(peer) {
            return;
        }
        if let Some(chat) = self.chats.remove(peer) {
            self.messages.extend(chat.into_messages());
            self.changed.notify_waiters();
        }
    }

    fn transfer_of(&mut self, call: CallKey, transfer: SubscriptionKey) -> Option<&mut Transferring> {
        let state = self.boxes.get_mut(&call)?.rare()?.transfer.as_mut()?;
        (state.key == transfer).then_some(state)
    }

    fn registered(&mut self, outcome: Result<Duration, StatusCode>) {
        self.registration = Some(outcome);
        self.registrations = self.registrations.saturating_add(1);
    }
}

impl Mailbox {
    /// News of the rare kinds, if there are any.
    pub(crate) fn rare(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn agree(&mut self, agreed: &Negotiated, wanted: Wanted) {
        if let Some(media) = &self.media {
            media.extended_reports(wanted);
            media.apply(agreed);
        }
        self.agreed = true;
        self.held_by_peer = agreed.audio().is_some_and(|audio| audio.held_by_remote);
    }
}

impl Core for Shell {
    fn receive(&mut self, now: Instant, received: Received) {
        self.core.receive(now, received);
        self.dispatch(now);
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.core.backlog(now, backlog);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        if network_watch::is_suspicious(&event) {
            self.alarm.notify_one();
        }
        self.core.flow_event(now, event);
        self.dispatch(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.core.resolved(now, answer);
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.handle_timeout(now);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.poll_transmit()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.core.poll_query()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.core.poll_close()
    }
}
