//! Where a change applies: the selectors of RFC 5261 §4.1, as far as presence documents need them.
//!
//! A selector goes down from the root by names or `*`, each step narrowed by attributes, by text or by position, and may end
//! at an attribute or a text. Functions, comments and processing instructions are refused: the full state is asked for.

use super::PatchError;
use crate::packages::presence::PIDF;
use crate::packages::xml::{Content, DECLARED, Element, MAX_DEPTH, MAX_NAMESPACE, is_name};

/// Steps of a selector: as many as elements can be within each other.
const MAX_STEPS: usize = MAX_DEPTH;
/// Predicates of a step: each is another walk over the children.
const MAX_PREDICATES: usize = 4;
/// Namespaces of a selector: they are declared where it stands.
const MAX_PREFIXES: usize = 32;

/// A name with its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The namespace; empty for an attribute without a prefix.
    pub namespace: String,
    /// The name.
    pub local: String,
}

/// Where a change applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The way down from the root, which the first one is.
    pub steps: Vec<Step>,
    /// What is meant there.
    pub end: End,
}

/// What a selector ends at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The element itself.
    Element,
    /// An attribute of it.
    Attribute(Name),
    /// A text in it, counted from 1; `None` if it must be the only one.
    Text(Option<usize>),
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name; `None` for any.
    pub name: Option<Name>,
    /// What narrows it, one after the other.
    pub predicates: Vec<Predicate>,
}

/// What narrows a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// The place among those that are left, counted from 1.
    Position(usize),
    /// An attribute and its value.
    Attribute(Name, String),
    /// A child and its text.
    Child(Name, String),
    /// The text of the element.
    Text(String),
}

/// The prefixes that hold where a selector stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Scope<'a> {
    /// What the element declares, over what holds around it.
    pub(super) fn within(&self, element: &'a Element) -> Self {
        let declared = element.attributes().iter().filter(|attribute| attribute.namespace() == DECLARED);
        let declared = declared.map(|attribute| (attribute.name(), attribute.value()));
        Self(self.0.iter().copied().chain(declared).collect())
    }

    fn find(&self, prefix: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(known, _)| *known == prefix).map(|(_, namespace)| *namespace)
    }

    /// The name of an element; without a prefix it is of the default namespace (§4.2.1), which is that of PIDF where
    /// somebody forgets to say so.
    fn element(&self, name: &str) -> Option<Name> {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let namespace = match self.find(prefix) {
            Some(namespace) => namespace,
            None if prefix.is_empty() => PIDF,
            None => return None,
        };
        named(namespace, local)
    }

    /// The name of an attribute; without a prefix it has no namespace.
    pub(super) fn attribute(&self, name: &str) -> Option<Name> {
        match name.split_once(':') {
            Some(("xml", local)) => {
                Some(Name { namespace: String::new(), local: name.into() }).filter(|_| is_name(local))
            }
            Some((prefix, local)) => named(self.find(prefix)?, local),
            None => Some(Name { namespace: String::new(), local: name.into() }).filter(|_| is_name(name)),
        }
    }
}

fn named(namespace: &str, local: &str) -> Option<Name> {
    let fine = (1..=MAX_NAMESPACE).contains(&namespace.len()) && is_name(local);
    fine.then(|| Name { namespace: namespace.into(), local: local.into() })
}

impl Selector {
    pub(super) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, PatchError> {
        let bad = || PatchError::Selector(text.into());
        let (mut steps, mut end) = (Vec::new(), End::Element);
        for part in split(text.trim().trim_start_matches('/'), '/') {
            if steps.len() >= MAX_STEPS || end != End::Element {
                return Err(bad());
            }
            let part = part.trim();
            if let Some(name) = part.strip_prefix('@') {
                end = End::Attribute(scope.attribute(name).ok_or_else(bad)?);
            } else if let Some(place) = part.strip_prefix("text()") {
                let inside = place.strip_prefix('[').and_then(|place| place.strip_suffix(']'));
                end = match (place, inside.map(|place| place.trim().parse())) {
                    ("", _) => End::Text(None),
                    (_, Some(Ok(place))) => End::Text(Some(place)),
                    _ => return Err(bad()),
                };
            } else {
                steps.push(Step::parse(part, scope).ok_or_else(bad)?);
            }
        }
        let selector = Self { steps, end };
        let mut prefixes = Prefixes::default();
        selector.write(&mut prefixes);
        if selector.steps.is_empty() || prefixes.0.len() > MAX_PREFIXES { Err(bad()) } else { Ok(selector) }
    }

    /// As it is written, with the prefixes that it needs.
    pub(super) fn write(&self, prefixes: &mut Prefixes) -> String {
        let mut out = String::new();
        for (at, step) in self.steps.iter().enumerate() {
            if at > 0 {
                out.push('/');
            }
            out.push_str(&step.name.as_ref().map_or("*".into(), |name| prefixes.element(name)));
            for predicate in &step.predicates {
                let text = match predicate {
                    Predicate::Position(place) => place.to_string(),
                    Predicate::Attribute(name, value) => {
                        format!("@{}={}", prefixes.attribute(name), literal(value))
                    }
                    Predicate::Child(name, value) => format!("{}={}", prefixes.element(name), literal(value)),
                    Predicate::Text(value) => format!(".={}", literal(value)),
                };
                out.push_str(&format!("[{text}]"));
            }
        }
        match &self.end {
            End::Element => {}
            End::Attribute(name) => out.push_str(&format!("/@{}", prefixes.attribute(name))),
            End::Text(None) => out.push_str("/text()"),
            End::Text(Some(place)) => out.push_str(&format!("/text()[{place}]")),
        }
        out
    }

