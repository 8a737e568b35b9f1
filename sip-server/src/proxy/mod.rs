//! The stateful proxy: RFC 3261 §16.
//!
//! ```text
//!            validate        preprocess      determine         forward to each          choose among
//!  request ──▶ §16.3 ───────▶ §16.4 ───────▶ targets §16.5 ───▶ target §16.6 ┬▶ ... ──▶ responses §16.7 ──▶ response
//!               │ 483 420      (Route, maddr)   │ 404 480 403                ├▶ ...       1xx and 2xx at once
//!               ▼                               ▼                            └▶ ...
//! ```
//!
//! One [`Context`] holds what belongs to one request; its branches are client transactions of the layer below, which
//! retransmits, resolves and fails over by itself. A context ends when all its transactions have ended.

mod aside;
mod best;
mod context;
mod early;
mod hide;
mod history;
mod overload;
mod plan;
mod prove;
mod record_route;
mod redirect;
mod response;
mod route;
mod session_timer;
mod target;
mod transfer;
mod validate;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::{Headers, Request, Response, ResponseBuilder, StatusCode};
use sip_transaction::tables::Sharded;
use sip_transaction::timers::Timers;
use sip_transaction::{ClientTx, Event, RespondError, ServerTx, Target, Transactions};
use sip_transport::{Path, Queues};

pub(crate) use context::{Context, Template};
pub(crate) use hide::{Hiding, Seals};
pub(crate) use history::History;
pub(crate) use plan::Plan;
pub(crate) use record_route::{RecordRoute, Side};
pub(crate) use redirect::{Recursion, Redirect};
pub(crate) use route::{RouteError, Routed, preprocess};
pub(crate) use session_timer::{Asked, ask as ask_for_timer};
pub(crate) use target::{Edits, Group, Hop, groups_of};
pub(crate) use validate::validate;

use crate::AddressOfRecord;
use crate::calls::{CallLog, UserCalls};
use crate::config::{Counters, count};
use crate::core::Asleep;
use crate::domains::Domains;
use crate::flow::leads_back;
use crate::routing::Rules;
use crate::traffic::Traffic;

/// The transaction layer and what it produced: what the proxy works with.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) transactions: Transactions,
    pub(crate) out: Queues<Event>,
    pub(crate) counters: Counters,
    /// Follows calls, if somebody wants to know of them.
    pub(crate) calls: Option<CallLog>,
    /// Follows the calls of each user, if somebody can subscribe to them.
    pub(crate) lines: Option<UserCalls>,
    pub(crate) traffic: Traffic,
}

impl Layer {
    /// Sends a response to the request of `tx`.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        tx: ServerTx,
        response: Response,
    ) -> Result<(), RespondError> {
        match self.transactions.respond_ref(now, tx, &response, &mut self.out) {
            Ok(()) => {
                self.note(now, tx, &response);
                Ok(())
            }
            Err(reason) => Err(RespondError { response: Box::new(response), reason }),
        }
    }

    /// A response has been sent: for the counters, and for who follows calls.
    pub(crate) fn note(&mut self, now: Instant, tx: ServerTx, response: &Response) {
        self.traffic.response(response.status());
        tracing::debug!(status = response.status().code(), "answered");
        if let Some(calls) = &mut self.calls {
            calls.response(now, tx, response);
        }
        if let Some(lines) = &mut self.lines {
            lines.response(now, tx, response);
        }
    }

    /// Answers a request ourselves, with a To tag.
    pub(crate) fn reply(&mut self, now: Instant, tx: ServerTx, reply: ResponseBuilder) {
        let tag = self.transactions.token();
        let response = match reply.to_tag(&tag).build() {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "an answer could not be written");
                return self.reply_status(now, tx, StatusCode::SERVER_INTERNAL_ERROR);
            }
        };
        // An error: the client gave up meanwhile.
        let _ = self.respond(now, tx, response);
    }

    /// Answers with a challenge, or a refusal in its place, for which nothing is kept (RFC 3261 §8.2.7).
    pub(crate) fn challenge(&mut self, now: Instant, tx: ServerTx, reply: ResponseBuilder) {
        match self.transactions.respond_and_forget(now, tx, reply, &mut self.out) {
            Ok(response) => self.note(now, tx, &response),
            Err(error) => tracing::debug!(%error, "a challenge was not sent"),
        }
    }

    /// Answers with nothing but a status.
    pub(crate) fn reply_status(&mut self, now: Instant, tx: ServerTx, status: StatusCode) {
        let tag = self.transactions.token();
        let reply = self.transactions.request(tx).map(|request| request.reply(status).to_tag(&tag).build());
        if let Some(Ok(response)) = reply {
            let _ = self.respond(now, tx, response);
        }
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Timer C of this branch of an INVITE.
    Branch(usize),
    /// The time that the step under way may ring.
    Step,
}

/// A message for a user who is not there, and what its sender would be told.
pub(crate) type Undelivered = (ServerTx, AddressOfRecord, Box<Request>, StatusCode);

