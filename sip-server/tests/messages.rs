//! Messages for users who are away (RFC 3428): kept with 202, delivered in order when they come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_message::StatusCode;
use sip_server::Config;
use sip_server::messages::{MemoryMessages, MessageAnswer, MessageConfig, MessageQuestion};
use sip_server::settings::Settings;
use world::{ALICE, BOB, BOB2, Sent, World, names, only};

fn world_with(change: impl FnOnce(&mut Config)) -> World {
    World::with(|config| {
        config.messages = Some(MessageConfig::new());
        change(config);
    })
}

fn world() -> World {
    world_with(|_| {})
}

fn send(world: &mut World, text: &str, extra: &str) -> Vec<Sent> {
    let lines = format!(
        "From: <sip:alice@example.com>;tag=a\r\nCall-ID: id-of-{text}\r\nContent-Type: text/plain\r\n{extra}\
         Content-Length: {}\r\n",
        text.len()
    );
    let request = world.request(ALICE, "MESSAGE", "sip:bob@example.com", &lines) + text;
    world.udp(ALICE, request)
}

/// Answers what the store outside was asked, and gives what the server sends then.
fn serve(world: &mut World, store: &mut MemoryMessages) -> Vec<Sent> {
    while let Some((key, question)) = world.core.poll_message_question() {
        let answer = store.answer(question);
        world.core.message_answer(world.now, key, answer);
    }
    world.sent()
}

fn status(sent: &[Sent]) -> u16 {
    let all: Vec<&Sent> = sent.iter().filter(|sent| sent.message.as_response().is_some()).collect();
    assert_eq!(all.len(), 1, "one response among {:?}", names(sent));
    all[0].response().status().code()
}

/// Registers and gives the messages that go to the phone.
fn register(world: &mut World, at: &str, extra: &str) -> Vec<Sent> {
    let lines = format!(
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sip:bob@{at}>\r\n{extra}"
    );
    let text = world.request(at, "REGISTER", "sip:example.com", &lines);
    let mut sent = world.udp(at, text);
    sent.retain(|sent| sent.name() != "200");
    sent
}

fn text(message: &Sent) -> String {
    String::from_utf8(message.request().body().to_vec()).unwrap()
}

/// RFC 3428 §7: 202, and later the message as it was, with the time at which it was written (§4).
#[test]
fn messages_wait_for_a_user_who_is_away_and_come_in_order() {
    let mut world = world();
    for text in ["one", "two", "three"] {
        assert_eq!(status(&send(&mut world, text, "X-Colour: blue\r\n")), 202);
    }
    let mut coming = register(&mut world, BOB, "");
    let mut got = Vec::new();
    while let Some(message) = coming.pop() {
        assert!(coming.is_empty(), "one at a time");
        let request = message.request();
        assert_eq!(request.uri_text(), format!("sip:bob@{BOB}"));
        assert_eq!(request.headers.text("From"), Some("<sip:alice@example.com>;tag=a"));
        assert_eq!(request.headers.text("Date"), Some("Sat, 13 Nov 2010 23:29:00 GMT"));
        assert_eq!(request.headers.text("X-Colour"), Some("blue"));
        assert_eq!(request.headers.text("Call-ID").unwrap(), format!("id-of-{}", text(&message)));
        got.push(text(&message));
        coming = world.answer(&message, 200, "");
    }
    assert_eq!(got, ["one", "two", "three"]);
    assert_eq!(world.core.counters().messages_delivered, 3);
    assert_eq!(world.core.message_holders(), 0);
    // Once only.
    assert!(register(&mut world, BOB, "").is_empty());
    world.assert_nothing_left();
}

/// Who is there gets it at once, and their answer is the answer.
#[test]
fn who_is_there_answers() {
    let mut world = world();
    register(&mut world, BOB, "");
    let sent = send(&mut world, "hello", "");
    let back = world.answer(only(&sent, "MESSAGE"), 200, "");
    assert_eq!(status(&back), 200);
    // What a phone refuses is for the sender to know.
    let sent = send(&mut world, "again", "");
    let back = world.answer(only(&sent, "MESSAGE"), 415, "Accept: text/html\r\n");
    assert_eq!((status(&back), back[0].response().headers.text("Accept")), (415, Some("text/html")));
    assert_eq!(world.core.counters().messages_kept, 0);
    world.assert_nothing_left();
}

/// A phone that is gone without a word: its sender does not wait for half a minute, and the message is not lost.
#[test]
fn a_phone_that_does_not_answer() {
    let mut world = world();
    register(&mut world, BOB, "");
    send(&mut world, "hello", "");
    let sent = world.seconds(11);
    assert_eq!(status(&sent), 202);
    // It comes back elsewhere.
    world.seconds(40);
    let coming = register(&mut world, BOB2, "");
    let here: Vec<&Sent> = coming.iter().filter(|message| message.to() == BOB2).collect();
    assert_eq!(text(here[0]), "hello");
}

