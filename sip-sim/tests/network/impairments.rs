//! What else can go wrong: bursts, groups that lose each other, NATs, black holes, half-open and torn connections, power
//! cuts, name servers that fail.

use super::*;
use sip_sim::{Burst, NatId, NatKind, NodeId};
use sip_transport::Path;
use std::net::SocketAddr;

#[test]
fn losses_in_bursts_come_together_and_as_often_as_the_model_says() {
    let burst = Burst { begin: 0.02, end: 0.2, loss: 0.9 };
    let conditions = Conditions { burst: Some(burst), ..Conditions::PERFECT };
    let (mut sim, alice, bob) = pair(1, conditions);
    sim.node(bob).answers = false;
    send(&mut sim, alice, Transport::Udp, 0..20_000);
    assert!(sim.run_until_idle(MINUTE));
    let lost = sim.counters().lost as f64 / 20_000.0;
    assert!((lost - burst.average()).abs() < 0.015, "lost {lost}, expected {}", burst.average());
    let arrived = &sim.node(bob).requests;
    let gaps: Vec<u32> = arrived.windows(2).map(|two| two[1] - two[0] - 1).filter(|gap| *gap > 0).collect();
    let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
    // Independent losses of 8 % would come 1.09 at a time.
    assert!(mean > 2.0, "{mean} at a time");
}

#[test]
fn groups_lose_each_other_and_find_each_other_again() {
    let (mut sim, alice, bob) = pair(2, Conditions::PERFECT);
    let at: SocketAddr = "192.0.2.3:5060".parse().unwrap();
    let carol = sim.add("carol", Sim::locals(at, &BOTH), Peer { answers: true, ..Peer::default() });
    sim.group("office", [alice.any(), carol.any()]);
    sim.group("home", [bob.any()]);
    sim.partition_groups("office", "home");
    send(&mut sim, alice, Transport::Udp, 0..1);
    sim.with(alice, |alice, _| alice.transmits.push_back(options(Transport::Udp, at, 1)));
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!((sim.node(bob).requests.len(), sim.node(carol).requests.len()), (0, 1));
    sim.heal_groups("home", "office");
    send(&mut sim, alice, Transport::Udp, 2..3);
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!((sim.node(bob).requests.clone(), sim.node(alice).responses.clone()), (vec![2], vec![1, 2]));
}

const INSIDE: &str = "10.0.0.1:5060";
const OUTSIDE: &str = "203.0.113.1";

/// Alice at home behind a NAT, Bob on the Internet.
fn behind(kind: NatKind) -> (Sim, NodeId<Peer>, NodeId<Peer>) {
    let mut sim = Sim::new(3, Conditions::PERFECT);
    let alice = sim.add(
        "alice",
        Sim::locals(INSIDE.parse().unwrap(), &BOTH),
        Peer { answers: true, ..Peer::default() },
    );
    let bob = sim.add("bob", Sim::locals(bob4_at(), &BOTH), Peer { answers: true, ..Peer::default() });
    let nat = sim.add_nat(kind, OUTSIDE.parse().unwrap(), Duration::from_secs(30));
    sim.put_behind(nat, alice);
    (sim, alice, bob)
}

#[test]
fn from_behind_a_nat_requests_go_out_with_its_address_and_answers_come_back() {
    for kind in NatKind::ALL {
        for transport in BOTH {
            let (mut sim, alice, bob) = behind(kind);
            send(&mut sim, alice, transport, 0..1);
            assert!(sim.run_until_idle(MINUTE));
            assert_eq!(sim.node(alice).responses, [0], "{kind:?} {transport}");
            assert_eq!(sim.node(bob).last_path.unwrap().remote.ip().to_string(), OUTSIDE);
        }
    }
}

#[test]
fn a_nat_lets_in_what_its_kind_says_and_forgets_after_its_time() {
    for (kind, stranger_gets_in) in [
        (NatKind::FullCone, true),
        (NatKind::Restricted, false),
        (NatKind::PortRestricted, false),
        (NatKind::Symmetric, false),
    ] {
        let (mut sim, alice, bob) = behind(kind);
        let at: SocketAddr = "192.0.2.3:5060".parse().unwrap();
        let stranger = sim.add("stranger", Sim::locals(at, &BOTH), Peer::default());
        send(&mut sim, alice, Transport::Udp, 0..1);
        assert!(sim.run_until_idle(MINUTE));
        let mapped = sim.node(bob).last_path.unwrap().remote;
        let to_alice = |sim: &mut Sim, from: NodeId<Peer>, number| {
            sim.with(from, |peer, _| peer.transmits.push_back(options(Transport::Udp, mapped, number)));
            assert!(sim.run_until_idle(MINUTE));
        };
        to_alice(&mut sim, bob, 1);
        to_alice(&mut sim, stranger, 2);
        let expected: &[u32] = if stranger_gets_in { &[1, 2] } else { &[1] };
        assert_eq!(sim.node(alice).requests, expected, "{kind:?}");
        // Its own address is of no use outside, and a connection to the NAT leads nowhere.
        sim.with(bob, |bob, _| {
            bob.transmits.push_back(options(Transport::Udp, INSIDE.parse().unwrap(), 3));
            bob.transmits.push_back(options(Transport::Tcp, mapped, 4));
        });
        assert!(sim.run_until_idle(MINUTE));
        let last = sim.node(bob).flow_events.last().cloned();
        assert!(matches!(
            last,
            Some(FlowEvent::SendFailed { token: Token(4), error: SendError::TimedOut, .. })
        ));
        // Alice answered Bob's request, which kept the mapping; half a minute later it is gone.
        sim.run_for(Duration::from_secs(31));
        to_alice(&mut sim, bob, 5);
        assert_eq!(sim.node(alice).requests, expected, "{kind:?}");
        assert!(sim.counters().swallowed >= 2);
    }
}

