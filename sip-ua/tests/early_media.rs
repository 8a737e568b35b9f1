//! Sound before the answer, and media that is somebody else's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sdp::{LocalMedia, Negotiated};
use sip_message::StatusCode;
use sip_ua::{AudioError, MediaEngine, MediaFuture, MediaPlace, MediaSession, NoMedia, Phone};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str, engine: Option<Arc<dyn MediaEngine>>) -> Phone {
    let mut builder = Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0");
    if let Some(engine) = engine {
        builder = builder.media_engine(engine);
    }
    builder.bind().await.unwrap()
}

fn address_of(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

/// RFC 3960 §2, RFC 3262: an announcement in the 183, heard before the answer; the call goes on with the same sound.
#[tokio::test]
async fn an_announcement_before_the_answer() {
    let (alice, bob) = (phone("alice", None).await, phone("bob", None).await);
    let to = address_of(&bob, "bob");
    let spoken = rtp::audio::speech::speech_like(12_000, 3);
    let said = spoken.clone();
    let callee = async {
        let incoming = bob.incoming().await.unwrap();
        let audio = incoming.early_media().await.unwrap();
        audio.play_samples(said).await.unwrap();
        let call = incoming.answer().await.unwrap();
        assert_eq!(call.audio().next_digit().await, Some('7'), "the sound goes on in both directions");
        call.ended().await
    };
    let caller = async {
        let mut ringing = alice.call(&to).await.unwrap();
        let progress = ringing.progress().await.unwrap();
        assert_eq!(progress.status(), StatusCode::SESSION_PROGRESS);
        assert!(progress.early_media);
        let audio = ringing.audio().unwrap();
        audio.start_recording();
        let call = ringing.answered().await.unwrap();
        let likeness = rtp::audio::correlate::correlate(&spoken, &audio.stop_recording());
        // By pieces: on a machine that is busy the pauses between them are of other lengths.
        assert!(
            likeness.matched >= 0.75 && likeness.segments >= 4,
            "the announcement was not heard: {likeness:?}"
        );
        call.audio().send_digits("7").await.unwrap();
        call.hang_up().await
    };
    patient("the call", async { tokio::join!(callee, caller) }).await;
    alice.close().await;
    bob.close().await;
}

/// Counts what a call asks of its media.
#[derive(Debug, Default)]
struct Gateway {
    opened: AtomicUsize,
    applied: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Leg {
    applied: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl MediaEngine for Gateway {
    fn open(&self, _: MediaPlace) -> MediaFuture<'_, io::Result<Arc<dyn MediaSession>>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let leg = Leg { applied: Arc::clone(&self.applied), closed: Arc::clone(&self.closed) };
        Box::pin(async move { Ok(Arc::new(leg) as Arc<dyn MediaSession>) })
    }
}

impl MediaSession for Leg {
    fn describe(&self) -> LocalMedia {
        LocalMedia::audio("198.51.100.7:4000".parse().unwrap())
    }

    fn apply(&self, agreed: &Negotiated) {
        assert!(agreed.audio().is_some());
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    fn close(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call whose media is another engine's: described, agreed on, changed by hold, closed; its sound is not the phone's.
#[tokio::test]
async fn the_media_of_another_engine() {
    let gateway = Arc::new(Gateway::default());
    let alice = phone("alice", Some(Arc::clone(&gateway) as Arc<dyn MediaEngine>)).await;
    let bob = phone("bob", Some(Arc::new(NoMedia))).await;
    let to = address_of(&bob, "bob");
    let callee = async {
        let incoming = bob.incoming().await.unwrap();
        let offer = String::from_utf8(incoming.request().body().to_vec()).unwrap();
        assert!(offer.contains("198.51.100.7") && offer.contains("m=audio 4000"), "{offer}");
        incoming.answer().await.unwrap().ended().await
    };
    let caller = async {
        let call = alice.call(&to).await.unwrap().answered().await.unwrap();
        call.hold().await.unwrap();
        assert!(matches!(call.audio().play_samples(vec![0; 160]).await, Err(AudioError::NoAudio)));
        call.hang_up().await
    };
    patient("the call", async { tokio::join!(callee, caller) }).await;
    assert_eq!(gateway.opened.load(Ordering::Relaxed), 1);
    assert_eq!(gateway.applied.load(Ordering::Relaxed), 2, "the answer, and the hold");
    assert!(gateway.closed.load(Ordering::Relaxed) >= 1);
    alice.close().await;
    bob.close().await;
}

/// RFC 3261 §13.2.1, RFC 3262 §4: a call that leaves the offer to the callee, and one that insists on reliable responses; what
/// else the INVITE says comes through.
#[tokio::test]
async fn calls_with_something_special() {
    use sip_ua::CallOptions;

    let (alice, bob) = (phone("alice", None).await, phone("bob", None).await);
    let to = address_of(&bob, "bob");
    for options in [
        CallOptions::new().without_offer().field("Subject", "the offer is yours"),
        CallOptions::new().demand_reliable_responses().field("Subject", "for certain"),
        CallOptions::new().without_offer().demand_reliable_responses().field("Subject", "both"),
    ] {
        let callee = async {
            let incoming = bob.incoming().await.unwrap();
            let subject = incoming.request().headers.text("Subject").unwrap().to_owned();
            incoming.ring().unwrap();
            let early = subject != "the offer is yours";
            if early {
                incoming.early_media().await.unwrap();
            }
            let call = incoming.answer().await.unwrap();
            assert_eq!(call.audio().next_digit().await, Some('3'), "{subject}");
            call.ended().await
        };
        let caller = async {
            let call = alice.call_with(&to, options.clone()).await.unwrap().answered().await.unwrap();
            call.audio().send_digits("3").await.unwrap();
            call.hang_up().await
        };
        patient("the call", async { tokio::join!(callee, caller) }).await;
    }
    alice.close().await;
    bob.close().await;
}
