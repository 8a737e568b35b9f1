//! Captures of every kind that SIP is found in, read back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use sip_transport::capture::Capture;
use sip_transport::capture::read::{Captured, Payload, ReadError, read};

const OPTIONS: &[u8] = b"OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\nContent-Length: 0\r\n\r\n";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn all(file: &[u8]) -> Vec<Captured> {
    let mut captured = Vec::new();
    read(file, |one| captured.push(one)).unwrap();
    captured
}

/// The packets of a capture of ours: IP without a link layer.
fn packets(fill: impl FnOnce(&mut Capture<Vec<u8>>)) -> Vec<Vec<u8>> {
    let mut capture = Capture::new(Vec::new()).unwrap();
    fill(&mut capture);
    let file = capture.finish().unwrap();
    let (mut rest, mut packets) = (&file[24..], Vec::new());
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        packets.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    packets
}

fn one_datagram(from: &str, to: &str) -> Vec<u8> {
    packets(|capture| capture.datagram(Duration::ZERO, addr(from), addr(to), OPTIONS).unwrap()).remove(0)
}

/// A pcap file in either byte order, with micro- or nanoseconds.
fn pcap(big: bool, nanoseconds: bool, link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = word(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }).to_vec();
    file.extend([half(2), half(4)].concat());
    file.extend([word(0), word(0), word(65_535), word(link)].concat());
    for packet in packets {
        let length = word(packet.len() as u32);
        file.extend([word(1_700_000_000), word(250), length, length].concat());
        file.extend(packet);
    }
    file
}

/// A pcapng file with one interface, whose time counts in units of 10^-9 s.
fn pcapng(big: bool, link: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let block = |kind: u32, body: &[u8]| {
        let mut padded = body.to_vec();
        padded.resize(body.len().next_multiple_of(4), 0);
        let length = word(padded.len() as u32 + 12);
        [&word(kind)[..], &length, &padded, &length].concat()
    };
    let section = [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat();
    let resolution = [&half(9)[..], &half(1), &[9, 0, 0, 0], &half(0), &half(0)].concat();
    let interface = [&half(link)[..], &half(0), &word(0), &resolution].concat();
    let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
    for packet in packets {
        let stamp: u64 = 1_700_000_000_000_000_250;
        let length = word(packet.len() as u32);
        let head = [word(0), word((stamp >> 32) as u32), word(stamp as u32), length, length].concat();
        file.extend(block(6, &[head, packet.clone()].concat()));
    }
    file
}

#[test]
fn pcap_of_either_byte_order_and_precision() {
    let packet = one_datagram("192.0.2.1:5060", "192.0.2.2:5070");
    for (big, nanoseconds, time) in
        [(false, false, 250_000), (true, false, 250_000), (false, true, 250), (true, true, 250)]
    {
        let captured = all(&pcap(big, nanoseconds, 101, std::slice::from_ref(&packet)));
        let expected = Captured {
            at: Duration::new(1_700_000_000, time),
            from: addr("192.0.2.1:5060"),
            to: addr("192.0.2.2:5070"),
            payload: Payload::Datagram(OPTIONS.into()),
        };
        assert_eq!(captured, [expected]);
    }
}

#[test]
fn pcapng_of_either_byte_order() {
    let packet = one_datagram("[2001:db8::1]:5060", "[2001:db8::2]:5070");
    for big in [false, true] {
        let captured = all(&pcapng(big, 101, &[packet.clone(), packet.clone()]));
        assert_eq!(captured.len(), 2);
        assert_eq!(captured[1].at, Duration::new(1_700_000_000, 250));
        assert_eq!(captured[1].from, addr("[2001:db8::1]:5060"));
        assert_eq!(captured[1].payload, Payload::Datagram(OPTIONS.into()));
    }
}

#[test]
fn every_link_layer() {
    let (four, six) = (
        one_datagram("192.0.2.1:5060", "192.0.2.2:5070"),
        one_datagram("[2001:db8::1]:1", "[2001:db8::2]:2"),
    );
    let ethernet = |kind: &[u8], packet: &[u8]| [&[2; 12], kind, packet].concat();
    let cooked = [&[0; 14][..], &[0x08, 0x00], &four].concat();
    let cooked_2 = [&[0x86, 0xdd][..], &[0; 18], &six].concat();
    for (link, packet) in [
        (1, ethernet(&[0x08, 0x00], &four)),
        (1, ethernet(&[0x86, 0xdd], &six)),
        (1, ethernet(&[0x81, 0x00, 0, 7, 0x08, 0x00], &four)),
        (1, ethernet(&[0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 9, 0x86, 0xdd], &six)),
        (0, [&[2, 0, 0, 0][..], &four].concat()),
        (108, [&[0, 0, 0, 24][..], &six].concat()),
        (101, six.clone()),
        (113, cooked),
        (228, four.clone()),
        (276, cooked_2),
    ] {
        let captured = all(&pcap(false, false, link, &[packet]));
        assert_eq!(captured.len(), 1, "link type {link}");
        assert_eq!(captured[0].payload, Payload::Datagram(OPTIONS.into()), "link type {link}");
    }
    assert_eq!(all(&pcap(false, false, 147, &[four])), [], "a link type of nobody's is passed over");
}

/// A large INVITE over UDP comes in fragments (RFC 791 §3.2), in any order.
#[test]
fn fragments_become_one_datagram() {
    let payload =
        [b"OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\nX: ".to_vec(), vec![b'x'; 4_000], b"\r\n\r\n".to_vec()]
            .concat();
    let (from, to) = (addr("192.0.2.1:5060"), addr("192.0.2.2:5060"));
    let whole = packets(|capture| capture.datagram(Duration::ZERO, from, to, &payload).unwrap()).remove(0);
    let pieces: Vec<&[u8]> = whole[20..].chunks(1_480).collect();
    let mut fragments: Vec<Vec<u8>> = pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| {
            let mut header = whole[..20].to_vec();
            header[2..4].copy_from_slice(&(piece.len() as u16 + 20).to_be_bytes());
            header[4..6].copy_from_slice(&7_u16.to_be_bytes());
            let more = if index + 1 < pieces.len() { 0x2000 } else { 0 };
            header[6..8].copy_from_slice(&(more | (index * 1_480 / 8) as u16).to_be_bytes());
            [&header, *piece].concat()
        })
        .collect();
    fragments.reverse();
    let captured = all(&pcap(false, false, 101, &fragments));
    assert_eq!(captured.len(), 1);
    assert_eq!(captured[0].payload, Payload::Datagram(payload.into()));
}

