//! Relays and clients as state machines, with octets carried between them and a clock that jumps (RFC 4976).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use msrp::auth::{Account, Auth, AuthError, Grant};
use msrp::connection::ANSWER_TIME;
use msrp::framing::{Decoder, Limits};
use msrp::relay::{Action, MAX_FAILURES, MAX_QUEUED, PROBATION, Relay, RelayConfig, RelayError};
use msrp::{
    Connection, Event, Failure, FailureReport, Message, NoDirectory, Path, SessionConfig, SessionKey,
    StatusCode, Uri,
};

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn tokens(seed: u64) -> Box<dyn msrp::Tokens> {
    let mut state = seed;
    Box::new(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    })
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Client(usize),
    Relay(usize, u64),
}

/// Relays `r0.example.com`, `r1.example.com`, and clients.
/// Where everybody connects from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct Net {
    now: Instant,
    relays: Vec<Relay>,
    clients: Vec<Connection>,
    events: Vec<VecDeque<Event>>,
    links: HashMap<End, End>,
    /// Clients that do not read.
    deaf: Vec<usize>,
    /// What went by, for looking at.
    wire: Vec<(End, String)>,
}

impl Net {
    fn new(relays: usize, change: impl Fn(&mut RelayConfig)) -> Self {
        let relays = (0..relays).map(|number| {
            let mut config = RelayConfig::new(format!("r{number}.example.com"), 2855);
            change(&mut config);
            let accounts: HashMap<String, String> =
                ["alice", "bob"].map(|name| (name.to_owned(), format!("{name}'s password"))).into();
            Relay::new(config, Box::new(accounts), tokens(1_000 + number as u64))
        });
        Self {
            now: Instant::now(),
            relays: relays.collect(),
            clients: Vec::new(),
            events: Vec::new(),
            links: HashMap::new(),
            deaf: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// A client with a connection to a relay.
    fn client(&mut self, relay: usize) -> usize {
        let number = self.clients.len();
        self.clients.push(Connection::new(number as u64, Limits::default(), tokens(number as u64)));
        self.events.push(VecDeque::new());
        let connection = self.relays[relay].accepted(self.now, true, HERE).unwrap();
        self.link(End::Client(number), End::Relay(relay, connection));
        number
    }

    fn link(&mut self, one: End, other: End) {
        self.links.insert(one, other);
        self.links.insert(other, one);
    }

    fn cut(&mut self, end: End) {
        let other = self.links.remove(&end);
        for end in [Some(end), other].into_iter().flatten() {
            self.links.remove(&end);
            match end {
                End::Client(client) => self.clients[client].closed(),
                End::Relay(relay, connection) => self.relays[relay].closed(connection),
            }
        }
    }

    fn deliver(&mut self, to: End, octets: &[u8]) {
        match to {
            End::Client(client) => {
                self.clients[client].buffer_mut().extend_from_slice(octets);
                self.clients[client].receive(self.now, &mut NoDirectory).unwrap();
            }
            End::Relay(relay, connection) => {
                self.relays[relay].push(connection, octets);
                if self.relays[relay].receive(self.now, connection).is_err() {
                    self.run_from(to);
                    self.cut(to);
                }
            }
        }
    }

    fn run_from(&mut self, from: End) -> bool {
        let Some(&to) = self.links.get(&from) else { return false };
        if matches!(to, End::Client(client) if self.deaf.contains(&client)) {
            return false;
        }
        if let End::Relay(relay, connection) = to
            && !self.relays[relay].wants_input(connection)
        {
            return false;
        }
        let mut octets = Vec::new();
        let mut poll = || match from {
            End::Client(client) => self.clients[client].poll_transmit(),
            End::Relay(relay, connection) => self.relays[relay].poll_transmit(connection),
        };
        while octets.len() < 100_000
            && let Some(piece) = poll()
        {
            octets.extend_from_slice(&piece);
        }
        match from {
            End::Client(client) => self.clients[client].transmitted(self.now),
            End::Relay(relay, connection) => self.relays[relay].transmitted(self.now, connection),
        }
        if octets.is_empty() {
            return false;
        }
        self.wire.push((from, String::from_utf8_lossy(&octets).into_owned()));
        self.deliver(to, &octets);
        true
    }

    /// Until nothing moves.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            for relay in 0..self.relays.len() {
                while let Some(action) = self.relays[relay].poll_action() {
                    moved = true;
                    match action {
                        Action::Connect { connection, uri } => {
                            let host = uri.host().strip_prefix('r').and_then(|rest| rest.split('.').next());
                            match host.and_then(|number| number.parse::<usize>().ok()) {
                                Some(other) if other < self.relays.len() => {
                                    let there = self.relays[other].accepted(self.now, true, HERE).unwrap();
                                    self.link(End::Relay(relay, connection), End::Relay(other, there));
                                    self.relays[relay].connected(connection);
                                }
                                _ => self.relays[relay].closed(connection),
                            }
                        }
                        Action::Close { connection } => self.cut(End::Relay(relay, connection)),
                        Action::Wake { connection } => {
                            let _ = self.relays[relay].receive(self.now, connection);
                        }
                    }
                }
            }
            let mut ends: Vec<End> = self.links.keys().copied().collect();
            ends.sort_by_key(|end| format!("{end:?}"));
            for end in ends {
                moved |= self.run_from(end);
            }
            for (client, events) in self.clients.iter_mut().zip(&mut self.events) {
                events.extend(std::iter::from_fn(|| client.poll_event()).map(|(_, event)| event));
            }
            if !moved {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for relay in &mut self.relays {
            relay.handle_timeout(self.now);
        }
        for client in &mut self.clients {
            client.handle_timeout(self.now);
        }
        self.run();
    }

    fn auth(&mut self, client: usize, account: Account, to: &str) -> Result<Grant, AuthError> {
        let from = local(client);
        let auth = Auth::new(account, to.parse().unwrap(), from).unwrap();
        self.clients[client].auth(auth).unwrap();
        self.run();
        self.clients[client].poll_auth().expect("an answer").1
    }

    fn texts(&mut self, client: usize) -> Vec<String> {
        let events = std::mem::take(&mut self.events[client]).into_iter();
        events
            .filter_map(|event| {
                if let Event::Message(message) = event {
                    Some(message.text().unwrap().to_owned())
                } else {
                    None
                }
            })
            .collect()
    }

    fn told(&self, client: usize, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events[client].iter().any(wanted)
    }
}

fn local(client: usize) -> Uri {
    uri(&format!("msrps://client{client}.invalid:9/session{client};tcp"))
}

fn account(name: &str) -> Account {
    Account::new(name, format!("{name}'s password"))
}

/// Alice and Bob, each behind a relay of his own, with a session between them.
fn two_behind_two() -> (Net, [usize; 2], [SessionKey; 2]) {
    let mut net = Net::new(2, |_| {});
    let (alice, bob) = (net.client(0), net.client(1));
    let alices = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let bobs = net.auth(bob, account("bob"), "msrps://r1.example.com:2855;tcp").unwrap();
    let bob_key = net.clients[bob].add(SessionConfig::new(local(bob))).unwrap();
    let alice_key = net.clients[alice]
        .add(SessionConfig {
            remote: Some(alices.towards(&bobs.offered(&local(bob)).unwrap()).unwrap()),
            active: true,
            ..SessionConfig::new(local(alice))
        })
        .unwrap();
    net.run();
    assert!(net.told(alice, |event| *event == Event::Bound) && net.told(bob, |event| *event == Event::Bound));
    (net, [alice, bob], [alice_key, bob_key])
}

#[test]
fn rfc_4976_3_messages_and_reports_go_through_two_relays_hop_by_hop_both_ways() {
    let (mut net, [alice, bob], [alice_key, bob_key]) = two_behind_two();
    net.wire.clear();
    let sent = net.clients[alice].send(alice_key, Message::text("Hi Bob").with_success_report()).unwrap();
    net.run();
    assert_eq!(net.texts(bob), ["Hi Bob"]);
    assert!(net.told(alice, |event| *event == Event::Sent(sent)));
    assert!(net.told(alice, |event| *event == Event::Delivered(sent)));
    // Each hop has a transaction of its own, one URI less in To-Path, one more in From-Path.
    let sends: Vec<&String> =
        net.wire.iter().map(|(_, text)| text).filter(|text| text.contains(" SEND\r\n")).collect();
    let path = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<Path>().unwrap().uris().len()
    };
    let hops: Vec<_> =
        sends.iter().map(|text| (path(text, "To-Path: "), path(text, "From-Path: "))).collect();
    assert_eq!(hops, [(3, 1), (2, 2), (1, 3)]);
    assert_ne!(sends[0].split(' ').nth(1), sends[1].split(' ').nth(1));
    let long = "x".repeat(300_000);
    net.clients[bob].send(bob_key, Message::text(long.clone())).unwrap();
    net.run();
    assert!(net.texts(alice) == [long]);
}

