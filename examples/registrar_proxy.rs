//! A server for a house: its users register and call each other, and nobody else's calls are paid for.
//!
//! `cargo run -p examples --example registrar_proxy -- example.com users.txt`, with a line `name:password` a user.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_server::{Server, Users};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [domain, users] = arguments.as_slice() else {
        return Err("usage: registrar_proxy DOMAIN USERS".into());
    };
    let server = Server::builder()
        .listen("udp:0.0.0.0:5060")
        .listen("tcp:0.0.0.0:5060")
        .domain(domain)
        .users(Users::read(users)?)
        .build()
        .await?;
    for local in server.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    let handle = server.handle();
    server.run_until(tokio::signal::ctrl_c()).await?;
    println!("{:?}", handle.counts().server);
    Ok(())
}
