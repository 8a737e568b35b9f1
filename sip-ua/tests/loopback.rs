//! Two phones over loopback sockets: signalling, sound, digits, hold, and every way to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_dialog::Cause;
use sip_message::StatusCode;
use sip_ua::{Call, CallError, IncomingCall, Phone};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str, listen: &str) -> Phone {
    Phone::builder(&format!("sip:{user}@example.com"))
        .listen(listen)
        .rtcp_interval(Duration::from_millis(500))
        .bind()
        .await
        .unwrap()
}

/// Where a phone can be called without any proxy.
fn address_of(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

async fn connect(alice: &Phone, bob: &Phone) -> (Call, Call) {
    let to = address_of(bob, "bob");
    let callee = async {
        let incoming = bob.incoming().await.unwrap();
        incoming.ring().unwrap();
        incoming.answer().await.unwrap()
    };
    let caller = async {
        let mut ringing = alice.call(&to).await.unwrap();
        while ringing.progress().await.is_some() {}
        ringing.answered().await.unwrap()
    };
    patient("the call", async { tokio::join!(caller, callee) }).await
}

async fn talk(listen: &str) {
    let (alice, bob) = (phone("alice", listen).await, phone("bob", listen).await);
    let (call, called) = connect(&alice, &bob).await;
    let spoken = rtp::audio::speech::speech_like(16_000, 7);
    called.audio().start_recording();
    patient("playing", call.audio().play_samples(spoken.clone())).await.unwrap();
    patient("digits", call.audio().send_digits("12#")).await.unwrap();
    let mut digits = String::new();
    while digits.len() < 3 {
        digits.push(patient("a digit", called.audio().next_digit()).await.unwrap());
    }
    assert_eq!(digits, "12#");
    let heard = called.audio().stop_recording();
    let likeness = rtp::audio::correlate::correlate(&spoken, &heard);
    // By pieces: on a machine that is busy the pauses between them are of other lengths.
    assert!(
        likeness.matched >= 0.75 && likeness.segments >= 4,
        "what was heard is not what was said: {likeness:?}"
    );

    let summary = patient("hanging up", call.hang_up()).await;
    assert!(matches!(summary.ended.cause, Cause::HungUp));
    let other = patient("the end", called.ended()).await;
    assert!(matches!(other.ended.cause, Cause::HungUpByPeer(_)));
    assert!(other.statistics.session.received.packets > 50, "{:?}", other.statistics.session);
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn two_phones_talk_over_udp() {
    talk("udp:127.0.0.1:0").await;
}

#[tokio::test]
async fn two_phones_talk_over_tcp() {
    talk("tcp:127.0.0.1:0").await;
}

#[tokio::test]
async fn two_phones_talk_over_ipv6() {
    talk("udp:[::1]:0").await;
}

#[tokio::test]
async fn hold_and_resume() {
    let (alice, bob) = (phone("alice", "udp:127.0.0.1:0").await, phone("bob", "udp:127.0.0.1:0").await);
    let (call, called) = connect(&alice, &bob).await;
    patient("hold", call.hold()).await.unwrap();
    assert!(called.is_held_by_peer() && !call.is_held_by_peer());
    patient("resume", call.resume()).await.unwrap();
    assert!(!called.is_held_by_peer());
    // Both at once: one waits for the other (491), both get their way.
    let both = async { tokio::join!(call.refresh(), called.refresh()) };
    let (one, other) = patient("two refreshes", both).await;
    assert_eq!((one, other), (Ok(()), Ok(())));
    drop(called);
    let summary = patient("the end", call.ended()).await;
    assert!(matches!(summary.ended.cause, Cause::HungUpByPeer(_)), "a dropped call is hung up");
}

async fn incoming(phone: &Phone) -> IncomingCall {
    patient("a call", phone.incoming()).await.unwrap()
}

#[tokio::test]
async fn refused_dropped_and_cancelled() {
    let (alice, bob) = (phone("alice", "udp:127.0.0.1:0").await, phone("bob", "udp:127.0.0.1:0").await);
    let to = address_of(&bob, "bob");

    let ringing = alice.call(&to).await.unwrap();
    incoming(&bob).await.reject(StatusCode::BUSY_HERE).unwrap();
    let refused = patient("the refusal", ringing.answered()).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::BUSY_HERE));

    let ringing = alice.call(&to).await.unwrap();
    drop(incoming(&bob).await);
    let refused = patient("the refusal", ringing.answered()).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::TEMPORARILY_UNAVAILABLE));

    let mut ringing = alice.call(&to).await.unwrap();
    let at_bob = incoming(&bob).await;
    at_bob.ring().unwrap();
    assert_eq!(patient("ringing", ringing.progress()).await.unwrap().status(), StatusCode::RINGING);
    drop(ringing);
    let ended = patient("the CANCEL", at_bob.ended()).await;
    assert!(matches!(ended.cause, Cause::CancelledByCaller(_)));

    assert!(matches!(alice.call("nonsense").await, Err(CallError::Address { .. })));
}

/// RFC 3261 §18.1.1: nobody listens there; over TCP that is known at once.
#[tokio::test]
async fn nobody_there() {
    let alice = phone("alice", "tcp:127.0.0.1:0").await;
    let gone = phone("bob", "tcp:127.0.0.1:0").await;
    let to = address_of(&gone, "bob");
    gone.close().await;
    let ringing = alice.call(&to).await.unwrap();
    let error = patient("the failure", ringing.answered()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
}

/// RFC 6157: a phone on both IP versions brings the sound to the one that the caller uses.
#[tokio::test]
async fn a_dual_stack_phone_speaks_the_callers_ip_version() {
    let bob = Phone::builder("sip:bob@example.com")
        .listen("udp:127.0.0.1:0")
        .listen("udp:[::1]:0")
        .bind()
        .await
        .unwrap();
    for (version, listen) in ["udp:127.0.0.1:0", "udp:[::1]:0"].into_iter().enumerate() {
        let alice = phone("alice", listen).await;
        let to = bob.locals().iter().nth(version).unwrap().uri(Some("bob")).unwrap().to_string();
        let callee = async { incoming(&bob).await.answer().await.unwrap() };
        let caller = async { alice.call(&to).await.unwrap().answered().await.unwrap() };
        let (call, called) = patient("the call", async { tokio::join!(caller, callee) }).await;
        patient("playing", call.audio().play_samples(vec![1000; 4000])).await.unwrap();
        drop(call);
        let summary = patient("the end", called.ended()).await;
        assert!(summary.statistics.session.received.packets > 10, "no sound over {listen}");
    }
}
