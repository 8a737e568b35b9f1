//! Calls that end, or INVITEs that fail, while something else is under way: nothing is left unanswered, and both sides know
//! what holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite, story};
use sip_dialog::{
    Body, CallKey, CallState, Cause, Described, Dialogs, Error, Event, OfferKey, Refer, ReliableProvisionals,
    Report, SessionTimer,
};
use sip_message::{Method, Request, Response, StatusCode};

const PROGRESS: StatusCode = StatusCode::SESSION_PROGRESS;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn reliable_pair() -> Pair {
    Pair::of(|config, _| config.reliable = ReliableProvisionals::All)
}

fn sdp(text: &'static str) -> Option<Body> {
    Some(Body::sdp(text))
}

fn find<T>(dialogs: &mut Dialogs, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    std::iter::from_fn(|| dialogs.poll_event()).find_map(&mut wanted).expect("the event")
}

fn cause(dialogs: &mut Dialogs) -> Cause {
    find(dialogs, |event| match event {
        Event::Ended { cause, .. } => Some(cause),
        _ => None,
    })
}

fn offered(dialogs: &mut Dialogs) -> OfferKey {
    find(dialogs, |event| match event {
        Event::Offered { offer, .. } => Some(offer),
        _ => None,
    })
}

/// Alice's re-INVITE has reached Bob.
fn reinvited(pair: &mut Pair, offer: Option<Body>) -> (CallKey, CallKey) {
    let (call, incoming) = pair.connect();
    pair.alice.reinvite(pair.now, call, offer).unwrap();
    pair.settle();
    (call, incoming)
}

/// RFC 3261 §13.2.2.4: the 2xx to a re-INVITE arrives when the BYE behind it is answered already: it has its ACK all the same,
/// and each repetition too.
#[test]
fn a_reinvite_that_is_answered_after_the_end_is_acknowledged() {
    let mut pair = Pair::new();
    let (call, incoming) = reinvited(&mut pair, sdp("offer 2"));
    pair.bob.accept(pair.now, incoming, sdp("answer 2")).unwrap();
    let late = pair.taken_from_bob();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    assert_eq!(pair.alice.state(call), None);
    for _ in 0..2 {
        pair.log.clear();
        pair.inject_to_alice(&late);
        pair.settle();
        assert_eq!(pair.log, ["-> ACK"]);
        assert_eq!(pair.last_request(&Method::Ack, true).headers.text("CSeq"), Some("2 ACK"));
    }
    pair.nothing_is_left();
}

