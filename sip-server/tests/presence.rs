//! The event server: presence, waiting messages, registrations (RFC 6665, RFC 3903, RFC 3856, RFC 3857, RFC 3842, RFC 3680).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_dialog::packages::presence::Presence;
use sip_dialog::packages::reginfo::{ContactEvent, ContactState, RegInfo, RegistrationState};
use sip_dialog::packages::watcher_info::{WatcherInfo, WatcherStatus};
use sip_message::StatusCode;
use sip_server::events::{EventConfig, Permission};
use sip_server::{AddressOfRecord, Config};
use world::watcher::Watcher;
use world::{ALICE, BOB, Sent, World, only, to_tag};

fn world_with(change: impl FnOnce(&mut EventConfig)) -> World {
    World::with(|config: &mut Config| {
        let mut events = EventConfig::new();
        change(&mut events);
        config.events = Some(events);
    })
}

fn world() -> World {
    world_with(|_| {})
}

fn state(notify: &Sent) -> String {
    notify.request().headers.text("Subscription-State").unwrap().to_owned()
}

fn presence(notify: &Sent) -> Presence {
    assert_eq!(notify.request().headers.text("Content-Type"), Some("application/pidf+xml"));
    Presence::parse(notify.request().body()).unwrap()
}

fn pidf(user: &str, tuple: &str, basic: &str) -> String {
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:x=\"urn:x\" entity=\"sip:{user}@example.com\">\
         <tuple id=\"{tuple}\"><status><basic>{basic}</basic></status><x:mood>fine</x:mood></tuple></presence>"
    )
}

fn publish(world: &mut World, user: &str, extra: &str, body: &str) -> Vec<Sent> {
    let length = body.len();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/pidf+xml\r\n" };
    let lines = format!(
        "From: <sip:{user}@example.com>;tag=p\r\nEvent: presence\r\n{kind}{extra}Content-Length: {length}\r\n"
    );
    let text = world.request(BOB, "PUBLISH", &format!("sip:{user}@example.com"), &lines);
    world.udp(BOB, text + body)
}

fn etag(sent: &[Sent]) -> String {
    only(sent, "200").response().headers.text("SIP-ETag").unwrap().to_owned()
}

/// The NOTIFY of these; while nobody answers it is sent again.
fn first_notify(sent: &[Sent]) -> &Sent {
    sent.iter().find(|sent| sent.name() == "NOTIFY").unwrap_or_else(|| panic!("a NOTIFY among {sent:?}"))
}

fn aor(user: &str) -> AddressOfRecord {
    AddressOfRecord::new(&format!("sip:{user}@example.com").parse().unwrap(), "example.com").unwrap()
}

/// RFC 3856 §9, the example flow: a watcher, the presentity's registration, its PUBLISH, and the end.
#[test]
fn a_watcher_sees_registration_and_publication() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence");
    let first = alice.watch(&mut world);
    assert!(state(&first).starts_with("active;expires="), "{}", state(&first));
    assert!(!presence(&first).is_open());
    assert_eq!(first.to(), ALICE);
    assert_eq!(first.request().headers.text("CSeq"), Some("1 NOTIFY"));

    // He registers: reachable.
    let text =
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12>\r\n";
    let register = world.request(BOB, "REGISTER", "sip:example.com", text);
    let sent = world.udp(BOB, register);
    let notify = only(&sent, "NOTIFY");
    assert!(presence(notify).is_open());
    assert_eq!(presence(notify).tuples[0].contact.as_deref(), Some("sip:bob@example.com"));
    world.answer(notify, 200, "");
    // A refresh changes nothing.
    assert_eq!(world.register("bob", "<sip:bob@192.0.2.12>", "").status(), StatusCode::OK);

    // What a phone publishes goes out as it was written, extensions and all (RFC 3863 §4.2).
    let body = pidf("bob", "phone", "closed");
    let sent = publish(&mut world, "bob", "", &body);
    let tag = etag(&sent);
    let notify = only(&sent, "NOTIFY");
    assert_eq!(notify.request().body(), body.as_bytes());
    world.answer(notify, 200, "");

    // A refresh of the publication is nothing new; a removal brings the registration back.
    let sent = publish(&mut world, "bob", &format!("SIP-If-Match: {tag}\r\n"), "");
    let tag = etag(&sent);
    assert_eq!(sent.len(), 1, "{sent:?}");
    let sent = publish(&mut world, "bob", &format!("SIP-If-Match: {tag}\r\nExpires: 0\r\n"), "");
    let notify = only(&sent, "NOTIFY");
    assert!(presence(notify).is_open());
    world.answer(notify, 200, "");

    let (answer, sent) = alice.subscribe(&mut world, "Expires: 0\r\n");
    assert_eq!(answer.status(), StatusCode::OK);
    let last = only(&sent, "NOTIFY");
    assert_eq!(state(last), "terminated;reason=timeout");
    world.answer(last, 200, "");
    let (answer, _) = alice.subscribe(&mut world, "");
    assert_eq!(answer.status(), StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
    assert_eq!(world.core.events(), Some((0, 0)));
    world.assert_nothing_left();
}

