//! The sending half: samples of the application in, payloads out.

use std::time::{Duration, Instant};

use super::AudioStream;
use super::format::Format;
use crate::audio::resample::Resampler;
use crate::codec::comfort_noise::Noise;
use crate::codec::redundancy;
use crate::codec::voice_activity::VoiceActivity;
use crate::codec::{Codec, Encoder};
use crate::extension::AudioLevel;
use crate::session::{SendError, Transmit};

/// How long a description of silence holds before it is sent again, changed or not: it could have been lost.
const NOISE_REPEATED: Duration = Duration::from_millis(800);
/// How soon a changed one is sent.
const NOISE_CHANGED: Duration = Duration::from_millis(200);
/// RTP datagrams waiting for the caller: a tick makes one.
const MAX_TRANSMITS: usize = 8;

/// What is to be sent for a packet's worth of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// The audio, or its description, under this type.
    Send { payload_type: u8, is_audio: bool },
    /// Nothing: a pause.
    Pause,
}

/// Encoder, its frame, and what pauses are made of.
#[derive(Debug)]
pub(super) struct Outgoing {
    codec: Codec,
    encoder: Encoder,
    resampler: Option<Resampler>,
    /// Samples of a packet, channels not counted.
    frame: usize,
    duration: Duration,
    /// Units of the RTP clock in a packet.
    pub(super) units: u32,
    /// Samples at the codec's rate that make no packet yet.
    waiting: Vec<i16>,
    /// The payload made last.
    pub(super) payload: Vec<u8>,
    scratch: Vec<u8>,
    redundancy: Option<(u8, redundancy::Sender)>,
    activity: VoiceActivity,
    /// That of the packet made last, if it was to be measured.
    pub(super) level: Option<AudioLevel>,
    /// Payload type for descriptions of silence.
    comfort_noise: Option<u8>,
    discontinuous: bool,
    /// The description sent last in this pause, and for how long it holds.
    described: Option<(Noise, Duration)>,
}

impl Outgoing {
    pub(super) fn new(format: &Format, sample_rate: u32) -> Self {
        let encoder = Encoder::near(format.codec, sample_rate);
        let duration = format.packet_duration();
        let per_second = |rate: u32| (u64::from(rate) * duration.as_millis() as u64 / 1000) as usize;
        let rate = encoder.sample_rate();
        // Comfort noise has the clock of its codec, 8000 if nothing else was said (RFC 3389 §5.1); Opus has no use for it.
        let described = !format.codec.has_in_band_fec();
        Self {
            codec: format.codec,
            resampler: if rate == sample_rate { None } else { Resampler::new(sample_rate, rate) },
            frame: per_second(rate),
            duration,
            units: per_second(format.codec.clock_rate()) as u32,
            waiting: Vec::new(),
            payload: Vec::new(),
            scratch: Vec::new(),
            redundancy: format.redundancy.map(|redundancy| {
                (redundancy.payload_type, redundancy::Sender::new(redundancy.generations.max(1).into()))
            }),
            activity: VoiceActivity::new(),
            level: None,
            comfort_noise: format.comfort_noise.filter(|_| described),
            discontinuous: format.discontinuous,
            described: None,
            encoder,
        }
    }

    /// Takes samples at the application's rate.
    pub(super) fn take(&mut self, samples: &[i16]) {
        match &mut self.resampler {
            Some(resampler) => resampler.process(samples, &mut self.waiting),
            None => self.waiting.extend_from_slice(samples),
        }
    }

    /// Units of the RTP clock of what makes no packet yet.
    pub(super) fn begun(&self) -> u32 {
        (self.waiting.len() as u64 * u64::from(self.units) / self.frame.max(1) as u64) as u32
    }

    /// Throws away what makes no packet yet, and tells its units of the RTP clock.
    pub(super) fn discard(&mut self) -> u32 {
        let units = self.begun();
        self.waiting.clear();
        units
    }

    /// Something else was sent in the place of audio.
    pub(super) fn interrupt(&mut self) {
        self.described = None;
        if let Some((_, sender)) = &mut self.redundancy {
            sender.clear();
        }
    }

    /// The loss that the peer reports.
    pub(super) fn set_expected_loss(&mut self, percent: u8) {
        self.encoder.set_expected_loss(percent);
    }

