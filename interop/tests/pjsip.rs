//! PJSIP and a phone of ours: transfers in every role, reliable provisional responses, session timers, UPDATE, hold, keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{
    Dir, Own, Pjsip, Talker, assert_holds_tone, hear, hear_nothing, hold_and_resume, say, turn, within,
};
use sip_message::StatusCode;
use sip_ua::{Call, CallOptions, Phone, SessionTimer};

/// What the phones of PJSIP play, and what we play.
const BOBS: f64 = 440.0;
const CAROLS: f64 = 660.0;
const OURS: f64 = 1000.0;

const ANSWERS: &[&str] = &["answer=200"];

async fn call(own: &Own, to: &str) -> Call {
    let calling = own.phone.call(to).await.unwrap();
    within("the answer", calling.answered()).await.unwrap()
}

async fn answer(own: &Own) -> Call {
    within("a call", own.phone.incoming()).await.unwrap().answer().await.unwrap()
}

/// RFC 5589 §7.3: two phones of PJSIP, connected by us; the second finds its call by Replaces (RFC 3891).
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_attended_transfer_by_us() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-transferor");
    let mut bob = Talker::start(&dir, "bob", BOBS, ANSWERS);
    let mut carol = Talker::start(&dir, "carol", CAROLS, ANSWERS);
    let own = Own::start("alice").await;
    let (first, second) = (call(&own, &bob.uri).await, call(&own, &carol.uri).await);
    hear(&first.audio(), BOBS).await;
    hear(&second.audio(), CAROLS).await;
    let connected = within("the transfer", first.transfer_to(&second)).await;
    assert_eq!(connected.unwrap(), StatusCode::OK);
    carol.process.wait_for("call 2 in the place of call 1");
    carol.process.wait_for("call 2 CONFIRMED 200");
    within("the end of the second call", second.ended()).await;
    first.hang_up().await;
    bob.process.wait_for("call 1 DISCONNECTED");
    // The two talk for a moment, without us.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_holds_tone(&bob.heard(2), CAROLS, 0.4);
    assert_holds_tone(&carol.heard(2), BOBS, 0.4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_attended_transfer_of_us() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-transferee");
    let mut bob = Talker::start(&dir, "bob", BOBS, ANSWERS);
    let mut carol = Talker::start(&dir, "carol", CAROLS, ANSWERS);
    let own = Own::start("alice").await;
    let first = call(&own, &bob.uri).await;
    hear(&first.audio(), BOBS).await;
    bob.process.type_line(&format!("call {}", carol.uri));
    bob.process.wait_for("call 2 CONFIRMED");
    bob.process.type_line("connect 1 2");
    let referral = within("the referral", own.phone.next_referral()).await;
    assert!(referral.is_attended() && referral.is_of(&first));
    let second = within("the new call", referral.follow().await.unwrap().answered()).await.unwrap();
    carol.process.wait_for("call 2 in the place of call 1");
    hear(&second.audio(), CAROLS).await;
    bob.process.wait_for("call 1 transfer 200");
    bob.process.type_line("hangup 1");
    within("the end of the first call", first.ended()).await;
    second.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_attended_transfer_to_us() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-target");
    let mut bob = Talker::start(&dir, "bob", BOBS, ANSWERS);
    let carol = Talker::start(&dir, "carol", CAROLS, ANSWERS);
    let own = Own::start("alice").await;
    bob.process.type_line(&format!("call {}", own.uri));
    let first = answer(&own).await;
    hear(&first.audio(), BOBS).await;
    bob.process.type_line(&format!("call {}", carol.uri));
    bob.process.wait_for("call 2 CONFIRMED");
    bob.process.type_line("connect 2 1");
    let incoming = within("the new call", own.phone.incoming()).await.unwrap();
    assert!(incoming.replaces_a_call());
    let second = within("our answer", incoming.answer()).await.unwrap();
    within("the end of the first call", first.ended()).await;
    hear(&second.audio(), CAROLS).await;
    bob.process.wait_for("call 2 transfer 200");
    second.hang_up().await;
}

