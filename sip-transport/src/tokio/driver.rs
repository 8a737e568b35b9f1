//! The driver's heart: one core behind one lock, and the flush that sends what it produced.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use ::tokio::runtime;
use ::tokio::sync::{Notify, watch};
use bytes::Bytes;
use sip_message::Message;
use sip_message::headers::Via;

use crate::core::{Answer, Core, Query, ResolveError};
use crate::limits::{Counters, Limits};
use crate::locals::Locals;
use crate::outbound::PING;
use crate::path::{Close, CloseReason, FlowEvent, FlowId, Path, SendError, Token, Transmit, Transport};
use crate::stun;
use crate::tokio::batch::{BATCH, Sender};
use crate::tokio::connection;
use crate::tokio::dns::{Resolve, default_resolver};
use crate::tokio::establish::Security;
use crate::tokio::listen::Sockets;
use crate::tokio::table::{Origin, Table};
use crate::tokio::tap::Tap;
use crate::tokio::udp::DatagramSocket;

/// Events given to a core in one go. A core that answers each failure with another message that fails at once would
/// hold the lock forever; after so many the others get their turn first.
const EVENTS_PER_FLUSH: usize = 1_024;

/// How a driver runs.
#[derive(Default)]
pub struct Options {
    /// What peers may make the driver hold.
    pub limits: Limits,
    /// Sees every message.
    pub tap: Option<Box<dyn Tap>>,
    /// Answers questions about names; [`default_resolver`] if there is none.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Which web pages may connect over WebSocket.
    #[cfg(feature = "ws")]
    pub origins: crate::websocket::Origins,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Runs cores over sockets.
#[derive(Clone, Copy, Debug)]
pub struct Driver;

impl Driver {
    /// Drives `core` over `sockets` from now on, in tasks of the runtime in which the sockets were bound.
    ///
    /// It runs until [`Handle::close`], whether anybody holds a handle or not: what a core has promised to peers it
    /// keeps.
    pub fn spawn<C: Core + Send + 'static>(core: C, sockets: Sockets, options: Options) -> Handle<C> {
        let Sockets { udp, streams, locals, runtime, .. } = sockets;
        let security = Security {
            #[cfg(feature = "tls")]
            tls: sockets.tls,
            #[cfg(feature = "ws")]
            origins: options.origins,
        };
        // A resolver may want a runtime while it is made, and the caller need not be in one.
        let entered = runtime.clone();
        let _guard = entered.enter();
        let wire = Wire {
            udp: Vec::with_capacity(udp.len()),
            doors: Vec::new(),
            locals,
            table: Table::default(),
            tap: options.tap,
            counters: Counters::default(),
            next_flow: 1,
            queries: 0,
            closed: false,
        };
        let state = State { core, wire, events: VecDeque::new(), answers: VecDeque::new(), armed: None };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            timer: Notify::new(),
            limits: options.limits,
            security,
            handshakes: AtomicUsize::new(0),
            resolver: options.resolver.unwrap_or_else(default_resolver),
            runtime,
            life: watch::Sender::new(Life { closing: false, tasks: 0 }),
        });
        shared.listen(&mut shared.lock(), udp, streams);
        shared.spawn(timer(shared.clone()));
        Handle { shared }
    }
}

/// Reaches a core that is being driven. Clones reach the same one.
pub struct Handle<C> {
    pub(super) shared: Arc<Shared<C>>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Handle<C> {
        Handle { shared: self.shared.clone() }
    }
}

