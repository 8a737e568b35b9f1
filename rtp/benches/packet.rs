//! What one packet costs: parse, build, session, jitter buffer, G.711.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rtp::g711::Law;
use rtp::jitter::{self, JitterBuffer};
use rtp::ntp::NtpTimestamp;
use rtp::packet::{Header, Packet};
use rtp::session::{Config, Remote, Session};

const HEADER: Header =
    Header { payload_type: 0, marker: false, sequence_number: 1, timestamp: 160, ssrc: 0x1234_5678 };

fn session(now: Instant) -> Session {
    let ntp = NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000));
    let mut session = Session::new(now, Config::new([7; 32], "bench@example.com", ntp));
    session.set_remote(now, Remote::port_pair("192.0.2.1:4000".parse().unwrap()));
    session
}

fn packets(criterion: &mut Criterion) {
    let now = Instant::now();
    let payload = [0xffu8; 160];
    let datagram = HEADER.build(&payload).unwrap();
    criterion.bench_function("packet/parse", |bencher| {
        bencher.iter(|| Packet::parse(black_box(&datagram)).unwrap())
    });
    criterion.bench_function("packet/build", |bencher| {
        bencher.iter(|| black_box(HEADER).build(black_box(&payload)).unwrap());
    });

    criterion.bench_function("packet/header", |bencher| bencher.iter(|| black_box(HEADER).octets()));

    let mut sender = session(now);
    criterion.bench_function("session/send", |bencher| {
        bencher.iter(|| sender.send(now, 0, false, black_box(&payload), 160).unwrap());
    });

    let from = "192.0.2.1:4000".parse().unwrap();
    let mut receiver = session(now);
    let mut octets = datagram.to_vec();
    let mut number = 0u16;
    criterion.bench_function("session/receive", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            octets[2..4].copy_from_slice(&number.to_be_bytes());
            receiver.receive_rtp(now, from, black_box(&octets)).is_ok()
        });
    });

    let mut buffer = JitterBuffer::new(jitter::Config::default());
    let (mut at, mut sequence) = (now, 0u16);
    let body = datagram.slice(12..);
    let mut timestamp = 0u32;
    criterion.bench_function("jitter/insert and pop", |bencher| {
        bencher.iter(|| {
            at += Duration::from_millis(20);
            sequence = sequence.wrapping_add(1);
            timestamp = timestamp.wrapping_add(160);
            buffer.insert(at, sequence, timestamp, 160, body.clone());
            buffer.pop(at)
        });
    });

    let mut buffer = JitterBuffer::new(jitter::Config::default());
    criterion.bench_function("jitter/insert and pop of a number", |bencher| {
        bencher.iter(|| {
            at += Duration::from_millis(20);
            sequence = sequence.wrapping_add(1);
            timestamp = timestamp.wrapping_add(160);
            buffer.insert(at, sequence, timestamp, 160, sequence);
            buffer.pop(at)
        });
    });

    // A phone's packets come between its ticks: each of both looks at the clock anew.
    let mut buffer = JitterBuffer::new(jitter::Config::default());
    criterion.bench_function("jitter/insert and pop of a number, 7 ms apart", |bencher| {
        bencher.iter(|| {
            at += Duration::from_millis(13);
            sequence = sequence.wrapping_add(1);
            timestamp = timestamp.wrapping_add(160);
            buffer.insert(at, sequence, timestamp, 160, sequence);
            at += Duration::from_millis(7);
            buffer.pop(at)
        });
    });

    let samples: Vec<i16> = (0..160).map(|i| i * 200 - 16_000).collect();
    for law in [Law::Mu, Law::A] {
        let mut octets = law.encode(&samples);
        criterion.bench_function(&format!("g711/encode 160 {law:?}"), |bencher| {
            bencher.iter(|| law.encode_into(black_box(&samples), black_box(&mut octets)));
        });
        let mut decoded = vec![0; 160];
        criterion.bench_function(&format!("g711/decode 160 {law:?}"), |bencher| {
            bencher.iter(|| law.decode_into(black_box(&octets), black_box(&mut decoded)));
        });
    }
}

criterion_group!(benches, packets);
criterion_main!(benches);
