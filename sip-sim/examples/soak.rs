//! Transactions over bad networks for as long as one likes: the scenario of `sip-transaction/tests/simulated`; or, with
//! `--calls`, whole calls of two phones through registrar and proxy, that of `sip-sim/tests/demo`.
//!
//!     cargo run --release -p sip-sim --example soak -- --seeds 1000000
//!     cargo run --release -p sip-sim --example soak -- --calls --seeds 100000
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
#[path = "../tests/demo/person.rs"]
mod person;
#[path = "../../sip-transaction/tests/simulated/scenario.rs"]
mod scenario;
#[path = "../tests/demo/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sip_sim::{Conditions, Runs};

/// Seeds if none are told: some seconds.
const SEEDS: u64 = 20_000;

/// Whether to play calls, and how many seeds.
fn arguments() -> Result<(bool, u64), String> {
    let (mut calls, mut seeds) = (false, SEEDS);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--calls" => calls = true,
            "--seeds" => {
                let number = arguments.next().unwrap_or_default();
                seeds = number.replace('_', "").parse().map_err(|_| format!("{number:?} is no number"))?;
            }
            _ => return Err("usage: soak [--calls] [--seeds NUMBER]".to_owned()),
        }
    }
    Ok((calls, seeds))
}

fn main() -> ExitCode {
    let (calls, seeds) = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("soak: {wrong}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let [sent, received, lost, twice] = [const { AtomicU64::new(0) }; 4];
    let runs = Runs::new(seeds).progress(Duration::from_secs(10));
    let runs = if calls {
        runs.conditions(|seed| Conditions::rough(world::loss(seed)))
    } else {
        runs.conditions(scenario::conditions).size(scenario::SIZE)
    };
    runs.each(|run| {
        let sim = if calls { world::play(run) } else { scenario::play(run).0 };
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
        "{seeds} runs of {}, {sent} messages sent, {received} received, {lost} lost, {twice} twice, in {:.1} s: \
         every invariant held",
        if calls { "a call each" } else { "three transactions each" },
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
