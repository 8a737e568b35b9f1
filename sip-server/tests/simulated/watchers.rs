//! Fifty users who watch each other and write to each other over lossy links, come and go, and a server that crashes: in the end
//! everybody knows the truth, and has every message once that anybody was told is on its way.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sip_dialog::packages::presence::Presence;
use sip_message::headers::{
    CSeq, CallId, Contact, Event as EventPackage, Expires, From, SipETag, SipIfMatch, To,
};
use sip_message::{Method, Request, RequestBuilder, Response, StatusCode, Uri};
use sip_server::events::record::KeptSubscription;
use sip_server::events::{EventConfig, MemoryEvents};
use sip_server::messages::{MemoryMessages, MessageConfig};
use sip_server::{Config, ServerCore};
use sip_sim::{Conditions, NodeId, Sim, for_each_seed};
use sip_transaction::{ClientTx, Config as LayerConfig, Event, Target, Transactions};
use sip_transport::{Answer, Core, FlowEvent, Locals, Path, Query, Queues, Received, Transmit, Transport};

use crate::forked::SERVER;

const USERS: usize = 50;
/// What phones register and publish for, and after how long they do it again.
const EXPIRES: u32 = 120;
const REFRESH: Duration = Duration::from_secs(60);
/// The same of subscriptions: no refresh brings the truth, before it is looked whether NOTIFYs have.
const SUBSCRIBED: u32 = 1500;
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(700);
/// When that is: all have done what they do, and publications that lost their answer are over.
const QUIET: Duration = Duration::from_secs(560);
const AGAIN: Duration = Duration::from_secs(5);
const UNIX: Duration = Duration::from_secs(1_700_000_000);

