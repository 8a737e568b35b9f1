//! One request on its way through the proxy, and the forwarding of it: RFC 3261 §16.6.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use sip_message::headers::HistoryInfo;
use sip_message::{HeaderName, Headers, Method, Request, StatusCode};
use sip_transaction::timers::TimerId;
use sip_transaction::{ClientTx, ServerTx, Target};
use sip_transport::locals::parse_ip;
use sip_transport::{Local, Locals, Path, Transport};

use super::best::Best;
use super::early::{EarlyDialogs, wants_early_ends};
use super::history::{History, withhold_history};
use super::plan::Plan;
use super::prove::Proof;
use super::redirect::Recursion;
use super::route::next_hop;
use super::target::{Edits, Group, Hop};
use super::{Asked, Clock, Hiding, Layer, Proxy, Side, later};
use crate::AddressOfRecord;
use crate::calls::Seat;
use crate::config::count;

/// RFC 5393 §5.3.3: the breadth of a request that names none.
const DEFAULT_MAX_BREADTH: usize = 60;

/// A request ready to be forwarded, and how it came.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) request: Request,
    pub(crate) path: Path,
    /// Whether it may create a dialog in whose path we want to stay.
    pub(crate) record_route: bool,
    /// The request's mark for loop detection, if it was looked up.
    pub(crate) fingerprint: Option<u64>,
    /// The sender has proven to be a user of ours, or to be in a dialog that was let through.
    pub(crate) known: bool,
    /// A message that is kept for this user if nobody is there.
    pub(crate) keep: Option<AddressOfRecord>,
    /// The session timer that was asked for.
    pub(crate) timer: Option<Asked>,
    /// Its targets are told in History-Info.
    pub(crate) history: Option<Box<History>>,
    /// A 3xx to it is followed.
    pub(crate) recursion: Option<Box<Recursion>>,
    /// From whom it is hidden where it came from, if it is.
    pub(crate) hiding: Option<Box<Hiding>>,
}

/// The response context (§16): a request, its branches, and what they answered.
#[derive(Debug)]
pub(crate) struct Context {
    /// What is forwarded; gone once no branch can be added.
    pub(super) request: Option<Box<Request>>,
    pub(super) path: Path,
    pub(super) invite: bool,
    record_route: bool,
    pub(super) fingerprint: Option<u64>,
    /// A message that is kept for this user if nobody is there.
    pub(super) keep: Option<AddressOfRecord>,
    /// It is kept, because its phones were slow.
    pub(super) taken: bool,
    pub(super) branches: Vec<Branch>,
    /// Targets not tried yet.
    pub(super) groups: VecDeque<Group>,
    /// Steps to try after these.
    pub(super) plan: Option<Box<Plan>>,
    pub(super) recursion: Option<Box<Recursion>>,
    /// The caller hears of early dialogs that are over.
    pub(super) early_ends: bool,
    pub(super) timer: Option<Asked>,
    pub(super) history: Option<Box<History>>,
    pub(super) hiding: Option<Box<Hiding>>,
    pub(super) best: Best,
    /// A final response was forwarded.
    pub(super) answered: bool,
    pub(super) cancelled: bool,
    /// Client transactions that are not over.
    pub(super) live: usize,
    pub(super) server_gone: bool,
}

/// One branch of a request.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(super) client: Option<ClientTx>,
    /// Its final response is here.
    pub(super) done: bool,
    pub(super) timer_c: Option<TimerId>,
    /// When Timer C runs out; its timer may fire earlier and is then armed again.
    pub(super) rings_until: Instant,
    /// Timer C has fired.
    pub(super) expired: bool,
    /// What to try if the way it was sent is dead.
    pub(super) again: Option<Box<Again>>,
    /// Credentials for it, not used yet.
    pub(super) proof: Option<Box<Proof>>,
    /// Its Max-Breadth, if one was written.
    pub(super) breadth: Option<usize>,
    /// Who has sent the request on to it, if it matters.
    pub(super) edits: Option<Arc<Edits>>,
    /// Entries of its history that are about itself.
    pub(super) own_history: Vec<HistoryInfo>,
    /// What is sent when its phone is awake.
    pub(super) aside: Option<Box<(Request, Hop)>>,
    /// What is inside is hidden from it.
    pub(super) hidden: bool,
    /// Of the trunk that it goes to.
    pub(super) seat: Option<Arc<Seat>>,
    /// Kept if the caller is to hear of their ends.
    pub(super) early: EarlyDialogs,
}

