//! Sending what passes to a capture server (Homer, sngrep) by HEP version 3.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::hep::{Agent, encode};
use crate::path::Path;
use crate::tokio::tap::Tap;

/// A [`Tap`] that sends every message to a collector over UDP. What the kernel does not take at once is lost, like what
/// the network loses: a capture never holds up a call.
#[derive(Debug)]
pub struct HepTap {
    agent: Agent,
    socket: UdpSocket,
    lost: u64,
}

impl HepTap {
    /// Sends to this collector.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn new(collector: SocketAddr, agent: Agent) -> io::Result<HepTap> {
        let any: SocketAddr = match collector {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(collector)?;
        socket.set_nonblocking(true)?;
        Ok(HepTap { agent, socket, lost: 0 })
    }

    /// Messages that could not be sent.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Tap for HepTap {
    fn message(&mut self, at: SystemTime, inbound: bool, path: &Path, bytes: &Bytes) {
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let packet = encode(&self.agent, at, inbound, path, bytes);
        // Refused: nobody listens there now. Somebody may later.
        if packet.is_none_or(|packet| self.socket.send(&packet).is_err()) {
            self.lost = self.lost.saturating_add(1);
        }
    }
}
