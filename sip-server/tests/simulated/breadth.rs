//! The attack of RFC 5393 §3: users who are forwarded to each other at two servers, so that one request would become 2^70. And the
//! spiral, which looks alike and is none.

use std::time::Duration;

use sip_message::{Limits, Message, Method};
use sip_server::{Config, ServerCore};
use sip_sim::{Conditions, Invariants, NodeId, Sim, What};
use sip_transport::Transport;

use crate::phone::{Habit, Phone, add_phone};

const ONE: &str = "192.0.2.1:5060";
const TWO: &str = "192.0.2.2:5060";

fn server(sim: &mut Sim, at: &str, domain: &str) -> NodeId<ServerCore> {
    let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
    let mut config = Config::new(sim.core_seed(), locals.clone());
    config.domains = vec![domain.into()];
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    sim.add(domain, locals, core)
}

fn bind(sim: &mut Sim, phone: NodeId<Phone>, aor: &str, contact: &str) {
    let (_, domain) = aor.split_once('@').unwrap();
    let (domain, aor, contact) = (format!("sip:{domain}"), format!("sip:{aor}"), contact.parse().unwrap());
    sim.with(phone, |phone, now| {
        phone.send_for(now, Method::Register, &domain, (&aor, &aor), &contact);
    });
    sim.run_for(Duration::from_secs(1));
}

/// INVITEs that the servers have sent, each counted once.
fn invites(sim: &Sim, servers: &[&str]) -> usize {
    let branches: std::collections::BTreeSet<String> = sim
        .trace()
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Sent { payload, path, .. } if servers.contains(&path.local.to_string().as_str()) => {
                let message = Message::parse(payload.clone(), &Limits::default()).ok()?;
                let invite = message.as_request().filter(|request| *request.method() == Method::Invite)?;
                invite.headers.text("Via").map(str::to_owned)
            }
            _ => None,
        })
        .collect();
    branches.len()
}

/// R31: every user of each server is two users of the other. At most twice as many messages as the breadth allows.
#[test]
fn rfc5393_3_users_forwarded_to_each_other_make_no_flood() {
    let mut sim = Sim::new(1, Conditions::PERFECT);
    let servers = [server(&mut sim, ONE, "example.com"), server(&mut sim, TWO, "example.net")];
    let at_one = add_phone(&mut sim, "eve1", "192.0.2.11", ONE, Habit::Ring);
    let at_two = add_phone(&mut sim, "eve2", "192.0.2.12", TWO, Habit::Ring);
    for user in ["a", "b"] {
        for other in ["a", "b"] {
            bind(&mut sim, at_one, &format!("{user}@example.com"), &format!("sip:{other}@{TWO}"));
            bind(&mut sim, at_two, &format!("{user}@example.net"), &format!("sip:{other}@{ONE}"));
        }
    }
    let caller = add_phone(&mut sim, "caller", "192.0.2.13", ONE, Habit::Ring);
    sim.with(caller, |caller, now| {
        caller.send(now, Method::Invite, "sip:a@example.com", "sip:eve@example.org", "sip:a@example.com");
    });
    sim.run_for(Duration::from_secs(600));
    let sent = invites(&sim, &[ONE, TWO]);
    assert!((8..=120).contains(&sent), "{sent} INVITEs");
    let finals: Vec<u16> = sim.node(caller).finals.values().copied().collect();
    assert!(matches!(finals[..], [440 | 482]), "{finals:?}");
    for server in servers {
        let core = sim.node(server);
        assert_eq!((core.live_contexts(), core.armed_timers()), (0, 0));
        assert_eq!((core.transactions().live_client(), core.transactions().live_server()), (0, 0));
    }
    Invariants::new().assert(sim.trace());
}

/// RFC 5393 §4.2: a request that comes back with another Request-URI is a spiral, and goes on.
#[test]
fn rfc5393_4_2_a_spiral_is_no_loop() {
    let mut sim = Sim::new(1, Conditions::PERFECT);
    server(&mut sim, ONE, "example.com");
    let bob = add_phone(&mut sim, "bob", "192.0.2.11", ONE, Habit::PickUp(Duration::from_secs(2)));
    bind(&mut sim, bob, "sales@example.com", &format!("sip:office@{ONE}"));
    bind(&mut sim, bob, "office@example.com", &format!("sip:bob@{ONE}"));
    let contact = sim.node(bob).contact.to_string();
    bind(&mut sim, bob, "bob@example.com", &contact);
    let caller = add_phone(&mut sim, "caller", "192.0.2.13", ONE, Habit::Ring);
    sim.with(caller, |caller, now| {
        caller.send(
            now,
            Method::Invite,
            "sip:sales@example.com",
            "sip:c@example.org",
            "sip:sales@example.com",
        );
    });
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.node(caller).finals.values().copied().collect::<Vec<_>>(), [200]);
    assert!(sim.node(bob).acknowledged);
    assert_eq!(invites(&sim, &[ONE]), 3, "it passed the server three times");
    Invariants::new().assert(sim.trace());
}
