//! Registrar, proxy and location service as one core (RFC 3261 §10, §16).

mod authenticate;
mod beside;
mod book;
mod common;
mod credentials;
mod durable;
mod elsewhere;
mod events;
mod location;
mod look;
mod messages;
mod peers;
mod push;
mod redirect;
mod reload;
mod requests;
mod routing;
mod setup;
mod shared;
mod stateless;
mod told;
mod trunks;

pub(crate) use push::Asleep;
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_auth::{Role, Verifier};
use sip_message::headers::ServiceRoute;
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transaction::{ServerTx, Target, Tier, Transactions};
use sip_transport::{
    Answer, Backlog, Close, Core, FlowEvent, FlowId, Path, Query, Queues, Received, Transmit,
};

use self::beside::Beside;
pub use self::beside::{InCommon, Note};
use self::book::Book;
use self::common::Common;
use self::messages::Mailbox;
use self::setup::{keyed, next_hop, realm_of, secret, trusting, verifier};
pub use self::trunks::TrunkStatus;
use self::trunks::Trunks;
use crate::calls::{CallLimits, CallLog, UserCalls};
use crate::config::{Config, ConfigError, Counters, Limits, SessionTimer};
use crate::domains::Domains;
use crate::events::{EventConfig, EventServer};
use crate::gruu::Gruus;
use crate::identity::TrustDomain;
use crate::location::{MemoryLocation, Question, QuestionKey};
use crate::protection::Guard;
use crate::proxy::{Layer, Manner, Proxy, RecordRoute, Template};
use crate::registrar::{self, Registration};
use crate::routing::Rules;
use crate::traffic::Traffic;
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
    gruus: Gruus,
    domains: Domains,
    users: Option<Users>,
    /// Users outside, if that is where they are.
    book: Option<Book>,
    /// Challenges REGISTER with 401.
    registrations: Option<Common<Verifier>>,
    /// Challenges other requests with 407.
    calls: Option<Common<Verifier>>,
    policy: Policy,
    store: Option<MemoryLocation>,
    /// Other servers read and write the store outside.
    shared: bool,
    /// With a durable store behind the table.
    unsaved: Option<Unsaved>,
    questions: VecDeque<(QuestionKey, Question)>,
    waiting: Sharded<QuestionKey, (Waiting, TimerId)>,
    /// The question for which a request waits, to find it when it is cancelled.
    waiting_for: Sharded<ServerTx, QuestionKey>,
    timers: Timers<QuestionKey>,
    /// Who decides where requests go.
    rules: Rules,
    desk: routing::Desk,
    /// Phones that sleep, if they can be woken.
    pushes: Option<push::Pushes>,
    redirections: redirect::Redirections,
    trunks: Trunks,
    realm: String,
    algorithms: Vec<sip_auth::Algorithm>,
    started_with: reload::Fixed,
    /// Whose bindings are to connections, by connection.
    bound: BTreeMap<FlowId, Vec<AddressOfRecord>>,
    asked: u64,
    waker: Option<Waker>,
    started: Instant,
    started_unix: Duration,
    limits: Limits,
    /// Watches sources, if they are watched.
    guard: Option<Common<Guard>>,
    trust: TrustDomain,
    /// Who they are at the other ends of connections.
    peers: peers::Peers,
    /// Answers SUBSCRIBE and PUBLISH for the users, if it is to.
    events: Option<EventServer>,
    /// Messages for users who are away, if they are kept.
    mailbox: Option<Mailbox>,
    /// What the owner said of the machine's load.
    least_tier: Tier,
    draining: bool,
    /// Some requests are forwarded without transactions, or were.
    stateless: bool,
    /// Other cores that share the work, if there are some.
    beside: Beside,
}

