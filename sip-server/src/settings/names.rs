//! Names in settings: what there is, and whether what is named is there.

use std::collections::BTreeMap;
use std::time::Duration;

use sip_message::StatusCode;

use super::fault::{Faults, did_you_mean};
use super::file::{File, HuntGroupSettings, UserSettings};
use super::value::At;
use crate::Users;
use crate::routing::rules::{Goal, HuntGroup, Route, RuleSet, Strategy, UserRules};

/// What names are there, for those who name them.
pub(super) struct Names<'f> {
    pub(super) file: &'f File,
    pub(super) users: Option<&'f Users>,
    /// A users' file has names that are not known here.
    pub(super) more: bool,
    pub(super) routes: Vec<Route>,
}

impl Names<'_> {
    fn is_user(&self, name: &str) -> bool {
        self.file.user.iter().any(|user| *user.name == name)
            || self.users.is_some_and(|users| users.contains(name))
    }

    fn is_known(&self, name: &str) -> bool {
        self.more
            || self.is_user(name)
            || self.file.aliases.keys().any(|alias| **alias == name)
            || self.file.hunt_group.iter().any(|group| *group.name == name)
            || self.routes.iter().any(|route| route.domain.is_none() && route.is_for(name))
    }

    /// A goal that leads somewhere.
    pub(super) fn goal(&self, text: &At<String>, faults: &mut Faults) -> Option<Goal> {
        let goal = match text.parse() {
            Ok(goal) => goal,
            Err(error) => {
                faults.add(text.offset, format!("\"{}\" is no URI: {error}", **text));
                return None;
            }
        };
        if let Goal::Name(name) = &goal
            && !self.is_known(name)
        {
            let users = self.file.user.iter().map(|user| user.name.as_str());
            let aliases = self.file.aliases.keys().map(|alias| alias.as_str());
            let groups = self.file.hunt_group.iter().map(|group| group.name.as_str());
            let hint = did_you_mean(name, users.chain(aliases).chain(groups));
            faults.add(
                text.offset,
                format!("there is no user, alias or hunt group \"{name}\", and no route for it{hint}"),
            );
        }
        Some(goal)
    }

    fn maybe(&self, text: Option<&At<String>>, faults: &mut Faults) -> Option<Goal> {
        self.goal(text?, faults)
    }

    pub(super) fn user(&self, user: &UserSettings, busy: StatusCode, faults: &mut Faults) -> UserRules {
        let forward = &user.forward;
        let after = Duration::from_secs(u64::from(*forward.after));
        let no_answer = self.maybe(forward.no_answer.as_ref(), faults);
        UserRules {
            always: self.maybe(forward.always.as_ref(), faults),
            busy: self.maybe(forward.busy.as_ref(), faults),
            ring: no_answer.as_ref().map(|_| after),
            no_answer,
            unreachable: self.maybe(forward.unreachable.as_ref(), faults),
            do_not_disturb: user.do_not_disturb.then_some(busy),
        }
    }

    pub(super) fn group(&self, group: &HuntGroupSettings, faults: &mut Faults) -> HuntGroup {
        let strategy = match group.strategy.as_str() {
            "parallel" => Strategy::Parallel,
            "serial" => Strategy::Serial,
            "round-robin" => Strategy::RoundRobin,
            other => {
                let hint = did_you_mean(other, ["parallel", "serial", "round-robin"]);
                let message = format!("expected \"parallel\", \"serial\" or \"round-robin\"{hint}");
                faults.add(group.strategy.offset, message);
                Strategy::Parallel
            }
        };
        if group.members.is_empty() {
            faults.add(group.at, "a hunt group without members: add members = [\"alice\", \"bob\"]");
        }
        for member in &group.members {
            if self.file.hunt_group.iter().any(|one| *one.name == **member) {
                let message =
                    "a hunt group cannot be a member of one; name it in otherwise, or name its members";
                faults.add(member.offset, message);
            }
        }
        HuntGroup {
            strategy,
            members: group.members.iter().filter_map(|member| self.goal(member, faults)).collect(),
            ring: Duration::from_secs(u64::from(*group.ring)),
            otherwise: self.maybe(group.otherwise.as_ref(), faults),
        }
    }

    /// A name is one thing.
    pub(super) fn unique(&self, name: &At<String>, what: &str, faults: &mut Faults) {
        let alias = what != "alias" && self.file.aliases.keys().any(|alias| **alias == **name);
        if self.is_user(name) || alias {
            let other = if alias { "an alias" } else { "a user" };
            let message = format!("the {what} \"{}\" has the name of {other}; give it another one", **name);
            faults.add(name.offset, message);
        }
    }

    /// Aliases and unconditional forwarding that lead round in a circle.
    pub(super) fn loops(&self, set: &RuleSet, faults: &mut Faults) {
        let mut leads: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        for (alias, goal) in &self.file.aliases {
            leads.insert(alias.as_str(), (goal.as_str(), goal.offset));
        }
        for user in &self.file.user {
            if let Some(goal) = &user.forward.always {
                leads.insert(user.name.as_str(), (goal.as_str(), goal.offset));
            }
        }
        for group in set.groups.keys() {
            if let Some(group) = self.file.hunt_group.iter().find(|one| *one.name == *group)
                && let Some(goal) = &group.otherwise
            {
                leads.insert(group.name.as_str(), (goal.as_str(), goal.offset));
            }
        }
        for (name, (_, offset)) in &leads {
            let (mut at, mut way) = (*name, vec![*name]);
            while let Some((next, _)) = leads.get(at).filter(|_| way.len() <= leads.len()) {
                at = next;
                way.push(at);
                if at == *name {
                    faults.add(*offset, format!("\"{name}\" leads back to itself: {}", way.join(" -> ")));
                    break;
                }
            }
        }
    }
}
