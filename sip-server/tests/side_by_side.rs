//! Several cores of one server side by side: what is one for all of them is one, and calls are shared out. Every other test of a server
//! driven by hand runs on several cores too: `SERVER_SHARDS=3 cargo test -p sip-server`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sip_auth::Secret;
use sip_auth::client::{Attempts, Authenticator};
use sip_dialog::packages::dialog_info::{DialogInfo, DialogState};
use sip_message::{Limits, Request};
use sip_server::events::EventConfig;
use sip_server::protection::ProtectionConfig;
use sip_server::push::PushConfig;
use sip_server::settings::Settings;
use sip_server::{Config, Note, ServerCore, Users};
use sip_transport::{CloseReason, Core, FlowEvent, FlowId, Path, Shard, Transmit, Transport, ingress};
use world::watcher::Watcher;
use world::{ALICE, BOB, SERVER, Sent, World, names, only};

const TO_BOB: &str = "sip:bob@example.com";

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::sharded(change);
    world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
    world
}

fn call(world: &mut World, extra: &str) -> (String, Vec<Sent>) {
    let text = world.request(ALICE, "INVITE", TO_BOB, extra);
    let sent = world.udp(ALICE, text.clone());
    (text, sent)
}

/// A binding that the core at home took is found by all, each call is one core's from the INVITE to the end of its BYE, and each core
/// has its share.
#[test]
fn calls_are_shared_out_and_each_stays_where_it_is() {
    let mut world = world(|_| {});
    for _ in 0..60 {
        let (invite, sent) = call(&mut world, "Contact: <sip:alice@192.0.2.11>\r\n");
        let forwarded = only(&sent, "INVITE");
        assert_eq!(forwarded.to(), BOB);
        let ok = world.answer(forwarded, 200, "Contact: <sip:bob@192.0.2.12>\r\n");
        let ok = only(&ok, "200").response().clone();
        let route = ok.headers.text("Record-Route").unwrap();
        let invite = Request::parse(invite.into(), &Limits::default()).unwrap();
        for method in ["ACK", "BYE"] {
            let lines = format!(
                "Route: {route}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
                ok.headers.text("From").unwrap(),
                ok.headers.text("To").unwrap(),
                invite.headers.text("Call-ID").unwrap(),
            );
            let text = world.request(ALICE, method, "sip:bob@192.0.2.12", &lines);
            let sent = world.udp(ALICE, text);
            let forwarded = only(&sent, method);
            if method == "BYE" {
                assert_eq!(names(&world.answer(forwarded, 200, "")), ["200"]);
            }
        }
    }
    let shares: Vec<u64> = world.core.cores().iter().map(|core| core.counters().proxied).collect();
    // An INVITE and a BYE for each call; an ACK passes without a context.
    assert_eq!(shares.iter().sum::<u64>(), 120);
    assert!(shares.iter().all(|share| *share >= 20), "{shares:?}");
    assert_eq!(world.core.cores()[0].counters().registered, 1);
    world.assert_nothing_left();
}

/// Branches name the core that made them: no two cores ever give the same name to what they send.
#[test]
fn names_of_different_cores_differ() {
    let mut world = world(|_| {});
    let tokens: Vec<u64> = (0..30)
        .map(|_| {
            let (_, sent) = call(&mut world, "");
            only(&sent, "INVITE").transmit.token.0
        })
        .collect();
    let cores: BTreeSet<_> = tokens.iter().map(|token| sip_transaction::shard_of(*token)).collect();
    assert_eq!(cores, [Some(0), Some(1), Some(2)].into());
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 30);
}

fn with_passwords(config: &mut Config) {
    config.users = Some(Users::parse("alice:wonderland\nbob:builder").unwrap());
    config.protection = Some(ProtectionConfig::default());
}

fn from_alice(world: &mut World) -> Request {
    let lines = "From: <sip:alice@example.com>;tag=a\r\nContact: <sip:alice@192.0.2.11>\r\n";
    let text = world.request(ALICE, "INVITE", TO_BOB, lines);
    Request::parse(text.into(), &Limits::default()).unwrap()
}

