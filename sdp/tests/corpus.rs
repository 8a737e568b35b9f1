//! Descriptions of RFCs and of other stacks, from the folder that the environment variable SIP_CORPUS names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use sdp::SessionDescription;

/// What is not SDP: (start of the file name, why it is refused).
const REFUSED: [(&str, &str); 15] = [
    ("rfc3015-s13.3", "Megaco template: `$` for the port to be chosen"),
    ("rfc6314-", "template: `$NAT-PUB-1.port` for a port"),
    ("rfc3204-s4.2-02", "o= has seven fields"),
    ("rfc4570-s3.2-01", "o= holds a mail address with spaces in it"),
    ("lit-pion-sdp-0007", "o= without address: a negative test"),
    ("lit-pion-sdp-0008", "o= without address type: a negative test"),
    ("lit-pion-sdp-0009", "o= without address: a negative test"),
    ("lit-pion-sdp-0011", "o= without address: a negative test"),
    ("lit-pion-sdp-0014", "o= is empty: a negative test"),
    ("lit-pion-sdp-0015", "o= with one field: a negative test"),
    ("lit-pion-sdp-0016", "o= with three fields: a negative test"),
    ("lit-pion-sdp-0005", "c= without address: a negative test"),
    ("webrtc-sdp-", "starts with comment lines, which SDP does not have"),
    ("lit-webrtc-sdp-0003", "t= with a word for a time: a negative test"),
    ("lit-re-0010", "two descriptions in one text"),
];

#[test]
fn all_parse_and_print_stably_except_what_is_no_sdp() {
    let Some(corpus) = std::env::var_os("SIP_CORPUS") else {
        println!("skipped: SIP_CORPUS is not set");
        return;
    };
    let (mut read, mut problems, mut met) = (0, Vec::new(), std::collections::HashSet::new());
    for set in ["sdp-rfc", "sdp-permissive"] {
        for entry in std::fs::read_dir(Path::new(&corpus).join(set)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "sdp") {
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let refused = REFUSED.iter().find(|(start, _)| name.starts_with(start));
            let text = std::fs::read(&path).unwrap();
            match (SessionDescription::parse(&text), refused) {
                (Ok(description), _) => {
                    read += 1;
                    let printed = description.to_bytes();
                    if SessionDescription::parse(&printed).as_ref() != Ok(&description) {
                        problems.push(format!("{name}: not stable"));
                    }
                    for section in description.media() {
                        let _ = (section.payloads(), section.rtp_address(), section.rtcp_address());
                    }
                }
                (Err(_), Some((start, _))) => {
                    met.insert(*start);
                }
                (Err(error), None) => problems.push(format!("{name}: {error}")),
            }
        }
    }
    println!("{read} descriptions read");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(met.len(), REFUSED.len(), "reasons that no file has any more");
    assert!(read > 800, "only {read} descriptions read");
}
