//! Two parsers, one message: what Kamailio reads in a request and what we read in it must be the same, or somebody
//! can smuggle one request past the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use interop::{Dir, Kamailio, turn};
use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Limits, Method, Request, Response};

/// Mutants of each run.
const MUTANTS: usize = 5_000;
/// Kamailio answers on loopback in well under a millisecond, or never.
const PATIENCE: Duration = Duration::from_millis(30);

/// What both must agree on: method, Request-URI, To and From tag, Call-ID, CSeq.
type Facts = BTreeMap<&'static str, String>;

/// A generator that gives the same mutants each time.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

/// One to three changes within the head, with octets that parsers trip over.
fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    const SPECIAL: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\t",
        b" ",
        b"\r\n ",
        b"\r\n",
        b":",
        b";",
        b",",
        b"<",
        b">",
        b"\"",
        b"\\",
        b"%",
        b"=",
        b"@",
        b"/",
        b"\0",
        b"\x7f",
        b"\xff",
        b"0",
        b"9",
        b"tag=x",
        b";tag=y",
        b"To: <sip:e@f>;tag=z\r\n",
        b"l: 3\r\n",
        b"()",
        b"?",
        b"*",
    ];
    let mut message = seed.to_vec();
    for _ in 0..=random.next(2) {
        let head = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(message.len());
        let at = random.next(head);
        let special = SPECIAL[random.next(SPECIAL.len())];
        match random.next(4) {
            0 => drop(message.splice(at..at, special.iter().copied())),
            1 => drop(message.splice(at..=at, special.iter().copied())),
            2 => drop(message.remove(at)),
            _ => {
                let line = message[..at].iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end + 1);
                let length =
                    message[line..].iter().position(|&octet| octet == b'\n').map_or(0, |end| end + 1);
                let copy = message[line..line + length].to_vec();
                message.splice(line..line, copy); // a line twice
            }
        }
    }
    message
}

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
    let kamailio = Kamailio::with_config(&dir, include_str!("../configs/kamailio-facts.cfg"));
    let mut seeds: Vec<Vec<u8>> = [
        &include_bytes!("../../sip-message/benches/data/invite.sip")[..],
        include_bytes!("../../sip-message/benches/data/register.sip"),
        include_bytes!("../../sip-message/benches/data/wsinv.sip"),
        include_bytes!("../../sip-message/tests/data/options-folded-and-compact.sip"),
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    if let Some(root) = std::env::var_os("SIP_CORPUS").map(std::path::PathBuf::from) {
        for set in ["rfc4475", "rfc5118"] {
            let mut files: Vec<_> =
                std::fs::read_dir(root.join(set)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            seeds.extend(
                files
                    .iter()
                    .filter(|path| path.extension().is_some_and(|e| e == "dat"))
                    .map(|path| std::fs::read(path).unwrap()),
            );
        }
    } else {
        println!(
            "SIP_CORPUS does not name a folder with rfc4475 and rfc5118: mutants of our own messages alone"
        );
    }
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
