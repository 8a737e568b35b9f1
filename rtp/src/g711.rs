//! ITU-T G.711, A-law and µ-law, bit-exact to the recommendation's tables.

/// A-law or µ-law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMU, payload type 0 (RFC 3551 §4.5.14).
    Mu,
    /// PCMA, payload type 8 (RFC 3551 §4.5.14).
    A,
}

impl Law {
    /// The static payload type (RFC 3551 §6).
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// Name in `a=rtpmap`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// Encodes linear samples, an octet each.
    ///
    /// ```
    /// use rtp::g711::Law;
    /// let octets = Law::A.encode(&[0, 1000, -1000]);
    /// assert_eq!(octets[0], 0xd5);
    /// assert_eq!(Law::A.decode(&octets).collect::<Vec<_>>(), [8, 1008, -1008]);
    /// ```
    #[must_use]
    pub fn encode(self, samples: &[i16]) -> Vec<u8> {
        let mut octets = vec![0; samples.len()];
        self.encode_into(samples, &mut octets);
        octets
    }

    /// Encodes into memory of the caller's, as far as the shorter of both goes.
    ///
    /// ```
    /// let mut octets = [0; 160];
    /// rtp::g711::Law::Mu.encode_into(&[0; 160], &mut octets);
    /// assert_eq!(octets, [0xff; 160]);
    /// ```
    pub fn encode_into(self, samples: &[i16], octets: &mut [u8]) {
        let pairs = samples.iter().zip(octets);
        match self {
            Self::Mu => pairs.for_each(|(sample, octet)| *octet = encode_mu(*sample)),
            Self::A => pairs.for_each(|(sample, octet)| *octet = encode_a(*sample)),
        }
    }

    /// Decodes octets, a linear sample each.
    pub fn decode(self, octets: &[u8]) -> impl Iterator<Item = i16> + '_ {
        let table = match self {
            Self::Mu => &MU_DECODED,
            Self::A => &A_DECODED,
        };
        // An octet is always inside a table of 256; the default is never taken.
        octets.iter().map(move |octet| table.get(usize::from(*octet)).copied().unwrap_or(0))
    }

    /// Decodes into memory of the caller's, as far as the shorter of both goes.
    pub fn decode_into(self, octets: &[u8], samples: &mut [i16]) {
        for (sample, decoded) in samples.iter_mut().zip(self.decode(octets)) {
            *sample = decoded;
        }
    }
}

// Encoding has neither branches nor tables, and no shift by a variable, so that the compiler makes vector instructions of
// a loop over it; decoding is faster by a table. A floating-point number has segment and step of G.711 in its bits: the
// exponent is the segment, and the first four bits of the fraction are the step.

/// Bits of a fraction below the four of the step.
const BELOW_STEP: u32 = f32::MANTISSA_DIGITS - 1 - 4;

/// Segment and step of a magnitude, as `segment * 16 + step`, if segment 0 starts at 2^`lowest`.
const fn segment_and_step(magnitude: u16, lowest: u32) -> u16 {
    let bits = (magnitude as f32).to_bits() >> BELOW_STEP;
    (bits as u16).wrapping_sub(((f32::MAX_EXP as u16) - 1 + lowest as u16) << 4)
}

/// µ-law works on 14 bits; the code words are sent inverted (G.711 table 2a).
#[must_use]
pub const fn encode_mu(sample: i16) -> u8 {
    // One's complement for negative values puts the decision values where the table has them.
    let sign = sample >> 15;
    let biased = ((sample ^ sign) as u16 >> 2).wrapping_add(33);
    // Bit 5 is the lowest that can lead, because of the bias of 33.
    let magnitude = if biased > 0x1fff { 0x1fff } else { biased };
    let code = segment_and_step(magnitude, 5) as u8;
    !(code | (sign as u8 & 0x80))
}

/// µ-law to 16 bits (G.711 table 2b, scaled by four).
#[must_use]
pub const fn decode_mu(octet: u8) -> i16 {
    let code = !octet;
    let segment = (code >> 4) & 7;
    let step = (code & 0x0f) as i16;
    let magnitude = ((((step << 1) + 33) << segment) - 33) << 2;
    if octet & 0x80 == 0 { -magnitude } else { magnitude }
}

/// A-law works on 13 bits; even bits are sent inverted (G.711 table 1a).
#[must_use]
pub const fn encode_a(sample: i16) -> u8 {
    let sign = sample >> 15;
    let magnitude = (sample ^ sign) as u16 >> 4;
    // Segments 0 and 1 share their step size: below 32 the code is the magnitude itself.
    let leading = segment_and_step(magnitude | 1, 3);
    let code = if magnitude < 32 { magnitude } else { leading };
    (code as u8 | (!sign as u8 & 0x80)) ^ 0x55
}

