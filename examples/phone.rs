//! A call in twenty lines: register, call, show what goes on, play a file, hang up.
//!
//! `cargo run -p examples --example phone -- sip:alice@example.com secret sip:bob@example.com hello.wav`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_ua::Phone;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [us, password, them, file] = arguments.as_slice() else {
        return Err("usage: phone sip:US@DOMAIN PASSWORD sip:THEM@DOMAIN FILE.wav".into());
    };
    let phone = Phone::builder(us).password(password).bind().await?;
    phone.register().await?;
    let mut ringing = phone.call(them).await?; // authenticates; drop = CANCEL
    while let Some(progress) = ringing.progress().await {
        println!("{} {}", progress.status(), progress.reason());
    }
    let call = ringing.answered().await?; // drop = BYE
    call.audio().play(file).await?;
    let summary = call.hang_up().await;
    println!("{:.1?}, estimated quality {:.1} of 4.5", summary.duration, summary.statistics.quality.mos);
    phone.close().await; // hangs up, unregisters
    Ok(())
}
