//! Call progress tones of the common countries (ITU-T E.180 supplement 2), and the tones by which machines answer.

use std::time::Duration;

use super::tone::{AMPLITUDE, Tone, power, power_at};

/// Whose call progress tones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// 425 Hz, as in most of Europe.
    Europe,
    /// The pairs of 350, 440, 480 and 620 Hz: the United States and Canada.
    NorthAmerica,
    /// Australia.
    Australia,
    /// Brazil.
    Brazil,
    /// China.
    China,
    /// France.
    France,
    /// Germany.
    Germany,
    /// India.
    India,
    /// Italy.
    Italy,
    /// Japan.
    Japan,
    /// Spain.
    Spain,
    /// The United Kingdom.
    UnitedKingdom,
}

/// Hertz, and milliseconds on, off, on, off.
type Pattern = (&'static [f64], &'static [u64]);

impl Region {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Europe,
        Self::NorthAmerica,
        Self::Australia,
        Self::Brazil,
        Self::China,
        Self::France,
        Self::Germany,
        Self::India,
        Self::Italy,
        Self::Japan,
        Self::Spain,
        Self::UnitedKingdom,
    ];

    /// The region of a country by its two letters (ISO 3166-1), if it is here.
    #[must_use]
    pub fn of_country(code: &str) -> Option<Self> {
        Some(match code.to_ascii_uppercase().as_str() {
            "US" | "CA" => Self::NorthAmerica,
            "AU" => Self::Australia,
            "BR" => Self::Brazil,
            "CN" => Self::China,
            "FR" => Self::France,
            "DE" => Self::Germany,
            "IN" => Self::India,
            "IT" => Self::Italy,
            "JP" => Self::Japan,
            "ES" => Self::Spain,
            "GB" => Self::UnitedKingdom,
            "AT" | "BE" | "CH" | "CZ" | "DK" | "FI" | "GR" | "HU" | "NL" | "NO" | "PL" | "PT" | "SE" => {
                Self::Europe
            }
            _ => return None,
        })
    }

    fn dial(self) -> Pattern {
        match self {
            Self::Europe | Self::Germany | Self::Spain | Self::Brazil => (&[425.0], &[]),
            Self::NorthAmerica => (&[350.0, 440.0], &[]),
            Self::Australia => (&[413.0, 438.0], &[]),
            Self::China => (&[450.0], &[]),
            Self::France => (&[440.0], &[]),
            Self::India | Self::Japan => (&[400.0], &[]),
            Self::Italy => (&[425.0], &[200, 200, 600, 1000]),
            Self::UnitedKingdom => (&[350.0, 450.0], &[]),
        }
    }

    fn ringback(self) -> Pattern {
        match self {
            Self::Europe | Self::Germany | Self::Italy | Self::Brazil => (&[425.0], &[1000, 4000]),
            Self::NorthAmerica => (&[440.0, 480.0], &[2000, 4000]),
            Self::Australia | Self::UnitedKingdom => (&[400.0, 450.0], &[400, 200, 400, 2000]),
            Self::China => (&[450.0], &[1000, 4000]),
            Self::France => (&[440.0], &[1500, 3500]),
            Self::India => (&[400.0], &[400, 200, 400, 2000]),
            Self::Japan => (&[384.0, 416.0], &[1000, 2000]),
            Self::Spain => (&[425.0], &[1500, 3000]),
        }
    }

    fn busy(self) -> Pattern {
        match self {
            Self::Europe | Self::Italy => (&[425.0], &[500, 500]),
            Self::NorthAmerica => (&[480.0, 620.0], &[500, 500]),
            Self::Australia => (&[425.0], &[375, 375]),
            Self::Brazil => (&[425.0], &[250, 250]),
            Self::China => (&[450.0], &[350, 350]),
            Self::France => (&[440.0], &[500, 500]),
            Self::Germany => (&[425.0], &[480, 480]),
            Self::India => (&[400.0], &[750, 750]),
            Self::Japan => (&[400.0], &[500, 500]),
            Self::Spain => (&[425.0], &[200, 200]),
            Self::UnitedKingdom => (&[400.0], &[375, 375]),
        }
    }
}

fn tone((frequencies, cadence): Pattern) -> Tone {
    Tone {
        frequencies: frequencies.to_vec(),
        cadence: cadence.iter().copied().map(Duration::from_millis).collect(),
        amplitude: AMPLITUDE,
    }
}

