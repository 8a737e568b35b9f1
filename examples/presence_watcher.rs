//! Shows the presence of somebody as it changes (RFC 3856).
//!
//! `cargo run -p examples --example presence_watcher -- udp:127.0.0.1:0 sip:bob@127.0.0.1:5070`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_ua::Phone;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, buddy] = arguments.as_slice() else {
        return Err("usage: presence_watcher udp:ADDRESS:PORT sip:BUDDY@HOST".into());
    };
    let phone = Phone::builder("sip:watcher@localhost").listen(listen).bind().await?;
    let mut watch = phone.watch(buddy).await?; // refreshed by itself; drop = unsubscribe
    while let Some(presence) = watch.next().await {
        let notes: Vec<&str> = presence.notes.iter().map(|note| note.text.as_str()).collect();
        let word = if presence.is_open() { "open" } else { "closed" };
        println!("{} is {word} {}", presence.entity, notes.join(", "));
    }
    println!("{buddy} cannot be watched any more");
    phone.close().await;
    Ok(())
}
