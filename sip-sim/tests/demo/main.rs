//! Whole calls in virtual time: the very phones and the very server that run over sockets, on a network that loses,
//! repeats and reorders. `SIM_SEED=n` replays one run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod flows;
mod moves;
mod nat;
mod person;
mod service_route;
mod two_flows;
mod world;

use std::time::Duration;

use person::{Act, Person};
use sdp::Direction;
use sip_dialog::Cause;
use sip_message::headers::Route;
use sip_server::ServerCore;
use sip_sim::{Conditions, NodeId, Runs, Sim, for_each_seed};
use sip_transport::Transport;
use world::{ALICE, BOB, SERVER, customer, loss, phone, play, same_picture, server, settle};

/// Two phones and nothing between: call, hold, resume, hang up.
#[test]
fn two_phones_alone() {
    for_each_seed(1000, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(loss(seed)));
        let core = phone(&mut sim, "alice", ALICE, |_| {});
        let locals = Sim::locals(ALICE.parse().unwrap(), &[Transport::Udp]);
        let person = Person::new(core, "192.0.2.1:4000", Some("sip:bob@192.0.2.2"));
        let alice: NodeId<Person> = sim.add("alice", locals, person);
        let core = phone(&mut sim, "bob", BOB, |_| {});
        let locals = Sim::locals(BOB.parse().unwrap(), &[Transport::Udp]);
        let bob: NodeId<Person> = sim.add("bob", locals, Person::new(core, "192.0.2.2:4000", None));
        sim.with(alice, |alice, now| alice.plan(now + Duration::from_secs(1), Act::Call));
        settle(&mut sim);
        let (alice, bob) = (sim.node(alice).story(), sim.node(bob).story());
        same_picture(&alice, &bob);
        assert_eq!(alice.ended.len(), 1);
        if loss(seed) <= 0.1 {
            assert_eq!(alice.agreed, [Direction::SendRecv, Direction::SendOnly, Direction::SendRecv]);
            assert!(matches!(alice.ended[0], Cause::HungUp));
            assert!(matches!(bob.ended[0], Cause::HungUpByPeer(_)));
        }
    });
}

/// Phones and proxy end with the same picture and nothing left over.
#[test]
fn the_demo_through_registrar_and_proxy() {
    Runs::new(1000).conditions(|seed| Conditions::rough(loss(seed))).each(|run| drop(play(run)));
}
