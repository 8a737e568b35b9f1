//! Sound that is spoken as it happens: what goes into one call comes back from a peer that echoes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_ua::{LiveSound, Phone};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_spoken_is_sent_and_what_comes_is_heard() {
    let phone = async |user: &str| {
        let builder = Phone::builder(&format!("sip:{user}@example.com"));
        builder.listen("udp:127.0.0.1:0").bind().await.unwrap()
    };
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let callee = async { bob.incoming().await.unwrap().answer().await.unwrap() };
    let caller = async { alice.call(&to).await.unwrap().answered().await.unwrap() };
    let (call, called) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(caller, callee) }).await.unwrap();
    called.audio().echo(true);
    let live = LiveSound::new();
    call.audio().connect(&live);
    let talk = async {
        let mut loud = 0;
        while loud < 800 {
            live.speak(&[4000; 160]);
            let mut heard = [0; 160];
            let samples = live.listen(&mut heard);
            loud += heard[..samples].iter().filter(|sample| (3500..4500).contains(*sample)).count();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap();
    // Once nobody speaks, silence is sent; what waits to be heard is bounded.
    call.audio().stop_playing();
    call.hang_up().await;
    alice.close().await;
    bob.close().await;
}
