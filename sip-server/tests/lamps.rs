//! Package `dialog`: lamps that show who talks, and pick-up (RFC 4235, RFC 3891), from the calls that pass the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_dialog::packages::Completeness;
use sip_dialog::packages::dialog_info::{DialogEntry, DialogEvent, DialogInfo, DialogState, Direction};
use sip_message::headers::RecordRoute;
use sip_message::{Request, Response, StatusCode};
use sip_server::events::{EventConfig, Package, Permission};
use sip_server::settings::Settings;
use sip_server::{Config, Users};
use world::watcher::Watcher;
use world::{ALICE, BOB, Sent, World, only};

const DAVE: &str = "192.0.2.31:5060";
const CAROL: &str = "192.0.2.14:5060";

fn world_with(change: impl FnOnce(&mut Config)) -> World {
    registered(World::with(|config: &mut Config| {
        config.events = Some(EventConfig::new());
        change(config);
    }))
}

fn registered(mut world: World) -> World {
    world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
    world
}

fn world() -> World {
    world_with(|_| {})
}

fn lamp(whom: &'static str) -> Watcher {
    let mut watcher = Watcher::new("dave", whom, "dialog");
    watcher.at = DAVE;
    watcher
}

fn document(notify: &Sent) -> DialogInfo {
    let request = notify.request();
    assert_eq!(request.headers.text("Content-Type"), Some("application/dialog-info+xml"));
    let info = DialogInfo::parse(request.body()).unwrap();
    assert_eq!(info.completeness, Completeness::Full);
    info
}

/// What the lamp was told last among these; all of it is answered.
fn told(world: &mut World, mut sent: Vec<Sent>) -> Vec<DialogEntry> {
    let mut last = None;
    while let Some(at) = sent.iter().position(|one| one.name() == "NOTIFY" && one.to() == DAVE) {
        let notify = sent.remove(at);
        last = Some(document(&notify).dialogs);
        sent.extend(world.answer(&notify, 200, ""));
    }
    last.expect("a NOTIFY")
}

fn states(dialogs: &[DialogEntry]) -> Vec<(DialogState, Option<DialogEvent>)> {
    let mut all: Vec<_> = dialogs.iter().map(|dialog| (dialog.state, dialog.event)).collect();
    all.sort_by_key(|(state, _)| state.as_str());
    all
}

/// Alice calls bob; the INVITE as it was sent, and what the server sent.
fn call(world: &mut World, whom: &str) -> (Request, Vec<Sent>) {
    let lines = "From: \"Alice\" <sip:alice@example.com>;tag=a1\r\nContact: <sip:alice@192.0.2.11:5060>\r\n";
    let text = world.request(ALICE, "INVITE", &format!("sip:{whom}@example.com"), lines);
    let sent = world.udp(ALICE, text.clone());
    (Request::parse(text.into(), &sip_message::Limits::default()).unwrap(), sent)
}

fn answer(world: &mut World, invite: &Sent, status: u16, tag: &str) -> Vec<Sent> {
    let status = StatusCode::new(status).unwrap();
    let contact = invite.request().uri_text();
    let mut reply = invite.request().reply(status);
    if !tag.is_empty() {
        reply = reply.to_tag(tag).raw("Contact", &format!("<{contact}>"));
    }
    let text = reply.build().unwrap().to_string();
    world.udp(&invite.to(), text)
}

/// A request within the dialog of these, answered 200 by the other side.
fn within(
    world: &mut World,
    method: &str,
    (invite, ok): (&Request, &Response),
    by_caller: bool,
) -> Vec<Sent> {
    let contacts =
        if method == "INVITE" { ["sip:alice@192.0.2.11:5060", "sip:bob@192.0.2.12:5060"] } else { [""; 2] };
    within_from(world, method, (invite, ok), by_caller, contacts, 200)
}

