//! A menu by keys: 1 plays a tone, 2 sends back what is heard, 0 connects the caller with somebody, # hangs up.
//!
//! `cargo run -p examples --example ivr -- udp:127.0.0.1:5070 sip:operator@127.0.0.1:5080`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::time::Duration;

use rtp::audio::tone::Tone;
use sip_ua::{Call, IncomingCall, Phone};

/// A caller who presses nothing is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, operator] = arguments.as_slice() else {
        return Err("usage: ivr udp:ADDRESS:PORT sip:OPERATOR@HOST".into());
    };
    let phone = Phone::builder("sip:menu@localhost").listen(listen).bind().await?;
    for local in phone.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    while let Some(incoming) = phone.incoming().await {
        let operator = operator.clone();
        tokio::spawn(async move {
            if let Err(error) = menu(incoming, &operator).await {
                eprintln!("ivr: {error}");
            }
        });
    }
    Ok(())
}

async fn menu(incoming: IncomingCall, operator: &str) -> Result<(), Box<dyn Error>> {
    let call = incoming.answer().await?;
    let audio = call.audio();
    audio.play_samples(beep(440.0, 400)).await?;
    while let Ok(Some(key)) = tokio::time::timeout(PATIENCE, audio.next_digit()).await {
        println!("key {key}");
        audio.echo(false);
        match key {
            '1' => audio.play_samples(beep(880.0, 400)).await?,
            '2' => audio.echo(true),
            '0' => return connect(&call, operator).await,
            '#' => break,
            _ => audio.play_samples(beep(220.0, 200)).await?,
        }
    }
    call.hang_up().await;
    Ok(())
}

/// The caller's phone calls the operator; when that is answered our part is over.
async fn connect(call: &Call, operator: &str) -> Result<(), Box<dyn Error>> {
    let status = call.transfer(operator).await?;
    println!("connected: {} {}", status.code(), status.reason());
    Ok(())
}

fn beep(hertz: f64, milliseconds: usize) -> Vec<i16> {
    Tone::sine(hertz).samples().take(milliseconds * 8).collect()
}