/// Carol behind a NAT of her own.
fn another_home(sim: &mut Sim) -> (NatId, NodeId<Peer>) {
    let carol = sim.add("carol", Sim::locals("10.0.0.2:5060".parse().unwrap(), &BOTH), Peer::default());
    let nat = sim.add_nat(NatKind::FullCone, "203.0.113.2".parse().unwrap(), MINUTE);
    sim.put_behind(nat, carol);
    (nat, carol)
}

fn from(sim: &mut Sim, node: NodeId<Peer>, to: SocketAddr, number: u32) {
    sim.with(node, |peer, _| peer.transmits.push_back(options(Transport::Udp, to, number)));
    assert!(sim.run_until_idle(MINUTE));
}

#[test]
fn an_address_behind_a_nat_means_nothing_behind_another() {
    let (mut sim, alice, _) = behind(NatKind::FullCone);
    let (_, carol) = another_home(&mut sim);
    from(&mut sim, carol, INSIDE.parse().unwrap(), 1);
    assert!(sim.node(alice).requests.is_empty());
}

#[test]
fn two_behind_one_nat_meet_inside_and_not_by_the_outer_address() {
    let (mut sim, alice, bob) = behind(NatKind::FullCone);
    let (nat, carol) = another_home(&mut sim);
    sim.put_behind(nat, alice);
    from(&mut sim, carol, INSIDE.parse().unwrap(), 1);
    assert_eq!(sim.node(alice).requests, [1]);

    send(&mut sim, alice, Transport::Udp, 7..8);
    assert!(sim.run_until_idle(MINUTE));
    let mapped = sim.node(bob).last_path.unwrap().remote;
    from(&mut sim, carol, mapped, 2);
    assert_eq!(sim.node(alice).requests, [1], "no hairpinning");
    from(&mut sim, bob, mapped, 3);
    assert_eq!(sim.node(alice).requests, [1, 3]);
    sim.restart_nat(nat);
    from(&mut sim, bob, mapped, 4);
    assert_eq!(sim.node(alice).requests, [1, 3], "a NAT that was switched off and on knows nobody");
}

#[test]
fn a_keep_alive_is_counted_and_reaches_no_core() {
    let (mut sim, alice, bob) = pair(4, Conditions::PERFECT);
    send(&mut sim, alice, Transport::Tcp, 0..1);
    assert!(sim.run_until_idle(MINUTE));
    for transport in BOTH {
        let ping = Transmit { payload: "\r\n\r\n".into(), ..options(transport, bob4_at(), 1) };
        sim.with(alice, |alice, _| alice.transmits.push_back(ping));
    }
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!((sim.counters().keep_alives, sim.counters().rejected), (2, 0));
    assert_eq!(sim.node(bob).requests, [0]);
}

#[test]
fn a_black_hole_swallows_datagrams_and_connections() {
    let (mut sim, alice, bob) = pair(5, Conditions::PERFECT);
    sim.black_hole(bob4_at().ip());
    send(&mut sim, alice, Transport::Udp, 0..1);
    send(&mut sim, alice, Transport::Tcp, 1..2);
    assert!(sim.run_until_idle(MINUTE));
    assert!(sim.node(bob).requests.is_empty());
    let events = &sim.node(alice).flow_events;
    assert!(matches!(
        events[..],
        [FlowEvent::SendFailed { token: Token(1), error: SendError::TimedOut, .. }]
    ));
}

#[test]
fn a_connection_that_was_asked_for_is_ready_after_its_handshake_or_at_once() {
    let (mut sim, alice, _) = pair(6, Conditions::PERFECT);
    let wanted = |token| Transmit {
        path: Path::to(Transport::Tcp, bob4_at()),
        payload: Default::default(),
        reopen: None,
        domain: None,
        token: Token(token),
    };
    sim.with(alice, |alice, _| alice.transmits.push_back(wanted(1)));
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!(sim.elapsed(), Duration::from_millis(2));
    sim.with(alice, |alice, _| alice.transmits.push_back(wanted(2)));
    assert!(sim.run_until_idle(MINUTE));
    let events = &sim.node(alice).flow_events;
    assert!(
        matches!(
            events[..],
            [FlowEvent::Opened { path: one }, FlowEvent::Ready { token: Token(1), path: two }, FlowEvent::Ready { token: Token(2), path: three }]
            if one == two && two == three && one.flow.is_some()
        ),
        "{events:?}"
    );
    assert_eq!(sim.connections(), 1);
}

