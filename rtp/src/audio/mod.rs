//! Helpers around 8 kHz mono audio: files, generated signals, and finding out what a recording holds.

pub mod correlate;
mod fourier;
pub mod progress;
pub mod speech;
pub mod tone;
pub mod wav;

/// Samples per second of everything in this module.
pub const SAMPLE_RATE: u32 = 8000;
