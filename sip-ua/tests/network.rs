//! A phone that changes its network in the middle of a call, over loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_dialog::Cause;
use sip_message::headers::InstanceId;
use sip_ua::{Audio, Phone};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// What is said at one end is heard at the other.
async fn is_heard(from: &Audio, to: &Audio) {
    let spoken = rtp::audio::speech::speech_like(8_000, 7);
    to.start_recording();
    patient("playing", from.play_samples(spoken.clone())).await.unwrap();
    patient("a digit", async { tokio::join!(from.send_digits("1"), to.next_digit()) }).await.0.unwrap();
    let likeness = rtp::audio::correlate::correlate(&spoken, &to.stop_recording());
    // By pieces: on a machine that is busy the pauses between them are of other lengths.
    assert!(
        likeness.matched >= 0.75 && likeness.segments >= 4,
        "what was heard is not what was said: {likeness:?}"
    );
}

async fn moves(transport: &str) {
    let phone = async |user: &str| {
        let builder = Phone::builder(&format!("sip:{user}@example.com"));
        builder.listen(&format!("{transport}:127.0.0.1:0")).bind().await.unwrap()
    };
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let callee = async { bob.incoming().await.unwrap().answer().await.unwrap() };
    let caller = async { alice.call(&to).await.unwrap().answered().await.unwrap() };
    let (call, called) = patient("the call", async { tokio::join!(caller, callee) }).await;
    is_heard(&call.audio(), &called.audio()).await;

    alice.move_to(&[&format!("{transport}:127.0.0.2:0")]).unwrap();
    assert_eq!(alice.locals().iter().next().unwrap().host, "127.0.0.2");
    // Nothing of Alice is at her old address any more.
    patient("a change", call.refresh()).await.unwrap();
    is_heard(&call.audio(), &called.audio()).await;
    is_heard(&called.audio(), &call.audio()).await;
    let summary = patient("hanging up", called.hang_up()).await;
    assert!(matches!(summary.ended.cause, Cause::HungUp));
    let other = patient("the end", call.ended()).await;
    assert!(matches!(other.ended.cause, Cause::HungUpByPeer(_)), "Bob's BYE found Alice where she is");
    // And another call is made from there.
    let callee = async { bob.incoming().await.unwrap().answer().await.unwrap() };
    let caller = async { alice.call(&to).await.unwrap().answered().await.unwrap() };
    let (call, called) = patient("the call", async { tokio::join!(caller, callee) }).await;
    is_heard(&called.audio(), &call.audio()).await;
    patient("hanging up", call.hang_up()).await;
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn a_call_goes_on_from_another_address_over_udp() {
    moves("udp").await;
}

#[tokio::test]
async fn a_call_goes_on_from_another_address_over_tcp() {
    moves("tcp").await;
}

/// Said for nothing it changes nothing.
#[tokio::test]
async fn a_network_that_is_the_same_stays_the_same() {
    let alice = Phone::builder("sip:alice@example.com").listen("udp:0.0.0.0:0").bind().await.unwrap();
    let before = alice.locals();
    alice.network_changed().unwrap();
    assert_eq!(alice.locals(), before);
    alice.close().await;
}

/// RFC 5626 §4.2.1: a registration over each outbound proxy, both of one instance; and what several of them need.
#[tokio::test]
async fn a_flow_is_registered_over_each_outbound_proxy() {
    let server = sip_server::Server::builder().listen("tcp:127.0.0.1:0").listen("tcp:127.0.0.2:0");
    let server = server.domain("example.com").build().await.unwrap();
    let builder = || {
        let builder = Phone::builder("sip:alice@example.com").registrar("sip:example.com");
        let builder = builder.listen("tcp:127.0.0.1:0");
        server.locals().iter().fold(builder, |builder, local| {
            builder.outbound_proxy(&format!("sip:{};transport=tcp", local.bound))
        })
    };
    let refused = builder().bind().await.err().unwrap();
    assert!(matches!(refused, sip_ua::BindError::NoInstance), "{refused}");
    let alice = builder().instance(InstanceId::uuid([7; 16])).bind().await.unwrap();
    patient("registering", alice.register()).await.unwrap();
    let all = async {
        while !alice.flows().iter().all(|flow| flow.works) {
            tokio::task::yield_now().await;
        }
    };
    patient("the other flow", all).await;
    assert_eq!(alice.flows().iter().map(|flow| flow.reg_id).collect::<Vec<_>>(), [1, 2]);
    let bindings = patient("asking", alice.bindings(None, None)).await.unwrap();
    let mut numbers: Vec<_> = bindings.iter().map(|binding| binding.reg_id()).collect();
    numbers.sort();
    assert_eq!(numbers, [Some(1), Some(2)]);
    alice.close().await;
}
