//! Changes on their way to a durable store: the table in memory answers look-ups at once and takes a change when it is stored.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use sip_transaction::timers::TimerId;

use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::location::record::Record;
use crate::location::{Answer, Binding, MemoryLocation, Question, QuestionKey, StoreError, Version};

/// Changes that are to be stored in one go, in this order.
#[derive(Debug)]
#[must_use = "its changes wait until it is given back to `stored`"]
pub struct Batch {
    changes: Vec<(QuestionKey, Record)>,
}

impl Batch {
    /// The records to be stored.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.changes.iter().map(|(_, record)| record)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What is not stored yet.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// Not fetched yet.
    queue: VecDeque<(QuestionKey, Record)>,
    /// Addresses-of-record with a change under way, and the changes that wait for its outcome.
    busy: HashMap<AddressOfRecord, Vec<(Question, Waiting)>>,
    /// All changes, those that wait for others included.
    total: usize,
    /// Something was not stored in time, and nothing has been since: new changes are refused at once.
    stalled: bool,
    waker: Option<Waker>,
}

impl ServerCore {
    /// The next changes to be stored, at most `limit`; `None` when there are none. Give them back to
    /// [`stored`](ServerCore::stored). A change that is not stored within
    /// [`Limits::durable_timeout`](crate::Limits::durable_timeout) is answered 503.
    ///
    /// Only a core [`with_durable_location`](ServerCore::with_durable_location) has any.
    pub fn poll_unsaved(&mut self, limit: usize) -> Option<Batch> {
        let unsaved = self.unsaved.as_mut()?;
        let count = unsaved.queue.len().min(limit);
        (count > 0).then(|| Batch { changes: unsaved.queue.drain(..count).collect() })
    }

    /// Wakes `waker` when there are changes to be stored, once.
    pub fn wake_on_unsaved(&mut self, waker: Waker) {
        let Some(unsaved) = &mut self.unsaved else { return };
        if unsaved.queue.is_empty() {
            unsaved.waker = Some(waker);
        } else {
            waker.wake();
        }
    }

    /// What became of a batch: it is stored whole, or nothing of it.
    pub fn stored(&mut self, now: Instant, batch: Batch, result: Result<(), StoreError>) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.stalled = false;
        }
        for (key, record) in batch.changes {
            let waited = self.leave(record.aor());
            if result.is_ok()
                && let Some(table) = &mut self.store
            {
                table.apply(record);
            }
            if let Some((waiting, timer)) = self.waiting.remove(&key) {
                self.timers.cancel(timer);
                self.resume(now, waiting, result.map_or_else(Answer::Failed, |()| Answer::Updated));
            }
            for (question, waiting) in waited {
                self.ask(now, question, waiting);
            }
        }
        self.settle(now);
    }

    /// The table in memory, if the server has one.
    #[must_use]
    pub fn table(&self) -> Option<&MemoryLocation> {
        self.store.as_ref()
    }

    /// A change of an address-of-record is over; those that waited for that.
    fn leave(&mut self, aor: &str) -> Vec<(Question, Waiting)> {
        let Some(unsaved) = &mut self.unsaved else { return Vec::new() };
        let waited = unsaved.busy.remove(aor).unwrap_or_default();
        unsaved.total = unsaved.total.saturating_sub(1).saturating_sub(waited.len());
        waited
    }

    pub(super) fn store_durably(
        &mut self,
        now: Instant,
        (aor, expected, bindings): (AddressOfRecord, Version, Arc<[Binding]>),
        waiting: Waiting,
    ) {
        let (Some(unsaved), Some(table)) = (&mut self.unsaved, &mut self.store) else { return };
        if unsaved.stalled && unsaved.total > 0 || unsaved.total >= self.limits.questions {
            return self.resume(now, waiting, Answer::Failed(StoreError::Unavailable));
        }
        if let Some(waited) = unsaved.busy.get_mut(&aor) {
            waited.push((Question::Update { aor, expected, bindings }, waiting));
            unsaved.total = unsaved.total.saturating_add(1);
            return;
        }
        let record = match table.prepare(now, &aor, expected, &bindings) {
            Ok(record) => record,
            Err(answer) => return self.resume(now, waiting, answer),
        };
        unsaved.total = unsaved.total.saturating_add(1);
        unsaved.busy.insert(aor, Vec::new());
        let waker = unsaved.waker.take();
        let key = self.expect_answer(now, self.limits.durable_timeout, waiting);
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.queue.push_back((key, record));
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A change was not stored in time. If it is on its way to the disk it may still be, and the table will have it.
    pub(super) fn not_stored_in_time(&mut self, now: Instant, key: QuestionKey) {
        let Some(unsaved) = &mut self.unsaved else { return };
        unsaved.stalled = true;
        // They are in the order of their keys, and the first is the first that is late.
        let late = unsaved.queue.binary_search_by_key(&key, |(key, _)| *key);
        let waited = match late.ok().and_then(|at| unsaved.queue.remove(at)) {
            Some((_, record)) => self.leave(record.aor()),
            None => self.stop_waiting_behind(key),
        };
        for (_, waiting) in waited {
            self.resume(now, waiting, Answer::Failed(StoreError::Unavailable));
        }
    }

    /// The changes that wait for the outcome of one which is late.
    fn stop_waiting_behind(&mut self, key: QuestionKey) -> Vec<(Question, Waiting)> {
        let (Some(unsaved), Some((waiting, _))) = (&mut self.unsaved, self.waiting.get(&key)) else {
            return Vec::new();
        };
        let aor = match waiting {
            Waiting::Registration(_, registration) => registration.aor(),
            Waiting::FlowGone(_, aor) => aor,
            Waiting::Request(..)
            | Waiting::Ack(_)
            | Waiting::Target(..)
            | Waiting::Watched(_)
            | Waiting::Mail(_)
            | Waiting::Redirected(_)
            | Waiting::Refresh(_) => {
                return Vec::new();
            }
        };
        let waited = unsaved.busy.get_mut(aor).map(std::mem::take).unwrap_or_default();
        unsaved.total = unsaved.total.saturating_sub(waited.len());
        waited
    }

    pub(super) fn expect_answer(
        &mut self,
        now: Instant,
        patience: std::time::Duration,
        waiting: Waiting,
    ) -> QuestionKey {
        self.asked = self.asked.wrapping_add(1);
        let key = QuestionKey(self.asked);
        let timer: TimerId = self.timers.arm(now, patience, key);
        if let Waiting::Registration(tx, _) | Waiting::Request(tx, ..) = &waiting {
            self.waiting_for.insert(*tx, key);
        }
        self.waiting.insert(key, (waiting, timer));
        key
    }
}
