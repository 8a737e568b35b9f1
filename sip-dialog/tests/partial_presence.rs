//! Presence told by what has changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::packages::partial_presence::{
    FullPresence, MAX_OPERATIONS, Operation, PartialPresence, PatchError, PresenceDiff, PresenceTable,
};
use sip_dialog::packages::presence::{
    Activity, Basic, Extension, Note, Person, Presence, Rpid, Tuple, rpid::Qualified,
};
use sip_dialog::packages::{DocumentError, MAX_OCTETS, Update};

fn data(name: &str) -> PartialPresence {
    let octets = std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    PartialPresence::parse(&octets).unwrap()
}

fn again(document: &PartialPresence) -> PartialPresence {
    PartialPresence::parse(document.to_xml().as_bytes()).unwrap()
}

/// RFC 5262 §6: the full state, four changes, and what comes of them.
#[test]
fn rfc5262_6_a_document_is_changed() {
    let (first, changes, last) =
        (data("rfc5262-1-pidf-full.xml"), data("rfc5262-2-pidf-diff.xml"), data("rfc5262-3-pidf-full.xml"));
    for document in [&first, &changes, &last] {
        assert_eq!(again(document), *document);
    }
    let mut table = PresenceTable::new();
    assert_eq!(table.presence(), None);
    assert_eq!(table.receive(first), Ok(Update::Applied));
    assert_eq!(table.receive(changes), Ok(Update::Applied));
    let PartialPresence::Full(last) = last else { panic!() };
    assert_eq!(last.version, Some(568));
    let (mut is, mut should) = (table.presence().unwrap(), last.presence().unwrap());
    // The RFC has other words in the note of the result than in the change.
    is.tuples[3].notes.clear();
    should.tuples[3].notes.clear();
    assert_eq!(is, should);
    assert_eq!(is.tuples[3].id, "ert4773");
    assert_eq!(is.persons[0].rpid.activities[0].known().collect::<Vec<_>>(), [Activity::OnThePhone]);
}

fn full(version: u32) -> PartialPresence {
    let presence = Presence::new("sip:a@b", Basic::Open, Some("sip:a@c"));
    PartialPresence::Full(FullPresence::new(Some(version), &presence))
}

/// A document of changes, in the namespaces that RFC 5262 has.
fn diff(version: &str, changes: &str) -> Result<PartialPresence, PatchError> {
    PartialPresence::parse(
        format!(
            "<p:pidf-diff xmlns='urn:ietf:params:xml:ns:pidf' xmlns:p='urn:ietf:params:xml:ns:pidf-diff' \
             xmlns:x='urn:x' {version}>{changes}</p:pidf-diff>"
        )
        .as_bytes(),
    )
}

/// RFC 5263 §4.5: versions.
#[test]
fn rfc5263_4_5_versions() {
    let close = |version: u32| {
        let change = "<p:replace sel='*/tuple/status/basic/text()'>closed</p:replace>";
        diff(&format!("version='{version}'"), change).unwrap()
    };
    let mut table = PresenceTable::new();
    assert_eq!(table.receive(close(1)), Err(PatchError::Missed { known: None, received: 1 }));
    assert_eq!(table.receive(full(5)), Ok(Update::Applied));
    assert_eq!(table.receive(close(5)), Ok(Update::Stale));
    assert_eq!(table.receive(full(5)), Ok(Update::Stale));
    assert_eq!(table.receive(close(7)), Err(PatchError::Missed { known: Some(5), received: 7 }));
    assert!(table.presence().unwrap().is_open(), "as it was");
    assert_eq!(table.receive(close(6)), Ok(Update::Applied));
    assert!(!table.presence().unwrap().is_open());
    assert_eq!(table.receive(full(9)), Ok(Update::Applied));
    assert!(table.presence().unwrap().is_open());
}

