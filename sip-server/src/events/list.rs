//! Subscriptions to lists: many users in one dialog (RFC 4662), named by the settings or in the request (RFC 5367).
//!
//! ```text
//!   Watching ── list ──┬─ member ── Resource of alice ─▶ document ─┐
//!                      ├─ member ── Resource of bob ───▶ document ─┼─▶ NOTIFY with RLMI and the documents
//!                      └─ member    refused: rejected, noresource ─┘
//! ```

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use sip_dialog::Body;
use sip_dialog::packages::Completeness;
use sip_dialog::packages::resource_list::{ResourceLists, Target};
use sip_dialog::packages::rlmi::{Instance, InstanceState, ListNotification, Resource as Row, Rlmi};
use sip_message::headers::{OptionTag, Require, Supported};
use sip_message::{HeaderName, Request, StatusCode};
use sip_transaction::slab::Key;

use super::documents::uri_of;
use super::{Calls, EventServer, Package, Permission, Registered, Resource, Shown, Stage, Watcher, Watching};
use crate::AddressOfRecord;
use crate::proxy::Layer;

/// Octets of the documents in one NOTIFY: it has to go into a datagram, with some 150 octets for each member besides. What does not
/// fit follows in the next.
const OCTETS: usize = 28 * 1024;

/// Octets of a part beside its document: the boundary and the head.
const PART: usize = 250;

/// Who a URI in a list leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// A user of ours, if there is one of that name.
    Ours(AddressOfRecord, bool),
    /// Somebody elsewhere, whom this server does not ask.
    Foreign,
}

/// Members of a list that a SUBSCRIBE is for, by URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members(pub(crate) Vec<(Box<str>, Listed)>);

/// The list of a subscription.
#[derive(Debug)]
pub(super) struct List {
    uri: Box<str>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    uri: Box<str>,
    resource: Option<Key>,
    state: State,
    /// The subscriber has not been told of it as it is.
    changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Shown(Stage),
    /// The subscription to it is over, or never was one (RFC 4662 §5.5), for this reason.
    Refused(&'static str),
}

impl List {
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    pub(super) fn member_uris(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.uri)
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = Key> + '_ {
        self.members.iter().filter_map(|member| member.resource)
    }

    /// How the member of this resource is shown.
    pub(super) fn stage_of(&self, resource: Key) -> Option<Stage> {
        let member = self.members.iter().find(|member| member.resource == Some(resource))?;
        match member.state {
            State::Shown(stage) => Some(stage),
            State::Refused(_) => None,
        }
    }

    /// The document of this resource is another one now. Whether that is anything for the subscriber.
    pub(super) fn note(&mut self, resource: Key) -> bool {
        let mut any = false;
        for member in self.members.iter_mut().filter(|member| member.resource == Some(resource)) {
            if member.state == State::Shown(Stage::Active) {
                member.changed = true;
                any = true;
            }
        }
        any
    }

    /// A whole one is sent: everything is to be told.
    pub(super) fn begin(&mut self) {
        self.members.iter_mut().for_each(|member| member.changed = true);
    }

    /// The subscriber has been told of these, by their places. Whether something is left.
    pub(super) fn told(&mut self, places: &[usize]) -> bool {
        for place in places {
            if let Some(member) = self.members.get_mut(*place) {
                member.changed = false;
            }
        }
        self.members.iter().any(|member| member.changed)
    }

    /// What may be seen of this resource is decided anew. Whether it is something else.
    pub(super) fn judge(&mut self, resource: Key, permission: Permission) -> bool {
        let mut any = false;
        for member in self.members.iter_mut().filter(|member| member.resource == Some(resource)) {
            let state = State::of(permission);
            if member.state != state {
                (member.state, member.changed, any) = (state, true, true);
            }
        }
        any
    }
}

impl State {
    const fn of(permission: Permission) -> Self {
        match permission {
            Permission::Allow => Self::Shown(Stage::Active),
            Permission::PoliteBlock => Self::Shown(Stage::Polite),
            Permission::Confirm => Self::Shown(Stage::Pending),
            Permission::Block => Self::Refused("rejected"),
        }
    }
}

