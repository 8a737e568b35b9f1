//! The run itself: nodes, the agenda of what is to happen, and the clock that jumps from one thing to the next.

use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sip_message::Limits;
use sip_transport::{FlowEvent, FlowId, Path, SendError, Token, Transport, ingress};

use crate::agenda::{Happening, Scheduled, later};
use crate::conditions::{Conditions, DnsConditions, Links};
use crate::failure;
use crate::nat::Nat;
use crate::node::Host;
use crate::random::Random;
use crate::streams::Streams;
use crate::trace::{Entry, Trace, What};
use crate::zone::Zone;

/// Timeouts that a node may have at one instant before the run is taken for a core that does not get on: it names a
/// timeout in the past, is called, and names it again.
const SPIN_LIMIT: u32 = 10_000;

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
    /// Keep-alives that arrived: empty datagrams, and CRLF on connections (RFC 5626 §4.4.1).
    pub keep_alives: u64,
    /// Datagrams that a NAT or a black hole swallowed.
    pub swallowed: u64,
}

type Hook = Box<dyn FnMut(&mut Sim)>;

/// A network, a clock and everything on the network, made of memory. See the [crate documentation](crate).
pub struct Sim {
    seed: u64,
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) agenda: BinaryHeap<Scheduled>,
    pub(crate) scheduled: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) nats: Vec<Nat>,
    pub(crate) black_holes: BTreeSet<IpAddr>,
    pub(crate) listeners: HashMap<(Transport, SocketAddr), (usize, FlowId)>,
    pub(crate) links: Links,
    pub(crate) streams: Streams,
    pub(crate) limits: Limits,
    pub(crate) zone: Zone,
    pub(crate) dns: DnsConditions,
    pub(crate) trace: Trace,
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
            nats: Vec::new(),
            black_holes: BTreeSet::new(),
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

    /// The name service of the network.
    pub fn zone(&mut self) -> &mut Zone {
        &mut self.zone
    }

    /// Sets how the name service behaves.
    pub fn set_dns(&mut self, conditions: DnsConditions) {
        self.dns = conditions;
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

    /// Whether to keep the trace (the default). Many long runs are quicker without; one that fails is run once more
    /// with it.
    pub fn set_tracing(&mut self, on: bool) {
        self.tracing = on || failure::is_repeated();
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

    pub(crate) fn new_flow(&mut self) -> FlowId {
        let flow = FlowId(self.next_flow);
        self.next_flow = self.next_flow.wrapping_add(1);
        flow
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
            Happening::Break { connection, error } => self.break_connection(connection, error),
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
    /// A run that failed shows what happened.
    fn drop(&mut self) {
        if std::thread::panicking() {
            failure::keep(std::mem::take(&mut self.trace));
        }
    }
}
