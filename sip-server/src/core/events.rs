//! SUBSCRIBE and PUBLISH for users of ours: taken by the event server, instead of the phones.

use std::task::Waker;
use std::time::Instant;

use sip_message::headers::{Event, From};
use sip_message::{Method, Request, StatusCode, Uri};
use sip_transaction::ServerTx;
use sip_transport::Path;

use super::beside::Note;
use super::requests::Destination;
use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::domains::Domains;
use crate::events::record::{EventChange, EventRecord};
use crate::events::{
    EventServer, Listed, Members, Package, Permission, Permissions, Subscribe, Watcher, list_within,
};
use crate::location::Question;
use crate::users::{Users, owns};

impl ServerCore {
    /// Subscriptions with the server, and publications that it holds; `None` without an event server.
    #[must_use]
    pub fn events(&self) -> Option<(usize, usize)> {
        self.events.as_ref().map(|events| (events.subscriptions(), events.publications()))
    }

    /// Says anew who may watch whom. Subscriptions that are allowed or forbidden by it learn it at once.
    pub fn set_event_permissions(&mut self, now: Instant, permissions: Permissions) {
        if let Some(events) = &mut self.events {
            events.set_permissions(now, permissions, &mut self.layer);
        }
        self.settle(now);
    }

    /// Says what `watcher`, as `user@domain`, may see of the presence of `user`; `None` takes back what was said. Whoever waits
    /// for it is told at once (RFC 3857 §4.7: `approved`, `rejected`).
    pub fn permit(
        &mut self,
        now: Instant,
        user: &AddressOfRecord,
        watcher: &str,
        permission: Option<Permission>,
    ) {
        if let Some(events) = &mut self.events {
            events.permit(now, user, watcher, permission, &mut self.layer);
        }
        self.settle(now);
    }

    /// Takes subscriptions and publications that a process before has kept, before the first message comes. Gives how many were of
    /// use; the others are taken out of the store. With [`Config::keep_events`](crate::Config::keep_events) alone.
    pub fn restore_events(&mut self, now: Instant, records: Vec<EventRecord>) -> usize {
        let users = (self.users.as_ref(), self.book.is_some());
        let (domains, layer) = (&self.domains, &mut self.layer);
        let listed = |uri: &str| listed(uri, domains, users);
        let restored = self.events.as_mut().map_or(0, |events| events.restore(now, records, &listed, layer));
        self.settle(now);
        restored
    }

    /// The next changes for an [`EventStore`](crate::events::EventStore), all of them together: some time after the first of them,
    /// and not before those before are told to be [`kept`](ServerCore::events_kept).
    pub fn poll_event_changes(&mut self) -> Option<Vec<EventChange>> {
        self.events.as_mut()?.poll_changes()
    }

    /// Wakes `waker` when there are changes again, once.
    pub fn wake_on_event_changes(&mut self, waker: Waker) {
        if let Some(events) = &mut self.events {
            events.wake_on_changes(waker);
        }
    }

    /// The changes that were fetched are written.
    pub fn events_kept(&mut self, now: Instant) {
        if let Some(events) = &mut self.events {
            events.kept(now);
        }
        self.settle(now);
    }

    /// The server is about to end: gives changes that are not kept out at once, if none are under way.
    pub fn end_events(&mut self, now: Instant) {
        if let Some(events) = &mut self.events {
            events.keep(now, true);
        }
    }

    /// The package of a request that is for the event server, and not for a phone.
    pub(super) fn event_of(&self, request: &Request, destination: &Destination) -> Option<EventRequest> {
        let events = self.events.as_ref()?;
        let subscribes = match request.method() {
            Method::Subscribe => true,
            Method::Publish => false,
            _ => return None,
        };
        let in_dialog = super::requests::has_to_tag(request);
        match destination {
            Destination::Server if subscribes && in_dialog => Some(EventRequest::Within),
            // A GRUU means one phone.
            Destination::User(aor) if !in_dialog && !request.uri().is_ok_and(|uri| uri.is_gruu()) => {
                let Ok(Some(event)) = request.headers.get::<Event>() else {
                    return Some(EventRequest::Nameless);
                };
                let package = events.serves(&event.token)?;
                let aor = aor.clone();
                match subscribes {
                    true => Some(EventRequest::Subscribe(package, aor)),
                    false => package.is_published().then_some(EventRequest::Publish(package, aor)),
                }
            }
            _ => None,
        }
    }

