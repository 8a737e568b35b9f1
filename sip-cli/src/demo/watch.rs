//! Looking over the shoulders of phones and server: every message and media packet, when it was sent.

use std::io::{self, BufWriter};
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rtp::dtmf::Payload;
use rtp::packet::Packet;
use sip_message::headers::CSeq;
use sip_message::{Limits, Message, Method};
use sip_transport::Path;
use sip_transport::capture::Capture;
use sip_transport::tokio::Tap;
use sip_ua::{MediaPacket, MediaTap};

use crate::ladder::{Arrow, Line};

/// A pause between two messages in which media is worth an arrow of its own: 200 ms of packets one way.
const WORTH_SHOWING: u32 = 10;

/// RTCP packet types as they stand in the second octet (RFC 5761 §4).
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 192..=223;

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A SIP message.
    Sip,
    /// An RTP packet.
    Rtp,
    /// An RTCP packet.
    Rtcp,
}

/// Something that was sent over UDP.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: SystemTime,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

/// Collects what all parties of the demonstration send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Vec<Sent>>>);

impl Watch {
    /// A tap for a driver. Sending is what is noted: it happens once for every message, lost or not.
    pub(crate) fn tap(&self) -> Box<dyn Tap> {
        let watch = self.clone();
        Box::new(move |at: SystemTime, inbound: bool, path: &Path, bytes: &Bytes| {
            if !inbound {
                let (from, to) = (path.local, path.remote);
                watch.note(Sent { at, from, to, kind: Kind::Sip, bytes: bytes.clone() });
            }
        })
    }

    /// A tap for the media of a phone.
    pub(crate) fn media_tap(&self) -> MediaTap {
        let watch = self.clone();
        Arc::new(move |packet: &MediaPacket<'_>| {
            if !packet.inbound {
                let rtcp = packet.payload.get(1).is_some_and(|octet| RTCP_TYPES.contains(octet));
                watch.note(Sent {
                    at: packet.at,
                    from: packet.local,
                    to: packet.remote,
                    kind: if rtcp { Kind::Rtcp } else { Kind::Rtp },
                    bytes: Bytes::copy_from_slice(packet.payload),
                });
            }
        })
    }

    fn note(&self, sent: Sent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }

    /// Everything so far in the order of time.
    pub(crate) fn all(&self) -> Vec<Sent> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by_key(|sent| sent.at);
        all
    }
}

/// Writes a capture that Wireshark opens.
pub(crate) fn write_capture(path: &FilePath, all: &[Sent]) -> io::Result<()> {
    let mut capture = Capture::new(BufWriter::new(std::fs::File::create(path)?))?;
    for sent in all {
        let at = sent.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        capture.datagram(at, sent.from, sent.to, &sent.bytes)?;
    }
    capture.finish().map(drop)
}

/// A SIP message in the words of the ladder and of the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The status of a response.
    pub(crate) status: Option<u16>,
    /// The method, of the request or in the CSeq of the response.
    pub(crate) method: Method,
    /// The number in CSeq.
    pub(crate) cseq: u32,
    /// What the session description says: a direction, or just `sdp`.
    pub(crate) body: Option<String>,
}

impl Seen {
    /// Reads a message; `None` for what is none.
    pub(crate) fn of(bytes: &Bytes) -> Option<Self> {
        let message = Message::parse(bytes.clone(), &Limits::default()).ok()?;
        let cseq: CSeq = message.headers().get().ok()??;
        let status = message.as_response().map(|response| response.status().code());
        let text = String::from_utf8_lossy(message.body()).into_owned();
        let body = text.starts_with("v=").then(|| {
            let direction = ["sendonly", "recvonly", "inactive"].into_iter().find(|direction| {
                text.lines().any(|line| line.trim_end().strip_prefix("a=") == Some(*direction))
            });
            direction.unwrap_or("sdp").to_owned()
        });
        Some(Self { status, method: cseq.method, cseq: cseq.number, body })
    }

    fn label(&self) -> String {
        let mut label = String::new();
        if let Some(status) = self.status {
            label.push_str(&format!("{status} "));
        }
        label.push_str(&format!("{} {}", self.method.as_str(), self.cseq));
        if let Some(body) = &self.body {
            label.push_str(&format!(" ({body})"));
        }
        label
    }
}

/// Makes arrows: every SIP message one, every digit one, and one for the media in each longer pause between messages.
///
/// `column_of` tells in which column an address stands.
pub(crate) fn arrows(all: &[Sent], column_of: impl Fn(SocketAddr) -> Option<usize>) -> Vec<Arrow> {
    let Some(began) = all.iter().find(|sent| sent.kind == Kind::Sip).map(|sent| sent.at) else {
        return Vec::new();
    };
    let since = |at: SystemTime| at.duration_since(began).unwrap_or_default();
    let mut arrows = Vec::new();
    let mut pause = Pause::default();
    let events = event_types(all);
    for sent in all {
        let (Some(from), Some(to)) = (column_of(sent.from), column_of(sent.to)) else { continue };
        match sent.kind {
            Kind::Sip => {
                arrows.extend(std::mem::take(&mut pause).arrow(since));
                if let Some(seen) = Seen::of(&sent.bytes) {
                    arrows.push(Arrow {
                        at: since(sent.at),
                        from,
                        to,
                        label: seen.label(),
                        line: Line::Message,
                    });
                }
            }
            Kind::Rtp => {
                pause.count(sent.at, from, to);
                if let Some(digit) = digit_begun(&sent.bytes, &events) {
                    let label = format!("digit {digit}");
                    arrows.push(Arrow { at: since(sent.at), from, to, label, line: Line::Media });
                }
            }
            Kind::Rtcp => pause.reports = pause.reports.saturating_add(1),
        }
    }
    arrows
}

