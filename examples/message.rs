//! Reads a request as it came, does to it what a proxy does, and prints both.
//!
//! `cargo run -p examples --example message`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_message::headers::{Contact, From, MaxForwards, RecordRoute, To, Via};
use sip_message::{Limits, Message, StatusCode};

const INVITE: &str = "\
INVITE sip:bob@biloxi.example SIP/2.0\r\n\
v: SIP/2.0/UDP pc33.atlanta.example:5060;branch=z9hG4bKnashds8\r\n\
Max-Forwards: 70\r\n\
From: \"Alice\" <sip:alice@atlanta.example>;tag=1928301774\r\n\
t: Bob <sip:bob@biloxi.example>\r\n\
Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n\
CSeq: 314159 INVITE\r\n\
X-House:   kept\r\n  as it came\r\n\
m: <sip:alice@pc33.atlanta.example:5060;transport=tcp>\r\n\
l: 0\r\n\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let message = Message::parse(INVITE.into(), &Limits::default())?;
    let Message::Request(mut request) = message else { return Err("that was a response".into()) };
    request.check()?; // or the status with which to refuse it

    // Typed fields are parsed where they are asked for; compact names are the same fields.
    let from: From = request.headers.require()?;
    let to: To = request.headers.require()?;
    let contact: Contact = request.headers.require()?;
    println!("{} calls {} from tag {:?}", from.display_name().unwrap_or("?"), to.uri(), from.tag());
    if let Some(uri) = contact.uri() {
        println!("reachable at {} over {:?}\n", uri.host_port(), uri.transport_param());
    }

    // What a proxy changes. All other lines leave byte for byte as they came, folding included.
    request.headers.update_first::<MaxForwards>(|hops| hops.0 = hops.0.saturating_sub(1))?;
    request.headers.push_front(&RecordRoute::new(&"sip:proxy.biloxi.example;lr".parse()?));
    let via = Via::new("UDP", "proxy.biloxi.example", None).with_param("branch", Some("z9hG4bKp1"));
    request.headers.push_front(&via);
    println!("{request}");

    // An answer starts with the lines that the RFC copies from the request.
    let busy = request.reply(StatusCode::BUSY_HERE).to_tag("a6c85cf").raw("Retry-After", "60").build()?;
    println!("{busy}");
    Ok(())
}
