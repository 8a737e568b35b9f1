//! What is printed is read; what is read is the same as a second reader has it, written from the grammar of RFC 4975 §9 alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use msrp::file::{FileRange, FileSelector, Sha1Hash};
use msrp::framing::{Decoder, Event};
use msrp::sdp::{Chatroom, MediaTypes};
use msrp::{
    ByteRange, FailureReport, Flag, Head, HeadWriter, Ident, Method, Path, Start, Status, StatusCode, Uri,
};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    transaction: String,
    word: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    flag: u8,
}

/// The second reader: lines, then the end-line. Takes one message off a stream that holds it whole.
fn second(stream: &mut &[u8]) -> Plain {
    fn line<'a>(stream: &mut &'a [u8]) -> &'a str {
        let end = stream.windows(2).position(|two| two == b"\r\n").unwrap();
        let line = std::str::from_utf8(&stream[..end]).unwrap();
        *stream = &stream[end + 2..];
        line
    }
    let first: Vec<&str> = line(stream).splitn(3, ' ').collect();
    let [_, transaction, word] = first[..] else { panic!("a start line has three parts") };
    let mut fields = Vec::new();
    loop {
        let this = line(stream);
        if let Some(flag) = this.strip_prefix(&format!("-------{transaction}")) {
            let (transaction, word) = (transaction.into(), word.into());
            return Plain { transaction, word, fields, body: None, flag: flag.as_bytes()[0] };
        }
        if this.is_empty() {
            break;
        }
        let (name, value) = this.split_once(": ").unwrap();
        fields.push((name.into(), value.into()));
    }
    for flag in *b"$+#" {
        let end = [b"\r\n-------", transaction.as_bytes(), &[flag], b"\r\n"].concat();
        if let Some(at) = stream.windows(end.len()).position(|window| window == end) {
            let body = stream[..at].to_vec();
            *stream = &stream[at + end.len()..];
            return Plain {
                transaction: transaction.into(),
                word: word.into(),
                fields,
                body: Some(body),
                flag,
            };
        }
    }
    panic!("no end-line")
}

fn first(stream: &[u8], sizes: &[usize]) -> Vec<Plain> {
    let (mut decoder, mut all) = (Decoder::default(), Vec::<Plain>::new());
    let (mut rest, mut sizes) = (stream, sizes.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        rest = later;
        decoder.push(now);
        while let Some(event) = decoder.next_event().unwrap() {
            match event {
                Event::Start(head) => all.push(plain(&head)),
                Event::Body(octets) => {
                    all.last_mut().unwrap().body.as_mut().unwrap().extend_from_slice(&octets)
                }
                Event::End(flag) => all.last_mut().unwrap().flag = flag.octet(),
            }
        }
    }
    assert!(decoder.is_between());
    all
}

fn plain(head: &Head) -> Plain {
    let word = match head.start() {
        Start::Request(method) => method.as_str().to_owned(),
        Start::Response(status) if head.comment().is_empty() => status.to_string(),
        Start::Response(status) => format!("{status} {}", head.comment()),
    };
    let fields = head.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let body = head.has_body().then(Vec::new);
    Plain { transaction: head.transaction().to_string(), word, fields, body, flag: 0 }
}

fn ident() -> impl Strategy<Value = Ident> {
    "[a-zA-Z0-9][a-zA-Z0-9.+%=-]{3,31}".prop_map(|text| text.parse().unwrap())
}

