//! The nodes of a run: cores at addresses of their own.

use std::any::Any;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sip_transport::{
    Answer, Core, FlowEvent, FlowId, KeepAliveAnswer, Local, Locals, Path, Received, Records, ResolveError,
    SendError, Srv, Transmit, Transport, ingress, stun,
};

use crate::agenda::{Happening, later};
use crate::conditions::DnsConditions;
use crate::sim::Sim;
use crate::trace::What;

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

impl<C> NodeId<C> {
    /// The same node, whatever its core is: to put nodes of several kinds into one list.
    #[must_use]
    pub fn any(self) -> AnyNode {
        AnyNode(self.index)
    }
}

/// A node of a [`Sim`], whatever its core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnyNode(pub(crate) usize);

impl<C> From<NodeId<C>> for AnyNode {
    fn from(id: NodeId<C>) -> AnyNode {
        id.any()
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

pub(crate) struct Host {
    pub(crate) locals: Locals,
    /// One flow for each local of UDP, in the order of `locals`.
    pub(crate) flows: Vec<FlowId>,
    /// The NAT that it is behind.
    pub(crate) nat: Option<usize>,
    /// `None` while the core is stopped.
    pub(crate) core: Option<Box<dyn Node>>,
    pub(crate) timeout: Option<Instant>,
    next_port: u16,
}

impl Sim {
    /// Adds a node that listens at `locals`. Each has an address of its own: no two nodes share one, and none is
    /// unspecified.
    ///
    /// # Panics
    /// When an address is taken or unspecified: the test is wrong then.
    pub fn add<C: Core + Any>(&mut self, name: &str, locals: Locals, core: C) -> NodeId<C> {
        let index = self.hosts.len();
        let flows = self.listen(index, name, &locals);
        self.trace.nodes.push(name.to_owned());
        let core: Box<dyn Node> = Box::new(core);
        let host = Host { locals, flows, nat: None, core: Some(core), timeout: None, next_port: 49_152 };
        self.hosts.push(host);
        self.drain(index);
        NodeId { index, core: PhantomData }
    }

    fn listen(&mut self, index: usize, name: &str, locals: &Locals) -> Vec<FlowId> {
        let mut flows = Vec::with_capacity(locals.len());
        for local in locals {
            assert!(!local.bound.ip().is_unspecified(), "{name}: a simulated node needs a real address");
            let flow = self.new_flow();
            flows.push(flow);
            let taken = self.listeners.insert((local.transport, local.bound), (index, flow));
            assert!(taken.is_none(), "{name}: {} {} is taken", local.transport, local.bound);
        }
        flows
    }

    /// Moves a node to other addresses, as a machine that changes its network: nothing answers at the old ones, and its
    /// connections are dead without a word. The core has to be told by whoever moves it.
    ///
    /// # Panics
    /// As [`add`](Sim::add).
    pub fn relocate<C>(&mut self, id: NodeId<C>, locals: Locals) {
        self.listeners.retain(|_, (owner, _)| *owner != id.index);
        self.streams.forget_ends_of(id.index);
        let flows = self.listen(id.index, "the node that moves", &locals);
        if let Some(host) = self.hosts.get_mut(id.index) {
            (host.locals, host.flows) = (locals, flows);
        }
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

    /// Takes a node's core away, as the end of a program does: its connections break, the peers are told, and nothing
    /// at its addresses answers.
    pub fn stop<C>(&mut self, id: NodeId<C>) {
        let _ = self.hosts.get_mut(id.index).map(|host| (host.core.take(), host.timeout.take()));
        let connections = self.streams.select(|c| c.ends.iter().any(|end| end.node == id.index && !end.gone));
        for connection in connections {
            self.break_connection(connection, SendError::Closed);
        }
    }

    /// Takes a node's core away, as a power cut does: nobody is told. Peers find out when they send: while the node is
    /// away their connections time out, and once it is back with another core they are reset.
    pub fn crash<C>(&mut self, id: NodeId<C>) {
        let _ = self.hosts.get_mut(id.index).map(|host| (host.core.take(), host.timeout.take()));
        self.streams.forget_ends_of(id.index);
    }

    /// Puts a new core in the place of a node, stopped or not, as a restart does.
    pub fn restart<C: Core + Any>(&mut self, id: NodeId<C>, core: C) {
        self.stop(id);
        if let Some(host) = self.hosts.get_mut(id.index) {
            host.core = Some(Box::new(core));
        }
        self.drain(id.index);
    }

    /// A local port for a connection that a node opens.
    pub(crate) fn ephemeral_port(&mut self, node: usize) -> u16 {
        let Some(host) = self.hosts.get_mut(node) else { return 49_152 };
        let port = host.next_port;
        host.next_port = port.checked_add(1).unwrap_or(49_152);
        port
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
            Err(ingress::Rejected::KeepAlive) => {
                self.counters.keep_alives = self.counters.keep_alives.saturating_add(1);
                let reason = "a keep-alive".to_owned();
                self.record(node, |_| What::Rejected { path, reason });
            }
            // As the driver over sockets does (RFC 5626 §8).
            Err(ingress::Rejected::Stun) => {
                self.counters.keep_alives = self.counters.keep_alives.saturating_add(1);
                if let Some(answer) = stun::answer(&payload, path.remote) {
                    self.send(node, Transmit::own(path, answer));
                } else if let Some(stun::Binding::Answer { id, outcome }) = stun::parse(&payload) {
                    let answer = KeepAliveAnswer::Stun { id, outcome };
                    self.touch(node, |core| core.flow_event(now, FlowEvent::KeptAlive { path, answer }));
                }
            }
            Err(rejected) => {
                self.counters.rejected = self.counters.rejected.saturating_add(1);
                self.record(node, |_| What::Rejected { path, reason: rejected.to_string() });
                if let ingress::Rejected::Via { answer: Some(answer), .. } = rejected {
                    self.send(node, Transmit::own(path, answer));
                }
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
            if let Some(wanted) = core.poll_close() {
                self.close_wanted(node, wanted);
            } else if let Some(transmit) = core.poll_transmit() {
                self.counters.sent = self.counters.sent.saturating_add(1);
                self.send(node, transmit);
            } else if let Some(query) = core.poll_query() {
                self.record(node, |_| What::Asked(query.question.clone()));
                let delay = self.random.duration(self.dns.delay.0, self.dns.delay.1);
                let (delay, records) = if self.random.chance(self.dns.loss) {
                    (DnsConditions::TIMEOUT, Err(ResolveError::TimedOut))
                } else if self.random.chance(self.dns.fail) {
                    (delay, Err(ResolveError::Failed))
                } else if self.random.chance(self.dns.wrong) {
                    (delay, Ok(self.random_nonsense()))
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

    /// An answer that has nothing to do with its question: nothing at all, or records that lead nowhere.
    fn random_nonsense(&mut self) -> Records {
        match self.random.number() % 4 {
            0 => Records::Naptr(Vec::new()),
            1 => Records::Srv(Vec::new()),
            2 => Records::Addresses(Vec::new()),
            _ => Records::Srv(vec![Srv {
                priority: 0,
                weight: 0,
                port: 0,
                target: String::from("wrong.invalid"),
            }]),
        }
    }
}
