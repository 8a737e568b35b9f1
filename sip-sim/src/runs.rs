//! Many runs of one scenario under conditions that vary with the seed; the one that fails is made as simple as it goes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::conditions::Conditions;
use crate::failure::{Failure, attempt, attempt_again};
use crate::seeds::{PCAP_VARIABLE, SEED_VARIABLE, first_failure, replayed_seed};
use crate::sim::Sim;
use crate::trace::Trace;

/// How long a simpler run that fails too is looked for: nobody waits for the perfect one.
const SIMPLIFY_FOR: Duration = Duration::from_secs(20);

/// Seeds tried with each simplification.
const SEEDS_TRIED: u64 = 32;

/// One run: everything that a scenario may vary with.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    seed: u64,
    conditions: Conditions,
    size: u32,
}

impl Run {
    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How the links behave.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.conditions
    }

    /// How long the scenario is: how many calls it makes, how many phones it has. From the size of the [`Runs`] down
    /// to 1 when a failure is made simpler.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// A network with this seed and these conditions.
    #[must_use]
    pub fn sim(&self) -> Sim {
        Sim::new(self.seed, self.conditions)
    }

    /// Runs in which less goes wrong, or less happens; those that take away most first.
    fn simpler(&self) -> Vec<Run> {
        let Run { seed, conditions, size } = *self;
        let with = |conditions: Conditions| Run { seed, conditions, size };
        let mut list: Vec<Run> = [1, size / 2, size.saturating_sub(1)]
            .into_iter()
            .filter(|less| (1..size).contains(less))
            .map(|size| Run { seed, conditions, size })
            .collect();
        list.push(with(Conditions::PERFECT));
        list.push(with(Conditions { burst: None, ..conditions }));
        list.push(with(Conditions { duplicate: 0.0, ..conditions }));
        list.push(with(Conditions { reorder: 0.0, ..conditions }));
        list.push(with(Conditions { delay: (conditions.delay.0, conditions.delay.0), ..conditions }));
        list.push(with(Conditions { loss: 0.0, ..conditions }));
        if conditions.loss > 0.01 {
            list.push(with(Conditions { loss: conditions.loss / 2.0, ..conditions }));
        }
        list.retain(|other| other != self);
        list
    }
}

/// Runs a scenario with many seeds, on all processors.
///
/// ```
/// use sip_sim::{Conditions, Runs};
///
/// Runs::new(20).conditions(|seed| Conditions::rough(seed as f64 * 0.01)).size(3).each(|run| {
///     let mut sim = run.sim();
///     for call in 0..run.size() {
///         // add nodes, let them call
/// #       let _ = call;
///     }
///     assert!(sim.run_until_idle(std::time::Duration::from_secs(60)));
/// });
/// ```
///
/// When a run panics it is tried again with fewer impairments and a smaller size, as long as it still fails. Printed
/// are its seed, the simplest run found (which may have another seed), what it said and its [ladder](Trace::ladder), and where its capture lies.
/// `SIM_SEED=n` runs one seed alone, `SIM_PCAP=file` says where the capture goes.
pub struct Runs {
    count: u64,
    conditions: Box<dyn Fn(u64) -> Conditions + Sync>,
    size: u32,
    progress: Option<Duration>,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runs").field("count", &self.count).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Runs {
    /// The seeds 0 to `count`, over perfect links, at size 1.
    #[must_use]
    pub fn new(count: u64) -> Runs {
        Runs { count, conditions: Box::new(|_| Conditions::PERFECT), size: 1, progress: None }
    }

    /// How the links behave with each seed.
    #[must_use]
    pub fn conditions(mut self, conditions: impl Fn(u64) -> Conditions + Sync + 'static) -> Runs {
        self.conditions = Box::new(conditions);
        self
    }

    /// How long the scenario is.
    #[must_use]
    pub fn size(mut self, size: u32) -> Runs {
        self.size = size.max(1);
        self
    }

    /// Says on standard error how far it is, this often.
    #[must_use]
    pub fn progress(mut self, every: Duration) -> Runs {
        self.progress = Some(every);
        self
    }

