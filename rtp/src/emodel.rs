//! The E-model of ITU-T G.107: an *estimate* of conversational quality from delay, loss and codec.
//!
//! It plans networks, it does not measure what anybody heard: two calls with the same figures can sound
//! different. All parameters not named here stay at the default values of G.107 table 2.

use std::time::Duration;

/// Equipment impairment of a codec (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// Ie: impairment without loss.
    pub impairment: f64,
    /// Bpl: robustness against random loss.
    pub loss_robustness: f64,
}

impl Codec {
    /// G.711 where lost packets are silence.
    pub const G711: Self = Self { impairment: 0.0, loss_robustness: 4.3 };
    /// G.711 with concealment as of its appendix I, 10 ms frames.
    pub const G711_CONCEALED: Self = Self { impairment: 0.0, loss_robustness: 25.1 };
    /// G.722 at 64 kbit/s and linear samples, with concealment. An estimate: G.113 gives wideband codecs values on the scale
    /// of wideband alone (G.107.1), on which narrow-band G.711 is the worse one; on this scale neither takes anything away.
    pub const WIDEBAND: Self = Self { impairment: 0.0, loss_robustness: 25.1 };
    /// Opus near 32 kbit/s with its own concealment. An estimate: G.113 has no values for it. Loss that in-band FEC repairs
    /// does not count as loss.
    pub const OPUS: Self = Self { impairment: 2.0, loss_robustness: 20.0 };
}

/// What varies from call to call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// One-way delay mouth to ear: network, jitter buffer, packetization.
    pub delay: Duration,
    /// Share of packets lost or late, 0 to 1.
    pub loss: f64,
    /// BurstR: mean length of observed bursts over that of random loss; 1 for random loss.
    pub burst_ratio: f64,
    /// The codec.
    pub codec: Codec,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { delay: Duration::ZERO, loss: 0.0, burst_ratio: 1.0, codec: Codec::G711 }
    }
}

/// Rating factor R and the mean opinion score that it stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// R, 0 (worst) to 93.2 (narrow-band best).
    pub r_factor: f64,
    /// Estimated conversational MOS, 1 to 4.5.
    pub mos: f64,
}

/// The worst: nothing was heard.
impl Default for Quality {
    fn default() -> Self {
        Self { r_factor: 0.0, mos: 1.0 }
    }
}

// G.107 table 2, in its own symbols.
const SLR: f64 = 8.0;
const RLR: f64 = 2.0;
const STMR: f64 = 15.0;
const DS: f64 = 3.0;
const DR: f64 = 3.0;
const TELR: f64 = 65.0;
const WEPL: f64 = 110.0;
const QDU: f64 = 1.0;
const NC: f64 = -70.0;
const NFOR: f64 = -64.0;
const PS: f64 = 35.0;
const PR: f64 = 35.0;

/// Sum of powers given in decibel.
fn power_sum(levels: &[f64]) -> f64 {
    10.0 * levels.iter().map(|level| 10f64.powf(level / 10.0)).sum::<f64>().log10()
}

/// Estimates quality (G.107 §7).
///
/// ```
/// use rtp::emodel::{Conditions, estimate};
/// let quality = estimate(&Conditions::default());
/// assert!((quality.r_factor - 93.2).abs() < 0.05 && (quality.mos - 4.41).abs() < 0.005);
/// ```
#[must_use]
pub fn estimate(conditions: &Conditions) -> Quality {
    let olr = SLR + RLR;
    // Ro: signal-to-noise ratio (§7.2).
    let nos = PS - SLR - DS - 100.0 + 0.004 * (PS - olr - DS - 14.0).powi(2);
    let pre = PR + 10.0 * (1.0 + 10f64.powf((10.0 - (STMR + DR)) / 10.0)).log10();
    let nor = RLR - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
    let no = power_sum(&[NC, nos, nor, NFOR + RLR]);
    let ro = 15.0 - 1.5 * (SLR + no);

    let delay = conditions.delay.as_secs_f64() * 1000.0;
    let impairments = simultaneous(ro, no, olr) + delayed(ro, no, delay) + equipment(conditions);
    let r_factor = (ro - impairments).clamp(0.0, 100.0);
    Quality { r_factor, mos: mean_opinion_score(r_factor) }
}

/// Is: impairments that occur with the voice (§7.3).
fn simultaneous(ro: f64, no: f64, olr: f64) -> f64 {
    let xolr = (olr + 0.2 * (64.0 + no - RLR)) / 8.0;
    let loudness = 20.0 * ((1.0 + xolr.powi(8)).powf(1.0 / 8.0) - xolr);
    // With no echo path delay (T = 0) talker echo adds to the side tone.
    let stmro = -10.0 * (10f64.powf(-STMR / 10.0) + 10f64.powf(-TELR / 10.0)).log10();
    let side_tone = 12.0 * (1.0 + ((stmro - 13.0) / 6.0).powi(8)).powf(1.0 / 8.0)
        - 28.0 * (1.0 + ((stmro + 1.0) / 19.4).powi(35)).powf(1.0 / 35.0)
        - 13.0 * (1.0 + ((stmro - 3.0) / 33.0).powi(13)).powf(1.0 / 13.0)
        + 29.0;
    let q = 37.0 - 15.0 * QDU.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    let quantization = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
    loudness + side_tone + quantization
}

