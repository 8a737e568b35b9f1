//! Subscriptions between two phones, flow by flow (RFC 6665).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{ALICE, BOB, Pair, story, text};
use sip_dialog::{
    Acceptance, Error, Event, Notification, Subscribe, SubscriptionChange, SubscriptionKey,
    SubscriptionStage, TerminationReason,
};
use sip_message::headers::{self, Expires, MinExpires, SubscriptionState};
use sip_message::{Header, Method, Request, StatusCode};
use sip_transport::Core;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn plan(expires: u32) -> Subscribe {
    let to = format!("sip:bob@{BOB}").parse().unwrap();
    let mut plan = Subscribe::new(to, "Alice <sip:alice@example.com>".parse().unwrap(), "presence");
    plan.expires = expires;
    plan
}

fn state(body: &str) -> Option<Notification> {
    Some(Notification::full(text(body)))
}

fn active(body: &str) -> Acceptance {
    Acceptance { state: state(body), ..Acceptance::default() }
}

/// Alice subscribes, Bob accepts; their events are taken.
fn subscribed(
    pair: &mut Pair,
    plan: Subscribe,
    acceptance: Acceptance,
) -> (SubscriptionKey, SubscriptionKey) {
    let key = pair.alice.subscribe(pair.now, plan).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, acceptance).unwrap();
    pair.settle();
    story(&mut pair.alice);
    story(&mut pair.bob);
    pair.log.clear();
    (key, asked)
}

/// A NOTIFY that somebody makes by hand for Alice's last SUBSCRIBE.
fn notify(subscribe: &Request, tag: &str, cseq: u32, event: &str, state: &str, body: &str) -> String {
    let (call_id, from) =
        (subscribe.headers.text("Call-ID").unwrap(), subscribe.headers.text("From").unwrap());
    let length = body.len();
    format!(
        "NOTIFY sip:alice@{ALICE} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{tag}{cseq}\n\
         Max-Forwards: 70\nFrom: <sip:bob@{BOB}>;tag={tag}\nTo: {from}\nCall-ID: {call_id}\nCSeq: {cseq} NOTIFY\n\
         Contact: <sip:bob@192.0.2.9>\nEvent: {event}\nSubscription-State: {state}\n\
         Content-Type: text/plain\nContent-Length: {length}\n\n{body}"
    )
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

/// RFC 6665 §4.1.2, §4.2.1.2: 200, at once the state; changes; the end by Expires: 0 with a last NOTIFY.
#[test]
fn from_subscribe_to_unsubscribe() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.settle();
    assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::NotifyWait));
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("closed")).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
    assert_eq!(story(&mut pair.alice), ["notified closed", "active 3600"]);
    pair.bob.notify(pair.now, asked, Notification::full(text("open"))).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open"]);
    pair.log.clear();
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
    assert_eq!(story(&mut pair.alice), ["notified open", "terminated ByUs"]);
    assert_eq!(story(&mut pair.bob), ["ended Unsubscribed"]);
    let last: SubscriptionState = pair.last_request(&Method::Notify, false).headers.require().unwrap();
    assert_eq!((last.is_terminated(), last.reason()), (true, Some("timeout")));
    assert_eq!(pair.alice.unsubscribe(pair.now, key), Err(Error::NoSuchSubscription));
    pair.nothing_is_left();
}

/// RFC 6665 §4.2.1.3: 200 at once, a neutral state while somebody is asked, then the state, or a no.
#[test]
fn a_pending_subscription_tells_nothing_until_it_is_allowed() {
    for allowed in [true, false] {
        let mut pair = Pair::eventful();
        pair.alice.subscribe(pair.now, plan(3600)).unwrap();
        pair.settle();
        let asked = pair.bob_is_asked();
        let pending = Acceptance {
            pending: true,
            neutral: Some(text("nothing")),
            state: state("secret"),
            ..Acceptance::default()
        };
        pair.bob.accept_subscription(pair.now, asked, pending).unwrap();
        pair.bob.notify(pair.now, asked, Notification::full(text("more secret"))).unwrap();
        pair.settle();
        assert_eq!(story(&mut pair.alice), ["notified nothing", "pending 3600"]);
        pair.pass(seconds(100));
        if allowed {
            pair.bob.activate_subscription(pair.now, asked, None).unwrap();
            pair.settle();
            assert_eq!(story(&mut pair.alice), ["notified more secret", "active 3500"]);
            pair.bob
                .terminate_subscription(pair.now, asked, &TerminationReason::NoResource, None, None)
                .unwrap();
            pair.settle();
            assert_eq!(story(&mut pair.alice), ["notified more secret", "terminated noresource"]);
        } else {
            pair.bob
                .terminate_subscription(pair.now, asked, &TerminationReason::Rejected, None, None)
                .unwrap();
            pair.settle();
            assert_eq!(story(&mut pair.alice), ["notified", "terminated rejected"]);
        }
        pair.nothing_is_left();
    }
}

/// RFC 6665 §4.1.2.4: the NOTIFY makes the dialog, and may come before the 2xx.
#[test]
fn a_notify_before_the_2xx() {
    let mut pair = Pair::eventful();
    pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.lose = vec!["200 SUBSCRIBE"];
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open", "active 3600"]);
    pair.pass(seconds(1));
    assert_eq!(pair.log.iter().filter(|line| line.as_str() == "<- 200 SUBSCRIBE").count(), 1);
    pair.pass(seconds(40));
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.bob.terminate_subscription(pair.now, asked, &TerminationReason::NoResource, None, None).unwrap();
    pair.nothing_is_left();
}

