//! Messages for users who are away: taken from the proxy when nobody answers, and sent when somebody registers.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::headers::{Expires, MaxForwards};
use sip_message::{HeaderName, Limits, Method, Request, Response, StatusCode};
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transaction::{ClientTx, ServerTx};

use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::config::count;
use crate::date::sip_date;
use crate::location::{Answer, Question, QuestionKey};
use crate::messages::{
    MemoryMessages, MessageAnswer, MessageConfig, MessageQuestion, StoredMessage, is_away,
};
use crate::proxy::{Template, groups_of};

/// Messages whose phones are slow, for which a late answer is waited for.
const LATE: usize = 10_000;

/// After the start deliveries begin within this time, not all at the same moment.
const SETTLING: Duration = Duration::from_secs(30);

/// What is known of messages that wait, and of those that are on their way.
#[derive(Debug)]
pub(super) struct Mailbox {
    config: MessageConfig,
    /// In memory, if they are not outside.
    store: Option<MemoryMessages>,
    questions: VecDeque<(QuestionKey, MessageQuestion)>,
    waiting: Sharded<QuestionKey, (Awaited, TimerId)>,
    pub(super) timers: Timers<QuestionKey>,
    waker: Option<Waker>,
    asked: u64,
    holders: HashSet<AddressOfRecord>,
    deliveries: HashMap<AddressOfRecord, Delivery>,
    sent: Sharded<ClientTx, AddressOfRecord>,
    /// Who is tried again when.
    again: BTreeSet<(Instant, AddressOfRecord)>,
    again_at: HashMap<AddressOfRecord, Instant>,
    /// Requests with the proxy whose phones may take so long.
    patience: Timers<ServerTx>,
    /// Messages that are kept because their phones were slow; they may still answer.
    late: HashMap<ServerTx, Late>,
}

/// What goes on when the store has answered.
#[derive(Debug)]
enum Awaited {
    Kept(ServerTx, AddressOfRecord, StatusCode),
    Next(AddressOfRecord),
    Removed(AddressOfRecord),
    /// The answer does not matter.
    Nothing,
    Holders,
}

/// A message on its way to the phones of its user. One at a time: their order is that of their coming.
#[derive(Debug)]
struct Delivery {
    message: Option<StoredMessage>,
    /// Phones that have not answered.
    out: usize,
    /// What becomes of it when all have.
    outcome: Outcome,
    /// Another was kept since the store was asked for the next: should it know of none, it did not know of that one yet.
    more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It is tried again.
    NotYet,
    /// A phone has refused it for good.
    Refused,
    /// A phone has it.
    Delivered,
}

#[derive(Debug)]
struct Late {
    aor: AddressOfRecord,
    id: Option<u64>,
    delivered: bool,
}

impl Mailbox {
    /// `external`: the messages are outside.
    pub(super) fn new(config: MessageConfig, external: bool, timeout: Duration) -> Self {
        Self {
            store: (!external).then(MemoryMessages::new),
            questions: VecDeque::new(),
            waiting: Sharded::new(),
            timers: Timers::new([timeout]),
            waker: None,
            asked: 0,
            holders: HashSet::new(),
            deliveries: HashMap::new(),
            sent: Sharded::new(),
            again: BTreeSet::new(),
            again_at: HashMap::new(),
            patience: Timers::new([config.patience]),
            late: HashMap::new(),
            config,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let again = self.again.first().map(|(at, _)| *at);
        [self.timers.next(), self.patience.next(), again].into_iter().flatten().min()
    }

    /// Timers that end by themselves: those for another try last as long as the messages.
    pub(super) fn armed_timers(&self) -> usize {
        self.timers.len().saturating_add(self.patience.len())
    }

    /// Users with messages that wait.
    pub(super) fn holders(&self) -> usize {
        self.holders.len()
    }

    fn try_again(&mut self, at: Instant, aor: &AddressOfRecord) {
        if !self.again_at.contains_key(aor) {
            self.again_at.insert(aor.clone(), at);
            self.again.insert((at, aor.clone()));
        }
    }

    fn not_again(&mut self, aor: &AddressOfRecord) {
        if let Some(at) = self.again_at.remove(aor) {
            self.again.remove(&(at, aor.clone()));
        }
    }
}

impl ServerCore {
    /// The next question for the store of messages, if it is outside ([`Config::external_messages`](crate::Config)). Give its
    /// answer to [`message_answer`](ServerCore::message_answer); without one within
    /// [`Limits::question_timeout`](crate::Limits::question_timeout) a message is answered 503.
    pub fn poll_message_question(&mut self) -> Option<(QuestionKey, MessageQuestion)> {
        self.mailbox.as_mut()?.questions.pop_front()
    }

