//! Cores side by side, at the same time: each has a lock and a task of its own, and one driver has the sockets of all.
//!
//! ```text
//!   sockets ──▶ Front ──▶ inbox of a core ──▶ its task: the core ──▶ its outbox ──▶ Front ──▶ sockets
//!                              ▲──── notes, from core to core ────┘
//! ```
//!
//! `Front` is the driver's core, and does nothing but to hand over. Of the locks, the driver's and a core's are never taken one within
//! the other; those of inboxes and outboxes are held for some moves of values, and no other is taken meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::tokio::sync::Notify;

use crate::core::{Answer, Backlog, Core, Query};
use crate::limits::Counters;
use crate::locals::Locals;
use crate::path::{Close, FlowEvent, Received, Transmit};
use crate::shards::{Shard, Spread};
use crate::tokio::driver::{Driver, Handle, Options, Shared};
use crate::tokio::listen::Sockets;

/// What a core deals with before others get its lock, and its thread another task.
const TURN: usize = 64;

/// Reaches one of several cores that are driven side by side, or the only one. Clones reach the same one.
pub struct ShardHandle<C: Shard + Send + 'static>(Reach<C>);

enum Reach<C: Shard + Send + 'static> {
    /// There are no others: it sits in the driver itself.
    Alone(Handle<C>),
    Beside {
        front: Handle<Front<C>>,
        seats: Seats<C>,
        seat: Arc<Seat<C>>,
    },
}

type Seats<C> = Arc<[Arc<Seat<C>>]>;

/// What the driver drives.
struct Front<C: Shard> {
    seats: Seats<C>,
    spread: Spread,
    /// How many messages may wait for one core.
    limit: usize,
    overflowed: u64,
    /// How long what is read now has waited in its socket.
    waited: Duration,
    /// Taken from the outboxes.
    out: Out,
}

/// One core with all that belongs to it.
struct Seat<C: Shard> {
    running: Mutex<Running<C>>,
    inbox: Mutex<Inbox<C::Note>>,
    out: Mutex<Out>,
    /// Wakes its task: something waits in the inbox, or the core has an earlier timeout.
    wake: Notify,
}

struct Running<C> {
    core: C,
    /// The timeout that its task waits for.
    armed: Option<Instant>,
}

enum Input<N> {
    /// With the time when it came to the socket, as far as that is known.
    Message(Instant, Received),
    Event(FlowEvent),
    Answer(Answer),
    Note(N),
}

struct Inbox<N> {
    inputs: VecDeque<Input<N>>,
    messages: usize,
    /// Lost before it by sockets, and by itself.
    lost: u32,
}

#[derive(Default)]
struct Out {
    transmits: VecDeque<Transmit>,
    queries: VecDeque<Query>,
    closes: VecDeque<Close>,
}

impl Out {
    fn is_empty(&self) -> bool {
        self.transmits.is_empty() && self.queries.is_empty() && self.closes.is_empty()
    }

    fn append(&mut self, other: &mut Out) {
        self.transmits.append(&mut other.transmits);
        self.queries.append(&mut other.queries);
        self.closes.append(&mut other.closes);
    }
}

/// A core that panicked is a bug that was reported by the panic; what else it carries goes on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Shard> Seat<C> {
    fn new(core: C) -> Self {
        let inbox = Inbox { inputs: VecDeque::new(), messages: 0, lost: 0 };
        Self {
            running: Mutex::new(Running { core, armed: None }),
            inbox: Mutex::new(inbox),
            out: Mutex::default(),
            wake: Notify::new(),
        }
    }

    fn give(&self, input: Input<C::Note>) {
        lock(&self.inbox).inputs.push_back(input);
        self.wake.notify_one();
    }

    /// Gives a message unless too many wait.
    fn give_message(&self, at: Instant, received: Received, limit: usize) -> bool {
        let mut inbox = lock(&self.inbox);
        if inbox.messages >= limit {
            inbox.lost = inbox.lost.saturating_add(1);
            return false;
        }
        inbox.messages = inbox.messages.saturating_add(1);
        inbox.inputs.push_back(Input::Message(at, received));
        drop(inbox);
        self.wake.notify_one();
        true
    }

    /// Up to so many inputs, and whether there are more.
    fn take(&self, inputs: &mut Vec<Input<C::Note>>) -> (u32, bool) {
        let mut inbox = lock(&self.inbox);
        let count = inbox.inputs.len().min(TURN);
        inputs.extend(inbox.inputs.drain(..count));
        let messages = inputs.iter().filter(|input| matches!(input, Input::Message(..))).count();
        inbox.messages = inbox.messages.saturating_sub(messages);
        (std::mem::take(&mut inbox.lost), !inbox.inputs.is_empty())
    }
}

