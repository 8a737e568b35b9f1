//! Subscriptions and publications outlive the process: the store behind the event server (RFC 6665, RFC 3903).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use sip_dialog::packages::dialog_info::DialogInfo;
use sip_dialog::packages::presence::Presence;
use sip_message::headers::CSeq;
use sip_message::{Method, StatusCode};
use sip_server::events::{EventConfig, MemoryEvents, Permission, WRITE_BEHIND};
use sip_server::{AddressOfRecord, Config, ServerCore};
use world::watcher::Watcher;
use world::{ALICE, BOB, Sent, World, locals, only};

const UNIX: Duration = Duration::from_secs(1_289_690_940);

/// A server with a store that outlives it.
struct Kept {
    world: World,
    store: MemoryEvents,
    began: Instant,
}

fn config(change: impl FnOnce(&mut EventConfig)) -> Config {
    let mut config = Config::new([7; 32], locals());
    config.domains = vec!["example.com".into()];
    let mut events = EventConfig::new();
    change(&mut events);
    (config.events, config.keep_events) = (Some(events), true);
    config
}

impl Kept {
    fn new() -> Self {
        let world = World::with(|all| *all = config(|_| {}));
        let began = world.now;
        Self { world, store: MemoryEvents::new(), began }
    }

    /// Time for what is to be kept, and the store takes it.
    fn write(&mut self) -> Vec<Sent> {
        let sent = self.world.pass(WRITE_BEHIND);
        while let Some(changes) = self.world.core.poll_event_changes() {
            self.store.apply(changes);
            self.world.core.events_kept(self.world.now);
        }
        sent
    }

    /// The process ends, without a word, and another one starts some seconds later.
    fn crash(&mut self, seconds: u64, change: impl FnOnce(&mut EventConfig)) -> usize {
        self.world.now += Duration::from_secs(seconds);
        let now = self.world.now;
        let unix = UNIX + now.duration_since(self.began);
        let mut config = config(change);
        config.rng_seed = [8; 32];
        self.world.core = ServerCore::new(config, now, unix).unwrap().into();
        self.world.core.restore_events(now, self.store.records())
    }
}

fn pidf(basic: &str) -> String {
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@example.com\">\
         <tuple id=\"a\"><status><basic>{basic}</basic></status></tuple></presence>"
    )
}

fn publish(world: &mut World, extra: &str, body: &str) -> Vec<Sent> {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/pidf+xml\r\n" };
    let lines = format!(
        "From: <sip:bob@example.com>;tag=p\r\nEvent: presence\r\n{kind}{extra}Content-Length: {}\r\n",
        body.len()
    );
    let text = world.request(BOB, "PUBLISH", "sip:bob@example.com", &lines) + body;
    world.udp(BOB, text)
}

fn etag(sent: &[Sent]) -> String {
    only(sent, "200").response().headers.text("SIP-ETag").unwrap().to_owned()
}

fn cseq(notify: &Sent) -> u32 {
    notify.request().headers.require::<CSeq>().unwrap().number
}

fn is_open(notify: &Sent) -> bool {
    Presence::parse(notify.request().body()).unwrap().is_open()
}

/// After a crash the dialog goes on: the same tags, a CSeq that has grown, the whole state, and what is left of the time.
#[test]
fn a_subscription_and_a_publication_go_on_after_a_crash() {
    let mut kept = Kept::new();
    let tag = etag(&publish(&mut kept.world, "", &pidf("open")));
    let mut alice = Watcher::new("alice", "bob", "presence");
    let first = alice.watch(&mut kept.world);
    assert!(is_open(&first));
    let head = |notify: &Sent, name: &str| notify.request().headers.text(name).unwrap().to_owned();
    kept.write();
    // Changes after the last write: their NOTIFYs have numbers that the store does not have.
    let mut last = cseq(&first);
    let mut tag = tag;
    for basic in ["closed", "open", "closed"] {
        let sent = publish(&mut kept.world, &format!("SIP-If-Match: {tag}\r\n"), &pidf(basic));
        tag = etag(&sent);
        let notify = only(&sent, "NOTIFY");
        last = cseq(notify);
        kept.world.answer(notify, 200, "");
    }
    let stored_tag = {
        kept.write();
        tag
    };
    assert_eq!(kept.crash(100, |_| {}), 2);
    assert_eq!(kept.world.core.events(), Some((1, 1)));
    // No NOTIFY goes before the store has the next numbers.
    kept.write();
    let sent = kept.write();
    let sent: Vec<Sent> = sent.into_iter().chain(kept.world.seconds(1)).collect();
    let notify = sent.iter().find(|one| one.is(&Method::Notify)).expect("a NOTIFY after the start");
    assert_eq!(notify.to(), ALICE);
    assert!(cseq(notify) > last, "{} after {last}", cseq(notify));
    assert!(!is_open(notify));
    for name in ["From", "To", "Call-ID", "Event"] {
        assert_eq!(head(notify, name), head(&first, name));
    }
    let left: u64 = head(notify, "Subscription-State").rsplit_once('=').unwrap().1.parse().unwrap();
    assert!((3490..3501).contains(&left), "{left}");
    kept.world.answer(notify, 200, "");

    // The phones notice nothing: a refresh of each.
    let sent = publish(&mut kept.world, &format!("SIP-If-Match: {stored_tag}\r\n"), "");
    etag(&sent);
    let (answer, sent) = alice.subscribe(&mut kept.world, "Expires: 0\r\n");
    assert_eq!(answer.status(), StatusCode::OK);
    kept.world.answer(only(&sent, "NOTIFY"), 200, "");
    kept.write();
    assert_eq!(kept.store.records().len(), 1, "what is over is kept no more");
}

