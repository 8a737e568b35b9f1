//! What a switch of a chat room answers (RFC 7701 §6.3, §7): octets in, octets and events out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use msrp::framing::Limits;
use msrp::{
    Connection, Event, Failure, Message, NoDirectory, Received, Screen, SessionConfig, SessionKey, StatusCode,
};

/// Takes what says please, and each nickname once.
#[derive(Debug, Default)]
struct Polite {
    nicknames: Mutex<Vec<String>>,
}

impl Screen for Polite {
    fn message(&self, message: &Received) -> StatusCode {
        if message.text().is_some_and(|text| text.contains("please")) {
            StatusCode::OK
        } else {
            StatusCode::NOT_FOUND
        }
    }

    fn nickname(&self, name: &str) -> StatusCode {
        let mut nicknames = self.nicknames.lock().unwrap();
        if nicknames.iter().any(|one| one == name) {
            return StatusCode::NICKNAME_FAILED;
        }
        nicknames.push(name.into());
        StatusCode::OK
    }
}

struct Pair {
    alice: Connection,
    session: SessionKey,
    switch: Connection,
}

impl Pair {
    fn new(screen: Option<Arc<dyn Screen>>) -> Self {
        let connection = |id| {
            let mut token = id;
            Connection::new(
                id,
                Limits::default(),
                Box::new(move || {
                    token += 2;
                    token
                }),
            )
        };
        let (mut alice, mut switch) = (connection(1), connection(2));
        let uri = |text: &str| text.parse::<msrp::Uri>().unwrap();
        let there = uri("msrp://chat.example.com:8888/room;tcp");
        let config = SessionConfig {
            remote: Some(there.clone().into()),
            active: true,
            ..SessionConfig::new(uri("msrp://a.example.com:7654/alice;tcp"))
        };
        let session = alice.add(config).unwrap();
        switch.add(SessionConfig { screen, ..SessionConfig::new(there) }).unwrap();
        Self { alice, session, switch }
    }

    /// Carries octets both ways until nothing is left, and gives what each side was told.
    fn run(&mut self) -> [Vec<Event>; 2] {
        for _ in 0..8 {
            for (from, to) in [(0, 1), (1, 0)] {
                let both = [&mut self.alice, &mut self.switch];
                while let Some(octets) = both[from].poll_transmit() {
                    both[to].buffer_mut().extend_from_slice(&octets);
                }
                both[from].transmitted(Instant::now());
                both[to].receive(Instant::now(), &mut NoDirectory).unwrap();
            }
        }
        [&mut self.alice, &mut self.switch]
            .map(|one| std::iter::from_fn(|| one.poll_event()).map(|(_, event)| event).collect())
    }
}

#[test]
fn rfc_7701_6_what_the_screen_refuses_is_answered_so_and_not_handed_out() {
    let mut pair = Pair::new(Some(Arc::new(Polite::default())));
    let rude = pair.alice.send(pair.session, Message::text("to nobody").with_success_report()).unwrap();
    let [alice, switch] = pair.run();
    assert!(alice.contains(&Event::Failed(rude, Failure::Status(StatusCode::NOT_FOUND))), "{alice:?}");
    assert!(!switch.iter().any(|event| matches!(event, Event::Message(_))), "{switch:?}");
    let polite = pair.alice.send(pair.session, Message::text("please").with_success_report()).unwrap();
    let [alice, switch] = pair.run();
    assert!(alice.contains(&Event::Delivered(polite)), "{alice:?}");
    assert!(switch.iter().any(|event| matches!(event, Event::Message(message) if message.body == "please")));
}

#[test]
fn rfc_7701_7_nicknames_are_given_once_and_given_back() {
    let mut pair = Pair::new(Some(Arc::new(Polite::default())));
    for (name, status) in [
        ("Alice \"the\\great\"", StatusCode::OK),
        ("Alice \"the\\great\"", StatusCode::NICKNAME_FAILED),
        ("Älice", StatusCode::OK),
        ("", StatusCode::OK),
    ] {
        pair.alice.nickname(pair.session, name).unwrap();
        assert!(pair.run()[0].contains(&Event::Nickname(status)), "{name}");
    }
}

#[test]
fn rfc_4975_12_who_is_no_switch_does_not_know_nicknames() {
    let mut pair = Pair::new(None);
    pair.alice.nickname(pair.session, "Alice").unwrap();
    assert!(pair.run()[0].contains(&Event::Nickname(StatusCode::UNKNOWN_METHOD)));
}
