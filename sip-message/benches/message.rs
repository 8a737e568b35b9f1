//! What a message costs: an INVITE of 935 octets with an SDP body and two Via, as a proxy in the middle of its
//! way sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sip_message::framing::StreamDecoder;
use sip_message::headers::*;
use sip_message::{Limits, Message, Method, Request, StatusCode, Uri};
use std::hint::black_box;

const INVITE: &[u8] = include_bytes!("../tests/data/invite.sip");

fn message(c: &mut Criterion) {
    let limits = Limits::default();
    let octets = Bytes::from_static(INVITE);
    let invite = Request::parse(octets.clone(), &limits).unwrap();
    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Bytes(INVITE.len() as u64));

    group.bench_function("parse", |b| {
        b.iter(|| Request::parse(black_box(octets.clone()), &limits).unwrap());
    });
    group.bench_function("parse and check", |b| {
        b.iter(|| Request::parse(black_box(octets.clone()), &limits).unwrap().check().unwrap());
    });
    group.bench_function("parse and ten typed reads", |b| {
        b.iter(|| {
            let request = Request::parse(black_box(octets.clone()), &limits).unwrap();
            let headers = &request.headers;
            black_box(headers.require::<Via>().unwrap());
            black_box(headers.require::<From>().unwrap());
            black_box(headers.require::<To>().unwrap());
            black_box(headers.require::<CallId>().unwrap());
            black_box(headers.require::<CSeq>().unwrap());
            black_box(headers.require::<MaxForwards>().unwrap());
            black_box(headers.require::<Contact>().unwrap());
            black_box(headers.require::<Route>().unwrap());
            black_box(headers.require::<ContentType>().unwrap());
            black_box(headers.require::<ContentLength>().unwrap());
        });
    });
    group.bench_function("print unedited", |b| b.iter(|| black_box(&invite).to_bytes()));
    group.bench_function("clone, four proxy edits, print", |b| {
        let own: Uri = "sip:edge2.biloxi.example;lr".parse().unwrap();
        let target: Uri = "sip:bob@192.0.2.99:5060".parse().unwrap();
        b.iter(|| {
            let mut forward = black_box(&invite).clone();
            forward.set_uri(&target);
            forward.headers.pop_front::<Route>().unwrap();
            forward.headers.update_first::<MaxForwards>(|hops| hops.0 = hops.0.saturating_sub(1)).unwrap();
            forward.headers.push_front(&RecordRoute::new(&own));
            let via = Via::new("UDP", "edge2.biloxi.example", Some(5060));
            forward.headers.push_front(&via.with_param("branch", Some("z9hG4bK4e1f00ba7")));
            forward.to_bytes()
        });
    });
    group.bench_function("reply 180 and print", |b| {
        b.iter(|| black_box(&invite).reply(StatusCode::RINGING).to_tag("314159").build().unwrap().to_bytes());
    });
    group.bench_function("build and print", |b| {
        let alice: Uri = "sip:alice@atlanta.example".parse().unwrap();
        let bob: Uri = "sip:bob@biloxi.example".parse().unwrap();
        let contact: Uri = "sip:alice@192.0.2.55:5062".parse().unwrap();
        let body = invite.body().clone();
        b.iter(|| {
            Request::builder(Method::Invite, &bob)
                .header(&Via::new("UDP", "192.0.2.55", Some(5062)).with_param("branch", Some("z9hG4bKpc33")))
                .header(&MaxForwards(70))
                .header(&From::new(&alice).with_tag("4c1fa9"))
                .header(&To::new(&bob))
                .header(&CallId::new("9b1f7f3e-2fb1-4d@192.0.2.55"))
                .header(&CSeq::new(20411, Method::Invite))
                .header(&Contact::new(&contact))
                .header(&UserAgent::new("Teapot/1.0"))
                .body("application/sdp", body.clone())
                .build()
                .unwrap()
                .to_bytes()
        });
    });
    group.bench_function("from a stream", |b| {
        let mut decoder = StreamDecoder::new(limits);
        b.iter(|| {
            decoder.push(black_box(INVITE));
            decoder.next_frame().unwrap().unwrap()
        });
    });
    group.finish();
}

/// The five messages that other libraries are measured with (`interop/bench-parse`).
const MESSAGES: [(&str, &[u8]); 5] = [
    ("invite", include_bytes!("data/invite.sip")),
    ("register", include_bytes!("data/register.sip")),
    ("200ok", include_bytes!("data/200ok.sip")),
    ("ack", include_bytes!("data/ack.sip")),
    ("wsinv", include_bytes!("data/wsinv.sip")),
];

fn compared(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("compared");
    for (name, octets) in MESSAGES {
        let octets = Bytes::from_static(octets);
        group.throughput(Throughput::Bytes(octets.len() as u64));
        group.bench_function(format!("{name}: parse"), |b| {
            b.iter(|| Message::parse(black_box(octets.clone()), &limits).unwrap());
        });
        group.bench_function(format!("{name}: parse and essentials"), |b| {
            b.iter(|| {
                let message = Message::parse(black_box(octets.clone()), &limits).unwrap();
                black_box(message.headers().essentials());
            });
        });
        let message = Message::parse(octets, &limits).unwrap();
        group.bench_function(format!("{name}: print a copy"), |b| {
            let mut out = Vec::with_capacity(2048);
            b.iter(|| {
                out.clear();
                black_box(&message).write_to(&mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, message, compared);
criterion_main!(benches);
