//! One remote source: sequence validation (RFC 3550 appendix A.1), loss (A.3), interarrival jitter (A.8).

use std::time::{Duration, Instant};

use crate::ntp::{NtpTimestamp, to_middle_units};
use crate::rtcp::ReportBlock;
use crate::statistics::Received;

/// Gap up to which a jump ahead is loss and not a new stream (RFC 3550 appendix A.1).
const MAX_DROPOUT: u16 = 3000;
/// Steps back up to which a packet is a late one (RFC 3550 appendix A.1).
const MAX_MISORDER: u16 = 100;
/// Packets in sequence before a source counts (RFC 3550 appendix A.1).
const MIN_SEQUENTIAL: u8 = 2;

/// What a packet's sequence number says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Belongs to the stream; the number with its cycles.
    Valid { extended: u64 },
    /// The source has not shown enough packets in sequence yet.
    Probation,
    /// A jump that only a second packet behind it would confirm.
    Jump,
}

/// Sequence state of appendix A.1.
#[derive(Clone, Debug)]
struct Sequence {
    highest: u16,
    cycles: u64,
    first: u16,
    /// The number that would confirm a jump, if one is suspected.
    after_jump: Option<u16>,
    /// Packets in sequence still missing; 0 once valid.
    probation: u8,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Bit i: `highest - i` was received. Tells duplicates from late packets.
    window: u64,
}

impl Sequence {
    fn new(sequence: u16) -> Self {
        Self {
            highest: sequence,
            cycles: 0,
            first: sequence,
            after_jump: None,
            probation: MIN_SEQUENTIAL - 1,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            window: 1,
        }
    }

    fn extended_highest(&self) -> u64 {
        self.cycles.wrapping_add(u64::from(self.highest))
    }

    /// Packets that should have come (A.3).
    fn expected(&self) -> u64 {
        if self.probation > 0 { 0 } else { self.extended_highest() + 1 - u64::from(self.first) }
    }

    fn restart(&mut self, sequence: u16) {
        *self = Self { probation: 0, received: 1, ..Self::new(sequence) };
    }
}

/// State of one synchronization source as we receive it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) ssrc: u32,
    pub(crate) cname: Option<String>,
    /// Last RTP or RTCP from it (RFC 3550 §6.3.5).
    pub(crate) last_heard: Instant,
    /// Last valid RTP packet; makes it a sender.
    pub(crate) last_media: Option<Instant>,
    /// RTP since our last report (RFC 3550 §6.4).
    pub(crate) heard_since_report: bool,
    /// The application was told of it.
    pub(crate) announced: bool,
    /// Its last receiver reference time, to be answered (RFC 3611 §4.5).
    pub(crate) reference_time: Option<(u32, Instant)>,
    /// Number of its last full intra request (RFC 5104 §4.3.1.2).
    pub(crate) full_intra_request: Option<u8>,
    sequence: Option<Sequence>,
    transit: Option<(u32, u32)>,
    /// Interarrival jitter in timestamp units.
    jitter: f64,
    last_sender_report: Option<(NtpTimestamp, Instant)>,
    /// One moment on its wall clock and on its RTP clock (RFC 3550 §6.4.1).
    clocks: Option<(NtpTimestamp, u32)>,
    /// Counters over restarts of the stream.
    totals: Received,
}

impl Source {
    pub(crate) fn new(ssrc: u32, now: Instant) -> Self {
        Self {
            ssrc,
            cname: None,
            last_heard: now,
            last_media: None,
            heard_since_report: false,
            announced: false,
            reference_time: None,
            full_intra_request: None,
            sequence: None,
            transit: None,
            jitter: 0.0,
            last_sender_report: None,
            clocks: None,
            totals: Received::default(),
        }
    }

    /// Whether it has passed probation or spoken RTCP, so that a storm of invented sources cannot displace it.
    pub(crate) fn is_valid(&self) -> bool {
        self.sequence.as_ref().is_some_and(|sequence| sequence.probation == 0) || self.cname.is_some()
    }

