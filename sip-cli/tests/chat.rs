//! `sip chat` as a script drives it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use running::Running;

/// RFC 3428, RFC 3994, RFC 5438: two of them through `sip server`.
#[test]
fn two_people_chat() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (users, history) = (folder.join("chat-users.txt"), folder.join("chat-history.jsonl"));
    let _ = std::fs::remove_file(&history);
    let users = users.to_str().unwrap();
    let server = running::message_server("chat");
    let at = server.address();
    let (alice, bob) = (format!("sip:alice@{at}"), format!("sip:bob@{at}"));
    let chat = |own: &str, other: &str, more: &[&str]| {
        let mut arguments = vec!["chat", other, "--from", own, "--password", "secret"];
        arguments.extend(more);
        let chat = Running::start(&arguments);
        chat.line("chat with");
        chat
    };
    let mut one = chat(&alice, &bob, &["--history", history.to_str().unwrap()]);
    let taken = folder.join("chat-files");
    let _ = std::fs::remove_dir_all(&taken);
    std::fs::create_dir(&taken).unwrap();
    let mut other = chat(&bob, &alice, &["--plain", "--files", taken.to_str().unwrap()]);
    one.type_line("/typing");
    other.line("... is writing");
    one.type_line("lunch? \u{1b}[2J");
    other.line("< lunch? \u{fffd}[2J");
    one.lines_in_any_order(&["1 sent", "1 delivered", "1 displayed"]);
    other.type_line("at noon");
    one.line("< at noon");
    other.line("1 sent");
    // RFC 5547: a file, which is not taken twice, and not by one who has no folder for it.
    one.type_line(&format!("/file {users}"));
    other.line("chat-users.txt of 24 octets");
    one.line("file chat-users.txt sent");
    assert_eq!(std::fs::read(taken.join("chat-users.txt")).unwrap(), std::fs::read(users).unwrap());
    one.type_line(&format!("/file {users}"));
    one.line("file chat-users.txt not sent: 603");
    other.type_line(&format!("/file {users}"));
    other.line("file chat-users.txt not sent: 603");
    other.type_line("/quit");
    assert_eq!(other.end(), Some(0));
    // Nobody is there any more: the server keeps it.
    one.type_line("good");
    one.line("2 kept");
    one.type_line("/quit");
    assert_eq!(one.end(), Some(0));
    let kept: Vec<serde_json::Value> = std::fs::read_to_string(history)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kept: Vec<_> =
        kept.iter().map(|line| (line["from"].as_str().unwrap(), line["text"].as_str().unwrap())).collect();
    assert_eq!(kept, [("us", "lunch? \u{1b}[2J"), (bob.as_str(), "at noon"), ("us", "good")]);
}

/// RFC 4975, RFC 5547: files go to `sip phone --files FOLDER` alone, none that is there already and none that is too large; over TLS.
#[test]
fn the_phone_takes_files() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let taken = folder.join("phone-files");
    let _ = std::fs::remove_dir_all(&taken);
    std::fs::create_dir(&taken).unwrap();
    let (small, large) = (folder.join("phone-small.txt"), folder.join("phone-large.txt"));
    std::fs::write(&small, "some notes").unwrap();
    std::fs::write(&large, "a little more than that").unwrap();
    let phone = |more: &[&str]| {
        let mut arguments = vec!["phone", "--listen", "udp:127.0.0.1:0"];
        arguments.extend(more);
        Running::start(&arguments)
    };
    let mut bob = phone(&["--files", taken.to_str().unwrap(), "--file-limit", "20"]);
    let to_bob = format!("sip:bob@{}", bob.address());
    let mut alice = phone(&["--msrp-tls"]);
    let to_alice = format!("sip:alice@{}", alice.address());
    alice.type_line(&format!("f {to_bob} {}", small.display()));
    bob.line("file phone-small.txt from");
    bob.line("phone-small.txt of 10 octets");
    alice.line("file phone-small.txt sent");
    assert_eq!(std::fs::read(taken.join("phone-small.txt")).unwrap(), b"some notes");
    for again in [&small, &large] {
        alice.type_line(&format!("f {to_bob} {}", again.display()));
        alice.line("not sent: 603");
    }
    assert!(!taken.join("phone-large.txt").exists());
    bob.type_line(&format!("f {to_alice} {}", small.display()));
    alice.line("refused: --files FOLDER takes files");
    bob.line("not sent: 603");
    for mut phone in [alice, bob] {
        phone.type_line("q");
        assert_eq!(phone.end(), Some(0));
    }
}

