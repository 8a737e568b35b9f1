//! A datagram: read or refused; what is read prints stably, answers as one message, and takes a proxy's edits.
#![no_main]

mod edits;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_message::headers::*;
use sip_message::{HeaderName, Layout, Limits, Message, StatusCode};

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
    let read = Message::parse(Bytes::copy_from_slice(octets), &limits);
    edits::within(octets, &read);
    let Ok(message) = read else { return };
    edits::apply(&message);
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

    // One pass and the typed fields say the same.
    let short = headers.essentials();
    if let Ok(via) = headers.require::<Via>() {
        assert_eq!(short.via.and_then(|via| via.branch), via.branch());
    }
    if let (Ok(from), Ok(to)) = (headers.require::<From>(), headers.require::<To>()) {
        assert_eq!((short.from_tag, short.to_tag), (from.tag(), to.tag()));
    }
    if let Ok(cseq) = headers.require::<CSeq>() {
        assert!(short.method().is_none_or(|method| method == cseq.method));
    }
    assert_eq!(short.call_id, headers.get::<CallId>().ok().flatten().as_ref().map(CallId::as_str));
    // Into memory that is too small by one, and that is large enough.
    let length = message.to_bytes().len();
    let mut memory = vec![0; length + 4];
    assert_eq!(message.write_into(&mut memory), Ok(length));
    assert!(message.write_into(&mut memory[..length.saturating_sub(1)]).is_err());

    let wire = message.to_bytes();
    let again = Message::parse(wire.clone(), &limits);
    if wire.len() <= limits.message {
        let again = again.expect("what was printed is a message");
        assert_eq!(again, message);
        assert_eq!(again.to_bytes(), wire);
    }
    match message {
        Message::Response(mut response) => {
            let valid = response.check().is_ok();
            response.headers.set(&Server::new("fuzz"));
            for layout in [Layout::Canonical, Layout::Compact] {
                let again = Message::parse(response.print(layout), &limits);
                assert!(
                    !valid
                        || again.is_ok_and(
                            |read| matches!(read, Message::Response(read) if read.check().is_ok())
                        )
                );
            }
        }
        Message::Request(mut request) => {
            let valid = request.check().is_ok();
            let reply = request.reply(StatusCode::BAD_REQUEST).to_tag("t").build().expect("a reply");
            if let Ok(read) = Message::parse(reply.to_bytes(), &limits) {
                assert_eq!(read, Message::Response(reply));
            }
            let _ = request.check_for_user_agent();
            for layout in [Layout::Canonical, Layout::Compact] {
                let again = Message::parse(request.print(layout), &limits);
                assert!(
                    !valid
                        || again
                            .is_ok_and(|read| matches!(read, Message::Request(read) if read.check().is_ok()))
                );
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
