//! Subscriptions and notifications between two phones over loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_dialog::packages::message_summary::{Counts, MessageSummary};
use sip_dialog::packages::presence::{Basic, Presence};
use sip_dialog::{Acceptance, Notification, SubscriptionChange, SubscriptionEnd};
use sip_message::StatusCode;
use sip_ua::{Phone, RequestError};

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str, notifies: &[&str]) -> Phone {
    let mut builder = Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0");
    for package in notifies {
        builder = builder.notifies(package);
    }
    builder.bind().await.unwrap()
}

fn address_of(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

fn presence(basic: Basic) -> Notification {
    Notification::full(Presence::new("sip:bob@example.com", basic, None).to_body())
}

/// RFC 3856 §6, RFC 6665 §4.1, §4.2: the state at once, each change, and the end from either side.
#[tokio::test]
async fn one_phone_watches_another() {
    let (alice, bob) = (phone("alice", &[]).await, phone("bob", &["presence"]).await);
    let to = address_of(&bob, "bob");
    let mut watch = alice.watch(&to).await.unwrap();
    let mut subscriber = patient("the subscriber", bob.next_subscriber()).await;
    assert_eq!((subscriber.from().uri().user(), subscriber.package().as_str()), (Some("alice"), "presence"));
    subscriber.accept(Acceptance { state: Some(presence(Basic::Closed)), ..Acceptance::default() }).unwrap();
    assert!(!patient("the first state", watch.next()).await.unwrap().is_open());
    subscriber.notify(presence(Basic::Open)).unwrap();
    assert!(patient("the change", watch.next()).await.unwrap().is_open());
    drop(subscriber);
    // The last NOTIFY may bring the state once more.
    patient("the end", async { while watch.next().await.is_some() {} }).await;

    let watch = alice.watch(&to).await.unwrap();
    let mut subscriber = patient("the subscriber", bob.next_subscriber()).await;
    subscriber.accept(Acceptance::default()).unwrap();
    drop(watch);
    patient("the end", async { while subscriber.next().await.is_some() {} }).await;
    alice.close().await;
    bob.close().await;
}

/// RFC 6665 §4.2.1: who is refused hears so; a package that is not there is answered 489.
#[tokio::test]
async fn subscriptions_that_are_refused() {
    let (alice, bob) = (phone("alice", &[]).await, phone("bob", &["presence"]).await);
    let to = address_of(&bob, "bob");
    let mut subscription = alice.subscribe(&to, "presence", &[]).await.unwrap();
    patient("the subscriber", bob.next_subscriber()).await.reject(StatusCode::FORBIDDEN).unwrap();
    let mut others = alice.subscribe(&to, "conference", &[]).await.unwrap();
    for (subscription, expected) in
        [(&mut subscription, StatusCode::FORBIDDEN), (&mut others, StatusCode::BAD_EVENT)]
    {
        let ended = loop {
            match patient("the end", subscription.next()).await {
                Some(SubscriptionChange::Terminated { end: SubscriptionEnd::Refused(response), .. }) => {
                    break response.status();
                }
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
        };
        assert_eq!(ended, expected);
    }
    alice.close().await;
    bob.close().await;
}

/// RFC 3842: messages that wait.
#[tokio::test]
async fn waiting_messages() {
    let server = phone("server", &["message-summary"]).await;
    let proxy = address_of(&server, "server");
    let alice =
        Phone::builder("sip:alice@example.com").listen("udp:127.0.0.1:0").proxy(&proxy).bind().await.unwrap();
    let mut waiting = alice.waiting_messages().await.unwrap();
    let mut subscriber = patient("the subscriber", server.next_subscriber()).await;
    let summary = |new| {
        let counts = Counts { new, old: 1, ..Counts::default() };
        let counts = vec![("Voice-Message".into(), counts)];
        MessageSummary { waiting: new > 0, counts, ..MessageSummary::default() }
    };
    let body = Notification::full(summary(2).to_body());
    subscriber.accept(Acceptance { state: Some(body), ..Acceptance::default() }).unwrap();
    let told = patient("the summary", waiting.next()).await.unwrap();
    assert_eq!((told.waiting, told.voice().unwrap().new), (true, 2));
    alice.close().await;
    server.close().await;
}

/// RFC 3903 §11.1: a server that takes no publications says so.
#[tokio::test]
async fn a_publication_that_is_refused() {
    let (alice, bob) = (phone("alice", &[]).await, phone("bob", &[]).await);
    let proxy = address_of(&bob, "bob");
    let alice_there =
        Phone::builder("sip:alice@example.com").listen("udp:127.0.0.1:0").proxy(&proxy).bind().await.unwrap();
    let body = Presence::new("sip:alice@example.com", Basic::Open, None).to_body();
    let refused = patient("PUBLISH", alice_there.publish("presence", body)).await;
    assert!(
        matches!(refused, Err(RequestError::Refused { status: StatusCode::METHOD_NOT_ALLOWED, .. })),
        "{refused:?}"
    );
    for phone in [alice, alice_there, bob] {
        phone.close().await;
    }
}
