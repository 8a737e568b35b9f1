//! TLS and WebSocket with others: baresip, Kamailio and JsSIP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use interop::{
    Baresip, Call, Certificates, Dir, Kamailio, Phone, Server, WebPhone, assert_holds_tone, turn, write_tone,
};

const KAMAILIO_TLS: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so";
const KAMAILIO_WS: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/websocket.so";

fn users(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), "secret".to_owned())).collect()
}

fn strings<'a>(all: &'a [String], more: &'a [&'a str]) -> Vec<&'a str> {
    all.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn a_call_over_tls_to_baresip_which_has_to_prove_its_address() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("tls-baresip");
    let certificates = Certificates::new(&dir);
    let account = "<sip:bob@127.0.0.1;transport=tls>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1";
    let mut bob = Baresip::start_with_tls(&dir, account, 440.0, &[], &certificates);
    let to = format!("sip:bob@127.0.0.1:{};transport=tls", bob.port + 1);
    let (played, heard) = (dir.file("played.wav"), dir.file("heard.wav"));
    write_tone(&played, 1000.0, 4.0);
    let own = certificates.arguments();
    let sound = [
        "--listen",
        "tls:127.0.0.1:0",
        "--play",
        played.to_str().unwrap(),
        "--record",
        heard.to_str().unwrap(),
    ];
    let call = Call::run(&dir, &to, strings(&own, &sound));
    assert_eq!(call.code, 0, "{}", call.json);
    assert_holds_tone(&heard, 440.0, 3.0);
    bob.process.wait_for("session closed");

    // Its certificate is not for this name, and its authority not one of the system's.
    let other = format!("sip:bob@localhost:{};transport=tls", bob.port + 1);
    let refused = Call::run(&dir, &other, strings(&own, &["--listen", "tls:127.0.0.1:0"]));
    assert_eq!(refused.code, 4, "{}", refused.json);
    assert!(refused.value("/error").as_str().unwrap().contains("another domain"), "{}", refused.json);
    let refused = Call::run(&dir, &to, ["--listen", "tls:client:127.0.0.1"]);
    assert!(refused.value("/error").as_str().unwrap().contains("not trusted"), "{}", refused.json);
    assert_holds_tone(&bob.heard(), 1000.0, 3.0);
}

#[test]
fn baresip_registers_over_tls_and_is_called_through_the_server() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("tls-server");
    let certificates = Certificates::new(&dir);
    let server = Server::start_secure(&dir, &users(&["alice", "bob"]), &certificates);
    let tls = server.tls.unwrap();
    let account = format!(
        "<sip:bob@example.test;transport=tls>;auth_user=bob;auth_pass=secret;outbound=\"sip:{tls};transport=tls\";\
         regint=300;answermode=auto;audio_codecs=PCMU/8000/1"
    );
    let mut bob = Baresip::start_with_tls(&dir, &account, 440.0, &[], &certificates);
    bob.process.wait_for("200 OK");
    let (played, heard) = (dir.file("played.wav"), dir.file("heard.wav"));
    write_tone(&played, 1000.0, 4.0);
    let proxy = format!("sips:{tls}");
    let trust = certificates.trust();
    let call = Call::run(
        &dir,
        "sip:bob@example.test",
        strings(
            &trust,
            &[
                "--from",
                "sip:alice@example.test",
                "--password",
                "secret",
                "--proxy",
                &proxy,
                "--listen",
                "tls:client:127.0.0.1",
                "--play",
                played.to_str().unwrap(),
                "--record",
                heard.to_str().unwrap(),
            ],
        ),
    );
    assert_eq!(call.code, 0, "{}", call.json);
    assert_holds_tone(&heard, 440.0, 3.0);
    bob.process.wait_for("session closed");
    assert_holds_tone(&bob.heard(), 1000.0, 3.0);
}

#[test]
fn kamailio_over_tls_in_both_directions() {
    let Some(_turn) = turn(&["kamailio", KAMAILIO_TLS, KAMAILIO_WS]) else { return };
    let dir = Dir::new("tls-kamailio");
    let certificates = Certificates::new(&dir);
    let kamailio = Kamailio::start_secure(&dir, &certificates);
    let proxy = format!("sip:{};transport=tls", kamailio.tls);
    through_kamailio(
        &dir,
        &kamailio,
        &proxy,
        &strings(&certificates.arguments(), &["--listen", "tls:127.0.0.1:0"]),
    );
}

