//! Opus (RFC 6716) in RTP (RFC 7587), coded by the library `opus-rs`; feature `opus`.

use std::fmt;

use opus_rs::{Application, OpusDecoder, OpusEncoder};

use super::{DecodeError, EncodeError};

/// The RTP clock (RFC 7587 §4.1), whatever the audio's sample rate.
pub const CLOCK_RATE: u32 = 48_000;
/// Longest packet (RFC 6716 §3.2): 120 ms.
pub const MAX_DURATION: u32 = 5760;
/// A packet that one encoder call writes at most; ours are near 100 octets.
const MAX_PACKET: usize = 1275;
/// Bits per second of one channel (RFC 7587 §3.1.1: 16 to 20 kbit/s for wideband, 28 to 40 for fullband speech).
const BITRATE: i32 = 32_000;
/// Loss that in-band FEC is made for, in percent, before the peer has reported any.
const EXPECTED_LOSS: i32 = 10;

/// Sample rates that the codec works at without conversion (RFC 6716 §2).
pub const SAMPLE_RATES: [u32; 5] = [8000, 12_000, 16_000, 24_000, 48_000];

/// Encodes mono or stereo.
pub struct Encoder {
    inner: OpusEncoder,
    channels: usize,
    sample_rate: u32,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Encoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Encoder {
    /// For voice, with in-band FEC. `None` if the rate is none of [`SAMPLE_RATES`] or there are not one or two channels.
    #[must_use]
    pub fn new(sample_rate: u32, channels: u8) -> Option<Self> {
        let rate = i32::try_from(sample_rate).ok()?;
        let mut inner = OpusEncoder::new(rate, channels.into(), Application::Voip).ok()?;
        inner.bitrate_bps = BITRATE * i32::from(channels);
        inner.use_inband_fec = true;
        inner.packet_loss_perc = EXPECTED_LOSS;
        Some(Self { inner, channels: channels.into(), sample_rate })
    }

    /// Bits per second wanted (`maxaveragebitrate` of RFC 7587 §6.1), 6,000 to 510,000.
    pub fn set_bitrate(&mut self, bits_per_second: u32) {
        self.inner.bitrate_bps = bits_per_second.clamp(6000, 510_000) as i32;
    }

    /// Whether packets carry their predecessors once more (`useinbandfec` of RFC 7587 §6.1), and for how much loss, 0 to 100 %.
    pub fn set_fec(&mut self, on: bool, loss_percent: u8) {
        self.inner.use_inband_fec = on;
        self.inner.packet_loss_perc = loss_percent.min(100).into();
    }

    /// Encodes one frame of 10, 20, 40 or 60 ms, channels interleaved. (The shorter ones of RFC 6716 are for music; they are decoded.)
    ///
    /// # Errors
    /// [`EncodeError`] if the frame has another length.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = payload.len();
        payload.resize(start + MAX_PACKET, 0);
        let error = EncodeError { samples: samples.len(), sample_rate: self.sample_rate };
        let length = match payload.get_mut(start..) {
            Some(out) => {
                self.inner.encode_i16(samples, samples.len() / self.channels, out).map_err(|_| error)
            }
            None => Err(error),
        };
        payload.truncate(start + length.as_ref().copied().unwrap_or(0));
        length.map(|_| ())
    }
}

/// Decodes packets of either kind into mono or stereo.
pub struct Decoder {
    inner: OpusDecoder,
    channels: usize,
    sample_rate: u32,
    decoded: Vec<f32>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Decoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Decoder {
    /// `None` if the rate is none of [`SAMPLE_RATES`] or there are not one or two channels.
    #[must_use]
    pub fn new(sample_rate: u32, channels: u8) -> Option<Self> {
        let inner = OpusDecoder::new(i32::try_from(sample_rate).ok()?, channels.into()).ok()?;
        Some(Self { inner, channels: channels.into(), sample_rate, decoded: Vec::new() })
    }

    /// Samples of a channel in so many units of the RTP clock.
    fn samples(&self, units: u32) -> usize {
        (u64::from(units) * u64::from(self.sample_rate) / u64::from(CLOCK_RATE)) as usize
    }

    /// Decodes a packet.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none of at most 120 ms.
    pub fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) -> Result<(), DecodeError> {
        let units = duration(payload).ok_or(DecodeError::Malformed("Opus"))?;
        let count = self.samples(units);
        self.run(count, samples, |inner, count, out| inner.decode(payload, count, out))
            .ok_or(DecodeError::Malformed("Opus"))
    }