/// What of the configuration decides on single requests.
#[derive(Debug)]
struct Policy {
    open_relay: bool,
    next_hop: Option<Target>,
    record_route: bool,
    recurse: bool,
    session_timer: Option<SessionTimer>,
    registrar: Option<registrar::Config>,
    service_route: Vec<ServiceRoute>,
}

/// What goes on when the location store has answered.
#[derive(Debug)]
enum Waiting {
    Registration(ServerTx, Box<Registration>),
    Request(ServerTx, Box<Template>, AddressOfRecord),
    Ack(Box<sip_message::Request>),
    /// One of the targets of a step.
    Target(ServerTx, AddressOfRecord),
    /// A message for them is on its way.
    Mail(AddressOfRecord),
    /// Somebody watches them.
    Watched(AddressOfRecord),
    /// One of the contacts of a redirection.
    Redirected(redirect::Place),
    /// A phone may have to be woken before its binding ends.
    Refresh(AddressOfRecord),
    /// A connection is gone, and what is bound to it.
    FlowGone(FlowId, AddressOfRecord),
}

impl ServerCore {
    /// A server that starts at `now`, which is `unix_time` after the Unix epoch.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn new(config: Config, now: Instant, unix_time: Duration) -> Result<Self, ConfigError> {
        Self::on_shard(config, now, unix_time, 0)
    }

    fn on_shard(
        config: Config,
        now: Instant,
        unix_time: Duration,
        shard: usize,
    ) -> Result<Self, ConfigError> {
        let started_with = reload::Fixed::of(&config);
        let Config { rng_seed, locals, domains, users, realm, algorithms, rules, .. } = config;
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
        layer_config.shard = shard;
        let mut transactions = Transactions::new(layer_config);
        let realm = realm_of(realm, &domains, &locals);
        let secret = secret(&mut transactions);
        let verifier = |role: Role| verifier(&realm, &algorithms, secret, role, now, unix_time);
        let book = config.external_users.then(|| Book::new(config.limits.question_timeout));
        let asked = users.is_some() || book.is_some();
        let registrations = asked.then(|| verifier(Role::UserAgent)).transpose()?;
        let calls = (asked && config.challenge_calls).then(|| verifier(Role::Proxy)).transpose()?;
        let next_hop = config.next_hop.map(|uri| next_hop(uri, &locals)).transpose()?;
        let (own_routes, gruus) = match config.dialog_key {
            // The generator of a layer with this seed gives the same keys in every run.
            Some(key) => {
                let seeded = sip_transaction::Config::new(key, locals.clone());
                keyed(&mut Transactions::new(seeded), &locals)
            }
            None => keyed(&mut transactions, &locals),
        };
        let recorded = config.record_route.then(|| own_routes.clone());
        let trust = TrustDomain::new(&config.trusted_peers, &rules);
        let guard = config
            .protection
            .map(|protection| Guard::new(trusting(protection, &rules), now))
            .map(Common::new);
        let mut core = Self {
            layer: Layer {
                transactions,
                out: Queues::new(),
                counters: Counters::default(),
                calls: match config.call_records {
                    Some(limits) => Some(CallLog::new(limits, now, unix_time)),
                    None => rules.limit_calls().then(|| CallLog::counting(now, unix_time)),
                },
                lines: (config.events.as_ref().is_some_and(EventConfig::follows_calls))
                    .then(|| UserCalls::new(CallLimits::PATIENCE, config.record_route)),
                traffic: Traffic::default(),
            },
            proxy: Proxy::new(Manner {
                timer_c: config.timer_c,
                record_route: recorded,
                early_ends: config.early_ends,
                domains: Domains::new(domains.clone(), locals.clone()),
                rules: rules.clone(),
            }),
            own_routes,
            gruus,
            policy: Policy {
                open_relay: config.open_relay,
                next_hop,
                record_route: config.record_route,
                recurse: config.recurse_redirects,
                session_timer: config.session_timer,
                registrar: (!domains.is_empty()).then_some(config.registrar),
                service_route: config.service_route.iter().map(ServiceRoute::new).collect(),
            },
            domains: Domains::new(domains, locals),
            users,
            book,
            registrations,
            calls,
            store: (!config.external_location)
                .then(|| MemoryLocation::new(config.limits.bindings, now, unix_time)),
            shared: config.shared_location,
            unsaved: None,
            questions: VecDeque::new(),
            waiting: Sharded::new(),
            waiting_for: Sharded::new(),
            bound: BTreeMap::new(),
            timers: Timers::new([config.limits.question_timeout, config.limits.durable_timeout]),
            rules,
            trunks: Trunks::new(),
            redirections: redirect::Redirections::default(),
            pushes: config.push.map(push::Pushes::new),
            desk: routing::Desk::new(config.external_router, config.limits.question_timeout),
            realm,
            algorithms,
            started_with,
            asked: 0,
            waker: None,
            started: now,
            started_unix: unix_time,
            limits: config.limits,
            guard,
            trust,
            peers: peers::Peers::default(),
            events: config.events.map(|events| {
                let events = EventServer::new(events, now);
                if config.keep_events { events.keeping(now, unix_time) } else { events }
            }),
            mailbox: config.messages.map(|messages| {
                Mailbox::new(messages, config.external_messages, config.limits.question_timeout)
            }),
            least_tier: Tier::default(),
            draining: false,
            stateless: false,
            beside: Beside::at(shard),
        };
        core.stateless = core.rules.are_stateless();
        core.attend_trunks(now);
        core.attend_messages(now);
        Ok(core)
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
        core.started_with.has_own_table();
        Ok(core)
    }

    /// Deals with what the layer below has produced, and with what that produces in turn.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.layer.out.events.pop_front() {
                self.event(now, event);
            }
            self.serve_events(now);
            self.collect_messages(now);
            self.wake_phones(now);
            if let Some(redirect) = self.proxy.poll_redirect() {
                self.redirected(now, redirect);
                continue;
            }
            let Some(tx) = self.proxy.poll_due() else { break };
            self.find_targets(now, tx);
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
        if self.guard.is_some()
            && !self.is_trunk(&received.path)
            && self.guard.as_ref().is_some_and(|guard| !guard.lock().admits(now, &received))
        {
            return;
        }
        if let Some(received) = self.forward_stateless(received) {
            self.layer.transactions.receive(now, received, &mut self.layer.out);
            self.settle(now);
        }
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.layer.transactions.backlog(now, backlog);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.note_flow(&event);
        if let FlowEvent::Proven { path, peer } = &event {
            self.peers.proven(path, peer.clone());
        }
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
        if let Some(calls) = &mut self.layer.calls {
            calls.handle_timeout(now);
        }
        if let Some(lines) = &mut self.layer.lines {
            lines.handle_timeout(now);
        }
        if let Some(events) = &mut self.events {
            events.handle_timeout(now, &mut self.layer);
        }
        self.expire_questions(now);
        self.expire_decisions(now);
        self.expire_users(now);
        self.trunk_timeouts(now);
        self.message_timeouts(now);
        self.push_timeouts(now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let store = self.store.as_ref().and_then(MemoryLocation::poll_timeout);
        let calls = self.layer.calls.as_ref().and_then(CallLog::poll_timeout);
        let events = self.events.as_ref().and_then(EventServer::poll_timeout);
        [
            events,
            self.layer.lines.as_ref().and_then(UserCalls::poll_timeout),
            self.mailbox.as_ref().and_then(Mailbox::poll_timeout),
            self.layer.transactions.poll_timeout(),
            self.proxy.poll_timeout(),
            self.timers.next(),
            self.desk.timers.next(),
            self.book.as_ref().and_then(|book| book.timers.next()),
            self.trunks.timers.next(),
            self.pushes.as_ref().and_then(push::Pushes::poll_timeout),
            store,
            calls,
        ]
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
