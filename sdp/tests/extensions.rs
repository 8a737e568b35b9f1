//! RTP header extensions in offers and answers (RFC 8285 §5–§8), encrypted or not (RFC 6904 §4).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::{
    Codec, CryptoSuite, Direction, ExtensionEncryption, HeaderExtension, LocalMedia, LocalMediaError,
    LocalStream, OfferAnswer, Protection, RtcpMux, SessionDescription, SrtpKey,
};

const OFFSET: &str = "urn:ietf:params:rtp-hdrext:toffset";
const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

fn audio(extensions: impl IntoIterator<Item = HeaderExtension>) -> LocalStream {
    let stream = LocalStream::audio("192.0.2.1:4000".parse().unwrap());
    stream.with_codecs([Codec::pcmu()]).with_rtcp_mux(RtcpMux::Negotiate).with_extensions(extensions)
}

fn video(extensions: impl IntoIterator<Item = HeaderExtension>) -> LocalStream {
    let stream = LocalStream::video("192.0.2.1:4002".parse().unwrap(), [Codec::vp8()]);
    stream.with_rtcp_mux(RtcpMux::Negotiate).with_extensions(extensions)
}

fn machine(streams: impl IntoIterator<Item = LocalStream>) -> OfferAnswer {
    OfferAnswer::new(LocalMedia::new(streams), 1).unwrap()
}

fn uri(uri: &str) -> HeaderExtension {
    HeaderExtension::new(uri)
}

fn numbered(count: usize) -> impl Iterator<Item = HeaderExtension> {
    (0..count).map(|number| HeaderExtension::new(format!("urn:n:{number}")))
}

fn peer(rest: &str) -> SessionDescription {
    format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{rest}").parse().unwrap()
}

/// An offer of one line of sound.
fn offer(lines: &str) -> SessionDescription {
    peer(&format!("m=audio 4000 RTP/AVP 0\n{lines}"))
}

/// The `a=extmap` lines of each section, without their name.
fn said(description: &SessionDescription) -> Vec<Vec<String>> {
    let attributes = |section: sdp::MediaSection<'_>| {
        let all = section.media().attributes.iter().filter(|attribute| attribute.attribute == "extmap");
        all.map(|attribute| attribute.value.clone().unwrap()).collect()
    };
    description.media().map(attributes).collect()
}

fn exchange(from: &mut OfferAnswer, to: &mut OfferAnswer) -> [Vec<String>; 2] {
    let offer: SessionDescription = from.create_offer().unwrap().to_string().parse().unwrap();
    let answer: SessionDescription = to.receive_offer(&offer).unwrap().to_string().parse().unwrap();
    from.receive_answer(&answer).unwrap();
    [said(&offer)[0].clone(), said(&answer)[0].clone()]
}

#[test]
fn rfc8285_7_the_example_moves_from_session_level_into_the_media() {
    let offer = peer(
        "a=extmap:1 URI-toffset\na=extmap:14 URI-obscure\na=extmap:4096 URI-gps-string\na=extmap:4096 URI-gps-binary\n\
         a=extmap:4097 URI-frametype\nm=video 5000 RTP/AVP 96\na=rtpmap:96 VP8/90000\na=sendrecv\n\
         m=audio 5002 RTP/AVP 0\na=sendrecv\n",
    );
    let gps = uri("URI-gps-string").with_direction(Direction::RecvOnly);
    let mut bob = machine([
        video([
            uri("URI-frametype"),
            uri("URI-gps-binary").with_direction(Direction::SendOnly),
            gps,
            uri("URI-toffset"),
        ]),
        audio([uri("URI-toffset").with_direction(Direction::SendOnly)]),
    ]);
    let answer = bob.receive_offer(&offer).unwrap();
    // Of the two with one identifier the one that we list first; a real identifier for each that has none.
    assert_eq!(
        said(&answer),
        [
            vec!["1 URI-toffset", "2/sendonly URI-gps-binary", "3 URI-frametype"],
            vec!["1/sendonly URI-toffset"]
        ]
    );
    let video = bob.current().unwrap().video().unwrap().extensions().to_vec();
    assert_eq!((video[1].id, video[1].direction), (2, Direction::SendOnly));
}

