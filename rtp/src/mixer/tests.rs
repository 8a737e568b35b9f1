use super::*;
use crate::audio::speech::speech_like;
use crate::audio::tone::{Tone, power_at};
use proptest::prelude::*;

/// Everybody speaks one frame, everybody hears one.
fn tick(mixer: &mut Mixer, said: &[(Party, &[i16])]) -> Vec<Vec<i16>> {
    for (party, frame) in said {
        mixer.speak(*party, frame);
    }
    mixer.mix();
    let hear = |(party, _): &(Party, &[i16])| {
        let mut heard = vec![0; mixer.frame()];
        mixer.listen(*party, &mut heard);
        heard
    };
    said.iter().map(hear).collect()
}

#[test]
fn everybody_hears_all_the_others_and_nobody_himself() {
    let mut mixer = Mixer::new(8000, 160);
    let tones =
        [440.0, 620.0, 1000.0].map(|hertz| Tone::sine(hertz).samples().take(8000).collect::<Vec<_>>());
    let parties = tones.each_ref().map(|_| mixer.join());
    let mut heard = [(); 3].map(|()| Vec::new());
    for at in (0..8000).step_by(160) {
        let said: Vec<_> =
            parties.iter().zip(&tones).map(|(party, tone)| (*party, &tone[at..at + 160])).collect();
        for (all, frame) in heard.iter_mut().zip(tick(&mut mixer, &said)) {
            all.extend(frame);
        }
    }
    for (own, heard) in heard.iter().enumerate() {
        for (other, hertz) in [440.0, 620.0, 1000.0].into_iter().enumerate() {
            let power = power_at(heard, hertz) / 8000f64.powi(2);
            assert!(if own == other { power < 0.001 } else { power > 0.45 }, "{own} hears {hertz}: {power}");
        }
    }
}

#[test]
fn who_is_muted_or_has_left_is_not_heard_and_old_keys_mean_nobody() {
    let mut mixer = Mixer::new(8000, 4);
    let (alice, bob) = (mixer.join(), mixer.join());
    mixer.mute(alice, true);
    assert_eq!(tick(&mut mixer, &[(alice, &[5; 4]), (bob, &[7; 4])]), [[7; 4], [0; 4]]);
    mixer.mute(alice, false);
    mixer.leave(bob);
    let carol = mixer.join();
    assert_ne!(bob, carol);
    mixer.speak(bob, &[9; 4]);
    assert_eq!(tick(&mut mixer, &[(alice, &[5; 4]), (carol, &[1; 2])]), [vec![1, 1, 0, 0], vec![5; 4]]);
    let mut heard = [1; 4];
    mixer.listen(bob, &mut heard);
    assert_eq!((heard, mixer.parties()), ([0; 4], 2));
}

#[test]
fn who_says_nothing_in_a_tick_is_silent_in_it() {
    let mut mixer = Mixer::new(8000, 2);
    let (alice, bob) = (mixer.join(), mixer.join());
    tick(&mut mixer, &[(alice, &[5; 2]), (bob, &[7; 2])]);
    assert_eq!(tick(&mut mixer, &[(alice, &[5; 2])]), [[0; 2]]);
}

#[test]
fn three_at_full_volume_are_turned_down_without_clipping_and_come_back() {
    let mut mixer = Mixer::new(16_000, 320);
    let parties: Vec<Party> = (0..4).map(|_| mixer.join()).collect();
    let loud: Vec<i16> = (0..320).map(|at| if at % 40 < 20 { 30_000 } else { -30_000 }).collect();
    let mut heard = Vec::new();
    for _ in 0..10 {
        let said: Vec<_> = parties.iter().map(|party| (*party, &loud[..])).collect();
        heard = tick(&mut mixer, &said).remove(0);
    }
    assert!(heard.iter().all(|sample| (31_900..=32_000).contains(&sample.unsigned_abs())), "{heard:?}");
    let quiet = [1000; 320];
    let mut levels = Vec::new();
    for _ in 0..50 {
        let said: Vec<_> = parties
            .iter()
            .zip([0, 1, 0, 0])
            .map(|(party, on)| (*party, if on == 1 { &quiet[..] } else { &[0; 320] }))
            .collect();
        levels.push(tick(&mut mixer, &said)[0][319]);
    }
    assert!(levels.is_sorted() && levels[0] < 420 && levels[49] == 1000, "{levels:?}");
}

#[test]
fn the_speaker_changes_with_the_speech_and_not_with_a_click() {
    let mut mixer = Mixer::new(8000, 160);
    let (alice, bob) = (mixer.join(), mixer.join());
    let speech = speech_like(8000, 3);
    let click = [20_000i16; 160];
    let mut who = Vec::new();
    for (at, frame) in speech.as_chunks::<160>().0.iter().enumerate() {
        let said = if at == 25 { &click } else { &[0; 160] };
        tick(&mut mixer, &[(alice, frame), (bob, said)]);
        who.push(mixer.active_speaker());
        assert!(at != 20 || mixer.level(alice) > 45.0 && mixer.level(bob) < 1.0);
    }
    assert_eq!((who[0], who[20], who[26], who[49]), (None, Some(alice), Some(alice), Some(alice)));
    for frame in speech.as_chunks::<160>().0 {
        tick(&mut mixer, &[(alice, &[0; 160]), (bob, frame)]);
    }
    assert_eq!(mixer.active_speaker(), Some(bob));
    for _ in 0..50 {
        tick(&mut mixer, &[]);
    }
    assert_eq!(mixer.active_speaker(), None);
    mixer.leave(bob);
    assert_eq!(mixer.level(bob), 0.0);
}

#[test]
fn a_full_conference_takes_nobody_else_in() {
    let mut mixer = Mixer::new(8000, 1);
    let parties: Vec<Party> = (0..MAX_PARTIES).map(|_| mixer.join()).collect();
    assert!(mixer.is_full());
    let late = mixer.join();
    mixer.speak(late, &[1]);
    assert_eq!(tick(&mut mixer, &[(parties[0], &[0]), (late, &[1])]), [[0], [0]]);
}

proptest! {
    /// What is heard is never more than the ceiling once the gain has set in, and exact as long as nothing is loud.
    #[test]
    fn sums_are_exact_or_turned_down(frames in proptest::collection::vec(proptest::collection::vec(any::<i16>(), 8), 1..6)) {
        let mut mixer = Mixer::new(8000, 8);
        let parties: Vec<Party> = frames.iter().map(|_| mixer.join()).collect();
        let said: Vec<_> = parties.iter().zip(&frames).map(|(party, frame)| (*party, &frame[..])).collect();
        let heard = tick(&mut mixer, &said);
        for (own, heard) in heard.iter().enumerate() {
            let exact = |at: usize| -> i32 {
                frames.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, frame)| i32::from(frame[at])).sum()
            };
            if (0..8).all(|at| exact(at).abs() <= 32_000) {
                prop_assert!(heard.iter().enumerate().all(|(at, sample)| i32::from(*sample) == exact(at)));
            } else {
                prop_assert!(heard.iter().enumerate().all(|(at, sample)| i32::from(*sample).signum() * exact(at).signum() >= 0));
            }
        }
    }
}