/// RFC 3262 §3, §4, RFC 3960: 183 with media, acknowledged by PRACK, and sound before the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn reliable_early_media_of_pjsip() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-100rel-uas");
    let mut bob = Talker::start(&dir, "bob", BOBS, &["answer=183"]);
    let own = Own::start("alice").await;
    let demand = CallOptions::new().demand_reliable_responses();
    let calling = own.phone.call_with(&bob.uri, demand).await.unwrap();
    let audio = calling.audio().unwrap();
    say(&audio, OURS);
    hear(&audio, BOBS).await;
    assert!(own.received("SIP/2.0 183")[0].contains("RSeq"));
    assert_eq!(own.sent("PRACK").len(), 1);
    assert!(own.described() == ["sent INVITE sendrecv", "received 183 sendrecv"], "{:?}", own.described());
    bob.process.type_line("answer 1 200");
    let call = within("the answer", calling.answered()).await.unwrap();
    hear(&call.audio(), BOBS).await;
    call.hang_up().await;
    bob.process.wait_for("DISCONNECTED");
    assert_holds_tone(&bob.heard(1), OURS, 1.0);
}

/// The same from us, to a caller that requires 100rel.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn reliable_early_media_to_pjsip() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-100rel-uac");
    let mut bob = Talker::start(&dir, "bob", BOBS, &["reliable=always"]);
    let own = Own::start("alice").await;
    bob.process.type_line(&format!("call {}", own.uri));
    let incoming = within("its call", own.phone.incoming()).await.unwrap();
    assert!(own.received("INVITE")[0].contains("Require: 100rel"));
    incoming.ring().unwrap();
    bob.process.wait_for("EARLY 180");
    let audio = within("early media", incoming.early_media()).await.unwrap();
    say(&audio, OURS);
    hear(&audio, BOBS).await;
    assert_eq!(own.received("PRACK").len(), 2, "of the 180 and the 183");
    let call = within("our answer", incoming.answer()).await.unwrap();
    bob.process.wait_for("CONFIRMED");
    hear(&call.audio(), BOBS).await;
    bob.process.type_line("hangup 1");
    within("the end", call.ended()).await;
    assert_holds_tone(&bob.heard(1), OURS, 1.0);
}

/// RFC 4028 §7 to §9: who calls asks for an interval, who answers says who refreshes; 422 for one that is too small.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn session_timers() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-timer");
    let mut bob = Talker::start(&dir, "bob", BOBS, &["answer=200", "expires=4000", "least=3600"]);
    let own = Own::start("alice").await;
    let first = call(&own, &bob.uri).await;
    assert_eq!(own.received("SIP/2.0 422").len(), 1, "half an hour is too little for it");
    let answered = own.received("SIP/2.0 200");
    let interval = line(answered.last().unwrap(), "Session-Expires: ").unwrap();
    assert!(interval.starts_with("3600;refresher="), "{interval}");
    assert!(
        line(own.sent("INVITE").last().unwrap(), "Min-SE: ").is_some_and(|least| least.starts_with("3600"))
    );
    first.hang_up().await;

    bob.process.type_line(&format!("call {}", own.uri));
    let second = answer(&own).await;
    let interval = line(&own.has_sent("SIP/2.0 200").await, "Session-Expires: ").unwrap();
    assert!(
        interval.starts_with("3600;refresher="),
        "§9: as near to our half an hour as its Min-SE lets us: {interval}"
    );
    second.hang_up().await;
}

