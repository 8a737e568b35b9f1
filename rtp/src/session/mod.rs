//! One RTP session with its RTCP (RFC 3550), without I/O: datagrams and instants go in, datagrams and events come
//! out.
//!
//! ```text
//!   send ------------> Transmit (RTP)            poll_transmit -> Transmit (RTCP)
//!   receive_rtp -----> Media                     poll_event ----> Event
//!   receive_rtcp ----> (statistics, events)      poll_timeout --> when to call handle_timeout
//! ```

mod config;
mod feedback;
mod interval;
pub(crate) mod latch;
mod report;
mod source;
mod types;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use config::Config;
pub(crate) use config::LATCH_WINDOW;
pub use feedback::FeedbackError;
pub use latch::Remote;
pub use types::{Channel, Discard, Event, LeaveCause, Media, SendError, Transmit};

use crate::demux::{self, Protocol};
use crate::extension::Elements;
use crate::ntp::{NtpTimestamp, WallClock};
use crate::packet::{Header, Packet};
use crate::random::Random;
use crate::rtcp::extended::VoipMetrics;
use crate::rtcp::{Bye, Compound, RtcpError};
use crate::statistics::{Discarded, Received, Reported, RoundTrip, Sent, Statistics};
use feedback::Allowance;
use interval::{MINIMUM_INTERVAL, Membership, Schedule};
use latch::Latch;
use source::Source;

/// Events kept for the application; a peer that joins and leaves in a loop must not fill memory.
const MAX_EVENTS: usize = 64;
/// RTCP compounds kept for sending; the caller is expected to drain them after every call.
const MAX_TRANSMITS: usize = 8;
/// Addresses remembered for using our SSRC (RFC 3550 §8.2).
const MAX_CONFLICTS: usize = 8;
/// Our last sender reports, to which the peer's LSR must point; otherwise it cannot be a round trip.
const REMEMBERED_REPORTS: usize = 8;

/// An RTP session between us and one peer (which may use several sources).
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtp::ntp::NtpTimestamp;
/// use rtp::session::{Config, Remote, Session};
///
/// let now = Instant::now();
/// let alice_at: std::net::SocketAddr = "192.0.2.1:4000".parse()?;
/// let bob_at: std::net::SocketAddr = "192.0.2.2:4000".parse()?;
/// let ntp = NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000));
/// let mut alice = Session::new(now, Config::new([1; 32], "alice@example.com", ntp));
/// let mut bob = Session::new(now, Config::new([2; 32], "bob@example.com", ntp));
/// alice.set_remote(now, Remote::port_pair(bob_at));
/// bob.set_remote(now, Remote::port_pair(alice_at));
///
/// let first = alice.send(now, 0, true, &[0xff; 160], 160)?;
/// assert!(bob.receive_rtp(now, alice_at, &first.payload).is_err()); // probation, RFC 3550 appendix A.1
/// let second = alice.send(now, 0, false, &[0xff; 160], 160)?;
/// let media = bob.receive_rtp(now, alice_at, &second.payload)?.ok_or("it is RTP")?;
/// assert_eq!(media.payload.len(), 160);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    config: Config,
    random: Random,
    wall_clock: WallClock,
    created: Instant,
    closed: bool,
    // Sending.
    ssrc: u32,
    next_sequence: u16,
    next_timestamp: u32,
    /// Timestamp and instant of the last packet: the RTP clock for sender reports.
    sampled: (u32, Instant),
    last_sent: Option<Instant>,
    /// Counters since the SSRC was taken, as sender reports carry them.
    packets_of_ssrc: u32,
    octets_of_ssrc: u32,
    // Receiving.
    latch: Latch,
    sources: Vec<Source>,
    retired: Received,
    conflicts: Vec<SocketAddr>,
    // RTCP.
    schedule: Option<Schedule>,
    /// Instants of our last two reports.
    reports: [Option<Instant>; 2],
    sent_reports: VecDeque<u32>,
    rtcp_was_sent: bool,
    allowance: Allowance,
    voip_metrics: Option<Box<VoipMetrics>>,
    // Output.
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    // Counters.
    sent: Sent,
    round_trip: Option<RoundTrip>,
    discarded: Discarded,
    rtcp_sent: u64,
    rtcp_received: u64,
}

