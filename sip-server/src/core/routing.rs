//! Decisions: who makes them, and what is done about them (RFC 3261 §16.5).

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_message::headers::{Contact, From};
use sip_message::{Method, Request, ResponseBuilder, StatusCode, Uri};
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transaction::{ServerTx, Target};

use super::location::is_sips;
use super::requests::Destination;
use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::config::count;
use crate::location::{Answer, Question, QuestionKey};
use crate::proxy::{Edits, Group, Hop, Plan, Template};
use crate::routing::rules::{Facts, Gateway};
use crate::routing::{Call, Decision, Destination as To, RELAYING_DENIED};

/// What is known of who sent a request.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// The user name that was proved.
    pub(super) user: Option<String>,
    /// In a dialog that was let through when it was set up.
    pub(super) proven: bool,
    /// To a hidden contact, to which a party to its dialog has referred the sender.
    pub(super) referred: bool,
}

/// Requests that wait for the decision of an external router.
#[derive(Debug)]
pub(super) struct Desk {
    external: bool,
    questions: VecDeque<(QuestionKey, Call)>,
    waiting: Sharded<QuestionKey, (Box<Undecided>, TimerId)>,
    waiting_for: Sharded<ServerTx, QuestionKey>,
    pub(super) timers: Timers<QuestionKey>,
    waker: Option<Waker>,
    asked: u64,
    /// Targets found of steps for which others are looked up still.
    found: Sharded<ServerTx, Found>,
}

#[derive(Debug)]
struct Undecided {
    tx: ServerTx,
    template: Template,
    sender: Sender,
    destination: Destination,
}

/// Why a target gives no hop.
pub(super) enum Nobody {
    /// This one has to be looked up.
    Yet(AddressOfRecord),
    /// There is none.
    There,
    /// The trunk has as many calls as it may.
    Free,
}

#[derive(Debug, Default)]
struct Found {
    groups: Vec<Group>,
    edits: Option<Arc<Edits>>,
    missing: usize,
    status: Option<StatusCode>,
}

