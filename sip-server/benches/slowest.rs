//! The slowest steps of the core among those of 200,000 calls, while its tables grow to what a thousand calls a second keep live:
//! a table that moves everything at once shows here. Interruptions by the scheduler show too: run it on a quiet machine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs)]

mod calls;

use calls::Bench;

const CALLS: usize = 200_000;

fn main() {
    // `cargo test` builds and runs this too: it has to hold then, not to measure.
    let calls = if std::env::args().any(|argument| argument == "--bench") { CALLS } else { 1_000 };
    let mut bench = Bench::new(|config| config.next_hop = Some("sip:192.0.2.12:5060".parse().unwrap()));
    bench.steps = Some(Vec::with_capacity(calls * 8));
    for _ in 0..calls {
        bench.call();
    }
    let mut steps = bench.steps.take().unwrap();
    steps.sort_unstable();
    for (name, share) in
        [("median", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("99.99 %", 0.9999), ("slowest", 1.0)]
    {
        let at = ((steps.len() - 1) as f64 * share) as usize;
        println!("{name:>8}: {:?}", steps[at]);
    }
}
