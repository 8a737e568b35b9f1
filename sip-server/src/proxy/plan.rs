//! Steps that are tried one after the other, each under its condition: forwarding on busy, hunting, trunks' gateways.

use std::collections::VecDeque;
use std::time::Instant;

use sip_transaction::ServerTx;
use sip_transaction::timers::TimerId;

use super::best::Final;
use super::target::Group;
use super::{Clock, Layer, Proxy};
use crate::config::count;
use crate::routing::{MAX_STEPS, Outcome, Step};
use sip_message::{Headers, StatusCode};

/// What is still to be tried, and what came of the steps so far.
#[derive(Debug)]
pub(crate) struct Plan {
    steps: VecDeque<(usize, Step)>,
    outcomes: Vec<Option<Outcome>>,
    /// The step under way, or the last that was.
    current: Option<usize>,
    /// The step whose targets are looked for.
    due: Option<Step>,
    timer: Option<TimerId>,
}

impl Plan {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let steps: VecDeque<_> = steps.into_iter().take(MAX_STEPS).enumerate().collect();
        Self { outcomes: vec![None; steps.len()], steps, current: None, due: None, timer: None }
    }

    /// Whether nothing comes after what is under way.
    pub(super) fn is_last(&self) -> bool {
        self.steps.is_empty() && self.due.is_none()
    }

    /// Nothing more is tried.
    pub(super) fn end(&mut self) {
        self.steps.clear();
        self.due = None;
    }

    /// Targets are looked for, and nothing else goes on.
    pub(super) fn waits(&self) -> bool {
        self.due.is_some()
    }

    /// A branch of the step under way has failed so.
    pub(super) fn note(&mut self, outcome: Outcome) {
        if let Some(known) = self.current.and_then(|current| self.outcomes.get_mut(current)) {
            *known = Some(known.map_or(outcome, |known| known.min(outcome)));
        }
    }

    fn outcome_of(&self, step: Option<usize>) -> Option<Outcome> {
        self.outcomes.get(step?).copied().flatten()
    }

    /// The next step whose condition holds. The first one has none.
    fn next(&mut self) -> bool {
        if let Some(current) = self.current
            && self.outcome_of(Some(current)).is_none()
        {
            self.note(Outcome::Unreachable); // it had no targets
        }
        while let Some((index, step)) = self.steps.pop_front() {
            let after = step.after.or(self.current);
            let due = match (after, self.current) {
                (None, _) => true,
                (Some(_), None) => false,
                (after, Some(_)) => self.outcome_of(after).is_some_and(|outcome| step.when.holds(outcome)),
            };
            if due {
                self.current = Some(index);
                self.due = Some(step);
                return true;
            }
        }
        false
    }
}

impl Proxy {
    /// A request whose step is due: its targets are wanted by [`offer`](Self::offer).
    pub(crate) fn poll_due(&mut self) -> Option<ServerTx> {
        self.due.pop_front()
    }

    /// The step of a request that is due.
    pub(crate) fn due_step(&self, tx: ServerTx) -> Option<&Step> {
        self.contexts.get(&tx)?.plan.as_ref()?.due.as_ref()
    }

    /// How many branches the request has had.
    pub(crate) fn branches_of(&self, tx: ServerTx) -> usize {
        self.contexts.get(&tx).map_or(0, |context| context.branches.len())
    }

    /// Makes the next step due, if there is one.
    pub(super) fn next_step(&mut self, tx: ServerTx) -> bool {
        self.stop_ringing(tx);
        let due = self.plan_mut(tx).is_some_and(Plan::next);
        if due {
            self.due.push_back(tx);
        }
        due
    }

    /// The targets of the step that is due. None: `status` stands for it.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        tx: ServerTx,
        groups: Vec<Group>,
        status: StatusCode,
        layer: &mut Layer,
    ) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let invite = context.invite;
        let Some(step) = context.plan.as_mut().and_then(|plan| plan.due.take()) else { return };
        if groups.is_empty() {
            // A 503 of our own is about this server (§16.7 step 6).
            let none = status == StatusCode::SERVICE_UNAVAILABLE;
            context.best.add(if none { Final::Spared } else { Final::Local(status) });
        } else if let Some(ring) = step.ring.filter(|_| invite) {
            let timer = self.timers.arm(now, ring, (tx, Clock::Step));
            if let Some(plan) = &mut context.plan {
                plan.timer = Some(timer);
            }
        }
        context.groups = groups.into();
        self.go_on(now, tx, layer);
    }

    /// Nobody answered in time: what rings is cancelled, and the next step is tried without waiting for its 487. A 200 that
    /// crosses the CANCEL still wins (§16.7 step 5).
    pub(super) fn step_rang_out(&mut self, now: Instant, tx: ServerTx, layer: &mut Layer) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if let Some(plan) = &mut context.plan {
            plan.timer = None;
        }
        if context.answered || context.cancelled {
            return;
        }
        count(&mut layer.counters.rang_out);
        context.groups.clear();
        let waited = context.recursion.as_deref_mut().is_some_and(super::Recursion::end);
        let slept = context.cancel_branches(now, &Headers::new(), layer);
        if let Some(plan) = context.plan.as_mut().filter(|_| slept) {
            plan.note(Outcome::NoAnswer);
        }
        let waited = waited || slept;
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let ringing: Vec<usize> =
            context.branches.iter().enumerate().filter(|(_, b)| !b.done).map(|(index, _)| index).collect();
        if ringing.is_empty() {
            if waited {
                self.go_on(now, tx, layer); // where a redirection leads was looked up, and comes too late
            }
            return;
        }
        for branch in context.branches.iter_mut().filter(|branch| !branch.done) {
            branch.expired = true;
        }
        for index in ringing {
            self.branch_failed(now, tx, index, StatusCode::REQUEST_TIMEOUT, layer);
        }
    }

    /// Ends the time to ring of the step under way.
    pub(super) fn stop_ringing(&mut self, tx: ServerTx) {
        if let Some(timer) = self.plan_mut(tx).and_then(|plan| plan.timer.take()) {
            self.timers.cancel(timer);
        }
    }

    fn plan_mut(&mut self, tx: ServerTx) -> Option<&mut Plan> {
        self.contexts.get_mut(&tx)?.plan.as_deref_mut()
    }
}
