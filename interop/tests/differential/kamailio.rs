//! Kamailio says what it read.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use interop::{Dir, Kamailio, turn};
use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Limits, Method, Request, Response};

use crate::mutants::{MUTANTS, Random, mutate, seeds};

/// Kamailio answers on loopback in well under a millisecond, or never.
const PATIENCE: Duration = Duration::from_millis(30);

/// What both must agree on: method, Request-URI, To and From tag, Call-ID, CSeq.
type Facts = BTreeMap<&'static str, String>;

fn ours(octets: &[u8]) -> Option<Facts> {
    let request = Request::parse(octets.to_vec().into(), &Limits::default()).ok()?;
    request.check().ok()?;
    let headers = &request.headers;
    Some(Facts::from([
        ("method", request.method().as_str().to_owned()),
        ("uri", request.uri_text().to_owned()),
        ("to tag", headers.require::<To>().ok()?.tag().unwrap_or_default().to_owned()),
        ("from tag", headers.require::<From>().ok()?.tag().unwrap_or_default().to_owned()),
        ("call-id", headers.require::<CallId>().ok()?.as_str().to_owned()),
        ("cseq", headers.require::<CSeq>().ok()?.number.to_string()),
    ]))
}

/// What Kamailio says; `None` if it says nothing or refuses.
fn theirs(kamailio: &Kamailio, octets: &[u8]) -> Option<Facts> {
    // A socket of its own: a late answer to another request cannot be taken for this one's.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(octets, kamailio.address).unwrap();
    let mut buffer = [0; 65_536];
    let length = socket.recv(&mut buffer).ok()?;
    let response = Response::parse(buffer[..length].to_vec().into(), &Limits::default()).ok()?;
    if response.status().code() != 299 {
        return None;
    }
    let fact = |name: &str| {
        let text = response.headers.text(name).unwrap_or_default();
        if text == "<null>" { String::new() } else { text.to_owned() }
    };
    Some(Facts::from([
        ("method", fact("X-Method")),
        ("uri", fact("X-Uri")),
        ("to tag", fact("X-To-Tag")),
        ("from tag", fact("X-From-Tag")),
        ("call-id", fact("X-Call-Id")),
        ("cseq", fact("X-CSeq")),
    ]))
}

/// Differences that are known, and who is right.
fn explained(fact: &str, ours: &str, theirs: &str) -> Option<&'static str> {
    if fact == "cseq" && ours.trim_start_matches('0') == theirs.trim_start_matches('0') {
        return Some("Kamailio keeps the zeros before a number");
    }
    None
}

#[test]
fn kamailio_and_we_read_the_same_in_torture_messages_and_their_mutants() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("differential");
    let kamailio = Kamailio::with_config(&dir, include_str!("../../configs/kamailio-facts.cfg"));
    let mut seeds = seeds();
    seeds.retain(|seed| ours(seed).is_some()); // mutants of what nobody reads are read by nobody
    let mut random = Random(4475);
    let mut messages = seeds.clone();
    while messages.len() < seeds.len() + MUTANTS {
        let seed = random.next(seeds.len());
        messages.push(mutate(&mut random, &seeds[seed]));
    }
    let (mut read, mut both, mut known, mut unexplained) = (0, 0, BTreeMap::new(), Vec::new());
    for message in &messages {
        // An ACK is not answered, and a request that we refuse goes nowhere.
        let Some(ours) = ours(message).filter(|facts| facts["method"] != Method::Ack.as_str()) else {
            continue;
        };
        read += 1;
        let Some(theirs) = theirs(&kamailio, message) else { continue };
        both += 1;
        for (fact, our) in &ours {
            let their = &theirs[fact];
            if our == their {
                continue;
            }
            match explained(fact, our, their) {
                Some(why) => *known.entry(why).or_insert(0) += 1,
                None => unexplained.push(format!(
                    "{fact}: {our:?}, Kamailio {their:?}\n{}",
                    String::from_utf8_lossy(message)
                )),
            }
        }
    }
    println!(
        "{both} of {} messages read by both, {read} by us; known differences: {known:?}",
        messages.len()
    );
    assert!(both > MUTANTS / 10, "only {both} messages were read by both");
    assert!(
        unexplained.is_empty(),
        "{} differences:\n{}",
        unexplained.len(),
        unexplained[..unexplained.len().min(12)].join("\n---\n")
    );
}
