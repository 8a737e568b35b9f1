//! Loads a presence server over UDP and reads what that costs it: memory of a subscription, processor time of a PUBLISH with the
//! NOTIFYs that it makes.
//!
//! `bench-presence ADDRESS:PORT DOMAIN PID PRESENTITIES WATCHERS PUBLISHES` prints one line of JSON. All processes of the session of
//! PID count. Nobody is asked for a password.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Requests without an answer at one time.
const WINDOW: usize = 200;
/// A request is sent again when nothing came for it in this time.
const PATIENCE: Duration = Duration::from_millis(1000);

struct Load {
    socket: UdpSocket,
    server: SocketAddr,
    domain: String,
    here: SocketAddr,
    notified: u64,
    text: String,
    buffer: Vec<u8>,
}

/// What one kind of request is, by its number.
type Write<'a> = &'a dyn Fn(&Load, usize, &mut String);

impl Load {
    /// Sends so many requests and waits for the answer of each, and for `notifies` NOTIFYs in all.
    fn run(&mut self, count: usize, notifies: u64, write: Write<'_>) -> (u64, u64, Duration) {
        let (began, before) = (Instant::now(), self.notified);
        let mut open: HashMap<usize, Instant> = HashMap::new();
        let (mut next, mut good, mut bad, mut silent) = (0, 0_u64, 0_u64, Instant::now());
        while next < count || !open.is_empty() || self.notified - before < notifies {
            while next < count && open.len() < WINDOW {
                self.send(next, write);
                open.insert(next, Instant::now());
                next += 1;
            }
            if let Some((number, status)) = self.receive() {
                silent = Instant::now();
                if let Some(number) = number
                    && open.remove(&number).is_some()
                {
                    if (200..300).contains(&status) { good += 1 } else { bad += 1 }
                }
            } else {
                let late: Vec<usize> =
                    open.iter().filter(|(_, sent)| sent.elapsed() > PATIENCE).map(|(number, _)| *number).collect();
                for number in late {
                    self.send(number, write);
                    open.insert(number, Instant::now());
                }
                assert!(silent.elapsed() < Duration::from_secs(40), "nothing comes: {} open", open.len());
                if silent.elapsed() > Duration::from_secs(10) && open.is_empty() {
                    break;
                }
            }
        }
        (good, bad, began.elapsed())
    }

    fn send(&mut self, number: usize, write: Write<'_>) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write(self, number, &mut text);
        let _ = self.socket.send_to(text.as_bytes(), self.server);
        self.text = text;
    }

    /// Takes one message: the number and status of a response, or a NOTIFY, which is answered.
    fn receive(&mut self) -> Option<(Option<usize>, u16)> {
        let length = self.socket.recv(&mut self.buffer).ok()?;
        let text = std::str::from_utf8(&self.buffer[..length]).ok()?;
        if let Some(rest) = text.strip_prefix("SIP/2.0 ") {
            let status = rest.get(..3)?.parse().ok()?;
            let number = text.split("z9hG4bK-").nth(1)?.split(['-', ';', '\r']).next()?.parse().ok();
            return Some((number, status));
        }
        let mut answer = String::from("SIP/2.0 200 OK\r\n");
        for line in text.split("\r\n").take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if matches!(name.as_str(), "via" | "from" | "to" | "call-id" | "cseq" | "v" | "f" | "t" | "i") {
                answer.push_str(line);
                answer.push_str("\r\n");
            }
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        if text.starts_with("NOTIFY") {
            self.notified += 1;
        }
        let _ = self.socket.send_to(answer.as_bytes(), self.server);
        Some((None, 0))
    }
}

