//! Questions to the location store, and what goes on when they are answered.

use std::task::Waker;
use std::time::Instant;

use sip_message::headers::{InstanceId, RetryAfter, Warning};
use sip_message::{Request, StatusCode, Uri};
use sip_transaction::ServerTx;
use sip_transport::FlowId;

use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::config::count;
use crate::date::sip_date;
use crate::gruu::Gruus;
use crate::location::{Answer, Binding, Bindings, Question, QuestionKey, StoreError};
use crate::proxy::{Template, groups_of};
use crate::registrar::{Refusal, Registration, Step};

/// Addresses-of-record remembered for one connection: a trunk has some, and more than these are found out one by one when
/// they are called. Each costs a question to the store when the connection closes.
const BOUND_TO_ONE: usize = 256;

/// Connections remembered so. One may close while a slow store still answers its REGISTER, and nobody tells of its end again:
/// the oldest give way.
const BOUND_CONNECTIONS: usize = 100_000;

impl ServerCore {
    /// The next question for the external location store (RFC 3261 §10, §16.5). Give its answer to
    /// [`answer`](ServerCore::answer); without one within [`Limits::question_timeout`](crate::Limits::question_timeout) the
    /// request is answered 503.
    pub fn poll_question(&mut self) -> Option<(QuestionKey, Question)> {
        self.questions.pop_front()
    }

    /// Wakes `waker` when there is a question again, once.
    pub fn wake_on_question(&mut self, waker: Waker) {
        if self.questions.is_empty() {
            self.waker = Some(waker);
        } else {
            waker.wake();
        }
    }

    /// The answer to a question. One that came too late, or to no question, does nothing.
    pub fn answer(&mut self, now: Instant, key: QuestionKey, answer: Answer) {
        if let Some((waiting, timer)) = self.waiting.remove(&key) {
            self.timers.cancel(timer);
            let answer = self.read_back(answer);
            self.resume(now, waiting, answer);
            self.settle(now);
        }
    }

    pub(super) fn expire_questions(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop(now) {
            count(&mut self.layer.counters.questions_unanswered);
            self.questions.retain(|(asked, _)| *asked != key);
            self.not_stored_in_time(now, key);
            if let Some((waiting, _)) = self.waiting.remove(&key) {
                self.resume(now, waiting, Answer::Failed(StoreError::Unavailable));
            }
        }
    }