/// Id: impairments by delay (§7.4), with T = Ta and Tr = 2 T as for a symmetric path.
fn delayed(ro: f64, no: f64, delay: f64) -> f64 {
    let terv = TELR - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10()
        + 6.0 * (-0.3 * delay * delay).exp();
    let roe = -1.5 * (no - RLR);
    let re = 80.0 + 2.5 * (terv - 14.0);
    let difference = (roe - re) / 2.0;
    let talker_echo = (difference + (difference * difference + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp());
    let rle = 10.5 * (WEPL + 7.0) * (2.0 * delay + 1.0).powf(-0.25);
    let difference = (ro - rle) / 2.0;
    let listener_echo = difference + (difference * difference + 169.0).sqrt();
    let too_long = if delay <= 100.0 {
        0.0
    } else {
        let x = (delay / 100.0).log2();
        25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
    };
    talker_echo + listener_echo + too_long
}

/// Ie-eff: codec and packet loss (§7.5).
fn equipment(conditions: &Conditions) -> f64 {
    let Codec { impairment, loss_robustness } = conditions.codec;
    let percent = if conditions.loss.is_finite() { conditions.loss.clamp(0.0, 1.0) * 100.0 } else { 100.0 };
    if percent == 0.0 {
        return impairment;
    }
    let burst_ratio = conditions.burst_ratio.max(1.0);
    impairment + (95.0 - impairment) * percent / (percent / burst_ratio + loss_robustness)
}

/// MOS_CQE of an R factor (G.107 annex B).
#[must_use]
pub fn mean_opinion_score(r_factor: f64) -> f64 {
    if r_factor <= 0.0 {
        1.0
    } else if r_factor >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * r_factor + r_factor * (r_factor - 60.0) * (100.0 - r_factor) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(conditions: Conditions) -> f64 {
        estimate(&conditions).r_factor
    }

    #[test]
    fn g107_table_2_defaults_give_93_2_and_4_41() {
        let quality = estimate(&Conditions::default());
        assert!((quality.r_factor - 93.2).abs() < 0.05, "{quality:?}");
        assert!((quality.mos - 4.41).abs() < 0.005, "{quality:?}");
    }

    #[test]
    fn g107_annex_b_table_of_user_satisfaction() {
        // R and MOS of table B.1, which is rounded.
        for (r_factor, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            assert!((mean_opinion_score(r_factor) - mos).abs() < 0.01, "{r_factor}");
        }
        assert_eq!((mean_opinion_score(-1.0), mean_opinion_score(100.0)), (1.0, 4.5));
    }

    #[test]
    fn g113_loss_on_g711_without_and_with_concealment() {
        let lossy = |loss, codec| r(Conditions { loss, codec, ..Conditions::default() });
        let clean = r(Conditions::default());
        // Ie-eff = 95 * Ppl / (Ppl + Bpl).
        assert!((clean - lossy(0.01, Codec::G711) - 95.0 / 5.3).abs() < 1e-9);
        assert!((clean - lossy(0.05, Codec::G711_CONCEALED) - 95.0 * 5.0 / 30.1).abs() < 1e-9);
    }

    #[test]
    fn g107_7_4_longer_delay_never_helps_and_hurts_from_150_ms() {
        let delayed = |milliseconds| {
            r(Conditions { delay: Duration::from_millis(milliseconds), ..Conditions::default() })
        };
        let mut previous = delayed(0);
        for milliseconds in (10..1000).step_by(10) {
            let now = delayed(milliseconds);
            assert!(now <= previous + 0.05, "{milliseconds} ms: {now} after {previous}");
            previous = now;
        }
        // Idd(200 ms) is 3.04, and echo at TELR 65 dB adds some more.
        assert!((80.0..87.5).contains(&delayed(200)), "{}", delayed(200));
        assert!(delayed(400) < 70.0);
    }

    #[test]
    fn nonsense_stays_in_range() {
        for loss in [-1.0, 2.0, f64::NAN, f64::INFINITY] {
            let quality = estimate(&Conditions { loss, delay: Duration::MAX, ..Conditions::default() });
            assert!(
                (0.0..=100.0).contains(&quality.r_factor) && (1.0..=4.5).contains(&quality.mos),
                "{quality:?}"
            );
        }
    }
}
