//! Any datagrams into a packet parser, an audio stream and its jitter buffer, in virtual time; any octets as the body of an INFO
//! with a digit.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rtp::audio_stream::{AudioStream, Config, FRAME, Format};
use rtp::dtmf::info::{Form, Info};
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::packet::Packet;
use rtp::session::{self, Channel, Remote};

fuzz_target!(|data: &[u8]| {
    if let Ok(packet) = Packet::parse(data) {
        // Only what exceeds a datagram cannot be written again.
        if let Ok(built) = packet.build() {
            assert_eq!(Packet::parse(&built).expect("what was written parses"), packet);
        }
    }
    for form in [Form::Relay, Form::Plain] {
        if let Some(info) = Info::parse(form, data) {
            assert_eq!(Info::parse(form, info.to_body(form).as_bytes()), Some(info));
        }
    }
    let Ok(from) = "192.0.2.1:4000".parse() else { return };
    let mut now = Instant::now();
    let session = session::Config::new([1; 32], "fuzz@example.com", NtpTimestamp(0));
    let config = Config { session, jitter: Default::default(), format: Format::new(Law::A, Some(101)) };
    let mut stream = AudioStream::new(now, config);
    stream.set_remote(now, Remote::port_pair(from));
    // A datagram per record: its length, the milliseconds before it, its octets.
    let mut rest = data;
    while let [length, milliseconds, after @ ..] = rest {
        let (datagram, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        now += Duration::from_millis(u64::from(*milliseconds));
        let _ = stream.receive(now, Channel::Rtp, from, datagram);
        stream.tick(now, &[0; FRAME]);
        stream.handle_timeout(now);
        let _ = stream.next_frame(now);
        while stream.poll_transmit().is_some() || stream.poll_digit().is_some() || stream.poll_event().is_some() {}
    }
    let _ = stream.statistics();
});
