//! What a message can make us allocate: no shape of at most 64 KiB more than a mebibyte, and no number in it anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use allocation_counter::measure;
use sip_message::framing::StreamDecoder;
use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message};

const HEAD: &str = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 7\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\n";
const MEBIBYTE: u64 = 1 << 20;

/// Parses, checks, reads every field with its type, answers and prints; the most that was allocated at a time.
fn work(text: &str) -> u64 {
    let octets = bytes::Bytes::copy_from_slice(text.as_bytes());
    measure(|| {
        let limits = Limits::default();
        let Ok(message) = Message::parse(octets.clone(), &limits) else { return };
        if let Message::Request(request) = &message {
            if let Err(error) = request.check_for_user_agent() {
                let answer = request.reply(error.status).reason(&error.reason).to_tag("x").build();
                drop(answer.map(|answer| answer.to_bytes()));
            }
            drop(request.entity(&limits));
        }
        for name in HeaderName::all() {
            drop(message.headers().reprint(name));
        }
        let _ = message.headers().all::<Via>().count();
        drop(message.to_bytes());
    })
    .bytes_max
}

/// A thousand Vias, ten thousand fields, a field of 64 KiB, a hundred URI parameters, ten thousand Accept values, and
/// their like.
#[test]
fn no_shape_takes_more_than_a_mebibyte() {
    let shapes = [
        ("Vias", "Via: SIP/2.0/UDP h;branch=z9hG4bK2\r\n".repeat(1_000)),
        ("Vias on a line", format!("Via: {}\r\n", "SIP/2.0/UDP h,".repeat(4_000))),
        ("fields", "x:\r\n".repeat(10_000)),
        ("unnamed fields", ":\r\n".repeat(20_000)),
        ("a long field", format!("Subject: {}\r\n", "x".repeat(65_000))),
        ("URI parameters", format!("Contact: <sip:a@b{}>\r\n", ";x=y".repeat(100))),
        ("more URI parameters", format!("Contact: <sip:a@b{}>\r\n", ";x".repeat(16_000))),
        ("Accept values", format!("Accept: {}\r\n", "a/b,".repeat(10_000))),
        ("Accept lines", "Accept: a/b\r\n".repeat(4_000)),
        ("Contacts", format!("m: {}\r\n", "<sip:a>,".repeat(7_000))),
        ("authentication parameters", format!("Authorization: Digest {}\r\n", "a=b,".repeat(15_000))),
        ("folds", format!("Subject: {}\r\n", "\r\n x".repeat(15_000))),
        ("parts", format!("Content-Type: multipart/mixed;boundary=b\r\n\r\n{}", "--b\r\n\r\n".repeat(8_000))),
    ];
    for (what, lines) in shapes {
        let most = work(&format!("{HEAD}{lines}\r\n"));
        assert!(most <= MEBIBYTE, "{what}: {most} octets");
    }
}

/// A number says nothing about memory (sipgo once allocated what Content-Length announced).
#[test]
fn numbers_allocate_nothing() {
    let plain = work(&format!("{HEAD}Content-Length: 0\r\n\r\n"));
    for field in [
        "Content-Length: 2147483648",
        "Content-Length: 18446744073709551615",
        "Content-Length: 99999999999999999999999999",
        "Expires: 4294967295",
        "Max-Breadth: 4294967295",
        "RSeq: 4294967295",
        "Timestamp: 99999999999999999999.99999999999999999999",
    ] {
        let most = work(&format!("{HEAD}{field}\r\n\r\n"));
        assert!(most <= plain + 1_024, "{field}: {most} octets, {plain} without");
    }
}

/// A stream holds what came, and no more than one message of it.
#[test]
fn a_stream_holds_what_came() {
    let announced = format!("{HEAD}Content-Length: 60000\r\n\r\n");
    let most = measure(|| {
        let mut decoder = StreamDecoder::new(Limits::default());
        decoder.push(announced.as_bytes());
        assert_eq!(decoder.next_frame(), Ok(None));
    })
    .bytes_max;
    assert!(most < 4_096, "{most} octets for a body that has not come");
    let most = measure(|| {
        let mut decoder = StreamDecoder::new(Limits::default());
        for _ in 0..100_000 {
            decoder.push(b"x: never ending\r\n");
            if decoder.next_frame().is_err() {
                return;
            }
        }
        panic!("a head without end was read on");
    })
    .bytes_max;
    assert!(most <= MEBIBYTE, "{most} octets");
}
