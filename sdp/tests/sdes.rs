//! Keys for secure RTP in offers and answers (RFC 4568): who takes what, rekeying, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::sdes::Mki;
use sdp::{
    AnswerError, CreateOfferError, CryptoSuite, LocalMedia, LocalMediaError, OfferAnswer, OfferError,
    Profile, Protection, RejectReason, SessionDescription, SrtpKey, Unencrypted,
};

const CM80: CryptoSuite = CryptoSuite::AesCm128HmacSha1_80;
const CM32: CryptoSuite = CryptoSuite::AesCm128HmacSha1_32;
const GCM: CryptoSuite = CryptoSuite::AeadAes256Gcm;
/// 30 octets of 9 in base64.
const NINES: &str = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ";

fn key(suite: CryptoSuite, octet: u8) -> SrtpKey {
    SrtpKey::generate(suite, |place| place.fill(octet))
}

fn side(protection: Protection, keys: &[SrtpKey]) -> OfferAnswer {
    let media = LocalMedia::audio("192.0.2.1:4000".parse().unwrap());
    OfferAnswer::new(media.with_sdes(protection, keys.iter().cloned()), 1).unwrap()
}

fn plain() -> OfferAnswer {
    OfferAnswer::new(LocalMedia::audio("198.51.100.1:5000".parse().unwrap()), 2).unwrap()
}

fn peer(media: &str) -> SessionDescription {
    format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{media}").parse().unwrap()
}

fn exchange(from: &mut OfferAnswer, to: &mut OfferAnswer) {
    let offer = from.create_offer().unwrap().to_string().parse().unwrap();
    let answer = to.receive_offer(&offer).unwrap().to_string().parse().unwrap();
    from.receive_answer(&answer).unwrap();
}

fn secure(side: &OfferAnswer) -> Option<(u32, CryptoSuite, u8, u8)> {
    let keys = side.current().unwrap().audio().unwrap().keys.as_ref()?;
    assert_eq!(keys.send.suite(), keys.receive.suite());
    Some((keys.tag, keys.send.suite(), keys.send.key()[0], keys.receive.key()[0]))
}