/// RFC 7616 §5.5: credentials that one core has taken are a replay for every other one, whatever Call-ID they come with. A new count is
/// good with all of them.
#[test]
fn rfc7616_5_5_a_nonce_count_holds_for_all_cores() {
    let mut world = World::sharded(with_passwords);
    let first = from_alice(&mut world);
    let sent = world.udp(ALICE, first.to_string());
    let challenge = only(&sent, "407").response().clone();
    let mut alice = Authenticator::default();
    alice.add_account(None, "alice", Secret::password("wonderland"));
    let mut again = from_alice(&mut world);
    alice.answer(&mut again, &challenge, &mut Attempts::default(), "c").unwrap();
    let credentials = again.headers.text("Proxy-Authorization").unwrap().to_owned();
    // Bob is away: 480 comes after the credentials were good.
    assert_eq!(names(&world.udp(ALICE, again.to_string())), ["480"]);
    for _ in 0..12 {
        let mut replayed = from_alice(&mut world);
        replayed.headers.push_raw("Proxy-Authorization", &credentials).unwrap();
        assert_eq!(names(&world.udp(ALICE, replayed.to_string())), ["407"]);
    }
    for _ in 0..12 {
        let mut next = from_alice(&mut world);
        alice.authorize(&mut next, "c");
        assert!(next.headers.text("Proxy-Authorization").unwrap().contains("nc="));
        assert_eq!(names(&world.udp(ALICE, next.to_string())), ["480"]);
    }
}

/// Wrong passwords are counted together: spreading them over Call-IDs gains a guesser nothing.
#[test]
fn guesses_are_counted_together() {
    let mut world = World::sharded(with_passwords);
    let mut alice = Authenticator::default();
    alice.add_account(None, "alice", Secret::password("looking-glass"));
    let allowed = ProtectionConfig::default().wrong_passwords;
    let mut heard = 0;
    for _ in 0..allowed * 3 {
        let first = from_alice(&mut world);
        let sent = world.udp("198.51.100.9:5060", first.to_string());
        let Some(challenge) = sent.first() else { break };
        let challenge = challenge.response().clone();
        let mut again = from_alice(&mut world);
        if alice.answer(&mut again, &challenge, &mut Attempts::default(), "c").is_err() {
            break;
        }
        world.udp("198.51.100.9:5060", again.to_string());
        heard += 1;
    }
    assert!((1..=allowed + 1).contains(&heard), "{heard} guesses were heard, {allowed} are allowed");
    assert_eq!(world.core.banned(world.now).len(), 1);
    assert!(call(&mut world, "").1.len() == 1, "others are heard");
}

fn by_trunk(trunk: &str) -> World {
    let text = format!(
        r#"
        authentication = false
        domains = ["example.com"]
        [[route]]
        prefix = "+"
        trunk = "carrier"
        callers = "anyone"
        [[trunk]]
        name = "carrier"
        gateways = [{{ uri = "sip:192.0.2.91" }}, {{ uri = "sip:192.0.2.92", priority = 1 }}]
        {trunk}
        "#
    );
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    World::sharded(|config| settings.configure(config))
}

fn call_out(world: &mut World) -> Vec<Sent> {
    let text = world.request(ALICE, "INVITE", "sip:+49301@example.com", "");
    world.udp(ALICE, text)
}

/// A trunk takes so many calls, and not so many from each core.
#[test]
fn the_calls_of_a_trunk_are_counted_together() {
    let mut world = by_trunk("max_calls = 5");
    let out = (0..15).filter(|_| call_out(&mut world).iter().any(|sent| sent.name() == "INVITE")).count();
    assert_eq!(out, 5);
}

/// One core asks the gateways; the others hear of those that are not there, and that they are there again.
#[test]
fn all_cores_know_which_gateways_are_there() {
    let mut world = by_trunk("check = { interval = 10, falls = 2, rises = 1 }");
    let live = |world: &mut World, well: bool| {
        for _ in 0..400 {
            for one in world.pass(std::time::Duration::from_millis(250)) {
                if one.name() == "OPTIONS" && (well || !one.to().starts_with("192.0.2.91")) {
                    world.answer(&one, 200, "");
                }
            }
        }
    };
    let gateways = |world: &mut World| -> BTreeSet<String> {
        (0..9).map(|_| only(&call_out(world), "INVITE").to()).collect()
    };
    assert_eq!(gateways(&mut world), ["192.0.2.91:5060".to_owned()].into());
    live(&mut world, false);
    assert_eq!(gateways(&mut world), ["192.0.2.92:5060".to_owned()].into());
    live(&mut world, true);
    assert_eq!(gateways(&mut world), ["192.0.2.91:5060".to_owned()].into());
}

