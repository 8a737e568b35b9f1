//! Whole contexts: packets of another implementation, wraps, loss, reordering, replays, forgeries, limits.

use proptest::prelude::*;

use super::test_support::hex;
use super::*;

fn master(profile: Profile, seed: u8) -> MasterKey {
    let octets: Vec<u8> =
        (0..profile.key_length() + profile.salt_length()).map(|at| at as u8 ^ seed).collect();
    MasterKey::from_key_and_salt(profile, &octets).unwrap()
}

fn pair(profile: Profile) -> (Sender, Receiver) {
    let key = master(profile, 0x5a);
    (Sender::new(profile, &key).unwrap(), Receiver::new(profile, &key).unwrap())
}

fn rtp(ssrc: u32, sequence_number: u16) -> Vec<u8> {
    let header =
        crate::packet::Header { payload_type: 0, marker: false, sequence_number, timestamp: 160, ssrc };
    header.build(&sequence_number.to_be_bytes().repeat(10)).unwrap().to_vec()
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 200, 0, 12];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(0..44);
    packet
}

fn protected(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    sender.protect_rtp(&mut packet).unwrap();
    packet
}

/// What libsrtp makes of these packets, from its own tests; its first SRTCP index is 1.
#[test]
fn packets_of_libsrtp() {
    for (profile, key, rtp, sealed_rtp, rtcp, sealed_rtcp) in [
        (
            Profile::AesCm128HmacSha1Tag80,
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
            "800f1234decafbadcafebabeabababababababababababababababab",
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            "81c8000bcafebabeabababababababababababababababab",
            "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            Profile::AeadAes128Gcm,
            "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab",
            "800f1234decafbadcafebabeabababababababababababababababab",
            "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            "81c8000bcafebabeabababababababababababababababab",
            "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
        ),
    ] {
        let key = MasterKey::from_key_and_salt(profile, &hex(key)).unwrap();
        let mut session = Session::new(profile, &key, &key).unwrap();
        let mut packet = hex(rtp);
        session.protect_rtp(&mut packet).unwrap();
        assert_eq!(packet, hex(sealed_rtp), "{profile}");
        session.unprotect_rtp(&mut packet).unwrap();
        assert_eq!(packet, hex(rtp), "{profile}");

        let mut first = hex(rtcp);
        session.protect_rtcp(&mut first).unwrap();
        let mut packet = hex(rtcp);
        session.protect_rtcp(&mut packet).unwrap();
        assert_eq!(packet, hex(sealed_rtcp), "{profile}");
        session.unprotect_rtcp(&mut packet).unwrap();
        assert_eq!(packet, hex(rtcp), "{profile}");
    }
}

#[test]
fn rfc3711_3_3_1_wraps_with_loss_around_them_and_packets_that_come_late() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        // A thousand are lost around the first wrap, one of three around both, and 49 of 50 far from them.
        let kept = (60_000..140_000u32).filter(|number| match number {
            65_000..66_000 => false,
            64_000..67_000 | 130_000..132_000 => number % 3 != 1,
            _ => number % 50 == 0,
        });
        let sealed: Vec<_> = kept
            .map(|number| (number, rtp(9, number as u16)))
            .map(|(number, plain)| (number, protected(&mut sender, &plain), plain))
            .collect();
        // Each hundred comes backwards; one of them lies across the second wrap.
        for chunk in sealed.chunk_by(|one, next| one.0 / 100 == next.0 / 100) {
            for (number, packet, plain) in chunk.iter().rev() {
                let mut packet = packet.clone();
                assert_eq!(receiver.unprotect_rtp(&mut packet), Ok(()), "{profile} {number}");
                assert_eq!(&packet, plain);
            }
        }
    }
}

#[test]
fn rfc3711_3_3_2_reordered_packets_inside_the_window_are_taken_once_and_older_ones_never() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<_> = (0..=200u16).map(|number| protected(&mut sender, &rtp(9, number))).collect();
        receiver.unprotect_rtp(&mut sealed[200].clone()).unwrap();
        for (number, packet) in sealed.iter().enumerate() {
            let expected = match number as u64 {
                200 => Err(Error::Replayed { index: 200 }),
                index if 200 - index >= REPLAY_WINDOW => Err(Error::TooOld { index, newest: 200 }),
                _ => Ok(()),
            };
            assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), expected, "{profile} {number}");
            assert!(receiver.unprotect_rtp(&mut packet.clone()).is_err(), "{profile} {number} again");
        }
    }
}

