//! What is read of a peer besides its messages: the PROXY header of a balancer, the names in a certificate, STUN, and the
//! flow tokens that it sends back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_transport::identity::Identities;
use sip_transport::outbound::FlowTokens;
use sip_transport::proxy_protocol::{FIXED, MAX_REST, decode};
use sip_transport::stun::{self, Binding, Outcome};

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
    let source = "[2001:db8::1]:5060".parse().unwrap();
    match (stun::parse(input), stun::answer(input, source)) {
        (Some(Binding::Request { id, unknown }), Some(answer)) => {
            let outcome = if unknown.is_empty() { Outcome::Mapped(source) } else { Outcome::Error(420) };
            assert_eq!(stun::parse(&answer), Some(Binding::Answer { id, outcome }));
            assert!(answer.len() <= 3 * input.len());
        }
        (read, answer) => assert!(answer.is_none() && !matches!(read, Some(Binding::Request { .. }))),
    }
    let tokens = FlowTokens::new(&[1; 32]);
    if let Ok(text) = std::str::from_utf8(input) {
        assert!(tokens.flow(text).is_err(), "a token was guessed");
    }
});
