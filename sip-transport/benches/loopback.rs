//! Requests per second through two drivers on loopback, one thread each: everything from the sender's core to the
//! kernel, parsing, answering, and back. Run with `cargo bench -p sip-transport`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{Message, StatusCode};
use sip_transport::tokio::{Driver, Handle, Listen, Options, Sockets};
use sip_transport::{Answer, Core, FlowEvent, Path, Query, Received, Token, Transmit, Transport, response};

/// Requests under way at once: a burst that the default socket buffers hold.
const WINDOW: usize = 32;
const REQUESTS: usize = 200_000;

/// Answers requests; sends another one for each response, as long as there are.
struct Peer {
    out: VecDeque<Transmit>,
    request: Option<Transmit>,
    left: usize,
    answered: usize,
    done: Option<tokio::sync::oneshot::Sender<()>>,
    last: Instant,
}

impl Core for Peer {
    fn receive(&mut self, now: Instant, received: Received) {
        match received.message {
            Message::Request(request) => {
                let answer = request.reply(StatusCode::OK).to_tag("bench").build().unwrap();
                let way = response::path_of(&answer, &received.path).unwrap();
                let payload = answer.to_bytes();
                self.out.push_back(Transmit {
                    path: way.path,
                    payload,
                    reopen: way.reopen,
                    domain: None,
                    token: Token::NONE,
                });
            }
            Message::Response(_) => {
                self.last = now;
                self.answered += 1;
                if self.left > 0 {
                    self.left -= 1;
                    self.out.extend(self.request.clone());
                } else if self.answered == REQUESTS {
                    self.done.take().map(|done| done.send(()));
                }
            }
        }
    }

    fn flow_event(&mut self, _now: Instant, _event: FlowEvent) {}
    fn resolved(&mut self, _now: Instant, _answer: Answer) {}

    /// A datagram that was lost after all would stop the run: a burst takes its place.
    fn handle_timeout(&mut self, now: Instant) {
        if self.request.is_some() && now >= self.last + Duration::from_millis(200) {
            self.last = now;
            self.out.extend(self.request.clone());
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.request.as_ref().filter(|_| self.done.is_some()).map(|_| self.last + Duration::from_millis(200))
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        None
    }
}

fn start(runtime: &tokio::runtime::Runtime, transport: Transport) -> Handle<Peer> {
    let _entered = runtime.enter();
    let sockets = Sockets::bind(&[Listen::new(transport, "127.0.0.1:0".parse().unwrap())]).unwrap();
    let peer =
        Peer { out: VecDeque::new(), request: None, left: 0, answered: 0, done: None, last: Instant::now() };
    Driver::spawn(peer, sockets, Options::default())
}

fn request(transport: Transport, from: SocketAddr, to: SocketAddr) -> Transmit {
    let payload: Bytes = format!(
        "OPTIONS sip:service@{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};rport;branch=z9hG4bK74bf9a1c\r\n\
         Max-Forwards: 70\r\nFrom: \"Load\" <sip:load@example.com>;tag=9fxced76sl\r\nTo: <sip:service@example.com>\r\n\
         Call-ID: 3848276298220188511@example.com\r\nCSeq: 1 OPTIONS\r\nContact: <sip:load@{from}>\r\n\
         User-Agent: bench\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    )
    .into();
    Transmit { path: Path::to(transport, to), payload, reopen: None, domain: None, token: Token::NONE }
}

fn main() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (client, server) = (start(&runtime, transport), start(&runtime, transport));
        let at = |handle: &Handle<Peer>| handle.locals().iter().next().unwrap().bound;
        let request = request(transport, at(&client), at(&server));
        let (done, finished) = tokio::sync::oneshot::channel();
        let begun = Instant::now();
        client.with(|peer, now| {
            peer.done = Some(done);
            peer.last = now;
            peer.left = REQUESTS - WINDOW;
            peer.out.extend(std::iter::repeat_n(request.clone(), WINDOW));
            peer.request = Some(request);
        });
        runtime.block_on(finished).unwrap();
        let rate = REQUESTS as f64 / begun.elapsed().as_secs_f64();
        println!("{transport}: {rate:.0} requests/s answered, {WINDOW} under way");
    }
}
