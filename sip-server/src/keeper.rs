//! The thread that writes changes of the location table to its file.
//!
//! All that is waiting when it comes round is one write and one sync, and the core hears of it in one go. A task of the runtime
//! tells it, not this thread, so that what was allocated for a request is freed where it was allocated.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::core::Batch;
use crate::location::{Flush, Journal, MemoryLocation, StoreError};
use crate::server::CoreHandle;

/// Changes in one write: some hundreds of kilobytes, which no disk takes long for.
const BATCH: usize = 2_048;

/// The least time from one sync to the next, so that under load many changes share one. A change that comes after a pause
/// waits for nobody.
const GATHER: Duration = Duration::from_millis(5);

/// How often the file is looked after while nothing changes.
const TICK: Duration = Duration::from_secs(1);

/// What has ended leaves the file after this time at the latest, however little it is: it tells where people were.
const TIDY: Duration = Duration::from_secs(3_600);

/// After the disk has refused to take the file anew.
const RETRY: Duration = Duration::from_secs(10);

/// Between two steps of writing the file anew while changes wait for the disk as well.
const STEP: Duration = Duration::from_millis(5);

/// The thread, as long as it is wanted.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What became of a batch, and who waits until the core has heard of it.
type Outcome = (Batch, Result<(), StoreError>, oneshot::Sender<()>);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Keeper {
    /// To be called within the runtime of the driver.
    pub(crate) fn start(handle: CoreHandle, journal: Journal, flush: Flush) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (outcomes, told) = mpsc::unbounded_channel();
        tokio::spawn(tell_core(handle.clone(), told));
        let work = move || {
            let now = Instant::now();
            let mut work = Work {
                handle,
                outcomes,
                journal,
                flush,
                octets: Vec::new(),
                unsynced: None,
                failing: false,
                rewrite_after: now,
                tidy_at: now.checked_add(TIDY).unwrap_or(now),
            };
            while !stopped.load(Ordering::Acquire) {
                work.round();
            }
            work.end();
        };
        let thread = thread::Builder::new().name("location".into()).spawn(work)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Asks it to end: what it has at hand is still written.
    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Waits until it has let go of the file.
    pub(crate) fn join(mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn tell_core(handle: CoreHandle, mut outcomes: mpsc::UnboundedReceiver<Outcome>) {
    while let Some((batch, result, heard)) = outcomes.recv().await {
        handle.with(|core, now| core.stored(now, batch, result));
        let _ = heard.send(()); // the thread waits, or has ended
    }
}

struct Work {
    handle: CoreHandle,
    outcomes: mpsc::UnboundedSender<Outcome>,
    journal: Journal,
    flush: Flush,
    octets: Vec<u8>,
    /// Since when something is written and not synced.
    unsynced: Option<Instant>,
    /// The disk refused the last write: said once, not each time.
    failing: bool,
    rewrite_after: Instant,
    tidy_at: Instant,
}

impl Work {
    fn round(&mut self) {
        let began = Instant::now();
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let batch = self.handle.look(|core| {
            let batch = core.poll_unsaved(BATCH);
            if batch.is_none() {
                core.wake_on_unsaved(waker);
            }
            batch
        });
        let idle = batch.is_none();
        if let Some(batch) = batch {
            self.store(batch);
        }
        self.sync_in_time();
        let wait = self.look_after_file(idle);
        if let Some(wait) = wait.filter(|_| idle) {
            thread::park_timeout(self.until_sync().map_or(wait, |sync| sync.min(wait)));
        } else if let Some(rest) = GATHER.checked_sub(began.elapsed()) {
            thread::sleep(rest);
        }
    }

    fn store(&mut self, batch: Batch) {
        self.octets.clear();
        let mut last = 0;
        for record in batch.records() {
            self.octets.extend_from_slice(record.octets());
            last = record.stamp().sequence;
        }
        let result = match self.flush {
            Flush::BeforeAnswer => self.journal.append_and_sync(&self.octets, last),
            Flush::Within(_) => self.journal.append(&self.octets, last),
        };
        self.tell(&result);
        if result.is_ok() && self.flush != Flush::BeforeAnswer {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        let result = result.map_err(|_| StoreError::Unavailable);
        let (heard, wait) = oneshot::channel();
        if self.outcomes.send((batch, result, heard)).is_ok() {
            // The file must not be written anew from a table that lacks what is in it already. An error: the runtime is gone.
            let _ = wait.blocking_recv();
        }
    }

    fn tell(&mut self, result: &io::Result<()>) {
        match result {
            Err(error) if !self.failing => {
                tracing::error!(%error, journal = ?self.journal, "changes cannot be stored, REGISTER is answered 503");
            }
            Ok(()) if self.failing => tracing::warn!("changes are stored again"),
            _ => {}
        }
        self.failing = result.is_err();
    }

    /// How long what is unsynced may stay so.
    fn until_sync(&self) -> Option<Duration> {
        match (self.flush, self.unsynced) {
            (Flush::Within(interval), Some(since)) => Some(interval.saturating_sub(since.elapsed())),
            _ => None,
        }
    }

    fn sync_in_time(&mut self) {
        if self.until_sync() == Some(Duration::ZERO) {
            let result = self.journal.sync();
            self.tell(&result);
            self.unsynced = None;
        }
    }

    /// Writes the file anew where that is worth it, a step at a time. How long to wait if nothing else happens; `None`: not at
    /// all.
    fn look_after_file(&mut self, idle: bool) -> Option<Duration> {
        let now = Instant::now();
        if now < self.rewrite_after {
            return Some(TICK);
        }
        let (live, stamp) = self.handle.look(|core| {
            let table = core.table();
            let live = table.map_or(0, MemoryLocation::octets);
            (live, table.map_or_else(Default::default, |table| table.stamp(now)))
        });
        let tidy = now >= self.tidy_at && self.journal.has_dead(live);
        if !tidy && !self.journal.wants_rewriting(live) {
            return Some(TICK);
        }
        let handle = &self.handle;
        let step = self.journal.rewrite(stamp, |part, out| {
            handle.look(|core| core.table().is_some_and(|table| table.copy_part(part, out)))
        });
        match step {
            Ok(false) if idle => None,
            Ok(false) => {
                self.rewrite_after = now.checked_add(STEP).unwrap_or(now);
                None
            }
            Ok(true) => {
                self.tidy_at = now.checked_add(TIDY).unwrap_or(now);
                Some(TICK)
            }
            Err(error) => {
                tracing::warn!(%error, "the location file cannot be written anew, the old one goes on");
                self.rewrite_after = now.checked_add(RETRY).unwrap_or(now);
                Some(TICK)
            }
        }
    }

    /// What was acknowledged before is on the disk when the server has ended in peace.
    fn end(&mut self) {
        if self.unsynced.is_some()
            && let Err(error) = self.journal.sync()
        {
            tracing::error!(%error, "the last changes may not outlive a power cut");
        }
    }
}
