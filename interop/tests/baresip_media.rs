//! The media of calls with baresip: each codec, and SRTP with keys by SDES, heard on both sides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{Baresip, Dir, Own, assert_holds_tone, hear, say, turn, within};
use sip_ua::{Call, Codec, Phone, PhoneBuilder, Srtp};

/// What baresip plays, and what we play.
const ITS: f64 = 440.0;
const OURS: f64 = 1000.0;

async fn own(set: impl FnOnce(PhoneBuilder) -> PhoneBuilder) -> Own {
    Own::with("alice", set(Phone::builder("sip:alice@127.0.0.1").listen("udp:127.0.0.1:0"))).await
}

async fn we_call(own: &Own, baresip: &Baresip) -> Call {
    let calling = own.phone.call(&format!("sip:bob@127.0.0.1:{}", baresip.port)).await.unwrap();
    within("the answer", calling.answered()).await.unwrap()
}

async fn it_calls(own: &Own, baresip: &mut Baresip) -> Call {
    baresip.order("dial", &own.uri);
    let incoming = within("its call", own.phone.incoming()).await.unwrap();
    within("our answer", incoming.answer()).await.unwrap()
}

/// Each hears the other's tone; what baresip heard is in its recording.
async fn talk(call: Call, baresip: &mut Baresip) {
    say(&call.audio(), OURS);
    hear(&call.audio(), ITS).await;
    // It has heard us for as long, and goes on a little.
    hear(&call.audio(), ITS).await;
    hear(&call.audio(), ITS).await;
    call.hang_up().await;
    baresip.process.wait_for("session closed");
    assert_holds_tone(&baresip.heard(), OURS, 0.8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_codec_is_heard_both_ways() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let l16 = Codec::L16 { sample_rate: 16_000, channels: 1 };
    for (codec, name, module) in [
        (Codec::PCMA, "PCMA/8000/1", "g711"),
        (Codec::G722, "G722/16000/1", "g722"),
        (l16, "L16/16000/1", "l16"),
        (Codec::Opus, "opus/48000/2", "opus"),
    ] {
        let dir = Dir::new("baresip-codec");
        let account = format!("<sip:bob@127.0.0.1>;regint=0;answermode=auto;audio_codecs={name}");
        let mut baresip = Baresip::start_with_modules(&dir, &account, ITS, &[module]);
        let own = own(|builder| builder.codecs(&[Codec::PCMU, codec])).await;
        let call = we_call(&own, &baresip).await;
        assert_eq!(call.audio().codec(), Some(codec));
        talk(call, &mut baresip).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rfc4568_calls_are_protected_both_ways_whoever_calls() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    for (encryption, ours) in
        [("srtp", Srtp::Optional), ("srtp-mand", Srtp::Required), ("srtp-mand", Srtp::Optional)]
    {
        for it in [false, true] {
            if !it && encryption == "srtp-mand" && ours == Srtp::Optional {
                continue; // it takes RTP/SAVP alone, and what is optional is offered as RTP/AVP
            }
            let dir = Dir::new("baresip-srtp");
            let account = format!(
                "<sip:bob@127.0.0.1>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1;mediaenc={encryption}"
            );
            let mut baresip = Baresip::start_with_modules(&dir, &account, ITS, &["srtp"]);
            let own = own(|builder| builder.srtp(ours)).await;
            let call = if it { it_calls(&own, &mut baresip).await } else { we_call(&own, &baresip).await };
            assert!(call.audio().crypto_suite().is_some(), "{encryption} {ours:?}");
            talk(call, &mut baresip).await;
        }
    }
}

/// RFC 8643: who offers and meets a phone without SRTP talks in the clear; who insists gets 488 from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_phone_without_srtp_is_met_in_the_clear_or_not_at_all() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    let dir = Dir::new("baresip-no-srtp");
    let account = "<sip:bob@127.0.0.1>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1";
    let mut baresip = Baresip::start_with_modules(&dir, account, ITS, &[]);
    let insisting = own(|builder| builder.srtp(Srtp::Required)).await;
    let calling = insisting.phone.call(&format!("sip:bob@127.0.0.1:{}", baresip.port)).await.unwrap();
    let refused = within("its refusal", calling.answered()).await.unwrap_err();
    assert!(refused.to_string().contains("488") || refused.to_string().contains("media"), "{refused}");
    let offering = own(|builder| builder.srtp(Srtp::Optional)).await;
    let call = we_call(&offering, &baresip).await;
    assert_eq!(call.audio().crypto_suite(), None);
    talk(call, &mut baresip).await;
}