/// The same with Contacts of caller and callee, and another answer.
fn within_from(
    world: &mut World,
    method: &str,
    (invite, ok): (&Request, &Response),
    by_caller: bool,
    contacts: [&str; 2],
    status: u16,
) -> Vec<Sent> {
    let [of_caller, of_callee] = contacts.map(|uri| match uri {
        "" => String::new(),
        uri => format!("Contact: <{uri}>\r\n"),
    });
    let (asked, answered) = if by_caller { (of_caller, of_callee) } else { (of_callee, of_caller) };
    let routes: String =
        ok.headers.all::<RecordRoute>().map(|route| format!("Route: {}\r\n", route.unwrap())).collect();
    let (caller, callee) = (invite.headers.text("From").unwrap(), ok.headers.text("To").unwrap());
    let (source, uri, from, to) = match by_caller {
        true => (ALICE, "sip:bob@192.0.2.12:5060", caller, callee),
        false => (BOB, "sip:alice@192.0.2.11:5060", callee, caller),
    };
    let call_id = invite.headers.text("Call-ID").unwrap();
    let lines = format!("{routes}From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n{asked}");
    let text = world.request(source, method, uri, &lines);
    let sent = world.udp(source, text);
    world.answer(only(&sent, method), status, &answered)
}

fn ok_of(sent: &[Sent]) -> Response {
    only(sent, "200").response().clone()
}

/// RFC 4235 §3.7.1: trying, early, confirmed, terminated; what pick-up by Replaces needs is in the document (RFC 3891 §3).
#[test]
fn a_lamp_follows_a_call_from_ring_to_bye() {
    let mut world = world();
    let mut dave = lamp("bob");
    let first = dave.watch(&mut world);
    assert_eq!(
        (document(&first).dialogs.len(), document(&first).entity.as_str()),
        (0, "sip:bob@example.com")
    );
    assert_eq!(document(&first).version, 0);

    let (invite, sent) = call(&mut world, "bob");
    let forwarded = only(&sent, "INVITE").request().headers.text("Call-ID").unwrap().to_owned();
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    let notify = only(&sent, "NOTIFY");
    let info = document(notify);
    assert_eq!(info.version, 1);
    let [trying] = info.dialogs.as_slice() else { panic!("{info:?}") };
    assert_eq!((trying.state, trying.direction), (DialogState::Trying, Some(Direction::Recipient)));
    assert_eq!(
        (trying.call_id.as_deref(), trying.remote_tag.as_deref()),
        (Some(forwarded.as_str()), Some("a1"))
    );
    assert_eq!(trying.remote.identities[0].uri, "sip:alice@example.com");
    assert_eq!(trying.remote.identities[0].display.as_deref(), Some("Alice"));
    world.answer(notify, 200, "");

    let rings = answer(&mut world, &sent[to_bob], 180, "b1");
    let [early] = told(&mut world, rings).try_into().unwrap();
    assert_eq!((early.state, early.local_tag.as_deref()), (DialogState::Early, Some("b1")));
    assert_eq!(early.id, trying.id, "one dialog has one name (§3.7)");
    assert_eq!(early.remote.target.as_ref().unwrap().0, "sip:alice@192.0.2.11:5060", "whom a pick-up calls");

    world.seconds(3);
    let answered = answer(&mut world, &sent[to_bob], 200, "b1");
    let ok = ok_of(&answered);
    let [up] = told(&mut world, answered).try_into().unwrap();
    assert_eq!((up.state, up.duration), (DialogState::Confirmed, Some(3)));

    // A re-INVITE that holds the call, from the same place, changes nothing.
    let held = within(&mut world, "INVITE", (&invite, &ok), true);
    assert!(held.iter().all(|one| one.name() != "NOTIFY"), "{held:?}");

    let bye = within(&mut world, "BYE", (&invite, &ok), true);
    let over = told(&mut world, bye);
    assert_eq!(states(&over), [(DialogState::Terminated, Some(DialogEvent::RemoteBye))]);
    // It is told of once: the next document has it no more.
    let (_, sent) = call(&mut world, "bob");
    assert_eq!(states(&told(&mut world, sent)), [(DialogState::Trying, None)]);
}

