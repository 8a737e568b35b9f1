//! One server, two phones of one user.

use std::collections::BTreeMap;
use std::time::Duration;

use sip_message::headers::{CSeq, CallId, Contact, From, To};
use sip_message::{Headers, Method, Request};
use sip_server::settings::Settings;
use sip_server::{Config, ServerCore};
use sip_sim::{Conditions, NodeId, Sim, for_each_seed};
use sip_transport::Transport;

use crate::phone::{Habit, Phone, add_phone, habit};

pub const SERVER: &str = "192.0.2.1:5060";

fn add_server(sim: &mut Sim) -> NodeId<ServerCore> {
    add_server_with(sim, |_| {})
}

pub fn add_server_with(sim: &mut Sim, change: impl FnOnce(&mut Config)) -> NodeId<ServerCore> {
    let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
    let mut config = Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    change(&mut config);
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    sim.add("server", locals, core)
}

/// Bob has two phones; alice calls; whatever the network does, everybody ends with the same picture and nothing is left.
#[test]
fn forked_calls_over_a_bad_network() {
    for_each_seed(600, |seed| {
        let loss = [0.0, 0.1, 0.2, 0.3][usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, if loss == 0.0 { Conditions::PERFECT } else { Conditions::rough(loss) });
        let server = add_server(&mut sim);
        let (one, two) = (habit(sim.random()), habit(sim.random()));
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", SERVER, Habit::Ring);
        let bob1 = add_phone(&mut sim, "bob1", "192.0.2.12", SERVER, one);
        let bob2 = add_phone(&mut sim, "bob2", "192.0.2.13", SERVER, two);
        for bob in [bob1, bob2] {
            let aor = "sip:bob@example.com";
            sim.with(bob, |bob, now| bob.send(now, Method::Register, "sip:example.com", aor, aor));
        }
        sim.run_for(Duration::from_secs(40));
        let registered = [bob1, bob2].map(|bob| sim.node(bob).registered);
        let bindings = sim.node(server).bindings();
        assert!(bindings >= registered.iter().filter(|yes| **yes).count());
        if loss == 0.0 {
            assert_eq!(registered, [true, true]);
        }
        sim.with(alice, |alice, now| {
            alice.send(
                now,
                Method::Invite,
                "sip:bob@example.com",
                "sip:alice@chicago.example",
                "sip:bob@example.com",
            );
        });
        sim.run_for(Duration::from_secs(600));

        // Nothing is left over anywhere, but the bindings until they end.
        let core = sim.node(server);
        assert_eq!(core.live_contexts(), 0);
        assert_eq!((core.transactions().live_client(), core.transactions().live_server()), (0, 0));
        assert_eq!(core.armed_timers(), 0);
        for phone in [alice, bob1, bob2] {
            let layer = &sim.node(phone).layer;
            assert_eq!((layer.live_client(), layer.live_server(), layer.armed_timers()), (0, 0, 0));
        }

        // The caller has an end, and it fits what the phones did.
        let caller = sim.node(alice);
        let (finals, failed) = (caller.finals.clone(), caller.failed);
        assert!(!finals.is_empty() || failed, "alice knows how it ended");
        let answered = finals.values().filter(|status| **status == 200).count();
        let failures = finals.values().filter(|status| **status >= 300).count();
        assert!(failures <= 1, "one failure at most: {finals:?}");
        let picked_up = [bob1, bob2].map(|bob| sim.node(bob).picked_up);
        assert!(answered <= picked_up.iter().filter(|yes| **yes).count());
        if loss == 0.0 {
            check_perfect(&mut sim, [one, two], &finals, [bob1, bob2]);
        }
        assert!(sim.run_until_idle(Duration::from_secs(8000)), "bindings end, then all is quiet");
        assert_eq!(sim.node(server).bindings(), 0);
    });
}

/// On a perfect network the outcome follows from the habits.
fn check_perfect(
    sim: &mut Sim,
    habits: [Habit; 2],
    finals: &BTreeMap<String, u16>,
    bobs: [NodeId<Phone>; 2],
) {
    let time = |habit: &Habit| match habit {
        Habit::PickUp(after) | Habit::Refuse(after, _) => *after,
        Habit::Ring => Duration::from_secs(185), // Timer C
    };
    let status = |habit: &Habit| match habit {
        Habit::PickUp(_) => 200,
        Habit::Refuse(_, status) => *status,
        Habit::Ring => 408,
    };
    let mut order = [0, 1];
    order.sort_by_key(|at| time(&habits[*at]));
    let (first, second) = (&habits[order[0]], &habits[order[1]]);
    // Two who pick up within the time that a message takes to cross are both answered.
    let close = time(second) - time(first) <= Duration::from_millis(5);
    let expected = match (status(first), status(second)) {
        (200, _) => 200,
        (603, other) if other != 200 || !close => 603,
        (_, 200) => 200,
        (one, other) if one == 603 || other == 603 => 603,
        (486, _) | (_, 486) => 486,
        _ => 408,
    };
    assert!(finals.values().any(|status| *status == expected), "{habits:?} give {expected}, not {finals:?}");
    for (bob, habit) in bobs.iter().zip(&habits) {
        let phone = sim.node(*bob);
        if phone.picked_up {
            assert!(phone.acknowledged, "its 200 was acknowledged");
        }
        if expected == 200 && matches!(habit, Habit::Ring) {
            assert!(phone.cancelled, "it has stopped ringing");
        }
    }
}

