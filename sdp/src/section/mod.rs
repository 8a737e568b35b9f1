//! A media section read with types: what it says itself, else what the session level says for all.

mod reading;
mod typed;

use sdp_types::{Attribute, Connection, Media, Rtcp, Session};

use crate::address::{AddressError, Host, MediaAddress};
use crate::codec::{self, Codec, Payload};
use crate::{Direction, SessionDescription};
pub(crate) use reading::{Format, Reading};

/// One `m=` section of a [`SessionDescription`](crate::SessionDescription) (RFC 8866 §5.14).
#[derive(Clone, Copy, Debug)]
pub struct MediaSection<'a> {
    session: &'a Session,
    media: &'a Media,
}

impl<'a> MediaSection<'a> {
    pub(crate) fn new(session: &'a Session, media: &'a Media) -> Self {
        MediaSection { session, media }
    }

    /// The media type: `audio`, `video`, `application`, ...
    pub fn kind(&self) -> &'a str {
        &self.media.media
    }

    /// The port of the `m=` line; 0 means rejected, removed or not in use (RFC 3264 §6, §8.2).
    pub fn port(&self) -> u16 {
        self.media.port
    }

    /// The transport, such as `RTP/AVP`.
    pub fn protocol(&self) -> &'a str {
        &self.media.proto
    }

    /// The formats of the `m=` line in order of preference: payload types for RTP.
    pub fn formats(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.media.fmt.split_whitespace()
    }

    /// The underlying data model.
    pub fn media(&self) -> &'a Media {
        self.media
    }

    /// The value of the first attribute of that name in this section, not looking at the session level.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        find(&self.media.attributes, name)
    }

    /// The formats as RTP payloads in order, each once: by `a=rtpmap`, else by RFC 3551 §6. Formats that say neither are left
    /// out.
    pub fn payloads(&self) -> Vec<Payload> {
        self.reading(true).formats.iter().filter_map(Format::payload).collect()
    }

    /// The codec that this section gives `payload_type`, if that is among its formats, with its format parameters.
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        let formats = self.reading(true).formats;
        Some(formats.iter().find(|format| format.payload_type == payload_type)?.payload()?.codec)
    }

    pub(crate) fn reading(&self, rtp: bool) -> Reading<'a> {
        Reading::of(self.media, rtp)
    }

    /// The parameters of the `a=fmtp` line for `payload_type`, verbatim (RFC 8866 §6.15).
    pub fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        values(&self.media.attributes, "fmtp").find_map(|value| {
            let (number, parameters) = value.trim_start().split_once(' ')?;
            (codec::payload_type(number) == Some(payload_type)).then_some(parameters.trim())
        })
    }

    /// The direction as the describing side sees it: of this section, else of the session, else `sendrecv` (RFC 8866 §6.7).
    pub fn direction(&self) -> Direction {
        direction_in(&self.media.attributes).unwrap_or_else(|| self.session_direction())
    }

    pub(crate) fn session_direction(&self) -> Direction {
        direction_in(&self.session.attributes).unwrap_or_default()
    }

    /// Whether there is an attribute of that name, here or at the session level.
    pub(crate) fn has(&self, name: &str) -> bool {
        let named = |attribute: &Attribute| attribute.attribute.eq_ignore_ascii_case(name);
        self.media.attributes.iter().chain(&self.session.attributes).any(named)
    }

    pub(crate) fn session_attributes(&self) -> &'a [Attribute] {
        &self.session.attributes
    }

    /// The connection data: of this section, else of the session (RFC 8866 §5.7).
    pub fn connection(&self) -> Option<&'a Connection> {
        self.media.connections.first().or(self.session.connection.as_ref())
    }

    /// Where the describing side wants RTP.
    ///
    /// # Errors
    /// [`AddressError`] when the section names no usable address.
    pub fn rtp_address(&self) -> Result<MediaAddress, AddressError> {
        let port = Some(self.media.port).filter(|port| *port != 0).ok_or(AddressError::Disabled)?;
        let connection = self.connection().ok_or(AddressError::NoConnection)?;
        Ok(MediaAddress { host: Host::from_connection(connection)?, port })
    }

    /// Where the describing side wants RTCP: `a=rtcp` (RFC 3605), else one port above RTP (RFC 3550 §11). `None` when
    /// there is no such port, or no address at all.
    pub fn rtcp_address(&self) -> Option<MediaAddress> {
        let rtp = self.rtp_address().ok()?;
        rtcp_address(&rtp, self.attribute("rtcp"))
    }

    /// The packet duration in milliseconds that the describing side would like to receive (RFC 8866 §6.4).
    pub fn ptime(&self) -> Option<u16> {
        self.attribute("ptime").and_then(milliseconds)
    }

    /// The longest packet in milliseconds that the describing side takes (RFC 8866 §6.5).
    pub fn max_ptime(&self) -> Option<u16> {
        self.attribute("maxptime").and_then(milliseconds)
    }
}

