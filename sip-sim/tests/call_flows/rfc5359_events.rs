//! RFC 5359, the services that watch another's calls by the dialog package (RFC 4235): call park, call pickup,
//! automatic redial.

use sip_dialog::packages::Completeness;
use sip_dialog::packages::dialog_info::{DialogEntry, DialogInfo, DialogState, DialogTable, Direction};
use sip_dialog::{
    Acceptance, Cause, DialogId, Event, Notification, Refer, Subscribe, SubscriptionChange, SubscriptionKey,
    refer_to_replacing,
};
use sip_message::headers::Replaces;

use crate::world::{Ua, World};

/// A document about all calls of a user agent: none, or one.
fn about(ua: Ua, version: u32, call: Option<(DialogState, &DialogId)>) -> Notification {
    let entry = |(state, id): (DialogState, &DialogId)| DialogEntry {
        call_id: Some(id.call_id.clone()),
        local_tag: Some(id.local_tag.clone()),
        remote_tag: Some(id.remote_tag.clone()),
        direction: Some(Direction::Recipient),
        ..DialogEntry::new("1", state)
    };
    let dialogs = call.map(entry).into_iter().collect();
    let info = DialogInfo { version, completeness: Completeness::Full, entity: ua.uri(), dialogs };
    Notification::full(info.to_body())
}

/// Subscribes to what another one's calls are, and is told.
fn watch(world: &mut World, watcher: Ua, watched: Ua, state: Notification) -> [SubscriptionKey; 2] {
    let plan = Subscribe::new(watched.uri().parse().unwrap(), watcher.uri().parse().unwrap(), "dialog");
    let ours = world.with(watcher, |ua, now| ua.subscribe(now, plan)).unwrap();
    world.step();
    let key = world.event(watched, |event| match event {
        Event::SubscriptionRequested { key, .. } => Some(key),
        _ => None,
    });
    let acceptance = Acceptance { state: Some(state), ..Acceptance::default() };
    world.with(watched, |ua, now| ua.accept_subscription(now, key, acceptance)).unwrap();
    world.step();
    [ours, key]
}

/// What the next NOTIFY says.
fn seen(world: &mut World, watcher: Ua) -> Vec<DialogEntry> {
    let request = world.event(watcher, |event| match event {
        Event::Subscription { what: SubscriptionChange::Notified { request }, .. } => Some(request),
        _ => None,
    });
    let mut table = DialogTable::new();
    table.receive(DialogInfo::parse(request.body()).unwrap());
    table.dialogs().cloned().collect()
}

/// RFC 3891 §4 and RFC 4235 §4.1: what names a dialog that was seen to the far end of it: its own tag is the watched
/// one's remote tag.
fn named_to_the_far_end(entry: &DialogEntry) -> Replaces {
    let part = |part: &Option<String>| part.clone().unwrap();
    Replaces::new(&part(&entry.call_id), &part(&entry.remote_tag), &part(&entry.local_tag))
}

/// §2.15 Call Park. The BYE of the call that is replaced goes out right after the 200, as elsewhere.
#[test]
fn call_park() {
    let mut world = World::new();
    let (alice, bob) = (world.ua("alice"), world.ua("bob"));
    let (park, carol) = (world.ua("park"), world.ua("carol"));
    let (call, at_bob) = world.connect(alice, bob);
    let named = world.with(bob, |bob, _| bob.replacing(at_bob)).unwrap();
    let to = refer_to_replacing(&alice.uri().parse().unwrap(), &named).unwrap();
    let referred = world.refer_outside(bob, park, Refer::new(to));
    let parked = world.call_replacing(park, referred.to.as_str(), referred.replaces.as_ref().unwrap());
    let at_park = world.incoming(alice);
    assert_eq!(at_park.replaces, Some(call));
    world.accept(alice, at_park.call);
    world.report(park, referred.key, 200);
    assert!(matches!(world.ended(bob), Cause::HungUpByPeer(_)));
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bob -> alice 200
         F4 alice -> bob ACK
         F5 bob -> park REFER
         F6 park -> bob 202
         F7 park -> bob NOTIFY
         F8 bob -> park 200
         F9 park -> alice INVITE
         F10 alice -> park 200
         F12 alice -> bob BYE
         F11 park -> alice ACK
         F13 bob -> alice 200
         F14 park -> bob NOTIFY
         F15 bob -> park 200",
    );
    // Carol picks the call up. The figure's subscription ends with its only NOTIFY; ours is ended by hand.
    let id = world.with(park, |park, _| park.dialog(parked).unwrap().id().clone());
    let [watching, _] = watch(&mut world, carol, park, about(park, 0, Some((DialogState::Confirmed, &id))));
    let entry = seen(&mut world, carol).remove(0);
    world.call_replacing(carol, &alice.uri(), &named_to_the_far_end(&entry));
    let picked = world.incoming(alice);
    assert_eq!(picked.replaces, Some(at_park.call));
    world.accept(alice, picked.call);
    assert!(matches!(world.ended(park), Cause::HungUpByPeer(_)));
    world.shows(
        "F16 carol -> park SUBSCRIBE
         F17 park -> carol 200
         F18 park -> carol NOTIFY
         F19 carol -> park 200
         F20 carol -> alice INVITE
         F21 alice -> carol 200
         F23 alice -> park BYE
         F22 carol -> alice ACK
         F24 park -> alice 200",
    );
    world.with(carol, |carol, now| carol.unsubscribe(now, watching)).unwrap();
    world.step();
    world.hang_up(alice, picked.call);
    world.ends();
}

