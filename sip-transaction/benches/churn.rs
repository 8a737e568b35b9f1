//! INVITE transactions coming and going while many others live: what one more costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Limits, Method, Request, StatusCode, Uri};
use sip_transaction::timers::{TimerId, Timers};
use sip_transaction::{Config, Event, Transactions};
use sip_transport::{FlowId, Local, Locals, Path, Queues, Transport, ingress};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

const LIVE: [usize; 2] = [1_000, 100_000];

/// Time between two new transactions, so that this many live when each lasts 32 s.
fn pace(live: usize) -> Duration {
    Duration::from_secs(32) / u32::try_from(live).unwrap()
}

fn layer() -> Transactions {
    let local = Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
    Transactions::new(Config::new([1; 32], Locals::new(vec![local])))
}

fn path() -> Path {
    let mut path = Path::to(Transport::Udp, "192.0.2.2:5060".parse().unwrap());
    (path.local, path.flow) = ("192.0.2.1:5060".parse().unwrap(), Some(FlowId(1)));
    path
}

/// An INVITE of usual size: 7 more fields and 200 octets of session description.
fn incoming(number: u64) -> bytes::Bytes {
    format!(
        "INVITE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;rport;branch=z9hG4bK{number:016x}\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@a.example>;tag={number:x}\r\nTo: <sip:bob@b.example>\r\n\
         Call-ID: {number:x}@a.example\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.2>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nSupported: 100rel, timer\r\nUser-Agent: bench/1.0\r\n\
         Content-Type: application/sdp\r\nContent-Length: 200\r\n\r\n{:200}",
        ""
    )
    .into()
}

/// The server's side of one call: INVITE in, 180 and 200 out.
fn serve(layer: &mut Transactions, now: Instant, number: u64, out: &mut Queues<Event>) {
    let invite = ingress::datagram(incoming(number), path(), &Limits::default()).unwrap();
    layer.receive(now, invite, out);
    let Some(Event::Request { tx, request, .. }) = out.events.pop_front() else { panic!("{:?}", out.events) };
    for status in [StatusCode::RINGING, StatusCode::OK] {
        let response = request.reply(status).to_tag("t").build().unwrap();
        layer.respond(now, tx, response, out).unwrap();
    }
    layer.handle_timeout(now, out);
    black_box(&out.transmits);
    out.transmits.clear();
    out.events.clear();
}

/// The client's side of one call: INVITE out, 180 and 200 in.
fn ask(layer: &mut Transactions, now: Instant, number: u64, out: &mut Queues<Event>) {
    let uri: Uri = "sip:bob@192.0.2.2".parse().unwrap();
    let invite = Request::builder(Method::Invite, &uri)
        .header(&From::new(&uri).with_tag("t"))
        .header(&To::new(&uri))
        .header(&CallId::new(&number.to_string()))
        .header(&CSeq::new(1, Method::Invite))
        .raw("Contact", "<sip:alice@192.0.2.1>")
        .body("application/sdp", vec![b' '; 200])
        .build()
        .unwrap();
    layer.send(now, invite, path().into(), out).unwrap();
    let sent = Request::parse(out.transmits.pop_front().unwrap().payload, &Limits::default()).unwrap();
    for status in [StatusCode::RINGING, StatusCode::OK] {
        let response = sent.reply(status).to_tag("t").build().unwrap().to_bytes();
        layer.receive(now, ingress::datagram(response, path(), &Limits::default()).unwrap(), out);
    }
    layer.handle_timeout(now, out);
    black_box(&out.events);
    out.transmits.clear();
    out.events.clear();
}

type Side = fn(&mut Transactions, Instant, u64, &mut Queues<Event>);

fn churn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("invite");
    group.throughput(Throughput::Elements(1)).sample_size(30);
    for (name, side) in [("server", serve as Side), ("client", ask as Side)] {
        for live in LIVE {
            let (mut layer, mut out, mut now, mut number) = (layer(), Queues::new(), Instant::now(), 0);
            // Fill, then hold the number: each new transaction comes as an old one ends.
            for _ in 0..live {
                side(&mut layer, now, number, &mut out);
                (now, number) = (now + pace(live), number + 1);
            }
            group.bench_function(BenchmarkId::new(name, live), |bencher| {
                bencher.iter(|| {
                    side(&mut layer, now, number, &mut out);
                    (now, number) = (now + pace(live), number + 1);
                });
            });
            let held = layer.live_client() + layer.live_server();
            assert!(held.abs_diff(live) <= live / 100 + 2, "{held} live, not {live}");
        }
    }
    group.finish();
}

/// What the message work alone costs in the server's case: parsing, two responses.
fn messages_alone(criterion: &mut Criterion) {
    let mut number = 0;
    criterion.bench_function("invite/messages alone", |bencher| {
        bencher.iter(|| {
            number += 1;
            let invite = ingress::datagram(incoming(number), path(), &Limits::default()).unwrap();
            let request = invite.message.as_request().unwrap();
            request.check().unwrap();
            for status in [StatusCode::RINGING, StatusCode::OK] {
                black_box(request.reply(status).to_tag("t").build().unwrap().to_bytes());
            }
        });
    });
}

/// One timer more and one less, among as many as a busy server has: of the lengths that SIP has, and cancelled as it happens,
/// soon or in any order.
fn timers(criterion: &mut Criterion) {
    const LIVE: usize = 200_000;
    let lengths = [500u64, 4_000, 5_000, 32_000].map(Duration::from_millis);
    let (mut timers, mut now) = (Timers::new(lengths), Instant::now());
    let mut armed: VecDeque<TimerId> =
        (0..LIVE).map(|number| timers.arm(now, lengths[number % lengths.len()], number)).collect();
    let mut random = 1_u64;
    criterion.bench_function("timers/arm and cancel, 200000 live", |bencher| {
        bencher.iter(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (random >> 33) as usize;
            // What is due is taken: the number that lives stays the same.
            now += Duration::from_micros(160);
            while black_box(timers.pop(now)).is_some() {}
            let id = timers.arm(now, lengths[at % lengths.len()], at);
            let place = at % armed.len();
            timers.cancel(std::mem::replace(&mut armed[place], id));
        });
    });
}

criterion_group!(benches, churn, messages_alone, timers);
criterion_main!(benches);
