//! What is known of a call's media when it ends, for those who keep the network (RFC 6035 §4.6).

use std::net::SocketAddr;
use std::time::SystemTime;

use rtp::audio_stream::{Format, Statistics};
use rtp::rtcp::extended::VoipMetrics;
use rtp::session::Event;

use super::Media;

/// The media of a call as its report tells it.
#[derive(Clone, Debug)]
pub struct MediaReport {
    /// What was sent and heard.
    pub statistics: Statistics,
    /// What was agreed on.
    pub format: Format,
    /// Where we receive, and the SSRC that we send with.
    pub local: (SocketAddr, u32),
    /// Where the peer's media comes from, and its SSRC; 0 if nothing was heard.
    pub remote: (SocketAddr, u32),
    /// When media was agreed on.
    pub began: SystemTime,
    /// What the peer said last of what it hears (RFC 3611 §4.7).
    pub heard_by_peer: Option<Box<VoipMetrics>>,
}

/// What the stream's events say for it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    began: Option<SystemTime>,
    remote: Option<SocketAddr>,
    by_peer: Option<Box<VoipMetrics>>,
}

impl Heard {
    /// The peer's address, as it was signalled.
    pub(super) fn agreed(&mut self, remote: SocketAddr) {
        self.began.get_or_insert_with(SystemTime::now);
        self.remote = Some(remote);
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Latched { rtp } => self.remote = Some(rtp),
            Event::VoipMetrics(metrics) => self.by_peer = Some(metrics),
            _ => {}
        }
    }
}

impl Media {
    /// The report up to now, for a peer that was told the address `told`; `None` before media was agreed on.
    pub(super) fn report(&self, told: SocketAddr) -> Option<MediaReport> {
        let state = self.state();
        let (began, remote) = state.quality.began.zip(state.quality.remote)?;
        Some(MediaReport {
            statistics: state.stream.statistics(),
            format: state.stream.format().clone(),
            local: (told, state.stream.ssrc()),
            remote: (remote, state.stream.heard_source().unwrap_or(0)),
            began,
            heard_by_peer: state.quality.by_peer.clone(),
        })
    }
}
