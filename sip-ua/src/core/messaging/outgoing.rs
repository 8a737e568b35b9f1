//! Messages on their way: one at a time to each destination, the next ones wait (RFC 3428 §8).

use std::collections::{BTreeMap, VecDeque};

use sip_dialog::{Body, RequestKey};
use sip_message::Uri;

use super::{MessageKey, Peer};

/// Messages that wait for one destination. One that does not answer for half a minute must not fill the memory.
const MAX_WAITING: usize = 64;
/// Destinations with messages on their way: whoever writes to us may ask for receipts.
const MAX_DESTINATIONS: usize = 1024;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What somebody wrote.
    Text(MessageKey),
    /// That somebody writes.
    Composing,
    /// That something was delivered or shown.
    Receipt,
}

/// One that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) kind: Kind,
    pub(super) to: Uri,
    pub(super) body: Body,
}

#[derive(Debug, Default)]
struct Destination {
    /// The one that is not answered yet.
    out: Option<(RequestKey, Kind)>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    by_peer: BTreeMap<Peer, Destination>,
}

impl Outgoing {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self, peer: &Peer) -> bool {
        match self.by_peer.get(peer) {
            Some(destination) => destination.waiting.len() < MAX_WAITING,
            None => self.by_peer.len() < MAX_DESTINATIONS,
        }
    }

    /// One more waits. That somebody writes is told once, and not beside what was written.
    pub(super) fn add(&mut self, peer: Peer, message: Waiting) {
        let destination = self.by_peer.entry(peer).or_default();
        if message.kind != Kind::Receipt {
            destination.waiting.retain(|waiting| waiting.kind != Kind::Composing);
        }
        destination.waiting.push_back(message);
    }

    /// The one to send now, if none is out.
    pub(super) fn next(&mut self, peer: &Peer) -> Option<Waiting> {
        let destination = self.by_peer.get_mut(peer)?;
        if destination.out.is_some() {
            return None;
        }
        let next = destination.waiting.pop_front();
        if next.is_none() {
            self.by_peer.remove(peer);
        }
        next
    }

    /// It was sent as this request.
    pub(super) fn sent(&mut self, peer: &Peer, request: RequestKey, kind: Kind) {
        if let Some(destination) = self.by_peer.get_mut(peer) {
            destination.out = Some((request, kind));
        }
    }

    /// It was answered: whose it was, and what.
    pub(super) fn answered(&mut self, request: RequestKey) -> Option<(Peer, Kind)> {
        let is_it = |destination: &Destination| destination.out.is_some_and(|(out, _)| out == request);
        let (peer, destination) = self.by_peer.iter_mut().find(|(_, destination)| is_it(destination))?;
        destination.out.take().map(|(_, kind)| (peer.clone(), kind))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// That somebody writes says nothing any more beside what was written, and the queue has an end.
    #[test]
    fn what_waits() {
        let to: Uri = "sip:bob@example.com".parse().unwrap();
        let peer = Peer::of(&to);
        let mut outgoing = Outgoing::default();
        let body = || Body { content_type: "text/plain".into(), octets: "x".into() };
        let add = |outgoing: &mut Outgoing, kind| {
            outgoing.add(peer.clone(), Waiting { kind, to: to.clone(), body: body() });
        };
        add(&mut outgoing, Kind::Composing);
        add(&mut outgoing, Kind::Receipt);
        add(&mut outgoing, Kind::Composing);
        add(&mut outgoing, Kind::Text(MessageKey(1)));
        assert_eq!(outgoing.next(&peer).unwrap().kind, Kind::Receipt);
        assert_eq!(outgoing.next(&peer).unwrap().kind, Kind::Text(MessageKey(1)));
        assert!(outgoing.next(&peer).is_none());
        assert!(outgoing.by_peer.is_empty());
        for _ in 0..MAX_WAITING {
            assert!(outgoing.has_room(&peer));
            add(&mut outgoing, Kind::Receipt);
        }
        assert!(!outgoing.has_room(&peer));
    }
}
