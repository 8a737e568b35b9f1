//! What watchers are shown: documents put together of publications, registrations and subscriptions.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use bytes::Bytes;
use sip_dialog::Body;
use sip_dialog::packages::Completeness;
use sip_dialog::packages::dialog_info::{DialogEntry, DialogInfo};
use sip_dialog::packages::message_summary::MessageSummary;
use sip_dialog::packages::presence::rpid::Qualified;
use sip_dialog::packages::presence::{Activity, Basic, Person, Presence, Rpid};
use sip_dialog::packages::reginfo::{
    ContactEvent, ContactState, RegInfo, RegisteredContact, Registration, RegistrationState,
};
use sip_transaction::slab::Key;

use super::{Calls, Document, EventServer, Package, Registered, Resource, Shown, Stage, Watching, partial};
use crate::AddressOfRecord;
use crate::location::Binding;

/// A contact that is bound no more, for the one document that tells of its end (RFC 3680 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    id: String,
    uri: String,
    event: ContactEvent,
}

impl Gone {
    /// Those that were there before and are not now.
    pub(super) fn between(now: Instant, before: &[Binding], after: &[Binding]) -> Vec<Self> {
        let gone = before.iter().filter(|old| after.iter().all(|new| id_of(new) != id_of(old)));
        let told = |old: &Binding| {
            let event =
                if old.expires_at <= now { ContactEvent::Expired } else { ContactEvent::Unregistered };
            Self { id: id_of(old), uri: old.uri().to_string(), event }
        };
        gone.map(told).collect()
    }
}

/// Names a contact within a document, and the same way in the next one.
fn id_of(binding: &Binding) -> String {
    let mut hasher = DefaultHasher::new();
    match &binding.outbound {
        Some(outbound) => outbound.hash(&mut hasher),
        None => binding.uri().to_string().hash(&mut hasher),
    }
    format!("c{:016x}", hasher.finish())
}

impl Document {
    fn new(octets: Bytes) -> Self {
        let mut hasher = DefaultHasher::new();
        octets.hash(&mut hasher);
        Self { octets, etag: hasher.finish() }
    }
}

/// The URI that documents name a user by.
pub(super) fn uri_of(aor: &AddressOfRecord) -> String {
    format!("sip:{aor}")
}

/// Whether a body is a document of this package that can be read.
pub(super) fn is_readable(package: Package, octets: &[u8]) -> bool {
    match package {
        Package::Presence => Presence::parse(octets).is_ok(),
        Package::MessageSummary => MessageSummary::parse(octets).is_ok(),
        Package::PresenceWatchers | Package::Registrations | Package::Dialogs => false,
    }
}

impl EventServer {
    /// Writes the document of a resource anew. Whether it is another one now.
    pub(super) fn write(&mut self, key: Key) -> bool {
        let Some(resource) = self.resources.get(key) else { return false };
        let document = match resource.package {
            // While nobody knows whether they are registered there is nothing to be told.
            _ if matches!(resource.registered, Registered::Asked) => None,
            Package::Presence => Some(self.presence_of(resource)),
            Package::MessageSummary => Some(self.summary_of(&resource.aor)),
            Package::PresenceWatchers | Package::Registrations | Package::Dialogs => return true,
        };
        let Some(resource) = self.resources.get_mut(key) else { return false };
        let changed = document != resource.document;
        resource.document = document;
        if changed {
            partial::note(resource);
        }
        changed
    }

