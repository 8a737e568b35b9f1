//! Presence with what has changed alone (RFC 5263): the changes are found once, for all who want them so.

use bytes::Bytes;
use sip_dialog::packages::partial_presence::{FullPresence, PartialPresence, PresenceDiff};
use sip_dialog::packages::presence::Presence;
use sip_message::headers::Accept;
use sip_message::{HeaderName, Request};

use super::{Resource, Shown, Watching};

/// Stands for the number of a document, which each subscription has its own of.
const NUMBER: u32 = u32::MAX;

/// A resource as those are shown it who want changes alone.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// Grows with each change.
    revision: u32,
    presence: Option<Presence>,
    full: Bytes,
    /// What makes this revision of the one before; none if that is longer, or cannot be said.
    diff: Option<Bytes>,
}

/// Whether who subscribes wants changes alone (RFC 5263 §4.2): they name the type, and no less than the whole document.
pub(super) fn wants_changes(request: &Request) -> bool {
    let quality = |name: &str| {
        let one = request.headers.all::<Accept>().flatten().find(|accept| {
            accept.0.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(name))
        })?;
        let q =
            one.0.split(';').skip(1).find_map(|param| param.trim().strip_prefix("q=")?.parse::<f32>().ok());
        Some(q.unwrap_or(1.0))
    };
    let changes = quality(PartialPresence::CONTENT_TYPE);
    changes.is_some_and(|changes| changes > 0.0 && changes >= quality("application/pidf+xml").unwrap_or(0.0))
}

/// Whether it says what it can read.
pub(super) fn says(request: &Request) -> bool {
    request.headers.contains(HeaderName::ACCEPT)
}

/// The document is another one now.
pub(super) fn note(resource: &mut Resource) {
    let Some(partial) = &mut resource.partial else { return };
    let presence = resource.document.as_ref().and_then(|document| Presence::parse(&document.octets).ok());
    let before = std::mem::replace(&mut partial.presence, presence);
    partial.revision = partial.revision.wrapping_add(1);
    let write = |document: PartialPresence| Bytes::from(document.to_xml());
    let Some(now) = &partial.presence else { return };
    partial.full = write(PartialPresence::Full(FullPresence::new(Some(NUMBER), now)));
    let diff = before.and_then(|before| PresenceDiff::between(&before, now));
    let diff = diff.map(|diff| write(PartialPresence::Diff(PresenceDiff { version: Some(NUMBER), ..diff })));
    partial.diff = diff.filter(|diff| diff.len() < partial.full.len());
}

/// Somebody wants changes alone, from now on.
pub(super) fn begin(resource: &mut Resource) {
    if resource.partial.is_none() {
        resource.partial = Some(Box::default());
        note(resource);
    }
}

/// Puts a document of the other kind in the place of the whole one.
pub(super) fn show(resource: &Resource, one: &Watching, shown: &mut Shown) {
    let Some((content_type, octets)) = &mut shown.body else { return };
    let (template, holds) = match (&resource.partial, shown.etag) {
        (Some(partial), Some(_)) if partial.presence.is_some() => {
            let last = partial.revision.wrapping_sub(1);
            let follows = !one.urgent && one.partial.flatten() == Some(last);
            let diff = partial.diff.as_ref().filter(|_| follows);
            (diff.unwrap_or(&partial.full).clone(), Some(partial.revision))
        }
        // The state of somebody who is blocked politely looks like any other.
        _ => {
            let Ok(presence) = Presence::parse(octets) else { return };
            let full = PartialPresence::Full(FullPresence::new(Some(NUMBER), &presence));
            (full.to_xml().into(), None)
        }
    };
    let text = String::from_utf8_lossy(&template);
    let number = format!("version=\"{NUMBER}\"");
    *octets = text.replacen(&number, &format!("version=\"{}\"", one.version), 1).into();
    *content_type = PartialPresence::CONTENT_TYPE.into();
    shown.holds = holds;
}
