//! Two phones whose messages are carried by hand, in virtual time.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_dialog::{
    Body, CallKey, Config, Dialogs, Event, Invite, PublicationChange, SubscriberChange, SubscriptionChange,
    SubscriptionEnd, SubscriptionKey,
};
use sip_message::{Limits, Message, Method, Request};
use sip_transport::{Core, Local, Locals, Path, Transmit, Transport, ingress};

pub(crate) const ALICE: &str = "192.0.2.1:5060";
pub(crate) const BOB: &str = "192.0.2.2:5060";

pub(crate) fn config(address: &str, seed: u8) -> Config {
    let local = Local::new(Transport::Udp, address.parse().unwrap());
    Config::new(sip_transaction::Config::new([seed; 32], Locals::new(vec![local])))
}

pub(crate) fn phone(address: &str, seed: u8) -> Dialogs {
    Dialogs::new(config(address, seed))
}

/// A phone that takes all requests of subscriptions and notifies about two packages.
pub(crate) fn eventful_phone(address: &str, seed: u8, change: impl Fn(&mut Config)) -> Dialogs {
    let mut config = config(address, seed);
    config.allow.extend([Method::Subscribe, Method::Notify, Method::Refer]);
    config.events.packages = vec!["presence".into(), "dialog".into()];
    change(&mut config);
    Dialogs::new(config)
}

pub(crate) fn text(body: &str) -> Body {
    Body { content_type: "text/plain".into(), octets: Bytes::copy_from_slice(body.as_bytes()) }
}

/// What happened, a line for each event.
pub(crate) fn story(dialogs: &mut Dialogs) -> Vec<String> {
    std::iter::from_fn(|| dialogs.poll_event()).map(|event| line(&event)).collect()
}

pub(crate) fn line(event: &Event) -> String {
    match event {
        Event::Subscription { what, .. } => match what {
            SubscriptionChange::Active { expires } => {
                format!("active {}", expires.map_or(0, |e| e.as_secs()))
            }
            SubscriptionChange::Pending { expires } => {
                format!("pending {}", expires.map_or(0, |e| e.as_secs()))
            }
            SubscriptionChange::Notified { request } => {
                format!("notified {}", String::from_utf8_lossy(request.body())).trim_end().into()
            }
            SubscriptionChange::Progress { status } => format!("progress {status}"),
            SubscriptionChange::Forked { .. } => "forked".into(),
            SubscriptionChange::RefreshFailed { status } => format!("refresh failed {status}"),
            SubscriptionChange::Terminated { end, again } => {
                let end = match end {
                    SubscriptionEnd::ByNotifier { reason, .. } => {
                        reason.as_ref().map_or("without reason", |reason| reason.as_str()).to_string()
                    }
                    SubscriptionEnd::Refused(response) => format!("refused {}", response.status()),
                    SubscriptionEnd::Failed(failure) => format!("failed {}", failure.status()),
                    other => format!("{other:?}"),
                };
                match again {
                    Some(wait) => format!("terminated {end}, again in {}", wait.as_secs()),
                    None => format!("terminated {end}"),
                }
            }
            other => format!("{other:?}"),
        },
        Event::Subscriber { what, .. } => match what {
            SubscriberChange::Refreshed { expires } => format!("refreshed {}", expires.as_secs()),
            SubscriberChange::Ended(why) => format!("ended {why:?}"),
            other => format!("{other:?}"),
        },
        Event::Publication { what, .. } => match what {
            PublicationChange::Published { expires } => format!("published {}", expires.as_secs()),
            PublicationChange::Failed { status, again } => {
                format!("failed {status}, again in {}", again.as_secs())
            }
            PublicationChange::Ended(sip_dialog::PublicationEnd::Refused(response)) => {
                format!("refused {}", response.status())
            }
            PublicationChange::Ended(end) => format!("{end:?}"),
            other => format!("{other:?}"),
        },
        Event::SubscriptionRequested { .. } => "requested".into(),
        Event::Referred { refer_to, .. } => format!("referred to {refer_to}"),
        Event::Ended { cause, .. } => {
            format!("call over: {}", format!("{cause:?}").split('(').next().unwrap())
        }
        other => format!("{other:?}").split([' ', '{', '(']).next().unwrap().into(),
    }
}

pub(crate) fn invite(offer: Option<&'static str>) -> Invite {
    Invite {
        to: format!("sip:bob@{BOB}").parse().unwrap(),
        from: "Alice <sip:alice@example.com>".parse().unwrap(),
        offer: offer.map(Body::sdp),
        route: vec![],
        fields: vec![],
    }
}

