//! Subscriptions with the server: found by our tag, made due, and forgotten (RFC 6665 §4.2).

use std::hash::BuildHasher;

use sip_transaction::slab::Key;

use super::{End, EventServer, Package, Stage, Watching};

impl EventServer {
    pub(super) fn hash(&self, tag: &str) -> u64 {
        self.hasher.hash_one(tag)
    }

    pub(super) fn find(&self, tag: &str, call_id: &str, remote_tag: &str) -> Option<Key> {
        let is_it = |key: &Key| {
            self.watchings
                .get(*key)
                .is_some_and(|one| one.dialog.local_tag() == tag && one.dialog.is_of(call_id, remote_tag))
        };
        self.by_tag.find(self.hash(tag), is_it).copied()
    }

    pub(super) fn insert(&mut self, watching: Watching) -> Key {
        let (hash, resource, source) =
            (self.hash(watching.dialog.local_tag()), watching.resource, watching.source);
        let ends = watching.ends;
        let key = self.watchings.insert(watching);
        let (watchings, hasher) = (&self.watchings, &self.hasher);
        self.by_tag.insert_unique(hash, key, |key| {
            watchings.get(*key).map_or(0, |one| hasher.hash_one(one.dialog.local_tag()))
        });
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.watchings.push(key);
        }
        if let Some(source) = source {
            let count = self.sources.entry(source).or_default();
            *count = count.saturating_add(1);
        }
        self.note_end(ends, key);
        self.unkept(key);
        self.join(key);
        key
    }

    /// Forgets a subscription.
    pub(super) fn forget(&mut self, key: Key) {
        let Some(tag) = self.watchings.get(key).map(|one| one.dialog.local_tag().to_owned()) else { return };
        if let Ok(entry) = self.by_tag.find_entry(self.hash(&tag), |other| *other == key) {
            entry.remove();
        }
        let Some(gone) = self.watchings.remove(key) else { return };
        if let Some(alarm) = gone.alarm {
            self.held.remove(&(alarm, key));
        }
        self.keep_no_more(&gone);
        self.part(key, &gone);
        if let Some(source) = gone.source
            && let Some(count) = self.sources.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        self.begin_to_wait(&gone);
        if let Some(resource) = self.resources.get_mut(gone.resource) {
            resource.watchings.retain(|other| *other != key);
            let (package, aor) = (resource.package, resource.aor.clone());
            self.tell_of_watchers(package, &aor);
        }
        self.tidy(gone.resource);
    }

    /// A subscription is over. If nobody has decided on it, it may still be decided.
    pub(super) fn begin_to_wait(&mut self, gone: &Watching) {
        let (Some(who), Some(End::Timeout)) = (&gone.who, gone.end) else { return };
        let pending = |stage: Option<Stage>| stage == Some(Stage::Pending);
        let of: Vec<Key> = match &gone.list {
            Some(list) => list.resources().filter(|key| pending(list.stage_of(*key))).collect(),
            None if pending(Some(gone.stage)) => vec![gone.resource],
            None => Vec::new(),
        };
        for key in of {
            let Some(resource) = self.resources.get(key) else { continue };
            if resource.package == Package::Presence {
                let aor = resource.aor.clone();
                self.waiting.enter(gone.ends, &aor, who, gone.since);
                self.tell_of_watchers(Package::Presence, &aor);
            }
        }
    }

    pub(super) fn queue(&mut self, key: Key) {
        if let Some(one) = self.watchings.get_mut(key)
            && !one.queued
            && !one.busy
        {
            one.queued = true;
            self.due.push_back(key);
        }
    }
}
