//! The relay for connections: each ends as it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::relay::{Faults, LOOK, Random};

/// Connections of one relay; more are not accepted.
const CONNECTIONS: usize = 1_000;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lasts as long as both ends want it.
    Lasts,
    /// After so many octets of the client, which reach the target, both ends are reset.
    ResetAfter(usize),
    /// After so many octets of the target, which reach the client, both ends are reset.
    ResetAfterAnswer(usize),
    /// After so many octets of the client nothing passes any more, and nobody is told: half-open to whoever asks.
    SilentAfter(usize),
}

/// Relays connections to a target. They end with it.
#[derive(Debug)]
pub struct TcpRelay {
    /// Where clients connect to.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl TcpRelay {
    /// A relay on loopback: the first connections have these fates, all others last.
    pub fn start(target: SocketAddr, fates: &[Fate]) -> Self {
        Self::at("127.0.0.1:0", target, fates, Faults::default())
    }

    /// A relay at an address of its own. Of the faults the delays count, and nothing is reordered: this is a stream.
    ///
    /// # Panics
    /// If it cannot be had.
    pub fn at(address: &str, target: SocketAddr, fates: &[Fate], faults: Faults) -> Self {
        let listener = TcpListener::bind(address).expect("a listener");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let (accepted, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let address = listener.local_addr().expect("an address");
        let relay = Self { address, accepted: Arc::clone(&accepted), over: Arc::clone(&over) };
        let fates = fates.to_vec();
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) && accepted.load(Ordering::Relaxed) < CONNECTIONS {
                match listener.accept() {
                    Ok((client, _)) => {
                        let number = accepted.fetch_add(1, Ordering::Relaxed);
                        let fate = fates.get(number).copied().unwrap_or(Fate::Lasts);
                        let Ok(server) = TcpStream::connect(target) else { continue };
                        let stopped = AtomicBool::new(false);
                        let ends = Ends { client, server, stopped, over: Arc::clone(&over) };
                        relay_connection(ends, fate, &faults, number as u64);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(5));
                    }
                    Err(_) => return,
                }
            }
        });
        relay
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn relay_connection(ends: Ends, fate: Fate, faults: &Faults, number: u64) {
    let ends = Arc::new(ends);
    let (up, down) = match fate {
        Fate::Lasts => (Stop::Never, Stop::Never),
        Fate::ResetAfter(octets) => (Stop::Reset(octets), Stop::Never),
        Fate::ResetAfterAnswer(octets) => (Stop::Never, Stop::Reset(octets)),
        Fate::SilentAfter(octets) => (Stop::Silence(octets), Stop::Never),
    };
    for (outward, stop) in [(true, up), (false, down)] {
        let (ends, faults) = (Arc::clone(&ends), *faults);
        let random = Random::new(faults.seed.wrapping_add(2 * number + u64::from(outward)));
        thread::spawn(move || ends.carry(outward, stop, &faults, random));
    }
}

/// Where a direction stops.
#[derive(Clone, Copy)]
enum Stop {
    Never,
    Reset(usize),
    Silence(usize),
}

/// The two ends of a connection, closed when both directions are over.
struct Ends {
    client: TcpStream,
    server: TcpStream,
    /// Broken, or silent: nothing passes any more.
    stopped: AtomicBool,
    /// The relay is over.
    over: Arc<AtomicBool>,
}

impl Ends {
    /// Takes octets from one end to the other, until one closes or the direction's end has come.
    fn carry(&self, outward: bool, stop: Stop, faults: &Faults, mut random: Random) {
        let (mut from, mut to) =
            if outward { (&self.client, &self.server) } else { (&self.server, &self.client) };
        let _ = from.set_nonblocking(false);
        let _ = from.set_read_timeout(Some(LOOK));
        let mut left = match stop {
            Stop::Never => usize::MAX,
            Stop::Reset(octets) | Stop::Silence(octets) => octets,
        };
        let mut octets = [0; 16_384];
        while !self.stopped.load(Ordering::Relaxed) && !self.over.load(Ordering::Relaxed) {
            let some = left.min(octets.len());
            let length = match from.read(&mut octets[..some]) {
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => return self.reset(),
            };
            thread::sleep(random.delay(faults));
            if to.write_all(&octets[..length]).is_err() {
                return self.reset();
            }
            left -= length;
            match stop {
                Stop::Reset(_) if left == 0 => return self.reset(),
                Stop::Silence(_) if left == 0 => self.stopped.store(true, Ordering::Relaxed),
                _ => {}
            }
        }
        // Silence: both ends stay open and unread.
        while !self.over.load(Ordering::Relaxed) && matches!(stop, Stop::Silence(_)) {
            thread::sleep(LOOK);
        }
    }

    /// Both ends are closed by a reset, once the other direction has noticed.
    fn reset(&self) {
        for end in [&self.client, &self.server] {
            let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
        }
        self.stopped.store(true, Ordering::Relaxed);
    }
}