    /// RFC 3856 §6.5, RFC 4479 §3: all that is published; else what is known of the registration.
    fn presence_of(&self, resource: &Resource) -> Document {
        let Resource { aor, registered, .. } = resource;
        let uri = uri_of(aor);
        let published: Vec<&Body> = self.compositor.states(aor.as_str(), Package::Presence.name()).collect();
        let parsed: Vec<Presence> =
            published.iter().filter_map(|body| Presence::parse(&body.octets).ok()).collect();
        match (parsed.as_slice(), published.as_slice()) {
            ([], _) => {
                let bound = matches!(registered, Registered::Known(bindings) if !bindings.is_empty());
                let basic = if bound { Basic::Open } else { Basic::Closed };
                let contact = bound.then_some(uri.as_str());
                let mut presence = Presence::new(&uri, basic, contact);
                if resource.calls.talks {
                    let activities = Qualified::words([Activity::OnThePhone]);
                    presence.persons.push(Person {
                        id: "p".into(),
                        rpid: Rpid { activities: vec![activities], ..Rpid::default() },
                        ..Person::default()
                    });
                }
                Document::new(presence.to_xml().into())
            }
            // What one phone says goes on as it was written, with whatever is in it that we do not know.
            ([only], [body]) if only.entity == uri => Document::new(body.octets.clone()),
            (several, _) => Document::new(Presence::composed(&uri, several).to_xml().into()),
        }
    }

    /// The newest word of who keeps the messages.
    fn summary_of(&self, aor: &AddressOfRecord) -> Document {
        let newest = self.compositor.states(aor.as_str(), Package::MessageSummary.name()).last();
        match newest {
            Some(body) => Document::new(body.octets.clone()),
            None => {
                let nothing = MessageSummary { account: Some(uri_of(aor)), ..MessageSummary::default() };
                Document::new(nothing.to_body().octets)
            }
        }
    }

    /// What the next NOTIFY of a subscription brings. `None` while it is not known yet.
    pub(super) fn shown(&self, now: Instant, one: &Watching) -> Option<Shown> {
        if let Some(list) = &one.list {
            return self.list_shown(now, one, list);
        }
        let resource = self.resources.get(one.resource)?;
        let (octets, etag) = self.state_of(now, resource, one.stage, one.version)?;
        let mut shown = Shown {
            body: octets.map(|octets| (resource.package.content_type().into(), octets)),
            etag,
            holds: None,
            told: Vec::new(),
        };
        if one.partial.is_some() && resource.package == Package::Presence {
            partial::show(resource, one, &mut shown);
        }
        Some(shown)
    }

    /// What somebody on this stage is shown of a resource: a document and its entity-tag. `None` while it is not known yet.
    pub(super) fn state_of(
        &self,
        now: Instant,
        resource: &Resource,
        stage: Stage,
        version: u32,
    ) -> Option<(Option<Bytes>, Option<u64>)> {
        match stage {
            // RFC 3856 §6.7: the presentity's state is not to leak while nobody has decided.
            Stage::Pending => return Some((None, None)),
            Stage::Polite if resource.package == Package::Dialogs => {
                return Some((Some(calls(&resource.aor, Vec::new(), version)), None));
            }
            Stage::Polite => {
                let nothing = Presence::new(&uri_of(&resource.aor), Basic::Closed, None);
                return Some((Some(nothing.to_xml().into()), None));
            }
            Stage::Active => {}
        }
        match resource.package {
            Package::PresenceWatchers => {
                Some((Some(self.watchers_of(now, &resource.aor, version).into()), None))
            }
            Package::Registrations => {
                let Registered::Known(bindings) = &resource.registered else { return None };
                let document = registrations(now, &resource.aor, bindings, &resource.gone, version);
                Some((Some(document.to_xml().into()), None))
            }
            Package::Dialogs => {
                let Calls { at, live, over, .. } = &resource.calls;
                let since = at.map_or(0, |at| now.saturating_duration_since(at).as_secs());
                let older = |entry: &DialogEntry| DialogEntry {
                    duration: entry.duration.map(|before| before.saturating_add(since)),
                    ..entry.clone()
                };
                // Who has just come has not seen them begin.
                let over = over.iter().filter(|_| version > 0).cloned();
                let all = live.iter().map(older).chain(over);
                Some((Some(calls(&resource.aor, all.collect(), version)), None))
            }
            Package::Presence | Package::MessageSummary => {
                let document = resource.document.as_ref()?;
                Some((Some(document.octets.clone()), Some(document.etag)))
            }
        }
    }

