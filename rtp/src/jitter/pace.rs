//! How far playout should be behind the packets, and the changes that get it there.

use std::time::Duration;

use super::clock::{Rate, nanoseconds};
use super::delays::Delays;
use super::types::Config;

/// Frames over which the shortest wait is taken before one frame is dropped to shorten the delay, if it is a fixed one.
const SHRINK_WINDOW: u32 = 100;
/// Frames over which the shortest delay is taken before it is changed: a tick that comes late changes nothing.
const ADAPT_WINDOW: u32 = 8;
/// Packets that arrive between two looks at the histogram.
const LOOK_INTERVAL: u64 = 16;
/// Changes smaller than these are not worth the trouble, in parts of a second: 5 ms less, 2.5 ms more.
const LEAST_SHORTER: u32 = 200;
const LEAST_LONGER: u32 = 400;
/// What is left to spare when the delay is shortened, in parts of a second: 5 ms, or it would soon be too short again.
const LEAST_SPARE: u32 = 200;

/// The target delay, and how well it is met. Times are in timestamp units where nothing else is said.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    clock_rate: u32,
    rate: Rate,
    is_fixed: bool,
    initial: i64,
    minimum: i64,
    maximum: i64,
    delays: Delays,
    /// How far the playout should be behind the timestamps.
    wanted: Option<i64>,
    /// The packet at which the histogram is looked at next, counted from the first.
    look_at: u64,
    /// What of this is beyond the shortest way, as it was known last.
    delay: Option<i64>,
    /// The target before anything is known.
    first: Duration,
    /// The least by which the playout was behind the timestamps, over the last frames, and their number.
    behind: i64,
    behind_count: u32,
    /// The change that is wished for until it is made.
    request: i64,
    /// Shortest wait in nanoseconds, and how many are known, for a fixed delay.
    shortest_wait: u64,
    wait_count: u32,
}

impl Pace {
    pub(super) fn new(config: &Config) -> Self {
        let rate = Rate::new(config.clock_rate);
        let units = |duration| rate.units(nanoseconds(duration));
        Self {
            clock_rate: config.clock_rate,
            rate,
            is_fixed: config.is_fixed(),
            initial: units(config.initial),
            minimum: units(config.minimum),
            maximum: units(config.maximum.max(config.minimum)),
            delays: Delays::new(config.clock_rate),
            wanted: None,
            look_at: 1,
            delay: None,
            first: config.initial,
            behind: i64::MAX,
            behind_count: 0,
            request: 0,
            shortest_wait: u64::MAX,
            wait_count: 0,
        }
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// How far the playout should be behind the timestamps, once that is known. It never is where it is fixed.
    pub(super) fn wanted(&self) -> Option<i64> {
        self.wanted
    }

    /// Notes how long a packet was underway.
    #[inline(always)]
    pub(super) fn measure(&mut self, arrived: u64, timestamp: i64) {
        if self.is_fixed {
            return;
        }
        self.delays.note(self.rate.units(arrived) - timestamp);
        if self.delays.noted() == self.look_at {
            self.look();
        }
    }

    /// Decides how far playout should be behind the timestamps.
    #[cold]
    fn look(&mut self) {
        self.look_at = self.delays.noted() + LOOK_INTERVAL;
        let Some((shortest, worth)) = self.delays.worth_waiting_for(self.initial) else { return };
        let delay = (worth - shortest).clamp(self.minimum, self.maximum);
        self.wanted = Some(shortest + delay);
        self.delay = Some(delay);
    }

    /// The target delay: how far above the shortest way the playout should be behind.
    pub(super) fn target(&self) -> Duration {
        let Some(delay) = self.delay else { return self.first };
        let units = u64::try_from(delay).unwrap_or(0);
        let rate = u64::from(self.clock_rate.max(1));
        Duration::from_micros(units.saturating_mul(1_000_000) / rate)
    }

    /// What was known of the way packets took is of no use any more.
    pub(super) fn forget(&mut self) {
        self.delays.clear();
        (self.wanted, self.look_at) = (None, self.delays.noted() + 1);
    }

    /// Whether it is time to play the first frame: one of this timestamp, that came so many nanoseconds ago.
    pub(super) fn is_due(&self, clock: u64, timestamp: i64, waited: u64) -> bool {
        let waited = self.rate.units(waited);
        match self.wanted {
            // Whoever pauses may come back with timestamps of any kind: nobody waits longer than the maximum.
            Some(wanted) => self.rate.units(clock) - timestamp >= wanted || waited >= self.maximum,
            None => waited >= self.initial.clamp(self.minimum, self.maximum),
        }
    }

    /// Playout starts.
    pub(super) fn start(&mut self) {
        (self.shortest_wait, self.wait_count) = (u64::MAX, 0);
        self.measure_behind_anew();
    }

    /// By how much this frame, of so many units, should be played longer or shorter, so many nanoseconds of audio being heard
    /// before it.
    #[inline(always)]
    pub(super) fn stretch(&mut self, wanted: i64, clock: u64, timestamp: i64, frame: u32, ready: u64) -> i32 {
        self.behind = self.behind.min(self.rate.units(clock) - timestamp);
        self.behind_count = self.behind_count.wrapping_add(1);
        let (spare, frame) = (self.behind - wanted, i64::from(frame));
        if self.behind_count >= ADAPT_WINDOW || spare.unsigned_abs() > 3 * frame.unsigned_abs() {
            self.decide(spare, frame, ready);
        }
        self.request as i32
    }

    /// Chooses the change to wish for.
    #[cold]
    fn decide(&mut self, spare: i64, frame: i64, ready: u64) {
        self.measure_behind_anew();
        let part = |per_second: u32| i64::from(self.clock_rate / per_second);
        // Frames are asked for one at a time, at ticks. What is ready beside them only makes the delay longer; what is
        // to spare comes off in whole frames, and what is wanting is put on in whole frames.
        let ready = self.rate.units(ready);
        let enough = -part(LEAST_LONGER) <= spare && spare < part(LEAST_SPARE) + frame;
        let request = if enough && ready == 0 {
            0
        } else if spare < -part(LEAST_LONGER) {
            frame - (spare + 1) / frame * frame - ready
        } else {
            let shorter = ready + (spare - part(LEAST_SPARE)).max(0) / frame * frame;
            if shorter < part(LEAST_SHORTER) { 0 } else { -shorter }
        };
        self.request = if i32::try_from(request).is_ok() { request } else { 0 };
    }

    pub(super) fn measure_behind_anew(&mut self) {
        (self.behind, self.behind_count, self.request) = (i64::MAX, 0, 0);
    }

    /// A frame became longer or shorter.
    pub(super) fn stretched(&mut self, by: i32) {
        let rest = self.request - i64::from(by);
        self.measure_behind_anew();
        // What was left undone is wished for again at once, so that a pause in the speech is used as long as it lasts.
        self.request = if rest.signum() == i64::from(by.signum()) { rest } else { 0 };
    }

    /// A frame was played that had waited for so many nanoseconds.
    pub(super) fn waited(&mut self, waited: u64) {
        self.shortest_wait = self.shortest_wait.min(waited);
        self.wait_count += 1;
    }

    /// For a whole window no frame was needed sooner than a frame after the target: the peer's clock is faster,
    /// or a burst has filled the buffer.
    pub(super) fn is_too_slow(&mut self, frame: u32) -> bool {
        if self.wait_count < SHRINK_WINDOW {
            return false;
        }
        let too_slow = self.rate.units(self.shortest_wait) > self.minimum + i64::from(frame);
        (self.shortest_wait, self.wait_count) = (u64::MAX, 0);
        too_slow
    }
}
