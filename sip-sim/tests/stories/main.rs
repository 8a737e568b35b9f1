//! Calls, transfers, subscriptions and publications as they come, through registrar and proxy on a bad network: whatever is
//! lost, both sides end with the same picture, and nothing is left anywhere. `SIM_SEED=n` replays one run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod story;

use std::collections::HashSet;
use std::sync::Mutex;

use sip_sim::{Conditions, Runs, replayed_seed};

/// Kinds of events that a layer tells, without the rare `AnswerRefused`: one in some thousand stories.
const KINDS: usize = 25;

/// 0 to 30 % loss. Each seed is a story of its own: see [`story::play`] for what must hold in its end.
#[test]
fn every_story_comes_to_its_end_and_leaves_nothing() {
    let all = Mutex::new((HashSet::new(), 0));
    Runs::new(5000).conditions(|seed| Conditions::rough(story::loss(seed))).size(story::SIZE).each(|run| {
        let told = story::play(run).1;
        let mut all = all.lock().unwrap();
        for one in told {
            all.0.extend(one.kinds);
            all.1 += one.replacing;
        }
    });
    if replayed_seed().is_none() {
        let (kinds, replacing) = all.into_inner().unwrap();
        assert!(kinds.len() >= KINDS, "some kind of event is in no story: there are {}", kinds.len());
        assert!(replacing > 20, "only {replacing} calls took the place of others");
    }
}
