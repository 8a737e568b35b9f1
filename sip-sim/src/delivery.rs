//! How the simulated network carries what nodes send: datagrams, and messages over connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::framing::{Frame, StreamDecoder};
use sip_transport::{
    Close, CloseReason, FlowEvent, FlowId, KeepAliveAnswer, Path, SendError, Token, Transmit, Transport,
    ingress,
};

use crate::agenda::{Happening, later};
use crate::conditions::Conditions;
use crate::nat::Route;
use crate::sim::Sim;
use crate::streams::{Connection, End};
use crate::trace::{Fate, What};

/// The largest payload of a UDP datagram over IPv4.
const MAX_DATAGRAM: usize = 65_507;

/// How long connecting over a cut link takes to fail, and a connection over one to break: the connect limit of the
/// driver over sockets, and about the time in which TCP gives up retransmitting over short round trips.
const CONNECT_TIMEOUT: Duration = sip_transport::limits::Limits::CONNECT;
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// TCP's first retransmission timeout once it has measured the path (RFC 6298 has a minimum of 1 s, kernels 200 ms).
const SEGMENT_RETRANSMISSION: Duration = Duration::from_millis(200);

/// Losses of one segment in a row that are counted: more would only be waiting.
const SEGMENT_LOSSES: u32 = 6;

impl Sim {
    pub(crate) fn send(&mut self, node: usize, transmit: Transmit) {
        let Transmit { path, payload, reopen, token, domain: _ } = transmit;
        if path.transport == Transport::Udp {
            return self.send_datagram(node, path, payload, token);
        }
        if let Some(flow) = path.flow {
            if let Some((connection, side)) = self.streams.by_flow(flow) {
                return self.send_segment(connection, side, payload, token);
            }
            match reopen {
                Some(remote) => {
                    return self.send_stream(node, Path { remote, flow: None, ..path }, payload, token);
                }
                None => return self.cannot_send(node, path, payload, token, SendError::Closed),
            }
        }
        self.send_stream(node, path, payload, token);
    }

    fn cannot_send(&mut self, node: usize, path: Path, payload: Bytes, token: Token, error: SendError) {
        self.record(node, |_| What::Sent { path, to: None, payload, fate: Fate::Failed });
        self.fail(node, token, path, error, Duration::ZERO);
    }

    fn send_datagram(&mut self, node: usize, path: Path, payload: Bytes, token: Token) {
        let Some(local) = self.local_of(node, &path) else {
            return self.cannot_send(node, path, payload, token, SendError::NoLocal);
        };
        let path = Path { local, ..path };
        if payload.len() > MAX_DATAGRAM {
            return self.cannot_send(node, path, payload, token, SendError::TooLarge);
        }
        let Route::To { at, seen_from } = self.route_datagram(node, local, path.remote) else {
            self.counters.swallowed = self.counters.swallowed.saturating_add(1);
            return self.record(node, |_| What::Sent { path, to: None, payload, fate: Fate::Swallowed });
        };
        let listener = self.listeners.get(&(Transport::Udp, at)).copied();
        let listener = listener.filter(|(to, _)| self.hosts.get(*to).is_some_and(|host| host.core.is_some()));
        let Some((to, flow)) = listener else {
            return self.record(node, |_| What::Sent { path, to: None, payload, fate: Fate::NobodyThere });
        };
        if self.links.is_cut(node, to) {
            return self.record(node, |_| What::Sent { path, to: Some(to), payload, fate: Fate::Cut });
        }
        if self.links.loses(node, to, &mut self.random) {
            self.counters.lost = self.counters.lost.saturating_add(1);
            return self.record(node, |_| What::Sent { path, to: Some(to), payload, fate: Fate::Lost });
        }
        let conditions = self.links.of(node, to);
        let twice = self.random.chance(conditions.duplicate);
        let first = self.arrival_of_datagram(node, to, &conditions);
        let second = twice.then(|| self.arrival_of_datagram(node, to, &conditions));
        let theirs = Path { transport: Transport::Udp, local: at, remote: seen_from, flow: Some(flow) };
        self.record(node, |sim| {
            let fate = match second {
                Some(second) => Fate::ArrivesTwice(sim.since_start(first), sim.since_start(second)),
                None => Fate::Arrives(sim.since_start(first)),
            };
            What::Sent { path, to: Some(to), payload: payload.clone(), fate }
        });
        if let Some(second) = second {
            self.counters.duplicated = self.counters.duplicated.saturating_add(1);
            let copy = Happening::Datagram { node: to, path: theirs, payload: payload.clone() };
            self.schedule(second, copy);
        }
        self.schedule(first, Happening::Datagram { node: to, path: theirs, payload });
    }

