//! Sources that guess, look around, scan or flood are not heard for a while, and nobody else is harmed by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::{Limits, Request};
use sip_server::Users;
use sip_server::protection::ProtectionConfig;
use world::{ALICE, BOB, Sent, World, names};

const GUESSER: &str = "198.51.100.66:5060";

fn watched(change: impl FnOnce(&mut ProtectionConfig)) -> World {
    World::with(|config| {
        config.users = Some(Users::parse("alice:wonderland\nbob:builder\n").unwrap());
        let mut protection = ProtectionConfig::default();
        change(&mut protection);
        config.protection = Some(protection);
    })
}

/// A REGISTER and the same again with this password; what the server says to the second.
fn register(world: &mut World, source: &str, user: &str, password: &str) -> Vec<String> {
    let lines = format!(
        "From: <sip:{user}@example.com>;tag=r\r\nTo: <sip:{user}@example.com>\r\nContact: <sip:{user}@{source}>\r\n"
    );
    let text = world.request(source, "REGISTER", "sip:example.com", &lines);
    let sent = world.udp(source, text);
    let [challenge] = sent.as_slice() else { return names(&sent) };
    if challenge.name() != "401" {
        return names(&sent);
    }
    let again = world.request(source, "REGISTER", "sip:example.com", &lines);
    let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, user, Secret::password(password));
    phone.answer(&mut again, challenge.response(), &mut Attempts::default(), "cnonce").unwrap();
    names(&world.udp(source, again.to_string()))
}

fn options(world: &mut World, source: &str, uri: &str, extra: &str) -> Vec<Sent> {
    let text = world.request(source, "OPTIONS", uri, extra);
    world.udp(source, text)
}

