//! Third-party call control, RFC 3725 flow I: calls two phones and has their media flow between them, not through here.
//!
//! `cargo run -p examples --example click_to_dial -- udp:127.0.0.1:0 sip:alice@127.0.0.1:5070 sip:bob@127.0.0.1:5080`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::time::Duration;

use sip_dialog::{Body, Config, Dialogs, Event, Invite};
use sip_message::Response;
use sip_transport::tokio::{Driver, Handle, Options, Sockets};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, first, second] = arguments.as_slice() else {
        return Err("usage: click_to_dial udp:ADDRESS:PORT sip:ONE@HOST sip:OTHER@HOST".into());
    };
    let sockets = Sockets::bind(&[listen.parse()?])?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let mut config = Config::new(sip_transaction::Config::new(seed, sockets.locals().clone()));
    config.session_timer = None; // whose sessions these are may decide on that
    let phones = Driver::spawn(Dialogs::new(config), sockets, Options::default());

    // (1) INVITE without an offer to the first, who offers in its 200.
    let invite = |to: &str, offer| -> Result<Invite, Box<dyn Error>> {
        let from = "Dial <sip:dial@localhost>".parse()?;
        Ok(Invite { to: to.parse()?, from, offer, route: vec![], fields: vec![] })
    };
    let plan = invite(first, None)?;
    let one = phones.with(|phones, now| phones.invite(now, plan))?;
    let offer = answered(&phones).await?;
    println!("{first} has answered");
    // (2) That offer goes to the second, whose answer goes back to the first in its ACK.
    let plan = invite(second, Some(Body::sdp(offer.body().clone())))?;
    let other = phones.with(|phones, now| phones.invite(now, plan))?;
    let outcome = answered(&phones).await;
    let Ok(answer) = outcome else {
        phones.with(|phones, now| phones.hang_up(now, one))?;
        tokio::time::sleep(Duration::from_millis(500)).await; // time for the BYE
        return outcome.map(drop);
    };
    phones.with(|phones, now| phones.acknowledge(now, one, Body::sdp(answer.body().clone())))?;
    println!("{second} has answered; they talk to each other");

    // Whoever hangs up ends both calls.
    loop {
        if let Event::Ended { call, .. } = next(&phones).await {
            let remaining = if call == one { other } else { one };
            let both = phones.with(|phones, now| phones.hang_up(now, remaining)).is_err();
            if both {
                println!("it is over");
                return Ok(());
            }
        }
    }
}

/// The 2xx to the INVITE that is out.
async fn answered(phones: &Handle<Dialogs>) -> Result<Response, Box<dyn Error>> {
    loop {
        match next(phones).await {
            Event::Answered { response, .. } => return Ok(response),
            Event::Ended { cause, .. } => return Err(format!("no answer: {cause:?}").into()),
            _ => {}
        }
    }
}

/// What happened next. A program of one call may look from time to time; `sip_ua` shows how to be woken.
async fn next(phones: &Handle<Dialogs>) -> Event {
    loop {
        if let Some(event) = phones.look(Dialogs::poll_event) {
            return event;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