/// The same call, seen from the caller.
#[test]
fn the_lamp_of_who_calls() {
    let mut world = world();
    let mut dave = lamp("alice");
    dave.watch(&mut world);
    let (invite, sent) = call(&mut world, "bob");
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    let notify = only(&sent, "NOTIFY");
    let [trying] = document(notify).dialogs.try_into().unwrap();
    assert_eq!((trying.state, trying.direction), (DialogState::Trying, Some(Direction::Initiator)));
    world.answer(notify, 200, "");
    let answered = answer(&mut world, &sent[to_bob], 200, "b1");
    let ok = ok_of(&answered);
    let [up] = told(&mut world, answered).try_into().unwrap();
    assert_eq!((up.local_tag.as_deref(), up.remote_tag.as_deref()), (Some("a1"), Some("b1")));
    assert_eq!(up.remote.identities[0].uri, "sip:bob@example.com");
    assert_eq!(up.remote.target.unwrap().0, "sip:bob@192.0.2.12:5060");
    let bye = within(&mut world, "BYE", (&invite, &ok), false);
    assert_eq!(states(&told(&mut world, bye)), [(DialogState::Terminated, Some(DialogEvent::RemoteBye))]);
}

/// Two phones of bob ring: a dialog each; the one that does not answer is over (RFC 4235 §3.7.1, forking).
#[test]
fn a_call_that_is_answered_at_the_other_phone() {
    let mut world = world();
    world.register("bob", "<sip:bob@192.0.2.13:5060>", "");
    let mut dave = lamp("bob");
    dave.watch(&mut world);
    let (_, sent) = call(&mut world, "bob");
    let phones: Vec<usize> = (0..sent.len()).filter(|at| sent[*at].name() == "INVITE").collect();
    assert_eq!(phones.len(), 2);
    let notify = only(&sent, "NOTIFY");
    let mut all = world.answer(notify, 200, "");
    all.extend(answer(&mut world, &sent[phones[0]], 180, "b1"));
    all.extend(answer(&mut world, &sent[phones[1]], 180, "b2"));
    let ringing = told(&mut world, all);
    assert_eq!(states(&ringing), [(DialogState::Early, None), (DialogState::Early, None)]);
    let tags: Vec<&str> = ringing.iter().filter_map(|dialog| dialog.local_tag.as_deref()).collect();
    assert_eq!(tags, ["b1", "b2"]);

    let answered = answer(&mut world, &sent[phones[1]], 200, "b2");
    let after = told(&mut world, answered);
    let cancelled = Some(DialogEvent::Cancelled);
    assert_eq!(states(&after), [(DialogState::Confirmed, None), (DialogState::Terminated, cancelled)]);
    let up = after.iter().find(|dialog| dialog.state == DialogState::Confirmed).unwrap();
    assert_eq!(up.local_tag.as_deref(), Some("b2"));
}

/// A branch forks behind us: each tag is a dialog, and the answer ends the others.
#[test]
fn forks_that_the_caller_sees() {
    let mut world = world();
    let mut dave = lamp("alice");
    dave.watch(&mut world);
    let (_, sent) = call(&mut world, "bob");
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    let mut all = world.answer(only(&sent, "NOTIFY"), 200, "");
    for tag in ["x", "y", "x"] {
        all.extend(answer(&mut world, &sent[to_bob], 180, tag));
    }
    assert_eq!(states(&told(&mut world, all)), [(DialogState::Early, None), (DialogState::Early, None)]);
    let answered = answer(&mut world, &sent[to_bob], 200, "y");
    let after = told(&mut world, answered);
    let cancelled = Some(DialogEvent::Cancelled);
    assert_eq!(states(&after), [(DialogState::Confirmed, None), (DialogState::Terminated, cancelled)]);
}

