//! Reading a report, as reporters write it: with continuation lines, without white space behind colons, in any case.

use sip_message::headers::Date;

use super::parameters::{Parameters, Quoted};
use super::{
    Alert, BurstGapLoss, Delay, Dialog, Direction, JitterBuffer, Kind, MediaAddress, Metrics, PacketLoss,
    QualityEstimates, SessionDescription, Severity, Signal, VoiceQualityReport,
};
use crate::packages::{DocumentError, MAX_OCTETS};

/// Lines of a report; one with all that RFC 6035 has needs 30.
const MAX_LINES: usize = 256;

/// The lines of metrics: each whole, its name and its value.
type Lines<'a> = Vec<(&'a str, &'a str, &'a str)>;

/// The part of the report that the lines belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Session,
    Local,
    Remote,
}

const REPORT: &str = "VQReportEvent";

fn missing(what: &'static str) -> DocumentError {
    DocumentError::Malformed { element: REPORT, what }
}

impl VoiceQualityReport {
    /// Reads a body. Parameters with values that they cannot have are kept as extensions, and lines about the session that
    /// RFC 6035 does not know are passed over.
    ///
    /// # Errors
    /// If it begins as none of the three reports, if a part is missing without which a report says nothing, if a line is none,
    /// and for a body that passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        if octets.len() > MAX_OCTETS {
            return Err(DocumentError::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| DocumentError::NotUtf8)?;
        let lines = unfold(text)?;
        let mut lines = lines.iter();
        let kind = lines.next().and_then(|line| kind(line)).ok_or(DocumentError::Line(1))?;
        let mut part = Part::Session;
        let mut session: Vec<(&str, &str)> = Vec::new();
        let (mut local, mut remote, mut dialog) = (None, None, None);
        for line in lines {
            let (name, value) = field(line);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // The example of an alert in RFC 6035 §4.7.4 has no "Local", against its own grammar.
            if is("LocalMetrics") || is("Metrics") {
                part = Part::Local;
                local.get_or_insert_with(Lines::new);
            } else if is("RemoteMetrics") {
                part = Part::Remote;
                remote.get_or_insert_with(Lines::new);
            } else if is("DialogID") {
                dialog = Some(read_dialog(value));
            } else {
                match (part, &mut local, &mut remote) {
                    (Part::Local, Some(lines), _) | (Part::Remote, _, Some(lines)) => {
                        lines.push((line, name, value));
                    }
                    _ => session.push((name, value)),
                }
            }
        }
        let optional = |wanted: &str| {
            let found = session.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| (*value).to_owned()).filter(|value| !value.is_empty())
        };
        let required = |wanted: &'static str| optional(wanted).ok_or(missing(wanted));
        let address = |wanted: &'static str| {
            optional(wanted).and_then(|value| MediaAddress::parse(&value)).ok_or(missing(wanted))
        };
        let local = Metrics::parse(&local.ok_or(missing("LocalMetrics"))?)?;
        Ok(Self {
            kind,
            call_id: required("CallID")?,
            local_id: required("LocalID")?,
            remote_id: required("RemoteID")?,
            originator: required("OrigID")?,
            local_address: address("LocalAddr")?,
            remote_address: address("RemoteAddr")?,
            local_group: optional("LocalGroup"),
            remote_group: optional("RemoteGroup"),
            local_mac: optional("LocalMAC"),
            remote_mac: optional("RemoteMAC"),
            local,
            remote: remote.map(|lines| Metrics::parse(&lines)).transpose()?,
            dialog,
        })
    }
}

/// The lines without those that are empty, each with what continues it.
fn unfold(text: &str) -> Result<Vec<String>, DocumentError> {
    let mut lines: Vec<String> = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(DocumentError::Line(number.saturating_add(1)));
        }
        let continues = line.starts_with([' ', '\t']);
        let line = line.trim_matches([' ', '\t']);
        let full = lines.len() >= MAX_LINES;
        match lines.last_mut() {
            _ if line.is_empty() => {}
            Some(last) if continues => {
                last.push(' ');
                last.push_str(line);
            }
            _ if full => return Err(DocumentError::TooMany("lines")),
            _ => lines.push(line.into()),
        }
    }
    Ok(lines)
}