impl<C> std::fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<C: Core + Send + 'static> Handle<C> {
    /// Locks the core, runs `f`, and sends what the core then wants to send.
    ///
    /// `f` must not wait for anything: while it runs no message is handled. Calling `with` within `f` deadlocks.
    ///
    /// Messages are left to the task of their socket, which sends in one go what several calls in a row have left.
    pub fn with<R>(&self, f: impl FnOnce(&mut C, Instant) -> R) -> R {
        self.shared.enter_for(Waiting::Left, |state, now| f(&mut state.core, now))
    }

    /// Locks the core to look at it, or to take out of it what others wait for. Unlike [`with`](Handle::with) it costs nothing
    /// besides, and nothing that `f` makes the core want to do is done until the next message, timeout or `with`.
    pub fn look<R>(&self, f: impl FnOnce(&mut C) -> R) -> R {
        f(&mut self.shared.lock().core)
    }

    /// The listeners with their real ports, as they are now.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.shared.lock().wire.locals.clone()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.lock().wire.counters
    }

    /// How many connections are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().wire.table.len()
    }

    /// Ends the driver: sends what the kernel takes at once, then closes all sockets. What the core wants to say
    /// farewell it must have said before, and seen acknowledged.
    pub fn close(&self) {
        self.shared.enter(|_, _| {});
        // Nothing is sent any more, so nothing can be opened for it.
        self.shared.lock().wire.closed = true;
        self.shared.enter(|state, _| {
            for flow in state.wire.table.flows() {
                close(state, flow, CloseReason::Shutdown);
            }
        });
        self.shared.life.send_modify(|life| life.closing = true);
    }

    /// Waits until a [`close`](Handle::close) is done and all sockets are closed.
    pub async fn stopped(&self) {
        let mut life = self.shared.life.subscribe();
        // The sender lives in `shared`, which we hold: it cannot fail.
        let _ = life.wait_for(|life| life.closing && life.tasks == 0).await;
    }
}

/// Whether the driver runs, and how many tasks it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    closing: bool,
    tasks: usize,
}

/// What becomes of the messages that a core gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// They are sent before the lock is let go.
    Sent,
    /// Unless they are many, they are left to the tasks of the sockets: more may follow in a moment.
    Left,
}

/// One UDP socket.
pub(super) struct Udp {
    pub(super) bound: SocketAddr,
    pub(super) flow: FlowId,
    /// Whether datagrams wait for room in the kernel's buffer.
    pub(super) full: AtomicBool,
    /// Wakes the task of the socket: datagrams wait to be sent, or it is retired.
    pub(super) wake: Notify,
    /// The address is not ours any more.
    pub(super) retired: AtomicBool,
}

/// All that the tasks of one driver share.
pub(super) struct Shared<C> {
    state: Mutex<State<C>>,
    timer: Notify,
    pub(super) limits: Limits,
    pub(super) security: Security,
    /// Handshakes of accepted connections under way.
    pub(super) handshakes: AtomicUsize,
    resolver: Arc<dyn Resolve>,
    pub(super) runtime: runtime::Handle,
    life: watch::Sender<Life>,
}

/// What the lock protects.
pub(super) struct State<C> {
    pub(super) core: C,
    pub(super) wire: Wire,
    /// What the core is to be told as soon as it is not busy.
    pub(super) events: VecDeque<FlowEvent>,
    answers: VecDeque<Answer>,
    /// The timeout that the timer task waits for.
    armed: Option<Instant>,
}

/// Everything on the way out.
pub(super) struct Wire {
    pub(super) udp: Vec<Outgoing>,
    /// Listening sockets of the other transports, and what ends their tasks.
    pub(super) doors: Vec<(Transport, SocketAddr, Arc<Notify>)>,
    pub(super) locals: Locals,
    pub(super) table: Table,
    tap: Option<Box<dyn Tap>>,
    pub(super) counters: Counters,
    next_flow: u64,
    queries: usize,
    pub(super) closed: bool,
}

/// The way out of a UDP socket.
pub(super) struct Outgoing {
    pub(super) udp: Arc<Udp>,
    /// `None` when the driver is closed.
    socket: Option<Arc<DatagramSocket>>,
    /// What waits to be sent.
    queue: VecDeque<Transmit>,
    sender: Sender,
}

impl Outgoing {
    pub(super) fn new(udp: Arc<Udp>, socket: Arc<DatagramSocket>) -> Outgoing {
        Outgoing { udp, socket: Some(socket), queue: VecDeque::new(), sender: Sender::new() }
    }
}

