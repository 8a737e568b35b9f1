//! The calls by their dialogs (RFC 3261 §12): a peer names a dialog by three texts, which the call keeps already.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::dialog::DialogId;
use crate::event::CallKey;

/// The hash of each dialog's name, early or not, and the call that has it. Peers choose the names, so the hash is keyed.
#[derive(Debug, Default)]
pub(crate) struct DialogTable {
    state: RandomState,
    entries: HashTable<(u64, CallKey)>,
}

impl DialogTable {
    /// Takes note of a dialog of a call.
    pub(crate) fn insert(&mut self, id: &DialogId, call: CallKey) {
        let hash = self.state.hash_one(id);
        self.entries.insert_unique(hash, (hash, call), |(hash, _)| *hash);
    }

    /// Forgets a dialog of a call.
    pub(crate) fn remove(&mut self, id: &DialogId, call: CallKey) {
        let hash = self.state.hash_one(id);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| *entry == (hash, call)) {
            entry.remove();
        }
    }

    /// The call with this dialog, of those for which `has` says that they have it.
    pub(crate) fn find(&self, id: &DialogId, has: impl Fn(CallKey) -> bool) -> Option<CallKey> {
        let hash = self.state.hash_one(id);
        let found = self.entries.find(hash, |(other, call)| *other == hash && has(*call));
        found.map(|(_, call)| *call)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