/// How many seeds: `SIM_WATCHERS=100000` for a soak.
fn seeds() -> u64 {
    std::env::var("SIM_WATCHERS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// A subscription of a user.
#[derive(Debug)]
struct Watch {
    call_id: String,
    tag: String,
    remote: Option<String>,
    cseq: u32,
    seen: u32,
    /// What they were told last.
    shown: Option<Shown>,
    next: Instant,
}

/// What a document says: the note of who publishes, or whether they are registered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Note(String),
    Registered(bool),
}

#[derive(Clone, Debug)]
enum Asked {
    Register,
    Publish(u32),
    Subscribe(usize, String),
    Write(usize, u32),
    Nothing,
}

/// A user with one phone, which does what phones do: it refreshes, and begins anew when it is told that it is unknown.
struct User {
    layer: Transactions,
    out: Queues<Event>,
    number: usize,
    contact: Uri,
    server: Target,
    here: bool,
    register_at: Option<Instant>,
    registers: u32,
    /// What it publishes, its tag, and when it is to be sent again.
    note: Option<u32>,
    etag: Option<String>,
    publish_at: Option<Instant>,
    watches: BTreeMap<usize, Watch>,
    asked: BTreeMap<ClientTx, Asked>,
    busy: bool,
    /// Messages begun, and those that were taken: for whom, which, and whether they were kept for later (202).
    written: u32,
    taken: Vec<(usize, u32, bool)>,
    /// Messages that came, by whom and which, and what a phone knows repetitions by.
    came: Vec<(usize, u32)>,
    had: BTreeSet<String>,
}

fn name(user: usize) -> String {
    format!("sip:u{user}@example.com")
}

impl User {
    fn request(&mut self, method: Method, uri: &str, to: usize) -> RequestBuilder {
        Request::builder(method, &uri.parse().unwrap())
            .header(&To::new(&name(to).parse().unwrap()))
            .header(&Contact::new(&self.contact))
    }

    fn send(&mut self, now: Instant, request: RequestBuilder, asked: Asked) {
        let request = request.build().unwrap();
        let tx = self.layer.send(now, request, self.server.clone(), &mut self.out).unwrap();
        self.asked.insert(tx, asked);
    }

    fn outside(&mut self, method: Method, uri: &str) -> RequestBuilder {
        let (tag, call_id) = (self.layer.token(), self.layer.token());
        self.request(method.clone(), uri, self.number)
            .header(&From::new(&name(self.number).parse().unwrap()).with_tag(&tag))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(u32::try_from(self.layer.random() % 1_000_000).unwrap(), method))
    }

    fn register(&mut self, now: Instant) {
        let expires = if self.here { EXPIRES } else { 0 };
        // One Call-ID and growing CSeq, or a late one would count (RFC 3261 §10.2.4).
        self.register_at = Some(now + REFRESH);
        self.registers += 1;
        let request = self
            .request(Method::Register, "sip:example.com", self.number)
            .header(&From::new(&name(self.number).parse().unwrap()).with_tag("r"))
            .header(&CallId::new(&format!("reg-{}", self.number)))
            .header(&CSeq::new(self.registers, Method::Register))
            .header(&Expires(expires));
        self.send(now, request, Asked::Register);
    }

    fn publish(&mut self, now: Instant) {
        // One at a time (RFC 3903 §4): what changes meanwhile goes after it.
        if self.busy {
            self.publish_at = Some(now + Duration::from_secs(1));
            return;
        }
        self.publish_at = Some(now + REFRESH);
        let Some(note) = self.note else {
            self.publish_at = None;
            if let Some(etag) = self.etag.take() {
                let request = self.outside(Method::Publish, &name(self.number));
                let request = request.header(&EventPackage::new("presence")).header(&SipIfMatch(etag));
                self.send(now, request.header(&Expires(0)), Asked::Nothing);
            }
            return;
        };
        let mut presence =
            Presence::new(&name(self.number), sip_dialog::packages::presence::Basic::Open, None);
        presence
            .notes
            .push(sip_dialog::packages::presence::Note { text: format!("n{note}"), language: None });
        let mut request = self
            .outside(Method::Publish, &name(self.number))
            .header(&EventPackage::new("presence"))
            .header(&Expires(EXPIRES));
        if let Some(etag) = &self.etag {
            request = request.header(&SipIfMatch(etag.clone()));
        }
        self.busy = true;
        let request = request.body("application/pidf+xml", presence.to_xml());
        self.send(now, request, Asked::Publish(note));
    }

    fn write(&mut self, now: Instant, whom: usize) {
        if !self.here {
            return;
        }
        self.written += 1;
        let request = self.outside(Method::Message, &name(whom));
        let request = request.body("text/plain", format!("{} {}", self.number, self.written));
        self.send(now, request, Asked::Write(whom, self.written));
    }

    /// A message came: one that has come before is not shown again.
    fn read(&mut self, request: &Request) -> StatusCode {
        if !self.here {
            return StatusCode::TEMPORARILY_UNAVAILABLE;
        }
        if self.had.insert(request.headers.require::<CallId>().unwrap().as_str().to_owned()) {
            let text = std::str::from_utf8(request.body()).unwrap();
            let (by, which) = text.split_once(' ').unwrap();
            self.came.push((by.parse().unwrap(), which.parse().unwrap()));
        }
        StatusCode::OK
    }

    fn subscribe(&mut self, now: Instant, whom: usize, expires: u32) {
        let (fresh, call_id) = (self.layer.token(), self.layer.token());
        let watch = self.watches.entry(whom).or_insert_with(|| Watch {
            call_id,
            tag: fresh,
            remote: None,
            cseq: 0,
            seen: 0,
            shown: None,
            next: now,
        });
        watch.next = now + SUBSCRIBE_AGAIN;
        watch.cseq += 1;
        let (uri, to) = match &watch.remote {
            Some(tag) => (format!("sip:{SERVER}"), To::new(&name(whom).parse().unwrap()).with_tag(tag)),
            None => (name(whom), To::new(&name(whom).parse().unwrap())),
        };
        let request = Request::builder(Method::Subscribe, &uri.parse().unwrap())
            .header(&to)
            .header(&Contact::new(&self.contact))
            .header(&From::new(&name(self.number).parse().unwrap()).with_tag(&watch.tag))
            .header(&CallId::new(&watch.call_id))
            .header(&CSeq::new(watch.cseq, Method::Subscribe))
            .header(&EventPackage::new("presence"))
            .header(&Expires(expires));
        let asked = if expires == 0 { Asked::Nothing } else { Asked::Subscribe(whom, watch.call_id.clone()) };
        self.send(now, request, asked);
    }

    fn unwatch(&mut self, now: Instant, whom: usize) {
        if self.watches.get(&whom).is_some_and(|watch| watch.remote.is_some()) {
            self.subscribe(now, whom, 0);
        }
        self.watches.remove(&whom);
    }

    /// Something that somebody does.
    fn act(&mut self, now: Instant, random: u64) {
        let whom = usize::try_from(random / 16).unwrap() % USERS;
        match random % 16 {
            0..=6 if self.here && !self.watches.contains_key(&whom) => self.subscribe(now, whom, SUBSCRIBED),
            7 | 8 if self.here => self.unwatch(now, whom),
            9..=11 if self.here => {
                self.note = Some(self.note.unwrap_or(0) + 1 + u32::try_from(random % 1000).unwrap());
                self.publish(now);
            }
            12 if self.here => {
                self.note = None;
                self.publish(now);
            }
            13 | 14 => {
                self.here = !self.here;
                self.register(now);
                if !self.here {
                    self.note = None;
                    self.publish(now);
                    for whom in self.watches.keys().copied().collect::<Vec<_>>() {
                        self.unwatch(now, whom);
                    }
                }
            }
            _ => {}
        }
    }

    fn truth(&self) -> Shown {
        self.note.map_or(Shown::Registered(self.here), |note| Shown::Note(format!("n{note}")))
    }

    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                Event::Request { tx, request, .. } => {
                    let status = match request.method() {
                        Method::Message => self.read(&request),
                        _ => self.notified(now, &request),
                    };
                    let reply = request.reply(status).build().unwrap();
                    let _ = self.layer.respond(now, tx, reply, &mut self.out);
                }
                Event::Response { tx, response, .. } if response.status().is_final() => {
                    if let Some(asked) = self.asked.remove(&tx) {
                        self.answered(now, asked, Some(&response));
                    }
                }
                Event::Failed { tx, .. } => {
                    if let Some(asked) = self.asked.remove(&tx) {
                        self.answered(now, asked, None);
                    }
                }
                _ => {}
            }
        }
    }

    fn answered(&mut self, now: Instant, asked: Asked, response: Option<&Response>) {
        let good = response.filter(|response| response.status().is_success());
        match asked {
            Asked::Register if good.is_none() => self.register_at = Some(now + AGAIN),
            Asked::Publish(note) => {
                self.busy = false;
                self.etag = good.map(|good| good.headers.require::<SipETag>().unwrap().0);
                if good.is_none() || self.note != Some(note) {
                    self.publish_at = Some(now + if good.is_none() { AGAIN } else { Duration::ZERO });
                }
            }
            Asked::Write(whom, which) => {
                self.taken.extend(good.map(|good| (whom, which, good.status() == StatusCode::ACCEPTED)));
            }
            Asked::Subscribe(whom, call_id) => {
                let Some(watch) = self.watches.get_mut(&whom).filter(|watch| watch.call_id == call_id) else {
                    return;
                };
                match good {
                    Some(good) => {
                        // A SUBSCRIBE that was sent again after the crash has made another dialog.
                        let tag = good.headers.require::<To>().unwrap().tag().map(str::to_owned);
                        if watch.remote != tag {
                            (watch.remote, watch.seen) = (tag, 0);
                        }
                    }
                    // Unknown, or nobody answers: begin anew (RFC 6665 §4.1.2.2).
                    None => self.begin_anew(now, whom),
                }
            }
            _ => {}
        }
    }

    fn begin_anew(&mut self, now: Instant, whom: usize) {
        let (call_id, tag) = (self.layer.token(), self.layer.token());
        if let Some(watch) = self.watches.get_mut(&whom) {
            (watch.call_id, watch.tag, watch.remote) = (call_id, tag, None);
            (watch.cseq, watch.seen, watch.next) = (0, 0, now + AGAIN);
        }
    }

    fn notified(&mut self, now: Instant, request: &Request) -> StatusCode {
        let call_id = request.headers.require::<CallId>().unwrap();
        let to = request.headers.require::<To>().unwrap();
        let is_it = |watch: &Watch| watch.call_id == call_id.as_str() && to.tag() == Some(&watch.tag);
        let Some((whom, watch)) = self.watches.iter_mut().find(|(_, watch)| is_it(watch)) else {
            return StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        };
        let whom = *whom;
        let cseq = request.headers.require::<CSeq>().unwrap().number;
        let from = request.headers.require::<From>().unwrap();
        if watch.remote.as_deref().is_some_and(|remote| from.tag() != Some(remote)) {
            return StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST; // of a dialog that was made before, or besides
        }
        if cseq <= watch.seen {
            return StatusCode::SERVER_INTERNAL_ERROR; // RFC 3261 §12.2.2
        }
        watch.seen = cseq;
        if watch.remote.is_none() {
            watch.remote = from.tag().map(str::to_owned);
        }
        if let Ok(presence) = Presence::parse(request.body()) {
            // While a publication that lost its answer lives, there are two: it is over soon.
            let note = presence.notes.last().map(|note| Shown::Note(note.text.clone()));
            watch.shown = Some(note.unwrap_or(Shown::Registered(presence.is_open())));
        }
        if request.headers.text("Subscription-State").unwrap().starts_with("terminated") {
            self.begin_anew(now, whom);
        }
        StatusCode::OK
    }

    fn due(&mut self, now: Instant) {
        if self.register_at.is_some_and(|at| at <= now) {
            self.register(now);
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish(now);
        }
        let due: Vec<usize> =
            self.watches.iter().filter(|(_, watch)| watch.next <= now).map(|(whom, _)| *whom).collect();
        for whom in due {
            self.subscribe(now, whom, SUBSCRIBED);
        }
    }
}

