//! Who may watch: asked when it changes, for those who watch already and for those who wait (RFC 3857 §4.7.1).

use std::time::Instant;

use sip_transaction::slab::Key;

use super::{End, EventServer, Package, Permission, Permissions, Stage, Watcher};
use crate::AddressOfRecord;
use crate::proxy::Layer;

impl EventServer {
    /// Says anew who may watch: subscriptions that this allows or forbids learn it at once.
    pub(crate) fn set_permissions(&mut self, now: Instant, permissions: Permissions, layer: &mut Layer) {
        self.config.permissions = permissions;
        let all: Vec<Key> = self.names.values().copied().collect();
        for resource in all {
            self.judge_again(resource);
        }
        self.end_of_waiting();
        self.pump(now, layer);
    }

    /// Says what `watcher` may see of `user`.
    pub(crate) fn permit(
        &mut self,
        now: Instant,
        user: &AddressOfRecord,
        watcher: &str,
        permission: Option<Permission>,
        layer: &mut Layer,
    ) {
        self.config.permissions.set(user, watcher, permission);
        let now_is = self.config.permissions.of(user, &Watcher::Known(watcher));
        if now_is != Permission::Confirm && self.waiting.leave(user, watcher) {
            self.tell_of_watchers(Package::Presence, user);
        }
        for package in Package::WATCHED {
            if let Some(key) = self.names.get(&(package, user.clone())).copied() {
                self.judge_again(key);
            }
        }
        self.pump(now, layer);
    }

    pub(super) fn judge_again(&mut self, key: Key) {
        let Some(resource) = self.resources.get(key) else { return };
        if !Package::WATCHED.contains(&resource.package) {
            return;
        }
        let package = resource.package;
        let (aor, all) = (resource.aor.clone(), resource.watchings.clone());
        for watching in all {
            let Some(one) = self.watchings.get_mut(watching) else { continue };
            let who = one.who.as_deref().map_or(Watcher::Stranger, Watcher::Known);
            if let Some(list) = &mut one.list {
                if list.judge(key, self.config.permissions.of(&aor, &who)) {
                    one.wanted = true;
                    self.queue(watching);
                }
                continue;
            }
            let stage = match self.config.permissions.of(&aor, &who) {
                Permission::Block => {
                    one.end = one.end.or(Some(End::Rejected));
                    (one.wanted, one.urgent) = (true, true);
                    self.queue(watching);
                    continue;
                }
                Permission::Allow => Stage::Active,
                Permission::PoliteBlock => Stage::Polite,
                Permission::Confirm => Stage::Pending,
            };
            if one.stage != stage {
                one.approved = one.stage == Stage::Pending;
                (one.stage, one.wanted, one.urgent) = (stage, true, true);
                self.queue(watching);
            }
        }
        self.tell_of_watchers(package, &aor);
    }

    /// Those on whom somebody has decided wait no longer.
    pub(super) fn end_of_waiting(&mut self) {
        let permissions = &self.config.permissions;
        let waits = |aor: &AddressOfRecord, who: &str| {
            permissions.of(aor, &Watcher::Known(who)) == Permission::Confirm
        };
        for aor in self.waiting.decided(waits) {
            self.tell_of_watchers(Package::Presence, &aor);
        }
    }

    /// Who watches the presence of this user is another list now.
    pub(super) fn tell_of_watchers(&mut self, package: Package, aor: &AddressOfRecord) {
        if package == Package::Presence
            && let Some(key) = self.names.get(&(Package::PresenceWatchers, aor.clone())).copied()
        {
            self.refresh(key, false);
        }
    }
}
