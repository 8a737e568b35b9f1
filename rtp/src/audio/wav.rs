//! WAV files: any PCM in, 16 bits out, at 8 kHz and mono unless asked otherwise.
//!
//! What is written can be read at any time: the header is brought up to date every second of audio, so that a program that dies
//! leaves a file without its last second. Both sides of a call in one file are [`recording`](super::recording)'s.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::SAMPLE_RATE;
use super::resample::{SAMPLE_RATES, resample};

/// Samples read from one file and channel: an hour at 48 kHz. A wrong file must not take all memory.
pub const MAX_SAMPLES: usize = 172_800_000;
/// Octets of audio in a file: its header counts them in 32 bits, and itself too.
const MAX_OCTETS: u64 = u32::MAX as u64 - 1024;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// Not a WAV file, broken, or not accessible.
    #[error("WAV: {0}")]
    File(#[from] hound::Error),
    /// Longer than [`MAX_SAMPLES`].
    #[error("WAV: more than {MAX_SAMPLES} samples per channel; cut the file")]
    TooLong,
    /// A rate that no audio has, or that goes with the one asked for in no way.
    #[error("WAV: a sample rate of {0} Hz is not supported; use 1,000 to 384,000")]
    SampleRate(u32),
    /// What was written fills the file: its header counts octets in 32 bits.
    #[error("WAV: the file is full (4 GiB); begin another")]
    Full,
}

/// Reads a file for 8 kHz: channels are mixed, other widths and floats converted, other rates resampled.
///
/// # Errors
/// [`WavError`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<i16>, WavError> {
    read_at(path, SAMPLE_RATE)
}

/// The same for another sample rate.
///
/// # Errors
/// [`WavError`].
pub fn read_at(path: impl AsRef<Path>, sample_rate: u32) -> Result<Vec<i16>, WavError> {
    let file = File::open(path).map_err(hound::Error::IoError)?;
    read_from_at(BufReader::new(file), sample_rate)
}

/// Reads from anything; see [`read`].
///
/// # Errors
/// [`WavError`].
pub fn read_from(reader: impl Read) -> Result<Vec<i16>, WavError> {
    read_from_at(reader, SAMPLE_RATE)
}

/// The same for another sample rate.
///
/// # Errors
/// [`WavError`].
pub fn read_from_at(reader: impl Read, wanted: u32) -> Result<Vec<i16>, WavError> {
    let (channels, sample_rate, interleaved) = decode(reader)?;
    let mono: Vec<i16> = interleaved
        .chunks_exact(channels)
        .map(|frame| (frame.iter().sum::<f64>() / channels as f64).round() as i16)
        .collect();
    resample(&mono, sample_rate, wanted).ok_or(WavError::SampleRate(sample_rate))
}

/// Reads the channels of a file apart: of a recording by [`recording`](super::recording) left is what was sent, right what was
/// heard.
///
/// # Errors
/// [`WavError`].
pub fn read_channels_at(path: impl AsRef<Path>, sample_rate: u32) -> Result<Vec<Vec<i16>>, WavError> {
    let file = File::open(path).map_err(hound::Error::IoError)?;
    read_channels_from_at(BufReader::new(file), sample_rate)
}

/// The same from anything.
///
/// # Errors
/// [`WavError`].
pub fn read_channels_from_at(reader: impl Read, wanted: u32) -> Result<Vec<Vec<i16>>, WavError> {
    let (channels, sample_rate, interleaved) = decode(reader)?;
    let channel = |index: usize| {
        let frames = interleaved.chunks_exact(channels);
        let samples: Vec<i16> =
            frames.filter_map(|frame| frame.get(index)).map(|sample| sample.round() as i16).collect();
        resample(&samples, sample_rate, wanted).ok_or(WavError::SampleRate(sample_rate))
    };
    (0..channels).map(channel).collect()
}

