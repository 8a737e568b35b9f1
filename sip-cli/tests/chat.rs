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
