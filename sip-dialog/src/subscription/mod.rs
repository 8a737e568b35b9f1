//! Subscriptions in both roles (RFC 6665), and the dialogs that they live in.
//!
//! A dialog has one owner. While a call stands in it, that is the call, and subscriptions that a REFER made there borrow
//! it; when the call ends first, the dialog passes to them and lives until the last of them is over (RFC 6665 §4.5.2,
//! RFC 5057 §4).

mod adaptive;
mod notification;
mod notifier;
mod rates;
mod state;
mod subscriber;
mod timing;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sip_message::headers::{self, AllowEvents, RetryAfter};
use sip_message::{Identity, Method, Request, Response, StatusCode};
use sip_transaction::{ClientTx, Failure, ServerTx};
use sip_transport::Path;

use crate::dialog::{Dialog, DialogError, DialogId};
use crate::event::{Error, Event};
use crate::explicit_refer::ReferState;
use crate::keys::KeyMap;
use crate::layer::Dialogs;
use crate::publication::PublicationKey;

pub use notification::Notification;
pub use notifier::Acceptance;
pub use rates::Rates;
pub use state::{
    SubscriberChange, SubscriberEnd, SubscriptionChange, SubscriptionEnd, SubscriptionStage,
    TerminationReason, ends_subscription,
};
pub use subscriber::Subscribe;

pub(crate) use notifier::{Notifier, Stage, Undecided};
pub(crate) use state::EventId;
pub(crate) use subscriber::{Attempt, Subscriber};
pub(crate) use timing::{Alarm, backoff, later, refresh_after, seconds};

/// A subscription, ours or somebody's with us.
///
/// A key, not a pointer: it can be copied, and one that outlives its subscription is an error, never another subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey(pub(crate) u64);

/// How subscriptions are handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventConfig {
    /// Packages that the application notifies about. A SUBSCRIBE for others is answered 489 with this list, which is also
    /// in Allow-Events (RFC 6665 §4.4.4).
    pub packages: Vec<String>,
    /// Packages whose NOTIFY is handed to the application as an [`Event::Request`] though nobody subscribed: there are
    /// servers that tell of waiting messages in this way. RFC 6665 has no such thing: others are answered 481.
    pub unsolicited: Vec<String>,
    /// Seconds of a SUBSCRIBE without Expires, where the package names no other number (RFC 6665 §8.2 leaves it to it).
    pub default_expires: u32,
    /// The fewest seconds that are granted; what asks for less is answered 423 (§4.2.1.1). Has no effect above one hour.
    pub min_expires: u32,
    /// The most seconds that are granted.
    pub max_expires: u32,
    /// Seconds for which what a REFER asks for is reported (RFC 3515 §2.4.4).
    pub refer_expires: u32,
    /// The least time between two notifications of a subscription by our own policy (RFC 6446 §5.2), if there is one.
    pub notify_interval: Option<Duration>,
    /// Subscriptions at one time, ours and those with us. A new one over it is answered 503: a SUBSCRIBE flood must not
    /// fill the memory.
    pub max_subscriptions: usize,
    /// Subscriptions with us that come from one address. A new one over it is answered 480, so that one phone gone mad does
    /// not take the places of all. Behind a proxy all come from its address: set it as high as the other.
    pub max_per_source: usize,
}

impl EventConfig {
    /// A presence server of one process; each costs some kilobytes.
    pub const MAX_SUBSCRIPTIONS: usize = 10_000;
    /// A phone with a panel of a hundred keys, some times over.
    pub const MAX_PER_SOURCE: usize = 1_000;
}

impl Default for EventConfig {
    fn default() -> Self {
        Self {
            packages: Vec::new(),
            unsolicited: Vec::new(),
            default_expires: 3600,
            min_expires: 60,
            max_expires: 7200,
            refer_expires: 180,
            notify_interval: None,
            max_subscriptions: Self::MAX_SUBSCRIPTIONS,
            max_per_source: Self::MAX_PER_SOURCE,
        }
    }
}

/// Seconds that who is refused for want of room is asked to wait.
const FULL_RETRY_AFTER: u32 = 30;

/// Why a request of a subscription was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventPurpose {
    /// A SUBSCRIBE of ours.
    Subscribe(SubscriptionKey),
    /// A REFER of ours.
    Refer(SubscriptionKey),
    /// A NOTIFY of ours.
    Notify(SubscriptionKey),
    /// A PUBLISH of ours.
    Publish(PublicationKey),
}

/// A dialog with subscriptions in it.
#[derive(Debug, Default)]
struct Usages {
    /// `None` while a call owns the dialog.
    dialog: Option<Dialog>,
    subscriptions: Vec<SubscriptionKey>,
}

