//! `application/conference-info+xml`: who is in a conference, with which devices and media, under which nickname (RFC 4575; nicknames by
//! RFC 6501 §4.6.5), the body of the package `conference`.
//!
//! A focus numbers its documents; a participant puts them into a [`Roster`]. Of the parts of a document those are kept that tell of
//! the conference as a whole, of users and of their media; sidebars and the details of calls are passed over.

use std::collections::BTreeMap;

use super::dialog_info::words;
use super::xml::{self, Element, Writer};
use super::{Completeness, DocumentError, MAX_ROWS, Update, update};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";
/// RFC 6501, which gives users nicknames.
const XCON: &str = "urn:ietf:params:xml:ns:xcon-conference-info";
const NAMESPACES: &[&str] = &[NAMESPACE, XCON];

words! {
    /// Whether an element holds everything, what has changed, or nothing any more (RFC 4575 §4.2).
    Part {
        /// Everything.
        Full "full",
        /// What has changed.
        Partial "partial",
        /// It is gone.
        Deleted "deleted",
    }
}

words! {
    /// Where a device stands in the conference (RFC 4575 §5.7.3).
    EndpointStatus {
        /// It is being called, and has not rung.
        Pending "pending",
        /// It was called by the focus.
        DialingOut "dialing-out",
        /// It is joining.
        DialingIn "dialing-in",
        /// It rings.
        Alerting "alerting",
        /// It is held.
        OnHold "on-hold",
        /// It takes part.
        Connected "connected",
        /// The focus does not let others hear it.
        MutedViaFocus "muted-via-focus",
        /// It is leaving.
        Disconnecting "disconnecting",
        /// It has left.
        Disconnected "disconnected",
    }
}

/// A document (RFC 4575 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConferenceInfo {
    /// The URI of the conference.
    pub entity: String,
    /// Its number within the subscription.
    pub version: u32,
    /// What it holds.
    pub part: Part,
    /// A name for people (§5.3).
    pub display_text: Option<String>,
    /// What it is about (§5.3).
    pub subject: Option<String>,
    /// How many may take part (§5.3.3).
    pub maximum_user_count: Option<u32>,
    /// How many take part (§5.5.1).
    pub user_count: Option<u32>,
    /// Whether one can join (§5.5.2).
    pub active: Option<bool>,
    /// Whether nobody else may join (§5.5.3).
    pub locked: Option<bool>,
    /// Whether [`users`](Self::users) are all there are, or those that have changed.
    pub users_part: Part,
    /// Who takes part (§5.6).
    pub users: Vec<User>,
}

/// A participant (RFC 4575 §5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their URI.
    pub entity: String,
    /// What this element holds.
    pub part: Part,
    /// Their name.
    pub display_text: Option<String>,
    /// Their nickname (RFC 6501 §4.6.5, RFC 7701 §7.4).
    pub nickname: Option<String>,
    /// What they are there (§5.6.3), for people.
    pub roles: Vec<String>,
    /// Their devices.
    pub endpoints: Vec<Endpoint>,
}

/// A device of a participant (RFC 4575 §5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its URI, or another name that it alone has.
    pub entity: String,
    /// What this element holds.
    pub part: Part,
    /// Its name.
    pub display_text: Option<String>,
    /// Where it stands.
    pub status: Option<EndpointStatus>,
    /// Its streams.
    pub media: Vec<ConferenceMedia>,
}

/// A stream of a device (RFC 4575 §5.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConferenceMedia {
    /// What it is called in this device.
    pub id: String,
    /// What this element holds.
    pub part: Part,
    /// `audio`, `video`, `message`.
    pub kind: Option<String>,
    /// The stream of the conference that it belongs to: `a=label` of the focus.
    pub label: Option<String>,
    /// The SSRC, of RTP.
    pub source: Option<String>,
    /// `sendrecv` and the others, as the participant sees it.
    pub direction: Option<String>,
}