    /// RFC 3858: all who watch the presence of this user.
    fn watchers_of(&self, now: Instant, aor: &AddressOfRecord, version: u32) -> String {
        use sip_dialog::packages::watcher_info::{
            Watcher as Row, WatcherEvent, WatcherInfo, WatcherList, WatcherStatus,
        };
        let key_of_resource = self.names.get(&(Package::Presence, aor.clone())).copied();
        let resource = key_of_resource.and_then(|key| self.resources.get(key));
        let at = self.second(now);
        let row = |key: &Key| {
            let one = self.watchings.get(*key)?;
            let mut hasher = DefaultHasher::new();
            one.dialog.local_tag().hash(&mut hasher); // the tag itself would let others into the dialog
            let subscriber = one.dialog.subscriber()?;
            let stage = match (&one.list, key_of_resource) {
                (Some(list), Some(resource)) => list.stage_of(resource)?,
                _ => one.stage,
            };
            let status = match stage {
                Stage::Pending => WatcherStatus::Pending,
                // RFC 5025 §3.2.1: who is blocked politely is not to learn it; the user may.
                Stage::Polite | Stage::Active => WatcherStatus::Active,
            };
            let event = if one.approved { WatcherEvent::Approved } else { WatcherEvent::Subscribe };
            Some(Row {
                id: format!("w{:016x}", hasher.finish()),
                uri: one
                    .who
                    .as_deref()
                    .map_or_else(|| subscriber.uri().to_string(), |who| format!("sip:{who}")),
                display_name: subscriber.display_name().map(|name| name.to_string()),
                language: None,
                status,
                event,
                expiration: Some(one.ends.saturating_sub(at).into()),
                duration_subscribed: Some(at.saturating_sub(one.since).into()),
            })
        };
        let watching = resource.into_iter().flat_map(|resource| resource.watchings.iter().filter_map(row));
        let watchers: Vec<Row> = watching.chain(self.waiting.rows(at, aor)).collect();
        let list = WatcherList { resource: uri_of(aor), package: Package::Presence.name().into(), watchers };
        WatcherInfo { version, completeness: Completeness::Full, lists: vec![list] }.to_xml()
    }
}

/// RFC 4235 §4.1: the calls of somebody.
fn calls(aor: &AddressOfRecord, dialogs: Vec<DialogEntry>, version: u32) -> Bytes {
    let completeness = Completeness::Full;
    DialogInfo { version, completeness, entity: uri_of(aor), dialogs }.to_xml().into()
}

/// RFC 3680 §5.1: where somebody is registered.
fn registrations(
    now: Instant,
    aor: &AddressOfRecord,
    bindings: &[Binding],
    gone: &[Gone],
    version: u32,
) -> RegInfo {
    let active = bindings.iter().filter(|binding| binding.expires_at > now).map(|binding| {
        let uri = binding.uri().to_string();
        RegisteredContact {
            display_name: binding.contact.display_name().map(|name| name.to_string()),
            expires: Some(binding.remaining(now).as_secs()),
            q: (binding.q < 1000).then(|| format!("0.{:03}", binding.q)),
            call_id: Some(binding.call_id.clone()),
            cseq: Some(binding.cseq.into()),
            ..RegisteredContact::new(&id_of(binding), &uri, ContactState::Active, ContactEvent::Registered)
        }
    });
    let gone = gone
        .iter()
        .map(|gone| RegisteredContact::new(&gone.id, &gone.uri, ContactState::Terminated, gone.event));
    let contacts: Vec<RegisteredContact> = active.chain(gone).collect();
    let bound = contacts.iter().any(|contact| contact.state == ContactState::Active);
    let state = match (bound, contacts.is_empty()) {
        (true, _) => RegistrationState::Active,
        (false, true) => RegistrationState::Init,
        (false, false) => RegistrationState::Terminated,
    };
    let registration = Registration { aor: uri_of(aor), id: "r1".into(), state, contacts };
    RegInfo { version, completeness: Completeness::Full, registrations: vec![registration] }
}