/// Payload types that the session descriptions give to telephone events (RFC 4733 §2.4.1).
fn event_types(all: &[Sent]) -> Vec<u8> {
    let mut types = Vec::new();
    for sent in all.iter().filter(|sent| sent.kind == Kind::Sip) {
        for line in String::from_utf8_lossy(&sent.bytes).lines() {
            if let Some((number, codec)) = line.strip_prefix("a=rtpmap:").and_then(|map| map.split_once(' '))
                && codec.starts_with("telephone-event/")
            {
                types.extend(number.parse::<u8>().ok());
            }
        }
    }
    types
}

/// The digit that begins with this packet: the marker bit says so (RFC 4733 §2.5.1.1).
fn digit_begun(bytes: &[u8], events: &[u8]) -> Option<char> {
    let packet = Packet::parse(bytes).ok()?;
    if !packet.header.marker || !events.contains(&packet.header.payload_type) {
        return None;
    }
    Payload::parse(packet.payload)?.event.key()
}

/// The media between two messages.
#[derive(Debug, Default)]
struct Pause {
    first: Option<(SystemTime, usize, usize)>,
    there: u32,
    back: u32,
    reports: u32,
}

impl Pause {
    fn count(&mut self, at: SystemTime, from: usize, to: usize) {
        let (_, first_from, _) = *self.first.get_or_insert((at, from, to));
        let counter = if from == first_from { &mut self.there } else { &mut self.back };
        *counter = counter.saturating_add(1);
    }

    fn arrow(self, since: impl Fn(SystemTime) -> Duration) -> Option<Arrow> {
        let (at, from, to) = self.first?;
        let Self { there, back, reports, .. } = self;
        if there.max(back) < WORTH_SHOWING {
            return None;
        }
        let reports = if reports > 0 { format!(", {reports} RTCP") } else { String::new() };
        let (label, line) = if back == 0 {
            (format!("RTP {there} packets{reports}"), Line::Media)
        } else {
            let (left, right) = if from < to { (there, back) } else { (back, there) };
            (format!("RTP {left} packets there, {right} back{reports}"), Line::MediaBothWays)
        };
        Some(Arrow { at: since(at), from, to, label, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::dtmf::Event;
    use rtp::packet::Header;

    const MESSAGE: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\
                           Call-ID: x\r\nCSeq: 7 INVITE\r\nContent-Type: application/sdp\r\n\r\n";

    fn sip(at: u64, from: u16, to: u16, start: &str, body: &str) -> Sent {
        let bytes = format!("{start}\r\n{MESSAGE}{body}").into();
        Sent { at: time(at), from: address(from), to: address(to), kind: Kind::Sip, bytes }
    }

    fn rtp(at: u64, from: u16, to: u16) -> Sent {
        Sent { at: time(at), from: address(from), to: address(to), kind: Kind::Rtp, bytes: Bytes::new() }
    }

    fn time(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + milliseconds)
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn messages_and_the_media_between_them_become_arrows() {
        let mut all = vec![
            sip(0, 1, 2, "INVITE sip:c@d SIP/2.0", "v=0\r\na=sendonly\r\n"),
            rtp(5, 3, 1),
            sip(10, 2, 1, "SIP/2.0 200 OK", "v=0\r\na=rtpmap:97 telephone-event/8000\r\n"),
            sip(510, 1, 2, "SIP/2.0 487 Request Terminated", ""),
            sip(900, 1, 9, "SIP/2.0 200 OK", ""),
            sip(1000, 1, 2, "SIP/2.0 200 OK", ""),
        ];
        all.extend((0..20).map(|index| rtp(50 + index * 20, 1, 3)));
        all.extend((0..19).map(|index| rtp(55 + index * 20, 3, 1)));
        all.extend((0..10).map(|index| rtp(550 + index * 20, 3, 1)));
        for (at, marker) in [(600, true), (620, false)] {
            let header = Header { payload_type: 97, marker, sequence_number: 1, timestamp: 1, ssrc: 1 };
            let five = Payload { event: Event(5), end: false, volume: 10, duration: 160 };
            all.push(Sent { bytes: header.build(&five.to_octets()).unwrap(), ..rtp(at, 3, 1) });
        }
        all.sort_by_key(|sent| sent.at);
        let column = |address: SocketAddr| match address.port() {
            port @ 1..=3 => Some(usize::from(port) - 1),
            _ => None,
        };
        let mut arrows = arrows(&all, column);
        arrows.sort_by_key(|arrow| arrow.at);
        let shown: Vec<_> = arrows
            .into_iter()
            .map(|arrow| (arrow.at.as_millis(), arrow.from, arrow.to, arrow.label, arrow.line))
            .collect();
        assert_eq!(
            shown,
            [
                (0, 0, 1, "INVITE 7 (sendonly)".into(), Line::Message),
                (10, 1, 0, "200 INVITE 7 (sdp)".into(), Line::Message),
                (50, 0, 2, "RTP 20 packets there, 19 back".into(), Line::MediaBothWays),
                (510, 0, 1, "487 INVITE 7".into(), Line::Message),
                (550, 2, 0, "RTP 12 packets".into(), Line::Media),
                (600, 2, 0, "digit 5".into(), Line::Media),
                (1000, 0, 1, "200 INVITE 7".into(), Line::Message),
            ]
        );
    }
}