    /// Appendix A.1, `update_seq`. `arrival` is the time of arrival in timestamp units.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        number: u16,
        timestamp: u32,
        arrival: u32,
        octets: usize,
    ) -> Verdict {
        self.last_heard = now;
        let verdict = self.update_sequence(number);
        if let Verdict::Valid { .. } = verdict {
            self.last_media = Some(now);
            self.heard_since_report = true;
            self.totals.packets += 1;
            self.totals.octets += octets as u64;
            self.update_jitter(timestamp, arrival);
        }
        verdict
    }

    fn update_sequence(&mut self, number: u16) -> Verdict {
        let Some(state) = &mut self.sequence else {
            self.sequence = Some(Sequence::new(number));
            return Verdict::Probation;
        };
        let ahead = number.wrapping_sub(state.highest);
        if state.probation > 0 {
            if ahead != 1 {
                *state = Sequence::new(number);
                return Verdict::Probation;
            }
            state.probation -= 1;
            state.highest = number;
            if state.probation > 0 {
                return Verdict::Probation;
            }
            state.restart(number);
            return Verdict::Valid { extended: u64::from(number) };
        }
        if ahead != 0 && ahead < MAX_DROPOUT {
            if number < state.highest {
                state.cycles += 1 << 16;
            }
            state.highest = number;
            state.window = state.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        } else if ahead == 0 || ahead > u16::MAX - MAX_MISORDER {
            let behind = u32::from(ahead.wrapping_neg());
            let bit = 1u64.checked_shl(behind).unwrap_or(0);
            // Beyond the window nothing is known: count it as late.
            if state.window & bit != 0 {
                self.totals.duplicates += 1;
            } else {
                self.totals.reordered += 1;
            }
            state.window |= bit;
            state.received += 1;
            let cycle_of =
                if number > state.highest { state.cycles.wrapping_sub(1 << 16) } else { state.cycles };
            return Verdict::Valid { extended: cycle_of.wrapping_add(u64::from(number)) };
        } else if state.after_jump == Some(number) {
            // Two in sequence after the jump: the other side restarted without telling.
            self.totals.expected += state.expected();
            self.totals.restarts += 1;
            state.restart(number);
            self.transit = None;
            return Verdict::Valid { extended: u64::from(number) };
        } else {
            state.after_jump = Some(number.wrapping_add(1));
            return Verdict::Jump;
        }
        state.after_jump = None;
        state.received += 1;
        Verdict::Valid { extended: state.extended_highest() }
    }

    /// Appendix A.8. Packets that repeat a timestamp (telephone events) say nothing about the network.
    fn update_jitter(&mut self, timestamp: u32, arrival: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        match self.transit {
            Some((previous, _)) if previous == timestamp => return,
            Some((_, previous)) => {
                let difference = f64::from((transit.wrapping_sub(previous) as i32).unsigned_abs());
                self.jitter += (difference - self.jitter) / 16.0;
            }
            None => {}
        }
        self.transit = Some((timestamp, transit));
    }

    pub(crate) fn receive_sender_report(&mut self, now: Instant, ntp: NtpTimestamp, rtp_timestamp: u32) {
        self.last_sender_report = Some((ntp, now));
        // A sender without a wall clock writes 0.
        self.clocks = (ntp.0 != 0).then_some((ntp, rtp_timestamp));
    }

    /// What the sender's wall clock showed at a timestamp of its stream.
    pub(crate) fn wall_clock_at(&self, rtp_timestamp: u32, clock_rate: u32) -> Option<NtpTimestamp> {
        let (ntp, at) = self.clocks?;
        // 32 bits of timestamps and 32 of the fraction fit in 64 with their sign.
        let units = i64::from(rtp_timestamp.wrapping_sub(at) as i32);
        let later = (units << 32).checked_div(i64::from(clock_rate))?;
        Some(NtpTimestamp(ntp.0.wrapping_add_signed(later)))
    }

    /// The report block for this source (RFC 3550 §6.4.1, appendix A.3); starts the next interval.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let state = self.sequence.as_mut().filter(|state| state.probation == 0)?;
        let expected = state.expected();
        let expected_interval = expected.saturating_sub(state.expected_prior);
        let received_interval = state.received - state.received_prior;
        state.expected_prior = expected;
        state.received_prior = state.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        let cumulative = (expected as i64).wrapping_sub(state.received as i64).clamp(-0x80_0000, 0x7f_ffff);
        self.heard_since_report = false;
        let (last_sender_report, delay) = match self.last_sender_report {
            Some((ntp, at)) => (ntp.middle(), to_middle_units(now.saturating_duration_since(at))),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: cumulative as i32,
            extended_highest_sequence: state.extended_highest() as u32,
            jitter: self.jitter as u32,
            last_sender_report,
            delay_since_last_sender_report: delay,
        })
    }

    /// Counters up to now, with the open stream added.
    pub(crate) fn statistics(&self, clock_rate: u32) -> Received {
        let mut totals = self.totals;
        totals.expected += self.sequence.as_ref().map_or(0, Sequence::expected);
        totals.jitter = Duration::from_secs_f64(self.jitter / f64::from(clock_rate.max(1)));
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(source: &mut Source, numbers: impl IntoIterator<Item = u16>) -> Vec<Verdict> {
        let now = Instant::now();
        numbers
            .into_iter()
            .map(|number| source.receive(now, number, u32::from(number) * 160, 0, 160))
            .collect()
    }

    #[test]
    fn rfc3550_a1_two_packets_in_sequence_end_probation() {
        let mut source = Source::new(1, Instant::now());
        let verdicts = feed(&mut source, [10, 20, 21, 22]);
        assert_eq!(verdicts[..2], [Verdict::Probation, Verdict::Probation]);
        assert_eq!(verdicts[2..], [Verdict::Valid { extended: 21 }, Verdict::Valid { extended: 22 }]);
    }

    #[test]
    fn rfc3550_a1_wrap_adds_a_cycle_and_a_late_packet_falls_into_the_old_one() {
        let mut source = Source::new(1, Instant::now());
        let verdicts = feed(&mut source, [65533, 65534, 0, 65535, 1]);
        assert_eq!(verdicts[2], Verdict::Valid { extended: 65536 });
        assert_eq!(verdicts[3], Verdict::Valid { extended: 65535 });
        assert_eq!(verdicts[4], Verdict::Valid { extended: 65537 });
        let totals = source.statistics(8000);
        assert_eq!((totals.packets, totals.expected, totals.lost(), totals.reordered), (4, 4, 0, 1));
    }

    #[test]
    fn rfc3550_a1_a_jump_counts_only_when_confirmed() {
        let mut source = Source::new(1, Instant::now());
        let verdicts = feed(&mut source, [1, 2, 30_000, 3, 40_000, 40_001]);
        assert_eq!(verdicts[2], Verdict::Jump);
        assert_eq!(verdicts[3], Verdict::Valid { extended: 3 });
        assert_eq!(verdicts[4], Verdict::Jump);
        assert_eq!(verdicts[5], Verdict::Valid { extended: 40_001 });
        let totals = source.statistics(8000);
        assert_eq!((totals.lost(), totals.restarts), (0, 1));
    }

    #[test]
    fn rfc3550_a3_fraction_and_cumulative_loss() {
        let mut source = Source::new(1, Instant::now());
        feed(&mut source, (0..=100).filter(|number| number % 4 != 3));
        let report = source.report(Instant::now()).unwrap();
        // The first packet went into probation: 1..=100 expected, 25 lost.
        assert_eq!((report.cumulative_lost, report.fraction_lost), (25, 64));
        feed(&mut source, 101..=200);
        let report = source.report(Instant::now()).unwrap();
        assert_eq!((report.cumulative_lost, report.fraction_lost), (25, 0));
    }

    #[test]
    fn rfc3550_6_4_1_duplicates_make_loss_negative_in_the_report_but_not_in_statistics() {
        let mut source = Source::new(1, Instant::now());
        feed(&mut source, [1, 2, 2, 2, 3]);
        assert_eq!(source.report(Instant::now()).unwrap().cumulative_lost, -2);
        let totals = source.statistics(8000);
        assert_eq!((totals.lost(), totals.duplicates), (0, 2));
    }

    #[test]
    fn rfc3550_a8_constant_change_of_spacing_converges_to_its_size() {
        let mut source = Source::new(1, Instant::now());
        let now = Instant::now();
        for number in 0..400u16 {
            // Arrivals alternate 5 ms (40 units) early and on time.
            let arrival = u32::from(number) * 160 + u32::from(number % 2) * 40;
            source.receive(now, number, u32::from(number) * 160, arrival, 160);
        }
        assert_eq!(source.report(now).unwrap().jitter, 39);
        assert!((source.statistics(8000).jitter.as_secs_f64() - 0.005).abs() < 0.0001);
    }
}
