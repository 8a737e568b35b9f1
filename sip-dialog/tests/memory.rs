//! What an established call costs in memory, and that all of it comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite};
use sip_dialog::{Body, Event};

const CALLS: usize = 3000;
/// Octets for a call that stands, with its share of the tables: RFC 3261 §12 asks for a handful of texts.
const MOST: usize = 1152;

/// After its transactions are over a call that stands keeps its dialog and little else.
#[test]
fn an_established_call_is_small() {
    let mut pair = Pair::new();
    pair.quiet = true;
    let taken = allocation_counter::measure(|| calls_that_stand(&mut pair));
    let each = usize::try_from(taken.bytes_current).unwrap() / (2 * CALLS);
    println!("{each} octets for each side of an established call");
    assert!(each <= MOST, "{each} octets for each side of a call");
    let returned = allocation_counter::measure(|| {
        let calls: Vec<_> = pair.alice.calls().collect();
        for some in calls.chunks(50) {
            for call in some {
                pair.alice.hang_up(pair.now, *call).unwrap();
            }
            pair.pass(Duration::from_secs(1));
            while pair.alice.poll_event().is_some() || pair.bob.poll_event().is_some() {}
        }
        pair.nothing_is_left();
    });
    // What stays is room in tables for as many again.
    let kept = usize::try_from(taken.bytes_current + returned.bytes_current).unwrap() / (2 * CALLS);
    println!("{kept} octets kept for each");
    assert!(kept <= MOST / 2, "{kept} octets for each are kept");
}

fn calls_that_stand(pair: &mut Pair) {
    let offer =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    for _ in 0..CALLS {
        pair.alice.invite(pair.now, invite(Some(offer))).unwrap();
        pair.settle();
        while let Some(event) = pair.bob.poll_event() {
            if let Event::Incoming { call, .. } = event {
                pair.bob.accept(pair.now, call, Some(Body::sdp(offer))).unwrap();
            }
        }
        pair.settle();
        while pair.alice.poll_event().is_some() || pair.bob.poll_event().is_some() {}
    }
    pair.pass(Duration::from_secs(70));
    assert_eq!((pair.alice.calls().count(), pair.bob.calls().count()), (CALLS, CALLS));
}