#[test]
fn both_behind_one_relay_and_a_peer_without() {
    let mut net = Net::new(1, |_| {});
    let (alice, bob) = (net.client(0), net.client(0));
    let relay = "msrps://r0.example.com:2855;tcp";
    let alices = net.auth(alice, account("alice"), relay).unwrap();
    let bobs = net.auth(bob, account("bob"), relay).unwrap();
    net.clients[bob].add(SessionConfig::new(local(bob))).unwrap();
    let path = alices.towards(&bobs.offered(&local(bob)).unwrap()).unwrap();
    let config = SessionConfig { remote: Some(path), active: true, ..SessionConfig::new(local(alice)) };
    let key = net.clients[alice].add(config).unwrap();
    net.clients[alice].send(key, Message::text("near")).unwrap();
    net.run();
    assert_eq!(net.texts(bob), ["near"]);
    // Carol has no relay; her connection is the way back to her.
    let (carol, dave) = (net.client(0), net.client(0));
    let daves = net.auth(dave, account("bob"), relay).unwrap();
    let dave_key = net.clients[dave].add(SessionConfig::new(local(dave))).unwrap();
    let path = daves.offered(&local(dave)).unwrap();
    let config = SessionConfig { remote: Some(path), active: true, ..SessionConfig::new(local(carol)) };
    net.clients[carol].add(config).unwrap();
    net.run();
    net.clients[dave].send(dave_key, Message::text("back")).unwrap();
    net.run();
    assert_eq!(net.texts(carol), ["back"]);
}

