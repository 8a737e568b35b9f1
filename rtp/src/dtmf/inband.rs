//! DTMF tones in the audio itself (ITU-T Q.23, Q.24), found with the Goertzel algorithm.

use super::Event;
use crate::audio::tone::{COLUMNS, KEYPAD, ROWS, power, power_at};

/// 20 ms: resolves the rows, and two blocks fit into the 40 ms that Q.24 demands.
const BLOCK: usize = 160;
/// Below -40 dB of full scale a tone is not meant.
const MINIMUM_POWER: f64 = 200.0 * 200.0;
/// Both frequencies together make up this much of the block.
const PURITY: f64 = 0.7;
/// One frequency may be this much stronger than the other (Q.24: 4 to 8 dB).
const TWIST: f64 = 8.0;

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
#[derive(Clone, Debug, Default)]
pub struct Detector {
    pending: Vec<i16>,
    /// Key of the last block and for how many blocks.
    candidate: Option<(char, u32)>,
    silent: u32,
    /// Told already, until the tone stops.
    told: Option<char>,
}

impl Detector {
    /// Nothing heard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes any number of samples and returns the keys that began in them.
    pub fn detect(&mut self, samples: &[i16]) -> Vec<Event> {
        self.pending.extend_from_slice(samples);
        let pending = std::mem::take(&mut self.pending);
        let blocks = pending.chunks_exact(BLOCK);
        self.pending = blocks.remainder().to_vec();
        blocks.filter_map(|block| self.step(classify(block))).collect()
    }

    /// Two equal blocks make a key, two without it end it.
    fn step(&mut self, key: Option<char>) -> Option<Event> {
        self.silent = if key.is_some() && key == self.told { 0 } else { self.silent + 1 };
        if self.silent >= 2 {
            self.told = None;
        }
        let key = match (key, self.candidate) {
            (Some(key), Some((before, blocks))) if key == before => {
                self.candidate = Some((key, blocks + 1));
                key
            }
            (key, _) => {
                self.candidate = key.map(|key| (key, 1));
                return None;
            }
        };
        if self.told == Some(key) {
            return None;
        }
        self.told = Some(key);
        self.silent = 0;
        Event::from_key(key)
    }
}

/// The key that a block holds.
fn classify(block: &[i16]) -> Option<char> {
    let total = power(block);
    if total < MINIMUM_POWER {
        return None;
    }
    let strongest = |frequencies: [f64; 4]| {
        let powers = frequencies.map(|hertz| power_at(block, hertz));
        powers.into_iter().enumerate().max_by(|one, other| one.1.total_cmp(&other.1))
    };
    let (row, row_power) = strongest(ROWS)?;
    let (column, column_power) = strongest(COLUMNS)?;
    let twist = row_power.max(column_power) / row_power.min(column_power).max(1.0);
    let pure = row_power + column_power >= PURITY * total;
    (pure && twist <= TWIST).then(|| KEYPAD.get(row)?.get(column).copied())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::speech::speech_like;
    use crate::audio::tone::Tone;
    use crate::g711::Law;

    #[test]
    fn q24_every_key_is_found_once_through_g711() {
        let keys = "0123456789*#ABCD5533";
        let mut samples = Vec::new();
        for key in keys.chars() {
            let tone = Tone::dtmf(Event::from_key(key).unwrap()).unwrap();
            samples.extend(tone.samples().take(640));
            samples.extend([0; 560]);
        }
        let coded: Vec<i16> = Law::Mu.decode(&Law::Mu.encode(&samples)).collect();
        let mut detector = Detector::new();
        let heard: String =
            coded.chunks(97).flat_map(|part| detector.detect(part)).filter_map(Event::key).collect();
        assert_eq!(heard, keys);
    }

    #[test]
    fn speech_and_single_tones_are_no_keys() {
        let mut detector = Detector::new();
        assert_eq!(detector.detect(&speech_like(160_000, 1)), []);
        let tone: Vec<i16> = Tone::sine(697.0).samples().take(8000).collect();
        assert_eq!(detector.detect(&tone), []);
    }
}
