//! The table in memory with a durable store behind it: what a phone is told, and when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::{Method, Response};
use sip_server::Batch;
use sip_server::location::StoreError;
use world::{ALICE, BOB, Sent, World, only};

/// A REGISTER of bob; what the server sends at once.
fn register(world: &mut World, call_id: &str, lines: &str) -> Vec<Sent> {
    let extra = format!(
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nCall-ID: {call_id}\r\n{lines}"
    );
    let text = world.request(BOB, "REGISTER", "sip:example.com", &extra);
    world.udp(BOB, text)
}

fn batch(world: &mut World) -> Batch {
    world.core.poll_unsaved(100).expect("something to be stored")
}

fn stored(world: &mut World, batch: Batch, result: Result<(), StoreError>) -> Vec<Sent> {
    world.core.stored(world.now, batch, result);
    world.sent()
}

fn contacts(response: &Response) -> Vec<String> {
    let all = response.headers.all::<sip_message::headers::Contact>();
    let mut all: Vec<String> = all.map(|contact| contact.unwrap().uri().unwrap().to_string()).collect();
    all.sort();
    all
}

/// The bindings as the server tells them, from memory.
fn bindings(world: &mut World) -> Vec<String> {
    let sent = register(world, "query", "");
    contacts(only(&sent, "200").response())
}

#[test]
fn the_200_goes_when_the_change_is_stored_and_look_ups_do_not_wait() {
    let mut world = World::durable(|_| {});
    assert!(register(&mut world, "c", "Contact: <sip:b@192.0.2.12>\r\n").is_empty());
    assert!(bindings(&mut world).is_empty(), "nothing is visible before it is stored");
    let first = batch(&mut world);
    assert_eq!(
        first.records().map(|record| record.aor().to_owned()).collect::<Vec<_>>(),
        ["bob@example.com"]
    );
    let sent = stored(&mut world, first, Ok(()));
    assert_eq!(contacts(only(&sent, "200").response()), ["sip:b@192.0.2.12"]);
    // A call is forwarded while the next change is on its way.
    assert!(register(&mut world, "d", "Contact: <sip:b@h2>\r\n").is_empty());
    let under_way = batch(&mut world);
    let invite = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
    let sent = world.udp(ALICE, invite);
    assert!(sent.iter().any(|sent| sent.is(&Method::Invite)));
    let sent = stored(&mut world, under_way, Ok(()));
    assert_eq!(contacts(only(&sent, "200").response()), ["sip:b@192.0.2.12", "sip:b@h2"]);
    assert!(world.core.poll_unsaved(100).is_none());
}

#[test]
fn what_the_disk_refuses_is_503_and_changes_nothing() {
    let mut world = World::durable(|_| {});
    register(&mut world, "c", "Contact: <sip:b@h1>\r\n");
    let refused = batch(&mut world);
    let sent = stored(&mut world, refused, Err(StoreError::Unavailable));
    assert!(only(&sent, "503").response().headers.contains("Retry-After"));
    assert!(bindings(&mut world).is_empty());
    register(&mut world, "c2", "Contact: <sip:b@h1>\r\n");
    let taken = batch(&mut world);
    only(&stored(&mut world, taken, Ok(())), "200");
    assert_eq!(bindings(&mut world).len(), 1);
    world.assert_nothing_left();
}

/// Two phones of one user at the same time: the second change is made from what the first one left.
#[test]
fn changes_of_one_address_follow_one_another() {
    let mut world = World::durable(|_| {});
    assert!(register(&mut world, "c", "Contact: <sip:b@h1>\r\n").is_empty());
    assert!(register(&mut world, "d", "Contact: <sip:b@h2>\r\n").is_empty());
    assert!(register(&mut world, "e", "Contact: *\r\nExpires: 0\r\n").is_empty());
    for expected in [vec!["sip:b@h1"], vec!["sip:b@h1", "sip:b@h2"], vec![]] {
        let one = batch(&mut world);
        assert_eq!(one.len(), 1);
        let sent = stored(&mut world, one, Ok(()));
        assert_eq!(contacts(only(&sent, "200").response()), expected);
    }
    assert!(bindings(&mut world).is_empty());
    world.assert_nothing_left();
}

/// A disk that stands still: 503 after two seconds, then at once; what was at the disk counts as soon as it says so.
#[test]
fn a_disk_that_stands_still_holds_nobody_up() {
    let mut world = World::durable(|_| {});
    register(&mut world, "c", "Contact: <sip:b@h1>\r\n");
    let under_way = batch(&mut world);
    register(&mut world, "d", "Contact: <sip:b@h2>\r\n");
    assert!(world.pass(std::time::Duration::from_millis(1_990)).is_empty());
    let sent = world.seconds(1);
    assert_eq!(sent.iter().map(Sent::name).collect::<Vec<_>>(), ["503", "503"]);
    only(&register(&mut world, "e", "Contact: <sip:b@h3>\r\n"), "503");
    assert!(bindings(&mut world).is_empty(), "look-ups go on");
    assert!(stored(&mut world, under_way, Ok(())).is_empty());
    assert_eq!(bindings(&mut world), ["sip:b@h1"], "it is on the disk, so it is here");
    register(&mut world, "f", "Contact: <sip:b@h4>\r\n");
    let after = batch(&mut world);
    only(&stored(&mut world, after, Ok(())), "200");
    world.assert_nothing_left();
}

/// Nobody comes for the changes: they are given up, and the next that is fetched is stored.
#[test]
fn what_nobody_fetched_in_time_is_given_up() {
    let mut world = World::durable(|_| {});
    register(&mut world, "c", "Contact: <sip:b@h1>\r\n");
    register(&mut world, "d", "Contact: <sip:b@h2>\r\n");
    assert_eq!(world.seconds(3).len(), 2);
    assert!(world.core.poll_unsaved(100).is_none());
    register(&mut world, "e", "Contact: <sip:b@h3>\r\n");
    let next = batch(&mut world);
    only(&stored(&mut world, next, Ok(())), "200");
    assert_eq!(bindings(&mut world), ["sip:b@h3"]);
}

#[test]
fn so_many_changes_wait_and_no_more() {
    let mut world = World::durable(|config| config.limits.questions = 3);
    for call_id in ["a", "b", "c"] {
        assert!(register(&mut world, call_id, "Contact: <sip:b@h1>\r\n").is_empty());
    }
    only(&register(&mut world, "d", "Contact: <sip:b@h1>\r\n"), "503");
    for _ in 0..3 {
        let one = batch(&mut world);
        only(&stored(&mut world, one, Ok(())), "200");
    }
    assert!(register(&mut world, "e", "Contact: <sip:b@h1>\r\n").is_empty());
}
