//! Streams: the same messages come out, however the octets were chunked (RFC 3261 §7.5, §18.3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{INVITE, request};
use proptest::prelude::*;
use sip_message::framing::{Frame, FramingError, StreamDecoder};
use sip_message::{Limits, Message, ParseErrorKind};

/// The frames of a stream that arrives in these chunks.
fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Frame>, FramingError> {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    assert_eq!(decoder.buffered(), 0, "nothing is left over");
    Ok(frames)
}

/// Without pongs, of which a ping that came in two halves shows one more.
fn without_pongs(frames: Vec<Frame>) -> Vec<Frame> {
    frames.into_iter().filter(|frame| *frame != Frame::Pong).collect()
}

fn ok(lengths: &str) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\n\
         CSeq: 1 INVITE\r\n{lengths}\r\n"
    )
}

#[test]
fn a_stream_split_at_every_octet_gives_the_same_messages() {
    let stream = format!("\r\n\r\n{INVITE}\r\n{INVITE}\r\n\r\n\r\n\r\n{}", ok("l: 0\r\n"));
    let whole = without_pongs(frames([stream.as_bytes()]).unwrap());
    let kinds: Vec<_> = whole.iter().map(|frame| matches!(frame, Frame::Ping)).collect();
    assert_eq!(kinds, [true, false, false, true, true, false]);
    let Frame::Message(first) = &whole[1] else { panic!() };
    assert_eq!(first.to_bytes(), INVITE.as_bytes());
    for at in 0..=stream.len() {
        let (one, two) = stream.as_bytes().split_at(at);
        assert_eq!(without_pongs(frames([one, two]).unwrap()), whole, "split at {at}");
    }
    assert_eq!(without_pongs(frames(stream.as_bytes().chunks(1)).unwrap()), whole);
}

/// RFC 5626 §4.4.1: a client that asked waits for one CRLF and must see it before anything else arrives.
#[test]
fn a_pong_is_told_at_once_and_a_ping_in_halves_is_told_too() {
    assert_eq!(frames([&b"\r\n"[..]]).unwrap(), [Frame::Pong]);
    assert_eq!(frames([&b"\r"[..], b"\n"]).unwrap(), [Frame::Pong]);
    assert_eq!(frames([&b"\r\n"[..], b"\r\n"]).unwrap(), [Frame::Pong, Frame::Ping]);
    assert_eq!(frames([&b"\r\n\r"[..], b"\n"]).unwrap(), [Frame::Pong, Frame::Ping]);
    assert_eq!(frames([&b"\r"[..], b"\n\r\n"]).unwrap(), [Frame::Ping]);
}

/// RFC 3261 §18.3: on a stream Content-Length must be there; without one there is no way to go on.
#[test]
fn missing_malformed_and_contradictory_lengths_end_the_stream() {
    for lengths in [
        "",
        "Content-Length: five\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 3\r\nl: 4\r\n",
        "l: 1, 2\r\n",
    ] {
        match frames([ok(lengths).as_bytes()]) {
            Err(FramingError::ContentLength(message)) => assert_eq!(message.headers().text("i"), Some("1")),
            other => panic!("{lengths:?}: {other:?}"),
        }
    }
    let twice = frames([ok("Content-Length: 0\r\nl: 0\r\n").as_bytes()]).unwrap();
    assert_eq!(twice.len(), 1, "two equal lengths say the same");
}

#[test]
fn what_passes_the_limits_ends_the_stream_before_it_is_buffered() {
    match frames([ok("Content-Length: 65530\r\n").as_bytes()]) {
        Err(FramingError::TooLarge { announced, limit, .. }) => assert!(announced > limit),
        other => panic!("{other:?}"),
    }
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut pushed = 0;
    let error = loop {
        decoder.push(b"INVITE sip:endless");
        pushed += 18;
        match decoder.next_frame() {
            Ok(None) => assert!(pushed <= Limits::MESSAGE + 18),
            Ok(Some(frame)) => panic!("{frame:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, FramingError::Parse(error) if error.kind == ParseErrorKind::MessageTooLong(Limits::MESSAGE))
    );
}

#[test]
fn garbage_ends_the_stream() {
    assert!(matches!(frames([&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]]), Err(FramingError::Parse(_))));
    assert!(matches!(frames([&b"\x16\x03\x01\x02\0\r\n\r\n"[..]]), Err(FramingError::Parse(_))));
}

proptest! {
    #[test]
    fn random_chunks_give_the_same_messages(
        requests in prop::collection::vec(request(), 1..4),
        cuts in prop::collection::vec(1..60usize, 1..40),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|request| request.to_bytes()).collect();
        let mut rest = &stream[..];
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, more) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = more;
        }
        let expected: Vec<Frame> = requests.into_iter().map(|one| Frame::Message(Message::Request(one))).collect();
        prop_assert_eq!(frames(chunks).unwrap(), expected);
    }

    #[test]
    fn any_octets_are_framed_or_refused(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8)) {
        let mut decoder = StreamDecoder::new(Limits::default());
        for chunk in &chunks {
            decoder.push(chunk);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}

/// RFC 5626 §4.4.1: over a connection that a client opened, its pings are answered one by one.
#[test]
fn two_pongs_are_no_ping_for_who_opened_the_connection() {
    for (mut decoder, second) in [
        (StreamDecoder::of_opener(Limits::default()), Frame::Pong),
        (StreamDecoder::new(Limits::default()), Frame::Ping),
    ] {
        decoder.push(b"\r\n");
        assert_eq!(decoder.next_frame(), Ok(Some(Frame::Pong)));
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.push(b"\r\n");
        assert_eq!(decoder.next_frame(), Ok(Some(second)));
        decoder.push(b"\r\n\r\n");
        assert_eq!(decoder.next_frame(), Ok(Some(Frame::Ping)), "a whole one is told by either");
    }
}
