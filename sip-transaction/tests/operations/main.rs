//! Any operations in any order: the layer never panics, keeps its books, and is empty in the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod machine;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_operations_leave_nothing_behind(octets in proptest::collection::vec(any::<u8>(), 0..800)) {
        machine::run(&octets);
    }
}

#[test]
fn the_operations_reach_what_they_are_for() {
    // Deterministic octets instead of luck: over these runs each kind of thing must have happened.
    let mut state = 1u64;
    let mut sum = sip_transaction::Counters::default();
    for _ in 0..200 {
        let octets: Vec<u8> = (0..1200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let counters = machine::run(&octets);
        macro_rules! add { ($($field:ident)*) => { $(sum.$field += counters.$field;)* } }
        add!(requests acks absorbed cancels cancels_unmatched bad_requests refused merged responses);
        add!(responses_absorbed strays responses_dropped sent retransmitted failovers failed unacknowledged);
        add!(unanswered races passed_over);
    }
    let reached = [
        sum.requests,
        sum.acks,
        sum.absorbed,
        sum.cancels,
        sum.cancels_unmatched,
        sum.bad_requests,
        sum.refused,
        sum.merged,
        sum.responses,
        sum.responses_absorbed,
        sum.strays,
        sum.responses_dropped,
        sum.sent,
        sum.retransmitted,
        sum.failovers,
        sum.failed,
        sum.unacknowledged,
        sum.unanswered,
        sum.races,
        sum.passed_over,
    ];
    assert!(reached.iter().all(|&count| count > 0), "{sum:?}");
}
