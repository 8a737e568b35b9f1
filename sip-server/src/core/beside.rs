//! Several cores of one server side by side: one at home, others that carry calls.
//!
//! A call goes to one of them, by its Call-ID, with every message of it, so that none overtakes another. What is one for the whole
//! server stays with the core at home: registrations, the location table, subscriptions and publications, messages, trunks.
//!
//! ```text
//!                    whose phones are where, gateways that are gone, who is watched, phones that have woken
//!   home: all else  ═══════════════════════════════════════════════════════════════▶  aside: its share of the calls
//!                   ◀═══════════════════════════════════════════════════════════════
//!                    where are the phones of somebody, calls of who is watched
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_auth::Verifier;
use sip_message::{HeaderName, Message};
use sip_transaction::MAX_SHARDS;
use sip_transport::{FlowEvent, FlowId, Received, Shard};

use super::common::Common;
use super::trunks::Job;
use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::calls::{Change, Seats, Snapshot, UserCalls};
use crate::config::{Config, ConfigError};
use crate::gruu::Gruus;
use crate::location::{Answer, Binding, Question, QuestionKey, StoreError};
use crate::protection::Guard;
use crate::proxy::RecordRoute;

/// Requests that begin, change and end calls, and what belongs to them.
const OF_CALLS: [&str; 8] = ["INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER"];

/// Notes of calls that home has not heard yet, from one core. Whoever floods a user that is watched must not fill the memory of a home
/// that has too much to do; above, it is told of each user once, and how their calls are then.
const NOTES_OF_CALLS: usize = 256;

/// The place of a core among others.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Which one it is; the one at home is the first.
    shard: usize,
    /// How many there are; 0 if it is alone.
    shards: usize,
    /// The location table is at home, and not in a store outside.
    table_at_home: bool,
    notes: VecDeque<(usize, Note)>,
    /// Whose calls somebody watches at home.
    watched: HashSet<AddressOfRecord>,
    /// Notes of calls that home has not heard yet.
    unheard: usize,
    /// Of whose calls home is to be told when it has heard of others: of those who are watched alone.
    late: HashSet<AddressOfRecord>,
    /// Connections that stand, to know who is awake (RFC 8599 §5.6.2). As many as the transport lets there be.
    open: HashSet<FlowId>,
}

/// What one core tells another.
#[derive(Debug)]
pub struct Note(Kind);

#[derive(Debug)]
enum Kind {
    Lookup {
        from: usize,
        key: QuestionKey,
        question: Question,
    },
    Found {
        key: QuestionKey,
        answer: Answer,
    },
    Gateways(Arc<BTreeSet<Job>>),
    Awake(AddressOfRecord, Arc<[Binding]>),
    Watch(AddressOfRecord, bool),
    Calls {
        from: usize,
        change: Change,
        snapshot: Snapshot,
    },
    /// One of those.
    Heard,
}

impl Note {
    /// Of the gateways that are asked these are not there.
    pub(super) fn gateways(down: &Arc<BTreeSet<Job>>) -> Self {
        Self(Kind::Gateways(down.clone()))
    }

    /// These phones have registered.
    pub(super) fn awake(aor: &AddressOfRecord, phones: &Arc<[Binding]>) -> Self {
        Self(Kind::Awake(aor.clone(), phones.clone()))
    }

    /// Somebody watches the calls of a user, or nobody does any longer.
    pub(super) fn watch(user: &AddressOfRecord, on: bool) -> Self {
        Self(Kind::Watch(user.clone(), on))
    }
}

/// What cores side by side have in common: who is not heard, nonces, keys, calls by trunks.
#[derive(Clone, Debug)]
pub struct InCommon {
    guard: Option<Common<Guard>>,
    registrations: Option<Common<Verifier>>,
    calls: Option<Common<Verifier>>,
    own_routes: RecordRoute,
    gruus: Gruus,
    seats: BTreeMap<Arc<str>, Seats>,
    down: Arc<BTreeSet<Job>>,
}

impl Beside {
    pub(super) fn at(shard: usize) -> Self {
        Self { shard, ..Self::default() }
    }
}

