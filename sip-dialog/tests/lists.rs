//! Lists of resources, and the state of what is in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::Body;
use sip_dialog::packages::presence::{Basic, Extension, Note, Presence};
use sip_dialog::packages::resource_list::{CopyControl, Entry, Item, List, Recipient, ResourceLists, Target};
use sip_dialog::packages::rlmi::{
    Instance, InstanceState, ListError, ListNotification, ListTable, MAX_TABLE_OCTETS, Resource, Rlmi,
};
use sip_dialog::packages::{Completeness, DocumentError, MAX_ROWS, Update};
use sip_message::Limits;

fn data(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// RFC 4826 §3.3: lists within lists; references are kept as they are written.
#[test]
fn rfc4826_3_3_lists_within_lists() {
    let document = ResourceLists::parse(data("rfc4826-1-resource-lists.xml").as_bytes()).unwrap();
    let list = &document.lists[0];
    assert_eq!(list.name.as_deref(), Some("friends"));
    let [Item::Entry(bill), Item::Entry(petri), Item::List(close)] = &list.items[..] else { panic!() };
    assert_eq!(bill.display_name.as_ref().map(|name| name.text.as_str()), Some("Bill Doe"));
    assert!(matches!(&petri.target, Target::Reference(path) if path.starts_with("resource-lists/users/")));
    assert_eq!(close.display_name.as_ref().map(|name| name.text.as_str()), Some("Close Friends"));
    assert_eq!(document.entries().len(), 5);
    let to = document.recipients();
    let uris: Vec<&str> = to.iter().map(|it| it.uri.as_str()).collect();
    assert_eq!(uris, ["sip:bill@example.com", "sip:joe@example.com", "sip:nancy@example.com"]);
    assert!(to.iter().all(|it| it.role == CopyControl::Bcc), "RFC 5364 §4: the default");
    assert_eq!(ResourceLists::parse(document.to_xml().as_bytes()), Ok(document));
}

/// RFC 5364 §6: of the list that is sent, the list that recipients see.
#[test]
fn rfc5364_6_what_recipients_are_told() {
    let sent = ResourceLists::parse(data("rfc5364-1-resource-lists.xml").as_bytes()).unwrap();
    let seen = ResourceLists::parse(data("rfc5364-2-resource-lists.xml").as_bytes()).unwrap();
    assert_eq!(sent.history(None), seen);
    // §4: who gets a blind copy may be told so.
    let blind = sent.history(Some("sip:ted@example.net"));
    let Some(Item::Entry(last)) = blind.lists[0].items.last() else { panic!() };
    assert_eq!(*last, Entry::copied("sip:ted@example.net", CopyControl::Bcc));
    assert!(sent.to_xml().contains(r#"<entry uri="sip:bill@example.com" cp:copyControl="to"/>"#));
}

/// RFC 5364 §4: who is in it twice gets one, in the more open role.
#[test]
fn rfc5364_4_nobody_gets_two() {
    let entries = [
        Entry::new("sip:a@b"),
        Entry::copied("sip:c@d", CopyControl::Cc),
        Entry::copied("sip:a@b", CopyControl::To),
        Entry { anonymize: true, ..Entry::copied("sip:a@b", CopyControl::Cc) },
    ];
    let one = |uri: &str, role, anonymize| Recipient { uri: uri.into(), role, anonymize };
    assert_eq!(
        ResourceLists::of(entries).recipients(),
        [one("sip:a@b", CopyControl::To, true), one("sip:c@d", CopyControl::Cc, false)]
    );
}

#[test]
fn lists_that_are_refused() {
    let refused = |text: &str| ResourceLists::parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        refused("<rls-services/>"),
        DocumentError::Malformed { element: "resource-lists", what: "the root" }
    );
    let entry = "<resource-lists><list><entry/></list></resource-lists>";
    assert_eq!(refused(entry), DocumentError::Malformed { element: "entry", what: "uri" });
    let deep = format!("<resource-lists>{}{}</resource-lists>", "<list>".repeat(16), "</list>".repeat(16));
    assert_eq!(refused(&deep), DocumentError::TooMany("elements within each other"));
}

// ---- state of lists ----------------------------------------------------------------------------------------------

/// A body of RFC 4662 §6, as a NOTIFY has it.
fn notify(name: &str) -> Body {
    let text = data(name).replace('\n', "\r\n");
    let (field, octets) = text.split_once("\r\n\r\n").unwrap();
    let content_type = field.strip_prefix("Content-Type: ").unwrap().to_string();
    Body { content_type, octets: octets.to_string().into() }
}

fn open(body: &Body) -> bool {
    Presence::parse(&body.octets).unwrap().is_open()
}

/// RFC 4662 §6: the messages 3, 7 (of another server, signed within 13) and 13.
#[test]
fn rfc4662_6_a_list_of_friends() {
    let limits = Limits::default();
    let first = ListNotification::parse(&notify("rfc4662-notify-1.multipart"), &limits).unwrap();
    assert_eq!((first.list.version, first.list.completeness), (1, Completeness::Full));
    assert_eq!(first.list.names[1].language.as_deref(), Some("de"));
    let bob = &first.list.resources[0];
    assert_eq!((bob.instances[0].id.as_str(), bob.instances[0].state), ("juwigmtboe", InstanceState::Active));
    assert!(open(first.part(bob.instances[0].cid.as_deref().unwrap()).unwrap()));
    let mut table = ListTable::new();
    assert_eq!(table.receive(first.clone()), Update::Applied);
    let of = |table: &ListTable, uri: &str| table.get(uri).unwrap().instances.clone();
    assert_eq!(of(&table, "sip:ed@dallas.example.net"), []);
    let dave = of(&table, "sip:dave@vancouver.example.com");
    assert!(!open(dave[0].1.as_ref().unwrap()));

    let third = ListNotification::parse(&notify("rfc4662-notify-3.multipart"), &limits).unwrap();
    assert_eq!(third.list.completeness, Completeness::Partial);
    assert_eq!(table.receive(third), Update::Applied);
    assert_eq!(of(&table, "sip:ed@dallas.example.net")[0].0.state, InstanceState::Pending);
    assert_eq!(of(&table, "sip:dave@vancouver.example.com"), dave, "what is not named stays");
    let others = of(&table, "sip:adam-friends@stockholm.example.org");
    let others = ListNotification::parse(others[0].1.as_ref().unwrap(), &limits).unwrap();
    let same = ListNotification::parse(&notify("rfc4662-notify-2.multipart"), &limits).unwrap();
    assert_eq!(others.list.resources, same.list.resources);
    assert!(open(others.part("mrEakg@stockholm.example.org").unwrap()));
    assert_eq!(table.resources().count(), 4);

    let built = first.to_body("nXYxAE@pres.vancouver.example.com").unwrap();
    assert!(built.content_type.contains(r#"start="<nXYxAE@pres.vancouver.example.com>""#));
    assert_eq!(ListNotification::parse(&built, &limits).unwrap(), first);
}

fn rlmi(version: u32, completeness: Completeness, resources: Vec<Resource>) -> Rlmi {
    Rlmi { uri: "sip:list@a".into(), version, completeness, names: vec![], cid: None, resources }
}

fn resource(uri: &str, state: InstanceState, cid: Option<&str>) -> Resource {
    let instance = Instance { id: "1".into(), state, reason: None, cid: cid.map(Into::into) };
    Resource { uri: uri.into(), names: vec![], instances: vec![instance] }
}

/// RFC 4662 §5.6.
#[test]
fn rfc4662_5_6_what_is_put_together() {
    use Completeness::{Full, Partial};
    use InstanceState::{Active, Terminated};
    let mut table = ListTable::new();
    let put = |table: &mut ListTable, version, completeness, resources| {
        table.receive(ListNotification { list: rlmi(version, completeness, resources), parts: vec![] })
    };
    let uris = |table: &ListTable| table.resources().map(|(uri, _)| uri.to_string()).collect::<Vec<_>>();
    let both = vec![resource("a", Active, None), resource("b", Active, None)];
    assert_eq!(put(&mut table, 0, Full, both), Update::Applied);
    assert_eq!(put(&mut table, 0, Full, vec![]), Update::Stale, "§5.6.1: not newer");
    assert_eq!(put(&mut table, 1, Partial, vec![resource("a", Terminated, None)]), Update::Applied);
    assert_eq!(uris(&table), ["a", "b"]);
    assert_eq!(put(&mut table, 3, Partial, vec![resource("c", Active, None)]), Update::Gap);
    assert_eq!(uris(&table), ["b", "c"]);
    assert_eq!(put(&mut table, 3, Partial, vec![]), Update::Stale);
    assert_eq!(put(&mut table, 4, Full, vec![]), Update::Applied);
    assert_eq!(uris(&table), [""; 0]);
}

/// Notifications with partial state cannot fill the memory, neither with rows nor with bodies.
#[test]
fn a_table_of_a_list_is_bounded() {
    let mut table = ListTable::new();
    let large = Body { content_type: "text/plain".into(), octets: vec![b'x'; MAX_TABLE_OCTETS / 8].into() };
    for version in 0..12 {
        let uri = |n| format!("{version}-{n}");
        let mut resources: Vec<Resource> =
            (0..1_000).map(|n| resource(&uri(n), InstanceState::Active, None)).collect();
        resources[0].instances[0].cid = Some("c".into());
        let parts = vec![("c".to_string(), large.clone())];
        table.receive(ListNotification { list: rlmi(version, Completeness::Partial, resources), parts });
    }
    assert_eq!(table.resources().count(), MAX_ROWS);
    let bodies = table.resources().flat_map(|(_, row)| &row.instances).filter(|(_, body)| body.is_some());
    assert_eq!(bodies.count(), 8);
}

#[test]
fn bodies_that_are_no_lists() {
    let limits = Limits::default();
    let parse = |content_type: &str, octets: &'static str| {
        ListNotification::parse(&Body { content_type: content_type.into(), octets: octets.into() }, &limits)
    };
    assert_eq!(parse("application/rlmi+xml", "<list/>"), Err(ListError::NotRelated));
    assert!(matches!(parse("rlmi", "<list/>"), Err(ListError::Type(_))));
    assert!(matches!(parse("multipart/related", ""), Err(ListError::Body(_))));
    let related = "multipart/related;boundary=b";
    let part = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--";
    assert_eq!(parse(related, part), Err(ListError::NotRelated));
    let bad = "--b\r\nContent-Type: application/rlmi+xml\r\n\r\n<list uri='a' version='1'/>\r\n--b--";
    let missing = DocumentError::Malformed { element: "list", what: "fullState" };
    assert_eq!(parse(related, bad), Err(ListError::Document(missing)));
}

// ---- round trips -------------------------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = String> {
    "[a-z<>&\"'\r\n\tä ]{0,8}".prop_map(|text| text.trim().to_string())
}

fn note() -> impl Strategy<Value = Note> {
    (text(), prop::option::of(text())).prop_map(|(text, language)| Note { text, language })
}

fn entry() -> impl Strategy<Value = Entry> {
    let target = prop_oneof![
        text().prop_map(Target::Uri),
        text().prop_map(Target::Reference),
        text().prop_map(Target::External)
    ];
    let roles = prop::sample::select(vec![CopyControl::To, CopyControl::Cc, CopyControl::Bcc]);
    let extensions = prop::collection::vec(
        text().prop_map(|text| Extension::new("urn:x", "phone").with_text(&text)),
        0..2,
    );
    let copy = (prop::option::of(roles), any::<bool>(), any::<Option<u32>>());
    (target, prop::option::of(note()), copy, extensions).prop_map(
        |(target, display_name, (copy_control, anonymize, count), extensions)| Entry {
            target,
            display_name,
            copy_control,
            anonymize,
            count,
            extensions,
        },
    )
}

fn list() -> impl Strategy<Value = List> {
    let flat = prop::collection::vec(entry(), 0..4).prop_map(List::of);
    flat.prop_recursive(3, 12, 3, |inner| {
        let item = prop_oneof![entry().prop_map(Item::Entry), inner.prop_map(Item::List)];
        (prop::option::of(text()), prop::option::of(note()), prop::collection::vec(item, 0..4))
            .prop_map(|(name, display_name, items)| List { name, display_name, items, extensions: vec![] })
    })
}

fn resources() -> impl Strategy<Value = Vec<Resource>> {
    let states = vec![InstanceState::Active, InstanceState::Pending, InstanceState::Terminated];
    let instance = (text(), prop::sample::select(states), prop::option::of(text()), prop::option::of(text()))
        .prop_map(|(id, state, reason, cid)| Instance { id, state, reason, cid });
    let resource = (text(), prop::collection::vec(note(), 0..3), prop::collection::vec(instance, 0..3))
        .prop_map(|(uri, names, instances)| Resource { uri, names, instances });
    prop::collection::vec(resource, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_read_as_they_were_written(lists in prop::collection::vec(list(), 0..3)) {
        let document = ResourceLists { lists };
        prop_assert_eq!(ResourceLists::parse(document.to_xml().as_bytes()), Ok(document));
    }

    #[test]
    fn notifications_about_lists_read_as_they_were_written(
        version in any::<u32>(), full in any::<bool>(), names in prop::collection::vec(note(), 0..3),
        resources in resources(), open in any::<bool>(),
    ) {
        let completeness = if full { Completeness::Full } else { Completeness::Partial };
        let list = Rlmi { names, cid: Some("x@y".into()), ..rlmi(version, completeness, resources) };
        let basic = if open { Basic::Open } else { Basic::Closed };
        let parts = vec![("a@b".to_string(), Presence::new("sip:a@b", basic, None).to_body())];
        let notification = ListNotification { list, parts };
        let body = notification.to_body("root@here").unwrap();
        prop_assert_eq!(ListNotification::parse(&body, &Limits::default()), Ok(notification));
    }
}