impl Session {
    /// A session that waits for [`Session::set_remote`]. The seed determines SSRC, first sequence number, first
    /// timestamp (all must be unpredictable, RFC 3550 §5.1) and the dither of report intervals.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let [s0, s1, s2, s3, q0, q1, t0, t1, t2, t3, r0, r1, r2, r3, r4, r5, r6, r7, ..] = config.seed;
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        Self {
            random: Random::new(u64::from_be_bytes([r0, r1, r2, r3, r4, r5, r6, r7])),
            wall_clock: WallClock::new(now, config.wall_clock),
            created: now,
            closed: false,
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            next_sequence: u16::from_be_bytes([q0, q1]),
            next_timestamp: timestamp,
            sampled: (timestamp, now),
            last_sent: None,
            packets_of_ssrc: 0,
            octets_of_ssrc: 0,
            latch: Latch::new(now, config.latch_window),
            sources: Vec::new(),
            retired: Received::default(),
            conflicts: Vec::new(),
            schedule: None,
            reports: [None, None],
            sent_reports: VecDeque::new(),
            rtcp_was_sent: false,
            allowance: Allowance::new(now),
            voip_metrics: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            sent: Sent::default(),
            round_trip: None,
            discarded: Discarded::default(),
            rtcp_sent: 0,
            rtcp_received: 0,
            config,
        }
    }

    /// Signalling says where the peer receives. The first call joins the session and starts RTCP
    /// (RFC 3550 §6.3.2).
    ///
    /// Media is heard from this address only; if the peer is behind a NAT and nothing comes from it, another
    /// address is learned once, by packets in sequence and within [`Config::latch_window`]. A learned or
    /// signalled source is never replaced by a third one until this function is called with another address,
    /// or with the same after two seconds of silence.
    pub fn set_remote(&mut self, now: Instant, remote: Remote) {
        self.latch.set_remote(now, remote);
        if self.schedule.is_none() && !self.closed {
            let size = self.config.cname.len() + 24;
            let random = self.random.next_f64();
            self.schedule = Some(Schedule::new(
                now,
                self.config.rtcp_bandwidth,
                self.config.rtcp_minimum_interval,
                size,
                random,
            ));
        }
    }

    /// rtcp-mux as negotiated (RFC 5761 §5.1.1).
    pub fn set_multiplexed(&mut self, multiplexed: bool) {
        self.config.multiplexed = multiplexed;
    }

    /// Whether feedback may be sent, as offer and answer agreed (RFC 4585 §4); see [`Config::feedback`].
    pub fn set_feedback(&mut self, agreed: bool) {
        self.config.feedback = agreed;
    }

    /// The clock of another codec, from the next packet on.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.config.clock_rate = clock_rate;
    }

    /// Sends one packet at the current timestamp, then advances the timestamp by `samples`.
    ///
    /// # Errors
    /// [`SendError`]; the timestamp advances nevertheless, because time passes.
    pub fn send(
        &mut self,
        now: Instant,
        payload_type: u8,
        marker: bool,
        payload: &[u8],
        samples: u32,
    ) -> Result<Transmit, SendError> {
        self.send_with_extension(now, payload_type, marker, payload, samples, None)
    }

    /// The same with a header extension: "defined by profile" and the data, as
    /// [`extension::Writer`](crate::extension::Writer) makes them (RFC 8285).
    ///
    /// # Errors
    /// [`SendError`]; the timestamp advances nevertheless.
    pub fn send_with_extension(
        &mut self,
        now: Instant,
        payload_type: u8,
        marker: bool,
        payload: &[u8],
        samples: u32,
        extension: Option<(u16, &[u8])>,
    ) -> Result<Transmit, SendError> {
        let timestamp = self.next_timestamp;
        self.next_timestamp = timestamp.wrapping_add(samples);
        self.send_packet(now, (payload_type, marker), timestamp, payload, extension)
    }

    /// Sends one packet at a given timestamp, as telephone events need it (RFC 4733 §2.5.1.2).
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_at(
        &mut self,
        now: Instant,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
    ) -> Result<Transmit, SendError> {
        self.send_packet(now, (payload_type, marker), timestamp, payload, None)
    }

    fn send_packet(
        &mut self,
        now: Instant,
        (payload_type, marker): (u8, bool),
        timestamp: u32,
        payload: &[u8],
        extension: Option<(u16, &[u8])>,
    ) -> Result<Transmit, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        let destination = self.latch.rtp_destination().ok_or(SendError::NoRemote)?;
        let header =
            Header { payload_type, marker, sequence_number: self.next_sequence, timestamp, ssrc: self.ssrc };
        let payload_length = payload.len();
        let mut packet = Packet::new(header, payload);
        if let Some((profile, data)) = extension {
            packet = packet.with_extension(profile, data);
        }
        let payload = packet.build()?;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        if self.last_sent.is_none() || timestamp.wrapping_sub(self.sampled.0) as i32 > 0 {
            self.sampled = (timestamp, now);
        }
        self.last_sent = Some(now);
        self.packets_of_ssrc = self.packets_of_ssrc.wrapping_add(1);
        self.octets_of_ssrc = self.octets_of_ssrc.wrapping_add(payload_length as u32);
        self.sent.packets += 1;
        self.sent.octets += payload_length as u64;
        Ok(Transmit { channel: Channel::Rtp, destination, payload })
    }

    /// Lets time pass without sending: silence, hold.
    pub fn advance(&mut self, samples: u32) {
        self.next_timestamp = self.next_timestamp.wrapping_add(samples);
    }

    /// The timestamp of the next packet.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.next_timestamp
    }

    /// Our synchronization source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Takes a datagram from the RTP port. `None`: it was multiplexed RTCP and is done.
    ///
    /// # Errors
    /// [`Discard`] says why it is of no use; nothing needs to be done about it.
    pub fn receive_rtp<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &'a [u8],
    ) -> Result<Option<Media<'a>>, Discard> {
        match demux::classify(datagram) {
            Protocol::Rtp => {}
            Protocol::Rtcp if self.config.multiplexed => {
                return self.receive_rtcp(now, from, datagram).map(|()| None);
            }
            Protocol::Rtcp => return self.discard(Discard::NotMultiplexed),
            other => return self.discard(Discard::Protocol(other)),
        }
        if self.closed {
            return Err(Discard::Closed);
        }
        let packet = match Packet::parse(datagram) {
            Ok(packet) => packet,
            Err(error) => return self.discard(error.into()),
        };
        let Header { ssrc, sequence_number, timestamp, .. } = packet.header;
        match self.latch.receive_rtp(now, from, ssrc, sequence_number) {
            latch::Verdict::Accept => {}
            latch::Verdict::Latched => self.push_event(Event::Latched { rtp: from }),
            latch::Verdict::Candidate | latch::Verdict::Reject => {
                return self.discard(Discard::Foreign { from });
            }
        }
        if ssrc == self.ssrc {
            // The first time it may be chance, and we take another SSRC; if that one comes back too, it is an echo.
            let echo = self.conflicts.contains(&from) && self.config.hear_reflections;
            self.collide(now, from);
            if !echo {
                return self.discard(Discard::Looped { ssrc });
            }
        }
        let arrival = self.arrival(now);
        let Some(source) = self.source(now, ssrc) else {
            return self.discard(Discard::TooManySources { ssrc });
        };
        let verdict = source.receive(now, sequence_number, timestamp, arrival, packet.payload.len());
        let source::Verdict::Valid { extended } = verdict else {
            return self.discard(Discard::Probation { ssrc });
        };
        if !source.announced {
            source.announced = true;
            self.push_event(Event::SourceJoined { ssrc });
        }
        let elements = Elements::of(&packet);
        Ok(Some(Media {
            header: packet.header,
            extended_sequence: extended,
            payload: packet.payload,
            elements,
        }))
    }

    /// Takes a datagram from the RTCP port.
    ///
    /// # Errors
    /// [`Discard`] says why it is of no use; nothing needs to be done about it.
    pub fn receive_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), Discard> {
        if self.closed {
            return Err(Discard::Closed);
        }
        let own_channel = if self.config.multiplexed {
            // On one port the media latch decides alone.
            self.latch.rtp_destination().is_some_and(|address| same_host(address, from))
        } else {
            self.latch.accepts_rtcp(from)
        };
        if !own_channel {
            return self.discard(Discard::Foreign { from });
        }
        let compound = match self.parse_rtcp(datagram) {
            Ok(compound) => compound,
            Err(error) => return self.discard(error.into()),
        };
        self.latch.receive_rtcp(from);
        self.rtcp_received += 1;
        if let Some(schedule) = &mut self.schedule {
            schedule.account(datagram.len());
        }
        self.process_compound(now, from, compound)
    }

    fn parse_rtcp(&self, datagram: &[u8]) -> Result<Compound, RtcpError> {
        match self.config.reduced_size {
            true => Compound::parse_reduced_size(datagram),
            false => Compound::parse(datagram),
        }
    }

    /// When [`Session::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed { None } else { self.schedule.as_ref().map(Schedule::next) }
    }

    /// Sends what is due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.time_out_sources(now);
        let membership = self.membership();
        let Some(schedule) = &mut self.schedule else { return };
        let random = &mut self.random;
        if schedule.expire(now, membership, || random.next_f64()) {
            self.send_report(now, None);
        }
    }

    /// The next RTCP datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Leaves the session: a BYE goes out if anything was ever sent (RFC 3550 §6.3.7; there are always fewer
    /// than 50 members here, so it goes at once). Afterwards nothing is sent or received.
    pub fn close(&mut self, now: Instant, reason: Option<&str>) {
        if self.closed {
            return;
        }
        if self.last_sent.is_some() || self.rtcp_was_sent {
            let reason = reason.map(|reason| reason.chars().take(60).collect());
            self.send_report(now, Some(Bye { ssrcs: vec![self.ssrc], reason }));
        }
        self.closed = true;
    }

    /// Everything counted so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let mut received = self.retired;
        for source in &self.sources {
            received.add(&source.statistics(self.config.clock_rate));
        }
        Statistics {
            sent: self.sent,
            received,
            round_trip: self.round_trip,
            discarded: self.discarded,
            rtcp_sent: self.rtcp_sent,
            rtcp_received: self.rtcp_received,
        }
    }

    /// The canonical name of a source, once its SDES came (RFC 3550 §6.5.1).
    #[must_use]
    pub fn cname(&self, ssrc: u32) -> Option<&str> {
        self.sources.iter().find(|source| source.ssrc == ssrc)?.cname.as_deref()
    }

    /// What the wall clock of a source showed at a timestamp of its stream, by its last sender report: streams of one sender
    /// are played together by it (RFC 3550 §6.4.1). `None` before the first report, or if the sender has no wall clock.
    #[must_use]
    pub fn wall_clock_at(&self, ssrc: u32, rtp_timestamp: u32) -> Option<NtpTimestamp> {
        let source = self.sources.iter().find(|source| source.ssrc == ssrc)?;
        source.wall_clock_at(rtp_timestamp, self.config.clock_rate)
    }

    /// Where media goes now.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.latch.rtp_destination()
    }

    /// The time to the peer and back, measured last.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|round_trip| round_trip.last)
    }

    /// Time of arrival in timestamp units.
    fn arrival(&self, now: Instant) -> u32 {
        let nanoseconds = now.saturating_duration_since(self.created).as_nanos();
        (nanoseconds.wrapping_mul(u128::from(self.config.clock_rate)) / 1_000_000_000) as u32
    }

    /// The entry of a source, made if there is room (RFC 3550 §6.2.1).
    fn source(&mut self, now: Instant, ssrc: u32) -> Option<&mut Source> {
        if let Some(at) = self.sources.iter().position(|source| source.ssrc == ssrc) {
            return self.sources.get_mut(at);
        }
        if self.sources.len() >= self.config.max_sources {
            // Invented sources make room for each other, never at the cost of a real one.
            let idle = self.sources.iter().enumerate().filter(|(_, source)| !source.is_valid());
            let (oldest, _) = idle.min_by_key(|(_, source)| source.last_heard)?;
            self.sources.remove(oldest);
        }
        self.sources.push(Source::new(ssrc, now));
        self.sources.last_mut()
    }

    fn membership(&self) -> Membership {
        let valid = self.sources.iter().filter(|source| source.is_valid());
        let (mut members, mut senders) = (1, 0);
        for source in valid {
            members += 1;
            senders += usize::from(source.last_media.is_some());
        }
        let we_sent = self.we_sent();
        Membership { members, senders: senders + usize::from(we_sent), we_sent }
    }

    /// RTP since the report before the last (RFC 3550 §6.3.8, §6.4).
    fn we_sent(&self) -> bool {
        self.last_sent.is_some_and(|sent| self.reports[0].is_none_or(|report| sent >= report))
    }

    /// RFC 3550 §6.3.5: members after five intervals, senders after two of our reports.
    fn time_out_sources(&mut self, now: Instant) {
        let membership = self.membership();
        let Some(schedule) = &self.schedule else { return };
        let limit = schedule.deterministic(membership) * 5;
        let oldest_report = self.reports[0];
        for source in &mut self.sources {
            if source.last_media.is_some_and(|at| oldest_report.is_some_and(|report| at < report)) {
                source.last_media = None;
            }
        }
        let silent = |source: &&Source| now.saturating_duration_since(source.last_heard) > limit;
        let gone: Vec<u32> = self.sources.iter().filter(silent).map(|source| source.ssrc).collect();
        for ssrc in gone {
            self.remove_source(now, ssrc, LeaveCause::TimedOut);
        }
    }

    fn remove_source(&mut self, now: Instant, ssrc: u32, cause: LeaveCause) {
        let Some(at) = self.sources.iter().position(|source| source.ssrc == ssrc) else { return };
        let source = self.sources.remove(at);
        self.retired.add(&source.statistics(self.config.clock_rate));
        if source.announced {
            self.push_event(Event::SourceLeft { ssrc, cause });
        }
        let members = self.membership().members;
        if let Some(schedule) = &mut self.schedule {
            schedule.member_left(now, members);
        }
    }

    /// Somebody uses our SSRC (RFC 3550 §8.2): a loop if the address is known for it, else we take another.
    fn collide(&mut self, now: Instant, from: SocketAddr) {
        if self.conflicts.contains(&from) {
            return;
        }
        if self.conflicts.len() == MAX_CONFLICTS {
            self.conflicts.remove(0);
        }
        self.conflicts.push(from);
        let old = self.ssrc;
        if self.last_sent.is_some() || self.rtcp_was_sent {
            self.send_report(now, Some(Bye { ssrcs: vec![old], reason: Some("SSRC collision".into()) }));
        }
        while self.ssrc == old || self.sources.iter().any(|source| source.ssrc == self.ssrc) {
            self.ssrc = self.random.next_u32();
        }
        self.next_sequence = self.random.next_u32() as u16;
        (self.packets_of_ssrc, self.octets_of_ssrc) = (0, 0);
        self.sent_reports.clear();
        self.push_event(Event::SsrcChanged { from: old, to: self.ssrc });
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn push_transmit(&mut self, payload: Bytes) {
        let Some(destination) = self.latch.rtcp_destination(self.config.multiplexed) else { return };
        let channel = if self.config.multiplexed { Channel::Rtp } else { Channel::Rtcp };
        if self.transmits.len() == MAX_TRANSMITS {
            self.transmits.pop_front();
        }
        self.transmits.push_back(Transmit { channel, destination, payload });
        self.rtcp_sent += 1;
        self.rtcp_was_sent = true;
    }

    pub(crate) fn discard<T>(&mut self, reason: Discard) -> Result<T, Discard> {
        let counter = match reason {
            Discard::Protocol(_) | Discard::NotMultiplexed | Discard::Packet(_) | Discard::Rtcp(_) => {
                &mut self.discarded.malformed
            }
            Discard::Foreign { .. } => &mut self.discarded.foreign,
            Discard::Probation { .. } => &mut self.discarded.sequence,
            Discard::TooManySources { .. } => &mut self.discarded.sources,
            Discard::Looped { .. } => &mut self.discarded.looped,
            Discard::Srtp(_) => &mut self.discarded.unauthentic,
            Discard::Closed => return Err(reason),
        };
        *counter += 1;
        Err(reason)
    }
}

pub(crate) fn same_host(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical() && one.port() == other.port()
}

/// What the peer says about our stream, in our terms.
fn reported(block: &crate::rtcp::ReportBlock, clock_rate: u32) -> Reported {
    Reported {
        lost: block.cumulative_lost,
        fraction_lost: f64::from(block.fraction_lost) / 256.0,
        jitter: Duration::from_secs_f64(f64::from(block.jitter) / f64::from(clock_rate.max(1))),
    }
}

#[cfg(test)]
mod tests;