impl Desk {
    pub(super) fn new(external: bool, timeout: Duration) -> Self {
        Self {
            external,
            questions: VecDeque::new(),
            waiting: Sharded::new(),
            waiting_for: Sharded::new(),
            timers: Timers::new([timeout]),
            waker: None,
            asked: 0,
            found: Sharded::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a router outside decides.
    pub(super) fn is_external(&self) -> bool {
        self.external
    }

    /// Nobody waits for the decision any more. Whether somebody did.
    pub(super) fn forget(&mut self, tx: ServerTx) -> bool {
        self.found.remove(&tx);
        let Some(key) = self.waiting_for.remove(&tx) else { return false };
        self.take(key).is_some()
    }

    fn take(&mut self, key: QuestionKey) -> Option<Box<Undecided>> {
        let (undecided, timer) = self.waiting.remove(&key)?;
        self.timers.cancel(timer);
        self.waiting_for.remove(&undecided.tx);
        Some(undecided)
    }
}

impl ServerCore {
    /// The next request on which an external router has to decide. Give the decision to [`decided`](ServerCore::decided);
    /// without one within [`Limits::question_timeout`](crate::Limits::question_timeout) the request is answered 503.
    pub fn poll_call(&mut self) -> Option<(QuestionKey, Call)> {
        self.desk.questions.pop_front()
    }

    /// Wakes `waker` when there is a request to decide on again, once.
    pub fn wake_on_call(&mut self, waker: Waker) {
        if self.desk.questions.is_empty() {
            self.desk.waker = Some(waker);
        } else {
            waker.wake();
        }
    }

    /// The decision of an external router; `None` if it has none to give: 503. One that came too late does nothing.
    pub fn decided(&mut self, now: Instant, key: QuestionKey, decision: Option<Decision>) {
        if let Some(undecided) = self.desk.take(key) {
            self.router_said(now, *undecided, decision);
            self.settle(now);
        }
    }

    pub(super) fn expire_decisions(&mut self, now: Instant) {
        while let Some(key) = self.desk.timers.pop(now) {
            count(&mut self.layer.counters.questions_unanswered);
            self.desk.questions.retain(|(asked, _)| *asked != key);
            if let Some(undecided) = self.desk.take(key) {
                self.router_said(now, *undecided, None);
            }
        }
    }

    /// Whether anybody has something to say about where requests go.
    pub(super) fn routes(&self) -> bool {
        self.desk.external || !self.rules.is_empty()
    }

    /// Asks the external router, if there is one, and then the rules.
    pub(super) fn consult(
        &mut self,
        now: Instant,
        tx: ServerTx,
        template: Template,
        sender: Sender,
        destination: Destination,
    ) {
        let undecided = Undecided { tx, template, sender, destination };
        if !self.desk.external {
            return self.apply_rules(now, undecided);
        }
        if self.desk.len().max(self.desk.questions.len()) >= self.limits.questions {
            return self.router_said(now, undecided, None);
        }
        self.trying(now, tx, &undecided.template.request);
        let called = match &undecided.destination {
            Destination::User(aor) => Some(aor.clone()),
            _ => None,
        };
        let call = Call {
            request: undecided.template.request.clone(),
            called,
            user: undecided.sender.user.clone(),
            source: undecided.template.path.remote.ip(),
        };
        let desk = &mut self.desk;
        desk.asked = desk.asked.wrapping_add(1);
        let key = QuestionKey(desk.asked);
        let timer = desk.timers.arm(now, self.limits.question_timeout, key);
        desk.waiting_for.insert(tx, key);
        desk.waiting.insert(key, (Box::new(undecided), timer));
        desk.questions.push_back((key, call));
        if let Some(waker) = desk.waker.take() {
            waker.wake();
        }
    }

    fn router_said(&mut self, now: Instant, undecided: Undecided, decision: Option<Decision>) {
        match decision {
            Some(Decision::Default) => self.apply_rules(now, undecided),
            Some(decision) => self.execute(now, undecided, decision),
            None => {
                count(&mut self.layer.counters.overloaded);
                let reply = undecided.template.request.reply(StatusCode::SERVICE_UNAVAILABLE);
                let reply = reply.header(&self.retry_after());
                self.layer.reply(now, undecided.tx, reply);
            }
        }
    }

    fn apply_rules(&mut self, now: Instant, undecided: Undecided) {
        let request = &undecided.template.request;
        let Ok(uri) = request.uri() else {
            let reply = request.reply(StatusCode::BAD_REQUEST);
            return self.refuse(now, undecided.tx, reply);
        };
        let caller = request.headers.get::<From>().ok().flatten();
        let aor = self.domains.aor(&uri);
        let route = request.headers.get::<sip_message::headers::Route>().ok().flatten();
        let facts = Facts {
            method: request.method(),
            uri: &uri,
            called: aor.as_ref(),
            caller: caller.as_ref().map(|from| from.uri()),
            user: undecided.sender.user.as_deref(),
            source: undecided.template.path.remote.ip(),
            route: route.as_ref().map(|route| route.uri().host()),
        };
        let referred = undecided.sender.referred;
        let decision = if referred { self.rules.referred(&facts) } else { self.rules.decide(&facts) };
        self.execute(now, undecided, decision);
    }

    fn execute(&mut self, now: Instant, undecided: Undecided, decision: Decision) {
        let Undecided { tx, mut template, sender, destination } = undecided;
        if decision != Decision::Default {
            count(&mut self.layer.counters.routed);
        }
        match decision {
            Decision::Default => self.proceed(now, tx, template, &sender, destination),
            Decision::Proxy(steps) => {
                if let Err(reply) = self.mark(&mut template) {
                    return self.refuse(now, tx, *reply);
                }
                if self.keep_in_order(now, tx, &mut template) {
                    return;
                }
                self.trying(now, tx, &template.request);
                self.proxy.open_plan(now, tx, template, Plan::new(steps), &mut self.layer);
            }
            Decision::Redirect(contacts) => {
                let reply = template.request.reply(StatusCode::MOVED_TEMPORARILY);
                let reply = contacts.iter().fold(reply, |reply, uri| reply.header(&Contact::new(uri)));
                self.layer.reply(now, tx, reply);
            }
            Decision::Reject(status, reason) => {
                if let Some(challenge) = self.who_is_that(now, &template.request, &sender, reason.as_deref())
                {
                    return self.layer.reply(now, tx, challenge);
                }
                // A rule that names a success or nothing at all refuses all the same.
                let status = if status.class() >= 4 { status } else { StatusCode::FORBIDDEN };
                let mut reply = template.request.reply(status);
                if let Some(reason) = reason {
                    reply = reply.reason(&reason);
                }
                self.refuse(now, tx, reply);
            }
        }
    }

    /// Whoever hides behind an anonymous From (RFC 3323 §4.1.1.3) may be a user of ours with the right to what was denied: only
    /// credentials can tell.
    fn who_is_that(
        &mut self,
        now: Instant,
        request: &Request,
        sender: &Sender,
        reason: Option<&str>,
    ) -> Option<ResponseBuilder> {
        let from = request.headers.get::<From>().ok().flatten()?;
        let hidden = from.uri().host().eq_ignore_ascii_case("anonymous.invalid");
        // A user's phone behind the address of a gateway was not asked before.
        let unasked = self.domains.aor(from.uri()).is_some();
        if !(hidden || unasked) || sender.user.is_some() || reason != Some(RELAYING_DENIED) {
            return None;
        }
        self.challenge(now, request)
    }

    // ---- the targets of a step -------------------------------------------------------------------------------

    /// Finds the targets of the step that is due: by look-ups, or at once.
    pub(super) fn find_targets(&mut self, now: Instant, tx: ServerTx) {
        let Some(step) = self.proxy.due_step(tx).cloned() else { return };
        let set = self.rules.set();
        let edits = (!step.diverted.is_empty() && (set.diversion || set.history)).then(|| {
            let (diversion, history) = (set.diversion, set.history);
            Arc::new(Edits { diverted: step.diverted, diversion, history })
        });
        let mut found = Found { edits, ..Found::default() };
        let mut lookups = Vec::new();
        let sips = self.layer.transactions.request(tx).is_some_and(is_sips);
        let invite = self.layer.transactions.request(tx).is_some_and(|one| *one.method() == Method::Invite);
        let mut first = Group::new();
        for target in step.targets.into_iter().take(self.limits.branches) {
            match self.target(target, invite).map(|hop| hop.secure_enough(sips)) {
                Ok(None) => found.status = Some(StatusCode::TEMPORARILY_UNAVAILABLE),
                Ok(Some(hop)) => first.push(hop),
                Err(Nobody::Yet(aor)) => lookups.push(aor),
                Err(Nobody::There) => found.status = Some(StatusCode::NOT_FOUND),
                Err(Nobody::Free) => {
                    count(&mut self.layer.counters.trunks_full);
                    found.status = Some(StatusCode::SERVICE_UNAVAILABLE);
                }
            }
        }
        if !first.is_empty() {
            found.groups.push(first);
        }
        found.missing = lookups.len();
        self.desk.found.insert(tx, found);
        if lookups.is_empty() {
            return self.offer(now, tx);
        }
        for aor in lookups {
            self.ask(now, Question::Lookup { aor: aor.clone() }, Waiting::Target(tx, aor));
        }
    }

    /// The hop, or why there is none. `invite`: it is a call, which trunks may count.
    pub(super) fn target(&mut self, target: To, invite: bool) -> Result<Hop, Nobody> {
        match target {
            To::User(aor) => Err(Nobody::Yet(aor)),
            To::Uri(uri) => match self.domains.aor(&uri) {
                Some(aor) => Err(Nobody::Yet(aor)),
                None => Ok(Hop::readdressed(uri)),
            },
            To::NextHop(uri) => Ok(Hop::fixed(Target::Uri(uri))),
            To::Trunk { name, number } => self.trunk(&name, &number, invite),
        }
    }

    /// The gateways of a trunk in the order of this call: one target, the others in reserve.
    fn trunk(&mut self, name: &str, number: &str, invite: bool) -> Result<Hop, Nobody> {
        let random = self.layer.transactions.random();
        let trunk = self.rules.trunk(name).ok_or(Nobody::There)?;
        let seat = match trunk.max_calls.filter(|_| invite) {
            Some(most) => {
                let seats = self.trunks.seats.get(name).ok_or(Nobody::There)?;
                Some(seats.take(most).ok_or(Nobody::Free)?)
            }
            None => None,
        };
        let order = trunk.order(random);
        let up = |gateway: &&Gateway| self.trunks.is_up(name, &gateway.uri);
        let none = !order.iter().any(up);
        // Where all are down the checks may be wrong, and nothing is lost by trying.
        let order = order.into_iter().filter(|gateway| none || up(gateway));
        let uris: Vec<Uri> = order.filter_map(|gateway| trunk.uri(gateway, number)).collect();
        let identity = Some(trunk.identity.clone());
        let mut hops = uris.into_iter().map(|uri| Hop {
            gateway: identity.clone(),
            seat: seat.clone(),
            ..Hop::readdressed(uri)
        });
        let mut first = hops.next().ok_or(Nobody::There)?;
        first.others = hops.collect();
        Ok(first)
    }

    /// One of a step's users was looked up.
    pub(super) fn target_found(&mut self, now: Instant, tx: ServerTx, aor: &AddressOfRecord, answer: Answer) {
        let sips = self.layer.transactions.request(tx).is_some_and(is_sips);
        let groups = match &answer {
            Answer::Found(bindings) => self.groups(now, aor, &bindings.list, sips),
            _ => Vec::new(),
        };
        let Some(found) = self.desk.found.get_mut(&tx) else { return };
        found.missing = found.missing.saturating_sub(1);
        match answer {
            Answer::Found(_) => {
                if groups.is_empty() {
                    let known =
                        self.users.as_ref().is_some_and(|users| users.knows(aor)) || self.rules.knows(aor);
                    let status =
                        if known { StatusCode::TEMPORARILY_UNAVAILABLE } else { StatusCode::NOT_FOUND };
                    found.status = Some(status);
                }
                for (index, group) in groups.into_iter().enumerate() {
                    match found.groups.get_mut(index) {
                        Some(same) => same.extend(group),
                        None => found.groups.push(group),
                    }
                }
            }
            _ => found.status = Some(StatusCode::SERVICE_UNAVAILABLE),
        }
        if found.missing == 0 {
            self.offer(now, tx);
        }
    }

    fn offer(&mut self, now: Instant, tx: ServerTx) {
        let Some(found) = self.desk.found.remove(&tx) else { return };
        let mut left = self.limits.branches.saturating_sub(self.proxy.branches_of(tx));
        let mut groups = found.groups;
        for group in &mut groups {
            group.truncate(left);
            left = left.saturating_sub(group.len());
            for hop in group {
                hop.edit(found.edits.as_ref());
            }
        }
        groups.retain(|group| !group.is_empty());
        let status = found.status.unwrap_or(StatusCode::TEMPORARILY_UNAVAILABLE);
        self.proxy.offer(now, tx, groups, status, &mut self.layer);
    }
}
