//! SUBSCRIBE in: may they, is there room, and the answer (RFC 6665 §4.2.1).

use std::time::{Duration, Instant};

use sip_dialog::Rates;
use sip_dialog::packages::partial_presence::PartialPresence;
use sip_message::headers::{
    Accept, CallId, Event, Expires, From, MinExpires, OptionTag, Require, RetryAfter, SipETag,
    SuppressIfMatch, To, Unsupported,
};
use sip_message::{Header, Request, ResponseBuilder, StatusCode, Uri};
use sip_transaction::ServerTx;
use sip_transport::Path;

use super::dialog::{NotifierDialog, way_back};
use super::list::{Members, knows_lists};
use super::partial::{self, wants_changes};
use super::{End, EventServer, Pace, Package, Permission, Stage, Watcher, Watching};
use crate::AddressOfRecord;
use crate::config::count;
use crate::proxy::Layer;

/// RFC 6665 §4.2.1.1: from one hour on no duration is too short.
const NEVER_TOO_BRIEF: u32 = 3600;

/// Seconds that who is refused for want of room is asked to wait.
const FULL_RETRY_AFTER: u32 = 30;

/// A SUBSCRIBE outside of a dialog, and what is known of it.
#[derive(Debug)]
pub(crate) struct Subscribe<'a> {
    pub(crate) request: &'a Request,
    pub(crate) path: &'a Path,
    pub(crate) package: Package,
    /// Whose state.
    pub(crate) aor: &'a AddressOfRecord,
    /// Who asks.
    pub(crate) watcher: Watcher<'a>,
    /// Whether there is such a user.
    pub(crate) exists: bool,
    /// The members, if it is for a list.
    pub(crate) members: Option<&'a Members>,
    /// Whether the source is a server that many subscribe through.
    pub(crate) trusted: bool,
}

/// A SUBSCRIBE within a dialog, the way that it came, and the list that it brings.
pub(crate) type Refresh<'a> = (&'a Request, &'a Path, Option<&'a Members>);

/// Why a SUBSCRIBE is refused.
enum Refused {
    Status(StatusCode),
    Reply(Box<ResponseBuilder>),
}

