//! Whole calls through the core, without sockets.
#![allow(dead_code, unreachable_pub)] // each bench uses its part of it

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::headers::{RecordRoute, Via};
use sip_message::{Limits, Request, Response, StatusCode};
use sip_server::{Config, ServerCore};
use sip_transaction::Tier;
use sip_transport::{Core, FlowId, Local, Locals, Path, Transmit, Transport, ingress};

const SERVER: &str = "192.0.2.1:5060";
pub const ALICE: &str = "192.0.2.11:5060";
pub const BOB: &str = "192.0.2.12:5060";
pub const SDP: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

pub struct Bench {
    core: ServerCore,
    pub now: Instant,
    pub calls: u64,
    /// How much time passes between two calls: transactions last 32 s of it.
    pub between: Duration,
    /// Whom the calls are for.
    pub called: String,
    /// How long each step of the core took, where that is asked for.
    pub steps: Option<Vec<Duration>>,
}

impl Bench {
    pub fn new(change: impl FnOnce(&mut Config)) -> Bench {
        let locals = Locals::new(vec![Local::new(Transport::Udp, SERVER.parse().unwrap())]);
        let mut config = Config::new([7; 32], locals);
        config.domains = vec!["example.com".into()];
        change(&mut config);
        let now = Instant::now();
        Bench {
            core: ServerCore::new(config, now, Duration::from_secs(1_700_000_000)).unwrap(),
            now,
            calls: 0,
            between: Duration::from_millis(1),
            called: "bob".into(),
            steps: None,
        }
    }

    pub fn give(&mut self, from: &str, bytes: bytes::Bytes) -> Transmit {
        self.take(from, bytes);
        // The last one: a forwarded INVITE is preceded by its 100.
        std::iter::from_fn(|| self.core.poll_transmit()).last().unwrap()
    }

    pub fn take(&mut self, from: &str, bytes: bytes::Bytes) {
        let remote: SocketAddr = from.parse().unwrap();
        let path =
            Path { transport: Transport::Udp, local: SERVER.parse().unwrap(), remote, flow: Some(FlowId(1)) };
        let received = ingress::datagram(bytes, path, &Limits::default()).unwrap();
        self.step(|core, now| core.receive(now, received));
    }

    pub fn least_tier(&mut self, tier: Tier) {
        self.core.set_least_tier(tier);
    }

    fn step(&mut self, step: impl FnOnce(&mut ServerCore, Instant)) {
        let start = self.steps.is_some().then(Instant::now);
        step(&mut self.core, self.now);
        if let (Some(steps), Some(start)) = (&mut self.steps, start) {
            steps.push(start.elapsed());
        }
    }

    pub fn request(&mut self, method: &str, uri: &str, extra: &str, body: &str) -> bytes::Bytes {
        let call = self.calls;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ALICE};branch=z9hG4bK{method}{call}\r\n{extra}\
             From: \"Alice\" <sip:alice@chicago.example>;tag=a{call}\r\nCall-ID: {call}@192.0.2.11\r\n\
             CSeq: 1 {method}\r\nContact: <sip:alice@192.0.2.11:5060>\r\nMax-Forwards: 70\r\nUser-Agent: bench\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into()
    }

    /// INVITE, 180, 200, ACK, BYE, 200: six messages in, seven out with the 100.
    pub fn call(&mut self) {
        self.calls += 1;
        // Transactions last 32 s: at 1,000 calls a second 64,000 are live.
        self.now += self.between;
        self.step(|core, now| core.handle_timeout(now));
        let called = self.called.clone();
        let to = format!("To: <sip:{called}@example.com>\r\n");
        let invite = self.request("INVITE", &format!("sip:{called}@example.com"), &to, SDP);
        let forwarded = self.give(ALICE, invite);
        let forwarded = Request::parse(forwarded.payload, &Limits::default()).unwrap();
        let reply = |status| {
            let reply = forwarded.reply(status).to_tag("b").raw("Contact", "<sip:bob@192.0.2.12:5060>");
            reply.body("application/sdp", SDP).build().unwrap().to_bytes()
        };
        self.give(BOB, reply(StatusCode::RINGING));
        let ok = self.give(BOB, reply(StatusCode::OK));
        let ok = Response::parse(ok.payload, &Limits::default()).unwrap();
        let route: RecordRoute = ok.headers.require().unwrap();
        let extra = format!("Route: {route}\r\nTo: <sip:{called}@example.com>;tag=b\r\n");
        let ack = self.request("ACK", "sip:bob@192.0.2.12:5060", &extra, "");
        self.give(ALICE, ack);
        let bye = self.request("BYE", "sip:bob@192.0.2.12:5060", &extra, "");
        let bye = self.give(ALICE, bye);
        let bye = Request::parse(bye.payload, &Limits::default()).unwrap();
        let done = self.give(BOB, bye.reply(StatusCode::OK).build().unwrap().to_bytes());
        black_box(Response::parse(done.payload, &Limits::default()).unwrap().headers.all::<Via>().count());
    }

    pub fn register(&mut self) {
        self.calls += 1;
        self.now += Duration::from_millis(1);
        self.step(|core, now| core.handle_timeout(now));
        self.register_user(self.calls % 10_000, 600);
    }

    pub fn register_user(&mut self, user: u64, expires: u32) {
        let extra = format!("To: <sip:user{user}@example.com>\r\nExpires: {expires}\r\n");
        let register = self.request("REGISTER", "sip:example.com", &extra, "");
        black_box(self.give(ALICE, register));
    }

    /// What is due by now.
    pub fn tick(&mut self) {
        self.step(|core, now| core.handle_timeout(now));
    }

    /// Transactions that are live.
    pub fn live(&self) -> usize {
        self.core.transactions().live_client() + self.core.transactions().live_server()
    }
}
