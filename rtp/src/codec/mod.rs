//! Audio codecs: what each is called in RTP, and an encoder and a decoder of any of them.
//!
//! | codec | audio | RTP clock | payload type | RFC |
//! |---|---|---|---|---|
//! | PCMU, PCMA | 8 kHz | 8000 | 0, 8 | 3551 §4.5.14, ITU-T G.711 |
//! | G722 | 16 kHz | 8000 | 9 | 3551 §4.5.2, ITU-T G.722 |
//! | L16 | any | as the audio | 10 and 11 at 44.1 kHz | 3551 §4.5.11 |
//! | opus | 8 to 48 kHz | 48000 | dynamic | 6716, 7587; feature `opus` |
//!
//! Beside them go [`comfort_noise`] in the pauses and [`redundancy`] against loss.
//!
//! ```
//! use rtp::codec::{Codec, Decoder, Encoder};
//! let codec = Codec::from_rtpmap("G722", 8000, 1).ok_or("known")?;
//! assert_eq!((codec.clock_rate(), codec.sample_rate(), codec.static_payload_type()), (8000, 16_000, Some(9)));
//! let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
//! let (mut payload, mut heard) = (Vec::new(), Vec::new());
//! encoder.encode(&[0; 320], &mut payload)?; // 20 ms
//! decoder.decode(&payload, &mut heard)?;
//! assert_eq!((payload.len(), heard.len(), codec.duration(&payload)), (160, 320, Some(160)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod comfort_noise;
pub mod g722;
pub mod l16;
#[cfg(feature = "opus")]
pub mod opus;
pub mod redundancy;
pub mod voice_activity;

use crate::concealment::Concealer;
use crate::emodel;
use crate::g711::Law;

/// Channels of L16 at most; more is no telephone.
const MAX_CHANNELS: u8 = 2;
/// Sample rates at most.
const MAX_SAMPLE_RATE: u32 = 48_000;
/// Longest packet played: 200 ms (RFC 3551 §4.2). A peer may not fill the playout with one packet.
const MAX_PACKETS_PER_SECOND: u32 = 5;

/// A codec that a stream can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// G.711, an octet per sample of 8 kHz.
    G711(Law),
    /// G.722 at 64 kbit/s.
    G722,
    /// Linear samples in network order.
    L16 {
        /// Samples per second and channel, 1 to 48,000.
        sample_rate: u32,
        /// 1 or 2.
        channels: u8,
    },
    /// Opus, mono: what is sent as `opus/48000/2` all the same (RFC 7587 §7).
    #[cfg(feature = "opus")]
    Opus,
}

impl Codec {
    /// µ-law.
    pub const PCMU: Self = Self::G711(Law::Mu);
    /// A-law.
    pub const PCMA: Self = Self::G711(Law::A);

