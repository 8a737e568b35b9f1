//! A phone that sends its calls on by 302, at a server that follows (RFC 3261 §16.7 step 4).

use std::time::Duration;

use sip_message::Method;
use sip_sim::{Conditions, Sim, for_each_seed};

use crate::forked::{SERVER, add_server_with};
use crate::phone::{Habit, add_phone, habit};

/// Bob has two phones, one of which sends its calls on to Carol, and Carol's may send them back to Bob. Whatever the network does, the
/// search ends, the caller is told how, and nothing is left.
#[test]
fn redirections_over_a_bad_network() {
    for_each_seed(400, |seed| {
        let loss = [0.0, 0.1, 0.2, 0.3][usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, if loss == 0.0 { Conditions::PERFECT } else { Conditions::rough(loss) });
        let server = add_server_with(&mut sim, |config| config.recurse_redirects = true);
        let after = Duration::from_millis(200 + sim.random() % 3000);
        let (second, last) = (habit(sim.random()), habit(sim.random()));
        let back = sim.random().is_multiple_of(3);
        let last = if back { Habit::Refuse(after, 302) } else { last };
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", SERVER, Habit::Ring);
        let bob1 = add_phone(&mut sim, "bob1", "192.0.2.12", SERVER, Habit::Refuse(after, 302));
        let bob2 = add_phone(&mut sim, "bob2", "192.0.2.13", SERVER, second);
        let carol = add_phone(&mut sim, "carol", "192.0.2.14", SERVER, last);
        let (to_bob, to_carol) = ("sip:bob@example.com", "sip:carol@example.com");
        sim.with(bob1, |bob, _| bob.sends_on_to = Some(to_carol.parse().unwrap()));
        sim.with(carol, |carol, _| carol.sends_on_to = Some(to_bob.parse().unwrap()));
        for (phone, aor) in [(bob1, to_bob), (bob2, to_bob), (carol, to_carol)] {
            sim.with(phone, |phone, now| phone.send(now, Method::Register, "sip:example.com", aor, aor));
        }
        sim.run_for(Duration::from_secs(40));
        sim.with(alice, |alice, now| {
            alice.send(now, Method::Invite, to_bob, "sip:alice@chicago.example", to_bob);
        });
        sim.run_for(Duration::from_secs(600));

        let core = sim.node(server);
        assert_eq!((core.live_contexts(), core.live_questions(), core.armed_timers()), (0, 0, 0));
        assert_eq!((core.transactions().live_client(), core.transactions().live_server()), (0, 0));
        let followed = core.counters().redirects_followed;
        for phone in [alice, bob1, bob2, carol] {
            assert!(sim.node(phone).ringing.is_empty(), "nobody rings on");
            let layer = &sim.node(phone).layer;
            assert_eq!((layer.live_client(), layer.live_server(), layer.armed_timers()), (0, 0, 0));
        }
        let caller = sim.node(alice);
        assert!(!caller.finals.is_empty() || caller.failed, "alice knows how it ended");
        let failures = caller.finals.values().filter(|status| **status >= 300).count();
        assert!(failures <= 1, "one failure at most: {:?}", caller.finals);
        if loss > 0.0 {
            return;
        }
        let finals = caller.finals.clone();
        assert!(followed >= 1 || second_was_first(second, after), "{finals:?}");
        // Whoever would be picked up is, unless somebody declines for all; and no 302 of one who was followed comes back.
        let picks_up = |habit| matches!(habit, Habit::PickUp(_));
        let declines = |habit| matches!(habit, Habit::Refuse(_, 603));
        let answered = finals.values().any(|status| *status == 200);
        assert!(!answered || picks_up(second) || picks_up(last));
        if (picks_up(second) || picks_up(last)) && !declines(second) && !declines(last) {
            assert!(answered, "{second:?} {last:?}: {finals:?}");
        }
        assert!(back || !finals.values().any(|status| *status == 302), "{finals:?}");
    });
}

/// The other phone has ended the search before the redirection.
fn second_was_first(second: Habit, after: Duration) -> bool {
    match second {
        Habit::PickUp(time) | Habit::Refuse(time, 603) => time <= after + Duration::from_millis(50),
        _ => false,
    }
}