/// What a branch falls back on.
#[derive(Debug)]
pub(super) enum Again {
    /// The request as it was sent on a connection: sent to where its URI says, should that connection be gone.
    ByUri(Request),
    /// The request as it came, and the other flows of the same user agent (RFC 5626 §7).
    OtherFlows(Request, Vec<Hop>),
    /// The request as it came, and the other gateways of the same trunk.
    OtherGateways(Request, Vec<Hop>),
    /// There is no other way: the flow has failed (RFC 5626 §5.3.1).
    Nothing,
}

impl Context {
    pub(super) fn new(template: Template, groups: Vec<Group>, early_ends: bool) -> Self {
        let Template {
            request,
            path,
            record_route,
            fingerprint,
            known: _,
            keep,
            recursion,
            timer,
            history,
            hiding,
        } = template;
        Self {
            invite: *request.method() == Method::Invite,
            early_ends: early_ends && wants_early_ends(&request),
            timer,
            history,
            hiding,
            request: Some(Box::new(request)),
            path,
            record_route,
            fingerprint,
            keep,
            taken: false,
            branches: Vec::with_capacity(groups.first().map_or(0, Vec::len)),
            groups: groups.into(),
            plan: None,
            recursion,
            best: Best::default(),
            answered: false,
            cancelled: false,
            live: 0,
            server_gone: false,
        }
    }

    /// Cancels every branch that has no final response (§16.7 step 10). Requests other than INVITE cannot be cancelled.
    /// Whether somebody was waited for who sleeps.
    pub(super) fn cancel_branches(&mut self, now: Instant, extra: &Headers, layer: &mut Layer) -> bool {
        let mut aside = false;
        for branch in self.branches.iter_mut().filter(|branch| branch.aside.is_some()) {
            branch.aside = None;
            (branch.done, aside) = (true, true);
        }
        if !self.invite {
            return aside;
        }
        for client in self.branches.iter().filter(|branch| !branch.done).filter_map(|branch| branch.client) {
            // An error: it is over, and the event that says so is on its way.
            let _ = layer.transactions.cancel(now, client, extra, &mut layer.out);
        }
        aside
    }

    /// No branch will be added any more.
    pub(super) fn close(&mut self) {
        self.groups.clear();
        if let Some(plan) = &mut self.plan {
            plan.end();
        }
        if let Some(recursion) = &mut self.recursion {
            recursion.end();
        }
        self.request = None;
    }

    /// Whether branches can be added.
    pub(super) fn is_open(&self) -> bool {
        self.request.is_some()
    }
}

impl Proxy {
    /// Tries the next group of targets, or forwards the best response when none is left.
    pub(super) fn go_on(&mut self, now: Instant, tx: ServerTx, layer: &mut Layer) {
        loop {
            let Some(context) = self.contexts.get_mut(&tx) else { return };
            let waits = context.plan.as_ref().is_some_and(|plan| plan.waits())
                || context.recursion.as_ref().is_some_and(|recursion| recursion.waits());
            if context.answered || waits || context.branches.iter().any(|branch| !branch.done) {
                return;
            }
            let group = context.groups.pop_front();
            if context.groups.is_empty() {
                context.groups = VecDeque::new(); // most wait for long, and have no other
            }
            match group {
                Some(group) => self.start(now, tx, group, None, layer),
                None if self.next_step(tx) => return,
                None => break,
            }
        }
        self.answer_with_best(now, tx, layer);
    }