/// RFC 6665 §4.4.1: the route set and the target of the dialog are those of the NOTIFY.
#[test]
fn the_route_set_is_that_of_the_notify() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.lose = vec!["SUBSCRIBE"; 20];
    pair.settle();
    let subscribe = pair.last_request(&Method::Subscribe, true);
    let routed = notify(&subscribe, "n1", 1, "presence", "active;expires=600", "")
        .replace("Event:", "Record-Route: <sip:192.0.2.7;lr>, <sip:192.0.2.8;lr>\nEvent:");
    assert_eq!(status(&pair.hand_alice(&routed)), "200");
    pair.pass(seconds(33)); // the SUBSCRIBE has no answer, and needs none
    assert_eq!(story(&mut pair.alice), ["notified", "active 600"]);
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    let last = pair.last_request(&Method::Subscribe, true);
    assert_eq!(last.uri_text(), "sip:bob@192.0.2.9");
    let routes: Vec<_> =
        last.headers.all::<headers::Route>().map(|route| route.unwrap().to_string()).collect();
    assert_eq!(routes, ["<sip:192.0.2.7;lr>", "<sip:192.0.2.8;lr>"]);
    assert_eq!(last.headers.text("CSeq"), Some("2 SUBSCRIBE"));
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.2.4: Timer N; a NOTIFY after it makes nothing any more.
#[test]
fn no_notify_at_all() {
    let mut pair = Pair::eventful();
    pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.lose = vec!["NOTIFY"; 20];
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    pair.pass(seconds(31));
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.pass(seconds(2));
    assert_eq!(story(&mut pair.alice), ["terminated NoNotify"]);
    assert_eq!(story(&mut pair.bob), ["ended NotifyFailed(Timeout)"]); // §4.2.2
    let subscribe = pair.last_request(&Method::Subscribe, true);
    assert_eq!(status(&pair.hand_alice(&notify(&subscribe, "late", 1, "presence", "active", ""))), "481");
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.4: each notifier that a forked SUBSCRIBE reaches makes a subscription of its own.
#[test]
fn a_forked_subscribe() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("desk")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified desk", "active 3600"]);
    let subscribe = pair.last_request(&Method::Subscribe, true);
    assert_eq!(
        status(&pair.hand_alice(&notify(&subscribe, "cell", 1, "presence", "active;expires=90", "cell"))),
        "200"
    );
    let Some(Event::Subscription { key: fork, what: SubscriptionChange::Forked { of } }) =
        pair.alice.poll_event()
    else {
        panic!()
    };
    assert_eq!((of, fork == key), (key, false));
    assert_eq!(story(&mut pair.alice), ["notified cell", "active 90"]);
    // It is refreshed in its own dialog.
    pair.lose = vec!["SUBSCRIBE"; 20];
    pair.pass(seconds(80));
    let refresh = pair.last_request(&Method::Subscribe, true);
    assert!(refresh.headers.text("To").unwrap().ends_with("tag=cell"));
    assert_eq!(refresh.headers.require::<Expires>().unwrap(), Expires(3600));
    // Nobody answers: this one ends, is not made anew, and the other one stands.
    pair.pass(seconds(40));
    assert_eq!(story(&mut pair.alice), ["terminated NoNotify"]);
    assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::Active));
    // There is a limit to what one SUBSCRIBE can make.
    pair.lose.clear();
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    pair.alice.subscribe(pair.now, plan(0)).unwrap();
    pair.settle();
    let subscribe = pair.last_request(&Method::Subscribe, true);
    let answers: Vec<String> = (0..20)
        .map(|n| pair.hand_alice(&notify(&subscribe, &format!("f{n}"), 1, "presence", "active", "")))
        .collect();
    assert_eq!(answers.iter().filter(|answer| status(answer) == "200").count(), 17);
    assert_eq!(status(answers.last().unwrap()), "481");
    pair.nothing_is_left();
}

