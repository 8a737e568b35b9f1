//! RTCP compound packets (RFC 3550 §6): parsed with the checks of appendix A.2, written as they must be sent.

pub mod extended;
pub mod feedback;

use bytes::{BufMut, Bytes, BytesMut};
use rtcp_types::prelude::*;
use rtcp_types::{RtcpParseError, RtcpWriteError};

use crate::ntp::NtpTimestamp;
use extended::ExtendedReport;
use feedback::Feedback;

/// Packets in one compound. A sane one has three or four; an empty packet takes four octets, so without a limit
/// one datagram makes 16,000 of them.
pub const MAX_PACKETS: usize = 64;
/// Report blocks that fit in one report: the count has five bits (RFC 3550 §6.4.1).
pub const MAX_REPORT_BLOCKS: usize = 31;
/// SDES item type of the canonical name (RFC 3550 §6.5.1).
pub const CNAME: u8 = 1;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const APPLICATION: u8 = 204;

/// What is wrong with a received compound (RFC 3550 appendix A.2). Offsets count from its first octet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// A packet announces more than was received.
    #[error("RTCP packet at octet {offset} announces {expected} octets, {actual} are left")]
    Truncated {
        /// Where the packet starts.
        offset: usize,
        /// Octets it announces, header included.
        expected: usize,
        /// Octets left.
        actual: usize,
    },
    /// The version field is not 2.
    #[error("RTCP version {version} at octet {offset}, only version 2 exists")]
    Version {
        /// Where the packet starts.
        offset: usize,
        /// The version found.
        version: u8,
    },
    /// A compound must start with a sender or receiver report, unless reduced size was agreed.
    #[error("RTCP compound starts with packet type {packet_type}, not with a report (200 or 201)")]
    NoReportFirst {
        /// The type found.
        packet_type: u8,
    },
    /// Padding before the last packet, or of an impossible length.
    #[error("RTCP padding at octet {offset} is impossible")]
    Padding {
        /// Where the packet starts.
        offset: usize,
    },
    /// More than [`MAX_PACKETS`].
    #[error("RTCP compound holds more than {MAX_PACKETS} packets")]
    TooManyPackets,
    /// The inside of a packet contradicts its length.
    #[error("RTCP packet of type {packet_type} at octet {offset}: {reason}")]
    Malformed {
        /// Where the packet starts.
        offset: usize,
        /// Its type.
        packet_type: u8,
        /// What the contents lack.
        reason: RtcpParseError,
    },
    /// Entries of feedback, blocks of an extended report or an application's name are cut off.
    #[error("RTCP packet of type {packet_type} at octet {offset}: an entry runs past its end")]
    CutOff {
        /// Where the packet starts.
        offset: usize,
        /// Its type.
        packet_type: u8,
    },
    /// A chunk or item of a source description runs past the end.
    #[error("RTCP source description at octet {offset}: chunk or item runs past its end")]
    SourceDescription {
        /// Where the packet starts.
        offset: usize,
    },
}

/// Why a compound cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpBuildError {
    /// A field is out of its range.
    #[error("RTCP packet cannot be written: {0}")]
    Field(#[from] RtcpWriteError),
    /// An SDES value longer than 255 octets or more than 31 chunks.
    #[error("RTCP source description: {0} does not fit")]
    SourceDescription(&'static str),
    /// A packet body that is no multiple of four octets or longer than the length field can say.
    #[error("RTCP packet body of {length} octets cannot be expressed in words")]
    Length {
        /// Octets of the body.
        length: usize,
    },
}

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// SR (RFC 3550 §6.4.1).
    SenderReport(SenderReport),
    /// RR (RFC 3550 §6.4.2).
    ReceiverReport(ReceiverReport),
    /// SDES, a chunk per source (RFC 3550 §6.5).
    SourceDescription(Vec<SourceDescription>),
    /// BYE (RFC 3550 §6.6).
    Bye(Bye),
    /// APP (RFC 3550 §6.7).
    Application(Application),
    /// RTPFB and PSFB (RFC 4585 §6).
    Feedback(Feedback),
    /// XR (RFC 3611 §2).
    ExtendedReport(ExtendedReport),
    /// Types to come, kept as they are.
    Unknown(Unknown),
}

/// Sender report (RFC 3550 §6.4.1). Profile-specific extensions are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderReport {
    /// Who reports.
    pub ssrc: u32,
    /// Wall-clock time of the report.
    pub ntp: NtpTimestamp,
    /// The same time on the RTP clock of the sender.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packet_count: u32,
    /// Payload octets sent so far.
    pub octet_count: u32,
    /// What the sender receives, at most [`MAX_REPORT_BLOCKS`].
    pub reports: Vec<ReportBlock>,
}

