//! The registrar by the steps of RFC 3261 §10.3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::headers::{Contact, MinExpires, ServiceRoute, Unsupported, WwwAuthenticate};
use sip_message::{Limits, Request, Response};
use sip_server::{Config, Users};
use world::{ALICE, BOB, World};

/// Contacts of a response as `uri q expires`.
fn contacts(response: &Response) -> Vec<String> {
    let mut all: Vec<String> = response
        .headers
        .all::<Contact>()
        .map(|contact| {
            let contact = contact.unwrap();
            let q = contact.q().map_or(String::new(), |q| format!(" q={q}"));
            format!("{}{q} {}", contact.uri().unwrap(), contact.expires().unwrap())
        })
        .collect();
    all.sort();
    all
}

fn register(world: &mut World, call_id: &str, cseq: u32, lines: &str) -> Response {
    let extra = format!(
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n{lines}"
    );
    world.ask(BOB, "REGISTER", "sip:example.com", &extra)
}

/// The bindings there are, asked for by a REGISTER without Contact.
fn bindings(world: &mut World) -> Vec<String> {
    let response = register(world, "query", 1, "");
    assert_eq!(response.status().code(), 200);
    contacts(&response)
}

fn code(response: &Response) -> u16 {
    response.status().code()
}

#[test]
fn step_7_expiry_comes_from_the_contact_then_from_expires_then_from_us() {
    let mut world = World::new();
    let response = register(
        &mut world,
        "c",
        1,
        "Contact: <sip:a@h1>;expires=600\r\nContact: <sip:a@h2>;q=0.5, <sip:a@h3>;expires=90000\r\nExpires: 1200\r\n",
    );
    assert_eq!(code(&response), 200);
    assert_eq!(contacts(&response), ["sip:a@h1 600", "sip:a@h2 q=500 1200", "sip:a@h3 7200"]);
    assert_eq!(response.headers.text("Date"), Some("Sat, 13 Nov 2010 23:29:00 GMT"));
    let mut world = World::new();
    assert_eq!(contacts(&register(&mut world, "c", 1, "Contact: <sip:a@h>\r\n")), ["sip:a@h 3600"]);
}

#[test]
fn step_8_lists_all_bindings_with_what_is_left_of_their_time() {
    let mut world = World::new();
    register(&mut world, "c1", 1, "Contact: <sip:a@h1>;expires=100\r\n");
    world.seconds(40);
    let response = register(&mut world, "c2", 1, "Contact: <sip:a@h2>;expires=100\r\n");
    assert_eq!(contacts(&response), ["sip:a@h1 60", "sip:a@h2 100"]);
    world.seconds(61);
    assert_eq!(bindings(&mut world), ["sip:a@h2 39"]);
    assert_eq!(world.core.bindings(), 1);
    world.seconds(60);
    assert_eq!(world.core.bindings(), 0);
}

#[test]
fn step_7_too_brief_is_423_with_the_least_and_changes_nothing() {
    let mut world = World::new();
    let response =
        register(&mut world, "c", 1, "Contact: <sip:a@h1>;expires=600\r\nContact: <sip:a@h2>;expires=10\r\n");
    assert_eq!(code(&response), 423);
    assert_eq!(response.headers.require::<MinExpires>().unwrap(), MinExpires(60));
    assert!(bindings(&mut world).is_empty(), "all or nothing");
}

#[test]
fn step_6_star_removes_all_and_must_stand_alone_with_expires_0() {
    let mut world = World::new();
    register(&mut world, "c", 1, "Contact: <sip:a@h1>, <sip:a@h2>\r\n");
    for bad in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:a@h3>\r\nExpires: 0\r\n",
        "Contact: *\r\nContact: *\r\nExpires: 0\r\n",
    ] {
        assert_eq!(code(&register(&mut world, "d", 1, bad)), 400, "{bad}");
    }
    assert_eq!(code(&register(&mut world, "c", 1, "Contact: *\r\nExpires: 0\r\n")), 500, "CSeq not higher");
    assert_eq!(bindings(&mut world).len(), 2);
    let response = register(&mut world, "c", 2, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!((code(&response), contacts(&response).len(), world.core.bindings()), (200, 0, 0));
}

