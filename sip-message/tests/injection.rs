//! No text that a program passes on can start a line of its own (RFC 3261 §25.1): every builder is tried with
//! arbitrary strings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::INVITE;
use proptest::prelude::*;
use sip_message::headers::*;
use sip_message::{BuildError, Limits, Message, Method, Request, Response, StatusCode, Uri};

/// Text with every chance to break out of its line.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z\"\\\\<>;,@ ]{0,6}(\r\n|\n|\r|\0)[A-Z][a-z]{0,4}: [a-z]{0,6}[\"\\\\<>;, \r\n]{0,4}",
        Just("x\r\nVia: SIP/2.0/UDP evil\r\n\r\nbody".to_string()),
    ]
}

fn minimal(method: Method) -> sip_message::RequestBuilder {
    let uri: Uri = "sip:a@b".parse().unwrap();
    Request::builder(method.clone(), &uri)
        .header(&From::new(&uri))
        .header(&To::new(&uri))
        .header(&CallId::new("c"))
        .header(&CSeq::new(1, method))
}

/// The message on the wire has these many fields, and no body that nobody asked for.
fn assert_fields(wire: bytes::Bytes, fields: usize) {
    let text = String::from_utf8_lossy(&wire).into_owned();
    let message =
        Message::parse(wire, &Limits::default()).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_eq!(message.headers().len(), fields, "{text:?}");
    assert!(message.body().is_empty(), "{text:?}");
    assert_eq!(text.matches('\n').count(), fields + 2, "one line per field: {text:?}");
}

/// Fields of [`minimal`] once it is built.
const FIELDS: usize = 6;

proptest! {
    #[test]
    fn raw_fields_are_refused_or_harmless(name in hostile(), value in hostile()) {
        if let Ok(request) = minimal(Method::Options).raw("X-Note", &value).build() {
            assert_fields(request.to_bytes(), FIELDS + 1);
        }
        if let Ok(request) = minimal(Method::Options).raw(name.as_str(), "v").build() {
            assert_fields(request.to_bytes(), request.headers.len());
        }
        let mut request = minimal(Method::Options).build().unwrap();
        let before = request.headers.len();
        let set = request.headers.set_raw("Subject", &value).is_ok();
        let front = request.headers.push_front_raw("Route", &value).is_ok();
        assert_fields(request.to_bytes(), before + usize::from(set) + usize::from(front));
    }

    #[test]
    fn typed_fields_are_harmless(text in hostile(), other in hostile()) {
        let uri: Uri = "sip:a@b".parse().unwrap();
        let address = NameAddr::new(&uri).with_display_name(&text).with_param(&other, Some(&text)).with_param("p", Some(&other));
        let request = minimal(Method::Options)
            .header(&Via::new(&text, &other, None).with_param("branch", Some(&text)).with_param(&text, Some(&other)))
            .header(&Contact::from(address.clone()))
            .header(&Route::from(address))
            .header(&UserAgent::new(&text))
            .header(&Subject::new(&text))
            .header(&Require::new(&text))
            .header(&Supported::new(&text))
            .header(&Allow(Method::from(text.as_str())))
            .header(&Event::new(&text).with_param("id", Some(&other)))
            .header(&Reason::with_cause(&text, 1, &other))
            .header(&WwwAuthenticate(Challenge::new(&text).quoted("realm", &text).token("stale", &other).token(&text, "x")))
            .header(&Authorization(Credentials::new("Digest").quoted("username", &text).token("nc", &other)))
            .header(&ContentDisposition { kind: text.clone(), params: Default::default() })
            .build()
            .unwrap();
        assert_fields(request.to_bytes(), FIELDS + 13);
    }

    #[test]
    fn identities_are_harmless(text in hostile()) {
        prop_assume!(!text.is_empty()); // an empty user is an error
        let mut uri = Uri::sip(Some(&text), "h", None).unwrap();
        uri.set_param(&text, Some(&text));
        uri.set_param("p", Some(&text));
        let request = Request::builder(Method::Options, &uri)
            .header(&From::new(&uri).with_tag(&text))
            .header(&To::new(&uri).with_tag(&text))
            .header(&CallId::new(&text))
            .header(&CSeq::new(1, Method::from(text.as_str())))
            .build()
            .unwrap();
        assert_fields(request.to_bytes(), FIELDS);
        let response = request.reply(StatusCode::OK).to_tag(&text).reason(&text).build().unwrap();
        assert_fields(response.to_bytes(), 5);
        if let Ok(uri) = Uri::sip(None, &text, None) {
            assert_fields(minimal(Method::Options).header(&Route::new(&uri)).build().unwrap().to_bytes(), FIELDS + 1);
        }
        if let Ok(uri) = text.parse::<Uri>() {
            assert_fields(minimal(Method::Options).header(&Route::new(&uri)).build().unwrap().to_bytes(), FIELDS + 1);
        }
    }

    #[test]
    fn methods_and_bodies(text in hostile()) {
        match minimal(Method::from(text.as_str())).build() {
            Ok(request) => assert_fields(request.to_bytes(), FIELDS),
            Err(error) => prop_assert_eq!(error, BuildError::Method(text.clone())),
        }
        let request = minimal(Method::Options).body(&text, text.clone().into_bytes()).build().unwrap();
        let again = Request::parse(request.to_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(again.headers.len(), FIELDS + 1);
        prop_assert_eq!(&again.body()[..], text.as_bytes());
    }

    /// RFC 3261 §18.3: nothing that a peer sent in a field of a request becomes more than a field of the answer.
    #[test]
    fn replies_take_over_fields_and_no_more(via in hostile(), tag in hostile()) {
        let text = INVITE
            .replacen("z9hG4bKe1.77ab02", &via, 1)
            .replacen("4c1fa9", &tag, 1);
        if let Ok(request) = Request::parse(text.into(), &Limits::default()) {
            let reply = request.reply(StatusCode::RINGING).to_tag("x").build().unwrap();
            let again = Response::parse(reply.to_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(again.headers.len(), reply.headers.len());
            prop_assert!(again.body().is_empty());
        }
    }
}

#[test]
fn the_error_names_the_field_and_the_remedy() {
    let error = minimal(Method::Options).raw("X-Note", "a\r\nVia: b").build().unwrap_err();
    assert_eq!(error, BuildError::ControlCharacter("X-Note".into()));
    assert!(error.to_string().contains("X-Note") && error.to_string().contains("remove CR"));
    let error = minimal(Method::Options).raw("X Note", "a").build().unwrap_err();
    assert_eq!(error, BuildError::FieldName("X Note".into()));
    let error = minimal(Method::from("NEW METHOD")).build().unwrap_err();
    assert_eq!(error, BuildError::Method("NEW METHOD".into()));
}
