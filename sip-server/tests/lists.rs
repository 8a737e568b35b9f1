//! Many users in one subscription (RFC 4662, RFC 5367), and presence with what has changed alone (RFC 5263).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_dialog::Body;
use sip_dialog::packages::Completeness;
use sip_dialog::packages::dialog_info::DialogInfo;
use sip_dialog::packages::partial_presence::{PartialPresence, PresenceTable};
use sip_dialog::packages::presence::Presence;
use sip_dialog::packages::resource_list::{Entry, ResourceLists};
use sip_dialog::packages::rlmi::{InstanceState, ListNotification};
use sip_message::{Limits, StatusCode};
use sip_server::events::{EventConfig, Permission};
use sip_server::{AddressOfRecord, Config, Users};
use world::watcher::Watcher;
use world::{ALICE, BOB, Sent, World, only};

const LISTS: &str =
    "Supported: eventlist\r\nAccept: application/pidf+xml, multipart/related, application/rlmi+xml\r\n";

fn aor(user: &str) -> AddressOfRecord {
    AddressOfRecord::new(&format!("sip:{user}@example.com").parse().unwrap(), "example.com").unwrap()
}

fn world_with(change: impl FnOnce(&mut Config)) -> World {
    World::with(|config: &mut Config| {
        let mut events = EventConfig::new();
        let members = ["sip:bob@example.com", "sip:carol@example.com", "sip:eve@elsewhere.example"];
        events.lists.insert(aor("sales"), members.into_iter().map(Into::into).collect());
        config.events = Some(events);
        change(config);
    })
}

fn pidf(user: &str, basic: &str) -> String {
    let tuple =
        |id: &str, basic: &str| format!("<tuple id=\"{id}\"><status><basic>{basic}</basic></status></tuple>");
    let others: String = (0..8).map(|n| tuple(&format!("t{n}"), "open")).collect();
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:{user}@example.com\">{}{others}</presence>",
        tuple("a", basic)
    )
}

fn publish(world: &mut World, user: &str, extra: &str, body: &str) -> (String, Vec<Sent>) {
    let lines = format!(
        "From: <sip:{user}@example.com>;tag=p\r\nEvent: presence\r\nContent-Type: application/pidf+xml\r\n{extra}\
         Content-Length: {}\r\n",
        body.len()
    );
    let text = world.request(BOB, "PUBLISH", &format!("sip:{user}@example.com"), &lines) + body;
    let mut sent = world.udp(BOB, text);
    let answer = sent.remove(0);
    (answer.response().headers.text("SIP-ETag").unwrap().to_owned(), sent)
}

fn list(notify: &Sent) -> ListNotification {
    let request = notify.request();
    assert_eq!(request.headers.text("Require"), Some("eventlist"));
    let content_type = request.headers.text("Content-Type").unwrap().to_owned();
    assert!(content_type.starts_with("multipart/related"), "{content_type}");
    ListNotification::parse(&Body { content_type, octets: request.body().clone() }, &Limits::default())
        .unwrap()
}

/// URI, state and reason of each resource, and whether it has a part.
fn rows(list: &ListNotification) -> Vec<(String, InstanceState, Option<String>, bool)> {
    let row = |row: &sip_dialog::packages::rlmi::Resource| {
        let [one] = row.instances.as_slice() else { panic!("{row:?}") };
        let part = one.cid.as_deref().map(|cid| list.part(cid).expect("the part that is named"));
        (row.uri.clone(), one.state, one.reason.clone(), part.is_some())
    };
    list.list.resources.iter().map(row).collect()
}

