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
//! was. The target is the delay beyond which a late packet costs less than the delay that would save it, by a histogram of
//! the last packets ([`delays`]), within [`Config::minimum`] and [`Config::maximum`]. It takes effect where nobody hears it,
//! whenever the buffer starts to play again, and otherwise by [`Frame::stretch`]: a wish to play the frame shorter or longer.
//! Who cannot do that leaves [`Config::time_scaling`] off, and the buffer drops and inserts whole frames in its place.

mod delays;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use delays::Delays;

/// A sequence number further away than this belongs to another stream.
const RESTART_DISTANCE: i64 = 1000;
/// Longer gaps are not concealed, by which time the listener hears silence anyway: a quarter of a second.
const MAX_CONCEALED_PER_SECOND: u32 = 4;
/// Ticks without any packet after which the buffer gives up its position.
const UNDERRUN_LIMIT: u32 = 5;
/// Frames over which the shortest wait is taken before one frame is dropped to shorten the delay, if it is a fixed one.
const SHRINK_WINDOW: u32 = 100;
/// Frames over which the shortest delay is taken before it is changed: a tick that comes late changes nothing.
const ADAPT_WINDOW: u32 = 8;
/// Packets that arrive between two looks at the histogram.
const LOOK_INTERVAL: u32 = 16;
/// Changes smaller than these are not worth the trouble, in parts of a second: 5 ms less, 2.5 ms more.
const LEAST_SHORTER: u32 = 200;
const LEAST_LONGER: u32 = 400;
/// What is left to spare when the delay is shortened, in parts of a second: 5 ms, or it would soon be too short again.
const LEAST_SPARE: u32 = 200;
/// Packets in a row that are all too late: they go another way now, and waiting for them starts anew.
const LATE_RUN: u32 = 6;
/// Above the decoded half of the sequence space, so that unwrapped numbers never become negative.
const FIRST_CYCLE: i64 = 1 << 32;

/// Configuration of a [`JitterBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Timestamp units per second. Default 8000.
    pub clock_rate: u32,
    /// Target delay to start with, before the network is known. Default 60 ms.
    pub initial: Duration,
    /// Shortest target delay. Default 20 ms.
    pub minimum: Duration,
    /// Longest target delay; the same as `minimum` for a fixed one. Default 200 ms.
    pub maximum: Duration,
    /// Packets kept at most: 1 s of 20 ms packets by default. A peer that sends faster than time fills it.
    pub capacity: usize,
    /// Frames are played shorter or longer as [`Frame::stretch`] wishes. Default off.
    pub time_scaling: bool,
}

impl Config {
    /// A delay that stays what it is.
    #[must_use]
    pub fn fixed(delay: Duration) -> Self {
        Self { initial: delay, minimum: delay, maximum: delay, ..Self::default() }
    }