/// The caller gives up; the callee refuses; nobody is there.
#[test]
fn calls_that_are_not_answered() {
    let mut world = world();
    let mut dave = lamp("bob");
    dave.watch(&mut world);
    let (invite, sent) = call(&mut world, "bob");
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let rings = answer(&mut world, &sent[to_bob], 180, "b1");
    told(&mut world, rings);
    let cancel = invite.to_string().replacen("INVITE", "CANCEL", 1).replace(" INVITE\r\n", " CANCEL\r\n");
    world.udp(ALICE, cancel);
    let ended = answer(&mut world, &sent[to_bob], 487, "b1");
    let over = told(&mut world, ended);
    assert_eq!(states(&over), [(DialogState::Terminated, Some(DialogEvent::Cancelled))]);

    let (_, sent) = call(&mut world, "bob");
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let refused = answer(&mut world, &sent[to_bob], 486, "b2");
    let over = told(&mut world, refused);
    assert_eq!(states(&over), [(DialogState::Terminated, Some(DialogEvent::Rejected))]);
    assert_eq!(over[0].code, Some(486));

    let mut alice = lamp("alice");
    alice.watch(&mut world);
    let (_, sent) = call(&mut world, "nobody");
    let seen = told(&mut world, sent);
    assert_eq!(states(&seen), [(DialogState::Terminated, Some(DialogEvent::Rejected))]);
}

/// A subscription in mid-call begins with the call.
#[test]
fn who_comes_later_sees_the_call() {
    // With several cores the first NOTIFY goes before the others have told of their calls: see `side_by_side`.
    let mut world = registered(World::of_one_core(|config| config.events = Some(EventConfig::new())));
    let (_, sent) = call(&mut world, "bob");
    answer(&mut world, only(&sent, "INVITE"), 200, "b1");
    world.seconds(60);
    let mut dave = lamp("bob");
    let first = document(&dave.watch(&mut world));
    assert_eq!(states(&first.dialogs), [(DialogState::Confirmed, None)]);
    assert_eq!(first.dialogs[0].duration, Some(60));
    // Of a call that nobody ends nothing is heard for a day.
    let (answer, sent) = dave.subscribe(&mut world, "Expires: 7200\r\n");
    assert_eq!(answer.status(), StatusCode::OK);
    told(&mut world, sent);
}

/// Nothing is heard of a call for so long that it has ended, though nobody said so.
#[test]
fn a_call_that_nobody_ends_is_forgotten() {
    let mut world = world();
    let (_, sent) = call(&mut world, "bob");
    answer(&mut world, only(&sent, "INVITE"), 200, "b1");
    world.seconds(24 * 3600 + 60);
    world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
    assert!(document(&lamp("bob").watch(&mut world)).dialogs.is_empty());
}

