//! One library, one piece of work, one message, many rounds: `compare.sh` counts what that costs.
//!
//!     bench-parse LIBRARY parse|read|print FILE ROUNDS     prints nanoseconds a round, and what was read
#![forbid(unsafe_code)]

mod libraries;

use bytes::Bytes;
use libraries::{Library, Read};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, work, file, rounds] = arguments.as_slice() else {
        panic!("usage: bench-parse LIBRARY parse|read|print FILE ROUNDS");
    };
    let octets = Bytes::from(std::fs::read(file).expect("a file to read"));
    let rounds: u32 = rounds.parse().expect("a number of rounds");
    match library.as_str() {
        "ours" => run::<libraries::Ours>(work, &octets, rounds),
        "ours-typed" => run::<libraries::OursTyped>(work, &octets, rounds),
        "rsip" => run::<libraries::Rsip>(work, &octets, rounds),
        "rsipstack" => run::<libraries::Rsipstack>(work, &octets, rounds),
        "ezk" => run::<libraries::Ezk>(work, &octets, rounds),
        "rvoip" => run::<libraries::Rvoip>(work, &octets, rounds),
        _ => panic!("no such library: {library}"),
    }
}

fn run<L: Library>(work: &str, octets: &Bytes, rounds: u32) {
    let Some(message) = L::parse(octets) else {
        println!("refused");
        return;
    };
    let found = L::read(&message);
    let start = Instant::now();
    for _ in 0..rounds {
        match work {
            "parse" => drop(black_box(L::parse(black_box(octets)))),
            "read" => drop(black_box(L::parse(black_box(octets)).map(|message| L::read(&message)))),
            "print" => drop(black_box(L::print(black_box(&message)))),
            _ => panic!("no such work: {work}"),
        }
    }
    let each = start.elapsed().as_nanos() / u128::from(rounds.max(1));
    println!("{each} {}", missing(&found));
}

/// Of what a proxy reads, what the library did not give.
fn missing(found: &Read) -> String {
    let parts = [
        ("branch", found.branch),
        ("sent-by", found.sent_by),
        ("CSeq", found.cseq),
        ("Call-ID", found.call_id),
        ("From tag", found.from_tag),
        ("To tag", found.to_tag),
        ("Max-Forwards", found.max_forwards),
        ("Route", found.route),
        ("Contact", found.contact),
    ];
    let missing: Vec<&str> = parts.iter().filter(|(_, found)| *found == 0).map(|(name, _)| *name).collect();
    missing.join(", ")
}
