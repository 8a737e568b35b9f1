//! Packets of other programs. Set `SIP_CORPUS` to the folder of test data; without it these tests say so and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rtp::audio::tone::power;
use rtp::audio_stream::{AudioStream, Config, FRAME_DURATION, Format};
use rtp::dtmf::{Event, Notice, Receiver};
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::packet::Packet;
use rtp::rtcp::Compound;
use rtp::session::{self, Channel, Remote};

fn corpus(set: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SIP_CORPUS").map(|root| PathBuf::from(root).join(set));
    if folder.is_none() {
        println!("skipped: SIP_CORPUS is not set");
    }
    folder
}

/// UDP payloads of a pcap file with their capture times; Ethernet or Linux cooked frames, IPv4.
fn udp_payloads(file: &[u8]) -> Vec<(Duration, Vec<u8>)> {
    let little = file[..4] == [0xd4, 0xc3, 0xb2, 0xa1];
    assert!(little || file[..4] == [0xa1, 0xb2, 0xc3, 0xd4], "a pcap file");
    let word = |at: usize| {
        let octets: [u8; 4] = file[at..at + 4].try_into().unwrap();
        if little { u32::from_le_bytes(octets) } else { u32::from_be_bytes(octets) }
    };
    let link = match word(20) {
        1 => 14,
        113 => 16,
        other => panic!("link type {other}"),
    };
    let (mut at, mut payloads) = (24, Vec::new());
    while at + 16 <= file.len() {
        let time = Duration::new(word(at).into(), word(at + 4) * 1000);
        let frame = &file[at + 16..at + 16 + word(at + 8) as usize];
        at += 16 + frame.len();
        let mut ip = &frame[link..];
        if frame[link - 2..link] == [0x81, 0] {
            ip = &ip[4..];
        }
        let header = usize::from(ip[0] & 0x0f) * 4;
        if ip[0] >> 4 == 4 && ip[9] == 17 {
            let udp = &ip[header..];
            let length = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            payloads.push((time, udp[8..length.min(udp.len())].to_vec()));
        }
    }
    payloads
}

#[test]
fn every_recorded_digit_is_heard_once() {
    let Some(folder) = corpus("pcap") else { return };
    for key in "0123456789*#".chars() {
        let name = match key {
            '*' => "star".to_owned(),
            '#' => "pound".to_owned(),
            digit => digit.to_string(),
        };
        let file = std::fs::read(folder.join(format!("sipp-dtmf_2833_{name}.pcap"))).unwrap();
        let start = Instant::now();
        let mut receiver = Receiver::new();
        let payloads = udp_payloads(&file);
        assert!(!payloads.is_empty());
        for (time, datagram) in &payloads {
            let packet = Packet::parse(datagram).unwrap();
            let at = start + (*time - payloads[0].0);
            receiver.receive(at, packet.header.timestamp, packet.payload);
        }
        receiver.handle_timeout(start + Duration::from_secs(3600));
        let started: Vec<_> = std::iter::from_fn(|| receiver.poll())
            .filter_map(|notice| if let Notice::Started(event) = notice { Some(event) } else { None })
            .collect();
        assert_eq!(started, [Event::from_key(key).unwrap()], "key {key}");
    }
}

#[test]
fn recorded_speech_is_played_without_a_gap() {
    let Some(folder) = corpus("pcap") else { return };
    let payloads = udp_payloads(&std::fs::read(folder.join("sipp-g711a.pcap")).unwrap());
    let mut now = Instant::now();
    let start = now;
    let session = session::Config::new([1; 32], "test@example.com", NtpTimestamp(0));
    let config = Config { session, jitter: Default::default(), format: Format::new(Law::A, Some(101)) };
    let mut stream = AudioStream::new(now, config);
    let from = "192.0.2.1:4000".parse().unwrap();
    stream.set_remote(now, Remote::port_pair(from));
    let mut heard = Vec::new();
    let mut arrivals = payloads.iter().map(|(time, datagram)| (*time - payloads[0].0, datagram)).peekable();
    while arrivals.peek().is_some() {
        now += FRAME_DURATION;
        while let Some((_, datagram)) = arrivals.next_if(|(at, _)| start + *at <= now) {
            let _ = stream.receive(now, Channel::Rtp, from, datagram);
        }
        heard.extend(stream.next_frame(now));
    }
    let statistics = stream.statistics();
    assert!(statistics.session.received.packets as usize + 2 >= payloads.len(), "{statistics:?}");
    assert_eq!((statistics.session.received.lost(), statistics.jitter.missing), (0, 0), "{statistics:?}");
    assert!(power(&heard) > 1000.0, "somebody speaks");
}

#[test]
fn packets_that_broke_others_do_not_break_us() {
    let Some(folder) = corpus("rtp-rtcp-webrtc") else { return };
    let mut folders = vec![folder];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let octets = std::fs::read(path).unwrap();
            for from in 0..octets.len().min(16) {
                let _ = Packet::parse(&octets[from..]);
                let _ = Compound::parse(&octets[from..]);
            }
            count += 1;
        }
    }
    assert!(count > 10);
}