    /// Asks, and goes on at once if the store is our own and nothing has to be written.
    pub(super) fn ask(&mut self, now: Instant, question: Question, waiting: Waiting) {
        let question = match (question, &self.unsaved) {
            (Question::Update { aor, expected, bindings }, Some(_)) => {
                return self.store_durably(now, (aor, expected, bindings), waiting);
            }
            (question, _) => question,
        };
        if let Some(store) = &mut self.store {
            let answer = store.answer(now, question);
            return self.resume(now, waiting, answer);
        }
        if self.asks_at_home() {
            return self.ask_at_home(now, question, waiting);
        }
        // Those that nobody waits for any more count as long as nobody has fetched them.
        if self.waiting.len().max(self.questions.len()) >= self.limits.questions {
            return self.resume(now, waiting, Answer::Failed(StoreError::Unavailable));
        }
        let question = self.for_others(question);
        let key = self.expect_answer(now, self.limits.question_timeout, waiting);
        self.questions.push_back((key, question));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn resume(&mut self, now: Instant, waiting: Waiting, answer: Answer) {
        match waiting {
            Waiting::Registration(tx, registration) => {
                self.waiting_for.remove(&tx);
                let step = registration.answer(now, answer);
                self.registration_step(now, tx, step);
            }
            Waiting::Request(tx, template, aor) => {
                self.waiting_for.remove(&tx);
                self.located(now, tx, *template, &aor, answer);
            }
            Waiting::FlowGone(flow, aor) => {
                if let (Answer::Updated, Some(events)) = (&answer, &mut self.events) {
                    events.moved(&aor);
                }
                self.unbind(now, flow, aor, answer);
            }
            Waiting::Mail(aor) => self.send_message(now, &aor, answer),
            Waiting::Watched(aor) => {
                if let Some(events) = &mut self.events {
                    events.located(now, &aor, answer, &mut self.layer);
                }
            }
            Waiting::Target(tx, aor) => self.target_found(now, tx, &aor, answer),
            Waiting::Refresh(aor) => self.refresh_found(now, &aor, answer),
            Waiting::Redirected(place) => self.redirection_found(now, &place, answer),
            Waiting::Ack(request) => {
                if let Answer::Found(mut bindings) = answer
                    && let Ok(uri) = request.uri()
                    && self.keep_meant(&uri, &mut bindings).is_ok()
                    && let Some(hop) = groups_of(&bindings.list, now, 1, is_sips(&request), |_| None)
                        .into_iter()
                        .flatten()
                        .next()
                {
                    self.forward_ack(*request, hop, None); // to a phone of ours
                } else {
                    count(&mut self.layer.counters.acks_dropped);
                }
            }
        }
    }

    pub(super) fn registration_step(&mut self, now: Instant, tx: ServerTx, step: Step) {
        match step {
            Step::Ask(question, registration) => {
                self.ask(now, question, Waiting::Registration(tx, registration));
            }
            Step::Done(registration, bindings) => {
                count(&mut self.layer.counters.registered);
                self.note_connections(registration.aor(), &bindings);
                let date = sip_date(self.unix_time(now));
                let sips = is_sips(registration.request());
                let (gruus, transactions) = (&self.gruus, &mut self.layer.transactions);
                let of_binding = |binding: &Binding, instance: &InstanceId| {
                    let aor = registration.aor();
                    let mut nonce = [0; 12];
                    let random = [transactions.random(), transactions.random()];
                    let octets = random.into_iter().flat_map(u64::to_be_bytes);
                    nonce.iter_mut().zip(octets).for_each(|(octet, random)| *octet = random);
                    [
                        Gruus::public(aor, instance, sips),
                        gruus.temporary((aor, instance, &binding.call_id), nonce, sips),
                    ]
                };
                let reply = registration.accepted(now, &date, &bindings, of_binding);
                let reply = reply.headers(&self.policy.service_route);
                let reply = reply.headers(&self.feature_caps(registration.request()));
                self.layer.reply(now, tx, reply);
                if let Some(events) = &mut self.events {
                    events.moved(registration.aor());
                }
                if !bindings.is_empty() {
                    self.deliver(now, registration.aor());
                }
                self.registered_awake(now, &registration, &bindings);
            }
            Step::Refused(registration, refusal) => {
                self.refuse_registration(now, tx, &registration, &refusal)
            }
        }
    }

    /// Remembers which connections an address-of-record is bound to.
    fn note_connections(&mut self, aor: &AddressOfRecord, bindings: &[Binding]) {
        let outbound: Vec<&Binding> = bindings
            .iter()
            .filter(|binding| binding.outbound.is_some() || self.push_of(binding).is_some())
            .collect();
        for flow in outbound
            .into_iter()
            .filter_map(|binding| binding.flow.as_ref()?.flow.filter(|_| is_connection(binding)))
        {
            let bound = self.bound.entry(flow).or_default();
            if bound.len() < BOUND_TO_ONE && !bound.contains(aor) {
                bound.push(aor.clone());
            }
            if self.bound.len() > BOUND_CONNECTIONS {
                self.bound.pop_first();
            }
        }
    }

    /// RFC 5626 §7: "MUST invalidate all the bindings in the target set that use that flow".
    pub(super) fn connection_closed(&mut self, now: Instant, flow: FlowId) {
        self.peers.closed(flow);
        for aor in self.bound.remove(&flow).unwrap_or_default() {
            self.ask(now, Question::Lookup { aor: aor.clone() }, Waiting::FlowGone(flow, aor));
        }
    }

    fn unbind(&mut self, now: Instant, flow: FlowId, aor: AddressOfRecord, answer: Answer) {
        // The store says what there is until the update was not too late. After a failure the bindings stay until they end or
        // a request finds the flow dead.
        let (Answer::Found(current) | Answer::Conflict(current)) = answer else { return };
        let is_on_it = |binding: &Binding| {
            binding.flow.is_some_and(|path| path.flow == Some(flow)) && is_connection(binding)
        };
        // A phone that can be woken has fallen asleep; of the others nothing is left but the flow.
        let mut left: Vec<Binding> = Vec::with_capacity(current.list.len());
        let mut changed = false;
        for binding in current.list.iter() {
            match is_on_it(binding) {
                true if self.push_of(binding).is_some() => {
                    changed = true;
                    left.push(Binding { flow: None, ..binding.clone() });
                }
                true if binding.outbound.is_some() => changed = true,
                _ => left.push(binding.clone()),
            }
        }
        let gone = current.list.len().saturating_sub(left.len());
        if !changed {
            return;
        }
        self.layer.counters.flows_closed =
            self.layer.counters.flows_closed.saturating_add(u64::try_from(gone).unwrap_or(u64::MAX));
        let update = Question::Update { aor: aor.clone(), expected: current.version, bindings: left.into() };
        self.ask(now, update, Waiting::FlowGone(flow, aor));
    }

    fn refuse_registration(
        &mut self,
        now: Instant,
        tx: ServerTx,
        registration: &Registration,
        refusal: &Refusal,
    ) {
        tracing::debug!(aor = %registration.aor(), %refusal, "REGISTER refused");
        count(&mut self.layer.counters.registrations_refused);
        let mut reply = refusal.reply(registration.request());
        if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
            reply = reply.header(&self.retry_after());
        }
        self.layer.reply(now, tx, reply);
    }

