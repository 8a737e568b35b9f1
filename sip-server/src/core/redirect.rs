//! Where a 3xx may lead (RFC 3261 §16.7 step 4): with the rights of who sent the request, by the rules that would hold if the sender
//! followed it himself. A phone that answers 302 opens no way that is closed to the caller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use sip_message::headers::From;
use sip_message::{Method, Uri};

use super::location::is_sips;
use super::routing::Nobody;
use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::location::{Answer, Question};
use crate::proxy::{Edits, Group, Hop, Redirect};
use crate::routing::rules::Facts;
use crate::routing::{Decision, Destination as To, Diverted};

/// Redirections whose contacts are looked up. Each belongs to a branch of a request, and ends with the answers or their time.
#[derive(Debug, Default)]
pub(super) struct Redirections {
    last: u64,
    all: BTreeMap<u64, Following>,
}

#[derive(Debug)]
struct Following {
    redirect: Redirect,
    /// What each contact leads to, the most wanted contact first.
    found: Vec<Vec<Group>>,
    /// Who has sent the request on, for each contact.
    diverted: Vec<Vec<Diverted>>,
    missing: usize,
}

/// Which contact of which redirection is looked up, and the URI that was asked for.
#[derive(Debug)]
pub(super) struct Place {
    following: u64,
    contact: usize,
    aor: AddressOfRecord,
    uri: Option<Box<Uri>>,
}

impl ServerCore {
    /// A branch was answered 300, 301 or 302.
    pub(super) fn redirected(&mut self, now: Instant, mut redirect: Redirect) {
        let left = self.limits.branches.saturating_sub(self.proxy.planned_of(redirect.tx));
        redirect.contacts.truncate(left);
        let sips = self.layer.transactions.request(redirect.tx).is_some_and(is_sips);
        let mut lookups = Vec::new();
        let (mut found, mut all_diverted) = (Vec::new(), Vec::new());
        let called = self.layer.transactions.request(redirect.tx).and_then(|request| request.uri().ok());
        for (at, (uri, _)) in redirect.contacts.iter().enumerate() {
            let (targets, more) = self.permitted(&redirect, uri);
            let mut group = Group::new();
            for target in targets {
                match target {
                    Permitted::Hop(hop) => group.extend(hop.secure_enough(sips)),
                    Permitted::User(aor, uri) => lookups.push((at, aor, uri)),
                }
            }
            found.push(if group.is_empty() { Vec::new() } else { vec![group] });
            let mut diverted =
                called.as_ref().map(|called| redirect.diverted_to(called, uri)).unwrap_or_default();
            diverted.extend(more);
            all_diverted.push(diverted);
        }
        let following = Following { redirect, found, diverted: all_diverted, missing: lookups.len() };
        if lookups.is_empty() {
            return self.follow(now, following);
        }
        let key = self.redirections.last.wrapping_add(1);
        self.redirections.last = key;
        self.redirections.all.insert(key, following);
        for (contact, aor, uri) in lookups {
            let place = Place { following: key, contact, aor: aor.clone(), uri: uri.map(Box::new) };
            self.ask(now, Question::Lookup { aor }, Waiting::Redirected(place));
        }
    }

    /// Where a contact may lead, and who sends the request on there besides.
    fn permitted(&mut self, redirect: &Redirect, uri: &Uri) -> (Vec<Permitted>, Vec<Diverted>) {
        let nowhere = (Vec::new(), Vec::new());
        let called = self.addressed(uri);
        if called.is_none() && self.domains.of(uri).is_some() {
            return nowhere; // the server itself
        }
        if let Some(target) = &self.policy.next_hop {
            let hop = Hop { uri: Some(uri.clone()), ..Hop::fixed(target.clone()) };
            return (vec![Permitted::Hop(hop)], Vec::new());
        }
        let decision = if self.routes() { self.said_of(redirect, uri) } else { Decision::Default };
        match decision {
            Decision::Default => match called {
                Some(aor) => (vec![Permitted::User(aor, Some(uri.clone()))], Vec::new()),
                None if redirect.user.is_some() || self.may_relay() => {
                    (vec![Permitted::Hop(Hop::readdressed(uri.clone()))], Vec::new())
                }
                None => nowhere,
            },
            // As in a hunt group: what rings first is rung, what its owner wants if nobody answers does not count.
            Decision::Proxy(steps) => {
                let Some(step) = steps.into_iter().next() else { return nowhere };
                let invite = self
                    .layer
                    .transactions
                    .request(redirect.tx)
                    .is_some_and(|request| *request.method() == Method::Invite);
                let targets =
                    step.targets.into_iter().filter_map(|target| self.permitted_target(target, uri, invite));
                (targets.collect(), step.diverted)
            }
            Decision::Redirect(_) | Decision::Reject(..) => nowhere,
        }
    }

