//! Registrar, proxy and location service as one core (RFC 3261 §10, §16).

mod durable;
mod location;
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_auth::{Role, Verifier, VerifierConfig};
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transaction::{Event, ServerTx, Target, Tier, Transactions};
use sip_transport::outbound::FlowTokens;
use sip_transport::resolve::{Need, Progress, Resolution};
use sip_transport::{
    Answer, Close, Core, FlowEvent, FlowId, Locals, Path, Query, Queues, Received, Transmit,
};

use crate::config::{Config, ConfigError, Counters, Limits, count};
use crate::domains::Domains;
use crate::location::{MemoryLocation, Question, QuestionKey};
use crate::proxy::{Layer, Proxy, RecordRoute, Template};
use crate::registrar::{self, Registration};
use crate::{AddressOfRecord, Users};

pub use durable::Batch;
use durable::Unsaved;

/// Three minutes: what Timer C has to be longer than (RFC 3261 §16.6 step 11).
const TIMER_C_ABOVE: Duration = Duration::from_secs(180);

/// A SIP server without I/O and without a clock: registrar, location service and stateful proxy over one transaction
/// layer. Drive it with `sip_transport::tokio`, in the simulator, or by hand.
///
/// Bindings are in a table of its own, or outside: with [`Config::external_location`] every look-up and update comes out of
/// [`poll_question`](ServerCore::poll_question) and waits, without holding anything up, for
/// [`answer`](ServerCore::answer).
#[derive(Debug)]
pub struct ServerCore {
    layer: Layer,
    proxy: Proxy,
    own_routes: RecordRoute,
    domains: Domains,
    users: Option<Users>,
    /// Challenges REGISTER with 401.
    registrations: Option<Verifier>,
    /// Challenges other requests with 407.
    calls: Option<Verifier>,
    policy: Policy,
    store: Option<MemoryLocation>,
    /// With a durable store behind the table.
    unsaved: Option<Unsaved>,
    questions: VecDeque<(QuestionKey, Question)>,
    waiting: Sharded<QuestionKey, (Waiting, TimerId)>,
    /// The question for which a request waits, to find it when it is cancelled.
    waiting_for: Sharded<ServerTx, QuestionKey>,
    timers: Timers<QuestionKey>,
    /// Whose bindings are to connections, by connection.
    bound: BTreeMap<FlowId, Vec<AddressOfRecord>>,
    asked: u64,
    waker: Option<Waker>,
    started: Instant,
    started_unix: Duration,
    limits: Limits,
}

/// What of the configuration decides on single requests.
#[derive(Debug)]
struct Policy {
    open_relay: bool,
    next_hop: Option<Target>,
    record_route: bool,
    registrar: Option<registrar::Config>,
}

/// What goes on when the location store has answered.
#[derive(Debug)]
enum Waiting {
    Registration(ServerTx, Box<Registration>),
    Request(ServerTx, Box<Template>, AddressOfRecord),
    Ack(Box<sip_message::Request>),
    /// A connection is gone, and what is bound to it.
    FlowGone(FlowId, AddressOfRecord),
}

