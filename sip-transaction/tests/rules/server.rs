//! Server transactions: RFC 3261 §17.2, RFC 6026, RFC 4320.

use super::*;
use sip_transaction::Unrespondable;

fn ack(branch: &str, to_tag: &str) -> String {
    from_them("ACK", branch, to_tag)
}

#[test]
fn rfc_3261_17_2_1_an_invite_gets_100_after_200_ms_unless_the_user_answers() {
    let mut party = Party::new();
    party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    assert_eq!(party.pass(SECOND), [200]);
    let trying = party.sent_response();
    assert_eq!(trying.status(), StatusCode::TRYING);
    assert_eq!(line(&trying.headers, HeaderName::TO), "<sip:bob@192.0.2.1>"); // §8.2.6.1: no tag of ours

    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK2", ""));
    party.respond(tx, &invite, 180);
    assert_eq!(party.sent_response().status(), StatusCode::RINGING);
    assert_eq!(party.pass(60 * SECOND), []);
}

#[test]
fn rfc_3261_17_2_1_a_repeated_invite_gets_the_last_provisional_response() {
    let mut party = Party::new();
    let text = from_them("INVITE", "z9hG4bK1", "");
    let (tx, invite) = party.incoming(&text);
    party.receive(text.clone(), Transport::Udp); // nothing sent yet, nothing to repeat
    party.quiet();
    for status in [180, 183] {
        party.respond(tx, &invite, status);
        let first = party.sent();
        party.receive(text.clone(), Transport::Udp);
        assert_eq!(party.sent().payload, first.payload);
    }
    party.quiet();
    assert_eq!(party.layer.counters().absorbed, 3);
}

#[test]
fn rfc_3261_17_2_1_a_failure_is_repeated_until_the_ack() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    party.respond(tx, &invite, 486);
    let busy = party.sent();
    assert_eq!(party.pass(9 * SECOND), [500, 1500, 3500, 7500]);
    assert!(party.out.transmits.drain(..).all(|again| again.payload == busy.payload));
    party.receive(ack("z9hG4bK1", ";tag=us"), Transport::Udp);
    party.quiet();
    party.receive(ack("z9hG4bK1", ";tag=us"), Transport::Udp); // Confirmed: absorbed
    party.receive(from_them("INVITE", "z9hG4bK1", ""), Transport::Udp);
    party.quiet();
    assert_eq!(party.pass(5 * SECOND), []); // Timer I
    party.server_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_17_2_1_timer_h_ends_the_wait_for_the_ack() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    party.respond(tx, &invite, 486);
    party.sent();
    assert_eq!(party.pass(TIMEOUT).len(), 10);
    party.out.transmits.clear();
    assert!(matches!(party.event(), Event::Unacknowledged { tx: found } if found == tx));
    party.server_ends(tx);
    party.empty();
}

#[test]
fn rfc_6026_7_1_after_a_2xx_invites_are_absorbed_and_acks_go_up() {
    let mut party = Party::new();
    let text = from_them("INVITE", "z9hG4bK1", "");
    let (tx, invite) = party.incoming(&text);
    party.respond(tx, &invite, 200);
    let ok = party.sent();
    party.receive(text, Transport::Udp);
    assert_eq!(party.pass(31 * SECOND), []); // the user repeats the 2xx, not the transaction
    party.respond(tx, &invite, 200);
    assert_eq!(party.sent().payload, ok.payload);
    // The ACK for a 2xx has a branch of its own; one that has the INVITE's (RFC 2543) goes up just so.
    for branch in ["z9hG4bK2", "z9hG4bK1"] {
        party.receive(ack(branch, ";tag=us"), Transport::Udp);
        assert!(matches!(party.event(), Event::Ack { .. }));
    }
    party.pass(SECOND); // Timer L
    party.server_ends(tx);
    party.empty();
}

/// The user tells that the ACK for its 2xx has come: INVITEs are absorbed as before, and another 2xx goes out all the same.
#[test]
fn rfc_6026_7_1_an_acknowledged_invite_goes_on_without_its_response() {
    let mut party = Party::new();
    let text = from_them("INVITE", "z9hG4bK1", "");
    let (tx, invite) = party.incoming(&text);
    party.respond(tx, &invite, 180);
    let ringing = party.sent();
    party.layer.acknowledged(tx); // nothing was accepted yet
    party.receive(text.clone(), Transport::Udp);
    assert_eq!(party.sent().payload, ringing.payload);
    party.respond(tx, &invite, 200);
    let ok = party.sent();
    party.layer.acknowledged(tx);
    party.receive(text, Transport::Udp);
    party.quiet();
    party.respond(tx, &invite, 200);
    assert_eq!(party.sent().payload, ok.payload);
    party.pass(32 * SECOND);
    party.server_ends(tx);
    party.empty();
    party.layer.acknowledged(tx);
}

