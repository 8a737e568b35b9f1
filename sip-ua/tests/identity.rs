//! Who is at the other end, and what a session is called: two and three phones over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use sip_ua::{Call, NoMedia, Phone};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str) -> Phone {
    let builder = Phone::builder(&format!("sip:{user}@example.com")).display_name(user);
    let builder = builder.listen("udp:127.0.0.1:0").media_engine(Arc::new(NoMedia));
    builder.connected_identity().session_ids().bind().await.unwrap()
}

fn address_of(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

async fn connect(alice: &Phone, bob: &Phone) -> (Call, Call) {
    let to = address_of(bob, "operator");
    let callee = async { bob.incoming().await.unwrap().answer().await.unwrap() };
    let caller = async { alice.call(&to).await.unwrap().answered().await.unwrap() };
    patient("the call", async { tokio::join!(caller, callee) }).await
}

/// RFC 4916 §4.2, §4.3: the caller hears who answered, and who took over from that one.
#[tokio::test]
async fn the_caller_hears_who_is_at_the_other_end() {
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let (call, called) = connect(&alice, &bob).await;
    let told = patient("the identity", call.identity_changed()).await.unwrap();
    assert_eq!((told.display_name(), told.uri().as_str()), (Some("bob"), "sip:bob@example.com"));
    called.change_identity("Carol <sip:carol@example.com>").unwrap();
    let told = patient("the identity", call.identity_changed()).await.unwrap();
    assert_eq!(told.uri().as_str(), "sip:carol@example.com");
    assert_eq!(call.connected_to().unwrap().uri().as_str(), "sip:carol@example.com");
    assert!(called.change_identity("carol <").is_err());
    patient("hanging up", call.hang_up()).await;
    assert!(patient("the end", called.identity_changed()).await.is_none());
    alice.close().await;
    bob.close().await;
}

/// RFC 7989 §6, figure 2: both ends name the session alike; who is transferred keeps its half.
#[tokio::test]
async fn a_session_has_one_identifier_and_a_transfer_keeps_its_half() {
    let (alice, bob, carol) = (phone("alice").await, phone("bob").await, phone("carol").await);
    let (call, called) = connect(&alice, &bob).await;
    let (ours, theirs) = (call.session_id().unwrap(), called.session_id().unwrap());
    assert_eq!((Some(ours.local()), ours.remote()), (theirs.remote(), Some(theirs.local())));

    let to = address_of(&carol, "carol");
    let follows = async { alice.next_referral().await.follow().await.unwrap().answered().await.unwrap() };
    let answers = async { carol.incoming().await.unwrap().answer().await.unwrap() };
    let (transferred, onward, third) =
        patient("the transfer", async { tokio::join!(called.transfer(&to), follows, answers) }).await;
    transferred.unwrap();
    let onward_id = onward.session_id().unwrap();
    assert_eq!(onward_id.local(), ours.local());
    assert_eq!(onward_id.remote(), Some(third.session_id().unwrap().local()));
    assert_ne!(onward_id.remote(), ours.remote());
    patient("hanging up", onward.hang_up()).await;
    for phone in [alice, bob, carol] {
        phone.close().await;
    }
}
