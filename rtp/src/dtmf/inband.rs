//! DTMF tones in the audio itself (ITU-T Q.23, Q.24), found with the Goertzel algorithm.
//!
//! Windows of 25 ms follow each other every 5 ms; four of them in a row with the same key make one. So a tone of 40 ms is
//! found wherever it begins, as Q.24 demands, and a syllable that holds two of the eight frequencies for a moment is none.

use std::collections::VecDeque;

use super::{Event, Notice};
use crate::audio::tone::{COLUMNS, KEYPAD, ROWS, power, power_at};

/// 25 ms: tells the rows apart, which are 73 Hz from each other.
const WINDOW: usize = 200;
/// 5 ms.
const HOP: usize = 40;
/// Windows in a row that make a key.
const HITS: u32 = 4;
/// Windows in a row without the key that end it. A lost packet of 20 ms makes seven of them, the pause of 40 ms that Q.24 demands
/// eleven.
const MISSES: u32 = 10;
/// Each frequency has at least this power: -32 dBm0, a full sine being +3.17 dBm0 (ITU-T G.711), so that -25 dBm0 is found in a
/// window that the tone fills in part.
const MINIMUM_POWER: f64 = 160_000.0;
/// Both frequencies together make up this much of the window.
const PURITY: f64 = 0.8;
/// Less than this, and no tone near the frequencies can be meant: the power that one off by 1.5 % leaves at them.
const PLAUSIBLE: f64 = 0.25;
/// One frequency may be this much stronger than the other: 10 dB, of which Q.24 has 4 to 8, and the rest is measurement.
const TWIST: f64 = 10.0;
/// Frequencies are right within 1.5 % (Q.24), which a window of 25 ms takes for others: they are looked for beside the nominal
/// ones too.
const DETUNED: [f64; 5] = [1.0, 0.993, 1.007, 0.986, 1.014];
/// Samples by which [`Filter`] delays the audio: a tone is known at most 319 samples after it began: a window counts once it has
/// 160 of the tone, three more follow, and it begins up to 39 before one of them ends.
pub const FILTER_DELAY: usize = 320;

/// Finds keys in 8 kHz audio.
///
/// ```
/// use rtp::audio::tone::Tone;
/// use rtp::dtmf::{Event, inband::Detector};
/// let mut detector = Detector::new();
/// let tone = Tone::dtmf(Event(7)).ok_or("a key")?;
/// let samples: Vec<i16> = tone.samples().take(800).chain([0; 800]).collect();
/// assert_eq!(detector.detect(&samples), [Event(7)]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Detector {
    window: [i16; WINDOW],
    /// Samples since the last look.
    fresh: usize,
    /// Key of the last windows and how many they are.
    candidate: Option<(Event, u32)>,
    told: Option<Told>,
}

/// The key that sounds.
#[derive(Clone, Copy, Debug)]
struct Told {
    event: Event,
    hits: u32,
    misses: u32,
    /// The power of both frequencies together.
    power: f64,
}

impl Default for Detector {
    fn default() -> Self {
        Self { window: [0; WINDOW], fresh: 0, candidate: None, told: None }
    }
}

impl Detector {
    /// Nothing heard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes any number of samples and returns the keys that began in them.
    pub fn detect(&mut self, samples: &[i16]) -> Vec<Event> {
        let started = |notice| if let Notice::Started(event) = notice { Some(event) } else { None };
        self.notices(samples).into_iter().filter_map(started).collect()
    }

    /// Takes any number of samples and returns what began and ended in them; durations in samples.
    pub fn notices(&mut self, samples: &[i16]) -> Vec<Notice> {
        samples.iter().flat_map(|sample| self.push(*sample)).flatten().collect()
    }

    /// Whether a key sounds now, as far as it is known.
    #[must_use]
    pub fn is_sounding(&self) -> bool {
        self.told.is_some()
    }

    /// Takes a sample; one key may end where another begins.
    fn push(&mut self, sample: i16) -> [Option<Notice>; 2] {
        let place = WINDOW - HOP + self.fresh;
        if let Some(slot) = self.window.get_mut(place) {
            *slot = sample;
        }
        self.fresh += 1;
        if self.fresh < HOP {
            return [None, None];
        }
        self.fresh = 0;
        let notices = self.step(classify(&self.window));
        self.window.copy_within(HOP.., 0);
        notices
    }