/// RFC 6665 §4.4.1: a NOTIFY that was late is of the dialog that is over, and no fork of its SUBSCRIBE.
#[test]
fn a_late_notify_of_a_dialog_that_is_over() {
    let mut pair = Pair::eventful();
    let (key, _) = subscribed(&mut pair, plan(3600), active("here"));
    let subscribe = pair.last_request(&Method::Subscribe, true);
    let notifier = pair.last_request(&Method::Notify, false).headers.require::<headers::From>().unwrap();
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified here", "terminated ByUs"]);
    let late = notify(&subscribe, notifier.tag().unwrap(), 9, "presence", "active;expires=90", "late");
    assert_eq!(status(&pair.hand_alice(&late)), "481");
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.2.2: refreshed in time, at a moment of its own, each time with the state.
#[test]
fn a_subscription_is_refreshed_before_it_ends() {
    let mut pair = Pair::eventful();
    let (key, _) = subscribed(&mut pair, plan(600), active("open"));
    for _ in 0..3 {
        pair.pass(seconds(535));
        assert!(pair.log.is_empty(), "{:?}", pair.log);
        pair.pass(seconds(35));
        assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
        assert_eq!(story(&mut pair.alice), ["notified open"]);
        assert_eq!(story(&mut pair.bob), ["refreshed 600"]);
        // Once more now, so that the next time begins here.
        pair.alice.refresh(pair.now, key).unwrap();
        pair.settle();
        story(&mut pair.alice);
        story(&mut pair.bob);
        pair.log.clear();
    }
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.2.1, §4.1.3: the shorter of what the 2xx and the NOTIFY say, and never more than was asked for.
#[test]
fn the_shorter_duration_holds() {
    let mut pair = Pair::eventful();
    pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    let acceptance = Acceptance { expires: Some(1200), ..active("open") };
    pair.bob.accept_subscription(pair.now, asked, acceptance).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open", "active 1200"]);
    let subscribe = pair.last_request(&Method::Subscribe, true);
    let tag = pair.last_request(&Method::Notify, false);
    let tag = tag.headers.require::<headers::From>().unwrap().tag().unwrap().to_string();
    // A NOTIFY shortens it to 300 s; one that says more than before changes nothing.
    for expires in [300, 7200] {
        let shorter = notify(&subscribe, &tag, expires, "presence", &format!("active;expires={expires}"), "");
        assert_eq!(status(&pair.hand_alice(&shorter)), "200");
    }
    pair.log.clear();
    pair.lose = vec!["SUBSCRIBE"; 20];
    pair.pass(seconds(235));
    assert!(pair.log.is_empty());
    pair.pass(seconds(34));
    assert_eq!(pair.log[0], "-> SUBSCRIBE (lost)");
    pair.lose.clear();
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.1.3, §4.4.2: what each reason means for the subscription, on the wire.
#[test]
fn after_each_reason_it_is_made_anew_when_the_rfc_says_so() {
    let retry = Some(seconds(120));
    let cases = [
        (TerminationReason::Deactivated, retry, "terminated deactivated, again in 0", Some(0)),
        (TerminationReason::Probation, retry, "terminated probation, again in 120", Some(120)),
        (TerminationReason::GiveUp, retry, "terminated giveup, again in 120", Some(120)),
        (TerminationReason::Timeout, None, "terminated timeout, again in 0", Some(0)),
        (TerminationReason::Other("lunch".into()), retry, "terminated lunch, again in 120", Some(120)),
        (TerminationReason::Rejected, retry, "terminated rejected", None),
        (TerminationReason::NoResource, retry, "terminated noresource", None),
        (TerminationReason::Invariant, retry, "terminated invariant", None),
    ];
    for (reason, retry_after, told, again) in cases {
        let mut pair = Pair::eventful();
        let (key, asked) = subscribed(&mut pair, plan(3600), active("open"));
        let first = pair.last_request(&Method::Subscribe, true);
        pair.bob.terminate_subscription(pair.now, asked, &reason, retry_after, None).unwrap();
        pair.settle();
        assert_eq!(story(&mut pair.alice).last().unwrap(), told);
        pair.log.clear();
        let Some(again) = again else {
            pair.pass(seconds(4000));
            assert!(pair.log.is_empty(), "{reason:?}: {:?}", pair.log);
            assert_eq!(pair.alice.subscription(key), None);
            pair.nothing_is_left();
            continue;
        };
        if again > 0 {
            pair.pass(seconds(again - 1));
            assert!(pair.log.is_empty(), "{reason:?}");
            assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::Between));
        }
        pair.pass(seconds(2));
        // A new dialog, under the key that the application has.
        assert_eq!(pair.log[0], "-> SUBSCRIBE", "{reason:?}");
        let second = pair.last_request(&Method::Subscribe, true);
        assert_ne!(first.headers.text("Call-ID"), second.headers.text("Call-ID"));
        assert!(second.headers.require::<headers::To>().unwrap().tag().is_none());
        let asked = pair.bob_is_asked();
        pair.bob.accept_subscription(pair.now, asked, active("back")).unwrap();
        pair.settle();
        assert_eq!(story(&mut pair.alice), ["notified back", "active 3600"]);
        pair.nothing_is_left_after_unsubscribing();
    }
}

/// A notifier that ends each subscription at once is asked less and less often.
#[test]
fn a_notifier_that_always_deactivates_is_not_asked_all_the_time() {
    let mut pair = Pair::eventful();
    pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    let begin = pair.now;
    let mut times = Vec::new();
    while pair.now < begin + seconds(600) {
        pair.settle();
        if let Some(Event::SubscriptionRequested { key, .. }) = pair.bob.poll_event() {
            times.push((pair.now - begin).as_secs());
            pair.bob.accept_subscription(pair.now, key, active("open")).unwrap();
            pair.bob
                .terminate_subscription(pair.now, key, &TerminationReason::Deactivated, None, None)
                .unwrap();
        }
        pair.pass(Duration::from_millis(500));
    }
    assert!((8..14).contains(&times.len()), "{times:?}");
    for key in pair.alice.subscriptions().collect::<Vec<_>>() {
        pair.alice.unsubscribe(pair.now, key).unwrap();
    }
    assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated ByUs");
    pair.nothing_is_left();
}

/// One that grants no time, or next to none, is not asked all the time either.
#[test]
fn a_notifier_that_grants_next_to_nothing() {
    for (expires, most) in [(0, 15), (1, 61)] {
        let mut pair = Pair::eventful();
        pair.alice.subscribe(pair.now, plan(3600)).unwrap();
        let begin = pair.now;
        let mut subscribes = 0;
        while pair.now < begin + seconds(60) {
            pair.settle();
            while let Some(Event::SubscriptionRequested { .. }) = pair.bob.poll_event() {
                subscribes += 1;
                let subscribe = pair.last_request(&Method::Subscribe, true);
                let state = format!("active;expires={expires}");
                let tag = format!("n{subscribes}");
                assert_eq!(
                    status(&pair.hand_alice(&notify(&subscribe, &tag, 1, "presence", &state, ""))),
                    "200"
                );
            }
            pair.pass(Duration::from_millis(100));
        }
        let sent = pair.seen.iter().filter(|(alice, message)| {
            *alice && message.as_request().is_some_and(|request| *request.method() == Method::Subscribe)
        });
        let distinct: std::collections::HashSet<String> =
            sent.map(|(_, message)| message.headers().text("Via").unwrap().to_string()).collect();
        assert!((2..=most).contains(&distinct.len()), "{expires}: {}", distinct.len());
        pair.nothing_is_left_after_unsubscribing();
    }
}

/// What servers send without a subscription is taken where the application asks for it, and else answered 481.
#[test]
fn notifies_that_nobody_asked_for() {
    let mut pair = Pair::eventful_with(|config| config.events.unsolicited = vec!["message-summary".into()]);
    let unsolicited = |event: &str, to: &str| {
        format!(
            "NOTIFY sip:alice@{ALICE} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{event}{}\nMax-Forwards: 70\n\
             From: <sip:pbx@192.0.2.9>;tag=1\nTo: <sip:alice@{ALICE}>{to}\nCall-ID: c{event}{to}\nCSeq: 1 NOTIFY\n\
             Contact: <sip:pbx@192.0.2.9>\nEvent: {event}\nSubscription-State: active\nContent-Length: 0\n\n",
            to.len()
        )
    };
    assert_eq!(status(&pair.hand_alice(&unsolicited("message-summary", ""))), "no answer");
    let Some(Event::Request { tx, request, .. }) = pair.alice.poll_event() else { panic!() };
    pair.alice.respond(pair.now, tx, request.reply(StatusCode::OK).to_tag("t").build().unwrap()).unwrap();
    pair.settle();
    assert_eq!(status(&pair.hand_alice(&unsolicited("presence", ""))), "481");
    assert_eq!(status(&pair.hand_alice(&unsolicited("message-summary", ";tag=x"))), "481");
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.nothing_is_left();
}

/// A fork answers with its NOTIFY, the other one challenges: the numbers of the dialog go on from the SUBSCRIBE with
/// credentials.
#[test]
fn a_notify_before_a_challenge() {
    let mut pair = Pair::eventful();
    pair.alice.authenticator().add_account(None, "alice", sip_auth::Secret::password("secret"));
    let key = pair.alice.subscribe(pair.now, plan(600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    let subscribe = pair.last_request(&Method::Subscribe, true);
    let early = notify(&subscribe, "n1", 1, "presence", "active;expires=600", "open");
    assert_eq!(status(&pair.hand_alice(&early)), "200");
    let challenge = ("WWW-Authenticate", "Digest realm=\"b\", nonce=\"1\", qop=\"auth\"");
    pair.bob.reject_subscription(pair.now, asked, StatusCode::UNAUTHORIZED, &[challenge]).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.reject_subscription(pair.now, asked, StatusCode::FORBIDDEN, &[]).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open", "active 600"], "the dialog that there is stays");
    pair.alice.refresh(pair.now, key).unwrap();
    assert_eq!(pair.alice.refresh(pair.now, key), Err(Error::Pending));
    pair.lose = vec!["SUBSCRIBE"; 20];
    pair.settle();
    assert_eq!(pair.last_request(&Method::Subscribe, true).headers.text("CSeq"), Some("3 SUBSCRIBE"));
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 5057 §5.3: what belongs to no call is the application's in a subscription's dialog too, in order.
#[test]
fn other_requests_in_the_dialog_of_a_subscription() {
    let mut pair = Pair::eventful();
    subscribed(&mut pair, plan(600), active("open"));
    let notify = pair.last_request(&Method::Notify, false);
    let (from, to) = (notify.headers.text("From").unwrap(), notify.headers.text("To").unwrap());
    let call_id = notify.headers.text("Call-ID").unwrap();
    let request = |method: &str, number: u32| {
        format!(
            "{method} sip:alice@{ALICE} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{method}{number}\n\
             Max-Forwards: 70\nFrom: {from}\nTo: {to}\nCall-ID: {call_id}\nCSeq: {number} {method}\n\
             Contact: <sip:b@192.0.2.9>\nContent-Length: 0\n\n"
        )
    };
    assert_eq!(status(&pair.hand_alice(&request("OPTIONS", 50))), "no answer");
    let Some(Event::Request { tx, call: None, request: options, .. }) = pair.alice.poll_event() else {
        panic!()
    };
    pair.alice.respond(pair.now, tx, options.reply(StatusCode::OK).build().unwrap()).unwrap();
    pair.settle();
    assert_eq!(status(&pair.hand_alice(&request("OPTIONS", 49))), "500");
    for method in ["BYE", "INVITE", "INFO"] {
        assert_eq!(status(&pair.hand_alice(&request(method, 60))), "481", "{method}");
    }
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.2.1.1: 423 with Min-Expires, and the subscriber asks for that.
#[test]
fn too_brief() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(10)).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 423 SUBSCRIBE", "-> SUBSCRIBE"]);
    let refused = pair.seen.iter().find_map(|(_, message)| message.as_response().cloned()).unwrap();
    assert_eq!(refused.headers.require::<MinExpires>().unwrap(), MinExpires(60));
    assert_eq!(
        pair.last_request(&Method::Subscribe, true).headers.require::<Expires>().unwrap(),
        Expires(60)
    );
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open", "active 60"]);
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.nothing_is_left();
}

/// RFC 6665 §4.2.1.1, §4.4.4: 489 with the packages that there are.
#[test]
fn a_package_that_nobody_has() {
    let mut pair = Pair::eventful();
    let mut unknown = plan(3600);
    unknown.event = headers::Event::new("moonphase");
    pair.alice.subscribe(pair.now, unknown).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["terminated refused 489"]);
    let refused = pair.seen.iter().find_map(|(_, message)| message.as_response().cloned()).unwrap();
    let known: Vec<String> =
        refused.headers.all::<headers::AllowEvents>().map(|event| event.unwrap().0).collect();
    assert_eq!(known, ["presence", "dialog"]);
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.2.2: the notifier has forgotten it (it was started anew), so that a new one is made.
#[test]
fn a_forgotten_subscription_is_made_anew() {
    let mut pair = Pair::eventful();
    let (_, _) = subscribed(&mut pair, plan(600), active("open"));
    pair.bob = pair::eventful_phone(BOB, 3, |_| {});
    pair.pass_until("-> SUBSCRIBE");
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 481 SUBSCRIBE", "-> SUBSCRIBE"]);
    assert_eq!(story(&mut pair.alice), ["terminated refused 481, again in 0"]);
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("again")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified again", "active 600"]);
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.1.2.2: another refusal of a refresh leaves it valid until its time is over; Retry-After is heeded.
#[test]
fn a_refresh_that_is_refused_for_now() {
    let mut pair = Pair::eventful();
    let (key, _) = subscribed(&mut pair, plan(600), active("open"));
    pair.lose = vec!["SUBSCRIBE"];
    pair.pass_until("-> SUBSCRIBE");
    let refresh = pair.last_request(&Method::Subscribe, true);
    let busy = refresh.reply(StatusCode::SERVICE_UNAVAILABLE).raw("Retry-After", "4").build().unwrap();
    pair.answer_to_alice(&busy);
    assert_eq!(story(&mut pair.alice), ["refresh failed 503"]);
    assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::Active));
    pair.lose.clear();
    pair.log.clear();
    pair.pass(seconds(5));
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.1.2: nobody answers the refresh; when Timer N is over the subscription is lost, and made anew until somebody
/// is there.
#[test]
fn a_notifier_that_is_gone_for_a_while() {
    let mut pair = Pair::eventful();
    let (key, _) = subscribed(&mut pair, plan(600), active("open"));
    pair.lose = vec![""; 200];
    pair.pass(seconds(700));
    let told = story(&mut pair.alice);
    assert!(told[0].starts_with("terminated NoNotify, again in 0"), "{told:?}");
    assert!(told.iter().skip(1).all(|line| line.starts_with("terminated failed 408, again in")), "{told:?}");
    pair.lose.clear();
    pair.log.clear();
    pair.bob = pair::eventful_phone(BOB, 3, |_| {});
    pair.pass_until("-> SUBSCRIBE");
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("back")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice).last().unwrap(), "active 600");
    assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::Active));
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.1.3: a subscription that ends without a word. Its refreshes are refused for good.
#[test]
fn a_subscription_that_expires_without_a_word() {
    let mut pair = Pair::eventful();
    subscribed(&mut pair, plan(600), active("open"));
    let begin = pair.now;
    pair.lose = vec!["SUBSCRIBE"];
    pair.pass_until("-> SUBSCRIBE");
    let refresh = pair.last_request(&Method::Subscribe, true);
    pair.answer_to_alice(&refresh.reply(StatusCode::FORBIDDEN).build().unwrap());
    pair.lose = vec!["<- NOTIFY"; 20];
    pair.log.clear();
    pair.pass(seconds(30));
    assert_eq!(story(&mut pair.alice), ["refresh failed 403"]);
    assert!(pair.log.is_empty(), "{:?}", pair.log);
    pair.pass_until("-> SUBSCRIBE");
    assert!((603..=605).contains(&(pair.now - begin).as_secs()));
    assert_eq!(story(&mut pair.alice), ["terminated Expired, again in 0"]);
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 3261 §21.5.4: a first SUBSCRIBE that is refused for now comes again; one refused for good does not.
#[test]
fn a_server_that_is_busy() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob
        .reject_subscription(pair.now, asked, StatusCode::SERVICE_UNAVAILABLE, &[("Retry-After", "17")])
        .unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["terminated refused 503, again in 17"]);
    pair.pass(seconds(16));
    assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::Between));
    pair.pass(seconds(2));
    let asked = pair.bob_is_asked();
    pair.bob.reject_subscription(pair.now, asked, StatusCode::FORBIDDEN, &[]).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["terminated refused 403"]);
    pair.nothing_is_left();
}

