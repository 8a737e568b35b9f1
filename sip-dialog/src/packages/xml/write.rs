//! Writing documents.

use super::read::is_character;
use super::{Content, DECLARED, Element, Vocabulary};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes a document of a fixed form, an element on a line.
#[derive(Debug)]
pub(crate) struct Writer {
    out: String,
    open: Vec<&'static str>,
}

/// Attributes by name; those without a value are left out.
pub(crate) type Attributes<'a> = &'a [(&'a str, Option<&'a str>)];

impl Writer {
    pub(crate) fn new() -> Self {
        Self { out: DECLARATION.into(), open: Vec::new() }
    }

    fn tag(&mut self, name: &str, attributes: Attributes<'_>) {
        indent(&mut self.out, self.open.len());
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            if let Some(value) = value {
                write_attribute(&mut self.out, name, value);
            }
        }
    }

    /// Opens an element that has others in it.
    pub(crate) fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str(">\n");
        self.open.push(name);
    }

    /// An element with a text, or with nothing.
    pub(crate) fn leaf(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.tag(name, attributes);
        if text.is_empty() {
            self.out.push_str("/>\n");
            return;
        }
        self.out.push('>');
        escape(&mut self.out, text, false);
        close(&mut self.out, "", name);
        self.out.push('\n');
    }

    /// Closes the element that was opened last.
    pub(crate) fn end(&mut self) {
        if let Some(name) = self.open.pop() {
            indent(&mut self.out, self.open.len());
            close(&mut self.out, "", name);
            self.out.push('\n');
        }
    }

    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }
}

/// Writes a tree. The vocabulary's namespace is the default one, its others have their prefixes, and any else is declared
/// where it begins. Only elements of the vocabulary are laid out: within others white space may mean something.
pub(crate) fn document(root: &Element, vocabulary: &Vocabulary) -> String {
    let used: Vec<(&str, &str)> =
        vocabulary.prefixes.iter().filter(|(_, namespace)| uses(root, namespace)).copied().collect();
    let mut out = Tree { out: DECLARATION.into(), vocabulary, prefixes: &used };
    out.element(root, None, Some(0));
    out.out.push('\n');
    out.out
}

/// An element as it is written in the root of a document of a vocabulary.
pub(crate) fn fragment(element: &Element, vocabulary: &Vocabulary) -> String {
    let mut out = Tree { out: String::new(), vocabulary, prefixes: vocabulary.prefixes };
    out.element(element, Some(vocabulary.namespace), Some(1));
    out.out
}

fn uses(element: &Element, namespace: &str) -> bool {
    element.namespace() == namespace
        || element.attributes.iter().any(|attribute| attribute.namespace() == namespace)
        || element.elements().any(|child| uses(child, namespace))
}

struct Tree<'a> {
    out: String,
    vocabulary: &'a Vocabulary,
    prefixes: &'a [(&'a str, &'a str)],
}

impl Tree<'_> {
    fn prefix(&self, namespace: &str) -> Option<&str> {
        self.prefixes.iter().find(|(_, known)| *known == namespace).map(|(prefix, _)| *prefix)
    }

    /// `default` is the namespace of names without a prefix, `None` at the root; `depth` is `None` where nothing is laid out.
    fn element<'e>(&mut self, element: &'e Element, default: Option<&'e str>, depth: Option<usize>) {
        let namespace = element.namespace();
        let home = default.unwrap_or(self.vocabulary.namespace);
        let prefix = if home == namespace { None } else { self.prefix(namespace) };
        let prefix = prefix.map(|prefix| format!("{prefix}:")).unwrap_or_default();
        self.out.push('<');
        self.out.push_str(&prefix);
        self.out.push_str(&element.name);
        let inner = if prefix.is_empty() { namespace } else { home };
        if default != Some(inner) {
            write_attribute(&mut self.out, "xmlns", inner);
        }
        if default.is_none() {
            for (prefix, namespace) in self.prefixes {
                write_attribute(&mut self.out, &format!("xmlns:{prefix}"), namespace);
            }
        }
        self.attributes(element);
        if element.content.is_empty() {
            self.out.push_str("/>");
            return;
        }
        self.out.push('>');
        let only_elements = element.content.iter().all(|content| matches!(content, Content::Element(_)));
        let depth = depth.filter(|_| only_elements && self.vocabulary.has(namespace));
        let below = depth.map(|depth| depth.saturating_add(1));
        for content in &element.content {
            if let Some(below) = below {
                self.out.push('\n');
                indent(&mut self.out, below);
            }
            match content {
                Content::Element(child) => self.element(child, Some(inner), below),
                Content::Text(text) => escape(&mut self.out, text, false),
            }
        }
        if let Some(depth) = depth {
            self.out.push('\n');
            indent(&mut self.out, depth);
        }
        close(&mut self.out, &prefix, &element.name);
    }

    fn attributes(&mut self, element: &Element) {
        let mut declared: Vec<&str> = Vec::new();
        for attribute in &element.attributes {
            let namespace = attribute.namespace();
            if namespace.is_empty() {
                write_attribute(&mut self.out, &attribute.name, &attribute.value);
                continue;
            }
            if namespace == DECLARED {
                write_attribute(&mut self.out, &format!("xmlns:{}", attribute.name), &attribute.value);
                continue;
            }
            let prefix = self.prefix(namespace).map(String::from).unwrap_or_else(|| {
                let at = declared.iter().position(|known| *known == namespace).unwrap_or_else(|| {
                    declared.push(namespace);
                    let at = declared.len().saturating_sub(1);
                    write_attribute(&mut self.out, &format!("xmlns:a{at}"), namespace);
                    at
                });
                format!("a{at}")
            });
            write_attribute(&mut self.out, &format!("{prefix}:{}", attribute.name), &attribute.value);
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn close(out: &mut String, prefix: &str, name: &str) {
    out.push_str("</");
    out.push_str(prefix);
    out.push_str(name);
    out.push('>');
}

fn write_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape(out, value, true);
    out.push('"');
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