/// RFC 3261 §9.1: a re-INVITE that nobody answers would live as long as the proxies before us keep it: it is cancelled.
#[test]
fn a_reinvite_without_an_answer_is_cancelled_after_the_end() {
    let mut pair = Pair::new();
    let (call, incoming) = reinvited(&mut pair, sdp("offer 2"));
    pair.pass(Duration::from_millis(300)); // the 100
    pair.lose = vec!["-> BYE"; 20];
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.pass(seconds(33));
    assert_eq!(pair.alice.state(call), None);
    let end: Vec<&str> = pair.log.iter().rev().take(4).rev().map(String::as_str).collect();
    assert_eq!(end, ["-> CANCEL", "<- 200 CANCEL", "<- 487 INVITE", "-> ACK"]);
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §13.2.2.4: the 2xx to a re-INVITE brought an offer that is not answered yet when either side hangs up.
#[test]
fn an_offer_in_a_2xx_that_is_never_answered_is_acknowledged() {
    for alice_hangs_up in [true, false] {
        let mut pair = Pair::new();
        let (call, incoming) = reinvited(&mut pair, None);
        pair.bob.accept(pair.now, incoming, sdp("offer 2")).unwrap();
        pair.settle();
        pair.log.clear();
        match alice_hangs_up {
            true => pair.alice.hang_up(pair.now, call).unwrap(),
            false => pair.bob.hang_up(pair.now, incoming).unwrap(),
        }
        pair.settle();
        let flow: &[&str] = if alice_hangs_up {
            &["-> ACK", "-> BYE", "<- 200 BYE"]
        } else {
            &["<- BYE", "-> 200 BYE", "-> ACK"]
        };
        assert_eq!(pair.log, flow);
        pair.nothing_is_left();
    }
}

/// RFC 3261 §14.2, RFC 6337 §4: an INVITE without an offer asks for one, and its 2xx must bring it: meanwhile neither side may
/// offer by UPDATE.
#[test]
fn no_update_while_a_reinvite_asks_for_an_offer() {
    let mut pair = Pair::new();
    let (call, incoming) = reinvited(&mut pair, None);
    assert_eq!(pair.bob.update(pair.now, incoming, None, sdp("offer 2")), Err(Error::Pending));
    assert_eq!(pair.alice.update(pair.now, call, None, sdp("offer 2")), Err(Error::Pending));
    assert_eq!(pair.bob.description_due(incoming), Described::Offer);
    pair.bob.accept(pair.now, incoming, sdp("offer 2")).unwrap();
    pair.settle();
    pair.alice.acknowledge(pair.now, call, Body::sdp("answer 2")).unwrap();
    pair.settle();
    assert_eq!(pair.alice.update(pair.now, call, None, sdp("offer 3")), Ok(()));
    pair.settle();
    let offer = offered(&mut pair.bob);
    pair.bob.answer_offer(pair.now, &offer, Body::sdp("answer 3")).unwrap();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 6141 §3.3: what a re-INVITE agreed in a reliable response stays when it fails, and so does what an UPDATE offers meanwhile.
#[test]
fn a_reinvite_that_fails_takes_no_update_with_it() {
    let mut pair = reliable_pair();
    let (call, incoming) = reinvited(&mut pair, sdp("offer 2"));
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("answer 2")).unwrap();
    pair.settle();
    pair.alice.update(pair.now, call, None, sdp("offer 3")).unwrap();
    pair.settle();
    let offer = offered(&mut pair.bob);
    pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
    pair.settle();
    pair.bob.answer_offer(pair.now, &offer, Body::sdp("answer 3")).unwrap();
    pair.settle();
    let described = find(&mut pair.alice, |event| match event {
        Event::UpdateAnswered { described, .. } => Some(described),
        _ => None,
    });
    assert_eq!(described, Described::Answer);
    assert!(pair.alice.can_reinvite(call) && pair.bob.can_reinvite(incoming));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 6141 §3.3: what a reliable response to a re-INVITE offered is off when the re-INVITE fails first.
#[test]
fn an_offer_is_off_with_the_reinvite_that_brought_it() {
    let mut pair = reliable_pair();
    let (call, incoming) = reinvited(&mut pair, None);
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("offer 2")).unwrap();
    pair.settle();
    let dialog = pair.alice.dialog(call).unwrap().id().clone();
    pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
    pair.settle();
    let late = pair.alice.acknowledge_provisional(pair.now, call, &dialog, Body::sdp("answer 2"));
    assert!(matches!(late, Err(Error::WrongState { .. })), "{late:?}");
    assert!(pair.alice.can_reinvite(call) && pair.bob.can_reinvite(incoming));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §3: the PRACK with the answer comes after the end of its INVITE and gets 481: whoever answered is told, so that the
/// two do not believe in different sessions.
#[test]
fn an_answer_in_a_prack_that_comes_too_late_is_told() {
    let mut pair = reliable_pair();
    let (call, incoming) = reinvited(&mut pair, None);
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("offer 2")).unwrap();
    pair.settle();
    let dialog = pair.alice.dialog(call).unwrap().id().clone();
    pair.lose = vec!["-> PRACK"];
    pair.alice.acknowledge_provisional(pair.now, call, &dialog, Body::sdp("answer 2")).unwrap();
    pair.settle();
    pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
    pair.pass(seconds(1));
    let status = find(&mut pair.alice, |event| match event {
        Event::AnswerRefused { status, .. } => Some(status),
        _ => None,
    });
    assert_eq!(status, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
    assert_eq!(pair.alice.state(call), Some(CallState::Confirmed), "the call goes on");
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.1.2: no answer to a PRACK in a call that stands: nobody is there any more.
#[test]
fn a_prack_without_an_answer_in_a_call_that_stands() {
    let mut pair = reliable_pair();
    let (_, incoming) = reinvited(&mut pair, sdp("offer 2"));
    pair.lose = vec!["-> PRACK"; 20];
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("answer 2")).unwrap();
    pair.pass(seconds(33));
    assert!(matches!(cause(&mut pair.alice), Cause::Lost(StatusCode::REQUEST_TIMEOUT)));
    pair.nothing_is_left();
}

/// RFC 3261 §15.1.2: what waits for the application when a call is given up is answered 487.
#[test]
fn an_offer_that_waits_when_the_call_is_cancelled_is_answered() {
    let mut pair = reliable_pair();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("answer")).unwrap();
    pair.settle();
    let dialog = find(&mut pair.alice, |event| match event {
        Event::Progress { dialog, .. } => dialog,
        _ => None,
    });
    pair.alice.update(pair.now, call, Some(&dialog), sdp("offer 2")).unwrap();
    pair.settle();
    let offer = offered(&mut pair.bob);
    pair.log.clear();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> CANCEL", "<- 200 CANCEL", "<- 487 INVITE", "<- 487 UPDATE", "-> ACK"]);
    assert!(pair.bob.answer_offer(pair.now, &offer, Body::sdp("answer 2")).is_err());
    pair.nothing_is_left();
}

/// RFC 3311 §5.2: who has given a call up hears of no further offers in it.
#[test]
fn an_offer_to_one_who_cancels_is_refused() {
    let mut pair = reliable_pair();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("answer")).unwrap();
    pair.settle();
    pair.lose = vec!["-> CANCEL"];
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    pair.bob.update(pair.now, incoming, None, sdp("offer 2")).unwrap();
    pair.settle();
    assert_eq!(pair.log.last().unwrap(), "-> 491 UPDATE");
    assert!(!story(&mut pair.alice).contains(&"Offered".to_string()));
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.1.2, §9: nobody answers our UPDATE while it rings. The INVITE is not forgotten but cancelled: else a 2xx to it
/// would have neither ACK nor BYE.
#[test]
fn an_update_without_an_answer_while_it_rings() {
    let mut pair = reliable_pair();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("answer")).unwrap();
    pair.settle();
    let dialog = find(&mut pair.alice, |event| match event {
        Event::Progress { dialog, .. } => dialog,
        _ => None,
    });
    pair.lose = vec!["-> UPDATE"; 20];
    pair.alice.update(pair.now, call, Some(&dialog), sdp("offer 2")).unwrap();
    pair.pass(seconds(33));
    let end: Vec<&str> = pair.log.iter().rev().take(4).rev().map(String::as_str).collect();
    assert_eq!(end, ["-> CANCEL", "<- 200 CANCEL", "<- 487 INVITE", "-> ACK"]);
    assert!(matches!(cause(&mut pair.alice), Cause::Lost(StatusCode::REQUEST_TIMEOUT)));
    pair.nothing_is_left();
}

