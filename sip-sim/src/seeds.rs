//! Many seeds on all processors, and how to come back to the one that failed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::failure::{Failure, attempt, attempt_again};
use crate::runs::write_capture;

/// The environment variable that makes [`for_each_seed`] and [`Runs`](crate::Runs) run one seed only.
pub const SEED_VARIABLE: &str = "SIM_SEED";

/// The environment variable that names the file for the pcap of a run that failed; without it a file among those for
/// temporary use is taken.
pub const PCAP_VARIABLE: &str = "SIM_PCAP";

/// The seed that the environment asks to replay.
#[must_use]
pub fn replayed_seed() -> Option<u64> {
    std::env::var(SEED_VARIABLE).ok()?.trim().parse().ok()
}

/// Runs `scenario` with the seeds 0 to `count`, on as many threads as there are processors (at most eight).
///
/// When one panics, its seed is printed with its ladder, the file of its capture and the command that replays it, and
/// the panic goes on. With `SIM_SEED=n` in the environment only that seed runs. Scenarios that let
/// [`Runs`](crate::Runs) choose their conditions are made simpler when they fail.
///
/// # Panics
/// When the scenario does.
pub fn for_each_seed(count: u64, scenario: impl Fn(u64) + Sync) {
    let failed = match replayed_seed() {
        Some(seed) => {
            eprintln!("replaying seed {seed} alone, as {SEED_VARIABLE} asks");
            attempt(|| scenario(seed)).err().map(|failure| (seed, failure))
        }
        None => first_failure(count, |seed| attempt(|| scenario(seed)), |_| None),
    };
    let Some((seed, failure)) = failed else { return };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("the test");
    // Once more for the trace, which the scenario may have switched off.
    let again = attempt_again(|| scenario(seed)).err();
    let trace = again.as_ref().map_or(&failure.trace, |again| &again.trace);
    eprintln!("seed {seed} failed: {}\n{}", failure.message(), trace.ladder());
    match write_capture(trace, test, seed) {
        Ok(file) => eprintln!("its messages are in {}", file.display()),
        Err(error) => eprintln!("no capture could be written: {error}"),
    }
    eprintln!("replay it with: {SEED_VARIABLE}={seed} cargo test {test} -- --nocapture");
    std::panic::resume_unwind(failure.panic)
}

/// Works through the seeds until one fails; of several that fail at the same time the smallest is given.
///
/// `tell` is asked how long to wait until it is told again how many are done; `None`: not at all.
pub(crate) fn first_failure(
    count: u64,
    work: impl Fn(u64) -> Result<(), Failure> + Sync,
    tell: impl Fn(u64) -> Option<Duration> + Sync,
) -> Option<(u64, Failure)> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let failed: Mutex<Option<(u64, Failure)>> = Mutex::new(None);
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return;
            }
            if let Err(failure) = work(seed) {
                stop.store(true, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *failed = Some((seed, failure));
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        while let Some(pause) = tell(done.load(Ordering::Relaxed)) {
            let end = std::time::Instant::now() + pause;
            // Short naps: the last run must not be followed by a long one.
            while std::time::Instant::now() < end && !workers.iter().all(|worker| worker.is_finished()) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if workers.iter().all(|worker| worker.is_finished()) {
                break;
            }
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
