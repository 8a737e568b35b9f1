//! A datagram: read or refused; what is read prints stably, answers as one message, and takes a proxy's edits.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message, StatusCode};

fn all<H: Header + PartialEq + std::fmt::Debug>(headers: &Headers) {
    for header in headers.all::<H>().flatten() {
        let mut text = String::new();
        header.write(&mut text);
        assert!(!text.contains(['\r', '\n']), "a value stays on its line: {text:?}");
        let _ = H::parse(&text);
    }
}

fuzz_target!(|octets: &[u8]| {
    let limits = Limits::default();
    let Ok(message) = Message::parse(Bytes::copy_from_slice(octets), &limits) else { return };
    let headers = message.headers();
    all::<Via>(headers);
    all::<From>(headers);
    all::<To>(headers);
    all::<Contact>(headers);
    all::<Route>(headers);
    all::<RecordRoute>(headers);
    all::<CSeq>(headers);
    all::<ContentType>(headers);
    all::<Event>(headers);
    all::<Reason>(headers);
    all::<RetryAfter>(headers);
    all::<Supported>(headers);
    all::<WwwAuthenticate>(headers);
    all::<Authorization>(headers);
    all::<AuthenticationInfo>(headers);

    let wire = message.to_bytes();
    let again = Message::parse(wire.clone(), &limits);
    if wire.len() <= limits.message {
        let again = again.expect("what was printed is a message");
        assert_eq!(again, message);
        assert_eq!(again.to_bytes(), wire);
    }
    match message {
        Message::Response(response) => {
            let _ = response.check();
        }
        Message::Request(mut request) => {
            let valid = request.check().is_ok();
            let reply = request.reply(StatusCode::BAD_REQUEST).to_tag("t").build().expect("a reply");
            if let Ok(read) = Message::parse(reply.to_bytes(), &limits) {
                assert_eq!(read, Message::Response(reply));
            }
            let vias = request.headers.count(HeaderName::VIA);
            let own = Via::new("UDP", "192.0.2.1", None).with_param("branch", Some("z9hG4bKown"));
            request.headers.push_front(&own);
            let _ = request.headers.update_first::<MaxForwards>(|hops| hops.0 = hops.0.saturating_sub(1));
            let _ = request.headers.pop_front::<Route>();
            assert_eq!(request.headers.count(HeaderName::VIA), vias + 1);
            if let Ok(Message::Request(mut read)) = Message::parse(request.to_bytes(), &limits) {
                assert_eq!(read, request);
                assert!(!valid || read.check().is_ok(), "a valid request stays valid");
                assert_eq!(read.headers.pop_front::<Via>(), Ok(Some(own)));
            }
        }
    }
});
