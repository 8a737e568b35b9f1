//! A thread that runs any number of bridges over UDP sockets.
//!
//! One thread and one readiness queue for all of them, so that a packet costs one read, one write and a share of a wake-up;
//! [`Config::pace`] makes the share smaller. With several cores, start several relays and spread the calls.

use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::{Bridge, Forward, Side};
use crate::session::Channel;

/// The largest datagram passed on: RTP keeps below the usual MTU, tunnels and jumbo frames of 2,000 octets included. Longer ones
/// are cut off by the system and dropped here.
const MAX_DATAGRAM: usize = 2048;
/// Datagrams read from one socket before the others have their turn: a flood at one port must not starve the rest.
const TURN: usize = 16;
/// Sockets that are told ready at once.
const EVENTS: usize = 1024;
/// The token of the waker; sockets have smaller ones.
const WAKE: Token = Token(usize::MAX);
/// Tokens of one call: two legs with two ports.
const PORTS: usize = 4;

/// How a relay works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The thread rests this long between looks at its sockets, so that one wake-up serves many packets. It delays each packet by
    /// half of it on average; a millisecond or two pays from some hundred packets a second on. Default zero.
    pub pace: Duration,
}

/// The sockets of one leg.
#[derive(Debug)]
pub struct Ports {
    /// RTP, and RTCP when multiplexed.
    pub rtp: UdpSocket,
    /// RTCP, if it has a port of its own.
    pub rtcp: Option<UdpSocket>,
}

/// The thread. It ends when this is dropped, and with it all its calls.
#[derive(Debug)]
pub struct Relay {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Add { a: Ports, b: Ports, bridge: Arc<Mutex<Bridge>>, told: mpsc::Sender<io::Result<usize>> },
    Remove(usize),
    End,
}

/// A call that is being relayed, until this is dropped.
#[derive(Debug)]
pub struct RelayedCall {
    bridge: Arc<Mutex<Bridge>>,
    key: usize,
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

impl RelayedCall {
    /// The bridge, to tell it what signalling says and to read its counters. Media waits for as long as this is held.
    pub fn bridge(&self) -> MutexGuard<'_, Bridge> {
        lock(&self.bridge)
    }
}

impl Drop for RelayedCall {
    fn drop(&mut self) {
        // If the thread is gone, so is the call.
        let _ = self.commands.send(Command::Remove(self.key));
        let _ = self.waker.wake();
    }
}

