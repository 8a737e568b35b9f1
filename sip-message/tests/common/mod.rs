//! Values that the property tests draw, and messages they start from.
#![allow(dead_code, clippy::unwrap_used, missing_docs)] // each test program uses its part

use proptest::prelude::*;
use sip_message::headers::{CSeq, CallId, Contact, From, NameAddr, Route, To, Via};
use sip_message::{Method, Request, Uri};

/// `token` of RFC 3261 §25.1.
pub(crate) fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

pub(crate) fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}(\\.[a-z][a-z0-9]{1,6}){0,2}",
        any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        any::<[u16; 8]>().prop_map(|groups| format!("[{}]", std::net::Ipv6Addr::from(groups))),
    ]
}

/// Characters that stand for themselves or escaped in the user part.
pub(crate) fn user() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_.!~*'()&=+$,;?/-]{1,10}", "\\PC{1,6}", "\\+?[0-9]{1,15}"]
}

pub(crate) fn sip_uri() -> impl Strategy<Value = Uri> {
    let params = prop::collection::vec((token(), prop::option::of("\\PC{0,8}")), 0..4);
    (prop::option::of(user()), host(), prop::option::of(any::<u16>()), params).prop_map(
        |(user, host, port, params)| {
            let mut uri = Uri::sip(user.as_deref(), &host, port).unwrap();
            for (name, value) in params {
                uri.set_param(&name, value.as_deref());
            }
            uri
        },
    )
}

pub(crate) fn any_uri() -> impl Strategy<Value = Uri> {
    prop_oneof![
        4 => sip_uri(),
        1 => "tel:\\+[0-9]{3,12}(;phone-context=[a-z.]{1,8})?".prop_map(|text| text.parse().unwrap()),
        1 => "urn:service:[a-z]{1,6}(\\.[a-z]{1,6})?".prop_map(|text| text.parse().unwrap()),
    ]
}

/// Parameters of a field: any visible value, quoted where that is needed.
pub(crate) fn params() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    prop::collection::vec((token(), prop::option::of("\\PC{1,10}")), 0..4)
}

pub(crate) fn name_addr() -> impl Strategy<Value = NameAddr> {
    (prop::option::of("\\PC{1,12}"), any_uri(), params()).prop_map(|(display, uri, params)| {
        let mut address = NameAddr::new(&uri);
        if let Some(display) = display {
            address = address.with_display_name(&display);
        }
        params.iter().fold(address, |address, (name, value)| address.with_param(name, value.as_deref()))
    })
}

pub(crate) fn via() -> impl Strategy<Value = Via> {
    (token(), host(), prop::option::of(any::<u16>()), params(), "z9hG4bK[a-zA-Z0-9]{1,12}").prop_map(
        |(transport, host, port, params, branch)| {
            params
                .iter()
                .fold(Via::new(&transport, &host, port), |via, (name, value)| {
                    via.with_param(name, value.as_deref())
                })
                .with_param("branch", Some(&branch))
        },
    )
}

pub(crate) fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        prop::sample::select(Method::KNOWN.to_vec()),
        token().prop_map(|text| Method::from(text.as_str())),
    ]
}

/// A request with every kind of field, made with the builder.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let body = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let extra = prop::collection::vec(("X-[A-Za-z0-9]{1,8}", "[ -~]{0,30}"), 0..4);
    (
        method(),
        any_uri(),
        prop::collection::vec(via(), 1..4),
        prop::collection::vec(name_addr(), 0..3),
        (name_addr(), name_addr(), name_addr()),
        ("[a-zA-Z0-9@.-]{1,20}", 0u32..(1 << 31)),
        extra,
        body,
    )
        .prop_map(|(method, uri, vias, routes, (from, to, contact), (call_id, number), extra, body)| {
            let routes: Vec<Route> = routes.into_iter().map(Route::from).collect();
            let mut builder = Request::builder(method.clone(), &uri)
                .headers(&vias)
                .headers(&routes)
                .header(&From::from(from))
                .header(&To::from(to))
                .header(&Contact::from(contact))
                .header(&CallId::new(&call_id))
                .header(&CSeq::new(number, method));
            for (name, value) in &extra {
                builder = builder.raw(name.as_str(), value);
            }
            if let Some(body) = body {
                builder = builder.body("application/octet-stream", body);
            }
            builder.build().unwrap()
        })
}

/// An INVITE as a proxy sees one in the middle of its way.
pub(crate) const INVITE: &str = include_str!("../data/invite.sip");
