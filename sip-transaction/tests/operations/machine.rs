//! Reads octets as a sequence of operations on a layer: a property test and a fuzz target feed it.

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Headers, Limits, Method, Request, StatusCode, Uri};
use sip_transaction::{ClientTx, Config, Counters, Event, ServerTx, Target, Transactions};
use sip_transport::{
    Answer, FlowEvent, FlowId, Local, Locals, Path, Query, Queues, Records, ResolveError, SendError, Srv,
    Transmit, Transport, ingress,
};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const METHODS: [Method; 5] = [Method::Invite, Method::Options, Method::Bye, Method::Register, Method::Invite];
const STATUSES: [u16; 8] = [100, 180, 200, 200, 404, 408, 486, 503];

struct Machine<'a> {
    octets: std::slice::Iter<'a, u8>,
    layer: Transactions,
    now: Instant,
    out: Queues<Event>,
    /// Told and not over.
    clients: HashSet<ClientTx>,
    servers: HashSet<ServerTx>,
    /// In the order of their appearance, over or not: stale keys are to be tried too.
    known_clients: Vec<ClientTx>,
    known_servers: Vec<(ServerTx, Request)>,
    sent: Vec<Transmit>,
    queries: Vec<Query>,
}

/// Room for some answered requests.
const COMPLETED: usize = 6_000;
/// And for some answered calls.
const ANSWERED: usize = 3;

/// Runs the operations, then lets everything end. Panics if the layer breaks a promise.
pub fn run(octets: &[u8]) -> Counters {
    let us: [SocketAddr; 2] = ["192.0.2.1:5060", "[2001:db8::1]:5060"].map(|at| at.parse().unwrap());
    let both = |at| [Transport::Udp, Transport::Tcp].map(|transport| Local::new(transport, at));
    let locals: Locals = us.into_iter().flat_map(both).collect();
    let mut config = Config::new([1; 32], locals);
    config.refuse_merged = true;
    config.limits.server_transactions = 12;
    config.limits.completed_octets = COMPLETED;
    config.limits.answered = ANSWERED;
    config.limits.client_transactions = 12;
    config.limits.stateless_pending = 3;
    let mut machine = Machine {
        octets: octets.iter(),
        layer: Transactions::new(config),
        now: Instant::now(),
        out: Queues::new(),
        clients: HashSet::new(),
        servers: HashSet::new(),
        known_clients: Vec::new(),
        known_servers: Vec::new(),
        sent: Vec::new(),
        queries: Vec::new(),
    };
    while let Some(&operation) = machine.octets.next() {
        machine.operate(operation);
        machine.settle();
    }
    machine.end();
    *machine.layer.counters()
}

