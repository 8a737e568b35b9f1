//! Users in a store outside: asked for when credentials come, remembered for a minute, never waited for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::{Limits, Request};
use sip_server::Config;
use sip_server::location::QuestionKey;
use world::{ALICE, BOB, World, names};

fn world(change: impl FnOnce(&mut Config)) -> World {
    World::with(|config| {
        config.external_users = true;
        change(config);
    })
}

/// Alice's phone registers and answers the challenge; what is said at once.
fn register(world: &mut World, password: &str) -> Vec<String> {
    let lines = "From: <sip:alice@example.com>;tag=r\r\nTo: <sip:alice@example.com>\r\nContact: <sip:alice@192.0.2.11>\r\n";
    let text = world.request(ALICE, "REGISTER", "sip:example.com", lines);
    let sent = world.udp(ALICE, text);
    let again = world.request(ALICE, "REGISTER", "sip:example.com", lines);
    let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "alice", Secret::password(password));
    phone.answer(&mut again, sent[0].response(), &mut Attempts::default(), "c").unwrap();
    names(&world.udp(ALICE, again.to_string()))
}

fn asked(world: &mut World) -> (QuestionKey, String) {
    world.core.poll_user().expect("a question")
}

fn answer(world: &mut World, key: QuestionKey, secret: Result<Option<Secret>, ()>) -> Vec<String> {
    world.core.user_found(world.now, key, secret);
    names(&world.sent())
}

#[test]
fn a_user_is_asked_for_once_in_a_minute() {
    let mut world = world(|_| {});
    assert!(register(&mut world, "wonderland").is_empty(), "it waits");
    let (key, name) = asked(&mut world);
    assert_eq!(name, "alice");
    assert_eq!(answer(&mut world, key, Ok(Some(Secret::password("wonderland")))), ["200"]);
    assert_eq!(register(&mut world, "wonderland"), ["200"], "known");
    assert_eq!(register(&mut world, "guess"), ["401"]);
    assert!(world.core.poll_user().is_none());
    // A new password counts after that.
    world.seconds(61);
    assert!(register(&mut world, "looking glass").is_empty());
    let (key, _) = asked(&mut world);
    assert_eq!(answer(&mut world, key, Ok(Some(Secret::password("looking glass")))), ["200"]);
    world.seconds(4000);
    world.assert_nothing_left();
}

/// R16: who does not exist is told the same as who has a wrong password, and is remembered too.
#[test]
fn a_user_who_does_not_exist_is_challenged_again() {
    let mut world = world(|_| {});
    assert!(register(&mut world, "x").is_empty());
    let (key, _) = asked(&mut world);
    assert_eq!(answer(&mut world, key, Ok(None)), ["401"]);
    assert_eq!(register(&mut world, "x"), ["401"]);
    assert!(world.core.poll_user().is_none());
}

/// A store that fails or is silent: 503 with Retry-After, and other requests go on meanwhile.
#[test]
fn a_store_that_does_not_answer_holds_nothing_else_up() {
    let mut world = world(|config| config.limits.questions = 2);
    assert!(register(&mut world, "wonderland").is_empty());
    let (key, _) = asked(&mut world);
    assert_eq!(answer(&mut world, key, Err(())), ["503"]);
    assert!(register(&mut world, "wonderland").is_empty());
    let text = world.request(BOB, "OPTIONS", "sip:example.com", "");
    assert_eq!(names(&world.udp(BOB, text)), ["200"]);
    assert!(register(&mut world, "wonderland").is_empty());
    assert_eq!(register(&mut world, "wonderland"), ["503"], "two wait, and no more");
    let late = names(&world.seconds(9));
    assert_eq!(late, ["503", "503"]);
    assert!(world.core.poll_user().is_none(), "nobody waits for them any more");
    world.assert_nothing_left();
}

/// A caller who gives up while his user is looked up.
#[test]
fn a_cancelled_call_is_not_forwarded_when_the_answer_comes() {
    let mut world = world(|_| {});
    let from = "From: <sip:alice@example.com>;tag=a\r\nCall-ID: c\r\n";
    let text = world.request(ALICE, "INVITE", "sip:bob@192.0.2.99", from);
    let sent = world.udp(ALICE, text);
    let again = world.request(ALICE, "INVITE", "sip:bob@192.0.2.99", from);
    let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "alice", Secret::password("wonderland"));
    phone.answer(&mut again, sent[0].response(), &mut Attempts::default(), "c").unwrap();
    let text = again.to_string();
    assert!(world.udp(ALICE, text.clone()).is_empty());
    let (key, _) = asked(&mut world);
    let cancel = text.replace("INVITE sip", "CANCEL sip").replace(" INVITE\r\n", " CANCEL\r\n");
    let mut sent = names(&world.udp(ALICE, cancel));
    sent.sort();
    assert_eq!(sent, ["200", "487"]);
    assert!(answer(&mut world, key, Ok(Some(Secret::password("wonderland")))).is_empty());
}
