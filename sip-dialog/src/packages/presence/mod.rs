//! `application/pidf+xml`: whether and where somebody can be reached (RFC 3863), the body of the package `presence`
//! (RFC 3856 §6.4), with persons and devices (RFC 4479) and what they do (RFC 4480).
//!
//! Each document holds the full state. What it has that is not known here is kept and written again, such as the card of
//! RFC 4482 and the abilities of RFC 5196. Two documents are equal if a watcher would learn nothing from the second.

mod composition;
mod data_model;
pub mod rpid;
mod words;

pub use data_model::{Device, Person};
pub use rpid::Rpid;
pub use words::{
    Activity, AudioPlace, InputState, Mood, PlaceType, Privacy, Relationship, ServiceClass, Sphere,
    TextPlace, VideoPlace, Vocabulary as Words,
};

use super::xml::{self, Element, Vocabulary};
use super::{DocumentError, dialog_info::words};
use crate::event::Body;

pub(super) const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";
const LOCATION: &str = "urn:ietf:params:xml:ns:location-type";
const VOCABULARY: Vocabulary = Vocabulary {
    namespace: PIDF,
    prefixes: &[("dm", DATA_MODEL), ("rpid", RPID), ("lt", LOCATION)],
    declaring: None,
};

words! {
    /// Whether a communication will reach somebody (RFC 3863 §4.1.4).
    Basic {
        /// It can be tried.
        Open "open",
        /// It will fail.
        Closed "closed",
    }
}

/// An element that others have defined, kept as it came.
pub type Extension = Element;

/// A document (RFC 3863 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whose presence: a `pres` or `sip` URI.
    pub entity: String,
    /// The ways to reach them.
    pub tuples: Vec<Tuple>,
    /// Remarks about the whole.
    pub notes: Vec<Note>,
    /// Whom it is about (RFC 4479 §3.2).
    pub persons: Vec<Person>,
    /// What the services run on (RFC 4479 §3.4).
    pub devices: Vec<Device>,
    /// What others have defined.
    pub extensions: Vec<Extension>,
}

/// A way to reach somebody (§4.1.2): a service, in the words of RFC 4479.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Names it within the document, and the same way in a later one.
    pub id: String,
    /// Whether it can be tried; `None` if only other documents' words say so.
    pub basic: Option<Basic>,
    /// What others have defined for the status.
    pub status_extensions: Vec<Extension>,
    /// The devices that it runs on (RFC 4479 §3.4).
    pub device_ids: Vec<String>,
    /// What kind of service it is (RFC 4480).
    pub rpid: Rpid,
    /// What others have defined.
    pub extensions: Vec<Extension>,
    /// The URI.
    pub contact: Option<String>,
    /// The preference of the contact, from 0 to 1, as written.
    pub priority: Option<String>,
    /// Remarks.
    pub notes: Vec<Note>,
    /// When it changed (§4.1.7): a date and time of RFC 3339, as written.
    pub timestamp: Option<String>,
}

/// A remark for a person to read (§4.1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The text.
    pub text: String,
    /// Its language.
    pub language: Option<String>,
}

impl Note {
    pub(crate) fn parse(element: &Element) -> Self {
        Self { text: element.text().into(), language: element.owned("xml:lang") }
    }

    fn element(&self, namespace: &'static str) -> Element {
        self.named(namespace, "note")
    }

    pub(crate) fn named(&self, namespace: &'static str, name: &str) -> Element {
        Element::of(namespace, name).with_optional("xml:lang", self.language.as_deref()).with_text(&self.text)
    }
}

impl Presence {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/pidf+xml";

    /// One way to reach somebody.
    pub fn new(entity: &str, basic: Basic, contact: Option<&str>) -> Self {
        let tuple = Tuple {
            id: "t1".into(),
            basic: Some(basic),
            contact: contact.map(Into::into),
            ..Tuple::default()
        };
        Self { entity: entity.into(), tuples: vec![tuple], ..Self::default() }
    }

    /// Whether any way is open.
    pub fn is_open(&self) -> bool {
        self.tuples.iter().any(|tuple| tuple.basic == Some(Basic::Open))
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        Self::from_element(&xml::read_whole(octets, &VOCABULARY)?)
    }

