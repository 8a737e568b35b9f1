//! A proxy of the old kind: a strict router, as RFC 2543 had them and RFC 3261 §16.4 and §16.6 step 6 put up with.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A strict router over UDP between two neighbours; it keeps no state of calls. Requests that begin a dialog go from each
/// neighbour to the other, with a Record-Route that has no `lr`. In a dialog its first Route becomes the Request-URI, which
/// is where it sends the request.
#[derive(Debug)]
pub struct StrictRouter {
    /// Where it listens.
    pub address: SocketAddr,
    neighbours: Arc<Mutex<[Option<SocketAddr>; 2]>>,
    routed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StrictRouter {
    /// Starts it on a free port, without neighbours.
    ///
    /// # Panics
    /// If there is no socket to be had.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let address = socket.local_addr().expect("an address");
        let neighbours = Arc::<Mutex<[Option<SocketAddr>; 2]>>::default();
        let (routed, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (known, count, end) = (Arc::clone(&neighbours), Arc::clone(&routed), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut octets = vec![0; 65_536];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut octets) else { continue };
                let text = String::from_utf8_lossy(&octets[..length]).into_owned();
                let sides = *known.lock().unwrap_or_else(PoisonError::into_inner);
                let other = if sides[0] == Some(from) { sides[1] } else { sides[0] };
                let sent = if text.starts_with("SIP/2.0") {
                    response(&text)
                } else {
                    request(&text, from, address, other, &count)
                };
                if let Some((text, to)) = sent {
                    let _ = socket.send_to(text.as_bytes(), to);
                }
            }
        });
        Self { address, neighbours, routed, stop, thread: Some(thread) }
    }

    /// The two that requests go between.
    pub fn between(&self, one: SocketAddr, other: SocketAddr) {
        *self.neighbours.lock().unwrap_or_else(PoisonError::into_inner) = [Some(one), Some(other)];
    }

    /// Requests whose Request-URI was this router's own, as strict routing has it, so far.
    pub fn routed_strictly(&self) -> u64 {
        self.routed.load(Ordering::Relaxed)
    }
}

impl Drop for StrictRouter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The address in `sip:user@127.0.0.1:5060;lr`.
fn address_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.trim_start_matches('<').strip_prefix("sip:")?;
    let end = rest.find([';', '>', '?']).unwrap_or(rest.len());
    rest[..end].rsplit('@').next()?.parse().ok()
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (field, value) = line.split_once(':')?;
    field.trim().eq_ignore_ascii_case(name).then_some(value.trim())
}

fn request(
    text: &str,
    from: SocketAddr,
    own: SocketAddr,
    other: Option<SocketAddr>,
    routed: &AtomicU64,
) -> Option<(String, SocketAddr)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, mut uri) = (words.next()?, words.next()?.to_owned());
    let (mut routes, mut kept, mut in_dialog) = (Vec::new(), Vec::new(), false);
    for line in lines {
        if let Some(values) = value(line, "Route") {
            routes.extend(values.split(',').map(|one| one.trim().to_owned()));
            continue;
        }
        in_dialog |= value(line, "To").is_some_and(|to| to.contains(";tag="));
        kept.push(line);
    }
    let mut first = vec![format!("Via: SIP/2.0/UDP {own};branch=z9hG4bK-strict-{}", branch(head)?)];
    let to = if in_dialog {
        if address_of(&uri) == Some(own) && !uri.contains('@') {
            routed.fetch_add(1, Ordering::Relaxed);
        }
        if !routes.is_empty() {
            uri = routes.remove(0).trim_matches(['<', '>']).to_owned();
        }
        address_of(&uri)?
    } else {
        first.push(format!("Record-Route: <sip:{own}>"));
        routes.retain(|route| address_of(route) != Some(own));
        other?
    };
    first.extend(routes.iter().map(|route| format!("Route: {route}")));
    // Where the answer goes (§18.2.1): what is ours comes first, the sender's Via after it.
    let kept: Vec<String> = mark(&kept, from);
    let text =
        format!("{method} {uri} SIP/2.0\r\n{}\r\n{}\r\n\r\n{body}", first.join("\r\n"), kept.join("\r\n"));
    Some((text, to))
}

/// The branch of the sender: an ACK of a failure and a CANCEL have that of the INVITE, so ours has.
fn branch(head: &str) -> Option<&str> {
    let via = head.split("\r\n").find_map(|line| value(line, "Via"))?;
    let branch = via.split(';').find_map(|parameter| parameter.trim().strip_prefix("branch="))?;
    branch.split(',').next()
}

fn mark(kept: &[&str], from: SocketAddr) -> Vec<String> {
    let mut kept: Vec<String> = kept.iter().map(|line| (*line).to_owned()).collect();
    if let Some(via) = kept.iter_mut().find(|line| value(line, "Via").is_some()) {
        // One that asks for rport has it filled in; others are answered where they say that they are.
        *via = via.replacen(";rport;", &format!(";rport={};", from.port()), 1);
    }
    kept
}

fn response(text: &str) -> Option<(String, SocketAddr)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    let own = lines.iter().position(|line| value(line, "Via").is_some())?;
    lines.remove(own);
    let next = lines.iter().find_map(|line| value(line, "Via"))?;
    let mut to: SocketAddr = next.split([' ', ';']).nth(1)?.parse().ok()?;
    if let Some(port) = next.split(';').find_map(|parameter| parameter.strip_prefix("rport=")) {
        to.set_port(port.split(',').next()?.parse().ok()?);
    }
    Some((format!("{}\r\n\r\n{body}", lines.join("\r\n")), to))
}
