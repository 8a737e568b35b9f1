//! Two phones, a server, and what they tell of a call: what the tests here and the soak have in common.

use std::time::Duration;

use crate::person::{Act, Person, Story};
use sdp::Direction;
use sip_dialog::Cause;
use sip_message::headers::{InstanceId, Route};
use sip_server::{ServerCore, Users};
use sip_sim::{Invariants, NodeId, Run, Sim};
use sip_transport::Transport;
use sip_ua::core::{PhoneConfig, PhoneCore};

pub(crate) const ALICE: &str = "192.0.2.1:5060";
pub(crate) const BOB: &str = "192.0.2.2:5060";

/// What one side saw, seen from the other.
pub(crate) fn mirrored(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        both => both,
    }
}

/// Both phones tell the same story of the call: the same agreements in the same order, seen from either end. A side
/// that lost the other in mid-exchange may know one more.
pub(crate) fn same_picture(alice: &Story, bob: &Story) {
    assert_eq!(alice.left_over, None, "Alice keeps something");
    assert_eq!(bob.left_over, None, "Bob keeps something");
    let theirs: Vec<Direction> = bob.agreed.iter().copied().map(mirrored).collect();
    let common = alice.agreed.len().min(theirs.len());
    assert_eq!(alice.agreed[..common], theirs[..common], "the phones agreed on different things");
    assert!(alice.agreed.len().abs_diff(theirs.len()) <= 1, "{:?} and {theirs:?}", alice.agreed);
    assert!(alice.ended.len() <= 1 && bob.ended.len() == bob.calls_in, "an end is missing or told twice");
}

/// The loss of a seed: 0 to 30 %.
pub(crate) fn loss(seed: u64) -> f64 {
    (seed % 31) as f64 / 100.0
}

pub(crate) fn phone(
    sim: &mut Sim,
    user: &str,
    at: &str,
    configure: impl FnOnce(&mut PhoneConfig),
) -> PhoneCore {
    let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
    let transaction = sip_transaction::Config::new(sim.core_seed(), locals);
    let identity = format!("<sip:{user}@example.com>").parse().unwrap();
    let mut config = PhoneConfig::new(identity, sip_dialog::Config::new(transaction));
    configure(&mut config);
    PhoneCore::new(config)
}

pub(crate) fn settle(sim: &mut Sim) {
    assert!(sim.run_until_idle(Duration::from_secs(2 * 3600)), "the network never comes to rest");
}

pub(crate) const SERVER: &str = "192.0.2.100:5060";

/// A phone that registers at the server with digest and sends everything by way of it.
pub(crate) fn customer(
    sim: &mut Sim,
    user: &str,
    at: &str,
    media: &str,
    callee: Option<&str>,
) -> NodeId<Person> {
    let outbound = sim.seed().is_multiple_of(4) && user == "bob";
    let core = phone(sim, user, at, |config| {
        config.credentials = Some((user.into(), format!("{user}'s password")));
        config.route = vec![Route::new(&format!("sip:{SERVER};lr").parse().unwrap())];
        config.expires = 600;
        // Every fourth world has a phone that registers its flow (RFC 5626).
        config.instance = outbound.then(|| InstanceId::uuid([7; 16]));
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

pub(crate) fn server(sim: &mut Sim) -> NodeId<ServerCore> {
    let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
    let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    config.users = Some(Users::parse("alice:alice's password\nbob:bob's password\n").unwrap());
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    sim.add("server", locals, core)
}

/// How many runs share one look at the wire.
const WIRE_CHECKED: u64 = 8;

/// The demonstration's signalling: two phones register with digest; a call through the proxy, hold, resume, hang up,
/// unregister. Phones and proxy end with the same picture and nothing left over.
pub(crate) fn play(run: &Run) -> Sim {
    let mut sim = run.sim();
    let wire = run.seed().is_multiple_of(WIRE_CHECKED);
    sim.set_tracing(wire);
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
    if run.conditions().loss <= 0.1 {
        assert_eq!((alice.registered > 0, bob.registered > 0), (true, true));
        assert_eq!(alice.agreed, [Direction::SendRecv, Direction::SendOnly, Direction::SendRecv]);
        assert!(matches!(alice.ended[0], Cause::HungUp) && matches!(bob.ended[0], Cause::HungUpByPeer(_)));
        assert!(alice.unregistered && bob.unregistered);
    }
    if wire {
        Invariants::new().assert(sim.trace());
    }
    sim
}
