//! Many timers of few lengths.
//!
//! Timers of one length are due in the order in which they were armed, so one queue per length is sorted by itself:
//! arming and cancelling cost the same whether ten or a million run. What has no queue goes to one ordered map.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Names one armed timer. The name of a timer that has fired or was cancelled names nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    at: Instant,
    lane: u8,
    sequence: u64,
}

/// The lane number that stands for the ordered map.
const ODD: u8 = u8::MAX;

/// Queues are given back to the allocator when this much of them stands empty.
const WORTH_SHRINKING: usize = 1024;

/// Stopped timers that may lie in a queue behind one that runs: so many times those that run, and some more.
const STOPPED_OF_RUNNING: usize = 4;
const STOPPED: usize = if cfg!(test) { 2 } else { 1024 };

/// Timers that one that is stopped moves out of a full queue at most.
const MOVED_AT_ONCE: usize = 2;

/// Armed timers, each with a value that comes back when it is due.
///
/// ```
/// use sip_transaction::timers::Timers;
/// use std::time::{Duration, Instant};
/// let (start, second) = (Instant::now(), Duration::from_secs(1));
/// let mut timers = Timers::new([second]);
/// let first = timers.arm(start, second, "first");
/// timers.arm(start, second / 2, "odd length");
/// assert_eq!(timers.next(), Some(start + second / 2));
/// assert_eq!(timers.pop(start + second), Some("odd length"));
/// assert!(timers.cancel(first));
/// assert_eq!((timers.pop(start + second), timers.len()), (None, 0));
/// ```
#[derive(Debug)]
pub struct Timers<T> {
    lanes: Vec<Lane<T>>,
    /// Those of other lengths, and those that others would have had to wait behind: by time, lane and number.
    odd: BTreeMap<(Instant, u8, u64), T>,
    odd_sequence: u64,
    /// The next that is due: asked for after every message.
    earliest: Option<(Instant, u8)>,
    live: usize,
}

/// All timers of one length. Cancelled ones stay as `None` until they reach the front, which is never `None`. Where a few that run
/// for long hold up many that were cancelled, those few leave the queue.
#[derive(Debug)]
struct Lane<T> {
    length: Duration,
    /// Sequence number of the front.
    first: u64,
    queue: VecDeque<(Instant, Option<T>)>,
    /// How many of them are `None`.
    stopped: usize,
}

impl<T> Lane<T> {
    fn trim(&mut self) {
        while let Some((_, None)) = self.queue.front() {
            self.queue.pop_front();
            self.first = self.first.wrapping_add(1);
            self.stopped = self.stopped.saturating_sub(1);
        }
        if self.queue.capacity() > WORTH_SHRINKING && self.queue.len() < self.queue.capacity() / 8 {
            self.queue.shrink_to(self.queue.capacity() / 2);
        }
    }

    /// The front, if too many that were stopped lie behind it.
    fn hindrance(&mut self) -> Option<(Instant, u64, T)> {
        let running = self.queue.len().saturating_sub(self.stopped);
        if self.stopped <= running.saturating_mul(STOPPED_OF_RUNNING).saturating_add(STOPPED) {
            return None;
        }
        let (at, value) = self.queue.pop_front()?;
        let sequence = self.first;
        self.first = sequence.wrapping_add(1);
        self.trim();
        Some((at, sequence, value?))
    }
}

impl<T> Timers<T> {
    /// No timers, with a queue for each of these lengths (the first 255 of them).
    pub fn new(lengths: impl IntoIterator<Item = Duration>) -> Self {
        let mut all: Vec<Duration> = lengths.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(usize::from(ODD));
        let lanes = all
            .into_iter()
            .map(|length| Lane { length, first: 0, queue: VecDeque::new(), stopped: 0 })
            .collect();
        Self { lanes, odd: BTreeMap::new(), odd_sequence: 0, earliest: None, live: 0 }
    }

    /// Starts a timer that is due `length` after `now`.
    pub fn arm(&mut self, now: Instant, length: Duration, value: T) -> TimerId {
        let at = now.checked_add(length).unwrap_or(now);
        self.live = self.live.saturating_add(1);
        for (lane, number) in self.lanes.iter_mut().zip(0u8..) {
            // A clock that went back would break the order of the queue.
            if lane.length == length && lane.queue.back().is_none_or(|&(last, _)| last <= at) {
                let sequence = lane.first.wrapping_add(lane.queue.len() as u64);
                lane.queue.push_back((at, Some(value)));
                self.earliest = self.earliest.min(Some((at, number))).or(Some((at, number)));
                return TimerId { at, lane: number, sequence };
            }
        }
        let sequence = self.odd_sequence;
        self.odd_sequence = sequence.wrapping_add(1);
        self.odd.insert((at, ODD, sequence), value);
        self.earliest = self.earliest.min(Some((at, ODD))).or(Some((at, ODD)));
        TimerId { at, lane: ODD, sequence }
    }