    fn arrival_of_datagram(&mut self, from: usize, to: usize, conditions: &Conditions) -> Instant {
        let arrival = later(self.now, conditions.draw_delay(&mut self.random));
        if self.random.chance(conditions.reorder) {
            return arrival;
        }
        self.links.in_order(from, to, arrival)
    }

    /// The bound address that a datagram leaves from.
    fn local_of(&self, node: usize, path: &Path) -> Option<SocketAddr> {
        let host = self.hosts.get(node)?;
        if let Some(flow) = path.flow {
            let at = host.flows.iter().position(|own| *own == flow);
            if let Some(local) = at.and_then(|at| host.locals.iter().nth(at)) {
                return Some(local.bound);
            }
        }
        host.locals.at(path).map(|local| local.bound)
    }

    /// Sends over the connection that leads to the remote, or over a new one.
    fn send_stream(&mut self, node: usize, path: Path, payload: Bytes, token: Token) {
        if let Some((connection, side)) = self.streams.by_remote(node, path.transport, path.remote) {
            return self.send_segment(connection, side, payload, token);
        }
        let Some(local) = self.local_of(node, &path) else {
            return self.cannot_send(node, path, payload, token, SendError::NoLocal);
        };
        let port = self.ephemeral_port(node);
        let path = Path { local: SocketAddr::new(local.ip(), port), ..path };
        let route = self.route_connection(node, path.transport, path.local, path.remote);
        let Route::To { at, seen_from } = route else {
            self.record(node, |_| What::Sent { path, to: None, payload, fate: Fate::Swallowed });
            return self.fail(node, token, path, SendError::TimedOut, CONNECT_TIMEOUT);
        };
        let listener = self.listeners.get(&(path.transport, at)).copied();
        let Some((to, _)) = listener else {
            self.record(node, |_| What::Sent { path, to: None, payload, fate: Fate::NobodyThere });
            return self.fail(node, token, path, SendError::Refused, self.links.general.delay.1);
        };
        if self.links.is_cut(node, to) || self.links.is_cut(to, node) {
            self.record(node, |_| What::Sent { path, to: Some(to), payload, fate: Fate::Cut });
            return self.fail(node, token, path, SendError::TimedOut, CONNECT_TIMEOUT);
        }
        let there = self.segment_delay(node, to);
        let back = self.segment_delay(to, node);
        if self.hosts.get(to).is_none_or(|host| host.core.is_none()) {
            self.record(node, |_| What::Sent { path, to: Some(to), payload, fate: Fate::NobodyThere });
            return self.fail(node, token, path, SendError::Refused, there.saturating_add(back));
        }

        let ours = Path { flow: Some(self.new_flow()), ..path };
        let theirs =
            Path { transport: path.transport, local: at, remote: seen_from, flow: Some(self.new_flow()) };
        let accepted = later(self.now, there);
        let opened = later(accepted, back);
        let end = |node, path, decoder, last_arrival| End {
            node,
            gone: false,
            path,
            decoder,
            last_heard: self.now,
            last_arrival,
            stalled: VecDeque::new(),
        };
        // The first bytes of the opener follow the handshake.
        let ends = [
            end(node, ours, StreamDecoder::of_opener(self.limits), later(opened, there)),
            end(to, theirs, StreamDecoder::new(self.limits), opened),
        ];
        let connection = self.streams.insert(Connection { opened, ends });
        let event = FlowEvent::Opened { path: theirs };
        self.schedule(accepted, Happening::Flow { node: to, event });
        self.schedule(opened, Happening::Flow { node, event: FlowEvent::Opened { path: ours } });
        self.send_segment(connection, 0, payload, token);
    }

