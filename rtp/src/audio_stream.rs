//! One audio stream of a call: session, G.711, jitter buffer, concealment and digits in one pure core.
//!
//! ```text
//!   microphone  -> tick ------- encode or digits --> Session -> poll_transmit -> sockets
//!   loudspeaker <- next_frame <- conceal <- decode <- JitterBuffer <- Session <- receive <- sockets
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::concealment::Concealer;
use crate::dtmf::{self, MAX_QUEUED};
use crate::emodel::{self, Codec, Conditions, Quality};
use crate::g711::Law;
use crate::jitter::{self, JitterBuffer, Playout};
use crate::session::{self, Channel, Discard, Event, Media, Remote, Session, Transmit};
use crate::statistics;

/// Samples of a frame: 20 ms at 8 kHz, the default of G.711 (RFC 3551 §4.2).
pub const FRAME: usize = 160;
const FRAME_SAMPLES: u32 = FRAME as u32;
/// Duration of a frame.
pub const FRAME_DURATION: Duration = Duration::from_millis(20);
/// Longest payload played, 200 ms (RFC 3551 §4.2); a peer may not fill the playout with one packet.
const MAX_PAYLOAD: usize = 1600;
/// RTP datagrams waiting for the caller: a tick makes one.
const MAX_TRANSMITS: usize = 8;
/// Digits waiting for the caller.
const MAX_DIGITS: usize = 256;
/// Silence of the source heard, after which another SSRC of the peer takes over.
const SOURCE_HOLD: Duration = Duration::from_millis(60);

/// What was negotiated for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The codec we send.
    pub law: Law,
    /// Its payload type towards the peer.
    pub payload_type: u8,
    /// Payload type of telephone-event towards the peer, if it takes any.
    pub telephone_event: Option<u8>,
    /// Payload type of telephone-event that we offered for receiving.
    pub receive_telephone_event: Option<u8>,
}

impl Format {
    /// A law with its static payload type and one type for telephone-event both ways.
    #[must_use]
    pub fn new(law: Law, telephone_event: Option<u8>) -> Self {
        Self {
            law,
            payload_type: law.payload_type(),
            telephone_event,
            receive_telephone_event: telephone_event,
        }
    }
}

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
    fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }
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
    /// Packets of a payload type that was not negotiated.
    pub unknown_payloads: u64,
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
    jitter: JitterBuffer,
    concealer: Concealer,
    format: Format,
    direction: Direction,
    events_out: dtmf::Sender,
    events_in: dtmf::Receiver,
    digits: VecDeque<char>,
    transmits: VecDeque<Transmit>,
    playout: VecDeque<i16>,
    /// The source heard and when it spoke last.
    source: Option<(u32, Instant)>,
    /// The next audio packet starts a talk spurt (RFC 3551 §4.1).
    spurt: bool,
    unknown_payloads: u64,
}

