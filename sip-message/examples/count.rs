//! One piece of work on one message, done again and again: for counting instructions and allocations.
//!
//! `benches/count.sh` runs it under callgrind with two numbers of rounds; their difference, divided, is what one
//! round costs without the program's start.
//!
//!     cargo run --release -p sip-message --example count -- parse sip-message/benches/data/invite.sip 1000
//!
//! `SHAPE:OCTETS` in place of a file is a request of about that size, made of what is slow to read where a parser is
//! careless: `fields`, `list`, `commas`, `quotes`, `folds`, `params`, `body`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use bytes::Bytes;
use sip_message::headers::*;
use sip_message::{Limits, Message, Request, StatusCode, Uri};
use std::hint::black_box;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, file, rounds] = arguments.as_slice() else {
        panic!("usage: count parse|read|essentials|check|print|copy|edit|reply FILE ROUNDS")
    };
    let octets = match file.split_once(':') {
        Some((shape, size)) => made(shape, size.parse().unwrap()),
        None => Bytes::from(std::fs::read(file).unwrap()),
    };
    let rounds: u32 = rounds.parse().unwrap();
    let mut limits = Limits::default();
    (limits.message, limits.field, limits.fields) = (1 << 20, usize::from(u16::MAX), 1 << 16); // to see the cost
    let parse = || Message::parse(black_box(octets.clone()), &limits).unwrap();
    let mut message = parse();
    let mut sum = 0usize;
    match work.as_str() {
        "parse" => (0..rounds).for_each(|_| drop(black_box(parse()))),
        "read" => (0..rounds).for_each(|_| sum = sum.wrapping_add(read(&parse()))),
        "essentials" => (0..rounds).for_each(|_| {
            black_box(parse().headers().essentials());
        }),
        "check" => (0..rounds).for_each(|_| check(&parse())),
        "print" => (0..rounds).for_each(|_| drop(black_box(black_box(&message).to_bytes()))),
        "copy" => {
            let mut out = Vec::with_capacity(65_536);
            for _ in 0..rounds {
                out.clear();
                black_box(&message).write_to(&mut out);
                black_box(&out);
            }
        }
        "edit" => {
            let target: Uri = "sip:bob@192.0.2.99:5060".parse().unwrap();
            let own = RecordRoute::new(&"sip:edge2.biloxi.example.com;lr".parse().unwrap());
            (0..rounds).for_each(|_| drop(black_box(edit(black_box(&message), &target, &own))));
        }
        "reply" => (0..rounds).for_each(|_| drop(black_box(reply(&mut message)))),
        _ => panic!("no such work: {work}"),
    }
    println!("{rounds} rounds of {work} on {} octets ({sum})", octets.len());
}

/// What a proxy reads: top Via's branch and sent-by, CSeq, Call-ID, tags, Max-Forwards, first Route, Contact.
#[inline(never)]
fn read(message: &Message) -> usize {
    let headers = message.headers();
    let mut sum = 0usize;
    let mut add = |text: Option<&str>| sum = sum.wrapping_add(black_box(text).map_or(0, str::len));
    if let Ok(via) = headers.require::<Via>() {
        add(via.branch());
        add(Some(via.host()));
        black_box(via.port());
    }
    let _ = black_box(headers.get::<CSeq>());
    let _ = black_box(headers.get::<CallId>());
    if let Ok(Some(from)) = headers.get::<From>() {
        add(from.tag());
    }
    if let Ok(Some(to)) = headers.get::<To>() {
        add(to.tag());
    }
    let _ = black_box(headers.get::<MaxForwards>());
    if let Ok(Some(route)) = headers.get::<Route>() {
        add(Some(route.uri().host()));
    }
    if let Ok(Some(contact)) = headers.get::<Contact>() {
        add(contact.uri().map(Uri::host));
    }
    sum
}

#[inline(never)]
fn check(message: &Message) {
    let _ = black_box(match message {
        Message::Request(request) => request.check(),
        Message::Response(response) => response.check(),
    });
}

/// A proxy's four edits, and the message as it leaves.
#[inline(never)]
fn edit(message: &Message, target: &Uri, own: &RecordRoute) -> Bytes {
    let mut forward = message.clone();
    if let Message::Request(request) = &mut forward {
        request.set_uri(target);
    }
    let headers = forward.headers_mut();
    let _ = headers.update_first::<MaxForwards>(|hops| hops.0 = hops.0.saturating_sub(1));
    headers.push_front(own);
    let via = Via::new("UDP", "edge2.biloxi.example.com", Some(5060));
    headers.push_front(&via.with_param("branch", Some("z9hG4bK4e1f00ba7")));
    forward.to_bytes()
}

/// A ringing phone's answer.
#[inline(never)]
fn reply(message: &mut Message) -> Option<Bytes> {
    let request: &Request = message.as_request()?;
    request.reply(StatusCode::RINGING).to_tag("314159").build().ok().map(|response| response.to_bytes())
}

/// A request of at least `size` octets.
fn made(shape: &str, size: usize) -> Bytes {
    let mut text = String::from(
        "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n",
    );
    let (open, again, close) = match shape {
        "fields" => ("", "Record-Route: <sip:edge.example.com;lr>\r\n", ""),
        "list" => ("Route: <sip:first>", ", <sip:edge.example.com;lr>", "\r\n"),
        "commas" => ("Route: <sip:first>", ",", "\r\n"),
        "quotes" => ("Contact: \"\\\"\" <sip:first>;x=\"", "\\\",<", "\"\r\n"),
        "folds" => ("Contact: <sip:first>", "\r\n ", ";q=1\r\n"),
        "params" => ("Contact: <sip:first>", ";ab=cd", "\r\n"),
        "body" => ("\r\n", "a=rtpmap:0 PCMU/8000\r\n", ""),
        _ => panic!("no such shape: {shape}"),
    };
    text.push_str(open);
    while text.len().saturating_add(close.len()) < size {
        text.push_str(again);
    }
    text.push_str(close);
    if shape != "body" {
        text.push_str("\r\n");
    }
    Bytes::from(text)
}
