//! A conference in sound: everybody hears all the others (N-1), and who speaks is known.
//!
//! The mixer is pure: once a tick each party's frame goes in and everybody's sum comes out. Sums that would be too loud are
//! turned down as a whole and slowly up again, so that two who speak at once do not clip.
//!
//! ```
//! use rtp::mixer::Mixer;
//!
//! let mut mixer = Mixer::new(16_000, 320); // 20 ms at 16 kHz
//! let (alice, bob, carol) = (mixer.join(), mixer.join(), mixer.join());
//! mixer.speak(alice, &[1000; 320]);
//! mixer.speak(bob, &[200; 320]);
//! mixer.mix();
//! let (mut for_alice, mut for_carol) = ([0; 320], [0; 320]);
//! mixer.listen(alice, &mut for_alice);
//! mixer.listen(carol, &mut for_carol);
//! assert_eq!((for_alice[0], for_carol[0]), (200, 1200));
//! ```

mod limiter;
mod speaker;
#[cfg(test)]
mod tests;

use limiter::Limiter;
use speaker::Speech;

/// Parties of one conference. The sum of that many full samples is still exact in the 24 bits of a float.
pub const MAX_PARTIES: usize = 512;
/// Samples of a frame at most: 60 ms at 48 kHz.
pub const MAX_FRAME: usize = 2880;

/// A party of a mixer: an index with a generation, so that one who left is nobody and not somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    index: usize,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    present: bool,
    /// Not heard by the others.
    muted: bool,
    /// What was said in this tick; silence if nothing.
    frame: Vec<f32>,
    spoken: bool,
    limiter: Limiter,
    speech: Speech,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Mixer {
    sample_rate: u32,
    frame: usize,
    slots: Vec<Slot>,
    /// All frames added up.
    sum: Vec<f32>,
    active: Option<Party>,
}

impl Mixer {
    /// A conference at `sample_rate` (8,000 to 48,000 Hz) in frames of `frame` samples, at most [`MAX_FRAME`].
    #[must_use]
    pub fn new(sample_rate: u32, frame: usize) -> Self {
        let frame = frame.clamp(1, MAX_FRAME);
        Self { sample_rate, frame, slots: Vec::new(), sum: vec![0.0; frame], active: None }
    }

    /// Samples of a frame.
    #[must_use]
    pub fn frame(&self) -> usize {
        self.frame
    }

    /// Hz.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Parties present.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.slots.iter().filter(|slot| slot.present).count()
    }

    /// Whether nobody else fits in ([`MAX_PARTIES`]).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.parties() >= MAX_PARTIES
    }

    /// Takes a party in. In a conference that is full ([`Mixer::is_full`]) it hears and says nothing.
    pub fn join(&mut self) -> Party {
        let free = self.slots.iter().position(|slot| !slot.present);
        let index = free.unwrap_or(self.slots.len());
        let generation = self.slots.get(index).map_or(0, |slot| slot.generation.wrapping_add(1));
        let fresh = Slot {
            generation,
            present: true,
            muted: false,
            frame: vec![0.0; self.frame],
            spoken: false,
            limiter: Limiter::new(self.sample_rate),
            speech: Speech::default(),
        };
        match self.slots.get_mut(index) {
            Some(slot) => *slot = fresh,
            None if index < MAX_PARTIES => self.slots.push(fresh),
            None => {}
        }
        Party { index, generation }
    }

    /// Lets a party go.
    pub fn leave(&mut self, party: Party) {
        if let Some(slot) = self.slot(party) {
            slot.present = false;
            slot.frame = Vec::new();
        }
        if self.active == Some(party) {
            self.active = None;
        }
    }

    /// Keeps what a party says from the others, or no longer.
    pub fn mute(&mut self, party: Party, muted: bool) {
        if let Some(slot) = self.slot(party) {
            slot.muted = muted;
        }
    }

    fn slot(&mut self, party: Party) -> Option<&mut Slot> {
        find(&mut self.slots, party)
    }

    /// What a party says in this tick. A frame that is too short goes on with silence; who says nothing is silent.
    pub fn speak(&mut self, party: Party, samples: &[i16]) {
        let Some(slot) = find(&mut self.slots, party) else { return };
        let (said, rest) = slot.frame.split_at_mut(samples.len().min(self.frame));
        for (to, sample) in said.iter_mut().zip(samples) {
            *to = f32::from(*sample);
        }
        rest.fill(0.0);
        slot.spoken = true;
    }

    /// Ends the tick: adds up what was said and looks who speaks.
    pub fn mix(&mut self) {
        self.sum.fill(0.0);
        let tick = self.frame as f32 / self.sample_rate.max(1) as f32;
        for slot in self.slots.iter_mut().filter(|slot| slot.present) {
            if !std::mem::take(&mut slot.spoken) || slot.muted {
                slot.frame.fill(0.0);
                slot.speech.silent(tick);
                continue;
            }
            slot.speech.hear(&slot.frame, tick);
            for (sum, sample) in self.sum.iter_mut().zip(&slot.frame) {
                *sum += sample;
            }
        }
        self.choose_speaker();
    }

    /// What a party hears of this tick: all others. The rest of a longer `into` stays as it is.
    pub fn listen(&mut self, party: Party, into: &mut [i16]) {
        match find(&mut self.slots, party) {
            Some(slot) => slot.limiter.write(&self.sum, &slot.frame, into),
            None => into.fill(0),
        }
    }

    /// Everything that was said in this tick, for a recording.
    pub fn listen_to_all(&self, into: &mut [i16]) {
        for (to, sum) in into.iter_mut().zip(&self.sum) {
            *to = *sum as i16; // saturates
        }
    }

    /// Who speaks, if anybody does: the loudest, but not changed for a cough or a word in between.
    #[must_use]
    pub fn active_speaker(&self) -> Option<Party> {
        self.active
    }

    /// How loud a party is now, in decibels above digital silence (0 to 96).
    #[must_use]
    pub fn level(&self, party: Party) -> f32 {
        let slot =
            self.slots.get(party.index).filter(|slot| slot.present && slot.generation == party.generation);
        slot.map_or(0.0, |slot| slot.speech.level())
    }

    fn choose_speaker(&mut self) {
        let parties = self.slots.iter().enumerate().filter(|(_, slot)| slot.present);
        let speaking = parties.filter(|(_, slot)| slot.speech.is_speech());
        let loudest =
            speaking.max_by(|(_, one), (_, other)| one.speech.level().total_cmp(&other.speech.level()));
        let challenger =
            loudest.map(|(index, slot)| (Party { index, generation: slot.generation }, slot.speech.level()));
        let held = self.active.and_then(|party| Some((party, self.slot(party)?.speech)));
        self.active =
            match (held, challenger) {
                (Some((holder, speech)), Some((party, level))) if party != holder => {
                    if speech.yields_to(level) { Some(party) } else { Some(holder) }
                }
                (_, Some((party, _))) => Some(party),
                (Some((holder, speech)), None) if !speech.has_ended() => Some(holder),
                (_, None) => None,
            };
    }
}

/// The slot of a party, unless it has left.
fn find(slots: &mut [Slot], party: Party) -> Option<&mut Slot> {
    let slot = slots.get_mut(party.index)?;
    (slot.present && slot.generation == party.generation).then_some(slot)
}