    /// Stops a timer. `false` if it had fired or was stopped before.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let removed = self.cancel_in_lane(id) || self.odd.remove(&(id.at, id.lane, id.sequence)).is_some();
        if removed {
            self.live = self.live.saturating_sub(1);
            // Its lane, or the one that it has left.
            if self.earliest.is_some_and(|(at, lane)| at == id.at && (lane == id.lane || lane == ODD)) {
                self.earliest = self.find_earliest();
            }
        }
        removed
    }

    fn cancel_in_lane(&mut self, id: TimerId) -> bool {
        let Some(lane) = self.lanes.get_mut(usize::from(id.lane)) else { return false };
        let offset = usize::try_from(id.sequence.wrapping_sub(lane.first)).unwrap_or(usize::MAX);
        let taken = lane.queue.get_mut(offset).and_then(|(_, value)| value.take());
        if taken.is_none() {
            return false;
        }
        lane.stopped = lane.stopped.saturating_add(1);
        if offset == 0 {
            lane.trim();
            return true;
        }
        for _ in 0..MOVED_AT_ONCE {
            let Some((at, sequence, value)) = lane.hindrance() else { break };
            self.odd.insert((at, id.lane, sequence), value);
            if self.earliest == Some((at, id.lane)) {
                self.earliest = Some((at, ODD));
            }
        }
        true
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.earliest.map(|(at, _)| at)
    }

    fn find_earliest(&self) -> Option<(Instant, u8)> {
        let lanes = self
            .lanes
            .iter()
            .zip(0u8..)
            .filter_map(|(lane, number)| lane.queue.front().map(|&(at, _)| (at, number)));
        let odd = self.odd.first_key_value().map(|(&(at, ..), _)| (at, ODD));
        lanes.chain(odd).min()
    }

    /// Takes the next timer that is due at `now` or was before.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let (_, lane) = self.earliest.filter(|&(at, _)| at <= now)?;
        let value = if lane == ODD {
            self.odd.pop_first().map(|(_, value)| value)
        } else {
            let lane = self.lanes.get_mut(usize::from(lane))?;
            let (_, value) = lane.queue.pop_front()?;
            lane.first = lane.first.wrapping_add(1);
            lane.trim();
            value
        };
        self.live = self.live.saturating_sub(1);
        self.earliest = self.find_earliest();
        value
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Arm(u64),
        Cancel(usize),
        Advance(u64),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            (0..6u64).prop_map(Operation::Arm),
            (0..64usize).prop_map(Operation::Cancel),
            (0..5u64).prop_map(Operation::Advance),
        ];
        proptest::collection::vec(operation, 0..200)
    }

    proptest! {
        /// Against the plainest model: a list searched through each time.
        #[test]
        fn fires_what_a_plain_list_fires(operations in operations()) {
            let start = Instant::now();
            let second = Duration::from_secs(1);
            // Lengths 0, 1, 2 and 4 have queues, 3 and 5 do not.
            let mut timers = Timers::new([0, 1, 2, 4].map(|n| second * n));
            let mut model: Vec<(u64, usize)> = Vec::new();
            let (mut now, mut ids) = (0u64, Vec::new());
            for operation in operations {
                match operation {
                    Operation::Arm(length) => {
                        let number = ids.len();
                        ids.push(timers.arm(start + second * now as u32, second * length as u32, number));
                        model.push((now + length, number));
                    }
                    Operation::Cancel(which) => {
                        if let Some(&id) = ids.get(which) {
                            let before = model.len();
                            model.retain(|&(_, number)| number != which);
                            prop_assert_eq!(timers.cancel(id), model.len() < before);
                        }
                    }
                    Operation::Advance(by) => {
                        now += by;
                        let (mut fired, mut expected) = (Vec::new(), Vec::new());
                        while let Some(number) = timers.pop(start + second * now as u32) {
                            fired.push(number);
                        }
                        model.retain(|&(at, number)| {
                            if at <= now { expected.push(number) }
                            at > now
                        });
                        fired.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(fired, expected);
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
                let next = model.iter().map(|&(at, _)| start + second * at as u32).min();
                prop_assert_eq!(timers.next(), next);
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_keeps_the_order() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::new([second]);
        timers.arm(start + second, second, 2);
        timers.arm(start, second, 1);
        assert_eq!([timers.pop(start + second * 9), timers.pop(start + second * 9)], [Some(1), Some(2)]);
    }

    /// One call of hours, and many short ones behind it.
    #[test]
    fn one_that_runs_for_long_does_not_hold_up_those_that_were_cancelled() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut timers = Timers::new([hour]);
        let (first, second) = (timers.arm(start, hour, 0), timers.arm(start, hour, 1));
        for n in 0..100_000 {
            let short = timers.arm(start, hour, n);
            let other = timers.arm(start, hour, n);
            assert!(timers.cancel(short) && timers.cancel(other));
            assert!(timers.lanes[0].queue.len() < 20, "{}", timers.lanes[0].queue.len());
        }
        assert_eq!((timers.len(), timers.next()), (2, Some(start + hour)));
        assert!(timers.cancel(second) && !timers.cancel(second));
        assert_eq!((timers.pop(start + hour), timers.pop(start + hour)), (Some(0), None));
        assert!(!timers.cancel(first));
    }

    #[test]
    fn cancelled_timers_give_their_memory_back() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::new([second]);
        let ids: Vec<_> = (0..100_000).map(|n| timers.arm(start, second, n)).collect();
        for id in ids.into_iter().rev() {
            assert!(timers.cancel(id));
        }
        assert_eq!((timers.next(), timers.len()), (None, 0));
        assert!(timers.lanes[0].queue.capacity() <= 100_000);
    }
}
