//! Messages rebuilt: canonical and compact prints mean what the original means, for our own messages and for the
//! call flows of the RFCs where `SIP_CORPUS` names their folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod common;

use common::request;
use proptest::prelude::*;
use sip_message::{HeaderName, Layout, Limits, Message};

fn read(octets: &[u8]) -> Message {
    Message::parse(octets.to_vec().into(), &Limits::default()).unwrap()
}

fn check(message: &Message) -> Result<(), sip_message::CheckError> {
    match message {
        Message::Request(request) => request.check(),
        Message::Response(response) => response.check(),
    }
}

/// Both mean the same: start line, every value of every known field as its type prints it, unknown fields, body.
fn same(one: &Message, other: &Message) -> Result<(), String> {
    let start = |message: &Message| match message {
        Message::Request(request) => format!("{} {}", request.method(), request.uri_text()),
        Message::Response(response) => format!("{} {}", response.status(), response.reason()),
    };
    if start(one) != start(other) {
        return Err(format!("{} became {}", start(one), start(other)));
    }
    for name in HeaderName::all() {
        let (before, after) = (one.headers().reprint(name), other.headers().reprint(name));
        if before.iter().any(Result::is_err) {
            continue; // misprints stay as they are
        }
        if before != after {
            return Err(format!("{name}: {before:?} became {after:?}"));
        }
    }
    let unknown = |message: &Message| -> Vec<String> {
        message
            .headers()
            .iter()
            .filter(|(name, _)| HeaderName::find(name.as_bytes()).is_none())
            .map(|(name, value)| {
                format!(
                    "{name}:{}",
                    String::from_utf8_lossy(value).split_whitespace().collect::<Vec<_>>().join(" ")
                )
            })
            .collect()
    };
    if unknown(one) != unknown(other) {
        return Err(format!("{:?} became {:?}", unknown(one), unknown(other)));
    }
    if one.body() != other.body() { Err("the body changed".into()) } else { Ok(()) }
}

fn rebuilt(message: &Message) -> Result<(), String> {
    let canonical = message.print(Layout::Canonical);
    let compact = message.print(Layout::Compact);
    same(message, &read(&canonical)).map_err(|wrong| format!("canonical: {wrong}"))?;
    same(message, &read(&compact)).map_err(|wrong| format!("compact: {wrong}"))?;
    if read(&canonical).print(Layout::Canonical) != canonical {
        return Err("canonical is no fixed point".into());
    }
    if read(&compact).print(Layout::Compact) != compact {
        return Err("compact is no fixed point".into());
    }
    if compact.len() > message.to_bytes().len() || compact.len() > canonical.len() {
        return Err("compact is longer".into());
    }
    if check(message).is_ok() != check(&read(&compact)).is_ok() {
        return Err("the verdict changed".into());
    }
    Ok(())
}

/// RFC 3261 §7.3.1, §7.3.3: the same message in its shortest form.
#[test]
fn shortest_form() {
    let text = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nVIA : SIP/2.0/UDP i ,\r\n SIP/2.0/UDP j\r\nX-Odd:  1\r\nSupported:\r\nSupported: a\r\nSupported: b\r\nSubject: s\r\nSubject: t\r\nContent-Length: 0\r\n\r\n";
    let message = read(text.as_bytes());
    assert_eq!(
        message.print(Layout::Compact),
        "OPTIONS sip:a@b SIP/2.0\r\nv:SIP/2.0/UDP h,SIP/2.0/UDP i , SIP/2.0/UDP j\r\nX-Odd:1\r\nk:\r\nk:a,b\r\ns:s\r\ns:t\r\nl:0\r\n\r\n"
    );
    assert_eq!(rebuilt(&message), Ok(()));
    // what cannot be laid out anew comes as it is
    for odd in [
        "OPTIONS sip:a@b SIP/2.0\r\nno field\r\n\r\n",
        "SIP/2.0 200 \u{1}\r\n\r\n",
        "OPTIONS sip:a@b SIP/3.0\r\nVia: x\r\n\r\n",
    ] {
        assert_eq!(read(odd.as_bytes()).print(Layout::Compact), odd);
    }
}

proptest! {
    #[test]
    fn a_request_means_the_same_however_it_is_printed(request in request()) {
        prop_assert_eq!(rebuilt(&Message::Request(request)), Ok(()));
    }
}

#[test]
fn call_flows_mean_the_same_once_rebuilt() {
    let Some(root) = std::env::var_os("SIP_CORPUS") else {
        println!("skipped: SIP_CORPUS does not name a folder with rfcflows");
        return;
    };
    let folder = std::path::PathBuf::from(root).join("rfcflows");
    let mut failures = Vec::new();
    let (mut count, mut saved) = (0usize, 0usize);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sip") {
            let octets = std::fs::read(&path).unwrap();
            let message = read(&octets);
            count += 1;
            saved += octets.len() - message.print(Layout::Compact).len();
            if let Err(wrong) = rebuilt(&message) {
                failures.push(format!("{}: {wrong}", path.display()));
            }
        }
    }
    println!("{count} messages, {saved} octets saved by compact printing");
    assert!(count > 500);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