    fn step(&mut self, found: Option<(Event, f64)>) -> [Option<Notice>; 2] {
        let event = found.map(|(event, _)| event);
        self.candidate = match (event, self.candidate) {
            (Some(event), Some((before, hits))) if event == before => Some((event, hits.saturating_add(1))),
            (event, _) => event.map(|event| (event, 1)),
        };
        let mut ended = None;
        if let Some(told) = &mut self.told {
            if event == Some(told.event) {
                told.hits = told.hits.saturating_add(1 + std::mem::take(&mut told.misses));
                told.power = told.power.max(found.map_or(0.0, |(_, power)| power));
                return [None, None];
            }
            told.misses += 1;
            let replaced = self.candidate.is_some_and(|(_, hits)| hits >= HITS);
            if told.misses < MISSES && !replaced {
                return [None, None];
            }
            ended = Some(told.notice());
            self.told = None;
        }
        let (Some((event, hits)), Some((_, power))) = (self.candidate, found) else { return [ended, None] };
        if hits < HITS {
            return [ended, None];
        }
        self.told = Some(Told { event, hits, misses: 0, power });
        [ended, Some(Notice::Started(event))]
    }

    /// Ends a key that sounds, because the audio ends.
    pub fn finish(&mut self) -> Option<Notice> {
        self.candidate = None;
        self.told.take().map(|told| told.notice())
    }
}

impl Told {
    fn notice(&self) -> Notice {
        // A window counts once 160 of its samples are of the tone.
        let duration = self.hits.saturating_mul(HOP as u32).saturating_add(120);
        Notice::Ended { event: self.event, duration, volume: volume(self.power / 2.0) }
    }
}

/// Power of a sine in -dBm0, as RFC 4733 §2.3.4 writes it.
fn volume(power: f64) -> u8 {
    /// Power of a full sine, which is +3.17 dBm0.
    const FULL: f64 = 32_124.0 * 32_124.0 / 2.0;
    let level = 3.17 + 10.0 * (power.max(1.0) / FULL).log10();
    (-level).clamp(0.0, 63.0).round() as u8
}

/// The key that a window holds, and the power of its frequencies together.
fn classify(window: &[i16]) -> Option<(Event, f64)> {
    let total = power(window);
    if total < 2.0 * MINIMUM_POWER {
        return None;
    }
    let strongest = |frequencies: [f64; 4]| {
        let powers = frequencies.map(|hertz| power_at(window, hertz));
        powers.into_iter().enumerate().max_by(|one, other| one.1.total_cmp(&other.1))
    };
    let ((row, row_power), (column, column_power)) = (strongest(ROWS)?, strongest(COLUMNS)?);
    if row_power + column_power < PLAUSIBLE * total {
        return None;
    }
    let tuned =
        |hertz: f64| DETUNED.into_iter().map(|factor| power_at(window, hertz * factor)).fold(0.0, f64::max);
    let (row_power, column_power) = (tuned(*ROWS.get(row)?), tuned(*COLUMNS.get(column)?));
    let (weaker, stronger) = (row_power.min(column_power), row_power.max(column_power));
    let pure = row_power + column_power >= PURITY * total;
    let key = *KEYPAD.get(row)?.get(column)?;
    (pure && weaker >= MINIMUM_POWER && stronger <= TWIST * weaker)
        .then(|| Some((Event::from_key(key)?, row_power + column_power)))?
}

/// Takes the keys out of audio that is passed on: their tones are silence behind it, from their first sample on. For that the
/// audio is [`FILTER_DELAY`] samples (40 ms) late, and up to 65 ms behind each tone are silent too.
///
/// ```
/// use rtp::audio::tone::Tone;
/// use rtp::dtmf::{Event, Notice, inband::Filter};
/// let mut filter = Filter::new();
/// let tone = Tone::dtmf(Event(7)).ok_or("a key")?;
/// let mut samples: Vec<i16> = tone.samples().take(800).chain([0; 800]).collect();
/// let notices = filter.process(&mut samples);
/// assert_eq!(notices[0], Notice::Started(Event(7)));
/// assert!(samples.iter().all(|sample| *sample == 0));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    detector: Detector,
    delayed: VecDeque<i16>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { detector: Detector::new(), delayed: VecDeque::from(vec![0; FILTER_DELAY]) }
    }
}

impl Filter {
    /// Nothing heard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts what came [`FILTER_DELAY`] samples before in place of the samples, without tones, and returns the keys that began and
    /// ended; durations in samples.
    pub fn process(&mut self, samples: &mut [i16]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for sample in samples {
            self.delayed.push_back(*sample);
            notices.extend(self.detector.push(*sample).into_iter().flatten());
            if self.detector.is_sounding() && self.detector.fresh == 0 {
                self.delayed.iter_mut().for_each(|delayed| *delayed = 0);
            }
            *sample = self.delayed.pop_front().unwrap_or(0);
        }
        notices
    }
}

#[cfg(test)]
mod tests;