    /// The codec of an `a=rtpmap`, of those in this build; letter case does not count.
    #[must_use]
    pub fn from_rtpmap(name: &str, clock_rate: u32, channels: u8) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match (clock_rate, channels) {
            (8000, 1) if is("PCMU") => Some(Self::PCMU),
            (8000, 1) if is("PCMA") => Some(Self::PCMA),
            (8000, 1) if is("G722") => Some(Self::G722),
            (1..=MAX_SAMPLE_RATE, 1..=MAX_CHANNELS) if is("L16") => {
                Some(Self::L16 { sample_rate: clock_rate, channels })
            }
            #[cfg(feature = "opus")]
            (opus::CLOCK_RATE, 2) if is("opus") => Some(Self::Opus),
            _ => None,
        }
    }

    /// The codec of a payload type that RFC 3551 §6 gave away for good.
    #[must_use]
    pub fn from_static(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::PCMU),
            8 => Some(Self::PCMA),
            9 => Some(Self::G722),
            10 => Some(Self::L16 { sample_rate: 44_100, channels: 2 }),
            11 => Some(Self::L16 { sample_rate: 44_100, channels: 1 }),
            _ => None,
        }
    }

    /// Its payload type, if it has one for good.
    #[must_use]
    pub fn static_payload_type(self) -> Option<u8> {
        (0..=11).find(|payload_type| Self::from_static(*payload_type) == Some(self))
    }

    /// Name in `a=rtpmap`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::G711(law) => law.name(),
            Self::G722 => "G722",
            Self::L16 { .. } => "L16",
            #[cfg(feature = "opus")]
            Self::Opus => "opus",
        }
    }

    /// Units of RTP timestamps per second. That of G.722 is 8000 by an old mistake (RFC 3551 §4.5.2).
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::G711(_) | Self::G722 => 8000,
            Self::L16 { sample_rate, .. } => sample_rate,
            #[cfg(feature = "opus")]
            Self::Opus => opus::CLOCK_RATE,
        }
    }

    /// Samples of audio per second and channel.
    #[must_use]
    pub fn sample_rate(self) -> u32 {
        self.sample_rate_near(MAX_SAMPLE_RATE)
    }

    /// The sample rate, of those the codec works at, that loses least and costs least where the audio has `wanted`.
    #[must_use]
    pub fn sample_rate_near(self, wanted: u32) -> u32 {
        let _ = wanted; // in a build without Opus every codec has one rate
        match self {
            Self::G711(_) => 8000,
            Self::G722 => 16_000,
            Self::L16 { sample_rate, .. } => sample_rate,
            #[cfg(feature = "opus")]
            Self::Opus => opus_rate(wanted),
        }
    }

    /// Channels of the encoder's and decoder's audio.
    #[must_use]
    pub fn channels(self) -> u8 {
        match self {
            Self::L16 { channels, .. } => channels,
            _ => 1,
        }
    }

    /// Channels in `a=rtpmap`: Opus always says two (RFC 7587 §7).
    #[must_use]
    pub fn rtpmap_channels(self) -> u8 {
        match self {
            #[cfg(feature = "opus")]
            Self::Opus => 2,
            other => other.channels(),
        }
    }

    /// Duration of a payload in units of the RTP clock; `None` if it holds nothing, or more than a packet may.
    #[must_use]
    pub fn duration(self, payload: &[u8]) -> Option<u32> {
        let octets = u32::try_from(payload.len()).ok()?;
        let units = match self {
            Self::G711(_) | Self::G722 => octets,
            Self::L16 { channels, .. } => octets / 2 / u32::from(channels.max(1)),
            #[cfg(feature = "opus")]
            Self::Opus => opus::duration(payload)?,
        };
        (units > 0 && units <= self.clock_rate() / MAX_PACKETS_PER_SECOND).then_some(units)
    }

    /// Whether packets can repeat what came before them, so that a lost one can be had from the next.
    #[must_use]
    pub fn has_in_band_fec(self) -> bool {
        match self {
            #[cfg(feature = "opus")]
            Self::Opus => true,
            _ => false,
        }
    }

    /// Whether this payload does: its encoder leaves it out where it would not pay.
    #[must_use]
    pub fn repeats_previous(self, payload: &[u8]) -> bool {
        let _ = payload; // in a build without Opus no codec has in-band FEC
        match self {
            #[cfg(feature = "opus")]
            Self::Opus => opus::repeats_previous(payload),
            _ => false,
        }
    }

    /// Its parameters in the E-model, with the concealment that its decoder has here.
    #[must_use]
    pub fn impairment(self) -> emodel::Codec {
        match self {
            Self::G711(_) => emodel::Codec::G711_CONCEALED,
            Self::G722 | Self::L16 { .. } => emodel::Codec::WIDEBAND,
            #[cfg(feature = "opus")]
            Self::Opus => emodel::Codec::OPUS,
        }
    }
}

#[cfg(feature = "opus")]
/// The rate of Opus for audio of this rate: one below would lose some, one above costs for nothing.
fn opus_rate(wanted: u32) -> u32 {
    [8000, 12_000, 16_000, 24_000].into_iter().find(|rate| *rate >= wanted).unwrap_or(48_000)
}

/// Why a frame cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{samples} samples at {sample_rate} Hz are no frame of this codec; use 10, 20, 40 or 60 ms")]
pub struct EncodeError {
    /// Samples given.
    pub samples: usize,
    /// The encoder's rate.
    pub sample_rate: u32,
}

/// Why a payload cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a payload of the codec.
    #[error("the payload is no packet of {0}")]
    Malformed(&'static str),
    /// Longer than a packet may be.
    #[error("the payload lasts longer than 200 ms")]
    TooLong,
}

/// Turns audio into payloads.
#[derive(Debug)]
pub struct Encoder {
    sample_rate: u32,
    kind: EncoderKind,
}

#[derive(Debug)]
enum EncoderKind {
    G711(Law),
    G722(Box<g722::Encoder>),
    L16,
    /// `None` would be a rate that the library does not know; ours are all known to it.
    #[cfg(feature = "opus")]
    Opus(Option<Box<opus::Encoder>>),
}