    /// `uri`: what is called there, if the target does not say.
    fn permitted_target(&mut self, target: To, uri: &Uri, invite: bool) -> Option<Permitted> {
        match self.target(target, invite) {
            Ok(mut hop) => {
                hop.uri.get_or_insert_with(|| uri.clone());
                Some(Permitted::Hop(hop))
            }
            Err(Nobody::Yet(aor)) => Some(Permitted::User(aor, None)),
            Err(Nobody::There | Nobody::Free) => None,
        }
    }

    /// What the rules say if the sender called this URI.
    fn said_of(&mut self, redirect: &Redirect, uri: &Uri) -> Decision {
        let Some(request) = self.layer.transactions.request(redirect.tx) else {
            return Decision::Redirect(Vec::new());
        };
        let (method, caller) = (request.method().clone(), request.headers.get::<From>().ok().flatten());
        let Some(source) = self.proxy.source_of(redirect.tx) else { return Decision::Redirect(Vec::new()) };
        let called = self.domains.aor(uri);
        self.rules.decide(&Facts {
            method: &method,
            uri,
            called: called.as_ref(),
            caller: caller.as_ref().map(|from| from.uri()),
            user: redirect.user.as_deref(),
            source,
            route: None,
        })
    }

    /// One of the users that a contact leads to was looked up.
    pub(super) fn redirection_found(&mut self, now: Instant, place: &Place, answer: Answer) {
        let Some(following) = self.redirections.all.get(&place.following) else { return };
        let sips = self.layer.transactions.request(following.redirect.tx).is_some_and(is_sips);
        let groups = match answer {
            Answer::Found(mut bindings) => {
                let meant =
                    place.uri.as_deref().is_none_or(|uri| self.keep_meant(uri, &mut bindings).is_ok());
                if meant { self.groups(now, &place.aor, &bindings.list, sips) } else { Vec::new() }
            }
            _ => Vec::new(),
        };
        let Some(following) = self.redirections.all.get_mut(&place.following) else { return };
        if let Some(found) = following.found.get_mut(place.contact) {
            side_by_side(found, groups);
        }
        following.missing = following.missing.saturating_sub(1);
        if following.missing == 0
            && let Some(following) = self.redirections.all.remove(&place.following)
        {
            self.follow(now, following);
        }
    }

    /// All is found: contacts of equal preference together, the most wanted first.
    fn follow(&mut self, now: Instant, following: Following) {
        let Following { redirect, found, diverted, .. } = following;
        let set = self.rules.set();
        let (diversion, history) = (set.diversion, set.history);
        let mut left = self.limits.branches.saturating_sub(self.proxy.planned_of(redirect.tx));
        let mut groups: Vec<Group> = Vec::new();
        let (mut taken, mut followed): (Vec<Uri>, Vec<Uri>) = (Vec::new(), Vec::new());
        let mut level = (None, Vec::new());
        for (((contact, q), found), diverted) in redirect.contacts.iter().zip(found).zip(diverted) {
            let edits = (diversion || history).then(|| Arc::new(Edits { diverted, diversion, history }));
            let mut fresh: Vec<Group> = Vec::new();
            for group in found {
                let mut kept = Group::new();
                for mut hop in group {
                    let uri = hop.uri.clone();
                    let known = uri.as_ref().is_none_or(|uri| {
                        self.proxy.has_tried(redirect.tx, uri) || taken.iter().any(|one| one.equivalent(uri))
                    });
                    if known || left == 0 {
                        continue;
                    }
                    left = left.saturating_sub(1);
                    taken.extend(uri);
                    hop.edit(edits.as_ref());
                    kept.push(hop);
                }
                fresh.extend((!kept.is_empty()).then_some(kept));
            }
            if fresh.is_empty() {
                continue;
            }
            followed.push(contact.clone());
            if level.0 != Some(*q) {
                groups.append(&mut level.1);
                level.0 = Some(*q);
            }
            side_by_side(&mut level.1, fresh);
        }
        groups.append(&mut level.1);
        self.proxy.follow(now, redirect, &followed, groups, &mut self.layer);
    }
}

/// What a contact may lead to.
enum Permitted {
    Hop(Hop),
    /// To be looked up; with the URI that may be a GRUU.
    User(AddressOfRecord, Option<Uri>),
}

/// Groups that are tried at the same time: the first with the first, and so on.
fn side_by_side(all: &mut Vec<Group>, more: Vec<Group>) {
    for (index, group) in more.into_iter().enumerate() {
        match all.get_mut(index) {
            Some(same) => same.extend(group),
            None => all.push(group),
        }
    }
}
