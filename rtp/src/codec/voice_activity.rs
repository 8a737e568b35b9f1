//! Whether somebody speaks: the level against that of the background, with some patience at the end of words.

use std::time::Duration;

use super::comfort_noise;

/// This much above the background is voice.
const MARGIN: f64 = 6.0;
/// Nothing below this is voice, however quiet the background is.
const QUIETEST_VOICE: f64 = -58.0;
/// What the background is taken for before it is known, and the loudest it can be: whoever speaks at once is heard.
const FIRST_BACKGROUND: f64 = -56.0;
const LOUDEST_BACKGROUND: f64 = -32.0;
/// How fast the background is believed to rise, in dB per second; falling is believed at once.
const RISE: f64 = 3.0;
/// Voice goes on for so long behind its last loud frame: ends of words are quiet.
const HANGOVER: Duration = Duration::from_millis(200);

/// Tells voice from silence, frame by frame.
///
/// ```
/// use std::time::Duration;
/// use rtp::codec::voice_activity::VoiceActivity;
/// let mut activity = VoiceActivity::new();
/// assert!(activity.is_voice(&[5000; 160], Duration::from_millis(20)));
/// for _ in 0..10 { activity.is_voice(&[1; 160], Duration::from_millis(20)); }
/// assert!(!activity.is_voice(&[1; 160], Duration::from_millis(20)));
/// ```
#[derive(Clone, Debug)]
pub struct VoiceActivity {
    /// Level of the background in dBov.
    background: f64,
    hangover: Duration,
}

impl Default for VoiceActivity {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceActivity {
    /// Nothing heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self { background: FIRST_BACKGROUND, hangover: Duration::ZERO }
    }

    /// Looks at the next frame.
    pub fn is_voice(&mut self, samples: &[i16], duration: Duration) -> bool {
        let level = -f64::from(comfort_noise::level(samples));
        let risen = self.background + RISE * duration.as_secs_f64();
        self.background = risen.min(level).min(LOUDEST_BACKGROUND);
        if level > QUIETEST_VOICE && level > self.background + MARGIN {
            self.hangover = HANGOVER;
            return true;
        }
        let lasting = !self.hangover.is_zero();
        self.hangover = self.hangover.saturating_sub(duration);
        lasting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::speech::speech_like;
    use crate::codec::comfort_noise::{Generator, Noise};

    const FRAME: Duration = Duration::from_millis(20);

    fn noise(level: u8, count: usize) -> Vec<i16> {
        let mut generator = Generator::new(3);
        generator.update(Noise { level, reflection: vec![] });
        let mut samples = vec![0; count];
        generator.fill(&mut samples);
        samples
    }

    #[test]
    fn speech_over_noise_is_voice_and_noise_alone_is_not() {
        let mut activity = VoiceActivity::new();
        let background = noise(50, 8000 * 4);
        let speech = speech_like(8000 * 2, 4);
        let mut voiced = [0; 3];
        for (index, frame) in background.chunks(160).enumerate() {
            let at = index * 160;
            let mut frame = frame.to_vec();
            if (8000..24_000).contains(&at) {
                for (sample, spoken) in frame.iter_mut().zip(&speech[at - 8000..]) {
                    *sample = sample.saturating_add(*spoken);
                }
            }
            let part = if at < 8000 {
                0
            } else if at < 24_000 {
                1
            } else {
                2
            };
            voiced[part] += usize::from(activity.is_voice(&frame, FRAME));
        }
        assert!(voiced[0] <= 25, "{voiced:?}: the background is learned");
        assert!(voiced[1] >= 95, "{voiced:?}: the pauses of speech are short");
        assert!(voiced[2] <= 12, "{voiced:?}: the hangover");
    }

    #[test]
    fn background_that_becomes_louder_is_learned() {
        let mut activity = VoiceActivity::new();
        let loud = noise(40, 8000 * 10);
        let voiced: Vec<bool> = loud.chunks(160).map(|frame| activity.is_voice(frame, FRAME)).collect();
        assert!(voiced[0] && voiced[400..].iter().all(|voice| !voice));
    }
}