/// It was only slow: the copy that was kept goes.
#[test]
fn a_phone_that_answers_late_has_it_once() {
    let mut world = world();
    register(&mut world, BOB, "");
    let sent = send(&mut world, "hello", "");
    let first = only(&sent, "MESSAGE");
    assert_eq!(status(&world.seconds(11)), 202);
    assert!(world.answer(first, 200, "").is_empty());
    assert!(register(&mut world, BOB, "").is_empty());
    assert!(world.seconds(300).is_empty());
    assert_eq!(world.core.message_holders(), 0);
    world.assert_nothing_left();
}

/// One that comes while earlier ones wait does not overtake them.
#[test]
fn a_new_message_waits_behind_those_that_wait() {
    let mut world = world();
    send(&mut world, "one", "");
    let coming = register(&mut world, BOB, "");
    assert_eq!(status(&send(&mut world, "two", "")), 202);
    let next = world.answer(&coming[0], 200, "");
    assert_eq!(text(&next[0]), "two");
    world.answer(&next[0], 200, "");
    // From here on nothing waits.
    assert_eq!(names(&send(&mut world, "three", "")), ["MESSAGE"]);
}

/// Two phones: both are sent it, one answer is enough.
#[test]
fn all_phones_of_a_user_get_it() {
    let mut world = world();
    send(&mut world, "one", "");
    let coming = register(&mut world, BOB, "");
    world.answer(&coming[0], 503, "");
    assert_eq!(world.core.message_holders(), 1, "it is not lost");
    let coming = register(&mut world, BOB2, "");
    let mut to: Vec<String> = coming.iter().map(Sent::to).collect();
    to.sort();
    assert_eq!(to, [BOB, BOB2]);
    world.answer(&coming[0], 200, "");
    world.answer(&coming[1], 480, "");
    assert_eq!(world.core.message_holders(), 0);
}

/// A phone that cannot take one does not keep others from coming.
#[test]
fn a_message_that_is_refused_for_good() {
    let mut world = world();
    send(&mut world, "one", "");
    send(&mut world, "two", "");
    let coming = register(&mut world, BOB, "");
    let next = world.answer(&coming[0], 415, "");
    assert_eq!(text(&next[0]), "two");
    world.answer(&next[0], 200, "");
    assert_eq!(world.core.counters().messages_dropped, 1);
    assert_eq!(world.core.message_holders(), 0);
}

/// A phone that is busy starting up is tried again, without another REGISTER.
#[test]
fn it_is_tried_again_while_a_phone_is_registered() {
    let mut world = world();
    send(&mut world, "one", "");
    let coming = register(&mut world, BOB, "");
    assert!(world.answer(&coming[0], 500, "").is_empty());
    let sent = world.seconds(61);
    assert_eq!(text(&sent[0]), "one");
    world.answer(&sent[0], 200, "");
    assert_eq!(world.core.message_holders(), 0);
}

/// RFC 3428 §8: Expires. What is of no use any more is not delivered; one that is for now only is not kept.
#[test]
fn messages_end() {
    let mut world = world();
    assert_eq!(status(&send(&mut world, "short", "Expires: 60\r\n")), 202);
    assert_eq!(status(&send(&mut world, "long", "")), 202);
    assert_eq!(status(&send(&mut world, "now", "Expires: 0\r\n")), 404);
    world.seconds(100);
    let coming = register(&mut world, BOB, "");
    assert_eq!(text(&coming[0]), "long");
}

/// Nobody fills the store: so many for one user, so large each.
#[test]
fn quotas() {
    let mut world = world_with(|config| {
        let messages = config.messages.as_mut().unwrap();
        (messages.per_user, messages.octets) = (2, 1000);
    });
    assert_eq!(status(&send(&mut world, &"x".repeat(1000), "")), 404);
    assert_eq!(status(&send(&mut world, "one", "")), 202);
    assert_eq!(status(&send(&mut world, "two", "")), 202);
    assert_eq!(status(&send(&mut world, "three", "")), 404);
}

/// Nor with messages for names that it makes up: so many users at a time.
#[test]
fn messages_for_many_users() {
    let mut world = world_with(|config| config.messages.as_mut().unwrap().users = 2);
    let mut to = |user: &str| {
        let lines =
            "From: <sip:alice@example.com>;tag=a\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n";
        let request = world.request(ALICE, "MESSAGE", &format!("sip:{user}@example.com"), lines) + "hi";
        status(&world.udp(ALICE, request))
    };
    assert_eq!([to("one"), to("two"), to("three"), to("one")], [202, 202, 404, 202]);
}