#[test]
fn rfc8285_7_directions_are_what_both_want_and_the_stream_allows() {
    for (own, offered, answered) in [
        (Direction::SendRecv, "", Some("5 urn:x")),
        (Direction::SendRecv, "/sendonly", Some("5/recvonly urn:x")),
        (Direction::SendRecv, "/recvonly", Some("5/sendonly urn:x")),
        (Direction::RecvOnly, "", Some("5/recvonly urn:x")),
        (Direction::RecvOnly, "/recvonly", None),
        (Direction::SendRecv, "/inactive", None),
        (Direction::SendRecv, "/sideways", None),
    ] {
        let mut bob = machine([audio([uri("urn:x").with_direction(own)])]);
        let answer = bob.receive_offer(&offer(&format!("a=extmap:5{offered} urn:x\n"))).unwrap();
        assert_eq!(said(&answer)[0].first().map(String::as_str), answered, "{own:?} {offered}");
    }
    // An extension that is only sent is not said in a stream that only receives.
    let extensions = || [uri("urn:x").with_direction(Direction::SendOnly), uri("urn:y")];
    let stream = audio(extensions()).with_direction(Direction::RecvOnly);
    assert_eq!(said(&machine([stream]).create_offer().unwrap()), [["1 urn:y"]]);
    let answer = machine([audio(extensions())])
        .receive_offer(&offer("a=sendonly\na=extmap:1 urn:x\na=extmap:2 urn:y\n"));
    assert_eq!(said(&answer.unwrap()), [["2 urn:y"]]);
}

#[test]
fn rfc8285_5_the_same_uri_in_two_configurations_is_two_extensions() {
    let lines = "a=extmap:1 urn:x short\na=extmap:2 urn:x long 7\na=extmap:3 urn:x\n";
    let with = |text: &str| uri("urn:x").with_attributes(text);
    for (own, answered) in [
        (vec![with("long 7"), with("short")], vec!["1 urn:x short", "2 urn:x long 7"]),
        (vec![uri("urn:x")], vec!["1 urn:x short"]),
        (vec![uri("urn:x"), with("short")], vec!["1 urn:x short", "2 urn:x long 7"]),
        (vec![with("longer")], vec![]),
    ] {
        let mut bob = machine([audio(own)]);
        assert_eq!(said(&bob.receive_offer(&offer(lines)).unwrap()), [answered]);
    }
    let twice = LocalMedia::new([audio([with("a"), with("a")])]);
    assert_eq!(OfferAnswer::new(twice, 1).unwrap_err(), LocalMediaError::InvalidText("urn:x".into()));
    for text in ["a\r\nb", "", " a"] {
        assert!(OfferAnswer::new(LocalMedia::new([audio([with(text)])]), 1).is_err(), "{text:?}");
    }
}

/// RFC 6464 §4: whoever takes it whatever its configuration repeats that of the offer, and offers it again so.
#[test]
fn a_configuration_of_the_peer_is_kept() {
    let mut bob = machine([audio([uri(LEVEL)])]);
    let answer = bob.receive_offer(&offer(&format!("a=extmap:7 {LEVEL} vad=on\n"))).unwrap();
    assert_eq!(said(&answer), [[format!("7 {LEVEL} vad=on")]]);
    assert_eq!(bob.current().unwrap().audio().unwrap().extensions()[0].attributes.as_deref(), Some("vad=on"));
    assert_eq!(said(&bob.create_offer().unwrap()), [[format!("7 {LEVEL} vad=on")]]);
}