/// All response contexts.
#[derive(Debug)]
pub(crate) struct Proxy {
    contexts: Sharded<ServerTx, Box<Context>>,
    /// Which branch of which context a client transaction is.
    branches: Sharded<ClientTx, (ServerTx, usize)>,
    timers: Timers<(ServerTx, Clock)>,
    /// Requests of which a step is due, whose targets have to be found.
    due: VecDeque<ServerTx>,
    /// Messages for users who are not there, and what their sender would be told.
    undelivered: VecDeque<Undelivered>,
    /// Messages that were taken over, and that a phone has answered after all.
    late: VecDeque<ServerTx>,
    /// Redirections whose contacts are to be looked at.
    redirects: VecDeque<Redirect>,
    /// Branches whose phones are to be woken.
    asleep: VecDeque<(ServerTx, usize, Arc<Asleep>)>,
    /// Requests of live contexts that were looked up, for loop detection.
    seen: Sharded<u64, u32>,
    manner: Manner,
}

/// How the proxy works, which may change while it does.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) timer_c: Duration,
    pub(crate) record_route: Option<RecordRoute>,
    /// Callers who want it hear of early dialogs that are over (RFC 6228).
    pub(crate) early_ends: bool,
    /// Whose history is kept private.
    pub(crate) domains: Domains,
    /// Where trunks are.
    pub(crate) rules: Rules,
}

