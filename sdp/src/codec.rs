//! Codecs as SDP names them: `a=rtpmap`, `a=fmtp`, and the numbers that RFC 3551 gave away for good.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use crate::events::EventSet;
use crate::parameters;

/// The name of the RTP payload format for DTMF digits and other events (RFC 4733 §7.1.1).
pub const TELEPHONE_EVENT: &str = "telephone-event";
/// The name of the RTP payload format for comfort noise (RFC 3389).
const COMFORT_NOISE: &str = "CN";

/// The name of the RTP payload format for redundancy (RFC 2198 §5).
const REDUNDANCY: &str = "red";
/// The name of the RTP payload format for retransmission (RFC 4588 §8.2).
const RETRANSMISSION: &str = "rtx";

const G722: &str = "G722";

/// A codec: what `a=rtpmap` and `a=fmtp` say of it, without a payload type number.
///
/// Two descriptions name the same codec when [`Codec::matches`]: equal name (letter case aside), clock rate and channels. They
/// mean the same format when [`Codec::is_compatible`]: the parameters that have to agree do so as well.
///
/// Cheap to clone: a session mentions the same few codecs in many places, for as long as it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Codec(Arc<Text>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text {
    name: Cow<'static, str>,
    clock_rate: u32,
    channels: u8,
    fmtp: Option<Cow<'static, str>>,
}

/// What nearly every call is about.
static USUAL: LazyLock<[Codec; 3]> = LazyLock::new(|| {
    let events = Text { fmtp: Some(Cow::Borrowed(DTMF)), ..Text::new(TELEPHONE_EVENT, 8000) };
    [Codec::new("PCMU", 8000), Codec::new("PCMA", 8000), Codec(Arc::new(events))]
});
/// [`EventSet::DTMF`](crate::EventSet::DTMF), written.
const DTMF: &str = "0-15";

impl Text {
    fn new(name: impl Into<Cow<'static, str>>, clock_rate: u32) -> Self {
        Self { name: name.into(), clock_rate, channels: 1, fmtp: None }
    }

    fn is(&self, name: &str, clock_rate: u32, channels: u8) -> bool {
        self.name == name && self.clock_rate == clock_rate && self.channels == channels
    }
}

impl Codec {
    /// A codec with one channel and no format parameters. `name` is the encoding name of `a=rtpmap`, `clock_rate` is
    /// the RTP timestamp rate in Hz.
    pub fn new(name: impl Into<Cow<'static, str>>, clock_rate: u32) -> Self {
        Codec(Arc::new(Text::new(name, clock_rate)))
    }

    /// G.711 µ-law at 8 kHz (RFC 3551 §4.5.14).
    pub fn pcmu() -> Self {
        let [pcmu, ..] = &*USUAL;
        pcmu.clone()
    }

    /// G.711 A-law at 8 kHz (RFC 3551 §4.5.14).
    pub fn pcma() -> Self {
        let [_, pcma, _] = &*USUAL;
        pcma.clone()
    }

    /// DTMF events 0–15 at the RTP clock rate of the audio that they go with (RFC 4733 §2.1).
    pub fn telephone_event(clock_rate: u32) -> Self {
        let [.., events] = &*USUAL;
        match clock_rate {
            8000 => events.clone(),
            _ => Codec::new(TELEPHONE_EVENT, clock_rate).with_fmtp(DTMF),
        }
    }

    /// Comfort noise for audio of this clock rate (RFC 3389 §5.1).
    pub fn comfort_noise(clock_rate: u32) -> Self {
        Codec::new(COMFORT_NOISE, clock_rate)
    }

    /// Redundancy (RFC 2198) for codecs of the clock and the channels of `codec`. Its parameters are written by the machine: the
    /// payload type of the codec of its clock that is most wanted.
    pub fn redundancy(codec: &Codec) -> Self {
        Codec::new(REDUNDANCY, codec.clock_rate()).with_channels(codec.channels())
    }

    /// Retransmission of `codec` (RFC 4588 §8), for a stream that has that codec too. Its parameters are written by the machine:
    /// the payload type that is repaired, once it is known.
    pub fn retransmission(codec: &Codec) -> Self {
        Codec::new(RETRANSMISSION, codec.clock_rate()).with_fmtp(codec.in_words())
    }

    /// What a retransmission says until there is a payload type.
    fn in_words(&self) -> String {
        let parameters = self.fmtp().unwrap_or_default();
        format!("apt={}/{}/{} {parameters}", self.name(), self.clock_rate(), self.channels())
    }

    /// Whether this is a retransmission of `codec` that has no payload type yet.
    pub(crate) fn repairs(&self, codec: &Codec) -> bool {
        self.is_retransmission() && self.fmtp().is_some_and(|words| words == codec.in_words())
    }

    /// Whether this is RFC 4588's `rtx`.
    pub fn is_retransmission(&self) -> bool {
        self.0.name.eq_ignore_ascii_case(RETRANSMISSION)
    }

    /// Whether this is RFC 2198's `red`.
    pub fn is_redundancy(&self) -> bool {
        self.0.name.eq_ignore_ascii_case(REDUNDANCY)
    }

