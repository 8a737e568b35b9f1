//! The calls of users that other cores of this server carry, as they have told.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use sip_dialog::packages::dialog_info::DialogEntry;

use crate::AddressOfRecord;

/// The calls of one user in one core, at one time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    pub(crate) live: Vec<DialogEntry>,
    pub(crate) talks: bool,
}

/// What others have told, by user and by core.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(HashMap<AddressOfRecord, BTreeMap<usize, Snapshot>>);

impl Elsewhere {
    pub(super) fn set(&mut self, user: &AddressOfRecord, core: usize, snapshot: Snapshot) {
        if !snapshot.live.is_empty() {
            self.0.entry(user.clone()).or_default().insert(core, snapshot);
        } else if let Some(cores) = self.0.get_mut(user) {
            cores.remove(&core);
            if cores.is_empty() {
                self.0.remove(user);
            }
        }
    }

    pub(super) fn forget(&mut self, user: &AddressOfRecord) -> bool {
        self.0.remove(user).is_some()
    }

    /// Their dialogs, as old as they are now.
    pub(super) fn of(&self, now: Instant, user: &AddressOfRecord) -> impl Iterator<Item = DialogEntry> {
        let cores = self.0.get(user).into_iter().flat_map(BTreeMap::values);
        cores.flat_map(move |snapshot| {
            let since = now.saturating_duration_since(snapshot.at).as_secs();
            snapshot.live.iter().map(move |entry| DialogEntry {
                duration: entry.duration.map(|duration| duration.saturating_add(since)),
                ..entry.clone()
            })
        })
    }

    pub(super) fn talks(&self, user: &AddressOfRecord) -> bool {
        self.0.get(user).is_some_and(|cores| cores.values().any(|snapshot| snapshot.talks))
    }
}
