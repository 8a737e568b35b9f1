//! The person, and the devices that services run on (RFC 4479).

use super::rpid::Rpid;
use super::{DATA_MODEL, Note, sort};
use crate::packages::presence::Extension;
use crate::packages::xml::Element;

/// Whose presence it is (RFC 4479 §3.2). Two of them mean that it is not clear which holds (§3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Names it within the document.
    pub id: String,
    /// What the person does and feels, and where.
    pub rpid: Rpid,
    /// What others have defined, such as the card of RFC 4482.
    pub extensions: Vec<Extension>,
    /// Remarks.
    pub notes: Vec<Note>,
    /// When it changed: a date and time of RFC 3339, as written.
    pub timestamp: Option<String>,
}

/// What a service runs on (RFC 4479 §3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Names this element within the document.
    pub id: String,
    /// Names the device: a URN, which tuples refer to.
    pub device_id: String,
    /// Whether it is used.
    pub rpid: Rpid,
    /// What others have defined.
    pub extensions: Vec<Extension>,
    /// Remarks.
    pub notes: Vec<Note>,
    /// When it changed: a date and time of RFC 3339, as written.
    pub timestamp: Option<String>,
}

impl Person {
    /// `None` without an identifier.
    pub(super) fn parse(element: &Element) -> Option<Self> {
        let mut person = Self { id: element.owned("id")?, ..Self::default() };
        for child in element.elements() {
            if child.is(DATA_MODEL, "note") {
                person.notes.push(Note::parse(child));
            } else if child.is(DATA_MODEL, "timestamp") && person.timestamp.is_none() {
                person.timestamp = Some(child.text().into());
            } else if !person.rpid.take(child) {
                person.extensions.push(child.clone());
            }
        }
        sort(&mut person.extensions, DATA_MODEL);
        Some(person)
    }

    /// In the order of the schema (RFC 4479 §5.1.2).
    pub(super) fn element(&self) -> Element {
        let mut element = Element::of(DATA_MODEL, "person").with_attribute("id", &self.id);
        self.rpid.elements().into_iter().for_each(|child| element.push(child));
        element.push_all(self.extensions.iter().filter(|it| it.namespace() != DATA_MODEL).cloned());
        self.notes.iter().for_each(|note| element.push(note.element(DATA_MODEL)));
        if let Some(timestamp) = &self.timestamp {
            element.push_leaf(DATA_MODEL, "timestamp", timestamp);
        }
        element.push_all(self.extensions.iter().filter(|it| it.namespace() == DATA_MODEL).cloned());
        element
    }
}

impl Device {
    /// `None` without the identifiers.
    pub(super) fn parse(element: &Element) -> Option<Self> {
        let device_id = element.child("deviceID")?.text().into();
        let mut device = Self { id: element.owned("id")?, device_id, ..Self::default() };
        let mut named = false;
        for child in element.elements() {
            if child.is(DATA_MODEL, "note") {
                device.notes.push(Note::parse(child));
            } else if child.is(DATA_MODEL, "timestamp") && device.timestamp.is_none() {
                device.timestamp = Some(child.text().into());
            } else if child.is(DATA_MODEL, "deviceID") && !named {
                named = true;
            } else if !device.rpid.take(child) {
                device.extensions.push(child.clone());
            }
        }
        sort(&mut device.extensions, DATA_MODEL);
        Some(device)
    }

    pub(super) fn element(&self) -> Element {
        let mut element = Element::of(DATA_MODEL, "device").with_attribute("id", &self.id);
        self.rpid.elements().into_iter().for_each(|child| element.push(child));
        element.push_all(self.extensions.iter().filter(|it| it.namespace() != DATA_MODEL).cloned());
        element.push_leaf(DATA_MODEL, "deviceID", &self.device_id);
        self.notes.iter().for_each(|note| element.push(note.element(DATA_MODEL)));
        if let Some(timestamp) = &self.timestamp {
            element.push_leaf(DATA_MODEL, "timestamp", timestamp);
        }
        element.push_all(self.extensions.iter().filter(|it| it.namespace() == DATA_MODEL).cloned());
        element
    }
}
