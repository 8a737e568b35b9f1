//! Free ports for programs that cannot choose one themselves.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::PATIENCE;

fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// A UDP port that is free on loopback, even, and with free neighbours up to `and`: media needs several.
///
/// # Panics
/// If none is found.
pub fn free_port(and: u16) -> u16 {
    for _ in 0..200 {
        let chosen =
            UdpSocket::bind(loopback(0)).and_then(|socket| socket.local_addr()).expect("a port").port();
        let chosen = chosen & !1;
        let free = |port: u16| UdpSocket::bind(loopback(port)).is_ok();
        if chosen < 60_000 && (chosen..=chosen.saturating_add(and)).all(free) {
            return chosen;
        }
    }
    panic!("no free UDP ports on loopback");
}

/// A port that is free for both transports.
///
/// # Panics
/// If none is found.
pub fn free_tcp_and_udp_port() -> u16 {
    for _ in 0..200 {
        let port = free_port(0);
        if TcpListener::bind(loopback(port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for both TCP and UDP");
}

/// Waits until somebody listens on a UDP port of loopback: for programs that do not say when they are ready.
///
/// # Panics
/// If nobody does in time.
pub fn wait_until_bound(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while UdpSocket::bind(loopback(port)).is_ok() {
        assert!(Instant::now() < deadline, "nobody listens on UDP port {port}");
        sleep(Duration::from_millis(10));
    }
}

/// The same of TCP.
///
/// # Panics
/// If nobody does in time.
pub fn wait_until_listening(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while TcpListener::bind(loopback(port)).is_ok() {
        assert!(Instant::now() < deadline, "nobody listens on TCP port {port}");
        sleep(Duration::from_millis(10));
    }
}
