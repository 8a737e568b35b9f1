//! Whatever comes from the network: nothing panics, what is to be answered is answered, and everything ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::sync::LazyLock;

use proptest::prelude::*;
use sip_message::headers::{CSeq, Via};
use sip_message::{Limits, Message, Method};
use sip_server::Users;
use sip_server::push::PushConfig;
use sip_server::settings::Settings;
use sip_transport::{Core, FlowId, Path, Transport, ingress};
use world::{ALICE, SERVER, World, address};

/// What the server is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Nothing,
    Users,
    Rules,
}

const RULES: &str = r#"
authentication = false
domains = ["example.com"]
session_expires = 1800
routing = { recurse_redirects = true, history_contacts = true }
user = [
    { name = "bob", forward = { busy = "team", no_answer = "alice", after = 5, unreachable = "+4930" } },
    { name = "alice", forward = { always = "sip:alice@192.0.2.14" } },
    { name = "carol", do_not_disturb = true },
]
aliases = { sales = "team", shop = "bob" }
rewrite = [{ pattern = '00(.*)', replace = '+$1' }]
hunt_group = [{ name = "team", strategy = "round-robin", members = ["bob", "carol", "+491"], ring = 5, otherwise = "alice" }]
block = [{ called = '\+49900.*' }, { caller = '.*@spam', status = 603 }]
route = [
    { pattern = '\+(49.*)', trunk = "t", number = "0$1", callers = "anyone" },
    { pattern = '7(.*)', to = "sip:$1@192.0.2.15", callers = "anyone" },
    { domain = "192.0.2.9", redirect = ["sip:x@y"] },
]
trunk = [{ name = "t", max_calls = 2, gateways = [{ uri = "sip:192.0.2.91" }, { uri = "sip:192.0.2.92", priority = 1 }] }]
"#;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings::parse(RULES).unwrap());

fn told() -> impl Strategy<Value = Told> {
    prop::sample::select(vec![Told::Nothing, Told::Users, Told::Rules])
}

/// A world in which all kinds of requests lead somewhere.
fn busy_world(told: Told) -> World {
    let mut world = World::with(|config| {
        match told {
            Told::Nothing => {}
            Told::Users => config.users = Some(Users::parse("alice:wonderland\nbob:builder").unwrap()),
            Told::Rules => {
                SETTINGS.configure(config);
                config.push = Some(PushConfig::new(&["fcm"]));
            }
        }
        config.registrar.max_bindings = 3;
    });
    if told != Told::Users {
        world.register("bob", "<sip:bob@192.0.2.12>;q=0.5, <sip:bob@192.0.2.13>", "");
    }
    world
}

fn seeds(world: &mut World) -> Vec<String> {
    let mut make = |method: &str, uri: &str, extra: &str| world.request(ALICE, method, uri, extra);
    vec![
        make(
            "REGISTER",
            "sip:example.com",
            "To: <sip:alice@example.com>\r\nContact: <sip:alice@192.0.2.11;transport=udp>;q=0.7;expires=600, \
             <sip:alice@h>\r\nExpires: 600\r\nPath: <sip:edge.example.net;lr>\r\nSupported: path\r\n",
        ),
        make("REGISTER", "sip:example.com", "To: <sip:alice@example.com>\r\nContact: *\r\nExpires: 0\r\n"),
        make("INVITE", "sip:bob@example.com", "Contact: <sip:carol@192.0.2.11>\r\nMax-Breadth: 7\r\n"),
        make(
            "INVITE",
            "sip:bob@example.com",
            "Route: <sip:192.0.2.1;lr>, <sip:p@192.0.2.1:5060;lr;tk=00>\r\n",
        ),
        make("INVITE", "sip:192.0.2.1;lr", "Route: <sip:192.0.2.9>\r\nRoute: <sip:bob@example.com>\r\n"),
        make("BYE", "sip:bob@192.0.2.12;maddr=192.0.2.1", "To: <sip:bob@example.com>;tag=x\r\n"),
        make("OPTIONS", "sip:example.com", "Proxy-Require: foo\r\nRequire: path\r\n"),
        make(
            "MESSAGE",
            "sip:bob@example.com",
            "From: <sip:alice@example.com>;tag=1\r\nProxy-Authorization: Digest \
             username=\"alice\", realm=\"example.com\", nonce=\"abc\", uri=\"sip:bob@example.com\", response=\"0\"\r\n",
        ),
        make("INVITE", "sip:sales@example.com", "Contact: <sip:carol@192.0.2.11>\r\n"),
        make("INVITE", "tel:+49-30-123", "History-Info: <sip:x@y>;index=1\r\nPrivacy: id\r\n"),
        make("MESSAGE", "sip:0049900@example.com", ""),
        make("CANCEL", "sip:bob@example.com", ""),
        make("ACK", "sip:bob@example.com", "To: <sip:bob@example.com>;tag=x\r\n"),
        make(
            "REGISTER",
            "sip:example.com",
            "To: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12;pn-provider=fcm;pn-prid=x;pn-param=y>;+sip.pnsreg\r\n",
        ),
        make(
            "INVITE",
            "sip:bob@example.com",
            "Supported: 199, timer\r\nSession-Expires: 3600\r\nMin-SE: 120\r\nHistory-Info: \
             <sip:sales@example.com?Privacy=history>;index=1, <sip:bob@example.com>;index=1.1;mp=1\r\n",
        ),
        make("DANCE", "sip:example.com", ""),
    ]
}

