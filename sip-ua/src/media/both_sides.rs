//! Both sides of a call into one stereo file, written as it goes: a program that ends badly loses the last moments only.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use rtp::audio::recording::{CallRecorder, Side};
use rtp::audio::wav::WavError;

/// Frames that wait for a disk that is slow, 10 s; what is more is silent in the file.
const MAX_WAITING: usize = 500;

struct Frames {
    at: Instant,
    said: Vec<i16>,
    heard: Vec<i16>,
}

/// A thread that writes: the disk must not hold up the call.
#[derive(Debug)]
pub(super) struct BothSides {
    frames: mpsc::SyncSender<Frames>,
    writer: JoinHandle<Result<(), WavError>>,
}

impl BothSides {
    /// Creates or truncates the file. It begins now.
    pub(super) fn create(path: &Path, sample_rate: u32) -> Result<Self, WavError> {
        let mut recorder = CallRecorder::create(path, Instant::now(), sample_rate)?;
        let (frames, incoming) = mpsc::sync_channel::<Frames>(MAX_WAITING);
        let write = move || {
            let mut end = Instant::now();
            for Frames { at, said, heard } in incoming {
                recorder.write(at, Side::Said, &said)?;
                recorder.write(at, Side::Heard, &heard)?;
                end = at;
            }
            recorder.finish(end)
        };
        let writer = std::thread::Builder::new().name("recording".into()).spawn(write);
        let writer = writer.map_err(|error| WavError::File(error.into()))?;
        Ok(Self { frames, writer })
    }

    pub(super) fn frame(&self, at: Instant, said: &[i16], heard: &[i16]) {
        let _ = self.frames.try_send(Frames { at, said: said.to_vec(), heard: heard.to_vec() });
    }

    /// Waits until all is written.
    pub(super) fn finish(self) -> Result<(), WavError> {
        drop(self.frames);
        self.writer
            .join()
            .unwrap_or_else(|_| Err(WavError::File(std::io::Error::other("the writer failed").into())))
    }
}
