//! Transactions over bad networks for as long as one likes: the scenario of `sip-transaction/tests/simulated`.
//!
//!     cargo run --release -p sip-sim --example soak -- --seeds 1000000
//!
//! All processors are used. The exit code is 0 if every run was as the RFCs demand; the first that was not is made
//! simple and shown, with the capture of its messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "../../sip-transaction/tests/simulated/element.rs"]
mod element;
#[path = "../../sip-transaction/tests/simulated/scenario.rs"]
mod scenario;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sip_sim::Runs;

/// Seeds if none are told: some seconds.
const SEEDS: u64 = 20_000;

fn seeds() -> Result<u64, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(SEEDS),
        ["--seeds", number] => {
            number.replace('_', "").parse().map_err(|_| format!("{number:?} is no number"))
        }
        _ => Err("usage: soak [--seeds NUMBER]".to_owned()),
    }
}

fn main() -> ExitCode {
    let seeds = match seeds() {
        Ok(seeds) => seeds,
        Err(wrong) => {
            eprintln!("soak: {wrong}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let [sent, received, lost, twice] = [const { AtomicU64::new(0) }; 4];
    let runs = Runs::new(seeds).conditions(scenario::conditions).size(scenario::SIZE);
    runs.progress(Duration::from_secs(10)).each(|run| {
        let (sim, _, _) = scenario::play(run);
        let counters = sim.counters();
        for (sum, count) in [
            (&sent, counters.sent),
            (&received, counters.received),
            (&lost, counters.lost),
            (&twice, counters.duplicated),
        ] {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    });
    let [sent, received, lost, twice] = [sent, received, lost, twice].map(AtomicU64::into_inner);
    println!(
        "{seeds} runs, {} transactions, {sent} messages sent, {received} received, {lost} lost, {twice} twice, in {:.1} s: \
         every invariant held",
        seeds.saturating_mul(u64::from(scenario::SIZE)),
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
