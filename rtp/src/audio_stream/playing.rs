//! The receiving half: payloads in their order in, samples of the application out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::audio::resample::Resampler;
use crate::codec::comfort_noise::{Generator, Noise};
use crate::codec::{Codec, Decoder};
use crate::jitter::Playout;
use crate::ntp::NtpTimestamp;

use super::stretching::stretch;
use super::{AudioStream, FRAME};

/// Decoders kept at once: the codecs of one description. A peer that changes with every packet makes no more.
const MAX_DECODERS: usize = 4;
// What is ready is bounded by a second in `deliver`: a peer that changes its clock with every packet has all played at once.

/// Samples made up at once at most, in parts of a second: 200 ms.
const MAX_CONCEALED_PER_SECOND: u32 = 5;

/// A payload in the jitter buffer.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) codec: Codec,
    pub(super) octets: Vec<u8>,
}

/// Decoders, comfort noise, and what is ready to be heard.
#[derive(Debug)]
pub(super) struct Incoming {
    sample_rate: u32,
    /// The last is the one in use.
    decoders: Vec<(Decoder, Option<Resampler>)>,
    decoded: Vec<i16>,
    resampled: Vec<i16>,
    ready: VecDeque<i16>,
    noise: Option<Generator>,
    seed: u64,
    /// Samples by which audio was made longer and shorter.
    pub(super) stretched: (u64, u64),
}

impl Incoming {
    pub(super) fn new(sample_rate: u32, seed: u64) -> Self {
        Self {
            sample_rate,
            decoders: Vec::new(),
            decoded: Vec::new(),
            resampled: Vec::new(),
            ready: VecDeque::new(),
            noise: None,
            seed,
            stretched: (0, 0),
        }
    }

    /// Samples that wait to be heard.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn clear(&mut self) {
        self.ready.clear();
    }

    /// Another source speaks: nothing of the one before is continued.
    pub(super) fn reset(&mut self) {
        self.decoders.clear();
        self.noise = None;
    }

    /// Brings the decoder of a codec to the end of the list.
    fn select(&mut self, codec: Codec) {
        if self.decoders.last().is_some_and(|(decoder, _)| decoder.codec() == codec) {
            return;
        }
        if let Some(at) = self.decoders.iter().position(|(decoder, _)| decoder.codec() == codec) {
            let found = self.decoders.remove(at);
            self.decoders.push(found);
            return;
        }
        if self.decoders.len() >= MAX_DECODERS {
            self.decoders.remove(0);
        }
        let decoder = Decoder::near(codec, self.sample_rate);
        let rate = decoder.sample_rate();
        let resampler = if rate == self.sample_rate { None } else { Resampler::new(rate, self.sample_rate) };
        self.decoders.push((decoder, resampler));
    }

    /// Plays a payload, longer or shorter by at most so many units of its clock. Tells by how many it became.
    pub(super) fn play(&mut self, stored: &Stored, by: i32) -> i32 {
        self.select(stored.codec);
        self.noise = None;
        self.decoded.clear();
        let Some((decoder, _)) = self.decoders.last_mut() else { return 0 };
        // What is no payload of its codec is lost.
        if decoder.decode(&stored.octets, &mut self.decoded).is_err() {
            let units = stored.codec.duration(&stored.octets).unwrap_or(0);
            self.conceal(units, None);
            return 0;
        }
        let mut made = 0;
        if by != 0 {
            let (rate, clock) =
                (i64::from(decoder.sample_rate()), i64::from(stored.codec.clock_rate().max(1)));
            let wanted = i64::from(by) * rate / clock;
            let rate = decoder.sample_rate();
            let changed = stretch(&mut self.decoded, rate, wanted as i32);
            made = (i64::from(changed) * clock / i64::from(rate.max(1))) as i32;
            match u64::try_from(changed) {
                Ok(longer) => self.stretched.0 += longer,
                Err(_) => self.stretched.1 += u64::from(changed.unsigned_abs()),
            }
        }
        self.deliver();
        made
    }

    /// Makes up what was lost, in units of the codec's clock; from the payload behind it, if the codec can and it is there.
    pub(super) fn conceal(&mut self, units: u32, next: Option<&Stored>) {
        self.decoded.clear();
        let Some((decoder, _)) = self.decoders.last_mut() else { return };
        let codec = decoder.codec();
        let count =
            u64::from(units) * u64::from(decoder.sample_rate()) / u64::from(codec.clock_rate().max(1));
        let count = (count as usize).clamp(1, (decoder.sample_rate() / MAX_CONCEALED_PER_SECOND) as usize);
        let next = next.filter(|next| next.codec == codec).map(|next| next.octets.as_slice());
        decoder.conceal(count, next, &mut self.decoded);
        self.deliver();
    }

    /// Hands on what was decoded, as far as there is room.
    fn deliver(&mut self) {
        if self.ready.len() > self.sample_rate as usize {
            return;
        }
        match self.decoders.last_mut() {
            Some((_, Some(resampler))) => {
                self.resampled.clear();
                resampler.process(&self.decoded, &mut self.resampled);
                self.ready.extend(&self.resampled);
            }
            _ => self.ready.extend(&self.decoded),
        }
    }

    /// The peer is silent and says what that sounds like.
    pub(super) fn describe_silence(&mut self, payload: &[u8]) {
        let Some(noise) = Noise::parse(payload) else { return };
        let seed = self.seed;
        self.noise.get_or_insert_with(|| Generator::new(seed)).update(noise);
    }

    /// Gives the next samples: what is ready, then comfort noise or silence.
    pub(super) fn give(&mut self, out: &mut [i16]) {
        let ready = self.ready.len().min(out.len());
        let (played, rest) = out.split_at_mut(ready);
        for (slot, sample) in played.iter_mut().zip(self.ready.drain(..ready)) {
            *slot = sample;
        }
        match &mut self.noise {
            Some(noise) if !noise.is_silent() => noise.fill(rest),
            _ => rest.fill(0),
        }
    }
}

