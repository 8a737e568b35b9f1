//! Three transactions between two elements over a bad network: a test runs it with thousands of seeds, the soak of
//! `sip-sim` with as many as it is told.

use crate::element::{Client, Element, Fact, Plan, Server};
use sip_message::Method;
use sip_sim::{Burst, Conditions, Invariants, NodeId, Run, Sim};
use sip_transaction::Failure;
use sip_transport::Transport;
use std::time::Duration;

pub const CALLER: &str = "192.0.2.1:5060";
pub const CALLEE: &str = "192.0.2.2:5060";

/// 64·T1: Timers B, F, H, J, L and M.
pub const TIMEOUT: Duration = Duration::from_secs(32);
/// T4: Timers I and K.
const T4: Duration = Duration::from_secs(5);
/// Timer D over UDP.
const D: Duration = Duration::from_secs(32);
/// Longest way there or back: the network's delay, twice for what was duplicated late.
const WAY: Duration = Duration::from_millis(250);

/// Transactions of one run.
pub const SIZE: u32 = 3;

/// How many runs share one look at the wire: it costs as much as the run itself.
const WIRE_CHECKED: u64 = 8;

/// 0, 5, ... 40 % of loss, one in four with bursts beside it.
pub fn conditions(seed: u64) -> Conditions {
    let loss = f64::from(u8::try_from(seed % 9).unwrap()) * 0.05;
    let burst = Burst { begin: 0.02, end: 0.2, loss: 0.9 };
    Conditions { burst: (seed % 4 == 3).then_some(burst), ..Conditions::rough(loss) }
}

/// Plays and checks one run. Gives caller and callee as they are in the end.
pub fn play(run: &Run) -> (Sim, NodeId<Element>, NodeId<Element>) {
    let mut sim = run.sim();
    let wire = run.seed().is_multiple_of(WIRE_CHECKED);
    sim.set_tracing(wire);
    let (caller, callee) = (add(&mut sim, "caller", CALLER), add(&mut sim, "callee", CALLEE));
    for number in 0..run.size() {
        let plan = draw(&mut sim);
        let start = Duration::from_millis(sim.random() % 500);
        sim.after(start, move |sim| {
            sim.with(caller, |caller, now| caller.start(now, number, plan, CALLEE.parse().unwrap()));
        });
    }
    assert!(sim.run_until_idle(Duration::from_secs(600)), "still busy after ten minutes");
    let loss = run.conditions().loss + run.conditions().burst.map_or(0.0, |burst| burst.average());
    check(&mut sim, caller, callee, loss);
    if wire {
        Invariants::new().assert(sim.trace());
    }
    (sim, caller, callee)
}

pub fn add(sim: &mut Sim, name: &str, address: &str) -> NodeId<Element> {
    let locals = Sim::locals(address.parse().unwrap(), &[Transport::Udp, Transport::Tcp]);
    let seed = sim.core_seed();
    sim.add(name, locals.clone(), Element::new(seed, locals))
}

pub fn draw(sim: &mut Sim) -> Plan {
    let ms = |range: u64, sim: &mut Sim| Duration::from_millis(sim.random() % range);
    let method = if sim.random().is_multiple_of(2) { Method::Invite } else { Method::Options };
    let statuses: &[u16] = if method == Method::Invite { &[200, 200, 486, 603] } else { &[200, 404] };
    let status = statuses[usize::try_from(sim.random() % statuses.len() as u64).unwrap()];
    let transport = if sim.random().is_multiple_of(5) { Transport::Tcp } else { Transport::Udp };
    let ring = (method == Method::Invite && sim.random().is_multiple_of(2)).then(|| ms(1_000, sim));
    // One in eight is answered late: after the 100, or never before the client gives up.
    let slow = sim.random().is_multiple_of(8);
    let answer = ring.unwrap_or_default() + ms(if slow { 40_000 } else { 2_000 }, sim);
    let cancel = (method == Method::Invite && sim.random().is_multiple_of(3)).then(|| ms(4_000, sim));
    Plan { method, transport, ring, answer, status, cancel }
}

pub fn check(sim: &mut Sim, caller: NodeId<Element>, callee: NodeId<Element>, loss: f64) {
    for id in [caller, callee] {
        let layer = &sim.node(id).layer;
        let left = (layer.live_client(), layer.live_server(), layer.live_stateless(), layer.armed_timers());
        assert_eq!(left, (0, 0, 0, 0), "left over: client, server, stateless, timers");
    }
    let heard = sim.node(callee).servers.clone();
    let asked = sim.node(caller).clients.clone();
    for server in &heard {
        let same = heard.iter().filter(|other| other.call == server.call).count();
        assert_eq!(same, 1, "{}: a retransmission was taken for a new request", server.call);
        let client = asked.iter().find(|client| client.call == server.call);
        let gave_up =
            client.is_none_or(|client| client.facts.iter().any(|(_, fact)| matches!(fact, Fact::Failed(_))));
        check_server(server, gave_up);
    }
    for client in &asked {
        let server = heard.iter().find(|server| server.call == client.call);
        check_client(client, server, loss);
    }
}

