//! A boundary's line, then a body: taken apart within its limits, and what is put together reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::body::{Entity, Fragment, MultipartBuilder};
use sip_message::headers::{ContentType, Headers};
use sip_message::{Header, Limits};

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|&octet| octet == b'\n').unwrap_or(input.len());
    let (head, rest) = input.split_at(at);
    let body = bytes::Bytes::copy_from_slice(rest.get(1..).unwrap_or_default());
    let limits = Limits::default();
    let _ = Fragment::parse(&body, &limits);
    let mut headers = Headers::new();
    if let Some(content_type) = std::str::from_utf8(head).ok().and_then(|text| ContentType::parse(text).ok()) {
        headers.push_back(&content_type);
        if let Ok(entity) = Entity::of(&headers, &body, &limits) {
            let leaves = entity.leaves();
            assert!(leaves.len() <= limits.parts.max(1));
            assert!(leaves.iter().map(|leaf| leaf.octets().len()).sum::<usize>() <= body.len());
        }
    }
    let kind = ContentType::new("application", "octet-stream");
    let built = MultipartBuilder::new("mixed").part(&kind, body.clone()).part(&kind, head.to_vec()).build();
    let (content_type, octets) = built.expect("it has parts");
    let mut headers = Headers::new();
    headers.push_back(&content_type);
    let entity = Entity::of(&headers, &octets, &limits).expect("what is built reads back");
    assert_eq!(entity.parts().iter().map(|part| &part.octets()[..]).collect::<Vec<_>>(), [&body[..], head]);
});
