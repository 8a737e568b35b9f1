//! Response processing: RFC 3261 §16.7, §16.9.

use std::time::Instant;

use sip_message::headers::{Reason, Via};
use sip_message::{HeaderName, Headers, Response, StatusCode};
use sip_transaction::{ClientTx, Failure, ServerTx};

use super::best::Final;
use super::context::{Again, Why};
use super::overload::forget_load;
use super::session_timer;
use super::{Layer, Proxy, later};
use crate::config::count;
use crate::messages::is_away;
use crate::routing::Outcome;

impl Proxy {
    /// A response to a branch.
    pub(crate) fn response(
        &mut self,
        now: Instant,
        client: ClientTx,
        mut response: Response,
        layer: &mut Layer,
    ) {
        // Step 1.
        let Some(&(tx, index)) = self.branches.get(&client) else {
            return count(&mut layer.counters.responses_dropped);
        };
        let status = response.status();
        if status == StatusCode::TRYING {
            return; // §16.7 step 5: never forwarded; the server transaction sends its own
        }
        // Step 3.
        let popped = response.headers.pop_front::<Via>();
        forget_load(&mut response.headers);
        self.unhide(tx, index, &mut response, layer);
        let forwardable = popped.is_ok() && response.headers.contains(HeaderName::VIA);
        if status.is_provisional() {
            self.provisional(now, tx, index, response, forwardable, layer);
        } else if !forwardable {
            count(&mut layer.counters.responses_dropped);
            self.branch_failed(now, tx, index, StatusCode::BAD_GATEWAY, layer);
        } else if status.is_success() {
            self.success(now, tx, index, response, layer);
        } else {
            self.failure(now, tx, index, response, layer);
            self.tell_early_ends(now, tx, index, status, layer);
        }
    }

    /// A final response that is no 2xx, and can be forwarded.
    fn failure(&mut self, now: Instant, tx: ServerTx, index: usize, response: Response, layer: &mut Layer) {
        let status = response.status();
        if let StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED = status
            && self.prove(now, tx, index, &response, layer)
        {
            // Once more, with credentials.
        } else if let StatusCode::FLOW_FAILED | StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE =
            status
            && self.try_again(now, tx, index, why(status), layer)
        {
            // Another flow of the same user agent, or another gateway, is tried in its stead.
        } else {
            let expired = self
                .contexts
                .get(&tx)
                .and_then(|context| context.branches.get(index))
                .is_some_and(|b| b.expired);
            let failure = if expired && status == StatusCode::REQUEST_TERMINATED {
                Final::Local(StatusCode::REQUEST_TIMEOUT) // §16.8: as if the branch had answered 408
            } else {
                Final::Received(Box::new(response))
            };
            self.finished(now, tx, index, failure, layer);
        }
    }

    /// A branch got no response: 408 or 503 stand for it (§16.9).
    pub(crate) fn failed(&mut self, now: Instant, client: ClientTx, failure: &Failure, layer: &mut Layer) {
        let Some(&(tx, index)) = self.branches.get(&client) else { return };
        let dead = matches!(failure, Failure::Transport(_));
        let why = match failure {
            Failure::Timeout => Some(Why::Silent),
            Failure::Overloaded | Failure::Resolve(_) => Some(Why::Unavailable),
            _ => dead.then_some(Why::Dead),
        };
        if why.is_some_and(|why| self.try_again(now, tx, index, why, layer)) {
            return;
        }
        if matches!(failure, Failure::Overloaded) {
            return self.finished(now, tx, index, Final::Spared, layer);
        }
        let branch = self.contexts.get(&tx).and_then(|context| context.branches.get(index));
        let on_flow = branch.is_some_and(|branch| matches!(branch.again.as_deref(), Some(Again::Nothing)));
        let status = if dead && on_flow { StatusCode::FLOW_FAILED } else { failure.status() };
        self.branch_failed(now, tx, index, status, layer);
    }

