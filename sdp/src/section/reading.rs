//! What a negotiation needs of a section, gathered in one pass over its attributes: offers of browsers have hundreds.

use sdp_types::{Attribute, Media};

use crate::codec::{self, Encoding};
use crate::{Codec, Direction, Payload};

/// One format of the `m=` line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format<'a> {
    pub(crate) payload_type: u8,
    /// From `a=rtpmap`, else from RFC 3551 §6.
    pub(crate) encoding: Option<Encoding<'a>>,
    pub(crate) fmtp: Option<&'a str>,
}

impl Format<'_> {
    pub(crate) fn payload(&self) -> Option<Payload> {
        let codec = self.encoding?.codec(self.fmtp);
        Some(Payload { payload_type: self.payload_type, codec })
    }

    /// Whether this is `codec`, as far as both must agree.
    pub(crate) fn is(&self, codec: &Codec) -> bool {
        self.encoding.is_some_and(|encoding| encoding.matches(codec))
            && crate::parameters::compatible(codec.name(), self.fmtp, codec.fmtp())
    }
}

/// What a section says itself.
#[derive(Debug, Default)]
pub(crate) struct Reading<'a> {
    pub(crate) formats: Vec<Format<'a>>,
    pub(crate) direction: Option<Direction>,
    pub(crate) ptime: Option<u16>,
    pub(crate) max_ptime: Option<u16>,
    pub(crate) rtcp: Option<&'a str>,
    pub(crate) rtcp_mux: bool,
    pub(crate) rtcp_mux_only: bool,
    pub(crate) mid: Option<&'a str>,
    pub(crate) bundle_only: bool,
    pub(crate) crypto: Vec<&'a str>,
    pub(crate) feedback: Vec<&'a str>,
    pub(crate) extensions: Vec<&'a str>,
    pub(crate) rids: Vec<&'a str>,
    pub(crate) simulcast: Vec<&'a str>,
}

/// No payload type has this place in a list of at most 128 formats.
const NONE: u8 = u8::MAX;

impl<'a> Reading<'a> {
    /// With the formats as RTP payload types if `rtp`.
    pub(crate) fn of(media: &'a Media, rtp: bool) -> Self {
        let mut reading = Reading::default();
        let mut places = [NONE; 128];
        if rtp {
            reading.read_formats(&media.fmt, &mut places);
        }
        for attribute in &media.attributes {
            reading.read(attribute, &places);
        }
        for format in &mut reading.formats {
            format.encoding = format.encoding.or_else(|| Encoding::fixed(format.payload_type));
        }
        reading
    }

    fn read_formats(&mut self, formats: &str, places: &mut [u8; 128]) {
        for payload_type in formats.split_ascii_whitespace().filter_map(codec::payload_type) {
            let next = u8::try_from(self.formats.len()).unwrap_or(NONE);
            if let Some(place) = places.get_mut(usize::from(payload_type)).filter(|place| **place == NONE) {
                *place = next;
                self.formats.push(Format { payload_type, encoding: None, fmtp: None });
            }
        }
    }

    fn read(&mut self, attribute: &'a Attribute, places: &[u8; 128]) {
        let value = attribute.value.as_deref();
        if self.take(&attribute.attribute, value, places) {
            return;
        }
        // Names are written in lower case (RFC 8866 §6), by nearly everybody.
        if attribute.attribute.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.take(&attribute.attribute.to_ascii_lowercase(), value, places);
        }
    }

    /// Takes what the name says. False for names that say nothing here.
    fn take(&mut self, name: &str, value: Option<&'a str>, places: &[u8; 128]) -> bool {
        match (name, value) {
            ("rtpmap", Some(value)) => {
                if let Some((format, value)) = self.format(value, places)
                    && format.encoding.is_none()
                {
                    format.encoding = value.split_ascii_whitespace().next().and_then(Encoding::read);
                }
            }
            ("fmtp", Some(value)) => {
                if let Some((format, value)) = self.format(value, places) {
                    format.fmtp.get_or_insert(value.trim());
                }
            }
            ("rtcp-fb", Some(value)) => self.feedback.push(value),
            ("extmap", Some(value)) => self.extensions.push(value),
            ("rid", Some(value)) => self.rids.push(value),
            ("simulcast", Some(value)) => self.simulcast.push(value),
            ("crypto", Some(value)) => self.crypto.push(value),
            ("sendrecv", _) => drop(self.direction.get_or_insert(Direction::SendRecv)),
            ("sendonly", _) => drop(self.direction.get_or_insert(Direction::SendOnly)),
            ("recvonly", _) => drop(self.direction.get_or_insert(Direction::RecvOnly)),
            ("inactive", _) => drop(self.direction.get_or_insert(Direction::Inactive)),
            ("ptime", Some(value)) if self.ptime.is_none() => self.ptime = super::milliseconds(value),
            ("maxptime", Some(value)) if self.max_ptime.is_none() => {
                self.max_ptime = super::milliseconds(value);
            }
            ("rtcp", Some(value)) => drop(self.rtcp.get_or_insert(value)),
            ("rtcp-mux", _) => self.rtcp_mux = true,
            ("rtcp-mux-only", _) => self.rtcp_mux_only = true,
            ("mid", Some(value)) => drop(self.mid.get_or_insert(value.trim())),
            ("bundle-only", _) => self.bundle_only = true,
            _ => return false,
        }
        true
    }

    fn format(&mut self, value: &'a str, places: &[u8; 128]) -> Option<(&mut Format<'a>, &'a str)> {
        let (number, rest) = value.trim_start().split_once(' ')?;
        let place = places.get(usize::from(codec::payload_type(number)?))?;
        Some((self.formats.get_mut(usize::from(*place))?, rest))
    }
}
