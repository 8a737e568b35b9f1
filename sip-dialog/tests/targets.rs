//! Where a call goes and whose place it takes: 3xx (RFC 3261 §8.1.3.4), forks, Replaces (RFC 3891), Join (RFC 3911), and calls
//! that ring for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{BOB, Pair, invite};
use sip_dialog::{Body, CallKey, Cause, Dialogs, Event};
use sip_message::StatusCode;

fn ended(dialogs: &mut Dialogs) -> Option<Cause> {
    std::iter::from_fn(|| dialogs.poll_event()).find_map(|event| match event {
        Event::Ended { cause, .. } => Some(cause),
        _ => None,
    })
}

fn incoming(dialogs: &mut Dialogs) -> CallKey {
    std::iter::from_fn(|| dialogs.poll_event())
        .find_map(|event| match event {
            Event::Incoming { call, .. } => Some(call),
            _ => None,
        })
        .expect("a call comes in")
}

/// RFC 3261 §8.1.3.4: the preferred Contact first; when it fails too, the next.
#[test]
fn a_302_is_followed() {
    let mut pair = Pair::new();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let first = pair.bob_is_called();
    let contacts =
        format!("<sip:second@{BOB}>;q=0.5, <sip:first@{BOB};method=INVITE?Subject=x>;q=0.9, <mailto:b@x>");
    pair.bob.reject_with(pair.now, first, StatusCode::MOVED_TEMPORARILY, &[("Contact", &contacts)]).unwrap();
    pair.settle();
    let Some(Event::Redirected { to, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(to.to_string(), format!("sip:first@{BOB}"));
    let second = incoming(&mut pair.bob);
    pair.bob.reject(pair.now, second, StatusCode::BUSY_HERE).unwrap();
    pair.settle();
    let Some(Event::Redirected { to, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(to.user(), Some("second"));
    let third = incoming(&mut pair.bob);
    pair.bob.accept(pair.now, third, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    assert!(matches!(pair.alice.poll_event(), Some(Event::Answered { .. })));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// Two servers that point at each other, and one that names new places for ever, are left at last.
#[test]
fn redirections_come_to_an_end() {
    for endless in [false, true] {
        let mut pair = Pair::new();
        pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
        let mut invites = 0;
        loop {
            pair.settle();
            let Some(Event::Incoming { call, .. }) =
                std::iter::from_fn(|| pair.bob.poll_event()).find(|e| matches!(e, Event::Incoming { .. }))
            else {
                break;
            };
            invites += 1;
            assert!(invites < 50);
            let place = if endless { invites } else { invites % 2 };
            let contact = format!("<sip:place{place}@{BOB}>");
            pair.bob
                .reject_with(pair.now, call, StatusCode::MOVED_TEMPORARILY, &[("Contact", &contact)])
                .unwrap();
        }
        assert_eq!(invites, if endless { 9 } else { 3 });
        assert!(matches!(ended(&mut pair.alice), Some(Cause::Rejected(_))));
        pair.nothing_is_left();
    }
}

/// RFC 3261 §8.1.3.4: what was called as `sips` does not go on in the clear; 6xx ends the search; no limit, no search.
#[test]
fn what_is_not_followed() {
    let mut pair = Pair::of(|config, _| config.max_redirections = 0);
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let call = pair.bob_is_called();
    let contact = format!("<sip:other@{BOB}>");
    pair.bob.reject_with(pair.now, call, StatusCode::MOVED_TEMPORARILY, &[("Contact", &contact)]).unwrap();
    pair.settle();
    assert!(matches!(ended(&mut pair.alice), Some(Cause::Rejected(_))));

    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let call = pair.bob_is_called();
    let contacts = format!("<sip:a@{BOB}>, <sip:b@{BOB}>");
    pair.bob.reject_with(pair.now, call, StatusCode::MULTIPLE_CHOICES, &[("Contact", &contacts)]).unwrap();
    pair.settle();
    let call = incoming(&mut pair.bob);
    pair.bob.reject(pair.now, call, StatusCode::DECLINE).unwrap();
    pair.settle();
    let Some(Cause::Rejected(response)) = ended(&mut pair.alice) else { panic!() };
    assert_eq!(response.status(), StatusCode::DECLINE, "global: nobody else is asked");
    pair.nothing_is_left();
}

/// RFC 3891 §3: the call that is replaced ends with BYE when the new one is accepted, and not before.
#[test]
fn a_call_takes_the_place_of_another() {
    let mut pair = Pair::new();
    let (_, old) = pair.connect();
    let id = pair.bob.dialog(old).unwrap().id().clone();
    let replacing = |flags: &str| {
        let mut replacing = invite(Some("offer"));
        let value = format!("{};to-tag={};from-tag={}{flags}", id.call_id, id.local_tag, id.remote_tag);
        replacing.fields.push(("Replaces".into(), value));
        replacing.fields.push(("Require".into(), "replaces".into()));
        replacing
    };
    pair.alice.invite(pair.now, replacing(";early-only")).unwrap();
    pair.settle();
    let Some(Cause::Rejected(response)) = ended(&mut pair.alice) else { panic!() };
    assert_eq!(response.status(), StatusCode::BUSY_HERE, "early-only, and it is answered");
    let new = pair.alice.invite(pair.now, replacing("")).unwrap();
    pair.settle();
    let Some(Event::Incoming { call, replaces, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(replaces, Some(old));
    assert!(pair.bob.state(old).is_some());
    pair.bob.accept(pair.now, call, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    assert!(matches!(ended(&mut pair.bob), Some(Cause::ReplacedBy(by)) if by == call));
    assert!(pair.bob.state(old).is_none() && pair.bob.state(call).is_some());
    pair.alice.hang_up(pair.now, new).unwrap();
    pair.nothing_is_left();
}

/// RFC 3891 §3: a call that rings at the other side, and was made by us, is cancelled; one that rings here cannot be replaced.
#[test]
fn early_dialogs_and_replaces() {
    let mut pair = Pair::new();
    let mut from_bob = invite(Some("offer"));
    from_bob.to = format!("sip:alice@{}", pair::ALICE).parse().unwrap();
    let ringing = pair.bob.invite(pair.now, from_bob).unwrap();
    pair.settle();
    let at_alice = incoming(&mut pair.alice);
    pair.alice.ring(pair.now, at_alice, StatusCode::RINGING, None).unwrap();
    pair.settle();
    let Some(Event::Progress { dialog: Some(id), .. }) = pair.bob.poll_event() else { panic!() };
    let mut pickup = invite(Some("offer"));
    let value = format!("{};to-tag={};from-tag={};early-only", id.call_id, id.local_tag, id.remote_tag);
    pickup.fields.push(("Replaces".into(), value));
    let picked = pair.alice.invite(pair.now, pickup).unwrap();
    pair.settle();
    let Some(Event::Incoming { call, replaces, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(replaces, Some(ringing));
    pair.bob.accept(pair.now, call, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    assert!(pair.log.contains(&"<- CANCEL".to_string()));
    assert!(matches!(ended(&mut pair.bob), Some(Cause::ReplacedBy(_))));
    assert!(matches!(ended(&mut pair.alice), Some(Cause::CancelledByCaller(_))));
    pair.alice.hang_up(pair.now, picked).unwrap();
    pair.pass(Duration::from_secs(1));
    while pair.alice.poll_event().is_some() {}

    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let rings_here = incoming(&mut pair.bob);
    pair.bob.ring(pair.now, rings_here, StatusCode::RINGING, None).unwrap();
    let id = pair.bob.dialog(rings_here).unwrap().id().clone();
    for (value, status) in [
        (format!("{};to-tag={};from-tag={}", id.call_id, id.local_tag, id.remote_tag), 481),
        ("unknown;to-tag=a;from-tag=b".into(), 481),
    ] {
        let mut replacing = invite(Some("offer"));
        replacing.fields.push(("Replaces".into(), value));
        pair.alice.invite(pair.now, replacing).unwrap();
        pair.settle();
        let Some(Cause::Rejected(response)) = ended(&mut pair.alice) else { panic!() };
        assert_eq!(response.status().code(), status);
    }
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3911 §4: a call that joins another is told so; both references in one INVITE are a contradiction.
#[test]
fn a_call_joins_another() {
    let mut pair = Pair::new();
    let (call, old) = pair.connect();
    let id = pair.bob.dialog(old).unwrap().id().clone();
    let value = format!("{};to-tag={};from-tag={}", id.call_id, id.local_tag, id.remote_tag);
    let mut joining = invite(Some("offer"));
    joining.fields.push(("Join".into(), value.clone()));
    let joined = pair.alice.invite(pair.now, joining.clone()).unwrap();
    pair.settle();
    let Some(Event::Incoming { joins, replaces: None, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(joins, Some(old));
    joining.fields.push(("Replaces".into(), value));
    pair.alice.invite(pair.now, joining).unwrap();
    pair.settle();
    let Some(Cause::Rejected(response)) = ended(&mut pair.alice) else { panic!() };
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    for call in [call, joined] {
        pair.alice.hang_up(pair.now, call).unwrap();
    }
    pair.bob.hang_up(pair.now, old).unwrap();
    pair.pass(Duration::from_secs(400));
    pair.nothing_is_left();
}

/// RFC 3261 §13.2.2.4: the application may keep each phone of a fork that answers.
#[test]
fn every_phone_of_a_fork_is_kept() {
    let mut pair = Pair::of(|config, _| config.keep_forks = true);
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let at_bob = pair.bob_is_called();
    pair.bob.accept(pair.now, at_bob, Some(Body::sdp("answer"))).unwrap();
    let ok = pair.taken_from_bob();
    let tag = pair.bob.dialog(at_bob).unwrap().id().local_tag.clone();
    pair.inject_to_alice(&ok);
    pair.inject_to_alice(&ok.replace(&tag, "another-phone"));
    assert!(matches!(pair.alice.poll_event(), Some(Event::Answered { .. })));
    let Some(Event::Forked { call: other, .. }) = pair.alice.poll_event() else { panic!() };
    assert_ne!(other, call);
    pair.settle();
    assert_eq!(pair.log.iter().filter(|line| line.contains("-> ACK")).count(), 2);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.alice.hang_up(pair.now, other).unwrap();
    pair.nothing_is_left();
}

/// RFC 3261 §9.1, §13.2.2.4: a call was given up, and two phones answer all the same: both are acknowledged and hung up, and
/// nobody is handed a call that he does not wait for.
#[test]
fn no_phone_of_a_fork_is_kept_for_a_call_that_was_given_up() {
    let mut pair = Pair::of(|config, _| config.keep_forks = true);
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let at_bob = pair.bob_is_called();
    pair.bob.accept(pair.now, at_bob, Some(Body::sdp("answer"))).unwrap();
    let ok = pair.taken_from_bob();
    let tag = pair.bob.dialog(at_bob).unwrap().id().local_tag.clone();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.inject_to_alice(&ok);
    pair.inject_to_alice(&ok.replace(&tag, "another-phone"));
    pair.settle();
    for method in ["-> ACK", "-> BYE"] {
        assert_eq!(pair.log.iter().filter(|line| line.contains(method)).count(), 2, "{:?}", pair.log);
    }
    let told: Vec<Event> = std::iter::from_fn(|| pair.alice.poll_event()).collect();
    assert!(matches!(told[..], [Event::Ended { cause: Cause::Cancelled, .. }]), "{told:?}");
    assert_eq!(pair.alice.calls().count(), 0);
    pair.nothing_is_left();
}

/// A far end that is gone rings no longer than the limit; the caller's Expires bounds it at the callee (RFC 3261 §13.3.1).
#[test]
fn ringing_ends() {
    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let call = pair.bob_is_called();
    pair.bob.ring(pair.now, call, StatusCode::RINGING, None).unwrap();
    pair.pass(Duration::from_secs(301));
    assert!(matches!(ended(&mut pair.alice), Some(Cause::NoAnswer)));

    let mut brief = invite(Some("offer"));
    brief.fields.push(("Expires".into(), "20".into()));
    pair.alice.invite(pair.now, brief).unwrap();
    pair.settle();
    while pair.bob.poll_event().is_some() {}
    pair.pass(Duration::from_secs(21));
    assert!(matches!(ended(&mut pair.bob), Some(Cause::NoAnswer)));
    let Some(Cause::Rejected(response)) = ended(&mut pair.alice) else { panic!() };
    assert_eq!(response.status(), StatusCode::REQUEST_TERMINATED);
    pair.nothing_is_left();
}

/// No more targets are taken than can be tried, and those are the preferred ones.
#[test]
fn a_3xx_of_many() {
    let mut pair = Pair::new();
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let call = pair.bob_is_called();
    let many: Vec<String> = (0..60).map(|n| format!("<sip:p{n}@{BOB}>;q=0.{}", n % 10)).collect();
    let all = many.join(", ");
    pair.bob.reject_with(pair.now, call, StatusCode::MULTIPLE_CHOICES, &[("Contact", &all)]).unwrap();
    let mut tried = Vec::new();
    loop {
        pair.settle();
        let Some(Event::Incoming { call, request, .. }) =
            std::iter::from_fn(|| pair.bob.poll_event()).find(|e| matches!(e, Event::Incoming { .. }))
        else {
            break;
        };
        tried.push(request.uri().unwrap().user().unwrap().to_owned());
        pair.bob.reject(pair.now, call, StatusCode::BUSY_HERE).unwrap();
    }
    assert_eq!(tried, ["p9", "p19", "p29", "p39", "p49", "p59", "p8", "p18"]);
    pair.nothing_is_left();
}

/// RFC 5627 §4.4: in both roles, and the listener's address again when there is none any more.
#[test]
fn a_gruu_is_the_contact_of_dialogs() {
    let mut pair = Pair::new();
    let gruu = |user: &str, at: &str| format!("sip:{user}@{at};gr=urn:uuid:1");
    pair.alice.use_gruu(Some(gruu("alice", pair::ALICE).parse().unwrap()));
    pair.bob.use_gruu(Some(gruu("bob", BOB).parse().unwrap()));
    let (call, incoming) = pair.connect();
    let target = |dialogs: &Dialogs, call| dialogs.dialog(call).unwrap().remote_target().to_string();
    assert_eq!(target(&pair.alice, call), gruu("bob", BOB));
    assert_eq!(target(&pair.bob, incoming), gruu("alice", pair::ALICE));
    pair.alice.use_gruu(None);
    let contact = pair.alice.contact_for(Some("alice"), &format!("sip:bob@{BOB}").parse().unwrap()).unwrap();
    assert!(contact.uri().unwrap().param("gr").is_none());
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}
