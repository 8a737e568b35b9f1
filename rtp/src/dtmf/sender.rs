//! Sending telephone events (RFC 4733 §2.5.1).
//!
//! ```text
//!            push          first packet: marker, E=0        duration reached
//!   Idle ----------> Sending --- an update per tick, ---+-------------------> Ending
//!    ^                  ^  +---- a full segment thrice -+                       | E=1 three times
//!    |                  |          more queued                                  v
//!    +------------------+------------------------------------------------------ Pausing
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::{Event, Payload, SEGMENT};

/// Digits queued at most; nobody dials more, and a program gone wrong must not fill memory.
pub const MAX_QUEUED: usize = 256;
/// The last packet of an event, and of a segment, is sent this often (RFC 4733 §2.5.1.4).
const END_PACKETS: u8 = 3;
/// Default length of a digit: well above the 40 ms that every receiver must detect (ITU-T Q.24).
const DURATION: Duration = Duration::from_millis(100);
/// Default pause between digits (at least 40 ms, ITU-T Q.24).
const GAP: Duration = Duration::from_millis(60);
/// Default volume: -10 dBm0.
const VOLUME: u8 = 10;

/// More than [`MAX_QUEUED`] events waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_QUEUED} telephone events are waiting; send them later")]
pub struct QueueFull;

/// A packet to send now instead of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// Set on the first packet of an event.
    pub marker: bool,
    /// Timestamp of the event's (or segment's) start.
    pub timestamp: u32,
    /// The four octets of payload.
    pub payload: [u8; 4],
}

#[derive(Clone, Copy, Debug)]
struct Active {
    event: Event,
    /// Start of the segment.
    timestamp: u32,
    /// Duration of the segment so far and of the whole event still to come.
    duration: u32,
    left: u32,
    /// Time that passed and was not told yet, because the end of a segment was repeated meanwhile.
    behind: u32,
    /// How often the last packet of the segment was sent.
    repeated: u8,
    first: bool,
}

/// Turns queued digits into a packet per tick.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: VecDeque<(Event, u32)>,
    active: Option<Active>,
    pause: u32,
    gap: u32,
    clock_rate: u32,
    volume: u8,
}

impl Sender {
    /// A sender for a clock rate (that of the audio, RFC 4733 §2.1).
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            active: None,
            pause: 0,
            gap: units(GAP, clock_rate),
            clock_rate,
            volume: VOLUME,
        }
    }

    /// Volume in -dBm0, 0 to 63. Default 10.
    pub fn set_volume(&mut self, volume: u8) {
        self.volume = volume.min(63);
    }

    /// Pause between two events. Default 60 ms.
    pub fn set_gap(&mut self, gap: Duration) {
        self.gap = units(gap, self.clock_rate);
    }

    /// Queues a digit of 100 ms.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn push(&mut self, event: Event) -> Result<(), QueueFull> {
        self.push_for(event, DURATION)
    }

    /// Queues an event of any length; those above 8 s are sent in segments.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn push_for(&mut self, event: Event, duration: Duration) -> Result<(), QueueFull> {
        if self.queue.len() >= MAX_QUEUED {
            return Err(QueueFull);
        }
        self.queue.push_back((event, units(duration, self.clock_rate).max(1)));
        Ok(())
    }

    /// Whether nothing is being sent or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.is_none() && self.queue.is_empty()
    }

    /// Events waiting, without the one being sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The packet for this tick of `samples` timestamp units, the stream being at `timestamp`. `None`: send audio.
    pub fn tick(&mut self, timestamp: u32, samples: u32) -> Option<EventPacket> {
        let mut active = match self.active.take() {
            Some(active) => active,
            None => {
                if self.pause > 0 {
                    self.pause = self.pause.saturating_sub(samples);
                    return None;
                }
                let (event, left) = self.queue.pop_front()?;
                Active { event, timestamp, duration: 0, left, behind: 0, repeated: 0, first: true }
            }
        };
        let marker = std::mem::take(&mut active.first);
        active.behind = active.behind.saturating_add(samples);
        if active.left > 0 && active.repeated == END_PACKETS {
            // The next segment continues where this one ended, without marker (RFC 4733 §2.5.1.3).
            active.timestamp = active.timestamp.wrapping_add(SEGMENT);
            (active.duration, active.repeated) = (0, 0);
        }
        if active.repeated == 0 {
            let step = active.behind.min(active.left).min(SEGMENT - active.duration);
            active.duration += step;
            active.left -= step;
            active.behind -= step;
        }
        let end = active.left == 0;
        // A hook flash has no volume (RFC 4733 §2.3.4).
        let volume = if active.event == Event::FLASH { 0 } else { self.volume };
        let payload = Payload { event: active.event, end, volume, duration: active.duration as u16 };
        let packet = EventPacket { marker, timestamp: active.timestamp, payload: payload.to_octets() };
        active.repeated += u8::from(end || active.duration == SEGMENT);
        if !end || active.repeated < END_PACKETS {
            self.active = Some(active);
        } else {
            self.pause = self.gap;
        }
        Some(packet)
    }
}

fn units(duration: Duration, clock_rate: u32) -> u32 {
    (duration.as_secs_f64() * f64::from(clock_rate)) as u32
}