/// Receiver report (RFC 3550 §6.4.2). Profile-specific extensions are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Who reports.
    pub ssrc: u32,
    /// What it receives, at most [`MAX_REPORT_BLOCKS`].
    pub reports: Vec<ReportBlock>,
}

/// Reception of one source as its receiver sees it (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Share lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start, 24 bits signed; duplicates can make it negative.
    pub cumulative_lost: i32,
    /// Highest sequence number received, cycles in the upper half.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// LSR: middle 32 bits of the last sender report's NTP timestamp, 0 if none came.
    pub last_sender_report: u32,
    /// DLSR: 1/65536 s between that report and this one.
    pub delay_since_last_sender_report: u32,
}

/// One chunk of a source description (RFC 3550 §6.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceDescription {
    /// The source described.
    pub ssrc: u32,
    /// Item type and value; types of RFC 3550 §12.2.
    pub items: Vec<(u8, Bytes)>,
}

impl SourceDescription {
    /// A chunk with a canonical name (RFC 3550 §6.5.1).
    #[must_use]
    pub fn with_cname(ssrc: u32, cname: &str) -> Self {
        Self { ssrc, items: vec![(CNAME, Bytes::copy_from_slice(cname.as_bytes()))] }
    }

    /// The canonical name, if the chunk has one in UTF-8.
    #[must_use]
    pub fn cname(&self) -> Option<&str> {
        let (_, value) = self.items.iter().find(|(kind, _)| *kind == CNAME)?;
        std::str::from_utf8(value).ok()
    }
}

/// Sources that leave (RFC 3550 §6.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bye {
    /// Who leaves, at most 31.
    pub ssrcs: Vec<u32>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// What an application says to its like (RFC 3550 §6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Five bits that the application gives meaning to.
    pub subtype: u8,
    /// Who speaks.
    pub ssrc: u32,
    /// The application, four characters of ASCII.
    pub name: [u8; 4],
    /// A multiple of four octets.
    pub data: Bytes,
}

/// A packet of a type that this module does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// RTCP packet type.
    pub packet_type: u8,
    /// The five bits beside version and padding: a count or a subtype.
    pub count: u8,
    /// Everything after the first four octets, without padding.
    pub body: Bytes,
}

/// Several RTCP packets sent as one datagram (RFC 3550 §6.1).
///
/// ```
/// use rtp::rtcp::{Compound, Packet, ReceiverReport, SourceDescription};
/// let compound = Compound(vec![
///     Packet::ReceiverReport(ReceiverReport { ssrc: 7, reports: vec![] }),
///     Packet::SourceDescription(vec![SourceDescription::with_cname(7, "alice@example.com")]),
/// ]);
/// assert_eq!(Compound::parse(&compound.build()?)?, compound);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compound(pub Vec<Packet>);

impl Compound {
    /// Parses a datagram and checks it as RFC 3550 appendix A.2 demands: version 2 throughout, a report first,
    /// padding only in the last packet, lengths that add up to the datagram.
    ///
    /// # Errors
    /// [`RtcpError`] for the first packet that breaks a rule; nothing of such a compound is to be used.
    pub fn parse(datagram: &[u8]) -> Result<Self, RtcpError> {
        Self::read(datagram, true)
    }

    /// The same where reduced size was agreed: any packet may come first, and alone (RFC 5506 §3.4.3).
    ///
    /// # Errors
    /// As [`Compound::parse`].
    pub fn parse_reduced_size(datagram: &[u8]) -> Result<Self, RtcpError> {
        Self::read(datagram, false)
    }

    fn read(datagram: &[u8], report_first: bool) -> Result<Self, RtcpError> {
        let mut packets = Vec::new();
        let mut rest = datagram;
        loop {
            let offset = datagram.len() - rest.len();
            let &[first, packet_type, high, low, ..] = rest else {
                return Err(RtcpError::Truncated { offset, expected: 4, actual: rest.len() });
            };
            if first >> 6 != 2 {
                return Err(RtcpError::Version { offset, version: first >> 6 });
            }
            if report_first && offset == 0 && !matches!(packet_type, SENDER_REPORT | RECEIVER_REPORT) {
                return Err(RtcpError::NoReportFirst { packet_type });
            }
            let expected = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            let Some((packet, after)) = rest.split_at_checked(expected) else {
                return Err(RtcpError::Truncated { offset, expected, actual: rest.len() });
            };
            let content = without_padding(packet, after.is_empty()).ok_or(RtcpError::Padding { offset })?;
            if packets.len() == MAX_PACKETS {
                return Err(RtcpError::TooManyPackets);
            }
            packets.push(parse_packet(offset, packet_type, packet, content)?);
            if after.is_empty() {
                return Ok(Self(packets));
            }
            rest = after;
        }
    }

