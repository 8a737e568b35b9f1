//! Bodies of several parts, named and nested, coded, cut off; messages within messages; what is built reads back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use bytes::Bytes;
use proptest::prelude::*;
use sip_message::body::{BodyError, Entity, Fragment, MultipartBuilder};
use sip_message::headers::*;
use sip_message::{BuildError, HeaderError, Limits, Method, ParseErrorKind, StatusCode};

fn body(content_type: &str, octets: impl Into<Bytes>) -> Result<Entity, BodyError> {
    let mut headers = Headers::new();
    headers.push_raw("Content-Type", content_type).unwrap();
    Entity::of(&headers, &octets.into(), &Limits::default())
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n";

/// RFC 5621 §3, RFC 2046 §5.1: preamble, epilogue, padding, an empty part, LF alone, binary.
#[test]
fn mixed_parts() {
    let text = format!(
        "preamble\r\n--b-1 \t\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b-1\r\n\r\n\r\n--b-1\nContent-Type: text/plain\nContent-Disposition: render;handling=optional\n\nlf\n--b-1-longer\nstill\n--b-1--\r\nepilogue --b-1"
    );
    let whole = body("multipart/mixed ; boundary=\"b-1\"", text).unwrap();
    assert_eq!(whole.parts().len(), 3);
    assert_eq!(&whole.find("application", "sdp").unwrap().octets()[..], SDP.as_bytes());
    assert_eq!(whole.parts()[0].disposition(), ContentDisposition::new("session"), "RFC 3261 §20.11");
    assert!(whole.parts()[1].is("text", "plain") && whole.parts()[1].octets().is_empty());
    assert_eq!(&whole.parts()[2].octets()[..], b"lf\n--b-1-longer\nstill");
    assert!(!whole.parts()[2].disposition().is_required());
}

/// RFC 2046 §5.1.4: the last that is understood; RFC 2387: related, with a start; RFC 2392: names.
#[test]
fn alternatives_related_and_nested() {
    let text = "--o\r\nContent-Type: multipart/alternative;boundary=i\r\n\r\n--i\r\nContent-Type: text/plain\r\n\r\na\r\n--i\r\n\
        Content-Type: text/html\r\nContent-ID: <two@h>\r\n\r\nb\r\n--i--\r\n--o\r\nContent-Type: application/pidf+xml\r\nContent-ID: <one@h>\r\n\r\nc\r\n--o--";
    let whole = body("multipart/related;boundary=o;start=\"<one@h>\"", text).unwrap();
    let alternative = &whole.parts()[0];
    assert!(alternative.choose(|part| part.is("text", "plain")).unwrap().is("text", "plain"));
    assert!(alternative.choose(|_| true).unwrap().is("text", "html"));
    assert_eq!(&whole.root().unwrap().octets()[..], b"c");
    assert_eq!(&whole.named("cid:two@h").unwrap().octets()[..], b"b");
    assert_eq!(whole.named("cid:three@h"), None);
    assert_eq!(whole.leaves().len(), 3);
    assert!(body("text/plain", "x").unwrap().choose(|part| part.is("text", "html")).is_none());
}

/// What is wrong has an error that says so, and a status.
#[test]
fn errors() {
    let error = |content_type: &str, octets: &str| body(content_type, octets.to_string()).unwrap_err();
    for content_type in [
        "multipart/mixed",
        "multipart/mixed;boundary=\"\"",
        "multipart/mixed;boundary=\"a \"",
        &format!("multipart/mixed;boundary={}", "b".repeat(71)),
        "multipart/mixed;boundary=\"a\\\"b\"",
    ] {
        assert_eq!(error(content_type, "--b--"), BodyError::Boundary, "{content_type}");
    }
    for octets in [
        "",
        "--b",
        "--b\r\n",
        "--b\r\n\r\nx",
        "--b\r\n\r\nx\r\n--c--",
        "--b--",
        "x--b\r\n\r\nx\r\n--b--",
        "--b\r\n\r\nx--b--",
    ] {
        assert_eq!(
            error("multipart/mixed;boundary=b", octets),
            BodyError::Delimiter("b".into()),
            "{octets:?}"
        );
    }
    assert!(
        matches!(error("multipart/mixed;boundary=b", "--b\r\nno field\r\n\r\n--b--"), BodyError::Parse(error) if error.kind == ParseErrorKind::PartField)
    );
    assert!(matches!(
        error("multipart/mixed;boundary=b", "--b\r\nContent-Type: x\r\n\r\n--b--"),
        BodyError::Header(HeaderError::Malformed { .. })
    ));
    assert_eq!(error("multipart/mixed;boundary=b", "").status(), StatusCode::BAD_REQUEST);
}

/// RFC 3261 §8.2.3: a coding hides what is within, and the error names it for the 415.
#[test]
fn codings() {
    let mut headers = Headers::new();
    headers.push_raw("Content-Type", "multipart/mixed;boundary=b").unwrap();
    headers.push_raw("e", "identity, gzip").unwrap();
    let coded = Entity::of(&headers, &"\x1f\u{8b}".into(), &Limits::default()).unwrap();
    assert!(coded.parts().is_empty() && coded.leaves().len() == 1);
    let error = coded.plain().unwrap_err();
    assert_eq!(
        (error.status(), error),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, BodyError::Encoded("gzip".into()))
    );
}