impl User {
    /// A participant of whom nothing else is known.
    pub fn new(entity: &str) -> Self {
        Self {
            entity: entity.into(),
            part: Part::Full,
            display_text: None,
            nickname: None,
            roles: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let endpoints: Result<Vec<Endpoint>, DocumentError> =
            element.children("endpoint").map(Endpoint::parse).collect();
        let roles = element.child("roles").into_iter().flat_map(|roles| roles.children("entry"));
        let nickname = element.children_of(XCON, "nickname").next().map(text);
        Ok(Self {
            entity: element
                .owned("entity")
                .ok_or(DocumentError::Malformed { element: "user", what: "entity" })?,
            part: part(element, "user")?,
            display_text: element.child("display-text").map(text),
            nickname,
            roles: roles.map(text).collect(),
            endpoints: endpoints?,
        })
    }

    fn write(&self, out: &mut Writer) {
        out.start("user", &[("entity", Some(&self.entity)), ("state", Some(self.part.as_str()))]);
        leaf(out, "display-text", self.display_text.as_deref());
        if !self.roles.is_empty() {
            out.start("roles", &[]);
            self.roles.iter().for_each(|role| out.leaf("entry", &[], role));
            out.end();
        }
        self.endpoints.iter().for_each(|endpoint| endpoint.write(out));
        leaf(out, "xcon:nickname", self.nickname.as_deref());
        out.end();
    }

    /// The user, their devices and their streams.
    fn rows(&self) -> usize {
        let endpoints = self.endpoints.iter().map(|endpoint| endpoint.media.len().saturating_add(1));
        endpoints.fold(1, usize::saturating_add)
    }

    /// Takes over what has changed.
    fn change(&mut self, news: Self) {
        if news.part != Part::Partial {
            *self = news;
            return;
        }
        replace(&mut self.display_text, news.display_text);
        replace(&mut self.nickname, news.nickname);
        if !news.roles.is_empty() {
            self.roles = news.roles;
        }
        merge(&mut self.endpoints, news.endpoints, |one| (&one.entity, one.part), Endpoint::change);
    }
}

impl Endpoint {
    /// A device of which nothing else is known.
    pub fn new(entity: &str) -> Self {
        Self { entity: entity.into(), part: Part::Full, display_text: None, status: None, media: Vec::new() }
    }

    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let media: Result<Vec<ConferenceMedia>, DocumentError> =
            element.children("media").map(ConferenceMedia::parse).collect();
        Ok(Self {
            entity: element
                .owned("entity")
                .ok_or(DocumentError::Malformed { element: "endpoint", what: "entity" })?,
            part: part(element, "endpoint")?,
            display_text: element.child("display-text").map(text),
            status: element.child("status").and_then(|status| EndpointStatus::parse(status.text())),
            media: media?,
        })
    }

    fn write(&self, out: &mut Writer) {
        out.start("endpoint", &[("entity", Some(&self.entity)), ("state", Some(self.part.as_str()))]);
        leaf(out, "display-text", self.display_text.as_deref());
        leaf(out, "status", self.status.map(EndpointStatus::as_str));
        self.media.iter().for_each(|media| media.write(out));
        out.end();
    }

    fn change(&mut self, news: Self) {
        if news.part != Part::Partial {
            *self = news;
            return;
        }
        replace(&mut self.display_text, news.display_text);
        replace(&mut self.status, news.status);
        merge(&mut self.media, news.media, |one| (&one.id, one.part), |old, news| *old = news);
    }
}