/// RFC 4028 §10, §7.4: whoever was told to refreshes after half of the interval, 45 seconds; no less is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_are_refreshed_by_either_side() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-refresh");
    let short = ["answer=200", "expires=90", "least=90"];
    let mut bob = Talker::start(&dir, "bob", BOBS, &short);
    let carol = Talker::start(&dir, "carol", CAROLS, &short);
    let phone = Phone::builder("sip:alice@127.0.0.1").listen("udp:127.0.0.1:0");
    let own = Own::with("alice", phone.session_timer(Some(SessionTimer { interval: 90, minimum: 90 }))).await;
    let to_carol = call(&own, &carol.uri).await;
    bob.process.type_line(&format!("call {}", own.uri));
    let of_bob = answer(&own).await;
    let interval = line(&own.received("SIP/2.0 200")[0], "Session-Expires: ").unwrap();
    assert!(interval.starts_with("90;"), "{interval}");

    let both = async {
        loop {
            let messages = own.messages();
            if !refreshes(&messages, false).is_empty() && !refreshes(&messages, true).is_empty() {
                return messages;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let messages = tokio::time::timeout(std::time::Duration::from_secs(80), both).await.unwrap();
    for refresh in [refreshes(&messages, false), refreshes(&messages, true)].concat() {
        assert!(line(refresh, "Session-Expires: ").is_some_and(|it| it.starts_with("90;")), "{refresh}");
    }
    hear(&to_carol.audio(), CAROLS).await;
    hear(&of_bob.audio(), BOBS).await;
    to_carol.hang_up().await;
    of_bob.hang_up().await;
}

/// UPDATE and INVITE in dialogs, received or sent, that were answered with 200.
fn refreshes(messages: &[(bool, String)], received: bool) -> Vec<&String> {
    let of = |text: &str| (line(text, "Call-ID: "), line(text, "CSeq: "));
    let answered = |request: &str| {
        let mut others =
            messages.iter().filter(|(way, text)| *way != received && text.starts_with("SIP/2.0 200"));
        others.any(|(_, text)| of(text) == of(request))
    };
    let in_dialog = |text: &str| line(text, "To: ").is_some_and(|to| to.contains(";tag="));
    let changes = |text: &str| text.starts_with("UPDATE ") || text.starts_with("INVITE ");
    let of_way = messages.iter().filter(|(way, text)| *way == received && changes(text));
    of_way.map(|(_, text)| text).filter(|text| in_dialog(text) && answered(text)).collect()
}

fn line(text: &str, start: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(start)).map(Into::into)
}

/// RFC 3311 §5.2, RFC 3264 §8.4, RFC 4733 and keys by INFO.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_update_holds_and_keys() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    let dir = Dir::new("pjsip-changes");
    let mut bob = Talker::start(&dir, "bob", BOBS, ANSWERS);
    let own = Own::start("alice").await;
    let call = call(&own, &bob.uri).await;
    say(&call.audio(), OURS);
    hear(&call.audio(), BOBS).await;

    let before = own.described().len();
    bob.process.type_line("update 1");
    own.has_sent("SIP/2.0 200").await;
    hear(&call.audio(), BOBS).await;
    hold_and_resume(&call, BOBS).await;
    bob.process.type_line("hold 1");
    hear_nothing(&call.audio()).await;
    assert!(call.is_held_by_peer());
    bob.process.type_line("resume 1");
    hear(&call.audio(), BOBS).await;
    let wanted = [
        "received UPDATE sendrecv",
        "sent 200 sendrecv",
        "sent INVITE sendonly",
        "received 200 recvonly",
        "sent INVITE sendrecv",
        "received 200 sendrecv",
        "received INVITE sendonly",
        "sent 200 recvonly",
        "received INVITE sendrecv",
        "sent 200 sendrecv",
    ];
    assert_eq!(own.described().split_off(before), wanted);

    within("our keys", call.audio().send_digits("5#")).await.unwrap();
    bob.process.wait_for("call 1 key 5");
    bob.process.wait_for("call 1 key #");
    within("INFO", call.press_by_info('7')).await.unwrap();
    bob.process.wait_for("call 1 key 7");
    bob.process.type_line("keys 1 9");
    assert_eq!(within("its key", call.audio().next_digit()).await, Some('9'));
    bob.process.type_line("info 1 8");
    assert_eq!(within("its key by INFO", call.audio().next_digit()).await, Some('8'));
    call.hang_up().await;
    bob.process.wait_for("DISCONNECTED");
    assert_holds_tone(&bob.heard(1), OURS, 1.0);
}