/// All subscriptions of the layer.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) subscribers: KeyMap<SubscriptionKey, Subscriber>,
    pub(crate) notifiers: KeyMap<SubscriptionKey, Notifier>,
    dialogs: HashMap<DialogId, Usages>,
    /// SUBSCRIBEs and REFERs of ours outside of dialogs, by Call-ID and our tag: a NOTIFY may still make a dialog of them.
    pub(crate) attempts: HashMap<(String, String), Attempt>,
    /// How the requests go that REFERs without a subscription asked for, by what the application calls them.
    pub(crate) refer_states: HashMap<SubscriptionKey, ReferState>,
    /// When attempts are over; all last as long.
    closing: VecDeque<(Instant, (String, String))>,
    pub(crate) sources: HashMap<IpAddr, usize>,
    pub(crate) alarms: timing::Timetable,
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
            && self.notifiers.is_empty()
            && self.dialogs.is_empty()
            && self.attempts.is_empty()
            && self.refer_states.is_empty()
            && self.closing.is_empty()
            && self.sources.is_empty()
            && self.alarms.is_empty()
    }

    /// The dialogs that no call owns.
    pub(crate) fn own_dialogs(&mut self) -> impl Iterator<Item = &mut Dialog> {
        self.dialogs.values_mut().filter_map(|usages| usages.dialog.as_mut())
    }

    pub(crate) fn len(&self) -> usize {
        self.subscribers.len().saturating_add(self.notifiers.len())
    }

    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.next().into_iter().chain(self.closing.front().map(|(at, _)| *at)).min()
    }

    /// Whether subscriptions own this dialog.
    pub(crate) fn has_dialog(&self, id: &DialogId) -> bool {
        self.dialogs.get(id).is_some_and(|usages| usages.dialog.is_some())
    }

    /// Whether a subscription lives in this dialog, whoever owns it.
    pub(crate) fn live_in(&self, id: &DialogId) -> bool {
        self.dialogs.contains_key(id)
    }

    /// The subscription of ours in this dialog that a NOTIFY is about. One of a REFER may come without `id`: then the first
    /// is meant (RFC 3515 §2.4.6).
    fn subscriber_in(&self, id: &DialogId, event: &EventId) -> Option<SubscriptionKey> {
        let keys = &self.dialogs.get(id)?.subscriptions;
        let of = |key: &SubscriptionKey| self.subscribers.get(key).map(|subscriber| &subscriber.event);
        let exact = keys.iter().find(|key| of(key) == Some(event));
        let loose = |key: &&SubscriptionKey| {
            of(key).is_some_and(|known| {
                let any = known.id.is_none() || event.id.is_none();
                any && known.package == "refer" && event.package == "refer"
            })
        };
        exact.or_else(|| keys.iter().find(loose)).copied()
    }

    fn notifier_in(&self, id: &DialogId, event: &EventId) -> Option<SubscriptionKey> {
        let keys = &self.dialogs.get(id)?.subscriptions;
        let of = |key: &SubscriptionKey| self.notifiers.get(key).map(|notifier| &notifier.event);
        let exact = keys.iter().find(|key| of(key) == Some(event));
        let first_refer = |key: &&SubscriptionKey| {
            event.id.is_none()
                && event.package == "refer"
                && of(key).is_some_and(|known| known.package == "refer")
        };
        exact.or_else(|| keys.iter().find(first_refer)).copied()
    }

    pub(crate) fn close_attempt_at(&mut self, at: Instant, id: (String, String)) {
        self.closing.push_back((at, id));
    }
}

impl Dialogs {
    /// Subscriptions that are not over, of both roles.
    pub fn subscriptions(&self) -> impl Iterator<Item = SubscriptionKey> {
        let (ours, theirs) = (&self.subscriptions.subscribers, &self.subscriptions.notifiers);
        ours.keys().chain(theirs.keys()).copied()
    }

    /// Where a subscription of ours stands.
    pub fn subscription(&self, key: SubscriptionKey) -> Option<SubscriptionStage> {
        self.subscriptions.subscribers.get(&key).map(|subscriber| subscriber.stage)
    }

    pub(crate) fn has_room_for_subscription(&self) -> bool {
        self.subscriptions.len() < self.config.events.max_subscriptions
    }

    // ---- the dialogs of subscriptions ------------------------------------------------------------------------

    /// The dialog of this name, whoever owns it.
    pub(crate) fn dialog_of(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        if self.subscriptions.has_dialog(id) {
            return self.subscriptions.dialogs.get_mut(id)?.dialog.as_mut();
        }
        let call = self.call_with(id)?;
        self.calls.get_mut(&call)?.dialog.as_mut().filter(|dialog| dialog.id() == id)
    }