    /// `share`: the Max-Breadth of the branch whose place the group takes while others are under way (RFC 5393 §5.3.3).
    pub(super) fn start(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut group: Group,
        share: Option<usize>,
        layer: &mut Layer,
    ) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if let Some(share) = share.filter(|share| *share < group.len()) {
            let rest = group.split_off(share);
            context.groups.push_front(rest);
        }
        let breadth = match (&context.request, group.len()) {
            (Some(request), width) if width > 1 || request.headers.contains(HeaderName::MAX_BREADTH) => {
                let allowed = share.unwrap_or_else(|| max_breadth(request));
                if allowed < width {
                    context.best.add(super::best::Final::Local(StatusCode::MAX_BREADTH_EXCEEDED));
                    return;
                }
                Some(allowed.checked_div(width).unwrap_or(1))
            }
            _ => None,
        };
        let Some(request) = &context.request else { return };
        if let Some(recursion) = &mut context.recursion {
            recursion.note(&group, request);
        }
        // All branches stand before the first is sent: one that fails at once must not be taken for the last.
        let first = context.branches.len();
        let rings_until = later(now, self.manner.timer_c);
        context.branches.extend(group.iter().map(|_| Branch {
            client: None,
            done: false,
            timer_c: None,
            rings_until,
            expired: false,
            again: None,
            proof: None,
            breadth,
            edits: None,
            own_history: Vec::new(),
            hidden: false,
            seat: None,
            aside: None,
            early: EarlyDialogs::default(),
        }));
        let mut hops = group.into_iter().zip(first..).peekable();
        while let Some((hop, index)) = hops.next() {
            let Some(context) = self.contexts.get_mut(&tx) else { return };
            // The last branch of all takes the request along: most requests have one and are never copied.
            let last = hops.peek().is_none()
                && context.groups.is_empty()
                && context.recursion.is_none()
                && context.plan.as_ref().is_none_or(|plan| plan.is_last());
            let last = last && context.keep.is_none(); // what is kept, is needed again
            let request = if last { context.request.take() } else { context.request.clone() };
            let Some(mut request) = request.map(|request| *request) else { return };
            if let Some(breadth) = breadth {
                // A number can always be written.
                let _ = request.headers.set_raw(HeaderName::MAX_BREADTH, &breadth.to_string());
            }
            self.forward(now, tx, index, request, hop, layer);
        }
    }

    /// §16.6 for one target.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        mut request: Request,
        mut hop: Hop,
        layer: &mut Layer,
    ) {
        if let (Some(lines), Some(user)) = (&mut layer.lines, &hop.user) {
            lines.forwarded(tx, index, user);
        }
        if let Some(asleep) = hop.asleep.take() {
            return self.put_aside(tx, index, request, hop, asleep);
        }
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let (path, record) = (context.path, context.record_route);
        let from_hidden = context.hiding.as_ref().is_some_and(|hiding| hiding.from.is_some());
        let hidden = hop.hidden(context.hiding.as_deref());
        let flow = hop.flow();
        let others = std::mem::take(&mut hop.others);
        let reserve = (!others.is_empty()).then(|| (request.clone(), others));
        let mut own_history = Vec::new();
        if let Some(history) = &mut context.history {
            let diverted = hop.edits.as_ref().map_or(&[][..], |edits| &edits.diverted);
            let target = hop.uri.as_ref().map(|uri| (uri, hop.registered || hop.gateway.is_some()));
            own_history = history.write(&mut request, diverted, target);
            hop.told = true;
        }
        let Ok(target) = hop.prepare(&mut request) else {
            return self.branch_failed(now, tx, index, StatusCode::BAD_REQUEST, layer);
        };
        if !hop.registered && !hop.trusted {
            withhold_history(&mut request, &self.manner.domains);
        }
        // Step 4 comes last here: which listener the request leaves from decides what is written.
        if record || hidden {
            let local = leaving_from(layer.transactions.locals(), &target, &path).cloned();
            if record {
                let leaves = Side {
                    local: local.as_ref(),
                    flow: flow.as_ref(),
                    only: hop.outbound,
                    hidden,
                    stateless: false,
                };
                self.record(&mut request, &path, leaves, from_hidden, layer);
            }
            if hidden {
                self.hide(tx, index, &mut request, local.as_ref());
            }
        }
        let again = match (reserve, flow) {
            (Some((request, others)), _) if hop.gateway.is_some() => {
                Some(Again::OtherGateways(request, others))
            }
            (Some((request, others)), _) => Some(Again::OtherFlows(request, others)),
            (None, Some(_)) if hop.outbound => Some(Again::Nothing),
            (None, Some(_)) => Some(Again::ByUri(request.clone())),
            (None, None) => None,
        };
        let proof = hop.gateway.take().filter(|gateway| gateway.account.is_some());
        let proof = proof.map(|gateway| Box::new(Proof::new(request.clone(), target.clone(), gateway)));
        if let Some(branch) = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index)) {
            branch.proof = proof;
            branch.edits = hop.edits.take();
            branch.seat = hop.seat.take();
            branch.own_history = own_history;
        }
        self.send(now, tx, index, request, target, layer);
        if let Some(branch) = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index)) {
            // It may have failed while it was sent, and gone on by itself.
            if !branch.done && branch.again.is_none() {
                branch.again = again.map(Box::new);
            }
        }
    }

    /// Steps 8, 10 and 11.
    pub(super) fn send(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        request: Request,
        target: Target,
        layer: &mut Layer,
    ) {
        match layer.transactions.send(now, request, target, &mut layer.out) {
            Ok(client) => {
                count(&mut layer.counters.branches);
                self.branches.insert(client, (tx, index));
                let Some(context) = self.contexts.get_mut(&tx) else { return };
                context.live = context.live.saturating_add(1);
                let invite = context.invite;
                let Some(branch) = context.branches.get_mut(index) else { return };
                branch.client = Some(client);
                if invite && branch.timer_c.is_none() {
                    branch.timer_c =
                        Some(self.timers.arm(now, self.manner.timer_c, (tx, Clock::Branch(index))));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a branch was not sent");
                self.branch_failed(now, tx, index, StatusCode::SERVICE_UNAVAILABLE, layer);
            }
        }
    }

    /// A branch came to nothing: goes on with what it falls back on, if there is something.
    ///
    /// Where the way itself does not work, even the contact's URI may. Where nobody answered, or an edge proxy said 430, another flow
    /// of the same user agent may reach it (RFC 5626 §7). A gateway that is dead, silent or overloaded gives way to the next.
    pub(super) fn try_again(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        why: Why,
        layer: &mut Layer,
    ) -> bool {
        let Some(context) = self.contexts.get_mut(&tx) else { return false };
        if context.cancelled || context.answered {
            return false;
        }
        let Some(branch) = context.branches.get_mut(index) else { return false };
        match branch.again.take().map(|again| *again) {
            Some(Again::ByUri(mut request)) if why == Why::Dead => {
                let Ok(target) = next_hop(&mut request) else { return false };
                self.send(now, tx, index, request, target, layer);
                true
            }
            Some(Again::OtherFlows(request, others)) if why != Why::Unavailable => {
                let Some(next) = first_of(others) else { return false };
                count(&mut layer.counters.other_flows);
                self.forward(now, tx, index, request, next, layer);
                true
            }
            Some(Again::OtherGateways(request, others)) if why != Why::NotThere => {
                let Some(next) = first_of(others) else { return false };
                count(&mut layer.counters.other_gateways);
                self.forward(now, tx, index, request, next, layer);
                true
            }
            again => {
                branch.again = again.map(Box::new);
                false
            }
        }
    }
}