    pub(super) fn from_element(root: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "presence", what };
        if !root.is(PIDF, "presence") {
            return Err(bad("the root"));
        }
        let mut presence = Self { entity: root.owned("entity").ok_or(bad("entity"))?, ..Self::default() };
        for child in root.elements() {
            if child.is(PIDF, "tuple") {
                presence.tuples.push(Tuple::parse(child)?);
            } else if child.is(PIDF, "note") {
                presence.notes.push(Note::parse(child));
            } else if let Some(person) =
                child.is(DATA_MODEL, "person").then(|| Person::parse(child)).flatten()
            {
                presence.persons.push(person);
            } else if let Some(device) =
                child.is(DATA_MODEL, "device").then(|| Device::parse(child)).flatten()
            {
                presence.devices.push(device);
            } else {
                presence.extensions.push(child.clone());
            }
        }
        Ok(presence)
    }

    pub(super) fn element(&self) -> Element {
        let mut root = Element::of(PIDF, "presence").with_attribute("entity", &self.entity);
        self.tuples.iter().for_each(|tuple| root.push(tuple.element()));
        self.notes.iter().for_each(|note| root.push(note.element(PIDF)));
        self.persons.iter().for_each(|person| root.push(person.element()));
        self.devices.iter().for_each(|device| root.push(device.element()));
        self.extensions.iter().for_each(|extension| root.push(extension.clone()));
        root
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        xml::document(&self.element(), &VOCABULARY)
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

impl Tuple {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "tuple", what };
        let mut tuple = Self { id: element.owned("id").ok_or(bad("id"))?, ..Self::default() };
        let (mut status, mut contact) = (None, None);
        for child in element.elements() {
            if child.is(PIDF, "status") && status.is_none() {
                status = Some(child);
            } else if child.is(PIDF, "contact") && contact.is_none() {
                contact = Some(child);
            } else if child.is(PIDF, "note") {
                tuple.notes.push(Note::parse(child));
            } else if child.is(PIDF, "timestamp") && tuple.timestamp.is_none() {
                tuple.timestamp = Some(child.text().into());
            } else if child.is(DATA_MODEL, "deviceID") {
                tuple.device_ids.push(child.text().into());
            } else if !tuple.rpid.take(child) {
                tuple.extensions.push(child.clone());
            }
        }
        for child in status.ok_or(bad("status"))?.elements() {
            if child.is(PIDF, "basic") && tuple.basic.is_none() {
                tuple.basic = Some(Basic::parse(child.text()).ok_or(bad("basic"))?);
            } else {
                tuple.status_extensions.push(child.clone());
            }
        }
        sort(&mut tuple.extensions, PIDF);
        tuple.contact = contact.map(|contact| contact.text().into());
        tuple.priority = contact.and_then(|contact| contact.owned("priority"));
        Ok(tuple)
    }

    /// In the order of the schema (§4.4).
    fn element(&self) -> Element {
        let mut status = Element::of(PIDF, "status");
        if let Some(basic) = self.basic {
            status.push_leaf(PIDF, "basic", basic.as_str());
        }
        self.status_extensions.iter().for_each(|extension| status.push(extension.clone()));
        let mut element = Element::of(PIDF, "tuple").with_attribute("id", &self.id).with_child(status);
        self.device_ids.iter().for_each(|id| element.push_leaf(DATA_MODEL, "deviceID", id));
        self.rpid.elements().into_iter().for_each(|child| element.push(child));
        element.push_all(self.extensions.iter().filter(|it| it.namespace() != PIDF).cloned());
        if let Some(contact) = &self.contact {
            let contact = Element::of(PIDF, "contact")
                .with_optional("priority", self.priority.as_deref())
                .with_text(contact);
            element.push(contact);
        }
        self.notes.iter().for_each(|note| element.push(note.element(PIDF)));
        if let Some(timestamp) = &self.timestamp {
            element.push_leaf(PIDF, "timestamp", timestamp);
        }
        element.push_all(self.extensions.iter().filter(|it| it.namespace() == PIDF).cloned());
        element
    }
}

/// Elements of the namespace of what they are in, such as a second contact, come behind all others: before the first one
/// they would be taken for it.
fn sort(extensions: &mut [Extension], own: &str) {
    extensions.sort_by_key(|extension| extension.namespace() == own);
}
