//! Receiving telephone events (RFC 4733 §2.5.2): each digit once, whatever is lost, doubled or reordered.
//!
//! ```text
//!             packet with a new timestamp -> Started
//!   Idle ---------------------------------------------> Active --+ same timestamp, E=0: longer
//!    ^                                                    |  ^---+ next segment (RFC 4733 §2.5.1.3): longer
//!    |      E=1, new timestamp or TIMEOUT -> Ended        |
//!    +----------------------------------------------------+
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Event, Payload, SEGMENT};

/// Segments of a long event that may be lost one after the other: 8 s each at 8 kHz.
const MAX_LOST_SEGMENTS: u32 = 8;
/// Silence after which an event whose end was lost is over: three updates of 50 ms and some jitter
/// (RFC 4733 §2.5.2.2).
const TIMEOUT: Duration = Duration::from_millis(250);
/// Notices kept for the application: a peer that sends nothing but events makes 50 a second.
const MAX_NOTICES: usize = 256;
/// Events up to this much older than the newest are late packets of earlier ones: 10 s at 8 kHz, above every
/// network's reordering. Further back is a sender that restarted its clock.
const MAX_AGE: u32 = 80_000;

/// After this long without a packet nothing of the old event is underway any more, so that an old timestamp is
/// a replay (a recorded digit sent again) and not a straggler.
const STALE: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A digit was pressed: exactly one per digit.
    Started(Event),
    /// It was released, or its packets stopped.
    Ended {
        /// The digit.
        event: Event,
        /// How long it lasted, in timestamp units, as far as packets tell.
        duration: u32,
        /// Power of the tone in -dBm0, 0 to 63; 0 is unknown, too (RFC 4733 §2.5.2.2).
        volume: u8,
    },
}

#[derive(Clone, Copy, Debug)]
struct Active {
    event: Event,
    timestamp: u32,
    /// Earlier segments.
    before: u32,
    duration: u16,
    volume: u8,
    last: Instant,
    ended: bool,
    /// Its packets stopped, and it was taken for ended: what comes of it later is no new digit (RFC 4733 §2.5.2.2).
    given_up: bool,
}

/// Turns packets into digits.
///
/// ```
/// use std::time::Instant;
/// use rtp::dtmf::{Event, Notice, Receiver};
/// let now = Instant::now();
/// let mut receiver = Receiver::new();
/// receiver.receive(now, 8000, &[1, 10, 0, 160]);
/// receiver.receive(now, 8000, &[1, 0x8a, 3, 32]);
/// receiver.receive(now, 8000, &[1, 0x8a, 3, 32]); // repeated end
/// assert_eq!(receiver.poll(), Some(Notice::Started(Event(1))));
/// assert_eq!(receiver.poll(), Some(Notice::Ended { event: Event(1), duration: 800, volume: 10 }));
/// assert_eq!(receiver.poll(), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    /// The newest event, also after its end, because its timestamp tells late packets from new events.
    current: Option<Active>,
    notices: VecDeque<Notice>,
}

impl Receiver {
    /// Nothing received.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet of the telephone-event payload type. Several events in one follow each other without a pause (RFC 4733
    /// §2.5.2.4). What is too short is ignored, and so is a key that has no duration yet (§2.3.5).
    pub fn receive(&mut self, now: Instant, timestamp: u32, payload: &[u8]) {
        let mut timestamp = timestamp;
        for block in payload.as_chunks::<4>().0 {
            let Some(payload) = Payload::parse(block) else { return };
            self.receive_event(now, timestamp, payload);
            timestamp = timestamp.wrapping_add(u32::from(payload.duration));
        }
    }

    fn receive_event(&mut self, now: Instant, timestamp: u32, payload: Payload) {
        if payload.duration == 0 && !payload.end && payload.event.key().is_some() {
            return;
        }
        if let Some(current) = &mut self.current {
            let age = current.timestamp.wrapping_sub(timestamp);
            let stale = now.saturating_duration_since(current.last) > STALE;
            let replayed = stale && current.ended && !payload.end && payload.duration < current.duration;
            if age == 0 && !replayed {
                if !current.ended || current.given_up {
                    current.last = now;
                    current.duration = current.duration.max(payload.duration);
                }
                if payload.end {
                    current.given_up = false;
                    self.end();
                }
                return;
            }
            // Segments in between may be lost; their number is in the timestamp.
            let ahead = timestamp.wrapping_sub(current.timestamp);
            let segments = ahead / SEGMENT;
            let next_segment =
                ahead.is_multiple_of(SEGMENT) && (1..=MAX_LOST_SEGMENTS + 1).contains(&segments);
            if next_segment && (!current.ended || current.given_up) && current.event == payload.event {
                let before = current.before.saturating_add(ahead);
                *current = Active { timestamp, before, duration: payload.duration, last: now, ..*current };
                if payload.end {
                    current.given_up = false;
                    self.end();
                }
                return;
            }
            if age <= MAX_AGE && !stale {
                return;
            }
            self.end();
        }
        self.current = Some(Active {
            event: payload.event,
            timestamp,
            before: 0,
            duration: payload.duration,
            volume: payload.volume,
            last: now,
            ended: false,
            given_up: false,
        });
        self.notify(Notice::Started(payload.event));
        if payload.end {
            self.end();
        }
    }

    /// Ends an event whose packets stopped. Cheap; call it with every tick or at [`Receiver::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.end();
            if let Some(current) = &mut self.current {
                current.given_up = true;
            }
        }
    }

    /// When [`Receiver::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.current.filter(|current| !current.ended).map(|current| current.last + TIMEOUT)
    }

    /// The next notice.
    pub fn poll(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Another source: its timestamps have nothing to do with those seen.
    pub fn reset(&mut self) {
        self.end();
        self.current = None;
    }

    fn end(&mut self) {
        if let Some(current) = self.current.as_mut().filter(|current| !current.ended) {
            current.ended = true;
            let duration = current.before.saturating_add(u32::from(current.duration));
            let notice = Notice::Ended { event: current.event, duration, volume: current.volume };
            self.notify(notice);
        }
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push_back(notice);
        }
    }
}