    fn provisional(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        response: Response,
        forwardable: bool,
        layer: &mut Layer,
    ) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        // Step 2: 101 to 199 reset Timer C. Only the time is moved: a flood of 180s must not fill the queue of timers.
        if let Some(branch) = context.branches.get_mut(index) {
            branch.rings_until = later(now, self.manner.timer_c);
        }
        let left_behind = context.branches.get(index).is_some_and(|branch| branch.done);
        if context.answered || left_behind || !forwardable {
            return count(&mut layer.counters.responses_dropped);
        }
        // RFC 4320 §4.1: other requests than INVITE have no such response; the layer refuses it.
        if context.early_ends
            && let Some(branch) = context.branches.get_mut(index)
        {
            branch.early.note(&response);
        }
        if let Some(lines) = &mut layer.lines {
            lines.branch_response(now, tx, index, &response);
        }
        match layer.respond(now, tx, response) {
            Ok(()) => count(&mut layer.counters.responses_forwarded),
            Err(_) => count(&mut layer.counters.responses_dropped),
        }
    }

    /// A 2xx is forwarded at once, to INVITE every one of them, however late (step 5).
    fn success(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        mut response: Response,
        layer: &mut Layer,
    ) {
        self.disarm(tx, index);
        self.stop_ringing(tx);
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if let Some(branch) = context.branches.get_mut(index) {
            branch.done = true;
            branch.again = None;
        }
        let first = !context.answered;
        if !first && !context.invite {
            if context.taken {
                self.late.push_back(tx);
            }
            return count(&mut layer.counters.responses_dropped);
        }
        let seat = context.branches.get_mut(index).and_then(|branch| branch.seat.clone());
        if let Some(calls) = &mut layer.calls {
            calls.seated(tx, seat);
        }
        if let Some(lines) = &mut layer.lines {
            lines.branch_response(now, tx, index, &response);
        }
        if let Some(asked) = context.timer {
            session_timer::answer(asked, &mut response);
        }
        context.answered = true;
        context.close();
        let forwarded = match layer.respond(now, tx, response) {
            Ok(()) => true,
            // The server transaction has given a failure already, or is no more. A phone has been picked up all the
            // same: the response goes by its Via.
            Err(error) if context.invite => {
                let given = layer
                    .transactions
                    .respond_stateless(&error.response, &context.path, &mut layer.out)
                    .is_ok();
                if given {
                    layer.note(now, tx, &error.response);
                }
                given
            }
            Err(_) => false,
        };
        count(if forwarded {
            &mut layer.counters.responses_forwarded
        } else {
            &mut layer.counters.responses_dropped
        });
        if first {
            // Step 10. The other phones shall not show a missed call (RFC 3326).
            let mut extra = Headers::new();
            extra.push_back(&Reason::with_cause("SIP", 200, "Call completed elsewhere"));
            context.cancel_branches(now, &extra, layer);
        }
    }

    pub(super) fn branch_failed(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        status: StatusCode,
        layer: &mut Layer,
    ) {
        self.finished(now, tx, index, Final::Local(status), layer);
    }

    /// A branch ended with a failure (steps 4 and 5).
    fn finished(&mut self, now: Instant, tx: ServerTx, index: usize, failure: Final, layer: &mut Layer) {
        self.disarm(tx, index);
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        match context.branches.get_mut(index) {
            Some(branch) if !branch.done => {
                branch.done = true;
                branch.again = None;
                branch.seat = None;
            }
            _ => return,
        }
        if let Some(lines) = &mut layer.lines {
            lines.branch_failed(now, tx, index, failure.status());
        }
        if context.answered {
            return count(&mut layer.counters.responses_dropped);
        }
        if let Some(history) = &mut context.history
            && let Some(branch) = context.branches.get_mut(index)
        {
            let rang_out = branch.expired;
            let status = if rang_out { StatusCode::REQUEST_TIMEOUT } else { failure.status() };
            history.note(std::mem::take(&mut branch.own_history), status);
        }
        if let Some(failure) = self.hold(tx, index, failure) {
            self.conclude(now, tx, index, failure, layer);
        }
    }

    /// What a branch came to joins what the others did.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        failure: Final,
        layer: &mut Layer,
    ) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let rang_out = context.branches.get(index).is_some_and(|branch| branch.expired);
        if let Some(plan) = &mut context.plan {
            plan.note(match &failure {
                _ if rang_out => Outcome::NoAnswer,
                Final::Received(response) => Outcome::of(response.status()),
                Final::Local(_) | Final::Spared => Outcome::Unreachable,
            });
        }
        let global = failure.status().class() == 6;
        context.best.add(failure);
        if global {
            // Nobody else shall be rung, but a 2xx that is on its way still wins (step 5). Whom the callee or the owner has
            // named for this case is another matter.
            if context.plan.is_some() {
                context.groups.clear();
                if let Some(recursion) = &mut context.recursion {
                    recursion.end();
                }
            } else {
                context.close();
            }
            context.cancel_branches(now, &Headers::new(), layer);
        }
        self.go_on(now, tx, layer);
    }

    /// Steps 6 to 9, when all branches have failed.
    pub(super) fn answer_with_best(&mut self, now: Instant, tx: ServerTx, layer: &mut Layer) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        context.answered = true;
        let kept = context.keep.take().and_then(|aor| Some((aor, context.request.take()?)));
        context.close();
        let best = match context.best.take() {
            // RFC 5626 §11.5: "Endpoints should never receive a 430": who looked the user up says that nobody is there.
            best if context.fingerprint.is_some() && best.status() == StatusCode::FLOW_FAILED => {
                Final::Local(StatusCode::TEMPORARILY_UNAVAILABLE)
            }
            best => best,
        };
        // What a phone itself has to say is for the sender to hear.
        if let Some((aor, request)) = kept
            && is_away(best.status())
        {
            return self.undelivered.push_back((tx, aor, request, best.status()));
        }
        match best {
            Final::Received(response) => match layer.respond(now, tx, *response) {
                Ok(()) => count(&mut layer.counters.responses_forwarded),
                Err(_) => count(&mut layer.counters.responses_dropped),
            },
            Final::Local(_) if context.cancelled => {
                layer.reply_status(now, tx, StatusCode::REQUEST_TERMINATED);
            }
            other => layer.reply_status(now, tx, other.status()),
        }
    }
}

fn why(status: StatusCode) -> Why {
    if status == StatusCode::SERVICE_UNAVAILABLE { Why::Unavailable } else { Why::NotThere }
}
