//! A user agent of the plainest kind on top of the transaction layer: it answers as the request tells it to, repeats
//! its 2xx and acknowledges those of others, and writes down what the layer tells it and when.

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Headers, Method, Request, Response, StatusCode, Uri};
use sip_transaction::{ClientTx, Config, Event, Failure, ServerTx, Target, Transactions};
use sip_transport::{
    Answer, Close, Core, FlowEvent, Locals, Path, Query, Queues, Received, Transmit, Transport,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What becomes of one request.
#[derive(Clone, Debug)]
pub struct Plan {
    pub method: Method,
    pub transport: Transport,
    /// The callee answers 180 after this time,
    pub ring: Option<Duration>,
    /// and this after that time.
    pub answer: Duration,
    pub status: u16,
    /// The caller cancels after this time.
    pub cancel: Option<Duration>,
}

/// How long the caller lets it ring before it cancels, when the plan says nothing.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Status(u16),
    Failed(Failure),
    Terminated,
}

/// What the caller saw of one transaction.
#[derive(Clone, Debug)]
pub struct Client {
    pub call: String,
    pub plan: Plan,
    pub tx: ClientTx,
    request: Request,
    pub sent: Instant,
    pub cancelled: Option<Instant>,
    pub acks: usize,
    pub facts: Vec<(Instant, Fact)>,
}

/// What the callee saw of one transaction.
#[derive(Clone, Debug)]
pub struct Server {
    pub call: String,
    pub method: Method,
    pub transport: Transport,
    pub tx: ServerTx,
    pub received: Instant,
    pub answered: Option<(Instant, u16)>,
    pub acks: usize,
    pub unacknowledged: Option<Instant>,
    pub ended: Vec<Instant>,
}

#[derive(Debug)]
enum Task {
    Respond(ServerTx, Request, u16),
    /// RFC 3261 §13.3.1.4: T1, doubled up to T2, for 64*T1.
    Repeat2xx(ServerTx, Response, Duration, Instant),
    Cancel(ClientTx),
}

#[derive(Debug)]
pub struct Element {
    pub layer: Transactions,
    out: Queues<Event>,
    tasks: BTreeMap<(Instant, u64), Task>,
    numbered: u64,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
}

fn call_of(headers: &Headers) -> String {
    headers.require::<CallId>().unwrap().as_str().to_owned()
}

impl Element {
    pub fn new(seed: [u8; 32], locals: Locals) -> Self {
        Self {
            layer: Transactions::new(Config::new(seed, locals)),
            out: Queues::new(),
            tasks: BTreeMap::new(),
            numbered: 0,
            clients: Vec::new(),
            servers: Vec::new(),
        }
    }

    fn request(&mut self, uri: &Uri, method: Method, call: &str, plan: &str) -> Request {
        let (us, tag): (Uri, _) = ("sip:caller@192.0.2.1".parse().unwrap(), self.layer.token());
        Request::builder(method.clone(), uri)
            .header(&From::new(&us).with_tag(&tag))
            .header(&To::new(uri))
            .header(&CallId::new(call))
            .header(&CSeq::new(1, method))
            .raw("X-Plan", plan)
            .build()
            .unwrap()
    }

    pub fn start(&mut self, now: Instant, number: u32, plan: Plan, to: SocketAddr) {
        let uri: Uri = "sip:callee@192.0.2.2".parse().unwrap();
        let ring = plan.ring.map_or("-".into(), |ring| ring.as_millis().to_string());
        let text = format!("{ring} {} {}", plan.answer.as_millis(), plan.status);
        let request = self.request(&uri, plan.method.clone(), &format!("call-{number}"), &text);
        let cancel = (plan.method == Method::Invite).then(|| plan.cancel.unwrap_or(PATIENCE));
        let tx = self.send(now, request, Path::to(plan.transport, to).into(), plan);
        if let Some(after) = cancel {
            self.task(now + after, Task::Cancel(tx));
        }
    }

    /// OPTIONS by DNS, which are to be answered 404.
    pub fn options(&mut self, now: Instant, uri: &str) {
        let uri: Uri = uri.parse().unwrap();
        let request = self.request(&uri, Method::Options, "options", "- 10 404");
        let answer = Duration::from_millis(10);
        let (method, transport) = (Method::Options, Transport::Udp);
        let plan = Plan { method, transport, ring: None, answer, status: 404, cancel: None };
        self.send(now, request, uri.into(), plan);
    }

    fn send(&mut self, now: Instant, request: Request, target: Target, plan: Plan) -> ClientTx {
        let tx = self.layer.send(now, request.clone(), target, &mut self.out).unwrap();
        let call = call_of(&request.headers);
        let (cancelled, facts) = (None, Vec::new());
        self.clients.push(Client { call, plan, tx, request, sent: now, cancelled, acks: 0, facts });
        self.work(now);
        tx
    }

    fn task(&mut self, at: Instant, task: Task) {
        self.numbered += 1;
        self.tasks.insert((at, self.numbered), task);
    }

