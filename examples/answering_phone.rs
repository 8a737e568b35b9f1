//! A phone that answers every call and waits for its end: real dialogs, session descriptions, timers; no sound behind them.
//!
//! `cargo run -p examples --example answering_phone -- --listen udp:127.0.0.1:5060`. Ctrl-C hangs up what is left and ends it.
//! Another media engine than the phone's own is one line: here [`NoMedia`], in a gateway its own.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::sync::Arc;

use sip_ua::{NoMedia, Phone};

// An allocator of choice: a call is some dozens of small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut builder =
        Phone::builder("sip:uas@127.0.0.1").media_engine(Arc::new(NoMedia)).max_calls(1_000_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--listen", Some(listen)) => builder = builder.listen(&listen),
            _ => return Err("usage: answering_phone --listen udp:ADDRESS:PORT [--listen ...]".into()),
        }
    }
    let phone = builder.bind().await?;
    for local in phone.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    let mut calls = 0_u64;
    loop {
        let incoming = tokio::select! {
            incoming = phone.incoming() => incoming,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(incoming) = incoming else { break };
        calls += 1;
        tokio::spawn(async move {
            let _ = incoming.ring();
            // The caller may have given up; a call that stands is held until it ends.
            if let Ok(call) = incoming.answer().await {
                call.ended().await;
            }
        });
    }
    println!("{calls} calls");
    phone.close().await;
    Ok(())
}