#[test]
fn rfc3711_3_4_reports_are_taken_once_encrypted_or_not_and_always_have_long_tags() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        for number in 0..300u64 {
            let (plain, mut packet) = (rtcp(9), rtcp(9));
            if number % 2 == 0 {
                sender.protect_rtcp(&mut packet)
            } else {
                sender.authenticate_rtcp(&mut packet)
            }
            .unwrap();
            assert_eq!(packet[8..52] == plain[8..52], number % 2 == 1);
            assert_eq!(packet.len(), plain.len() + 4 + profile.rtcp_tag_length());
            assert!(profile.rtcp_tag_length() >= 10);
            let mut again = packet.clone();
            receiver.unprotect_rtcp(&mut packet).unwrap();
            assert_eq!(packet, plain);
            assert_eq!(receiver.unprotect_rtcp(&mut again), Err(Error::Replayed { index: number }));
        }
    }
}

/// RFC 7714 §8.4: the same number twice would reveal the key of the tags.
#[test]
fn a_sender_never_protects_two_packets_under_one_number() {
    for profile in Profile::ALL {
        let (mut sender, _) = pair(profile);
        protected(&mut sender, &rtp(9, 100));
        protected(&mut sender, &rtp(9, 99));
        let mut packet = rtp(9, 100);
        assert_eq!(sender.protect_rtp(&mut packet), Err(Error::Replayed { index: 100 }));
        assert_eq!(packet, rtp(9, 100));
        assert!(sender.protect_rtp(&mut rtp(9, 40_000)).is_err(), "before the first round");
    }
}

#[test]
fn rfc3711_9_2_a_key_that_is_used_up_protects_nothing_more() {
    for profile in Profile::ALL {
        let refuses = |sender: &mut Sender| {
            let (mut media, mut report) = (rtp(9, 3), rtcp(9));
            assert_eq!(sender.protect_rtp(&mut media), Err(Error::KeyExhausted), "{profile}");
            assert_eq!(sender.protect_rtcp(&mut report), Err(Error::KeyExhausted), "{profile}");
            assert_eq!((media, report), (rtp(9, 3), rtcp(9)));
        };
        let (mut sender, _) = pair(profile);
        sender.rtp_packets = profile.max_rtp_packets() - 1;
        sender.protect_rtp(&mut rtp(9, 1)).unwrap();
        refuses(&mut sender);

        let (mut sender, _) = pair(profile);
        sender.rtcp_packets = profile.max_rtcp_packets() - 1;
        sender.protect_rtcp(&mut rtcp(9)).unwrap();
        refuses(&mut sender);
    }
}

#[test]
fn a_storm_of_sources_is_bounded_and_forged_ones_take_no_place() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let mut stranger = Sender::new(profile, &master(profile, 1)).unwrap();
        for ssrc in 0..MAX_SOURCES as u32 {
            let mut forged = protected(&mut stranger, &rtp(ssrc + 1000, 1));
            assert_eq!(receiver.unprotect_rtp(&mut forged), Err(Error::AuthenticationFailed));
            let mut report = rtcp(ssrc + 1000);
            stranger.protect_rtcp(&mut report).unwrap();
            assert_eq!(receiver.unprotect_rtcp(&mut report), Err(Error::AuthenticationFailed));
        }
        for ssrc in 0..MAX_SOURCES as u32 {
            receiver.unprotect_rtp(&mut protected(&mut sender, &rtp(ssrc, 1))).unwrap();
            let mut report = rtcp(ssrc);
            sender.protect_rtcp(&mut report).unwrap();
            receiver.unprotect_rtcp(&mut report).unwrap();
        }
        assert_eq!(sender.protect_rtp(&mut rtp(5000, 1)), Err(Error::TooManySources));
        assert_eq!(sender.protect_rtcp(&mut rtcp(5000)), Err(Error::TooManySources));
        let mut another = Sender::new(profile, &master(profile, 0x5a)).unwrap();
        let mut packet = protected(&mut another, &rtp(5000, 1));
        assert_eq!(receiver.unprotect_rtp(&mut packet), Err(Error::TooManySources));
        receiver.unprotect_rtp(&mut protected(&mut sender, &rtp(0, 2))).unwrap();
    }
}

#[test]
fn what_is_too_short_too_long_or_of_another_version_is_refused() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let sealed = protected(&mut sender, &rtp(9, 1));
        let mut report = rtcp(9);
        sender.protect_rtcp(&mut report).unwrap();
        for length in 0..sealed.len() {
            assert!(receiver.unprotect_rtp(&mut sealed[..length].to_vec()).is_err());
        }
        for length in 0..report.len() {
            assert!(receiver.unprotect_rtcp(&mut report[..length].to_vec()).is_err());
        }
        let mut announces_more = rtp(9, 2);
        announces_more[0] |= 0x1f;
        assert!(matches!(sender.protect_rtp(&mut announces_more), Err(Error::TooShort { .. })));
        let mut long = rtp(9, 2);
        long.resize(crate::packet::MAX_PACKET_LENGTH, 0);
        assert!(matches!(sender.protect_rtp(&mut long), Err(Error::TooLong { .. })));
        let mut version = rtp(9, 2);
        version[0] = 0x40;
        assert_eq!(sender.protect_rtp(&mut version), Err(Error::MalformedHeader { version: 1 }));
        assert_eq!(receiver.unprotect_rtcp(&mut version), Err(Error::MalformedHeader { version: 1 }));
        receiver.unprotect_rtp(&mut sealed.clone()).unwrap();
        receiver.unprotect_rtcp(&mut report).unwrap();
    }
}

