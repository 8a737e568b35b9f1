//! What the server does for its trunks by itself: it asks gateways whether they are there (OPTIONS, RFC 3261 §11), and registers at
//! registrars (§10.2).
//!
//! ```text
//!          OPTIONS answered, `rises` times              REGISTER ──200──▶ registered ──before it ends──▶ REGISTER
//!   down ─────────────────────────────▶ up                 ├─401 407─▶ once more, with credentials
//!     ◀─────────────────────────────                       ├─423─────▶ once more, longer
//!      silent, no connection, 503: `falls` times           └─others──▶ after Retry-After, or longer each time
//! ```

mod check;
mod register;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::{Response, StatusCode, Uri};
use sip_transaction::ClientTx;
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};

use super::ServerCore;
use crate::calls::Seats;
use crate::routing::rules::{Check, TrunkRegistration};
use register::Registrant;

/// What a timer or a request of ours is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::core) enum Job {
    /// Whether this gateway of this trunk is there.
    Check(Arc<str>, String),
    /// The registration of this trunk.
    Register(Arc<str>),
}

/// What is done for the trunks of the rules in force.
#[derive(Debug)]
pub(super) struct Trunks {
    gateways: BTreeMap<Job, Watched>,
    registrants: BTreeMap<Job, Registrant>,
    running: Sharded<ClientTx, Job>,
    /// Calls that are out by trunks that are limited.
    pub(in crate::core) seats: BTreeMap<Arc<str>, Seats>,
    pub(super) timers: Timers<Job>,
    /// Gateways that are not there, as the core says that asks them.
    pub(in crate::core) down: Arc<BTreeSet<Job>>,
}

/// A gateway that is asked.
#[derive(Debug)]
struct Watched {
    uri: Uri,
    check: Check,
    up: bool,
    /// Answers in a row that say the opposite of `up`.
    against: u32,
    timer: Option<TimerId>,
}

/// How one trunk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrunkStatus {
    /// Its name.
    pub trunk: String,
    /// Gateways that are asked, and whether they are there.
    pub gateways: Vec<(String, bool)>,
    /// Whether it is registered; `None`: it does not register.
    pub registered: Option<bool>,
    /// Calls that are out by it, if their number is limited.
    pub calls: Option<usize>,
}

/// How a request of ours ended.
pub(super) enum Ended {
    Answered(Box<Response>),
    Failed,
}

impl Trunks {
    pub(super) fn new() -> Self {
        Self {
            gateways: BTreeMap::new(),
            registrants: BTreeMap::new(),
            running: Sharded::new(),
            seats: BTreeMap::new(),
            timers: Timers::new([]),
            down: Arc::default(),
        }
    }

    /// Whether a gateway may be called: one that nobody asks may.
    pub(super) fn is_up(&self, trunk: &str, gateway: &Uri) -> bool {
        if self.gateways.is_empty() && self.down.is_empty() {
            return true;
        }
        let job = Job::Check(trunk.into(), gateway.to_string());
        !self.down.contains(&job) && self.gateways.get(&job).is_none_or(|watched| watched.up)
    }

    /// Gateways that are asked here and are not there.
    pub(in crate::core) fn all_down(&self) -> Arc<BTreeSet<Job>> {
        let down = self.gateways.iter().filter(|(_, watched)| !watched.up);
        Arc::new(down.map(|(job, _)| job.clone()).collect())
    }

    /// The request of ours that has ended so, if it is one.
    pub(super) fn ended(&mut self, client: ClientTx, status: Option<StatusCode>) -> Option<OwnRequest> {
        if self.running.is_empty() || status.is_some_and(|status| status.is_provisional()) {
            return None;
        }
        self.running.remove(&client).map(OwnRequest)
    }
}

/// Which request of ours has ended.
pub(super) struct OwnRequest(Job);

impl ServerCore {
    /// How the trunks stand that are asked or that register.
    #[must_use]
    pub fn trunks(&self) -> Vec<TrunkStatus> {
        let mut all: BTreeMap<&str, TrunkStatus> = BTreeMap::new();
        let entry = |name: &Arc<str>| TrunkStatus {
            trunk: name.to_string(),
            gateways: Vec::new(),
            registered: None,
            calls: None,
        };
        for (job, watched) in &self.trunks.gateways {
            if let Job::Check(trunk, uri) = job {
                all.entry(trunk).or_insert_with(|| entry(trunk)).gateways.push((uri.clone(), watched.up));
            }
        }
        for (job, registrant) in &self.trunks.registrants {
            if let Job::Register(trunk) = job {
                all.entry(trunk).or_insert_with(|| entry(trunk)).registered =
                    Some(registrant.is_registered());
            }
        }
        for (name, seats) in &self.trunks.seats {
            all.entry(name).or_insert_with(|| entry(name)).calls = Some(seats.taken());
        }
        all.into_values().collect()
    }