/// Runs `f` with a core, and puts into the outbox what it has produced. Whether that is anything, for which the driver has to be entered.
fn enter<C: Shard, R>(
    seats: &[Arc<Seat<C>>],
    seat: &Seat<C>,
    f: impl FnOnce(&mut Running<C>, Instant) -> R,
) -> (R, bool) {
    let mut running = lock(&seat.running);
    // Read under the lock: time never goes backwards from one call of the core to the next.
    let now = ::tokio::time::Instant::now().into_std();
    let result = f(&mut running, now);
    let core = &mut running.core;
    let mut out = Out {
        transmits: std::iter::from_fn(|| core.poll_transmit()).collect(),
        queries: std::iter::from_fn(|| core.poll_query()).collect(),
        closes: std::iter::from_fn(|| core.poll_close()).collect(),
    };
    // All under the lock of the core, so that what it says in a row leaves in a row.
    while let Some((to, note)) = core.poll_note() {
        if let Some(other) = seats.get(to) {
            other.give(Input::Note(note));
        }
    }
    let any = !out.is_empty();
    if any {
        lock(&seat.out).append(&mut out);
    }
    if let Some(next) = running.core.poll_timeout()
        && running.armed.is_none_or(|armed| next < armed)
    {
        running.armed = Some(next);
        seat.wake.notify_one();
    }
    (result, any)
}

/// The task of a core.
async fn run<C: Shard + Send + 'static>(shared: Arc<Shared<Front<C>>>, seats: Seats<C>, seat: Arc<Seat<C>>) {
    let mut life = shared.life();
    let mut inputs = Vec::with_capacity(TURN);
    loop {
        let (lost, more) = seat.take(&mut inputs);
        let (deadline, any) = enter(&seats, &seat, |running, now| {
            let core = &mut running.core;
            let oldest = inputs.iter().find_map(|input| match input {
                Input::Message(at, _) => Some(*at),
                _ => None,
            });
            if let Some(oldest) = oldest {
                core.backlog(
                    now,
                    Backlog { socket: None, waited: now.saturating_duration_since(oldest), lost },
                );
            }
            for input in inputs.drain(..) {
                match input {
                    Input::Message(_, received) => core.receive(now, received),
                    Input::Event(event) => core.flow_event(now, event),
                    Input::Answer(answer) => core.resolved(now, answer),
                    Input::Note(note) => core.noted(now, note),
                }
            }
            if core.poll_timeout().is_some_and(|due| due <= now) {
                core.handle_timeout(now);
            }
            running.armed = running.core.poll_timeout();
            running.armed
        });
        if any {
            // The driver asks its core for all that is to be sent: what is in the outboxes.
            shared.enter(|_, _| {});
        }
        if more {
            ::tokio::task::yield_now().await;
            continue;
        }
        let due = async {
            match deadline {
                Some(deadline) => ::tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        ::tokio::select! {
            () = seat.wake.notified() => {}
            () = due => {}
            () = Shared::<Front<C>>::closing(&mut life) => return,
        }
    }
}

impl<C: Shard> Front<C> {
    /// What has come into the outboxes since.
    fn collect(&mut self) {
        for seat in self.seats.iter() {
            self.out.append(&mut lock(&seat.out));
        }
    }

    fn to(&self, shard: usize) -> Option<&Seat<C>> {
        self.seats.get(shard).map(|seat| &**seat)
    }
}

impl<C: Shard> Core for Front<C> {
    fn receive(&mut self, now: Instant, received: Received) {
        let shard = self.spread.of_message::<C>(&received);
        let at = now.checked_sub(self.waited).unwrap_or(now);
        if self.to(shard).is_some_and(|seat| !seat.give_message(at, received, self.limit)) {
            self.overflowed = self.overflowed.saturating_add(1);
        }
    }

    fn flow_event(&mut self, _: Instant, event: FlowEvent) {
        match Spread::of_event::<C>(&event) {
            Some(shard) => self.to(shard).into_iter().for_each(|seat| seat.give(Input::Event(event.clone()))),
            None => self.seats.iter().for_each(|seat| seat.give(Input::Event(event.clone()))),
        }
    }

    fn resolved(&mut self, _: Instant, answer: Answer) {
        if let Some(seat) = self.to(C::shard_of(answer.key.0).unwrap_or(0)) {
            seat.give(Input::Answer(answer));
        }
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }

    /// What the driver asks for first.
    fn poll_close(&mut self) -> Option<Close> {
        if self.out.closes.is_empty() {
            self.collect();
        }
        self.out.closes.pop_front()
    }

    fn backlog(&mut self, _: Instant, backlog: Backlog) {
        self.waited = backlog.waited;
        if backlog.lost > 0 {
            for seat in self.seats.iter() {
                let mut inbox = lock(&seat.inbox);
                inbox.lost = inbox.lost.saturating_add(backlog.lost);
            }
        }
    }
}

impl Driver {
    /// Drives cores side by side over the same sockets, each with a task of its own: on as many threads as the runtime has. The
    /// first is the one at home. Gives a handle for each, in their order; of a single one it makes no more than
    /// [`spawn`](Driver::spawn) does.
    pub fn spawn_shards<C: Shard + Send + 'static>(
        mut cores: Vec<C>,
        sockets: Sockets,
        options: Options,
    ) -> Vec<ShardHandle<C>> {
        if cores.len() < 2 {
            let alone = cores.pop().map(|core| Self::spawn(core, sockets, options));
            return alone.into_iter().map(|handle| ShardHandle(Reach::Alone(handle))).collect();
        }
        let seats: Seats<C> = cores.into_iter().map(|core| Arc::new(Seat::new(core))).collect();
        let front = Front {
            spread: Spread::over(seats.len()),
            seats: seats.clone(),
            limit: options.limits.shard_queue,
            overflowed: 0,
            waited: Duration::ZERO,
            out: Out::default(),
        };
        let front = Self::spawn(front, sockets, options);
        let shared = &front.shared;
        let handles = seats.iter().map(|seat| {
            shared.spawn(run(shared.clone(), seats.clone(), seat.clone()));
            ShardHandle(Reach::Beside { front: front.clone(), seats: seats.clone(), seat: seat.clone() })
        });
        handles.collect()
    }
}

