//! Many calls with sound at once: what they cost, and whether their packets are on time. Beside baresip, and beside sockets
//! with nobody between, in the same run.
//!
//! `MEDIA_CALLS=500 MEDIA_SECONDS=20 cargo test -p interop --release --test media -- --nocapture` prints the figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::time::Duration;

use interop::{Baresip, Came, Dir, Process, Streams, TalkingPhone, turn, within};
use sip_ua::Phone;

/// Calls of baresip, which refuses some when it is near a hundred.
const BARESIPS: usize = 50;

fn set(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Processor time of one call for one second, and what came of the streams.
struct Measured {
    cost: Duration,
    came: Came,
}

/// Calls `to` so often, and measures the process behind it while all calls stand.
async fn measure(to: &str, process: &Process, calls: usize, time: Duration) -> Measured {
    let streams = Streams::start();
    let phone = Phone::builder("sip:load@127.0.0.1").listen("udp:127.0.0.1:0").media_engine(streams.engine());
    let phone = phone.bind().await.unwrap();
    let mut standing = Vec::new();
    for _ in 0..calls {
        let call = within("a call", phone.call(to)).await.unwrap();
        standing.push(within("an answer", call.answered()).await.unwrap());
    }
    let before = process.processor_time();
    let came = streams.measure(time);
    let used = process.processor_time() - before;
    for call in standing {
        within("the end of a call", call.hang_up()).await;
    }
    phone.close().await;
    Measured { cost: used.div_f64(calls as f64 * time.as_secs_f64()), came }
}

fn show(who: &str, calls: usize, cost: Option<Duration>, came: Came) {
    let cost = cost.map_or_else(|| "-".into(), |cost| format!("{} us", cost.as_micros()));
    let Came { packets, lost, late, .. } = came;
    println!(
        "{who}: {calls} calls, {cost} of processor a call and second; {packets} packets, {lost} lost, {late} late"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_call_is_heard_while_many_talk() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("media");
    let (calls, time) = (set("MEDIA_CALLS", 50), Duration::from_secs(set("MEDIA_SECONDS", 3) as u64));

    let bare = Streams::start();
    bare.loop_back(calls.min(400));
    let came = bare.measure(time);
    drop(bare);
    show("nobody between", came.streams, None, came);

    let mut phone = TalkingPhone::start(&dir, 440.0);
    let ours = measure(&format!("sip:talker@{}", phone.udp), &phone.process, calls, time).await;
    show("ours", calls, Some(ours.cost), ours.came);
    let heard = phone.end();
    println!("ours, at its end: {heard}");

    let few = calls.min(BARESIPS);
    let account = "<sip:bob@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1;answermode=auto";
    let baresip = Baresip::start_for_many(&dir, account, few);
    let its = measure(&format!("sip:bob@127.0.0.1:{}", baresip.port), &baresip.process, few, time).await;
    show("baresip", few, Some(its.cost), its.came);

    // How much is late is this machine's affair; that all are heard, and next to nothing is lost, is ours.
    assert_eq!(ours.came.streams, calls);
    let due = calls as f64 * time.as_secs_f64() * 50.0;
    assert!(ours.came.packets as f64 > due * 0.95, "{} packets came, {due} were due", ours.came.packets);
}
