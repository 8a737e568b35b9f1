//! A server whose calls a program of your own decides on: here at night they go to a machine, and 1234 is the doorman.
//!
//! `cargo run -p examples --example custom_router -- udp:127.0.0.1:5060 sip:door@127.0.0.1:5070
//! sip:machine@127.0.0.1:5080`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::time::{Duration, SystemTime};

use sip_message::{StatusCode, Uri};
use sip_server::routing::{Call, Deciding, Decision, Destination, Router, Step, When};
use sip_server::{Server, Users};

struct Doorman {
    door: Uri,
    machine: Uri,
}

impl Router for Doorman {
    fn decide(&self, call: Call) -> Deciding<'_> {
        Box::pin(async move {
            let Some(called) = &call.called else { return Decision::Default };
            // A database, or another server, can be asked here: nothing waits for it but this call.
            let seconds =
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
            match called.user() {
                "1234" => Decision::to(Destination::Uri(self.door.clone())),
                "boss" if call.user.is_none() => {
                    Decision::Reject(StatusCode::FORBIDDEN, Some("Not for Strangers".into()))
                }
                _ if seconds / 3600 % 24 < 6 => Decision::to(Destination::Uri(self.machine.clone())),
                _ => Decision::Proxy(vec![
                    Step::to(Destination::User(called.clone())).ring(Duration::from_secs(20)),
                    Step::to(Destination::Uri(self.machine.clone())).when(When::NoAnswer),
                ]),
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, door, machine] = arguments.as_slice() else {
        return Err("usage: custom_router udp:ADDRESS:PORT DOOR-URI MACHINE-URI".into());
    };
    let server = Server::builder()
        .listen(listen)
        .domain("example.com")
        .users(Users::parse("alice:wonderland\nboss:builder")?)
        .router(Doorman { door: door.parse()?, machine: machine.parse()? })
        .build()
        .await?;
    for local in server.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    server.run_until(tokio::signal::ctrl_c()).await?;
    Ok(())
}