/// A-law to 16 bits (G.711 table 1b, scaled by eight).
#[must_use]
pub const fn decode_a(octet: u8) -> i16 {
    let code = octet ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = (((code & 0x0f) as i16) << 4) + 8;
    let magnitude = if segment == 0 { step } else { (step + 0x100) << (segment - 1) };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

static MU_DECODED: [i16; 256] = table(Law::Mu);
static A_DECODED: [i16; 256] = table(Law::A);

// Evaluated at compile time, where an index out of range is a compile error.
#[allow(clippy::indexing_slicing)]
const fn table(law: Law) -> [i16; 256] {
    let mut decoded = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        decoded[octet] = match law {
            Law::Mu => decode_mu(octet as u8),
            Law::A => decode_a(octet as u8),
        };
        octet += 1;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision values x_n of G.711 table 1a (positive A-law, 13-bit scale of 4096): segment ends.
    const A_SEGMENT_ENDS: [i32; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];
    /// The same of table 2a (positive µ-law, 14-bit scale of 8159).
    const MU_SEGMENT_ENDS: [i32; 8] = [31, 95, 223, 479, 991, 2015, 4063, 8159];

    #[test]
    fn g711_table_1_decision_and_output_values_of_a_law() {
        // Sixteen equal steps per segment; a value belongs to the step below the next decision value, and its
        // output lies in the middle.
        let mut low = 0;
        for (segment, end) in A_SEGMENT_ENDS.into_iter().enumerate() {
            let step = (end - low) / 16;
            for index in 0..16 {
                let from = low + index * step;
                let code = (0x80 | (segment as u8) << 4 | index as u8) ^ 0x55;
                // Table 1a counts in units of 2^-12 of full scale, a 16-bit sample in units of 2^-15.
                for value in [from * 8, (from + step) * 8 - 1] {
                    assert_eq!(encode_a(value as i16), code, "sample {value}");
                    assert_eq!(encode_a(!(value as i16)), code ^ 0x80, "sample {}", !value);
                }
                assert_eq!(i32::from(decode_a(code)), from * 8 + step * 4);
                assert_eq!(i32::from(decode_a(code ^ 0x80)), -(from * 8 + step * 4));
            }
            low = end;
        }
    }

    #[test]
    fn g711_table_2_decision_and_output_values_of_mu_law() {
        let mut low = 0;
        for (segment, end) in MU_SEGMENT_ENDS.into_iter().enumerate() {
            let step = 2 << segment;
            for index in 0..16 {
                // The first step of all is half as wide.
                let to = end - (15 - index) * step;
                let code = !((segment as u8) << 4 | index as u8);
                let last = if code == 0x80 { 32767 } else { to * 4 - 1 };
                for value in [low * 4, last] {
                    assert_eq!(encode_mu(value as i16), code, "sample {value}");
                    assert_eq!(encode_mu(!(value as i16)), code ^ 0x80, "sample {}", !value);
                }
                let output = if segment == 0 && index == 0 { 0 } else { (to - step / 2) * 4 };
                assert_eq!(i32::from(decode_mu(code)), output, "code {code:02x}");
                assert_eq!(i32::from(decode_mu(code ^ 0x80)), -output);
                low = to;
            }
            assert_eq!(low, end);
        }
    }

    #[test]
    fn well_known_codes() {
        assert_eq!((encode_mu(0), encode_a(0)), (0xff, 0xd5));
        assert_eq!(
            (decode_mu(0x00), decode_mu(0x80), decode_mu(0xff), decode_mu(0x7f)),
            (-32124, 32124, 0, 0)
        );
        assert_eq!((decode_a(0x2a), decode_a(0xaa), decode_a(0xd5), decode_a(0x55)), (-32256, 32256, 8, -8));
    }

    #[test]
    fn every_sample_is_stable_after_one_pass_and_within_half_a_step() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let code = law.encode(&[sample]);
                let decoded = law.decode(&code).next().unwrap();
                assert_eq!(law.decode(&law.encode(&[decoded])).next().unwrap(), decoded, "{law:?} {sample}");
                let error = (i32::from(sample) - i32::from(decoded)).abs();
                // The widest half step is 512; clipped ends of µ-law are off by 644.
                assert!(
                    error <= 644 && error <= (i32::from(sample).abs() >> 4).max(8) + 4,
                    "{law:?} {sample} {error}"
                );
            }
        }
    }

    #[test]
    fn every_code_survives_except_the_negative_zero_of_mu_law() {
        for octet in 0..=255 {
            assert_eq!(encode_a(decode_a(octet)), octet);
            let expected = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(encode_mu(decode_mu(octet)), expected);
        }
    }
}