    /// Makes the next payload, if there is enough for one, and measures it if its level is to be told. `timestamp` is that of its
    /// first sample.
    pub(super) fn next(&mut self, payload_type: u8, timestamp: u32, measures: bool) -> Option<Payload> {
        let frame = self.waiting.get(..self.frame)?;
        let pauses = self.comfort_noise.is_some() || self.discontinuous;
        let voice = (pauses || measures) && self.activity.is_voice(frame, self.duration);
        self.level = measures.then(|| AudioLevel::of(frame, voice));
        let made = if pauses && !voice {
            self.payload.clear();
            match (self.comfort_noise, self.describe()) {
                (Some(payload_type), true) => Payload::Send { payload_type, is_audio: false },
                _ => Payload::Pause,
            }
        } else {
            self.described = None;
            self.encode(payload_type, timestamp)
        };
        self.waiting.drain(..self.frame);
        Some(made)
    }

    fn encode(&mut self, payload_type: u8, timestamp: u32) -> Payload {
        let Some(frame) = self.waiting.get(..self.frame) else { return Payload::Pause };
        self.payload.clear();
        let encoded = if self.codec.channels() == 2 {
            let both: Vec<i16> = frame.iter().flat_map(|sample| [*sample; 2]).collect();
            self.encoder.encode(&both, &mut self.payload)
        } else {
            self.encoder.encode(frame, &mut self.payload)
        };
        if encoded.is_err() {
            return Payload::Pause; // not reached: the frame is one of the codec's
        }
        let Some((wrapped, sender)) = &mut self.redundancy else {
            return Payload::Send { payload_type, is_audio: true };
        };
        self.scratch.clear();
        sender.wrap(payload_type, timestamp, &self.payload, &mut self.scratch);
        std::mem::swap(&mut self.payload, &mut self.scratch);
        Payload::Send { payload_type: *wrapped, is_audio: true }
    }

    /// Describes the silence of the frame in the payload, if it is time to.
    fn describe(&mut self) -> bool {
        let first = self.described.is_none();
        let age = self.described.as_ref().map_or(Duration::MAX, |(_, age)| *age);
        if let Some((_, age)) = &mut self.described {
            *age += self.duration;
        }
        if age < NOISE_CHANGED {
            return false;
        }
        let noise = Noise::of(self.waiting.get(..self.frame).unwrap_or_default());
        let changed = self.described.as_ref().is_some_and(|(known, _)| known.differs(&noise));
        let due = first || changed || age >= NOISE_REPEATED;
        if due {
            self.payload.extend_from_slice(&noise.to_octets());
            self.described = Some((noise, self.duration));
            if let Some((_, sender)) = &mut self.redundancy {
                sender.clear();
            }
        }
        due
    }
}

impl AudioStream {
    /// Takes the next samples of the microphone and sends what they complete, or a digit in their place. Call it every 20 ms
    /// with as many samples as these have.
    pub fn tick(&mut self, now: Instant, microphone: &[i16]) {
        self.events_in.handle_timeout(now);
        let clock_rate = u64::from(self.format.codec.clock_rate());
        let units = (microphone.len() as u64 * clock_rate / u64::from(self.sample_rate)) as u32;
        if !self.direction.sends() {
            let begun = self.outgoing.discard();
            self.session.advance(begun.wrapping_add(units));
            return;
        }
        if let Some(payload_type) = self.format.telephone_event {
            let begun = self.outgoing.begun();
            let timestamp = self.session.timestamp().wrapping_add(begun);
            if let Some(event) = self.events_out.tick(timestamp, units) {
                self.outgoing.discard();
                self.outgoing.interrupt();
                self.session.advance(begun.wrapping_add(units));
                self.spurt = true;
                let sent =
                    self.session.send_at(now, payload_type, event.marker, event.timestamp, &event.payload);
                self.push(sent);
                return;
            }
        }
        self.outgoing.take(microphone);
        let (payload_type, measures) = (self.format.payload_type, self.levels.send.is_some());
        while let Some(made) = self.outgoing.next(payload_type, self.session.timestamp(), measures) {
            let units = self.outgoing.units;
            let Payload::Send { payload_type, is_audio } = made else {
                self.session.advance(units);
                self.spurt = true;
                continue;
            };
            // A description of silence has no marker (RFC 3389 §4), and a talk spurt begins behind it.
            let marker = std::mem::replace(&mut self.spurt, !is_audio) && is_audio;
            let level = self.outgoing.level.zip(self.levels.send);
            let extension = level.and_then(|(level, id)| level.extension(id));
            let extension = extension.as_ref().map(|(profile, data)| (*profile, data.as_slice()));
            let payload = &self.outgoing.payload;
            let sent = self.session.send_with_extension(now, payload_type, marker, payload, units, extension);
            self.push(sent);
        }
    }

    /// A send without remote address or after closing is no error here: there is nobody to talk to.
    fn push(&mut self, sent: Result<Transmit, SendError>) {
        let Ok(transmit) = sent else { return };
        if self.transmits.len() == MAX_TRANSMITS {
            self.transmits.pop_front();
        }
        self.transmits.push_back(transmit);
    }
}