    /// Does it.
    ///
    /// # Panics
    /// When the scenario does, with what it said.
    pub fn each(self, scenario: impl Fn(&Run) + Sync) {
        let run_of = |seed| Run { seed, conditions: (self.conditions)(seed), size: self.size };
        let start = Instant::now();
        let work = |seed: u64| attempt(|| scenario(&run_of(seed)));
        let failed = match replayed_seed() {
            Some(seed) => {
                eprintln!("running seed {seed} alone, as {SEED_VARIABLE} asks");
                work(seed).err().map(|failure| (seed, failure))
            }
            None => first_failure(self.count, work, |done| self.tell(done, start)),
        };
        if let Some((seed, failure)) = failed {
            report(run_of(seed), failure, &scenario);
        }
    }

    fn tell(&self, done: u64, start: Instant) -> Option<Duration> {
        let every = self.progress?;
        let seconds = start.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(0.001);
        eprintln!("{done} of {} runs, {seconds:.0} s, {rate:.0} a second", self.count);
        Some(every)
    }
}

/// Makes a failure simpler, tells it, and lets the panic go on.
fn report(run: Run, failure: Failure, scenario: &impl Fn(&Run)) -> ! {
    let (simplest, shown) = simplify(run.clone(), scenario);
    let trace = shown.as_ref().map_or(&failure.trace, |shown| &shown.trace);
    let said = shown.as_ref().map_or(failure.message(), Failure::message);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("the test");
    eprintln!("seed {} failed: {}", run.seed, failure.message());
    if simplest == run {
        eprintln!("nothing simpler fails: {}", describe(&run));
    } else {
        eprintln!("the simplest that fails too: {}\nit says: {said}", describe(&simplest));
    }
    eprintln!("{} messages until then:\n{}", trace.messages(), trace.ladder());
    match write_capture(trace, test, run.seed) {
        Ok(file) => eprintln!("they are in {}", file.display()),
        Err(error) => eprintln!("no capture could be written: {error}"),
    }
    eprintln!("again: {SEED_VARIABLE}={} cargo test {test} -- --nocapture", run.seed);
    std::panic::resume_unwind(failure.panic)
}

/// Goes from simpler to simpler run as long as it fails and its ladder gets no longer, then looks for a seed with a
/// shorter one.
fn simplify(mut run: Run, scenario: &impl Fn(&Run)) -> (Run, Option<Failure>) {
    // Once more as it is, for its whole trace.
    let Err(mut shown) = attempt_again(|| scenario(&run)) else { return (run, None) };
    let end = Instant::now() + SIMPLIFY_FOR;
    // Another chance of going wrong is another sequence of chance: what fails with other odds may need another seed.
    let fails = |other: &Run| {
        let seeds =
            (0..SEEDS_TRIED).map(|offset| Run { seed: other.seed.wrapping_add(offset), ..other.clone() });
        seeds.take_while(|_| Instant::now() < end).find_map(|other| {
            let failure = attempt_again(|| scenario(&other)).err()?;
            Some((other, failure))
        })
    };
    'simpler: loop {
        for other in run.simpler() {
            if let Some((other, failure)) = fails(&other) {
                (run, shown) = (other, failure);
                continue 'simpler;
            }
        }
        break;
    }
    for offset in 1..=SEEDS_TRIED {
        let other = Run { seed: run.seed.wrapping_add(offset), ..run.clone() };
        if Instant::now() < end
            && let Err(failure) = attempt_again(|| scenario(&other))
            && failure.trace.messages() < shown.trace.messages()
        {
            (run, shown) = (other, failure);
        }
    }
    (run, Some(shown))
}

fn describe(run: &Run) -> String {
    let Conditions { loss, duplicate, reorder, burst, delay } = run.conditions;
    let percent = |share: f64| (share * 1000.0).round() / 10.0;
    let (least, most) = (delay.0.as_millis(), delay.1.as_millis());
    let bursts = burst.map_or(String::new(), |burst| format!(", {} % in bursts", percent(burst.average())));
    format!(
        "seed {}, size {}, {} % lost{bursts}, {} % twice, {} % out of order, {least} to {most} ms",
        run.seed,
        run.size,
        percent(loss),
        percent(duplicate),
        percent(reorder)
    )
}

pub(crate) fn write_capture(trace: &Trace, test: &str, seed: u64) -> std::io::Result<PathBuf> {
    let name: String = test.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let file = match std::env::var_os(PCAP_VARIABLE) {
        Some(file) => PathBuf::from(file),
        None => std::env::temp_dir().join(format!("sip-sim-{name}-{seed}.pcap")),
    };
    let out = std::io::BufWriter::new(std::fs::File::create(&file)?);
    trace.pcap(out)?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(file)
}
