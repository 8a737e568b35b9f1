//! One video stream of a call: session, packets, repair and key frames in one pure core. Frames are encoded and decoded
//! elsewhere.
//!
//! ```text
//!   encoder -> send --- packets -> pace --> Session -> poll_transmit -> sockets
//!                          ^ again <- NACK ---+
//!   decoder <- poll_event <- frames <- order <- Session <- receive <- sockets
//!                                        +-> NACK, key frames asked for
//! ```
//!
//! What is lost is asked for (RFC 4585 §6.2.1) and comes again (RFC 4588). What does not come in time leaves a hole: nothing that
//! was decoded from it is given to the application, which is told ([`Event::Lost`]), and the peer is asked for a key frame
//! (RFC 4585 §6.3.1, RFC 5104 §4.3.1). A frame that is given can be decoded.

mod receiving;
mod reordering;
mod sending;
mod types;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use crate::audio_stream::Direction;
pub use types::{Event, Feedback, Format, SendError, Statistics, VideoFrame};

use crate::packet::{Header, Packet};
use crate::protection::Protection;
use crate::random::Random;
use crate::rtcp::feedback::{FullIntraRequest, Message, Nack};
use crate::session::{self, Channel, Discard, Media, Remote, Session, Transmit};
use crate::video::CLOCK_RATE;
use crate::{retransmission, srtp};
use receiving::Receiving;
use reordering::Patience;
use sending::{Due, Outgoing, Sending};

/// Octets of a payload at most: with headers, a tag of SRTP and IPv6 it stays below 1280, the least that any path carries.
const LONGEST_PAYLOAD: usize = 1160;
/// Octets a second for RTCP, 5 % of 2 Mbit/s (RFC 3550 §6.2).
const RTCP_BANDWIDTH: u32 = 12_500;
/// Between reports; 360 s divided by the bandwidth in kbit/s allows less (RFC 3550 §6.2), and sound waits for the first one to
/// be played with the pictures.
const RTCP_INTERVAL: Duration = Duration::from_secs(1);
/// Waiting for what is missing: shortest and longest, and without anybody to ask.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(200);
const LONGEST_PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_ALONE: Duration = Duration::from_millis(60);
/// Requests for one packet are this far apart at least, and that much beyond the round trip.
const ASK_AGAIN: Duration = Duration::from_millis(15);
/// Requests for one packet within this time are one request told twice, where no round trip is known.
const SAME_REQUEST: Duration = Duration::from_millis(5);
/// Requests for a key frame are this far apart at least: it takes a round trip, and a key frame takes long to send.
const ASK_KEY_FRAME_AGAIN: Duration = Duration::from_millis(500);

/// Configuration of a [`VideoStream`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Session: seed, CNAME, wall clock, multiplexing. The CNAME is that of the sound (RFC 3550 §6.5.1).
    pub session: session::Config,
    /// What was negotiated; may change later.
    pub format: Format,
    /// Octets of a payload at most. Default 1160.
    pub longest_payload: usize,
}

impl Config {
    /// With the bandwidth and the interval of RTCP that video takes, whatever `session` says of them.
    #[must_use]
    pub fn new(mut session: session::Config, format: Format) -> Self {
        session.rtcp_bandwidth = RTCP_BANDWIDTH;
        session.rtcp_minimum_interval = RTCP_INTERVAL;
        session.clock_rate = CLOCK_RATE;
        Self { session, format, longest_payload: LONGEST_PAYLOAD }
    }
}