    fn send_segment(&mut self, id: u64, side: usize, payload: Bytes, token: Token) {
        let now = self.now;
        let Some(connection) = self.streams.get_mut(id) else { return };
        if payload.is_empty() {
            let End { node, path, .. } = *connection.end(side);
            let at = connection.opened.max(now);
            let event = FlowEvent::Ready { token, path };
            return self.schedule(at, Happening::Flow { node, event });
        }
        let (from, to) = (connection.end(side).node, connection.end(1 - side).node);
        let end = connection.end_mut(side);
        let path = end.path;
        let last_arrival = end.last_arrival;
        if self.links.is_cut(from, to) || !end.stalled.is_empty() {
            end.stalled.push_back((now, payload.clone(), token));
            self.record(from, |_| What::Sent { path, to: Some(to), payload, fate: Fate::Cut });
            return self.schedule(later(now, STALL_TIMEOUT), Happening::Stalled { connection: id, side });
        }
        let delay = self.segment_delay(from, to);
        let arrival = later(now, delay).max(last_arrival);
        if let Some(connection) = self.streams.get_mut(id) {
            connection.end_mut(side).last_arrival = arrival;
        }
        self.record(from, |sim| What::Sent {
            path,
            to: Some(to),
            payload: payload.clone(),
            fate: Fate::Arrives(sim.since_start(arrival)),
        });
        let torn = self.links.torn(from, to);
        let payload = payload.slice(..torn.unwrap_or(payload.len()).min(payload.len()));
        self.schedule(arrival, Happening::Segment { connection: id, side: 1 - side, payload });
        if torn.is_some() {
            self.schedule(arrival, Happening::Break { connection: id, error: SendError::Closed });
        }
    }

    /// The time a segment takes, with the retransmissions that losses cost.
    fn segment_delay(&mut self, from: usize, to: usize) -> Duration {
        let conditions = self.links.of(from, to);
        let mut delay = conditions.draw_delay(&mut self.random);
        let mut timeout = SEGMENT_RETRANSMISSION;
        for _ in 0..SEGMENT_LOSSES {
            if !self.random.chance(conditions.loss) {
                break;
            }
            delay = delay.saturating_add(timeout);
            timeout = timeout.saturating_mul(2);
        }
        delay
    }

    pub(crate) fn segment(&mut self, id: u64, side: usize, payload: &Bytes) {
        let now = self.now;
        let Some(connection) = self.streams.get_mut(id) else { return };
        let other = connection.end(1 - side).node;
        let end = connection.end_mut(side);
        let (node, path) = (end.node, end.path);
        if end.gone {
            return self.segment_to_nobody(id, node, other);
        }
        end.last_heard = now;
        end.decoder.push(payload);
        loop {
            // A core may close the connection while it handles a message: look it up again each time.
            let Some(connection) = self.streams.get_mut(id) else { return };
            match connection.end_mut(side).decoder.next_frame() {
                Ok(Some(Frame::Message(message))) => {
                    let received = ingress::message(message, path);
                    self.arrive(node, path, payload.clone(), received);
                }
                Ok(Some(Frame::Ping)) => {
                    self.counters.keep_alives = self.counters.keep_alives.saturating_add(1);
                    self.send_segment(id, side, Bytes::from_static(b"\r\n"), Token::NONE);
                }
                Ok(Some(Frame::Pong)) => {
                    let answer = KeepAliveAnswer::Pong;
                    self.touch(node, |core| core.flow_event(now, FlowEvent::KeptAlive { path, answer }));
                }
                Ok(None) => return,
                Err(error) => {
                    self.counters.rejected = self.counters.rejected.saturating_add(1);
                    self.record(node, |_| What::Rejected { path, reason: error.to_string() });
                    return self.close(id, CloseReason::Malformed, CloseReason::Peer, side);
                }
            }
        }
    }