impl Tone {
    /// Dial tone.
    #[must_use]
    pub fn dial(region: Region) -> Self {
        tone(region.dial())
    }

    /// What a caller hears while it rings.
    #[must_use]
    pub fn ringback(region: Region) -> Self {
        tone(region.ringback())
    }

    /// Busy.
    #[must_use]
    pub fn busy(region: Region) -> Self {
        tone(region.busy())
    }
}

/// A tone that says who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answerer {
    /// A fax or a modem that was called: 2,100 Hz (CED and ANS, ITU-T T.30, V.25).
    CalledMachine,
    /// A fax that calls: 1,100 Hz, half a second long (CNG, ITU-T T.30).
    CallingFax,
    /// One other steady tone: the beep after which a message is recorded.
    Beep,
}

/// Blocks of 20 ms at 8 kHz.
const BLOCK: usize = 160;
/// Blocks of one tone in a row before it is told: a fax's lasts half a second, a beep at least a fifth.
const BEEP_BLOCKS: u32 = 8;
const MACHINE_BLOCKS: u32 = 20;
/// Share of the power of a block that one frequency must have: speech never keeps to one that long.
const PURITY: f64 = 0.85;
/// -40 dB of full scale.
const MINIMUM_POWER: f64 = 200.0 * 200.0;
/// Hertz that a beep may have, and the distance at which they are looked for.
const BEEPS: std::ops::RangeInclusive<u32> = 8..=44;
const BEEP_STEP: f64 = 50.0;

/// What a line was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A tone that has lasted long enough to be one.
    Answerer(Answerer),
    /// Somebody, or something, is heard after silence.
    Sound,
    /// Nothing has been heard for as long as was asked.
    Silence,
}

/// Listens to 8 kHz audio for silence and for the tones of machines.
///
/// ```
/// use std::time::Duration;
/// use rtp::audio::progress::{Answerer, Heard, Listener};
/// use rtp::audio::tone::Tone;
/// let mut listener = Listener::new(Duration::from_millis(500));
/// let fax: Vec<i16> = Tone::sine(2100.0).samples().take(8000).collect();
/// assert_eq!(listener.listen(&fax), [Heard::Sound, Heard::Answerer(Answerer::CalledMachine)]);
/// assert_eq!(listener.listen(&[0; 8000]), [Heard::Silence]);
/// ```
#[derive(Clone, Debug)]
pub struct Listener {
    pending: Vec<i16>,
    /// Blocks of silence that make up what is told as such.
    patience: u32,
    silent: u32,
    sounding: bool,
    /// The tone of the last blocks and for how many.
    run: Option<(Kind, u32)>,
    /// The run was told.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Known(Answerer),
    /// A multiple of [`BEEP_STEP`].
    Other(u32),
}

impl Listener {
    /// One that tells silence once it has lasted this long. A line begins silent.
    #[must_use]
    pub fn new(silence: Duration) -> Self {
        let blocks = u32::try_from(silence.as_millis() / 20).unwrap_or(u32::MAX);
        Self {
            pending: Vec::new(),
            patience: blocks.max(1),
            silent: 0,
            sounding: false,
            run: None,
            told: false,
        }
    }

    /// Takes any number of samples and tells what began in them.
    pub fn listen(&mut self, samples: &[i16]) -> Vec<Heard> {
        self.pending.extend_from_slice(samples);
        let pending = std::mem::take(&mut self.pending);
        let (blocks, rest) = pending.as_chunks::<BLOCK>();
        self.pending = rest.to_vec();
        let mut heard = Vec::new();
        for block in blocks {
            self.step(block, &mut heard);
        }
        heard
    }

    fn step(&mut self, block: &[i16; BLOCK], heard: &mut Vec<Heard>) {
        let power = power(block);
        if power < MINIMUM_POWER {
            self.run = None;
            self.silent = self.silent.saturating_add(1);
            if self.silent == self.patience {
                self.sounding = false;
                heard.push(Heard::Silence);
            }
            return;
        }
        self.silent = 0;
        if !std::mem::replace(&mut self.sounding, true) {
            heard.push(Heard::Sound);
        }
        let Some(kind) = kind(block, power) else {
            self.run = None;
            return;
        };
        let count = match self.run {
            Some((before, count)) if before == kind => count.saturating_add(1),
            _ => {
                self.told = false;
                1
            }
        };
        self.run = Some((kind, count));
        let (answerer, enough) = match kind {
            Kind::Known(answerer) => (answerer, MACHINE_BLOCKS),
            Kind::Other(_) => (Answerer::Beep, BEEP_BLOCKS),
        };
        if count >= enough && !self.told {
            self.told = true;
            heard.push(Heard::Answerer(answerer));
        }
    }
}