/// A crash at once: what was not written is not known, and the refresh is answered 481.
#[test]
fn what_was_not_written_is_lost_and_refused() {
    let mut kept = Kept::new();
    let mut alice = Watcher::new("alice", "bob", "presence");
    alice.watch(&mut kept.world);
    assert_eq!(kept.crash(1, |_| {}), 0);
    let (answer, _) = alice.subscribe(&mut kept.world, "");
    assert_eq!(answer.status(), StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
    // A publication likewise: 412, and the phone publishes anew (RFC 3903 §4.1).
    let sent = publish(&mut kept.world, "SIP-If-Match: lost\r\n", "");
    assert_eq!(sent[0].name(), "412");
}

/// Crashes one after the other, with NOTIFYs between them and without a write: CSeq never goes back.
#[test]
fn cseq_never_goes_back() {
    let mut kept = Kept::new();
    let mut alice = Watcher::new("alice", "bob", "presence");
    let mut last = cseq(&alice.watch(&mut kept.world));
    kept.write();
    for round in 0..4 {
        kept.crash(1, |_| {});
        let mut sent = kept.world.seconds(3);
        if round % 2 == 0 {
            assert!(
                sent.iter().all(|one| !one.is(&Method::Notify)),
                "the store does not have its number yet"
            );
            kept.write();
            sent = kept.world.seconds(2);
        } else {
            kept.write();
            sent.extend(kept.world.seconds(2));
        }
        let notify = sent.iter().find(|one| one.is(&Method::Notify)).expect("a NOTIFY");
        assert!(cseq(notify) > last);
        last = cseq(notify);
        kept.world.answer(notify, 200, "");
        // Changes that the store does not hear of.
        let sent = publish(&mut kept.world, "", &pidf(if round % 2 == 0 { "open" } else { "closed" }));
        let notify = only(&sent, "NOTIFY");
        last = cseq(notify).max(last);
        kept.world.answer(notify, 200, "");
    }
}

/// What ended while the server was away; who may not watch any more; a package that is served no more.
#[test]
fn what_a_start_finds_changed() {
    let mut kept = Kept::new();
    let mut brief = Watcher::new("alice", "bob", "presence");
    let (_, sent) = brief.subscribe(&mut kept.world, "Expires: 100\r\n");
    kept.world.answer(&sent[0], 200, "");
    let mut long = Watcher::new("carol", "bob", "presence");
    long.watch(&mut kept.world);
    let mut lamp = Watcher::new("dave", "bob", "dialog");
    lamp.watch(&mut kept.world);
    kept.write();
    assert_eq!(kept.store.records().len(), 3);
    assert_eq!(kept.crash(101, |events| events.packages.truncate(4)), 1);
    assert_eq!(kept.world.core.events(), Some((1, 0)));
    kept.write();
    assert_eq!(kept.store.records().len(), 1);
    kept.world.seconds(2);

    let bob = AddressOfRecord::new(&"sip:bob@example.com".parse().unwrap(), "example.com").unwrap();
    kept.crash(1, |events| events.permissions.set(&bob, "carol@example.com", Some(Permission::Block)));
    kept.write();
    let sent = kept.world.seconds(2);
    let notify = sent.iter().find(|one| one.is(&Method::Notify)).unwrap();
    assert_eq!(notify.request().headers.text("Subscription-State"), Some("terminated;reason=rejected"));
}

/// A document's number grows too (RFC 4235 §4.1); a subscriber on a connection is told when it comes back.
#[test]
fn numbered_documents_and_connections() {
    let mut kept = Kept::new();
    let mut lamp = Watcher::new("alice", "bob", "dialog");
    let version = |notify: &Sent| DialogInfo::parse(notify.request().body()).unwrap().version;
    let before = version(&lamp.watch(&mut kept.world));
    let lines = "From: <sip:carol@example.com>;tag=w\r\nTo: <sip:bob@example.com>\r\nCall-ID: tcp\r\nEvent: presence\r\n\
                 CSeq: 1 SUBSCRIBE\r\nContact: <sip:carol@192.0.2.13:40000;transport=tcp>\r\n";
    let text = kept
        .world
        .request("192.0.2.13:40000", "SUBSCRIBE", "sip:bob@example.com", lines)
        .replace("/UDP", "/TCP");
    let sent = kept.world.tcp("192.0.2.13:40000", 9, text);
    let ours = world::to_tag(only(&sent, "200").response()).unwrap();
    kept.world.answer(only(&sent, "NOTIFY"), 200, "");
    kept.write();
    assert_eq!(kept.crash(1, |_| {}), 2);
    kept.write();
    let sent = kept.world.seconds(3);
    let notifies: Vec<&Sent> = sent.iter().filter(|one| one.is(&Method::Notify)).collect();
    assert!(notifies.iter().all(|one| one.to() == ALICE), "the connection is gone");
    assert!(version(notifies[0]) > before);
    let lines = format!(
        "From: <sip:carol@example.com>;tag=w\r\nTo: <sip:bob@example.com>;tag={ours}\r\nCall-ID: tcp\r\n\
         Event: presence\r\nCSeq: 2 SUBSCRIBE\r\nContact: <sip:carol@192.0.2.13:40001;transport=tcp>\r\n"
    );
    let text =
        kept.world.request("192.0.2.13:40001", "SUBSCRIBE", "sip:192.0.2.1", &lines).replace("/UDP", "/TCP");
    let sent = kept.world.tcp("192.0.2.13:40001", 10, text);
    assert_eq!(only(&sent, "200").to(), "192.0.2.13:40001");
    assert!(sent.iter().any(|one| one.is(&Method::Notify)), "{sent:?}");
}

/// A list and a subscription to changes alone come back as what they were; both begin with everything.
#[test]
fn lists_and_changes_alone_go_on() {
    let mut kept = Kept::new();
    let sales = AddressOfRecord::new(&"sip:sales@example.com".parse().unwrap(), "example.com").unwrap();
    let lists = |events: &mut EventConfig| {
        events
            .lists
            .insert(sales.clone(), vec!["sip:bob@example.com".into(), "sip:x@elsewhere.example".into()]);
    };
    kept.crash(0, lists);
    let mut alice = Watcher::new("alice", "sales", "presence");
    let (_, sent) = alice.subscribe(&mut kept.world, "Supported: eventlist\r\n");
    kept.world.answer(only(&sent, "NOTIFY"), 200, "");
    let mut carol = Watcher::new("carol", "bob", "presence");
    let (_, sent) = carol.subscribe(&mut kept.world, "Accept: application/pidf-diff+xml\r\n");
    kept.world.answer(only(&sent, "NOTIFY"), 200, "");
    kept.write();
    // The list may be another one in the settings by now: who has subscribed keeps theirs until they subscribe anew.
    assert_eq!(kept.crash(5, |_| {}), 2);
    kept.write();
    let sent = kept.world.seconds(3);
    let of = |call_id: &str| {
        let is_it = |one: &&Sent| {
            one.is(&Method::Notify) && one.request().headers.text("Call-ID").unwrap().starts_with(call_id)
        };
        sent.iter().find(is_it).unwrap()
    };
    let list = of("alice").request();
    assert_eq!(list.headers.text("Require"), Some("eventlist"));
    let text = String::from_utf8_lossy(list.body()).into_owned();
    assert!(text.contains("fullState=\"true\"") && text.contains("sip:bob@example.com"), "{text}");
    let changes = of("carol").request();
    assert_eq!(changes.headers.text("Content-Type"), Some("application/pidf-diff+xml"));
    assert!(String::from_utf8_lossy(changes.body()).contains("pidf-full"));
    let (list, changes) = (of("alice"), of("carol"));
    kept.world.answer(list, 200, "");
    kept.world.answer(changes, 200, "");
    let sent = publish(&mut kept.world, "", &pidf("open"));
    assert_eq!(sent.iter().filter(|one| one.is(&Method::Notify)).count(), 2);
}

/// The answer to a SUBSCRIBE was lost in the crash: it is sent again, makes a dialog, and the one before is over.
#[test]
fn a_subscribe_that_is_sent_again_after_the_crash() {
    let mut kept = Kept::new();
    let mut alice = Watcher::new("alice", "bob", "presence");
    alice.subscribe(&mut kept.world, "");
    kept.write();
    kept.crash(3, |_| {});
    let before = std::mem::take(&mut alice.tag);
    alice.cseq = 0;
    let (answer, sent) = alice.subscribe(&mut kept.world, "");
    assert_eq!((answer.status(), sent.len()), (StatusCode::OK, 1));
    assert_ne!(alice.tag, before);
    kept.world.answer(&sent[0], 200, "");
    assert_eq!(kept.world.core.events(), Some((1, 0)));
    kept.write();
    assert_eq!(kept.store.records().len(), 1);
    assert!(kept.world.seconds(5).is_empty());
}
