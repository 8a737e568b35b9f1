//! NAT boxes: what they do to datagrams (RFC 4787; the four kinds have the names of RFC 3489).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sip_transport::Transport;

use crate::node::AnyNode;
use crate::sim::Sim;

/// How a NAT maps what goes out and filters what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// One mapping for all peers, and everybody may use it (endpoint-independent filtering).
    FullCone,
    /// One mapping; in comes what is from an address that something was sent to (address-dependent filtering).
    Restricted,
    /// One mapping; in comes what is from an address and port that something was sent to (address- and port-dependent
    /// filtering).
    PortRestricted,
    /// A mapping for each peer, for that peer alone (address- and port-dependent mapping).
    Symmetric,
}

impl NatKind {
    /// All of them, from the most open to the most closed.
    pub const ALL: [NatKind; 4] =
        [NatKind::FullCone, NatKind::Restricted, NatKind::PortRestricted, NatKind::Symmetric];
}

/// A NAT of a [`Sim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatId(pub(crate) usize);

/// The first port that a NAT gives to the outside.
const FIRST_PORT: u16 = 20_000;

#[derive(Debug)]
pub(crate) struct Nat {
    kind: NatKind,
    public: IpAddr,
    /// A mapping that nothing went out of for so long is gone. What comes in does not keep it (RFC 4787 REQ-6).
    timeout: Duration,
    mappings: BTreeMap<u16, Mapping>,
    next_port: u16,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    /// The only peer it is for, if the NAT is symmetric.
    peer: Option<SocketAddr>,
    sent_to: BTreeSet<SocketAddr>,
    last_out: Instant,
}

impl Nat {
    fn is_alive(&self, mapping: &Mapping, now: Instant) -> bool {
        now.saturating_duration_since(mapping.last_out) <= self.timeout
    }

    fn new_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    /// The address that the outside sees of a datagram that goes out.
    fn outbound(&mut self, now: Instant, inside: SocketAddr, remote: SocketAddr) -> SocketAddr {
        let peer = (self.kind == NatKind::Symmetric).then_some(remote);
        let mut found = self.mappings.iter();
        let found = found.find(|(_, mapping)| {
            (mapping.inside, mapping.peer) == (inside, peer) && self.is_alive(mapping, now)
        });
        let port = match found.map(|(port, _)| *port) {
            Some(port) => port,
            None => self.new_port(),
        };
        let fresh = Mapping { inside, peer, sent_to: BTreeSet::new(), last_out: now };
        let mapping = self.mappings.entry(port).or_insert(fresh);
        if mapping.inside != inside || mapping.peer != peer {
            *mapping = Mapping { inside, peer, sent_to: BTreeSet::new(), last_out: now };
        }
        mapping.last_out = now;
        mapping.sent_to.insert(remote);
        SocketAddr::new(self.public, port)
    }

    /// Where a datagram from outside goes, if it is let in.
    fn inbound(&self, now: Instant, port: u16, from: SocketAddr) -> Option<SocketAddr> {
        let mapping = self.mappings.get(&port).filter(|mapping| self.is_alive(mapping, now))?;
        let known = match self.kind {
            NatKind::FullCone => true,
            NatKind::Restricted => mapping.sent_to.iter().any(|peer| peer.ip() == from.ip()),
            NatKind::PortRestricted | NatKind::Symmetric => mapping.sent_to.contains(&from),
        };
        known.then_some(mapping.inside)
    }
}

/// Where something that is sent comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// At this address, seen as coming from that one.
    To { at: SocketAddr, seen_from: SocketAddr },
    /// Nowhere: a NAT or a black hole swallows it.
    Swallowed,
}

impl Sim {
    /// Adds a NAT with this address on the outside. A mapping lasts for `timeout` after the last datagram that went
    /// out. What is sent from inside to the outer address is dropped: no hairpinning.
    pub fn add_nat(&mut self, kind: NatKind, public: IpAddr, timeout: Duration) -> NatId {
        let (mappings, next_port) = (BTreeMap::new(), FIRST_PORT);
        self.nats.push(Nat { kind, public, timeout, mappings, next_port });
        NatId(self.nats.len().saturating_sub(1))
    }