#[test]
fn the_text_of_an_offer_and_of_its_answer() {
    let mut alice = side(Protection::SdesRequired, &[key(GCM, 0), key(CM80, 9)]);
    let mut bob = side(Protection::SdesRequired, &[key(CM80, 0xff)]);
    let offer = alice.create_offer().unwrap().to_string();
    assert!(offer.contains("m=audio 4000 RTP/SAVP 0 8 101\r\n"), "{offer}");
    let zeros = format!("{}=", "A".repeat(59));
    assert!(offer.contains(&format!("a=crypto:1 AEAD_AES_256_GCM inline:{zeros}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{NINES}\r\n")), "{offer}");
    let answer = bob.receive_offer(&offer.parse().unwrap()).unwrap().to_string();
    assert!(
        answer.contains(&format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n", "/".repeat(40))),
        "{answer}"
    );
    alice.receive_answer(&answer.parse().unwrap()).unwrap();
    assert_eq!(secure(&alice), Some((2, CM80, 9, 0xff)));
    assert_eq!(secure(&bob), Some((2, CM80, 0xff, 9)));
    assert_eq!(bob.current().unwrap().audio().unwrap().profile, Some(Profile::Savp));
}

#[test]
fn the_offerers_order_counts_rfc_4568_section_5_1_2() {
    let mut alice = side(Protection::SdesRequired, &[key(CM32, 1), key(CM80, 2)]);
    let mut bob = side(Protection::SdesOptional, &[key(CM80, 3), key(CM32, 4)]);
    exchange(&mut alice, &mut bob);
    assert_eq!(secure(&alice), Some((1, CM32, 1, 4)));
    // Bob offers the suite in use first, so that nothing changes.
    exchange(&mut bob, &mut alice);
    assert_eq!(secure(&bob), Some((1, CM32, 4, 1)));
}

#[test]
fn who_demands_and_who_merely_wishes() {
    use Protection::{None, SdesOptional, SdesRequired};
    let keys = |protection, octet| if protection == None { vec![] } else { vec![key(CM80, octet)] };
    // (offers, answers, outcome: refused, plain or secure)
    let cases = [
        (None, None, Some(false)),
        (None, SdesOptional, Some(false)),
        (None, SdesRequired, Option::None),
        (SdesOptional, None, Some(false)),
        (SdesOptional, SdesOptional, Some(true)),
        (SdesOptional, SdesRequired, Some(true)),
        (SdesRequired, None, Option::None),
        (SdesRequired, SdesOptional, Some(true)),
        (SdesRequired, SdesRequired, Some(true)),
    ];
    for (offers, answers, outcome) in cases {
        let (mut alice, mut bob) = (side(offers, &keys(offers, 1)), side(answers, &keys(answers, 2)));
        let offer = alice.create_offer().unwrap();
        match bob.receive_offer(&offer) {
            Err(error) => {
                assert_eq!((outcome, error.status()), (Option::None, 488), "{offers:?} {answers:?}")
            }
            Ok(answer) => {
                alice.receive_answer(&answer).unwrap();
                assert_eq!(Some(secure(&alice).is_some()), outcome, "{offers:?} {answers:?}");
                assert_eq!(secure(&bob).is_some(), secure(&alice).is_some());
            }
        }
    }
}

#[test]
fn best_effort_is_offered_as_avp_with_keys() {
    let mut alice = side(Protection::SdesOptional, &[key(CM80, 1)]);
    let offer = alice.create_offer().unwrap().to_string();
    assert!(offer.contains("m=audio 4000 RTP/AVP 0") && offer.contains("a=crypto:1 "), "{offer}");
    // A phone without SRTP takes no notice.
    let answer = plain().receive_offer(&offer.parse().unwrap()).unwrap();
    assert!(!answer.to_string().contains("crypto"));
    assert!(!alice.receive_answer(&answer).unwrap().audio().unwrap().is_secure());
}

#[test]
fn lines_that_ask_for_what_we_lack_are_passed_over() {
    let bad = [
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{NINES};inline:{NINES}|2^20|1:4\n"),
        format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{NINES} UNENCRYPTED_SRTP\n"),
        format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{NINES} KDR=1\n"),
        format!("a=crypto:4 F8_128_HMAC_SHA1_80 inline:{NINES}\n"),
        "a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:short\n".to_owned(),
        "a=crypto:nonsense\n".to_owned(),
    ]
    .concat();
    let good = format!("a=crypto:6 AES_CM_128_HMAC_SHA1_80 inline:{NINES}|2^31 WSH=128\n");
    let offer = peer(&format!("m=audio 4000 RTP/SAVP 0\n{bad}{good}"));
    let mut bob = side(Protection::SdesRequired, &[key(CM80, 2)]);
    bob.receive_offer(&offer).unwrap();
    assert_eq!(secure(&bob), Some((6, CM80, 2, 9)));
    assert_eq!(
        bob.current().unwrap().audio().unwrap().keys.as_ref().unwrap().receive.lifetime(),
        Some(1 << 31)
    );

    for protocol in ["RTP/SAVP", "RTP/AVP"] {
        let offer = peer(&format!("m=audio 4000 {protocol} 0\n{bad}"));
        let error = side(Protection::SdesRequired, &[key(CM80, 2)]).receive_offer(&offer).unwrap_err();
        let OfferError::NotAcceptable { lines } = &error else { panic!("{error}") };
        assert_eq!((lines[0].reason, error.warning().unwrap().0), (RejectReason::NoUsableKeys, 302));
    }
    // Best effort: what cannot be had is not demanded.
    let mut bob = side(Protection::SdesOptional, &[key(CM80, 2)]);
    bob.receive_offer(&peer(&format!("m=audio 4000 RTP/AVP 0\n{bad}"))).unwrap();
    assert_eq!(secure(&bob), None);
}

#[test]
fn keys_of_both_sides_differ_rfc_4568_section_7_1_2() {
    let mirror = format!("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{NINES}\n");
    assert!(side(Protection::SdesRequired, &[key(CM80, 9)]).receive_offer(&peer(&mirror)).is_err());
    let mut alice = side(Protection::SdesRequired, &[key(CM80, 9)]);
    alice.create_offer().unwrap();
    assert_eq!(alice.receive_answer(&peer(&mirror)).unwrap_err(), AnswerError::Keys { line: 0 });
}

#[test]
fn answers_without_usable_keys_are_none_rfc_4568_section_5_1_3() {
    let cases = [
        "m=audio 4000 RTP/SAVP 0\n".to_owned(),
        format!("m=audio 4000 RTP/SAVP 0\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{NINES}\n"),
        format!("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{NINES}\n"),
        format!("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{NINES}|256:1\n"),
    ];
    for answer in cases {
        let mut alice = side(Protection::SdesRequired, &[key(CM80, 1)]);
        alice.create_offer().unwrap();
        assert_eq!(
            alice.receive_answer(&peer(&answer)).unwrap_err(),
            AnswerError::Keys { line: 0 },
            "{answer}"
        );
        assert_eq!(alice.current(), None);
    }
}

#[test]
fn an_unchanged_offer_keeps_the_keys_and_fresh_ones_rekey_rfc_4568_section_7_1_4() {
    let (mut alice, mut bob) =
        (side(Protection::SdesRequired, &[key(CM80, 1)]), side(Protection::SdesRequired, &[key(CM80, 2)]));
    exchange(&mut alice, &mut bob);
    let (first, agreed) = (alice.last_sent(), alice.current().cloned());
    exchange(&mut alice, &mut bob);
    assert_eq!((alice.last_sent(), alice.current()), (first, agreed.as_ref()));
    alice.change_stream(0, |stream| stream.keys = vec![key(CM80, 3)]).unwrap();
    exchange(&mut alice, &mut bob);
    assert_eq!((secure(&alice), secure(&bob)), (Some((1, CM80, 3, 2)), Some((1, CM80, 2, 3))));
    // A refused rekeying leaves the keys in force.
    alice.change_stream(0, |stream| stream.keys = vec![key(CM80, 4)]).unwrap();
    alice.create_offer().unwrap();
    alice.rollback();
    assert_eq!(secure(&alice), Some((1, CM80, 3, 2)));
}

#[test]
fn another_address_needs_another_key_rfc_4568_section_7_1_4() {
    let (mut alice, mut bob) =
        (side(Protection::SdesRequired, &[key(CM80, 1)]), side(Protection::SdesRequired, &[key(CM80, 2)]));
    exchange(&mut alice, &mut bob);
    alice.change_stream(0, |stream| stream.address = "192.0.2.77:4000".parse().unwrap()).unwrap();
    assert_eq!(alice.create_offer().unwrap_err(), CreateOfferError::FreshKeysNeeded { stream: 0 });
    alice.change_stream(0, |stream| stream.keys = vec![key(CM80, 3)]).unwrap();
    exchange(&mut alice, &mut bob);
}

#[test]
fn keys_are_one_for_each_suite_and_unique() {
    let media = || LocalMedia::audio("192.0.2.1:4000".parse().unwrap());
    let refused = |keys: &[SrtpKey]| {
        OfferAnswer::new(media().with_sdes(Protection::SdesOptional, keys.to_vec()), 1).unwrap_err()
    };
    assert_eq!(refused(&[]), LocalMediaError::NoKey);
    assert_eq!(refused(&[key(CM80, 1), key(CM80, 2)]), LocalMediaError::DuplicateKey);
    assert_eq!(refused(&[key(CM80, 1), key(CM32, 1)]), LocalMediaError::DuplicateKey);
}

#[test]
fn debug_of_a_machine_shows_no_key() {
    let (mut alice, mut bob) =
        (side(Protection::SdesRequired, &[key(CM80, 9)]), side(Protection::SdesRequired, &[key(CM80, 2)]));
    let offer = alice.create_offer().unwrap();
    let shown = format!("{alice:?} {offer:?}");
    alice.receive_answer(&bob.receive_offer(&offer).unwrap()).unwrap();
    let shown = format!("{shown} {alice:?} {bob:?}");
    assert!(!shown.contains(&NINES[..12]) && !shown.contains("9, 9, 9"), "{shown}");
}

fn named(suite: CryptoSuite, octet: u8, value: u64) -> SrtpKey {
    key(suite, octet).with_mki(Mki { value, length: 2 })
}

#[test]
fn rfc4568_6_1_each_side_names_its_keys_as_it_likes() {
    let mut alice = side(Protection::SdesRequired, &[named(CM80, 1, 7)]);
    let mut bob = side(Protection::SdesOptional, &[key(CM80, 2)]);
    exchange(&mut alice, &mut bob);
    assert_eq!((secure(&alice), secure(&bob)), (Some((1, CM80, 1, 2)), Some((1, CM80, 2, 1))));
    let keys = |side: &OfferAnswer| side.current().unwrap().audio().unwrap().keys.clone().unwrap();
    assert_eq!(keys(&bob).receive.mki(), Some(Mki { value: 7, length: 2 }));
    assert_eq!((keys(&alice).receive.mki(), keys(&alice).send.mki()), (None, keys(&bob).receive.mki()));

    // Several keys of the peer, of which each packet names one.
    let second = NINES.replace("CQkJ", "CAgI");
    let lines =
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{NINES}|2^20|1:4;inline:{second}|2^20|2:4\n");
    let mut bob = side(Protection::SdesRequired, &[key(CM80, 2)]);
    bob.receive_offer(&peer(&format!("m=audio 4000 RTP/SAVP 0\n{lines}"))).unwrap();
    let agreed = keys(&bob);
    assert_eq!((agreed.receive.key()[0], agreed.receive_also[0].key()[0]), (9, 8));
    assert_eq!(agreed.receive_also[0].mki(), Some(Mki { value: 2, length: 4 }));
}

#[test]
fn rfc4568_6_3_2_media_in_the_clear_is_agreed_on_by_both_or_not_at_all() {
    let clear = Unencrypted { srtp: true, srtcp: false };
    let keys = [key(CM80, 1).with_unencrypted(clear)];
    let offers = || side(Protection::SdesRequired, &keys);
    let refused = side(Protection::SdesRequired, &[key(CM80, 2)])
        .receive_offer(&offers().create_offer().unwrap())
        .unwrap_err();
    assert_eq!(refused.status(), 488);

    let media = LocalMedia::audio("192.0.2.9:4000".parse().unwrap());
    let mut media = media.with_sdes(Protection::SdesRequired, [key(CM80, 2)]);
    media.streams[0] = media.streams[0].clone().with_options(|more| more.allow_unencrypted = true);
    let (mut alice, mut bob) = (offers(), OfferAnswer::new(media, 3).unwrap());
    exchange(&mut alice, &mut bob);
    for side in [&alice, &bob] {
        let keys = side.current().unwrap().audio().unwrap().keys.clone().unwrap();
        assert_eq!((keys.send.unencrypted(), keys.receive.unencrypted()), (clear, clear));
    }
    // An answer that says otherwise is none.
    let mut alice = offers();
    alice.create_offer().unwrap();
    let answer = format!("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{NINES}\n");
    assert_eq!(alice.receive_answer(&peer(&answer)).unwrap_err(), AnswerError::Keys { line: 0 });
}