    /// The way to the one element that it selects, by places among the content of each.
    pub(super) fn locate(&self, root: &Element) -> Result<Vec<usize>, PatchError> {
        let Some((first, rest)) = self.steps.split_first() else { return Err(PatchError::NotLocated) };
        if first.narrow([(0, root)].into_iter()).is_empty() {
            return Err(PatchError::NotLocated);
        }
        let mut found = None;
        descend(root, rest, &mut Vec::new(), &mut found)?;
        found.ok_or(PatchError::NotLocated)
    }
}

/// Whether something is in quotes or brackets decides where a selector is split.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut quote, mut depth) = (Vec::new(), 0usize, None, 0usize);
    for (place, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) => quote = Some(open).filter(|open| *open != c),
            (None, _) if c == at && depth == 0 => {
                parts.push(text.get(start..place).unwrap_or_default());
                start = place.saturating_add(c.len_utf8());
            }
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth = depth.saturating_add(1),
            (None, ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// A text in quotes that it does not have; XPath 1.0 has no escapes.
fn literal(value: &str) -> String {
    if value.contains('\'') { format!("\"{value}\"") } else { format!("'{value}'") }
}

/// Whether a selector can say it.
pub(super) fn is_literal(value: &str) -> bool {
    !(value.contains('\'') && value.contains('"'))
}

fn unquoted(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = ['\'', '"'].into_iter().find_map(|quote| {
        let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains(quote)).then_some(inside)
    });
    inside.map(Into::into)
}

impl Step {
    fn parse(text: &str, scope: &Scope<'_>) -> Option<Self> {
        let (test, mut rest) = text.split_at_checked(text.find('[').unwrap_or(text.len()))?;
        let name = match test.trim() {
            "*" => None,
            name => Some(scope.element(name)?),
        };
        let mut predicates = Vec::new();
        while !rest.is_empty() {
            let inside = rest.strip_prefix('[')?;
            let end = split(inside, ']').first().map(|inside| inside.len());
            let end = end.filter(|end| *end < inside.len())?;
            predicates.push(Predicate::parse(inside.get(..end)?, scope)?);
            rest = inside.get(end.saturating_add(1)..)?.trim();
        }
        (predicates.len() <= MAX_PREDICATES).then_some(Self { name, predicates })
    }

    /// Those that it selects among the children of an element.
    fn narrow<'e>(&self, children: impl Iterator<Item = (usize, &'e Element)>) -> Vec<(usize, &'e Element)> {
        let named =
            |child: &Element| self.name.as_ref().is_none_or(|name| child.is(&name.namespace, &name.local));
        let mut left: Vec<(usize, &Element)> = children.filter(|(_, child)| named(child)).collect();
        for predicate in &self.predicates {
            match predicate {
                Predicate::Position(place) => {
                    left =
                        place.checked_sub(1).and_then(|place| left.get(place).copied()).into_iter().collect();
                }
                Predicate::Attribute(name, value) => {
                    left.retain(|(_, child)| child.attribute_of(&name.namespace, &name.local) == Some(value))
                }
                Predicate::Child(name, value) => left.retain(|(_, child)| {
                    child.children_of(&name.namespace, &name.local).any(|child| child.text() == value)
                }),
                Predicate::Text(value) => left.retain(|(_, child)| child.text() == value),
            }
        }
        left
    }
}

impl Predicate {
    fn parse(text: &str, scope: &Scope<'_>) -> Option<Self> {
        if let Ok(place) = text.trim().parse() {
            return Some(Self::Position(place));
        }
        let (what, value) = text.split_once('=')?;
        let value = unquoted(value)?;
        let what = what.trim();
        match what.strip_prefix('@') {
            Some(name) => Some(Self::Attribute(scope.attribute(name)?, value)),
            None if what == "." => Some(Self::Text(value)),
            None => Some(Self::Child(scope.element(what)?, value)),
        }
    }
}

fn descend(
    element: &Element,
    steps: &[Step],
    path: &mut Vec<usize>,
    found: &mut Option<Vec<usize>>,
) -> Result<(), PatchError> {
    let Some((step, rest)) = steps.split_first() else {
        // §4.1: one that selects two selects none.
        return match found.replace(path.clone()) {
            Some(_) => Err(PatchError::Ambiguous),
            None => Ok(()),
        };
    };
    let children = element.content().iter().enumerate().filter_map(|(place, content)| match content {
        Content::Element(child) => Some((place, child)),
        Content::Text(_) => None,
    });
    for (place, child) in step.narrow(children) {
        path.push(place);
        descend(child, rest, path, found)?;
        path.pop();
    }
    Ok(())
}

/// The prefixes that selectors need, to be declared where they stand.
#[derive(Debug, Default)]
pub(super) struct Prefixes(Vec<String>);

impl Prefixes {
    fn element(&mut self, name: &Name) -> String {
        if name.namespace == PIDF { name.local.clone() } else { self.prefixed(name) }
    }

    pub(super) fn attribute(&mut self, name: &Name) -> String {
        if name.namespace.is_empty() { name.local.clone() } else { self.prefixed(name) }
    }

    fn prefixed(&mut self, name: &Name) -> String {
        let known = self.0.iter().position(|known| *known == name.namespace);
        let place = known.unwrap_or_else(|| {
            self.0.push(name.namespace.clone());
            self.0.len().saturating_sub(1)
        });
        format!("n{place}:{}", name.local)
    }

    /// Prefixes and what they stand for.
    pub(super) fn declarations(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().enumerate().map(|(place, namespace)| (format!("n{place}"), namespace.as_str()))
    }
}
