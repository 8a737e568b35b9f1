//! `application/pidf+xml`: whether and where somebody can be reached (RFC 3863), the body of the package `presence`
//! (RFC 3856 §6.4).
//!
//! Each document holds the full state. What other documents add to it (RFC 4480 and others) is not kept.

use super::xml::{self, Element, Writer};
use super::{DocumentError, dialog_info::words};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf";
const NAMESPACES: &[&str] = &[NAMESPACE];

words! {
    /// Whether a communication will reach somebody (RFC 3863 §4.1.4).
    Basic {
        /// It can be tried.
        Open "open",
        /// It will fail.
        Closed "closed",
    }
}

/// A document (RFC 3863 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whose presence: a `pres` or `sip` URI.
    pub entity: String,
    /// The ways to reach them.
    pub tuples: Vec<Tuple>,
    /// Remarks about the whole.
    pub notes: Vec<Note>,
}

/// A way to reach somebody (§4.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Names it within the document, and the same way in a later one.
    pub id: String,
    /// Whether it can be tried; `None` if only other documents' words say so.
    pub basic: Option<Basic>,
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
    fn parse(element: &Element) -> Self {
        Self { text: element.text().into(), language: element.owned("xml:lang") }
    }

    fn write(&self, out: &mut Writer) {
        out.leaf("note", &[("xml:lang", self.language.as_deref())], &self.text);
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
        Self { entity: entity.into(), tuples: vec![tuple], notes: Vec::new() }
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
        let root = xml::read(octets, NAMESPACES)?;
        let bad = |what| DocumentError::Malformed { element: "presence", what };
        if !root.is(NAMESPACE, "presence") {
            return Err(bad("the root"));
        }
        let tuples: Result<Vec<Tuple>, DocumentError> = root.children("tuple").map(Tuple::parse).collect();
        Ok(Self {
            entity: root.owned("entity").ok_or(bad("entity"))?,
            tuples: tuples?,
            notes: root.children("note").map(Note::parse).collect(),
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::new();
        out.start("presence", &[("xmlns", Some(NAMESPACE)), ("entity", Some(&self.entity))]);
        self.tuples.iter().for_each(|tuple| tuple.write(&mut out));
        self.notes.iter().for_each(|note| note.write(&mut out));
        out.finish()
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

impl Tuple {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "tuple", what };
        let status = element.child("status").ok_or(bad("status"))?;
        let basic = match status.child("basic") {
            Some(basic) => Some(Basic::parse(basic.text()).ok_or(bad("basic"))?),
            None => None,
        };
        let contact = element.child("contact");
        Ok(Self {
            id: element.owned("id").ok_or(bad("id"))?,
            basic,
            contact: contact.map(|contact| contact.text().into()),
            priority: contact.and_then(|contact| contact.owned("priority")),
            notes: element.children("note").map(Note::parse).collect(),
            timestamp: element.child("timestamp").map(|timestamp| timestamp.text().into()),
        })
    }

    /// In the order of the schema (§4.4).
    fn write(&self, out: &mut Writer) {
        out.start("tuple", &[("id", Some(&self.id))]);
        match self.basic {
            Some(basic) => {
                out.start("status", &[]);
                out.leaf("basic", &[], basic.as_str());
                out.end();
            }
            None => out.leaf("status", &[], ""),
        }
        if let Some(contact) = &self.contact {
            out.leaf("contact", &[("priority", self.priority.as_deref())], contact);
        }
        self.notes.iter().for_each(|note| note.write(out));
        if let Some(timestamp) = &self.timestamp {
            out.leaf("timestamp", &[], timestamp);
        }
        out.end();
    }
}