#[test]
fn rfc_4976_5_1_a_second_relay_is_asked_through_the_first() {
    let mut net = Net::new(2, |_| {});
    let (alice, bob) = (net.client(0), net.client(1));
    let inner = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let to = format!("{} msrps://r1.example.com:2855;tcp", inner.use_path());
    let grant = net.auth(alice, account("alice"), &to).unwrap();
    let hosts: Vec<&str> = grant.use_path().uris().iter().map(Uri::host).collect();
    assert_eq!(hosts, ["r0.example.com", "r1.example.com"]);
    // Bob has no relay of his own and reaches Alice by the outer one.
    let alice_key = net.clients[alice].add(SessionConfig::new(local(alice))).unwrap();
    let remote = Some(grant.offered(&local(alice)).unwrap());
    let bob_key = net.clients[bob]
        .add(SessionConfig { remote, active: true, ..SessionConfig::new(local(bob)) })
        .unwrap();
    net.clients[bob].send(bob_key, Message::text("in")).unwrap();
    net.run();
    assert_eq!(net.texts(alice), ["in"]);
    net.clients[alice].send(alice_key, Message::text("out")).unwrap();
    net.run();
    assert_eq!(net.texts(bob), ["out"]);
}

#[test]
fn rfc_4976_6_3_credentials_bounds_and_the_end_of_guessing() {
    let mut net = Net::new(1, |_| {});
    let relay = "msrps://r0.example.com:2855;tcp";
    let alice = net.client(0);
    // Out of bounds is corrected by the client.
    for (wanted, given) in [(1, 60), (100_000, 3_600), (900, 900)] {
        let grant = net.auth(alice, account("alice").expires(wanted), relay).unwrap();
        assert_eq!(grant.expires(), Some(given));
        assert!(grant.use_path().uris()[0].session_id().unwrap().len() == 32);
    }
    for attempt in 0..MAX_FAILURES {
        let end =
            net.auth(alice, Account::new(if attempt == 0 { "nobody" } else { "alice" }, "guess"), relay);
        let last = attempt + 1 == MAX_FAILURES;
        assert!(end == Err(AuthError::Credentials), "{end:?}");
        assert_eq!(
            net.relays[0].counts().grants,
            if last { 0 } else { 3 },
            "the connection and its URIs end"
        );
    }
    // Without TLS nothing is handed out.
    let plain = net.relays[0].accepted(net.now, false, HERE).unwrap();
    let text = format!("MSRP t123 AUTH\r\nTo-Path: {relay}\r\nFrom-Path: {}\r\n-------t123$\r\n", local(7));
    net.relays[0].push(plain, text.as_bytes());
    net.relays[0].receive(net.now, plain).unwrap();
    assert!(net.relays[0].poll_transmit(plain).unwrap().starts_with(b"MSRP t123 403 "));
}