/// §2.16 Call Pickup, as RFC 3891 §7.1 has it: the call that still rings is taken over, `early-only`. Alice's CANCEL
/// goes out right after her 200.
#[test]
fn call_pickup() {
    let mut world = World::new();
    let (alice, bob, bill) = (world.ua("alice"), world.ua("bob"), world.ua("bill"));
    let call = world.call(alice, &bob.uri());
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    let id = world.with(bob, |bob, _| bob.dialog(incoming).unwrap().id().clone());
    let [watching, _] = watch(&mut world, bill, bob, about(bob, 0, Some((DialogState::Early, &id))));
    let entry = seen(&mut world, bill).remove(0);
    assert_eq!(entry.state, DialogState::Early);
    world.call_replacing(bill, &alice.uri(), &named_to_the_far_end(&entry).with_early_only());
    let picked = world.incoming(alice);
    assert_eq!(picked.replaces, Some(call));
    world.accept(alice, picked.call);
    assert!(matches!(world.ended(alice), Cause::ReplacedBy(by) if by == picked.call));
    assert!(matches!(world.ended(bob), Cause::CancelledByCaller(_)));
    world.hang_up(alice, picked.call);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bill -> bob SUBSCRIBE
         F4 bob -> bill 200
         F5 bob -> bill NOTIFY
         F6 bill -> bob 200
         F7 bill -> alice INVITE
         F8 alice -> bill 200
         F9 alice -> bob CANCEL
         F13 bill -> alice ACK
         F10 bob -> alice 200
         F11 bob -> alice 487
         F12 alice -> bob ACK
         F14 alice -> bill BYE
         F15 bill -> alice 200",
    );
    world.with(bill, |bill, now| bill.unsubscribe(now, watching)).unwrap();
    world.step();
    world.ends();
}

/// RFC 3891 §3: a call that was answered meanwhile is not taken over by `early-only`: 486, and it stands.
#[test]
fn a_pickup_that_comes_too_late() {
    let mut world = World::new();
    let (alice, bob, bill) = (world.ua("alice"), world.ua("bob"), world.ua("bill"));
    let (call, at_bob) = world.connect(alice, bob);
    let named = world.with(bob, |bob, _| bob.replacing(at_bob)).unwrap().with_early_only();
    world.forget();
    world.call_replacing(bill, &alice.uri(), &named);
    assert!(matches!(world.ended(bill), Cause::Rejected(response) if response.status().code() == 486));
    world.shows("bill -> alice INVITE/486/ACK");
    world.hang_up(alice, call);
    world.ends();
}

/// §2.17 Automatic Redial: Bob is busy; Alice is told when he is free, and calls again.
#[test]
fn automatic_redial() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.ua("alice"), world.ua("bob"), world.ua("carol"));
    let (other, _) = world.connect(bob, carol);
    let id = world.with(bob, |bob, _| bob.dialog(other).unwrap().id().clone());
    world.forget();
    world.call(alice, &bob.uri());
    let refused = world.incoming(bob).call;
    world.reject(bob, refused, 486, &[]);
    let [ours, theirs] = watch(&mut world, alice, bob, about(bob, 0, Some((DialogState::Confirmed, &id))));
    assert_eq!(seen(&mut world, alice)[0].state, DialogState::Confirmed);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 486
         F3 alice -> bob ACK
         F4 alice -> bob SUBSCRIBE
         F5 bob -> alice 200
         F6 bob -> alice NOTIFY
         F7 alice -> bob 200",
    );
    world.hang_up(bob, other);
    world.forget();
    let notify = |world: &mut World, state| {
        world.with(bob, |bob, now| bob.notify(now, theirs, state)).unwrap();
        world.step();
    };
    notify(&mut world, about(bob, 1, None));
    assert_eq!(seen(&mut world, alice), [], "Bob is free");
    let (call, at_bob) = world.connect(alice, bob);
    let id = world.with(bob, |bob, _| bob.dialog(at_bob).unwrap().id().clone());
    notify(&mut world, about(bob, 2, Some((DialogState::Confirmed, &id))));
    world.with(alice, |alice, now| alice.unsubscribe(now, ours)).unwrap();
    world.step();
    world.shows(
        "F8 bob -> alice NOTIFY
         F9 alice -> bob 200
         F10 alice -> bob INVITE
         F11 bob -> alice 180
         F12 bob -> alice 200
         F13 alice -> bob ACK
         F14 bob -> alice NOTIFY
         F15 alice -> bob 200
         F16 alice -> bob SUBSCRIBE
         F17 bob -> alice 200
         F18 bob -> alice NOTIFY
         F19 alice -> bob 200",
    );
    world.hang_up(alice, call);
    world.ends();
}