/// Why a branch came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The way does not work.
    Dead,
    /// No answer came.
    Silent,
    /// 408 or 430 was received: the phone is not there.
    NotThere,
    /// 503, the next hop wants to be spared, or its name leads nowhere.
    Unavailable,
}

/// The first hop, with the others behind it.
fn first_of(hops: Vec<Hop>) -> Option<Hop> {
    let mut hops = hops.into_iter();
    let mut first = hops.next()?;
    first.others = hops.collect();
    Some(first)
}

fn max_breadth(request: &Request) -> usize {
    match request.headers.text(HeaderName::MAX_BREADTH) {
        Some(text) => text.parse().unwrap_or(0),
        None => DEFAULT_MAX_BREADTH,
    }
}

/// The listener that a request to `target` will leave from, as far as that can be told before names are resolved.
pub(super) fn leaving_from<'l>(locals: &'l Locals, target: &Target, came: &Path) -> Option<&'l Local> {
    let uri = match target {
        Target::Path(path) => return locals.at(path),
        Target::Uri(uri) | Target::Proving(uri, _) => uri,
    };
    let transport = Transport::of_uri(uri).unwrap_or(Transport::Udp);
    match parse_ip(uri.maddr().unwrap_or(uri.host())) {
        Some(ip) => {
            let port = uri.port().unwrap_or(transport.default_port());
            locals.for_path(transport, std::net::SocketAddr::new(ip, port))
        }
        None => {
            let mut fitting = locals.iter().filter(|local| local.transport == transport);
            let family = |local: &&Local| local.bound.is_ipv4() == came.local.is_ipv4();
            fitting.clone().find(family).or_else(|| fitting.next())
        }
    }
}
