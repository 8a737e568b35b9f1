//! The one owner of all calls: takes what the transaction layer passes up, and drives each call.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sip_auth::{Attempts, Authenticator};
use sip_message::headers::{Contact, Headers, NameAddr, Reason, Require, SessionId, Unsupported, UserAgent};
use sip_message::{HeaderName, Method, Request, RequestBuilder, Response, StatusCode, Uri};
use sip_transaction::{ClientTx, Event as TransactionEvent, Failure, ServerTx, Target, Transactions};
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, Path, Query, Queues, Received, Transmit};

use crate::alike::Alike;
use crate::call::{Call, CallState};
use crate::config::Config;
use crate::credentials::CredentialStore;
use crate::deadlines::{Deadlines, Due};
use crate::dialog::DialogId;
use crate::dialog_table::DialogTable;
use crate::event::{CallKey, Cause, Error, Event, RequestKey};
use crate::keys::KeyMap;
use crate::lingering::{CachedAck, Fork, Lingering};
use crate::publication::Publications;
use crate::replaces::refers_wrongly;
use crate::session_id::SessionIds;
use crate::subscription::{EventPurpose, Subscriptions};

/// Events of the transaction layer at a time that are nothing special. A burst, as when the timers of thousands are due at once, does
/// not keep its memory.
const MANY_EVENTS: usize = 128;

/// Why a request was sent, and what is needed to send it again with credentials.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) purpose: Purpose,
    pub(crate) request: Request,
    pub(crate) hop: Uri,
    /// Challenges answered so far; a server that challenges for ever is not followed.
    pub(crate) attempts: Attempts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Invite(CallKey),
    Reinvite(CallKey),
    Bye(CallKey),
    Prack(CallKey),
    Update(CallKey),
    /// A request inside a call that the application made.
    InCall(CallKey, RequestKey),
    /// A request outside of calls that the application made.
    Free(RequestKey),
    /// A BYE to a phone that answered a forked INVITE too late; nobody waits for its end.
    Surplus,
    /// A request of a subscription or a publication.
    Events(EventPurpose),
}

impl Purpose {
    fn in_call(self) -> bool {
        !matches!(self, Self::Free(_))
    }
}

/// Dialogs and calls over a transaction layer: a pure [`Core`].
///
/// Obligations live here: the ACK for a 2xx and its repetition, the repetition of our own 2xx until the ACK,
/// BYE after a 2xx that crossed a CANCEL, credentials. The application calls methods and takes events from
/// [`Dialogs::poll_event`].
#[derive(Debug)]
pub struct Dialogs {
    pub(crate) config: Config,
    /// Allow, Supported and Allow-Events as they are written.
    allow: String,
    supported: String,
    allow_events: String,
    pub(crate) transactions: Transactions,
    pub(crate) out: Queues<TransactionEvent>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) calls: KeyMap<CallKey, Box<Call>>,
    pub(crate) by_dialog: DialogTable,
    /// What the dialogs of most calls have alike.
    pub(crate) locals: Alike<NameAddr>,
    pub(crate) contacts: Alike<Contact>,
    pub(crate) by_server: KeyMap<ServerTx, CallKey>,
    pub(crate) sent: KeyMap<ClientTx, Box<Sent>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) credentials: CredentialStore,
    pub(crate) acks: HashMap<DialogId, Box<CachedAck>>,
    pub(crate) forks: HashMap<(String, String), Box<Fork>>,
    pub(crate) lingering: VecDeque<(Instant, Lingering)>,
    /// Re-INVITEs that are not answered though their calls are over, with the ACK of the 2xx that may come.
    pub(crate) left: KeyMap<ClientTx, Box<CachedAck>>,
    /// The halves of Session-ID, if calls are to have one.
    pub(crate) session_ids: Option<SessionIds>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) publications: Publications,
    next_key: u64,
    /// What our Contact is in dialogs, if a registrar gave us a URI that leads here from wherever (RFC 5627 §4.4).
    pub(crate) gruu: Option<Uri>,
}

