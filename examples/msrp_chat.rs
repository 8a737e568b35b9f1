//! Two people chat over MSRP, each at an endpoint of their own. What SIP would carry in offer and answer, the paths, is handed
//! over by hand.
//!
//! `cargo run -p examples --example msrp_chat`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use msrp::tokio::{Endpoint, Options, Session};
use msrp::{Event, Message};

/// The next message, as text.
async fn hear(session: &mut Session) -> Result<String, Box<dyn Error>> {
    while let Some(event) = session.next().await {
        match event {
            Event::Message(message) => return Ok(message.text().unwrap_or("(no text)").to_owned()),
            Event::Closed(why) => return Err(why.into()),
            _ => {}
        }
    }
    Err("the connection is gone".into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let alice = Endpoint::bind(Options::active_only()).await?;
    let bob = Endpoint::bind(Options::new("127.0.0.1:0".parse()?)).await?;

    // Each makes a URI for this session: it goes into a=path of the session description.
    let (alice, bob) = (alice.open()?, bob.open()?);
    println!("a=path:{}", bob.uri());
    let path = bob.uri().clone().into();

    // Alice connects (a=setup:active), Bob waits (a=setup:passive).
    let (alice, bob) = tokio::join!(alice.connect(path), bob.accept());
    let (mut alice, mut bob) = (alice?, bob?);

    let receipt = alice.send(Message::text("Hey Bob, are you there?").with_success_report()).await?;
    println!("Bob hears: {}", hear(&mut bob).await?);
    receipt.delivered().await?; // Bob's endpoint has reported it
    bob.send(Message::text("Hi, Alice! I'm Bob!")).await?;
    println!("Alice hears: {}", hear(&mut alice).await?);
    Ok(())
}
