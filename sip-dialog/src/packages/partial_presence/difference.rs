//! What has changed between two documents, as few changes of whole tuples, persons, devices and notes.

use std::collections::BTreeSet;

use super::selector::is_literal;
use super::{
    End, MAX_OPERATIONS, Name, Operation, Place, Predicate, PresenceDiff, Selector, Step, VOCABULARY,
    WhiteSpace,
};
use crate::packages::presence::{PIDF, Presence};
use crate::packages::xml::{Content, Element, MAX_DEPTH, fragment};

/// What makes an element of one document the same as one of another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// Its name and identifier.
    Id(String, String, String),
    /// All of it.
    Whole(String),
}

impl Identity {
    fn of(element: &Element) -> Self {
        match element.attribute("id") {
            Some(id) => Self::Id(element.namespace().into(), element.name().into(), id.into()),
            None => Self::Whole(fragment(element, &VOCABULARY)),
        }
    }

    /// A selector of the child at this place of the root.
    fn selector(&self, place: usize) -> Selector {
        let step = match self {
            Self::Id(namespace, local, id) if is_literal(id) && !namespace.is_empty() => {
                let id =
                    Predicate::Attribute(Name { namespace: String::new(), local: "id".into() }, id.clone());
                let name = Name { namespace: namespace.clone(), local: local.clone() };
                Step { name: Some(name), predicates: vec![id] }
            }
            _ => Step { name: None, predicates: vec![Predicate::Position(place.saturating_add(1))] },
        };
        Selector { steps: vec![root(), step], end: End::Element }
    }
}

fn root() -> Step {
    let name = Name { namespace: PIDF.into(), local: "presence".into() };
    Step { name: Some(name), predicates: Vec::new() }
}

fn parts(root: &Element) -> Option<Vec<(Identity, &Element)>> {
    let parts: Vec<(Identity, &Element)> =
        root.elements().map(|child| (Identity::of(child), child)).collect();
    let distinct: BTreeSet<&Identity> = parts.iter().map(|(identity, _)| identity).collect();
    (distinct.len() == parts.len()).then_some(parts)
}

impl PresenceDiff {
    /// What makes `new` of `old`. `None` if the full state is better sent: they are of different presentities, something
    /// is in it twice or has moved, or there are more than [`MAX_OPERATIONS`] changes.
    pub fn between(old: &Presence, new: &Presence) -> Option<Self> {
        let (old_root, new_root) = (old.element(), new.element());
        let (mut known, wanted) = (parts(&old_root)?, parts(&new_root)?);
        // Within a change it is two deeper than in a document.
        if old.entity != new.entity || new_root.depth().saturating_add(1) > MAX_DEPTH {
            return None;
        }
        let mut operations = Vec::new();
        let names: BTreeSet<&Identity> = wanted.iter().map(|(identity, _)| identity).collect();
        // From behind, so that places before stay as they are.
        for place in (0..known.len()).rev() {
            let Some((identity, _)) = known.get(place).filter(|(identity, _)| !names.contains(identity))
            else {
                continue;
            };
            operations
                .push(Operation::Remove { at: identity.selector(place), white_space: WhiteSpace::Stays });
            known.remove(place);
        }
        let mut left = known.into_iter().peekable();
        let mut place = 0usize;
        let mut fresh: Vec<Content> = Vec::new();
        for (identity, element) in &wanted {
            let Some((same, before)) = left.next_if(|(known, _)| known == identity) else {
                fresh.push(Content::Element((*element).clone()));
                continue;
            };
            let added = fresh.len();
            if added > 0 {
                let content = std::mem::take(&mut fresh);
                operations.push(Operation::Add { at: same.selector(place), place: Place::Before, content });
            }
            place = place.saturating_add(added);
            if before != *element {
                let content = vec![Content::Element((*element).clone())];
                operations.push(Operation::Replace { at: same.selector(place), content });
            }
            place = place.saturating_add(1);
        }
        // What is left over has moved.
        if left.next().is_some() || operations.len() >= MAX_OPERATIONS {
            return None;
        }
        if !fresh.is_empty() {
            let at = Selector { steps: vec![root()], end: End::Element };
            operations.push(Operation::Add { at, place: Place::Last, content: fresh });
        }
        Some(Self { version: None, entity: Some(new.entity.clone()), operations })
    }
}
