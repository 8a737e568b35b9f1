//! What one packet costs: parse, build, session, jitter buffer, G.711.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rtp::g711::Law;
use rtp::jitter::{self, JitterBuffer, Playout};
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

/// A stream's packets of 20 ms, one behind the other.
struct Feed {
    /// When the packet was sent, on the receiver's clock.
    at: Instant,
    sequence: u16,
    timestamp: u32,
}

impl Feed {
    fn new() -> Self {
        Self { at: Instant::now(), sequence: 0, timestamp: 0 }
    }

    /// The next packet, so much later.
    #[inline]
    fn advance(&mut self, by: Duration) {
        self.at += by;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    #[inline]
    fn insert<P>(&self, buffer: &mut JitterBuffer<P>, arrived: Instant, payload: P) {
        black_box(buffer.insert(arrived, self.sequence, self.timestamp, 160, payload));
    }
}

/// One packet of 20 ms put into an adaptive buffer that plays, and one frame taken out of it, with all that this is for: order,
/// delay histogram, target delay, statistics. Buffering is over, nothing is lost, late or out of order, and the frame taken out
/// is a packet put in one to three packets before. Instants are made up, not read from a clock, and making them up is
/// counted.
///
/// What differs is the payload and the instants:
///
/// * *a number*: the payload is a `u16`. This is the buffer alone.
/// * *a number, 7 ms apart*: the packet comes 7 ms before the tick, so the buffer has two instants to work with and not one. This
///   is what a phone has; a server that takes all packets and ticks of a wake-up at one instant has the other.
/// * *a number, jitter*: the packet comes up to 18 ms before the tick, each one by another time.
/// * *160 octets*: copied into a `Vec` that is used again, and out of it behind the buffer. This is to be read beside figures of
///   jitter buffers that own the octets (those of C libraries), and copy them in and out.
/// * *a clone*: the payload is a [`Bytes`](bytes::Bytes) cloned for the buffer and dropped behind it. That is an atomic
///   addition and an atomic subtraction, which no buffer needs: who owns the payload hands it over.
fn jitter_buffer(criterion: &mut Criterion) {
    const TICK: Duration = Duration::from_millis(20);
    let (mut buffer, mut feed) = (JitterBuffer::new(jitter::Config::default()), Feed::new());
    criterion.bench_function("jitter/insert and pop of a number", |bencher| {
        bencher.iter(|| {
            feed.advance(TICK);
            feed.insert(&mut buffer, feed.at, feed.sequence);
            black_box(&buffer.pop(feed.at));
        });
    });

    let (mut buffer, mut feed) = (JitterBuffer::new(jitter::Config::default()), Feed::new());
    criterion.bench_function("jitter/insert and pop of a number, 7 ms apart", |bencher| {
        bencher.iter(|| {
            feed.advance(Duration::from_millis(13));
            feed.insert(&mut buffer, feed.at, feed.sequence);
            feed.at += Duration::from_millis(7);
            black_box(&buffer.pop(feed.at));
        });
    });

    let early: [Duration; 256] =
        std::array::from_fn(|index| Duration::from_micros(index as u64 * 40_503 % 18_000));
    let (mut buffer, mut feed) = (JitterBuffer::new(jitter::Config::default()), Feed::new());
    criterion.bench_function("jitter/insert and pop of a number, jitter", |bencher| {
        bencher.iter(|| {
            feed.advance(TICK);
            let arrived = feed.at - early[usize::from(feed.sequence as u8)];
            feed.insert(&mut buffer, arrived, feed.sequence);
            black_box(&buffer.pop(feed.at));
        });
    });

    let (mut buffer, mut feed) = (JitterBuffer::new(jitter::Config::default()), Feed::new());
    let (octets, mut heard, mut spare) = ([0x5au8; 160], [0u8; 160], Vec::new());
    criterion.bench_function("jitter/insert and pop of 160 octets", |bencher| {
        bencher.iter(|| {
            feed.advance(TICK);
            let mut payload: Vec<u8> = std::mem::take(&mut spare);
            payload.clear();
            payload.extend_from_slice(black_box(&octets));
            feed.insert(&mut buffer, feed.at, payload);
            if let Playout::Frame(frame) = buffer.pop(feed.at) {
                heard.copy_from_slice(&frame.payload);
                black_box(&heard);
                spare = frame.payload;
            }
        });
    });

    let (mut buffer, mut feed) = (JitterBuffer::new(jitter::Config::default()), Feed::new());
    let payload = HEADER.build(&octets).unwrap().slice(12..);
    criterion.bench_function("jitter/insert and pop of a clone", |bencher| {
        bencher.iter(|| {
            feed.advance(TICK);
            feed.insert(&mut buffer, feed.at, payload.clone());
            black_box(&buffer.pop(feed.at));
        });
    });
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

criterion_group!(benches, packets, jitter_buffer);
criterion_main!(benches);
