//! Extended reports (RFC 3611), the VoIP metrics among them (§4.7).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::RtcpBuildError;
use crate::ntp::NtpTimestamp;

/// Packet type of extended reports (RFC 3611 §2).
pub(super) const EXTENDED_REPORT: u8 = 207;

const LOSS: u8 = 1;
const DUPLICATES: u8 = 2;
const REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;
const SUMMARY: u8 = 6;
const VOIP_METRICS: u8 = 7;
/// Octets of the VoIP metrics behind the block header: eight words (RFC 3611 §4.7).
const VOIP_METRICS_LENGTH: usize = 32;

/// The extended reports that somebody wants: `a=rtcp-xr` (RFC 3611 §5.1). Written and read as the text behind its colon; what
/// is not known here is not sent and therefore passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// `rcvr-rtt`: the times of those who only hear, and the answers to them (RFC 3611 §4.4, §4.5).
    pub round_trip: bool,
    /// `voip-metrics`: what the call sounds like (RFC 3611 §4.7).
    pub voip_metrics: bool,
}

impl Wanted {
    /// The name of the attribute.
    pub const ATTRIBUTE: &str = "rtcp-xr";
    /// Everything that a session can send.
    pub const ALL: Self = Self { round_trip: true, voip_metrics: true };
    /// Nothing.
    pub const NONE: Self = Self { round_trip: false, voip_metrics: false };

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Reads the attribute's value, of which anything may be.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        let mut wanted = Self::NONE;
        for format in value.split_ascii_whitespace() {
            match format.split_once('=').map_or(format, |(name, _)| name) {
                "rcvr-rtt" => wanted.round_trip = true,
                "voip-metrics" => wanted.voip_metrics = true,
                _ => {}
            }
        }
        wanted
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.round_trip, self.voip_metrics) {
            (true, true) => "rcvr-rtt=all voip-metrics",
            (true, false) => "rcvr-rtt=all",
            (false, true) => "voip-metrics",
            (false, false) => "",
        })
    }
}

/// An extended report (RFC 3611 §2).
#[derive(Clone, Debug, PartialEq)]
pub struct ExtendedReport {
    /// Who reports.
    pub ssrc: u32,
    /// What.
    pub blocks: Vec<Block>,
}

/// One block of an extended report.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Which packets came and which did not, as runs and bits (RFC 3611 §4.1).
    Loss(RunLengths),
    /// Which packets came more than once, as runs and bits (RFC 3611 §4.2).
    Duplicates(RunLengths),
    /// The wall-clock time of this report, for those who send nothing themselves (RFC 3611 §4.4).
    ReceiverReferenceTime(NtpTimestamp),
    /// DLRR: the answers to those times, from which the other side computes the round trip (RFC 3611 §4.5).
    DelaySinceLastReceiverReport(Vec<LastReceiverReport>),
    /// Counters over an interval of packets, kept as they are (RFC 3611 §4.6).
    StatisticsSummary {
        /// Which counters are there.
        flags: u8,
        /// Nine words.
        body: Bytes,
    },
    /// What a call sounds like (RFC 3611 §4.7).
    VoipMetrics(Box<VoipMetrics>),
    /// Any other, kept as it is.
    Unknown {
        /// BT.
        block_type: u8,
        /// The octet whose meaning is the type's.
        specific: u8,
        /// The block behind its header.
        body: Bytes,
    },
}

/// Runs and bits over an interval of sequence numbers (RFC 3611 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLengths {
    /// The source reported on.
    pub ssrc: u32,
    /// One packet out of 2^thinning was looked at, 0 to 15.
    pub thinning: u8,
    /// The first sequence number.
    pub begin: u16,
    /// The one behind the last.
    pub end: u16,
    /// The chunks as they stand, a null chunk for padding included.
    pub chunks: Vec<u16>,
}

