//! `sip phone` and `sip call` with Kamailio between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{Call, Dir, Kamailio, Phone, assert_holds_tone, turn, write_tone};

#[test]
fn a_phone_registered_at_kamailio_is_called_through_it() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio");
    let kamailio = Kamailio::start(&dir);
    let (proxy, domain) = (kamailio.uri(), kamailio.address);
    let (alice_plays, bob_plays) = (dir.file("alice.wav"), dir.file("bob.wav"));
    write_tone(&alice_plays, 1000.0, 4.0);
    write_tone(&bob_plays, 600.0, 30.0);
    let (alice_hears, bob_hears) = (dir.file("alice-hears.wav"), dir.file("bob-hears.wav"));
    let bob = format!("sip:bob@{domain}");
    let mut phone = Phone::start(
        &dir,
        "bob",
        ["--register", &bob, "--password", "secret", "--proxy", &proxy, "--answer"].into_iter().chain([
            "--play",
            bob_plays.to_str().unwrap(),
            "--record",
            bob_hears.to_str().unwrap(),
        ]),
    )
    .registered();
    let alice = format!("sip:alice@{domain}");
    let call =
        Call::run(
            &dir,
            &bob,
            ["--from", &alice, "--password", "secret", "--proxy", &proxy, "--dtmf", "42#"]
                .into_iter()
                .chain(["--play", alice_plays.to_str().unwrap(), "--record", alice_hears.to_str().unwrap()]),
        );
    assert_eq!(call.code, 0, "{}", call.json);
    for digit in ["digit 4", "digit 2", "digit #"] {
        phone.process.wait_for(digit);
    }
    assert_eq!(phone.process.interrupt(), 0, "hung up, unregistered, ended");
    assert_holds_tone(&alice_hears, 600.0, 2.5);
    assert_holds_tone(&bob_hears, 1000.0, 2.0);
}

#[test]
fn a_wrong_password_is_told_as_such() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio-password");
    let kamailio = Kamailio::start(&dir);
    let (bob, alice) = (format!("sip:bob@{}", kamailio.address), format!("sip:alice@{}", kamailio.address));
    let call = Call::run(&dir, &bob, ["--from", &alice, "--password", "guess", "--proxy", &kamailio.uri()]);
    assert_eq!((call.code, call.value("/status").as_u64()), (6, Some(407)), "{}", call.json);
}
