//! A phone with two outbound proxies has two flows (RFC 5626 §4.2): one dies, calls go by the other.

use super::*;
use sip_message::headers::InstanceId;

const CAROL: &str = "192.0.2.3:5060";
const EDGES: [&str; 2] = ["192.0.2.101:5060", "192.0.2.102:5060"];
const TCP: &[Transport] = &[Transport::Udp, Transport::Tcp];

fn edge(sim: &mut Sim, at: &str) -> ServerCore {
    let locals = Sim::locals(at.parse().unwrap(), TCP);
    let mut config = sip_server::Config::new(sim.core_seed(), locals);
    config.domains = Vec::new();
    config.next_hop = Some(format!("sip:{SERVER}").parse().unwrap());
    ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap()
}

struct World {
    sim: Sim,
    registrar: NodeId<ServerCore>,
    edges: [NodeId<ServerCore>; 2],
    bob: NodeId<Person>,
}

/// A registrar, two edge proxies before it, and Bob who registers over both.
fn world(seed: u64) -> World {
    let mut sim = Sim::new(seed, Conditions::PERFECT);
    let locals = Sim::locals(SERVER.parse().unwrap(), TCP);
    let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    let registrar = sim.add("registrar", locals, core);
    let edges = EDGES.map(|at| {
        let core = edge(&mut sim, at);
        sim.add("edge", Sim::locals(at.parse().unwrap(), TCP), core)
    });
    let locals = Sim::locals(BOB.parse().unwrap(), TCP);
    let core = phone(&mut sim, "bob", BOB, |config| {
        config.dialogs.transaction.locals = locals.clone();
        config.outbound_proxies = EDGES.map(|at| format!("sip:{at};transport=tcp").parse().unwrap()).to_vec();
        config.instance = Some(InstanceId::uuid([1; 16]));
    });
    let bob = sim.add("bob", locals, Person::new(core, "192.0.2.2:4000", None));
    sim.with(bob, |bob, now| bob.plan(now + Duration::from_secs(1), Act::Register));
    // Long enough for a ping to have been answered: the flows work.
    sim.run_for(Duration::from_secs(300));
    assert_eq!((sim.node(bob).flows(), sim.node(registrar).bindings()), (vec![true, true], 2));
    World { sim, registrar, edges, bob }
}

/// RFC 5626 §4.2.1: a binding for each flow. §4.5: the one that dies is tried again after 90 seconds or more, since the other
/// works; meanwhile the phone calls and is called by that.
#[test]
fn one_flow_dies_and_calls_go_by_the_other() {
    for seed in 0..20 {
        let World { mut sim, registrar, edges, bob } = world(seed);
        sim.stop(edges[0]);
        sim.run_for(Duration::from_secs(5));
        assert_eq!(sim.node(bob).flows(), [false, true]);
        flows::is_reached(&mut sim, bob);
        // Bob's own call takes the other edge: the first is not there to answer.
        sim.zone().address("example.com", "192.0.2.100".parse().unwrap());
        let carol = phone(&mut sim, "carol", CAROL, |config| {
            config.route = vec![Route::new(&format!("sip:{SERVER};lr").parse().unwrap())];
        });
        let carol = sim.add(
            "carol",
            Sim::locals(CAROL.parse().unwrap(), &[Transport::Udp]),
            Person::new(carol, "192.0.2.3:4000", None),
        );
        sim.with(carol, |carol, now| carol.plan(now, Act::Register));
        sim.run_for(Duration::from_secs(2));
        sim.with(bob, |bob, now| bob.call(now, "sip:carol@example.com"));
        sim.run_for(Duration::from_secs(4));
        assert_eq!(sim.node(carol).story().agreed.len(), 1, "Bob's call took the dead flow");
        sim.with(bob, |bob, now| bob.plan(now, Act::HangUp));

        let core = edge(&mut sim, EDGES[0]);
        sim.restart(edges[0], core);
        sim.run_for(Duration::from_secs(15));
        assert_eq!(sim.node(bob).flows(), [false, true], "no wait before the dead flow was tried again");
        sim.run_for(Duration::from_secs(400));
        assert_eq!(
            (sim.node(bob).flows(), sim.node(registrar).bindings()),
            (vec![true, true], 3),
            "Bob's two, and Carol's"
        );
    }
}

/// Both bindings go with the phone.
#[test]
fn all_flows_are_unregistered() {
    let World { mut sim, registrar, bob, .. } = world(0);
    sim.with(bob, |bob, now| bob.plan(now, Act::Unregister));
    sim.run_for(Duration::from_secs(40));
    assert!(sim.node(bob).story().unregistered);
    assert_eq!(sim.node(registrar).bindings(), 0);
}
