//! PUBLISH: the client against a server whose answers are made by hand, and against the server's table (RFC 3903).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::{Duration, Instant};

use pair::{BOB, Pair, story, text};
use sip_dialog::compositor::{Compositor, Limits, Request as Asked};
use sip_dialog::{Body, Error, Event, Publication, PublicationKey};
use sip_message::headers::{self, Expires};
use sip_message::{Method, Request, StatusCode};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn presence(body: &str) -> Publication {
    Publication {
        to: format!("sip:bob@{BOB}").parse().unwrap(),
        from: "Alice <sip:alice@example.com>".parse().unwrap(),
        event: headers::Event::new("presence"),
        expires: 600,
        body: text(body),
        route: vec![],
        fields: vec![],
    }
}

/// Alice publishes, Bob is the server with the table.
struct Server {
    pair: Pair,
    table: Compositor,
    tags: u32,
    /// What was asked: If-Match, Expires, body.
    asked: Vec<String>,
}

impl Server {
    fn new() -> Self {
        let pair = Pair::eventful_with(|config| config.allow.push(Method::Publish));
        Self { pair, table: Compositor::new(Limits::default()), tags: 0, asked: Vec::new() }
    }

    /// Answers every PUBLISH that has come, `with` a status or by the table.
    fn serve_with(&mut self, with: Option<(StatusCode, &[(&str, &str)])>) {
        self.pair.settle();
        while let Some(event) = self.pair.bob.poll_event() {
            let Event::Request { tx, request, .. } = event else { panic!("{event:?}") };
            self.asked.push(describe(&request));
            let now = self.pair.now;
            self.table.handle_timeout(now);
            let event: headers::Event = request.headers.require().unwrap();
            let builder = match with {
                Some((status, fields)) => {
                    let builder = request.reply(status).to_tag("s");
                    fields.iter().fold(builder, |builder, (name, value)| builder.raw(*name, value))
                }
                None => {
                    self.tags += 1;
                    let tag = format!("e{}", self.tags);
                    let asked = Asked::of(&request, "sip:bob@example.com", &event);
                    match asked.and_then(|asked| self.table.publish(now, asked, &tag)) {
                        Ok(stored) => stored.write(request.reply(StatusCode::OK).to_tag("s")),
                        Err(refusal) => refusal.write(request.reply(refusal.status).to_tag("s")),
                    }
                }
            };
            self.pair.bob.respond(now, tx, builder.build().unwrap()).unwrap();
            self.pair.settle();
        }
    }

    fn serve(&mut self) {
        self.serve_with(None);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.pair.now + time;
        while self.pair.now < end {
            self.pair.pass(Duration::from_millis(500));
            self.serve();
        }
    }

    fn story(&mut self) -> Vec<String> {
        story(&mut self.pair.alice)
    }

    fn nothing_is_left(mut self, key: PublicationKey) {
        let _ = self.pair.alice.unpublish(self.pair.now, key);
        self.serve();
        self.pass(seconds(40));
        self.pair.nothing_is_left();
        self.table.handle_timeout(self.pair.now + seconds(10_000));
        assert!(self.table.is_empty());
    }
}

fn describe(publish: &Request) -> String {
    let tag = publish.headers.text("SIP-If-Match").unwrap_or("-");
    let expires = publish.headers.require::<Expires>().unwrap().0;
    format!("{tag} {expires} {}", String::from_utf8_lossy(publish.body())).trim_end().into()
}

/// RFC 3903 §4, table 1: initial, modify, refresh, remove; each answer brings the tag for the next.
#[test]
fn initial_modify_refresh_remove() {
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.serve();
    assert_eq!(server.story(), ["published 600"]);
    server.pair.alice.republish(server.pair.now, key, text("closed")).unwrap();
    server.serve();
    server.pass(seconds(590));
    assert_eq!(server.story(), ["published 600", "published 600"]);
    let states: Vec<&Body> = server.table.states("sip:bob@example.com", "presence").collect();
    assert_eq!(states, [&text("closed")]);
    server.pair.alice.unpublish(server.pair.now, key).unwrap();
    server.serve();
    assert_eq!(server.story(), ["Removed"]);
    assert_eq!(server.asked, ["- 600 open", "e1 600 closed", "e2 600", "e3 0"]);
    assert!(server.table.is_empty());
    assert_eq!(server.pair.alice.republish(server.pair.now, key, text("x")), Err(Error::NoSuchPublication));
    server.nothing_is_left(key);
}