#[test]
fn a_connection_reset_in_mid_message_delivers_nothing_of_it() {
    let (mut sim, alice, bob) = pair(7, Conditions::PERFECT);
    send(&mut sim, alice, Transport::Tcp, 0..1);
    assert!(sim.run_until_idle(MINUTE));
    sim.reset_within_message(alice, bob, 100);
    send(&mut sim, alice, Transport::Tcp, 1..2);
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!(sim.node(bob).requests, [0]);
    for node in [alice, bob] {
        let last = sim.node(node).flow_events.last().cloned();
        assert!(matches!(
            last,
            Some(FlowEvent::Closed { reason: CloseReason::Error(SendError::Closed), .. })
        ));
    }
    send(&mut sim, alice, Transport::Tcp, 2..3);
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!(sim.node(bob).requests, [0, 2]);
}

#[test]
fn a_half_open_connection_is_found_out_by_sending() {
    let (mut sim, alice, bob) = pair(8, Conditions::PERFECT);
    send(&mut sim, alice, Transport::Tcp, 0..1);
    assert!(sim.run_until_idle(MINUTE));
    sim.half_open(alice, bob);
    assert!(sim.run_until_idle(MINUTE));
    assert!(matches!(sim.node(bob).flow_events.last(), Some(FlowEvent::Closed { .. })));
    assert!(!matches!(sim.node(alice).flow_events.last(), Some(FlowEvent::Closed { .. })));
    send(&mut sim, alice, Transport::Tcp, 1..2);
    assert!(sim.run_until_idle(MINUTE));
    assert_eq!(sim.node(bob).requests, [0]);
    let last = sim.node(alice).flow_events.last().cloned();
    assert!(matches!(last, Some(FlowEvent::Closed { reason: CloseReason::Error(SendError::Closed), .. })));
    assert_eq!(sim.connections(), 0);
}

#[test]
fn after_a_power_cut_peers_wait_until_the_node_is_back_and_resets_them() {
    for is_back in [false, true] {
        let (mut sim, alice, bob) = pair(9, Conditions::PERFECT);
        send(&mut sim, alice, Transport::Tcp, 0..1);
        assert!(sim.run_until_idle(MINUTE));
        sim.crash(bob);
        if is_back {
            sim.restart(bob, Peer { answers: true, ..Peer::default() });
        }
        let before = sim.elapsed();
        send(&mut sim, alice, Transport::Tcp, 1..2);
        assert!(sim.run_until_idle(MINUTE));
        let took = sim.elapsed() - before;
        let last = sim.node(alice).flow_events.last().cloned();
        let expected = if is_back { SendError::Closed } else { SendError::TimedOut };
        assert!(
            matches!(last, Some(FlowEvent::Closed { reason: CloseReason::Error(error), .. }) if error == expected),
            "{last:?}"
        );
        assert_eq!(took < Duration::from_secs(1), is_back, "{took:?}");
    }
}

#[test]
fn name_servers_fail_and_answer_something_else() {
    let (mut sim, alice, _) = pair(10, Conditions::PERFECT);
    sim.zone()
        .naptr("example.com", 1, 1, "SIP+D2U", "_sip._udp.example.com")
        .address("sip.example.com", bob_at().ip())
        .address("sip.example.com", bob4_at().ip());
    let ask = |sim: &mut Sim, question: Question| {
        sim.with(alice, |alice, _| {
            alice.queries.push_back(Query { key: QueryKey(7), question: question.clone() })
        });
        assert!(sim.run_until_idle(MINUTE));
        let (_, answer) = sim.node(alice).answered.pop().unwrap();
        assert_eq!((answer.key, answer.question), (QueryKey(7), question));
        answer.records
    };
    assert!(
        matches!(ask(&mut sim, Question::Naptr("Example.com.".into())), Ok(Records::Naptr(list)) if list.len() == 1)
    );
    let a = Question::A("sip.example.com".into());
    assert_eq!(ask(&mut sim, a.clone()), Ok(Records::Addresses(vec![bob4_at().ip()])));
    let aaaa = Question::Aaaa("sip.example.com".into());
    assert_eq!(ask(&mut sim, aaaa), Ok(Records::Addresses(vec![bob_at().ip()])));
    sim.set_dns(DnsConditions { fail: 1.0, ..DnsConditions::default() });
    assert_eq!(ask(&mut sim, a.clone()), Err(ResolveError::Failed));
    sim.set_dns(DnsConditions { wrong: 1.0, ..DnsConditions::default() });
    assert_ne!(ask(&mut sim, a), Ok(Records::Addresses(vec![bob4_at().ip()])));
}
