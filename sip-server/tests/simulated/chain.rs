//! Three proxies in a row before two registrars: forked and forwarded calls of several callers, over lossy links.
//!
//! ```text
//!   callers ──▶ edge ──▶ middle ──▶ home (example.com) ──▶ bob1, bob2
//!                                     └── forwarded ──▶ away (example.net) ──▶ carol1, carol2
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use sip_message::headers::{CSeq, CallId, MaxForwards, Via};
use sip_message::{HeaderName, Headers, Limits, Message, Method};
use sip_server::{Config, ServerCore};
use sip_sim::{Conditions, Invariants, NodeId, Sim, What, for_each_seed};
use sip_transport::{Shards, Transport};

use crate::phone::{Habit, Phone, add_phone, habit};

const EDGE: &str = "192.0.2.1:5060";
const MIDDLE: &str = "192.0.2.2:5060";
const HOME: &str = "192.0.2.3:5060";
const AWAY: &str = "192.0.2.4:5060";

/// How many seeds: `SIM_CHAIN=1000000` for a soak.
fn seeds() -> u64 {
    std::env::var("SIM_CHAIN").ok().and_then(|text| text.parse().ok()).unwrap_or(5000)
}

/// A server of one core, or of several side by side.
fn server(
    sim: &mut Sim,
    name: &str,
    (at, shards): (&str, u64),
    set: impl FnOnce(&mut Config),
) -> NodeId<Shards<ServerCore>> {
    let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
    let mut config = Config::new(sim.core_seed(), locals.clone());
    set(&mut config);
    let (now, unix) = (sim.now(), Duration::from_secs(1_700_000_000));
    let core = ServerCore::new(config.clone(), now, unix).unwrap();
    let cores = core.shared_out(&config, usize::try_from(shards).unwrap(), now, unix).unwrap();
    sim.add(name, locals, Shards::new(cores).repeatable())
}

/// A phone says to its registrar where it is, or where else its user is to be called.
fn register(sim: &mut Sim, phone: NodeId<Phone>, user: &str, contact: Option<&str>) {
    let (_, domain) = user.split_once('@').unwrap();
    let (domain, aor) = (format!("sip:{domain}"), format!("sip:{user}"));
    sim.with(phone, |phone, now| {
        let contact = contact.map_or_else(|| phone.contact.clone(), |uri| uri.parse().unwrap());
        phone.send_for(now, Method::Register, &domain, (&aor, &aor), &contact);
    });
}