/// See the [module](self).
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtp::ntp::NtpTimestamp;
/// use rtp::session::{self, Remote};
/// use rtp::video::Codec;
/// use rtp::video_stream::{Config, Event, Format, VideoFrame, VideoStream};
///
/// let now = Instant::now();
/// let stream = |seed| {
///     let session = session::Config::new([seed; 32], "me@example.com", NtpTimestamp::from_unix(Duration::ZERO));
///     VideoStream::new(now, Config::new(session, Format::new(Codec::Vp8, 96).with_repair(97, 97)))
/// };
/// let (mut alice, mut bob) = (stream(1), stream(2));
/// let (at_alice, at_bob) = ("192.0.2.1:4000".parse()?, "192.0.2.2:4000".parse()?);
/// alice.set_remote(now, Remote::port_pair(at_bob));
/// bob.set_remote(now, Remote::port_pair(at_alice));
///
/// alice.send(&VideoFrame::new(Codec::Vp8, Duration::ZERO, vec![0x10; 4000]))?; // even first octet: a key frame
/// while let Some(transmit) = alice.poll_transmit(now) {
///     let _ = bob.receive(now, transmit.channel, at_alice, &transmit.payload);
/// }
/// // Packets that overtake each other at the start are waited for, 10 ms.
/// bob.handle_timeout(now + Duration::from_millis(10));
/// let Some(Event::Frame(frame)) = bob.poll_event() else { return Err("a frame".into()) };
/// assert!(frame.key_frame && frame.data == vec![0x10; 4000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VideoStream {
    session: Session,
    protection: Protection,
    format: Format,
    direction: Direction,
    closed: bool,
    sending: Sending,
    receiving: Receiving,
    /// The number of our next full intra request (RFC 5104 §4.3.1.1).
    full_intra_request: u8,
    frames_sent: u64,
    asked: u64,
    key_frames_asked: u64,
    key_frames_wanted: u64,
}

impl VideoStream {
    /// A stream that waits for [`VideoStream::set_remote`].
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut random = Random::new(config.session.noise_seed().rotate_left(17));
        let mut session = Session::new(now, config.session);
        session.set_feedback(config.format.feedback.any());
        let sending = Sending::new(now, config.longest_payload.max(100), session.timestamp(), &mut random);
        Self {
            session,
            protection: Protection::default(),
            format: config.format,
            direction: Direction::SendReceive,
            closed: false,
            sending,
            receiving: Receiving::new(),
            full_intra_request: 0,
            frames_sent: 0,
            asked: 0,
            key_frames_asked: 0,
            key_frames_wanted: 0,
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

    /// As [`AudioStream::protect_sent`](crate::audio_stream::AudioStream::protect_sent).
    pub fn protect_sent(&mut self, sender: Option<srtp::Sender>) {
        self.protection.sender = sender.map(Box::new);
        self.sending.forget(); // nobody could read under the new key what is kept under the old one
    }

    /// As [`AudioStream::protect_received`](crate::audio_stream::AudioStream::protect_received).
    pub fn protect_received(&mut self, receiver: Option<srtp::Receiver>) {
        self.protection.receiver = receiver.map(Box::new);
    }

    /// What another offer and answer agreed on. With another codec the next frame has to be a key frame.
    pub fn set_format(&mut self, format: Format) {
        if format.codec != self.format.codec {
            self.sending.stop();
            self.receiving.tell(Event::KeyFrameWanted);
        }
        self.session.set_feedback(format.feedback.any());
        self.format = format;
    }

    /// What was negotiated last.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Hold and resume. What was left out meanwhile is missing to whoever decodes, so that sending begins again with a key frame.
    pub fn set_direction(&mut self, direction: Direction) {
        let (before, now) = (self.direction, direction);
        self.direction = direction;
        if before.sends() != now.sends() {
            self.sending.stop();
            if now.sends() {
                self.receiving.tell(Event::KeyFrameWanted);
            }
        }
        if before.receives() != now.receives() {
            self.receiving.begin();
        }
    }

    /// Sends a frame, in packets that [`poll_transmit`](Self::poll_transmit) gives as fast as a network takes them.
    ///
    /// # Errors
    /// [`SendError`]; nothing of the frame is sent then, and if it was left out for good, the next one sent has to be a key
    /// frame.
    pub fn send(&mut self, frame: &VideoFrame) -> Result<(), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        if !self.direction.sends() {
            self.sending.key_frame_needed = true;
            return Err(SendError::NotSending);
        }
        let pushed = self.sending.push(frame, &self.format);
        match pushed {
            Ok(()) => self.frames_sent += 1,
            // The caller keeps it and tries again, or leaves it out and says so by what it sends next.
            Err(SendError::Busy) => {}
            Err(_) => {
                self.sending.key_frame_needed = true;
                self.receiving.tell(Event::KeyFrameWanted);
            }
        }
        pushed
    }

    /// A frame that [`send`](Self::send) had no room for is left out: a key frame has to come next.
    pub fn skip(&mut self) {
        self.sending.key_frame_needed = true;
        self.receiving.tell(Event::KeyFrameWanted);
    }

