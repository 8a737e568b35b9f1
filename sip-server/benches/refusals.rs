//! What a call costs the core that is refused because there is too much to do, without sockets: INVITE, 503, ACK. The instructions:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*ServerCore*Core*receive*' target/release/deps/refusals-* --bench 2000
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs)]

mod calls;

use std::time::Duration;

use calls::{ALICE, Bench, SDP};
use sip_message::{Limits, Response};
use sip_transaction::Tier;

fn main() {
    // `cargo test` builds and runs this too: it has to hold then, not to measure.
    let mut arguments = std::env::args().skip_while(|argument| argument != "--bench");
    let measured = arguments.next().is_some();
    let calls = arguments.next().and_then(|number| number.parse().ok());
    let calls: usize = calls.unwrap_or(if measured { 200_000 } else { 500 });

    let mut bench = Bench::new(|_| {});
    bench.least_tier(Tier::NoNewDialogs);
    bench.steps = Some(Vec::with_capacity(calls * 2));
    for _ in 0..calls {
        refused(&mut bench);
    }
    let steps = bench.steps.take().unwrap();
    let all: Duration = steps.iter().sum();
    println!("{calls} calls refused, {:.2} us each", all.as_secs_f64() * 1e6 / calls as f64);
}

fn refused(bench: &mut Bench) {
    bench.calls += 1;
    bench.now += bench.between;
    let (uri, to) = ("sip:bob@example.com", "To: <sip:bob@example.com>\r\n");
    let invite = bench.request("INVITE", uri, to, SDP);
    let answer = bench.give(ALICE, invite);
    let answer = Response::parse(answer.payload, &Limits::default()).unwrap();
    assert_eq!(answer.status().code(), 503);
    let to = format!("To: {}\r\n", answer.headers.text("To").unwrap());
    let ack = bench.request("ACK", uri, &to, "");
    // §17.1.1.3: the branch of the INVITE.
    let ack = String::from_utf8(ack.to_vec()).unwrap().replacen("z9hG4bKACK", "z9hG4bKINVITE", 1);
    bench.take(ALICE, ack.into());
}
