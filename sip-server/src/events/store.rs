//! Where subscriptions and publications outlive the process (RFC 6665 §4.2.1.4: the notifier keeps the state of a subscription).
//!
//! What changes is written behind, within [`WRITE_BEHIND`] and the time of one write. A refresh that a crash loses leaves the
//! subscription as it was before, which ends sooner; one that is lost whole is answered 481 when it is refreshed, and the phone
//! subscribes anew (RFC 6665 §4.1.2.2). A server that ends in order loses nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::record::{EventChange, EventKind, EventRecord};

/// After how long a change is handed to the store: changes within it go together.
pub const WRITE_BEHIND: Duration = Duration::from_millis(500);

/// Why a store cannot do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscriptions and publications cannot be kept in {place}: {why}")]
pub struct EventStoreError {
    /// The store.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

/// All that is kept, to be awaited.
pub type Loading = Pin<Box<dyn Future<Output = Result<Vec<EventRecord>, EventStoreError>> + Send + 'static>>;

/// The end of a write, to be awaited.
pub type Writing = Pin<Box<dyn Future<Output = Result<(), EventStoreError>> + Send + 'static>>;

/// Keeps subscriptions and publications. One write is under way at a time; one that failed is made again.
pub trait EventStore: Send + Sync + 'static {
    /// All that is kept.
    fn load(&self) -> Loading;

    /// Makes all of these changes, or none.
    fn write(&self, changes: Vec<EventChange>) -> Writing;
}

/// A store in memory: for tests and the simulator. Clones are the same store, so that one outlives a server.
#[derive(Clone, Debug, Default)]
pub struct MemoryEvents {
    records: Arc<Mutex<Records>>,
}

type Records = BTreeMap<(EventKind, Box<str>), EventRecord>;

impl MemoryEvents {
    /// A store that keeps nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All that is kept.
    #[must_use]
    pub fn records(&self) -> Vec<EventRecord> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes these changes.
    pub fn apply(&self, changes: Vec<EventChange>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                EventChange::Keep(record) => records.insert((record.kind, record.id.clone()), record),
                EventChange::Remove(kind, id) => records.remove(&(kind, id)),
            };
        }
    }
}

impl EventStore for MemoryEvents {
    fn load(&self) -> Loading {
        let records = self.records();
        Box::pin(async { Ok(records) })
    }

    fn write(&self, changes: Vec<EventChange>) -> Writing {
        self.apply(changes);
        Box::pin(async { Ok(()) })
    }
}
