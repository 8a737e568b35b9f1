//! Our parser beside a slow one that is written straight from the ABNF of RFC 3261 §25.1: on whatever both read,
//! they agree about method, URI, fields, values, lengths and bodies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod common;

use common::{INVITE, request};
use proptest::prelude::*;
use sip_message::headers::{To, Via};
use sip_message::{HeaderName, Limits, Message};

/// What the reference makes of a message.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    start: (String, String),
    /// Name in lower case, value with folds as single spaces.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

const TOKEN: &str = "-.!%*_+`'~";

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || TOKEN.contains(c))
}

/// `CRLF WSP` becomes SP: one character at a time, as §7.3.1 says it.
fn unfold(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        if line.starts_with([' ', '\t']) && lines.len() > 1 {
            let last = lines.last_mut().unwrap();
            *last = format!("{} {}", last.trim_end_matches([' ', '\t']), line.trim_matches([' ', '\t']));
        } else {
            lines.push(line.to_string());
        }
    }
    lines
}

/// `SIP-message` in the strict grammar, or nothing: CRLF line ends, UTF-8 heads, a valid Content-Length or none.
fn reference(octets: &[u8]) -> Option<Read> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&octets[..end]).ok()?;
    if head.replace("\r\n", "").chars().any(|c| c.is_ascii_control() && c != '\t') {
        return None;
    }
    let lines = unfold(head);
    let start: Vec<&str> = lines[0].splitn(3, ' ').collect();
    let start = match start[..] {
        ["SIP/2.0", code, phrase]
            if code.len() == 3 && code.parse::<u16>().is_ok_and(|code| (100..700).contains(&code)) =>
        {
            (code.to_string(), phrase.to_string())
        }
        [method, uri, "SIP/2.0"]
            if is_token(method)
                && !method.starts_with("SIP/")
                && !uri.is_empty()
                && uri.chars().all(|c| c.is_ascii_graphic()) =>
        {
            (method.to_string(), uri.to_string())
        }
        _ => return None,
    };
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let (name, value) = line.split_once(':')?;
        let name = name.trim_end_matches([' ', '\t']);
        if !is_token(name) || name.len() > 255 {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_string()));
    }
    let mut body = octets[end + 4..].to_vec();
    let lengths: Vec<&String> = fields
        .iter()
        .filter(|(name, _)| name == "content-length" || name == "l")
        .map(|(_, value)| value)
        .collect();
    if let Some(first) = lengths.first() {
        if lengths.iter().any(|other| other != first) {
            return None;
        }
        let length: usize = first.parse().ok().filter(|_| first.chars().all(|c| c.is_ascii_digit()))?;
        if length > body.len() {
            return None;
        }
        body.truncate(length);
    }
    Some(Read { start, fields, body })
}

/// The elements of a list, character by character.
fn reference_elements(value: &str) -> Vec<String> {
    let (mut all, mut one) = (Vec::new(), String::new());
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for c in value.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if angle {
            angle = c != '>';
        } else if c == ',' {
            all.push(std::mem::take(&mut one));
            continue;
        } else {
            quoted = c == '"';
            angle = c == '<';
        }
        one.push(c);
    }
    all.push(one);
    all.iter().map(|one| one.trim_matches([' ', '\t']).to_string()).filter(|one| !one.is_empty()).collect()
}

fn ours(message: &Message) -> Read {
    let start = match message {
        Message::Request(request) => (request.method().to_string(), request.uri_text().to_string()),
        Message::Response(response) => (response.status().to_string(), response.reason().to_string()),
    };
    let fields = message.headers().iter().map(|(name, value)| {
        let value = std::str::from_utf8(value).unwrap();
        let flat: Vec<&str> = value.split("\r\n").map(|line| line.trim_matches([' ', '\t'])).collect();
        let mut text = flat[0].to_string();
        for more in &flat[1..] {
            text = format!("{} {more}", text.trim_end_matches([' ', '\t']));
        }
        (name.to_ascii_lowercase(), text.trim_matches([' ', '\t']).to_string())
    });
    Read { start, fields: fields.collect(), body: message.body().to_vec() }
}

/// Whether the two agree; `false` if the reference does not read it.
fn agree(octets: &[u8]) -> Result<bool, String> {
    let Some(expected) = reference(octets) else { return Ok(false) };
    let message = Message::parse(octets.to_vec().into(), &Limits::default())
        .map_err(|error| format!("only the reference reads it: {error}"))?;
    let found = ours(&message);
    if found != expected {
        return Err(format!("{found:?}\nand not\n{expected:?}"));
    }
    let vias: Vec<String> = expected
        .fields
        .iter()
        .filter(|(name, _)| name == "via" || name == "v")
        .flat_map(|(_, value)| reference_elements(value))
        .collect();
    if vias.len() != message.headers().all::<Via>().count() {
        return Err(format!("{} Via and not {vias:?}", message.headers().all::<Via>().count()));
    }
    // The To tag: after the brackets, or after the first ';' if there are none.
    if let Ok(to) = message.headers().require::<To>()
        && let Some((_, value)) = expected.fields.iter().find(|(name, _)| name == "to" || name == "t")
        && !value.contains(['"', '\\'])
    {
        let tail = value.rsplit_once('>').map_or(value.as_str(), |(_, tail)| tail);
        let tag = tail.split(';').skip(1).map(str::trim).find_map(|one| {
            let (name, tag) = one.split_once('=')?;
            name.trim().eq_ignore_ascii_case("tag").then(|| tag.trim().to_string())
        });
        if to.tag().map(String::from) != tag {
            return Err(format!("tag {:?} and not {tag:?}", to.tag()));
        }
    }
    Ok(true)
}

