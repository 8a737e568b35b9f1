//! Hundreds of G.711 streams from bare sockets: what is sent is on time, what comes is measured, and little is spent on both.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use sdp::{LocalMedia, Negotiated};
use sip_ua::{MediaEngine, MediaFuture, MediaPlace, MediaSession};

/// Sockets that the streams share, so that none of their buffers runs over while its thread waits for a processor.
const SOCKETS: usize = 20;
/// Octets of a packet of 20 ms, and of its header.
const PACKET: usize = 172;
const HEADER: usize = 12;
/// Samples of a packet.
const SAMPLES: u32 = 160;

/// What came of all streams in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// Streams of which anything came.
    pub streams: usize,
    /// Packets.
    pub packets: u64,
    /// Packets that the sequence numbers miss.
    pub lost: u64,
    /// Packets more than 20 ms behind the schedule that the stream's earliest packet sets.
    pub late: u64,
}

/// One stream that comes: of each packet its number and when it came.
#[derive(Debug, Default)]
struct Stream {
    packets: Vec<(u16, Instant)>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    streams: Mutex<HashMap<SocketAddr, Stream>>,
}

#[derive(Debug)]
struct Shared {
    sockets: Vec<Socket>,
    /// Where streams go to, and from which socket.
    targets: Mutex<Vec<(usize, SocketAddr)>>,
    next: std::sync::atomic::AtomicUsize,
    measuring: AtomicBool,
    over: AtomicBool,
}

/// Makes the media of the calls of a load: an engine for a phone of ours.
#[derive(Debug)]
pub struct Streams {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    /// Opens the sockets and begins.
    ///
    /// # Panics
    /// If there are no sockets to be had.
    pub fn start() -> Self {
        let open = |_| {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            Socket { socket, streams: Mutex::default() }
        };
        let shared = Arc::new(Shared {
            sockets: (0..SOCKETS).map(open).collect(),
            targets: Mutex::default(),
            next: Default::default(),
            measuring: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        for number in 0..SOCKETS {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || receive(&shared, &shared.sockets[number])));
        }
        let sending = Arc::clone(&shared);
        threads.push(thread::spawn(move || send(&sending)));
        Self { shared, threads }
    }

    /// The engine for the phone that makes the calls.
    pub fn engine(&self) -> Arc<dyn MediaEngine> {
        Arc::new(Engine(Arc::clone(&self.shared)))
    }

    /// Streams between the sockets themselves, with nobody between: what this machine does to packets by itself.
    pub fn loop_back(&self, streams: usize) {
        let addresses: Vec<SocketAddr> =
            self.shared.sockets.iter().filter_map(|socket| socket.socket.local_addr().ok()).collect();
        let pairs = (0..SOCKETS).flat_map(|from| (0..SOCKETS).map(move |to| (from, to)));
        let targets: Vec<_> = pairs.map(|(from, to)| (from, addresses[to])).take(streams).collect();
        assert_eq!(targets.len(), streams, "at most {} streams find pairs of sockets", SOCKETS * SOCKETS);
        *lock(&self.shared.targets) = targets;
    }

    /// Measures for this long.
    pub fn measure(&self, time: Duration) -> Came {
        for socket in &self.shared.sockets {
            lock(&socket.streams).clear();
        }
        self.shared.measuring.store(true, Relaxed);
        sleep(time);
        self.shared.measuring.store(false, Relaxed);
        let mut came = Came::default();
        for socket in &self.shared.sockets {
            for stream in lock(&socket.streams).values() {
                stream.add_to(&mut came);
            }
        }
        came
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Stream {
    fn add_to(&self, came: &mut Came) {
        let Some(&(first, begin)) = self.packets.first() else { return };
        came.streams += 1;
        came.packets += self.packets.len() as u64;
        // When each came, less its place in the schedule; a minute of 50 packets a second does not wrap.
        let offsets: Vec<f64> = self
            .packets
            .iter()
            .map(|(number, at)| {
                let place = f64::from(number.wrapping_sub(first).cast_signed()) * 0.02;
                at.duration_since(begin).as_secs_f64() - place
            })
            .collect();
        let earliest = offsets.iter().copied().fold(f64::INFINITY, f64::min);
        came.late += offsets.iter().filter(|offset| **offset - earliest > 0.02).count() as u64;
        let last =
            self.packets.iter().map(|(number, _)| number.wrapping_sub(first)).max().unwrap_or_default();
        came.lost += (u64::from(last) + 1).saturating_sub(self.packets.len() as u64);
    }
}

fn receive(shared: &Shared, socket: &Socket) {
    let mut packet = [0; 2048];
    while !shared.over.load(Relaxed) {
        let Ok((length, from)) = socket.socket.recv_from(&mut packet) else { continue };
        if length == PACKET && shared.measuring.load(Relaxed) {
            let number = u16::from_be_bytes([packet[2], packet[3]]);
            lock(&socket.streams).entry(from).or_default().packets.push((number, Instant::now()));
        }
    }
}

/// Sends a twentieth of the streams each millisecond.
fn send(shared: &Shared) {
    let begin = Instant::now();
    let mut packet = [0xd5; PACKET];
    for millisecond in 0_u32.. {
        if shared.over.load(Relaxed) {
            return;
        }
        let due = begin + Duration::from_millis(millisecond.into());
        sleep(due.saturating_duration_since(Instant::now()));
        let number = millisecond / 20;
        let targets = lock(&shared.targets);
        for (at, (from, to)) in targets.iter().enumerate().skip(millisecond as usize % 20).step_by(20) {
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&number.wrapping_mul(SAMPLES).to_be_bytes());
            packet[8..HEADER].copy_from_slice(&(at as u32 + 1).to_be_bytes());
            // What the kernel does not take counts as lost.
            let _ = shared.sockets[*from].socket.send_to(&packet, to);
        }
    }
}

#[derive(Debug)]
struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Session {
    shared: Arc<Shared>,
    socket: usize,
    to: Mutex<Option<SocketAddr>>,
}

impl MediaEngine for Engine {
    fn open(&self, _: MediaPlace) -> MediaFuture<'_, io::Result<Arc<dyn MediaSession>>> {
        let socket = self.0.next.fetch_add(1, Relaxed) % SOCKETS;
        let session = Session { shared: Arc::clone(&self.0), socket, to: Mutex::default() };
        Box::pin(std::future::ready(Ok(Arc::new(session) as Arc<dyn MediaSession>)))
    }
}

impl MediaSession for Session {
    fn describe(&self) -> LocalMedia {
        let address = self.shared.sockets[self.socket].socket.local_addr().expect("a bound socket");
        LocalMedia::audio(address)
    }

    fn apply(&self, agreed: &Negotiated) {
        let remote = agreed.audio().and_then(|audio| audio.remote.socket_addr());
        let mut to = lock(&self.to);
        if let (Some(remote), None) = (remote, *to) {
            lock(&self.shared.targets).push((self.socket, remote));
            *to = Some(remote);
        }
    }

    fn close(&self) {
        if let Some(to) = lock(&self.to).take() {
            lock(&self.shared.targets).retain(|(_, target)| *target != to);
        }
    }
}
