//! Calls between two phones, flow by flow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{ALICE, BOB, Pair, invite};
use sip_dialog::{Body, CallState, Cause, Described, Event};
use sip_message::{Limits, Method, Request, StatusCode};
use sip_transport::{Core, Path, Transport, ingress};

fn ended(dialogs: &mut sip_dialog::Dialogs) -> Cause {
    match dialogs.poll_event() {
        Some(Event::Ended { cause, .. }) => cause,
        other => panic!("not ended: {other:?}"),
    }
}

/// RFC 3665 §3.1: ring, answer, hang up.
#[test]
fn a_call_from_invite_to_bye() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    assert!(matches!(pair.alice.poll_event(), Some(Event::Progress { .. })));
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let Some(Event::Answered { response, described: Described::Answer, .. }) = pair.alice.poll_event() else {
        panic!()
    };
    assert_eq!(&response.body()[..], b"answer");
    assert!(matches!(pair.bob.poll_event(), Some(Event::Confirmed { .. })));
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.settle();
    assert!(matches!(ended(&mut pair.alice), Cause::HungUpByPeer(_)));
    assert!(matches!(ended(&mut pair.bob), Cause::HungUp));
    assert_eq!(pair.log, ["-> INVITE", "<- 180 INVITE", "<- 200 INVITE", "-> ACK", "<- BYE", "-> 200 BYE"]);
    assert!(pair.alice.hang_up(pair.now, call).is_err());
    pair.nothing_is_left();
}

/// RFC 3261 §13.3.1.4 and §13.2.2.4: the 2xx is repeated until the ACK, the ACK for each repetition.
#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_2xx() {
    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.lose = vec!["200 INVITE", "ACK", "ACK"];
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.pass(Duration::from_millis(499));
    assert_eq!(pair.log.last().unwrap(), "<- 200 INVITE (lost)");
    pair.pass(Duration::from_secs(10));
    assert!(matches!(pair.bob.poll_event(), Some(Event::Confirmed { .. })));
    assert_eq!(pair.log.iter().filter(|line| line.contains("200 INVITE")).count(), 4);
    assert_eq!(pair.log.iter().filter(|line| line.contains("ACK")).count(), 3);
    assert!(matches!(pair.alice.poll_event(), Some(Event::Answered { .. })));
    assert!(pair.alice.poll_event().is_none(), "a repeated 2xx is not told twice");
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §13.3.1.4: without an ACK in 64·T1 the callee ends the session with a BYE.
#[test]
fn no_ack_at_all_ends_with_bye() {
    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.lose = vec!["ACK"; 20];
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.bob.state(incoming), Some(CallState::Answered));
    pair.pass(Duration::from_secs(2));
    assert!(pair.log.contains(&"<- BYE".to_string()));
    assert!(matches!(ended(&mut pair.bob), Cause::NotAcknowledged));
    pair.nothing_is_left();
}

/// RFC 3261 §9.1: CANCEL waits for a provisional response; the INVITE ends with 487.
#[test]
fn cancel_before_the_answer() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> INVITE"]);
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    assert_eq!(
        pair.log,
        ["-> INVITE", "<- 180 INVITE", "-> CANCEL", "<- 200 CANCEL", "<- 487 INVITE", "-> ACK"]
    );
    assert!(matches!(ended(&mut pair.alice), Cause::Cancelled));
    assert!(matches!(ended(&mut pair.bob), Cause::CancelledByCaller(_)));
    pair.nothing_is_left();
}

/// RFC 3261 §9.1: a 2xx that crosses the CANCEL makes a call, which is hung up at once.
#[test]
fn a_2xx_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    pair.lose = vec!["CANCEL"];
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.pass(Duration::from_secs(1));
    assert!(
        pair.log.contains(&"-> ACK".to_string()) && pair.log.contains(&"-> BYE".to_string()),
        "{:?}",
        pair.log
    );
    let events: Vec<Event> = std::iter::from_fn(|| pair.alice.poll_event()).collect();
    assert!(!events.iter().any(|event| matches!(event, Event::Answered { .. })));
    assert!(matches!(events.last(), Some(Event::Ended { cause: Cause::Cancelled, .. })));
    pair.nothing_is_left();
}

