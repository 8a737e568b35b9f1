//! Reliable provisional responses (RFC 3262) and where offers and answers stand in them (RFC 6337).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite};
use sip_dialog::{Body, CallKey, CallState, Cause, Described, Error, Event, ReliableProvisionals};
use sip_message::StatusCode;

const PROGRESS: StatusCode = StatusCode::SESSION_PROGRESS;

fn reliable_pair() -> Pair {
    Pair::of(|config, _| config.reliable = ReliableProvisionals::All)
}

/// Alice calls, Bob has the call.
fn calling(pair: &mut Pair, offer: Option<&'static str>) -> (CallKey, CallKey) {
    let call = pair.alice.invite(pair.now, invite(offer)).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    (call, incoming)
}

fn next(dialogs: &mut sip_dialog::Dialogs) -> Event {
    dialogs.poll_event().expect("an event")
}

/// RFC 3262 §3, §4, RFC 6337 pattern 3: the answer comes in a 183, for certain; the 200 brings nothing new.
#[test]
fn the_answer_in_a_reliable_183() {
    let mut pair = Pair::new();
    let (_, incoming) = calling(&mut pair, Some("offer"));
    pair.bob.ring(pair.now, incoming, PROGRESS, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let Event::Progress { response, described, .. } = next(&mut pair.alice) else { panic!() };
    assert_eq!(described, Described::Answer);
    assert_eq!(response.headers.text("Require"), Some("100rel"));
    let Event::ProvisionalAcknowledged { prack, described: Described::Nothing, .. } = next(&mut pair.bob)
    else {
        panic!()
    };
    let rack = format!("{} 1 INVITE", response.headers.text("RSeq").unwrap());
    assert_eq!(prack.headers.text("RAck"), Some(rack.as_str()));
    assert_eq!(pair.bob.description_due(incoming), Described::Nothing);
    assert!(matches!(
        pair.bob.accept(pair.now, incoming, Some(Body::sdp("another answer"))),
        Err(Error::Described(_))
    ));
    pair.bob.accept(pair.now, incoming, None).unwrap();
    pair.settle();
    let Event::Answered { described: Described::Nothing, .. } = next(&mut pair.alice) else { panic!() };
    assert!(matches!(next(&mut pair.bob), Event::Confirmed { .. }));
    let flow = ["-> INVITE", "<- 183 INVITE", "-> PRACK", "<- 200 PRACK", "<- 200 INVITE", "-> ACK"];
    assert_eq!(pair.log, flow);
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 6337 pattern 4: no offer in the INVITE, the offer in the 183, the answer in PRACK.
#[test]
fn the_offer_in_a_reliable_183() {
    let mut pair = Pair::new();
    let (call, incoming) = calling(&mut pair, None);
    assert_eq!(pair.bob.description_due(incoming), Described::Offer);
    pair.bob.ring(pair.now, incoming, PROGRESS, Some(Body::sdp("offer of bob"))).unwrap();
    pair.settle();
    let Event::Progress { dialog: Some(dialog), described: Described::Offer, .. } = next(&mut pair.alice)
    else {
        panic!()
    };
    assert_eq!(pair.log, ["-> INVITE", "<- 183 INVITE"], "the PRACK waits for the answer");
    pair.alice.acknowledge_provisional(pair.now, call, &dialog, Body::sdp("answer of alice")).unwrap();
    pair.settle();
    let Event::ProvisionalAcknowledged { prack, described: Described::Answer, .. } = next(&mut pair.bob)
    else {
        panic!()
    };
    assert_eq!(&prack.body()[..], b"answer of alice");
    pair.bob.accept(pair.now, incoming, None).unwrap();
    pair.settle();
    assert!(matches!(next(&mut pair.alice), Event::Answered { described: Described::Nothing, .. }));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: sent again after T1, 2·T1, 4·T1 and on without a cap, until the PRACK comes; the caller takes it once.
#[test]
fn a_lost_prack() {
    let mut pair = reliable_pair();
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.lose = vec!["PRACK"; 3];
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.pass(Duration::from_millis(3600));
    let sent = pair.log.iter().filter(|line| line.contains("180 INVITE")).count();
    assert_eq!(sent, 4, "at 0, 0.5, 1.5 and 3.5 s, when the fourth PRACK came through: {:?}", pair.log);
    let told = std::iter::from_fn(|| pair.alice.poll_event()).filter(|e| matches!(e, Event::Progress { .. }));
    assert_eq!(told.count(), 1);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: 64·T1 without a PRACK end the INVITE with a 5xx.
#[test]
fn no_prack_at_all() {
    let mut pair = reliable_pair();
    let (_, incoming) = calling(&mut pair, Some("offer"));
    pair.lose = vec!["PRACK"; 30];
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.bob.state(incoming), Some(CallState::Ringing));
    pair.pass(Duration::from_secs(2));
    assert!(pair.log.contains(&"<- 504 INVITE".to_string()), "{:?}", pair.log);
    assert!(matches!(next(&mut pair.bob), Event::Ended { cause: Cause::NotAcknowledged, .. }));
    pair.lose.clear();
    pair.nothing_is_left();
}

/// RFC 3262 §3: no second one before the PRACK of the first, numbers greater by one, and the order kept.
#[test]
fn one_after_the_other() {
    let mut pair = reliable_pair();
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.lose = vec!["183 INVITE"];
    pair.bob.ring(pair.now, incoming, PROGRESS, Some(Body::sdp("answer"))).unwrap();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> INVITE", "<- 183 INVITE (lost)"], "the 180 waits");
    pair.pass(Duration::from_secs(1));
    let numbers: Vec<(u16, u32)> = std::iter::from_fn(|| pair.alice.poll_event())
        .filter_map(|event| match event {
            Event::Progress { response, .. } => {
                Some((response.status().code(), response.headers.text("RSeq")?.parse().ok()?))
            }
            _ => None,
        })
        .collect();
    assert_eq!(numbers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [183, 180]);
    assert_eq!(numbers[1].1, numbers[0].1 + 1);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: the 2xx waits while a description of ours is not acknowledged, and goes out with the PRACK.
#[test]
fn the_2xx_waits_for_the_prack() {
    let mut pair = Pair::new();
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.lose = vec!["183 INVITE"];
    pair.bob.ring(pair.now, incoming, PROGRESS, Some(Body::sdp("answer"))).unwrap();
    pair.bob.accept(pair.now, incoming, None).unwrap();
    assert!(pair.bob.accept(pair.now, incoming, None).is_err(), "accepted once");
    pair.settle();
    assert!(!pair.log.iter().any(|line| line.contains("200 INVITE")));
    pair.pass(Duration::from_secs(1));
    let position = |what: &str| pair.log.iter().position(|line| line == what).unwrap();
    assert!(position("-> PRACK") < position("<- 200 INVITE"), "{:?}", pair.log);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: a 2xx may overtake a reliable response without a description; its PRACK is still answered.
#[test]
fn the_2xx_overtakes_a_180() {
    let mut pair = reliable_pair();
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    assert!(pair.log.contains(&"<- 200 PRACK".to_string()), "{:?}", pair.log);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: a caller that demands reliable responses gets no others; without an offer from it the first brings ours.
#[test]
fn a_caller_that_demands_it() {
    let mut pair = Pair::of(|config, _| config.reliable = ReliableProvisionals::Demanded);
    let mut demanding = invite(Some("offer"));
    demanding.fields.push(("Require".into(), "100rel".into()));
    pair.alice.invite(pair.now, demanding).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    assert!(pair.log.contains(&"-> PRACK".to_string()));
    pair.bob.reject(pair.now, incoming, StatusCode::BUSY_HERE).unwrap();
    pair.settle();

    let mut without_offer = invite(None);
    without_offer.fields.push(("Require".into(), "100rel".into()));
    pair.alice.invite(pair.now, without_offer).unwrap();
    pair.settle();
    while let Some(event) = pair.bob.poll_event() {
        if let Event::Incoming { call, .. } = event {
            let refused = pair.bob.ring(pair.now, call, StatusCode::RINGING, None);
            assert!(matches!(refused, Err(Error::Described(_))));
            pair.bob.ring(pair.now, call, PROGRESS, Some(Body::sdp("offer"))).unwrap();
            pair.bob.reject(pair.now, call, StatusCode::BUSY_HERE).unwrap();
        }
    }
    pair.nothing_is_left();
}

/// RFC 6337 §2.2: an unreliable response can carry no offer.
#[test]
fn no_offer_without_prack() {
    let mut pair = Pair::of(|config, alice| {
        if alice {
            config.supported.retain(|tag| tag != "100rel");
        }
    });
    let (call, incoming) = calling(&mut pair, None);
    let refused = pair.bob.ring(pair.now, incoming, PROGRESS, Some(Body::sdp("offer")));
    assert!(matches!(refused, Err(Error::Described(_))), "{refused:?}");
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> INVITE", "<- 180 INVITE"]);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: a PRACK for what was never sent is answered 481, and so is one that comes twice.
#[test]
fn a_prack_for_nothing() {
    let mut pair = reliable_pair();
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    pair.log.clear();
    pair.inject_to_bob(&format!(
        "PRACK sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
         From: <sip:alice@example.com>;tag={}\r\nTo: <sip:bob@example.com>;tag={}\r\nCall-ID: {}\r\n\
         CSeq: 9 PRACK\r\nRAck: 4711 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        id.remote_tag, id.local_tag, id.call_id
    ));
    pair.settle();
    assert_eq!(pair.log, ["<- 481 PRACK"]);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 6337 pattern 5: a peer may offer anew in the PRACK; the answer goes in its 2xx.
#[test]
fn an_offer_in_the_prack() {
    let mut pair = Pair::new();
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.lose = vec!["PRACK"; 30];
    pair.bob.ring(pair.now, incoming, PROGRESS, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let Event::Progress { response, .. } = next(&mut pair.alice) else { panic!() };
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    pair.inject_to_bob(&format!(
        "PRACK sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
         From: <sip:alice@example.com>;tag={}\r\nTo: <sip:bob@example.com>;tag={}\r\nCall-ID: {}\r\n\
         CSeq: 9 PRACK\r\nRAck: {} 1 INVITE\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
         Content-Length: 9\r\n\r\nnew offer",
        id.remote_tag,
        id.local_tag,
        id.call_id,
        response.headers.text("RSeq").unwrap()
    ));
    let Event::Offered { offer, request } = next(&mut pair.bob) else { panic!() };
    assert_eq!(&request.body()[..], b"new offer");
    pair.bob.answer_offer(pair.now, &offer, Body::sdp("new answer")).unwrap();
    assert!(pair.bob.answer_offer(pair.now, &offer, Body::sdp("again")).is_err());
    pair.lose.clear();
    pair.settle();
    assert!(pair.log.contains(&"<- 200 PRACK".to_string()));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: while it rings for long, a reliable response goes out every two and a half minutes.
#[test]
fn long_ringing() {
    let mut pair = Pair::of(|config, _| {
        config.reliable = ReliableProvisionals::All;
        config.ring_limit = None;
    });
    let (call, incoming) = calling(&mut pair, Some("offer"));
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.pass(Duration::from_secs(460));
    let count = |what: &str| pair.log.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("180 INVITE"), count("-> PRACK")), (4, 4), "{:?}", pair.log);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}