    /// Wakes `waker` when there is a question about messages again, once.
    pub fn wake_on_message_question(&mut self, waker: Waker) {
        let Some(mailbox) = &mut self.mailbox else { return };
        if mailbox.questions.is_empty() { mailbox.waker = Some(waker) } else { waker.wake() }
    }

    /// The answer to a question about messages. One that came too late does nothing.
    pub fn message_answer(&mut self, now: Instant, key: QuestionKey, answer: MessageAnswer) {
        let Some(mailbox) = &mut self.mailbox else { return };
        match mailbox.waiting.remove(&key) {
            Some((awaited, timer)) => {
                mailbox.timers.cancel(timer);
                self.stored_message(now, awaited, answer);
            }
            // Its sender was told that it is not kept, and will send it again.
            None => tracing::debug!("an answer about a message came too late"),
        }
        self.settle(now);
    }

    /// Users with messages that wait.
    #[must_use]
    pub fn message_holders(&self) -> usize {
        self.mailbox.as_ref().map_or(0, Mailbox::holders)
    }

    /// After the start: who has messages?
    pub(super) fn attend_messages(&mut self, now: Instant) {
        if self.mailbox.is_some() {
            self.ask_messages(now, MessageQuestion::Holders, Awaited::Holders);
        }
    }

    /// Whether a request is a message that is kept if this user is not there: one of ours, or anybody where none is listed.
    pub(super) fn may_keep(&self, request: &Request, aor: &AddressOfRecord) -> bool {
        let lasts = || request.headers.get::<Expires>().ok().flatten().is_none_or(|expires| expires.0 > 0);
        let is_user = || self.book.is_some() || self.users.as_ref().is_none_or(|users| users.knows(aor));
        self.mailbox.is_some() && *request.method() == Method::Message && lasts() && is_user()
    }

    /// Before a message goes to the phones: earlier ones that wait must not be overtaken, so that it is kept behind them. Whether
    /// it is.
    pub(super) fn keep_in_order(&mut self, now: Instant, tx: ServerTx, template: &mut Template) -> bool {
        let (Some(mailbox), Some(aor)) = (&mut self.mailbox, &template.keep) else { return false };
        if !mailbox.holders.contains(aor) {
            mailbox.patience.arm(now, mailbox.config.patience, tx);
            return false;
        }
        let aor = aor.clone();
        self.keep_message(now, tx, &template.request, &aor, StatusCode::TEMPORARILY_UNAVAILABLE);
        true
    }

    /// Keeps a message. `status`: the answer if it cannot be kept.
    pub(super) fn keep_message(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        aor: &AddressOfRecord,
        status: StatusCode,
    ) {
        let unix = self.unix_time(now);
        let Some(mailbox) = &self.mailbox else { return self.layer.reply_status(now, tx, status) };
        let octets = plain(request, &sip_date(unix));
        let is_full = !mailbox.holders.contains(aor) && mailbox.holders.len() >= mailbox.config.users;
        if is_full || octets.len() > mailbox.config.octets {
            return self.layer.reply_status(now, tx, status);
        }
        let lasts = request.headers.get::<Expires>().ok().flatten();
        let lasts = lasts.map_or(u64::MAX, |expires| expires.0.into()).min(mailbox.config.age.as_secs());
        let message =
            StoredMessage { id: 0, aor: aor.clone(), expires: unix.as_secs().saturating_add(lasts), octets };
        let limit = mailbox.config.per_user;
        let question = MessageQuestion::Keep { message, limit };
        self.ask_messages(now, question, Awaited::Kept(tx, aor.clone(), status));
    }