/// RFC 4479 §3.1, RFC 3856 §6.5: what several phones say is one document.
#[test]
fn several_publications_are_one_state() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence");
    alice.watch(&mut world);
    let sent = publish(&mut world, "bob", "", &pidf("bob", "a", "closed"));
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let desk = etag(&sent);
    let sent = publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    let notify = only(&sent, "NOTIFY");
    let both = presence(notify);
    assert_eq!(both.tuples.len(), 2);
    assert_ne!(both.tuples[0].id, both.tuples[1].id, "ids are unique (RFC 3863 §4.1.2)");
    assert!(both.is_open());
    assert!(String::from_utf8_lossy(notify.request().body()).contains("mood"), "extensions stay");
    world.answer(notify, 200, "");
    // The second one ends by itself.
    let sent = publish(&mut world, "bob", &format!("SIP-If-Match: {desk}\r\nExpires: 100\r\n"), "");
    assert_eq!(sent.len(), 1);
    let sent = world.seconds(101);
    assert_eq!(presence(first_notify(&sent)).tuples.len(), 1);
}

/// RFC 3903 §6: the errors of a PUBLISH.
#[test]
fn publications_that_are_refused() {
    let mut world = world();
    let code = |sent: Vec<Sent>| sent[0].response().status().code();
    assert_eq!(code(publish(&mut world, "bob", "SIP-If-Match: x\r\n", &pidf("bob", "a", "open"))), 412);
    assert_eq!(code(publish(&mut world, "bob", "Expires: 5\r\n", &pidf("bob", "a", "open"))), 423);
    assert_eq!(code(publish(&mut world, "bob", "", "<presence")), 400);
    assert_eq!(code(publish(&mut world, "bob", "", "")), 400);
    let bomb =
        "<!DOCTYPE a [<!ENTITY x 'xx'>]><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:b@c'/>";
    assert_eq!(code(publish(&mut world, "bob", "", bomb)), 400);
    let mut world = world_with(|events| events.publications.body = 1000);
    let large = format!("{}{}", pidf("bob", "a", "open"), " ".repeat(1000));
    assert_eq!(code(publish(&mut world, "bob", "", &large)), 413);
    let lines = "From: <sip:bob@example.com>;tag=p\r\nEvent: presence\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n";
    let text = world.request(BOB, "PUBLISH", "sip:bob@example.com", lines) + "hi";
    let sent = world.udp(BOB, text);
    assert_eq!(sent[0].name(), "415");
    assert_eq!(sent[0].response().headers.text("Accept"), Some("application/pidf+xml"));
    assert_eq!(world.core.events(), Some((0, 0)));
}

/// RFC 3903 §6, RFC 6665 §8.3.2: which event is meant is not guessed, and no phone is asked.
#[test]
fn requests_without_an_event_get_489() {
    let mut world = world();
    for method in ["PUBLISH", "SUBSCRIBE"] {
        for event in ["", "Event: \r\n", "Event: ;id=1\r\n"] {
            let lines = format!("From: <sip:bob@example.com>;tag=p\r\n{event}Content-Length: 0\r\n");
            let text = world.request(BOB, method, "sip:bob@example.com", &lines);
            let sent = world.udp(BOB, text);
            assert_eq!(sent.len(), 1, "{method} {event:?}: {sent:?}");
            let answer = sent[0].response();
            assert_eq!(answer.status().code(), 489, "{method} {event:?}");
            assert!(answer.headers.text("Allow-Events").unwrap().starts_with("presence, "));
        }
    }
}

