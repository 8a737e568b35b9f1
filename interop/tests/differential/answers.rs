//! What a phone read in a request, as far as its answer tells.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, CallId, From, Headers, To, Via};
use sip_message::{Limits, Request, Response};

/// Requests on their way at once: what a phone's socket holds.
const AT_ONCE: usize = 32;
/// A phone on loopback answers in a millisecond, on a busy machine in some more, or never.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// Each request comes from a port of its own, from here on, in a network where nobody else listens.
const FIRST_PORT: u16 = 10_000;

/// The sent-by and branch of the top Via, the number of Via, the tags, the Call-ID and the CSeq.
pub type Facts = BTreeMap<&'static str, String>;

/// Puts the Via of the sender above the others, as the last proxy does: answers come back to it (RFC 3581 §4).
pub fn with_own_via(octets: &[u8], number: usize) -> Vec<u8> {
    let line = octets.iter().position(|&octet| octet == b'\n').map_or(octets.len(), |end| end + 1);
    let via = format!("Via: SIP/2.0/UDP 127.0.0.1:{};rport;branch=z9hG4bKn{number}\r\n", port(number));
    [&octets[..line], via.as_bytes(), &octets[line..]].concat()
}

fn port(number: usize) -> u16 {
    FIRST_PORT + u16::try_from(number).expect("fewer requests than ports")
}

/// Sends each request, known by its number, from its own port, and gives the answers: the first that is final, or the
/// last that is not.
pub fn ask(peer: SocketAddr, requests: &[(usize, &[u8])], patience: Duration) -> Vec<Option<Response>> {
    requests.chunks(AT_ONCE).flat_map(|some| ask_at_once(peer, some, patience)).collect()
}

fn ask_at_once(peer: SocketAddr, requests: &[(usize, &[u8])], patience: Duration) -> Vec<Option<Response>> {
    let mut waiting: Vec<(UdpSocket, Option<Response>)> = Vec::new();
    for (number, request) in requests {
        let socket = UdpSocket::bind(("127.0.0.1", port(*number))).expect("a port");
        socket.set_nonblocking(true).expect("a socket");
        socket.send_to(request, peer).expect("loopback");
        waiting.push((socket, None));
    }
    let deadline = Instant::now() + patience;
    let is_final = |answer: &Option<Response>| answer.as_ref().is_some_and(|one| one.status().is_final());
    while !waiting.iter().all(|(_, answer)| is_final(answer)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        for (socket, answer) in &mut waiting {
            let mut buffer = [0; 65_536];
            while let Ok(length) = socket.recv(&mut buffer) {
                let read = Response::parse(buffer[..length].to_vec().into(), &Limits::default());
                if !is_final(answer) {
                    *answer = read.ok().or(answer.take());
                }
            }
        }
    }
    waiting.into_iter().map(|(_, answer)| answer).collect()
}

/// What we read, or the rule that the request breaks, and in which field.
pub fn ours(octets: &[u8]) -> Result<Facts, String> {
    let request = Request::parse(octets.to_vec().into(), &Limits::default())
        .map_err(|error| error.kind.section().to_owned())?;
    request.check().map_err(|error| match error.name {
        Some(name) => format!("{} {name}", error.section),
        None => error.section.to_owned(),
    })?;
    facts(&request.headers).ok_or("a field that is no text".into())
}

/// The facts that an answer repeats from its request.
pub fn facts(headers: &Headers) -> Option<Facts> {
    let via = headers.require::<Via>().ok()?;
    let cseq = headers.require::<CSeq>().ok()?;
    let tag = |tag: Option<&str>| tag.unwrap_or_default().to_owned();
    Some(Facts::from([
        ("via", format!("{} {}:{:?}", via.transport(), via.host(), via.port())),
        ("branch", via.branch().unwrap_or_default().to_owned()),
        ("vias", headers.all::<Via>().count().to_string()),
        ("from tag", tag(headers.require::<From>().ok()?.tag())),
        ("to tag", tag(headers.require::<To>().ok()?.tag())),
        ("call-id", headers.require::<CallId>().ok()?.as_str().to_owned()),
        ("cseq", format!("{} {}", cseq.number, cseq.method)),
    ]))
}