#[test]
fn a_key_for_another_profile_is_refused() {
    let key = master(Profile::AeadAes128Gcm, 0);
    let error = KeyError { profile: Profile::AeadAes256Gcm, key: 16, salt: 12 };
    assert_eq!(Sender::new(Profile::AeadAes256Gcm, &key).err(), Some(error));
    assert_eq!(Receiver::new(Profile::AeadAes256Gcm, &key).err(), Some(error));
}

/// An RTP packet with contributing sources, a header extension and padding.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let extension = proptest::option::of(proptest::collection::vec(any::<u32>(), 0..5));
    let sources = proptest::collection::vec(any::<u32>(), 0..16);
    (any::<[u8; 11]>(), sources, extension, proptest::collection::vec(any::<u8>(), 0..300), 0u8..20).prop_map(
        |(fixed, sources, extension, payload, padding)| {
            let mut packet = vec![0x80 | sources.len() as u8];
            packet[0] |= (u8::from(extension.is_some()) << 4) | (u8::from(padding > 0) << 5);
            packet.extend(fixed);
            packet.extend(sources.iter().flat_map(|source| source.to_be_bytes()));
            if let Some(words) = extension {
                packet.extend([0xbe, 0xde, 0, words.len() as u8]);
                packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            }
            packet.extend(payload);
            if padding > 0 {
                packet.extend(vec![0; usize::from(padding) - 1]);
                packet.push(padding);
            }
            packet
        },
    )
}

fn any_profile() -> impl Strategy<Value = Profile> {
    proptest::sample::select(&Profile::ALL[..])
}

proptest! {
    #[test]
    fn any_packet_comes_back(profile in any_profile(), plain in any_packet()) {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = plain.clone();
        sender.protect_rtp(&mut packet).unwrap();
        prop_assert_eq!(packet.len(), plain.len() + profile.rtp_tag_length());
        receiver.unprotect_rtp(&mut packet).unwrap();
        prop_assert_eq!(packet, plain);
    }

    /// Wherever it is: header, payload, tag, E bit or index. The packet that was not flipped is then taken.
    #[test]
    fn one_flipped_bit_anywhere_is_refused_and_changes_nothing(
        profile in any_profile(), plain in any_packet(), at: prop::sample::Index, bit in 0u8..8, encrypt: bool) {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = plain.clone();
        sender.protect_rtp(&mut packet).unwrap();
        let mut flipped = packet.clone();
        flipped[at.index(packet.len())] ^= 1 << bit;
        let as_it_came = flipped.clone();
        prop_assert!(receiver.unprotect_rtp(&mut flipped).is_err());
        prop_assert_eq!(flipped, as_it_came);
        receiver.unprotect_rtp(&mut packet).unwrap();
        prop_assert_eq!(packet, plain);

        let (plain, mut packet) = (rtcp(9), rtcp(9));
        if encrypt { sender.protect_rtcp(&mut packet) } else { sender.authenticate_rtcp(&mut packet) }.unwrap();
        let mut flipped = packet.clone();
        flipped[at.index(packet.len())] ^= 1 << bit;
        let as_it_came = flipped.clone();
        prop_assert!(receiver.unprotect_rtcp(&mut flipped).is_err());
        prop_assert_eq!(flipped, as_it_came);
        receiver.unprotect_rtcp(&mut packet).unwrap();
        prop_assert_eq!(packet, plain);
    }

    #[test]
    fn any_octets_are_refused_and_stay(profile in any_profile(), octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (_, mut receiver) = pair(profile);
        let mut packet = octets.clone();
        prop_assert!(receiver.unprotect_rtp(&mut packet).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut packet).is_err());
        prop_assert_eq!(packet, octets);
    }
}

fn identifier(value: u64, length: u8) -> MasterKeyIdentifier {
    MasterKeyIdentifier::new(value, length).unwrap()
}

