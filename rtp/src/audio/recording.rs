//! Both sides of a call in one stereo file: left what we said, right what we heard.
//!
//! Each side comes in frames with the instant of its first sample. The recorder keeps the two together: small differences of the
//! instants are those of the timers and do not matter; where a side has nothing, be it before its first packet, on hold or after
//! a fault, it is silent in the file.
//!
//! ```
//! use std::io::Cursor;
//! use std::time::{Duration, Instant};
//! use rtp::audio::recording::{CallRecorder, Side};
//! use rtp::audio::wav::read_channels_from_at;
//!
//! let (start, mut file) = (Instant::now(), Cursor::new(Vec::new()));
//! let mut recorder = CallRecorder::new(&mut file, start, 8000)?;
//! recorder.write(start, Side::Said, &[1000; 160])?;
//! recorder.write(start + Duration::from_millis(100), Side::Heard, &[2000; 160])?;
//! recorder.finish(start + Duration::from_millis(120))?;
//!
//! let channels = read_channels_from_at(&file.into_inner()[..], 8000)?;
//! assert_eq!((channels[0].len(), channels[1].len()), (960, 960));
//! assert_eq!((channels[0][0], channels[0][160], channels[1][0], channels[1][800]), (1000, 0, 0, 2000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::wav::{Recorder, WavError};

/// A frame may be so much later than the end of the one before it and still follow it: timers are not exact.
const TOLERANCE: Duration = Duration::from_millis(60);
/// A side that is so much behind the other has nothing to say; this bounds what waits for it.
const PATIENCE: Duration = Duration::from_millis(200);
/// What is so much ahead of its time is left out: frames of the past played too fast, and too much to keep.
const MAX_AHEAD: Duration = Duration::from_secs(1);
/// Frames of silence written at once, so that a long one takes no memory.
const SILENCE: usize = 800;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// What we said: left.
    Said,
    /// What we heard: right.
    Heard,
}

/// Writes both sides of a call while they come in. See the [module](self).
#[derive(Debug)]
pub struct CallRecorder<W: Write + Seek = BufWriter<File>> {
    file: Recorder<W>,
    start: Instant,
    sample_rate: u32,
    /// Instants (pairs of samples) in the file.
    written: u64,
    said: VecDeque<i16>,
    heard: VecDeque<i16>,
    scratch: Vec<i16>,
}

impl CallRecorder {
    /// Creates or truncates the file. It begins at `now`.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn create(path: impl AsRef<Path>, now: Instant, sample_rate: u32) -> Result<Self, WavError> {
        let file = File::create(path).map_err(hound::Error::IoError)?;
        Self::new(BufWriter::new(file), now, sample_rate)
    }
}

