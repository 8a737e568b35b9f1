//! Fax over IP: the attributes of an `image` section with the format `t38` (ITU-T T.38 Annex D.2.3, RFC 3362).

use sdp_types::Attribute;

/// What a side takes of T.38. Attributes that are missing or unreadable are `None` or false, and mean what T.38 Table D.1 says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct T38 {
    /// `T38FaxVersion`, 0 if missing.
    pub version: Option<u32>,
    /// `T38MaxBitRate` in bit/s.
    pub max_bit_rate: Option<u32>,
    /// `T38FaxFillBitRemoval`.
    pub fill_bit_removal: bool,
    /// `T38FaxTranscodingMMR`.
    pub transcoding_mmr: bool,
    /// `T38FaxTranscodingJBIG`.
    pub transcoding_jbig: bool,
    /// `T38FaxRateManagement`.
    pub rate_management: Option<RateManagement>,
    /// `T38FaxMaxBuffer` in octets.
    pub max_buffer: Option<u32>,
    /// `T38FaxMaxDatagram` in octets.
    pub max_datagram: Option<u32>,
    /// `T38FaxUdpEC`.
    pub error_correction: Option<ErrorCorrection>,
}

/// Where the training check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateManagement {
    /// `localTCF`: by each gateway (over TCP).
    Local,
    /// `transferredTCF`: end to end (over UDP).
    Transferred,
}

/// How lost UDPTL packets are mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCorrection {
    /// `t38UDPNoEC`.
    None,
    /// `t38UDPRedundancy`.
    Redundancy,
    /// `t38UDPFEC`.
    Forward,
}

impl T38 {
    pub(crate) fn read(attributes: &[Attribute]) -> Self {
        let mut read = T38::default();
        for Attribute { attribute, value } in attributes {
            let is = |name: &str| attribute.eq_ignore_ascii_case(name);
            let value = value.as_deref().map(str::trim);
            let number = value.and_then(|value| value.parse().ok());
            // Either bare, or `:1` and `:0` as gateways write it.
            let flag = value != Some("0");
            if is("T38FaxVersion") {
                read.version = number;
            } else if is("T38MaxBitRate") || is("T38FaxMaxBitRate") {
                read.max_bit_rate = number;
            } else if is("T38FaxFillBitRemoval") {
                read.fill_bit_removal = flag;
            } else if is("T38FaxTranscodingMMR") {
                read.transcoding_mmr = flag;
            } else if is("T38FaxTranscodingJBIG") {
                read.transcoding_jbig = flag;
            } else if is("T38FaxRateManagement") {
                read.rate_management = value.and_then(|value| RateManagement::ALL.find(value));
            } else if is("T38FaxMaxBuffer") {
                read.max_buffer = number;
            } else if is("T38FaxMaxDatagram") {
                read.max_datagram = number;
            } else if is("T38FaxUdpEC") {
                read.error_correction = value.and_then(|value| ErrorCorrection::ALL.find(value));
            }
        }
        read
    }

    /// The attributes to write.
    pub fn attributes(&self) -> Vec<Attribute> {
        let number = |name: &str, value: Option<u32>| value.map(|value| Attribute::with_value(name, value));
        let flag = |name: &str, set: bool| set.then(|| Attribute::new(name));
        let management = self.rate_management.map(|value| RateManagement::ALL.name(value));
        let correction = self.error_correction.map(|value| ErrorCorrection::ALL.name(value));
        let all = [
            number("T38FaxVersion", self.version),
            number("T38MaxBitRate", self.max_bit_rate),
            flag("T38FaxFillBitRemoval", self.fill_bit_removal),
            flag("T38FaxTranscodingMMR", self.transcoding_mmr),
            flag("T38FaxTranscodingJBIG", self.transcoding_jbig),
            management.map(|name| Attribute::with_value("T38FaxRateManagement", name)),
            number("T38FaxMaxBuffer", self.max_buffer),
            number("T38FaxMaxDatagram", self.max_datagram),
            correction.map(|name| Attribute::with_value("T38FaxUdpEC", name)),
        ];
        all.into_iter().flatten().collect()
    }
}

/// Values and their names.
struct Names<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Names<T> {
    fn find(&self, name: &str) -> Option<T> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn name(&self, value: T) -> &'static str {
        self.0.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
    }
}

impl RateManagement {
    const ALL: Names<Self> =
        Names(&[("localTCF", RateManagement::Local), ("transferredTCF", RateManagement::Transferred)]);
}

impl ErrorCorrection {
    const ALL: Names<Self> = Names(&[
        ("t38UDPNoEC", ErrorCorrection::None),
        ("t38UDPRedundancy", ErrorCorrection::Redundancy),
        ("t38UDPFEC", ErrorCorrection::Forward),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionDescription;
    use proptest::prelude::*;

    #[test]
    fn a_gateways_fax_section_is_read() {
        let text = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=image 4000 udptl t38\na=T38FaxVersion:0\n\
            a=T38MaxBitRate:14400\na=T38FaxFillBitRemoval:0\na=T38FaxTranscodingMMR:1\na=T38FaxTranscodingJBIG\n\
            a=T38FaxRateManagement:transferredTCF\na=T38FaxMaxBuffer:x\na=T38FaxMaxDatagram:400\na=T38FaxUdpEC:t38UDPRedundancy\n";
        let description: SessionDescription = text.parse().unwrap();
        let read = description.media().next().unwrap().t38().unwrap();
        let expected = T38 {
            version: Some(0),
            max_bit_rate: Some(14400),
            fill_bit_removal: false,
            transcoding_mmr: true,
            transcoding_jbig: true,
            rate_management: Some(RateManagement::Transferred),
            max_buffer: None,
            max_datagram: Some(400),
            error_correction: Some(ErrorCorrection::Redundancy),
        };
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn write_and_read_are_inverse(
            numbers: [Option<u32>; 4], flags: [bool; 3], management in proptest::option::of(0..2_usize), correction in proptest::option::of(0..3_usize),
        ) {
            let t38 = T38 {
                version: numbers[0],
                max_bit_rate: numbers[1],
                fill_bit_removal: flags[0],
                transcoding_mmr: flags[1],
                transcoding_jbig: flags[2],
                rate_management: management.map(|index| RateManagement::ALL.0[index].1),
                max_buffer: numbers[2],
                max_datagram: numbers[3],
                error_correction: correction.map(|index| ErrorCorrection::ALL.0[index].1),
            };
            prop_assert_eq!(T38::read(&t38.attributes()), t38);
        }
    }
}