    /// Takes up what the rules in force want done, and keeps the state of what is done already.
    pub(super) fn attend_trunks(&mut self, now: Instant) {
        if self.is_aside() {
            return;
        }
        let set = self.rules.set().clone();
        let (mut gateways, mut registrants) = (BTreeMap::new(), BTreeMap::new());
        let mut seats = BTreeMap::new();
        for (name, trunk) in &set.trunks {
            let name: Arc<str> = name.as_str().into();
            if trunk.max_calls.is_some() {
                // Those of before are counted still.
                seats.insert(name.clone(), self.trunks.seats.remove(&name).unwrap_or_default());
            }
            for gateway in trunk.gateways.iter().filter(|_| trunk.check.is_some()) {
                let Some(check) = trunk.check else { continue };
                let job = Job::Check(name.clone(), gateway.uri.to_string());
                let watched = match self.trunks.gateways.remove(&job) {
                    Some(watched) => Watched { check, ..watched },
                    None => {
                        let timer =
                            self.trunks.arm(now, self.layer.transactions.random(), check.interval, &job);
                        Watched { uri: gateway.uri.clone(), check, up: true, against: 0, timer }
                    }
                };
                gateways.insert(job, watched);
            }
            if let Some(wanted) = &trunk.registration {
                let job = Job::Register(name.clone());
                let kept =
                    self.trunks.registrants.remove(&job).filter(|old| old.is_for(wanted, &trunk.identity));
                let registrant =
                    kept.unwrap_or_else(|| self.new_registrant(now, &job, wanted.clone(), trunk));
                registrants.insert(job, registrant);
            }
        }
        self.trunks.seats = seats;
        let old = (
            std::mem::replace(&mut self.trunks.gateways, gateways),
            std::mem::replace(&mut self.trunks.registrants, registrants),
        );
        let timers = old.0.into_values().filter_map(|watched| watched.timer);
        for timer in timers.chain(old.1.into_values().filter_map(|registrant| registrant.timer)) {
            self.trunks.timers.cancel(timer);
        }
    }

    fn new_registrant(
        &mut self,
        now: Instant,
        job: &Job,
        wanted: Arc<TrunkRegistration>,
        trunk: &crate::routing::rules::Trunk,
    ) -> Registrant {
        let transactions = &mut self.layer.transactions;
        let (call_id, tag) = (transactions.token(), transactions.token());
        let target = trunk.registrar(&wanted.registrar);
        let mut registrant = Registrant::new(wanted, trunk.identity.clone(), target, call_id, tag);
        registrant.timer = self.trunks.arm(now, transactions.random(), START, job);
        registrant
    }

    /// The timers of checks and registrations.
    pub(super) fn trunk_timeouts(&mut self, now: Instant) {
        while let Some(job) = self.trunks.timers.pop(now) {
            match &job {
                Job::Check(..) => self.ask_gateway(now, job),
                Job::Register(_) => self.send_register(now, job),
            }
        }
    }

    /// The program is about to end: gives up the registrations at registrars of trunks, which are not refreshed any more. Drive the core
    /// on until [`are_trunks_leaving`](Self::are_trunks_leaving) says no, or as long as there is time.
    pub fn leave_trunks(&mut self, now: Instant) {
        let jobs: Vec<Job> = self.trunks.registrants.keys().cloned().collect();
        for job in jobs {
            self.deregister(now, job);
        }
        self.settle(now);
    }

    /// Whether a registrar has not answered yet that a registration is given up.
    #[must_use]
    pub fn are_trunks_leaving(&self) -> bool {
        self.trunks.registrants.values().any(Registrant::is_leaving)
    }

    /// A request of ours has ended.
    pub(super) fn trunk_answered(&mut self, now: Instant, own: OwnRequest, ended: Ended) {
        match &own.0 {
            Job::Check(..) => self.gateway_answered(now, own.0, &ended),
            Job::Register(_) => self.register_answered(now, own.0, ended),
        }
    }
}

/// Registrations begin within this time after the start, not all at the same moment.
const START: Duration = Duration::from_secs(2);

impl Trunks {
    /// At a moment by chance within `time`: many gateways are not asked at once.
    fn arm(&mut self, now: Instant, chance: u64, time: Duration, job: &Job) -> Option<TimerId> {
        let thousandths = u32::try_from(chance % 1000).unwrap_or(0);
        Some(self.timers.arm(now, (time / 1000).saturating_mul(thousandths), job.clone()))
    }
}