impl Wire {
    pub(super) fn new_flow(&mut self) -> FlowId {
        let flow = FlowId(self.next_flow);
        self.next_flow = self.next_flow.wrapping_add(1);
        flow
    }

    fn position(&self, flow: FlowId) -> Option<usize> {
        self.udp.iter().position(|outgoing| outgoing.udp.flow == flow)
    }

    /// The socket that a datagram leaves from: that of its flow, else the one of the listener for its path.
    fn udp_for(&self, path: &Path) -> Option<usize> {
        if let Some(found) = path.flow.and_then(|flow| self.position(flow)) {
            return Some(found);
        }
        let bound = self.locals.at(path)?.bound;
        self.udp.iter().position(|outgoing| outgoing.udp.bound == bound)
    }

    pub(super) fn is_tapped(&self) -> bool {
        self.tap.is_some()
    }

    pub(super) fn tap(&mut self, inbound: bool, path: &Path, bytes: &Bytes) {
        let at = self.tap_time();
        self.tap_at(at, inbound, path, bytes);
    }

    /// The time to tell the tap of something about to be sent: taken before, or the peer's answer may look older.
    fn tap_time(&self) -> Option<SystemTime> {
        self.tap.is_some().then(SystemTime::now)
    }

    fn tap_at(&mut self, at: Option<SystemTime>, inbound: bool, path: &Path, bytes: &Bytes) {
        if let (Some(tap), Some(at)) = (&mut self.tap, at) {
            tap.message(at, inbound, path, bytes);
        }
    }
}