/// Permissions are those of presence: strangers are blocked, who is blocked politely sees nobody talk.
#[test]
fn who_may_watch_the_lamp() {
    let mut world = world_with(|config| {
        let events = config.events.as_mut().unwrap();
        events.permissions.users = Permission::PoliteBlock;
    });
    call(&mut world, "bob");
    assert!(document(&lamp("bob").watch(&mut world)).dialogs.is_empty());

    let mut world = World::with(|config| {
        config.events = Some(EventConfig::new());
        config.users = Some(Users::parse("bob:x\ndave:y").unwrap());
    });
    let lines =
        "From: <sip:eve@elsewhere.example>;tag=w\r\nContact: <sip:eve@192.0.2.31>\r\nEvent: dialog\r\n";
    let answer = world.ask(DAVE, "SUBSCRIBE", "sip:bob@example.com", lines);
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

/// Without the package nothing is followed, and SUBSCRIBE goes to the phone.
#[test]
fn a_phone_that_serves_its_own_dialogs() {
    let mut world = world_with(|config| {
        let events = config.events.as_mut().unwrap();
        events.packages.retain(|package| *package != Package::Dialogs);
    });
    let lines = "From: <sip:dave@example.com>;tag=w\r\nContact: <sip:dave@192.0.2.31>\r\nEvent: dialog\r\n";
    let text = world.request(DAVE, "SUBSCRIBE", "sip:bob@example.com", lines);
    let sent = world.udp(DAVE, text);
    assert_eq!(only(&sent, "SUBSCRIBE").to(), BOB);
}

/// RFC 4480 §3.2: who talks and publishes nothing is on the phone.
#[test]
fn presence_shows_who_is_on_the_phone() {
    let mut world = world();
    let mut dave = lamp("bob");
    dave.package = "presence";
    let text = |notify: &Sent| String::from_utf8_lossy(notify.request().body()).into_owned();
    assert!(!text(&dave.watch(&mut world)).contains("on-the-phone"));
    let (invite, sent) = call(&mut world, "bob");
    let answered = answer(&mut world, only(&sent, "INVITE"), 200, "b1");
    let notify = only(&answered, "NOTIFY");
    assert!(text(notify).contains("on-the-phone"), "{}", text(notify));
    world.answer(notify, 200, "");
    let bye = within(&mut world, "BYE", (&invite, &ok_of(&answered)), false);
    assert!(!text(only(&bye, "NOTIFY")).contains("on-the-phone"));
}

/// RFC 4235 §4.1.6, RFC 3261 §12.2, RFC 3311 §5: a pick-up has to find the phone where it is now. What was refused moves nobody.
#[test]
fn the_target_follows_what_moves_it() {
    let mut world = world();
    let mut dave = lamp("bob");
    dave.watch(&mut world);
    let (invite, sent) = call(&mut world, "bob");
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    world.answer(only(&sent, "NOTIFY"), 200, "");
    let answered = answer(&mut world, &sent[to_bob], 200, "b1");
    let ok = ok_of(&answered);
    told(&mut world, answered);
    let targets = |dialogs: &[DialogEntry]| {
        let [up] = dialogs else { panic!("{dialogs:?}") };
        assert_eq!(up.state, DialogState::Confirmed);
        [&up.remote, &up.local].map(|side| side.target.as_ref().unwrap().0.clone())
    };
    let call = (&invite, &ok);
    let (alice, bob) = ("sip:alice@192.0.2.111:5060", "sip:bob@192.0.2.112:5060");
    let refused = within_from(&mut world, "INVITE", call, true, [alice, bob], 488);
    assert!(refused.iter().all(|one| one.name() != "NOTIFY"), "{refused:?}");
    let moved = within_from(&mut world, "INVITE", call, true, [alice, "sip:bob@192.0.2.12:5060"], 200);
    assert_eq!(targets(&told(&mut world, moved)), [alice, "sip:bob@192.0.2.12:5060"]);
    world.seconds(5);
    let moved = within_from(&mut world, "UPDATE", call, false, [alice, bob], 200);
    assert_eq!(targets(&told(&mut world, moved)), [alice, bob]);
    let bye = within(&mut world, "BYE", call, true);
    assert_eq!(states(&told(&mut world, bye)), [(DialogState::Terminated, Some(DialogEvent::RemoteBye))]);
}

fn world_by(rules: &str) -> World {
    let text =
        format!("authentication = false\ndomains = [\"example.com\"]\n[[user]]\nname = \"dave\"\n{rules}");
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::with(|config| {
        settings.configure(config);
        config.events = Some(EventConfig::new());
    });
    for (user, at) in [("bob", BOB), ("carol", CAROL)] {
        world.register(user, &format!("<sip:{user}@{at}>"), "");
    }
    world
}

/// A call that is forwarded leaves the one lamp and lights the other.
#[test]
fn lamps_of_a_call_that_is_forwarded() {
    let mut world =
        world_by("[[user]]\nname = \"bob\"\nforward.busy = \"carol\"\n[[user]]\nname = \"carol\"\n");
    let (mut of_bob, mut of_carol) = (lamp("bob"), lamp("carol"));
    of_bob.watch(&mut world);
    of_carol.watch(&mut world);
    let (_, sent) = call(&mut world, "bob");
    let to_bob = sent.iter().position(|one| one.name() == "INVITE").unwrap();
    let (lit, _) = lamps(&mut world, &sent);
    assert_eq!(lit, [("bob".into(), vec![(DialogState::Trying, None)])]);
    let sent = answer(&mut world, &sent[to_bob], 486, "b1");
    let to_carol = sent.iter().find(|one| one.name() == "INVITE" && one.to() == CAROL).unwrap();
    let (lit, _) = lamps(&mut world, &sent);
    let rejected = Some(DialogEvent::Rejected);
    assert_eq!(
        lit,
        [
            ("bob".into(), vec![(DialogState::Terminated, rejected)]),
            ("carol".into(), vec![(DialogState::Trying, None)])
        ]
    );
    let sent = answer(&mut world, to_carol, 200, "c1");
    let (lit, up) = lamps(&mut world, &sent);
    assert_eq!(lit, [("carol".into(), vec![(DialogState::Confirmed, None)])]);
    assert_eq!(up[0].remote.identities[0].uri, "sip:alice@example.com");
    assert_eq!(up[0].local.identities[0].uri, "sip:carol@example.com", "and not whom the caller wanted");
}

/// All of a group ring, one answers: the lamps of the others go out.
#[test]
fn lamps_of_a_hunt_group() {
    let mut world = world_by(
        "[[user]]\nname = \"bob\"\n[[user]]\nname = \"carol\"\n[[hunt_group]]\nname = \"sales\"\nmembers = [\"bob\", \"carol\"]\n",
    );
    let (mut of_bob, mut of_carol) = (lamp("bob"), lamp("carol"));
    of_bob.watch(&mut world);
    of_carol.watch(&mut world);
    let (_, sent) = call(&mut world, "sales");
    let to_carol = sent.iter().position(|one| one.name() == "INVITE" && one.to() == CAROL).unwrap();
    let (lit, _) = lamps(&mut world, &sent);
    assert_eq!(lit, ["bob", "carol"].map(|user| (user.to_owned(), vec![(DialogState::Trying, None)])));
    let mut sent = answer(&mut world, &sent[to_carol], 200, "c1");
    sent.extend(world.seconds(2));
    let (lit, _) = lamps(&mut world, &sent);
    assert_eq!(
        lit,
        [
            ("bob".into(), vec![(DialogState::Terminated, Some(DialogEvent::Cancelled))]),
            ("carol".into(), vec![(DialogState::Confirmed, None)])
        ]
    );
}

/// What each lamp shows by the NOTIFYs among these, by user; all of them are answered.
#[allow(clippy::type_complexity)]
fn lamps(
    world: &mut World,
    sent: &[Sent],
) -> (Vec<(String, Vec<(DialogState, Option<DialogEvent>)>)>, Vec<DialogEntry>) {
    let mut shown = std::collections::BTreeMap::new();
    let mut waiting: Vec<Sent> = Vec::new();
    let mut note = |world: &mut World, notify: &Sent| {
        let info = document(notify);
        let user = info.entity.trim_start_matches("sip:").split('@').next().unwrap().to_owned();
        shown.insert(user, info.dialogs);
        world.answer(notify, 200, "")
    };
    for notify in sent.iter().filter(|one| one.name() == "NOTIFY") {
        waiting.extend(note(world, notify));
    }
    while let Some(at) = waiting.iter().position(|one| one.name() == "NOTIFY") {
        let notify = waiting.remove(at);
        waiting.extend(note(world, &notify));
    }
    let lit = shown.iter().map(|(user, dialogs)| (user.clone(), states(dialogs))).collect();
    (lit, shown.into_values().flatten().collect())
}