fn uri() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-z][a-z0-9.-]{0,20}[a-z]",
        Just("192.0.2.7".to_owned()),
        Just("[2001:db8::9]".to_owned()),
        "[a-z]{1,5}%[0-9A-F]{2}[a-z]{0,4}",
    ];
    let user = proptest::option::of("[a-z0-9.~!$&'()*+,;=:-]{0,8}");
    let port = proptest::option::of(1u16..);
    let session = proptest::option::of("[a-zA-Z0-9._~+=/-]{1,20}");
    (any::<bool>(), user, host, port, session, "tcp|TCP|sctp9", "(;[a-z!#]{1,4}(=[a-z0-9]{1,4})?){0,2}")
        .prop_map(|(secure, user, host, port, session, transport, parameters)| {
            let scheme = if secure { "msrps" } else { "msrp" };
            let user = user.map(|user| format!("{user}@")).unwrap_or_default();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let session = session.map(|session| format!("/{session}")).unwrap_or_default();
            format!("{scheme}://{user}{host}{port}{session};{transport}{parameters}")
        })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = ("X-[a-zA-Z]{1,8}", "([!-~\u{e9}\u{4e2d}]([ -~]{0,20}[!-~])?)?");
    let body = proptest::option::of(prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "(\r\n|-------|[-a-f$+#\r\n\0]){0,60}".prop_map(String::into_bytes),
    ]);
    let flag = prop_oneof![Just(Flag::Complete), Just(Flag::Continued), Just(Flag::Aborted)];
    (ident(), uri(), uri(), proptest::collection::vec(field, 0..4), body, flag, any::<bool>()).prop_map(
        |(id, to, from, fields, body, flag, response)| {
            let mut writer = if response {
                HeadWriter::response(id, StatusCode::NO_SESSION, "No Such Session")
            } else {
                HeadWriter::request(id, &Method::Send)
            };
            writer = writer.field("To-Path", &to).unwrap().field("From-Path", &from).unwrap();
            for (name, value) in fields {
                writer = writer.field(&name, &value).unwrap();
            }
            let clash = format!("-------{id}");
            let body = body.filter(|body| {
                !response && !body.windows(clash.len()).any(|window| window == clash.as_bytes())
            });
            match body {
                None if response => writer.without_body(Flag::Complete),
                None => writer.without_body(flag),
                Some(body) => writer.field("Content-Type", "text/plain").unwrap().with_body(&body, flag),
            }
            .to_vec()
        },
    )
}

proptest! {
    #[test]
    fn two_readers_agree_however_the_stream_is_cut(
        messages in proptest::collection::vec(message(), 1..5),
        sizes in proptest::collection::vec(1usize..80, 1..6),
    ) {
        let stream = messages.concat();
        let mut rest = stream.as_slice();
        let expected: Vec<Plain> = messages.iter().map(|_| second(&mut rest)).collect();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(&first(&stream, &sizes), &expected);
        prop_assert_eq!(&first(&stream, &[stream.len()]), &expected);
    }

    #[test]
    fn uris_are_printed_as_they_were_read(text in uri()) {
        let uri: Uri = text.parse().unwrap();
        prop_assert_eq!(uri.to_string(), text.clone());
        // In other letters, with another user, it is the same session.
        let (scheme, rest) = text.split_once("://").unwrap();
        let other: Uri = format!("{}://x@{}", scheme.to_uppercase(), rest.rsplit('@').next().unwrap()).parse().unwrap();
        prop_assert_eq!(&uri, &other);
        prop_assert_eq!(uri.is_secure(), scheme == "msrps");
    }

    #[test]
    fn no_text_does_harm(text in "\\PC{0,60}|msrps?://[a-z:@;/=%\\[\\].0-9]{0,30}") {
        if let Ok(uri) = text.parse::<Uri>() { prop_assert_eq!(uri.to_string().parse::<Uri>().unwrap(), uri); }
        if let Ok(path) = text.parse::<Path>() { prop_assert_eq!(path.to_string().parse::<Path>().unwrap(), path); }
        if let Ok(value) = text.parse::<Status>() { prop_assert_eq!(value.to_string(), text.clone()); }
        if let Ok(value) = text.parse::<MediaTypes>() { prop_assert_eq!(value.to_string(), text.clone()); }
        if let Ok(value) = text.parse::<Chatroom>() { prop_assert_eq!(value.to_string(), text.clone()); }
        if let Ok(value) = text.parse::<FileSelector>() {
            prop_assert_eq!(value.to_string().parse::<FileSelector>().unwrap(), value);
        }
    }

    #[test]
    fn values_are_read_as_they_were_printed(
        start in any::<u64>(), end in any::<Option<u64>>(), total in any::<Option<u64>>(), hash in any::<[u8; 20]>(),
        name in proptest::option::of("\\PC{1,20}"), stop in proptest::option::of(1u64..1_000), failure in 0usize..3,
    ) {
        let range = ByteRange { start, end, total };
        prop_assert_eq!(range.to_string().parse::<ByteRange>().unwrap(), range);
        let range = FileRange { start: 1, stop };
        prop_assert_eq!(range.to_string().parse::<FileRange>().unwrap(), range);
        let selector = FileSelector {
            name, size: end, hash: Some(Sha1Hash(hash)), media_type: Some("image/png;a=\"b c\"".into()),
        };
        prop_assert_eq!(selector.to_string().parse::<FileSelector>().unwrap(), selector);
        let failure = [FailureReport::Yes, FailureReport::No, FailureReport::Partial][failure];
        prop_assert_eq!(failure.as_str().parse::<FailureReport>().unwrap(), failure);
    }
}