/// Whether the subscriber understands lists (RFC 4662 §4.1).
pub(super) fn knows_lists(request: &Request) -> bool {
    let has = |tag: OptionTag| tag == OptionTag::EventList;
    request.headers.all::<Supported>().flatten().any(|tag| has(tag.tag()))
        || request.headers.all::<Require>().flatten().any(|tag| has(tag.tag()))
}

/// The URIs of a list within the request; `None` if it asks for none (RFC 5367 §4).
///
/// # Errors
/// The status for a list that cannot be read, or has more than `limit` members.
pub(crate) fn list_within(request: &Request, limit: usize) -> Result<Option<Vec<Box<str>>>, StatusCode> {
    let tag = OptionTag::RecipientListSubscribe;
    if !request.headers.all::<Require>().flatten().any(|require| require.tag() == tag) {
        return Ok(None);
    }
    let content_type = request.headers.text(HeaderName::CONTENT_TYPE).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    if !content_type.eq_ignore_ascii_case(ResourceLists::CONTENT_TYPE) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let lists = ResourceLists::parse(request.body()).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut seen = BTreeSet::new();
    let mut uris = Vec::new();
    for entry in lists.entries() {
        // References would have us ask others; they are left out.
        let Target::Uri(uri) = &entry.target else { continue };
        if seen.insert(uri.clone()) {
            uris.push(uri.as_str().into());
        }
        if uris.len() > limit {
            return Err(StatusCode::REQUEST_ENTITY_TOO_LARGE);
        }
    }
    if uris.is_empty() { Err(StatusCode::BAD_REQUEST) } else { Ok(Some(uris)) }
}

impl EventServer {
    /// The members of a list of this name.
    pub(crate) fn members_of(&self, aor: &AddressOfRecord) -> Option<&[Box<str>]> {
        self.config.lists.get(aor).map(Vec::as_slice)
    }

    pub(crate) fn most_members(&self) -> usize {
        self.config.limits.members
    }

    /// The resource of a list as a whole, which no user's name leads to.
    pub(super) fn list_resource(&mut self, package: Package, aor: &AddressOfRecord) -> Key {
        self.resources.insert(Resource {
            package,
            aor: aor.clone(),
            watchings: Vec::new(),
            registered: Registered::Indifferent,
            document: None,
            gone: Vec::new(),
            check: None,
            calls: Calls::default(),
            partial: None,
        })
    }