impl RunLengths {
    /// One `true` or `false` for each packet looked at: received, or received once.
    pub fn bits(&self) -> impl Iterator<Item = bool> {
        let count = usize::from(self.end.wrapping_sub(self.begin) >> self.thinning.min(15));
        let chunks = self.chunks.iter().take_while(|chunk| **chunk != 0);
        chunks
            .flat_map(|&chunk| {
                // Run length chunk: run type and length (§4.1.1); bit vector chunk: fifteen bits (§4.1.2).
                let (length, bit): (u16, Box<dyn Fn(u16) -> bool>) = match chunk & 0x8000 {
                    0 => (chunk & 0x3fff, Box::new(move |_| chunk & 0x4000 != 0)),
                    _ => (15, Box::new(move |at| chunk & (0x4000 >> at) != 0)),
                };
                (0..length).map(bit)
            })
            .take(count)
    }
}

/// One answer to a receiver's time (RFC 3611 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastReceiverReport {
    /// Who had sent its time.
    pub ssrc: u32,
    /// LRR: middle 32 bits of that time; 0 if none came.
    pub last_receiver_report: u32,
    /// DLRR: 1/65536 s between its arrival and this report.
    pub delay: u32,
}

/// What a call sounds like (RFC 3611 §4.7). Rates and densities are in 1/256, levels in dB, durations in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoipMetrics {
    /// The source heard.
    pub ssrc: u32,
    /// Share of packets lost on the way.
    pub loss_rate: u8,
    /// Share of packets that came too late or too early for the jitter buffer.
    pub discard_rate: u8,
    /// Share lost or discarded within bursts.
    pub burst_density: u8,
    /// Share lost or discarded outside bursts.
    pub gap_density: u8,
    /// Mean length of bursts.
    pub burst_duration: u16,
    /// Mean length of gaps between them.
    pub gap_duration: u16,
    /// The latest round-trip time; 0 if none is known.
    pub round_trip_delay: u16,
    /// Delay in this end system: encoding, playout, decoding.
    pub end_system_delay: u16,
    /// Level of speech in dBm0, signed; 127 if not measured.
    pub signal_level: i8,
    /// Level of noise in dBm0, signed; 127 if not measured.
    pub noise_level: i8,
    /// Residual echo return loss; 127 if not measured.
    pub residual_echo_return_loss: u8,
    /// Gmin: packets received in sequence that end a burst; 16 is the RFC's advice.
    pub gap_threshold: u8,
    /// R factor of this segment, 0 to 100; 127 if not measured.
    pub r_factor: u8,
    /// R factor of a segment beyond this one; 127 if not measured.
    pub external_r_factor: u8,
    /// MOS for listening, times ten, 10 to 50; 127 if not measured.
    pub mos_listening: u8,
    /// MOS for conversation, times ten, 10 to 50; 127 if not measured.
    pub mos_conversational: u8,
    /// Concealment, kind and speed of the jitter buffer (§4.7.6).
    pub receiver_configuration: u8,
    /// Delay that the jitter buffer adds now.
    pub jitter_buffer_nominal: u16,
    /// Delay that it would add at most in its present state.
    pub jitter_buffer_maximum: u16,
    /// Delay that it could ever add.
    pub jitter_buffer_absolute_maximum: u16,
}

/// Not measured, in the fields that say so.
pub const UNAVAILABLE: u8 = 127;

/// The receiver has enhanced concealment (RFC 3611 §4.7.6, PLC 2).
pub const CONCEALMENT_ENHANCED: u8 = 0b1000_0000;
/// The receiver's jitter buffer adapts itself (RFC 3611 §4.7.6, JBA 3).
pub const JITTER_BUFFER_ADAPTIVE: u8 = 0b0011_0000;

/// A share of one as RFC 3611 §4.7.1 counts it.
#[must_use]
pub fn share(share: f64) -> u8 {
    (share * 256.0).clamp(0.0, 255.0) as u8
}

/// A duration in whole milliseconds, as long as 16 bits can say.
#[must_use]
pub fn milliseconds(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis()).unwrap_or(u16::MAX)
}

