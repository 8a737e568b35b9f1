//! UPDATE (RFC 3311) before and after the answer, and what RFC 6141 says of re-INVITEs that change and fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite};
use sip_dialog::{Body, Cause, Described, Dialogs, Error, Event};
use sip_message::StatusCode;

fn offered(dialogs: &mut Dialogs) -> sip_dialog::OfferKey {
    match dialogs.poll_event() {
        Some(Event::Offered { offer, .. }) => offer,
        other => panic!("nothing is offered: {other:?}"),
    }
}

/// RFC 3311 §5.1, §5.2: an offer by UPDATE in a call that stands; one without an offer is answered by the layer.
#[test]
fn update_after_the_answer() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.alice.update(pair.now, call, None, Some(Body::sdp("more"))).unwrap();
    pair.settle();
    let offer = offered(&mut pair.bob);
    pair.bob.answer_offer(pair.now, &offer, Body::sdp("fine")).unwrap();
    pair.settle();
    let Some(Event::UpdateAnswered { response, described: Described::Answer, .. }) = pair.alice.poll_event()
    else {
        panic!()
    };
    assert_eq!(&response.body()[..], b"fine");
    pair.bob.update(pair.now, incoming, None, None).unwrap();
    pair.settle();
    assert!(pair.alice.poll_event().is_none(), "nothing to decide");
    assert!(matches!(
        pair.bob.poll_event(),
        Some(Event::UpdateAnswered { described: Described::Nothing, .. })
    ));
    assert_eq!(pair.log, ["-> UPDATE", "<- 200 UPDATE", "<- UPDATE", "-> 200 UPDATE"]);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3311 §5.1: in an early dialog, after the answer in a reliable 1xx and its PRACK, by either side.