/// RFC 6665 §4.4.3: Expires: 0 from the start brings the state once.
#[test]
fn a_fetch() {
    let mut pair = Pair::eventful();
    pair.alice.subscribe(pair.now, plan(0)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
    assert_eq!(story(&mut pair.alice), ["notified open", "terminated timeout"]);
    assert_eq!(story(&mut pair.bob), ["ended Unsubscribed"]);
    pair.nothing_is_left();
}

/// RFC 6665 §4.1.3, §4.4.1, RFC 3261 §12.2.2: NOTIFYs that are not to be had.
#[test]
fn notifies_that_do_not_belong() {
    let mut pair = Pair::eventful();
    subscribed(&mut pair, plan(3600), active("open"));
    let subscribe = pair.last_request(&Method::Subscribe, true);
    let known = pair.last_request(&Method::Notify, false);
    let tag = known.headers.require::<headers::From>().unwrap().tag().unwrap().to_string();
    // Another Call-ID, another tag of ours, none at all.
    let good = notify(&subscribe, &tag, 10, "presence", "active;expires=3000", "fresh");
    let call_id = subscribe.headers.text("Call-ID").unwrap();
    let other = |from: &str, to: &str, n: u32| {
        good.replace(from, to).replace("branch=", &format!("branch=z9hG4bK{n}"))
    };
    assert_eq!(status(&pair.hand_alice(&other(call_id, "nobody", 1))), "481");
    let ours = subscribe.headers.require::<headers::From>().unwrap().tag().unwrap().to_string();
    assert_eq!(status(&pair.hand_alice(&other(&ours, "other", 2))), "481");
    assert_eq!(status(&pair.hand_alice(&other(&format!(";tag={ours}"), "", 3))), "481");
    // Another package, in its dialog and for its SUBSCRIBE; another id.
    let mut number = 20;
    for (event, answer) in [("dialog", "489"), ("Presence", "489"), ("presence;id=1", "481")] {
        for tag in [tag.as_str(), "fork"] {
            number += 1;
            let other = notify(&subscribe, tag, number, event, "active", "");
            assert_eq!(status(&pair.hand_alice(&other)), answer, "{event} {tag}");
        }
    }
    assert_eq!(story(&mut pair.alice), [""; 0]);
    // Out of order: 500, and the state stays.
    assert_eq!(status(&pair.hand_alice(&good)), "200");
    let late = notify(&subscribe, &tag, 9, "presence", "terminated", "stale");
    assert_eq!(status(&pair.hand_alice(&late)), "500");
    assert_eq!(story(&mut pair.alice), ["notified fresh"]);
    // Without Subscription-State or Event.
    let bare = other("Subscription-State: active;expires=3000\n", "", 4).replace("CSeq: 10", "CSeq: 50");
    assert_eq!(status(&pair.hand_alice(&bare)), "400");
    let bare = other("Event: presence\n", "", 5).replace("CSeq: 10", "CSeq: 51");
    assert_eq!(status(&pair.hand_alice(&bare)), "489");
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.1.2.3: whoever unsubscribes at once waits for the dialog first; the application hears the end once.
#[test]
fn unsubscribing_before_the_first_notify() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(3600)).unwrap();
    pair.settle();
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE"]);
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    pair.settle();
    let told = story(&mut pair.alice);
    assert_eq!(told.last().unwrap(), "terminated ByUs");
    assert_eq!(told.iter().filter(|line| line.starts_with("terminated")).count(), 1);
    assert_eq!(story(&mut pair.bob), ["ended Unsubscribed"]);
    pair.nothing_is_left();
}

