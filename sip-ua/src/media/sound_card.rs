//! The microphone and the loudspeaker of this machine.

use std::sync::mpsc;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{FromSample, SampleFormat, SizedSample, Stream, StreamConfig};

use rtp::audio::resample::Resampler;

use super::live::LiveSound;

/// The rate of calls.
const CALL_RATE: u32 = 8000;

/// Why the sound card cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoundCardError {
    /// There is none.
    #[error("this machine has no {0}; name one in the settings of its sound system")]
    NoDevice(&'static str),
    /// The sound system refuses.
    #[error("the {device} cannot be used: {error}")]
    Device {
        /// The microphone, or the loudspeaker.
        device: &'static str,
        /// What it said.
        #[source]
        error: cpal::Error,
    },
    /// It speaks in samples that nobody here understands.
    #[error("the {device} has samples of a kind that is not supported: {format}")]
    Format {
        /// The microphone, or the loudspeaker.
        device: &'static str,
        /// Which.
        format: SampleFormat,
    },
    /// It has a sample rate that no audio has.
    #[error("the {device} has a sample rate that is not supported: {rate} Hz")]
    Rate {
        /// The microphone, or the loudspeaker.
        device: &'static str,
        /// Which.
        rate: u32,
    },
    /// No thread for it.
    #[error("no thread for the sound card: {0}")]
    Thread(#[from] std::io::Error),
}

const MICROPHONE: &str = "microphone";
const LOUDSPEAKER: &str = "loudspeaker";

/// The sound card, in use for as long as this lives.
#[derive(Debug)]
pub struct SoundCard {
    /// Dropped first: that ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SoundCard {
    /// Opens the default microphone and loudspeaker: what is said here is spoken into `live`, and what comes from there is heard.
    ///
    /// # Errors
    /// If one of them is not there or cannot be used.
    pub fn open(live: &LiveSound) -> Result<Self, SoundCardError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let live = live.clone();
        // Streams stay where they were made: some systems want it.
        let thread = std::thread::Builder::new().name("sound card".into()).spawn(move || {
            let streams = microphone(&live).and_then(|input| Ok((input, loudspeaker(&live)?)));
            match streams {
                Ok(_streams) => {
                    let _ = tell.send(Ok(()));
                    let _ = stopped.recv(); // until the other end is dropped
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        })?;
        let card = Self { stop: Some(stop), thread: Some(thread) };
        match told.recv() {
            Ok(Err(error)) => Err(error),
            _ => Ok(card),
        }
    }
}

impl Drop for SoundCard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn failed(device: &'static str) -> impl Fn(cpal::Error) -> SoundCardError {
    move |error| SoundCardError::Device { device, error }
}

fn microphone(live: &LiveSound) -> Result<Stream, SoundCardError> {
    let failed = failed(MICROPHONE);
    let device = cpal::default_host().default_input_device().ok_or(SoundCardError::NoDevice(MICROPHONE))?;
    let config = device.default_input_config().map_err(&failed)?;
    let rate = config.sample_rate();
    let to_call = Resampler::new(rate, CALL_RATE).ok_or(SoundCardError::Rate { device: MICROPHONE, rate })?;
    let stream = match config.sample_format() {
        SampleFormat::I16 => hear::<i16>(&device, config.into(), to_call, live.clone()),
        SampleFormat::I32 => hear::<i32>(&device, config.into(), to_call, live.clone()),
        SampleFormat::U8 => hear::<u8>(&device, config.into(), to_call, live.clone()),
        SampleFormat::F32 => hear::<f32>(&device, config.into(), to_call, live.clone()),
        format => return Err(SoundCardError::Format { device: MICROPHONE, format }),
    };
    let stream = stream.map_err(&failed)?;
    stream.play().map_err(&failed)?;
    Ok(stream)
}

fn loudspeaker(live: &LiveSound) -> Result<Stream, SoundCardError> {
    let failed = failed(LOUDSPEAKER);
    let device = cpal::default_host().default_output_device().ok_or(SoundCardError::NoDevice(LOUDSPEAKER))?;
    let config = device.default_output_config().map_err(&failed)?;
    let rate = config.sample_rate();
    let of_call =
        Resampler::new(CALL_RATE, rate).ok_or(SoundCardError::Rate { device: LOUDSPEAKER, rate })?;
    let stream = match config.sample_format() {
        SampleFormat::I16 => say::<i16>(&device, config.into(), of_call, live.clone()),
        SampleFormat::I32 => say::<i32>(&device, config.into(), of_call, live.clone()),
        SampleFormat::U8 => say::<u8>(&device, config.into(), of_call, live.clone()),
        SampleFormat::F32 => say::<f32>(&device, config.into(), of_call, live.clone()),
        format => return Err(SoundCardError::Format { device: LOUDSPEAKER, format }),
    };
    let stream = stream.map_err(&failed)?;
    stream.play().map_err(&failed)?;
    Ok(stream)
}

fn complain(error: cpal::Error) {
    tracing::warn!(%error, "the sound card");
}

/// The first channel of what the microphone hears.
fn hear<T: SizedSample>(
    device: &cpal::Device,
    config: StreamConfig,
    mut to_call: Resampler,
    live: LiveSound,
) -> Result<Stream, cpal::Error>
where
    i16: FromSample<T>,
{
    let channels = usize::from(config.channels).max(1);
    let (mut heard, mut spoken) = (Vec::new(), Vec::new());
    let hear = move |samples: &[T], _: &cpal::InputCallbackInfo| {
        heard.clear();
        spoken.clear();
        heard.extend(samples.iter().step_by(channels).map(|sample| sample.to_sample::<i16>()));
        to_call.process(&heard, &mut spoken);
        live.speak(&spoken);
    };
    device.build_input_stream(config, hear, complain, None)
}

/// What the peer says, on every channel.
fn say<T: SizedSample + FromSample<i16>>(
    device: &cpal::Device,
    config: StreamConfig,
    mut of_call: Resampler,
    live: LiveSound,
) -> Result<Stream, cpal::Error> {
    let channels = usize::from(config.channels).max(1);
    let (mut ready, mut at) = (Vec::new(), 0);
    let say = move |out: &mut [T], _: &cpal::OutputCallbackInfo| {
        for frame in out.chunks_mut(channels) {
            while at >= ready.len() {
                // A millisecond at a time: silence where there is nothing.
                let mut said = [0; (CALL_RATE / 1000) as usize];
                live.listen(&mut said);
                ready.clear();
                at = 0;
                of_call.process(&said, &mut ready);
            }
            let sample: i16 = ready.get(at).copied().unwrap_or(0);
            at += 1;
            frame.fill(T::from_sample(sample));
        }
    };
    device.build_output_stream(config, say, complain, None)
}
