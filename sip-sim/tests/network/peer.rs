//! The core of these tests, and what they have in common.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::headers::CSeq;
use sip_message::{Message, StatusCode};
use sip_sim::{Conditions, NodeId, Sim};
use sip_transport::{Answer, Core, FlowEvent, Path, Query, Received, Token, Transmit, Transport, response};

/// Remembers everything; answers requests with 200 when told to; repeats a request when its timer fires.
#[derive(Default)]
pub struct Peer {
    pub answers: bool,
    pub transmits: VecDeque<Transmit>,
    pub queries: VecDeque<Query>,
    pub requests: Vec<u32>,
    pub responses: Vec<u32>,
    pub last_path: Option<Path>,
    pub flow_events: Vec<FlowEvent>,
    pub answered: Vec<(Duration, Answer)>,
    pub alarm: Option<Instant>,
    pub alarms: Vec<Instant>,
    pub born: Option<Instant>,
}

impl Core for Peer {
    fn receive(&mut self, _now: Instant, received: Received) {
        self.last_path = Some(received.path);
        let number = received.message.headers().require::<CSeq>().unwrap().number;
        match received.message {
            Message::Request(request) => {
                self.requests.push(number);
                if self.answers {
                    let answer = request.reply(StatusCode::OK).to_tag("b").build().unwrap();
                    let way = response::path_of(&answer, &received.path).unwrap();
                    let payload = answer.to_bytes();
                    self.transmits.push_back(Transmit {
                        path: way.path,
                        payload,
                        reopen: way.reopen,
                        domain: None,
                        token: Token(u64::from(number)),
                    });
                }
            }
            Message::Response(_) => self.responses.push(number),
        }
    }

    fn flow_event(&mut self, _now: Instant, event: FlowEvent) {
        self.flow_events.push(event);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.answered.push((now - self.born.unwrap(), answer));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            self.alarms.push(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.alarm
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }
}

pub fn alice_at() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

pub fn bob_at() -> SocketAddr {
    "[2001:db8::2]:5060".parse().unwrap()
}

pub fn bob4_at() -> SocketAddr {
    "192.0.2.2:5060".parse().unwrap()
}

pub fn options(transport: Transport, to: SocketAddr, number: u32) -> Transmit {
    let payload = format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.1:5060;branch=z9hG4bK{number};rport\r\n\
         From: <sip:a@b>;tag=a\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    Transmit {
        path: Path::to(transport, to),
        payload: payload.into(),
        reopen: None,
        domain: None,
        token: Token(number.into()),
    }
}

pub const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];
pub const MINUTE: Duration = Duration::from_secs(60);

pub fn pair(seed: u64, conditions: Conditions) -> (Sim, NodeId<Peer>, NodeId<Peer>) {
    let mut sim = Sim::new(seed, conditions);
    let born = Some(sim.now());
    let alice = sim.add("alice", Sim::locals(alice_at(), &BOTH), Peer { born, ..Peer::default() });
    let bob = sim.add("bob", Sim::locals(bob4_at(), &BOTH), Peer { answers: true, born, ..Peer::default() });
    (sim, alice, bob)
}

pub fn send(sim: &mut Sim, from: NodeId<Peer>, transport: Transport, numbers: std::ops::Range<u32>) {
    sim.with(from, |peer, _| {
        peer.transmits.extend(numbers.map(|number| options(transport, bob4_at(), number)))
    });
}
