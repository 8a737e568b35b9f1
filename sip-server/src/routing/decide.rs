//! What the rules say of one request.

use std::borrow::Cow;

use sip_message::{Method, StatusCode, Tel, Uri};

use super::expand::Expansion;
use super::rules::{Action, Block, Facts, Goal, Route, RuleSet, Rules};
use super::{Decision, Destination, RELAYING_DENIED, Step};

impl Rules {
    /// The next hop of a request that is forwarded without a transaction, or its refusal by a block list: by what stands in the request
    /// and in the rules alone, so that its repetitions get the same.
    pub(crate) fn stateless(&self, facts: &Facts<'_>) -> Option<Result<&Uri, StatusCode>> {
        if facts.route.is_some() || !self.are_stateless() {
            return None;
        }
        let set = &*self.set;
        let (dialled, number) = set.numbers(facts);
        let called = number.as_deref().unwrap_or_default();
        let ours = facts.called.is_some() || facts.uri.is_tel();
        let mut routes = set.routes.iter().filter(|route| route.domain.is_some() || ours);
        let mut first = routes.find(|route| route.applies(facts, called))?;
        if ours && set.is_name(called) {
            // Names of ours go before, but for routes that say otherwise.
            first = set.routes.iter().find(|route| route.before_users && route.applies(facts, called))?;
        }
        let (true, Action::Via(hop)) = (first.stateless, &first.action) else { return None };
        Some(match set.blocked(facts, dialled.as_deref(), number.as_deref()) {
            Some(status) => Err(status),
            None => Ok(hop),
        })
    }

    /// The decision on a call to a contact to which a party to its dialog has referred the sender: block lists stop it. A trunk's gateway,
    /// which trusts our address, is not called so around the dial plan.
    pub(crate) fn referred(&self, facts: &Facts<'_>) -> Decision {
        let (dialled, number) = self.set.numbers(facts);
        match self.set.blocked(facts, dialled.as_deref(), number.as_deref()) {
            Some(status) => Decision::Reject(status, None),
            None if self.leads_to_trunk(facts.uri) => denied(),
            None => Decision::Default,
        }
    }

    /// The decision on a request. Emergency numbers pass all block lists; then block lists, re-writing, names of ours, routes.
    pub fn decide(&mut self, facts: &Facts<'_>) -> Decision {
        if self.is_empty() {
            return Decision::Default;
        }
        let set = self.set.clone();
        let (dialled, number) = set.numbers(facts);
        let emergency = set.is_emergency(dialled.as_deref(), number.as_deref());
        if let Some(status) = set.blocked(facts, dialled.as_deref(), number.as_deref()) {
            return Decision::Reject(status, None);
        }
        if facts.route.is_some() || (facts.called.is_none() && !facts.uri.is_tel()) {
            return set.foreign(facts);
        }
        let Some(number) = number else { return Decision::Default };
        let mut expansion = Expansion::new(&set, facts, &self.turns, emergency);
        let decision = expansion.name(&number);
        simplified(decision, facts)
    }
}

/// What is called: the user part of a URI of ours, or the number of a tel URI without its visual separators (RFC 3966 §3).
fn number_of(facts: &Facts<'_>) -> Option<String> {
    if facts.uri.is_tel() {
        let tel = Tel::of(facts.uri).ok()?;
        let sign = if tel.is_global() { "+" } else { "" };
        return Some(format!("{sign}{}", tel.digits().trim_start_matches('+')));
    }
    let user = facts.uri.user_decoded()?;
    // A password, or the parameters of a number (RFC 3261 §19.1.6), is no part of the name.
    let end = user.find([':', ';']).unwrap_or(user.len());
    user.get(..end).map(str::to_owned)
}

/// One step to the very user that was called is what happens anyway.
fn simplified(decision: Decision, facts: &Facts<'_>) -> Decision {
    if let Decision::Proxy(steps) = &decision
        && let [Step { targets, ring: None, diverted, .. }] = steps.as_slice()
        && let [Destination::User(aor)] = targets.as_slice()
        && facts.called == Some(aor)
        && diverted.is_empty()
    {
        return Decision::Default;
    }
    decision
}

impl RuleSet {
    /// What is called, as it was dialled and as it is re-written.
    fn numbers(&self, facts: &Facts<'_>) -> (Option<String>, Option<String>) {
        let dialled = number_of(facts);
        let number = dialled.as_deref().map(|number| self.rewritten(number).into_owned());
        (dialled, number)
    }

    fn is_emergency(&self, dialled: Option<&str>, number: Option<&str>) -> bool {
        let mut numbers = [dialled, number].into_iter().flatten();
        numbers.any(|number| self.emergency.iter().any(|one| one == number))
    }

    /// The refusal of the block list that stops a request.
    fn blocked(&self, facts: &Facts<'_>, dialled: Option<&str>, number: Option<&str>) -> Option<StatusCode> {
        if self.is_emergency(dialled, number) {
            return None;
        }
        let block = self.blocks.iter().find(|block| block.applies(facts, dialled, number));
        block.map(|block| block.status)
    }

