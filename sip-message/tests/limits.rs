//! What one message can make us hold or do: every limit refuses what passes it, and the worst shapes of each size
//! take time in proportion to their size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_message::body::{BodyError, Entity};
use sip_message::headers::*;
use sip_message::{Limits, Message, ParseErrorKind, Request, Tel, Uri};
use std::time::{Duration, Instant};

const HEAD: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 7\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n";

fn parse(lines: &str) -> Result<Request, sip_message::ParseError> {
    Request::parse(format!("{HEAD}{lines}\r\n").into(), &Limits::default())
}

fn kind(lines: &str) -> ParseErrorKind {
    parse(lines).unwrap_err().kind
}

#[test]
fn fields_and_lines() {
    assert_eq!(kind(&"x: y\r\n".repeat(10_000)), ParseErrorKind::TooManyFields(Limits::FIELDS));
    assert_eq!(kind(&format!("x: {}\r\n", "y".repeat(40_000))), ParseErrorKind::FieldTooLong(Limits::FIELD));
    assert_eq!(
        kind(&format!("x:{}\r\n", "\r\n y".repeat(10_000))),
        ParseErrorKind::FieldTooLong(Limits::FIELD)
    );
    assert_eq!(kind(&"x: y\r\n".repeat(20_000)), ParseErrorKind::MessageTooLong(Limits::MESSAGE));
    let long = format!("OPTIONS sip:{}@b SIP/2.0\r\n\r\n", "a".repeat(9_000));
    assert_eq!(
        Request::parse(long.into(), &Limits::default()).unwrap_err().kind,
        ParseErrorKind::StartLineTooLong(Limits::START_LINE)
    );
}

/// Lists over one line or many, of any field that is a list; what is no list, or unknown, is nobody's list.
#[test]
fn elements_of_a_list() {
    let refused = |lines: &str| {
        parse(lines)
            .unwrap()
            .check()
            .map_err(|error| (error.status.code(), error.name.map(|name| name.as_str())))
    };
    let vias = "Via: SIP/2.0/UDP h;branch=z9hG4bK2, SIP/2.0/UDP h\r\n".repeat(400);
    assert_eq!(refused(&vias), Err((400, Some("Via"))));
    assert_eq!(refused(&format!("Accept: {}\r\n", "a/b,".repeat(4_000))), Err((400, Some("Accept"))));
    assert_eq!(refused(&format!("Route: {}\r\n", "<sip:a>,".repeat(257))), Err((400, Some("Route"))));
    assert_eq!(refused(&format!("Route: {}\r\n", "<sip:a>,".repeat(256))), Ok(()));
    assert_eq!(refused(&format!("Subject: {}\r\nX: {}\r\n", ",".repeat(3_000), ",".repeat(3_000))), Ok(()));
    assert_eq!(
        refused(&format!("Contact: \"{}\" <sip:a@b>\r\n", ",".repeat(3_000))),
        Ok(()),
        "commas in quotes"
    );
    let mut wide = Limits::default();
    wide.elements = 1_000;
    assert_eq!(parse(&vias).unwrap().check_within(&wide), Ok(()));
}

#[test]
fn parameters_and_the_request_uri() {
    let refused = |lines: &str| {
        parse(lines)
            .unwrap()
            .check()
            .map_err(|error| (error.status.code(), error.name.map(|name| name.as_str())))
    };
    assert_eq!(refused(&format!("Contact: <sip:a@b{}>\r\n", ";x".repeat(100))), Err((400, Some("Contact"))));
    assert_eq!(refused(&format!("Contact: <sip:a@b>{}\r\n", ";x".repeat(100))), Err((400, Some("Contact"))));
    assert_eq!(refused(&format!("Contact: <sip:a@b{0}>{0}\r\n", ";x".repeat(64))), Ok(()));
    assert_eq!(
        refused(&format!("Contact: {}\r\n", "<sip:a@b;x>;y,".repeat(60))),
        Ok(()),
        "few of each element"
    );
    assert_eq!(refused(&format!("User-Agent: x ({})\r\n", "; y".repeat(100))), Ok(()), "a text has none");
    let to = |uri: &str| Request::parse(HEAD.replacen("sip:a@b", uri, 1).into(), &Limits::default());
    let long = to(&format!("sip:{}@b", "a".repeat(5_000))).unwrap();
    assert_eq!(
        Request::parse((long.to_string() + "\r\n").into(), &Limits::default())
            .unwrap()
            .check()
            .unwrap_err()
            .status
            .code(),
        414
    );
    let many = HEAD.replacen("sip:a@b", &format!("sip:a@b{}", ";x".repeat(65)), 1) + "\r\n";
    assert_eq!(
        Request::parse(many.into(), &Limits::default()).unwrap().check().unwrap_err().status.code(),
        400
    );
}

/// A multipart of `depth` levels, each the only part of the one around it.
fn nested(depth: usize) -> (String, String) {
    let mut body = String::from("--b0\r\n\r\nx\r\n--b0--\r\n");
    for level in 1..depth {
        body = format!(
            "--b{level}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n{body}\r\n--b{level}--\r\n",
            level - 1
        );
    }
    (format!("multipart/mixed;boundary=b{}", depth - 1), body)
}

