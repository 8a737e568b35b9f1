//! Several servers with one location store: a phone that one of them alone can reach is called through any of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::headers::{NameAddr, RecordRoute, Route};
use sip_message::{Limits, Request};
use sip_server::location::{Answer, Binding, MemoryLocation, Question};
use sip_server::{AddressOfRecord, Users};
use sip_transport::{CloseReason, Core, FlowEvent, FlowId, Local, Locals, Path, Transport};
use world::{ALICE, SERVER, Sent, World, names, only};

/// The other server; `SERVER` is the first one.
const OTHER: &str = "192.0.2.2:5060";
const TO_BOB: &str = "sip:bob@example.com";
const FROM_ALICE: &str = "From: <sip:alice@example.com>;tag=a\r\n";
/// Bob's phone behind its NAT: as the server sees it, and as it writes itself.
const PUBLIC: &str = "203.0.113.7:40001";
const PRIVATE: &str = "192.168.1.2:5060";
const BOBS_CONNECTION: u64 = 7;

/// Two servers and what they share.
struct Both {
    worlds: [World; 2],
    store: MemoryLocation,
}

impl Both {
    fn new() -> Self {
        let world = |address: &str| {
            World::with(|config| {
                let address = address.parse().unwrap();
                config.locals = Locals::new(vec![
                    Local::new(Transport::Udp, address),
                    Local::new(Transport::Tcp, address),
                    Local::new(Transport::Ws, "192.0.2.1:8080".parse().unwrap()),
                ]);
                config.users = Some(Users::parse("alice:wonderland\nbob:builder\n").unwrap());
                (config.external_location, config.shared_location) = (true, true);
                config.dialog_key = Some([3; 32]);
            })
        };
        Self {
            worlds: [world(SERVER), world(OTHER)],
            store: MemoryLocation::new(10, Instant::now(), Duration::from_secs(1_700_000_000)),
        }
    }

    /// Answers what a server asks of the store; what it sends then.
    fn settle(&mut self, at: usize) -> Vec<Sent> {
        let world = &mut self.worlds[at];
        while let Some((key, question)) = world.core.poll_question() {
            let answer = self.store.answer(Instant::now(), question);
            world.core.answer(world.now, key, answer);
        }
        world.sent()
    }

    fn arrives(&mut self, at: usize, way: (Transport, &str, u64), text: impl Into<String>) -> Vec<Sent> {
        let mut sent = self.worlds[at].arrives(way.0, way.1, way.2, text);
        sent.extend(self.settle(at));
        sent
    }

    /// Sends a request of a user, and again with the password that it is asked for.
    fn proves(
        &mut self,
        at: usize,
        way: (Transport, &str, u64),
        (user, password): (&str, &str),
        text: impl Fn(&mut World, u32) -> String,
    ) -> Vec<Sent> {
        let mut phone = Authenticator::default();
        phone.add_account(None, user, Secret::password(password));
        let first = text(&mut self.worlds[at], 1);
        let challenge = self.arrives(at, way, first);
        let again = text(&mut self.worlds[at], 2);
        let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
        phone.answer(&mut again, challenge[0].response(), &mut Attempts::default(), "cnonce").unwrap();
        self.arrives(at, way, again.to_string())
    }

    /// Bob's phone registers over a connection that it has opened.
    fn register_bob(&mut self, at: usize, transport: Transport, connection: u64) -> Vec<Sent> {
        let contact = format!("<sip:line1@{PRIVATE};transport={}>", transport.uri_param());
        let via = format!("SIP/2.0/{}", transport.uri_param().to_uppercase());
        self.proves(at, (transport, PUBLIC, connection), ("bob", "builder"), |world, cseq| {
            let lines = format!(
                "From: <{TO_BOB}>;tag=r\r\nTo: <{TO_BOB}>\r\nCall-ID: {connection}\r\nCSeq: {cseq} REGISTER\r\n\
                 Supported: path, outbound\r\n\
                 Contact: {contact};reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"\r\n"
            );
            world.request(PRIVATE, "REGISTER", "sip:example.com", &lines).replace("SIP/2.0/UDP", &via)
        })
    }