#[test]
fn rfc_3261_17_2_2_a_repeated_request_gets_the_final_response_for_64_t1() {
    let mut party = Party::new();
    let text = from_them("OPTIONS", "z9hG4bK1", "");
    let (tx, options) = party.incoming(&text);
    party.receive(text.clone(), Transport::Udp); // Trying: absorbed
    party.quiet();
    party.respond(tx, &options, 200);
    let ok = party.sent();
    party.pass(31 * SECOND);
    party.receive(text, Transport::Udp);
    assert_eq!(party.sent().payload, ok.payload);
    party.pass(SECOND);
    party.server_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_17_2_2_over_tcp_the_final_response_ends_it_at_once() {
    let mut party = Party::new();
    party.receive(from_them("OPTIONS", "z9hG4bK1", "").replace("UDP", "TCP"), Transport::Tcp);
    let (tx, options) = party.new_request();
    party.respond(tx, &options, 200);
    let sent = party.sent();
    assert_eq!(sent.path.flow, Some(FlowId(1)));
    assert_eq!(sent.reopen, Some(THEM.parse().unwrap())); // §18.2.2
    party.server_ends(tx);
    party.empty();
}

/// A challenge costs no memory, and its To tag is the same for a request and its repetition.
#[test]
fn rfc_3261_8_2_7_what_is_answered_and_forgotten_is_asked_anew() {
    let mut party = Party::new();
    let text = from_them("OPTIONS", "z9hG4bK1", "");
    let mut tags = Vec::new();
    for _ in 0..2 {
        let (tx, options) = party.incoming(&text);
        let reply = options.reply(StatusCode::UNAUTHORIZED);
        party.layer.respond_and_forget(party.now, tx, reply, &mut party.out).unwrap();
        let response = party.sent_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        tags.push(response.headers.tag(HeaderName::TO).unwrap().to_owned());
        party.server_ends(tx);
        party.empty();
    }
    assert_eq!(tags[0], tags[1]);
}

/// The ACK is known by the tag. Where the client no longer repeats its INVITE, or the tag is that of a dialog, the answer is
/// repeated as ever.
#[test]
fn rfc_3261_8_2_7_a_challenge_to_an_invite_is_forgotten_if_its_client_repeats_it() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    party
        .layer
        .respond_and_forget(party.now, tx, invite.reply(StatusCode::UNAUTHORIZED), &mut party.out)
        .unwrap();
    let tag = party.sent_response().headers.tag(HeaderName::TO).unwrap().to_owned();
    party.server_ends(tx);
    party.receive(from_them("ACK", "z9hG4bK1", &format!(";tag={tag}")), Transport::Udp);
    party.empty();

    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK2", ""));
    party.respond(tx, &invite, 100);
    party.sent();
    party
        .layer
        .respond_and_forget(party.now, tx, invite.reply(StatusCode::UNAUTHORIZED), &mut party.out)
        .unwrap();
    party.sent();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK3", ";tag=ours"));
    party
        .layer
        .respond_and_forget(party.now, tx, invite.reply(StatusCode::UNAUTHORIZED), &mut party.out)
        .unwrap();
    party.sent();
    assert_eq!(party.layer.live_server(), 2);
}

/// R34: what was answered is held up to a bound, the newest longest; what is under way and calls that were taken stay.
#[test]
fn the_oldest_answered_requests_give_way() {
    const OCTETS: usize = 20_000;
    let mut party = Party::with(|config| config.limits.completed_octets = OCTETS);
    let (ringing, _) = party.incoming(&from_them("INVITE", "z9hG4bKringing", ""));
    let (taken, invite) = party.incoming(&from_them("INVITE", "z9hG4bKtaken", ""));
    party.respond(taken, &invite, 200);
    party.sent();
    let mut last = String::new();
    for number in 0..1_000 {
        let method = if number % 2 == 0 { "INVITE" } else { "OPTIONS" };
        last = from_them(method, &format!("z9hG4bK{number}"), "");
        party.receive(last.clone(), Transport::Udp);
        let (tx, request) = loop {
            match party.event() {
                Event::Request { tx, request, .. } => break (tx, request),
                Event::ServerTerminated { tx } => assert!(tx != ringing && tx != taken),
                other => panic!("{other:?}"),
            }
        };
        party.respond(tx, &request, 404);
        party.sent();
        assert!(party.layer.completed_octets() <= OCTETS);
    }
    let (held, gave_way) = (party.layer.live_server() - 2, party.layer.counters().gave_way);
    assert!(held > 5 && held as u64 + gave_way == 1_000, "{held} held, {gave_way} gave way");
    while party.out.events.pop_front().is_some() {}
    // The newest is repeated from memory, the oldest is heard anew.
    party.receive(last, Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::NOT_FOUND);
    party.incoming(&from_them("OPTIONS", "z9hG4bK1", ""));
    assert!(party.layer.server_path(ringing).is_some() && party.layer.server_path(taken).is_some());
    // Time takes the rest.
    party.pass(2 * TIMEOUT);
    assert_eq!(party.layer.completed_octets(), 0);
}