/// What a relay answers on a new connection.
fn ask(net: &mut Net, text: &str) -> Result<String, RelayError> {
    let connection = net.relays[0].accepted(net.now, true, HERE).unwrap();
    net.relays[0].push(connection, text.as_bytes());
    net.relays[0].receive(net.now, connection)?;
    let mut answer = Vec::new();
    while let Some(octets) = net.relays[0].poll_transmit(connection) {
        answer.extend_from_slice(&octets);
    }
    Ok(String::from_utf8(answer).unwrap())
}

fn send(to: &str, from: &str) -> String {
    format!(
        "MSRP t123 SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: m123\r\nByte-Range: 1-1/1\r\nContent-Type: text/plain\r\n\r\nx\r\n-------t123$\r\n"
    )
}

#[test]
fn rfc_4976_6_4_it_is_no_open_relay() {
    let mut net = Net::new(1, |_| {});
    let alice = net.client(0);
    let grant = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let token = grant.use_path().to_string();
    let stranger = "msrps://stranger.invalid:9/x;tcp";
    let elsewhere = "msrps://victim.example.net:2855/y;tcp";
    let status = |net: &mut Net, to: &str, from: &str| {
        ask(net, &send(to, from)).unwrap().split(' ').nth(2).unwrap().to_owned()
    };
    // No URI of ours, a guessed one, somebody else's used to get out, and the client's own name from another connection.
    assert_eq!(status(&mut net, &format!("msrps://r0.example.com:2855;tcp {elsewhere}"), stranger), "481");
    assert_eq!(
        status(&mut net, &format!("msrps://r0.example.com:2855/guess;tcp {elsewhere}"), stranger),
        "481"
    );
    assert_eq!(status(&mut net, &format!("{token} {elsewhere}"), stranger), "403");
    assert_eq!(status(&mut net, &format!("{token} {elsewhere}"), local(alice).as_str()), "403");
    assert_eq!(status(&mut net, &token, stranger), "481");
    // In circles, by To-Path or by From-Path.
    assert_eq!(status(&mut net, &format!("{token} {}", local(alice)), &format!("{stranger} {token}")), "400");
    // Not for us at all: the connection is dropped (§6.2).
    assert_eq!(ask(&mut net, &send(elsewhere, stranger)), Err(RelayError::NotOurs));
    assert!(ask(&mut net, "GET / HTTP/1.1\r\n").is_err());
    assert!(net.relays[0].poll_action().is_none_or(|action| !matches!(action, Action::Connect { .. })));
    // Towards the client is allowed to who knows the URI.
    assert_eq!(status(&mut net, &format!("{token} {}", local(alice)), stranger), "200");
}