/// RFC 3261 §11.2, RFC 6665 §8.2.2: OPTIONS tell what is served.
#[test]
fn options_tell_the_packages() {
    let answer = world().ask(ALICE, "OPTIONS", "sip:example.com", "");
    assert_eq!(answer.headers.text("Allow"), Some("OPTIONS, REGISTER, SUBSCRIBE, PUBLISH"));
    assert!(answer.headers.text("Allow-Events").unwrap().starts_with("presence, presence.winfo, "));
}

/// RFC 6665 §4.2.1: the errors of a SUBSCRIBE.
#[test]
fn subscriptions_that_are_refused() {
    let mut world = world();
    let mut ask = |extra: &str| {
        let mut alice = Watcher::new("alice", "bob", "presence");
        let (answer, sent) = alice.subscribe(&mut world, extra);
        assert!(sent.is_empty());
        answer
    };
    let brief = ask("Expires: 10\r\n");
    assert_eq!((brief.status().code(), brief.headers.text("Min-Expires")), (423, Some("60")));
    let unreadable = ask("Accept: text/plain\r\n");
    assert_eq!(
        (unreadable.status().code(), unreadable.headers.text("Accept")),
        (406, Some("application/pidf+xml"))
    );
    let required = ask("Require: frobnicate\r\n");
    assert_eq!((required.status().code(), required.headers.text("Unsupported")), (420, Some("frobnicate")));
    // Packages that the server does not serve are the phone's (here there is none).
    let mut other = Watcher::new("alice", "bob", "conference");
    assert_eq!(other.subscribe(&mut world, "").0.status(), StatusCode::NOT_FOUND);
}

/// A fetch (§4.4.3): one NOTIFY with the state, and nothing stays.
#[test]
fn a_fetch_is_told_once() {
    let mut world = world();
    publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    let mut alice = Watcher::new("alice", "bob", "presence");
    let (answer, sent) = alice.subscribe(&mut world, "Expires: 0\r\n");
    assert_eq!(answer.headers.text("Expires"), Some("0"));
    let notify = only(&sent, "NOTIFY");
    assert_eq!(state(notify), "terminated;reason=timeout");
    assert!(presence(notify).is_open());
    assert_eq!(world.core.events(), Some((0, 1)));
}

/// §4.2.2: one NOTIFY at a time; what changes meanwhile goes in one.
#[test]
fn changes_while_a_notify_is_under_way_are_told_in_one() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence");
    let (_, sent) = alice.subscribe(&mut world, "");
    let first = &sent[0];
    let tag = etag(&publish(&mut world, "bob", "", &pidf("bob", "a", "open")));
    let tag =
        etag(&publish(&mut world, "bob", &format!("SIP-If-Match: {tag}\r\n"), &pidf("bob", "a", "closed")));
    let last = pidf("bob", "b", "open");
    assert_eq!(publish(&mut world, "bob", &format!("SIP-If-Match: {tag}\r\n"), &last).len(), 1);
    let sent = world.answer(first, 200, "");
    assert_eq!(only(&sent, "NOTIFY").request().body(), last.as_bytes());
    assert!(world.answer(only(&sent, "NOTIFY"), 200, "").is_empty());
}

/// §4.2.2: who is gone is not notified again; who is busy is, later.
#[test]
fn watchers_that_do_not_answer() {
    let mut world = world();
    let mut gone = Watcher::new("alice", "bob", "presence");
    let (_, sent) = gone.subscribe(&mut world, "");
    world.answer(&sent[0], 481, "");
    assert_eq!(world.core.events(), Some((0, 0)));

    let mut busy = Watcher::new("carol", "bob", "presence");
    let (_, sent) = busy.subscribe(&mut world, "");
    assert!(world.answer(&sent[0], 503, "Retry-After: 20\r\n").is_empty());
    let sent = world.seconds(21);
    assert!(!presence(first_notify(&sent)).is_open());
    world.answer(first_notify(&sent), 200, "");

    let mut silent = Watcher::new("dave", "bob", "presence");
    silent.subscribe(&mut world, "");
    world.seconds(33);
    assert_eq!(world.core.events(), Some((1, 0)), "carol stays");
}