/// RFC 6665 §4.2.1.4: without a refresh the notifier ends it, and says so.
#[test]
fn a_subscriber_that_is_gone() {
    let mut pair = Pair::eventful();
    let (_, asked) = subscribed(&mut pair, plan(600), active("open"));
    pair.lose = vec!["SUBSCRIBE"; 30];
    pair.pass(seconds(599));
    pair.log.clear();
    assert_eq!(story(&mut pair.bob), [""; 0]);
    pair.lose = vec!["SUBSCRIBE"; 30];
    pair.pass(seconds(1));
    assert!(pair.log.contains(&"<- NOTIFY".to_string()), "{:?}", pair.log);
    assert_eq!(story(&mut pair.bob), ["ended Expired"]);
    let state: SubscriptionState = pair.last_request(&Method::Notify, false).headers.require().unwrap();
    assert_eq!((state.is_terminated(), state.reason()), (true, Some("timeout")));
    assert_eq!(
        pair.bob.notify(pair.now, asked, Notification::full(text("x"))),
        Err(Error::NoSuchSubscription)
    );
    pair.lose.clear();
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6665 §4.2.2: a subscriber that does not know the subscription any more is not notified again.
#[test]
fn a_subscriber_that_has_forgotten() {
    let mut pair = Pair::eventful();
    let (_, asked) = subscribed(&mut pair, plan(600), active("open"));
    pair.alice = pair::eventful_phone(ALICE, 9, |_| {});
    pair.bob.notify(pair.now, asked, Notification::full(text("away"))).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["<- NOTIFY", "-> 481 NOTIFY"]);
    assert!(story(&mut pair.bob)[0].starts_with("ended NotifyRefused(StatusCode(481"));
    pair.nothing_is_left();
}