/// RFC 3261 §23.4 and RFC 3420.
#[test]
fn messages_in_bodies() {
    let whole = body("message/sip", "OPTIONS sip:a@b SIP/2.0\r\nSubject: x\r\n\r\n").unwrap();
    assert_eq!(whole.message(&Limits::default()).unwrap().headers().text("s"), Some("x"));
    assert!(whole.fragment(&Limits::default()).is_err(), "it is not message/sipfrag");
    let fragment = |text: &str| {
        body("message/sipfrag;version=2.0", text.to_string()).unwrap().fragment(&Limits::default())
    };
    for (text, status) in [
        ("SIP/2.0 100 Trying\r\n", 100),
        ("SIP/2.0 603 Declined", 603),
        ("sip/2.0 200 \r\nTo: <sip:a@b>\r\n\r\n", 200),
    ] {
        assert_eq!(fragment(text).unwrap().status().map(StatusCode::code), Some(status), "{text:?}");
    }
    let request = fragment("INVITE sip:alice@atlanta.com SIP/2.0\r\nFrom: <sip:a@b>").unwrap();
    assert_eq!(request.method(), Some(&Method::Invite));
    assert!(request.headers().contains("From"));
    // Referred-By tokens sign fields alone (RFC 3892 §4.1).
    let fields = fragment("Date: Thu, 21 Feb 2002 13:02:03 GMT\r\nFrom: <sip:a@b>\r\n\r\nbody").unwrap();
    assert_eq!((fields.message(), fields.headers().len(), &fields.body()[..]), (None, 2, &b"body"[..]));
    for bad in ["", "no field here", "SIP/2.0 9 x", "\r\n\r\n \r\n:"] {
        let octets = Bytes::copy_from_slice(bad.as_bytes());
        let read = Fragment::parse(&octets, &Limits::default());
        assert!(read.is_err() || read.unwrap().headers().is_empty(), "{bad:?}");
    }
}

#[test]
fn a_multipart_needs_a_part() {
    assert_eq!(MultipartBuilder::new("mixed").build().unwrap_err(), BuildError::NoPart);
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let hostile = prop_oneof![
        Just(b"\r\n--part-".to_vec()),
        Just(b"--".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(hostile, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever the parts hold, boundaries included, they come back.
    #[test]
    fn what_is_built_reads_back(parts in prop::collection::vec(octets(), 1..5), id in "[a-z]{1,8}@h") {
        let mut builder = MultipartBuilder::new("mixed");
        for part in &parts {
            builder = builder.part(&ContentType::new("application", "octet-stream"), part.clone());
        }
        let (content_type, built) = builder.field(&ContentId::new(&id)).build().unwrap();
        // once more around it, with the inner boundary in its octets
        let (outer, wrapped) = MultipartBuilder::new("related").part(&content_type, built).build().unwrap();
        let mut headers = Headers::new();
        headers.push_back(&outer);
        let read = Entity::of(&headers, &wrapped, &Limits::default()).unwrap();
        let found: Vec<Vec<u8>> = read.leaves().iter().map(|leaf| leaf.octets().to_vec()).collect();
        prop_assert_eq!(found, parts);
        let url = format!("cid:{id}");
        prop_assert!(read.named(&url).is_some());
    }

    #[test]
    fn any_body_is_read_or_refused(pieces in prop::collection::vec(prop_oneof![
        Just("--b\r\n"), Just("--b--\r\n"), Just("\r\n"), Just("\n"), Just("--b"), Just("Content-Type: multipart/mixed;boundary=b\r\n"),
        Just("Content-Type: multipart/mixed;boundary=\"b--\"\r\n"), Just("x"), Just(": "), Just("--"),
    ], 0..30)) {
        if let Ok(read) = body("multipart/mixed;boundary=b", pieces.concat()) {
            prop_assert!(read.parts().iter().all(|part| part.octets().len() <= read.octets().len()));
        }
        let octets = Bytes::from(pieces.concat());
        let _ = Fragment::parse(&octets, &Limits::default());
    }
}
