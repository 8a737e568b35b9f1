//! Answers everybody and sends back what it hears; any number of calls at once.
//!
//! `cargo run -p examples --example echo_phone -- udp:127.0.0.1:5070`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_ua::{CallError, IncomingCall, Phone};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "udp:0.0.0.0:5070".into());
    let phone = Phone::builder("sip:echo@localhost").listen(&listen).bind().await?;
    for local in phone.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    while let Some(incoming) = phone.incoming().await {
        tokio::spawn(async move {
            if let Err(error) = echo(incoming).await {
                eprintln!("echo_phone: {error}");
            }
        });
    }
    Ok(())
}

async fn echo(incoming: IncomingCall) -> Result<(), CallError> {
    let caller = incoming.from().uri().to_string();
    incoming.ring()?;
    let call = incoming.answer().await?;
    call.audio().echo(true);
    let summary = call.ended().await;
    println!("{caller} listened to itself for {:.1?}", summary.duration);
    Ok(())
}