    fn is_fixed(&self) -> bool {
        self.minimum >= self.maximum
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock_rate: 8000,
            initial: Duration::from_millis(60),
            minimum: Duration::from_millis(20),
            maximum: Duration::from_millis(200),
            capacity: 50,
            time_scaling: false,
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
pub struct Frame<P = Bytes> {
    /// Sequence number, unwrapped: grows by one per packet within a stream.
    pub sequence: u64,
    /// Timestamp as received.
    pub timestamp: u32,
    /// Duration in timestamp units.
    pub samples: u32,
    /// The payload.
    pub payload: P,
    /// Time spent in the buffer.
    pub waited: Duration,
    /// By how many timestamp units it should be played longer (positive) or shorter (negative) to get nearer to the target
    /// delay. Mostly 0.
    pub stretch: i32,
}

/// What to play now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playout<P = Bytes> {
    /// This.
    Frame(Frame<P>),
    /// This, which describes the silence that follows ([`JitterBuffer::insert_silence`]).
    Silence(P),
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
    /// Frames inserted to lengthen the delay; they are among the missing.
    pub lengthened: u64,
    /// Lost frames that came after all inside later packets.
    pub recovered: u64,
    /// Streams that started anew.
    pub restarts: u64,
    /// Target delay in force.
    pub target: Duration,
    /// Wait of the frame played last.
    pub delay: Duration,
}

#[derive(Clone, Debug)]
struct Entry<P> {
    sequence: i64,
    timestamp: i64,
    /// Microseconds since the buffer's origin.
    arrived: u64,
    samples: u32,
    content: Content<P>,
}

#[derive(Clone, Debug)]
enum Content<P> {
    Audio(P),
    /// What the silence behind it sounds like.
    Silence(P),
    /// The place of a packet that carries neither.
    Nothing,
}

/// See the [module](self).
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtp::jitter::{Config, JitterBuffer, Playout};
/// let start = Instant::now();
/// let mut buffer: JitterBuffer = JitterBuffer::new(Config::default());
/// for (sequence, timestamp) in [(1, 160), (3, 480), (2, 320)] {
///     buffer.insert(start, sequence, timestamp, 160, "payload".into());
/// }
/// assert_eq!(buffer.pop(start), Playout::Empty); // the target delay is 60 ms
/// let Playout::Frame(frame) = buffer.pop(start + Duration::from_millis(60)) else { panic!() };
/// assert_eq!(frame.timestamp, 160);
/// ```
#[derive(Clone, Debug)]
pub struct JitterBuffer<P = Bytes> {
    config: Config,
    /// Limits in timestamp units.
    initial: i64,
    minimum: i64,
    maximum: i64,
    entries: VecDeque<Entry<P>>,
    highest: Option<(i64, i64)>,
    /// Last sequence number played or skipped, with a bit per number before it that was received.
    played: Option<(i64, u64)>,
    /// Timestamp to play next; `None` while buffering.
    position: Option<i64>,
    frame: u32,
    underruns: u32,
    /// Packets in a row that came too late.
    late_run: u32,
    /// The least by which the playout was behind the timestamps, over the last frames, and their number.
    behind: i64,
    behind_count: u32,
    /// The change that is wished for until it is made.
    request: i64,
    /// Microseconds of audio before the frame that is asked for.
    ready: u64,
    /// Shortest wait in microseconds, and how many are known, for a fixed delay.
    shortest_wait: u64,
    wait_count: u32,
    delays: Delays,
    /// The shortest transit and how far the playout should be behind the timestamps.
    wanted: Option<(i64, i64)>,
    since_look: u32,
    /// What instants are counted from.
    origin: Option<Instant>,
    statistics: Statistics,
    /// Microseconds of the last wait, for the statistics.
    last_wait: u64,
}

impl<P> JitterBuffer<P> {
    /// An empty buffer.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let units = |duration: Duration| units(micros(duration), config.clock_rate);
        Self {
            config,
            initial: units(config.initial),
            minimum: units(config.minimum),
            maximum: units(config.maximum.max(config.minimum)),
            entries: VecDeque::new(),
            highest: None,
            played: None,
            position: None,
            frame: config.clock_rate / 50,
            underruns: 0,
            late_run: 0,
            behind: i64::MAX,
            behind_count: 0,
            request: 0,
            ready: 0,
            shortest_wait: u64::MAX,
            wait_count: 0,
            delays: Delays::new(config.clock_rate),
            wanted: None,
            since_look: 0,
            origin: None,
            statistics: Statistics { target: config.initial, ..Statistics::default() },
            last_wait: 0,
        }
    }

    /// Forgets the stream, keeps the counters: for a new SSRC.
    pub fn reset(&mut self) {
        let statistics = self.statistics();
        *self = Self { statistics, last_wait: self.last_wait, ..Self::new(self.config) };
    }

    /// The same for a stream with another clock.
    pub fn reset_to(&mut self, clock_rate: u32) {
        self.config.clock_rate = clock_rate;
        self.reset();
    }

    /// Timestamp units per second.
    #[must_use]
    pub fn clock_rate(&self) -> u32 {
        self.config.clock_rate
    }

