//! linphonec at a server of ours, and a phone of ours: both call, both write, both hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{
    Dir, HELD_AND_BACK, Linphone, Own, Server, assert_holds_tone, hear, hold_and_resume, say, turn, within,
};
use sip_message::StatusCode;
use sip_ua::{Call, Phone};

/// What linphonec plays, and what we play.
const ITS: f64 = 440.0;
const OURS: f64 = 1000.0;

/// A server, linphonec as bob, and alice, each registered there.
async fn registered(dir: &Dir) -> (Server, Linphone, Own) {
    let users = ["alice", "bob"].map(|name| (name.to_string(), format!("{name}-secret")));
    let server = Server::start(dir, Some(&users), &[]);
    let linphone = Linphone::start(dir, server.udp, "bob", ITS);
    let phone = Phone::builder("sip:alice@example.test").listen("udp:127.0.0.1:0").proxy(&server.uri());
    let alice = Own::with("alice", phone.password("alice-secret")).await;
    within("registration", alice.phone.register()).await.unwrap();
    (server, linphone, alice)
}

async fn call(alice: &Own, linphone: &mut Linphone) -> Call {
    linphone.process.type_line("autoanswer enable");
    linphone.process.wait_for("Auto answer enabled");
    let calling = alice.phone.call("sip:bob@example.test").await.unwrap();
    within("the answer", calling.answered()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_is_called_and_each_holds_the_other() {
    let Some(_turn) = turn(&["linphonec"]) else { return };
    let dir = Dir::new("linphone-hold");
    let (_server, mut linphone, alice) = registered(&dir).await;
    let call = call(&alice, &mut linphone).await;
    say(&call.audio(), OURS);
    hear(&call.audio(), ITS).await;
    let before = alice.described().len();
    hold_and_resume(&call, ITS).await;
    linphone.process.type_line("pause");
    linphone.process.wait_for("is now paused");
    assert!(call.is_held_by_peer());
    linphone.process.type_line("resume");
    linphone.process.wait_for("Media streams established");
    hear(&call.audio(), ITS).await;
    assert!(!call.is_held_by_peer());
    assert_eq!(alice.described().split_off(before), HELD_AND_BACK);
    call.hang_up().await;
    linphone.process.wait_for("ended");
    assert_holds_tone(&linphone.heard(), OURS, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_calls_us_and_hangs_up() {
    let Some(_turn) = turn(&["linphonec"]) else { return };
    let dir = Dir::new("linphone-calls");
    let (_server, mut linphone, alice) = registered(&dir).await;
    linphone.process.type_line("call sip:alice@example.test");
    let incoming = within("its call", alice.phone.incoming()).await.unwrap();
    let call = within("our answer", incoming.answer()).await.unwrap();
    say(&call.audio(), OURS);
    hear(&call.audio(), ITS).await;
    hear(&call.audio(), ITS).await;
    linphone.process.type_line("terminate");
    let summary = within("the end", call.ended()).await;
    assert_eq!(summary.statistics.unknown_payloads, 0);
    assert_holds_tone(&linphone.heard(), OURS, 0.5);
}

/// RFC 3428, through the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_each_way() {
    let Some(_turn) = turn(&["linphonec"]) else { return };
    let dir = Dir::new("linphone-messages");
    let (_server, mut linphone, alice) = registered(&dir).await;
    linphone.process.type_line("chat sip:alice@example.test is lunch ready?");
    let message = within("its message", alice.phone.next_message()).await;
    assert_eq!((message.text.as_str(), message.from.uri().user()), ("is lunch ready?", Some("bob")));
    let sent = within("our message", alice.phone.send_message("sip:bob@example.test", "in a minute")).await;
    assert_eq!(sent.unwrap(), StatusCode::OK);
    linphone.process.wait_for("in a minute");
}
