//! Phones that sleep: what their registrations are told, who is woken and who waits for it (RFC 8599 §5).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_message::headers::{Contact, Expires, FeatureCaps, NameAddr, Path};
use sip_message::{Method, Request, ResponseBuilder, StatusCode};
use sip_transaction::ServerTx;
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};

use super::beside::Note;
use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::config::count;
use crate::location::{Answer, Binding, Question, QuestionKey};
use crate::proxy::{Group, groups_of};
use crate::push::{Push, PushConfig, PushError};
use crate::registrar::Registration;

/// §5.5: "at least 120 seconds before the binding expires".
const BEFORE_EXPIRY: Duration = Duration::from_secs(120);

/// §5.6.1.1: "with an indicator value bigger than 120", for phones that wake by themselves to refresh.
const BY_THEMSELVES: &str = "121";

/// Who is woken, and who waits for it.
#[derive(Debug)]
pub(super) struct Pushes {
    config: PushConfig,
    questions: VecDeque<(QuestionKey, Push)>,
    /// What was asked for, until it is answered.
    asked_for: Sharded<QuestionKey, (Push, TimerId)>,
    /// A gateway that never answers must not hold them.
    unanswered: Timers<QuestionKey>,
    /// Branches that wait for a phone ("the SIP Request Push Bucket").
    sleepers: HashMap<Push, Vec<Sleeper>>,
    waiting: usize,
    pub(super) timers: Timers<(Push, ServerTx, usize)>,
    /// When phones are to be woken for their own sake, by address-of-record.
    refreshes: Timers<AddressOfRecord>,
    refreshed: Sharded<AddressOfRecord, TimerId>,
    waker: Option<Waker>,
    asked: u64,
}

#[derive(Debug)]
struct Sleeper {
    tx: ServerTx,
    index: usize,
    aor: AddressOfRecord,
    timer: TimerId,
}

/// A phone to be woken for a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asleep {
    pub(crate) push: Push,
    pub(crate) aor: AddressOfRecord,
}

impl Pushes {
    pub(super) fn new(config: PushConfig) -> Self {
        Self {
            timers: Timers::new([config.wait, config.wait_others]),
            questions: VecDeque::new(),
            asked_for: Sharded::new(),
            unanswered: Timers::new([config.wait]),
            config,
            sleepers: HashMap::new(),
            waiting: 0,
            refreshes: Timers::new([]),
            refreshed: Sharded::new(),
            waker: None,
            asked: 0,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.unanswered.next(), self.refreshes.next()].into_iter().flatten().min()
    }

    /// Timers that run, but for those of bindings.
    pub(super) fn armed(&self) -> usize {
        self.timers.len().saturating_add(self.unanswered.len())
    }

    fn knows(&self, provider: &str) -> bool {
        self.config.providers.iter().any(|known| known.eq_ignore_ascii_case(provider))
    }

    /// Asks for a notification, unless one for this phone is under way.
    fn wake(&mut self, now: Instant, push: &Push, limit: usize) -> bool {
        if self.asked_for.len() >= limit {
            return false;
        }
        self.asked = self.asked.wrapping_add(1);
        let key = QuestionKey(self.asked);
        let timer = self.unanswered.arm(now, self.config.wait, key);
        self.asked_for.insert(key, (push.clone(), timer));
        self.questions.push_back((key, push.clone()));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        true
    }

    fn take(&mut self, push: &Push, is_it: impl Fn(&Sleeper) -> bool) -> Vec<Sleeper> {
        let Some(all) = self.sleepers.get_mut(push) else { return Vec::new() };
        let taken: Vec<Sleeper> = all.extract_if(.., |one| is_it(one)).collect();
        if all.is_empty() {
            self.sleepers.remove(push);
        }
        self.waiting = self.waiting.saturating_sub(taken.len());
        for one in &taken {
            self.timers.cancel(one.timer);
        }
        taken
    }
}