impl<C: Shard + Send + 'static> ShardHandle<C> {
    /// Locks the core, runs `f`, and has sent what the core then wants to send. See [`Handle::with`].
    pub fn with<R>(&self, f: impl FnOnce(&mut C, Instant) -> R) -> R {
        match &self.0 {
            Reach::Alone(handle) => handle.with(f),
            Reach::Beside { front, seats, seat } => {
                let (result, any) = enter(seats, seat, |running, now| f(&mut running.core, now));
                if any {
                    front.with(|_, _| {});
                }
                result
            }
        }
    }

    /// Locks the core to look at it. See [`Handle::look`].
    pub fn look<R>(&self, f: impl FnOnce(&mut C) -> R) -> R {
        match &self.0 {
            Reach::Alone(handle) => handle.look(f),
            Reach::Beside { seat, .. } => f(&mut lock(&seat.running).core),
        }
    }

    /// The listeners of all, see [`Handle::locals`].
    #[must_use]
    pub fn locals(&self) -> Locals {
        match &self.0 {
            Reach::Alone(handle) => handle.locals(),
            Reach::Beside { front, .. } => front.locals(),
        }
    }

    /// What was counted since the start, for all.
    #[must_use]
    pub fn counters(&self) -> Counters {
        match &self.0 {
            Reach::Alone(handle) => handle.counters(),
            Reach::Beside { front, .. } => {
                Counters { shard_overflowed: front.look(|front| front.overflowed), ..front.counters() }
            }
        }
    }

    /// How many connections are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        match &self.0 {
            Reach::Alone(handle) => handle.connections(),
            Reach::Beside { front, .. } => front.connections(),
        }
    }

    /// Ends the driver of all, see [`Handle::close`].
    pub fn close(&self) {
        match &self.0 {
            Reach::Alone(handle) => handle.close(),
            Reach::Beside { front, .. } => front.close(),
        }
    }

    /// Waits until all sockets are closed, see [`Handle::stopped`].
    pub async fn stopped(&self) {
        match &self.0 {
            Reach::Alone(handle) => handle.stopped().await,
            Reach::Beside { front, .. } => front.stopped().await,
        }
    }
}

impl<C: Shard + Send + 'static> Clone for ShardHandle<C> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Reach::Alone(handle) => Reach::Alone(handle.clone()),
            Reach::Beside { front, seats, seat } => {
                Reach::Beside { front: front.clone(), seats: seats.clone(), seat: seat.clone() }
            }
        })
    }
}

impl<C: Shard + Send + 'static> std::fmt::Debug for ShardHandle<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardHandle").finish_non_exhaustive()
    }
}