impl ServerCore {
    /// Shares the work of this core, which is at home, out among `shards` of them, at most [`MAX_SHARDS`](sip_transaction::MAX_SHARDS).
    /// `config` is what it was made with; its limits hold for each of them. Run them with
    /// [`Driver::spawn_shards`](sip_transport::tokio::Driver::spawn_shards), or one after the other as
    /// [`Shards`](sip_transport::Shards).
    ///
    /// What the configuration leaves outside is asked for by each of them: its router, users, push gateway, and location store.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn shared_out(
        mut self,
        config: &Config,
        shards: usize,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Vec<Self>, ConfigError> {
        let shards = shards.clamp(1, MAX_SHARDS);
        let mut others = Vec::with_capacity(shards);
        for shard in 1..shards {
            let mut seed = [0; 32];
            for part in seed.chunks_mut(8) {
                part.copy_from_slice(&self.layer.transactions.random().to_be_bytes());
            }
            let config = Config {
                rng_seed: seed,
                external_location: true,
                keep_events: false,
                messages: None,
                ..config.clone()
            };
            let mut other = Self::on_shard(config, now, unix_time, shard)?;
            other.beside.table_at_home = self.store.is_some();
            other.beside.shards = shards;
            other.adopt(self.in_common());
            others.push(other);
        }
        self.beside.shards = shards;
        others.insert(0, self);
        Ok(others)
    }

    /// What the others have to share with this one, to be [adopted](ServerCore::adopt) by each after all of them have another
    /// configuration ([`reconfigure`](ServerCore::reconfigure)).
    #[must_use]
    pub fn in_common(&self) -> InCommon {
        InCommon {
            guard: self.guard.clone(),
            registrations: self.registrations.clone(),
            calls: self.calls.clone(),
            own_routes: self.own_routes.clone(),
            gruus: self.gruus.clone(),
            seats: self.trunks.seats.clone(),
            down: self.trunks.all_down(),
        }
    }

    /// Shares with the one at home what there is one of.
    pub fn adopt(&mut self, common: InCommon) {
        self.guard = common.guard;
        self.registrations = common.registrations;
        self.calls = common.calls;
        self.proxy.set_routes(&common.own_routes);
        self.own_routes = common.own_routes;
        self.gruus = common.gruus;
        self.trunks.seats = common.seats;
        self.trunks.down = common.down;
    }

    /// Whether this is not the one at home.
    pub(super) fn is_aside(&self) -> bool {
        self.beside.shard > 0
    }

    /// Tells all others, if there are some.
    pub(super) fn tell_all(&mut self, note: impl Fn() -> Note) {
        for other in 1..self.beside.shards {
            self.beside.notes.push_back((other, note()));
        }
    }

    fn tell_home(&mut self, kind: Kind) {
        self.beside.notes.push_back((0, Note(kind)));
    }

    // ---- the location table ----------------------------------------------------------------------------------

    pub(super) fn asks_at_home(&self) -> bool {
        self.is_aside() && self.beside.table_at_home
    }

    /// Asks where the phones of somebody are. Nothing else is ever asked here: who changes bindings does so at home.
    pub(super) fn ask_at_home(&mut self, now: Instant, question: Question, waiting: Waiting) {
        if self.waiting.len() >= self.limits.questions || !matches!(question, Question::Lookup { .. }) {
            return self.resume(now, waiting, Answer::Failed(StoreError::Unavailable));
        }
        let key = self.expect_answer(now, self.limits.question_timeout, waiting);
        let from = self.beside.shard;
        self.tell_home(Kind::Lookup { from, key, question });
    }

    fn look_up_for(&mut self, now: Instant, other: usize, key: QuestionKey, question: Question) {
        let answer = match &mut self.store {
            Some(store) => store.answer(now, question),
            None => Answer::Failed(StoreError::Unavailable),
        };
        self.beside.notes.push_back((other, Note(Kind::Found { key, answer })));
    }

    // ---- phones that sleep -----------------------------------------------------------------------------------