/// Bob's phone rings for five seconds, then his calls go to Carol; whatever the network does, the caller is told how it ended, no
/// phone rings on, and nothing is left.
#[test]
fn calls_forwarded_on_no_answer_over_a_bad_network() {
    let settings = Settings::parse(
        r#"
        authentication = false
        domains = ["example.com"]
        [[user]]
        name = "bob"
        forward = { no_answer = "carol", busy = "carol", unreachable = "carol", after = 5 }
        [[user]]
        name = "carol"
        "#,
    )
    .unwrap();
    for_each_seed(400, |seed| {
        let loss = [0.0, 0.1, 0.2, 0.3][usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, if loss == 0.0 { Conditions::PERFECT } else { Conditions::rough(loss) });
        let server = add_server_with(&mut sim, |config| settings.configure(config));
        let habits = (habit(sim.random()), habit(sim.random()));
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", SERVER, Habit::Ring);
        let bob = add_phone(&mut sim, "bob", "192.0.2.12", SERVER, habits.0);
        let carol = add_phone(&mut sim, "carol", "192.0.2.13", SERVER, habits.1);
        for (phone, aor) in [(bob, "sip:bob@example.com"), (carol, "sip:carol@example.com")] {
            sim.with(phone, |phone, now| phone.send(now, Method::Register, "sip:example.com", aor, aor));
        }
        sim.run_for(Duration::from_secs(40));
        sim.with(alice, |alice, now| {
            let to = "sip:bob@example.com";
            alice.send(now, Method::Invite, to, "sip:alice@chicago.example", to);
        });
        sim.run_for(Duration::from_secs(600));

        let core = sim.node(server);
        assert_eq!((core.live_contexts(), core.armed_timers()), (0, 0));
        assert_eq!((core.transactions().live_client(), core.transactions().live_server()), (0, 0));
        for phone in [alice, bob, carol] {
            assert!(sim.node(phone).ringing.is_empty(), "nobody rings on");
            let layer = &sim.node(phone).layer;
            assert_eq!((layer.live_client(), layer.live_server(), layer.armed_timers()), (0, 0, 0));
        }
        let (finals, failed) = (sim.node(alice).finals.clone(), sim.node(alice).failed);
        assert!(!finals.is_empty() || failed, "alice knows how it ended");
        let answered = finals.values().filter(|status| **status == 200).count();
        assert!(answered <= usize::from(sim.node(bob).picked_up) + usize::from(sim.node(carol).picked_up));
        if loss > 0.0 {
            return;
        }
        let in_time = Duration::from_secs(5);
        let rings_carol = match habits.0 {
            Habit::PickUp(after) | Habit::Refuse(after, 486) if after > in_time => true,
            Habit::Refuse(after, _) if after > in_time => true,
            Habit::Refuse(_, status) => status == 486,
            Habit::Ring => true,
            Habit::PickUp(_) => false,
        };
        let statuses: Vec<u16> = finals.values().copied().collect();
        match (rings_carol, habits) {
            (false, (Habit::PickUp(_), _)) => assert_eq!(statuses, [200]),
            (false, (Habit::Refuse(_, status), _)) => assert_eq!(statuses, [status]),
            (true, (_, Habit::PickUp(_))) => assert!(statuses.contains(&200), "{habits:?}: {statuses:?}"),
            (true, _) => assert!(!statuses.contains(&200), "{habits:?}: {statuses:?}"),
            _ => panic!("{habits:?}"),
        }
        if matches!(habits.0, Habit::Ring) {
            assert!(sim.node(bob).cancelled, "it has stopped ringing");
        }
    });
}

/// A caller gives up: all phones stop, and the caller sees 487.
#[test]
fn a_cancelled_call_stops_everywhere() {
    for_each_seed(100, |seed| {
        let mut sim = Sim::new(seed, Conditions::PERFECT);
        let server = add_server(&mut sim);
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", SERVER, Habit::Ring);
        let bob = add_phone(&mut sim, "bob", "192.0.2.12", SERVER, Habit::Ring);
        let aor = "sip:bob@example.com";
        sim.with(bob, |bob, now| bob.send(now, Method::Register, "sip:example.com", aor, aor));
        sim.run_for(Duration::from_secs(1));
        let invite = sim.with(alice, |alice, now| {
            let request = Request::builder(Method::Invite, &aor.parse().unwrap())
                .header(&From::new(&"sip:alice@chicago.example".parse().unwrap()).with_tag("a"))
                .header(&To::new(&aor.parse().unwrap()))
                .header(&CallId::new("cancelled"))
                .header(&CSeq::new(1, Method::Invite))
                .header(&Contact::new(&alice.contact))
                .build()
                .unwrap();
            alice.layer.send(now, request, alice.server.clone(), &mut alice.out).unwrap()
        });
        let wait = Duration::from_millis(sim.random() % 20);
        sim.run_for(wait);
        sim.with(alice, |alice, now| {
            alice.layer.cancel(now, invite, &Headers::new(), &mut alice.out).unwrap();
        });
        sim.run_for(Duration::from_secs(300));
        assert_eq!(sim.node(alice).finals.values().copied().collect::<Vec<_>>(), [487]);
        assert!(sim.node(bob).cancelled && sim.node(bob).ringing.is_empty());
        assert_eq!((sim.node(server).live_contexts(), sim.node(server).armed_timers()), (0, 0));
    });
}