#[test]
fn update_before_the_answer() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    let too_early = pair.bob.update(pair.now, incoming, None, Some(Body::sdp("x")));
    assert!(matches!(too_early, Err(Error::WrongState { .. })), "the caller knows no dialog yet");
    pair.bob.ring(pair.now, incoming, StatusCode::SESSION_PROGRESS, Some(Body::sdp("answer"))).unwrap();
    let unacknowledged = pair.bob.update(pair.now, incoming, None, Some(Body::sdp("x")));
    assert!(matches!(unacknowledged, Err(Error::Pending)), "the PRACK has not come: {unacknowledged:?}");
    pair.settle();
    let Some(Event::Progress { dialog: Some(dialog), .. }) = pair.alice.poll_event() else { panic!() };
    assert!(matches!(pair.bob.poll_event(), Some(Event::ProvisionalAcknowledged { .. })));

    pair.bob.update(pair.now, incoming, None, Some(Body::sdp("hold on"))).unwrap();
    pair.settle();
    let offer = offered(&mut pair.alice);
    assert_eq!(offer.dialog, dialog);
    pair.alice.answer_offer(pair.now, &offer, Body::sdp("yes")).unwrap();
    pair.settle();
    assert!(matches!(pair.bob.poll_event(), Some(Event::UpdateAnswered { .. })));

    pair.alice.update(pair.now, call, Some(&dialog), Some(Body::sdp("changed"))).unwrap();
    pair.settle();
    let offer = offered(&mut pair.bob);
    pair.bob
        .refuse_offer(
            pair.now,
            &offer,
            StatusCode::NOT_ACCEPTABLE_HERE,
            &[("Warning", "304 bob \"Media type not available\"")],
        )
        .unwrap();
    pair.settle();
    let Some(Event::UpdateFailed { status, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE_HERE);
    pair.bob.accept(pair.now, incoming, None).unwrap();
    pair.settle();
    assert!(matches!(pair.alice.poll_event(), Some(Event::Answered { .. })));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3311 §5.1: without a session in the early dialog nothing can be offered, and what the peer offers is put off.
#[test]
fn no_update_before_there_is_a_session() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    let Some(Event::Progress { dialog, .. }) = pair.alice.poll_event() else { panic!() };
    let refused = pair.alice.update(pair.now, call, dialog.as_ref(), Some(Body::sdp("x")));
    assert!(matches!(refused, Err(Error::Pending)), "our first offer is open");
    let refused = pair.bob.update(pair.now, incoming, None, Some(Body::sdp("x")));
    assert!(matches!(refused, Err(Error::Pending)), "the first offer of the peer is open");
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3311 §5.2, §5.3: offers that cross are answered 491 on both sides, and each side waits its own time.
#[test]
fn crossing_updates() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.alice.update(pair.now, call, None, Some(Body::sdp("a"))).unwrap();
    pair.bob.update(pair.now, incoming, None, Some(Body::sdp("b"))).unwrap();
    pair.settle();
    for dialogs in [&mut pair.alice, &mut pair.bob] {
        let Some(Event::UpdateFailed { status, .. }) = dialogs.poll_event() else { panic!() };
        assert_eq!(status, StatusCode::REQUEST_PENDING);
    }
    assert!(matches!(pair.alice.update(pair.now, call, None, Some(Body::sdp("a"))), Err(Error::Pending)));
    pair.pass(Duration::from_secs(4));
    for dialogs in [&mut pair.alice, &mut pair.bob] {
        assert!(matches!(dialogs.poll_event(), Some(Event::ReinviteRetry { .. })));
    }
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3311 §5.2: an UPDATE while one is unanswered gets 500 with Retry-After; a re-INVITE waits as well (RFC 6337 §4.1).
#[test]
fn a_second_offer_while_one_is_open() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.alice.update(pair.now, call, None, Some(Body::sdp("a"))).unwrap();
    pair.settle();
    let offer = offered(&mut pair.bob);
    assert!(matches!(pair.bob.update(pair.now, incoming, None, Some(Body::sdp("b"))), Err(Error::Pending)));
    assert!(matches!(pair.bob.reinvite(pair.now, incoming, Some(Body::sdp("b"))), Err(Error::Pending)));
    assert!(matches!(pair.alice.reinvite(pair.now, call, None), Err(Error::Pending)));
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    pair.inject_to_bob(&format!(
        "UPDATE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
         From: <sip:alice@example.com>;tag={}\r\nTo: <sip:bob@example.com>;tag={}\r\nCall-ID: {}\r\n\
         CSeq: 9 UPDATE\r\nContact: <sip:alice@192.0.2.1>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        id.remote_tag, id.local_tag, id.call_id
    ));
    pair.settle();
    assert_eq!(pair.log.last().unwrap(), "<- 500 UPDATE");
    pair.bob.answer_offer(pair.now, &offer, Body::sdp("fine")).unwrap();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3311 §5.3, RFC 3261 §12.2.1.2: nobody answers the UPDATE: the call is over.
#[test]
fn an_update_that_nobody_answers() {
    let mut pair = Pair::new();
    let (call, _) = pair.connect();
    pair.lose = vec!["UPDATE"; 30];
    pair.alice.update(pair.now, call, None, Some(Body::sdp("a"))).unwrap();
    pair.pass(Duration::from_secs(33));
    assert!(pair.log.contains(&"-> BYE".to_string()));
    let ended = std::iter::from_fn(|| pair.alice.poll_event()).last();
    assert!(matches!(ended, Some(Event::Ended { cause: Cause::Lost(_), .. })), "{ended:?}");
    pair.nothing_is_left();
}

/// RFC 6141 §4.6: a re-INVITE that is refused leaves the target alone; UPDATE, a 2xx, or a reliable 1xx moves it.
#[test]
fn the_target_moves_with_what_is_accepted() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    let moving = |method: &str, cseq: u32, more: &str| {
        format!(
            "{method} sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{cseq}\r\n\
             From: <sip:alice@example.com>;tag={}\r\nTo: <sip:bob@example.com>;tag={}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:alice{cseq}@192.0.2.1>\r\nMax-Forwards: 70\r\n{more}\
             Content-Length: 0\r\n\r\n",
            id.remote_tag, id.local_tag, id.call_id
        )
    };
    let target = |pair: &Pair| pair.bob.dialog(incoming).unwrap().remote_target().user().unwrap().to_string();
    pair.inject_to_bob(&moving("INVITE", 20, ""));
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    assert_eq!(target(&pair), "alice");
    pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
    assert_eq!(target(&pair), "alice", "refused: as if it had not come");
    pair.inject_to_bob(&moving("UPDATE", 21, ""));
    assert_eq!(target(&pair), "alice21");
    pair.inject_to_bob(&moving("INVITE", 22, "Supported: 100rel\r\n"));
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    pair.bob.ring(pair.now, incoming, StatusCode::SESSION_PROGRESS, Some(Body::sdp("offer"))).unwrap();
    assert_eq!(target(&pair), "alice22", "from the reliable response on");
    pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
    assert_eq!(target(&pair), "alice22", "and it stays: a refresh is not rolled back");
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §14.1, §9: a re-INVITE that its sender cancels is told, and the session can be changed anew.
#[test]
fn a_reinvite_that_is_cancelled() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    for method in ["INVITE", "CANCEL"] {
        pair.inject_to_bob(&format!(
            "{method} sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
             From: <sip:alice@example.com>;tag={}\r\nTo: <sip:bob@example.com>;tag={}\r\nCall-ID: {}\r\n\
             CSeq: 9 {method}\r\nContact: <sip:alice@192.0.2.1>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            id.remote_tag, id.local_tag, id.call_id
        ));
    }
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    assert!(matches!(pair.bob.poll_event(), Some(Event::ReinviteCancelled { .. })));
    assert!(pair.bob.can_reinvite(incoming));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}