impl ConferenceMedia {
    /// A stream of which nothing else is known.
    pub fn new(id: &str, kind: &str) -> Self {
        let kind = Some(kind.to_owned());
        Self { id: id.into(), part: Part::Full, kind, label: None, source: None, direction: None }
    }

    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let child = |name| element.child(name).map(text);
        Ok(Self {
            id: element.owned("id").ok_or(DocumentError::Malformed { element: "media", what: "id" })?,
            part: part(element, "media")?,
            kind: child("type"),
            label: child("label"),
            source: child("src-id"),
            direction: child("status"),
        })
    }

    fn write(&self, out: &mut Writer) {
        out.start("media", &[("id", Some(&self.id)), ("state", Some(self.part.as_str()))]);
        leaf(out, "type", self.kind.as_deref());
        leaf(out, "label", self.label.as_deref());
        leaf(out, "src-id", self.source.as_deref());
        leaf(out, "status", self.direction.as_deref());
        out.end();
    }
}

impl ConferenceInfo {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/conference-info+xml";

    /// A document that holds everything: so far of a conference with nobody in it.
    pub fn new(entity: &str, version: u32) -> Self {
        Self {
            entity: entity.into(),
            version,
            part: Part::Full,
            display_text: None,
            subject: None,
            maximum_user_count: None,
            user_count: None,
            active: None,
            locked: None,
            users_part: Part::Full,
            users: Vec::new(),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read(octets, NAMESPACES)?;
        let bad = |what| DocumentError::Malformed { element: "conference-info", what };
        if !root.is(NAMESPACE, "conference-info") {
            return Err(bad("the root"));
        }
        let (description, state) = (root.child("conference-description"), root.child("conference-state"));
        let described = |name| description.and_then(|element| element.child(name));
        let stated = |name| state.and_then(|element| element.child(name));
        let flag = |element: &Element| match element.text() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        let number = |element: &Element| element.text().parse().ok();
        let users = root.child("users");
        let all = users.into_iter().flat_map(|users| users.children("user")).map(User::parse);
        let whole = part(&root, "conference-info")?;
        Ok(Self {
            entity: root.owned("entity").ok_or(bad("entity"))?,
            version: root.number("version").ok_or(bad("version"))?,
            part: whole,
            display_text: described("display-text").map(text),
            subject: described("subject").map(text),
            maximum_user_count: described("maximum-user-count").and_then(number),
            user_count: stated("user-count").and_then(number),
            active: stated("active").and_then(flag),
            locked: stated("locked").and_then(flag),
            users_part: match users {
                Some(users) => part(users, "users")?,
                None if whole == Part::Full => Part::Full,
                None => Part::Partial,
            },
            users: all.collect::<Result<_, _>>()?,
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::new();
        let nicknames = self.users.iter().any(|user| user.nickname.is_some());
        out.start(
            "conference-info",
            &[
                ("xmlns", Some(NAMESPACE)),
                ("xmlns:xcon", nicknames.then_some(XCON)),
                ("entity", Some(&self.entity)),
                ("state", Some(self.part.as_str())),
                ("version", Some(&self.version.to_string())),
            ],
        );
        let maximum = self.maximum_user_count.map(|count| count.to_string());
        let described = self.display_text.is_some() || self.subject.is_some() || maximum.is_some();
        // A full document has both of them, even with nothing to say (§5.2).
        if described || self.part == Part::Full {
            out.start("conference-description", &[]);
            leaf(&mut out, "display-text", self.display_text.as_deref());
            leaf(&mut out, "subject", self.subject.as_deref());
            leaf(&mut out, "maximum-user-count", maximum.as_deref());
            out.end();
        }
        if self.user_count.is_some() || self.active.is_some() || self.locked.is_some() {
            out.start("conference-state", &[]);
            leaf(&mut out, "user-count", self.user_count.map(|count| count.to_string()).as_deref());
            leaf(&mut out, "active", self.active.map(|flag| flag.to_string()).as_deref());
            leaf(&mut out, "locked", self.locked.map(|flag| flag.to_string()).as_deref());
            out.end();
        }
        if self.part == Part::Full || !self.users.is_empty() || self.users_part != Part::Partial {
            out.start("users", &[("state", Some(self.users_part.as_str()))]);
            self.users.iter().for_each(|user| user.write(&mut out));
            out.end();
        }
        out.finish()
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

fn text(element: &Element) -> String {
    element.text().to_owned()
}

/// What an element holds: everything, if it does not say.
fn part(element: &Element, name: &'static str) -> Result<Part, DocumentError> {
    let malformed = DocumentError::Malformed { element: name, what: "state" };
    element.attribute("state").map_or(Ok(Part::Full), |word| Part::parse(word).ok_or(malformed))
}

fn leaf(out: &mut Writer, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.leaf(name, &[], text);
    }
}

fn replace<T>(old: &mut Option<T>, news: Option<T>) {
    if news.is_some() {
        *old = news;
    }
}

/// Puts changed elements into a list: those that are gone are removed, others replaced, changed or added (RFC 4575 §4.2).
fn merge<T>(
    list: &mut Vec<T>,
    news: Vec<T>,
    key: impl Fn(&T) -> (&String, Part),
    change: impl Fn(&mut T, T),
) {
    for one in news {
        let (name, part) = key(&one);
        let at = list.iter().position(|old| key(old).0 == name);
        match (at, part) {
            (Some(at), Part::Deleted) => drop(list.remove(at)),
            (None, Part::Deleted) => {}
            (Some(at), _) => {
                if let Some(old) = list.get_mut(at) {
                    change(old, one);
                }
            }
            (None, _) => list.push(one),
        }
    }
}

/// What a participant knows of a conference (RFC 4575 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    version: Option<u32>,
    /// What the documents say of the conference as a whole.
    info: Option<ConferenceInfo>,
    users: BTreeMap<String, User>,
    /// Users, devices and streams.
    rows: usize,
}

impl Roster {
    /// A roster that has seen no document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a document in.
    pub fn receive(&mut self, document: ConferenceInfo) -> Update {
        let full = document.part != Part::Partial;
        let completeness = if full { Completeness::Full } else { Completeness::Partial };
        let update = update(self.version, document.version, completeness);
        if update == Update::Stale {
            return update;
        }
        self.version = Some(document.version);
        let mut document = document;
        let users = std::mem::take(&mut document.users);
        if full || document.users_part != Part::Partial {
            self.users.clear();
            self.rows = 0;
        }
        if document.part == Part::Deleted {
            self.info = Some(document);
            return update;
        }
        for user in users {
            if user.part == Part::Deleted {
                let gone = self.users.remove(&user.entity);
                self.rows = self.rows.saturating_sub(gone.map_or(0, |user| user.rows()));
                continue;
            }
            // Partial documents could add to each user for ever.
            if self.rows >= MAX_ROWS {
                continue;
            }
            match self.users.get_mut(&user.entity) {
                Some(known) => {
                    self.rows = self.rows.saturating_sub(known.rows());
                    known.change(user);
                    self.rows = self.rows.saturating_add(known.rows());
                }
                None => {
                    self.rows = self.rows.saturating_add(user.rows());
                    self.users.insert(user.entity.clone(), user);
                }
            }
        }
        match &mut self.info {
            Some(info) if !full => {
                (info.version, info.part) = (document.version, document.part);
                replace(&mut info.display_text, document.display_text);
                replace(&mut info.subject, document.subject);
                replace(&mut info.maximum_user_count, document.maximum_user_count);
                replace(&mut info.user_count, document.user_count);
                replace(&mut info.active, document.active);
                replace(&mut info.locked, document.locked);
            }
            info => *info = Some(document),
        }
        update
    }

    /// What is known of the conference as a whole, without its users.
    pub fn info(&self) -> Option<&ConferenceInfo> {
        self.info.as_ref()
    }

    /// Whether the focus has said that there is no such conference any more.
    pub fn is_over(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.part == Part::Deleted)
    }

    /// Who takes part, by their URIs.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// One who takes part.
    pub fn user(&self, entity: &str) -> Option<&User> {
        self.users.get(entity)
    }
}
