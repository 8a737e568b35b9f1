//! Verdicts: numbers of every size in every field that has one, lengths, duplicates, what a user agent asks for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::INVITE;
use sip_message::framing::{FramingError, StreamDecoder};
use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message, ParseErrorKind, Request, Uri};

fn request(text: &str) -> Request {
    Request::parse(text.to_string().into(), &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Texts that are numbers, nearly, or not at all; `Some` is their value.
const NUMBERS: [(&str, Option<u128>); 28] = [
    ("", None),
    ("-1", None),
    ("-999", None),
    ("+5", None),
    ("0x10", None),
    ("1e3", None),
    ("5.0", None),
    ("5 5", None),
    ("five", None),
    ("٥", None),
    ("5\u{a0}", None),
    ("--5", None),
    ("0", Some(0)),
    ("00", Some(0)),
    ("0000000000000000000000000000000000000000000000007", Some(7)),
    ("1", Some(1)),
    ("255", Some(255)),
    ("256", Some(256)),
    ("65535", Some(65_535)),
    ("65536", Some(65_536)),
    ("2147483647", Some(2_147_483_647)),
    ("2147483648", Some(2_147_483_648)),
    ("4294967295", Some(4_294_967_295)),
    ("4294967296", Some(4_294_967_296)),
    ("4294967301", Some(4_294_967_301)),
    ("18446744073709551615", Some(18_446_744_073_709_551_615)),
    ("18446744073709551616", Some(18_446_744_073_709_551_616)),
    ("36893488147419103232", Some(36_893_488_147_419_103_232)),
];

/// What becomes of a number over the largest that a field takes.
#[derive(Clone, Copy)]
enum Over {
    Refused,
    Clamped,
}

/// The number that a field's parser should make of each text, against what it makes of it.
fn table(what: &str, largest: u128, over: Over, read: impl Fn(&str) -> Option<u128>) -> usize {
    for (text, value) in NUMBERS {
        let expected = match (value, over) {
            (Some(value), _) if value <= largest => Some(value),
            (Some(_), Over::Clamped) => Some(largest),
            _ => None,
        };
        assert_eq!(read(text), expected, "{what}: {text:?}");
    }
    NUMBERS.len()
}

/// RFC 4475 §3.1.2.4, §3.1.2.5: nothing wraps around, nothing is read as a sign, an exponent or a hexadecimal.
#[test]
fn numbers_of_every_size_in_every_field() {
    let u32_max = u128::from(u32::MAX);
    let cases = [
        table("CSeq", (1 << 31) - 1, Over::Refused, |text| {
            CSeq::parse(&format!("{text} INVITE")).ok().map(|cseq| cseq.number.into())
        }),
        table("Max-Forwards", 255, Over::Refused, |text| {
            MaxForwards::parse(text).ok().map(|hops| hops.0.into())
        }),
        table("Content-Length", u128::from(u64::MAX), Over::Refused, |text| {
            ContentLength::parse(text).ok().map(|length| length.0 as u128)
        }),
        table("Expires", u32_max, Over::Clamped, |text| {
            Expires::parse(text).ok().map(|seconds| seconds.0.into())
        }),
        table("Min-Expires", u32_max, Over::Clamped, |text| {
            MinExpires::parse(text).ok().map(|seconds| seconds.0.into())
        }),
        table("Retry-After", u32_max, Over::Clamped, |text| {
            RetryAfter::parse(text).ok().map(|after| after.seconds.into())
        }),
        table("Session-Expires", u32_max, Over::Clamped, |text| {
            SessionExpires::parse(text).ok().map(|timer| timer.seconds.into())
        }),
        table("Min-SE", u32_max, Over::Clamped, |text| {
            MinSe::parse(text).ok().map(|timer| timer.seconds.into())
        }),
        table("RSeq", u32_max, Over::Refused, |text| RSeq::parse(text).ok().map(|number| number.0.into())),
        table("RAck", u32_max, Over::Refused, |text| {
            RAck::parse(&format!("{text} 1 INVITE")).ok().map(|rack| rack.rseq.into())
        }),
        table("Max-Breadth", u32_max, Over::Refused, |text| {
            MaxBreadth::parse(text).ok().map(|breadth| breadth.0.into())
        }),
        table("Flow-Timer", u32_max, Over::Refused, |text| {
            FlowTimer::parse(text).ok().map(|seconds| seconds.0.into())
        }),
        table("port of a URI", 65_535, Over::Refused, |text| {
            format!("sip:h:{text}").parse::<Uri>().ok()?.port().map(Into::into)
        }),
        table("port of a Via", 65_535, Over::Refused, |text| {
            Via::parse(&format!("SIP/2.0/UDP h:{text}")).ok()?.port().map(Into::into)
        }),
        table("ttl", 255, Over::Refused, |text| {
            Via::parse(&format!("SIP/2.0/UDP h;ttl={text}")).ok()?.ttl().map(Into::into)
        }),
        table("rport", 65_535, Over::Refused, |text| {
            Via::parse(&format!("SIP/2.0/UDP h;rport={text}")).ok()?.rport()?.map(Into::into)
        }),
        table("cause", 65_535, Over::Refused, |text| {
            Reason::parse(&format!("SIP;cause={text}")).ok()?.cause().map(Into::into)
        }),
        table("counter", u32_max, Over::Refused, |text| {
            let diversion = Diversion::parse(&format!("<sip:a@b>;counter={text}")).ok()?;
            // one that is malformed counts as 1
            (diversion.counter() != 1 || text == "1").then(|| diversion.counter().into())
        }),
    ];
    let status = |text: &str| Message::parse(format!("SIP/2.0 {text} x\r\n\r\n").into(), &Limits::default());
    for (text, value) in NUMBERS {
        let fine = value.is_some_and(|value| (100..=699).contains(&value)) && text.len() == 3;
        assert_eq!(status(text).is_ok(), fine, "status {text:?}");
    }
    // RFC 3261 §10.2.1.1: a malformed expires parameter counts as 3600
    for (text, value) in NUMBERS {
        let Ok(contact) = Contact::parse(&format!("<sip:a@b>;expires={text}")) else { continue };
        assert_eq!(
            u128::from(contact.expires().unwrap()),
            value.map_or(3600, |value| value.min(u32_max)),
            "expires {text:?}"
        );
    }
    assert!(cases.iter().sum::<usize>() + 2 * NUMBERS.len() >= 300);
}

/// RFC 3261 §18.3 over a datagram and over a stream, for every number.
#[test]
fn every_content_length() {
    let body = "0123456789";
    let lines = |length: &str| {
        format!(
            "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nMax-Forwards: 7\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n{length}\r\n{body}"
        )
    };
    for (text, value) in NUMBERS {
        let wire = lines(&format!("Content-Length: {text}\r\n"));
        let verdict = request(&wire).check();
        let fits = value.filter(|&value| value <= body.len() as u128);
        match fits {
            Some(length) => {
                assert_eq!(verdict, Ok(()), "{text:?}");
                assert_eq!(request(&wire).body().len() as u128, length, "the rest is dropped");
            }
            None => {
                let error = verdict.expect_err(text);
                assert_eq!(
                    (error.status.code(), error.name),
                    (400, Some(HeaderName::CONTENT_LENGTH)),
                    "{text:?}"
                );
                assert!(request(&wire).body().len() <= body.len(), "nothing is made up");
            }
        }
        let mut stream = StreamDecoder::new(Limits::default());
        stream.push(wire.as_bytes());
        match (stream.next_frame(), value) {
            (Ok(Some(_)), Some(length)) => assert!(length <= 10, "{text:?}"),
            (Ok(None), Some(length)) => {
                assert!(length > 10 && length <= Limits::MESSAGE as u128, "waits for {text:?}")
            }
            (Err(FramingError::TooLarge { .. }), Some(length)) => assert!(length > 60_000, "{text:?}"),
            (Err(FramingError::ContentLength(_)), value) => {
                assert!(value.is_none_or(|value| value > u128::from(u64::MAX)), "{text:?}")
            }
            (other, _) => panic!("{text:?}: {other:?}"),
        }
    }
    // absent: the rest of a datagram; on a stream nobody knows
    assert_eq!(request(&lines("")).body().len(), 10);
    let mut stream = StreamDecoder::new(Limits::default());
    stream.push(lines("").as_bytes());
    assert!(matches!(stream.next_frame(), Err(FramingError::ContentLength(_))));
    // twice: equal is harmless, different smuggles
    assert_eq!(request(&lines("l: 10\r\nContent-Length: 10\r\n")).check(), Ok(()));
    for twice in ["l: 10\r\nContent-Length: 5\r\n", "l: 5\r\nl: 10\r\n", "l: 10\r\nl: x\r\n"] {
        assert_eq!(request(&lines(twice)).check().unwrap_err().status.code(), 400, "{twice}");
    }
}

/// RFC 3261 §7.3.1: fields that stand once, each given twice.
#[test]
fn every_field_that_stands_once_given_twice() {
    for (line, twice) in [
        ("Expires: 5", true),
        ("Max-Breadth: 5", true),
        ("Content-Disposition: session", true),
        ("Content-ID: <a@b>", true),
        ("Session-Expires: 90", true),
        ("Min-SE: 90", true),
        ("Event: presence", true),
        ("Refer-To: <sip:a@b>", true),
        ("Referred-By: <sip:a@b>", true),
        ("Replaces: a;to-tag=1;from-tag=2", true),
        ("Join: a;to-tag=1;from-tag=2", true),
        ("Target-Dialog: a;local-tag=1;remote-tag=2", true),
        ("SIP-If-Match: x", true),
        ("Info-Package: x", true),
        ("Session-ID: ab30317f1a784dc48ff824d0d3715d86", true),
        // These may: they are lists, challenges, or only inform.
        ("Supported: a", false),
        ("Route: <sip:a@b;lr>", false),
        ("Authorization: Digest username=\"a\"", false),
        ("Subject: a", false),
        ("X-Trace: a", false),
    ] {
        let once = INVITE.replacen("Supported:", &format!("{line}\r\nSupported:"), 1);
        assert_eq!(request(&once).check(), Ok(()), "{line}");
        let again = once.replacen("Supported:", &format!("{line}\r\nSupported:"), 1);
        assert_eq!(request(&again).check().is_err(), twice, "{line} twice");
    }
}

/// What a user agent asks of each method, and the status that its RFC names.
#[test]
fn what_user_agents_ask_for() {
    let message = |method: &str, lines: &str| {
        format!(
            "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 7\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{lines}Content-Length: 0\r\n\r\n"
        )
    };
    let contact = "Contact: <sip:a@b>\r\n";
    for (method, lines, status, name) in [
        ("INVITE", contact, 0, ""),
        ("INVITE", "", 400, "Contact"),
        ("INVITE", "Contact: *\r\n", 400, "Contact"),
        ("INVITE", "Contact: <sip:a@b>, <sip:c@d>\r\n", 400, "Contact"),
        ("INVITE", "Contact: <sip:a@b\r\n", 400, "Contact"),
        ("INVITE", "Contact: <sip:a@b>\r\nReplaces: a;to-tag=1\r\n", 400, "Replaces"),
        (
            "INVITE",
            "Contact: <sip:a@b>\r\nReplaces: a;to-tag=1;from-tag=2\r\nJoin: a;to-tag=1;from-tag=2\r\n",
            400,
            "Join",
        ),
        ("INVITE", "Contact: <sip:a@b>\r\nRequire: a b\r\n", 400, "Require"),
        ("UPDATE", "", 400, "Contact"),
        ("REGISTER", "", 0, ""),
        ("REGISTER", "Contact: *\r\nExpires: 0\r\n", 0, ""),
        ("REGISTER", "Contact: *\r\nExpires: 5\r\n", 400, "Contact"),
        ("REGISTER", "Contact: *\r\n", 400, "Contact"),
        ("REGISTER", "Contact: *, <sip:a@b>\r\nExpires: 0\r\n", 400, "Contact"),
        ("PRACK", "RAck: 1 1 INVITE\r\n", 0, ""),
        ("PRACK", "", 400, "RAck"),
        ("PRACK", "RAck: 1 INVITE\r\n", 400, "RAck"),
        ("REFER", "Contact: <sip:a@b>\r\nr: <sip:c@d>\r\n", 0, ""),
        ("REFER", contact, 400, "Refer-To"),
        ("SUBSCRIBE", "Contact: <sip:a@b>\r\no: presence\r\n", 0, ""),
        ("SUBSCRIBE", contact, 489, "Event"),
        ("PUBLISH", "", 489, "Event"),
        ("NOTIFY", "Event: refer\r\n", 400, "Subscription-State"),
        ("NOTIFY", "Event: refer\r\nSubscription-State: active\r\n", 0, ""),
        ("INFO", "", 0, ""),
        ("BYE", "", 0, ""),
        ("X", "", 0, ""),
    ] {
        let request = request(&message(method, lines));
        assert_eq!(request.check(), Ok(()), "a proxy does not ask: {method} {lines}");
        match request.check_for_user_agent() {
            Ok(()) => assert_eq!(status, 0, "{method} {lines}"),
            Err(error) => {
                let found = (error.status.code(), error.name.map_or("", HeaderName::as_str));
                assert_eq!(found, (status, name), "{method} {lines}");
                assert!(error.section.starts_with("RFC "));
            }
        }
    }
}

/// RFC 3261 §21: what cannot be framed has a status too, where somebody can be told.
#[test]
fn parse_errors_have_a_status() {
    assert_eq!(ParseErrorKind::MessageTooLong(1).status().code(), 513);
    assert_eq!(ParseErrorKind::StartLineTooLong(1).status().code(), 414);
    assert_eq!(ParseErrorKind::TooManyFields(1).status().code(), 400);
}
