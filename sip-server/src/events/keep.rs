//! What has to be written into the store, and what comes back from it after a start.

use std::task::Waker;
use std::time::{Duration, Instant};

use sip_dialog::Body;
use sip_message::headers::{Event, From};
use sip_message::{Header, HeaderName, Request};
use sip_transaction::slab::Key;

use super::dialog::NotifierDialog;
use super::list::{Listed, Members};
use super::record::{EventChange, EventKind, EventRecord, KeptList, KeptPublication, KeptSubscription, Way};
use super::store::WRITE_BEHIND;
use super::subscribe::pace_of;
use super::{End, EventServer, Package, Permission, Stage, Watcher, Watching, partial};
use crate::AddressOfRecord;
use crate::proxy::Layer;

/// NOTIFYs for which a number that was written holds: after a crash the next one is that much higher, and so is never one that a
/// subscriber has seen (RFC 3261 §12.2.1.1: CSeq grows). Half of them are left when the next number is written.
const CSEQ_GAP: u32 = 10_000;

/// Changes in one write: a start restores as many as there are, and the memory of all of them twice is too much.
const AT_ONCE: usize = 10_000;

/// Subscriptions per second that are notified after a start: all at once would find phones and network unready.
const NOTIFIED_PER_SECOND: u32 = 500;

/// For so long a request is sent again (RFC 3261 §17.1.2.2, Timer F), and then some.
const REPEATED: Duration = Duration::from_secs(40);

/// The longest time for all of them.
const LONGEST_SPREAD: Duration = Duration::from_secs(60);

/// What the store does not have yet.
#[derive(Debug)]
pub(super) struct Unkept {
    /// What the clock of the timers and that of people showed at the start.
    started: (Instant, Duration),
    subscriptions: Vec<Key>,
    publications: Vec<String>,
    removed: Vec<Box<str>>,
    due: Option<Instant>,
    /// Handed out, with the numbers that hold once it is written.
    under_way: Option<Vec<(Key, u32)>>,
    ready: Option<Vec<EventChange>>,
    waker: Option<Waker>,
}

impl Unkept {
    pub(super) fn new(now: Instant, unix_time: Duration) -> Self {
        Self {
            started: (now, unix_time),
            subscriptions: Vec::new(),
            publications: Vec::new(),
            removed: Vec::new(),
            due: None,
            under_way: None,
            ready: None,
            waker: None,
        }
    }

    fn is_clean(&self) -> bool {
        self.subscriptions.is_empty() && self.publications.is_empty() && self.removed.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| self.under_way.is_none())
    }

    /// Unix time of a second since the start.
    fn unix(&self, second: u32) -> u64 {
        self.started.1.as_secs().saturating_add(second.into())
    }

    fn unix_of(&self, at: Instant) -> u64 {
        self.started.1.saturating_add(at.saturating_duration_since(self.started.0)).as_secs()
    }
}

impl EventServer {
    /// A subscription is another one now.
    pub(super) fn unkept(&mut self, key: Key) {
        if let (Some(unkept), Some(one)) = (&mut self.unkept, self.watchings.get_mut(key))
            && !one.unkept
        {
            one.unkept = true;
            unkept.subscriptions.push(key);
        }
    }

    /// A subscription is over.
    pub(super) fn keep_no_more(&mut self, one: &Watching) {
        if let Some(unkept) = &mut self.unkept
            && one.cseq_limit != u32::MAX
        {
            unkept.removed.push(one.dialog.local_tag().into());
        }
    }

    /// A publication has come, or is gone.
    pub(super) fn publication_unkept(&mut self, etag: String) {
        if let Some(unkept) = &mut self.unkept {
            unkept.publications.push(etag);
        }
    }

    /// Sets the time at which what is not kept is handed out.
    pub(super) fn plan_keeping(&mut self, now: Instant) {
        if let Some(unkept) = &mut self.unkept
            && unkept.due.is_none()
            && !unkept.is_clean()
        {
            unkept.due = now.checked_add(WRITE_BEHIND);
        }
    }