    /// Reacts to everything that the layer told.
    fn work(&mut self, now: Instant) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                Event::Request { tx, request, path } => self.new_request(now, tx, request, path),
                Event::Ack { request, .. } => {
                    let call = call_of(&request.headers);
                    self.servers.iter_mut().find(|server| server.call == call).unwrap().acks += 1;
                }
                Event::Cancelled { tx, .. } => {
                    let server = self.servers.iter().find(|server| server.tx == tx).unwrap();
                    assert!(server.answered.is_none(), "told of a CANCEL after the answer");
                    let request = self.layer.request(tx).unwrap().clone();
                    self.respond(now, tx, &request, 487);
                }
                Event::Response { tx, response, .. } => self.response(now, tx, &response),
                Event::Failed { tx, failure } => self.fact(now, tx, Fact::Failed(failure)),
                Event::ClientTerminated { tx } => self.fact(now, tx, Fact::Terminated),
                Event::ServerTerminated { tx } => self.server(tx).ended.push(now),
                Event::Unacknowledged { tx } => self.server(tx).unacknowledged = Some(now),
                Event::Stray { response, .. } => self.acknowledge(&response),
                other => panic!("{other:?}"),
            }
        }
    }

    fn fact(&mut self, now: Instant, tx: ClientTx, fact: Fact) {
        let client = self.clients.iter_mut().find(|client| client.tx == tx).unwrap();
        client.facts.push((now, fact));
    }

    fn server(&mut self, tx: ServerTx) -> &mut Server {
        self.servers.iter_mut().find(|server| server.tx == tx).unwrap()
    }

    fn response(&mut self, now: Instant, tx: ClientTx, response: &Response) {
        self.fact(now, tx, Fact::Status(response.status().code()));
        let cseq: CSeq = response.headers.require().unwrap();
        if response.status().is_success() && cseq.method == Method::Invite {
            self.acknowledge(response);
        }
    }

    /// §13.2.2.4: an ACK for each 2xx, without a transaction, with a branch of its own.
    fn acknowledge(&mut self, response: &Response) {
        let call = call_of(&response.headers);
        let client = self.clients.iter_mut().find(|client| client.call == call).unwrap();
        client.acks += 1;
        let ack = Request::builder(Method::Ack, &client.request.uri().unwrap())
            .copy(&client.request.headers, "From")
            .copy(&response.headers, "To")
            .copy(&response.headers, "Call-ID")
            .header(&CSeq::new(1, Method::Ack))
            .build()
            .unwrap();
        let path = Path::to(client.plan.transport, "192.0.2.2:5060".parse().unwrap());
        self.layer.send_stateless(ack, path.into(), &mut self.out).unwrap();
    }

    fn new_request(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        let plan = request.headers.text("X-Plan").unwrap().to_owned();
        let plan: Vec<Option<u64>> = plan.split(' ').map(|part| part.parse().ok()).collect();
        if let Some(ring) = plan[0] {
            self.task(now + Duration::from_millis(ring), Task::Respond(tx, request.clone(), 180));
        }
        let status = u16::try_from(plan[2].unwrap()).unwrap();
        self.servers.push(Server {
            call: call_of(&request.headers),
            method: request.method().clone(),
            transport: path.transport,
            tx,
            received: now,
            answered: None,
            acks: 0,
            unacknowledged: None,
            ended: Vec::new(),
        });
        self.task(now + Duration::from_millis(plan[1].unwrap()), Task::Respond(tx, request, status));
    }

    fn respond(&mut self, now: Instant, tx: ServerTx, request: &Request, status: u16) {
        let server = self.servers.iter_mut().find(|server| server.tx == tx).unwrap();
        if server.answered.is_some() || !server.ended.is_empty() {
            return;
        }
        if status >= 200 {
            server.answered = Some((now, status));
        }
        let invite = server.method == Method::Invite;
        let status = StatusCode::new(status).unwrap();
        let response = request.reply(status).to_tag("callee").build().unwrap();
        self.layer.respond(now, tx, response.clone(), &mut self.out).unwrap();
        if invite && status.is_success() {
            let timing = *self.layer.timing();
            let end = now + timing.timeout();
            self.task(now + timing.t1, Task::Repeat2xx(tx, response, timing.t1, end));
        }
    }

    fn run(&mut self, now: Instant, task: Task) {
        match task {
            Task::Respond(tx, request, status) => self.respond(now, tx, &request, status),
            Task::Repeat2xx(tx, response, interval, end) => {
                if now < end && self.server(tx).acks == 0 {
                    self.layer.respond(now, tx, response.clone(), &mut self.out).unwrap();
                    let interval = (interval * 2).min(self.layer.timing().t2);
                    self.task(now + interval, Task::Repeat2xx(tx, response, interval, end));
                }
            }
            Task::Cancel(tx) => {
                if self.layer.cancel(now, tx, &Headers::new(), &mut self.out).is_ok() {
                    self.clients.iter_mut().find(|client| client.tx == tx).unwrap().cancelled = Some(now);
                }
            }
        }
    }
}

impl Core for Element {
    fn receive(&mut self, now: Instant, received: Received) {
        self.layer.receive(now, received, &mut self.out);
        self.work(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.layer.flow_event(now, event, &mut self.out);
        self.work(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.layer.resolved(now, answer, &mut self.out);
        self.work(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now, &mut self.out);
        self.work(now);
        while let Some(entry) = self.tasks.first_entry().filter(|entry| entry.key().0 <= now) {
            let task = entry.remove();
            self.run(now, task);
            self.work(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let task = self.tasks.keys().next().map(|&(at, _)| at);
        [self.layer.poll_timeout(), task].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.out.closes.pop_front()
    }
}
