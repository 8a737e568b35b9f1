//! baresip and a phone of ours: hold, transfer, early media, keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{Baresip, Certificates, Dir, HELD_AND_BACK, Own, hear, hold_and_resume, say, turn, within};
use sip_message::StatusCode;
use sip_ua::Call;

/// What baresip plays, and what we play.
const ITS: f64 = 440.0;
const OURS: f64 = 1000.0;

/// An account of baresip that talks to us without a server.
fn account(more: &str) -> String {
    format!("<sip:bob@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1;{more}")
}

/// We call baresip, which answers.
async fn call(own: &Own, baresip: &Baresip) -> Call {
    let calling = own.phone.call(&format!("sip:bob@127.0.0.1:{}", baresip.port)).await.unwrap();
    within("the answer", calling.answered()).await.unwrap()
}

/// RTP packets that we sent and received.
fn packets(call: &Call) -> (u64, u64) {
    let statistics = call.statistics().session;
    (statistics.sent.packets, statistics.received.packets)
}

/// Both put the other on hold and take it back; the last descriptions that passed are returned.
async fn hold_both_ways(own: &Own, call: &Call, baresip: &mut Baresip) -> Vec<String> {
    say(&call.audio(), OURS);
    hear(&call.audio(), ITS).await;
    let before = own.described().len();

    hold_and_resume(call, ITS).await;

    baresip.order("hold", "");
    within("its hold", async {
        while !call.is_held_by_peer() {
            tick().await
        }
    })
    .await;
    hear_nothing_sent(call).await;
    baresip.order("resume", "");
    within("its resume", async {
        while call.is_held_by_peer() {
            tick().await
        }
    })
    .await;
    hear(&call.audio(), ITS).await;
    let sent = packets(call).0;
    within("our sound again", async {
        while packets(call).0 < sent + 25 {
            tick().await
        }
    })
    .await;
    own.described().split_off(before)
}

async fn tick() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

/// Nothing more of ours goes out for half a second.
async fn hear_nothing_sent(call: &Call) {
    let sent = packets(call).0;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(packets(call).0, sent, "RTP packets sent while we are held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_holds_the_other_and_media_stops_and_returns() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-hold");
    let mut baresip = Baresip::start(&dir, &account("answermode=auto"), ITS, &[]);
    let own = Own::start("alice").await;
    let call = call(&own, &baresip).await;
    assert_eq!(hold_both_ways(&own, &call, &mut baresip).await, HELD_AND_BACK);
    call.hang_up().await;
    baresip.process.wait_for("session closed");
    // It begins another file with each description; this is the last.
    interop::assert_holds_tone(&baresip.heard(), OURS, 0.3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_over_tls() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-hold-tls");
    let certificates = Certificates::new(&dir);
    let account = "<sip:bob@127.0.0.1;transport=tls>;regint=0;audio_codecs=PCMA/8000/1;answermode=auto";
    let mut baresip = Baresip::start_with_tls(&dir, account, ITS, &[], &certificates);
    let own = Own::start_with_tls("alice", &certificates).await;
    let to = format!("sip:bob@127.0.0.1:{};transport=tls", baresip.port + 1);
    let call = within("the answer", own.phone.call(&to).await.unwrap().answered()).await.unwrap();
    assert_eq!(hold_both_ways(&own, &call, &mut baresip).await, HELD_AND_BACK);
    call.hang_up().await;
    baresip.process.wait_for("session closed");
}

/// RFC 5589 §6, baresip as transferee.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn we_have_baresip_call_somebody_else() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-transferee");
    let baresip = Baresip::start(&dir, &account("answermode=auto"), ITS, &[]);
    let (own, carol) = (Own::start("alice").await, Own::start("carol").await);
    let first = call(&own, &baresip).await;
    hear(&first.audio(), ITS).await;
    let answering = async {
        let call = within("its call", carol.phone.incoming()).await.unwrap().answer().await.unwrap();
        hear(&call.audio(), ITS).await;
        call
    };
    let (transferred, second) = tokio::join!(within("the transfer", first.transfer(&carol.uri)), answering);
    assert_eq!(transferred.unwrap(), StatusCode::OK);
    first.hang_up().await;
    hear(&second.audio(), ITS).await;
    second.hang_up().await;
}