impl ServerCore {
    /// The next phone to be woken. Give what came of it to [`push_sent`](ServerCore::push_sent).
    pub fn poll_push(&mut self) -> Option<(QuestionKey, Push)> {
        self.pushes.as_mut()?.questions.pop_front()
    }

    /// Wakes `waker` when there is a phone to be woken again, once.
    pub fn wake_on_push(&mut self, waker: Waker) {
        let Some(pushes) = &mut self.pushes else { return };
        if pushes.questions.is_empty() { pushes.waker = Some(waker) } else { waker.wake() }
    }

    /// A notification was sent, or was not: then nobody waits for the phone any longer (§5.6.2).
    pub fn push_sent(&mut self, now: Instant, key: QuestionKey, result: Result<(), PushError>) {
        let Some(pushes) = &mut self.pushes else { return };
        let Some((push, timer)) = pushes.asked_for.remove(&key) else { return };
        pushes.unanswered.cancel(timer);
        if let Err(error) = result {
            tracing::info!(%error, provider = push.provider, "a phone was not woken");
            count(&mut self.layer.counters.pushes_failed);
            for sleeper in pushes.take(&push, |_| true) {
                self.proxy.stays_asleep(now, sleeper.tx, sleeper.index, &mut self.layer);
            }
            self.settle(now);
        }
    }

    // ---- registrations -------------------------------------------------------------------------------------------

    /// §5.6.1: 555 for a service that nobody on the way knows.
    pub(super) fn refuse_push(&self, request: &Request) -> Option<ResponseBuilder> {
        let pushes = self.pushes.as_ref()?;
        let elsewhere = pushed_elsewhere(request);
        let refused = wanted(request).any(|contact| match provider_of(&contact) {
            Some("") => pushes.config.providers.is_empty() && !elsewhere,
            Some(provider) => !pushes.knows(provider) && !elsewhere,
            None => false,
        });
        refused.then(|| request.reply(StatusCode::PUSH_NOTIFICATION_SERVICE_NOT_SUPPORTED))
    }

    /// §5.4, §5.6.1: what a registration is told of it. Where a proxy before us wakes the phone we do not.
    pub(super) fn feature_caps(&self, request: &Request) -> Vec<FeatureCaps> {
        let Some(pushes) = self.pushes.as_ref().filter(|_| is_ours_to_wake(request)) else {
            return Vec::new();
        };
        let mut told: Vec<(&str, bool)> = Vec::new();
        for contact in wanted(request) {
            let by_itself = wakes_by_itself(&contact);
            let known = pushes.config.providers.iter().map(String::as_str);
            let named: Vec<&str> = match provider_of(&contact) {
                Some("") => known.collect(),
                Some(one) => known.filter(|known| known.eq_ignore_ascii_case(one)).collect(),
                None => Vec::new(),
            };
            for one in named {
                match told.iter_mut().find(|(other, _)| *other == one) {
                    Some((_, also)) => *also |= by_itself,
                    None => told.push((one, by_itself)),
                }
            }
        }
        let caps = told.into_iter().filter_map(|(provider, by_itself)| {
            let more = if by_itself { format!(";+sip.pnsreg=\"{BY_THEMSELVES}\"") } else { String::new() };
            <FeatureCaps as sip_message::headers::Header>::parse(&format!("*;+sip.pns=\"{provider}\"{more}"))
                .ok()
        });
        caps.collect()
    }

    /// A registration was accepted: the phone is awake, and those who wait for it reach it now.
    pub(super) fn registered_awake(&mut self, now: Instant, registration: &Registration, all: &[Binding]) {
        if self.pushes.is_none() {
            return;
        }
        let aor = registration.aor().clone();
        let is_mine = |one: &&Binding| registration.is_mine(one) && self.push_of(one).is_some();
        let mine: Arc<[Binding]> = all.iter().filter(is_mine).cloned().collect();
        if !mine.is_empty() {
            self.awaken(now, &aor, &mine);
            self.tell_all(|| Note::awake(&aor, &mine));
        }
        self.watch_refreshes(now, &aor, all);
    }

