//! Peers that break the rules, or keep to them for ever: each gets the right answer, everything comes to its end, and nothing
//! grows with what they send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{ALICE, BOB, Pair, invite, story, text};
use sip_dialog::{
    Acceptance, Body, CallState, Cause, Dialogs, Event, Notification, ReliableProvisionals, SessionTimer,
    Subscribe,
};
use sip_message::{Method, Request, Response, StatusCode};
use sip_transport::Core;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn sdp(text: &'static str) -> Option<Body> {
    Some(Body::sdp(text))
}

fn ended(dialogs: &mut Dialogs) -> Option<Cause> {
    std::iter::from_fn(|| dialogs.poll_event()).find_map(|event| match event {
        Event::Ended { cause, .. } => Some(cause),
        _ => None,
    })
}

/// Alice calls somebody whose part the test plays: nothing that she sends arrives at Bob.
fn alice_alone(pair: &mut Pair) -> Request {
    pair.lose = vec!["-> "; 100_000];
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    pair.last_request(&Method::Invite, true)
}

fn sent(pair: &Pair, method: &Method) -> usize {
    let of = pair.seen.iter().filter(|(alice, message)| {
        *alice && message.as_request().is_some_and(|request| request.method() == method)
    });
    of.count()
}

/// What Bob answers to a request in his dialog with Alice that somebody makes up.
fn in_dialog(pair: &mut Pair, method: &str, cseq: u32, to_tag: Option<&str>, more: &str) -> String {
    let call = pair.bob.calls().next().unwrap();
    let id = pair.bob.dialog(call).unwrap().id().clone();
    let to_tag = to_tag.unwrap_or(&id.local_tag);
    let body = if more == OFFER { "offer" } else { "" };
    let request = format!(
        "{method} sip:bob@{BOB} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{method}{cseq}{to_tag}\n\
         Max-Forwards: 70\nFrom: <sip:alice@example.com>;tag={}\nTo: <sip:bob@{BOB}>;tag={to_tag}\n\
         Call-ID: {}\nCSeq: {cseq} {method}\nContact: <sip:alice@{ALICE}>\n{more}Content-Length: {}\n\n{body}",
        id.remote_tag,
        id.call_id,
        body.len(),
    );
    let answer = pair.hand_bob(&request);
    answer.split(' ').nth(1).unwrap_or("none").to_owned()
}

const OFFER: &str = "Content-Type: application/sdp\n";

/// RFC 3261 §12.1: a forger rings with ten thousand tags: 32 phones are told apart, the others ring without a dialog; the answer
/// of any of them counts.
#[test]
fn endless_ringing_with_ever_new_tags() {
    for reliably in [false, true] {
        let mut pair = Pair::new();
        pair.quiet = true;
        pair.lose = vec!["-> "; 100_000];
        pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
        let transmit = pair.alice.poll_transmit().unwrap();
        let invite = Request::parse(transmit.payload, &sip_message::Limits::default()).unwrap();
        let (mut dialogs, mut pracks) = (0, 0);
        for number in 0..10_000 {
            let tag = format!("t{number}");
            let mut builder =
                invite.reply(StatusCode::RINGING).to_tag(&tag).raw("Contact", "<sip:bob@192.0.2.2>");
            if reliably {
                builder = builder.raw("Require", "100rel").raw("RSeq", "1");
            }
            let text = builder.build().unwrap().to_string();
            pair.inject_to_alice(&text);
            pracks += std::iter::from_fn(|| pair.alice.poll_transmit()).count();
            while let Some(event) = pair.alice.poll_event() {
                let Event::Progress { call, dialog, .. } = event else { panic!("{event:?}") };
                let known =
                    dialog.is_some_and(|id| pair.alice.update(pair.now, call, Some(&id), None).is_ok());
                dialogs += usize::from(known);
                pracks += std::iter::from_fn(|| pair.alice.poll_transmit()).count() - usize::from(known);
            }
        }
        assert_eq!((dialogs, pracks), (32, if reliably { 32 } else { 0 }));
        let ok = invite.reply(StatusCode::OK).to_tag("t9999").raw("Contact", "<sip:bob@192.0.2.2>").build();
        pair.answer_to_alice(&ok.unwrap());
        let call = pair.alice.calls().next().unwrap();
        assert_eq!(pair.alice.state(call), Some(CallState::Confirmed));
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.nothing_is_left();
    }
}

