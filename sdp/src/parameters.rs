//! Format parameters (`a=fmtp`) that decide whether two descriptions mean one format, and what an answer makes of them.
//!
//! | format | must agree | the answer | else declarative |
//! |---|---|---|---|
//! | H.264 (RFC 6184 §8.2.2) | profile, `packetization-mode` | the lower level, unless both allow asymmetry | `max-*`, `sprop-*` |
//! | H.265 (RFC 7798 §7.2.2) | `profile-space`, `profile-id`, `tier-flag` | | levels, `sprop-*` |
//! | VP9 (RFC 9628 §6.2), AV1 | `profile-id`; `profile` | | levels |
//! | AMR, AMR-WB (RFC 4867 §8.3.1) | `octet-align`, `crc`, `robust-sorting`, `interleaving`; `mode-set` if both state one | takes over a `mode-set` | `mode-change-*` |
//! | G.729 (RFC 4856 §2.1.9, RFC 7261 §3) | | `annexb=no` if one says so | |
//! | iLBC (RFC 3952 §5) | | `mode=30` if one says so | |
//! | G.722.1, MPEG4-GENERIC | `bitrate`; `mode`, `config` | | |
//! | rtx (RFC 4588 §8.6) | the codec that `apt` leads to | its own `apt` | `rtx-time` |
//! | Opus (RFC 7587 §7.1) | | | all |
//! | telephone-event (RFC 4733 §7.1.1) | | | the events |

use std::borrow::Cow;

/// The value of a parameter in `name=value;name=value`, letter case of the name aside; empty for a bare name.
pub(crate) fn parameter<'a>(fmtp: Option<&'a str>, name: &str) -> Option<&'a str> {
    fmtp?.split(';').map(str::trim).find_map(|parameter| match parameter.split_once('=') {
        Some((key, value)) => key.trim_end().eq_ignore_ascii_case(name).then(|| value.trim()),
        None => parameter.eq_ignore_ascii_case(name).then_some(""),
    })
}

/// The formats whose parameters matter here.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    H264,
    H265,
    Vp9,
    Av1,
    Amr,
    G729,
    Ilbc,
    G7221,
    Mpeg4,
    Rtx,
    Other,
}

fn family(name: &str) -> Family {
    const NAMES: [(&str, Family); 11] = [
        ("H264", Family::H264),
        ("H265", Family::H265),
        ("VP9", Family::Vp9),
        ("AV1", Family::Av1),
        ("AMR", Family::Amr),
        ("AMR-WB", Family::Amr),
        ("G729", Family::G729),
        ("iLBC", Family::Ilbc),
        ("G7221", Family::G7221),
        ("MPEG4-GENERIC", Family::Mpeg4),
        ("rtx", Family::Rtx),
    ];
    let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map_or(Family::Other, |(_, family)| *family)
}

/// Whether formats of one name, rate and channel count are one format with these parameters.
pub(crate) fn compatible(name: &str, one: Option<&str>, two: Option<&str>) -> bool {
    if one == two {
        return true;
    }
    let agree = |key: &str, default: &str| {
        let [one, two] = [one, two].map(|fmtp| parameter(fmtp, key).unwrap_or(default));
        one.eq_ignore_ascii_case(two)
    };
    match family(name) {
        Family::H264 => agree("packetization-mode", "0") && Profile::of(one) == Profile::of(two),
        Family::H265 => agree("profile-space", "0") && agree("profile-id", "1") && agree("tier-flag", "0"),
        Family::Vp9 => agree("profile-id", "0"),
        Family::Av1 => agree("profile", "0"),
        Family::Amr => {
            let mode_sets = [one, two].map(|fmtp| parameter(fmtp, "mode-set"));
            let sets_agree = matches!(mode_sets, [None, _] | [_, None]) || mode_sets[0] == mode_sets[1];
            let interleaving = [one, two].map(|fmtp| parameter(fmtp, "interleaving").is_some());
            // CRC, robust sorting and interleaving imply octet alignment (RFC 4867 §8.1).
            let aligned = [one, two].map(|fmtp| {
                let on = |key| parameter(fmtp, key) == Some("1");
                on("octet-align")
                    || on("crc")
                    || on("robust-sorting")
                    || parameter(fmtp, "interleaving").is_some()
            });
            sets_agree
                && interleaving[0] == interleaving[1]
                && aligned[0] == aligned[1]
                && agree("crc", "0")
                && agree("robust-sorting", "0")
        }
        Family::G7221 => agree("bitrate", ""),
        Family::Mpeg4 => agree("mode", "") && agree("config", ""),
        Family::Rtx => false, // numbers mean what they do in one description
        Family::G729 | Family::Ilbc | Family::Other => true,
    }
}

