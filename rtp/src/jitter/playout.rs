//! Frames out, in order and at the pace of playout.

use std::time::{Duration, Instant};

use super::clock::nanoseconds;
use super::types::{Frame, Playout};
use super::{Content, Entry, JitterBuffer};

/// Longer gaps are not concealed, by which time the listener hears silence anyway: a quarter of a second.
const MAX_CONCEALED_PER_SECOND: u32 = 4;
/// Ticks without any packet after which the buffer gives up its position.
const UNDERRUN_LIMIT: u32 = 5;

/// What a tick is for.
enum Turn {
    Head,
    Gap,
    Wait,
}

impl<P> JitterBuffer<P> {
    /// What to play at this tick. Call it once per frame duration.
    // As with packets: what nearly every tick needs belongs where it is called.
    #[inline(always)]
    pub fn pop(&mut self, now: Instant) -> Playout<P> {
        self.pop_behind(now, 0)
    }

    /// The same where audio of this duration is ready and will be heard before the frame: what is left of one that was
    /// [stretched](Frame::stretch).
    #[inline(always)]
    pub fn pop_ahead(&mut self, now: Instant, ready: Duration) -> Playout<P> {
        self.pop_behind(now, nanoseconds(ready))
    }

    #[inline(always)]
    fn pop_behind(&mut self, now: Instant, ready: u64) -> Playout<P> {
        let clock = self.clock.at(now);
        // What nearly every tick finds: the next frame is there, and its length is as it should be. It is put back if not.
        if let (Some(position), Some(wanted)) = (self.position, self.pace.wanted()) {
            let latest = position + i64::from(self.frame / 2);
            match self.entries.pop_front() {
                Some(head @ Entry { content: Content::Audio { .. }, .. }) if head.timestamp <= latest => {
                    self.underruns = 0;
                    let stretch = self.pace.stretch(wanted, clock, head.timestamp, self.frame, ready);
                    if stretch == 0 {
                        return self.play_entry(clock, ready, 0, head);
                    }
                    self.entries.push_front(head);
                    return self.play_stretched(clock, ready, stretch);
                }
                Some(head) => self.entries.push_front(head),
                None => {}
            }
        }
        self.pop_otherwise(clock, ready)
    }

    #[inline(never)]
    fn pop_otherwise(&mut self, clock: u64, ready: u64) -> Playout<P> {
        if matches!(self.entries.front(), Some(Entry { content: Content::Nothing, .. })) {
            self.skip_placeholders();
        }
        match self.turn(clock) {
            Turn::Head => self.play(clock, ready),
            Turn::Gap => {
                self.position = self.position.map(|position| position + i64::from(self.frame));
                self.missing()
            }
            Turn::Wait => Playout::Empty,
        }
    }

    fn turn(&mut self, clock: u64) -> Turn {
        let head = self.entries.front().map(|head| (head.timestamp, head.sequence));
        if let Some(position) = self.position {
            let Some((timestamp, sequence)) = head else {
                self.underruns += 1;
                if self.underruns <= UNDERRUN_LIMIT {
                    return Turn::Gap;
                }
                self.position = None;
                return Turn::Wait;
            };
            self.underruns = 0;
            if timestamp <= position + i64::from(self.frame / 2) {
                return Turn::Head;
            }
            let lost = sequence > self.played.last() + 1;
            if lost && timestamp - position <= i64::from(self.config.clock_rate / MAX_CONCEALED_PER_SECOND) {
                return Turn::Gap;
            }
            self.position = None;
        }
        if self.can_start(clock) { Turn::Head } else { Turn::Wait }
    }

    fn can_start(&mut self, clock: u64) -> bool {
        let Some(head) = self.entries.front() else { return false };
        let waited = clock.saturating_sub(head.arrived);
        let full = self.entries.len() >= self.config.capacity;
        let starts = full || self.pace.is_due(clock, head.timestamp, waited);
        if starts {
            self.underruns = 0;
            self.pace.start();
        }
        starts
    }

    fn missing(&mut self) -> Playout<P> {
        self.statistics.missing += 1;
        Playout::Missing { samples: self.frame }
    }

