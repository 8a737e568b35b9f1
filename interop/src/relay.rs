//! A bad network between two programs, for machines that let nobody build one: a UDP relay that loses, doubles, delays and
//! reorders as a seed says.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a thread looks whether it is still wanted.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// Datagrams on their way at a time, and clients ever; what is beyond is lost.
const ON_THE_WAY: usize = 10_000;
const CLIENTS: usize = 256;

/// Numbers without pattern, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 up to, not including, 1.
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between `delay` less and more than `jitter`.
    pub(crate) fn delay(&mut self, faults: &Faults) -> Duration {
        let least = faults.delay.saturating_sub(faults.jitter);
        least + (faults.delay + faults.jitter - least).mul_f64(self.fraction())
    }
}

/// What goes wrong, in each direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Decides all of it.
    pub seed: u64,
    /// Share of datagrams that are lost, from 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub twice: f64,
    /// How long each takes.
    pub delay: Duration,
    /// By how much that varies, to both sides; with it datagrams overtake each other.
    pub jitter: Duration,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Datagrams that came.
    pub came: u64,
    /// Lost ones.
    pub lost: u64,
    /// Doubled ones.
    pub twice: u64,
}

#[derive(Debug, Default)]
struct Counters {
    came: AtomicU64,
    lost: AtomicU64,
    twice: AtomicU64,
}

/// A datagram on its way.
struct Flight {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    octets: Vec<u8>,
    delay: Duration,
}

/// Relays datagrams to a target, and what comes back to the client that it belongs to. Ends when it is dropped.
#[derive(Debug)]
pub struct UdpRelay {
    /// Where clients send to.
    pub address: SocketAddr,
    counters: Arc<Counters>,
    over: Arc<AtomicBool>,
}

impl UdpRelay {
    /// A relay on loopback to `target`.
    pub fn start(target: SocketAddr, faults: Faults) -> Self {
        Self::at("127.0.0.1:0", target, faults)
    }

    /// A relay at an address of its own.
    ///
    /// # Panics
    /// If it cannot be had.
    pub fn at(address: &str, target: SocketAddr, faults: Faults) -> Self {
        let front = Arc::new(UdpSocket::bind(address).expect("a socket"));
        let (counters, over) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let relay = Self {
            address: front.local_addr().expect("an address"),
            counters: Arc::clone(&counters),
            over: Arc::clone(&over),
        };
        let (sender, receiver) = sync_channel(ON_THE_WAY);
        thread::spawn(move || deliver(&receiver));
        thread::spawn(move || {
            let back = Mutex::new(HashMap::<SocketAddr, Arc<UdpSocket>>::new());
            let outward = Impaired { faults, random: Random::new(faults.seed), sender, counters, over };
            outward.carry(&front, |from, outward| {
                let mut back = back.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(socket) = back.get(&from) {
                    return Some((Arc::clone(socket), target));
                }
                if back.len() == CLIENTS {
                    return None;
                }
                let own = SocketAddr::new(front.local_addr().ok()?.ip(), 0);
                let socket = Arc::new(UdpSocket::bind(own).ok()?);
                back.insert(from, Arc::clone(&socket));
                let inward = outward.again(back.len() as u64);
                let (listener, front) = (Arc::clone(&socket), Arc::clone(&front));
                thread::spawn(move || inward.carry(&listener, |_, _| Some((Arc::clone(&front), from))));
                Some((socket, target))
            });
        });
        relay
    }

    /// What it did so far.
    pub fn relayed(&self) -> Relayed {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { came, lost, twice } = &*self.counters;
        Relayed { came: read(came), lost: read(lost), twice: read(twice) }
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// One direction.
struct Impaired {
    faults: Faults,
    random: Random,
    sender: SyncSender<Flight>,
    counters: Arc<Counters>,
    over: Arc<AtomicBool>,
}

impl Impaired {
    /// A direction with chances of its own.
    fn again(&self, number: u64) -> Self {
        Self {
            faults: self.faults,
            random: Random::new(self.faults.seed.wrapping_add(number)),
            sender: self.sender.clone(),
            counters: Arc::clone(&self.counters),
            over: Arc::clone(&self.over),
        }
    }

    /// Takes what comes to `socket` on to where `way` says for its sender, until the relay is over.
    fn carry(
        mut self,
        socket: &UdpSocket,
        way: impl Fn(SocketAddr, &Self) -> Option<(Arc<UdpSocket>, SocketAddr)>,
    ) {
        socket.set_read_timeout(Some(LOOK)).expect("a time limit");
        let mut octets = vec![0; 65_536];
        while !self.over.load(Ordering::Relaxed) {
            let (length, from) = match socket.recv_from(&mut octets) {
                Ok(received) => received,
                // A refusal is of what was sent before.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => panic!("relay: {error}"),
            };
            let Some((out, to)) = way(from, &self) else { continue };
            self.counters.came.fetch_add(1, Ordering::Relaxed);
            // All drawn for each, so that one share does not change what another decides.
            let (lost, twice) = (self.random.fraction(), self.random.fraction());
            let delays = [self.random.delay(&self.faults), self.random.delay(&self.faults)];
            if lost < self.faults.loss {
                self.counters.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let copies = if twice < self.faults.twice { 2 } else { 1 };
            self.counters.twice.fetch_add(copies - 1, Ordering::Relaxed);
            for delay in delays.into_iter().take(copies as usize) {
                let octets = octets[..length].to_vec();
                let _ = self.sender.try_send(Flight { socket: Arc::clone(&out), to, octets, delay });
            }
        }
    }
}

/// Sends each datagram when its time has come; ends when both directions have.
fn deliver(receiver: &Receiver<Flight>) {
    let mut flights = HashMap::new();
    let mut order = BinaryHeap::<Reverse<(Instant, u64)>>::new();
    let mut number = 0_u64;
    loop {
        let now = Instant::now();
        while let Some(&Reverse((due, which))) = order.peek() {
            if due > now {
                break;
            }
            order.pop();
            if let Some(Flight { socket, to, octets, .. }) = flights.remove(&which) {
                let _ = socket.send_to(&octets, to);
            }
        }
        let wait = order.peek().map_or(LOOK, |Reverse((due, _))| due.saturating_duration_since(now));
        match receiver.recv_timeout(wait) {
            Ok(flight) if flights.len() < ON_THE_WAY => {
                number += 1;
                order.push(Reverse((Instant::now() + flight.delay, number)));
                flights.insert(number, flight);
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
