//! Records of subscriptions and publications: any octets are read or refused, and what is read is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_server::events::record::{KeptPublication, KeptSubscription};

fuzz_target!(|octets: &[u8]| {
    let octets = bytes::Bytes::copy_from_slice(octets);
    if let Ok(one) = KeptSubscription::parse(&octets) {
        assert_eq!(KeptSubscription::parse(&one.write()), Ok(one));
    }
    if let Ok(one) = KeptPublication::parse(&octets) {
        assert_eq!(KeptPublication::parse(&one.write()), Ok(one));
    }
});