impl ServerCore {
    /// A server that starts at `now`, which is `unix_time` after the Unix epoch.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn new(config: Config, now: Instant, unix_time: Duration) -> Result<Self, ConfigError> {
        let Config { rng_seed, locals, domains, users, realm, algorithms, .. } = config;
        if locals.is_empty() {
            return Err(ConfigError::NoListener);
        }
        if config.timer_c <= TIMER_C_ABOVE {
            return Err(ConfigError::TimerC);
        }
        if let Some(bad) = domains.iter().find(|name| sip_message::Uri::sip(None, name, None).is_err()) {
            return Err(ConfigError::Domain(bad.clone()));
        }
        let mut layer_config = sip_transaction::Config::new(rng_seed, locals.clone());
        layer_config.timing = config.timing;
        layer_config.limits = config.limits.transactions;
        layer_config.heed_overload = config.heed_overload;
        let mut transactions = Transactions::new(layer_config);
        let realm = realm
            .or_else(|| domains.first().cloned())
            .or_else(|| locals.iter().next().map(|local| local.host.clone()))
            .unwrap_or_default();
        let secret = secret(&mut transactions);
        let verifier = |role: Role| {
            let mut config = VerifierConfig::new(realm.clone(), secret);
            config.role = role;
            config.algorithms.clone_from(&algorithms);
            // Phones and test programs write the address of the server, or of the proxy before it, into `uri`. A replay
            // for another Request-URI is what the nonce count stops.
            config.uri_check = sip_auth::UriCheck::Any;
            Verifier::new(config, now, unix_time)
        };
        let registrations = users.as_ref().map(|_| verifier(Role::UserAgent)).transpose()?;
        let calls = users.as_ref().filter(|_| config.challenge_calls);
        let calls = calls.map(|_| verifier(Role::Proxy)).transpose()?;
        let next_hop = config.next_hop.map(|uri| next_hop(uri, &locals)).transpose()?;
        let keys = (transactions.random(), transactions.random());
        let own_routes = RecordRoute::new(keys, FlowTokens::new(&self::secret(&mut transactions)), &locals);
        let recorded = config.record_route.then(|| own_routes.clone());
        Ok(Self {
            layer: Layer { transactions, out: Queues::new(), counters: Counters::default() },
            proxy: Proxy::new(config.timer_c, recorded),
            own_routes,
            policy: Policy {
                open_relay: config.open_relay,
                next_hop,
                record_route: config.record_route,
                registrar: (!domains.is_empty()).then_some(config.registrar),
            },
            domains: Domains::new(domains, locals),
            users,
            registrations,
            calls,
            store: (!config.external_location)
                .then(|| MemoryLocation::new(config.limits.bindings, now, unix_time)),
            unsaved: None,
            questions: VecDeque::new(),
            waiting: Sharded::new(),
            waiting_for: Sharded::new(),
            bound: BTreeMap::new(),
            timers: Timers::new([config.limits.question_timeout, config.limits.durable_timeout]),
            asked: 0,
            waker: None,
            started: now,
            started_unix: unix_time,
            limits: config.limits,
        })
    }

    /// A server with a durable store: `table` has what was loaded from it. Look-ups are answered from the table at once; changes
    /// come out of [`poll_unsaved`](ServerCore::poll_unsaved), and the table takes them and the 200 goes when
    /// [`stored`](ServerCore::stored) says so.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn with_durable_location(
        config: Config,
        now: Instant,
        unix_time: Duration,
        mut table: MemoryLocation,
    ) -> Result<Self, ConfigError> {
        table.set_locals(config.locals.clone());
        let mut core = Self::new(config, now, unix_time)?;
        (core.store, core.unsaved) = (Some(table), Some(Unsaved::default()));
        Ok(core)
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.layer.counters
    }

    /// Says how loaded this machine is by the owner's own measure: at least this tier of refusal holds until another is told.
    pub fn set_least_tier(&mut self, tier: Tier) {
        self.layer.transactions.set_least_tier(tier);
    }

    /// The transaction layer, for its counters and for how much is live.
    #[must_use]
    pub fn transactions(&self) -> &Transactions {
        &self.layer.transactions
    }

    /// Requests that the proxy has under way, or that wait for stragglers after their answer.
    #[must_use]
    pub fn live_contexts(&self) -> usize {
        self.proxy.live()
    }

    /// Questions that wait for the answer of an external store.
    #[must_use]
    pub fn live_questions(&self) -> usize {
        self.waiting.len()
    }

    /// Timers that run: of transactions, of Timer C and of questions. Those that end bindings are not counted.
    #[must_use]
    pub fn armed_timers(&self) -> usize {
        self.layer
            .transactions
            .armed_timers()
            .saturating_add(self.proxy.armed_timers())
            .saturating_add(self.timers.len())
    }

    /// Bindings in the table in memory; 0 with an external store.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.store.as_ref().map_or(0, MemoryLocation::len)
    }

    /// Deals with what the layer below has produced, and with what that produces in turn.
    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.layer.out.events.pop_front() {
            self.event(now, event);
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        let layer = &mut self.layer;
        match event {
            Event::Request { tx, request, path } => self.request(now, tx, request, path),
            Event::Ack { request, path } => self.ack(now, request, path),
            Event::Cancelled { tx, request } => {
                if !self.proxy.cancelled(now, tx, &request, layer)
                    && let Some(key) = self.waiting_for.remove(&tx)
                {
                    // Not forwarded yet: nobody else will answer.
                    self.forget(key);
                    self.layer.reply_status(now, tx, sip_message::StatusCode::REQUEST_TERMINATED);
                }
            }
            Event::Response { tx, response, path: _ } => {
                self.proxy.response(now, tx, response, layer);
            }
            Event::Failed { tx, failure } => self.proxy.failed(now, tx, &failure, layer),
            // RFC 6026 §7.3: a stateful proxy forwards no stray responses.
            Event::Stray { .. } => count(&mut layer.counters.responses_dropped),
            Event::ClientTerminated { tx } => self.proxy.client_terminated(now, tx, layer),
            Event::ServerTerminated { tx } => {
                if let Some(key) = self.waiting_for.remove(&tx) {
                    self.forget(key);
                }
                self.proxy.server_terminated(tx);
            }
            // The layer has done what is to be done; a proxy has no dialog to end.
            Event::Unacknowledged { .. } | Event::Undelivered { .. } => {}
            _ => {}
        }
    }

    fn forget(&mut self, key: QuestionKey) {
        if let Some((_, timer)) = self.waiting.remove(&key) {
            self.timers.cancel(timer);
        }
    }

    /// The wall clock, for Date.
    fn unix_time(&self, now: Instant) -> Duration {
        self.started_unix.saturating_add(now.saturating_duration_since(self.started))
    }

    /// The path's local port, for "was received using the port" (§16.4).
    fn port_of(&self, path: &Path) -> u16 {
        self.layer.transactions.locals().at(path).map_or(path.local.port(), |local| local.port)
    }
}