/// RFC 8599 §5.6.2: a call waits in one core for a phone whose REGISTER comes to another.
#[test]
fn a_call_waits_for_a_phone_that_registers_at_home() {
    const MOBILE: &str =
        "<sip:bob@192.0.2.12:5060;transport=tcp;pn-provider=fcm;pn-prid=token1;pn-param=app>";
    let mut world = World::sharded(|config| config.push = Some(PushConfig::new(&["fcm"])));
    let registers = |world: &mut World, flow: u64| {
        let lines = format!(
            "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: {MOBILE}\r\n"
        );
        let text = world.request(BOB, "REGISTER", "sip:example.com", &lines).replacen("UDP", "TCP", 1);
        world.tcp(BOB, flow, text)
    };
    assert_eq!(names(&registers(&mut world, 1)), ["200"]);
    for _ in 0..6 {
        let (_, sent) = call(&mut world, "");
        assert_eq!(names(&sent), ["INVITE"], "while its connection stands it is awake");
    }
    let path = Path {
        transport: Transport::Tcp,
        local: SERVER.parse().unwrap(),
        remote: BOB.parse().unwrap(),
        flow: Some(FlowId(1)),
    };
    world.core.flow_event(world.now, FlowEvent::Closed { path, reason: CloseReason::Peer });
    world.sent();
    for _ in 0..6 {
        assert!(call(&mut world, "").1.is_empty(), "it sleeps");
    }
    while let Some((key, _)) = world.core.poll_push() {
        world.core.push_sent(world.now, key, Ok(()));
    }
    let sent = registers(&mut world, 2);
    let invites: Vec<&Sent> = sent.iter().filter(|one| one.name() == "INVITE").collect();
    assert_eq!(invites.len(), 6, "{:?}", names(&sent));
    assert!(invites.iter().all(|invite| invite.transmit.path.flow == Some(FlowId(2))));
}

/// RFC 4235: a lamp, which is the home's, shows calls of every core: those that were up before it was watched, and those that come
/// and go afterwards.
#[test]
fn a_lamp_shows_calls_of_all_cores() {
    const DAVE: &str = "192.0.2.31:5060";
    let mut world = world(|config| config.events = Some(EventConfig::new()));
    let lit = |world: &mut World, mut sent: Vec<Sent>| -> Option<Vec<DialogState>> {
        let mut last = None;
        while let Some(at) = sent.iter().position(|one| one.name() == "NOTIFY") {
            let notify = sent.remove(at);
            let info = DialogInfo::parse(notify.request().body()).unwrap();
            last = Some(info.dialogs.iter().map(|dialog| dialog.state).collect());
            sent.extend(world.answer(&notify, 200, ""));
        }
        last
    };
    let mut rings: Vec<Sent> = Vec::new();
    for _ in 0..6 {
        let (_, mut sent) = call(&mut world, "");
        let at = sent.iter().position(|one| one.name() == "INVITE").unwrap();
        let invite = sent.remove(at);
        world.answer(&invite, 180, "");
        rings.push(invite);
    }
    let mut lamp = Watcher::new("dave", "bob", "dialog");
    lamp.at = DAVE;
    let (_, sent) = lamp.subscribe(&mut world, "");
    let mut shown = lit(&mut world, sent);
    world.seconds(1).into_iter().for_each(|one| shown = lit(&mut world, vec![one]).or(shown.take()));
    assert_eq!(shown.unwrap(), [DialogState::Early; 6]);

    // All but one are refused; that one is answered, and one more comes.
    for invite in rings.drain(1..) {
        let sent = world.answer(&invite, 486, "");
        lit(&mut world, sent);
    }
    let mut sent = world.answer(&rings[0], 200, "Contact: <sip:bob@192.0.2.12>\r\n");
    sent.extend(call(&mut world, "").1);
    sent.extend(world.seconds(2));
    let mut shown = lit(&mut world, sent).unwrap();
    shown.retain(|state| *state != DialogState::Terminated);
    shown.sort_by_key(|state| state.as_str());
    assert_eq!(shown, [DialogState::Confirmed, DialogState::Trying]);
}