    /// Asks the peer for a key frame, by what was agreed on: a picture loss indication, or a full intra request. It goes out with
    /// [`handle_timeout`](Self::handle_timeout). False if neither was agreed on, or nothing was heard of the peer yet.
    pub fn request_key_frame(&mut self, now: Instant) -> bool {
        let possible = self.format.feedback.pli || self.format.feedback.fir;
        if possible {
            self.receiving.ask_at(now);
        }
        possible && self.receiving.source().is_some()
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
        let received = match channel {
            Channel::Rtcp => self.session.receive_rtcp(now, from, datagram).map(|()| None),
            Channel::Rtp => self.session.receive_rtp(now, from, datagram),
        };
        match &received {
            Ok(Some(media)) if self.direction.receives() => self.receive_media(now, media),
            Err(Discard::Probation { .. }) if self.direction.receives() => self.receive_early(now, datagram),
            _ => {}
        }
        self.take_events(now);
        self.advance(now);
        received.map(drop)
    }

    fn receive_media(&mut self, now: Instant, media: &Media<'_>) {
        let header = media.header;
        match self.format.repaired(header.payload_type) {
            Some(payload_type) => self.receive_again(now, header, media.payload, payload_type),
            None => self.receiving.receive(now, media.extended_sequence, &header, media.payload),
        }
    }

    /// Of a source that has not shown two packets in sequence yet: the first of a stream is as good as the second, and what we
    /// have asked for proves itself.
    fn receive_early(&mut self, now: Instant, datagram: &[u8]) {
        let Ok(packet) = Packet::parse(datagram) else { return };
        match self.format.repaired(packet.header.payload_type) {
            Some(payload_type) => self.receive_again(now, packet.header, packet.payload, payload_type),
            None => self.receiving.probation(&packet.header, packet.payload),
        }
    }

    /// RFC 4588 §4.
    fn receive_again(&mut self, now: Instant, header: Header, payload: &[u8], payload_type: u8) {
        let Some(ssrc) = self.receiving.source() else { return };
        if let Some((header, payload)) =
            retransmission::original(&Packet::new(header, payload), payload_type, ssrc)
        {
            self.receiving.mend(now, &header, payload);
        }
    }