impl Core for User {
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
        let watches = self.watches.values().map(|watch| watch.next);
        [self.layer.poll_timeout(), self.register_at, self.publish_at]
            .into_iter()
            .flatten()
            .chain(watches)
            .min()
    }
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }
    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }
}

fn core(sim: &mut Sim, locals: &Locals, store: &MemoryEvents) -> ServerCore {
    let mut config = Config::new(sim.core_seed(), locals.clone());
    config.domains = vec!["example.com".into()];
    let mut events = EventConfig::new();
    events.limits.notifying = 20;
    (config.events, config.keep_events) = (Some(events), true);
    (config.messages, config.external_messages) = (Some(MessageConfig::new()), true);
    let mut core = ServerCore::new(config, sim.now(), UNIX + sim.elapsed()).unwrap();
    core.restore_events(sim.now(), store.records());
    core
}

/// The store of messages answers after a while, as a disk does: what it has done stays done if the server is no more.
fn answer_for_the_store(
    sim: &mut Sim,
    server: NodeId<ServerCore>,
    store: &Rc<RefCell<MemoryMessages>>,
    run: &Rc<Cell<u32>>,
) {
    while let Some((key, question)) = sim.node(server).poll_message_question() {
        let answer = store.borrow_mut().answer(question);
        let (asked_in, run, wait) = (run.get(), run.clone(), sim.random() % 50);
        sim.after(Duration::from_millis(wait), move |sim| {
            if run.get() == asked_in {
                sim.with(server, |core, now| core.message_answer(now, key, answer));
            }
        });
    }
}

