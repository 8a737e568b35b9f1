//! One audio stream of a call: session, codecs, jitter buffer, concealment and digits in one pure core.
//!
//! ```text
//!   microphone  -> tick ------- encode or digits --> Session -> poll_transmit -> sockets
//!   loudspeaker <- next_frame <- conceal <- decode <- JitterBuffer <- Session <- receive <- sockets
//! ```
//!
//! The application has samples of one rate, 8 kHz unless it chooses another ([`AudioStream::with_sample_rate`]); where the
//! codec's is another one, they are converted.

mod format;
mod metrics;
mod playing;
mod sending;
mod stretching;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use format::{Format, Redundancy};

use crate::codec::{Codec, redundancy};
use crate::dtmf::{self, MAX_QUEUED};
use crate::emodel::{self, Conditions, Quality};
use crate::extension::AudioLevel;
use crate::jitter::{self, JitterBuffer, Playout};
use crate::protection::Protection;
use crate::session::{self, Channel, Discard, Event, Media, Remote, Session, Transmit};
use crate::{srtp, statistics};
use playing::{Incoming, Stored};
use sending::{Outgoing, Payload};

/// Samples of a frame: 20 ms at 8 kHz, the default of G.711 (RFC 3551 §4.2).
pub const FRAME: usize = 160;
/// Duration of a frame.
pub const FRAME_DURATION: Duration = Duration::from_millis(20);
/// The application's sample rate if it chooses none.
const SAMPLE_RATE: u32 = 8000;
/// Octets of a payload kept: 60 ms of L16 at 48 kHz and two channels; a datagram could have many more.
const MAX_PAYLOAD: usize = 11_520;
/// Octets kept of a description of silence; more coefficients than that are not used.
const MAX_NOISE: usize = 32;
/// RTP datagrams waiting for the caller: a tick makes one.
const MAX_TRANSMITS: usize = 8;
/// Digits waiting for the caller.
const MAX_DIGITS: usize = 256;
/// Silence of the source heard, after which another SSRC of the peer takes over.
const SOURCE_HOLD: Duration = Duration::from_millis(60);

/// Direction as negotiated, from our side (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendReceive,
    /// We only send.
    SendOnly,
    /// We only receive.
    ReceiveOnly,
    /// Held both ways; RTCP goes on.
    Inactive,
}

impl Direction {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }
}

/// The levels of the sound, told beside it (RFC 6464), under the identifiers that `a=extmap` gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Levels {
    /// In what is sent; `None` sends none.
    pub send: Option<u8>,
    /// In what comes; `None` reads none.
    pub receive: Option<u8>,
    /// They tell voice from other sound (`vad=on`, which is meant where nothing is said, RFC 6464 §4).
    pub voice: bool,
}

/// Configuration of an [`AudioStream`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Session: seed, CNAME, wall clock, multiplexing.
    pub session: session::Config,
    /// Jitter buffer.
    pub jitter: jitter::Config,
    /// What was negotiated; may change later.
    pub format: Format,
}

/// Why digits cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigitError {
    /// Neither a digit nor `*`, `#`, `A` to `D` or `!` (flash).
    #[error("{0:?} is no key of a telephone; use 0-9 * # A-D or ! for a flash")]
    NotAKey(char),
    /// The peer did not agree to telephone-event.
    #[error("the peer takes no telephone events; send tones in the audio instead")]
    NotNegotiated,
    /// Too many are waiting.
    #[error("more than {MAX_QUEUED} digits are waiting; send them later")]
    QueueFull,
}

/// What a stream counted, and what the E-model makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// RTP and RTCP.
    pub session: statistics::Statistics,
    /// Playout.
    pub jitter: jitter::Statistics,
    /// Packets of a payload type that was not negotiated, or that hold what their type cannot.
    pub unknown_payloads: u64,
    /// Lost frames had from in-band FEC, and from redundant packets.
    pub recovered: u64,
    /// Samples by which audio was played longer, to wait longer for packets.
    pub stretched: u64,
    /// Samples by which it was played shorter, to wait less.
    pub squeezed: u64,
    /// Estimated quality of what we hear (ITU-T G.107). Assumes half the round-trip time as network delay.
    pub quality: Quality,
}