    /// These phones are awake: branches that wait for them go on.
    pub(super) fn awaken(&mut self, now: Instant, aor: &AddressOfRecord, phones: &[Binding]) {
        for binding in phones {
            let Some(push) = self.push_of(binding) else { continue };
            let Some(pushes) = &mut self.pushes else { return };
            for sleeper in pushes.take(&push, |one| one.aor == *aor) {
                let sips = self.layer.transactions.request(sleeper.tx).is_some_and(super::location::is_sips);
                let found = groups_of(std::slice::from_ref(binding), now, 1, sips, |_| None);
                match found.into_iter().flatten().next() {
                    Some(hop) => self.proxy.awake(now, sleeper.tx, sleeper.index, hop, &mut self.layer),
                    None => self.proxy.stays_asleep(now, sleeper.tx, sleeper.index, &mut self.layer),
                }
            }
        }
    }

    // ---- calls ---------------------------------------------------------------------------------------------------

    /// Bindings as targets, those of phones that sleep to be woken first.
    pub(super) fn groups(
        &self,
        now: Instant,
        aor: &AddressOfRecord,
        list: &[Binding],
        sips: bool,
    ) -> Vec<Group> {
        let asleep = |binding: &Binding| {
            let push = self.push_of(binding).filter(|_| !self.is_awake(binding))?;
            Some(Arc::new(Asleep { push, aor: aor.clone() }))
        };
        let mut groups = groups_of(list, now, self.limits.branches, sips, asleep);
        if self.layer.lines.is_some() {
            for hop in groups.iter_mut().flatten() {
                hop.user = Some(aor.clone());
            }
        }
        groups
    }

    /// The notification that wakes this phone, if it is ours to send.
    pub(super) fn push_of(&self, binding: &Binding) -> Option<Push> {
        let pushes = self.pushes.as_ref().filter(|_| binding.path.is_empty())?;
        Push::of(binding.uri()).filter(|push| pushes.knows(&push.provider))
    }

    /// §5.6.2: "has knowledge that the UA is awake": its connection is open.
    fn is_awake(&self, binding: &Binding) -> bool {
        let connection = binding.flow.filter(|path| path.transport.is_reliable());
        let stands = |flow| self.bound.contains_key(&flow) || self.stands_aside(flow);
        connection.and_then(|path| path.flow).is_some_and(stands)
    }

    /// Branches that the proxy has put aside.
    pub(super) fn wake_phones(&mut self, now: Instant) {
        while let Some((tx, index, asleep)) = self.proxy.poll_asleep() {
            let invite =
                self.layer.transactions.request(tx).is_some_and(|one| *one.method() == Method::Invite);
            let limit = self.limits.questions;
            let Some(pushes) = &mut self.pushes else { return };
            let Asleep { push, aor } = Arc::unwrap_or_clone(asleep);
            let under_way = pushes.sleepers.contains_key(&push);
            if pushes.waiting >= limit || !(under_way || pushes.wake(now, &push, limit)) {
                count(&mut self.layer.counters.overloaded);
                self.proxy.stays_asleep(now, tx, index, &mut self.layer);
                continue;
            }
            if !under_way {
                count(&mut self.layer.counters.pushes);
            }
            let wait = if invite { pushes.config.wait } else { pushes.config.wait_others };
            let timer = pushes.timers.arm(now, wait, (push.clone(), tx, index));
            pushes.waiting = pushes.waiting.saturating_add(1);
            pushes.sleepers.entry(push).or_default().push(Sleeper { tx, index, aor, timer });
        }
    }

