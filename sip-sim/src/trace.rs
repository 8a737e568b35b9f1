//! What happened in a run, in order.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use sip_transport::capture::Capture;
use sip_transport::{FlowEvent, Path, Question, Records, ResolveError};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Virtual time since the start of the run.
    pub at: Duration,
    /// The node it happened at; an index into [`Trace::nodes`]. `None` for notes.
    pub node: Option<usize>,
    /// What it was.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The node sent a message.
    Sent {
        /// The way it took, as the sender sees it.
        path: Path,
        /// The node it was for; an index into [`Trace::nodes`]. `None`: it came to nobody.
        to: Option<usize>,
        /// The message.
        payload: Bytes,
        /// What became of it.
        fate: Fate,
    },
    /// A message reached the node's core.
    Received {
        /// The way it came, as the receiver sees it.
        path: Path,
        /// The message.
        payload: Bytes,
    },
    /// Bytes reached the node that its core was not given.
    Rejected {
        /// The way they came.
        path: Path,
        /// Why.
        reason: String,
    },
    /// The node was told about a flow.
    Flow(FlowEvent),
    /// The node asked the name service.
    Asked(Question),
    /// The node got an answer.
    Answered(Result<Records, ResolveError>),
    /// A remark of the test.
    Note(String),
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at this time.
    Arrives(Duration),
    /// It arrives twice.
    ArrivesTwice(Duration, Duration),
    /// The network lost it.
    Lost,
    /// The link is cut: a datagram is lost, bytes of a connection wait.
    Cut,
    /// A NAT or a black hole swallowed it.
    Swallowed,
    /// Nobody listens at the address.
    NobodyThere,
    /// It could not be sent at all; the node is told.
    Failed,
}

/// Everything that happened in a run. Its `Display` is one line for each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

impl Trace {
    /// Writes all messages sent as a pcap file that Wireshark opens; the run starts at the Unix epoch.
    ///
    /// # Errors
    /// Those of the output.
    pub fn pcap<W: Write>(&self, out: W) -> io::Result<W> {
        let mut capture = Capture::new(out)?;
        for entry in &self.entries {
            if let What::Sent { path, payload, fate, .. } = &entry.what
                && *fate != Fate::Failed
            {
                capture.message(entry.at, false, path, payload)?;
            }
        }
        capture.finish()
    }

    fn name(&self, node: Option<usize>) -> &str {
        node.and_then(|node| self.nodes.get(node)).map_or("-", String::as_str)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            write!(f, "{:>12.6} {:<10} ", entry.at.as_secs_f64(), self.name(entry.node))?;
            match &entry.what {
                What::Sent { path, payload, fate, .. } => {
                    write!(f, "-> {:<5}{} {}", path.transport.as_str(), path.remote, first_line(payload))?;
                    match fate {
                        Fate::Arrives(_) => {}
                        Fate::ArrivesTwice(..) => f.write_str(" (twice)")?,
                        Fate::Lost => f.write_str(" (lost)")?,
                        Fate::Cut => f.write_str(" (link cut)")?,
                        Fate::Swallowed => f.write_str(" (swallowed)")?,
                        Fate::NobodyThere => f.write_str(" (nobody there)")?,
                        Fate::Failed => f.write_str(" (failed)")?,
                    }
                    writeln!(f)?;
                }
                What::Received { path, payload } => {
                    writeln!(f, "<- {:<5}{} {}", path.transport.as_str(), path.remote, first_line(payload))?;
                }
                What::Rejected { path, reason } => writeln!(f, "!! from {}: {reason}", path.remote)?,
                What::Flow(event) => writeln!(f, ".. {event:?}")?,
                What::Asked(question) => writeln!(f, "?? {question:?}")?,
                What::Answered(records) => writeln!(f, "== {records:?}")?,
                What::Note(text) => writeln!(f, "## {text}")?,
            }
        }
        Ok(())
    }
}

/// The start line with the CSeq, which tells most about a message in one line.
pub(crate) fn first_line(payload: &[u8]) -> String {
    match payload {
        [] => return "(nothing)".to_owned(),
        [b'\r' | b'\n', ..] => return "(keep-alive)".to_owned(),
        _ => {}
    }
    let text = String::from_utf8_lossy(payload);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let cseq =
        lines.find(|line| line.len() > 5 && line.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("cseq:")));
    match cseq {
        Some(cseq) => format!("{first} [{}]", cseq.get(5..).unwrap_or_default().trim()),
        None => first.to_owned(),
    }
}
