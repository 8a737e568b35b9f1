//! Who watches somebody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::packages::watcher_info::{
    Watcher, WatcherEvent, WatcherInfo, WatcherList, WatcherStatus, WatcherTable,
};
use sip_dialog::packages::{Completeness, DocumentError, MAX_ROWS, Update};

fn data(name: &str) -> WatcherInfo {
    let octets = std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    WatcherInfo::parse(&octets).unwrap()
}

#[test]
fn rfc3858_5_two_watchers() {
    let document = data("rfc3858-1-watcherinfo.xml");
    let list = &document.lists[0];
    assert_eq!((&*list.resource, &*list.package), ("sip:professor@example.net", "presence"));
    let active = Watcher {
        duration_subscribed: Some(509),
        ..Watcher::new("8ajksjda7s", "sip:userA@example.net", WatcherStatus::Active, WatcherEvent::Approved)
    };
    assert_eq!(list.watchers[0], active);
    assert_eq!(list.watchers[1].display_name.as_deref(), Some("Mr. Subscriber"));
    assert_eq!(document.to_body().content_type, "application/watcherinfo+xml");
}

/// RFC 3857 §5: a watcher waits, and is allowed.
#[test]
fn rfc3857_5_a_watcher_is_approved() {
    let mut table = WatcherTable::new();
    assert_eq!(table.receive(data("rfc3857-2-watcherinfo.xml")), Update::Applied);
    assert_eq!(table.watchers("sip:joe@example.com").next().unwrap().status, WatcherStatus::Pending);
    assert_eq!(table.receive(data("rfc3857-3-watcherinfo.xml")), Update::Applied);
    let all: Vec<&Watcher> = table.watchers("sip:joe@example.com").collect();
    assert_eq!((all.len(), all[0].status, all[0].event), (1, WatcherStatus::Active, WatcherEvent::Approved));
    assert_eq!(table.resources().collect::<Vec<_>>(), [("sip:joe@example.com", "presence")]);
}

fn document(version: u32, completeness: Completeness, lists: Vec<WatcherList>) -> WatcherInfo {
    WatcherInfo { version, completeness, lists }
}

fn list(resource: &str, watchers: Vec<Watcher>) -> WatcherList {
    WatcherList { resource: resource.into(), package: "presence".into(), watchers }
}

/// RFC 3858 §4.
#[test]
fn rfc3858_4_what_is_put_together() {
    use Completeness::{Full, Partial};
    use WatcherStatus::{Active, Terminated, Waiting};
    let watcher = |id: &str, status| Watcher::new(id, "sip:w@x", status, WatcherEvent::Subscribe);
    let mut table = WatcherTable::new();
    let of = |table: &WatcherTable, resource: &str| {
        table.watchers(resource).map(|watcher| (watcher.id.clone(), watcher.status)).collect::<Vec<_>>()
    };
    let all = vec![list("a", vec![watcher("1", Active), watcher("2", Waiting)]), list("b", vec![])];
    assert_eq!(table.receive(document(3, Full, all)), Update::Applied);
    assert_eq!(
        table.receive(document(4, Partial, vec![list("a", vec![watcher("1", Terminated)])])),
        Update::Applied
    );
    assert_eq!(of(&table, "a"), [("1".into(), Terminated), ("2".into(), Waiting)]);
    assert_eq!(table.receive(document(6, Partial, vec![list("c", vec![watcher("1", Active)])])), Update::Gap);
    assert_eq!(of(&table, "a"), [("2".into(), Waiting)]);
    assert_eq!(of(&table, "c"), [("1".into(), Active)]);
    assert_eq!(table.receive(document(5, Full, vec![])), Update::Stale);
    assert_eq!(table.resources().count(), 3);
    assert_eq!(table.receive(document(7, Full, vec![list("b", vec![])])), Update::Applied);
    assert_eq!(table.resources().collect::<Vec<_>>(), [("b", "presence")]);
}

#[test]
fn a_table_of_watchers_is_bounded() {
    let mut table = WatcherTable::new();
    let watcher = |id: String| Watcher::new(&id, "sip:w@x", WatcherStatus::Active, WatcherEvent::Approved);
    for version in 0..12 {
        let watchers = (0..1_000).map(|n| watcher(format!("{version}-{n}"))).collect();
        table.receive(document(version, Completeness::Partial, vec![list("a", watchers)]));
    }
    assert_eq!(table.watchers("a").count(), MAX_ROWS - 1);
    let lists = (0..10).map(|n| list(&n.to_string(), vec![])).collect();
    table.receive(document(12, Completeness::Partial, lists));
    assert_eq!(table.resources().count(), 1);
}

#[test]
fn documents_that_lack_something() {
    let bad = |text: &str| match WatcherInfo::parse(text.as_bytes()).unwrap_err() {
        DocumentError::Malformed { element, what } => format!("{element} {what}"),
        other => other.to_string(),
    };
    assert_eq!(bad("<presence/>"), "watcherinfo the root");
    assert_eq!(bad("<watcherinfo state='full'/>"), "watcherinfo version");
    let one = |inside: &str| format!("<watcherinfo state='full' version='0'>{inside}</watcherinfo>");
    assert_eq!(bad(&one("<watcher-list package='presence'/>")), "watcher-list resource");
    let watcher = |attributes: &str| {
        one(&format!(
            "<watcher-list resource='a' package='p'><watcher {attributes}>a</watcher></watcher-list>"
        ))
    };
    assert_eq!(bad(&watcher("id='1' event='subscribe'")), "watcher status");
    assert_eq!(bad(&watcher("id='1' status='active' event='birthday'")), "watcher event");
    assert_eq!(bad(&watcher("status='active' event='approved'")), "watcher id");
}

fn text() -> impl Strategy<Value = String> {
    "[a-z<>&\"'\r\n\tä ]{0,8}".prop_map(|text| text.trim().to_string())
}

fn watcher() -> impl Strategy<Value = Watcher> {
    let status = prop::sample::select(vec![WatcherStatus::Pending, WatcherStatus::Waiting]);
    let event = prop::sample::select(vec![WatcherEvent::GiveUp, WatcherEvent::NoResource]);
    let names = (prop::option::of(text()), prop::option::of(text()));
    (text(), text(), status, event, names, any::<(Option<u64>, Option<u64>)>()).prop_map(
        |(id, uri, status, event, (display_name, language), (expiration, duration_subscribed))| Watcher {
            display_name,
            language,
            expiration,
            duration_subscribed,
            ..Watcher::new(&id, &uri, status, event)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn watcher_information_reads_as_it_was_written(
        version in any::<u32>(), resource in text(), watchers in prop::collection::vec(watcher(), 0..4),
    ) {
        let document = document(version, Completeness::Full, vec![list(&resource, watchers)]);
        prop_assert_eq!(WatcherInfo::parse(document.to_xml().as_bytes()), Ok(document));
    }
}