impl Relay {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread or no readiness queue left.
    pub fn start(config: Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, incoming) = mpsc::channel();
        let work = Work { poll, incoming, calls: Vec::new(), config };
        let thread = std::thread::Builder::new().name("media relay".into()).spawn(move || work.run())?;
        Ok(Self { commands, waker, thread: Some(thread) })
    }

    /// Relays between two pairs of sockets.
    ///
    /// # Errors
    /// If the sockets cannot be watched, or the thread is gone.
    pub fn add(&self, a: Ports, b: Ports, bridge: Bridge) -> io::Result<RelayedCall> {
        let bridge = Arc::new(Mutex::new(bridge));
        let (told, answer) = mpsc::channel();
        let gone = || io::Error::other("the relay's thread has ended");
        let command = Command::Add { a, b, bridge: Arc::clone(&bridge), told };
        self.commands.send(command).map_err(|_| gone())?;
        self.waker.wake()?;
        let key = answer.recv().map_err(|_| gone())??;
        Ok(RelayedCall { bridge, key, commands: self.commands.clone(), waker: Arc::clone(&self.waker) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::End);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Call {
    bridge: Arc<Mutex<Bridge>>,
    /// RTP and RTCP of A, RTP and RTCP of B.
    ports: [Option<mio::net::UdpSocket>; PORTS],
}

struct Work {
    poll: Poll,
    incoming: mpsc::Receiver<Command>,
    calls: Vec<Option<Call>>,
    config: Config,
}

impl Work {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffers =
            Buffers { datagram: [0; MAX_DATAGRAM + 1], packet: Vec::with_capacity(MAX_DATAGRAM) };
        // Ports that had more to read than their turn allowed: they are not told ready again.
        let mut unread: Vec<usize> = Vec::new();
        loop {
            let timeout = (!unread.is_empty()).then_some(Duration::ZERO);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            let now = Instant::now();
            for port in std::mem::take(&mut unread) {
                unread.extend(self.serve(now, port, &mut buffers));
            }
            let mut told = false;
            for event in &events {
                match event.token() {
                    WAKE => told = true,
                    Token(port) => unread.extend(self.serve(now, port, &mut buffers)),
                }
            }
            if told && !self.obey() {
                return;
            }
            if !self.config.pace.is_zero() {
                std::thread::sleep(self.config.pace);
            }
        }
    }

    /// `false` when it is over.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.incoming.try_recv() {
            match command {
                Command::Add { a, b, bridge, told } => {
                    let added = self.add(a, b, bridge);
                    let _ = told.send(added);
                }
                Command::Remove(key) => {
                    if let Some(call) = self.calls.get_mut(key) {
                        *call = None; // closes the sockets
                    }
                }
                Command::End => return false,
            }
        }
        true
    }

    fn add(&mut self, a: Ports, b: Ports, bridge: Arc<Mutex<Bridge>>) -> io::Result<usize> {
        let free = self.calls.iter().position(Option::is_none);
        let key = free.unwrap_or(self.calls.len());
        let watch = |at: usize, socket| watch(self.poll.registry(), Token(key * PORTS + at), socket);
        let ports = [
            Some(watch(0, a.rtp)?),
            a.rtcp.map(|socket| watch(1, socket)).transpose()?,
            Some(watch(2, b.rtp)?),
            b.rtcp.map(|socket| watch(3, socket)).transpose()?,
        ];
        let call = Some(Call { bridge, ports });
        match self.calls.get_mut(key) {
            Some(slot) => *slot = call,
            None => self.calls.push(call),
        }
        Ok(key)
    }

    /// Reads a port until it is empty or its turn is over; then it is returned.
    fn serve(&self, now: Instant, port: usize, buffers: &mut Buffers) -> Option<usize> {
        let call = self.calls.get(port / PORTS)?.as_ref()?;
        let at = port % PORTS;
        let socket = call.ports.get(at)?.as_ref()?;
        let (side, channel) = (
            if at < 2 { Side::A } else { Side::B },
            if at.is_multiple_of(2) { Channel::Rtp } else { Channel::Rtcp },
        );
        for _ in 0..TURN {
            let (length, from) = match socket.recv_from(&mut buffers.datagram) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // ICMP's word on what was sent before.
                Err(_) => continue,
            };
            let Some(datagram) = buffers.datagram.get(..length).filter(|_| length <= MAX_DATAGRAM) else {
                continue;
            };
            buffers.packet.clear();
            buffers.packet.extend_from_slice(datagram);
            let forward = lock(&call.bridge).forward(now, side, channel, from, &mut buffers.packet);
            if let Ok(Forward { channel, destination }) = forward {
                let base = match side.other() {
                    Side::A => 0,
                    Side::B => 2,
                };
                let offset = usize::from(channel == Channel::Rtcp);
                if let Some(Some(out)) = call.ports.get(base + offset) {
                    // Media is late or never: what the system does not take now is gone.
                    let _ = out.send_to(&buffers.packet, destination);
                }
            }
        }
        Some(port)
    }
}

struct Buffers {
    datagram: [u8; MAX_DATAGRAM + 1],
    packet: Vec<u8>,
}

fn watch(registry: &Registry, token: Token, socket: UdpSocket) -> io::Result<mio::net::UdpSocket> {
    socket.set_nonblocking(true)?;
    let mut socket = mio::net::UdpSocket::from_std(socket);
    registry.register(&mut socket, token, Interest::READABLE)?;
    Ok(socket)
}

fn lock(bridge: &Mutex<Bridge>) -> MutexGuard<'_, Bridge> {
    bridge.lock().unwrap_or_else(PoisonError::into_inner)
}