pub(super) fn add(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl<C: Core + Send + 'static> Shared<C> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<C>> {
        // A core that panicked is a bug that was reported by the panic; the other calls it carries go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the core for `f`, then sends what it produced. All input goes through here.
    pub(super) fn enter<R>(self: &Arc<Self>, f: impl FnOnce(&mut State<C>, Instant) -> R) -> R {
        self.enter_for(Waiting::Sent, f)
    }

    fn enter_for<R>(self: &Arc<Self>, waiting: Waiting, f: impl FnOnce(&mut State<C>, Instant) -> R) -> R {
        let mut state = self.lock();
        // Read under the lock: time never goes backwards from one call of the core to the next.
        let now = ::tokio::time::Instant::now().into_std();
        let result = f(&mut state, now);
        self.flush(&mut state, now, waiting);
        result
    }

    /// Spawns a task of the driver, unless it is closing.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        /// Counts the task off when it ends, by whatever way.
        struct Ended<C>(Arc<Shared<C>>);
        impl<C> Drop for Ended<C> {
            fn drop(&mut self) {
                self.0.life.send_modify(|life| life.tasks = life.tasks.saturating_sub(1));
            }
        }
        self.life.send_modify(|life| life.tasks = life.tasks.saturating_add(1));
        let ended = Ended(self.clone());
        // Boxed: what is moved into a future has its place in it twice.
        let task = Box::pin(task);
        self.runtime.spawn(async move {
            let _ended = ended;
            task.await;
        });
    }

    /// Returns when the driver is closing.
    pub(super) async fn closing(life: &mut watch::Receiver<Life>) {
        // An error means that the sender is gone, and with it the driver.
        let _ = life.wait_for(|life| life.closing).await;
    }

    pub(super) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    fn flush(self: &Arc<Self>, state: &mut State<C>, now: Instant, waiting: Waiting) {
        let mut told = 0_usize;
        loop {
            while let Some(wanted) = state.core.poll_close() {
                match wanted {
                    Close::Flow(flow) => close(state, flow, CloseReason::Local),
                    Close::Silent { path, since } => close_silent(state, &path, since),
                }
            }
            while let Some(transmit) = state.core.poll_transmit() {
                self.send(state, transmit, now);
            }
            while let Some(query) = state.core.poll_query() {
                self.ask(state, query);
            }
            self.send_datagrams(state, waiting);
            match waiting {
                Waiting::Sent => state.wire.table.write(now),
                Waiting::Left => state.wire.table.leave(),
            }
            if told >= EVENTS_PER_FLUSH {
                if !(state.events.is_empty() && state.answers.is_empty()) {
                    self.timer.notify_one();
                }
                break;
            }
            told = told.saturating_add(1);
            if let Some(event) = state.events.pop_front() {
                if let FlowEvent::SendFailed { .. } = event {
                    add(&mut state.wire.counters.send_failures);
                }
                state.core.flow_event(now, event);
            } else if let Some(answer) = state.answers.pop_front() {
                state.core.resolved(now, answer);
            } else {
                break;
            }
        }
        // The timer is woken for an earlier timeout only; it finds out about a later one when it fires.
        if let Some(next) = state.core.poll_timeout()
            && state.armed.is_none_or(|armed| next < armed)
        {
            state.armed = Some(next);
            self.timer.notify_one();
        }
    }

    fn ask(self: &Arc<Self>, state: &mut State<C>, query: Query) {
        let Query { key, question } = query;
        if state.wire.queries >= self.limits.queries {
            add(&mut state.wire.counters.queries_refused);
            return state.answers.push_back(Answer { key, question, records: Err(ResolveError::TooMany) });
        }
        state.wire.queries = state.wire.queries.saturating_add(1);
        let shared = self.clone();
        let mut life = self.life();
        self.spawn(async move {
            let asked =
                ::tokio::time::timeout(shared.limits.query, shared.resolver.resolve(question.clone()));
            let records = ::tokio::select! {
                records = asked => records.unwrap_or(Err(ResolveError::TimedOut)),
                () = Self::closing(&mut life) => return,
            };
            shared.enter(|state, now| {
                state.wire.queries = state.wire.queries.saturating_sub(1);
                state.core.resolved(now, Answer { key, question, records });
            });
        });
    }

    fn send(self: &Arc<Self>, state: &mut State<C>, transmit: Transmit, now: Instant) {
        if state.wire.closed {
            return;
        }
        match transmit.path.transport {
            Transport::Udp => self.send_datagram(state, transmit),
            _ => self.send_stream(state, transmit, now),
        }
    }

    /// Sends what the core gave for the UDP sockets, or leaves it to their tasks.
    fn send_datagrams(&self, state: &mut State<C>, waiting: Waiting) {
        let mut index = 0;
        while let Some(Outgoing { udp, queue, .. }) = state.wire.udp.get(index) {
            if !queue.is_empty() && !udp.full.load(Ordering::Relaxed) {
                match waiting {
                    Waiting::Left if queue.len() < BATCH => udp.wake.notify_one(),
                    _ => Self::send_queue(state, index),
                }
            }
            index = index.saturating_add(1);
        }
    }

    /// Puts a datagram behind those that wait; whoever holds the lock sends them in batches before it lets go, or leaves
    /// them to the task of the socket.
    pub(super) fn send_datagram(&self, state: &mut State<C>, mut transmit: Transmit) {
        let Some(index) = state.wire.udp_for(&transmit.path) else {
            return fail(state, transmit, SendError::NoLocal);
        };
        let Some(outgoing) = state.wire.udp.get_mut(index) else { return };
        transmit.path.local = outgoing.udp.bound;
        transmit.path.flow = Some(outgoing.udp.flow);
        if outgoing.queue.len() >= self.limits.datagram_queue {
            // A burst of our own, before the kernel was asked at all.
            Self::send_queue(state, index);
        }
        let Some(outgoing) = state.wire.udp.get_mut(index) else { return };
        if outgoing.queue.len() >= self.limits.datagram_queue {
            add(&mut state.wire.counters.datagrams_dropped);
            return fail(state, transmit, SendError::QueueFull);
        }
        outgoing.queue.push_back(transmit);
    }

    /// Sends what waits for a socket.
    pub(super) fn send_waiting(self: &Arc<Self>, udp: &Udp) {
        self.enter(|state, _| {
            if let Some(index) = state.wire.position(udp.flow) {
                Self::send_queue(state, index);
            }
        });
    }

    /// Sends the datagrams that wait, as far as the kernel takes them.
    pub(super) fn send_queue(state: &mut State<C>, index: usize) {
        loop {
            let at = state.wire.tap_time();
            let Some(Outgoing { udp, socket: Some(socket), queue, sender }) = state.wire.udp.get_mut(index)
            else {
                return;
            };
            if queue.is_empty() {
                udp.full.store(false, Ordering::Relaxed);
                return;
            }
            let datagrams = queue.iter().map(|transmit| (&transmit.payload, transmit.path.remote));
            let result = sender.send(socket, datagrams);
            let done = match &result {
                Ok(count) => *count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    udp.full.store(true, Ordering::Relaxed);
                    udp.wake.notify_one(); // its task waits for room from now on
                    return;
                }
                Err(_) => 1,
            };
            for _ in 0..done {
                let Some(transmit) =
                    state.wire.udp.get_mut(index).and_then(|outgoing| outgoing.queue.pop_front())
                else {
                    return;
                };
                match &result {
                    Ok(_) => sent(&mut state.wire, at, &transmit.path, &transmit.payload),
                    Err(error) => fail(state, transmit, SendError::from(error)),
                }
            }
        }
    }

    /// Lets go of a UDP socket: its port is free when its task ends.
    pub(super) fn drop_socket(&self, udp: &Udp) {
        let wire = &mut self.lock().wire;
        if let Some(outgoing) = wire.position(udp.flow).and_then(|index| wire.udp.get_mut(index)) {
            outgoing.socket = None;
            outgoing.queue.clear();
        }
    }

    fn send_stream(self: &Arc<Self>, state: &mut State<C>, transmit: Transmit, now: Instant) {
        let Transmit { mut path, payload, reopen, mut domain, token } = transmit;
        if let Some(flow) = path.flow {
            // A flow that was read from a token may be of another process.
            if state.wire.table.get_mut(flow).is_some_and(|found| found.path.remote == path.remote) {
                return self.write(state, flow, payload, token, now);
            }
            let Some(remote) = reopen else {
                let transmit = Transmit { path, payload, reopen, domain, token };
                return fail(state, transmit, SendError::Closed);
            };
            // RFC 3261 §18.2.2: the connection is gone, open one to where the peer listens.
            path = Path { remote, flow: None, ..path };
            if path.transport.is_secure() && domain.is_none() {
                domain = sent_by(&payload, &self.limits.message);
            }
        }
        if let Some(flow) = state.wire.table.to_remote(path.transport, path.remote, domain.as_deref()) {
            return self.write(state, flow, payload, token, now);
        }
        let transmit = Transmit { path, payload, reopen: None, domain, token };
        let Some(bound) = state.wire.locals.for_path(path.transport, path.remote).map(|local| local.bound)
        else {
            return fail(state, transmit, SendError::NoLocal);
        };
        if state.wire.table.has_room(&self.limits, None).is_err() {
            add(&mut state.wire.counters.refused_total);
            return fail(state, transmit, SendError::TooManyConnections);
        }
        let flow = state.wire.new_flow();
        path.local = SocketAddr::new(bound.ip(), 0);
        let domain = transmit.domain;
        let wake = state.wire.table.insert(flow, path, Origin::Opened(domain.clone()), now);
        self.write(state, flow, transmit.payload, token, now);
        self.spawn(connection::open(self.clone(), flow, path, domain, wake));
    }

    /// Puts a message into the queue of a connection, which is written before the lock is let go, or soon after.
    fn write(&self, state: &mut State<C>, flow: FlowId, payload: Bytes, token: Token, now: Instant) {
        let at = state.wire.tap_time();
        let Some(connection) = state.wire.table.get_mut(flow) else { return };
        let path = connection.path;
        if payload.is_empty() {
            // Nothing to send: somebody wants to know when it stands (RFC 8305 §5).
            let event = match &connection.socket {
                Some(_) => FlowEvent::Ready { token, path },
                None if connection.awaited_by.len() < self.limits.send_queue => {
                    return connection.awaited_by.push(token);
                }
                None => FlowEvent::SendFailed { token, path, error: SendError::QueueFull },
            };
            return state.events.push_back(event);
        }
        let framed = connection.outbound.message(payload.clone());
        let is_open = connection.socket.is_some();
        if !state.wire.table.send(flow, &framed, token, &self.limits, now) {
            state.events.push_back(FlowEvent::SendFailed { token, path, error: SendError::QueueFull });
            // While it is being opened nobody can have read anything.
            if is_open {
                add(&mut state.wire.counters.slow_readers);
                close(state, flow, CloseReason::SlowReader);
            }
            return;
        }
        sent(&mut state.wire, at, &path, &payload);
    }
}

