//! The other side of a test: a node that does what a call flow says, line by line.

mod actor;
mod conversation;
mod repeat;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::{Message, Request, RequestBuilder, Response, ResponseBuilder, Uri};
use sip_transport::{Path, Transmit, Transport};

use self::conversation::Conversation;
use self::repeat::Repeat;
use crate::node::NodeId;
use crate::sim::Sim;

/// How long an expected message may take: a little longer than a peer tries (64·T1).
const PATIENCE: Duration = Duration::from_secs(40);

type Edit<B> = Arc<dyn Fn(B) -> B + Send + Sync>;

/// One line of a script.
#[derive(Clone)]
enum Step {
    Expect(String),
    Maybe(String),
    Wait(Duration),
    Reply(u16, Edit<ResponseBuilder>),
    Send(String, Edit<RequestBuilder>),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Expect(what) => write!(f, "expect {what}"),
            Step::Maybe(what) => write!(f, "maybe {what}"),
            Step::Wait(time) => write!(f, "wait {time:?}"),
            Step::Reply(status, _) => write!(f, "reply {status}"),
            Step::Send(method, _) => write!(f, "send {method}"),
        }
    }
}

/// A node that follows a script. What is not in the script but a duty of every SIP element it does by itself: it
/// repeats its requests and 2xx over UDP until they are answered, answers repeated requests as it did before,
/// acknowledges failures, and answers a CANCEL with 200.
///
/// It uses no part of the stack but the messages: a fault of ours is not hidden by the same fault on the other side.
///
/// ```
/// use std::time::Duration;
/// use sip_sim::{Conditions, Invariants, Script, Sim};
///
/// let ms = Duration::from_millis;
/// let mut sim = Sim::new(1, Conditions::rough(0.2));
/// let alice = Script::new("192.0.2.1:5060").to("sip:bob@example.com", "192.0.2.2:5060")
///     .send("INVITE").maybe("180").expect("200").send("ACK").wait(ms(3000)).send("BYE").expect("200");
/// let bob = Script::new("192.0.2.2:5060")
///     .expect("INVITE").wait(ms(100)).reply(180).wait(ms(900)).reply(200).expect("ACK").expect("BYE").reply(200);
/// let alice = sim.add_script("alice", alice);
/// let bob = sim.add_script("bob", bob);
/// assert!(sim.run_until_idle(Duration::from_secs(300)));
/// sim.node(alice).assert_done();
/// sim.node(bob).assert_done();
/// Invariants::new().assert(sim.trace());
/// ```
pub struct Script {
    at: SocketAddr,
    transport: Transport,
    target: Option<(Uri, SocketAddr)>,
    patience: Duration,
    steps: Vec<Step>,
    next: usize,
    /// When the step that waits is over.
    wake: Option<Instant>,
    /// Whether the step that waits has begun to.
    waiting: bool,
    inbox: VecDeque<(Message, Path)>,
    /// The request that a reply answers: the last one expected.
    current: Option<(Request, Path)>,
    conversation: Option<Conversation>,
    /// Requests that came, by branch and method, with the last answer to each.
    known: BTreeMap<(String, String), Option<Transmit>>,
    /// Responses that came, by branch, method and status.
    heard: BTreeSet<(String, String, u16)>,
    repeats: Vec<Repeat>,
    /// The ACK of our INVITE: sent again with each repeated final response.
    ack: Option<Transmit>,
    out: VecDeque<Transmit>,
    problems: Vec<String>,
    numbered: u32,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let next = self.steps.get(self.next).map_or_else(|| "the end".to_owned(), ToString::to_string);
        f.debug_struct("Script")
            .field("at", &self.at)
            .field("next", &next)
            .field("problems", &self.problems)
            .finish()
    }
}

impl Script {
    /// A script for a node at this address and port.
    ///
    /// # Panics
    /// When that is none: the test is wrong then.
    #[must_use]
    #[allow(clippy::panic)]
    pub fn new(at: &str) -> Script {
        Script {
            at: at.parse().unwrap_or_else(|_| panic!("{at} is no address and port")),
            transport: Transport::Udp,
            target: None,
            patience: PATIENCE,
            steps: Vec::new(),
            next: 0,
            wake: None,
            waiting: false,
            inbox: VecDeque::new(),
            current: None,
            conversation: None,
            known: BTreeMap::new(),
            heard: BTreeSet::new(),
            repeats: Vec::new(),
            ack: None,
            out: VecDeque::new(),
            problems: Vec::new(),
            numbered: 0,
        }
    }

