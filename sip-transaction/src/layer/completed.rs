//! How much is held for requests that have their final response (Timers D, H, I, J, L and M; RFC 3261 §17, RFC 6026).
//!
//! Such a transaction is there for repetitions alone, and the longer ago its response was, the less likely one is. So a flood
//! takes memory up to a bound, and then the oldest give way: whoever repeats a request that old is heard anew, as by an element
//! without transactions (§8.2.7, §16.11). Answered calls have a bound of their own: at the bound the oldest has been there for
//! seconds, in which a lost ACK has called forth several more 2xx; a later one still goes by its Via.

use super::Transactions;
use super::client;
use super::server::{Machine, ServerEntry};
use crate::event::Event;
use crate::fsm::{InviteClient, InviteServer, Server};
use crate::slab::Key;
use sip_transport::Outbox;
use std::collections::VecDeque;

/// What a transaction takes beside its texts: its entry, two places in the table by key, and those of its timers, of which the
/// stopped ones lie in their queues until it is their turn.
const ENTRY: usize = size_of::<ServerEntry>() + 2 * size_of::<(Box<str>, Key)>() + 3 * 48;
/// What the allocator adds to each of the texts.
const ALLOCATION: usize = 16;

/// What a server transaction counts for among those that may give way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// It has no final response.
    #[default]
    No,
    /// There for repetitions alone, with so many octets.
    Completed(usize),
    /// A 2xx to INVITE.
    Answered,
}

/// The transactions that may give way, the oldest first. Those that ended by themselves stay as stale keys until they come to
/// the front.
#[derive(Debug, Default)]
pub(super) struct Completed {
    octets: usize,
    /// How many of them live.
    completed: usize,
    oldest: VecDeque<Key>,
    answered: Answered,
    answered_clients: Answered,
}

/// Transactions of INVITEs with a 2xx.
#[derive(Debug, Default)]
struct Answered {
    live: usize,
    oldest: VecDeque<Key>,
}

impl Answered {
    fn add(&mut self, key: Key) {
        self.live = self.live.saturating_add(1);
        self.oldest.push_back(key);
    }

    /// The next that must go, if there are more than `limit`.
    fn too_many(&mut self, limit: usize, is_live: impl Fn(Key) -> bool) -> Option<Key> {
        while let Some(oldest) = self.oldest.front().copied() {
            let live = is_live(oldest);
            if live && self.live <= limit {
                break;
            }
            self.oldest.pop_front();
            if live {
                return Some(oldest);
            }
        }
        None
    }

    fn over(&mut self) {
        self.live = self.live.saturating_sub(1);
        if self.live == 0 {
            self.oldest = VecDeque::new();
        }
    }
}

impl ServerEntry {
    /// What the transaction holds, about.
    fn octets(&self) -> usize {
        let texts = [
            self.last.as_ref().map_or(0, bytes::Bytes::len),
            self.matching.len(),
            self.merged.as_ref().map_or(0, |merged| merged.len()),
            self.to_tag.as_ref().map_or(0, |tag| tag.len()),
        ];
        texts.into_iter().fold(ENTRY, |sum, text| sum.saturating_add(text).saturating_add(ALLOCATION))
    }

    const fn may_give_way(&self) -> bool {
        matches!(
            self.machine,
            Machine::Invite(InviteServer::Completed { .. }) | Machine::Other(Server::Completed)
        )
    }
}

impl Transactions {
    /// A final response was given: counts what stays, and lets the oldest go if that is too much.
    pub(super) fn completed(&mut self, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.servers.get_mut(key).filter(|entry| entry.held == Held::No) else { return };
        if matches!(entry.machine, Machine::Invite(InviteServer::Accepted)) {
            entry.held = Held::Answered;
            self.completed.answered.add(key);
            while let Some(oldest) =
                self.completed.answered.too_many(self.limits.answered, |key| self.servers.get(key).is_some())
            {
                self.counters.gave_way = self.counters.gave_way.saturating_add(1);
                self.end_server(oldest, out);
            }
        } else if entry.may_give_way() {
            let octets = entry.octets();
            entry.held = Held::Completed(octets);
            self.completed.octets = self.completed.octets.saturating_add(octets);
            self.completed.completed = self.completed.completed.saturating_add(1);
            self.completed.oldest.push_back(key);
            self.bound_completed(out);
        }
    }

    fn bound_completed(&mut self, out: &mut impl Outbox<Event>) {
        while let Some(oldest) = self.completed.oldest.front().copied() {
            let live = self.servers.get(oldest).is_some();
            if live && self.completed.octets <= self.limits.completed_octets {
                break;
            }
            self.completed.oldest.pop_front();
            if live {
                self.counters.gave_way = self.counters.gave_way.saturating_add(1);
                self.end_server(oldest, out);
            }
        }
    }

    /// An INVITE of ours was answered with its first 2xx.
    pub(super) fn client_answered(&mut self, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key).filter(|entry| !entry.answered) else { return };
        if !matches!(entry.machine, client::Machine::Invite(InviteClient::Accepted)) {
            return;
        }
        entry.answered = true;
        self.completed.answered_clients.add(key);
        while let Some(oldest) = self
            .completed
            .answered_clients
            .too_many(self.limits.answered, |key| self.clients.get(key).is_some())
        {
            self.counters.gave_way = self.counters.gave_way.saturating_add(1);
            self.end_client(oldest, out);
        }
    }

    /// A server transaction is over, and what it held with it.
    pub(super) fn no_longer_held(&mut self, held: Held) {
        match held {
            Held::No => {}
            Held::Answered => self.completed.answered.over(),
            Held::Completed(octets) => {
                self.completed.octets = self.completed.octets.saturating_sub(octets);
                self.completed.completed = self.completed.completed.saturating_sub(1);
                if self.completed.completed == 0 {
                    self.completed.oldest = VecDeque::new();
                }
            }
        }
    }

    pub(super) fn client_no_longer_answered(&mut self) {
        self.completed.answered_clients.over();
    }

    /// Server transactions that are work still to be done: all but those that may give way.
    pub(super) fn under_way(&self) -> usize {
        let done = self.completed.completed.saturating_add(self.completed.answered.live);
        self.servers.len().saturating_sub(done)
    }

    /// Octets held for requests that have their final response, about: never more than
    /// [`Limits::completed_octets`](crate::Limits::completed_octets).
    #[must_use]
    pub const fn completed_octets(&self) -> usize {
        self.completed.octets
    }

    /// Answered INVITEs that are still held for repetitions of their 2xx, as a server and as a client (RFC 6026): never more
    /// than [`Limits::answered`](crate::Limits::answered) each.
    #[must_use]
    pub const fn live_answered(&self) -> (usize, usize) {
        (self.completed.answered.live, self.completed.answered_clients.live)
    }
}
