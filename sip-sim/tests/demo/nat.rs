//! Phones behind NATs, with the very server: what works thanks to `rport` (RFC 3581) and to what keeps a mapping, and
//! what breaks without.

use super::*;
use sip_message::headers::InstanceId;
use sip_sim::{NatId, NatKind, Script};
use sip_transport::Path;

const INSIDE: &str = "10.0.0.1:5060";
const OUTSIDE: &str = "203.0.113.1";

/// What home routers give a datagram's mapping (RFC 4787 REQ-5 wants two minutes; many give less).
const MAPPING: Duration = Duration::from_secs(30);

/// A server that asks nobody for a password.
fn open_server(sim: &mut Sim) -> NodeId<ServerCore> {
    let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
    let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    sim.add("server", locals, core)
}

/// How Bob's phone keeps its mapping.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    Nothing,
    /// CRLF this often, as old phones do, whoever listens.
    Crlf(Duration),
    /// As the server agrees to in Via (RFC 6223).
    Agreed,
    /// The flow itself is registered (RFC 5626).
    Outbound,
}

/// Bob registers from behind a NAT.
fn bob_at_home(sim: &mut Sim, kind: NatKind, keeps: Keeps) -> (NodeId<Person>, NatId) {
    let core = phone(sim, "bob", INSIDE, |config| {
        config.route = vec![Route::new(&format!("sip:{SERVER};lr").parse().unwrap())];
        config.expires = 3600;
        config.offer_keep_alive = keeps == Keeps::Agreed;
        config.instance = (keeps == Keeps::Outbound).then(|| InstanceId::uuid([1; 16]));
    });
    let locals = Sim::locals(INSIDE.parse().unwrap(), &[Transport::Udp]);
    let bob = sim.add("bob", locals, Person::new(core, "10.0.0.1:4000", None));
    let nat = sim.add_nat(kind, OUTSIDE.parse().unwrap(), MAPPING);
    sim.put_behind(nat, bob);
    sim.with(bob, |bob, now| {
        bob.plan(now + Duration::from_secs(1), Act::Register);
        if let Keeps::Crlf(every) = keeps {
            bob.keep_alive(
                now + Duration::from_secs(2),
                every,
                Path::to(Transport::Udp, SERVER.parse().unwrap()),
            );
        }
    });
    (bob, nat)
}

/// Alice calls Bob by way of the server and gives up when it rings, or hears that nobody can be reached.
fn alice_calls(sim: &mut Sim, reaches: bool) -> NodeId<Script> {
    let alice = Script::new(ALICE).to("sip:bob@example.com", SERVER).send("INVITE");
    let alice = if reaches {
        alice.expect("180").wait(Duration::from_millis(500)).send("CANCEL").expect("200").expect("487")
    } else {
        alice.expect("408")
    };
    sim.add_script("alice", alice)
}

/// Calls Bob this long after he registered.
fn call_after(kind: NatKind, keeps: Keeps, wait: Duration, reaches: bool) -> u64 {
    let mut sim = Sim::new(1, Conditions::PERFECT);
    let server = open_server(&mut sim);
    let (bob, _) = bob_at_home(&mut sim, kind, keeps);
    sim.run_for(wait);
    assert_eq!((sim.node(bob).story().registered, sim.node(server).bindings()), (1, 1), "{kind:?}");
    let alice = alice_calls(&mut sim, reaches);
    sim.run_for(Duration::from_secs(60));
    sim.node(alice).assert_done();
    assert_eq!(sim.node(bob).story().calls_in, usize::from(reaches), "{kind:?}");
    sim.counters().swallowed
}

#[test]
fn a_phone_behind_any_nat_is_called_while_its_mapping_is_kept() {
    for kind in NatKind::ALL {
        for keeps in [Keeps::Crlf(Duration::from_secs(20)), Keeps::Agreed, Keeps::Outbound] {
            call_after(kind, keeps, Duration::from_secs(900), true);
        }
    }
}

#[test]
fn without_keep_alive_a_phone_is_reached_until_its_mapping_is_gone_and_not_after() {
    for kind in NatKind::ALL {
        assert_eq!(call_after(kind, Keeps::Nothing, Duration::from_secs(20), true), 0);
        let swallowed = call_after(kind, Keeps::Nothing, Duration::from_secs(45), false);
        assert!(swallowed >= 7, "each of the seven INVITEs of Timer A: {swallowed}");
    }
    // Too rarely is like never.
    call_after(
        NatKind::PortRestricted,
        Keeps::Crlf(Duration::from_secs(60)),
        Duration::from_secs(110),
        false,
    );
}

/// A caller behind any NAT: requests go out, responses come back by `received` and `rport`, whatever is lost.
#[test]
fn a_phone_behind_any_nat_calls_through_the_server() {
    for_each_seed(40, |seed| {
        let kind = NatKind::ALL[usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, Conditions::rough(loss(seed) / 3.0));
        server(&mut sim);
        let alice = customer(&mut sim, "alice", INSIDE, "10.0.0.1:4000", Some("sip:bob@example.com"));
        let bob = customer(&mut sim, "bob", BOB, "192.0.2.2:4000", None);
        let nat = sim.add_nat(kind, OUTSIDE.parse().unwrap(), MAPPING);
        sim.put_behind(nat, alice);
        settle(&mut sim);
        let (alice, bob) = (sim.node(alice).story(), sim.node(bob).story());
        same_picture(&alice, &bob);
        assert_eq!(alice.agreed, [Direction::SendRecv, Direction::SendOnly, Direction::SendRecv], "{kind:?}");
        assert!(matches!(alice.ended[..], [Cause::HungUp]));
    });
}

/// RFC 5626 §4.4.2, §4.5: the NAT restarts and gives other ports. The phone sees itself at another address, registers anew at
/// once, and is reached again: well before its registration would have been refreshed.
#[test]
fn a_phone_whose_nat_restarts_is_reached_again_within_a_keep_alive() {
    for kind in NatKind::ALL {
        let mut sim = Sim::new(1, Conditions::PERFECT);
        let server = open_server(&mut sim);
        let (bob, nat) = bob_at_home(&mut sim, kind, Keeps::Outbound);
        sim.run_for(Duration::from_secs(60));
        assert_eq!(sim.node(bob).story().registered, 1);
        sim.restart_nat(nat);
        sim.run_for(Duration::from_secs(31));
        assert_eq!(sim.node(bob).story().registered, 2, "{kind:?}");
        assert_eq!(sim.node(server).bindings(), 1, "the same flow by another way, not a second one");
        let alice = alice_calls(&mut sim, true);
        sim.run_for(Duration::from_secs(20));
        sim.node(alice).assert_done();
    }
}

/// RFC 5626 §4.4.2: STUN that is lost is repeated; no loss below what kills the flow ends it.
#[test]
fn keep_alives_get_through_losses() {
    for_each_seed(40, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(0.1));
        open_server(&mut sim);
        let (bob, _) = bob_at_home(&mut sim, NatKind::PortRestricted, Keeps::Outbound);
        sim.run_for(Duration::from_secs(900));
        let story = sim.node(bob).story();
        assert_eq!((story.registered, story.registration_failed), (1, 0));
    });
}