#[test]
fn rfc8285_7_more_than_fits_is_offered_for_the_answerer_to_choose() {
    let mut alice = machine([audio(numbered(20))]);
    let mut bob = machine([audio(numbered(20).skip(10).step_by(3))]);
    let [offered, answered] = exchange(&mut alice, &mut bob);
    assert_eq!(offered[13..16], ["14 urn:n:13", "4096 urn:n:14", "4097 urn:n:15"]);
    assert_eq!(answered, ["11 urn:n:10", "14 urn:n:13"], "no real identifier is left for the others");
    // With 12 offered there are two left.
    let mut alice = machine([audio(numbered(12)), video(numbered(20).skip(10))]);
    let [_, video_offered] = &said(&alice.create_offer().unwrap())[..] else { panic!() };
    assert_eq!(
        video_offered[..5],
        ["11 urn:n:10", "12 urn:n:11", "13 urn:n:12", "14 urn:n:13", "4096 urn:n:14"]
    );

    let lines = "a=extmap:1 urn:a\na=extmap:4096 urn:b\na=extmap:4351 urn:c\na=extmap:4352 urn:d\na=extmap:0 urn:e\na=extmap:256 urn:f\n";
    let mut bob = machine([audio(["urn:f", "urn:e", "urn:d", "urn:c", "urn:b"].map(uri))]);
    assert_eq!(said(&bob.receive_offer(&offer(lines)).unwrap()), [["2 urn:b", "3 urn:c"]]);
    // What an identifier was given for, it stands for in later exchanges.
    assert_eq!(said(&bob.receive_offer(&offer(lines)).unwrap()), [["2 urn:b", "3 urn:c"]]);
    bob.change_stream(0, |stream| {
        stream.more.as_mut().unwrap().extensions = vec![uri("urn:c"), uri("urn:z")]
    })
    .unwrap();
    assert_eq!(
        said(&bob.create_offer().unwrap()),
        [["3 urn:c", "1 urn:z"]],
        "2 has stood for another, 1 was never taken"
    );
}

#[test]
fn rfc8285_7_an_answer_gives_real_identifiers_for_provisional_ones() {
    let answered = |lines: &str| {
        let mut alice = machine([audio(numbered(20))]);
        alice.create_offer().unwrap();
        alice.receive_answer(&offer(lines)).unwrap();
        let agreed = alice.current().unwrap().audio().unwrap().extensions().to_vec();
        let again = said(&alice.create_offer().unwrap())[0].clone();
        let agreed = agreed.iter().map(|extension| format!("{} {}", extension.id, extension.uri));
        (agreed.collect::<Vec<_>>().join(","), again)
    };
    let (agreed, again) = answered("a=extmap:3 urn:n:2\na=extmap:15 urn:n:15\n");
    assert_eq!(agreed, "3 urn:n:2,15 urn:n:15");
    assert!(again.contains(&"15 urn:n:15".to_owned()), "{again:?}");
    // §7: the same identifier for the same extension; one that another has is not free; a copy only says that it is known.
    for bad in ["4 urn:n:2", "3 urn:n:15", "4097 urn:n:15", "15 urn:other", "0 urn:n:2"] {
        assert_eq!(answered(&format!("a=extmap:{bad}\n")).0, "", "{bad}");
    }
    assert_eq!(answered("a=extmap:15/recvonly urn:n:15\n").0, "15 urn:n:15");

    // Found by the law: of two configurations of one URI, both provisional, the answer means its own.
    let plain = uri("urn:b").with_direction(Direction::SendRecv);
    let other = uri("urn:b").with_attributes("x").with_direction(Direction::RecvOnly);
    let mut alice = machine([audio(numbered(14).chain([plain, other]))]);
    alice.create_offer().unwrap();
    alice.receive_answer(&offer("a=extmap:23 urn:b x\n")).unwrap();
    let agreed = alice.current().unwrap().audio().unwrap().extensions().to_vec();
    assert_eq!((agreed[0].id, agreed[0].direction), (23, Direction::RecvOnly));
}

