//! A jitter buffer: packets go in as the network brings them, frames come out in order at the pace of playout.
//!
//! ```text
//!                 head frame has waited for the target delay
//!   +-----------+ -------------------------------------------> +---------+
//!   | Buffering |                                              | Playing | frame at its position -> Frame
//!   |  (Empty)  | <------------------------------------------- |         | lost or late          -> Missing
//!   +-----------+  silence, jump, UNDERRUN_LIMIT ticks empty,  +---------+
//!                  overflow, other stream
//! ```
//!
//! Playing keeps a position in timestamp units, so loss and silence keep their length and the delay stays what it
//! was. The target follows the measured jitter within [`Config::minimum`] and [`Config::maximum`] and takes effect
//! where nobody hears it: whenever the buffer starts to play again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A sequence number further away than this belongs to another stream.
const RESTART_DISTANCE: i64 = 1000;
/// Longer gaps are not concealed, by which time the listener hears silence anyway: a quarter of a second.
const MAX_CONCEALED: Duration = Duration::from_millis(250);
/// Ticks without any packet after which the buffer gives up its position.
const UNDERRUN_LIMIT: u32 = 5;
/// Frames over which the shortest wait is taken before one frame is dropped to shorten the delay.
const SHRINK_WINDOW: u32 = 100;
/// Above the decoded half of the sequence space, so that unwrapped numbers never become negative.
const FIRST_CYCLE: i64 = 1 << 32;

/// Configuration of a [`JitterBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Timestamp units per second. Default 8000.
    pub clock_rate: u32,
    /// Shortest target delay. Default 60 ms.
    pub minimum: Duration,
    /// Longest target delay; the same as `minimum` for a fixed one. Default 200 ms.
    pub maximum: Duration,
    /// Packets kept at most: 1 s of 20 ms packets by default. A peer that sends faster than time fills it.
    pub capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock_rate: 8000,
            minimum: Duration::from_millis(60),
            maximum: Duration::from_millis(200),
            capacity: 50,
        }
    }
}

/// What became of an inserted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Will be played.
    Stored,
    /// Was here already.
    Duplicate,
    /// Its turn is over.
    Late,
    /// Starts a new stream; what was buffered is gone.
    Restarted,
}

/// A frame whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Sequence number, unwrapped: grows by one per packet within a stream.
    pub sequence: u64,
    /// Timestamp as received.
    pub timestamp: u32,
    /// Duration in timestamp units.
    pub samples: u32,
    /// The payload.
    pub payload: Bytes,
    /// Time spent in the buffer.
    pub waited: Duration,
}

/// What to play now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playout {
    /// This.
    Frame(Frame),
    /// A frame should be here and is lost or late: conceal it.
    Missing {
        /// Its duration in timestamp units.
        samples: u32,
    },
    /// Nothing is to be played: silence, not yet started, or the stream has stopped.
    Empty,
}

/// Counters of a [`JitterBuffer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames played.
    pub played: u64,
    /// Ticks at which a frame was missing.
    pub missing: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets pushed out because the buffer was full.
    pub overflowed: u64,
    /// Frames dropped to shorten the delay.
    pub shortened: u64,
    /// Streams that started anew.
    pub restarts: u64,
    /// Target delay in force.
    pub target: Duration,
    /// Wait of the frame played last.
    pub delay: Duration,
}

#[derive(Clone, Debug)]
struct Entry {
    sequence: i64,
    timestamp: i64,
    arrived: Instant,
    samples: u32,
    /// `None` holds the place of a packet that carries no audio.
    payload: Option<Bytes>,
}

/// See the [module](self).
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtp::jitter::{Config, JitterBuffer, Playout};
/// let start = Instant::now();
/// let mut buffer = JitterBuffer::new(Config::default());
/// for (sequence, timestamp) in [(1, 160), (3, 480), (2, 320)] {
///     buffer.insert(start, sequence, timestamp, 160, "payload".into());
/// }
/// assert_eq!(buffer.pop(start), Playout::Empty); // the target delay is 60 ms
/// let Playout::Frame(frame) = buffer.pop(start + Duration::from_millis(60)) else { panic!() };
/// assert_eq!(frame.timestamp, 160);
/// ```
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    config: Config,
    entries: VecDeque<Entry>,
    highest: Option<(i64, i64)>,
    /// Last sequence number played or skipped, with a bit per number before it that was received.
    played: Option<(i64, u64)>,
    /// Timestamp to play next; `None` while buffering.
    position: Option<i64>,
    frame: u32,
    underruns: u32,
    shortest_wait: Duration,
    wait_count: u32,
    /// Transit time of the last packet in timestamp units and smoothed deviation (as RFC 3550 appendix A.8).
    transit: Option<i64>,
    jitter: f64,
    origin: Option<Instant>,
    statistics: Statistics,
}