    /// Writes the packets one after the other.
    ///
    /// # Errors
    /// [`RtcpBuildError`] for the first packet with a field out of range.
    pub fn build(&self) -> Result<Bytes, RtcpBuildError> {
        let mut out = BytesMut::new();
        for packet in &self.0 {
            match packet {
                Packet::SenderReport(report) => {
                    let mut builder = rtcp_types::SenderReport::builder(report.ssrc)
                        .ntp_timestamp(report.ntp.0)
                        .rtp_timestamp(report.rtp_timestamp)
                        .packet_count(report.packet_count)
                        .octet_count(report.octet_count);
                    for block in &report.reports {
                        builder = builder.add_report_block(block_builder(block));
                    }
                    append(&mut out, &builder)?;
                }
                Packet::ReceiverReport(report) => {
                    let mut builder = rtcp_types::ReceiverReport::builder(report.ssrc);
                    for block in &report.reports {
                        builder = builder.add_report_block(block_builder(block));
                    }
                    append(&mut out, &builder)?;
                }
                Packet::SourceDescription(chunks) => append_source_description(&mut out, chunks)?,
                Packet::Bye(bye) => {
                    let mut builder = rtcp_types::Bye::builder();
                    for ssrc in &bye.ssrcs {
                        builder = builder.add_source(*ssrc);
                    }
                    if let Some(reason) = &bye.reason {
                        builder = builder.reason(reason.as_str());
                    }
                    append(&mut out, &builder)?;
                }
                Packet::Application(application) => {
                    let mut body = BytesMut::new();
                    body.put_u32(application.ssrc);
                    body.put_slice(&application.name);
                    body.put_slice(&application.data);
                    append_words(&mut out, application.subtype, APPLICATION, &body)?;
                }
                Packet::Feedback(feedback) => {
                    let (packet_type, format, body) = feedback.write();
                    append_words(&mut out, format, packet_type, &body)?;
                }
                Packet::ExtendedReport(report) => {
                    append_words(&mut out, 0, extended::EXTENDED_REPORT, &report.write()?)?;
                }
                Packet::Unknown(unknown) => {
                    append_words(&mut out, unknown.count, unknown.packet_type, &unknown.body)?
                }
            }
        }
        Ok(out.freeze())
    }
}

/// A packet without its padding; `None` if padding is where or what it must not be (RFC 3550 §6.4.1).
fn without_padding(packet: &[u8], last: bool) -> Option<&[u8]> {
    if packet.first()? & 0x20 == 0 {
        return Some(packet);
    }
    let padding = usize::from(*packet.last()?);
    let content = packet.len().checked_sub(padding).filter(|length| *length >= 4)?;
    (last && padding != 0 && padding % 4 == 0).then(|| packet.get(..content))?
}

fn parse_packet(offset: usize, packet_type: u8, packet: &[u8], content: &[u8]) -> Result<Packet, RtcpError> {
    let malformed = |reason| RtcpError::Malformed { offset, packet_type, reason };
    let cut_off = RtcpError::CutOff { offset, packet_type };
    let count = packet.first().map_or(0, |first| first & 0x1f);
    match packet_type {
        SENDER_REPORT => {
            let view = rtcp_types::SenderReport::parse(packet).map_err(malformed)?;
            Ok(Packet::SenderReport(SenderReport {
                ssrc: view.ssrc(),
                ntp: NtpTimestamp(view.ntp_timestamp()),
                rtp_timestamp: view.rtp_timestamp(),
                packet_count: view.packet_count(),
                octet_count: view.octet_count(),
                reports: view.report_blocks().map(|block| report_block(&block)).collect(),
            }))
        }
        RECEIVER_REPORT => {
            let view = rtcp_types::ReceiverReport::parse(packet).map_err(malformed)?;
            let reports = view.report_blocks().map(|block| report_block(&block)).collect();
            Ok(Packet::ReceiverReport(ReceiverReport { ssrc: view.ssrc(), reports }))
        }
        SOURCE_DESCRIPTION => {
            let chunks = parse_source_description(content.get(4..).unwrap_or_default(), count);
            chunks.map(Packet::SourceDescription).ok_or(RtcpError::SourceDescription { offset })
        }
        BYE => {
            let view = rtcp_types::Bye::parse(packet).map_err(malformed)?;
            let reason = view.reason().filter(|reason| !reason.is_empty());
            Ok(Packet::Bye(Bye {
                ssrcs: view.ssrcs().collect(),
                reason: reason.map(|reason| String::from_utf8_lossy(reason).into_owned()),
            }))
        }
        APPLICATION => {
            let body = content.get(4..).unwrap_or_default();
            application(count, body).map(Packet::Application).ok_or(cut_off)
        }
        feedback::TRANSPORT | feedback::PAYLOAD => {
            let body = content.get(4..).unwrap_or_default();
            Feedback::parse(packet_type, count, body).map(Packet::Feedback).ok_or(cut_off)
        }
        extended::EXTENDED_REPORT => {
            let body = content.get(4..).unwrap_or_default();
            ExtendedReport::parse(body).map(Packet::ExtendedReport).ok_or(cut_off)
        }
        _ => {
            let body = Bytes::copy_from_slice(content.get(4..).unwrap_or_default());
            Ok(Packet::Unknown(Unknown { packet_type, count, body }))
        }
    }
}

