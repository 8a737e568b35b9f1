//! Asks before it connects: calls one party, puts it on hold, calls the other, and connects the two (RFC 5589 §7.1).
//!
//! `cargo run -p examples --example attended_transfer -- udp:127.0.0.1:0 sip:bob@127.0.0.1:5070 sip:carol@127.0.0.1:5080`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_ua::{Call, CallError, Phone};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, first, second] = arguments.as_slice() else {
        return Err("usage: attended_transfer udp:ADDRESS:PORT sip:ONE@HOST sip:OTHER@HOST".into());
    };
    let phone = Phone::builder("sip:secretary@localhost").listen(listen).bind().await?;
    let one = call(&phone, first).await?;
    one.hold().await?;
    let other = call(&phone, second).await?;
    // The first party calls the second one, whose phone takes that call in the place of ours.
    let status = one.transfer_to(&other).await?;
    println!("{first} and {second} are connected: {} {}", status.code(), status.reason());
    one.hang_up().await;
    phone.close().await;
    Ok(())
}

async fn call(phone: &Phone, to: &str) -> Result<Call, CallError> {
    let call = phone.call(to).await?.answered().await?;
    println!("{to} has answered");
    Ok(call)
}