/// RFC 3903 §4: no second PUBLISH before the first is answered; of what comes meanwhile the last goes.
#[test]
fn one_at_a_time() {
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("1")).unwrap();
    for body in ["2", "3"] {
        server.pair.alice.republish(server.pair.now, key, text(body)).unwrap();
    }
    server.serve();
    assert_eq!(server.asked, ["- 600 1", "e1 600 3"]);
    server.pair.alice.republish(server.pair.now, key, text("4")).unwrap();
    server.pair.alice.unpublish(server.pair.now, key).unwrap();
    server.serve();
    assert_eq!(server.asked[2..], ["e2 600 4", "e3 0"]);
    assert_eq!(server.story(), ["published 600", "published 600", "published 600", "Removed"]);
    server.nothing_is_left(key);
}

/// RFC 3903 §4.1: 412, the server has forgotten it; it is published anew with its body.
#[test]
fn a_server_that_has_forgotten() {
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.serve();
    server.table = Compositor::new(Limits::default());
    server.pass(seconds(570));
    assert_eq!(server.asked, ["- 600 open", "e1 600", "- 600 open"]);
    assert_eq!(server.story(), ["published 600", "published 600"]);
    // A server that refuses the first one like that is not asked for ever.
    server.pair.alice.republish(server.pair.now, key, text("x")).unwrap();
    server.serve_with(Some((StatusCode::CONDITIONAL_REQUEST_FAILED, &[])));
    assert_eq!(server.story(), ["refused 412"]);
    assert_eq!(server.asked[3..], ["e3 600 x", "- 600 x"]);
    server.nothing_is_left(key);
}

/// RFC 3903 §6 step 5: 423, and what the server wants is asked for.
#[test]
fn too_brief() {
    let mut server = Server::new();
    let key =
        server.pair.alice.publish(server.pair.now, Publication { expires: 5, ..presence("open") }).unwrap();
    server.serve();
    assert_eq!(server.asked, ["- 5 open", "- 60 open"]);
    assert_eq!(server.story(), ["published 60"]);
    server.nothing_is_left(key);
}

/// What is refused for good ends; what is refused for now comes again when the server says so.
#[test]
fn refusals() {
    for status in [StatusCode::FORBIDDEN, StatusCode::BAD_EVENT, StatusCode::UNSUPPORTED_MEDIA_TYPE] {
        let mut server = Server::new();
        let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
        server.serve_with(Some((status, &[])));
        assert_eq!(server.story(), [format!("refused {status}")]);
        server.nothing_is_left(key);
    }
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.serve_with(Some((StatusCode::SERVICE_UNAVAILABLE, &[("Retry-After", "30")])));
    assert_eq!(server.story(), ["failed 503, again in 30"]);
    server.pass(seconds(29));
    assert_eq!(server.asked.len(), 1);
    server.pass(seconds(2));
    assert_eq!(server.asked, ["- 600 open", "- 600 open"]);
    assert_eq!(server.story(), ["published 600"]);
    server.nothing_is_left(key);
}

/// A 2xx that grants no time is a refusal, and no reason to publish again and again.
#[test]
fn a_server_that_keeps_nothing() {
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.serve_with(Some((StatusCode::OK, &[("SIP-ETag", "e1"), ("Expires", "0")])));
    assert_eq!(server.story(), ["refused 200"]);
    server.pass(seconds(60));
    assert_eq!(server.asked, ["- 600 open"]);
    server.nothing_is_left(key);
}

/// The network is gone for longer than the publication lasts: it comes back with the whole state.
#[test]
fn a_server_that_is_gone_for_a_while() {
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.serve();
    server.pair.lose = vec!["PUBLISH"; 400];
    server.pass(seconds(900));
    let told = server.story();
    assert!(told.len() > 3 && told[1..].iter().all(|line| line.starts_with("failed 408")), "{told:?}");
    server.pair.lose.clear();
    server.pass(seconds(340));
    assert_eq!(server.asked.last().unwrap(), "- 600 open");
    assert_eq!(server.story().last().unwrap(), "published 600");
    server.nothing_is_left(key);
}

/// A first PUBLISH without an answer ends; one that is removed before its answer is removed after it.
#[test]
fn before_the_first_answer() {
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.pair.lose = vec!["PUBLISH"; 20];
    server.pair.pass(seconds(33));
    assert_eq!(server.story(), ["Failed(Timeout)"]);
    server.pair.lose.clear();
    server.nothing_is_left(key);
    let mut server = Server::new();
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.pair.alice.unpublish(server.pair.now, key).unwrap();
    server.serve();
    assert_eq!(server.asked, ["- 600 open", "e1 0"]);
    assert_eq!(server.story(), ["published 600", "Removed"]);
    server.nothing_is_left(key);
}

