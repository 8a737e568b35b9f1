//! The table of all transactions: what comes from the network goes to its state machine, what the machines want is
//! done.

mod ack_cancel;
mod attempt;
mod broken;
mod cancel;
mod client;
mod completed;
mod dead;
mod fallback;
mod moved;
mod race;
mod response;
mod server;
mod stateless;

use self::client::ClientEntry;
use self::completed::Completed;
use self::dead::DeadTargets;
use self::server::ServerEntry;
use self::stateless::Pending;
pub use self::stateless::StatelessVia;
use crate::config::{Config, Limits};
use crate::counters::Counters;
use crate::event::{ClientTx, Event, ServerTx};
use crate::fsm::{Slot, Timer};
use crate::overload::{Load, Reports, Tier};
use crate::random::Random;
use crate::shedding::Shedding;
use crate::silence::Silence;
use crate::slab::{Key, Slab};
use crate::tables::Sharded;
use crate::timers::{TimerId, Timers};
use crate::timing::Timing;
use sip_message::{Message, Request};
use sip_transport::{Answer, Backlog, FlowEvent, Locals, Outbox, Path, QueryKey, Received, Token};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All client and server transactions of one element (RFC 3261 §17), without I/O and without a clock.
///
/// Everything it produces goes to the `out` of the call that caused it. The keys it gives are copyable; using one
/// whose transaction is over is an error and does nothing.
///
/// See the [crate documentation](crate) for an example.
#[derive(Debug)]
pub struct Transactions {
    timing: Timing,
    locals: Locals,
    /// Those before the last change: requests that left by them are ours.
    left: Locals,
    limits: Limits,
    refuse_merged: bool,
    heed_overload: bool,
    offer_keep_alive: bool,
    /// Our own load, and what next hops have said of theirs.
    load: Load,
    shedding: Shedding,
    reports: Reports,
    silence: Silence,
    /// Counts our reports (RFC 7339 §4.4).
    report_sequence: u64,
    rng: Random,
    clients: Slab<ClientEntry>,
    servers: Slab<ServerEntry>,
    pending: Slab<Pending>,
    /// Server transactions by the key of RFC 3261 §17.2.3. The map hashes with a key of its own, so that nobody
    /// can choose branches that collide; nothing depends on its order.
    matching: Sharded<Arc<str>, Key>,
    /// Server transactions by the key of RFC 3261 §8.2.2.2, if merged requests are refused.
    merged: Sharded<Arc<str>, Key>,
    /// Those that have their final response.
    completed: Completed,
    timers: Timers<Due>,
    dead: DeadTargets,
    /// Requests over connections that nothing was answered to yet.
    unanswered: BTreeSet<broken::Unanswered>,
    /// Keys are written here for looking up, so that a retransmission costs no allocation.
    scratch: String,
    counters: Counters,
    /// To tag of answers without a transaction: their ACKs are known by it.
    stateless_tag: String,
}

/// What a timer that fires is for.
#[derive(Clone, Copy, Debug)]
enum Due {
    Client(Key, Timer),
    Server(Key, Timer),
    /// Name servers were waited for long enough.
    Settle(Named),
    /// The next connection of a race may start.
    Race(Key),
}

/// What a token or a query key names, in its two highest bits. The fourth value is [`Token::NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Client(Key),
    Server(Key),
    Pending(Key),
}

impl Named {
    const fn bits(self) -> u64 {
        match self {
            Self::Client(key) => key.pack(),
            Self::Server(key) => (1 << 62) | key.pack(),
            Self::Pending(key) => (2 << 62) | key.pack(),
        }
    }

    const fn of(bits: u64) -> Option<Self> {
        let key = Key::unpack(bits);
        match bits >> 62 {
            0 => Some(Self::Client(key)),
            1 => Some(Self::Server(key)),
            2 => Some(Self::Pending(key)),
            _ => None,
        }
    }

    const fn token(self) -> Token {
        Token(self.bits())
    }

    const fn query(self) -> QueryKey {
        QueryKey(self.bits())
    }
}

/// Which of several layers that run side by side ([`Config::shard`](crate::Config)) has given this name to what it sends or asks: the
/// number in a [`Token`] or [`QueryKey`]. `None`: nobody is to be told.
#[must_use]
pub const fn shard_of(name: u64) -> Option<usize> {
    match Named::of(name) {
        Some(Named::Client(key) | Named::Server(key) | Named::Pending(key)) => Some(key.shard()),
        None => None,
    }
}

