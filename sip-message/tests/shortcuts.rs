//! What is quick must be what is thorough: one pass over a message reads what the typed fields read, and octets that
//! are shared are those that a copy would have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use bytes::Bytes;
use common::{INVITE, request};
use proptest::prelude::*;
use sip_message::headers::{CSeq, CallId, Contact, From, MaxForwards, RecordRoute, Route, To, Via};
use sip_message::{Headers, Limits, Message, Request, StatusCode};

fn parse(octets: &[u8]) -> Option<Message> {
    Message::parse(Bytes::copy_from_slice(octets), &Limits::default()).ok()
}

/// Wherever the strict grammar reads a field, the one pass reads the same from it.
fn essentials_agree(headers: &Headers) {
    let short = headers.essentials();
    if let Ok(Some(via)) = headers.get::<Via>() {
        let top = short.via.expect("a top Via");
        let parts = (top.transport, top.host, top.port, top.branch);
        assert_eq!(parts, (via.transport(), via.host(), via.port(), via.branch()));
    }
    if let Ok(Some(cseq)) = headers.get::<CSeq>() {
        assert_eq!(short.cseq, Some((cseq.number, cseq.method.as_str())));
    }
    if let Ok(Some(id)) = headers.get::<CallId>() {
        assert_eq!(short.call_id, Some(id.as_str()));
    }
    if let Ok(Some(from)) = headers.get::<From>() {
        assert_eq!(short.from_tag, from.tag());
    }
    if let Ok(Some(to)) = headers.get::<To>() {
        assert_eq!(short.to_tag, to.tag());
    }
    if let Ok(Some(hops)) = headers.get::<MaxForwards>() {
        assert_eq!(short.max_forwards, Some(hops.0));
    }
    if let Ok(Some(route)) = headers.get::<Route>() {
        let (uri, parts) = (route.uri(), short.route.expect("a route"));
        assert_eq!((parts.text, parts.host, parts.port), (uri.as_str(), uri.host(), uri.port()));
    }
    if let Ok(Some(contact)) = headers.get::<Contact>() {
        let uri = contact.uri().map(|uri| (uri.as_str(), uri.host(), uri.port()));
        assert_eq!(short.contact.map(|parts| (parts.text, parts.host, parts.port)), uri);
    }
}

fn copied(message: &Message) -> Bytes {
    let mut out = Vec::new();
    message.write_to(&mut out);
    Bytes::from(out)
}

proptest! {
    #[test]
    fn essentials_agree_on_any_request(request in request()) {
        essentials_agree(&request.headers);
        let octets = request.to_bytes();
        let again = Request::parse(octets.clone(), &Limits::default()).unwrap();
        essentials_agree(&again.headers);
        prop_assert_eq!(again.headers.essentials(), request.headers.essentials());
        prop_assert_eq!(again.to_bytes(), octets);
    }

    #[test]
    fn a_damaged_message_is_read_alike(changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, "[ -~\r\n\t\\x00é]"), 1..12)) {
        let mut octets = INVITE.as_bytes().to_vec();
        for (at, kind, new) in changes {
            let at = at.index(octets.len());
            match kind {
                0 => octets[at] = new.as_bytes()[0],
                1 => octets.splice(at..at, new.bytes()).for_each(drop),
                _ => drop(octets.remove(at)),
            }
        }
        if let Some(message) = parse(&octets) {
            essentials_agree(message.headers());
            prop_assert_eq!(message.to_bytes(), copied(&message));
        }
    }
}

/// RFC 3261 §8.2.6.2: what a response takes from its request outlives it, and is the same octet by octet.
#[test]
fn a_response_keeps_the_lines_of_its_request() {
    let Some(Message::Request(request)) = parse(INVITE.as_bytes()) else { panic!("a request") };
    let via: Vec<Vec<u8>> = request.headers.raw("Via").map(<[u8]>::to_vec).collect();
    let response = request.reply(StatusCode::OK).to_tag("1").build().unwrap();
    drop(request);
    assert_eq!(response.headers.raw("Via").collect::<Vec<_>>(), via);
    assert_eq!(response.to_bytes(), copied(&Message::Response(response.clone())));
    let Some(Message::Response(again)) = parse(&response.to_bytes()) else { panic!("a response") };
    assert_eq!(again, response);
}

