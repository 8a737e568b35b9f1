//! 199 (RFC 6228): early dialogs that are over while the call is tried elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::HeaderName;
use sip_message::headers::Reason;
use world::{ALICE, BOB, BOB2, Sent, World, names, only, to_tag};

/// Bob's two phones ring for a caller with these lines; their INVITEs.
fn ringing(world: &mut World, extra: &str) -> (Sent, Sent) {
    world.register("bob", "<sip:bob@192.0.2.12>, <sip:bob@192.0.2.13>", "");
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", extra);
    let mut sent = world.udp(ALICE, text);
    sent.retain(|sent| sent.name() == "INVITE");
    let two = sent.remove(sent.iter().position(|sent| sent.to() == BOB2).unwrap());
    let one = sent.remove(sent.iter().position(|sent| sent.to() == BOB).unwrap());
    (one, two)
}

/// A response with a tag of its own.
fn answer(world: &mut World, to: &Sent, status: u16, tag: &str) -> Vec<Sent> {
    let text = world::response_text(to.request(), status, "").replace("tag=callee", &format!("tag={tag}"));
    let source = to.to();
    world.udp(&source, text)
}

const WANTED: &str = "Supported: 199, timer\r\n";

/// §6: "MUST contain a To header field tag parameter that identifies the terminated early dialog", Reason, no Record-Route.
#[test]
fn rfc6228_6_a_caller_hears_of_a_phone_that_has_given_up() {
    let mut world = World::new();
    let (one, two) = ringing(&mut world, WANTED);
    answer(&mut world, &one, 180, "a");
    answer(&mut world, &two, 180, "b");
    let sent = answer(&mut world, &one, 486, "a");
    assert_eq!(names(&sent), ["ACK", "199"]);
    let told = only(&sent, "199").response();
    assert_eq!(to_tag(told).as_deref(), Some("a"));
    let reason: Reason = told.headers.require().unwrap();
    assert_eq!((reason.token.as_str(), reason.cause()), ("SIP", Some(486)));
    for absent in [HeaderName::CONTACT, HeaderName::RECORD_ROUTE, HeaderName::REQUIRE, HeaderName::RSEQ] {
        assert!(!told.headers.contains(absent), "{absent}");
    }
    // The last one is told by the final response.
    assert_eq!(names(&answer(&mut world, &two, 480, "b")), ["ACK", "486"]);
    assert_eq!(world.core.counters().early_ends, 1);
    world.assert_nothing_left();
}

/// "terminates all other early dialogs for which the same top Via branch value was received"; not those of which a 199 has told.
#[test]
fn rfc6228_6_all_early_dialogs_of_a_branch_are_over() {
    let mut world = World::new();
    let (one, _) = ringing(&mut world, WANTED);
    for (status, tag) in [(180, "a"), (183, "b"), (180, "c"), (180, "a")] {
        answer(&mut world, &one, status, tag);
    }
    assert_eq!(names(&answer(&mut world, &one, 199, "b")), ["199"], "passed on like any other");
    let sent = answer(&mut world, &one, 603, "c");
    let tags: Vec<_> = sent
        .iter()
        .filter(|sent| sent.name() == "199")
        .map(|sent| to_tag(sent.response()).unwrap())
        .collect();
    assert_eq!(tags, ["a", "c"]);
}

/// A phone that has not rung has no early dialog; a caller who has not asked for it, or wants reliable responses, gets none.
#[test]
fn rfc6228_6_nobody_else_is_told() {
    let mut silent = World::new();
    let (one, _) = ringing(&mut silent, WANTED);
    assert_eq!(names(&answer(&mut silent, &one, 486, "a")), ["ACK"]);
    for extra in ["", "Supported: 100rel\r\n", "Supported: 199\r\nRequire: 100rel\r\n"] {
        let mut world = World::new();
        let (one, _) = ringing(&mut world, extra);
        answer(&mut world, &one, 180, "a");
        assert_eq!(names(&answer(&mut world, &one, 486, "a")), ["ACK"], "{extra}");
    }
    let mut off = World::with(|config| config.early_ends = false);
    let (one, _) = ringing(&mut off, WANTED);
    answer(&mut off, &one, 180, "a");
    assert_eq!(names(&answer(&mut off, &one, 486, "a")), ["ACK"]);
}

/// One phone after the other: the first has given up before the second rings.
#[test]
fn rfc6228_6_a_serial_fork_tells_too() {
    let mut world = World::new();
    world.register("bob", "<sip:bob@192.0.2.12>, <sip:bob@192.0.2.13>;q=0.2", "");
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", WANTED);
    let sent = world.udp(ALICE, text);
    let first = only(&sent, "INVITE");
    answer(&mut world, first, 180, "a");
    let sent = answer(&mut world, first, 486, "a");
    assert_eq!(names(&sent), ["ACK", "INVITE", "199"]);
    assert_eq!(to_tag(only(&sent, "199").response()).as_deref(), Some("a"));
}

/// A flood of tags holds no memory.
#[test]
fn early_dialogs_of_one_branch_are_bounded() {
    let mut world = World::new();
    let (one, _) = ringing(&mut world, WANTED);
    for tag in 0..200 {
        answer(&mut world, &one, 180, &format!("t{tag}"));
    }
    let sent = answer(&mut world, &one, 486, "t0");
    assert_eq!(sent.iter().filter(|sent| sent.name() == "199").count(), 16);
}