    /// Counters up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { delay: Duration::from_micros(self.last_wait), ..self.statistics }
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
        payload: P,
    ) -> Inserted {
        self.insert_entry(now, sequence, timestamp, samples, Content::Audio(payload))
    }

    /// Takes a packet that describes the silence behind it (RFC 3389): once it is played, nothing is missing until audio
    /// comes again.
    pub fn insert_silence(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: P) -> Inserted {
        self.insert_entry(now, sequence, timestamp, 0, Content::Silence(payload))
    }

    /// Notes that this sequence number carried something else (a telephone event), so that it is not lost audio.
    pub fn insert_placeholder(&mut self, now: Instant, sequence: u16, timestamp: u32) -> Inserted {
        self.insert_entry(now, sequence, timestamp, 0, Content::Nothing)
    }

    /// Whether this packet was lost up to now and would still be in time: then its copy inside another one (RFC 2198) is of use.
    #[must_use]
    pub fn is_wanted(&self, sequence: u16, timestamp: u32) -> bool {
        let Some(highest) = self.highest else { return false };
        let (number, time) = unwrapped(highest, sequence, timestamp);
        let gone = self.played.is_some_and(|(played, _)| number <= played)
            || self.position.is_some_and(|position| time < position);
        let at = self.entries.partition_point(|entry| entry.sequence < number);
        let here = self.entries.get(at).is_some_and(|entry| entry.sequence == number);
        number < highest.0 && highest.0 - number < RESTART_DISTANCE && time < highest.1 && !gone && !here
    }

    /// Takes the copy of a packet that [is wanted](Self::is_wanted). It tells nothing about the network's delay.
    pub fn insert_copy(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        samples: u32,
        payload: P,
    ) -> Inserted {
        if !self.is_wanted(sequence, timestamp) {
            return Inserted::Duplicate;
        }
        let Some(highest) = self.highest else { return Inserted::Late };
        let (sequence, timestamp) = unwrapped(highest, sequence, timestamp);
        let arrived = self.clock(now);
        self.statistics.recovered += 1;
        self.store(Entry { sequence, timestamp, arrived, samples, content: Content::Audio(payload) })
    }

    /// Microseconds since the first packet.
    fn clock(&mut self, now: Instant) -> u64 {
        let origin = *self.origin.get_or_insert(now);
        micros(now.saturating_duration_since(origin))
    }

    fn insert_entry(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        samples: u32,
        content: Content<P>,
    ) -> Inserted {
        let first = (FIRST_CYCLE + i64::from(sequence), FIRST_CYCLE + i64::from(timestamp));
        let highest = *self.highest.get_or_insert(first);
        let (number, time) = unwrapped(highest, sequence, timestamp);
        let is_media = !matches!(content, Content::Nothing);
        let arrived = self.clock(now);
        let backwards = is_media && number > highest.0 && time < highest.1;
        if backwards || (number - highest.0).abs() > RESTART_DISTANCE {
            self.reset();
            self.statistics.restarts += 1;
            self.highest = Some(first);
            let arrived = self.clock(now);
            self.measure(arrived, first.1);
            self.entries.push_back(Entry {
                sequence: first.0,
                timestamp: first.1,
                arrived,
                samples,
                content,
            });
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
            if is_media {
                self.measure(arrived, time);
            }
            return self.late();
        }
        let newest = self.entries.back().is_none_or(|last| last.sequence < number);
        if !newest {
            let at = self.entries.partition_point(|entry| entry.sequence < number);
            if self.entries.get(at).is_some_and(|entry| entry.sequence == number) {
                self.statistics.duplicates += 1;
                return Inserted::Duplicate;
            }
        }
        if is_media {
            self.measure(arrived, time);
            if self.position.is_some_and(|position| time < position) {
                return self.late();
            }
            self.late_run = 0;
        }
        if number > highest.0 {
            // A placeholder's timestamp is that of its event's start and says nothing about the audio.
            self.highest = Some((number, if is_media { time } else { highest.1 }));
        }
        self.store(Entry { sequence: number, timestamp: time, arrived, samples, content })
    }

    /// Puts an entry in its place; the buffer does not hold it yet.
    fn store(&mut self, entry: Entry<P>) -> Inserted {
        if self.entries.len() >= self.config.capacity.max(1) {
            // The head is the oldest; when the new one would be the head itself, it is the one to go.
            self.statistics.overflowed += 1;
            self.position = None;
            if self.entries.front().is_none_or(|head| entry.sequence < head.sequence) {
                return Inserted::Late;
            }
            if let Some(oldest) = self.entries.pop_front() {
                self.mark_played(oldest.sequence);
            }
        }
        if self.entries.back().is_none_or(|last| last.sequence < entry.sequence) {
            self.entries.push_back(entry);
        } else {
            let at = self.entries.partition_point(|other| other.sequence < entry.sequence);
            self.entries.insert(at, entry);
        }
        Inserted::Stored
    }

    fn late(&mut self) -> Inserted {
        self.statistics.late += 1;
        self.late_run += 1;
        if self.late_run >= LATE_RUN && !self.config.is_fixed() {
            // Not stragglers: the way is longer now. What was known of the other way keeps us from hearing anything.
            self.late_run = 0;
            self.position = None;
            self.delays.clear();
            self.wanted = None;
        }
        Inserted::Late
    }

    /// Notes how long a packet was underway.
    fn measure(&mut self, arrived: u64, timestamp: i64) {
        if self.config.is_fixed() {
            return;
        }
        self.delays.note(units(arrived, self.config.clock_rate) - timestamp);
        self.since_look += 1;
        if self.since_look >= LOOK_INTERVAL || self.wanted.is_none() {
            self.look();
        }
    }

    /// Decides how far playout should be behind the timestamps.
    fn look(&mut self) {
        self.since_look = 0;
        let Some((shortest, worth)) = self.delays.worth_waiting_for(self.initial) else { return };
        let delay = (worth - shortest).clamp(self.minimum, self.maximum);
        self.wanted = Some((shortest, shortest + delay));
        self.statistics.target = self.duration(delay);
    }

    fn duration(&self, units: i64) -> Duration {
        let units = u64::try_from(units).unwrap_or(0);
        Duration::from_micros(units.saturating_mul(1_000_000) / u64::from(self.config.clock_rate.max(1)))
    }

    /// What to play at this tick. Call it once per frame duration.
    pub fn pop(&mut self, now: Instant) -> Playout<P> {
        self.pop_ahead(now, Duration::ZERO)
    }

    /// The same where audio of this duration is ready and will be heard before the frame: what is left of one that was
    /// [stretched](Frame::stretch).
    pub fn pop_ahead(&mut self, now: Instant, ready: Duration) -> Playout<P> {
        self.skip_placeholders();
        self.ready = micros(ready);
        let clock = self.clock(now);
        let Some(position) = self.position else { return self.start(clock) };
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
            return self.play(clock);
        }
        let lost = self.played.is_some_and(|(played, _)| sequence > played + 1);
        if lost && timestamp - position <= i64::from(self.config.clock_rate / MAX_CONCEALED_PER_SECOND) {
            return self.missing(position);
        }
        self.position = None;
        self.start(clock)
    }

    /// The payload right behind the frame that was just missing, if it has come: some codecs repeat the missing one in it.
    #[must_use]
    pub fn following(&self) -> Option<&P> {
        let head = self.entries.front().filter(|head| Some(head.timestamp) == self.position)?;
        if let Content::Audio(payload) = &head.content { Some(payload) } else { None }
    }

    /// Takes out what is left, in order, whether its turn has come or not: before a stream with another clock begins.
    pub fn drain(&mut self) -> Option<P> {
        loop {
            let entry = self.entries.pop_front()?;
            self.mark_played(entry.sequence);
            if let Content::Audio(payload) = entry.content {
                return Some(payload);
            }
        }
    }

    fn start(&mut self, clock: u64) -> Playout<P> {
        let Some(head) = self.entries.front() else { return Playout::Empty };
        let full = self.entries.len() >= self.config.capacity;
        let waited = units(clock.saturating_sub(head.arrived), self.config.clock_rate);
        let due = match self.wanted {
            // Whoever pauses may come back with timestamps of any kind: nobody waits longer than the maximum.
            Some((_, wanted)) => {
                let behind = units(clock, self.config.clock_rate) - head.timestamp;
                behind >= wanted || waited >= self.maximum
            }
            None => waited >= self.initial.clamp(self.minimum, self.maximum),
        };
        if !full && !due {
            return Playout::Empty;
        }
        self.underruns = 0;
        (self.shortest_wait, self.wait_count) = (u64::MAX, 0);
        self.measure_behind_anew();
        self.play(clock)
    }

    fn missing(&mut self, position: i64) -> Playout<P> {
        self.position = Some(position + i64::from(self.frame));
        self.statistics.missing += 1;
        Playout::Missing { samples: self.frame }
    }

    fn play(&mut self, clock: u64) -> Playout<P> {
        let Some(head) = self.entries.front() else { return Playout::Empty };
        let mut stretch = 0;
        if self.config.is_fixed() {
            if self.is_too_slow() {
                self.drop_head();
            }
        } else if matches!(head.content, Content::Audio(_)) {
            let behind = units(clock, self.config.clock_rate) - head.timestamp;
            stretch = self.stretch(behind);
            if !self.config.time_scaling && stretch != 0 {
                let frame = i64::from(self.frame);
                if i64::from(stretch) <= -frame {
                    self.measure_behind_anew();
                    self.drop_head();
                } else if i64::from(stretch) * 2 >= frame {
                    self.measure_behind_anew();
                    self.statistics.lengthened += 1;
                    self.statistics.missing += 1;
                    return Playout::Missing { samples: self.frame };
                }
                stretch = 0;
            }
        }
        let Some(entry) = self.entries.pop_front() else { return Playout::Empty };
        self.mark_played(entry.sequence);
        let payload = match entry.content {
            Content::Audio(payload) => payload,
            Content::Silence(payload) => {
                self.position = None;
                return Playout::Silence(payload);
            }
            Content::Nothing => return Playout::Empty,
        };
        self.frame = entry.samples.clamp(1, self.config.clock_rate.max(1));
        self.position = Some(entry.timestamp + i64::from(entry.samples));
        let waited = clock.saturating_sub(entry.arrived) + self.ready;
        self.shortest_wait = self.shortest_wait.min(waited);
        self.wait_count += 1;
        self.statistics.played += 1;
        self.last_wait = waited;
        Playout::Frame(Frame {
            sequence: entry.sequence as u64,
            timestamp: entry.timestamp as u32,
            samples: entry.samples,
            payload,
            waited: Duration::from_micros(waited),
            stretch,
        })
    }

    fn drop_head(&mut self) {
        if self.entries.len() < 2 {
            return;
        }
        if let Some(dropped) = self.entries.pop_front() {
            self.mark_played(dropped.sequence);
            self.statistics.shortened += 1;
        }
        self.skip_placeholders();
    }

    /// By how much the frame should be played longer or shorter, the playout being this much behind the timestamps.
    fn stretch(&mut self, behind: i64) -> i32 {
        let Some((_, wanted)) = self.wanted else { return 0 };
        self.behind = self.behind.min(behind);
        self.behind_count += 1;
        let (spare, frame) = (self.behind - wanted, i64::from(self.frame.max(1)));
        if self.behind_count >= ADAPT_WINDOW || spare.abs() > 3 * frame {
            self.measure_behind_anew();
            let part = |per_second: u32| i64::from(self.config.clock_rate / per_second);
            // Frames are asked for one at a time, at ticks. What is ready beside them only makes the delay longer; what is
            // to spare comes off in whole frames, and what is wanting is put on in whole frames.
            let ready = units(self.ready, self.config.clock_rate);
            self.request = if spare < -part(LEAST_LONGER) {
                frame - (spare + 1) / frame * frame - ready
            } else {
                let shorter = ready + (spare - part(LEAST_SPARE)).max(0) / frame * frame;
                if shorter < part(LEAST_SHORTER) { 0 } else { -shorter }
            };
        }
        i32::try_from(self.request).unwrap_or(0)
    }

    fn measure_behind_anew(&mut self) {
        (self.behind, self.behind_count, self.request) = (i64::MAX, 0, 0);
    }

    /// A frame became longer or shorter by so many timestamp units, as [`Frame::stretch`] wished. Until this is called, every
    /// frame has the wish.
    pub fn stretched(&mut self, by: i32) {
        let rest = self.request - i64::from(by);
        self.measure_behind_anew();
        // What was left undone is wished for again at once, so that a pause in the speech is used as long as it lasts.
        self.request = if rest.signum() == i64::from(by.signum()) { rest } else { 0 };
    }

    /// For a whole window no frame was needed sooner than a frame after the target: the peer's clock is faster,
    /// or a burst has filled the buffer.
    fn is_too_slow(&mut self) -> bool {
        if self.wait_count < SHRINK_WINDOW {
            return false;
        }
        let limit = self.minimum + i64::from(self.frame);
        let too_slow = units(self.shortest_wait, self.config.clock_rate) > limit;
        (self.shortest_wait, self.wait_count) = (u64::MAX, 0);
        too_slow
    }

    fn skip_placeholders(&mut self) {
        while let Some(Entry { sequence, content: Content::Nothing, .. }) = self.entries.front() {
            let sequence = *sequence;
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

/// Sequence number and timestamp in a count that never wraps, near the highest so far.
fn unwrapped(highest: (i64, i64), sequence: u16, timestamp: u32) -> (i64, i64) {
    let number = highest.0 + i64::from(sequence.wrapping_sub(highest.0 as u16) as i16);
    let time = highest.1 + i64::from(timestamp.wrapping_sub(highest.1 as u32) as i32);
    (number, time)
}

fn micros(duration: Duration) -> u64 {
    duration.as_secs().wrapping_mul(1_000_000).wrapping_add(u64::from(duration.subsec_micros()))
}

/// Microseconds in timestamp units.
fn units(micros: u64, clock_rate: u32) -> i64 {
    (micros.wrapping_mul(u64::from(clock_rate)) / 1_000_000) as i64
}

#[cfg(test)]
mod tests;