/// RFC 4662 §5: everything first, then what has changed; who is elsewhere is not asked.
#[test]
fn a_list_of_the_settings() {
    let mut world = world_with(|_| {});
    let mut alice = Watcher::new("alice", "sales", "presence");
    // Who does not know lists is told so (§4.1).
    let (answer, sent) = alice.subscribe(&mut world, "");
    assert_eq!((answer.status().code(), answer.headers.text("Require")), (421, Some("eventlist")));
    assert!(sent.is_empty());

    let (tag, _) = publish(&mut world, "bob", "", &pidf("bob", "open"));
    let (answer, sent) = alice.subscribe(&mut world, LISTS);
    assert_eq!((answer.status(), answer.headers.text("Require")), (StatusCode::OK, Some("eventlist")));
    let first = list(only(&sent, "NOTIFY"));
    assert_eq!((first.list.version, first.list.completeness), (0, Completeness::Full));
    assert_eq!(first.list.uri, "sip:sales@example.com");
    let (active, over) = (InstanceState::Active, InstanceState::Terminated);
    assert_eq!(
        rows(&first),
        [
            ("sip:bob@example.com".into(), active, None, true),
            ("sip:carol@example.com".into(), active, None, true),
            ("sip:eve@elsewhere.example".into(), over, Some("noresource".into()), false),
        ]
    );
    let bob = first.list.resources[0].instances[0].cid.clone().unwrap();
    assert_eq!(Presence::parse(&first.part(&bob).unwrap().octets).unwrap().entity, "sip:bob@example.com");

    // Two change while the first is under way: one NOTIFY with both, and with none else.
    let (tag, sent_of_bob) =
        publish(&mut world, "bob", &format!("SIP-If-Match: {tag}\r\n"), &pidf("bob", "closed"));
    assert!(sent_of_bob.is_empty());
    publish(&mut world, "carol", "", &pidf("carol", "open"));
    let sent = world.answer(only(&sent, "NOTIFY"), 200, "");
    let second = list(only(&sent, "NOTIFY"));
    assert_eq!((second.list.version, second.list.completeness), (1, Completeness::Partial));
    assert_eq!(rows(&second).len(), 2);
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let (_, sent) = publish(&mut world, "bob", &format!("SIP-If-Match: {tag}\r\n"), &pidf("bob", "open"));
    let third = list(only(&sent, "NOTIFY"));
    assert_eq!(rows(&third), [("sip:bob@example.com".into(), active, None, true)]);
    // Not taken: the next one is whole again.
    world.answer(only(&sent, "NOTIFY"), 503, "Retry-After: 10\r\n");
    let sent = world.seconds(11);
    let again = sent.iter().find(|one| one.name() == "NOTIFY").unwrap();
    assert_eq!((list(again).list.completeness, rows(&list(again)).len()), (Completeness::Full, 3));
    world.answer(again, 200, "");

    // A refresh brings everything (§5.2); the end leaves nothing.
    let (_, sent) = alice.subscribe(&mut world, LISTS);
    assert_eq!(list(only(&sent, "NOTIFY")).list.completeness, Completeness::Full);
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let (_, sent) = alice.subscribe(&mut world, "Expires: 0\r\n");
    world.answer(only(&sent, "NOTIFY"), 200, "");
    assert_eq!(world.core.events().unwrap().0, 0);
    let (_, sent) = publish(&mut world, "bob", "", &pidf("bob", "open"));
    assert!(sent.is_empty());
}

/// Each member's permission is asked for who subscribes, and holds at once when it is another one.
#[test]
fn permissions_of_each_member() {
    let mut world = world_with(|config| {
        let permissions = &mut config.events.as_mut().unwrap().permissions;
        permissions.set(&aor("bob"), "alice@example.com", Some(Permission::Block));
        permissions.set(&aor("carol"), "alice@example.com", Some(Permission::Confirm));
    });
    let mut own = Watcher::new("carol", "carol", "presence.winfo");
    own.at = BOB;
    own.watch(&mut world);
    publish(&mut world, "bob", "", &pidf("bob", "open"));
    let mut alice = Watcher::new("alice", "sales", "presence");
    let (_, sent) = alice.subscribe(&mut world, LISTS);
    let to_alice = sent.iter().find(|one| one.to() == ALICE).unwrap();
    let first = rows(&list(to_alice));
    assert_eq!((first[0].1, first[0].2.as_deref()), (InstanceState::Terminated, Some("rejected")));
    assert_eq!((first[1].1, first[1].3), (InstanceState::Pending, false));
    world.answer(to_alice, 200, "");
    // Carol is asked as by any watcher, and agrees.
    let to_carol = sent.iter().find(|one| one.to() == BOB).unwrap();
    assert!(String::from_utf8_lossy(to_carol.request().body()).contains("alice@example.com"));
    world.answer(to_carol, 200, "");
    world.core.permit(world.now, &aor("carol"), "alice@example.com", Some(Permission::Allow));
    let sent = world.sent();
    let to_alice = sent.iter().find(|one| one.to() == ALICE).unwrap();
    assert_eq!(rows(&list(to_alice)), [("sip:carol@example.com".into(), InstanceState::Active, None, true)]);
}

