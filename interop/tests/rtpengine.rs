//! rtpengine in the path, as Kamailio directs it: SRTP on one side of it, plain RTP on the other, and both parties hear each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{
    Dir, Kamailio, Own, Process, free_port, hear, hold_and_resume, say, turn, wait_until_bound, within,
};
use sip_ua::{Call, Phone, Srtp};

const ALICES: f64 = 440.0;
const BOBS: f64 = 1000.0;

async fn phone(user: &str, proxy: &Kamailio, srtp: Srtp) -> Own {
    let phone = Phone::builder(&format!("sip:{user}@127.0.0.1")).listen("udp:127.0.0.1:0");
    Own::with(user, phone.srtp(srtp).proxy(&proxy.uri())).await
}

async fn connect(caller: &Own, callee: &Own) -> (Call, Call) {
    let calling = within("the call", caller.phone.call(&callee.uri)).await.unwrap();
    let (call, called) = tokio::join!(within("the answer", calling.answered()), async {
        let incoming = within("the call", callee.phone.incoming()).await.unwrap();
        within("our answer", incoming.answer()).await
    });
    (call.unwrap(), called.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn protected_on_one_side_plain_on_the_other_whoever_calls() {
    let Some(_turn) = turn(&["kamailio", "rtpengine"]) else { return };
    let dir = Dir::new("rtpengine");
    let (control, media) = (free_port(1), free_port(40));
    let (listen, from, to) = (format!("127.0.0.1:{control}"), media.to_string(), (media + 40).to_string());
    let _engine = Process::start(
        &dir,
        "rtpengine",
        "rtpengine",
        [
            "-f",
            "-E",
            "-L",
            "5",
            "--table=-1",
            "-i",
            "127.0.0.1",
            "-n",
            &listen,
            "-m",
            &from,
            "-M",
            &to,
            "--num-threads=1",
        ],
    );
    wait_until_bound(control);
    let config = include_str!("../configs/kamailio-media.cfg").replace("@RTPENGINE@", &control.to_string());
    let proxy = Kamailio::with_config(&dir, &config);
    let alice = phone("alice", &proxy, Srtp::Required).await;
    let bob = phone("bob", &proxy, Srtp::Off).await;
    for alice_calls in [true, false] {
        let (alices, bobs) = if alice_calls {
            connect(&alice, &bob).await
        } else {
            let (bobs, alices) = connect(&bob, &alice).await;
            (alices, bobs)
        };
        assert!(alices.audio().crypto_suite().is_some() && bobs.audio().crypto_suite().is_none());
        say(&alices.audio(), ALICES);
        say(&bobs.audio(), BOBS);
        hear(&alices.audio(), BOBS).await;
        hear(&bobs.audio(), ALICES).await;
        if alice_calls {
            hold_and_resume(&alices, BOBS).await;
            hear(&bobs.audio(), ALICES).await;
        }
        let discarded = alices.statistics().session.discarded;
        assert!(discarded.unauthentic < 10, "{discarded:?}");
        alices.hang_up().await;
        within("the end", bobs.ended()).await;
    }
}
