//! CANCEL: RFC 3261 §9.

use super::*;
use sip_message::Headers;
use sip_transaction::CancelError;

fn cancel(party: &mut Party, tx: ClientTx) -> Result<(), CancelError> {
    party.layer.cancel(party.now, tx, &Headers::new(), &mut party.out)
}

#[test]
fn rfc_3261_9_1_the_cancel_waits_for_a_provisional_response_and_mirrors_the_invite() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    let mut extra = Headers::new();
    extra.push_raw("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"").unwrap();
    party.layer.cancel(party.now, tx, &extra, &mut party.out).unwrap();
    party.quiet();

    party.answer(&invite, 180);
    assert_eq!(party.status(), (tx, 180));
    let sent = party.sent();
    let cancel = request(&sent);
    assert_eq!((cancel.method(), cancel.uri_text()), (&Method::Cancel, invite.uri_text()));
    for name in [HeaderName::VIA, HeaderName::FROM, HeaderName::TO, HeaderName::CALL_ID, HeaderName::ROUTE] {
        assert_eq!(line(&cancel.headers, name), line(&invite.headers, name));
    }
    assert_eq!(line(&cancel.headers, HeaderName::CSEQ), "7 CANCEL");
    assert_eq!(cancel.headers.text("Reason"), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    assert_eq!(sent.path.remote.to_string(), THEM);
    assert!(cancel.check().is_ok());

    // Both end: the CANCEL by its 200, silently, the INVITE by the 487.
    party.answer(&cancel, 200);
    party.quiet();
    party.answer(&invite, 487);
    assert_eq!(party.status(), (tx, 487));
    assert_eq!(party.sent_request().method(), &Method::Ack);
    party.pass(TIMEOUT);
    party.client_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_9_1_after_a_provisional_response_the_cancel_goes_at_once_and_once() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    party.answer(&invite, 100);
    party.event();
    cancel(&mut party, tx).unwrap();
    cancel(&mut party, tx).unwrap();
    assert_eq!(party.sent_request().method(), &Method::Cancel);
    party.quiet();
}

#[test]
fn rfc_3261_9_1_a_final_response_makes_a_waiting_cancel_moot() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    cancel(&mut party, tx).unwrap();
    party.answer(&invite, 200);
    assert_eq!(party.status(), (tx, 200)); // the dialog sends ACK and BYE
    party.quiet();
    assert_eq!(cancel(&mut party, tx), Err(CancelError::AlreadyFinal));
}

#[test]
fn rfc_3261_9_1_without_any_answer_the_invite_ends_64_t1_after_the_cancel() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    party.answer(&invite, 180);
    party.event();
    party.pass(60 * SECOND);
    cancel(&mut party, tx).unwrap();
    party.pass(TIMEOUT);
    party.out.transmits.clear();
    assert_eq!(party.failed(tx), Failure::Timeout);
    party.client_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_9_1_only_a_live_invite_is_cancelled() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), udp());
    assert_eq!(cancel(&mut party, tx), Err(CancelError::Method(Method::Options)));
    party.layer.abandon(tx, &mut party.out);
    assert_eq!(cancel(&mut party, tx), Err(CancelError::Stale));
}

#[test]
fn an_invite_that_waits_for_dns_is_not_sent_at_all() {
    let mut party = Party::new();
    let uri: Uri = "sip:example.com".parse().unwrap();
    let tx = party.send(outgoing(Method::Invite), uri);
    let query = party.out.queries.pop_front().unwrap();
    cancel(&mut party, tx).unwrap();
    assert_eq!(party.failed(tx), Failure::Cancelled);
    party.client_ends(tx);
    party.resolve(&query, Records::Addresses(vec!["192.0.2.2".parse().unwrap()]));
    party.empty();
}

#[test]
fn rfc_3261_9_2_a_cancel_is_answered_200_and_told_once() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    party.respond(tx, &invite, 180);
    party.sent();
    for _ in 0..2 {
        party.receive(from_them("CANCEL", "z9hG4bK1", ""), Transport::Udp);
        let ok = party.sent_response();
        assert_eq!((ok.status(), line(&ok.headers, HeaderName::CSEQ)), (StatusCode::OK, "1 CANCEL".into()));
        // "The To tag of the response to the CANCEL and the To tag in the response to the original request SHOULD
        // be the same."
        assert_eq!(line(&ok.headers, HeaderName::TO), "<sip:bob@192.0.2.1>;tag=us");
    }
    assert!(matches!(party.event(), Event::Cancelled { tx: found, .. } if found == tx));
    party.quiet();
    party.respond(tx, &invite, 487);
    assert_eq!(party.sent_response().status(), StatusCode::REQUEST_TERMINATED);
}

#[test]
fn rfc_3261_9_2_after_the_final_response_a_cancel_has_no_effect() {
    let mut party = Party::new();
    let (tx, invite) = party.incoming(&from_them("INVITE", "z9hG4bK1", ""));
    party.respond(tx, &invite, 200);
    party.sent();
    party.receive(from_them("CANCEL", "z9hG4bK1", ""), Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::OK);
    party.quiet();
    let (_, _) = party.incoming(&from_them("INFO", "z9hG4bK2", ""));
    party.receive(from_them("CANCEL", "z9hG4bK2", ""), Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::OK);
    party.quiet();
}

#[test]
fn rfc_3261_9_2_a_cancel_that_matches_nothing_gets_481() {
    let mut party = Party::new();
    party.receive(from_them("CANCEL", "z9hG4bK1", ""), Transport::Udp);
    let response = party.sent_response();
    assert_eq!(response.status(), StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
    party.empty();
}