#[test]
fn step_7_requests_out_of_order_change_nothing() {
    let mut world = World::new();
    register(&mut world, "c", 5, "Contact: <sip:a@h1>\r\n");
    assert_eq!(code(&register(&mut world, "c", 5, "Contact: <sip:a@h1>;expires=0\r\n")), 500);
    // A new contact beside one that fails is not added.
    assert_eq!(code(&register(&mut world, "c", 4, "Contact: <sip:a@h2>, <sip:a@h1>\r\n")), 500);
    assert_eq!(bindings(&mut world), ["sip:a@h1 3600"]);
    // Another Call-ID: the phone has started again.
    let response = register(&mut world, "d", 1, "Contact: <sip:a@h1>;expires=300\r\n");
    assert_eq!(contacts(&response), ["sip:a@h1 300"]);
    assert_eq!(contacts(&register(&mut world, "d", 2, "Contact: <sip:a@h1>;expires=0\r\n")), [""; 0]);
}

#[test]
fn step_7_contacts_are_compared_as_uris() {
    let mut world = World::new();
    register(&mut world, "c", 1, "Contact: <sip:%61@H1;transport=tcp>\r\n");
    let response = register(&mut world, "c", 2, "Contact: <sip:a@h1;Transport=TCP>;q=0.1\r\n");
    assert_eq!(contacts(&response), ["sip:a@h1;Transport=TCP q=100 3600"]);
    let response = register(&mut world, "c", 3, "Contact: <sip:a@h1>\r\n");
    assert_eq!(contacts(&response).len(), 2, "without transport it is another URI");
}

#[test]
fn the_same_contact_twice_in_one_request_is_one_binding() {
    let mut world = World::new();
    let response = register(&mut world, "c", 1, "Contact: <sip:a@h>;q=0.1, <sip:a@h>;q=0.9\r\n");
    assert_eq!(contacts(&response), ["sip:a@h q=900 3600"]);
}

#[test]
fn step_2_required_extensions() {
    let mut world = World::new();
    let response = register(&mut world, "c", 1, "Contact: <sip:a@h>\r\nRequire: path, foo, x\r\n");
    assert_eq!(code(&response), 420);
    let tags: Vec<String> = response.headers.all::<Unsupported>().map(|tag| tag.unwrap().0).collect();
    assert_eq!(tags, ["foo", "x"]);
}

#[test]
fn step_5_the_address_of_record_must_be_ours_and_is_canonical() {
    let mut world = World::new();
    let ask = |world: &mut World, uri: &str, to: &str| {
        let extra = format!("To: <{to}>\r\nContact: <sip:a@h>\r\n");
        code(&world.ask(BOB, "REGISTER", uri, &extra))
    };
    assert_eq!(ask(&mut world, "sip:example.com", "sip:bob@elsewhere.example"), 404);
    assert_eq!(ask(&mut world, "sip:example.com", "sip:example.com"), 404);
    assert_eq!(ask(&mut world, "sip:example.com", "sip:%62ob@EXAMPLE.com:5060;user=phone"), 200);
    assert_eq!(bindings(&mut world).len(), 1);
    // The server's address stands for its domain.
    assert_eq!(ask(&mut world, "sip:192.0.2.1", "sip:carol@192.0.2.1:5060"), 200);
    assert_eq!(world.core.bindings(), 2);
    // §10.3 step 1: not ours to keep, and not ours to relay for strangers either.
    assert_eq!(ask(&mut world, "sip:elsewhere.example", "sip:bob@elsewhere.example"), 403);
}

#[test]
fn a_user_has_so_many_bindings_and_no_more() {
    let mut world = World::with(|config| config.registrar.max_bindings = 2);
    assert_eq!(code(&register(&mut world, "c", 1, "Contact: <sip:a@h1>, <sip:a@h2>\r\n")), 200);
    assert_eq!(code(&register(&mut world, "c", 2, "Contact: <sip:a@h3>\r\n")), 403);
    assert_eq!(code(&register(&mut world, "c", 3, "Contact: <sip:a@h3>, <sip:a@h1>;expires=0\r\n")), 200);
    assert_eq!(bindings(&mut world), ["sip:a@h2 3600", "sip:a@h3 3600"]);
}