/// Where RTCP goes beside RTP, with the value of `a=rtcp` if there is one.
pub(crate) fn rtcp_address(rtp: &MediaAddress, attribute: Option<&str>) -> Option<MediaAddress> {
    if let Some(rtcp) = attribute.and_then(|value| value.parse::<Rtcp>().ok()) {
        let port = Some(rtcp.port).filter(|port| *port != 0)?;
        let stated = match (&rtcp.nettype, &rtcp.connection_address) {
            (Some(network), Some(address)) => Host::from_fields(network, address).ok(),
            _ => None,
        };
        return Some(MediaAddress { host: stated.unwrap_or_else(|| rtp.host.clone()), port });
    }
    Some(MediaAddress { port: rtp.port.checked_add(1)?, host: rtp.host.clone() })
}

/// RFC 8866 allows fractions (`non-zero-int-or-real`); packets are whole milliseconds long.
fn milliseconds(value: &str) -> Option<u16> {
    let whole = value.trim().split('.').next()?;
    whole.parse::<u16>().ok().filter(|milliseconds| *milliseconds > 0)
}

fn direction_in(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| attribute.attribute.parse().ok())
}

fn values<'a>(attributes: &'a [Attribute], name: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name))
        .filter_map(|attribute| attribute.value.as_deref())
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    values(attributes, name).next()
}

impl SessionDescription {
    /// The value of the first session-level attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.session().attributes, name)
    }
}

#[cfg(test)]
mod tests {
    use crate::address::AddressError;
    use crate::{Direction, SessionDescription};

    fn with_media(session: &str, media: &str) -> SessionDescription {
        let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\n{session}t=0 0\r\n{media}");
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_section_speaks_before_the_session_level() {
        let description = with_media(
            "c=IN IP4 192.0.2.1\r\na=inactive\r\n",
            "m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\na=recvonly\r\n",
        );
        let sections: Vec<_> = description.media().collect();
        assert_eq!(sections[0].direction(), Direction::Inactive);
        assert_eq!(sections[0].rtp_address().unwrap().to_string(), "192.0.2.1:4000");
        assert_eq!(sections[1].direction(), Direction::RecvOnly);
        assert_eq!(sections[1].rtp_address().unwrap().to_string(), "[2001:db8::1]:4002");
    }

    #[test]
    fn rtcp_is_one_port_up_unless_rfc_3605_says_otherwise() {
        let rtcp = |media: &str| {
            let description = with_media("c=IN IP4 192.0.2.1\r\n", media);
            let address = description.media().next().unwrap().rtcp_address();
            address.map(|address| address.to_string())
        };
        assert_eq!(rtcp("m=audio 4000 RTP/AVP 0\r\n").as_deref(), Some("192.0.2.1:4001"));
        assert_eq!(rtcp("m=audio 4000 RTP/AVP 0\r\na=rtcp:53020\r\n").as_deref(), Some("192.0.2.1:53020"));
        let elsewhere = "m=audio 4000 RTP/AVP 0\r\na=rtcp:53020 IN IP6 2001:db8::7\r\n";
        assert_eq!(rtcp(elsewhere).as_deref(), Some("[2001:db8::7]:53020"));
        assert_eq!(rtcp("m=audio 65535 RTP/AVP 0\r\n"), None);
        assert_eq!(rtcp("m=audio 0 RTP/AVP 0\r\n"), None);
    }

    #[test]
    fn packet_times_are_whole_milliseconds_above_zero() {
        let description = with_media("", "m=audio 4000 RTP/AVP 0\r\na=ptime:20.5\r\na=maxptime:0\r\n");
        let section = description.media().next().unwrap();
        assert_eq!((section.ptime(), section.max_ptime()), (Some(20), None));
    }

    #[test]
    fn payloads_come_from_rtpmap_and_rfc_3551() {
        let description = with_media(
            "",
            "m=audio 4000 RTP/AVP 0 101 8 99\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n",
        );
        let payloads = description.media().next().unwrap().payloads();
        let names: Vec<_> = payloads.iter().map(|p| (p.payload_type, p.codec.name())).collect();
        assert_eq!(names, [(0, "PCMU"), (101, "telephone-event"), (8, "PCMA")]);
        assert_eq!(payloads[1].codec.fmtp(), Some("0-16"));
    }

    #[test]
    fn what_cannot_be_sent_to_says_why() {
        let error = |session: &str, media: &str| {
            with_media(session, media).media().next().unwrap().rtp_address().unwrap_err()
        };
        assert_eq!(error("", "m=audio 4000 RTP/AVP 0\r\n"), AddressError::NoConnection);
        assert_eq!(
            error("c=TN RFC2543 +1555\r\n", "m=audio 4000 RTP/AVP 0\r\n"),
            AddressError::UnsupportedNetwork
        );
        assert_eq!(error("c=IN IP4 300.1.1.1\r\n", "m=audio 4000 RTP/AVP 0\r\n"), AddressError::Malformed);
        assert_eq!(error("c=IN IP4 192.0.2.1\r\n", "m=audio 0 RTP/AVP 0\r\n"), AddressError::Disabled);
    }
}
