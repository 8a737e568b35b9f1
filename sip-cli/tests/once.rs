//! Commands of one request as a script sees them: `sip message`, `sip options`, `sip register`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use std::process::Output;

use running::{Running, sip};
use serde_json::Value;

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn a_message_there_and_back() {
    let mut phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let uri = format!("sip:bob@{}", phone.address());
    let sent = sip(&["message", &uri, "lunch?\u{7}", "--from", "sip:alice@example.com"]);
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    assert!(String::from_utf8_lossy(&sent.stdout).starts_with("delivered to"), "{sent:?}");
    // What would ring the reader's bell does not.
    phone.line("message from <sip:alice@example.com>: lunch?\u{fffd}");
    let other = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    phone.type_line(&format!("m sip:carol@{} at noon", other.address()));
    other.line("at noon");
    phone.line("sent");
}

/// RFC 3428 §7, RFC 5438: kept by the server (202) is told apart from delivered, and `--receipt` waits for who has it.
#[test]
fn receipts_of_a_message() {
    let server = running::message_server("receipt");
    let at = server.address();
    let (alice, bob) = (format!("sip:alice@{at}"), format!("sip:bob@{at}"));
    let message = |more: &[&str]| {
        let mut arguments = vec!["message", &bob, "lunch?", "--from", &alice, "--password", "secret"];
        arguments.extend(more);
        let sent = sip(&arguments);
        (sent.status.code(), String::from_utf8_lossy(&sent.stdout).into_owned())
    };
    let (code, said) = message(&[]);
    assert!(code == Some(0) && said.starts_with("kept for"), "{code:?} {said}");
    let (code, said) = message(&["--receipt", "0.2"]);
    assert!(code == Some(3) && said.starts_with("kept for"), "nobody is there: {code:?} {said}");
    let phone =
        Running::start(&["phone", "--listen", "udp:127.0.0.1:0", "--register", &bob, "--password", "secret"]);
    phone.line("lunch?");
    phone.line("lunch?");
    let (code, said) = message(&["--receipt", "60"]);
    assert!(
        code == Some(0) && said.contains("delivered to") && said.contains("receipt: "),
        "{code:?} {said}"
    );
    let without = sip(&["message", &bob, "lunch?", "--receipt", "1"]);
    assert_eq!(without.status.code(), Some(1), "{without:?}");
}

#[test]
fn options_tell_what_a_phone_can_do() {
    let phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let answered = sip(&["options", &format!("sip:bob@{}", phone.address()), "--json"]);
    assert_eq!(answered.status.code(), Some(0), "{answered:?}");
    let told = json(&answered);
    assert!(told["allow"].as_array().unwrap().contains(&"INVITE".into()), "{told}");
    assert!(told["supported"].as_array().unwrap().contains(&"100rel".into()), "{told}");
    assert!(told["milliseconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn bindings_are_made_listed_and_removed() {
    let users = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("once-users.txt");
    std::fs::write(&users, "alice:secret\n").unwrap();
    let server = Running::start(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "127.0.0.1",
        "--users",
        users.to_str().unwrap(),
    ]);
    let address = format!("sip:alice@{}", server.address());
    let register = |more: &[&str], password: &str| {
        let mut arguments = vec!["register", &address, "--password", password, "--json"];
        arguments.extend(more);
        sip(&arguments)
    };
    let uris = |output: &Output| -> Vec<String> {
        let bindings = json(output)["bindings"].as_array().unwrap().clone();
        bindings.iter().map(|binding| binding["uri"].as_str().unwrap().to_owned()).collect()
    };
    let refused = register(&["--list"], "wrong");
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--password"), "{refused:?}");
    for port in ["5071", "5072"] {
        let contact = format!("sip:alice@127.0.0.1:{port}");
        let bound = register(&["--contact", &contact, "--expires", "600"], "secret");
        assert_eq!(bound.status.code(), Some(0), "{bound:?}");
        assert!(uris(&bound).contains(&contact), "{bound:?}");
    }
    assert_eq!(uris(&register(&["--list"], "secret")).len(), 2);
    let one = register(&["--contact", "sip:alice@127.0.0.1:5071", "--remove"], "secret");
    assert_eq!(uris(&one), ["sip:alice@127.0.0.1:5072"]);
    assert!(uris(&register(&["--remove"], "secret")).is_empty());
}

#[test]
fn nobody_there_and_wrong_use() {
    let nobody = sip(&["options", "sip:127.0.0.1:9;transport=tcp"]);
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
    let no_uri = sip(&["message", "bob", "hello"]);
    assert_eq!(no_uri.status.code(), Some(1), "{no_uri:?}");
    let undecided = sip(&["register", "sip:alice@example.com"]);
    assert_eq!(undecided.status.code(), Some(1), "{undecided:?}");
}