/// RFC 3261 §13.3.1.4: every 2xx is lost, the callee gives up with a BYE, which comes in the early dialog of the caller.
#[test]
fn a_bye_for_a_2xx_that_never_came() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    pair.lose = vec!["<- 200 INVITE"; 20];
    pair.bob.accept(pair.now, incoming, sdp("answer")).unwrap();
    pair.pass_until("<- BYE");
    assert!(pair.log.contains(&"-> 200 BYE".to_string()));
    assert_eq!(pair.alice.state(call), Some(CallState::Cancelling), "the proxies must forget it too");
    pair.pass(seconds(40));
    assert!(matches!(cause(&mut pair.alice), Cause::HungUpByPeer(_)));
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.2: a PRACK sent after the BYE could overtake it, and the BYE would be refused as out of order.
#[test]
fn no_prack_after_the_bye() {
    let mut pair = reliable_pair();
    let (call, incoming) = reinvited(&mut pair, sdp("offer 2"));
    pair.lose = vec!["-> BYE"];
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    pair.bob.ring(pair.now, incoming, PROGRESS, sdp("answer 2")).unwrap();
    pair.pass(seconds(1));
    assert!(!pair.log.contains(&"-> PRACK".to_string()));
    assert_eq!(pair.alice.calls().count() + pair.bob.calls().count(), 0);
    pair.nothing_is_left();
}

/// The same of a NOTIFY, which cannot wait: the BYE that it overtook was refused with 500, and another one goes.
#[test]
fn a_bye_that_a_notify_overtook_is_sent_again() {
    let mut pair = Pair::eventful();
    let (call, incoming) = pair.connect();
    let carol = "sip:carol@192.0.2.9".parse().unwrap();
    let asked = pair.alice.refer(pair.now, call, Refer::new(carol)).unwrap();
    pair.settle();
    let referred = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, referred).unwrap();
    pair.settle();
    pair.log.clear();
    pair.lose = vec!["<- BYE"];
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.settle();
    pair.bob.report(pair.now, referred, &Report::new(StatusCode::OK)).unwrap();
    pair.pass(seconds(1));
    let byes: Vec<&str> = pair.log.iter().filter(|line| line.contains("BYE")).map(String::as_str).collect();
    assert_eq!(byes, ["<- BYE (lost)", "<- BYE", "-> 500 BYE", "<- BYE", "-> 200 BYE"]);
    assert!(matches!(cause(&mut pair.alice), Cause::HungUpByPeer(_)));
    assert!(matches!(cause(&mut pair.bob), Cause::HungUp));
    assert_eq!(pair.alice.subscription(asked), None);
    pair.nothing_is_left();
}

