//! `sip server` between programs of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use interop::{Baresip, Call, Dir, Phone, Server, Sipp, assert_holds_tone, turn, write_tone};

const DOMAIN: [&str; 3] = ["-key", "domain", "example.test"];

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn users(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| (name.to_string(), format!("{name}-secret"))).collect()
}

/// A hundred users, and the lines with which SIPp speaks for them.
fn hundred_users(dir: &Dir) -> (Vec<(String, String)>, String) {
    let users: Vec<_> = (0..100).map(|n| (format!("user{n:03}"), format!("password-{}", n * 7919))).collect();
    let mut csv = String::from("SEQUENTIAL\n");
    for (name, password) in &users {
        writeln!(csv, "{name};[authentication username={name} password={password}]").unwrap();
    }
    (users, dir.write("users.csv", csv).display().to_string())
}

#[test]
fn a_hundred_users_of_sipp_register_with_digest() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("register");
    let (users, csv) = hundred_users(&dir);
    let mut server = Server::start(&dir, Some(&users), &[]);
    Sipp::scenario("register-with-digest", Some(server.udp))
        .with(DOMAIN)
        .with(["-inf", &csv])
        .calls(100, 50, 60)
        .run(&dir, "sipp");
    assert_eq!(server.process.interrupt(), 0);
}

#[test]
fn two_hundred_calls_at_fifty_a_second_from_sipp_to_sipp() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("sipp-to-sipp");
    let mut server = Server::start(&dir, None, &[]);
    let callee = Sipp::scenario("uas-behind-proxy", None).calls(200, 50, 90);
    let contact = at(callee.port).to_string();
    let callee = callee.start(&dir, "callee");
    Sipp::scenario("register-for-another", Some(server.udp))
        .with(DOMAIN)
        .with(["-key", "contact", &contact])
        .service("bob")
        .run(&dir, "register");
    Sipp::scenario("uac", Some(server.udp))
        .with(DOMAIN)
        .with(["-d", "500"])
        .service("bob")
        .calls(200, 50, 60)
        .run(&dir, "caller");
    Sipp::succeed(callee, &dir, "callee", Duration::from_secs(30));
    assert_eq!(server.process.interrupt(), 0);
}

#[test]
fn calls_of_sipp_that_the_proxy_asks_for_credentials() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("proxy-digest");
    let (mut users, csv) = hundred_users(&dir);
    users.push(("bob".into(), "bob-secret".into()));
    let server = Server::start(&dir, Some(&users), &[]);
    let arguments = ["--register", "sip:bob@example.test", "--password", "bob-secret", "--answer"];
    let _bob =
        Phone::start(&dir, "bob", arguments.into_iter().chain(["--proxy", &server.uri()])).registered();
    Sipp::scenario("uac-through-proxy-with-digest", Some(server.udp))
        .with(DOMAIN)
        .with(["-inf", &csv, "-d", "300"])
        .service("bob")
        .calls(50, 25, 60)
        .run(&dir, "caller");
}

#[test]
fn a_call_to_baresip_through_the_server() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("to-baresip");
    let server = Server::start(&dir, Some(&users(&["alice", "bob"])), &[]);
    let mut bob = Baresip::start(
        &dir,
        &account(&server, "bob", "answermode=auto;audio_codecs=PCMU/8000/1,PCMA/8000/1"),
        440.0,
        &[],
    );
    bob.process.wait_for("200 OK");
    let (played, heard) = (dir.file("played.wav"), dir.file("heard.wav"));
    write_tone(&played, 1000.0, 4.0);
    let call = Call::run(
        &dir,
        "sip:bob@example.test",
        ["--from", "sip:alice@example.test", "--password", "alice-secret", "--proxy", &server.uri()]
            .into_iter()
            .chain(["--play", played.to_str().unwrap(), "--record", heard.to_str().unwrap()]),
    );
    assert_eq!(call.code, 0, "{}", call.json);
    assert_holds_tone(&heard, 440.0, 3.0);
    bob.process.wait_for("session closed");
    assert_holds_tone(&bob.heard(), 1000.0, 3.0);
}

#[test]
fn a_call_of_baresip_to_a_phone_through_the_server() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("from-baresip");
    let server = Server::start(&dir, Some(&users(&["alice", "bob"])), &[]);
    let (played, heard) = (dir.file("played.wav"), dir.file("heard.wav"));
    write_tone(&played, 1000.0, 20.0);
    let mut phone = Phone::start(
        &dir,
        "alice",
        [
            "--register",
            "sip:alice@example.test",
            "--password",
            "alice-secret",
            "--proxy",
            &server.uri(),
            "--answer",
        ]
        .into_iter()
        .chain(["--play", played.to_str().unwrap(), "--record", heard.to_str().unwrap()]),
    )
    .registered();
    let account = account(&server, "bob", "audio_codecs=PCMA/8000/1");
    let mut bob = Baresip::start(&dir, &account, 440.0, &["/dial sip:alice@example.test"]);
    bob.process.wait_for("Call established");
    phone.process.wait_for("answered");
    // Four seconds of talk, then the phone hangs up.
    std::thread::sleep(Duration::from_secs(4));
    phone.process.type_line("h");
    bob.process.wait_for("session closed");
    assert_eq!(phone.process.interrupt(), 0);
    assert_holds_tone(&heard, 440.0, 2.5);
    assert_holds_tone(&bob.heard(), 1000.0, 2.5);
}

/// A line of baresip's accounts file for a user of the server.
fn account(server: &Server, user: &str, more: &str) -> String {
    format!(
        "<sip:{user}@example.test>;auth_user={user};auth_pass={user}-secret;outbound=\"sip:{};transport=udp\";\
         regint=300;{more}",
        server.udp
    )
}
