//! `application/resource-lists+xml`: lists of resources (RFC 4826 §3), as they are subscribed to (RFC 5367), invited or
//! written to (RFC 5363), and in which role each is written to (RFC 5364).
//!
//! A reference to an entry or a list elsewhere is kept as it is written. Nothing here follows one: who does decides whom
//! to trust.

use std::collections::{BTreeMap, BTreeSet};

use super::DocumentError;
use super::dialog_info::words;
use super::presence::{Extension, Note};
use super::xml::{self, Element, Vocabulary};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:resource-lists";
const COPY_CONTROL: &str = "urn:ietf:params:xml:ns:copycontrol";
const VOCABULARY: Vocabulary =
    Vocabulary { namespace: NAMESPACE, prefixes: &[("cp", COPY_CONTROL)], declaring: None };

/// Who is in a list without being named (RFC 5364 §4).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

words! {
    /// In which role somebody gets a request (RFC 5364 §4). One without a word is [`CopyControl::Bcc`].
    CopyControl {
        /// It is for them.
        To "to",
        /// They get a copy.
        Cc "cc",
        /// They get a copy, and nobody else is told.
        Bcc "bcc",
    }
}

/// A document (RFC 4826 §3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceLists {
    /// The lists.
    pub lists: Vec<List>,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Names it within what it is in.
    pub name: Option<String>,
    /// The name to show.
    pub display_name: Option<Note>,
    /// What is in it, in order.
    pub items: Vec<Item>,
    /// What others have defined.
    pub extensions: Vec<Extension>,
}

/// What is in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A list.
    List(List),
    /// A resource, or a reference to some.
    Entry(Entry),
}

/// A resource, or a reference to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub target: Target,
    /// The name to show.
    pub display_name: Option<Note>,
    /// In which role it gets a request (RFC 5364).
    pub copy_control: Option<CopyControl>,
    /// Whether others are told no more than that it is there (RFC 5364).
    pub anonymize: bool,
    /// How many it stands for (RFC 5364).
    pub count: Option<u32>,
    /// What others have defined.
    pub extensions: Vec<Extension>,
}

/// What an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `<entry>`: a URI.
    Uri(String),
    /// `<entry-ref>`: a path on the same XCAP server to an entry.
    Reference(String),
    /// `<external>`: an absolute HTTP URI of a list.
    External(String),
}

impl Target {
    fn parts(&self) -> (&'static str, &'static str, &str) {
        match self {
            Self::Uri(uri) => ("entry", "uri", uri),
            Self::Reference(path) => ("entry-ref", "ref", path),
            Self::External(anchor) => ("external", "anchor", anchor),
        }
    }
}

impl Entry {
    /// A resource of which nothing else is said.
    pub fn new(uri: &str) -> Self {
        Self {
            target: Target::Uri(uri.into()),
            display_name: None,
            copy_control: None,
            anonymize: false,
            count: None,
            extensions: Vec::new(),
        }
    }

    /// A resource that gets a request in this role.
    pub fn copied(uri: &str, role: CopyControl) -> Self {
        Self { copy_control: Some(role), ..Self::new(uri) }
    }

    /// `None` if it is none of the three.
    fn parse(element: &Element) -> Result<Option<Self>, DocumentError> {
        let bad = |element, what| DocumentError::Malformed { element, what };
        let target = match element.name() {
            "entry" => element.owned("uri").map(Target::Uri).ok_or(bad("entry", "uri"))?,
            "entry-ref" => element.owned("ref").map(Target::Reference).ok_or(bad("entry-ref", "ref"))?,
            "external" => element.owned("anchor").map(Target::External).ok_or(bad("external", "anchor"))?,
            _ => return Ok(None),
        };
        let copy = |name| element.attribute_of(COPY_CONTROL, name);
        Ok(Some(Self {
            target,
            display_name: element.child("display-name").map(Note::parse),
            copy_control: copy("copyControl").and_then(CopyControl::parse),
            anonymize: matches!(copy("anonymize"), Some("true" | "1")),
            count: copy("count").and_then(|count| count.trim().parse().ok()),
            extensions: foreign(element),
        }))
    }

    fn element(&self) -> Element {
        let (name, attribute, value) = self.target.parts();
        let mut element = Element::of(NAMESPACE, name).with_attribute(attribute, value);
        if let Some(role) = self.copy_control {
            element = element.with_attribute_of(COPY_CONTROL, "copyControl", role.as_str());
        }
        if self.anonymize {
            element = element.with_attribute_of(COPY_CONTROL, "anonymize", "true");
        }
        if let Some(count) = self.count {
            element = element.with_attribute_of(COPY_CONTROL, "count", &count.to_string());
        }
        element.push_all(self.display_name.iter().map(|name| name.named(NAMESPACE, "display-name")));
        element.push_all(self.extensions.iter().cloned());
        element
    }
}