impl Dialogs {
    /// A layer without calls.
    pub fn new(mut config: Config) -> Self {
        if config.connected_identity {
            config.supported.push("from-change".into());
        }
        if config.history {
            config.supported.push("histinfo".into());
        }
        let allow: Vec<&str> = config.allow.iter().map(Method::as_str).collect();
        Self {
            transactions: Transactions::new(config.transaction.clone()),
            allow: allow.join(", "),
            supported: config.supported.join(", "),
            allow_events: config.events.packages.join(", "),
            session_ids: config.session_ids.then(SessionIds::default),
            config,
            out: Queues::new(),
            events: VecDeque::new(),
            calls: KeyMap::default(),
            by_dialog: DialogTable::default(),
            locals: Alike::default(),
            contacts: Alike::default(),
            by_server: KeyMap::default(),
            sent: KeyMap::default(),
            deadlines: Deadlines::default(),
            credentials: CredentialStore::default(),
            acks: HashMap::new(),
            forks: HashMap::new(),
            lingering: VecDeque::new(),
            left: KeyMap::default(),
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            next_key: 0,
            gruu: None,
        }
    }

    /// Who we are to those who challenge us (RFC 3261 §22).
    pub fn authenticator(&mut self) -> &mut Authenticator {
        &mut self.credentials.accounts
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Calls that are not over.
    pub fn calls(&self) -> impl Iterator<Item = CallKey> {
        self.calls.keys().copied()
    }

    /// Where a call stands.
    pub fn state(&self, call: CallKey) -> Option<CallState> {
        self.calls.get(&call).map(|call| call.state)
    }

    /// The confirmed dialog of a call, or the early one of a call that we ring for.
    pub fn dialog(&self, call: CallKey) -> Option<&crate::dialog::Dialog> {
        self.calls.get(&call).and_then(|call| call.dialog.as_ref())
    }

    /// The call that has this dialog, early or not.
    pub(crate) fn call_with(&self, id: &DialogId) -> Option<CallKey> {
        self.by_dialog.find(id, |call| self.calls.get(&call).is_some_and(|call| call.has_dialog(id)))
    }

    /// Whether nothing is left: no call, no transaction, no timer. What every run must come to in the end.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.by_dialog.is_empty()
            && self.by_server.is_empty()
            && self.sent.is_empty()
            && self.deadlines.len() == 0
            && self.acks.is_empty()
            && self.forks.is_empty()
            && self.lingering.is_empty()
            && self.left.is_empty()
            && self.session_ids.as_ref().is_none_or(SessionIds::is_empty)
            && self.subscriptions.is_empty()
            && self.publications.is_empty()
            && self.transactions.live_client() == 0
            && self.transactions.live_server() == 0
    }

    /// The transaction layer below, for its counters.
    pub fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// A fresh random token for a tag, a Call-ID or a client nonce (RFC 3261 §19.3).
    pub fn token(&mut self) -> String {
        self.transactions.token()
    }

    /// A random number, for jitter and session ids.
    pub fn chance(&mut self) -> u64 {
        self.transactions.random()
    }

    pub(crate) fn fresh_key(&mut self) -> u64 {
        self.next_key = self.next_key.saturating_add(1);
        self.next_key
    }

    pub(crate) fn t1(&self) -> Duration {
        self.transactions.timing().t1
    }

