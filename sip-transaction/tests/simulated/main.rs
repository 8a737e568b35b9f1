//! Transactions over a network that loses, doubles and reorders, in virtual time: twenty thousand runs of INVITE and
//! other requests between two elements at 0 to 40 % loss. Every transaction ends, in the state and within the time
//! that RFC 3261 §17 and RFC 6026 demand, both ends agree as far as they can, and nothing is left over.
//!
//! `SIM_SEED=n` runs one seed and prints what happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod element;
mod scenario;
mod silent;

use element::{Element, Fact, Plan};
use scenario::{CALLEE, CALLER, SIZE, TIMEOUT, add, check, conditions, play};
use sip_message::Method;
use sip_sim::{Conditions, DnsConditions, NodeId, Runs, Sim, for_each_seed, replayed_seed};
use sip_transaction::Failure;
use sip_transport::Transport;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SEEDS: u64 = 20_000;

/// How often each outcome was seen: a run in which nothing ever times out would prove nothing.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    unacknowledged: AtomicU64,
    repeated_2xx: AtomicU64,
    too_late: AtomicU64,
}

#[test]
fn every_transaction_ends_as_the_rfc_demands() {
    let seen = Seen::default();
    Runs::new(SEEDS).conditions(conditions).size(SIZE).each(|run| {
        let (mut sim, caller, callee) = play(run);
        seen.caller(sim.node(caller));
        seen.callee(sim.node(callee));
    });
    if replayed_seed().is_none() {
        seen.all();
    }
}

impl Seen {
    fn caller(&self, caller: &Element) {
        for client in &caller.clients {
            let has =
                |wanted: fn(&Fact) -> bool| client.facts.iter().filter(|(_, fact)| wanted(fact)).count();
            let failed = has(|fact| matches!(fact, Fact::Failed(_))) > 0;
            let rang = has(|fact| matches!(fact, Fact::Status(100..200))) > 0;
            add_to(&self.answered, usize::from(!failed));
            add_to(&self.timed_out, usize::from(failed && !rang));
            add_to(&self.cancelled, usize::from(has(|fact| *fact == Fact::Status(487)) > 0));
            add_to(&self.repeated_2xx, usize::from(client.acks > 1));
        }
    }

    fn callee(&self, callee: &Element) {
        for server in &callee.servers {
            add_to(&self.unacknowledged, usize::from(server.unacknowledged.is_some()));
            add_to(&self.too_late, usize::from(server.answered.is_none()));
        }
    }

    fn all(&self) {
        let seen = [
            ("answered", &self.answered),
            ("timed out", &self.timed_out),
            ("cancelled", &self.cancelled),
            ("unacknowledged", &self.unacknowledged),
            ("2xx repeated", &self.repeated_2xx),
            ("too late", &self.too_late),
        ];
        for (what, count) in seen {
            let count = count.load(Ordering::Relaxed);
            eprintln!("{what}: {count}");
            assert!(count > 0, "never seen: {what}");
        }
    }
}

fn add_to(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

#[test]
fn without_loss_every_2xx_is_acknowledged_and_every_invite_agreed_on() {
    for_each_seed(200, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(0.0));
        let (caller, callee) = (add(&mut sim, "caller", CALLER), add(&mut sim, "callee", CALLEE));
        let plan = Plan {
            method: Method::Invite,
            transport: if seed % 2 == 0 { Transport::Udp } else { Transport::Tcp },
            ring: Some(Duration::from_millis(50)),
            answer: Duration::from_millis(900),
            status: 200,
            cancel: None,
        };
        sim.with(caller, |caller, now| caller.start(now, 0, plan, CALLEE.parse().unwrap()));
        assert!(sim.run_until_idle(Duration::from_secs(600)));
        check(&mut sim, caller, callee, 0.0);
        assert!(sim.node(callee).servers[0].acks >= 1);
        assert_eq!(sim.node(callee).layer.counters().unacknowledged, 0);
    });
}

#[test]
fn a_ringing_invite_whose_server_dies_ends_64_t1_after_the_cancel() {
    for_each_seed(100, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(0.1));
        let (caller, callee) = (add(&mut sim, "caller", CALLER), add(&mut sim, "callee", CALLEE));
        let plan = Plan {
            method: Method::Invite,
            transport: Transport::Udp,
            ring: Some(Duration::from_millis(50)),
            answer: Duration::from_secs(30),
            status: 200,
            cancel: None,
        };
        sim.with(caller, |caller, now| caller.start(now, 0, plan, CALLEE.parse().unwrap()));
        sim.after(Duration::from_secs(20), move |sim| sim.partition(caller, callee));
        assert!(sim.run_until_idle(Duration::from_secs(600)));
        check(&mut sim, caller, callee, 0.1);
        let facts = &sim.node(caller).clients[0].facts;
        assert!(facts.iter().any(|(_, fact)| *fact == Fact::Failed(Failure::Timeout)), "{facts:?}");
    });
}

