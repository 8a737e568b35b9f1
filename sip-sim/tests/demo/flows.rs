//! Flows over connections (RFC 5626): they break in every way there is, and the phone is reached again.

use super::*;
use sip_message::headers::InstanceId;
use sip_sim::Script;

const TCP: &[Transport] = &[Transport::Udp, Transport::Tcp];

fn tcp_server(sim: &mut Sim) -> ServerCore {
    let locals = Sim::locals(SERVER.parse().unwrap(), TCP);
    let mut config = sip_server::Config::new(sim.core_seed(), locals);
    config.domains = vec!["example.com".into()];
    ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap()
}

/// A server, and Bob who registers his flow to it over TCP.
fn world(seed: u64) -> (Sim, NodeId<ServerCore>, NodeId<Person>) {
    let mut sim = Sim::new(seed, Conditions::PERFECT);
    let core = tcp_server(&mut sim);
    let server = sim.add("server", Sim::locals(SERVER.parse().unwrap(), TCP), core);
    let locals = Sim::locals(BOB.parse().unwrap(), TCP);
    let core = phone(&mut sim, "bob", BOB, |config| {
        config.dialogs.transaction.locals = locals.clone();
        config.route = vec![Route::new(&format!("sip:{SERVER};transport=tcp;lr").parse().unwrap())];
        config.expires = 3600;
        config.instance = Some(InstanceId::uuid([1; 16]));
    });
    let bob = sim.add("bob", locals, Person::new(core, "192.0.2.2:4000", None));
    sim.with(bob, |bob, now| bob.plan(now + Duration::from_secs(1), Act::Register));
    // Long enough for a ping to have been answered: the flow works.
    sim.run_for(Duration::from_secs(300));
    assert_eq!(sim.node(bob).story().registered, 1);
    (sim, server, bob)
}

pub(crate) fn is_reached(sim: &mut Sim, bob: NodeId<Person>) {
    let alice = Script::new(ALICE).to("sip:bob@example.com", SERVER).send("INVITE");
    let alice =
        alice.expect("180").wait(Duration::from_millis(500)).send("CANCEL").expect("200").expect("487");
    let before = sim.node(bob).story().calls_in;
    let alice = sim.add_script("alice", alice);
    sim.run_for(Duration::from_secs(40));
    sim.node(alice).assert_done();
    assert_eq!(sim.node(bob).story().calls_in, before + 1);
}

/// The phone is told that its connection is gone, and has another one a moment later.
#[test]
fn a_connection_that_is_reset_is_replaced_at_once() {
    for seed in 0..20 {
        let (mut sim, server, bob) = world(seed);
        sim.sever(bob, server);
        sim.run_for(Duration::from_secs(2));
        assert_eq!(sim.node(bob).story().registered, 2);
        assert_eq!(sim.node(server).counters().flows_closed, 1, "RFC 5626 §7: the old binding went with it");
        assert_eq!((sim.node(server).bindings(), sim.connections()), (1, 1));
        is_reached(&mut sim, bob);
    }
}

/// RFC 5626 §4.4.1: nobody says that the server has lost the connection: the next ping brings it to light.
#[test]
fn a_half_open_connection_is_found_by_the_next_ping() {
    for seed in 0..20 {
        let (mut sim, server, bob) = world(seed);
        sim.half_open(bob, server);
        sim.run_for(Duration::from_secs(121));
        assert_eq!(sim.node(bob).story().registered, 2);
        is_reached(&mut sim, bob);
    }
}

/// The link swallows everything for five minutes. The ping stays unanswered, the connection is given up, registering fails and
/// is tried again with growing waits (§4.5); when the link is back the phone is too.
#[test]
fn a_dead_link_is_waited_out() {
    for seed in 0..20 {
        let (mut sim, server, bob) = world(seed);
        sim.partition(bob, server);
        sim.run_for(Duration::from_secs(300));
        let story = sim.node(bob).story();
        assert_eq!(story.registered, 1);
        assert!((1..=5).contains(&story.registration_failed), "{}", story.registration_failed);
        sim.heal();
        // The longest wait after the fourth failure is eight minutes.
        sim.run_for(Duration::from_secs(490));
        assert_eq!(sim.node(bob).story().registered, 2);
        is_reached(&mut sim, bob);
    }
}

/// The server dies and comes back without its table: the phone is in it again when its ping is not answered by the server that
/// knows nothing of the connection, at the latest.
#[test]
fn a_server_that_restarts_knows_its_phones_again_soon() {
    for seed in 0..20 {
        let (mut sim, server, bob) = world(seed);
        sim.crash(server);
        sim.run_for(Duration::from_secs(20));
        let core = tcp_server(&mut sim);
        sim.restart(server, core);
        sim.run_for(Duration::from_secs(250));
        assert!(sim.node(bob).story().registered >= 2);
        assert_eq!(sim.node(server).bindings(), 1);
        is_reached(&mut sim, bob);
    }
}
