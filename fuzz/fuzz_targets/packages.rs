//! Bodies of event packages, the first octet says which: any octets are read or refused, what is read prints and reads back,
//! and tables take whatever comes in whatever order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_dialog::packages::dialog_info::{DialogInfo, DialogTable};
use sip_dialog::packages::message_summary::MessageSummary;
use sip_dialog::packages::presence::Presence;
use sip_dialog::packages::refer::Report;
use sip_dialog::packages::reginfo::{RegInfo, RegistrationTable};
use sip_dialog::packages::voice_quality::VoiceQualityReport;
use sip_dialog::packages::{Completeness, MAX_ROWS, Update};

fuzz_target!(|input: &[u8]| {
    let Some((kind, octets)) = input.split_first() else { return };
    match kind % 6 {
        0 => {
            let mut table = DialogTable::new();
            // Several documents, one after the other.
            for octets in octets.split(|octet| *octet == 0) {
                let Ok(document) = DialogInfo::parse(octets) else { continue };
                let again =
                    DialogInfo::parse(document.to_xml().as_bytes()).expect("what was printed is read");
                assert_eq!(again, document);
                let (full, dialogs) = (document.completeness == Completeness::Full, document.dialogs.clone());
                if table.receive(document) != Update::Stale {
                    assert!(dialogs.iter().all(|dialog| table.get(&dialog.id).is_some()));
                    assert!(!full || table.dialogs().count() <= dialogs.len());
                    assert!(table.dialogs().count() <= MAX_ROWS);
                }
            }
        }
        1 => {
            let mut table = RegistrationTable::new();
            for octets in octets.split(|octet| *octet == 0) {
                let Ok(document) = RegInfo::parse(octets) else { continue };
                let again = RegInfo::parse(document.to_xml().as_bytes()).expect("what was printed is read");
                assert_eq!(again, document);
                let ids: Vec<String> = document.registrations.iter().map(|one| one.id.clone()).collect();
                if table.receive(document) != Update::Stale {
                    assert!(ids.iter().all(|id| table.registrations().any(|known| known.id == *id)));
                    assert!(
                        table.registrations().map(|one| table.contacts(&one.id).count()).sum::<usize>()
                            <= MAX_ROWS
                    );
                }
            }
        }
        2 => {
            let Ok(document) = Presence::parse(octets) else { return };
            assert_eq!(Presence::parse(document.to_xml().as_bytes()).as_ref(), Ok(&document));
            assert!(!document.is_open() || !document.tuples.is_empty());
        }
        3 => {
            let Ok(summary) = MessageSummary::parse(octets) else { return };
            assert_eq!(MessageSummary::parse(summary.to_string().as_bytes()).as_ref(), Ok(&summary));
            assert!(summary.voice().is_none() || !summary.counts.is_empty());
        }
        4 => {
            let Ok(Some(report)) = Report::parse(&bytes::Bytes::copy_from_slice(octets)) else { return };
            let body = report.to_body().octets;
            let again = Report::parse(&body).expect("what was printed is read");
            assert_eq!(again.map(|again| again.status), Some(report.status));
            assert_eq!(body.iter().filter(|octet| **octet == b'\n').count(), 1);
        }
        _ => {
            let Ok(report) = VoiceQualityReport::parse(octets) else { return };
            assert_eq!(VoiceQualityReport::parse(report.to_string().as_bytes()).as_ref(), Ok(&report));
        }
    }
});