#[test]
fn the_table_of_all_bindings_is_bounded() {
    let mut world = World::with(|config| config.limits.bindings = 1);
    assert_eq!(code(&world.register("alice", "<sip:a@h>", "")), 200);
    let refused = world.register("bob", "<sip:b@h>", "");
    assert_eq!(code(&refused), 503);
    assert!(refused.headers.contains("Retry-After"));
    assert_eq!(code(&world.register("alice", "<sip:a@h>;expires=0", "")), 200);
    assert_eq!(code(&world.register("bob", "<sip:b@h>", "")), 200);
}

#[test]
fn malformed_fields_are_400() {
    let mut world = World::new();
    for bad in ["Contact: <sip:a@\r\n", "Contact: <sip:a@h>\r\nExpires: soon\r\n", "Contact: a@h\r\n"] {
        let response = register(&mut world, "c", 1, bad);
        assert_eq!(code(&response), 400, "{bad}: {}", response.reason());
    }
    // RFC 3261 §10.2.1.1: a malformed expires parameter counts as 3600.
    let response = register(&mut world, "c", 1, "Contact: <sip:a@h>;expires=soon\r\n");
    assert_eq!(contacts(&response), ["sip:a@h 3600"]);
}

/// RFC 3608 §6.3: with every registration, a mere question included, and in order; never with a refusal.
#[test]
fn a_service_route_goes_with_every_200() {
    let routes = ["sip:edge.example.com;lr", "sip:192.0.2.1;lr"];
    let mut world = World::with(|config| {
        config.service_route = routes.iter().map(|route| route.parse().unwrap()).collect();
    });
    let told = |response: &Response| -> Vec<String> {
        response.headers.all::<ServiceRoute>().map(|route| route.unwrap().0.uri().to_string()).collect()
    };
    let contacts = ["Contact: <sip:a@h1>\r\n", "", "Contact: *\r\nExpires: 0\r\n"];
    for (cseq, contact) in (1..).zip(contacts) {
        let response = register(&mut world, "c", cseq, contact);
        assert_eq!(
            (code(&response), told(&response)),
            (200, routes.map(str::to_owned).to_vec()),
            "{contact}"
        );
    }
    let refused = register(&mut world, "c", 9, "Contact: <sip:a@h>;expires=1\r\n");
    assert_eq!((code(&refused), told(&refused).len()), (423, 0));
    let plain = register(&mut World::new(), "c", 1, "Contact: <sip:a@h1>\r\n");
    assert!(told(&plain).is_empty());
}

/// RFC 3327 §5.3.
#[test]
fn path_is_stored_and_copied_if_the_client_knows_of_it() {
    let mut world = World::new();
    let path = "Path: <sip:edge.example.net;lr>\r\nContact: <sip:b@10.0.0.9>\r\n";
    let response = register(&mut world, "c", 1, path);
    assert_eq!(code(&response), 420);
    assert_eq!(response.headers.text("Unsupported"), Some("path"));
    let response = register(&mut world, "c", 2, &format!("{path}Supported: path\r\n"));
    assert_eq!(code(&response), 200);
    assert_eq!(response.headers.text("Path"), Some("<sip:edge.example.net;lr>"));
}

#[test]
fn record_route_of_a_register_is_ignored() {
    let mut world = World::new();
    let lines = "Contact: <sip:a@h>\r\nRecord-Route: <sip:p.example.net;lr>\r\n";
    let response = register(&mut world, "c", 1, lines);
    assert!(!response.headers.contains("Record-Route"));
}

// ---- authentication, steps 3 and 4 ----------------------------------------------------------------------------

fn with_users(config: &mut Config) {
    config.users = Some(Users::parse("alice:wonderland\nbob:builder\n").unwrap());
}

/// Sends a REGISTER of `aor` as `user`; gives the first and the second answer.
fn authenticate(world: &mut World, user: &str, password: &str, aor: &str) -> (Response, Response) {
    let mut phone = Authenticator::default();
    phone.add_account(None, user, Secret::password(password));
    let lines = |cseq: u32| {
        format!(
            "From: <sip:{aor}>;tag=r\r\nTo: <sip:{aor}>\r\nCall-ID: {user}{aor}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{user}@192.0.2.11>\r\n"
        )
    };
    let first = world.ask(ALICE, "REGISTER", "sip:example.com", &lines(1));
    let text = world.request(ALICE, "REGISTER", "sip:example.com", &lines(2));
    let mut again = Request::parse(text.into(), &Limits::default()).unwrap();
    phone.answer(&mut again, &first, &mut Attempts::default(), "cnonce").unwrap();
    let sent = world.udp(ALICE, again.to_string());
    (first, sent[0].response().clone())
}

