//! The two sockets of a stream.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

/// Tries for an even port whose successor is free too.
const ATTEMPTS: usize = 64;

fn socket(ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((ip, port))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// An RTP socket on an even port and an RTCP socket on the next (RFC 3550 §11).
#[derive(Debug)]
pub(crate) struct MediaPort {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    address: SocketAddr,
}

impl MediaPort {
    /// Binds a pair of free ports at an address of this machine.
    pub(crate) fn bind(ip: IpAddr) -> io::Result<Self> {
        let mut odd = Vec::new(); // kept until the end, so that the same port is not offered again
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            let rtp = socket(ip, 0)?;
            let address = rtp.local_addr()?;
            let Some(next) = address.port().checked_add(1).filter(|next| next % 2 == 1) else {
                odd.push(rtp);
                continue;
            };
            match socket(ip, next) {
                Ok(rtcp) => return Ok(Self { rtp, rtcp, address }),
                Err(error) => last = error,
            }
            odd.push(rtp);
        }
        Err(last)
    }

    /// The address of RTP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
