//! Documents that are made to cost: each is refused before it costs more than a small multiple of its octets, by all who
//! read XML. Nothing in this crate opens a file or a connection for a document (there is no code that could), and an entity
//! that names one is refused like any other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_dialog::messaging::composing::IsComposing;
use sip_dialog::messaging::imdn::Imdn;
use sip_dialog::packages::conference::ConferenceInfo;
use sip_dialog::packages::dialog_info::DialogInfo;
use sip_dialog::packages::partial_presence::{PartialPresence, PatchError};
use sip_dialog::packages::presence::Presence;
use sip_dialog::packages::reginfo::RegInfo;
use sip_dialog::packages::resource_list::ResourceLists;
use sip_dialog::packages::rlmi::Rlmi;
use sip_dialog::packages::watcher_info::WatcherInfo;
use sip_dialog::packages::{DocumentError, MAX_OCTETS};

type Reader = fn(&[u8]) -> Result<(), DocumentError>;

/// All that read XML: the root, its namespace, and the reader.
const READERS: [(&str, &str, Reader); 10] = [
    ("conference-info", "urn:ietf:params:xml:ns:conference-info", |octets| {
        ConferenceInfo::parse(octets).map(drop)
    }),
    ("presence", "urn:ietf:params:xml:ns:pidf", |octets| Presence::parse(octets).map(drop)),
    ("dialog-info", "urn:ietf:params:xml:ns:dialog-info", |octets| DialogInfo::parse(octets).map(drop)),
    ("reginfo", "urn:ietf:params:xml:ns:reginfo", |octets| RegInfo::parse(octets).map(drop)),
    ("watcherinfo", "urn:ietf:params:xml:ns:watcherinfo", |octets| WatcherInfo::parse(octets).map(drop)),
    ("resource-lists", "urn:ietf:params:xml:ns:resource-lists", |octets| {
        ResourceLists::parse(octets).map(drop)
    }),
    ("list", "urn:ietf:params:xml:ns:rlmi", |octets| Rlmi::parse(octets).map(drop)),
    ("isComposing", "urn:ietf:params:xml:ns:im-iscomposing", |octets| IsComposing::parse(octets).map(drop)),
    ("imdn", "urn:ietf:params:xml:ns:imdn", |octets| Imdn::parse(octets).map(drop)),
    ("pidf-diff", "urn:ietf:params:xml:ns:pidf-diff", |octets| match PartialPresence::parse(octets) {
        Ok(_) => Ok(()),
        Err(PatchError::Document(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }),
];

/// What one reader says to a document, and the octets and allocations that it took meanwhile.
fn cost(reader: Reader, document: &str) -> (DocumentError, u64, u64) {
    let mut result = Ok(());
    let taken = allocation_counter::measure(|| result = reader(document.as_bytes()));
    (result.unwrap_err(), taken.bytes_total, taken.count_total)
}

/// Each reader refuses it with this error, having allocated at most so many times, and no more octets than that times 200.
fn all_refuse(document: impl Fn(&str, &str) -> String, error: &DocumentError, most: u64) {
    for (root, namespace, reader) in READERS {
        let document = document(root, namespace);
        let (refused, octets, count) = cost(reader, &document);
        assert_eq!(refused, *error, "{root}");
        assert!(count <= most, "{root}: {count} allocations for {} octets", document.len());
        assert!(octets <= most * 200, "{root}: {octets} octets allocated");
    }
}

/// Ends at the 17th element, however many follow.
#[test]
fn a_hundred_thousand_elements_within_each_other() {
    for name in ["a", "R", "x:a"] {
        let deep = |root: &str, namespace: &str| {
            let name = name.replace('R', root);
            // As many as the limit of octets lets through: of the shortest name, more than a hundred thousand.
            let inner = format!("<{name}>").repeat((MAX_OCTETS - 200) / (name.len() + 2));
            format!("<{root} xmlns='{namespace}'>{inner}")
        };
        all_refuse(deep, &DocumentError::TooMany("elements within each other"), 200);
    }
    all_refuse(
        |root, namespace| {
            let inner = "<a>".repeat(100_000);
            format!("<{root} xmlns='{namespace}'>{inner}{}</{root}>", "</a>".repeat(100_000))
        },
        &DocumentError::TooLong,
        4,
    );
}

#[test]
fn a_billion_laughs() {
    all_refuse(
        |root, namespace| {
            let mut bomb = format!("<?xml version='1.0'?><!DOCTYPE {root} [<!ENTITY l0 'lol'>");
            for level in 1..10 {
                let below = format!("&l{};", level - 1).repeat(10);
                bomb.push_str(&format!("<!ENTITY l{level} '{below}'>"));
            }
            format!("{bomb}]><{root} xmlns='{namespace}'>&l9;</{root}>")
        },
        &DocumentError::DocumentType,
        20,
    );
    // Without the type nobody has defined it, in text and in attributes.
    for used in ["<R xmlns='N'>&l9;</R>", "<R xmlns='N' a='&l9;'/>"] {
        all_refuse(
            |root, namespace| used.replace('R', root).replace('N', namespace),
            &DocumentError::DocumentType,
            40,
        );
    }
}

/// Neither files nor addresses are looked at: the document type is enough to refuse it.
#[test]
fn external_entities() {
    for entity in [
        "<!DOCTYPE R SYSTEM 'http://192.0.2.1/x.dtd'><R/>",
        "<!DOCTYPE R [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><R>&x;</R>",
        "<!DOCTYPE R [<!ENTITY % x SYSTEM 'http://192.0.2.1/x'> %x;]><R/>",
        "<!DOCTYPE R PUBLIC '-//X' 'ftp://192.0.2.1/x'><R/>",
    ] {
        all_refuse(|root, _| entity.replace('R', root), &DocumentError::DocumentType, 20);
    }
}

#[test]
fn an_attribute_of_five_megabytes() {
    let long = "x".repeat(5 * 1024 * 1024);
    all_refuse(
        |root, namespace| format!("<{root} xmlns='{namespace}' a='{long}'/>"),
        &DocumentError::TooLong,
        4,
    );
}

/// A document at the limits takes some megabytes, and is not much longer when it is written again.
#[test]
fn documents_at_the_limits() {
    // Names of namespaces are long, and there are as many as elements.
    let spaces: String = (0..2_000).map(|n| format!("<x xmlns='{n:0>200}'/>")).collect();
    // Two that take turns.
    let turns =
        format!("<x:a xmlns:x='{0}'><a xmlns='{1}'/></x:a>", "x".repeat(250), "y".repeat(250)).repeat(900);
    let many = "<a b='1' c='2'/>".repeat(19_000);
    for inside in [spaces, turns, many] {
        let text = format!("<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='a'>{inside}</presence>");
        assert!(text.len() <= MAX_OCTETS);
        let mut document = None;
        let taken =
            allocation_counter::measure(|| document = Some(Presence::parse(text.as_bytes()).unwrap()));
        assert!(taken.bytes_max <= 32 * 1024 * 1024, "{} octets for {}", taken.bytes_max, text.len());
        assert!(document.unwrap().to_xml().len() <= 3 * text.len());
    }
}
