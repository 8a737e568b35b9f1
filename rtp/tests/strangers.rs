//! R23: a third host sprays packets at a hundred calls while they talk. Nothing is reflected to it, no stream changes its mind,
//! no digit of it counts, and what the parties say to each other arrives. `STRANGER_PACKETS=1000000` sprays that many.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format};
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::packet::{Header, Packet};
use rtp::relay::{Bridge, Leg, Side};
use rtp::rtcp::{self, Bye, Compound, ReceiverReport};
use rtp::session::{self, Channel, Event, Remote};

const CALLS: usize = 100;
/// Two seconds of a call.
const TICKS: usize = 100;
/// Packets in all, unless the environment says otherwise.
const PACKETS: usize = 40_000;
const EVENT_TYPE: u8 = 101;

fn packets() -> usize {
    std::env::var("STRANGER_PACKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(PACKETS)
}

/// A third host with many ports, which knows all that can be known without being on the path, and more.
struct Stranger {
    state: u64,
    sent: u64,
}

impl Stranger {
    fn draw(&mut self, bound: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound
    }

    fn rtp(&mut self, payload_type: u8, sequence_number: u16, ssrc: u32) -> Vec<u8> {
        let header =
            Header { payload_type, marker: self.draw(2) == 0, sequence_number, timestamp: 4000, ssrc };
        // An end of a key, where it is taken for an event.
        let payload = if payload_type == EVENT_TYPE { vec![9, 0x8a, 3, 32] } else { vec![0x55; 160] };
        header.build(&payload).unwrap().to_vec()
    }

    /// The next datagram, from where, and at which port. `known` is a header of the stream that it wants to take over, `victim`
    /// the SSRC of who receives.
    fn next(&mut self, known: Option<Header>, victim: u32) -> (SocketAddr, Channel, Vec<u8>) {
        self.sent += 1;
        let from = SocketAddr::from(([203, 0, 113, 9], 1024 + self.draw(60_000) as u16));
        let any = self.draw(1 << 31) as u32;
        let (ssrc, following) =
            known.map_or((any, 0), |header| (header.ssrc, header.sequence_number.wrapping_add(1)));
        let payload_type = self.draw(128) as u8;
        let sequence = self.draw(1 << 16) as u16;
        let channel = if self.draw(4) == 0 { Channel::Rtcp } else { Channel::Rtp };
        let reports = |packets| Compound(packets).build().unwrap().to_vec();
        let report = |ssrc| rtcp::Packet::ReceiverReport(ReceiverReport { ssrc, reports: vec![] });
        let datagram = match self.draw(10) {
            // All payload types, numbers and sources.
            0 | 1 => self.rtp(payload_type, sequence, any),
            // The very stream that is heard, from one port and in sequence.
            2 => self.rtp(0, following, ssrc),
            3 => self.rtp(EVENT_TYPE, following, ssrc),
            // The source that the victim is itself.
            4 => self.rtp(0, following, victim),
            // Cut off anywhere.
            5 => {
                let mut whole = self.rtp(payload_type, following, ssrc);
                whole.truncate(self.draw(20) as usize);
                whole
            }
            // Reports, and the end of the stream.
            6 => reports(vec![report(ssrc)]),
            7 => reports(vec![report(ssrc), rtcp::Packet::Bye(Bye { ssrcs: vec![ssrc], reason: None })]),
            // STUN, as for connectivity checks; and DTLS.
            8 => [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &any.to_be_bytes()[..], &[7; 8][..]].concat(),
            _ => vec![20 + self.draw(44) as u8; self.draw(100) as usize],
        };
        // Half of it from one port, so that sequences are ones.
        let from = if self.draw(2) == 0 { SocketAddr::new(from.ip(), 4000) } else { from };
        (from, channel, datagram)
    }
}

struct Party {
    stream: AudioStream,
    address: SocketAddr,
    digits: String,
    /// What it received from the other, and the header of the last of it.
    known: Option<Header>,
    ssrc: u32,
}

fn party(now: Instant, index: usize, side: u8, peer: SocketAddr, address: SocketAddr) -> Party {
    let mut seed = [side; 32];
    seed[..2].copy_from_slice(&(index as u16).to_be_bytes());
    let session = session::Config::new(seed, "party@example.com", NtpTimestamp::from_unix(Duration::ZERO));
    let config =
        Config { session, jitter: Default::default(), format: Format::new(Law::Mu, Some(EVENT_TYPE)) };
    let mut stream = AudioStream::new(now, config);
    stream.set_remote(now, Remote::port_pair(peer));
    Party { stream, address, digits: String::new(), known: None, ssrc: 0 }
}

fn addresses(index: usize) -> (SocketAddr, SocketAddr) {
    let port = 10_000 + 2 * index as u16;
    (SocketAddr::from(([192, 0, 2, 1], port)), SocketAddr::from(([198, 51, 100, 7], port)))
}

fn place(mut address: SocketAddr, channel: Channel) -> SocketAddr {
    address.set_port(address.port() + u16::from(channel == Channel::Rtcp));
    address
}

/// What one sends to the other goes where it should, and nowhere else.
fn deliver(now: Instant, from: &mut Party, to: &mut Party) {
    while let Some(transmit) = from.stream.poll_transmit() {
        assert_eq!(transmit.destination, place(to.address, transmit.channel), "media for a stranger");
        if transmit.channel == Channel::Rtp {
            let header = Packet::parse(&transmit.payload).unwrap().header;
            (to.known, from.ssrc) = (Some(header), header.ssrc);
        }
        let _ = to.stream.receive(
            now,
            transmit.channel,
            place(from.address, transmit.channel),
            &transmit.payload,
        );
    }
}

#[test]
fn a_hundred_calls_do_not_notice_a_stranger_at_their_ports() {
    let mut now = Instant::now();
    let mut stranger = Stranger { state: 23, sent: 0 };
    let mut calls: Vec<_> = (0..CALLS)
        .map(|index| {
            let (at_alice, at_bob) = addresses(index);
            (party(now, index, 1, at_bob, at_alice), party(now, index, 2, at_alice, at_bob))
        })
        .collect();
    let each = packets().div_ceil(CALLS * TICKS);
    for tick in 0..TICKS {
        for (alice, bob) in &mut calls {
            if tick == TICKS / 4 {
                alice.stream.send_digits("12").unwrap();
            }
            for _ in 0..each {
                let target = if stranger.draw(2) == 0 { &mut *alice } else { &mut *bob };
                let (from, channel, datagram) = stranger.next(target.known, target.ssrc);
                let taken = target.stream.receive(now, channel, from, &datagram);
                assert!(taken.is_err(), "{datagram:02x?}");
            }
            alice.stream.tick(now, &[500; FRAME]);
            bob.stream.tick(now, &[700; FRAME]);
            alice.stream.handle_timeout(now);
            bob.stream.handle_timeout(now);
            deliver(now, alice, bob);
            deliver(now, bob, alice);
            for party in [alice, bob] {
                let _ = party.stream.next_frame(now);
                party.digits.extend(std::iter::from_fn(|| party.stream.poll_digit()));
            }
        }
        now += FRAME_DURATION;
    }
    assert!(stranger.sent as usize >= packets());
    let (mut sent, mut heard) = (0, 0);
    for (alice, bob) in &mut calls {
        let (said, understood) = (alice.stream.statistics(), bob.stream.statistics());
        sent += said.session.sent.packets + understood.session.sent.packets;
        heard += said.session.received.packets + understood.session.received.packets;
        assert_eq!((alice.digits.as_str(), bob.digits.as_str()), ("", "12"));
        let (at_alice, at_bob) = (alice.address, bob.address);
        for (party, other) in [(alice, at_bob), (bob, at_alice)] {
            let events: Vec<_> = std::iter::from_fn(|| party.stream.poll_event()).collect();
            let latched = events.iter().filter(|event| matches!(event, Event::Latched { .. })).count();
            assert!(events.contains(&Event::Latched { rtp: other }) && latched == 1, "{events:?}");
            let changed = |event: &Event| {
                matches!(
                    event,
                    Event::SourceLeft { .. } | Event::SsrcChanged { .. } | Event::KeyFrameWanted { .. }
                )
            };
            assert!(!events.iter().any(changed), "{events:?}");
        }
    }
    // The first packet of each source is on probation (RFC 3550 appendix A.1).
    let lost = sent - heard - 2 * CALLS as u64;
    assert!(lost * 1000 <= sent, "{lost} of {sent} packets were lost");
}

#[test]
fn a_relay_of_a_hundred_calls_passes_nothing_of_a_stranger_on() {
    let now = Instant::now();
    let mut stranger = Stranger { state: 24, sent: 0 };
    let mut bridges: Vec<_> = (0..CALLS)
        .map(|index| {
            let (at_alice, at_bob) = addresses(index);
            let leg = |address| Leg::new(now, Some(Remote::port_pair(address)));
            Bridge::new(leg(at_alice), leg(at_bob))
        })
        .collect();
    let each = packets().div_ceil(CALLS * TICKS);
    let header = |side: u32, tick: usize| Header {
        payload_type: 0,
        marker: false,
        sequence_number: tick as u16,
        timestamp: 160 * tick as u32,
        ssrc: side,
    };
    for tick in 0..TICKS {
        let now = now + FRAME_DURATION * tick as u32;
        for (index, bridge) in bridges.iter_mut().enumerate() {
            let (at_alice, at_bob) = addresses(index);
            for _ in 0..each {
                let (side, known) = if stranger.draw(2) == 0 { (Side::A, 1) } else { (Side::B, 2) };
                let known = tick.checked_sub(1).map(|before| header(known, before));
                let (from, channel, mut datagram) = stranger.next(known, 3);
                let forward = bridge.forward(now, side, channel, from, &mut datagram);
                assert!(forward.is_err(), "{forward:?}");
            }
            for (side, number, from, to) in [(Side::A, 1, at_alice, at_bob), (Side::B, 2, at_bob, at_alice)] {
                let sent = header(number, tick).build(&[0xd5; 160]).unwrap();
                let mut datagram = sent.to_vec();
                let forward = bridge.forward(now, side, Channel::Rtp, from, &mut datagram).unwrap();
                assert_eq!((forward.destination, &datagram[..]), (to, &sent[..]));
            }
        }
    }
    let counted: u64 = bridges.iter().map(|bridge| bridge.statistics(Side::A).packets).sum();
    assert_eq!(counted, (CALLS * TICKS) as u64);
}