impl EventServer {
    /// A SUBSCRIBE outside of a dialog.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        tx: ServerTx,
        subscribe: &Subscribe<'_>,
        is_ours: impl Fn(&Uri) -> bool,
        layer: &mut Layer,
    ) {
        match self.admit(now, tx, subscribe, is_ours, layer) {
            Ok(()) => self.pump(now, layer),
            Err(refused) => {
                count(&mut layer.counters.refused);
                match refused {
                    Refused::Status(status) => layer.reply(now, tx, subscribe.request.reply(status)),
                    Refused::Reply(reply) => layer.reply(now, tx, *reply),
                }
            }
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        tx: ServerTx,
        subscribe: &Subscribe<'_>,
        is_ours: impl Fn(&Uri) -> bool,
        layer: &mut Layer,
    ) -> Result<(), Refused> {
        let Subscribe { request, path, package, aor, watcher, .. } = *subscribe;
        unsupported(request)?;
        let stage = match subscribe.members {
            Some(_) => for_list(request, watcher)?,
            None => {
                let stage = self.stage(subscribe)?;
                acceptable(request, package)?;
                stage
            }
        };
        let granted = self.granted(request)?;
        let source = (!subscribe.trusted).then(|| path.remote.ip());
        self.forget_twin(now, request);
        self.has_room(subscribe, request)?;
        let event: Event = bad(request.headers.require())?;
        let local = layer.transactions.locals().at(path);
        let contact = match local {
            Some(local) if request.uri().is_ok_and(|uri| uri.is_sips()) => {
                local.sips_uri(None).unwrap_or_else(|| local.uri(None))
            }
            Some(local) => local.uri(None),
            None => return Err(Refused::Status(StatusCode::SERVER_INTERNAL_ERROR)),
        };
        let contact = contact.map_err(|_| Refused::Status(StatusCode::SERVER_INTERNAL_ERROR))?;
        let tag = layer.transactions.token();
        let flow = way_back(request, path, is_ours);
        let dialog = NotifierDialog::new(request, &tag, &contact, flow).map_err(Refused::Status)?;
        let reply = request
            .reply(StatusCode::OK)
            .to_tag(&tag)
            .raw("Contact", dialog.contact())
            .header(&Expires(granted));
        let condition = condition_of(request);
        let partial = (package == Package::Presence && wants_changes(request)).then_some(None);
        let (resource, list) = match subscribe.members {
            Some(members) => {
                let list = self.list(now, package, (aor, &watcher), members, layer);
                (self.list_resource(package, aor), Some(Box::new(list)))
            }
            None => (self.resource(now, package, aor, layer), None),
        };
        if let Some(resource) = self.resources.get_mut(resource).filter(|_| partial.is_some()) {
            partial::begin(resource);
        }
        let reply = match list {
            Some(_) => reply.header(&Require::new("eventlist")),
            None => reply,
        };
        let ends = self.second(now + Duration::from_secs(granted.into()));
        let key = self.insert(Watching {
            resource,
            dialog,
            who: match watcher {
                Watcher::Known(name) => Some(name.into()),
                Watcher::Stranger => None,
            },
            source,
            ends,
            since: self.second(now),
            version: 0,
            stage,
            end: (granted == 0).then_some(End::Timeout), // §4.4.3: a fetch
            wanted: true,
            queued: false,
            busy: false,
            urgent: true,
            approved: false,
            pace: pace_of(&event, granted),
            condition,
            alarm: None,
            unkept: false,
            cseq_limit: u32::MAX,
            lost: false,
            partial,
            list,
        });
        count(&mut layer.counters.subscriptions);
        layer.reply(now, tx, reply);
        self.queue(key);
        if let Watcher::Known(name) = watcher {
            self.waiting.leave(aor, name); // they are there again
        }
        self.tell_of_watchers(package, aor);
        Ok(())
    }

    fn stage(&self, subscribe: &Subscribe<'_>) -> Result<Stage, Refused> {
        let Subscribe { package, aor, watcher, exists, .. } = *subscribe;
        let own = watcher == Watcher::Known(aor.as_str());
        if package.is_private() {
            return if own { Ok(Stage::Active) } else { Err(Refused::Status(StatusCode::FORBIDDEN)) };
        }
        match self.config.permissions.of(aor, &watcher) {
            // The same for users who are not here: who may not watch does not learn who exists.
            Permission::Block => Err(Refused::Status(StatusCode::FORBIDDEN)),
            _ if !exists => Err(Refused::Status(StatusCode::NOT_FOUND)),
            Permission::Allow => Ok(Stage::Active),
            Permission::PoliteBlock => Ok(Stage::Polite),
            Permission::Confirm => Ok(Stage::Pending),
        }
    }

    /// Seconds that are granted.
    fn granted(&self, request: &Request) -> Result<u32, Refused> {
        let asked = bad(request.headers.get::<Expires>())?;
        let asked = asked.map_or(self.config.default_expires, |expires| expires.0);
        let least = self.config.min_expires;
        if asked > 0 && asked < NEVER_TOO_BRIEF && asked < least {
            let reply = request.reply(StatusCode::INTERVAL_TOO_BRIEF).header(&MinExpires(least));
            return Err(Refused::Reply(Box::new(reply)));
        }
        Ok(asked.min(self.config.max_expires))
    }

    fn has_room(&self, subscribe: &Subscribe<'_>, request: &Request) -> Result<(), Refused> {
        let limits = &self.config.limits;
        let full = |status| {
            let reply = request.reply(status).header(&RetryAfter::new(FULL_RETRY_AFTER));
            Err(Refused::Reply(Box::new(reply)))
        };
        if self.watchings.len() >= limits.subscriptions {
            return full(StatusCode::SERVICE_UNAVAILABLE);
        }
        let of_source = self.sources.get(&subscribe.path.remote.ip()).copied().unwrap_or_default();
        if !subscribe.trusted && of_source >= limits.per_source {
            return full(StatusCode::TEMPORARILY_UNAVAILABLE);
        }
        let resource = self.names.get(&(subscribe.package, subscribe.aor.clone()));
        let watched = resource.and_then(|key| self.resources.get(*key)).map_or(0, |it| it.watchings.len());
        if watched >= limits.per_resource {
            return full(StatusCode::TEMPORARILY_UNAVAILABLE);
        }
        Ok(())
    }

    /// A SUBSCRIBE within a dialog: a refresh, or the end (RFC 6665 §4.2.1.4). The dialog's tags are the proof of who asks:
    /// nobody else has seen them.
    pub(crate) fn subscribe_within(
        &mut self,
        now: Instant,
        tx: ServerTx,
        refresh: Refresh<'_>,
        is_ours: impl Fn(&Uri) -> bool,
        layer: &mut Layer,
    ) {
        let (request, ..) = refresh;
        match self.renew(now, tx, refresh, is_ours, layer) {
            Ok(()) => self.pump(now, layer),
            Err(Refused::Status(status)) => layer.reply(now, tx, request.reply(status)),
            Err(Refused::Reply(reply)) => layer.reply(now, tx, *reply),
        }
    }

    fn renew(
        &mut self,
        now: Instant,
        tx: ServerTx,
        (request, path, members): Refresh<'_>,
        is_ours: impl Fn(&Uri) -> bool,
        layer: &mut Layer,
    ) -> Result<(), Refused> {
        let unknown = Refused::Status(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        let (from, to): (From, To) = (bad(request.headers.require())?, bad(request.headers.require())?);
        let call_id: CallId = bad(request.headers.require())?;
        let event: Event = bad(request.headers.require())?;
        let found = self.find(to.tag().unwrap_or_default(), call_id.as_str(), from.tag().unwrap_or_default());
        let Some(key) = found else { return Err(unknown) };
        unsupported(request)?;
        let granted = self.granted(request)?;
        let ends = self.second(now + Duration::from_secs(granted.into()));
        let flow = way_back(request, path, is_ours);
        let Some(one) = self.watchings.get_mut(key).filter(|one| one.end.is_none()) else {
            return Err(unknown);
        };
        if one.dialog.event().split(';').next() != Some(event.token.as_str()) {
            return Err(Refused::Status(StatusCode::FORBIDDEN)); // §4.5.2: one subscription to a dialog
        }
        one.dialog.refresh(request, flow).map_err(Refused::Status)?;
        one.pace = pace_of(&event, granted);
        one.condition = condition_of(request);
        one.lost = false;
        if one.list.is_none() && partial::says(request) {
            one.partial = partial::wants_changes(request).then_some(None);
            if let Some(resource) = self.resources.get_mut(one.resource).filter(|_| one.partial.is_some()) {
                partial::begin(resource);
            }
        }
        let sooner = ends < one.ends;
        one.ends = ends;
        if sooner && granted > 0 {
            self.note_end(ends, key);
        }
        if let Some(members) = members {
            self.exchange_list(now, key, members, layer); // RFC 5367 §4
        }
        self.unkept(key);
        let Some(one) = self.watchings.get(key) else { return Err(unknown) };
        let etag = self.shown(now, one).and_then(|shown| shown.etag);
        // RFC 5839 §6.3: they have the state already, so that no NOTIFY follows.
        let current = etag.filter(|etag| meets(one.condition.as_deref(), Some(*etag)) && !one.wanted);
        let status = if current.is_some() { StatusCode::NO_NOTIFICATION } else { StatusCode::OK };
        let mut reply = request.reply(status).raw("Contact", one.dialog.contact()).header(&Expires(granted));
        if let Some(etag) = current {
            reply = reply.header(&SipETag::new(&etag_text(etag)));
        }
        layer.reply(now, tx, reply);
        if current.is_some() && granted == 0 {
            self.forget(key); // RFC 5839 §5.7
            return Ok(());
        }
        if current.is_some() {
            return Ok(());
        }
        if let Some(one) = self.watchings.get_mut(key) {
            (one.wanted, one.urgent) = (true, true);
            if granted == 0 {
                one.end = Some(End::Timeout);
            }
        }
        self.queue(key);
        Ok(())
    }
}

/// An entity-tag as text.
pub(super) fn etag_text(etag: u64) -> String {
    format!("{etag:016x}")
}

/// RFC 5839 §5.2: whether the state is the one that the subscriber has.
pub(super) fn meets(condition: Option<&str>, etag: Option<u64>) -> bool {
    match (condition, etag) {
        (Some("*"), _) => true,
        (Some(known), Some(etag)) => known == etag_text(etag),
        _ => false,
    }
}

fn bad<T>(value: Result<T, sip_message::HeaderError>) -> Result<T, Refused> {
    value.map_err(|_| Refused::Status(StatusCode::BAD_REQUEST))
}

/// §8.2.2.3 of RFC 3261.
fn unsupported(request: &Request) -> Result<(), Refused> {
    let required: Result<Vec<Require>, _> = request.headers.all::<Require>().collect();
    let known = [OptionTag::EventList, OptionTag::RecipientListSubscribe];
    let unknown = bad(required)?.into_iter().filter(|tag| !known.contains(&tag.tag()));
    let unknown: Vec<Unsupported> = unknown.map(|tag| Unsupported(tag.0)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refused::Reply(Box::new(request.reply(StatusCode::BAD_EXTENSION).headers(&unknown))))
}

/// RFC 4662 §4.1: who does not know lists is told so. Who is in one is nothing for strangers.
fn for_list(request: &Request, watcher: Watcher<'_>) -> Result<Stage, Refused> {
    if watcher == Watcher::Stranger {
        return Err(Refused::Status(StatusCode::FORBIDDEN));
    }
    if !knows_lists(request) {
        let reply = request.reply(StatusCode::EXTENSION_REQUIRED);
        return Err(Refused::Reply(Box::new(reply.header(&Require::new("eventlist")))));
    }
    Ok(Stage::Active)
}

/// §3.1.3, §4.2.1.1: documents that the subscriber cannot read are not sent.
fn acceptable(request: &Request, package: Package) -> Result<(), Refused> {
    let ours = package.content_type();
    let (kind, _) = ours.split_once('/').unwrap_or((ours, ""));
    let mut named = false;
    for accept in request.headers.all::<Accept>() {
        let accept = bad(accept)?;
        named = true;
        let range = accept.0.split(';').next().unwrap_or_default().trim();
        if range == "*/*"
            || (package == Package::Presence && range.eq_ignore_ascii_case(PartialPresence::CONTENT_TYPE))
            || range.eq_ignore_ascii_case(ours)
            || range.eq_ignore_ascii_case(&format!("{kind}/*"))
        {
            return Ok(());
        }
    }
    if !named {
        return Ok(()); // the package's own type
    }
    let reply = request.reply(StatusCode::NOT_ACCEPTABLE).header(&Accept::new(ours));
    Err(Refused::Reply(Box::new(reply)))
}

fn condition_of(request: &Request) -> Option<Box<str>> {
    request.headers.get::<SuppressIfMatch>().ok().flatten().map(|tag| tag.0.into())
}

pub(super) fn pace_of(event: &Event, granted: u32) -> Option<Box<Pace>> {
    let rates = Rates::of(event, None, Duration::from_secs(granted.into()));
    (rates != Rates::default()).then(|| {
        let mut text = String::new();
        event.write(&mut text);
        Box::new(Pace { rates, event: text.into(), granted, last: None, must_at: None })
    })
}