    /// Registrations are at home, and which connections belong to them: aside a phone is awake if its connection stands.
    pub(super) fn note_flow(&mut self, event: &FlowEvent) {
        if !self.is_aside() || self.pushes.is_none() {
            return;
        }
        match event {
            FlowEvent::Opened { path } => self.beside.open.extend(path.flow),
            FlowEvent::Closed { path, .. } => {
                path.flow.map(|flow| self.beside.open.remove(&flow));
            }
            _ => {}
        }
    }

    pub(super) fn stands_aside(&self, flow: FlowId) -> bool {
        self.beside.open.contains(&flow)
    }

    // ---- the calls of users ----------------------------------------------------------------------------------

    /// Users of whose calls this core tells the one at home, because somebody watches them there.
    #[must_use]
    pub fn watched_at_home(&self) -> usize {
        self.beside.watched.len()
    }

    /// Tells home of the calls of those who are watched there.
    pub(super) fn tell_of_calls(&mut self, now: Instant) {
        while let Some(change) = self.layer.lines.as_mut().and_then(UserCalls::poll_change) {
            if self.beside.watched.contains(&change.user) {
                self.tell_calls(now, change);
            }
        }
    }

    fn tell_calls(&mut self, now: Instant, change: Change) {
        if self.beside.unheard >= NOTES_OF_CALLS {
            self.beside.late.insert(change.user);
            return;
        }
        let Some(lines) = &self.layer.lines else { return };
        self.beside.unheard = self.beside.unheard.saturating_add(1);
        let (from, snapshot) = (self.beside.shard, lines.snapshot(now, &change.user));
        self.tell_home(Kind::Calls { from, change, snapshot });
    }

    /// Home has heard of some calls, and is told of the next.
    fn heard(&mut self, now: Instant) {
        self.beside.unheard = self.beside.unheard.saturating_sub(1);
        if let Some(user) = self.beside.late.iter().next().cloned() {
            self.beside.late.remove(&user);
            self.tell_calls(now, Change { user, ended: None });
        }
    }

    fn watch(&mut self, now: Instant, user: AddressOfRecord, on: bool) {
        if !on {
            self.beside.watched.remove(&user);
            self.beside.late.remove(&user);
            return;
        }
        self.beside.watched.insert(user.clone());
        let has_calls = self.layer.lines.as_ref().is_some_and(|lines| !lines.of(now, &user).is_empty());
        if has_calls {
            self.tell_calls(now, Change { user, ended: None });
        }
    }
}

impl Shard for ServerCore {
    type Note = Note;

    /// What belongs to calls goes by its Call-ID: a call whose ACK and BYE are dealt with at the same time may have them swapped.
    fn key(received: &Received) -> Option<&str> {
        let method = match &received.message {
            Message::Request(request) => request.method().as_str(),
            Message::Response(response) => {
                response.headers.text(HeaderName::CSEQ)?.split_ascii_whitespace().nth(1)?
            }
        };
        let headers = received.message.headers();
        if OF_CALLS.contains(&method) { headers.text(HeaderName::CALL_ID) } else { None }
    }

    fn shard_of(name: u64) -> Option<usize> {
        sip_transaction::shard_of(name)
    }

    fn noted(&mut self, now: Instant, note: Note) {
        match note.0 {
            Kind::Lookup { from, key, question } => self.look_up_for(now, from, key, question),
            Kind::Found { key, answer } => self.answer(now, key, answer),
            Kind::Gateways(down) => self.trunks.down = down,
            Kind::Awake(aor, phones) => self.awaken(now, &aor, &phones),
            Kind::Watch(user, on) => self.watch(now, user, on),
            Kind::Calls { from, change, snapshot } => {
                if let Some(lines) = &mut self.layer.lines {
                    lines.told(from, change, snapshot);
                }
                self.beside.notes.push_back((from, Note(Kind::Heard)));
            }
            Kind::Heard => self.heard(now),
        }
        self.settle(now);
    }

    fn poll_note(&mut self) -> Option<(usize, Note)> {
        self.beside.notes.pop_front()
    }
}
