//! A phone that changes its network: its calls go on, its registration moves along (RFC 3261 §12.2.1.2, RFC 6141).

use super::*;
use sip_message::headers::InstanceId;

const ELSEWHERE: &str = "198.51.100.7:5062";

/// In the middle of a call Alice is at another address. Bob is told where, the registrar forgets the old place, and the call
/// ends when she wants it to.
#[test]
fn a_call_goes_on_from_another_address() {
    for_each_seed(200, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(loss(seed) / 3.0));
        let server = server(&mut sim);
        let alice = customer(&mut sim, "alice", ALICE, "192.0.2.1:4000", Some("sip:bob@example.com"));
        let bob = customer(&mut sim, "bob", BOB, "192.0.2.2:4000", None);
        let quiet = |sim: &mut Sim| sim.node(alice).is_quiet() && sim.node(bob).is_quiet();
        let mut patience = 20_000;
        while !quiet(&mut sim) && patience > 0 {
            sim.run_for(Duration::from_millis(10));
            patience -= 1;
        }
        assert!(patience > 0, "no quiet moment in any call");
        let there = Sim::locals(ELSEWHERE.parse().unwrap(), &[Transport::Udp]);
        sim.relocate(alice, there.clone());
        sim.with(alice, |alice, now| alice.move_to(now, &there, "198.51.100.7:4002"));
        if loss(seed) == 0.0 {
            sim.run_for(Duration::from_secs(1));
            assert_eq!(sim.node(bob).hears_from().as_deref(), Some("198.51.100.7:4002"));
            assert_eq!(sim.node(server).bindings(), 2, "the binding at the old address stands");
        }
        settle(&mut sim);
        let (alice, bob) = (sim.node(alice).story(), sim.node(bob).story());
        same_picture(&alice, &bob);
        assert!(alice.registered >= 2, "Alice did not register from where she is");
        assert_eq!(alice.ended.len(), 1);
        if loss(seed) <= 0.1 {
            assert!(matches!(alice.ended[0], Cause::HungUp), "{:?}", alice.ended);
            assert!(matches!(bob.ended[0], Cause::HungUpByPeer(_)), "{:?}", bob.ended);
        }
        assert_eq!(sim.node(server).bindings(), 0, "a binding outlived its phone");
    });
}

/// RFC 5626 §6: a phone with an instance has its binding replaced, and is reached over the flow from its new address.
#[test]
fn a_registered_flow_is_replaced_from_another_address() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed, Conditions::PERFECT);
        let tcp: &[Transport] = &[Transport::Udp, Transport::Tcp];
        let here = Sim::locals(BOB.parse().unwrap(), tcp);
        let server = {
            let locals = Sim::locals(SERVER.parse().unwrap(), tcp);
            let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
            config.domains = vec!["example.com".into()];
            let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
            sim.add("server", locals, core)
        };
        let core = phone(&mut sim, "bob", BOB, |config| {
            config.dialogs.transaction.locals = here.clone();
            config.route = vec![Route::new(&format!("sip:{SERVER};transport=tcp;lr").parse().unwrap())];
            config.instance = Some(InstanceId::uuid([1; 16]));
        });
        let bob = sim.add("bob", here, Person::new(core, "192.0.2.2:4000", None));
        sim.with(bob, |bob, now| bob.plan(now + Duration::from_secs(1), Act::Register));
        sim.run_for(Duration::from_secs(30));
        let there = Sim::locals(ELSEWHERE.parse().unwrap(), tcp);
        sim.relocate(bob, there.clone());
        sim.with(bob, |bob, now| bob.move_to(now, &there, "198.51.100.7:4002"));
        sim.run_for(Duration::from_secs(2));
        assert_eq!((sim.node(bob).story().registered, sim.node(server).bindings()), (2, 1));
        flows::is_reached(&mut sim, bob);
    }
}
