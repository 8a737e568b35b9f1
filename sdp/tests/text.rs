//! Reading and printing: limits, stability, and arbitrary bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sdp::limits::{Limit, Limits};
use sdp::{Codec, LocalMedia, LocalStream, OfferAnswer, ParseError, RtcpMux, SessionDescription};

const G711: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=x-unknown:kept = as it is\r\na=sendrecv\r\n";

#[test]
fn unknown_attributes_stay_where_they_are() {
    assert_eq!(SessionDescription::parse(G711.as_bytes()).unwrap().to_string(), G711);
}

#[test]
fn line_feeds_alone_are_read_and_cr_lf_is_printed() {
    let bare = G711.replace("\r\n", "\n");
    assert_eq!(SessionDescription::parse(bare.as_bytes()).unwrap().to_string(), G711);
}

#[test]
fn every_limit_is_checked_before_parsing() {
    let generous = Limits::default();
    let cases = [
        (Limit::Bytes, Limits { bytes: 100, ..generous }),
        (Limit::LineBytes, Limits { line_bytes: 20, ..generous }),
        (Limit::Lines, Limits { lines: 5, ..generous }),
        (Limit::Media, Limits { media: 0, ..generous }),
        (Limit::Attributes, Limits { attributes: 6, ..generous }),
        (Limit::Formats, Limits { formats: 2, ..generous }),
    ];
    for (expected, limits) in cases {
        let error = SessionDescription::parse_within(G711.as_bytes(), &limits).unwrap_err();
        assert!(matches!(error, ParseError::LimitExceeded { limit, .. } if limit == expected), "{error}");
        assert_eq!(error.status(), 413);
    }
    let exact = Limits { bytes: G711.len(), line_bytes: 36, lines: 13, media: 1, attributes: 7, formats: 3 };
    SessionDescription::parse_within(G711.as_bytes(), &exact).unwrap();
}

/// What is read, printed and read again is the same value and the same text.
fn assert_stable(text: &[u8]) {
    if let Ok(once) = SessionDescription::parse(text) {
        let printed = once.to_bytes();
        let twice = SessionDescription::parse(&printed).unwrap();
        assert_eq!(twice.to_bytes(), printed);
        assert_eq!(twice, once);
    }
}

/// Everything that reads a description, on whatever was accepted as one.
fn use_it(text: &[u8]) {
    let Ok(description) = SessionDescription::parse(text) else { return };
    for section in description.media() {
        let _ = (section.payloads(), section.rtp_address(), section.rtcp_address(), section.ptime());
    }
    let audio = LocalStream::audio("192.0.2.9:4000".parse().unwrap()).with_rtcp_mux(RtcpMux::Negotiate);
    let video = LocalStream::video("192.0.2.9:4002".parse().unwrap(), [Codec::vp8()]);
    let media = LocalMedia::new([audio, video]).with_bundle();
    let mut callee = OfferAnswer::new(media.clone(), 1).unwrap();
    if let Ok(answer) = callee.receive_offer(&description) {
        assert_eq!(answer.media().len(), description.media().len());
        assert_stable(&answer.to_bytes());
    }
    let mut caller = OfferAnswer::new(media, 2).unwrap();
    caller.create_offer().unwrap();
    let _ = caller.receive_answer(&description);
    assert_stable(&callee.refusal(&description).to_bytes());
}

fn lines() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]=[ -~]{0,30}",
        "a=(rtpmap|fmtp|ptime|maxptime|rtcp):[0-9]{1,6} ?[a-zA-Z0-9/=;.-]{0,20}",
        "m=(audio|video|image) [0-9]{1,5} (RTP/AVP|RTP/SAVP|udptl)( [0-9]{1,3}){0,6}",
        "c=IN IP[46] [0-9a-f.:/]{1,20}",
        "a=(sendrecv|sendonly|recvonly|inactive)",
        "b=AS:[0-9.]{1,6}",
        Just("t=0 0".to_owned()),
        Just("c=IN IP4 192.0.2.1".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        use_it(&bytes);
        assert_stable(&bytes);
    }

    #[test]
    fn nearly_sound_descriptions_are_stable(lines in proptest::collection::vec(lines(), 0..20), end in "\r\n|\n|\r") {
        let text = format!("v=0{end}o=- 1 1 IN IP4 192.0.2.1{end}s=-{end}c=IN IP4 192.0.2.1{end}{}{end}", lines.join(&end));
        use_it(text.as_bytes());
        assert_stable(text.as_bytes());
    }

    #[test]
    fn damaged_descriptions_never_panic(at in 0..G711.len(), byte in any::<u8>(), cut in 0..G711.len()) {
        let mut bytes = G711.as_bytes().to_vec();
        bytes[at] = byte;
        use_it(&bytes);
        assert_stable(&bytes);
        use_it(&bytes[..cut]);
        assert_stable(&bytes[..cut]);
    }
}
