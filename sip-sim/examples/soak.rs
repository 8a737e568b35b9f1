//! Transactions over bad networks for as long as one likes: the scenario of `sip-transaction/tests/simulated`; or, with
//! `--calls`, whole calls of two phones through registrar and proxy, that of `sip-sim/tests/demo`; or, with `--stories`, whatever
//! three phones can do with each other, that of `sip-sim/tests/stories`.
//!
//!     cargo run --release -p sip-sim --example soak -- --seeds 1000000
//!     cargo run --release -p sip-sim --example soak -- --calls --seeds 100000
//!     cargo run --release -p sip-sim --example soak -- --stories --seeds 100000
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
#[path = "../tests/stories/story/mod.rs"]
mod story;
#[path = "../tests/demo/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sip_sim::{Conditions, Runs, replayed_seed};

/// Seeds if none are told: some seconds.
const SEEDS: u64 = 20_000;

/// What to play.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Transactions,
    Calls,
    Stories,
}

/// What to play, and how many seeds.
fn arguments() -> Result<(Scenario, u64), String> {
    let (mut played, mut seeds) = (Scenario::Transactions, SEEDS);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--calls" => played = Scenario::Calls,
            "--stories" => played = Scenario::Stories,
            "--seeds" => {
                let number = arguments.next().unwrap_or_default();
                seeds = number.replace('_', "").parse().map_err(|_| format!("{number:?} is no number"))?;
            }
            _ => return Err("usage: soak [--calls | --stories] [--seeds NUMBER]".to_owned()),
        }
    }
    Ok((played, seeds))
}

fn main() -> ExitCode {
    let (played, seeds) = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("soak: {wrong}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let [sent, received, lost, twice] = [const { AtomicU64::new(0) }; 4];
    let runs = Runs::new(seeds).progress(Duration::from_secs(10));
    let runs = match played {
        Scenario::Transactions => runs.conditions(scenario::conditions).size(scenario::SIZE),
        Scenario::Calls => runs.conditions(|seed| Conditions::rough(world::loss(seed))),
        Scenario::Stories => runs.conditions(|seed| Conditions::rough(story::loss(seed))).size(story::SIZE),
    };
    runs.each(|run| {
        let sim = match played {
            Scenario::Transactions => scenario::play(run).0,
            Scenario::Calls => world::play(run),
            Scenario::Stories => story::play(run).0,
        };
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
    let seeds = if replayed_seed().is_some() { 1 } else { seeds };
    println!(
        "{seeds} runs of {}, {sent} messages sent, {received} received, {lost} lost, {twice} twice, in {:.1} s: \
         every invariant held",
        match played {
            Scenario::Transactions => "three transactions each",
            Scenario::Calls => "a call each",
            Scenario::Stories => "a story each",
        },
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