impl ExtendedReport {
    /// Reads what follows the common header. `None` if a block lies about its length.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (ssrc, mut rest) = body.split_first_chunk::<4>()?;
        let mut blocks = Vec::new();
        while let Some((&[block_type, specific, high, low], behind)) = rest.split_first_chunk::<4>() {
            let length = 4 * usize::from(u16::from_be_bytes([high, low]));
            let (content, behind) = behind.split_at_checked(length)?;
            blocks.push(Block::parse(block_type, specific, content));
            rest = behind;
        }
        rest.is_empty().then(|| Self { ssrc: u32::from_be_bytes(*ssrc), blocks })
    }

    pub(super) fn write(&self) -> Result<BytesMut, RtcpBuildError> {
        let mut body = BytesMut::new();
        body.put_u32(self.ssrc);
        for block in &self.blocks {
            let mut content = BytesMut::new();
            let (block_type, specific) = block.write(&mut content);
            let length = content.len();
            let words = u16::try_from(length / 4).ok().filter(|_| length.is_multiple_of(4));
            body.put_u8(block_type);
            body.put_u8(specific);
            body.put_u16(words.ok_or(RtcpBuildError::Length { length })?);
            body.put_slice(&content);
        }
        Ok(body)
    }
}

impl Block {
    /// A block whose content is not what its type wants is kept as one of an unknown type.
    fn parse(block_type: u8, specific: u8, content: &[u8]) -> Self {
        let known = match block_type {
            LOSS => run_lengths(specific, content).map(Self::Loss),
            DUPLICATES => run_lengths(specific, content).map(Self::Duplicates),
            REFERENCE_TIME => {
                let time = content.try_into().ok().map(u64::from_be_bytes);
                time.map(|time| Self::ReceiverReferenceTime(NtpTimestamp(time)))
            }
            DLRR => {
                let (entries, rest) = content.as_chunks::<12>();
                let entry = |entry: &[u8; 12]| {
                    let [ssrc, last_receiver_report, delay] = words_of(entry);
                    LastReceiverReport { ssrc, last_receiver_report, delay }
                };
                let entries = entries.iter().map(entry).collect();
                rest.is_empty().then_some(Self::DelaySinceLastReceiverReport(entries))
            }
            SUMMARY if content.len() == 36 => {
                Some(Self::StatisticsSummary { flags: specific, body: Bytes::copy_from_slice(content) })
            }
            VOIP_METRICS => {
                content.try_into().ok().map(|octets| Self::VoipMetrics(Box::new(metrics(octets))))
            }
            _ => None,
        };
        let kept = || Self::Unknown { block_type, specific, body: Bytes::copy_from_slice(content) };
        known.unwrap_or_else(kept)
    }

    fn write(&self, content: &mut BytesMut) -> (u8, u8) {
        match self {
            Self::Loss(runs) => (LOSS, write_run_lengths(content, runs)),
            Self::Duplicates(runs) => (DUPLICATES, write_run_lengths(content, runs)),
            Self::ReceiverReferenceTime(time) => {
                content.put_u64(time.0);
                (REFERENCE_TIME, 0)
            }
            Self::DelaySinceLastReceiverReport(entries) => {
                for entry in entries {
                    content.put_u32(entry.ssrc);
                    content.put_u32(entry.last_receiver_report);
                    content.put_u32(entry.delay);
                }
                (DLRR, 0)
            }
            Self::StatisticsSummary { flags, body } => {
                content.put_slice(body);
                (SUMMARY, *flags)
            }
            Self::VoipMetrics(metrics) => {
                write_metrics(content, metrics);
                (VOIP_METRICS, 0)
            }
            Self::Unknown { block_type, specific, body } => {
                content.put_slice(body);
                (*block_type, *specific)
            }
        }
    }
}

fn words_of(octets: &[u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *octets;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_be_bytes)
}

fn run_lengths(specific: u8, content: &[u8]) -> Option<RunLengths> {
    let (&[a, b, c, d, e, f, g, h], chunks) = content.split_first_chunk::<8>()?;
    Some(RunLengths {
        ssrc: u32::from_be_bytes([a, b, c, d]),
        thinning: specific & 0x0f,
        begin: u16::from_be_bytes([e, f]),
        end: u16::from_be_bytes([g, h]),
        chunks: chunks.as_chunks::<2>().0.iter().map(|chunk| u16::from_be_bytes(*chunk)).collect(),
    })
}

