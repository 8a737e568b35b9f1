//! Sound that is spoken and heard as it happens: between a call and something with a clock of its own, such as a sound card.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtp::audio_stream::FRAME;

/// Samples that wait at most on either side, 160 ms: two clocks that differ must not let the delay grow, and who does not listen
/// must not fill the memory. The oldest are lost.
const MOST: usize = 8 * FRAME;

/// Two queues of samples (16 bit, 8 kHz): what is spoken here goes to the peer, what the peer says is heard here. Clones are the
/// same queues; [`Audio::connect`](crate::Audio::connect) puts a call at the other end.
#[derive(Clone, Debug, Default)]
pub struct LiveSound {
    queues: Arc<Mutex<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    spoken: VecDeque<i16>,
    heard: VecDeque<i16>,
}

fn give(queue: &mut VecDeque<i16>, samples: &[i16]) {
    let samples = samples.get(samples.len().saturating_sub(MOST)..).unwrap_or_default();
    let surplus = queue.len().saturating_add(samples.len()).saturating_sub(MOST);
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
    /// Silence on both sides.
    pub fn new() -> Self {
        Self::default()
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks to the peer. What it has no time for is lost, the oldest first.
    pub fn speak(&self, samples: &[i16]) {
        give(&mut self.queues().spoken, samples);
    }

    /// Takes what the peer has said, and tells how many samples there were; the rest of `into` is left as it is.
    pub fn listen(&self, into: &mut [i16]) -> usize {
        take(&mut self.queues().heard, into)
    }

    /// The call's side: a frame to send.
    pub(super) fn next_spoken(&self) -> [i16; FRAME] {
        let mut frame = [0; FRAME];
        take(&mut self.queues().spoken, &mut frame);
        frame
    }

    /// The call's side: a frame that was heard.
    pub(super) fn was_heard(&self, frame: &[i16]) {
        give(&mut self.queues().heard, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_in_time_is_lost_the_oldest_first() {
        let live = LiveSound::new();
        for number in 0..20 {
            live.speak(&[number; FRAME]);
            live.was_heard(&[-number; FRAME]);
        }
        assert_eq!(live.next_spoken(), [12; FRAME]);
        let mut heard = [0; 2 * MOST];
        assert_eq!(live.listen(&mut heard), MOST);
        assert_eq!((heard[0], heard[MOST - 1], heard[MOST]), (-12, -19, 0));
        live.speak(&vec![7; 5 * MOST]);
        assert_eq!(live.queues().spoken.len(), MOST);
    }
}