/// RFC 4976 §9.4, RFC 4975 §8.4: what a new offer says of a renewed URI is the way from then on, after the old one's time as well.
#[test]
fn rfc_4976_9_4_a_session_goes_on_over_renewed_uris() {
    let (mut net, [alice, bob], [alice_key, bob_key]) = two_behind_two();
    for round in 0..5 {
        net.pass(Duration::from_secs(3_200));
        let alices = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
        let bobs = net.auth(bob, account("bob"), "msrps://r1.example.com:2855;tcp").unwrap();
        let (from_alice, from_bob) =
            (alices.offered(&local(alice)).unwrap(), bobs.offered(&local(bob)).unwrap());
        net.clients[alice].set_remote(alice_key, &alices.towards(&from_bob).unwrap()).unwrap();
        net.clients[bob].set_remote(bob_key, &bobs.towards(&from_alice).unwrap()).unwrap();
        net.pass(Duration::from_secs(500));
        assert_eq!(net.relays[0].counts().grants, 1, "the one before has had its time");
        net.clients[alice].send(alice_key, Message::text(format!("to Bob {round}"))).unwrap();
        net.clients[bob].send(bob_key, Message::text(format!("to Alice {round}"))).unwrap();
        net.run();
        assert_eq!(net.texts(bob), [format!("to Bob {round}")]);
        assert_eq!(net.texts(alice), [format!("to Alice {round}")]);
    }
}

/// RFC 7977 §5.1: clients behind WebSockets cannot be connected to, so who is not there is nowhere.
#[test]
fn a_relay_connects_to_nobody_behind_a_websocket() {
    let mut net = Net::new(1, |_| {});
    let alice = net.client(0);
    let grant = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let other = "msrps://df7jal23ls0d.invalid:2855/98cjs;ws".parse::<Uri>().unwrap();
    let remote = grant.towards(&other.into()).unwrap();
    let config = SessionConfig { remote: Some(remote), active: true, ..SessionConfig::new(local(alice)) };
    net.clients[alice].add(config).unwrap();
    net.run();
    let refused = |event: &Event| matches!(event, Event::Closed(Failure::Status(StatusCode::NO_SESSION)));
    assert!(net.told(alice, refused), "{:?}", net.events[alice]);
    assert!(net.relays[0].poll_action().is_none_or(|action| !matches!(action, Action::Connect { .. })));
}

#[test]
fn rfc_4976_6_3_a_uri_ends_with_its_time_and_with_its_connection() {
    let (mut net, [alice, bob], [alice_key, _]) = two_behind_two();
    net.pass(Duration::from_secs(3_600));
    assert_eq!((net.relays[0].counts().grants, net.relays[1].counts().grants), (0, 0));
    let late = net.clients[alice].send(alice_key, Message::text("late")).unwrap();
    net.run();
    let status = Failure::Status(StatusCode::NO_SESSION);
    assert!(net.told(alice, |event| *event == Event::Failed(late, status)) && net.texts(bob).is_empty());

    let (mut net, [alice, bob], [alice_key, _]) = two_behind_two();
    net.cut(End::Client(bob));
    assert_eq!(net.relays[1].counts().grants, 0);
    let late = net.clients[alice].send(alice_key, Message::text("late")).unwrap();
    net.run();
    // Alice's relay has taken it; that of Bob refuses it, and she hears of it by a REPORT.
    assert!(net.told(alice, |event| *event == Event::Failed(late, status)));
}