fn write_run_lengths(content: &mut BytesMut, runs: &RunLengths) -> u8 {
    content.put_u32(runs.ssrc);
    content.put_u16(runs.begin);
    content.put_u16(runs.end);
    runs.chunks.iter().for_each(|chunk| content.put_u16(*chunk));
    if !runs.chunks.len().is_multiple_of(2) {
        content.put_u16(0); // the null chunk of §4.1.3
    }
    runs.thinning & 0x0f
}

fn metrics(octets: [u8; VOIP_METRICS_LENGTH]) -> VoipMetrics {
    let [
        s0,
        s1,
        s2,
        s3,
        loss_rate,
        discard_rate,
        burst_density,
        gap_density,
        b0,
        b1,
        g0,
        g1,
        r0,
        r1,
        e0,
        e1,
        signal,
        noise,
        residual_echo_return_loss,
        gap_threshold,
        r_factor,
        external_r_factor,
        mos_listening,
        mos_conversational,
        receiver_configuration,
        _,
        n0,
        n1,
        m0,
        m1,
        a0,
        a1,
    ] = octets;
    VoipMetrics {
        ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        loss_rate,
        discard_rate,
        burst_density,
        gap_density,
        burst_duration: u16::from_be_bytes([b0, b1]),
        gap_duration: u16::from_be_bytes([g0, g1]),
        round_trip_delay: u16::from_be_bytes([r0, r1]),
        end_system_delay: u16::from_be_bytes([e0, e1]),
        signal_level: signal as i8,
        noise_level: noise as i8,
        residual_echo_return_loss,
        gap_threshold,
        r_factor,
        external_r_factor,
        mos_listening,
        mos_conversational,
        receiver_configuration,
        jitter_buffer_nominal: u16::from_be_bytes([n0, n1]),
        jitter_buffer_maximum: u16::from_be_bytes([m0, m1]),
        jitter_buffer_absolute_maximum: u16::from_be_bytes([a0, a1]),
    }
}