    fn rewritten<'n>(&self, number: &'n str) -> Cow<'n, str> {
        let mut now = Cow::Borrowed(number);
        for rewrite in &self.rewrites {
            if let Some(new) = rewrite.pattern.expand(&now, &rewrite.replace) {
                now = Cow::Owned(new);
            }
        }
        now
    }

    /// A request that leaves: by a route for its domain, or by the sender's own rights where those count.
    fn foreign(&self, facts: &Facts<'_>) -> Decision {
        let number = facts.uri.user_decoded().unwrap_or_default();
        let route = self.routes.iter().find(|route| route.domain.is_some() && route.applies(facts, &number));
        if let Some(route) = route.filter(|_| facts.route.is_none()) {
            if !route.permits(facts) {
                return denied();
            }
            return match &route.action {
                Action::Via(uri) => Decision::to(Destination::NextHop(uri.clone())),
                Action::Redirect(contacts) => Decision::Redirect(contacts.clone()),
                Action::Reject(status) => Decision::Reject(*status, None),
                Action::To(text) => match route.goal(&number, text) {
                    Some(Goal::Uri(uri)) => Decision::to(Destination::Uri(uri)),
                    _ => Decision::Reject(StatusCode::NOT_FOUND, None),
                },
                Action::Trunk(name, template) => {
                    let number =
                        template.as_ref().map_or(number.to_string(), |text| route.filled(&number, text));
                    Decision::to(Destination::Trunk { name: name.clone(), number })
                }
            };
        }
        let host = facts.route.unwrap_or(facts.uri.host());
        let is_gateway = self.trunks.values().flat_map(|trunk| &trunk.gateways).any(|gateway| {
            gateway.uri.host().eq_ignore_ascii_case(host) || gateway.uri.maddr() == Some(host)
        });
        if is_gateway || !self.foreign_domains.unwrap_or(self.trunks.is_empty()) {
            return denied();
        }
        Decision::Default
    }

    /// Whether a block list names this number for everybody.
    pub(crate) fn is_forbidden(&self, number: &str) -> Option<StatusCode> {
        let for_all = |block: &&Block| {
            block.caller.is_none()
                && block.source.is_empty()
                && block.called.as_ref().is_some_and(|pattern| pattern.matches(number))
        };
        self.blocks.iter().find(for_all).map(|block| block.status)
    }

    /// The goal's name, if it is one of ours.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.users.contains_key(name)
            || self.users.contains_key(&format!("{name}@{}", self.domain))
            || self.aliases.contains_key(name)
            || self.groups.contains_key(name)
    }
}

fn denied() -> Decision {
    Decision::Reject(StatusCode::FORBIDDEN, Some(RELAYING_DENIED.into()))
}

impl Block {
    fn applies(&self, facts: &Facts<'_>, dialled: Option<&str>, number: Option<&str>) -> bool {
        let caller = self.caller.as_ref().is_none_or(|pattern| {
            facts.caller.is_some_and(|uri| {
                let user = uri.user_decoded().unwrap_or_default();
                pattern.matches(&user)
                    || pattern.matches(&format!("{user}@{}", uri.host().to_ascii_lowercase()))
            })
        });
        let source =
            self.source.is_empty() || self.source.iter().any(|network| network.contains(facts.source));
        let called = self.called.as_ref().is_none_or(|pattern| {
            [dialled, number].into_iter().flatten().any(|number| pattern.matches(number))
        });
        caller && source && called
    }
}

impl Route {
    /// Whether it is for this request; `number` is what is called by now.
    pub(super) fn applies(&self, facts: &Facts<'_>, number: &str) -> bool {
        let ours = facts.called.is_some() || facts.uri.is_tel();
        let domain = match &self.domain {
            None => ours,
            Some(domain) => {
                facts.called.map_or(facts.uri.host(), |aor| aor.domain()).eq_ignore_ascii_case(domain)
            }
        };
        domain
            && self.is_for(number)
            && (self.methods.is_empty() || self.methods.contains(facts.method))
            && (self.from_network.is_empty()
                || self.from_network.iter().any(|one| one.contains(facts.source)))
            && (self.users.is_empty()
                || facts.user.is_some_and(|user| self.users.iter().any(|one| one == user)))
    }

    /// Whether its pattern and prefix match.
    pub(crate) fn is_for(&self, number: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(number))
            && self.prefix.as_ref().is_none_or(|prefix| number.starts_with(prefix.as_str()))
    }

    /// Whether the sender may leave by it (toll fraud starts where anybody may).
    pub(super) fn permits(&self, facts: &Facts<'_>) -> bool {
        self.anyone || facts.user.is_some() || matches!(self.action, Action::Redirect(_) | Action::Reject(_))
    }

    /// Where a template leads for this number. Whether it is a name or a URI is the template's to say, not the number's.
    pub(super) fn goal(&self, number: &str, template: &str) -> Option<Goal> {
        match template.parse() {
            Ok(Goal::Name(_)) => Some(Goal::Name(self.filled(number, template))),
            _ => {
                let filled = self.pattern.as_ref().and_then(|pattern| pattern.expand_uri(number, template));
                filled.as_deref().unwrap_or(template).parse().ok().map(Goal::Uri)
            }
        }
    }

    pub(super) fn filled(&self, number: &str, template: &str) -> String {
        let filled = self.pattern.as_ref().and_then(|pattern| pattern.expand(number, template));
        filled.unwrap_or_else(|| template.to_owned())
    }
}

/// A goal as it is written: with a scheme it is a URI, otherwise a name.
impl std::str::FromStr for Goal {
    type Err = sip_message::ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("sip" | "sips" | "tel") => text.parse().map(Self::Uri),
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// Whether features of calls apply: forwarding and do-not-disturb are about calls alone.
pub(super) fn is_call(method: &Method) -> bool {
    *method == Method::Invite
}
