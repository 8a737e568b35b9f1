//! The XML of presence, watchers, lists and messages, the first octet says which: any octets are read or refused, what is
//! read prints and reads back equal, what is put together can be read, and changes lead from one document to another.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_dialog::messaging::composing::IsComposing;
use sip_dialog::messaging::imdn::Imdn;
use sip_dialog::packages::MAX_ROWS;
use sip_dialog::packages::conference::{ConferenceInfo, Roster};
use sip_dialog::packages::partial_presence::{FullPresence, PartialPresence, PresenceDiff, PresenceTable};
use sip_dialog::packages::presence::Presence;
use sip_dialog::packages::resource_list::ResourceLists;
use sip_dialog::packages::rlmi::Rlmi;
use sip_dialog::packages::watcher_info::{WatcherInfo, WatcherTable};

/// Parse, print, parse.
macro_rules! reads_back {
    ($kind:ident, $octets:expr) => {
        if let Ok(document) = $kind::parse($octets) {
            let printed = document.to_xml();
            assert_eq!($kind::parse(printed.as_bytes()).as_ref(), Ok(&document), "{printed}");
        }
    };
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, octets)) = input.split_first() else { return };
    match kind % 9 {
        0 => {
            reads_back!(Presence, octets);
            // Several documents put together, and each told by what has changed since the one before.
            let all: Vec<Presence> =
                octets.split(|octet| *octet == 0).filter_map(|octets| Presence::parse(octets).ok()).collect();
            let composed = Presence::composed("sip:a@b", &all);
            assert_eq!(Presence::parse(composed.to_xml().as_bytes()).as_ref(), Ok(&composed));
            assert_eq!(Presence::composed("sip:a@b", [&composed]), composed);
            for pair in all.windows(2) {
                let [old, new] = pair else { continue };
                let Some(changes) = PresenceDiff::between(old, new) else { continue };
                assert_eq!(changes.apply(old).as_ref(), Ok(new));
            }
        }
        1 => {
            let mut table = PresenceTable::new();
            for octets in octets.split(|octet| *octet == 0) {
                reads_back!(PartialPresence, octets);
                let Ok(document) = PartialPresence::parse(octets) else { continue };
                let before = table.clone();
                if table.receive(document).is_err() {
                    assert_eq!(table, before);
                }
                let Some(presence) = table.presence() else { continue };
                let full = PartialPresence::Full(FullPresence::new(None, &presence));
                assert_eq!(PartialPresence::parse(full.to_xml().as_bytes()), Ok(full));
            }
        }
        2 => {
            let mut table = WatcherTable::new();
            for octets in octets.split(|octet| *octet == 0) {
                reads_back!(WatcherInfo, octets);
                let Ok(document) = WatcherInfo::parse(octets) else { continue };
                table.receive(document);
                assert!(table.resources().count() <= MAX_ROWS);
            }
        }
        3 => {
            reads_back!(ResourceLists, octets);
            let Ok(lists) = ResourceLists::parse(octets) else { return };
            assert!(lists.recipients().len() <= lists.entries().len());
            let history = lists.history(None);
            assert_eq!(ResourceLists::parse(history.to_xml().as_bytes()), Ok(history));
        }
        4 => reads_back!(Rlmi, octets),
        5 => reads_back!(IsComposing, octets),
        6 => reads_back!(Imdn, octets),
        8 => {
            let mut roster = Roster::new();
            for octets in octets.split(|octet| *octet == 0) {
                reads_back!(ConferenceInfo, octets);
                let Ok(document) = ConferenceInfo::parse(octets) else { continue };
                roster.receive(document);
                assert!(roster.users().count() <= MAX_ROWS);
            }
        }
        _ => {
            // One document, read as each of the others.
            reads_back!(Presence, octets);
            reads_back!(WatcherInfo, octets);
            reads_back!(ResourceLists, octets);
            reads_back!(Rlmi, octets);
            reads_back!(IsComposing, octets);
            reads_back!(Imdn, octets);
            reads_back!(ConferenceInfo, octets);
        }
    }
});