/// The host of a response's top Via: whose certificate the connection has to show that the response is sent over when its
/// own is gone (RFC 3263 §5, RFC 5922 §7.3).
fn sent_by(response: &Bytes, limits: &sip_message::Limits) -> Option<Arc<str>> {
    let message = Message::parse(response.clone(), limits).ok()?;
    let via = message.headers().get::<Via>().ok()??;
    Some(via.host().into())
}

/// Takes a connection out of the table and tells the core what became of it and of what waited.
pub(super) fn close<C>(state: &mut State<C>, flow: FlowId, reason: CloseReason) {
    let Some(mut connection) = state.wire.table.remove(flow) else { return };
    if !matches!(reason, CloseReason::SlowReader | CloseReason::Error(_)) {
        // The last words come before the goodbye; an error does not matter any more.
        let _ = connection.write(connection.last_activity);
    }
    connection.say_goodbye(reason);
    let path = connection.path;
    let error = match reason {
        CloseReason::SlowReader => SendError::QueueFull,
        CloseReason::Error(error) => error,
        _ => SendError::Closed,
    };
    let waiting = connection.queue.into_iter().map(|waiting| waiting.token);
    for token in waiting.chain(connection.awaited_by) {
        state.events.push_back(FlowEvent::SendFailed { token, path, error });
    }
    if connection.socket.is_some() {
        tracing::debug!(%path, %reason, "connection closed");
        state.events.push_back(FlowEvent::Closed { path, reason });
    }
}