/// What the answer says to an offered format that is [`compatible`], if it is not just `ours`.
pub(crate) fn answer(name: &str, offered: Option<&str>, ours: Option<&str>) -> Option<Cow<'static, str>> {
    match family(name) {
        Family::G729 => {
            let no = |fmtp| parameter(fmtp, "annexb").is_some_and(|value| value.eq_ignore_ascii_case("no"));
            (no(offered) && !no(ours)).then_some(Cow::Borrowed("annexb=no"))
        }
        Family::Ilbc => {
            let slow = |fmtp| parameter(fmtp, "mode") == Some("30");
            // RFC 3952 §5: without the parameter, 30 ms is meant.
            let slow_offer = slow(offered) || parameter(offered, "mode").is_none();
            (slow_offer && parameter(ours, "mode").is_some() && !slow(ours))
                .then_some(Cow::Borrowed("mode=30"))
        }
        Family::Amr => {
            let set = parameter(offered, "mode-set").filter(|_| parameter(ours, "mode-set").is_none())?;
            Some(Cow::Owned(match ours {
                Some(ours) if !ours.is_empty() => format!("{ours}; mode-set={set}"),
                _ => format!("mode-set={set}"),
            }))
        }
        Family::H264 => h264(offered, ours),
        _ => None,
    }
}

/// RFC 6184 §8.1: what is meant without `profile-level-id`: Baseline, level 1.
const DEFAULT_PROFILE_LEVEL_ID: [u8; 3] = [0x42, 0, 10];
const BASELINE: u8 = 0x42;
const MAIN: u8 = 0x4d;
const EXTENDED: u8 = 0x58;

pub(crate) fn profile_level_id(fmtp: Option<&str>) -> [u8; 3] {
    let read = |text: &str| {
        let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 6)?;
        let [_, profile, constraints, level] = number.to_be_bytes();
        Some([profile, constraints, level])
    };
    parameter(fmtp, "profile-level-id").and_then(read).unwrap_or(DEFAULT_PROFILE_LEVEL_ID)
}

/// The profiles that several spellings of `profile-level-id` mean (RFC 6184 §8.1, Table 5).
#[derive(PartialEq)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    Extended,
    /// High and beyond: each spelling is one.
    Exactly(u8, u8),
}

impl Profile {
    fn of(fmtp: Option<&str>) -> Self {
        let [profile, constraints, _] = profile_level_id(fmtp);
        let set = |bit: u8| constraints & (0x80 >> bit) != 0;
        match profile {
            BASELINE if set(1) => Profile::ConstrainedBaseline,
            MAIN if set(0) => Profile::ConstrainedBaseline,
            EXTENDED if set(0) && set(1) => Profile::ConstrainedBaseline,
            BASELINE => Profile::Baseline,
            EXTENDED if set(0) => Profile::Baseline,
            MAIN => Profile::Main,
            EXTENDED => Profile::Extended,
            _ => Profile::Exactly(profile, constraints),
        }
    }
}

/// Tenths of a level; 1b, which three profiles write as level 11 with constraint_set3, is between 1 and 1.1.
pub(crate) fn level([profile, constraints, level]: [u8; 3]) -> u16 {
    let is_1b = level == 9
        || (level == 11 && constraints & 0x10 != 0 && matches!(profile, BASELINE | MAIN | EXTENDED));
    if is_1b { 105 } else { u16::from(level).saturating_mul(10) }
}