fn entity(content_type: &str, body: String, limits: &Limits) -> Result<Entity, BodyError> {
    let mut headers = Headers::new();
    headers.push_raw("Content-Type", content_type).unwrap();
    Entity::of(&headers, &body.into(), limits)
}

#[test]
fn depth_and_parts_of_a_body() {
    let limits = Limits::default();
    let (kind, body) = nested(Limits::DEPTH);
    assert_eq!(entity(&kind, body, &limits).unwrap().leaves().len(), 1);
    let (kind, body) = nested(Limits::DEPTH + 1);
    let error = entity(&kind, body, &limits).unwrap_err();
    assert_eq!((error.status().code(), error), (413, BodyError::TooDeep(Limits::DEPTH)));
    // no option makes it recurse without bound
    let (kind, body) = nested(400);
    let mut deep = limits;
    deep.depth = usize::MAX;
    assert_eq!(entity(&kind, body, &deep).unwrap_err(), BodyError::TooDeep(Limits::DEEPEST));
    let many = "--b\r\n\r\n\r\n".repeat(65) + "--b--";
    assert_eq!(
        entity("multipart/mixed;boundary=b", many, &limits).unwrap_err(),
        BodyError::TooManyParts(Limits::PARTS)
    );
    // parts of inner multiparts count too
    let inner = "--b\r\n\r\n\r\n".repeat(40) + "--b--";
    let both =
        format!("--c\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n{inner}\r\n").repeat(2) + "--c--";
    assert_eq!(
        entity("multipart/mixed;boundary=c", both, &limits).unwrap_err(),
        BodyError::TooManyParts(Limits::PARTS)
    );
}

/// Every shape known to make parsers slow, at 64 KiB a field and a megabyte a message. Were any of them worked on
/// in quadratic time, it would take minutes; all of them together take seconds.
#[test]
fn the_worst_shapes_take_time_in_proportion_to_their_size() {
    const FIELD: usize = 60_000;
    let start = Instant::now();
    let fill = |piece: &str| piece.repeat(FIELD / piece.len());
    let mut limits = Limits::default();
    (limits.message, limits.field, limits.fields, limits.start_line) = (4 << 20, 65_535, 100_000, 65_535);
    (limits.elements, limits.parameters, limits.uri) = (1 << 20, 1 << 20, 1 << 20);
    for value in [
        fill(","),
        fill(";"),
        fill("\""),
        fill("\\"),
        fill("\"\\"),
        fill("<"),
        fill(">"),
        fill("("),
        fill("%"),
        fill("%4"),
        fill(" "),
        fill("\r\n "),
        fill("\r\n ,"),
        fill(";a=\""),
        fill(";a=b"),
        fill("<sip:a@b>,"),
        fill("\"\","),
        fill("a,b;"),
        fill("sip:"),
        fill("@"),
        fill(":"),
        fill("?"),
        fill("&"),
        fill("="),
        fill("["),
        fill("/"),
        fill("a/"),
        fill("SIP/2.0/UDP h,"),
        format!("<sip:a@b{}>", fill(";x=y")),
        format!("<sip:a@b?{}>", fill("x=y&")),
        format!("\"{}\" <sip:a@b>", fill("\\\"")),
        format!("SIP/2.0/UDP h{}", fill(";x=y")),
        format!("a;to-tag=1;from-tag=2{}", fill(";x")),
        fill("a;to-tag=1"),
        format!("Digest {}", fill("a=\"b\",")),
        format!("abc;info=<a:b>{}", fill(";x")),
        fill("1.").trim_end_matches('.').to_string(),
    ] {
        for name in [
            "Via",
            "Contact",
            "To",
            "Route",
            "Accept",
            "Authorization",
            "Identity",
            "Replaces",
            "Privacy",
            "Date",
            "Warning",
            "History-Info",
            "User-to-User",
            "P-Charging-Vector",
            "Content-Type",
            "X-Unknown",
        ] {
            let text = format!("{HEAD}{name}: {value}\r\n\r\n");
            let Ok(message) = Message::parse(text.into(), &limits) else { continue };
            if let Message::Request(request) = &message {
                let _ = request.check_within(&limits);
            }
            if let Some(known) = sip_message::HeaderName::find(name.as_bytes()) {
                let _ = message.headers().reprint(known);
            }
        }
        let _ = (value.parse::<Uri>(), format!("tel:+1{value}").parse::<Tel>());
    }
    // URIs of many parameters and headers, compared with the same in another order
    let params = |from: u32| (0..10_000).map(|n| format!(";p{}=v", (n + from) % 10_000)).collect::<String>();
    let (one, other): (Uri, Uri) =
        (format!("sip:h{}", params(0)).parse().unwrap(), format!("sip:h{}", params(7)).parse().unwrap());
    assert!(one.equivalent(&other));
    // many lines of one name, many folds, and bodies of many boundaries
    let lines = format!("{HEAD}{}\r\n", "Via: SIP/2.0/UDP h\r\n".repeat(50_000));
    assert_eq!(Message::parse(lines.into(), &limits).unwrap().headers().all::<Via>().count(), 50_001);
    for piece in
        ["--b\r\n", "--b", "\r\n--b", "--b--x\r\n", "--b \r\n\r\n", "\r\n--", "\n", "--b\r\nA: b\r\n\r\n"]
    {
        let body = piece.repeat((1 << 20) / piece.len());
        let _ = entity("multipart/mixed;boundary=b", body, &limits);
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
