//! The connections of a driver: found by flow and by remote, counted by source.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ::tokio::net::TcpStream;
use ::tokio::sync::Notify;
use bytes::Bytes;

use crate::limits::Limits;
use crate::path::{FlowId, Path, Token, Transport};

/// A message, or the rest of one, that waits to be written.
pub(super) struct Waiting {
    pub(super) bytes: Bytes,
    pub(super) token: Token,
}

/// One connection, being opened or open.
pub(super) struct Connection {
    /// Its path with the flow set; the local address is exact once it is open.
    pub(super) path: Path,
    /// `None` while it is being opened.
    pub(super) stream: Option<Arc<TcpStream>>,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) queued_bytes: usize,
    /// Wakes the task of the connection: something waits to be written, or the connection left the table.
    pub(super) wake: Arc<Notify>,
    pub(super) last_activity: Instant,
    /// Who wants to know when it stands.
    pub(super) awaited_by: Vec<Token>,
    accepted: bool,
}

impl Connection {
    /// Puts a message behind those that wait, if the limits allow.
    pub(super) fn enqueue(&mut self, bytes: Bytes, token: Token, limits: &Limits) -> bool {
        let total = self.queued_bytes.saturating_add(bytes.len());
        if self.queue.len() >= limits.send_queue || total > limits.send_queue_bytes {
            return false;
        }
        self.queued_bytes = total;
        self.queue.push_back(Waiting { bytes, token });
        self.wake.notify_one();
        true
    }

    /// Writes what waits, as far as the kernel takes it. `Err`: the connection is broken.
    pub(super) fn write(&mut self, now: Instant) -> std::io::Result<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        while let Some(front) = self.queue.front_mut() {
            match stream.try_write(&front.bytes) {
                Ok(0) if !front.bytes.is_empty() => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.last_activity = now;
                    self.queued_bytes = self.queued_bytes.saturating_sub(written);
                    if written < front.bytes.len() {
                        bytes::Buf::advance(&mut front.bytes, written);
                    } else {
                        self.queue.pop_front();
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total,
    Source,
}

#[derive(Default)]
pub(super) struct Table {
    by_flow: HashMap<FlowId, Connection>,
    by_remote: HashMap<(Transport, SocketAddr), FlowId>,
    accepted_from: HashMap<IpAddr, usize>,
}

impl Table {
    pub(super) fn has_room(&self, limits: &Limits, source: Option<IpAddr>) -> Result<(), Full> {
        if self.by_flow.len() >= limits.connections {
            return Err(Full::Total);
        }
        let same = source.and_then(|source| self.accepted_from.get(&source)).copied().unwrap_or(0);
        if source.is_some() && same >= limits.connections_per_source {
            return Err(Full::Source);
        }
        Ok(())
    }

    /// Adds a connection: accepted with its stream, or to be opened without.
    pub(super) fn insert(
        &mut self,
        flow: FlowId,
        path: Path,
        stream: Option<Arc<TcpStream>>,
        now: Instant,
    ) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        let accepted = stream.is_some();
        if accepted {
            let count = self.accepted_from.entry(path.remote.ip()).or_insert(0);
            *count = count.saturating_add(1);
        }
        let connection = Connection {
            path: Path { flow: Some(flow), ..path },
            stream,
            queue: VecDeque::new(),
            queued_bytes: 0,
            wake: wake.clone(),
            last_activity: now,
            awaited_by: Vec::new(),
            accepted,
        };
        self.by_remote.insert((path.transport, path.remote), flow);
        self.by_flow.insert(flow, connection);
        wake
    }

    pub(super) fn remove(&mut self, flow: FlowId) -> Option<Connection> {
        let connection = self.by_flow.remove(&flow)?;
        let key = (connection.path.transport, connection.path.remote);
        if self.by_remote.get(&key) == Some(&flow) {
            self.by_remote.remove(&key);
        }
        if connection.accepted {
            let source = connection.path.remote.ip();
            if let Some(count) = self.accepted_from.get_mut(&source) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.accepted_from.remove(&source);
                }
            }
        }
        connection.wake.notify_one();
        Some(connection)
    }

    pub(super) fn get_mut(&mut self, flow: FlowId) -> Option<&mut Connection> {
        self.by_flow.get_mut(&flow)
    }

    pub(super) fn to_remote(&self, transport: Transport, remote: SocketAddr) -> Option<FlowId> {
        self.by_remote.get(&(transport, remote)).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_flow.len()
    }
}