/// The two timers that a transaction may have running.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    pace: Option<TimerId>,
    deadline: Option<TimerId>,
}

impl Running {
    const fn slot(&mut self, slot: Slot) -> &mut Option<TimerId> {
        match slot {
            Slot::Pace => &mut self.pace,
            Slot::Deadline => &mut self.deadline,
        }
    }
}

/// A T1 of zero would make every timer due at once and again.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

impl Transactions {
    /// A layer without transactions.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let Config { rng_seed, locals, mut timing, limits, refuse_merged, .. } = config;
        let Config { heed_overload, offer_keep_alive, shard, .. } = config;
        timing.t1 = timing.t1.max(LEAST_INTERVAL);
        timing.t2 = timing.t2.max(LEAST_INTERVAL);
        let mut rng = Random::new(rng_seed);
        let stateless_tag = rng.token();
        Self {
            timers: Timers::new(timing.lengths()),
            timing,
            locals,
            left: Locals::default(),
            dead: DeadTargets::new(limits.dead_targets, limits.dead_for),
            limits,
            refuse_merged,
            heed_overload,
            offer_keep_alive,
            load: Load::new(limits.overload),
            shedding: Shedding::default(),
            reports: Reports::default(),
            silence: Silence::default(),
            report_sequence: 0,
            rng,
            clients: Slab::of_shard(shard),
            servers: Slab::of_shard(shard),
            pending: Slab::of_shard(shard),
            matching: Sharded::new(),
            unanswered: BTreeSet::new(),
            merged: Sharded::new(),
            completed: Completed::default(),
            scratch: String::new(),
            counters: Counters::default(),
            stateless_tag,
        }
    }

    /// A message came.
    pub fn receive(&mut self, now: Instant, received: Received, out: &mut impl Outbox<Event>) {
        let Received { message, path } = received;
        match message {
            Message::Request(request) => self.receive_request(now, request, path, out),
            Message::Response(response) => self.receive_response(now, response, path, out),
        }
    }

    /// Something happened to a connection or to something sent.
    pub fn flow_event(&mut self, now: Instant, event: FlowEvent, out: &mut impl Outbox<Event>) {
        // What cannot be sent is told as such; what was sent is sent again if its connection breaks.
        match event {
            FlowEvent::SendFailed { token, path, error } => match Named::of(token.0) {
                Some(Named::Client(key)) => self.client_send_failed(now, key, &path, error, out),
                Some(Named::Server(key)) => self.server_send_failed(now, key, &path, error, out),
                Some(Named::Pending(_)) | None => {}
            },
            FlowEvent::Ready { token, path } => {
                if let Some(Named::Client(key)) = Named::of(token.0) {
                    self.ready(now, key, path, out);
                }
            }
            FlowEvent::Closed { path, reason } => self.connection_closed(now, &path, reason, out),
            FlowEvent::Opened { .. } | FlowEvent::Proven { .. } | FlowEvent::KeptAlive { .. } => {}
        }
    }

    /// The answer to a query came.
    pub fn resolved(&mut self, now: Instant, answer: Answer, out: &mut impl Outbox<Event>) {
        match Named::of(answer.key.0) {
            Some(Named::Client(key)) => self.client_resolved(now, key, answer, out),
            Some(Named::Pending(key)) => self.pending_resolved(now, key, answer, out),
            Some(Named::Server(key)) => self.server_resolved(now, key, answer, out),
            None => {}
        }
    }

    /// Whether an answer is for a query of this layer, for owners who ask questions of their own.
    ///
    /// Keys with both highest bits set are never used here.
    #[must_use]
    pub fn asked(&self, key: QueryKey) -> bool {
        Named::of(key.0).is_some()
    }

    /// Does what is due at `now`. Being called early does no harm.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Outbox<Event>) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Client(key, timer) => self.client_fired(now, key, timer, out),
                Due::Server(key, timer) => self.server_fired(now, key, timer, out),
                Due::Settle(waiting) => self.settle(now, waiting, out),
                Due::Race(key) => self.next_runner(now, key, out),
            }
        }
    }

    /// What the driver tells by [`Core::backlog`](sip_transport::Core::backlog): if for 50 ms what is read has waited for 20 ms, or some was lost, a share of
    /// what is new is refused with 503, the larger the longer it lasts, so that the rest is done in time.
    pub fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.shedding.backlog(now, backlog);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A fresh text for a tag, a Call-ID or a nonce: 96 unguessable bits in hexadecimal (RFC 3261 §19.3).
    pub fn token(&mut self) -> String {
        self.rng.token()
    }

    /// Seconds for the Retry-After of a refusal: from [`Limits::retry_after`](crate::Limits::retry_after) up to twice as many, so
    /// that those who are refused do not return together.
    pub fn retry_after(&mut self) -> u64 {
        self.rng.jittered_seconds(self.limits.retry_after)
    }

    /// A fresh number, for choices that nobody may foresee.
    pub fn random(&mut self) -> u64 {
        self.rng.number()
    }

    /// The listeners.
    #[must_use]
    pub const fn locals(&self) -> &Locals {
        &self.locals
    }

    /// The base values of the timers.
    #[must_use]
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How much is refused now, by how many server transactions are under way and by what the application says.
    pub fn tier(&mut self) -> Tier {
        let under_way = self.under_way();
        self.load.tier(under_way, self.limits.server_transactions)
    }

    /// Says how loaded the application is by its own measure: its queues, its processors. At least this tier holds until
    /// another is told.
    pub fn set_least_tier(&mut self, tier: Tier) {
        self.load.tell(tier);
    }

    /// Client transactions that are not over, those of CANCEL included.
    #[must_use]
    pub fn live_client(&self) -> usize {
        self.clients.len()
    }

    /// Server transactions that are not over.
    #[must_use]
    pub fn live_server(&self) -> usize {
        self.servers.len()
    }

    /// Requests without a transaction that wait for DNS.
    #[must_use]
    pub fn live_stateless(&self) -> usize {
        self.pending.len()
    }

    /// Timers that run.
    #[must_use]
    pub fn armed_timers(&self) -> usize {
        self.timers.len()
    }

    /// The request of a server transaction, until its final response is given.
    #[must_use]
    pub fn request(&self, tx: ServerTx) -> Option<&Request> {
        self.servers.get(tx.0)?.request.as_deref()
    }

    /// The way the request of a server transaction came.
    #[must_use]
    pub fn server_path(&self, tx: ServerTx) -> Option<Path> {
        self.servers.get(tx.0).map(|entry| entry.path)
    }

    /// The way on which a client transaction's request was sent last; `None` while it waits for DNS
    /// or a connection.
    #[must_use]
    pub fn client_path(&self, tx: ClientTx) -> Option<Path> {
        self.clients
            .get(tx.0)
            .filter(|entry| entry.waiting.is_none() && entry.race.is_none())
            .map(|entry| entry.path)
    }

    fn arm(&mut self, now: Instant, due: Due, after: Duration) {
        let id = self.timers.arm(now, after, due);
        let running = match due {
            Due::Client(key, timer) => {
                self.clients.get_mut(key).map(|entry| (&mut entry.running, timer.slot()))
            }
            Due::Server(key, timer) => {
                self.servers.get_mut(key).map(|entry| (&mut entry.running, timer.slot()))
            }
            Due::Settle(Named::Client(key)) | Due::Race(key) => {
                self.clients.get_mut(key).map(|entry| (&mut entry.running, Slot::Pace))
            }
            Due::Settle(Named::Pending(key)) => {
                self.pending.get_mut(key).map(|entry| (&mut entry.running, Slot::Pace))
            }
            Due::Settle(Named::Server(_)) => None,
        };
        let Some((running, slot)) = running else {
            self.timers.cancel(id);
            return;
        };
        if let Some(old) = running.slot(slot).replace(id) {
            self.timers.cancel(old);
        }
    }

    fn stop(&mut self, running: Running) {
        for id in [running.pace, running.deadline].into_iter().flatten() {
            self.timers.cancel(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_what_they_were_made_for() {
        let key = Key { index: 5, generation: 9 };
        for named in [Named::Client(key), Named::Server(key), Named::Pending(key)] {
            assert_eq!(Named::of(named.token().0), Some(named));
        }
        assert_eq!(Named::of(Token::NONE.0), None);
        assert_eq!((shard_of(Named::Server(key).bits()), shard_of(Token::NONE.0)), (Some(0), None));
    }

    #[test]
    fn an_entry_is_small() {
        // Beside it a transaction holds its request or response, 500 to 1500 octets, and its key.
        assert!(size_of::<ClientEntry>() <= 720, "{}", size_of::<ClientEntry>());
        assert!(size_of::<ServerEntry>() <= 720, "{}", size_of::<ServerEntry>());
    }
}
