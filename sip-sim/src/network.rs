//! The network as a test sees it: conditions of links, what is cut and healed, connections that break.

use std::net::IpAddr;

use crate::agenda::Happening;
use crate::conditions::Conditions;
use crate::node::{AnyNode, NodeId};
use crate::sim::Sim;
use sip_transport::{CloseReason, FlowEvent, SendError};

impl Sim {
    /// Changes the conditions of all links that have none of their own.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.links.general = conditions;
    }

    /// Gives the way from one node to another its own conditions. The way back keeps its own.
    pub fn set_link<A, B>(&mut self, from: NodeId<A>, to: NodeId<B>, conditions: Conditions) {
        self.links.set(from.index, to.index, conditions);
    }

    /// Cuts the way from one node to another: datagrams vanish, connections wait and break in the end.
    pub fn cut<A, B>(&mut self, from: NodeId<A>, to: NodeId<B>) {
        self.links.cut(from.index, to.index);
    }

    /// Cuts both ways between two nodes.
    pub fn partition<A, B>(&mut self, one: NodeId<A>, other: NodeId<B>) {
        self.links.cut(one.index, other.index);
        self.links.cut(other.index, one.index);
    }

    /// Heals everything that was cut. What waits on connections goes on its way.
    pub fn heal(&mut self) {
        self.links.heal();
        self.resume_streams();
    }

    /// Gives some nodes a name, for [`partition_groups`](Sim::partition_groups).
    pub fn group(&mut self, name: &str, nodes: impl IntoIterator<Item = AnyNode>) {
        self.links.set_group(name, nodes.into_iter().map(|node| node.0).collect());
    }

    /// Cuts every way between the nodes of two groups. Within a group everything goes on.
    pub fn partition_groups(&mut self, one: &str, other: &str) {
        for (from, to) in self.links.between(one, other) {
            self.links.cut(from, to);
        }
    }

    /// Heals what is cut between two groups.
    pub fn heal_groups(&mut self, one: &str, other: &str) {
        for (from, to) in self.links.between(one, other) {
            self.links.mend(from, to);
        }
        self.resume_streams();
    }

    /// Makes an address swallow whatever is sent to it: datagrams vanish, connections are never opened, nobody says
    /// why. As a broken tunnel does, or a firewall.
    pub fn black_hole(&mut self, ip: IpAddr) {
        self.black_holes.insert(ip);
    }

    /// Lets the next message over a connection from one node to the other end after so many octets: then the connection
    /// is reset, and both are told.
    pub fn reset_within_message<A, B>(&mut self, from: NodeId<A>, to: NodeId<B>, octets: usize) {
        self.links.tear(from.index, to.index, octets);
    }

    /// Makes all connections between two nodes half-open: `gone` knows that they are closed, `left` believes that they
    /// stand until it sends something and is answered with a reset (RFC 9293 §3.5.1).
    pub fn half_open<A, B>(&mut self, left: NodeId<A>, gone: NodeId<B>) {
        let both = [left.index, gone.index];
        for connection in self.streams.select(|c| c.ends.iter().all(|end| both.contains(&end.node))) {
            if let Some(path) = self.streams.forget_end(connection, gone.index) {
                let event = FlowEvent::Closed { path, reason: CloseReason::Error(SendError::Closed) };
                self.schedule(self.now, Happening::Flow { node: gone.index, event });
            }
        }
    }

    /// Breaks all connections between two nodes; both are told.
    pub fn sever<A, B>(&mut self, one: NodeId<A>, other: NodeId<B>) {
        let both = [one.index, other.index];
        let between = self.streams.select(|c| c.ends.iter().all(|end| both.contains(&end.node)));
        for connection in between {
            self.break_connection(connection, SendError::Closed);
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.streams.len()
    }
}
