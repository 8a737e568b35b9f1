//! Every example of the RFCs is read, and what is printed of it reads the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Debug;

use sip_dialog::messaging::composing::IsComposing;
use sip_dialog::messaging::cpim::Cpim;
use sip_dialog::messaging::imdn::Imdn;
use sip_dialog::packages::Update;
use sip_dialog::packages::dialog_info::{DialogInfo, DialogTable};
use sip_dialog::packages::partial_presence::PartialPresence;
use sip_dialog::packages::presence::Presence;
use sip_dialog::packages::reginfo::RegInfo;
use sip_dialog::packages::resource_list::ResourceLists;
use sip_dialog::packages::rlmi::Rlmi;
use sip_dialog::packages::watcher_info::WatcherInfo;

/// The files of a kind, by name.
fn files(ending: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = format!("{}/tests/data", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_string(), path));
    named
        .filter(|(name, _)| name.ends_with(ending))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

fn all<D: PartialEq + Debug, E: Debug>(
    ending: &str,
    count: usize,
    parse: impl Fn(&[u8]) -> Result<D, E>,
    print: impl Fn(&D) -> String,
) {
    let files = files(ending);
    assert_eq!(files.len(), count, "files of {ending}");
    for (name, octets) in files {
        let document = parse(&octets).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let printed = print(&document);
        assert_eq!(parse(printed.as_bytes()).unwrap(), document, "{name}: {printed}");
    }
}

#[test]
fn presence() {
    all("-presence.xml", 14, Presence::parse, Presence::to_xml);
}

#[test]
fn changes_of_presence() {
    all("-pidf-full.xml", 2, PartialPresence::parse, PartialPresence::to_xml);
    all("-pidf-diff.xml", 1, PartialPresence::parse, PartialPresence::to_xml);
}

#[test]
fn watchers() {
    all("-watcherinfo.xml", 4, WatcherInfo::parse, WatcherInfo::to_xml);
}

#[test]
fn registrations() {
    all("-reginfo.xml", 5, RegInfo::parse, RegInfo::to_xml);
}

#[test]
fn dialogs() {
    all("-dialog-info.xml", 21, DialogInfo::parse, DialogInfo::to_xml);
}

/// RFC 4235 §6.1: the documents of a call that forks follow each other.
#[test]
fn rfc4235_6_1_dialogs_one_after_the_other() {
    let files = files("-dialog-info.xml");
    let mut table = DialogTable::new();
    for number in 5..=9 {
        let octets = &files[&format!("rfc4235-{number}-dialog-info.xml")];
        let update = table.receive(DialogInfo::parse(octets).unwrap());
        assert_ne!(update, Update::Stale, "{number}");
    }
    assert!(table.dialogs().count() >= 1);
}

#[test]
fn lists() {
    all("-resource-lists.xml", 5, ResourceLists::parse, ResourceLists::to_xml);
    all("-list.xml", 5, Rlmi::parse, Rlmi::to_xml);
}

#[test]
fn messages() {
    all("-isComposing.xml", 2, IsComposing::parse, IsComposing::to_xml);
    all("-imdn.xml", 5, Imdn::parse, Imdn::to_xml);
    let files = files(".cpim");
    assert_eq!(files.len(), 6);
    for (name, octets) in files {
        let octets = bytes::Bytes::from(String::from_utf8(octets).unwrap().replace('\n', "\r\n"));
        let message = Cpim::parse_understanding(&octets, |_, _| true).unwrap();
        assert_eq!(Cpim::parse_understanding(&message.to_octets(), |_, _| true).unwrap(), message, "{name}");
    }
}
