//! The rules of RFC 3261 §8, §9, §17 and §18 and of their amendments, one test each, on the layer alone: messages
//! and time go in by hand, what comes out is looked at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    clippy::new_without_default
)]

mod answered;
mod broken;
mod cancel;
mod client;
mod failover;
mod forged;
mod moved;
mod overload;
mod race;
mod refused;
mod sent_by;
mod server;

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{HeaderName, Limits, Method, Request, Response, StatusCode, Uri};
use sip_transaction::{ClientTx, Config, Event, Failure, ServerTx, Target, Transactions};
use sip_transport::{
    Answer, Close, FlowEvent, FlowId, Local, Locals, Outbox, Path, Query, Queues, Records, ResolveError,
    SendError, Transmit, Transport, ingress,
};
use std::time::{Duration, Instant};

pub const US: &str = "192.0.2.1:5060";
pub const THEM: &str = "192.0.2.2:5060";

/// A layer, its clock, and what it has put out.
pub struct Party {
    pub layer: Transactions,
    pub now: Instant,
    pub out: Queues<Event>,
}

impl Party {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let us = US.parse().unwrap();
        let locals = [Transport::Udp, Transport::Tcp].map(|transport| Local::new(transport, us));
        let mut config = Config::new([3; 32], Locals::new(locals.to_vec()));
        change(&mut config);
        Self { layer: Transactions::new(config), now: Instant::now(), out: Queues::new() }
    }

    pub fn send(&mut self, request: Request, target: impl Into<Target>) -> ClientTx {
        self.layer.send(self.now, request, target.into(), &mut self.out).unwrap()
    }

    /// The next message that was sent.
    pub fn sent(&mut self) -> Transmit {
        self.out.transmits.pop_front().expect("nothing was sent")
    }

    pub fn sent_request(&mut self) -> Request {
        request(&self.sent())
    }

    pub fn sent_response(&mut self) -> Response {
        response(&self.sent())
    }

    pub fn event(&mut self) -> Event {
        self.out.events.pop_front().expect("no event")
    }

    /// The connections that the driver was told to give up.
    pub fn given_up(&mut self) -> Vec<Close> {
        self.out.closes.drain(..).collect()
    }

    /// Nothing more was sent or told.
    #[track_caller]
    pub fn quiet(&self) {
        assert!(self.out.is_empty(), "not quiet: {:?}", self.out);
    }

    /// Nothing lives any more.
    #[track_caller]
    pub fn empty(&self) {
        self.quiet();
        let left = (self.layer.live_client(), self.layer.live_server(), self.layer.live_stateless());
        assert_eq!((left, self.layer.armed_timers(), self.layer.poll_timeout()), ((0, 0, 0), 0, None));
    }

    pub fn receive(&mut self, message: impl Into<bytes::Bytes>, transport: Transport) {
        self.receive_from(message, transport, THEM);
    }

    pub fn receive_from(&mut self, message: impl Into<bytes::Bytes>, transport: Transport, from: &str) {
        let mut path = Path::to(transport, from.parse().unwrap());
        path.local = US.parse().unwrap();
        path.flow = Some(FlowId(1));
        let received = ingress::datagram(message.into(), path, &Limits::default()).unwrap();
        self.layer.receive(self.now, received, &mut self.out);
    }

    /// The peer answers this request.
    pub fn answer(&mut self, request: &Request, status: u16) {
        let status = StatusCode::new(status).unwrap();
        self.receive(request.reply(status).to_tag("them").build().unwrap().to_bytes(), Transport::Udp);
    }

    pub fn respond(&mut self, tx: ServerTx, request: &Request, status: u16) {
        let status = StatusCode::new(status).unwrap();
        let response = request.reply(status).to_tag("us").build().unwrap();
        self.layer.respond(self.now, tx, response, &mut self.out).unwrap();
    }

    /// Lets time pass, timer by timer, and says when (in milliseconds from now) something was sent.
    pub fn pass(&mut self, time: Duration) -> Vec<u128> {
        let (start, end) = (self.now, self.now + time);
        let mut sent = Vec::new();
        while let Some(at) = self.layer.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            let before = self.out.transmits.len();
            self.layer.handle_timeout(at, &mut self.out);
            for _ in before..self.out.transmits.len() {
                sent.push((at - start).as_millis());
            }
        }
        self.now = end;
        sent
    }

    /// The last message sent could not be sent.
    pub fn cannot_send(&mut self, transmit: &Transmit, error: SendError) {
        let event = FlowEvent::SendFailed { token: transmit.token, path: transmit.path, error };
        self.layer.flow_event(self.now, event, &mut self.out);
    }

    pub fn resolve(&mut self, query: &Query, records: Records) {
        self.answered(query, Ok(records));
    }

    pub fn unresolved(&mut self, query: &Query, error: ResolveError) {
        self.answered(query, Err(error));
    }

    fn answered(&mut self, query: &Query, records: Result<Records, ResolveError>) {
        let answer = Answer { key: query.key, question: query.question.clone(), records };
        self.layer.resolved(self.now, answer, &mut self.out);
    }

    /// The request that was passed up, if the last one was.
    pub fn taken(&mut self) -> Option<(ServerTx, Request)> {
        match self.out.events.pop_front() {
            Some(Event::Request { tx, request, .. }) => Some((tx, request)),
            _ => None,
        }
    }

    /// A new request came in.
    pub fn incoming(&mut self, message: &str) -> (ServerTx, Request) {
        self.receive(message.to_owned(), Transport::Udp);
        self.new_request()
    }

    pub fn new_request(&mut self) -> (ServerTx, Request) {
        match self.event() {
            Event::Request { tx, request, .. } => (tx, request),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn status(&mut self) -> (ClientTx, u16) {
        match self.event() {
            Event::Response { tx, response, .. } => (tx, response.status().code()),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn failed(&mut self, expected: ClientTx) -> Failure {
        match self.event() {
            Event::Failed { tx, failure } if tx == expected => failure,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn client_ends(&mut self, expected: ClientTx) {
        match self.event() {
            Event::ClientTerminated { tx } => assert_eq!(tx, expected),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn server_ends(&mut self, expected: ServerTx) {
        match self.event() {
            Event::ServerTerminated { tx } => assert_eq!(tx, expected),
            other => panic!("{other:?}"),
        }
    }
}

pub fn request(transmit: &Transmit) -> Request {
    Request::parse(transmit.payload.clone(), &Limits::default()).unwrap()
}

pub fn response(transmit: &Transmit) -> Response {
    Response::parse(transmit.payload.clone(), &Limits::default()).unwrap()
}

pub fn udp() -> Path {
    Path::to(Transport::Udp, THEM.parse().unwrap())
}

pub fn tcp() -> Path {
    Path::to(Transport::Tcp, THEM.parse().unwrap())
}

pub fn outgoing(method: Method) -> Request {
    let uri: Uri = "sip:bob@192.0.2.2".parse().unwrap();
    Request::builder(method.clone(), &uri)
        .header(&From::new(&"sip:alice@192.0.2.1".parse().unwrap()).with_tag("us"))
        .header(&To::new(&uri))
        .header(&CallId::new("call"))
        .header(&CSeq::new(7, method))
        .raw("Route", "<sip:192.0.2.2;lr>")
        .build()
        .unwrap()
}

/// A request of the peer's.
pub fn from_them(method: &str, branch: &str, to_tag: &str) -> String {
    format!(
        "{method} sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;rport;branch={branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:carol@192.0.2.2>;tag=them\r\nTo: <sip:bob@192.0.2.1>{to_tag}\r\n\
         Call-ID: theirs\r\nCSeq: 1 {method}\r\nContact: <sip:carol@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
    )
}

pub const SECOND: Duration = Duration::from_secs(1);

/// 64·T1.
pub const TIMEOUT: Duration = Duration::from_secs(32);

pub fn branch(message: &sip_message::Headers) -> String {
    message.get::<sip_message::headers::Via>().unwrap().unwrap().branch().unwrap().to_owned()
}

pub fn line(message: &sip_message::Headers, name: HeaderName) -> String {
    message.text(name).unwrap().to_owned()
}

#[test]
fn an_outbox_of_ones_own_serves_as_well() {
    struct Count(usize);
    impl Outbox<Event> for Count {
        fn transmit(&mut self, _: Transmit) {
            self.0 += 1;
        }
        fn query(&mut self, _: Query) {}
        fn close(&mut self, _: Close) {}
        fn event(&mut self, _: Event) {}
    }
    let mut party = Party::new();
    let mut count = Count(0);
    party.layer.send(party.now, outgoing(Method::Options), udp().into(), &mut count).unwrap();
    assert_eq!(count.0, 1);
}
