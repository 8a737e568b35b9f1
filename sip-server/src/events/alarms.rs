//! When something is due: the end of a subscription, a NOTIFY that had to wait, a contact that ends. Whatever is over leaves nothing
//! behind, however often phones come and go.

use std::time::{Duration, Instant};

use sip_transaction::slab::Key;

use super::{End, EventServer};
use crate::proxy::Layer;

/// Notes of ends that came to nothing are swept out when they are more than the others and this many.
const WORTH_SWEEPING: usize = 1024;

impl EventServer {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let end = self.ends.first_key_value().map(|(second, _)| second);
        let end = end.copied().into_iter().chain(self.waiting.next_end()).min();
        let end = end.and_then(|second| self.started.checked_add(Duration::from_secs(second.into())));
        let held = self.held.first().map(|(at, _)| *at);
        let check = self.checks.first().map(|(at, _)| *at);
        let keep = self.unkept.as_ref().and_then(|unkept| unkept.poll_timeout());
        [end, held, check, keep, self.compositor.poll_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, layer: &mut Layer) {
        let elapsed = now.saturating_duration_since(self.started).as_secs();
        let second = u32::try_from(elapsed).unwrap_or(u32::MAX);
        self.end_subscriptions(second);
        for aor in self.waiting.expire(second) {
            self.tell_of_watchers(super::Package::Presence, &aor);
        }
        while let Some((at, key)) = self.held.first().copied().filter(|(at, _)| *at <= now) {
            self.held.remove(&(at, key));
            self.woken(now, key);
        }
        while let Some((at, key)) = self.checks.first().copied().filter(|(at, _)| *at <= now) {
            self.checks.remove(&(at, key));
            if let Some(resource) = self.resources.get_mut(key) {
                resource.check = None;
                self.wanted.push_back(resource.aor.clone());
            }
        }
        for (aor, package) in self.compositor.handle_timeout(now) {
            self.published(&aor, &package);
        }
        self.keep(now, false);
        self.pump(now, layer);
    }

    // ---- ends ------------------------------------------------------------------------------------------------

    /// A subscription ends in this second, if it is not refreshed.
    pub(super) fn note_end(&mut self, second: u32, key: Key) {
        self.ends.entry(second).or_default().push(key);
        self.noted = self.noted.saturating_add(1);
        if self.noted > self.watchings.len().saturating_mul(2).saturating_add(WORTH_SWEEPING) {
            self.sweep_ends();
        }
    }

    /// Who subscribes and goes in turn leaves notes behind: they must not become more than the subscriptions.
    fn sweep_ends(&mut self) {
        let mut noted = 0_usize;
        let watchings = &self.watchings;
        self.ends.retain(|second, keys| {
            keys.sort_unstable();
            keys.dedup();
            keys.retain(|key| watchings.get(*key).is_some_and(|one| one.ends == *second));
            keys.shrink_to_fit();
            noted = noted.saturating_add(keys.len());
            !keys.is_empty()
        });
        self.noted = noted;
    }

    fn end_subscriptions(&mut self, second: u32) {
        while let Some(due) = self.ends.first_entry().filter(|due| *due.key() <= second) {
            let keys = due.remove();
            self.noted = self.noted.saturating_sub(keys.len());
            for key in keys {
                let Some(one) = self.watchings.get_mut(key) else { continue };
                if one.ends > second {
                    let ends = one.ends;
                    self.note_end(ends, key);
                } else {
                    one.end = one.end.or(Some(End::Timeout));
                    (one.wanted, one.urgent) = (true, true);
                    self.queue(key);
                }
            }
        }
    }

    // ---- NOTIFYs that wait -----------------------------------------------------------------------------------

    /// Looks at this moment what is due for a subscription; earlier, if it is looked at earlier anyway.
    pub(super) fn look_at(&mut self, key: Key, at: Instant) {
        let Some(one) = self.watchings.get_mut(key) else { return };
        if one.alarm.is_some_and(|alarm| alarm <= at) {
            return;
        }
        if let Some(later) = one.alarm.replace(at) {
            self.held.remove(&(later, key));
        }
        self.held.insert((at, key));
    }

    /// RFC 6446 §6.2: who wants to be told at least so often is told what there is.
    fn woken(&mut self, now: Instant, key: Key) {
        let Some(one) = self.watchings.get_mut(key) else { return };
        one.alarm = None;
        let must = one.pace.as_mut().and_then(|pace| pace.must_at);
        if must.is_some_and(|must| must <= now) {
            (one.wanted, one.urgent) = (true, true);
        }
        if one.wanted {
            self.queue(key);
        }
        if let Some(must) = must.filter(|must| *must > now) {
            self.look_at(key, must);
        }
    }

    // ---- contacts --------------------------------------------------------------------------------------------

    /// Looks up the registration of a resource's user again at this moment, and no more at another.
    pub(super) fn look_up_at(&mut self, key: Key, at: Option<Instant>) {
        let Some(resource) = self.resources.get_mut(key) else { return };
        if resource.check == at {
            return;
        }
        if let Some(before) = std::mem::replace(&mut resource.check, at) {
            self.checks.remove(&(before, key));
        }
        if let Some(at) = at {
            self.checks.insert((at, key));
        }
    }
}
