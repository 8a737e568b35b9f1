//! Bindings in a table in memory.

use std::sync::Arc;
use std::time::Instant;

use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};

use super::{Answer, Binding, Bindings, Question, StoreError, Version};
use crate::AddressOfRecord;

/// A location store in memory. Bindings leave it when they end.
///
/// It does no I/O and reads no clock: whoever owns it calls [`handle_timeout`](MemoryLocation::handle_timeout) when
/// [`poll_timeout`](MemoryLocation::poll_timeout) says so. Without that, what has ended stays until it is asked for.
///
/// ```
/// use sip_server::location::{Answer, MemoryLocation, Question};
/// use sip_server::AddressOfRecord;
/// let mut store = MemoryLocation::new(1000);
/// let aor = AddressOfRecord::new(&"sip:alice@example.com".parse()?, "example.com").unwrap();
/// let Answer::Found(bindings) = store.answer(std::time::Instant::now(), Question::Lookup { aor }) else { panic!() };
/// assert!(bindings.list.is_empty());
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Debug)]
pub struct MemoryLocation {
    entries: Sharded<AddressOfRecord, Entry>,
    timers: Timers<AddressOfRecord>,
    /// Counts all changes, so that an address-of-record that left and came back has no version it had before.
    changes: u64,
    bindings: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    bindings: Bindings,
    timer: Option<TimerId>,
}

impl MemoryLocation {
    /// An empty table with room for `limit` bindings.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { entries: Sharded::new(), timers: Timers::new([]), changes: 0, bindings: 0, limit }
    }

    /// Answers a question at once.
    pub fn answer(&mut self, now: Instant, question: Question) -> Answer {
        match question {
            Question::Lookup { aor } => Answer::Found(self.current(&aor)),
            Question::Update { aor, expected, bindings } => {
                let current = self.current(&aor);
                if current.version != expected {
                    return Answer::Conflict(current);
                }
                let total = self.bindings.saturating_sub(current.list.len()).saturating_add(bindings.len());
                if total > self.limit && bindings.len() > current.list.len() {
                    return Answer::Failed(StoreError::Full);
                }
                self.replace(now, aor, bindings);
                Answer::Updated
            }
        }
    }

    fn current(&self, aor: &AddressOfRecord) -> Bindings {
        self.entries.get(aor).map_or_else(Bindings::none, |entry| entry.bindings.clone())
    }

    fn replace(&mut self, now: Instant, aor: AddressOfRecord, list: Arc<[Binding]>) {
        if let Some(old) = self.entries.remove(&aor) {
            self.bindings = self.bindings.saturating_sub(old.bindings.list.len());
            if let Some(timer) = old.timer {
                self.timers.cancel(timer);
            }
        }
        let Some(first) = list.iter().map(|binding| binding.expires_at).min() else { return };
        self.bindings = self.bindings.saturating_add(list.len());
        self.changes = self.changes.saturating_add(1);
        let timer = Some(self.timers.arm(now, first.saturating_duration_since(now), aor.clone()));
        let bindings = Bindings { version: Version(self.changes), list };
        self.entries.insert(aor, Entry { bindings, timer });
    }

    /// Removes what has ended by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(aor) = self.timers.pop(now) {
            let Some(entry) = self.entries.get_mut(&aor) else { continue };
            entry.timer = None;
            let live =
                entry.bindings.list.iter().filter(|binding| binding.expires_at > now).cloned().collect();
            self.replace(now, aor, live);
        }
    }

    /// When the next binding ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How many bindings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn aor(user: &str) -> AddressOfRecord {
        AddressOfRecord::new(&format!("sip:{user}@example.com").parse().unwrap(), "example.com").unwrap()
    }

    fn binding(contact: &str, expires_at: Instant) -> Binding {
        Binding {
            contact: contact.parse().unwrap(),
            q: 1000,
            expires_at,
            call_id: "c".into(),
            cseq: 1,
            path: Arc::new([]),
            flow: None,
            outbound: None,
        }
    }

    fn update(aor: &AddressOfRecord, expected: Version, list: Vec<Binding>) -> Question {
        Question::Update { aor: aor.clone(), expected, bindings: list.into() }
    }

    fn found(store: &mut MemoryLocation, aor: &AddressOfRecord) -> Bindings {
        match store.answer(Instant::now(), Question::Lookup { aor: aor.clone() }) {
            Answer::Found(bindings) => bindings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_update_from_an_old_version_changes_nothing() {
        let (mut store, now, alice) = (MemoryLocation::new(10), Instant::now(), aor("alice"));
        let hour = now + Duration::from_secs(3600);
        assert!(matches!(
            store.answer(now, update(&alice, Version(0), vec![binding("sip:a@h1", hour)])),
            Answer::Updated
        ));
        let Answer::Conflict(current) =
            store.answer(now, update(&alice, Version(0), vec![binding("sip:a@h2", hour)]))
        else {
            panic!("the second of two writers that read the same version must lose")
        };
        assert_eq!(current.list[0].uri().host(), "h1");
        assert!(matches!(store.answer(now, update(&alice, current.version, vec![])), Answer::Updated));
        assert!(store.is_empty());
        assert_eq!(found(&mut store, &alice).version, Version(0));
    }

    #[test]
    fn bindings_end_each_at_its_time() {
        let (mut store, now, alice) = (MemoryLocation::new(10), Instant::now(), aor("alice"));
        let (minute, hour) = (now + Duration::from_secs(60), now + Duration::from_secs(3600));
        store.answer(
            now,
            update(&alice, Version(0), vec![binding("sip:a@h1", hour), binding("sip:a@h2", minute)]),
        );
        assert_eq!(store.poll_timeout(), Some(minute));
        store.handle_timeout(minute);
        assert_eq!((store.len(), store.poll_timeout()), (1, Some(hour)));
        assert_eq!(found(&mut store, &alice).list[0].uri().host(), "h1");
        store.handle_timeout(hour);
        assert_eq!((store.len(), store.poll_timeout()), (0, None));
    }

    #[test]
    fn a_full_store_still_lets_go_and_refresh() {
        let (mut store, now) = (MemoryLocation::new(1), Instant::now());
        let hour = now + Duration::from_secs(3600);
        store.answer(now, update(&aor("alice"), Version(0), vec![binding("sip:a@h", hour)]));
        let more = store.answer(now, update(&aor("bob"), Version(0), vec![binding("sip:b@h", hour)]));
        assert!(matches!(more, Answer::Failed(StoreError::Full)));
        let version = found(&mut store, &aor("alice")).version;
        let again = update(&aor("alice"), version, vec![binding("sip:a@h", hour)]);
        assert!(matches!(store.answer(now, again), Answer::Updated));
    }
}
