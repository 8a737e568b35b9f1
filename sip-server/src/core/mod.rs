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
mod messages;
mod peers;
mod push;
mod redirect;
mod reload;
mod requests;
mod routing;
mod shared;
mod stateless;
mod trunks;

pub(crate) use push::Asleep;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_auth::{Role, Verifier, VerifierConfig};
use sip_message::headers::ServiceRoute;
use sip_message::{HeaderName, Headers};
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transaction::{Event, ServerTx, Target, Tier, Transactions};
use sip_transport::outbound::FlowTokens;
use sip_transport::resolve::{Need, Progress, Resolution};
use sip_transport::{
    Answer, Backlog, Close, Core, FlowEvent, FlowId, Locals, Path, Query, Queues, Received, Transmit,
};

use self::beside::Beside;
pub use self::beside::{InCommon, Note};
use self::book::Book;
use self::common::Common;
use self::messages::Mailbox;
pub use self::trunks::TrunkStatus;
use self::trunks::{Ended, Trunks};
use crate::calls::{CallLimits, CallLog, CallRecord, CallStatistics, UserCalls};
use crate::config::{Config, ConfigError, Counters, Limits, SessionTimer, count};
use crate::domains::Domains;
use crate::events::{EventConfig, EventServer};
use crate::gruu::Gruus;
use crate::identity::TrustDomain;
use crate::location::{MemoryLocation, Question, QuestionKey};
use crate::protection::{Guard, ProtectionConfig, ProtectionCounters};
use crate::proxy::{Layer, Manner, Proxy, RecordRoute, Seals, Template};
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

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.layer.counters
    }

    /// New requests by method, and responses given by class.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.layer.traffic
    }

    /// Calls in numbers, if they are followed ([`Config::call_records`]).
    #[must_use]
    pub fn call_statistics(&self) -> Option<CallStatistics> {
        self.layer.calls.as_ref().filter(|calls| calls.is_recording()).map(CallLog::statistics)
    }

    /// The next call record. Records that nobody fetches are kept up to a limit.
    pub fn poll_call_record(&mut self) -> Option<CallRecord> {
        self.layer.calls.as_mut()?.poll_record()
    }

    /// Whether a call record waits to be fetched.
    #[must_use]
    pub fn has_call_record(&self) -> bool {
        self.layer.calls.as_ref().is_some_and(CallLog::has_record)
    }

    /// So many call records that were fetched could not be written.
    pub fn count_lost_records(&mut self, lost: usize) {
        if let Some(calls) = &mut self.layer.calls {
            calls.count_lost(lost);
        }
    }

    /// What the watch over sources has done, if there is one ([`Config::protection`]).
    #[must_use]
    pub fn protection_counters(&self) -> Option<ProtectionCounters> {
        self.guard.as_ref().map(|guard| guard.lock().counters())
    }

    /// Sources that are not heard, and for how long still.
    #[must_use]
    pub fn banned(&self, now: Instant) -> Vec<(IpAddr, Duration)> {
        self.guard.as_ref().map(|guard| guard.lock().banned(now)).unwrap_or_default()
    }

    /// Hears a source again. `false` if it was heard anyway.
    pub fn pardon(&mut self, now: Instant, ip: IpAddr) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.lock().pardon(now, ip))
    }

    /// Takes nothing new from now on, or takes it again: outside of dialogs everything is answered 503 with Retry-After.
    pub fn set_draining(&mut self, on: bool) {
        self.draining = on;
        self.set_least_tier(self.least_tier);
    }

    /// Whether nothing new is taken.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Wakes `waker` when there is a call record again, once.
    pub fn wake_on_call_record(&mut self, waker: Waker) {
        if let Some(calls) = &mut self.layer.calls {
            calls.wake_on_record(waker);
        }
    }

    /// The server is about to end: all calls that are followed are recorded as they stand.
    pub fn end_call_records(&mut self) {
        if let Some(calls) = &mut self.layer.calls {
            calls.shut_down();
        }
    }

    /// Says how loaded this machine is by the owner's own measure: at least this tier of refusal holds until another is told.
    pub fn set_least_tier(&mut self, tier: Tier) {
        self.least_tier = tier;
        let holds = if self.draining { Tier::FinishOnly } else { tier };
        self.layer.transactions.set_least_tier(holds);
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
        self.waiting.len().saturating_add(self.desk.len())
    }

    /// Timers that run: of transactions, of Timer C and of questions. Those that end bindings are not counted.
    #[must_use]
    pub fn armed_timers(&self) -> usize {
        self.layer
            .transactions
            .armed_timers()
            .saturating_add(self.proxy.armed_timers())
            .saturating_add(self.timers.len())
            .saturating_add(self.desk.timers.len())
            .saturating_add(self.pushes.as_ref().map_or(0, push::Pushes::armed))
            .saturating_add(self.trunks.timers.len())
            .saturating_add(self.mailbox.as_ref().map_or(0, Mailbox::armed_timers))
    }

    /// Bindings in the table in memory; 0 with an external store.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.store.as_ref().map_or(0, MemoryLocation::len)
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

    fn event(&mut self, now: Instant, event: Event) {
        if let Event::Failed { tx, .. } = &event
            && self.message_answered(now, *tx, None)
        {
            return;
        }
        let layer = &mut self.layer;
        match event {
            Event::Request { tx, request, path } => {
                let _span = span(request.method(), &request.headers);
                tracing::debug!(uri = request.uri_text(), %path, "request");
                layer.traffic.request(request.method());
                if let Some(calls) = &mut layer.calls {
                    calls.request(now, tx, &request, &path);
                }
                if let Some(lines) = &mut layer.lines
                    && requests::has_to_tag(&request)
                {
                    lines.within(now, tx, &request);
                }
                self.request(now, tx, request, path);
            }
            Event::Ack { request, path } => {
                let _span = span("ACK", &request.headers);
                layer.traffic.request(request.method());
                self.ack(now, request, path);
            }
            Event::Cancelled { tx, request } => {
                let _span = span("CANCEL", &request.headers);
                layer.traffic.request(request.method());
                if let Some(calls) = &mut layer.calls {
                    calls.cancelled(tx);
                }
                if let Some(lines) = &mut layer.lines {
                    lines.cancelled(tx);
                }
                if self.proxy.cancelled(now, tx, &request, layer) {
                    // Its branches' 487, or ours.
                } else if self.desk.forget(tx) || self.book.as_mut().is_some_and(|book| book.forget(tx)) {
                    self.layer.reply_status(now, tx, sip_message::StatusCode::REQUEST_TERMINATED);
                } else if let Some(key) = self.waiting_for.remove(&tx) {
                    // Not forwarded yet: nobody else will answer.
                    self.forget(key);
                    self.layer.reply_status(now, tx, sip_message::StatusCode::REQUEST_TERMINATED);
                }
            }
            Event::Response { tx, mut response, path } => {
                // RFC 3325 §5 holds for responses too.
                if self.calls.is_some() && !self.trusts(&path) {
                    response.headers.remove(HeaderName::P_ASSERTED_IDENTITY);
                }
                let _span = span(response.status().code(), &response.headers);
                tracing::debug!(%path, "response");
                if self.message_answered(now, tx, Some(&response)) {
                    return;
                }
                let layer = &mut self.layer;
                if let Some(events) = &mut self.events
                    && events.answered(now, tx, &response, layer)
                {
                    return;
                }
                match self.trunks.ended(tx, Some(response.status())) {
                    Some(own) => self.trunk_answered(now, own, Ended::Answered(Box::new(response))),
                    None => self.proxy.response(now, tx, response, layer),
                }
            }
            Event::Failed { tx, failure }
                if self.events.as_mut().is_some_and(|events| events.failed(now, tx, &failure, layer)) => {}
            Event::Failed { tx, failure } => match self.trunks.ended(tx, None) {
                Some(own) => self.trunk_answered(now, own, Ended::Failed),
                None => self.proxy.failed(now, tx, &failure, layer),
            },
            // RFC 6026 §7.3: a stateful proxy forwards no stray responses.
            Event::Stray { .. } => count(&mut layer.counters.responses_dropped),
            Event::ClientTerminated { tx } => self.proxy.client_terminated(now, tx, layer),
            Event::ServerTerminated { tx } => {
                self.message_over(tx);
                self.desk.forget(tx);
                if let Some(key) = self.waiting_for.remove(&tx) {
                    self.forget(key);
                }
                if let Some(calls) = &mut self.layer.calls {
                    calls.transaction_over(tx);
                }
                if let Some(lines) = &mut self.layer.lines {
                    lines.transaction_over(now, tx);
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

/// Every line of the log that belongs to a message says to which call.
fn span(what: impl std::fmt::Display, headers: &Headers) -> tracing::span::EnteredSpan {
    tracing::info_span!("sip", %what, call_id = headers.text(HeaderName::CALL_ID)).entered()
}

/// A carrier's gateways are no strangers.
fn trusting(mut protection: ProtectionConfig, rules: &Rules) -> ProtectionConfig {
    protection.trusted.extend(rules.trunk_networks());
    protection
}

/// What is written into messages and has to be known again, with keys of this generator.
fn keyed(random: &mut Transactions, locals: &Locals) -> (RecordRoute, Gruus) {
    let keys = (random.random(), random.random());
    let tokens = FlowTokens::new(&secret(random));
    let gruus = Gruus::new(&secret(random));
    let mut key = [0; 16];
    key.iter_mut().zip(secret(random)).for_each(|(octet, random)| *octet = random);
    let mut pair = || (random.random(), random.random());
    let seals = Seals::new(key, [pair(), pair()]);
    let held = FlowTokens::new(&secret(random));
    (RecordRoute::new(keys, (tokens, held), seals, locals), gruus)
}

/// The first domain, or the first address, if no realm is named.
fn realm_of(realm: Option<String>, domains: &[String], locals: &Locals) -> String {
    realm
        .or_else(|| domains.first().cloned())
        .or_else(|| locals.iter().next().map(|local| local.host.clone()))
        .unwrap_or_default()
}

fn verifier(
    realm: &str,
    algorithms: &[sip_auth::Algorithm],
    secret: [u8; 32],
    role: Role,
    now: Instant,
    unix_time: Duration,
) -> Result<Common<Verifier>, sip_auth::VerifierConfigError> {
    let mut config = VerifierConfig::new(realm.to_owned(), secret);
    config.role = role;
    config.algorithms = algorithms.to_vec();
    // Phones and test programs write the address of the server, or of the proxy before it, into `uri`. A replay for another
    // Request-URI is what the nonce count stops.
    config.uri_check = sip_auth::UriCheck::Any;
    Verifier::new(config, now, unix_time).map(Common::new)
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