    /// Hands out what is not kept, if it is time.
    pub(crate) fn keep(&mut self, now: Instant, at_once: bool) {
        let Some(unkept) = &mut self.unkept else { return };
        let is_time = at_once || unkept.due.is_some_and(|due| due <= now);
        if unkept.under_way.is_some() || !is_time || unkept.is_clean() {
            return;
        }
        unkept.due = None;
        let last = |all: usize| all.saturating_sub(AT_ONCE);
        let subscriptions = unkept.subscriptions.split_off(last(unkept.subscriptions.len()));
        let publications = unkept.publications.split_off(last(unkept.publications.len()));
        let removed = unkept.removed.split_off(last(unkept.removed.len()));
        let mut changes: Vec<EventChange> =
            removed.into_iter().map(|tag| EventChange::Remove(EventKind::Subscription, tag)).collect();
        let mut limits = Vec::new();
        for key in subscriptions {
            let Some((record, limit)) = self.record_of(key) else { continue };
            if let Some(one) = self.watchings.get_mut(key) {
                one.unkept = false;
                one.cseq_limit = one.cseq_limit.min(limit);
            }
            limits.push((key, limit));
            changes.push(EventChange::Keep(record));
        }
        for etag in publications {
            changes.push(self.publication_record(&etag));
        }
        let Some(unkept) = &mut self.unkept else { return };
        unkept.under_way = Some(limits);
        unkept.ready = Some(changes);
        if let Some(waker) = unkept.waker.take() {
            waker.wake();
        }
        self.plan_keeping(now);
    }

    fn record_of(&self, key: Key) -> Option<(EventRecord, u32)> {
        let (unkept, one) = (self.unkept.as_ref()?, self.watchings.get(key)?);
        let resource = self.resources.get(one.resource)?;
        let limit = one.dialog.local_cseq().saturating_add(CSEQ_GAP);
        let kept = KeptSubscription {
            package: resource.package,
            aor: resource.aor.clone(),
            who: one.who.clone(),
            source: one.source,
            since: unkept.unix(one.since),
            local_cseq: limit,
            remote_cseq: one.dialog.remote_cseq(),
            rates: one.pace.as_ref().map(|pace| (pace.granted, pace.event.clone())),
            way: match one.dialog.flow() {
                None => Way::ByUri,
                Some(path) if path.transport.is_reliable() => Way::Connection,
                Some(path) => Way::Socket(*path),
            },
            changes_alone: one.partial.is_some(),
            list: one.list.as_ref().map(|list| KeptList {
                uri: list.uri().into(),
                members: list.member_uris().map(Into::into).collect(),
            }),
            dialog: one.dialog.lines().into(),
        };
        let record = EventRecord {
            kind: EventKind::Subscription,
            id: one.dialog.local_tag().into(),
            expires: unkept.unix(one.ends),
            octets: kept.write(),
        };
        Some((record, limit))
    }

    fn publication_record(&self, etag: &str) -> EventChange {
        let kept = self.unkept.as_ref().zip(self.compositor.find(etag));
        let record = kept.and_then(|(unkept, stored)| {
            let kept = KeptPublication {
                aor: AddressOfRecord::from_canonical(stored.resource),
                package: Package::of(stored.package)?,
                content_type: stored.body.content_type.clone(),
                body: stored.body.octets.clone(),
            };
            let expires = unkept.unix_of(stored.expires_at);
            Some(EventRecord { kind: EventKind::Publication, id: etag.into(), expires, octets: kept.write() })
        });
        match record {
            Some(record) => EventChange::Keep(record),
            None => EventChange::Remove(EventKind::Publication, etag.into()),
        }
    }

    /// What is to be written next.
    pub(crate) fn poll_changes(&mut self) -> Option<Vec<EventChange>> {
        self.unkept.as_mut()?.ready.take()
    }