    pub(super) fn push_timeouts(&mut self, now: Instant) {
        while let Some(pushes) = &mut self.pushes
            && let Some(key) = pushes.unanswered.pop(now)
        {
            pushes.asked_for.remove(&key);
            pushes.questions.retain(|(asked, _)| *asked != key);
        }
        while let Some((push, tx, index)) = self.pushes.as_mut().and_then(|pushes| pushes.timers.pop(now)) {
            let Some(pushes) = &mut self.pushes else { return };
            pushes.take(&push, |one| one.tx == tx && one.index == index);
            self.proxy.stays_asleep(now, tx, index, &mut self.layer);
        }
        while let Some(aor) = self.pushes.as_mut().and_then(|pushes| pushes.refreshes.pop(now)) {
            let Some(pushes) = &mut self.pushes else { return };
            pushes.refreshed.remove(&aor);
            self.ask(now, Question::Lookup { aor: aor.clone() }, Waiting::Refresh(aor));
        }
    }

    // ---- bindings that end (§5.5) --------------------------------------------------------------------------------

    /// Some phone of the address-of-record has to be woken at this time, or none.
    fn watch_refreshes(&mut self, now: Instant, aor: &AddressOfRecord, all: &[Binding]) {
        let due = |binding: &Binding| {
            let left = binding.remaining(now);
            left.checked_sub(BEFORE_EXPIRY).unwrap_or(left / 2)
        };
        let depends =
            |binding: &&Binding| self.push_of(binding).is_some() && !has_tag(&binding.contact, PNSREG);
        let first = all.iter().filter(depends).map(due).filter(|due| !due.is_zero()).min();
        let (Some(first), Some(pushes)) = (first, &mut self.pushes) else { return };
        if !pushes.refreshed.contains_key(aor) {
            let timer = pushes.refreshes.arm(now, first, aor.clone());
            pushes.refreshed.insert(aor.clone(), timer);
        }
    }

    /// The bindings of an address-of-record, one of which may end soon.
    pub(super) fn refresh_found(&mut self, now: Instant, aor: &AddressOfRecord, answer: Answer) {
        let Answer::Found(bindings) = answer else { return };
        let limit = self.limits.questions;
        for binding in bindings.list.iter() {
            let left = binding.remaining(now);
            let due = !left.is_zero() && left <= BEFORE_EXPIRY.saturating_add(Duration::from_secs(1));
            let Some(push) = self.push_of(binding).filter(|_| due) else { continue };
            if let Some(pushes) = &mut self.pushes
                && pushes.wake(now, &push, limit)
            {
                count(&mut self.layer.counters.pushes);
            }
        }
        self.watch_refreshes(now, aor, &bindings.list);
    }
}

/// The contacts that are added or refreshed.
fn wanted(request: &Request) -> impl Iterator<Item = Contact> + '_ {
    let general = request.headers.get::<Expires>().ok().flatten().map(|expires| expires.0);
    let contacts = request.headers.all::<Contact>().flatten();
    contacts.filter(move |contact| contact.expires().or(general) != Some(0))
}

/// `pn-provider`; empty where all are asked for (§4.1.5).
fn provider_of(contact: &Contact) -> Option<&str> {
    contact.uri()?.param("pn-provider").map(Option::unwrap_or_default)
}

/// §4.1.4.
fn wakes_by_itself(contact: &Contact) -> bool {
    contact.address().is_some_and(|address| has_tag(address, PNSREG))
}

/// §5.6.1: a proxy on the way wakes the phone.
fn pushed_elsewhere(request: &Request) -> bool {
    request
        .headers
        .all::<FeatureCaps>()
        .flatten()
        .any(|caps| caps.params.iter().any(|(name, _)| name.eq_ignore_ascii_case("+sip.pns")))
}

/// The feature tag of phones that refresh by themselves.
const PNSREG: &str = "+sip.pnsreg";

fn has_tag(contact: &NameAddr, tag: &str) -> bool {
    contact.params().iter().any(|(name, _)| name.eq_ignore_ascii_case(tag))
}

/// It has come from the phone itself: what we send reaches it.
fn is_ours_to_wake(request: &Request) -> bool {
    !pushed_elsewhere(request) && request.headers.all::<Path>().next().is_none()
}
