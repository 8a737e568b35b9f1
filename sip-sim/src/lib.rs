//! A network and a clock made of memory: test a SIP service in virtual time, over networks as bad as they come.
//!
//! A [`Sim`] holds nodes, each a [`Core`](sip_transport::Core) at addresses of its own: the very cores that the driver
//! of `sip-transport` runs over sockets. Messages travel as bytes and are parsed where they arrive. Time jumps from one
//! thing that happens to the next, so an hour of a call takes milliseconds, and one seed is one run: the same each time.
//!
//! # Test your own service
//!
//! Your service is a core. The other side is a [`Script`], which reads like a call flow and uses no part of the stack
//! but the messages. [`Runs`] plays both with many seeds; [`Invariants`] looks at what was on the wire.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use sip_message::{Message, Method, StatusCode};
//! use sip_sim::{Conditions, Invariants, Runs, Script, Sim};
//! use sip_transport::{Answer, Core, FlowEvent, Query, Received, Token, Transmit, Transport, response};
//!
//! /// The service under test: nobody is ever at home.
//! #[derive(Default)]
//! struct Nobody { out: Vec<Transmit> }
//!
//! impl Core for Nobody {
//!     fn receive(&mut self, _now: Instant, received: Received) {
//!         let Message::Request(request) = received.message else { return };
//!         let status = match request.method() {
//!             Method::Invite => StatusCode::TEMPORARILY_UNAVAILABLE,
//!             Method::Ack => return,
//!             _ => StatusCode::OK,
//!         };
//!         let answer = request.reply(status).to_tag("nobody").build().unwrap();
//!         let way = response::path_of(&answer, &received.path).unwrap();
//!         let payload = answer.to_bytes();
//!         self.out.push(Transmit { path: way.path, payload, reopen: way.reopen, domain: None, token: Token::NONE });
//!     }
//!     fn poll_transmit(&mut self) -> Option<Transmit> { self.out.pop() }
//!     // ... and nothing to do with time, connections and names
//! #   fn flow_event(&mut self, _: Instant, _: FlowEvent) {}
//! #   fn resolved(&mut self, _: Instant, _: Answer) {}
//! #   fn handle_timeout(&mut self, _: Instant) {}
//! #   fn poll_timeout(&self) -> Option<Instant> { None }
//! #   fn poll_query(&mut self) -> Option<Query> { None }
//! }
//!
//! // A hundred networks, from good to one that loses a fifth.
//! Runs::new(100).conditions(|seed| Conditions::rough((seed % 20) as f64 / 100.0)).each(|run| {
//!     let mut sim = run.sim();
//!     let at = "192.0.2.2:5060";
//!     sim.add("service", Sim::locals(at.parse().unwrap(), &[Transport::Udp, Transport::Tcp]), Nobody::default());
//!     let alice = Script::new("192.0.2.1:5060").to("sip:nobody@example.com", at)
//!         .send("OPTIONS").expect("200").send("INVITE").expect("480");
//!     let alice = sim.add_script("alice", alice);
//!
//!     assert!(sim.run_until_idle(Duration::from_secs(300)), "it never comes to rest");
//!     sim.node(alice).assert_done();
//!     Invariants::new().assert(sim.trace());
//! });
//! ```
//!
//! When a run fails, its seed is printed and then the simplest run that fails too: with less loss, no duplicates, a
//! shorter scenario. It comes as a ladder, and a capture for Wireshark lies beside it:
//!
//! ```text
//! seed 17 failed: alice: line 4: expected 480, and nothing came for 40s
//! the simplest that fails too: seed 17, size 1, 0 % lost, 0 % twice, 0 % out of order, 5 to 5 ms
//!         time           service                        alice
//!        0.000              |<------ OPTIONS 1 -----------|
//!        0.005              |------ 200 OPTIONS 1 ------->|
//!        0.010              |<------- INVITE 2 -----------|
//! ```
//!
//! `SIM_SEED=n` in the environment runs one seed alone, `SIM_PCAP=file` says where the capture goes.
//!
//! # What can go wrong
//!
//! | on the way | how |
//! |---|---|
//! | loss, alone and in bursts; duplicates, reordering, delay and jitter | [`Conditions`], [`Burst`], for all links or [one](Sim::set_link) |
//! | parts of the network lose each other | [`Sim::partition`], [`Sim::group`] and [`Sim::partition_groups`], [`Sim::heal`] |
//! | NATs, with mappings that run out | [`Sim::add_nat`], [`NatKind`], [`Sim::restart_nat`] |
//! | an address swallows everything | [`Sim::black_hole`] |
//! | connections break, in mid-message or on one side alone | [`Sim::sever`], [`Sim::reset_within_message`], [`Sim::half_open`] |
//! | nodes end, lose power, come back | [`Sim::stop`], [`Sim::crash`], [`Sim::restart`] |
//! | names: late, silent, failing, wrong | [`Sim::zone`], [`DnsConditions`] |
//!
//! `cargo run --release -p sip-sim --example soak -- --seeds 1000000` does it for an hour or a night.

mod agenda;
mod conditions;
mod delivery;
mod failure;
mod invariants;
mod ladder;
mod nat;
mod network;
mod node;
mod random;
mod runs;
mod script;
mod seeds;
mod sim;
mod streams;
mod trace;
mod zone;

pub use conditions::{Burst, Conditions, DnsConditions};
pub use invariants::{Invariants, Violation};
pub use ladder::Ladder;
pub use nat::{NatId, NatKind};
pub use node::{AnyNode, Node, NodeId};
pub use runs::{Run, Runs};
pub use script::Script;
pub use seeds::{PCAP_VARIABLE, SEED_VARIABLE, for_each_seed, replayed_seed};
pub use sim::{Counters, Sim};
pub use trace::{Entry, Fate, Trace, What};
pub use zone::Zone;