    pub(crate) fn wake_on_changes(&mut self, waker: Waker) {
        let Some(unkept) = &mut self.unkept else { return };
        if unkept.ready.is_none() { unkept.waker = Some(waker) } else { waker.wake() }
    }

    /// What was handed out is written.
    pub(crate) fn kept(&mut self, now: Instant) {
        let limits = self.unkept.as_mut().and_then(|unkept| unkept.under_way.take());
        for (key, limit) in limits.into_iter().flatten() {
            if let Some(one) = self.watchings.get_mut(key) {
                one.cseq_limit = limit;
            }
        }
        self.plan_keeping(now);
    }

    /// Whether the next NOTIFY would have a number that a start after a crash might use again. Asks for more in time.
    pub(super) fn is_out_of_numbers(&mut self, key: Key) -> bool {
        let Some(one) = self.watchings.get(key).filter(|_| self.unkept.is_some()) else { return false };
        let left = one.cseq_limit.saturating_sub(one.dialog.local_cseq());
        if left <= CSEQ_GAP / 2 {
            self.unkept(key);
        }
        left == 0
    }

    // ---- after a start ---------------------------------------------------------------------------------------

    /// Takes what was kept by a process before. Gives how many records were of use.
    pub(crate) fn restore(
        &mut self,
        now: Instant,
        records: Vec<EventRecord>,
        listed: &dyn Fn(&str) -> Listed,
        layer: &mut Layer,
    ) -> usize {
        let Some(unix) = self.unkept.as_ref().map(|unkept| unkept.unix_of(now)) else { return 0 };
        let mut restored = Vec::new();
        let mut publications: usize = 0;
        for record in records {
            let left = record.expires.saturating_sub(unix);
            let left = u32::try_from(left).unwrap_or(0).min(self.config.max_expires);
            let of_use = left > 0
                && match record.kind {
                    EventKind::Publication => {
                        let restored = self.restore_publication(now, &record, left);
                        publications = publications.saturating_add(restored.into());
                        restored
                    }
                    EventKind::Subscription => {
                        let key = self.restore_subscription(now, (&record, left, unix), listed, layer);
                        restored.extend(key);
                        key.is_some()
                    }
                };
            if !of_use && let Some(unkept) = &mut self.unkept {
                match record.kind {
                    EventKind::Subscription => unkept.removed.push(record.id),
                    EventKind::Publication => unkept.publications.push(record.id.into()),
                }
            }
        }
        // Everybody is told the state, a few at a time.
        let all = u32::try_from(restored.len()).unwrap_or(u32::MAX);
        let spread = Duration::from_secs(u64::from(all / NOTIFIED_PER_SECOND)).min(LONGEST_SPREAD);
        for (index, key) in (0_u32..).zip(&restored) {
            let wait = spread.checked_div(all).unwrap_or_default().saturating_mul(index);
            self.unkept(*key);
            let on_connection = self.watchings.get(*key).is_some_and(|one| one.lost);
            if !on_connection && let Some(at) = now.checked_add(wait.saturating_add(WRITE_BEHIND)) {
                self.look_at(*key, at);
            }
        }
        let call_id = |key: &Key| Some((self.watchings.get(*key)?.dialog.call_id().into(), *key));
        let twins = restored.iter().filter_map(call_id).collect();
        self.twins = now.checked_add(REPEATED).map(|until| (until, twins));
        self.plan_keeping(now);
        restored.len().saturating_add(publications)
    }

    /// A SUBSCRIBE outside of a dialog makes one. If it has made one with the process before, whose answer was lost, that is over: who
    /// subscribes knows of the new one alone, and would be told twice.
    pub(super) fn forget_twin(&mut self, now: Instant, subscribe: &Request) {
        if self.twins.as_ref().is_some_and(|(until, _)| *until < now) {
            self.twins = None;
        }
        let Some((_, twins)) = &mut self.twins else { return };
        let call_id = subscribe.headers.text(HeaderName::CALL_ID).unwrap_or_default();
        let Some(key) = twins.get(call_id).copied() else { return };
        let from = subscribe.headers.get::<From>().ok().flatten();
        let same = self.watchings.get(key).is_some_and(|one| {
            let tag = from.as_ref().and_then(|from| from.tag());
            one.dialog.call_id() == call_id && tag == Some(one.dialog.remote_tag())
        });
        if same {
            twins.remove(call_id);
            self.forget(key);
        }
    }

