//! Any datagrams into SRTP and SRTCP contexts; what is protected comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtp::srtp::{MasterKey, Profile, Session};

fuzz_target!(|data: &[u8]| {
    let Some((choice, datagram)) = data.split_first() else { return };
    let Some(&profile) = Profile::ALL.get(usize::from(*choice) % Profile::ALL.len()) else { return };
    let octets = vec![7; profile.key_length() + profile.salt_length()];
    let key = MasterKey::from_key_and_salt(profile, &octets).expect("the lengths of the profile");
    let mut session = Session::new(profile, &key, &key).expect("a key of the profile");

    // Nobody guesses a tag; the seeds have right ones, and then there is a packet to protect again.
    for unprotect in [Session::unprotect_rtp, Session::unprotect_rtcp] {
        let mut packet = datagram.to_vec();
        if unprotect(&mut session, &mut packet).is_err() {
            assert_eq!(packet, datagram, "a refused packet stays as it is");
        } else {
            assert!(unprotect(&mut session, &mut datagram.to_vec()).is_err(), "taken twice");
        }
    }

    let mut session = Session::new(profile, &key, &key).expect("a key of the profile");
    let mut packet = datagram.to_vec();
    if session.protect_rtp(&mut packet).is_ok() {
        assert_eq!(packet.len(), datagram.len() + profile.rtp_tag_length());
        session.unprotect_rtp(&mut packet).expect("our own packet");
    }
    assert_eq!(packet, datagram);
    if session.protect_rtcp(&mut packet).is_ok() {
        session.unprotect_rtcp(&mut packet).expect("our own report");
    }
    assert_eq!(packet, datagram);
    if session.sender.authenticate_rtcp(&mut packet).is_ok() {
        session.unprotect_rtcp(&mut packet).expect("our own report");
    }
    assert_eq!(packet, datagram);
});
