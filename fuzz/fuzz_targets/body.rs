//! A boundary's line, then a body: taken apart within its limits, and what is put together reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::body::{BodyError, Entity, Fragment, MultipartBuilder};
use sip_message::headers::{ContentDisposition, ContentType, Headers};
use sip_message::{Header, Limits};

/// What a reader asks of a body: all of it lies within what came.
fn ask(entity: &Entity, limits: &Limits) {
    assert!(entity.is(entity.content_type().kind(), entity.content_type().subtype()));
    assert_eq!(entity.plain().is_err(), matches!(entity.plain(), Err(BodyError::Encoded(_))));
    let _ = (entity.disposition().is_required(), entity.headers().len());
    let sdp = entity.find("application", "sdp");
    assert!(sdp.is_none_or(|sdp| sdp.is("application", "sdp")));
    assert!(sdp.is_some() || entity.choose(|part| part.is("application", "sdp")).is_none());
    if let Some(id) = entity.leaves().iter().find_map(|leaf| leaf.id()) {
        let found = entity.named(&format!("cid:{}", id.as_str()));
        assert!(id.as_str().contains('%') || found.is_some_and(|found| found.id() == Some(id)));
    }
    assert!(entity.root().is_none() || !entity.parts().is_empty());
    if let Ok(message) = entity.message(limits) {
        assert!(message.body().len() <= entity.octets().len());
    }
    if let Ok(fragment) = entity.fragment(limits) {
        ask_fragment(&fragment, entity.octets().len());
    }
    entity.parts().iter().for_each(|part| ask(part, limits));
}

fn ask_fragment(fragment: &Fragment, length: usize) {
    assert!(fragment.body().len() <= length);
    assert!(fragment.message().is_some() || (fragment.status().is_none() && fragment.method().is_none()));
    assert!(fragment.message().is_none_or(|message| message.headers() == fragment.headers()));
}

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|&octet| octet == b'\n').unwrap_or(input.len());
    let (head, rest) = input.split_at(at);
    let body = bytes::Bytes::copy_from_slice(rest.get(1..).unwrap_or_default());
    let limits = Limits::default();
    if let Ok(fragment) = Fragment::parse(&body, &limits) {
        ask_fragment(&fragment, body.len());
    }
    let mut headers = Headers::new();
    if let Some(content_type) = std::str::from_utf8(head).ok().and_then(|text| ContentType::parse(text).ok())
    {
        headers.push_back(&content_type);
        // Fewer and shallower parts are refused, and what is not is read the same.
        let mut small = limits;
        (small.parts, small.depth, small.message) = (2, 1, 64);
        let few = Entity::of(&headers, &body, &small);
        if let Err(error) = &few {
            assert!(error.status().code() >= 400);
        }
        if let Ok(entity) = Entity::of(&headers, &body, &limits) {
            ask(&entity, &small);
            ask(&entity, &limits);
            assert!(few.is_err() || few.is_ok_and(|few| few == entity));
            let leaves = entity.leaves();
            assert!(leaves.len() <= limits.parts.max(1));
            assert!(leaves.iter().map(|leaf| leaf.octets().len()).sum::<usize>() <= body.len());
        }
    }
    let kind = ContentType::new("application", "octet-stream");
    let built = MultipartBuilder::new("mixed")
        .part(&kind, body.clone())
        .part(&kind, head.to_vec())
        .field(&ContentDisposition::new("render"))
        .build();
    let (content_type, octets) = built.expect("it has parts");
    let mut headers = Headers::new();
    headers.push_back(&content_type);
    let entity = Entity::of(&headers, &octets, &limits).expect("what is built reads back");
    assert_eq!(entity.parts().iter().map(|part| &part.octets()[..]).collect::<Vec<_>>(), [&body[..], head]);
});
