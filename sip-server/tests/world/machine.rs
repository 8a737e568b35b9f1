//! The cores of a server under test: one, or several side by side with `SERVER_SHARDS=3`, which every test has to pass as well.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use sip_server::calls::{CallRecord, CallStatistics};
use sip_server::location::QuestionKey;
use sip_server::push::{Push, PushError};
use sip_server::{Config, ConfigError, Counters, ServerCore};
use sip_transaction::Tier;
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, Query, Received, Shard, Transmit};

/// It derefs to the core at home, which has all that is not shared out.
pub struct Machine {
    cores: Vec<ServerCore>,
    /// Which core has asked for a notification.
    pushes: Vec<(QuestionKey, usize)>,
}

/// Stores and routers outside are played by the test, which knows one core that asks.
fn shards(config: &Config) -> usize {
    let outside = config.external_location || config.external_users || config.external_router;
    let wanted = std::env::var("SERVER_SHARDS").ok().and_then(|text| text.parse().ok());
    wanted.filter(|_| !outside).unwrap_or(1)
}

impl Machine {
    pub fn of(core: ServerCore, config: &Config, now: Instant, unix: Duration) -> Machine {
        Machine::new(core.shared_out(config, shards(config), now, unix).unwrap())
    }

    /// Several, whatever the environment says.
    pub fn several(core: ServerCore, config: &Config, now: Instant, unix: Duration) -> Machine {
        Machine::new(core.shared_out(config, 3, now, unix).unwrap())
    }

    fn new(cores: Vec<ServerCore>) -> Machine {
        Machine { cores, pushes: Vec::new() }
    }

    pub fn cores(&self) -> &[ServerCore] {
        &self.cores
    }

    fn carry(&mut self, now: Instant) {
        loop {
            let mut notes = Vec::new();
            for core in &mut self.cores {
                notes.extend(std::iter::from_fn(|| core.poll_note()));
            }
            if notes.is_empty() {
                return;
            }
            for (to, note) in notes {
                self.cores[to].noted(now, note);
            }
        }
    }

    /// Which core a message goes to.
    pub fn core_for(&self, received: &Received) -> usize {
        let Some(key) = ServerCore::key(received) else { return 0 };
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.cores.len() as u64).unwrap()
    }

    /// All of them, as a server does.
    pub fn reconfigure(&mut self, config: Config, now: Instant) -> Result<Vec<&'static str>, ConfigError> {
        let later = self.cores[0].reconfigure(config.clone(), now)?;
        let common = self.cores[0].in_common();
        for core in &mut self.cores[1..] {
            core.reconfigure(config.clone(), now)?;
            core.adopt(common.clone());
        }
        self.carry(now);
        Ok(later)
    }

    pub fn call_statistics(&self) -> Option<CallStatistics> {
        let all = self.cores.iter().filter_map(ServerCore::call_statistics);
        all.reduce(|mut all, more| {
            all += more;
            all
        })
    }

    pub fn set_least_tier(&mut self, tier: Tier) {
        self.cores.iter_mut().for_each(|core| core.set_least_tier(tier));
    }

    fn sum(&self, f: impl Fn(&ServerCore) -> usize) -> usize {
        self.cores.iter().map(f).sum()
    }

    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        self.cores.iter().for_each(|core| all += core.counters());
        all
    }

    pub fn live_contexts(&self) -> usize {
        self.sum(ServerCore::live_contexts)
    }

    pub fn live_questions(&self) -> usize {
        self.sum(ServerCore::live_questions)
    }

    pub fn armed_timers(&self) -> usize {
        self.sum(ServerCore::armed_timers)
    }

    pub fn live_client(&self) -> usize {
        self.sum(|core| core.transactions().live_client())
    }

    pub fn live_server(&self) -> usize {
        self.sum(|core| core.transactions().live_server())
    }

    pub fn poll_push(&mut self) -> Option<(QuestionKey, Push)> {
        let mut asked = self.cores.iter_mut().enumerate();
        let (core, (key, push)) = asked.find_map(|(at, core)| Some((at, core.poll_push()?)))?;
        self.pushes.push((key, core));
        Some((key, push))
    }

    pub fn push_sent(&mut self, now: Instant, key: QuestionKey, result: Result<(), PushError>) {
        let asked = self.pushes.iter().position(|(asked, _)| *asked == key);
        let core = asked.map_or(0, |at| self.pushes.remove(at).1);
        self.cores[core].push_sent(now, key, result);
        self.carry(now);
    }

    pub fn poll_call_record(&mut self) -> Option<CallRecord> {
        self.cores.iter_mut().find_map(ServerCore::poll_call_record)
    }
}

impl From<ServerCore> for Machine {
    fn from(core: ServerCore) -> Machine {
        Machine::new(vec![core])
    }
}

impl Deref for Machine {
    type Target = ServerCore;

    fn deref(&self) -> &ServerCore {
        &self.cores[0]
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut ServerCore {
        &mut self.cores[0]
    }
}

impl Core for Machine {
    fn receive(&mut self, now: Instant, received: Received) {
        let core = self.core_for(&received);
        self.cores[core].receive(now, received);
        self.carry(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        let sender = match &event {
            FlowEvent::SendFailed { token, .. } | FlowEvent::Ready { token, .. } => {
                Some(ServerCore::shard_of(token.0).unwrap_or(0))
            }
            _ => None,
        };
        for (index, core) in self.cores.iter_mut().enumerate() {
            if sender.is_none_or(|sender| sender == index) {
                core.flow_event(now, event.clone());
            }
        }
        self.carry(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.cores[ServerCore::shard_of(answer.key.0).unwrap_or(0)].resolved(now, answer);
        self.carry(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.cores.iter_mut().for_each(|core| core.handle_timeout(now));
        self.carry(now);
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
        self.cores.iter_mut().for_each(|core| core.backlog(now, backlog));
    }
}