    fn ask_messages(&mut self, now: Instant, question: MessageQuestion, awaited: Awaited) {
        let Some(mailbox) = &mut self.mailbox else { return };
        if let Some(store) = &mut mailbox.store {
            let answer = store.answer(question);
            return self.stored_message(now, awaited, answer);
        }
        if mailbox.waiting.len().max(mailbox.questions.len()) >= self.limits.questions {
            return self.stored_message(now, awaited, MessageAnswer::Failed);
        }
        mailbox.asked = mailbox.asked.wrapping_add(1);
        let key = QuestionKey(mailbox.asked);
        let timer = mailbox.timers.arm(now, self.limits.question_timeout, key);
        mailbox.waiting.insert(key, (awaited, timer));
        mailbox.questions.push_back((key, question));
        if let Some(waker) = mailbox.waker.take() {
            waker.wake();
        }
    }

    fn stored_message(&mut self, now: Instant, awaited: Awaited, answer: MessageAnswer) {
        match (awaited, answer) {
            (Awaited::Kept(tx, aor, _), MessageAnswer::Kept(id)) => self.kept(now, tx, aor, id),
            (Awaited::Kept(tx, _, status), MessageAnswer::Full) => {
                self.forget_late(tx);
                self.layer.reply_status(now, tx, status);
            }
            (Awaited::Kept(tx, ..), _) => {
                self.forget_late(tx);
                count(&mut self.layer.counters.overloaded);
                let retry = self.retry_after();
                let reply = self.layer.transactions.request(tx);
                let reply =
                    reply.map(|request| request.reply(StatusCode::SERVICE_UNAVAILABLE).header(&retry));
                if let Some(reply) = reply {
                    self.layer.reply(now, tx, reply);
                }
            }
            (Awaited::Next(aor), MessageAnswer::Next(Some(message))) => self.next_message(now, aor, message),
            (Awaited::Next(aor), MessageAnswer::Next(None)) => {
                let Some(mailbox) = &mut self.mailbox else { return };
                if mailbox.deliveries.get(&aor).is_some_and(|delivery| delivery.more) {
                    return self.ask_for_next(now, aor);
                }
                mailbox.holders.remove(&aor);
                mailbox.deliveries.remove(&aor);
            }
            (Awaited::Removed(aor), MessageAnswer::Removed) => self.ask_for_next(now, aor),
            (Awaited::Next(aor) | Awaited::Removed(aor), _) => self.leave_for_later(now, &aor),
            (Awaited::Holders, MessageAnswer::Holders(all)) => {
                let Some(mailbox) = &mut self.mailbox else { return };
                for aor in all {
                    let spread = self.layer.transactions.random() % SETTLING.as_secs().max(1);
                    mailbox.try_again(now + Duration::from_secs(spread), &aor);
                    mailbox.holders.insert(aor);
                }
            }
            (Awaited::Holders, _) => {
                tracing::error!("it is not known who has messages; they are delivered after the next start");
            }
            (Awaited::Nothing, _) => {}
        }
    }

    /// RFC 3428 §7: 202 says that it was taken, not that it has arrived.
    fn kept(&mut self, now: Instant, tx: ServerTx, aor: AddressOfRecord, id: u64) {
        count(&mut self.layer.counters.messages_kept);
        self.layer.reply_status(now, tx, StatusCode::ACCEPTED);
        let Some(mailbox) = &mut self.mailbox else { return };
        if let Some(late) = mailbox.late.get_mut(&tx) {
            late.id = Some(id);
            if late.delivered {
                mailbox.late.remove(&tx);
                return self.ask_messages(now, MessageQuestion::Remove { aor, id }, Awaited::Nothing);
            }
        }
        let again = mailbox.config.again;
        mailbox.holders.insert(aor.clone());
        match mailbox.deliveries.get_mut(&aor) {
            Some(delivery) => delivery.more = true,
            None => mailbox.try_again(now + again, &aor),
        }
    }

    fn forget_late(&mut self, tx: ServerTx) {
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.late.remove(&tx);
        }
    }

    /// The server transaction of a message that was kept is over: no phone answers it any more.
    pub(super) fn message_over(&mut self, tx: ServerTx) {
        self.forget_late(tx);
    }

    // ---- from the proxy --------------------------------------------------------------------------------------