/// RFC 3261 §13.2.2.3, §17.1.1.3: a refusal ends the call, its ACK is the transaction's.
#[test]
fn busy() {
    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.reject(pair.now, incoming, StatusCode::BUSY_HERE).unwrap();
    pair.settle();
    let Cause::Rejected(response) = ended(&mut pair.alice) else { panic!() };
    assert_eq!(response.status(), StatusCode::BUSY_HERE);
    assert_eq!(pair.log.last().unwrap(), "-> ACK");
    pair.nothing_is_left();
}

/// RFC 3261 §13.2.1: the offer may come in the 2xx; the answer goes in the ACK, which is repeated with it.
#[test]
fn delayed_offer() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(None)).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("offer of bob"))).unwrap();
    pair.settle();
    let Some(Event::Answered { described: Described::Offer, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(pair.alice.state(call), Some(CallState::AnswerDue));
    pair.lose = vec!["ACK"];
    pair.alice.acknowledge(pair.now, call, Body::sdp("answer of alice")).unwrap();
    pair.pass(Duration::from_secs(2));
    let Some(Event::Confirmed { ack: Some(ack), .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(&ack.body()[..], b"answer of alice");
    assert!(pair.alice.acknowledge(pair.now, call, Body::sdp("twice")).is_err());
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §14: a re-INVITE from either side; the CSeq of each side counts for itself.
#[test]
fn reinvites() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.bob.reinvite(pair.now, incoming, Some(Body::sdp("hold"))).unwrap();
    pair.settle();
    let Some(Event::Reinvited { request, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(request.headers.text("CSeq"), Some("1 INVITE"));
    pair.alice.accept(pair.now, call, Some(Body::sdp("held"))).unwrap();
    pair.settle();
    let Some(Event::ReinviteAnswered { response, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(&response.body()[..], b"held");
    assert!(matches!(pair.alice.poll_event(), Some(Event::Confirmed { .. })));
    // A refused one leaves the call as it was.
    pair.alice.reinvite(pair.now, call, Some(Body::sdp("video"))).unwrap();
    pair.settle();
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
    pair.settle();
    let Some(Event::ReinviteFailed { status: StatusCode::NOT_ACCEPTABLE_HERE, .. }) = pair.alice.poll_event()
    else {
        panic!()
    };
    assert_eq!(pair.alice.state(call), Some(CallState::Confirmed));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §14.1, §14.2: both offer at once; both get 491; who made the Call-ID waits longer; both succeed.
#[test]
fn glare() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.alice.reinvite(pair.now, call, Some(Body::sdp("a"))).unwrap();
    pair.bob.reinvite(pair.now, incoming, Some(Body::sdp("b"))).unwrap();
    pair.settle();
    let Some(Event::ReinviteFailed { status, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(status, StatusCode::REQUEST_PENDING);
    assert!(matches!(pair.bob.poll_event(), Some(Event::ReinviteFailed { .. })));
    assert_eq!(pair.alice.reinvite(pair.now, call, None), Err(sip_dialog::Error::Pending));
    pair.pass(Duration::from_millis(2000));
    assert!(matches!(pair.bob.poll_event(), Some(Event::ReinviteRetry { .. })));
    assert!(pair.alice.poll_event().is_none());
    pair.pass(Duration::from_millis(2000));
    assert!(matches!(pair.alice.poll_event(), Some(Event::ReinviteRetry { .. })));
    assert!(pair.alice.can_reinvite(call));
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 5407 §3.1.4, §3.1.5: a re-INVITE in place of a lost ACK is taken if the 2xx was an answer, and refused with 491
/// while the answer to an offer of ours is awaited.
#[test]
fn a_reinvite_overtakes_the_ack() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.lose = vec!["ACK"];
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    assert_eq!(pair.bob.state(incoming), Some(CallState::Answered));
    pair.alice.reinvite(pair.now, call, None).unwrap();
    pair.settle();
    assert!(matches!(pair.bob.poll_event(), Some(Event::Confirmed { ack: None, .. })));
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("offer of bob"))).unwrap();
    pair.settle();
    assert!(matches!(pair.alice.poll_event(), Some(Event::Answered { .. })));
    assert!(matches!(
        pair.alice.poll_event(),
        Some(Event::ReinviteAnswered { described: Described::Offer, .. })
    ));
    pair.lose = vec!["ACK"];
    pair.alice.acknowledge(pair.now, call, Body::sdp("answer of alice")).unwrap();
    pair.settle();
    pair.alice.reinvite(pair.now, call, Some(Body::sdp("again"))).unwrap();
    pair.settle();
    let Some(Event::ReinviteFailed { status, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(status, StatusCode::REQUEST_PENDING);
    pair.pass(Duration::from_secs(1));
    assert!(matches!(pair.bob.poll_event(), Some(Event::Confirmed { ack: Some(_), .. })));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §15.1.2: BYE for a dialog that does not exist is answered 481; both BYEs crossing end both sides.
#[test]
fn crossing_byes() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.settle();
    assert!(matches!(ended(&mut pair.alice), Cause::HungUp));
    assert!(matches!(ended(&mut pair.bob), Cause::HungUp));
    pair.nothing_is_left();
}

/// RFC 3261 §15: the callee may not send BYE before the ACK; hanging up waits for it.
#[test]
fn hang_up_before_the_ack() {
    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.lose = vec!["ACK"];
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.settle();
    assert!(!pair.log.contains(&"<- BYE".to_string()));
    pair.pass(Duration::from_secs(1));
    assert!(pair.log.contains(&"<- BYE".to_string()));
    pair.nothing_is_left();
}

fn to_bob(pair: &mut Pair, text: &str) -> Vec<sip_message::Response> {
    let (local, remote) = (BOB.parse().unwrap(), ALICE.parse().unwrap());
    let path = Path { transport: Transport::Udp, local, remote, flow: None };
    let received = ingress::datagram(text.to_string().into(), path, &Limits::default()).unwrap();
    pair.bob.receive(pair.now, received);
    std::iter::from_fn(|| pair.bob.poll_transmit())
        .map(|transmit| sip_message::Response::parse(transmit.payload, &Limits::default()).unwrap())
        .collect()
}

fn request(method: &str, to_tag: &str, cseq: u32, more: &str) -> String {
    format!(
        "{method} sip:bob@{BOB} SIP/2.0\r\nVia: SIP/2.0/UDP {ALICE};branch=z9hG4bK{method}{cseq}\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>{to_tag}\r\nCall-ID: x\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:alice@{ALICE}>\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// RFC 3261 §8.2.1 (405 with Allow), §8.2.2.3 (420 with Unsupported), §12.2.2 (481, 500).
#[test]
fn what_is_refused_and_how() {
    let mut pair = Pair::new();
    let unknown = to_bob(&mut pair, &request("FLY", "", 1, ""));
    assert_eq!(unknown[0].status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(unknown[0].headers.text("Allow").unwrap().starts_with("INVITE, ACK, "));
    let needs = to_bob(&mut pair, &request("INVITE", "", 1, "Require: precondition, eventlist\r\n"));
    assert_eq!(needs[0].status(), StatusCode::BAD_EXTENSION);
    let tags: Vec<_> = needs[0].headers.raw("Unsupported").collect();
    assert_eq!(tags, [&b"precondition"[..], b"eventlist"]);
    for method in ["BYE", "INFO", "OPTIONS", "INVITE"] {
        let answer = to_bob(&mut pair, &request(method, ";tag=unknown", 2, ""));
        assert_eq!(answer[0].status(), StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, "{method}");
    }
    assert!(pair.bob.poll_event().is_none(), "nothing of this concerns the application");
    pair.nothing_is_left();
}

/// RFC 3261 §8.1.1.8, §8.2.2, RFC 3515 §2.4.1, RFC 6665 §8.2.1: what a method asks for and a request lacks.
#[test]
fn what_a_method_asks_for() {
    let mut pair = Pair::new();
    let cases = [
        ("INVITE", "Contact: <sip:b@h>\r\n", 400, "Exactly one Contact with a SIP or SIPS URI is needed"),
        ("INVITE", "Require: a b\r\n", 400, "Malformed Require"),
        ("INVITE", "Replaces: x\r\n", 400, "Malformed Replaces"),
        ("INFO", "Target-Dialog: x;local-tag=1\r\n", 400, "Malformed Target-Dialog"),
    ];
    for (cseq, (method, fields, status, reason)) in (1..).zip(cases) {
        let answers = to_bob(&mut pair, &request(method, "", cseq, fields));
        assert_eq!(answers[0].status().code(), status, "{fields}");
        assert!(answers[0].reason().starts_with(reason), "{}", answers[0].reason());
        assert!(answers[0].headers.require::<sip_message::headers::To>().unwrap().tag().is_some());
    }
    let elsewhere = request("INVITE", "", 9, "").replace(&format!("<sip:alice@{ALICE}>"), "<tel:+15550100>");
    let answers = to_bob(&mut pair, &elsewhere);
    assert_eq!(answers[0].status().code(), 400, "a dialog whose requests lead nowhere");
    assert!(pair.bob.poll_event().is_none(), "nothing of this concerns the application");
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.2: a request with a lower CSeq than one before is refused with 500 and changes nothing.
#[test]
fn out_of_order_in_a_dialog() {
    let mut pair = Pair::new();
    to_bob(&mut pair, &request("INVITE", "", 5, ""));
    let incoming = pair.bob_is_called();
    pair.bob.accept(pair.now, incoming, None).unwrap();
    while pair.bob.poll_transmit().is_some() {}
    let tag = format!(";tag={}", pair.bob.dialog(incoming).unwrap().id().local_tag);
    let late = to_bob(&mut pair, &request("INFO", &tag, 4, ""));
    assert_eq!(late[0].status(), StatusCode::SERVER_INTERNAL_ERROR);
    assert!(pair.bob.poll_event().is_none());
    // The ACK of another INVITE does not confirm this one.
    assert!(to_bob(&mut pair, &request("ACK", &tag, 4, "")).is_empty());
    assert_eq!(pair.bob.state(incoming), Some(CallState::Answered));
    assert!(to_bob(&mut pair, &request("ACK", &tag, 5, "")).is_empty());
    assert_eq!(pair.bob.state(incoming), Some(CallState::Confirmed));
    let bye = to_bob(&mut pair, &request("BYE", &tag, 6, ""));
    assert_eq!(bye[0].status(), StatusCode::OK);
    pair.nothing_is_left();
}

/// RFC 3261 §13.2.2.4: two phones answer one forked INVITE: one is kept, the other acknowledged and hung up.
#[test]
fn two_answers_to_a_forked_invite() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    let sent = Request::parse(pair.alice.poll_transmit().unwrap().payload, &Limits::default()).unwrap();
    let answer = |status: StatusCode, tag: &str| {
        let contact = format!("<sip:{tag}@192.0.2.9>");
        sent.reply(status).to_tag(tag).raw("Contact", &contact).build().unwrap()
    };
    let deliver = |pair: &mut Pair, response: sip_message::Response| -> Vec<Request> {
        let (local, remote) = (ALICE.parse().unwrap(), BOB.parse().unwrap());
        let path = Path { transport: Transport::Udp, local, remote, flow: None };
        let received = ingress::datagram(response.to_bytes(), path, &Limits::default()).unwrap();
        pair.alice.receive(pair.now, received);
        std::iter::from_fn(|| pair.alice.poll_transmit())
            .map(|transmit| Request::parse(transmit.payload, &Limits::default()).unwrap())
            .collect()
    };
    assert!(deliver(&mut pair, answer(StatusCode::RINGING, "one")).is_empty());
    assert!(deliver(&mut pair, answer(StatusCode::RINGING, "two")).is_empty());
    let first = deliver(&mut pair, answer(StatusCode::OK, "two"));
    assert_eq!(first.iter().map(Request::method).collect::<Vec<_>>(), [&Method::Ack]);
    let second = deliver(&mut pair, answer(StatusCode::OK, "one"));
    assert_eq!(second.iter().map(Request::method).collect::<Vec<_>>(), [&Method::Ack, &Method::Bye]);
    assert!(second.iter().all(|request| request.uri_text() == "sip:one@192.0.2.9"));
    assert_eq!(second[1].headers.text("CSeq"), Some("2 BYE"));
    // Each 2xx again: each its own ACK again, no second BYE.
    let again = deliver(&mut pair, answer(StatusCode::OK, "one"));
    assert_eq!(again.iter().map(Request::method).collect::<Vec<_>>(), [&Method::Ack]);
    let again = deliver(&mut pair, answer(StatusCode::OK, "two"));
    assert_eq!(again[0].uri_text(), "sip:two@192.0.2.9");
    assert_eq!(pair.alice.dialog(call).unwrap().id().remote_tag, "two");
    let kinds: Vec<_> = std::iter::from_fn(|| pair.alice.poll_event()).collect();
    assert_eq!(kinds.len(), 3, "two ring, one answers: {kinds:?}");
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// One who answers a single INVITE with 2xx of ever new tags gets 32 ACKs and BYEs, and no more memory than that.
#[test]
fn forged_answers_of_a_fork_come_to_an_end() {
    let mut by_hand = ByHand { pair: Pair::new() };
    by_hand.pair.alice.invite(by_hand.pair.now, invite(Some("offer"))).unwrap();
    let sent = by_hand.sent().remove(0);
    let mut byes = 0;
    for number in 0..100 {
        let tag = format!("t{number}");
        let answer =
            sent.reply(StatusCode::OK).to_tag(&tag).raw("Contact", "<sip:bob@192.0.2.2>").build().unwrap();
        byes += by_hand.answer(&answer).iter().filter(|request| request.method() == &Method::Bye).count();
    }
    assert_eq!(byes, 32);
    let calls: Vec<_> = by_hand.pair.alice.calls().collect();
    by_hand.pair.alice.hang_up(by_hand.pair.now, calls[0]).unwrap();
    by_hand.pair.nothing_is_left();
}

/// Nobody there: the caller is told after 64·T1 (RFC 3261 §17.1.1.2, Timer B).
#[test]
fn unreachable() {
    let mut pair = Pair::new();
    pair.lose = vec!["INVITE"; 20];
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.pass(Duration::from_secs(33));
    assert!(matches!(ended(&mut pair.alice), Cause::Failed(sip_transaction::Failure::Timeout)));
    pair.nothing_is_left();
}

/// A provisional response is repeated every minute (RFC 3261 §13.3.1.1).
#[test]
fn long_ringing() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.pass(Duration::from_secs(185));
    assert_eq!(pair.log.iter().filter(|line| line.contains("180")).count(), 4);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// Bob's side played by hand: takes what Alice sends, gives back what the test says.
struct ByHand {
    pair: Pair,
}

impl ByHand {
    fn sent(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.pair.alice.poll_transmit())
            .map(|transmit| Request::parse(transmit.payload, &Limits::default()).unwrap())
            .collect()
    }

    fn answer(&mut self, response: &sip_message::Response) -> Vec<Request> {
        let (local, remote) = (ALICE.parse().unwrap(), BOB.parse().unwrap());
        let path = Path { transport: Transport::Udp, local, remote, flow: None };
        let received = ingress::datagram(response.to_bytes(), path, &Limits::default()).unwrap();
        self.pair.alice.receive(self.pair.now, received);
        self.sent()
    }
}

fn proxy_challenge(nonce: &str) -> String {
    format!("Digest realm=\"example.com\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"")
}

/// RFC 3261 §22.2, §22.3: a challenged INVITE goes again with the next CSeq, the same Call-ID and From tag; its ACK
/// carries the same credentials (§22.1), later requests of the dialog the same nonce with the next count.
#[test]
fn a_challenged_invite_and_what_follows_it() {
    let mut by_hand = ByHand { pair: Pair::new() };
    let secret = sip_auth::Secret::password("secret");
    by_hand.pair.alice.authenticator().add_account(None, "alice", secret);
    let call = by_hand.pair.alice.invite(by_hand.pair.now, invite(Some("offer"))).unwrap();
    let first = by_hand.sent().remove(0);
    let challenge = first
        .reply(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
        .to_tag("p")
        .raw("Proxy-Authenticate", &proxy_challenge("n1"))
        .build()
        .unwrap();
    let sent = by_hand.answer(&challenge);
    assert_eq!(sent.iter().map(Request::method).collect::<Vec<_>>(), [&Method::Ack, &Method::Invite]);
    let second = &sent[1];
    assert_eq!(second.headers.text("CSeq"), Some("2 INVITE"));
    assert_eq!(second.headers.text("Call-ID"), first.headers.text("Call-ID"));
    assert_eq!(second.headers.text("From"), first.headers.text("From"));
    assert_eq!(second.headers.text("To"), first.headers.text("To"));
    assert!(second.headers.text("Proxy-Authorization").unwrap().contains("nc=00000001"));
    let ok = second.reply(StatusCode::OK).to_tag("b").raw("Contact", "<sip:bob@192.0.2.2>").build().unwrap();
    let ack = by_hand.answer(&ok).remove(0);
    assert_eq!(ack.headers.text("CSeq"), Some("2 ACK"));
    assert_eq!(ack.headers.text("Proxy-Authorization"), second.headers.text("Proxy-Authorization"));
    by_hand.pair.alice.hang_up(by_hand.pair.now, call).unwrap();
    let bye = by_hand.sent().remove(0);
    assert_eq!(bye.headers.text("CSeq"), Some("3 BYE"));
    assert!(bye.headers.text("Proxy-Authorization").unwrap().contains("nc=00000002"));
    // A nonce that has become stale is answered once more, and the dialog counts on.
    let stale = bye
        .reply(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
        .raw("Proxy-Authenticate", &(proxy_challenge("n2") + ", stale=true"))
        .build()
        .unwrap();
    let again = by_hand.answer(&stale).remove(0);
    assert_eq!(again.headers.text("CSeq"), Some("4 BYE"));
    by_hand.answer(&again.reply(StatusCode::OK).build().unwrap());
    by_hand.pair.nothing_is_left();
}

/// RFC 3261 §22.1: credentials that were refused are not sent again; the call has failed.
#[test]
fn a_wrong_password_is_tried_once() {
    let mut by_hand = ByHand { pair: Pair::new() };
    by_hand.pair.alice.authenticator().add_account(None, "alice", sip_auth::Secret::password("wrong"));
    by_hand.pair.alice.invite(by_hand.pair.now, invite(Some("offer"))).unwrap();
    let mut request = by_hand.sent().remove(0);
    for nonce in ["n1", "n2"] {
        let challenge = request
            .reply(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
            .to_tag("p")
            .raw("Proxy-Authenticate", &proxy_challenge(nonce))
            .build()
            .unwrap();
        let sent = by_hand.answer(&challenge);
        assert_eq!(sent[0].method(), &Method::Ack);
        match sent.into_iter().nth(1) {
            Some(again) => request = again,
            None => assert_eq!(nonce, "n2", "the first challenge is answered"),
        }
    }
    let Cause::Rejected(response) = ended(&mut by_hand.pair.alice) else { panic!() };
    assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    by_hand.pair.nothing_is_left();
}

/// RFC 3261 §8.1.1.8, §12.1.1, RFC 5630 §5.1: and `sip` ones where the call is `sip`, over TLS as well.
#[test]
fn a_call_to_a_sips_uri_has_sips_contacts_on_both_sides() {
    for (uri, scheme) in
        [("sips:bob@192.0.2.2:5061", "sips:"), ("sip:bob@192.0.2.2:5061;transport=tls", "sip:")]
    {
        let phone = |address: &str, seed| {
            let local = sip_transport::Local::new(Transport::Tls, address.parse().unwrap());
            let locals = sip_transport::Locals::new(vec![local]);
            sip_dialog::Dialogs::new(sip_dialog::Config::new(sip_transaction::Config::new(
                [seed; 32], locals,
            )))
        };
        let mut pair =
            Pair { alice: phone("192.0.2.1:5061", 1), bob: phone("192.0.2.2:5061", 2), ..Pair::new() };
        let to = uri.parse().unwrap();
        pair.alice.invite(pair.now, sip_dialog::Invite { to, ..invite(Some("offer")) }).unwrap();
        let sent = pair.alice.poll_transmit().unwrap();
        assert_eq!(sent.path.transport, Transport::Tls);
        let request = Request::parse(sent.payload.clone(), &Limits::default()).unwrap();
        assert!(
            request.headers.text("Contact").unwrap().starts_with(&format!("<{scheme}alice@192.0.2.1:5061"))
        );
        let mut path = Path::to(Transport::Tls, "192.0.2.1:40000".parse().unwrap());
        path.local = "192.0.2.2:5061".parse().unwrap();
        let received = ingress::datagram(sent.payload, path, &Limits::default()).unwrap();
        pair.bob.receive(pair.now, received);
        let incoming = pair.bob_is_called();
        pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
        let answer = std::iter::from_fn(|| pair.bob.poll_transmit()).last().unwrap();
        let answer = sip_message::Response::parse(answer.payload, &Limits::default()).unwrap();
        assert!(answer.headers.text("Contact").unwrap().starts_with(&format!("<{scheme}bob@192.0.2.2:5061")));
    }
    let mut pair = Pair::new();
    let to = "sips:bob@192.0.2.2".parse().unwrap();
    let refused = pair.alice.invite(pair.now, sip_dialog::Invite { to, ..invite(None) });
    assert!(matches!(refused, Err(sip_dialog::Error::NoListener)), "no Contact that is sips, no call");
}
