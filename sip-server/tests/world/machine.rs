//! The cores of a server under test: one, or several side by side with `SERVER_SHARDS=3`, which every test has to pass as well.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use sip_server::calls::{CallRecord, CallStatistics};
use sip_server::location::QuestionKey;
use sip_server::push::{Push, PushError};
use sip_server::{Config, ConfigError, Counters, ServerCore};
use sip_transaction::Tier;
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, Query, Received, Shards, Transmit};

/// It derefs to the core at home, which has all that is not shared out.
pub struct Machine {
    shards: Shards<ServerCore>,
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
        Machine { shards: Shards::new(cores).repeatable(), pushes: Vec::new() }
    }

    pub fn cores(&self) -> &[ServerCore] {
        self.shards.cores()
    }

    fn core(&mut self, at: usize) -> &mut ServerCore {
        self.shards.core_mut(at).unwrap()
    }

    /// All of them, as a server does.
    pub fn reconfigure(&mut self, config: Config, now: Instant) -> Result<Vec<&'static str>, ConfigError> {
        let later = self.core(0).reconfigure(config.clone(), now)?;
        let common = self.in_common();
        for at in 1..self.cores().len() {
            self.core(at).reconfigure(config.clone(), now)?;
            self.core(at).adopt(common.clone());
        }
        self.shards.with(0, now, |_| {});
        Ok(later)
    }

    pub fn call_statistics(&self) -> Option<CallStatistics> {
        let all = self.cores().iter().filter_map(ServerCore::call_statistics);
        all.reduce(|mut all, more| {
            all += more;
            all
        })
    }

    pub fn set_least_tier(&mut self, tier: Tier) {
        (0..self.cores().len()).for_each(|at| self.core(at).set_least_tier(tier));
    }

    fn sum(&self, f: impl Fn(&ServerCore) -> usize) -> usize {
        self.cores().iter().map(f).sum()
    }

    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        self.cores().iter().for_each(|core| all += core.counters());
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
        let mut cores = 0..self.cores().len();
        let (core, (key, push)) = cores.find_map(|at| Some((at, self.core(at).poll_push()?)))?;
        self.pushes.push((key, core));
        Some((key, push))
    }

    pub fn push_sent(&mut self, now: Instant, key: QuestionKey, result: Result<(), PushError>) {
        let asked = self.pushes.iter().position(|(asked, _)| *asked == key);
        let core = asked.map_or(0, |at| self.pushes.remove(at).1);
        self.shards.with(core, now, |core| core.push_sent(now, key, result));
    }

    pub fn poll_call_record(&mut self) -> Option<CallRecord> {
        (0..self.cores().len()).find_map(|at| self.core(at).poll_call_record())
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
        &self.cores()[0]
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut ServerCore {
        self.core(0)
    }
}

impl Core for Machine {
    fn receive(&mut self, now: Instant, received: Received) {
        self.shards.receive(now, received);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.shards.flow_event(now, event);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.shards.resolved(now, answer);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.shards.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shards.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.shards.poll_transmit()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.shards.poll_query()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.shards.poll_close()
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.shards.backlog(now, backlog);
    }
}
