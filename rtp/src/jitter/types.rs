//! What a jitter buffer is told, and what it tells.

use std::time::Duration;

use bytes::Bytes;

/// Configuration of a [`JitterBuffer`](super::JitterBuffer).
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

    pub(super) fn is_fixed(&self) -> bool {
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
    /// Nanoseconds spent in the buffer.
    pub(super) waited: u64,
    /// By how many timestamp units it should be played longer (positive) or shorter (negative) to get nearer to the target
    /// delay. Mostly 0.
    pub stretch: i32,
}

impl<P> Frame<P> {
    /// Time spent in the buffer.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited)
    }
}

/// What to play now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playout<P = Bytes> {
    /// This.
    Frame(Frame<P>),
    /// This, which describes the silence that follows ([`insert_silence`](super::JitterBuffer::insert_silence)).
    Silence(P),
    /// A frame should be here and is lost or late: conceal it.
    Missing {
        /// Its duration in timestamp units.
        samples: u32,
    },
    /// Nothing is to be played: silence, not yet started, or the stream has stopped.
    Empty,
}

/// Counters of a [`JitterBuffer`](super::JitterBuffer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames played.
    pub played: u64,
    /// Ticks at which a frame was missing.
    pub missing: u64,
    /// Packets that came after their turn, also those whose copy had been played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets pushed out because the buffer was full.
    pub overflowed: u64,
    /// Frames dropped to shorten the delay.
    pub shortened: u64,
    /// Frames inserted to lengthen the delay; they are among the missing.
    pub lengthened: u64,
    /// Frames that were lost or late and came in time inside later packets.
    pub recovered: u64,
    /// Streams that started anew.
    pub restarts: u64,
    /// Target delay in force.
    pub target: Duration,
    /// Wait of the frame played last.
    pub delay: Duration,
}