fn application(subtype: u8, body: &[u8]) -> Option<Application> {
    let (ssrc, rest) = body.split_first_chunk::<4>()?;
    let (name, data) = rest.split_first_chunk::<4>()?;
    let ssrc = u32::from_be_bytes(*ssrc);
    Some(Application { subtype, ssrc, name: *name, data: Bytes::copy_from_slice(data) })
}

/// The chunks of a source description (RFC 3550 §6.5, appendix A.5). Read here and not by rtcp-types 0.3, which
/// takes leading zero octets of the next chunk's SSRC for padding and trusts the prefix length of PRIV items.
fn parse_source_description(mut rest: &[u8], count: u8) -> Option<Vec<SourceDescription>> {
    let mut chunks = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let start = rest.len();
        let (ssrc, after) = rest.split_first_chunk::<4>()?;
        let mut chunk = SourceDescription { ssrc: u32::from_be_bytes(*ssrc), items: Vec::new() };
        rest = after;
        loop {
            let (&kind, after) = rest.split_first()?;
            if kind == 0 {
                // The null octet and those up to the next 32-bit boundary end the list.
                let padding = 3 - (start - rest.len()) % 4;
                rest = after.get(padding..)?;
                break;
            }
            let (&length, after) = after.split_first()?;
            let (value, after) = after.split_at_checked(usize::from(length))?;
            chunk.items.push((kind, Bytes::copy_from_slice(value)));
            rest = after;
        }
        chunks.push(chunk);
    }
    Some(chunks)
}

fn append_source_description(out: &mut BytesMut, chunks: &[SourceDescription]) -> Result<(), RtcpBuildError> {
    let count = u8::try_from(chunks.len())
        .ok()
        .filter(|count| *count <= 31)
        .ok_or(RtcpBuildError::SourceDescription("a list of more than 31 chunks"))?;
    let mut body = BytesMut::new();
    for chunk in chunks {
        body.put_u32(chunk.ssrc);
        for (kind, value) in &chunk.items {
            let length = u8::try_from(value.len())
                .map_err(|_| RtcpBuildError::SourceDescription("an item value of more than 255 octets"))?;
            if *kind == 0 {
                return Err(RtcpBuildError::SourceDescription("an item of type 0, which ends the list,"));
            }
            body.put_u8(*kind);
            body.put_u8(length);
            body.put_slice(value);
        }
        body.put_bytes(0, 4 - body.len() % 4);
    }
    append_words(out, count, SOURCE_DESCRIPTION, &body)
}

/// Appends a packet given by its body.
fn append_words(out: &mut BytesMut, count: u8, packet_type: u8, body: &[u8]) -> Result<(), RtcpBuildError> {
    let words = u16::try_from(body.len() / 4).ok().filter(|_| body.len().is_multiple_of(4));
    let words = words.ok_or(RtcpBuildError::Length { length: body.len() })?;
    out.put_u8(0x80 | (count & 0x1f));
    out.put_u8(packet_type);
    out.put_u16(words);
    out.put_slice(body);
    Ok(())
}

fn append(out: &mut BytesMut, packet: &impl RtcpPacketWriter) -> Result<(), RtcpBuildError> {
    let start = out.len();
    out.put_bytes(0, packet.calculate_size()?);
    packet.write_into(out.get_mut(start..).unwrap_or_default())?;
    Ok(())
}

fn report_block(block: &rtcp_types::ReportBlock<'_>) -> ReportBlock {
    ReportBlock {
        ssrc: block.ssrc(),
        fraction_lost: block.fraction_lost(),
        // Sign-extends 24 bits.
        cumulative_lost: ((block.cumulative_lost() << 8) as i32) >> 8,
        extended_highest_sequence: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        last_sender_report: block.last_sender_report_timestamp(),
        delay_since_last_sender_report: block.delay_since_last_sender_report_timestamp(),
    }
}

fn block_builder(block: &ReportBlock) -> rtcp_types::ReportBlockBuilder {
    let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
    rtcp_types::ReportBlock::builder(block.ssrc)
        .fraction_lost(block.fraction_lost)
        .cumulative_lost(lost)
        .extended_sequence_number(block.extended_highest_sequence)
        .interarrival_jitter(block.jitter)
        .last_sender_report_timestamp(block.last_sender_report)
        .delay_since_last_sender_report_timestamp(block.delay_since_last_sender_report)
}

#[cfg(test)]
mod tests;