fn kind(block: &[i16; BLOCK], power: f64) -> Option<Kind> {
    let pure = |hertz: f64| power_at(block, hertz) > PURITY * power;
    if pure(2100.0) {
        return Some(Kind::Known(Answerer::CalledMachine));
    }
    if pure(1100.0) {
        return Some(Kind::Known(Answerer::CallingFax));
    }
    // A block of 20 ms cannot tell closer frequencies apart.
    let strongest = BEEPS
        .map(|step| (step, power_at(block, f64::from(step) * BEEP_STEP)))
        .max_by(|one, other| one.1.total_cmp(&other.1))?;
    (strongest.1 > PURITY * power).then_some(Kind::Other(strongest.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::speech::speech_like;
    use crate::audio::tone::detect_tone;

    /// On for as long as the table says, off for as long, the right frequencies: for every country.
    #[test]
    fn e180_tones_have_their_frequencies_and_cadences() {
        for region in Region::ALL {
            for (pattern, tone) in [
                (region.dial(), Tone::dial(region)),
                (region.ringback(), Tone::ringback(region)),
                (region.busy(), Tone::busy(region)),
            ] {
                let (frequencies, cadence) = pattern;
                let samples: Vec<i16> = tone.samples().take(8000 * 6).collect();
                let mut at = 0;
                for (position, part) in cadence.iter().enumerate() {
                    let length = (*part * 8) as usize;
                    let part = &samples[at..(at + length).min(samples.len())];
                    assert_eq!(power(part) > 1e6, position % 2 == 0, "{region:?} {pattern:?}");
                    at += length;
                }
                for hertz in frequencies {
                    assert!(power_at(&samples[..1600], *hertz) > 1e7, "{region:?} {hertz}");
                }
            }
        }
        let busy: Vec<i16> = Tone::busy(Region::Europe).samples().take(8000).collect();
        assert_eq!((detect_tone(&busy, 425.0), power(&busy[4000..])), (1.0, 0.0));
        assert_eq!(Region::of_country("gb"), Some(Region::UnitedKingdom));
        assert_eq!(Region::of_country("xx"), None);
    }

    fn hear(samples: impl IntoIterator<Item = i16>) -> Vec<Heard> {
        let samples: Vec<i16> = samples.into_iter().collect();
        let mut listener = Listener::new(Duration::from_secs(1));
        samples.chunks(97).flat_map(|chunk| listener.listen(chunk)).collect()
    }

    #[test]
    fn machines_are_known_by_their_tones() {
        for (hertz, answerer) in [
            (2100.0, Answerer::CalledMachine),
            (1100.0, Answerer::CallingFax),
            (1000.0, Answerer::Beep),
            (440.0, Answerer::Beep),
        ] {
            let tone = Tone::sine(hertz);
            let heard = hear(tone.samples().take(4000));
            assert_eq!(heard, [Heard::Sound, Heard::Answerer(answerer)], "{hertz}");
        }
        let short = hear(Tone::sine(1000.0).samples().take(800));
        assert_eq!(short, [Heard::Sound], "a tenth of a second is no beep");
    }

    #[test]
    fn speech_is_no_tone_and_two_frequencies_are_none_either() {
        let speech = hear(speech_like(80_000, 5));
        assert!(!speech.iter().any(|heard| matches!(heard, Heard::Answerer(_))), "{speech:?}");
        assert_eq!(hear(Tone::dial(Region::NorthAmerica).samples().take(8000)), [Heard::Sound]);
    }

    #[test]
    fn silence_is_told_once_it_has_lasted_and_sound_when_it_returns() {
        let speech = || speech_like(4000, 2).into_iter().map(|sample| sample / 2 + 300);
        let pause = [0; 12_000];
        let heard = hear(pause.into_iter().chain(speech()).chain(pause).chain(speech()));
        assert_eq!(heard, [Heard::Silence, Heard::Sound, Heard::Silence, Heard::Sound]);
    }
}