impl<W: Write + Seek> CallRecorder<W> {
    /// Writes to anything.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn new(writer: W, now: Instant, sample_rate: u32) -> Result<Self, WavError> {
        Ok(Self {
            file: Recorder::with_channels(writer, sample_rate, 2)?,
            start: now,
            sample_rate,
            written: 0,
            said: VecDeque::new(),
            heard: VecDeque::new(),
            scratch: Vec::new(),
        })
    }

    fn samples(&self, time: Duration) -> u64 {
        let whole = time.as_secs().saturating_mul(u64::from(self.sample_rate));
        let part = u64::from(time.subsec_nanos()) * u64::from(self.sample_rate) / 1_000_000_000;
        whole.saturating_add(part)
    }

    fn position(&self, side: Side) -> u64 {
        let waiting = match side {
            Side::Said => &self.said,
            Side::Heard => &self.heard,
        };
        self.written + waiting.len() as u64
    }

    /// Takes a frame of one side, whose first sample is of the instant `now`.
    ///
    /// # Errors
    /// [`WavError::File`], [`WavError::Full`].
    pub fn write(&mut self, now: Instant, side: Side, samples: &[i16]) -> Result<(), WavError> {
        let target = self.samples(now.saturating_duration_since(self.start));
        // Whoever has been silent so long is not waited for.
        self.write_silence_to(target.saturating_sub(self.samples(PATIENCE)))?;
        let position = self.position(side);
        if position > target.saturating_add(self.samples(MAX_AHEAD)) {
            return Ok(());
        }
        let gap = target.saturating_sub(position);
        let gap = if gap > self.samples(TOLERANCE) { gap as usize } else { 0 };
        let waiting = match side {
            Side::Said => &mut self.said,
            Side::Heard => &mut self.heard,
        };
        waiting.extend(std::iter::repeat_n(0, gap));
        waiting.extend(samples);
        let both = self.said.len().min(self.heard.len());
        self.write_both(both)
    }

    /// Completes the file up to `now`.
    ///
    /// # Errors
    /// [`WavError::File`], [`WavError::Full`].
    pub fn finish(mut self, now: Instant) -> Result<(), WavError> {
        let longest = self.said.len().max(self.heard.len()) as u64;
        let end = self.samples(now.saturating_duration_since(self.start)).max(self.written + longest);
        self.write_silence_to(end)?;
        self.file.finish()
    }

    /// Brings the file to an instant: what waits, and silence behind it.
    fn write_silence_to(&mut self, target: u64) -> Result<(), WavError> {
        while self.written < target {
            let count = (target - self.written).min(SILENCE as u64) as usize;
            self.write_both(count)?;
        }
        Ok(())
    }

    /// Writes so many instants; a side that has fewer is silent.
    fn write_both(&mut self, count: usize) -> Result<(), WavError> {
        self.scratch.clear();
        for _ in 0..count {
            self.scratch.push(self.said.pop_front().unwrap_or(0));
            self.scratch.push(self.heard.pop_front().unwrap_or(0));
        }
        self.written += count as u64;
        self.file.write(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::correlate::correlate;
    use crate::audio::speech::speech_like;
    use crate::audio::wav::read_channels_from_at;
    use std::io::Cursor;

    const FRAME: Duration = Duration::from_millis(20);

    fn channels(file: Cursor<Vec<u8>>) -> (Vec<i16>, Vec<i16>) {
        let mut channels = read_channels_from_at(&file.into_inner()[..], 8000).unwrap().into_iter();
        (channels.next().unwrap(), channels.next().unwrap())
    }

    #[test]
    fn each_side_is_in_its_channel_at_its_time_whatever_the_timers_do() {
        let (said, heard) = (speech_like(40_000, 1), speech_like(40_000, 2));
        let (start, mut file) = (Instant::now(), Cursor::new(Vec::new()));
        let mut recorder = CallRecorder::new(&mut file, start, 8000).unwrap();
        let (mut to_say, mut to_hear) = (said.chunks(160), heard.chunks(160));
        for index in 0..300 {
            // Up to 19 ms late, never the same.
            let now = start + FRAME * index + Duration::from_millis(u64::from(index) * 7 % 20);
            if let Some(frame) = to_say.next() {
                recorder.write(now, Side::Said, frame).unwrap();
            }
            // The peer is heard from the second second on.
            if index >= 50
                && let Some(frame) = to_hear.next()
            {
                recorder.write(now, Side::Heard, frame).unwrap();
            }
        }
        recorder.finish(start + FRAME * 300).unwrap();
        let (left, right) = channels(file);
        assert!(left.len() == right.len() && left.len().abs_diff(48_000) <= 160, "{}", left.len());
        let (found_left, found_right) = (correlate(&said, &left), correlate(&heard, &right));
        assert!(found_left.matched == 1.0 && found_left.lag == 0, "{found_left:?}");
        assert!(found_right.matched == 1.0 && (8000..8160).contains(&found_right.lag), "{found_right:?}");
        assert!(correlate(&said, &right).matched < 0.2 && correlate(&heard, &left).matched < 0.2);
    }

    #[test]
    fn a_hold_is_silence_on_one_side_and_the_rest_stays_in_time() {
        let (said, heard) = (speech_like(48_000, 3), speech_like(48_000, 4));
        let (start, mut file) = (Instant::now(), Cursor::new(Vec::new()));
        let mut recorder = CallRecorder::new(&mut file, start, 8000).unwrap();
        for (index, (one, other)) in said.chunks(160).zip(heard.chunks(160)).enumerate() {
            let now = start + FRAME * index as u32;
            recorder.write(now, Side::Said, one).unwrap();
            // The peer holds from second 2 to 4.
            if !(100..200).contains(&index) {
                recorder.write(now, Side::Heard, other).unwrap();
            }
        }
        recorder.finish(start + Duration::from_secs(6)).unwrap();
        let (left, right) = channels(file);
        assert_eq!((left.as_slice(), right.len()), (said.as_slice(), 48_000));
        assert_eq!(right[..16_000], heard[..16_000]);
        assert!(right[16_000..32_000].iter().all(|sample| *sample == 0));
        assert_eq!(right[32_000..], heard[32_000..]);
    }

    #[test]
    fn minutes_of_nothing_and_floods_keep_little_in_memory() {
        let (start, mut file) = (Instant::now(), Cursor::new(Vec::new()));
        let mut recorder = CallRecorder::new(&mut file, start, 8000).unwrap();
        for _ in 0..1000 {
            recorder.write(start, Side::Said, &[5; 160]).unwrap();
        }
        assert!(recorder.said.len() <= 8000 + 160);
        let later = start + Duration::from_secs(60);
        recorder.write(later, Side::Heard, &[6; 160]).unwrap();
        assert!(recorder.said.len() + recorder.heard.len() <= 2000);
        recorder.finish(later + FRAME).unwrap();
        let (left, right) = channels(file);
        assert_eq!((left.len(), right.len()), (60 * 8000 + 160, 60 * 8000 + 160));
        assert_eq!(right[60 * 8000..], [6; 160]);
        assert_eq!(right[..60 * 8000].iter().filter(|sample| **sample != 0).count(), 0);
    }
}
