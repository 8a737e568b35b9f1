//! `application/watcherinfo+xml`: who watches somebody, and whether they may (RFC 3858), the body of the packages
//! `presence.winfo` and of any other with `.winfo` (RFC 3857).
//!
//! A notifier numbers its documents; a subscriber puts them into a [`WatcherTable`].

use std::collections::BTreeMap;

use super::dialog_info::words;
use super::xml::{self, Element, Writer};
use super::{Completeness, DocumentError, MAX_ROWS, Update, update};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:watcherinfo";
const NAMESPACES: &[&str] = &[NAMESPACE];

words! {
    /// Where the subscription of a watcher stands (RFC 3857 §4.7.1).
    WatcherStatus {
        /// Nobody has decided yet.
        Pending "pending",
        /// The watcher is told.
        Active "active",
        /// It ended before anybody decided, and somebody still can.
        Waiting "waiting",
        /// It is over.
        Terminated "terminated",
    }
}

words! {
    /// What brought it there (RFC 3857 §4.7.1).
    WatcherEvent {
        /// A SUBSCRIBE came.
        Subscribe "subscribe",
        /// Somebody allowed it.
        Approved "approved",
        /// It was ended; the watcher shall subscribe anew at once.
        Deactivated "deactivated",
        /// It was ended; the watcher shall subscribe anew later.
        Probation "probation",
        /// Somebody refused it.
        Rejected "rejected",
        /// It was not refreshed.
        Timeout "timeout",
        /// Nobody decided in time.
        GiveUp "giveup",
        /// What it watched is gone.
        NoResource "noresource",
    }
}

/// A document (RFC 3858 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherInfo {
    /// Its number within the subscription.
    pub version: u32,
    /// Whether it holds everything.
    pub completeness: Completeness,
    /// The watchers, by what they watch.
    pub lists: Vec<WatcherList>,
}

/// The watchers of somebody (RFC 3858 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherList {
    /// Who is watched: a URI.
    pub resource: String,
    /// The package that is subscribed to, such as `presence`.
    pub package: String,
    /// The watchers.
    pub watchers: Vec<Watcher>,
}

/// A subscription of a watcher (RFC 3858 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// Names it within the subscription.
    pub id: String,
    /// Who watches.
    pub uri: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// The language of that name.
    pub language: Option<String>,
    /// Where it stands.
    pub status: WatcherStatus,
    /// What brought it there.
    pub event: WatcherEvent,
    /// Seconds that are left.
    pub expiration: Option<u64>,
    /// Seconds since the SUBSCRIBE.
    pub duration_subscribed: Option<u64>,
}

impl Watcher {
    /// A watcher of whom nothing else is known.
    pub fn new(id: &str, uri: &str, status: WatcherStatus, event: WatcherEvent) -> Self {
        Self {
            id: id.into(),
            uri: uri.into(),
            display_name: None,
            language: None,
            status,
            event,
            expiration: None,
            duration_subscribed: None,
        }
    }

    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "watcher", what };
        Ok(Self {
            id: element.owned("id").ok_or(bad("id"))?,
            uri: element.text().into(),
            display_name: element.owned("display-name"),
            language: element.owned("xml:lang"),
            status: element.attribute("status").and_then(WatcherStatus::parse).ok_or(bad("status"))?,
            event: element.attribute("event").and_then(WatcherEvent::parse).ok_or(bad("event"))?,
            expiration: element.number("expiration"),
            duration_subscribed: element.number("duration-subscribed"),
        })
    }

    fn write(&self, out: &mut Writer) {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let (expiration, duration) = (number(self.expiration), number(self.duration_subscribed));
        out.leaf(
            "watcher",
            &[
                ("id", Some(&self.id)),
                ("status", Some(self.status.as_str())),
                ("event", Some(self.event.as_str())),
                ("display-name", self.display_name.as_deref()),
                ("xml:lang", self.language.as_deref()),
                ("expiration", expiration.as_deref()),
                ("duration-subscribed", duration.as_deref()),
            ],
            &self.uri,
        );
    }
}

impl WatcherList {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "watcher-list", what };
        let watchers: Result<Vec<Watcher>, DocumentError> =
            element.children("watcher").map(Watcher::parse).collect();
        Ok(Self {
            resource: element.owned("resource").ok_or(bad("resource"))?,
            package: element.owned("package").ok_or(bad("package"))?,
            watchers: watchers?,
        })
    }
}

impl WatcherInfo {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/watcherinfo+xml";

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read(octets, NAMESPACES)?;
        let bad = |what| DocumentError::Malformed { element: "watcherinfo", what };
        if !root.is(NAMESPACE, "watcherinfo") {
            return Err(bad("the root"));
        }
        let completeness = root.attribute("state").and_then(Completeness::parse);
        let lists: Result<Vec<WatcherList>, DocumentError> =
            root.children("watcher-list").map(WatcherList::parse).collect();
        Ok(Self {
            version: root.number("version").ok_or(bad("version"))?,
            completeness: completeness.ok_or(bad("state"))?,
            lists: lists?,
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::new();
        out.start(
            "watcherinfo",
            &[
                ("xmlns", Some(NAMESPACE)),
                ("version", Some(&self.version.to_string())),
                ("state", Some(self.completeness.as_str())),
            ],
        );
        for list in &self.lists {
            let attributes = [("resource", Some(&*list.resource)), ("package", Some(&*list.package))];
            out.start("watcher-list", &attributes);
            list.watchers.iter().for_each(|watcher| watcher.write(&mut out));
            out.end();
        }
        out.finish()
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

/// What a subscriber knows of watchers (RFC 3858 §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatcherTable {
    version: Option<u32>,
    lists: BTreeMap<(String, String), BTreeMap<String, Watcher>>,
    /// Lists and watchers in them.
    rows: usize,
}

impl WatcherTable {
    /// A table that has seen no document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a document in. A watcher that is gone can be seen until the next one.
    pub fn receive(&mut self, document: WatcherInfo) -> Update {
        let update = update(self.version, document.version, document.completeness);
        if update == Update::Stale {
            return update;
        }
        self.version = Some(document.version);
        if document.completeness == Completeness::Full {
            self.lists.clear();
        }
        for watchers in self.lists.values_mut() {
            watchers.retain(|_, watcher| watcher.status != WatcherStatus::Terminated);
        }
        self.rows = self.lists.values().map(|watchers| watchers.len().saturating_add(1)).sum();
        for list in document.lists {
            let key = (list.resource, list.package);
            if !self.lists.contains_key(&key) {
                if self.rows >= MAX_ROWS {
                    continue;
                }
                self.rows = self.rows.saturating_add(1);
            }
            let watchers = self.lists.entry(key).or_default();
            for watcher in list.watchers {
                if self.rows < MAX_ROWS || watchers.contains_key(&watcher.id) {
                    let new = watchers.insert(watcher.id.clone(), watcher).is_none();
                    self.rows = self.rows.saturating_add(usize::from(new));
                }
            }
        }
        update
    }

    /// What is watched: resource and package.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lists.keys().map(|(resource, package)| (resource.as_str(), package.as_str()))
    }

    /// The watchers of a resource, in all packages, by their identifiers.
    pub fn watchers(&self, resource: &str) -> impl Iterator<Item = &Watcher> {
        let of = self.lists.iter().filter(move |((known, _), _)| known == resource);
        of.flat_map(|(_, watchers)| watchers.values())
    }
}