impl Core for ServerCore {
    fn receive(&mut self, now: Instant, received: Received) {
        self.layer.transactions.receive(now, received, &mut self.layer.out);
        self.settle(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        if let FlowEvent::Closed { path: Path { flow: Some(flow), .. }, .. } = event {
            self.connection_closed(now, flow);
        }
        self.layer.transactions.flow_event(now, event, &mut self.layer.out);
        self.settle(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.layer.transactions.resolved(now, answer, &mut self.layer.out);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.layer.transactions.handle_timeout(now, &mut self.layer.out);
        self.settle(now);
        self.proxy.handle_timeout(now, &mut self.layer);
        self.settle(now);
        if let Some(store) = &mut self.store {
            store.handle_timeout(now);
        }
        self.expire_questions(now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let store = self.store.as_ref().and_then(MemoryLocation::poll_timeout);
        [self.layer.transactions.poll_timeout(), self.proxy.poll_timeout(), self.timers.next(), store]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.layer.out.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.layer.out.queries.pop_front()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.layer.out.closes.pop_front()
    }
}

/// 32 octets for nonces.
fn secret(transactions: &mut Transactions) -> [u8; 32] {
    let mut secret = [0; 32];
    for chunk in secret.chunks_mut(8) {
        chunk.copy_from_slice(&transactions.random().to_be_bytes());
    }
    secret
}

/// An address stays as it is for every request; a name is resolved each time.
fn next_hop(uri: sip_message::Uri, locals: &Locals) -> Result<Target, ConfigError> {
    if !uri.is_sip() && !uri.is_sips() {
        return Err(ConfigError::NextHop(uri));
    }
    let need = Need { size: 0, supported: locals.supported(), random: 0 };
    Ok(match Resolution::new(&uri, need).progress() {
        Progress::Done(candidates) => match candidates.as_slice() {
            [only] => Target::Path(Path::to(only.transport, only.remote)),
            _ => Target::Uri(uri),
        },
        _ => Target::Uri(uri),
    })
}
