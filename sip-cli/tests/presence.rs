//! Presence and waiting messages as a script sees them: `sip publish`, `sip watch`, `sip phone --watch --mwi`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use running::{Running, sip};
use sip_dialog::packages::message_summary::{Counts, MessageSummary};
use sip_dialog::{Acceptance, Notification};
use sip_ua::Phone;

fn server(name: &str) -> Running {
    let users = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.txt"));
    std::fs::write(&users, "alice:secret\nbob:secret\n").unwrap();
    let users = users.to_str().unwrap();
    Running::start(&["server", "--listen", "udp:127.0.0.1:0", "--domain", "127.0.0.1", "--users", users])
}

/// RFC 3903, RFC 3856, RFC 4480: what one publishes the other sees at once, and that it is gone.
#[cfg(unix)]
#[test]
fn what_is_published_is_watched() {
    let server = server("presence-users");
    let at = server.address();
    let (alice, bob) = (format!("sip:alice@{at}"), format!("sip:bob@{at}"));
    let table = Running::start(&[
        "watch",
        &alice,
        "--from",
        &bob,
        "--password",
        "secret",
        "--listen",
        "udp:127.0.0.1:0",
    ]);
    table.line("closed");
    let phone = Running::start(&[
        "phone",
        "--listen",
        "udp:127.0.0.1:0",
        "--register",
        &bob,
        "--password",
        "secret",
        "--watch",
        &alice,
    ]);
    phone.line(&format!("{alice} is closed"));
    let published = Running::start(&[
        "publish",
        "on the phone",
        "--note",
        "back at four",
        "--from",
        &alice,
        "--password",
        "secret",
    ]);
    published.line("is open, on the phone: back at four");
    let row = table.line("on the phone");
    assert!(row.contains("open") && row.contains("back at four") && row.ends_with('Z'), "{row}");
    phone.line(&format!("{alice} is open, on the phone: back at four"));
    let once = sip(&["watch", &alice, "--from", &bob, "--password", "secret", "--once", "--json"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let told: serde_json::Value = serde_json::from_slice(&once.stdout).unwrap();
    assert_eq!((&told["open"], &told["activity"]), (&true.into(), &"on the phone".into()), "{told}");
    published.interrupt();
    assert_eq!(published.end(), Some(0));
    table.line("closed");
    table.interrupt();
    assert_eq!(table.end(), Some(0));
}

#[test]
fn who_may_not_hears_so() {
    let server = server("presence-strangers");
    let at = server.address();
    let alice = format!("sip:alice@{at}");
    let wrong = sip(&["publish", "open", "--from", &alice, "--password", "wrong", "--once", "0"]);
    assert_eq!(wrong.status.code(), Some(6), "{wrong:?}");
    let stranger = sip(&["watch", &alice, "--from", &format!("sip:bob@{at}"), "--password", "wrong"]);
    assert_eq!(stranger.status.code(), Some(6), "{stranger:?}");
    let nonsense = sip(&["publish", "juggling", "--from", &alice]);
    assert_eq!(nonsense.status.code(), Some(1), "{nonsense:?}");
}

/// RFC 3842: `sip phone --mwi` shows the number of messages that wait, as a server of voice mail tells it.
#[tokio::test]
async fn the_phone_shows_waiting_messages() {
    let mail = Phone::builder("sip:mail@127.0.0.1").listen("udp:127.0.0.1:0").notifies("message-summary");
    let mail = mail.bind().await.unwrap();
    let at = mail.locals().iter().next().unwrap().bound;
    let phone = Running::start(&[
        "phone",
        "--listen",
        "udp:127.0.0.1:0",
        "--from",
        &format!("sip:alice@{at}"),
        "--mwi",
    ]);
    let mut subscriber = tokio::time::timeout(running::PATIENCE, mail.next_subscriber()).await.unwrap();
    let counts = vec![("Voice-Message".into(), Counts { new: 2, old: 1, ..Counts::default() })];
    let summary = MessageSummary { waiting: true, counts, ..MessageSummary::default() };
    let state = Some(Notification::full(summary.to_body()));
    subscriber.accept(Acceptance { state, ..Acceptance::default() }).unwrap();
    tokio::task::spawn_blocking(move || phone.line("has 2 new voice messages, 1 old")).await.unwrap();
    mail.close().await;
}
