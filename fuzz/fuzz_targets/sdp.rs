//! Session descriptions: any bytes are read or refused, what is read prints stably, and every negotiation with it keeps the
//! rules of RFC 3264 that can be seen from outside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sdp::{LocalMedia, OfferAnswer, SessionDescription};

fuzz_target!(|text: &[u8]| {
    let Ok(description) = SessionDescription::parse(text) else { return };
    let printed = description.to_bytes();
    let again = SessionDescription::parse(&printed).expect("what was printed is read");
    assert_eq!(again, description);
    assert_eq!(again.to_bytes(), printed);
    for section in description.media() {
        let _ = (section.payloads(), section.rtp_address(), section.rtcp_address(), section.ptime(), section.max_ptime());
    }

    let local = LocalMedia::audio("192.0.2.1:4000".parse().expect("an address"));
    let mut callee = OfferAnswer::new(local.clone(), 1).expect("sound media");
    if let Ok(answer) = callee.receive_offer(&description) {
        assert_eq!(answer.media().len(), description.media().len());
        for (answered, offered) in answer.media().zip(description.media()) {
            assert!(offered.port() != 0 || answered.port() == 0);
        }
        // The same offer once more changes nothing.
        let agreed = callee.current().cloned();
        assert_eq!(callee.receive_offer(&description).as_ref(), Ok(&answer));
        assert_eq!(callee.current(), agreed.as_ref());
        // An offer of our own keeps every line.
        assert!(callee.create_offer().expect("stable").media().len() >= description.media().len());
    }

    let mut caller = OfferAnswer::new(local, 2).expect("sound media");
    caller.create_offer().expect("stable");
    if caller.receive_answer(&description).is_err() {
        assert!(caller.current().is_none());
    }
});
