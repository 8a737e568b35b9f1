//! What a datagram on a media port is, told by its first octets (RFC 7983 §7, RFC 5761 §4).

/// The protocols that may share one media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// STUN: first octet 0 to 3.
    Stun,
    /// ZRTP: 16 to 19.
    Zrtp,
    /// DTLS: 20 to 63.
    Dtls,
    /// TURN channel data: 64 to 79.
    TurnChannel,
    /// RTP: 128 to 191 and a second octet that is no RTCP packet type.
    Rtp,
    /// RTCP: 128 to 191 and a packet type of 192 to 223.
    Rtcp,
    /// Anything else, to be dropped.
    Unknown,
}

/// Classifies a datagram.
///
/// RTCP packet types 192 to 223 are payload types 64 to 95 with the marker bit, which RFC 5761 §4 takes out
/// of use for RTP.
///
/// ```
/// use rtp::demux::{Protocol, classify};
/// assert_eq!(classify(&[0x80, 0x00]), Protocol::Rtp);
/// assert_eq!(classify(&[0x81, 200]), Protocol::Rtcp);
/// ```
#[must_use]
pub fn classify(datagram: &[u8]) -> Protocol {
    match datagram {
        [0..=3, ..] => Protocol::Stun,
        [16..=19, ..] => Protocol::Zrtp,
        [20..=63, ..] => Protocol::Dtls,
        [64..=79, ..] => Protocol::TurnChannel,
        [128..=191, 192..=223, ..] => Protocol::Rtcp,
        [128..=191, _, ..] => Protocol::Rtp,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7983_7_every_first_octet_has_its_protocol() {
        let expected = |octet: u8| match octet {
            0..=3 => Protocol::Stun,
            16..=19 => Protocol::Zrtp,
            20..=63 => Protocol::Dtls,
            64..=79 => Protocol::TurnChannel,
            128..=191 => Protocol::Rtp,
            _ => Protocol::Unknown,
        };
        for octet in 0..=255 {
            assert_eq!(classify(&[octet, 0]), expected(octet), "first octet {octet}");
        }
        assert_eq!(classify(&[]), Protocol::Unknown);
        assert_eq!(classify(&[0x80]), Protocol::Unknown);
    }

    #[test]
    fn rfc5761_4_packet_type_decides_between_rtp_and_rtcp() {
        for second in 0..=255u8 {
            let rtcp = (192..=223).contains(&second);
            assert_eq!(classify(&[0x80, second]) == Protocol::Rtcp, rtcp, "second octet {second}");
        }
    }
}