/// Alice at one end, Bob at the other; nothing between them.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) alice: Dialogs,
    pub(crate) bob: Dialogs,
    /// Start lines of what was carried, with the direction.
    pub(crate) log: Vec<String>,
    /// What is dropped: a message whose log line contains one of these, once each.
    pub(crate) lose: Vec<&'static str>,
    /// Keeps no log: for many calls.
    pub(crate) quiet: bool,
    /// What was carried, lost or not, and whether Alice sent it.
    pub(crate) seen: Vec<(bool, Message)>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::now(),
            alice: phone(ALICE, 1),
            bob: phone(BOB, 2),
            log: Vec::new(),
            lose: Vec::new(),
            quiet: false,
            seen: Vec::new(),
        }
    }

    /// Two phones that subscribe to each other.
    pub(crate) fn eventful() -> Self {
        Self::eventful_with(|_| {})
    }

    pub(crate) fn eventful_with(change: impl Fn(&mut Config)) -> Self {
        Self { alice: eventful_phone(ALICE, 1, &change), bob: eventful_phone(BOB, 2, &change), ..Self::new() }
    }

    /// Hands a request of somebody else's making to Alice, and returns the status that she answers it with.
    pub(crate) fn hand_alice(&mut self, request: &str) -> String {
        self.hand_over(request, true)
    }

    pub(crate) fn hand_bob(&mut self, request: &str) -> String {
        self.hand_over(request, false)
    }

    fn hand_over(&mut self, request: &str, to_alice: bool) -> String {
        let bytes = Bytes::copy_from_slice(request.replace('\n', "\r\n").as_bytes());
        let (local, remote) = if to_alice { (ALICE, "192.0.2.9:5060") } else { (BOB, "192.0.2.9:5060") };
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        let path = Path { transport: Transport::Udp, local, remote, flow: None };
        let received = ingress::datagram(bytes, path, &Limits::default()).unwrap();
        let dialogs = if to_alice { &mut self.alice } else { &mut self.bob };
        dialogs.receive(self.now, received);
        let mut answer = String::new();
        let mut others = Vec::new();
        while let Some(transmit) = dialogs.poll_transmit() {
            let message = Message::parse(transmit.payload.clone(), &Limits::default()).unwrap();
            match message {
                Message::Response(response) if transmit.path.remote == remote => {
                    answer = response.to_string();
                }
                _ => others.push(transmit),
            }
        }
        for transmit in others {
            self.carry(transmit, to_alice);
        }
        self.settle();
        answer
    }

    /// The requests of a method that Alice, or Bob, sent last.
    pub(crate) fn last_request(&self, method: &Method, from_alice: bool) -> Request {
        let of = |(alice, message): &(bool, Message)| {
            message.as_request().filter(|it| *alice == from_alice && it.method() == method).cloned()
        };
        self.seen.iter().rev().find_map(of).unwrap()
    }

    /// The key in the event by which Bob hears of a SUBSCRIBE or REFER; what came before it is dropped.
    pub(crate) fn bob_is_asked(&mut self) -> SubscriptionKey {
        loop {
            match self.bob.poll_event() {
                Some(Event::SubscriptionRequested { key, .. } | Event::Referred { key, .. }) => return key,
                Some(_) => {}
                None => panic!("nobody asks Bob"),
            }
        }
    }

    /// Phones that differ from the usual ones.
    pub(crate) fn of(change: impl Fn(&mut Config, bool)) -> Self {
        let mut pair = Self::new();
        let (mut alice, mut bob) = (config(ALICE, 1), config(BOB, 2));
        change(&mut alice, true);
        change(&mut bob, false);
        (pair.alice, pair.bob) = (Dialogs::new(alice), Dialogs::new(bob));
        pair
    }

    /// A message that somebody else sends to Bob, as if from Alice's address.
    pub(crate) fn inject_to_bob(&mut self, text: &str) {
        let path = Path {
            transport: Transport::Udp,
            local: BOB.parse().unwrap(),
            remote: ALICE.parse().unwrap(),
            flow: None,
        };
        let received = ingress::datagram(text.as_bytes().to_vec().into(), path, &Limits::default()).unwrap();
        self.bob.receive(self.now, received);
    }

    /// A response that Bob is about to send, as text: for tests that send it on changed.
    pub(crate) fn taken_from_bob(&mut self) -> String {
        let transmit = self.bob.poll_transmit().unwrap();
        String::from_utf8(transmit.payload.to_vec()).unwrap()
    }

    pub(crate) fn inject_to_alice(&mut self, text: &str) {
        let path = Path {
            transport: Transport::Udp,
            local: ALICE.parse().unwrap(),
            remote: BOB.parse().unwrap(),
            flow: None,
        };
        let received = ingress::datagram(text.as_bytes().to_vec().into(), path, &Limits::default()).unwrap();
        self.alice.receive(self.now, received);
    }

    /// Carries messages until both are silent.
    pub(crate) fn settle(&mut self) {
        loop {
            let from_alice: VecDeque<Transmit> = std::iter::from_fn(|| self.alice.poll_transmit()).collect();
            let from_bob: VecDeque<Transmit> = std::iter::from_fn(|| self.bob.poll_transmit()).collect();
            if from_alice.is_empty() && from_bob.is_empty() {
                return;
            }
            for transmit in from_alice {
                self.carry(transmit, true);
            }
            for transmit in from_bob {
                self.carry(transmit, false);
            }
        }
    }

    pub(crate) fn carry(&mut self, transmit: Transmit, from_alice: bool) {
        let message = Message::parse(transmit.payload.clone(), &Limits::default()).unwrap();
        if !self.quiet {
            self.seen.push((from_alice, message.clone()));
        }
        let arrow = if from_alice { "->" } else { "<-" };
        let line = match &message {
            Message::Request(request) => format!("{arrow} {}", request.method()),
            Message::Response(response) => {
                let cseq = response.headers.text("CSeq").unwrap();
                format!("{arrow} {} {}", response.status(), cseq.split(' ').nth(1).unwrap())
            }
        };
        if let Some(at) = self.lose.iter().position(|lost| line.contains(lost)) {
            self.lose.remove(at);
            self.log.push(format!("{line} (lost)"));
            return;
        }
        if !self.quiet {
            self.log.push(line);
        }
        let (local, remote) = if from_alice { (BOB, ALICE) } else { (ALICE, BOB) };
        let path = Path {
            transport: Transport::Udp,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            flow: None,
        };
        let received = ingress::datagram(transmit.payload, path, &Limits::default()).unwrap();
        let to = if from_alice { &mut self.bob } else { &mut self.alice };
        to.receive(self.now, received);
    }

    /// Lets time pass, timers fire and messages arrive.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let next = [self.alice.poll_timeout(), self.bob.poll_timeout()].into_iter().flatten().min();
            match next {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.alice.handle_timeout(self.now);
                    self.bob.handle_timeout(self.now);
                    self.settle();
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Lets time pass until a message goes whose log line contains this.
    pub(crate) fn pass_until(&mut self, line: &str) {
        for _ in 0..200_000 {
            if self.log.iter().any(|logged| logged.contains(line)) {
                return;
            }
            self.pass(Duration::from_millis(50));
        }
        panic!("{line} is never sent");
    }

    pub(crate) fn bob_is_called(&mut self) -> CallKey {
        match self.bob.poll_event() {
            Some(Event::Incoming { call, .. }) => call,
            other => panic!("Bob is not called: {other:?}"),
        }
    }

    /// A call that stands, its events taken.
    pub(crate) fn connect(&mut self) -> (CallKey, CallKey) {
        let call = self.alice.invite(self.now, invite(Some("offer"))).unwrap();
        self.settle();
        let incoming = self.bob_is_called();
        self.bob.accept(self.now, incoming, Some(Body::sdp("answer"))).unwrap();
        self.settle();
        assert!(matches!(self.alice.poll_event(), Some(Event::Answered { .. })));
        assert!(matches!(self.bob.poll_event(), Some(Event::Confirmed { .. })));
        self.log.clear();
        (call, incoming)
    }

    /// Hands a response of the test's making to Alice, as if Bob had sent it.
    pub(crate) fn answer_to_alice(&mut self, response: &sip_message::Response) {
        let (local, remote) = (ALICE.parse().unwrap(), BOB.parse().unwrap());
        let path = Path { transport: Transport::Udp, local, remote, flow: None };
        let bytes = Message::from(response.clone()).to_bytes();
        self.alice.receive(self.now, ingress::datagram(bytes, path, &Limits::default()).unwrap());
        self.settle();
    }

    /// Whoever has a subscription ends it, and nothing is left.
    pub(crate) fn nothing_is_left_after_unsubscribing(&mut self) {
        self.lose.clear();
        self.settle();
        for dialogs in [&mut self.alice, &mut self.bob] {
            for key in dialogs.subscriptions().collect::<Vec<_>>() {
                let _ = dialogs.unsubscribe(self.now, key);
            }
        }
        self.pass(Duration::from_secs(200));
        let keys: Vec<_> = self.bob.subscriptions().collect();
        for key in keys {
            let reason = sip_dialog::TerminationReason::NoResource;
            let _ = self.bob.terminate_subscription(self.now, key, &reason, None, None);
        }
        self.nothing_is_left();
    }

    /// After enough time nothing is left on either side.
    pub(crate) fn nothing_is_left(&mut self) {
        self.pass(Duration::from_secs(200));
        assert!(self.alice.is_idle(), "Alice keeps something: {:?}", self.alice);
        assert!(self.bob.is_idle(), "Bob keeps something: {:?}", self.bob);
    }
}
