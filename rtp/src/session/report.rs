//! RTCP out and in: reports, descriptions and BYE (RFC 3550 §6.4 to §6.6).

use std::net::SocketAddr;
use std::time::Instant;

use super::{Discard, Event, LeaveCause, REMEMBERED_REPORTS, Session, reported};
use crate::rtcp::{
    Bye, Compound, MAX_REPORT_BLOCKS, Packet, ReceiverReport, ReportBlock, SenderReport, SourceDescription,
};

impl Session {
    /// Queues SR or RR, SDES with CNAME and, if given, BYE (RFC 3550 §6.1).
    pub(super) fn send_report(&mut self, now: Instant, bye: Option<Bye>) {
        let due = self.sources.iter_mut().filter(|source| source.heard_since_report);
        let blocks: Vec<ReportBlock> = due.filter_map(|source| source.report(now)).collect();
        let mut chunks = blocks.chunks(MAX_REPORT_BLOCKS).map(<[ReportBlock]>::to_vec);
        let reports = chunks.next().unwrap_or_default();
        let we_sent = self.we_sent();
        let first = if we_sent {
            let ntp = self.wall_clock.ntp(now);
            self.remember_report(ntp.middle());
            Packet::SenderReport(SenderReport {
                ssrc: self.ssrc,
                ntp,
                rtp_timestamp: self.timestamp_at(now),
                packet_count: self.packets_of_ssrc,
                octet_count: self.octets_of_ssrc,
                reports,
            })
        } else {
            Packet::ReceiverReport(ReceiverReport { ssrc: self.ssrc, reports })
        };
        let mut packets = vec![first];
        packets.extend(
            chunks.map(|reports| Packet::ReceiverReport(ReceiverReport { ssrc: self.ssrc, reports })),
        );
        let description = SourceDescription::with_cname(self.ssrc, &self.config.cname);
        packets.push(Packet::SourceDescription(vec![description]));
        packets.extend(self.extended_report(now, we_sent));
        packets.extend(bye.map(Packet::Bye));
        self.reports = [self.reports[1], Some(now)];
        // Every field above is in range, so building cannot fail; if it did, this report is skipped.
        if let Ok(datagram) = Compound(packets).build() {
            if let Some(schedule) = &mut self.schedule {
                schedule.account(datagram.len());
            }
            self.push_transmit(datagram);
        }
    }

    /// A time of ours that a peer may name later.
    pub(super) fn remember_report(&mut self, middle: u32) {
        if self.sent_reports.len() == REMEMBERED_REPORTS {
            self.sent_reports.pop_front();
        }
        self.sent_reports.push_back(middle);
    }

    /// The RTP clock at `now`, from the last packet sent (RFC 3550 §6.4.1, RTP timestamp).
    fn timestamp_at(&self, now: Instant) -> u32 {
        let (timestamp, at) = self.sampled;
        timestamp.wrapping_add(self.arrival(now).wrapping_sub(self.arrival(at)))
    }

    /// Takes what a valid compound says.
    pub(super) fn process_compound(
        &mut self,
        now: Instant,
        from: SocketAddr,
        compound: Compound,
    ) -> Result<(), Discard> {
        for packet in compound.0 {
            match packet {
                Packet::SenderReport(report) => {
                    self.hear(now, from, report.ssrc)?;
                    if let Some(source) = self.source(now, report.ssrc) {
                        source.receive_sender_report(now, report.ntp, report.rtp_timestamp);
                    }
                    self.process_blocks(now, &report.reports);
                }
                Packet::ReceiverReport(report) => {
                    self.hear(now, from, report.ssrc)?;
                    self.process_blocks(now, &report.reports);
                }
                Packet::SourceDescription(chunks) => {
                    for chunk in chunks {
                        let known = self.sources.iter_mut().find(|source| source.ssrc == chunk.ssrc);
                        if let (Some(source), Some(cname)) = (known, chunk.cname()) {
                            source.cname = Some(cname.to_owned());
                        }
                    }
                }
                Packet::Bye(bye) => {
                    for ssrc in bye.ssrcs {
                        self.remove_source(now, ssrc, LeaveCause::Bye { reason: bye.reason.clone() });
                    }
                }
                Packet::Feedback(feedback) => self.process_feedback(feedback),
                Packet::ExtendedReport(report) => self.process_extended(now, report),
                Packet::Application(application) => self.process_application(application),
                Packet::Unknown(_) => {}
            }
        }
        Ok(())
    }

    /// A report came from this source.
    fn hear(&mut self, now: Instant, from: SocketAddr, ssrc: u32) -> Result<(), Discard> {
        if ssrc == self.ssrc {
            self.collide(now, from);
            return self.discard(Discard::Looped { ssrc });
        }
        match self.source(now, ssrc) {
            Some(source) => source.last_heard = now,
            None => return self.discard(Discard::TooManySources { ssrc }),
        }
        Ok(())
    }

    /// Reports on our own stream: loss, jitter and the round-trip time A - LSR - DLSR (RFC 3550 §6.4.1).
    fn process_blocks(&mut self, now: Instant, blocks: &[ReportBlock]) {
        let own = self.ssrc;
        for block in blocks.iter().filter(|block| block.ssrc == own) {
            self.sent.reported = Some(reported(block, self.config.clock_rate));
            self.measure_round_trip(now, block.last_sender_report, block.delay_since_last_sender_report);
            self.push_event(Event::Reported);
        }
    }
}
