//! A network and a clock made of memory: runs SIP cores in virtual time with seeded loss, duplication and reordering.
//!
//! A [`Sim`] holds nodes, each a [`Core`](sip_transport::Core) at addresses of its own: the very cores that the driver
//! of `sip-transport` runs over sockets. Messages travel as bytes and are parsed where they arrive. Time jumps from one
//! thing that happens to the next, so an hour of a call takes milliseconds, and one seed is one run: the same each time.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use sip_sim::{Conditions, Sim, for_each_seed};
//! use sip_transport::{Answer, Core, FlowEvent, Path, Query, Received, Token, Transmit, Transport, response};
//! use sip_message::{Message, StatusCode};
//!
//! /// Answers each request with 200, and remembers the responses it got.
//! #[derive(Default)]
//! struct Peer { out: Vec<Transmit>, responses: usize }
//!
//! impl Core for Peer {
//!     fn receive(&mut self, _now: Instant, received: Received) {
//!         match received.message {
//!             Message::Request(request) => {
//!                 let answer = request.reply(StatusCode::OK).to_tag("b").build().unwrap();
//!                 let way = response::path_of(&answer, &received.path).unwrap();
//!                 let payload = answer.to_bytes();
//!                 self.out.push(Transmit { path: way.path, payload, reopen: way.reopen, token: Token::NONE });
//!             }
//!             Message::Response(_) => self.responses += 1,
//!         }
//!     }
//!     fn poll_transmit(&mut self) -> Option<Transmit> { self.out.pop() }
//!     // ...
//! #   fn flow_event(&mut self, _: Instant, _: FlowEvent) {}
//! #   fn resolved(&mut self, _: Instant, _: Answer) {}
//! #   fn handle_timeout(&mut self, _: Instant) {}
//! #   fn poll_timeout(&self) -> Option<Instant> { None }
//! #   fn poll_query(&mut self) -> Option<Query> { None }
//! }
//!
//! for_each_seed(20, |seed| {
//!     let mut sim = Sim::new(seed, Conditions::rough(0.0));
//!     let (a, b) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
//!     let alice = sim.add("alice", Sim::locals(a, &[Transport::Udp]), Peer::default());
//!     let _bob = sim.add("bob", Sim::locals(b, &[Transport::Udp]), Peer::default());
//!     sim.with(alice, |alice, _now| {
//!         let payload = "OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
//!             From: <sip:a@b>;tag=a\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n".into();
//!         alice.out.push(Transmit { path: Path::to(Transport::Udp, b), payload, reopen: None, token: Token::NONE });
//!     });
//!     assert!(sim.run_until_idle(Duration::from_secs(10)));
//!     assert!(sim.node(alice).responses >= 1);
//! });
//! ```
//!
//! A failing seed is printed; `SIM_SEED=n` replays it alone and prints its [`Trace`], and `SIM_PCAP=file` writes what
//! was sent for Wireshark.

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