/// RFC 4975: a chat in a session is shown as messages are, and what is written to who chats goes back in the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_phone_takes_chats_in_sessions() {
    let mut phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let to = format!("sip:bob@{}", phone.address());
    let alice =
        sip_ua::Phone::builder("sip:alice@example.com").listen("udp:127.0.0.1:0").bind().await.unwrap();
    let mut chat = alice.chat_session(&to).await.unwrap();
    phone.line("chat with");
    chat.send("lunch? \u{1b}[2J").await.unwrap();
    assert!(phone.line("message from").contains("lunch? \u{fffd}[2J"));
    phone.type_line("m sip:alice@example.com at noon");
    assert_eq!(chat.next().await.as_deref(), Some("at noon"));
    phone.line("message to");
    chat.close().await;
    phone.line("ended");
    phone.type_line("q");
    assert_eq!(phone.end(), Some(0));
    alice.close().await;
}

/// RFC 7701: a room of `sip room`, and two who are in it: all read what one writes, or one alone; nicknames, who comes and goes, and limits.
#[cfg(unix)]
#[test]
fn a_room_and_two_in_it() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let users = folder.join("room-users.txt");
    std::fs::write(&users, "friends:secret\nalice:secret\nbob:secret\n").unwrap();
    let listen = ["server", "--listen", "udp:127.0.0.1:0", "--domain", "127.0.0.1", "--users"];
    let server = Running::start(&[&listen[..], &[users.to_str().unwrap()]].concat());
    let at = server.address();
    let uri = |name: &str| format!("sip:{name}@{at}");
    let (friends, alice, bob) = (uri("friends"), uri("alice"), uri("bob"));
    let room = Running::start(&[
        "room",
        &friends,
        "--password",
        "secret",
        "--reserve",
        "admin",
        "--sessions",
        "2",
        "--message-limit",
        "2000",
    ]);
    room.line("room sip:friends@");
    let join = |own: &str, more: &[&str]| {
        let mut arguments = vec!["chat", &friends, "--room", "--from", own, "--password", "secret"];
        arguments.extend(more);
        Running::start(&arguments)
    };
    let mut one = join(&alice, &["--nickname", "The Boss"]);
    one.line("in the room");
    one.line("we are The Boss");
    room.line(&format!("{alice} came"));
    room.line(&format!("{alice} is The Boss"));
    let mut other = join(&bob, &[]);
    other.line("in the room");
    one.line(&format!("{bob} came"));
    other.line(&format!("{alice} is The Boss"));
    one.type_line("hello all \u{1b}[2J");
    one.line("1 sent");
    other.line("< The Boss: hello all \u{fffd}[2J");
    other.type_line("/nick the boss");
    other.line("does not give this nickname: 425");
    other.type_line("/nick Admin");
    other.line("does not give this nickname: 425");
    other.type_line("/nick Robert");
    one.line(&format!("{bob} is Robert"));
    other.type_line(&format!("/to {alice} between us"));
    one.line("< Robert to us alone: between us");
    other.type_line(&format!("/to {alice}"));
    // There is no place for a third, and none for a long text.
    assert_eq!(join(&bob, &[]).end(), Some(2));
    other.type_line(&"x".repeat(3_000));
    other.line("2 not sent: ");
    other.type_line("/quit");
    assert_eq!(other.end(), Some(5));
    one.line("Robert left");
    room.line(&format!("{bob} left").replace(&bob, "Robert"));
    room.interrupt();
    one.line("the room is closed");
    assert_eq!((one.end(), room.end()), (Some(0), Some(0)));
}

/// Whose address is wrong is told, with an exit code.
#[test]
fn nobody_of_that_name() {
    let phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let at = phone.address();
    let from = format!("sip:alice@{at}");
    let mut chat =
        Running::start(&["chat", "sip:bob@127.0.0.1:9;transport=tcp", "--from", &from, "--no-register"]);
    chat.line("chat with");
    chat.type_line("anybody?");
    chat.line("1 not sent");
    chat.type_line("/quit");
    assert_eq!(chat.end(), Some(4));
}
