//! A phone that answers every call, plays a tone and records what it hears (into memory), until the caller hangs up.
//!
//! `cargo run --release -p examples --example talking_phone -- udp:127.0.0.1:5060 440`. Ctrl-C ends it and tells what all calls
//! together sent and heard.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rtp::audio::tone::Tone;
use sip_ua::{IncomingCall, Phone};

// An allocator of choice: a call is some dozens of small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of all calls: packets sent, heard, lost on the way, and too late to be played.
static TOTALS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, hertz] = arguments.as_slice() else {
        return Err("usage: talking_phone udp:ADDRESS:PORT HERTZ".into());
    };
    let hertz: f64 = hertz.parse()?;
    let phone = Phone::builder("sip:talker@127.0.0.1").listen(listen).bind().await?;
    for local in phone.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    // Whole periods, so that nothing is heard of the joint when it begins again.
    let tone: Arc<[i16]> = Tone::sine(hertz).samples().take(10 * 8000).collect();
    let mut calls = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            incoming = phone.incoming() => match incoming {
                Some(incoming) => { calls.spawn(talk(incoming, Arc::clone(&tone))); }
                None => break,
            },
            Some(_) = calls.join_next(), if !calls.is_empty() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    phone.close().await;
    while calls.join_next().await.is_some() {}
    let [sent, heard, lost, late] = TOTALS.each_ref().map(|total| total.load(Relaxed));
    println!("{sent} packets sent, {heard} heard, {lost} lost, {late} late");
    Ok(())
}

async fn talk(incoming: IncomingCall, tone: Arc<[i16]>) {
    // The caller may have given up.
    let Ok(call) = incoming.answer().await else { return };
    let audio = call.audio();
    audio.start_recording();
    let playing = async { while audio.play_samples(Arc::clone(&tone)).await.is_ok() {} };
    let summary = tokio::select! {
        summary = call.ended() => summary,
        () = playing => call.ended().await,
    };
    let (session, jitter) = (summary.statistics.session, summary.statistics.jitter);
    let parts = [session.sent.packets, session.received.packets, session.received.lost(), jitter.late];
    for (total, part) in TOTALS.iter().zip(parts) {
        total.fetch_add(part, Relaxed);
    }
}