#[test]
fn rfc8285_6_both_forms_in_one_stream_if_both_say_so() {
    let mixed = |stream: LocalStream| stream.with_options(|more| more.mixed_extensions = true);
    for (offers, answers, agreed) in [(true, true, true), (true, false, false), (false, true, false)] {
        let side = |on| machine([if on { mixed(audio(numbered(17))) } else { audio(numbered(17)) }]);
        let (mut alice, mut bob) = (side(offers), side(answers));
        let [offered, answered] = exchange(&mut alice, &mut bob);
        for side in [&alice, &bob] {
            assert_eq!(side.current().unwrap().audio().unwrap().mixed_extensions(), agreed);
        }
        let last = if offers { "18 urn:n:16" } else { "4098 urn:n:16" };
        assert_eq!((offered[16].as_str(), answered.len()), (last, if offers { 17 } else { 14 }));
    }
    // At the session level too.
    let offer = peer("a=extmap-allow-mixed\nm=audio 4000 RTP/AVP 0\n");
    let answer = machine([mixed(audio([]))]).receive_offer(&offer).unwrap().to_string();
    assert!(answer.contains("a=extmap-allow-mixed\r\n"), "{answer}");
    let answer = machine([audio([])]).receive_offer(&offer).unwrap().to_string();
    assert!(!answer.contains("mixed"), "{answer}");
}

#[test]
fn rfc8285_7_identifiers_keep_their_meaning_over_all_offers() {
    let (mut alice, mut bob) = (machine([audio(numbered(3))]), machine([audio(numbered(3).skip(1))]));
    assert_eq!(exchange(&mut alice, &mut bob)[1], ["2 urn:n:1", "3 urn:n:2"]);
    // Another order and another extension in front move nothing, whoever offers.
    for side in [&mut alice, &mut bob] {
        side.change_stream(0, |stream| {
            let more = stream.more.as_mut().unwrap();
            more.extensions = [OFFSET, "urn:n:2", "urn:n:0", "urn:n:1"].map(uri).to_vec();
        })
        .unwrap();
    }
    assert_eq!(
        exchange(&mut alice, &mut bob)[0],
        [format!("4 {OFFSET}"), "3 urn:n:2".into(), "1 urn:n:0".into(), "2 urn:n:1".into()]
    );
    let [offered, _] = exchange(&mut bob, &mut alice);
    assert_eq!(offered, [format!("4 {OFFSET}"), "3 urn:n:2".into(), "1 urn:n:0".into(), "2 urn:n:1".into()]);
    // A peer that gives one in force another meaning is not followed.
    let answer = bob.receive_offer(&offer("a=extmap:2 urn:n:0\na=extmap:3 urn:n:2\n")).unwrap();
    assert_eq!(said(&answer), [["3 urn:n:2"]]);
}

#[test]
fn rfc8285_7_a_bundle_group_is_one_space_of_identifiers() {
    let both = || LocalMedia::new([audio([uri("urn:a"), uri(OFFSET)]), video([uri(OFFSET), uri("urn:v")])]);
    let mut alice = OfferAnswer::new(both().with_bundle(), 1).unwrap();
    assert_eq!(
        said(&alice.create_offer().unwrap()),
        [["1 urn:a".to_owned(), format!("2 {OFFSET}")], [format!("2 {OFFSET}"), "3 urn:v".to_owned()]]
    );
    let lines = format!(
        "a=group:BUNDLE 0 1\nm=audio 4000 RTP/AVP 0\na=mid:0\na=rtcp-mux\na=extmap:1 urn:a\na=extmap:2 {OFFSET}\n\
         m=video 4002 RTP/AVP 96\na=mid:1\na=rtcp-mux\na=rtpmap:96 VP8/90000\na=extmap:1 urn:v\na=extmap:4 {OFFSET}\n"
    );
    let answer = OfferAnswer::new(both().with_bundle(), 1).unwrap().receive_offer(&peer(&lines)).unwrap();
    assert_eq!(said(&answer), [vec!["1 urn:a".to_owned(), format!("2 {OFFSET}")], vec![]]);
    let answer = OfferAnswer::new(both(), 1).unwrap().receive_offer(&peer(&lines)).unwrap();
    assert_eq!(said(&answer)[1], ["1 urn:v".to_owned(), format!("4 {OFFSET}")], "apart, each has its own");
}

const ENCRYPT: &str = "urn:ietf:params:rtp-hdrext:encrypt";