/// RFC 4028 §10: a refresh that crosses another change is refused for now; the session must not end of it.
#[test]
fn a_session_refresh_that_is_refused_for_now_is_sent_again() {
    for status in [StatusCode::REQUEST_PENDING, StatusCode::SERVER_INTERNAL_ERROR] {
        let mut pair = Pair::of(|config, _| {
            config.session_timer = Some(SessionTimer { interval: 90, minimum: 90 });
        });
        let (call, _) = pair.connect();
        pair.lose = vec!["-> UPDATE"];
        pair.pass_until("-> UPDATE (lost)");
        let refused = pair.last_request(&Method::Update, true).reply(status).build().unwrap();
        pair.answer_to_alice(&refused);
        pair.log.clear();
        pair.pass(seconds(3));
        assert_eq!(pair.log, ["-> UPDATE", "<- 200 UPDATE"], "{status}");
        pair.pass(seconds(600));
        assert_eq!(pair.alice.state(call), Some(CallState::Confirmed));
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.nothing_is_left();
    }
}

/// A phone of a forked INVITE that has rung and been acknowledged, and answers after another one.
fn late_phone(keep_forks: bool) -> (Pair, Vec<Request>) {
    let mut pair = Pair::of(|config, alice| config.keep_forks = alice && keep_forks);
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.lose = vec!["-> "; 100];
    pair.settle();
    let sent = pair.last_request(&Method::Invite, true);
    let answer = |status: StatusCode, tag: &str, reliably: bool, body: &'static str| -> Response {
        let mut builder = sent.reply(status).to_tag(tag).raw("Contact", &format!("<sip:{tag}@192.0.2.2>"));
        if reliably {
            builder = builder.raw("Require", "100rel").raw("RSeq", "1");
        }
        if !body.is_empty() {
            builder = builder.body("application/sdp", body);
        }
        builder.build().unwrap()
    };
    pair.answer_to_alice(&answer(PROGRESS, "late", true, "answer"));
    let prack = pair.last_request(&Method::Prack, true);
    pair.answer_to_alice(&prack.reply(StatusCode::OK).build().unwrap());
    pair.answer_to_alice(&answer(StatusCode::OK, "first", false, "answer"));
    pair.answer_to_alice(&answer(StatusCode::OK, "late", false, ""));
    let requests = pair.seen.iter().filter_map(|(_, message)| message.as_request().cloned()).collect();
    (pair, requests)
}

/// RFC 3261 §12.2.1.1: its dialog goes on with the numbers that it had while it rang.
#[test]
fn a_phone_that_answers_late_is_hung_up_with_a_new_number() {
    let (mut pair, requests) = late_phone(false);
    let of_late = requests.iter().filter(|it| it.headers.text("To").is_some_and(|to| to.contains("late")));
    let numbers: Vec<_> = of_late.map(|request| request.headers.text("CSeq").unwrap()).collect();
    assert_eq!(numbers, ["2 PRACK", "1 ACK", "3 BYE"]);
    let calls: Vec<CallKey> = pair.alice.calls().collect();
    pair.alice.hang_up(pair.now, calls[0]).unwrap();
    pair.nothing_is_left();
}

