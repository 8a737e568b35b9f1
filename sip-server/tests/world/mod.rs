//! A server driven by hand: messages go in as bytes, what it sends is looked at.
#![allow(dead_code, unreachable_pub)] // each test program uses its part of it

pub mod machine;
pub mod watcher;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use machine::Machine;
use sip_message::headers::{To, Via};
use sip_message::{Limits, Message, Method, Request, Response, StatusCode};
use sip_server::location::MemoryLocation;
use sip_server::{Config, ServerCore};
use sip_transport::{Core, FlowEvent, FlowId, Local, Locals, Path, SendError, Transmit, Transport, ingress};

pub const SERVER: &str = "192.0.2.1:5060";
pub const ALICE: &str = "192.0.2.11:5060";
pub const BOB: &str = "192.0.2.12:5060";
pub const BOB2: &str = "192.0.2.13:5060";

/// What the server sent.
#[derive(Debug)]
pub struct Sent {
    pub transmit: Transmit,
    pub message: Message,
}

impl Sent {
    pub fn to(&self) -> String {
        self.transmit.path.remote.to_string()
    }

    pub fn request(&self) -> &Request {
        self.message.as_request().unwrap_or_else(|| panic!("a request: {}", self.text()))
    }

    pub fn response(&self) -> &Response {
        self.message.as_response().unwrap_or_else(|| panic!("a response: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.transmit.payload).into_owned()
    }

    pub fn is(&self, method: &Method) -> bool {
        self.message.as_request().is_some_and(|request| request.method() == method)
    }

    /// `INVITE` or `180`: for comparing what was sent as a list.
    pub fn name(&self) -> String {
        match &self.message {
            Message::Request(request) => request.method().to_string(),
            Message::Response(response) => response.status().to_string(),
        }
    }
}

pub struct World {
    pub core: Machine,
    pub now: Instant,
    /// How many 100s were sent: every INVITE that is forwarded gets one at once, so they are left out elsewhere.
    pub trying: usize,
    branches: u32,
    /// Connections on which something came.
    open: Vec<FlowId>,
}

pub fn locals() -> Locals {
    Locals::new(vec![
        Local::new(Transport::Udp, SERVER.parse().unwrap()),
        Local::new(Transport::Tcp, SERVER.parse().unwrap()),
    ])
}

impl World {
    /// A server for example.com with these changes to the configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new([7; 32], locals());
        config.domains = vec!["example.com".into()];
        change(&mut config);
        World::of(config, Machine::of)
    }

    /// With one core, whatever the environment says: limits are those of a core.
    pub fn of_one_core(change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new([7; 32], locals());
        config.domains = vec!["example.com".into()];
        change(&mut config);
        World::of(config, |core, _, _, _| core.into())
    }

    /// Likewise, with several cores side by side.
    pub fn sharded(change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new([7; 32], locals());
        config.domains = vec!["example.com".into()];
        change(&mut config);
        World::of(config, Machine::several)
    }

    fn of(config: Config, machine: fn(ServerCore, &Config, Instant, Duration) -> Machine) -> World {
        let (now, unix) = (Instant::now(), Duration::from_secs(1_289_690_940));
        let core = machine(ServerCore::new(config.clone(), now, unix).unwrap(), &config, now, unix);
        World { core, now, trying: 0, branches: 0, open: Vec::new() }
    }

    pub fn new() -> World {
        World::with(|_| {})
    }

    /// Likewise, with a durable store behind its table.
    pub fn durable(change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new([7; 32], locals());
        config.domains = vec!["example.com".into()];
        change(&mut config);
        let (now, unix) = (Instant::now(), Duration::from_secs(1_289_690_940));
        let table = MemoryLocation::new(config.limits.bindings, now, unix);
        let core = ServerCore::with_durable_location(config.clone(), now, unix, table).unwrap();
        let core = Machine::of(core, &config, now, unix);
        World { core, now, trying: 0, branches: 0, open: Vec::new() }
    }

    /// Text of a request with a Via of `source` and everything a request needs, `extra` lines in front.
    pub fn request(&mut self, source: &str, method: &str, uri: &str, extra: &str) -> String {
        self.branches += 1;
        let mut lines = format!("Via: SIP/2.0/UDP {source};branch=z9hG4bKtest{}\r\n", self.branches);
        lines.push_str(extra);
        let mut add = |name: &str, value: String| {
            if !extra
                .to_ascii_lowercase()
                .lines()
                .any(|line| line.starts_with(&format!("{}:", name.to_lowercase())))
            {
                lines.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        add("From", "<sip:carol@chicago.example>;tag=carol".into());
        add("To", format!("<{uri}>"));
        add("Call-ID", format!("call-{}", self.branches));
        add("CSeq", format!("{} {method}", self.branches));
        add("Max-Forwards", "70".into());
        add("Content-Length", "0".into());
        format!("{method} {uri} SIP/2.0\r\n{lines}\r\n")
    }

    /// A datagram from `source`; gives what the server sent in answer.
    pub fn udp(&mut self, source: &str, text: impl Into<String>) -> Vec<Sent> {
        self.arrives(Transport::Udp, source, 1, text)
    }

    /// A message on the connection `flow` from `source`.
    pub fn tcp(&mut self, source: &str, flow: u64, text: impl Into<String>) -> Vec<Sent> {
        self.arrives(Transport::Tcp, source, flow, text)
    }

    pub fn arrives(
        &mut self,
        transport: Transport,
        source: &str,
        flow: u64,
        text: impl Into<String>,
    ) -> Vec<Sent> {
        let path = Path {
            transport,
            local: SERVER.parse().unwrap(),
            remote: source.parse().unwrap(),
            flow: Some(FlowId(flow)),
        };
        if transport.is_reliable() && !self.open.contains(&FlowId(flow)) {
            self.open.push(FlowId(flow));
            self.core.flow_event(self.now, FlowEvent::Opened { path });
        }
        let received = ingress::datagram(text.into().into(), path, &Limits::default()).unwrap();
        self.core.receive(self.now, received);
        self.sent()
    }

    /// Everything the server wants to send but 100, as it goes on the wire.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(transmit) = self.core.poll_transmit() {
            let message = Message::parse(transmit.payload.clone(), &Limits::default()).unwrap();
            if let Message::Request(request) = &message {
                request.check().unwrap();
            }
            all.push(Sent { transmit, message });
        }
        let sent = all.len();
        all.retain(|sent| sent.name() != "100");
        self.trying += sent - all.len();
        all
    }

    /// Sends a request and gives the one response to it.
    pub fn ask(&mut self, source: &str, method: &str, uri: &str, extra: &str) -> Response {
        let text = self.request(source, method, uri, extra);
        let sent = self.udp(source, text);
        assert_eq!(sent.len(), 1, "one answer, not {sent:?}");
        sent[0].response().clone()
    }

    pub fn register(&mut self, user: &str, contact: &str, extra: &str) -> Response {
        let lines = format!(
            "From: <sip:{user}@example.com>;tag=r\r\nTo: <sip:{user}@example.com>\r\nContact: {contact}\r\n{extra}"
        );
        self.ask(BOB, "REGISTER", "sip:example.com", &lines)
    }

    /// A phone answers a request that the server sent to it; gives what the server sent because of it.
    pub fn answer(&mut self, to: &Sent, status: u16, extra: &str) -> Vec<Sent> {
        let text = response_text(to.request(), status, extra);
        let (transport, source) = (to.transmit.path.transport, to.to());
        let flow = to.transmit.path.flow.map_or(1, |flow| flow.0);
        self.arrives(transport, &source, flow, text)
    }

    /// Lets time pass; gives what was sent meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.core.handle_timeout(self.now);
            all.extend(self.sent());
        }
        self.now = end;
        all
    }

    pub fn seconds(&mut self, seconds: u64) -> Vec<Sent> {
        self.pass(Duration::from_secs(seconds))
    }

    /// The driver could not send this.
    pub fn fail(&mut self, sent: &Sent) -> Vec<Sent> {
        let event = FlowEvent::SendFailed {
            token: sent.transmit.token,
            path: sent.transmit.path,
            error: SendError::Closed,
        };
        self.core.flow_event(self.now, event);
        self.sent()
    }

    /// After all timers nothing may be left but bindings.
    pub fn assert_nothing_left(&mut self) {
        self.seconds(600);
        assert_eq!(self.core.live_contexts(), 0, "contexts");
        assert_eq!(self.core.live_questions(), 0, "questions");
        assert_eq!(self.core.live_client(), 0, "client transactions");
        assert_eq!(self.core.live_server(), 0, "server transactions");
        assert_eq!(self.core.armed_timers(), 0, "timers");
    }
}

pub fn response_text(request: &Request, status: u16, extra: &str) -> String {
    let status = StatusCode::new(status).unwrap();
    let mut response = request.reply(status).to_tag("callee").build().unwrap();
    for line in extra.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        response.headers.push_raw(name, value.trim()).unwrap();
    }
    response.to_string()
}

pub fn names(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(Sent::name).collect()
}

/// The only message of that name among those sent.
pub fn only<'s>(sent: &'s [Sent], name: &str) -> &'s Sent {
    let all: Vec<&Sent> = sent.iter().filter(|sent| sent.name() == name).collect();
    assert_eq!(all.len(), 1, "one {name} among {:?}", names(sent));
    all[0]
}

pub fn vias(message: &Message) -> Vec<Via> {
    message.headers().all::<Via>().map(Result::unwrap).collect()
}

pub fn to_tag(response: &Response) -> Option<String> {
    response.headers.require::<To>().unwrap().tag().map(str::to_owned)
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