/// One NOTIFY at a time; of what changes meanwhile only the last state goes.
#[test]
fn states_that_come_fast_are_put_together() {
    let mut pair = Pair::eventful();
    let (_, asked) = subscribed(&mut pair, plan(600), active("0"));
    for n in 1..=5 {
        let changes = Some(text(&format!("change {n}")));
        let state = Notification { changes, ..Notification::full(text(&n.to_string())) };
        pair.bob.notify(pair.now, asked, state).unwrap();
    }
    pair.settle();
    // The first change alone, then the state that holds all the others.
    assert_eq!(story(&mut pair.alice), ["notified change 1", "notified 5"]);
    assert_eq!(pair.log.iter().filter(|line| line.as_str() == "<- NOTIFY").count(), 2);
    pair.nothing_is_left_after_unsubscribing();
}

/// A package whose documents are numbered: a refresh asks the application, which gives a new one, or not.
#[test]
fn a_numbered_document_is_made_anew_for_a_refresh() {
    let mut pair = Pair::eventful();
    let (key, asked) = subscribed(&mut pair, plan(600), Acceptance { numbered: true, ..active("version 0") });
    pair.alice.refresh(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.bob), ["refreshed 600", "StateWanted"]);
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.bob.notify(pair.now, asked, Notification::full(text("version 1"))).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified version 1"]);
    pair.pass(seconds(1));
    pair.alice.refresh(pair.now, key).unwrap();
    pair.pass(seconds(1));
    assert_eq!(story(&mut pair.alice), ["notified version 1"]);
    pair.nothing_is_left_after_unsubscribing();
}

/// An application that says nothing does not keep the subscriber waiting (RFC 6665 §4.2.1.1).
#[test]
fn nobody_decides() {
    let mut pair = Pair::eventful();
    pair.alice.subscribe(pair.now, plan(600)).unwrap();
    pair.pass(seconds(15));
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.pass(seconds(2));
    assert_eq!(story(&mut pair.alice), ["terminated refused 480"]);
    assert!(story(&mut pair.bob)[1].starts_with("ended Refused"));
    pair.nothing_is_left();
}

/// RFC 6665 §4.5.2: subscriptions do not share dialogs, except those of REFER.
#[test]
fn a_second_subscription_in_one_dialog() {
    let mut pair = Pair::eventful();
    subscribed(&mut pair, plan(600), active("open"));
    let notify = pair.last_request(&Method::Notify, false);
    let (from, to) = (notify.headers.text("From").unwrap(), notify.headers.text("To").unwrap());
    let call_id = notify.headers.text("Call-ID").unwrap();
    for (number, event, answer) in [(5, "dialog", "403"), (6, "presence;id=2", "403"), (7, "moon", "489")] {
        let subscribe = format!(
            "SUBSCRIBE sip:bob@{BOB} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{number}\nMax-Forwards: 70\n\
             From: {to}\nTo: {from}\nCall-ID: {call_id}\nCSeq: {number} SUBSCRIBE\nContact: <sip:a@192.0.2.9>\n\
             Event: {event}\nExpires: 600\nContent-Length: 0\n\n"
        );
        assert_eq!(status(&pair.hand_bob(&subscribe)), answer, "{event}");
        // In no dialog at all: 481.
        let unknown = subscribe.replace(call_id, "nobody").replace("z9hG4bK", "z9hG4bKn");
        assert_eq!(status(&pair.hand_bob(&unknown)), "481", "{event}");
    }
    pair.nothing_is_left_after_unsubscribing();
}

