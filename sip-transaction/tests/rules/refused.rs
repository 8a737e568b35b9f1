//! What is answered without a transaction: broken requests, merged ones, too many (RFC 3261 §8.2, §21).

use super::*;

#[test]
fn rfc_3261_8_2_a_request_that_breaks_a_rule_is_answered_with_the_status_for_it() {
    let good = from_them("OPTIONS", "z9hG4bK1", "");
    for (from, to, status) in [
        ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE", 400),
        ("CSeq: 1 OPTIONS", "CSeq: x OPTIONS", 400),
        ("Call-ID: theirs\r\n", "", 400),
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", 505),
        ("Content-Length: 0", "Content-Length: 9", 400),
    ] {
        let mut party = Party::new();
        party.receive(good.replacen(from, to, 1), Transport::Udp);
        let sent = party.sent();
        assert_eq!(response(&sent).status().code(), status, "{from} -> {to}");
        assert_eq!(sent.path.remote.to_string(), THEM);
        party.empty();
        assert_eq!(party.layer.counters().bad_requests, 1);
    }
}

#[test]
fn an_ack_that_breaks_a_rule_is_dropped() {
    let mut party = Party::new();
    party.receive(from_them("ACK", "z9hG4bK1", "").replace("1 ACK", "1 INVITE"), Transport::Udp);
    party.empty();
    assert_eq!(party.layer.counters().unanswerable, 1);
}

#[test]
fn a_request_without_a_readable_via_cannot_be_answered() {
    // The ingress rejects it; a caller who parses by himself gets no further.
    let mut party = Party::new();
    let text = from_them("OPTIONS", "z9hG4bK1", "").replace("Via: SIP/2.0/UDP", "Via: nonsense");
    let message = sip_message::Message::parse(text.into(), &Limits::default()).unwrap();
    let received = sip_transport::Received { message, path: udp() };
    party.layer.receive(party.now, received, &mut party.out);
    party.empty();
    assert_eq!(party.layer.counters().unanswerable, 1);
}

#[test]
fn a_response_that_breaks_a_rule_is_dropped() {
    let mut party = Party::new();
    party.send(outgoing(Method::Invite), udp());
    let mut invite = party.sent_request();
    invite.headers.remove(HeaderName::TO);
    party.answer(&invite, 200);
    party.quiet();
    assert_eq!(party.layer.counters().responses_dropped, 1);
}

#[test]
fn above_the_limit_requests_get_503_with_retry_after_but_bye_ack_and_cancel_pass() {
    let mut party = Party::with(|config| config.limits.server_transactions = 1);
    let text = from_them("INVITE", "z9hG4bK1", "");
    let (tx, invite) = party.incoming(&text);
    party.receive(from_them("INVITE", "z9hG4bK2", ""), Transport::Udp);
    let refused = party.sent_response();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u32 = line(&refused.headers, HeaderName::RETRY_AFTER).parse().unwrap();
    assert!((5..=10).contains(&seconds), "{seconds}");
    party.quiet();
    // Its ACK is known by the tag and bothers nobody.
    let to = line(&refused.headers, HeaderName::TO);
    let tag = &to[to.find(";tag=").unwrap()..];
    party.receive(from_them("ACK", "z9hG4bK2", tag), Transport::Udp);
    party.quiet();

    party.incoming(&from_them("BYE", "z9hG4bK3", ";tag=us"));
    // A flood of BYEs ends somewhere too.
    party.receive(from_them("BYE", "z9hG4bK4", ";tag=us"), Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    party.receive(from_them("CANCEL", "z9hG4bK1", ""), Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::OK);
    assert!(matches!(party.event(), Event::Cancelled { .. }));
    party.respond(tx, &invite, 487);
    party.sent();
    party.receive(from_them("ACK", "z9hG4bK9", ";tag=us"), Transport::Udp);
    assert!(matches!(party.event(), Event::Ack { .. }));
    assert_eq!(party.layer.counters().refused, 2);
}

#[test]
fn above_the_limit_nothing_but_bye_is_sent() {
    use sip_transaction::Unsendable;
    let mut party = Party::with(|config| config.limits.client_transactions = 1);
    party.send(outgoing(Method::Options), udp());
    let error =
        party.layer.send(party.now, outgoing(Method::Info), udp().into(), &mut party.out).unwrap_err();
    assert_eq!(error.reason, Unsendable::TooMany(1));
    party.send(outgoing(Method::Bye), udp());
    let error = party.layer.send(party.now, outgoing(Method::Bye), udp().into(), &mut party.out).unwrap_err();
    assert_eq!(error.reason, Unsendable::TooMany(2));
}

#[test]
fn above_the_limit_no_more_acks_wait_for_dns() {
    let mut party = Party::with(|config| config.limits.stateless_pending = 1);
    let uri: Uri = "sip:example.com".parse().unwrap();
    party.layer.send_stateless(outgoing(Method::Ack), uri.clone().into(), &mut party.out).unwrap();
    assert!(party.layer.send_stateless(outgoing(Method::Ack), uri.into(), &mut party.out).is_err());
}

#[test]
fn rfc_3261_8_2_2_2_a_merged_request_gets_482_if_that_is_wanted() {
    for wanted in [true, false] {
        let mut party = Party::with(|config| config.refuse_merged = wanted);
        let (tx, options) = party.incoming(&from_them("OPTIONS", "z9hG4bK1", ""));
        party.receive(from_them("OPTIONS", "z9hG4bK2", ""), Transport::Udp);
        if wanted {
            assert_eq!(party.sent_response().status(), StatusCode::LOOP_DETECTED);
            party.quiet();
        } else {
            party.new_request();
        }
        // Inside a dialog the rule does not apply, and it ends with the first transaction.
        party.incoming(&from_them("OPTIONS", "z9hG4bK3", ";tag=us"));
        party.respond(tx, &options, 200);
        party.sent();
        party.pass(TIMEOUT);
        party.out = Queues::new();
        party.incoming(&from_them("OPTIONS", "z9hG4bK4", ""));
    }
}
