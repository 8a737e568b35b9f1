//! What an application does with the sound of a call.

use std::path::Path;
use std::sync::Arc;

use rtp::audio::wav::{self, WavError};
use rtp::audio_stream::{DigitError, Statistics};
use rtp::codec::Codec;
use rtp::extension::AudioLevel;
use rtp::ntp::NtpTimestamp;
use sdp::CryptoSuite;

use super::both_sides::BothSides;
use super::live::Connected;
use super::recording::Recording;
use super::{LiveSound, Media, Source};

/// The sound of one call: play, record, echo, digits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Audio {
    /// `None`: the call's media is another engine's.
    pub(crate) media: Option<Arc<Media>>,
}

/// What went wrong with sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file is no WAV that can be read.
    #[error("{path}: {error}")]
    Wav {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: WavError,
    },
    /// The digits cannot be sent.
    #[error(transparent)]
    Digits(#[from] DigitError),
    /// The call is over.
    #[error("the call is over")]
    Ended,
    /// The call's media is another engine's: its sound is not to be had here.
    #[error("the media of this call is not the phone's own; ask its engine")]
    NoAudio,
}

impl Audio {
    /// Plays a WAV file to the peer and waits until it is played to the end, or something else is played.
    ///
    /// # Errors
    /// If the file cannot be read or the call ends before.
    pub async fn play(&self, path: impl AsRef<Path>) -> Result<(), AudioError> {
        let rate = self.media()?.sample_rate();
        let path = path.as_ref().to_owned();
        let shown = path.display().to_string();
        let samples = match tokio::task::spawn_blocking(move || wav::read_at(path, rate)).await {
            Ok(Ok(samples)) => samples,
            Ok(Err(error)) => return Err(AudioError::Wav { path: shown, error }),
            Err(_) => return Err(AudioError::Ended),
        };
        self.play_samples(samples).await
    }

    /// Plays samples (16 bit, at [`Audio::sample_rate`]) to the peer and waits until they are played to the end, or something else
    /// is played. What many calls play is best shared, as an `Arc<[i16]>`.
    ///
    /// # Errors
    /// If the call ends before.
    pub async fn play_samples(&self, samples: impl Into<Arc<[i16]>>) -> Result<(), AudioError> {
        let media = self.media()?;
        media.state().source = Source::Samples { samples: samples.into(), at: 0 };
        media
            .wait(|state| match &state.source {
                _ if state.finished || state.closing => Some(Err(AudioError::Ended)),
                Source::Samples { .. } => None,
                Source::Silent | Source::Echo(_) | Source::Live(_) => Some(Ok(())),
            })
            .await
    }

    /// Stops what is played.
    pub fn stop_playing(&self) {
        self.set_source(Source::Silent);
    }

    fn media(&self) -> Result<&Media, AudioError> {
        self.media.as_deref().ok_or(AudioError::NoAudio)
    }

    fn set_source(&self, source: Source) {
        if let Some(media) = &self.media {
            media.state().source = source;
            media.changed.notify_waiters();
        }
    }

    /// Sends silence in the place of everything else, or no longer. Digits are still sent.
    pub fn mute(&self, on: bool) {
        if let Some(media) = &self.media {
            media.state().muted = on;
        }
    }

    /// Sends back what is heard, or stops doing so.
    pub fn echo(&self, on: bool) {
        self.set_source(if on { Source::Echo(Vec::new()) } else { Source::Silent });
    }

    /// Has somebody talk with the peer as it happens: what is spoken into `live` is sent, what the peer says is heard there.
    pub fn connect(&self, live: &LiveSound) {
        let Some(media) = &self.media else { return };
        self.set_source(Source::Live(Box::new(Connected::new(live, media.sample_rate()))));
    }

    /// Records what is heard from now on, to be written to a WAV file when the call ends.
    pub fn record(&self, path: impl AsRef<Path>) {
        let Some(media) = &self.media else { return };
        let mut state = media.state();
        state.record_path = Some(path.as_ref().to_owned());
        state.recording.get_or_insert_default();
    }

    /// Records both sides from now on into a stereo WAV file, left what is said, right what is heard. It is written as the call
    /// goes and complete when the call has ended.
    ///
    /// # Errors
    /// If the file cannot be created, or the call is over.
    pub fn record_both(&self, path: impl AsRef<Path>) -> Result<(), AudioError> {
        let media = self.media()?;
        let path = path.as_ref();
        let both = BothSides::create(path, media.sample_rate())
            .map_err(|error| AudioError::Wav { path: path.display().to_string(), error })?;
        let mut state = media.state();
        if state.finished || state.closing {
            return Err(AudioError::Ended);
        }
        state.both_sides = Some(both);
        Ok(())
    }

    /// Records what is heard from now on, into memory.
    pub fn start_recording(&self) {
        if let Some(media) = &self.media {
            media.state().recording = Some(Recording::default());
        }
    }

    /// Ends the recording and gives its samples (16 bit, at [`Audio::sample_rate`]).
    pub fn stop_recording(&self) -> Vec<i16> {
        let recording = self.media.as_ref().and_then(|media| media.state().recording.take());
        recording.map(Recording::into_samples).unwrap_or_default()
    }

    /// Presses keys: `0-9 * # A-D`, as telephone events (RFC 4733), and waits until they are sent.
    ///
    /// # Errors
    /// If one is no key, the peer does not take telephone events, or the call ends before.
    pub async fn send_digits(&self, keys: &str) -> Result<(), AudioError> {
        let media = self.media()?;
        {
            let mut state = media.state();
            state.stream.send_digits(keys)?;
            state.pressing = true;
        }
        media
            .wait(|state| {
                if !state.stream.is_sending_digits() {
                    Some(Ok(()))
                } else if state.finished || state.closing {
                    Some(Err(AudioError::Ended))
                } else {
                    None
                }
            })
            .await
    }

    /// The next key that the peer presses, each once; `None` when the call is over.
    pub async fn next_digit(&self) -> Option<char> {
        let media = self.media.as_ref()?;
        media
            .wait(|state| match state.digits.pop_front() {
                Some(digit) => Some(Some(digit)),
                None => (state.finished || state.closing).then_some(None),
            })
            .await
    }

    /// Samples per second of what is played and heard: as the phone was told, 8000 if nothing was said.
    pub fn sample_rate(&self) -> u32 {
        self.media.as_ref().map_or(8000, |media| media.sample_rate())
    }

    /// How loud the peer's last packet is, by its own word, if it tells ([`PhoneBuilder::audio_levels`](crate::PhoneBuilder::audio_levels)).
    pub fn heard_level(&self) -> Option<AudioLevel> {
        self.media.as_ref()?.state().stream.heard_level()
    }

    /// The codec in which we send.
    pub fn codec(&self) -> Option<Codec> {
        self.media.as_ref().map(|media| media.codec())
    }

    /// The crypto suite that protects the call; `None` if nothing does.
    pub fn crypto_suite(&self) -> Option<CryptoSuite> {
        self.media.as_ref()?.crypto_suite()
    }

    /// When what is heard now was spoken, by the peer's wall clock, once it has told (RFC 3550 §6.4.1): a
    /// [`VideoFrame`](crate::VideoFrame) with the same time belongs to it.
    pub fn captured(&self) -> Option<NtpTimestamp> {
        self.media.as_ref()?.state().stream.captured()
    }

    /// Counters and the estimated quality up to now.
    pub fn statistics(&self) -> Statistics {
        self.media.as_ref().map(|media| media.statistics()).unwrap_or_default()
    }
}