    /// G.722 at 16 kHz, whose RTP clock is 8 kHz by an old mistake (RFC 3551 §4.5.2).
    pub fn g722() -> Self {
        Codec::new("G722", 8000)
    }

    /// Opus. Its RTP clock is 48 kHz and its channels are 2, whatever it carries (RFC 7587 §7).
    pub fn opus() -> Self {
        Codec::new("opus", 48000).with_channels(2)
    }

    /// VP8 (RFC 7741).
    pub fn vp8() -> Self {
        Codec::new("VP8", 90000)
    }

    /// H.264 (RFC 6184) of a profile and level in hexadecimal digits, such as `42e01f`, in packets of `packetization_mode`
    /// (0: single NAL units, 1: also aggregated and fragmented ones), with a level of its own for each direction.
    pub fn h264(profile_level_id: &str, packetization_mode: u8) -> Self {
        Codec::new("H264", 90000).with_fmtp(format!(
            "level-asymmetry-allowed=1;packetization-mode={packetization_mode};profile-level-id={profile_level_id}"
        ))
    }

    /// The same codec with `channels` audio channels.
    #[must_use]
    pub fn with_channels(mut self, channels: u8) -> Self {
        if self.0.channels != channels {
            Arc::make_mut(&mut self.0).channels = channels;
        }
        self
    }

    /// The same codec with the format parameters of an `a=fmtp` line (the text after the payload type).
    #[must_use]
    pub fn with_fmtp(mut self, fmtp: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.0).fmtp = Some(fmtp.into());
        self
    }

    /// The encoding name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The RTP timestamp rate in Hz. Never 0 in what was received.
    pub fn clock_rate(&self) -> u32 {
        self.0.clock_rate
    }

    /// Audio channels, 1 unless stated.
    pub fn channels(&self) -> u8 {
        self.0.channels
    }

    /// The format parameters, verbatim.
    pub fn fmtp(&self) -> Option<&str> {
        self.0.fmtp.as_deref()
    }

    /// The value of a parameter of [`fmtp`](Codec::fmtp) written `name=value;name=value`, letter case of the name aside; empty for a
    /// bare name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameters::parameter(self.fmtp(), name)
    }

    /// Whether both name the same codec: name, clock rate and channels agree. Format parameters do not count here.
    pub fn matches(&self, other: &Codec) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.clock_rate == other.0.clock_rate
                && self.0.channels == other.0.channels
                && self.0.name.eq_ignore_ascii_case(&other.0.name))
    }

    /// Whether both mean one format: they [match](Codec::matches), and the parameters that have to agree do, such as profile and
    /// packetization mode of H.264 (RFC 6184 §8.2.2) or the octet alignment of AMR (RFC 4867 §8.3.1).
    pub fn is_compatible(&self, other: &Codec) -> bool {
        self.matches(other) && parameters::compatible(self.name(), self.fmtp(), other.fmtp())
    }

    /// Whether this is RFC 4733's `telephone-event`.
    pub fn is_telephone_event(&self) -> bool {
        self.0.name.eq_ignore_ascii_case(TELEPHONE_EVENT)
    }

    /// Whether a stream can live on this codec alone: events, comfort noise and what repairs others only accompany them.
    pub fn is_primary(&self) -> bool {
        is_primary(&self.0.name)
    }

    /// Reads the value of `a=rtpmap`.
    #[cfg(test)]
    fn from_rtpmap(value: &str) -> Option<(u8, Codec)> {
        let (payload_type, encoding) =
            value.split_once(' ').and_then(|(n, e)| Some((self::payload_type(n)?, e)))?;
        Some((payload_type, Encoding::read(encoding)?.codec(None)))
    }

    pub(crate) fn encoding(&self) -> Encoding<'_> {
        Encoding { name: &self.0.name, clock_rate: self.0.clock_rate, channels: self.0.channels }
    }
}

/// A codec as a description names it, before anybody has to keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding<'a> {
    pub(crate) name: &'a str,
    pub(crate) clock_rate: u32,
    pub(crate) channels: u8,
}

