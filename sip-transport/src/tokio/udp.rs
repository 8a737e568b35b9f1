//! A UDP socket in the runtime, which is woken for what comes and not for each datagram that has left.

use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use ::tokio::io::{Interest, unix::AsyncFd};

/// A socket that Linux tells of datagrams alone. It tells whoever asks for room to write each time that a peer has read
/// one: a second waking for every message.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct DatagramSocket(AsyncFd<std::net::UdpSocket>);

/// How long to wait for room where nothing can be asked for it: no descriptor is left.
#[cfg(target_os = "linux")]
const RETRY: Duration = Duration::from_millis(1);

#[cfg(target_os = "linux")]
impl DatagramSocket {
    /// A socket that does not block, in this runtime.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<DatagramSocket> {
        registered(socket, Interest::READABLE).map(DatagramSocket)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Waits until there may be room to write: rare, and asked for by a descriptor of its own that long.
    pub(super) async fn writable(&self) {
        let copy = self.0.get_ref().try_clone();
        match copy.and_then(|copy| registered(copy, Interest::WRITABLE)) {
            // An error shows again when writing.
            Ok(copy) => drop(copy.writable().await),
            Err(_) => ::tokio::time::sleep(RETRY).await,
        }
    }

    /// Reads; with [`io::ErrorKind::WouldBlock`] it counts as empty.
    pub(super) fn try_read<R>(
        &self,
        read: impl FnOnce(&std::net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.0.try_io(Interest::READABLE, read)
    }

    pub(super) fn try_write<R>(
        &self,
        write: impl FnOnce(&std::net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        write(self.0.get_ref())
    }
}

/// What replaces this function of tokio's is `unsafe`: its caller promises that the descriptor stays the same one and open.
/// A socket of the standard library, which nobody else holds, keeps that promise.
#[cfg(target_os = "linux")]
#[allow(deprecated)]
fn registered(socket: std::net::UdpSocket, interest: Interest) -> io::Result<AsyncFd<std::net::UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

/// A socket of the runtime.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) struct DatagramSocket(::tokio::net::UdpSocket);

#[cfg(not(target_os = "linux"))]
impl DatagramSocket {
    /// A socket that does not block, in this runtime.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<DatagramSocket> {
        ::tokio::net::UdpSocket::from_std(socket).map(DatagramSocket)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Waits until there may be room to write.
    pub(super) async fn writable(&self) {
        // An error shows again when writing.
        let _ = self.0.writable().await;
    }

    /// Reads; with [`io::ErrorKind::WouldBlock`] it counts as empty.
    pub(super) fn try_read<R>(
        &self,
        read: impl FnOnce(&::tokio::net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        read(&self.0)
    }

    pub(super) fn try_write<R>(
        &self,
        write: impl FnOnce(&::tokio::net::UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        write(&self.0)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A full buffer is waited for, by a descriptor that is gone afterwards.
    #[tokio::test]
    async fn room_to_write_is_waited_for_and_nothing_is_kept_for_it() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = DatagramSocket::new(socket).unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        socket.writable().await;
        assert!(open() <= before, "one is left");
        let to = socket.local_addr().unwrap();
        assert_eq!(socket.try_write(|socket| socket.send_to(b"x", to)).unwrap(), 1);
        socket.readable().await.unwrap();
        let mut place = [0; 8];
        assert_eq!(socket.try_read(|socket| socket.recv_from(&mut place)).unwrap(), (1, to));
        let nothing = socket.try_read(|socket| socket.recv_from(&mut place));
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