/// A SUBSCRIBE storm meets a limit: for one address, and for all.
#[test]
fn a_storm_of_subscriptions() {
    let mut pair = Pair::eventful_with(|config| {
        config.events.max_subscriptions = 8;
        config.events.max_per_source = 5;
    });
    let storm = |pair: &mut Pair, n: u32| {
        let subscribe = format!(
            "SUBSCRIBE sip:bob@{BOB} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{n}\nMax-Forwards: 70\n\
             From: <sip:mallory@example.com>;tag={n}\nTo: <sip:bob@{BOB}>\nCall-ID: storm{n}\nCSeq: 1 SUBSCRIBE\n\
             Contact: <sip:m@192.0.2.9>\nEvent: presence\nContent-Length: 0\n\n"
        );
        let answer = pair.hand_bob(&subscribe);
        assert!(answer.is_empty() || answer.contains("Retry-After: 30"), "{answer}");
        status(&answer).to_string()
    };
    let answers: Vec<String> = (0..7).map(|n| storm(&mut pair, n)).collect();
    assert_eq!(answers, ["no answer", "no answer", "no answer", "no answer", "no answer", "480", "480"]);
    for _ in 0..4 {
        pair.alice.subscribe(pair.now, plan(600)).unwrap();
    }
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["terminated refused 503, again in 30"]);
    assert_eq!(pair.bob.subscriptions().count(), 8);
    // Ours count too.
    let to = format!("sip:alice@{ALICE}").parse().unwrap();
    let ours = Subscribe::new(to, "<sip:bob@example.com>".parse().unwrap(), "presence");
    assert_eq!(pair.bob.subscribe(pair.now, ours), Err(Error::TooManySubscriptions(8)));
    // Places become free again.
    pair.lose = vec!["SUBSCRIBE"; 200];
    pair.pass(seconds(20));
    assert_eq!(pair.bob.subscriptions().count(), 0);
    for key in pair.alice.subscriptions().collect::<Vec<_>>() {
        pair.alice.unsubscribe(pair.now, key).unwrap();
    }
    pair.nothing_is_left();
}

/// A layer whose application has nothing to do with subscriptions answers as it did: 405; and sends none.
#[test]
fn methods_that_are_not_allowed() {
    let mut pair = Pair::new();
    assert_eq!(pair.alice.subscribe(pair.now, plan(600)), Err(Error::NotAllowed(Method::Notify)));
    pair.alice = pair::eventful_phone(ALICE, 1, |_| {});
    pair.alice.subscribe(pair.now, plan(600)).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 405 SUBSCRIBE"]);
    assert_eq!(story(&mut pair.alice), ["terminated refused 405"]);
    pair.nothing_is_left();
}

