//! Forwarding (RFC 4976 §6.4): which way a request goes, and whether it may.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::peer::{Forward, Inbound, Other, Peer, Pending, Piece};
use super::{Action, MAX_HOPS, Relay, RelayError};
use crate::connection::MAX_WHOLE_CHUNK;
use crate::message::{ByteRange, FailureReport, Flag, Head, HeadWriter, Ident, Method, Start, end_line};
use crate::status::StatusCode;
use crate::uri::{Path, Uri};

/// Octets of a piece that goes on before its chunk has ended. Less is held: who sends octet by octet shall not make us send a
/// head with each.
const LEAST_PIECE: usize = 2_048;

/// Where a request goes.
struct Way {
    target: u64,
    to: Path,
    from: Path,
    us: Uri,
}

/// The fields that go on as they are.
fn fields(head: &Head, without: &[&str]) -> Bytes {
    let mut text = BytesMut::new();
    for (name, value) in head.fields() {
        if !without.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            for part in [name, ": ", value, "\r\n"] {
                text.extend_from_slice(part.as_bytes());
            }
        }
    }
    text.freeze()
}

fn paths(to: &Path, from: &Path) -> Bytes {
    format!("To-Path: {to}\r\nFrom-Path: {from}\r\n").into()
}

impl Relay {
    pub(super) fn request(
        &mut self,
        now: Instant,
        connection: u64,
        head: &Head,
        method: &Method,
    ) -> Result<(), RelayError> {
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.inbound = Inbound::Nothing;
        }
        let (Ok(to), Ok(from)) = (head.to_path(), head.from_path()) else { return Err(RelayError::NotOurs) };
        if !to.first().is_some_and(|uri| self.config.is_ours(uri)) {
            return Err(RelayError::NotOurs);
        }
        if *method == Method::Auth && to.uris().len() == 1 {
            self.authenticate(now, connection, head, &to, &from);
            return Ok(());
        }
        let way = match self.way(now, connection, &to, &from) {
            Ok(way) => way,
            Err(status) => {
                self.answer(connection, head, status, &[]);
                return Ok(());
            }
        };
        let (target, paths) = (way.target, paths(&way.to, &way.from));
        let inbound = if *method == Method::Send {
            let (Ok(report), Ok(range)) = (head.failure_report(), head.byte_range()) else {
                self.answer(connection, head, StatusCode::BAD_REQUEST, &[]);
                return Ok(());
            };
            if range.is_some_and(|range| range.is_contradictory()) {
                self.answer(connection, head, StatusCode::BAD_REQUEST, &[]);
                return Ok(());
            }
            Inbound::Send(Box::new(Forward {
                target,
                paths,
                fields: fields(head, &["To-Path", "From-Path", "Byte-Range"]),
                us: way.us,
                report,
                held: BytesMut::new(),
                start: range.map_or(1, |range| range.start),
                total: range.and_then(|range| range.total),
                head: head.clone(),
            }))
        } else {
            Inbound::Other(Box::new(Other { target, paths, body: BytesMut::new(), head: head.clone() }))
        };
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.inbound = inbound;
            peer.is_proven = true;
        }
        Ok(())
    }

    /// RFC 4976 §6.4: the first URI was handed out by us, and the request goes to the client that has it, or comes from there.
    fn way(&mut self, now: Instant, connection: u64, to: &Path, from: &Path) -> Result<Way, StatusCode> {
        let mut rest = to.uris();
        let mut ours: Vec<Uri> = Vec::new();
        let mut came = Some(connection);
        loop {
            let [uri, after @ ..] = rest else { return Err(StatusCode::NO_SESSION) };
            let grant = uri
                .session_id()
                .and_then(|token| self.grants.get(token))
                .filter(|grant| grant.until > now && grant.uri == *uri)
                .ok_or(StatusCode::NO_SESSION)?;
            let next = after.first().ok_or(StatusCode::NO_SESSION)?;
            // Who comes by the same place twice goes in circles.
            if ours.contains(uri) || from.uris().contains(uri) {
                return Err(StatusCode::BAD_REQUEST);
            }
            let is_inward = *next == grant.hop;
            let is_outward = came == Some(grant.connection) && from.first() == Some(&grant.hop);
            let client = grant.connection;
            ours.insert(0, uri.clone());
            rest = after;
            let target = if is_inward {
                self.learn(connection, from);
                client
            } else if !is_outward {
                return Err(StatusCode::FORBIDDEN);
            } else if self.config.is_ours(next) {
                // The peer's relay is this one too.
                came = None;
                continue;
            } else {
                self.next_hop(next)?
            };
            let us = ours.last().cloned().ok_or(StatusCode::NO_SESSION)?;
            let to = Path::new(rest.to_vec()).map_err(|_| StatusCode::BAD_REQUEST)?;
            let from = Path::new(ours.iter().chain(from.uris()).cloned().collect());
            return Ok(Way { target, to, from: from.map_err(|_| StatusCode::BAD_REQUEST)?, us });
        }
    }

    /// The way back to who sends to a client of ours is the connection that he came on. His URI is his secret, so nobody else
    /// can take it; whoever has it first keeps it.
    fn learn(&mut self, connection: u64, from: &Path) {
        let Some(hop) = from.first().filter(|hop| !self.config.is_ours(hop)) else { return };
        if self.hops.contains_key(hop) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&connection).filter(|peer| peer.hops.len() < MAX_HOPS) {
            peer.hops.push(hop.clone());
            self.hops.insert(hop.clone(), connection);
        }
    }

    fn next_hop(&mut self, next: &Uri) -> Result<u64, StatusCode> {
        if let Some(connection) = self.hops.get(next) {
            return Ok(*connection);
        }
        // Who is behind a WebSocket has connected to us, or is reached by nobody (RFC 7977 §5.1, §5.2.2).
        if !next.is_tcp() {
            return Err(StatusCode::NO_SESSION);
        }
        let port = next.port().ok_or(StatusCode::BAD_REQUEST)?;
        let target = (next.host().to_ascii_lowercase(), port, next.is_secure());
        if let Some(connection) = self.targets.get(&target) {
            return Ok(*connection);
        }
        if self.peers.len() >= self.config.max_connections {
            return Err(StatusCode::TIMEOUT);
        }
        let connection = self.name();
        self.targets.insert(target.clone(), connection);
        self.peers.insert(connection, Peer::new(next.is_secure(), false, Some(target)));
        self.actions.push_back(Action::Connect { connection, uri: next.clone() });
        Ok(connection)
    }

    pub(super) fn body(&mut self, connection: u64, octets: Bytes) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        match &mut peer.inbound {
            Inbound::Nothing => {}
            Inbound::Other(other) => other.body.extend_from_slice(&octets),
            Inbound::Send(forward) if forward.held.len() < LEAST_PIECE => {
                forward.held.extend_from_slice(&octets);
            }
            Inbound::Send(_) => {
                // The last piece goes with the flag of the chunk, so one is always held.
                let Inbound::Send(mut forward) = std::mem::take(&mut peer.inbound) else { return };
                if !self.peers.contains_key(&forward.target) {
                    self.answer(connection, &forward.head, StatusCode::TIMEOUT, &[]);
                    return;
                }
                self.piece(connection, &mut forward, Flag::Continued);
                forward.held.extend_from_slice(&octets);
                if let Some(peer) = self.peers.get_mut(&connection) {
                    peer.inbound = Inbound::Send(forward);
                }
            }
        }
    }

    pub(super) fn end(&mut self, connection: u64, flag: Flag) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        match std::mem::take(&mut peer.inbound) {
            Inbound::Nothing => {}
            Inbound::Send(mut forward) => {
                let status = if self.peers.contains_key(&forward.target) {
                    self.piece(connection, &mut forward, flag);
                    StatusCode::OK
                } else {
                    StatusCode::TIMEOUT
                };
                self.answer(connection, &forward.head, status, &[]);
            }
            Inbound::Other(other) => self.other(connection, &other),
        }
    }

    /// Sends on what is held as a chunk of its own, or as several where a chunk is one message of a WebSocket (RFC 7977 §5.1).
    fn piece(&mut self, source: u64, forward: &mut Forward, flag: Flag) {
        if self.peers.get(&forward.target).is_some_and(|target| target.in_messages) {
            while forward.held.len() > MAX_WHOLE_CHUNK {
                let body = forward.held.split_to(MAX_WHOLE_CHUNK).freeze();
                self.chunk(source, forward, body, Flag::Continued);
            }
        }
        let body = forward.held.split().freeze();
        self.chunk(source, forward, body, flag);
    }

    fn chunk(&mut self, source: u64, forward: &mut Forward, body: Bytes, flag: Flag) {
        let id = self.fresh(forward.target, &body);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.counts.forwarded = self.counts.forwarded.saturating_add(1);
        self.counts.octets = self.counts.octets.saturating_add(length);
        let end = forward.start.saturating_add(length).saturating_sub(1);
        let range = ByteRange { start: forward.start, end: Some(end), total: forward.total };
        forward.start = forward.start.saturating_add(length);
        let writer = HeadWriter::request(id, &Method::Send).printed(&forward.paths);
        let target = forward.target;
        let pending = match forward.report {
            FailureReport::No => None,
            report => Some(Pending::Chunk {
                source,
                back: forward
                    .head
                    .get_bytes("From-Path")
                    .map(|path| Bytes::copy_from_slice(&path))
                    .unwrap_or_default(),
                us: forward.us.clone(),
                message: forward.head.message_id().ok().flatten(),
                range,
                report,
            }),
        };
        let transaction = pending.is_some().then_some(id);
        if forward.head.has_body() {
            // Content-Type stays the last of the fields (RFC 4975 §9).
            let head = writer.typed("Byte-Range", range).printed(&forward.fields).before_body();
            for octets in [head, body] {
                self.enqueue_piece(target, Piece { octets, is_last: false, transaction: None });
            }
            self.enqueue(target, end_line(&id, flag), transaction);
        } else {
            let writer = match forward.head.get_bytes("Byte-Range") {
                Some(range) => writer.copied("Byte-Range", &range),
                None => writer,
            };
            self.enqueue(target, writer.printed(&forward.fields).without_body(flag), transaction);
        }
        self.wait_for(source, target, id, pending);
    }

    fn other(&mut self, source: u64, other: &Other) {
        let Start::Request(method) = other.head.start() else { return };
        let target = other.target;
        if !self.peers.contains_key(&target) {
            return self.answer(source, &other.head, StatusCode::TIMEOUT, &[]);
        }
        self.counts.forwarded = self.counts.forwarded.saturating_add(1);
        let id = self.fresh(target, &other.body);
        let writer = HeadWriter::request(id, method)
            .printed(&other.paths)
            .printed(&fields(&other.head, &["To-Path", "From-Path"]));
        let octets = if other.head.has_body() {
            writer.with_body(&other.body, Flag::Complete)
        } else {
            writer.without_body(Flag::Complete)
        };
        let pending = (*method != Method::Report).then(|| Pending::Other {
            source,
            transaction: other.head.transaction(),
            signed: *method == Method::Auth && other.head.get("Authorization").is_some(),
        });
        self.enqueue(target, octets, pending.is_some().then_some(id));
        self.wait_for(source, target, id, pending);
    }

    fn wait_for(&mut self, source: u64, target: u64, id: Ident, pending: Option<Pending>) {
        let Some(peer) = self.peers.get_mut(&target) else { return };
        if let Some(pending) = pending {
            peer.pending.insert(id, pending);
        }
        let is_full = peer.is_full();
        if let Some(peer) = self.peers.get_mut(&source).filter(|_| is_full) {
            peer.blocked_on = Some(target);
        }
    }

    /// RFC 4976 §6.4.3.
    pub(super) fn response(&mut self, connection: u64, head: &Head, status: StatusCode) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        let pending = peer.pending.remove(&head.transaction());
        self.wake_waiters(connection);
        match pending {
            None => {}
            Some(Pending::Chunk { .. }) if status.is_success() => {}
            Some(chunk @ Pending::Chunk { .. }) => self.failed(Some(chunk), status),
            Some(Pending::Other { source, transaction, signed }) => {
                let (Ok(to), Ok(from)) = (head.to_path(), head.from_path()) else { return };
                let count = to.uris().iter().take_while(|uri| self.config.is_ours(uri)).count();
                let (ours, rest) = to.uris().split_at(count);
                let is_stale = head
                    .get("WWW-Authenticate")
                    .is_some_and(|value| value.to_ascii_lowercase().contains("stale=true"));
                if let Some(peer) = self.peers.get_mut(&source)
                    && signed
                    && status == StatusCode::UNAUTHORIZED
                    && !is_stale
                {
                    peer.failures = peer.failures.saturating_add(1);
                }
                let from = ours.iter().rev().chain(from.uris()).cloned().collect();
                let (Ok(to), Ok(from)) = (Path::new(rest.to_vec()), Path::new(from)) else { return };
                let response = HeadWriter::response(transaction, status, head.comment())
                    .printed(&paths(&to, &from))
                    .printed(&fields(head, &["To-Path", "From-Path"]));
                self.enqueue(source, response.without_body(Flag::Complete), None);
            }
        }
    }
}