/// RFC 3711 §3.1, §3.4, RFC 7714 §8, §9: before the tag of HMAC, behind all else of an AEAD.
#[test]
fn rfc3711_3_1_the_identifier_stands_where_it_has_to() {
    for profile in Profile::ALL {
        let (mut plain, _) = pair(profile);
        let (sender, receiver) = pair(profile);
        let mut sender = sender.identified_by(identifier(0x0102, 4));
        let mut receiver = receiver.identified_by(identifier(0x0102, 4));
        for at in 0..3 {
            let behind = if profile.is_aead() { 0 } else { profile.rtp_tag_length() };
            let (packet, mut bare) =
                (protected(&mut sender, &rtp(1, at)), protected(&mut plain, &rtp(1, at)));
            let place = bare.len() - behind;
            bare.splice(place..place, [0, 0, 1, 2]);
            assert_eq!(packet, bare, "{profile}");
            let mut opened = packet;
            receiver.unprotect_rtp(&mut opened).unwrap();
            assert_eq!(opened, rtp(1, at));

            let (mut report, mut bare) = (rtcp(1), rtcp(1));
            sender.protect_rtcp(&mut report).unwrap();
            plain.protect_rtcp(&mut bare).unwrap();
            let place = bare.len() - if profile.is_aead() { 0 } else { 10 };
            bare.splice(place..place, [0, 0, 1, 2]);
            assert_eq!(report, bare, "{profile}");
            receiver.unprotect_rtcp(&mut report).unwrap();
            assert_eq!(report, rtcp(1));
        }
    }
}

/// RFC 3711 §8.1: a sender goes over to another master key, and the receiver follows by the identifier alone.
#[test]
fn each_packet_is_opened_with_the_key_that_it_names() {
    for profile in Profile::ALL {
        let keys = [master(profile, 1), master(profile, 2), master(profile, 3)];
        let named = |at: usize| identifier(at as u64, 2);
        let sender = |at: usize| Sender::new(profile, &keys[at]).unwrap().identified_by(named(at));
        let receiver = Receiver::new(profile, &keys[0]).unwrap().identified_by(named(0));
        let mut receiver = receiver.and(named(1), &keys[1]).unwrap();
        for (sequence_number, at) in [(1, 0), (2, 1), (3, 0)] {
            let mut packet = protected(&mut sender(at), &rtp(7, sequence_number));
            receiver.unprotect_rtp(&mut packet).unwrap();
            assert_eq!(packet, rtp(7, sequence_number));
        }
        // A key that was not agreed on, a name with another's key, and too short a packet: refused, and left as they came.
        let unknown = protected(&mut sender(2), &rtp(7, 4));
        let mut forged = protected(&mut sender(1), &rtp(7, 5));
        let place = forged.len() - 1 - profile.behind_rtp_identifier();
        forged[place] = 0;
        for (packet, expected) in [(unknown, Error::UnknownMasterKey), (forged, Error::AuthenticationFailed)]
        {
            let mut same = packet.clone();
            assert_eq!(receiver.unprotect_rtp(&mut same), Err(expected), "{profile}");
            assert_eq!(same, packet);
        }
        let mut short = vec![0x80, 0];
        assert!(receiver.unprotect_rtp(&mut short).is_err());
        assert_eq!(short, [0x80, 0]);
    }
}

#[test]
fn identifiers_have_the_octets_of_their_value() {
    assert!(MasterKeyIdentifier::new(1, 0).is_none() && MasterKeyIdentifier::new(1, 129).is_none());
    assert!(MasterKeyIdentifier::new(256, 1).is_none());
    assert!(identifier(255, 1).is(&[255]) && identifier(1, 3).is(&[0, 0, 1]));
    let longest = identifier(u64::MAX, 128);
    assert_eq!(longest.length(), 128);
    assert!(longest.is(&[[0; 120].as_slice(), &[255; 8]].concat()));
}

/// RFC 4568 §6.3.2: in the clear for whoever listens, and yet nobody can change it.
#[test]
fn rfc4568_6_3_2_what_is_not_encrypted_is_still_authenticated() {
    for profile in Profile::ALL {
        let (sender, receiver) = pair(profile);
        let mut sender = sender.unencrypted(true, true);
        let mut receiver = receiver.unencrypted_rtp(true);
        let packet = protected(&mut sender, &rtp(1, 9));
        assert_eq!(packet[..rtp(1, 9).len()], rtp(1, 9), "{profile}");
        let mut changed = packet.clone();
        changed[20] ^= 1;
        assert_eq!(receiver.unprotect_rtp(&mut changed), Err(Error::AuthenticationFailed), "{profile}");
        let mut opened = packet;
        receiver.unprotect_rtp(&mut opened).unwrap();
        assert_eq!(opened, rtp(1, 9));
        let mut tiny = vec![0x80; 12];
        assert!(receiver.unprotect_rtp(&mut tiny).is_err());

        let mut report = rtcp(1);
        sender.protect_rtcp(&mut report).unwrap();
        assert_eq!(report[..rtcp(1).len()], rtcp(1), "{profile}");
        receiver.unprotect_rtcp(&mut report).unwrap();
        assert_eq!(report, rtcp(1));
    }
}
