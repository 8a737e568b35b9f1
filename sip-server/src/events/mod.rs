//! The event server: who watches whom, and what they are told (RFC 6665, RFC 3903, RFC 3856).
//!
//! ```text
//!   PUBLISH ──▶ Compositor ──┐                         ┌──▶ NOTIFY ──▶ watcher
//!                            ├──▶ Resource (document) ─┤
//!   REGISTER ─▶ location ────┘    of a user, a package └──▶ NOTIFY ──▶ watcher
//!                                        ▲
//!   SUBSCRIBE ──▶ may they? ─────────────┘
//! ```
//!
//! A resource is one user's state of one package. Its document is written once and shared by all who watch it. A change makes
//! its watchers due; they are notified one NOTIFY at a time each, and no more than
//! [`EventLimits::notifying`](crate::events::EventLimits::notifying) at a time in all.

mod alarms;
mod config;
mod dialog;
mod documents;
mod keep;
mod list;
mod notify;
mod partial;
mod publish;
pub mod record;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod subscribe;
mod waiting;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashTable;
use sip_dialog::Rates;
use sip_dialog::compositor::Compositor;
use sip_dialog::packages::dialog_info::DialogEntry;
use sip_transaction::ClientTx;
use sip_transaction::slab::{Key, Slab};
use sip_transaction::tables::Sharded;

pub use self::config::{EventConfig, EventLimits, Package, Permission, Permissions, Watcher};
use self::dialog::NotifierDialog;
use self::documents::Gone;
use self::keep::Unkept;
use self::list::List;
pub(crate) use self::list::{Listed, Members, list_within};
use self::partial::Partial;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteEvents;
pub use self::store::{EventStore, EventStoreError, Loading, MemoryEvents, WRITE_BEHIND, Writing};
pub(crate) use self::subscribe::Subscribe;
use self::waiting::WaitingRoom;
use crate::AddressOfRecord;
use crate::calls::{Change, UserCalls};
use crate::location::{Answer, Binding};
use crate::proxy::Layer;

/// After how long a registration is looked up again that nobody could tell of.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Dialogs that have ended, in one document: those of one INVITE, and some more.
const MAX_OVER: usize = 64;

/// All subscriptions and publications of a server.
#[derive(Debug)]
pub(crate) struct EventServer {
    config: EventConfig,
    started: Instant,
    compositor: Compositor,
    resources: Slab<Resource>,
    names: HashMap<(Package, AddressOfRecord), Key>,
    watchings: Slab<Watching>,
    /// Subscriptions by our tag.
    by_tag: HashTable<Key>,
    hasher: RandomState,
    notifying: Sharded<ClientTx, Key>,
    due: VecDeque<Key>,
    /// Subscriptions by the second in which they end. A refresh leaves its note where it is; it is moved when its time has come.
    ends: BTreeMap<u32, Vec<Key>>,
    /// Subscriptions that must not be notified before this moment.
    held: BTreeSet<(Instant, Key)>,
    /// Resources whose next contact ends at this moment.
    checks: BTreeSet<(Instant, Key)>,
    /// How many notes there are in `ends`.
    noted: usize,
    sources: HashMap<IpAddr, usize>,
    /// Whose registrations have to be looked up.
    wanted: VecDeque<AddressOfRecord>,
    /// What the store does not have yet, if there is one.
    unkept: Option<Box<Unkept>>,
    /// Watchers of presence whose subscription ended before anybody had decided.
    waiting: WaitingRoom,
    /// Subscriptions that came back, by Call-ID, while their SUBSCRIBE may still be sent again.
    /// Whose calls have to be told of by other cores from now on, or need not be any longer.
    watched: VecDeque<(AddressOfRecord, bool)>,
    twins: Option<(Instant, HashMap<Box<str>, Key>)>,
}

/// One user's state of one package.
#[derive(Debug)]
struct Resource {
    package: Package,
    aor: AddressOfRecord,
    watchings: Vec<Key>,
    registered: Registered,
    /// The document, unless each watcher gets one with a number of its own.
    document: Option<Document>,
    /// Contacts that the last change removed, for documents that tell of them.
    gone: Vec<Gone>,
    /// When the registration is looked up again.
    check: Option<Instant>,
    /// Their calls, and those that the last change ended.
    calls: Calls,
    /// Kept if somebody wants changes alone.
    partial: Option<Box<Partial>>,
}

