//! Whole calls in virtual time: the very phones and the very server that run over sockets, on a network that loses,
//! repeats and reorders. `SIM_SEED=n` replays one run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod nat;
mod person;

use std::time::Duration;

use person::{Act, Person, Story};
use sdp::Direction;
use sip_dialog::Cause;
use sip_message::headers::Route;
use sip_server::{ServerCore, Users};
use sip_sim::{Conditions, NodeId, Sim, for_each_seed};
use sip_transport::Transport;
use sip_ua::core::{PhoneConfig, PhoneCore};

const ALICE: &str = "192.0.2.1:5060";
const BOB: &str = "192.0.2.2:5060";

/// What one side saw, seen from the other.
fn mirrored(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        both => both,
    }
}

/// Both phones tell the same story of the call: the same agreements in the same order, seen from either end. A side
/// that lost the other in mid-exchange may know one more.
fn same_picture(alice: &Story, bob: &Story) {
    assert_eq!(alice.left_over, None, "Alice keeps something");
    assert_eq!(bob.left_over, None, "Bob keeps something");
    let theirs: Vec<Direction> = bob.agreed.iter().copied().map(mirrored).collect();
    let common = alice.agreed.len().min(theirs.len());
    assert_eq!(alice.agreed[..common], theirs[..common], "the phones agreed on different things");
    assert!(alice.agreed.len().abs_diff(theirs.len()) <= 1, "{:?} and {theirs:?}", alice.agreed);
    assert!(alice.ended.len() <= 1 && bob.ended.len() == bob.calls_in, "an end is missing or told twice");
}

/// The loss of a seed: 0 to 30 %.
fn loss(seed: u64) -> f64 {
    (seed % 31) as f64 / 100.0
}

fn phone(sim: &mut Sim, user: &str, at: &str, configure: impl FnOnce(&mut PhoneConfig)) -> PhoneCore {
    let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
    let transaction = sip_transaction::Config::new(sim.core_seed(), locals);
    let identity = format!("<sip:{user}@example.com>").parse().unwrap();
    let mut config = PhoneConfig::new(identity, sip_dialog::Config::new(transaction));
    configure(&mut config);
    PhoneCore::new(config)
}

fn settle(sim: &mut Sim) {
    assert!(sim.run_until_idle(Duration::from_secs(2 * 3600)), "the network never comes to rest");
}

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

const SERVER: &str = "192.0.2.100:5060";

/// A phone that registers at the server with digest and sends everything by way of it.
fn customer(sim: &mut Sim, user: &str, at: &str, media: &str, callee: Option<&str>) -> NodeId<Person> {
    let core = phone(sim, user, at, |config| {
        config.credentials = Some((user.into(), format!("{user}'s password")));
        config.route = vec![Route::new(&format!("sip:{SERVER};lr").parse().unwrap())];
        config.expires = 600;
    });
    let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
    let node = sim.add(user, locals, Person::new(core, media, callee));
    let start = Duration::from_millis(sim.random() % 1000);
    sim.with(node, |person, now| {
        person.plan(now + start, Act::Register);
        person.plan(now + Duration::from_secs(1800), Act::Unregister);
    });
    node
}

fn server(sim: &mut Sim) -> NodeId<ServerCore> {
    let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
    let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    config.users = Some(Users::parse("alice:alice's password\nbob:bob's password\n").unwrap());
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    sim.add("server", locals, core)
}

/// The demonstration's signalling: two phones register with digest; a call through the proxy, hold, resume, hang up,
/// unregister. Phones and proxy end with the same picture and nothing left over.
#[test]
fn the_demo_through_registrar_and_proxy() {
    for_each_seed(1000, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(loss(seed)));
        let server = server(&mut sim);
        let alice = customer(&mut sim, "alice", ALICE, "192.0.2.1:4000", Some("sip:bob@example.com"));
        let bob = customer(&mut sim, "bob", BOB, "192.0.2.2:4000", None);
        settle(&mut sim);
        let (alice, bob) = (sim.node(alice).story(), sim.node(bob).story());
        same_picture(&alice, &bob);
        assert!(alice.unregistered, "Alice never came to an end");
        let server = sim.node(server);
        assert_eq!(server.live_contexts(), 0, "the proxy keeps a call");
        assert_eq!(server.transactions().live_client() + server.transactions().live_server(), 0);
        assert_eq!(server.bindings(), 0, "a binding outlived its phone");
        assert_eq!(server.armed_timers(), 0, "a timer is left");
        if loss(seed) <= 0.1 {
            assert_eq!((alice.registered > 0, bob.registered > 0), (true, true));
            assert_eq!(alice.agreed, [Direction::SendRecv, Direction::SendOnly, Direction::SendRecv]);
            assert!(
                matches!(alice.ended[0], Cause::HungUp) && matches!(bob.ended[0], Cause::HungUpByPeer(_))
            );
            assert!(alice.unregistered && bob.unregistered);
        }
    });
}
