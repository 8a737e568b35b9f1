//! The run itself: nodes, the agenda of what is to happen, and the clock that jumps from one thing to the next.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::Limits;
use sip_transport::{
    Answer, Core, FlowEvent, FlowId, Local, Locals, Path, Received, SendError, Token, Transport, ingress,
};

use crate::conditions::{Conditions, DnsConditions, Links};
use crate::random::Random;
use crate::seeds::{PCAP_VARIABLE, replayed_seed};
use crate::streams::Streams;
use crate::trace::{Entry, Trace, What};
use crate::zone::Zone;

/// Timeouts that a node may have at one instant before the run is taken for a core that does not get on: it names a
/// timeout in the past, is called, and names it again.
const SPIN_LIMIT: u32 = 10_000;

/// What the simulator runs: any [`Core`] that owns its data.
pub trait Node: Core + Any {}

impl<C: Core + Any> Node for C {}

/// A node of a [`Sim`], whose core is a `C`.
pub struct NodeId<C> {
    pub(crate) index: usize,
    core: PhantomData<fn() -> C>,
}

impl<C> NodeId<C> {
    /// The number of the node: the first one added is 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }
}

impl<C> Clone for NodeId<C> {
    fn clone(&self) -> NodeId<C> {
        *self
    }
}

impl<C> Copy for NodeId<C> {}

impl<C> std::fmt::Debug for NodeId<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeId({})", self.index)
    }
}

/// What the network counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that nodes sent.
    pub sent: u64,
    /// Messages handed to cores.
    pub received: u64,
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams delivered twice.
    pub duplicated: u64,
    /// Messages that arrived and could not be parsed, or had no Via.
    pub rejected: u64,
}

pub(crate) struct Host {
    pub(crate) locals: Locals,
    /// One flow for each local of UDP, in the order of `locals`.
    pub(crate) flows: Vec<FlowId>,
    /// `None` while the core is stopped.
    pub(crate) core: Option<Box<dyn Node>>,
    timeout: Option<Instant>,
    next_port: u16,
}

/// Something that will happen.
pub(crate) enum Happening {
    Datagram {
        node: usize,
        path: Path,
        payload: Bytes,
    },
    /// Bytes arrive at one side of a connection.
    Segment {
        connection: u64,
        side: usize,
        payload: Bytes,
    },
    /// A connection has waited long for a cut link.
    Stalled {
        connection: u64,
        side: usize,
    },
    Flow {
        node: usize,
        event: FlowEvent,
    },
    Answer {
        node: usize,
        answer: Answer,
    },
    Action(Action),
}

type Action = Box<dyn FnOnce(&mut Sim)>;

struct Scheduled {
    at: Instant,
    /// Order of scheduling: what is due at the same time happens in this order.
    number: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest, for a heap that gives the greatest first.
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

type Hook = Box<dyn FnMut(&mut Sim)>;

/// A network, a clock and everything on the network, made of memory. See the [crate documentation](crate).
pub struct Sim {
    seed: u64,
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) random: Random,
    agenda: BinaryHeap<Scheduled>,
    scheduled: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) listeners: HashMap<(Transport, SocketAddr), (usize, FlowId)>,
    pub(crate) links: Links,
    pub(crate) streams: Streams,
    pub(crate) limits: Limits,
    zone: Zone,
    dns: DnsConditions,
    trace: Trace,
    tracing: bool,
    next_flow: u64,
    hooks: Vec<Hook>,
    pub(crate) counters: Counters,
    spins: u32,
}

