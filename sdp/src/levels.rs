//! How large and how fast a picture a codec's parameters allow, in the words of `a=rid` (RFC 8851 §8).
//!
//! | codec | parameters | restrictions |
//! |---|---|---|
//! | H.264 (RFC 6184 §8.1) | the level of `profile-level-id` and `max-recv-level`; `max-fs`, `max-mbps`, `max-br` beyond it | `max-fs`, `max-width`, `max-height`, `max-pps`, `max-br` |
//! | VP8 (RFC 7741 §6.1) | `max-fs`, `max-fr` | `max-fs`, `max-width`, `max-height`, `max-fps` |
//!
//! `max-smbps` of H.264 is left out: it holds for macroblocks that do not change.

use crate::Codec;
use crate::attributes::{Restriction, Restrictions};
use crate::parameters::{level, profile_level_id};

/// Pixels of a macroblock, and of its sides.
const MACROBLOCK: u64 = 256;
const SIDE: u64 = 16;

/// ITU-T H.264, Table A-1: the level as [`level`] gives it, macroblocks in a second (MaxMBPS), macroblocks of a frame (MaxFS), and
/// the bit rate (MaxBR), which counts in 1000 bits or more by profile.
const H264_LEVELS: [(u16, u64, u64, u64); 20] = [
    (100, 1_485, 99, 64),
    (105, 1_485, 99, 128), // 1b
    (110, 3_000, 396, 192),
    (120, 6_000, 396, 384),
    (130, 11_880, 396, 768),
    (200, 11_880, 396, 2_000),
    (210, 19_800, 792, 4_000),
    (220, 20_250, 1_620, 4_000),
    (300, 40_500, 1_620, 10_000),
    (310, 108_000, 3_600, 14_000),
    (320, 216_000, 5_120, 20_000),
    (400, 245_760, 8_192, 20_000),
    (410, 245_760, 8_192, 50_000),
    (420, 522_240, 8_704, 50_000),
    (500, 589_824, 22_080, 135_000),
    (510, 983_040, 36_864, 240_000),
    (520, 2_073_600, 36_864, 240_000),
    (600, 4_177_920, 139_264, 240_000),
    (610, 8_355_840, 139_264, 480_000),
    (620, 16_711_680, 139_264, 800_000),
];

/// ITU-T H.264, Table A-2, cpbBrNalFactor: what MaxBR counts in for NAL units, which are what RTP carries.
fn bits_of_max_br(profile: u8) -> u64 {
    match profile {
        100 => 1500,
        110 => 3600,
        122 | 244 | 44 => 4800,
        _ => 1200,
    }
}

impl Codec {
    /// What the parameters allow of a picture, as restrictions (RFC 8851 §8.1, §8.2): what a receiver that says them can take. None
    /// of those that nothing is said of; a codec that is not known here has none at all.
    pub fn picture_limits(&self) -> Restrictions {
        let is = |name: &str| self.name().eq_ignore_ascii_case(name);
        let mut limits = Restrictions::new();
        let limits_of_frame = |limits: &mut Restrictions, macroblocks: u64| {
            // No side is longer than sqrt(8 * MaxFS) macroblocks: H.264 A.3.1, RFC 7741 §6.1.
            let side = macroblocks.saturating_mul(8).isqrt().saturating_mul(SIDE);
            limits.set(Restriction::MaxFs, Some(macroblocks.saturating_mul(MACROBLOCK)));
            limits.set(Restriction::MaxWidth, Some(side));
            limits.set(Restriction::MaxHeight, Some(side));
        };
        let number = |name: &str| self.parameter(name).and_then(|value| value.parse::<u64>().ok());
        if is("VP8") {
            if let Some(macroblocks) = number("max-fs") {
                limits_of_frame(&mut limits, macroblocks);
            }
            if let Some(rate) = number("max-fr") {
                limits.set(Restriction::MaxFps, Some(rate));
            }
        } else if is("H264") {
            let [profile, constraints, idc] = profile_level_id(self.fmtp());
            let told = level([profile, constraints, idc]);
            // RFC 6184 §8.1: the highest that is received, if it is another.
            let received = self.parameter("max-recv-level").and_then(|text| {
                let [constraints, idc] = u16::from_str_radix(text, 16).ok()?.to_be_bytes();
                Some(level([profile, constraints, idc]))
            });
            let highest = told.max(received.unwrap_or(told));
            let Some((_, rate, frame, bits)) = H264_LEVELS.iter().find(|(level, ..)| *level == highest)
            else {
                return limits;
            };
            // RFC 8851 §8.2.1: the larger of the level's and what is said beyond it.
            let beyond = |name: &str, of_level: u64| number(name).unwrap_or(0).max(of_level);
            limits_of_frame(&mut limits, beyond("max-fs", *frame));
            let rate = beyond("max-mbps", *rate).saturating_mul(MACROBLOCK);
            limits.set(Restriction::MaxPps, Some(rate));
            // max-br counts in 1200 bits whatever the profile (RFC 6184 §8.1).
            let said = number("max-br").unwrap_or(0).saturating_mul(1200);
            let bits = bits.saturating_mul(bits_of_max_br(profile)).max(said);
            limits.set(Restriction::MaxBr, Some(bits));
        }
        limits
    }
}