    fn restore_publication(&mut self, now: Instant, record: &EventRecord, left: u32) -> bool {
        let Ok(kept) = KeptPublication::parse(&record.octets) else { return false };
        if !self.config.packages.contains(&kept.package) {
            return false;
        }
        let body = Body { content_type: kept.content_type, octets: kept.body };
        self.compositor.restore(now, (kept.aor.as_str(), kept.package.name()), &record.id, body, left)
    }

    fn restore_subscription(
        &mut self,
        now: Instant,
        (record, left, unix): (&EventRecord, u32, u64),
        listed: &dyn Fn(&str) -> Listed,
        layer: &mut Layer,
    ) -> Option<Key> {
        let kept = KeptSubscription::parse(&record.octets)
            .map_err(|error| tracing::warn!(%error, id = &*record.id, "a subscription is lost"))
            .ok()?;
        let full = self.watchings.len() >= self.config.limits.subscriptions;
        if full || !self.config.packages.contains(&kept.package) {
            return None;
        }
        let who = kept.who.as_deref().map_or(Watcher::Stranger, Watcher::Known);
        let (stage, end) = match self.config.permissions.of(&kept.aor, &who) {
            _ if kept.package.is_private() || kept.list.is_some() => (Stage::Active, None),
            Permission::Block => (Stage::Pending, Some(End::Rejected)),
            Permission::Allow => (Stage::Active, None),
            Permission::PoliteBlock => (Stage::Polite, None),
            Permission::Confirm => (Stage::Pending, None),
        };
        let flow = match kept.way {
            // The socket may be another one now.
            Way::Socket(path) => layer.transactions.locals().at(&path).map(|_| path),
            Way::ByUri | Way::Connection => None,
        };
        let dialog = NotifierDialog::restored(&kept.dialog, flow, kept.local_cseq, kept.remote_cseq)?;
        if self.find(dialog.local_tag(), dialog.call_id(), dialog.remote_tag()).is_some() {
            return None;
        }
        let event =
            kept.rates.as_ref().and_then(|(granted, text)| Some((Event::parse(text).ok()?, *granted)));
        let list = kept
            .list
            .as_ref()
            .map(|list| Members(list.members.iter().map(|uri| (uri.clone(), listed(uri))).collect()));
        let (resource, list) = match list {
            Some(members) => {
                let list = self.list(now, kept.package, (&kept.aor, &who), &members, layer);
                (self.list_resource(kept.package, &kept.aor), Some(Box::new(list)))
            }
            None => (self.resource(now, kept.package, &kept.aor, layer), None),
        };
        if let Some(resource) = self.resources.get_mut(resource).filter(|_| kept.changes_alone) {
            partial::begin(resource);
        }
        let since =
            self.second(now).saturating_sub(u32::try_from(unix.saturating_sub(kept.since)).unwrap_or(0));
        Some(self.insert(Watching {
            resource,
            dialog,
            who: kept.who,
            source: kept.source,
            ends: self.second(now).saturating_add(left),
            since,
            // Documents are numbered no higher than NOTIFYs.
            version: kept.local_cseq,
            stage,
            end,
            wanted: true,
            queued: false,
            busy: false,
            urgent: true,
            approved: false,
            pace: event.and_then(|(event, granted)| pace_of(&event, granted)),
            condition: None,
            alarm: None,
            unkept: false,
            cseq_limit: kept.local_cseq,
            lost: kept.way == Way::Connection,
            partial: kept.changes_alone.then_some(None),
            list,
        }))
    }
}
