//! Many runs, one per seed, and how to come back to the one that failed.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The environment variable that makes [`for_each_seed`] run one seed only.
pub const SEED_VARIABLE: &str = "SIM_SEED";

/// The environment variable that names a file for the pcap of a run that failed while [`SEED_VARIABLE`] was set.
pub const PCAP_VARIABLE: &str = "SIM_PCAP";

/// The seed that the environment asks to replay.
#[must_use]
pub fn replayed_seed() -> Option<u64> {
    std::env::var(SEED_VARIABLE).ok()?.trim().parse().ok()
}

/// Runs `scenario` with the seeds 0 to `count`, on as many threads as there are processors (at most eight).
///
/// When one panics, its seed is printed with the command that replays it, and the panic goes on. With `SIM_SEED=n` in
/// the environment only that seed runs; then a failing [`Sim`](crate::Sim) prints its trace too, and writes its pcap
/// to the file that `SIM_PCAP` names.
///
/// # Panics
/// When the scenario does.
pub fn for_each_seed(count: u64, scenario: impl Fn(u64) + Sync) {
    if let Some(seed) = replayed_seed() {
        eprintln!("replaying seed {seed} alone, as {SEED_VARIABLE} asks");
        return scenario(seed);
    }
    let test = std::thread::current().name().unwrap_or("the test").to_owned();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failed = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return;
            }
            if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
                stop.store(true, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                // Two threads can fail: the smaller seed is reported, whichever finished first.
                if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *failed = Some((seed, panic));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((seed, panic)) = failed {
        eprintln!(
            "seed {seed} failed; replay it with: {SEED_VARIABLE}={seed} cargo test {test} -- --nocapture"
        );
        panic::resume_unwind(panic);
    }
}
