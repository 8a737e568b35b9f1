//! Reading documents into a tree, within limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

use super::element::Namespace;
use super::{Attribute, Content, DECLARED, Element, Vocabulary};
use crate::packages::{DocumentError, MAX_OCTETS};

/// Elements within each other: the vocabularies have five, but for lists within lists.
pub(crate) const MAX_DEPTH: usize = 16;
/// Elements of a document.
pub(crate) const MAX_ELEMENTS: usize = 20_000;
/// Attributes of an element: each is compared with each.
const MAX_ATTRIBUTES: usize = 32;
/// Namespaces that an element declares: what is written has at most one for each attribute, and its own.
const MAX_DECLARATIONS: usize = 40;
/// Octets in the name of a namespace: it is written wherever it begins, and two that take turns begin at each element.
pub(crate) const MAX_NAMESPACE: usize = 256;

/// Reads a document. Elements of other namespaces than these are skipped with all that is in them; those of no namespace at
/// all count as of the first one, since there are phones that forget to name it.
pub(crate) fn read(octets: &[u8], namespaces: &'static [&'static str]) -> Result<Element, DocumentError> {
    parse(octets, Known::These(namespaces))
}

/// Reads a document and keeps what it has of other namespaces. The root is of the vocabulary.
pub(crate) fn read_whole(octets: &[u8], vocabulary: &'static Vocabulary) -> Result<Element, DocumentError> {
    parse(octets, Known::All(vocabulary))
}