#[test]
fn rfc_4976_6_4_1_a_silent_next_hop_is_reported_as_failure_reports_say() {
    for (report, told) in
        [(FailureReport::Yes, true), (FailureReport::Partial, false), (FailureReport::No, false)]
    {
        let (mut net, [alice, bob], [alice_key, _]) = two_behind_two();
        // Bob reads and never answers.
        let (&bobs, number) = (net.links.get(&End::Client(bob)).unwrap(), bob);
        net.links.insert(bobs, End::Client(number));
        net.links.remove(&End::Client(bob));
        let sent =
            net.clients[alice].send(alice_key, Message::text("?").with_failure_report(report)).unwrap();
        net.run();
        assert!(net.told(alice, |event| *event == Event::Sent(sent)), "the next hop has it");
        net.pass(ANSWER_TIME - Duration::from_millis(1));
        assert!(!net.wire.iter().any(|(_, text)| text.contains("000 408")));
        net.pass(Duration::from_millis(1));
        assert_eq!(net.wire.iter().any(|(_, text)| text.contains("Status: 000 408")), told, "{report:?}");
        assert_eq!(
            net.told(alice, |event| *event == Event::Failed(sent, Failure::Timeout)),
            told,
            "{report:?}"
        );
    }
}

#[test]
fn rfc_4976_6_4_3_a_refusal_of_the_next_hop_becomes_a_report() {
    for (report, told) in
        [(FailureReport::Yes, true), (FailureReport::Partial, true), (FailureReport::No, false)]
    {
        let (mut net, [alice, bob], [alice_key, bob_key]) = two_behind_two();
        net.clients[bob].remove(bob_key);
        net.clients[bob].add(SessionConfig { max_size: 3, ..SessionConfig::new(local(bob)) }).unwrap();
        net.clients[alice].send(alice_key, Message::text("too long").with_failure_report(report)).unwrap();
        net.run();
        let reports = net.wire.iter().filter(|(from, text)| {
            matches!(from, End::Relay(0, _))
                && text.contains(" REPORT\r\n")
                && text.contains("Status: 000 413")
        });
        assert_eq!(reports.count() == 1, told, "{report:?}");
    }
}

#[test]
fn a_next_hop_that_cannot_be_reached_is_reported() {
    let mut net = Net::new(1, |_| {});
    let alice = net.client(0);
    let grant = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let remote = grant.towards(&"msrps://nowhere.example.net:9/x;tcp".parse().unwrap()).unwrap();
    let config = SessionConfig { remote: Some(remote), ..SessionConfig::new(local(alice)) };
    let key = net.clients[alice].add(config).unwrap();
    let sent = net.clients[alice].send(key, Message::text("?")).unwrap();
    net.run();
    assert!(net.told(alice, |event| *event == Event::Failed(sent, Failure::Timeout)));
}

#[test]
fn a_receiver_that_does_not_read_stops_its_sender_and_nothing_is_lost() {
    let (mut net, [alice, bob], [alice_key, _]) = two_behind_two();
    net.deaf.push(bob);
    for _ in 0..60 {
        net.clients[alice].send(alice_key, Message::text("x".repeat(100_000))).unwrap();
    }
    net.run();
    let accepted = net.events[alice].iter().filter(|event| matches!(event, Event::Sent(_))).count();
    // Two relays with a full queue each, and what was read at once.
    let most = 2 * (MAX_QUEUED + 200_000) / 100_000 + 2;
    assert!((5..=most).contains(&accepted), "{accepted} of 60");
    net.deaf.clear();
    net.run();
    assert_eq!(net.texts(bob).len(), 60);
}