fn subscribe(load: &Load, number: usize, text: &mut String, watchers: usize, whom: &str) {
    let (presentity, watcher) = (number / watchers, number % watchers);
    let (domain, here) = (&load.domain, load.here);
    let _ = write!(
        text,
        "SUBSCRIBE sip:{whom}{presentity}@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK-{number}-{whom}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:w{watcher}@{domain}>;tag=f{number}\r\nTo: <sip:{whom}{presentity}@{domain}>\r\n\
         Call-ID: {whom}-{number}@{here}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:w{watcher}@{here}>\r\n\
         Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    );
}

fn publish(load: &Load, number: usize, text: &mut String, round: u32) {
    let (domain, here) = (&load.domain, load.here);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:p{number}@{domain}\">\
         <tuple id=\"t{round}\"><status><basic>open</basic></status><contact priority=\"0.8\">sip:p{number}@{domain}</contact>\
         <note>round {round}</note></tuple></presence>"
    );
    let _ = write!(
        text,
        "PUBLISH sip:p{number}@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK-{number}-p{round}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:p{number}@{domain}>;tag=p{number}\r\nTo: <sip:p{number}@{domain}>\r\n\
         Call-ID: publication-{number}-{round}@{here}\r\nCSeq: 1 PUBLISH\r\nEvent: presence\r\nExpires: 3600\r\n\
         Content-Type: application/pidf+xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// All processes of a session.
fn session(leader: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("/proc");
    let ids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| stat(*id).is_some_and(|fields| fields.get(3).and_then(|sid| sid.parse().ok()) == Some(leader)))
        .collect()
}

/// The fields of /proc/ID/stat after the name.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Microseconds of processor time.
fn processor(processes: &[u32]) -> u64 {
    let ticks = |fields: Vec<String>| {
        [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum::<u64>()
    };
    processes.iter().filter_map(|id| stat(*id)).map(ticks).sum::<u64>() * 10_000
}

/// Octets of memory, what is shared counted once.
fn memory(processes: &[u32]) -> u64 {
    let pss = |id: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    processes.iter().filter_map(pss).sum::<u64>() * 1024
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, domain, pid, presentities, watchers, publishes] = arguments.as_slice() else {
        eprintln!("usage: bench-presence ADDRESS:PORT DOMAIN PID PRESENTITIES WATCHERS PUBLISHES");
        std::process::exit(1);
    };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let (presentities, watchers, publishes) = (number(presentities), number(watchers), number(publishes));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let here = socket.local_addr().expect("an address");
    let server = server.parse().expect("an address");
    let (text, buffer) = (String::new(), vec![0; 65_536]);
    let mut load = Load { socket, server, domain: domain.clone(), here, notified: 0, text, buffer };
    let processes = session(pid.parse().expect("a process"));
    assert!(!processes.is_empty(), "no process in the session {pid}");

    // What is there once, before anything is counted.
    load.run(100, 0, &|load, number, text| subscribe(load, number, text, watchers, "warm"));
    std::thread::sleep(Duration::from_secs(34));
    let (memory_before, processor_before) = (memory(&processes), processor(&processes));
    let count = presentities * watchers;
    let (subscribed, refused, took) =
        load.run(count, count as u64, &|load, number, text| subscribe(load, number, text, watchers, "p"));
    let subscribing = processor(&processes) - processor_before;
    std::thread::sleep(Duration::from_secs(34)); // transactions end
    let held = memory(&processes).saturating_sub(memory_before);

    let (before, notified) = (processor(&processes), load.notified);
    let (published, failed, publishing) =
        load.run(publishes, (publishes * watchers) as u64, &|load, number, text| publish(load, number, text, 1));
    std::thread::sleep(Duration::from_secs(6));
    let spent = processor(&processes) - before;
    println!(
        "{{\"subscribed\":{subscribed},\"refused\":{refused},\"subscribe_us\":{:.1},\"subscribes_per_s\":{:.0},\
         \"octets_per_subscription\":{:.0},\"published\":{published},\"failed\":{failed},\"notified\":{},\
         \"publish_us\":{:.1},\"publishes_per_s\":{:.0}}}",
        subscribing as f64 / subscribed.max(1) as f64,
        subscribed as f64 / took.as_secs_f64(),
        held as f64 / subscribed.max(1) as f64,
        load.notified - notified,
        spent as f64 / published.max(1) as f64,
        published as f64 / publishing.as_secs_f64(),
    );
}
