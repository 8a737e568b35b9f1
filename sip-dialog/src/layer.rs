//! The one owner of all calls: takes what the transaction layer passes up, and drives each call.

mod requests;
mod responses;
mod sending;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sip_auth::Authenticator;
use sip_message::headers::{Contact, NameAddr};
use sip_message::{Method, Uri};
use sip_transaction::{ClientTx, Event as TransactionEvent, ServerTx, Transactions};
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, Query, Queues, Received, Transmit};

use crate::alike::Alike;
use crate::call::{Call, CallState};
use crate::config::Config;
use crate::credentials::CredentialStore;
use crate::deadlines::{Deadlines, Due};
use crate::dialog::DialogId;
use crate::dialog_table::DialogTable;
use crate::event::{CallKey, Event};
use crate::keys::KeyMap;
use crate::lingering::{CachedAck, Fork, Lingering};
use crate::publication::Publications;
use crate::session_id::SessionIds;
use crate::subscription::Subscriptions;
pub(crate) use sending::Purpose;
use sending::Sent;

/// Events of the transaction layer at a time that are nothing special. A burst, as when the timers of thousands are due at once, does
/// not keep its memory.
const MANY_EVENTS: usize = 128;

/// Dialogs and calls over a transaction layer: a pure [`Core`].
///
/// Obligations live here: the ACK for a 2xx and its repetition, the repetition of our own 2xx until the ACK,
/// BYE after a 2xx that crossed a CANCEL, credentials. The application calls methods and takes events from
/// [`Dialogs::poll_event`].
#[derive(Debug)]
pub struct Dialogs {
    pub(crate) config: Config,
    /// Allow, Supported and Allow-Events as they are written.
    allow: String,
    supported: String,
    allow_events: String,
    pub(crate) transactions: Transactions,
    pub(crate) out: Queues<TransactionEvent>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) calls: KeyMap<CallKey, Box<Call>>,
    pub(crate) by_dialog: DialogTable,
    /// What the dialogs of most calls have alike.
    pub(crate) locals: Alike<NameAddr>,
    pub(crate) contacts: Alike<Contact>,
    pub(crate) by_server: KeyMap<ServerTx, CallKey>,
    pub(crate) sent: KeyMap<ClientTx, Box<Sent>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) credentials: CredentialStore,
    pub(crate) acks: HashMap<DialogId, Box<CachedAck>>,
    pub(crate) forks: HashMap<(String, String), Box<Fork>>,
    pub(crate) lingering: VecDeque<(Instant, Lingering)>,
    /// Re-INVITEs that are not answered though their calls are over, with the ACK of the 2xx that may come.
    pub(crate) left: KeyMap<ClientTx, Box<CachedAck>>,
    /// The halves of Session-ID, if calls are to have one.
    pub(crate) session_ids: Option<SessionIds>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) publications: Publications,
    next_key: u64,
    /// What our Contact is in dialogs, if a registrar gave us a URI that leads here from wherever (RFC 5627 §4.4).
    pub(crate) gruu: Option<Uri>,
}

impl Dialogs {
    /// A layer without calls.
    pub fn new(mut config: Config) -> Self {
        if config.connected_identity {
            config.supported.push("from-change".into());
        }
        if config.history {
            config.supported.push("histinfo".into());
        }
        let allow: Vec<&str> = config.allow.iter().map(Method::as_str).collect();
        Self {
            transactions: Transactions::new(config.transaction.clone()),
            allow: allow.join(", "),
            supported: config.supported.join(", "),
            allow_events: config.events.packages.join(", "),
            session_ids: config.session_ids.then(SessionIds::default),
            config,
            out: Queues::new(),
            events: VecDeque::new(),
            calls: KeyMap::default(),
            by_dialog: DialogTable::default(),
            locals: Alike::default(),
            contacts: Alike::default(),
            by_server: KeyMap::default(),
            sent: KeyMap::default(),
            deadlines: Deadlines::default(),
            credentials: CredentialStore::default(),
            acks: HashMap::new(),
            forks: HashMap::new(),
            lingering: VecDeque::new(),
            left: KeyMap::default(),
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            next_key: 0,
            gruu: None,
        }
    }

