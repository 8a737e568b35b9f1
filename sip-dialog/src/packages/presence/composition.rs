//! One document made of several (RFC 3856 §6.5 leaves the policy to the presence agent).

use std::collections::BTreeSet;

use super::{Presence, VOCABULARY};
use crate::packages::MAX_OCTETS;
use crate::packages::xml::{Element, MAX_ELEMENTS, fragment};

/// Octets that the declaration, the root and its namespaces take beside the entity's name.
const AROUND: usize = 1024;
/// Octets around an element: white space, and what an identifier grows by.
const BEFORE: usize = 32;

impl Presence {
    /// All that these documents say, in their order: what one device publishes beside what others do.
    ///
    /// What is said twice in the same words is said once. Two different parts of one identifier are both kept, and the
    /// later one gets another identifier, the same one each time. What would make the document larger than a reader
    /// takes ([`MAX_OCTETS`]) is left out. Of several persons all are kept: that they differ is for people to see
    /// (RFC 4479 §3.5).
    pub fn composed<'a>(entity: &str, documents: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut composed = Self { entity: entity.into(), ..Self::default() };
        let mut room = Room {
            octets: MAX_OCTETS.saturating_sub(AROUND).saturating_sub(entity.len().saturating_mul(6)),
            elements: MAX_ELEMENTS.saturating_sub(1),
            seen: BTreeSet::new(),
        };
        for document in documents {
            let Self { entity: _, tuples, notes, persons, devices, extensions } = document;
            composed.tuples.extend(tuples.iter().filter(|it| room.takes(&it.element())).cloned());
            let note = |room: &mut Room, it: &super::Note| room.takes(&it.element(VOCABULARY.namespace));
            composed.notes.extend(notes.iter().filter(|it| note(&mut room, it)).cloned());
            composed.persons.extend(persons.iter().filter(|it| room.takes(&it.element())).cloned());
            composed.devices.extend(devices.iter().filter(|it| room.takes(&it.element())).cloned());
            composed.extensions.extend(extensions.iter().filter(|it| room.takes(it)).cloned());
        }
        composed.make_identifiers_unique();
        composed
    }

    /// An identifier is one of the document (XML 1.0 §3.3.1). Those that are there stay with who has them first.
    fn make_identifiers_unique(&mut self) {
        let mut ids: Vec<&mut String> = Vec::new();
        for tuple in &mut self.tuples {
            ids.push(&mut tuple.id);
            ids.extend(tuple.rpid.ids());
        }
        for person in &mut self.persons {
            ids.push(&mut person.id);
            ids.extend(person.rpid.ids());
        }
        for device in &mut self.devices {
            ids.push(&mut device.id);
            ids.extend(device.rpid.ids());
        }
        let mut taken: BTreeSet<String> = ids.iter().map(|id| (*id).clone()).collect();
        let mut used = BTreeSet::new();
        for id in ids {
            if used.insert(id.clone()) {
                continue;
            }
            let free = (2usize..).map(|n| format!("{id}-{n}")).find(|name| !taken.contains(name));
            *id = free.unwrap_or_default();
            taken.insert(id.clone());
            used.insert(id.clone());
        }
    }
}

/// What still goes into a document.
struct Room {
    octets: usize,
    elements: usize,
    /// What is in it, as written.
    seen: BTreeSet<String>,
}

impl Room {
    fn takes(&mut self, element: &Element) -> bool {
        let text = fragment(element, &VOCABULARY);
        let octets = self.octets.checked_sub(text.len().saturating_add(BEFORE));
        let elements = self.elements.checked_sub(element.count());
        match (octets, elements) {
            (Some(octets), Some(elements)) if !self.seen.contains(&text) => {
                self.seen.insert(text);
                (self.octets, self.elements) = (octets, elements);
                true
            }
            _ => false,
        }
    }
}