/// Channels, sample rate and the samples of all channels by turns, full scale being that of 16 bits.
fn decode(reader: impl Read) -> Result<(usize, u32, Vec<f64>), WavError> {
    let mut reader = WavReader::new(reader)?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    if !SAMPLE_RATES.contains(&sample_rate) {
        return Err(WavError::SampleRate(sample_rate));
    }
    let channels = usize::from(channels.max(1));
    if reader.len() as usize / channels > MAX_SAMPLES {
        return Err(WavError::TooLong);
    }
    let interleaved: Vec<f64> = match sample_format {
        SampleFormat::Float => {
            reader.samples::<f32>().map(|s| s.map(|s| f64::from(s) * 32768.0)).collect::<Result<_, _>>()?
        }
        SampleFormat::Int => {
            let scale = 2f64.powi(16 - i32::from(bits_per_sample));
            reader.samples::<i32>().map(|s| s.map(|s| f64::from(s) * scale)).collect::<Result<_, _>>()?
        }
    };
    Ok((channels, sample_rate, interleaved))
}

/// Writes a file of 8 kHz mono 16 bits.
///
/// # Errors
/// [`WavError::File`].
pub fn write(path: impl AsRef<Path>, samples: &[i16]) -> Result<(), WavError> {
    write_at(path, samples, SAMPLE_RATE)
}

/// The same at another sample rate.
///
/// # Errors
/// [`WavError::File`].
pub fn write_at(path: impl AsRef<Path>, samples: &[i16], sample_rate: u32) -> Result<(), WavError> {
    let file = File::create(path).map_err(hound::Error::IoError)?;
    let mut recorder = Recorder::with_rate(BufWriter::new(file), sample_rate)?;
    recorder.write(samples)?;
    recorder.finish()
}

/// Writes a file while the audio comes in.
pub struct Recorder<W: Write + Seek = BufWriter<File>> {
    writer: WavWriter<W>,
    octets: u64,
    /// Samples, of all channels, since the header told the truth.
    since_header: u32,
}

impl Recorder {
    /// Creates or truncates the file.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, WavError> {
        let file = File::create(path).map_err(hound::Error::IoError)?;
        Self::new(BufWriter::new(file))
    }
}