    /// Who we are to those who challenge us (RFC 3261 §22).
    pub fn authenticator(&mut self) -> &mut Authenticator {
        &mut self.credentials.accounts
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Calls that are not over.
    pub fn calls(&self) -> impl Iterator<Item = CallKey> {
        self.calls.keys().copied()
    }

    /// Where a call stands.
    pub fn state(&self, call: CallKey) -> Option<CallState> {
        self.calls.get(&call).map(|call| call.state)
    }

    /// The confirmed dialog of a call, or the early one of a call that we ring for.
    pub fn dialog(&self, call: CallKey) -> Option<&crate::dialog::Dialog> {
        self.calls.get(&call).and_then(|call| call.dialog.as_ref())
    }

    /// The call that has this dialog, early or not.
    pub(crate) fn call_with(&self, id: &DialogId) -> Option<CallKey> {
        self.by_dialog.find(id, |call| self.calls.get(&call).is_some_and(|call| call.has_dialog(id)))
    }

    /// Whether nothing is left: no call, no transaction, no timer. What every run must come to in the end.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.by_dialog.is_empty()
            && self.by_server.is_empty()
            && self.sent.is_empty()
            && self.deadlines.len() == 0
            && self.acks.is_empty()
            && self.forks.is_empty()
            && self.lingering.is_empty()
            && self.left.is_empty()
            && self.session_ids.as_ref().is_none_or(SessionIds::is_empty)
            && self.subscriptions.is_empty()
            && self.publications.is_empty()
            && self.transactions.live_client() == 0
            && self.transactions.live_server() == 0
    }

    /// The transaction layer below, for its counters.
    pub fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// A fresh random token for a tag, a Call-ID or a client nonce (RFC 3261 §19.3).
    pub fn token(&mut self) -> String {
        self.transactions.token()
    }

    /// A random number, for jitter and session ids.
    pub fn chance(&mut self) -> u64 {
        self.transactions.random()
    }

    pub(crate) fn fresh_key(&mut self) -> u64 {
        self.next_key = self.next_key.saturating_add(1);
        self.next_key
    }

    pub(crate) fn t1(&self) -> Duration {
        self.transactions.timing().t1
    }

    /// 64·T1: how long an unanswered request is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.t1().saturating_mul(64)
    }

    /// Works through everything that the transaction layer put out.
    pub(crate) fn drain(&mut self, now: Instant) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                TransactionEvent::Request { tx, request, path } => self.request_came(now, tx, request, path),
                TransactionEvent::Ack { request, .. } => self.ack_came(now, request),
                TransactionEvent::Cancelled { tx, request } => self.cancel_came(now, tx, request),
                TransactionEvent::Response { tx, response, path } => {
                    self.response_came(now, tx, response, path)
                }
                TransactionEvent::Stray { response, .. } => self.success_came_again(now, &response),
                TransactionEvent::Failed { tx, failure } => self.failed(now, tx, failure),
                _ => {}
            }
        }
        if self.out.events.capacity() > MANY_EVENTS {
            self.out.events.shrink_to(MANY_EVENTS);
        }
    }

    /// Whether another call can begin.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < self.config.max_calls
    }
}

impl Core for Dialogs {
    fn receive(&mut self, now: Instant, received: Received) {
        self.transactions.receive(now, received, &mut self.out);
        self.drain(now);
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.transactions.backlog(now, backlog);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.transactions.flow_event(now, event, &mut self.out);
        self.drain(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.transactions.resolved(now, answer, &mut self.out);
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.transactions.handle_timeout(now, &mut self.out);
        self.drain(now);
        while let Some((call, due)) = self.deadlines.pop(now) {
            match due {
                Due::RepeatSuccess => self.repeat_success(now, call),
                Due::NoAck => self.not_acknowledged(now, call),
                Due::RepeatProvisional => self.repeat_provisional(now, call),
                Due::RetryReinvite => self.retry_is_due(call),
                Due::RepeatReliable => self.repeat_reliable(now, call),
                Due::NoPrack => self.no_prack(now, call),
                Due::Refresh => self.refresh_session(now, call),
                Due::SessionExpired => self.session_expired(now, call),
                Due::NoAnswer => self.no_answer(now, call),
            }
            self.drain(now);
        }
        self.forget_lingering(now);
        self.drain(now);
        self.event_alarms(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lingering = self.lingering.front().map(|(at, _)| *at);
        let events = self.subscriptions.next_alarm();
        [self.transactions.poll_timeout(), self.deadlines.next(), lingering, events]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.out.closes.pop_front()
    }
}