/// A client transaction: one outcome, at the right time, and an end at the right time after it.
fn check_client(client: &Client, server: Option<&Server>, loss: f64) {
    let Plan { method, transport, .. } = &client.plan;
    let (invite, reliable) = (*method == Method::Invite, *transport == Transport::Tcp);
    let what = format!("{method} {} over {transport}: {:?}", client.call, client.facts);
    let ended: Vec<_> = client.facts.iter().filter(|(_, fact)| *fact == Fact::Terminated).collect();
    assert_eq!(ended.len(), 1, "ends once: {what}");
    assert_eq!(client.facts.last().unwrap().1, Fact::Terminated, "and then nothing: {what}");
    let ended = ended[0].0;
    let provisional =
        client.facts.iter().find(|(_, fact)| matches!(fact, Fact::Status(100..200))).map(|(at, _)| *at);
    let outcomes: Vec<_> = client
        .facts
        .iter()
        .filter(|(_, fact)| matches!(fact, Fact::Status(200..) | Fact::Failed(_)))
        .collect();
    let (at, outcome) = outcomes.first().unwrap_or_else(|| panic!("no outcome: {what}"));
    match outcome {
        Fact::Status(status) => {
            let linger = match (invite, status / 100, reliable) {
                (true, 2, _) => TIMEOUT,        // Timer M, RFC 6026 §7.2
                (_, _, true) => Duration::ZERO, // Timers D and K are zero
                (true, _, false) => D,
                (false, _, false) => T4, // Timer K
            };
            assert_eq!(ended - *at, linger, "linger: {what}");
            // Only the 2xx to INVITE comes more than once.
            assert!(outcomes.len() == 1 || (invite && status / 100 == 2), "one final response: {what}");
            assert!(outcomes.iter().all(|(_, fact)| fact == outcome), "one answer: {what}");
            let server = server.unwrap_or_else(|| panic!("an answer that nobody gave: {what}"));
            assert_eq!(server.answered.map(|(_, status)| status), Some(*status), "the answer given: {what}");
            if !invite {
                assert!(*at - client.sent <= TIMEOUT, "Timer F: {what}");
            }
            // §13.2.2.4: each 2xx is acknowledged, by the user.
            if invite && status / 100 == 2 {
                assert_eq!(client.acks, outcomes.len(), "an ACK for each 2xx: {what}");
            }
        }
        Fact::Failed(failure) => {
            assert_eq!(*failure, Failure::Timeout, "{what}");
            assert_eq!(ended, *at, "over when failed: {what}");
            let from = match (invite, provisional, client.cancelled) {
                // Timer B or F from the first request.
                (true, None, _) | (false, _, _) => client.sent,
                // §9.1: 64*T1 from the CANCEL, which waits for the first provisional response.
                (true, Some(provisional), Some(cancelled)) => provisional.max(cancelled),
                (true, Some(_), None) => panic!("a ringing INVITE does not time out: {what}"),
            };
            assert_eq!(*at - from, TIMEOUT, "64*T1: {what}");
            if loss == 0.0 {
                // Nothing gets lost: only who answered too late is not heard.
                assert!(!invite && client.plan.answer + WAY > TIMEOUT, "lost without loss: {what}");
            }
        }
        _ => unreachable!(),
    }
}

/// A server transaction: it ends when its timers say so. `client_gave_up`: nobody was left to acknowledge.
fn check_server(server: &Server, client_gave_up: bool) {
    let (invite, reliable) = (server.method == Method::Invite, server.transport == Transport::Tcp);
    let what = format!("{} {} over {}: {server:?}", server.method, server.call, server.transport);
    assert_eq!(server.ended.len(), 1, "ends once: {what}");
    let ended = server.ended[0];
    match server.answered {
        None => {
            // RFC 4320 §4.2: nobody waits any more.
            assert!(!invite, "an INVITE gets its answer: {what}");
            assert_eq!(ended - server.received, TIMEOUT, "{what}");
        }
        Some((at, 200..300)) if invite => {
            assert_eq!(ended - at, TIMEOUT, "Timer L, RFC 6026 §7.1: {what}");
            assert!(server.unacknowledged.is_none(), "{what}");
        }
        Some((at, _)) if invite => match server.unacknowledged {
            Some(timer_h) => {
                assert_eq!((timer_h - at, ended), (TIMEOUT, timer_h), "Timer H: {what}");
                // A segment that is lost six times in a row comes later than a client waits.
                assert!(!reliable || client_gave_up, "an ACK lost over TCP: {what}");
            }
            // A loss on a connection costs time only: the ACK is sure to come.
            None if reliable => assert!(ended - at < TIMEOUT, "ends with the ACK: {what}"),
            None => assert!(ended - at >= T4 && ended - at <= TIMEOUT + T4, "Timer I after the ACK: {what}"),
        },
        Some((at, _)) => {
            assert_eq!(ended - at, if reliable { Duration::ZERO } else { TIMEOUT }, "Timer J: {what}");
        }
    }
    // An ACK goes up only for a 2xx.
    assert!(server.acks == 0 || matches!(server.answered, Some((_, 200..300))), "{what}");
}
