//! Answered calls beyond what is worth holding (RFC 6026 Timers L and M): the oldest give way, and nobody is refused for them.

use super::*;
use sip_transaction::Tier;

const ANSWERED: usize = 5;

fn party() -> Party {
    Party::with(|config| {
        config.limits.answered = ANSWERED;
        config.limits.server_transactions = 10;
    })
}

#[test]
fn answered_calls_are_no_load_and_the_oldest_give_way() {
    let mut party = party();
    let mut calls = Vec::new();
    for number in 0..100 {
        let (tx, invite) = party.incoming(&from_them("INVITE", &format!("z9hG4bK{number}"), ""));
        party.respond(tx, &invite, 200);
        party.sent();
        calls.push((tx, invite));
        if let Some(gone) = calls.len().checked_sub(ANSWERED + 1) {
            party.server_ends(calls[gone].0);
        }
        assert_eq!(
            (party.layer.tier(), party.layer.live_answered().0),
            (Tier::Open, calls.len().min(ANSWERED))
        );
    }
    assert_eq!((party.layer.live_server(), party.layer.counters().gave_way), (ANSWERED, 95));
    // Those that are held absorb the INVITE that comes again, and repeat their 2xx.
    party.receive(from_them("INVITE", "z9hG4bK99", ""), Transport::Udp);
    party.quiet();
    let (tx, invite) = calls[99].clone();
    party.respond(tx, &invite, 200);
    party.sent();
    party.pass(TIMEOUT);
    (95..100).for_each(|at| party.server_ends(calls[at].0));
    party.empty();
    assert_eq!(party.layer.live_answered(), (0, 0));
}

#[test]
fn calls_that_ring_are_load() {
    let mut party = party();
    for number in 0..8 {
        party.incoming(&from_them("INVITE", &format!("z9hG4bK{number}"), ""));
    }
    assert_eq!(party.layer.tier(), Tier::NoNewDialogs);
    party.receive(from_them("INVITE", "z9hG4bKnew", ""), Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_late_2xx_to_a_call_that_gave_way_is_a_stray() {
    let mut party = party();
    let mut calls = Vec::new();
    for _ in 0..=ANSWERED {
        let tx = party.send(outgoing(Method::Invite), udp());
        let invite = party.sent_request();
        party.answer(&invite, 200);
        assert_eq!(party.status(), (tx, 200));
        calls.push((tx, invite));
    }
    party.client_ends(calls[0].0);
    assert_eq!((party.layer.live_client(), party.layer.live_answered().1), (ANSWERED, ANSWERED));
    party.answer(&calls[0].1, 200);
    assert!(matches!(party.event(), Event::Stray { response, .. } if response.status() == StatusCode::OK));
    party.answer(&calls[1].1, 200);
    assert_eq!(party.status(), (calls[1].0, 200));
    party.pass(TIMEOUT);
    calls.iter().skip(1).for_each(|(tx, _)| party.client_ends(*tx));
    party.empty();
}
