//! `application/vq-rtcpxr`: how a call sounded, for those who keep a network (RFC 6035).
//!
//! ```
//! use sip_dialog::packages::voice_quality::VoiceQualityReport;
//! let text = "VQSessionReport: CallTerm\r\n\
//!     CallID: 6dg37f1890463\r\n\
//!     LocalID: Alice <sip:alice@example.org>\r\n\
//!     RemoteID: Bill <sip:bill@example.net>\r\n\
//!     OrigID: Alice <sip:alice@example.org>\r\n\
//!     LocalAddr: IP=10.10.1.100 PORT=5000 SSRC=0x1a3b5c7d\r\n\
//!     RemoteAddr: IP=11.1.1.150 PORT=5002 SSRC=0x2468abcd\r\n\
//!     LocalMetrics:\r\n\
//!     Timestamps: START=2004-10-10T18:23:43Z STOP=2004-10-10T18:26:02Z\r\n\
//!     PacketLoss: NLR=5.0 JDR=2.0\r\n\
//!     QualityEst: MOSLQ=4.1 MOSCQ=4.0\r\n";
//! let report = VoiceQualityReport::parse(text.as_bytes())?;
//! assert_eq!(report.local.packet_loss.network.map(|share| share.percent()), Some(5.0));
//! assert_eq!(report.local.quality.conversational_mos.map(|mos| mos.score()), Some(4.0));
//! assert_eq!(report.to_string(), text);
//! # Ok::<(), sip_dialog::packages::DocumentError>(())
//! ```

mod metrics;
mod parameters;
mod read;
mod write;

use std::net::IpAddr;

pub use metrics::{
    BurstGapLoss, Delay, JitterBuffer, Metrics, PacketLoss, QualityEstimates, SessionDescription, Signal,
};
pub use parameters::{Malformed, Percent, Quoted, Rates, Score, Switch};

use crate::event::Body;

/// What a report is about (§4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole session.
    Session {
        /// It is the last one: the call is over.
        last: bool,
    },
    /// A part of it.
    Interval {
        /// It is the last one.
        last: bool,
    },
    /// Something got worse, or better again.
    Alert(Alert),
}

/// What got worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The parameter, such as `NLR`.
    pub metric: String,
    /// How bad it is.
    pub severity: Severity,
    /// Who measured it.
    pub direction: Direction,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Bad.
    Warning,
    /// Very bad.
    Critical,
    /// Good again.
    Clear,
}

impl Severity {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Warning, "Warning"), (Self::Critical, "Critical"), (Self::Clear, "Clear")];
}

/// Who measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Who reports.
    Local,
    /// Its peer.
    Remote,
}

impl Direction {
    const ALL: [(Self, &'static str); 2] = [(Self::Local, "local"), (Self::Remote, "remote")];
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Synchronization source.
    pub ssrc: u32,
}

/// The dialog that the media belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialog {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of To.
    pub to_tag: Option<String>,
    /// The tag of From.
    pub from_tag: Option<String>,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceQualityReport {
    /// About what.
    pub kind: Kind,
    /// The Call-ID.
    pub call_id: String,
    /// Who reports: a URI, maybe with a name.
    pub local_id: String,
    /// Its peer.
    pub remote_id: String,
    /// Who began the session.
    pub originator: String,
    /// Where the stream that was measured is received.
    pub local_address: MediaAddress,
    /// Where it comes from.
    pub remote_address: MediaAddress,
    /// To what the reporter belongs. The grammar demands it, and many reporters leave it out.
    pub local_group: Option<String>,
    /// To what its peer belongs.
    pub remote_group: Option<String>,
    /// The hardware address of the reporter.
    pub local_mac: Option<String>,
    /// That of its peer.
    pub remote_mac: Option<String>,
    /// What the reporter measured.
    pub local: Metrics,
    /// What its peer told it.
    pub remote: Option<Metrics>,
    /// The dialog.
    pub dialog: Option<Dialog>,
}

impl VoiceQualityReport {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/vq-rtcpxr";
    /// The event package (§4.1).
    pub const EVENT: &'static str = "vq-rtcpxr";

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_string().into() }
    }
}
