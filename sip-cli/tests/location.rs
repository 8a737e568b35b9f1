//! R37: a registrar that is killed at any moment has every binding that it acknowledged.
//!
//! `SIP_KILLS=200 cargo test --release -p sip-cli --test location -- --nocapture` kills it as often as one wants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod running;

use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use running::{PATIENCE, Running, sip};
use serde_json::Value;

/// Users that register in turn.
const USERS: u32 = 300;
/// Time from one REGISTER to the next: 500 a second.
const PACE: Duration = Duration::from_millis(2);

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("location")
}

fn start(file: &Path, flush: &str) -> Running {
    let file = file.to_str().unwrap();
    Running::start(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "example.com",
        "--no-auth",
        "--location",
        file,
        "--location-flush",
        flush,
    ])
}

fn text(method: &str, user: u32, cseq: u32, branch: u64, contact: &str) -> String {
    format!(
        "{method} sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:u{user}@example.com>;tag=1\r\nTo: <sip:u{user}@example.com>\r\n\
         Call-ID: phone{user}\r\nCSeq: {cseq} {method}\r\n{contact}Content-Length: 0\r\n\r\n"
    )
}

fn register(user: u32, cseq: u32, branch: u64) -> String {
    text("REGISTER", user, cseq, branch, &format!("Contact: <sip:u{user}@127.0.0.1:5099>\r\n"))
}

fn status(answer: &str) -> &str {
    &answer[8..11]
}

/// User and CSeq of an answer.
fn whose(answer: &str) -> (u32, u32) {
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let user = value("Call-ID: phone").parse().unwrap();
    (user, value("CSeq: ").split(' ').next().unwrap().parse().unwrap())
}

/// The last CSeq of each user that was sent, and that was acknowledged.
#[derive(Default)]
struct Phones {
    sent: HashMap<u32, u32>,
    acknowledged: HashMap<u32, u32>,
    cseq: u32,
    branch: u64,
}

impl Phones {
    /// Registers at 500 a second until so many were acknowledged.
    fn register(&mut self, server: &str, until: usize) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        let (mut buffer, mut acknowledged) = ([0; 4_096], 0);
        let (began, mut sent) = (Instant::now(), 0);
        while acknowledged < until {
            let due = began + PACE * sent;
            let now = Instant::now();
            assert!(now < began + PATIENCE, "the server does not answer");
            if due <= now {
                (self.cseq, self.branch, sent) = (self.cseq + 1, self.branch + 1, sent + 1);
                let user = self.cseq % USERS;
                socket.send(register(user, self.cseq, self.branch).as_bytes()).unwrap();
                self.sent.insert(user, self.cseq);
                continue;
            }
            socket.set_read_timeout(Some((due - now).max(Duration::from_micros(50)))).unwrap();
            if let Ok(length) = socket.recv(&mut buffer) {
                let answer = std::str::from_utf8(&buffer[..length]).unwrap();
                assert_eq!(status(answer), "200", "{answer}");
                let (user, cseq) = whose(answer);
                let last = self.acknowledged.entry(user).or_default();
                *last = cseq.max(*last);
                acknowledged += 1;
            }
        }
    }

    /// What lies in the file is what was acknowledged, or something that was sent after it.
    fn compare(&self, file: &Path) {
        let output = sip(&["location", "list", file.to_str().unwrap(), "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut stored: HashMap<u32, u32> = HashMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let binding: Value = serde_json::from_str(line).unwrap();
            let user = binding["aor"].as_str().unwrap().strip_prefix('u').unwrap().split('@').next().unwrap();
            let user = user.parse().unwrap();
            assert_eq!(binding["contact"], format!("<sip:u{user}@127.0.0.1:5099>"));
            let cseq = u32::try_from(binding["cseq"].as_u64().unwrap()).unwrap();
            assert_eq!(stored.insert(user, cseq), None, "one binding each");
        }
        for (user, acknowledged) in &self.acknowledged {
            let stored = stored.get(user).unwrap_or_else(|| panic!("u{user} was acknowledged and is gone"));
            assert!(
                stored >= acknowledged && *stored <= self.sent[user],
                "u{user}: {stored}, not {acknowledged}"
            );
        }
    }

    /// The server has them in memory as well: an older REGISTER is refused (§10.3 step 7), and a query names the contact.
    fn ask(&mut self, server: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let ask = |text: String| {
            socket.send(text.as_bytes()).unwrap();
            let mut buffer = [0; 4_096];
            let length = socket.recv(&mut buffer).unwrap();
            std::str::from_utf8(&buffer[..length]).unwrap().to_owned()
        };
        for (user, acknowledged) in self.acknowledged.iter().take(20) {
            self.branch += 2;
            let answer = ask(text("REGISTER", *user, 1, self.branch, ""));
            assert!(answer.contains(&format!("Contact: <sip:u{user}@127.0.0.1:5099>")), "{answer}");
            assert_eq!(status(&ask(register(*user, *acknowledged, self.branch + 1))), "500");
        }
    }
}