/// Lines of several messages, received, edited and no UTF-8, come together in one.
#[test]
fn lines_of_other_messages_are_copied_byte_for_byte() {
    let one = parse(b"OPTIONS sip:a SIP/2.0\r\nSubject: \xff one\r\nX-A: 1,\r\n 2\r\n\r\n").unwrap();
    let mut two = parse(b"OPTIONS sip:b SIP/2.0\r\nSubject: \xfe two\r\n\r\n").unwrap();
    two.headers_mut().push_raw("X-B", "edited").unwrap();
    let mut three = parse(b"OPTIONS sip:c SIP/2.0\r\nX-C: 3\r\n\r\n").unwrap();
    let headers = three.headers_mut();
    headers.copy_from(one.headers(), "X-A");
    headers.copy_from(two.headers(), "Subject");
    headers.copy_from(two.headers(), "X-B");
    headers.copy_from(one.headers(), "Subject");
    let expected: &[u8] =
        b"OPTIONS sip:c SIP/2.0\r\nX-C: 3\r\nX-A: 1,\r\n 2\r\nSubject: \xfe two\r\nX-B: edited\r\n\
        Subject: \xff one\r\n\r\n";
    assert_eq!(three.to_bytes(), expected);
}

/// Untouched octets are shared; the smallest edit of line, start line or body is seen.
#[test]
fn what_is_edited_is_printed_so() {
    let octets = Bytes::copy_from_slice(INVITE.as_bytes());
    let request = Request::parse(octets.clone(), &Limits::default()).unwrap();
    assert_eq!(request.to_bytes().as_ptr(), octets.as_ptr());
    let mut edited = request.clone();
    edited.headers.update_first::<MaxForwards>(|hops| hops.0 = 1).unwrap();
    assert!(edited.to_string().contains("Max-Forwards: 1\r\n"));
    let mut edited = request.clone();
    edited.set_uri(&"sip:else@where".parse().unwrap());
    assert!(edited.to_string().starts_with("INVITE sip:else@where SIP/2.0\r\n"));
    let mut edited = request.clone();
    edited.set_body("text/plain", "hi");
    assert!(edited.to_string().ends_with("\r\n\r\nhi"));
    let mut edited = request.clone();
    edited.headers.remove("CSeq");
    assert!(!edited.to_string().contains("CSeq"));
    let mut edited = request.clone();
    edited.headers = Headers::new();
    assert!(edited.to_bytes().len() < 700 && edited.to_bytes().starts_with(b"INVITE"));
    let mut edited = request.clone();
    edited.headers.push_front(&RecordRoute::new(&"sip:edge;lr".parse().unwrap()));
    edited.headers.pop_front::<RecordRoute>().unwrap();
    edited.headers.push_front(&RecordRoute::new(&"sip:edge;lr".parse().unwrap()));
    assert!(edited.to_string().contains("<sip:edge;lr>"));
    assert_eq!(request.to_bytes(), octets);
}

/// RFC 3261 §18.3: octets beyond Content-Length do not leave; those of an empty line that is a bare LF leave as CRLF.
#[test]
fn a_tail_is_not_sent_on() {
    let message = parse(b"OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nhi and more").unwrap();
    assert_eq!(message.to_bytes(), &b"OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nhi"[..]);
    let message = parse(b"\r\n\r\nOPTIONS sip:a SIP/2.0\nl: 2\n\nhi").unwrap();
    assert_eq!(message.to_bytes(), &b"OPTIONS sip:a SIP/2.0\nl: 2\n\r\nhi"[..]);
    assert_eq!(message.to_bytes(), copied(&message));
}
