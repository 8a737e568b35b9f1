//! Changes applied to a document (RFC 5261 §4).

use super::{End, Operation, PatchError, Place, PresenceDiff, Selector, VOCABULARY, WhiteSpace};
use crate::packages::MAX_OCTETS;
use crate::packages::presence::Presence;
use crate::packages::xml::{Content, Element, MAX_DEPTH, MAX_ELEMENTS, document};

impl PresenceDiff {
    /// The document with these changes.
    ///
    /// # Errors
    /// If one of them cannot be applied, or the result is no presence document.
    pub fn apply(&self, old: &Presence) -> Result<Presence, PatchError> {
        Ok(Presence::from_element(&changed(&old.element(), self)?)?)
    }
}

/// A copy with all changes, or none.
pub(super) fn changed(root: &Element, diff: &PresenceDiff) -> Result<Element, PatchError> {
    if diff.entity.is_some() && diff.entity.as_deref() != root.attribute("entity") {
        return Err(PatchError::Entity);
    }
    let mut root = root.clone();
    for operation in &diff.operations {
        operation.apply(&mut root)?;
        // Before anything walks deeper than a document is read.
        if root.depth() > MAX_DEPTH || root.count() > MAX_ELEMENTS {
            return Err(PatchError::TooLarge);
        }
    }
    if document(&root, &VOCABULARY).len() > MAX_OCTETS {
        return Err(PatchError::TooLarge);
    }
    Presence::from_element(&root)?;
    Ok(root)
}

impl Operation {
    fn apply(&self, root: &mut Element) -> Result<(), PatchError> {
        match self {
            Self::Add { at, place, content } => add(root, at, place, content),
            Self::Replace { at, content } => replace(root, at, content),
            Self::Remove { at, white_space } => remove(root, at, *white_space),
        }
    }
}

/// The element at a place.
fn reach<'e>(root: &'e mut Element, path: &[usize]) -> Result<&'e mut Element, PatchError> {
    let mut here = root;
    for place in path {
        match here.content_mut().get_mut(*place) {
            Some(Content::Element(child)) => here = child,
            _ => return Err(PatchError::NotLocated),
        }
    }
    Ok(here)
}

/// The parent of the element that is selected, and its place there. The root has none.
fn reach_parent<'e>(root: &'e mut Element, at: &Selector) -> Result<(&'e mut Element, usize), PatchError> {
    let path = at.locate(root)?;
    let (place, above) = path.split_last().ok_or(PatchError::Content)?;
    Ok((reach(root, above)?, *place))
}

/// The text of a change, if it is nothing else.
fn text(content: &[Content]) -> Result<&str, PatchError> {
    match content {
        [] => Ok(""),
        [Content::Text(text)] => Ok(text),
        _ => Err(PatchError::Content),
    }
}

fn add(root: &mut Element, at: &Selector, place: &Place, content: &[Content]) -> Result<(), PatchError> {
    if at.end != End::Element {
        return Err(PatchError::Content);
    }
    let insert = |parent: &mut Element, place: usize| {
        let place = place.min(parent.content().len());
        parent.content_mut().splice(place..place, content.iter().cloned());
        parent.tidy();
    };
    match place {
        Place::Before | Place::After => {
            let (parent, place_there) = reach_parent(root, at)?;
            insert(parent, place_there.saturating_add(usize::from(*place == Place::After)));
        }
        Place::First | Place::Last => {
            let path = at.locate(root)?;
            let parent = reach(root, &path)?;
            insert(parent, if *place == Place::First { 0 } else { usize::MAX });
        }
        Place::Attribute(name) => {
            let path = at.locate(root)?;
            let element = reach(root, &path)?;
            if element.attribute_of(&name.namespace, &name.local).is_some() {
                return Err(PatchError::Content);
            }
            let with = element.clone().with_attribute_of(&name.namespace, &name.local, text(content)?);
            *element = with;
        }
        Place::Prefix(_) => {
            at.locate(root)?;
        }
    }
    Ok(())
}

fn replace(root: &mut Element, at: &Selector, content: &[Content]) -> Result<(), PatchError> {
    match &at.end {
        End::Element => {
            let elements = content.iter().filter_map(|content| match content {
                Content::Text(text) if text.trim().is_empty() => None,
                other => Some(other),
            });
            let elements: Vec<&Content> = elements.collect();
            let [only @ Content::Element(_)] = &elements[..] else { return Err(PatchError::Content) };
            let (parent, place) = reach_parent(root, at)?;
            if let Some(old) = parent.content_mut().get_mut(place) {
                *old = (*only).clone();
            }
        }
        End::Attribute(name) => {
            let path = at.locate(root)?;
            let element = reach(root, &path)?;
            let text = text(content)?;
            element
                .attribute_mut(&name.namespace, &name.local)
                .ok_or(PatchError::NotLocated)?
                .replace_range(.., text);
        }
        End::Text(place) => {
            let path = at.locate(root)?;
            let element = reach(root, &path)?;
            let new = text(content)?;
            *nth_text(element, *place)? = new.into();
            element.tidy();
        }
    }
    Ok(())
}

fn remove(root: &mut Element, at: &Selector, white_space: WhiteSpace) -> Result<(), PatchError> {
    match &at.end {
        End::Element => {
            let (parent, place) = reach_parent(root, at)?;
            let blank = |parent: &Element, place: Option<usize>| {
                let content = place.and_then(|place| parent.content().get(place));
                matches!(content, Some(Content::Text(text)) if text.trim().is_empty())
            };
            let before = place.checked_sub(1);
            let after = place.checked_add(1);
            let with_after =
                matches!(white_space, WhiteSpace::After | WhiteSpace::Both) && blank(parent, after);
            let with_before =
                matches!(white_space, WhiteSpace::Before | WhiteSpace::Both) && blank(parent, before);
            let from = place.saturating_sub(usize::from(with_before));
            let to = place.saturating_add(1).saturating_add(usize::from(with_after));
            let to = to.min(parent.content().len());
            parent.content_mut().drain(from..to);
            parent.tidy();
        }
        End::Attribute(name) => {
            let path = at.locate(root)?;
            let element = reach(root, &path)?;
            let count = element.attributes().len();
            element
                .attributes_mut()
                .retain(|it| !(it.namespace() == name.namespace && it.name() == name.local));
            if element.attributes().len() == count {
                return Err(PatchError::NotLocated);
            }
        }
        End::Text(place) => {
            let path = at.locate(root)?;
            let element = reach(root, &path)?;
            nth_text(element, *place)?.clear();
            element.tidy();
        }
    }
    Ok(())
}

fn nth_text(element: &mut Element, place: Option<usize>) -> Result<&mut String, PatchError> {
    let mut texts = element.content_mut().iter_mut().filter_map(|content| match content {
        Content::Text(text) => Some(text),
        Content::Element(_) => None,
    });
    let at = place.unwrap_or(1).checked_sub(1).ok_or(PatchError::NotLocated)?;
    let found = texts.nth(at).ok_or(PatchError::NotLocated)?;
    if place.is_none() && texts.next().is_some() {
        return Err(PatchError::Ambiguous);
    }
    Ok(found)
}