#[test]
fn rfc_4320_4_1_a_slow_answer_to_another_request_is_preceded_by_100_after_3_5_s() {
    let mut party = Party::new();
    let text = from_them("OPTIONS", "z9hG4bK1", "");
    let (tx, options) = party.incoming(&text);
    party.respond(tx, &options, 100); // too early over UDP: waits
    party.quiet();
    assert_eq!(party.pass(10 * SECOND), [3500]);
    assert_eq!(party.sent_response().status(), StatusCode::TRYING);
    party.receive(text, Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::TRYING);
    let progress = options.reply(StatusCode::SESSION_PROGRESS).build().unwrap();
    let error = party.layer.respond(party.now, tx, progress, &mut party.out).unwrap_err();
    assert_eq!(error.reason, Unrespondable::Provisional);
    assert_eq!(error.response.status(), StatusCode::SESSION_PROGRESS);
    party.respond(tx, &options, 200);
    assert_eq!(party.sent_response().status(), StatusCode::OK);
}

#[test]
fn rfc_4320_4_2_no_408_and_nothing_late_to_another_request() {
    let mut party = Party::new();
    let text = from_them("OPTIONS", "z9hG4bK1", "");
    let (tx, options) = party.incoming(&text);
    party.respond(tx, &options, 408);
    party.quiet();
    let again = options.reply(StatusCode::OK).build().unwrap();
    let error = party.layer.respond(party.now, tx, again, &mut party.out).unwrap_err();
    assert_eq!(error.reason, Unrespondable::AlreadyFinal);
    party.receive(text, Transport::Udp); // still no new request
    party.pass(TIMEOUT);
    party.out.transmits.clear(); // the 100
    party.server_ends(tx);
    let late = options.reply(StatusCode::OK).build().unwrap();
    let error = party.layer.respond(party.now, tx, late, &mut party.out).unwrap_err();
    assert_eq!(error.reason, Unrespondable::Stale);
    party.empty();
    assert_eq!(party.layer.counters().unanswered, 1);
}

#[test]
fn rfc_3261_17_2_1_a_second_final_response_is_refused() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    assert_eq!(party.layer.request(tx), Some(&invite));
    party.respond(tx, &invite, 200);
    party.sent();
    assert_eq!(party.layer.request(tx), None);
    for status in [StatusCode::RINGING, StatusCode::BUSY_HERE] {
        let response = invite.reply(status).build().unwrap();
        let error = party.layer.respond(party.now, tx, response, &mut party.out).unwrap_err();
        assert_eq!(error.reason, Unrespondable::AlreadyFinal);
    }
    party.quiet();
}

#[test]
fn rfc_6026_7_1_an_invite_outlives_a_response_that_cannot_be_sent() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    party.respond(tx, &invite, 200);
    let sent = party.sent();
    party.cannot_send(&sent, SendError::Unreachable);
    assert!(matches!(party.event(), Event::Undelivered { tx: found, .. } if found == tx));
    party.receive(from_them("INVITE", "z9hG4bK1", ""), Transport::Udp);
    party.quiet();
    assert_eq!(party.layer.live_server(), 1);
}

#[test]
fn rfc_3261_figure_8_another_request_ends_with_a_response_that_cannot_be_sent() {
    let mut party = Party::new();
    let (tx, options) = party.incoming(&from_them("OPTIONS", "z9hG4bK1", ""));
    party.respond(tx, &options, 200);
    let sent = party.sent();
    party.cannot_send(&sent, SendError::Unreachable);
    assert!(matches!(party.event(), Event::Undelivered { .. }));
    party.server_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_17_2_3_the_same_branch_of_another_client_is_another_transaction() {
    let mut party = Party::new();
    let text = from_them("OPTIONS", "z9hG4bK1", "");
    let (first, _) = party.incoming(&text);
    let (second, _) = party.incoming(&text.replace("192.0.2.2:5060;rport", "192.0.2.2:5070;rport"));
    assert_ne!(first, second);
}

#[test]
fn rfc_3261_17_2_3_a_client_of_rfc_2543_is_matched_without_a_cookie() {
    let mut party = Party::new();
    let text = from_them("INVITE", "1", "");
    let (tx, invite) = party.incoming(&text);
    party.respond(tx, &invite, 486);
    party.sent();
    party.receive(text, Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::BUSY_HERE);
    // The To tag of the ACK must be that of our response.
    party.receive(ack("1", ";tag=somebody"), Transport::Udp);
    assert!(matches!(party.event(), Event::Ack { .. }));
    party.receive(ack("1", ";tag=us"), Transport::Udp);
    party.quiet();
    party.pass(5 * SECOND);
    party.server_ends(tx);
    party.empty();
}

#[test]
fn rfc_3581_4_the_answer_goes_where_the_request_came_from() {
    let mut party = Party::new();
    party.receive_from(from_them("OPTIONS", "z9hG4bK1", ""), Transport::Udp, "198.51.100.9:40000");
    let (tx, options) = party.new_request();
    party.respond(tx, &options, 200);
    assert_eq!(party.sent().path.remote.to_string(), "198.51.100.9:40000");
}

#[test]
fn an_ack_that_matches_nothing_goes_up() {
    let mut party = Party::new();
    party.receive(ack("z9hG4bK9", ";tag=x"), Transport::Udp);
    assert!(matches!(party.event(), Event::Ack { .. }));
    party.empty();
}