impl Proxy {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            contexts: Sharded::new(),
            branches: Sharded::new(),
            timers: Timers::new([manner.timer_c]),
            due: VecDeque::new(),
            undelivered: VecDeque::new(),
            late: VecDeque::new(),
            redirects: VecDeque::new(),
            asleep: VecDeque::new(),
            seen: Sharded::new(),
            manner,
        }
    }

    /// Another manner, for requests from now on.
    pub(crate) fn reconfigure(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// Other keys of what is written into Record-Route.
    pub(crate) fn set_routes(&mut self, routes: &RecordRoute) {
        if let Some(own) = &mut self.manner.record_route {
            own.clone_from(routes);
        }
    }

    /// Where a request under way came from.
    pub(crate) fn source_of(&self, tx: ServerTx) -> Option<IpAddr> {
        self.contexts.get(&tx).map(|context| context.path.remote.ip())
    }

    pub(crate) fn live(&self) -> usize {
        self.contexts.len()
    }

    pub(crate) fn armed_timers(&self) -> usize {
        self.timers.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Opens a context and forwards the request to its first group of targets.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut template: Template,
        groups: Vec<Group>,
        layer: &mut Layer,
    ) {
        overload::forget_load(&mut template.request.headers);
        self.admit(&template, layer);
        self.contexts.insert(tx, Box::new(Context::new(template, groups, self.manner.early_ends)));
        self.go_on(now, tx, layer);
    }

    /// Opens a context whose targets are found step by step.
    pub(crate) fn open_plan(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut template: Template,
        plan: Plan,
        layer: &mut Layer,
    ) {
        overload::forget_load(&mut template.request.headers);
        self.admit(&template, layer);
        let mut context = Box::new(Context::new(template, Vec::new(), self.manner.early_ends));
        context.plan = Some(Box::new(plan));
        self.contexts.insert(tx, context);
        self.go_on(now, tx, layer);
    }

    fn admit(&mut self, template: &Template, layer: &mut Layer) {
        count(&mut layer.counters.proxied);
        if let Some(fingerprint) = template.fingerprint {
            let live = self.seen.get(&fingerprint).copied().unwrap_or(0);
            self.seen.insert(fingerprint, live.saturating_add(1));
        }
    }

    /// The next message for a user who is not there. Its answer is left to who takes it.
    pub(crate) fn poll_undelivered(&mut self) -> Option<Undelivered> {
        self.undelivered.pop_front()
    }

    /// The next message that was taken over and has arrived all the same.
    pub(crate) fn poll_late(&mut self) -> Option<ServerTx> {
        self.late.pop_front()
    }

    /// Takes a message from phones that are slow to answer. Nothing if it was answered meanwhile.
    pub(crate) fn take_over(&mut self, tx: ServerTx) -> Option<(AddressOfRecord, Box<Request>)> {
        let context = self.contexts.get_mut(&tx).filter(|context| !context.answered)?;
        let aor = context.keep.take()?;
        let request = context.request.take()?;
        (context.answered, context.taken) = (true, true);
        context.close();
        Some((aor, request))
    }

    /// Whether a live context had the same request (RFC 5393 §4.2).
    pub(crate) fn has_seen(&self, fingerprint: u64) -> bool {
        self.seen.contains_key(&fingerprint)
    }

    /// The caller gave up (§16.10): all branches are cancelled, and their 487 goes back as the best response.
    pub(crate) fn cancelled(
        &mut self,
        now: Instant,
        tx: ServerTx,
        cancel: &Request,
        layer: &mut Layer,
    ) -> bool {
        let Some(context) = self.contexts.get_mut(&tx) else { return false };
        context.cancelled = true;
        context.groups.clear();
        let waited = context.plan.as_deref_mut().is_some_and(|plan| {
            let waited = plan.waits();
            plan.end();
            waited
        });
        let waited = context.recursion.as_deref_mut().is_some_and(Recursion::end) || waited;
        let mut extra = Headers::new();
        extra.copy_from(&cancel.headers, sip_message::HeaderName::REASON);
        let waited = context.cancel_branches(now, &extra, layer) || waited;
        if waited {
            self.go_on(now, tx, layer); // nobody is rung who could give the 487
        }
        true
    }

    /// Timer C (§16.8) and the times to ring: a branch that has said nothing for so long is cancelled; its 487 then counts as 408.
    pub(crate) fn handle_timeout(&mut self, now: Instant, layer: &mut Layer) {
        while let Some((tx, clock)) = self.timers.pop(now) {
            let Clock::Branch(index) = clock else {
                self.step_rang_out(now, tx, layer);
                continue;
            };
            let Some(branch) = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index))
            else {
                continue;
            };
            let left = branch.rings_until.saturating_duration_since(now);
            if !left.is_zero() {
                branch.timer_c = Some(self.timers.arm(now, left, (tx, Clock::Branch(index))));
                continue;
            }
            branch.timer_c = None;
            branch.expired = true;
            count(&mut layer.counters.timer_c);
            if let Some(client) = branch.client {
                // An error: it is over, and the event that says so is on its way.
                let _ = layer.transactions.cancel(now, client, &Headers::new(), &mut layer.out);
            }
        }
    }

    pub(crate) fn client_terminated(&mut self, now: Instant, client: ClientTx, layer: &mut Layer) {
        let Some((tx, index)) = self.branches.remove(&client) else { return };
        if let Some(context) = self.contexts.get_mut(&tx) {
            context.live = context.live.saturating_sub(1);
            // Every branch ends with a final response or a failure first; should one not, it must not hold the context.
            let lost = context.branches.get(index).is_some_and(|b| !b.done && b.client == Some(client));
            if lost {
                self.branch_failed(now, tx, index, StatusCode::REQUEST_TIMEOUT, layer);
            }
        }
        self.drop_if_over(tx);
    }

    pub(crate) fn server_terminated(&mut self, tx: ServerTx) {
        if let Some(context) = self.contexts.get_mut(&tx) {
            context.server_gone = true;
        }
        self.drop_if_over(tx);
    }

    fn drop_if_over(&mut self, tx: ServerTx) {
        if !self.contexts.get(&tx).is_some_and(|context| context.live == 0 && context.server_gone) {
            return;
        }
        self.stop_ringing(tx);
        let Some(context) = self.contexts.remove(&tx) else { return };
        for timer in context.branches.iter().filter_map(|branch| branch.timer_c) {
            self.timers.cancel(timer);
        }
        if let Some(fingerprint) = context.fingerprint
            && let Some(live) = self.seen.get_mut(&fingerprint)
        {
            *live = live.saturating_sub(1);
            if *live == 0 {
                self.seen.remove(&fingerprint);
            }
        }
    }

    fn disarm(&mut self, tx: ServerTx, index: usize) {
        let branch = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index));
        if let Some(timer) = branch.and_then(|branch| branch.timer_c.take()) {
            self.timers.cancel(timer);
        }
    }

    /// Adds our Record-Route to a request that leaves without a transaction.
    pub(crate) fn record_stateless(
        &self,
        request: &mut Request,
        path: &Path,
        target: &Target,
        flow: Option<&Path>,
        layer: &Layer,
    ) {
        let local = context::leaving_from(layer.transactions.locals(), target, path);
        let leaves = Side { local, flow, only: false, hidden: false, stateless: true };
        self.record(request, path, leaves, false, layer);
    }

    /// Adds our Record-Route to a request that came on `path` and goes to `leaves`. Phones that can be reached over their own
    /// flow alone stay on it for the whole dialog (RFC 5626 §5.3).
    fn record(&self, request: &mut Request, path: &Path, leaves: Side<'_>, from_hidden: bool, layer: &Layer) {
        let Some(own) = &self.manner.record_route else { return };
        let call_id = request.headers.text(sip_message::HeaderName::CALL_ID).unwrap_or_default().to_owned();
        let contact = request.headers.get::<sip_message::headers::Contact>().ok().flatten();
        // Our own Via is not on it yet: what stands there is how it came.
        let back = contact.as_ref().and_then(|contact| contact.uri());
        let flow = back.is_some_and(|uri| leads_back(request, uri, path)).then_some(path);
        let only = back.is_some_and(|uri| uri.has_ob());
        let came = Side {
            local: layer.transactions.locals().at(path),
            flow,
            only,
            hidden: from_hidden,
            stateless: leaves.stateless,
        };
        let next = request.headers.get::<sip_message::headers::Route>().ok().flatten();
        let sips =
            request.uri().is_ok_and(|uri| uri.is_sips()) || next.is_some_and(|route| route.uri().is_sips());
        if let Err(error) = own.write(&mut request.headers, came, leaves, &call_id, sips) {
            tracing::warn!(%error, "Record-Route could not be written");
        }
    }
}

fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}
