//! A name becomes steps: aliases, hunt groups, forwarding, the dial plan.

use sip_message::{StatusCode, Uri};

use super::decide::is_call;
use super::rules::{Action, Facts, Goal, HuntGroup, RuleSet, Strategy, Turns};
use super::{Decision, Destination, DiversionReason, Diverted, MAX_STEPS, RELAYING_DENIED, Step, When};
use crate::AddressOfRecord;

/// Names that lead to names: settings are checked for loops, re-written numbers may make one all the same.
const MAX_DEPTH: usize = 8;

/// When a step is tried, and who has sent the request there.
#[derive(Clone, Default)]
struct Trigger {
    when: When,
    after: Option<usize>,
    diverted: Vec<Diverted>,
}

/// Steps in the making.
pub(super) struct Expansion<'a> {
    set: &'a RuleSet,
    facts: &'a Facts<'a>,
    turns: &'a Turns,
    emergency: bool,
    steps: Vec<Step>,
    depth: usize,
    /// The owner of a name has named where it leads: that the caller may call the name is enough.
    by_owner: bool,
    /// What is answered if there are no steps.
    refusal: Option<Decision>,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(set: &'a RuleSet, facts: &'a Facts<'a>, turns: &'a Turns, emergency: bool) -> Self {
        Self { set, facts, turns, emergency, steps: Vec::new(), depth: 0, by_owner: false, refusal: None }
    }

    /// The decision on a call of this name or number.
    pub(super) fn name(&mut self, name: &str) -> Decision {
        self.expand(name, &Trigger::default());
        if self.steps.is_empty() {
            return self.refusal.take().unwrap_or(Decision::Reject(StatusCode::NOT_FOUND, None));
        }
        Decision::Proxy(std::mem::take(&mut self.steps))
    }

    fn goal(&mut self, goal: &Goal, trigger: &Trigger) {
        match goal {
            Goal::Name(name) => self.expand(name, trigger),
            Goal::Uri(uri) => self.push(vec![Destination::Uri(uri.clone())], trigger),
        }
    }

    /// A goal that stands in the rules, not one that was made of what the caller dialled.
    fn owners_goal(&mut self, goal: &Goal, trigger: &Trigger) {
        let before = std::mem::replace(&mut self.by_owner, true);
        self.goal(goal, trigger);
        self.by_owner = before;
    }

    fn push(&mut self, targets: Vec<Destination>, trigger: &Trigger) {
        if self.steps.len() < MAX_STEPS {
            let Trigger { when, after, diverted } = trigger.clone();
            self.steps.push(Step { targets, ring: None, when, after, diverted });
        }
    }

    fn expand(&mut self, name: &str, trigger: &Trigger) {
        if self.steps.len() >= MAX_STEPS {
            return; // what comes behind them is not tried anyway
        }
        if self.depth >= MAX_DEPTH {
            return self.refuse(Decision::Reject(StatusCode::LOOP_DETECTED, None));
        }
        self.depth = self.depth.saturating_add(1);
        self.expand_once(name, trigger);
        self.depth = self.depth.saturating_sub(1);
    }

    fn expand_once(&mut self, name: &str, trigger: &Trigger) {
        let set = self.set;
        // Whoever is called by way of somebody else is no way around the block list.
        if !self.emergency
            && self.depth > 1
            && let Some(status) = set.is_forbidden(name)
        {
            return self.refuse(Decision::Reject(status, None));
        }
        if self.route(name, trigger, true) {
            return;
        }
        if let Some(goal) = set.aliases.get(name) {
            return self.owners_goal(goal, trigger);
        }
        if let Some(group) = set.groups.get(name) {
            return self.group(name, group, trigger);
        }
        if !set.is_name(name) && self.route(name, trigger, false) {
            return;
        }
        match self.address(name) {
            Some(aor) => self.user(name, &aor, trigger),
            None => self.refuse(Decision::Reject(StatusCode::NOT_FOUND, None)),
        }
    }

    fn refuse(&mut self, decision: Decision) {
        self.refusal.get_or_insert(decision);
    }

    /// In the domain that was called, if one of ours was.
    fn address(&self, name: &str) -> Option<AddressOfRecord> {
        if let (Some((user, domain)), true) = (name.rsplit_once('@'), self.set.users.contains_key(name)) {
            return AddressOfRecord::new(&Uri::sip(Some(user), domain, None).ok()?, domain);
        }
        let domain = self.facts.called.map_or(self.set.domain.as_str(), |aor| aor.domain());
        AddressOfRecord::new(&Uri::sip(Some(name), domain, None).ok()?, domain)
    }

    /// The first route that is for it, if there is one.
    fn route(&mut self, name: &str, trigger: &Trigger, before_users: bool) -> bool {
        let set = self.set;
        let facts = self.facts;
        let found =
            set.routes.iter().find(|route| route.before_users == before_users && route.applies(facts, name));
        let Some(route) = found else { return false };
        let stays = matches!(&route.action, Action::To(text) if matches!(text.parse(), Ok(Goal::Name(_))));
        if !(self.by_owner || stays || route.permits(facts)) {
            self.refuse(Decision::Reject(StatusCode::FORBIDDEN, Some(RELAYING_DENIED.into())));
            return true;
        }
        match &route.action {
            Action::To(text) => match route.goal(name, text) {
                Some(goal) => self.goal(&goal, trigger),
                None => self.refuse(Decision::Reject(StatusCode::NOT_FOUND, None)),
            },
            Action::Via(uri) => self.push(vec![Destination::NextHop(uri.clone())], trigger),
            Action::Trunk(trunk, template) => {
                let number = template.as_ref().map_or(name.to_owned(), |text| route.filled(name, text));
                self.push(vec![Destination::Trunk { name: trunk.clone(), number }], trigger);
            }
            Action::Redirect(contacts) => self.refuse(Decision::Redirect(contacts.clone())),
            Action::Reject(status) => self.refuse(Decision::Reject(*status, None)),
        }
        true
    }

    // ---- users -----------------------------------------------------------------------------------------------

    fn user(&mut self, name: &str, aor: &AddressOfRecord, trigger: &Trigger) {
        let set = self.set;
        let rules = set.users.get(name).or_else(|| set.users.get(aor.as_str()));
        let Some(rules) = rules.filter(|_| is_call(self.facts.method)) else {
            return self.push(vec![Destination::User(aor.clone())], trigger);
        };
        if let Some(status) = rules.do_not_disturb {
            match &rules.busy {
                Some(goal) => self.forward(aor, goal, DiversionReason::DoNotDisturb, trigger),
                None => self.refuse(Decision::Reject(status, None)),
            }
            return;
        }
        if let Some(goal) = &rules.always {
            return self.forward(aor, goal, DiversionReason::Unconditional, trigger);
        }
        let index = self.steps.len();
        self.push(vec![Destination::User(aor.clone())], trigger);
        if let Some(step) = self.steps.get_mut(index) {
            step.ring = rules.no_answer.as_ref().and(rules.ring);
        }
        for (goal, when, why) in [
            (&rules.busy, When::Busy, DiversionReason::Busy),
            (&rules.no_answer, When::NoAnswer, DiversionReason::NoAnswer),
            (&rules.unreachable, When::Unreachable, DiversionReason::Unreachable),
        ] {
            if let Some(goal) = goal {
                let then = Trigger { when, after: Some(index), diverted: trigger.diverted.clone() };
                self.forward(aor, goal, why, &then);
            }
        }
    }

    /// Sends on, but to nobody who has sent on already.
    fn forward(&mut self, by: &AddressOfRecord, goal: &Goal, why: DiversionReason, trigger: &Trigger) {
        let uri = |name: &str, domain: &str| Uri::sip(Some(name), domain, None).ok();
        let to = match goal {
            Goal::Uri(uri) => Some(uri.clone()),
            Goal::Name(name) => self.address(name).and_then(|aor| uri(name, aor.domain())),
        };
        let by = format!("sip:{by}").parse::<Uri>();
        let (Some(to), Ok(by)) = (to, by) else { return };
        if trigger.diverted.iter().any(|before| before.by.equivalent(&to)) || by.equivalent(&to) {
            return self.refuse(Decision::Reject(StatusCode::LOOP_DETECTED, None));
        }
        let mut trigger = trigger.clone();
        trigger.diverted.push(Diverted { by, to, why });
        self.owners_goal(goal, &trigger);
    }

    // ---- hunt groups -----------------------------------------------------------------------------------------

    /// Its members' phones ring; their own forwarding does not count, or calls to the group would end in a mailbox of one.
    fn group(&mut self, name: &str, group: &HuntGroup, trigger: &Trigger) {
        let mut members: Vec<Destination> = group.members.iter().flat_map(|goal| self.member(goal)).collect();
        if group.strategy == Strategy::RoundRobin && !members.is_empty() {
            let first = self.turns.take(name).checked_rem(members.len()).unwrap_or(0);
            members.rotate_left(first);
        }
        let rounds: Vec<Vec<Destination>> = match group.strategy {
            _ if members.is_empty() => Vec::new(),
            Strategy::Parallel => vec![members],
            Strategy::Serial | Strategy::RoundRobin => {
                members.into_iter().map(|member| vec![member]).collect()
            }
        };
        let mut trigger = trigger.clone();
        for targets in rounds {
            let index = self.steps.len();
            self.push(targets, &trigger);
            if let Some(step) = self.steps.get_mut(index) {
                step.ring = Some(group.ring);
                trigger = Trigger { when: When::Failed, after: Some(index), diverted: trigger.diverted };
            }
        }
        match &group.otherwise {
            Some(goal) => self.owners_goal(goal, &trigger),
            None => self.refuse(Decision::Reject(StatusCode::TEMPORARILY_UNAVAILABLE, None)),
        }
    }

    fn member(&mut self, goal: &Goal) -> Vec<Destination> {
        let name = match goal {
            Goal::Uri(uri) => return vec![Destination::Uri(uri.clone())],
            Goal::Name(name) => name,
        };
        let set = self.set;
        let rules = set.users.get(name.as_str());
        if rules.is_some_and(|rules| rules.do_not_disturb.is_some() && is_call(self.facts.method)) {
            return Vec::new();
        }
        if rules.is_some() {
            return self.address(name).map(Destination::User).into_iter().collect();
        }
        // An alias or a number of the dial plan: what it leads to first.
        let kept = std::mem::take(&mut self.steps);
        self.owners_goal(goal, &Trigger::default());
        let steps = std::mem::replace(&mut self.steps, kept);
        steps.into_iter().next().map(|step| step.targets).unwrap_or_default()
    }
}