/// The operations of RFC 5261 §4.3 to §4.5, each on one document.
#[test]
fn rfc5261_4_operations() {
    let text = "<p:pidf-full xmlns='urn:ietf:params:xml:ns:pidf' xmlns:p='urn:ietf:params:xml:ns:pidf-diff' \
        xmlns:x='urn:x' entity='a' version='1'><tuple id='1'><status/></tuple><tuple id='2'><status/></tuple>\
        <note>n</note><x:e a='1' x:a='2'> <x:f>one</x:f> <x:f>two</x:f> </x:e></p:pidf-full>";
    let start = PartialPresence::parse(text.as_bytes()).unwrap();
    let changed = |changes: &str| {
        let mut table = PresenceTable::new();
        table.receive(start.clone()).unwrap();
        let parsed = diff("version='2'", changes)?;
        assert_eq!(again(&parsed), parsed);
        table.receive(parsed)?;
        Ok::<Presence, PatchError>(table.presence().unwrap())
    };
    let ids = |changes: &str| {
        let presence = changed(changes).unwrap();
        presence.tuples.iter().map(|tuple| tuple.id.clone()).collect::<Vec<_>>().join(" ")
    };
    let tuple = "<tuple id='3'><status/></tuple>";
    assert_eq!(ids(&format!("<p:add sel='presence'>{tuple}</p:add>")), "1 2 3");
    assert_eq!(ids(&format!("<p:add sel='/*' pos='prepend'>{tuple}</p:add>")), "3 1 2");
    assert_eq!(ids(&format!("<p:add sel='*/tuple[1]' pos='after'>{tuple}</p:add>")), "1 3 2");
    assert_eq!(ids(&format!("<p:add sel='*/*[@id=\"2\"]' pos='before'>{tuple}</p:add>")), "1 3 2");
    assert_eq!(ids(&format!("<p:replace sel='*/tuple[2]'>{tuple}</p:replace>")), "1 3");
    assert_eq!(ids("<p:remove sel='*/tuple[@id=\"1\"]' ws='both'/>"), "2");
    assert_eq!(ids("<p:remove sel='*/tuple[1]'/><p:remove sel='*/tuple[1]'/>"), "");
    assert_eq!(ids("<p:replace sel='*/tuple[1]/@id'>9</p:replace>"), "9 2");
    let note = |changes: &str| changed(changes).unwrap().notes;
    assert_eq!(note("<p:add sel='*/note' type='@xml:lang'>de</p:add>")[0].language.as_deref(), Some("de"));
    assert_eq!(note("<p:replace sel='*/note[.=\"n\"]/text()'>m</p:replace>")[0].text, "m");
    assert_eq!(note("<p:remove sel='*/note/text()[1]'/>")[0].text, "");
    let foreign = |changes: &str| changed(changes).unwrap().extensions[0].clone();
    assert_eq!(foreign("<p:remove sel='*/x:e/@x:a'/>").attributes().len(), 1);
    assert_eq!(foreign("<p:replace sel='*/x:e/@x:a'>3</p:replace>").attribute_of("urn:x", "a"), Some("3"));
    assert_eq!(foreign("<p:add sel='*/x:e' type='@x:b'>4</p:add>").attribute_of("urn:x", "b"), Some("4"));
    let whole = foreign("<p:add sel='*/x:e' type='namespace::y'>urn:y</p:add>");
    let texts = |element: &Extension| element.elements().map(|it| it.text().to_string()).collect::<Vec<_>>();
    assert_eq!((texts(&whole), whole.content().len()), (vec!["one".into(), "two".into()], 5));
    // White space within what others have defined is text, and texts that touch become one.
    assert_eq!(foreign("<p:remove sel='*/x:e/x:f[1]'/>").content().len(), 3);
    assert_eq!(foreign("<p:remove sel='*/x:e/x:f[.=\"two\"]' ws='both'/>").content().len(), 2);
    assert_eq!(foreign("<p:remove sel='*/x:e[x:f=\"two\"]/x:f[2]' ws='after'/>").content().len(), 3);
    assert_eq!(foreign("<p:replace sel='*/x:e/text()[2]'/>").content().len(), 4);

    let refused = |changes: &str| changed(changes).unwrap_err();
    for two in ["<p:remove sel='*/tuple'/>", "<p:remove sel='*/*'/>", "<p:remove sel='*/x:e/text()'/>"] {
        assert_eq!(refused(two), PatchError::Ambiguous, "{two}");
    }
    for none in [
        "<p:remove sel='*/tuple[3]'/>",
        "<p:remove sel='*/tuple[0]'/>",
        "<p:remove sel='other/tuple[1]'/>",
        "<p:remove sel='*/note[@id=\"1\"]'/>",
        "<p:remove sel='*/note/@id'/>",
        "<p:replace sel='*/note/@id'>1</p:replace>",
        "<p:remove sel='*/tuple[1]/text()'/>",
        "<p:remove sel='*/note/text()[0]'/>",
    ] {
        assert_eq!(refused(none), PatchError::NotLocated, "{none}");
    }
    for unfit in [
        "<p:remove sel='*'/>",
        "<p:add sel='presence' pos='after'><note/></p:add>",
        "<p:replace sel='*/note'>text</p:replace>",
        "<p:replace sel='*/note'><note/><note/></p:replace>",
        "<p:replace sel='*/note/text()'><note/></p:replace>",
        "<p:add sel='*/tuple[1]' type='@id'>2</p:add>",
        "<p:add sel='*/note/text()'>2</p:add>",
    ] {
        assert_eq!(refused(unfit), PatchError::Content, "{unfit}");
    }
    for unread in [
        "id(\"1\")",
        "*/comment()",
        "*//note",
        "*/y:note",
        "*/note[last()]",
        "",
        "/",
        "*/@id/x",
        "*/note[1",
        "*/namespace::x",
    ] {
        let change = format!("<p:remove sel='{unread}'/>");
        assert!(matches!(refused(&change), PatchError::Selector(_)), "{unread}");
    }
    let malformed =
        |changes: &str| matches!(refused(changes), PatchError::Document(DocumentError::Malformed { .. }));
    for bad in [
        "<p:remove/>",
        "<p:move sel='*'/>",
        "<p:add sel='*' pos='above'/>",
        "<p:add sel='*' type='id'/>",
        "<p:remove sel='*/note' ws='all'/>",
        // What is left is no presence document.
        "<p:remove sel='*/tuple[1]/status'/>",
        "<p:remove sel='*/@entity'/>",
    ] {
        assert!(malformed(bad), "{bad}");
    }
    let other = diff("entity='b' version='2'", "").unwrap();
    let mut table = PresenceTable::new();
    table.receive(start.clone()).unwrap();
    assert_eq!(table.receive(other), Err(PatchError::Entity));
}

