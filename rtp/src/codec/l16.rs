//! L16: linear samples of 16 bits in network order (RFC 3551 §4.5.11), channels interleaved (§4.1).

/// Writes samples.
pub fn encode(samples: &[i16], octets: &mut Vec<u8>) {
    octets.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
}

/// Reads samples; an octet that is left over is no sample.
pub fn decode(octets: &[u8], samples: &mut Vec<i16>) {
    samples.extend(octets.as_chunks().0.iter().map(|octets| i16::from_be_bytes(*octets)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc3551_4_5_11_the_most_significant_octet_comes_first() {
        let (mut octets, mut samples) = (Vec::new(), Vec::new());
        encode(&[0x0102, -2], &mut octets);
        assert_eq!(octets, [1, 2, 0xff, 0xfe]);
        octets.push(9);
        decode(&octets, &mut samples);
        assert_eq!(samples, [0x0102, -2]);
    }

    proptest! {
        #[test]
        fn round_trip(samples: Vec<i16>) {
            let (mut octets, mut decoded) = (Vec::new(), Vec::new());
            encode(&samples, &mut octets);
            decode(&octets, &mut decoded);
            prop_assert_eq!(samples, decoded);
        }
    }
}