/// RFC 6184 §8.2.2: the level is one for both directions, that of the lower side, unless both allow asymmetry.
fn h264(offered: Option<&str>, ours: Option<&str>) -> Option<Cow<'static, str>> {
    let allows = |fmtp| parameter(fmtp, "level-asymmetry-allowed") == Some("1");
    if allows(offered) && allows(ours) {
        return None;
    }
    let (theirs, own) = (profile_level_id(offered), profile_level_id(ours));
    let lower = level(theirs) < level(own);
    if !lower && !allows(ours) {
        return None;
    }
    let [profile, constraints, level] = if lower { theirs } else { own };
    let mut text = format!("profile-level-id={profile:02x}{constraints:02x}{level:02x}");
    for kept in ours.unwrap_or_default().split(';').map(str::trim).filter(|kept| !kept.is_empty()) {
        let name = kept.split('=').next().unwrap_or_default().trim_end();
        let replaced = ["profile-level-id", "level-asymmetry-allowed"];
        if !replaced.iter().any(|replaced| replaced.eq_ignore_ascii_case(name)) {
            text.push(';');
            text.push_str(kept);
        }
    }
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_format(name: &str, one: &str, two: &str) -> bool {
        let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let both = [one, two].map(|text| some(Box::leak(text.to_owned().into_boxed_str())));
        assert_eq!(compatible(name, both[0], both[1]), compatible(name, both[1], both[0]), "symmetric");
        compatible(name, both[0], both[1])
    }

    #[test]
    fn parameters_are_found_whatever_spaces_and_letters() {
        let fmtp = Some(" Profile-Level-ID = 42e01f ;packetization-mode=1; stereo");
        assert_eq!(parameter(fmtp, "profile-level-id"), Some("42e01f"));
        assert_eq!(parameter(fmtp, "packetization-mode"), Some("1"));
        assert_eq!(parameter(fmtp, "stereo"), Some(""));
        assert_eq!(parameter(fmtp, "level"), None);
    }

    #[test]
    fn h264_is_one_format_by_profile_and_packetization_mode_rfc_6184_section_8_2_2() {
        let cases = [
            (
                "profile-level-id=42e01f;packetization-mode=1",
                "packetization-mode=1;profile-level-id=42C00D",
                true,
            ),
            ("profile-level-id=42e01f;packetization-mode=1", "profile-level-id=42e01f", false),
            ("profile-level-id=42e01f", "profile-level-id=42001f", false),
            ("profile-level-id=42e01f", "profile-level-id=4d801f", true),
            ("profile-level-id=42001f", "profile-level-id=58801f", true),
            ("profile-level-id=4d001f", "profile-level-id=640c1f", false),
            ("profile-level-id=64001f", "profile-level-id=640028", true),
            ("profile-level-id=64001f", "profile-level-id=640c28", false),
            ("", "profile-level-id=42000a", true),
            ("packetization-mode=0", "", true),
            ("profile-level-id=zz", "", true),
        ];
        for (one, two, same) in cases {
            assert_eq!(one_format("h264", one, two), same, "{one} {two}");
        }
    }

    #[test]
    fn the_lower_level_is_answered_unless_both_allow_asymmetry_rfc_6184_section_8_2_2() {
        let asymmetric = "level-asymmetry-allowed=1;profile-level-id=42e01f;packetization-mode=1";
        assert_eq!(answer("H264", Some(asymmetric), Some(asymmetric)), None);
        let low = Some("profile-level-id=42e00d;packetization-mode=1");
        let given = answer("H264", low, Some(asymmetric));
        assert_eq!(given.as_deref(), Some("profile-level-id=42e00d;packetization-mode=1"));
        assert_eq!(answer("H264", Some(asymmetric), low), None, "ours is the lower one");
        let high = Some("profile-level-id=42e033;packetization-mode=1");
        let given = answer("H264", high, Some(asymmetric));
        assert_eq!(given.as_deref(), Some("profile-level-id=42e01f;packetization-mode=1"));
        assert!(
            level([0x42, 0x10, 11]) < level([0x42, 0, 11]) && level([0x42, 0x10, 11]) > level([0x42, 0, 10])
        );
    }

    #[test]
    fn amr_agrees_on_its_framing_rfc_4867_section_8_3_1() {
        assert!(one_format("AMR", "octet-align=1", "octet-align=1; mode-change-capability=2"));
        assert!(!one_format("AMR", "octet-align=1", ""));
        assert!(!one_format("AMR-WB", "octet-align=1;crc=1", "octet-align=1"));
        assert!(one_format("AMR-WB", "mode-set=0,2", ""));
        assert!(!one_format("AMR-WB", "mode-set=0,2", "mode-set=0,1"));
        assert_eq!(answer("AMR", Some("mode-set=7"), None).as_deref(), Some("mode-set=7"));
        let aligned = Some("octet-align=1");
        assert_eq!(
            answer("AMR", Some("octet-align=1;mode-set=7"), aligned).as_deref(),
            Some("octet-align=1; mode-set=7")
        );
    }

    #[test]
    fn one_no_suffices_for_g729_annex_b_and_30_ms_for_ilbc() {
        assert!(one_format("G729", "annexb=no", ""));
        assert_eq!(answer("G729", Some("annexb=no"), None).as_deref(), Some("annexb=no"));
        assert_eq!(answer("G729", None, Some("annexb=no")), None);
        assert_eq!(answer("iLBC", None, Some("mode=20")).as_deref(), Some("mode=30"));
        assert_eq!(answer("iLBC", Some("mode=20"), Some("mode=20")), None);
    }

    #[test]
    fn opus_and_events_are_declarative_rfc_7587_section_7_1() {
        assert!(one_format("opus", "stereo=1;useinbandfec=1", "maxplaybackrate=16000"));
        assert!(one_format("telephone-event", "0-15", "0-16,66"));
        assert!(one_format("VP9", "", "profile-id=0") && !one_format("VP9", "profile-id=2", ""));
        assert!(
            one_format("AV1", "level-idx=5;profile=0;tier=0", "") && !one_format("H265", "profile-id=2", "")
        );
        assert_eq!(answer("opus", Some("stereo=1"), Some("useinbandfec=1")), None);
    }
}
