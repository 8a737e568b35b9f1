//! A redirect server that remembers nothing: whoever it is asked for is to be found at another host (302). A flood costs
//! it no memory, and it can be restarted at any moment: it is a stateless user agent server (RFC 3261 §8.2.7).
//!
//! `cargo run -p examples --example stateless -- --listen udp:127.0.0.1:5060 --to example.net`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::collections::VecDeque;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use sip_message::headers::Contact;
use sip_message::{Message, Method, Request, Response, StatusCode, Uri};
use sip_transport::tokio::{Driver, Listen, Options, Sockets};
use sip_transport::{Answer, Core, FlowEvent, Query, Received, Token, Transmit, response};

struct Redirect {
    host: String,
    keys: RandomState,
    out: VecDeque<Transmit>,
}

impl Redirect {
    fn answer(&self, request: &Request) -> Result<Response, Box<dyn Error>> {
        // What is wrong with a request is told by its check, with the status that the RFC names.
        if let Err(wrong) = request.check() {
            let reply = request.reply(wrong.status).reason(&wrong.reason);
            return Ok(reply.to_tag(&self.tag(request)).build()?);
        }
        let asked = request.uri()?;
        let there = Uri::sip(asked.user(), &self.host, None)?;
        let reply = request.reply(StatusCode::MOVED_TEMPORARILY).header(&Contact::new(&there));
        Ok(reply.to_tag(&self.tag(request)).build()?)
    }

    /// A repeated request has to get the same To tag, and nothing is remembered: it is computed.
    fn tag(&self, request: &Request) -> String {
        let fields = ["Via", "From", "Call-ID", "CSeq"].map(|name| request.headers.text(name));
        format!("{:016x}", self.keys.hash_one(fields))
    }
}

impl Core for Redirect {
    fn receive(&mut self, _now: Instant, received: Received) {
        let Message::Request(request) = received.message else { return };
        // There is nothing to acknowledge and nothing to cancel.
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return;
        }
        // What cannot be answered is what does not say where to.
        if let Ok(answer) = self.answer(&request)
            && let Ok(way) = response::path_of(&answer, &received.path)
        {
            let payload = answer.to_bytes();
            let transmit =
                Transmit { path: way.path, payload, reopen: way.reopen, domain: None, token: Token::NONE };
            self.out.push_back(transmit);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn flow_event(&mut self, _now: Instant, _event: FlowEvent) {}
    fn resolved(&mut self, _now: Instant, _answer: Answer) {}
    fn handle_timeout(&mut self, _now: Instant) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_query(&mut self) -> Option<Query> {
        None
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut listen, mut host) = (Vec::<Listen>::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--listen", Some(text)) => listen.push(text.parse()?),
            ("--to", Some(text)) => host = Some(text),
            _ => return Err("usage: stateless --listen udp:ADDRESS:PORT [--listen ...] --to HOST".into()),
        }
    }
    let host = host.ok_or("to which host? --to HOST")?;
    let sockets = Sockets::bind(&listen)?;
    let core = Redirect { host, keys: RandomState::new(), out: VecDeque::new() };
    let handle = Driver::spawn(core, sockets, Options::default());
    for local in handle.locals().iter() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    tokio::signal::ctrl_c().await?;
    handle.close();
    handle.stopped().await;
    Ok(())
}