    /// The head's turn has come, which may be anything.
    fn play(&mut self, clock: u64, ready: u64) -> Playout<P> {
        if self.pace.is_fixed() {
            if self.pace.is_too_slow(self.frame) {
                self.drop_head();
            }
        } else if let Some(Entry { timestamp, content: Content::Audio { .. }, .. }) = self.entries.front() {
            let wanted = self.pace.wanted();
            let stretch =
                wanted.map_or(0, |wanted| self.pace.stretch(wanted, clock, *timestamp, self.frame, ready));
            return self.play_stretched(clock, ready, stretch);
        }
        self.play_head(clock, ready, 0)
    }

    #[inline(never)]
    fn play_stretched(&mut self, clock: u64, ready: u64, mut stretch: i32) -> Playout<P> {
        if stretch != 0 && !self.config.time_scaling {
            if self.insert_or_drop(stretch) {
                return self.missing();
            }
            stretch = 0;
        }
        self.play_head(clock, ready, stretch)
    }

    fn play_head(&mut self, clock: u64, ready: u64, stretch: i32) -> Playout<P> {
        let Some(entry) = self.entries.pop_front() else { return Playout::Empty };
        if self.pace.is_fixed() && matches!(entry.content, Content::Audio { .. }) {
            self.pace.waited(clock.saturating_sub(entry.arrived) + ready);
        }
        self.play_entry(clock, ready, stretch, entry)
    }

    #[inline(always)]
    fn play_entry(&mut self, clock: u64, ready: u64, stretch: i32, entry: Entry<P>) -> Playout<P> {
        self.mark_played(entry.sequence, entry.is_copy());
        let (payload, samples) = match entry.content {
            Content::Audio { payload, samples, .. } => (payload, samples),
            Content::Silence(payload) => {
                self.position = None;
                return Playout::Silence(payload);
            }
            Content::Nothing => return Playout::Empty,
        };
        if samples != self.frame {
            self.frame = samples.clamp(1, self.config.clock_rate.max(1));
        }
        self.position = Some(entry.timestamp + i64::from(samples));
        let waited = clock.saturating_sub(entry.arrived) + ready;
        self.statistics.played = self.statistics.played.wrapping_add(1);
        self.last_wait = waited;
        Playout::Frame(Frame {
            sequence: entry.sequence as u64,
            timestamp: entry.timestamp as u32,
            samples,
            payload,
            waited,
            stretch,
        })
    }

    /// Where frames keep their length, a wish for more than half of one is met by a whole one. True if one is to be inserted.
    #[cold]
    fn insert_or_drop(&mut self, stretch: i32) -> bool {
        let (stretch, frame) = (i64::from(stretch), i64::from(self.frame));
        let inserts = stretch * 2 >= frame;
        if stretch <= -frame {
            self.pace.measure_behind_anew();
            self.drop_head();
        } else if inserts {
            self.pace.measure_behind_anew();
            self.statistics.lengthened += 1;
        }
        inserts
    }

    #[cold]
    fn drop_head(&mut self) {
        if self.entries.len() < 2 {
            return;
        }
        if let Some(dropped) = self.entries.pop_front() {
            self.mark_played(dropped.sequence, dropped.is_copy());
            self.statistics.shortened += 1;
        }
        self.skip_placeholders();
    }

    #[cold]
    fn skip_placeholders(&mut self) {
        while let Some(Entry { sequence, content: Content::Nothing, .. }) = self.entries.front() {
            let sequence = *sequence;
            self.entries.pop_front();
            self.mark_played(sequence, false);
        }
    }

    /// The payload right behind the frame that was just missing, if it has come: some codecs repeat the missing one in it.
    #[must_use]
    pub fn following(&self) -> Option<&P> {
        let head = self.entries.front().filter(|head| Some(head.timestamp) == self.position)?;
        if let Content::Audio { payload, .. } = &head.content { Some(payload) } else { None }
    }

    /// Takes out what is left, in order, whether its turn has come or not: before a stream with another clock begins.
    pub fn drain(&mut self) -> Option<P> {
        loop {
            let entry = self.entries.pop_front()?;
            self.mark_played(entry.sequence, entry.is_copy());
            if let Content::Audio { payload, .. } = entry.content {
                return Some(payload);
            }
        }
    }
}
