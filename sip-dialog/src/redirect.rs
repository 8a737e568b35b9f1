//! Following a 3xx to where it leads (RFC 3261 §8.1.3.4).

use std::collections::VecDeque;
use std::time::Instant;

use sip_message::headers::{CSeq, Contact, Route};
use sip_message::{HeaderName, Method, Response, Uri};

use crate::call::CallState;
use crate::event::{CallKey, Event};
use crate::history::{self, Mapping};
use crate::layer::Dialogs;

/// The targets of one call.
#[derive(Debug, Default)]
pub(crate) struct Redirection {
    waiting: VecDeque<(Uri, Option<Mapping>)>,
    /// Each is tried once, so that two servers that point at each other do not keep us busy.
    tried: Vec<Uri>,
}

impl Redirection {
    /// Takes the Contacts of a 3xx, the preferred ones first; of those before them that were not tried yet nothing is lost.
    /// No more are taken than can be tried.
    fn add(&mut self, contacts: &mut [Contact], secure: bool, limit: usize) {
        contacts.sort_by_key(|contact| std::cmp::Reverse(contact.q().unwrap_or(1000)));
        let mut fresh: Vec<(Uri, Option<Mapping>)> = Vec::new();
        for contact in contacts {
            if fresh.len() >= limit {
                break;
            }
            let Some(uri) = contact.uri() else { continue };
            // What was called as `sips` never goes on in the clear (RFC 3261 §8.1.3.4).
            let usable = if secure { uri.is_sips() } else { uri.is_sip() || uri.is_sips() };
            let mut uri = uri.clone();
            uri.remove_headers();
            uri.remove_param("method");
            let known = |other: &Uri| other.equivalent(&uri);
            let waiting = self.waiting.iter().chain(&fresh).map(|(uri, _)| uri);
            if usable && !self.tried.iter().chain(waiting).any(known) {
                fresh.push((uri, Mapping::of(contact)));
            }
        }
        for target in fresh.into_iter().rev() {
            self.waiting.push_front(target);
        }
        self.waiting.truncate(limit);
    }

    fn next(&mut self, limit: usize) -> Option<(Uri, Option<Mapping>)> {
        if self.tried.len() > limit {
            return None;
        }
        let (uri, mapping) = self.waiting.pop_front()?;
        self.tried.push(uri.clone());
        Some((uri, mapping))
    }
}

impl Dialogs {
    /// Whether a failed INVITE goes on elsewhere: a 3xx names new targets, any other failure but a global one leaves those
    /// that an earlier 3xx named.
    pub(crate) fn redirected(&mut self, now: Instant, key: CallKey, response: &Response) -> bool {
        let limit = self.config.max_redirections;
        let Some(call) = self.calls.get_mut(&key) else { return false };
        let status = response.status().code();
        if limit == 0 || call.state != CallState::Calling || status >= 600 {
            return false;
        }
        let Some(setup) = &mut call.setup else { return false };
        let Ok(first) = setup.invite.uri() else { return false };
        if setup.redirection.tried.is_empty() {
            setup.redirection.tried.push(first.clone());
        }
        if (300..400).contains(&status) {
            let mut contacts: Vec<Contact> = response.headers.all().flatten().collect();
            setup.redirection.add(&mut contacts, first.is_sips(), limit);
        }
        let Some((uri, mapping)) = setup.redirection.next(limit) else { return false };
        let mut request = setup.invite.clone();
        let Ok(cseq) = request.headers.require::<CSeq>() else { return false };
        request.set_uri(&uri);
        if self.config.history {
            history::retarget(&mut request, response.status(), &uri, mapping.as_ref());
        }
        request.headers.set(&CSeq::new(cseq.number.saturating_add(1), Method::Invite));
        request.headers.remove(HeaderName::AUTHORIZATION);
        let hop = match request.headers.get::<Route>() {
            Ok(Some(route)) => route.uri().clone(),
            _ => uri.clone(),
        };
        let sent = self.send_invite_again(now, key, request, hop);
        if sent {
            self.events.push_back(Event::Redirected { call: key, to: uri });
        }
        sent
    }
}