/// Nobody refreshes: the end is told (§4.2.1.4).
#[test]
fn a_subscription_ends_by_itself() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence");
    let (answer, sent) = alice.subscribe(&mut world, "Expires: 100\r\n");
    assert_eq!(answer.headers.text("Expires"), Some("100"));
    world.answer(&sent[0], 200, "");
    let (answer, sent) = {
        world.seconds(60);
        alice.subscribe(&mut world, "Expires: 100\r\n")
    };
    assert_eq!(answer.status(), StatusCode::OK);
    world.answer(only(&sent, "NOTIFY"), 200, "");
    assert!(world.seconds(90).is_empty(), "it was refreshed");
    let sent = world.seconds(11);
    assert_eq!(state(first_notify(&sent)), "terminated;reason=timeout");
    world.answer(first_notify(&sent), 200, "");
    world.assert_nothing_left();
}

/// RFC 3857 §4.7.1: a pending watcher who gave up waits, and the user can decide still.
#[test]
fn a_watcher_waits_for_a_decision_after_its_subscription_has_ended() {
    let mut world = world_with(|events| events.permissions.users = Permission::Confirm);
    let mut own = Watcher::new("bob", "bob", "presence.winfo");
    own.at = BOB;
    own.watch(&mut world);
    let rows = |sent: &[Sent]| {
        let notify =
            sent.iter().rfind(|one| one.is(&sip_message::Method::Notify) && one.to() == BOB).unwrap();
        let info = WatcherInfo::parse(notify.request().body()).unwrap();
        let row = |row: &sip_dialog::packages::watcher_info::Watcher| (row.uri.clone(), row.status);
        info.lists[0].watchers.iter().map(row).collect::<Vec<_>>()
    };
    let answer = |world: &mut World, mut sent: Vec<Sent>| {
        let mut all = Vec::new();
        while !sent.is_empty() {
            let next = sent.remove(0);
            if next.is(&sip_message::Method::Notify) {
                sent.extend(world.answer(&next, 200, ""));
            }
            all.push(next);
        }
        all
    };
    // A fetch ends at once.
    let mut alice = Watcher::new("alice", "bob", "presence");
    let (_, sent) = alice.subscribe(&mut world, "Expires: 0\r\n");
    let sent = answer(&mut world, sent);
    let name = || "sip:alice@example.com".to_owned();
    assert_eq!(rows(&sent), [(name(), WatcherStatus::Waiting)]);
    // They come again: pending, once; and end by themselves.
    let mut again = Watcher::new("alice", "bob", "presence");
    again.call_id = "again".into();
    let (_, sent) = again.subscribe(&mut world, "Expires: 60\r\n");
    assert_eq!(rows(&answer(&mut world, sent)), [(name(), WatcherStatus::Pending)]);
    let sent = world.seconds(62);
    assert_eq!(rows(&answer(&mut world, sent)), [(name(), WatcherStatus::Waiting)]);
    // Bob decides; who comes now is shown the state.
    world.core.permit(world.now, &aor("bob"), "alice@example.com", Some(Permission::Allow));
    let sent = world.sent();
    assert_eq!(rows(&answer(&mut world, sent)), []);
    let mut third = Watcher::new("alice", "bob", "presence");
    third.call_id = "third".into();
    let (_, sent) = third.subscribe(&mut world, "Expires: 0\r\n");
    let to_alice = sent.iter().find(|one| one.to() == ALICE).unwrap();
    assert!(!presence(to_alice).is_open());
    answer(&mut world, sent);
    world.seconds(7200);
    assert_eq!(world.core.events(), Some((0, 0)));
}

