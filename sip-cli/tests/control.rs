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
    bob.line("call 2 answered");
    alice.line("call 1 transferred to");
    alice.line("call 1 ended by us");
    bob.line("call 1 ended by peer");
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
    bob.line("call 2 answered");
    bob.line("call 1 ended by another that took its place");
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
