//! Resources: one user's state of one package, written anew when what it tells of has changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_transaction::slab::Key;

use super::documents::Gone;
use super::{Calls, EventServer, MAX_OVER, Package, Registered, Resource, Stage};
use crate::AddressOfRecord;
use crate::calls::{Change, UserCalls};
use crate::location::{Answer, Binding};
use crate::proxy::Layer;

/// After how long a registration is looked up again that nobody could tell of.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl EventServer {
    pub(super) fn resource(
        &mut self,
        now: Instant,
        package: Package,
        aor: &AddressOfRecord,
        layer: &Layer,
    ) -> Key {
        if let Some(key) = self.names.get(&(package, aor.clone())) {
            return *key;
        }
        let located = match package {
            Package::Presence => self.config.from_registrations,
            Package::Registrations => true,
            _ => false,
        };
        if located {
            self.wanted.push_back(aor.clone());
        }
        let key = self.resources.insert(Resource {
            package,
            aor: aor.clone(),
            watchings: Vec::new(),
            registered: if located { Registered::Asked } else { Registered::Indifferent },
            document: None,
            gone: Vec::new(),
            check: None,
            calls: Calls::default(),
            partial: None,
        });
        self.note_calls(now, key, layer);
        if Package::WATCHED.contains(&package) && layer.lines.is_some() {
            self.watched.push_back((aor.clone(), true));
        }
        self.names.insert((package, aor.clone()), key);
        if !located {
            self.write(key);
        }
        key
    }

    /// What the calls of the user are now.
    pub(super) fn note_calls(&mut self, now: Instant, key: Key, layer: &Layer) {
        let (Some(resource), Some(lines)) = (self.resources.get_mut(key), &layer.lines) else { return };
        match resource.package {
            Package::Dialogs => resource.calls.live = lines.of(now, &resource.aor),
            Package::Presence if self.config.from_calls => resource.calls.talks = lines.talks(&resource.aor),
            _ => return,
        }
        resource.calls.at = Some(now);
    }

    /// The calls of users are others now.
    pub(crate) fn calls_changed(&mut self, now: Instant, layer: &mut Layer) {
        let mut any = false;
        while let Some(Change { user, ended }) = layer.lines.as_mut().and_then(UserCalls::poll_change) {
            let mut is_watched = false;
            for package in Package::WATCHED {
                let Some(key) = self.names.get(&(package, user.clone())).copied() else { continue };
                is_watched = true;
                let talked = self.resources.get(key).is_some_and(|resource| resource.calls.talks);
                self.note_calls(now, key, layer);
                let Some(resource) = self.resources.get_mut(key) else { continue };
                if package == Package::Presence {
                    if talked != resource.calls.talks {
                        self.refresh(key, false);
                        any = true;
                    }
                    continue;
                }
                // Those that ended at the same time are told of together, and once.
                if resource.calls.told {
                    resource.calls.over.clear();
                    resource.calls.told = false;
                }
                if let Some(ended) = &ended
                    && resource.calls.over.len() < MAX_OVER
                {
                    resource.calls.over.push((**ended).clone());
                }
                self.refresh(key, false);
                any = true;
            }
            if !is_watched && layer.lines.as_mut().is_some_and(|lines| lines.forget_elsewhere(&user)) {
                self.watched.push_back((user, false));
            }
        }
        if any {
            self.pump(now, layer);
        }
    }

    pub(super) fn watches_calls_of(&self, aor: &AddressOfRecord) -> bool {
        Package::WATCHED.into_iter().any(|package| self.names.contains_key(&(package, aor.clone())))
    }

    /// Of whose calls other cores have to tell from now on (`true`), or need not any longer.
    pub(crate) fn poll_watched(&mut self) -> Option<(AddressOfRecord, bool)> {
        self.watched.pop_front()
    }

    /// Other cores have to be told anew of whose calls they have to tell.
    pub(crate) fn watch_again(&mut self) {
        let watched = self.names.keys().filter(|(package, _)| Package::WATCHED.contains(package));
        self.watched.extend(watched.map(|(_, aor)| (aor.clone(), true)));
    }

    /// Who is registered where has changed, or may have.
    pub(crate) fn moved(&mut self, aor: &AddressOfRecord) {
        let watched = |package| self.names.contains_key(&(package, aor.clone()));
        if [Package::Presence, Package::Registrations].into_iter().any(watched) {
            self.wanted.push_back(aor.clone());
        }
    }

    /// What the location service says. After a failure what was known stays.
    pub(crate) fn located(&mut self, now: Instant, aor: &AddressOfRecord, answer: Answer, layer: &mut Layer) {
        for package in [Package::Presence, Package::Registrations] {
            let Some(key) = self.names.get(&(package, aor.clone())).copied() else { continue };
            let Some(resource) = self.resources.get_mut(key) else { continue };
            let live = |bindings: &[Binding]| -> Arc<[Binding]> {
                bindings.iter().filter(|binding| binding.expires_at > now).cloned().collect()
            };
            let mut again = None;
            let bindings = match (&answer, &resource.registered) {
                (_, Registered::Indifferent) => continue,
                (Answer::Found(bindings) | Answer::Conflict(bindings), _) => live(&bindings.list),
                (_, Registered::Known(known)) => live(known),
                (_, Registered::Asked) => {
                    // After a start everybody is looked up at once, which may be too much.
                    again = now.checked_add(LOOK_AGAIN);
                    Arc::from([])
                }
            };
            let again = bindings.iter().map(|binding| binding.expires_at).min().or(again);
            if package == Package::Registrations
                && let Registered::Known(before) = &resource.registered
            {
                let gone = Gone::between(now, before, &bindings);
                // A refresh is nothing to tell of.
                if gone.is_empty() && before.len() == bindings.len() {
                    resource.registered = Registered::Known(bindings);
                    self.look_up_at(key, again);
                    continue;
                }
                resource.gone = gone;
            }
            let asked = matches!(resource.registered, Registered::Asked);
            resource.registered = Registered::Known(bindings);
            self.look_up_at(key, again);
            self.refresh(key, asked);
        }
        self.pump(now, layer);
    }

    /// Writes the document anew and makes the watchers due if it is another one now.
    pub(super) fn refresh(&mut self, key: Key, first: bool) {
        let changed = self.write(key);
        let Some(resource) = self.resources.get(key) else { return };
        for watching in resource.watchings.clone() {
            let Some(one) = self.watchings.get_mut(watching) else { continue };
            if let Some(list) = &mut one.list {
                if (changed || first) && list.note(key) {
                    one.wanted = true;
                    self.queue(watching);
                }
                continue;
            }
            // Those who may not see it have nothing new, and those who waited for it have.
            if changed && one.stage == Stage::Active {
                one.wanted = true;
            }
            if one.wanted && (changed || first) {
                self.queue(watching);
            }
        }
    }

    /// What is published about somebody is another state now.
    pub(super) fn published(&mut self, aor: &str, package: &str) {
        let found = Package::of(package).and_then(|package| {
            let aor = AddressOfRecord::from_canonical(aor);
            self.names.get(&(package, aor)).copied()
        });
        if let Some(key) = found {
            self.refresh(key, false);
        }
    }

    /// A resource that nobody watches is not kept: what was published lies in the compositor.
    pub(super) fn tidy(&mut self, key: Key) {
        if self.resources.get(key).is_some_and(|resource| resource.watchings.is_empty())
            && let Some(resource) = self.resources.remove(key)
        {
            if let Some(check) = resource.check {
                self.checks.remove(&(check, key));
            }
            let name = (resource.package, resource.aor);
            // A list as a whole is found by no name.
            if self.names.get(&name) == Some(&key) {
                self.names.remove(&name);
                if !self.watches_calls_of(&name.1) {
                    self.watched.push_back((name.1, false));
                }
            }
        }
    }
}