impl AudioStream {
    /// A stream that waits for [`AudioStream::set_remote`].
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            session: Session::new(now, config.session),
            jitter: JitterBuffer::new(config.jitter),
            concealer: Concealer::new(),
            format: config.format,
            direction: Direction::SendReceive,
            events_out: dtmf::Sender::new(8000),
            events_in: dtmf::Receiver::new(),
            digits: VecDeque::new(),
            transmits: VecDeque::new(),
            playout: VecDeque::new(),
            source: None,
            spurt: true,
            unknown_payloads: 0,
        }
    }

    /// Where the peer receives; see [`Session::set_remote`] for the rules of symmetric RTP.
    pub fn set_remote(&mut self, now: Instant, remote: Remote) {
        self.session.set_remote(now, remote);
    }

    /// rtcp-mux as negotiated (RFC 5761).
    pub fn set_multiplexed(&mut self, multiplexed: bool) {
        self.session.set_multiplexed(multiplexed);
    }

    /// Codec and payload types after another offer and answer.
    pub fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Hold and resume. While not sending, timestamps go on.
    pub fn set_direction(&mut self, direction: Direction) {
        self.direction = direction;
        self.spurt |= !direction.sends();
        if !direction.receives() {
            self.playout.clear();
        }
    }

    /// Sends one frame of the microphone, or a digit in its place. Call it every 20 ms.
    pub fn tick(&mut self, now: Instant, microphone: &[i16; FRAME]) {
        self.events_in.handle_timeout(now);
        let timestamp = self.session.timestamp();
        if !self.direction.sends() {
            self.session.advance(FRAME_SAMPLES);
            return;
        }
        // A send without remote address or after closing is no error here: there is nobody to talk to.
        let event_type = self.format.telephone_event;
        let event = event_type.and_then(|pt| Some((pt, self.events_out.tick(timestamp, FRAME_SAMPLES)?)));
        let sent = if let Some((payload_type, event)) = event {
            self.session.advance(FRAME_SAMPLES);
            self.spurt = true;
            self.session.send_at(now, payload_type, event.marker, event.timestamp, &event.payload)
        } else {
            let marker = std::mem::take(&mut self.spurt);
            let payload = self.format.law.encode(microphone);
            self.session.send(now, self.format.payload_type, marker, &payload, FRAME_SAMPLES)
        };
        if let Ok(transmit) = sent {
            if self.transmits.len() == MAX_TRANSMITS {
                self.transmits.pop_front();
            }
            self.transmits.push_back(transmit);
        }
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
                self.events_in.reset();
            }
        }
        self.source = Some((header.ssrc, now));
        let (sequence, timestamp) = (header.sequence_number, header.timestamp);
        if self.format.receive_telephone_event == Some(header.payload_type) {
            self.events_in.receive(now, timestamp, media.payload);
            self.collect_digits();
            self.jitter.insert_placeholder(now, sequence, timestamp);
        } else if let Some(law) = self.law_of(header.payload_type)
            && !media.payload.is_empty()
            && media.payload.len() <= MAX_PAYLOAD
        {
            // The law travels in front of the payload, because it may change from packet to packet.
            let mut payload = Vec::with_capacity(media.payload.len() + 1);
            payload.push(law.payload_type());
            payload.extend_from_slice(media.payload);
            self.jitter.insert(now, sequence, timestamp, media.payload.len() as u32, Bytes::from(payload));
        } else {
            self.unknown_payloads += 1;
            self.jitter.insert_placeholder(now, sequence, timestamp);
        }
    }

    /// The static types are always understood, besides the one negotiated.
    fn law_of(&self, payload_type: u8) -> Option<Law> {
        match payload_type {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            other if other == self.format.payload_type => Some(self.format.law),
            _ => None,
        }
    }

    /// The next 20 ms for the loudspeaker: received, concealed or silent. Call it every 20 ms.
    #[must_use]
    pub fn next_frame(&mut self, now: Instant) -> [i16; FRAME] {
        let mut frame = [0; FRAME];
        while self.playout.len() < FRAME {
            match self.jitter.pop(now) {
                Playout::Frame(received) => {
                    let Some((law, octets)) = received.payload.split_first() else { continue };
                    let law = if *law == Law::A.payload_type() { Law::A } else { Law::Mu };
                    let mut samples: Vec<i16> = law.decode(octets).collect();
                    self.concealer.heard(&mut samples);
                    self.playout.extend(samples);
                }
                Playout::Missing { samples } => {
                    let count = (samples as usize).clamp(1, MAX_PAYLOAD);
                    self.playout.extend(self.concealer.conceal(count));
                }
                Playout::Empty => break,
            }
        }
        if self.direction.receives() {
            for (sample, played) in frame.iter_mut().zip(self.playout.iter()) {
                *sample = *played;
            }
        }
        self.playout.drain(..self.playout.len().min(FRAME));
        frame
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
        self.transmits.pop_front().or_else(|| self.session.poll_transmit())
    }

    /// When [`AudioStream::handle_timeout`] is due; a caller that ticks every 20 ms may call it with every tick.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// Sends RTCP that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    /// The next event of the session.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.session.poll_event()
    }

    /// Leaves with a BYE; drain [`AudioStream::poll_transmit`] once more afterwards.
    pub fn close(&mut self, now: Instant, reason: Option<&str>) {
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
        // Late packets are as lost as lost ones.
        let expected = session.received.expected.max(1) as f64;
        let loss = (session.received.lost() + jitter.late + jitter.overflowed) as f64 / expected;
        let delay = network + jitter.target + FRAME_DURATION;
        let quality =
            emodel::estimate(&Conditions { delay, loss, burst_ratio: 1.0, codec: Codec::G711_CONCEALED });
        Statistics { session, jitter, unknown_payloads: self.unknown_payloads, quality }
    }
}
