//! Reading small documents of known vocabularies into a tree, within limits; and writing them.

use quick_xml::XmlVersion;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::{DocumentError, MAX_OCTETS};

/// Elements within each other: the vocabularies have five.
const MAX_DEPTH: usize = 16;
/// Elements of a document.
const MAX_ELEMENTS: usize = 20_000;
/// Attributes of an element, declarations of namespaces among them: each is compared with each.
const MAX_ATTRIBUTES: usize = 32;

/// An element of a namespace that is known, with those of its children that are.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// One of those that were asked for.
    namespace: &'static str,
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// The value of an attribute; `xml:lang` by that name.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.attribute(name).map(String::from)
    }

    /// A number in an attribute; one that cannot be read is none.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.attribute(name)?.trim().parse().ok()
    }

    /// Children of the namespace that the element itself is of.
    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children_of(self.namespace, name)
    }

    pub(super) fn children_of<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.is(namespace, name))
    }

    pub(super) fn child<'a>(&'a self, name: &'a str) -> Option<&'a Element> {
        self.children(name).next()
    }

    /// The text directly in it, without white space around.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }
}

/// Reads a document. Elements of other namespaces than these are skipped with all that is in them; those of no namespace at
/// all count as of the first one, since there are phones that forget to name it.
pub(super) fn read(octets: &[u8], namespaces: &'static [&'static str]) -> Result<Element, DocumentError> {
    if octets.len() > MAX_OCTETS {
        return Err(DocumentError::TooLong);
    }
    let text = std::str::from_utf8(octets).map_err(|_| DocumentError::NotUtf8)?;
    characters(text)?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let mut tree = Tree { namespaces, open: Vec::new(), root: None, skipped: 0, elements: 0 };
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(syntax)?;
        match event {
            Event::Start(start) => {
                let namespace = tree.known(&namespace);
                tree.open(namespace, &start)?;
            }
            Event::Empty(start) => {
                let namespace = tree.known(&namespace);
                tree.open(namespace, &start)?;
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
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !tree.open.is_empty() || tree.skipped > 0 {
        return Err(DocumentError::Syntax("it ends within an element".into()));
    }
    tree.root.ok_or_else(|| DocumentError::Syntax("it has no element that is known".into()))
}

/// Whether all of it is what XML can say, as it stands or by number (XML 1.0 §2.2).
fn characters(text: &str) -> Result<(), DocumentError> {
    match text.chars().find(|c| !is_character(*c)) {
        Some(c) => Err(DocumentError::Syntax(format!("it has the character {:#x}", u32::from(c)))),
        None => Ok(()),
    }
}

fn is_character(c: char) -> bool {
    !matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn syntax(error: impl std::fmt::Display) -> DocumentError {
    DocumentError::Syntax(error.to_string())
}

struct Tree {
    namespaces: &'static [&'static str],
    open: Vec<Element>,
    root: Option<Element>,
    /// Open elements of a subtree that nobody asks for.
    skipped: usize,
    elements: usize,
}

impl Tree {
    fn known(&self, namespace: &ResolveResult<'_>) -> Option<&'static str> {
        match namespace {
            ResolveResult::Bound(namespace) => {
                self.namespaces.iter().find(|known| **known == namespace.into_inner()).copied()
            }
            ResolveResult::Unbound => self.namespaces.first().copied(),
            ResolveResult::Unknown(_) => None,
        }
    }

    fn open(&mut self, namespace: Option<&'static str>, start: &BytesStart<'_>) -> Result<(), DocumentError> {
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
        let mut attributes = Vec::new();
        for (n, attribute) in start.attributes().enumerate() {
            if n >= MAX_ATTRIBUTES {
                return Err(DocumentError::TooMany("attributes"));
            }
            let attribute = attribute.map_err(syntax)?;
            let name = attribute.key.into_inner();
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|_| DocumentError::DocumentType)?;
            characters(&value)?;
            // Attributes of other namespaces are nobody's.
            if !name.contains(':') || name == "xml:lang" {
                attributes.push((name.to_owned(), value.into_owned()));
            }
        }
        match namespace.filter(|_| self.skipped == 0) {
            Some(namespace) => {
                let name = start.local_name().into_inner().to_owned();
                let element = Element { namespace, name, attributes, ..Element::default() };
                self.open.push(element);
            }
            None if self.open.is_empty() => {
                return Err(DocumentError::Syntax("its root is of another namespace".into()));
            }
            None => self.skipped = self.skipped.saturating_add(1),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), DocumentError> {
        if let Some(left) = self.skipped.checked_sub(1) {
            self.skipped = left;
            return Ok(());
        }
        let Some(element) = self.open.pop() else {
            return Err(DocumentError::Syntax("it closes what is not open".into()));
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), DocumentError> {
        if self.skipped > 0 {
            return Ok(());
        }
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(DocumentError::Syntax("it has text outside of its root".into())),
        }
        Ok(())
    }
}

/// Writes a document, an element on a line.
#[derive(Debug)]
pub(super) struct Writer {
    out: String,
    open: Vec<&'static str>,
}

/// Attributes by name; those without a value are left out.
pub(super) type Attributes<'a> = &'a [(&'a str, Option<&'a str>)];

impl Writer {
    pub(super) fn new() -> Self {
        Self { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".into(), open: Vec::new() }
    }

    fn tag(&mut self, name: &str, attributes: Attributes<'_>) {
        for _ in &self.open {
            self.out.push_str("  ");
        }
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            if let Some(value) = value {
                self.out.push(' ');
                self.out.push_str(name);
                self.out.push_str("=\"");
                escape(&mut self.out, value, true);
                self.out.push('"');
            }
        }
    }

    /// Opens an element that has others in it.
    pub(super) fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str(">\n");
        self.open.push(name);
    }

    /// An element with a text, or with nothing.
    pub(super) fn leaf(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.tag(name, attributes);
        if text.is_empty() {
            self.out.push_str("/>\n");
            return;
        }
        self.out.push('>');
        escape(&mut self.out, text, false);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    /// Closes the element that was opened last.
    pub(super) fn end(&mut self) {
        if let Some(name) = self.open.pop() {
            for _ in &self.open {
                self.out.push_str("  ");
            }
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push_str(">\n");
        }
    }

    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }
}

/// What XML has no way to say is left out: control characters can come in a display name.
fn escape(out: &mut String, text: &str, attribute: bool) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if attribute => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            c if is_character(c) => out.push(c),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACES: &[&str] = &["urn:a", "urn:b"];

    fn refused(text: &str) -> DocumentError {
        read(text.as_bytes(), NAMESPACES).unwrap_err()
    }

    #[test]
    fn namespaces_by_whatever_prefix() {
        let text = "<?xml version='1.0'?><!-- c --><x:a xmlns:x='urn:a' xmlns='urn:c' k='1 &amp; 2' x:k='3'>\
            t<x:b>&lt;&#65;<![CDATA[<&>]]></x:b><b><x:b>no</x:b></b><y:b xmlns:y='urn:b' xml:lang='en'/></x:a>";
        let root = read(text.as_bytes(), NAMESPACES).unwrap();
        assert!(root.is("urn:a", "a"));
        assert_eq!((root.attribute("k"), root.attribute("x:k"), root.text()), (Some("1 & 2"), None, "t"));
        assert_eq!(root.children("b").map(Element::text).collect::<Vec<_>>(), ["<A<&>"]);
        assert_eq!(root.children_of("urn:b", "b").next().unwrap().attribute("xml:lang"), Some("en"));
        // No namespace counts as the first.
        assert!(read(b"<a><b/></a>", NAMESPACES).unwrap().child("b").is_some());
    }

    /// Bombs and other documents that nobody sends in good faith.
    #[test]
    fn documents_that_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY x 'xx'><!ENTITY y '&x;&x;'>]><a>&y;</a>";
        assert_eq!(refused(bomb), DocumentError::DocumentType);
        assert_eq!(refused("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>"), DocumentError::DocumentType);
        assert_eq!(refused("<a>&y;</a>"), DocumentError::DocumentType);
        assert_eq!(refused("<a k='&y;'/>"), DocumentError::DocumentType);
        let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
        assert_eq!(refused(&deep), DocumentError::TooMany("elements within each other"));
        let deep = format!("<a>{}{}</a>", "<z:b>".repeat(17), "</z:b>".repeat(17));
        assert_eq!(refused(&deep), DocumentError::TooMany("elements within each other"));
        assert_eq!(refused(&format!("<a>{}</a>", "<b/>".repeat(20_000))), DocumentError::TooMany("elements"));
        let many: String = (0..33).map(|n| format!(" k{n}=''")).collect();
        assert_eq!(refused(&format!("<a{many}/>")), DocumentError::TooMany("attributes"));
        assert_eq!(refused(&" ".repeat(MAX_OCTETS + 1)), DocumentError::TooLong);
        assert_eq!(read(b"<a>\xff</a>", NAMESPACES).unwrap_err(), DocumentError::NotUtf8);
        for broken in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>x",
            "<a k='1' k='2'/>",
            "<a",
            "</a>",
            "<c xmlns='urn:c'/>",
            "<a>\u{1}</a>",
            "<a>&#1;</a>",
            "<a k='&#xffff;'/>",
        ] {
            assert!(matches!(refused(broken), DocumentError::Syntax(_)), "{broken}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let nasty = "a\"'<>&]]>\r\n\tz\u{1}";
        let mut writer = Writer::new();
        writer.start("a", &[("xmlns", Some("urn:a")), ("k", Some(nasty)), ("none", None)]);
        writer.leaf("b", &[], nasty);
        writer.leaf("b", &[], "");
        let text = writer.finish();
        let root = read(text.as_bytes(), NAMESPACES).unwrap();
        let kept = nasty.replace('\u{1}', "");
        assert_eq!(root.attribute("k"), Some(kept.as_str()));
        assert_eq!(root.attribute("none"), None);
        assert_eq!(root.children("b").map(Element::text).collect::<Vec<_>>(), [kept.as_str(), ""]);
    }
}
