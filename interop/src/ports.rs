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
    while !is_bound(port) {
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
    while !is_listening(port) {
        assert!(Instant::now() < deadline, "nobody listens on TCP port {port}");
        sleep(Duration::from_millis(10));
    }
}

/// Whether somebody has a UDP port, by the kernel's table: to try it would take it from who is about to bind it.
fn is_bound(port: u16) -> bool {
    in_table(["/proc/net/udp", "/proc/net/udp6"], port, None)
        .unwrap_or_else(|| UdpSocket::bind(loopback(port)).is_err())
}

/// The same of TCP, where connections have ports too: in the state LISTEN.
fn is_listening(port: u16) -> bool {
    in_table(["/proc/net/tcp", "/proc/net/tcp6"], port, Some("0A"))
        .unwrap_or_else(|| TcpListener::bind(loopback(port)).is_err())
}

/// Whether a socket has a local port, in this state; `None` where the kernel has no such tables.
fn in_table(tables: [&str; 2], port: u16, state: Option<&str>) -> Option<bool> {
    let wanted = format!(":{port:04X}");
    let tables = tables.map(std::fs::read_to_string);
    if tables.iter().all(Result::is_err) {
        return None;
    }
    let mut lines = tables.iter().flatten().flat_map(|table| table.lines());
    Some(lines.any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, in_state) = (fields.next(), fields.nth(1));
        local.is_some_and(|local| local.ends_with(&wanted)) && (state.is_none() || in_state == state)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_bound_while_somebody_has_it() {
        let socket = UdpSocket::bind(loopback(0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(is_bound(port));
        drop(socket);
        assert!(!is_bound(port));
    }

    #[test]
    fn a_port_is_listened_at_while_connections_can_come() {
        let listener = TcpListener::bind(loopback(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listening(port));
        let _connection = std::net::TcpStream::connect(loopback(port)).unwrap();
        drop(listener);
        assert!(!is_listening(port), "a connection alone");
    }
}