    /// Takes messages from the proxy for which nobody was there, and hears of phones that answered late.
    pub(super) fn collect_messages(&mut self, now: Instant) {
        while let Some((tx, aor, request, status)) = self.proxy.poll_undelivered() {
            self.keep_message(now, tx, &request, &aor, status);
        }
        while let Some(tx) = self.proxy.poll_late() {
            let Some(mailbox) = &mut self.mailbox else { continue };
            let Some(late) = mailbox.late.get_mut(&tx) else { continue };
            late.delivered = true;
            if let (Some(id), aor) = (late.id, late.aor.clone()) {
                mailbox.late.remove(&tx);
                let on_its_way = mailbox.deliveries.get(&aor).and_then(|one| one.message.as_ref());
                if on_its_way.is_none_or(|message| message.id != id) {
                    self.ask_messages(now, MessageQuestion::Remove { aor, id }, Awaited::Nothing);
                }
            }
        }
    }

    // ---- delivery --------------------------------------------------------------------------------------------

    /// Somebody has registered, or is to be tried again.
    pub(super) fn deliver(&mut self, now: Instant, aor: &AddressOfRecord) {
        let Some(mailbox) = &mut self.mailbox else { return };
        if !mailbox.holders.contains(aor) || mailbox.deliveries.contains_key(aor) {
            return;
        }
        mailbox.not_again(aor);
        let delivery = Delivery { message: None, out: 0, outcome: Outcome::NotYet, more: false };
        mailbox.deliveries.insert(aor.clone(), delivery);
        self.ask_messages(now, MessageQuestion::Next { aor: aor.clone() }, Awaited::Next(aor.clone()));
    }

    fn ask_for_next(&mut self, now: Instant, aor: AddressOfRecord) {
        if let Some(delivery) = self.mailbox.as_mut().and_then(|mailbox| mailbox.deliveries.get_mut(&aor)) {
            delivery.more = false;
        }
        self.ask_messages(now, MessageQuestion::Next { aor: aor.clone() }, Awaited::Next(aor));
    }

    fn next_message(&mut self, now: Instant, aor: AddressOfRecord, message: StoredMessage) {
        let unix = self.unix_time(now).as_secs();
        let Some(mailbox) = &mut self.mailbox else { return };
        let Some(delivery) = mailbox.deliveries.get_mut(&aor) else { return };
        if message.expires <= unix {
            count(&mut self.layer.counters.messages_dropped);
            let remove = MessageQuestion::Remove { aor: aor.clone(), id: message.id };
            return self.ask_messages(now, remove, Awaited::Removed(aor));
        }
        *delivery = Delivery { message: Some(message), out: 0, outcome: Outcome::NotYet, more: false };
        self.ask(now, Question::Lookup { aor: aor.clone() }, Waiting::Mail(aor));
    }

    /// To all phones of the user.
    pub(super) fn send_message(&mut self, now: Instant, aor: &AddressOfRecord, answer: Answer) {
        let bindings = match answer {
            Answer::Found(bindings) => bindings.list,
            _ => [].into(),
        };
        let groups = groups_of(&bindings, now, self.limits.branches, false, |_| None);
        let Some(mailbox) = &mut self.mailbox else { return };
        let Some(delivery) = mailbox.deliveries.get_mut(aor) else { return };
        let Some(message) = &delivery.message else { return };
        let mut limits = Limits::default();
        limits.message = usize::MAX;
        let Ok(request) = Request::parse(message.octets.clone(), &limits) else {
            tracing::error!(%aor, id = message.id, "a stored message cannot be read");
            delivery.outcome = Outcome::Refused;
            return self.delivery_over(now, aor);
        };
        for hop in groups.into_iter().flatten() {
            let mut request = request.clone();
            let Ok(target) = hop.prepare(&mut request) else { continue };
            let sent = self.layer.transactions.send(now, request, target, &mut self.layer.out);
            if let Ok(client) = sent {
                mailbox.sent.insert(client, aor.clone());
                delivery.out = delivery.out.saturating_add(1);
            }
        }
        if delivery.out == 0 {
            // Nobody is there: the next registration brings it.
            mailbox.deliveries.remove(aor);
        }
    }