/// Gives up the connections over which nothing came since an answer was waited for.
fn close_silent<C>(state: &mut State<C>, path: &Path, since: Instant) {
    for flow in state.wire.table.silent(path, since) {
        add(&mut state.wire.counters.silent_closed);
        close(state, flow, CloseReason::Local);
    }
}

fn sent(wire: &mut Wire, at: Option<SystemTime>, path: &Path, payload: &Bytes) {
    if payload[..] == *PING || stun::is_stun(payload) {
        return add(&mut wire.counters.keep_alives_sent);
    }
    add(&mut wire.counters.sent);
    wire.tap_at(at, false, path, payload);
}

fn fail<C>(state: &mut State<C>, transmit: Transmit, error: SendError) {
    let Transmit { path, token, .. } = transmit;
    tracing::debug!(%path, %error, "message not sent");
    state.events.push_back(FlowEvent::SendFailed { token, path, error });
}

/// Calls the core when its timeout has come.
async fn timer<C: Core + Send + 'static>(shared: Arc<Shared<C>>) {
    let mut life = shared.life();
    loop {
        let deadline = shared.enter(|state, now| {
            if state.core.poll_timeout().is_some_and(|due| due <= now) {
                state.core.handle_timeout(now);
            }
            state.armed = state.core.poll_timeout();
            state.armed
        });
        let due = async {
            match deadline {
                Some(deadline) => ::tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        ::tokio::select! {
            () = due => {}
            () = shared.timer.notified() => {}
            () = Shared::<C>::closing(&mut life) => return,
        }
    }
}
