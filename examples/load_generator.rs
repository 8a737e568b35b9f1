//! Places calls at a steady rate, holds each for a while, hangs up, and tells how that went.
//!
//! `cargo run --release -p examples --example load_generator -- udp:127.0.0.1:0 sip:uas@127.0.0.1:5070 1000 20000 0`: 1,000
//! calls a second, 20,000 in all, each held for 0 milliseconds.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_ua::{CallError, NoMedia, Phone};
use tokio::task::JoinSet;

// An allocator of choice: a call is some dozens of small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target, rate, calls, hold] = arguments.as_slice() else {
        return Err(
            "usage: load_generator udp:ADDRESS:PORT sip:TARGET CALLS-PER-SECOND CALLS MILLISECONDS".into()
        );
    };
    let (rate, calls): (f64, u32) = (rate.parse()?, calls.parse()?);
    let hold = Duration::from_millis(hold.parse()?);
    let phone = Phone::builder("sip:load@localhost")
        .listen(listen)
        .media_engine(Arc::new(NoMedia))
        .max_calls(1_000_000)
        .bind()
        .await?;
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..calls {
        let due = begin + Duration::from_secs_f64(f64::from(number) / rate);
        tokio::time::sleep_until(due.into()).await;
        let (phone, target) = (phone.clone(), target.clone());
        tasks.spawn(async move { one_call(&phone, &target, hold).await });
    }
    let (mut waits, mut failures) = (Vec::new(), 0_u32);
    while let Some(outcome) = tasks.join_next().await {
        match outcome? {
            Ok(wait) => waits.push(wait),
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    eprintln!("load_generator: {error}");
                }
            }
        }
    }
    let took = begin.elapsed();
    waits.sort();
    let share = |part: f64| waits.get((waits.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "{} calls in {took:.1?}, {failures} failed; answered in {:.1?} (median), {:.1?} (99 %)",
        waits.len(),
        share(0.5),
        share(0.99)
    );
    phone.close().await;
    if failures > 0 { Err("not every call went well".into()) } else { Ok(()) }
}

/// One call; how long its answer took.
async fn one_call(phone: &Phone, target: &str, hold: Duration) -> Result<Duration, CallError> {
    let begin = Instant::now();
    let call = phone.call(target).await?.answered().await?;
    let wait = begin.elapsed();
    tokio::time::sleep(hold).await;
    call.hang_up().await;
    Ok(wait)
}
