//! PUBLISH of what has changed alone (RFC 5264, RFC 5262, RFC 5261).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_dialog::packages::presence::{Basic, Presence};
use sip_server::Config;
use sip_server::events::EventConfig;
use world::watcher::Watcher;
use world::{BOB, Sent, World, only};

const NAMESPACES: &str = "xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:p=\"urn:ietf:params:xml:ns:pidf-diff\" \
    xmlns:x=\"urn:x\" entity=\"sip:bob@example.com\"";

fn world() -> World {
    World::with(|config: &mut Config| config.events = Some(EventConfig::new()))
}

fn publish(world: &mut World, tag: Option<&str>, body: &str) -> Vec<Sent> {
    let condition = tag.map(|tag| format!("SIP-If-Match: {tag}\r\n")).unwrap_or_default();
    let lines = format!(
        "From: <sip:bob@example.com>;tag=p\r\nEvent: presence\r\nContent-Type: application/pidf-diff+xml\r\n\
         {condition}Content-Length: {}\r\n",
        body.len()
    );
    let text = world.request(BOB, "PUBLISH", "sip:bob@example.com", &lines);
    world.udp(BOB, text + body)
}

fn full(content: &str) -> String {
    format!("<p:pidf-full {NAMESPACES}>{content}</p:pidf-full>")
}

fn diff(content: &str) -> String {
    format!("<p:pidf-diff {NAMESPACES}>{content}</p:pidf-diff>")
}

fn tuple(id: &str, basic: &str) -> String {
    format!("<tuple id=\"{id}\"><status><basic>{basic}</basic></status><x:mood>fine</x:mood></tuple>")
}

fn etag(sent: &[Sent]) -> String {
    only(sent, "200").response().headers.text("SIP-ETag").unwrap().to_owned()
}

/// The presence that the one watcher is told of; its NOTIFY is answered.
fn told(world: &mut World, sent: &[Sent]) -> Presence {
    let notify = only(sent, "NOTIFY");
    let presence = Presence::parse(notify.request().body()).unwrap();
    world.answer(notify, 200, "");
    world.seconds(10);
    presence
}

fn open(presence: &Presence) -> Vec<(String, Option<bool>)> {
    presence
        .tuples
        .iter()
        .map(|tuple| (tuple.id.clone(), tuple.basic.map(|basic| basic == Basic::Open)))
        .collect()
}

/// §4.3: the whole, then changes in their order, each against what the publication before has left; watchers get the outcome, and
/// extensions stay.
#[test]
fn changes_are_made_to_what_was_published_before() {
    let mut world = world();
    let mut alice = Watcher::new("alice", "bob", "presence");
    alice.watch(&mut world);
    let sent = publish(&mut world, None, &full(&tuple("a", "open")));
    let first = etag(&sent);
    let presence = told(&mut world, &sent);
    assert_eq!(open(&presence), [("a".to_owned(), Some(true))]);

    let changes = format!(
        "<p:replace sel=\"presence/tuple[@id='a']/status/basic/text()\">closed</p:replace>\
         <p:add sel=\"presence\">{}</p:add>",
        tuple("b", "open")
    );
    let sent = publish(&mut world, Some(&first), &diff(&changes));
    let second = etag(&sent);
    let presence = told(&mut world, &sent);
    assert_eq!(open(&presence), [("a".to_owned(), Some(false)), ("b".to_owned(), Some(true))]);
    assert_eq!(presence.to_xml().matches("fine").count(), 2, "{}", presence.to_xml());

    let sent = publish(&mut world, Some(&second), &diff("<p:remove sel=\"presence/tuple[@id='a']\"/>"));
    let third = etag(&sent);
    assert_eq!(open(&told(&mut world, &sent)), [("b".to_owned(), Some(true))]);
    // The whole again (§4.2).
    let sent = publish(&mut world, Some(&third), &full(&tuple("c", "open")));
    assert_eq!(open(&told(&mut world, &sent)), [("c".to_owned(), Some(true))]);
}

/// §4.3.2: what cannot be changed is refused and stays as it was.
#[test]
fn changes_that_are_refused() {
    let mut world = world();
    let code = |sent: Vec<Sent>| sent[0].response().status().code();
    let close = diff("<p:replace sel=\"presence/tuple[@id='a']/status/basic/text()\">closed</p:replace>");
    assert_eq!(code(publish(&mut world, None, &close)), 400, "the first is a whole one");
    assert_eq!(code(publish(&mut world, Some("nobody's"), &close)), 412);
    let tag = etag(&publish(&mut world, None, &full(&tuple("a", "open"))));
    for bad in [
        diff("<p:remove sel=\"presence/tuple[@id='b']\"/>"),
        diff("<p:remove sel=\"presence/tuple[\"/>"),
        diff("<p:add sel=\"presence/tuple[@id='a']\">"),
        close.replace("bob@", "carol@"),
        full("<tuple/>"),
        "changes".to_owned(),
    ] {
        assert_eq!(code(publish(&mut world, Some(&tag), &bad)), 400, "{bad}");
    }
    assert_eq!(code(publish(&mut world, Some(&tag), &close)), 200, "the tag still holds");
}