/// See the [module](self).
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtp::audio_stream::{AudioStream, Config, FRAME, Format};
/// use rtp::g711::Law;
/// use rtp::ntp::NtpTimestamp;
/// use rtp::session::{self, Channel, Remote};
///
/// let mut now = Instant::now();
/// let stream = |seed, now| AudioStream::new(now, Config {
///     session: session::Config::new([seed; 32], "me@example.com", NtpTimestamp::from_unix(Duration::ZERO)),
///     jitter: Default::default(),
///     format: Format::new(Law::A, Some(101)),
/// });
/// let (mut alice, mut bob) = (stream(1, now), stream(2, now));
/// let (at_alice, at_bob) = ("192.0.2.1:4000".parse()?, "192.0.2.2:4000".parse()?);
/// alice.set_remote(now, Remote::port_pair(at_bob));
/// bob.set_remote(now, Remote::port_pair(at_alice));
/// alice.send_digits("42")?;
/// for _ in 0..50 {
///     alice.tick(now, &[1000; FRAME]);
///     while let Some(transmit) = alice.poll_transmit() {
///         let _ = bob.receive(now, transmit.channel, at_alice, &transmit.payload);
///     }
///     let _loudspeaker: [i16; FRAME] = bob.next_frame(now);
///     now += Duration::from_millis(20);
/// }
/// assert_eq!((bob.poll_digit(), bob.poll_digit(), bob.poll_digit()), (Some('4'), Some('2'), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AudioStream {
    session: Session,
    protection: Protection,
    jitter: JitterBuffer<Stored>,
    format: Format,
    sample_rate: u32,
    outgoing: Outgoing,
    incoming: Incoming,
    direction: Direction,
    events_out: dtmf::Sender,
    events_in: dtmf::Receiver,
    digits: VecDeque<char>,
    transmits: VecDeque<Transmit>,
    /// The source heard and when it spoke last.
    source: Option<(u32, Instant)>,
    /// The next audio packet starts a talk spurt (RFC 3551 §4.1).
    spurt: bool,
    unknown_payloads: u64,
    /// Frames had from the FEC of the one behind them.
    from_fec: u64,
    /// The codec heard last.
    heard: Codec,
    /// The timestamp behind the last sample that is ready.
    behind: Option<u32>,
    /// That of the first sample given last.
    given: Option<u32>,
    levels: Levels,
    heard_level: Option<AudioLevel>,
}