impl Sim {
    /// A network without nodes. The same seed and the same use give the same run.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Sim {
        let start = Instant::now();
        Sim {
            seed,
            start,
            now: start,
            random: Random::new(seed),
            agenda: BinaryHeap::new(),
            scheduled: 0,
            hosts: Vec::new(),
            listeners: HashMap::new(),
            links: Links::new(conditions),
            streams: Streams::default(),
            limits: Limits::default(),
            zone: Zone::default(),
            dns: DnsConditions::default(),
            trace: Trace::default(),
            tracing: true,
            next_flow: 1,
            hooks: Vec::new(),
            counters: Counters::default(),
            spins: 0,
        }
    }

    /// The seed of this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A seed for a core's own generator, drawn from the run's.
    pub fn core_seed(&mut self) -> [u8; 32] {
        self.random.bytes()
    }

    /// A random number drawn from the run's generator, for scenarios that vary with the seed.
    pub fn random(&mut self) -> u64 {
        self.random.number()
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Virtual time since the start of the run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// Adds a node that listens at `locals`. Each has an address of its own: no two nodes share one, and none is
    /// unspecified.
    ///
    /// # Panics
    /// When an address is taken or unspecified: the test is wrong then.
    pub fn add<C: Core + Any>(&mut self, name: &str, locals: Locals, core: C) -> NodeId<C> {
        let index = self.hosts.len();
        let mut flows = Vec::with_capacity(locals.len());
        for local in &locals {
            assert!(!local.bound.ip().is_unspecified(), "{name}: a simulated node needs a real address");
            let flow = self.new_flow();
            flows.push(flow);
            let taken = self.listeners.insert((local.transport, local.bound), (index, flow));
            assert!(taken.is_none(), "{name}: {} {} is taken", local.transport, local.bound);
        }
        self.trace.nodes.push(name.to_owned());
        let core: Box<dyn Node> = Box::new(core);
        let host = Host { locals, flows, core: Some(core), timeout: None, next_port: 49_152 };
        self.hosts.push(host);
        self.drain(index);
        NodeId { index, core: PhantomData }
    }

    /// Locals for a node at one address and port, one for each transport.
    #[must_use]
    pub fn locals(address: SocketAddr, transports: &[Transport]) -> Locals {
        transports.iter().map(|transport| Local::new(*transport, address)).collect()
    }

    /// The core of a node, to look into. To make it do something use [`with`](Sim::with), which lets it send.
    ///
    /// # Panics
    /// When the node is stopped, or is of another run.
    #[allow(clippy::panic)] // a wrong test stops; see # Panics
    pub fn node<C: Core + Any>(&mut self, id: NodeId<C>) -> &mut C {
        let core: Option<&mut dyn Any> = self
            .hosts
            .get_mut(id.index)
            .and_then(|host| host.core.as_deref_mut())
            .map(|core| core as &mut dyn Any);
        match core.and_then(|core| core.downcast_mut()) {
            Some(core) => core,
            None => panic!("{id:?} is stopped or belongs to another simulation"),
        }
    }

    /// Makes a node's core do something now, and sends what it wants to send.
    ///
    /// # Panics
    /// When the node is stopped, or is of another run.
    pub fn with<C: Core + Any, R>(&mut self, id: NodeId<C>, f: impl FnOnce(&mut C, Instant) -> R) -> R {
        let now = self.now;
        let result = f(self.node(id), now);
        self.drain(id.index);
        result
    }

    /// Takes a node's core away, as a crash does: its connections break and nothing at its addresses answers.
    pub fn stop<C>(&mut self, id: NodeId<C>) {
        let _ = self.hosts.get_mut(id.index).map(|host| (host.core.take(), host.timeout.take()));
        let connections = self.streams.select(|c| c.ends.iter().any(|end| end.node == id.index));
        for connection in connections {
            self.break_connection(connection, SendError::Closed);
        }
    }

    /// Puts a new core in the place of a node, stopped or not, as a restart does.
    pub fn restart<C: Core + Any>(&mut self, id: NodeId<C>, core: C) {
        self.stop(id);
        if let Some(host) = self.hosts.get_mut(id.index) {
            host.core = Some(Box::new(core));
        }
        self.drain(id.index);
    }

    /// The name service of the network.
    pub fn zone(&mut self) -> &mut Zone {
        &mut self.zone
    }

    /// Sets how the name service behaves.
    pub fn set_dns(&mut self, conditions: DnsConditions) {
        self.dns = conditions;
    }

    /// Changes the conditions of all links that have none of their own.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.links.general = conditions;
    }

    /// Gives the way from one node to another its own conditions. The way back keeps its own.
    pub fn set_link<A, B>(&mut self, from: NodeId<A>, to: NodeId<B>, conditions: Conditions) {
        self.links.set(from.index, to.index, conditions);
    }

    /// Cuts the way from one node to another: datagrams vanish, connections wait and break in the end.
    pub fn cut<A, B>(&mut self, from: NodeId<A>, to: NodeId<B>) {
        self.links.cut(from.index, to.index);
    }

    /// Cuts both ways between two nodes.
    pub fn partition<A, B>(&mut self, one: NodeId<A>, other: NodeId<B>) {
        self.links.cut(one.index, other.index);
        self.links.cut(other.index, one.index);
    }

    /// Heals everything that was cut. What waits on connections goes on its way.
    pub fn heal(&mut self) {
        self.links.heal();
        self.resume_streams();
    }

    /// Breaks all connections between two nodes; both are told.
    pub fn sever<A, B>(&mut self, one: NodeId<A>, other: NodeId<B>) {
        let both = [one.index, other.index];
        let between = self.streams.select(|c| c.ends.iter().all(|end| both.contains(&end.node)));
        for connection in between {
            self.break_connection(connection, SendError::Closed);
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.streams.len()
    }

    /// Does something at a time, counted from the start of the run (at once if that is over).
    pub fn at(&mut self, time: Duration, action: impl FnOnce(&mut Sim) + 'static) {
        let at = later(self.start, time).max(self.now);
        self.schedule(at, Happening::Action(Box::new(action)));
    }

    /// Does something after a time, counted from now.
    pub fn after(&mut self, time: Duration, action: impl FnOnce(&mut Sim) + 'static) {
        self.schedule(later(self.now, time), Happening::Action(Box::new(action)));
    }

    /// Calls `hook` after each thing that happens: the place for invariants that always hold. It panics when one
    /// does not.
    pub fn after_each_step(&mut self, hook: impl FnMut(&mut Sim) + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Runs until nothing is under way and no timer is armed, or for at most `limit` of virtual time. Tells whether
    /// it fell idle.
    #[must_use = "a run that does not fall idle is usually a failure"]
    pub fn run_until_idle(&mut self, limit: Duration) -> bool {
        let end = later(self.now, limit);
        while let Some(next) = self.next_time() {
            if next > end {
                self.now = end;
                return false;
            }
            self.step(next);
        }
        true
    }

    /// Runs for this long. Afterwards exactly that much virtual time has passed.
    pub fn run_for(&mut self, time: Duration) {
        let end = later(self.now, time);
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            self.step(next);
        }
        self.now = end;
    }

    /// Runs until `test` holds, for at most `limit`. Tells whether it held.
    #[must_use = "tells whether the condition came to hold"]
    pub fn run_until(&mut self, limit: Duration, mut test: impl FnMut(&mut Sim) -> bool) -> bool {
        let end = later(self.now, limit);
        loop {
            if test(self) {
                return true;
            }
            match self.next_time() {
                Some(next) if next <= end => self.step(next),
                _ => {
                    self.now = end;
                    return test(self);
                }
            }
        }
    }

    /// Whether nothing is under way and no timer is armed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.next_time().is_none()
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Whether to keep the trace (the default). Long runs of many messages may want to do without.
    pub fn set_tracing(&mut self, on: bool) {
        self.tracing = on;
    }

    /// Writes a remark into the trace.
    pub fn note(&mut self, text: impl Into<String>) {
        let what = What::Note(text.into());
        if self.tracing {
            self.trace.entries.push(Entry { at: self.elapsed(), node: None, what });
        }
    }

    /// What the network counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn record(&mut self, node: usize, what: impl FnOnce(&Sim) -> What) {
        if self.tracing {
            let entry = Entry { at: self.elapsed(), node: Some(node), what: what(self) };
            self.trace.entries.push(entry);
        }
    }

    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    pub(crate) fn schedule(&mut self, at: Instant, what: Happening) {
        let number = self.scheduled;
        self.scheduled = self.scheduled.wrapping_add(1);
        self.agenda.push(Scheduled { at, number, what });
    }

    pub(crate) fn new_flow(&mut self) -> FlowId {
        let flow = FlowId(self.next_flow);
        self.next_flow = self.next_flow.wrapping_add(1);
        flow
    }

    /// A local port for a connection that a node opens.
    pub(crate) fn ephemeral_port(&mut self, node: usize) -> u16 {
        let Some(host) = self.hosts.get_mut(node) else { return 49_152 };
        let port = host.next_port;
        host.next_port = port.checked_add(1).unwrap_or(49_152);
        port
    }

    fn next_time(&self) -> Option<Instant> {
        let timeouts = self.hosts.iter().filter_map(|host| host.timeout);
        timeouts.chain(self.agenda.peek().map(|next| next.at)).min()
    }

    /// Moves the clock to `time` and lets one thing happen: messages before timeouts.
    fn step(&mut self, time: Instant) {
        if time > self.now {
            self.now = time;
            self.spins = 0;
        }
        if self.agenda.peek().is_some_and(|next| next.at <= self.now) {
            if let Some(next) = self.agenda.pop() {
                self.happen(next.what);
            }
        } else {
            let now = self.now;
            let due = self.hosts.iter().position(|host| host.timeout.is_some_and(|timeout| timeout <= now));
            if let Some(node) = due {
                self.spins = self.spins.saturating_add(1);
                let name = self.trace.nodes.get(node).map_or("?", String::as_str);
                assert!(self.spins < SPIN_LIMIT, "{name} names a timeout that has passed again and again");
                self.touch(node, |core| core.handle_timeout(now));
            }
        }
        if !self.hooks.is_empty() {
            let mut hooks = std::mem::take(&mut self.hooks);
            for hook in &mut hooks {
                hook(self);
            }
            hooks.append(&mut self.hooks);
            self.hooks = hooks;
        }
    }

    fn happen(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::Datagram { node, path, payload } => {
                let received = ingress::datagram(payload.clone(), path, &self.limits);
                self.arrive(node, path, payload, received);
            }
            Happening::Segment { connection, side, payload } => self.segment(connection, side, &payload),
            Happening::Stalled { connection, side } => self.give_up_stalled(connection, side),
            Happening::Flow { node, event } => {
                self.record(node, |_| What::Flow(event.clone()));
                self.touch(node, |core| core.flow_event(now, event));
            }
            Happening::Answer { node, answer } => {
                self.record(node, |_| What::Answered(answer.records.clone()));
                self.touch(node, |core| core.resolved(now, answer));
            }
            Happening::Action(action) => action(self),
        }
    }

    /// Gives a message to a core, if it is one and there is one.
    pub(crate) fn arrive(
        &mut self,
        node: usize,
        path: Path,
        payload: Bytes,
        received: Result<Received, ingress::Rejected>,
    ) {
        let now = self.now;
        match received {
            Ok(received) => {
                self.counters.received = self.counters.received.saturating_add(1);
                self.record(node, |_| What::Received { path, payload });
                self.touch(node, |core| core.receive(now, received));
            }
            Err(rejected) => {
                self.counters.rejected = self.counters.rejected.saturating_add(1);
                self.record(node, |_| What::Rejected { path, reason: rejected.to_string() });
            }
        }
    }

    pub(crate) fn touch(&mut self, node: usize, f: impl FnOnce(&mut dyn Node)) {
        if let Some(core) = self.hosts.get_mut(node).and_then(|host| host.core.as_deref_mut()) {
            f(core);
            self.drain(node);
        }
    }

    /// Sends and asks what a core wants sent and asked, and notes its next timeout.
    fn drain(&mut self, node: usize) {
        loop {
            let Some(core) = self.hosts.get_mut(node).and_then(|host| host.core.as_deref_mut()) else {
                return;
            };
            if let Some(transmit) = core.poll_transmit() {
                self.counters.sent = self.counters.sent.saturating_add(1);
                self.send(node, transmit);
            } else if let Some(query) = core.poll_query() {
                self.record(node, |_| What::Asked(query.question.clone()));
                let delay = self.random.duration(self.dns.delay.0, self.dns.delay.1);
                let (delay, records) = if self.random.chance(self.dns.loss) {
                    (DnsConditions::TIMEOUT, Err(sip_transport::ResolveError::TimedOut))
                } else {
                    (delay, self.zone.answer(&query.question))
                };
                let answer = Answer { key: query.key, question: query.question, records };
                self.schedule(later(self.now, delay), Happening::Answer { node, answer });
            } else {
                let timeout = core.poll_timeout();
                if let Some(host) = self.hosts.get_mut(node) {
                    host.timeout = timeout;
                }
                return;
            }
        }
    }

    pub(crate) fn fail(&mut self, node: usize, token: Token, path: Path, error: SendError, after: Duration) {
        let event = FlowEvent::SendFailed { token, path, error };
        self.schedule(later(self.now, after), Happening::Flow { node, event });
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("elapsed", &self.elapsed())
            .field("nodes", &self.trace.nodes)
            .field("under_way", &self.agenda.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Drop for Sim {
    /// A replayed run that failed shows what happened.
    fn drop(&mut self) {
        if !std::thread::panicking() || replayed_seed().is_none() {
            return;
        }
        eprintln!("the run with seed {}, up to {:?}:\n{}", self.seed, self.elapsed(), self.trace);
        if let Some(file) = std::env::var_os(PCAP_VARIABLE) {
            let written =
                std::fs::File::create(&file).and_then(|out| self.trace.pcap(std::io::BufWriter::new(out)));
            match written {
                Ok(_) => eprintln!("its messages are in {}", file.display()),
                Err(error) => eprintln!("cannot write {}: {error}", file.display()),
            }
        }
    }
}

pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    // A century ahead is never reached; an overflow would only be a test's Duration::MAX.
    at.checked_add(by).unwrap_or_else(|| at + Duration::from_secs(100 * 365 * 24 * 3600))
}
