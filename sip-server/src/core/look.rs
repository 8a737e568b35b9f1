//! What a server has done and holds, and what its owner tells it.

use std::net::IpAddr;
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_transaction::{Tier, Transactions};

use super::messages::Mailbox;
use super::{ServerCore, push};
use crate::Traffic;
use crate::calls::{CallLog, CallRecord, CallStatistics};
use crate::config::Counters;
use crate::location::MemoryLocation;
use crate::protection::ProtectionCounters;

impl ServerCore {
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

    /// Calls in numbers, if they are followed ([`Config::call_records`](crate::Config::call_records)).
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

    /// What the watch over sources has done, if there is one ([`Config::protection`](crate::Config::protection)).
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
}
