//! What protecting and unprotecting one RTP packet of 172 octets (20 ms of G.711) costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rtp::packet::Header;
use rtp::srtp::{MasterKey, Profile, Receiver, Sender};

const HEADER: Header = Header { payload_type: 0, marker: false, sequence_number: 0, timestamp: 160, ssrc: 9 };

/// Packets of one pass: below a round of sequence numbers, so that every pass may start with new contexts.
const PACKETS: u16 = 10_000;

fn numbered(number: u16, packet: &mut [u8]) {
    packet[2..4].copy_from_slice(&number.to_be_bytes());
}

fn srtp(criterion: &mut Criterion) {
    let plain = HEADER.build(&[0xff; 160]).unwrap();
    for profile in Profile::ALL {
        let octets = vec![7; profile.key_length() + profile.salt_length()];
        let key = MasterKey::from_key_and_salt(profile, &octets).unwrap();
        let mut group = criterion.benchmark_group(format!("srtp/{profile}"));
        group.throughput(criterion::Throughput::Elements(PACKETS.into()));
        let mut buffer = Vec::with_capacity(256);
        group.bench_function("protect", |bencher| {
            bencher.iter_batched_ref(
                || Sender::new(profile, &key).unwrap(),
                |sender| {
                    for number in 0..PACKETS {
                        buffer.clear();
                        buffer.extend_from_slice(&plain);
                        numbered(number, &mut buffer);
                        sender.protect_rtp(&mut buffer).unwrap();
                    }
                },
                BatchSize::PerIteration,
            );
        });
        let mut sender = Sender::new(profile, &key).unwrap();
        let sealed: Vec<Vec<u8>> = (0..PACKETS)
            .map(|number| {
                let mut packet = plain.to_vec();
                numbered(number, &mut packet);
                sender.protect_rtp(&mut packet).unwrap();
                packet
            })
            .collect();
        group.bench_function("unprotect", |bencher| {
            bencher.iter_batched_ref(
                || Receiver::new(profile, &key).unwrap(),
                |receiver| {
                    for packet in &sealed {
                        buffer.clear();
                        buffer.extend_from_slice(packet);
                        receiver.unprotect_rtp(&mut buffer).unwrap();
                    }
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, srtp);
criterion_main!(benches);