#[test]
fn a_dead_server_is_replaced_by_the_next_of_its_domain() {
    for_each_seed(100, |seed| {
        let mut sim = Sim::new(seed, Conditions::rough(0.1));
        let (caller, callee) = (add(&mut sim, "caller", CALLER), add(&mut sim, "callee", CALLEE));
        sim.zone().srv("_sip._udp.example.com", 1, 0, 5060, "dead.example.com");
        sim.zone().srv("_sip._udp.example.com", 2, 0, 5060, "live.example.com");
        sim.zone().address("dead.example.com", "192.0.2.9".parse().unwrap());
        sim.zone().address("live.example.com", "192.0.2.2".parse().unwrap());
        sim.with(caller, |caller, now| caller.options(now, "sip:example.com"));
        assert!(sim.run_until_idle(Duration::from_secs(600)));
        let client = sim.node(caller).clients[0].clone();
        assert!(client.facts.iter().any(|(_, fact)| *fact == Fact::Status(404)), "{:?}", client.facts);
        assert!(client.facts[0].0 - client.sent <= TIMEOUT * 2);
        assert_eq!(sim.node(caller).layer.armed_timers() + sim.node(callee).layer.armed_timers(), 0);
    });
}

const CALLER6: &str = "[2001:db8::1]:5060";
const CALLEE6: &str = "[2001:db8::2]:5060";

/// An element with addresses of both families.
fn add_dual(sim: &mut Sim, name: &str, v4: &str, v6: &str) -> NodeId<Element> {
    let transports = [Transport::Udp, Transport::Tcp];
    let listeners = [v4, v6]
        .into_iter()
        .flat_map(|at| transports.map(|transport| sip_transport::Local::new(transport, at.parse().unwrap())));
    let locals: sip_transport::Locals = listeners.collect();
    let seed = sim.core_seed();
    sim.add(name, locals.clone(), Element::new(seed, locals))
}

/// A network with two dual-stack elements and the names of the second.
fn dual(seed: u64, conditions: Conditions) -> (Sim, NodeId<Element>, NodeId<Element>) {
    let mut sim = Sim::new(seed, conditions);
    let caller = add_dual(&mut sim, "caller", CALLER, CALLER6);
    let callee = add_dual(&mut sim, "callee", CALLEE, CALLEE6);
    sim.zone()
        .naptr("example.com", 10, 10, "SIP+D2T", "_sip._tcp.example.com")
        .naptr("example.com", 20, 10, "SIP+D2U", "_sip._udp.example.com")
        .srv("_sip._tcp.example.com", 1, 0, 5060, "one.example.com")
        .srv("_sip._udp.example.com", 1, 0, 5060, "one.example.com")
        .address("one.example.com", "192.0.2.2".parse().unwrap())
        .address("one.example.com", "2001:db8::2".parse().unwrap());
    (sim, caller, callee)
}

/// RFC 8305: what a black-holed IPv6 address costs is the delay of one attempt, for the first request; the next goes
/// over the connection that is there.
#[test]
fn rfc_8305_a_black_holed_ipv6_address_costs_less_than_300_ms_and_the_second_request_nothing() {
    let (mut sim, caller, _) = dual(1, Conditions::PERFECT);
    sim.black_hole("2001:db8::2".parse().unwrap());
    for expected in
        [Duration::from_millis(250)..Duration::from_millis(300), Duration::ZERO..Duration::from_millis(30)]
    {
        sim.with(caller, |caller, now| caller.options(now, "sip:example.com"));
        sim.run_for(Duration::from_secs(60));
        let client = sim.node(caller).clients.pop().unwrap();
        let (at, fact) = &client.facts[0];
        assert_eq!(*fact, Fact::Status(404));
        // The element takes 10 ms to answer, each way 1 ms, DNS 3 ms.
        assert!(expected.contains(&(*at - client.sent)), "{:?}", *at - client.sent);
    }
    assert!(sim.run_until_idle(Duration::from_secs(60)));
}

/// Name servers that are late, silent, failing or answer something else: each request ends, with an answer or a reason,
/// and nothing is left.
#[test]
fn whatever_the_name_servers_do_every_request_comes_to_an_end() {
    let answered = AtomicU64::new(0);
    for_each_seed(1_000, |seed| {
        let (mut sim, caller, callee) = dual(seed, Conditions::rough(0.05));
        let share = |sim: &mut Sim| (sim.random() % 50) as f64 / 100.0;
        let (loss, fail, wrong) = (share(&mut sim), share(&mut sim), share(&mut sim));
        let delay = (Duration::from_millis(1), Duration::from_millis(sim.random() % 2_000 + 1));
        sim.set_dns(DnsConditions { delay, loss, fail, wrong });
        for _ in 0..3 {
            sim.with(caller, |caller, now| caller.options(now, "sip:example.com"));
            sim.run_for(Duration::from_secs(1));
        }
        assert!(sim.run_until_idle(Duration::from_secs(600)), "still busy after ten minutes");
        for id in [caller, callee] {
            let layer = &sim.node(id).layer;
            let left =
                (layer.live_client(), layer.live_server(), layer.live_stateless(), layer.armed_timers());
            assert_eq!(left, (0, 0, 0, 0));
        }
        for client in &sim.node(caller).clients {
            let outcomes = client.facts.iter().filter(|(_, fact)| *fact != Fact::Terminated).count();
            assert_eq!((outcomes, client.facts.len()), (1, 2), "{:?}", client.facts);
            add_to(&answered, usize::from(client.facts[0].1 == Fact::Status(404)));
        }
    });
    let answered = answered.into_inner();
    assert!(
        replayed_seed().is_some() || (500..2_900).contains(&answered),
        "{answered} of 3000 were answered"
    );
}
