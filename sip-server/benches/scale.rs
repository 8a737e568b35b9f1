//! What a call costs the core as users register and transactions live: a Markdown table, and `docs/scale.svg` where `SCALE_SVG` names
//! that file. Each figure is the least of several rounds' medians, since a scheduler only ever adds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs)]

mod calls;

use std::fmt::Write as _;
use std::time::Duration;

use calls::Bench;

/// Calls of a round.
const CALLS: usize = 400;
const ROUNDS: usize = 9;

/// A point of a curve: how many there are, and microseconds of a call.
type Point = (usize, f64);

/// What the core takes for the messages of a call.
fn cost(bench: &mut Bench, mut whom: impl FnMut(&mut Bench)) -> f64 {
    let round = |bench: &mut Bench, whom: &mut dyn FnMut(&mut Bench)| {
        let mut calls = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            whom(bench);
            bench.steps = Some(Vec::new());
            bench.call();
            calls.push(bench.steps.take().unwrap().iter().sum::<Duration>());
        }
        calls.sort_unstable();
        calls[CALLS / 2]
    };
    (0..ROUNDS).map(|_| round(bench, &mut whom)).min().unwrap().as_secs_f64() * 1e6
}

/// Calls to users at random among so many who are registered.
fn by_users(users: usize) -> Point {
    let mut bench = Bench::new(|_| {});
    bench.between = Duration::from_millis(100);
    for user in 0..users {
        bench.calls += 1;
        bench.now += Duration::from_millis(1);
        bench.tick();
        bench.register_user(user as u64, 7200);
    }
    bench.now += Duration::from_secs(40);
    bench.tick(); // the transactions of the registrations end
    let mut random = 1_u64;
    let whom = move |bench: &mut Bench| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bench.called = format!("user{}", (random >> 33) % users as u64);
    };
    (users, cost(&mut bench, whom))
}

/// Calls while so many transactions live.
fn by_transactions(wanted: usize) -> Point {
    let mut bench = Bench::new(|config| {
        config.next_hop = Some("sip:192.0.2.12:5060".parse().unwrap());
        config.limits.transactions.server_transactions = 10_000_000;
        config.limits.transactions.client_transactions = 10_000_000;
        config.limits.contexts = 10_000_000;
    });
    // A call leaves three transactions behind for 32 s.
    let calls = wanted.div_ceil(3);
    bench.between = Duration::from_secs(33) / u32::try_from(calls).unwrap();
    for _ in 0..calls {
        bench.call();
    }
    let live = bench.live();
    (live, cost(&mut bench, |_| {}))
}

fn main() {
    // `cargo test` builds and runs this too: it has to hold then, not to measure.
    let measure = std::env::args().any(|argument| argument == "--bench");
    let most = if measure { 6 } else { 2 };
    let users: Vec<Point> = (1..=most).map(|power| by_users(10_usize.pow(power))).collect();
    let transactions: Vec<Point> =
        (2..=most.max(2)).map(|power| by_transactions(10_usize.pow(power))).collect();
    for (name, points) in [("registered users", &users), ("live transactions", &transactions)] {
        println!("| {name} | a call |\n|---:|---:|");
        for (count, cost) in points {
            println!("| {count} | {cost:.1} µs |");
        }
        println!();
    }
    if let Some(file) = std::env::var_os("SCALE_SVG") {
        std::fs::write(file, svg(&users, &transactions)).unwrap();
    }
}

fn svg(users: &[Point], transactions: &[Point]) -> String {
    let top = users.iter().chain(transactions).map(|(_, cost)| *cost).fold(0.0, f64::max) * 1.2;
    let x = |count: f64| 60.0 + (count.log10() - 1.0) / 5.0 * 520.0;
    let y = |cost: f64| 330.0 - cost / top * 300.0;
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 620 380\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"620\" height=\"380\" fill=\"white\"/><path d=\"M60 20V330H600\" fill=\"none\" stroke=\"#444\"/>\n",
    );
    for power in 1..=6 {
        let at = x(10_f64.powi(power));
        let _ = writeln!(
            out,
            "<text x=\"{at:.0}\" y=\"350\" text-anchor=\"middle\">{}</text>",
            10_usize.pow(power as u32)
        );
    }
    for part in 0..=4 {
        let cost = top * f64::from(part) / 4.0;
        let _ = writeln!(
            out,
            "<text x=\"54\" y=\"{:.0}\" text-anchor=\"end\">{cost:.0} µs</text>",
            y(cost) + 4.0
        );
    }
    out.push_str("<text x=\"330\" y=\"372\" text-anchor=\"middle\">how many there are</text>\n");
    for (points, color, name, at) in [
        (users, "#1d4ed8", "a call by look-up, by registered users", 300),
        (transactions, "#c2410c", "a call to a next hop, by live transactions", 316),
    ] {
        let line: Vec<String> =
            points.iter().map(|(count, cost)| format!("{:.1} {:.1}", x(*count as f64), y(*cost))).collect();
        let _ = writeln!(
            out,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            line.join(" L")
        );
        let _ = writeln!(out, "<text x=\"80\" y=\"{at}\" fill=\"{color}\">{name}</text>");
    }
    out.push_str("</svg>\n");
    out
}
