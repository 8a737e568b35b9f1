//! Every message of RFC 4975 and RFC 4976, read and printed again. The texts have LF, the wire has CRLF. Lines that the RFCs fold
//! are whole, and the one end-line that RFC 4976 §3 forgets is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use msrp::framing::{Decoder, Event};
use msrp::{ByteRange, FailureReport, Flag, Head, HeadWriter, Method, Start, StatusCode};

type Whole = (Head, Vec<u8>, Flag);

fn read(stream: &[u8], piece: usize) -> Vec<Whole> {
    let mut decoder = Decoder::default();
    let (mut all, mut current) = (Vec::new(), None);
    for octets in stream.chunks(piece) {
        decoder.push(octets);
        while let Some(event) = decoder.next_event().unwrap() {
            match event {
                Event::Start(head) => current = Some((head, Vec::new())),
                Event::Body(octets) => current.as_mut().unwrap().1.extend_from_slice(&octets),
                Event::End(flag) => {
                    let (head, body) = current.take().unwrap();
                    all.push((head, body, flag));
                }
            }
        }
    }
    assert!(decoder.is_between());
    all
}

/// Printed anew, from nothing but values.
fn print((head, body, flag): &Whole) -> Vec<u8> {
    let mut writer = match head.start() {
        Start::Request(method) => HeadWriter::request(head.transaction(), method),
        Start::Response(status) => HeadWriter::response(head.transaction(), *status, head.comment()),
    };
    for (name, value) in head.fields() {
        let typed = match name {
            "To-Path" => head.to_path().unwrap().to_string(),
            "From-Path" => head.from_path().unwrap().to_string(),
            "Use-Path" => head.use_path().unwrap().to_string(),
            "Message-ID" => head.message_id().unwrap().unwrap().to_string(),
            "Byte-Range" => head.byte_range().unwrap().unwrap().to_string(),
            "Status" => head.status().unwrap().unwrap().to_string(),
            "Failure-Report" => head.failure_report().unwrap().as_str().to_owned(),
            "Success-Report" => (if head.success_report().unwrap() { "yes" } else { "no" }).to_owned(),
            "Expires" => head.expires().unwrap().unwrap().to_string(),
            _ => value.to_owned(),
        };
        writer = writer.field(name, &typed).unwrap();
    }
    if head.has_body() { writer.with_body(body, *flag) } else { writer.without_body(*flag) }.to_vec()
}

fn check(text: &str, count: usize) -> Vec<Whole> {
    let wire = text.replace('\n', "\r\n").into_bytes();
    let all = read(&wire, wire.len());
    assert_eq!(all.len(), count);
    assert_eq!(all.iter().flat_map(print).collect::<Vec<u8>>(), wire);
    for piece in [1, 2, 3, 7, 64] {
        let again = read(&wire, piece);
        assert_eq!(again.iter().flat_map(print).collect::<Vec<u8>>(), wire);
    }
    all
}

#[test]
fn every_message_of_rfc_4975_is_read_and_printed_equal() {
    let all = check(include_str!("data/rfc4975.txt"), 14);
    let (first, body, flag) = &all[0];
    assert_eq!(first.start(), &Start::Request(Method::Send));
    assert_eq!((body.as_slice(), *flag), (&b"Hey Bob, are you there?"[..], Flag::Complete));
    assert_eq!(first.byte_range().unwrap(), Some(ByteRange::whole(25)));
    assert_eq!(first.failure_report().unwrap(), FailureReport::Yes);
    let (chunk, body, flag) = &all[2];
    assert_eq!(chunk.byte_range().unwrap(), Some(ByteRange { start: 1, end: None, total: Some(8) }));
    assert_eq!((body.as_slice(), *flag), (&b"abcd"[..], Flag::Continued));
    let report = all[13].0.status().unwrap().unwrap();
    assert_eq!((report.namespace, report.code, report.comment.as_str()), (0, StatusCode::OK, "OK"));
}

#[test]
fn every_message_of_rfc_4976_is_read_and_printed_equal() {
    let all = check(include_str!("data/rfc4976.txt"), 21);
    let (auth, ..) = &all[9];
    assert_eq!(auth.start(), &Start::Request(Method::Auth));
    assert_eq!(auth.to_path().unwrap().first().unwrap().user(), Some("alice"));
    let (done, ..) = &all[12];
    assert_eq!(done.use_path().unwrap().to_string(), "msrps://intra.example.com:9000/jui787s2f;tcp");
    assert_eq!(done.expires().unwrap(), Some(900));
}
