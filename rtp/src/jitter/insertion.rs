//! Packets in, as the network brings them.

use std::time::Instant;

use super::history::Received;
use super::types::Inserted;
use super::{Content, Entry, JitterBuffer};

/// A sequence number further away than this belongs to another stream.
const RESTART_DISTANCE: i64 = 1000;
/// Packets in a row that are all too late: they go another way now, and waiting for them starts anew.
const LATE_RUN: u32 = 6;
/// Above the decoded half of the sequence space, so that unwrapped numbers never become negative.
const FIRST_CYCLE: i64 = 1 << 32;

impl<P> JitterBuffer<P> {
    /// Takes a packet of `samples` timestamp units.
    // What nearly every packet needs is so little that it belongs where it is called; the rest is a call.
    #[inline(always)]
    pub fn insert(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        samples: u32,
        payload: P,
    ) -> Inserted {
        let content = Content::Audio { payload, samples, is_copy: false };
        match self.next_in_order(sequence, timestamp) {
            Some((sequence, timestamp)) => {
                let arrived = self.clock.at(now);
                self.pace.measure(arrived, timestamp);
                self.late_run = 0;
                self.highest = Some((sequence, timestamp));
                self.entries.push_back(Entry { sequence, timestamp, arrived, content });
                Inserted::Stored
            }
            None => self.insert_entry(now, sequence, timestamp, content),
        }
    }

    /// What nearly every packet is: the one behind the highest so far, in time, and there is room. Nothing else is to be looked
    /// at then.
    #[inline(always)]
    fn next_in_order(&self, sequence: u16, timestamp: u32) -> Option<(i64, i64)> {
        let highest = self.highest?;
        let number = highest.0.wrapping_add(1);
        let time = highest.1 + i64::from(timestamp.wrapping_sub(highest.1 as u32) as i32);
        let is_next = sequence == number as u16
            && time >= highest.1
            && self.position.is_none_or(|position| time >= position)
            && self.entries.len() < self.config.capacity;
        is_next.then_some((number, time))
    }

    /// Takes a packet that describes the silence behind it (RFC 3389): once it is played, nothing is missing until audio
    /// comes again.
    pub fn insert_silence(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: P) -> Inserted {
        self.insert_entry(now, sequence, timestamp, Content::Silence(payload))
    }

    /// Notes that this sequence number carried something else (a telephone event), so that it is not lost audio.
    pub fn insert_placeholder(&mut self, now: Instant, sequence: u16, timestamp: u32) -> Inserted {
        self.insert_entry(now, sequence, timestamp, Content::Nothing)
    }

    /// Whether this packet was lost up to now and would still be in time: then its copy inside another one (RFC 2198) is of use.
    #[must_use]
    pub fn is_wanted(&self, sequence: u16, timestamp: u32) -> bool {
        let Some(highest) = self.highest else { return false };
        let (number, time) = unwrapped(highest, sequence, timestamp);
        let gone = number <= self.played.last() || self.position.is_some_and(|position| time < position);
        number < highest.0
            && highest.0 - number < RESTART_DISTANCE
            && time < highest.1
            && !gone
            && self.find(number).is_err()
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
        let arrived = self.clock.at(now);
        self.statistics.recovered += 1;
        let content = Content::Audio { payload, samples, is_copy: true };
        self.store(Entry { sequence, timestamp, arrived, content })
    }