    /// Puts a node behind a NAT: from outside its own addresses lead nowhere.
    pub fn put_behind(&mut self, nat: NatId, node: impl Into<AnyNode>) {
        if let Some(host) = self.hosts.get_mut(node.into().0) {
            host.nat = Some(nat.0);
        }
    }

    /// Makes a NAT forget all its mappings, as switching it off and on does.
    pub fn restart_nat(&mut self, nat: NatId) {
        if let Some(nat) = self.nats.get_mut(nat.0) {
            nat.mappings.clear();
        }
    }

    /// The way of a datagram through the NATs.
    pub(crate) fn route_datagram(&mut self, node: usize, local: SocketAddr, remote: SocketAddr) -> Route {
        self.route(node, Transport::Udp, remote, |nat, now| nat.outbound(now, local, remote), local)
    }

    /// The way of a connection: through the NAT of who opens it, and through no other.
    pub(crate) fn route_connection(
        &mut self,
        node: usize,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Route {
        if self.nats.iter().any(|nat| nat.public == remote.ip()) {
            return Route::Swallowed;
        }
        self.route(node, transport, remote, |nat, _| SocketAddr::new(nat.public, nat.new_port()), local)
    }

    fn route(
        &mut self,
        node: usize,
        transport: Transport,
        remote: SocketAddr,
        outside: impl FnOnce(&mut Nat, Instant) -> SocketAddr,
        local: SocketAddr,
    ) -> Route {
        if self.black_holes.contains(&remote.ip()) {
            return Route::Swallowed;
        }
        if self.nats.is_empty() {
            return Route::To { at: remote, seen_from: local };
        }
        let now = self.now;
        let nat_of = |sim: &Sim, node: usize| sim.hosts.get(node).and_then(|host| host.nat);
        let own = nat_of(self, node);
        let owner = self.listeners.get(&(transport, remote)).map(|(owner, _)| *owner);
        let theirs = owner.and_then(|owner| nat_of(self, owner));
        if owner.is_some() && theirs == own {
            return Route::To { at: remote, seen_from: local };
        }
        if theirs.is_some() {
            return Route::Swallowed; // an address that means something behind that NAT alone
        }
        let seen_from = match own.and_then(|own| self.nats.get_mut(own)) {
            Some(nat) if nat.public == remote.ip() => return Route::Swallowed,
            Some(nat) => outside(nat, now),
            None => local,
        };
        match self.nats.iter().find(|nat| nat.public == remote.ip()) {
            Some(nat) => match nat.inbound(now, remote.port(), seen_from) {
                Some(at) => Route::To { at, seen_from },
                None => Route::Swallowed,
            },
            None => Route::To { at: remote, seen_from },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], port))
    }

    /// Who gets in through a mapping after something went out to .1:1000: the same, another port, another address.
    fn lets_in(kind: NatKind) -> [bool; 3] {
        let (now, timeout) = (Instant::now(), Duration::from_secs(30));
        let public = "203.0.113.1".parse().unwrap();
        let mut nat = Nat { kind, public, timeout, mappings: BTreeMap::new(), next_port: FIRST_PORT };
        let inside = SocketAddr::from(([10, 0, 0, 1], 5060));
        let mapped = nat.outbound(now, inside, at(1, 1000));
        assert_eq!(nat.outbound(now, inside, at(1, 1000)), mapped, "the same peer, the same mapping");
        assert_eq!(nat.outbound(now, inside, at(9, 9)) == mapped, kind != NatKind::Symmetric);
        let late = now + timeout + Duration::from_nanos(1);
        assert_eq!(nat.inbound(late, mapped.port(), at(1, 1000)), None, "its time is over");
        [at(1, 1000), at(1, 1001), at(2, 1000)]
            .map(|from| nat.inbound(now, mapped.port(), from) == Some(inside))
    }

    #[test]
    fn rfc_4787_each_kind_lets_in_what_it_should() {
        assert_eq!(lets_in(NatKind::FullCone), [true, true, true]);
        assert_eq!(lets_in(NatKind::Restricted), [true, true, false]);
        assert_eq!(lets_in(NatKind::PortRestricted), [true, false, false]);
        assert_eq!(lets_in(NatKind::Symmetric), [true, false, false]);
    }
}