#[test]
fn a_connection_is_put_together() {
    let (a, b) = (addr("192.0.2.1:40000"), addr("192.0.2.2:5060"));
    let mut segments = packets(|capture| {
        for half in OPTIONS.chunks(20) {
            capture.stream(Duration::ZERO, a, b, half).unwrap();
        }
        capture.stream(Duration::ZERO, b, a, b"SIP/2.0 200 OK\r\n\r\n").unwrap();
    });
    segments.swap(1, 2);
    let captured = all(&pcap(false, false, 101, &segments));
    let octets = |from: SocketAddr| {
        let mut all = Vec::new();
        for one in captured.iter().filter(|one| one.from == from) {
            if let Payload::Stream { octets, .. } = &one.payload {
                all.extend_from_slice(octets);
            }
        }
        all
    };
    assert_eq!((&octets(a)[..], &octets(b)[..]), (OPTIONS, &b"SIP/2.0 200 OK\r\n\r\n"[..]));
    assert_eq!(captured.iter().filter(|one| one.payload == Payload::End).count(), 2);
}

#[test]
fn what_is_no_capture_or_damaged_is_an_error() {
    let nothing = |file: &[u8]| read(file, |_| panic!()).unwrap_err();
    assert!(matches!(nothing(b""), ReadError::NoCapture));
    assert!(matches!(nothing(OPTIONS), ReadError::NoCapture));
    let mut file = pcapng(false, 101, &[one_datagram("192.0.2.1:5060", "192.0.2.2:5070")]);
    let end = file.len();
    file.extend([6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff]); // a block of four gigabytes
    file.extend([0; 64]);
    let mut told = 0;
    let error = read(&file[..], |_| told += 1);
    assert!(matches!(error, Err(ReadError::Damaged(at)) if at == end as u64), "{error:?}");
    assert_eq!(told, 1, "what stands before the damage is told");
}

#[test]
fn a_capture_that_stops_in_half_a_packet_is_read_up_to_there() {
    let packet = one_datagram("192.0.2.1:5060", "192.0.2.2:5070");
    let file = pcap(false, false, 101, &[packet.clone(), packet]);
    for cut in 41..file.len() {
        let mut told = 0;
        let _ = read(&file[..cut], |_| told += 1);
        assert!(told <= 1);
    }
}

/// A block whose length is less than its own head, found by fuzzing; and an interface of a time that nobody can count.
#[test]
fn lengths_and_times_that_make_no_sense() {
    let mut file = pcapng(false, 101, &[]);
    let end = file.len() as u64;
    file.extend([1, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 0, 0x76]);
    assert!(matches!(read(&file[..], |_| panic!()), Err(ReadError::Damaged(at)) if at == end));
    let mut file = pcapng(true, 101, &[one_datagram("192.0.2.1:5060", "192.0.2.2:5070")]);
    let option = file.windows(5).position(|five| five == [0, 9, 0, 1, 9]).unwrap();
    file[option + 4] = 0xff;
    assert_eq!(all(&file).len(), 1);
}

/// Pipes give what they have.
#[test]
fn input_in_small_pieces() {
    struct Trickle(Vec<u8>, usize);
    impl std::io::Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let piece = self.0[self.1..].len().min(3).min(buffer.len());
            buffer[..piece].copy_from_slice(&self.0[self.1..self.1 + piece]);
            self.1 += piece;
            Ok(piece)
        }
    }
    let file = pcapng(true, 101, &vec![one_datagram("192.0.2.1:5060", "192.0.2.2:5070"); 2_000]);
    let mut told = 0;
    read(Trickle(file, 0), |_| told += 1).unwrap();
    assert_eq!(told, 2_000);
}

proptest! {
    #[test]
    fn no_file_does_harm(begin in 0..4_usize, noise in prop::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
        let packet = one_datagram("192.0.2.1:5060", "192.0.2.2:5070");
        let mut file = match begin {
            0 => pcap(false, false, 1, &[packet]),
            1 => pcap(true, true, 101, &[packet]),
            2 => pcapng(false, 113, &[packet]),
            _ => pcapng(true, 101, &[packet]),
        };
        let at = at.index(file.len());
        let end = file.len().min(at + noise.len());
        file.splice(at..end, noise);
        let _ = read(&file[..], |_| {});
    }
}
