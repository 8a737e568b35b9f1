//! What a registration with digest costs the core, without sockets: REGISTER, 401, REGISTER with credentials, 200. The instructions:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*ServerCore*Core*receive*' target/release/deps/registrations-* --bench 2000
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs)]

mod calls;

use std::time::Duration;

use calls::{ALICE, Bench};
use sip_auth::{Algorithm, Attempts, Authenticator, Secret};
use sip_message::{Limits, Request, Response};
use sip_server::Users;

const USERS: usize = 10_000;

fn main() {
    // `cargo test` builds and runs this too: it has to hold then, not to measure.
    let mut arguments = std::env::args().skip_while(|argument| argument != "--bench");
    let measured = arguments.next().is_some();
    let pairs = arguments.next().and_then(|number| number.parse().ok());
    let pairs: usize = pairs.unwrap_or(if measured { 100_000 } else { 500 });

    let users: String = (0..USERS).map(|user| format!("user{user}:pw{user}\n")).collect();
    let mut bench = Bench::new(|config| {
        config.users = Some(Users::parse(&users).unwrap());
        config.algorithms = vec![Algorithm::MD5];
    });
    bench.steps = Some(Vec::with_capacity(pairs * 3));
    for _ in 0..pairs {
        register(&mut bench);
    }
    let steps = bench.steps.take().unwrap();
    let all: Duration = steps.iter().sum();
    println!("{pairs} registrations, {:.2} us each", all.as_secs_f64() * 1e6 / pairs as f64);
}

fn register(bench: &mut Bench) {
    bench.calls += 1;
    bench.now += bench.between;
    bench.tick();
    let user = bench.calls as usize % USERS;
    let to = format!("To: <sip:user{user}@example.com>\r\nExpires: 600\r\n");
    let from = "From: \"Alice\" <sip:alice@chicago.example>";
    let asks = |bench: &mut Bench, number: u32| {
        let text = String::from_utf8(bench.request("REGISTER", "sip:example.com", &to, "").to_vec()).unwrap();
        text.replace(from, &format!("From: <sip:user{user}@example.com>"))
            .replace("CSeq: 1 ", &format!("CSeq: {number} "))
            .replace("z9hG4bK", &format!("z9hG4bK{number}"))
    };
    let first = asks(bench, 1);
    let challenged = bench.give(ALICE, first.into());
    let challenged = Response::parse(challenged.payload, &Limits::default()).unwrap();
    assert_eq!(challenged.status().code(), 401);

    let again = asks(bench, 2);
    let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, format!("user{user}"), Secret::password(format!("pw{user}")));
    phone.answer(&mut again, &challenged, &mut Attempts::default(), "c").unwrap();
    let answered = bench.give(ALICE, again.to_string().into());
    let answered = Response::parse(answered.payload, &Limits::default()).unwrap();
    assert_eq!(answered.status().code(), 200);
}
