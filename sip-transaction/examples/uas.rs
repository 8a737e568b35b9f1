//! Answers calls with 180 and 200 and a session description that leads nowhere, hangs up when told to, and answers
//! everything else with 200: a server to aim load at, on nothing but transactions.
//!
//! ```text
//! cargo run --release -p sip-transaction --example uas -- --listen udp:127.0.0.1:5070
//! ```
#![allow(clippy::print_stdout)]

use sip_message::headers::Contact;
use sip_message::{Method, Response, StatusCode};
use sip_transaction::tokio::{Endpoint, Incoming, ServerTransaction};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 9 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n";

/// A 200 that waits for its ACK: RFC 3261 §13.3.1.4 repeats it, T1 doubled up to T2, for 64·T1.
struct Unacknowledged {
    transaction: ServerTransaction,
    ok: Response,
    since: Instant,
    next: Instant,
    interval: Duration,
}

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Endpoint::builder();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--listen", Some(listen)) => builder = builder.listen(&listen)?,
            _ => return Err("usage: uas --listen udp:ADDRESS:PORT [--listen tcp:ADDRESS:PORT]".into()),
        }
    }
    let endpoint = builder.bind().await?;
    for local in endpoint.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    let mut waiting: HashMap<String, Unacknowledged> = HashMap::new();
    let mut tick = tokio::time::interval(T1 / 2);
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(Incoming::Request(transaction)) => answer(&endpoint, transaction, &mut waiting)?,
                Some(Incoming::Ack { request, .. }) => {
                    if let Some(call) = request.headers.text("Call-ID") {
                        waiting.remove(call);
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = tick.tick() => repeat(&mut waiting),
        }
    }
}

fn answer(
    endpoint: &Endpoint,
    transaction: ServerTransaction,
    waiting: &mut HashMap<String, Unacknowledged>,
) -> Result<(), Box<dyn Error>> {
    let request = transaction.request();
    if *request.method() != Method::Invite {
        return Ok(transaction.respond(&request.reply(StatusCode::OK).to_tag("uas").build()?)?);
    }
    let tag = endpoint.token();
    let local = endpoint.locals().at(transaction.path()).ok_or("the path has no listener")?;
    let contact = Contact::new(&local.uri(Some("uas"))?);
    let ringing = request.reply(StatusCode::RINGING).to_tag(&tag).header(&contact).build()?;
    transaction.respond(&ringing)?;
    let ok =
        request.reply(StatusCode::OK).to_tag(&tag).header(&contact).body("application/sdp", SDP).build()?;
    transaction.respond(&ok)?;
    let call = request.headers.text("Call-ID").unwrap_or_default().to_owned();
    let now = Instant::now();
    waiting.insert(call, Unacknowledged { transaction, ok, since: now, next: now + T1, interval: T1 });
    Ok(())
}

fn repeat(waiting: &mut HashMap<String, Unacknowledged>) {
    let now = Instant::now();
    waiting.retain(|_, call| {
        if call.next <= now {
            call.interval = (call.interval * 2).min(T2);
            call.next = now + call.interval;
            // Once the transaction is over (Timer L) nobody waits for it any more.
            return call.transaction.respond(&call.ok).is_ok();
        }
        now.duration_since(call.since) < T1 * 64
    });
}
