//! Forked calls through the server on a network that loses, repeats and reorders, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, CallId, Contact, From, RecordRoute, Route, To};
use sip_message::{Headers, Method, Request, Response, StatusCode, Uri};
use sip_server::settings::Settings;
use sip_server::{Config, ServerCore};
use sip_sim::{Conditions, NodeId, Sim, for_each_seed};
use sip_transaction::{Config as LayerConfig, Event, ServerTx, Target, Transactions};
use sip_transport::{Answer, Core, FlowEvent, Locals, Path, Query, Queues, Received, Transmit, Transport};

const SERVER: &str = "192.0.2.1:5060";

/// What a phone does when it is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// Rings and is picked up after this time.
    PickUp(Duration),
    /// Rings and is refused after this time.
    Refuse(Duration, u16),
    /// Rings.
    Ring,
}

struct Ringing {
    tx: ServerTx,
    request: Request,
    decide_at: Option<Instant>,
}

/// A 2xx that is repeated until its ACK comes (RFC 3261 §13.3.1.4).
struct Unacknowledged {
    tx: ServerTx,
    response: Response,
    next: Instant,
    interval: Duration,
    give_up: Instant,
}

/// The least phone that can be a party of a call.
struct Phone {
    layer: Transactions,
    out: Queues<Event>,
    contact: Uri,
    habit: Habit,
    ringing: Vec<Ringing>,
    unacknowledged: Vec<Unacknowledged>,
    // What happened, for the test.
    registered: bool,
    /// Final responses to its INVITE: status by To tag.
    finals: BTreeMap<String, u16>,
    failed: bool,
    picked_up: bool,
    acknowledged: bool,
    cancelled: bool,
    statuses: BTreeSet<u16>,
}

impl Phone {
    fn new(seed: [u8; 32], locals: Locals, user: &str, habit: Habit) -> Phone {
        let contact = locals.iter().next().unwrap().uri(Some(user)).unwrap();
        Phone {
            layer: Transactions::new(LayerConfig::new(seed, locals)),
            out: Queues::new(),
            contact,
            habit,
            ringing: Vec::new(),
            unacknowledged: Vec::new(),
            registered: false,
            finals: BTreeMap::new(),
            failed: false,
            picked_up: false,
            acknowledged: false,
            cancelled: false,
            statuses: BTreeSet::new(),
        }
    }

    fn server() -> Target {
        Target::Path(Path::to(Transport::Udp, SERVER.parse().unwrap()))
    }

    fn send(&mut self, now: Instant, method: Method, uri: &str, from: &str, to: &str) {
        let uri: Uri = uri.parse().unwrap();
        let request = Request::builder(method.clone(), &uri)
            .header(&From::new(&from.parse().unwrap()).with_tag(&self.layer.token()))
            .header(&To::new(&to.parse().unwrap()))
            .header(&CallId::new(&self.layer.token()))
            .header(&CSeq::new(1, method))
            .header(&Contact::new(&self.contact))
            .build()
            .unwrap();
        self.layer.send(now, request, Self::server(), &mut self.out).unwrap();
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                Event::Request { tx, request, .. } => self.called(now, tx, request),
                Event::Ack { request, .. } => {
                    let tag = request.headers.require::<To>().unwrap().tag().unwrap_or_default().to_owned();
                    self.unacknowledged.retain(|one| tag_of(&one.response) != tag);
                    self.acknowledged = true;
                }
                Event::Cancelled { tx, .. } => {
                    if let Some(at) = self.ringing.iter().position(|ringing| ringing.tx == tx) {
                        let ringing = self.ringing.remove(at);
                        self.cancelled = true;
                        self.respond(now, &ringing, 487);
                    }
                }
                Event::Response { response, .. } | Event::Stray { response, .. } => {
                    self.answered(now, &response)
                }
                Event::Failed { .. } => self.failed = true,
                _ => {}
            }
        }
    }

    fn called(&mut self, now: Instant, tx: ServerTx, request: Request) {
        if *request.method() != Method::Invite {
            let ok = request.reply(StatusCode::OK).build().unwrap();
            self.layer.respond(now, tx, ok, &mut self.out).unwrap();
            return;
        }
        let decide_at = match self.habit {
            Habit::PickUp(after) | Habit::Refuse(after, _) => Some(now + after),
            Habit::Ring => None,
        };
        let ringing = Ringing { tx, request, decide_at };
        self.respond(now, &ringing, 180);
        self.ringing.push(ringing);
    }

    fn respond(&mut self, now: Instant, ringing: &Ringing, status: u16) -> Response {
        let tag = format!("{}-{}", self.contact.host(), ringing.tx);
        let response = ringing
            .request
            .reply(StatusCode::new(status).unwrap())
            .to_tag(&tag.replace(' ', "-"))
            .header(&Contact::new(&self.contact))
            .build()
            .unwrap();
        let _ = self.layer.respond(now, ringing.tx, response.clone(), &mut self.out);
        response
    }

    /// A response to its own INVITE or REGISTER.
    fn answered(&mut self, now: Instant, response: &Response) {
        let cseq: CSeq = response.headers.require().unwrap();
        let status = response.status();
        if cseq.method == Method::Register {
            self.registered |= status.is_success();
        }
        if cseq.method != Method::Invite {
            return;
        }
        self.statuses.insert(status.code());
        if !status.is_final() {
            return;
        }
        let again = self.finals.insert(tag_of(response), status.code()).is_some();
        if status.is_success() {
            let ack = in_dialog(response, Method::Ack);
            let target = Target::next_hop(&ack).unwrap();
            self.layer.send_stateless(ack, target, &mut self.out).unwrap();
            if !again {
                // One word and good-bye.
                let bye = in_dialog(response, Method::Bye);
                let target = Target::next_hop(&bye).unwrap();
                self.layer.send(now, bye, target, &mut self.out).unwrap();
            }
        }
    }

    fn due(&mut self, now: Instant) {
        let due = |ringing: &Ringing| ringing.decide_at.is_some_and(|at| at <= now);
        while let Some(at) = self.ringing.iter().position(due) {
            let ringing = self.ringing.remove(at);
            match self.habit {
                Habit::Refuse(_, status) => drop(self.respond(now, &ringing, status)),
                _ => {
                    self.picked_up = true;
                    let response = self.respond(now, &ringing, 200);
                    let interval = Duration::from_millis(500);
                    self.unacknowledged.push(Unacknowledged {
                        tx: ringing.tx,
                        response,
                        next: now + interval,
                        interval,
                        give_up: now + interval * 64,
                    });
                }
            }
        }
        let (layer, out) = (&mut self.layer, &mut self.out);
        self.unacknowledged.retain_mut(|one| {
            if one.next <= now {
                let _ = layer.respond(now, one.tx, one.response.clone(), out);
                one.interval = (one.interval * 2).min(Duration::from_secs(4));
                one.next = now + one.interval;
            }
            one.give_up > now
        });
    }
}