/// The children that are of others.
fn foreign(element: &Element) -> Vec<Extension> {
    element.elements().filter(|child| child.namespace() != NAMESPACE).cloned().collect()
}

impl List {
    /// A list of these.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { items: entries.into_iter().map(Item::Entry).collect(), ..Self::default() }
    }

    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let mut items = Vec::new();
        for child in element.elements().filter(|child| child.namespace() == NAMESPACE) {
            if child.name() == "list" {
                items.push(Item::List(Self::parse(child)?));
            } else if let Some(entry) = Entry::parse(child)? {
                items.push(Item::Entry(entry));
            }
        }
        Ok(Self {
            name: element.owned("name"),
            display_name: element.child("display-name").map(Note::parse),
            items,
            extensions: foreign(element),
        })
    }

    fn element(&self) -> Element {
        let mut element = Element::of(NAMESPACE, "list").with_optional("name", self.name.as_deref());
        element.push_all(self.display_name.iter().map(|name| name.named(NAMESPACE, "display-name")));
        element.push_all(self.items.iter().map(|item| match item {
            Item::List(list) => list.element(),
            Item::Entry(entry) => entry.element(),
        }));
        element.push_all(self.extensions.iter().cloned());
        element
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a Entry>) {
        for item in &self.items {
            match item {
                Item::List(list) => list.collect(out),
                Item::Entry(entry) => out.push(entry),
            }
        }
    }
}

/// Whom a request goes to (RFC 5364 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The URI.
    pub uri: String,
    /// In which role.
    pub role: CopyControl,
    /// Whether others are not told who it is.
    pub anonymize: bool,
}

impl ResourceLists {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/resource-lists+xml";

    /// One list of these.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { lists: vec![List::of(entries)] }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read_whole(octets, &VOCABULARY)?;
        if !root.is(NAMESPACE, "resource-lists") {
            return Err(DocumentError::Malformed { element: "resource-lists", what: "the root" });
        }
        let lists: Result<Vec<List>, DocumentError> = root.children("list").map(List::parse).collect();
        Ok(Self { lists: lists? })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut root = Element::of(NAMESPACE, "resource-lists");
        root.push_all(self.lists.iter().map(List::element));
        xml::document(&root, &VOCABULARY)
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }

    /// All entries, those of lists within lists among them.
    pub fn entries(&self) -> Vec<&Entry> {
        let mut out = Vec::new();
        self.lists.iter().for_each(|list| list.collect(&mut out));
        out
    }

    /// Whom a request goes to: each URI once, in its most open role (RFC 5364 §4). URIs are compared as they are written.
    /// References are not among them.
    pub fn recipients(&self) -> Vec<Recipient> {
        let mut places = BTreeMap::new();
        let mut out: Vec<Recipient> = Vec::new();
        for entry in self.entries() {
            let Target::Uri(uri) = &entry.target else { continue };
            let role = entry.copy_control.unwrap_or(CopyControl::Bcc);
            let place = *places.entry(uri.as_str()).or_insert(out.len());
            match out.get_mut(place) {
                Some(known) => {
                    if order(role) < order(known.role) {
                        known.role = role;
                    }
                    known.anonymize |= entry.anonymize;
                }
                None => out.push(Recipient { uri: uri.clone(), role, anonymize: entry.anonymize }),
            }
        }
        out
    }

    /// What recipients are told of each other (RFC 5364 §4): those of role `to` and `cc`, and how many of each are not to
    /// be named. The one it is for is in it also if nobody else knows of them.
    pub fn history(&self, reader: Option<&str>) -> Self {
        let (mut entries, mut hidden) = (Vec::new(), BTreeSet::new());
        let recipients = self.recipients();
        let count = |role| recipients.iter().filter(|it| it.role == role && it.anonymize).count();
        for recipient in &recipients {
            let Recipient { uri, role, anonymize } = recipient;
            if *role == CopyControl::Bcc {
                entries.extend((reader == Some(uri)).then(|| Entry::copied(uri, *role)));
            } else if !anonymize {
                entries.push(Entry::copied(uri, *role));
            } else if hidden.insert(role.as_str()) {
                let count = u32::try_from(count(*role)).ok();
                entries.push(Entry { count, ..Entry::copied(ANONYMOUS, *role) });
            }
        }
        Self::of(entries)
    }
}

fn order(role: CopyControl) -> u8 {
    match role {
        CopyControl::To => 0,
        CopyControl::Cc => 1,
        CopyControl::Bcc => 2,
    }
}
