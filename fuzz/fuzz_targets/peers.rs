//! What is read of a peer before its messages: the PROXY header of a balancer, and the names in a certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_transport::identity::Identities;
use sip_transport::proxy_protocol::{FIXED, MAX_REST, decode};

fuzz_target!(|input: &[u8]| {
    if let Ok(Some((header, size))) = decode(input) {
        assert!((FIXED..=FIXED + MAX_REST).contains(&size) && size <= input.len());
        assert_eq!(header.source.is_some(), header.destination.is_some());
        for cut in 0..size {
            assert_eq!(decode(&input[..cut]), Ok(None));
        }
    }
    if let Ok(identities) = Identities::from_certificate(input) {
        for domain in identities.domains() {
            assert!(!domain.contains(['\0', '*', ' ']) && identities.proves(domain));
        }
    }
});