/// RFC 6665 §4.4.4: Allow-Events in what initiates dialogs, and in the answers.
#[test]
fn the_packages_are_named() {
    let mut pair = Pair::eventful();
    pair.connect();
    let named = |message: &sip_message::Message| message.headers().text("Allow-Events").map(String::from);
    let invite = pair.last_request(&Method::Invite, true);
    assert_eq!(invite.headers.text("Allow-Events"), Some("presence, dialog"));
    let answer = pair.seen.iter().find(|(alice, message)| {
        !alice && message.as_response().is_some_and(|r| r.status() == StatusCode::OK)
    });
    assert!(named(&answer.unwrap().1).is_some());
    let call = pair.alice.calls().next().unwrap();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §22: a challenged SUBSCRIBE goes again with credentials and the next CSeq, and so does what follows in its dialog.
#[test]
fn a_challenged_subscribe() {
    let mut pair = Pair::eventful();
    pair.alice.authenticator().add_account(None, "alice", sip_auth::Secret::password("secret"));
    let key = pair.alice.subscribe(pair.now, plan(600)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    let challenge = ("WWW-Authenticate", "Digest realm=\"b\", nonce=\"1\", qop=\"auth\"");
    pair.bob.reject_subscription(pair.now, asked, StatusCode::UNAUTHORIZED, &[challenge]).unwrap();
    pair.settle();
    let again = pair.last_request(&Method::Subscribe, true);
    assert_eq!(again.headers.text("CSeq"), Some("2 SUBSCRIBE"));
    assert!(again.headers.text("Authorization").unwrap().contains("username=\"alice\""));
    let asked = pair.bob_is_asked();
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open", "active 600"]);
    pair.pass(seconds(100));
    pair.alice.refresh(pair.now, key).unwrap();
    pair.settle();
    let refresh = pair.last_request(&Method::Subscribe, true);
    assert_eq!(refresh.headers.text("CSeq"), Some("3 SUBSCRIBE"));
    assert!(refresh.headers.contains("Authorization"));
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6446 §5: no more than the subscriber wants; what it gets is the last state.
#[test]
fn no_more_notifications_than_are_wanted() {
    let mut pair = Pair::eventful();
    let mut slow = plan(600);
    slow.event = headers::Event::new("presence").with_param("max-rate", Some("0.1"));
    let (_, asked) = subscribed(&mut pair, slow, active("0"));
    for n in 1..=8 {
        pair.pass(seconds(1));
        pair.bob.notify(pair.now, asked, Notification::full(text(&n.to_string()))).unwrap();
    }
    pair.settle();
    assert!(pair.log.is_empty(), "{:?}", pair.log);
    pair.pass(seconds(2));
    assert_eq!(story(&mut pair.alice), ["notified 8"]);
    let state: SubscriptionState = pair.last_request(&Method::Notify, false).headers.require().unwrap();
    assert_eq!(state.params.value("max-rate"), Some("0.1"));
    // The last one is not held up.
    pair.bob.notify(pair.now, asked, Notification::full(text("9"))).unwrap();
    pair.bob.terminate_subscription(pair.now, asked, &TerminationReason::NoResource, None, None).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified 9", "terminated noresource"]);
    pair.nothing_is_left();
}

/// RFC 6446 §6: no fewer than the subscriber wants.
#[test]
fn no_fewer_notifications_than_are_wanted() {
    let mut pair = Pair::eventful();
    let mut eager = plan(600);
    eager.event = headers::Event::new("presence").with_param("min-rate", Some("0.05"));
    let (_, asked) = subscribed(&mut pair, eager, active("0"));
    pair.pass(seconds(61));
    assert_eq!(story(&mut pair.alice), ["notified 0", "notified 0", "notified 0"]);
    // One that says something counts.
    pair.pass(seconds(9));
    pair.bob.notify(pair.now, asked, Notification::full(text("1"))).unwrap();
    pair.pass(seconds(19));
    assert_eq!(story(&mut pair.alice), ["notified 1"]);
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 6446 §7: on the average; after much has changed the next repetition waits longer.
#[test]
fn as_many_notifications_as_are_wanted_on_the_average() {
    let mut pair = Pair::eventful();
    let mut eager = plan(600);
    eager.event = headers::Event::new("presence").with_param("adaptive-min-rate", Some("0.05"));
    let (_, asked) = subscribed(&mut pair, eager, active("0"));
    let notify = pair.last_request(&Method::Notify, false);
    assert!(notify.headers.text("Subscription-State").unwrap().contains("adaptive-min-rate=0.05"));
    pair.pass(seconds(61));
    assert_eq!(story(&mut pair.alice), ["notified 0", "notified 0", "notified 0"]);
    for _ in 0..20 {
        pair.pass(seconds(1));
        pair.bob.notify(pair.now, asked, Notification::full(text("1"))).unwrap();
    }
    pair.pass(seconds(45));
    assert_eq!(story(&mut pair.alice).len(), 20, "nothing is repeated so soon");
    pair.pass(seconds(45));
    assert!(story(&mut pair.alice).contains(&"notified 1".into()));
    pair.nothing_is_left_after_unsubscribing();
}

/// RFC 5839 §5.5 to §5.7: the state is not sent to who has it. 204 for a refresh, no body for a new subscription.
#[test]
fn the_same_state_is_not_sent_twice() {
    let tagged =
        |body: &str, tag: &str| Notification { etag: Some(tag.into()), ..Notification::full(text(body)) };
    let mut pair = Pair::eventful();
    let conditional = Subscribe { conditional: true, ..plan(600) };
    let acceptance = Acceptance { state: Some(tagged("open", "e1")), ..Acceptance::default() };
    let (key, asked) = subscribed(&mut pair, conditional, acceptance.clone());
    pair.alice.refresh(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 204 SUBSCRIBE"]);
    pair.pass(seconds(40)); // Timer N does not run (RFC 6665 §4.1.2.2)
    assert_eq!(pair.alice.subscription(key), Some(SubscriptionStage::Active));
    // The same state again is not sent, another one is; then the condition of the last SUBSCRIBE is false.
    pair.bob.notify(pair.now, asked, tagged("open", "e1")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), [""; 0]);
    pair.bob.notify(pair.now, asked, tagged("closed", "e2")).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified closed"]);
    // Moved to another notifier with the state that it has: a NOTIFY without body (§5.5).
    pair.bob.terminate_subscription(pair.now, asked, &TerminationReason::Deactivated, None, None).unwrap();
    pair.settle();
    story(&mut pair.alice);
    pair.pass(seconds(1));
    let asked = pair.bob_is_asked();
    let moved = Acceptance { state: Some(tagged("closed", "e2")), ..Acceptance::default() };
    pair.bob.accept_subscription(pair.now, asked, moved).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified", "active 600"]);
    assert_eq!(pair.last_request(&Method::Notify, false).headers.text("SIP-ETag"), Some("e2"));
    // The end is confirmed by the 204 alone (§5.7).
    pair.log.clear();
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 204 SUBSCRIBE"]);
    assert_eq!(story(&mut pair.alice), ["terminated ByUs"]);
    assert_eq!(story(&mut pair.bob).last().unwrap(), "ended Unsubscribed");
    pair.nothing_is_left();
}

/// Each message may be lost once; the subscription comes to the same end.
#[test]
fn any_message_lost_once() {
    for lost in ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"] {
        let mut pair = Pair::eventful();
        pair.lose = vec![lost];
        let key = pair.alice.subscribe(pair.now, plan(600)).unwrap();
        pair.pass(seconds(1));
        let asked = pair.bob_is_asked();
        pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
        pair.pass(seconds(5));
        assert_eq!(story(&mut pair.alice), ["notified open", "active 600"], "{lost}");
        pair.lose = vec![lost];
        pair.alice.unsubscribe(pair.now, key).unwrap();
        pair.pass(seconds(5));
        assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated ByUs", "{lost}");
        assert_eq!(story(&mut pair.bob), ["ended Unsubscribed"], "{lost}");
        pair.nothing_is_left();
    }
}

/// What cannot be done with a subscription as it stands is an error, and changes nothing.
#[test]
fn misuse() {
    let mut pair = Pair::eventful();
    let key = pair.alice.subscribe(pair.now, plan(600)).unwrap();
    assert_eq!(pair.alice.refresh(pair.now, key), Err(Error::Pending));
    pair.settle();
    let asked = pair.bob_is_asked();
    let undecided = pair.bob.notify(pair.now, asked, Notification::full(text("x")));
    assert!(matches!(undecided, Err(Error::Subscription(_))));
    assert!(matches!(pair.bob.accept_refer(pair.now, asked), Err(Error::NoSuchSubscription)));
    assert!(pair.bob.reject_subscription(pair.now, asked, StatusCode::OK, &[]).is_err());
    assert!(
        pair.bob.reject_subscription(pair.now, asked, StatusCode::FORBIDDEN, &[("Bad Name", "x")]).is_err()
    );
    pair.bob.accept_subscription(pair.now, asked, active("open")).unwrap();
    let twice = pair.bob.accept_subscription(pair.now, asked, active("open"));
    assert!(matches!(twice, Err(Error::Subscription(_))));
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified open", "active 600"]);
    assert!(pair.alice.poll_timeout().is_some());
    let event = headers::Event::parse("presence").unwrap();
    assert_eq!(pair.last_request(&Method::Notify, false).headers.require::<headers::Event>().unwrap(), event);
    pair.nothing_is_left_after_unsubscribing();
}