    /// A subscription begins in a dialog that a call owns.
    pub(crate) fn join_dialog(&mut self, id: &DialogId, key: SubscriptionKey) {
        self.subscriptions.dialogs.entry(id.clone()).or_default().subscriptions.push(key);
    }

    /// A subscription begins with a dialog of its own.
    pub(crate) fn own_dialog(&mut self, dialog: Dialog, key: SubscriptionKey) {
        let usages = self.subscriptions.dialogs.entry(dialog.id().clone()).or_default();
        usages.dialog = Some(dialog);
        usages.subscriptions.push(key);
    }

    /// A call has ended: its dialog stays if a subscription lives in it (RFC 6665 §4.5.2).
    pub(crate) fn keep_for_subscriptions(&mut self, dialog: Dialog) {
        if let Some(usages) = self.subscriptions.dialogs.get_mut(dialog.id()) {
            usages.dialog = Some(dialog);
        }
    }

    /// A subscription is over: the dialog goes with the last one.
    pub(crate) fn leave_dialog(&mut self, id: &DialogId, key: SubscriptionKey) {
        let Some(usages) = self.subscriptions.dialogs.get_mut(id) else { return };
        usages.subscriptions.retain(|other| *other != key);
        if usages.subscriptions.is_empty() {
            self.subscriptions.dialogs.remove(id);
            if self.call_with(id).is_none() {
                self.credentials.forget(&id.call_id);
            }
        }
    }

    // ---- requests --------------------------------------------------------------------------------------------