    /// 64·T1: how long an unanswered request is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.t1().saturating_mul(64)
    }

    // ---- sending -------------------------------------------------------------------------------------------

    /// Fields that each request of ours carries.
    pub(crate) fn finish(&self, builder: RequestBuilder) -> Result<Request, Error> {
        let mut builder = builder;
        if !self.config.user_agent.is_empty() {
            builder = builder.header(&UserAgent::new(&self.config.user_agent));
        }
        let mut request = builder.build()?;
        let tells = matches!(request.method(), Method::Invite | Method::Options | Method::Update);
        if tells && !request.headers.contains(HeaderName::ALLOW) {
            request.headers.push_raw(HeaderName::ALLOW, &self.allow)?;
        }
        if tells && !self.supported.is_empty() && !request.headers.contains(HeaderName::SUPPORTED) {
            request.headers.push_raw(HeaderName::SUPPORTED, &self.supported)?;
        }
        if tells {
            self.tell_info_packages(&mut request.headers)?;
        }
        let may_notify = tells || matches!(request.method(), Method::Subscribe | Method::Refer);
        if may_notify && !self.allow_events.is_empty() {
            request.headers.push_raw(HeaderName::ALLOW_EVENTS, &self.allow_events)?;
        }
        Ok(request)
    }

    /// Sends a request in a transaction of its own, with credentials if a server asked for them before.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        mut request: Request,
        hop: Uri,
        purpose: Purpose,
    ) -> Result<ClientTx, Error> {
        self.stamp_request(&mut request);
        let Self { credentials, transactions, .. } = self;
        credentials.authorize(&mut request, || transactions.token());
        self.resend(now, Box::new(Sent { purpose, request, hop, attempts: Attempts::default() }))
    }

    pub(crate) fn resend(&mut self, now: Instant, sent: Box<Sent>) -> Result<ClientTx, Error> {
        let target = Target::Uri(sent.hop.clone());
        let tx = self
            .transactions
            .send(now, sent.request.clone(), target, &mut self.out)
            .map_err(|error| Error::Transaction(error.to_string()))?;
        self.sent.insert(tx, sent);
        self.drain(now);
        Ok(tx)
    }

    /// Answers a request; a server transaction that has ended meanwhile needs no answer any more.
    pub(crate) fn answer(&mut self, now: Instant, tx: ServerTx, mut response: Response) {
        self.stamp_response(&mut response);
        if let Err(error) = self.transactions.respond(now, tx, response, &mut self.out) {
            tracing::debug!(%error, "a response found its transaction gone");
        }
    }

    pub(crate) fn respond_inner(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut response: Response,
    ) -> Result<(), Error> {
        self.stamp_response(&mut response);
        self.transactions
            .respond(now, tx, response, &mut self.out)
            .map_err(|error| Error::Transaction(error.to_string()))
    }

    pub(crate) fn cancel(&mut self, now: Instant, tx: ClientTx, reason: Option<&Reason>) {
        let mut extra = Headers::new();
        if let Some(reason) = reason {
            extra.push_back(reason);
        }
        // RFC 7989 §6: the very field of the request.
        if self.session_ids.is_some()
            && let Some(Ok(Some(id))) = self.sent.get(&tx).map(|sent| sent.request.headers.get::<SessionId>())
        {
            extra.push_back(&id);
        }
        if let Err(error) = self.transactions.cancel(now, tx, &extra, &mut self.out) {
            tracing::debug!(%error, "nothing left to cancel");
        }
    }

    /// Answers a request with a status and nothing else.
    pub(crate) fn answer_status(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        status: StatusCode,
    ) {
        let tag = self.token();
        self.answer_built(now, tx, request.reply(status).to_tag(&tag));
    }

    pub(crate) fn answer_built(&mut self, now: Instant, tx: ServerTx, builder: sip_message::ResponseBuilder) {
        match builder.build() {
            Ok(response) => self.answer(now, tx, response),
            Err(error) => tracing::error!(%error, "a response of ours cannot be built"),
        }
    }

    // ---- what the transaction layer passes up ----------------------------------------------------------------

    /// Works through everything that the transaction layer put out.
    pub(crate) fn drain(&mut self, now: Instant) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                TransactionEvent::Request { tx, request, path } => self.request_came(now, tx, request, path),
                TransactionEvent::Ack { request, .. } => self.ack_came(now, request),
                TransactionEvent::Cancelled { tx, request } => self.cancel_came(now, tx, request),
                TransactionEvent::Response { tx, response, path } => {
                    self.response_came(now, tx, response, path)
                }
                TransactionEvent::Stray { response, .. } => self.success_came_again(now, &response),
                TransactionEvent::Failed { tx, failure } => self.failed(now, tx, failure),
                _ => {}
            }
        }
        if self.out.events.capacity() > MANY_EVENTS {
            self.out.events.shrink_to(MANY_EVENTS);
        }
    }

    fn request_came(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        self.hear_session_id_of_request(&request);
        if !self.config.allow.contains(request.method()) {
            let tag = self.token();
            let builder = request.reply(StatusCode::METHOD_NOT_ALLOWED).to_tag(&tag);
            let builder = builder.raw(HeaderName::ALLOW, &self.allow);
            return self.answer_built(now, tx, builder);
        }
        // §8.2.2: what its method asks of a request; the layer below has checked all the rest.
        if let Err(error) = request.check_method() {
            let tag = self.token();
            let builder = request.reply(error.status).reason(&error.reason).to_tag(&tag);
            return self.answer_built(now, tx, builder);
        }
        let unsupported: Vec<Unsupported> = request
            .headers
            .all::<Require>()
            .flatten()
            .filter(|tag| !self.understands(&tag.0))
            .map(|tag| Unsupported(tag.0))
            .collect();
        if !unsupported.is_empty() && *request.method() != Method::Cancel {
            let tag = self.token();
            let builder = request.reply(StatusCode::BAD_EXTENSION).to_tag(&tag).headers(&unsupported);
            return self.answer_built(now, tx, builder);
        }
        if *request.method() != Method::Invite && refers_wrongly(&request) {
            return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST); // RFC 3891 §3
        }
        let Ok(identity) = sip_message::Identity::of(&request.headers) else {
            return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST);
        };
        if matches!(request.method(), Method::Subscribe | Method::Notify | Method::Refer) {
            return self.event_request_came(now, tx, request, path, &identity);
        }
        match DialogId::of_request(&identity) {
            Some(id) => match self.call_with(&id) {
                Some(call) => self.request_in_dialog_came(now, call, &id, tx, request, path),
                None if self.subscriptions.has_dialog(&id) => {
                    self.request_in_event_dialog_came(now, &id, tx, request, path);
                }
                None => {
                    self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
                }
            },
            None => match request.method() {
                Method::Invite => self.invite_came(now, tx, request, path, identity),
                Method::Bye | Method::Prack | Method::Update => {
                    self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
                }
                _ => self.events.push_back(Event::Request { tx, call: None, request, path }),
            },
        }
    }

    /// What the application supports, and with REFER what the layer does by itself (RFC 4488, RFC 4538).
    fn understands(&self, option: &str) -> bool {
        let known = |known: &&str| known.eq_ignore_ascii_case(option);
        let own: &[&str] = if self.config.allow.contains(&Method::Refer) {
            &["norefersub", "tdialog", "explicitsub", "nosub"]
        } else {
            &[]
        };
        self.config.supported.iter().map(String::as_str).any(|tag| known(&tag)) || own.iter().any(known)
    }

    fn response_came(&mut self, now: Instant, tx: ClientTx, response: Response, path: Path) {
        self.hear_session_id_of_response(&response);
        let status = response.status();
        let Some(sent) = self.sent.get(&tx) else {
            return self.success_came_again(now, &response); // a further 2xx of a fork, or one repeated
        };
        let purpose = sent.purpose;
        if status.is_provisional() {
            if let Purpose::Invite(call) | Purpose::Reinvite(call) = purpose {
                self.progress_came(now, call, response);
            }
            return;
        }
        let Some(sent) = self.sent.remove(&tx) else { return };
        let left = self.left.remove(&tx);
        self.credentials.receive_info(&sent.request, &response);
        let challenged =
            matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let sent = if challenged && left.is_none() {
            match self.with_credentials(sent, &response) {
                Ok(sent) => return self.retry(now, sent),
                Err(sent) => sent,
            }
        } else {
            sent
        };
        match purpose {
            Purpose::Invite(call) => self.invite_answered(now, call, response),
            Purpose::Reinvite(call) if !self.calls.contains_key(&call) => {
                self.left_reinvite_answered(now, left, &sent.request, &response);
            }
            Purpose::Reinvite(call) => self.reinvite_answered(now, call, &sent.request, response),
            Purpose::Bye(call) => {
                if !self.bye_overtaken(now, call, &sent.request, status) {
                    self.bye_answered(now, call);
                }
            }
            Purpose::Update(call) => self.update_answered(now, call, &sent.request, response),
            Purpose::Prack(call) => self.prack_answered(call, &sent.request, status),
            Purpose::InCall(call, key) => {
                let lost = matches!(
                    status,
                    StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT
                );
                self.events.push_back(Event::Response { key, result: Ok(response), path: Some(path) });
                if lost {
                    self.end_with_bye(now, call, Cause::Lost(status)); // §12.2.1.2
                }
            }
            Purpose::Free(key) => {
                self.events.push_back(Event::Response { key, result: Ok(response), path: Some(path) })
            }
            Purpose::Surplus => {}
            Purpose::Events(purpose) => self.event_answered(now, purpose, response),
        }
    }

    /// The request again with an answer to the challenge: same Call-ID and From tag, next CSeq (§22.2, §8.1.3.5).
    /// As it was if the challenge cannot be answered.
    fn with_credentials(&mut self, mut sent: Box<Sent>, response: &Response) -> Result<Box<Sent>, Box<Sent>> {
        let cnonce = self.token();
        let mut request = sent.request.clone();
        let in_call = sent.purpose.in_call();
        if !self.credentials.answer(&mut request, response, &mut sent.attempts, in_call, &cnonce) {
            return Err(sent);
        }
        let Some(cseq) = self.next_cseq(sent.purpose, &request) else { return Err(sent) };
        request.headers.set(&sip_message::headers::CSeq::new(cseq, request.method().clone()));
        sent.request = request;
        Ok(sent)
    }

    fn next_cseq(&mut self, purpose: Purpose, request: &Request) -> Option<u32> {
        let current = request.headers.require::<sip_message::headers::CSeq>().ok()?.number;
        let next = match purpose {
            Purpose::Reinvite(call)
            | Purpose::Bye(call)
            | Purpose::InCall(call, _)
            | Purpose::Prack(call)
            | Purpose::Update(call) => {
                let id = DialogId::of_own_request(&sip_message::Identity::of(&request.headers).ok()?);
                let (dialog, _) = self.calls.get_mut(&call)?.dialog_mut(&id)?;
                let next = dialog.local_cseq().max(current).saturating_add(1);
                dialog.note_local_cseq(next);
                next
            }
            Purpose::Events(purpose) => self.event_cseq(purpose, current)?,
            Purpose::Invite(_) | Purpose::Free(_) | Purpose::Surplus => current.saturating_add(1),
        };
        Some(next)
    }

    fn retry(&mut self, now: Instant, sent: Box<Sent>) {
        let purpose = sent.purpose;
        if let Purpose::Invite(key) = purpose
            && let Some(call) = self.calls.get_mut(&key)
        {
            let early = call.take_early();
            if let Some(setup) = &mut call.setup {
                setup.invite = sent.request.clone();
            }
            self.drop_early(now, key, early);
        }
        let dialog = own_dialog(&sent);
        match self.resend(now, sent) {
            Ok(tx) => {
                if let Purpose::Events(purpose) = purpose {
                    self.event_resent(now, purpose, tx);
                }
                if let Purpose::Invite(call) | Purpose::Reinvite(call) = purpose {
                    self.invite_resent(now, call, purpose, tx);
                }
            }
            Err(_) => self.purpose_failed(now, purpose, dialog, Failure::Timeout),
        }
    }

    fn failed(&mut self, now: Instant, tx: ClientTx, failure: Failure) {
        self.left.remove(&tx);
        if let Some(sent) = self.sent.remove(&tx) {
            self.purpose_failed(now, sent.purpose, own_dialog(&sent), failure);
        }
    }

    /// `dialog`: that of an UPDATE, which may be one of several that ring.
    fn purpose_failed(&mut self, now: Instant, purpose: Purpose, dialog: Option<DialogId>, failure: Failure) {
        match purpose {
            Purpose::Invite(call) => self.invite_failed(now, call, failure),
            Purpose::Reinvite(call) | Purpose::Update(call) => {
                let cause = Cause::Lost(StatusCode::REQUEST_TIMEOUT);
                match dialog {
                    Some(dialog) => self.dialog_is_over(now, call, &dialog, cause),
                    None => self.end_with_bye(now, call, cause),
                }
            }
            Purpose::Prack(call) => self.prack_failed(now, call),
            Purpose::Bye(call) => self.bye_answered(now, call),
            Purpose::InCall(call, key) => {
                self.events.push_back(Event::Response { key, result: Err(failure), path: None });
                self.end_with_bye(now, call, Cause::Lost(StatusCode::REQUEST_TIMEOUT));
            }
            Purpose::Free(key) => {
                self.events.push_back(Event::Response { key, result: Err(failure), path: None })
            }
            Purpose::Surplus => {}
            Purpose::Events(purpose) => self.event_failed(now, purpose, failure),
        }
    }

    /// Whether another call can begin.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < self.config.max_calls
    }

    /// What a 200 to OPTIONS says we can do (RFC 3261 §11.2), besides what the application adds.
    pub fn capabilities(&self, builder: sip_message::ResponseBuilder) -> sip_message::ResponseBuilder {
        let mut builder = builder.raw(HeaderName::ALLOW, &self.allow);
        if !self.supported.is_empty() {
            builder = builder.raw(HeaderName::SUPPORTED, &self.supported);
        }
        if !self.allow_events.is_empty() {
            builder = builder.raw(HeaderName::ALLOW_EVENTS, &self.allow_events);
        }
        builder
    }
}

