//! Feedback (RFC 4585, 5104) and extended reports (RFC 3611) of a session.

use std::time::Instant;

use super::{Event, Session};
use crate::ntp::{from_middle_units, to_middle_units};
use crate::rtcp::extended::{Block, ExtendedReport, LastReceiverReport, VoipMetrics, Wanted};
use crate::rtcp::feedback::{Feedback, Message, Nack};
use crate::rtcp::{Application, Compound, Packet, ReceiverReport, SourceDescription};

/// Sequence numbers taken out of one feedback packet: a datagram could name 270,000, and no sender keeps that many packets.
const MAX_MISSING: usize = 1024;
/// Octets of an application's packet that are handed on; the events that wait are bounded by it.
const MAX_APPLICATION: usize = 1024;
/// Seconds of the RTCP bandwidth that feedback may use up at once, after a silence.
const BURST: f64 = 2.0;
/// Octets that feedback may always use up at once: one full packet.
const MIN_BURST: f64 = 1500.0;

/// Why feedback was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// The profile is RTP/AVP, in which nobody listens for feedback.
    #[error("feedback was not agreed; set Config::feedback when the profile is RTP/AVPF or RTP/SAVPF")]
    NotAgreed,
    /// More of it would exceed the bandwidth of RTCP.
    #[error("feedback has used up the bandwidth of RTCP; send it later")]
    TooMuch,
    /// Signalling has not said where to.
    #[error("no remote address yet; call set_remote first")]
    NoRemote,
    /// After [`Session::close`].
    #[error("the session is closed")]
    Closed,
    /// A list in the message is longer than a packet can say.
    #[error("the message does not fit in one packet; split it")]
    TooLong,
}

/// The octets that feedback may use: a bucket that fills with the bandwidth of RTCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    octets: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { octets: MIN_BURST, at: now }
    }

    fn take(&mut self, now: Instant, octets: usize, bandwidth: u32) -> bool {
        let rate = f64::from(bandwidth);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.octets = (self.octets + gained).min(MIN_BURST.max(rate * BURST));
        self.at = now;
        let enough = self.octets >= octets as f64;
        if enough {
            self.octets -= octets as f64;
        }
        enough
    }
}

impl Session {
    /// Tells the sender of the stream `media` at once, not with the next report: between two ends nobody else could say the
    /// same, so there is nothing to wait for (RFC 4585 §3.5.2 with T_dither_max = 0). What the bandwidth of RTCP
    /// does not carry is refused.
    ///
    /// # Errors
    /// [`FeedbackError`].
    pub fn send_feedback(&mut self, now: Instant, media: u32, message: Message) -> Result<(), FeedbackError> {
        if self.closed {
            return Err(FeedbackError::Closed);
        }
        if !self.config.feedback {
            return Err(FeedbackError::NotAgreed);
        }
        if self.latch.rtp_destination().is_none() {
            return Err(FeedbackError::NoRemote);
        }
        let feedback = Packet::Feedback(Feedback { sender: self.ssrc, media, message });
        let packets = if self.config.reduced_size {
            vec![feedback]
        } else {
            // The least that a compound is made of (RFC 4585 §3.1). The blocks keep their interval: they come with the report.
            let empty = Packet::ReceiverReport(ReceiverReport { ssrc: self.ssrc, reports: Vec::new() });
            let description = SourceDescription::with_cname(self.ssrc, &self.config.cname);
            vec![empty, Packet::SourceDescription(vec![description]), feedback]
        };
        let datagram = Compound(packets).build().map_err(|_| FeedbackError::TooLong)?;
        if !self.allowance.take(now, datagram.len(), self.config.rtcp_bandwidth) {
            return Err(FeedbackError::TooMuch);
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.account(datagram.len());
        }
        self.push_transmit(datagram);
        Ok(())
    }

    /// Which extended reports the peer wants from now on, as it was agreed (RFC 3611 §5.2).
    pub fn set_extended_reports(&mut self, wanted: Wanted) {
        self.config.extended_reports = wanted;
    }

    /// Which extended reports go with the reports.
    #[must_use]
    pub fn extended_reports(&self) -> Wanted {
        self.config.extended_reports
    }

    /// What the next extended report says of the call (RFC 3611 §4.7); sent if [`Config::extended_reports`](super::Config)
    /// has it. Stays until replaced.
    pub fn set_voip_metrics(&mut self, metrics: VoipMetrics) {
        self.voip_metrics = Some(Box::new(metrics));
    }