    /// §16.5: the bindings are the target set.
    fn located(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut template: Template,
        aor: &AddressOfRecord,
        answer: Answer,
    ) {
        let sips = is_sips(&template.request);
        let (groups, has_others) = match answer {
            Answer::Found(mut bindings) => {
                let uri = template.request.uri().map_err(|_| StatusCode::BAD_REQUEST);
                if let Err(status) = uri.and_then(|uri| self.keep_meant(&uri, &mut bindings)) {
                    count(&mut self.layer.counters.refused);
                    return self.layer.reply_status(now, tx, status);
                }
                let others = bindings.list.iter().any(|binding| binding.expires_at > now);
                (self.groups(now, aor, &bindings.list, sips), others)
            }
            _ => {
                count(&mut self.layer.counters.overloaded);
                let reply = template.request.reply(StatusCode::SERVICE_UNAVAILABLE);
                let reply = reply.header(&self.retry_after());
                return self.layer.reply(now, tx, reply);
            }
        };
        if groups.is_empty() && has_others && sips {
            // RFC 5630 §5.3: there is somebody, who did not register with `sips`.
            count(&mut self.layer.counters.refused);
            let agent = self.layer.transactions.locals().iter().next().map_or("sip", |local| &local.host);
            let warning = Warning { code: 380, agent: agent.into(), text: "SIPS Not Allowed".into() };
            let reply = template.request.reply(StatusCode::TEMPORARILY_UNAVAILABLE).header(&warning);
            return self.layer.reply(now, tx, reply);
        }
        if groups.is_empty() {
            // Known, but nowhere: 480. Without a list of users nobody is known, and a stranger is not told who is.
            let listed = || self.users.as_ref().is_some_and(|users| users.knows(aor));
            // Of users outside nobody knows here: they are taken to be away.
            let known = template.known && (self.book.is_some() || listed());
            if !template.known {
                self.probed(now, &template.path);
            }
            let status = if known { StatusCode::TEMPORARILY_UNAVAILABLE } else { StatusCode::NOT_FOUND };
            count(&mut self.layer.counters.refused);
            if let Some(kept_for) = template.keep {
                return self.keep_message(now, tx, &template.request, &kept_for, status);
            }
            return self.layer.reply_status(now, tx, status);
        }
        if self.keep_in_order(now, tx, &mut template) {
            return;
        }
        if self.answers_at_once() {
            self.trying(now, tx, &template.request);
        }
        self.proxy.open(now, tx, template, groups, &mut self.layer);
    }

    /// The table is in this process: nothing is said to a caller before it is known whether somebody can be tried.
    pub(super) fn answers_at_once(&self) -> bool {
        self.store.is_some() || self.asks_at_home()
    }

    /// RFC 5627 §6.1: of the bindings of an address-of-record those that a GRUU means.
    ///
    /// # Errors
    /// The status for a temporary GRUU that is no more.
    pub(super) fn keep_meant(&self, uri: &Uri, bindings: &mut Bindings) -> Result<(), StatusCode> {
        if !uri.is_gruu() {
            return Ok(());
        }
        let gruu = self.gruus.read(uri, &self.domains).ok_or(StatusCode::NOT_FOUND)?;
        bindings.list =
            bindings.list.iter().filter(|binding| gruu.is(binding, &self.gruus)).cloned().collect();
        if gruu.is_temporary() && bindings.list.is_empty() { Err(StatusCode::NOT_FOUND) } else { Ok(()) }
    }

    /// The time after which it is worth to try again: shared among the clients, so that they do not return together.
    pub(super) fn retry_after(&mut self) -> RetryAfter {
        RetryAfter::new(u32::try_from(self.layer.transactions.retry_after()).unwrap_or(u32::MAX))
    }
}

fn is_connection(binding: &Binding) -> bool {
    binding.flow.is_some_and(|path| path.transport.is_reliable())
}

pub(super) fn is_sips(request: &Request) -> bool {
    request.uri().is_ok_and(|uri| uri.is_sips())
}