/// R17: a thousand wrong passwords from one source get it shut out after ten, and a user elsewhere is not touched.
#[test]
fn who_guesses_passwords_is_shut_out() {
    let mut world = watched(|_| {});
    let (mut tried, mut unheard) = (0, 0);
    for guess in 0..1000 {
        match register(&mut world, GUESSER, "alice", &format!("guess-{guess}")).as_slice() {
            [] => unheard += 1,
            [one] if one == "401" => tried += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((tried, unheard), (11, 989));
    assert_eq!(register(&mut world, ALICE, "alice", "wonderland"), ["200"]);
    let banned = world.core.banned(world.now);
    assert_eq!((banned.len(), banned[0].0.to_string()), (1, "198.51.100.66".to_owned()));
    // After ten minutes it is heard again; the second time it takes twenty.
    world.seconds(601);
    for guess in 0..12 {
        register(&mut world, GUESSER, "alice", &format!("guess-{guess}"));
    }
    world.seconds(601);
    assert!(register(&mut world, GUESSER, "alice", "wonderland").is_empty(), "twice as long");
    assert!(world.core.pardon(world.now, "198.51.100.66".parse().unwrap()));
    assert_eq!(register(&mut world, GUESSER, "alice", "wonderland"), ["200"]);
}

/// Behind one address there may be an office: one phone with an old password does not silence the others.
#[test]
fn where_users_of_ours_are_only_the_guessed_name_is_refused() {
    let mut world = watched(|_| {});
    assert_eq!(register(&mut world, ALICE, "alice", "wonderland"), ["200"]);
    for _ in 0..10 {
        assert_eq!(register(&mut world, ALICE, "bob", "old password"), ["401"]);
    }
    assert_eq!(register(&mut world, ALICE, "bob", "builder"), ["403"], "whatever the password");
    assert_eq!(register(&mut world, ALICE, "alice", "wonderland"), ["200"]);
    assert_eq!(register(&mut world, BOB, "bob", "builder"), ["200"], "elsewhere he is himself");
    world.seconds(61);
    assert_eq!(register(&mut world, ALICE, "bob", "builder"), ["200"]);
}

/// Credentials for a nonce that was never given out cost nothing to write, from whatever address: they are held against nobody.
#[test]
fn credentials_without_a_challenge_shut_nobody_out() {
    let mut world = watched(|_| {});
    for number in 0..100 {
        let lines = format!(
            "From: <sip:alice@example.com>;tag=r\r\nTo: <sip:alice@example.com>\r\nContact: <sip:alice@{ALICE}>\r\n\
             Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"{number:064x}\", \
             uri=\"sip:example.com\", response=\"{number:032x}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\r\n"
        );
        assert_eq!(world.ask(ALICE, "REGISTER", "sip:example.com", &lines).status().code(), 401);
    }
    assert_eq!(world.core.banned(world.now).len(), 0);
    assert_eq!(register(&mut world, ALICE, "alice", "wonderland"), ["200"]);
}

#[test]
fn who_calls_numbers_that_do_not_exist_is_shut_out() {
    let mut world = watched(|_| {});
    let answers: Vec<usize> = (0..40)
        .map(|number| options(&mut world, GUESSER, &format!("sip:{number}@example.com"), "").len())
        .collect();
    assert_eq!(answers.iter().sum::<usize>(), 31);
    // So is who tries to reach elsewhere through us.
    let mut world = watched(|_| {});
    for number in 0..40 {
        options(&mut world, GUESSER, &format!("sip:00{number}@premium.example"), "");
    }
    assert_eq!(world.core.protection_counters().unwrap().bans_probes, 1);
    assert_eq!(world.core.counters().relays_denied, 31);
}

/// R16: a stranger cannot tell a user who is away from one who does not exist.
#[test]
fn a_stranger_is_not_told_who_exists() {
    let mut world = watched(|_| {});
    let answer = |world: &mut World, uri: &str| {
        let sent = options(world, GUESSER, uri, "");
        let response = sent[0].response();
        let names: Vec<String> = response.headers.iter().map(|(name, _)| name.to_owned()).collect();
        (response.status(), names)
    };
    let (away, unknown) =
        (answer(&mut world, "sip:bob@example.com"), answer(&mut world, "sip:nobody@example.com"));
    assert_eq!(away, unknown);
    assert_eq!(away.0.code(), 404);
}

#[test]
fn scanners_that_say_so_get_no_answer() {
    let mut world = watched(|_| {});
    let scan = "User-Agent: Friendly-Scanner (1.0)\r\n";
    assert!(options(&mut world, GUESSER, "sip:100@example.com", scan).is_empty());
    assert!(options(&mut world, GUESSER, "sip:example.com", "").is_empty(), "nor when it changes its name");
    assert_eq!(options(&mut world, ALICE, "sip:example.com", "User-Agent: friendly\r\n").len(), 1);
    // From a network that is trusted it is a test of our own.
    let mut world = watched(|config| config.trusted.push("198.51.100.0/24".parse().unwrap()));
    assert_eq!(options(&mut world, GUESSER, "sip:example.com", scan).len(), 1);
}

/// What a stranger sends above its share of a second is dropped; a user of ours is not bound, and calls always end.
#[test]
fn a_flood_from_one_source_is_cut_off() {
    let mut world = watched(|config| config.requests_per_second = 50);
    let heard = |world: &mut World, source: &str| {
        (0..80).map(|_| options(world, source, "sip:example.com", "").len()).sum::<usize>()
    };
    assert_eq!((heard(&mut world, GUESSER), heard(&mut world, BOB)), (50, 50));
    let bye = world.request(GUESSER, "BYE", "sip:bob@example.com", "To: <sip:bob@example.com>;tag=1\r\n");
    assert_eq!(world.udp(GUESSER, bye).len(), 1);
    world.seconds(1);
    assert_eq!(heard(&mut world, GUESSER), 50);
    world.seconds(1);
    assert_eq!(register(&mut world, BOB, "bob", "builder"), ["200"]);
    assert_eq!(heard(&mut world, BOB), 80);
}

/// A flood from ever new addresses takes no more memory than allowed, and whom we know stays known.
#[test]
fn the_watch_itself_is_bounded() {
    let mut world = watched(|config| config.sources = 100);
    assert_eq!(register(&mut world, ALICE, "alice", "wonderland"), ["200"]);
    for number in 0..2000_u32 {
        let source = format!("203.0.{}.{}:5060", number / 256, number % 256);
        assert_eq!(options(&mut world, &source, "sip:example.com", "").len(), 1);
        world.pass(std::time::Duration::from_millis(10));
    }
    for _ in 0..11 {
        register(&mut world, ALICE, "alice", "wrong");
    }
    assert_eq!(world.core.banned(world.now).len(), 0, "there is a user of ours");
}