/// Changes cannot make a document larger than one that is read, nor take longer for being many.
#[test]
fn changes_are_bounded() {
    let many = "<p:remove sel='*/tuple'/>".repeat(MAX_OPERATIONS + 1);
    assert_eq!(diff("", &many), Err(PatchError::Document(DocumentError::TooMany("changes"))));
    let mut table = PresenceTable::new();
    table.receive(full(0)).unwrap();
    let long = format!("<p:add sel='*'><note>{}</note></p:add>", "x".repeat(MAX_OCTETS / 4));
    let grown = (1..10)
        .find_map(|version| table.receive(diff(&format!("version='{version}'"), &long).unwrap()).err());
    assert_eq!(grown, Some(PatchError::TooLarge));
    assert!(table.presence().unwrap().notes.len() < 4);
    let deep = format!("<p:add sel='*/x:a'>{}{}</p:add>", "<x:a>".repeat(13), "</x:a>".repeat(13));
    let mut table = PresenceTable::new();
    table.receive(full(0)).unwrap();
    table.receive(diff("version='1'", "<p:add sel='*'><x:a/></p:add>").unwrap()).unwrap();
    table.receive(diff("version='2'", &deep).unwrap()).unwrap();
    let deeper = deep.replace("*/x:a", &format!("*/{}", ["x:a"; 14].join("/")));
    assert_eq!(table.receive(diff("version='3'", &deeper).unwrap()), Err(PatchError::TooLarge));
}