fn parse(octets: &[u8], known: Known) -> Result<Element, DocumentError> {
    if octets.len() > MAX_OCTETS {
        return Err(DocumentError::TooLong);
    }
    let text = decoded(octets)?;
    characters(text)?;
    let mut reader = NsReader::from_str(text);
    let mut tree =
        Tree { known, names: BTreeSet::new(), open: Vec::new(), root: None, skipped: 0, elements: 0 };
    loop {
        let event = reader.read_event().map_err(syntax)?;
        match event {
            Event::Start(start) => tree.open(reader.resolver(), &start)?,
            Event::Empty(start) => {
                tree.open(reader.resolver(), &start)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let name = name.xml10_content();
                // Only what XML itself defines: `&lt;` and characters by number.
                let text =
                    unescape(&format!("&{name};")).map_err(|_| DocumentError::DocumentType)?.into_owned();
                characters(&text)?;
                tree.text(&text)?;
            }
            Event::DocType(_) => return Err(DocumentError::DocumentType),
            Event::Decl(declaration) => encoding(&declaration, octets)?,
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !tree.open.is_empty() || tree.skipped > 0 {
        return Err(DocumentError::Syntax("it ends within an element".into()));
    }
    tree.root.ok_or_else(|| DocumentError::Syntax("it has no element that is known".into()))
}

/// UTF-16 is told by its first octets, with or without a mark (XML 1.0 appendix F). Nobody sends it: RFC 3863 §4.1 and
/// all the others write UTF-8.
fn decoded(octets: &[u8]) -> Result<&str, DocumentError> {
    if matches!(octets, [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, b'<', ..] | [b'<', 0, ..]) {
        return Err(DocumentError::NotUtf8);
    }
    let text = std::str::from_utf8(octets).map_err(|_| DocumentError::NotUtf8)?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// Another encoding than UTF-8 is as good if there are only characters of ASCII. A version 1.1 is read by the rules of 1.0:
/// what it adds are names and control characters.
fn encoding(declaration: &BytesDecl<'_>, octets: &[u8]) -> Result<(), DocumentError> {
    let name = match declaration.encoding() {
        Some(name) => name.map_err(syntax)?,
        None => return Ok(()),
    };
    if name.eq_ignore_ascii_case("utf-8") || octets.is_ascii() { Ok(()) } else { Err(DocumentError::NotUtf8) }
}

/// Whether all of it is what XML can say, as it stands or by number (XML 1.0 §2.2).
fn characters(text: &str) -> Result<(), DocumentError> {
    match text.chars().find(|c| !is_character(*c)) {
        Some(c) => Err(DocumentError::Syntax(format!("it has the character {:#x}", u32::from(c)))),
        None => Ok(()),
    }
}

pub(super) fn is_character(c: char) -> bool {
    !matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// A name without a prefix (Namespaces in XML §3), a little wider beyond ASCII.
pub(crate) fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    name.chars().next().is_some_and(first)
        && name.chars().all(|c| first(c) || c.is_ascii_digit() || c == '-' || c == '.')
}

fn syntax(error: impl std::fmt::Display) -> DocumentError {
    DocumentError::Syntax(error.to_string())
}

#[derive(Clone, Copy)]
enum Known {
    /// What is not of these is skipped.
    These(&'static [&'static str]),
    /// All is kept.
    All(&'static Vocabulary),
}

struct Tree {
    known: Known,
    /// Names of namespaces that are kept.
    names: BTreeSet<Arc<str>>,
    open: Vec<Element>,
    root: Option<Element>,
    /// Open elements of a subtree that nobody asks for.
    skipped: usize,
    elements: usize,
}

impl Tree {
    fn namespace(&mut self, namespace: &ResolveResult<'_>) -> Result<Option<Namespace>, DocumentError> {
        // Without a namespace an element is what its parent is, but within what is kept it is nobody's.
        let at_home = self
            .open
            .last()
            .is_none_or(|parent| matches!(parent.namespace, Namespace::Known(name) if !name.is_empty()));
        let vocabulary = match (namespace, self.known) {
            (ResolveResult::Unknown(_), _) => return Ok(None),
            (ResolveResult::Unbound, Known::These(names)) => {
                return Ok(names.first().map(|name| Namespace::Known(name)));
            }
            (ResolveResult::Unbound, Known::All(vocabulary)) => {
                let name = if at_home { vocabulary.namespace } else { "" };
                return Ok(Some(Namespace::Known(name)));
            }
            (ResolveResult::Bound(name), Known::These(names)) => {
                let name = name.into_inner();
                return Ok(names.iter().find(|known| **known == name).map(|known| Namespace::Known(known)));
            }
            (ResolveResult::Bound(_), Known::All(vocabulary)) => vocabulary,
        };
        let ResolveResult::Bound(name) = namespace else { return Ok(None) };
        let name = unescape(name.into_inner()).map_err(|_| DocumentError::DocumentType)?;
        if *name == *DECLARED {
            return Ok(None);
        }
        if let Some(known) = vocabulary.known(&name) {
            return Ok(Some(Namespace::Known(known)));
        }
        characters(&name)?;
        if name.is_empty() {
            return Ok(None);
        }
        if name.len() > MAX_NAMESPACE {
            return Err(DocumentError::TooMany("octets in the name of a namespace"));
        }
        let name = match self.names.get(&*name) {
            Some(known) => known.clone(),
            None => {
                let name: Arc<str> = name.as_ref().into();
                self.names.insert(name.clone());
                name
            }
        };
        Ok(Some(Namespace::Shared(name)))
    }

    fn open(&mut self, resolver: &NamespaceResolver, start: &BytesStart<'_>) -> Result<(), DocumentError> {
        self.elements = self.elements.saturating_add(1);
        if self.elements > MAX_ELEMENTS {
            return Err(DocumentError::TooMany("elements"));
        }
        if self.open.len().saturating_add(self.skipped) >= MAX_DEPTH {
            return Err(DocumentError::TooMany("elements within each other"));
        }
        if self.open.is_empty() && self.root.is_some() {
            return Err(DocumentError::Syntax("it has more than one root".into()));
        }
        let namespace = self.namespace(&resolver.resolve_element(start.name()).0)?;
        let namespace = namespace.filter(|_| self.skipped == 0);
        let declares = match (&namespace, self.known) {
            (Some(Namespace::Known(name)), Known::All(vocabulary)) => vocabulary.declaring == Some(*name),
            _ => false,
        };
        let attributes = self.attributes(resolver, start, declares)?;
        match namespace {
            Some(namespace) => {
                let name = start.local_name().into_inner().to_owned();
                if !is_name(&name) {
                    return Err(DocumentError::Syntax("it has a name that is none".into()));
                }
                self.open.push(Element { namespace, name, attributes, content: Vec::new() });
            }
            None if self.open.is_empty() => {
                return Err(DocumentError::Syntax("its root is of another namespace".into()));
            }
            None => self.skipped = self.skipped.saturating_add(1),
        }
        Ok(())
    }

    fn attributes(
        &mut self,
        resolver: &NamespaceResolver,
        start: &BytesStart<'_>,
        keep_declarations: bool,
    ) -> Result<Vec<Attribute>, DocumentError> {
        let (mut attributes, mut kept, mut declarations) = (Vec::<Attribute>::new(), 0usize, 0usize);
        for attribute in start.attributes() {
            let attribute = attribute.map_err(syntax)?;
            let declares = matches!(
                attribute.key.as_namespace_binding(),
                Some(PrefixDeclaration::Default | PrefixDeclaration::Named(_))
            );
            let count = if declares { &mut declarations } else { &mut kept };
            *count = count.saturating_add(1);
            if kept > MAX_ATTRIBUTES || declarations > MAX_DECLARATIONS {
                return Err(DocumentError::TooMany("attributes"));
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|_| DocumentError::DocumentType)?;
            characters(&value)?;
            if declares {
                if keep_declarations {
                    let name = attribute.key.into_inner().strip_prefix("xmlns:").unwrap_or_default().into();
                    let namespace = Namespace::Known(DECLARED);
                    attributes.push(Attribute { namespace, name, value: value.into_owned() });
                }
                continue;
            }
            let name = attribute.key.into_inner();
            let (namespace, name) = match name.split_once(':') {
                None => (Namespace::Known(""), name),
                Some(("xml", local)) if is_name(local) => (Namespace::Known(""), name),
                Some((_, local)) => {
                    // Of whom nobody has heard, and those of others where all others are skipped.
                    let bound = resolver.resolve_attribute(attribute.key).0;
                    let bound @ ResolveResult::Bound(_) = bound else { continue };
                    match self.namespace(&bound)? {
                        Some(namespace) => (namespace, local),
                        None => continue,
                    }
                }
            };
            if !is_name(name.trim_start_matches("xml:")) {
                return Err(DocumentError::Syntax("it has a name that is none".into()));
            }
            // By two prefixes it is the same one (Namespaces in XML §6.3).
            if attributes.iter().any(|known| known.name == name && known.namespace == namespace) {
                return Err(DocumentError::Syntax("it has an attribute twice".into()));
            }
            attributes.push(Attribute { namespace, name: name.to_owned(), value: value.into_owned() });
        }
        Ok(attributes)
    }

    fn close(&mut self) -> Result<(), DocumentError> {
        if let Some(left) = self.skipped.checked_sub(1) {
            self.skipped = left;
            return Ok(());
        }
        let Some(mut element) = self.open.pop() else {
            return Err(DocumentError::Syntax("it closes what is not open".into()));
        };
        element.tidy();
        match self.open.last_mut() {
            Some(parent) => parent.content.push(Content::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), DocumentError> {
        if self.skipped > 0 {
            return Ok(());
        }
        match self.open.last_mut() {
            Some(element) => element.push_text(text),
            None if text.trim().is_empty() => {}
            None => return Err(DocumentError::Syntax("it has text outside of its root".into())),
        }
        Ok(())
    }
}