    fn patience(&self) -> Patience {
        if !self.format.feedback.nack {
            return Patience { again: None, in_all: PATIENCE_ALONE };
        }
        // Who only watches gets no report on reports of its own: the answers tell the way.
        match self.receiving.answer().max(self.session.round_trip()) {
            Some(round_trip) => Patience {
                again: Some(round_trip.saturating_add(ASK_AGAIN)),
                in_all: round_trip.saturating_mul(4).clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE),
            },
            None => Patience { again: Some(ASK_AGAIN * 4), in_all: LONGEST_PATIENCE },
        }
    }

    fn advance(&mut self, now: Instant) {
        let patience = self.patience();
        let session = &self.session;
        let wall_clock = |ssrc, timestamp| session.wall_clock_at(ssrc, timestamp);
        self.receiving.advance(now, patience, &self.format, wall_clock);
    }

    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                session::Event::PacketsMissing { missing, .. } if self.format.feedback.nack => {
                    let round_trip = self.session.round_trip().unwrap_or(SAME_REQUEST);
                    self.sending.want(now, missing, round_trip);
                }
                session::Event::KeyFrameWanted { .. } => {
                    self.key_frames_wanted += 1;
                    self.receiving.tell(Event::KeyFrameWanted);
                }
                session::Event::MaximumBitRate { bit_rate, .. } => {
                    self.receiving.tell(Event::BitRateLimit(bit_rate));
                }
                session::Event::SourceLeft { ssrc, .. } => self.receiving.left(ssrc),
                session::Event::SsrcChanged { .. } => {
                    self.sending.forget();
                    self.skip();
                }
                _ => {}
            }
        }
    }

    /// The next datagram to send, RTP or RTCP; `None` if nothing may leave yet.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            if let Some(transmit) = self.session.poll_transmit() {
                match self.protection.seal(transmit) {
                    Some(sealed) => return Some(sealed),
                    None => continue,
                }
            }
            match self.sending.pop(now, &self.format)? {
                Outgoing::New(due) => {
                    if let Some(transmit) = self.transmit(now, due) {
                        return Some(transmit);
                    }
                }
                Outgoing::Again { datagram, sealed } => {
                    let Some(destination) = self.session.destination() else { continue };
                    let transmit = Transmit { channel: Channel::Rtp, destination, payload: datagram };
                    let transmit = if sealed { Some(transmit) } else { self.protection.seal(transmit) };
                    if transmit.is_some() {
                        return transmit;
                    }
                }
            }
        }
    }

    /// A new packet. Without a remote address or after closing there is nobody to send it to.
    fn transmit(&mut self, now: Instant, due: Due) -> Option<Transmit> {
        let Due { timestamp, marker, payload } = due;
        let sent = self.session.send_at(now, self.format.payload_type, marker, timestamp, &payload).ok()?;
        if !self.format.feedback.nack {
            return self.protection.seal(sent);
        }
        // A stream of its own has its own keystream; a packet that goes once more has to be the very same.
        if self.format.retransmission.is_some() {
            self.sending.keep(&sent.payload);
            return self.protection.seal(sent);
        }
        let sealed = self.protection.seal(sent)?;
        self.sending.keep(&sealed.payload);
        Some(sealed)
    }

    /// When [`VideoStream::handle_timeout`] is due, and [`poll_transmit`](Self::poll_transmit) to be asked again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let receiving = self.receiving.poll_timeout(self.patience());
        [self.session.poll_timeout(), self.sending.poll_timeout(), receiving].into_iter().flatten().min()
    }

    /// Gives up what is missing for too long, asks for what is missing, and sends reports that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.session.handle_timeout(now);
        self.take_events(now);
        self.advance(now);
        self.ask_for_packets(now);
        self.ask_for_key_frame(now);
    }

    fn ask_for_packets(&mut self, now: Instant) {
        let Some(ssrc) = self.receiving.source() else { return };
        let missing = self.receiving.take_due(now, self.patience());
        if missing.is_empty() {
            return;
        }
        let count = missing.len() as u64;
        // More than the bandwidth of RTCP carries is asked for later, or given up.
        if self.session.send_feedback(now, ssrc, Message::Nack(Nack::pack(missing))).is_ok() {
            self.asked += count;
        }
    }

    fn ask_for_key_frame(&mut self, now: Instant) {
        let Feedback { pli, fir, .. } = self.format.feedback;
        let again = self
            .session
            .round_trip()
            .map_or(ASK_KEY_FRAME_AGAIN, |round_trip| round_trip.saturating_mul(2).max(ASK_KEY_FRAME_AGAIN));
        if !self.receiving.asks(now, again) || !(pli || fir) {
            return;
        }
        let Some(ssrc) = self.receiving.source() else { return };
        let sent = if pli {
            self.session.send_feedback(now, ssrc, Message::PictureLossIndication)
        } else {
            let sequence_number = self.full_intra_request;
            self.full_intra_request = sequence_number.wrapping_add(1);
            // The media source is in the entry and not in the header (RFC 5104 §4.3.1.2).
            let entry = FullIntraRequest { ssrc, sequence_number };
            self.session.send_feedback(now, 0, Message::FullIntraRequest(vec![entry]))
        };
        self.key_frames_asked += u64::from(sent.is_ok());
    }

    /// The next event, frames among them.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.receiving.poll_event()
    }

    /// Whether [`poll_event`](Self::poll_event) has one.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.receiving.has_events()
    }

    /// Leaves with a BYE; drain [`VideoStream::poll_transmit`] once more afterwards. Frames that came can still be taken.
    pub fn close(&mut self, now: Instant, reason: Option<&str>) {
        self.sending.stop();
        self.session.close(now, reason);
        self.closed = true;
    }

    /// The SSRC that we send with.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.session.ssrc()
    }

    /// Counters up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            session: self.session.statistics(),
            frames_sent: self.frames_sent,
            frames_received: self.receiving.received,
            key_frames_received: self.receiving.key_frames,
            frames_damaged: self.receiving.damaged,
            frames_skipped: self.receiving.skipped,
            packets_asked: self.asked,
            packets_mended: self.receiving.mended(),
            packets_lost: self.receiving.lost(),
            packets_repeated: self.sending.repetitions,
            key_frames_asked: self.key_frames_asked,
            key_frames_wanted: self.key_frames_wanted,
        }
    }
}