/// RFC 5589 §6, baresip as transferor: it hears how our call goes by NOTIFY, and hangs up.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn baresip_has_us_call_somebody_else() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-transferor");
    let mut baresip = Baresip::start(&dir, &account("answermode=auto"), ITS, &[]);
    let (own, carol) = (Own::start("alice").await, Own::start("carol").await);
    let first = call(&own, &baresip).await;
    hear(&first.audio(), ITS).await;
    baresip.order("transfer", &carol.uri);
    let referral = within("the referral", own.phone.next_referral()).await;
    assert!(referral.is_of(&first), "who talks to us asks");
    let calling =
        async { within("the new call", referral.follow().await.unwrap().answered()).await.unwrap() };
    let answering =
        async { within("our call", carol.phone.incoming()).await.unwrap().answer().await.unwrap() };
    let (second, answered) = tokio::join!(calling, answering);
    say(&answered.audio(), OURS);
    hear(&second.audio(), OURS).await;
    // Its account of the call; of one that lasted no second it says nothing else.
    baresip.process.wait_for("Transmit:");
    within("the end of the first call", first.ended()).await;
    assert!(
        own.sent("NOTIFY").iter().any(|notify| notify.ends_with("SIP/2.0 200 OK\r\n")),
        "the outcome is told"
    );
    second.hang_up().await;
}

/// RFC 3960: 183 with a description. This baresip says nothing itself before it answers (PJSIP does: `pjsip.rs`).
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn media_goes_to_baresip_before_it_answers() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-early");
    let mut baresip = Baresip::start(&dir, &account("answermode=early"), ITS, &[]);
    let own = Own::start("alice").await;
    let mut calling = own.phone.call(&format!("sip:bob@127.0.0.1:{}", baresip.port)).await.unwrap();
    say(&calling.audio().unwrap(), OURS);
    while within("183", calling.progress()).await.unwrap().status() != StatusCode::SESSION_PROGRESS {}
    baresip.process.wait_for("incoming rtp for 'audio' established");
    assert!(own.received("SIP/2.0 200").is_empty(), "all of this is before the answer");
    baresip.order("accept", "");
    let call = within("the answer", calling.answered()).await.unwrap();
    hear(&call.audio(), ITS).await;
    call.hang_up().await;
    baresip.process.wait_for("Transmit:");
    interop::assert_holds_tone(&baresip.heard(), OURS, 0.3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn baresip_hears_us_before_we_answer() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-hears-early");
    let own = Own::start("alice").await;
    let mut baresip = Baresip::start(&dir, &account(""), ITS, &[&format!("/dial {}", own.uri)]);
    let incoming = within("its call", own.phone.incoming()).await.unwrap();
    let audio = within("early media", incoming.early_media()).await.unwrap();
    say(&audio, OURS);
    baresip.process.wait_for("183 Session Progress");
    // It speaks as soon as it has our description: then it has heard us for as long.
    hear(&audio, ITS).await;
    hear(&audio, ITS).await;
    incoming.reject(StatusCode::BUSY_HERE).unwrap();
    baresip.process.wait_for("session closed");
    assert!(own.sent("SIP/2.0 200").is_empty(), "never answered");
    interop::assert_holds_tone(&baresip.heard(), OURS, 0.8);
}

/// RFC 4733 both ways, and INFO to baresip, which sends none.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keys_in_the_media_and_by_info() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-keys");
    let mut baresip = Baresip::start(&dir, &account("answermode=auto"), ITS, &[]);
    let own = Own::start("alice").await;
    let call = call(&own, &baresip).await;
    hear(&call.audio(), ITS).await;
    within("our keys", call.audio().send_digits("5#")).await.unwrap();
    baresip.process.wait_for("received event: '5'");
    baresip.process.wait_for("received event: '#'");
    within("INFO", call.press_by_info('7')).await.unwrap();
    baresip.process.wait_for("received DTMF: '7'");
    baresip.order("sndcode", "9");
    assert_eq!(within("its key", call.audio().next_digit()).await, Some('9'));
    call.hang_up().await;
}