fn within(uris: &[String]) -> (String, String) {
    let body = ResourceLists::of(uris.iter().map(|uri| Entry::new(uri))).to_xml();
    let lines = format!(
        "From: <sip:alice@example.com>;tag=w\r\nContact: <sip:alice@192.0.2.11>\r\nEvent: dialog\r\n\
         Require: recipient-list-subscribe\r\nSupported: eventlist\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    (lines, body)
}

/// RFC 5367: the list comes in the request; here a panel of lamps.
#[test]
fn a_list_within_the_request() {
    let mut world = world_with(|config| config.users = Some(Users::parse("alice:a\nbob:b\n").unwrap()));
    world
        .core
        .reconfigure(
            {
                let mut config = Config::new([7; 32], world::locals());
                config.domains = vec!["example.com".into()];
                config.events = Some(EventConfig::new());
                config.users = Some(Users::parse("alice:a\nbob:b\n").unwrap());
                config.challenge_calls = false;
                config
            },
            world.now,
        )
        .unwrap();
    let uris =
        ["sip:bob@example.com", "sip:bob@example.com", "sip:nobody@example.com", "sip:x@elsewhere.example"];
    let (lines, body) = within(&uris.map(str::to_owned));
    let text = world.request(ALICE, "SUBSCRIBE", "sip:panel@example.com", &lines) + &body;
    let sent = world.udp(ALICE, text);
    assert_eq!(only(&sent, "200").response().headers.text("Require"), Some("eventlist"));
    let first = list(only(&sent, "NOTIFY"));
    let states: Vec<_> =
        rows(&first).into_iter().map(|(uri, state, reason, _)| (uri, state, reason)).collect();
    let (active, over) = (InstanceState::Active, InstanceState::Terminated);
    assert_eq!(
        states,
        [
            ("sip:bob@example.com".into(), active, None),
            ("sip:nobody@example.com".into(), over, Some("noresource".into())),
            ("sip:x@elsewhere.example".into(), over, Some("noresource".into())),
        ]
    );
    world.answer(only(&sent, "NOTIFY"), 200, "");
    // The lamp of a member lights.
    world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
    let invite =
        world.request(ALICE, "INVITE", "sip:bob@example.com", "From: <sip:zoe@elsewhere.example>;tag=z\r\n");
    let sent = world.udp(ALICE, invite);
    if let Some(notify) = sent.iter().find(|one| one.name() == "NOTIFY") {
        let lamp = list(notify);
        assert_eq!(DialogInfo::parse(&lamp.parts[0].1.octets).unwrap().dialogs.len(), 1);
    }
}

/// A refresh with another list takes the place of the one before (RFC 5367 §4).
#[test]
fn a_refresh_with_another_list() {
    let mut world = world_with(|_| {});
    let mut ask = |users: [&str; 2], tag: &str, cseq: u32| {
        let (lines, body) = within(&users.map(|user| format!("sip:{user}@example.com")));
        let lines = lines.replace("Event: dialog", "Event: presence");
        let lines = format!(
            "Call-ID: panel\r\nTo: <sip:panel@example.com>{tag}\r\nCSeq: {cseq} SUBSCRIBE\r\n{lines}"
        );
        let uri = if tag.is_empty() { "sip:panel@example.com" } else { "sip:192.0.2.1:5060" };
        let text = world.request(ALICE, "SUBSCRIBE", uri, &lines) + &body;
        let sent = world.udp(ALICE, text);
        let tag = world::to_tag(only(&sent, "200").response()).unwrap();
        let notify = only(&sent, "NOTIFY");
        world.answer(notify, 200, "");
        let uris: Vec<String> = list(notify).list.resources.iter().map(|row| row.uri.clone()).collect();
        (format!(";tag={tag}"), uris)
    };
    let (tag, first) = ask(["bob", "carol"], "", 1);
    assert_eq!(first, ["sip:bob@example.com", "sip:carol@example.com"]);
    let (_, second) = ask(["carol", "dave"], &tag, 2);
    assert_eq!(second, ["sip:carol@example.com", "sip:dave@example.com"]);
    assert!(publish(&mut world, "bob", "", &pidf("bob", "open")).1.is_empty());
    for user in ["carol", "dave"] {
        let (_, sent) = publish(&mut world, user, "", &pidf(user, "open"));
        assert_eq!(rows(&list(only(&sent, "NOTIFY"))).len(), 1);
        world.answer(only(&sent, "NOTIFY"), 200, "");
    }
}

/// The errors: too many, none, another type, something that is no list; strangers.
#[test]
fn lists_that_are_refused() {
    let mut world = world_with(|_| {});
    let mut ask = |lines: String, body: String| {
        let text = world.request(ALICE, "SUBSCRIBE", "sip:panel@example.com", &lines) + &body;
        world.udp(ALICE, text)[0].response().status().code()
    };
    let many: Vec<String> = (0..201).map(|n| format!("sip:u{n}@example.com")).collect();
    let (lines, body) = within(&many);
    assert_eq!(ask(lines, body), 413);
    let (lines, body) = within(&many[..200]);
    assert_eq!(ask(lines, body), 200, "its NOTIFY goes in parts");
    let (lines, body) = within(&[]);
    assert_eq!(ask(lines, body), 400);
    let (lines, body) = within(&many[..1]);
    assert_eq!(ask(lines.clone(), "x".repeat(body.len())), 400);
    assert_eq!(ask(lines.replace("resource-lists", "nothing"), body), 415);
    let mut world = world_with(|config| config.users = Some(Users::parse("alice:a\n").unwrap()));
    let lines = "From: <sip:eve@elsewhere.example>;tag=w\r\nContact: <sip:eve@192.0.2.11>\r\nEvent: presence\r\n\
                 Supported: eventlist\r\n";
    assert_eq!(world.ask(ALICE, "SUBSCRIBE", "sip:sales@example.com", lines).status(), StatusCode::FORBIDDEN);
}

/// A NOTIFY about many users goes into datagrams: the whole list, and the documents that did not fit after it.
#[test]
fn a_list_that_does_not_fit_into_one_notify() {
    let mut world = world_with(|_| {});
    let uris: Vec<String> = (0..100).map(|n| format!("sip:u{n}@example.com")).collect();
    for n in 0..100 {
        publish(&mut world, &format!("u{n}"), "", &pidf(&format!("u{n}"), "open"));
    }
    let (lines, body) = within(&uris);
    let lines = lines.replace("Event: dialog", "Event: presence");
    let text = world.request(ALICE, "SUBSCRIBE", "sip:panel@example.com", &lines) + &body;
    let mut sent = world.udp(ALICE, text);
    let (mut told, mut notifies) = (std::collections::BTreeSet::new(), 0);
    while let Some(notify) = sent.iter().find(|one| one.name() == "NOTIFY") {
        let one = list(notify);
        assert!(notify.transmit.payload.len() < 60_000);
        assert_eq!(one.list.completeness == Completeness::Full, notifies == 0);
        assert_eq!(one.list.version, notifies);
        notifies += 1;
        let instances = one.list.resources.iter().filter(|row| !row.instances.is_empty());
        told.extend(instances.map(|row| row.uri.clone()));
        sent = world.answer(notify, 200, "");
    }
    assert_eq!(told.len(), 100);
    assert!((2..5).contains(&notifies), "{notifies}");
}

/// RFC 5263: the whole state first, then changes that lead to the same state; whole again after a refresh or a loss.
#[test]
fn changes_of_presence_alone() {
    const BOTH: &str = "Accept: application/pidf-diff+xml, application/pidf+xml;q=0.5\r\n";
    let mut world = world_with(|_| {});
    let (mut tag, _) = publish(&mut world, "bob", "", &pidf("bob", "open"));
    let mut alice = Watcher::new("alice", "bob", "presence");
    let mut plain = Watcher::new("carol", "bob", "presence");
    plain.watch(&mut world);
    let (_, sent) = alice.subscribe(&mut world, BOTH);
    let mut table = PresenceTable::new();
    let read = |notify: &Sent| {
        assert_eq!(notify.request().headers.text("Content-Type"), Some("application/pidf-diff+xml"));
        PartialPresence::parse(notify.request().body()).unwrap()
    };
    let full = read(only(&sent, "NOTIFY"));
    assert!(matches!(full, PartialPresence::Full(_)));
    table.receive(full).unwrap();
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let mut change = |world: &mut World, basic: &str, status: u16| {
        let (new, sent) = publish(world, "bob", &format!("SIP-If-Match: {tag}\r\n"), &pidf("bob", basic));
        tag = new;
        let notify = sent
            .iter()
            .find(|one| one.request().headers.text("Call-ID").unwrap().starts_with("alice"))
            .unwrap();
        let other = sent
            .iter()
            .find(|one| one.request().headers.text("Call-ID").unwrap().starts_with("carol"))
            .unwrap();
        let whole = Presence::parse(other.request().body()).unwrap();
        world.answer(other, 200, "");
        let extra = if status == 503 { "Retry-After: 5\r\n" } else { "" };
        world.answer(notify, status, extra);
        (read(notify), whole, notify.request().body().len() < other.request().body().len())
    };
    for basic in ["closed", "open", "closed"] {
        let (diff, whole, shorter) = change(&mut world, basic, 200);
        assert!(matches!(diff, PartialPresence::Diff(_)) && shorter);
        table.receive(diff).unwrap();
        assert_eq!(table.presence().unwrap(), whole);
    }
    // Lost on the way: what follows is whole.
    change(&mut world, "open", 503);
    let sent = world.seconds(6);
    let again = read(sent.iter().find(|one| one.name() == "NOTIFY").unwrap());
    assert!(matches!(again, PartialPresence::Full(_)));
    table.receive(again).unwrap();
    assert!(table.presence().unwrap().tuples[0].basic.is_some());
    for notify in sent.iter().filter(|one| one.name() == "NOTIFY").take(1) {
        world.answer(notify, 200, "");
    }
    let (diff, whole, _) = change(&mut world, "closed", 200);
    table.receive(diff).unwrap();
    assert_eq!(table.presence().unwrap(), whole);
    let (_, sent) = alice.subscribe(&mut world, BOTH);
    assert!(matches!(read(only(&sent, "NOTIFY")), PartialPresence::Full(_)));
}