fn write_metrics(content: &mut BytesMut, metrics: &VoipMetrics) {
    content.put_u32(metrics.ssrc);
    content.put_slice(&[metrics.loss_rate, metrics.discard_rate, metrics.burst_density, metrics.gap_density]);
    content.put_u16(metrics.burst_duration);
    content.put_u16(metrics.gap_duration);
    content.put_u16(metrics.round_trip_delay);
    content.put_u16(metrics.end_system_delay);
    content.put_i8(metrics.signal_level);
    content.put_i8(metrics.noise_level);
    content.put_slice(&[metrics.residual_echo_return_loss, metrics.gap_threshold]);
    content.put_slice(&[metrics.r_factor, metrics.external_r_factor]);
    content.put_slice(&[metrics.mos_listening, metrics.mos_conversational]);
    content.put_slice(&[metrics.receiver_configuration, 0]);
    content.put_u16(metrics.jitter_buffer_nominal);
    content.put_u16(metrics.jitter_buffer_maximum);
    content.put_u16(metrics.jitter_buffer_absolute_maximum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc3611_5_1_the_attribute_says_which_reports_are_wanted() {
        let linphone = "rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics";
        assert_eq!(Wanted::parse(linphone), Wanted::ALL);
        assert_eq!(
            Wanted::parse("pkt-loss-rle=1024 voip-metrics"),
            Wanted { round_trip: false, ..Wanted::ALL }
        );
        assert_eq!(Wanted::parse("  voip-metrics-2 =rcvr-rtt"), Wanted::NONE);
        for (round_trip, voip_metrics) in [(true, true), (true, false), (false, true), (false, false)] {
            let wanted = Wanted { round_trip, voip_metrics };
            assert_eq!(Wanted::parse(&wanted.to_string()), wanted);
        }
    }

    #[test]
    fn rfc3611_4_1_runs_and_bits_say_what_came() {
        // Three received, two lost, then fifteen bits of which the interval takes four, then the null chunk.
        let runs = RunLengths {
            ssrc: 1,
            thinning: 0,
            begin: 65_534,
            end: 7,
            chunks: vec![0x4003, 0x0002, 0x8000 | 0b101_0000_0000_0000, 0],
        };
        let bits: Vec<bool> = runs.bits().collect();
        assert_eq!(bits, [true, true, true, false, false, true, false, true, false]);
    }

    #[test]
    fn rfc3611_4_7_the_fields_lie_where_the_figure_has_them() {
        let metrics = VoipMetrics {
            ssrc: 0x0102_0304,
            loss_rate: 5,
            burst_duration: 0x0607,
            signal_level: -20,
            gap_threshold: 16,
            mos_conversational: 41,
            receiver_configuration: CONCEALMENT_ENHANCED | JITTER_BUFFER_ADAPTIVE,
            jitter_buffer_absolute_maximum: 200,
            ..VoipMetrics::default()
        };
        let report = ExtendedReport { ssrc: 9, blocks: vec![Block::VoipMetrics(Box::new(metrics))] };
        let octets = report.write().unwrap();
        assert_eq!(octets[..16], [0, 0, 0, 9, 7, 0, 0, 8, 1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!((octets[16..18].to_vec(), octets[24], octets[27]), (vec![6, 7], 236, 16));
        assert_eq!((octets[31], octets[32], octets[38..].to_vec()), (41, 0xb0, vec![0, 200]));
        assert_eq!(ExtendedReport::parse(&octets), Some(report));
    }

    #[test]
    fn a_block_that_lies_about_its_length_is_refused() {
        assert_eq!(ExtendedReport::parse(&[0, 0, 0, 1, 7, 0, 0, 9, 0, 0, 0, 0]), None);
        assert_eq!(ExtendedReport::parse(&[0, 0, 0, 1, 7, 0]), None);
        let odd = ExtendedReport::parse(&[0, 0, 0, 1, 7, 0, 0, 1, 1, 2, 3, 4]).unwrap();
        assert!(matches!(odd.blocks[..], [Block::Unknown { block_type: 7, .. }]));
    }

    fn block() -> impl Strategy<Value = Block> {
        let runs = (any::<(u32, u16, u16)>(), 0u8..16, proptest::collection::vec(any::<[u16; 2]>(), 0..4))
            .prop_map(|((ssrc, begin, end), thinning, chunks)| RunLengths {
                ssrc,
                thinning,
                begin,
                end,
                chunks: chunks.concat(),
            });
        let entry = any::<(u32, u32, u32)>().prop_map(|(ssrc, last_receiver_report, delay)| {
            LastReceiverReport { ssrc, last_receiver_report, delay }
        });
        prop_oneof![
            runs.clone().prop_map(Block::Loss),
            runs.prop_map(Block::Duplicates),
            any::<u64>().prop_map(|time| Block::ReceiverReferenceTime(NtpTimestamp(time))),
            proptest::collection::vec(entry, 0..3).prop_map(Block::DelaySinceLastReceiverReport),
            (any::<u8>(), any::<[[u8; 4]; 9]>())
                .prop_map(|(flags, body)| Block::StatisticsSummary { flags, body: body.concat().into() }),
            any::<[[u8; 4]; 8]>().prop_map(|mut words| {
                words[6][1] = 0; // reserved
                Block::parse(VOIP_METRICS, 0, &words.concat())
            }),
            (8u8..=255, any::<u8>(), proptest::collection::vec(any::<[u8; 4]>(), 0..4)).prop_map(
                |(block_type, specific, words)| Block::Unknown {
                    block_type,
                    specific,
                    body: words.concat().into(),
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(ssrc: u32, blocks in proptest::collection::vec(block(), 0..5)) {
            let report = ExtendedReport { ssrc, blocks };
            prop_assert_eq!(ExtendedReport::parse(&report.write().unwrap()), Some(report));
        }
    }
}