/// Whether both leave room for a picture: a limit of nothing leaves none (RFC 8851 §6.2.2 step 6, §6.4 steps 6 and 7). Limits from
/// above alone always do, and the smaller one holds (§8).
pub(crate) fn leave_room(codec: &Codec, restrictions: &Restrictions) -> bool {
    restrictions.and(&codec.picture_limits()).known().all(|(_, most)| most != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(name: &'static str, fmtp: &str) -> String {
        Codec::new(name, 90000).with_fmtp(fmtp.to_owned()).picture_limits().to_string()
    }

    #[test]
    fn rfc8851_8_2_the_levels_of_h264_and_what_is_said_beyond_them() {
        let level_3_1 = "max-fs=921600;max-width=2704;max-height=2704;max-pps=27648000;max-br=16800000";
        assert_eq!(limits("H264", "profile-level-id=42e01f"), level_3_1);
        // 1280x720 at 30 is the whole of level 3.1.
        assert_eq!((1280 * 720, 1280 * 720 * 30), (921_600, 27_648_000));
        let high = level_3_1.replace("16800000", "21000000");
        assert_eq!(limits("h264", "profile-level-id=64001f"), high);
        // Beyond the level, and below it, where it is not heard.
        let more = "profile-level-id=42e01f;max-fs=8192;max-mbps=245760;max-br=20000";
        assert_eq!(
            limits("H264", more),
            "max-fs=2097152;max-width=4096;max-height=4096;max-pps=62914560;max-br=24000000"
        );
        assert_eq!(limits("H264", "profile-level-id=42e01f;max-fs=99;max-mbps=x;max-br=1"), level_3_1);
        // Without a level 1 is meant; 1b is written in two ways; another level for what is received.
        let first = "max-fs=25344;max-width=448;max-height=448;max-pps=380160;max-br=76800";
        assert_eq!(limits("H264", ""), first);
        assert_eq!(limits("H264", "profile-level-id=42f00b"), first.replace("76800", "153600"));
        assert_eq!(limits("H264", "profile-level-id=42e00a;max-recv-level=e01f"), level_3_1);
        assert_eq!(limits("H264", "profile-level-id=42e01f;max-recv-level=e00a"), level_3_1);
        assert_eq!(limits("H264", "profile-level-id=42e0ff"), "", "no such level");
    }

    #[test]
    fn rfc8851_8_1_the_parameters_of_vp8() {
        // The example of RFC 7741 §6.1.
        assert_eq!(
            limits("VP8", "max-fr=30;max-fs=1200"),
            "max-fs=307200;max-width=1552;max-height=1552;max-fps=30"
        );
        assert_eq!(
            (limits("vp8", "max-fr=15"), limits("VP8", "max-fs=x"), limits("opus", "max-fs=3")),
            ("max-fps=15".into(), String::new(), String::new())
        );
    }

    proptest! {
        #[test]
        fn any_parameters_give_limits_or_none(name in "H264|VP8|x", fmtp in "((max-(fs|fr|mbps|br|recv-level)|profile-level-id)=[0-9a-f]{0,20};?){0,4}") {
            let codec = Codec::new(name, 90000).with_fmtp(fmtp);
            let limits = codec.picture_limits();
            prop_assert_eq!(&limits.and(&limits), &limits);
        }
    }
}
