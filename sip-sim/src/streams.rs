//! Connections of the simulated network: reliable pipes in order, with a stream decoder at each end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sip_message::framing::StreamDecoder;
use sip_transport::{FlowId, Path, Token, Transport};

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    /// The node knows nothing of it any more: it was switched off, or has closed it and the other was not told.
    pub(crate) gone: bool,
    pub(crate) path: Path,
    pub(crate) decoder: StreamDecoder,
    /// When something came to this end last; before that, when the connection was asked for.
    pub(crate) last_heard: Instant,
    /// When what was sent last from this end arrives at the other: nothing sent later arrives earlier.
    pub(crate) last_arrival: Instant,
    /// What was sent from this end while the link was cut, and since when it waits.
    pub(crate) stalled: VecDeque<(Instant, Bytes, Token)>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// When the opener knows that it stands.
    pub(crate) opened: Instant,
    /// The end that opened it, and the one that accepted.
    pub(crate) ends: [End; 2],
}

impl Connection {
    pub(crate) fn end(&self, side: usize) -> &End {
        let [opened, accepted] = &self.ends;
        if side == 0 { opened } else { accepted }
    }

    pub(crate) fn end_mut(&mut self, side: usize) -> &mut End {
        let [opened, accepted] = &mut self.ends;
        if side == 0 { opened } else { accepted }
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    next: u64,
    open: BTreeMap<u64, Connection>,
    by_flow: HashMap<FlowId, (u64, usize)>,
    by_remote: HashMap<(usize, Transport, SocketAddr), (u64, usize)>,
}

impl Streams {
    pub(crate) fn insert(&mut self, connection: Connection) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        for (side, end) in connection.ends.iter().enumerate() {
            if let Some(flow) = end.path.flow {
                self.by_flow.insert(flow, (id, side));
            }
            self.by_remote.insert((end.node, end.path.transport, end.path.remote), (id, side));
        }
        self.open.insert(id, connection);
        id
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        for (side, end) in connection.ends.iter().enumerate() {
            if let Some(flow) = end.path.flow {
                self.by_flow.remove(&flow);
            }
            let key = (end.node, end.path.transport, end.path.remote);
            if self.by_remote.get(&key) == Some(&(id, side)) {
                self.by_remote.remove(&key);
            }
        }
        Some(connection)
    }

    /// Lets a node forget its end of a connection. Gives what was its path.
    pub(crate) fn forget_end(&mut self, id: u64, node: usize) -> Option<Path> {
        let connection = self.open.get_mut(&id)?;
        let (side, end) =
            connection.ends.iter_mut().enumerate().find(|(_, end)| end.node == node && !end.gone)?;
        end.gone = true;
        let path = end.path;
        if let Some(flow) = path.flow {
            self.by_flow.remove(&flow);
        }
        let key = (node, path.transport, path.remote);
        if self.by_remote.get(&key) == Some(&(id, side)) {
            self.by_remote.remove(&key);
        }
        Some(path)
    }

    pub(crate) fn forget_ends_of(&mut self, node: usize) {
        for id in self.select(|connection| connection.ends.iter().any(|end| end.node == node)) {
            self.forget_end(id, node);
            if self.open.get(&id).is_some_and(|connection| connection.ends.iter().all(|end| end.gone)) {
                self.open.remove(&id);
            }
        }
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Connection> {
        self.open.get_mut(&id)
    }

    pub(crate) fn by_flow(&self, flow: FlowId) -> Option<(u64, usize)> {
        self.by_flow.get(&flow).copied()
    }

    pub(crate) fn by_remote(
        &self,
        node: usize,
        transport: Transport,
        remote: SocketAddr,
    ) -> Option<(u64, usize)> {
        self.by_remote.get(&(node, transport, remote)).copied()
    }

    /// The connections of a node that a message on this path may have taken, and over which nothing came since then.
    pub(crate) fn silent(&self, node: usize, path: &Path, since: Instant) -> Vec<FlowId> {
        let is_silent = |end: &&End| {
            end.node == node
                && !end.gone
                && (end.path.transport, end.path.remote) == (path.transport, path.remote)
                && (path.flow.is_none() || path.flow == end.path.flow)
                && end.last_heard <= since
        };
        let ends = self.open.values().flat_map(|connection| &connection.ends);
        ends.filter(is_silent).filter_map(|end| end.path.flow).collect()
    }

    /// The connections of which `test` holds, oldest first.
    pub(crate) fn select(&self, test: impl Fn(&Connection) -> bool) -> Vec<u64> {
        self.open.iter().filter(|(_, connection)| test(connection)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}
