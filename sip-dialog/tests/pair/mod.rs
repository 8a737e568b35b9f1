//! Two phones whose messages are carried by hand, in virtual time.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sip_dialog::{Body, CallKey, Config, Dialogs, Event, Invite};
use sip_message::{Limits, Message};
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

    /// After enough time nothing is left on either side.
    pub(crate) fn nothing_is_left(&mut self) {
        self.pass(Duration::from_secs(200));
        assert!(self.alice.is_idle(), "Alice keeps something: {:?}", self.alice);
        assert!(self.bob.is_idle(), "Bob keeps something: {:?}", self.bob);
    }
}
