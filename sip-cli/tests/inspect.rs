//! `sip inspect` as a script sees it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use sip_transport::capture::Capture;

const BYE: &str = "BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
                   Call-ID: x\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
const OK: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
                  Call-ID: x\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n";

fn sip(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip"))
        .arg("inspect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A file for one test, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, octets: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("sip-inspect-{}-{name}", std::process::id()));
        std::fs::write(&path, octets).unwrap();
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn valid_messages_from_standard_input() {
    let output = sip(&[], format!("{BYE}{OK}").as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("- #1: valid\n  BYE sip:b@h\n"), "{text}");
    assert!(text.contains("\n    Via            SIP/2.0/UDP h;branch=z9hG4bK1\n      protocol=SIP/2.0 transport=UDP host=h params{branch=z9hG4bK1}\n"), "{text}");
    assert!(text.contains("- #2: valid\n  200 OK\n") && text.ends_with("2 messages, all valid\n"), "{text}");
}

#[test]
fn an_invalid_message_ends_with_1_and_says_where() {
    let bad = Scratch::new("bad.sip", BYE.replace("CSeq: 1 BYE", "CSeq: 1 INVITE").as_bytes());
    let good = Scratch::new("good.sip", BYE.as_bytes());
    let output = sip(&["--brief", bad.path(), good.path()], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = "INVALID at line 6, column 7: CSeq method INVITE is not the request's BYE (RFC 3261 §8.1.1.5), answer 400: BYE sip:b@h\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.ends_with("2 messages, 1 invalid\n"), "{text}");

    let output = sip(&["--json", bad.path(), good.path()], b"");
    let objects = objects(&output);
    assert_eq!((output.status.code(), objects.len()), (Some(1), 2));
    assert_eq!(
        (&objects[0]["valid"], &objects[0]["status"], &objects[0]["line"]),
        (&false.into(), &400.into(), &6.into())
    );
    assert_eq!((&objects[1]["valid"], &objects[1]["file"]), (&true.into(), &good.path().into()));
}

#[test]
fn files_that_are_nothing() {
    let empty = Scratch::new("empty.sip", b"");
    let output = sip(&["--json", empty.path()], b"");
    assert_eq!((output.status.code(), &objects(&output)[0]["error"]), (Some(1), &"no start line".into()));
    let output = sip(&["/there/is/no/such/file"], b"");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.starts_with("sip: cannot read /there/is/no/such/file: "), "{error}");
    let output = sip(&[std::env::temp_dir().to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_datagram_is_one_message() {
    let output = sip(&["--json", "--datagram"], format!("{BYE}{OK}").as_bytes());
    let objects = objects(&output);
    assert_eq!((output.status.code(), objects.len()), (Some(0), 1));
    assert_eq!(objects[0]["remarks"][0]["text"], format!("{} octets after the body are left out", OK.len()));
}

#[test]
fn a_capture_is_drawn_call_by_call() {
    let (a, b) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
    let (c, d) = ("[2001:db8::1]:40000".parse().unwrap(), "[2001:db8::2]:5060".parse().unwrap());
    let mut capture = Capture::new(Vec::new()).unwrap();
    let at = Duration::from_millis;
    capture.datagram(at(1_000), a, b, BYE.as_bytes()).unwrap();
    capture.datagram(at(1_005), a, b, b"\r\n\r\n").unwrap();
    capture.datagram(at(1_020), b, a, OK.as_bytes()).unwrap();
    let (first, second) = BYE.split_at(100);
    let other = |text: &str| text.replace("Call-ID: x", "Call-ID: y");
    capture.stream(at(2_000), c, d, other(first).as_bytes()).unwrap();
    capture.stream(at(2_010), c, d, format!("{}\r\n\r\n", other(second)).as_bytes()).unwrap();
    capture.stream(at(2_020), d, c, other(OK).as_bytes()).unwrap();
    let file = Scratch::new("calls.pcap", &capture.finish().unwrap());

    let output = sip(&["--ladder", file.path()], b"");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let ladder = "call x\n      time  192.0.2.1:5060      192.0.2.2:5060\n     0.000    |------ BYE 1 ----->|\n     0.020    |<--- 200 BYE 1 -----|\n";
    let squeezed = |text: &str| text.replace(['-', ' '], "");
    assert!(squeezed(&text).contains(&squeezed(ladder)), "{text}");
    assert!(text.contains("call y\n") && text.contains("[2001:db8::1]:40000"), "{text}");
    assert!(text.ends_with("4 messages, all valid\n"), "{text}");

    let objects = objects(&sip(&["--json", file.path()], b""));
    assert_eq!(objects.len(), 4);
    assert_eq!(
        (&objects[0]["transport"], &objects[0]["from"], &objects[0]["time"]),
        (&"UDP".into(), &"192.0.2.1:5060".into(), &1.0.into())
    );
    assert_eq!((&objects[2]["transport"], &objects[2]["method"]), (&"TCP".into(), &"BYE".into()));
}

/// The verdicts of RFC 4475 and RFC 5118, where the messages are at hand.
#[test]
fn torture_messages_get_their_verdicts() {
    let Some(root) = std::env::var_os("SIP_CORPUS").map(PathBuf::from) else {
        println!("skipped: SIP_CORPUS does not name a folder with rfc4475 and rfc5118");
        return;
    };
    for set in ["rfc4475", "rfc5118"] {
        let table = std::fs::read_to_string(root.join(set).join("EXPECT.tsv")).unwrap();
        let column =
            |name: &str| table.lines().next().unwrap().split('\t').position(|one| one == name).unwrap();
        let (file, parse) = (column("file"), column("parse"));
        let mut seen = 0;
        for row in table.lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>()) {
            let path = root.join(set).join(row[file]);
            let output = sip(&["--json", "--datagram", path.to_str().unwrap()], b"");
            let objects = objects(&output);
            assert_eq!(objects.len(), 1, "{}", row[file]);
            let valid = objects[0]["valid"].as_bool().unwrap();
            assert_eq!(output.status.code(), Some(i32::from(!valid)));
            match row[parse] {
                // The RFC's own Content-Length is wrong in this one.
                "accept" if row[file] == "ipv6-in-sdp.dat" => assert_eq!(objects[0]["status"], 400),
                "accept" => assert!(valid, "{}: {}", row[file], objects[0]),
                "reject" => assert!(!valid, "{}: {}", row[file], objects[0]),
                _ => {}
            }
            seen += 1;
        }
        assert!(seen >= 15, "{set} has {seen} messages");
    }
}

/// Every field of every message of the RFCs' call flows has parts where its type has.
#[test]
fn messages_of_call_flows_are_valid() {
    let Some(root) = std::env::var_os("SIP_CORPUS").map(PathBuf::from) else {
        println!("skipped: SIP_CORPUS does not name a folder with rfcflows");
        return;
    };
    let mut files: Vec<String> = std::fs::read_dir(root.join("rfcflows"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.ends_with(".sip"))
        .collect();
    files.sort();
    let arguments: Vec<&str> =
        ["--json", "--datagram"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let output = sip(&arguments, b"");
    let objects = objects(&output);
    assert_eq!(objects.len(), files.len());
    let invalid: Vec<String> = objects
        .iter()
        .filter(|one| one["valid"] == false)
        .map(|one| format!("{} {}", one["file"], one["error"]))
        .collect();
    assert!(invalid.is_empty(), "{invalid:#?}");
}