fn mutants(seed: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[ -~]",
        Just("\r\n".to_string()),
        Just("\r\n ".to_string()),
        Just("\t".to_string()),
        Just(",".to_string()),
        Just(";".to_string()),
        Just("\"".to_string()),
        Just("\\".to_string()),
        Just("<".to_string()),
        Just(">".to_string()),
        Just(":".to_string()),
        Just("=".to_string()),
        Just("\r\n\r\n".to_string()),
        Just("\r\nl: 3".to_string()),
        Just("\r\nTo: <sip:x@y>;tag=z".to_string()),
        Just("\r\nV : SIP/2.0/UDP h , SIP/2.0/TCP i".to_string()),
        "[\u{80}-\u{7ff}]",
        "[\0-\u{1f}]",
    ];
    prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, piece), 1..5).prop_map(move |changes| {
        let mut octets = seed.clone();
        for (at, kind, piece) in changes {
            let at = at.index(octets.len());
            match kind {
                0 => drop(octets.splice(at..at, piece.bytes())),
                1 => drop(octets.splice(at..at + 1, piece.bytes())),
                _ => drop(octets.remove(at)),
            }
        }
        octets
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn mutants_of_an_invite(octets in mutants(INVITE.as_bytes().to_vec())) {
        prop_assert_eq!(agree(&octets).map(drop), Ok(()), "{}", String::from_utf8_lossy(&octets));
    }
}

proptest! {
    #[test]
    fn built_requests(request in request()) {
        prop_assert_eq!(agree(&request.to_bytes()), Ok(true));
    }

    #[test]
    fn lists(value in "[a,\"\\\\<> ;]{0,30}") {
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\nX-L: {value}\r\nAccept: {value}\r\n\r\n");
        let message = Message::parse(text.into(), &Limits::default()).unwrap();
        let expected = reference_elements(&value);
        prop_assert_eq!(message.headers().reprint(HeaderName::ACCEPT).len(), expected.len(), "{:?}", expected);
    }
}

/// RFC 3261 §25.1, R11: a control character in a name never makes it that name.
#[test]
fn control_characters_in_names() {
    for octet in (0..0x20).chain([0x7f]).filter(|octet| ![b'\t', b'\n', b'\r'].contains(octet)) {
        for place in ["To{}", "T{}o", "{}To", "{}\r\nTo"] {
            let name = place.replace("{}", &char::from(octet).to_string());
            let text = INVITE.replacen("To:", &format!("{name}: <sip:evil@h>;tag=9\r\nTo:"), 1);
            let message = Message::parse(text.into(), &Limits::default()).unwrap();
            assert!(message.as_request().unwrap().check().is_err(), "{name:?}");
        }
    }
}

#[test]
fn torture_messages_and_their_mutants() {
    let Some(root) = std::env::var_os("SIP_CORPUS") else {
        println!("skipped: SIP_CORPUS does not name a folder with rfc4475");
        return;
    };
    let (mut read, mut seen) = (0usize, 0usize);
    for set in ["rfc4475", "rfc5118", "rfcflows", "sipmsg-permissive"] {
        for entry in std::fs::read_dir(std::path::Path::new(&root).join(set)).unwrap() {
            let path = entry.unwrap().path();
            if !path.extension().is_some_and(|extension| extension == "dat" || extension == "sip") {
                continue;
            }
            let octets = std::fs::read(&path).unwrap();
            // every line of the message left out once, and every separator of it doubled
            let lines: Vec<&[u8]> = octets.split_inclusive(|&octet| octet == b'\n').take(40).collect();
            let without = (0..lines.len()).map(|skip| {
                lines
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| *at != skip)
                    .flat_map(|(_, line)| line.iter().copied())
                    .collect::<Vec<u8>>()
            });
            let doubled =
                (0..octets.len().min(1500)).filter(|&at| b",;:<>\"=@".contains(&octets[at])).map(|at| {
                    let mut twice = octets.clone();
                    twice.insert(at, octets[at]);
                    twice
                });
            for one in [octets.clone()].into_iter().chain(without).chain(doubled) {
                seen += 1;
                match agree(&one) {
                    Ok(both) => read += usize::from(both),
                    Err(wrong) => panic!("{}: {wrong}\n{}", path.display(), String::from_utf8_lossy(&one)),
                }
            }
        }
    }
    println!("{seen} messages, {read} that the reference reads too");
    assert!(seen > 5_000 && read > 2_000, "{seen}, {read}");
}
