//! Writing a report, by the grammar of RFC 6035 §4.6.1.

use std::fmt;

use super::parameters::write_parameter;
use super::{Direction, Kind, MediaAddress, Metrics, Severity, VoiceQualityReport};

/// A field of its own line: what would begin another one is left out.
fn line(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    let value: String = value.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    write!(f, "{name}: {}\r\n", value.trim_matches([' ', '\t']))
}

fn word<T: PartialEq>(all: &[(T, &'static str)], wanted: &T) -> &'static str {
    all.iter().find(|(known, _)| known == wanted).map_or("", |(_, word)| word)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { last } => write!(f, "VQSessionReport{}", if *last { ": CallTerm" } else { "" }),
            Self::Interval { last } => write!(f, "VQIntervalReport{}", if *last { ": CallTerm" } else { "" }),
            Self::Alert(alert) => {
                f.write_str("VQAlertReport:")?;
                write_parameter(f, "Type", Some(&alert.metric), false)?;
                write_parameter(f, "Severity", Some(word(&Severity::ALL, &alert.severity)), false)?;
                write_parameter(f, "Dir", Some(word(&Direction::ALL, &alert.direction)), false)
            }
        }
    }
}

impl fmt::Display for MediaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IP={} PORT={} SSRC=0x{:08x}", self.address, self.port, self.ssrc)
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, stop) = (self.start.to_rfc3339(), self.stop.to_rfc3339());
        write!(f, "Timestamps: START={start} STOP={stop}\r\n")?;
        macro_rules! lines {
            ($($name:literal $field:ident,)*) => {
                $(if !self.$field.is_empty() {
                    f.write_str(concat!($name, ":"))?;
                    self.$field.write(f)?;
                    f.write_str("\r\n")?;
                })*
            };
        }
        lines! {
            "SessionDesc" session,
            "JitterBuffer" jitter_buffer,
            "PacketLoss" packet_loss,
            "BurstGapLoss" burst_gap_loss,
            "Delay" delay,
            "Signal" signal,
            "QualityEst" quality,
        }
        for extension in &self.extensions {
            let extension: String = extension.chars().filter(|c| !c.is_control() || *c == '\t').collect();
            let extension = extension.trim_matches([' ', '\t']);
            if !extension.is_empty() {
                write!(f, "{extension}\r\n")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for VoiceQualityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n", self.kind)?;
        line(f, "CallID", &self.call_id)?;
        line(f, "LocalID", &self.local_id)?;
        line(f, "RemoteID", &self.remote_id)?;
        line(f, "OrigID", &self.originator)?;
        for (name, address) in [("LocalAddr", self.local_address), ("RemoteAddr", self.remote_address)] {
            write!(f, "{name}: {address}\r\n")?;
        }
        let optional = [
            ("LocalGroup", &self.local_group),
            ("RemoteGroup", &self.remote_group),
            ("LocalMAC", &self.local_mac),
            ("RemoteMAC", &self.remote_mac),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                line(f, name, value)?;
            }
        }
        write!(f, "LocalMetrics:\r\n{}", self.local)?;
        if let Some(remote) = &self.remote {
            write!(f, "RemoteMetrics:\r\n{remote}")?;
        }
        let Some(dialog) = &self.dialog else { return Ok(()) };
        let mut text = dialog.call_id.clone();
        for (name, tag) in [("to-tag", &dialog.to_tag), ("from-tag", &dialog.from_tag)] {
            if let Some(tag) = tag {
                text.push_str(&format!(";{name}={tag}"));
            }
        }
        line(f, "DialogID", &text)
    }
}