/// RFC 3262 §4: only the response with the next number has its PRACK, whatever jumps about.
#[test]
fn reliable_responses_whose_numbers_jump() {
    let mut pair = Pair::new();
    let invite = alice_alone(&mut pair);
    let ring = |rseq: u32| -> Response {
        let builder = invite.reply(StatusCode::RINGING).to_tag("b").raw("Contact", "<sip:bob@192.0.2.2>");
        builder.raw("Require", "100rel").raw("RSeq", &rseq.to_string()).build().unwrap()
    };
    let numbers = [7, 9, 1, u32::MAX, 7, 8, 8, 100, 6].into_iter().chain(200..1200);
    for number in numbers {
        pair.answer_to_alice(&ring(number));
    }
    let pracks = pair.seen.iter().filter_map(|(_, message)| message.as_request());
    let acks: Vec<_> = pracks.filter_map(|request| request.headers.text("RAck")).collect();
    assert_eq!(acks, ["7 1 INVITE", "8 1 INVITE"]);
    let call = pair.alice.calls().next().unwrap();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3262 §5: an offer in the 200 to PRACK has no place in any pattern of RFC 6337, and is none.
#[test]
fn an_offer_in_the_200_to_prack() {
    let mut pair = Pair::of(|config, _| config.reliable = ReliableProvisionals::All);
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.lose = vec!["<- 200 PRACK"];
    pair.bob.ring(pair.now, incoming, StatusCode::SESSION_PROGRESS, sdp("answer")).unwrap();
    pair.settle();
    let prack = pair.last_request(&Method::Prack, true);
    let offer = prack.reply(StatusCode::OK).body("application/sdp", "offer of its own").build().unwrap();
    pair.answer_to_alice(&offer);
    pair.bob.accept(pair.now, incoming, None).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["Progress", "Answered"]);
    assert!(pair.alice.can_reinvite(call));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §22.1: who is challenged for ever, by one or by two in turn, or with nonces that are always stale, gives up.
#[test]
fn challenges_without_end() {
    type Challenge = fn(usize) -> (StatusCode, &'static str, String);
    fn digest(n: usize, more: &str) -> String {
        format!("Digest realm=\"example.com\", nonce=\"n{n}\", algorithm=SHA-256, qop=\"auth\"{more}")
    }
    let servers: [Challenge; 3] = [
        |n| (StatusCode::UNAUTHORIZED, "WWW-Authenticate", digest(n, "")),
        |n| match n % 2 {
            0 => (StatusCode::PROXY_AUTHENTICATION_REQUIRED, "Proxy-Authenticate", digest(n, "")),
            _ => (StatusCode::UNAUTHORIZED, "WWW-Authenticate", digest(n, "")),
        },
        |n| (StatusCode::UNAUTHORIZED, "WWW-Authenticate", digest(n, ", stale=true")),
    ];
    for server in servers {
        let mut pair = Pair::new();
        pair.alice.authenticator().add_account(None, "alice", sip_auth::Secret::password("secret"));
        alice_alone(&mut pair);
        let mut challenges = 0;
        while pair.alice.calls().next().is_some() {
            let (status, field, value) = server(challenges);
            let invite = pair.last_request(&Method::Invite, true);
            pair.answer_to_alice(&invite.reply(status).to_tag("s").raw(field, &value).build().unwrap());
            challenges += 1;
            assert!(challenges < 20, "it goes on for ever");
        }
        assert!(challenges >= 2, "one answer at least");
        assert!(matches!(ended(&mut pair.alice), Some(Cause::Rejected(_))));
        pair.nothing_is_left();
    }
}

/// RFC 4028 §7.3: each 422 wants more than the last.
#[test]
fn intervals_that_are_never_long_enough() {
    let mut pair = Pair::of(|config, _| config.session_timer = Some(SessionTimer::default()));
    alice_alone(&mut pair);
    let mut refusals = 0_u32;
    while pair.alice.calls().next().is_some() {
        let invite = pair.last_request(&Method::Invite, true);
        refusals += 1;
        let least = (2000 + refusals).to_string();
        let too_brief =
            invite.reply(StatusCode::SESSION_INTERVAL_TOO_SMALL).to_tag("s").raw("Min-SE", &least);
        pair.answer_to_alice(&too_brief.build().unwrap());
        assert!(refusals < 20, "it goes on for ever");
    }
    assert_eq!(refusals, 5, "four times it is asked for longer");
    pair.nothing_is_left();
}

/// RFC 3261 §14.1: a peer that answers 491 for minutes: each try waits its time, and the call is as it was.
#[test]
fn glare_for_minutes() {
    let mut pair = Pair::new();
    let (call, _) = pair.connect();
    pair.lose = vec!["-> INVITE"; 100_000];
    let end = pair.now + seconds(300);
    let mut tries = 0;
    while pair.now < end {
        if pair.alice.reinvite(pair.now, call, sdp("offer 2")).is_ok() {
            pair.settle();
            let invite = pair.last_request(&Method::Invite, true);
            pair.answer_to_alice(&invite.reply(StatusCode::REQUEST_PENDING).build().unwrap());
            tries += 1;
        }
        pair.pass(Duration::from_millis(100));
    }
    // Who made the Call-ID waits 2.1 to 4 seconds.
    assert!((70..=145).contains(&tries), "{tries}");
    assert_eq!(pair.alice.state(call), Some(CallState::Confirmed));
    pair.lose.clear();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §15.1.1: BYE is answered 481: the call is over as well.
#[test]
fn a_bye_that_nobody_knows() {
    let mut pair = Pair::new();
    let (call, incoming) = pair.connect();
    pair.lose = vec!["-> BYE"];
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    let bye = pair.last_request(&Method::Bye, true);
    pair.answer_to_alice(&bye.reply(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST).build().unwrap());
    assert!(matches!(ended(&mut pair.alice), Some(Cause::HungUp)));
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §12.2.2: another tag is another dialog, which nobody has; a lower number is out of order. The call goes on.
#[test]
fn requests_that_are_not_of_this_dialog() {
    let mut pair = Pair::new();
    let (call, _) = pair.connect();
    for method in ["INFO", "UPDATE", "INVITE", "BYE", "PRACK"] {
        let more = if method == "PRACK" { "RAck: 1 1 INVITE\n" } else { "" };
        assert_eq!(in_dialog(&mut pair, method, 7, Some("changed"), more), "481", "{method}");
        assert_eq!(in_dialog(&mut pair, method, 0, None, more), "500", "{method}");
    }
    // And a 2xx to a re-INVITE whose To tag is another one: acknowledged in the dialog that there is.
    pair.lose = vec!["-> INVITE"];
    pair.alice.reinvite(pair.now, call, sdp("offer 2")).unwrap();
    pair.settle();
    let invite = pair.last_request(&Method::Invite, true).to_string();
    let (head, tag) = invite.split_once("To: ").map(|(_, to)| to.split_once(";tag=").unwrap()).unwrap();
    let tag = tag.split("\r\n").next().unwrap().to_owned();
    assert!(!head.is_empty());
    let invite = pair.last_request(&Method::Invite, true);
    let ok = invite
        .reply(StatusCode::OK)
        .raw("Contact", "<sip:bob@192.0.2.2>")
        .body("application/sdp", "answer 2");
    let changed = ok.build().unwrap().to_string().replace(&tag, "changed");
    pair.inject_to_alice(&changed);
    pair.settle();
    assert!(pair.last_request(&Method::Ack, true).to_string().contains(&tag));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3311 §5.2: one offer waits for the application; of a thousand more each is refused, and none is kept.
#[test]
fn a_storm_of_updates() {
    let mut pair = Pair::new();
    let (_, incoming) = pair.connect();
    let answers: Vec<String> =
        (2..1002).map(|cseq| in_dialog(&mut pair, "UPDATE", cseq, None, OFFER)).collect();
    assert_eq!(answers[0], "none", "it waits");
    assert!(answers[1..].iter().all(|answer| answer == "500"));
    assert_eq!(story(&mut pair.bob), ["Offered"]);
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §14.2: the same with re-INVITEs.
#[test]
fn a_storm_of_reinvites() {
    let mut pair = Pair::new();
    let (_, incoming) = pair.connect();
    let answers: Vec<String> =
        (2..1002).map(|cseq| in_dialog(&mut pair, "INVITE", cseq, None, OFFER)).collect();
    assert_eq!(answers[0], "none", "it waits");
    assert!(answers[1..].iter().all(|answer| answer == "500"));
    assert_eq!(story(&mut pair.bob), ["Reinvited"]);
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// A thousand REFERs in one call meet the limit for their source; the call goes on.
#[test]
fn a_storm_of_refers() {
    let mut pair = Pair::eventful_with(|config| config.events.max_per_source = 5);
    let (_, incoming) = pair.connect();
    let refer = "Refer-To: <sip:carol@192.0.2.9>\n";
    let answers: Vec<String> =
        (2..1002).map(|cseq| in_dialog(&mut pair, "REFER", cseq, None, refer)).collect();
    assert!(answers[..5].iter().all(|answer| answer == "none"), "they wait: {:?}", &answers[..5]);
    assert!(answers[5..].iter().all(|answer| answer == "480"));
    assert_eq!(pair.bob.subscriptions().count(), 5);
    assert_eq!(story(&mut pair.bob).len(), 5);
    assert_eq!(pair.bob.state(incoming), Some(CallState::Confirmed));
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.3: a thousand NOTIFYs of one subscription are a thousand answers and events, and one subscription.
#[test]
fn a_storm_of_notifies() {
    let mut pair = Pair::eventful();
    let to = format!("sip:bob@{BOB}").parse().unwrap();
    let plan = Subscribe::new(to, "<sip:alice@example.com>".parse().unwrap(), "presence");
    let key = pair.alice.subscribe(pair.now, plan).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    let state = Some(Notification::full(text("state")));
    pair.bob.accept_subscription(pair.now, asked, Acceptance { state, ..Acceptance::default() }).unwrap();
    pair.settle();
    story(&mut pair.alice);
    let notify = pair.last_request(&Method::Notify, false).to_string();
    let first = pair.last_request(&Method::Notify, false).headers.text("CSeq").unwrap().to_owned();
    for number in 10..1010 {
        let next = notify
            .replace(&first, &format!("{number} NOTIFY"))
            .replace("z9hG4bK", &format!("z9hG4bK{number}"));
        pair.inject_to_alice(&next);
        pair.settle();
        assert_eq!(pair.log.last().unwrap(), "-> 200 NOTIFY");
        assert_eq!(story(&mut pair.alice).last().unwrap(), "notified state");
    }
    assert_eq!(pair.alice.subscriptions().collect::<Vec<_>>(), [key]);
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 3891 §3: a thousand INVITEs that want to take over calls which nobody has: 481 each, and no call.
#[test]
fn a_storm_of_replaces() {
    let mut pair = Pair::new();
    let (_, incoming) = pair.connect();
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    for number in 0..1000 {
        // The right Call-ID does not help.
        let replaced = if number % 2 == 0 { id.call_id.as_str() } else { "nobody" };
        let answer = pair.hand_bob(&format!(
            "INVITE sip:bob@{BOB} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{number}\nMax-Forwards: 70\n\
             From: <sip:m@example.com>;tag=m{number}\nTo: <sip:bob@{BOB}>\nCall-ID: storm{number}\nCSeq: 1 INVITE\n\
             Contact: <sip:m@192.0.2.9>\nReplaces: {replaced};to-tag=t{number};from-tag=f\nContent-Length: 0\n\n"
        ));
        assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
    }
    assert_eq!((pair.bob.calls().count(), story(&mut pair.bob).len()), (1, 0));
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §13.2.2.4: the ACK is lost for ever: the callee gives up with a BYE, and the caller hears of it.
#[test]
fn an_ack_that_is_lost_for_ever() {
    let mut pair = Pair::new();
    pair.lose = vec!["-> ACK"; 100];
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.accept(pair.now, incoming, sdp("answer")).unwrap();
    pair.pass(seconds(40));
    assert!(sent(&pair, &Method::Ack) >= 8, "each 2xx has its ACK");
    assert!(matches!(ended(&mut pair.bob), Some(Cause::NotAcknowledged)));
    assert!(matches!(ended(&mut pair.alice), Some(Cause::HungUpByPeer(_))));
    pair.nothing_is_left();
}