fn kills(name: &str, flush: &str, count: usize) {
    let file = file(name);
    let (mut phones, mut slowest) = (Phones::default(), Duration::ZERO);
    // Moments that differ and are the same in each run.
    let mut random = 0x2545_f491_u32;
    let mut server = start(&file, flush);
    let mut address = server.address();
    for _ in 0..count {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        phones.register(&address, 20 + (random >> 16) as usize % 300);
        server.kill();
        phones.compare(&file);
        let began = Instant::now();
        server = start(&file, flush);
        address = server.address();
        slowest = slowest.max(began.elapsed());
        phones.ask(&address);
    }
    assert!(slowest < PATIENCE);
    println!(
        "{count} kills, {} REGISTERs, none acknowledged and lost; the slowest start took {slowest:?}",
        phones.cseq
    );
}

fn count() -> usize {
    std::env::var("SIP_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(4)
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    kills("kills", "0", count());
}

/// Acknowledged before it is safe from a power cut, it is safe from the end of the process all the same.
#[test]
fn killed_before_the_flush_nothing_acknowledged_is_lost() {
    kills("kills-before-flush", "5000", count());
}

#[test]
fn a_file_is_listed_checked_and_repaired() {
    let file = file("commands");
    let name = file.to_str().unwrap();
    let server = start(&file, "0");
    Phones::default().register(&server.address(), 10);
    let said = |arguments: &[&str]| {
        let output = sip(arguments);
        let (out, error) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.code().unwrap(), format!("{out}{error}"))
    };
    let (code, list) = said(&["location", "list", name]);
    assert_eq!(code, 0);
    assert!(
        list.lines().count() >= 10 && list.contains("u1@example.com <sip:u1@127.0.0.1:5099> expires=3600"),
        "{list}"
    );
    let (code, error) = said(&["location", "repair", name]);
    assert!(code == 1 && error.contains("is in use by another process"), "{error}");
    server.kill();
    assert!(said(&["location", "check", name]).1.starts_with("well: "));
    let mut octets = std::fs::read(&file).unwrap();
    octets[200] ^= 1;
    std::fs::write(&file, &octets).unwrap();
    let refused = said(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "a.example",
        "--no-auth",
        "--location",
        name,
    ]);
    assert_eq!(refused.0, 1);
    assert!(
        refused.1.contains("is damaged at octet ") && refused.1.contains("`sip location repair"),
        "{}",
        refused.1
    );
    assert_eq!(said(&["location", "check", name]).0, 1);
    let (code, done) = said(&["location", "repair", name]);
    assert!(code == 0 && done.contains("saved") && done.contains("location.damaged"), "{done}");
    assert_eq!(std::fs::read(file.with_extension("damaged")).unwrap(), octets);
    assert_eq!(said(&["location", "check", name]).0, 0);
    assert_eq!(said(&["location", "check", "/nowhere/at/all"]).0, 1);
}

/// A server that was told nothing of it keeps what it has acknowledged, too.
#[test]
fn bindings_are_kept_where_nobody_says_so() {
    let states = file("location-of-its-own").parent().unwrap().to_str().unwrap().to_owned();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("udp:127.0.0.1:{port}");
    let start = |more: &[&str]| {
        let arguments = ["server", "--listen", &listen, "--domain", "example.com", "--no-auth"];
        let environment = [("XDG_STATE_HOME", &*states), ("STATE_DIRECTORY", "")];
        Running::start_with(&[&arguments[..], more].concat(), &environment)
    };
    let server = start(&[]);
    let file = server.line("bindings are kept in ").split_off("bindings are kept in ".len());
    assert_eq!(file, format!("{states}/sip-server/location-127.0.0.1-{port}"));
    let address = server.address();
    let mut phones = Phones::default();
    phones.register(&address, 10);
    server.kill();
    let known = start(&[]);
    known.line("listening");
    known.interrupt();
    let kept = |line: String| -> usize {
        let (_, count) = line.split_once("refused, ").unwrap();
        count.split_once(' ').unwrap().0.parse().unwrap()
    };
    let known = kept(known.line("bindings at the end"));
    assert!((phones.acknowledged.len()..=phones.sent.len()).contains(&known), "{known}");
    let forgets = start(&["--location", "memory"]);
    assert_eq!(forgets.address(), address);
    forgets.interrupt();
    assert_eq!(kept(forgets.line("bindings at the end")), 0);
}