    /// A list for who subscribes, each member as far as they may see it.
    pub(super) fn list(
        &mut self,
        now: Instant,
        package: Package,
        (aor, watcher): (&AddressOfRecord, &Watcher<'_>),
        members: &Members,
        layer: &Layer,
    ) -> List {
        let mut list = List { uri: uri_of(aor).into(), members: Vec::new() };
        for (uri, listed) in members.0.iter().take(self.config.limits.members) {
            let state = match listed {
                Listed::Foreign => State::Refused("noresource"),
                Listed::Ours(user, exists) => {
                    let own = *watcher == Watcher::Known(user.as_str());
                    match State::of(self.config.permissions.of(user, watcher)) {
                        _ if package.is_private() && !own => State::Refused("rejected"),
                        refused @ State::Refused(_) => refused,
                        _ if !exists => State::Refused("noresource"),
                        _ if package.is_private() => State::Shown(Stage::Active),
                        shown => shown,
                    }
                }
            };
            let resource = match (listed, state) {
                // Who is rejected may be allowed later.
                (Listed::Ours(user, _), State::Shown(_) | State::Refused("rejected")) => {
                    Some(self.resource(now, package, user, layer))
                }
                _ => None,
            };
            list.members.push(Member { uri: uri.clone(), resource, state, changed: true });
        }
        list
    }

    /// The members hear of changes from now on.
    pub(super) fn join(&mut self, key: Key) {
        let members = self.watchings.get(key).map_or_else(BTreeSet::new, members);
        self.join_all(key, &members);
    }

    /// No more.
    pub(super) fn part(&mut self, key: Key, one: &Watching) {
        self.part_from(key, &members(one));
    }

    fn join_all(&mut self, key: Key, members: &BTreeSet<Key>) {
        for member in members {
            let Some(resource) = self.resources.get_mut(*member) else { continue };
            resource.watchings.push(key);
            let (package, aor) = (resource.package, resource.aor.clone());
            self.tell_of_watchers(package, &aor);
        }
    }

    fn part_from(&mut self, key: Key, members: &BTreeSet<Key>) {
        for member in members {
            if let Some(resource) = self.resources.get_mut(*member) {
                resource.watchings.retain(|other| *other != key);
                let (package, aor) = (resource.package, resource.aor.clone());
                self.tell_of_watchers(package, &aor);
            }
            self.tidy(*member);
        }
    }

    /// A refresh brings another list.
    pub(super) fn exchange_list(&mut self, now: Instant, key: Key, members_now: &Members, layer: &Layer) {
        let Some(one) = self.watchings.get(key).filter(|one| one.list.is_some()) else { return };
        let Some(resource) = self.resources.get(one.resource) else { return };
        let (before, who) = (members(one), one.who.clone());
        let (package, aor) = (resource.package, resource.aor.clone());
        let watcher = who.as_deref().map_or(Watcher::Stranger, Watcher::Known);
        let list = self.list(now, package, (&aor, &watcher), members_now, layer);
        let after: BTreeSet<Key> = list.resources().collect();
        if let Some(one) = self.watchings.get_mut(key) {
            one.list = Some(Box::new(list));
        }
        self.join_all(key, &after.difference(&before).copied().collect());
        self.part_from(key, &before.difference(&after).copied().collect());
    }

    /// What the next NOTIFY of a list brings (RFC 4662 §5): everything, or what has changed.
    pub(super) fn list_shown(&self, now: Instant, one: &Watching, list: &List) -> Option<Shown> {
        let whole = one.urgent || one.version == 0;
        let resource = self.resources.get(one.resource)?;
        let mut parts: Vec<(String, Body)> = Vec::new();
        let (mut rows, mut told, mut octets_left) = (Vec::new(), Vec::new(), OCTETS);
        for (index, member) in list.members.iter().enumerate().filter(|(_, it)| whole || it.changed) {
            let mut instance =
                Instance { id: "1".into(), state: InstanceState::Active, reason: None, cid: None };
            let mut known = true;
            match member.state {
                State::Refused(reason) => {
                    (instance.state, instance.reason) = (InstanceState::Terminated, Some(reason.into()));
                }
                State::Shown(Stage::Pending) => instance.state = InstanceState::Pending,
                State::Shown(stage) => {
                    let of = member.resource.and_then(|key| self.resources.get(key));
                    match of.and_then(|of| self.state_of(now, of, stage, one.version)) {
                        // The rest follows.
                        Some((Some(octets), _)) if octets.len() > octets_left && !parts.is_empty() => {
                            if !whole {
                                continue;
                            }
                            known = false;
                        }
                        Some((Some(octets), _)) => {
                            octets_left = octets_left.saturating_sub(octets.len().saturating_add(PART));
                            let cid = format!("{index}.{}@{}", one.version, resource.aor.domain());
                            let content_type = resource.package.content_type().to_owned();
                            parts.push((cid.clone(), Body { content_type, octets }));
                            instance.cid = Some(cid);
                        }
                        Some((None, _)) => {}
                        // It goes when all are known, or this one is.
                        None if whole => return None,
                        None => continue,
                    }
                }
            }
            // §5.3: no instance as long as nothing is told.
            if known {
                told.push(index);
            }
            let instances = if known { vec![instance] } else { Vec::new() };
            rows.push(Row { uri: member.uri.to_string(), names: Vec::new(), instances });
        }
        let list = Rlmi {
            uri: list.uri.to_string(),
            version: one.version,
            completeness: if whole { Completeness::Full } else { Completeness::Partial },
            names: Vec::new(),
            cid: None,
            resources: rows,
        };
        let root = format!("list.{}@{}", one.version, resource.aor.domain());
        let body = ListNotification { list, parts }.to_body(&root);
        let body = body.map(|body| (body.content_type.into(), body.octets));
        let body: Result<(std::borrow::Cow<'static, str>, Bytes), _> = body;
        let body = body.map_err(|error| tracing::warn!(%error, "a list could not be written")).ok();
        Some(Shown { body, etag: None, holds: None, told })
    }
}

fn members(one: &Watching) -> BTreeSet<Key> {
    one.list.iter().flat_map(|list| list.resources()).collect()
}
