//! One audio stream of a call: session, codecs, jitter buffer, concealment and digits in one pure core.
//!
//! ```text
//!   microphone  -> tick ------- encode or digits --> Session -> poll_transmit -> sockets
//!   loudspeaker <- next_frame <- conceal <- decode <- JitterBuffer <- Session <- receive <- sockets
//! ```
//!
//! The application has samples of one rate, 8 kHz unless it chooses another ([`AudioStream::with_sample_rate`]); where the
//! codec's is another one, they are converted.

mod digits;
mod format;
mod metrics;
mod playing;
mod receiving;
mod sending;
mod statistics;
mod stretching;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use digits::DigitError;
pub use format::{Direction, Format, Levels, Redundancy};
pub use statistics::Statistics;

use crate::codec::Codec;
use crate::dtmf;
use crate::extension::AudioLevel;
use crate::jitter::{self, JitterBuffer};
use crate::protection::Protection;
use crate::session::{self, Event, Remote, Session, Transmit};
use crate::srtp;
use playing::{Incoming, Stored};
use sending::Outgoing;

/// Samples of a frame: 20 ms at 8 kHz, the default of G.711 (RFC 3551 §4.2).
pub const FRAME: usize = 160;
/// Duration of a frame.
pub const FRAME_DURATION: Duration = Duration::from_millis(20);
/// The application's sample rate if it chooses none.
const SAMPLE_RATE: u32 = 8000;

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

    /// The loss that the peer reports, 0 to 100 %, for codecs that can send more against it.
    pub fn set_expected_loss(&mut self, percent: u8) {
        self.outgoing.set_expected_loss(percent);
    }
}
