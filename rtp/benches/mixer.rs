//! What a tick of a conference costs: everybody speaks, is added up, and hears the others. 20 ms at 16 kHz.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rtp::audio::speech::speech_like;
use rtp::mixer::Mixer;

const FRAME: usize = 320;

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mixer/tick of 20 ms at 16 kHz");
    for count in [2, 5, 10, 20, 50, 100] {
        let mut mixer = Mixer::new(16_000, FRAME);
        let parties: Vec<_> = (0..count).map(|_| mixer.join()).collect();
        let speech = speech_like(100 * FRAME, 1);
        let mut heard = [0; FRAME];
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                at = (at + FRAME) % (50 * FRAME);
                for (number, party) in parties.iter().enumerate() {
                    mixer.speak(*party, &speech[at + number * 17..][..FRAME]);
                }
                mixer.mix();
                for party in &parties {
                    mixer.listen(*party, &mut heard);
                }
                heard[0]
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ticks);
criterion_main!(benches);