/// What a NOTIFY brings.
#[derive(Debug)]
struct Shown {
    /// The type and the document.
    body: Option<(Cow<'static, str>, Bytes)>,
    etag: Option<u64>,
    /// The revision of the presence that the subscriber has after it.
    holds: Option<u32>,
    /// The places of the members of a list that it tells of.
    told: Vec<usize>,
}

/// What is known of the calls of a user.
#[derive(Debug, Default)]
struct Calls {
    /// When this was so.
    at: Option<Instant>,
    live: Vec<DialogEntry>,
    over: Vec<DialogEntry>,
    /// What stands here has been sent to somebody, as it is.
    told: bool,
    /// They talk to somebody.
    talks: bool,
}

/// What is known of the user's registration.
#[derive(Debug)]
enum Registered {
    /// It does not matter.
    Indifferent,
    /// The location service has been asked.
    Asked,
    /// These contacts.
    Known(Arc<[Binding]>),
}

/// A document that is the same for all who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Document {
    octets: Bytes,
    /// Equal for equal documents: the entity-tag of RFC 5839.
    etag: u64,
}

/// A subscription with the server.
#[derive(Debug)]
struct Watching {
    resource: Key,
    dialog: NotifierDialog,
    /// `user@domain`; `None` for strangers.
    who: Option<Box<str>>,
    source: Option<IpAddr>,
    /// The second in which it ends, since the start of the server.
    ends: u32,
    since: u32,
    /// The number of its last document, in packages that have such.
    version: u32,
    stage: Stage,
    end: Option<End>,
    /// There is something to be told.
    wanted: bool,
    /// It is in the queue of those who are due.
    queued: bool,
    /// A NOTIFY is under way.
    busy: bool,
    /// The next NOTIFY answers a SUBSCRIBE or tells of another stage: no rate holds it up.
    urgent: bool,
    /// It was pending once, and then allowed.
    approved: bool,
    pace: Option<Box<Pace>>,
    /// The condition of the last SUBSCRIBE (RFC 5839).
    condition: Option<Box<str>>,
    /// When it is looked at, to see what is due.
    alarm: Option<Instant>,
    /// The store does not have it as it is.
    unkept: bool,
    /// What the store has holds for NOTIFYs up to this CSeq.
    cseq_limit: u32,
    /// Its connection ended with a process before: the next SUBSCRIBE tells the way.
    lost: bool,
    /// They want changes of presence alone, and have this revision of it.
    partial: Option<Option<u32>>,
    /// It is for many users at once.
    list: Option<Box<List>>,
}

/// How often a subscriber wants to be told (RFC 6446).
#[derive(Debug)]
struct Pace {
    rates: Rates,
    /// What the SUBSCRIBE said, and the seconds granted then.
    event: Box<str>,
    granted: u32,
    last: Option<Instant>,
    /// When they must be told again.
    must_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has decided yet.
    Pending,
    /// Shown a state that says nothing.
    Polite,
    Active,
}

/// Why it ends (RFC 6665 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Timeout,
    Rejected,
}

impl End {
    const fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
        }
    }
}

impl EventServer {
    pub(crate) fn new(config: EventConfig, now: Instant) -> Self {
        Self {
            compositor: Compositor::new(config.publications.clone()),
            config,
            started: now,
            resources: Slab::new(),
            names: HashMap::new(),
            watchings: Slab::new(),
            by_tag: HashTable::new(),
            hasher: RandomState::new(),
            notifying: Sharded::new(),
            due: VecDeque::new(),
            ends: BTreeMap::new(),
            held: BTreeSet::new(),
            checks: BTreeSet::new(),
            noted: 0,
            sources: HashMap::new(),
            wanted: VecDeque::new(),
            unkept: None,
            waiting: WaitingRoom::default(),
            watched: VecDeque::new(),
            twins: None,
        }
    }

    /// Hands out what has to be kept, from now on.
    pub(crate) fn keeping(mut self, now: Instant, unix_time: Duration) -> Self {
        self.unkept = Some(Box::new(Unkept::new(now, unix_time)));
        self
    }

