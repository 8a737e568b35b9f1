//! Answers every call: 180, then 200 with a session description; 200 to BYE and whatever else it understands.
//!
//! It speaks with transactions alone, so it does by hand the one thing that a dialog would do for it: repeating the 2xx
//! until its ACK comes (RFC 3261 §13.3.1.4). There is no media behind the description.
//!
//! `cargo run -p examples --example uas -- --listen udp:127.0.0.1:5060`; with `--cert FILE --key FILE` also
//! `--listen tls:127.0.0.1:5061`. Ctrl-C ends it with a line of what it has counted: a request that was repeated, because
//! it or its answer was lost, is one.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::headers::Contact;
use sip_message::{HeaderName, Method, Request, Response, StatusCode};
use sip_transaction::tokio::{Endpoint, Incoming, ServerTransaction};
use sip_transport::Transport;
use sip_transport::tokio::tls::{Identity, Tls, TlsOptions};

// An allocator of choice: a call is some dozens of small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Timers T1 and T2 of RFC 3261 §17.1.1.1, and how long a 2xx is repeated.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVE_UP: Duration = Duration::from_secs(32);

/// Answered calls that wait for their ACK; beyond, a 2xx is sent once. A flood of INVITEs without ACK costs about 2 KB
/// each for half a minute.
const UNACKNOWLEDGED: usize = 100_000;

/// What the server is asked for when it is asked for a method that it does not have (RFC 3261 §8.2.1).
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS";

// One thread is enough, and messages need not wander between processors.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Endpoint::builder();
    let (mut certificate, mut key) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--listen", Some(listen)) => builder = builder.listen(&listen)?,
            ("--cert", Some(file)) => certificate = Some(file),
            ("--key", Some(file)) => key = Some(file),
            _ => {
                return Err(
                    "usage: uas --listen udp:ADDRESS:PORT [--listen ...] [--cert FILE --key FILE]".into()
                );
            }
        }
    }
    if let (Some(certificate), Some(key)) = (certificate, key) {
        builder =
            builder.tls(Tls::new(TlsOptions::new().identity(Identity::from_pem_files(certificate, key)?))?);
    }
    let endpoint = builder.bind().await?;
    let mut faces = Vec::new();
    for local in endpoint.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
        faces.push(Face::new(&local)?);
    }

    // A task of its own: the runtime looks for events before it goes on with this function, which would be a system call for
    // each message.
    Ok(tokio::spawn(serve(endpoint, faces)).await?)
}

/// Answers until it is interrupted.
async fn serve(endpoint: Endpoint, faces: Vec<Face>) {
    let (mut calls, mut counts) = (Unacknowledged::default(), Counts::default());
    let mut tick = tokio::time::interval(T1 / 2);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = &mut interrupt => return println!("{counts}"),
            _ = tick.tick() => {
                calls.repeat();
                continue;
            }
        };
        match incoming {
            Some(Incoming::Request(transaction)) => {
                counts.add(transaction.request().method());
                // One request that cannot be answered is no reason to leave the others unanswered.
                if let Err(error) = answer(&endpoint, &faces, &mut calls, transaction) {
                    eprintln!("uas: {error}");
                }
            }
            Some(Incoming::Ack { request, .. }) => counts.acknowledged += u64::from(calls.settled(&request)),
            Some(_) => {}
            None => return,
        }
    }
}

/// Requests, each once however often it came.
#[derive(Default)]
struct Counts {
    calls: u64,
    acknowledged: u64,
    ended: u64,
    others: u64,
}

impl Counts {
    fn add(&mut self, method: &Method) {
        match method {
            Method::Invite => self.calls += 1,
            Method::Bye => self.ended += 1,
            _ => self.others += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, acknowledged, ended, others } = self;
        write!(f, "{calls} calls, {acknowledged} acknowledged, {ended} ended, {others} other requests")
    }
}

/// What callers are told about one listener.
struct Face {
    transport: Transport,
    contact: Contact,
    description: Bytes,
}

impl Face {
    fn new(local: &sip_transport::Local) -> Result<Self, Box<dyn Error>> {
        let ip = local.bound.ip();
        let version = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let description = format!(
            "v=0\r\no=uas 1 1 IN {version} {ip}\r\ns=-\r\nc=IN {version} {ip}\r\nt=0 0\r\n\
             m=audio 9 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=fmtp:101 0-15\r\na=ptime:20\r\na=recvonly\r\n"
        );
        Ok(Self {
            transport: local.transport,
            contact: Contact::new(&local.uri(Some("uas"))?),
            description: description.into(),
        })
    }
}

fn answer(
    endpoint: &Endpoint,
    faces: &[Face],
    calls: &mut Unacknowledged,
    transaction: ServerTransaction,
) -> Result<(), Box<dyn Error>> {
    let request = transaction.request();
    match request.method() {
        Method::Invite => {
            let transport = transaction.path().transport;
            let face =
                faces.iter().find(|face| face.transport == transport).ok_or("no listener of that kind")?;
            let tag = endpoint.token();
            let ringing = request.reply(StatusCode::RINGING).to_tag(&tag).header(&face.contact).build()?;
            transaction.respond(&ringing)?;
            let ok = request
                .reply(StatusCode::OK)
                .to_tag(&tag)
                .header(&face.contact)
                .raw(HeaderName::ALLOW, ALLOW)
                .body("application/sdp", face.description.clone())
                .build()?;
            transaction.respond(&ok)?;
            calls.answered(transaction, ok);
        }
        Method::Bye => {
            // A call that is over needs no ACK any more: its 2xx would be repeated to nobody.
            calls.settled(request);
            transaction.respond(&request.reply(StatusCode::OK).build()?)?;
        }
        Method::Options => {
            let ok = request
                .reply(StatusCode::OK)
                .to_tag(&endpoint.token())
                .raw(HeaderName::ALLOW, ALLOW)
                .build()?;
            transaction.respond(&ok)?;
        }
        _ => {
            let refusal = request.reply(StatusCode::METHOD_NOT_ALLOWED).to_tag(&endpoint.token());
            transaction.respond(&refusal.raw(HeaderName::ALLOW, ALLOW).build()?)?;
        }
    }
    Ok(())
}

/// The calls whose 2xx is repeated until the ACK comes: at T1, then twice as late each time up to T2. Those of good
/// peers are here for a moment only.
#[derive(Default)]
struct Unacknowledged(HashMap<String, Answered>);

struct Answered {
    transaction: ServerTransaction,
    ok: Response,
    since: Instant,
    next: Instant,
    interval: Duration,
}

impl Unacknowledged {
    fn answered(&mut self, transaction: ServerTransaction, ok: Response) {
        let Some(call_id) = transaction.request().headers.text(HeaderName::CALL_ID) else { return };
        let call_id = call_id.to_owned();
        if self.0.len() < UNACKNOWLEDGED {
            let since = Instant::now();
            let answered = Answered { transaction, ok, since, next: since + T1, interval: T1 };
            self.0.insert(call_id, answered);
        }
    }

    /// Whether this request, an ACK or a BYE, is the first that ends the wait.
    fn settled(&mut self, request: &Request) -> bool {
        request.headers.text(HeaderName::CALL_ID).is_some_and(|call_id| self.0.remove(call_id).is_some())
    }

    fn repeat(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, call| {
            if call.next > now {
                return true;
            }
            call.interval = call.interval.saturating_mul(2).min(T2);
            call.next = now + call.interval;
            now.duration_since(call.since) < GIVE_UP && call.transaction.respond(&call.ok).is_ok()
        });
    }
}