#[test]
fn a_sender_that_stops_in_a_chunk_keeps_nobody_from_the_next_hop() {
    let (mut net, [alice, bob], [alice_key, _]) = two_behind_two();
    let to = net.clients[alice].send(alice_key, Message::stream("text/plain", Some(1_000_000))).unwrap();
    net.clients[alice].feed(to, vec![b'x'; 200_000].into()).unwrap();
    net.run();
    // Another client of the same relay uses the same connection between relays.
    let carol = net.client(0);
    let grant = net.auth(carol, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let dave = net.client(1);
    let daves = net.auth(dave, account("bob"), "msrps://r1.example.com:2855;tcp").unwrap();
    net.clients[dave].add(SessionConfig::new(local(dave))).unwrap();
    let remote = Some(grant.towards(&daves.offered(&local(dave)).unwrap()).unwrap());
    let key = net.clients[carol]
        .add(SessionConfig { remote, active: true, ..SessionConfig::new(local(carol)) })
        .unwrap();
    net.clients[carol].send(key, Message::text("by the way")).unwrap();
    net.run();
    assert_eq!(net.texts(dave), ["by the way"]);
    net.clients[alice].feed(to, vec![b'x'; 800_000].into()).unwrap();
    net.clients[alice].finish(to).unwrap();
    net.run();
    assert_eq!(net.texts(bob)[0].len(), 1_000_000);
}

#[test]
fn rfc_4976_6_1_strangers_are_sent_away_after_30_seconds() {
    let mut net = Net::new(1, |_| {});
    let (stranger, alice) = (net.client(0), net.client(0));
    net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
    let end = |client| End::Client(client);
    net.pass(PROBATION);
    assert!(!net.links.contains_key(&end(stranger)) && net.links.contains_key(&end(alice)));
}

/// Reads all that a relay sends: it has to be MSRP.
fn is_msrp(octets: &[u8]) -> bool {
    let mut decoder = Decoder::default();
    decoder.push(octets);
    loop {
        match decoder.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => return decoder.is_between(),
            Err(_) => return false,
        }
    }
}