    /// The extended report that goes with a report, if there is anything to say.
    pub(super) fn extended_report(&mut self, now: Instant, we_sent: bool) -> Option<Packet> {
        let wanted = self.config.extended_reports;
        if wanted.is_none() {
            return None;
        }
        let mut blocks = Vec::new();
        if !we_sent && wanted.round_trip {
            // Without sender reports of ours, this is how the round trip is measured (RFC 3611 §4.4).
            let ntp = self.wall_clock.ntp(now);
            self.remember_report(ntp.middle());
            blocks.push(Block::ReceiverReferenceTime(ntp));
        }
        let answers: Vec<LastReceiverReport> = self
            .sources
            .iter_mut()
            .filter(|_| wanted.round_trip)
            .filter_map(|source| {
                let (last_receiver_report, at) = source.reference_time.take()?;
                let delay = to_middle_units(now.saturating_duration_since(at));
                Some(LastReceiverReport { ssrc: source.ssrc, last_receiver_report, delay })
            })
            .collect();
        if !answers.is_empty() {
            blocks.push(Block::DelaySinceLastReceiverReport(answers));
        }
        if let Some(metrics) = self.voip_metrics.as_ref().filter(|_| wanted.voip_metrics) {
            blocks.push(Block::VoipMetrics(metrics.clone()));
        }
        (!blocks.is_empty()).then(|| Packet::ExtendedReport(ExtendedReport { ssrc: self.ssrc, blocks }))
    }

    pub(super) fn process_extended(&mut self, now: Instant, report: ExtendedReport) {
        for block in report.blocks {
            match block {
                Block::ReceiverReferenceTime(time) => {
                    if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == report.ssrc) {
                        source.reference_time = Some((time.middle(), now));
                    }
                }
                Block::DelaySinceLastReceiverReport(answers) => {
                    let own = self.ssrc;
                    for answer in answers.into_iter().filter(|answer| answer.ssrc == own) {
                        self.measure_round_trip(now, answer.last_receiver_report, answer.delay);
                    }
                }
                Block::VoipMetrics(metrics) => self.push_event(Event::VoipMetrics(metrics)),
                _ => {}
            }
        }
    }

    /// Only a time that we sent measures anything; others are forged or from another life.
    pub(super) fn measure_round_trip(&mut self, now: Instant, sent: u32, delay: u32) {
        if sent == 0 || !self.sent_reports.contains(&sent) {
            return;
        }
        let elapsed = self.wall_clock.ntp(now).middle().wrapping_sub(sent);
        if let Some(units) = elapsed.checked_sub(delay) {
            self.round_trip.get_or_insert_default().record(from_middle_units(units));
        }
    }

    /// Tells the application what the peer wants of our own stream.
    pub(super) fn process_feedback(&mut self, feedback: Feedback) {
        let (own, by) = (self.ssrc, feedback.sender);
        let about_us = feedback.media == own;
        match feedback.message {
            Message::Nack(entries) if about_us => {
                let missing = entries.into_iter().flat_map(Nack::lost).take(MAX_MISSING).collect();
                self.push_event(Event::PacketsMissing { by, missing });
            }
            Message::PictureLossIndication if about_us => self.push_event(Event::KeyFrameWanted { by }),
            Message::FullIntraRequest(entries) => {
                let Some(entry) = entries.into_iter().find(|entry| entry.ssrc == own) else { return };
                let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == by) else { return };
                // A repetition is answered once (RFC 5104 §4.3.1.2).
                if source.full_intra_request.replace(entry.sequence_number) != Some(entry.sequence_number) {
                    self.push_event(Event::KeyFrameWanted { by });
                }
            }
            Message::MaximumBitRateRequest(entries) => {
                if let Some(limit) = entries.into_iter().find(|limit| limit.ssrc == own) {
                    self.push_event(Event::MaximumBitRate { by, bit_rate: limit.bit_rate });
                }
            }
            Message::EstimatedMaximumBitRate { bit_rate, sources } if sources.contains(&own) => {
                self.push_event(Event::MaximumBitRate { by, bit_rate });
            }
            _ => {}
        }
    }

    pub(super) fn process_application(&mut self, application: Application) {
        if application.data.len() <= MAX_APPLICATION {
            self.push_event(Event::Application(application));
        }
    }
}