impl AudioStream {
    /// A stream that waits for [`AudioStream::set_remote`], for an application with samples of 8 kHz.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self::with_sample_rate(now, config, SAMPLE_RATE)
    }

    /// The same for an application with samples of another rate, 8 to 48 kHz.
    #[must_use]
    pub fn with_sample_rate(now: Instant, mut config: Config, sample_rate: u32) -> Self {
        let sample_rate = sample_rate.clamp(8000, 48_000);
        let format = config.format;
        let clock_rate = format.codec.clock_rate();
        config.session.clock_rate = clock_rate;
        let jitter = jitter::Config { clock_rate, time_scaling: true, ..config.jitter };
        let seed = config.session.noise_seed();
        Self {
            session: Session::new(now, config.session),
            protection: Protection::default(),
            jitter: JitterBuffer::new(jitter),
            sample_rate,
            outgoing: Outgoing::new(&format, sample_rate),
            incoming: Incoming::new(sample_rate, seed),
            direction: Direction::SendReceive,
            events_out: dtmf::Sender::new(clock_rate),
            events_in: dtmf::Receiver::new(),
            digits: VecDeque::new(),
            transmits: VecDeque::new(),
            source: None,
            spurt: true,
            unknown_payloads: 0,
            from_fec: 0,
            heard: format.codec,
            behind: None,
            given: None,
            levels: Levels::default(),
            heard_level: None,
            format,
        }
    }

    /// The SSRC that we send with.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.session.ssrc()
    }

    /// The SSRC of what is heard, or was heard last.
    #[must_use]
    pub fn heard_source(&self) -> Option<u32> {
        self.source.map(|(ssrc, _)| ssrc)
    }

    /// Samples per second of the application.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Where the peer receives; see [`Session::set_remote`] for the rules of symmetric RTP.
    pub fn set_remote(&mut self, now: Instant, remote: Remote) {
        self.session.set_remote(now, remote);
    }

    /// rtcp-mux as negotiated (RFC 5761).
    pub fn set_multiplexed(&mut self, multiplexed: bool) {
        self.session.set_multiplexed(multiplexed);
    }

    /// What is sent is protected from now on, with this key until another comes; `None` sends in the clear. A sender must not be
    /// made anew from a key that has protected packets already: that would use its keystream twice.
    pub fn protect_sent(&mut self, sender: Option<srtp::Sender>) {
        self.protection.sender = sender.map(Box::new);
    }

    /// What comes must be protected from now on, with this key until another comes; all else is discarded. `None` takes plain
    /// packets.
    pub fn protect_received(&mut self, receiver: Option<srtp::Receiver>) {
        self.protection.receiver = receiver.map(Box::new);
    }

    /// The elements of header extensions that go encrypted from now on, both ways (RFC 6904). `false` where media is plain or has
    /// keys that were made without [`srtp::Sender::encrypting`] and its like for what comes: what must not be seen is not to be sent
    /// then.
    #[must_use]
    pub fn set_encrypted_elements(&mut self, elements: srtp::EncryptedElements) -> bool {
        let sender = self.protection.sender.as_mut().map(|sender| sender.set_encrypted(elements));
        let receiver = self.protection.receiver.as_mut().map(|receiver| receiver.set_encrypted(elements));
        let plain = elements.is_empty();
        sender.unwrap_or(plain) && receiver.unwrap_or(plain)
    }

    /// Levels of the sound beside it, as agreed on (RFC 6464); none at first.
    pub fn set_levels(&mut self, levels: Levels) {
        self.levels = levels;
        self.heard_level = self.heard_level.filter(|_| levels.receive.is_some());
    }

    /// The level of the packet that came last, by the word of its sender: nothing is measured here.
    #[must_use]
    pub fn heard_level(&self) -> Option<AudioLevel> {
        self.heard_level
    }

    /// Codec and payload types after another offer and answer. Digits that wait are lost if the codec has another clock.
    pub fn set_format(&mut self, format: Format) {
        if format == self.format {
            return;
        }
        let clock_rate = format.codec.clock_rate();
        if clock_rate != self.format.codec.clock_rate() {
            self.session.set_clock_rate(clock_rate);
            self.events_out = dtmf::Sender::new(clock_rate);
        }
        let begun = self.outgoing.discard();
        self.session.advance(begun);
        self.outgoing = Outgoing::new(&format, self.sample_rate);
        self.format = format;
    }

    /// What was negotiated last.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Hold and resume. While not sending, timestamps go on.
    pub fn set_direction(&mut self, direction: Direction) {
        self.direction = direction;
        self.spurt |= !direction.sends();
        if !direction.receives() {
            self.incoming.clear();
        }
    }

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
    fn push(&mut self, sent: Result<Transmit, session::SendError>) {
        let Ok(transmit) = sent else { return };
        if self.transmits.len() == MAX_TRANSMITS {
            self.transmits.pop_front();
        }
        self.transmits.push_back(transmit);
    }

    /// Takes a datagram from one of the two ports.
    ///
    /// # Errors
    /// [`Discard`] says why it was dropped; it is counted already.
    pub fn receive(
        &mut self,
        now: Instant,
        channel: Channel,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        match self.protection.open(datagram) {
            None => self.receive_plain(now, channel, from, datagram),
            Some(Ok(packet)) => {
                let received = self.receive_plain(now, channel, from, &packet);
                self.protection.give_back(packet);
                received
            }
            Some(Err(error)) => self.session.discard(Discard::Srtp(error)),
        }
    }

    fn receive_plain(
        &mut self,
        now: Instant,
        channel: Channel,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        match channel {
            Channel::Rtcp => self.session.receive_rtcp(now, from, datagram),
            Channel::Rtp => {
                if let Some(media) = self.session.receive_rtp(now, from, datagram)? {
                    self.receive_media(now, &media);
                }
                Ok(())
            }
        }
    }

    fn receive_media(&mut self, now: Instant, media: &Media<'_>) {
        let header = media.header;
        match self.source {
            Some((ssrc, _)) if ssrc == header.ssrc => {}
            // Two sources at once are not mixed; the one heard stays until it pauses.
            Some((_, heard)) if now.saturating_duration_since(heard) < SOURCE_HOLD => return,
            _ => {
                self.jitter.reset();
                self.behind = None;
                self.events_in.reset();
                self.incoming.reset();
                self.heard_level = None;
            }
        }
        let level = self.levels.receive.and_then(|id| AudioLevel::parse(media.elements.get(id)?));
        if let Some(level) = level {
            self.heard_level = Some(AudioLevel { voice: level.voice && self.levels.voice, ..level });
        }
        self.source = Some((header.ssrc, now));
        let (sequence, timestamp) = (header.sequence_number, header.timestamp);
        let payload_type = header.payload_type;
        if self.format.receive_telephone_event == Some(payload_type) {
            self.events_in.receive(now, timestamp, media.payload);
            self.collect_digits();
            self.jitter.insert_placeholder(now, sequence, timestamp);
        } else if self.format.receive_redundancy == Some(payload_type) {
            self.receive_redundant(now, sequence, timestamp, media.payload);
        } else {
            self.receive_payload(now, sequence, timestamp, payload_type, media.payload);
        }
    }

    /// Several payloads in one (RFC 2198): the last is new, the others were sent before.
    fn receive_redundant(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        let Ok(mut blocks) = redundancy::parse(payload) else {
            self.unknown_payloads += 1;
            self.jitter.insert_placeholder(now, sequence, timestamp);
            return;
        };
        let Some(primary) = blocks.pop() else { return };
        self.receive_payload(now, sequence, timestamp, primary.payload_type, primary.payload);
        // Each block is one packet older than the one behind it.
        for (generation, block) in (1..).zip(blocks.iter().rev()) {
            let (sequence, timestamp) =
                (sequence.wrapping_sub(generation), timestamp.wrapping_sub(block.offset));
            let Some(codec) = self.format.codec_of(block.payload_type) else { continue };
            let Some(units) = codec.duration(block.payload) else { continue };
            if codec.clock_rate() == self.jitter.clock_rate() && self.jitter.is_wanted(sequence, timestamp) {
                let stored = Stored { codec, octets: block.payload.to_vec() };
                self.jitter.insert_copy(now, sequence, timestamp, units, stored);
            }
        }
    }

    fn receive_payload(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        payload_type: u8,
        payload: &[u8],
    ) {
        if self.format.is_comfort_noise(payload_type) && !payload.is_empty() {
            let octets = payload.get(..MAX_NOISE).unwrap_or(payload).to_vec();
            self.jitter.insert_silence(now, sequence, timestamp, Stored { codec: self.heard, octets });
            return;
        }
        let codec = self.format.codec_of(payload_type).filter(|_| payload.len() <= MAX_PAYLOAD);
        let Some((codec, units)) = codec.and_then(|codec| Some((codec, codec.duration(payload)?))) else {
            self.unknown_payloads += 1;
            self.jitter.insert_placeholder(now, sequence, timestamp);
            return;
        };
        if codec.clock_rate() != self.jitter.clock_rate() {
            // Timestamps of two clocks cannot be compared: what was said before is played before.
            while let Some(stored) = self.jitter.drain() {
                self.incoming.play(&stored, 0);
            }
            self.jitter.reset_to(codec.clock_rate());
        }
        self.heard = codec;
        // The codec travels with the payload, because it may change from packet to packet.
        let stored = Stored { codec, octets: payload.to_vec() };
        self.jitter.insert(now, sequence, timestamp, units, stored);
    }

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
    pub fn captured(&self) -> Option<crate::ntp::NtpTimestamp> {
        self.session.wall_clock_at(self.heard_source()?, self.given?)
    }

    /// Queues digits as telephone events (RFC 4733).
    ///
    /// # Errors
    /// [`DigitError`]; then none of them is sent.
    pub fn send_digits(&mut self, keys: &str) -> Result<(), DigitError> {
        if self.format.telephone_event.is_none() {
            return Err(DigitError::NotNegotiated);
        }
        let to_event = |key| dtmf::Event::from_key(key).ok_or(DigitError::NotAKey(key));
        let events: Vec<dtmf::Event> = keys.chars().map(to_event).collect::<Result<_, _>>()?;
        if self.events_out.queued() + events.len() > MAX_QUEUED {
            return Err(DigitError::QueueFull);
        }
        events
            .into_iter()
            .try_for_each(|event| self.events_out.push(event))
            .map_err(|_| DigitError::QueueFull)
    }

    /// Whether digits are still being sent or wait.
    #[must_use]
    pub fn is_sending_digits(&self) -> bool {
        !self.events_out.is_idle()
    }

    /// The next digit that the peer pressed, each once.
    pub fn poll_digit(&mut self) -> Option<char> {
        self.digits.pop_front()
    }

    fn collect_digits(&mut self) {
        while let Some(notice) = self.events_in.poll() {
            if let dtmf::Notice::Started(event) = notice
                && let Some(key) = event.key()
                && self.digits.len() < MAX_DIGITS
            {
                self.digits.push_back(key);
            }
        }
    }

    /// The next datagram to send, RTP or RTCP.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        loop {
            let transmit = self.transmits.pop_front().or_else(|| self.session.poll_transmit())?;
            if let Some(sealed) = self.protection.seal(transmit) {
                return Some(sealed);
            }
        }
    }

    /// When [`AudioStream::handle_timeout`] is due; a caller that ticks every 20 ms may call it with every tick.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// Sends RTCP that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.tell_metrics();
        }
        self.session.handle_timeout(now);
    }

    /// The next event of the session.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.session.poll_event()
    }

    /// Leaves with a BYE; drain [`AudioStream::poll_transmit`] once more afterwards.
    pub fn close(&mut self, now: Instant, reason: Option<&str>) {
        self.tell_metrics();
        self.session.close(now, reason);
    }

    /// When media of the peer was heard last, to detect a dead call.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.source.map(|(_, heard)| heard)
    }

    /// Counters and the estimated quality up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let session = self.session.statistics();
        let jitter = self.jitter.statistics();
        let network = session.round_trip.map_or(Duration::ZERO, |round_trip| round_trip.mean() / 2);
        // Late packets are as lost as lost ones, and what came another way is not lost.
        let expected = session.received.expected.max(1) as f64;
        let recovered = jitter.recovered + self.from_fec;
        let lost = (session.received.lost() + jitter.late + jitter.overflowed).saturating_sub(recovered);
        let delay = network + jitter.target + self.format.packet_duration();
        let quality = emodel::estimate(&Conditions {
            delay,
            loss: lost as f64 / expected,
            burst_ratio: 1.0,
            codec: self.heard.impairment(),
        });
        let (stretched, squeezed) = self.incoming.stretched;
        let unknown_payloads = self.unknown_payloads;
        Statistics { session, jitter, unknown_payloads, recovered, stretched, squeezed, quality }
    }

    /// The loss that the peer reports, 0 to 100 %, for codecs that can send more against it.
    pub fn set_expected_loss(&mut self, percent: u8) {
        self.outgoing.set_expected_loss(percent);
    }
}
