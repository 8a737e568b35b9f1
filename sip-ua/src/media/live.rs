//! Sound that is spoken and heard as it happens: between a call and something with a clock of its own, such as a sound card.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtp::audio::resample::Resampler;

/// How much waits at most on either side, 160 ms as a part of a second: two clocks that differ must not let the delay grow, and
/// who does not listen must not fill the memory. The oldest samples are lost.
const MOST: u32 = 25; // quarters of a hundredth: rate * 4 / 25
/// The rate if none is named.
const SAMPLE_RATE: u32 = 8000;

/// Two queues of samples (16 bit, 8 kHz if nothing else is said): what is spoken here goes to the peer, what the peer says is
/// heard here. Clones are the same queues; [`Audio::connect`](crate::Audio::connect) puts a call at the other end.
#[derive(Clone, Debug)]
pub struct LiveSound {
    sample_rate: u32,
    queues: Arc<Mutex<Queues>>,
}

impl Default for LiveSound {
    fn default() -> Self {
        Self::with_sample_rate(SAMPLE_RATE)
    }
}

#[derive(Debug, Default)]
struct Queues {
    spoken: VecDeque<i16>,
    heard: VecDeque<i16>,
}

fn give(queue: &mut VecDeque<i16>, samples: &[i16], most: usize) {
    let samples = samples.get(samples.len().saturating_sub(most)..).unwrap_or_default();
    let surplus = queue.len().saturating_add(samples.len()).saturating_sub(most);
    queue.drain(..surplus.min(queue.len()));
    queue.extend(samples);
}

fn take(queue: &mut VecDeque<i16>, into: &mut [i16]) -> usize {
    let ready = queue.len().min(into.len());
    for (slot, sample) in into.iter_mut().zip(queue.drain(..ready)) {
        *slot = sample;
    }
    ready
}

impl LiveSound {
    /// Silence on both sides, at 8 kHz.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same at another rate, 8 to 48 kHz. A call at yet another one is converted.
    pub fn with_sample_rate(sample_rate: u32) -> Self {
        Self { sample_rate: sample_rate.clamp(SAMPLE_RATE, 48_000), queues: Arc::default() }
    }

    /// Samples per second.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn most(&self) -> usize {
        (self.sample_rate * 4 / MOST) as usize
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks to the peer. What it has no time for is lost, the oldest first.
    pub fn speak(&self, samples: &[i16]) {
        let most = self.most();
        give(&mut self.queues().spoken, samples, most);
    }

    /// Takes what the peer has said, and tells how many samples there were; the rest of `into` is left as it is.
    pub fn listen(&self, into: &mut [i16]) -> usize {
        take(&mut self.queues().heard, into)
    }
}

/// A call at the other end of a [`LiveSound`], at its own rate.
#[derive(Debug)]
pub(super) struct Connected {
    live: LiveSound,
    /// From here to the call and back; `None` where both have one rate.
    rates: Option<(Resampler, Resampler)>,
    /// Converted samples that wait for their frame, and memory for what is converted.
    ready: VecDeque<i16>,
    converted: Vec<i16>,
}

impl Connected {
    pub(super) fn new(live: &LiveSound, sample_rate: u32) -> Self {
        let own = live.sample_rate;
        let rates = (own != sample_rate)
            .then(|| Some((Resampler::new(own, sample_rate)?, Resampler::new(sample_rate, own)?)))
            .flatten();
        Self { live: live.clone(), rates, ready: VecDeque::new(), converted: Vec::new() }
    }

    /// A frame to send; silence where nothing was spoken.
    pub(super) fn next_spoken(&mut self, frame: &mut [i16]) {
        frame.fill(0);
        let Some((forth, _)) = &mut self.rates else {
            take(&mut self.live.queues().spoken, frame);
            return;
        };
        let mut spoken = vec![0; (self.live.sample_rate / super::FRAMES_A_SECOND) as usize];
        let count = take(&mut self.live.queues().spoken, &mut spoken);
        self.converted.clear();
        forth.process(spoken.get(..count).unwrap_or_default(), &mut self.converted);
        give(&mut self.ready, &self.converted, 8 * frame.len());
        take(&mut self.ready, frame);
    }

    /// A frame that was heard.
    pub(super) fn was_heard(&mut self, frame: &[i16]) {
        let most = self.live.most();
        match &mut self.rates {
            None => give(&mut self.live.queues().heard, frame, most),
            Some((_, back)) => {
                self.converted.clear();
                back.process(frame, &mut self.converted);
                give(&mut self.live.queues().heard, &self.converted, most);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 160;

    #[test]
    fn what_is_not_taken_in_time_is_lost_the_oldest_first() {
        let live = LiveSound::new();
        let mut call = Connected::new(&live, 8000);
        for number in 0..20 {
            live.speak(&[number; FRAME]);
            call.was_heard(&[-number; FRAME]);
        }
        let mut frame = [0; FRAME];
        call.next_spoken(&mut frame);
        assert_eq!(frame, [12; FRAME]);
        let mut heard = [0; 16 * FRAME];
        assert_eq!(live.listen(&mut heard), 8 * FRAME);
        assert_eq!((heard[0], heard[8 * FRAME - 1], heard[8 * FRAME]), (-12, -19, 0));
        live.speak(&vec![7; 40 * FRAME]);
        assert_eq!(live.queues().spoken.len(), 8 * FRAME);
    }

    /// A microphone of 48 kHz in a call of 16 kHz: the tone stays the tone, both ways.
    #[test]
    fn rates_that_differ_are_converted() {
        let tone = |rate: f64| {
            move |at: usize| (f64::sin(at as f64 * 440.0 * std::f64::consts::TAU / rate) * 8000.0) as i16
        };
        let live = LiveSound::with_sample_rate(48_000);
        let mut call = Connected::new(&live, 16_000);
        let (mut sent, mut heard) = (Vec::new(), Vec::new());
        for number in 0..50 {
            live.speak(&(number * 960..(number + 1) * 960).map(tone(48_000.0)).collect::<Vec<_>>());
            let mut frame = [0; 320];
            call.next_spoken(&mut frame);
            sent.extend(frame);
            call.was_heard(&(number * 320..(number + 1) * 320).map(tone(16_000.0)).collect::<Vec<_>>());
            let mut part = [0; 2000];
            let count = live.listen(&mut part);
            heard.extend_from_slice(&part[..count]);
        }
        for (samples, rate) in [(sent, 16_000), (heard, 48_000)] {
            let crossings = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
            let seconds = samples.len() as f64 / f64::from(rate);
            assert!(
                (crossings as f64 - 440.0 * seconds).abs() < 12.0,
                "{crossings} in {seconds} s at {rate}"
            );
        }
    }
}
