//! A relay between sockets: what one party sends is what the other gets, while others throw rubbish at it.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rtp::packet::{Header, Packet};
use rtp::relay::net::{Config, Ports, Relay};
use rtp::relay::{Bridge, Leg, Side};
use rtp::session::Remote;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn packet(ssrc: u32, sequence_number: u16) -> Vec<u8> {
    let header = Header { payload_type: 8, marker: false, sequence_number, timestamp: 0, ssrc };
    header.build(&[0xd5; 160]).unwrap().to_vec()
}

struct Party {
    socket: UdpSocket,
    relay_at: SocketAddr,
}

impl Party {
    fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.relay_at).unwrap();
    }

    fn receive(&self) -> (u32, u16) {
        let mut buffer = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, self.relay_at, "media comes from where it is sent to");
        let header = Packet::parse(&buffer[..length]).unwrap().header;
        (header.ssrc, header.sequence_number)
    }
}

fn call(relay: &Relay) -> (Party, Party, rtp::relay::net::RelayedCall) {
    let now = Instant::now();
    let (alice, bob, at_alice, at_bob) = (socket(), socket(), socket(), socket());
    let party = |socket: UdpSocket, port: &UdpSocket| Party { socket, relay_at: port.local_addr().unwrap() };
    let leg = |of: &UdpSocket| Leg::new(now, Some(Remote::port_pair(of.local_addr().unwrap())));
    let bridge = Bridge::new(leg(&alice), leg(&bob));
    let (alice, bob) = (party(alice, &at_alice), party(bob, &at_bob));
    let (a, b) = (Ports { rtp: at_alice, rtcp: Some(socket()) }, Ports { rtp: at_bob, rtcp: Some(socket()) });
    (alice, bob, relay.add(a, b, bridge).unwrap())
}

#[test]
fn both_ways_with_and_without_pace() {
    for pace in [Duration::ZERO, Duration::from_millis(2)] {
        let relay = Relay::start(Config { pace }).unwrap();
        let (alice, bob, call) = call(&relay);
        for number in 0..100 {
            alice.send(&packet(1, number));
            bob.send(&packet(2, number));
            assert_eq!(bob.receive(), (1, number));
            assert_eq!(alice.receive(), (2, number));
        }
        assert_eq!(call.bridge().statistics(Side::A).packets, 100);
    }
}

/// RTP bleed and its like: a stranger sprays both ports of a live call; nothing of it goes on, nothing comes back to it,
/// and the call is not disturbed.
#[test]
fn rubbish_at_the_ports_of_a_live_call_changes_nothing() {
    let relay = Relay::start(Config::default()).unwrap();
    let (alice, bob, call) = call(&relay);
    let stranger = socket();
    alice.send(&packet(1, u16::MAX));
    bob.send(&packet(2, u16::MAX));
    assert_eq!((bob.receive(), alice.receive()), ((1, u16::MAX), (2, u16::MAX)));
    for number in 0..500u16 {
        for round in 0..20u16 {
            let spray = packet(1, number.wrapping_add(round));
            stranger.send_to(&spray, alice.relay_at).unwrap();
            stranger.send_to(&spray[..usize::from(round)], bob.relay_at).unwrap();
        }
        alice.send(&packet(1, number));
        bob.send(&packet(2, number));
        assert_eq!(bob.receive(), (1, number));
        assert_eq!(alice.receive(), (2, number));
    }
    assert!(call.bridge().statistics(Side::A).dropped > 0);
    stranger.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(stranger.recv_from(&mut [0; 2048]).is_err(), "nothing is reflected");
}

#[test]
fn a_call_that_ended_gives_its_place_to_the_next() {
    let relay = Relay::start(Config::default()).unwrap();
    for _ in 0..3 {
        let (alice, bob, _call) = call(&relay);
        alice.send(&packet(1, 1));
        assert_eq!(bob.receive(), (1, 1));
    }
}