impl<'a> Encoding<'a> {
    /// Reads `<name>/<clock rate>[/<channels>]` of `a=rtpmap` (RFC 8866 §6.6). `None` for what could not be used: a clock
    /// rate of 0, more than 255 channels.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let mut fields = text.trim().split('/');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let clock_rate = fields.next()?.parse::<u32>().ok().filter(|rate| *rate > 0)?;
        let channels = match fields.next() {
            None | Some("") => 1,
            Some(channels) => channels.parse::<u8>().ok().filter(|count| *count > 0)?,
        };
        // Some write the sampling rate of G.722, which RFC 3551 §4.5.2 rules out.
        let clock_rate =
            if clock_rate == 16000 && name.eq_ignore_ascii_case(G722) { 8000 } else { clock_rate };
        Some(Encoding { name, clock_rate, channels })
    }

    pub(crate) fn matches(&self, codec: &Codec) -> bool {
        self.clock_rate == codec.0.clock_rate
            && self.channels == codec.0.channels
            && self.name.eq_ignore_ascii_case(&codec.0.name)
    }

    pub(crate) fn codec(&self, fmtp: Option<&str>) -> Codec {
        let Encoding { name, clock_rate, channels } = *self;
        let usual = USUAL.iter().find(|usual| usual.0.is(name, clock_rate, channels));
        if let Some(usual) = usual.filter(|usual| usual.0.fmtp.as_deref() == fmtp) {
            return usual.clone();
        }
        let fmtp = fmtp.map(|fmtp| Cow::Owned(fmtp.to_owned()));
        Codec(Arc::new(Text { name: Cow::Owned(name.to_owned()), clock_rate, channels, fmtp }))
    }

    /// What RFC 3551 §6 fixed for a payload type.
    pub(crate) fn fixed(payload_type: u8) -> Option<Self> {
        let (_, name, clock_rate, channels) = STATIC.iter().find(|(number, ..)| *number == payload_type)?;
        Some(Encoding { name, clock_rate: *clock_rate, channels: *channels })
    }
}

/// Formats that only accompany others: events, comfort noise (RFC 3389), redundancy (RFC 2198), retransmission (RFC 4588) and
/// forward error correction (RFC 5109, RFC 8627).
const COMPANIONS: [&str; 6] =
    [TELEPHONE_EVENT, COMFORT_NOISE, REDUNDANCY, RETRANSMISSION, "ulpfec", "flexfec"];

fn is_primary(name: &str) -> bool {
    !COMPANIONS.iter().any(|companion| companion.eq_ignore_ascii_case(name))
}

/// A codec under the payload type number that one direction of one stream uses for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// The RTP payload type, 0–127.
    pub payload_type: u8,
    /// What it stands for.
    pub codec: Codec,
}

/// `telephone-event` under the payload type number that one direction of one stream uses for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventPayload {
    /// The RTP payload type, 0–127.
    pub payload_type: u8,
    /// The RTP timestamp rate in Hz, equal to that of the audio it goes with.
    pub clock_rate: u32,
    /// The events that the receiving side takes.
    pub events: EventSet,
}

/// Reads an RTP payload type number.
pub(crate) fn payload_type(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|number| *number < 128)
}

/// First payload type without a fixed meaning (RFC 3551 §6).
pub(crate) const FIRST_DYNAMIC: u8 = 96;

/// RFC 3551 §6, tables 4 and 5: payload types that need no `a=rtpmap`.
static STATIC: [(u8, &str, u32, u8); 23] = [
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
    (25, "CelB", 90000, 1),
    (26, "JPEG", 90000, 1),
    (28, "nv", 90000, 1),
    (31, "H261", 90000, 1),
    (32, "MPV", 90000, 1),
    (34, "H263", 90000, 1),
];

/// The codec that RFC 3551 §6 fixed for `payload_type`, if any.
pub fn static_codec(payload_type: u8) -> Option<Codec> {
    Encoding::fixed(payload_type).map(|encoding| encoding.codec(None))
}

/// The payload type that RFC 3551 §6 fixed for `codec`, if any.
pub fn static_payload_type(codec: &Codec) -> Option<u8> {
    let found = STATIC.iter().find(|(_, name, rate, channels)| {
        codec.name().eq_ignore_ascii_case(name)
            && codec.clock_rate() == *rate
            && codec.channels() == *channels
    });
    found.map(|(number, ..)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtpmap_is_read_as_rfc_8866_section_6_6_writes_it() {
        let (number, codec) = Codec::from_rtpmap("97 opus/48000/2").unwrap();
        assert_eq!((number, codec.name(), codec.clock_rate(), codec.channels()), (97, "opus", 48000, 2));
        assert_eq!(codec, Codec::opus());
        assert_eq!(Codec::from_rtpmap("9 G722/16000").unwrap().1, Codec::g722());
        assert_eq!(Codec::from_rtpmap("0 PCMU/8000/1").unwrap().1, Codec::pcmu());
        for unusable in [
            "",
            "97",
            "97 opus",
            "128 opus/48000",
            "97 opus/0",
            "97 /8000",
            "97 opus/8000/0",
            "97 x/8000/256",
        ] {
            assert_eq!(Codec::from_rtpmap(unusable), None, "{unusable}");
        }
    }

    #[test]
    fn codecs_match_by_name_rate_and_channels_whatever_the_letter_case() {
        assert!(Codec::new("pcmu", 8000).matches(&Codec::pcmu()));
        assert!(!Codec::new("PCMU", 16000).matches(&Codec::pcmu()));
        assert!(!Codec::pcmu().with_channels(2).matches(&Codec::pcmu()));
    }

    #[test]
    fn static_numbers_of_rfc_3551_go_both_ways() {
        for number in 0..128 {
            if let Some(codec) = static_codec(number) {
                assert_eq!(static_payload_type(&codec), Some(number));
            }
        }
        assert_eq!(static_payload_type(&Codec::telephone_event(8000)), None);
    }
}
