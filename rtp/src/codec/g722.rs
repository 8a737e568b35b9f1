//! ITU-T G.722 at 64 kbit/s: 16 kHz audio in two bands of ADPCM, an octet per two samples.
//!
//! The names of the blocks are the recommendation's (§3 and §4): QMF, QUANTL, INVQAL, LOGSCL, SCALEL and so on. All numbers
//! are its fixed-point numbers of 16 bits; sums and products are of 32 bits and saturate where it says so.

/// Receive and transmit quadrature mirror filter (table 11), every other coefficient; the others are the same backwards.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Decision levels of the lower band (table 14, Q6).
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Output of the inverse quantizer of the lower band by its 4 leading bits (QQ4) and its sign.
const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
/// The same by all its 6 bits (QQ6).
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
/// Inverse quantizer of the higher band (QQ2).
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// Logarithmic step multipliers of the lower band (WL), by code of 4 bits.
const WL: [i32; 16] = [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
/// The same of the higher band (WH), by code.
const WH: [i32; 4] = [798, -214, 798, -214];
/// Inverse logarithm (ILB).
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

fn saturate(value: i32) -> i32 {
    value.clamp(-32768, 32767)
}

fn look_up<const N: usize>(table: &[i32; N], at: i32) -> i32 {
    usize::try_from(at).ok().and_then(|at| table.get(at)).copied().unwrap_or(0)
}

/// Product of two numbers of which one is a fraction of 15 bits.
fn scaled(one: i32, other: i32) -> i32 {
    one.wrapping_mul(other) >> 15
}

/// Predictor and step size of one band: blocks 3 and 4, the same in encoder and decoder.
#[derive(Clone, Debug)]
struct Band {
    /// Predicted signal (S), and the share of the zeros in it (SZ).
    predicted: i32,
    by_zeros: i32,
    /// The two poles (A) and six zeros (B).
    poles: [i32; 2],
    zeros: [i32; 6],
    /// Reconstructed (R), partially reconstructed (P) and difference signal (D), the newest first.
    reconstructed: i32,
    partial: [i32; 2],
    differences: [i32; 6],
    /// Logarithmic (NB) and linear (DET) step size.
    logarithmic: i32,
    step: i32,
}

impl Band {
    fn new(step: i32) -> Self {
        Self {
            predicted: 0,
            by_zeros: 0,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: 0,
            partial: [0; 2],
            differences: [0; 6],
            logarithmic: 0,
            step,
        }
    }

    /// LOGSCL and SCALEL, LOGSCH and SCALEH.
    fn adapt_step(&mut self, multiplier: i32, highest: i32, shift: i32) {
        self.logarithmic = (((self.logarithmic * 127) >> 7) + multiplier).clamp(0, highest);
        let fraction = look_up(&ILB, (self.logarithmic >> 6) & 31);
        let exponent = shift - (self.logarithmic >> 11);
        let step = if exponent < 0 { fraction << -exponent } else { fraction >> exponent };
        self.step = step << 2;
    }

    /// Block 4: adapts the predictor to the difference `d` and predicts the next sample.
    fn predict(&mut self, d: i32) {
        let [a1, a2] = self.poles;
        let reconstructed = saturate(self.predicted + d); // RECONS
        let partial = saturate(self.by_zeros + d); // PARREC
        let signs = [partial >> 15, self.partial[0] >> 15, self.partial[1] >> 15];
        // UPPOL2
        let slope = saturate(a1 << 2);
        let slope = if signs[0] == signs[1] { (-slope).min(32767) } else { slope };
        let bias = if signs[0] == signs[2] { 128 } else { -128 };
        let second = (bias + (slope >> 7) + scaled(a2, 32512)).clamp(-12288, 12288);
        // UPPOL1
        let bias = if signs[0] == signs[1] { 192 } else { -192 };
        let limit = saturate(15360 - second);
        let first = saturate(bias + scaled(a1, 32640)).clamp(-limit, limit);
        // UPZERO
        let gain = if d == 0 { 0 } else { 128 };
        for (zero, difference) in self.zeros.iter_mut().zip(self.differences) {
            let bias = if difference >> 15 == d >> 15 { gain } else { -gain };
            *zero = saturate(bias + scaled(*zero, 32640));
        }
        // DELAYA
        let [d1, d2, d3, d4, d5, _] = self.differences;
        self.differences = [d, d1, d2, d3, d4, d5];
        self.partial = [partial, self.partial[0]];
        self.poles = [first, second];
        let before = std::mem::replace(&mut self.reconstructed, reconstructed);
        // FILTEP, FILTEZ, PREDIC
        let by_poles =
            saturate(scaled(first, saturate(reconstructed << 1)) + scaled(second, saturate(before << 1)));
        let products =
            self.zeros.iter().zip(self.differences).map(|(zero, d)| scaled(*zero, saturate(d << 1)));
        self.by_zeros = saturate(products.sum());
        self.predicted = saturate(by_poles + self.by_zeros);
    }
}

/// Both bands and the memory of the filter between them and the audio.
#[derive(Clone, Debug)]
struct State {
    low: Band,
    high: Band,
    /// 24 samples of the filter, the oldest first.
    filter: [i32; 24],
}

impl State {
    fn new() -> Self {
        Self { low: Band::new(32), high: Band::new(8), filter: [0; 24] }
    }

    /// Takes two samples into the filter and gives the sums over the even and the odd ones.
    fn filter(&mut self, one: i32, other: i32) -> (i32, i32) {
        self.filter.copy_within(2.., 0);
        self.filter[22] = one;
        self.filter[23] = other;
        let pairs = self.filter.as_chunks::<2>().0;
        pairs
            .iter()
            .zip(QMF.iter().zip(QMF.iter().rev()))
            .fold((0, 0), |(even, odd), ([one, other], (a, b))| (even + one * a, odd + other * b))
    }

    fn adapt_low(&mut self, code: i32) {
        let code = code >> 2;
        let difference = scaled(self.low.step, look_up(&QM4, code)); // INVQAL
        self.low.adapt_step(look_up(&WL, code), 18_432, 8);
        self.low.predict(difference);
    }

    fn adapt_high(&mut self, code: i32, difference: i32) {
        self.high.adapt_step(look_up(&WH, code), 22_528, 10);
        self.high.predict(difference);
    }
}

/// The encoder.
#[derive(Clone, Debug)]
pub struct Encoder(State);

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// In its initial state.
    #[must_use]
    pub fn new() -> Self {
        Self(State::new())
    }

    /// Encodes samples of 16 kHz, two to an octet; the last of an odd number is left out.
    pub fn encode(&mut self, samples: &[i16], octets: &mut Vec<u8>) {
        octets.extend(samples.as_chunks::<2>().0.iter().map(|[one, other]| self.pair(*one, *other)));
    }

    fn pair(&mut self, one: i16, other: i16) -> u8 {
        let (even, odd) = self.0.filter(one.into(), other.into());
        let (low, high) = ((odd + even) >> 14, (odd - even) >> 14);
        // QUANTL: the first decision level above the difference.
        let difference = saturate(low - self.0.low.predicted);
        let magnitude = if difference < 0 { !difference } else { difference };
        let step = self.0.low.step;
        let level = Q6.iter().position(|level| magnitude < (level * step) >> 12).unwrap_or(Q6.len()) as i32;
        let low_code = match (difference < 0, level) {
            (true, 0) => 63,
            (true, 1) => 62,
            (true, level) => 33 - level,
            (false, level) => 61 - level,
        };
        self.0.adapt_low(low_code);
        // QUANTH
        let difference = saturate(high - self.0.high.predicted);
        let magnitude = if difference < 0 { !difference } else { difference };
        let far = magnitude >= (564 * self.0.high.step) >> 12;
        let high_code = match (difference < 0, far) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        let difference = scaled(self.0.high.step, look_up(&QM2, high_code));
        self.0.adapt_high(high_code, difference);
        ((high_code << 6) | low_code) as u8
    }
}

/// The decoder.
#[derive(Clone, Debug)]
pub struct Decoder(State);

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// In its initial state.
    #[must_use]
    pub fn new() -> Self {
        Self(State::new())
    }

    /// Decodes octets, two samples of 16 kHz each.
    pub fn decode(&mut self, octets: &[u8], samples: &mut Vec<i16>) {
        samples.extend(octets.iter().flat_map(|octet| self.pair(i32::from(*octet))));
    }

    fn pair(&mut self, code: i32) -> [i16; 2] {
        let (low_code, high_code) = (code & 0x3f, code >> 6);
        // INVQBL, LIMIT
        let low = self.0.low.predicted + scaled(self.0.low.step, look_up(&QM6, low_code));
        let low = low.clamp(-16_384, 16_383);
        self.0.adapt_low(low_code);
        let difference = scaled(self.0.high.step, look_up(&QM2, high_code));
        let high = (self.0.high.predicted + difference).clamp(-16_384, 16_383);
        self.0.adapt_high(high_code, difference);
        let (even, odd) = self.0.filter(low + high, low - high);
        [saturate(odd >> 11) as i16, saturate(even >> 11) as i16]
    }
}
