//! What can be done with calls from the keyboard of `sip phone`, and from a script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use running::{Running, sip};

fn answering() -> (Running, String) {
    let phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0", "--answer"]);
    let address = phone.address();
    (phone, address)
}

/// RFC 5589 §6.1: the peer calls whom we name, and our call ends.
#[test]
fn a_call_is_transferred() {
    let mut alice = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let ((bob, at_bob), (carol, at_carol)) = (answering(), answering());
    alice.type_line(&format!("c sip:bob@{at_bob}"));
    alice.line("call 1 answered");
    alice.type_line("i");
    alice.line("packets sent");
    alice.type_line("u");
    alice.line("call 1 muted");
    alice.type_line(&format!("t sip:carol@{at_carol}"));
    bob.line("as the peer asks");
    carol.line("answered");
    bob.lines_in_any_order(&["call 2 answered", "call 1 ended by peer"]);
    alice.line("call 1 transferred to");
    alice.line("call 1 ended by us");
}

/// RFC 5589 §7.1: two calls become one between the other two.
#[test]
fn two_calls_are_connected() {
    let mut alice = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let ((bob, at_bob), (carol, at_carol)) = (answering(), answering());
    alice.type_line(&format!("c sip:bob@{at_bob}"));
    alice.line("call 1 answered");
    alice.type_line("o");
    alice.line("call 1 held");
    alice.type_line(&format!("c sip:carol@{at_carol}"));
    alice.line("call 2 answered");
    alice.type_line("t 1");
    // Carol's phone calls Bob's, which takes that call in the place of the one it has.
    carol.line("as the peer asks");
    bob.lines_in_any_order(&["call 2 answered", "call 1 ended by another that took its place"]);
    alice.line("call 2 transferred to call 1");
    carol.line("call 1 ended by peer");
}

#[test]
fn a_script_plays_itself() {
    let (bob, at_bob) = answering();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let script = folder.join("evening.txt");
    let text = format!("# to Bob\nc sip:bob@{at_bob}\nw 1\nd 42\nw 1.5\nh\nw 0.5\n");
    std::fs::write(&script, text).unwrap();
    let ended = sip(&["phone", "--listen", "udp:127.0.0.1:0", "--script", script.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("call 1 answered") && said.contains("call 1 ended by us"), "{said}");
    bob.line("digit 4");
    bob.line("digit 2");

    std::fs::write(&script, "c sip:bob@example.com\nx\n").unwrap();
    let refused = sip(&["phone", "--listen", "udp:127.0.0.1:0", "--script", script.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "nobody is called by a script with a fault in it");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("evening.txt:2:"), "{refused:?}");
}

/// RFC 5359 §2.19, RFC 3515: a phone calls whom we name, if it is one that does so for anybody.
#[test]
fn a_phone_is_asked_to_call() {
    let (bob, at_bob) = answering();
    let desk = Running::start(&["phone", "--listen", "udp:127.0.0.1:0", "--follow-referrals"]);
    let at_desk = format!("sip:desk@{}", desk.address());
    let to = format!("sip:bob@{at_bob}");
    let asked = sip(&["refer", &at_desk, &to, "--from", "sip:alice@example.com"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("200 OK"), "{asked:?}");
    bob.line("answered");
    desk.line("answered");
    let (_shy, at_shy) = answering();
    let declined = sip(&["refer", &format!("sip:shy@{at_shy}"), &to]);
    assert_eq!(declined.status.code(), Some(2), "declined: {declined:?}");
}

/// RFC 3856, RFC 6665: a state as it is notified, for people and for scripts; a refusal is an exit code.
#[test]
fn a_presence_is_watched() {
    use sip_dialog::packages::presence::{Basic, Note, Presence};
    use sip_dialog::{Acceptance, Notification};

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bob = sip_ua::Phone::builder("sip:bob@example.com").listen("udp:127.0.0.1:0").notifies("presence");
    let bob = runtime.block_on(bob.bind()).unwrap();
    let uri = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let notifier = bob.clone();
    runtime.spawn(async move {
        let mut kept = Vec::new();
        loop {
            let mut subscriber = notifier.next_subscriber().await;
            let mut presence = Presence::new("sip:bob@example.com", Basic::Open, None);
            presence.notes.push(Note { text: "at lunch".into(), language: None });
            let state = Some(Notification::full(presence.to_body()));
            subscriber.accept(Acceptance { state, ..Acceptance::default() }).unwrap();
            kept.push(subscriber);
        }
    });
    let watched = sip(&["subscribe", &uri, "--once"]);
    assert_eq!(watched.status.code(), Some(0), "{watched:?}");
    let said = String::from_utf8_lossy(&watched.stdout);
    assert!(said.contains("sip:bob@example.com is open: at lunch"), "{said}");
    let refused = sip(&["subscribe", &uri, "--package", "conference"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("489"), "{refused:?}");
}

/// One phone, two accounts: each is called, and each calls under its own name.
#[test]
fn several_accounts() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (users, accounts) = (folder.join("accounts-users.txt"), folder.join("accounts.txt"));
    std::fs::write(&users, "work:secret\nhome:geheim\ncarol:c\n").unwrap();
    let server = Running::start(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "127.0.0.1",
        "--users",
        users.to_str().unwrap(),
    ]);
    let at = server.address();
    std::fs::write(&accounts, format!("# mine\nsip:work@{at} secret\nsip:home@{at} geheim\n")).unwrap();
    let mut phone = Running::start(&["phone", "--accounts", accounts.to_str().unwrap(), "--answer"]);
    phone.line(&format!("registered sip:work@{at}"));
    phone.line(&format!("registered sip:home@{at}"));
    let carol = format!("sip:carol@{at}");
    for user in ["work", "home"] {
        let to = format!("sip:{user}@{at}");
        let call = sip(&["call", &to, "--from", &carol, "--password", "c", "--for", "0.2"]);
        assert_eq!(call.status.code(), Some(0), "{call:?}");
    }
    let (bob, at_bob) = answering();
    phone.type_line("k 2");
    phone.line("> account 2");
    phone.type_line(&format!("m sip:bob@{at_bob} from home"));
    bob.line(&format!("message from <sip:home@{at}>: from home"));
    std::fs::write(&accounts, "sip:work\n").unwrap();
    let refused = sip(&["phone", "--accounts", accounts.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("accounts.txt:1:"), "{refused:?}");
}
