//! REFER without a subscription by itself (RFC 7614): `explicitsub` and `nosub`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, story};
use sip_dialog::{
    Event, Refer, ReferRequirement, Report, Subscribe, SubscriptionChange, SubscriptionEnd, SubscriptionKey,
};
use sip_message::headers::{ReferEventsAt, Require};
use sip_message::{Method, StatusCode, Uri};

fn refer(requires: ReferRequirement) -> Refer {
    Refer { requires: Some(requires), ..Refer::new("sip:carol@example.com".parse().unwrap()) }
}

/// Alice refers Bob to Carol so that she may subscribe; Bob has accepted. Where, and Bob's key.
fn referred(pair: &mut Pair, in_call: bool) -> (Uri, SubscriptionKey) {
    let refer = refer(ReferRequirement::ExplicitSubscription);
    let key = if in_call {
        let (call, _) = pair.connect();
        pair.alice.refer(pair.now, call, refer).unwrap()
    } else {
        let to = format!("sip:bob@{}", pair::BOB).parse().unwrap();
        let from = "<sip:alice@example.com>".parse().unwrap();
        pair.alice.refer_outside(pair.now, to, from, vec![], refer).unwrap()
    };
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> REFER", "<- 200 REFER"], "nothing is notified by itself");
    let Some(Event::Subscription { key: told, what: SubscriptionChange::EventsAt { uri } }) =
        pair.alice.poll_event()
    else {
        panic!("Alice does not hear where to subscribe")
    };
    assert_eq!(told, key);
    assert_eq!(story(&mut pair.alice), ["terminated NotMade"]);
    pair.log.clear();
    (uri, asked)
}

fn subscribe(pair: &mut Pair, uri: &Uri) {
    let plan = Subscribe::new(uri.clone(), "<sip:alice@example.com>".parse().unwrap(), "refer");
    pair.alice.subscribe(pair.now, plan).unwrap();
    pair.settle();
}

/// §4.1 to §4.6: 200 with an address that cannot be guessed, no NOTIFY; whoever subscribes there hears how it goes.
#[test]
fn who_subscribes_hears_how_it_goes() {
    for in_call in [true, false] {
        let mut pair = Pair::eventful();
        let (uri, asked) = referred(&mut pair, in_call);
        let asking = pair.last_request(&Method::Refer, true);
        assert_eq!(asking.headers.require::<Require>().unwrap().0, "explicitsub");
        assert!(uri.user().unwrap().len() >= 16, "{uri}");
        subscribe(&mut pair, &uri);
        assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
        let told = story(&mut pair.alice);
        assert!(told.contains(&"progress 100".into()), "{told:?}");
        pair.bob.report(pair.now, asked, &Report::new(StatusCode::RINGING)).unwrap();
        pair.settle();
        assert!(story(&mut pair.alice).contains(&"progress 180".into()));
        pair.bob.report(pair.now, asked, &Report::new(StatusCode::OK)).unwrap();
        pair.settle();
        let told = story(&mut pair.alice);
        assert!(
            told.contains(&"progress 200".into()) && told.contains(&"terminated noresource".into()),
            "{told:?}"
        );
        for call in pair.alice.calls().collect::<Vec<_>>() {
            pair.alice.hang_up(pair.now, call).unwrap();
        }
        pair.nothing_is_left();
    }
}

/// §4.5, §4.7: who comes late is told the end at once, for 64 s and more; who comes later still, or guesses, is refused.
#[test]
fn the_end_is_kept_for_those_who_come_late() {
    let mut pair = Pair::eventful();
    let (uri, asked) = referred(&mut pair, false);
    pair.bob.report(pair.now, asked, &Report::new(StatusCode::BUSY_HERE)).unwrap();
    pair.pass(Duration::from_secs(60));
    pair.log.clear();
    subscribe(&mut pair, &uri);
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
    let notify = pair.last_request(&Method::Notify, false);
    assert!(notify.headers.text("Subscription-State").unwrap().starts_with("terminated;reason=noresource"));
    assert!(story(&mut pair.alice).contains(&"progress 486".into()));
    let mut guessed = uri.clone();
    guessed = guessed.as_str().replace(uri.user().unwrap(), "guessed").parse().unwrap();
    subscribe(&mut pair, &guessed);
    assert_eq!(story(&mut pair.alice), ["terminated refused 489"]);
    pair.pass(Duration::from_secs(10));
    subscribe(&mut pair, &uri);
    assert_eq!(story(&mut pair.alice), ["terminated refused 489"]);
    pair.nothing_is_left();
}

/// §5: no subscription, and none can be.
#[test]
fn nobody_wants_to_know() {
    let mut pair = Pair::eventful();
    let (call, _) = pair.connect();
    pair.alice.refer(pair.now, call, refer(ReferRequirement::NoSubscription)).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> REFER", "<- 200 REFER"]);
    let said = pair.seen.iter().filter(|(_, message)| message.headers().contains("Refer-Events-At"));
    assert_eq!(said.count(), 0);
    let Some(Event::Subscription { what: SubscriptionChange::Terminated { end, .. }, .. }) =
        pair.alice.poll_event()
    else {
        panic!()
    };
    assert!(matches!(end, SubscriptionEnd::NotMade));
    assert!(pair.bob.report(pair.now, asked, &Report::new(StatusCode::OK)).is_err());
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// §4.8: in any other message the field means nothing.
#[test]
fn an_address_that_nobody_asked_for_is_passed_over() {
    let mut pair = Pair::eventful();
    let (call, _) = pair.connect();
    pair.alice.refer(pair.now, call, Refer::new("sip:carol@example.com".parse().unwrap())).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    let elsewhere = "sip:mallory@192.0.2.66".parse().unwrap();
    let accepted = pair.taken_from_bob();
    let mut text = String::new();
    sip_message::Header::write(&ReferEventsAt::new(&elsewhere), &mut text);
    pair.inject_to_alice(&accepted.replacen("\r\n", &format!("\r\nRefer-Events-At: {text}\r\n"), 1));
    pair.settle();
    assert!(story(&mut pair.alice).iter().all(|line| !line.contains("EventsAt")));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.pass(Duration::from_secs(300));
    pair.nothing_is_left();
}