#[test]
fn step_3_users_prove_who_they_are() {
    let mut world = World::with(with_users);
    let (first, second) = authenticate(&mut world, "alice", "wonderland", "alice@example.com");
    assert_eq!((code(&first), code(&second)), (401, 200));
    let algorithms: Vec<String> = first
        .headers
        .all::<WwwAuthenticate>()
        .map(|challenge| challenge.unwrap().0.param("algorithm").unwrap().into_owned())
        .collect();
    assert_eq!(algorithms, ["SHA-256", "MD5"]);
    assert_eq!(code(&authenticate(&mut world, "bob", "wrong", "bob@example.com").1), 401);
    assert_eq!(code(&authenticate(&mut world, "mallory", "x", "mallory@example.com").1), 401);
    assert_eq!(world.core.counters().wrong_credentials, 2);
    assert_eq!(world.core.bindings(), 1);
}

#[test]
fn step_4_users_register_their_own_address_only() {
    let mut world = World::with(with_users);
    assert_eq!(code(&authenticate(&mut world, "alice", "wonderland", "bob@example.com").1), 403);
    assert_eq!(world.core.bindings(), 0);
}

// ---- a store outside -------------------------------------------------------------------------------------------

mod outside {
    use super::*;
    use sip_server::location::{Answer, MemoryLocation, Question, StoreError};

    fn world() -> World {
        World::with(|config| config.external_location = true)
    }

    fn send(world: &mut World, contact: &str) {
        let lines = format!("To: <sip:bob@example.com>\r\nCall-ID: {contact}\r\nContact: <{contact}>\r\n");
        let text = world.request(BOB, "REGISTER", "sip:example.com", &lines);
        assert!(world.udp(BOB, text).is_empty(), "no answer before the store has answered");
    }

    #[test]
    fn two_registrations_that_cross_are_both_kept() {
        let (mut world, mut store) = (world(), MemoryLocation::new(10, Instant::now(), Duration::ZERO));
        let now = Instant::now();
        send(&mut world, "sip:b@h1");
        send(&mut world, "sip:b@h2");
        // Both read the empty list before either writes: the one who comes second starts again.
        let mut questions = Vec::new();
        let mut conflicts = 0;
        loop {
            while let Some(question) = world.core.poll_question() {
                questions.push(question);
            }
            if questions.is_empty() {
                break;
            }
            for (key, question) in std::mem::take(&mut questions) {
                let answer = store.answer(now, question);
                conflicts += usize::from(matches!(answer, Answer::Conflict(_)));
                world.core.answer(world.now, key, answer);
            }
        }
        assert_eq!(conflicts, 1);
        let sent = world.sent();
        assert_eq!(world::names(&sent), ["200", "200"]);
        assert_eq!(contacts(sent[1].response()).len(), 2);
        world.assert_nothing_left();
    }

    #[test]
    fn a_store_that_fails_or_never_answers_is_503() {
        let mut world = world();
        send(&mut world, "sip:b@h1");
        let (key, question) = world.core.poll_question().unwrap();
        assert!(matches!(question, Question::Lookup { .. }));
        world.core.answer(world.now, key, Answer::Failed(StoreError::Unavailable));
        assert_eq!(world::names(&world.sent()), ["503"]);
        send(&mut world, "sip:b@h2");
        let (key, _) = world.core.poll_question().unwrap();
        let sent = world.pass(Duration::from_secs(9));
        assert_eq!(world::names(&sent).last().map(String::as_str), Some("503"), "{:?}", world::names(&sent));
        world.core.answer(world.now, key, Answer::Updated);
        assert!(world.sent().is_empty(), "an answer that comes too late does nothing");
        assert_eq!(world.core.counters().questions_unanswered, 1);
        world.assert_nothing_left();
    }

    #[test]
    fn questions_in_flight_are_bounded() {
        let mut world = World::with(|config| {
            config.external_location = true;
            config.limits.questions = 1;
        });
        send(&mut world, "sip:b@h1");
        assert_eq!(code(&world.register("bob", "<sip:b@h2>", "")), 503);
    }
}