/// `name : value`; a line without a colon has no value.
fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']))
}

fn kind(line: &str) -> Option<Kind> {
    let (name, value) = field(line);
    let last = value.eq_ignore_ascii_case("CallTerm");
    if name.eq_ignore_ascii_case("VQSessionReport") {
        return Some(Kind::Session { last });
    }
    if name.eq_ignore_ascii_case("VQIntervalReport") {
        return Some(Kind::Interval { last });
    }
    if !name.eq_ignore_ascii_case("VQAlertReport") {
        return None;
    }
    let mut parameters = Parameters::read(value);
    let Quoted(metric) = parameters.take("Type")?;
    let (Quoted(severity), Quoted(direction)) = (parameters.take("Severity")?, parameters.take("Dir")?);
    let known = |(_, word): &(_, &str)| severity.eq_ignore_ascii_case(word);
    let (severity, _) = Severity::ALL.into_iter().find(known)?;
    let known = |(_, word): &(_, &str)| direction.eq_ignore_ascii_case(word);
    let (direction, _) = Direction::ALL.into_iter().find(known)?;
    Some(Kind::Alert(Alert { metric, severity, direction }))
}

impl MediaAddress {
    fn parse(text: &str) -> Option<Self> {
        let mut parameters = Parameters::read(text);
        let Quoted(address) = parameters.take("IP")?;
        let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&address);
        let Quoted(ssrc) = parameters.take("SSRC")?;
        // The examples of RFC 6035 leave out the 0x of its grammar now and then.
        let digits = ssrc.strip_prefix("0x").or(ssrc.strip_prefix("0X")).unwrap_or(&ssrc);
        let digits = Some(digits).filter(|digits| digits.bytes().all(|octet| octet.is_ascii_hexdigit()))?;
        let ssrc = u32::from_str_radix(digits, 16).ok()?;
        Some(Self { address: address.parse().ok()?, port: parameters.take("PORT")?, ssrc })
    }
}

fn read_dialog(text: &str) -> Dialog {
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let mut dialog = Dialog { call_id: parts.next().unwrap_or_default().to_owned(), ..Dialog::default() };
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let (name, value) = (name.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
        let tag = match name {
            name if name.eq_ignore_ascii_case("to-tag") => &mut dialog.to_tag,
            name if name.eq_ignore_ascii_case("from-tag") => &mut dialog.from_tag,
            _ => continue,
        };
        *tag = Some(value.to_owned());
    }
    dialog
}

impl Metrics {
    fn parse(lines: &Lines<'_>) -> Result<Self, DocumentError> {
        let times = lines.iter().find(|(_, name, _)| name.eq_ignore_ascii_case("Timestamps"));
        let mut times = Parameters::read(times.map_or("", |(_, _, value)| value));
        let mut time = |name| times.take(name).and_then(|Quoted(text)| Date::from_rfc3339(&text));
        let (start, stop) = (time("START"), time("STOP"));
        let (start, stop) = start.zip(stop).ok_or(missing("Timestamps"))?;
        let mut metrics = Self::new(start, stop);
        for (line, name, value) in lines {
            match name.to_ascii_lowercase().as_str() {
                "timestamps" => {}
                "sessiondesc" => metrics.session = SessionDescription::parse(value),
                "jitterbuffer" => metrics.jitter_buffer = JitterBuffer::parse(value),
                "packetloss" => metrics.packet_loss = PacketLoss::parse(value),
                "burstgaploss" => metrics.burst_gap_loss = BurstGapLoss::parse(value),
                "delay" => metrics.delay = Delay::parse(value),
                "signal" => metrics.signal = Signal::parse(value),
                "qualityest" => metrics.quality = QualityEstimates::parse(value),
                _ => metrics.extensions.push((*line).to_owned()),
            }
        }
        Ok(metrics)
    }
}