impl JitterBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            entries: VecDeque::new(),
            highest: None,
            played: None,
            position: None,
            frame: config.clock_rate / 50,
            underruns: 0,
            shortest_wait: Duration::MAX,
            wait_count: 0,
            transit: None,
            jitter: 0.0,
            origin: None,
            statistics: Statistics { target: config.minimum, ..Statistics::default() },
        }
    }

    /// Forgets the stream, keeps the counters: for a new SSRC.
    pub fn reset(&mut self) {
        let statistics = self.statistics;
        *self = Self { statistics, ..Self::new(self.config) };
    }

    /// Counters up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Packets in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is buffered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a packet of `samples` timestamp units.
    pub fn insert(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        samples: u32,
        payload: Bytes,
    ) -> Inserted {
        self.insert_entry(now, sequence, timestamp, samples, Some(payload))
    }

    /// Notes that this sequence number carried something else (a telephone event), so that it is not lost audio.
    pub fn insert_placeholder(&mut self, now: Instant, sequence: u16, timestamp: u32) -> Inserted {
        self.insert_entry(now, sequence, timestamp, 0, None)
    }

    fn insert_entry(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        samples: u32,
        payload: Option<Bytes>,
    ) -> Inserted {
        let first = (FIRST_CYCLE + i64::from(sequence), FIRST_CYCLE + i64::from(timestamp));
        let highest = *self.highest.get_or_insert(first);
        let number = highest.0 + i64::from(sequence.wrapping_sub(highest.0 as u16) as i16);
        let time = highest.1 + i64::from(timestamp.wrapping_sub(highest.1 as u32) as i32);
        let is_media = payload.is_some();
        let entry = Entry { sequence: number, timestamp: time, arrived: now, samples, payload };
        let backwards = is_media && number > highest.0 && time < highest.1;
        if backwards || (number - highest.0).abs() > RESTART_DISTANCE {
            self.reset();
            self.statistics.restarts += 1;
            self.highest = Some(first);
            self.entries.push_back(Entry { sequence: first.0, timestamp: first.1, ..entry });
            return Inserted::Restarted;
        }
        if let Some((played, window)) = self.played.filter(|(played, _)| number <= *played) {
            let bit =
                u32::try_from(played - number).ok().and_then(|back| 1u64.checked_shl(back)).unwrap_or(0);
            if window & bit != 0 {
                self.statistics.duplicates += 1;
                return Inserted::Duplicate;
            }
            self.played = Some((played, window | bit));
            return self.late();
        }
        let at = self.entries.partition_point(|entry| entry.sequence < number);
        if self.entries.get(at).is_some_and(|entry| entry.sequence == number) {
            self.statistics.duplicates += 1;
            return Inserted::Duplicate;
        }
        if is_media {
            self.measure(now, time);
            if self.position.is_some_and(|position| time < position) {
                return self.late();
            }
        }
        if number > highest.0 {
            // A placeholder's timestamp is that of its event's start and says nothing about the audio.
            self.highest = Some((number, if is_media { time } else { highest.1 }));
        }
        if self.entries.len() >= self.config.capacity.max(1) {
            // The head is the oldest; when the new one would be the head itself, it is the one to go.
            self.statistics.overflowed += 1;
            self.position = None;
            if at == 0 {
                return Inserted::Late;
            }
            if let Some(oldest) = self.entries.pop_front() {
                self.mark_played(oldest.sequence);
            }
            self.entries.insert(at - 1, entry);
            return Inserted::Stored;
        }
        self.entries.insert(at, entry);
        Inserted::Stored
    }

    fn late(&mut self) -> Inserted {
        self.statistics.late += 1;
        Inserted::Late
    }

    /// Smoothed deviation of transit times.
    fn measure(&mut self, now: Instant, timestamp: i64) {
        let origin = *self.origin.get_or_insert(now);
        let elapsed = now.saturating_duration_since(origin).as_secs_f64() * f64::from(self.config.clock_rate);
        let transit = elapsed as i64 - timestamp;
        if let Some(previous) = self.transit {
            // A silence in the stream is no jitter.
            let difference =
                ((transit - previous).unsigned_abs() as f64).min(f64::from(self.config.clock_rate));
            self.jitter += (difference - self.jitter) / 16.0;
        }
        self.transit = Some(transit);
    }

    /// Three deviations and a frame, within the limits.
    fn target(&self) -> Duration {
        let samples = 3.0 * self.jitter + f64::from(self.frame);
        let wanted = Duration::from_secs_f64(samples / f64::from(self.config.clock_rate.max(1)));
        wanted.clamp(self.config.minimum, self.config.maximum.max(self.config.minimum))
    }

    /// What to play at this tick. Call it once per frame duration.
    pub fn pop(&mut self, now: Instant) -> Playout {
        self.skip_placeholders();
        let Some(position) = self.position else { return self.start(now) };
        let Some((timestamp, sequence)) = self.entries.front().map(|head| (head.timestamp, head.sequence))
        else {
            self.underruns += 1;
            if self.underruns > UNDERRUN_LIMIT {
                self.position = None;
                return Playout::Empty;
            }
            return self.missing(position);
        };
        self.underruns = 0;
        if timestamp <= position + i64::from(self.frame / 2) {
            return self.play(now);
        }
        let lost = self.played.is_some_and(|(played, _)| sequence > played + 1);
        let longest = MAX_CONCEALED.as_secs_f64() * f64::from(self.config.clock_rate);
        if lost && (timestamp - position) as f64 <= longest {
            return self.missing(position);
        }
        self.position = None;
        self.start(now)
    }

    fn start(&mut self, now: Instant) -> Playout {
        let target = self.target();
        let Some(head) = self.entries.front() else { return Playout::Empty };
        let full = self.entries.len() >= self.config.capacity;
        if !full && now.saturating_duration_since(head.arrived) < target {
            return Playout::Empty;
        }
        self.statistics.target = target;
        self.underruns = 0;
        (self.shortest_wait, self.wait_count) = (Duration::MAX, 0);
        self.play(now)
    }

    fn missing(&mut self, position: i64) -> Playout {
        self.position = Some(position + i64::from(self.frame));
        self.statistics.missing += 1;
        Playout::Missing { samples: self.frame }
    }

    fn play(&mut self, now: Instant) -> Playout {
        if self.is_too_slow() && self.entries.len() > 1 {
            if let Some(dropped) = self.entries.pop_front() {
                self.mark_played(dropped.sequence);
                self.statistics.shortened += 1;
            }
            self.skip_placeholders();
        }
        let Some(entry) = self.entries.pop_front() else { return Playout::Empty };
        self.mark_played(entry.sequence);
        self.frame = entry.samples.clamp(1, self.config.clock_rate.max(1));
        self.position = Some(entry.timestamp + i64::from(entry.samples));
        let waited = now.saturating_duration_since(entry.arrived);
        self.shortest_wait = self.shortest_wait.min(waited);
        self.wait_count += 1;
        self.statistics.played += 1;
        self.statistics.delay = waited;
        Playout::Frame(Frame {
            sequence: entry.sequence as u64,
            timestamp: entry.timestamp as u32,
            samples: entry.samples,
            payload: entry.payload.unwrap_or_default(),
            waited,
        })
    }

    /// For a whole window no frame was needed sooner than a frame after the target: the peer's clock is faster,
    /// or a burst has filled the buffer.
    fn is_too_slow(&mut self) -> bool {
        if self.wait_count < SHRINK_WINDOW {
            return false;
        }
        let frame = Duration::from_secs_f64(f64::from(self.frame) / f64::from(self.config.clock_rate.max(1)));
        let too_slow = self.shortest_wait > self.statistics.target + frame;
        (self.shortest_wait, self.wait_count) = (Duration::MAX, 0);
        too_slow
    }

    fn skip_placeholders(&mut self) {
        while let Some(sequence) =
            self.entries.front().filter(|head| head.payload.is_none()).map(|head| head.sequence)
        {
            self.entries.pop_front();
            self.mark_played(sequence);
        }
    }

    fn mark_played(&mut self, sequence: i64) {
        let window = match self.played {
            Some((played, window)) => {
                u32::try_from(sequence - played).ok().and_then(|ahead| window.checked_shl(ahead)).unwrap_or(0)
            }
            None => 0,
        };
        self.played = Some((sequence, window | 1));
    }
}

#[cfg(test)]
mod tests;