/// RFC 3856 §6.6, RFC 3857: nothing before the user has decided, who is told of the watcher.
#[test]
fn a_pending_watcher_is_approved_and_later_rejected() {
    let mut world = world_with(|events| events.permissions.users = Permission::Confirm);
    publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    let mut own = Watcher::new("bob", "bob", "presence.winfo");
    own.at = BOB;
    let first = own.watch(&mut world);
    let info = WatcherInfo::parse(first.request().body()).unwrap();
    assert!(info.lists[0].watchers.is_empty());

    let mut alice = Watcher::new("alice", "bob", "presence");
    let (answer, sent) = alice.subscribe(&mut world, "");
    assert_eq!(answer.status(), StatusCode::OK);
    let to_alice = sent.iter().find(|sent| sent.to() == ALICE).unwrap();
    let to_bob = sent.iter().find(|sent| sent.to() == BOB).unwrap();
    assert!(state(to_alice).starts_with("pending;expires="));
    assert!(to_alice.request().body().is_empty(), "nothing leaks");
    let info = WatcherInfo::parse(to_bob.request().body()).unwrap();
    let row = &info.lists[0].watchers[0];
    assert_eq!((row.status, row.uri.as_str()), (WatcherStatus::Pending, "sip:alice@example.com"));
    assert_eq!(info.version, 1);
    world.answer(to_alice, 200, "");
    world.answer(to_bob, 200, "");

    let now = world.now;
    world.core.permit(now, &aor("bob"), "alice@example.com", Some(Permission::Allow));
    let sent = world.sent();
    let to_alice = sent.iter().find(|sent| sent.to() == ALICE).unwrap();
    assert!(state(to_alice).starts_with("active;") && presence(to_alice).is_open());
    let to_bob = sent.iter().find(|sent| sent.to() == BOB).unwrap();
    let info = WatcherInfo::parse(to_bob.request().body()).unwrap();
    assert_eq!(info.lists[0].watchers[0].status, WatcherStatus::Active);
    world.answer(to_alice, 200, "");
    world.answer(to_bob, 200, "");

    world.core.permit(now, &aor("bob"), "alice@example.com", Some(Permission::Block));
    let sent = world.sent();
    let to_alice = sent.iter().find(|sent| sent.to() == ALICE).unwrap();
    assert_eq!(state(to_alice), "terminated;reason=rejected");
    assert!(to_alice.request().body().is_empty());
    let to_bob = sent.iter().rfind(|sent| sent.to() == BOB).unwrap();
    assert!(WatcherInfo::parse(to_bob.request().body()).unwrap().lists[0].watchers.is_empty());
    let (answer, _) = Watcher::new("alice", "bob", "presence").subscribe(&mut world, "");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

/// RFC 5025 §3.2.1: who is blocked politely sees somebody who is away.
#[test]
fn a_polite_block_shows_somebody_who_is_away() {
    let mut world = world_with(|events| events.permissions.users = Permission::PoliteBlock);
    publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    let first = Watcher::new("alice", "bob", "presence").watch(&mut world);
    assert!(state(&first).starts_with("active;"));
    assert!(!presence(&first).is_open());
    assert_eq!(publish(&mut world, "bob", "", &pidf("bob", "b", "closed")).len(), 1, "changes are not told");
}

/// RFC 5839 §6: a subscriber who has the state is spared it.
#[test]
fn conditional_subscriptions() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence");
    let first = alice.watch(&mut world);
    let tag = first.request().headers.text("SIP-ETag").unwrap().to_owned();
    let condition = format!("Suppress-If-Match: {tag}\r\n");
    let (answer, sent) = alice.subscribe(&mut world, &condition);
    assert_eq!((answer.status().code(), answer.headers.text("SIP-ETag")), (204, Some(tag.as_str())));
    assert!(sent.is_empty());
    // A change is told.
    let sent = publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    world.answer(only(&sent, "NOTIFY"), 200, "");
    // A new subscription with the tag of a state that is no more gets the state; with the current one nothing but the tag.
    let (_, sent) = Watcher::new("carol", "bob", "presence").subscribe(&mut world, &condition);
    assert!(presence(&sent[0]).is_open());
    let tag = sent[0].request().headers.text("SIP-ETag").unwrap().to_owned();
    let condition = format!("Suppress-If-Match: {tag}\r\n");
    let (_, sent) = Watcher::new("dave", "bob", "presence").subscribe(&mut world, &condition);
    assert!(sent[0].request().body().is_empty());
}