    /// Makes up `count` samples per channel that were lost; from the packet behind the gap, if it has come and carries
    /// them once more.
    pub fn conceal(&mut self, count: usize, next: Option<&[u8]>, samples: &mut Vec<i16>) {
        let step = (self.sample_rate / 400) as usize;
        let count = count.min(self.samples(MAX_DURATION)) / step.max(1) * step;
        let next = next.filter(|next| duration(next).is_some());
        let done = self.run(count, samples, |inner, count, out| match next {
            Some(next) => inner.decode_fec(next, count, out),
            None => inner.decode(&[], count, out),
        });
        if done.is_none() {
            samples.resize(samples.len() + count * self.channels, 0);
        }
    }

    fn run<E>(
        &mut self,
        count: usize,
        samples: &mut Vec<i16>,
        decode: impl FnOnce(&mut OpusDecoder, usize, &mut [f32]) -> Result<usize, E>,
    ) -> Option<()> {
        self.decoded.clear();
        self.decoded.resize(count * self.channels, 0.0);
        let length = decode(&mut self.inner, count, &mut self.decoded).ok()?;
        let decoded = self.decoded.get(..length * self.channels)?;
        samples.extend(decoded.iter().map(|sample| (sample * 32_768.0).round() as i16));
        Some(())
    }
}

/// Duration of a packet in units of the RTP clock by its first octets (RFC 6716 §3.1, §3.2); `None` if it is no packet.
#[must_use]
pub fn duration(payload: &[u8]) -> Option<u32> {
    let first = *payload.first()?;
    let configuration = first >> 3;
    // Tenths of milliseconds (RFC 6716 table 2).
    let frame: u32 = match (configuration, configuration & 3) {
        (0..=11, size) => [100, 200, 400, 600].get(usize::from(size)).copied()?,
        (12..=15, size) => [100, 200].get(usize::from(size & 1)).copied()?,
        (_, size) => [25, 50, 100, 200].get(usize::from(size)).copied()?,
    };
    let frames: u32 = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(payload.get(1)? & 0x3f),
    };
    let units = frame * frames * CLOCK_RATE / 10_000;
    (units > 0 && units <= MAX_DURATION).then_some(units)
}

/// Whether a packet carries the one before it once more: low bit-rate redundancy, whose flag stands before all else in the
/// first frame and can be read without decoding (RFC 6716 §4.2.3).
#[must_use]
pub fn repeats_previous(payload: &[u8]) -> bool {
    let (Some(first), Some(flags)) = (payload.first(), first_frame(payload).and_then(<[u8]>::first)) else {
        return false;
    };
    let configuration = first >> 3;
    // SILK frames of a channel: each has a flag for voice, and then comes one for redundancy. CELT has none (table 2).
    let frames = match (configuration, configuration & 3) {
        (0..=11, 3) => 3,
        (0..=11, 2) => 2,
        (0..=15, _) => 1,
        _ => return false,
    };
    let is_stereo = first & 4 != 0;
    (flags >> (7 - frames)) & 1 == 1 || (is_stereo && (flags >> (6 - 2 * frames)) & 1 == 1)
}

/// The octets from the first frame of a packet on (RFC 6716 §3.2). `None` where that frame is empty, as in a pause.
fn first_frame(payload: &[u8]) -> Option<&[u8]> {
    let (first, rest) = payload.split_first()?;
    match first & 3 {
        0 | 1 => Some(rest),
        2 => frame_length(rest).filter(|(length, _)| *length > 0).map(|(_, frame)| frame),
        _ => {
            let (count, mut rest) = rest.split_first()?;
            let (is_variable, is_padded, count) = (count & 0x80 != 0, count & 0x40 != 0, count & 0x3f);
            let mut padding_goes_on = is_padded;
            while padding_goes_on {
                let (padding, after) = rest.split_first()?;
                (rest, padding_goes_on) = (after, *padding == u8::MAX);
            }
            let mut is_empty = false;
            if is_variable {
                // The length of the last frame is not told.
                for number in 1..count {
                    let (length, after) = frame_length(rest)?;
                    is_empty |= number == 1 && length == 0;
                    rest = after;
                }
            }
            Some(rest).filter(|_| !is_empty)
        }
    }
}

/// A length of one or two octets (RFC 6716 §3.2.1), and what comes behind it.
fn frame_length(octets: &[u8]) -> Option<(usize, &[u8])> {
    match *octets {
        [first @ 252..=255, second, ref rest @ ..] => {
            Some((usize::from(first) + 4 * usize::from(second), rest))
        }
        [first @ 0..=251, ref rest @ ..] => Some((first.into(), rest)),
        _ => None,
    }
}
