//! Requests that are under way while this host gets other addresses.
//!
//! The answer to what was sent over UDP goes to the address that it was sent from, or to the one in Via (RFC 3261 §18.2.2,
//! RFC 3581 §4): to nobody. So what was not answered is sent anew from where we are, in a transaction of its own on the wire,
//! for a server that does not know the Via could not tell it from another's; to the user it is the same request. What was
//! answered provisionally is not: the peer has it, and works on it. Over connections nothing is done here: they stay, or break
//! and have what was on them sent once more ([`super::broken`]).

use super::client::ClientEntry;
use super::{Transactions, attempt};
use crate::error::Failure;
use crate::event::Event;
use crate::slab::Key;
use sip_message::Request;
use sip_transport::{Locals, Outbox, Path, Transport};
use std::time::Instant;

impl Transactions {
    /// The listeners are these from now on: what is sent names them in Via, and leaves by them. A request over UDP to which nothing
    /// was answered is sent again from there, as is one that has not been sent yet, after `rewrite` has had it: for the Contact in
    /// it. One that cannot be ends with [`Failure::Moved`]; so does one of which nothing but a provisional response was heard,
    /// if nothing else comes in time.
    pub fn relocate(
        &mut self,
        now: Instant,
        locals: Locals,
        mut rewrite: impl FnMut(&mut Request),
        out: &mut impl Outbox<Event>,
    ) {
        let before = std::mem::replace(&mut self.locals, locals);
        let all: Vec<Key> = self.clients.keys().collect();
        for key in all {
            let Some(entry) = self.clients.get_mut(key) else { continue };
            match standing(entry, &before, &self.locals) {
                Standing::Unsent => {
                    if let Some(mut request) = entry.take_request() {
                        rewrite(&mut request);
                        entry.give(request);
                    }
                }
                Standing::Unanswered if entry.fixed => {
                    self.report_failure(key, Failure::Moved, out);
                    self.end_client(key, out);
                }
                Standing::Unanswered => {
                    if let Some(mut request) = entry.take_request() {
                        rewrite(&mut request);
                        entry.give(request);
                    }
                    let path = Path::to(entry.path.transport, entry.path.remote);
                    if attempt::listener(&self.locals, &path).is_some() {
                        self.counters.retransmitted = self.counters.retransmitted.saturating_add(1);
                        self.launch(now, key, path, out);
                    } else if !self.try_elsewhere(now, key, false, out) {
                        self.report_failure(key, Failure::Moved, out);
                        self.end_client(key, out);
                    }
                }
                // What is repeated leaves by a socket that is there: the ACK of a failure, a CANCEL and what it cancels.
                Standing::Heard => {
                    entry.moved = true;
                    if let Some(local) = self.locals.for_path(entry.path.transport, entry.path.remote) {
                        entry.path.local = local.bound;
                    }
                }
                Standing::Same => {}
            }
        }
        // Answers to what left before may still find us, where the old address is there beside the new one.
        self.left = before;
    }
}

/// What a change of listeners means for a request.
enum Standing {
    /// It names the same listener as before, or is on a connection.
    Same,
    /// It is not on the way yet.
    Unsent,
    /// Nothing was heard of it, and nothing will be.
    Unanswered,
    /// Something was heard.
    Heard,
}

fn standing(entry: &ClientEntry, before: &Locals, now: &Locals) -> Standing {
    if entry.payload.is_empty() && entry.machine.is_early() {
        return Standing::Unsent;
    }
    let told = |locals: &Locals| {
        let local = locals.for_path(entry.path.transport, entry.path.remote);
        local.map(|local| (local.host.clone(), local.port, local.bound))
    };
    if entry.path.transport != Transport::Udp || told(before) == told(now) {
        return Standing::Same;
    }
    let unanswered = entry.machine.is_early() && !entry.machine.is_proceeding() && entry.cancels.is_none();
    if unanswered { Standing::Unanswered } else { Standing::Heard }
}
