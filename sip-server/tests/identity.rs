//! Who calls, among servers that trust each other: RFC 3325, RFC 3323.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::{Limits, Request};
use sip_server::{Config, Users};
use world::{ALICE, BOB, Sent, World, only};

const PEER: &str = "203.0.113.5:5060";
const SPOOFED: &str = "P-Asserted-Identity: \"The Boss\" <sip:boss@example.com>\r\n";

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::with(|config| {
        config.users = Some(Users::parse("alice:wonderland\nbob:builder\n").unwrap());
        config.trusted_peers = vec!["203.0.113.0/24".parse().unwrap()];
        change(config);
    });
    let contact = "<sip:bob@192.0.2.12:5060>";
    let lines =
        format!("From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: {contact}\r\n");
    let text = world.request(BOB, "REGISTER", "sip:example.com", &lines);
    let sent = world.udp(BOB, text);
    let text = world.request(BOB, "REGISTER", "sip:example.com", &lines);
    answer_challenge(&mut world, BOB, &text, &sent, ("bob", "builder"));
    world
}

fn answer_challenge(
    world: &mut World,
    source: &str,
    text: &str,
    sent: &[Sent],
    who: (&str, &str),
) -> Vec<Sent> {
    let mut again = Request::parse(text.to_owned().into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, who.0, Secret::password(who.1));
    phone.answer(&mut again, sent[0].response(), &mut Attempts::default(), "c").unwrap();
    world.udp(source, again.to_string())
}

/// A call of Alice, who proves herself; what is sent because of it.
fn alice_calls(world: &mut World, extra: &str) -> Vec<Sent> {
    let lines = if extra.contains("From:") {
        extra.to_owned()
    } else {
        format!("From: \"Alice\" <sip:alice@example.com>;tag=a\r\n{extra}")
    };
    // The challenge that she knows already; who calls anonymously is not asked for himself.
    let text =
        world.request(ALICE, "INVITE", "sip:bob@example.com", "From: <sip:alice@example.com>;tag=c\r\n");
    let sent = world.udp(ALICE, text);
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", &lines);
    answer_challenge(world, ALICE, &text, &sent, ("alice", "wonderland"))
}

/// P-Asserted-Identity and Privacy of the INVITE that was sent.
fn told(sent: &[Sent]) -> (Vec<String>, Option<String>) {
    let headers = &only(sent, "INVITE").request().headers;
    assert!(!headers.contains("P-Preferred-Identity"));
    let asserted = headers.raw("P-Asserted-Identity").map(|one| String::from_utf8_lossy(one).into_owned());
    (asserted.collect(), headers.text("Privacy").map(str::to_owned))
}

/// §5: "MUST replace" what comes from outside; the user's own identity goes in its place.
#[test]
fn what_a_phone_asserts_is_replaced_by_what_it_has_proven() {
    let mut world = world(|_| {});
    let sent = alice_calls(&mut world, SPOOFED);
    assert_eq!(told(&sent).0, ["\"Alice\" <sip:alice@example.com>"]);
    // A stranger's word is no word at all.
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", SPOOFED);
    let sent = world.udp(ALICE, text);
    assert!(told(&sent).0.is_empty());
}

/// §9.2: the phone may choose among its own names.
#[test]
fn a_preferred_identity_counts_if_it_is_the_users_own() {
    let mut world = world(|_| {});
    let sent = alice_calls(&mut world, "P-Preferred-Identity: \"A. Liddell\" <sip:alice@example.com>\r\n");
    assert_eq!(told(&sent).0, ["\"A. Liddell\" <sip:alice@example.com>"]);
    let sent = alice_calls(&mut world, "P-Preferred-Identity: <sip:boss@example.com>\r\n");
    assert_eq!(told(&sent).0, ["\"Alice\" <sip:alice@example.com>"]);
}

/// §7: a caller who asks for privacy is named to nobody outside, and to servers that are trusted only.
#[test]
fn a_caller_who_wants_privacy_is_named_within_the_trust_domain_alone() {
    let anonymous = "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a\r\nPrivacy: id;critical\r\n";
    let mut world = world(|_| {});
    let sent = alice_calls(&mut world, anonymous);
    assert_eq!(told(&sent), (vec![], None), "to a phone");
    let mut peer = self::world(|config| config.next_hop = Some(format!("sip:{PEER}").parse().unwrap()));
    let sent = alice_calls(&mut peer, anonymous);
    assert_eq!(told(&sent), (vec!["<sip:alice@example.com>".to_owned()], Some("id;critical".to_owned())));
}

#[test]
fn the_word_of_a_trusted_server_is_passed_on() {
    let mut world = world(|_| {});
    let asserted = "P-Asserted-Identity: <sip:+4930123@carrier.example>\r\n";
    let text = world.request(PEER, "INVITE", "sip:bob@example.com", asserted);
    let sent = world.udp(PEER, text);
    assert_eq!(told(&sent).0, ["<sip:+4930123@carrier.example>"]);
    let text =
        world.request(PEER, "INVITE", "sip:bob@example.com", &format!("{asserted}Privacy: user;id\r\n"));
    let sent = world.udp(PEER, text);
    assert_eq!(told(&sent), (vec![], Some("user".to_owned())));
}

/// §5 for responses: a phone does not say for us who was reached.
#[test]
fn a_phone_asserts_nothing_in_responses_either() {
    let mut world = world(|_| {});
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
    let sent = world.udp(ALICE, text);
    let sent = world.answer(only(&sent, "INVITE"), 180, "P-Asserted-Identity: <sip:boss@example.com>");
    assert!(!only(&sent, "180").response().headers.contains("P-Asserted-Identity"));
}

/// Where nobody is asked who he is there is no border of trust: a proxy in the middle changes nothing.
#[test]
fn a_proxy_without_users_leaves_identities_alone() {
    let mut world = World::with(|config| config.next_hop = Some(format!("sip:{PEER}").parse().unwrap()));
    let text = world.request(ALICE, "INVITE", "sip:bob@example.org", &format!("{SPOOFED}Privacy: id\r\n"));
    let sent = world.udp(ALICE, text);
    assert_eq!(told(&sent), (vec!["\"The Boss\" <sip:boss@example.com>".to_owned()], Some("id".to_owned())));
}