impl AudioStream {
    /// The next 160 samples for the loudspeaker, which are 20 ms at 8 kHz: received, concealed or silent.
    #[must_use]
    pub fn next_frame(&mut self, now: Instant) -> [i16; FRAME] {
        let mut frame = [0; FRAME];
        self.fill(now, &mut frame);
        frame
    }

    /// The next samples for the loudspeaker: received, concealed, noise or silence. Call it every 20 ms with room for as many
    /// samples as these have.
    pub fn fill(&mut self, now: Instant, out: &mut [i16]) {
        while self.incoming.ready() < out.len() {
            let ready = self.incoming.ready() as u64 * 1_000_000 / u64::from(self.sample_rate);
            match self.jitter.pop_ahead(now, Duration::from_micros(ready)) {
                Playout::Frame(frame) => {
                    self.behind = Some(frame.timestamp.wrapping_add(frame.samples));
                    let made = self.incoming.play(&frame.payload, frame.stretch);
                    if made != 0 {
                        self.jitter.stretched(made);
                    }
                }
                Playout::Missing { samples } => {
                    self.behind = self.behind.map(|behind| behind.wrapping_add(samples));
                    let next = self.jitter.following();
                    self.from_fec +=
                        u64::from(next.is_some_and(|next| next.codec.repeats_previous(&next.octets)));
                    self.incoming.conceal(samples, next);
                    if self.incoming.ready() == 0 {
                        break; // nothing was ever heard that could be continued
                    }
                }
                Playout::Silence(noise) => self.incoming.describe_silence(&noise.octets),
                Playout::Empty => break,
            }
        }
        let waiting = self.incoming.ready() as u64 * u64::from(self.jitter.clock_rate());
        self.given =
            self.behind.map(|behind| behind.wrapping_sub((waiting / u64::from(self.sample_rate)) as u32));
        self.incoming.give(out);
        if !self.direction.receives() {
            out.fill(0);
        }
    }

    /// When what [`fill`](Self::fill) gave last was spoken, by the speaker's wall clock, once a sender report has told (RFC 3550
    /// §6.4.1): pictures with the same time are shown with it.
    #[must_use]
    pub fn captured(&self) -> Option<NtpTimestamp> {
        self.session.wall_clock_at(self.heard_source()?, self.given?)
    }
}
