//! `application/pidf-diff+xml`: presence with what has changed since the document before (RFC 5262, RFC 5263).
//!
//! A notifier makes a [`PresenceDiff`] of two documents with [`PresenceDiff::between`]; a subscriber puts what comes into a
//! [`PresenceTable`]. What cannot be applied is an error, and the table stays as it was: refresh the subscription, which
//! brings the full state (RFC 5263 §4.4).

mod apply;
mod difference;
mod selector;

pub use selector::{End, Name, Predicate, Selector, Step};

use selector::{Prefixes, Scope};

use super::presence::{PIDF, Presence};
use super::xml::{self, Content, DECLARED, Element, Vocabulary};
use super::{DocumentError, MAX_OCTETS, Update};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf-diff";
const VOCABULARY: Vocabulary = Vocabulary {
    namespace: PIDF,
    prefixes: &[
        ("p", NAMESPACE),
        ("dm", "urn:ietf:params:xml:ns:pidf:data-model"),
        ("rpid", "urn:ietf:params:xml:ns:pidf:rpid"),
        ("lt", "urn:ietf:params:xml:ns:location-type"),
    ],
    declaring: Some(NAMESPACE),
};

/// Changes of a document: each one is a walk through what it changes.
pub const MAX_OPERATIONS: usize = 256;

/// Why a change cannot be applied. In each case the full state is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A selector cannot be read, or is none of those that presence documents need.
    #[error("the selector {0} is not understood")]
    Selector(String),
    /// There is nothing where it applies.
    #[error("the place of a change does not exist")]
    NotLocated,
    /// There is more than one place where it applies.
    #[error("the place of a change is not the only one")]
    Ambiguous,
    /// What is to be put there does not fit: a text for an element, an attribute that is there.
    #[error("the content of a change does not fit its place")]
    Content,
    /// The changed document is larger than one that is read.
    #[error("the changed document is larger than {MAX_OCTETS} octets, or has too many elements")]
    TooLarge,
    /// It changes a document that has not come.
    #[error("changes of version {received} came, and the last version was {known:?}")]
    Missed {
        /// The last version.
        known: Option<u32>,
        /// The one that came.
        received: u32,
    },
    /// It changes the presence of somebody else.
    #[error("the changes are of another presentity")]
    Entity,
}

/// A document (RFC 5262 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartialPresence {
    /// `<pidf-full>`: everything.
    Full(FullPresence),
    /// `<pidf-diff>`: what has changed.
    Diff(PresenceDiff),
}

/// The full state, with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullPresence {
    /// Its number within the subscription.
    pub version: Option<u32>,
    /// The document as it came: changes name places in it.
    root: Element,
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceDiff {
    /// Its number within the subscription.
    pub version: Option<u32>,
    /// Whose presence.
    pub entity: Option<String>,
    /// The changes, one after the other.
    pub operations: Vec<Operation>,
}

/// A change (RFC 5261 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Something is new (§4.3).
    Add {
        /// Where.
        at: Selector,
        /// At which place there.
        place: Place,
        /// What.
        content: Vec<Content>,
    },
    /// Something is another (§4.4).
    Replace {
        /// What was.
        at: Selector,
        /// What is.
        content: Vec<Content>,
    },
    /// Something is gone (§4.5).
    Remove {
        /// What.
        at: Selector,
        /// White space that goes with it.
        white_space: WhiteSpace,
    },
}

/// Where something new goes (RFC 5261 §4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the element, behind all else.
    Last,
    /// In the element, before all else.
    First,
    /// Before the element.
    Before,
    /// Behind the element.
    After,
    /// As an attribute.
    Attribute(Name),
    /// As a prefix of a namespace, which says nothing here: names are compared by their namespaces.
    Prefix(String),
}

/// White space that goes with what is removed (RFC 5261 §4.5). Where it means nothing it is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhiteSpace {
    /// None.
    #[default]
    Stays,
    /// That before it.
    Before,
    /// That behind it.
    After,
    /// That on both sides.
    Both,
}

impl FullPresence {
    /// A document with its number.
    pub fn new(version: Option<u32>, presence: &Presence) -> Self {
        Self { version, root: presence.element() }
    }

    /// What it says.
    ///
    /// # Errors
    /// If it lacks something that a presence document has.
    pub fn presence(&self) -> Result<Presence, DocumentError> {
        Presence::from_element(&self.root)
    }
}

