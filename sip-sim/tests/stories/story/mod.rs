//! A story: three phones of two users, a server between, a presence server beside. What the tests here and the soak have in
//! common.

mod book;
mod deeds;
mod events;
mod presence;
mod user;

use std::time::Duration;

use sip_dialog::{Config, Dialogs, ReliableProvisionals, SessionTimer};
use sip_message::Method;
use sip_server::ServerCore;
use sip_sim::{Invariants, NodeId, Run, Sim};
use sip_transport::Transport;

use book::{Chance, compare};
use presence::Presence;
use user::{Deed, Told, User};

const SERVER: &str = "192.0.2.100:5060";
const PRESENCE: &str = "192.0.2.50:5060";
/// Name, user of the address-of-record, address.
const PHONES: [(&str, &str, &str); 3] = [
    ("alice", "alice", "192.0.2.1:5060"),
    ("bob-1", "bob", "192.0.2.2:5060"),
    ("bob-2", "bob", "192.0.2.3:5060"),
];

/// Things that each phone begins.
pub(crate) const SIZE: u32 = 5;

/// How many runs share one look at the wire.
const WIRE_CHECKED: u64 = 4;

/// The time in which the phones begin something.
const ACTING: Duration = Duration::from_secs(60);
/// Then they let what they have begun settle, with what still stands: two refreshes of a session timer's time.
const SETTLING: Duration = Duration::from_secs(150);

/// The loss of a seed: 0 to 30 %.
pub(crate) fn loss(seed: u64) -> f64 {
    (seed % 31) as f64 / 100.0
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a phone is like varies with the seed.
fn phone(sim: &mut Sim, at: &str, chance: &mut Chance) -> Dialogs {
    let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
    let mut config = Config::new(sip_transaction::Config::new(sim.core_seed(), locals));
    config.allow.extend([Method::Subscribe, Method::Notify, Method::Refer]);
    config.events.packages = vec!["story".into()];
    config.events.min_expires = 10;
    config.events.refer_expires = 60;
    config.ring_limit = Some(seconds(40));
    config.keep_forks = chance.one_in(3);
    config.reliable = chance.pick(&[
        ReliableProvisionals::Demanded,
        ReliableProvisionals::Describing,
        ReliableProvisionals::All,
    ]);
    let minimum = chance.pick(&[90, 90, 100]);
    config.session_timer = (!chance.one_in(4)).then_some(SessionTimer { interval: minimum, minimum });
    if chance.one_in(5) {
        config.allow.retain(|method| *method != Method::Update);
    }
    Dialogs::new(config)
}

fn server(sim: &mut Sim) -> NodeId<ServerCore> {
    let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
    let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    config.open_relay = true; // redirections and transfers lead to addresses of phones
    let core = ServerCore::new(config, sim.now(), seconds(1_700_000_000)).unwrap();
    sim.add("server", locals, core)
}

fn standing(sim: &mut Sim, phones: &[NodeId<User>]) -> Vec<user::Standing> {
    phones.iter().map(|phone| sim.node(*phone).standing()).collect()
}

/// Plays a story. In the end:
///
/// * no call, dialog, transaction, subscription, publication or timer is left at any phone, and the server is empty;
/// * each offer was answered or refused, none twice, and no two were open in one dialog;
/// * both sides of a dialog believe the same of the session, up to the exchange that its end cut off; where next to nothing is
///   lost they agree while the calls stand;
/// * the wire shows nothing that [`Invariants`] objects to.
pub(crate) fn play(run: &Run) -> (Sim, Vec<Told>) {
    let mut sim = run.sim();
    let wire = run.seed().is_multiple_of(WIRE_CHECKED);
    sim.set_tracing(wire);
    let server = server(&mut sim);
    let presence = Presence::new(&mut sim, PRESENCE);
    let locals = Sim::locals(PRESENCE.parse().unwrap(), &[Transport::Udp]);
    let presence = sim.add("presence", locals, presence);
    let phones: Vec<NodeId<User>> = PHONES
        .iter()
        .map(|(name, user, at)| {
            let mut chance = Chance::new(sim.random());
            let dialogs = phone(&mut sim, at, &mut chance);
            let now = sim.now();
            let mut phone = User::new(dialogs, name, user, at, chance);
            phone.plan(now, Deed::Register);
            for _ in 0..run.size() {
                phone.plan_within(now + seconds(2), ACTING - seconds(2), Deed::Begin);
            }
            sim.add(name, Sim::locals(at.parse().unwrap(), &[Transport::Udp]), phone)
        })
        .collect();
    sim.run_for(ACTING + SETTLING);
    if run.conditions().loss <= 0.05 {
        // An exchange may be under way at any moment.
        let agreed = sim.run_until(seconds(30), |sim| book::apart(&standing(sim, &phones)).is_none());
        let apart = book::apart(&standing(&mut sim, &phones));
        assert!(agreed, "while calls stand: {}", apart.unwrap_or_default());
    }
    for phone in &phones {
        sim.with(*phone, |phone, now| phone.plan(now, Deed::Quit));
    }
    let rests = sim.run_until_idle(seconds(2 * 3600));
    for phone in &phones {
        sim.node(*phone).assert_nothing_is_left();
    }
    sim.node(presence).assert_nothing_is_left();
    assert!(rests, "the network never comes to rest");
    let core = sim.node(server);
    assert_eq!(core.live_contexts(), 0, "the proxy keeps a call");
    assert_eq!(core.transactions().live_client() + core.transactions().live_server(), 0);
    assert_eq!((core.bindings(), core.armed_timers()), (0, 0), "the server keeps something");
    let books: Vec<_> = phones.iter().map(|phone| sim.node(*phone).take_book()).collect();
    compare(&books);
    if wire {
        Invariants::new().assert(sim.trace());
    }
    let told = phones.iter().map(|phone| std::mem::take(&mut sim.node(*phone).told)).collect();
    (sim, told)
}
