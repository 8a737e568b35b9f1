//! Watchers whose subscription ended before anybody had decided: `waiting` (RFC 3857 §4.7.1).
//!
//! The user is told of them, and can decide still: it holds when they come again.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use sip_dialog::packages::watcher_info::{Watcher as Row, WatcherEvent, WatcherStatus};

use crate::AddressOfRecord;

/// Seconds for which a watcher is remembered: who has been away for a week can still decide (RFC 3857 §4.7.1 speaks of days).
const PATIENCE: u32 = 7 * 24 * 3600;

/// Watchers of one user that are remembered; the oldest give way. Whoever may subscribe can fill it under one name alone.
const MAX_OF_USER: usize = 32;

/// Those of all users, some 200 octets each.
const MAX_ALL: usize = 100_000;

/// Who waits, by whom they wait for.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    of: HashMap<AddressOfRecord, Vec<Waiting>>,
    /// In the order in which their time ends.
    order: VecDeque<(u32, AddressOfRecord, Box<str>)>,
}

#[derive(Debug)]
struct Waiting {
    who: Box<str>,
    /// The second in which they subscribed, and that from which on they are forgotten.
    since: u32,
    until: u32,
}

impl WaitingRoom {
    /// Somebody waits from now on.
    pub(super) fn enter(&mut self, second: u32, aor: &AddressOfRecord, who: &str, since: u32) {
        self.leave(aor, who);
        if self.order.len() >= MAX_ALL
            && let Some((_, oldest, who)) = self.order.pop_front()
        {
            self.strike(&oldest, &who);
        }
        let until = second.saturating_add(PATIENCE);
        let all = self.of.entry(aor.clone()).or_default();
        if all.len() >= MAX_OF_USER {
            let gone = all.remove(0);
            self.order.retain(|(_, of, name)| of != aor || *name != gone.who);
        }
        all.push(Waiting { who: who.into(), since, until });
        self.order.push_back((until, aor.clone(), who.into()));
    }

    /// They came again, or somebody decided. Whether they waited.
    pub(super) fn leave(&mut self, aor: &AddressOfRecord, who: &str) -> bool {
        let waited = self.strike(aor, who);
        if waited {
            self.order.retain(|(_, of, name)| of != aor || **name != *who);
        }
        waited
    }

    fn strike(&mut self, aor: &AddressOfRecord, who: &str) -> bool {
        let Some(all) = self.of.get_mut(aor) else { return false };
        let before = all.len();
        all.retain(|one| *one.who != *who);
        let waited = all.len() < before;
        if all.is_empty() {
            self.of.remove(aor);
        }
        waited
    }

    /// Those who need wait no longer, by whom they waited for.
    pub(super) fn decided(&mut self, waits: impl Fn(&AddressOfRecord, &str) -> bool) -> Vec<AddressOfRecord> {
        let over: Vec<(AddressOfRecord, Box<str>)> = (self.order.iter())
            .filter(|(_, aor, who)| !waits(aor, who))
            .map(|(_, aor, who)| (aor.clone(), who.clone()))
            .collect();
        over.into_iter().filter(|(aor, who)| self.leave(aor, who)).map(|(aor, _)| aor).collect()
    }

    pub(super) fn next_end(&self) -> Option<u32> {
        self.order.front().map(|(until, ..)| *until)
    }

    /// Forgets those whose time is over; gives whom they waited for.
    pub(super) fn expire(&mut self, second: u32) -> Vec<AddressOfRecord> {
        let mut changed = Vec::new();
        while let Some((_, aor, who)) = self.order.front().filter(|(until, ..)| *until <= second).cloned() {
            self.order.pop_front();
            self.strike(&aor, &who);
            changed.push(aor);
        }
        changed
    }

    /// Rows of a document for the user.
    pub(super) fn rows(&self, second: u32, aor: &AddressOfRecord) -> impl Iterator<Item = Row> + '_ {
        self.of.get(aor).into_iter().flatten().map(move |one| {
            let mut hasher = DefaultHasher::new();
            (&one.who, one.since).hash(&mut hasher);
            Row {
                id: format!("x{:016x}", hasher.finish()),
                uri: format!("sip:{}", one.who),
                display_name: None,
                language: None,
                status: WatcherStatus::Waiting,
                event: WatcherEvent::Timeout,
                expiration: Some(one.until.saturating_sub(second).into()),
                duration_subscribed: Some(second.saturating_sub(one.since).into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_in_number_and_time() {
        let bob = AddressOfRecord::from_canonical("bob@example.com");
        let mut room = WaitingRoom::default();
        for n in 0..40 {
            room.enter(n, &bob, &format!("w{n}@example.com"), n);
        }
        let uris: Vec<String> = room.rows(40, &bob).map(|row| row.uri).collect();
        assert_eq!((uris.len(), uris[0].as_str()), (MAX_OF_USER, "sip:w8@example.com"));
        room.enter(41, &bob, "w8@example.com", 41);
        assert_eq!(room.rows(41, &bob).count(), MAX_OF_USER, "once each");
        assert!(room.leave(&bob, "w9@example.com") && !room.leave(&bob, "w9@example.com"));
        assert_eq!(room.next_end(), Some(10 + PATIENCE));
        assert_eq!(room.expire(39 + PATIENCE).len(), 30);
        assert_eq!(room.decided(|_, who| who != "w8@example.com"), [bob]);
        assert!(room.of.is_empty() && room.order.is_empty());
    }
}