impl<W: Write + Seek> Recorder<W> {
    /// Writes to anything.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn new(writer: W) -> Result<Self, WavError> {
        Self::with_rate(writer, SAMPLE_RATE)
    }

    /// Writes to anything, at another sample rate.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn with_rate(writer: W, sample_rate: u32) -> Result<Self, WavError> {
        Self::with_channels(writer, sample_rate, 1)
    }

    /// Writes to anything, at another sample rate, several channels by turns.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn with_channels(writer: W, sample_rate: u32, channels: u16) -> Result<Self, WavError> {
        let channels = channels.max(1);
        let spec = WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::new(writer, spec)?;
        writer.flush()?; // an empty file is one, too
        Ok(Self { writer, octets: 0, since_header: 0 })
    }

    /// Appends samples; of several channels those of one instant follow each other, and no instant may be left unfinished.
    ///
    /// # Errors
    /// [`WavError::File`], [`WavError::Full`].
    pub fn write(&mut self, samples: &[i16]) -> Result<(), WavError> {
        let WavSpec { channels, sample_rate, .. } = self.writer.spec();
        for sample in samples {
            if self.octets >= MAX_OCTETS {
                return Err(WavError::Full);
            }
            self.writer.write_sample(*sample)?;
            self.octets += 2;
            self.since_header = self.since_header.saturating_add(1);
        }
        if self.since_header >= sample_rate.saturating_mul(u32::from(channels)) {
            self.since_header = 0;
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Completes the header. Without it, dropping the recorder does so and hides errors.
    ///
    /// # Errors
    /// [`WavError::File`].
    pub fn finish(self) -> Result<(), WavError> {
        Ok(self.writer.finalize()?)
    }
}

impl<W: Write + Seek> std::fmt::Debug for Recorder<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Recorder").field("samples", &self.writer.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::{Tone, dominant_frequency, power_at};
    use std::f64::consts::PI;
    use std::io::Cursor;

    fn file(rate: u32, channels: u16, bits: u16, samples: impl Iterator<Item = i32>) -> Vec<u8> {
        let spec =
            WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: SampleFormat::Int };
        let mut out = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut out, spec).unwrap();
        for sample in samples {
            for channel in 0..channels {
                writer.write_sample(if channel == 0 { sample } else { 0 }).unwrap();
            }
        }
        writer.finalize().unwrap();
        out.into_inner()
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let samples: Vec<i16> = Tone::sine(300.0).samples().take(1234).collect();
        let mut out = Cursor::new(Vec::new());
        let mut recorder = Recorder::new(&mut out).unwrap();
        recorder.write(&samples[..1000]).unwrap();
        recorder.write(&samples[1000..]).unwrap();
        recorder.finish().unwrap();
        assert_eq!(read_from(&out.into_inner()[..]).unwrap(), samples);
    }

    /// A file that several hold, as a disk holds it when the program that wrote it is gone.
    #[derive(Clone, Default)]
    struct Disk(std::sync::Arc<std::sync::Mutex<Cursor<Vec<u8>>>>);

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Disk {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.lock().unwrap().seek(to)
        }
    }

    #[test]
    fn a_program_that_dies_leaves_all_but_the_last_second() {
        let disk = Disk::default();
        let mut recorder = Recorder::with_channels(BufWriter::new(disk.clone()), 8000, 2).unwrap();
        let on_disk = || disk.0.lock().unwrap().get_ref().clone();
        assert_eq!(read_channels_from_at(&on_disk()[..], 8000).unwrap(), [vec![], vec![]]);
        let samples: Vec<i16> = Tone::sine(300.0).samples().take(2 * 20_000).collect();
        for frame in samples.chunks(320) {
            recorder.write(frame).unwrap();
        }
        std::mem::forget(recorder);
        let channels = read_channels_from_at(&on_disk()[..], 8000).unwrap();
        assert_eq!(channels[0].len(), 16_000);
        assert!(channels[0].iter().eq(samples[..32_000].iter().step_by(2)));
        assert!(channels[1].iter().eq(samples[1..32_000].iter().step_by(2)));
    }

    #[test]
    fn channels_are_read_apart_or_mixed() {
        let stereo = file(16_000, 2, 16, std::iter::repeat_n(1000, 1600));
        let channels = read_channels_from_at(&stereo[..], 16_000).unwrap();
        assert_eq!(channels, [vec![1000; 1600], vec![0; 1600]]);
        assert_eq!(read_from_at(&stereo[..], 16_000).unwrap(), vec![500; 1600]);
        assert_eq!(read_channels_from_at(&stereo[..], 8000).unwrap()[0].len(), 800);
    }

    #[test]
    fn stereo_24_bits_at_44100_becomes_mono_at_8000_and_keeps_its_tone() {
        let tone = (0..44_100).map(|i| ((f64::from(i) * 1000.0 * 2.0 * PI / 44_100.0).sin() * 4e6) as i32);
        let samples = read_from(&file(44_100, 2, 24, tone)[..]).unwrap();
        assert_eq!(samples.len(), 8000);
        let dominant = dominant_frequency(&samples).unwrap();
        assert!((dominant.hertz - 1000.0).abs() < 2.0 && dominant.share > 0.95, "{dominant:?}");
    }

    #[test]
    fn what_8_khz_cannot_hold_is_filtered_and_not_folded() {
        let tone =
            (0..48_000).map(|i| ((f64::from(i) * 6000.0 * 2.0 * PI / 48_000.0).sin() * 20_000.0) as i32);
        let samples = read_from(&file(48_000, 1, 16, tone)[..]).unwrap();
        assert!(power_at(&samples[200..7800], 2000.0) < 100.0);
    }

    #[test]
    fn eight_bits_and_upsampling() {
        let tone = (0..4000).map(|i| ((f64::from(i) * 400.0 * 2.0 * PI / 4000.0).sin() * 100.0) as i32);
        let samples = read_from(&file(4000, 1, 8, tone)[..]).unwrap();
        assert!((dominant_frequency(&samples).unwrap().hertz - 400.0).abs() < 2.0);
    }

    #[test]
    fn rubbish_is_an_error() {
        assert!(matches!(read_from(&b"not a wave file"[..]), Err(WavError::File(_))));
        assert!(matches!(read_from(&file(0x7fff_ffff, 1, 16, 0..4)[..]), Err(WavError::SampleRate(_))));
    }
}
