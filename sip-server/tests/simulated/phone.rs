//! The least phone that can be a party of a call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, CallId, Contact, From, RecordRoute, Route, To};
use sip_message::{Method, Request, Response, StatusCode, Uri};
use sip_sim::{NodeId, Sim};
use sip_transaction::{ClientTx, Config as LayerConfig, Event, ServerTx, Target, Transactions};
use sip_transport::{Answer, Core, FlowEvent, Locals, Path, Query, Queues, Received, Transmit, Transport};

/// What a phone does when it is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Habit {
    /// Rings and is picked up after this time.
    PickUp(Duration),
    /// Rings and is refused after this time.
    Refuse(Duration, u16),
    /// Rings.
    Ring,
}

pub struct Ringing {
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
pub struct Phone {
    pub layer: Transactions,
    pub out: Queues<Event>,
    pub contact: Uri,
    /// Where it sends its requests.
    pub server: Target,
    habit: Habit,
    /// Where a refusal by 3xx sends the caller.
    pub sends_on_to: Option<Uri>,
    pub ringing: Vec<Ringing>,
    unacknowledged: Vec<Unacknowledged>,
    // What happened, for the test.
    pub registered: bool,
    /// Final responses to its INVITE: status by To tag.
    pub finals: BTreeMap<String, u16>,
    pub failed: bool,
    pub picked_up: bool,
    pub acknowledged: bool,
    pub cancelled: bool,
    pub statuses: BTreeSet<u16>,
}

impl Phone {
    fn new(seed: [u8; 32], locals: Locals, user: &str, server: &str, habit: Habit) -> Phone {
        let contact = locals.iter().next().unwrap().uri(Some(user)).unwrap();
        Phone {
            layer: Transactions::new(LayerConfig::new(seed, locals)),
            out: Queues::new(),
            contact,
            server: Target::Path(Path::to(Transport::Udp, server.parse().unwrap())),
            habit,
            sends_on_to: None,
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

    pub fn send(&mut self, now: Instant, method: Method, uri: &str, from: &str, to: &str) -> ClientTx {
        let contact = self.contact.clone();
        self.send_for(now, method, uri, (from, to), &contact)
    }

    /// The same with another Contact: a REGISTER by which calls are forwarded.
    pub fn send_for(
        &mut self,
        now: Instant,
        method: Method,
        uri: &str,
        (from, to): (&str, &str),
        contact: &Uri,
    ) -> ClientTx {
        let uri: Uri = uri.parse().unwrap();
        let request = Request::builder(method.clone(), &uri)
            .header(&From::new(&from.parse().unwrap()).with_tag(&self.layer.token()))
            .header(&To::new(&to.parse().unwrap()))
            .header(&CallId::new(&self.layer.token()))
            .header(&CSeq::new(1, method))
            .header(&Contact::new(contact))
            .build()
            .unwrap();
        let tx = self.layer.send(now, request, self.server.clone(), &mut self.out).unwrap();
        self.settle(now);
        tx
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
        let contact = self.sends_on_to.as_ref().filter(|_| status / 100 == 3).unwrap_or(&self.contact);
        let response = ringing
            .request
            .reply(StatusCode::new(status).unwrap())
            .to_tag(&tag.replace(' ', "-"))
            .header(&Contact::new(contact))
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

pub fn add_phone(sim: &mut Sim, name: &str, ip: &str, server: &str, habit: Habit) -> NodeId<Phone> {
    let address: SocketAddr = format!("{ip}:5060").parse().unwrap();
    let locals = Sim::locals(address, &[Transport::Udp]);
    let seed = sim.core_seed();
    sim.add(name, locals.clone(), Phone::new(seed, locals, name, server, habit))
}

/// One of the habits.
pub fn habit(random: u64) -> Habit {
    let after = Duration::from_millis(500 + random / 7 % 6000);
    match random % 7 {
        0..=2 => Habit::PickUp(after),
        3 => Habit::Refuse(after, 603),
        4 | 5 => Habit::Refuse(after, 486),
        _ => Habit::Ring,
    }
}