/// What is not the same in another order, or twice, is told in full.
#[test]
fn what_is_better_told_in_full() {
    let one = Presence::new("sip:a@b", Basic::Open, None);
    let tuple = |id: &str| Tuple { id: id.into(), ..one.tuples[0].clone() };
    let of = |ids: &[&str]| Presence { tuples: ids.iter().map(|id| tuple(id)).collect(), ..one.clone() };
    assert_eq!(PresenceDiff::between(&of(&["1", "2"]), &of(&["2", "1"])), None);
    assert_eq!(PresenceDiff::between(&of(&["1"]), &of(&["1", "1"])), None);
    assert_eq!(PresenceDiff::between(&one, &Presence { entity: "sip:c@d".into(), ..one.clone() }), None);
    let none = PresenceDiff::between(&one, &one).unwrap();
    assert_eq!(none.operations, []);
    let changes = PresenceDiff::between(&of(&["1", "2", "3"]), &of(&["0", "1", "3", "4"])).unwrap();
    let kinds: Vec<&str> = changes
        .operations
        .iter()
        .map(|one| match one {
            Operation::Add { .. } => "add",
            Operation::Replace { .. } => "replace",
            Operation::Remove { .. } => "remove",
        })
        .collect();
    assert_eq!(kinds, ["remove", "add", "add"]);
    let xml = PartialPresence::Diff(changes).to_xml();
    assert!(xml.contains(r#"sel="presence/tuple[@id='2']""#), "{xml}");
}

fn presence() -> impl Strategy<Value = Presence> {
    let notes = prop::collection::vec("[a-c'\"]{0,2}".prop_map(|text| Note { text, language: None }), 0..3);
    let tuple =
        ("[a-d'\"<]{0,2}", any::<bool>(), prop::option::of("[xy]")).prop_map(|(id, open, contact)| Tuple {
            id,
            basic: Some(if open { Basic::Open } else { Basic::Closed }),
            contact,
            ..Tuple::default()
        });
    let person = ("[a-c]", any::<bool>()).prop_map(|(id, away)| Person {
        id,
        rpid: Rpid {
            activities: vec![Qualified::words([if away { Activity::Away } else { Activity::Busy }])],
            ..Rpid::default()
        },
        ..Person::default()
    });
    let extension =
        ("[a-c]", "[a-c]").prop_map(|(name, text)| Extension::new("urn:x", &name).with_text(&text));
    (
        prop::collection::vec(tuple, 0..4),
        prop::collection::vec(person, 0..3),
        notes,
        prop::collection::vec(extension, 0..3),
    )
        .prop_map(|(tuples, persons, notes, extensions)| Presence {
            entity: "sip:a@b".into(),
            tuples,
            persons,
            notes,
            extensions,
            ..Presence::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    /// What has changed between two documents makes one of the other, also over the wire.
    #[test]
    fn changes_lead_from_one_document_to_the_other(old in presence(), new in presence()) {
        // As a presence agent makes them: nothing is in them twice.
        let (old, new) = (Presence::composed("sip:a@b", [&old]), Presence::composed("sip:a@b", [&new]));
        let Some(changes) = PresenceDiff::between(&old, &new) else { return Ok(()) };
        prop_assert_eq!(changes.apply(&old), Ok(new.clone()));
        let sent = PartialPresence::Diff(PresenceDiff { version: Some(1), ..changes });
        let received = PartialPresence::parse(sent.to_xml().as_bytes()).unwrap();
        prop_assert_eq!(&received, &sent);
        let mut table = PresenceTable::new();
        let first = PartialPresence::Full(FullPresence::new(Some(0), &old));
        table.receive(PartialPresence::parse(first.to_xml().as_bytes()).unwrap()).unwrap();
        table.receive(received).unwrap();
        prop_assert_eq!(table.presence(), Some(new));
    }
}
