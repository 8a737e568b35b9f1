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
mod decide;
mod dialog;
mod documents;
mod keep;
mod list;
mod notify;
mod partial;
mod publish;
pub mod record;
mod resource;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod subscribe;
mod waiting;
mod watching;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::RandomState;
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
use crate::location::Binding;
use crate::proxy::Layer;

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
    /// Whose calls have to be told of by other cores from now on, or need not be any longer.
    watched: VecDeque<(AddressOfRecord, bool)>,
    /// Subscriptions that came back, by Call-ID, while their SUBSCRIBE may still be sent again.
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

    /// Works by another configuration from now on. Subscriptions and publications stay, bounds hold for new ones.
    pub(crate) fn reconfigure(&mut self, now: Instant, config: EventConfig, layer: &mut Layer) {
        self.compositor.set_limits(config.publications.clone());
        let permissions = config.permissions.clone();
        self.config = config;
        self.set_permissions(now, permissions, layer);
    }
}