/// Pieces of requests, right and wrong, that name a URI which was handed out.
fn part(token: &str, hop: &str, choice: u8) -> String {
    let id = char::from(b'a' + choice % 5);
    match choice % 14 {
        0 => format!(
            "MSRP tid{id} SEND\r\nTo-Path: {token} {hop}\r\nFrom-Path: msrps://x.invalid:9/{id};tcp\r\n"
        ),
        1 => format!(
            "MSRP tid{id} SEND\r\nTo-Path: {token} msrps://y.example:9/{id};tcp\r\nFrom-Path: {hop}\r\n"
        ),
        2 => format!(
            "MSRP tid{id} REPORT\r\nTo-Path: {token} {hop}\r\nFrom-Path: msrps://x.invalid:9/{id};tcp\r\n"
        ),
        3 => format!("MSRP tid{id} AUTH\r\nTo-Path: msrps://r0.example.com;tcp\r\nFrom-Path: {hop}\r\n"),
        4 => format!(
            "MSRP tid{id} NICKNAME\r\nTo-Path: {token} {hop}\r\nFrom-Path: msrps://x.invalid:9/{id};tcp\r\n"
        ),
        5 => "Message-ID: m123\r\nByte-Range: 1-*/*\r\n".into(),
        6 => "Failure-Report: partial\r\nByte-Range: 18446744073709551615-*/18446744073709551615\r\n".into(),
        7 => "Content-Type: text/plain\r\n\r\n".into(),
        8 => "x".repeat(3_000),
        9 | 10 => format!("\r\n-------tid{id}$\r\n"),
        11 => format!("-------tid{id}+\r\n"),
        12 => format!("MSRP tid{id} 413 No\r\nTo-Path: {token}\r\nFrom-Path: {hop}\r\n-------tid{id}$\r\n"),
        _ => "Authorization: Digest username=\"alice\", nc=00000001, qop=auth\r\nExpires: 5\r\n".into(),
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_comes_a_relay_sends_msrp_and_forgets_all_in_the_end(
        choices in proptest::collection::vec((0..2usize, proptest::prelude::any::<u8>()), 1..60)
    ) {
        let mut net = Net::new(1, |_| {});
        let alice = net.client(0);
        let grant = net.auth(alice, account("alice"), "msrps://r0.example.com:2855;tcp").unwrap();
        let (token, hop) = (grant.use_path().to_string(), local(alice).to_string());
        let Some(&End::Relay(_, client)) = net.links.get(&End::Client(alice)) else { panic!("no connection") };
        let relay = &mut net.relays[0];
        let mut known = vec![client, relay.accepted(net.now, true, HERE).unwrap()];
        let mut sent: HashMap<u64, Vec<u8>> = HashMap::new();
        for (from, choice) in choices {
            let connection = known[from];
            relay.push(connection, part(&token, &hop, choice).as_bytes());
            if relay.receive(net.now, connection).is_err() {
                relay.closed(connection);
            }
            while let Some(action) = relay.poll_action() {
                if let Action::Connect { connection, .. } = action {
                    relay.connected(connection);
                    known.push(connection);
                }
            }
            for &connection in &known {
                let octets = std::iter::from_fn(|| relay.poll_transmit(connection)).flatten();
                sent.entry(connection).or_default().extend(octets);
                relay.transmitted(net.now, connection);
            }
        }
        for octets in sent.values() {
            proptest::prop_assert!(is_msrp(octets), "{}", String::from_utf8_lossy(octets));
        }
        relay.handle_timeout(net.now + Duration::from_secs(3_600));
        proptest::prop_assert_eq!((relay.counts().grants, relay.poll_timeout()), (0, None));
    }
}

/// One who guesses from there is heard no more.
struct Strict(HashMap<String, String>, IpAddr);

impl msrp::relay::Accounts for Strict {
    fn ha1(&self, username: &str, realm: &str, algorithm: msrp::auth::digest::Algorithm) -> Option<String> {
        self.0.ha1(username, realm, algorithm)
    }

    fn is_shut_out(&self, source: IpAddr, _username: &str) -> bool {
        source == self.1
    }
}

/// Who asks a relay from there, with the right password: the status that it gives at last.
fn asked_from(relay: &mut Relay, now: Instant, source: IpAddr) -> Option<Result<Grant, AuthError>> {
    let connection = relay.accepted(now, true, source)?;
    let mut client = Connection::new(1, Limits::default(), tokens(5));
    let account = Account::new("alice", "secret");
    let own = uri("msrps://a.invalid:9/me;tcp");
    let auth = Auth::new(account, uri("msrps://r0.example.com:2855;tcp").into(), own).unwrap();
    client.auth(auth).unwrap();
    loop {
        while let Some(octets) = client.poll_transmit() {
            relay.push(connection, &octets);
        }
        relay.receive(now, connection).unwrap();
        while let Some(octets) = relay.poll_transmit(connection) {
            client.buffer_mut().extend_from_slice(&octets);
        }
        client.receive(now, &mut NoDirectory).unwrap();
        if let Some((_, result)) = client.poll_auth() {
            return Some(result);
        }
    }
}

#[test]
fn nobody_takes_the_places_of_all_and_who_guessed_is_not_heard() {
    let here = HERE;
    let there: IpAddr = "2001:db8::1".parse().unwrap();
    let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
    let accounts: HashMap<String, String> = [("alice".to_owned(), "secret".to_owned())].into();
    let mut config = RelayConfig::new("r0.example.com", 2855);
    config.max_connections_per_source = 2;
    config.max_connections = 5;
    let mut relay = Relay::new(config, Box::new(Strict(accounts, there)), tokens(9));
    let now = Instant::now();
    assert!(matches!(asked_from(&mut relay, now, here), Some(Ok(_))));
    assert!(matches!(asked_from(&mut relay, now, there), Some(Err(AuthError::Forbidden))));
    let second = relay.accepted(now, true, here).unwrap();
    assert_eq!(relay.accepted(now, true, here), None, "two from one address");
    relay.closed(second);
    assert!(relay.accepted(now, true, here).is_some(), "its place is free again");
    assert!(relay.accepted(now, true, neighbour).is_some());
    assert_eq!(relay.accepted(now, true, neighbour), None, "one network of IPv6 is one source");
    assert!(relay.accepted(now, true, "192.0.2.2".parse().unwrap()).is_some());
    assert_eq!(relay.accepted(now, true, "192.0.2.3".parse().unwrap()), None, "five in all");
    let counts = relay.counts();
    assert_eq!((counts.connections, counts.grants, counts.granted, counts.connections_refused), (5, 1, 1, 3));
}
