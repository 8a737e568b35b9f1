//! Requests that were on a connection when it broke.
//!
//! Over a stream nothing is repeated (RFC 3261 §17.1.1.2, §17.1.2.2), so a request that went down with its connection would
//! be waited for until Timer B or F. It is sent once more, the very same, over a new connection: a server that had it takes
//! it for a repetition (§17.2.3) and sends its response again, one that had not gets it now. Over a flow that is the only way
//! to a phone it has failed (RFC 5626 §5.3.1).
//!
//! A connection may be dead without breaking: the peer's kernel acknowledges, its program does nothing. It is given up once a
//! request was waited for in vain and nothing else came over it meanwhile, so that the next request opens another.

use std::net::SocketAddr;
use std::time::Instant;

use sip_transport::{Close, CloseReason, Outbox, Path, SendError, Transport};

use super::Transactions;
use super::client::ClientEntry;
use crate::event::Event;
use crate::slab::Key;

/// A request on a connection, to which nothing was answered yet.
pub(super) type Unanswered = (Transport, SocketAddr, Key);

impl Transactions {
    /// Notes that a request was sent, to be found when its connection breaks.
    pub(super) fn watch(&mut self, now: Instant, key: Key) {
        self.unwatch(key);
        if let Some(entry) = self.clients.get_mut(key)
            && entry.path.transport.is_reliable()
        {
            entry.sent = Some(now);
            entry.watched = Some((entry.path.transport, entry.path.remote));
            self.unanswered.insert((entry.path.transport, entry.path.remote, key));
        }
    }

    /// It was answered, or is over.
    pub(super) fn unwatch(&mut self, key: Key) {
        let watched = self.clients.get_mut(key).and_then(|entry| entry.watched.take());
        if let Some((transport, remote)) = watched {
            self.unanswered.remove(&(transport, remote, key));
        }
    }

    /// A connection is gone.
    pub(super) fn connection_closed(
        &mut self,
        now: Instant,
        path: &Path,
        reason: CloseReason,
        out: &mut impl Outbox<Event>,
    ) {
        if !matches!(reason, CloseReason::Peer | CloseReason::Error(_) | CloseReason::Local) {
            return;
        }
        let from = (path.transport, path.remote, Key { index: 0, generation: 0 });
        let on_it = self
            .unanswered
            .range(from..)
            .take_while(|(transport, remote, _)| (*transport, *remote) == (path.transport, path.remote));
        let keys: Vec<Key> = on_it.map(|(_, _, key)| *key).collect();
        for key in keys {
            self.broken(now, key, path, out);
        }
    }

    fn broken(&mut self, now: Instant, key: Key, path: &Path, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        if entry.path.flow.is_some() && entry.path.flow != path.flow {
            return;
        }
        if entry.fixed {
            return self.client_send_failed(now, key, path, SendError::Closed, out);
        }
        // Once: a server that breaks each connection shall not be asked for ever.
        self.unwatch(key);
        let Some(entry) = self.clients.get_mut(key) else { return };
        entry.path.flow = None;
        entry.sent = Some(now);
        self.counters.retransmitted = self.counters.retransmitted.saturating_add(1);
        self.transmit_request(key, out);
    }
}

/// Nothing was answered until Timer B or F: the driver knows whether anything else was heard over the connection.
pub(super) fn silent(entry: &ClientEntry, out: &mut impl Outbox<Event>) {
    if let Some(since) = entry.sent.filter(|_| entry.path.transport.is_reliable()) {
        out.close(Close::Silent { path: entry.path, since });
    }
}
