//! Transfers over loopback sockets (RFC 5589), with the sound at both ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_dialog::Cause;
use sip_message::StatusCode;
use sip_ua::{Call, IncomingCall, Phone, TransferError};

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str) -> Phone {
    Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0").bind().await.unwrap()
}

fn address_of(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

async fn connect(caller: &Phone, callee: &Phone, user: &str) -> (Call, Call) {
    let to = address_of(callee, user);
    let called = async { callee.incoming().await.unwrap().answer().await.unwrap() };
    let calling = async { caller.call(&to).await.unwrap().answered().await.unwrap() };
    patient("the call", async { tokio::join!(calling, called) }).await
}

/// What one says the other hears.
async fn hear_each_other(one: &Call, other: &Call) {
    for (speaker, listener) in [(one, other), (other, one)] {
        patient("the digit", speaker.audio().send_digits("5")).await.unwrap();
        assert_eq!(patient("the digit", listener.audio().next_digit()).await, Some('5'));
    }
}

/// RFC 5589 §6.1: Bob sends Alice on to Carol; she calls, he hears that it is answered, and hangs up.
#[tokio::test]
async fn a_blind_transfer() {
    let (alice, bob, carol) = (phone("alice").await, phone("bob").await, phone("carol").await);
    let (at_alice, at_bob) = connect(&alice, &bob, "bob").await;
    let to = address_of(&carol, "carol");
    let transferring = async {
        let status = at_bob.transfer(&to).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        at_bob.hang_up().await
    };
    let following = async {
        let referral = alice.next_referral().await;
        assert!(referral.is_of(&at_alice) && !referral.is_attended());
        assert_eq!(referral.by().unwrap().uri().user(), Some("bob"));
        let call = referral.follow().await.unwrap().answered().await.unwrap();
        assert!(matches!(at_alice.ended().await.ended.cause, Cause::HungUpByPeer(_)));
        call
    };
    let answering = async {
        let incoming = carol.incoming().await.unwrap();
        assert!(incoming.request().headers.text("Referred-By").unwrap().contains("sip:bob@example.com"));
        incoming.answer().await.unwrap()
    };
    let (_, at_alice, at_carol) =
        patient("the transfer", async { tokio::join!(transferring, following, answering) }).await;
    hear_each_other(&at_alice, &at_carol).await;
    at_alice.hang_up().await;
    for phone in [alice, bob, carol] {
        phone.close().await;
    }
}

/// RFC 5589 §7.1: Bob asks Carol first, then connects Alice with her: Carol's phone takes the new call for the old one.
#[tokio::test]
async fn an_attended_transfer() {
    let (alice, bob, carol) = (phone("alice").await, phone("bob").await, phone("carol").await);
    let (at_alice, first) = connect(&alice, &bob, "bob").await;
    first.hold().await.unwrap();
    let (second, at_carol) = connect(&bob, &carol, "carol").await;
    let transferring = async {
        first.transfer_to(&second).await.unwrap();
        assert!(matches!(second.ended().await.ended.cause, Cause::HungUpByPeer(_)), "Carol's phone ends it");
        first.hang_up().await
    };
    let following = async {
        let referral = alice.next_referral().await;
        assert!(referral.is_attended());
        referral.follow().await.unwrap().answered().await.unwrap()
    };
    let answering = async {
        let incoming = carol.incoming().await.unwrap();
        assert!(incoming.replaces_a_call());
        let call = incoming.answer().await.unwrap();
        assert!(matches!(at_carol.ended().await.ended.cause, Cause::ReplacedBy(_)));
        call
    };
    let (_, call, at_carol) =
        patient("the transfer", async { tokio::join!(transferring, following, answering) }).await;
    hear_each_other(&call, &at_carol).await;
    assert!(matches!(at_alice.ended().await.ended.cause, Cause::HungUpByPeer(_)));
    call.hang_up().await;
    for phone in [alice, bob, carol] {
        phone.close().await;
    }
}

/// RFC 5589 §6.2, RFC 3515 §2.4.2: the new party is busy; the peer does not want to; the call goes on.
#[tokio::test]
async fn transfers_that_fail() {
    let (alice, bob, carol) = (phone("alice").await, phone("bob").await, phone("carol").await);
    let (at_alice, at_bob) = connect(&alice, &bob, "bob").await;
    let to = address_of(&carol, "carol");
    let following = async {
        alice.next_referral().await.decline();
        let refused = alice.next_referral().await.follow().await.unwrap().answered().await;
        assert!(refused.is_err());
    };
    let transferring = async {
        let declined = at_bob.transfer(&to).await;
        assert!(matches!(declined, Err(TransferError::Failed(StatusCode::DECLINE))), "{declined:?}");
        let busy = at_bob.transfer(&to).await;
        assert!(matches!(busy, Err(TransferError::Failed(StatusCode::BUSY_HERE))), "{busy:?}");
    };
    let busy = async {
        let incoming: IncomingCall = carol.incoming().await.unwrap();
        incoming.reject(StatusCode::BUSY_HERE).unwrap();
    };
    patient("the transfers", async { tokio::join!(following, transferring, busy) }).await;
    hear_each_other(&at_alice, &at_bob).await;
    at_alice.hang_up().await;
    assert!(matches!(at_bob.transfer("nobody").await, Err(TransferError::Address { .. })));
    for phone in [alice, bob, carol] {
        phone.close().await;
    }
}