/// RFC 3261 §22: a challenged PUBLISH goes again; numbers rise.
#[test]
fn a_challenged_publish() {
    let mut server = Server::new();
    server.pair.alice.authenticator().add_account(None, "alice", sip_auth::Secret::password("secret"));
    let key = server.pair.alice.publish(server.pair.now, presence("open")).unwrap();
    server.pair.settle();
    let Some(Event::Request { tx, request, .. }) = server.pair.bob.poll_event() else { panic!() };
    let challenge =
        request.reply(StatusCode::UNAUTHORIZED).raw("WWW-Authenticate", "Digest realm=\"b\", nonce=\"1\"");
    server.pair.bob.respond(server.pair.now, tx, challenge.build().unwrap()).unwrap();
    server.serve();
    assert_eq!(server.story(), ["published 600"]);
    server.pair.alice.republish(server.pair.now, key, text("closed")).unwrap();
    server.serve();
    let number = server.pair.last_request(&Method::Publish, true);
    assert_eq!(number.headers.text("CSeq"), Some("3 PUBLISH"));
    assert!(number.headers.contains("Authorization"));
    server.nothing_is_left(key);
}

// ---- the table alone ---------------------------------------------------------------------------------------------

fn asked<'a>(resource: &'a str, tag: Option<&str>, expires: Option<u32>, body: Option<&str>) -> Asked<'a> {
    Asked { resource, package: "presence", expires, if_match: tag.map(Into::into), body: body.map(text) }
}

fn refused(table: &mut Compositor, now: Instant, asked: Asked<'_>) -> StatusCode {
    let before = table.len();
    let status = table.publish(now, asked, "fresh").unwrap_err().status;
    assert_eq!(table.len(), before);
    status
}

/// RFC 3903 §6: the steps of the server.
#[test]
fn what_the_table_does() {
    let (mut table, now) = (Compositor::new(Limits::default()), Instant::now());
    let first = table.publish(now, asked("a", None, Some(600), Some("open")), "e1").unwrap();
    assert_eq!((first.etag.as_str(), first.expires, first.changed), ("e1", 600, true));
    // Two devices publish about one resource; a third resource is another matter.
    table.publish(now, asked("a", None, None, Some("away")), "e2").unwrap();
    assert_eq!(table.states("a", "presence").count(), 2);
    assert_eq!((table.states("b", "presence").count(), table.states("a", "dialog").count()), (0, 0));
    // A refresh changes nothing that subscribers see, a modification does; each takes the old tag away.
    let again = table.publish(now, asked("a", Some("e1"), Some(9000), None), "e3").unwrap();
    assert_eq!((again.expires, again.changed), (7200, false));
    assert!(!table.publish(now, asked("a", Some("e3"), None, Some("open")), "e4").unwrap().changed);
    assert!(table.publish(now, asked("a", Some("e4"), None, Some("busy")), "e5").unwrap().changed);
    for (wrong, status) in [
        (asked("a", Some("e1"), None, None), 412),
        (asked("b", Some("e5"), None, None), 412),
        (asked("a", None, None, None), 400),
        (asked("a", Some("e5"), Some(1), None), 423),
    ] {
        assert_eq!(refused(&mut table, now, wrong).code(), status);
    }
    let gone = table.publish(now, asked("a", Some("e5"), Some(0), None), "e6").unwrap();
    assert_eq!((gone.expires, gone.changed, table.len()), (0, true, 1));
    // A tag that is over is unknown, even before the table is swept.
    let late = now + seconds(3601);
    assert_eq!(refused(&mut table, late, asked("a", Some("e2"), None, None)).code(), 412);
    assert_eq!(table.poll_timeout(), Some(now + seconds(3600)));
    assert_eq!(table.handle_timeout(late), [("a".to_string(), "presence".to_string())]);
    assert!(table.is_empty());
}

/// A flood meets a limit: of one resource, of all, of a body.
#[test]
fn the_table_is_bounded() {
    let limits = Limits { publications: 5, per_resource: 2, body: 4, ..Limits::default() };
    let (mut table, now) = (Compositor::new(limits), Instant::now());
    for n in 0..2 {
        table.publish(now, asked("a", None, None, Some("open")), &format!("a{n}")).unwrap();
        table.publish(now, asked("b", None, None, Some("open")), &format!("b{n}")).unwrap();
    }
    assert_eq!(refused(&mut table, now, asked("a", None, None, Some("open"))).code(), 480);
    table.publish(now, asked("c", None, None, Some("open")), "c0").unwrap();
    assert_eq!(refused(&mut table, now, asked("d", None, None, Some("open"))).code(), 503);
    assert_eq!(refused(&mut table, now, asked("a", Some("a0"), None, Some("longer"))).code(), 413);
    // What is there can still be refreshed and removed.
    table.publish(now, asked("a", Some("a0"), None, None), "a9").unwrap();
    table.publish(now, asked("a", Some("a9"), Some(0), None), "a10").unwrap();
    assert_eq!(table.len(), 4);
}