    /// A final response to a message of ours, or none. Whether it was one of ours.
    pub(super) fn message_answered(
        &mut self,
        now: Instant,
        client: ClientTx,
        response: Option<&Response>,
    ) -> bool {
        let Some(mailbox) = &mut self.mailbox else { return false };
        if !mailbox.sent.contains_key(&client) {
            return false;
        }
        if response.is_some_and(|response| response.status().is_provisional()) {
            return true;
        }
        let Some(aor) = mailbox.sent.remove(&client) else { return true };
        let Some(delivery) = mailbox.deliveries.get_mut(&aor) else { return true };
        let outcome = match response.map(Response::status) {
            Some(status) if status.is_success() => Outcome::Delivered,
            // It will never take it, and others wait behind.
            Some(status) if !is_away(status) && !matches!(status.code(), 401 | 407 | 486 | 491) => {
                Outcome::Refused
            }
            _ => Outcome::NotYet,
        };
        delivery.outcome = delivery.outcome.max(outcome);
        delivery.out = delivery.out.saturating_sub(1);
        if delivery.out == 0 {
            self.delivery_over(now, &aor);
        }
        true
    }

    fn delivery_over(&mut self, now: Instant, aor: &AddressOfRecord) {
        let Some(mailbox) = &mut self.mailbox else { return };
        let Some(delivery) = mailbox.deliveries.get_mut(aor) else { return };
        let id = delivery.message.take().map(|message| message.id);
        let counter = match delivery.outcome {
            Outcome::NotYet => return self.leave_for_later(now, aor),
            Outcome::Refused => &mut self.layer.counters.messages_dropped,
            Outcome::Delivered => &mut self.layer.counters.messages_delivered,
        };
        count(counter);
        let remove = MessageQuestion::Remove { aor: aor.clone(), id: id.unwrap_or(0) };
        self.ask_messages(now, remove, Awaited::Removed(aor.clone()));
    }

    fn leave_for_later(&mut self, now: Instant, aor: &AddressOfRecord) {
        let Some(mailbox) = &mut self.mailbox else { return };
        mailbox.deliveries.remove(aor);
        let at = now + mailbox.config.again;
        mailbox.try_again(at, aor);
    }

    // ---- time ------------------------------------------------------------------------------------------------

    pub(super) fn message_timeouts(&mut self, now: Instant) {
        while let Some(key) = self.mailbox.as_mut().and_then(|mailbox| mailbox.timers.pop(now)) {
            let Some(mailbox) = &mut self.mailbox else { return };
            count(&mut self.layer.counters.questions_unanswered);
            mailbox.questions.retain(|(asked, _)| *asked != key);
            if let Some((awaited, _)) = mailbox.waiting.remove(&key) {
                self.stored_message(now, awaited, MessageAnswer::Failed);
            }
        }
        while let Some(tx) = self.mailbox.as_mut().and_then(|mailbox| mailbox.patience.pop(now)) {
            let Some(mailbox) = &mut self.mailbox else { return };
            if mailbox.late.len() >= LATE {
                continue; // its phone may take the whole time that the sender waits
            }
            let Some((aor, request)) = self.proxy.take_over(tx) else { continue };
            mailbox.late.insert(tx, Late { aor: aor.clone(), id: None, delivered: false });
            self.keep_message(now, tx, &request, &aor, StatusCode::REQUEST_TIMEOUT);
        }
        while let Some(mailbox) = &mut self.mailbox {
            let Some((at, aor)) = mailbox.again.first().cloned() else { return };
            if at > now {
                return;
            }
            mailbox.not_again(&aor);
            self.deliver(now, &aor);
        }
    }
}

/// A message without the way that it came, and with the time at which it was written (RFC 3428 §4).
fn plain(request: &Request, date: &str) -> Bytes {
    let mut request = request.clone();
    for name in [
        HeaderName::VIA,
        HeaderName::ROUTE,
        HeaderName::RECORD_ROUTE,
        HeaderName::PROXY_AUTHORIZATION,
        HeaderName::MAX_FORWARDS,
        HeaderName::MAX_BREADTH,
        HeaderName::EXPIRES,
    ] {
        request.headers.remove(name);
    }
    if !request.headers.contains(HeaderName::DATE) {
        // An error: the text of a date has nothing that a field cannot hold.
        let _ = request.headers.push_raw(HeaderName::DATE, date);
    }
    request.headers.push_back(&MaxForwards(70));
    request.to_bytes()
}