/// RFC 6337 §3.1: and with the session that it had: the answer came before, and the 2xx has none.
#[test]
fn a_phone_that_answers_late_keeps_its_session() {
    let (mut pair, _) = late_phone(true);
    let call = find(&mut pair.alice, |event| match event {
        Event::Forked { call, .. } => Some(call),
        _ => None,
    });
    assert!(pair.alice.can_reinvite(call), "no offer is open");
    for call in pair.alice.calls().collect::<Vec<CallKey>>() {
        pair.alice.hang_up(pair.now, call).unwrap();
    }
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.1.2: a phone that rings leaves an UPDATE unanswered, or knows its dialog no more: it is out, and the call
/// goes to the other one that rings.
#[test]
fn an_update_to_one_phone_of_a_fork_is_lost() {
    for gone in [false, true] {
        let mut pair = Pair::new();
        let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
        pair.lose = vec!["-> "; 100];
        pair.settle();
        let sent = pair.last_request(&Method::Invite, true);
        for tag in ["first", "other"] {
            let builder = sent.reply(PROGRESS).to_tag(tag).raw("Contact", &format!("<sip:{tag}@192.0.2.2>"));
            let builder = builder.raw("Require", "100rel").raw("RSeq", "1").body("application/sdp", "answer");
            pair.answer_to_alice(&builder.build().unwrap());
            let prack = pair.last_request(&Method::Prack, true);
            pair.answer_to_alice(&prack.reply(StatusCode::OK).build().unwrap());
        }
        let dialog = find(&mut pair.alice, |event| match event {
            Event::Progress { dialog, .. } => dialog.filter(|dialog| dialog.remote_tag == "first"),
            _ => None,
        });
        pair.alice.update(pair.now, call, Some(&dialog), sdp("offer 2")).unwrap();
        pair.settle();
        match gone {
            false => pair.pass(Duration::from_secs(33)),
            true => {
                let update = pair.last_request(&Method::Update, true);
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                pair.answer_to_alice(&update.reply(status).build().unwrap());
            }
        }
        assert_eq!(pair.alice.state(call), Some(CallState::Calling), "the other one rings on");
        let ok = sent.reply(StatusCode::OK).to_tag("other").raw("Contact", "<sip:other@192.0.2.2>");
        pair.answer_to_alice(&ok.build().unwrap());
        assert_eq!(pair.alice.state(call), Some(CallState::Confirmed));
        assert_eq!(pair.alice.dialog(call).unwrap().id().remote_tag, "other");
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.nothing_is_left();
    }
}

/// RFC 3261 §12.2.1.2: an UPDATE to a phone that lost the fork is answered after another phone has the call: that concerns
/// neither the session of the call nor the UPDATE that is under way in it.
#[test]
fn an_answer_in_the_dialog_of_another_phone() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.lose = vec!["-> "; 100];
    pair.settle();
    let sent = pair.last_request(&Method::Invite, true);
    let mut updates = Vec::new();
    for tag in ["first", "other"] {
        let builder = sent.reply(PROGRESS).to_tag(tag).raw("Contact", &format!("<sip:{tag}@192.0.2.2>"));
        let builder = builder.raw("Require", "100rel").raw("RSeq", "1").body("application/sdp", "answer");
        pair.answer_to_alice(&builder.build().unwrap());
        let dialog = find(&mut pair.alice, |event| match event {
            Event::Progress { dialog, .. } => dialog,
            _ => None,
        });
        pair.alice.update(pair.now, call, Some(&dialog), sdp("offer 2")).unwrap();
        pair.settle();
        updates.push(pair.last_request(&Method::Update, true));
    }
    let ok =
        sent.reply(StatusCode::OK).to_tag("first").raw("Contact", "<sip:first@192.0.2.2>").build().unwrap();
    pair.answer_to_alice(&ok);
    assert_eq!(story(&mut pair.alice), ["Answered"]);
    let answer =
        |update: &Request| update.reply(StatusCode::OK).body("application/sdp", "answer 2").build().unwrap();
    pair.answer_to_alice(&answer(&updates[1]));
    assert_eq!(story(&mut pair.alice), [""; 0]);
    assert!(!pair.alice.can_reinvite(call), "its own UPDATE is open");
    pair.answer_to_alice(&answer(&updates[0]));
    assert_eq!(story(&mut pair.alice), ["UpdateAnswered"]);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.1.2: the same UPDATE is never answered: the call that stands with another phone goes on.
#[test]
fn no_answer_in_the_dialog_of_another_phone() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.lose = vec!["-> "; 100];
    pair.settle();
    let sent = pair.last_request(&Method::Invite, true);
    let builder = sent.reply(PROGRESS).to_tag("other").raw("Contact", "<sip:other@192.0.2.2>");
    let builder = builder.raw("Require", "100rel").raw("RSeq", "1").body("application/sdp", "answer");
    pair.answer_to_alice(&builder.build().unwrap());
    let prack = pair.last_request(&Method::Prack, true);
    pair.answer_to_alice(&prack.reply(StatusCode::OK).build().unwrap());
    let dialog = find(&mut pair.alice, |event| match event {
        Event::Progress { dialog, .. } => dialog,
        _ => None,
    });
    pair.alice.update(pair.now, call, Some(&dialog), sdp("offer 2")).unwrap();
    let ok = sent.reply(StatusCode::OK).to_tag("first").raw("Contact", "<sip:first@192.0.2.2>");
    pair.answer_to_alice(&ok.body("application/sdp", "answer").build().unwrap());
    pair.pass(Duration::from_secs(33));
    assert_eq!(pair.alice.state(call), Some(CallState::Confirmed));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}