    /// A SUBSCRIBE, NOTIFY or REFER, in whatever dialog.
    pub(crate) fn event_request_came(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: Request,
        path: Path,
        identity: &Identity,
    ) {
        let id = DialogId::of_request(identity);
        match (request.method(), id) {
            (Method::Notify, None) if self.is_wanted_unsolicited(&request) => {
                self.events.push_back(Event::Request { tx, call: None, request, path });
            }
            (Method::Notify, Some(id)) => self.notify_came(now, tx, request, &id),
            (Method::Subscribe, None) => self.subscribe_came(now, tx, request, path),
            (Method::Subscribe, Some(id)) => self.subscribe_in_dialog_came(now, tx, request, &id),
            (Method::Refer, id) => self.refer_came(now, tx, request, path, id),
            _ => self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST),
        }
    }

    fn is_wanted_unsolicited(&self, notify: &Request) -> bool {
        event_of(notify).is_ok_and(|event| self.config.events.unsolicited.contains(&event.token))
    }

    /// A request of another kind in a dialog that only subscriptions live in.
    pub(crate) fn request_in_event_dialog_came(
        &mut self,
        now: Instant,
        id: &DialogId,
        tx: ServerTx,
        request: Request,
        path: Path,
    ) {
        let of_a_call = [Method::Invite, Method::Bye, Method::Info, Method::Prack, Method::Update];
        if of_a_call.contains(request.method()) {
            // RFC 5057 §5.3: they belong to a call, and here is none (any more).
            return self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        }
        if self.in_order(now, id, tx, &request) {
            self.events.push_back(Event::Request { tx, call: None, request, path });
        }
    }

    /// Whether a request in a dialog is in order (RFC 3261 §12.2.2); one that is not has been answered.
    pub(crate) fn in_order(&mut self, now: Instant, id: &DialogId, tx: ServerTx, request: &Request) -> bool {
        let status = match self.dialog_of(id).map(|dialog| dialog.receive_request(request)) {
            Some(Ok(())) => return true,
            Some(Err(DialogError::OutOfOrder { .. })) => StatusCode::SERVER_INTERNAL_ERROR,
            Some(Err(_)) => StatusCode::BAD_REQUEST,
            None => StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST,
        };
        self.answer_status(now, tx, request, status);
        false
    }

    /// 489 with the packages that we know (RFC 6665 §4.2.1.1, §8.3.2).
    pub(crate) fn answer_bad_event(&mut self, now: Instant, tx: ServerTx, request: &Request) {
        let events = self.config.events.packages.iter().map(|package| AllowEvents::new(package));
        let events: Vec<AllowEvents> = events.collect();
        let tag = self.token();
        self.answer_built(now, tx, request.reply(StatusCode::BAD_EVENT).to_tag(&tag).headers(&events));
    }

    pub(crate) fn answer_full(&mut self, now: Instant, tx: ServerTx, request: &Request, status: StatusCode) {
        let tag = self.token();
        let builder = request.reply(status).to_tag(&tag).header(&RetryAfter::new(FULL_RETRY_AFTER));
        self.answer_built(now, tx, builder);
    }

    pub(crate) fn answer_because(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        status: StatusCode,
        reason: &str,
    ) {
        let tag = self.token();
        self.answer_built(now, tx, request.reply(status).reason(reason).to_tag(&tag));
    }

    // ---- what becomes of our requests ------------------------------------------------------------------------

    pub(crate) fn event_answered(&mut self, now: Instant, purpose: EventPurpose, response: Response) {
        match purpose {
            EventPurpose::Subscribe(key) => self.subscribe_answered(now, key, response),
            EventPurpose::Refer(key) => self.refer_answered(now, key, response),
            EventPurpose::Notify(key) => self.notify_answered(now, key, &response),
            EventPurpose::Publish(key) => self.publish_answered(now, key, &response),
        }
    }

    pub(crate) fn event_failed(&mut self, now: Instant, purpose: EventPurpose, failure: Failure) {
        match purpose {
            EventPurpose::Subscribe(key) => self.subscribe_failed(now, key, failure),
            EventPurpose::Refer(key) => self.refer_failed(now, key, failure),
            EventPurpose::Notify(key) => self.notify_failed(key, failure),
            EventPurpose::Publish(key) => self.publish_failed(now, key, failure),
        }
    }

    /// The number of a request that goes again with credentials; `None` if nobody waits for it any more.
    pub(crate) fn event_cseq(&mut self, purpose: EventPurpose, current: u32) -> Option<u32> {
        let id = match purpose {
            EventPurpose::Subscribe(key) | EventPurpose::Refer(key) => {
                let subscriber = self.subscriptions.subscribers.get(&key)?;
                if let Some(attempt) = subscriber.attempt.clone() {
                    let next = current.saturating_add(1);
                    self.subscriptions.attempts.get_mut(&attempt)?.cseq = next;
                    // A NOTIFY of another branch may have made the dialog already: its numbers go on from here.
                    let bound = subscriber.dialog.clone();
                    if let Some(dialog) = bound.and_then(|id| self.dialog_of(&id)) {
                        dialog.note_local_cseq(next);
                    }
                    return Some(next);
                }
                subscriber.dialog.clone()?
            }
            EventPurpose::Notify(key) => self.subscriptions.notifiers.get(&key)?.dialog.clone()?,
            EventPurpose::Publish(_) => return Some(current.saturating_add(1)),
        };
        let dialog = self.dialog_of(&id)?;
        let next = dialog.local_cseq().max(current).saturating_add(1);
        dialog.note_local_cseq(next);
        if let EventPurpose::Refer(key) = purpose
            && let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key)
        {
            subscriber.event = EventId::refer(Some(next)); // RFC 3515 §2.4.6: the number of the REFER that is taken
        }
        Some(next)
    }

    pub(crate) fn event_resent(&mut self, now: Instant, purpose: EventPurpose, tx: ClientTx) {
        let live = self.sent.contains_key(&tx).then_some(tx);
        match purpose {
            EventPurpose::Subscribe(key) | EventPurpose::Refer(key) => self.subscribe_resent(now, key, live),
            EventPurpose::Notify(key) => {
                if let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) {
                    notifier.client = live;
                }
            }
            EventPurpose::Publish(key) => self.publish_resent(key, live),
        }
    }

    pub(crate) fn event_alarms(&mut self, now: Instant) {
        while let Some(alarm) = self.subscriptions.alarms.pop(now) {
            match alarm {
                Alarm::NotifyWait(key) => self.no_notify_came(now, key),
                Alarm::Refresh(key) => self.refresh_is_due(now, key),
                Alarm::Expiry(key) => self.subscription_expired(now, key),
                Alarm::Subscribe(key) => self.subscribe_again(now, key),
                Alarm::Undecided(key) => self.nobody_decided(now, key),
                Alarm::Granted(key) => self.grant_is_over(now, key),
                Alarm::MayNotify(key) => self.push_notify(now, key),
                Alarm::MustNotify(key) | Alarm::Unrenewed(key) => self.notify_again(now, key),
                Alarm::ForgetRefer(key) => self.forget_refer(key),
                Alarm::Publish(key) => self.publish_is_due(now, key),
                Alarm::Published(key) => self.publication_expired(now, key),
            }
            self.drain(now);
        }
        while self.subscriptions.closing.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.subscriptions.closing.pop_front() else { break };
            if self.subscriptions.attempts.get(&id).is_some_and(|attempt| attempt.until <= now) {
                self.forget_attempt(&id);
            }
        }
    }
}

/// The Event field of a request that has one by the check of its method.
fn event_of(request: &Request) -> Result<headers::Event, Error> {
    Ok(request.headers.require::<headers::Event>()?)
}