impl PartialPresence {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/pidf-diff+xml";

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, passes a limit, or has a selector that is not understood.
    pub fn parse(octets: &[u8]) -> Result<Self, PatchError> {
        let root = xml::read_whole(octets, &VOCABULARY)?;
        let version = root.number("version");
        if root.is(NAMESPACE, "pidf-full") {
            let mut root = root.renamed(PIDF, "presence");
            root.attributes_mut().retain(|it| !(it.namespace().is_empty() && it.name() == "version"));
            let full = FullPresence { version, root };
            full.presence()?;
            return Ok(Self::Full(full));
        }
        if !root.is(NAMESPACE, "pidf-diff") {
            return Err(DocumentError::Malformed { element: "pidf-diff", what: "the root" }.into());
        }
        let scope = Scope::default().within(&root);
        let mut operations = Vec::new();
        for child in root.elements().filter(|child| child.namespace() == NAMESPACE) {
            if operations.len() >= MAX_OPERATIONS {
                return Err(DocumentError::TooMany("changes").into());
            }
            operations.push(Operation::parse(child, &scope.within(child))?);
        }
        Ok(Self::Diff(PresenceDiff { version, entity: root.owned("entity"), operations }))
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let root = match self {
            Self::Full(FullPresence { version, root }) => {
                let version = version.map(|version| version.to_string());
                root.clone().renamed(NAMESPACE, "pidf-full").with_optional("version", version.as_deref())
            }
            Self::Diff(diff) => diff.element(),
        };
        xml::document(&root, &VOCABULARY)
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

impl PresenceDiff {
    fn element(&self) -> Element {
        let version = self.version.map(|version| version.to_string());
        let mut root = Element::of(NAMESPACE, "pidf-diff")
            .with_optional("entity", self.entity.as_deref())
            .with_optional("version", version.as_deref());
        root.push_all(self.operations.iter().map(Operation::element));
        root
    }
}

impl Operation {
    fn parse(element: &Element, scope: &Scope<'_>) -> Result<Self, PatchError> {
        let bad = |what| PatchError::Document(DocumentError::Malformed { element: "pidf-diff", what });
        let at = Selector::parse(element.attribute("sel").ok_or(bad("sel"))?, scope)?;
        let content = || element.content().to_vec();
        match element.name() {
            "add" => {
                let kind = element.attribute("type");
                let place = match (element.attribute("pos"), kind) {
                    (None, None) => Place::Last,
                    (Some("prepend"), None) => Place::First,
                    (Some("before"), None) => Place::Before,
                    (Some("after"), None) => Place::After,
                    (None, Some(kind)) => match (kind.strip_prefix('@'), kind.strip_prefix("namespace::")) {
                        (Some(name), _) => Place::Attribute(scope.attribute(name).ok_or(bad("type"))?),
                        (_, Some(prefix)) => Place::Prefix(prefix.into()),
                        _ => return Err(bad("type")),
                    },
                    _ => return Err(bad("pos")),
                };
                Ok(Self::Add { at, place, content: content() })
            }
            "replace" => Ok(Self::Replace { at, content: content() }),
            "remove" => {
                let white_space = match element.attribute("ws") {
                    None => WhiteSpace::Stays,
                    Some("before") => WhiteSpace::Before,
                    Some("after") => WhiteSpace::After,
                    Some("both") => WhiteSpace::Both,
                    Some(_) => return Err(bad("ws")),
                };
                Ok(Self::Remove { at, white_space })
            }
            _ => Err(bad("add, replace or remove")),
        }
    }

    fn element(&self) -> Element {
        let mut prefixes = Prefixes::default();
        let (name, at, content) = match self {
            Self::Add { at, content, .. } => ("add", at, &content[..]),
            Self::Replace { at, content } => ("replace", at, &content[..]),
            Self::Remove { at, .. } => ("remove", at, &[][..]),
        };
        let mut element = Element::of(NAMESPACE, name).with_attribute("sel", &at.write(&mut prefixes));
        if let Self::Add { place, .. } = self {
            let (attribute, value) = match place {
                Place::Last => ("pos", None),
                Place::First => ("pos", Some("prepend".into())),
                Place::Before => ("pos", Some("before".into())),
                Place::After => ("pos", Some("after".into())),
                Place::Attribute(name) => ("type", Some(format!("@{}", prefixes.attribute(name)))),
                Place::Prefix(prefix) => ("type", Some(format!("namespace::{prefix}"))),
            };
            element = element.with_optional(attribute, value.as_deref());
        }
        if let Self::Remove { white_space, .. } = self {
            let white_space = match white_space {
                WhiteSpace::Stays => None,
                WhiteSpace::Before => Some("before"),
                WhiteSpace::After => Some("after"),
                WhiteSpace::Both => Some("both"),
            };
            element = element.with_optional("ws", white_space);
        }
        for (prefix, namespace) in prefixes.declarations() {
            element = element.with_attribute_of(DECLARED, &prefix, namespace);
        }
        element.content_mut().extend(content.iter().cloned());
        element
    }
}

/// What a subscriber knows of somebody's presence (RFC 5263 §4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceTable {
    version: Option<u32>,
    root: Option<Element>,
}

impl PresenceTable {
    /// A table that has seen no document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a document in.
    ///
    /// # Errors
    /// If changes are missing or cannot be applied. The table stays as it was; ask for the full state.
    pub fn receive(&mut self, document: PartialPresence) -> Result<Update, PatchError> {
        match document {
            PartialPresence::Full(FullPresence { version, root }) => {
                if version.is_some() && version <= self.version {
                    return Ok(Update::Stale);
                }
                self.version = version;
                self.root = Some(root);
            }
            PartialPresence::Diff(diff) => {
                if let Some(received) = diff.version {
                    match self.version {
                        Some(known) if received <= known => return Ok(Update::Stale),
                        Some(known) if known.checked_add(1) == Some(received) => {}
                        known => return Err(PatchError::Missed { known, received }),
                    }
                }
                let root = self.root.as_ref().ok_or(PatchError::NotLocated)?;
                self.root = Some(apply::changed(root, &diff)?);
                self.version = diff.version.or(self.version);
            }
        }
        Ok(Update::Applied)
    }

    /// What it says; `None` before the first document.
    pub fn presence(&self) -> Option<Presence> {
        self.root.as_ref().and_then(|root| Presence::from_element(root).ok())
    }
}
