//! A capture file: whatever its octets, it is read to its end or refused, and streams come in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_transport::capture::read::{Payload, is_capture, read};

fuzz_target!(|input: &[u8]| {
    let mut told = 0;
    let result = read(input, |captured| {
        if let Payload::Datagram(octets) | Payload::Stream { octets, .. } = captured.payload {
            told += octets.len();
        }
    });
    assert!(told <= input.len());
    assert!(is_capture(input) || told == 0, "{result:?}");
});