/// RFC 6446 §5: no more often than the watcher wants.
#[test]
fn a_watcher_that_wants_fewer() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence;max-rate=0.1");
    let first = alice.watch(&mut world);
    assert!(state(&first).ends_with(";max-rate=0.1"), "{}", state(&first));
    assert_eq!(publish(&mut world, "bob", "", &pidf("bob", "a", "open")).len(), 1, "too soon");
    let sent = world.seconds(10);
    assert!(presence(only(&sent, "NOTIFY")).is_open());
}

/// RFC 6446 §6: and no less often, though nothing happens.
#[test]
fn a_watcher_that_wants_a_word_every_ten_seconds() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence;min-rate=0.1");
    let first = alice.watch(&mut world);
    assert!(state(&first).ends_with(";min-rate=0.1"), "{}", state(&first));
    for _ in 0..3 {
        let sent = world.seconds(10);
        let again = only(&sent, "NOTIFY");
        assert!(!presence(again).is_open());
        world.answer(again, 200, "");
    }
    // An answer to a change begins the time anew.
    world.seconds(5);
    let sent = publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    world.answer(only(&sent, "NOTIFY"), 200, "");
    assert!(world.seconds(9).is_empty());
    assert_eq!(world.seconds(1).len(), 1);
}

/// RFC 3842: what the mailbox publishes, and nothing where nobody did; not for others.
#[test]
fn waiting_messages() {
    let mut world = world();
    let mut bob = Watcher::new("bob", "bob", "message-summary");
    let first = bob.watch(&mut world);
    let text = String::from_utf8_lossy(first.request().body()).into_owned();
    assert!(text.starts_with("Messages-Waiting: no\r\n"), "{text}");
    let body = "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n";
    let lines = format!(
        "From: <sip:bob@example.com>;tag=m\r\nEvent: message-summary\r\n\
         Content-Type: application/simple-message-summary\r\nContent-Length: {}\r\n",
        body.len()
    );
    let text = world.request(BOB, "PUBLISH", "sip:bob@example.com", &lines) + body;
    let sent = world.udp(BOB, text);
    assert_eq!(only(&sent, "NOTIFY").request().body(), body.as_bytes());
    let (answer, _) = Watcher::new("alice", "bob", "message-summary").subscribe(&mut world, "");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

/// RFC 3680 §5: contacts come, are refreshed without a word, leave and end.
#[test]
fn registrations() {
    let mut world = world();
    let mut bob = Watcher::new("bob", "bob", "reg");
    let info = |notify: &Sent| RegInfo::parse(notify.request().body()).unwrap();
    let first = bob.watch(&mut world);
    assert_eq!(info(&first).registrations[0].state, RegistrationState::Init);
    let mut register = |contact: &str, extra: &str| {
        let lines = format!(
            "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: {contact}\r\n{extra}"
        );
        let text = world.request(BOB, "REGISTER", "sip:example.com", &lines);
        let sent = world.udp(BOB, text);
        let told: Vec<RegInfo> = sent.iter().filter(|sent| sent.name() == "NOTIFY").map(info).collect();
        for notify in sent.iter().filter(|sent| sent.name() == "NOTIFY") {
            world.answer(notify, 200, "");
        }
        told
    };
    let told = register("<sip:bob@192.0.2.12>", "Expires: 300\r\n");
    let contact = &told[0].registrations[0].contacts[0];
    assert_eq!((contact.state, contact.event), (ContactState::Active, ContactEvent::Registered));
    assert_eq!((told[0].version, contact.expires), (1, Some(300)));
    assert!(register("<sip:bob@192.0.2.12>", "Expires: 300\r\n").is_empty());
    let told = register("<sip:bob@192.0.2.13>", "Expires: 100\r\n");
    assert_eq!(told[0].registrations[0].contacts.len(), 2);
    let told = register("<sip:bob@192.0.2.12>", "Expires: 0\r\n");
    let gone = &told[0].registrations[0].contacts[1];
    assert_eq!((gone.state, gone.event), (ContactState::Terminated, ContactEvent::Unregistered));
    let sent = world.seconds(102);
    let last = info(first_notify(&sent));
    assert_eq!(last.registrations[0].state, RegistrationState::Terminated);
    assert_eq!(last.registrations[0].contacts[0].event, ContactEvent::Expired);
}

/// A flood from one address takes no more than its places, and no memory stays when they end.
#[test]
fn ten_thousand_subscriptions_from_one_source() {
    let mut world = world();
    let mut taken = 0;
    for n in 0..10_000 {
        let lines = format!(
            "From: <sip:mallory@example.com>;tag=w\r\nContact: <sip:m@{ALICE}>\r\nEvent: presence\r\nCall-ID: flood{n}\r\n"
        );
        let text = world.request(ALICE, "SUBSCRIBE", "sip:bob@example.com", &lines);
        let sent = world.udp(ALICE, text);
        match sent[0].response().status().code() {
            200 => {
                taken += 1;
                world.answer(&sent[1], 200, "");
            }
            480 => assert!(sent[0].response().headers.text("Retry-After").is_some()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(taken, 1000);
    // Others are served.
    let mut carol = Watcher::new("carol", "bob", "presence");
    carol.at = "192.0.2.99:5060";
    carol.watch(&mut world);
    world.seconds(7300);
    assert_eq!(world.core.events(), Some((0, 0)));
    world.assert_nothing_left();
}

/// NOTIFYs are bounded: the rest waits for answers, and all are told in the end.
#[test]
fn one_change_that_many_watch() {
    let mut world = world_with(|events| events.limits.notifying = 10);
    let names: Vec<&'static str> = (0..50).map(|n| &*Box::leak(format!("w{n}").into_boxed_str())).collect();
    for name in &names {
        Watcher::new(name, "bob", "presence").watch(&mut world);
    }
    let sent = publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    let mut waiting: Vec<Sent> = sent.into_iter().filter(|sent| sent.name() == "NOTIFY").collect();
    assert_eq!(waiting.len(), 10);
    let mut told = 0;
    while let Some(notify) = waiting.pop() {
        told += 1;
        waiting.extend(world.answer(&notify, 200, ""));
        assert!(waiting.len() <= 10);
    }
    assert_eq!(told, 50);
}

/// A browser's Contact leads nowhere: its connection is the way, also after it has come back on another one.
#[test]
fn a_phone_on_a_connection() {
    let mut world = world();
    let subscribe = |world: &mut World, flow: u64, cseq: u32, to: &str, uri: &str| {
        let lines = format!(
            "From: <sip:alice@example.com>;tag=w\r\nTo: <sip:bob@example.com>{to}\r\nCall-ID: c\r\n\
             CSeq: {cseq} SUBSCRIBE\r\nContact: <sip:x@192.0.2.11:5060;transport=tcp>\r\nEvent: presence\r\n"
        );
        let text = world.request(ALICE, "SUBSCRIBE", uri, &lines).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        world.tcp(ALICE, flow, text)
    };
    let sent = subscribe(&mut world, 7, 1, "", "sip:bob@example.com");
    let tag = to_tag(sent[0].response()).unwrap();
    assert_eq!(sent[1].transmit.path.flow.map(|flow| flow.0), Some(7));
    world.answer(&sent[1], 200, "");
    // The connection dies while there is something to tell.
    let sent = publish(&mut world, "bob", "", &pidf("bob", "a", "open"));
    world.fail(only(&sent, "NOTIFY"));
    assert_eq!(world.core.events(), Some((1, 1)));
    let to = format!(";tag={tag}");
    let sent = subscribe(&mut world, 8, 2, &to, "sip:192.0.2.1:5060;transport=tcp");
    let notify = only(&sent, "NOTIFY");
    assert_eq!(notify.transmit.path.flow.map(|flow| flow.0), Some(8));
    assert!(presence(notify).is_open());
}