/// The dialog of an UPDATE of ours.
fn own_dialog(sent: &Sent) -> Option<DialogId> {
    let update = matches!(sent.purpose, Purpose::Update(_));
    let identity = update.then(|| sip_message::Identity::of(&sent.request.headers).ok()).flatten()?;
    Some(DialogId::of_own_request(&identity))
}

impl Core for Dialogs {
    fn receive(&mut self, now: Instant, received: Received) {
        self.transactions.receive(now, received, &mut self.out);
        self.drain(now);
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.transactions.backlog(now, backlog);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.transactions.flow_event(now, event, &mut self.out);
        self.drain(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.transactions.resolved(now, answer, &mut self.out);
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.transactions.handle_timeout(now, &mut self.out);
        self.drain(now);
        while let Some((call, due)) = self.deadlines.pop(now) {
            match due {
                Due::RepeatSuccess => self.repeat_success(now, call),
                Due::NoAck => self.not_acknowledged(now, call),
                Due::RepeatProvisional => self.repeat_provisional(now, call),
                Due::RetryReinvite => self.retry_is_due(call),
                Due::RepeatReliable => self.repeat_reliable(now, call),
                Due::NoPrack => self.no_prack(now, call),
                Due::Refresh => self.refresh_session(now, call),
                Due::SessionExpired => self.session_expired(now, call),
                Due::NoAnswer => self.no_answer(now, call),
            }
            self.drain(now);
        }
        self.forget_lingering(now);
        self.drain(now);
        self.event_alarms(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lingering = self.lingering.front().map(|(at, _)| *at);
        let events = self.subscriptions.next_alarm();
        [self.transactions.poll_timeout(), self.deadlines.next(), lingering, events]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.out.closes.pop_front()
    }
}