fn level(encryption: ExtensionEncryption) -> HeaderExtension {
    uri(LEVEL).with_encryption(encryption)
}

fn key(octet: u8) -> SrtpKey {
    SrtpKey::new(CryptoSuite::AesCm128HmacSha1_80, &[octet; 30]).unwrap()
}

fn protected(
    protection: Protection,
    octet: u8,
    extensions: impl IntoIterator<Item = HeaderExtension>,
) -> OfferAnswer {
    machine([audio(extensions).with_sdes(protection, [key(octet)])])
}

/// Identifier, encrypted or not, and direction of what a side agreed on.
fn agreed(side: &OfferAnswer) -> Vec<(u8, bool, Direction)> {
    let extensions = side.current().unwrap().audio().unwrap().extensions().iter();
    extensions.map(|extension| (extension.id, extension.encrypted, extension.direction)).collect()
}

#[test]
fn rfc6904_4_1_both_forms_are_offered_and_the_encrypted_one_is_taken() {
    use ExtensionEncryption::{Never, Preferred, Required};
    let (encrypted, plain) = (format!("1 {ENCRYPT} {LEVEL}"), format!("2 {LEVEL}"));
    let unused = format!("2/inactive {LEVEL}");
    let alone = format!("1 {LEVEL}");
    for (ours, theirs, offered, answered) in [
        (Preferred, Preferred, vec![&encrypted, &plain], vec![&encrypted, &unused]),
        (Preferred, Required, vec![&encrypted, &plain], vec![&encrypted, &unused]),
        // Who has a reason to prefer it in the clear takes that.
        (Preferred, Never, vec![&encrypted, &plain], vec![&plain]),
        (Required, Preferred, vec![&encrypted], vec![&encrypted]),
        (Required, Never, vec![&encrypted], vec![]),
        (Never, Preferred, vec![&alone], vec![&alone]),
        (Never, Required, vec![&alone], vec![]),
    ] {
        for (protection, required) in [(Protection::SdesRequired, true), (Protection::SdesOptional, false)] {
            let mut alice = protected(protection, 1, [level(ours)]);
            let mut bob = protected(protection, 2, [level(theirs)]);
            let [said, heard] = exchange(&mut alice, &mut bob);
            assert_eq!(said.iter().collect::<Vec<_>>(), offered, "{ours:?} {theirs:?} {required}");
            assert_eq!(heard.iter().collect::<Vec<_>>(), answered, "{ours:?} {theirs:?} {required}");
            assert_eq!(agreed(&alice), agreed(&bob));
            assert!(agreed(&alice).len() <= 1, "never both");
            // Identifiers keep their meaning, and so does the choice, whoever offers next.
            let before = agreed(&alice);
            exchange(&mut bob, &mut alice);
            assert_eq!((agreed(&alice), agreed(&bob)), (before.clone(), before));
        }
    }
}

#[test]
fn rfc6904_4_plain_rtp_has_no_encrypted_extensions() {
    use ExtensionEncryption::{Preferred, Required};
    // Nobody protects, or only one side can: the encrypted form is for SRTP alone.
    for (ours, theirs) in [
        (Protection::None, Protection::None),
        (Protection::SdesOptional, Protection::None),
        (Protection::None, Protection::SdesOptional),
    ] {
        let mut alice = protected(ours, 1, [level(Preferred), uri(OFFSET).with_encryption(Required)]);
        let mut bob = protected(theirs, 2, [level(Preferred), uri(OFFSET).with_encryption(Required)]);
        let [said, heard] = exchange(&mut alice, &mut bob);
        assert_eq!(said.iter().any(|line| line.contains(ENCRYPT)), ours == Protection::SdesOptional);
        assert!(heard.iter().all(|line| !line.contains(ENCRYPT)), "{heard:?}");
        for side in [&alice, &bob] {
            assert_eq!(agreed(side).iter().map(|(_, encrypted, _)| *encrypted).collect::<Vec<_>>(), [false]);
        }
    }
    // A session-level line is for the lines with SRTP alone; an answer that encrypts plain RTP is not followed.
    let lines = format!("a=extmap:3 {ENCRYPT} {LEVEL}\nm=audio 4000 RTP/AVP 0\n");
    let answer = machine([audio([level(Preferred)])]).receive_offer(&peer(&lines)).unwrap();
    assert_eq!(said(&answer), [Vec::<String>::new()]);
    let mut alice = protected(Protection::SdesOptional, 1, [level(Preferred)]);
    alice.create_offer().unwrap();
    alice.receive_answer(&offer(&format!("a=extmap:1 {ENCRYPT} {LEVEL}\n"))).unwrap();
    assert_eq!(agreed(&alice), []);
}