    fn bobs(&mut self) -> Vec<Binding> {
        let aor = AddressOfRecord::new(&TO_BOB.parse().unwrap(), "example.com").unwrap();
        match self.store.answer(Instant::now(), Question::Lookup { aor }) {
            Answer::Found(bindings) => bindings.list.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Alice calls Bob by a server.
    fn call(&mut self, at: usize) -> Vec<Sent> {
        self.proves(at, (Transport::Udp, ALICE, 1), ("alice", "wonderland"), |world, cseq| {
            let lines = format!("{FROM_ALICE}CSeq: {cseq} INVITE\r\nContact: <sip:alice@{ALICE}>\r\n");
            world.request(ALICE, "INVITE", TO_BOB, &lines)
        })
    }
}

fn goes_to_bob(sent: &Sent) {
    assert_eq!(sent.transmit.path.flow, Some(FlowId(BOBS_CONNECTION)), "{}", sent.text());
    assert_eq!(sent.to(), PUBLIC);
    let request = sent.request();
    assert!(!request.headers.contains("Route") && !request.headers.contains("Proxy-Authorization"));
    assert_eq!(request.uri().unwrap().host(), "192.168.1.2", "the contact as the phone wrote it");
}

#[test]
fn a_phone_of_one_server_is_called_through_the_other() {
    let mut both = Both::new();
    let sent = both.register_bob(0, Transport::Tcp, BOBS_CONNECTION);
    let ok = only(&sent, "200").response().clone();
    assert!(!ok.headers.contains("Path"), "what leads to the phone is told to nobody: {ok}");
    // What is stored leads to the server that has the connection.
    let stored = both.bobs();
    assert!(stored[0].flow.is_none());
    let path: &NameAddr = &stored[0].path[0];
    assert_eq!((path.uri().host_port(), path.uri().has_lr()), ("192.0.2.1:5060", true));

    // By the server that has it.
    let sent = both.call(0);
    goes_to_bob(only(&sent, "INVITE"));

    // By the other one: it asks Alice who she is, and the first one does not ask again.
    let sent = both.call(1);
    let between = only(&sent, "INVITE");
    assert_eq!((between.to(), between.transmit.path.transport), (SERVER.into(), Transport::Tcp));
    let route = between.request().headers.get::<Route>().unwrap().unwrap();
    assert_eq!(route.uri(), path.uri());
    assert!(between.text().contains("P-Asserted-Identity: <sip:alice@example.com>"), "{}", between.text());
    let text = between.text();
    let sent = both.arrives(0, (Transport::Tcp, OTHER, 50), text);
    let to_phone = only(&sent, "INVITE");
    goes_to_bob(to_phone);
    assert!(to_phone.text().contains("P-Asserted-Identity: <sip:alice@example.com>"), "{}", to_phone.text());
    // Both stay in the dialog, and what is in Record-Route is of use in it alone.
    let routes: Vec<_> = to_phone.request().headers.all::<RecordRoute>().map(Result::unwrap).collect();
    assert!(routes.iter().any(|route| route.uri().host_port() == SERVER));
    assert!(routes.iter().any(|route| route.uri().host_port() == OTHER));
    assert!(routes.iter().all(|route| route.uri().user() != path.uri().user()));

    // The answer comes back the same way.
    let ringing = world::response_text(to_phone.request(), 180, "");
    let sent = both.arrives(0, (Transport::Tcp, PUBLIC, BOBS_CONNECTION), ringing);
    let back = only(&sent, "180");
    assert_eq!(back.transmit.path.flow, Some(FlowId(50)));
    let text = back.text();
    let sent = both.arrives(1, (Transport::Tcp, SERVER, 60), text);
    assert_eq!(only(&sent, "180").to(), ALICE);
}

/// RFC 5626 §6 by two servers: the phone has moved, and is found where it is now; what it had before is replaced, not doubled.
#[test]
fn a_phone_that_moves_to_the_other_server_is_found_there() {
    let mut both = Both::new();
    both.register_bob(0, Transport::Tcp, BOBS_CONNECTION);
    only(&both.register_bob(1, Transport::Tcp, 9), "200");
    let stored = both.bobs();
    assert_eq!((stored.len(), stored[0].path[0].uri().host_port()), (1, OTHER));
    // Its old connection closes: that is no word about the new one, whatever its number.
    let path = Path {
        transport: Transport::Tcp,
        local: SERVER.parse().unwrap(),
        remote: PUBLIC.parse().unwrap(),
        flow: Some(FlowId(BOBS_CONNECTION)),
    };
    let world = &mut both.worlds[0];
    world.core.flow_event(world.now, FlowEvent::Closed { path, reason: CloseReason::Peer });
    both.settle(0);
    assert_eq!(both.bobs().len(), 1);
    assert_eq!(only(&both.call(0), "INVITE").to(), OTHER);
}

/// RFC 5626 §7: the server that had the connection takes the binding out, for all.
#[test]
fn a_connection_that_closes_takes_its_binding_along() {
    let mut both = Both::new();
    both.register_bob(0, Transport::Tcp, BOBS_CONNECTION);
    let path = Path {
        transport: Transport::Tcp,
        local: SERVER.parse().unwrap(),
        remote: PUBLIC.parse().unwrap(),
        flow: Some(FlowId(BOBS_CONNECTION)),
    };
    let world = &mut both.worlds[0];
    world.core.flow_event(world.now, FlowEvent::Closed { path, reason: CloseReason::Peer });
    both.settle(0);
    assert!(both.bobs().is_empty());
    assert_eq!(names(&both.call(1)), ["480"]);
}

/// RFC 5626 §5.3.1: the flow is gone before the store knows: 430 between the servers, and 480 for the caller.
#[test]
fn a_flow_that_is_gone_is_told_to_the_server_that_asks_for_it() {
    let mut both = Both::new();
    both.register_bob(0, Transport::Tcp, BOBS_CONNECTION);
    let sent = both.call(1);
    let text = only(&sent, "INVITE").text();
    let sent = both.arrives(0, (Transport::Tcp, OTHER, 50), text);
    let sent = both.worlds[0].fail(only(&sent, "INVITE"));
    let failed = only(&sent, "430").text();
    let sent = both.arrives(1, (Transport::Tcp, SERVER, 60), failed);
    assert_eq!(only(&sent, "480").to(), ALICE);
}

/// Phones of WebSocket are behind a listener that no server can connect to (RFC 7118 §3): they are reached by another one.
#[test]
fn a_browser_is_reached_by_a_listener_that_servers_can_use() {
    let mut both = Both::new();
    only(&both.register_bob(0, Transport::Ws, BOBS_CONNECTION), "200");
    let sent = both.call(1);
    let between = only(&sent, "INVITE");
    assert_eq!((between.to(), between.transmit.path.transport), (SERVER.into(), Transport::Tcp));
    let text = between.text();
    let sent = both.arrives(0, (Transport::Tcp, OTHER, 50), text);
    goes_to_bob(only(&sent, "INVITE"));
}

/// Whoever can make a Route is not thereby a server: without the token of the store callers are asked who they are.
#[test]
fn nobody_passes_for_a_server_of_the_store() {
    let mut both = Both::new();
    both.register_bob(0, Transport::Tcp, BOBS_CONNECTION);
    let path = both.bobs()[0].path[0].uri().clone();
    let token = path.user().unwrap().to_owned();
    let mut changed = token.clone().into_bytes();
    changed[10] = if changed[10] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (route, status) in
        [(format!("<sip:{changed}@{SERVER};lr>"), "403"), (format!("<sip:{SERVER};lr>"), "407")]
    {
        let lines = format!("{FROM_ALICE}Route: {route}\r\nContact: <sip:alice@{ALICE}>\r\n");
        let text = both.worlds[0].request(ALICE, "INVITE", TO_BOB, &lines);
        assert_eq!(names(&both.arrives(0, (Transport::Udp, ALICE, 1), text)), [status]);
    }
    // A Route for the other server is no way to have this one relay.
    let lines = format!("{FROM_ALICE}Route: <sip:{token}@{OTHER};lr>\r\nContact: <sip:alice@{ALICE}>\r\n");
    let text = both.worlds[0].request(ALICE, "INVITE", TO_BOB, &lines);
    assert_eq!(names(&both.arrives(0, (Transport::Udp, ALICE, 1), text)), ["407"]);
}
