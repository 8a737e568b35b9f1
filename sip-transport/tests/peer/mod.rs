//! A core that tells what it sees, on sockets of loopback.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::headers::CSeq;
use sip_message::{Message, StatusCode};
use sip_transport::limits::Limits;
use sip_transport::tokio::{Driver, Handle, Listen, Options, Sockets};
use sip_transport::{
    Answer, Close, CloseReason, Core, FlowEvent, Path, Query, Received, SendError, Token, Transmit,
    Transport, response,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes on the slowest machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub enum Seen {
    Request(u32, Path),
    Response(u32, Path),
    Flow(FlowEvent),
    Resolved(Answer),
    Alarm,
}

/// Tells the test what it sees; answers requests with 200 and as much body as it was told.
pub struct Echo {
    pub seen: mpsc::UnboundedSender<Seen>,
    pub answers: bool,
    pub body: usize,
    pub transmits: VecDeque<Transmit>,
    pub queries: VecDeque<Query>,
    pub closes: VecDeque<Close>,
    pub alarm: Option<Instant>,
}

impl Core for Echo {
    fn receive(&mut self, _now: Instant, received: Received) {
        let Ok(CSeq { number, .. }) = received.message.headers().require() else { return };
        match received.message {
            Message::Request(request) => {
                if self.answers {
                    let answer = request.reply(StatusCode::OK).to_tag("echo");
                    let answer = answer.body("text/plain", vec![b'x'; self.body]).build().unwrap();
                    let way = response::path_of(&answer, &received.path).unwrap();
                    let payload = answer.to_bytes();
                    let token = Token(u64::from(number));
                    self.transmits.push_back(Transmit {
                        path: way.path,
                        payload,
                        reopen: way.reopen,
                        domain: None,
                        token,
                    });
                }
                let _ = self.seen.send(Seen::Request(number, received.path));
            }
            Message::Response(_) => {
                let _ = self.seen.send(Seen::Response(number, received.path));
            }
        }
    }

    fn flow_event(&mut self, _now: Instant, event: FlowEvent) {
        let _ = self.seen.send(Seen::Flow(event));
    }

    fn resolved(&mut self, _now: Instant, answer: Answer) {
        let _ = self.seen.send(Seen::Resolved(answer));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            let _ = self.seen.send(Seen::Alarm);
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

    fn poll_close(&mut self) -> Option<Close> {
        self.closes.pop_front()
    }
}

pub struct Peer {
    pub handle: Handle<Echo>,
    pub seen: mpsc::UnboundedReceiver<Seen>,
}

impl Peer {
    pub fn start(listen: &[&str], options: Options) -> Peer {
        let listen: Vec<Listen> = listen.iter().map(|text| text.parse().unwrap()).collect();
        Peer::over(Sockets::bind(&listen).unwrap(), options)
    }

    pub fn over(sockets: Sockets, options: Options) -> Peer {
        let (sender, seen) = mpsc::unbounded_channel();
        let core = Echo {
            seen: sender,
            answers: true,
            body: 0,
            transmits: VecDeque::new(),
            queries: VecDeque::new(),
            closes: VecDeque::new(),
            alarm: None,
        };
        Peer { handle: Driver::spawn(core, sockets, options), seen }
    }

    pub fn new(listen: &[&str]) -> Peer {
        Peer::start(listen, Options::default())
    }

    pub fn limited(limits: Limits) -> Peer {
        Peer::start(&["tcp:127.0.0.1:0"], Options { limits, ..Options::default() })
    }

    pub fn at(&self, transport: Transport) -> SocketAddr {
        self.handle.locals().iter().find(|local| local.transport == transport).unwrap().bound
    }

    pub fn send(&self, transmit: Transmit) {
        self.handle.with(|core, _| core.transmits.push_back(transmit));
    }

    pub async fn next(&mut self) -> Seen {
        timeout(PATIENCE, self.seen.recv()).await.expect("nothing happened").unwrap()
    }

    pub async fn request(&mut self) -> (u32, Path) {
        loop {
            if let Seen::Request(number, path) = self.next().await {
                return (number, path);
            }
        }
    }

    pub async fn response(&mut self) -> (u32, Path) {
        loop {
            if let Seen::Response(number, path) = self.next().await {
                return (number, path);
            }
        }
    }

    pub async fn failure(&mut self) -> (Token, SendError) {
        loop {
            if let Seen::Flow(FlowEvent::SendFailed { token, error, .. }) = self.next().await {
                return (token, error);
            }
        }
    }

    pub async fn closed(&mut self) -> CloseReason {
        loop {
            if let Seen::Flow(FlowEvent::Closed { reason, .. }) = self.next().await {
                return reason;
            }
        }
    }
}

pub fn text(transport: Transport, sent_by: SocketAddr, number: u32) -> String {
    format!(
        "OPTIONS sip:echo@host.example SIP/2.0\r\nVia: SIP/2.0/{transport} {sent_by};branch=z9hG4bK{number};rport\r\n\
         From: <sip:a@b>;tag=a\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: {number} OPTIONS\r\nMax-Forwards: 70\r\n\
         Content-Length: 4\r\n\r\nbody"
    )
}

pub fn options(transport: Transport, from: SocketAddr, to: SocketAddr, number: u32) -> Transmit {
    let payload = text(transport, from, number).into();
    Transmit {
        path: Path::to(transport, to),
        payload,
        reopen: None,
        domain: None,
        token: Token(u64::from(number)),
    }
}