impl Machine<'_> {
    /// The next octet; zero when there are no more.
    fn octet(&mut self) -> usize {
        usize::from(*self.octets.next().unwrap_or(&0))
    }

    /// Mostly one of the last few, which are likely to be live.
    fn recent<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let number = self.octet();
        let number = if number < 224 { number % 6 } else { number };
        list.iter().rev().nth(number.checked_rem(list.len())?).cloned()
    }

    fn operate(&mut self, operation: u8) {
        match operation % 16 {
            0 | 1 => {
                let time = Duration::from_millis(self.octet() as u64 * 50);
                self.pass(time);
            }
            2 | 3 => self.incoming(),
            4 | 5 => self.respond(),
            6 => self.send(),
            7..=9 => self.answered(),
            10 => {
                if let Some(tx) = self.recent(&self.known_clients.clone()) {
                    let _ = self.layer.cancel(self.now, tx, &Headers::new(), &mut self.out);
                }
            }
            11 => {
                let stands = self.octet() % 4 < 3;
                if let Some(sent) = self.recent(&self.sent.clone()) {
                    let (token, path) = (sent.token, Path { flow: Some(FlowId(2)), ..sent.path });
                    let event = if stands && sent.payload.is_empty() {
                        FlowEvent::Ready { token, path }
                    } else {
                        FlowEvent::SendFailed { token, path: sent.path, error: SendError::Refused }
                    };
                    self.layer.flow_event(self.now, event, &mut self.out);
                }
            }
            12 => self.resolved(),
            13 => self.mangled(),
            14 => self.stateless(),
            _ => {
                if self.octet().is_multiple_of(8)
                    && let Some(tx) = self.recent(&self.known_clients.clone())
                {
                    let live = self.clients.contains(&tx);
                    assert_eq!(self.layer.abandon(tx, &mut self.out), live);
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.layer.poll_timeout().filter(|&at| at <= end) {
            assert!(at >= self.now, "a timer was forgotten");
            self.now = at;
            self.layer.handle_timeout(at, &mut self.out);
            self.settle();
        }
        self.now = end;
    }

    fn receive(&mut self, message: bytes::Bytes, transport: Transport) {
        let mut path = Path::to(transport, "192.0.2.2:5060".parse().unwrap());
        path.local = "192.0.2.1:5060".parse().unwrap();
        path.flow = Some(FlowId(1));
        if let Ok(received) = ingress::datagram(message, path, &Limits::default()) {
            self.layer.receive(self.now, received, &mut self.out);
        }
    }

    fn incoming(&mut self) {
        let (which, branch) = (self.octet(), self.octet());
        let method = match which % 8 {
            0 | 1 => Method::Ack,
            2 => Method::Cancel,
            number => METHODS[number - 3].clone(),
        };
        let cookie = if branch % 8 == 0 { "" } else { "z9hG4bK" };
        let transport = if branch % 32 < 8 { Transport::Tcp } else { Transport::Udp };
        let (call, number) = (branch % 16, branch % 64 / 2);
        let tag = if which >= 128 { ";tag=us" } else { "" };
        let text = format!(
            "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.2;branch={cookie}{number}\r\n\
             From: <sip:a@192.0.2.2>;tag=f\r\nTo: <sip:b@192.0.2.1>{tag}\r\nCall-ID: {call}\r\n\
             CSeq: {call} {method}\r\nContent-Length: 0\r\n\r\n"
        );
        self.receive(text.into(), transport);
    }

    fn respond(&mut self) {
        let status = STATUSES[self.octet() % STATUSES.len()];
        let Some((tx, request)) = self.recent(&self.known_servers.clone()) else { return };
        let response = request.reply(StatusCode::new(status).unwrap()).to_tag("us").build().unwrap();
        let _ = self.layer.respond(self.now, tx, response, &mut self.out);
    }

    fn request(&mut self, method: Method) -> Request {
        let uri: Uri = "sip:b@192.0.2.2".parse().unwrap();
        let length = if self.octet().is_multiple_of(4) { 1500 } else { 0 };
        let mut request = Request::builder(method.clone(), &uri)
            .header(&From::new(&uri).with_tag("t"))
            .header(&To::new(&uri))
            .header(&CallId::new("c"))
            .header(&CSeq::new(1, method))
            .build()
            .unwrap();
        if length > 0 {
            request.set_body("text/plain", vec![b'x'; length]);
        }
        request
    }

    fn target(&mut self) -> Target {
        match self.octet() % 6 {
            0 => Path::to(Transport::Tcp, "192.0.2.2:5060".parse().unwrap()).into(),
            1 => "sip:example.com".parse::<Uri>().unwrap().into(),
            2 => "sip:example.com:5070".parse::<Uri>().unwrap().into(),
            3 | 4 => "sip:example.com:5060;transport=tcp".parse::<Uri>().unwrap().into(),
            _ => Path::to(Transport::Udp, "192.0.2.2:5060".parse().unwrap()).into(),
        }
    }

    fn send(&mut self) {
        let method = METHODS[self.octet() % METHODS.len()].clone();
        let (request, target) = (self.request(method), self.target());
        if let Ok(tx) = self.layer.send(self.now, request, target, &mut self.out) {
            self.clients.insert(tx);
            self.known_clients.push(tx);
        }
    }

    fn stateless(&mut self) {
        let (ack, target) = (self.request(Method::Ack), self.target());
        let _ = self.layer.send_stateless(ack, target, &mut self.out);
    }

    /// The peer answers something that was sent: lately or long ago.
    fn answered(&mut self) {
        let status = STATUSES[self.octet() % STATUSES.len()];
        let Some(sent) = self.recent(&self.sent.clone()) else { return };
        if let Ok(request) = Request::parse(sent.payload, &Limits::default()) {
            let response = request.reply(StatusCode::new(status).unwrap()).to_tag("them").build().unwrap();
            self.receive(response.to_bytes(), sent.path.transport);
        }
    }

    fn resolved(&mut self) {
        let kind = self.octet();
        let Some(query) = self.queries.pop() else { return };
        let v6 = query.question.kind() == "AAAA";
        let ip = |last: u8| -> std::net::IpAddr {
            if v6 { format!("2001:db8::{last}").parse().unwrap() } else { [192, 0, 2, last].into() }
        };
        let srv = Srv { priority: 1, weight: 1, port: 5060, target: "x.example.com".into() };
        let records = match kind % 4 {
            0 => Err(ResolveError::NotFound),
            1 => Ok(Records::Srv(vec![srv])),
            2 => Ok(Records::Addresses(vec![ip(2), ip(3), ip(4)])),
            _ => Ok(Records::Addresses(vec![ip(2)])),
        };
        self.layer.resolved(
            self.now,
            Answer { key: query.key, question: query.question, records },
            &mut self.out,
        );
    }

    /// Something that was sent comes back with one octet changed.
    fn mangled(&mut self) {
        let (at, value) = (self.octet() * 4, self.octet());
        if let Some(sent) = self.recent(&self.sent.clone()) {
            let mut octets = sent.payload.to_vec();
            if let Some(octet) = octets.get_mut(at) {
                *octet = value as u8;
            }
            self.receive(octets.into(), sent.path.transport);
        }
    }

    /// Keeps the books and compares them with the layer's.
    fn settle(&mut self) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                Event::Request { tx, request, .. } => {
                    assert!(self.servers.insert(tx), "{tx} was told twice");
                    assert!(!matches!(request.method(), Method::Ack | Method::Cancel));
                    self.known_servers.push((tx, request));
                }
                Event::Ack { request, .. } => assert_eq!(*request.method(), Method::Ack),
                Event::Cancelled { tx, .. } => {
                    assert!(self.layer.request(tx).is_some(), "{tx} has its answer")
                }
                Event::Response { tx, .. } | Event::Failed { tx, .. } => {
                    assert!(self.clients.contains(&tx), "{tx} is over");
                }
                Event::Stray { response, .. } => assert!(response.status().is_success()),
                Event::Unacknowledged { tx } | Event::Undelivered { tx, .. } => {
                    assert!(self.servers.contains(&tx), "{tx} is over");
                }
                Event::ClientTerminated { tx } => assert!(self.clients.remove(&tx), "{tx} ended twice"),
                Event::ServerTerminated { tx } => assert!(self.servers.remove(&tx), "{tx} ended twice"),
                other => panic!("{other:?}"),
            }
        }
        self.sent.extend(self.out.transmits.drain(..));
        self.queries.extend(self.out.queries.drain(..));
        // CANCELs are client transactions that nobody is told of: at most one for each INVITE.
        let (clients, servers) = (self.layer.live_client(), self.layer.live_server());
        assert!((self.clients.len()..=self.clients.len() * 2).contains(&clients), "{clients} live clients");
        assert_eq!(servers, self.servers.len());
        assert!(
            self.layer.completed_octets() <= COMPLETED && (servers > 0 || self.layer.completed_octets() == 0)
        );
        let (answered, answered_clients) = self.layer.live_answered();
        assert!(answered <= ANSWERED.min(servers) && answered_clients <= ANSWERED.min(clients));
        assert!(self.layer.armed_timers() <= (clients + servers) * 2 + self.layer.live_stateless());
        assert_eq!(self.layer.poll_timeout().is_some(), self.layer.armed_timers() > 0);
        // The limits set above, of what is under way; BYE gets twice as far.
        assert!(
            servers <= 24 + ANSWERED + COMPLETED / 300
                && self.clients.len() <= 24
                && self.layer.live_stateless() <= 3
        );
    }

    /// Everything is answered or given up, and time passes.
    fn end(&mut self) {
        for (tx, request) in self.known_servers.clone() {
            let response = request.reply(StatusCode::NOT_FOUND).build().unwrap();
            let _ = self.layer.respond(self.now, tx, response, &mut self.out);
        }
        while !self.queries.is_empty() {
            let query = self.queries.remove(0);
            let answer =
                Answer { key: query.key, question: query.question, records: Err(ResolveError::TimedOut) };
            self.layer.resolved(self.now, answer, &mut self.out);
            self.settle();
        }
        // A ringing INVITE has no end of its own.
        for tx in self.known_clients.clone() {
            let _ = self.layer.cancel(self.now, tx, &Headers::new(), &mut self.out);
        }
        self.settle();
        self.pass(Duration::from_secs(32 * 10));
        let left = (self.layer.live_client(), self.layer.live_server(), self.layer.live_stateless());
        assert_eq!((left, self.layer.armed_timers()), ((0, 0, 0), 0));
        assert!(self.clients.is_empty() && self.servers.is_empty());
    }
}