/// Carries notes between two cores, but for those about calls, which home does not come to hear.
fn carry_all_but_calls(cores: &mut [ServerCore], now: Instant, unheard: &mut Vec<Note>) {
    loop {
        let notes: Vec<(usize, Note)> = cores
            .iter_mut()
            .flat_map(|core| std::iter::from_fn(|| core.poll_note()).collect::<Vec<_>>())
            .collect();
        if notes.is_empty() {
            return;
        }
        for (to, note) in notes {
            match format!("{note:?}").starts_with("Note(Calls") {
                true => unheard.push(note),
                false => cores[to].noted(now, note),
            }
        }
    }
}

/// A home that has too much to do is owed a bounded number of notes, however many calls come to a user who is watched; what it hears in
/// the end is how the calls are then.
#[test]
fn a_home_that_does_not_listen_is_owed_few_notes() {
    let mut config = Config::new([7; 32], world::locals());
    config.domains = vec!["example.com".into()];
    config.events = Some(EventConfig::new());
    let (now, unix) = (Instant::now(), Duration::from_secs(1_289_690_940));
    let home = ServerCore::new(config.clone(), now, unix).unwrap();
    let mut cores = home.shared_out(&config, 2, now, unix).unwrap();
    let (mut texts, mut unheard) = (World::new(), Vec::new());
    let mut to = |core: usize, source: &str, text: String, unheard: &mut Vec<Note>| -> Vec<Transmit> {
        let remote = source.parse().unwrap();
        let path =
            Path { transport: Transport::Udp, local: SERVER.parse().unwrap(), remote, flow: Some(FlowId(1)) };
        cores[core].receive(now, ingress::datagram(text.into(), path, &Limits::default()).unwrap());
        carry_all_but_calls(&mut cores, now, unheard);
        cores
            .iter_mut()
            .flat_map(|core| std::iter::from_fn(|| core.poll_transmit()).collect::<Vec<_>>())
            .collect()
    };
    let bob = "To: <sip:bob@example.com>\r\n";
    let registers =
        format!("From: <sip:bob@example.com>;tag=r\r\n{bob}Contact: <sip:bob@192.0.2.12:5060>\r\n");
    to(0, BOB, texts.request(BOB, "REGISTER", "sip:example.com", &registers), &mut unheard);
    let watches = "Event: dialog\r\nContact: <sip:dave@192.0.2.31>\r\nExpires: 600\r\n";
    to(0, ALICE, texts.request(ALICE, "SUBSCRIBE", TO_BOB, watches), &mut unheard);
    for _ in 0..1_000 {
        let sent = to(1, ALICE, texts.request(ALICE, "INVITE", TO_BOB, ""), &mut unheard);
        let invite = sent.iter().find(|one| one.payload.starts_with(b"INVITE")).expect("it is forwarded");
        let invite = Request::parse(invite.payload.clone(), &Limits::default()).unwrap();
        to(1, BOB, world::response_text(&invite, 486, ""), &mut unheard);
    }
    assert_eq!(unheard.len(), 256);
    // Home listens again: to those, and to one more for all that came meanwhile.
    let heard = std::mem::take(&mut unheard);
    heard.into_iter().for_each(|note| cores[0].noted(now, note));
    carry_all_but_calls(&mut cores, now, &mut unheard);
    assert_eq!(unheard.len(), 1);
}

/// Nobody watches any longer: the others are told, and tell no more.
#[test]
fn who_is_watched_no_longer_is_forgotten() {
    let mut world = world(|config| config.events = Some(EventConfig::new()));
    let mut lamp = Watcher::new("dave", "bob", "dialog");
    for sent in lamp.subscribe(&mut world, "").1 {
        world.answer(&sent, 200, "");
    }
    let watched = |world: &World| -> Vec<usize> {
        world.core.cores().iter().map(|core| core.watched_at_home()).collect()
    };
    assert_eq!(watched(&world), [0, 1, 1]);
    for sent in lamp.subscribe(&mut world, "Expires: 0\r\n").1 {
        world.answer(&sent, 200, "");
    }
    assert_eq!(watched(&world), [0, 0, 0]);
}

/// Other settings hold for all cores, and what they have in common stays in common.
#[test]
fn all_cores_take_other_settings() {
    let mut world = world(|_| {});
    let mut config = Config::new([7; 32], world::locals());
    config.domains = vec!["example.com".into()];
    with_passwords(&mut config);
    world.core.reconfigure(config, world.now).unwrap();
    for _ in 0..9 {
        let first = from_alice(&mut world);
        assert_eq!(names(&world.udp(ALICE, first.to_string())), ["407"]);
    }
    assert!(world.core.cores().iter().all(|core| core.counters().challenges > 0));
}