    /// A request for the event server.
    pub(super) fn event_request(
        &mut self,
        now: Instant,
        tx: ServerTx,
        (mut request, path): (Request, Path),
        event: EventRequest,
    ) {
        let domains = self.domains.clone();
        let is_ours = |uri: &sip_message::Uri| domains.of(uri).is_some();
        if let EventRequest::Within = event {
            let Some(events) = &self.events else { return };
            let members = match list_within(&request, events.most_members()) {
                Ok(uris) => uris.map(|uris| self.members(&uris)),
                Err(status) => return self.refuse(now, tx, request.reply(status)),
            };
            let Some(events) = &mut self.events else { return };
            let refresh = (&request, &path, members.as_ref());
            return events.subscribe_within(now, tx, refresh, is_ours, &mut self.layer);
        }
        if let EventRequest::Nameless = event {
            // RFC 3903 §6, RFC 6665 §8.3.2: the answer says what there is.
            let reply = self.allow(request.reply(StatusCode::BAD_EVENT));
            return self.refuse(now, tx, reply);
        }
        let trusted = self.trusts(&path);
        let user = if trusted { Ok(None) } else { self.authenticate(now, tx, (&mut request, &path), false) };
        let user = match user {
            Ok(user) => user,
            Err(reply) => return self.layer.challenge(now, tx, *reply),
        };
        // Where nobody is asked, and from peers that are trusted, From is who it says.
        let believed = user.is_some() || trusted || self.calls.is_none();
        let from = request.headers.get::<From>().ok().flatten();
        let name = from.as_ref().map(|from| match self.domains.aor(from.uri()) {
            Some(aor) => aor.to_string(),
            None => AddressOfRecord::new(from.uri(), from.uri().host())
                .map_or_else(|| from.uri().to_string(), |aor| aor.to_string()),
        });
        let watcher = match &name {
            Some(name) if believed => Watcher::Known(name),
            _ => Watcher::Stranger,
        };
        match event {
            EventRequest::Subscribe(package, aor) => {
                let known = self.users.as_ref().is_none_or(|users| users.knows(&aor));
                let exists = known || self.book.is_some();
                let Some(events) = &self.events else { return };
                let within = match list_within(&request, events.most_members()) {
                    Ok(within) => within,
                    Err(status) => return self.refuse(now, tx, request.reply(status)),
                };
                let uris = within.as_deref().or_else(|| events.members_of(&aor));
                let members = uris.map(|uris| self.members(uris));
                let subscribe = Subscribe {
                    members: members.as_ref(),
                    request: &request,
                    path: &path,
                    package,
                    aor: &aor,
                    watcher,
                    exists,
                    trusted,
                };
                let Some(events) = &mut self.events else { return };
                events.subscribe(now, tx, &subscribe, is_ours, &mut self.layer);
            }
            EventRequest::Publish(package, aor) => {
                // Their own state, or what a server that is trusted says of them (a mailbox, for one).
                let may =
                    trusted || self.calls.is_none() || user.as_deref().is_some_and(|user| owns(user, &aor));
                if !may {
                    return self.refuse(now, tx, request.reply(StatusCode::FORBIDDEN));
                }
                let Some(events) = &mut self.events else { return };
                events.publish(now, tx, &request, (package, &aor), &mut self.layer);
            }
            EventRequest::Within | EventRequest::Nameless => {}
        }
    }

    fn members(&self, uris: &[Box<str>]) -> Members {
        let users = (self.users.as_ref(), self.book.is_some());
        Members(uris.iter().map(|uri| (uri.clone(), listed(uri, &self.domains, users))).collect())
    }

    /// Looks up whose registrations the event server wants to know.
    pub(super) fn serve_events(&mut self, now: Instant) {
        if self.is_aside() {
            return self.tell_of_calls(now);
        }
        if let Some(events) = &mut self.events {
            events.calls_changed(now, &mut self.layer);
        }
        while let Some((user, on)) = self.events.as_mut().and_then(EventServer::poll_watched) {
            if let (Some(lines), false) = (&mut self.layer.lines, on) {
                lines.forget_elsewhere(&user);
            }
            self.tell_all(|| Note::watch(&user, on));
        }
        while let Some(aor) = self.events.as_mut().and_then(EventServer::poll_wanted) {
            self.ask(now, Question::Lookup { aor: aor.clone() }, Waiting::Watched(aor));
        }
    }
}

/// Whom a URI in a list leads to.
fn listed(uri: &str, domains: &Domains, (users, outside): (Option<&Users>, bool)) -> Listed {
    match uri.parse::<Uri>().ok().and_then(|uri| domains.aor(&uri)) {
        Some(aor) => {
            let exists = outside || users.is_none_or(|users| users.knows(&aor));
            Listed::Ours(aor, exists)
        }
        None => Listed::Foreign,
    }
}

/// What the event server is asked.
#[derive(Debug)]
pub(super) enum EventRequest {
    Subscribe(Package, AddressOfRecord),
    Publish(Package, AddressOfRecord),
    /// A SUBSCRIBE within a dialog.
    Within,
    /// Without an Event that can be read, which nobody could understand.
    Nameless,
}