    /// Whether the server answers for this package.
    pub(crate) fn serves(&self, name: &str) -> Option<Package> {
        Package::of(name).filter(|package| self.config.packages.contains(package))
    }

    /// The packages that the server answers for, as Allow-Events has them.
    pub(crate) fn packages(&self) -> String {
        let names: Vec<&str> = self.config.packages.iter().map(|package| package.name()).collect();
        names.join(", ")
    }

    /// Subscriptions that live.
    pub(crate) fn subscriptions(&self) -> usize {
        self.watchings.len()
    }

    /// Publications that live.
    pub(crate) fn publications(&self) -> usize {
        self.compositor.len()
    }

    /// Whose registrations have to be looked up: give the answer to [`located`](EventServer::located).
    pub(crate) fn poll_wanted(&mut self) -> Option<AddressOfRecord> {
        self.wanted.pop_front()
    }

    /// The second of a moment, since the start; rounded up.
    fn second(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.started);
        let up = u64::from(since.subsec_nanos() > 0);
        u32::try_from(since.as_secs().saturating_add(up)).unwrap_or(u32::MAX)
    }

    // ---- resources -------------------------------------------------------------------------------------------

    fn resource(&mut self, now: Instant, package: Package, aor: &AddressOfRecord, layer: &Layer) -> Key {
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
    fn note_calls(&mut self, now: Instant, key: Key, layer: &Layer) {
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

    fn watches_calls_of(&self, aor: &AddressOfRecord) -> bool {
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
    fn refresh(&mut self, key: Key, first: bool) {
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

    fn queue(&mut self, key: Key) {
        if let Some(one) = self.watchings.get_mut(key)
            && !one.queued
            && !one.busy
        {
            one.queued = true;
            self.due.push_back(key);
        }
    }

    /// A resource that nobody watches is not kept: what was published lies in the compositor.
    fn tidy(&mut self, key: Key) {
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

    // ---- subscriptions ---------------------------------------------------------------------------------------

    fn hash(&self, tag: &str) -> u64 {
        self.hasher.hash_one(tag)
    }

    fn find(&self, tag: &str, call_id: &str, remote_tag: &str) -> Option<Key> {
        let is_it = |key: &Key| {
            self.watchings
                .get(*key)
                .is_some_and(|one| one.dialog.local_tag() == tag && one.dialog.is_of(call_id, remote_tag))
        };
        self.by_tag.find(self.hash(tag), is_it).copied()
    }

    fn insert(&mut self, watching: Watching) -> Key {
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
    fn forget(&mut self, key: Key) {
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
    fn begin_to_wait(&mut self, gone: &Watching) {
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

    /// Those on whom somebody has decided wait no longer.
    fn end_of_waiting(&mut self) {
        let permissions = &self.config.permissions;
        let waits = |aor: &AddressOfRecord, who: &str| {
            permissions.of(aor, &Watcher::Known(who)) == Permission::Confirm
        };
        for aor in self.waiting.decided(waits) {
            self.tell_of_watchers(Package::Presence, &aor);
        }
    }

    /// Who watches the presence of this user is another list now.
    fn tell_of_watchers(&mut self, package: Package, aor: &AddressOfRecord) {
        if package == Package::Presence
            && let Some(key) = self.names.get(&(Package::PresenceWatchers, aor.clone())).copied()
        {
            self.refresh(key, false);
        }
    }

    /// Works by another configuration from now on. Subscriptions and publications stay, bounds hold for new ones.
    pub(crate) fn reconfigure(&mut self, now: Instant, config: EventConfig, layer: &mut Layer) {
        self.compositor.set_limits(config.publications.clone());
        let permissions = config.permissions.clone();
        self.config = config;
        self.set_permissions(now, permissions, layer);
    }

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

    fn judge_again(&mut self, key: Key) {
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

    /// What is published about somebody is another state now.
    fn published(&mut self, aor: &str, package: &str) {
        let found = Package::of(package).and_then(|package| {
            let aor = AddressOfRecord::from_canonical(aor);
            self.names.get(&(package, aor)).copied()
        });
        if let Some(key) = found {
            self.refresh(key, false);
        }
    }
}
