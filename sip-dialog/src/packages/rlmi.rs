//! `application/rlmi+xml`: the state of a list of resources, each with a body of its own (RFC 4662).
//!
//! A notification about a list is a `multipart/related` whose root is an [`Rlmi`] document that names the other parts;
//! [`ListNotification`] builds it and takes it apart. A subscriber puts them into a [`ListTable`].

use std::collections::BTreeMap;

use bytes::Bytes;
use sip_message::body::{BodyError, Entity, MultipartBuilder};
use sip_message::headers::{ContentId, ContentType, Header, Headers};
use sip_message::{BuildError, Limits, ValueError};

use super::dialog_info::words;
use super::presence::Note;
use super::xml::{self, Element, Writer};
use super::{Completeness, DocumentError, MAX_ROWS, Update, update};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:rlmi";
const NAMESPACES: &[&str] = &[NAMESPACE];

/// Octets of all bodies in a [`ListTable`]: each notification may bring some for other resources, and the list has a limit
/// of its own ([`MAX_ROWS`]).
pub const MAX_TABLE_OCTETS: usize = 16 * 1024 * 1024;

words! {
    /// Where the subscription to an instance stands (§5.5).
    InstanceState {
        /// Its state is told.
        Active "active",
        /// Nobody has decided yet.
        Pending "pending",
        /// It is over.
        Terminated "terminated",
    }
}

/// A document (§5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlmi {
    /// The list.
    pub uri: String,
    /// Its number within the subscription.
    pub version: u32,
    /// Whether all resources are in it.
    pub completeness: Completeness,
    /// Names of the list to show, in several languages.
    pub names: Vec<Note>,
    /// The part that tells of the list as a whole.
    pub cid: Option<String>,
    /// The resources.
    pub resources: Vec<Resource>,
}

/// A resource of the list (§5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Its URI.
    pub uri: String,
    /// Names to show, in several languages.
    pub names: Vec<Note>,
    /// The subscriptions to it: none as long as nothing is known, several if the SUBSCRIBE forked.
    pub instances: Vec<Instance>,
}

/// A subscription to a resource (§5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Names it within the resource.
    pub id: String,
    /// Where it stands.
    pub state: InstanceState,
    /// Why it is over, as in Subscription-State.
    pub reason: Option<String>,
    /// The part with its state, by its Content-ID without the brackets.
    pub cid: Option<String>,
}

fn names(element: &Element) -> Vec<Note> {
    element.children("name").map(Note::parse).collect()
}

fn write_names(names: &[Note], out: &mut Writer) {
    for name in names {
        out.leaf("name", &[("xml:lang", name.language.as_deref())], &name.text);
    }
}

impl Instance {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "instance", what };
        Ok(Self {
            id: element.owned("id").ok_or(bad("id"))?,
            state: element.attribute("state").and_then(InstanceState::parse).ok_or(bad("state"))?,
            reason: element.owned("reason"),
            cid: element.owned("cid"),
        })
    }
}

impl Resource {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let instances: Result<Vec<Instance>, DocumentError> =
            element.children("instance").map(Instance::parse).collect();
        let uri =
            element.owned("uri").ok_or(DocumentError::Malformed { element: "resource", what: "uri" })?;
        Ok(Self { uri, names: names(element), instances: instances? })
    }

    fn write(&self, out: &mut Writer) {
        out.start("resource", &[("uri", Some(&self.uri))]);
        write_names(&self.names, out);
        for instance in &self.instances {
            out.leaf(
                "instance",
                &[
                    ("id", Some(&instance.id)),
                    ("state", Some(instance.state.as_str())),
                    ("reason", instance.reason.as_deref()),
                    ("cid", instance.cid.as_deref()),
                ],
                "",
            );
        }
        out.end();
    }
}

impl Rlmi {
    /// The type of the document.
    pub const CONTENT_TYPE: &'static str = "application/rlmi+xml";

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read(octets, NAMESPACES)?;
        let bad = |what| DocumentError::Malformed { element: "list", what };
        if !root.is(NAMESPACE, "list") {
            return Err(bad("the root"));
        }
        let completeness = match root.attribute("fullState") {
            Some("true" | "1") => Completeness::Full,
            Some("false" | "0") => Completeness::Partial,
            _ => return Err(bad("fullState")),
        };
        let resources: Result<Vec<Resource>, DocumentError> =
            root.children("resource").map(Resource::parse).collect();
        Ok(Self {
            uri: root.owned("uri").ok_or(bad("uri"))?,
            version: root.number("version").ok_or(bad("version"))?,
            completeness,
            names: names(&root),
            cid: root.owned("cid"),
            resources: resources?,
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::new();
        let full = if self.completeness == Completeness::Full { "true" } else { "false" };
        out.start(
            "list",
            &[
                ("xmlns", Some(NAMESPACE)),
                ("uri", Some(&self.uri)),
                ("version", Some(&self.version.to_string())),
                ("fullState", Some(full)),
                ("cid", self.cid.as_deref()),
            ],
        );
        write_names(&self.names, &mut out);
        self.resources.iter().for_each(|resource| resource.write(&mut out));
        out.finish()
    }
}

/// A notification about a list (§4.1, §5): the document and the parts that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListNotification {
    /// The document.
    pub list: Rlmi,
    /// The other parts, by Content-ID without its brackets. A list within the list is a `multipart/related` again.
    pub parts: Vec<(String, Body)>,
}

