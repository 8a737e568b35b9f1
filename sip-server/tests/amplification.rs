//! R32: nobody can use the server to send others more than he sends himself. A datagram's source can be forged, so what is
//! answered before anybody has proven anything is at most twice as long as what asked for it. A challenge has to hold a realm and
//! a nonce for each algorithm: against the smallest request that can be written it is longer, against a phone's it is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_server::Users;
use world::{BOB, Sent, World};

fn world() -> World {
    World::with(|config| config.users = Some(Users::parse("bob:secret\n").unwrap()))
}

/// The smallest request of this method that a sender can write, with as much missing as `leave_out` says.
fn smallest(number: u32, method: &str, uri: &str, from: &str, leave_out: &str) -> String {
    let lines = [
        format!("v:SIP/2.0/UDP h;branch=z9hG4bK{number}"),
        format!("f:<{from}>;tag=1"),
        format!("t:<{uri}>"),
        format!("i:{number}"),
        format!("CSeq:1 {method}"),
    ];
    let kept: Vec<_> =
        lines.into_iter().filter(|line| leave_out.is_empty() || !line.starts_with(leave_out)).collect();
    format!("{method} {uri} SIP/2.0\r\n{}\r\n\r\n", kept.join("\r\n"))
}

fn worst(sent: &[Sent], text: &str) -> f64 {
    let octets: usize = sent.iter().map(|sent| sent.transmit.payload.len()).sum();
    octets as f64 / text.len() as f64
}

#[test]
fn no_answer_to_a_stranger_is_more_than_twice_as_long() {
    let bob = "sip:bob@example.com";
    let cases = [
        ("OPTIONS", "sip:example.com", "sip:a@b.c", "", 200, 2.0),
        ("OPTIONS", "sip:nobody@example.com", "sip:a@b.c", "", 404, 2.0),
        ("INVITE", "sip:x@elsewhere.example", "sip:a@b.c", "", 403, 2.0),
        ("OPTIONS", "sip:example.com", "sip:a@b.c", "i:", 400, 2.0),
        ("FOO", "sip:example.com", "sip:a@b.c", "", 405, 2.0),
        ("REGISTER", "sip:example.com", bob, "", 401, 4.0),
        ("INVITE", bob, bob, "", 407, 4.0),
    ];
    let mut world = world();
    for (number, (method, uri, from, leave_out, status, most)) in (0..).zip(cases) {
        let text = smallest(number, method, uri, from, leave_out);
        let sent = world.udp(BOB, text.clone());
        assert!(
            sent.iter().any(|sent| sent.name() == status.to_string()),
            "{method}: {:?}",
            world::names(&sent)
        );
        let factor = worst(&sent, &text);
        println!("{method} {status}: {} octets asked, {factor:.2} times as many answered", text.len());
        assert!(factor <= most, "{method} {status}: {factor:.2}\n{}", sent[0].text());
    }
}

/// What phones send: with the fields that they all write.
#[test]
fn a_challenge_to_a_phone_is_at_most_twice_as_long() {
    let mut world = world();
    for (method, uri, status) in
        [("REGISTER", "sip:example.com", "401"), ("INVITE", "sip:carol@example.com", "407")]
    {
        let lines = "From: \"Bob\" <sip:bob@example.com>;tag=5e6f7a\r\nContact: <sip:bob@192.0.2.12:5060;ob>\r\n\
             User-Agent: a phone\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\nSupported: 100rel, timer\r\n";
        let text = world.request(BOB, method, uri, lines);
        let sent = world.udp(BOB, text.clone());
        let factor = worst(&sent, &text);
        println!("{method} {status}: {} octets asked, {factor:.2} times as many answered", text.len());
        assert!(sent.iter().any(|sent| sent.name() == status) && factor <= 2.0, "{factor:.2}");
    }
}

/// Over the limit nothing is remembered and the 503 is as short as can be.
#[test]
fn a_flood_is_refused_in_few_octets() {
    let mut world = World::with(|config| config.limits.transactions.server_transactions = 0);
    for number in 0..1_000 {
        let text = smallest(number, "OPTIONS", "sip:example.com", "sip:a@b.c", "");
        let sent = world.udp(BOB, text.clone());
        assert_eq!(world::names(&sent), ["503"]);
        assert!(worst(&sent, &text) <= 2.0);
    }
    assert_eq!(world.core.transactions().live_server(), 0);
}

/// What is answered at once is no load: a flood of it takes memory up to its bound, and nobody else is refused for it.
#[test]
fn a_flood_of_what_is_answered_at_once_refuses_nobody() {
    let mut world = World::with(|config| {
        config.limits.transactions.server_transactions = 10;
        config.limits.transactions.completed_octets = 100_000;
    });
    for number in 0..1_000 {
        let sent = world.udp(BOB, smallest(number, "OPTIONS", "sip:example.com", "sip:a@b.c", ""));
        assert_eq!(world::names(&sent), ["200"]);
    }
    let transactions = world.core.transactions();
    assert!(transactions.completed_octets() <= 100_000 && transactions.live_server() <= 200);
}