    /// Something came over a connection that this end knows nothing of: a reset goes back, or nothing from a node that
    /// is switched off.
    fn segment_to_nobody(&mut self, id: u64, node: usize, other: usize) {
        let is_up = self.hosts.get(node).is_some_and(|host| host.core.is_some());
        let (after, error) = if is_up {
            (self.segment_delay(node, other), SendError::Closed)
        } else {
            (STALL_TIMEOUT, SendError::TimedOut)
        };
        self.schedule(later(self.now, after), Happening::Break { connection: id, error });
    }

    /// Breaks a connection for both ends.
    pub(crate) fn break_connection(&mut self, id: u64, error: SendError) {
        self.close(id, CloseReason::Error(error), CloseReason::Error(error), 0);
    }

    /// A core wants connections of its own closed.
    pub(crate) fn close_wanted(&mut self, node: usize, wanted: Close) {
        match wanted {
            Close::Flow(flow) => self.close_flow(flow),
            Close::Silent { path, since } => {
                for flow in self.streams.silent(node, &path, since) {
                    self.close_flow(flow);
                }
            }
        }
    }

    fn close_flow(&mut self, flow: FlowId) {
        let Some((id, side)) = self.streams.by_flow(flow) else { return };
        let Some(connection) = self.streams.get_mut(id) else { return };
        let (node, other) = (connection.end(side).node, connection.end(1 - side).node);
        if !self.links.is_cut(node, other) {
            return self.close(id, CloseReason::Local, CloseReason::Peer, side);
        }
        // The peer cannot be told: for it the connection stands until it is used.
        if let Some(path) = self.streams.forget_end(id, node) {
            let event = FlowEvent::Closed { path, reason: CloseReason::Local };
            self.schedule(self.now, Happening::Flow { node, event });
        }
    }

    fn close(&mut self, id: u64, reason: CloseReason, reason_there: CloseReason, side: usize) {
        let Some(connection) = self.streams.remove(id) else { return };
        for (at, end) in connection.ends.into_iter().enumerate().filter(|(_, end)| !end.gone) {
            for (_, _, token) in end.stalled {
                self.fail(end.node, token, end.path, SendError::Closed, Duration::ZERO);
            }
            let reason = if at == side { reason } else { reason_there };
            let event = FlowEvent::Closed { path: end.path, reason };
            self.schedule(self.now, Happening::Flow { node: end.node, event });
        }
    }

    pub(crate) fn give_up_stalled(&mut self, id: u64, side: usize) {
        let now = self.now;
        let Some(connection) = self.streams.get_mut(id) else { return };
        let oldest = connection.end(side).stalled.front().map(|(since, _, _)| *since);
        if oldest.is_some_and(|since| now.saturating_duration_since(since) >= STALL_TIMEOUT) {
            self.break_connection(id, SendError::TimedOut);
        }
    }

    /// Sends what waited for links that are whole again.
    pub(crate) fn resume_streams(&mut self) {
        for id in self.streams.select(|c| c.ends.iter().any(|end| !end.stalled.is_empty())) {
            for side in 0..2 {
                let Some(connection) = self.streams.get_mut(id) else { break };
                let waiting = std::mem::take(&mut connection.end_mut(side).stalled);
                for (_, payload, token) in waiting {
                    self.send_segment(id, side, payload, token);
                }
            }
        }
    }
}
