//! A tree of what a document says.

use std::fmt;
use std::sync::Arc;

/// The name of a namespace, or none (the empty text). Names that are known cost nothing to copy, and others are shared:
/// a document may have a long one at each of its elements.
#[derive(Clone)]
pub(crate) enum Namespace {
    Known(&'static str),
    Shared(Arc<str>),
}

impl Namespace {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Namespace {}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// An element of a document: its name with its namespace, its attributes, and what is in it in order.
///
/// What a document has that nobody here knows is kept so, and written as it came, by whatever prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) attributes: Vec<Attribute>,
    pub(super) content: Vec<Content>,
}

/// An attribute of an [`Element`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) value: String,
}

impl Attribute {
    /// The name of its namespace, empty for those without a prefix and for those of XML itself.
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// Its name without the prefix; `xml:lang` and others of XML itself with it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// What is in an [`Element`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Another one.
    Element(Element),
    /// Text.
    Text(String),
}

impl Element {
    /// An empty element of a namespace that somebody else has defined.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self::bare(Namespace::Shared(namespace.into()), name)
    }

    /// An empty element of a namespace that is known here.
    pub(crate) fn of(namespace: &'static str, name: &str) -> Self {
        Self::bare(Namespace::Known(namespace), name)
    }

    pub(super) fn bare(namespace: Namespace, name: &str) -> Self {
        Self { namespace, name: name.into(), attributes: Vec::new(), content: Vec::new() }
    }

    /// With an attribute that has no prefix, or with `xml:lang`.
    #[must_use]
    pub fn with_attribute(self, name: &str, value: &str) -> Self {
        self.with_attribute_of("", name, value)
    }

    /// With an attribute of a namespace.
    #[must_use]
    pub fn with_attribute_of(mut self, namespace: &str, name: &str, value: &str) -> Self {
        let namespace = match namespace {
            "" => Namespace::Known(""),
            other => Namespace::Shared(other.into()),
        };
        self.attributes.push(Attribute { namespace, name: name.into(), value: value.into() });
        self
    }

    /// With an attribute if there is a value.
    pub(crate) fn with_optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with_attribute(name, value),
            None => self,
        }
    }

    /// With this text behind what is in it.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.push_text(text);
        self
    }

    /// With this element behind what is in it.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.content.push(Content::Element(child));
        self
    }

    pub(crate) fn push(&mut self, child: Self) {
        self.content.push(Content::Element(child));
    }

    pub(crate) fn push_all(&mut self, children: impl Iterator<Item = Self>) {
        self.content.extend(children.map(Content::Element));
    }

    /// An element with a text in it.
    pub(crate) fn push_leaf(&mut self, namespace: &'static str, name: &str, text: &str) {
        self.push(Self::of(namespace, name).with_text(text));
    }

    /// Texts that touch are one.
    pub(crate) fn push_text(&mut self, text: &str) {
        match self.content.last_mut() {
            _ if text.is_empty() => {}
            Some(Content::Text(known)) => known.push_str(text),
            _ => self.content.push(Content::Text(text.into())),
        }
    }

    /// The name of its namespace.
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// Its name, without a prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is this one.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_str() == namespace
    }

    /// The value of an attribute without a prefix; `xml:lang` by that name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_of("", name)
    }

    /// The value of an attribute of a namespace.
    pub fn attribute_of(&self, namespace: &str, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|it| it.name == name && it.namespace() == namespace);
        found.map(|attribute| attribute.value.as_str())
    }

    pub(crate) fn attribute_mut(&mut self, namespace: &str, name: &str) -> Option<&mut String> {
        let found = self.attributes.iter_mut().find(|it| it.name == name && it.namespace() == namespace);
        found.map(|attribute| &mut attribute.value)
    }

    /// All attributes.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    pub(crate) fn attributes_mut(&mut self) -> &mut Vec<Attribute> {
        &mut self.attributes
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.attribute(name).map(String::from)
    }

    /// A number in an attribute; one that cannot be read is none.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.attribute(name)?.trim().parse().ok()
    }

    /// What is in it, in order.
    pub fn content(&self) -> &[Content] {
        &self.content
    }

    pub(crate) fn content_mut(&mut self) -> &mut Vec<Content> {
        &mut self.content
    }

    /// Named otherwise, and without declarations.
    pub(crate) fn renamed(mut self, namespace: &'static str, name: &str) -> Self {
        self.attributes.retain(|attribute| attribute.namespace() != super::DECLARED);
        Self { namespace: Namespace::Known(namespace), name: name.into(), ..self }
    }

    /// As it would be read: texts that touch are one, empty ones are none, and between the elements of a vocabulary there is
    /// no white space, since it means nothing there.
    pub(crate) fn tidy(&mut self) {
        let ours = matches!(self.namespace, Namespace::Known(name) if !name.is_empty());
        let spaced = ours && self.elements().next().is_some();
        let blank = |text: &str| text.is_empty() || (spaced && text.trim().is_empty());
        let mut content: Vec<Content> = Vec::new();
        for one in std::mem::take(&mut self.content) {
            match (one, content.last_mut()) {
                (Content::Text(text), _) if blank(&text) => {}
                (Content::Text(text), Some(Content::Text(known))) => known.push_str(&text),
                (one, _) => content.push(one),
            }
        }
        self.content = content;
    }

    /// The elements in it.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.content.iter().filter_map(|content| match content {
            Content::Element(element) => Some(element),
            Content::Text(_) => None,
        })
    }

    /// How many elements are within each other, itself among them.
    pub(crate) fn depth(&self) -> usize {
        self.elements().map(Self::depth).max().unwrap_or(0).saturating_add(1)
    }

    /// How many elements it is, itself among them.
    pub(crate) fn count(&self) -> usize {
        self.elements().map(Self::count).fold(1, usize::saturating_add)
    }

    /// Children of the namespace that the element itself is of.
    pub(crate) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children_of(self.namespace(), name)
    }

    pub(crate) fn children_of<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Self> {
        self.elements().filter(move |child| child.is(namespace, name))
    }

    pub(crate) fn child<'a>(&'a self, name: &'a str) -> Option<&'a Self> {
        self.children(name).next()
    }

    /// The first text directly in it, without white space around.
    pub fn text(&self) -> &str {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text(text) => Some(text.trim()),
            Content::Element(_) => None,
        });
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }
}