#[derive(Clone, Debug)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, usize),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let at = any::<prop::sample::Index>;
    let pieces = prop::sample::select(vec![
        "\r\n",
        ",",
        ";",
        "<",
        ">",
        "\"",
        "sip:",
        "@",
        ";lr",
        ";tag=1",
        "%00",
        "%",
        "0",
        "-1",
        "99999999999",
        "*",
        "Route: <sip:192.0.2.1;lr>\r\n",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n",
        "Contact: *\r\n",
        "Require: x\r\n",
        "Max-Forwards: 0\r\n",
        "\0",
        " ",
        "\r\n ",
        "é",
        "sip:bob@example.com",
        "[::1]",
        "tel:",
    ]);
    let one = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (at(), 1..40usize).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (at(), pieces).prop_map(|(at, piece)| Mutation::Insert(at, piece.to_owned())),
        at().prop_map(Mutation::Cut),
        (at(), 1..200usize).prop_map(|(at, len)| Mutation::Repeat(at, len)),
    ];
    prop::collection::vec(one, 0..6)
}

fn mutate(text: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        match mutation {
            Mutation::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Mutation::Remove(at, len) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + len).min(bytes.len()));
            }
            Mutation::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.bytes());
            }
            Mutation::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Mutation::Repeat(at, len) => {
                let at = at.index(bytes.len());
                let again = bytes[at..(at + len).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// Gives the bytes to the server as the driver would. Tells the method and top branch of a request that wants an answer.
fn give(world: &mut World, bytes: Vec<u8>) -> Option<(Method, Via)> {
    let path = Path {
        transport: Transport::Udp,
        local: address(SERVER),
        remote: address(ALICE),
        flow: Some(FlowId(1)),
    };
    let received = ingress::datagram(bytes.into(), path, &Limits::default()).ok()?;
    let asked = received
        .message
        .as_request()
        .map(|request| (request.method().clone(), request.headers.require::<Via>().unwrap()));
    world.core.receive(world.now, received);
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_requests_are_answered_and_everything_ends(
        which in any::<prop::sample::Index>(),
        mutations in mutations(),
        told in told(),
    ) {
        let mut world = busy_world(told);
        let seeds = seeds(&mut world);
        let bytes = mutate(&seeds[which.index(seeds.len())], &mutations);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let asked = give(&mut world, bytes);
        let mut sent = world.sent();
        sent.extend(answer_names(&mut world));
        sent.extend(world.seconds(80));
        // A request that was forwarded and that nobody answers: INVITE ends with 408, others silently (RFC 4320 §4.2).
        let forwarded = sent.iter().any(|sent| sent.message.as_request().is_some());
        if let Some((method, via)) = asked
            && method != Method::Ack
            && (!forwarded || method == Method::Invite)
        {
            let answered = sent.iter().filter_map(|sent| sent.message.as_response()).any(|response| {
                response.status().is_final()
                    && response.headers.get::<Via>().ok().flatten().as_ref() == Some(&via)
            });
            prop_assert!(answered, "no answer to {shown:?}\nbut {:?}", world::names(&sent));
        }
        world.assert_nothing_left();
    }

    /// Bytes of all kinds, many of them on one server, with time passing.
    #[test]
    fn a_stream_of_garbage_leaves_nothing_behind(
        all in prop::collection::vec((any::<prop::sample::Index>(), mutations(), 0..2_000u64), 1..30),
        rules in any::<bool>(),
    ) {
        let mut world = busy_world(if rules { Told::Rules } else { Told::Nothing });
        for (which, mutations, wait) in all {
            let seeds = seeds(&mut world);
            let bytes = mutate(&seeds[which.index(seeds.len())], &mutations);
            give(&mut world, bytes);
            for sent in world.sent() {
                // Phones answer each request by something that fits it, or not at all.
                if let Message::Request(request) = &sent.message
                    && wait % 3 != 0
                    && request.headers.get::<CSeq>().is_ok()
                    && *request.method() != Method::Ack
                {
                    let status = [180, 200, 404, 486, 603, 401][usize::try_from(wait % 6).unwrap()];
                    let text = world::response_text(request, status, "");
                    give(&mut world, text.into_bytes());
                }
            }
            world.pass(std::time::Duration::from_millis(wait));
            answer_names(&mut world);
        }
        for _ in 0..10 {
            world.seconds(100);
            answer_names(&mut world);
        }
        world.assert_nothing_left();
    }

    /// Mutated responses to a branch of ours.
    #[test]
    fn mutated_responses_do_no_harm(mutations in mutations(), status in 100..700u16, told in told()) {
        let mut world = busy_world(if told == Told::Users { Told::Nothing } else { told });
        let text = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
        let sent = world.udp(ALICE, text);
        let request = sent.iter().find(|sent| sent.is(&Method::Invite)).unwrap().request().clone();
        let response = world::response_text(&request, status, "Contact: <sip:bob@192.0.2.12>");
        give(&mut world, mutate(&response, &mutations));
        world.sent();
        world.assert_nothing_left();
    }
}

/// Answers every question about names with "no such name"; gives what was sent because of it.
fn answer_names(world: &mut World) -> Vec<world::Sent> {
    let mut sent = Vec::new();
    while let Some(query) = world.core.poll_query() {
        let records = Err(sip_transport::ResolveError::NotFound);
        world
            .core
            .resolved(world.now, sip_transport::Answer { key: query.key, question: query.question, records });
        sent.extend(world.sent());
    }
    sent
}