/// A store outside: 202 goes when it has the message, and not before; 503 when it does not answer.
#[test]
fn a_store_that_is_outside() {
    let mut world = world_with(|config| config.external_messages = true);
    let mut store = MemoryMessages::new();
    serve(&mut world, &mut store);
    assert!(send(&mut world, "one", "").is_empty());
    assert_eq!(status(&serve(&mut world, &mut store)), 202);
    assert!(register(&mut world, BOB, "").is_empty());
    let coming = serve(&mut world, &mut store);
    assert_eq!(text(&coming[0]), "one");
    assert!(world.answer(&coming[0], 200, "").is_empty());
    serve(&mut world, &mut store);
    assert!(store.is_empty());

    register(&mut world, BOB, "Expires: 0\r\n");
    assert!(send(&mut world, "two", "").is_empty());
    let sent = world.seconds(9);
    assert_eq!(status(&sent), 503);
    assert!(sent[0].response().headers.text("Retry-After").is_some());
    // Full or broken: the sender knows.
    assert!(send(&mut world, "three", "").is_empty());
    while let Some((key, question)) = world.core.poll_message_question() {
        if matches!(question, MessageQuestion::Keep { .. }) {
            world.core.message_answer(world.now, key, MessageAnswer::Failed);
        }
    }
    assert_eq!(status(&world.sent()), 503);
}

/// The store has said that there is no other message, another is kept, and the two answers overtake each other.
#[test]
fn a_message_kept_while_the_store_looks_for_the_next_is_not_forgotten() {
    let mut world = world_with(|config| config.external_messages = true);
    let mut store = MemoryMessages::new();
    serve(&mut world, &mut store);
    send(&mut world, "one", "");
    assert_eq!(status(&serve(&mut world, &mut store)), 202);
    register(&mut world, BOB, "");
    let coming = serve(&mut world, &mut store);
    world.answer(&coming[0], 200, "");
    let (removed, question) = world.core.poll_message_question().unwrap();
    let answer = store.answer(question);
    world.core.message_answer(world.now, removed, answer);
    let (looked, question) = world.core.poll_message_question().unwrap();
    let none = store.answer(question);
    assert_eq!(none, MessageAnswer::Next(None));
    send(&mut world, "two", "");
    assert_eq!(status(&serve(&mut world, &mut store)), 202);
    world.core.message_answer(world.now, looked, none);
    let coming = serve(&mut world, &mut store);
    assert_eq!(text(&coming[0]), "two");
    world.answer(&coming[0], 200, "");
    serve(&mut world, &mut store);
    assert!(store.is_empty() && world.core.message_holders() == 0);
}

/// After a restart: the store says who has messages, and phones that are registered get them without another REGISTER.
#[test]
fn messages_of_the_run_before() {
    let mut world = world_with(|config| config.external_messages = true);
    register(&mut world, BOB, "Expires: 600\r\n");
    let mut store = MemoryMessages::new();
    // What the run before has kept.
    let mut before = world_with(|config| config.external_messages = true);
    while before.core.poll_message_question().is_some() {}
    send(&mut before, "old", "");
    let (_, keep) = before.core.poll_message_question().unwrap();
    assert!(matches!(store.answer(keep), MessageAnswer::Kept(_)));

    let (key, question) = world.core.poll_message_question().unwrap();
    assert_eq!(question, MessageQuestion::Holders);
    let holders = store.answer(question);
    world.core.message_answer(world.now, key, holders);
    let asked = (0..310).find_map(|_| {
        world.pass(Duration::from_millis(100));
        world.core.poll_message_question()
    });
    let (key, question) = asked.unwrap();
    let next = store.answer(question);
    world.core.message_answer(world.now, key, next);
    assert_eq!(text(&world.sent()[0]), "old");
}

/// Strangers fill nobody's store.
#[test]
fn strangers_are_not_kept() {
    let users = sip_server::Users::parse("alice:a\nbob:b\n").unwrap();
    let mut world = world_with(|config| config.users = Some(users));
    let lines =
        "From: <sip:mallory@elsewhere.example>;tag=m\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n";
    let request = world.request(ALICE, "MESSAGE", "sip:bob@example.com", lines) + "hi";
    let sent = world.udp(ALICE, request);
    assert_eq!(sent[0].response().status(), StatusCode::NOT_FOUND);
    assert_eq!(world.core.message_holders(), 0);
}

/// `[messages]` of the settings bounds both.
#[test]
fn limits_of_the_settings() {
    let text = "authentication = false\ndomains = [\"example.com\"]\n[messages]\nfile = \"m.db\"\nper_user = 2\nusers = 1\n";
    let settings = Settings::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::with(|config| settings.configure(config));
    for (text, expected) in [("one", 202), ("two", 202), ("three", 404)] {
        assert_eq!(status(&send(&mut world, text, "")), expected, "{text}");
    }
    let lines = "From: <sip:alice@example.com>;tag=a\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n";
    let request = world.request(ALICE, "MESSAGE", "sip:carol@example.com", lines);
    assert_eq!(status(&world.udp(ALICE, request)), 404, "messages wait for one user already");
}
