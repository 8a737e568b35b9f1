//! Descriptions of RFCs and of other stacks, from the folder that the environment variable SIP_CORPUS names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use sdp::{
    Codec, CryptoSuite, LocalMedia, LocalStream, OfferAnswer, Protection, RtcpMux, SessionDescription,
    SrtpKey,
};

/// A phone that has a little of everything.
fn phone() -> OfferAnswer {
    let key = |octet| SrtpKey::generate(CryptoSuite::AesCm128HmacSha1_80, |place| place.fill(octet));
    let audio =
        LocalStream::audio("192.0.2.1:4000".parse().unwrap()).with_sdes(Protection::SdesOptional, [key(1)]);
    let video =
        LocalStream::video("192.0.2.1:4002".parse().unwrap(), [Codec::h264("42e01f", 1), Codec::vp8()]);
    let streams = [audio, video].map(|stream| stream.with_rtcp_mux(RtcpMux::Negotiate));
    OfferAnswer::new(LocalMedia::new(streams).with_bundle(), 1).unwrap()
}

/// Whether the offer is answered: then with as many lines, readable, and the same once more for the same offer.
fn answered(description: &SessionDescription) -> bool {
    let mut phone = phone();
    let Ok(answer) = phone.receive_offer(description) else { return false };
    assert_eq!(answer.media().len(), description.media().len());
    assert_eq!(answer.to_string().parse::<SessionDescription>().as_ref(), Ok(&answer));
    assert_eq!(phone.receive_offer(description).as_ref(), Ok(&answer));
    true
}

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
    let (mut read, mut taken, mut problems, mut met) = (0, 0, Vec::new(), std::collections::HashSet::new());
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
                    taken += u32::from(answered(&description));
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
    println!("{read} descriptions read, {taken} of them answered");
    assert!(taken > 200, "only {taken} descriptions answered");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(met.len(), REFUSED.len(), "reasons that no file has any more");
    assert!(read > 800, "only {read} descriptions read");
}
