//! What a session keeps for its whole life.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use sdp::{LocalMedia, OfferAnswer};

/// A plain audio call, on one side, everything included.
const LIMIT: u64 = 1280;

#[test]
fn a_plain_audio_call_keeps_little() {
    let run = || {
        let mut alice =
            OfferAnswer::new(LocalMedia::audio("192.0.2.1:4000".parse().unwrap()), 1 << 60).unwrap();
        let mut bob =
            OfferAnswer::new(LocalMedia::audio("192.0.2.2:4000".parse().unwrap()), 1 << 61).unwrap();
        let offer = alice.create_offer().unwrap().to_string().parse().unwrap();
        let answer = bob.receive_offer(&offer).unwrap().to_string().parse().unwrap();
        alice.receive_answer(&answer).unwrap();
        [alice, bob]
    };
    drop(run()); // what is made once for the program
    let mut kept = None;
    let heap = allocation_counter::measure(|| kept = Some(run()));
    let both =
        u64::try_from(heap.bytes_current).unwrap() + u64::try_from(size_of::<[OfferAnswer; 2]>()).unwrap();
    println!("{} bytes for each side, {} of them on the stack", both / 2, size_of::<OfferAnswer>());
    assert!(both / 2 <= LIMIT, "{} bytes for each side", both / 2);
    drop(kept);
}