#[test]
fn rfc6904_4_the_encrypted_form_has_its_configuration_and_is_not_encrypted_twice() {
    use ExtensionEncryption::Preferred;
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ\n";
    let answered = |lines: &str, own: HeaderExtension| {
        let mut bob = protected(Protection::SdesRequired, 2, [own]);
        let text = format!("m=audio 4000 RTP/SAVP 0\n{crypto}{lines}");
        said(&bob.receive_offer(&peer(&text)).unwrap())[0].clone()
    };
    let timecode = "urn:ietf:params:rtp-hdrext:smpte-tc";
    let own = || uri(timecode).with_encryption(Preferred);
    // The example of §4, and one in two configurations.
    let line = format!("1 {ENCRYPT} {timecode} 25@600/24");
    assert_eq!(answered(&format!("a=extmap:{line}\n"), own()).join("|"), line);
    let lines = format!("a=extmap:4 {timecode} 30@600/30\na=extmap:{line}\n");
    assert_eq!(answered(&lines, own()).join("|"), line);
    assert_eq!(answered(&lines, own().with_attributes("30@600/30")), [format!("4 {timecode} 30@600/30")]);
    // What can only be received encrypted is sent in neither form.
    let lines = format!("a=extmap:1/sendonly {ENCRYPT} urn:x\na=extmap:2 urn:x\n");
    let sends = uri("urn:x").with_encryption(Preferred).with_direction(Direction::SendOnly);
    assert_eq!(answered(&lines, sends), ["2/sendonly urn:x"], "the other form is left");
    for none in [format!("{ENCRYPT} {ENCRYPT} urn:x"), ENCRYPT.to_owned(), format!("{ENCRYPT}  ")] {
        assert_eq!(
            answered(&format!("a=extmap:1 {none}\n"), uri("urn:x").with_encryption(Preferred)),
            [""; 0]
        );
    }
    let nested = LocalMedia::new([audio([uri(ENCRYPT).with_attributes("urn:x")])]);
    assert_eq!(OfferAnswer::new(nested, 1).unwrap_err(), LocalMediaError::InvalidText(ENCRYPT.into()));
    // §4.1: an answer with both forms is taken for the encrypted one.
    let mut alice = protected(Protection::SdesRequired, 1, [level(Preferred)]);
    alice.create_offer().unwrap();
    let both = format!("m=audio 4000 RTP/SAVP 0\n{crypto}a=extmap:1 {ENCRYPT} {LEVEL}\na=extmap:2 {LEVEL}\n");
    alice.receive_answer(&peer(&both)).unwrap();
    assert_eq!(agreed(&alice), [(1, true, Direction::SendRecv)]);
    // Who says that nothing is encrypted has nothing to hide in (RFC 4568 §6.3.2).
    let open = crypto.trim_end().to_owned() + " UNENCRYPTED_SRTP\n";
    let text = format!("m=audio 4000 RTP/SAVP 0\n{open}a=extmap:1 {ENCRYPT} {LEVEL}\na=extmap:2 {LEVEL}\n");
    let stream = audio([level(Preferred)]).with_sdes(Protection::SdesRequired, [key(2)]);
    let mut bob = machine([stream.with_options(|more| more.allow_unencrypted = true)]);
    assert_eq!(said(&bob.receive_offer(&peer(&text)).unwrap())[0], [format!("2 {LEVEL}")]);
}