#[test]
fn calls_through_three_proxies_end_well_whatever_the_network_does() {
    // What has happened in all runs together: without these the test would prove nothing.
    let seen = Mutex::new((BTreeSet::new(), 0, 0));
    for_each_seed(seeds(), |seed| {
        let loss = [0.0, 0.05, 0.1, 0.2][usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, if loss == 0.0 { Conditions::PERFECT } else { Conditions::rough(loss) });
        let next = |hop: &str| Some(format!("sip:{hop}").parse().unwrap());
        let at = |address| (address, 1 + seed / 4 % 3);
        let edge = server(&mut sim, "edge", at(EDGE), |config| config.next_hop = next(MIDDLE));
        let middle = server(&mut sim, "middle", at(MIDDLE), |config| config.next_hop = next(HOME));
        let home = server(&mut sim, "home", at(HOME), |config| {
            config.domains = vec!["example.com".into()];
            config.open_relay = true;
        });
        let away = server(&mut sim, "away", at(AWAY), |config| config.domains = vec!["example.net".into()]);
        let servers = [edge, middle, home, away];

        let mut called = Vec::new();
        for (number, registrar, user) in [
            (1, HOME, "bob@example.com"),
            (2, HOME, "bob@example.com"),
            (3, AWAY, "carol@example.net"),
            (4, AWAY, "carol@example.net"),
        ] {
            let how = habit(sim.random());
            let (name, ip) = (format!("called{number}"), format!("192.0.2.{}", 20 + number));
            let phone = add_phone(&mut sim, &name, &ip, registrar, how);
            if !sim.random().is_multiple_of(4) {
                register(&mut sim, phone, user, None);
            }
            called.push(phone);
        }
        if sim.random().is_multiple_of(2) {
            register(&mut sim, called[0], "bob@example.com", Some(&format!("sip:carol@{AWAY}")));
        }
        sim.run_for(Duration::from_secs(40));

        let mut callers = Vec::new();
        for number in 0..1 + sim.random() % 3 {
            let (name, ip) = (format!("caller{number}"), format!("192.0.2.{}", 30 + number));
            let phone = add_phone(&mut sim, &name, &ip, EDGE, Habit::Ring);
            callers.push(phone);
            let uri = if sim.random().is_multiple_of(4) {
                format!("sip:carol@{AWAY}")
            } else {
                "sip:bob@example.com".into()
            };
            let begins = Duration::from_millis(sim.random() % 3000);
            let gives_up =
                (sim.random().is_multiple_of(4)).then(|| Duration::from_millis(sim.random() % 9000));
            sim.after(begins, move |sim| {
                let from = "sip:alice@chicago.example";
                let tx = sim.with(phone, |phone, now| phone.send(now, Method::Invite, &uri, from, &uri));
                let Some(after) = gives_up else { return };
                sim.after(after, move |sim| {
                    sim.with(phone, |phone, now| {
                        // An error: it is answered already.
                        let _ = phone.layer.cancel(now, tx, &Headers::new(), &mut phone.out);
                    });
                });
            });
        }
        sim.run_for(Duration::from_secs(900));

        for node in servers {
            for core in sim.node(node).cores() {
                assert_eq!((core.live_contexts(), core.live_questions()), (0, 0));
                assert_eq!((core.transactions().live_client(), core.transactions().live_server()), (0, 0));
                assert_eq!(core.armed_timers(), 0);
            }
        }
        for phone in called.iter().chain(&callers) {
            let phone = sim.node(*phone);
            let layer = &phone.layer;
            assert_eq!((layer.live_client(), layer.live_server(), layer.armed_timers()), (0, 0, 0));
            assert!(phone.ringing.is_empty(), "nobody is left ringing");
        }
        for caller in &callers {
            let caller = sim.node(*caller);
            assert!(!caller.finals.is_empty() || caller.failed, "the caller knows how it ended");
            let failures = caller.finals.values().filter(|status| **status >= 300).count();
            assert!(failures <= 1, "a request is answered once: {:?}", caller.finals);
        }
        Invariants::new().assert(sim.trace());
        hops_fall(&sim);
        let mut seen = seen.lock().unwrap();
        for caller in &callers {
            seen.0.extend(sim.node(*caller).finals.values().copied());
        }
        seen.1 += called[..2].iter().filter(|phone| sim.node(**phone).acknowledged).count();
        seen.2 += called[2..].iter().filter(|phone| sim.node(**phone).acknowledged).count();
    });
    let (statuses, at_home, away) = seen.into_inner().unwrap();
    if sip_sim::replayed_seed().is_none() {
        assert!([200, 404, 486, 487, 603].iter().all(|status| statuses.contains(status)), "{statuses:?}");
        assert!(at_home > 10 && away > 10, "{at_home} calls answered at home, {away} away");
        eprintln!("{} seeds: {at_home} calls answered at home, {away} away; {statuses:?}", seeds());
    }
}

/// RFC 3261 §16.6 step 3, RFC 5393 §5.3.3: each INVITE leaves a proxy with a lower Max-Forwards than it came with, and its branches
/// share the Max-Breadth that it had.
fn hops_fall(sim: &Sim) {
    let mut came: BTreeMap<(usize, String), (u8, u32)> = BTreeMap::new();
    let mut breadth: BTreeMap<(usize, String), BTreeMap<String, u32>> = BTreeMap::new();
    for entry in &sim.trace().entries {
        let (payload, out) = match &entry.what {
            What::Sent { payload, .. } => (payload, true),
            What::Received { payload, .. } => (payload, false),
            _ => continue,
        };
        let Ok(Message::Request(request)) = Message::parse(payload.clone(), &Limits::default()) else {
            continue;
        };
        if *request.method() != Method::Invite {
            continue;
        }
        let vias: Vec<Via> = request.headers.all::<Via>().map(Result::unwrap).collect();
        let branch = |at: usize| vias[at].branch().unwrap().to_owned();
        let MaxForwards(hops) = request.headers.require().unwrap();
        let allowed = request.headers.text(HeaderName::MAX_BREADTH).map_or(60, |text| text.parse().unwrap());
        let node = entry.node.unwrap();
        if !out {
            came.insert((node, branch(0)), (hops, allowed));
        } else if vias.len() > 1 {
            let incoming = (node, branch(1));
            let (before, breadth_before) = came[&incoming];
            assert_eq!(hops, before - 1, "{}", request.headers.require::<CallId>().unwrap().as_str());
            let branches = breadth.entry(incoming).or_default();
            // A number that is not written stands for the whole breadth of the only branch.
            let explicit = request.headers.contains(HeaderName::MAX_BREADTH);
            branches.insert(branch(0), if explicit { allowed } else { 0 });
            assert!(branches.values().sum::<u32>() <= breadth_before, "{branches:?} of {breadth_before}");
            assert_eq!(request.headers.require::<CSeq>().unwrap().number, 1);
        }
    }
}
