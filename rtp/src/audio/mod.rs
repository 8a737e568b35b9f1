//! Helpers around mono audio: files, generated signals, sample rates, and finding out what a recording holds.

pub mod correlate;
mod fourier;
pub mod progress;
pub mod recording;
pub mod resample;
pub mod speech;
pub mod tone;
pub mod wav;

/// Samples per second of everything in this module where nothing else is said.
pub const SAMPLE_RATE: u32 = 8000;