#[test]
fn kamailio_over_web_socket_in_both_directions() {
    let Some(_turn) = turn(&["kamailio", KAMAILIO_TLS, KAMAILIO_WS]) else { return };
    let dir = Dir::new("ws-kamailio");
    let certificates = Certificates::new(&dir);
    let kamailio = Kamailio::start_secure(&dir, &certificates);
    let proxy = format!("sip:{};transport=ws", kamailio.ws);
    through_kamailio(&dir, &kamailio, &proxy, &["--listen", "ws:client:127.0.0.1"]);
}

#[test]
fn kamailio_over_secure_web_socket() {
    let Some(_turn) = turn(&["kamailio", KAMAILIO_TLS, KAMAILIO_WS]) else { return };
    let dir = Dir::new("wss-kamailio");
    let certificates = Certificates::new(&dir);
    let kamailio = Kamailio::start_secure(&dir, &certificates);
    let proxy = format!("sip:{};transport=wss", kamailio.tls);
    let trust = certificates.trust();
    through_kamailio(&dir, &kamailio, &proxy, &strings(&trust, &["--listen", "wss:client:127.0.0.1"]));
}

/// Bob registers at Kamailio and is called by Alice through it: each of the two over the transport of `proxy`.
fn through_kamailio(dir: &Dir, kamailio: &Kamailio, proxy: &str, more: &[&str]) {
    let domain = kamailio.address;
    let (alice, bob) = (format!("sip:alice@{domain}"), format!("sip:bob@{domain}"));
    let (played, heard) = (dir.file("played.wav"), dir.file("heard.wav"));
    write_tone(&played, 600.0, 30.0);
    let account = |user| ["--password", "secret", "--proxy", proxy, user];
    let phone = ["--register", &bob, "--password", "secret", "--proxy", proxy, "--answer", "--play"];
    let phone = phone.into_iter().chain([played.to_str().unwrap()]).chain(more.iter().copied());
    let mut phone = Phone::start(dir, "bob", phone).registered();
    let call = account("--from").into_iter().chain([
        alice.as_str(),
        "--for",
        "3",
        "--record",
        heard.to_str().unwrap(),
    ]);
    let call = Call::run(dir, &bob, call.chain(more.iter().copied()));
    assert_eq!(call.code, 0, "{}", call.json);
    phone.process.wait_for("answered");
    assert_eq!(phone.process.interrupt(), 0, "hung up, unregistered, ended");
    assert_holds_tone(&heard, 600.0, 2.0);
}

/// RFC 7118: a client of browsers, with a Via of `.invalid`, registers with digest, is written to and called.
#[test]
fn a_browsers_client_registers_is_written_to_and_called_over_web_socket() {
    let Some(_turn) = turn(&["node", WebPhone::LIBRARY]) else { return };
    let dir = Dir::new("jssip");
    let certificates = Certificates::new(&dir);
    let server = Server::start_secure(&dir, &users(&["alice", "bob", "carol"]), &certificates);
    let (ws, wss) = server.ws.unwrap();
    let mut bob = WebPhone::start(&dir, ws, false, ("bob", "secret"), "example.test", &[]).registered();

    // Written to by another of its kind, over secure WebSocket.
    let text = ["message", "sip:bob@example.test", "grüße"];
    let mut alice = WebPhone::start(&dir, wss, true, ("alice", "secret"), "example.test", &text).registered();
    assert!(bob.process.wait_for("message from sip:alice@example.test").ends_with("grüße"));
    alice.process.wait_for("succeeded 200");
    alice.end();

    // Called from elsewhere, and busy.
    let arguments = ["--from", "sip:carol@example.test", "--password", "secret", "--proxy", &server.uri()];
    let call = Call::run(&dir, "sip:bob@example.test", arguments);
    assert_eq!((call.code, call.value("/status").as_u64()), (2, Some(486)), "{}", call.json);
    bob.process.wait_for("call from sip:carol@example.test");
    bob.end();

    // A wrong password is found out over WebSocket as well.
    let mut mallory = WebPhone::start(&dir, ws, false, ("bob", "guess"), "example.test", &[]);
    mallory.process.wait_for_within("registration failed", Duration::from_secs(20));
}
