//! How loud a party is, and whether that is speech.

use super::limiter::LANES;

/// Below this nobody speaks: room noise of a good line, in decibels above digital silence.
const SPEECH: f32 = 45.0;
/// By how much another one must be louder to take over while the first still speaks.
const MARGIN: f32 = 6.0;
/// Seconds after which who fell silent has ended.
const HOLD: f32 = 0.6;
/// Seconds of speech before somebody counts as speaking: longer than a click or a cough.
const ONSET: f32 = 0.1;
/// Seconds in which the level follows what is heard, up and down.
const RISE: f32 = 0.03;
const FALL: f32 = 0.3;

/// The level of one party.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speech {
    /// Smoothed mean square.
    square: f32,
    level: f32,
    /// Seconds of speech without a pause.
    speaking: f32,
    /// Seconds since speech was heard.
    silent: f32,
}

impl Speech {
    pub(super) fn hear(&mut self, frame: &[f32], tick: f32) {
        let (chunks, rest) = frame.as_chunks::<LANES>();
        let mut squares = [0.0f32; LANES];
        for chunk in chunks {
            for (square, sample) in squares.iter_mut().zip(chunk) {
                *square += sample * sample;
            }
        }
        let sum: f32 = squares.into_iter().chain(rest.iter().map(|sample| sample * sample)).sum();
        self.follow(sum / frame.len().max(1) as f32, tick);
    }

    pub(super) fn silent(&mut self, tick: f32) {
        self.follow(0.0, tick);
    }

    fn follow(&mut self, square: f32, tick: f32) {
        let time = if square > self.square { RISE } else { FALL };
        self.square += (square - self.square) * (tick / time).min(1.0);
        self.level = 10.0 * self.square.max(1.0).log10();
        if 10.0 * square.max(1.0).log10() >= SPEECH {
            (self.speaking, self.silent) = (self.speaking + tick, 0.0);
        } else {
            self.silent += tick;
            if self.silent >= HOLD {
                self.speaking = 0.0;
            }
        }
    }

    /// Decibels above digital silence.
    pub(super) fn level(&self) -> f32 {
        self.level
    }

    pub(super) fn is_speech(&self) -> bool {
        self.speaking >= ONSET && self.level >= SPEECH
    }

    pub(super) fn has_ended(&self) -> bool {
        self.silent >= HOLD
    }

    /// Whether somebody else at this level takes over.
    pub(super) fn yields_to(&self, level: f32) -> bool {
        self.has_ended() || level >= self.level + MARGIN
    }
}