    /// Where its first request goes: the Request-URI, and the address of the next hop.
    ///
    /// # Panics
    /// When these are none.
    #[must_use]
    #[allow(clippy::panic)]
    pub fn to(mut self, uri: &str, next_hop: &str) -> Script {
        let address = next_hop.parse().unwrap_or_else(|_| panic!("{next_hop} is no address and port"));
        let uri = uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"));
        self.target = Some((uri, address));
        self
    }

    /// The transport of its first request; UDP if nothing is said.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Script {
        self.transport = transport;
        self
    }

    /// How long an expected message may take; 40 s if nothing is said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Script {
        self.patience = patience;
        self
    }

    /// Waits for a message: a method (`INVITE`), a status (`200`), or a class of them (`4xx`). Anything else that comes
    /// first is a problem, but for provisional responses.
    #[must_use]
    pub fn expect(self, what: &str) -> Script {
        self.step(Step::Expect(what.to_owned()))
    }

    /// Takes a message if it is the next that comes within the patience, and goes on without if another one comes.
    #[must_use]
    pub fn maybe(self, what: &str) -> Script {
        self.step(Step::Maybe(what.to_owned()))
    }

    /// Does nothing for a while.
    #[must_use]
    pub fn wait(self, time: Duration) -> Script {
        self.step(Step::Wait(time))
    }

    /// Answers the request that was expected last.
    #[must_use]
    pub fn reply(self, status: u16) -> Script {
        self.reply_with(status, |response| response)
    }

    /// Answers with more fields or a body.
    #[must_use]
    pub fn reply_with(
        self,
        status: u16,
        edit: impl Fn(ResponseBuilder) -> ResponseBuilder + Send + Sync + 'static,
    ) -> Script {
        self.step(Step::Reply(status, Arc::new(edit)))
    }

    /// Sends a request: the first one to the target, all others in the dialog or conversation that it began, or that
    /// the peer did. `ACK` acknowledges the last 2xx, `CANCEL` gives the last INVITE up.
    #[must_use]
    pub fn send(self, method: &str) -> Script {
        self.send_with(method, |request| request)
    }

    /// Sends a request with more fields or a body.
    #[must_use]
    pub fn send_with(
        self,
        method: &str,
        edit: impl Fn(RequestBuilder) -> RequestBuilder + Send + Sync + 'static,
    ) -> Script {
        self.step(Step::Send(method.to_owned(), Arc::new(edit)))
    }

    fn step(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }

    /// Whether every line was done, and nothing else happened.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next >= self.steps.len() && self.problems.is_empty()
    }

    /// What was not as the script says.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// # Panics
    /// With what was not as the script says, or with the line at which it stands.
    #[allow(clippy::panic)] // a wrong run stops; see # Panics
    pub fn assert_done(&self) {
        if !self.is_done() {
            panic!("{self:?}");
        }
    }

    fn problem(&mut self, text: String) {
        self.problems.push(format!("line {}: {text}", self.next.saturating_add(1)));
    }

    fn next_number(&mut self) -> u32 {
        self.numbered = self.numbered.saturating_add(1);
        self.numbered
    }
}

impl Sim {
    /// Adds a script, listening over UDP and TCP. It begins when the run goes on.
    pub fn add_script(&mut self, name: &str, script: Script) -> NodeId<Script> {
        let locals = Sim::locals(script.at, &[Transport::Udp, Transport::Tcp]);
        let node = self.add(name, locals, script);
        self.after(Duration::ZERO, move |sim| sim.with(node, Script::begin_playing));
        node
    }
}

/// `INVITE`, `200`.
fn name_of(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method().to_string(),
        Message::Response(response) => response.status().code().to_string(),
    }
}

/// Whether a message is what a script line says.
fn fits(what: &str, message: &Message) -> bool {
    let name = name_of(message);
    match what.strip_suffix("xx") {
        Some(class) => class.len() == 1 && matches!(message, Message::Response(_)) && name.starts_with(class),
        None => name == what,
    }
}

fn is_provisional(message: &Message) -> bool {
    matches!(message, Message::Response(response) if response.status().is_provisional())
}

fn method_of(response: &Response) -> String {
    let cseq = response.headers.get::<sip_message::headers::CSeq>().ok().flatten();
    cseq.map(|cseq| cseq.method.to_string()).unwrap_or_default()
}
