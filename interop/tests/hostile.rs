//! What no honest peer sends: each gets the answer that the RFC names, and nothing else changes.
//!
//! The rules are tried on `sip server` and `sip phone` over UDP and TCP. The hostile messages name other hosts, so these
//! tests run in a network that has only loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use interop::{
    Call, Dir, Phone, Server, TcpPeer, UdpPeer, assert_holds_tone, isolated, status_of, turn, write_tone,
};
use sip_message::Method;
use sip_message::headers::Allow;

const SOON: Duration = Duration::from_millis(500);

/// A request that breaks no rule, to be spoilt by a test.
fn request(method: &str, uri: &str, call_id: &str, peer: &UdpPeer) -> String {
    let here = peer.address();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:mallory@example.test>;tag=m1\r\nTo: <{uri}>\r\nCall-ID: {call_id}\r\nCSeq: 7 {method}\r\n\
         Contact: <sip:mallory@{here}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Whether somebody still answers OPTIONS addressed to itself.
fn is_alive(peer: &UdpPeer, uri: &str, call_id: &str) -> bool {
    (0..5).any(|attempt| {
        let call_id = format!("{call_id}-{attempt}");
        status_of(&peer.ask(&request("OPTIONS", uri, &call_id, peer), &call_id)) == 200
    })
}

/// A spoilt request: what to call it, what is replaced by what, and the statuses of server and phone (0: none).
type Case = (&'static str, &'static str, &'static str, u16, u16);

/// RFC 3261 §8.2, §16.3 and §20; RFC 4475 has the like of each.
const CASES: &[Case] = &[
    ("nothing-wrong", "OPTIONS", "OPTIONS", 200, 200),
    ("unknown-method", "OPTIONS", "FROBNICATE", 405, 405),
    ("version", "SIP/2.0\r\n", "SIP/3.0\r\n", 505, 505),
    ("cseq-too-large", "CSeq: 7", "CSeq: 99999999999", 400, 400),
    ("cseq-is-no-number", "CSeq: 7", "CSeq: seven", 400, 400),
    ("cseq-of-other-method", "CSeq: 7 OPTIONS", "CSeq: 7 INVITE", 400, 400),
    ("no-cseq", "CSeq: 7 OPTIONS\r\n", "", 400, 400),
    ("no-to", "To:", "X-To:", 400, 400),
    ("no-from", "From:", "X-From:", 400, 400),
    ("two-from", "From:", "From: <sip:eve@example.test>;tag=e\r\nFrom:", 400, 400),
    ("max-forwards-too-large", "Max-Forwards: 70", "Max-Forwards: 700", 400, 400),
    ("less-body-than-said", "Content-Length: 0", "Content-Length: 44", 400, 400),
    ("negative-length", "Content-Length: 0", "Content-Length: -1", 400, 400),
    ("two-lengths", "Content-Length: 0", "Content-Length: 0\r\nl: 5", 400, 400),
    ("line-without-colon", "Max-Forwards: 70", "Max-Forwards 70", 400, 400),
    ("lone-carriage-return", "tag=m1", "tag=m1\rVia: x", 400, 400),
    ("no-via", "Via:", "X-Via:", 0, 0),
    ("no-version", " SIP/2.0\r\nVia", "\r\nVia", 0, 0),
];

/// Sends every case to `uri` and compares; the answers come with what the RFC wants in them.
fn judge(peer: &UdpPeer, uri: &str, expected: impl Fn(&Case) -> u16) {
    let mut wrong = Vec::new();
    for case in CASES {
        let (name, from, to, ..) = case;
        let good = request("OPTIONS", uri, name, peer);
        assert!(good.contains(from), "{name}");
        peer.send(good.replace(from, to));
        let patience = if expected(case) == 0 { SOON } else { Duration::from_secs(5) };
        let response = peer.response(name, patience);
        if status_of(&response) != expected(case) {
            wrong.push(format!("{name}: {} instead of {}", status_of(&response), expected(case)));
        }
        if expected(case) == 405 {
            let allowed: Vec<Allow> = response.iter().flat_map(|one| one.headers.all().flatten()).collect();
            assert!(allowed.contains(&Allow(Method::Options)), "{name}: Allow {allowed:?}");
        }
    }
    assert!(wrong.is_empty(), "{uri}:\n{}", wrong.join("\n"));
    assert!(is_alive(peer, uri, "after-all"));
}

#[test]
fn requests_that_break_a_rule_get_the_answer_that_the_rfc_names() {
    let Some(_turn) = turn(&[]) else { return };
    if !isolated("requests_that_break_a_rule_get_the_answer_that_the_rfc_names") {
        return;
    }
    let dir = Dir::new("rules");
    let server = Server::start(&dir, None, &[]);
    let peer = UdpPeer::new(server.udp);
    judge(&peer, &format!("sip:{}", server.udp), |case| case.3);

    let phone = Phone::start(&dir, "phone", ["--answer"]);
    let peer = UdpPeer::new(phone.udp);
    judge(&peer, &format!("sip:bob@{}", phone.udp), |case| case.4);
}

/// RFC 3261 §8.2.2.3 and §16.3 step 5: an extension that is required and unknown is named in the refusal.
#[test]
fn extensions_that_nobody_has_are_named() {
    let Some(_turn) = turn(&[]) else { return };
    if !isolated("extensions_that_nobody_has_are_named") {
        return;
    }
    let dir = Dir::new("extensions");
    let server = Server::start(&dir, None, &[]);
    let phone = Phone::start(&dir, "phone", ["--answer"]);
    for (target, method, uri, field) in [
        (server.udp, "REGISTER", "sip:example.test".to_string(), "Require"),
        (server.udp, "INVITE", "sip:bob@example.test".to_string(), "Proxy-Require"),
        (phone.udp, "INVITE", format!("sip:bob@{}", phone.udp), "Require"),
        (phone.udp, "OPTIONS", format!("sip:bob@{}", phone.udp), "Require"),
    ] {
        let peer = UdpPeer::new(target);
        let call_id = format!("{method}-{field}-{}", target.port());
        let good = request(method, &uri, &call_id, &peer);
        let asked = good.replace("Max-Forwards", &format!("{field}: teleport\r\nMax-Forwards"));
        let response = peer.ask(&asked, &call_id);
        assert_eq!(status_of(&response), 420, "{call_id}");
        assert_eq!(response.unwrap().headers.text("Unsupported"), Some("teleport"), "{call_id}");
    }
}

/// RFC 3261 §16.3: what a proxy will not pass on.
#[test]
fn the_proxy_refuses_what_it_must_not_forward() {
    let Some(_turn) = turn(&[]) else { return };
    if !isolated("the_proxy_refuses_what_it_must_not_forward") {
        return;
    }
    let dir = Dir::new("forwarding");
    let server = Server::start(&dir, None, &[]);
    let peer = UdpPeer::new(server.udp);
    let bob = "sip:bob@example.test";
    for (name, uri, from, to, status) in [
        ("hops", bob, "Max-Forwards: 70", "Max-Forwards: 0", 483),
        ("scheme", "soap.beep:thing", "", "", 416),
        ("nobody", "sip:nobody@example.test", "", "", 404),
        ("headers-in-uri", "sip:bob@example.test?Route=%3Csip:192.0.2.9%3E", "", "", 400),
    ] {
        let asked = request("MESSAGE", uri, name, &peer).replace(from, to);
        let status_got = status_of(&peer.ask(&asked, name));
        // With nobody's password asked, an unknown user may be one who is not here.
        assert!(
            status_got == status || (status == 404 && status_got == 480),
            "{name}: {status_got}, not {status}"
        );
    }
    assert!(is_alive(&peer, &format!("sip:{}", server.udp), "alive"));
}

/// RFC 3261 §18.3: without one good Content-Length nobody knows where the next message begins.
#[test]
fn streams_without_a_good_content_length_are_refused_and_closed() {
    let Some(_turn) = turn(&[]) else { return };
    if !isolated("streams_without_a_good_content_length_are_refused_and_closed") {
        return;
    }
    let dir = Dir::new("streams");
    let server = Server::start(&dir, None, &[]);
    let options = |length: &str| {
        format!(
            "OPTIONS sip:{0} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKt;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:m@example.test>;tag=m\r\nTo: <sip:{0}>\r\nCall-ID: stream\r\nCSeq: 1 OPTIONS\r\n{length}\r\n",
            server.tcp
        )
    };
    for (name, length) in [
        ("missing", ""),
        ("contradictory", "Content-Length: 0\r\nContent-Length: 4\r\n"),
        ("negative", "Content-Length: -4\r\n"),
        ("a word", "l: none\r\n"),
        ("enormous", "Content-Length: 4000000000\r\n"),
    ] {
        let mut peer = TcpPeer::connect(server.tcp);
        peer.send(options(length));
        let status = status_of(&peer.response());
        assert!([400, 413, 513].contains(&status), "{name}: {status}");
        assert!(peer.is_closed(), "{name}: the connection stays open");
    }
    for garbage in ["\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut peer = TcpPeer::connect(server.tcp);
        peer.send(garbage);
        assert!(peer.is_closed(), "{garbage:?}: the connection stays open");
    }
    let mut peer = TcpPeer::connect(server.tcp);
    let good = options("Content-Length: 0\r\n");
    let (first, second) = good.split_at(good.len() / 2);
    peer.send(first);
    peer.send(second);
    assert_eq!(status_of(&peer.response()), 200);
}

const OFFER: &str =
    "v=0\r\no=m 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\n";

/// Every beginning of an INVITE: 400 where there is enough to answer, and nothing of it is passed on.
#[test]
fn every_truncation_of_an_invite() {
    let Some(_turn) = turn(&[]) else { return };
    if !isolated("every_truncation_of_an_invite") {
        return;
    }
    let dir = Dir::new("truncations");
    let server = Server::start(&dir, None, &[]);
    let bob = UdpPeer::new(server.udp);
    let here = bob.address();
    let register = request("REGISTER", "sip:example.test", "reg", &bob)
        .replace("sip:mallory@example.test", "sip:bob@example.test")
        .replace("To: <sip:example.test>", "To: <sip:bob@example.test>")
        .replace("<sip:mallory@", "<sip:bob@");
    assert_eq!(status_of(&bob.ask(&register, "reg")), 200);

    let mallory = UdpPeer::new(server.udp);
    let invite = |call_id: &str| {
        let fields =
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{OFFER}", OFFER.len());
        request("INVITE", "sip:bob@example.test", call_id, &mallory)
            .replace("Content-Length: 0\r\n\r\n", &fields)
    };
    let length = invite("cut-0000").len();
    let answerable = invite("cut-0000").find("Contact:").unwrap();
    for cut in 1..length {
        let call_id = format!("cut-{cut:04}");
        mallory.send(&invite(&call_id)[..cut]);
        if cut > answerable {
            let response = mallory.response(&call_id, Duration::from_secs(5));
            assert_eq!(status_of(&response), 400, "cut after {cut} of {length} octets");
        }
    }
    assert!(is_alive(&mallory, &format!("sip:{}", server.udp), "alive"));
    assert!(bob.next_request(SOON).is_none(), "a truncated INVITE reached {here}");
    mallory.send(invite("whole"));
    let arrived = bob.next_request(Duration::from_secs(5)).expect("the whole INVITE is passed on");
    assert_eq!(arrived.body().as_ref(), OFFER.as_bytes());
}

/// Numbers without pattern, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }
}

/// A valid message with a few octets changed, cut, repeated or moved.
fn mutate(random: &mut Random, seeds: &[String]) -> Vec<u8> {
    const SPECIAL: &[u8] = b"\r\n\0 \t:;,<>\"\\@%=?[]0129-\xff";
    if random.next(20) == 0 {
        return (0..random.next(600)).map(|_| random.next(256) as u8).collect();
    }
    let mut octets = seeds[random.next(seeds.len())].clone().into_bytes();
    for _ in 0..=random.next(6) {
        let at = random.next(octets.len().max(1)).min(octets.len().saturating_sub(1));
        if octets.is_empty() {
            break;
        }
        match random.next(6) {
            0 => octets[at] = SPECIAL[random.next(SPECIAL.len())],
            1 => octets.insert(at, SPECIAL[random.next(SPECIAL.len())]),
            2 => octets[at] ^= 1 << random.next(8),
            3 => octets.truncate(at),
            4 => {
                let end = (at + 1 + random.next(40)).min(octets.len());
                octets.drain(at..end);
            }
            _ => {
                let end = (at + 1 + random.next(120)).min(octets.len());
                let piece = octets[at..end].to_vec();
                let to = random.next(octets.len());
                octets.splice(to..to, piece);
            }
        }
    }
    octets
}

/// How many hostile datagrams fly while the call is up, and over how long at least: a call of a moment shows nothing.
const DATAGRAMS: usize = 100_000;
const FLOOD: Duration = Duration::from_secs(10);
/// Datagrams between two looks at whether the server is well.
const BATCH: usize = 250;

#[test]
fn a_call_stands_while_a_hundred_thousand_mutated_datagrams_fly() {
    let Some(_turn) = turn(&[]) else { return };
    if !isolated("a_call_stands_while_a_hundred_thousand_mutated_datagrams_fly") {
        return;
    }
    let dir = Dir::new("flood");
    let users = ["alice", "bob"].map(|name| (name.to_string(), "secret".to_string()));
    let mut server = Server::start(&dir, Some(&users), &[]);
    let sounds = [("alice", 1000.0), ("bob", 600.0)].map(|(name, hertz)| {
        let path = dir.file(&format!("{name}-plays.wav"));
        write_tone(&path, hertz, 300.0);
        path
    });
    let recordings = ["alice", "bob"].map(|name| dir.file(&format!("{name}-hears.wav")));
    let mut bob = Phone::start(
        &dir,
        "bob",
        ["--register", "sip:bob@example.test", "--password", "secret", "--proxy", &server.uri(), "--answer"]
            .into_iter()
            .chain(["--play", sounds[1].to_str().unwrap(), "--record", recordings[1].to_str().unwrap()]),
    )
    .registered();
    let mut alice = Call::start(
        &dir,
        "alice",
        "sip:bob@example.test",
        ["--from", "sip:alice@example.test", "--password", "secret", "--proxy", &server.uri()]
            .into_iter()
            .chain(["--play", sounds[0].to_str().unwrap(), "--record", recordings[0].to_str().unwrap()]),
    );
    bob.process.wait_for("answered");

    let began = Instant::now();
    let mallory = UdpPeer::new(server.udp);
    let own = format!("sip:{}", server.udp);
    let mut seeds: Vec<String> =
        ["INVITE", "REGISTER", "OPTIONS", "BYE", "CANCEL", "ACK", "MESSAGE", "SUBSCRIBE"]
            .iter()
            .map(|method| request(method, "sip:bob@example.test", "seed", &mallory))
            .collect();
    seeds.push(request("OPTIONS", &own, "seed", &mallory));
    let dialog = request("BYE", "sip:bob@example.test", "seed", &mallory);
    seeds.push(dialog.replace("To: <sip:bob@example.test>", "To: <sip:bob@example.test>;tag=b1"));
    let response = request("INVITE", "sip:alice@example.test", "seed", &mallory);
    seeds.push(response.replace("INVITE sip:alice@example.test SIP/2.0", "SIP/2.0 200 OK"));
    let mut random = Random(0x5eed_0f5e_ed0f_5eed);
    for sent in 0..DATAGRAMS {
        mallory.send(mutate(&mut random, &seeds));
        // Its answer shows that the server has read what came before: nothing is lost in its socket's queue.
        if sent % BATCH == BATCH - 1 {
            let due = FLOOD.mul_f64(sent as f64 / DATAGRAMS as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            mallory.drain();
            assert!(is_alive(&mallory, &own, &format!("alive-{sent}")), "the server is silent after {sent}");
        }
    }
    let lasted = began.elapsed().as_secs_f64();

    assert!(server.process.is_running() && bob.process.is_running() && alice.is_running());
    assert_eq!(alice.interrupt(), 0, "the BYE is answered");
    let ended = bob.process.wait_for("ended");
    assert!(ended.contains("peer"), "{ended}");
    assert_eq!(bob.process.interrupt(), 0);
    assert_eq!(server.process.interrupt(), 0);
    // Nothing but the other's tone, for all of that time, but for how it begins and ends.
    assert_holds_tone(&recordings[0], 600.0, lasted * 0.9 - 0.5);
    assert_holds_tone(&recordings[1], 1000.0, lasted * 0.9 - 0.5);
}
