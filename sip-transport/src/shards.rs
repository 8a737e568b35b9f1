//! Several cores side by side, each with its share of the messages, so that a server uses more than one processor.
//!
//! What belongs together (all messages of a call) goes to one of them, so none waits for another, and the order of messages is kept
//! where it matters. What one has to tell another is a [`Note`](Shard::Note): a value that is carried over, as everything is at the
//! seam. [`Shards`] runs them one after the other, in the simulator or in a driver; `tokio::Driver::spawn_shards` runs them at the same
//! time.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::time::Instant;

use crate::core::{Answer, Backlog, Core, Query};
use crate::path::{Close, FlowEvent, Received, Transmit};

/// A core of which several can run side by side. The first of them, the one at home, has what is not shared out.
pub trait Shard: Core {
    /// What one tells another.
    type Note: Send + std::fmt::Debug + 'static;

    /// What messages that belong together have in common: all with the same key go to the same core. `None`: to the one at home.
    fn key(received: &Received) -> Option<&str>;

    /// Which of them has given this name, the number in a [`Token`](crate::Token) or [`QueryKey`](crate::QueryKey), to what it
    /// sends or asks.
    fn shard_of(name: u64) -> Option<usize>;

    /// Another one has something to say.
    fn noted(&mut self, now: Instant, note: Self::Note);

    /// What is to be told to another one, and to which.
    fn poll_note(&mut self) -> Option<(usize, Self::Note)>;
}

/// Where messages and events go.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// Peers choose the keys, so their hash is keyed. `None`: by one that is the same in every run.
    hasher: Option<RandomState>,
    shards: usize,
}

impl Spread {
    pub(crate) fn over(shards: usize) -> Self {
        Self { hasher: Some(RandomState::new()), shards }
    }

    /// Who deals with a message.
    pub(crate) fn of_message<C: Shard>(&self, received: &Received) -> usize {
        let Some(key) = C::key(received) else { return 0 };
        let hash = match &self.hasher {
            Some(hasher) => hasher.hash_one(key),
            None => BuildHasherDefault::<DefaultHasher>::default().hash_one(key),
        };
        hash.checked_rem(self.shards as u64).and_then(|shard| usize::try_from(shard).ok()).unwrap_or(0)
    }

    /// Who is to hear of an event: the one that sent what it is about. `None`: all of them.
    pub(crate) fn of_event<C: Shard>(event: &FlowEvent) -> Option<usize> {
        match event {
            FlowEvent::SendFailed { token, .. } | FlowEvent::Ready { token, .. } => {
                Some(C::shard_of(token.0).unwrap_or(0))
            }
            _ => None,
        }
    }
}

/// Cores side by side as one core, each in its turn.
#[derive(Debug)]
pub struct Shards<C: Shard> {
    cores: Vec<C>,
    spread: Spread,
}

impl<C: Shard> Shards<C> {
    /// The first of them is the one at home. Which of them deals with what is left to chance.
    #[must_use]
    pub fn new(cores: Vec<C>) -> Self {
        let spread = Spread::over(cores.len());
        Self { cores, spread }
    }

    /// The same messages go to the same cores in every run, so that a simulation repeats exactly.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.spread.hasher = None;
        self
    }

    /// The cores, the one at home first.
    #[must_use]
    pub fn cores(&self) -> &[C] {
        &self.cores
    }

    /// One of them, to be told something. What it tells the others they hear with the next input.
    pub fn core_mut(&mut self, shard: usize) -> Option<&mut C> {
        self.cores.get_mut(shard)
    }

    /// Runs `f` with one of them, and has the others hear what it tells them. `None`: there is no such core.
    pub fn with<R>(&mut self, shard: usize, now: Instant, f: impl FnOnce(&mut C) -> R) -> Option<R> {
        let result = self.cores.get_mut(shard).map(f);
        self.carry_notes(now);
        result
    }

    fn carry_notes(&mut self, now: Instant) {
        loop {
            let mut notes = Vec::new();
            for core in &mut self.cores {
                notes.extend(std::iter::from_fn(|| core.poll_note()));
            }
            if notes.is_empty() {
                return;
            }
            for (to, note) in notes {
                if let Some(core) = self.cores.get_mut(to) {
                    core.noted(now, note);
                }
            }
        }
    }
}

impl<C: Shard> Core for Shards<C> {
    fn receive(&mut self, now: Instant, received: Received) {
        let shard = self.spread.of_message::<C>(&received);
        self.with(shard, now, |core| core.receive(now, received));
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        match Spread::of_event::<C>(&event) {
            Some(shard) => {
                self.with(shard, now, |core| core.flow_event(now, event));
            }
            None => {
                for core in &mut self.cores {
                    core.flow_event(now, event.clone());
                }
                self.carry_notes(now);
            }
        }
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        let shard = C::shard_of(answer.key.0).unwrap_or(0);
        self.with(shard, now, |core| core.resolved(now, answer));
    }

    fn handle_timeout(&mut self, now: Instant) {
        for core in &mut self.cores {
            if core.poll_timeout().is_some_and(|due| due <= now) {
                core.handle_timeout(now);
            }
        }
        self.carry_notes(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.cores.iter().filter_map(Core::poll_timeout).min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.cores.iter_mut().find_map(Core::poll_transmit)
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.cores.iter_mut().find_map(Core::poll_query)
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.cores.iter_mut().find_map(Core::poll_close)
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        for core in &mut self.cores {
            core.backlog(now, backlog);
        }
    }
}
