//! A watcher's side of subscriptions, by hand.
#![allow(clippy::unwrap_used)]

use sip_message::{Response, StatusCode};

use super::{ALICE, Sent, World, to_tag};

/// A watcher's side of one subscription.
pub struct Watcher {
    pub call_id: String,
    pub tag: String,
    pub package: &'static str,
    pub whom: &'static str,
    pub us: &'static str,
    pub cseq: u32,
    pub at: &'static str,
}

impl Watcher {
    pub fn new(us: &'static str, whom: &'static str, package: &'static str) -> Self {
        let call_id = format!("{us}-{whom}-{package}");
        Self { call_id, tag: String::new(), package, whom, us, cseq: 0, at: ALICE }
    }

    pub fn subscribe(&mut self, world: &mut World, extra: &str) -> (Response, Vec<Sent>) {
        self.cseq += 1;
        let Self { call_id, tag, package, whom, us, cseq, at } = self;
        let to = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        let uri =
            if tag.is_empty() { format!("sip:{whom}@example.com") } else { "sip:192.0.2.1:5060".into() };
        let lines = format!(
            "From: <sip:{us}@example.com>;tag=w\r\nTo: <sip:{whom}@example.com>{to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} SUBSCRIBE\r\nContact: <sip:{us}@{at}>\r\nEvent: {package}\r\n{extra}"
        );
        let text = world.request(at, "SUBSCRIBE", &uri, &lines);
        let mut sent = world.udp(at, text);
        let answer = sent.remove(0).response().clone();
        if answer.status().is_success() {
            self.tag = to_tag(&answer).unwrap();
        }
        (answer, sent)
    }

    /// Subscribes, and answers the first NOTIFY.
    pub fn watch(&mut self, world: &mut World) -> Sent {
        let (answer, mut sent) = self.subscribe(world, "");
        assert_eq!(answer.status(), StatusCode::OK, "{answer}");
        assert_eq!(sent.len(), 1, "{sent:?}");
        let notify = sent.remove(0);
        assert!(world.answer(&notify, 200, "").is_empty());
        notify
    }
}
