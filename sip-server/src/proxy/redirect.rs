//! Recursion on 3xx: RFC 3261 §16.7 step 4. What the contacts lead to is not the proxy's to say: each is asked for.

use std::time::Instant;

use sip_message::headers::Contact;
use sip_message::{HeaderName, Request, Response, Uri};
use sip_transaction::ServerTx;

use super::best::Final;
use super::target::{Group, Hop};
use super::{Layer, Proxy};
use crate::config::count;
use crate::routing::{DiversionReason, Diverted};

/// What following redirections takes to know of a request.
#[derive(Debug)]
pub(crate) struct Recursion {
    /// The user name that the sender has proved: a contact is followed with the sender's rights and no others.
    user: Option<String>,
    /// Request-URIs that were tried: none is tried twice.
    tried: Vec<Uri>,
    /// Redirections whose contacts are being looked for.
    asking: usize,
    /// Answers to questions of an earlier round count no more.
    round: u32,
}

/// A redirection that may be followed.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) tx: ServerTx,
    index: usize,
    round: u32,
    /// What the sender has proved to be.
    pub(crate) user: Option<String>,
    /// As it came, our Via taken off.
    pub(crate) response: Box<Response>,
    /// Where it leads and nobody was yet, the most wanted first, with the preference in thousandths.
    pub(crate) contacts: Vec<(Uri, u16)>,
    /// Who had sent the request on before.
    pub(crate) diverted: Vec<Diverted>,
}

impl Recursion {
    pub(crate) fn new(user: Option<String>) -> Self {
        Self { user, tried: Vec::new(), asking: 0, round: 0 }
    }

    /// Targets are looked for, and nothing else goes on.
    pub(super) fn waits(&self) -> bool {
        self.asking > 0
    }

    /// What is being looked for is not wanted any more. Whether something was.
    pub(super) fn end(&mut self) -> bool {
        self.round = self.round.wrapping_add(1);
        std::mem::take(&mut self.asking) > 0
    }

    /// These are tried now.
    pub(super) fn note(&mut self, group: &Group, request: &Request) {
        let uri = |hop: &Hop| hop.uri.clone().or_else(|| request.uri().ok());
        self.tried.extend(group.iter().flat_map(|hop| hop.others.iter().chain([hop])).filter_map(uri));
    }
}

impl Proxy {
    /// A redirection whose contacts are to be looked at. [`follow`](Self::follow) is told what came of it.
    pub(crate) fn poll_redirect(&mut self) -> Option<Redirect> {
        self.redirects.pop_front()
    }

    /// Whether a request has been sent to this URI, or will be anyway.
    pub(crate) fn has_tried(&self, tx: ServerTx, uri: &Uri) -> bool {
        let Some(context) = self.contexts.get(&tx) else { return false };
        let tried = context.recursion.iter().flat_map(|recursion| &recursion.tried);
        let pending = context.groups.iter().flatten().filter_map(|hop| hop.uri.as_ref());
        tried.chain(pending).any(|other| other.equivalent(uri))
    }

    /// How many branches the request has had or will have, without those of steps that are not due.
    pub(crate) fn planned_of(&self, tx: ServerTx) -> usize {
        let Some(context) = self.contexts.get(&tx) else { return 0 };
        context.groups.iter().map(Vec::len).fold(context.branches.len(), usize::saturating_add)
    }

    /// Holds a redirection until it is known where it leads. Anything else is given back.
    pub(super) fn hold(&mut self, tx: ServerTx, index: usize, failure: Final) -> Option<Final> {
        let response = match failure {
            // 305 and 380 lead to no other address of the callee (§21.3.4, §21.3.5).
            Final::Received(response) if matches!(response.status().code(), 300..=302) => response,
            other => return Some(other),
        };
        let mut contacts: Vec<(Uri, u16)> = Vec::new();
        for contact in response.headers.all::<Contact>().flatten() {
            let Some(mut uri) = contact.uri().cloned() else { continue };
            uri.remove_headers(); // RFC 3261 §19.1.1, table 1: not in a Request-URI
            uri.remove_param("method");
            let known = contacts.iter().any(|(other, _)| other.equivalent(&uri));
            if (uri.is_sip() || uri.is_sips()) && !known && !self.has_tried(tx, &uri) {
                contacts.push((uri, contact.q().unwrap_or(1000)));
            }
        }
        contacts.sort_by_key(|(_, q)| std::cmp::Reverse(*q));
        let Some(context) = self.contexts.get_mut(&tx) else { return Some(Final::Received(response)) };
        let open = !context.cancelled && context.is_open();
        let diverted = context.branches.get(index).and_then(|branch| branch.edits.as_ref());
        let diverted = diverted.map(|edits| edits.diverted.clone()).unwrap_or_default();
        match &mut context.recursion {
            Some(recursion) if open && !contacts.is_empty() => {
                recursion.asking = recursion.asking.saturating_add(1);
                let (round, user) = (recursion.round, recursion.user.clone());
                self.redirects.push_back(Redirect { tx, index, round, user, response, contacts, diverted });
                None
            }
            _ => Some(Final::Received(response)),
        }
    }

    /// Goes on with what a redirection leads to, `followed` of its contacts; without any it is a failure like others. The first
    /// group takes the place of the phone that has sent the request on, beside those that ring still.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        redirect: Redirect,
        followed: &[Uri],
        groups: Vec<Group>,
        layer: &mut Layer,
    ) {
        let Redirect { tx, index, round, mut response, .. } = redirect;
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        match &mut context.recursion {
            Some(recursion) if recursion.round == round && !context.answered => {
                recursion.asking = recursion.asking.saturating_sub(1);
            }
            _ => return,
        }
        let mut groups = groups.into_iter();
        let Some(first) = groups.next().filter(|_| context.is_open()) else {
            return self.conclude(now, tx, index, Final::Received(response), layer);
        };
        count(&mut layer.counters.redirects_followed);
        // "MUST remove them from the response before adding the response to the response context"; "SHOULD NOT add the resulting
        // contactless response".
        if remove_contacts(&mut response, followed) {
            context.best.add(Final::Received(response));
        }
        for group in groups.rev() {
            context.groups.push_front(group);
        }
        let share = context.branches.get(index).and_then(|branch| branch.breadth);
        self.start(now, tx, first, share, layer);
        self.go_on(now, tx, layer);
    }
}

/// Whether contacts are left.
fn remove_contacts(response: &mut Response, followed: &[Uri]) -> bool {
    let is_left = |contact: &Contact| {
        let uri = contact.uri().cloned().map(|mut uri| {
            uri.remove_headers();
            uri.remove_param("method");
            uri
        });
        uri.is_none_or(|uri| !followed.iter().any(|other| other.equivalent(&uri)))
    };
    let left: Vec<Contact> = response.headers.all::<Contact>().flatten().filter(is_left).collect();
    response.headers.remove(HeaderName::CONTACT);
    left.iter().for_each(|contact| response.headers.push_back(contact));
    !left.is_empty()
}

impl Redirect {
    /// Who has sent the request on by this contact, those before included. `called`: the Request-URI as it came to us.
    pub(crate) fn diverted_to(&self, called: &Uri, contact: &Uri) -> Vec<Diverted> {
        let mut all = self.diverted.clone();
        let by = all.last().map_or(called, |last| &last.to).clone();
        all.push(Diverted { by, to: contact.clone(), why: DiversionReason::Deflection });
        all
    }
}