fn tag_of(response: &Response) -> String {
    response.headers.require::<To>().unwrap().tag().unwrap_or_default().to_owned()
}

/// RFC 3261 §12.2.1.1, the caller's side.
fn in_dialog(response: &Response, method: Method) -> Request {
    let contact: Contact = response.headers.require().unwrap();
    let mut routes: Vec<Route> =
        response.headers.all::<RecordRoute>().map(|route| Route(route.unwrap().0)).collect();
    routes.reverse();
    let number = if method == Method::Ack { 1 } else { 2 };
    Request::builder(method.clone(), contact.uri().unwrap())
        .headers(&routes)
        .copy(&response.headers, "From")
        .copy(&response.headers, "To")
        .copy(&response.headers, "Call-ID")
        .header(&CSeq::new(number, method))
        .build()
        .unwrap()
}

impl Core for Phone {
    fn receive(&mut self, now: Instant, received: Received) {
        self.layer.receive(now, received, &mut self.out);
        self.settle(now);
    }
    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.layer.flow_event(now, event, &mut self.out);
        self.settle(now);
    }
    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.layer.resolved(now, answer, &mut self.out);
        self.settle(now);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now, &mut self.out);
        self.settle(now);
        self.due(now);
        self.settle(now);
    }
    fn poll_timeout(&self) -> Option<Instant> {
        let decisions = self.ringing.iter().filter_map(|ringing| ringing.decide_at);
        let repeats = self.unacknowledged.iter().map(|one| one.next.min(one.give_up));
        self.layer.poll_timeout().into_iter().chain(decisions).chain(repeats).min()
    }
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }
    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }
}

fn add_phone(sim: &mut Sim, name: &str, ip: &str, habit: Habit) -> NodeId<Phone> {
    let address: SocketAddr = format!("{ip}:5060").parse().unwrap();
    let locals = Sim::locals(address, &[Transport::Udp]);
    let seed = sim.core_seed();
    sim.add(name, locals.clone(), Phone::new(seed, locals, name, habit))
}

fn add_server(sim: &mut Sim) -> NodeId<ServerCore> {
    add_server_with(sim, |_| {})
}

fn add_server_with(sim: &mut Sim, change: impl FnOnce(&mut Config)) -> NodeId<ServerCore> {
    let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
    let mut config = Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    change(&mut config);
    let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
    sim.add("server", locals, core)
}

fn habit(random: u64) -> Habit {
    let after = Duration::from_millis(500 + random / 7 % 6000);
    match random % 7 {
        0..=2 => Habit::PickUp(after),
        3 => Habit::Refuse(after, 603),
        4 | 5 => Habit::Refuse(after, 486),
        _ => Habit::Ring,
    }
}

/// Bob has two phones; alice calls; whatever the network does, everybody ends with the same picture and nothing is left.
#[test]
fn forked_calls_over_a_bad_network() {
    for_each_seed(600, |seed| {
        let loss = [0.0, 0.1, 0.2, 0.3][usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, if loss == 0.0 { Conditions::PERFECT } else { Conditions::rough(loss) });
        let server = add_server(&mut sim);
        let (one, two) = (habit(sim.random()), habit(sim.random()));
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", Habit::Ring);
        let bob1 = add_phone(&mut sim, "bob1", "192.0.2.12", one);
        let bob2 = add_phone(&mut sim, "bob2", "192.0.2.13", two);
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
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", Habit::Ring);
        let bob = add_phone(&mut sim, "bob", "192.0.2.12", habits.0);
        let carol = add_phone(&mut sim, "carol", "192.0.2.13", habits.1);
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
        let alice = add_phone(&mut sim, "alice", "192.0.2.11", Habit::Ring);
        let bob = add_phone(&mut sim, "bob", "192.0.2.12", Habit::Ring);
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
            alice.layer.send(now, request, Phone::server(), &mut alice.out).unwrap()
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