#[test]
fn every_watcher_knows_the_truth_in_the_end_and_every_message_came_once() {
    // What has happened in all runs together: without these the test would prove nothing.
    let seen = Mutex::new((0, 0, 0, 0, 0));
    for_each_seed(seeds(), |seed| {
        let loss = [0.0, 0.05, 0.1, 0.2][usize::try_from(seed % 4).unwrap()];
        let mut sim = Sim::new(seed, if loss == 0.0 { Conditions::PERFECT } else { Conditions::rough(loss) });
        sim.set_tracing(false);
        let (store, alive) = (MemoryEvents::new(), Rc::new(Cell::new(true)));
        let (messages, run) = (Rc::new(RefCell::new(MemoryMessages::new())), Rc::new(Cell::new(0)));
        let locals = Sim::locals(SERVER.parse().unwrap(), &[Transport::Udp]);
        let first = core(&mut sim, &locals, &store);
        let server: NodeId<ServerCore> = sim.add("server", locals.clone(), first);
        let users: Vec<NodeId<User>> = (0..USERS)
            .map(|number| {
                let address = format!("192.0.2.{}:5060", number + 10).parse().unwrap();
                let locals = Sim::locals(address, &[Transport::Udp]);
                let user = User {
                    layer: Transactions::new(LayerConfig::new(sim.core_seed(), locals.clone())),
                    out: Queues::new(),
                    number,
                    contact: locals.iter().next().unwrap().uri(Some("u")).unwrap(),
                    server: Target::Path(Path::to(Transport::Udp, SERVER.parse().unwrap())),
                    here: false,
                    register_at: None,
                    registers: 0,
                    note: None,
                    etag: None,
                    publish_at: None,
                    watches: BTreeMap::new(),
                    asked: BTreeMap::new(),
                    busy: false,
                    written: 0,
                    taken: Vec::new(),
                    came: Vec::new(),
                    had: BTreeSet::new(),
                };
                sim.add(&format!("u{number}"), locals, user)
            })
            .collect();
        let (kept, running) = (store.clone(), alive.clone());
        let (mail, runs) = (messages.clone(), run.clone());
        sim.after_each_step(move |sim| {
            if !running.get() {
                return;
            }
            let changes = sim.node(server).poll_event_changes();
            if let Some(changes) = changes {
                kept.apply(changes);
                sim.with(server, |core, now| core.events_kept(now));
            }
            answer_for_the_store(sim, server, &mail, &runs);
        });
        // Twenty things that each user does and ten messages, within five minutes; a crash somewhere in them.
        for user in &users {
            for _ in 0..10 {
                let (at, whom, user) = (sim.random() % 300_000, sim.random(), *user);
                sim.after(Duration::from_millis(at), move |sim| {
                    sim.with(user, |user, now| {
                        user.write(now, usize::try_from(whom).unwrap() % USERS);
                        user.settle(now);
                    });
                });
            }
            for _ in 0..20 {
                let (at, what, user) = (sim.random() % 300_000, sim.random(), *user);
                sim.after(Duration::from_millis(at), move |sim| {
                    sim.with(user, |user, now| {
                        user.act(now, what);
                        user.settle(now);
                    });
                });
            }
        }
        let crash = Duration::from_millis(60_000 + sim.random() % 240_000);
        let away = Duration::from_millis(100 + sim.random() % 20_000);
        sim.run_for(crash);
        sim.crash(server);
        alive.set(false);
        run.set(1);
        sim.run_for(away);
        let next = core(&mut sim, &locals, &store);
        let restored = next.events().unwrap();
        sim.restart(server, next);
        alive.set(true);
        sim.run_for(QUIET - crash - away);
        let truth: Vec<Shown> = users.iter().map(|user| sim.node(*user).truth()).collect();
        let mut wrong = Vec::new();
        for user in &users {
            let watches = &sim.node(*user).watches;
            let astray = watches.iter().filter(|(whom, watch)| watch.shown.as_ref() != Some(&truth[**whom]));
            wrong.extend(astray.map(|(whom, watch)| (*user, *whom, watch.call_id.clone())));
        }
        // Each refreshes once; whose subscription the crash or the network has taken begins anew.
        sim.run_for(Duration::from_secs(600));
        for (user, whom, before) in &wrong {
            let watch = &sim.node(*user).watches[whom];
            assert_ne!(watch.call_id, *before, "it lived, and was not told: {watch:?}");
        }
        let mut watched = 0;
        for user in &users {
            let user = sim.node(*user);
            for (whom, watch) in &user.watches {
                watched += 1;
                assert_eq!(
                    watch.shown.as_ref(),
                    Some(&truth[*whom]),
                    "u{} of u{whom}: {watch:?}",
                    user.number
                );
            }
        }
        // Nobody is told who does not want it, and nobody twice.
        let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
        for user in &users {
            for watch in sim.node(*user).watches.values() {
                wanted.insert(watch.call_id.clone(), 0);
            }
        }
        let records = store.records();
        let kept = records.iter().filter_map(|record| KeptSubscription::parse(&record.octets).ok());
        for kept in kept {
            let call_id = kept.dialog.lines().nth(3).unwrap();
            *wanted.get_mut(call_id).unwrap_or_else(|| panic!("nobody wants {kept:?}")) += 1;
        }
        assert!(wanted.values().all(|dialogs| *dialogs == 1), "{wanted:?}");
        assert_eq!(sim.node(server).events().unwrap().0, wanted.values().sum::<usize>());
        // Everybody comes back: what was taken is there, each once.
        for user in &users {
            sim.with(*user, |user, now| {
                if !user.here {
                    user.here = true;
                    user.register(now);
                }
            });
        }
        sim.run_for(Duration::from_secs(600));
        let came: Vec<Vec<(usize, u32)>> = users.iter().map(|user| sim.node(*user).came.clone()).collect();
        let (mut taken, mut kept) = (0, 0);
        for user in &users {
            let user = sim.node(*user);
            for (whom, which, later) in &user.taken {
                let times = came[*whom].iter().filter(|came| **came == (user.number, *which)).count();
                assert_eq!(times, 1, "message {which} of u{} to u{whom}, kept: {later}", user.number);
                taken += 1;
                kept += usize::from(*later);
            }
        }
        assert_eq!(sim.node(server).message_holders(), 0);
        let mut seen = seen.lock().unwrap();
        seen.3 += taken;
        seen.4 += kept;
        seen.0 += watched;
        seen.1 += restored.0;
        seen.2 += truth.iter().filter(|shown| matches!(shown, Shown::Note(_))).count();
    });
    let (watched, restored, published, taken, kept) = *seen.lock().unwrap();
    if sip_sim::replayed_seed().is_none() {
        assert!(watched > 100 && restored > 100 && published > 20, "{watched} {restored} {published}");
        assert!(taken > 500 && kept > 100, "{taken} messages, {kept} of them kept");
    }
}