    #[inline(never)]
    fn insert_entry(&mut self, now: Instant, sequence: u16, timestamp: u32, content: Content<P>) -> Inserted {
        let first = (FIRST_CYCLE + i64::from(sequence), FIRST_CYCLE + i64::from(timestamp));
        let highest = *self.highest.get_or_insert(first);
        let (number, time) = unwrapped(highest, sequence, timestamp);
        let is_media = !matches!(content, Content::Nothing);
        let arrived = self.clock.at(now);
        let mut entry = Entry { sequence: number, timestamp: time, arrived, content };
        let backwards = is_media && number > highest.0 && time < highest.1;
        if backwards || (number - highest.0).abs() > RESTART_DISTANCE {
            self.reset();
            self.statistics.restarts += 1;
            self.highest = Some(first);
            let arrived = self.clock.at(now);
            (entry.sequence, entry.timestamp) = first;
            entry.arrived = arrived;
            self.pace.measure(arrived, first.1);
            self.entries.push_back(entry);
            return Inserted::Restarted;
        }
        if number <= self.played.last() {
            return self.insert_played(number, time, arrived, is_media);
        }
        if number <= highest.0
            && let Ok(at) = self.find(number)
        {
            return self.insert_again(at, time, arrived);
        }
        if is_media {
            self.pace.measure(arrived, time);
            if self.position.is_some_and(|position| time < position) {
                return self.late();
            }
            self.late_run = 0;
        }
        if number > highest.0 {
            // A placeholder's timestamp is that of its event's start and says nothing about the audio.
            self.highest = Some((number, if is_media { time } else { highest.1 }));
        }
        self.store(entry)
    }

    /// The turn of this sequence number is over.
    fn insert_played(&mut self, number: i64, time: i64, arrived: u64, is_media: bool) -> Inserted {
        let before = self.played.receive(number);
        if before == Received::Itself {
            self.statistics.duplicates += 1;
            return Inserted::Duplicate;
        }
        if is_media {
            self.pace.measure(arrived, time);
        }
        if before == Received::Copy {
            // Late, but nobody waited for it.
            self.statistics.late += 1;
            return Inserted::Late;
        }
        self.late()
    }

    /// This sequence number is in the buffer already.
    fn insert_again(&mut self, at: usize, time: i64, arrived: u64) -> Inserted {
        if let Some(Entry { content: Content::Audio { is_copy: is_copy @ true, .. }, .. }) =
            self.entries.get_mut(at)
        {
            // It was not lost: the packet with its copy only overtook it.
            *is_copy = false;
            self.statistics.recovered -= 1;
            self.pace.measure(arrived, time);
        } else {
            self.statistics.duplicates += 1;
        }
        Inserted::Duplicate
    }

    /// Where this sequence number is, or would have to be.
    fn find(&self, number: i64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.sequence)
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
                self.mark_played(oldest.sequence, oldest.is_copy());
            }
        }
        if self.entries.back().is_none_or(|last| last.sequence < entry.sequence) {
            self.entries.push_back(entry);
        } else {
            let (Ok(at) | Err(at)) = self.find(entry.sequence);
            self.entries.insert(at, entry);
        }
        Inserted::Stored
    }

    fn late(&mut self) -> Inserted {
        self.statistics.late += 1;
        self.late_run += 1;
        if self.late_run >= LATE_RUN && !self.pace.is_fixed() {
            // Not stragglers: the way is longer now. What was known of the other way keeps us from hearing anything.
            self.late_run = 0;
            self.position = None;
            self.pace.forget();
        }
        Inserted::Late
    }

    #[inline(always)]
    pub(super) fn mark_played(&mut self, sequence: i64, is_copy: bool) {
        if !self.played.advance(sequence, is_copy) {
            self.mark_played_otherwise(sequence, is_copy);
        }
    }

    #[cold]
    fn mark_played_otherwise(&mut self, sequence: i64, is_copy: bool) {
        let last = self.played.last();
        if sequence != last + 1 {
            self.bursts.step(last, sequence);
        }
        self.played.jump(sequence, is_copy);
    }
}

/// Sequence number and timestamp in a count that never wraps, near the highest so far.
fn unwrapped(highest: (i64, i64), sequence: u16, timestamp: u32) -> (i64, i64) {
    let number = highest.0 + i64::from(sequence.wrapping_sub(highest.0 as u16) as i16);
    let time = highest.1 + i64::from(timestamp.wrapping_sub(highest.1 as u32) as i32);
    (number, time)
}
