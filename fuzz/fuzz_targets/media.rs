//! Any packets into what reads video, puts it together, repairs it, and into header extensions and relays; any octets as a film.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rtp::extension::Elements;
use rtp::ntp::NtpTimestamp;
use rtp::packet::Packet;
use rtp::relay::{Bridge, Leg, Rewrite, Side};
use rtp::session::{self, Channel, Remote};
use rtp::video::{Codec, MAX_FRAME, av1, h264, ivf, vp8, vp9};
use rtp::video_stream::{Config, Event, Format, VideoStream};

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let [alice, bob] = [SocketAddr::from(([192, 0, 2, 1], 4000)), SocketAddr::from(([192, 0, 2, 2], 4000))];
    let rewrite = Rewrite { ssrc: 1, sequence_number: 0, timestamp: 0, clock_rate: 90_000, payload_types: vec![(0, 96)] };
    let leg = |address| Leg::new(now, Some(Remote::port_pair(address))).multiplexed();
    let mut bridge = Bridge::new(leg(alice), leg(bob).rewritten(rewrite));
    let (mut h264, mut vp8) = (h264::Depacketizer::new(), vp8::Depacketizer::new());
    let mut streams = [Codec::Vp8, Codec::H264].map(|codec| {
        let session = session::Config::new([1; 32], "me@example.com", NtpTimestamp::from_unix(Duration::ZERO));
        let mut stream = VideoStream::new(now, Config::new(session, Format::new(codec, 96).with_repair(97, 97)));
        stream.set_remote(now, Remote::port_pair(alice));
        stream
    });
    let _ = ivf::parse(data.to_vec().into());
    let mut rest = data;
    while let [length, milliseconds, after @ ..] = rest {
        let (datagram, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        now += Duration::from_millis((*milliseconds).into());
        for (side, from) in [(Side::A, alice), (Side::B, bob)] {
            let _ = bridge.forward(now, side, Channel::Rtp, from, &mut datagram.to_vec());
        }
        for stream in &mut streams {
            let _ = stream.receive(now, Channel::Rtp, alice, datagram);
            let _ = stream.receive(now, Channel::Rtcp, SocketAddr::from(([192, 0, 2, 1], 4001)), datagram);
            stream.handle_timeout(now);
            while stream.poll_transmit(now).is_some() {}
            while let Some(event) = stream.poll_event() {
                if let Event::Frame(frame) = event {
                    assert!(!frame.data.is_empty() && frame.data.len() <= MAX_FRAME);
                }
            }
        }
        let Ok(packet) = Packet::parse(datagram) else { continue };
        assert!(Elements::of(&packet).all(|(id, data)| id != 0 && data.len() <= 255));
        let (header, payload) = (packet.header, packet.payload);
        let _ = (av1::is_key_frame(payload), vp9::is_key_frame(payload), vp8::is_key_frame(payload), h264::is_key_frame(payload));
        let frames = h264.push(header.sequence_number, header.timestamp, header.marker, payload);
        let frames = frames.chain(vp8.push(header.sequence_number, header.timestamp, header.marker, payload));
        frames.for_each(|frame| assert!((frame.damaged || !frame.data.is_empty()) && frame.data.len() <= MAX_FRAME));
    }
});