impl Encoder {
    /// An encoder at the codec's own sample rate.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self::near(codec, codec.sample_rate())
    }

    /// An encoder at the sample rate of [`Codec::sample_rate_near`].
    #[must_use]
    pub fn near(codec: Codec, wanted: u32) -> Self {
        let sample_rate = codec.sample_rate_near(wanted);
        let kind = match codec {
            Codec::G711(law) => EncoderKind::G711(law),
            Codec::G722 => EncoderKind::G722(Box::default()),
            Codec::L16 { .. } => EncoderKind::L16,
            #[cfg(feature = "opus")]
            Codec::Opus => EncoderKind::Opus(opus::Encoder::new(sample_rate, 1).map(Box::new)),
        };
        Self { sample_rate, kind }
    }

    /// Samples per second and channel.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Encodes one frame, channels interleaved, behind what `payload` holds.
    ///
    /// # Errors
    /// [`EncodeError`] if the codec has no frames of this length.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) -> Result<(), EncodeError> {
        match &mut self.kind {
            EncoderKind::G711(law) => {
                let start = payload.len();
                payload.resize(start + samples.len(), 0);
                law.encode_into(samples, payload.get_mut(start..).unwrap_or_default());
            }
            EncoderKind::G722(encoder) => encoder.encode(samples, payload),
            EncoderKind::L16 => l16::encode(samples, payload),
            #[cfg(feature = "opus")]
            EncoderKind::Opus(encoder) => {
                let error = EncodeError { samples: samples.len(), sample_rate: self.sample_rate };
                encoder.as_mut().ok_or(error)?.encode(samples, payload)?;
            }
        }
        Ok(())
    }

    /// The loss that the peer reports, 0 to 100 %: codecs with in-band FEC spend more on it.
    pub fn set_expected_loss(&mut self, percent: u8) {
        let _ = percent; // in a build without Opus no codec has in-band FEC
        match &mut self.kind {
            #[cfg(feature = "opus")]
            EncoderKind::Opus(Some(encoder)) => encoder.set_fec(true, percent),
            _ => {}
        }
    }
}

/// Turns payloads into audio, and makes up what was lost.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    sample_rate: u32,
    kind: DecoderKind,
}

#[derive(Debug)]
enum DecoderKind {
    G711(Law, Concealer),
    G722(Box<g722::Decoder>, Concealer),
    L16(Concealer),
    #[cfg(feature = "opus")]
    Opus(Option<Box<opus::Decoder>>),
}

impl Decoder {
    /// A decoder at the codec's own sample rate.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self::near(codec, codec.sample_rate())
    }

    /// A decoder at the sample rate of [`Codec::sample_rate_near`].
    #[must_use]
    pub fn near(codec: Codec, wanted: u32) -> Self {
        let sample_rate = codec.sample_rate_near(wanted);
        let concealer = Concealer::with_rate(sample_rate);
        let kind = match codec {
            Codec::G711(law) => DecoderKind::G711(law, concealer),
            Codec::G722 => DecoderKind::G722(Box::default(), concealer),
            Codec::L16 { .. } => DecoderKind::L16(concealer),
            #[cfg(feature = "opus")]
            Codec::Opus => DecoderKind::Opus(opus::Decoder::new(sample_rate, 1).map(Box::new)),
        };
        Self { codec, sample_rate, kind }
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Samples per second of what it gives.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Decodes a payload behind what `samples` holds, mono: the channels of others are mixed.
    ///
    /// # Errors
    /// [`DecodeError`]; then nothing was added.
    pub fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) -> Result<(), DecodeError> {
        self.codec.duration(payload).ok_or(DecodeError::TooLong)?;
        let start = samples.len();
        let concealer = match &mut self.kind {
            DecoderKind::G711(law, concealer) => {
                samples.resize(start + payload.len(), 0);
                law.decode_into(payload, samples.get_mut(start..).unwrap_or_default());
                concealer
            }
            DecoderKind::G722(decoder, concealer) => {
                decoder.decode(payload, samples);
                concealer
            }
            DecoderKind::L16(concealer) => {
                l16::decode(payload, samples);
                if self.codec.channels() == 2 {
                    mix(samples, start);
                }
                concealer
            }
            #[cfg(feature = "opus")]
            DecoderKind::Opus(decoder) => {
                let decoder = decoder.as_mut().ok_or(DecodeError::Malformed("Opus"))?;
                return decoder.decode(payload, samples);
            }
        };
        concealer.heard(samples.get_mut(start..).unwrap_or_default());
        Ok(())
    }

    /// Makes up `count` lost samples behind what `samples` holds. `next` is the payload behind the gap, if it has come:
    /// Opus carries the lost one in it once more.
    pub fn conceal(&mut self, count: usize, next: Option<&[u8]>, samples: &mut Vec<i16>) {
        let concealer = match &mut self.kind {
            DecoderKind::G711(_, concealer)
            | DecoderKind::G722(_, concealer)
            | DecoderKind::L16(concealer) => concealer,
            #[cfg(feature = "opus")]
            DecoderKind::Opus(decoder) => {
                match decoder {
                    Some(decoder) => decoder.conceal(count, next, samples),
                    None => samples.resize(samples.len() + count, 0),
                }
                return;
            }
        };
        let _ = next;
        concealer.conceal_into(count, samples);
    }
}

/// Two interleaved channels from `start` on become one.
fn mix(samples: &mut Vec<i16>, start: usize) {
    let mixed: Vec<i16> = samples
        .get(start..)
        .unwrap_or_default()
        .as_chunks()
        .0
        .iter()
        .map(|[left, right]| i16::midpoint(*left, *right))
        .collect();
    samples.truncate(start);
    samples.extend(mixed);
}

#[cfg(test)]
mod tests;