/// Why a notification about a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// It is no `multipart/related` with a root.
    #[error("the body is no multipart/related with an RLMI document as its root")]
    NotRelated,
    /// It cannot be taken apart.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its type cannot be read.
    #[error("the type of the body cannot be read: {0}")]
    Type(#[from] ValueError),
    /// Its document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl ListNotification {
    /// The types that a subscriber to a list accepts beside those of the package (§4.5).
    pub const ACCEPT: [&'static str; 2] = ["multipart/related", Rlmi::CONTENT_TYPE];

    /// Takes a body apart, as in a NOTIFY or in a part of one.
    ///
    /// # Errors
    /// If it is none, or passes a limit.
    pub fn parse(body: &Body, limits: &Limits) -> Result<Self, ListError> {
        let mut headers = Headers::new();
        headers.push_back(&ContentType::parse(&body.content_type)?);
        Self::of(&Entity::of(&headers, &body.octets, limits)?)
    }

    /// Takes a body apart whose parts are known already; what is signed is read without looking at the signature.
    ///
    /// # Errors
    /// If it is no `multipart/related`, or its root no document of this kind.
    pub fn of(entity: &Entity) -> Result<Self, ListError> {
        let entity = entity.find("multipart", "related").ok_or(ListError::NotRelated)?;
        let root = entity.root().ok_or(ListError::NotRelated)?;
        if !root.is("application", "rlmi+xml") {
            return Err(ListError::NotRelated);
        }
        let list = Rlmi::parse(root.plain()?)?;
        let mut parts = Vec::new();
        for part in entity.parts() {
            let Some(id) = part.id().filter(|id| Some(*id) != root.id()) else { continue };
            let mut content_type = String::new();
            part.content_type().write(&mut content_type);
            parts.push((id.as_str().to_owned(), Body { content_type, octets: part.plain()?.clone() }));
        }
        Ok(Self { list, parts })
    }

    /// The part of this Content-ID.
    pub fn part(&self, cid: &str) -> Option<&Body> {
        self.parts.iter().find(|(known, _)| known == cid).map(|(_, body)| body)
    }

    /// The body, with a root of this Content-ID.
    ///
    /// # Errors
    /// If the type of a part cannot be read.
    pub fn to_body(&self, root: &str) -> Result<Body, ListError> {
        let root = ContentId::new(root);
        let document = ContentType::new("application", "rlmi+xml").with_param("charset", Some("\"UTF-8\""));
        let mut builder = MultipartBuilder::new("related").part(&document, self.list.to_xml()).field(&root);
        for (cid, body) in &self.parts {
            let content_type = ContentType::parse(&body.content_type)?;
            builder = builder.part(&content_type, body.octets.clone()).field(&ContentId::new(cid));
        }
        let (content_type, octets) = builder.build().map_err(|_: BuildError| ListError::NotRelated)?;
        let content_type = content_type
            .with_param("type", Some("\"application/rlmi+xml\""))
            .with_param("start", Some(&format!("\"<{}>\"", root.as_str())));
        let mut text = String::new();
        content_type.write(&mut text);
        Ok(Body { content_type: text, octets })
    }
}

/// A row of a [`ListTable`]: a resource, and the bodies of its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRow {
    /// Names to show.
    pub names: Vec<Note>,
    /// The instances, each with its state as the package tells it.
    pub instances: Vec<(Instance, Option<Body>)>,
}

impl ListRow {
    fn octets(&self) -> usize {
        let bodies = self.instances.iter().filter_map(|(_, body)| body.as_ref());
        bodies.map(|body| body.octets.len()).fold(0, usize::saturating_add)
    }
}

/// What a subscriber knows of a list (§5.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTable {
    version: Option<u32>,
    rows: BTreeMap<String, ListRow>,
    octets: usize,
}

impl ListTable {
    /// A table that has seen no notification.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a notification in. A resource whose instances are all over can be seen until the next one.
    ///
    /// Bodies are those of the last notification that named the resource: where the package has partial state, put each
    /// into a table of the package as it comes.
    pub fn receive(&mut self, notification: ListNotification) -> Update {
        let ListNotification { list, parts } = notification;
        let update = update(self.version, list.version, list.completeness);
        // §5.6.1: also a full one must be newer.
        if update == Update::Stale || self.version == Some(list.version) {
            return Update::Stale;
        }
        self.version = Some(list.version);
        if list.completeness == Completeness::Full {
            self.rows.clear();
        }
        let over = |(instance, _): &(Instance, Option<Body>)| instance.state == InstanceState::Terminated;
        self.rows.retain(|_, row| row.instances.is_empty() || !row.instances.iter().all(over));
        self.octets = self.rows.values().map(ListRow::octets).fold(0, usize::saturating_add);
        let parts: BTreeMap<String, Body> = parts.into_iter().collect();
        for resource in list.resources {
            if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&resource.uri) {
                continue;
            }
            // Copied: the part is a piece of a notification, which it would keep alive.
            let body = |instance: &Instance| {
                let Body { content_type, octets } = instance.cid.as_ref().and_then(|cid| parts.get(cid))?;
                Some(Body { content_type: content_type.clone(), octets: Bytes::copy_from_slice(octets) })
            };
            let instances = resource.instances.into_iter().map(|instance| {
                let body = body(&instance);
                (instance, body)
            });
            let mut row = ListRow { names: resource.names, instances: instances.collect() };
            let old = self.rows.get(&resource.uri).map_or(0, ListRow::octets);
            let others = self.octets.saturating_sub(old);
            if others.saturating_add(row.octets()) > MAX_TABLE_OCTETS {
                row.instances.iter_mut().for_each(|(_, body)| *body = None);
            }
            self.octets = others.saturating_add(row.octets());
            self.rows.insert(resource.uri, row);
        }
        update
    }

    /// The resources, by URI.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &ListRow)> {
        self.rows.iter().map(|(uri, row)| (uri.as_str(), row))
    }

    /// The resource of this URI.
    pub fn get(&self, uri: &str) -> Option<&ListRow> {
        self.rows.get(uri)
    }
}
