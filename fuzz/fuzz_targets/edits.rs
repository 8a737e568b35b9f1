//! Smaller limits and edits: a message that an application changed is one message, with the fields that it wrote.

use bytes::Bytes;
use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message, ParseError, Request, Response, Uri};

/// Whoever allows less reads the same, or nothing.
pub fn within(octets: &[u8], read: &Result<Message, ParseError>) {
    let mut small = Limits::default();
    (small.message, small.start_line, small.field, small.fields) = (600, 64, 120, 12);
    (small.elements, small.parameters, small.uri) = (3, 2, 40);
    match Message::parse(Bytes::copy_from_slice(octets), &small) {
        Ok(message) => assert_eq!(read.as_ref(), Ok(&message)),
        Err(error) => {
            let status = error.kind.status().code();
            assert!((400..600).contains(&status) && error.kind.section().starts_with("RFC"));
        }
    }
    let fits = match read {
        Ok(Message::Request(request)) => request.check_within(&small).is_err() || request.check().is_ok(),
        Ok(Message::Response(response)) => response.check_within(&small).is_err() || response.check().is_ok(),
        Err(_) => true,
    };
    assert!(fits, "what passes small limits passes large ones");
    // The two doors for one kind of message let through that kind.
    let request = Request::parse(Bytes::copy_from_slice(octets), &Limits::default()).ok();
    let response = Response::parse(Bytes::copy_from_slice(octets), &Limits::default()).ok();
    let message = read.as_ref().ok();
    assert_eq!(request.as_ref(), message.and_then(Message::as_request));
    assert_eq!(response.as_ref(), message.and_then(Message::as_response));
}

/// Edits whose name and value the message itself gives: its first field, and its body.
pub fn apply(message: &Message) {
    let headers = message.headers();
    let Some((name, _)) = headers.iter().next() else { return };
    let name = name.to_owned();
    let value = String::from_utf8_lossy(message.body()).into_owned();
    for way in 0..3 {
        let mut edited = message.clone();
        let fields = edited.headers_mut();
        let written = match way {
            0 => fields.push_raw(name.as_str(), &value),
            1 => fields.push_front_raw(name.as_str(), &value),
            _ => fields.set_raw(name.as_str(), &value),
        };
        if written.is_ok() {
            assert!(!value.contains(['\r', '\n', '\0']), "a value stays on its line");
            let read = Message::parse(edited.to_bytes(), &wide()).expect("an edited message is a message");
            assert_eq!(read.headers(), edited.headers());
        } else {
            assert_eq!(&edited, message, "what is refused changes nothing");
        }
    }
    let mut copied = Headers::new();
    copied.copy_from(headers, name.as_str());
    assert_eq!(copied.count(name.as_str()), headers.count(name.as_str()));
    assert_eq!(copied.is_empty(), copied.len() == 0);
    let mut edited = message.clone();
    assert_eq!(edited.headers_mut().remove(name.as_str()), headers.count(name.as_str()));
    assert_eq!(
        (edited.headers().text(name.as_str()), edited.headers().contains(name.as_str())),
        (None, false)
    );
    replace(message);
    match message.clone() {
        Message::Request(mut request) => {
            // A target for a URI that could not be read, as a proxy's location service gives one.
            let target =
                request.uri().unwrap_or_else(|_| Uri::sip(None, "example.com", None).expect("a host"));
            request.set_uri(&target);
            request.set_body("text/plain", value.into_bytes());
            assert_eq!(
                (request.uri().as_ref(), request.headers.count(HeaderName::CONTENT_LENGTH)),
                (Ok(&target), 1)
            );
            request.remove_body();
            assert!(request.body().is_empty() && !request.headers.contains(HeaderName::CONTENT_TYPE));
        }
        Message::Response(mut response) => {
            response.set_body("no type", value.into_bytes());
            assert!(
                response
                    .headers
                    .require::<ContentType>()
                    .is_ok_and(|kind| kind.is("application", "octet-stream"))
            );
        }
    }
}

/// The first hop is another, and those behind it stay.
fn replace(message: &Message) {
    let mut edited = message.clone();
    let own = Route::from("<sip:own.example;lr>".parse::<NameAddr>().expect("an address"));
    let behind =
        |headers: &Headers| headers.all::<Route>().skip(1).map(|route| route.ok()).collect::<Vec<_>>();
    if edited.headers_mut().replace_first(&own) {
        assert_eq!(edited.headers().all::<Route>().next(), Some(Ok(own)));
        assert_eq!(behind(edited.headers()), behind(message.headers()));
    } else {
        assert!(message.headers().all::<Route>().all(|route| route.is_err()));
    }
    let mut out = Vec::new();
    edited.write_to(&mut out);
    assert_eq!(out, edited.to_bytes());
}

/// An edited message may be longer than what is taken from the network.
fn wide() -> Limits {
    let mut limits = Limits::default();
    (limits.message, limits.field, limits.fields) = (usize::MAX, usize::MAX, usize::MAX);
    limits
}
