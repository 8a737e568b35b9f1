//! The descriptions that we print.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};

use super::AUDIO_PROTOCOL;
use crate::{Codec, Direction, Payload};

/// An `m=` line as both sides remember it: lines keep their place for the whole session (RFC 3264 §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: String,
}

impl Line {
    pub(super) fn of(media: &Media) -> Self {
        Line { media: media.media.clone(), protocol: media.proto.clone(), formats: media.fmt.clone() }
    }
}

/// A line not in use: port 0, the rest as it was, since at least one format must stay (RFC 3264 §6).
pub(super) fn disabled(line: &Line) -> Media {
    Media {
        media: line.media.clone(),
        port: 0,
        num_ports: None,
        proto: line.protocol.clone(),
        fmt: line.formats.clone(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

/// What an audio line of ours says.
pub(super) struct Audio<'a> {
    pub(super) address: SocketAddr,
    pub(super) rtcp_port: Option<u16>,
    pub(super) direction: Direction,
    pub(super) ptime: Option<u16>,
    pub(super) payloads: &'a [Payload],
}

pub(super) fn audio(audio: &Audio<'_>) -> Media {
    let numbers: Vec<String> =
        audio.payloads.iter().map(|payload| payload.payload_type.to_string()).collect();
    let mut media = disabled(&Line {
        media: "audio".to_owned(),
        protocol: AUDIO_PROTOCOL.to_owned(),
        formats: numbers.join(" "),
    });
    media.port = audio.address.port();
    for Payload { payload_type, codec } in audio.payloads {
        media.attributes.push(Attribute::with_value("rtpmap", codec.rtpmap(*payload_type)));
        if let Some(parameters) = codec.fmtp() {
            media.attributes.push(Attribute::with_value("fmtp", format!("{payload_type} {parameters}")));
        }
    }
    if let Some(ptime) = audio.ptime {
        media.attributes.push(Attribute::with_value("ptime", ptime));
    }
    if let Some(port) = audio.rtcp_port.filter(|port| Some(*port) != audio.address.port().checked_add(1)) {
        media.attributes.push(Attribute::with_value("rtcp", port));
    }
    media.attributes.push(Attribute::new(audio.direction));
    media
}

/// The session level around the media. `s=-` is RFC 3264 §5's advice for sessions without a name.
pub(super) fn session(origin: Origin, address: IpAddr, times: &[Time], medias: Vec<Media>) -> Session {
    Session {
        origin,
        session_name: "-".to_owned(),
        session_description: None,
        uri: None,
        emails: Vec::new(),
        phones: Vec::new(),
        connection: Some(Connection::from_ip_addr(address)),
        bandwidths: Vec::new(),
        times: times.to_vec(),
        time_zones: Vec::new(),
        key: None,
        attributes: Vec::new(),
        medias,
    }
}

/// Numbers the local codecs, in order.
pub(super) fn number(
    codecs: &[Codec],
    mut number_for: impl FnMut(&Codec) -> Option<u8>,
) -> Result<Vec<Payload>, String> {
    let numbered = codecs.iter().map(|codec| {
        let payload_type = number_for(codec).ok_or_else(|| codec.name().to_owned())?;
        Ok(Payload { payload_type, codec: codec.clone() })
    });
    numbered.collect()
}
